"""Which versions answered, and which are retired."""

from __future__ import annotations

import sqlite3

import pytest

from mpcd.ids import DataVersion
from mpcd.store import data, schema

ONE, TWO = DataVersion("1" * 64), DataVersion("2" * 64)


@pytest.fixture
def connection() -> sqlite3.Connection:
    made = sqlite3.connect(":memory:", isolation_level=None)
    schema.migrate(made)
    return made


def test_published_and_retired(connection: sqlite3.Connection) -> None:
    data.publish(connection, "t", ONE, 10)
    data.publish(connection, "t", TWO, 20)
    data.publish(connection, "u", ONE, 30)
    data.retire(connection, "t", ONE, 40, "wrong export")
    assert data.published(connection, "t") == {ONE: 10, TWO: 20}
    assert data.retired(connection) == {("t", ONE): (40, "wrong export")}


def test_publishing_again_ends_a_retirement(connection: sqlite3.Connection) -> None:
    data.retire(connection, "t", ONE, 40, "never published")
    assert data.published(connection, "t") == {}
    data.publish(connection, "t", ONE, 50)
    assert data.retired(connection) == {}
    assert data.published(connection, "t") == {ONE: 50}


def test_what_is_in_use_at_the_start_is_noted_once(connection: sqlite3.Connection) -> None:
    data.note(connection, "t", ONE, 5)
    data.note(connection, "t", ONE, 6)
    assert data.published(connection, "t") == {ONE: 5}
