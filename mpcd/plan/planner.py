"""`plan_sql`: SQL text and roster to a logical plan (layer 3, no I/O).

The pipeline: caps and allow-list (`sql`), FROM and joins (`relation`), WHERE (`rows`), group keys (`keys`), select
list, HAVING and ORDER BY (`groups`, collecting `moments`), gates (`isolation`), then uses and a check of the finished
plan, the same one that the parent will make.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

from sqlglot import exp

from mpcd import canonical, limits
from mpcd.errors import Bug, PlanInvalid, PlanUnsupported
from mpcd.plan import uses
from mpcd.plan.check import check_plan
from mpcd.plan.groups import Groups, has_aggregate
from mpcd.plan.ir import LogicalPlan
from mpcd.plan.keys import plan_key
from mpcd.plan.moments import Moments
from mpcd.plan.names import Names, find_column
from mpcd.plan.nodes import ColumnRef, GroupKey, Join, JoinKind, Source, Truth
from mpcd.plan.relation import Relation, build
from mpcd.plan.rows import Rows, flatten, unwrap
from mpcd.plan.sql import parse, spelled
from mpcd.results import shape
from mpcd.results.schema import FormError
from mpcd.results.shape import KEYS_MAX, Output, Shape, ValueShape
from mpcd.roster.model import Roster, Table

_JOIN_KINDS: Final[dict[tuple[str, str], JoinKind]] = {
    ("", ""): "inner",
    ("", "INNER"): "inner",
    ("LEFT", ""): "left",
    ("LEFT", "OUTER"): "left",
}


def plan_sql(sql: str, roster: Roster, as_of: dt.date) -> LogicalPlan:
    """The plan of one request; the same text, roster and day give the same plan at every party.

    Args:
        sql: one SELECT in DuckDB's dialect, from anybody.
        roster: what the tables may hold.
        as_of: the day on which the request is made; part of the plan, so that parties agree on it.

    Raises:
        PlanInvalid: no SQL, or not valid against the roster.
        PlanUnsupported: valid SQL that is not answered; the message says what to write instead.
        RangeTooWide: a sum could overflow from the declared bounds; the message shows the numbers.
    """
    select = parse(sql)
    try:
        plan = _plan(select, roster, as_of)
        canonical.encode(plan.to_value())
    except RecursionError:
        raise PlanUnsupported("the SQL is nested too deeply; write it flatter") from None
    except canonical.CanonicalError:
        raise PlanUnsupported("an expression is nested too deeply or a number is too large; write it flatter") from None
    try:
        check_plan(plan, roster)
    except FormError as error:
        raise Bug(f"the planner made a plan that does not check: {error}") from error
    return plan


def _plan(select: exp.Select, roster: Roster, as_of: dt.date) -> LogicalPlan:
    sources, joins, names = _from(select, roster)
    relation = names.relation
    items = select.expressions
    if len(items) > limits.OUTPUTS_MAX:
        raise PlanUnsupported(f"{len(items)} columns are asked for; at most {limits.OUTPUTS_MAX} are answered at once")
    aliases = {item.alias.casefold(): item.this for item in items if isinstance(item, exp.Alias)}
    rows = Rows(names, aliases)
    where = select.args.get("where")
    condition = None if where is None else rows.predicate(where.this)
    condition = None if condition == Truth(True) else condition
    key_nodes = _key_nodes(select, names, aliases)
    if len(key_nodes) > KEYS_MAX:
        raise PlanUnsupported(f"GROUP BY takes at most {KEYS_MAX} columns")
    planned = [plan_key(rows, node, _key_name(node, items, names)) for node in key_nodes]
    _check_cells([key for key, _, _ in planned])
    moments = Moments(relation, condition)
    groups = Groups(rows, moments, [key for _, _, key in planned])
    outputs = tuple(_output(groups, item, names) for item in items)
    having, order = _having(select, groups, aliases), _order(select, groups, aliases)
    if not planned and not any(has_aggregate(item) for item in items):
        raise PlanUnsupported(
            "rows never leave their owners; ask for aggregates, such as COUNT(*) or AVG(...), or GROUP BY a column"
        )
    keys = tuple(key for key, _, _ in planned)
    values, protection = moments.protected(keys)
    limit, offset = _whole_number(select, "limit"), _whole_number(select, "offset") or 0
    result = Shape(
        keys=tuple(key_shape for _, key_shape, _ in planned),
        gates=len(protection.gates),
        values=tuple(ValueShape(value.field, value.gate) for value in values),
        outputs=outputs,
        having=having,
        order=order,
        limit=limit,
        offset=offset,
    )
    return _finished(
        LogicalPlan(
            sources=sources,
            joins=joins,
            where=condition,
            keys=keys,
            persons=relation.persons,
            persons_unique=relation.persons_unique,
            persons_disjoint=relation.persons_disjoint,
            rows_disjoint=True,
            rows_max=relation.rows_max,
            cohort_width=relation.cohort_width,
            cohorts=protection.cohorts,
            gates=protection.gates,
            magnitudes=protection.magnitudes,
            values=values,
            uses={},
            shape=result,
            owners=relation.owners,
            as_of=as_of,
        ),
        relation,
    )


def _finished(plan: LogicalPlan, relation: Relation) -> LogicalPlan:
    """The plan with the uses that follow from it."""
    fields = {name: getattr(plan, name) for name in LogicalPlan.__slots__}
    return LogicalPlan(**{**fields, "uses": uses.derive(plan, relation.name)})


# ------------------------------------------------------------------------------------------------ FROM


def _from(select: exp.Select, roster: Roster) -> tuple[tuple[Source, ...], tuple[Join, ...], Names]:
    origin = select.args.get("from_")
    if origin is None:
        raise PlanInvalid("FROM is missing; name a table of the roster")
    joins = select.args.get("joins") or []
    if len(joins) >= limits.PLAN_SOURCES_MAX:
        raise PlanUnsupported(f"at most {limits.PLAN_SOURCES_MAX} tables are joined")
    nodes = [origin.this, *(join.this for join in joins)]
    sources = tuple(_source(node, roster) for node in nodes)
    tables = tuple(roster.table(source.table) for source in sources)
    planned: list[Join] = []
    merged: set[ColumnRef] = set()
    for index, join in enumerate(joins, start=1):
        planned.append(_join(join, index, sources, tables, merged))
    relation = build(roster, sources, planned)
    return sources, tuple(planned), Names(tuple(source.alias for source in sources), relation, frozenset(merged))


def _source(node: exp.Expr, roster: Roster) -> Source:
    if not isinstance(node, exp.Table) or not isinstance(node.this, exp.Identifier):
        raise PlanUnsupported("FROM takes tables of the roster by name")
    name = node.name
    for table in roster.tables:
        if table.name.casefold() == name.casefold():
            return Source(table.name, node.alias or table.name)
    # No suggestion: which tables there are is not for everybody to know; `describe` lists those that one may ask about.
    raise PlanInvalid(f"there is no table {name[:60]!r}")


def _join(
    node: exp.Join, index: int, sources: tuple[Source, ...], tables: tuple[Table, ...], merged: set[ColumnRef]
) -> Join:
    kind = _JOIN_KINDS.get((str(node.args.get("side") or "").upper(), str(node.args.get("kind") or "").upper()))
    on, using = node.args.get("on"), node.args.get("using")
    if kind is None or (on is None) == (not using):
        raise PlanUnsupported("only JOIN and LEFT JOIN with ON or USING are answered")
    pairs: list[tuple[ColumnRef, ColumnRef]] = []
    if using:
        for identifier in using:
            right = _using_column(identifier.name, tables[index : index + 1], index)
            left = _using_column(identifier.name, tables[:index], 0)
            pairs.append((left, right))
            merged.add(right)
    else:
        assert on is not None
        condition = unwrap(on)
        parts = flatten(condition) if isinstance(condition, exp.And) else [condition]
        pairs.extend(_equality(unwrap(part), index, sources, tables) for part in parts)
    return Join(kind, tuple(left for left, _ in pairs), tuple(right for _, right in pairs))


def _using_column(name: str, tables: Sequence[Table], first: int) -> ColumnRef:
    for source, table in enumerate(tables, start=first):
        column = find_column(table, name)
        if column is not None:
            return ColumnRef(source, column.name)
    raise PlanInvalid(f"USING ({name}): there is no column of that name on both sides of the join")


def _equality(
    node: exp.Expr, index: int, sources: tuple[Source, ...], tables: tuple[Table, ...]
) -> tuple[ColumnRef, ColumnRef]:
    if not isinstance(node, exp.EQ):
        raise PlanUnsupported("ON takes equalities of columns, joined by AND; put other conditions into WHERE")
    sides = [_join_column(unwrap(side), index, sources, tables) for side in (node.this, node.expression)]
    left, right = sides if sides[1].source == index else reversed(sides)
    if right.source != index or left.source == index:
        raise PlanUnsupported("each equality in ON compares a column of the new table with one of the tables before it")
    return left, right


def _join_column(node: exp.Expr, index: int, sources: tuple[Source, ...], tables: tuple[Table, ...]) -> ColumnRef:
    if not isinstance(node, exp.Column) or isinstance(node.this, exp.Star):
        raise PlanUnsupported("ON takes equalities of columns, joined by AND; put other conditions into WHERE")
    qualifier = node.args.get("table")
    found: list[ColumnRef] = []
    for source in range(index + 1):
        if qualifier is None or sources[source].alias.casefold() == qualifier.name.casefold():
            column = find_column(tables[source], node.name)
            if column is not None:
                found.append(ColumnRef(source, column.name))
    if len(found) != 1:
        reason = "is in several tables; write it with its table" if found else "does not exist here"
        raise PlanInvalid(f"column {node.name!r} in ON {reason}")
    return found[0]


# ------------------------------------------------------------------------------------------------ GROUP BY


def _key_nodes(select: exp.Select, names: Names, aliases: dict[str, exp.Expr]) -> list[exp.Expr]:
    """The grouping expressions, with positions and aliases replaced as DuckDB does: columns come before aliases."""
    group = select.args.get("group")
    if group is None:
        return []
    if group.args.get("all"):
        return [_unaliased(item) for item in select.expressions if not has_aggregate(item)]
    found: list[exp.Expr] = []
    for node in group.expressions:
        inner = unwrap(node)
        if isinstance(inner, exp.Literal) and not inner.is_string:
            inner = _unaliased(_position(inner, select, "GROUP BY"))
        elif isinstance(inner, exp.Column) and inner.args.get("table") is None and names.find(inner) is None:
            inner = aliases.get(inner.name.casefold(), inner)
        if has_aggregate(inner):
            raise PlanInvalid("GROUP BY cannot take an aggregate")
        if inner not in found:
            found.append(inner)
    return found


def _position(literal: exp.Literal, select: exp.Select, clause: str) -> exp.Expr:
    text = str(literal.this)
    if not text.isdigit() or not 1 <= int(text[:6]) <= len(select.expressions):
        raise PlanInvalid(
            f"{clause} has position {text[:20]}, but there are {len(select.expressions)} columns, counted from 1"
        )
    item: exp.Expr = select.expressions[int(text) - 1]
    return item


def _unaliased(item: exp.Expr) -> exp.Expr:
    return unwrap(item.this if isinstance(item, exp.Alias) else item)


def _key_name(node: exp.Expr, items: Sequence[exp.Expr], names: Names) -> str:
    """The alias of the select item that shows the key, if it has one."""
    shown = next((item for item in items if isinstance(item, exp.Alias) and unwrap(item.this) == node), node)
    return _output_name(shown, names)


def _check_cells(keys: list[GroupKey]) -> None:
    cells = 1
    for key in keys:
        cells *= key.places
    if cells > limits.CELLS_MAX:
        arithmetic = " * ".join(f"{key.places} ({key.name}{', NULL included' if key.nullable else ''})" for key in keys)
        raise PlanUnsupported(
            f"GROUP BY would make {arithmetic} = {cells} cells; at most {limits.CELLS_MAX} are answered. Group by "
            "wider bands, such as age // 10 * 10"
        )


# ------------------------------------------------------------------------------------------------ the other clauses


def _output(groups: Groups, item: exp.Expr, names: Names) -> Output:
    typed = groups.expression(_unaliased(item))
    return Output(_output_name(item, names), typed.type, typed.expression)


def _output_name(item: exp.Expr, names: Names) -> str:
    if isinstance(item, exp.Alias):
        name = item.alias
    elif isinstance(item, exp.Column):
        found = names.find(item)
        name = item.name if found is None else found.name
    else:
        name = spelled(item)
    encoded = name.encode()
    return name if len(encoded) <= _NAME_BYTES else encoded[:_NAME_BYTES].decode(errors="ignore") + "…"


_NAME_BYTES: Final = 200


def _having(select: exp.Select, groups: Groups, aliases: dict[str, exp.Expr]) -> shape.Condition | None:
    having = select.args.get("having")
    if having is None:
        return None
    groups.aliases = aliases
    return groups.condition(having.this)


def _order(select: exp.Select, groups: Groups, aliases: dict[str, exp.Expr]) -> tuple[shape.OrderTerm, ...]:
    order = select.args.get("order")
    if order is None:
        return ()
    groups.aliases = aliases
    terms: list[shape.OrderTerm] = []
    if len(order.expressions) > limits.OUTPUTS_MAX:
        raise PlanUnsupported(f"ORDER BY takes at most {limits.OUTPUTS_MAX} columns")
    for term in order.expressions:
        node = unwrap(term.this)
        if isinstance(node, exp.Var):
            raise PlanUnsupported("ORDER BY ALL is not answered; list the columns")
        if isinstance(node, exp.Literal) and not node.is_string:
            node = _unaliased(_position(node, select, "ORDER BY"))
        elif isinstance(node, exp.Column) and node.args.get("table") is None and node.name.casefold() in aliases:
            node = aliases[node.name.casefold()]
        typed = groups.expression(node)
        terms.append(shape.OrderTerm(typed.expression, bool(term.args.get("desc")), bool(term.args.get("nulls_first"))))
    return tuple(terms)


def _whole_number(select: exp.Select, name: str) -> int | None:
    clause = select.args.get(name)
    if clause is None:
        return None
    node = unwrap(clause.expression)
    if not isinstance(node, exp.Literal) or node.is_string or not str(node.this).isdigit() or len(str(node.this)) > 9:
        raise PlanUnsupported(f"{name.upper()} takes a number of rows")
    return int(str(node.this))
