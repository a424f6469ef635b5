"""One owner's policy: who may ask what about which column, for which purpose, under which numbers (pure).

    security = "malicious"                  # weakest security this owner accepts; "semi-honest" must be written
    purposes = ["HMB"]                      # for tables that name none themselves

    [[analyst]]
    name = "Anna Analyst"
    key = "mpcd-sign1..."
    tables = ["gbsg2"]                      # optional: without it, every table below

    [[table]]
    name = "gbsg2"
    purposes = ["DS:MONDO_0007254"]         # optional: replaces the list above for this table
    uses = { age = ["filter", "aggregate"], menostat = ["group"] }

    [disclosure]
    profile = "cms-11"
    safe_threshold = 20                     # optional: replaces the profile's number

Nothing that is not written is allowed: an empty policy accepts nobody.  An unknown key, verb, purpose or profile is an
error with its line, because a misspelt permission would silently deny and a misspelt restriction silently allow.

`decide` is asked by every owner for itself about the plan that it made itself.  It returns every reason at once, so
that an analyst does not find them one at a time, and no reason that tells what the analyst may not know: an analyst
that the policy does not accept learns just that, and a table that is hidden from an analyst is reported in the words
of a table that is not there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, Self, cast, get_args

from mpcd import canonical, limits
from mpcd.errors import Refusal
from mpcd.governance import purposes
from mpcd.governance.disclosure import (
    DEFAULT_PROFILE,
    ENFORCED,
    MIN_OWNERS_LOWEST,
    PROFILES,
    RULE_NAMES,
    DisclosureRules,
)
from mpcd.governance.document import Section
from mpcd.identity import IdentityError, VerifyKey
from mpcd.ids import PartyId

Verb = Literal["filter", "group", "aggregate", "rank", "join", "model"]
VERBS: Final[tuple[Verb, ...]] = get_args(Verb)
Security = Literal["malicious", "semi-honest"]
SECURITY_LEVELS: Final[tuple[Security, ...]] = get_args(Security)
"""Strongest first."""

_TOP_KEYS: Final = ("security", "purposes", "analyst", "table", "disclosure")
_WHOLE_RULES: Final = {
    "safe_threshold": (1, limits.THRESHOLD_PERSONS_MAX),
    "min_owners": (MIN_OWNERS_LOWEST, limits.INPUT_OWNERS_MAX),
    "safe_nk_n": (1, limits.THRESHOLD_PERSONS_MAX),
    "safe_dof_threshold": (1, limits.THRESHOLD_PERSONS_MAX),
    "safe_round_base": (1, limits.THRESHOLD_PERSONS_MAX),
}


@dataclass(frozen=True, slots=True)
class AnalystFacts:
    """Who an analyst is, as far as this owner has found it proven; what is not known counts against the analyst."""

    name: str
    institution: str = ""
    country: str = ""
    """ISO 3166-1, two letters."""
    user: str = ""
    project: str = ""
    commercial: bool | None = None
    """Whether the use is commercial."""
    non_profit: bool | None = None
    """Whether the institution is a not-for-profit organisation."""
    genetic: bool | None = None
    """Whether the project is a genetic study."""
    rate_class: str = "standard"
    """Of prices: `standard`, or `reduced` for individual researchers and small institutions."""
    evidence: Mapping[str, bytes] = field(default_factory=dict)
    """SHA-256 of what the owner was shown and accepted, by DUO code: `IRB`, `COL`, `RS`."""


@dataclass(frozen=True, slots=True)
class AcceptedAnalyst:
    """An analyst whom this owner answers."""

    name: str
    key: VerifyKey
    tables: frozenset[str] | None
    """The tables that exist for this analyst; None for all."""
    facts: AnalystFacts = AnalystFacts("")


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


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """What a policy needs to know about a request that was planned."""

    analyst: VerifyKey
    tables: tuple[str, ...]
    uses: Mapping[str, frozenset[str]]
    """By `table.column`, the verbs that the planner derived."""
    purpose: str
    security: Security
    """What the session would give."""
    enforced: frozenset[str] = ENFORCED
    """Names of the disclosure rules that the session's release gate evaluates."""


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
        default_purposes = _purposes(document)
        tables = _tables(document, default_purposes)
        analysts = _analysts(document, tables)
        rules, profile, demanded = _disclosure(document.section("disclosure", "[disclosure]"))
        security = cast("Security", document.choice("security", SECURITY_LEVELS, "malicious"))
        return cls(analysts, tables, rules, profile, demanded, security, path)

    def accepted(self, analyst: VerifyKey) -> AcceptedAnalyst | None:
        """The entry of `analyst`, if this owner answers them."""
        return self._by_key.get(analyst.raw)

    def check_against(self, schema: Mapping[str, Collection[str]]) -> None:
        """Compare with the roster, so that a misspelt name is found when the policy is loaded.

        Args:
            schema: the columns of every table in the roster.

        Raises:
            ConfigurationInvalid: the policy publishes a table or column that the roster does not have.
        """
        for table in self.tables.values():
            if table.name not in schema:
                raise Section({}, ("table",), self.path, {("table",): table.line}).error(
                    f"the roster has no table `{table.name}`; it has: {', '.join(sorted(schema)) or 'none'}"
                )
            for column in table.uses:
                if column not in schema[table.name]:
                    line = table.column_lines[column]
                    raise Section({}, ("table",), self.path, {("table",): line}).error(
                        f"table `{table.name}` of the roster has no column `{column}`; correct its name or remove it"
                    )

    def digest(self) -> bytes:
        """Equal for policies that mean the same: comments and the file's order do not count.

        The ledger names a policy by the bytes of its file instead, which an auditor can hold beside it.
        """
        analysts = {
            entry.key.raw.hex(): [entry.name, None if entry.tables is None else sorted(entry.tables)]
            for entry in self.analysts
        }
        tables = {
            table.name: [sorted(table.purposes), {column: sorted(verbs) for column, verbs in table.uses.items()}]
            for table in self.tables.values()
        }
        numbers = [self.disclosure.to_value(), sorted(self.demanded), self.security]
        return canonical.digest("policy", [analysts, tables, numbers])


# ------------------------------------------------------------------------------------------------ deciding


def decide(policy: Policy, facts: PlanFacts, party: PartyId) -> tuple[Refusal, ...]:
    """Every reason why this owner does not allow the plan; none means that it does.

    Args:
        policy: of this owner.
        facts: of the plan that this owner made itself from the signed request.
        party: this owner.
    """
    analyst = policy.accepted(facts.analyst)
    if analyst is None:
        message = (
            f"party {party} does not accept the analyst with the key {facts.analyst.fingerprint()}; "
            "send that owner your key and ask to be accepted"
        )
        return (Refusal(party, "analyst", str(facts.analyst), message),)
    refusals = [*_security_refusals(policy, facts, party), *_disclosure_refusals(policy, facts, party)]
    problem = purposes.purpose_problem(facts.purpose)
    if problem is not None:
        refusals.append(Refusal(party, "purpose", facts.purpose, f"party {party}: {problem}"))
    by_table = _uses_by_table(facts)
    for table_name in sorted(by_table):
        table = policy.tables.get(table_name) if analyst.tables is None or table_name in analyst.tables else None
        if table is None:
            message = (
                f"party {party} knows no table `{table_name}` that you may ask about; ask that owner to publish it"
            )
            refusals.append(Refusal(party, "table", table_name, message))
            continue
        if problem is None:
            refusals.extend(_purpose_refusals(table, facts.purpose, party))
        refusals.extend(_use_refusals(table, by_table[table_name], party))
    return tuple(refusals)


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


def visible_tables(policy: Policy, analyst: VerifyKey) -> dict[str, dict[str, tuple[Verb, ...]]]:
    """What exists for `analyst`: each table's columns with their verbs, as `VERBS` orders them."""
    entry = policy.accepted(analyst)
    if entry is None:
        return {}
    return {
        table.name: {column: tuple(verb for verb in VERBS if verb in verbs) for column, verbs in table.uses.items()}
        for table in policy.tables.values()
        if entry.tables is None or table.name in entry.tables
    }


def _security_refusals(policy: Policy, facts: PlanFacts, party: PartyId) -> list[Refusal]:
    if SECURITY_LEVELS.index(facts.security) <= SECURITY_LEVELS.index(policy.security):
        return []
    message = (
        f"party {party} accepts {policy.security} security or stronger, this session would be {facts.security}; "
        f'its owner must write security = "{facts.security}" in the policy, or wait for a version that gives more'
    )
    return [Refusal(party, "security", policy.security, message)]


def _disclosure_refusals(policy: Policy, facts: PlanFacts, party: PartyId) -> list[Refusal]:
    return [
        Refusal(
            party,
            "disclosure",
            name,
            f"party {party} demands the disclosure rule `{name}` = {getattr(policy.disclosure, name)}, which this "
            "version does not enforce; its owner must choose another profile or remove the number",
        )
        for name in sorted(policy.demanded - facts.enforced)
    ]


def _uses_by_table(facts: PlanFacts) -> dict[str, dict[str, frozenset[str]]]:
    by_table: dict[str, dict[str, frozenset[str]]] = {name: {} for name in facts.tables}
    for path, verbs in facts.uses.items():
        table_name, _, column = path.partition(".")
        by_table.setdefault(table_name, {})[column] = verbs
    return by_table


def _purpose_refusals(table: PublishedTable, purpose: str, party: PartyId) -> list[Refusal]:
    if any(purposes.permits(permission, purpose) for permission in table.purposes):
        return []
    allowed = ", ".join(table.purposes) or "none"
    message = (
        f"party {party} does not allow `{table.name}` to be used for the purpose {purpose} (allowed: {allowed}); "
        "declare a purpose that is allowed and true, or ask that owner"
    )
    return [Refusal(party, "purpose", f"{table.name}: {purpose}", message)]


def _use_refusals(table: PublishedTable, uses: Mapping[str, frozenset[str]], party: PartyId) -> list[Refusal]:
    refusals: list[Refusal] = []
    for column, verbs in sorted(uses.items()):
        path = f"{table.name}.{column}"
        allowed = table.uses.get(column)
        if allowed is None:
            message = f"party {party} knows no column `{path}` that you may ask about; leave it out or ask that owner"
            refusals.append(Refusal(party, "column", path, message))
            continue
        listed = ", ".join(verb for verb in VERBS if verb in allowed) or "nothing"
        refusals.extend(
            Refusal(
                party,
                "column-use",
                f"{path}: {verb}",
                f"party {party} does not allow `{path}` to be used for `{verb}` (allowed: {listed}); "
                "change the request or ask that owner",
            )
            for verb in sorted(verbs - allowed)
        )
    return refusals


# ------------------------------------------------------------------------------------------------ parsing


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


def _tables(document: Section, default_purposes: tuple[str, ...]) -> dict[str, PublishedTable]:
    tables: dict[str, PublishedTable] = {}
    for section in document.sections("table", limits.POLICY_TABLES_MAX):
        misplaced = sorted({"security", "disclosure"} & section.value.keys())
        if misplaced:
            raise section.error(f"move `{misplaced[0]}` to the top of the file, before the first [[...]]", misplaced[0])
        section.only(("name", "purposes", "uses"), "[[table]]")
        name = section.text("name")
        if name in tables:
            raise section.error(f"the table `{name}` is published twice; write its uses in one place", "name")
        own = _purposes(section) if section.has("purposes") else default_purposes
        written = section.section("uses", '{ age = ["filter", "aggregate"] }')
        if len(written.value) > limits.POLICY_COLUMNS_MAX:
            raise section.error(f"more than {limits.POLICY_COLUMNS_MAX} columns", "uses")
        uses = {column: _verbs(written, column) for column in written.value}
        lines = {column: written.lines.get((*written.path, column), written.line) for column in uses}
        tables[name] = PublishedTable(name, uses, own, section.line, lines)
    return tables


def _verbs(section: Section, column: str) -> frozenset[Verb]:
    if not 0 < len(column) <= limits.NAME_CHARACTERS_MAX:
        raise section.error(f"a column's name has 1 to {limits.NAME_CHARACTERS_MAX} characters", column)
    verbs: list[Verb] = []
    for index, verb in section.texts(column):
        if verb not in VERBS:
            raise section.error(f"`{verb}` is no column use; known: {', '.join(VERBS)}", column, index)
        verbs.append(verb)
    return frozenset(verbs)


def _analysts(document: Section, tables: Mapping[str, PublishedTable]) -> tuple[AcceptedAnalyst, ...]:
    analysts: dict[VerifyKey, AcceptedAnalyst] = {}
    for section in document.sections("analyst", limits.POLICY_ANALYSTS_MAX):
        section.only(("name", "key", "tables"), "[[analyst]]")
        name = section.text("name")
        try:
            key = VerifyKey.from_text(section.text("key"))
        except IdentityError as error:
            raise section.error(f"the key of analyst `{name}`: {error}", "key") from error
        if key in analysts:
            raise section.error(f"this key is already that of analyst `{analysts[key].name}`", "key")
        visible = [table for _, table in section.texts("tables")] if section.has("tables") else None
        for index, table in enumerate(visible or ()):
            if table not in tables:
                raise section.error(f"the table `{table}` has no [[table]] in this policy", "tables", index)
        analysts[key] = AcceptedAnalyst(name, key, None if visible is None else frozenset(visible))
    return tuple(analysts.values())


def _disclosure(section: Section) -> tuple[DisclosureRules, str, frozenset[str]]:
    section.only(("profile", *RULE_NAMES), "[disclosure]")
    profile = section.choice("profile", PROFILES, DEFAULT_PROFILE)
    overrides: dict[str, int | float | bool] = {}
    for name in RULE_NAMES:
        if not section.has(name):
            continue
        if name in _WHOLE_RULES:
            overrides[name] = section.whole(name, *_WHOLE_RULES[name])
        elif name == "zeros_are_disclosive":
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
