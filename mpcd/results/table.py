"""The finished answer: columns, and rows of cells that are a value, NULL, or suppressed (layer 1, no I/O)."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Final, Literal, NamedTuple

from mpcd.results.shape import Type

Rule = Literal["floor", "min_owners", "complement", "dominance"]
STATUS_RELEASED: Final = 0
STATUS_EMPTY: Final = 4
STATUS_RULES: Final[dict[int, Rule]] = {1: "floor", 2: "min_owners", 3: "complement", 5: "dominance"}
RULES: Final[dict[Rule, str]] = {
    "floor": "too few persons besides the largest contributor's",
    "min_owners": "too few owners contribute",
    "complement": "too few persons, or none, are in the cell beside those of this output, or in one output and not in "
    "another: ask about the same persons, with WHERE column IS NOT NULL or WHERE instead of FILTER; or the cell "
    "was hidden so that another one cannot be had by subtracting from a total: ask for fewer or wider groups",
    "dominance": "a few persons make up most of the sum",
}
"""What each rule means, for notes below a table."""


JOINED_LOCALLY: Final = (
    "rows were joined within each hospital's own rows: what one person has at another hospital was not joined to them"
)
"""Must stand below every answer whose plan joins."""


class NullType(Enum):
    """The type of `NULL`."""

    NULL = "NULL"

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "NULL"


NULL: Final = NullType.NULL
"""A cell without a value, as in SQL."""


@dataclass(frozen=True, slots=True)
class Suppressed:
    """A cell with a value that was not opened, and the rule that kept it."""

    rule: Rule

    def __bool__(self) -> bool:
        raise TypeError("a suppressed cell is neither true nor false")


Value = int | float | Decimal | str | bool | dt.date
Cell = Value | NullType | Suppressed


@dataclass(frozen=True, slots=True)
class TableColumn:
    """Name and type of one column of the answer."""

    name: str
    type: Type


class Interval(NamedTuple):
    """Where the exact number lies, both ends included."""

    low: int | float | Decimal
    high: int | float | Decimal


@dataclass(frozen=True, slots=True)
class Table:
    """The answer of one request."""

    columns: tuple[TableColumn, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    intervals: tuple[tuple[Interval | None, ...], ...] = ()
    """Per cell, where the exact number lies with 95 % chance, when what was opened carries noise; empty without."""

    @property
    def suppressed(self) -> dict[Rule, int]:
        """How many cells each rule suppressed."""
        counts: dict[Rule, int] = {}
        for row in self.rows:
            for cell in row:
                if isinstance(cell, Suppressed):
                    counts[cell.rule] = counts.get(cell.rule, 0) + 1
        return counts

    def column(self, name: str) -> tuple[Cell, ...]:
        """All cells of the column of that name; raises KeyError."""
        for index, column in enumerate(self.columns):
            if column.name == name:
                return tuple(row[index] for row in self.rows)
        raise KeyError(name)


@dataclass(frozen=True, slots=True)
class ResultInfo:
    """What an answer cost and what it opened, shown below it."""

    session: str
    plan_hash: str
    rounds: int
    bytes_sent: int
    opened: int
    """How many pooled values were opened, over all cells."""
    suppressed: int
    """How many pooled values were withheld, over all cells."""
    security: str
    caveats: tuple[str, ...] = ()
