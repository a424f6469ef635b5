"""`mpcd keygen`: fresh private keys in files of mode 0600, public keys on the screen (layer 13)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mpcd.daemon.psk import PSK_BYTES, write_psk
from mpcd.errors import ConfigurationInvalid
from mpcd.identity import ChannelKey, ChannelPublicKey, Entropy, SigningKey, VerifyKey
from mpcd.store.keyfiles import write_key

CHANNEL_FILE: Final = "channel.key"
SIGNING_FILE: Final = "signing.key"


@dataclass(frozen=True, slots=True)
class PartyKeys:
    """The public halves of a party's keys, for the roster."""

    channel: ChannelPublicKey
    signing: VerifyKey


def make_party_keys(directory: Path, entropy: Entropy = os.urandom) -> PartyKeys:
    """Make the channel and the signing key of a party; refuses to overwrite either.

    Raises:
        ConfigurationInvalid: a key file is there already, or the directory cannot be written.
    """
    channel_path, signing_path = directory / CHANNEL_FILE, directory / SIGNING_FILE
    for path in (channel_path, signing_path):
        if path.exists():
            raise ConfigurationInvalid("A key is here already; keys are never overwritten.", path=str(path))
    _make_directory(directory)
    channel, signing = ChannelKey.generate(entropy), SigningKey.generate(entropy)
    write_key(channel_path, channel)
    write_key(signing_path, signing)
    return PartyKeys(channel.public, signing.public)


def make_analyst_key(directory: Path, entropy: Entropy = os.urandom) -> VerifyKey:
    """Make an analyst's signing key."""
    _make_directory(directory)
    key = SigningKey.generate(entropy)
    write_key(directory / SIGNING_FILE, key)
    return key.public


def make_psk(path: Path, entropy: Entropy = os.urandom) -> None:
    """Make a pre-shared key for one pair; carry it to the other party by hand."""
    _make_directory(path.parent)
    write_psk(path, entropy(PSK_BYTES))


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationInvalid(f"Cannot make the directory: {error.strerror}.", path=str(directory)) from error
