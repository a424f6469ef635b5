"""What a method takes, and the methods of the domains: policy, data, approvals, licences, ... (layer 12, no I/O).

A domain is one subject of the daemon with its own verbs.  Its table stands in `api/domains/<domain>.py`, its work in
`daemon/domains/<domain>.py`, where a verb's snake-case name is a method's; `methods.METHODS` joins the tables.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from mpcd import limits
from mpcd.api.types import CallerRole
from mpcd.canonical import Value
from mpcd.errors import RequestInvalid

NAME_CHARACTERS_MAX: Final = 128
PATH_CHARACTERS_MAX: Final = 4096
PATHS_MAX: Final = 256
TEXTS_CHARACTERS_MAX: Final = PATH_CHARACTERS_MAX
DOCUMENT_BYTES_MAX: Final = limits.API_REQUEST_BYTES_MAX


@dataclass(frozen=True, slots=True)
class Parameter:
    """One key of a method's map; `size_max` bounds a string's characters, bytes, entries, or an integer's value."""

    name: str
    kind: Literal["text", "bytes", "integer", "integers", "texts", "truth"]
    size_max: int
    required: bool = True

    def check(self, value: Value) -> None:
        """Raise `RequestInvalid` unless `value` is of this kind and within its size."""
        match self.kind, value:
            case ("text", str(item)):
                good = len(item) <= self.size_max
            case ("bytes", bytes(item)):
                good = len(item) <= self.size_max
            case ("integer", int(item)):
                good = not isinstance(item, bool) and 0 <= item <= self.size_max
            case ("integers", list(items)):
                good = len(items) <= self.size_max and all(type(item) is int for item in items)
            case ("texts", list(items)):
                good = len(items) <= self.size_max and all(
                    isinstance(item, str) and len(item) <= TEXTS_CHARACTERS_MAX for item in items
                )
            case ("truth", bool()):
                good = True
            case _:
                good = False
        if not good:
            raise RequestInvalid(f"Parameter `{self.name}` must be {self.kind} of at most {self.size_max}.")


@dataclass(frozen=True, slots=True)
class Verb:
    """One method of a domain."""

    name: str
    """Without the domain: `List`, `SignRequest`."""
    role: CallerRole
    parameters: tuple[Parameter, ...] = ()

    @property
    def call(self) -> str:
        """The name of the method that does it in the daemon's domain class: `sign_request`."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", self.name).lower()


def method(domain: str, verb: Verb) -> str:
    """The verb's name on the socket: domain `licences`, verb `Offer` is `mpc.v1.LicencesOffer`."""
    return f"mpc.v1.{domain.capitalize()}{verb.name}"
