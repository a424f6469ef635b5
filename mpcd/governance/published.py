"""What a policy publishes: tables, what their columns may be used for, and on which conditions (pure).

[[table]]
name = "gbsg2"
purposes = ["DS:MONDO_0007254"]         # optional: replaces the general list for this table
conditions = ["NCU", "IRB"]             # optional: replaces the general list
licence = "required"                    # optional: "none" needs no licence
approvals = { min = 2, execute = "once", deadline_days = 14 }
granularity = { age = 5 }
budget = { queries = 100, period_days = 30, lifetime_queries = 2000 }
uses = { age = ["filter", "aggregate"], menostat = ["group"] }
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Final, Literal, Self, cast, get_args

from mpcd import limits
from mpcd.errors import ConfigurationInvalid
from mpcd.governance import purposes
from mpcd.governance.budget import NO_LIMITS, Budget, read_budget
from mpcd.governance.document import Section
from mpcd.governance.granularity import UNITS, Calendar, Granularity, Steps
from mpcd.governance.purposes import Condition

Verb = Literal["filter", "group", "aggregate", "rank", "join", "model"]
VERBS: Final[tuple[Verb, ...]] = get_args(Verb)
LicenceNeed = Literal["required", "none"]
_IDENTIFIER_VERBS: Final = frozenset({"join"})
_TABLE_KEYS: Final = (
    "name",
    "purposes",
    "conditions",
    "licence",
    "approvals",
    "granularity",
    "budget",
    "privacy",
    "uses",
)
_TOP_ONLY: Final = ("security", "disclosure", "rate")
_SECONDS_PER_DAY: Final = 86_400


@dataclass(frozen=True, slots=True)
class Requirement:
    """What an owner's policy asks of people before a request may run."""

    approvers_min: int = 1
    executions_max: int = 1
    """How often one approval may serve; 1: once, and for the very request alone."""
    deadline_seconds: int = limits.APPROVAL_DEADLINE_SECONDS_DEFAULT
    """How long the approvers may take, from when the request first came."""

    def __post_init__(self) -> None:
        assert 1 <= self.approvers_min <= limits.APPROVERS_PER_REQUEST_MAX
        assert 1 <= self.executions_max <= limits.APPROVAL_EXECUTIONS_MAX
        assert 1 <= self.deadline_seconds <= limits.APPROVAL_WAIT_SECONDS_MAX

    @classmethod
    def strictest(cls, requirements: Iterable[Self]) -> Self | None:
        """What satisfies each of them; None if there is none."""
        every = list(requirements)
        if not every:
            return None
        return cls(
            max(one.approvers_min for one in every),
            min(one.executions_max for one in every),
            min(one.deadline_seconds for one in every),
        )


@dataclass(frozen=True, slots=True)
class PublishedTable:
    """A table of this owner with what its columns may be used for."""

    name: str
    uses: Mapping[str, frozenset[Verb]]
    """By column; a column that is not listed does not exist for analysts."""
    purposes: tuple[str, ...]
    line: int
    """In the policy file, for later complaints."""
    column_lines: Mapping[str, int]
    conditions: tuple[Condition, ...] = ()
    licence: LicenceNeed = "none"
    approvals: Requirement | None = None
    granularity: Mapping[str, Granularity] = field(default_factory=dict)
    """By column."""
    budget: Budget = NO_LIMITS
    noise_only: bool = False
    """Only answers under differential privacy."""


# ------------------------------------------------------------------------------------------------ parsing


@dataclass(frozen=True, slots=True)
class Defaults:
    """What the top of the file says for tables that say nothing themselves."""

    purposes: tuple[str, ...]
    conditions: tuple[Condition, ...]
    licence: LicenceNeed
    budget: Budget


def read_defaults(document: Section) -> Defaults:
    """Raises `ConfigurationInvalid`."""
    return Defaults(
        _purposes(document), _conditions(document), _licence(document, "none"), read_budget(document, NO_LIMITS)
    )


def read_tables(document: Section, defaults: Defaults) -> dict[str, PublishedTable]:
    """Every `[[table]]`; raises `ConfigurationInvalid`."""
    tables: dict[str, PublishedTable] = {}
    for section in document.sections("table", limits.POLICY_TABLES_MAX):
        misplaced = [key for key in _TOP_ONLY if section.has(key)]
        if misplaced:
            raise section.error(f"move `{misplaced[0]}` to the top of the file, before the first [[...]]", misplaced[0])
        section.only(_TABLE_KEYS, "[[table]]")
        name = section.text("name")
        if name in tables:
            raise section.error(f"the table `{name}` is published twice; write its uses in one place", "name")
        tables[name] = _table(section, name, defaults)
    return tables


def _table(section: Section, name: str, defaults: Defaults) -> PublishedTable:
    written = section.section("uses", '{ age = ["filter", "aggregate"] }')
    if len(written.value) > limits.POLICY_COLUMNS_MAX:
        raise section.error(f"more than {limits.POLICY_COLUMNS_MAX} columns", "uses")
    uses = {column: _verbs(written, column) for column in written.value}
    budget = read_budget(section, defaults.budget)
    noise_only = section.choice("privacy", ("required", "optional"), "optional") == "required"
    if noise_only and not budget.allows_noise:
        raise section.error(
            '`privacy = "required"` needs a budget of privacy loss, e.g. budget = { epsilon = 1, delta = 1e-6 }',
            "privacy",
        )
    return PublishedTable(
        name,
        uses,
        _purposes(section) if section.has("purposes") else defaults.purposes,
        section.line,
        {column: written.lines.get((*written.path, column), written.line) for column in uses},
        conditions=_conditions(section) if section.has("conditions") else defaults.conditions,
        licence=_licence(section, defaults.licence),
        approvals=_approvals(section),
        granularity=_granularity(section, uses),
        budget=budget,
        noise_only=noise_only,
    )


def _purposes(section: Section) -> tuple[str, ...]:
    found: list[str] = []
    for index, code in section.texts("purposes"):
        problem = purposes.permission_problem(code)
        if problem is not None:
            raise section.error(problem, "purposes", index)
        if code in found:
            raise section.error(f"`{code}` is listed twice", "purposes", index)
        found.append(code)
    return tuple(found)


def _conditions(section: Section) -> tuple[Condition, ...]:
    found: list[Condition] = []
    for index, text in section.texts("conditions"):
        try:
            condition = Condition.parse(text)
        except ValueError as error:
            raise section.error(str(error), "conditions", index) from error
        if condition in found:
            raise section.error(f"`{text}` is listed twice", "conditions", index)
        found.append(condition)
    return tuple(found)


def _licence(section: Section, default: LicenceNeed) -> LicenceNeed:
    return cast("LicenceNeed", section.choice("licence", get_args(LicenceNeed), default))


def _approvals(section: Section) -> Requirement | None:
    if not section.has("approvals"):
        return None
    written = section.section("approvals", '{ min = 1, execute = "once" }')
    written.only(("min", "execute", "deadline_days"), "approvals")
    executions = 1
    if written.value.get("execute", "once") != "once":
        try:
            executions = written.whole("execute", 1, limits.APPROVAL_EXECUTIONS_MAX)
        except ConfigurationInvalid as error:
            hint = f'`execute` is "once" or a whole number from 1 to {limits.APPROVAL_EXECUTIONS_MAX}'
            raise written.error(hint, "execute") from error
    days = limits.APPROVAL_DEADLINE_SECONDS_DEFAULT // _SECONDS_PER_DAY
    if written.has("deadline_days"):
        days = written.whole("deadline_days", 1, limits.APPROVAL_WAIT_SECONDS_MAX // _SECONDS_PER_DAY)
    people = written.whole("min", 1, limits.APPROVERS_PER_REQUEST_MAX) if written.has("min") else 1
    return Requirement(people, executions, days * _SECONDS_PER_DAY)


def _granularity(section: Section, uses: Collection[str]) -> dict[str, Granularity]:
    written = section.section("granularity", '{ age = 5, dx_date = "month" }')
    found: dict[str, Granularity] = {}
    for column, value in written.value.items():
        if column not in uses:
            raise written.error(f"the column `{column}` has no entry in `uses`; correct its name or remove it", column)
        if isinstance(value, str) and value in UNITS:
            found[column] = Calendar(value)
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= limits.GRANULARITY_MAX:
            found[column] = Steps(Fraction(Decimal(str(value))))
        else:
            raise written.error(
                f"`{column}` is published in steps of a number from above 0 to {limits.GRANULARITY_MAX}, or a date by "
                f"{', '.join(UNITS)}",
                column,
            )
    return found


def _verbs(section: Section, column: str) -> frozenset[Verb]:
    if not 0 < len(column) <= limits.NAME_CHARACTERS_MAX:
        raise section.error(f"a column's name has 1 to {limits.NAME_CHARACTERS_MAX} characters", column)
    verbs: list[Verb] = []
    for index, verb in section.texts(column):
        if verb not in VERBS:
            raise section.error(f"`{verb}` is no column use; known: {', '.join(VERBS)}", column, index)
        verbs.append(verb)
    return frozenset(verbs)


def check_columns(table: PublishedTable, types: Mapping[str, str], path: str) -> None:
    """Compare a table with the roster's columns.

    Args:
        table: of the policy.
        types: of the roster's columns, by name.
        path: of the policy file.

    Raises:
        ConfigurationInvalid: a column that is not there, a person id with another use than `join`, or steps that its
            type cannot have.
    """
    for column, verbs in table.uses.items():
        line = table.column_lines[column]
        if column not in types:
            message = f"table `{table.name}` of the roster has no column `{column}`; correct its name or remove it"
            raise ConfigurationInvalid(message, path=path, line=line)
        if types[column] == "person_id" and not verbs <= _IDENTIFIER_VERBS:
            message = f"`{column}` tells persons apart, so it can only be used to `join`; remove its other uses"
            raise ConfigurationInvalid(message, path=path, line=line)
    for column, granularity in table.granularity.items():
        if not granularity.fits(types[column]):
            message = f"`{column}` is of type {types[column]} and cannot be published {granularity}"
            raise ConfigurationInvalid(message, path=path, line=table.column_lines[column])
