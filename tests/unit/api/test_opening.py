from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mpcd import canonical
from mpcd.api.opening import Opened, open_releases
from mpcd.errors import ResultInvalid
from mpcd.identity import ReleaseEnvelope, ResultKey, SigningKey
from mpcd.ids import PartyId, PlanHash, RequestDigest, SessionId
from mpcd.results.shape import INTEGER, KeyShape, Output, Shape, Value, ValueShape

DIGEST = RequestDigest(b"r" * 32)
STATUSES = [[0, 0], [0, 1]]
VALUES = [[440, 246], [-(2**100), 0]]
Contents = list[dict[str, Any]]


@pytest.fixture(scope="module")
def result_key() -> ResultKey:
    return ResultKey.generate(random.Random(5).randbytes)


@pytest.fixture
def contents(make_payloads: Callable[..., Contents]) -> Contents:
    return make_payloads(STATUSES, VALUES, random.Random(3))


def open_all(consortium: Any, key: ResultKey, releases: list[bytes], plan: bytes | None = None) -> Opened:
    return open_releases(
        canonical.encode(consortium.plan) if plan is None else plan,
        releases,
        request_digest=DIGEST,
        result_key=key,
        parties=consortium.profile.parties,
    )


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_honest_releases_open_in_any_order(
    consortium: Any, result_key: ResultKey, contents: Contents, order: tuple[int, ...]
) -> None:
    releases = consortium.seal(contents, DIGEST, result_key.public)
    opened = open_all(consortium, result_key, [releases[i] for i in order])
    assert opened.statuses == STATUSES
    assert opened.values == VALUES
    assert opened.session == consortium.session
    assert opened.plan["security"] == "semi-honest"


@pytest.mark.parametrize("seed", range(5))
def test_extreme_values_and_many_cells_survive(
    consortium: Any, result_key: ResultKey, make_payloads: Callable[..., Contents], seed: int
) -> None:
    rng = random.Random(seed)
    shape = Shape(
        keys=(KeyShape("k", INTEGER, 70, nullable=True),),
        gates=1,
        values=(ValueShape("p", 0), ValueShape("q", 0)),
        outputs=(Output("x", INTEGER, Value(0)),),
        having=None,
        order=(),
        limit=None,
        offset=0,
    )
    statuses = [[rng.choice([0, 0, 1, 2, 3, 4]) for _ in range(71)]]
    edge = {0: [2**60 - 1, -(2**60 - 1), 0, 1, -1], 1: [2**126 - 1, -(2**126 - 1), 2**64, 0, -1]}
    values = [[rng.choice(edge[v]) if status == 0 else 0 for status in statuses[0]] for v in range(2)]
    consortium.plan["logical"]["shape"] = shape.to_value()
    releases = consortium.seal(make_payloads(statuses, values, rng, shape), DIGEST, result_key.public)
    opened = open_all(consortium, result_key, releases)
    assert opened.statuses == statuses
    assert opened.values == values


def flip(data: bytes, bit: int = 0) -> bytes:
    return bytes([data[0] ^ 1 << bit]) + data[1:]


@pytest.mark.parametrize("party", range(3))
@pytest.mark.parametrize("copy_index", [0, 1])
@pytest.mark.parametrize("where", ["status 0", "status 1", "value 0", "value 1"])
def test_one_changed_copy_of_any_share_is_found_and_named(
    consortium: Any, result_key: ResultKey, contents: Contents, party: int, copy_index: int, where: str
) -> None:
    kind, index = where.split()
    if kind == "status":
        pair = contents[party]["statuses"][int(index)][2]
        what = f"the status of gate {index}"
    else:
        pair = contents[party]["values"][int(index)]
        what = where
    pair[copy_index] = flip(pair[copy_index])
    with pytest.raises(ResultInvalid, match=what) as caught:
        open_all(consortium, result_key, consortium.seal(contents, DIGEST, result_key.public))
    other = (party + 1) % 3 if copy_index == 1 else (party - 1) % 3
    assert f"hospital-{party}" in str(caught.value)
    assert f"hospital-{other}" in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"session": SessionId(b"t" * 32)},
        {"request_digest": RequestDigest(b"x" * 32)},
        {"plan_hash": PlanHash(b"y" * 32)},
        {"signing_key": SigningKey.generate(random.Random(9).randbytes)},
        {"result_key": ResultKey.generate(random.Random(9).randbytes).public},
        {"party": PartyId(7)},
        {"party": PartyId(2)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_an_envelope_for_something_else_is_refused(
    consortium: Any, result_key: ResultKey, contents: Contents, change: dict[str, Any]
) -> None:
    releases = consortium.seal(contents, DIGEST, result_key.public, **change)
    with pytest.raises(ResultInvalid):
        open_all(consortium, result_key, releases)


@pytest.mark.parametrize(
    "change",
    [
        lambda e: replace(e, ciphertext=flip(e.ciphertext)),
        lambda e: replace(e, ciphertext=e.ciphertext + b"\0"),
        lambda e: replace(e, signature=flip(e.signature)),
        lambda e: replace(e, session=SessionId(b"t" * 32)),
        lambda e: replace(e, plan_hash=PlanHash(b"t" * 32)),
        lambda e: replace(e, request_digest=RequestDigest(b"t" * 32)),
        lambda e: replace(e, party=PartyId(1)),
    ],
)
@pytest.mark.parametrize("party", [0, 2])
def test_any_changed_field_of_an_envelope_is_refused(
    consortium: Any, result_key: ResultKey, contents: Contents, change: Any, party: int
) -> None:
    releases = consortium.seal(contents, DIGEST, result_key.public)
    releases[party] = change(ReleaseEnvelope.from_bytes(releases[party])).to_bytes()
    with pytest.raises(ResultInvalid):
        open_all(consortium, result_key, releases)


@pytest.mark.parametrize("drop", [0, 1, 2])
def test_missing_repeated_and_undecodable_releases_are_refused(
    consortium: Any, result_key: ResultKey, contents: Contents, drop: int
) -> None:
    releases = consortium.seal(contents, DIGEST, result_key.public)
    kept = [release for index, release in enumerate(releases) if index != drop]
    for bad in (kept, [*kept, kept[0]], [*kept, b"\x80"], [*releases, releases[0]], []):
        with pytest.raises(ResultInvalid):
            open_all(consortium, result_key, bad)


@pytest.mark.parametrize(
    "change",
    [
        lambda plan: plan.update(compute=[0, 1]),
        lambda plan: plan.update(compute=[0, 1, 1]),
        lambda plan: plan.update(compute=[0, 1, 9]),
        lambda plan: plan.update(compute=[0, 1, "2"]),
        lambda plan: plan.update(compute=[1, 0, 2]),
        lambda plan: plan.update(security="malicious"),
        lambda plan: plan.pop("security"),
        lambda plan: plan["logical"].pop("shape"),
        lambda plan: plan["logical"]["shape"].update(gates=0),
        lambda plan: plan.update(rules={}),
    ],
)
def test_a_plan_that_was_not_signed_is_refused(
    consortium: Any, result_key: ResultKey, contents: Contents, change: Any
) -> None:
    releases = consortium.seal(contents, DIGEST, result_key.public)
    plan = copy.deepcopy(consortium.plan)
    change(plan)
    with pytest.raises(ResultInvalid):
        open_all(consortium, result_key, releases, canonical.encode(plan))
    with pytest.raises(ResultInvalid):
        open_all(consortium, result_key, releases, canonical.encode(consortium.plan) + b"\0")


def test_a_plan_that_lets_an_input_party_compute_is_refused(
    consortium: Any, result_key: ResultKey, contents: Contents
) -> None:
    releases = consortium.seal(contents, DIGEST, result_key.public)
    parties = dict(consortium.profile.parties)
    parties[PartyId(2)] = replace(parties[PartyId(2)], computes=False)
    with pytest.raises(ResultInvalid, match="party 2"):
        open_releases(
            canonical.encode(consortium.plan),
            releases,
            request_digest=DIGEST,
            result_key=result_key,
            parties=parties,
        )


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("values"),
        lambda content: content.update(more=1),
        lambda content: content["values"].pop(),
        lambda content: content["values"].append([b"", b""]),
        lambda content: content["statuses"].pop(),
        lambda content: content["statuses"][0].pop(),
        lambda content: content["values"][0].pop(),
        lambda content: content["values"].__setitem__(0, [bytes(8), bytes(16)]),
        lambda content: content["values"].__setitem__(0, [1, 2]),
        lambda content: content["values"].__setitem__(1, content["values"][0]),
    ],
)
def test_a_payload_of_another_form_is_refused(
    consortium: Any, result_key: ResultKey, contents: Contents, change: Any
) -> None:
    change(contents[0])
    with pytest.raises(ResultInvalid, match="hospital-0"):
        open_all(consortium, result_key, consortium.seal(contents, DIGEST, result_key.public))


def set_share(contents: Contents, value: int, index: int, data: bytes) -> None:
    """Both holders' copies of one share, as two colluding parties could."""
    contents[index]["values"][value][0] = data
    contents[index - 1]["values"][value][1] = data


@pytest.mark.parametrize(("value", "size"), [(0, 8), (1, 16)])
def test_shares_outside_the_field_are_refused(
    consortium: Any, result_key: ResultKey, contents: Contents, value: int, size: int
) -> None:
    modulus = {8: 2**61 - 1, 16: 2**127 - 1}[size]
    old = contents[1]["values"][value][0]
    set_share(contents, value, 1, modulus.to_bytes(size, "little") + old[size:])
    with pytest.raises(ResultInvalid, match="outside its field"):
        open_all(consortium, result_key, consortium.seal(contents, DIGEST, result_key.public))


def test_unknown_status_codes_and_stray_bits_are_refused(
    consortium: Any, result_key: ResultKey, make_payloads: Callable[..., Contents]
) -> None:
    for statuses in ([[6, 0], [0, 0]], [[7, 0], [0, 0]]):
        contents = make_payloads(statuses, [[0, 1], [0, 0]], random.Random(1))
        with pytest.raises(ResultInvalid, match="unknown code"):
            open_all(consortium, result_key, consortium.seal(contents, DIGEST, result_key.public))
    contents = make_payloads(STATUSES, VALUES, random.Random(1))
    stray = bytearray(contents[0]["statuses"][0][0][0])
    stray[-1] ^= 0x80
    contents[0]["statuses"][0][0][0] = contents[2]["statuses"][0][0][1] = bytes(stray)
    with pytest.raises(ResultInvalid, match="beyond the last cell"):
        open_all(consortium, result_key, consortium.seal(contents, DIGEST, result_key.public))


def test_a_suppressed_cell_that_is_not_zero_is_refused(
    consortium: Any, result_key: ResultKey, make_payloads: Callable[..., Contents]
) -> None:
    contents = make_payloads(STATUSES, [[440, 246], [5, 9]], random.Random(1))
    with pytest.raises(ResultInvalid, match="suppressed"):
        open_all(consortium, result_key, consortium.seal(contents, DIGEST, result_key.public))


def test_releases_of_two_sessions_do_not_mix(consortium: Any, result_key: ResultKey, contents: Contents) -> None:
    first = consortium.seal(contents, DIGEST, result_key.public)
    consortium.session = SessionId(b"u" * 32)
    second = consortium.seal(contents, DIGEST, result_key.public)
    with pytest.raises(ResultInvalid, match="another session"):
        open_all(consortium, result_key, [first[0], second[1], first[2]])
