"""What a policy means in practice: what makes it refuse every request, and what a new one changes (layer 13, pure)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from mpcd.governance.disclosure import ENFORCED, RULE_NAMES
from mpcd.governance.policy import SECURITY_LEVELS, VERBS, Policy, PublishedTable, Security

SECURITY: Final[Security] = "malicious"
"""What this version gives, unless every owner's policy accepts less."""


def warnings(policy: Policy) -> Iterator[str]:
    """Why requests will be refused although the file is well-formed, and what it gives away."""
    if not policy.analysts:
        yield "the policy accepts no analyst, so it refuses every request; add an [[analyst]] with name and key"
    if not policy.tables:
        yield "the policy publishes no table, so it refuses every request; add a [[table]] with its uses"
    if SECURITY_LEVELS.index(SECURITY) < SECURITY_LEVELS.index(policy.security):
        yield (
            f"the policy accepts {policy.security} sessions; where every owner does, they are not verified and one "
            f'cheating compute party can falsify them; write security = "{SECURITY}" at its top unless you accept that'
        )
    for name in sorted(policy.demanded - ENFORCED):
        yield (
            f"the policy demands the disclosure rule `{name}` = {getattr(policy.disclosure, name)}, which this version "
            "does not enforce, so it refuses every request; remove it or choose another profile"
        )
    for table in policy.tables.values():
        if not table.purposes:
            yield (
                f"table `{table.name}` allows no purpose, so every request about it is refused; "
                'add purposes = ["..."] to it or at the top'
            )
        if not any(table.uses.values()):
            yield f"no column of table `{table.name}` has a use, so every request about it is refused; write its uses"


def changes(old: Policy, new: Policy) -> list[str]:
    """What `new` changes, a sentence each; nothing if both mean the same."""
    found = [f"security: {new.security} (was {old.security})"] if old.security != new.security else []
    found += [
        f"{name}: {_number(new, name)} (was {_number(old, name)})"
        for name in RULE_NAMES
        if _number(old, name) != _number(new, name)
    ]
    before = {entry.key.raw: entry for entry in old.analysts}
    after = {entry.key.raw: entry for entry in new.analysts}
    found += [f"analyst {entry.name}: no longer accepted" for key, entry in before.items() if key not in after]
    for key, entry in after.items():
        if key not in before:
            found.append(f"analyst {entry.name}: accepted")
        elif entry.tables != before[key].tables:
            tables = "all tables" if entry.tables is None else _listed(sorted(entry.tables))
            found.append(f"analyst {entry.name}: may ask about {tables}")
    found += [f"table {name}: no longer published" for name in old.tables if name not in new.tables]
    for name, table in new.tables.items():
        found += _table_changes(old.tables.get(name), table)
    return found


def _table_changes(old: PublishedTable | None, new: PublishedTable) -> Iterator[str]:
    if old is None:
        yield f"table {new.name}: published, {len(new.uses)} columns, for {_listed(new.purposes)}"
        return
    if set(old.purposes) != set(new.purposes):
        yield f"table {new.name}: for {_listed(new.purposes)} (was {_listed(old.purposes)})"
    for column in sorted(old.uses.keys() | new.uses.keys()):
        if old.uses.get(column) != new.uses.get(column):
            yield f"{new.name}.{column}: {_uses(new.uses, column)} (was {_uses(old.uses, column)})"


def _uses(uses: Mapping[str, frozenset[str]], column: str) -> str:
    return _listed(verb for verb in VERBS if verb in uses[column]) if column in uses else "not published"


def _number(policy: Policy, name: str) -> str:
    demanded = " demanded" if name in policy.demanded - ENFORCED else ""
    return f"{getattr(policy.disclosure, name)}{demanded}"


def _listed(items: Iterable[str]) -> str:
    return ", ".join(items) or "nothing"
