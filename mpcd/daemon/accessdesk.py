"""Who asked this owner for access, and who has it (layer 13).

The desk verifies what arrives, whether a local analyst brings it or another party passes it on, and keeps the book of
accepted analysts in memory as the store has it; the owner's decisions read it there (`LivePolicy.book`).  A decision is
durable before the book changes.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

from mpcd.daemon.journal import StoreJournal
from mpcd.daemon.owner import LivePolicy
from mpcd.errors import NotFound
from mpcd.governance.access import Access, SignedAccessRequest, Terms
from mpcd.identity import VerifyKey
from mpcd.store import access
from mpcd.store.access import PartState, RequestRow, State


class AccessDesk:
    """One owner's requests and entries.

    Args:
        journal: the way to the store.
        policy: whose book the desk keeps.
        consortium: its id in the roster.
        utc_seconds: the clock.
        revoked: called with each key whose access has ended, to end what runs for it.
    """

    def __init__(
        self,
        journal: StoreJournal,
        policy: LivePolicy,
        consortium: str,
        utc_seconds: Callable[[], float],
        revoked: Callable[[VerifyKey], None],
    ) -> None:
        self._journal = journal
        self._policy = policy
        self._consortium = consortium
        self._utc_seconds = utc_seconds
        self._revoked = revoked

    @property
    def now(self) -> int:
        """Milliseconds since 1970, UTC."""
        return int(self._utc_seconds() * 1000)

    async def load(self) -> None:
        """Read the book from the store."""
        self._policy.book = await self._journal.read(access.book)

    # ------------------------------------------------------------------------------------------ from analysts

    async def take(self, signed: bytes, via: str) -> RequestRow:
        """Verify a request and keep it.

        Raises:
            RequestInvalid: it does not verify.
            Busy: too many wait.
        """
        request, now = SignedAccessRequest.from_bytes(signed), self.now
        request.verify(now, self._consortium)
        return await self._journal.write(lambda c, append: access.receive(c, append, request, via, now))

    async def take_part(self, digest: bytes, code: str, place: int, part: bytes) -> PartState:
        """Keep the next part of a document; errors as of `store.access.add_part`."""
        return await self._journal.write(lambda c, _: access.add_part(c, digest, code, place, part))

    async def standing(self, key: VerifyKey) -> dict[str, object]:
        """What this owner tells the analyst with `key` of themselves: never who else there is."""
        row = await self._journal.read(lambda c: access.latest(c, key))
        entry = self._policy.book.get(key, self.now)
        in_file = self._policy.policy.accepted(key) is not None
        waiting = [] if row is None or row.state != "pending" else await self._missing(row)
        return {
            "accepted": entry is not None or in_file,
            "until": None if in_file or entry is None else entry.until,
            "rate_class": "" if entry is None else entry.rate_class,
            "evidence": [] if entry is None else sorted(entry.evidence),
            "request": "" if row is None else row.state,
            "digest": b"" if row is None else row.digest,
            "reason": "" if row is None else row.reason,
            "documents_missing": waiting,
        }

    async def _missing(self, row: RequestRow) -> list[str]:
        held = await self._journal.read(lambda c: access.held(c, row))
        return [document.code for document in row.signed.request.evidence if document.code not in held]

    # ------------------------------------------------------------------------------------------ of the owner

    async def requests(self, state: State | None) -> list[tuple[RequestRow, tuple[str, ...]]]:
        """Requests with the codes of the documents that are here."""
        return await self._journal.read(lambda c: [(row, access.held(c, row)) for row in access.requests(c, state)])

    async def find(self, name: str) -> RequestRow:
        """The pending request that `name` names: the beginning of its digest, a key, or a fingerprint.

        Raises:
            NotFound: none, or several.
        """
        rows = await self._journal.read(lambda c: access.requests(c, "pending"))
        found = [row for row in rows if _names(name, row.digest, row.signed.request.analyst)]
        if not found:
            every = await self._journal.read(access.requests)
            over = [
                row for row in every if row.state != "pending" and _names(name, row.digest, row.signed.request.analyst)
            ]
            if over:
                raise NotFound(f"that request is decided already: {over[-1].state} on {_day(over[-1].changed_at)}")
        if len(found) != 1:
            raise NotFound(
                f"{'no' if not found else 'more than one'} waiting request has a digest or key that starts with "
                f"`{name}`; `mpcctl analyst requests` lists them"
            )
        return found[0]

    def find_entry(self, name: str) -> Access:
        """The entry in the book that `name` names, as `find`."""
        found = [entry for entry in self._policy.book.entries() if _names(name, entry.request_digest, entry.key)]
        if len(found) != 1:
            raise NotFound(
                f"{'no' if not found else 'more than one'} accepted analyst has a key that starts with `{name}`; "
                "`mpcctl analyst list` lists them; those of the policy file are removed there"
            )
        return found[0]

    def entries(self) -> tuple[Access, ...]:
        """The book."""
        return self._policy.book.entries()

    async def document(self, digest: bytes, code: str) -> bytes:
        """A document as far as it is here."""
        return await self._journal.read(lambda c: access.evidence(c, digest, code))

    async def grant(self, row: RequestRow, terms: Terms, by: str) -> Access:
        """Accept; errors as of `store.access.grant`."""
        now = self.now
        entry = await self._journal.write(lambda c, append: access.grant(c, append, row, terms, by, now))
        self._policy.book = self._policy.book.with_entry(entry)
        if entry.replaces is not None:
            self._revoked(entry.replaces)
        return entry

    async def refuse(self, row: RequestRow, reason: str, by: str) -> None:
        """Say no."""
        now = self.now
        await self._journal.write(lambda c, append: access.refuse(c, append, row, reason, by, now))

    async def end(self, key: VerifyKey, reason: str, by: str) -> Access:
        """End an analyst's access, at once: what runs for them and is not recorded yet ends too."""
        now = self.now
        entry = await self._journal.write(lambda c, append: access.end(c, append, key, by, reason, now))
        self._policy.book = self._policy.book.without(key)
        self._revoked(key)
        return entry


def _names(name: str, digest: bytes, key: VerifyKey) -> bool:
    wanted = name.strip()
    if len(wanted) < _NAME_CHARACTERS_MIN:
        return False
    return digest.hex().startswith(wanted.lower()) or str(key) == wanted or key.fingerprint().startswith(wanted)


_NAME_CHARACTERS_MIN = 5


def _day(milliseconds: int) -> str:
    return dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC).strftime("%Y-%m-%d")
