"""The domain `money` of the local API, answered (layer 13): statements from this party's own receipts.

Other parties are told, and tell, only about sessions in which both took part: a statement that crosses the network
holds no other receipt, charge or fee.
"""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, Final, cast

from mpcd import limits
from mpcd.api.types import Caller, Map
from mpcd.canonical import Value
from mpcd.errors import MpcdError, NotFound, RequestInvalid
from mpcd.governance import entries, money, statement
from mpcd.governance.money import MoneyError
from mpcd.governance.price import Month
from mpcd.governance.receipt import Receipt, SignedReceipt
from mpcd.governance.reconcile import reconcile
from mpcd.governance.statement import Correction, Settled, Standing, Statement
from mpcd.identity import VerifyKey
from mpcd.ids import PartyId, SessionId
from mpcd.store import licences, receipts
from mpcd.store.ledger import Append

if TYPE_CHECKING:
    from mpcd.daemon.node import Node

STATEMENT: Final = "money.statement"
CORRECTION: Final = "money.correction"
Reply = dict[str, object]


class MoneyDomain:
    """Does what `api/domains/money.py` lists, a method a verb."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._me = node.config.party
        roster = node.roster
        self._keys = {party.id: VerifyKey.from_text(party.signing_key) for party in roster.parties}
        node.questions.handle(STATEMENT, self._asked_statement)
        node.questions.handle(CORRECTION, self._asked_correction)

    # ------------------------------------------------------------------------------------------ verbs

    async def statement(self, _caller: Caller, params: Map) -> Map:
        """This party's statement of a month."""
        return (await self._statement(_month(params["month"]))).to_value()

    async def compare(self, _caller: Caller, params: Map) -> Map:
        """Where the other parties' statements of a month differ from ours."""
        month = _month(params["month"])
        replies = await self._node.ask_peers(STATEMENT, {"month": str(month)})
        compared: list[Value] = []
        for party, reply in sorted(replies.items()):
            found: Map = {"party": int(party), "error": "", "differences": []}
            try:
                if isinstance(reply, MpcdError):
                    raise reply
                mine = await self._statement(month, party)
                theirs = Statement.from_value(cast("Value", reply.get("statement")))
                found["receipts"] = len(theirs.receipts)
                found["differences"] = cast("list[Value]", reconcile(mine, theirs))
            except MpcdError as error:
                found["error"] = str(error)
            compared.append(found)
        return {"month": str(month), "parties": compared}

    async def correct(self, _caller: Caller, params: Map) -> Map:
        """Sign a correction of one licence's month, keep it, and give it to every other party."""
        month, currency = _month(params["month"]), cast("str", params["currency"])
        licence = await self._licence(cast("str", params["licence"]))
        written = cast("str", params["amount"])
        try:
            minor = -money.parse(written[1:], currency) if written.startswith("-") else money.parse(written, currency)
        except MoneyError as error:
            raise RequestInvalid(str(error)) from error
        await self._check_correction(licence, month, currency, minor)
        made = Correction.make(
            self._me,
            self._node.config.signing_key.signing_key(),
            licence=licence,
            month=month,
            currency=currency,
            minor=minor,
            reason=cast("str", params["reason"]),
            at=int(time.time() * 1000),
        )
        await self._keep(made)
        replies = await self._node.ask_peers(CORRECTION, {"correction": made.to_bytes()})
        away = [int(party) for party, reply in replies.items() if isinstance(reply, MpcdError)]
        return {
            "licence": licence,
            "month": str(month),
            "minor": minor,
            "amount": money.amount(minor, currency),
            "not_told": cast("list[Value]", away),
        }

    async def _check_correction(self, licence: bytes, month: Month, currency: str, minor: int) -> None:
        """Raise `RequestInvalid` for one that does not fit the licence, or was signed before."""
        made = await self._statement(month)
        deed = await self._node.journal.read(lambda connection: licences.deed(connection, licence))
        if deed is None or self._me not in deed.agreement.offer.owners:
            raise RequestInvalid(f"licence {licence.hex()[:16]} is none of this party's own")
        problem = statement.correction_problem(deed, made, self._me, month, currency, minor)
        if problem is not None:
            raise RequestInvalid(problem)

    async def receipt(self, _caller: Caller, params: Map) -> Map:
        """The receipt of one session, whose id is as good as a capability: 32 bytes that nobody chose."""
        session = SessionId(cast("bytes", params["session"]))
        signed = await self._node.journal.read(lambda connection: receipts.of_session(connection, session))
        if signed is None:
            raise NotFound("this party holds no receipt of that session")
        return {"receipt": signed}

    # ------------------------------------------------------------------------------------------ from other parties

    async def _asked_statement(self, party: PartyId, payload: Reply) -> Reply:
        own = await self._statement(_month(payload.get("month")), party)
        return {"statement": own.to_value()}

    async def _asked_correction(self, party: PartyId, payload: Reply) -> Reply:
        data = payload.get("correction")
        if not isinstance(data, bytes) or len(data) > limits.ATTACHMENTS_BYTES_MAX:
            raise RequestInvalid("this is no correction")
        made = Correction.from_bytes(data)
        if made.party != party:
            raise RequestInvalid("a party corrects its own prices alone")
        made.verify(self._keys[party])
        await self._keep(made)
        return {}

    # ------------------------------------------------------------------------------------------ inside

    async def _statement(self, month: Month, shared_with: PartyId | None = None) -> Statement:
        me, consortium, keys = self._me, self._node.roster.consortium, self._keys

        def work(connection: sqlite3.Connection) -> Statement:
            rows = receipts.between(connection, month.start_ms, month.end_ms)
            settled = [_settled(signed, state) for signed, state in rows]
            fixes = [Correction.from_bytes(data) for data in receipts.corrections(connection, str(month))]
            # What not all owners of a pool hold is in force for nobody, and nothing is owed under it.
            deeds = list(filter(licences.in_force, licences.deeds(connection, ending_after=month.start_ms)))
            return statement.make(me, consortium, month, settled, deeds, fixes, keys, shared_with=shared_with)

        # Apart: a busy month has thousands of signatures to check, and no session should wait for that.
        return await self._node.journal.read(work, apart=True)

    async def _keep(self, made: Correction) -> None:
        entry = entries.noted(
            "receipt_corrected",
            by=f"party {made.party}",
            about=f"licence {made.licence.hex()[:16]}, {made.month}",
            digest=made.licence,
            reason=made.reason,
            details={"currency": made.currency, "minor": made.minor},
        )

        def work(connection: sqlite3.Connection, append: Append) -> None:
            if receipts.insert_correction(connection, str(made.month), made.at, made.to_bytes()):
                append(entry)

        await self._node.journal.write(work)

    async def _licence(self, named: str) -> bytes:
        """The digest of the one licence of ours whose digest begins with `named`, in hexadecimal."""
        return await self._node.journal.read(lambda connection: licences.named(connection, "licence", named))


def _settled(signed: bytes, state: str) -> Settled:
    whole = SignedReceipt.from_bytes(signed)
    standing = cast("Standing", state if state in {"recorded", "withheld"} else "released")
    return Settled(whole, Receipt.from_bytes(whole.receipt), standing)


def _month(written: object) -> Month:
    try:
        return Month.parse(cast("str", written))
    except (TypeError, ValueError) as error:
        raise RequestInvalid(str(error)) from error
