"""Budgets as the store keeps them: windows, refunds, and what is booked in one transaction."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator

import pytest

from mpcd.errors import Refusal, Refused
from mpcd.governance.entries import Debit
from mpcd.ids import PartyId, SessionId
from mpcd.store import accounts, schema

OVER = Refusal(PartyId(1), "budget", "t: queries in 30 days", "party 1: the budget is spent")
DAY = 86_400_000


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    opened = sqlite3.connect(":memory:", isolation_level=None)
    schema.migrate(opened)
    yield opened
    opened.close()


def name(number: int) -> SessionId:
    return SessionId(number.to_bytes(32, "big"))


def take(connection: sqlite3.Connection, number: int, at: int, *debits: Debit) -> None:
    """What `commit_agreed` does of it: all or nothing."""
    connection.execute("BEGIN")
    try:
        row = (name(number), number.to_bytes(32, "big"), bytes(32), b"a", at, at)
        connection.execute("INSERT INTO session VALUES (?, 'agreed', ?, ?, ?, ?, ?)", row)
        accounts.debit(connection, name(number), debits, at)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def test_a_window_moves_with_the_time_that_asks(connection: sqlite3.Connection) -> None:
    def month(at: int, amount: int = 1) -> Debit:
        return Debit("q", amount, 3, OVER, at - 30 * DAY)

    for number, at in enumerate((0, 10 * DAY, 20 * DAY)):
        take(connection, number, at, month(at))
    with pytest.raises(Refused):
        take(connection, 3, 30 * DAY, month(30 * DAY))
    assert accounts.spent(connection, month(30 * DAY)) == 3
    take(connection, 4, 30 * DAY + 1, month(30 * DAY + 1))
    assert accounts.spent(connection, month(30 * DAY + 1)) == 3
    assert accounts.spent(connection, Debit("q", 0, None)) == 4
    with pytest.raises(Refused):
        take(connection, 5, 39 * DAY, month(39 * DAY))
    take(connection, 6, 61 * DAY, month(61 * DAY, amount=3))


def test_what_is_given_back_counts_nowhere(connection: sqlite3.Connection) -> None:
    windowed, ever = Debit("w", 5, 9, OVER, 0), Debit("e", 5, 9, OVER)
    take(connection, 1, 100, windowed, ever)
    assert accounts.balances(connection, [windowed, ever]) == {"w": 5, "e": 5}
    for _ in range(2):  # a second time changes nothing
        accounts.refund(connection, name(1))
        assert accounts.balances(connection, [windowed, ever]) == {"w": 0, "e": 0}
    take(connection, 2, 100, Debit("w", 9, 9, OVER, 0), Debit("e", 9, 9, OVER))


def test_each_spent_account_is_named_and_nothing_is_booked(connection: sqlite3.Connection) -> None:
    other = Refusal(PartyId(1), "budget", "rho", "party 1: the privacy budget is spent")
    take(connection, 1, 100, Debit("a", 1, 1, OVER, 0), Debit("b", 1, None))
    with pytest.raises(Refused) as caught:
        take(connection, 2, 100, Debit("b", 1, None), Debit("a", 1, 1, OVER, 0), Debit("c", 2, 1, other))
    assert caught.value.reasons == (OVER, other)
    assert [accounts.spent(connection, Debit(account, 0, None)) for account in "abc"] == [1, 1, 0]


def test_accounts_without_a_limit_are_not_looked_up(connection: sqlite3.Connection) -> None:
    take(connection, 1, 100, Debit("a", 4, None), Debit("b", 2, 9, OVER))
    assert accounts.balances(connection, [Debit("a", 1, None), Debit("b", 1, 9, OVER)]) == {"b": 2}


def test_windows_agree_with_adding_up(connection: sqlite3.Connection) -> None:
    seeded = random.Random(7)
    booked: list[tuple[int, int, bool]] = []
    for number in range(200):
        at, amount = seeded.randrange(1000), seeded.randrange(1, 5)
        take(connection, number, at, Debit("x", amount, None))
        given_back = seeded.random() < 0.2
        if given_back:
            accounts.refund(connection, name(number))
        booked.append((at, amount, given_back))
    for since in range(0, 1001, 50):
        expected = sum(amount for at, amount, given_back in booked if at >= since and not given_back)
        assert accounts.spent(connection, Debit("x", 0, None, None, since)) == expected


def test_a_store_of_the_first_version_learns_when_its_debits_were_made() -> None:
    old = sqlite3.connect(":memory:", isolation_level=None)
    for statement in schema.MIGRATIONS[0]:
        old.execute(statement)
    old.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
    old.execute("PRAGMA user_version = 1")
    old.execute("INSERT INTO session VALUES (?, 'agreed', ?, ?, ?, 500, 700)", (name(1), bytes(32), bytes(32), b"a"))
    old.execute("INSERT INTO account VALUES ('q', 3)")
    old.execute("INSERT INTO debit VALUES (?, 'q', 3, 0)", (name(1),))
    assert schema.migrate(old) == 1
    assert accounts.spent(old, Debit("q", 0, None, None, 500)) == 3
    assert accounts.spent(old, Debit("q", 0, None, None, 501)) == 0
    old.close()
