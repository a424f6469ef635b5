"""From three sealed releases to numbers: every check that the client makes (layer 12, no I/O).

Who holds what.  Compute party P_i seals, for each secret value x = x_0 + x_1 + x_2, its two shares a = x_i and b =
x_{i+1}. So each share arrives twice, from two parties, of which at most one lies: the copies must be equal byte for
byte, and one changed copy is found.  A changed *pair* of copies would need two liars, which the model excludes.

The order of the checks matters.  First the signatures, against the keys that the analyst's own profile pins, over
session, own request, plan and sealed bytes; only then is anything unsealed; then copies; then ranges; then the status
codes; and only then a number is shown.  Whatever does not fit is `ResultInvalid`, which names what disagreed.

Values: sums modulo 2^61 - 1 or 2^127 - 1, centred.  Statuses: three planes of bits, XOR of the shares, plane j
holding bit j of every cell's code.  A cell that is not released carries zeros (rule 10), which is checked too.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mpcd import canonical
from mpcd.api.types import MalformedMapError, Map, listing, mapping, number, text
from mpcd.errors import ResultInvalid
from mpcd.identity import IdentityError, ReleaseEnvelope, ResultKey, VerifyKey
from mpcd.ids import COMPUTE_PARTIES, PartyId, PlanHash, RequestDigest
from mpcd.results.shape import Shape

PLAN_DOMAIN: Final = "plan"
STATUS_PLANES: Final = 3
STATUS_CODES: Final = 6
_RELEASED: Final = 0
_MODULUS: Final = {"p": 2**61 - 1, "q": 2**127 - 1}
_ELEMENT_BYTES: Final = {"p": 8, "q": 16}
_WORD_BYTES: Final = 8

_Copies = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class PinnedParty:
    """A party as the analyst's profile pins it."""

    id: PartyId
    name: str
    signing_key: VerifyKey
    computes: bool


@dataclass(frozen=True, slots=True)
class Opened:
    """What three agreeing compute parties released."""

    session: bytes
    plan_hash: bytes
    plan: Map
    shape: Shape
    statuses: list[list[int]]
    """Per gate, per cell."""
    values: list[list[int]]
    """Per value, per cell; zero where its gate did not release the cell."""


@dataclass(frozen=True, slots=True)
class _Payload:
    party: PinnedParty
    statuses: tuple[tuple[_Copies, ...], ...]
    values: tuple[_Copies, ...]


def open_releases(
    plan: bytes,
    releases: Sequence[bytes],
    *,
    request_digest: RequestDigest,
    result_key: ResultKey,
    parties: Mapping[PartyId, PinnedParty],
) -> Opened:
    """Check three releases of one request and reconstruct what they hold.

    Args:
        plan: canonical bytes of the plan that the parties say they agreed on.
        releases: canonical envelopes, one from each compute party of the plan, in any order.
        request_digest: of the analyst's own request.
        result_key: which that request named.
        parties: pinned, by id.

    Raises:
        ResultInvalid: anything does not fit; the message names it.
    """
    plan_hash = PlanHash(canonical.digest_bytes(PLAN_DOMAIN, plan))
    content, shape, compute = _read_plan(plan, parties)
    envelopes = _by_party(releases, compute)
    session = envelopes[0].session
    for party, envelope in zip(compute, envelopes, strict=True):
        envelope.verify(
            party.signing_key, party=party.id, session=session, request_digest=request_digest, plan_hash=plan_hash
        )
    payloads = tuple(
        _read_payload(party, envelope.unseal(result_key), shape)
        for party, envelope in zip(compute, envelopes, strict=True)
    )
    _compare_copies(payloads)
    statuses = [_statuses(payloads, gate, shape.cells) for gate in range(shape.gates)]
    values = [_values(payloads, index, shape) for index in range(len(shape.values))]
    for index, value in enumerate(shape.values):
        if any(x and status != _RELEASED for x, status in zip(values[index], statuses[value.gate], strict=True)):
            raise ResultInvalid(f"value {index} is not zero in a cell that is suppressed; do not use this result")
    return Opened(bytes(session), bytes(plan_hash), content, shape, statuses, values)


def _read_plan(plan: bytes, parties: Mapping[PartyId, PinnedParty]) -> tuple[Map, Shape, tuple[PinnedParty, ...]]:
    try:
        content = canonical.decode(plan)
        if not isinstance(content, dict):
            raise MalformedMapError("plan")
        shape = Shape.from_value(mapping(content, "logical").get("shape"))
        ids = listing(content, "compute")
        text(content, "security")
        number(content, "version")
    except ValueError as error:  # CanonicalError, MalformedMapError and FormError are all of this kind
        raise ResultInvalid(f"the plan that came with the result is malformed ({error}); do not use it") from error
    if len(ids) != COMPUTE_PARTIES or len({str(party) for party in ids}) != COMPUTE_PARTIES:
        raise ResultInvalid("the plan that came with the result does not name three compute parties; do not use it")
    compute: list[PinnedParty] = []
    for party in ids:
        pinned = parties.get(PartyId(party)) if type(party) is int else None
        if pinned is None or not pinned.computes:
            raise ResultInvalid(
                f"the plan lets party {party!r} compute, which your pinned roster does not; do not use it"
            )
        compute.append(pinned)
    return content, shape, tuple(compute)


def _by_party(releases: Sequence[bytes], compute: Sequence[PinnedParty]) -> list[ReleaseEnvelope]:
    if len(releases) != COMPUTE_PARTIES:
        raise ResultInvalid(f"{len(releases)} releases came, {COMPUTE_PARTIES} are needed; fetch the result again")
    found = {envelope.party: envelope for envelope in map(ReleaseEnvelope.from_bytes, releases)}
    missing = [party.name for party in compute if party.id not in found]
    if missing:
        raise ResultInvalid(f"no release came from {', '.join(missing)}; fetch the result again")
    return [found[party.id] for party in compute]


# ------------------------------------------------------------------------------------------------ payloads


def _read_payload(party: PinnedParty, plaintext: bytes, shape: Shape) -> _Payload:
    try:
        content = canonical.decode(plaintext)
        statuses, values = _split(content, shape)
        words = -(-shape.cells // 64)
        return _Payload(
            party,
            tuple(_planes(gate, words * _WORD_BYTES) for gate in statuses),
            tuple(
                _copies(pair, shape.cells * _ELEMENT_BYTES[value.field])
                for pair, value in zip(values, shape.values, strict=True)
            ),
        )
    except (MalformedMapError, canonical.CanonicalError) as error:
        raise ResultInvalid(f"the release from {party.name} has not the plan's form; do not use this result") from error


def _split(content: canonical.Value, shape: Shape) -> tuple[list[canonical.Value], list[canonical.Value]]:
    if not isinstance(content, dict) or content.keys() != {"statuses", "values"}:
        raise MalformedMapError("statuses, values")
    statuses, values = listing(content, "statuses"), listing(content, "values")
    if len(statuses) != shape.gates or len(values) != len(shape.values):
        raise MalformedMapError("as many gates and values as the plan has")
    return statuses, values


def _planes(gate: canonical.Value, size: int) -> tuple[_Copies, ...]:
    if not isinstance(gate, list) or len(gate) != STATUS_PLANES:
        raise MalformedMapError("statuses")
    return tuple(_copies(pair, size) for pair in gate)


def _copies(pair: canonical.Value, size: int) -> _Copies:
    match pair:
        case [bytes(a), bytes(b)] if len(a) == size and len(b) == size:
            return a, b
        case _:
            raise MalformedMapError("a pair of shares")


def _compare_copies(payloads: Sequence[_Payload]) -> None:
    """b of P_i is a of P_{i+1}, for every plane and value."""
    for index, holder in enumerate(payloads):
        following = payloads[(index + 1) % COMPUTE_PARTIES]
        pairs = [(f"value {i}", x, y) for i, (x, y) in enumerate(zip(holder.values, following.values, strict=True))]
        for gate, (own, other) in enumerate(zip(holder.statuses, following.statuses, strict=True)):
            pairs += [(f"the status of gate {gate}", x, y) for x, y in zip(own, other, strict=True)]
        for what, own_pair, other_pair in pairs:
            if own_pair[1] != other_pair[0]:
                raise ResultInvalid(
                    f"{holder.party.name} and {following.party.name} sent different copies of a share of {what}: "
                    "one of them is at fault; do not use this result"
                )


# ------------------------------------------------------------------------------------------------ reconstruction


def _statuses(payloads: Sequence[_Payload], gate: int, cells: int) -> list[int]:
    codes = [0] * cells
    for plane in range(STATUS_PLANES):
        bits = 0
        for payload in payloads:
            bits ^= int.from_bytes(payload.statuses[gate][plane][0], "little")
        if bits >> cells:
            raise ResultInvalid(f"the status of gate {gate} has bits beyond the last cell; do not use this result")
        for cell in range(cells) if bits else ():
            codes[cell] |= (bits >> cell & 1) << plane
    if max(codes) >= STATUS_CODES:
        raise ResultInvalid(f"the status of gate {gate} has an unknown code; do not use this result")
    return codes


def _values(payloads: Sequence[_Payload], index: int, shape: Shape) -> list[int]:
    field = shape.values[index].field
    modulus = _MODULUS[field]
    total = [0] * shape.cells
    for payload in payloads:
        share = _elements(payload.values[index][0], field)
        if max(share) >= modulus:
            raise ResultInvalid(
                f"{payload.party.name} sent a share of value {index} outside its field; do not use this result"
            )
        total = [x + y for x, y in zip(total, share, strict=True)]
    half = modulus // 2
    return [x - modulus if x > half else x for x in (x % modulus for x in total)]


def _elements(data: bytes, field: str) -> Sequence[int]:
    words = array("Q", data)
    if sys.byteorder == "big":
        words.byteswap()
    return words if field == "p" else [low | high << 64 for low, high in zip(words[::2], words[1::2], strict=True)]


def pinned_party(party: int, name: str, signing_key: str, *, computes: bool) -> PinnedParty:
    """A pinned party from its texts; raises `ValueError`."""
    try:
        return PinnedParty(PartyId(party), name, VerifyKey.from_text(signing_key), computes)
    except IdentityError as error:
        raise ValueError(f"the signing key of {name}: {error}") from error
