from __future__ import annotations

import pickle
from collections.abc import Callable, Coroutine, Mapping

import pytest

from mpcd.errors import Bug, SessionFault
from mpcd.field import Buffer
from mpcd.ids import COMPUTE_ROLES, PartyId, Role, SessionId, Step
from mpcd.session import agreement
from mpcd.session.keys import CONFIRM_COST, CONFIRM_STEP, PrssKeys

COMPUTE = (PartyId(4), PartyId(0), PartyId(9))
SESSION = SessionId(bytes([3]) * 32)
Secrets = dict[tuple[int, int], bytes]
"""By index of the one that drew it and of the one that it was drawn for."""


def secrets() -> Secrets:
    return {(i, j): bytes([16 * i + j + 1]) * 32 for i in range(3) for j in range(3) if i != j}


def channel_between(i: int) -> Callable[[PartyId], bytes]:
    return lambda party: bytes(sorted((i, COMPUTE.index(party)))) * 32


def derive(
    i: int,
    drawn: Secrets | None = None,
    session: SessionId = SESSION,
    channel_hash: Callable[[PartyId], bytes] | None = None,
) -> PrssKeys:
    drawn = secrets() if drawn is None else drawn
    others = [j for j in range(3) if j != i]
    return PrssKeys.derive(
        i,
        session,
        COMPUTE,
        {COMPUTE[j]: drawn[i, j] for j in others},
        {COMPUTE[j]: drawn[j, i] for j in others if (j, i) in drawn},
        channel_hash or channel_between(i),
    )


class Tags:
    """Every party's tags, exchanged without a network; `meddle` is the man in the middle."""

    def __init__(self, keys: list[PrssKeys]) -> None:
        self.keys = keys
        self.sent: dict[tuple[Role, Role], bytes] = {}
        self.meddle: Callable[[Role, Role, bytes], bytes] = lambda _sender, _receiver, tag: tag

    async def exchange(self, me: Role, send: Mapping[Role, Buffer], expect: Mapping[Role, int]) -> dict[Role, bytes]:
        self.sent |= {(me, role): bytes(tag) for role, tag in send.items()}
        return {role: self.meddle(role, me, self.tag(role, me)) for role in expect}

    def tag(self, sender: Role, receiver: Role) -> bytes:
        """What `sender` tells `receiver`, from its own keys."""
        keys = self.keys[sender.index]
        key = keys.own if receiver.index == (sender.index - 1) % 3 else keys.following
        return agreement.key_confirmation(key, keys._session, sender.index)


class OneParty:
    """`protocols.context.Transport` of one compute party."""

    def __init__(self, tags: Tags, index: int) -> None:
        self._tags = tags
        self._me = COMPUTE_ROLES[index]

    async def exchange(
        self, step: Step, send: Mapping[Role, Buffer], expect: Mapping[Role, int]
    ) -> Mapping[Role, Buffer]:
        assert step == CONFIRM_STEP
        assert sum(len(bytes(tag)) for tag in send.values()) == CONFIRM_COST.compute[self._me.index]
        assert set(expect.values()) == {agreement.TAG_BYTES}
        return await self._tags.exchange(self._me, send, expect)

    async def compute(self, kernel: Callable[..., object], *args: object) -> object:
        return kernel(*args)


def now(work: Coroutine[object, None, None]) -> None:
    """Run what never waits."""
    with pytest.raises(StopIteration):
        work.send(None)


def confirm(tags: Tags, index: int) -> None:
    now(tags.keys[index].confirm(OneParty(tags, index)))  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------ derivation


def test_neighbours_hold_the_same_keys_and_nobody_else_does() -> None:
    keys = [derive(i) for i in range(3)]
    for i in range(3):
        assert keys[i].following == keys[(i + 1) % 3].own
    assert len({key.own for key in keys}) == 3


@pytest.mark.parametrize("pair", sorted(secrets()))
def test_every_secret_is_in_the_key_of_its_pair_and_in_no_other(pair: tuple[int, int]) -> None:
    before = [derive(i) for i in range(3)]
    after = [derive(i, {**secrets(), pair: bytes(32)}) for i in range(3)]
    changed = {i for i in range(3) if before[i].own != after[i].own}
    # P_i's own key is the one that it shares with P_{i-1}.
    first, second = pair
    assert changed == {second if (first + 1) % 3 == second else first}
    assert all(after[i].following == after[(i + 1) % 3].own for i in range(3))


def test_another_session_or_another_channel_gives_other_keys() -> None:
    assert derive(1, session=SessionId(bytes(32))).own != derive(1).own
    assert derive(1, channel_hash=lambda _party: bytes(64)).own != derive(1).own
    assert derive(1, channel_hash=lambda _party: bytes(64)).following != derive(1).following


def test_the_two_ends_differ_when_what_they_saw_differs() -> None:
    seen_otherwise = {**secrets(), (0, 1): bytes(32)}
    assert derive(0).following != derive(1, seen_otherwise).own
    assert derive(0).following != derive(1, session=SessionId(bytes(32))).own
    assert derive(0).following != derive(1, channel_hash=lambda _party: bytes(64)).own


def test_a_neighbour_that_sent_no_secret_is_named() -> None:
    drawn = secrets()
    del drawn[2, 0]
    with pytest.raises(SessionFault, match="party 9 sent no key material"):
        derive(0, drawn)


def test_keys_are_opaque() -> None:
    keys = derive(0)
    assert keys.own.hex() not in repr(keys)
    assert repr(keys) == "<PRSS keys of compute party 0>"
    with pytest.raises(Bug):
        pickle.dumps(keys)


# ------------------------------------------------------------------------------------------------ confirmation


def test_equal_keys_are_confirmed_by_all() -> None:
    tags = Tags([derive(i) for i in range(3)])
    for index in range(3):
        confirm(tags, index)
    assert len(set(tags.sent.values())) == 6, "no tag is shown twice"


def failure(tags: Tags, index: int, other: int) -> None:
    with pytest.raises(SessionFault, match=f"compute parties {index} and {other} hold different keys"):
        tags.keys[index].confirm(OneParty(tags, index)).send(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("receiver", range(3))
@pytest.mark.parametrize("step", [1, 2])
def test_a_tampered_tag_is_no_confirmation(receiver: int, step: int) -> None:
    sender = (receiver + step) % 3
    tags = Tags([derive(i) for i in range(3)])
    for place in (0, 31):

        def flip(source: Role, target: Role, tag: bytes, place: int = place) -> bytes:
            if (source.index, target.index) != (sender, receiver):
                return tag
            return tag[:place] + bytes([tag[place] ^ 1]) + tag[place + 1 :]

        tags.meddle = flip
        failure(tags, receiver, sender)


@pytest.mark.parametrize("receiver", range(3))
@pytest.mark.parametrize("step", [1, 2])
def test_ones_own_tag_sent_back_is_no_confirmation(receiver: int, step: int) -> None:
    sender = (receiver + step) % 3
    tags = Tags([derive(i) for i in range(3)])
    me, other = COMPUTE_ROLES[receiver], COMPUTE_ROLES[sender]
    tags.meddle = lambda source, _target, tag: tags.sent[me, other] if source == other else tag
    failure(tags, receiver, sender)


def test_a_tag_for_the_other_neighbour_is_no_confirmation() -> None:
    tags = Tags([derive(i) for i in range(3)])
    me, following, previous = COMPUTE_ROLES
    tags.meddle = lambda source, _target, tag: tags.tag(following, previous) if source == following else tag
    failure(tags, me.index, following.index)


@pytest.mark.parametrize(
    "other",
    [
        derive(1, {**secrets(), (0, 1): bytes(32)}),
        derive(1, session=SessionId(bytes(32))),
        derive(1, channel_hash=lambda _party: bytes(64)),
    ],
    ids=["another secret", "another session", "another channel"],
)
def test_ends_that_differ_notice_both(other: PrssKeys) -> None:
    tags = Tags([derive(0), other, derive(2)])
    failure(tags, 0, 1)
    tags.sent.clear()
    with pytest.raises(SessionFault, match="compute parties 1 and"):
        other.confirm(OneParty(tags, 1)).send(None)  # type: ignore[arg-type]
