"""What a policy means in practice: what makes it refuse every request, and what a new one changes (layer 13, pure)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from mpcd.governance import purposes
from mpcd.governance.budget import Budget, RateLimit, days_text
from mpcd.governance.disclosure import ENFORCED, RULE_NAMES
from mpcd.governance.people import AcceptedAnalyst, AnalystFacts
from mpcd.governance.policy import SECURITY_LEVELS, VERBS, Policy, PublishedTable, Security, visible_to
from mpcd.governance.privacy import RHO_UNITS
from mpcd.governance.published import Requirement

T = TypeVar("T")
SECURITY: Final[Security] = "malicious"
"""What this version gives, unless every owner's policy accepts less."""
_SECONDS_PER_DAY: Final = 86_400


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that a steward should know, and where it stands in the file."""

    text: str
    line: int = 1

    def __str__(self) -> str:
        return self.text


# ------------------------------------------------------------------------------------------------ warnings


def warnings(policy: Policy, today: dt.date | None = None) -> Iterator[Notice]:
    """Why requests will be refused although the file is well-formed, and what it gives away.

    Args:
        policy: the file's; with the analysts of the book of access, where that is at hand.
        today: UTC; without it nothing is said of times that are over.
    """
    if not policy.analysts:
        yield Notice(
            "the policy accepts no analyst: only those whom `mpcctl analyst accept` has accepted are answered; "
            "add an [[analyst]] with name and key for others"
        )
    if not policy.tables:
        yield Notice("the policy publishes no table, so it refuses every request; add a [[table]] with its uses")
    if SECURITY_LEVELS.index(SECURITY) < SECURITY_LEVELS.index(policy.security):
        yield Notice(
            f"the policy accepts {policy.security} sessions; where every owner does, they are not verified and one "
            f'cheating compute party can falsify them; write security = "{SECURITY}" at its top unless you accept that'
        )
    for name in sorted(policy.demanded - ENFORCED):
        yield Notice(
            f"the policy demands the disclosure rule `{name}` = {getattr(policy.disclosure, name)}, which this version "
            "does not enforce, so it refuses every request; remove it or choose another profile"
        )
    for table in policy.tables.values():
        for text in (*_table_warnings(policy, table), *_never(table, today)):
            yield Notice(text, table.line)


def located(policy: Policy, at: float) -> list[str]:
    """All warnings at a time in seconds since 1970, each with file and line."""
    today = dt.datetime.fromtimestamp(at, dt.UTC).date()
    return [f"{policy.path}:{notice.line}: {notice}" for notice in warnings(policy, today)]


def _table_warnings(policy: Policy, table: PublishedTable) -> Iterator[str]:
    name = table.name
    if not table.purposes:
        yield (
            f"table `{name}` allows no purpose, so every request about it is refused; "
            'add purposes = ["..."] to it or at the top'
        )
    if not any(table.uses.values()):
        yield f"no column of table `{name}` has a use, so every request about it is refused; write its uses"
    needed = 0 if table.approvals is None else table.approvals.approvers_min
    if needed > len(policy.approvers):
        yield (
            f"table `{name}` needs {needed} approvals and the policy names {len(policy.approvers)} approvers, so no "
            "request about it can ever run; add an [[approver]] with name and key for each"
        )
    if 0 in {table.budget.queries, table.budget.lifetime_queries}:
        yield f"the budget of table `{name}` grants no query, so every request about it is refused"
    if purposes.duties(table.conditions) and table.licence == "none":
        yield (
            f"table `{name}` brings the duties {_listed(purposes.duties(table.conditions))} and needs no licence: they "
            'stand in the answer and in the ledger, and nobody is reminded; write licence = "required" to track them'
        )
    for code in _unmeetable(policy, table):
        yield (
            f"no [[analyst]] of this policy meets the condition {code} of table `{name}`; write what you found proven "
            "about them, such as commercial = false, or accept analysts with `mpcctl analyst accept`"
        )


def _never(table: PublishedTable, today: dt.date | None) -> Iterator[str]:
    """What is written and never met, or never reached."""
    over = [one for one in table.conditions if one.code == "TS"]
    if today is not None and over and purposes.unmet(over, "HMB", AnalystFacts(""), today):
        ended = _listed(str(one) for one in over)
        yield f"the time of use of table `{table.name}` is over ({ended}), so every request about it is refused"
    budget = table.budget
    for what, period, lifetime in (
        ("queries", budget.queries, budget.lifetime_queries),
        ("privacy loss", budget.rho_units, budget.lifetime_rho_units),
    ):
        if period is not None and lifetime is not None and lifetime < period:
            yield (
                f"the budget of {what} of table `{table.name}` for all time is below that for {budget.period_days} "
                "days, so the latter is never reached; were they exchanged?"
            )


def _unmeetable(policy: Policy, table: PublishedTable) -> list[str]:
    """Conditions about who asks that nobody in the file meets who may ask about the table."""
    asking = [entry for entry in policy.analysts if table.name in visible_to(policy, entry)]
    codes = dict.fromkeys(c.code for c in table.conditions if c.code in purposes.ABOUT_ANALYSTS)
    if not asking:
        return []

    def meets(entry: AcceptedAnalyst, code: str) -> bool:
        own = [condition for condition in table.conditions if condition.code == code]
        return not purposes.unmet(own, "HMB", entry.facts, purposes.ANY_DAY)

    return [code for code in codes if not any(meets(entry, code) for entry in asking)]


# ------------------------------------------------------------------------------------------------ changes


def changes(old: Policy, new: Policy) -> list[str]:
    """What `new` changes, a sentence each; nothing if both mean the same."""
    found = [f"security: {new.security} (was {old.security})"] if old.security != new.security else []
    found += [
        f"{name}: {_number(new, name)} (was {_number(old, name)})"
        for name in RULE_NAMES
        if _number(old, name) != _number(new, name)
    ]
    found += _differs("requests of one analyst", old.rate, new.rate, _rate)
    found += _people_changes(old, new)
    found += [f"table {name}: no longer published" for name in old.tables if name not in new.tables]
    for name, table in new.tables.items():
        found += _table_changes(old.tables.get(name), table)
    return found


def _people_changes(old: Policy, new: Policy) -> Iterator[str]:
    before = {entry.key.raw: entry for entry in old.analysts}
    after = {entry.key.raw: entry for entry in new.analysts}
    yield from (f"analyst {entry.name}: no longer accepted" for key, entry in before.items() if key not in after)
    for key, entry in after.items():
        known = before.get(key)
        if known is None:
            yield f"analyst {entry.name}: accepted"
            continue
        if entry.tables != known.tables:
            tables = "all tables" if entry.tables is None else _listed(sorted(entry.tables))
            yield f"analyst {entry.name}: may ask about {tables}"
        if entry.facts != known.facts:
            yield f"analyst {entry.name}: other facts on record"
    for role, had, has in (
        ("approver", [(one.name, one.key.raw) for one in old.approvers], [(o.name, o.key.raw) for o in new.approvers]),
        ("steward", [(s.name, s.contact) for s in old.stewards], [(s.name, s.contact) for s in new.stewards]),
    ):
        yield from (f"{role} {one[0]}: no longer named" for one in had if one not in has)
        yield from (f"{role} {one[0]}: named" for one in has if one not in had)


def _table_changes(old: PublishedTable | None, new: PublishedTable) -> Iterator[str]:
    name = new.name
    if old is None:
        yield f"table {name}: published, {len(new.uses)} columns, for {_listed(new.purposes)}"
        return
    if set(old.purposes) != set(new.purposes):
        yield f"table {name}: for {_listed(new.purposes)} (was {_listed(old.purposes)})"
    yield from _differs(f"table {name}: conditions", _conditions(old), _conditions(new), _listed)
    yield from _differs(f"table {name}: licence", old.licence, new.licence, str)
    yield from _differs(f"table {name}: approvals", old.approvals, new.approvals, approvals_text)
    yield from _differs(f"table {name}: budget", old.budget, new.budget, budget_text)
    if old.noise_only != new.noise_only:
        yield f"table {name}: {'noisy answers only' if new.noise_only else 'exact answers too'}"
    for column in sorted(old.uses.keys() | new.uses.keys()):
        if old.uses.get(column) != new.uses.get(column):
            yield f"{name}.{column}: {_uses(new.uses, column)} (was {_uses(old.uses, column)})"
        steps = (old.granularity.get(column), new.granularity.get(column))
        if column in new.uses:
            yield from _differs(f"{name}.{column}", *steps, lambda one: "single values" if one is None else str(one))


def _differs(what: str, old: T, new: T, say: Callable[[T], str]) -> Iterator[str]:
    if old != new:
        yield f"{what}: {say(new)} (was {say(old)})"


def _conditions(table: PublishedTable) -> list[str]:
    return sorted(str(condition) for condition in table.conditions)


def _rate(rate: RateLimit) -> str:
    bounds = {"an hour": rate.requests_per_hour, "a day": rate.requests_per_day}
    return ", ".join(f"{number} {each}" for each, number in bounds.items() if number is not None) or "not limited here"


def approvals_text(requirement: Requirement | None) -> str:
    """What people must say to a request, in words."""
    if requirement is None:
        return "none needed"
    serves = "once" if requirement.executions_max == 1 else f"{requirement.executions_max} times"
    days = requirement.deadline_seconds // _SECONDS_PER_DAY
    return f"{requirement.approvers_min} needed, good for running {serves}, within {days_text(days)}"


def budget_text(budget: Budget) -> str:
    """A budget in words."""
    period = f"in {days_text(budget.period_days)}"
    parts = [
        None if budget.queries is None else f"{budget.queries} queries {period}",
        None if budget.lifetime_queries is None else f"{budget.lifetime_queries} queries in all",
        None if budget.rho_units is None else f"rho {budget.rho_units / RHO_UNITS:g} {period}",
        None if budget.lifetime_rho_units is None else f"rho {budget.lifetime_rho_units / RHO_UNITS:g} in all",
    ]
    return ", ".join(part for part in parts if part is not None) or "not limited"


def _uses(uses: Mapping[str, frozenset[str]], column: str) -> str:
    return _listed(verb for verb in VERBS if verb in uses[column]) if column in uses else "not published"


def _number(policy: Policy, name: str) -> str:
    demanded = " demanded" if name in policy.demanded - ENFORCED else ""
    return f"{getattr(policy.disclosure, name)}{demanded}"


def _listed(items: Iterable[str]) -> str:
    return ", ".join(items) or "nothing"
