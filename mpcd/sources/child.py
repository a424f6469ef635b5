"""The daemon's side of a killable child process.

A `Child` is one process and one request at a time.  What the parent guarantees, whatever the child does:

- It is started with `python -m`, a minimal environment, its own session, and no descriptor but its two pipes.
- A request ends within its deadline: the child is killed with SIGKILL, never asked.  The same happens when the caller
  is cancelled, when a reply is longer than its cap or is no frame, and when the child reports an error that is not one
  of `mpcd.errors`, since nobody knows what state such a child is in.
- Every such end is the one `ChildFailed`, with one text.  The cause (`reason`) goes to the local log, as a word from
  the list below; an engine's own error text goes nowhere (SECURITY rule 17).

The process is started from the thread that runs trio, not from a worker thread: PR_SET_PDEATHSIG fires when the
*thread* that started the child ends, and trio retires its idle worker threads.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

import structlog
import trio

import mpcd
from mpcd import limits
from mpcd.errors import EngineFailed, MpcdError, closed_codes
from mpcd.sources import frames

Reason = Literal["deadline", "cancelled", "closed", "reply", "error", "start"]
"""Why a child was given up: deadline; the caller left; it died (or hit a limit); its reply; its error; its start."""

_LOG = structlog.get_logger("mpcd.sources")
_MESSAGE: Final = "a local data process failed; the operator of that host finds the cause in the log (child_failed)"
_READ_BYTES: Final = 2**18


class ChildFailed(EngineFailed):
    """A child died, was killed, or broke its side of the conversation.  One text for every cause."""

    def __init__(self, reason: Reason, child: str) -> None:
        super().__init__(_MESSAGE)
        self.reason = reason
        self.child = child


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """What to start, and the limits it lives under."""

    module: str
    """Run with `python -m`; its `main` calls `child_side.serve`."""
    memory_bytes_max: int
    """RLIMIT_AS: address space, so about twice what the child may really use."""
    request_bytes_max: int = limits.CHILD_REQUEST_BYTES_MAX
    reply_bytes_max: int = limits.CHILD_REPLY_BYTES_MAX
    start_seconds_max: float = limits.CHILD_START_SECONDS_MAX
    uses_max: int = limits.CHILD_USES_MAX
    """Requests after which the child is replaced; CPU time and leaks do not add up for ever."""
    files_max: int = 64
    written_bytes_max: int = 0
    """RLIMIT_FSIZE; a child that only reads can write nothing at all."""
    leave_network: bool = True

    @property
    def name(self) -> str:
        """Short name for the log."""
        return self.module.rpartition(".")[2]


def _environment() -> dict[str, str]:
    """Nothing of the daemon's environment but where the code is; `-S` skips what start-up hooks would add."""
    root = Path(mpcd.__file__).resolve().parent.parent
    found = (Path(path).resolve() for path in sys.path if path)
    paths = [str(root), *(str(path) for path in found if path != root and path.is_dir())]
    return {"PYTHONPATH": os.pathsep.join(paths), "LC_ALL": "C.UTF-8", "TZ": "UTC", "PATH": os.defpath}


def _cpu_seconds_used(pid: int) -> float:
    """Processor time of all threads of `pid` so far, from /proc/PID/stat (fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Child:
    """One warm process; made by `Child.start`, ended by `close` (or by its first failure)."""

    def __init__(self, spec: ChildSpec, process: subprocess.Popen[bytes], complaints: int) -> None:
        """Use `Child.start`."""
        assert process.stdin is not None
        assert process.stdout is not None
        self.spec = spec
        self.uses = 0
        self.offline = False
        """Whether the kernel let the child leave the network."""
        self.known: set[bytes] = set()
        """Digests of what the child already holds; for the owner of the child to keep."""
        self._process = process
        self._requests = trio.lowlevel.FdStream(os.dup(process.stdin.fileno()))
        self._replies = trio.lowlevel.FdStream(os.dup(process.stdout.fileno()))
        process.stdin.close()
        process.stdout.close()
        self._complaints = complaints
        self._buffer = bytearray()
        self._busy = False
        self._dead = False
        self._cause: tuple[Reason, str] | None = None

    @classmethod
    async def start(cls, spec: ChildSpec) -> Self:
        """Start a process and wait until it is confined; raises `ChildFailed("start")`."""
        complaints = os.memfd_create("complaints")
        try:
            process = subprocess.Popen(  # noqa: ASYNC220, S603  see the theory above; no shell, our own module
                [sys.executable, "-S", "-P", "-s", "-B", "-m", spec.module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                close_fds=True,
                start_new_session=True,
                cwd="/",
                env=_environment(),
            )
        except BaseException:
            os.close(complaints)
            raise
        child = cls(spec, process, complaints)
        first = {
            "parent": os.getpid(),
            "memory_bytes_max": spec.memory_bytes_max,
            "request_bytes_max": spec.request_bytes_max,
            "reply_bytes_max": spec.reply_bytes_max,
            "files_max": spec.files_max,
            "written_bytes_max": spec.written_bytes_max,
            "cpu_seconds_max": int(spec.start_seconds_max) + 1,
            "leave_network": spec.leave_network,
        }
        try:
            answer = await child._exchange(first, spec.start_seconds_max, starting=True)
            child.offline = _offline(answer)
        except BaseException:
            await child.close()
            raise
        return child

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def usable(self) -> bool:
        """Alive as far as is known, idle, and not yet used up."""
        return not self._dead and not self._busy and self.uses < self.spec.uses_max and self._process.poll() is None

    async def call(self, op: str, body: Mapping[str, object], *, seconds: float) -> object:
        """Send one request and return its answer.

        Args:
            op: the handler's name in the child.
            body: msgpack values; `op` is added.
            seconds: the deadline from now; processor time is capped accordingly.

        Raises:
            ChildFailed: anything but an answer; the child is dead then.
            MpcdError: the child's own typed refusal (code and message); the child stays usable.
        """
        self.uses += 1
        self._arm_cpu(seconds)
        answer = await self._exchange({"op": op, **body}, seconds)
        match answer:
            case {"ok": value}:
                return value
            case {"error": [str(code), str(message)]} if code in closed_codes():
                raise _typed(code, message)
            case {"failed": str(kind)}:
                raise self._give_up("error", kind)
            case _:
                raise self._give_up("reply", "no answer")

    def _arm_cpu(self, seconds: float) -> None:
        """Allow the processor time that this request can use on every core it may run on, and no more."""
        try:
            used = _cpu_seconds_used(self.pid)
            hard = resource.prlimit(self.pid, resource.RLIMIT_CPU)[1]
            cores = len(os.sched_getaffinity(0))
            resource.prlimit(self.pid, resource.RLIMIT_CPU, (int(used + seconds * cores) + 2, hard))
        except (ProcessLookupError, FileNotFoundError) as error:
            raise self._give_up("closed", "before the request") from error

    async def _exchange(self, request: Mapping[str, object], seconds: float, *, starting: bool = False) -> object:
        assert not self._busy, "a child answers one request at a time"
        self._busy = True
        try:
            with trio.move_on_after(seconds):
                await self._requests.send_all(frames.pack(dict(request), self.spec.request_bytes_max))
                return frames.unpack(await self._receive())
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.EndOfChannel) as error:
            raise self._give_up("start" if starting else "closed", type(error).__name__) from error
        except frames.FrameError as error:
            raise self._give_up("reply", "no frame, or too long") from error
        except BaseException:
            self._give_up("cancelled", "the caller left")
            raise
        finally:
            self._busy = False
        raise self._give_up("start" if starting else "deadline", f"{seconds:.3g} s")

    async def _receive(self) -> memoryview:
        await self._fill(frames.HEADER_BYTES)
        length = frames.body_bytes(self._buffer[: frames.HEADER_BYTES], self.spec.reply_bytes_max)
        total = frames.HEADER_BYTES + length
        await self._fill(total)
        if len(self._buffer) != total:
            raise frames.FrameError("bytes after the answer")
        body = memoryview(self._buffer)[frames.HEADER_BYTES :]
        self._buffer = bytearray()
        return body

    async def _fill(self, count: int) -> None:
        while len(self._buffer) < count:
            part = await self._replies.receive_some(_READ_BYTES)
            if not part:
                raise trio.EndOfChannel
            self._buffer += part

    def kill(self) -> None:
        """SIGKILL to the child's whole session, at once; `close` reaps it.  Safe to call twice."""
        if self._dead:
            return
        self._dead = True
        if self._process.poll() is None:
            # The child leads its own session and is not reaped before `poll` says so: the id is still its own.
            os.killpg(self._process.pid, signal.SIGKILL)

    def retire(self) -> None:
        """Use the child no more after this request."""
        self.uses = self.spec.uses_max

    def distrust(self) -> ChildFailed:
        """Give the child up because its answer made no sense; the caller raises what is returned."""
        return self._give_up("reply", "an answer that makes no sense")

    def _give_up(self, reason: Reason, detail: str) -> ChildFailed:
        """Kill, note the cause for the log, and build the error to raise."""
        self.kill()
        if self._cause is None:
            self._cause = (reason, detail)
        return ChildFailed(reason, self.spec.name)

    async def close(self) -> None:
        """End the child, reap it and free its pipes; never fails.  Logs why if it had to be given up."""
        self.kill()
        with trio.CancelScope(shield=True):
            await self._requests.aclose()
            await self._replies.aclose()
            await self._reap()
        if self._cause is not None:
            reason, detail = self._cause
            self._cause = None
            if reason == "start":
                # Written before the first request: an import error, never anything of a request or a row.
                detail += ": " + os.pread(self._complaints, 2000, 0).decode(errors="replace").strip()[-300:]
            _LOG.warning(
                "child_failed",
                child=self.spec.name,
                reason=reason,
                detail=detail,
                child_pid=self.pid,
                exit_status=self._process.returncode,
            )
        if self._complaints >= 0:
            os.close(self._complaints)
            self._complaints = -1

    async def _reap(self) -> None:
        """Wait until the kernel has freed what the child held (long for many GiB); the event loop goes on."""
        if self._process.poll() is not None:
            return
        descriptor = os.pidfd_open(self._process.pid)
        try:
            await trio.lowlevel.wait_readable(descriptor)
        finally:
            os.close(descriptor)
        self._process.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _offline(answer: object) -> bool:
    """What the child's first frame says; anything else is a failed start."""
    match answer:
        case {"ok": {"offline": bool(offline)}}:
            return offline
        case _:
            raise ChildFailed("start", "a first frame of another form")


def _typed(code: str, message: str) -> MpcdError:
    """The child's typed refusal as our own exception of the same code."""
    kind = closed_codes()[code]
    error = kind.__new__(kind)
    Exception.__init__(error, message)
    return error
