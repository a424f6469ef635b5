"""How an analyst becomes known to an owner without a change of the roster: request, evidence, entry (pure).

An analyst writes one `AccessRequest`: who they are, for whom they work, what they want to ask about and why, and the
digests of the documents that prove it.  They sign it with the key that will sign their requests; whoever receives it
carries it to all owners, and nobody on the way can change a letter of it.  Every owner decides for itself, and keeps
what it accepted as an `Access`, which may say less than was claimed: an owner books a fact (`commercial`, `country`,
evidence of ethics approval) only as it found it proven.

*A lost or worn-out key.*  A request may name the key that it replaces.  If the old key has signed too (`rotates`), the
same person has both; if not, the old one is lost and the claim alone proves nothing: the owner must find out by other
means that it is the same person, and says so when accepting.  Accepting ends the old key in the same transaction.

*What an entry gives.*  The same as an `[[analyst]]` of the policy file: an `AcceptedAnalyst` with its `AnalystFacts`.
The file wins where both name one key.  No entry, an entry that has ended, or one past its `until` gives nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal, Self, cast, get_args

from mpcd import canonical, limits
from mpcd.errors import RequestInvalid
from mpcd.governance.policy import AcceptedAnalyst, AnalystFacts
from mpcd.identity import IdentityError, SigningKey, VerifyKey
from mpcd.identity.keys import SIGNATURE_BYTES
from mpcd.results.schema import Form, FormError, boolean, integer, optional, record, sequence, text, word

RateClass = Literal["standard", "reduced"]
RATE_CLASSES: Final[tuple[RateClass, ...]] = get_args(RateClass)

DOMAIN: Final = "access-request"
REPLACES_DOMAIN: Final = "access-replaces"
VERSION: Final = 1
NONCE_BYTES: Final = 16
_TIME_MAX: Final = 2**53
_LINE_BYTES: Final = 256
_CODE_BYTES: Final = 16


# ------------------------------------------------------------------------------------------------ what is asked


@dataclass(frozen=True, slots=True)
class Evidence:
    """One document that the analyst attaches: an ethics approval, a letter of the institution."""

    code: str
    """The DUO code that it is for, `IRB` or `COL`, or another short word that its owner understands."""
    name: str
    """Of the file, without its directory."""
    sha256: bytes
    size_bytes: int

    def __post_init__(self) -> None:
        _require(self.code.isascii() and self.code.isalnum(), "the code of a document is letters and digits, e.g. IRB")
        _require(_line(self.name) and not set(self.name) & set("/\\"), "a document's name is a file's name, no path")
        _require(0 < self.size_bytes <= limits.EVIDENCE_BYTES_MAX, _EVIDENCE_SIZE)

    @classmethod
    def of(cls, code: str, name: str, content: bytes) -> Self:
        """The entry of a document; raises `RequestInvalid` where it is empty, too long, or badly named."""
        return cls(code, name, hashlib.sha256(content).digest(), len(content))


_EVIDENCE_SIZE: Final = f"a document has 1 to {limits.EVIDENCE_BYTES_MAX} bytes"


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """What one analyst says of themselves to all owners; checked when made."""

    consortium: str
    analyst: VerifyKey
    name: str
    contact: str
    """Where a steward reaches them: an electronic-mail address or a telephone number."""
    institution: str
    country: str
    """ISO 3166-1, two capital letters."""
    reason: str
    """What they want to find out, for people to read."""
    issued_at: int
    """Milliseconds since 1970, UTC."""
    nonce: bytes
    user: str = ""
    """The researcher's own id where one is needed (DUO `US`), such as an ORCID."""
    project: str = ""
    """The project's id where one is needed (DUO `PS`), such as a grant number."""
    commercial: bool | None = None
    non_profit: bool | None = None
    genetic: bool | None = None
    reduced_rate: bool = False
    """Asks for the price class of individual researchers and small institutions."""
    tables: tuple[str, ...] | None = None
    """Tables that they want to ask about; None: whatever the owner opens to them."""
    evidence: tuple[Evidence, ...] = ()
    replaces: VerifyKey | None = None
    """The key that this one takes the place of."""

    def __post_init__(self) -> None:
        for value, what in ((self.name, "name"), (self.contact, "contact"), (self.institution, "institution")):
            _require(_line(value), f"the {what} is one line of at most {_LINE_BYTES} bytes, and not empty")
        for value, what in ((self.user, "user"), (self.project, "project")):
            _require(not value or _line(value), f"the {what} is one line of at most {_LINE_BYTES} bytes")
        _require(
            len(self.country) == 2 and self.country.isascii() and self.country.isalpha() and self.country.isupper(),
            "the country is two capital letters (ISO 3166-1), e.g. SE",
        )
        _require(bool(self.reason.strip()), "say in a sentence or two what you want to find out")
        _require(_readable(self.reason), "the reason is plain text")
        _require(self.replaces != self.analyst, "a key cannot replace itself")
        for table in self.tables or ():
            _require(_line(table), "a table's name is one line")
        codes = [document.code for document in self.evidence]
        _require(len(set(codes)) == len(codes), "one document for each code; join several into one file")

    def to_bytes(self) -> bytes:
        """The canonical bytes that are signed and hashed."""
        return canonical.encode({"version": VERSION, "access": _REQUEST.encode(self)})

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The inverse of `to_bytes`; raises `RequestInvalid`."""
        fields = _decoded(data, ("version", "access"))
        if fields["version"] != VERSION:
            raise RequestInvalid(f"this party understands requests for access of version {VERSION}")
        try:
            return cast("Self", _REQUEST.decode(fields["access"]))
        except FormError as error:
            raise RequestInvalid(f"not a request for access{error}") from error

    def digest(self) -> bytes:
        """The request's name, 32 bytes; the signatures are no part of it."""
        return canonical.digest_bytes(DOMAIN, self.to_bytes())

    def sign(self, key: SigningKey, old: SigningKey | None = None) -> SignedAccessRequest:
        """The request with its analyst's signature, and with the old key's where it is still there.

        Raises:
            RequestInvalid: the request names other keys.
        """
        if key.public != self.analyst:
            raise RequestInvalid("the request names another key than the one that signs it")
        if old is not None and old.public != self.replaces:
            raise RequestInvalid("the request replaces another key than the one that agrees to it")
        encoded = self.to_bytes()
        agreed = b"" if old is None else old.sign(REPLACES_DOMAIN, encoded)
        return SignedAccessRequest(self, key.sign(DOMAIN, encoded), agreed)


@dataclass(frozen=True, slots=True)
class SignedAccessRequest:
    """As it travels.  Nothing is checked about the signatures until `verify`."""

    request: AccessRequest
    signature: bytes
    replaced_signature: bytes = b""
    """By the key that is replaced; empty where that key is lost, or none is replaced."""

    def to_bytes(self) -> bytes:
        """Canonical, the request as the bytes that were signed."""
        return canonical.encode(
            {
                "request": self.request.to_bytes(),
                "signature": self.signature,
                "replaced_signature": self.replaced_signature,
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The inverse of `to_bytes`; raises `RequestInvalid`."""
        fields = _decoded(data, ("request", "signature", "replaced_signature"))
        request, signature, replaced = (fields[name] for name in ("request", "signature", "replaced_signature"))
        if not (isinstance(request, bytes) and isinstance(signature, bytes) and isinstance(replaced, bytes)):
            raise RequestInvalid("not a signed request for access")
        if len(signature) != SIGNATURE_BYTES or len(replaced) not in {0, SIGNATURE_BYTES}:
            raise RequestInvalid(f"a signature has {SIGNATURE_BYTES} bytes")
        return cls(AccessRequest.from_bytes(request), signature, replaced)

    @property
    def rotates(self) -> bool:
        """Whether the old key agrees to being replaced; only after `verify`."""
        return self.request.replaces is not None and bool(self.replaced_signature)

    def verify(self, now_ms: int, consortium: str) -> AccessRequest:
        """Check both signatures, the consortium and the time.

        Args:
            now_ms: of the checking party, milliseconds since 1970, UTC.
            consortium: the id in the roster.

        Raises:
            RequestInvalid: the message says what to change.
        """
        request, encoded = self.request, self.request.to_bytes()
        try:
            request.analyst.verify(DOMAIN, encoded, self.signature)
            if request.replaces is not None and self.replaced_signature:
                request.replaces.verify(REPLACES_DOMAIN, encoded, self.replaced_signature)
        except IdentityError as error:
            raise RequestInvalid("a signature under the request for access does not fit; sign it again") from error
        if self.replaced_signature and request.replaces is None:
            raise RequestInvalid("the request carries the signature of an old key but replaces none")
        if request.consortium != consortium:
            raise RequestInvalid(
                f"the request is addressed to consortium `{request.consortium}`, this party belongs to `{consortium}`"
            )
        age_seconds = (now_ms - request.issued_at) / 1000
        if age_seconds < -limits.CLOCK_SKEW_SECONDS_MAX:
            raise RequestInvalid("the request was issued in the future; set the clock of the analyst's host")
        if age_seconds > limits.ACCESS_REQUEST_SECONDS_MAX:
            raise RequestInvalid("the request is too old; sign a new one")
        return request


# ------------------------------------------------------------------------------------------------ what is granted


@dataclass(frozen=True, slots=True)
class Terms:
    """What an owner says when it accepts; None leaves what the analyst said."""

    tables: frozenset[str] | None = None
    """The tables that exist for the analyst here; None: all of this owner's."""
    until: int | None = None
    """Milliseconds since 1970, UTC: from then on the entry gives nothing; None: until it is ended."""
    rate_class: RateClass = "standard"
    evidence: frozenset[str] = frozenset()
    """Codes of the attached documents that the owner read and accepts; no other one counts."""
    commercial: bool | None = None
    non_profit: bool | None = None
    genetic: bool | None = None


@dataclass(frozen=True, slots=True)
class Access:
    """One analyst as this owner accepted them."""

    key: VerifyKey
    name: str
    institution: str
    country: str
    contact: str
    user: str
    project: str
    commercial: bool | None
    non_profit: bool | None
    genetic: bool | None
    rate_class: RateClass
    evidence: Mapping[str, bytes]
    """SHA-256 of each accepted document by its code."""
    tables: frozenset[str] | None
    accepted_at: int
    """Milliseconds since 1970, UTC."""
    until: int | None
    """Milliseconds since 1970, UTC; None: until it is ended."""
    request_digest: bytes
    replaces: VerifyKey | None = None

    @classmethod
    def grant(cls, request: AccessRequest, terms: Terms, at: int) -> Self:
        """What an owner accepts of `request` on `terms`.

        Raises:
            RequestInvalid: it accepts a document that is not attached, or would end before it begins.
        """
        attached = {document.code: document.sha256 for document in request.evidence}
        missing = sorted(terms.evidence - attached.keys())
        if missing:
            raise RequestInvalid(f"no document {', '.join(missing)} is attached; there are: {_listed(attached)}")
        if terms.until is not None and terms.until <= at:
            raise RequestInvalid("the access would end before it begins; name a later day")
        return cls(
            key=request.analyst,
            name=request.name,
            institution=request.institution,
            country=request.country,
            contact=request.contact,
            user=request.user,
            project=request.project,
            commercial=request.commercial if terms.commercial is None else terms.commercial,
            non_profit=request.non_profit if terms.non_profit is None else terms.non_profit,
            genetic=request.genetic if terms.genetic is None else terms.genetic,
            rate_class=terms.rate_class,
            evidence={code: attached[code] for code in sorted(terms.evidence)},
            tables=terms.tables,
            accepted_at=at,
            until=terms.until,
            request_digest=request.digest(),
            replaces=request.replaces,
        )

    def in_force(self, at: int) -> bool:
        """Whether the entry gives anything at `at`, milliseconds since 1970, UTC."""
        return self.until is None or at < self.until

    def facts(self) -> AnalystFacts:
        """What decisions need to know of the analyst."""
        return AnalystFacts(
            name=self.name,
            institution=self.institution,
            country=self.country,
            user=self.user,
            project=self.project,
            commercial=self.commercial,
            non_profit=self.non_profit,
            genetic=self.genetic,
            rate_class=self.rate_class,
            evidence=dict(self.evidence),
        )

    def accepted(self) -> AcceptedAnalyst:
        """The same as an `[[analyst]]` of a policy file."""
        return AcceptedAnalyst(self.name, self.key, self.tables, self.facts())

    def to_bytes(self) -> bytes:
        """Canonical bytes, as they are stored."""
        return canonical.encode(_ACCESS.encode(self))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The inverse of `to_bytes`; raises `FormError` or `CanonicalError`."""
        return cast("Self", _ACCESS.decode(canonical.decode(data)))


@dataclass(frozen=True, slots=True)
class AccessBook:
    """All entries of one owner that have not been ended; answers by key."""

    _by_key: Mapping[bytes, Access] = field(default_factory=dict)

    @classmethod
    def of(cls, entries: Iterable[Access]) -> Self:
        """The book of these entries."""
        return cls({entry.key.raw: entry for entry in entries})

    def get(self, key: VerifyKey, at: int) -> Access | None:
        """The entry of `key` if it is in force at `at`, milliseconds since 1970, UTC."""
        entry = self._by_key.get(key.raw)
        return entry if entry is not None and entry.in_force(at) else None

    def accepted(self, key: VerifyKey, at: int) -> AcceptedAnalyst | None:
        """The same as the policy's `accepted`, for an entry in force."""
        entry = self.get(key, at)
        return None if entry is None else entry.accepted()

    def entries(self) -> tuple[Access, ...]:
        """All of them, by name."""
        return tuple(sorted(self._by_key.values(), key=lambda entry: (entry.name.casefold(), entry.key.raw)))

    def with_entry(self, entry: Access) -> Self:
        """The book with `entry`, and without the key that it replaces."""
        gone = b"" if entry.replaces is None else entry.replaces.raw
        return replace(self, _by_key={**{k: v for k, v in self._by_key.items() if k != gone}, entry.key.raw: entry})

    def without(self, key: VerifyKey) -> Self:
        """The book without `key`."""
        return replace(self, _by_key={raw: entry for raw, entry in self._by_key.items() if raw != key.raw})

    def __len__(self) -> int:
        return len(self._by_key)


# ------------------------------------------------------------------------------------------------ forms


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise RequestInvalid(message)


def _readable(value: str) -> bool:
    """Whether it is printable text, line breaks allowed."""
    return all(character.isprintable() or character == "\n" for character in value)


def _line(value: str) -> bool:
    try:
        return bool(value.strip()) and value.isprintable() and len(value.encode()) <= _LINE_BYTES
    except UnicodeEncodeError:
        return False


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _decoded(data: bytes, names: tuple[str, ...]) -> dict[str, canonical.Value]:
    if len(data) > limits.ACCESS_REQUEST_BYTES_MAX:
        raise RequestInvalid(f"a request for access has at most {limits.ACCESS_REQUEST_BYTES_MAX} bytes")
    try:
        value = canonical.decode(data)
    except canonical.CanonicalError as error:
        raise RequestInvalid("the request for access is not in canonical form") from error
    if not isinstance(value, dict) or value.keys() != set(names):
        raise RequestInvalid(f"a request for access is a map of {', '.join(names)}")
    return value


def _bytes_form(least: int, most: int) -> Form[bytes]:
    def decode(value: object) -> bytes:
        if not isinstance(value, bytes) or not least <= len(value) <= most:
            raise FormError(f": expected {least} to {most} bytes")
        return value

    return Form(lambda value: value, decode)


def _decode_key(value: object) -> VerifyKey:
    if not isinstance(value, bytes):
        raise FormError(": expected a public key")
    try:
        return VerifyKey(value)
    except IdentityError as error:
        raise FormError(f": {error}") from error


_KEY: Final[Form[VerifyKey]] = Form(lambda value: value.raw, _decode_key)
_DIGEST: Final = _bytes_form(canonical.DIGEST_BYTES, canonical.DIGEST_BYTES)
_TIME: Final = integer(0, _TIME_MAX)
_NAME: Final = text(_LINE_BYTES)
_TRUTH: Final = optional(boolean)
_EVIDENCE: Final = record(
    Evidence,
    code=text(_CODE_BYTES),
    name=_NAME,
    sha256=_DIGEST,
    size_bytes=integer(1, limits.EVIDENCE_BYTES_MAX),
)
_REQUEST: Final[Form[AccessRequest]] = record(
    AccessRequest,
    consortium=text(limits.CONSORTIUM_CHARACTERS_MAX),
    analyst=_KEY,
    name=_NAME,
    contact=_NAME,
    institution=_NAME,
    country=text(2),
    reason=text(limits.ACCESS_REASON_BYTES_MAX),
    issued_at=_TIME,
    nonce=_bytes_form(NONCE_BYTES, NONCE_BYTES),
    user=_NAME,
    project=_NAME,
    commercial=_TRUTH,
    non_profit=_TRUTH,
    genetic=_TRUTH,
    reduced_rate=boolean,
    tables=optional(sequence(_NAME, limits.ACCESS_TABLES_MAX)),
    evidence=sequence(_EVIDENCE, limits.EVIDENCE_FILES_MAX),
    replaces=optional(_KEY),
)
_TABLES: Final[Form[frozenset[str]]] = Form(
    sorted, lambda value: frozenset(sequence(_NAME, limits.POLICY_TABLES_MAX).decode(value))
)
_PROOFS: Final[Form[Mapping[str, bytes]]] = Form(
    dict,
    lambda value: {text(_CODE_BYTES).decode(code): _DIGEST.decode(digest) for code, digest in _items(value)},
)


def _items(value: object) -> Iterable[tuple[object, object]]:
    if not isinstance(value, dict) or len(value) > limits.EVIDENCE_FILES_MAX:
        raise FormError(": expected a short map")
    return value.items()


_ACCESS: Final[Form[Access]] = record(
    Access,
    key=_KEY,
    name=_NAME,
    institution=_NAME,
    country=text(2),
    contact=_NAME,
    user=_NAME,
    project=_NAME,
    commercial=_TRUTH,
    non_profit=_TRUTH,
    genetic=_TRUTH,
    rate_class=word(*RATE_CLASSES),
    evidence=_PROOFS,
    tables=optional(_TABLES),
    accepted_at=_TIME,
    until=optional(_TIME),
    request_digest=_DIGEST,
    replaces=optional(_KEY),
)
