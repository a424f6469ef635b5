"""`mpcctl analyst`: how an analyst becomes known, on both sides (layer 15).

analyst   init | request-access | status | rotate | recover        (`cli/enrol.py`)
owner     requests | document | accept | refuse | list | remove    (`cli/admit.py`)
"""

from __future__ import annotations

import click

from mpcd.cli import admit, enrol


@click.group()
def analyst() -> None:
    """Become known to the owners of data; as an owner, say who may ask."""


for command in (*enrol.COMMANDS, *admit.COMMANDS):
    analyst.add_command(command)
