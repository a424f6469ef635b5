"""Averaging: an analyst asks the same again and again, or two questions that differ by one person, and subtracts.

Each of many trials is one attack on a person: is that person in the data or not?  The attacker takes as many answers as
the budget allows, adds them up and guesses.  Failure condition: it guesses right more often than the budget's epsilon
and delta allow anyone, (e^epsilon + delta) / (1 + e^epsilon).  With the budget switched off the same attack guesses
right nearly always.  Noise is drawn by the protocol itself, each trial a cell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import pytest

from mpcd.field import FP
from mpcd.governance import privacy, sampling
from mpcd.governance.budget import Budget, overdrawn, privacy_debits
from mpcd.governance.entries import Debit
from mpcd.governance.privacy import Ask, Mechanism
from mpcd.ids import PartyId
from mpcd.protocols.context import Context
from mpcd.release import noise
from mpcd.sharing import Replicated
from mpcd.testing.world import World

TRIALS = 4000
EPSILON, DELTA = Fraction(1), Fraction(1, 10**6)
WHOLE = Budget(lifetime_rho_units=int(privacy.rho_for(EPSILON, DELTA) * privacy.RHO_UNITS))
BOUND = (math.exp(EPSILON) + float(DELTA)) / (1 + math.exp(EPSILON))


async def draw(ctx: Context, tables: Sequence[sampling.Table], cells: int) -> list[Replicated]:
    return await noise.draw(ctx, tables, FP, cells)


def answers_within(budget: Budget, ask: Ask, most: int) -> int:
    """How many answers the owner's accounts let through."""
    cost = privacy.charge(ask).rho_units
    spent: dict[str, int] = {}

    def balance(debit: Debit) -> int:
        return spent.get(debit.account, 0)

    for answered in range(most):
        debits = privacy_debits(PartyId(0), {"t": budget}, cost, 0)
        if overdrawn(debits, balance):
            return answered
        spent.update({debit.account: balance(debit) + debit.amount for debit in debits})
    return most


def guessed_right(ask: Ask, answers: int, seed: int) -> float:
    """The part of the trials in which the attacker is right: half of them have the person, in turn."""
    scale = privacy.noises(ask, privacy.charge(ask), [1])[0]
    tables = [sampling.table(scale)] * answers
    half = FP.modulus // 2
    drawn = World(seed).run(draw, tables=tables, cells=TRIALS)
    right = 0
    for trial in range(TRIALS):
        present = trial % 2
        total = sum((value - FP.modulus if value > half else value) for value in (row[trial] for row in drawn))
        right += int((total / answers + present > 0.5) == bool(present))
    return right / TRIALS


@pytest.mark.parametrize(("mechanism", "epsilon"), [("gaussian", "0.25"), ("gaussian", "1"), ("laplace", "0.05")])
def test_averaging_learns_no_more_than_epsilon_allows(mechanism: Mechanism, epsilon: str) -> None:
    ask = Ask(mechanism, epsilon, "0.000001")
    answers = answers_within(WHOLE, ask, 1000)
    assert 1 <= answers < 1000
    deviation = math.sqrt(BOUND * (1 - BOUND) / TRIALS)
    right = guessed_right(ask, answers, 1)
    assert right < BOUND + 4 * deviation
    # Above chance, so that the attack is one.
    assert right > 0.5


def test_without_a_budget_the_same_attack_wins() -> None:
    ask = Ask("gaussian", "4", "0.000001")
    unlimited = answers_within(Budget(rho_units=10**18), ask, 40)
    assert unlimited == 40
    assert guessed_right(ask, unlimited, 2) > 0.95 > BOUND


def test_two_questions_that_differ_by_one_person_are_charged_twice() -> None:
    # Subtracting them leaves the noise of both: the deviation grows, and both took their rho.
    ask = Ask("gaussian", "0.5", "0.000001")
    alone = answers_within(WHOLE, ask, 100)
    assert alone >= 2
    scale = privacy.noises(ask, privacy.charge(ask), [1])[0]
    first, second = World(3).run(draw, tables=[sampling.table(scale)] * 2, cells=TRIALS)
    half = FP.modulus // 2
    differences = [
        (x - FP.modulus if x > half else x) - (y - FP.modulus if y > half else y)
        for x, y in zip(first, second, strict=True)
    ]
    spread = math.sqrt(sum(d * d for d in differences) / TRIALS)
    assert spread == pytest.approx(math.sqrt(2) * scale.deviation, rel=0.1)
