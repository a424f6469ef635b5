from __future__ import annotations

import random
import stat
from pathlib import Path

import pytest

from mpcd.api.private import read_private, write_private
from mpcd.api.waitlist import DIRECTORY, MAGIC, WaitList
from mpcd.errors import LocalFault, NotFound
from mpcd.identity import Request, ResultKey, SignedRequest, SigningKey, seal, unseal
from mpcd.ids import RosterHash

ENTROPY = random.Random(4).randbytes
ANNA = SigningKey.generate(ENTROPY)


def request(now: int = 1_800_000_000) -> tuple[SignedRequest, ResultKey]:
    key = ResultKey.generate(ENTROPY)
    made = Request.make(
        "SELECT 1",
        purpose="HMB",
        analyst=ANNA.public,
        result_key=key.public,
        roster_hash=RosterHash(bytes(32)),
        consortium="three",
        now=now,
        entropy=ENTROPY,
        wait_seconds=60,
    )
    return made.sign(ANNA), key


def test_what_is_kept_opens_the_result(tmp_path: Path) -> None:
    waitlist = WaitList(tmp_path)
    assert list(waitlist.entries()) == []
    later, earlier = request(1_800_000_009), request()
    for signed, key in (later, earlier):
        waitlist.keep(signed, key)
    assert [entry.request for entry in waitlist.entries()] == [earlier[0], later[0]]
    found = waitlist.find(later[0].digest().hex()[:16])
    sealed = seal(later[1].public, b"info", b"secret")
    assert unseal(found.result_key(), b"info", sealed) == b"secret"


def test_the_key_is_its_owners_alone(tmp_path: Path) -> None:
    signed, key = request()
    WaitList(tmp_path).keep(signed, key)
    file = tmp_path / DIRECTORY / signed.digest().hex()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    with pytest.raises(LocalFault, match="cannot be written"):
        WaitList(tmp_path).keep(signed, key)


def test_names_are_beginnings(tmp_path: Path) -> None:
    waitlist = WaitList(tmp_path)
    signed, key = request()
    waitlist.keep(signed, key)
    name = signed.digest().hex()
    assert waitlist.find(name.upper()).name == name
    for wrong in ("", name[:5], "f" * 64 if name[0] != "f" else "0" * 64):
        with pytest.raises(NotFound):
            waitlist.find(wrong)


def test_what_is_forgotten_is_gone(tmp_path: Path) -> None:
    waitlist = WaitList(tmp_path)
    signed, key = request()
    waitlist.keep(signed, key)
    waitlist.forget(signed.digest())
    waitlist.forget(signed.digest())
    assert list(waitlist.entries()) == []


@pytest.mark.parametrize("content", [b"", b"other", MAGIC, MAGIC + b"\xc0", MAGIC + b"\x80"])
def test_a_file_that_is_none_is_left_out(tmp_path: Path, content: bytes) -> None:
    waitlist = WaitList(tmp_path)
    signed, key = request()
    waitlist.keep(signed, key)
    (tmp_path / DIRECTORY / "junk").write_bytes(content)
    assert [entry.request for entry in waitlist.entries()] == [signed]


def test_a_private_file_is_never_overwritten(tmp_path: Path) -> None:
    write_private(tmp_path / "f", b"one")
    with pytest.raises(LocalFault):
        write_private(tmp_path / "f", b"two")
    assert read_private(tmp_path / "f", 10) == b"one"
    assert read_private(tmp_path / "f", 1) == b"on"
    with pytest.raises(LocalFault, match="cannot be read"):
        read_private(tmp_path / "none", 10)
