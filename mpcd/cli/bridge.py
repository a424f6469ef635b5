"""`mpcctl bridge`: standard input and output lead to this host's daemon (layer 15).

    ssh HOST mpcctl bridge                                   what a client runs for `--socket ssh:HOST`
    restrict,command="mpcctl bridge" ssh-ed25519 AAAA...     in `authorized_keys`: an account that can do nothing else

It passes bytes and understands none of them.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Final

import click

from mpcd.api.client import unavailable
from mpcd.api.transport import open_connection
from mpcd.cli.shared import SYSTEM_SOCKET
from mpcd.errors import RequestInvalid

_CHUNK_BYTES: Final = 64 * 2**10
_IDLE_SECONDS_MAX: Final = 24 * 3600.0


@click.command()
@click.pass_context
def bridge(context: click.Context) -> None:
    """Pass standard input and output on to the daemon of this host; for `ssh HOST mpcctl bridge`."""
    _, socket = context.find_root().obj
    target = Path(socket) if socket is not None else SYSTEM_SOCKET
    if sys.stdin.isatty():
        raise RequestInvalid("this is for a program at the other end; use `mpcctl --socket ssh:HOST ...` there")
    try:
        connection = open_connection(target, _IDLE_SECONDS_MAX)
    except OSError as error:
        raise unavailable(target, error) from error
    source, sink = sys.stdin.fileno(), sys.stdout.fileno()

    def forward() -> None:
        try:
            while data := os.read(source, _CHUNK_BYTES):
                connection.send(data)
        except OSError:
            pass
        finally:
            # The client has left, or the daemon has; an answer that is still to come has no reader.
            connection.close()

    # A daemon thread: it may wait for input for ever after the daemon has closed.
    threading.Thread(target=forward, daemon=True).start()
    try:
        while data := connection.receive(_CHUNK_BYTES):
            _write_all(sink, data)
    except OSError:
        return
    finally:
        connection.close()


def _write_all(sink: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(sink, view) :]
