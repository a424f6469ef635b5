"""The opt-out list: its owner's alone, each id once, comments and blanks left out."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from mpcd import limits
from mpcd.errors import DataInvalid, RequestInvalid
from mpcd.sources import optout


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def test_no_file_is_nobody(tmp_path: Path) -> None:
    assert optout.read(tmp_path / "none.txt") == ()


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "list.txt"
    optout.write(path, [" A-1 ", "007", "A-1", "Åke"])
    assert optout.read(path) == ("A-1", "007", "Åke")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    optout.write(path, [])
    assert optout.read(path) == ()


def test_a_list_by_hand_may_have_comments(tmp_path: Path) -> None:
    assert optout.read(written(tmp_path / "l", "# letter of 3 May\n\n  12 \r\n13\n12\n #14\n")) == ("12", "13")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_list_that_others_may_open_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(DataInvalid, match="chmod 600"):
        optout.read(written(tmp_path / "l", "1\n", mode))


def test_what_cannot_be_a_list_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "l"
    path.write_bytes(b"\xff\n")
    path.chmod(0o600)
    with pytest.raises(DataInvalid, match="UTF-8"):
        optout.read(path)
    with pytest.raises(DataInvalid, match="cannot be read"):
        optout.read(tmp_path)
    with pytest.raises(DataInvalid, match="characters"):
        optout.read(written(path, "x" * (limits.OPT_OUT_ID_CHARACTERS_MAX + 1)))
    monkeypatch.setattr(limits, "OPT_OUT_IDS_MAX", 2)
    with pytest.raises(DataInvalid, match="more than 2"):
        optout.read(written(path, "1\n2\n3\n"))


@pytest.mark.parametrize("bad", ["", "  ", "#1", "a\nb", "a\x00"])
def test_an_id_is_a_line(bad: str) -> None:
    with pytest.raises(RequestInvalid, match="one line"):
        optout.checked(["1", bad])
    assert optout.checked(["1", " 1 ", "2"]) == ("1", "2")
