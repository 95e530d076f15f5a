"""What runs where a GPU has no unit for a number format."""

from simulator.design.load import load_design
from simulator.design.records.model import Precision
from simulator.model.precision import on
from simulator.pricing.cache import CostCache
from simulator.pricing.price import price
from tests.devices.builders import shipped


def seconds(hardware, **precision):
    design = load_design("h100-chat", {"hardware": hardware, "precision": precision})
    curves = price(design, CostCache()).curves
    return {c.name: c.seconds[-1] for c in curves if c.name == "gate_up"}["gate_up"]


def test_weights_stay_and_products_are_of_16_bits():
    fp8 = Precision(weights="fp8", activations="fp8")
    assert on(fp8, shipped("a10g")) == Precision(weights="fp8", activations="bf16")
    assert on(fp8, shipped("h100-sxm")) == fp8
    assert on(fp8, shipped("npu-base")) == fp8
    int8 = Precision(weights="int8", activations="int8")
    assert on(int8, shipped("a10g")) == int8


def test_large_products_gain_nothing_from_a_format_without_a_unit():
    both = {"weights": "fp8", "activations": "fp8"}
    assert seconds("a10g", **both) > 0.98 * seconds("a10g")
    assert seconds("h100-sxm", **both) < 0.75 * seconds("h100-sxm")
    assert seconds("a10g", weights="int8", activations="int8") < 0.75 * seconds("a10g")
