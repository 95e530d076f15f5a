"""Exports of a design in the form that another tool needs: a vLLM command, a hardware summary."""
