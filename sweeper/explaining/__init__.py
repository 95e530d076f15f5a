"""Why a design is fast or slow: its roofline, and what one step of each knob does to it."""
