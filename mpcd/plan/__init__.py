"""From analyst's SQL to a typed integer plan that every party can check (layer 3)."""

from mpcd.plan.ir import LogicalPlan
from mpcd.plan.planner import plan_sql
from mpcd.plan.summary import summary

__all__ = ["LogicalPlan", "plan_sql", "summary"]
