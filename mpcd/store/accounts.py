"""What sessions have taken from budgets and quotas (shell; functions over a connection, in a caller's transaction).

An account is a name; `account.spent` is all that was ever taken and not given back.  A limit over a period is compared
with the debits of the account since a time, which an index answers without reading older ones.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from mpcd.errors import Refused
from mpcd.governance.entries import Debit
from mpcd.ids import SessionId

TABLES: Final[tuple[str, ...]] = (
    "ALTER TABLE debit ADD COLUMN at_milliseconds INTEGER NOT NULL DEFAULT 0",
    """UPDATE debit SET at_milliseconds =
        (SELECT agreed_milliseconds FROM session WHERE session.session = debit.session)""",
    "CREATE INDEX debit_by_account ON debit (account, at_milliseconds, refunded, amount)",
)


def debit(connection: sqlite3.Connection, session: SessionId, debits: Sequence[Debit], milliseconds: int) -> None:
    """Book what `session` takes, agreed at `milliseconds`.

    Raises:
        Refused: some would pass their limits; every one of them is named, and the transaction must not go on.
    """
    passed = []
    for one in debits:
        connection.execute("INSERT INTO account VALUES (?, 0) ON CONFLICT DO NOTHING", (one.account,))
        if one.limit is not None and spent(connection, one) + one.amount > one.limit:
            assert one.refusal is not None
            passed.append(one.refusal)
            continue
        connection.execute("UPDATE account SET spent = spent + ? WHERE account = ?", (one.amount, one.account))
        connection.execute(
            "INSERT INTO debit (session, account, amount, at_milliseconds) VALUES (?, ?, ?, ?)",
            (session, one.account, one.amount, milliseconds),
        )
    if passed:
        raise Refused(tuple(dict.fromkeys(passed)))


def refund(connection: sqlite3.Connection, session: SessionId) -> None:
    """Give back what `session` took."""
    connection.execute(
        "UPDATE account SET spent = spent - d.amount FROM debit d "
        "WHERE d.account = account.account AND d.session = ? AND d.refunded = 0",
        (session,),
    )
    connection.execute("UPDATE debit SET refunded = 1 WHERE session = ?", (session,))


def spent(connection: sqlite3.Connection, one: Debit) -> int:
    """What the debit's account has taken so far, refunds off; since `one.since` where it has that."""
    if one.since is None:
        row = connection.execute("SELECT spent FROM account WHERE account = ?", (one.account,)).fetchone()
        return 0 if row is None else int(row[0])
    (total,) = connection.execute(
        "SELECT coalesce(sum(amount), 0) FROM debit WHERE account = ? AND at_milliseconds >= ? AND refunded = 0",
        (one.account, one.since),
    ).fetchone()
    return int(total)


def balances(connection: sqlite3.Connection, debits: Sequence[Debit]) -> dict[str, int]:
    """`spent` of each account that has a limit, by its name."""
    return {one.account: spent(connection, one) for one in debits if one.limit is not None}
