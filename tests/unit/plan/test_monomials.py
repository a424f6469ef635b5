"""Which sums of columns follow from a value, whatever a request wraps around them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from mpcd.errors import RangeTooWide
from mpcd.plan import LogicalPlan
from mpcd.plan.monomials import magnitude, monomials
from mpcd.plan.nodes import Add, ColumnRef, Constant, Expr, Multiply, Negate, Subtract
from mpcd.plan.relation import build
from mpcd.roster import Roster

Plan = Callable[[str], LogicalPlan]
X, Y = ColumnRef(0, "x"), ColumnRef(0, "y")


@pytest.mark.parametrize(
    ("factors", "expected"),
    [
        ((X,), {(X,)}),
        ((), set()),
        ((Add(X, Constant(1_000_000)),), {(X,)}),
        ((Subtract(Multiply(Constant(2), X), Negate(Y)),), {(X,), (Y,)}),
        ((Add(X, Constant(-5)), Add(X, Constant(-5))), {(X,), (X, X)}),
        ((Add(X, Constant(3)), Add(Y, Constant(4))), {(X,), (Y,), (X, Y)}),
        ((Multiply(Add(X, Y), Subtract(X, Y)),), {(X, X), (Y, Y)}),
        ((Subtract(X, X),), set()),
        ((Multiply(X, Constant(0)),), set()),
    ],
)
def test_constants_and_other_columns_are_taken_out(factors: tuple[Expr, ...], expected: set[object]) -> None:
    assert set(monomials(factors)) == expected


def sums(planned: LogicalPlan) -> list[tuple[int, set[tuple[tuple[str, ...], int]]]]:
    """Per value: its kind of gate, and what must not be dominated: columns and cohort."""
    found = []
    for value in planned.values:
        gate = planned.gates[value.gate]
        ones = [planned.magnitudes[place] for place in gate.sums]
        found.append((gate.inside, {(tuple(column.name for column in one.factors), one.cohort) for one in ones}))
    return found


def test_counts_hang_on_no_sum_and_padding_changes_nothing(plan: Plan) -> None:
    plain, padded = (sums(plan(f"SELECT COUNT(*), SUM({x}) FROM gbsg2")) for x in ("age", "age * 3 + 1000000"))
    assert plain == padded == [(0, set()), (0, {(("age",), 0)})]


def test_where_persons_have_several_rows_a_count_is_a_sum_of_theirs(plan: Plan) -> None:
    assert sums(plan("SELECT COUNT(*), SUM(los) FROM visits")) == [(0, {((), 0)}), (0, {(("los",), 0)})]


def test_a_moment_about_a_centre_hangs_on_those_about_the_origin(plan: Plan) -> None:
    planned = plan("SELECT VAR_SAMP(huge) FROM wide WHERE huge > 5")
    squares = [value for value in planned.values if len(value.factors) == 2]
    assert all(isinstance(value.factors[0], Add) for value in squares), "this test is about centred factors"
    assert sums(planned)[-1][1] >= {(("huge",), 0), (("huge", "huge"), 0)}


def test_what_is_left_of_the_cell_must_not_be_dominated_either(plan: Plan) -> None:
    found = sums(plan("SELECT SUM(los) FILTER (WHERE icu) FROM visits"))
    inside, over = found[-1]
    assert len(over) == 2
    assert inside in {cohort for _, cohort in over}
    (_, (_, nullable)) = sums(plan("SELECT COUNT(crp), SUM(crp) FROM visits"))
    assert len(nullable) == 1, "over the rows where the column is NULL it has no sum"


def test_units_are_the_columns(plan: Plan) -> None:
    planned = plan("SELECT SUM(crp), SUM(temp), SUM(crp + temp), SUM(crp * temp), SUM(los), COUNT(*) FROM visits")
    assert {value.unit for value in planned.values} == {1, 10, 100, 1000}
    assert {value.unit for value in planned.values if value.kind == "count"} == {1}


def test_what_cannot_be_compared_is_refused(plan: Plan, roster: Roster) -> None:
    planned = plan("SELECT SUM(huge) FROM wide")
    relation = build(roster, planned.sources, planned.joins)
    huge = ColumnRef(0, "huge")
    assert magnitude(0, (huge, huge), relation).size == 2**106
    with pytest.raises(RangeTooWide, match="dominate"):
        magnitude(0, (huge, huge), replace(relation, rows_per_owner_max=2**21))
