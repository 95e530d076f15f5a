"""Seconds and joules of one operator on a device, a PIM stack or a link."""
