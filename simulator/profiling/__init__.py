"""The profiler: it measures a model's operators on a local device with PyTorch, into operator tables."""
