"""The verbs of the domain `licences` (layer 12, no I/O): offers, agreements, and their end.

Offers     analyst: a signed inquiry; what every owner offers them, signed
Accept     analyst: the signed agreement goes to all owners of the offer, who countersign it
Mine       analyst: a signed inquiry; the analyst's licences as each owner has them
End        analyst: a signed revocation goes to all owners of the licence
Make       owner: sign the offer in a file; a pool's goes to its other owners
Sign       owner: sign a pool's offer that waits here; with `look`, only show it
Offered    owner: offers that are not past, with their state and who has signed
Withdraw   owner: let nobody accept an offer any more
List       owner: licences in force, or all
Show       owner: one licence, as the file that proves it
Revoke     owner: end a licence at once, also what runs on it and is not recorded
Duties     owner: what licensees owe besides money, the earliest first
Meet       owner: note that a duty is fulfilled
"""

from __future__ import annotations

from typing import Final

from mpcd import limits
from mpcd.api.verbs import NAME_CHARACTERS_MAX, PATH_CHARACTERS_MAX, Parameter, Verb

_DIGEST_BYTES: Final = 32
_NAME: Final = Parameter("name", "text", NAME_CHARACTERS_MAX)
"""The beginning of a digest, at least eight digits."""
_INQUIRY: Final = Parameter("inquiry", "bytes", limits.INQUIRY_BYTES_MAX)
_REASON: Final = Parameter("reason", "text", limits.REVOCATION_REASON_CHARACTERS_MAX)
# What travels in one message has to fit into the API's own bound.
_SIGNED_BYTES: Final = limits.API_REQUEST_BYTES_MAX

VERBS: Final[tuple[Verb, ...]] = (
    Verb("Offers", "client", (_INQUIRY,)),
    Verb("Accept", "client", (Parameter("agreement", "bytes", _SIGNED_BYTES),)),
    Verb("Mine", "client", (_INQUIRY,)),
    Verb("End", "client", (Parameter("revocation", "bytes", _SIGNED_BYTES),)),
    Verb(
        "Make",
        "admin",
        (
            Parameter("text", "text", _SIGNED_BYTES),
            Parameter("path", "text", PATH_CHARACTERS_MAX),
            Parameter("legal_digest", "bytes", _DIGEST_BYTES, required=False),
            Parameter("dry_run", "truth", 1, required=False),
        ),
    ),
    Verb("Sign", "admin", (_NAME, Parameter("look", "truth", 1, required=False))),
    Verb("Offered", "admin"),
    Verb("Withdraw", "admin", (_NAME,)),
    Verb("List", "admin", (Parameter("ended", "truth", 1, required=False),)),
    Verb("Show", "admin", (_NAME,)),
    Verb("Revoke", "admin", (_NAME, _REASON)),
    Verb("Duties", "admin"),
    Verb(
        "Meet",
        "admin",
        (
            _NAME,
            Parameter("code", "text", NAME_CHARACTERS_MAX),
            Parameter("evidence", "bytes", _DIGEST_BYTES, required=False),
        ),
    ),
)
