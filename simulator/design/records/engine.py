"""A serving engine as a record: what one version does by default, and what its host costs. `configs/engines/*.yaml`.

A rule list is ordered; the first rule whose `when` holds gives the value. What a record leaves out is not known of that
version, or the version has no such thing. The functions that read a record are in `simulator.design.engine_defaults`.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from simulator.design.records.base import (
    Bytes,
    Count,
    Fraction,
    NonNegative,
    PositiveInt,
    PositiveSeconds,
    Record,
    Seconds,
    Sequence,
    Share,
)

_BOUND = re.compile(r"(>=|<=|>|<|=)(\d+(?:\.\d+)?)")


def bound_holds(bound: str, value: float) -> bool:
    """Whether `value` lies in a bound such as `>=70` or `<4`."""
    match = _BOUND.fullmatch(bound)
    assert match is not None, bound  # the record was validated
    limit = float(match[2])
    return {">=": value >= limit, "<=": value <= limit, ">": value > limit, "<": value < limit, "=": value == limit}[match[1]]


def _is_bound(text: str) -> str:
    if not _BOUND.fullmatch(text):
        raise ValueError(f"'{text}' is not a bound such as '>=70' or '<4'")
    return text


Bound = Annotated[str, AfterValidator(_is_bound)]
Texts = Annotated[tuple[str, ...], Sequence]
Ints = Annotated[tuple[PositiveInt, ...], Sequence]


class When(Record):
    """Conditions of a rule, all of which must hold; an empty one always does."""

    memory: Bound | None = None  # GiB of device memory, as the driver reports them
    name_has: str | None = None  # the device's name in lower case holds this
    name_lacks: str | None = None  # it does not hold this
    sm: Ints | None = None  # compute capability x 10: 90 Hopper, 100 and 103 data-centre Blackwell
    context: Literal["server", "offline"] | None = None
    tensor: Bound | None = None
    pipeline: Bound | None = None
    data: Bound | None = None  # attention data-parallel ranks
    expert_parallel: bool | None = None
    all2all: Texts | None = None
    speculation: bool | None = None
    hybrid: bool | None = None  # models with recurrent layers
    latent: bool | None = None  # multi-head latent attention


class IntRule(Record):
    """A whole number where `when` holds; `per_device`: for each device of a replica."""

    when: When = When()
    value: PositiveInt
    per_device: bool = False


IntRules = Annotated[tuple[IntRule, ...], Sequence]


class Running(Record):
    """SGLang's cap on running requests where none is set: tokens / context x per_context within least .. most, and no more
    than one per two tokens of the pool."""

    per_context: PositiveInt
    least: PositiveInt
    most: PositiveInt
    speculation: PositiveInt  # with a drafter


class Limits(Record):
    """Token budget and sequence limit of a step, and the order in which the engine adjusts what the user leaves open."""

    max_num_batched_tokens: IntRules  # SGLang: the prefill chunk; TensorRT-LLM: max_num_tokens
    max_num_seqs: IntRules = ()  # SGLang: see `running`; TensorRT-LLM: max_batch_size
    running: Running | None = None
    max_prefill_tokens: PositiveInt | None = None  # SGLang: prompts of one prefill batch together
    throughput_doubles: bool = False  # performance_mode throughput doubles both limits that are left open
    unchunked_budget: Literal["at_least_longest", "longest", "unchanged"] = "unchanged"  # with chunked prefill off
    budget_within_seqs: bool = False  # an open budget is at most max_num_seqs x max_model_len
    seqs_within_budget: bool = False  # an open sequence limit is at most the budget
    budget_divided_by_data: bool = False  # SGLang's chunk is shared by the ranks of data-parallel attention


class AsyncScheduling(Record):
    """Whether the next step is scheduled while the device runs this one, by default and where it cannot."""

    default: bool
    pipeline: Literal["never", "always", "runner_v2"] = "never"  # with more than one pipeline stage
    drafters: Texts = ()  # speculation that it works with


class NewTokenRatio(Record):
    """SGLang's guess of how much of their reserved outputs running requests will use; falls with decode steps."""

    start: Fraction = 0.7  # SGLANG_INIT_NEW_TOKEN_RATIO
    floor: Fraction = 0.14  # share of the start that it falls to; SGLANG_MIN_NEW_TOKEN_RATIO_FACTOR
    steps: PositiveInt = 600  # SGLANG_NEW_TOKEN_RATIO_DECAY_STEPS
    data_attention: Fraction = 0.3  # factor on the start with data-parallel attention; server_args.py
    retract_steps: PositiveInt = 20  # SGLANG_RETRACT_DECODE_STEPS

    def after(self, steps: int, conservativeness: float = 1.0) -> float:
        """The ratio after so many decode steps since the queue was last empty."""
        top = self.start * conservativeness
        return max(top - (top - top * self.floor) * steps / self.steps, top * self.floor)


class SglangScheduler(Record):
    """What SGLang's scheduler is set by, beyond the limits; defaults of 0.5.14."""

    mixed_chunk: bool = False  # decodes ride along with prompts; server_args.py
    # above so many waiting, longest-prefix order falls back to arrival order; schedule_policy.py
    longest_prefix_queue: PositiveInt = 128
    clip_max_new_tokens: PositiveInt = 4096  # of outputs that admission counts with; schedule_policy.py
    new_token_ratio: NewTokenRatio = NewTokenRatio()


class BatchWait(Record):
    """TensorRT-LLM holds prompts back until they fill a share of the budget, or for so many iterations."""

    timeout_iterations: Count = 0
    ratio: Share = 0.0

    def releases(self, context_tokens: int, generation_tokens: int, budget: int, waited: int) -> bool:
        """Whether prompts of so many tokens join an iteration, having waited so many."""
        if not self.timeout_iterations or not generation_tokens or waited >= self.timeout_iterations:
            return True
        return context_tokens + generation_tokens >= self.ratio * budget


class DataAttentionBalance(Record):
    """TensorRT-LLM's attention data parallelism: whether ranks wait for each other's prompts."""

    balance: bool
    timeout_iterations: Count
    batching_wait_iterations: Count


class TrtllmScheduler(Record):
    """What TensorRT-LLM's scheduler is set by, beyond the limits; defaults of main after 1.3.0rc (llm_args.py)."""

    capacity: Literal["guaranteed_no_evict", "max_utilization"] = "guaranteed_no_evict"
    chunking: Literal["fcfs", "equal_progress"] = "fcfs"
    chunk_unit: PositiveInt = 32  # tokens
    batch_wait: BatchWait = BatchWait()
    data_attention: DataAttentionBalance = DataAttentionBalance(balance=False, timeout_iterations=50,
                                                                batching_wait_iterations=10)


class EngineScheduler(Record):
    """Family: whose code path; everything else is data of that path."""

    family: Literal["vllm_v1", "sglang", "trtllm"]
    policy: Literal["fcfs", "lpm", "dfs-weight", "lof"] = "fcfs"
    chunked_prefill: bool
    async_scheduling: AsyncScheduling
    reserve_full_isl: bool = False  # admit a prompt only where all of it fits
    watermark: Annotated[float, Field(ge=0, lt=1)] = 0.0
    prefill_schedule_interval: PositiveInt = 1
    long_prefill_token_threshold: Count = 0
    stream_interval: PositiveInt = 1
    sglang: SglangScheduler | None = None
    trtllm: TrtllmScheduler | None = None


class PrefixCaching(Record):
    """Default of prefix caching, for models with attention alone and with recurrent layers."""

    default: bool
    hybrid: bool
    match_tokens: PositiveInt  # prefixes match in multiples of this
    hash: str | None = None


class StaticReserve(Record):
    """SGLang's guess, in MiB, of what the static memory fraction must leave free."""

    base: NonNegative
    per_chunk_token: NonNegative
    least_chunk: PositiveInt
    per_graph_row: NonNegative
    per_eight_devices: NonNegative
    per_data_graph_row: NonNegative  # with data-parallel attention, x ranks
    large_graph_rows: PositiveInt  # above: `per_data_graph_row_large` more
    per_data_graph_row_large: NonNegative
    per_prefill_graph: NonNegative  # prefill graphs, of models without latent attention
    prefill_graphs_latent: NonNegative
    least: NonNegative
    least_from_gib: NonNegative  # `least` holds for devices of more than this


class Kv(Record):
    """How the engine sizes its KV cache.

    measured_of_total: share of the device's memory, less weights and the measured peak of a step (vLLM);
    fraction_of_free_before_load: share of what was free before loading, less weights (SGLang);
    fraction_of_free_after_load: share of what is free after loading and a dummy step (TensorRT-LLM).
    """

    rule: Literal["measured_of_total", "fraction_of_free_before_load", "fraction_of_free_after_load"]
    fraction: Fraction | None = None  # None: by `static_reserve`
    static_reserve: StaticReserve | None = None
    graphs_charged: bool = False  # CUDA graphs come out of the fraction before the cache is sized
    block_size: IntRules
    null_blocks: Count = 0  # blocks of the pool that are never used
    prefix_caching: PrefixCaching
    longest_fits: bool = False  # max_model_len `auto` is accepted and is what fits


SizeRange = Annotated[tuple[PositiveInt, PositiveInt, PositiveInt], Sequence]  # first, last, step


class Graphs(Record):
    """CUDA graphs: which batches they cover. A batch above the largest size runs eager.

    mixed: decodes whole, any other batch piecewise; decode_only: batches of decodes alone; decode_and_prefill: both, with
    graphs of their own.
    """

    mode: Literal["none", "piecewise", "mixed", "decode_only", "decode_and_prefill"]
    pad: bool = True  # to the next size; else only exact sizes are covered
    pad_can_be_asked: bool = False
    per_sequence: PositiveInt | None = None  # the largest size is at most this x max_num_seqs x (1 + draft tokens)
    largest: IntRules
    sizes: Annotated[tuple[SizeRange, ...], Sequence]
    padded_sizes: Annotated[tuple[SizeRange, ...], Sequence] | None = None  # where padding is asked for
    interactive_sizes: Annotated[tuple[SizeRange, ...], Sequence] | None = None  # performance_mode interactivity
    speculative_sizes: Annotated[tuple[SizeRange, ...], Sequence] | None = None  # with a drafter
    adds: Annotated[tuple[Literal["largest", "budget", "seqs", "drafts"], ...], Sequence] = ()  # sizes of their own
    prefill_sizes: Annotated[tuple[SizeRange, ...], Sequence] | None = None  # tokens, cut at the chunk
    prefill_latent_most: PositiveInt | None = None  # and at this for models with latent attention


class FusedMessage(Record):
    """The largest message that a fused all-reduce takes at one tensor-parallel degree."""

    tensor: PositiveInt
    most_bytes: Bytes = Field(alias="most")


class Fusion(Record):
    """Neighbouring operators that the engine runs as one kernel, where."""

    site: Literal["allreduce_norm", "allreduce_norm_quant", "moe_finalize_allreduce_norm", "norm_quant", "act_quant",
                  "attention_output_quant"]
    sm: Ints | None = None
    models: Literal["all", "listed_moe"] = "all"
    messages: Annotated[tuple[FusedMessage, ...], Sequence] | None = None  # None: of any size

    def most_tokens(self, tensor: int, hidden: int, bytes_per_element: int = 2) -> int | None:
        """Tokens of a step up to which it applies at that degree; None: any number, 0: never."""
        if self.messages is None:
            return None
        most = next((message.most_bytes for message in self.messages if message.tensor == tensor), 0.0)
        return int(most // (hidden * bytes_per_element))


class Sampling(Record):
    """Whose sampling parameters a request takes that gives none, and which kernel masks top-k and top-p."""

    defaults: Literal["generation_config", "neutral"]
    top_k_p: Literal["sort", "triton", "flashinfer"]
    least_rows: PositiveInt = 1  # batches below this take the sort
    entry_s: PositiveSeconds = Field(alias="entry")  # per row and vocabulary entry; greedy reads the logits once instead


class HostPart(Record):
    """CPU time of one activity: of a step, and of each sequence in it."""

    step_s: Seconds = Field(default="0 s", alias="step", validate_default=True)
    sequence_s: Seconds = Field(default="0 s", alias="sequence", validate_default=True)


class FrontEnd(Record):
    """The processes between engine and client: they delay tokens, not steps, until they saturate."""

    token_s: Seconds = Field(default="0 s", alias="token", validate_default=True)  # detokenising, per token
    chunk_s: Seconds = Field(default="0 s", alias="chunk", validate_default=True)  # one streamed message
    processes: Literal["one", "per_data_rank"] = "one"


class Launches(Record):
    """Kernels that the host launches one by one for a layer where no CUDA graph covers a step, and the time of one."""

    attention: PositiveInt
    latent_attention: PositiveInt
    dense_mlp: PositiveInt
    experts_mlp: PositiveInt
    collective: PositiveInt  # more for each all-reduce with tensor parallelism
    quantise: Count  # more for a layer with 8-bit activations
    launch_s: PositiveSeconds = Field(alias="launch")


class EngineHost(Record):
    """Host time of a step. What `hidden` covers passes while the device works and shows if it is longer; `exposed` never hides."""

    schedule: HostPart = HostPart()
    update: HostPart = HostPart()
    worker: HostPart = HostPart()  # input preparation, launches, sampling's host side
    exposed: HostPart = HostPart()
    hidden: Literal["none", "async", "overlap"]
    lag_steps: Count = 0  # a finish is seen so many steps late
    front_end: FrontEnd = FrontEnd()
    launches: Launches


class Balance(Record):
    """How requests are dealt to data-parallel ranks inside one server, and whether ranks step together.

    score = max(clients x own in flight if `counts_own`, waiting x waiting_weight + running)
            + kv_waiting_weight x waiting x max(0, KV use - kv_threshold); the least is taken.
    """

    rule: Literal["score", "round_robin"]
    waiting_weight: NonNegative = 1.0
    counts_own: bool = False
    kv_waiting_weight: NonNegative = 0.0
    kv_threshold: Share = 0.0
    update_s: Seconds | None = Field(default=None, alias="update")

    def score(self, waiting: int, running: int, *, kv_use: float = 0.0, in_flight: int = 0, clients: int = 1) -> float:
        """What the balancer compares of one rank."""
        load = self.waiting_weight * waiting + running
        if self.counts_own:
            load = max(clients * in_flight, load)
        return load + self.kv_waiting_weight * waiting * max(0.0, kv_use - self.kv_threshold)


class DataParallel(Record):
    """Data-parallel ranks: placement, and who runs dummy steps while others work."""

    balance: Balance
    lockstep: Literal["all", "experts", "none"]  # which models' ranks step together
    idle_agreed_every: PositiveInt | None = None  # steps between agreements that all are idle


class DualBatch(Record):
    """Two micro-batches that hide expert all-to-all: off by default; the least tokens of a rank for which it is used."""

    default: bool
    decode_tokens: PositiveInt
    prefill_tokens: PositiveInt

    def used(self, tokens_by_rank: tuple[int, ...], *, decode: bool) -> bool:
        """Whether ranks with so many tokens split, once it is on: all agree or none does."""
        return min(tokens_by_rank) >= (self.decode_tokens if decode else self.prefill_tokens)


class Experts(Record):
    """Expert parallelism: the collective, and overlap of it."""

    all2all: str
    dual_batch: DualBatch | None = None


class Speculation(Record):
    """Draft tokens: slots reserved beyond a step, and how a forced acceptance length is drawn."""

    forced: Literal["per_sequence", "per_batch", "whole_drafts"]

    def rates(self, mean_length: float, drafts: int) -> tuple[float, ...]:
        """Acceptance by position that gives the mean length (bonus token included)."""
        left = mean_length - 1
        return tuple(min(max(left - position, 0.0), 1.0) for position in range(drafts))


class Transfer(Record):
    """Prefill and decode in separate servers."""

    connector: str
    first_token: Literal["decode", "prefill"]  # whose step gives the client its first token
    recompute_below: Count = 0  # fewer missing tokens than this are computed on the decode side
    buffer_bytes: Bytes | None = Field(default=None, alias="buffer")  # the connector's own on each device

    def pulls(self, missing_tokens: int) -> bool:
        """Whether so many missing tokens are transferred."""
        return missing_tokens >= max(self.recompute_below, 1)


class EngineRecord(Record):
    """One engine, one version. `context`, `performance_mode`, `runner`, `all2all` and `graph_padding` are what a deployment
    chooses; the rest is read from the engine."""

    name: str
    source: str = ""
    as_of: str  # version and date that were read
    context: Literal["server", "offline"] = "server"
    performance_mode: Literal["balanced", "throughput", "interactivity"] = "balanced"
    runner: Literal["v1", "v2"] | None = None
    graph_padding: bool | None = None  # None: the engine's default
    limits: Limits
    scheduler: EngineScheduler
    kv: Kv
    graphs: Graphs
    fusions: Annotated[tuple[Fusion, ...], Sequence] = ()
    sampling: Sampling
    host: EngineHost
    data_parallel: DataParallel
    experts: Experts
    speculation: Speculation
    transfer: Transfer
