"""Approvals by people: what an owner's approvers sign, and what their rulings amount to (pure).

Theory of operation.  An owner's policy may say of a table that people must approve each request that touches it
(`Requirement`), and names its approvers by their own keys.  A request that lacks approvals waits.  An approver gets a
`Form` (the analyst's signed request, word for word, the owner's data versions, and how much may be granted), decides,
and signs a `Ruling`; neither needs a network.  The owner's daemon keeps rulings and asks `judge` at every decision.

*What a ruling binds.*  Consortium, party, the exact request digest and the owner's own data versions: after a new data
version is published, or for a request that differs in one letter, it counts for nothing.  Where the policy lets one
approval serve several runs, a ruling may bind the question's digest instead (the same text, analyst, purpose, noise
and roster, asked anew), with a number of executions.  Each execution is a debit from the ruling's own account, booked
in the transaction that makes a session `agreed`: two sessions at once cannot share the last one.

*Who counts.*  Approvers that the policy names now; each person once, by key and by name; never the analyst who asks,
again by key and by name.  Of one approver's rulings on one subject the latest counts; of two of the same moment, the
one that allows less.  So a ruling that is handed in again brings nothing back.

*Verdicts.*  `approve` counts towards the owner's number.  `deny` ends the request, whatever others said.  `withdraw`
takes an earlier approval back: what has not been recorded ends.

*Times.*  A request can be approved until its approvals close: the analyst's waiting time or the owner's own deadline,
whichever is first.  Once approved it must start before the request and every counted approval expire.  Both are judged
by the session's agreed time.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Self, cast, get_args

from mpcd import canonical, limits
from mpcd.errors import ApprovalInvalid, Refusal, RequestInvalid
from mpcd.governance.asked import Asked, Decision, Wait
from mpcd.governance.entries import Debit
from mpcd.governance.people import Approver
from mpcd.governance.published import Requirement
from mpcd.identity import IdentityError, Request, SignedRequest, SigningKey, VerifyKey
from mpcd.ids import PartyId

VERSION: Final = 1
DOMAIN: Final = "approval"
WITHDRAWAL: Final = "request-withdrawal"
"""Domain of the signature over a request's digest with which its analyst takes it back."""
RULE: Final = "approval"
DENIED: Final = "approval-denied"
Verdict = Literal["approve", "deny", "withdraw"]
Binding = Literal["request", "question"]
VERDICTS: Final[tuple[Verdict, ...]] = get_args(Verdict)
BINDINGS: Final[tuple[Binding, ...]] = get_args(Binding)
_CAUTION: Final = {verdict: place for place, verdict in enumerate(("approve", "withdraw", "deny"))}
_TIME_MAX: Final = 2**50
_RUN_MILLISECONDS_MAX: Final = (limits.APPROVAL_WAIT_SECONDS_MAX + 86_400) * 1000
"""How far ahead an approval may let a run start; a day for clocks and a request's own lifetime."""
_PARTY_MAX: Final = 2**31
_VERSION_CHARACTERS: Final = 64


def closes_at(requirement: Requirement, first_at: int, issued_at: int, wait_seconds: int) -> int:
    """When a request can no longer be approved, milliseconds since 1970.

    Args:
        requirement: of the owner.
        first_at: when the request first came, milliseconds.
        issued_at: when the analyst signed it, seconds.
        wait_seconds: how long it may wait.
    """
    return min(first_at + requirement.deadline_seconds * 1000, (issued_at + wait_seconds) * 1000)


# ------------------------------------------------------------------------------------------------ what is signed


@dataclass(frozen=True, slots=True)
class Ruling:
    """What one approver decided about one request or question."""

    verdict: Verdict
    binds: Binding
    subject: bytes
    """The digest of the request or of the question."""
    party: PartyId
    """In whose name."""
    consortium: str
    data_versions: Mapping[str, str]
    """By table, of this owner, as the approver was shown them."""
    executions: int
    """How often it may serve; 0 unless it approves."""
    run_before: int
    """Milliseconds since 1970; no run may start under it later."""
    reason: str
    approver: VerifyKey
    decided_at: int
    """Milliseconds since 1970, the approver's clock."""

    def __post_init__(self) -> None:
        _require(self.verdict in VERDICTS, "a ruling approves, denies or withdraws")
        _require(self.binds in BINDINGS, "a ruling is about a request or about a question")
        _require(len(self.subject) == canonical.DIGEST_BYTES, "its subject is no digest")
        _require(0 <= self.party < _PARTY_MAX, "its party is no party id")
        _require(_plain(self.consortium, limits.CONSORTIUM_CHARACTERS_MAX), "its consortium is no name")
        _require(len(self.data_versions) <= limits.PLAN_SOURCES_MAX, "it names too many tables")
        for table, version in self.data_versions.items():
            _require(_plain(table, limits.NAME_CHARACTERS_MAX), "it names a table without a name")
            _require(_plain(version, _VERSION_CHARACTERS), "it names a data version that is none")
        if self.verdict == "approve":
            _require(1 <= self.executions <= limits.APPROVAL_EXECUTIONS_MAX, "it allows no or too many executions")
            _require(self.binds == "question" or self.executions == 1, "a request is executed once")
        else:
            _require(self.executions == 0, "what does not approve allows no execution")
        _require(self.verdict in {"approve", "withdraw"} or self.binds == "request", _DENY_REQUEST)
        _require(0 <= self.run_before < _TIME_MAX and 0 <= self.decided_at < _TIME_MAX, "its times are none")
        _require(
            len(self.reason) <= limits.APPROVAL_REASON_CHARACTERS_MAX and self.reason.isprintable(),
            f"a reason is one line of at most {limits.APPROVAL_REASON_CHARACTERS_MAX} characters",
        )
        _require(bool(self.reason) or self.verdict == "approve", "say why: the analyst is told the reason")

    def to_bytes(self) -> bytes:
        """The canonical bytes that are signed and hashed."""
        return canonical.encode(
            {
                "approver": self.approver.raw,
                "binds": self.binds,
                "consortium": self.consortium,
                "data_versions": dict(self.data_versions),
                "decided_at": self.decided_at,
                "executions": self.executions,
                "party": int(self.party),
                "reason": self.reason,
                "run_before": self.run_before,
                "subject": self.subject,
                "verdict": self.verdict,
                "version": VERSION,
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The inverse of `to_bytes`; raises `ApprovalInvalid` for anything else."""
        fields = _fields(data, _RULING_FIELDS, "a ruling")
        _require(fields["version"] == VERSION, "it is of another version; bring mpcd to one version")
        try:
            approver = VerifyKey(cast("bytes", fields["approver"]))
        except IdentityError as error:
            raise ApprovalInvalid("this is no ruling: its approver's key is none") from error
        return cls(
            verdict=cast("Verdict", fields["verdict"]),
            binds=cast("Binding", fields["binds"]),
            subject=cast("bytes", fields["subject"]),
            party=PartyId(cast("int", fields["party"])),
            consortium=cast("str", fields["consortium"]),
            data_versions=_versions(fields["data_versions"]),
            executions=cast("int", fields["executions"]),
            run_before=cast("int", fields["run_before"]),
            reason=cast("str", fields["reason"]),
            approver=approver,
            decided_at=cast("int", fields["decided_at"]),
        )

    def sign(self, key: SigningKey) -> SignedRuling:
        """The ruling with its approver's signature; the key must be the one that it names."""
        if key.public != self.approver:
            raise ApprovalInvalid("the ruling names another approver than the key that signs it")
        return SignedRuling(self, key.sign(DOMAIN, self.to_bytes()))


_DENY_REQUEST: Final = "a request is denied, not a question: who asks again is decided again"
_RULING_FIELDS: Final[Mapping[str, type]] = {
    "approver": bytes,
    "binds": str,
    "consortium": str,
    "data_versions": dict,
    "decided_at": int,
    "executions": int,
    "party": int,
    "reason": str,
    "run_before": int,
    "subject": bytes,
    "verdict": str,
    "version": int,
}


@dataclass(frozen=True, slots=True)
class SignedRuling:
    """A ruling and its signature, which nothing has checked until `verify`."""

    ruling: Ruling
    signature: bytes

    def to_bytes(self) -> bytes:
        """As it travels and is kept."""
        return canonical.encode({"ruling": self.ruling.to_bytes(), "signature": self.signature})

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The inverse of `to_bytes`; raises `ApprovalInvalid` for anything else."""
        fields = _fields(data, {"ruling": bytes, "signature": bytes}, "a signed ruling")
        return cls(Ruling.from_bytes(cast("bytes", fields["ruling"])), cast("bytes", fields["signature"]))

    def digest(self) -> bytes:
        """The ruling's name, 32 bytes; the signature is no part of it."""
        return canonical.digest_bytes(DOMAIN, self.ruling.to_bytes())

    def verify(self) -> Ruling:
        """The ruling, now to be taken for its approver's own words; raises `ApprovalInvalid`."""
        try:
            self.ruling.approver.verify(DOMAIN, self.ruling.to_bytes(), self.signature)
        except IdentityError as error:
            raise ApprovalInvalid("the signature does not fit the approver's key; sign it again") from error
        return self.ruling


@dataclass(frozen=True, slots=True)
class Form:
    """What an approver is asked to decide; not signed, so everything that counts is checked again or shown."""

    request: SignedRequest
    party: PartyId
    party_name: str
    data_versions: Mapping[str, str]
    executions_max: int
    closes_at: int
    """Milliseconds since 1970: rulings that come later count for nothing."""
    told: tuple[str, ...] = ()
    """What the daemon says of the plan: what would be opened, under which rules."""

    def to_bytes(self) -> bytes:
        """As it is exported."""
        return canonical.encode(
            {
                "closes_at": self.closes_at,
                "data_versions": dict(self.data_versions),
                "executions_max": self.executions_max,
                "party": int(self.party),
                "party_name": self.party_name,
                "request": self.request.to_bytes(),
                "told": list(self.told),
                "version": VERSION,
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The inverse of `to_bytes`; the analyst's signature is checked too.

        Raises:
            ApprovalInvalid: not a form, or the request in it was changed after the analyst signed it.
        """
        fields = _fields(data, _FORM_FIELDS, "a form for approval")
        _require(fields["version"] == VERSION, "it is of another version; bring mpcd to one version")
        try:
            request = SignedRequest.from_bytes(cast("bytes", fields["request"]))
            request.request.analyst.verify("request", request.request.to_bytes(), request.signature)
        except (RequestInvalid, IdentityError) as error:
            raise ApprovalInvalid(
                "the request in this form is not what an analyst signed; do not approve it, export it again"
            ) from error
        told = cast("list[object]", fields["told"])
        _require(len(told) <= limits.API_REQUEST_ITEMS_MAX and all(isinstance(line, str) for line in told), "its notes")
        executions = cast("int", fields["executions_max"])
        _require(1 <= executions <= limits.APPROVAL_EXECUTIONS_MAX, "it allows no or too many executions")
        closes = cast("int", fields["closes_at"])
        _require(0 <= closes < _TIME_MAX, "its times are none")
        return cls(
            request=request,
            party=PartyId(cast("int", fields["party"])),
            party_name=cast("str", fields["party_name"]),
            data_versions=_versions(fields["data_versions"]),
            executions_max=executions,
            closes_at=closes,
            told=tuple(cast("list[str]", told)),
        )

    def rule(
        self,
        verdict: Verdict,
        approver: VerifyKey,
        *,
        now: int,
        reason: str = "",
        executions: int = 1,
        run_before: int | None = None,
        binds: Binding | None = None,
    ) -> Ruling:
        """The ruling to sign.

        Args:
            verdict: what the approver decided.
            approver: the approver's public key.
            now: milliseconds since 1970.
            reason: for the analyst and the record.
            executions: more than one binds the question instead of this very request.
            run_before: milliseconds since 1970; without it, when the request expires (a question: when approvals of it
                close at the latest, counted from now).
            binds: what is ruled on; without it the request, or the question where it may be executed more than once.

        Raises:
            ApprovalInvalid: it asks for more than the form allows.
        """
        request = self.request.request
        if verdict == "approve":
            _require(
                executions <= self.executions_max,
                f"this owner's policy allows {self.executions_max} executions at most",
            )
        if binds is None:
            binds = "question" if verdict == "approve" and executions > 1 else "request"
        latest = request.expires_at * 1000
        if binds == "question":
            latest = max(latest, now + limits.APPROVAL_WAIT_SECONDS_MAX * 1000)
        return Ruling(
            verdict=verdict,
            binds=binds,
            subject=request.question_digest() if binds == "question" else request.digest(),
            party=self.party,
            consortium=request.consortium,
            data_versions=self.data_versions,
            executions=executions if verdict == "approve" else 0,
            run_before=latest if run_before is None else min(run_before, latest),
            reason=reason,
            approver=approver,
            decided_at=now,
        )


_FORM_FIELDS: Final[Mapping[str, type]] = {
    "closes_at": int,
    "data_versions": dict,
    "executions_max": int,
    "party": int,
    "party_name": str,
    "request": bytes,
    "told": list,
    "version": int,
}


# ------------------------------------------------------------------------------------------------ receiving a ruling


def admit(
    signed: SignedRuling,
    request: Request,
    *,
    party: PartyId,
    approvers: Sequence[Approver],
    analyst_name: str,
    requirement: Requirement,
    data_versions: Mapping[str, str],
    closes_at: int,
    now: int,
    held: Sequence[SignedRuling] = (),
) -> Approver:
    """Check a ruling that was handed in about a request that waits.

    Args:
        signed: as it came.
        request: that waits here; its digest and its question's are what a ruling can be about.
        party: this owner.
        approvers: of the policy in force.
        analyst_name: as this owner accepted the analyst; empty if not.
        requirement: of the policy in force, for all tables of the request.
        data_versions: published here now, of the request's tables.
        closes_at: milliseconds since 1970.
        now: milliseconds since 1970.
        held: rulings that this owner has already; a ruling older than its approver's last word would change nothing.

    Returns:
        The approver as the policy names them.

    Raises:
        ApprovalInvalid: it does not count; the message says what to do.
    """
    ruling = signed.verify()
    _require_ruling(ruling.party == party and ruling.consortium == request.consortium, "it is for another party")
    approver = next((one for one in approvers if one.key == ruling.approver), None)
    if approver is None:
        raise ApprovalInvalid(
            "this owner's policy names no approver with that key; add [[approver]] or use another key"
        )
    if ruling.approver == request.analyst or approver.name == analyst_name:
        raise ApprovalInvalid("whoever asks does not approve: another approver must decide about this request")
    subject = request.digest() if ruling.binds == "request" else request.question_digest()
    _require_ruling(ruling.subject == subject, "it is about another request")
    skew = int(limits.CLOCK_SKEW_SECONDS_MAX * 1000)
    if ruling.decided_at > now + skew:
        raise ApprovalInvalid("the ruling was signed in the future; set the clock of the host that signed it")
    mine = [one.ruling for one in held if (one.ruling.approver, one.ruling.subject) == (ruling.approver, subject)]
    if any(_weight(one) > _weight(ruling) for one in mine):
        raise ApprovalInvalid(
            "this approver decided again later, so this ruling would change nothing; sign a new one "
            "(and compare the clocks of the hosts that signed them)"
        )
    if ruling.verdict == "approve":
        _admit_approval(ruling, requirement, data_versions, closes_at, now)
    return approver


def _admit_approval(
    ruling: Ruling, requirement: Requirement, data_versions: Mapping[str, str], closes_at: int, now: int
) -> None:
    if not data_versions:
        raise ApprovalInvalid("no data is published here that could be approved for use; publish it first")
    if now >= closes_at:
        raise ApprovalInvalid("the time in which this request could be approved is over; the analyst must ask again")
    if now >= ruling.run_before:
        raise ApprovalInvalid("the approval has expired; sign a new one")
    if ruling.run_before > now + _RUN_MILLISECONDS_MAX:
        raise ApprovalInvalid("the approval would hold for too long; sign one that ends within the longest wait")
    if dict(ruling.data_versions) != dict(data_versions):
        raise ApprovalInvalid(
            "the approval is for another data version than the one that is published now; export the form again"
        )
    if ruling.executions > requirement.executions_max:
        raise ApprovalInvalid(
            f"the policy lets one approval serve {requirement.executions_max} times at most, this one says "
            f"{ruling.executions}; sign it again"
        )


def _require_ruling(holds: bool, what: str) -> None:
    if not holds:
        raise ApprovalInvalid(f"this ruling does not fit: {what}; export the form again")


# ------------------------------------------------------------------------------------------------ deciding


@dataclass(frozen=True, slots=True)
class Held:
    """A ruling that this owner keeps, and how often it has served."""

    signed: SignedRuling
    spent: int = 0


@dataclass(frozen=True, slots=True)
class Count:
    """Where a request stands with this owner's approvers."""

    needed: int
    counted: tuple[Held, ...] = ()
    """One ruling for each person who approves it now."""
    denied: Ruling | None = None
    stale: bool = False
    """Somebody approved it for an older data version."""
    last: tuple[Held, ...] = ()
    """The last word of everybody who may approve it, counted or not."""


def account(signed: SignedRuling) -> str:
    """The account from which an execution under this ruling is debited."""
    return f"approval:{signed.digest().hex()}"


def count(
    asked: Asked, requirement: Requirement, approvers: Sequence[Approver], analyst_name: str, held: Sequence[Held]
) -> Count:
    """Which of the rulings that this owner keeps count for a request now."""
    persons = {one.key.raw: one.name for one in approvers if one.key != asked.analyst and one.name != analyst_name}
    latest = _latest(asked, [one for one in held if one.signed.ruling.approver.raw in persons])
    denied = next((one.signed.ruling for one in latest if one.signed.ruling.verdict == "deny"), None)
    approving = [one for one in latest if one.signed.ruling.verdict == "approve"]
    stale = any(dict(one.signed.ruling.data_versions) != dict(asked.data_versions) for one in approving)
    counted: dict[str, Held] = {}
    for one in approving:
        if _serves(one, asked, requirement):
            # The approval of the very request is used before one that could serve others.
            counted.setdefault(persons[one.signed.ruling.approver.raw], one)
    return Count(requirement.approvers_min, tuple(counted.values()), denied, stale, tuple(latest))


def last_words(rulings: Iterable[SignedRuling]) -> list[SignedRuling]:
    """Each approver's last ruling on each subject; those on requests before those on questions.

    Signatures are checked again: a ruling whose does not fit is nobody's word.
    """
    found: dict[tuple[str, bytes, bytes], SignedRuling] = {}
    for signed in rulings:
        ruling = signed.ruling
        try:
            signed.verify()
        except ApprovalInvalid:
            continue
        place = (ruling.binds, ruling.subject, ruling.approver.raw)
        before = found.get(place)
        if before is None or _weight(ruling) > _weight(before.ruling):
            found[place] = signed
    return [
        found[place]
        for place in sorted(found, key=lambda place: (BINDINGS.index(cast("Binding", place[0])), *place[1:]))
    ]


def _latest(asked: Asked, held: Sequence[Held]) -> list[Held]:
    """The last words on this request and its question, as they are held."""
    subjects = {("request", asked.request_digest), ("question", asked.question_digest)}
    about = {
        one.signed.digest(): one
        for one in held
        if (one.signed.ruling.binds, one.signed.ruling.subject) in subjects and one.signed.ruling.party == asked.party
    }
    return [about[signed.digest()] for signed in last_words(one.signed for one in about.values())]


def _weight(ruling: Ruling) -> tuple[int, int, bytes]:
    return ruling.decided_at, _CAUTION[ruling.verdict], ruling.to_bytes()


def _serves(one: Held, asked: Asked, requirement: Requirement) -> bool:
    ruling = one.signed.ruling
    return (
        asked.at < ruling.run_before
        and dict(ruling.data_versions) == dict(asked.data_versions)
        and one.spent < min(ruling.executions, requirement.executions_max)
        and (ruling.binds == "request" or requirement.executions_max > 1)
    )


def judge(
    asked: Asked,
    requirement: Requirement,
    approvers: Sequence[Approver],
    analyst_name: str,
    held: Sequence[Held],
    closes_at: int,
) -> Decision:
    """This owner's decision as far as approvals go.

    Args:
        asked: the request, as this owner planned it.
        requirement: of the policy in force, for all its tables.
        approvers: of the policy in force.
        analyst_name: as this owner accepted the analyst.
        held: every ruling that this owner keeps about the request or its question.
        closes_at: when the request can no longer be approved, milliseconds since 1970.
    """
    found = count(asked, requirement, approvers, analyst_name, held)
    party = asked.party
    if found.denied is not None:
        message = f"party {party} denies the request: {found.denied.reason}"
        return Decision((Refusal(party, DENIED, "request", message),))
    if len(found.counted) >= found.needed:
        return Decision(debits=tuple(_debit(one, requirement, party) for one in found.counted[: found.needed]))
    missing = found.needed - len(found.counted)
    stands = f"{missing} of {found.needed} approval{'' if found.needed == 1 else 's'} at party {party} still missing"
    if found.stale:
        stands += " (its data changed since it was approved)"
    if asked.kind != "sql":
        message = f"party {party} lets people decide: {stands}; ask with `--wait`, and it runs once it is approved"
        return Decision(waits=(Wait(party, RULE, "request", message),))
    if asked.wait_seconds == 0:
        message = (
            f"party {party} lets people decide: {stands}; ask again with `--wait`, and it runs once it is approved"
        )
        return Decision((Refusal(party, RULE, "request", message),))
    if asked.at >= closes_at:
        message = f"party {party} did not approve the request in time: {stands}; ask again, or ask that owner"
        return Decision((Refusal(party, RULE, "request", message),))
    message = f"{stands}; they can be given until {utc(closes_at)}"
    return Decision(waits=(Wait(party, RULE, "request", message, closes_at),))


def _debit(one: Held, requirement: Requirement, party: PartyId) -> Debit:
    limit = min(one.signed.ruling.executions, requirement.executions_max)
    refusal = Refusal(party, RULE, "request", f"party {party}: the approval was used as often as it allows; ask again")
    return Debit(account(one.signed), 1, limit, refusal)


def utc(milliseconds: int) -> str:
    """A time for people, to the minute."""
    return dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")


# ------------------------------------------------------------------------------------------------ reading


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise ApprovalInvalid(f"this cannot be used: {what}")


def _plain(text: str, characters_max: int) -> bool:
    return 0 < len(text) <= characters_max and text.isprintable()


def _fields(data: bytes, expected: Mapping[str, type], what: str) -> dict[str, canonical.Value]:
    _require(len(data) <= limits.APPROVAL_FORM_BYTES_MAX, f"{what} is shorter")
    try:
        value = canonical.decode(data)
    except canonical.CanonicalError as error:
        raise ApprovalInvalid(f"this is not {what}; export or sign it again") from error
    if not isinstance(value, dict) or value.keys() != expected.keys():
        raise ApprovalInvalid(f"this is not {what}; export or sign it again")
    for name, kind in expected.items():
        _require(type(value[name]) is kind, f"the field `{name}` of {what} has the wrong type")
    return value


def _versions(value: object) -> dict[str, str]:
    fields = cast("dict[str, object]", value)
    _require(all(isinstance(version, str) for version in fields.values()), "its data versions are none")
    return cast("dict[str, str]", fields)
