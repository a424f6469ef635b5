"""Some hospitals in one process, as an analyst meets them: what `redteam` attacks.

Theory of operation.  A question takes the path that it takes between daemons, with the same code, but without sockets,
processes and disks:

    signed request -> planner -> every owner's policy -> strictest rules -> history -> physical plan
        -> every owner's engine (DuckDB, the child's own handlers in this process)
        -> the oblivious program, in lock-step
        -> three sealed releases -> the client's checks -> table

What differs from a daemon: verification is left out (the verifier is semi-honest, for the attacker here is the analyst,
not a compute party), what was asked before is kept in memory, and time is a number.

A house is built with `Off`, the rules that are switched off in it.  Some are a policy's own numbers; those that no
policy can switch off are taken out of the code under attack for as long as the question runs.  An attack that is
stopped must succeed in a house where its rule is off: else it is no attack.

Everything random comes from a seed.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import random
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final, cast
from unittest import mock

import duckdb
import numpy as np
import trio

from mpcd import canonical
from mpcd.api.opening import Opened, open_releases, pinned_party
from mpcd.compile import beside
from mpcd.compile.choose import program
from mpcd.compile.physical import PhysicalPlan
from mpcd.errors import EngineFailed, MpcdError, Refused
from mpcd.governance import history, privacy
from mpcd.governance.budget import privacy_debits
from mpcd.governance.decision import Asked, Decision, Fineness, decide_all, with_balances
from mpcd.governance.disclosure import strictest
from mpcd.governance.entries import Debit
from mpcd.governance.history import Definition, Kept
from mpcd.governance.policy import Policy
from mpcd.identity import Request, ResultKey, SigningKey
from mpcd.identity.release import ReleaseEnvelope
from mpcd.ids import COMPUTE_PARTIES, COMPUTE_ROLES, PartyId, SessionId
from mpcd.plan.cuts import column_cuts
from mpcd.plan.domains import Values
from mpcd.plan.functions import functions
from mpcd.plan.ir import LogicalPlan
from mpcd.plan.nodes import ColumnRef
from mpcd.plan.planner import plan_sql
from mpcd.release.dominance import numbers_of
from mpcd.release.margins import Margins
from mpcd.release.rule import Evidence
from mpcd.results.finish import finish
from mpcd.results.table import NULL, Cell, Suppressed, Table
from mpcd.roster import Column, Roster
from mpcd.roster import Table as RosterTable
from mpcd.roster.model import EPOCH
from mpcd.session import agreement, terms
from mpcd.sources.engine import DuckdbEngine, LocalAnswer
from mpcd.sources.engine_child import CONFIGURATION, _Engine
from mpcd.sources.generate_duckdb import TableRows
from mpcd.sources.snapshot import PERSON_INDEX, column_type, integer_type
from mpcd.testing.world import World

AT: Final = 1_795_000_000
"""When all questions are asked, seconds since 1970: in November 2026."""
DAY: Final = dt.datetime.fromtimestamp(AT, dt.UTC).date()
CONSORTIUM: Final = "redteam"
Row = Mapping[str, int | None]
"""One row's stored forms, by column."""
MANY: Final = 500
"""Persons that a count is taken for where the floor is off."""


GRANULARITY: Final = {"patients": '{ admitted = "month" }'}
"""Columns that are published in steps."""
USES: Final[Mapping[str, tuple[str, ...]]] = {
    "ward": ("filter", "group"),
    "fee": ("aggregate",),
    "doses": ("aggregate",),
}
"""Columns that are not published for everything."""
HIDDEN_TABLES: Final = frozenset({"secret"})
HIDDEN_COLUMNS: Final = frozenset({"gene"})


class Stopped(Exception):
    """The attacker cannot go on: what he needs was not shown, or was refused."""


@dataclass(frozen=True)
class Data:
    """Who has what: per table each owner's rows."""

    tables: tuple[RosterTable, ...]
    rows: Mapping[str, Sequence[Sequence[Row]]]

    def pooled(self, table: str, condition: Callable[[Row], bool] = lambda _row: True) -> list[Row]:
        """The true rows of all owners."""
        return [row for owner in self.rows[table] for row in owner if condition(row)]

    def changed(self, table: str, change: Callable[[Row], Row | None]) -> Data:
        """The same with each row of a table changed, or left out where `change` gives None."""
        owners = [[new for row in owner if (new := change(row)) is not None] for owner in self.rows[table]]
        return replace(self, rows={**self.rows, table: owners})


@dataclass(frozen=True)
class Off:
    """What is switched off in a house; nothing by default."""

    disclosure: tuple[str, ...] = ()
    """Lines of the policy's `[disclosure]`, which replace what the profile says."""
    granularity: bool = False
    uses: bool = False
    """Every column that is published may be used for everything."""
    hidden: bool = False
    """What the analyst may not know is published to him too."""
    budget: str = ""
    """A budget of privacy loss, as a policy writes it, where by default there is none."""
    code: frozenset[str] = frozenset()
    """Rules that no policy can switch off; see `_CODE`, and `House`."""

    @classmethod
    def rules(cls, *code: str, **changes: Any) -> Off:
        """With these rules of the code switched off."""
        return cls(code=frozenset(code), **changes)


@contextlib.contextmanager
def _patched(*changes: tuple[str, object]) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for target, new in changes:
            stack.enter_context(mock.patch(target, new))
        yield


def _declared(columns: Any, column: ColumnRef, _parts: object) -> Values:
    """In the place of `isolation._Columns._left`: whatever the conditions say."""
    return Values(columns._domains.declared(column).runs)  # noqa: SLF001


def _nothing(*_args: object) -> None:
    return None


_CODE: Final[Mapping[str, Callable[[], Any]]] = {
    "margins": lambda: mock.patch.object(Margins, "needed", new=property(lambda _self: False)),
    "degree": lambda: _patched(("mpcd.plan.check.DEGREE_MAX", 99)),
    "padding": lambda: _patched(("mpcd.plan.isolation._Columns._left", _declared)),
    "products": lambda: _patched(("mpcd.plan.isolation._check_arithmetic", _nothing)),
}
"""Rules that are taken out of the code.  In `House` are `floor`, `complement`, `also` (a gate's further sets),
`dominance`, `identifier`, `salt` (of data versions), `dense` (messages as long as the groups that there are), `total`
(the text must run as it stands, too) and `plain` (nothing but the text as it stands)."""


# ------------------------------------------------------------------------------------------------ engines


class _Child:
    """The engine child's own handlers, in this process."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        engine = _Engine()
        engine._connection = connection  # noqa: SLF001  without a file to attach
        self._handlers: dict[str, Callable[[dict[str, Any]], object]] = {
            "aggregate": engine.aggregate,
            "hold": engine.hold,
            "sets": engine.sets,
            "differences": engine.differences,
        }

        self.groups = 0
        """How many groups the last aggregate found."""

    async def call(self, op: str, body: Mapping[str, object], *, seconds: float) -> object:
        """At once."""
        del seconds
        await trio.lowlevel.checkpoint()
        reply = self._handlers[op](dict(body))
        if op == "aggregate":
            self.groups = cast("dict[str, int]", reply)["rows"]
        return reply


class _Pool:
    """One child, always there."""

    def __init__(self, child: _Child) -> None:
        self.child = child

    @asynccontextmanager
    async def borrow(self, _deadline: float = 0) -> AsyncIterator[_Child]:
        yield self.child


def engine_of(data: Data, owner: int, roster: Roster) -> DuckdbEngine:
    """The real engine over an owner's rows in memory, in the form of a snapshot."""
    connection = duckdb.connect(":memory:", config={**CONFIGURATION, "threads": "1"})
    tables: dict[str, TableRows] = {}
    for place, table in enumerate(data.tables):
        rows = data.rows[table.name][owner]
        persons = 0
        names = [column.name for column in table.columns]
        types = [column_type(column) for column in table.columns]
        made = [[row[name] for name in names] for row in rows]
        if table.person_id is not None:
            place_of = names.index(table.person_id)
            ids = sorted({cast("int", row[place_of]) for row in made})
            persons = len(ids)
            made.sort(key=lambda row, at=place_of: cast("int", row[at]))  # type: ignore[misc]
            made = [[*row, ids.index(cast("int", row[place_of]))] for row in made]
            names, types = [*names, PERSON_INDEX], [*types, integer_type(0, len(rows))]
        declared = ", ".join(f'"{name}" {kind}' for name, kind in zip(names, types, strict=True))
        connection.execute(f"ATTACH ':memory:' AS t{place}")
        connection.execute(f"CREATE TABLE t{place}.main.rows ({declared})")
        if made:
            texts = ", ".join("(" + ", ".join("NULL" if v is None else str(v) for v in row) + ")" for row in made)
            connection.execute(f"INSERT INTO t{place}.main.rows VALUES {texts}")  # noqa: S608  integers alone
        tables[table.name] = TableRows(f"t{place}", persons)
    engine = DuckdbEngine()
    engine._pool = cast("Any", _Pool(_Child(connection)))  # noqa: SLF001  no processes here
    engine._roster, engine._rows = roster, tables  # noqa: SLF001  what `open` would find in snapshots
    return engine


def pooled(data: Data) -> duckdb.DuckDBPyConnection:
    """All rows of all owners in one database, in SQL's own types."""
    connection = duckdb.connect(":memory:", config={**CONFIGURATION, "threads": "1"})
    types = {"dictionary": "VARCHAR", "boolean": "BOOLEAN", "date": "DATE"}
    for table in data.tables:
        declared = ", ".join(f'"{column.name}" {types.get(column.type, "BIGINT")}' for column in table.columns)
        connection.execute(f"CREATE TABLE {table.name} ({declared})")
        for owner in data.rows[table.name]:
            for row in owner:
                values = ", ".join(_spelled(column, row[column.name]) for column in table.columns)
                connection.execute(f"INSERT INTO {table.name} VALUES ({values})")  # noqa: S608  own rows
    return connection


def _spelled(column: Column, stored: int | None) -> str:
    if stored is None:
        return "NULL"
    match column.type:
        case "dictionary":
            return f"'{column.levels[stored]}'"
        case "boolean":
            return str(bool(stored))
        case "date":
            return f"DATE '{EPOCH + dt.timedelta(days=stored)}'"
        case _:
            return str(stored)


# ------------------------------------------------------------------------------------------------ the house


@dataclass(frozen=True)
class Answer:
    """All that an analyst holds of one released question."""

    table: Table
    opened: Opened | None
    """None, as the plan, where plain SQL was run instead."""
    plan: PhysicalPlan | None
    sizes: tuple[object, ...]
    """What can be seen of it from outside: rounds, and step, ends and size of every message."""

    @property
    def rows(self) -> list[tuple[Cell, ...]]:
        """The table's rows."""
        return [tuple(row) for row in self.table.rows]

    @property
    def shown(self) -> dict[tuple[Cell, ...], list[Any]]:
        """Of a grouped answer: the numbers of each group of which all are shown, by the labels of its keys."""
        keys = 1 if self.opened is None else len(self.opened.shape.keys)
        found: dict[tuple[Cell, ...], list[Any]] = {}
        for row in self.rows:
            if not any(isinstance(cell, Suppressed) for cell in row):
                found[row[:keys]] = [number(cell) for cell in row[keys:]]
        return found

    @property
    def numbers(self) -> list[int | float | Decimal]:
        """The one row's numbers; `Stopped` where one is hidden."""
        (row,) = self.rows
        return [number(cell) for cell in row]


def number(cell: Cell) -> int | float | Decimal:
    """A cell's number; `Stopped` where there is none."""
    if isinstance(cell, Suppressed):
        raise Stopped(cell.rule)
    if cell is NULL or isinstance(cell, (str, dt.date, type(NULL))):
        raise Stopped("no number")
    return cell


class House:
    """Some hospitals, their policies, and what they remember; see the module."""

    def __init__(self, data: Data, off: Off = Off(), seed: int = 1, engines: Engines | None = None) -> None:
        self.off = off
        self._random = random.Random(seed)  # noqa: S311  tests
        self._keys = [SigningKey.generate(self._random.randbytes) for _ in range(4)]
        self.analysts = [SigningKey.generate(self._random.randbytes) for _ in range(2)]
        self._engines = engines or Engines()
        self.roster = self._engines.roster(data, self._keys)
        self.data = data
        self._salts = [self._random.randbytes(32) for _ in self.owners]
        self._kept: list[Kept] = []
        self._bodies: dict[bytes, Definition] = {}
        self._spent: dict[tuple[int, str], int] = {}
        self._pooled: duckdb.DuckDBPyConnection | None = None
        self._policies = [Policy.parse(self._policy(), "policy.toml") for _ in self.owners]

    @property
    def owners(self) -> tuple[PartyId, ...]:
        """Who gives data."""
        return self.data.tables[0].owners

    def publish(self, data: Data) -> None:
        """From now on another data version answers."""
        self.data = data

    def _policy(self) -> str:
        off = self.off
        lines = ['purposes = ["NRES"]', "[disclosure]", *off.disclosure]
        for name, key in enumerate(self.analysts):
            lines += ["[[analyst]]", f'name = "analyst {name}"', f'key = "{key.public}"']
        for table in self.data.tables:
            if table.name in HIDDEN_TABLES and not off.hidden:
                continue
            lines += ["[[table]]", f'name = "{table.name}"']
            if table.name in GRANULARITY and not off.granularity:
                lines.append(f"granularity = {GRANULARITY[table.name]}")
            if off.budget:
                lines.append(f"budget = {off.budget}")
            lines.append("[table.uses]")
            for column in table.columns:
                if column.type == "person_id":
                    verbs = ["join"]
                elif column.name in HIDDEN_COLUMNS and not off.hidden:
                    continue
                else:
                    verbs = ["filter", "group", "aggregate", "rank", "model", "join"]
                    if not off.uses:
                        verbs = list(USES.get(column.name, ("filter", "group", "aggregate")))
                lines.append(f'"{column.name}" = {verbs!r}'.replace("'", '"'))
        return "\n".join(lines) + "\n"

    # ------------------------------------------------------------------------------------------ asking

    def ask(self, sql: str, *, analyst: int = 0, noise: privacy.Ask | None = None, purpose: str = "GRU") -> Answer:
        """Ask a question.

        Raises:
            MpcdError: refused, with all that the analyst is told.
        """
        if "plain" in self.off.code:
            return Answer(Table((), tuple(self._plain(sql))), None, None, ())
        if "total" in self.off.code:
            self._plain(sql)
        with self._switched():
            return self._ask(sql, analyst, noise, purpose)

    def _plain(self, sql: str) -> list[tuple[Any, ...]]:
        """The analyst's text as it stands, run over the pooled rows."""
        self._pooled = self._pooled or pooled(self.data)
        try:
            return self._pooled.execute(sql).fetchall()
        except duckdb.Error as error:
            raise EngineFailed(str(error)) from error

    def explain(self, sql: str, *, analyst: int = 0) -> PhysicalPlan:
        """What would run, as `explain` and `quote` find it; raises as `ask`."""
        with self._switched():
            return self._agree(sql, analyst, None, "GRU", dry_run=True)[1]

    def row(self, sql: str, *, analyst: int = 0) -> list[Any]:
        """The numbers of the one row of an answer; raises as `ask`, and `Stopped` where one is hidden."""
        return self.ask(sql, analyst=analyst).numbers

    def message(self, sql: str, **how: Any) -> str:
        """What the analyst is told: the refusal or error, or that there is an answer."""
        try:
            self.ask(sql, **how)
        except MpcdError as error:
            return f"{error.code}: {error}"
        return "answered"

    @contextlib.contextmanager
    def _switched(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for name in sorted(self.off.code & _CODE.keys()):
                stack.enter_context(_CODE[name]())
            yield

    def _ask(self, sql: str, analyst: int, noise: privacy.Ask | None, purpose: str) -> Answer:
        signed, plan, session, result_key = self._agree(sql, analyst, noise, purpose, dry_run=False)
        made = program(plan)
        local = trio.run(self._local, plan, made.asks)
        world = World(self._random.getrandbits(32))
        inputs = {
            place: (lambda ctx, mine=mine: made.run_input(ctx, mine[0], mine[1])) for place, mine in enumerate(local)
        }
        found = world.session(made.run_compute, inputs)
        parties = {
            party: pinned_party(party, f"party {party}", str(self._keys[party].public), computes=True)
            for party in plan.compute
        }
        releases = [
            ReleaseEnvelope.seal(
                party=party,
                session=session,
                request_digest=signed.digest(),
                plan_hash=plan.hash,
                plaintext=cast("bytes", found[role]),
                padded_bytes=len(cast("bytes", found[role])),
                result_key=result_key.public,
                signing_key=self._keys[party],
            ).to_bytes()
            for party, role in zip(plan.compute, COMPUTE_ROLES, strict=True)
        ]
        opened = open_releases(
            plan.encoded, releases, request_digest=signed.digest(), result_key=result_key, parties=parties
        )
        table = finish(opened.shape, opened.statuses, opened.values)
        messages = sorted(
            (str(m.step), str(m.sender), str(m.receiver), len(m.payload)) for m in world.lockstep.transcript
        )
        sizes: tuple[object, ...] = (world.lockstep.rounds, *messages, *(len(release) for release in releases))
        if "dense" in self.off.code:
            sizes += tuple(self._engines.groups(self.data, owner) for owner in self.owners)
        return Answer(table, opened, plan, sizes)

    def _agree(
        self, sql: str, analyst: int, noise: privacy.Ask | None, purpose: str, *, dry_run: bool
    ) -> tuple[Any, PhysicalPlan, SessionId, ResultKey]:
        key, result_key = self.analysts[analyst], ResultKey.generate(self._random.randbytes)
        request = Request.make(
            sql,
            purpose=purpose,
            analyst=key.public,
            result_key=result_key.public,
            roster_hash=self.roster.hash(),
            consortium=CONSORTIUM,
            now=AT,
            entropy=self._random.randbytes,
            kind="explain" if dry_run else "sql",
            privacy=None if noise is None else noise.encode(),
        )
        signed = request.sign(key)
        signed.verify(AT, self.roster.hash(), CONSORTIUM, roster_version=self.roster.version)
        logical = plan_sql(request.text, self.roster, request.as_of)
        decisions = [
            self._decided(owner, policy, signed, logical)
            for owner, policy in zip(self.owners, self._policies, strict=True)
        ]
        refusals = tuple(reason for decision in decisions for reason in decision.refusals)
        if refusals:
            raise Refused(refusals)
        asked = history.question(logical, self.roster)
        near = None
        if noise is None:
            near = self._remembered(asked, key.public.raw, dry_run=dry_run, cells=logical.cells)
        attempt = self._random.randbytes(agreement.ATTEMPT_BYTES)
        answers = [
            agreement.Answer(
                party=owner,
                attempt=attempt,
                request_digest=signed.digest(),
                roster_hash=self.roster.hash(),
                proposer=PartyId(0),
                dry_run=dry_run,
                verdict="agree",
                nonce=self._random.randbytes(agreement.NONCE_BYTES),
                clock_seconds=float(AT),
                plan_sections=agreement.sections(cast("Mapping[str, object]", logical.to_value())),
                rules=cast("Mapping[str, object]", policy.disclosure.to_value()),
                data_versions=self.versions(owner, logical),
                terms={**decision.terms, "history": b"".join(sorted(one.digest for one in self._kept))},
            )
            for owner, policy, decision in zip(self.owners, self._policies, decisions, strict=True)
        ]
        agreement.check_bound(answers, attempt, signed.digest(), PartyId(0), dry_run=dry_run)
        agreement.check_verdicts(answers)
        agreement.check_alike(answers)
        rules, _ = strictest(
            [(owner, policy.disclosure) for owner, policy in zip(self.owners, self._policies, strict=True)]
        )
        plan = PhysicalPlan(
            logical=self._weakened(logical),
            rules=rules,
            owners=self.owners,
            compute=(PartyId(0), PartyId(1), PartyId(2)),
            data_versions={answer.party: dict(answer.data_versions or {}) for answer in answers},
            terms=terms.agreed(answers, self.owners, at=AT * 1000, privacy=request.privacy),
            beside=near,
        )
        program(plan)
        if not dry_run:
            for owner, decision in zip(self.owners, decisions, strict=True):
                for debit in decision.debits:
                    account = (owner, debit.account)
                    self._spent[account] = self._spent.get(account, 0) + debit.amount
        return signed, plan, agreement.session_id(answers, plan.hash), result_key

    def versions(self, owner: int, plan: LogicalPlan) -> dict[str, str]:
        """Names of an owner's data versions, as `mpcd.sources.snapshot` salts them."""
        names = sorted({source.table for source in plan.sources})
        contents = {name: content_digest(self.data, owner, name) for name in names}
        if "salt" not in self.off.code:
            contents = {
                name: canonical.digest("salted-version", [self._salts[owner], content])
                for name, content in contents.items()
            }
        return {name: content.hex() for name, content in contents.items()}

    def _decided(self, owner: PartyId, policy: Policy, signed: Any, plan: LogicalPlan) -> Decision:
        """As `daemon.owner` decides."""
        request = signed.request
        identifier = "identifier" not in self.off.code
        cuts = (
            Fineness(one.path, one.verb, one.type, one.scale, one.cuts, one.identifies and identifier)
            for one in column_cuts(plan, self.roster)
        )
        asked = Asked(
            party=owner,
            analyst=request.analyst,
            kind=request.kind,
            tables=tuple(sorted({source.table for source in plan.sources})),
            uses=plan.uses,
            functions=functions(plan),
            purpose=request.purpose,
            security="malicious",
            request_digest=signed.digest(),
            question_digest=request.question_digest(),
            data_versions=self.versions(owner, plan),
            at=AT * 1000,
            owners=plan.owners,
            fineness=tuple(cuts),
            privacy=request.privacy,
            accepted=policy.accepted(request.analyst),
        )
        rho = None if request.privacy is None else privacy.charge(privacy.Ask.decode(request.privacy)).rho_units
        budgets = {name: table.budget for name, table in policy.tables.items()}

        def noise(about: Asked) -> Decision:
            granted = {name: budgets[name] for name in about.tables}
            return Decision(debits=privacy_debits(about.party, granted, cast("int", rho), about.at))

        decision = decide_all(policy, asked, privacy=noise)
        return with_balances(decision, lambda debit: self._balance(owner, debit))

    def _balance(self, owner: PartyId, debit: Debit) -> int:
        return self._spent.get((owner, debit.account), 0)

    def _remembered(self, asked: history.Question, analyst: bytes, *, dry_run: bool, cells: int) -> beside.Beside:
        """As `daemon.history`: what stands before, and from now on this too."""
        definition = asked.definition
        first, earlier = history.before(self._kept, definition, len(self._kept))
        assert history.room(self._kept, definition, analyst, AT * 1000) is None
        near = beside.plan(asked, [self._bodies[one.digest] for one in earlier], self.roster, cells)
        if not dry_run and definition.digest not in self._bodies:
            self._bodies[definition.digest] = definition
            self._kept.append(Kept(definition.digest, definition.names, analyst, AT * 1000, first))
        return near

    # ------------------------------------------------------------------------------------------ switches and engines

    def _weakened(self, plan: LogicalPlan) -> LogicalPlan:
        """The plan without the rules that are switched off."""
        gates = plan.gates
        if "complement" in self.off.code:
            gates = tuple(replace(gate, complement=None, also=()) for gate in gates)
        if "also" in self.off.code:
            gates = tuple(replace(gate, also=()) for gate in gates)
        if "dominance" in self.off.code:
            return replace(plan, gates=tuple(replace(gate, sums=()) for gate in gates), magnitudes=())
        return replace(plan, gates=gates)

    async def _local(self, plan: PhysicalPlan, asks: Sequence[str]) -> list[tuple[LocalAnswer, dict[str, Evidence]]]:
        """What each owner gives."""
        rows = None if plan.privacy is None else plan.privacy.rows_per_person
        found = []
        for owner in self.owners:
            engine = self._engines.engine(self.data, owner, self.roster)
            cells = await engine.aggregate(plan.logical, rows_per_person=rows)
            evidence: dict[str, Evidence] = {}
            for name in asks:
                if name == "dominance":
                    evidence[name] = await engine.tops(plan.logical, numbers_of(plan.rules).tops)
                else:
                    assert name == "differencing"
                    assert plan.beside is not None
                    evidence[name] = [await engine.differences(plan.beside, owner, plan.rules.safe_threshold)]
            found.append((cells, evidence))
        if "floor" in self.off.code:
            there = sum(cells.cohorts for cells, _ in found) > 0
            most = min(MANY, plan.logical.rows_per_owner_max)
            found = [(replace(cells, cohorts=np.where(there, most, 0)), evidence) for cells, evidence in found]
        return found


class Engines:
    """Engines by data, shared by houses: loading takes longer than asking."""

    def __init__(self) -> None:
        self._engines: dict[tuple[int, int], DuckdbEngine] = {}
        self._held: list[Data] = []

    def roster(self, data: Data, keys: Sequence[SigningKey]) -> Roster:
        """The consortium of some tables."""
        from mpcd.roster import Party  # noqa: PLC0415  a name that many things here have

        owners = data.tables[0].owners
        parties = tuple(
            Party(owner, f"hospital {owner}", f"channel {owner}", str(keys[owner].public), _roles(owner))
            for owner in owners
        )
        return Roster(CONSORTIUM, 1, parties, data.tables)

    def engine(self, data: Data, owner: int, roster: Roster) -> DuckdbEngine:
        """Of one owner."""
        if (id(data), owner) not in self._engines:
            self._held.append(data)
            self._engines[id(data), owner] = engine_of(data, owner, roster)
        engine = self._engines[id(data), owner]
        engine._roster = roster  # noqa: SLF001  the keys differ, the tables do not
        return engine

    def groups(self, data: Data, owner: int) -> int:
        """How many groups an owner's last answer had, before it was made dense."""
        return cast("_Pool", self._engines[id(data), owner]._pool).child.groups  # noqa: SLF001


def content_digest(data: Data, owner: int, table: str) -> bytes:
    """Of the rows of one table of one owner, in a form of its own."""
    rows = [[None if v is None else int(v) for v in row.values()] for row in data.rows[table][owner]]
    return canonical.digest("red house", cast("Any", rows))


def _roles(owner: int) -> tuple[Any, ...]:
    return ("input", "compute") if owner < COMPUTE_PARTIES else ("input",)
