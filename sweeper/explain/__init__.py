"""Explanations of a design: why it is fast or slow, and what one step of each knob does to it."""
