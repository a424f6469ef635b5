"""Archived segments of the ledger: their rows in the state file, and their files beside it.

A segment is a range of entries that was written to a file, sealed with this party's signature, read back and checked,
and only then taken out of the state file, in the transaction that puts the entry `archived` on the record.
"""

from __future__ import annotations

from typing import Final

TABLES: Final = (
    """CREATE TABLE segment (
        first INTEGER PRIMARY KEY,
        count INTEGER NOT NULL CHECK (count > 0),
        previous BLOB NOT NULL,
        last BLOB NOT NULL,
        first_milliseconds INTEGER NOT NULL,
        last_milliseconds INTEGER NOT NULL
    ) STRICT""",
    # Sessions all of whose entries are in the segment that begins with `first`.
    """CREATE TABLE archived_session (
        session BLOB PRIMARY KEY REFERENCES session (session),
        first INTEGER NOT NULL REFERENCES segment (first)
    ) STRICT, WITHOUT ROWID""",
    # Erasures on the record whose content still has to go from a segment's file.
    """CREATE TABLE erasure_due (
        sequence INTEGER PRIMARY KEY,
        erased_by INTEGER NOT NULL
    ) STRICT""",
)
