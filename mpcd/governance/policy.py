"""One owner's policy: who may ask what about which column, for which purpose, under which numbers (pure).

    security = "malicious"                  # weakest security this owner accepts; "semi-honest" must be written
    purposes = ["HMB"]                      # for tables that name none themselves
    conditions = ["NCU"]                    # likewise
    licence = "required"                    # likewise; without it, "none"

    [budget]                                # likewise (`mpcd.governance.budget`)
    queries = 200

    [rate]
    requests_per_hour = 60                  # of one analyst, refused ones included

    [[analyst]]                             # also [[approver]] and [[steward]] (`mpcd.governance.people`)
    name = "Anna Analyst"
    key = "mpcd-sign1..."
    tables = ["gbsg2"]                      # optional: without it, every table below

    [[table]]                               # what else stands here: `mpcd.governance.published`
    name = "gbsg2"
    purposes = ["DS:MONDO_0007254"]         # optional: replaces the list above for this table
    uses = { age = ["filter", "aggregate"], menostat = ["group"] }

    [disclosure]
    profile = "cms-11"
    safe_threshold = 20                     # optional: replaces the profile's number

Nothing that is not written is allowed: an empty policy accepts nobody.  An unknown key, verb, purpose or profile is an
error with its line, because a misspelt permission would silently deny and a misspelt restriction silently allow.

What follows from a policy for a request, `mpcd.governance.permission` says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from fractions import Fraction
from typing import Final, Literal, Self, cast, get_args

from mpcd import canonical, limits
from mpcd.errors import ConfigurationInvalid
from mpcd.governance.budget import NO_RATE, RateLimit, read_rate
from mpcd.governance.disclosure import (
    DEFAULT_PROFILE,
    FLAG_RULES,
    MIN_OWNERS_LOWEST,
    PROFILES,
    RULE_NAMES,
    DisclosureRules,
)
from mpcd.governance.document import Section
from mpcd.governance.people import (
    AcceptedAnalyst,
    AnalystFacts,
    Approver,
    Steward,
    read_analysts,
    read_approvers,
    read_stewards,
)
from mpcd.governance.published import (
    VERBS,
    PublishedTable,
    Requirement,
    Verb,
    check_columns,
    read_defaults,
    read_tables,
)
from mpcd.identity import VerifyKey
from mpcd.ids import PartyId

__all__ = [
    "SECURITY_LEVELS",
    "VERBS",
    "AcceptedAnalyst",
    "AnalystFacts",
    "Approver",
    "Policy",
    "PublishedTable",
    "Requirement",
    "Security",
    "Steward",
    "Verb",
    "strongest",
    "visible_tables",
    "visible_to",
]

Security = Literal["malicious", "semi-honest"]
SECURITY_LEVELS: Final[tuple[Security, ...]] = get_args(Security)
"""Strongest first."""

_TOP_KEYS: Final = (
    "security",
    "purposes",
    "conditions",
    "licence",
    "budget",
    "rate",
    "analyst",
    "approver",
    "steward",
    "table",
    "disclosure",
)
_WHOLE_RULES: Final = {
    "safe_threshold": (1, limits.THRESHOLD_PERSONS_MAX),
    "min_owners": (MIN_OWNERS_LOWEST, limits.INPUT_OWNERS_MAX),
    "safe_nk_n": (1, limits.THRESHOLD_PERSONS_MAX),
    "safe_dof_threshold": (1, limits.THRESHOLD_PERSONS_MAX),
    "safe_round_base": (1, limits.THRESHOLD_PERSONS_MAX),
}


@dataclass(frozen=True, slots=True)
class Policy:
    """A parsed policy; the default is the empty one, which allows nothing."""

    analysts: tuple[AcceptedAnalyst, ...] = ()
    tables: Mapping[str, PublishedTable] = field(default_factory=dict)
    disclosure: DisclosureRules = PROFILES[DEFAULT_PROFILE]
    profile: str = DEFAULT_PROFILE
    demanded: frozenset[str] = frozenset()
    """Disclosure rules that the owner wrote or that define the profile: enforced, or the answer is no."""
    security: Security = "malicious"
    path: str = ""
    approvers: tuple[Approver, ...] = ()
    stewards: tuple[Steward, ...] = ()
    rate: RateLimit = NO_RATE
    _by_key: Mapping[bytes, AcceptedAnalyst] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_key", {entry.key.raw: entry for entry in self.analysts})

    @classmethod
    def parse(cls, text: str, path: str = "policy.toml") -> Self:
        """The policy that `text` says.

        Args:
            text: TOML.
            path: for messages only.

        Raises:
            ConfigurationInvalid: with file, line, and what to write instead.
        """
        document = Section.parse(text, path)
        document.only(_TOP_KEYS, "the policy")
        tables = read_tables(document, read_defaults(document))
        rules, profile, demanded = _disclosure(document.section("disclosure", "[disclosure]"))
        return cls(
            analysts=read_analysts(document, tables),
            tables=tables,
            disclosure=rules,
            profile=profile,
            demanded=demanded,
            security=cast("Security", document.choice("security", SECURITY_LEVELS, "malicious")),
            path=path,
            approvers=read_approvers(document),
            stewards=read_stewards(document),
            rate=read_rate(document),
        )

    def accepted(self, analyst: VerifyKey) -> AcceptedAnalyst | None:
        """The entry of `analyst`, if this file has one."""
        return self._by_key.get(analyst.raw)

    def requirement(self, tables: Sequence[str]) -> Requirement | None:
        """What people must say to a request that reads these published tables; None: nothing."""
        asked = (self.tables[table].approvals for table in tables)
        return Requirement.strictest(one for one in asked if one is not None)

    def check_against(self, schema: Mapping[str, Mapping[str, str]]) -> None:
        """Compare with the roster, so that a misspelt name is found when the policy is loaded.

        Args:
            schema: the types of the columns of every table in the roster.

        Raises:
            ConfigurationInvalid: the policy publishes a table or column that the roster does not have, or in a way
                that the column's type does not have.
        """
        for table in self.tables.values():
            if table.name not in schema:
                listed = ", ".join(sorted(schema)) or "none"
                message = f"the roster has no table `{table.name}`; it has: {listed}"
                raise ConfigurationInvalid(message, path=self.path, line=table.line)
            check_columns(table, schema[table.name], self.path)

    def digest(self) -> bytes:
        """Equal for policies that mean the same: comments, the file's order and its name do not count.

        The ledger names a policy by the bytes of its file instead, which an auditor can hold beside it.
        """
        meaning = replace(
            self,
            path="",
            analysts=tuple(sorted(self.analysts, key=lambda entry: entry.key.raw)),
            tables={name: replace(table, line=0, column_lines={}) for name, table in self.tables.items()},
        )
        return canonical.digest("policy", _plain(meaning))


def _plain(value: object) -> object:
    """A canonical value for anything that a policy holds."""
    match value:
        case VerifyKey():
            return value.raw
        case Fraction():
            return str(value)
        case frozenset():
            return sorted(value)
        case Mapping():
            return {key: _plain(item) for key, item in value.items()}
        case tuple():
            return [_plain(item) for item in value]
        case _ if is_dataclass(value):
            return {one.name: _plain(getattr(value, one.name)) for one in fields(value) if one.compare}
        case _:
            return value


# ------------------------------------------------------------------------------------------------ looking


def strongest(demands: Sequence[tuple[PartyId, object]]) -> tuple[Security, PartyId]:
    """The security of a session: semi-honest only if every owner's policy says so; and whose demand that was.

    Args:
        demands: what each participating owner accepts at least, as told; at least one.

    Raises:
        ValueError: a demand is no security level.
    """
    assert demands
    ranks = {level: rank for rank, level in enumerate(SECURITY_LEVELS)}
    if any(level not in ranks for _, level in demands):
        raise ValueError("an owner demands a security that does not exist")
    party, level = min(sorted(demands, key=lambda pair: pair[0]), key=lambda pair: ranks[cast("Security", pair[1])])
    return cast("Security", level), party


def visible_to(policy: Policy, accepted: AcceptedAnalyst | None) -> dict[str, PublishedTable]:
    """The tables that exist for an analyst whom this owner accepted, in the file or by an access entry."""
    if accepted is None:
        return {}
    return {name: t for name, t in policy.tables.items() if accepted.tables is None or name in accepted.tables}


def visible_tables(policy: Policy, accepted: AcceptedAnalyst | None) -> dict[str, dict[str, tuple[Verb, ...]]]:
    """What exists for such an analyst: each table's columns with their verbs, as `VERBS` orders them."""
    return {
        name: {column: tuple(verb for verb in VERBS if verb in verbs) for column, verbs in table.uses.items()}
        for name, table in visible_to(policy, accepted).items()
    }


# ------------------------------------------------------------------------------------------------ parsing


def _disclosure(section: Section) -> tuple[DisclosureRules, str, frozenset[str]]:
    section.only(("profile", *RULE_NAMES), "[disclosure]")
    profile = section.choice("profile", PROFILES, DEFAULT_PROFILE)
    overrides: dict[str, int | float | bool] = {}
    for name in RULE_NAMES:
        if not section.has(name):
            continue
        if name in _WHOLE_RULES:
            overrides[name] = section.whole(name, *_WHOLE_RULES[name])
        elif name in FLAG_RULES:
            overrides[name] = section.flag(name)
        else:
            overrides[name] = section.ratio(name)
    rules = replace(PROFILES[profile], **overrides)  # type: ignore[arg-type]  # read by name above
    demanded = set(overrides)
    if rules.safe_round_base == 1:
        demanded.discard("safe_round_base")
    else:
        demanded.add("safe_round_base")
    return rules, profile, frozenset(demanded)
