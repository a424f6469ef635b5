from __future__ import annotations

import os
import random
import stat
from pathlib import Path

import pytest

from mpcd.errors import ConfigurationInvalid, LocalFault
from mpcd.identity import ChannelKey, PrivateKey, ResultKey, SigningKey
from mpcd.store.keyfiles import read_key, read_private_file, write_key

KINDS: tuple[type[PrivateKey], ...] = (SigningKey, ChannelKey, ResultKey)


def written(path: Path, kind: type[PrivateKey] = SigningKey) -> PrivateKey:
    key = kind.generate(random.Random(6).randbytes)
    write_key(path, key)
    return key


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_comes_back(tmp_path: Path, kind: type[PrivateKey]) -> None:
    key = written(tmp_path / "key", kind)
    back = read_key(tmp_path / "key", kind)
    assert back.public == key.public
    assert back.expose_private_bytes() == key.expose_private_bytes()
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_the_mode_does_not_depend_on_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        written(tmp_path / "key")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", KINDS)
def test_a_key_serves_one_purpose(tmp_path: Path, kind: type[PrivateKey], other: type[PrivateKey]) -> None:
    written(tmp_path / "key", kind)
    if kind is not other:
        with pytest.raises(ConfigurationInvalid, match=f"`{other.kind}` is needed"):
            read_key(tmp_path / "key", other)


@pytest.mark.parametrize("mode", [0o640, 0o620, 0o610, 0o604, 0o602, 0o601, 0o644, 0o666])
def test_a_key_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    written(tmp_path / "key")
    (tmp_path / "key").chmod(mode)
    with pytest.raises(ConfigurationInvalid, match=rf"mode {mode:04o}.*chmod 600"):
        read_key(tmp_path / "key", SigningKey)
    (tmp_path / "key").chmod(0o400)
    read_key(tmp_path / "key", SigningKey)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_the_owner_counts(tmp_path: Path) -> None:
    written(tmp_path / "key")
    os.chown(tmp_path / "key", 12345, -1)
    with pytest.raises(ConfigurationInvalid, match="belongs to uid 12345"):
        read_key(tmp_path / "key", SigningKey)


@pytest.mark.skipif(os.geteuid() != 0, reason="credentials belong to root")
def test_a_credential_may_show_its_access_list(tmp_path: Path) -> None:
    written(tmp_path / "key")
    (tmp_path / "key").chmod(0o440)
    read_key(tmp_path / "key", SigningKey, credentials_directory=tmp_path)
    for mode in (0o444, 0o460, 0o450):
        (tmp_path / "key").chmod(mode)
        with pytest.raises(ConfigurationInvalid):
            read_key(tmp_path / "key", SigningKey, credentials_directory=tmp_path)
    (tmp_path / "key").chmod(0o440)
    with pytest.raises(ConfigurationInvalid):
        read_key(tmp_path / "key", SigningKey, credentials_directory=tmp_path / "other")


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    key = written(tmp_path / "key")
    with pytest.raises(LocalFault, match="never overwritten"):
        written(tmp_path / "key", ChannelKey)
    assert read_key(tmp_path / "key", SigningKey).public == key.public
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(LocalFault):
        written(tmp_path / "link")
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_no_other_key(tmp_path: Path, kind: type[PrivateKey]) -> None:
    path = tmp_path / "key"
    written(path, kind)
    content = path.read_bytes()
    seeded = random.Random(7)
    places = {*range(60), *(seeded.randrange(len(content)) for _ in range(60)), len(content) - 1}
    for place in sorted(places):
        if place < len(content):
            bit = 1 << seeded.randrange(8)
            path.write_bytes(content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :])
            try:
                back = read_key(path, kind)
            except ConfigurationInvalid:
                continue
            # X25519 ignores five bits of its seed: the key is the same one
            assert (
                back.public.raw
                == content[len(content) - kind.seed_bytes - len(back.public.raw) :][: len(back.public.raw)]
            )
    for size in (0, 5, 20, 30, len(content) - kind.seed_bytes, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(ConfigurationInvalid):
            read_key(path, kind)
    path.write_bytes(content + b"\0")
    with pytest.raises(ConfigurationInvalid):
        read_key(path, kind)


def test_no_error_shows_the_key(tmp_path: Path) -> None:
    key = written(tmp_path / "key")
    secret = key.expose_private_bytes()
    content = (tmp_path / "key").read_bytes()
    (tmp_path / "key").write_bytes(content.replace(key.public.raw, bytes(32)))
    with pytest.raises(ConfigurationInvalid) as caught:
        read_key(tmp_path / "key", SigningKey)
    assert secret.hex() not in str(caught.value)
    assert repr(secret)[2:-1] not in str(caught.value)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LocalFault, match="cannot be read"):
        read_key(tmp_path / "absent", SigningKey)
    with pytest.raises(ConfigurationInvalid, match="regular"):
        read_key(tmp_path, SigningKey)
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ConfigurationInvalid, match="regular"):
        read_key(tmp_path / "pipe", SigningKey)
    (tmp_path / "big").touch(0o600)
    (tmp_path / "big").write_bytes(bytes(5000))
    with pytest.raises(ConfigurationInvalid, match="longer than"):
        read_key(tmp_path / "big", SigningKey)
    (tmp_path / "text").touch(0o600)
    (tmp_path / "text").write_text("-----BEGIN PRIVATE KEY-----")
    with pytest.raises(ConfigurationInvalid, match="mpcd keygen"):
        read_key(tmp_path / "text", SigningKey)


def test_other_secrets_are_read_under_the_same_rules(tmp_path: Path) -> None:
    path = tmp_path / "psk"
    path.touch(0o600)
    path.write_bytes(b"\1" * 32)
    assert read_private_file(path, 32) == b"\1" * 32
    with pytest.raises(ConfigurationInvalid, match="longer"):
        read_private_file(path, 31)
    path.chmod(0o644)
    with pytest.raises(ConfigurationInvalid, match="0644"):
        read_private_file(path, 32)
