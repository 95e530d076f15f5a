"""The all-reduce measured between processes of one machine: NCCL on as many GPUs, gloo on a CPU."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from simulator.inputs.errors import InputError
from simulator.profiling.timing import Timed, timer

ELEMENT_BYTES = 2  # bf16
WAIT_S = 600


def measured_all_reduce(sizes: Sequence[int], ranks: int, device: str, launch: str, repeats: int) -> dict[int, Timed]:
    """{message bytes: time} between `ranks` processes, as rank 0 sees it. Raises InputError where a process fails."""
    import torch.multiprocessing as mp

    context = mp.get_context("spawn")
    answers = context.SimpleQueue()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    workers = [context.Process(target=_rank, args=(rank, ranks, port, tuple(sizes), device, launch, repeats, answers), daemon=True)
               for rank in range(ranks)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(WAIT_S)
    failed = [w.exitcode for w in workers if w.exitcode != 0]
    for worker in workers:
        if worker.is_alive():
            worker.kill()
    if failed or answers.empty():
        raise InputError(f"all-reduce across {ranks} processes failed on {device} (see above); fix the cause or profile with "
                         "--tp 1", key="--tp")
    return {size: Timed(**timed) for size, timed in answers.get().items()}


def _rank(rank: int, ranks: int, port: int, sizes: tuple[int, ...], device: str, launch: str, repeats: int, answers: Any) -> None:
    import torch
    import torch.distributed as dist

    if device == "cuda":
        torch.cuda.set_device(rank)
    dist.init_process_group("nccl" if device == "cuda" else "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank,
                            world_size=ranks)
    # every rank must repeat as often as the others: no budget of seconds here, the repeats are few
    found = {}
    for size in sizes:
        message = torch.zeros(size // ELEMENT_BYTES, dtype=torch.bfloat16, device=device)
        found[size] = asdict(_fixed(torch, dist, message, device, launch, repeats))
    if rank == 0:
        answers.put(found)
    dist.barrier()
    dist.destroy_process_group()


def _fixed(torch: Any, dist: Any, message: Any, device: str, launch: str, repeats: int) -> Timed:
    if device == "cuda":
        return timer(torch, device, launch, repeats)(lambda: dist.all_reduce(message))
    import time

    from simulator.profiling.timing import WARM_UP, summarised

    samples = []
    for turn in range(WARM_UP + repeats):
        dist.barrier()
        start = time.perf_counter()
        dist.all_reduce(message)
        if turn >= WARM_UP:
            samples.append(time.perf_counter() - start)
    return summarised(samples)
