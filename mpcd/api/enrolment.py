"""What an analyst does to become known: make a profile, ask for access, change or replace the key (layer 12).

    profile.toml       the pinned consortium (`api.profile`)
    signing.key        the analyst's key
    signing.key.next   while a rotation waits for the owners: the key to come
    access-request     the last request for access, signed
    documents/         what was attached to it, a file a document, named by its code

A request is written here before it is sent, so that it can be sent again when a party was away.  Keys are never
overwritten: an old or lost one is moved aside under a name that says when.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mpcd import limits
from mpcd.api.profile import FILE, KEY_FILE, Profile
from mpcd.errors import ConfigurationInvalid, LocalFault, RequestInvalid
from mpcd.governance.access import NONCE_BYTES, AccessRequest, Evidence, SignedAccessRequest
from mpcd.identity import SigningKey, VerifyKey
from mpcd.identity.inquiry import Inquiry
from mpcd.store.keyfiles import read_key, write_key

if TYPE_CHECKING:
    from mpcd.api.client import Client
    from mpcd.api.pinning import Card
    from mpcd.api.types import Map

REQUEST_FILE: Final = "access-request"
DOCUMENTS: Final = "documents"
NEXT: Final = ".next"
_PRIVATE: Final = 0o700


def now_ms() -> int:
    """Milliseconds since 1970, UTC."""
    return int(time.time() * 1000)


# ------------------------------------------------------------------------------------------------ profile


def make_profile(directory: Path, card: Card, address: str, purpose: str) -> VerifyKey:
    """Pin `card` in a new profile with a new key; a key that is there already is kept.

    Raises:
        ConfigurationInvalid: there is a profile already, or the directory cannot be written.
    """
    path = directory / FILE
    if path.exists():
        raise ConfigurationInvalid("There is a profile already; name another directory with --profile.", path=str(path))
    try:
        directory.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        key = new_key(directory) if not (directory / KEY_FILE).exists() else read_key(directory / KEY_FILE, SigningKey)
        path.write_text(card.profile_text(address, purpose), encoding="utf-8")
    except OSError as error:
        raise ConfigurationInvalid(f"Cannot write the profile: {error.strerror}.", path=str(path)) from error
    return key.public


def new_key(directory: Path, name: str = KEY_FILE) -> SigningKey:
    """Make a key file; raises `LocalFault` if it is there."""
    key = SigningKey.generate(os.urandom)
    write_key(directory / name, key)
    return key


def set_aside(directory: Path, why: str) -> Path | None:
    """Move the key away, if there is one, under a name that says why and when."""
    path = directory / KEY_FILE
    if not path.exists():
        return None
    target = path.with_name(f"{KEY_FILE}.{why}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    if target.exists():
        raise LocalFault(f"{target} exists; wait a second and try again")
    path.rename(target)
    return target


def next_key(directory: Path) -> SigningKey | None:
    """The key that a rotation waits for, if one does."""
    path = directory / (KEY_FILE + NEXT)
    return read_key(path, SigningKey) if path.exists() else None


def finish_rotation(directory: Path) -> None:
    """Let the next key be the key; the old one is set aside."""
    set_aside(directory, "rotated")
    (directory / (KEY_FILE + NEXT)).rename(directory / KEY_FILE)


# ------------------------------------------------------------------------------------------------ requests


def read_documents(files: Mapping[str, Path]) -> dict[str, tuple[Evidence, bytes]]:
    """The named documents with their contents, by code.

    Raises:
        RequestInvalid: too many, too long, empty, or badly named.
        LocalFault: cannot be read.
    """
    if len(files) > limits.EVIDENCE_FILES_MAX:
        raise RequestInvalid(f"at most {limits.EVIDENCE_FILES_MAX} documents; join several into one file")
    found = {}
    for code, path in files.items():
        try:
            with path.open("rb") as file:
                content = file.read(limits.EVIDENCE_BYTES_MAX + 1)
        except OSError as error:
            raise LocalFault(f"{path} cannot be read: {error.strerror}") from error
        found[code] = (Evidence.of(code, path.name, content), content)
    return found


def keep(directory: Path, signed: SignedAccessRequest, documents: Mapping[str, tuple[Evidence, bytes]]) -> None:
    """Write a request and its documents down before they are sent."""
    place = directory / DOCUMENTS
    try:
        if documents:
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(mode=_PRIVATE)
            for code, (_, content) in documents.items():
                (place / code).write_bytes(content)
        temporary = directory / f".{REQUEST_FILE}"
        temporary.write_bytes(signed.to_bytes())
        temporary.replace(directory / REQUEST_FILE)
    except OSError as error:
        raise LocalFault(f"the request cannot be written down in {directory}: {error.strerror}") from error


def kept(directory: Path) -> SignedAccessRequest | None:
    """The request that was written down last, if there is one."""
    try:
        return SignedAccessRequest.from_bytes((directory / REQUEST_FILE).read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LocalFault(f"the last request cannot be read: {error.strerror}") from error


def again(last: AccessRequest, key: VerifyKey, replaces: VerifyKey | None) -> AccessRequest:
    """The same application for another key, issued now."""
    return replace(last, analyst=key, replaces=replaces, issued_at=now_ms(), nonce=os.urandom(NONCE_BYTES))


def send(client: Client, directory: Path, signed: SignedAccessRequest) -> list[Map]:
    """Send a request that was written down, and its documents, to all owners.

    Returns:
        For each party how the request stands there: `request`, or `error` and `message`; `documents` that are missing.
    """
    answer = client.call("mpc.v1.AccessRequest", {"request": signed.to_bytes()})
    missing: dict[object, list[str]] = {}
    for document in signed.request.evidence:
        try:
            content = (directory / DOCUMENTS / document.code).read_bytes()
        except OSError as error:
            raise LocalFault(f"the document {document.code} cannot be read again: {error.strerror}") from error
        if Evidence.of(document.code, document.name, content) != document:
            raise RequestInvalid(f"the document {document.code} has changed since the request was signed; ask anew")
        for party in _send_document(client, signed.request.digest(), document.code, content):
            if party.get("state") != "whole":
                missing.setdefault(party.get("party"), []).append(document.code)
    rows = _parties(answer)
    for row in rows:
        if row.get("request") == "pending":
            row["documents_missing"] = [*missing.get(row.get("party"), [])]
    return rows


def _send_document(client: Client, digest: bytes, code: str, content: bytes) -> list[Map]:
    rows: list[Map] = []
    for place, part in _parts(content):
        answer = client.call("mpc.v1.AccessEvidence", {"digest": digest, "code": code, "place": place, "part": part})
        rows = _parties(answer)
    return rows


def _parts(content: bytes) -> Iterator[tuple[int, bytes]]:
    size = limits.EVIDENCE_CHUNK_BYTES_MAX
    for place in range(0, len(content), size):
        yield place, content[place : place + size]


def standing(client: Client, profile: Profile, key: SigningKey | None = None) -> list[Map]:
    """How the analyst stands at every party, asked with the profile's key or another of theirs."""
    return _parties(client.call("mpc.v1.AccessStatus", {"inquiry": inquiry(profile, "access", key=key)}))


def inquiry(profile: Profile, kind: str, subject: str = "", key: SigningKey | None = None) -> bytes:
    """A signed inquiry of the profile's analyst, issued now."""
    signer = profile.signing_key if key is None else key
    return Inquiry(kind, subject, signer.public, profile.consortium, now_ms()).signed(signer)


def _parties(answer: Map) -> list[Map]:
    rows = answer.get("parties")
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
