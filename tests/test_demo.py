"""The demo's own arithmetic and words; the whole demo is run by `scripts/demo`."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from pathlib import Path
from types import ModuleType

import pytest

from mpcd.results.shape import INTEGER
from mpcd.results.table import Suppressed, Table, TableColumn


@pytest.fixture(scope="module")
def demo() -> ModuleType:
    path = Path(__file__).resolve().parent.parent / "scripts" / "demo.py"
    spec = importlib.util.spec_from_file_location("mpcd_demo", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["mpcd_demo"] = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(path.parent))  # as for a script: its second act stands beside it
        spec.loader.exec_module(module)
    return module


def test_group_keys_are_not_counted_among_the_cells_that_agree(demo: ModuleType) -> None:
    columns = (TableColumn("sex", INTEGER), TableColumn("n", INTEGER), TableColumn("m", INTEGER))
    table = Table(columns, ((1, 20, Suppressed("floor")), (2, 30, 5)))
    rows = demo.paired(table, [(2, 30, 5), (1, 20, 3)])
    assert demo.differences(rows, demo.keys_of(table)) == ([], 3, 1)
    wrong = demo.paired(table, [(2, 31, 5), (1, 20, 3)])
    assert demo.differences(wrong, demo.keys_of(table)) == (["30 is not 31"], 3, 1)


def test_commands_are_shown_as_a_shell_takes_them(
    demo: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    query = """SELECT "ph.ecog" FROM t WHERE sex = 'it''s $x'"""
    demo.Demo(tmp_path).mpcctl("sql", "--json", "--csv", query, expect=2)
    command = capsys.readouterr().out.splitlines()[0]
    assert shlex.split(command.removeprefix("$ ")) == ["mpcctl", "sql", "--json", "--csv", query]
