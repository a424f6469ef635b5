"""The logical plan: what owners compute, what may be opened, and what the client makes of it (layer 3, no I/O).

Theory of operation.  Every party plans the request's text for itself and compares `LogicalPlan.hash()` with the
others.  A plan is a two-level aggregate: each owner evaluates `sources`, `joins` and `where` over its own rows,
splits them into the cells of `keys`, and per cell computes the `cohorts` (how many distinct persons) and the `values`
(integers).  These are secret-shared and added up over the owners; a `gate` decides on shares, per cell, whether the
values that hang on it are opened; `shape` says how the client makes columns of them.  Nothing else leaves an owner.

The planner runs in a killable child.  `from_value` trusts it with nothing: it checks the plan against the roster and
computes intervals, fields, nullability, gates and uses again (`mpcd.plan.check`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mpcd import canonical, limits
from mpcd.errors import PlanInvalid
from mpcd.ids import PartyId, PlanHash
from mpcd.plan.check import check_plan
from mpcd.plan.isolation import DEGREE_MAX
from mpcd.plan.monomials import MAGNITUDES_MAX, Magnitude
from mpcd.plan.nodes import (
    COHORT,
    COLUMN_REF,
    GATE,
    GROUP_KEY,
    INDEX,
    JOIN,
    LOCAL_VALUE,
    PRED,
    SOURCE,
    Add,
    And,
    Case,
    Cohort,
    ColumnRef,
    Compare,
    Constant,
    DatePart,
    Expr,
    FloorDivide,
    Gate,
    GroupKey,
    InSet,
    IsNotTrue,
    IsNull,
    Join,
    LocalValue,
    Multiply,
    Negate,
    Not,
    Or,
    Pred,
    Source,
    Subtract,
    TruncateDivide,
    Truth,
)
from mpcd.plan.uses import VERBS
from mpcd.results.schema import (
    Form,
    FormError,
    big,
    boolean,
    integer,
    optional,
    record,
    sequence,
    word,
)
from mpcd.results.shape import SHAPE, Shape
from mpcd.roster.model import Roster

__all__ = [
    "Add",
    "And",
    "Case",
    "Cohort",
    "ColumnRef",
    "Compare",
    "Constant",
    "DatePart",
    "Expr",
    "FloorDivide",
    "Gate",
    "GroupKey",
    "InSet",
    "IsNotTrue",
    "IsNull",
    "Join",
    "LocalValue",
    "LogicalPlan",
    "Magnitude",
    "Multiply",
    "Negate",
    "Not",
    "Or",
    "Pred",
    "Source",
    "Subtract",
    "TruncateDivide",
    "Truth",
]


@dataclass(frozen=True, slots=True)
class LogicalPlan:
    """One planned request; see the module's theory of operation."""

    sources: tuple[Source, ...]
    joins: tuple[Join, ...]
    where: Pred | None
    keys: tuple[GroupKey, ...]
    persons: ColumnRef | None
    """The person id that cohorts count; None: each row is a person."""
    persons_unique: bool
    """No person has two rows in the joined relation (so rows may be counted); True where `persons` is None."""
    persons_disjoint: bool
    """No person is known to two owners."""
    rows_disjoint: bool
    """No joined row is held by two owners; True in every plan of this version."""
    rows_max: int
    """Most joined rows over all owners together."""
    cohort_width: int
    """Bits that hold any one owner's cohort count."""
    cohorts: tuple[Cohort, ...]
    gates: tuple[Gate, ...]
    values: tuple[LocalValue, ...]
    uses: Mapping[str, frozenset[str]]
    """Per `table.column` the verbs filter, group, aggregate, join that a policy must allow."""
    shape: Shape
    owners: tuple[PartyId, ...]
    as_of: dt.date
    """The day on which the request is to be understood; part of the plan, for nothing in it may read a clock."""
    magnitudes: tuple[Magnitude, ...] = ()
    """What owners give beside their cells for the gates' `sums`."""

    @property
    def cells(self) -> int:
        """How many cells there are: the product of the keys' places."""
        return self.shape.cells

    @property
    def rows_per_owner_max(self) -> int:
        """Most joined rows at any one owner."""
        return self.rows_max // len(self.owners)

    def to_value(self) -> object:
        """Canonical value, see `mpcd.canonical`."""
        return _PLAN.encode(self)

    def hash(self) -> PlanHash:
        """Digest that all parties compare before anything runs."""
        return PlanHash(canonical.digest("plan", self.to_value()))

    @staticmethod
    def from_value(value: object, roster: Roster) -> LogicalPlan:
        """Decode and check again, against the roster, everything that the planner claims.

        Raises:
            PlanInvalid: not a plan, or not one that this roster allows; the message says where.
        """
        try:
            plan = _PLAN.decode(value)
            check_plan(plan, roster)
        except FormError as error:
            raise PlanInvalid(f"the planner's answer is not a valid plan: plan.{error}") from None
        return plan


def _encode_uses(uses: Mapping[str, frozenset[str]]) -> object:
    return {name: sorted(verbs) for name, verbs in uses.items()}


_verbs: Final = sequence(word(*VERBS), len(VERBS), 1)


def _decode_uses(value: object) -> Mapping[str, frozenset[str]]:
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise FormError(": expected a map from table.column to verbs")
    uses: dict[str, frozenset[str]] = {}
    for name, verbs in value.items():
        decoded = _verbs.decode(verbs)
        if list(decoded) != sorted(set(decoded)):
            raise FormError(": verbs must ascend")
        uses[name] = frozenset(decoded)
    return uses


def _decode_date(value: object) -> dt.date:
    try:
        day = dt.date.fromisoformat(value) if isinstance(value, str) and len(value) == 10 else None
    except ValueError:
        day = None
    if day is None:
        raise FormError(": expected a date as YYYY-MM-DD")
    return day


_USES: Final[Form[Mapping[str, frozenset[str]]]] = Form(_encode_uses, _decode_uses)
_DATE: Final[Form[dt.date]] = Form(lambda day: day.isoformat(), _decode_date)

MAGNITUDE: Final = record(Magnitude, cohort=INDEX, factors=sequence(COLUMN_REF, DEGREE_MAX), size=big)
_PLAN: Final[Form[LogicalPlan]] = record(
    LogicalPlan,
    sources=sequence(SOURCE, limits.PLAN_SOURCES_MAX, 1),
    joins=sequence(JOIN, limits.PLAN_SOURCES_MAX - 1),
    where=optional(PRED),
    keys=sequence(GROUP_KEY, 16),
    persons=optional(COLUMN_REF),
    persons_unique=boolean,
    persons_disjoint=boolean,
    rows_disjoint=boolean,
    rows_max=big,
    cohort_width=integer(1, 64),
    cohorts=sequence(COHORT, limits.PLAN_COHORTS_MAX, 1),
    gates=sequence(GATE, limits.PLAN_VALUES_MAX + 1, 1),
    magnitudes=sequence(MAGNITUDE, MAGNITUDES_MAX),
    values=sequence(LOCAL_VALUE, limits.PLAN_VALUES_MAX),
    uses=_USES,
    shape=SHAPE,
    owners=sequence(integer(0, 2**31), limits.INPUT_OWNERS_MAX, 1),
    as_of=_DATE,
)
