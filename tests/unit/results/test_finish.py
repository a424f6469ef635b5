from __future__ import annotations

import math
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction

import pytest

from mpcd import canonical
from mpcd.errors import ResultInvalid
from mpcd.results import NULL, Shape, Suppressed, Table, finish
from mpcd.results.evaluate import _SEVERITY, arithmetic, function, rounded
from mpcd.results.schema import FormError
from mpcd.results.shape import (
    BOOLEAN,
    DATE,
    DOUBLE,
    INTEGER,
    TEXT,
    Arithmetic,
    Coalesce,
    Comparison,
    Condition,
    Conjunction,
    Disjunction,
    Expression,
    Function,
    Key,
    KeyShape,
    Known,
    Linear,
    Missing,
    Moment,
    Negation,
    Null,
    NullIf,
    OrderTerm,
    Output,
    Rational,
    Round,
    Term,
    Text,
    Type,
    Value,
    ValueShape,
)
from mpcd.results.table import RULES, STATUS_RULES

RELEASED, FLOOR, OWNERS, COMPLEMENT, EMPTY = range(5)
WARD = KeyShape("ward", TEXT, 3, nullable=True, levels=("icu", "ent", "eye"))


def shape(
    *outputs: tuple[str, Type, Expression],
    keys: tuple[KeyShape, ...] = (WARD,),
    having: Condition | None = None,
    order: tuple[OrderTerm, ...] = (),
    limit: int | None = None,
    offset: int = 0,
) -> Shape:
    return Shape(
        keys,
        2,
        (ValueShape("p", 0), ValueShape("q", 1)),
        tuple(Output(*output) for output in outputs),
        having,
        order,
        limit,
        offset,
    )


COUNTED = (("ward", TEXT, Key(0)), ("n", INTEGER, Value(0)), ("s", INTEGER, Moment("sum", (Value(0), Value(1)))))


def rows(table: Table) -> list[tuple[object, ...]]:
    return [tuple(row) for row in table.rows]


def test_groups_without_rows_are_absent_and_null_is_a_group() -> None:
    table = finish(
        shape(*COUNTED),
        [[RELEASED, EMPTY, RELEASED, RELEASED], [RELEASED, EMPTY, EMPTY, RELEASED]],
        [[5, 0, 6, 7], [1, 0, 0, 3]],
    )
    assert rows(table) == [("icu", 5, 1), ("eye", 6, 0), (NULL, 7, 3)]


def test_without_keys_there_is_always_a_row() -> None:
    table = finish(shape(*COUNTED[1:], keys=()), [[EMPTY], [EMPTY]], [[0], [0]])
    assert rows(table) == [(0, NULL)]


def test_each_output_is_suppressed_by_its_own_gate() -> None:
    table = finish(
        shape(*COUNTED),
        [[RELEASED, FLOOR, RELEASED, EMPTY], [COMPLEMENT, FLOOR, OWNERS, EMPTY]],
        [[5, 0, 6, 0], [0, 0, 0, 0]],
    )
    assert rows(table) == [
        ("icu", 5, Suppressed("complement")),
        ("ent", Suppressed("floor"), Suppressed("floor")),
        ("eye", 6, Suppressed("min_owners")),
    ]
    assert table.suppressed == {"floor": 2, "complement": 1, "min_owners": 1}


def test_suppressed_cells_may_be_empty_unless_zeros_are_shown() -> None:
    note = "suppressed cells may be empty"
    hidden = finish(shape(*COUNTED), [[RELEASED, FLOOR, RELEASED, RELEASED]] * 2, [[5, 0, 6, 7]] * 2)
    assert hidden.notes == (f"{note}, groups that do not exist among them",)
    assert rows(hidden)[1] == ("ent", Suppressed("floor"), Suppressed("floor"))
    assert finish(shape(*COUNTED[1:], keys=()), [[FLOOR], [FLOOR]], [[0], [0]]).notes == (note,)
    shown = finish(shape(*COUNTED), [[RELEASED, FLOOR, EMPTY, RELEASED]] * 2, [[5, 0, 0, 7]] * 2)
    assert shown.notes == ()
    assert finish(shape(*COUNTED), [[RELEASED] * 4] * 2, [[5] * 4] * 2).notes == ()


def test_what_a_withheld_gate_carries_is_not_looked_at() -> None:
    table = finish(shape(*COUNTED), [[FLOOR] * 4, [FLOOR] * 4], [[12345] * 4, [54321] * 4])
    assert "12345" not in repr(table)


def test_having_on_suppressed_values_hides_the_group_and_says_so() -> None:
    having = Comparison(">", Value(1), Rational(2))
    table = finish(
        shape(*COUNTED, having=having),
        [[RELEASED] * 4, [RELEASED, FLOOR, RELEASED, COMPLEMENT]],
        [[9, 9, 9, 9], [3, 0, 1, 0]],
    )
    assert rows(table) == [("icu", 9, 3)]
    assert table.notes == ("2 groups are not shown, because HAVING needs a value that was suppressed",)


def test_having_that_is_settled_without_the_suppressed_value() -> None:
    by_ward = Comparison("=", Key(0), Text("icu"))
    secret = Comparison(">", Value(1), Rational(2))
    settled = Disjunction((secret, by_ward))
    table = finish(shape(*COUNTED, having=settled), [[RELEASED] * 4, [FLOOR] * 4], [[9] * 4, [0] * 4])
    assert [row[0] for row in table.rows] == ["icu"]
    table = finish(
        shape(*COUNTED, having=Conjunction((secret, by_ward))), [[RELEASED] * 4, [FLOOR] * 4], [[9] * 4, [0] * 4]
    )
    assert table.rows == ()
    assert table.notes == ("2 groups are not shown, because HAVING needs a value that was suppressed",)


def test_three_valued_having() -> None:
    unknown = Comparison("=", Key(0), Text("icu"))
    for condition, expected in (
        (unknown, ["icu"]),
        (Negation(unknown), ["ent", "eye"]),
        (Missing(Key(0)), [NULL]),
        (Disjunction((unknown, Known(None))), ["icu"]),
        (Conjunction((Negation(unknown), Known(True))), ["ent", "eye"]),
        (Known(None), []),
    ):
        table = finish(shape(*COUNTED, having=condition), [[RELEASED] * 4] * 2, [[9] * 4] * 2)
        assert [row[0] for row in table.rows] == expected


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("nulls_first", [False, True])
def test_order_puts_suppressed_last(descending: bool, nulls_first: bool) -> None:
    by_sum = OrderTerm(NullIf(Value(1), Rational(0)), descending, nulls_first)
    table = finish(
        shape(*COUNTED, order=(by_sum,)),
        [[RELEASED] * 4, [RELEASED, FLOOR, RELEASED, RELEASED]],
        [[9] * 4, [3, 0, 1, 0]],
    )
    released = ["icu", "eye"] if descending else ["eye", "icu"]
    expected = [NULL, *released] if nulls_first else [*released, NULL]
    assert [row[0] for row in table.rows] == [*expected, "ent"]


def test_limit_and_offset_come_after_order() -> None:
    order = (OrderTerm(Value(0), True, False), OrderTerm(Key(0), False, False))
    table = finish(shape(*COUNTED, order=order, limit=2, offset=1), [[RELEASED] * 4] * 2, [[1, 7, 7, 9], [0] * 4])
    assert [row[0] for row in table.rows] == ["ent", "eye"]


def test_text_is_ordered_by_its_bytes() -> None:
    key = KeyShape("k", TEXT, 4, nullable=False, levels=("b", "ä", "B", "a"))
    table = finish(shape(*COUNTED, keys=(key,), order=(OrderTerm(Key(0), False, False),)), [[0] * 4] * 2, [[1] * 4] * 2)
    assert [row[0] for row in table.rows] == ["B", "a", "b", "ä"]


def test_labels() -> None:
    keys = (
        KeyShape("band", INTEGER, 2, nullable=True, low=10, step=10),
        KeyShape("half", Type("decimal", 1), 2, nullable=False, low=-1, step=2, denominator=2),
    )
    outputs = (("band", INTEGER, Key(0)), ("half", Type("decimal", 1), Key(1)))
    table = finish(shape(*outputs, keys=keys), [[0] * 6] * 2, [[1] * 6] * 2)
    half = [Decimal("-0.5"), Decimal("0.5")]
    assert rows(table) == [(10, half[0]), (10, half[1]), (20, half[0]), (20, half[1]), (NULL, half[0]), (NULL, half[1])]
    assert KeyShape("d", DATE, 2, nullable=False, low=-1).label(0).isoformat() == "1969-12-31"  # type: ignore[union-attr]
    assert KeyShape("b", BOOLEAN, 2, nullable=False).label(1) is True


def test_types_of_outputs() -> None:
    third = Arithmetic("/", Value(0), Rational(3))
    table = finish(
        shape(
            ("i", INTEGER, Value(0)),
            ("d", Type("decimal", 2), Linear((Term(0, 1, 100),))),
            ("f", DOUBLE, third),
            keys=(),
        ),
        [[0], [0]],
        [[10**30 + 1], [0]],
    )
    assert rows(table) == [(10**30 + 1, Decimal("10000000000000000000000000000.01"), (10**30 + 1) / 3)]
    assert [type(cell) for cell in table.rows[0]] == [int, Decimal, float]


def test_coalesce_does_not_hide_suppression() -> None:
    outputs = (
        ("c", INTEGER, Coalesce((Null(), Value(0), Value(1)))),
        ("m", INTEGER, Arithmetic("-", Value(0), Value(1))),
    )
    table = finish(shape(*outputs, keys=()), [[RELEASED], [FLOOR]], [[5], [0]])
    assert rows(table) == [(Suppressed("floor"), Suppressed("floor"))]


def test_division_by_zero_is_as_in_duckdb() -> None:
    zero, one = Fraction(0), Fraction(1)
    assert arithmetic("/", one, zero) == math.inf
    assert arithmetic("/", -one, zero) == -math.inf
    assert math.isnan(arithmetic("/", zero, zero) or 0.0)
    assert arithmetic("//", one, zero) is None
    assert arithmetic("//", Fraction(-7), Fraction(2)) == -3
    assert arithmetic("%", Fraction(-7), Fraction(3)) == -1
    assert math.isnan(function("sqrt", -one) or 0.0)


def test_rounding() -> None:
    assert rounded(Fraction(5, 2), 0, double=False) == 3
    assert rounded(Fraction(-5, 2), 0, double=False) == -3
    assert rounded(Fraction(15), -1, double=False) == 20
    assert rounded(Fraction(1, 3), 2, double=True) == 0.33
    assert rounded(2.5, 0, double=True) == 3.0
    assert rounded(math.inf, 2, double=True) == math.inf


@pytest.mark.parametrize(
    ("statuses", "values"),
    [
        ([[0] * 4], [[0] * 4] * 2),
        ([[0] * 4] * 2, [[0] * 4]),
        ([[0] * 4, [0] * 3], [[0] * 4] * 2),
        ([[0] * 4] * 2, [[0] * 4, [0] * 5]),
        ([[0] * 4, [0, 0, 0, 6]], [[0] * 4] * 2),
    ],
)
def test_results_of_another_form_are_refused(statuses: list[list[int]], values: list[list[int]]) -> None:
    with pytest.raises(ResultInvalid):
        finish(shape(*COUNTED), statuses, values)


def test_shape_survives_its_encoding() -> None:
    made = shape(
        *COUNTED,
        ("x", DOUBLE, Round(Function("sqrt", Arithmetic("/", Value(0), Rational(-(2**80), 3))), -2, double=True)),
        having=Negation(Disjunction((Missing(Value(1)), Known(None), Comparison("<", Key(0), Text("x"))))),
        order=(OrderTerm(Coalesce((Null(), Value(0))), True, False),),
        limit=3,
    )
    encoded = canonical.encode(made.to_value())
    assert Shape.from_value(canonical.decode(encoded)) == made


@pytest.mark.parametrize(
    "change",
    [
        {"gates": 0},
        {"gates": True},
        {"limit": -1},
        {"outputs": []},
        {"keys": [{"name": "k"}]},
        {"values": [{"field": "p", "gate": 7}]},
        {"values": []},
        {"having": ["compare", "=", ["value", 9], ["value", 0]]},
        {"having": ["compare", "=", ["key", 9], ["value", 0]]},
        {"having": ["known", 1]},
        {"having": ["known"]},
        {"order": [{"expression": ["number", 2, 4], "descending": False, "nulls_first": False}]},
        {"order": [{"expression": ["number", "5", 1], "descending": False, "nulls_first": False}]},
        {"order": [{"expression": ["moment", "avg", [["value", 0]]], "descending": False, "nulls_first": False}]},
    ],
)
def test_hostile_shapes(change: dict[str, object]) -> None:
    value = shape(*COUNTED).to_value()
    assert isinstance(value, dict)
    with pytest.raises(FormError):
        Shape.from_value({**value, **change})


def test_big_integers_have_one_spelling() -> None:
    value = shape(("x", INTEGER, Rational(2**70)), keys=()).to_value()
    text = canonical.encode(value)
    assert Shape.from_value(canonical.decode(text)).outputs[0].expression == Rational(2**70)
    for wrong in (b"+1180591620717411303424", b"01180591620717411303424", b"1180591620717411303424 "):
        spelled = canonical.decode(text)
        assert isinstance(spelled, dict)
        spelled["outputs"][0]["expression"][1] = wrong.decode()  # type: ignore[call-overload, index]
        with pytest.raises(FormError):
            Shape.from_value(spelled)


def test_the_client_imports_no_numpy_and_no_parser() -> None:
    code = (
        "import sys, mpcd.results; "
        "bad = {'numpy', 'duckdb', 'sqlglot', 'trio', 'mpcd.plan', 'mpcd.roster'} & sys.modules.keys(); "
        "sys.exit(repr(bad) if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_rule_has_a_name_and_a_meaning() -> None:
    assert STATUS_RULES == {1: "floor", 2: "min_owners", 3: "complement", 5: "dominance"}
    assert set(STATUS_RULES.values()) == set(RULES)
    assert set(_SEVERITY) == set(RULES)
