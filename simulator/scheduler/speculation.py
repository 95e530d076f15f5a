"""What speculation reserves and proposes; numbers in comments are the rules on speculation (S)."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.scheduler.acceptance import RecordedAcceptance, accepted_of, draw, thresholds
from simulator.scheduler.config import SpeculationConfig
from simulator.scheduler.requests import Entry, Request

METHODS = ("ngram", "suffix", "medusa", "eagle", "eagle3", "mtp", "draft_model", "dflash")
SYNCHRONOUS = ("ngram", "suffix", "medusa")  # proposals are made on the host, from the tokens that came out (S21)


@dataclass(frozen=True)
class Reserved:
    """What a method takes beyond the tokens that it verifies (table S1)."""

    lookahead: int = 0  # KV slots behind a request's last token, into which the drafter writes
    drafting: int = 0  # tokens of the step's budget per request, scheduled or not
    reads_ahead: int = 0  # known tokens that the drafter reads beyond a position
    drops_last: bool = False  # the last block of a prefix hit is computed again, for the drafter


def reserved(speculation: SpeculationConfig | None) -> Reserved:
    """The row of table S1."""
    if speculation is None or speculation.method in ("ngram", "suffix", "medusa"):
        return Reserved()
    k, parallel = speculation.tokens, speculation.parallel
    if speculation.method == "draft_model":
        return Reserved(k, k if parallel else 1, 0, False)
    if speculation.method == "dflash":
        return Reserved(k + 1, k, 1, True)
    reads_ahead = k if min(speculation.modules, k) > 1 else 1
    return Reserved(k, k - 1 if parallel else 0, reads_ahead, True)


def cut_for_reading_ahead(new: int, left: int, reads_ahead: int) -> int:
    """A drafter of several modules reads several tokens ahead: of a request with `left` known tokens to compute, a chunk of `new`
    never leaves fewer than that, except none (S6)."""
    return left - reads_ahead if reads_ahead > 1 and 0 < left - new < reads_ahead else new


class Drafts:
    """Proposals and what the target accepts of them. All of it is input: the model is not run."""

    def __init__(self, speculation: SpeculationConfig | None) -> None:
        self.tokens = speculation.tokens if speculation else 0
        self.acceptance = speculation.acceptance if speculation else None
        if speculation and not isinstance(speculation.acceptance, RecordedAcceptance):
            self.thresholds, self.seed = thresholds(speculation.acceptance.at_least), speculation.acceptance.seed

    def accepted(self, entry: Entry) -> int:
        """Drafts of a batch entry that the target accepts (S13); of a padded admission none."""
        request = entry.request
        if not entry.checked or entry.padded:
            return 0
        if isinstance(self.acceptance, RecordedAcceptance):
            recorded = self.acceptance.accepted[request.index]
            value = recorded[request.verified % len(recorded)]
            request.verified += 1
            return min(value, entry.checked)
        return int(accepted_of(draw(self.seed, request.index, request.outputs), self.thresholds, entry.checked))

    def proposed(self, request: Request) -> int:
        """Drafts for its next step, after one that gave tokens (S14)."""
        if not isinstance(self.acceptance, RecordedAcceptance) or self.acceptance.proposed is None:
            return self.tokens
        recorded = self.acceptance.proposed[request.index]
        request.proposals += 1
        return recorded[(request.proposals - 1) % len(recorded)]
