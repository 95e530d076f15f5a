"""The replay of a recorded vLLM run: the design that it describes, simulated with operator tables."""

from __future__ import annotations

from pathlib import Path

from simulator.design.design import Design
from simulator.design.load import resolve
from simulator.devices.measured.table import OperatorTable
from simulator.engine import engine, lockstep
from simulator.engine.result import EngineResult
from simulator.importers import llmservingsim
from simulator.inputs.errors import InputError
from simulator.pricing.cache import CostCache
from simulator.pricing.cuda_graphs import cover_of
from simulator.pricing.price import PricedDesign, price
from simulator.recorded.vllm_run import RecordedRun, design_of, preset_named
from simulator.workload.trace import Trace


def prepared(run: RecordedRun, tables: Path, *, hardware: str | None = None,
             model: str | None = None) -> tuple[Design, OperatorTable]:
    """The run's design and its operators from an LLMServingSim profile bundle. hardware, model: presets to take instead of
    those that the run names. Raises InputError for what is unknown, not modelled, or of another model than the run's."""
    bundle = llmservingsim.read_meta(tables)
    design = resolve(design_of(run, hardware=hardware or preset_named(run.device or bundle.gpu, "hardware"), model=model))
    if model is None and preset_named(bundle.model, "models") != design.model.name:
        raise InputError(f"profiles {bundle.model}, the run served {run.model}", file=str(tables / "meta.yaml"), key="model")
    if run.data_parallel > 1 and not design.model.experts:
        raise InputError("engines of a model without experts share nothing: record and replay each alone",
                         key="data_parallel_size")
    if run.data_parallel > 1 and design.parallelism.pipeline > 1:
        raise InputError("is not modelled together with data_parallel_size > 1", key="pipeline_parallel_size")
    parallel = design.parallelism
    table = llmservingsim.read_degree(bundle, design.model, design.precision, parallel.tensor,
                                     expert_parallel=parallel.expert_parallel, data=run.data_parallel)
    return design, table


def beyond(design: Design, table: OperatorTable, trace: Trace) -> list[str]:
    """What of the run lies outside the profiled shapes, in words: prices there hold the efficiency of the last shape."""
    columns, serving = table.columns, design.serving
    decode, chunk = columns["kind"] == "decode_attention", columns["kind"] == "prefill_attention"
    longest = int((trace.prompt_tokens + trace.output_tokens).max())
    limits = (("tokens a step", min(serving.max_num_batched_tokens, int(trace.prompt_tokens.sum())),
               columns["rows"][columns["kind"] == "gemm"]),
              ("sequences a step", min(serving.max_num_seqs, len(trace)), columns["sequences"][decode]),
              ("tokens of context", longest, columns["decode_context"][decode]),
              ("tokens of a chunk", min(serving.max_num_batched_tokens, int(trace.prompt_tokens.max())), columns["chunk"][chunk]))
    return [f"{name}: up to {most:,}, profiled to {int(known.max(initial=0)):,}"
            for name, most, known in limits if most > known.max(initial=0)]


def replay(design: Design, table: OperatorTable, trace: Trace, data: int, cache: CostCache) -> tuple[PricedDesign, EngineResult]:
    """Prices and serves `trace`, every step logged. data: engines that share one set of experts."""
    priced = price(design, cache, table, data)
    if data == 1:
        return priced, engine.run(trace, priced.scheduler, priced.costs, log=True)
    assert priced.prices.gathered_ns is not None
    sizes = cover_of(design).sizes
    return priced, lockstep.run(trace, priced.scheduler, priced.costs, priced.prices.gathered_ns, data, sizes, log=True)
