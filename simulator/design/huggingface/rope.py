"""The longest context, derived as vLLM derives it from the file's lengths and its rotary scaling."""

from __future__ import annotations

from typing import Any

from simulator.design.huggingface.keys import Keys
from simulator.inputs.errors import InputError

# The file's names of a longest context, the smallest of which counts (vllm/config/model.py, _get_and_verify_max_len)
_LENGTHS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "max_sequence_length", "max_seq_length",
            "seq_len", "model_max_length")
_NO_LENGTH = 2048  # what vLLM takes where none is given, the same function
_ALREADY_SCALED = ("su", "longrope", "llama3")  # their length includes the factor, the same function


def longest_context(read: Keys) -> int:
    """Tokens of the longest context. Raises InputError for scaling that cannot be read."""
    own = read.size("max_position_embeddings", _NO_LENGTH)
    if read.given("max_position_embeddings"):  # other names count where the file gives several
        own = min([own] + [read.size(key) for key in _LENGTHS if read.given(key)])
    if "gemma3" in read.model_type:  # its lengths include the factor, too
        return own
    factor = 1.0
    for scaling in _scalings(read):
        kind = scaling.get("rope_type", scaling.get("type", "default"))
        if kind in _ALREADY_SCALED:
            continue
        value = scaling.get("factor")
        if value is not None:
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
                raise InputError(f"expected a positive number, got {value!r}", key="rope_scaling.factor")
            factor = float(value)
        if kind == "yarn":
            original = scaling.get("original_max_position_embeddings")
            if isinstance(original, bool) or not isinstance(original, int) or original <= 0:
                raise InputError("is missing: 'yarn' scales the original context",
                                 key="rope_scaling.original_max_position_embeddings")
            own = original
    return int(own * factor)


def _scalings(read: Keys) -> list[dict[str, Any]]:
    """The scaling of all layers, or one for each kind of layer."""
    for key in ("rope_parameters", "rope_scaling"):
        found = read.raw(key)
        if found is None:
            continue
        if not isinstance(found, dict):
            raise InputError(f"expected a mapping, got {type(found).__name__}", key=key)
        nested = [value for value in found.values() if isinstance(value, dict)]
        return nested or [found]
    return []
