"""Agreement: every party answers every proposal to every party, and all draw the same conclusion (pure).

Theory of operation.  A proposal is the analyst's signed request and nothing else that binds: each party re-plans it
from its text, asks its own policy, and sends the *same* `Answer` to all parties, itself included.  When a party holds
everybody's answer it calls `conclude`, which either raises the typed reason why nothing runs, or returns the
`Agreement`.

*Nobody chooses the session id.*  It is the hash of all answers (each with a fresh 32-byte nonce of its author), the
request, the roster and the physical plan.  A party that sends different answers to two others thereby makes two
different sessions, whose keys do not match (`key_confirmation`), and nothing runs.

*Keys of the PRSS.*  Each pair of compute parties exchanges fresh 32-byte secrets both ways inside its channel, beside
the answers. `pair_key` mixes both with the session id (hence with every answer and the plan), the channel's handshake
hash and the roles. Fresh on both sides: a restored or restarted party can never meet an old key again, whatever the
others replay.

*Confirmation.*  A semi-honest run over mismatched keys would give a wrong answer, not an error, so both ends of every
pair compare a tag of their key before the first share moves.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, cast, get_args

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mpcd import canonical
from mpcd.errors import (
    AwaitingApproval,
    CallerFault,
    ClockSkew,
    MpcdError,
    PeerMalformed,
    PlanMismatch,
    Refusal,
    Refused,
    SessionFault,
    closed_codes,
)
from mpcd.governance.asked import Wait
from mpcd.ids import PartyId, RequestDigest, RosterHash, SessionId
from mpcd.limits import ANSWER_TERMS_BYTES_MAX, CLOCK_SKEW_SECONDS_MAX, REFUSALS_PER_ANSWER_MAX

NONCE_BYTES: Final = 32
ATTEMPT_BYTES: Final = 16
TAG_BYTES: Final = 32
KEY_BYTES: Final = 32

Verdict = Literal["agree", "await", "refuse", "fail"]
"""`await`: nothing stands against it but what people may still allow."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One party's answer to one proposal; the same bytes go to every party."""

    party: PartyId
    attempt: bytes
    """16 bytes that the proposer drew: which try this answers."""
    request_digest: RequestDigest
    roster_hash: RosterHash
    proposer: PartyId
    """Whose proposal this answers, as the author sees it: nobody can pass another's proposal off as its own."""
    dry_run: bool
    """Whether the author was asked to run, or only to say what it would say."""
    verdict: Verdict
    nonce: bytes
    """32 fresh bytes of the author."""
    clock_seconds: float
    """The author's UTC clock, seconds since 1970."""
    refusals: tuple[Refusal, ...] = ()
    waits: tuple[Wait, ...] = ()
    """What is missing and may still come; beside refusals it is told as well."""
    failure_code: str = ""
    failure_message: str = ""
    plan_sections: Mapping[str, bytes] | None = None
    """Digest of each section of the logical plan, so that a difference can be named."""
    rules: Mapping[str, object] | None = None
    """The author's disclosure rules (canonical value)."""
    data_versions: Mapping[str, str] | None = None
    """Data version by table; empty for a party that gives no data."""
    terms: Mapping[str, canonical.Value] = field(default_factory=dict)
    """The author's price, history and the like; see `session.terms`."""

    def to_value(self) -> dict[str, object]:
        """The canonical map that is sent and hashed."""
        return {
            "party": int(self.party),
            "attempt": self.attempt,
            "request_digest": self.request_digest,
            "roster_hash": self.roster_hash,
            "proposer": int(self.proposer),
            "dry_run": self.dry_run,
            "verdict": self.verdict,
            "nonce": self.nonce,
            "clock_seconds": float(self.clock_seconds),
            "refusals": [[int(r.party), r.rule, r.subject, r.message] for r in self.refusals],
            "waits": [[int(w.party), w.rule, w.subject, w.message, w.until] for w in self.waits],
            "failure": [self.failure_code, self.failure_message],
            "plan_sections": dict(self.plan_sections or {}),
            "rules": dict(self.rules or {}),
            "data_versions": dict(self.data_versions or {}),
            "terms": dict(self.terms),
        }

    @classmethod
    def from_value(cls, party: PartyId, value: object) -> Answer:
        """Parse what `party` sent over its authenticated channel.

        Raises:
            PeerMalformed: any field missing, of the wrong type or size, or written in another party's name.
        """
        try:
            return _parse_answer(party, value)
        except (KeyError, TypeError, ValueError) as error:
            raise PeerMalformed(party, f"party {party} sent a malformed answer to a proposal") from error


def _require(*, holds: bool) -> None:
    if not holds:
        raise ValueError


def _sized(value: object, size: int) -> bytes:
    _require(holds=isinstance(value, bytes) and len(value) == size)
    return cast("bytes", value)


def _text(value: object, length_max: int = 2000) -> str:
    _require(holds=isinstance(value, str) and len(value) <= length_max)
    return cast("str", value)


def _strings(value: object) -> dict[str, str]:
    _require(holds=isinstance(value, dict))
    return {_text(k): _text(v) for k, v in cast("dict[object, object]", value).items()}


def _parse_refusals(party: PartyId, value: object) -> tuple[Refusal, ...]:
    _require(holds=isinstance(value, list) and len(value) <= REFUSALS_PER_ANSWER_MAX)
    refusals = []
    for row in cast("list[list[object]]", value):
        author, rule, subject, message = row
        _require(holds=author == int(party))
        refusals.append(Refusal(party, _text(rule), _text(subject), _text(message)))
    return tuple(refusals)


def _parse_waits(party: PartyId, value: object) -> tuple[Wait, ...]:
    _require(holds=isinstance(value, list) and len(value) <= REFUSALS_PER_ANSWER_MAX)
    waits = []
    for row in cast("list[list[object]]", value):
        author, rule, subject, message, until = row
        _require(holds=author == int(party))
        _require(holds=until is None or (type(until) is int and until >= 0))
        waits.append(Wait(party, _text(rule), _text(subject), _text(message), cast("int | None", until)))
    return tuple(waits)


def _parse_answer(party: PartyId, value: object) -> Answer:
    _require(holds=isinstance(value, dict))
    fields = cast("dict[str, object]", value)
    _require(holds=fields["party"] == int(party))
    verdict = fields["verdict"]
    _require(holds=verdict in get_args(Verdict))
    clock = fields["clock_seconds"]
    _require(holds=isinstance(clock, float) and math.isfinite(clock))
    code, message = cast("list[object]", fields["failure"])
    sections = fields["plan_sections"]
    _require(holds=isinstance(sections, dict) and len(sections) <= 64)
    rules = fields["rules"]
    _require(holds=isinstance(rules, dict))
    terms = fields["terms"]
    _require(holds=isinstance(terms, dict) and len(canonical.encode(terms)) <= ANSWER_TERMS_BYTES_MAX)
    refusals = _parse_refusals(party, fields["refusals"])
    waits = _parse_waits(party, fields["waits"])
    _require(holds=verdict == "refuse" or (verdict == "await") == bool(waits))
    _require(holds=isinstance(fields["proposer"], int) and isinstance(fields["dry_run"], bool))
    _require(holds=(verdict == "refuse") == bool(refusals))
    _require(holds=(verdict == "fail") == (code != ""))
    return Answer(
        party=party,
        attempt=_sized(fields["attempt"], ATTEMPT_BYTES),
        request_digest=RequestDigest(_sized(fields["request_digest"], canonical.DIGEST_BYTES)),
        roster_hash=RosterHash(_sized(fields["roster_hash"], canonical.DIGEST_BYTES)),
        proposer=PartyId(cast("int", fields["proposer"])),
        dry_run=cast("bool", fields["dry_run"]),
        verdict=cast("Verdict", verdict),
        nonce=_sized(fields["nonce"], NONCE_BYTES),
        clock_seconds=cast("float", clock),
        refusals=refusals,
        waits=waits,
        failure_code=_text(code),
        failure_message=_text(message),
        plan_sections={
            _text(k): _sized(v, canonical.DIGEST_BYTES) for k, v in cast("dict[object, object]", sections).items()
        },
        rules=cast("dict[str, object]", rules),
        data_versions=_strings(fields["data_versions"]),
        terms=cast("dict[str, canonical.Value]", terms),
    )


def _raise_failure(answer: Answer, *, named: bool) -> None:
    """Raise the failure that a party reports, as the class of its code; an unknown code is a plain session fault."""
    kind = closed_codes().get(answer.failure_code)
    message = f"party {answer.party}: {answer.failure_message}" if named else answer.failure_message
    if kind is not None and issubclass(kind, (CallerFault, SessionFault)):
        raise kind(message)
    raise SessionFault(f"{message} ({answer.failure_code})")


def check_alike(answers: Sequence[Answer]) -> None:
    """Raise unless all agree on roster, plan and time; the message says what differs and between whom."""
    first = answers[0]
    for other in answers[1:]:
        pair = f"parties {first.party} and {other.party}"
        if other.roster_hash != first.roster_hash:
            raise PlanMismatch(f"{pair} hold different rosters; bring both to the same signed version")
        mine, theirs = dict(first.plan_sections or {}), dict(other.plan_sections or {})
        if mine != theirs:
            differing = sorted(k for k in mine.keys() | theirs.keys() if mine.get(k) != theirs.get(k))
            raise PlanMismatch(f"{pair} planned the request differently in: {', '.join(differing)}; compare versions")
    clocks = sorted((answer.clock_seconds, answer.party) for answer in answers)
    skew = clocks[-1][0] - clocks[0][0]
    if skew > CLOCK_SKEW_SECONDS_MAX:
        raise ClockSkew(
            f"the clocks of parties {clocks[0][1]} and {clocks[-1][1]} differ by {skew:.0f} s "
            f"(at most {CLOCK_SKEW_SECONDS_MAX:.0f} s); synchronise them"
        )


def check_bound(
    answers: Sequence[Answer], attempt: bytes, digest: RequestDigest, proposer: PartyId, *, dry_run: bool
) -> None:
    """Raise unless every answer is about this attempt, proposed by this party in this way, and this very request."""
    for answer in answers:
        bound = (answer.attempt, answer.request_digest, answer.proposer, answer.dry_run)
        if bound != (attempt, digest, proposer, dry_run):
            raise PeerMalformed(answer.party, f"party {answer.party} answered another request than the one proposed")


def check_verdicts(answers: Sequence[Answer]) -> None:
    """Raise every refusal of every party together, or else the first failure; return if all agree."""
    refusals = tuple(reason for answer in answers for reason in answer.refusals)
    if refusals:
        raise Refused(refusals)
    failures = [answer for answer in answers if answer.verdict == "fail"]
    # What every party says is the request's own fault; a prefix would point at one of them.
    alike = len({(answer.failure_code, answer.failure_message) for answer in failures}) == 1
    for answer in failures:
        _raise_failure(answer, named=not (alike and len(failures) == len(answers)))


def check_waits(answers: Sequence[Answer]) -> None:
    """Raise what all answers together still wait for; return if they wait for nothing.

    Asked last, after plans were compared and a program was made: people are not asked to approve what cannot run.
    """
    waits = [wait for answer in answers for wait in answer.waits]
    if waits:
        raise AwaitingApproval("; ".join(wait.message for wait in waits))


def session_id(answers: Iterable[Answer], plan_hash: bytes) -> SessionId:
    """The id that all parties derive; 32 bytes."""
    ordered = sorted(answers, key=lambda answer: answer.party)
    return SessionId(
        canonical.digest("session", {"plan": plan_hash, "answers": [answer.to_value() for answer in ordered]})
    )


def pair_key(session: SessionId, channel_hash: bytes, lower: tuple[int, bytes], upper: tuple[int, bytes]) -> bytes:
    """PRSS key of one pair of compute parties, 32 bytes.

    Args:
        session: the derived session id.
        channel_hash: handshake hash of the channel between the two.
        lower: (compute index, that party's 32-byte secret for the other) of the lower index.
        upper: the same of the higher index.
    """
    assert lower[0] < upper[0]
    info = canonical.encode({"label": "mpcd prss", "roles": [lower[0], upper[0]]})
    kdf = HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=session, info=info)
    return kdf.derive(lower[1] + upper[1] + channel_hash)


def key_confirmation(key: bytes, session: SessionId, sender: int) -> bytes:
    """Tag that compute party `sender` shows the other holder of `key` before the first share moves, 32 bytes."""
    return hmac.new(key, b"mpcd confirm" + session + bytes([sender]), hashlib.sha256).digest()


def sections(plan_value: Mapping[str, object]) -> dict[str, bytes]:
    """Digest of each top-level section of a plan's canonical map, so that a difference can be named."""
    return {name: canonical.digest("plan-section", value) for name, value in plan_value.items()}


def failure_of(error: MpcdError) -> tuple[str, str]:
    """Code and sentence of an error for an answer to peers."""
    return error.code, str(error)[:2000]
