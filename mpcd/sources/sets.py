"""An owner's own part of differencing: the sets of a question and of earlier ones, evaluated on the present data.

The parent writes one total expression per family (`mpcd.compile.beside`): the number of the cell in which a row is, -1
for a row outside; the child keeps the answers by the family's key and compares (`sets_child`).  The key is a digest of
what the expression is made of, and a child lives no longer than its data version, so nothing old is ever met.

An owner that a definition does not name has no rows in its sets (`mpcd.governance.history`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from mpcd import canonical
from mpcd.compile.beside import Beside, Family
from mpcd.governance.history import relation_of
from mpcd.ids import PartyId
from mpcd.plan.nodes import GroupKey, Pred, Truth
from mpcd.plan.relation import Relation
from mpcd.roster import Roster
from mpcd.sources.generate_duckdb import TableRows, Text, joined, quoted
from mpcd.sources.sets_child import OUTSIDE

FAMILIES_PER_STATEMENT: Final = 48
_STATEMENT_BYTES: Final = 256 * 2**10


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement that loads families of one relation."""

    relation: bytes
    sql: str
    ids: int
    families: tuple[tuple[bytes, int], ...]
    """Key and number of cells of each."""

    def body(self) -> dict[str, object]:
        """For the child."""
        families = [[key, cells] for key, cells in self.families]
        return {"relation": self.relation, "sql": self.sql, "ids": self.ids, "families": families}


def keys_of(beside: Beside, me: PartyId) -> list[bytes | None]:
    """Per family what names it in a child; None where this owner has no rows in it."""
    return [_key(family) if me in family.definition.owners else None for family in beside.families]


def _key(family: Family) -> bytes:
    definition = family.definition
    whole = definition.to_value()
    value = [whole["tables"], whole["joins"], whole["keys"], family.region.to_value()]
    return canonical.digest("family", value)


def _relation_key(family: Family) -> bytes:
    whole = family.definition.to_value()
    return canonical.digest("family-relation", [whole["tables"], whole["joins"]])


def statements(families: Sequence[Family], roster: Roster, tables: Mapping[str, TableRows]) -> Iterator[Statement]:
    """What loads these families, a few at a time.

    Args:
        families: each once.
        roster: the present one.
        tables: the snapshots, by the roster's table name.
    """
    by_relation: dict[bytes, list[Family]] = {}
    for family in families:
        by_relation.setdefault(_relation_key(family), []).append(family)
    for key, group in by_relation.items():
        relation = relation_of(group[0].definition, roster)
        assert relation is not None, "families of definitions that fit the roster"
        writer = _Writer(key, group[0], relation, tables)
        yield from writer.statements(group)


class _Writer:
    """Statements over one relation."""

    def __init__(self, key: bytes, family: Family, relation: Relation, tables: Mapping[str, TableRows]) -> None:
        self._key = key
        self._text = Text(relation.bounds)
        sources = family.definition.sources()
        self._from = joined(sources, family.definition.joins, tables)
        self._ids = len(sources)
        ids = [f"CAST(s{place}.rowid AS BIGINT)" for place in range(self._ids)]
        persons = relation.persons
        person = ids[0] if persons is None else f"CAST(s{persons.source}.{quoted(persons.name)} AS BIGINT)"
        self._first = [*ids, person]

    def statements(self, families: Sequence[Family]) -> Iterator[Statement]:
        texts: list[str] = []
        here: list[tuple[bytes, int]] = []
        for family in families:
            text = self._cell(family)
            if texts and (len(texts) >= FAMILIES_PER_STATEMENT or sum(map(len, texts)) + len(text) > _STATEMENT_BYTES):
                yield self._statement(texts, here)
                texts, here = [], []
            texts.append(text)
            here.append((_key(family), family.cells))
        if texts:
            yield self._statement(texts, here)

    def _statement(self, texts: Sequence[str], families: Sequence[tuple[bytes, int]]) -> Statement:
        fields = ", ".join(f"{text} AS f{place}" for place, text in enumerate([*self._first, *texts]))
        return Statement(self._key, f"SELECT {fields} {self._from}", self._ids, tuple(families))

    def _cell(self, family: Family) -> str:
        keys = [GroupKey("", key.expr, key.low, key.count, key.nullable) for key in family.definition.keys]
        inside: Pred = family.region.predicate()
        # A peer may name a definition that no request has: where its keys' codes leave BIGINT, an error would tell that
        # such a row is there (rule 17).  TRY makes it NULL, which is outside.
        number = self._text.cell(keys)
        if not self._text.cell_cannot_fail(keys):
            number = f"TRY({number})"
        if inside == Truth(True):
            return f"CAST({number} AS BIGINT)"
        return f"CAST(CASE WHEN {self._text.predicate(inside)} THEN {number} ELSE {OUTSIDE} END AS BIGINT)"


def request(beside: Beside, keys: Sequence[bytes | None], threshold: int) -> dict[str, object]:
    """The comparison, for the child."""
    sides: list[object] = []
    for family, cells in beside.sides:
        sides.append([family, None if cells is None else cells.astype("<i4").tobytes()])
    return {
        "threshold": threshold,
        "families": [*keys, None],
        "sides": sides,
        "pairs": beside.pairs.astype("<i4").tobytes(),
        "by_rows": beside.by_rows.astype(np.uint8).tobytes(),
    }


def read(reply: object, pairs: int, threshold: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]] | None:
    """The differences; None if the answer is not one that the comparison can have."""
    if not isinstance(reply, bytes) or len(reply) != 8 * pairs:
        return None
    found = np.frombuffer(reply, dtype="<i8").astype(np.int64)
    return None if found.size and (found.min() < 0 or found.max() > threshold) else found
