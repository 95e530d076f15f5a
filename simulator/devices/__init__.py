"""Device models: the seconds and joules of one operator on an NPU, a GPU, PIM stacks or links."""
