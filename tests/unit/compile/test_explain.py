"""What `explain` and the lines below an answer say, on real plans."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from mpcd.compile import explain
from mpcd.plan.ir import LogicalPlan
from mpcd.plan.planner import plan_sql
from mpcd.results.table import JOINED_LOCALLY
from mpcd.roster.parse import parse

ROSTER = parse((Path(__file__).parents[1] / "plan" / "hospitals.toml").read_text())
JOIN = "SELECT COUNT(*) FROM visits v JOIN patients p ON v.pid = p.pid"


def planned(sql: str) -> LogicalPlan:
    return plan_sql(sql, ROSTER, dt.date(2026, 1, 1))


def test_joins_are_said_to_be_local_and_nothing_else_is() -> None:
    assert explain.notes(planned(JOIN)) == [JOINED_LOCALLY]
    assert explain.notes(planned("SELECT COUNT(*) FROM gbsg2")) == []
