"""Plans and refusals as text, in files: a change of what is planned is a change of these files.

Each block is SQL, then its outcome behind `-- `.  `MPCD_GOLDEN_UPDATE=1` writes the outcomes anew, to be read in
review.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable

import pytest

from mpcd.errors import CallerFault
from mpcd.plan import LogicalPlan, summary

GOLDEN = pathlib.Path(__file__).parents[2] / "golden" / "plan"
FILES = ("answered.sql", "refused.sql")


def blocks(name: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for block in (GOLDEN / name).read_text().strip("\n").split("\n\n"):
        lines = block.split("\n")
        sql = "\n".join(line for line in lines if not line.startswith("-- "))
        found.append((sql, "\n".join(line[3:] for line in lines if line.startswith("-- "))))
    return found


def outcome(plan: Callable[[str], LogicalPlan], sql: str) -> str:
    try:
        return summary(plan(sql)).strip()
    except CallerFault as error:
        return f"{type(error).__name__}: {error}"


@pytest.mark.parametrize("name", FILES)
def test_golden(name: str, plan: Callable[[str], LogicalPlan]) -> None:
    actual = [(sql, outcome(plan, sql)) for sql, _ in blocks(name)]
    if os.environ.get("MPCD_GOLDEN_UPDATE"):
        text = "\n\n".join(f"{sql}\n" + "\n".join(f"-- {line}" for line in out.split("\n")) for sql, out in actual)
        (GOLDEN / name).write_text(text + "\n")
    for (sql, expected), (_, out) in zip(blocks(name), actual, strict=True):
        assert out == expected, sql


def test_refusals_are_refusals_and_enough() -> None:
    refused = blocks("refused.sql")
    assert len(refused) >= 40
    for sql, expected in refused:
        assert expected.startswith(("PlanInvalid: ", "PlanUnsupported: ", "RangeTooWide: ")), sql


def test_answers_are_answers() -> None:
    for sql, expected in blocks("answered.sql"):
        assert expected.startswith("from "), sql
