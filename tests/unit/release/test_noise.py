"""Samples drawn by the protocol itself have the right distribution; cost is exact; a cheater is caught."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

import pytest
from opendp import measurements, mod
from opendp.domains import atom_domain
from opendp.metrics import absolute_distance

from mpcd import limits
from mpcd.errors import Bug, CheatDetected, MpcdError
from mpcd.field import FP, FQ, Field
from mpcd.governance import sampling
from mpcd.governance.privacy import Mechanism, Noise
from mpcd.governance.sampling import GaussianTable, LaplaceTable, Leaf, Table
from mpcd.ids import COMPUTE_ROLES
from mpcd.protocols.context import Context
from mpcd.protocols.verify_batch import Malicious, cost_checked
from mpcd.release import noise
from mpcd.sharing import Planes, Replicated
from mpcd.testing.adversary import CHANGES
from mpcd.testing.world import Bits, World, opened

SAMPLES = 300_000
CHI_SQUARE_P_MIN = 0.001
SMALL: tuple[Table, ...] = (
    sampling.table(Noise("laplace", Fraction(3, 2))),
    LaplaceTable(()),
    sampling.table(Noise("laplace", Fraction(1, 3))),
)
LEAVES: tuple[Table, ...] = (
    sampling.table(Noise("gaussian", Fraction(2))),
    sampling.table(Noise("gaussian", Fraction(500))),
    GaussianTable(()),
)


async def draw(ctx: Context, tables: Sequence[Table], field: Field, cells: int) -> list[Replicated]:
    return await noise.draw(ctx, tables, field, cells)


async def together(ctx: Context, tables: Sequence[Table], field: Field, cells: int) -> Replicated:
    return Replicated.concatenate(await noise.draw(ctx, tables, field, cells))


async def reached(
    ctx: Context, drawn: Planes, groups: Sequence[tuple[int, ...]], cells: int, block: int
) -> list[Planes]:
    return await noise._reached(ctx, drawn, groups, cells, block)


def signed(values: Sequence[int], field: Field = FP) -> list[int]:
    return [value - field.modulus if value > field.modulus // 2 else value for value in values]


# ------------------------------------------------------------------------------------------------ comparisons


@pytest.mark.parametrize(("block", "chained"), [(2, False), (4, False), (4, True)])
def test_comparisons_are_exact_at_every_edge(block: int, chained: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "_CHAINED_MIN", 0 if chained else 2**30)
    thresholds = (0, 1, 2, 15, 16, 17, 2**32 - 1, 2**32, 0x0123456789ABCDEF, 2**63, 2**64 - 2, 2**64 - 1)
    edges = sorted({min(max(t + d, 0), 2**64 - 1) for t in thresholds for d in (-1, 0, 1)})
    words = -(-len(edges) // 64) * 64
    given = [*edges, *[0] * (words - len(edges))]
    found = World(1).run(
        reached,
        Bits.of([*given, *reversed(given)], 64),
        groups=[thresholds, thresholds[3:5]],
        cells=len(edges),
        block=block,
    )
    expected = [[int(edge >= t) for edge in edges] for t in thresholds]
    other = list(reversed(given))[: len(edges)]
    expected += [[int(value >= t) for value in other] for t in thresholds[3:5]]
    assert found == expected


def test_counting_ones_needs_no_message() -> None:
    async def counted(ctx: Context, *flags: Planes) -> Planes:
        del ctx
        return Planes.join(noise._counted(flags))

    for flags in range(1, 20):
        rows = [Bits.of([int(ones > place) for ones in range(flags + 1)], 1) for place in range(flags)]
        world = World(2)
        assert world.run(counted, *rows) == list(range(flags + 1))
        assert world.lockstep.rounds == 0


# ------------------------------------------------------------------------------------------------ distributions


def chi_square_p(found: Counter[int], probability: dict[int, float]) -> float:
    """p of Pearson's test; cells with few expected samples are joined to tails."""
    count = sum(found.values())
    kept = [k for k, p in probability.items() if p * count >= 10]
    rest = 1 - math.fsum(probability[k] for k in kept)
    pairs = [(found[k], probability[k] * count) for k in kept]
    pairs.append((count - sum(seen for seen, _ in pairs), rest * count))
    pairs = [(seen, expected) for seen, expected in pairs if expected >= 5]
    statistic = math.fsum((seen - expected) ** 2 / expected for seen, expected in pairs)
    return upper_chi_square(statistic, len(pairs) - 1)


def upper_chi_square(statistic: float, freedom: int) -> float:
    """P(chi-square >= statistic) by the series of the lower incomplete gamma function."""
    half, x = freedom / 2, statistic / 2
    term = total = 1 / half
    for step in range(1, 5000):
        term *= x / (half + step)
        total += term
    return 1 - total * math.exp(-x + half * math.log(x) - math.lgamma(half))


def probabilities(noise: Noise) -> dict[int, float]:
    reach = 60 * max(1, math.ceil(noise.deviation))
    if noise.mechanism == "laplace":
        weight = {k: math.exp(-abs(k) / noise.size) for k in range(-reach, reach + 1)}
    else:
        weight = {k: math.exp(-k * k / (2 * noise.size)) for k in range(-reach, reach + 1)}
    total = math.fsum(weight.values())
    return {k: w / total for k, w in weight.items()}


def test_the_chi_square_test_itself() -> None:
    assert upper_chi_square(3.841, 1) == pytest.approx(0.05, abs=1e-4)
    assert upper_chi_square(76.154, 50) == pytest.approx(0.01, abs=1e-4)


@pytest.mark.parametrize(
    ("mechanism", "size"),
    [
        ("laplace", Fraction(1)),
        ("laplace", Fraction(10, 3)),
        ("laplace", Fraction(40)),
        ("gaussian", Fraction(3, 2)),
        ("gaussian", Fraction(41, 2)),
        ("gaussian", Fraction(1000)),
    ],
)
def test_samples_of_the_protocol_pass_chi_square(mechanism: Mechanism, size: Fraction) -> None:
    wanted = Noise(mechanism, size)
    tables = [sampling.table(wanted)] * (SAMPLES // limits.CELLS_MAX)
    answers = World(20261122).run(draw, tables=tables, field=FP, cells=limits.CELLS_MAX)
    values = [value for answer in answers for value in signed(answer)]
    assert len(values) == SAMPLES
    assert chi_square_p(Counter(values), probabilities(wanted)) > CHI_SQUARE_P_MIN
    # The same samples do not pass for a distribution that is a little wider: the test can fail.
    assert chi_square_p(Counter(values), probabilities(Noise(mechanism, size * Fraction(21, 20)))) < CHI_SQUARE_P_MIN


@pytest.mark.parametrize(("mechanism", "size"), [("laplace", Fraction(10, 3)), ("gaussian", Fraction(20))])
def test_opendp_draws_from_the_same_distribution(mechanism: Mechanism, size: Fraction) -> None:
    mod.enable_features("contrib")
    make = measurements.make_laplace if mechanism == "laplace" else measurements.make_gaussian
    scale = float(size) if mechanism == "laplace" else math.sqrt(size)
    theirs = make(atom_domain(T="i64"), absolute_distance(T="i64"), scale=scale)
    count = 50_000
    other = Counter(theirs(0) for _ in range(count))
    ours = Counter(
        signed(World(7).run(draw, tables=[sampling.table(Noise(mechanism, size))], field=FP, cells=count)[0])
    )
    # Two samples of equal size: sum (a - b)^2 / (a + b) is chi-square.  OpenDP seeds itself, so the level is lower.
    common = [k for k in ours.keys() | other.keys() if ours[k] + other[k] >= 20]
    statistic = math.fsum((ours[k] - other[k]) ** 2 / (ours[k] + other[k]) for k in common)
    assert upper_chi_square(statistic, len(common)) > 1e-9


@pytest.mark.parametrize("field", [FP, FQ])
def test_values_have_noise_of_their_own_in_either_field(field: Field) -> None:
    cells = 3000
    for tables in (SMALL, LEAVES):
        found = [signed(values, field) for values in World(3, field).run(draw, tables=tables, field=field, cells=cells)]
        for values, table in zip(found, tables, strict=True):
            assert max(map(abs, values)) <= table.magnitude_max
        still = [place for place, table in enumerate(tables) if table.magnitude_max == 0]
        assert all(not any(found[place]) for place in still)
        moving = [values for place, values in enumerate(found) if place not in still]
        correlation = math.fsum(x * y for x, y in zip(*moving, strict=True)) / math.sqrt(
            math.fsum(x * x for x in moving[0]) * math.fsum(y * y for y in moving[1])
        )
        assert abs(correlation) < 0.1


def test_another_session_draws_other_noise_and_parties_hold_uniform_shares() -> None:
    world = World(4)
    first = world.run(draw, tables=SMALL, field=FP, cells=200)
    assert world.run(draw, tables=SMALL, field=FP, cells=200) != first


def test_one_step_never_draws_twice() -> None:
    async def twice(ctx: Context) -> None:
        below = ctx.narrow("drawn")
        await below.random_planes(64, 64)
        await below.random_planes(64, 64)

    with pytest.raises(Bug, match="draws its randomness twice"):
        World(5).run(twice)


# ------------------------------------------------------------------------------------------------ cost


@pytest.mark.parametrize("tables", [SMALL, LEAVES, (*SMALL, *LEAVES), (LaplaceTable(()),)])
@pytest.mark.parametrize("cells", [1, 64, 65, 2000])
@pytest.mark.parametrize("field", [FP, FQ])
def test_cost_is_exact(tables: tuple[Table, ...], cells: int, field: Field) -> None:
    world = World(6, field)
    world.run(draw, tables=tables, field=field, cells=cells)
    assert world.counted() == noise.cost(tables, field, cells)
    assert bool(world.messages("block15")) == (cells == 2000 and LEAVES[1] in tables)


def test_cost_is_exact_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "NOISE_COMPARISONS_MAX", 64 * 20)
    tables = (*SMALL, *LEAVES)
    world = World(6)
    world.run(draw, tables=tables, field=FP, cells=64)
    assert world.counted() == noise.cost(tables, FP, 64)
    assert world.lockstep.rounds > 3 * 9


def test_cost_with_verification_is_exact() -> None:
    world = World(6, verifier=Malicious)

    async def checked(ctx: Context, tables: Sequence[Table], cells: int) -> None:
        await noise.draw(ctx.narrow("draw"), tables, FP, cells)
        await ctx.verify()

    world.run(checked, tables=(*SMALL, *LEAVES), cells=70)
    predicted = cost_checked(noise.cost((*SMALL, *LEAVES), FP, 70))
    assert (world.counted().rounds, world.counted().compute) == (predicted.rounds, predicted.compute)


def test_the_largest_vector_is_known() -> None:
    assert noise.elements_max((LaplaceTable(()),), 1000) == 0
    assert noise.elements_max((LaplaceTable((1, 2, 3)),), 64) == 6 * 64
    leaf = Leaf(1, tuple(range(1, 101)))
    assert noise.elements_max((GaussianTable((leaf,)),), 64) == 100 * 64


# ------------------------------------------------------------------------------------------------ cheaters


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("party", [0, 1, 2])
@pytest.mark.parametrize(
    ("tables", "step"),
    [
        (SMALL, "pairs"),
        (SMALL, "level0"),
        (SMALL, "level4"),
        (SMALL, "first"),
        (SMALL, "second"),
        (LEAVES, "rest"),
        (LEAVES, "negative"),
        (LEAVES, "block1"),
        (LEAVES, "block15"),
    ],
)
def test_a_changed_message_aborts_before_anything_opens(
    tables: tuple[Table, ...], step: str, party: int, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if step.startswith("block"):
        monkeypatch.setattr(noise, "_CHAINED_MIN", 0)
    world = World(8, verifier=Malicious).tamper(step, party, change)  # type: ignore[arg-type]  # of `CHANGES`
    with pytest.raises(MpcdError) as caught:
        world.run(opened(together), tables=tables, field=FP, cells=5)
    if change == "flip":
        assert isinstance(caught.value, CheatDetected)
    honest = [one for one in world.messages("open") if one.sender != COMPUTE_ROLES[party] and "/verify" not in one.step]
    assert not honest


def test_without_a_cheater_the_same_session_opens() -> None:
    world = World(8, verifier=Malicious)
    assert world.run(opened(together), tables=SMALL, field=FP, cells=5) == World(8).run(
        opened(together), tables=SMALL, field=FP, cells=5
    )
