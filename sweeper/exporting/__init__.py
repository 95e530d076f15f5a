"""A trial's design in other forms: a vLLM command, a hardware sheet."""
