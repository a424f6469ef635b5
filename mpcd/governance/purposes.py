"""Purposes in the words of the GA4GH Data Use Ontology (pure).

An owner lists *permissions*, what a table may be used for; a request declares one *purpose*, what the answer is for.
The ontology's ids are kept beside the codes because data-access agreements quote them.  A disease is named by its MONDO
term and compared exactly: this program carries no disease hierarchy, so a narrower disease must be listed by its own
term.
"""

from __future__ import annotations

import re
from typing import Final

PERMISSIONS: Final = {
    "NRES": "DUO:0000004",
    "GRU": "DUO:0000042",
    "HMB": "DUO:0000006",
    "DS": "DUO:0000007",
    "POA": "DUO:0000011",
}
"""No restriction; general research; health, medical and biomedical; one disease; population origins or ancestry."""

MODIFIERS: Final = {
    "RS": "DUO:0000012",
    "NMDS": "DUO:0000015",
    "GSO": "DUO:0000016",
    "NPUNCU": "DUO:0000018",
    "PUB": "DUO:0000019",
    "COL": "DUO:0000020",
    "IRB": "DUO:0000021",
    "GS": "DUO:0000022",
    "MOR": "DUO:0000024",
    "TS": "DUO:0000025",
    "US": "DUO:0000026",
    "PS": "DUO:0000027",
    "IS": "DUO:0000028",
    "RTN": "DUO:0000029",
    "CC": "DUO:0000043",
    "NPOA": "DUO:0000044",
    "NPU": "DUO:0000045",
    "NCU": "DUO:0000046",
}
"""Conditions on a permission.  This version decides none of them: a policy that names one is not half obeyed."""

_DISEASE: Final = re.compile(r"DS:MONDO_[0-9]{7}")
_DECLARABLE: Final = ("GRU", "HMB", "POA")


def permission_problem(code: str) -> str | None:
    """What is wrong with `code` as a permission in a policy; nothing if it is one."""
    if code == "DS" or (code.startswith("DS:") and not _DISEASE.fullmatch(code)):
        return "a disease-specific permission names its disease, e.g. `DS:MONDO_0007254`"
    if code in PERMISSIONS or _DISEASE.fullmatch(code):
        return None
    if code in MODIFIERS:
        return f"the condition `{code}` ({MODIFIERS[code]}) is not decided by this version; remove it or do not publish"
    return f"`{code}` is no DUO permission; known: NRES, GRU, HMB, DS:MONDO_nnnnnnn, POA"


def purpose_problem(code: str) -> str | None:
    """What is wrong with `code` as the declared purpose of a request; nothing if it is one."""
    if code in _DECLARABLE or _DISEASE.fullmatch(code):
        return None
    return f"`{code}` is no purpose; declare GRU, HMB, DS:MONDO_nnnnnnn or POA"


def permits(permission: str, purpose: str) -> bool:
    """Whether data under `permission` may be used for `purpose`.

    General research covers every declarable purpose; health and biomedical research covers a disease but not ancestry;
    a disease covers itself; ancestry covers itself.
    """
    assert permission_problem(permission) is None
    if purpose_problem(purpose) is not None:
        return False
    if permission in {"NRES", "GRU"}:
        return True
    if permission == "HMB":
        return purpose == "HMB" or purpose.startswith("DS:")
    return permission == purpose
