"""One sweep from start to end: loops, ladder, warm start, progress."""
