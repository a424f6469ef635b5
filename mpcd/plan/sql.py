"""From untrusted text to one SELECT whose every node is known (layer 3, no I/O).

Bytes are capped before the tokeniser sees them and tokens before the parser does; the parser runs in a killable
child. sqlglot is permissive: `read_csv()`, `getenv()` and much else parse.  So every node's class, and every argument
that a node carries, must be in the table below; anything else is refused by name.  sqlglot's `qualify` and
`annotate_types` are not used: with one SELECT and no subqueries names resolve in a few lines (`mpcd.plan.names`), in
DuckDB's own order of precedence, while `qualify` expands lateral aliases in exponential time and rewrites what it
cannot know.  Its optimizer and planner are never used, because they change results.
"""

from __future__ import annotations

from typing import ClassVar, Final

from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.errors import ParseError, SqlglotError
from sqlglot.generators.duckdb import DuckDBGenerator
from sqlglot.tokenizer_core import Token, TokenType

from mpcd import limits
from mpcd.errors import PlanInvalid, PlanUnsupported

_FIRST: Final = frozenset({TokenType.SELECT, TokenType.FROM, TokenType.WITH, TokenType.L_PAREN})
_JOINS: Final = frozenset({TokenType.JOIN, TokenType.STRAIGHT_JOIN})
_BINARY: Final = frozenset({"this", "expression"})
_UNARY: Final = frozenset({"this"})

_AGGREGATES: Final[dict[type[exp.Expr], frozenset[str]]] = {
    exp.Count: frozenset({"this", "big_int"}),
    exp.Sum: _UNARY,
    exp.Avg: _UNARY,
    exp.Variance: _UNARY,
    exp.VariancePop: _UNARY,
    exp.Stddev: _UNARY,
    exp.StddevSamp: _UNARY,
    exp.StddevPop: _UNARY,
    exp.CovarSamp: _BINARY,
    exp.CovarPop: _BINARY,
    exp.Corr: _BINARY,
    exp.RegrSlope: _BINARY,
    exp.RegrIntercept: _BINARY,
    exp.RegrR2: _BINARY,
    exp.RegrCount: _BINARY,
    exp.RegrAvgx: _BINARY,
    exp.RegrAvgy: _BINARY,
}
AGGREGATES: Final = tuple(_AGGREGATES)
NAMED_FUNCTIONS: Final = frozenset(
    {"mean", "date_part", "datepart", "var_samp", "regr_count", "regr_avgx", "regr_avgy"}
)
"""Functions that the parser knows by name only."""

_ALLOWED: Final[dict[type[exp.Expr], frozenset[str]]] = {
    **_AGGREGATES,
    exp.Select: frozenset({"expressions", "from_", "joins", "where", "group", "having", "order", "limit", "offset"}),
    exp.From: _UNARY,
    exp.Table: frozenset({"this", "alias"}),
    exp.TableAlias: _UNARY,
    exp.Join: frozenset({"this", "side", "kind", "on", "using"}),
    exp.Where: _UNARY,
    exp.Group: frozenset({"expressions", "all"}),
    exp.Having: _UNARY,
    exp.Order: frozenset({"expressions"}),
    exp.Ordered: frozenset({"this", "desc", "nulls_first"}),
    exp.Limit: frozenset({"expression"}),
    exp.Offset: frozenset({"expression"}),
    exp.Alias: frozenset({"this", "alias"}),
    exp.Column: frozenset({"this", "table"}),
    exp.Identifier: frozenset({"this", "quoted"}),
    exp.Literal: frozenset({"this", "is_string"}),
    exp.Star: frozenset(),
    exp.Null: frozenset(),
    exp.Boolean: _UNARY,
    exp.Paren: _UNARY,
    exp.Filter: _BINARY,
    exp.And: _BINARY,
    exp.Or: _BINARY,
    exp.Not: _UNARY,
    exp.EQ: _BINARY,
    exp.NEQ: _BINARY,
    exp.LT: _BINARY,
    exp.LTE: _BINARY,
    exp.GT: _BINARY,
    exp.GTE: _BINARY,
    exp.Is: _BINARY,
    exp.Between: frozenset({"this", "low", "high"}),
    exp.In: frozenset({"this", "expressions"}),
    exp.Like: frozenset({"this", "expression", "negate"}),
    exp.ILike: frozenset({"this", "expression", "negate"}),
    exp.Escape: _BINARY,
    exp.Add: _BINARY,
    exp.Sub: _BINARY,
    exp.Mul: _BINARY,
    exp.Div: frozenset({"this", "expression", "typed", "safe"}),
    exp.IntDiv: _BINARY,
    exp.Mod: _BINARY,
    exp.Neg: _UNARY,
    exp.Floor: _UNARY,
    exp.Ceil: _UNARY,
    exp.Round: frozenset({"this", "decimals"}),
    exp.Trunc: _UNARY,
    exp.Abs: _UNARY,
    exp.Sqrt: _UNARY,
    exp.Coalesce: frozenset({"this", "expressions"}),
    exp.Nullif: _BINARY,
    exp.Case: frozenset({"this", "ifs", "default"}),
    exp.If: frozenset({"this", "true", "false"}),
    exp.Cast: frozenset({"this", "to"}),
    exp.DataType: frozenset({"this", "expressions"}),
    exp.DataTypeParam: _UNARY,
    exp.Year: _UNARY,
    exp.Quarter: _UNARY,
    exp.Month: _UNARY,
    exp.Day: _UNARY,
    exp.DayOfWeek: _UNARY,
    exp.DayOfWeekIso: _UNARY,
    exp.DayOfYear: _UNARY,
    exp.Extract: _BINARY,
    exp.DateDiff: frozenset({"this", "expression", "unit", "date_part_boundary"}),
    exp.Var: _UNARY,
    exp.Anonymous: frozenset({"this", "expressions"}),
}

_ADVICE: Final[dict[type[exp.Expr], str]] = {
    exp.Distinct: "DISTINCT needs rows of different owners to meet; GROUP BY the column and count the groups instead",
    exp.Window: "window functions are not answered; aggregate with GROUP BY instead",
    exp.Subquery: "subqueries are not answered; write one SELECT over tables",
    exp.Exists: "subqueries are not answered; write one SELECT over tables",
    exp.With: "WITH is not answered; write one SELECT over tables",
    exp.CTE: "WITH is not answered; write one SELECT over tables",
    exp.Min: "MIN shows one person's value; use AVG, STDDEV_SAMP or a GROUP BY over bands",
    exp.Max: "MAX shows one person's value; use AVG, STDDEV_SAMP or a GROUP BY over bands",
    exp.Median: "MEDIAN is not answered yet; use AVG, or counts GROUP BY bands",
    exp.Quantile: "quantiles are not answered yet; use AVG, or counts GROUP BY bands",
    exp.PercentileCont: "quantiles are not answered yet; use AVG, or counts GROUP BY bands",
    exp.PercentileDisc: "quantiles are not answered yet; use AVG, or counts GROUP BY bands",
    exp.CurrentDate: "nothing in a request may read the clock; write the day, such as DATE '2026-01-31'",
    exp.CurrentTimestamp: "nothing in a request may read the clock; write the day, such as DATE '2026-01-31'",
    exp.Rand: "random functions are not answered",
    exp.Cube: "CUBE, ROLLUP and GROUPING SETS are not answered; ask for each grouping by itself",
    exp.Rollup: "CUBE, ROLLUP and GROUPING SETS are not answered; ask for each grouping by itself",
    exp.GroupingSets: "CUBE, ROLLUP and GROUPING SETS are not answered; ask for each grouping by itself",
    exp.Qualify: "window functions are not answered; aggregate with GROUP BY instead",
    exp.Placeholder: "parameters are not answered; write the value",
    exp.Parameter: "parameters are not answered; write the value",
    exp.NullSafeEQ: "IS NOT DISTINCT FROM is not answered; write x = y OR (x IS NULL AND y IS NULL)",
    exp.NullSafeNEQ: "IS DISTINCT FROM is not answered; write x <> y OR x IS NULL OR y IS NULL as it is meant",
    exp.RegexpLike: "regular expressions are not answered; use LIKE or IN on a dictionary column",
    exp.DPipe: "text cannot be put together; GROUP BY the columns themselves",
    exp.CountIf: "write COUNT(*) FILTER (WHERE ...)",
    exp.LogicalAnd: "use COUNT(*) FILTER (WHERE ...) and compare with COUNT(*)",
    exp.LogicalOr: "use COUNT(*) FILTER (WHERE ...) and compare with 0",
    exp.Pow: "powers are not answered; write x * x",
    exp.Tuple: "rows of values are not compared; compare the columns one by one with AND",
    exp.Interval: "intervals are not answered; add or subtract a number of days",
}
_ARGUMENT_ADVICE: Final[dict[str, str]] = {
    "distinct": "SELECT DISTINCT is not answered; GROUP BY the columns instead",
    "with_": "WITH is not answered; write one SELECT over tables",
    "windows": "window functions are not answered; aggregate with GROUP BY instead",
    "qualify": "window functions are not answered; aggregate with GROUP BY instead",
    "sample": "samples are not answered",
    "method": "only JOIN and LEFT JOIN with ON or USING are answered",
    "query": "subqueries are not answered; list the values",
    "db": "tables are named without a schema",
    "symmetric": "BETWEEN SYMMETRIC is not answered; order the two bounds",
    "columns": "the columns of a table keep their names",
    "locks": "a request only reads",
    "into": "a request only reads",
    "except_": "name the aggregates that you want",
    "limit_options": "LIMIT takes a number of rows",
}


class _Names(DuckDBGenerator):
    """Writes expressions as column names: one spelling for each, whatever the text said."""

    TRANSFORMS: ClassVar = {
        **DuckDBGenerator.TRANSFORMS,
        exp.Variance: lambda self, node: self.func("VAR_SAMP", node.this),
        exp.VariancePop: lambda self, node: self.func("VAR_POP", node.this),
        exp.Stddev: lambda self, node: self.func("STDDEV_SAMP", node.this),
    }


def spelled(node: exp.Expr) -> str:
    """The expression as the name of a column."""
    return str(_Names(comments=False).generate(node))


def parse(sql: str) -> exp.Select:
    """The one SELECT in `sql`, all of whose nodes and arguments are in the table.

    Raises:
        PlanInvalid: too long, no SQL, or not exactly one statement.
        PlanUnsupported: anything that is not answered, by name and with what to write instead.
    """
    if len(sql.encode(errors="surrogatepass")) > limits.SQL_BYTES_MAX:
        raise PlanInvalid(f"the SQL is longer than {limits.SQL_BYTES_MAX} bytes")
    if not sql.isascii() and any("\ud800" <= character <= "\udfff" for character in sql):
        raise PlanInvalid("the SQL is not valid text")
    dialect = DuckDB()
    try:
        tokens = dialect.tokenize(sql)
        if len(tokens) > limits.SQL_TOKENS_MAX:
            raise PlanInvalid(f"the SQL has {len(tokens)} words and signs; at most {limits.SQL_TOKENS_MAX} are read")
        _check_one_select(tokens)
        statements = [statement for statement in dialect.parser().parse(tokens, sql) if statement is not None]
    except ParseError as error:
        raise PlanInvalid(_where(error)) from None
    except SqlglotError:
        raise PlanInvalid("the text cannot be read as SQL: a quote or comment is not closed") from None
    except RecursionError:
        raise PlanUnsupported("the SQL is nested too deeply; write it flatter") from None
    if len(statements) != 1:
        raise PlanInvalid(f"a request is exactly one SELECT; this text has {len(statements)} statements")
    statement = statements[0]
    if isinstance(statement, exp.SetOperation):
        raise PlanUnsupported("UNION, EXCEPT and INTERSECT are not answered; ask each SELECT by itself")
    if not isinstance(statement, exp.Select):
        raise PlanInvalid(f"a request is exactly one SELECT, not {_spoken(type(statement))}")
    _check(statement)
    return statement


def _check_one_select(tokens: list[Token]) -> None:
    """Refuse, before the parser sees it, what starts otherwise or goes on after a semicolon."""
    kinds = [token.token_type for token in tokens]
    while kinds and kinds[-1] == TokenType.SEMICOLON:
        kinds.pop()
    if not kinds or TokenType.SEMICOLON in kinds:
        raise PlanInvalid("a request is exactly one SELECT")
    if sum(kind in _JOINS for kind in kinds) >= limits.PLAN_SOURCES_MAX:
        # The parser takes twice as long for each JOIN that has no ON.
        raise PlanUnsupported(f"at most {limits.PLAN_SOURCES_MAX} tables are joined")
    if kinds[0] not in _FIRST:
        raise PlanInvalid(f"a request is exactly one SELECT; this one starts with {tokens[0].text[:20].upper()}")


def _where(error: ParseError) -> str:
    details = error.errors[0] if error.errors else {}
    line, column, near = details.get("line"), details.get("col"), details.get("highlight")
    place = f" at line {line}, column {column}" if line is not None else ""
    return f"the text cannot be read as SQL{place}" + (f", near {str(near)[:40]!r}" if near else "")


def _check(statement: exp.Select) -> None:
    """Refuse every node class and argument that is not in the table."""
    pending: list[exp.Expr] = [statement]
    for node in pending:
        allowed = _ALLOWED.get(type(node))
        if allowed is None:
            raise PlanUnsupported(_ADVICE.get(type(node), f"{_spoken(type(node))} is not answered"))
        if isinstance(node, exp.Select) and node is not statement:
            raise PlanUnsupported("subqueries are not answered; write one SELECT over tables")
        if isinstance(node, exp.Anonymous) and str(node.this).lower() not in NAMED_FUNCTIONS:
            raise PlanUnsupported(_unknown_function(str(node.this)))
        for name, value in node.args.items():
            if value is None or value is False or value == []:
                continue
            if name not in allowed:
                raise PlanUnsupported(_argument_advice(node, name, value))
            items = value if isinstance(value, list) else [value]
            pending.extend(item for item in items if isinstance(item, exp.Expr))


def _argument_advice(node: exp.Expr, name: str, value: object) -> str:
    if name in _ARGUMENT_ADVICE:
        return _ARGUMENT_ADVICE[name]
    if isinstance(node, exp.Order):
        return "ORDER BY inside an aggregate is not answered"
    if isinstance(value, exp.Expr) and type(value) in _ADVICE:
        return _ADVICE[type(value)]
    return f"{name.rstrip('_')} of {_spoken(type(node))} is not answered"


def _unknown_function(name: str) -> str:
    if name.lower() in {"now", "today", "get_current_timestamp", "transaction_timestamp"}:
        return _ADVICE[exp.CurrentDate]
    return f"function {name[:40]}() is not answered"


def _spoken(kind: type[exp.Expr]) -> str:
    names = getattr(kind, "_sql_names", None)
    return str(names[0]) if names else kind.__name__.upper()
