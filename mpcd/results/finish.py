"""From opened values to the table (layer 1, no I/O).

The order is SQL's: cells without rows are no groups; HAVING, then ORDER BY, then OFFSET and LIMIT.  All of it happens
on released cells alone.  Where zeros are hidden like small counts nobody knows which cells have no rows: they appear as
groups whose values are suppressed, and a note says so.  A group whose HAVING hangs on a suppressed value is left out
and counted in a note; in ORDER BY a suppressed value comes last, after NULLs, whichever way the order goes.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import cmp_to_key

from mpcd.errors import ResultInvalid
from mpcd.results.evaluate import Evaluated, Group, SuppressedValueError, order_key, to_double
from mpcd.results.interval import HalfWidth, interval_of
from mpcd.results.shape import Expression, OrderTerm, Shape, Type
from mpcd.results.table import (
    NULL,
    STATUS_EMPTY,
    STATUS_RELEASED,
    STATUS_RULES,
    Cell,
    Suppressed,
    Table,
    TableColumn,
)


def finish(
    shape: Shape,
    statuses: Sequence[Sequence[int]],
    values: Sequence[Sequence[int]],
    half_width: HalfWidth | None = None,
) -> Table:
    """The table that the opened values give.

    Args:
        shape: from the plan that all parties agreed on.
        statuses: per gate, per cell, a status code: 0 released, 1 floor, 2 min_owners, 3 complement, 4 empty,
            5 dominance.
        values: per value, per cell, the signed pooled value; ignored where its gate is not released.
        half_width: of the noise that the values carry; None: they are exact.

    Raises:
        ResultInvalid: the counts or codes are not those of the shape.
    """
    _check(shape, statuses, values)
    gates = [value.gate for value in shape.values]
    labels = shape.levels
    groups: list[Group] = []
    withheld = 0
    for cell in range(shape.cells):
        if shape.keys and statuses[0][cell] == STATUS_EMPTY:
            continue
        group = Group(
            [places[code] for places, code in zip(labels, codes_of(shape, cell), strict=True)],
            [status[cell] for status in statuses],
            [value[cell] for value in values],
            gates,
        )
        try:
            if shape.having is not None and group.holds(shape.having) is not True:
                continue
        except SuppressedValueError:
            withheld += 1
            continue
        groups.append(group)
    if shape.order:
        groups = _sorted(groups, shape.order)
    end = None if shape.limit is None else shape.offset + shape.limit
    shown = groups[shape.offset : end]
    rows = tuple(tuple(_cell(group, output.type, output.expression) for output in shape.outputs) for group in shown)
    notes = [_having_note(withheld)] if withheld else []
    hidden = any(isinstance(cell, Suppressed) for row in rows for cell in row)
    if hidden and not any(STATUS_EMPTY in row for row in statuses):
        notes.append("suppressed cells may be empty" + (", groups that do not exist among them" if shape.keys else ""))
    columns = tuple(TableColumn(output.name, output.type) for output in shape.outputs)
    if half_width is None:
        return Table(columns, rows, tuple(notes))
    intervals = tuple(
        tuple(
            None if cell is NULL else interval_of(group, output.expression, output.type, half_width)
            for cell, output in zip(row, shape.outputs, strict=True)
        )
        for row, group in zip(rows, shown, strict=True)
    )
    return Table(columns, rows, tuple(notes), intervals)


def _having_note(withheld: int) -> str:
    groups = "1 group is" if withheld == 1 else f"{withheld} groups are"
    return f"{groups} not shown, because HAVING needs a value that was suppressed"


def _check(shape: Shape, statuses: Sequence[Sequence[int]], values: Sequence[Sequence[int]]) -> None:
    if len(statuses) != shape.gates or len(values) != len(shape.values):
        raise ResultInvalid("the result does not have the gates and values of the plan")
    if any(len(row) != shape.cells for row in (*statuses, *values)):
        raise ResultInvalid("the result does not have the cells of the plan")
    known = {STATUS_RELEASED, STATUS_EMPTY, *STATUS_RULES}
    if any(status not in known for row in statuses for status in row):
        raise ResultInvalid("the result has a status that does not exist")


def codes_of(shape: Shape, cell: int) -> tuple[int, ...]:
    """The code of each key in a cell; the last key varies fastest."""
    codes: list[int] = []
    for key in reversed(shape.keys):
        cell, code = divmod(cell, key.places)
        codes.append(code)
    return tuple(reversed(codes))


def _cell(group: Group, kind: Type, expression: Expression) -> Cell:
    try:
        value = group.evaluate(expression)
    except SuppressedValueError as error:
        return error.suppressed
    return _typed(value, kind)


def _typed(value: Evaluated, kind: Type) -> Cell:
    """The value in its SQL type: the last, and for most statistics the only, rounding."""
    if value is None:
        return NULL
    if isinstance(value, (str, bool, dt.date)):
        return value
    if kind.name == "double" or not math.isfinite(value):
        return to_double(value)
    if kind.name == "integer":
        return int(value)
    return _decimal(Fraction(value), kind.scale)


def _decimal(value: Fraction, scale: int) -> Decimal:
    """Exactly, where `scale` digits suffice; else rounded half away from zero."""
    scaled = value * 10**scale
    whole = math.floor(abs(scaled) + Fraction(1, 2))
    with localcontext() as context:
        context.prec = max(len(str(whole)) + 1, 1)
        return Decimal(whole if scaled >= 0 else -whole).scaleb(-scale)


def _sorted(groups: list[Group], order: Sequence[OrderTerm]) -> list[Group]:
    """By each term in turn, the last first, which a stable sort allows."""
    for term in reversed(order):
        keyed = [(_ordered(term, group), group) for group in groups]
        keyed.sort(key=cmp_to_key(lambda a, b, term=term: _compare(term, a[0], b[0])))  # type: ignore[misc]
        groups = [group for _, group in keyed]
    return groups


def _compare(term: OrderTerm, left: Evaluated | Suppressed, right: Evaluated | Suppressed) -> int:
    if isinstance(left, Suppressed) or isinstance(right, Suppressed):
        return isinstance(left, Suppressed) - isinstance(right, Suppressed)
    if left is None or right is None:
        nulls = (left is None) - (right is None)
        return -nulls if term.nulls_first else nulls
    x, y = order_key(left), order_key(right)
    difference = (x > y) - (x < y)
    return -difference if term.descending else difference


def _ordered(term: OrderTerm, group: Group) -> Evaluated | Suppressed:
    try:
        return group.evaluate(term.expression)
    except SuppressedValueError as error:
        return error.suppressed
