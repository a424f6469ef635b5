"""The jobs of one daemon and their events (layer 12): the part of a backend that `Submit`, `Watch` and `Result` share.

A job is known by a random name, to the uid that made it and to administrators; to everybody else it does not exist.
Events are kept in memory, the oldest dropped beyond a limit (a watcher that asks for a dropped one has lagged).
Finished jobs are forgotten, oldest first, beyond a limit; running ones never are: a full table answers `Busy`.  Results
are let go, oldest first, where all together hold more bytes than they may; their jobs stay known.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import Final

import trio

from mpcd import limits
from mpcd.api.types import Caller, Event, EventBatch, JobResult, error_to_map
from mpcd.canonical import Value
from mpcd.errors import Busy, Lagged, MpcdError, NotFound, RequestInvalid

JOB_NAME_BYTES: Final = 12


class Job:
    """One request on its way; whoever runs it calls `state`, `progress`, and at last `finish` or `fail` once."""

    def __init__(
        self,
        name: str,
        uid: int,
        request_digest: bytes,
        clock: Callable[[], float],
        on_result: Callable[[Job], None] = lambda _job: None,
    ) -> None:
        """`on_result` is told once the job holds a result."""
        self.name = name
        self.uid = uid
        self.request_digest = request_digest
        self.over = False
        self.cancel_requested = trio.Event()
        self._clock = clock
        self._events: deque[Event] = deque(maxlen=limits.API_JOB_EVENTS_MAX)
        self._next_seq = 0
        self._changed = trio.Event()
        self._on_result = on_result
        self._result: JobResult | None = None
        self._error: MpcdError | None = None

    def state(self, state: str, **data: Value) -> None:
        """The session entered `state` (the lifecycle's words)."""
        self.emit("state", {"state": state, **data})

    def progress(self, done: int, total: int, what: str) -> None:
        """`done` of `total` steps (0 if unknown) are behind us; `what` is a short phrase for people."""
        self.emit("progress", {"done": done, "total": total, "what": what})

    def emit(self, kind: str, data: Mapping[str, Value]) -> None:
        """Append an event; wakes the watchers."""
        assert not self.over
        self._append(kind, data)

    def finish(self, result: JobResult) -> None:
        """The job is over with a result."""
        assert not self.over
        self._result = result
        self.over = True
        self._append("over", {"state": "released"})
        self._on_result(self)

    def fail(self, error: MpcdError, state: str = "aborted") -> None:
        """The job is over without one."""
        assert not self.over
        self._error = error
        self.over = True
        self._append("over", {"state": state, "error": error_to_map(error)})

    def result(self) -> JobResult:
        """The result, or the error that ended the job.

        Raises:
            NotFound: there is none yet, or it is no longer kept.
        """
        if self._error is not None:
            raise self._error
        if self._result is None and self.over:
            raise NotFound("The job's result is no longer kept, newer ones took its place; ask your question again.")
        if self._result is None:
            raise NotFound("The job has no result yet; watch it until it is over.")
        return self._result

    @property
    def result_bytes(self) -> int:
        """What the result that is kept here holds; 0 without one."""
        result = self._result
        return 0 if result is None else len(result.plan) + sum(map(len, result.releases))

    def drop_result(self) -> None:
        """Let the result go; the job stays over."""
        self._result = None

    async def wait(self, from_seq: int) -> EventBatch:
        """Events from `from_seq` on, as soon as there is one or the job is over.

        Raises:
            Lagged: some of them are no longer kept.
            RequestInvalid: `from_seq` is not reached and cannot be.
        """
        if from_seq > self._next_seq:
            raise RequestInvalid(f"The job has no event {from_seq}; the next one is {self._next_seq}.")
        while from_seq == self._next_seq and not self.over:
            await self._changed.wait()
        oldest = self._next_seq - len(self._events)
        if from_seq < oldest:
            raise Lagged(f"Events before {oldest} of this job are no longer kept.", next_seq=oldest)
        return EventBatch(tuple(event for event in self._events if event.seq >= from_seq), self.over)

    def _append(self, kind: str, data: Mapping[str, Value]) -> None:
        self._events.append(Event(self.name, self._next_seq, kind, self._clock(), dict(data)))
        self._next_seq += 1
        self._changed.set()
        self._changed = trio.Event()


class JobBook:
    """All jobs of one daemon."""

    def __init__(
        self,
        clock: Callable[[], float],
        jobs_max: int = limits.API_JOBS_MAX,
        results_bytes_max: int = limits.API_RESULTS_BYTES_MAX,
    ) -> None:
        self._clock = clock
        self._jobs_max = jobs_max
        self._results_bytes_max = results_bytes_max
        self._with_result: deque[Job] = deque()
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._by_key: dict[tuple[int, str], Job] = {}

    def open(self, caller: Caller, request_digest: bytes, idempotency_key: str) -> tuple[Job, bool]:
        """The job for this key and whether it is new.

        Raises:
            RequestInvalid: the key already stands for another request.
            Busy: too many jobs run.
        """
        known = self._by_key.get((caller.uid, idempotency_key))
        if known is not None:
            if known.request_digest != request_digest:
                raise RequestInvalid("This idempotency key already stands for another request; use a fresh one.")
            return known, False
        self._make_room()
        job = Job(secrets.token_hex(JOB_NAME_BYTES), caller.uid, request_digest, self._clock, self._keep_result)
        self._jobs[job.name] = job
        self._by_key[caller.uid, idempotency_key] = job
        return job, True

    def get(self, caller: Caller, name: str) -> Job:
        """The caller's job of that name; `NotFound` also for somebody else's."""
        job = self._jobs.get(name)
        if job is None or (job.uid != caller.uid and not caller.is_admin):
            raise NotFound("There is no such job.")
        return job

    def cancel(self, caller: Caller, name: str) -> None:
        """Note that the caller wants the job's end; its runner decides whether that is still possible."""
        self.get(caller, name).cancel_requested.set()

    def running(self) -> int:
        """How many jobs are not over."""
        return sum(not job.over for job in self._jobs.values())

    def _keep_result(self, job: Job) -> None:
        """`job` has its result: the oldest ones make room for it, which itself always stays."""
        self._with_result.append(job)
        total = sum(other.result_bytes for other in self._with_result)
        while total > self._results_bytes_max and len(self._with_result) > 1:
            oldest = self._with_result.popleft()
            total -= oldest.result_bytes
            oldest.drop_result()

    def _make_room(self) -> None:
        if len(self._jobs) < self._jobs_max:
            return
        oldest = next((job for job in self._jobs.values() if job.over), None)
        if oldest is None:
            raise Busy(f"{self._jobs_max} jobs are running here; try again when one has ended.")
        del self._jobs[oldest.name]
        if oldest in self._with_result:
            self._with_result.remove(oldest)
        self._by_key = {key: job for key, job in self._by_key.items() if job is not oldest}
