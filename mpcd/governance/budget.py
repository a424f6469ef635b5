"""What one data set may give away: queries and privacy loss, in a rolling period and for ever (pure).

    [budget]                                # for tables that write none themselves
    queries = 200                           # in any period of `period_days`
    period_days = 30
    lifetime_queries = 5000

    [[table]]
    budget = { epsilon = 1, lifetime_epsilon = 4, delta = 1e-6, queries = 100 }

A budget belongs to a data set and is shared by all analysts: the person is the unit of privacy, and a person's records
do not know who asked.  Privacy loss is kept as zCDP `rho`, which adds up over answers; `epsilon` with `delta` is
another way to write it.  A `[budget]` or `budget` replaces the general one as a whole.

*Accounts.*  Each table has one account for queries and one for privacy loss, each twice: `.../period` is compared with
what was taken within the period, `.../lifetime` with all.  Both are booked where there is no limit too, so that a
limit that is written later counts what came before.  The transaction that makes a session agreed books them
(`store._debit`); `overdrawn` says beforehand what would not fit, for `explain` and `quote`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final

from mpcd import limits
from mpcd.errors import ConfigurationInvalid, Refusal
from mpcd.governance.document import Section
from mpcd.governance.entries import Debit
from mpcd.governance.privacy import RHO_UNITS, rho_for
from mpcd.ids import PartyId

RULE: Final = "budget"
PERIOD_DAYS_DEFAULT: Final = 30
MILLISECONDS_PER_DAY: Final = 86_400_000
_KEYS: Final = (
    "queries",
    "lifetime_queries",
    "rho",
    "lifetime_rho",
    "epsilon",
    "lifetime_epsilon",
    "delta",
    "period_days",
)


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of one data set; None: no limit for queries, nothing granted for privacy loss."""

    queries: int | None = None
    lifetime_queries: int | None = None
    rho_units: int | None = None
    """In the period, 10^-12 rho."""
    lifetime_rho_units: int | None = None
    period_days: int = PERIOD_DAYS_DEFAULT

    @property
    def allows_noise(self) -> bool:
        """Whether any privacy loss is granted: without a budget there are no answers under differential privacy."""
        return self.rho_units is not None or self.lifetime_rho_units is not None


@dataclass(frozen=True, slots=True)
class RateLimit:
    """How many requests one analyst may make, refused ones included; None: as many as the daemon bears."""

    requests_per_hour: int | None = None
    requests_per_day: int | None = None


NO_LIMITS: Final = Budget()
NO_RATE: Final = RateLimit()


# ------------------------------------------------------------------------------------------------ debits


def query_debits(party: PartyId, budgets: Mapping[str, Budget], at: int) -> tuple[Debit, ...]:
    """What one answered request takes from the budget of each table that it reads.

    Args:
        party: this owner.
        budgets: by table.
        at: the session's time, milliseconds since 1970.
    """
    return tuple(
        debit
        for table, budget in sorted(budgets.items())
        for debit in _pair(party, f"queries/{table}", table, 1, (budget.queries, budget.lifetime_queries), budget, at)
    )


def privacy_debits(party: PartyId, budgets: Mapping[str, Budget], rho_units: int, at: int) -> tuple[Debit, ...]:
    """What one answer under differential privacy takes, 10^-12 rho; each table must have a budget for it."""
    assert rho_units >= 0
    return tuple(
        debit
        for table, budget in sorted(budgets.items())
        for debit in _pair(
            party, f"rho/{table}", table, rho_units, (budget.rho_units, budget.lifetime_rho_units), budget, at
        )
    )


def days_text(days: int) -> str:
    """`1 day`, `30 days`."""
    return "1 day" if days == 1 else f"{days} days"


def _pair(
    party: PartyId,
    account: str,
    table: str,
    amount: int,
    bounds: tuple[int | None, int | None],
    budget: Budget,
    at: int,
) -> tuple[Debit, Debit]:
    what = "queries" if account.startswith("queries/") else "privacy loss"
    since = at - budget.period_days * MILLISECONDS_PER_DAY
    days = days_text(budget.period_days)
    return (
        Debit(f"{account}/period", amount, bounds[0], _refusal(party, table, what, f"{what} in {days}"), since),
        Debit(f"{account}/lifetime", amount, bounds[1], _refusal(party, table, what, f"{what} in all")),
    )


def _refusal(party: PartyId, table: str, what: str, over: str) -> Refusal:
    advice = "ask with a smaller epsilon, wait" if what == "privacy loss" else "wait"
    message = (
        f"the budget of party {party} for `{table}` ({over}) does not cover this request; {advice}, or ask that owner"
    )
    return Refusal(party, RULE, f"{table}: {over}", message)


def overdrawn(debits: Iterable[Debit], spent: Callable[[Debit], int]) -> tuple[Refusal, ...]:
    """The refusals of all debits that would pass their limits.

    Args:
        debits: each account once.
        spent: what the debit's account has taken so far, refunds off; since `debit.since` where it has one.
    """
    refusals = []
    for debit in debits:
        if debit.limit is not None and spent(debit) + debit.amount > debit.limit:
            assert debit.refusal is not None
            refusals.append(debit.refusal)
    return tuple(refusals)


# ------------------------------------------------------------------------------------------------ parsing


def read_budget(section: Section, default: Budget) -> Budget:
    """What `budget` in a section says; `default` where it is absent; raises `ConfigurationInvalid`."""
    if not section.has("budget"):
        return default
    written = section.section("budget", "{ queries = 100, period_days = 30 }")
    written.only(_KEYS, "budget")
    days = written.whole("period_days", 1, limits.BUDGET_PERIOD_DAYS_MAX) if written.has("period_days") else None
    return Budget(
        _queries(written, "queries"),
        _queries(written, "lifetime_queries"),
        _rho_units(written, ""),
        _rho_units(written, "lifetime_"),
        PERIOD_DAYS_DEFAULT if days is None else days,
    )


def read_rate(document: Section) -> RateLimit:
    """What `[rate]` says; raises `ConfigurationInvalid`."""
    section = document.section("rate", "{ requests_per_hour = 60 }")
    section.only(("requests_per_hour", "requests_per_day"), "[rate]")
    bounds = {key: section.whole(key, 1, limits.RATE_REQUESTS_MAX) for key in section.value}
    return RateLimit(**bounds)


def _queries(section: Section, key: str) -> int | None:
    return section.whole(key, 0, limits.BUDGET_QUERIES_MAX) if section.has(key) else None


def _rho_units(section: Section, prefix: str) -> int | None:
    """The privacy loss in units; rounded down, so that no more is granted than is written."""
    rho, epsilon = f"{prefix}rho", f"{prefix}epsilon"
    if section.has(rho) and section.has(epsilon):
        raise section.error(f"write `{rho}` or `{epsilon}`, not both", epsilon)
    if section.has(rho):
        return int(_number(section, rho, limits.BUDGET_RHO_MAX) * RHO_UNITS)
    if not section.has(epsilon):
        return None
    if not section.has("delta"):
        raise section.error(f"`{epsilon}` needs a `delta`, e.g. delta = 1e-6", epsilon)
    delta = _number(section, "delta", 1)
    if delta >= 1:
        raise section.error("`delta` lies between 0 and 1, and is far below one in the number of persons", "delta")
    granted = rho_for(_number(section, epsilon, limits.BUDGET_RHO_MAX), delta)
    if granted <= 0:
        raise section.error(f"`{epsilon}` is too small beside this `delta`; no answer would ever fit", epsilon)
    return int(granted * RHO_UNITS)


def _number(section: Section, key: str, high: int) -> Fraction:
    """A number above 0, exactly as it is written (a float's shortest text is what the file says)."""
    value = section.value[key]
    error: ConfigurationInvalid = section.error(f"`{key}` must be a number above 0 and at most {high}", key)
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value <= high:
        raise error
    return Fraction(Decimal(str(value)))
