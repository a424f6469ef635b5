"""What a policy says to a request: who asks, for what, about which columns, how finely (pure).

`permitted` is asked by every owner for itself about the plan that it made itself.  It returns every reason at once, so
that an analyst does not find them one at a time, and no reason that tells what the analyst may not know: an analyst
that the owner does not accept learns just that, and a table that is hidden from an analyst is reported in the words of
a table that is not there.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from mpcd.errors import Refusal
from mpcd.governance import purposes
from mpcd.governance.asked import Asked, Decision
from mpcd.governance.budget import query_debits
from mpcd.governance.granularity import Fineness, too_fine
from mpcd.governance.policy import SECURITY_LEVELS, VERBS, Policy, PublishedTable, visible_to
from mpcd.identity import VerifyKey
from mpcd.ids import PartyId

_STRANGER: Final = "analyst"
"""Rule of the refusal of an analyst who is not accepted."""
_ACCESS: Final = "`mpcctl analyst request-access`"
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def permitted(policy: Policy, asked: Asked) -> Decision:
    """The policy's part of the decision.

    Args:
        policy: of this owner.
        asked: `accepted` is who the analyst is to this owner, by the policy file or by an access entry.

    Returns:
        Every refusal, each once; what the request takes from the tables' budgets of queries; the duties that come with
        the answer (term `duties`).
    """
    if asked.accepted is None:
        return Decision(refusals=(_stranger(asked),))
    refusals = [*_security(policy, asked), *_disclosure(policy, asked)]
    problem = purposes.purpose_problem(asked.purpose)
    if problem is not None:
        refusals.append(Refusal(asked.party, "purpose", asked.purpose, f"party {asked.party}: {problem}"))
    visible = visible_to(policy, asked.accepted)
    for name in sorted({*asked.tables, *(path.partition(".")[0] for path in asked.uses)}):
        table = visible.get(name)
        if table is None:
            refusals.append(_no_table(asked, name))
            continue
        mine = asked.narrowed((name,))
        if problem is None:
            refusals.extend(_purpose(table, mine))
        refusals.extend(_conditions(table, mine))
        refusals.extend(_uses(table, mine))
        refusals.extend(_fineness(table, mine))
        refusals.extend(_noise(table, mine))
    budgets = {name: visible[name].budget for name in asked.tables if name in visible}
    owed = sorted({duty for name in budgets for duty in purposes.duties(visible[name].conditions)})
    return Decision(
        refusals=tuple(dict.fromkeys(refusals)),
        debits=query_debits(asked.party, budgets, asked.at),
        terms={"duties": list(owed)} if owed else {},
    )


def _stranger(asked: Asked) -> Refusal:
    message = (
        f"party {asked.party} does not accept the analyst with the key {asked.analyst.fingerprint()}; "
        f"ask for access with {_ACCESS}"
    )
    return Refusal(asked.party, _STRANGER, str(asked.analyst), message)


def is_stranger(refusals: Iterable[Refusal]) -> bool:
    """Whether an owner with these refusals does not accept the analyst at all."""
    return any(refusal.rule == _STRANGER for refusal in refusals)


def accepted_by_nobody(party: PartyId, analyst: VerifyKey) -> Refusal:
    """All that is said to an analyst whom no owner accepts, whatever they asked and whether it exists.

    Args:
        party: that says so.
        analyst: who asked.
    """
    message = (
        f"no owner whose data this would need accepts the analyst with the key {analyst.fingerprint()}; ask for "
        f"access with {_ACCESS}"
    )
    return Refusal(party, _STRANGER, str(analyst), message)


def _no_table(asked: Asked, name: str) -> Refusal:
    message = f"party {asked.party} knows no table `{name}` that you may ask about; ask that owner to publish it"
    return Refusal(asked.party, "table", name, message)


def _security(policy: Policy, asked: Asked) -> Iterator[Refusal]:
    if SECURITY_LEVELS.index(asked.security) > SECURITY_LEVELS.index(policy.security):
        message = (
            f"party {asked.party} accepts {policy.security} security or stronger, this session would be "
            f'{asked.security}; its owner must write security = "{asked.security}" in the policy, or wait for a '
            "version that gives more"
        )
        yield Refusal(asked.party, "security", policy.security, message)


def _disclosure(policy: Policy, asked: Asked) -> Iterator[Refusal]:
    for name in sorted(policy.demanded - asked.enforced):
        message = (
            f"party {asked.party} demands the disclosure rule `{name}` = {getattr(policy.disclosure, name)}, which "
            "this version does not enforce; its owner must choose another profile or remove the number"
        )
        yield Refusal(asked.party, "disclosure", name, message)


def _purpose(table: PublishedTable, asked: Asked) -> Iterator[Refusal]:
    if purposes.permits_any(table.purposes, table.conditions, asked.purpose):
        return
    allowed = ", ".join(table.purposes) or "none"
    message = (
        f"party {asked.party} does not allow `{table.name}` to be used for the purpose {asked.purpose} (allowed: "
        f"{allowed}); declare a purpose that is allowed and true, or ask that owner"
    )
    yield Refusal(asked.party, "purpose", f"{table.name}: {asked.purpose}", message)


def _conditions(table: PublishedTable, asked: Asked) -> Iterator[Refusal]:
    day = (_EPOCH + dt.timedelta(milliseconds=asked.at)).date()
    for code, needed in purposes.unmet(table.conditions, asked.purpose, asked.facts, day):
        if code == "TS":
            yield _too_late(table, asked)
            continue
        message = (
            f"party {asked.party} publishes `{table.name}` under the condition {code} ({purposes.MODIFIERS[code]}); "
            f"that needs {needed}: show that owner, who must put it on record"
        )
        yield Refusal(asked.party, "condition", f"{table.name}: {code}", message)


def _too_late(table: PublishedTable, asked: Asked) -> Refusal:
    ended = max(one.value for one in table.conditions if one.code == "TS")
    message = (
        f"party {asked.party} let `{table.name}` be used until {ended}, which is over; nobody can ask about it any "
        "more unless that owner extends it"
    )
    return Refusal(asked.party, "condition", f"{table.name}: TS", message)


def _uses(table: PublishedTable, asked: Asked) -> Iterator[Refusal]:
    for path, verbs in sorted(asked.uses.items()):
        allowed = table.uses.get(path.partition(".")[2])
        if allowed is None:
            message = (
                f"party {asked.party} knows no column `{path}` that you may ask about; leave it out or ask that owner"
            )
            yield Refusal(asked.party, "column", path, message)
            continue
        listed = ", ".join(verb for verb in VERBS if verb in allowed) or "nothing"
        for verb in sorted(verbs - allowed):
            message = (
                f"party {asked.party} does not allow `{path}` to be used for `{verb}` (allowed: {listed}); "
                "change the request or ask that owner"
            )
            yield Refusal(asked.party, "column-use", f"{path}: {verb}", message)


def _fineness(table: PublishedTable, asked: Asked) -> Iterator[Refusal]:
    """Steps of columns, and no equality on what tells rows apart; of columns that exist for the analyst."""
    for fine in asked.fineness:
        column = fine.path.partition(".")[2]
        if column not in table.uses:
            continue
        if fine.identifies:
            yield _single(asked, fine)
        granularity = table.granularity.get(column)
        finer = None if granularity is None else too_fine(granularity, fine)
        if finer is not None:
            message = f"party {asked.party} publishes `{fine.path}` {granularity}; {finer}"
            yield Refusal(asked.party, "granularity", f"{fine.path}: {fine.verb}", message)


def _single(asked: Asked, fine: Fineness) -> Refusal:
    message = (
        f"`{fine.path}` has no value twice at any owner, so party {asked.party} answers no equality on it and no "
        "groups by it; ask for bands of it"
    )
    return Refusal(asked.party, "identifier", f"{fine.path}: {fine.verb}", message)


def _noise(table: PublishedTable, asked: Asked) -> Iterator[Refusal]:
    if asked.privacy is None and table.noise_only:
        message = (
            f"party {asked.party} answers about `{table.name}` under differential privacy only; ask with --epsilon "
            "and --delta"
        )
        yield Refusal(asked.party, "privacy", table.name, message)
    if asked.privacy is not None and not table.budget.allows_noise:
        message = (
            f"party {asked.party} grants no budget of privacy loss for `{table.name}`; ask without --epsilon, or ask "
            "that owner"
        )
        yield Refusal(asked.party, "privacy", table.name, message)


def exists(policy: Policy, asked: Asked) -> Mapping[str, PublishedTable]:
    """The tables of the request that exist for the analyst: all that other parts may hear of."""
    return {name: table for name, table in visible_to(policy, asked.accepted).items() if name in asked.tables}
