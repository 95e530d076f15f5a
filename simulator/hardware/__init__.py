"""Hardware models: what an operator costs on a device, a PIM stack or a link."""
