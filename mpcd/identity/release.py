"""What one compute party sends the analyst: its shares of a result, sealed and signed (layer 1, no I/O).

The shares are sealed to the result key that stands in the signed request (rule 11).  HPKE's `info` binds the sealed
text to party, session, request and plan, so that it opens as nothing else; the party's signature covers the same four
and the hash of the sealed text, so that the client can check it against its pinned roster before it unseals anything.

Plaintexts are padded with zeros, behind their length, to a size that the caller derives from the plan alone: the length
of a release says nothing that the plan does not say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self, cast

from mpcd import canonical, limits
from mpcd.errors import ResultInvalid
from mpcd.identity.keys import SEAL_OVERHEAD_BYTES, SIGNATURE_BYTES, ResultKey, ResultPublicKey, SigningKey, VerifyKey
from mpcd.identity.keys import seal as seal_to
from mpcd.identity.keys import unseal as unseal_with
from mpcd.identity.text import IdentityError
from mpcd.ids import PartyId, PlanHash, RequestDigest, SessionId

RELEASE_VERSION: Final = 1
DOMAIN: Final = "release"
LENGTH_BYTES: Final = 4
_PARTY_MAX: Final = 2**31
_TYPES: Final = {
    "ciphertext": bytes,
    "party": int,
    "plan_hash": bytes,
    "request_digest": bytes,
    "session": bytes,
    "signature": bytes,
    "version": int,
}


@dataclass(frozen=True, slots=True)
class ReleaseEnvelope:
    """One compute party's sealed and signed shares; public, and meaningless without the result key."""

    party: PartyId
    session: SessionId
    request_digest: RequestDigest
    plan_hash: PlanHash
    ciphertext: bytes
    signature: bytes

    def __post_init__(self) -> None:
        for name in ("session", "request_digest", "plan_hash"):
            _require(len(getattr(self, name)) == canonical.DIGEST_BYTES, f"its {name} has not 32 bytes")
        _require(0 <= self.party < _PARTY_MAX, "its party is no party id")
        _require(len(self.signature) == SIGNATURE_BYTES, "its signature has the wrong length")
        longest = limits.RELEASE_BYTES_MAX + SEAL_OVERHEAD_BYTES
        _require(SEAL_OVERHEAD_BYTES <= len(self.ciphertext) <= longest, "its sealed text has an impossible length")

    @classmethod
    def seal(
        cls,
        *,
        party: PartyId,
        session: SessionId,
        request_digest: RequestDigest,
        plan_hash: PlanHash,
        plaintext: bytes,
        padded_bytes: int,
        result_key: ResultPublicKey,
        signing_key: SigningKey,
    ) -> Self:
        """Pad, seal and sign one party's shares.  Sealing is randomised: seal a session once, store it, resend that.

        Args:
            party: who seals.
            session: in which session.
            request_digest: of the signed request, which names `result_key`.
            plan_hash: of the plan that all parties agreed on.
            plaintext: the shares.
            padded_bytes: public size of the plaintext, at least `len(plaintext)`; a function of the plan alone.
            result_key: from the signed request.
            signing_key: this party's key in the roster.
        """
        assert len(plaintext) <= padded_bytes <= limits.RELEASE_BYTES_MAX - LENGTH_BYTES
        padded = len(plaintext).to_bytes(LENGTH_BYTES, "big") + plaintext.ljust(padded_bytes, b"\0")
        info = _info(party, session, request_digest, plan_hash)
        ciphertext = seal_to(result_key, info, padded)
        signature = signing_key.sign(DOMAIN, _signed_bytes(party, session, request_digest, plan_hash, ciphertext))
        return cls(party, session, request_digest, plan_hash, ciphertext, signature)

    def verify(
        self,
        key: VerifyKey,
        *,
        party: PartyId,
        session: SessionId,
        request_digest: RequestDigest,
        plan_hash: PlanHash,
    ) -> None:
        """Check that this is `party`'s release for exactly this session, request and plan.

        Args:
            key: the party's key in the caller's own pinned roster.
            party: whose release is expected.
            session: the one that all three envelopes name.
            request_digest: of the caller's own request.
            plan_hash: of the plan that the caller checked.

        Raises:
            ResultInvalid: the message names the party and what does not fit.
        """
        for name, found, wanted in (
            ("party", self.party, party),
            ("session", self.session, session),
            ("request", self.request_digest, request_digest),
            ("plan", self.plan_hash, plan_hash),
        ):
            if found != wanted:
                raise ResultInvalid(f"the release from party {party} is for another {name}; do not use this result")
        signed = _signed_bytes(self.party, self.session, self.request_digest, self.plan_hash, self.ciphertext)
        try:
            key.verify(DOMAIN, signed, self.signature)
        except IdentityError as error:
            raise ResultInvalid(
                f"the signature of party {party} on its release does not fit; do not use this result"
            ) from error

    def unseal(self, key: ResultKey) -> bytes:
        """The plaintext without its padding.  Call `verify` first: sealing does not say who sealed.

        Raises:
            ResultInvalid: sealed to another key or for another session, or wrongly padded.
        """
        info = _info(self.party, self.session, self.request_digest, self.plan_hash)
        try:
            padded = unseal_with(key, info, self.ciphertext)
        except IdentityError as error:
            raise ResultInvalid(f"the release from party {self.party} {error}") from error
        length = int.from_bytes(padded[:LENGTH_BYTES], "big")
        _require(len(padded) >= LENGTH_BYTES + length, "it is shorter than it says")
        _require(not padded[LENGTH_BYTES + length :].strip(b"\0"), "its padding is not zero")
        return padded[LENGTH_BYTES : LENGTH_BYTES + length]

    def to_bytes(self) -> bytes:
        """As it is stored and sent: canonical."""
        return canonical.encode(
            {
                "ciphertext": self.ciphertext,
                "party": int(self.party),
                "plan_hash": self.plan_hash,
                "request_digest": self.request_digest,
                "session": self.session,
                "signature": self.signature,
                "version": RELEASE_VERSION,
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The inverse of `to_bytes`; raises `ResultInvalid` for anything else."""
        try:
            fields = canonical.decode(data)
        except canonical.CanonicalError as error:
            raise ResultInvalid("a release is not in canonical form") from error
        if not isinstance(fields, dict) or fields.keys() != _TYPES.keys():
            raise ResultInvalid("a release lacks a field or has one too many")
        for name, expected in _TYPES.items():
            _require(type(fields[name]) is expected, f"its {name} has the wrong type")
        _require(fields["version"] == RELEASE_VERSION, f"its version is not {RELEASE_VERSION}")
        return cls(
            PartyId(cast("int", fields["party"])),
            SessionId(cast("bytes", fields["session"])),
            RequestDigest(cast("bytes", fields["request_digest"])),
            PlanHash(cast("bytes", fields["plan_hash"])),
            cast("bytes", fields["ciphertext"]),
            cast("bytes", fields["signature"]),
        )


def _info(party: PartyId, session: SessionId, request_digest: RequestDigest, plan_hash: PlanHash) -> bytes:
    return canonical.digest(
        "release-info",
        {"party": int(party), "plan_hash": plan_hash, "request_digest": request_digest, "session": session},
    )


def _signed_bytes(
    party: PartyId, session: SessionId, request_digest: RequestDigest, plan_hash: PlanHash, ciphertext: bytes
) -> bytes:
    return canonical.encode(
        {
            "ciphertext_digest": canonical.digest_bytes("release-ciphertext", ciphertext),
            "party": int(party),
            "plan_hash": plan_hash,
            "request_digest": request_digest,
            "session": session,
        }
    )


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise ResultInvalid(f"a release is malformed: {what}; do not use this result")
