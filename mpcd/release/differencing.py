"""Differencing: no answer may differ from an earlier one by fewer people than a cell needs; decided on shares.

Theory of operation.  Who holds what:

    everybody        the *pairs*: which set of persons of this question stands beside which of an earlier one, a list
                     that follows from the questions' texts alone (`mpcd.compile.beside`)
    input party h    per pair min(|difference|, t): how many of its own persons have a row in one of the two sets and
                     not in the other, up to the floor's threshold t
    compute party i  replicated shares of these numbers, bit by bit in `width(t)` bits (rule 7)

A pair is *far* if the pooled difference passes the floor and `min_owners`, the same two rules that a cell must pass.  A
difference of nobody is not far (rule 21): otherwise the answer to "all but the people of whom ..." would tell whether
there are any.  A *target* is one set of this question; it stands if all its pairs are far.  A gate keeps a cell only if
every target that the cell's values follow from stands: its sets in that cell, and the margins that hold the cell.

*Bands.*  A set of one question may be, in every database, the union of several cells of another: ten years beside a
GROUP BY age.  Then nothing differs, but whoever has the band and the released cells has the suppressed ones together
by subtraction, as with a total of the same answer (`margins`).  So for each such *band* each owner also gives its
persons in every cell of it; the cells that fail the floor or `min_owners` must together be nobody, or pass both.  So
must those of every set of that question which shares no row with the band's: a cell that was suppressed for its
complement would give it back beside the whole.  Cells that were suppressed for other reasons only add to what is
left.  Where a person may be in several cells the sum proves nothing, and nobody must be left.  A band is a target like
any other.

*Clamping is exact.*  Both rules are monotone and ask of sums whether they reach at most t: sum over others of c reaches
t exactly if the sum of min(c, t) does; c >= 1 exactly if min(c, t) >= 1.  So an owner gives few bits, and tells the
compute parties' circuit nothing that the rules do not need.

*Fails are not told apart.*  The result is one bit per gate and cell that the gate merges with the floor's: an answer
that is hidden because of another analyst's question looks like one about few people.

Source: own.
Security: as `binary.and_`.  A lying owner can only lie about its own differences, and the floor asks the others' sum.
Cost: `cost(...)`; rounds are those of the floor, plus log2 of the most pairs of a target, plus log2 of the most targets
    of a cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np

from mpcd.field import Vector, bits
from mpcd.protocols import binary, compare
from mpcd.protocols.binary import cost_and
from mpcd.protocols.context import Context
from mpcd.protocols.cost import WORD_BITS, Cost
from mpcd.protocols.inputs import BitsInput
from mpcd.protocols.spec import BitsSpec
from mpcd.release import floor, min_owners, sums
from mpcd.release.gate import STATUS_FLOOR, GateRules
from mpcd.release.rule import Evidence, Integers, Share, Sizes
from mpcd.release.sums import Term
from mpcd.sharing import Planes

Places = Integers


def width(threshold: int) -> int:
    """Bits of one clamped difference."""
    return threshold.bit_length()


@dataclass(frozen=True, slots=True)
class _Layer:
    """One layer of a segmented AND: which elements are multiplied, and how the next vector is put together."""

    left: Places
    right: Places
    rest: Places
    order: Places
    """Places in (products, then rest)."""


def _layers(sizes: Places) -> list[_Layer]:
    """The tree that ANDs each of several runs of neighbouring elements down to one."""
    found: list[_Layer] = []
    while sizes.size and sizes.max() > 1:
        starts = np.cumsum(sizes) - sizes
        pairs, odd = sizes // 2, sizes % 2 == 1
        before = np.cumsum(pairs) - pairs
        left = np.repeat(starts, pairs) + 2 * (np.arange(int(pairs.sum())) - np.repeat(before, pairs))
        rest = (starts + sizes - 1)[odd]
        # A run becomes its products and then what is left over: sort both by the run that they belong to.
        runs = np.concatenate([np.repeat(np.arange(sizes.size), pairs), np.flatnonzero(odd)])
        found.append(_Layer(left, left + 1, rest, np.argsort(runs, kind="stable")))
        sizes = pairs + odd
    return found


@dataclass(frozen=True)
class Layout:
    """Which pairs make which target, and which targets each gate's cells hang on; public."""

    targets: Places
    """Per target how many pairs it has, at least one; the pairs of a target are neighbours."""
    cells: int
    """Cells of the answer."""
    gates: tuple[tuple[Places, Places], ...]
    """Per gate: cells, and beside each a target that must stand; a cell may be there several times, or not at all."""
    bands: Places = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """Per band how many cells it has; a band is one more target, and its cells are pairs of which one side is empty."""

    @property
    def compared(self) -> int:
        """How many pairs there are of two sets."""
        return int(self.targets.sum())

    @property
    def pairs(self) -> int:
        """How many numbers each owner gives."""
        return self.compared + int(self.bands.sum())

    @cached_property
    def wanted(self) -> tuple[Places, Places, Places]:
        """For each (gate, cell) that hangs on any target: its place gate * cells + cell, how many targets, and them.

        The targets of one place are neighbours in the third vector.
        """
        places = np.concatenate([cells + index * self.cells for index, (cells, _) in enumerate(self.gates)])
        targets = np.concatenate([targets for _, targets in self.gates])
        found, sizes = np.unique(places, return_counts=True)
        return found, sizes.astype(np.int64), targets[np.argsort(places, kind="stable")]


async def evaluate(
    ctx: Context, rules: GateRules, layout: Layout, given: Sequence[Planes], *, persons_add_up: bool = True
) -> list[Planes]:
    """Which cells of which gates are too near to an earlier question.

    Args:
        ctx: narrowed to this call.
        rules: the numbers of this session; t is `rules.threshold`.
        layout: at least one pair.
        given: per owner the clamped differences, `width(t)` bits, one element per pair.
        persons_add_up: no person is in two cells of one question.

    Returns:
        Per gate one plane (width 1) over the cells: 1 where the cell must be hidden.
    """
    far = await _far(ctx, rules, given)
    stands = await _all_of_runs(ctx.narrow("targets"), far.take(slice(0, layout.compared)), layout.targets)
    if layout.bands.size:
        bands = await _bands(ctx.narrow("bands"), rules, layout, far, given, persons_add_up=persons_add_up)
        stands = Planes.concatenate([stands, bands]) if layout.compared else bands
    places, sizes, wanted = layout.wanted
    kept = await _all_of_runs(ctx.narrow("cells"), _taken(stands, wanted), sizes)
    near = kept.invert(ctx.index)
    return [_spread(near, places - gate * layout.cells, layout.cells, ctx.index) for gate in range(len(layout.gates))]


def _spread(flags: Planes, places: Places, cells: int, index: int) -> Planes:
    """The flags at their cells, zero in all others."""
    here = (places >= 0) & (places < cells)
    none = Planes.public(np.zeros((1, 1), dtype=np.uint64), 1, index)
    source = np.full(cells, flags.count, dtype=np.int64)
    source[places[here]] = np.flatnonzero(here)
    return _taken(Planes.concatenate([flags, none]), source)


async def _far(ctx: Context, rules: GateRules, given: Sequence[Planes]) -> Planes:
    """Per pair: the pooled difference passes the floor and `min_owners`."""
    owners, count = len(given), given[0].count
    questions = floor.terms(given, rules.threshold, persons_disjoint=rules.persons_disjoint)
    flags = await sums.at_least(ctx.narrow("sums"), [*questions, *min_owners.terms(given)])
    enough, there = flags[:owners], flags[owners:]
    needed = floor.needed(owners, persons_disjoint=rules.persons_disjoint)
    if needed == rules.min_owners:
        both = [Planes.stack([one, other]) for one, other in zip(enough, there, strict=True)]
        holds = await compare.threshold_count(ctx.narrow("tally"), both, needed)
        left, right = holds.unstack([count, count])
    else:
        left = await compare.threshold_count(ctx.narrow("enough"), enough, needed)
        right = await compare.threshold_count(ctx.narrow("there"), there, rules.min_owners)
    return await binary.and_(ctx.narrow("far"), left, right)


async def _bands(
    ctx: Context, rules: GateRules, layout: Layout, far: Planes, given: Sequence[Planes], *, persons_add_up: bool
) -> Planes:
    """Per band: the persons in those of its cells that do not pass by themselves are nobody, or pass together."""
    owners, inside = len(given), slice(layout.compared, layout.pairs)
    hidden = far.take(inside).invert(ctx.index)
    counts = Planes.stack([owner.take(inside) for owner in given])
    masked = await binary.and_(ctx.narrow("mask"), Planes.stack([hidden] * owners), counts)
    nothing = Planes.public(np.zeros((counts.width, 1), dtype=np.uint64), 1, ctx.index)
    by_owner = [
        [_taken(Planes.concatenate([part, nothing]), places) for places in _padded(layout.bands)]
        for part in masked.unstack([hidden.count] * owners)
    ]
    terms = [Term(tuple(numbers), 1) for numbers in by_owner]
    if persons_add_up:
        terms += [
            Term(tuple(number for place in others for number in by_owner[place]), rules.threshold)
            for others in _others(owners, persons_disjoint=rules.persons_disjoint)
        ]
    flags = await sums.at_least(ctx.narrow("sums"), terms)
    there, enough = flags[:owners], flags[owners:]
    absent = Planes.join([flag.invert(ctx.index) for flag in there])
    nobody = await binary.all_of(ctx.narrow("nobody"), absent)
    if not persons_add_up:
        return nobody
    needed = floor.needed(owners, persons_disjoint=rules.persons_disjoint)
    left = await compare.threshold_count(ctx.narrow("enough"), enough, needed)
    right = await compare.threshold_count(ctx.narrow("there"), there, rules.min_owners)
    return nobody ^ await binary.and_(ctx.narrow("passes"), left, right)


def _others(owners: int, *, persons_disjoint: bool) -> list[list[int]]:
    """Whose numbers each question of the floor adds up."""
    if not persons_disjoint:
        return [[owner] for owner in range(owners)]
    return [[place for place in range(owners) if place != owner] for owner in range(owners)]


def _padded(bands: Places) -> list[Places]:
    """The first cell of each band, the second, and so on; the place after all cells where a band has no more."""
    starts, count = np.cumsum(bands) - bands, int(bands.sum())
    return [np.where(bands > place, starts + place, count) for place in range(int(bands.max()))]


def _band_sizes(rules: GateRules, layout: Layout, owners: int, *, persons_add_up: bool) -> list[int]:
    """How many numbers each question about a band adds up."""
    longest = int(layout.bands.max())
    others = _others(owners, persons_disjoint=rules.persons_disjoint) if persons_add_up else []
    return [*[longest] * owners, *(len(each) * longest for each in others)]


def _cost_bands(rules: GateRules, layout: Layout, owners: int, *, persons_add_up: bool) -> Cost:
    count, bands = int(layout.bands.sum()), layout.bands.size
    wide = width(rules.threshold)
    total = cost_and(wide, owners * bits.words_for(count) * WORD_BITS)
    sizes = _band_sizes(rules, layout, owners, persons_add_up=persons_add_up)
    threshold = rules.threshold if persons_add_up else 1
    total += sums.cost(sizes, wide, threshold, bits.words_for(bands)) + binary.cost_all_of(owners, bands)
    if persons_add_up:
        needed = floor.needed(owners, persons_disjoint=rules.persons_disjoint)
        total += compare.cost_threshold_count(owners, needed, bands)
        total += compare.cost_threshold_count(owners, rules.min_owners, bands) + cost_and(1, bands)
    return total


def _taken(flags: Planes, places: Places) -> Planes:
    return flags.take(places.astype(np.uint64))


async def _all_of_runs(ctx: Context, flags: Planes, sizes: Places) -> Planes:
    """Per run of neighbouring elements the AND of all of them; runs share their rounds."""
    for number, layer in enumerate(_layers(sizes)):
        left, right = _taken(flags, layer.left), _taken(flags, layer.right)
        product = await binary.and_(ctx.narrow(f"layer{number}"), left, right)
        joined = Planes.concatenate([product, _taken(flags, layer.rest)]) if layer.rest.size else product
        flags = _taken(joined, layer.order)
    return flags


def _cost_runs(sizes: Places) -> Cost:
    total = Cost()
    for layer in _layers(sizes):
        total += cost_and(1, layer.left.size)
    return total


def _term_sizes(rules: GateRules, owners: int) -> list[int]:
    return [*floor.term_sizes(owners, persons_disjoint=rules.persons_disjoint), *[1] * owners]


def sizes(rules: GateRules, layout: Layout, owners: int, *, persons_add_up: bool = True) -> Sizes:
    """The longest vector of `evaluate`, and an upper bound of its longest message: every plane of that vector."""
    pairs = bits.words_for(layout.pairs) * WORD_BITS
    longest = max(sums.triples_max(_term_sizes(rules, owners)) * pairs, layout.wanted[2].size)
    added = owners
    if layout.bands.size:
        terms = _band_sizes(rules, layout, owners, persons_add_up=persons_add_up)
        longest = max(longest, sums.triples_max(terms) * bits.words_for(layout.bands.size) * WORD_BITS)
        added = max(terms)
    planes = sums.term_width(width(rules.threshold), added, rules.threshold) + 1
    return Sizes(longest, planes * longest // 8)


def cost(rules: GateRules, layout: Layout, owners: int, *, persons_add_up: bool = True) -> Cost:
    """Exact cost of `evaluate`.

    Args:
        rules: as there.
        layout: as there.
        owners: how many give data.
        persons_add_up: as there.
    """
    pairs = layout.pairs
    total = sums.cost(_term_sizes(rules, owners), width(rules.threshold), rules.threshold, bits.words_for(pairs))
    needed = floor.needed(owners, persons_disjoint=rules.persons_disjoint)
    if needed == rules.min_owners:
        total += compare.cost_threshold_count(owners, needed, 2 * bits.words_for(pairs) * WORD_BITS)
    else:
        total += compare.cost_threshold_count(owners, needed, pairs)
        total += compare.cost_threshold_count(owners, rules.min_owners, pairs)
    total += cost_and(1, pairs)
    total += _cost_runs(layout.targets) + _cost_runs(layout.wanted[1])
    if layout.bands.size:
        total += _cost_bands(rules, layout, owners, persons_add_up=persons_add_up)
    return total


class Differencing:
    """The rule as the program runs it; see `release.rule`."""

    name: Final = "differencing"
    status: Final = STATUS_FLOOR

    def __init__(self, rules: GateRules, layout: Layout, owners: int, *, persons_add_up: bool = True) -> None:
        self._rules = rules
        self._add_up = persons_add_up
        self._layout = layout
        self._owners = owners
        self.gates = [index for index, (cells, _) in enumerate(layout.gates) if cells.size]

    @property
    def sizes(self) -> Sizes:
        """See `Rule`."""
        return sizes(self._rules, self._layout, self._owners, persons_add_up=self._add_up)

    def specs(self) -> list[BitsSpec]:
        """One number for each pair."""
        return [BitsSpec(width(self._rules.threshold), self._layout.pairs)]

    def provide(self, evidence: Evidence) -> list[BitsInput]:
        """From this owner's differences, one vector."""
        (differences,) = evidence
        assert len(differences) == self._layout.pairs
        return [BitsInput(clamped(differences, self._rules.threshold), self._layout.pairs)]

    async def evaluate(self, ctx: Context, given: Sequence[Sequence[Share]]) -> dict[int, Planes]:
        """See `evaluate` of the module."""
        numbers = [numbers for (numbers,) in given if isinstance(numbers, Planes)]
        fails = await evaluate(ctx, self._rules, self._layout, numbers, persons_add_up=self._add_up)
        return {gate: fails[gate] for gate in self.gates}

    def cost(self) -> Cost:
        """Exact cost of `evaluate`."""
        return cost(self._rules, self._layout, self._owners, persons_add_up=self._add_up)


def clamped(differences: Sequence[int] | Integers, threshold: int) -> Vector:
    """One owner's differences as the planes that it gives, at most t each."""
    numbers = np.minimum(np.asarray(differences, dtype=np.int64), threshold).astype(np.uint64)
    return bits.to_planes(numbers, width(threshold))
