"""The single-point evaluator: one design and one trace in, one result out. Pure: no files, no globals."""

from __future__ import annotations

import numpy as np

from simulator.design.design import Design
from simulator.devices.measured.table import OperatorTable
from simulator.engine import engine, reference
from simulator.engine.result import with_arrivals
from simulator.prepare import prepare, rejection
from simulator.pricing.cache import CostCache
from simulator.pricing.price import PricedDesign
from simulator.result import Infeasible, Replica, Result, Violation
from simulator.results import metric_plugins, order_statistics
from simulator.results.breakdown import operator_totals
from simulator.results.summary import summarise
from simulator.scheduler.limits import served_outputs
from simulator.workload.load import load_trace, split
from simulator.workload.trace import Trace


def simulate(design: Design, *, cache: CostCache | None = None, trace: Trace | None = None, log: bool = False,
             use_reference: bool = False, table: OperatorTable | None = None, gaps: bool = True) -> Result:
    """Serves the design's workload (or `trace`, already loaded) and measures it.

    cache: prices shared with other designs. log: keep every step. use_reference: the readable engine (same result, slower).
    gaps: count the gaps between tokens; without, the ITL percentiles are 0.
    table: measured operators, in place of the file that `hardware.tables` names.
    Raises Infeasible where the design cannot serve at all, InputError where the workload cannot be read.
    """
    priced = prepare(design, cache or CostCache(), table)
    trace = load_trace(design.workload) if trace is None else trace
    return serve(design, priced, trace, log=log, use_reference=use_reference, gaps=gaps)


def serve(design: Design, priced: PricedDesign, trace: Trace, *, log: bool = False, use_reference: bool = False,
          gaps: bool = True) -> Result:
    """The second half of `simulate`, for a design that is priced already. Raises Infeasible where nothing fits, or more requests
    are rejected than the design allows."""
    rejected = int(np.count_nonzero(served_outputs(trace, priced.scheduler) == 0))
    if rejected < len(trace) and (too_many := rejection(design, rejected, len(trace))):
        raise Infeasible([too_many])
    run_engine = reference.run if use_reference else engine.run
    runs = [(part, run_engine(part, priced.scheduler, priced.costs, log=log, gaps=gaps))
            for part in split(trace, design.parallelism.replicas)]
    replicas = [Replica(with_arrivals(part, done), done) for part, done in runs]
    if all((replica.run.finish_ns < 0).all() for replica in replicas):
        raise Infeasible([Violation("kv_fit", 1.0, "no request of the trace fits the KV cache or max_model_len")])
    done = operator_totals(priced.prices, [r.run for r in replicas])
    metrics = summarise(design, [(r.trace, r.run) for r in replicas], done, priced.bill, priced.scheduler)
    result = Result(metrics, priced, replicas)
    metrics |= metric_plugins.measure_plugins(design, result)
    return result


def load() -> None:
    """Loads the compiled code that every simulation needs, so that the first one is not the slow one."""
    engine.load()
    order_statistics.warm()


def warm() -> None:
    """Compiles everything, or loads it from numba's cache (see `engine.warm`)."""
    engine.warm()
    order_statistics.warm()
