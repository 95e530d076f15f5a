"""Request traces: file formats, synthetic arrivals, closed loops, prefix contents."""
