"""The corridor from a design to its prices: what is illegal is named, and nothing is worked out twice."""

from __future__ import annotations

import pytest

from simulator.design.load import load_design
from simulator.prepare import prepare, violations
from simulator.pricing import kv_memory
from simulator.pricing.cache import CostCache
from simulator.pricing.price import price
from simulator.result import Infeasible

ILLEGAL = [
    ("model_split", "h100-chat", {"parallelism.tensor": 3}),
    ("memory_fit", "npu-chat", {"hardware.memory.capacity": "8 GB", "parallelism.tensor": 1}),
    ("swap_fit", "h100-chat", {"serving.preemption": "swap", "hardware.host_memory.capacity": "1 GB"}),
    ("power_cap", "npu-chat", {"hardware.power_cap": "60 W"}),
    ("kv_fit", "npu-chat", {"serving.num_gpu_blocks": 2, "serving.max_model_len": 1000}),
    ("context_fit", "npu-chat", {"serving.max_model_len": 200_000}),
    ("token_budget", "npu-chat", {"serving.enable_chunked_prefill": False, "serving.max_num_batched_tokens": 512}),
]


@pytest.mark.parametrize(("name", "source", "changes"), ILLEGAL)
def test_what_a_design_misses_is_named_without_pricing(name: str, source: str, changes: dict[str, object]) -> None:
    design, cache = load_design(source, changes), CostCache()
    with pytest.raises(Infeasible) as caught:
        prepare(design, cache)
    assert [v.name for v in caught.value.violations] == [v.name for v in violations(design)] == [name]
    assert caught.value.violations[0].amount > 0
    assert not cache.take_counters().misses


def test_memory_is_predicted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    design, calls = load_design("npu-chat"), []
    predict = kv_memory.predict

    def counted(*arguments: object, **rules: object) -> kv_memory.KvMemory:
        calls.append(arguments)
        return predict(*arguments, **rules)  # type: ignore[arg-type]

    monkeypatch.setattr(kv_memory, "predict", counted)
    prepared = prepare(design, CostCache())
    assert len(calls) == 1
    assert prepared.kv_memory == price(design, CostCache()).kv_memory
