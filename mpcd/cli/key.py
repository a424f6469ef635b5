"""`mpcctl key new | show | passphrase`: a person's own signing key, in a file under a passphrase (layer 15).

Stewards and approvers sign with keys of their own, also on a host that has no network.  The passphrase is asked for on
the terminal, or read from the first line of a file for use in scripts.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mpcd import limits
from mpcd.api.private import read_private, write_private
from mpcd.cli.shared import json_option, write_json
from mpcd.errors import KeyInvalid, LocalFault

if TYPE_CHECKING:
    from mpcd.identity import SigningKey, VerifyKey
    from mpcd.identity.locked import LockedKey

_FILE = click.Path(dir_okay=False, path_type=Path)
_PRESENT = click.Path(exists=True, dir_okay=False, path_type=Path)
passphrase_option = click.option(
    "--passphrase-file", type=_PRESENT, help="Read the passphrase from the first line of this file instead of asking."
)


@click.group()
def key() -> None:
    """Make and look after your own signing key (stewards, approvers)."""


@key.command()
@click.argument("file", type=_FILE)
@passphrase_option
@json_option
def new(file: Path, passphrase_file: Path | None, as_json: bool) -> None:
    """Make a signing key in FILE, encrypted with a passphrase; show what the owner writes into the policy."""
    from mpcd.identity import SigningKey  # noqa: PLC0415  # only where keys are used
    from mpcd.identity.locked import LockedKey, check_passphrase  # noqa: PLC0415

    if file.exists():
        raise LocalFault(f"{file} exists; a key file is never overwritten: move it away first")
    words = _passphrase(passphrase_file, confirm=True)
    check_passphrase(words)
    made = LockedKey.lock(SigningKey.generate(os.urandom), words, os.urandom)
    write_private(file, made.to_bytes())
    _print_key(made.public, file, as_json=as_json)


@key.command()
@click.argument("file", type=_PRESENT)
@json_option
def show(file: Path, as_json: bool) -> None:
    """Show the public half of the key in FILE; needs no passphrase."""
    _print_key(read_locked(file).public, file, as_json=as_json)


@key.command()
@click.argument("file", type=_PRESENT)
@passphrase_option
@click.option("--new-passphrase-file", type=_PRESENT, help="Read the new passphrase from this file.")
def passphrase(file: Path, passphrase_file: Path | None, new_passphrase_file: Path | None) -> None:
    """Change the passphrase of the key in FILE; the key itself stays."""
    from mpcd.identity.locked import LockedKey, check_passphrase  # noqa: PLC0415

    opened = unlock(file, passphrase_file)
    words = _passphrase(new_passphrase_file, confirm=True, prompt="New passphrase")
    check_passphrase(words)
    beside = file.with_name(file.name + ".new")
    write_private(beside, LockedKey.lock(opened, words, os.urandom).to_bytes())
    beside.replace(file)
    click.echo(f"the passphrase of {file} is changed; copies of the old file still open with the old one")


def _print_key(public: VerifyKey, file: Path, *, as_json: bool) -> None:
    if as_json:
        write_json({"file": str(file), "key": str(public), "fingerprint": public.fingerprint()})
        return
    click.echo(f"key          {public}")
    click.echo(f"fingerprint  {public.fingerprint()}")
    click.echo("Give the key to the data steward, and read the fingerprint out to them.")


# ------------------------------------------------------------------------------------------------ for other commands


def read_locked(file: Path) -> LockedKey:
    """The key in `file`, still locked.

    Raises:
        KeyInvalid: no such key there.
        LocalFault: cannot be read.
    """
    from mpcd.identity.locked import LockedKey  # noqa: PLC0415

    return LockedKey.from_bytes(read_private(file, limits.KEY_FILE_BYTES_MAX))


def unlock(file: Path, passphrase_file: Path | None) -> SigningKey:
    """The key in `file`; asks for its passphrase."""
    return read_locked(file).unlock(_passphrase(passphrase_file, confirm=False))


def _passphrase(file: Path | None, *, confirm: bool, prompt: str = "Passphrase") -> str:
    if file is None:
        words: str = click.prompt(prompt, hide_input=True, confirmation_prompt=confirm, err=True)
        return words
    try:
        with file.open(encoding="utf-8") as opened:
            return opened.readline(limits.PASSPHRASE_BYTES_MAX + 2).rstrip("\r\n")
    except (OSError, UnicodeError) as error:
        raise KeyInvalid(f"the passphrase in {file} cannot be read") from error
