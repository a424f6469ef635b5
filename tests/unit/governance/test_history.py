"""Definitions: the same set in all ways of writing it, no other; what an owner keeps, and for how long."""

from __future__ import annotations

import datetime as dt
from typing import cast

import pytest

from mpcd import canonical, limits
from mpcd.governance import history
from mpcd.governance.history import Definition, Kept, Question, question
from mpcd.ids import PartyId
from mpcd.plan.planner import plan_sql
from mpcd.roster import Column, Party, Roster, Table

DAY = dt.date(2026, 11, 22)


def columns(*more: Column) -> tuple[Column, ...]:
    return (
        Column("pid", "person_id", unique=True),
        Column("age", "integer", 0, 120),
        Column("sex", "dictionary", 0, 1, levels=("F", "M")),
        Column("hiv", "integer", 0, 1, nullable=True),
        Column("x", "integer", 0, 1000, nullable=True),
        Column("y", "integer", 0, 1000, nullable=True),
        *more,
    )


def roster(*more: Column, owners: int = 3) -> Roster:
    parties = tuple(Party(PartyId(i), f"h{i}", f"c{i}", f"s{i}", ("input", "compute")) for i in range(max(owners, 3)))
    people = Table(
        name="people",
        rows_max=1000,
        rows_disjoint=True,
        persons_disjoint=True,
        person_id="pid",
        owners=tuple(PartyId(i) for i in range(owners)),
        columns=columns(*more),
    )
    return Roster("test", 1, parties, (people,))


ROSTER = roster()


def asked(sql: str, of: Roster = ROSTER) -> Question:
    return question(plan_sql(sql, of, DAY), of)


def definition(sql: str, of: Roster = ROSTER) -> Definition:
    return asked(sql, of).definition


def where(condition: str, what: str = "COUNT(*)") -> Definition:
    return definition(f"SELECT {what} FROM people WHERE {condition}")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("age >= 50", "age > 49"),
        ("age >= 50 AND sex = 'F'", "sex <> 'M' AND NOT (age < 50)"),
        ("age BETWEEN 50 AND 60", "age IN (50,51,52,53,54,55,56,57,58,59,60)"),
        ("age // 10 = 5", "age >= 50 AND age < 60"),
        ("hiv = 1", "hiv <> 0"),
        ("hiv IS NOT NULL", "hiv IN (0, 1)"),
        ("age >= 0 AND sex = 'F'", "sex = 'F'"),
        ("age < y AND sex = 'F'", "sex = 'F' AND age < y"),
    ],
)
def test_the_same_set_written_differently(one: str, other: str) -> None:
    assert where(one).digest == where(other).digest


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("age >= 50", "age >= 51"),
        ("hiv = 1", "hiv = 0 OR hiv = 1"),
        ("hiv IS NOT NULL", "x IS NOT NULL"),
        ("age < y", "age <= y"),
        ("sex = 'F'", "sex = 'F' AND age < y"),
    ],
)
def test_other_sets_differ(one: str, other: str) -> None:
    assert where(one).digest != where(other).digest


def test_aggregates_names_and_order_of_answers_do_not_matter() -> None:
    one = definition("SELECT sex, COUNT(*) AS n FROM people p WHERE p.age > 40 GROUP BY sex ORDER BY n DESC")
    other = definition("SELECT sex AS s, SUM(age) FROM people WHERE age > 40 GROUP BY 1 LIMIT 1")
    assert one.digest == other.digest


def test_owners_and_the_tables_definition_are_part_of_a_set() -> None:
    sql = "SELECT COUNT(*) FROM people WHERE age > 40"
    assert definition(sql).digest != definition(sql, roster(owners=4)).digest
    assert definition(sql).digest != definition(sql, roster(Column("z", "integer", 0, 1))).digest


def test_a_sum_of_zeros_and_ones_is_known_to_be_a_count() -> None:
    """SUM(hiv) tells how many have hiv = 1: that set is one of the question's."""
    counted = where("hiv = 1").sets
    assert set(counted) <= set(definition("SELECT SUM(hiv) FROM people").sets)


def test_the_complement_counts_only_where_the_whole_is_told() -> None:
    missing = where("x IS NULL").sets[0]
    every = definition("SELECT COUNT(*) FROM people").sets[0]
    alone = definition("SELECT AVG(x) FROM people")
    both = definition("SELECT AVG(x), COUNT(*) FROM people")
    assert alone.sets == where("x IS NOT NULL").sets
    assert {missing, every, *alone.sets} == set(both.sets)


def test_every_gate_with_values_hangs_on_its_sets() -> None:
    found = asked("SELECT COUNT(*), AVG(x), AVG(y) FROM people")
    assert all(found.gates[0]) or found.gates[0]
    assert len(set(found.gates)) == 3, "gates of sums stand beside those of counts, over the same sets"
    assert all(set(gate) <= set(range(len(found.definition.sets))) for gate in found.gates)
    assert found.gates[0] == (found.definition.sets.index(definition("SELECT COUNT(*) FROM people").sets[0]),)


def test_bytes_and_back() -> None:
    for sql in (
        "SELECT sex, x // 100, AVG(age) FROM people WHERE y < x OR hiv = 1 GROUP BY 1, 2",
        "SELECT COUNT(*) FROM people",
    ):
        made = definition(sql)
        again = Definition.from_bytes(made.body)
        assert again == made
        assert again.digest == made.digest
        relation = history.relation_of(again, ROSTER)
        assert relation is not None
        assert again.fits(relation)


def test_damaged_bytes_are_none() -> None:
    body = where("age > 40 AND y < x").body
    value = canonical.decode(body)
    assert isinstance(value, dict)
    broken = [b"", body[:-1], body + b"\0", canonical.encode([]), canonical.encode({})]
    broken += [canonical.encode({**value, name: wrong}) for name in value for wrong in (None, [], [["x"]], 3, b"")]
    good = 0
    for one in broken:
        try:
            Definition.from_bytes(one)
            good += 1
        except ValueError:
            continue
    assert good == 2  # no joins and no keys are a definition too
    grouped = canonical.decode(definition("SELECT COUNT(*) FROM people GROUP BY age").body)
    assert isinstance(grouped, dict)
    ((expr, _, _, nullable),) = cast("list[list[canonical.Value]]", grouped["keys"])
    for low, count, keys in ((str(2**63), 3, 1), ("0", limits.CELLS_MAX, 2)):
        body = canonical.encode({**grouped, "keys": [[expr, low, count, nullable]] * keys})
        with pytest.raises(ValueError, match=r"definition|cells"):
            Definition.from_bytes(body)
    with pytest.raises(ValueError, match="too long"):
        Definition.from_bytes(b"x" * (limits.HISTORY_DEFINITION_BYTES_MAX + 1))


def test_a_definition_of_a_changed_table_is_not_evaluated() -> None:
    assert history.relation_of(where("age > 40"), roster(Column("z", "integer", 0, 1))) is None
    made = where("age > 40")
    forged = Definition(made.tables, made.joins, made.owners, made.keys, where("age > y").sets)
    relation = history.relation_of(made, ROSTER)
    assert relation is not None
    assert forged.fits(relation)
    unknown: canonical.Value = [[[[0, "none", [["1", "2"]], False]], []]]
    odd = Definition.from_bytes(canonical.encode({**made.to_value(), "sets": unknown}))
    assert not odd.fits(relation)


def test_no_set_at_all_is_remembered_as_none() -> None:
    made = asked("SELECT COUNT(*) FROM people WHERE age > 40 AND age < 30")
    assert made.gates == ((),)


# ------------------------------------------------------------------------------------------------ what is kept


def kept(count: int, at: int, analyst: bytes = b"a", start: int = 0) -> list[Kept]:
    return [
        Kept(number.to_bytes(32, "big"), frozenset({"people"}), analyst, at, number)
        for number in range(start, start + count)
    ]


NOW = 400 * history.DAY_MILLISECONDS
NEW = where("age > 40")
MONTH = limits.HISTORY_DAYS_MIN * history.DAY_MILLISECONDS
MAX = limits.HISTORY_DEFINITIONS_MAX


def test_flooding_pushes_nothing_young_out() -> None:
    """A thousand harmless questions do not buy the one that matters."""
    assert history.room(kept(MAX - 1, NOW, b"others"), NEW, b"me", NOW) is None
    assert history.room(kept(MAX, NOW, b"others"), NEW, b"me", NOW) is not None
    assert history.room(kept(MAX, NOW - MONTH, b"others"), NEW, b"me", NOW) is None


def test_a_flood_about_one_table_pushes_nothing_young_out_of_a_joins_list() -> None:
    full = kept(limits.HISTORY_LISTED_MAX, NOW, b"others")
    old, young = kept(1, NOW - MONTH, start=9000), kept(1, NOW - MONTH + 1, start=9000)
    assert history.told(full, NOW) == full
    assert history.told([*old, *full], NOW) == full
    assert history.told([*young, *full], NOW) is None


def test_one_analyst_cannot_fill_all_places() -> None:
    assert history.room(kept(MAX // 2 - 1, NOW, b"me"), NEW, b"me", NOW) is None
    assert history.room(kept(MAX // 2, NOW, b"me"), NEW, b"me", NOW) is not None
    assert history.room(kept(MAX // 2, NOW, b"me"), NEW, b"another", NOW) is None


def test_a_known_cohort_is_always_answered() -> None:
    full = [*kept(MAX, NOW, b"me"), Kept(NEW.digest, NEW.names, b"me", NOW, 5000)]
    assert history.room(full, NEW, b"me", NOW) is None


def test_the_oldest_go_first_and_only_beyond_the_limit() -> None:
    old, young = kept(3, 5), kept(MAX - 1, 9, start=10)
    assert history.too_many(young) == []
    assert history.too_many([*old, *young]) == [old[1].digest, old[2].digest]
    elsewhere = Kept(b"e" * 32, frozenset({"people", "labs"}), b"a", 1, 1)
    assert elsewhere.digest not in history.too_many([elsewhere, *old, *young])


def test_first_come_first_served() -> None:
    """Of two definitions the later one always meets the earlier one; the earlier one never the later one."""
    other = where("age > 50")
    early, late = (Kept(one.digest, one.names, b"a", NOW, place) for one, place in ((NEW, 3), (other, 8)))
    assert history.before([early, late], NEW, 9) == (3, [])
    assert history.before([early, late], other, 9) == (8, [early])
    third = where("age > 60")
    first, met = history.before([early, late], third, 9)
    assert first == 9
    assert sorted(met, key=lambda one: one.first) == [early, late]
    elsewhere = Kept(b"e" * 32, frozenset({"labs"}), b"a", NOW, 1)
    assert history.before([elsewhere], third, 2) == (2, [])


def test_the_union_of_lists() -> None:
    a, b, c = (letter * 32 for letter in (b"a", b"b", b"c"))
    assert history.joined([a + c, b + c, b""]) == (a, b, c)
    for wrong in (
        b"a" * 31,
        b + a,
        a + a,
        b"".join(n.to_bytes(32, "big") for n in range(limits.HISTORY_LISTED_MAX + 1)),
    ):
        with pytest.raises(ValueError, match="digests"):
            history.listed(wrong)


def test_the_plan_tells_nothing_about_the_list_to_whom_lacks_the_nonces() -> None:
    nonces = {PartyId(0): b"0" * 32, PartyId(1): b"1" * 32}
    digest = history.commitment((NEW.digest,), nonces)
    assert digest == history.commitment((NEW.digest,), dict(reversed(nonces.items())))
    assert digest != history.commitment((), nonces)
    assert digest != history.commitment((NEW.digest,), {**nonces, PartyId(1): b"2" * 32})
