"""A fake daemon behind the real API, and fake compute parties that seal real releases."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio

from mpcd import canonical
from mpcd.api import profile as profiles
from mpcd.api import sockets
from mpcd.api.jobs import Job, JobBook
from mpcd.api.opening import PinnedParty
from mpcd.api.profile import Profile
from mpcd.api.server import ApiServer, SocketKind
from mpcd.api.types import Caller, EventBatch, JobResult, Map, NodeInfo
from mpcd.governance.receipt import Receipt, SignedReceipt
from mpcd.identity import ReleaseEnvelope, ResultPublicKey, SignedRequest, SigningKey
from mpcd.ids import PartyId, PlanHash, RequestDigest, RosterHash, SessionId
from mpcd.results.shape import INTEGER, TEXT, KeyShape, Output, Shape, Value, ValueShape
from mpcd.store.keyfiles import write_key

ROSTER_HASH = RosterHash(bytes(range(32)))
SHAPE = Shape(
    keys=(KeyShape("horTh", TEXT, 2, nullable=False, levels=("no", "yes")),),
    gates=2,
    values=(ValueShape("p", 0), ValueShape("q", 1)),
    outputs=(Output("count", INTEGER, Value(0)), Output("total", INTEGER, Value(1))),
    having=None,
    order=(),
    limit=None,
    offset=0,
)
SESSION = SessionId(b"s" * 32)
STATUSES = [[0, 0], [0, 1]]
VALUES = [[440, 246], [-(2**100), 0]]
MODULUS = {"p": 2**61 - 1, "q": 2**127 - 1}
SIZE = {"p": 8, "q": 16}


def plan_value(shape: Shape = SHAPE, compute: Sequence[int] = (0, 1, 2)) -> dict[str, Any]:
    return {
        "version": 1,
        "logical": {"shape": shape.to_value()},
        "rules": {"safe_threshold": 11},
        "owners": [0, 1, 2],
        "compute": list(compute),
        "data_versions": [],
        "security": "semi-honest",
    }


def payloads(
    statuses: list[list[int]], values: list[list[int]], rng: random.Random, shape: Shape = SHAPE
) -> list[dict[str, Any]]:
    """What the three compute parties hold, before sealing."""
    words = -(-shape.cells // 64) * 8
    made: list[dict[str, Any]] = [{"statuses": [], "values": []} for _ in range(3)]
    for gate in statuses:
        for holder in made:
            holder["statuses"].append([])
        for plane in range(3):
            bits = sum((code >> plane & 1) << cell for cell, code in enumerate(gate))
            shares = [rng.getrandbits(shape.cells) for _ in range(2)]
            shares.append(bits ^ shares[0] ^ shares[1])
            for i, holder in enumerate(made):
                a, b = shares[i], shares[(i + 1) % 3]
                holder["statuses"][-1].append([a.to_bytes(words, "little"), b.to_bytes(words, "little")])
    for value, numbers in zip(shape.values, values, strict=True):
        modulus, size = MODULUS[value.field], SIZE[value.field]
        columns = []
        for number in numbers:
            x0, x1 = rng.randrange(modulus), rng.randrange(modulus)
            columns.append([x0, x1, (number - x0 - x1) % modulus])
        for i, holder in enumerate(made):
            pair = [b"".join(column[j].to_bytes(size, "little") for column in columns) for j in (i, (i + 1) % 3)]
            holder["values"].append(pair)
    return made


@dataclass
class Consortium:
    """Three parties that sign releases, and one analyst who pins them."""

    directory: Path
    keys: list[SigningKey]
    profile: Profile
    rng: random.Random
    plan: dict[str, Any] = field(default_factory=plan_value)
    session: SessionId = SESSION

    def seal(
        self,
        contents: list[dict[str, Any]],
        request_digest: RequestDigest,
        result_key: ResultPublicKey,
        /,
        **changes: Any,
    ) -> list[bytes]:
        plan_hash = PlanHash(canonical.digest_bytes("plan", canonical.encode(self.plan)))
        envelopes = []
        for party, content in enumerate(contents):
            plaintext = canonical.encode(content)
            arguments: dict[str, Any] = {
                "party": PartyId(party),
                "session": self.session,
                "request_digest": request_digest,
                "plan_hash": plan_hash,
                "plaintext": plaintext,
                "padded_bytes": len(plaintext),
                "result_key": result_key,
                "signing_key": self.keys[party],
            }
            if party == 1:
                arguments.update(changes)
            envelopes.append(ReleaseEnvelope.seal(**arguments).to_bytes())
        return envelopes

    def result(self, request: SignedRequest) -> JobResult:
        contents = payloads(STATUSES, VALUES, self.rng)
        releases = self.seal(contents, request.digest(), request.request.result_key)
        facts: Map = {"rounds": 9, "bytes_sent": 1234, "receipt": self.receipt(request)}
        return JobResult(canonical.encode(self.plan), tuple(releases), facts)

    def receipt(self, request: SignedRequest, **changes: Any) -> bytes:
        """Signed by all three."""
        asked = request.request
        fields: dict[str, Any] = {
            "session": self.session,
            "consortium": asked.consortium,
            "roster_hash": ROSTER_HASH,
            "request_digest": request.digest(),
            "question_digest": asked.question_digest(),
            "quote_digest": asked.quote_digest,
            "analyst": asked.analyst.raw,
            "purpose": asked.purpose,
            "plan_hash": PlanHash(canonical.digest_bytes("plan", canonical.encode(self.plan))),
            "at": 1_000_000,
            "parties": tuple(PartyId(place) for place in range(len(self.keys))),
            "data_versions": {},
            "lines": [],
        }
        body = Receipt(**{**fields, **changes}).to_bytes()
        signatures = {PartyId(place): key.sign("receipt", body) for place, key in enumerate(self.keys)}
        return SignedReceipt(body, signatures).to_bytes()


def make_consortium(tmp_path: Path) -> Consortium:
    rng = random.Random(2)
    keys = [SigningKey.generate(rng.randbytes) for _ in range(3)]
    parties = [PinnedParty(PartyId(i), f"hospital-{i}", key.public, True) for i, key in enumerate(keys)]
    write_key(tmp_path / profiles.KEY_FILE, SigningKey.generate(rng.randbytes))
    text = profiles.render(
        consortium="three-hospitals", roster_version=1, roster_hash=ROSTER_HASH, socket=Path("x"), parties=parties
    )
    (tmp_path / profiles.FILE).write_text(text)
    return Consortium(tmp_path, keys, Profile.load(tmp_path), rng)


@pytest.fixture
def consortium(tmp_path: Path) -> Consortium:
    return make_consortium(tmp_path)


class FakeBackend:
    """Answers at once, or as the test tells it to."""

    def __init__(self, consortium: Consortium | None = None) -> None:
        self.consortium = consortium
        self.jobs = JobBook(lambda: 1_000.0)
        self.failure: BaseException | None = None
        self.calls: list[tuple[str, Any]] = []
        self.run_job: Callable[[Job, SignedRequest], None] = self.finish_at_once
        self.hold: trio.Event | None = None

    def finish_at_once(self, job: Job, request: SignedRequest) -> None:
        assert self.consortium is not None
        job.state("proposed")
        job.progress(1, 2, "half way")
        job.finish(self.consortium.result(request))

    def node_info(self) -> NodeInfo:
        return NodeInfo("0.1.0", PartyId(0), "hospital-0", "three-hospitals", 1, ROSTER_HASH, "semi-honest")

    async def _note(self, name: str, *arguments: Any) -> None:
        self.calls.append((name, arguments))
        await trio.lowlevel.checkpoint()
        if self.hold is not None:
            await self.hold.wait()
        if self.failure is not None:
            raise self.failure

    async def describe(self, caller: Caller, analyst: str | None) -> Map:
        await self._note("describe", caller, analyst)
        return {"consortium": "three-hospitals", "tables": []}

    async def explain(self, caller: Caller, signed_request: bytes) -> Map:
        await self._note("explain", signed_request)
        return {"rounds": 9, "refusals": []}

    async def submit(
        self, caller: Caller, signed_request: bytes, idempotency_key: str, attachments: Mapping[str, bytes]
    ) -> str:
        await self._note("submit", idempotency_key)
        request = SignedRequest.from_bytes(signed_request)
        request.verify(float(request.request.issued_at), ROSTER_HASH, "three-hospitals")
        job, new = self.jobs.open(caller, request.digest(), idempotency_key)
        if new:
            self.run_job(job, request)
        return job.name

    async def watch(self, caller: Caller, job: str, from_seq: int) -> EventBatch:
        return await self.jobs.get(caller, job).wait(from_seq)

    async def cancel(self, caller: Caller, job: str) -> None:
        self.jobs.cancel(caller, job)

    async def result(self, caller: Caller, job: str) -> JobResult:
        return self.jobs.get(caller, job).result()

    async def status(self, caller: Caller) -> Map:
        await self._note("status")
        return {"state": "running", "security": "semi-honest"}

    async def peers(self) -> list[Map]:
        await self._note("peers")
        return [{"party": 1, "name": "hospital-1", "state": "connected"}]

    async def ledger_verify(self) -> Map:
        await self._note("ledger_verify")
        return {"entries": 2, "head": "ab", "valid": True}

    async def ledger_entries(self, from_seq: int | None, count: int) -> list[Map]:
        await self._note("ledger_entries", from_seq, count)
        return []

    async def table_list(self) -> list[Map]:
        await self._note("table_list")
        return []

    async def table_import(self, table: str, paths: Sequence[str]) -> Map:
        await self._note("table_import", table, list(paths))
        return {"table": table, "rows": 3}

    async def table_publish(self, table: str, data_version: str | None) -> Map:
        await self._note("table_publish", table, data_version)
        return {"name": table}

    async def reload(self) -> Map:
        await self._note("reload")
        return {}

    async def drain(self, *, off: bool = False) -> Map:
        await self._note("drain", *(["off"] if off else []))
        return {"jobs_running": 0}

    async def domain(self, domain: str, call: str, caller: Caller, params: Map) -> Map:
        await self._note("domain", domain, call, caller.role, params)
        return {"domain": domain, "call": call}


@pytest.fixture
def backend(consortium: Consortium) -> FakeBackend:
    return FakeBackend(consortium)


@pytest.fixture
def short_directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="mpcd-", dir="/tmp") as directory:
        yield Path(directory)


Serve = Callable[..., Any]


@pytest.fixture
def serve(backend: FakeBackend, short_directory: Path) -> Serve:
    """`async with serve() as path`: the API on a socket of its own."""

    @asynccontextmanager
    async def _serve(kind: SocketKind = "api", admin_uids: Sequence[int] = ()) -> AsyncIterator[Path]:
        path = short_directory / f"{kind}.sock"
        listener = sockets.listen(path)
        server = ApiServer(backend, kind, admin_uids)
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve, listener)
            yield path
            nursery.cancel_scope.cancel()

    return _serve


@pytest.fixture
def not_admin(monkeypatch: pytest.MonkeyPatch) -> None:
    """The callers are neither root nor the daemon's user: as the daemon of another user would see us."""
    real = sockets._CREDENTIALS.unpack

    class Credentials:
        size = sockets._CREDENTIALS.size

        @staticmethod
        def unpack(raw: bytes) -> tuple[int, int, int]:
            pid, _uid, gid = real(raw)
            return pid, 4321, gid

    monkeypatch.setattr(sockets, "_CREDENTIALS", Credentials)
    monkeypatch.setattr(os, "getuid", lambda: 1234)


@pytest.fixture
def make_payloads() -> Callable[..., list[dict[str, Any]]]:
    return payloads
