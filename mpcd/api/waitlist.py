"""An analyst's own list of requests that wait: the signed request and the key that its result is sealed to (layer 12).

One file a request, `requests/<digest>` in the profile's directory, written before the request is submitted, for no
daemon can give the key back.  Whoever has the file can read the result, once there is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from mpcd import canonical, limits
from mpcd.api.private import read_private, write_private
from mpcd.errors import LocalFault, MpcdError, NotFound
from mpcd.identity import IdentityError, ResultKey
from mpcd.identity.request import SignedRequest

DIRECTORY: Final = "requests"
MAGIC: Final = b"mpcd waiting 1\n"
_BYTES_MAX: Final = limits.REQUEST_BYTES_MAX + limits.KEY_FILE_BYTES_MAX


@dataclass(frozen=True, slots=True)
class Entry:
    """One request that was submitted and may wait."""

    request: SignedRequest
    key: bytes
    """Seed of the result key."""

    @property
    def name(self) -> str:
        """Its digest, in hexadecimal."""
        return self.request.digest().hex()

    def result_key(self) -> ResultKey:
        """What opens the result."""
        return ResultKey.from_seed(bytearray(self.key))


class WaitList:
    """The requests of one profile."""

    def __init__(self, profile: Path) -> None:
        self._directory = profile / DIRECTORY

    def keep(self, request: SignedRequest, key: ResultKey) -> None:
        """Write down a request that is about to be submitted; raises `LocalFault`."""
        content = canonical.encode({"request": request.to_bytes(), "key": key.expose_private_bytes()})
        try:
            self._directory.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise LocalFault(f"{self._directory} cannot be made: {error.strerror}") from error
        write_private(self._directory / request.digest().hex(), MAGIC + content)

    def forget(self, digest: bytes) -> None:
        """Its result is fetched, or it came to nothing."""
        try:
            (self._directory / digest.hex()).unlink(missing_ok=True)
        except OSError as error:
            raise LocalFault(f"{self._directory / digest.hex()} cannot be removed: {error.strerror}") from error

    def entries(self) -> Iterator[Entry]:
        """All of them, the oldest first; files that are none are left out."""
        found = []
        for path in self._directory.iterdir() if self._directory.is_dir() else ():
            try:
                found.append(_read(path))
            except MpcdError:
                continue
        yield from sorted(found, key=lambda entry: (entry.request.request.issued_at, entry.name))

    def find(self, beginning: str) -> Entry:
        """The one whose digest begins so; raises `NotFound`."""
        fitting = [entry for entry in self.entries() if entry.name.startswith(beginning.lower())]
        if len(fitting) != 1 or len(beginning) < limits.APPROVAL_NAME_CHARACTERS_MIN:
            problem = "Several requests of yours begin" if len(fitting) > 1 else "No request of yours begins"
            raise NotFound(f"{problem} with `{beginning[:64]}`; `mpcctl requests list` shows them.")
        return fitting[0]


def _read(path: Path) -> Entry:
    content = read_private(path, _BYTES_MAX)
    try:
        fields = canonical.decode(content.removeprefix(MAGIC))
        entry = Entry(
            SignedRequest.from_bytes(cast("bytes", cast("dict[str, object]", fields)["request"])),
            cast("bytes", cast("dict[str, object]", fields)["key"]),
        )
        entry.result_key()
    except (canonical.CanonicalError, IdentityError, KeyError, TypeError) as error:
        raise LocalFault(f"{path} is no request that waits") from error
    return entry
