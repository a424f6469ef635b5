"""How many persons owners share, as a band: the check of a table's `persons_disjoint`.

Theory of operation.  Each owner has digests of what tells a person alike everywhere (the linkage columns of its own
configuration).  All derive one key from the session's id, which hashes every participant's fresh nonce, so that no
table of keyed digests can be made beforehand and no two checks are alike.  Two keyed hashes of a person pick one of
`positions` places, and whether the person is in the sample at all, alike at every owner.  (Digests are as good as
random already, so linear hashes that are strongly universal do: two persons meet with the chance of 1 / positions.)

    input party h    a bitmap B_h of `positions` bits, set where a sampled person of its own falls
    compute parties  shares of: a_h = |B_h|, S = sum of a_h, and T = sum over pairs of |B_h and B_h'|
                     expected by chance alone, if nobody is shared: C = sum over pairs of a_h a_h' / positions
                     for each public t: is T - C - floor >= t S ?        the band is how many t are reached
    analyst          the steward of the owner that asked: the band, sealed to its key, and nothing else

The band is a field element in the place of the answer's one value, so that it is sealed, signed, compared and opened
like every answer.

With c(x) the number of owners whose bit is set at place x, the sum of c^2 is S + 2 T: one inner product for all pairs.

*Correction.*  Two unrelated bitmaps of a and a' bits meet in a a' / positions places on the average, and the number
varies by no more than the square root of that; pairs of different owners are independent given the sizes.  Over all
pairs of k owners with equal bitmaps, C = S^2 (1 - 1/k) / (2 positions), so sd / S <= sqrt((1 - 1/k) / (2 positions)):
0.12 % for three owners and 2^18 places, whatever the table's size.  The lowest threshold is 1 %, more than seven times
that above a true zero.  An owner's own persons who fall on one place are seen once: with bitmaps at most an eighth full
the estimate errs low by at most a fifth of itself.  A person at three owners counts once for each pair.

*Floor.*  The estimate must exceed each threshold by `safe_threshold` persons of the sample: who plants one person whom
it suspects at another owner beside nothing else learns nothing.  What remains stands in THREATS.

Rejected: comparing sorted digests (their number must be padded to the public bound, and every comparison costs more
than a place), and opening the estimate (it counts single persons).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from mpcd import canonical, limits
from mpcd.compile.physical import PhysicalPlan
from mpcd.compile.program import LocalCells
from mpcd.errors import PlanUnsupported
from mpcd.field import FP, bits
from mpcd.ids import Role, SessionId
from mpcd.plan.ir import LogicalPlan
from mpcd.protocols import convert, inputs, multiply, opening
from mpcd.protocols.context import Context, InputContext
from mpcd.protocols.cost import Cost
from mpcd.protocols.inputs import BitsInput
from mpcd.protocols.spec import BitsSpec
from mpcd.protocols.verify_batch import cost_checked
from mpcd.release import gate
from mpcd.release.rule import Evidence
from mpcd.sharing import Planes, Replicated

NAME: Final = "overlap"
"""Of the evidence, and of the term that makes a plan one of these."""
TERM: Final = "overlap"
THRESHOLDS_PERMILLE: Final = (10, 30, 100, 300)
"""Of the persons whom the owners have, each counted at each."""
_PERMILLE: Final = 1000
_WIDTH: Final = 60
_LOAD: Final = 8
"""Places for each person of the sample, at least."""
_KEY_DOMAIN: Final = "overlap-key"
_WORDS: Final = 4
"""32-bit words of a digest."""
Digests = npt.NDArray[np.int64]


def statement(table: str) -> str:
    """The text of a check: what is read is one table, as a count of it would."""
    quoted = table.replace('"', '""')
    return f'SELECT COUNT(*) FROM "{quoted}"'  # noqa: S608  # for our own planner, which takes it apart


def why_not(plan: LogicalPlan) -> str | None:
    """Why a question cannot be a check, None if it can: it must be the bare count of a table with disjoint persons."""
    if len(plan.sources) != 1 or plan.keys or plan.where is not None or len(plan.values) != 1 or len(plan.gates) != 1:
        return "an overlap check names one table and nothing else"
    if not plan.persons_disjoint:
        return "the roster does not declare `persons_disjoint` for this table: shared persons are expected there"
    return None


def halvings(plan: LogicalPlan, positions: int) -> int:
    """How often the sample is halved, so that there are enough places for its persons."""
    return max(0, (-(-plan.rows_per_owner_max * _LOAD // positions) - 1).bit_length())


def bitmap(digests: Digests, session: SessionId, positions: int, halved: int) -> npt.NDArray[np.uint64]:
    """One owner's bitmap: uint64 (1, words).

    Args:
        digests: of this owner's persons, int64 (persons, 2).
        session: its id, from which the key follows.
        positions: how many places there are.
        halved: see `halvings`.
    """
    words = np.ascontiguousarray(digests, dtype="<i8").view("<u4").astype(np.uint64)
    drawn = hashlib.shake_256(canonical.digest(_KEY_DOMAIN, bytes(session))).digest(2 * (_WORDS + 1) * 8)
    keys = np.frombuffer(drawn, dtype="<u8").astype(np.uint64).reshape(2, _WORDS + 1)
    place, lot = (_hashed(words, key) for key in keys)
    taken = place[lot & np.uint64((1 << halved) - 1) == 0]
    places = np.zeros(positions, dtype=np.uint64)
    places[taken % np.uint64(positions)] = 1
    return bits.to_planes(places, 1)


def _hashed(words: npt.NDArray[np.uint64], key: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """32 bits of each row: the upper half of a_0 x_0 + ... + b mod 2^64 (Dietzfelbinger 1996, strongly universal)."""
    total = np.full(len(words), key[-1], dtype=np.uint64)
    for column in range(_WORDS):
        total += words[:, column] * key[column]
    return total >> np.uint64(32)


class Overlap:
    """The program of one check; the same object serves every role and predicts the cost."""

    def __init__(self, plan: PhysicalPlan) -> None:
        reason = why_not(plan.logical)
        if reason is not None:
            raise PlanUnsupported(reason)
        self._plan = plan
        self._owners = len(plan.owners)
        if self._owners < 2:
            raise PlanUnsupported("with one owner there is nobody to share persons with")
        positions = plan.terms[TERM]
        assert isinstance(positions, int)
        self._positions = positions
        if self._owners * positions > limits.VECTOR_ELEMENTS_MAX:
            raise PlanUnsupported(f"{self._owners} owners are too many for one overlap check")
        self._floor = max(1, plan.rules.safe_threshold)
        self._spec = BitsSpec(1, positions)

    @property
    def asks(self) -> tuple[str, ...]:
        """The digests of persons."""
        return (NAME,)

    async def run_input(
        self, ctx: InputContext, answer: LocalCells, evidence: Mapping[str, Evidence] | None = None
    ) -> None:
        """Share this owner's bitmap with the compute parties.

        Args:
            ctx: the root context of the input role.
            answer: the count; nothing of it is used.
            evidence: under `NAME` one array, the digests.
        """
        del answer
        assert evidence is not None
        digests = np.asarray(evidence[NAME][0], dtype=np.int64)
        halved = halvings(self._plan.logical, self._positions)
        planes = await ctx.compute(bitmap, digests, ctx.session, self._positions, halved)
        await inputs.provide(ctx.narrow("input"), [BitsInput(planes, self._positions)])

    async def run_compute(self, ctx: Context) -> bytes:
        """From the owners' bitmaps to this party's shares of the band.

        Security: malicious with abort where the plan says so: every AND and product is verified before the shares are.
        Cost: `cost`.

        Args:
            ctx: the root context of the compute role.
        """
        owners = [Role("input", index) for index in range(self._owners)]
        given = await inputs.receive(ctx.narrow("input"), owners, [self._spec])
        maps = [_planes(given[owner][0]) for owner in owners]
        flags = await convert.planes_to_elements(ctx.narrow("flags"), Planes.stack(maps), FP)
        pieces = flags.split([self._positions] * self._owners)
        owners_at = _sum(pieces)
        squares = await multiply.inner_product(ctx.narrow("squares"), owners_at, owners_at, self._positions)
        band = await self._band(ctx.narrow("band"), squares, [_total(piece) for piece in pieces])
        value = await opening.output_shares(ctx, band)
        released = Planes.public(np.zeros((1, 1), np.uint64), 1, ctx.index)
        status = list(await opening.output_shares(ctx, released))
        return canonical.encode({"statuses": [[status] * gate.STATUS_PLANES], "values": [list(value)]})

    async def _band(self, ctx: Context, squares: Replicated, sizes: Sequence[Replicated]) -> Replicated:
        """How many thresholds are reached: one element.

        Args:
            ctx: narrowed to this call.
            squares: the sum over all places of the square of how many owners are there.
            sizes: of each owner's bitmap.
        """
        everybody = _sum(sizes)
        factors = Replicated.concatenate([everybody, *sizes])
        products = (await multiply.mul(ctx.narrow("products"), factors, factors)).split([1] * (1 + self._owners))
        chance = products[0] - _sum(products[1:])
        # With D = 2 positions 1000, D (T - C - floor) - D t S + 2^59 has its highest bit exactly where t is reached:
        # D T = 1000 positions (squares - S), D C = 1000 chance, and with at most 64 owners all is below 2^59.
        estimate = (squares - everybody).scale(self._positions * _PERMILLE) - chance.scale(_PERMILLE)
        offset = (1 << (_WIDTH - 1)) - 2 * self._positions * _PERMILLE * self._floor
        estimate += Replicated.public(FP, FP.from_int64(np.array([offset], dtype=np.int64)), ctx.index)
        margins = [estimate - everybody.scale(2 * self._positions * permille) for permille in THRESHOLDS_PERMILLE]
        planes = await convert.to_bits(ctx.narrow("bits"), Replicated.concatenate(margins), _WIDTH)
        reached = await convert.bit_to_field(ctx.narrow("reached"), planes.plane(_WIDTH - 1), FP)
        return _sum(reached.split([1] * len(THRESHOLDS_PERMILLE)))

    def cost(self) -> Cost:
        """Exact rounds and bytes of all roles, verification included."""
        thresholds = len(THRESHOLDS_PERMILLE)
        total = inputs.cost(self._owners, [self._spec])
        total += convert.cost_bit_to_field(FP, self._owners * self._positions)
        total += multiply.cost_inner_product(FP, 1, self._positions)
        total += multiply.cost_mul(FP, 1 + self._owners)
        total += convert.cost_to_bits(FP, thresholds, _WIDTH)
        total += convert.cost_bit_to_field(FP, thresholds)
        return cost_checked(total) if self._plan.security == "malicious" else total


def band_text(band: int) -> str:
    """What a band says, for people."""
    percent = [f"{permille / 10:g} %" for permille in THRESHOLDS_PERMILLE]
    if band == 0:
        return f"fewer than {percent[0]}"
    if band == len(percent):
        return f"{percent[-1]} or more"
    return f"{percent[band - 1]} to {percent[band]}"


def _planes(share: Planes | Replicated) -> Planes:
    assert isinstance(share, Planes)
    return share


def _sum(pieces: Sequence[Replicated]) -> Replicated:
    found = pieces[0]
    for piece in pieces[1:]:
        found += piece
    return found


def _total(x: Replicated) -> Replicated:
    """The sum of a power of two elements, halved again and again; local."""
    length = len(x)
    while length > 1:
        length //= 2
        x = x.take(slice(0, length)) + x.take(slice(length, 2 * length))
    return x
