"""The gate: from the owners' secret counts to one keep bit and one status per gate and cell; nothing is opened here.

Theory of operation.  Every owner gives, for every cohort and cell, how many distinct persons it has, bit by bit (rule
7).  On these shares three facts per cohort are computed for all cells at once: the floor holds, `min_owners` holds,
nobody is there.  A cohort *passes* if both rules hold, or if it is empty and zeros may be shown.  A gate asks that of
its inside and of every cohort outside it; its keep bit lets values through, and its status says why not.

    status   meaning (`mpcd.results` names them)                  bits
    0        released                                              000
    1        suppressed: floor                                     001
    2        suppressed: min_owners                                010
    3        suppressed: complement                                011
    4        empty: a pooled zero, shown                           100
    5        suppressed: dominance                                 101

Which rule suppressed a cell is told to the analyst; that is information (a cell below the floor has few people), it is
what the owners' profile promises to tell, and `explain` says so beforehand.

With F = floor holds, O = min_owners holds, Z = empty (and zeros may be shown), for the inside: t >= 1 makes F and Z
exclusive, so that K = F and O needs one AND and everything else about the inside is XOR:

    passes = K + Z      fails by floor = 1 + F + Z      fails by min_owners = F + K          (+ is XOR)

With R = everything outside passes: keep = K and R, empty = Z and R (one round for both), fails by complement = K + Z +
keep + empty.

`refuse` then takes in the fail bits of the rules that ask more than counts (`release.rule`), one round for each.

Source: own.
Security: the semi-honest protocols' (each AND is recorded for `verify`); a lying owner can only lie about its own
counts, which `floor` and
    `min_owners` are made to survive: the sum over the others does not contain its lie.
Cost: `cost(...)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mpcd.errors import Bug
from mpcd.plan.nodes import Gate
from mpcd.protocols import binary, compare
from mpcd.protocols.binary import cost_and
from mpcd.protocols.context import Context
from mpcd.protocols.cost import WORD_BITS, Cost
from mpcd.release import floor, min_owners, sums
from mpcd.sharing import Planes

STATUS_PLANES: Final = 3
STATUS_FLOOR: Final = 1
STATUS_MIN_OWNERS: Final = 2
STATUS_COMPLEMENT: Final = 3
STATUS_EMPTY: Final = 4
STATUS_DOMINANCE: Final = 5


@dataclass(frozen=True, slots=True)
class GateRules:
    """The numbers that the circuit is built from; public."""

    threshold: int
    """t of the floor, at least 1."""
    min_owners: int
    zeros_shown: bool
    persons_disjoint: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """Of one gate, for all cells."""

    keep: Planes
    """Width 1: the gate's values may go out."""
    empty: Planes
    """Width 1: nobody is there, and that is shown."""
    status: Planes
    """Width 3, low bit first."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Of all cohorts, each over all cells, width 1; what later rules build on."""

    passing: tuple[Planes, ...]
    """Floor and `min_owners` hold: there are enough persons, not none."""
    nobody: tuple[Planes, ...]
    """No owner has a person there, shown or not."""


async def decide(
    ctx: Context, rules: GateRules, gates: Sequence[Gate], counts: Sequence[Sequence[Planes]]
) -> tuple[list[Decision], Facts]:
    """Run the gate.

    Args:
        ctx: narrowed to this call.
        rules: see `GateRules`.
        gates: from the logical plan; gate 0 has nothing outside.
        counts: per owner, per cohort: the persons in each cell, one width and one count for all.

    Returns:
        One decision per gate, in order, and what is known of the cohorts.
    """
    if rules.threshold < 1:
        raise Bug("a floor of no persons is none")
    cohort_counts = [piece.count for piece in counts[0]]
    pooled = [Planes.stack(list(owner)) for owner in counts]
    floor_holds, kept, nobody = await _facts(ctx, rules, pooled)
    zero = nobody if rules.zeros_shown else nobody ^ nobody
    inside_facts = [fact.unstack(cohort_counts) for fact in (floor_holds, kept, zero)]
    passes = [k ^ z for k, z in zip(inside_facts[1], inside_facts[2], strict=True)]
    outside = await all_of_lists(
        ctx.narrow("outside"),
        {index: [passes[cohort] for cohort in gate.outside] for index, gate in enumerate(gates) if gate.outside},
    )
    guarded = [index for index, gate in enumerate(gates) if gate.outside]
    keep = {index: inside_facts[1][gate.inside] for index, gate in enumerate(gates)}
    empty = {index: inside_facts[2][gate.inside] for index, gate in enumerate(gates)}
    if guarded:
        left = Planes.stack([*(keep[g] for g in guarded), *(empty[g] for g in guarded)])
        right = Planes.stack([outside[g] for g in guarded] * 2)
        both = await binary.and_(ctx.narrow("keep"), left, right)
        pieces = both.unstack([cohort_counts[0]] * (2 * len(guarded)))
        for place, index in enumerate(guarded):
            keep[index], empty[index] = pieces[place], pieces[len(guarded) + place]
    decisions = [
        _decision(gate, inside_facts, keep[index], empty[index], ctx.index) for index, gate in enumerate(gates)
    ]
    return decisions, Facts(tuple(inside_facts[1]), tuple(nobody.unstack(cohort_counts)))


def _decision(gate: Gate, facts: Sequence[Sequence[Planes]], keep: Planes, empty: Planes, index: int) -> Decision:
    floor_holds, kept_inside, zero = (fact[gate.inside] for fact in facts)
    by_floor = (floor_holds ^ zero).invert(index)
    by_owners = floor_holds ^ kept_inside
    by_complement = kept_inside ^ zero ^ keep ^ empty
    return Decision(keep, empty, Planes.join([by_floor ^ by_complement, by_owners ^ by_complement, empty]))


async def refuse(
    ctx: Context, decisions: Sequence[Decision], fails: Mapping[int, Planes], status: int, *, zeros: bool = True
) -> list[Decision]:
    """Suppress what fails by one more rule: released cells and, with `zeros`, those that are shown as empty.

    Cost: `cost_refuse`: 1 round.

    Args:
        ctx: narrowed to this call.
        decisions: of all gates, so far.
        fails: fail bits (width 1) by gate; gates that are not in it stay as they are.
        status: the code of a cell that fails now.
        zeros: whether a zero that is shown may fail too.

    Returns:
        The decisions of all gates.
    """
    places = sorted(fails)
    if not places:
        return list(decisions)
    shown = [decisions[g].keep for g in places] + ([decisions[g].empty for g in places] if zeros else [])
    taken = await binary.and_(ctx, Planes.stack(shown), Planes.stack([fails[g] for g in places] * (1 + zeros)))
    pieces = taken.unstack([decisions[0].keep.count] * len(shown))
    result = list(decisions)
    for order, place in enumerate(places):
        was, kept = decisions[place], pieces[order]
        emptied = pieces[len(places) + order] if zeros else kept ^ kept
        failed = kept ^ emptied
        planes = [
            was.status.plane(weight) ^ failed if status >> weight & 1 else was.status.plane(weight)
            for weight in range(STATUS_PLANES)
        ]
        planes[2] ^= emptied  # the code of an empty cell goes before the new one stands
        result[place] = Decision(was.keep ^ kept, was.empty ^ emptied, Planes.join(planes))
    return result


def cost_refuse(gates: int, cell_words: int, *, zeros: bool = True) -> Cost:
    """One AND for keep and with `zeros` one for empty, of each gate that may fail."""
    return cost_and(1, (1 + zeros) * gates * cell_words * WORD_BITS) if gates else Cost()


async def _facts(ctx: Context, rules: GateRules, counts: Sequence[Planes]) -> tuple[Planes, Planes, Planes]:
    """F, K = F and O, and whether nobody is there, for all cohorts and cells in one vector."""
    owners = len(counts)
    questions = floor.terms(counts, rules.threshold, persons_disjoint=rules.persons_disjoint)
    flags = await sums.at_least(ctx.narrow("sums"), [*questions, *min_owners.terms(counts)])
    enough, there = flags[:owners], flags[owners:]
    tallies = [enough, there, [flag.invert(ctx.index) for flag in there]]
    floor_holds, owners_hold, nobody = await tally(ctx.narrow("tally"), tallies, _needed(rules, owners))
    kept = await binary.and_(ctx.narrow("kept"), floor_holds, owners_hold)
    return floor_holds, kept, nobody


def _needed(rules: GateRules, owners: int) -> list[int]:
    """How many owners' flags F, O and Z need."""
    return [floor.needed(owners, persons_disjoint=rules.persons_disjoint), rules.min_owners, owners]


async def tally(ctx: Context, tallies: Sequence[Sequence[Planes]], needed: Sequence[int]) -> list[Planes]:
    """Per tally: are at least so many of its flags set?  Tallies that need the same number share their rounds."""
    results: dict[int, Planes] = {}
    for number in sorted(set(needed)):
        places = [place for place, k in enumerate(needed) if k == number]
        stacked = [Planes.stack([tallies[place][owner] for place in places]) for owner in range(len(tallies[0]))]
        holds = await compare.threshold_count(ctx.narrow(f"least{number}"), stacked, number)
        pieces = holds.unstack([tallies[0][0].count] * len(places))
        results.update(zip(places, pieces, strict=True))
    return [results[place] for place in range(len(tallies))]


def cost_tally(owners: int, needed: Sequence[int], words: int) -> Cost:
    """Cost of `tally`: so many flags each, `words` of one plane."""
    total = Cost()
    for number in sorted(set(needed)):
        total += compare.cost_threshold_count(owners, number, needed.count(number) * words * WORD_BITS)
    return total


async def all_of_lists(ctx: Context, lists: Mapping[int, Sequence[Planes]]) -> dict[int, Planes]:
    """Per list the AND of all its planes; lists of different lengths share the rounds of a tree.

    Cost: `cost_all_of_lists`: ceil(log2(longest list)) rounds.

    Args:
        ctx: narrowed to this call.
        lists: each of at least one plane (width 1); all planes have one count.
    """
    open_: dict[int, list[Planes]] = {index: list(pieces) for index, pieces in lists.items()}
    layer = 0
    while any(len(pieces) > 1 for pieces in open_.values()):
        pairs = [(index, start) for index, pieces in open_.items() for start in range(0, len(pieces) - 1, 2)]
        left = Planes.stack([open_[index][start] for index, start in pairs])
        right = Planes.stack([open_[index][start + 1] for index, start in pairs])
        both = await binary.and_(ctx.narrow(f"layer{layer}"), left, right)
        products = both.unstack([open_[pairs[0][0]][0].count] * len(pairs))
        merged: dict[int, list[Planes]] = {index: [] for index in open_}
        for (index, _), product in zip(pairs, products, strict=True):
            merged[index].append(product)
        for index, pieces in open_.items():
            if len(pieces) % 2:
                merged[index].append(pieces[-1])
        open_ = merged
        layer += 1
    return {index: pieces[0] for index, pieces in open_.items()}


def cost_all_of_lists(lengths: Sequence[int], words: int) -> Cost:
    """The tree's levels; `words` of one plane."""
    total = Cost()
    open_ = list(lengths)
    while any(pieces > 1 for pieces in open_):
        total += cost_and(1, sum(pieces // 2 for pieces in open_) * words * WORD_BITS)
        open_ = [pieces - pieces // 2 for pieces in open_]
    return total


def elements_max(rules: GateRules, owners: int, cohorts: int, cell_words: int) -> int:
    """Most elements that one vector of `decide` has."""
    sizes = [*floor.term_sizes(owners, persons_disjoint=rules.persons_disjoint), *[1] * owners]
    return sums.triples_max(sizes) * cohorts * cell_words * WORD_BITS


def cost(
    rules: GateRules, gates: Sequence[Gate], owners: int, cohorts: int, number_width: int, cell_words: int
) -> Cost:
    """Exact cost of `decide`.

    Args:
        rules: see `GateRules`.
        gates: from the logical plan.
        owners: how many give data.
        cohorts: how many cohorts each counts.
        number_width: bits of each count.
        cell_words: 64-bit words of one plane over the cells.
    """
    words = cohorts * cell_words
    sizes = [*floor.term_sizes(owners, persons_disjoint=rules.persons_disjoint), *[1] * owners]
    total = sums.cost(sizes, number_width, rules.threshold, words)
    total += cost_tally(owners, _needed(rules, owners), words) + cost_and(1, words * WORD_BITS)
    outside = [len(gate.outside) for gate in gates if gate.outside]
    total += cost_all_of_lists(outside, cell_words)
    if outside:
        total += cost_and(1, 2 * len(outside) * cell_words * WORD_BITS)
    return total
