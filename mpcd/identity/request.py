"""The analyst's signed request: what every party plans, decides on, and is later owed for (layer 1, no I/O).

A request is authorised by its signature, not by the socket or the uid that it came through.  The signature covers
everything that decides what is computed, for whom, under which roster and until when: the text, the declared purpose,
the key that the result is sealed to, the roster's hash, the consortium, a fresh nonce and two times.  What is signed
and what is hashed are the same bytes, the canonical encoding of the request's map; `from_bytes` accepts that one
encoding and nothing else, so that no second spelling of a signed request exists.

Times are whole seconds since 1970 in UTC.  `issued_at` also fixes `as_of`, the date that a plan may use: parties that
plan on both sides of midnight still plan the same thing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, Self, cast, get_args

from mpcd import canonical, limits
from mpcd.errors import RequestInvalid
from mpcd.identity.keys import SIGNATURE_BYTES, Entropy, ResultPublicKey, SigningKey, VerifyKey
from mpcd.identity.text import IdentityError
from mpcd.ids import RequestDigest, RosterHash

REQUEST_VERSION: Final = 2
NONCE_BYTES: Final = 32
DOMAIN: Final = "request"
RequestKind = Literal["sql", "explain", "quote", "overlap"]
"""To run a question, to be told what it would do, or what it would cost; an owner's check whether persons are shared.

Signed, so that none is made of another.
"""
KINDS: Final[tuple[RequestKind, ...]] = get_args(RequestKind)
RUNNING: Final = frozenset[RequestKind]({"sql", "overlap"})
"""Kinds that compute something; the others are dry runs."""

_FIELDS: Final[Mapping[str, tuple[type, ...]]] = {
    "analyst": (bytes,),
    "consortium": (str,),
    "expires_at": (int,),
    "issued_at": (int,),
    "kind": (str,),
    "nonce": (bytes,),
    "privacy": (bytes, type(None)),
    "purpose": (str,),
    "quote_digest": (bytes, type(None)),
    "result_key": (bytes,),
    "roster_hash": (bytes,),
    "text": (str,),
    "version": (int,),
    "wait_seconds": (int,),
}
_TIME_MAX: Final = 2**40


@dataclass(frozen=True, slots=True)
class Request:
    """One question of one analyst; checked when made."""

    kind: RequestKind
    text: str
    """SQL, at most `limits.SQL_BYTES_MAX` bytes of UTF-8."""
    purpose: str
    """Declared purpose as DUO writes it: `GRU`, `HMB`, `DS:MONDO_0007254`, ...; policies decide on it."""
    result_key: ResultPublicKey
    roster_hash: RosterHash
    consortium: str
    nonce: bytes
    """32 fresh bytes; a second request with the same nonce is a replay."""
    issued_at: int
    """Seconds since 1970, UTC."""
    expires_at: int
    """Seconds since 1970, UTC; agreement after this moment is refused."""
    analyst: VerifyKey
    quote_digest: bytes | None = None
    """The quote whose price the analyst accepts; None where nothing is asked for it."""
    privacy: bytes | None = None
    """What noise the analyst asks for (canonical bytes of `governance.privacy.Ask`); None for exact numbers."""
    wait_seconds: int = 0
    """How long the request may wait for people to approve it; 0 where it is to run now or not at all."""

    def __post_init__(self) -> None:
        _require(self.kind in KINDS, "this version answers requests of kind `sql`, `explain`, `quote` and `overlap`")
        _require(
            0 < _utf8_bytes(self.text) <= limits.SQL_BYTES_MAX,
            f"a request has 1 to {limits.SQL_BYTES_MAX} bytes of SQL",
        )
        _require(
            _plain(self.purpose, limits.PURPOSE_CHARACTERS_MAX), "a purpose is a short printable ASCII text, e.g. `HMB`"
        )
        _require(
            _plain(self.consortium, limits.CONSORTIUM_CHARACTERS_MAX), "a consortium id is a short printable ASCII text"
        )
        _require(len(self.roster_hash) == canonical.DIGEST_BYTES, "a roster hash has 32 bytes")
        _require(len(self.nonce) == NONCE_BYTES, f"a nonce has {NONCE_BYTES} bytes")
        _require(0 <= self.issued_at < _TIME_MAX and 0 <= self.expires_at < _TIME_MAX, "times are seconds since 1970")
        _require(
            self.quote_digest is None or len(self.quote_digest) == canonical.DIGEST_BYTES, "a quote digest has 32 bytes"
        )
        _require(
            self.privacy is None or 0 < len(self.privacy) <= limits.PRIVACY_ASK_BYTES_MAX,
            f"what is asked of privacy has 1 to {limits.PRIVACY_ASK_BYTES_MAX} bytes",
        )
        _require(
            0 <= self.wait_seconds <= limits.APPROVAL_WAIT_SECONDS_MAX,
            f"a request waits at most {limits.APPROVAL_WAIT_SECONDS_MAX} seconds for approval",
        )

    @classmethod
    def make(
        cls,
        text: str,
        *,
        purpose: str,
        analyst: VerifyKey,
        result_key: ResultPublicKey,
        roster_hash: RosterHash,
        consortium: str,
        now: float,
        entropy: Entropy,
        lifetime_seconds: int = int(limits.REQUEST_LIFETIME_SECONDS_MAX) // 2,
        kind: RequestKind = "sql",
        quote_digest: bytes | None = None,
        privacy: bytes | None = None,
        wait_seconds: int = 0,
    ) -> Self:
        """A request issued now, with a fresh nonce, that expires `lifetime_seconds` after its wait for approval.

        Raises:
            RequestInvalid: a field is outside its limits.
        """
        issued_at = int(now)
        return cls(
            kind=kind,
            text=text,
            purpose=purpose,
            result_key=result_key,
            roster_hash=roster_hash,
            consortium=consortium,
            nonce=entropy(NONCE_BYTES),
            issued_at=issued_at,
            expires_at=issued_at + lifetime_seconds + wait_seconds,
            analyst=analyst,
            quote_digest=quote_digest,
            privacy=privacy,
            wait_seconds=wait_seconds,
        )

    @property
    def as_of(self) -> dt.date:
        """The UTC date of issue, which the plan may use for "today"."""
        return dt.datetime.fromtimestamp(self.issued_at, dt.UTC).date()

    def to_bytes(self) -> bytes:
        """The canonical bytes that are signed and hashed."""
        return canonical.encode(
            {
                "analyst": self.analyst.raw,
                "consortium": self.consortium,
                "expires_at": self.expires_at,
                "issued_at": self.issued_at,
                "kind": self.kind,
                "nonce": self.nonce,
                "privacy": self.privacy,
                "purpose": self.purpose,
                "quote_digest": self.quote_digest,
                "result_key": self.result_key.raw,
                "roster_hash": self.roster_hash,
                "text": self.text,
                "version": REQUEST_VERSION,
                "wait_seconds": self.wait_seconds,
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The inverse of `to_bytes`.

        Raises:
            RequestInvalid: another version, a missing or unknown field, a wrong type or size, not canonical.
        """
        fields = _decode_map(data)
        version = fields.get("version")
        if type(version) is int and version != REQUEST_VERSION:
            raise RequestInvalid(f"this party understands requests of version {REQUEST_VERSION}, not {version}")
        _require_fields(fields, _FIELDS)
        try:
            analyst = VerifyKey(cast("bytes", fields["analyst"]))
            result_key = ResultPublicKey(cast("bytes", fields["result_key"]))
        except IdentityError as error:
            raise RequestInvalid(f"the request holds an invalid key: {error}") from error
        return cls(
            kind=cast("RequestKind", fields["kind"]),
            text=cast("str", fields["text"]),
            purpose=cast("str", fields["purpose"]),
            result_key=result_key,
            roster_hash=RosterHash(cast("bytes", fields["roster_hash"])),
            consortium=cast("str", fields["consortium"]),
            nonce=cast("bytes", fields["nonce"]),
            issued_at=cast("int", fields["issued_at"]),
            expires_at=cast("int", fields["expires_at"]),
            analyst=analyst,
            quote_digest=cast("bytes | None", fields["quote_digest"]),
            privacy=cast("bytes | None", fields["privacy"]),
            wait_seconds=cast("int", fields["wait_seconds"]),
        )

    def question_digest(self) -> bytes:
        """Names what is asked, by whom, for what purpose, under which roster: the same for every asking of it.

        Nonce, times, result key, kind and quote are no part of it: a quote is for a question, and so is an approval
        that may be used more than once.
        """
        return canonical.digest(
            "question",
            {
                "analyst": self.analyst.raw,
                "consortium": self.consortium,
                "privacy": self.privacy,
                "purpose": self.purpose,
                "roster_hash": self.roster_hash,
                "text": self.text,
                "version": REQUEST_VERSION,
            },
        )

    def digest(self) -> RequestDigest:
        """The request's name; the signature is no part of it."""
        return RequestDigest(canonical.digest_bytes(DOMAIN, self.to_bytes()))

    def sign(self, key: SigningKey) -> SignedRequest:
        """The request with its analyst's signature; the key must be the one that the request names."""
        if key.public != self.analyst:
            raise RequestInvalid("the request names another analyst than the key that signs it")
        return SignedRequest(self, key.sign(DOMAIN, self.to_bytes()))


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request and its signature.  Nothing is checked about the signature until `verify`."""

    request: Request
    signature: bytes

    def __post_init__(self) -> None:
        _require(len(self.signature) == SIGNATURE_BYTES, f"a signature has {SIGNATURE_BYTES} bytes")

    def to_bytes(self) -> bytes:
        """As it travels: canonical, the request as the bytes that were signed."""
        return canonical.encode({"request": self.request.to_bytes(), "signature": self.signature})

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The inverse of `to_bytes`; raises `RequestInvalid` for anything else, whatever it is."""
        fields = _decode_map(data)
        _require_fields(fields, {"request": (bytes,), "signature": (bytes,)})
        return cls(Request.from_bytes(cast("bytes", fields["request"])), cast("bytes", fields["signature"]))

    def digest(self) -> RequestDigest:
        """The digest of the request inside."""
        return self.request.digest()

    def verify(
        self, now: float, roster_hash: RosterHash, consortium: str, *, roster_version: int | None = None
    ) -> Request:
        """Check signature, consortium, roster and times.

        Whether the nonce was seen before is the store's to say, in the transaction that burns it.

        Args:
            now: seconds since 1970 on the checking party's clock.
            roster_hash: of the roster in force here.
            consortium: the id in that roster.
            roster_version: its version, for the message.

        Returns:
            The request, now to be trusted as the analyst's own words.

        Raises:
            RequestInvalid: the message says what to change.
        """
        request = self.request
        try:
            request.analyst.verify(DOMAIN, request.to_bytes(), self.signature)
        except IdentityError as error:
            raise RequestInvalid("the request's signature does not fit the analyst's key; sign it again") from error
        if request.consortium != consortium:
            raise RequestInvalid(
                f"the request is addressed to consortium `{request.consortium}`, this party belongs to `{consortium}`"
            )
        if request.roster_hash != roster_hash:
            version = "" if roster_version is None else f" version {roster_version}"
            raise RequestInvalid(
                "the request was made for another roster; "
                f"the roster in force here is{version} {roster_hash.hex()[:16]}: fetch it and sign the request again"
            )
        _check_times(request, now)
        return request


def _check_times(request: Request, now: float) -> None:
    lifetime = request.expires_at - request.issued_at
    if lifetime <= 0:
        raise RequestInvalid("the request expires before it is issued")
    if lifetime - request.wait_seconds > limits.REQUEST_LIFETIME_SECONDS_MAX:
        raise RequestInvalid(
            f"the request would live {lifetime - request.wait_seconds} seconds beside its wait for approval; at most "
            f"{limits.REQUEST_LIFETIME_SECONDS_MAX:.0f} are accepted"
        )
    if now >= request.expires_at:
        raise RequestInvalid(
            f"the request expired {now - request.expires_at:.0f} seconds ago; sign a new one (or set this host's clock)"
        )
    if request.issued_at > now + limits.CLOCK_SKEW_SECONDS_MAX:
        raise RequestInvalid(
            f"the request was issued {request.issued_at - now:.0f} seconds in the future; "
            f"clocks may differ by {limits.CLOCK_SKEW_SECONDS_MAX:.0f}: set the clock of the analyst's host"
        )


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise RequestInvalid(message)


def _utf8_bytes(text: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise RequestInvalid("the SQL holds something that is no Unicode character; remove it") from error


def _plain(text: str, characters_max: int) -> bool:
    return 0 < len(text) <= characters_max and text.isascii() and text.isprintable()


def _decode_map(data: bytes) -> dict[str, canonical.Value]:
    if len(data) > limits.REQUEST_BYTES_MAX:
        raise RequestInvalid(f"a request has at most {limits.REQUEST_BYTES_MAX} bytes")
    try:
        value = canonical.decode(data)
    except canonical.CanonicalError as error:
        raise RequestInvalid("the request is not in canonical form") from error
    if not isinstance(value, dict):
        raise RequestInvalid("the request is not a map")
    return value


def _require_fields(fields: Mapping[str, canonical.Value], expected: Mapping[str, tuple[type, ...]]) -> None:
    missing = sorted(expected.keys() - fields.keys())
    _require(not missing, f"the request lacks {', '.join(missing)}")
    _require(len(fields) == len(expected), "the request has a field that this version does not know")
    for name, types in expected.items():
        _require(type(fields[name]) in types, f"the request's field `{name}` has the wrong type")
