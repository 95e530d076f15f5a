"""Questions that take more than one run or none: highest rate, bounds, confidence, roofline."""
