"""What a plan will do, in sentences for people: every value that may be opened, every rule, the exact cost (pure).

Stored forms are written back: a dictionary column's codes as its levels, days as dates, decimals as such; inside an
expression, where a decimal column counts in its smallest unit, that unit is said.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from mpcd.compile import explain_noise
from mpcd.compile.physical import PhysicalPlan
from mpcd.ids import PartyId
from mpcd.plan import ir
from mpcd.plan.nodes import Expr, Pred
from mpcd.protocols.verify_batch import ERROR_BITS
from mpcd.results.table import JOINED_LOCALLY
from mpcd.roster.model import Column, Roster

_OPERATORS: Final[Mapping[type, str]] = {
    ir.Add: "+",
    ir.Subtract: "-",
    ir.Multiply: "*",
    ir.FloorDivide: "div",
    ir.TruncateDivide: "//",
}


class Speaker:
    """Writes expressions of one plan in the words of one roster."""

    def __init__(self, plan: ir.LogicalPlan, roster: Roster) -> None:
        self._plan = plan
        self._columns: dict[tuple[int, str], Column] = {
            (place, column.name): column
            for place, source in enumerate(plan.sources)
            for column in roster.table(source.table).columns
        }

    def column(self, ref: ir.ColumnRef) -> str:
        """`table.column` where several tables are asked, else `column`."""
        return ref.name if len(self._plan.sources) == 1 else f"{self._plan.sources[ref.source].alias}.{ref.name}"

    def _counted(self, expr: Expr) -> str:
        """Part of a larger expression: there a decimal column counts in its smallest unit, which must be said."""
        decimals = self._columns[expr.source, expr.name].decimals if isinstance(expr, ir.ColumnRef) else 0
        name = self.expression(expr)
        return f"[{name} in units of {Decimal(1).scaleb(-decimals)}]" if decimals else name

    def expression(self, expr: Expr) -> str:
        """One expression."""
        match expr:
            case ir.ColumnRef():
                return self.column(expr)
            case ir.Constant():
                return str(expr.value)
            case ir.Negate():
                return f"-{self._counted(expr.operand)}"
            case ir.DatePart():
                return f"{expr.part}({self.expression(expr.operand)})"
            case ir.Case():
                whens = " ".join(f"WHEN {self.predicate(p)} THEN {self._counted(e)}" for p, e in expr.whens)
                otherwise = "" if expr.otherwise is None else f" ELSE {self._counted(expr.otherwise)}"
                return f"CASE {whens}{otherwise} END"
            case _:
                return f"({self._counted(expr.left)} {_OPERATORS[type(expr)]} {self._counted(expr.right)})"

    def predicate(self, pred: Pred) -> str:
        """One predicate."""
        match pred:
            case ir.Compare():
                return self._comparison(pred)
            case ir.And():
                return "(" + " AND ".join(self.predicate(part) for part in pred.parts) + ")"
            case ir.Or():
                return "(" + " OR ".join(self.predicate(part) for part in pred.parts) + ")"
            case ir.Not():
                return self._negated(pred)
            case ir.InSet():
                values = ", ".join(self._literal(pred.expr, value) for value in pred.values[:20])
                more = f", ... {len(pred.values)} in all" if len(pred.values) > 20 else ""
                return f"{self.expression(pred.expr)} IN ({values}{more})"
            case ir.IsNull():
                return f"{self.expression(pred.expr)} is missing"
            case ir.Truth():
                return "NULL" if pred.value is None else str(pred.value).upper()
            case ir.IsNotTrue():
                return f"({self._enclosed(pred.part)} is false or not known)"

    def _negated(self, pred: ir.Not) -> str:
        if isinstance(pred.part, ir.IsNull):
            return f"{self.expression(pred.part.expr)} is given"
        return f"not {self._enclosed(pred.part)}"

    def _enclosed(self, pred: Pred) -> str:
        text = self.predicate(pred)
        return text if text.startswith("(") else f"({text})"

    def _comparison(self, pred: ir.Compare) -> str:
        left, right = pred.left, pred.right
        if isinstance(right, ir.Constant):
            return f"{self.expression(left)} {pred.op} {self._literal(left, right.value)}"
        if isinstance(left, ir.Constant):
            return f"{self._literal(right, left.value)} {pred.op} {self.expression(right)}"
        return f"{self._counted(left)} {pred.op} {self._counted(right)}"

    def _literal(self, expr: Expr, value: int) -> str:
        """A stored integer as the column spells it."""
        if not isinstance(expr, ir.ColumnRef):
            return str(value)
        column = self._columns[expr.source, expr.name]
        if column.levels and 0 <= value < len(column.levels):
            return f"'{column.levels[value]}'"
        if column.decimals:
            return str(Decimal(value).scaleb(-column.decimals))
        if column.type == "date":
            return f"DATE '{dt.date(1970, 1, 1) + dt.timedelta(days=value)}'"
        return str(value)

    def value(self, value: ir.LocalValue) -> str:
        """One pooled value that may be opened."""
        what = "count of rows" if value.kind == "count" else "sum of " + " * ".join(map(self.expression, value.factors))
        conditions = [self.predicate(part) for part in (self._plan.where, value.condition) if part is not None]
        where = f" where {' and '.join(conditions)}" if conditions else ""
        return f"{what}{where}"

    def gate(self, gate: ir.Gate) -> str:
        """What must hold in a cell before what hangs on this gate is opened there."""
        inside = self._plan.cohorts[gate.inside].condition
        who = "" if inside is None else f" where {self.predicate(inside)}"
        beside = ", and enough others" if gate.outside else ""
        few = ", and no few persons make up most of it" if gate.sums else ""
        return f"if it has enough persons{who}{beside}{few}"


def opened(plan: PhysicalPlan, roster: Roster) -> list[str]:
    """A sentence for each thing that is opened to the analyst."""
    speaker = Speaker(plan.logical, roster)
    if plan.privacy is not None:
        return explain_noise.opened(plan.privacy, plan.logical, speaker.value)
    each = "the answer" if not plan.logical.keys else f"each of {plan.cell_count} cells"
    lines = [
        f"{speaker.value(value)}, pooled over {len(plan.owners)} owners, for {each}, "
        f"{speaker.gate(plan.logical.gates[value.gate])}"
        for value in plan.logical.values
    ]
    sets = len({(gate.inside, gate.outside) for gate in plan.logical.gates})
    what = "" if sets == 1 else f" and each of the {sets} sets of persons that its numbers are about"
    return [*lines, f"for {each}{what}: whether it is released, empty, or which rule suppressed it"]


def accuracy(plan: PhysicalPlan, roster: Roster) -> list[str]:
    """How near each opened number will be to the exact one; none where numbers are exact."""
    if plan.privacy is None:
        return []
    return explain_noise.accuracy(plan.privacy, plan.logical, Speaker(plan.logical, roster).value)


def notes(plan: ir.LogicalPlan, round_base: int = 1) -> list[str]:
    """What must be said beside the answer, whatever it is; `round_base`: to multiples of what values were rounded."""
    found = [JOINED_LOCALLY] if plan.joins else []
    if round_base > 1:
        found.append(
            f"counts and sums were rounded to multiples of {round_base}, and what is made of them (averages, "
            "quotients, comparisons) is made of rounded numbers"
        )
    return found


def rules(plan: PhysicalPlan, rules_of: Mapping[str, PartyId]) -> list[str]:
    """A sentence for each rule, in force or not yet."""
    if plan.privacy is not None:
        return [*explain_noise.rules(plan.privacy, plan.logical), _security(plan, rules_of)]
    numbers = plan.rules
    others = (
        "the pooled count without the largest owner's"
        if plan.logical.persons_disjoint
        else "the second-largest owner's count"
    )

    def whose(name: str) -> str:
        return f" (the rule of party {rules_of[name]})" if name in rules_of else ""

    lines = [
        f"floor: {others} must reach {numbers.safe_threshold} persons{whose('safe_threshold')}",
        f"min_owners: at least {numbers.min_owners} owners must contribute{whose('min_owners')}",
        "complement: what is left of a cell beside an output's persons must pass both too, and what is left of one "
        "output's persons beside another's" + ("" if numbers.zeros_are_disclosive else ", or be empty"),
        "zeros: "
        + ("hidden like small counts" if numbers.zeros_are_disclosive else "shown")
        + whose("zeros_are_disclosive"),
    ]
    if plan.logical.keys:
        lines.append(
            "margins: where the suppressed cells of a total (of all, or by some of the keys) would not pass together, "
            "the smallest released cell beside them is hidden too, as complement"
        )
    if plan.logical.magnitudes:
        lines.append(
            f"dominance: no sum of which {numbers.safe_nk_n} persons make up more than {numbers.safe_nk_k}"
            f"{whose('safe_nk_k')}, or of which the second-largest person would know the largest within "
            f"{numbers.safe_pratio_p} of it{whose('safe_pratio_p')}, whatever one owner knows of its own part"
        )
    if numbers.differencing:
        lines.append(
            "differencing: whom an output is about must differ from whom any earlier question was about by as many "
            "persons as a cell needs, nobody included, unless it is the same group by its very definition; what does "
            f"not is shown as suppressed by the floor{whose('differencing')}"
        )
    else:
        lines.append("differencing: not compared with earlier questions, as every owner allows it")
    if numbers.safe_round_base > 1:
        lines.append(f"rounding: to multiples of {numbers.safe_round_base}{whose('safe_round_base')}")
    lines.append(_security(plan, rules_of))
    missing = numbers.not_enforced()
    if missing:
        lines.append(
            "carried but not evaluated in this version: "
            + ", ".join(f"{name} = {number!r}" for name, number in missing.items())
        )
    return lines


def _security(plan: PhysicalPlan, rules_of: Mapping[str, PartyId]) -> str:
    if plan.security != "malicious":
        return "security: semi-honest, as every owner allows it: nothing proves that products are right"
    whose = f" (the rule of party {rules_of['security']})" if "security" in rules_of else ""
    return (
        f"security: malicious with abort; every product is proved before anything opens{whose}, error below "
        f"2^-{ERROR_BITS}"
    )
