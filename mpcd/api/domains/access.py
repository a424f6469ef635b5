"""The verbs of the domain `access` (layer 12, no I/O): how an analyst becomes known to the owners.

Request    analyst: the signed request goes to all owners; the answer says for each how it stands there
Evidence   analyst: the next part of one attached document, passed on likewise
Status     analyst: a signed inquiry; how the analyst stands at each owner
Requests   owner: who waits, was accepted, was refused
Document   owner: a part of an attached document
Accept     owner: with tables, end, rate class, accepted documents and corrected facts
Refuse     owner: with the reason that the analyst is told
List       owner: who is accepted by an entry (those of the policy file stand there)
Remove     owner: end an analyst's access at once, and their licences if that is said
"""

from __future__ import annotations

from typing import Final

from mpcd import limits
from mpcd.api.verbs import NAME_CHARACTERS_MAX, PATHS_MAX, Parameter, Verb

_REASON_CHARACTERS: Final = 400
_DIGEST_BYTES: Final = 32
_CODE_CHARACTERS: Final = 16
_TIME_MAX: Final = 2**53
_WHO: Final = Parameter("who", "text", NAME_CHARACTERS_MAX)
"""The beginning of a request's digest, a key, or a fingerprint."""
_DIGEST: Final = Parameter("digest", "bytes", _DIGEST_BYTES)
_CODE: Final = Parameter("code", "text", _CODE_CHARACTERS)
_PLACE: Final = Parameter("place", "integer", limits.EVIDENCE_BYTES_MAX)

VERBS: Final[tuple[Verb, ...]] = (
    Verb("Request", "client", (Parameter("request", "bytes", limits.ACCESS_REQUEST_BYTES_MAX),)),
    Verb("Evidence", "client", (_DIGEST, _CODE, _PLACE, Parameter("part", "bytes", limits.EVIDENCE_CHUNK_BYTES_MAX))),
    Verb("Status", "client", (Parameter("inquiry", "bytes", limits.INQUIRY_BYTES_MAX),)),
    Verb("Requests", "admin", (Parameter("state", "text", NAME_CHARACTERS_MAX, required=False),)),
    Verb("Document", "admin", (_DIGEST, _CODE, _PLACE)),
    Verb(
        "Accept",
        "admin",
        (
            _WHO,
            Parameter("tables", "texts", limits.ACCESS_TABLES_MAX, required=False),
            Parameter("until", "integer", _TIME_MAX, required=False),
            Parameter("rate_class", "text", NAME_CHARACTERS_MAX, required=False),
            Parameter("evidence", "texts", PATHS_MAX, required=False),
            Parameter("commercial", "truth", 1, required=False),
            Parameter("non_profit", "truth", 1, required=False),
            Parameter("genetic", "truth", 1, required=False),
            Parameter("same_person", "truth", 1, required=False),
            Parameter("all_tables", "truth", 1, required=False),
        ),
    ),
    Verb("Refuse", "admin", (_WHO, Parameter("reason", "text", _REASON_CHARACTERS))),
    Verb("List", "admin"),
    Verb(
        "Remove",
        "admin",
        (
            _WHO,
            Parameter("reason", "text", _REASON_CHARACTERS),
            Parameter("end_licences", "truth", 1, required=False),
        ),
    ),
)
