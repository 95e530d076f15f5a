"""Quantities with units: they are parsed and printed at the edge, and are plain SI floats inside.

`parse("1.4 GHz", "Hz") == 1.4e9`. The registry holds only the units of this field, so that a typo cannot turn
into a tesla or a gram. Prefixes are SI (k, M, G, ...) and IEC (Ki, Mi, Gi, Ti): GiB is not GB.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import TYPE_CHECKING

from simulator.inputs.errors import InputError

if TYPE_CHECKING:
    import pint

# Base units of the field. Tokens, requests, operations and dollars are dimensions of their own, so that
# "tokens/s" can never be compared with "requests/s".
_DEFINITIONS = """
femto- = 1e-15 = f-
pico- = 1e-12 = p-
nano- = 1e-9 = n-
micro- = 1e-6 = u- = µ- = μ-
milli- = 1e-3 = m-
kilo- = 1e3 = k-
mega- = 1e6 = M-
giga- = 1e9 = G-
tera- = 1e12 = T-
peta- = 1e15 = P-
kibi- = 1024 = Ki-
mebi- = 1048576 = Mi-
gibi- = 1073741824 = Gi-
tebi- = 1099511627776 = Ti-
second = [time] = s
minute = 60 * second = min
hour = 3600 * second = h
day = 86400 * second
year = 31557600 * second
hertz = 1 / second = Hz
byte = [information] = B = bytes
bit = byte / 8 = b = bits
flop = [operation] = FLOP = flops = FLOPs = op = ops
flop_per_second = flop / second = FLOPS
token = [token] = tok = tokens
request = [request] = req = requests
dollar = [money] = USD
joule = [energy] = J
watt = joule / second = W
watt_hour = 3600 * joule = Wh
meter = [length] = m
percent = 0.01 = pct
""".strip().splitlines()

# Names and a leading 1, multiplied and divided, each to a power of one digit at most; parentheses without a power.
_UNIT = re.compile(r"""(?: [A-Za-zµμ_]+(?![A-Za-zµμ_]) (?:\ ?\*\*\ ?-?[1-9](?![0-9])(?!\ ?\*\*))?
                       | (?<![A-Za-z0-9_*])1(?=\ ?/) | \((?!\)) | \)(?!\ ?\*\*) | (?<!\*)\*(?!\*) | / | \  )*""", re.VERBOSE)
_NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(.*)\s*$", re.DOTALL)


@lru_cache(maxsize=1)
def registry() -> pint.UnitRegistry:
    """The unit registry (built on first use: it costs 0.1 s that `--help` need not pay)."""
    import pint

    return pint.UnitRegistry(_DEFINITIONS, autoconvert_to_preferred=False)


@lru_cache(maxsize=4096)
def unit_scale(unit: str) -> tuple[float, str]:
    """(factor to base units, dimension as text) of a unit such as 'GB/s'. Raises InputError if unknown."""
    import pint

    text = _spelled(unit)
    if len(text) > 64 or not _UNIT.fullmatch(text):  # pint computes with what it is given: 9**9**9**9 never ends
        raise InputError(f"'{unit[:40]}' is not a unit (examples: ms, GHz, GB/s, TFLOP/s, GiB, tokens/s, $/h)")
    try:
        quantity = registry().Quantity(1.0, text or "dimensionless").to_base_units()
    except (pint.errors.PintError, ValueError, TypeError, AttributeError, SyntaxError, ZeroDivisionError,
            AssertionError, OverflowError, RecursionError, KeyError) as error:
        raise InputError(f"'{unit}' is not a unit (examples: ms, GHz, GB/s, TFLOP/s, GiB, tokens/s, $/h)") from error
    except Exception as error:  # pint's tokenizer raises tokenize.TokenError and others on odd text
        raise InputError(f"'{unit}' is not a unit") from error
    magnitude = quantity.magnitude
    if not isinstance(magnitude, float) or not math.isfinite(magnitude) or magnitude <= 0:
        raise InputError(f"'{unit}' is not a unit")
    return magnitude, str(quantity.dimensionality)


@lru_cache(maxsize=4096)
def unit_dimension(unit: str) -> tuple[tuple[str, float], ...]:
    """The dimension of a unit as sorted (base dimension, exponent) pairs: 'B/s' -> (('[information]', 1), ('[time]', -1)).

    Raises InputError if the unit is unknown.
    """
    unit_scale(unit)
    text = _spelled(unit) or "dimensionless"
    return tuple(sorted((str(name), float(str(power))) for name, power in registry().Quantity(1.0, text).dimensionality.items()))


def _spelled(unit: str) -> str:
    return unit.strip().replace("$", "USD").replace("%", "percent").replace("^", "**")


def parse(value: object, unit: str) -> float:
    """`value` ("3.35 TB/s") as a float in `unit` ("B/s"); bare numbers pass only where `unit` has no dimension.

    Raises InputError when the unit is missing, unknown or of another dimension, or the number is not finite.
    """
    if isinstance(value, str):
        return _parse_text(value, unit)
    want_dimension = unit_scale(unit)[1]
    if isinstance(value, bool):
        raise InputError(f"expected a quantity such as '1 {unit}', got {value}")
    if isinstance(value, int | float):
        if want_dimension != "dimensionless":
            raise InputError(f"{value!r} needs a unit, for example '{value} {unit}'")
        number, scale = _finite(value), 1.0
        return number if scale == unit_scale(unit)[0] else _finite(number * (scale / unit_scale(unit)[0]))
    raise InputError(f"expected a quantity such as '1 {unit}', got {type(value).__name__}")


@lru_cache(maxsize=4096)  # a sweep reads the same few texts again and again
def _parse_text(value: str, unit: str) -> float:
    want_scale, want_dimension = unit_scale(unit)
    match = _NUMBER.match(value)
    if not match:
        raise InputError(f"'{value[:60]}' is not a quantity; write a number and a unit, for example '1 {unit}'")
    number = _finite(float(match.group(1)))
    if not match.group(2).strip() and want_dimension != "dimensionless":
        raise InputError(f"'{value}' needs a unit, for example '{match.group(1)} {unit}'")
    scale, dimension = unit_scale(match.group(2))
    if dimension != want_dimension:
        raise InputError(f"'{value}' has the wrong unit, expected one like '{unit}'")
    return number if scale == want_scale else _finite(number * (scale / want_scale))


def unit_of(value: object) -> str:
    """The unit a quantity is written with: "3.35 TB/s" -> "TB/s"; '' for bare numbers and what is no quantity."""
    match = _NUMBER.match(value) if isinstance(value, str) else None
    return match.group(2).strip() if match else ""


def _finite(number: float) -> float:
    try:
        number = float(number)
    except OverflowError as error:
        raise InputError("the number is too large") from error
    if not math.isfinite(number):
        raise InputError(f"{number} is not a finite number")
    return number


_SI = {1e15: "P", 1e12: "T", 1e9: "G", 1e6: "M", 1e3: "k", 1.0: "", 1e-3: "m", 1e-6: "u", 1e-9: "n", 1e-12: "p"}
_IEC = {2.0**40: "Ti", 2.0**30: "Gi", 2.0**20: "Mi", 2.0**10: "Ki"}


@lru_cache(maxsize=4096)
def show(value: float, unit: str) -> str:
    """`value` in `unit` as text that `parse` reads back to the same float; with a prefix where that is exact."""
    if unit_scale(unit)[1] == "dimensionless":
        return f"{value:.17g}"
    steps = {**_IEC, **_SI} if unit == "B" and value % 1024 == 0 else _SI
    for step, prefix in steps.items():
        if abs(value) >= step:
            text = f"{value / step:.12g} {prefix}{unit}"
            if parse(text, unit) == value:
                return text
    return f"{value!r} {unit}"


def show_seconds(value: float) -> str:
    """A time for people: four digits and a unit."""
    for scale, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if value >= scale:
            return f"{value / scale:.4g} {unit}"
    return f"{value * 1e9:.0f} ns" if value else "0"
