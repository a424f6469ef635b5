"""Where two parties' statements of one month differ (pure).

Theory of operation.  Two parties compare receipt by receipt, in order of time: the first that only one has, that
differs, or that only one counts, is named, then licences, fees and corrections.  A session that one party recorded and
withheld because the other had stopped before it recorded is no difference.

Fees and corrections are compared for licences whose deeds both hold; a licence of both that only one of them knows is
named: money would be asked under it that the other never agreed to.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from mpcd.errors import RequestInvalid
from mpcd.governance import money
from mpcd.governance.statement import Charge, Correction, FeeDue, Statement, utc
from mpcd.ids import PartyId, SessionId


def reconcile(mine: Statement, theirs: Statement) -> list[str]:
    """Where two parties' statements of one month differ, the first receipt first; empty if they reconcile.

    Receipts of sessions in which only one of the two took part are no difference, nor are those that one withheld and
    the other never recorded.

    Raises:
        RequestInvalid: they are of different months or consortia.
    """
    if (mine.month, mine.consortium) != (theirs.month, theirs.consortium):
        raise RequestInvalid("the statements are of different months or consortia; compare like with like")
    return _receipt_differences(mine, theirs) + _licence_differences(mine, theirs)


def _licence_differences(mine: Statement, theirs: Statement) -> list[str]:
    """Licences of both of which only one knows, and what fees and corrections of such licences come to."""
    both = {mine.party, theirs.party}
    ours, others = {one.licence: one for one in mine.known}, {one.licence: one for one in theirs.known}
    found = []
    for licence in sorted(ours.keys() | others.keys()):
        label, one = f"licence {licence.hex()[:16]}", ours.get(licence) or others[licence]
        if not both <= set(one.owners) and (licence not in ours or licence not in others):
            continue
        if licence not in ours or licence not in others:
            absent = mine.party if licence not in ours else theirs.party
            found.append(f"{label}: party {absent} does not hold it, though it is one of its owners")
        elif ours[licence] != others[licence]:
            found.append(f"{label}: parties {mine.party} and {theirs.party} hold it differently (its end, perhaps)")
    for key in sorted(_besides(mine).keys() | _besides(theirs).keys()):
        party, licence, currency = key
        if licence in ours and licence in others:
            here, there = _besides(mine).get(key, 0), _besides(theirs).get(key, 0)
            if here != there:
                found.append(
                    f"licence {licence.hex()[:16]}, party {party}: fees and corrections come to "
                    f"{money.amount(here, currency)} at party {mine.party}, {money.amount(there, currency)} at party "
                    f"{theirs.party}"
                )
    return found


def _besides(one: Statement) -> dict[tuple[PartyId, bytes, str], int]:
    """Fees and corrections by owner, licence and currency."""
    sums: dict[tuple[PartyId, bytes, str], int] = defaultdict(int)
    items: tuple[FeeDue | Correction, ...] = (*one.fees, *one.corrections)
    for item in items:
        sums[item.party, item.licence, item.currency] += item.minor
    return {key: minor for key, minor in sums.items() if minor}


def _receipt_differences(mine: Statement, theirs: Statement) -> list[str]:
    ours = {row.session: row for row in mine.receipts if theirs.party in row.parties}
    others = {row.session: row for row in theirs.receipts if mine.party in row.parties}
    times = {session: row.at for session, row in (*ours.items(), *others.items())}
    our_charges, their_charges = _by_session(mine.charges), _by_session(theirs.charges)
    found = []
    for session in sorted(times, key=lambda one: (times[one], one)):
        label = f"receipt of session {session.hex()} ({utc(times[session])})"
        here, there = ours.get(session), others.get(session)
        if here is None or there is None:
            held = here or there
            if held is not None and held.standing == "withheld":
                continue
            absent = mine.party if here is None else theirs.party
            found.append(f"{label}: party {absent} does not list it")
        elif (here.name, here.parties) != (there.name, there.parties):
            found.append(f"{label}: parties {mine.party} and {theirs.party} hold different receipts")
        elif here.standing != there.standing:
            found.append(f"{label}: {here.standing} at party {mine.party}, {there.standing} at party {theirs.party}")
        elif our_charges.get(session) != their_charges.get(session):
            found.append(f"{label}: parties {mine.party} and {theirs.party} charge something else for it")
    return found


def _by_session(charges: Iterable[Charge]) -> dict[SessionId, list[Charge]]:
    """What each receipt comes to, in an order that does not depend on who says it."""
    found: dict[SessionId, list[Charge]] = defaultdict(list)
    for charge in sorted(charges, key=lambda one: (one.party, one.licence)):
        found[charge.session].append(charge)
    return found
