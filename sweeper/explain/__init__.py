"""Why a design is fast or slow, and what one step of each knob does to it."""
