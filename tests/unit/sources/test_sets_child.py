"""What an engine child counts between sets equals a plain count, for unique persons and for persons with many rows."""

from __future__ import annotations

import random

import duckdb
import numpy as np
import pytest

from mpcd.sources.sets_child import Sets, SetsTooLarge

ROWS = 400


def loaded(
    seed: int, *, many: bool, cells: list[int], sets: Sets | None = None, relation: bytes = b"r"
) -> tuple[Sets, list[list[int]], list[int]]:
    """Families with those numbers of cells over rows in a scrambled order; their cells by row, and the persons."""
    rng = random.Random(seed)
    persons = [rng.randrange(60) if many else 1000 + row for row in range(ROWS)]
    codes = [[rng.choice((-1, *range(count))) for _ in range(ROWS)] for count in cells]
    database = duckdb.connect()
    rows = [[row // 7, row % 7, persons[row], *(code[row] for code in codes)] for row in range(ROWS)]
    rng.shuffle(rows)
    values = ", ".join(f"({', '.join(f'{value}::BIGINT' for value in row)})" for row in rows)
    database.execute(f"CREATE TABLE t AS SELECT * FROM (VALUES {values}) v")
    found = sets or Sets()
    keys = [relation + bytes([place]) for place in range(len(cells))]
    found.hold([*found._families, *keys])
    found.load(database, relation, "SELECT * FROM t", 2, list(zip(keys, cells, strict=True)))
    return found, codes, persons


def rows_of(codes: list[int], cells: np.ndarray | None) -> set[int]:
    wanted = None if cells is None else set(cells.tolist())
    return {row for row, code in enumerate(codes) if code >= 0 and (wanted is None or code in wanted)}


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("threshold", [1, 11, 10_000])
def test_differences_of_rows_equal_a_plain_count(many: bool, threshold: int) -> None:
    cells = [1, 1, 3, 4, 200, 40_000]
    sets, codes, persons = loaded(3, many=many, cells=cells)
    rng = random.Random(4)
    sides: list[tuple[int, np.ndarray | None]] = [(place, None) for place in range(len(cells))]
    sides += [
        (place, np.array(sorted(rng.sample(range(cells[place]), rng.choice((1, cells[place] // 2))))))
        for place in (2, 3, 3, 4, 4, 5)
    ]
    pairs = np.array([(a, b) for a in range(len(sides)) for b in range(len(sides))])
    keys = [b"r" + bytes([place]) for place in range(len(cells))]
    found = sets.differences(threshold, keys, sides, pairs, np.ones(len(pairs), dtype=np.bool_))
    by_side = [rows_of(codes[place], wanted) for place, wanted in sides]
    for (a, b), got in zip(pairs.tolist(), found.tolist(), strict=True):
        assert got == min(len({persons[row] for row in by_side[a] ^ by_side[b]}), threshold)
    by_persons = sets.differences(threshold, keys, sides, pairs, np.zeros(len(pairs), dtype=np.bool_))
    people = [{persons[row] for row in side} for side in by_side]
    for (a, b), got in zip(pairs.tolist(), by_persons.tolist(), strict=True):
        assert got == min(len(people[a] ^ people[b]), threshold)


@pytest.mark.parametrize("by_rows", [True, False])
def test_an_owner_that_was_not_there_has_no_rows(by_rows: bool) -> None:
    sets, codes, persons = loaded(5, many=True, cells=[3])
    sides: list[tuple[int, np.ndarray | None]] = [(0, None), (1, None)]
    pairs = np.array([[0, 1], [1, 0], [1, 1]])
    found = sets.differences(10**6, [b"r\0", None], sides, pairs, np.full(3, by_rows))
    everybody = len({persons[row] for row in rows_of(codes[0], None)})
    assert found.tolist() == [everybody, everybody, 0]


def test_persons_are_compared_across_relations() -> None:
    sets, codes, persons = loaded(6, many=True, cells=[2], relation=b"a")
    sets, other_codes, other_persons = loaded(7, many=True, cells=[1], sets=sets, relation=b"b")
    pairs = np.array([[0, 1]])
    found = sets.differences(10**6, [b"a\0", b"b\0"], [(0, np.array([1])), (1, None)], pairs, np.zeros(1, dtype=bool))
    left = {persons[row] for row in rows_of(codes[0], np.array([1]))}
    right = {other_persons[row] for row in rows_of(other_codes[0], None)}
    assert found.tolist() == [len(left ^ right)]


def test_what_is_not_needed_goes_when_there_is_no_room() -> None:
    sets = Sets(bytes_max=3 * ROWS)
    loaded(1, many=False, cells=[5, 5], sets=sets, relation=b"a")
    assert sets.hold([b"a\0", b"a\1", b"x"]) == [2]
    sets.hold([b"a\1"])
    loaded_again = sets._families.keys()
    assert set(loaded_again) == {b"a\0", b"a\1"}
    sets.hold([b"a\1"])
    rng = duckdb.connect()
    rng.execute(f"CREATE TABLE t AS SELECT i, i AS p, i % 5 AS f, i % 5 AS g FROM range({ROWS}) r(i)")
    sets.load(rng, b"b", "SELECT * FROM t", 1, [(b"b0", 5), (b"b1", 5)])
    assert b"a\1" in sets._families
    assert b"a\0" not in sets._families


def test_what_is_needed_and_does_not_fit_is_an_error() -> None:
    sets = Sets(bytes_max=ROWS)
    with pytest.raises(SetsTooLarge):
        loaded(1, many=False, cells=[5, 5], sets=sets)


def test_a_statement_of_another_form_is_an_error() -> None:
    database = duckdb.connect()
    sets = Sets()
    with pytest.raises(TypeError):
        sets.load(database, b"r", "SELECT 1::BIGINT, 2::BIGINT", 1, [(b"k", 1)])
    with pytest.raises(TypeError):
        sets.load(database, b"r", "SELECT 1::BIGINT, 2::BIGINT, 'x'", 1, [(b"k", 1)])
    sets.load(database, b"r", "SELECT 1::BIGINT, 2::BIGINT, 0::BIGINT", 1, [(b"k", 1)])
    with pytest.raises(ValueError, match="rows"):
        sets.load(database, b"r", "SELECT i, i, i FROM range(3) t(i)", 1, [(b"l", 5)])
