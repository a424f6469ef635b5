"""This owner's offers and licences: made, signed together, accepted, asked about, ended (layer 13).

Offers and licences stand in the store alone; what is decoded is remembered here, since agreements never change.  Each
owner keeps and enforces its own.  What belongs to several (a pool's offer, its licences, their end) goes to the others
as questions between parties and is signed by whoever says it: a party that was away is told when the command is given
again, and until then its own books hold.

*Ending a licence* (`revoke`).  From the first moment no decision is made on it; then whatever runs on it and is not
recorded ends; then the revocation is durable; then what had decided in between ends too.  A session whose second commit
was on its way stays, and its entry precedes the revocation's: its release is owed.
"""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from mpcd import limits
from mpcd.daemon.journal import StoreJournal
from mpcd.daemon.owner import LivePolicy
from mpcd.errors import DataInvalid, LicenceInvalid, NotAuthorised, NotFound, Refusal, Refused
from mpcd.governance.asked import Asked, Decision
from mpcd.governance.cover import Held, Obligation, Spent, obligations
from mpcd.governance.decision import Part
from mpcd.governance.document import Section
from mpcd.governance.licence import Agreement, Deed, Revocation
from mpcd.governance.offer import DUTY_CODES, Offer, SignedOffer
from mpcd.governance.offercheck import located, problems
from mpcd.governance.offerfile import Draft, Frame, parse
from mpcd.governance.priced import licensed
from mpcd.governance.signed import NONCE_BYTES
from mpcd.identity import Entropy, SigningKey, VerifyKey
from mpcd.identity.request import SignedRequest
from mpcd.ids import PartyId
from mpcd.roster import Roster
from mpcd.store import licences
from mpcd.store.ledger import Append
from mpcd.store.licences import LicenceRow, OfferRow

EndSessions = Callable[[Callable[[SignedRequest], bool], str], int]
"""Ends what is meant and not recorded; returns how much that was."""
DataVersions = Callable[[tuple[str, ...]], Mapping[str, str]]
_ANALYST_END_MS_MAX: Final = 3_600_000
_ACCEPTANCE_MS_MAX: Final = 86_400_000
_DECODED_MAX: Final = 4096
"""Agreements that are remembered; some kilobytes each."""


class LicenceDesk:
    """One owner's offers and licences.

    Args:
        journal: the way to the store.
        policy: whom this owner accepts, and under which conditions its tables stand.
        me: this owner.
        roster: for names, tables and keys.
        key: this party's signing key.
        data_versions: of our published tables; raises `DataInvalid`.
        end_sessions: ends what runs here and is not recorded, where a request is meant.
        utc_seconds: the clock.
        entropy: for nonces.
    """

    def __init__(
        self,
        journal: StoreJournal,
        policy: LivePolicy,
        me: PartyId,
        roster: Roster,
        key: SigningKey,
        data_versions: DataVersions,
        end_sessions: EndSessions,
        utc_seconds: Callable[[], float],
        entropy: Entropy,
    ) -> None:
        self.me = me
        self.keys = {party.id: VerifyKey.from_text(party.signing_key) for party in roster.parties}
        self._journal = journal
        self._policy = policy
        self._roster = roster
        self._key = key
        self._data_versions = data_versions
        self._end_sessions = end_sessions
        self._utc_seconds = utc_seconds
        self._entropy = entropy
        self._decoded: OrderedDict[bytes, Agreement] = OrderedDict()
        self._ending: set[bytes] = set()

    @property
    def now(self) -> int:
        """Milliseconds since 1970, UTC."""
        return int(self._utc_seconds() * 1000)

    # ------------------------------------------------------------------------------------------ deciding

    def part(self, connection: sqlite3.Connection, rho: int | None = None) -> Part:
        """What our licences say to a request, read in the caller's transaction.

        Args:
            connection: to read.
            rho: what the request takes of a privacy budget, in units of 10^-12.
        """

        def say(asked: Asked) -> Decision:
            rows = licences.held(connection, asked.analyst.raw)
            held = [self._held(connection, row) for row in rows if row.digest not in self._ending]
            return licensed(held, asked, licences.spending(connection), self.keys, rho=rho)

        return say

    def _held(self, connection: sqlite3.Connection, row: LicenceRow) -> Held:
        """The licence in a row; called in the journal's thread alone."""
        known = self._decoded.get(row.digest)
        if known is None:
            known = self._decoded[row.digest] = licences.agreement(connection, row.digest)
            if len(self._decoded) > _DECODED_MAX:
                self._decoded.popitem(last=False)
        else:
            self._decoded.move_to_end(row.digest)
        return Held(row.digest, known, row.revoked_at, row.countersigned or not known.offer.pool)

    # ------------------------------------------------------------------------------------------ offers of ours

    def draft(self, text: str, path: str, legal_digest: bytes | None) -> Draft:
        """What a steward's file offers.

        Raises:
            ConfigurationInvalid: with file and line.
        """
        nonce = self._entropy(NONCE_BYTES)
        frame = Frame(self._roster.consortium, self.me, nonce, self.now, legal_digest)
        return parse(text, path, frame)

    def versions(self, tables: tuple[str, ...]) -> dict[str, str]:
        """Of those of `tables` to which we give rows."""
        return dict(self._data_versions(tuple(table for table in tables if self._gives(table))))

    def _gives(self, table: str) -> bool:
        return any(known.name == table and self.me in known.owners for known in self._roster.tables)

    async def sign(self, offer: Offer, signatures: tuple[tuple[PartyId, bytes], ...] = ()) -> OfferRow:
        """Put our signature under an offer and keep it.

        Raises:
            LicenceInvalid: we cannot offer this.
        """
        self.check(offer)
        signed = SignedOffer(offer, (offer.sign(self.me, self._key),)).with_signatures(signatures)
        signed.verify(self.keys)
        return await self._put(signed, licences.OPERATOR)

    async def sign_named(self, name: str) -> OfferRow:
        """Sign a pool's offer that waits here for us; raises as `sign`."""
        row = await self.offer_named(name)
        if row.state == "withdrawn":
            raise NotFound("this offer was withdrawn here")
        return await self.sign(row.signed.offer, row.signed.signatures)

    def check(self, offer: Offer, document: Section | None = None) -> None:
        """Whether we may offer this: our consortium, what our policy publishes, no barred use.

        Args:
            offer: ours, or a pool's of which we are.
            document: our file that says so, for lines.

        Raises:
            ConfigurationInvalid: with file and line, where there is a file.
            LicenceInvalid: else.
        """
        self._check_parties(offer)
        if len(offer.to_bytes()) > limits.OFFER_BYTES_MAX:
            raise LicenceInvalid(f"an offer has at most {limits.OFFER_BYTES_MAX} bytes; name fewer columns or analysts")
        types = {one.name: {column.name: column.type for column in one.columns} for one in self._roster.tables}
        found = problems(offer, self._policy.policy, types)
        if found and document is not None:
            raise located(found, document)
        if found:
            raise LicenceInvalid("; ".join(one.message for one in found))
        for table in offer.tables:
            owners = self._roster.table(table).owners
            if not offer.pool:
                continue
            if set(owners) != set(offer.owners):
                named = ", ".join(str(owner) for owner in owners)
                raise LicenceInvalid(f"a pool's offer is made by all owners of its tables: `{table}` has {named}")
        if not offer.newer_versions:
            ours = {table: version for party, table, version in offer.versions if party == self.me}
            if ours != self.versions(offer.tables):
                raise LicenceInvalid("the offer names another version of our data than the one that is published now")

    def _check_parties(self, offer: Offer) -> None:
        if offer.consortium != self._roster.consortium:
            raise LicenceInvalid(f"the offer is of another consortium than `{self._roster.consortium}`")
        if self.me not in offer.owners:
            raise LicenceInvalid("the offer is not ours")

    async def take(self, data: bytes, party: PartyId) -> OfferRow:
        """Keep a pool's offer that another owner sends, with the signatures that it has.

        Raises:
            LicenceInvalid: not a pool of ours, or not signed by whom it says.
        """
        signed = SignedOffer.from_bytes(data)
        self._check_parties(signed.offer)
        if len(signed.offer.to_bytes()) > limits.OFFER_BYTES_MAX:
            raise LicenceInvalid("the offer is too long")
        if not signed.offer.pool or party not in signed.offer.owners or not signed.signatures:
            raise LicenceInvalid("only an owner of a pool sends its offer to the others")
        signed.verify(self.keys)
        return await self._put(signed, f"party {party}")

    async def _put(self, signed: SignedOffer, by: str) -> OfferRow:
        def work(connection: sqlite3.Connection, append: Append) -> OfferRow:
            return licences.put_offer(connection, append, signed, by=by, at=self.now)

        return await self._journal.write(work)

    async def offer_named(self, name: str) -> OfferRow:
        """One offer as it stands here."""
        return await self._journal.read(partial(_offer_named, name=name))

    async def withdraw(self, name: str) -> Offer:
        """Let nobody accept an offer any more."""

        def work(connection: sqlite3.Connection, append: Append) -> Offer:
            digest = licences.named(connection, "offer", name)
            licences.withdraw_offer(connection, append, digest, at=self.now)
            return _offer_named(connection, digest.hex()).signed.offer

        return await self._journal.write(work)

    async def withdrawn_by(self, digest: bytes, party: PartyId) -> bool:
        """Another owner of a pool has withdrawn its offer; False if it never came here.

        Raises:
            NotAuthorised: the offer is not that party's.
        """

        def work(connection: sqlite3.Connection, append: Append) -> bool:
            known = licences.find_offer(connection, digest)
            if known is None:
                return False
            if party not in known.signed.offer.owners:
                raise NotAuthorised("a party withdraws its own offers")
            licences.withdraw_offer(connection, append, digest, at=self.now, by=f"party {party}")
            return True

        return await self._journal.write(work)

    def outdated(self, offer: Offer) -> bool:
        """Whether it covers the data of its time alone, and we have published newer data since: nobody could use it."""
        if offer.newer_versions:
            return False
        named = {table: version for party, table, version in offer.versions if party == self.me}
        try:
            return named != self.versions(offer.tables)
        except DataInvalid:  # nothing is published any more
            return True

    async def bound_to_others(self, table: str, version: str) -> tuple[list[Deed], list[Offer]]:
        """Licences in force and open offers that cover the data of their time alone, and it is not `version`."""

        def stranded(offer: Offer) -> bool:
            now = {version for party, name, version in offer.versions if (party, name) == (self.me, table)}
            return not offer.newer_versions and table in offer.tables and now != {version}

        def work(connection: sqlite3.Connection) -> tuple[list[Deed], list[Offer]]:
            deeds = [one for one in licences.deeds(connection, ending_after=self.now) if licences.in_force(one)]
            rows = licences.offers(connection, ("pending", "open"), after=self.now)
            return (
                [one for one in deeds if stranded(one.agreement.offer) and not self.outdated(one.agreement.offer)],
                [
                    row.signed.offer
                    for row in rows
                    if stranded(row.signed.offer) and not self.outdated(row.signed.offer)
                ],
            )

        return await self._journal.read(work, apart=True)

    async def offered(self) -> list[OfferRow]:
        """Every offer here that is not past."""
        states: tuple[licences.OfferState, ...] = ("pending", "open", "withdrawn")
        return await self._journal.read(partial(licences.offers, states=states, after=self.now))

    # ------------------------------------------------------------------------------------------ for analysts

    async def open_for(self, analyst: VerifyKey) -> list[SignedOffer]:
        """What we offer this analyst; nothing to whom we do not accept, nor over tables that do not exist for them."""
        known = self._policy.accepted(analyst, self.now)
        if known is None:
            return []
        tables = set(self._policy.policy.tables)
        visible = tables if known.tables is None else tables & known.tables
        rows = await self._journal.read(partial(licences.offers, states=("open",), after=self.now))
        return [
            row.signed
            for row in rows
            if row.signed.offer.open_to(analyst.raw)
            and set(row.signed.offer.tables) <= visible
            and not self.outdated(row.signed.offer)
        ]

    async def accept(self, data: bytes, by: str) -> tuple[PartyId, bytes]:
        """Take in an agreement and countersign it; the same one again gives the same signature.

        Raises:
            LicenceInvalid: it does not verify, or its time is not now.
            NotFound: no such offer is open for this analyst.
            Refused: the analyst is not entitled to the rate or the use.
        """
        agreement = Agreement.from_bytes(data)
        agreement.verify(self.keys)
        self._check_parties(agreement.offer)
        if await self._journal.read(partial(licences.deed, digest=agreement.digest)) is None:
            await self._check_new(agreement)

            def work(connection: sqlite3.Connection, append: Append) -> None:
                licences.accept(connection, append, agreement, by=by, at=self.now)

            await self._journal.write(work)
        return agreement.countersign(self.me, self._key)

    async def complete(self, data: bytes, by: str) -> None:
        """Take in what all owners of a pool say: that they hold a licence.

        Raises:
            NotFound: no such licence here.
            LicenceInvalid: it does not verify, or comes too late.
        """
        whole = Deed.from_bytes(data)
        whole.verify(self.keys)

        def work(connection: sqlite3.Connection, append: Append) -> None:
            licences.complete(connection, append, whole, by=by, at=self.now)

        await self._journal.write(work)

    async def _check_new(self, agreement: Agreement) -> None:
        analyst = VerifyKey(agreement.analyst)
        if agreement.offer.digest not in {one.offer.digest for one in await self.open_for(analyst)}:
            raise NotFound("no such offer is open for you here; it may have been withdrawn")
        # An owner of a pool that was away gets the same acceptance later.
        early = agreement.begins_at - self.now > limits.CLOCK_SKEW_SECONDS_MAX * 1000
        if early or agreement.begins_at < self.now - _ACCEPTANCE_MS_MAX:
            raise LicenceInvalid("this acceptance is too old, or of the future; sign it again, or set your clock")
        known = self._policy.accepted(analyst, self.now)
        assert known is not None
        reasons = []
        if not agreement.offer.commercial and known.facts.commercial is not False:
            reasons.append("the offer is for non-commercial use, and this owner does not know yours to be that")
        if agreement.acceptance.rate_class == "reduced" and known.facts.rate_class != "reduced":
            reasons.append(
                "this owner has not found you entitled to the reduced rate; ask it, or accept the standard one"
            )
        if reasons:
            name = str(self.me)
            raise Refused(tuple(Refusal(self.me, "licence", name, f"party {name}: {why}") for why in reasons))

    async def of_analyst(self, analyst: VerifyKey) -> list[tuple[Deed, int]]:
        """An analyst's licences here, those that end last first, countersigned, with the queries they were used for."""

        def work(connection: sqlite3.Connection) -> list[tuple[Deed, int]]:
            spent = licences.spending(connection)
            found = (licences.deed(connection, row.digest) for row in licences.held(connection, analyst.raw))
            return [(self._countersigned(deed), _used(deed, spent)) for deed in found if deed is not None]

        return await self._journal.read(work)

    def _countersigned(self, deed: Deed) -> Deed:
        party, signature = deed.agreement.countersign(self.me, self._key)
        signatures = tuple(sorted({**dict(deed.countersignatures), party: signature}.items()))
        return Deed(deed.agreement, signatures, deed.revocation)

    # ------------------------------------------------------------------------------------------ ending

    async def revoke(self, name: str, reason: str) -> Revocation:
        """End a licence as its owner, now.

        Raises:
            NotFound: no such licence here.
            LicenceInvalid: the reason is no printable text, or none.
        """
        if not reason.strip():
            raise LicenceInvalid("say why; the analyst is told, and it goes on the record")
        digest = await self._journal.read(partial(licences.named, table="licence", name=name))
        deed = await self._deed(digest)
        if deed.revocation is not None:
            return deed.revocation
        now = max(self.now, deed.agreement.begins_at)
        revocation = Revocation.make(digest, self.me, self._key, now_ms=now, reason=reason)
        await self._end(deed.agreement, revocation)
        return revocation

    async def end(self, data: bytes, party: PartyId | None = None) -> None:
        """Take in a revocation that an analyst or another owner of a pool has signed.

        Args:
            data: canonical.
            party: who sends it, if a party does.

        Raises:
            NotFound: no such licence here.
            LicenceInvalid: not signed by somebody who may, or not of now.
        """
        revocation = Revocation.from_bytes(data)
        deed = await self._deed(revocation.licence)
        revocation.verify(deed.agreement, self.keys)
        if party is not None and revocation.party not in {party, None}:
            raise NotAuthorised("a party passes on its own revocations, and analysts'")
        if revocation.at > self.now + limits.CLOCK_SKEW_SECONDS_MAX * 1000:
            raise LicenceInvalid("the revocation is of the future; set the clock of the host that signed it")
        if revocation.party is None:
            await self._check_holder(deed.agreement, revocation)
        if revocation.party is None and revocation.at < self.now - _ANALYST_END_MS_MAX:
            # Fees go by days: nobody ends a licence in the past.
            raise LicenceInvalid("the end of a licence is sent when it is signed; sign it again")
        await self._end(deed.agreement, revocation)

    async def _check_holder(self, agreement: Agreement, revocation: Revocation) -> None:
        """Raise `LicenceInvalid` unless it is the analyst's key of now that ends the licence."""
        holder = await self.holder(agreement.digest)
        if revocation.signer(agreement) == holder:
            return
        if holder == agreement.analyst:
            raise LicenceInvalid(
                "this owner does not know your key to be that of the one who accepted the licence; let it accept the "
                "new key first (mpcctl analyst status)"
            )
        raise LicenceInvalid("another key has taken the place of this one here; end the licence with that key")

    async def holder(self, digest: bytes) -> bytes:
        """The raw key of the analyst whose licence it is now."""
        found = await self._journal.read(partial(licences.holder, digest=digest))
        if found is None:
            raise NotFound("there is no such licence here")
        return found

    async def _deed(self, digest: bytes) -> Deed:
        deed = await self._journal.read(partial(licences.deed, digest=digest))
        if deed is None:
            raise NotFound("there is no such licence here")
        return deed

    async def _end(self, agreement: Agreement, revocation: Revocation) -> None:
        """Stop everything that runs on the licence, durably."""

        def work(connection: sqlite3.Connection, append: Append) -> bool:
            return licences.revoke(connection, append, revocation)

        self._ending.add(revocation.licence)
        try:
            await self._stop(agreement)
            await self._journal.write(work)
        finally:
            self._ending.discard(revocation.licence)
        await self._stop(agreement)

    async def _stop(self, agreement: Agreement) -> None:
        """End the holder's sessions but for those that are booked on other licences alone."""
        holder, other = await self._journal.read(partial(licences.running_elsewhere, licence=agreement.digest))

        def concerns(signed: SignedRequest) -> bool:
            return signed.request.analyst.raw == holder and signed.digest() not in other

        self._end_sessions(concerns, "its licence was revoked")

    # ------------------------------------------------------------------------------------------ of the owner

    async def licences(self, *, ended: bool) -> list[tuple[Deed, int]]:
        """Licences with the queries they were used for: those in force, or all."""

        def work(connection: sqlite3.Connection) -> list[tuple[Deed, int]]:
            spent = licences.spending(connection)
            after = 0 if ended else self.now
            found = licences.deeds(connection, ending_after=after, count=limits.API_LICENCES_MAX)
            return [(deed, _used(deed, spent)) for deed in found]

        return await self._journal.read(work)

    async def held_by(self, key: VerifyKey) -> list[Deed]:
        """The licences of an analyst that are not over."""
        return await self._journal.read(partial(licences.deeds, analyst=key.raw, ending_after=self.now))

    async def obligations(self) -> list[Obligation]:
        """What licensees owe besides money, the earliest first; what is over or met long ago is left out."""

        def work(connection: sqlite3.Connection) -> list[Obligation]:
            found = []
            for deed in filter(licences.in_force, licences.deeds(connection)):
                revoked_at = None if deed.revocation is None else deed.revocation.at
                held = Held(deed.agreement.digest, deed.agreement, revoked_at)
                found += obligations(held, licences.met(connection, held.digest), self.now)
            return sorted((one for one in found if one.state not in {"met", "over"}), key=lambda one: one.due_at)

        return await self._journal.read(work, apart=True)

    async def meet(self, name: str, code: str, evidence: bytes | None) -> None:
        """Note that a duty is fulfilled."""
        if code not in DUTY_CODES:
            raise NotFound(f"there is no duty {code[:16]}; known: {', '.join(DUTY_CODES)}")

        def work(connection: sqlite3.Connection, append: Append) -> None:
            digest = licences.named(connection, "licence", name)
            licences.meet(connection, append, digest, code, evidence, at=self.now)

        await self._journal.write(work)

    async def deed_named(self, name: str) -> Deed:
        """A licence here, countersigned by us."""
        digest = await self._journal.read(partial(licences.named, table="licence", name=name))
        return self._countersigned(await self._deed(digest))


def _used(deed: Deed, spent: Spent) -> int:
    return spent(Held(deed.agreement.digest, deed.agreement).account("queries"), None)


def _offer_named(connection: sqlite3.Connection, name: str) -> OfferRow:
    row = licences.find_offer(connection, licences.named(connection, "offer", name))
    assert row is not None
    return row
