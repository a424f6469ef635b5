"""A signed inquiry: an analyst asks what exists for them, and proves that it is they who ask (layer 1, no I/O).

What one may not see does not exist, so what exists depends on who asks.  A public key is no secret and proves nothing;
an inquiry is signed with it.  It reads and never changes anything, so nobody counts nonces: whoever replays one within
its short life gets what its analyst would get, and only through a party that could have kept the first answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from mpcd import canonical, limits
from mpcd.errors import RequestInvalid
from mpcd.identity.keys import SigningKey, VerifyKey
from mpcd.identity.text import IdentityError

DOMAIN: Final = "inquiry"
_KIND_CHARACTERS: Final = 32
_SUBJECT_CHARACTERS: Final = 256


@dataclass(frozen=True, slots=True)
class Inquiry:
    """What one analyst asks about themselves."""

    kind: str
    """`describe`, `access`, `offers`, ...; an answer to one kind is never given to another."""
    subject: str
    """What in particular, such as a table; empty for everything."""
    analyst: VerifyKey
    consortium: str
    issued_at: int
    """Milliseconds since 1970, UTC."""

    def signed(self, key: SigningKey) -> bytes:
        """As it travels: canonical, with the analyst's signature."""
        content = canonical.encode(
            {
                "kind": self.kind,
                "subject": self.subject,
                "analyst": self.analyst.raw,
                "consortium": self.consortium,
                "issued_at": self.issued_at,
            }
        )
        return canonical.encode({"inquiry": content, "signature": key.sign(DOMAIN, content)})

    @classmethod
    def verified(cls, data: bytes, kind: str, consortium: str, now_ms: int) -> Self:
        """The inquiry in `data`, its signature, kind, consortium and time checked.

        Raises:
            RequestInvalid: anything does not fit; the message says what to change.
        """
        if len(data) > limits.INQUIRY_BYTES_MAX:
            raise RequestInvalid(f"an inquiry has at most {limits.INQUIRY_BYTES_MAX} bytes")
        match _decoded(data):
            case {"inquiry": bytes(content), "signature": bytes(signature), **rest} if not rest:
                inquiry = cls._parse(content)
            case _:
                raise RequestInvalid("not a signed inquiry")
        try:
            inquiry.analyst.verify(DOMAIN, content, signature)
        except IdentityError as error:
            raise RequestInvalid("the inquiry's signature does not fit the analyst's key; sign it again") from error
        if inquiry.kind != kind:
            raise RequestInvalid(f"an inquiry of kind `{kind}` is needed here")
        if inquiry.consortium != consortium:
            raise RequestInvalid(
                f"the inquiry is addressed to another consortium; this party belongs to `{consortium}`"
            )
        age_seconds = (now_ms - inquiry.issued_at) / 1000
        if not -limits.CLOCK_SKEW_SECONDS_MAX <= age_seconds <= limits.REQUEST_LIFETIME_SECONDS_MAX:
            raise RequestInvalid("the inquiry is too old, or from the future; set the clock of the analyst's host")
        return inquiry

    @classmethod
    def _parse(cls, content: bytes) -> Self:
        match _decoded(content):
            case {
                "kind": str(kind),
                "subject": str(subject),
                "analyst": bytes(analyst),
                "consortium": str(consortium),
                "issued_at": int(issued_at),
                **rest,
            } if (
                not rest
                and len(kind) <= _KIND_CHARACTERS
                and len(subject) <= _SUBJECT_CHARACTERS
                and len(consortium) <= limits.CONSORTIUM_CHARACTERS_MAX
                and type(issued_at) is int
            ):
                try:
                    return cls(kind, subject, VerifyKey(analyst), consortium, issued_at)
                except IdentityError as error:
                    raise RequestInvalid(f"the inquiry holds an invalid key: {error}") from error
        raise RequestInvalid("not an inquiry")


def _decoded(data: bytes) -> canonical.Value:
    try:
        return canonical.decode(data)
    except canonical.CanonicalError as error:
        raise RequestInvalid("the inquiry is not in canonical form") from error
