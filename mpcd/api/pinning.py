"""How a new analyst comes to trust a consortium: the signed roster, checked and pinned (layer 12, no I/O).

A roster counts only with the signature of every party in it, each by the key that the roster lists for it.  So a
relaying host cannot change a roster; but it could show one that it made up altogether.  Against that stands the
fingerprint: two people read it to each other, the analyst and a steward of *another* party than the one that relays.
"""

from __future__ import annotations

from mpcd import canonical
from mpcd.api.opening import pinned_party
from mpcd.api.profile import DEFAULT_PURPOSE, render
from mpcd.errors import RequestInvalid
from mpcd.identity import IdentityError, VerifyKey
from mpcd.ids import RosterHash
from mpcd.results.schema import FormError
from mpcd.roster.model import Roster
from mpcd.roster.versions import DOMAIN, missing_signatures

_GROUPS = 6
_GROUP_BYTES = 5
_GROUP_MODULUS = 100_000


def verified(roster: bytes) -> Roster:
    """The roster in canonical bytes, with valid signatures of all its parties.

    Raises:
        RequestInvalid: not a roster, or a signature is missing or wrong; it must not be pinned.
    """
    try:
        found = Roster.from_value(canonical.decode(roster))
    except (FormError, canonical.CanonicalError) as error:
        raise RequestInvalid("what the daemon sent is no roster; do not trust it") from error
    missing = missing_signatures(found, signed_by)
    if missing:
        names = ", ".join(party.name for party in missing)
        raise RequestInvalid(f"the roster lacks valid signatures of {names}; do not trust it")
    return found


def signed_by(key: str, digest: RosterHash, signature: bytes) -> bool:
    """Whether `signature` is that key's signature of the roster's hash."""
    try:
        VerifyKey.from_text(key).verify(DOMAIN, digest, signature)
    except IdentityError:
        return False
    return True


def fingerprint(roster_hash: RosterHash) -> str:
    """Six groups of five digits to compare by voice (about 99 bits)."""
    digest = canonical.digest_bytes("roster-fingerprint", roster_hash)
    starts = range(0, _GROUPS * _GROUP_BYTES, _GROUP_BYTES)
    groups = (int.from_bytes(digest[start : start + _GROUP_BYTES], "big") for start in starts)
    return " ".join(f"{group % _GROUP_MODULUS:05d}" for group in groups)


def profile_text(roster: Roster, address: str, purpose: str = DEFAULT_PURPOSE) -> str:
    """The text of a profile that pins `roster`."""
    return render(
        consortium=roster.consortium,
        roster_version=roster.version,
        roster_hash=roster.hash(),
        socket=address,
        parties=[
            pinned_party(party.id, party.name, party.signing_key, computes="compute" in party.roles)
            for party in roster.parties
        ],
        purpose=purpose,
    )
