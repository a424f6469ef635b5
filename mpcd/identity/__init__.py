"""Keys, signatures, sealing, and the two signed objects: the analyst's request and a party's release (layer 1, no I/O).

Imported by the command-line client, so it stays quick to import: no numpy, no trio.
"""

from mpcd.identity.keys import (
    SEAL_OVERHEAD_BYTES,
    ChannelKey,
    ChannelPublicKey,
    Entropy,
    PrivateKey,
    PublicKey,
    ResultKey,
    ResultPublicKey,
    SigningKey,
    VerifyKey,
    equal_secrets,
    seal,
    unseal,
    wipe,
)
from mpcd.identity.release import ReleaseEnvelope
from mpcd.identity.request import Request, SignedRequest
from mpcd.identity.text import IdentityError, KeyKind

__all__ = [
    "SEAL_OVERHEAD_BYTES",
    "ChannelKey",
    "ChannelPublicKey",
    "Entropy",
    "IdentityError",
    "KeyKind",
    "PrivateKey",
    "PublicKey",
    "ReleaseEnvelope",
    "Request",
    "ResultKey",
    "ResultPublicKey",
    "SignedRequest",
    "SigningKey",
    "VerifyKey",
    "equal_secrets",
    "seal",
    "unseal",
    "wipe",
]
