"""The signed roster on disk: `roster.toml` and, beside it, `roster.signatures` (layer 13).

    [[signature]]
    party = 0
    signature = "<128 hexadecimal digits>"     # Ed25519 over the roster's hash, domain "roster"

A roster is in force when every party in it has signed this very version.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Final

from mpcd import limits
from mpcd.api import pinning
from mpcd.errors import ConfigurationInvalid
from mpcd.governance.document import Section
from mpcd.identity import SigningKey
from mpcd.ids import PartyId
from mpcd.roster import Roster, versions
from mpcd.roster.model import Signature
from mpcd.roster.parse import parse
from mpcd.roster.versions import missing_signatures, sign

DOMAIN: Final = versions.DOMAIN
SUFFIX: Final = ".signatures"
_SIGNATURE_CHARACTERS: Final = 128


def load(path: Path, *, signed: bool = True) -> Roster:
    """The roster in `path` with its signatures.

    Args:
        path: of `roster.toml`.
        signed: whether every party's signature is required.

    Raises:
        ConfigurationInvalid: with file and line, or naming the parties whose signature is missing or wrong.
    """
    roster = parse(_read(path), str(path))
    signatures = path.with_suffix(SUFFIX)
    if signatures.exists():
        roster = replace(roster, signatures=_signatures(_read(signatures), signatures))
    missing = missing_signatures(roster, pinning.signed_by) if signed else ()
    if missing:
        names = ", ".join(party.name for party in missing)
        raise ConfigurationInvalid(
            f"Roster version {roster.version} lacks valid signatures of {names}; each must sign it with "
            f"`mpcd roster-sign` and send you the line for {signatures.name}.",
            path=str(path),
        )
    return roster


def add_signature(path: Path, party: PartyId, key: SigningKey) -> Roster:
    """Sign the roster in `path` as `party`, keep the signature beside it, and return the roster.

    Raises:
        ConfigurationInvalid: the roster lists another key for this party.
    """
    roster = load(path, signed=False)
    try:
        listed = roster.party(party).signing_key
    except KeyError as error:
        raise ConfigurationInvalid(f"The roster has no party {party}.", path=str(path)) from error
    if listed != str(key.public):
        raise ConfigurationInvalid(f"The roster lists another signing key for party {party}.", path=str(path))
    roster = sign(roster, party, lambda digest: key.sign(DOMAIN, digest))
    write_signatures(path, roster)
    return roster


def write_signatures(path: Path, roster: Roster) -> None:
    """Write all signatures of `roster` beside its file `path`."""
    parts = [
        f'[[signature]]\nparty = {int(signature.party)}\nsignature = "{signature.signature.hex()}"\n'
        for signature in roster.signatures
    ]
    target = path.with_suffix(SUFFIX)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    temporary.write_text("\n".join(parts), encoding="ascii")
    temporary.replace(target)


def _signatures(text: str, path: Path) -> tuple[Signature, ...]:
    document = Section.parse(text, str(path))
    document.only(("signature",), path.name)
    found: dict[PartyId, Signature] = {}
    for section in document.sections("signature", limits.INPUT_OWNERS_MAX):
        section.only(("party", "signature"), "[[signature]]")
        party = PartyId(section.whole("party", 0, 2**31 - 1))
        written = section.text("signature", _SIGNATURE_CHARACTERS)
        try:
            raw = bytes.fromhex(written)
        except ValueError as error:
            raise section.error("`signature` must be hexadecimal digits", "signature") from error
        if party in found:
            raise section.error(f"party {party} is listed twice", "party")
        found[party] = Signature(party, raw)
    return tuple(found[party] for party in sorted(found))


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(limits.ROSTER_BYTES_MAX + 1).decode()
    except OSError as error:
        raise ConfigurationInvalid(f"Cannot read the roster: {error.strerror}.", path=str(path)) from error
    except UnicodeDecodeError as error:
        raise ConfigurationInvalid("The roster is not UTF-8 text.", path=str(path)) from error
