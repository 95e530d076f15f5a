"""The compiled kernel: one engine for every serving mode, plain numba, resumable (`advance`)."""
