"""The pool of Ray actors that simulate: two calls in flight per actor, grouped so that a call lasts 50 ms.

Who is to blame when an actor dies: actors run their calls in order, so the oldest unanswered call is the suspect and
the others on that actor are innocent; they are sent again. A suspect call of several tasks is sent again one task at a
time, so that in the end one task stands accused; it has two attempts. Ray restarts the actor; nothing is sent to it
until it answers a ping.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayError, RayTaskError

from simulator.pricing.cache import Snapshot
from sweeper.study.rows import Rows
from sweeper.study.trial import Trial
from sweeper.workers.pool_errors import PoolError
from sweeper.workers.shared_costs import SharedCosts
from sweeper.workers.spans import Span
from sweeper.workers.worker import Evaluator, NotStartedError, Reply, SimWorker, Task

IN_FLIGHT = 2  # calls per actor: the next one waits there while a result travels
CALL_SECONDS = 0.05  # what a grouped call should last: between two calls an actor rests for 1 ms
MAX_GROUP = 16  # a search learns nothing from trials under way
SPAN_SECONDS = 0.4  # what a span should last: its driver cost is that of one call
MAX_SPAN = 2048
MAX_ATTEMPTS = 2
START_SECONDS = 120.0  # for an actor to come (back) up
NODES_SECONDS = 2.0  # between two looks at the cluster
PING_PAUSE_SECONDS = 0.1


@dataclass
class _Call:
    reference: Any
    tasks: list[Task]
    span: Span | None = None  # instead of tasks


@dataclass
class _Lane:
    """One actor and what it was sent, oldest first."""

    actor: Any
    calls: deque[_Call] = field(default_factory=deque)
    head_since_s: float = 0.0  # when the oldest call became the oldest
    ping: Any = None  # reference of the `start` call that must be answered first
    down_since_s: float = 0.0
    next_ping_s: float = 0.0
    up: bool = False


def boot(workers: int, modules: Sequence[str] = ()) -> list[Any]:
    """Actors for a `Pool`, which start and import `modules` while the driver is still busy otherwise."""
    return [_actor_class().remote(modules) for _ in range(workers)]


def _actor_class() -> Any:
    return ray.remote(SimWorker).options(num_cpus=1, max_restarts=-1, max_task_retries=0, scheduling_strategy="SPREAD")


class Pool:
    """`workers` actors that share one cost snapshot. Ray must be initialised.

    elastic: one actor per CPU of the cluster instead, more as nodes join and fewer where nodes are lost; `workers` is
    then where it starts. booted: actors that are on their way already, the first ones of `workers`.
    """

    def __init__(self, make_evaluator: Callable[[], Evaluator], *, workers: int, costs: Snapshot,
                 trial_limit_s: float, elastic: bool = False, booted: Sequence[Any] = ()) -> None:
        self.costs = SharedCosts(costs, _put)
        self.cpu_s = 0.0  # of all workers, evaluating
        self._limit_s = trial_limit_s
        self._queue: deque[Task] = deque()
        self._alone: set[int] = set()  # numbers of tasks that must not share a call
        self._attempts: dict[int, int] = {}
        self._trial_seconds = CALL_SECONDS  # running mean of one trial
        self._point_seconds = SPAN_SECONDS  # the same of one point of a span
        self._spans: deque[Span] = deque()
        self._done: list[Trial] = []
        self._rows: list[Rows] = []
        self._broken: list[Span] = []
        self._maker = ray.put(make_evaluator)  # space and trace travel once; kept, since restarted actors need it
        self._actor = _actor_class()
        self._elastic, self._looked_s = elastic, -math.inf
        self._lanes = [_Lane(actor, down_since_s=time.monotonic()) for actor in booted]
        self._add_lanes(workers - len(booted))

    @property
    def workers(self) -> int:
        """Actors there are, up or not."""
        return len(self._lanes)

    def _add_lanes(self, count: int) -> None:
        self._lanes += [_Lane(self._actor.remote(), down_since_s=time.monotonic()) for _ in range(count)]

    @property
    def group(self) -> int:
        """Tasks that one call should hold, from the measured time of a trial."""
        return max(1, min(MAX_GROUP, round(CALL_SECONDS / max(self._trial_seconds, 1e-6))))

    @property
    def span_size(self) -> int:
        """Points that one span should hold."""
        return max(1, min(MAX_SPAN, round(SPAN_SECONDS / max(self._point_seconds, 1e-7))))

    def span_room(self) -> int:
        """How many more spans keep every actor busy."""
        under_way = sum(len(lane.calls) for lane in self._lanes) + len(self._queue) + len(self._spans)
        return max(0, len(self._lanes) * IN_FLIGHT - under_way)

    def room(self) -> int:
        """How many more tasks keep every actor busy; 0 when there is enough."""
        waiting = len(self._queue) + sum(len(c.tasks) for lane in self._lanes for c in lane.calls)
        return max(0, len(self._lanes) * IN_FLIGHT * self.group - waiting)

    def submit(self, tasks: Iterable[Task], *, alone: bool = False) -> None:
        """Queues tasks; each comes back exactly once from `collect`. alone: they must not share a call."""
        tasks = list(tasks)
        self._queue.extend(tasks)
        if alone:
            self._alone.update(task.number for task in tasks)
        self._dispatch()

    def submit_span(self, span: Span) -> None:
        """Queues a span; `take_rows` has its trials once `collect` saw them."""
        self._spans.append(span)
        self._dispatch()

    def take_rows(self) -> tuple[list[Rows], list[Span]]:
        """Trials of finished spans, and spans that killed their worker: send the tasks of these one by one."""
        taken = self._rows, self._broken
        self._rows, self._broken = [], []
        return taken

    def collect(self, timeout_s: float) -> list[Trial]:
        """Finished trials, waiting at most `timeout_s` for the first. Raises PoolError when no actor can start."""
        self._follow_cluster()
        self._ping()
        references = {call.reference: lane for lane in self._lanes for call in lane.calls}
        pings = {lane.ping: lane for lane in self._lanes if lane.ping is not None}
        waiting = [*references, *pings]
        done = bool(self._done or self._rows or self._broken)
        if waiting and not done:
            wait_s = min(timeout_s, PING_PAUSE_SECONDS) if any(not lane.up for lane in self._lanes) else timeout_s
            ready, _ = ray.wait(waiting, num_returns=1, timeout=wait_s)
            if ready:  # whatever else is ready is taken along
                ready, _ = ray.wait(waiting, num_returns=len(waiting), timeout=0)
            for reference in ready:
                if reference in pings:
                    self._pinged(pings[reference])
                else:
                    self._answered(references[reference], reference)
        elif not waiting and not done:
            time.sleep(min(timeout_s, PING_PAUSE_SECONDS))
        self._enforce_limit()
        self.costs.publish_if_due()
        self._dispatch()
        finished, self._done = self._done, []
        return finished

    def close(self) -> None:
        """Kills the actors; unfinished tasks are dropped."""
        for lane in self._lanes:
            ray.kill(lane.actor)
        self._lanes = []

    def _dispatch(self) -> None:
        while self._queue or self._spans:
            suspect = bool(self._queue) and self._queue[0].number in self._alone
            lanes = [lane for lane in self._lanes if self._takes(lane, suspect)]
            if not lanes:
                return
            lane = min(lanes, key=lambda lane: len(lane.calls))
            if self._queue:
                slots = sum(IN_FLIGHT - len(lane.calls) for lane in lanes)
                self._send(lane, self._take(math.ceil(len(self._queue) / slots)), None)
            else:
                self._send(lane, [], self._spans.popleft())

    def _takes(self, lane: _Lane, suspect: bool) -> bool:
        """Whether a call may be sent to a lane. A suspect has its actor to itself: the answer of a call that ran just
        before a crash can be lost with the process, and its tasks would stand accused in the culprit's place."""
        held = any(task.number in self._alone for call in lane.calls for task in call.tasks)
        return lane.up and not held and len(lane.calls) < (1 if suspect else IN_FLIGHT)

    def _take(self, share: int) -> list[Task]:
        tasks = [self._queue.popleft()]
        size = 1 if tasks[0].number in self._alone else min(self.group, share)
        while len(tasks) < size and self._queue and self._queue[0].number not in self._alone:
            tasks.append(self._queue.popleft())
        return tasks

    def _send(self, lane: _Lane, tasks: list[Task], span: Span | None) -> None:
        if not lane.calls:
            lane.head_since_s = time.monotonic()
        method, what = (lane.actor.evaluate, tasks) if span is None else (lane.actor.evaluate_span, span)
        lane.calls.append(_Call(method.remote(what, self.costs.version, self.costs.references), tasks, span))

    def _answered(self, lane: _Lane, reference: Any) -> None:
        call = next((c for c in lane.calls if c.reference is reference), None)
        if call is None:
            return  # dealt with when its actor died
        try:
            reply: Reply = ray.get(reference)
        except NotStartedError:
            self._lane_died(lane, "", counts_as=0)
        except RayTaskError as error:  # not the simulator's (those are trials) but the worker's own
            reason = " ".join(str(error.cause or error).split())[:500]
            self._finish([task.failed(reason) for task in call.tasks])
            self._broken.extend([call.span] if call.span else [])
            lane.calls.remove(call)
        except RayError as error:
            self._lane_died(lane, f"crashed the worker ({type(error).__name__})")
        else:
            lane.calls.remove(call)
            self._accept(reply, call.span)
        lane.head_since_s = time.monotonic()

    def _accept(self, reply: Reply, span: Span | None) -> None:
        rows = reply.rows
        self.cpu_s += reply.cpu_s
        self.costs.add(reply.new_costs, reply.counters, len(reply.trials if rows is None else rows))
        if rows is not None and span is not None:
            self._point_seconds += 0.3 * (min(rows.seconds / len(span), 4 * self._point_seconds) - self._point_seconds)
            self._rows.append(rows)
            return
        for trial in reply.trials:
            seconds = min(trial.seconds, 4 * self._trial_seconds)  # a first trial that compiles is not the rule
            self._trial_seconds += 0.1 * (seconds - self._trial_seconds)
        self._finish([replace(t, attempt=self._attempts[t.number] + 1) if t.number in self._attempts else t
                      for t in reply.trials])

    def _finish(self, trials: list[Trial]) -> None:
        self._done.extend(trials)
        for trial in trials:
            self._alone.discard(trial.number)
            self._attempts.pop(trial.number, None)

    def _lane_died(self, lane: _Lane, reason: str, *, counts_as: int = 1) -> None:
        """Sorts a dead actor's calls: answered, suspect (the oldest unanswered), innocent."""
        calls, lane.calls = list(lane.calls), deque()
        lane.up, lane.ping, lane.down_since_s = False, None, time.monotonic()
        again: list[Task] = []
        suspect: _Call | None = None
        for call in calls:
            reply = _reply_if_ready(call.reference)
            if reply is not None:
                self._accept(reply, call.span)
            elif suspect is None:
                suspect = call
            else:
                again.extend(call.tasks)
                self._spans.extendleft([call.span] if call.span else [])
        if suspect is not None and suspect.span is not None:
            (self._broken if counts_as else self._spans).append(suspect.span)
        elif suspect is not None:
            again = self._accuse(suspect.tasks, reason, counts_as) + again
        self._queue.extendleft(reversed(again))

    def _accuse(self, tasks: list[Task], reason: str, counts_as: int) -> list[Task]:
        """The tasks to send again; a single task out of attempts is finished as failed."""
        if not counts_as:
            return tasks
        if len(tasks) > 1:
            self._alone.update(task.number for task in tasks)
            return tasks
        number = tasks[0].number
        attempts = self._attempts[number] = self._attempts.get(number, 0) + counts_as
        if attempts < MAX_ATTEMPTS:
            self._alone.add(number)
            return tasks
        self._finish([tasks[0].failed(reason, attempt=attempts)])
        return []

    def _enforce_limit(self) -> None:
        now = time.monotonic()
        for lane in self._lanes:
            if lane.calls and now - lane.head_since_s > self._limit_s:
                ray.kill(lane.actor, no_restart=False)
                self._lane_died(lane, f"took longer than {self._limit_s:g} s", counts_as=MAX_ATTEMPTS)

    def _follow_cluster(self) -> None:
        """As many actors as the cluster has CPUs; those that found no place any more go first."""
        now = time.monotonic()
        if not self._elastic or now - self._looked_s < NODES_SECONDS:
            return
        self._looked_s = now
        wanted = max(1, int(ray.cluster_resources().get("CPU", 0)))
        homeless = [lane for lane in self._lanes if not lane.up][: max(0, len(self._lanes) - wanted)]
        for lane in homeless:
            ray.kill(lane.actor)
            self._lanes.remove(lane)
        self._add_lanes(max(0, wanted - len(self._lanes)))

    def _ping(self) -> None:
        now = time.monotonic()
        for lane in self._lanes:
            if not lane.up and lane.ping is None and now >= lane.next_ping_s:
                lane.ping = lane.actor.start.remote(self._maker)
            if not lane.up and now - lane.down_since_s > START_SECONDS and not any(other.up for other in self._lanes):
                raise PoolError(f"a worker did not start within {START_SECONDS:g} s")

    def _pinged(self, lane: _Lane) -> None:
        try:
            lane.up = ray.get(lane.ping)
        except RayTaskError as error:
            raise PoolError(f"the workers do not start: {' '.join(str(error.cause).split())[:500]}") from error
        except ActorDiedError:  # for good: it ended by itself, so Ray does not restart it
            lane.actor = self._actor.remote()
        except RayError:
            lane.next_ping_s = time.monotonic() + PING_PAUSE_SECONDS
        lane.ping = None


def _put(value: Any) -> Any | None:
    """Its reference in the object store; None where that is full, and the disk that it spills to as well."""
    try:
        return ray.put(value)
    except RayError:
        return None


def _reply_if_ready(reference: Any) -> Reply | None:
    try:
        ready, _ = ray.wait([reference], timeout=0)
        return ray.get(reference) if ready else None
    except RayError:
        return None
