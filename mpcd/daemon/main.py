"""`mpcd run | check | keygen | roster-sign` (layer 13).

Exit codes: 0 good; 1 the daemon failed; 2 wrong usage; 3 a file is wrong (configuration, roster, policy, key, each
named with its line on stderr; or the ledger), and starting again would not help.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mpcd.errors import ConfigurationInvalid, LedgerInvalid, MpcdError

if TYPE_CHECKING:
    import socket

    from mpcd.daemon.check import Checked

GOOD: Final = 0
FAILED: Final = 1
USAGE: Final = 2
WRONG_FILE: Final = 3
CONFIG_VARIABLE: Final = "MPCD_CONFIG"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the process's exit code."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.command(options)
    except (ConfigurationInvalid, LedgerInvalid) as error:
        _complain(str(error))
        return WRONG_FILE
    except MpcdError as error:
        _complain(str(error))
        return FAILED
    except KeyboardInterrupt:
        return FAILED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mpcd", description="The daemon of one party.")
    parser.add_argument("--version", action="version", version=f"mpcd {_version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    config = argparse.ArgumentParser(add_help=False)
    config.add_argument(
        "--config",
        type=Path,
        default=Path(os.environ.get(CONFIG_VARIABLE, "/etc/mpcd/mpcd.toml")),
        help=f"configuration file (default: ${CONFIG_VARIABLE} or /etc/mpcd/mpcd.toml)",
    )
    run = commands.add_parser("run", parents=[config], help="run the daemon in the foreground")
    run.add_argument(
        "--listen-descriptor",
        type=int,
        metavar="N",
        help="an inherited listening TCP socket to use instead of [listen], which must name its address",
    )
    run.set_defaults(command=_run)
    check = commands.add_parser("check", parents=[config], help="check configuration, roster, policy, keys and places")
    check.set_defaults(command=_check)
    keygen = commands.add_parser("keygen", help="make private keys, print the public ones")
    keygen.add_argument("directory", type=Path, help="where the key files go")
    keygen.add_argument("--analyst", action="store_true", help="an analyst's signing key instead of a party's two keys")
    keygen.add_argument(
        "--psk", metavar="NAME", help="a pre-shared key for one pair of parties instead, in DIRECTORY/NAME"
    )
    keygen.set_defaults(command=_keygen)
    sign = commands.add_parser("roster-sign", parents=[config], help="sign the roster that the configuration names")
    sign.set_defaults(command=_roster_sign)
    return parser


def _run(options: argparse.Namespace) -> int:
    from mpcd.daemon import check, logs, notify  # noqa: PLC0415  # `keygen` and `check` need none of the daemon
    from mpcd.daemon import config as configuration  # noqa: PLC0415

    config = configuration.load(options.config)
    checked = check.check(config)
    _report(checked)
    if not checked.good:
        return WRONG_FILE
    os.umask(0o077)
    _harden()
    logs.configure(config.log_level)
    from mpcd.daemon import node  # noqa: PLC0415  # the whole daemon; only once the files are known to be good

    if options.listen_descriptor is not None:
        config = replace(config, listen=_adopt(options.listen_descriptor))
    node.main(config, notify.Notifier())
    return GOOD


def _adopt(descriptor: int) -> socket.socket:
    """The listening TCP socket that our parent left open for us."""
    import socket  # noqa: PLC0415

    try:
        listener = socket.socket(fileno=descriptor)
        listening = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    except OSError as error:
        raise ConfigurationInvalid(f"Descriptor {descriptor} is not a socket: {error.strerror}.") from error
    if not listening or listener.family not in {socket.AF_INET, socket.AF_INET6}:
        raise ConfigurationInvalid(f"Descriptor {descriptor} is not a listening TCP socket.")
    os.set_inheritable(descriptor, False)
    listener.setblocking(False)
    return listener


def _check(options: argparse.Namespace) -> int:
    from mpcd.daemon import check  # noqa: PLC0415
    from mpcd.daemon import config as configuration  # noqa: PLC0415

    config = configuration.load(options.config)
    checked = check.check(config)
    _report(checked)
    if not checked.good:
        return WRONG_FILE
    assert checked.roster is not None
    _say(f"{options.config}: good: party {config.party} of {checked.roster.consortium}, ")
    _say(f"roster version {checked.roster.version} {checked.roster.hash().hex()[:16]}\n")
    return GOOD


def _keygen(options: argparse.Namespace) -> int:
    from mpcd.daemon import keygen  # noqa: PLC0415

    if options.psk is not None:
        path = options.directory / options.psk
        keygen.make_psk(path)
        _say(f"{path}\n")
        return GOOD
    if options.analyst:
        key = keygen.make_analyst_key(options.directory)
        _say(f"key = {str(key)!r}\nfingerprint: {key.fingerprint()}\n".replace("'", '"'))
        return GOOD
    keys = keygen.make_party_keys(options.directory)
    _say(f'channel_key = "{keys.channel}"\nsigning_key = "{keys.signing}"\n')
    _say(f"fingerprints, to compare by voice:\n  channel {keys.channel.fingerprint()}\n")
    _say(f"  signing {keys.signing.fingerprint()}\n")
    return GOOD


def _roster_sign(options: argparse.Namespace) -> int:
    from mpcd.daemon import config as configuration  # noqa: PLC0415
    from mpcd.daemon import rosterfile  # noqa: PLC0415

    config = configuration.load(options.config)
    roster = rosterfile.add_signature(config.roster, config.party, config.signing_key.signing_key())
    _say(f"signed roster version {roster.version} {roster.hash().hex()[:16]} as party {config.party}\n")
    return GOOD


def _report(checked: Checked) -> None:

    for finding in checked.findings:
        _complain(f"{finding.severity}: {finding.message}")


def _harden() -> None:
    """No core dump of this process and no reading of its memory by others of the same user."""
    import resource  # noqa: PLC0415

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _version() -> str:
    from mpcd import __version__  # noqa: PLC0415

    return __version__


def _say(text: str) -> None:
    sys.stdout.write(text)


def _complain(text: str) -> None:
    sys.stderr.write(f"mpcd: {text}\n")


if __name__ == "__main__":
    sys.exit(main())
