"""The PRSS keys of one compute party in one session, and their confirmation (no I/O beyond the transport).

`own` is the key that P_i shares with P_{i-1}, `following` the one that it shares with P_{i+1} (`protocols.prss`).
They are made from fresh secrets of both ends, see `agreement`; they live in memory only and are never shown.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from typing import Final, NoReturn

from mpcd.errors import Bug, SessionFault
from mpcd.ids import COMPUTE_PARTIES, PartyId, Role, SessionId, Step
from mpcd.protocols.context import Transport
from mpcd.protocols.cost import Cost, each
from mpcd.session import agreement

CONFIRM_STEP: Final = Step("confirm-keys")
CONFIRM_COST: Final[Cost] = each(rounds=1, sent=2 * agreement.TAG_BYTES)


class PrssKeys:
    """Two keys and the way to confirm them; opaque."""

    __slots__ = ("_index", "_session", "following", "own")

    def __init__(self, index: int, session: SessionId, own: bytes, following: bytes) -> None:
        self._index = index
        self._session = session
        self.own = own
        self.following = following

    def __repr__(self) -> str:
        return f"<PRSS keys of compute party {self._index}>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise Bug("keys are not pickled")

    @classmethod
    def derive(
        cls,
        index: int,
        session: SessionId,
        compute: tuple[PartyId, PartyId, PartyId],
        drawn: Mapping[PartyId, bytes],
        received: Mapping[PartyId, bytes],
        channel_hash: Callable[[PartyId], bytes],
    ) -> PrssKeys:
        """Keys of compute party `index` with its two neighbours.

        Args:
            index: our own compute index, 0 to 2.
            session: the derived session id.
            compute: the compute parties in order.
            drawn: the 32-byte secret that we drew for each other party.
            received: the 32-byte secret that each other party drew for us.
            channel_hash: handshake hash of the channel to a party.

        Raises:
            SessionFault: a neighbour sent no secret.
        """

        def key(other_index: int) -> bytes:
            other = compute[other_index]
            if other not in received:
                raise SessionFault(f"party {other} sent no key material; the session cannot be prepared")
            ours, theirs = (index, drawn[other]), (other_index, received[other])
            lower, upper = (ours, theirs) if index < other_index else (theirs, ours)
            return agreement.pair_key(session, channel_hash(other), lower, upper)

        return cls(index, session, key((index - 1) % COMPUTE_PARTIES), key((index + 1) % COMPUTE_PARTIES))

    async def confirm(self, transport: Transport) -> None:
        """Compare a tag of each key with its other holder, one round.

        Raises:
            SessionFault: a tag differs: the two concluded from different answers, or their channel was replaced
            meanwhile.
        """
        previous = Role("compute", (self._index - 1) % COMPUTE_PARTIES)
        following = Role("compute", (self._index + 1) % COMPUTE_PARTIES)
        keys = {previous: self.own, following: self.following}
        send = {role: agreement.key_confirmation(key, self._session, self._index) for role, key in keys.items()}
        received = await transport.exchange(CONFIRM_STEP, send, dict.fromkeys(keys, agreement.TAG_BYTES))
        for role, key in keys.items():
            wanted = agreement.key_confirmation(key, self._session, role.index)
            if not hmac.compare_digest(bytes(received[role]), wanted):
                raise SessionFault(
                    f"compute parties {self._index} and {role.index} hold different keys for this session: "
                    "their answers or their channel changed while it was being prepared; ask again"
                )
