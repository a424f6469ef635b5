"""What the ledger says: one constructor for each kind of entry, and `noted` for the decisions of domains (pure).

An entry's `kind` stands in the hash-chained row; its content is committed to with a salt and kept beside the chain,
where it can be erased later without breaking it.  Contents hold names, digests and decisions: never a value from the
data, and never a share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from mpcd import limits
from mpcd.canonical import Value
from mpcd.errors import Refusal
from mpcd.governance.disclosure import DisclosureRules
from mpcd.ids import DataVersion, PartyId, PlanHash, RequestDigest

NotedKind = Literal[
    "asked",  # a request was received that decides nothing yet: it waits, or asks only what would be said
    "approved",
    "denied",
    "offered",  # an offer of licences was signed, or withdrawn
    "licensed",
    "revoked",
    "access",  # an analyst asked for access, or it was given, refused or ended
    "key_changed",
    "receipt_corrected",
    "data_checked",
    "data_retired",
    "opted_out",
    "overlap_checked",
    "vouched",  # a peer named an earlier question that we had not answered, and showed the request that it came from
    "archived",
    "heads",  # signed heads of ledgers were exchanged with peers
]
"""Kinds whose content has the form of `noted`; a domain adds its own here."""
NOTED_KINDS: Final[tuple[NotedKind, ...]] = get_args(NotedKind)
EntryKind = Literal[
    NotedKind,
    "started",
    "policy",
    "roster",
    "published",
    "refused",
    "failed",
    "agreed",
    "recorded",
    "released",
    "aborted",
    "withheld",
    "erased",
]
KEPT_KINDS: Final = frozenset({"erased", "archived"})
"""Kinds whose content the ledger's own check needs: it is never erased."""
ENTRY_KINDS: Final[tuple[EntryKind, ...]] = get_args(EntryKind)


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One thing to be put on the record."""

    kind: EntryKind
    content: dict[str, Value]


@dataclass(frozen=True, slots=True)
class Debit:
    """What a session takes from an account of this owner, in whole units (queries, millionths of a privacy loss)."""

    account: str
    amount: int
    limit: int | None
    """What the account may reach in all; None for an account that only counts."""
    refusal: Refusal | None = None
    """What to answer when the limit would be passed; needed where there is a limit."""
    since: int | None = None
    """The limit counts what sessions took that were agreed at or after this (milliseconds since 1970); None: ever."""

    def __post_init__(self) -> None:
        assert self.account
        assert self.amount >= 0
        assert self.limit is None or self.refusal is not None


STEP_CHARACTERS_MAX: Final = 400
REASON_CHARACTERS_MAX: Final = limits.LEDGER_REASON_CHARACTERS_MAX


def noted(
    kind: NotedKind,
    *,
    by: str,
    about: str,
    digest: bytes | None = None,
    reason: str = "",
    details: Mapping[str, Value] | None = None,
) -> LedgerEntry:
    """A decision of a domain, in the one form that exports understand.

    Args:
        kind: what was decided.
        by: who: a name of the policy or roster, `party N`, the hex of a public key, or `operator`.
        about: what it is about, in words that a steward knows: a table, a licence's number, an analyst's name.
        digest: of the document that decides (approval, licence, request), for who must prove it.
        reason: as it was given; cut at `REASON_CHARACTERS_MAX`.
        details: what else the domain needs.
    """
    assert kind in NOTED_KINDS
    return LedgerEntry(
        kind,
        {
            "by": by,
            "about": about,
            "digest": digest,
            "reason": reason[:REASON_CHARACTERS_MAX],
            "details": dict(details or {}),
        },
    )


def started(version: str, *, sessions_aborted: int, sessions_recorded: int) -> LedgerEntry:
    """The daemon started and settled what a stop had cut off."""
    return LedgerEntry(
        "started",
        {"version": version, "sessions_aborted": sessions_aborted, "sessions_recorded": sessions_recorded},
    )


def policy_loaded(policy_digest: bytes) -> LedgerEntry:
    """A policy came into force."""
    return LedgerEntry("policy", {"policy": policy_digest})


def roster_loaded(version: int, roster_hash: bytes) -> LedgerEntry:
    """A roster version came into force."""
    return LedgerEntry("roster", {"version": version, "roster_hash": roster_hash})


def published(
    table: str,
    data_version: DataVersion,
    rows: int,
    *,
    by: str = "",
    changed_persons: int | None = None,
    forced: str = "",
) -> LedgerEntry:
    """A snapshot became what requests are answered from.

    Args:
        table: which.
        data_version: the version.
        rows: in it.
        by: who published it.
        changed_persons: the fewest by which it differs from a version that answered before; None: there is none here.
        forced: why it was published although it differs by fewer persons than the floor.
    """
    content: dict[str, Value] = {"table": table, "data_version": data_version, "rows": rows, "by": by}
    content |= {"changed_persons": changed_persons, "forced": forced[:REASON_CHARACTERS_MAX]}
    return LedgerEntry("published", content)


def refused(request: bytes, request_digest: RequestDigest, reasons: Sequence[Refusal]) -> LedgerEntry:
    """Asked, and some owner said no."""
    return LedgerEntry(
        "refused",
        {
            "request": request,
            "request_digest": request_digest,
            "reasons": [[int(r.party), r.rule, r.subject, r.message] for r in reasons],
        },
    )


def failed(request: bytes, request_digest: RequestDigest, reasons: Sequence[Refusal]) -> LedgerEntry:
    """Asked, and nobody said no, but it could not be planned or a party was away; each rule is an error's code."""
    return LedgerEntry("failed", refused(request, request_digest, reasons).content)


def agreed(
    request: bytes,
    request_digest: RequestDigest,
    plan_hash: PlanHash,
    *,
    parties: Sequence[PartyId],
    policy_digest: bytes,
    rules: DisclosureRules,
    data_versions: Mapping[str, DataVersion],
    debits: Sequence[Debit] = (),
) -> LedgerEntry:
    """Asked, and every owner said yes to the same plan; what was debited here for it."""
    return LedgerEntry(
        "agreed",
        {
            "request": request,
            "request_digest": request_digest,
            "plan_hash": plan_hash,
            "parties": [int(party) for party in parties],
            "policy": policy_digest,
            "rules": rules.to_value(),
            "data_versions": dict(data_versions),
            "debits": [[debit.account, debit.amount] for debit in debits],
        },
    )


def recorded(
    request_digest: RequestDigest, plan_hash: PlanHash, *, released_digest: bytes | None, opened: Sequence[str]
) -> LedgerEntry:
    """The verified result is durable here.

    Args:
        request_digest: what was asked.
        plan_hash: what ran.
        released_digest: SHA-256 of the sealed bytes; None for a party that only gave input.
        opened: names of the values that the result opens.
    """
    return LedgerEntry(
        "recorded",
        {
            "request_digest": request_digest,
            "plan_hash": plan_hash,
            "released_digest": released_digest,
            "opened": list(opened),
        },
    )


def released(parties: Sequence[PartyId]) -> LedgerEntry:
    """Every participating owner acknowledged `recorded`, and the sealed bytes may leave."""
    return LedgerEntry("released", {"acknowledged": [int(party) for party in parties]})


def aborted(code: str, *, refunded: bool, step: str = "") -> LedgerEntry:
    """The session ended without a result.

    Args:
        code: of the error, from the closed list.
        step: what this party was doing and why it stopped; names the protocol's step if there was one.
        refunded: whether the debit was given back, which only a party that sent no opening share may do.
    """
    return LedgerEntry("aborted", {"code": code, "refunded": refunded, "step": step[:STEP_CHARACTERS_MAX]})


def withheld(code: str) -> LedgerEntry:
    """Recorded and debited, but not released."""
    return LedgerEntry("withheld", {"code": code})


def erased(sequences: Sequence[int], reason: str, *, within_retention: bool = False) -> LedgerEntry:
    """The readable content of earlier entries was erased; their commitments stay."""
    content: dict[str, Value] = {"sequences": list(sequences), "reason": reason[:REASON_CHARACTERS_MAX]}
    return LedgerEntry("erased", content | {"within_retention": within_retention})
