"""What the owner's people and an analyst are told over the socket; the work behind it is tested elsewhere."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from mpcd.api.domains.approvals import VERBS
from mpcd.api.types import Caller, JobResult, Map
from mpcd.daemon.domains.approvals import ApprovalsDomain
from mpcd.errors import NotFound, RequestInvalid

ANALYST = Caller(1, 1, 1, "client")


class Waiting:
    async def state(self, digest: bytes, revision: int | None = None) -> Map:
        if digest != b"d" * 32:
            raise NotFound("no such request is kept here")
        return {"state": "waiting", "revision": revision}

    async def result(self, digest: bytes) -> JobResult:
        raise AssertionError(digest)

    async def withdraw(self, digest: bytes, signature: bytes) -> str:
        raise AssertionError(digest, signature)


def domain() -> ApprovalsDomain:
    return ApprovalsDomain(cast("Any", SimpleNamespace(waiting=Waiting())))


def test_only_the_owners_people_see_and_decide() -> None:
    roles = {verb.name: verb.role for verb in VERBS}
    assert {name for name, role in roles.items() if role == "client"} == {"State", "Result", "Withdraw"}
    assert all(hasattr(ApprovalsDomain, verb.call) for verb in VERBS)


async def test_an_analyst_asks_by_the_digest() -> None:
    assert await domain().state(ANALYST, {"request": b"d" * 32, "revision": 3}) == {"state": "waiting", "revision": 3}
    with pytest.raises(NotFound):
        await domain().state(ANALYST, {"request": b"e" * 32})


@pytest.mark.parametrize("name", [b"short", b"", "d" * 32, None])
async def test_nothing_else_names_a_request(name: Any) -> None:
    for verb in ("state", "result", "withdraw"):
        with pytest.raises(RequestInvalid):
            await getattr(domain(), verb)(ANALYST, {"request": name, "signature": b"s" * 64})
