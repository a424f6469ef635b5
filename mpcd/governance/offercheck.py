"""Whether an owner can keep what an offer says: compared with its own policy and the roster (pure).

A request needs the policy's yes and the licence's.  So an offer that is wider than the policy gives nothing away, but
it promises what will be refused, to somebody who pays; and a misspelt column or function promises nothing at all.  Each
problem says where in an offer's file it stands (`located`); where the file is another owner's, the words must do.

What needs no policy (an unknown key, a wrong amount) `offerfile` finds.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, get_args

from mpcd.errors import ConfigurationInvalid
from mpcd.governance.document import Section
from mpcd.governance.offer import Grant, Offer
from mpcd.governance.policy import Policy
from mpcd.governance.privacy import RHO_UNITS
from mpcd.governance.published import VERBS, PublishedTable
from mpcd.governance.purposes import covers
from mpcd.results.shape import MomentName

FUNCTIONS: Final = ("count", *get_args(MomentName))
"""Names of the aggregates that mpcd answers, as `plan.functions` reports them."""
_PERSON_ID: Final = "person_id"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that cannot be offered so."""

    message: str
    place: tuple[str, ...]
    """What to look for in the file, from outside in: a key, or in an array of texts the text, of tables the name."""


def problems(offer: Offer, policy: Policy, types: Mapping[str, Mapping[str, str]]) -> list[Problem]:
    """What this owner could not keep of `offer`.

    Args:
        offer: ours, or a pool's of which we are.
        policy: of this owner.
        types: by table and column, as the roster has them.
    """
    found = list(_functions(offer))
    for grant in offer.grants:
        table = policy.tables.get(grant.table)
        if table is None:
            close = _close(grant.table, policy.tables)
            found.append(Problem(f"our policy publishes no table {grant.table}{close}", ("table", grant.table)))
            continue
        found += _uses(grant, table, types.get(grant.table, {}))
        found += _purposes(offer, table)
        found += _budgets(offer, table)
    conditions = {name: frozenset(one.code for one in table.conditions) for name, table in policy.tables.items()}
    barred = offer.condition_problem(conditions)
    if barred is not None:
        found.append(Problem(barred, ("commercial",)))
    return found


def _functions(offer: Offer) -> Iterator[Problem]:
    for name in offer.functions or ():
        if name not in FUNCTIONS:
            known = _close(name, FUNCTIONS) or f"; known: {', '.join(FUNCTIONS)}"
            yield Problem(f"`{name}` is no aggregate that is answered{known}", ("functions", name))


def _uses(grant: Grant, table: PublishedTable, types: Mapping[str, str]) -> Iterator[Problem]:
    for column, verbs in grant.uses or ():
        path, place = f"{grant.table}.{column}", ("table", grant.table, "uses", column)
        if column not in table.uses:
            why = "the roster has no column" if column not in types else "our policy publishes no column"
            yield Problem(f"{why} `{path}`{_close(column, table.uses)}", place)
            continue
        allowed = table.uses[column]
        for verb in verbs:
            if verb in allowed:
                continue
            if types.get(column) == _PERSON_ID:
                yield Problem(f"`{path}` tells persons apart, so it can only be used to `join`", (*place, verb))
                continue
            listed = ", ".join(one for one in VERBS if one in allowed) or "nothing"
            yield Problem(f"our policy does not allow `{path}` for `{verb}` (allowed: {listed})", (*place, verb))


def _purposes(offer: Offer, table: PublishedTable) -> Iterator[Problem]:
    for code in offer.purposes:
        if not any(covers(permission, code) for permission in table.purposes):
            listed = ", ".join(table.purposes) or "none"
            yield Problem(
                f"our policy gives `{table.name}` for {listed}, so it cannot be offered for {code}", ("purposes", code)
            )


def _budgets(offer: Offer, table: PublishedTable) -> Iterator[Problem]:
    budget, quota, rho = table.budget, offer.quota, offer.budget_rho
    if rho is not None and not budget.allows_noise:
        yield Problem(f"our policy grants no budget of privacy loss for `{table.name}`", ("budget_rho",))
    elif rho is not None:
        periods = math.ceil(offer.term_days / budget.period_days)
        in_periods = None if budget.rho_units is None else budget.rho_units * periods
        most = min(one for one in (in_periods, budget.lifetime_rho_units) if one is not None)
        if rho > most:
            yield Problem(
                f"our policy's budget for `{table.name}` holds rho {most / RHO_UNITS:g} in the whole term",
                ("budget_rho",),
            )
    if quota is None:
        return
    if budget.queries is not None and quota.days <= budget.period_days and quota.queries > budget.queries:
        yield Problem(
            f"our policy's budget for `{table.name}` answers {budget.queries} queries of all analysts together in any "
            f"{budget.period_days} days, fewer than this quota",
            ("quota", "queries"),
        )
    if budget.lifetime_queries is not None and quota.queries > budget.lifetime_queries:
        yield Problem(
            f"our policy's budget for `{table.name}` answers {budget.lifetime_queries} queries in all, fewer than this "
            "quota",
            ("quota", "queries"),
        )


def _close(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean `{close[0]}`?" if close else ""


# ------------------------------------------------------------------------------------------------ where it stands


def located(found: Sequence[Problem], document: Section) -> ConfigurationInvalid:
    """All problems in one error, each with the file and line."""
    assert found
    errors = sorted(
        (document.error(one.message, *_path(document.value, one.place)) for one in found),
        key=lambda error: error.line or 0,
    )
    first, *others = errors
    # The first one's place stands before its message already.
    plain = str(first).removeprefix(f"{first.path}:{first.line}: ")
    message = "\n".join((plain, *dict.fromkeys(str(error) for error in others)))
    return ConfigurationInvalid(message, path=first.path, line=first.line)


def _path(value: object, place: Sequence[str]) -> tuple[str | int, ...]:
    """The path in a document of what `place` names, as far as it is there."""
    path: tuple[str | int, ...] = ()
    for name in place:
        step = _step(value, name)
        if step is None:
            return path
        key, value = step
        path = (*path, key)
    return path


def _step(value: object, name: str) -> tuple[str | int, object] | None:
    if isinstance(value, dict):
        return (name, value[name]) if name in value else None
    if isinstance(value, list):
        for index, item in enumerate(value):
            if item == name or (isinstance(item, dict) and item.get("name") == name):
                return index, item
    return None
