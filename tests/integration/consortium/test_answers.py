"""Three real daemons answer SQL as plain DuckDB answers it over the pooled rows, and hide exactly what the rules say.

What must be hidden is worked out here once more, in plain Python, from the hospitals' true rows: a cell that is shown
although a rule forbids it fails a test, and so does one that is hidden although every rule allows it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction
from itertools import combinations, product
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest

from mpcd.api.flow import Answer
from mpcd.plan import spans
from mpcd.results.table import NULL, Suppressed
from mpcd.testing import disclosure

if TYPE_CHECKING:
    from tests.integration.consortium.conftest import Row, Sandbox

pytestmark = pytest.mark.slow

DATA = Path(__file__).resolve().parents[2] / "data"
TABLES = ("gbsg2", "wdbc", "lung")
TOLERANCE = 1e-9
THRESHOLD = 11
OWNERS_MIN = 3
SEVERITY = ("floor", "min_owners", "dominance", "complement")
ROUNDS_MAX = 90
ROUNDS_WITHOUT_KEYS_MAX = 36
DOMINANT = 2, Fraction("0.9"), Fraction("0.1")

Test = Callable[["Row"], bool]


def num(row: Row, name: str) -> float | None:
    text = row[name]
    return None if text is None else float(text)


def number(row: Row, name: str) -> float:
    text = row[name]
    assert text is not None
    return float(text)


def everybody(_row: Row) -> bool:
    return True


def present(*names: str) -> Test:
    return lambda row: all(row[name] is not None for name in names)


def is_(name: str, value: float) -> Test:
    return lambda row: row[name] is not None and number(row, name) == value


@dataclass(frozen=True)
class Gate:
    """Whose persons an output is about: of the cell, those inside; and what else must pass beside it."""

    inside: Test = everybody
    also: tuple[Test, ...] = ()
    sums: tuple[str, ...] = ()
    """Columns whose product is summed; none: persons are counted."""

    @property
    def outside(self) -> tuple[Test, ...]:
        """All that must pass besides the inside."""
        rest = () if self.inside is everybody else (lambda row: not self.inside(row),)
        return (*rest, *self.also)


def mean(of: str, gate: Gate) -> list[Gate]:
    """What a sum or an average of a column hangs on, beside the count of its rows."""
    return [gate, replace(gate, sums=(of,))]


def spread(of: str, gate: Gate) -> list[Gate]:
    """Of a variance."""
    return [*mean(of, gate), replace(gate, sums=(of, of))]


def pair(x: str, y: str, gate: Gate, *, squares: bool = True) -> list[Gate]:
    """Of a correlation or a regression; a covariance has no squares."""
    products = [(x,), (y,), (x, y), *([(x, x), (y, y)] if squares else [])]
    return [gate, *(replace(gate, sums=sums) for sums in products)]


CELL = Gate()
CENSORED = Gate(also=(is_("cens", 0), is_("cens", 1)))


@dataclass(frozen=True)
class Question:
    sql: str
    table: str
    outputs: Sequence[Sequence[Gate]]
    """Per output after the keys, the gates that it hangs on."""
    where: Test = everybody
    keys: tuple[Callable[[Row], object], ...] = ()
    """What each of the first columns says of a row, as DuckDB prints it."""
    ordered: bool = False


def text(name: str) -> Callable[[Row], object]:
    return lambda row: row[name]


def whole(name: str) -> Callable[[Row], object]:
    def label(row: Row) -> object:
        value = num(row, name)
        return None if value is None else int(value)

    return label


def band(name: str, width: int) -> Callable[[Row], object]:
    return lambda row: int(number(row, name)) // width * width


def age_class(row: Row) -> object:
    age = number(row, "age")
    return 0 if age < 45 else 1 if age < 60 else 2


def together(*insides: Test, possible: Sequence[spans.Atom] | None = None) -> list[Gate]:
    """Gates of sets of rows that one request shows beside one another; `possible`: in which of them a row can be."""
    atoms = tuple(possible or product((0, 1), repeat=len(insides)))
    needed = spans.supports(atoms)
    assert needed is not None

    def within(support: spans.Support) -> Test:
        wanted = {atoms[place] for place in support}
        return lambda row: tuple(int(inside(row)) for inside in insides) in wanted

    return [Gate(inside, tuple(map(within, found))) for inside, found in zip(insides, needed, strict=True)]


MANY_NODES = Gate(lambda row: number(row, "pnodes") > 10)
LOSS = Gate(present("wt.loss"))
SOME_BESIDE_MANY, MANY_BESIDE_SOME = together(
    lambda row: number(row, "pnodes") > 3, MANY_NODES.inside, possible=((0, 0), (1, 0), (1, 1))
)
LOSS_BESIDE_MEAL, MEAL_BESIDE_LOSS = together(present("wt.loss"), present("meal.cal"))
THREE_PRESENT = together(present("wt.loss"), present("meal.cal"), present("ph.karno"))
LOSS_OF_WOMEN, ECOG_3, ECOG_1 = together(
    lambda row: present("wt.loss")(row) and is_("sex", 2)(row),
    is_("ph.ecog", 3),
    lambda row: (num(row, "ph.ecog") or 0) >= 1,
    possible=((0, 0, 0), (0, 0, 1), (0, 1, 1), (1, 0, 0), (1, 0, 1), (1, 1, 1)),
)


QUESTIONS = (
    Question("SELECT COUNT(*) FROM gbsg2", "gbsg2", [[CELL]]),
    Question(
        "SELECT horTh, COUNT(*), AVG(age) FROM gbsg2 GROUP BY horTh",
        "gbsg2", [[CELL], mean("age", CELL)], keys=(text("horTh"),),
    ),
    Question(
        "SELECT horTh, COUNT(*), AVG(age), STDDEV_SAMP(tsize), CORR(progrec, estrec) FROM gbsg2 "
        "WHERE menostat = 'Post' GROUP BY horTh",
        "gbsg2", [[CELL], mean("age", CELL), spread("tsize", CELL), pair("progrec", "estrec", CELL)],
        where=lambda row: row["menostat"] == "Post", keys=(text("horTh"),),
    ),
    Question(
        "SELECT tgrade, menostat, COUNT(*), SUM(pnodes), VAR_POP(tsize) FROM gbsg2 GROUP BY tgrade, menostat",
        "gbsg2", [[CELL], mean("pnodes", CELL), spread("tsize", CELL)], keys=(text("tgrade"), text("menostat")),
    ),
    Question(
        "SELECT age // 10 * 10 AS decade, COUNT(*), AVG(pnodes) FROM gbsg2 GROUP BY decade",
        "gbsg2", [[CELL], mean("pnodes", CELL)], keys=(band("age", 10),),
    ),
    Question(
        "SELECT age // 5 * 5, tgrade, COUNT(*), SUM(tsize) FROM gbsg2 GROUP BY 1, 2",
        "gbsg2", [[CELL], mean("tsize", CELL)], keys=(band("age", 5), text("tgrade")),
    ),
    Question(
        "SELECT tgrade, COUNT(*) FILTER (WHERE pnodes > 10), AVG(age) FILTER (WHERE pnodes > 10), COUNT(*) "
        "FROM gbsg2 GROUP BY tgrade",
        "gbsg2", [[MANY_NODES], mean("age", MANY_NODES), [CELL]], keys=(text("tgrade"),),
    ),
    Question(
        "SELECT STDDEV_POP(estrec), COVAR_SAMP(age, tsize), COVAR_POP(progrec, estrec) FROM gbsg2 "
        "WHERE age BETWEEN 40 AND 60 AND horTh IN ('yes')",
        "gbsg2",
        [spread("estrec", CELL), pair("age", "tsize", CELL, squares=False),
         pair("progrec", "estrec", CELL, squares=False)],
        where=lambda row: 40 <= number(row, "age") <= 60 and row["horTh"] == "yes",
    ),
    Question(
        "SELECT horTh, REGR_SLOPE(time, pnodes), REGR_INTERCEPT(time, pnodes), REGR_R2(time, pnodes) FROM gbsg2 "
        "GROUP BY horTh",
        "gbsg2", [pair("time", "pnodes", CELL)] * 3, keys=(text("horTh"),),
    ),
    Question(
        "SELECT tgrade, age // 20, SUM(cens), COUNT(*) FROM gbsg2 GROUP BY 1, 2",
        "gbsg2", [[CELL, *mean("cens", CENSORED)[1:]], [CELL]],
        keys=(text("tgrade"), lambda row: int(number(row, "age")) // 20),
    ),
    Question(
        "SELECT horTh, SUM(CASE WHEN pnodes > 3 THEN tsize END), AVG(CASE WHEN pnodes > 10 THEN age END) FROM gbsg2 "
        "GROUP BY horTh",
        "gbsg2", [mean("tsize", SOME_BESIDE_MANY), mean("age", MANY_BESIDE_SOME)], keys=(text("horTh"),),
    ),
    Question(
        "SELECT CASE WHEN age < 45 THEN 0 WHEN age < 60 THEN 1 ELSE 2 END AS class, COUNT(*), AVG(time) FROM gbsg2 "
        "GROUP BY 1 ORDER BY 1",
        "gbsg2", [[CELL], mean("time", CELL)], keys=(age_class,), ordered=True,
    ),
    Question(
        "SELECT menostat, COUNT(*) FROM gbsg2 WHERE horTh LIKE 'y%' AND tgrade <> 'II' GROUP BY menostat",
        "gbsg2", [[CELL]], keys=(text("menostat"),),
        where=lambda row: row["horTh"] == "yes" and row["tgrade"] != "II",
    ),
    Question(
        "SELECT COUNT(*) + 1, SUM(pnodes) / COUNT(*), SUM(age * tsize), AVG(age + tsize) FROM gbsg2 "
        "WHERE NOT (age > 50 OR tgrade = 'III')",
        "gbsg2",
        [[CELL], mean("pnodes", CELL), [CELL, Gate(sums=("age", "tsize"))],
         [CELL, Gate(sums=("age",)), Gate(sums=("tsize",))]],
        where=lambda row: number(row, "age") <= 50 and row["tgrade"] != "III",
    ),
    Question(
        "SELECT VAR_SAMP(progrec), SUM(progrec), SUM(-estrec), AVG(2 * age - tsize) FROM gbsg2 WHERE progrec > estrec",
        "gbsg2",
        [spread("progrec", CELL), mean("progrec", CELL), mean("estrec", CELL),
         [CELL, Gate(sums=("age",)), Gate(sums=("tsize",))]],
        where=lambda row: number(row, "progrec") > number(row, "estrec"),
    ),
    Question(
        "SELECT COUNT(*), SUM(age) FROM gbsg2 WHERE age > 99", "gbsg2", [[CELL], mean("age", CELL)],
        where=lambda row: False,
    ),
    Question(
        "SELECT COUNT(*), AVG(progrec), VAR_SAMP(progrec) FROM gbsg2 WHERE age >= 70",
        "gbsg2", [[CELL], mean("progrec", CELL), spread("progrec", CELL)], where=lambda row: number(row, "age") >= 70,
    ),
    Question(
        "SELECT tgrade, COUNT(*), SUM(estrec), VAR_POP(estrec), SUM(progrec * progrec) FROM gbsg2 WHERE pnodes >= 8 "
        "GROUP BY tgrade",
        "gbsg2",
        [[CELL], mean("estrec", CELL), spread("estrec", CELL), [CELL, Gate(sums=("progrec", "progrec"))]],
        keys=(text("tgrade"),), where=lambda row: number(row, "pnodes") >= 8,
    ),
    Question(
        "SELECT COUNT(*), AVG(age) FROM gbsg2 WHERE age >= 78", "gbsg2", [[CELL], mean("age", CELL)],
        where=lambda row: number(row, "age") >= 78,
    ),
    Question(
        'SELECT "ph.ecog", COUNT(*), AVG(age), AVG("wt.loss"), STDDEV_SAMP("wt.loss") FROM lung GROUP BY "ph.ecog"',
        "lung", [[CELL], mean("age", CELL), mean("wt.loss", LOSS), spread("wt.loss", LOSS)], keys=(whole("ph.ecog"),),
    ),
    Question(
        'SELECT sex, COUNT("wt.loss"), COUNT("meal.cal"), SUM("meal.cal"), COUNT(*) FROM lung GROUP BY sex',
        "lung", [[LOSS_BESIDE_MEAL], [MEAL_BESIDE_LOSS], mean("meal.cal", MEAL_BESIDE_LOSS), [CELL]],
        keys=(whole("sex"),),
    ),
    Question(
        'SELECT COUNT(*), AVG(age), SUM("wt.loss") FROM lung WHERE "wt.loss" IS NULL',
        "lung", [[CELL], mean("age", CELL), mean("wt.loss", LOSS)], where=lambda row: row["wt.loss"] is None,
    ),
    Question("SELECT inst, COUNT(*) FROM lung GROUP BY inst", "lung", [[CELL]], keys=(whole("inst"),)),
    Question(
        "SELECT COUNT(*), AVG(age) FROM lung WHERE inst IN (1, 12)", "lung", [[CELL], mean("age", CELL)],
        where=lambda row: num(row, "inst") in {1, 12},
    ),
    Question(
        'SELECT sex, COUNT(*), AVG("wt.loss") FROM lung WHERE NOT ("wt.loss" > 5) GROUP BY sex',
        "lung", [[CELL], mean("wt.loss", CELL)], keys=(whole("sex"),),
        where=lambda row: row["wt.loss"] is not None and number(row, "wt.loss") <= 5,
    ),
    Question(
        'SELECT "ph.karno", COUNT(*), AVG(age) FROM lung WHERE "wt.loss" < 0 OR "meal.cal" > 1000 GROUP BY "ph.karno"',
        "lung", [[CELL], mean("age", CELL)], keys=(whole("ph.karno"),),
        where=lambda row: (num(row, "wt.loss") or 0) < 0 or (num(row, "meal.cal") or 0) > 1000,
    ),
    Question(
        'SELECT sex, CORR(age, "wt.loss"), REGR_COUNT(age, "meal.cal"), COUNT("ph.karno") FROM lung GROUP BY sex',
        "lung", [pair("age", "wt.loss", THREE_PRESENT[0]), *([gate] for gate in THREE_PRESENT[1:])],
        keys=(whole("sex"),),
    ),
    Question(
        'SELECT AVG("wt.loss") FILTER (WHERE sex = 2), COUNT(*) FILTER (WHERE "ph.ecog" = 3), '
        'COUNT(*) FILTER (WHERE "ph.ecog" >= 1) FROM lung',
        "lung",
        [mean("wt.loss", LOSS_OF_WOMEN), [ECOG_3], [ECOG_1]],
    ),
    Question(
        "SELECT target, COUNT(*), AVG(mean_smoothness), VAR_SAMP(mean_radius), REGR_SLOPE(mean_texture, mean_radius), "
        "REGR_R2(mean_texture, mean_radius) FROM wdbc GROUP BY target ORDER BY target DESC",
        "wdbc",
        [[CELL], mean("mean_smoothness", CELL), spread("mean_radius", CELL),
         *[pair("mean_texture", "mean_radius", CELL)] * 2],
        keys=(whole("target"),), ordered=True,
    ),
    Question(
        "SELECT SUM(mean_radius), SUM(mean_radius * mean_texture), COVAR_POP(mean_radius, mean_smoothness) FROM wdbc "
        "WHERE mean_radius > 15.5 AND mean_symmetry <= 0.2",
        "wdbc",
        [mean("mean_radius", CELL), [CELL, Gate(sums=("mean_radius", "mean_texture"))],
         pair("mean_radius", "mean_smoothness", CELL, squares=False)],
        where=lambda row: number(row, "mean_radius") > 15.5 and number(row, "mean_symmetry") <= 0.2,
    ),
    Question(
        "SELECT COUNT(*), AVG(mean_texture), STDDEV_SAMP(mean_symmetry) FROM wdbc WHERE target = 1 "
        "AND mean_texture BETWEEN 15 AND 20.25",
        "wdbc", [[CELL], mean("mean_texture", CELL), spread("mean_symmetry", CELL)],
        where=lambda row: row["target"] == "1" and 15 <= number(row, "mean_texture") <= 20.25,
    ),
    Question(
        "SELECT target, SUM(target), AVG(mean_radius) FROM wdbc WHERE mean_smoothness > 0.1 GROUP BY target",
        "wdbc", [mean("target", CELL), mean("mean_radius", CELL)], keys=(whole("target"),),
        where=lambda row: number(row, "mean_smoothness") > 0.1,
    ),
)  # fmt: skip


# ------------------------------------------------------------------------------------------------ what must be hidden


def rule_of(counts: Sequence[int]) -> str | None:
    """The rule that hides a cohort with so many persons at each hospital; None if it may be shown, zeros included."""
    if not any(counts):
        return None
    if sum(counts) - max(counts) < THRESHOLD:
        return "floor"
    return None if sum(count > 0 for count in counts) >= OWNERS_MIN else "min_owners"


Cells = Mapping[tuple[object, ...], list[list["Row"]]]


def persons(cell: Sequence[Sequence[Row]], test: Test) -> list[int]:
    """How many rows of each hospital pass."""
    return [sum(map(test, rows)) for rows in cell]


def passes(counts: Sequence[int]) -> bool:
    """Whether so many persons may be shown, nobody left out."""
    return any(counts) and rule_of(counts) is None


def first_look(cell: Sequence[Sequence[Row]], gate: Gate) -> str | None:
    """The rule that hides one cell of a gate by the persons in it."""
    inside = rule_of(persons(cell, gate.inside))
    return inside or ("complement" if any(rule_of(persons(cell, test)) for test in gate.outside) else None)


def is_dominated(cell: Sequence[Sequence[Row]], gate: Gate) -> bool:
    """Whether few persons make up the gate's sum, in the cell or in what is left of it."""

    def contribution(row: Row) -> Fraction:
        return math.prod((Fraction(row[name] or 0) for name in gate.sums), start=Fraction(1))

    for test in (gate.inside, *gate.outside):
        parts = [
            {number: contribution(row) for number, row in enumerate(rows) if test(row) and present(*gate.sums)(row)}
            for rows in cell
        ]
        if disclosure.dominated(parts, *DOMINANT, persons_disjoint=True):  # type: ignore[arg-type]
            return True
    return False


Key = tuple[object, ...]


def hidden(cells: Cells, order: Sequence[Key], gates: Sequence[Gate]) -> dict[Gate, dict[Key, str | None]]:
    """The rule that hides each cell of each gate of one question; `order`: the cells as they are numbered."""
    counted = {gate: {key: first_look(cells[key], gate) for key in order} for gate in gates}
    found = {
        gate: {
            key: "dominance" if rule is None and gate.sums and is_dominated(cells[key], gate) else rule
            for key, rule in counted[gate].items()
        }
        for gate in gates
    }
    more: dict[Gate, set[Key]] = {gate: set() for gate in gates}
    width = len(order[0]) if order else 0
    for size in range(width):
        for kept in combinations(range(width), size):
            groups: dict[Key, list[Key]] = {}
            for key in order:
                groups.setdefault(tuple(key[place] for place in kept), []).append(key)
            for group in groups.values():
                for gate in gates:
                    chosen, others = beside(cells, group, gate, gates, counted, found)
                    for other in others:
                        more[other] |= chosen
    return {
        gate: {
            key: "complement"
            if rule is None and key in more[gate] and any(persons(cells[key], gate.inside))  # zeros stay shown
            else rule
            for key, rule in rules.items()
        }
        for gate, rules in found.items()
    }


def beside(
    cells: Cells,
    group: Sequence[Key],
    gate: Gate,
    gates: Sequence[Gate],
    counted: Mapping[Gate, Mapping[Key, str | None]],
    found: Mapping[Gate, Mapping[Key, str | None]],
) -> tuple[set[Key], list[Gate]]:
    """What must be hidden too for one gate's sake, and where, lest totals less what is shown tell of what is hidden.

    Counts are not hidden for the sake of sums, nor what is about the whole cell for what is not.
    """
    tests = (gate.inside, *gate.outside)

    def each(key: Key) -> list[list[int]]:
        return [persons(cells[key], test) for test in tests]

    suppressed = [key for key in group if found[gate][key] is not None]
    if not any(
        counted[gate][key] is None or any(any(one) and not passes(one) for one in each(key)) for key in suppressed
    ):
        return set(), []
    family = [other for other in gates if other.sums or not gate.sums]
    bound = [other for other in family if other.outside or not gate.outside]
    withheld = [
        key
        for key in suppressed
        if counted[gate][key] is not None
        and (not gate.outside or all(found[other][key] is not None for other in bound))
    ]
    fewest = [[min(owner) for owner in zip(*each(key), strict=True)] for key in withheld]
    if passes([sum(column) for column in zip(*fewest, strict=True)]):
        return set(), []
    solid = [key for key in group if found[gate][key] is None and all(map(passes, each(key)))]
    if solid:
        return {min(solid, key=lambda key: sum(persons(cells[key], gate.inside)))}, bound
    totals = [
        [sum(column) for column in zip(*(persons(cells[key], test) for key in group), strict=True)] for test in tests
    ]
    if any(rule_of(total) for total in totals):
        return set(), []
    return set(group), family


@dataclass
class Truth:
    """The pooled rows in DuckDB, the hospitals' rows in Python."""

    database: duckdb.DuckDBPyConnection
    rows: Mapping[str, list[list[Row]]]
    seen: dict[str | None, int] = field(default_factory=dict)
    """How many cells each rule hid, over all questions."""

    def cells(self, question: Question) -> dict[tuple[object, ...], list[list[Row]]]:
        """The true rows of every group at every hospital."""
        found: dict[tuple[object, ...], list[list[Row]]] = {}
        parts = self.rows[question.table]
        if not question.keys:
            found[()] = [[] for _ in parts]
        for hospital, rows in enumerate(parts):
            for row in filter(question.where, rows):
                key = tuple(label(row) for label in question.keys)
                found.setdefault(key, [[] for _ in parts])[hospital].append(row)
        return found


@pytest.fixture(scope="module")
def truth(sandbox: Sandbox) -> Iterator[Truth]:
    with duckdb.connect() as database:
        for name in TABLES:
            database.execute(
                f"CREATE TABLE {name} AS SELECT * FROM read_csv('{DATA / name}.csv', nullstr='', "
                "auto_type_candidates=['BIGINT', 'DOUBLE', 'VARCHAR'])"
            )
        rows = {name: sandbox.rows(name) for name in TABLES}
        for name in TABLES:
            found = database.execute(f"SELECT COUNT(*) FROM {name}").fetchone()
            assert found == (sum(map(len, rows[name])),)
        yield Truth(database, rows)


def label_of(cell: object) -> object:
    """A group key in one spelling."""
    if cell is NULL:
        return None
    return int(cell) if isinstance(cell, (int, float, Decimal)) else cell


def agree(ours: object, theirs: object) -> bool:
    """Counts and exact sums exactly, moments to nine digits."""
    if theirs is None or ours is NULL:
        return theirs is None and ours is NULL
    if isinstance(ours, int):
        return ours == theirs
    return math.isclose(float(str(ours)), float(str(theirs)), rel_tol=TOLERANCE, abs_tol=0.0)


def spent(answer: Answer) -> dict[str, list[int]]:
    found = answer.info.facts["spent"]
    assert isinstance(found, dict)
    return found  # type: ignore[return-value]


# ------------------------------------------------------------------------------------------------ the tests


@pytest.mark.parametrize("question", QUESTIONS, ids=range(len(QUESTIONS)))
def test_the_answer_is_duckdbs_less_what_the_rules_hide(question: Question, sandbox: Sandbox, truth: Truth) -> None:
    party = QUESTIONS.index(question) % 3
    with sandbox.client(party) as client:
        answer = client.sql(question.sql)
        explained = client.explain(question.sql)
    cells = truth.cells(question)
    keys = len(question.keys)
    pooled = truth.database.execute(question.sql).fetchall()
    by_key = {tuple(map(label_of, row[:keys])): row[keys:] for row in pooled}
    mine = {tuple(map(label_of, row[:keys])): row[keys:] for row in answer.table.rows}
    assert mine.keys() == by_key.keys() == cells.keys()
    assert len(mine) == len(answer.table.rows)
    if question.ordered:
        assert list(mine) == list(by_key)
    order = sorted(mine) if question.ordered else list(mine)
    rules = hidden(cells, order, tuple(dict.fromkeys(gate for gates in question.outputs for gate in gates)))
    for key, row in mine.items():
        assert len(row) == len(question.outputs)
        for ours, theirs, gates in zip(row, by_key[key], question.outputs, strict=True):
            found = {rules[gate][key] for gate in gates}
            rule = next((rule for rule in SEVERITY if rule in found), None)
            truth.seen[rule] = truth.seen.get(rule, 0) + 1
            if rule is None:
                assert agree(ours, theirs), (key, ours, theirs)
            else:
                assert ours == Suppressed(rule), (key, ours, theirs)  # type: ignore[arg-type]
    # The prediction is exact, and it is the same before and after.
    predicted = answer.info.facts["predicted"]
    assert isinstance(predicted, dict)
    compute = predicted["compute"]
    assert isinstance(compute, list)
    assert spent(answer)[f"compute{party}"] == [predicted["rounds"], compute[party]]
    assert spent(answer)[f"input{party}"][1] == predicted["input"]
    assert explained["rounds"] == predicted["rounds"]
    assert int(str(explained["rounds"])) <= (ROUNDS_MAX if question.keys else ROUNDS_WITHOUT_KEYS_MAX)
    assert explained["bytes_sent"] == {"compute": max(map(int, map(str, compute))), "input": predicted["input"]}
    assert explained["refusals"] == []
    assert answer.info.security == explained["security"] == "malicious"


def test_the_questions_met_every_rule(truth: Truth) -> None:
    """Runs after them: without this, no rule's absence would be noticed."""
    assert len(QUESTIONS) >= 25
    assert truth.seen.keys() == {None, *SEVERITY}
    assert truth.seen[None] > 100


def test_having_order_and_limit_work_on_released_groups(sandbox: Sandbox, truth: Truth) -> None:
    sql = (
        "SELECT age // 10 AS d, COUNT(*) AS n, AVG(tsize) AS size FROM gbsg2 GROUP BY 1 HAVING COUNT(*) > 50 "
        "ORDER BY n DESC LIMIT 3"
    )
    with sandbox.client() as client:
        answer = client.sql(sql)
    pooled = truth.database.execute(sql).fetchall()
    assert [row[:2] for row in answer.table.rows] == [row[:2] for row in pooled]
    assert all(agree(ours[2], theirs[2]) for ours, theirs in zip(answer.table.rows, pooled, strict=True))
    assert "HAVING" in answer.table.notes[0], "the youngest and the oldest are suppressed, and that is said"


def test_a_gate_of_its_own_for_every_filter(sandbox: Sandbox, truth: Truth) -> None:
    """COUNT(*) and COUNT(*) FILTER side by side would show the few that the filter leaves out."""
    sql = "SELECT COUNT(*), COUNT(*) FILTER (WHERE age < 78) FROM gbsg2"
    few = truth.database.execute("SELECT COUNT(*) FROM gbsg2 WHERE age >= 78").fetchone()
    assert few is not None
    assert 0 < few[0] < THRESHOLD
    with sandbox.client() as client:
        (row,) = client.sql(sql).table.rows
    assert row == (686, Suppressed("complement"))
