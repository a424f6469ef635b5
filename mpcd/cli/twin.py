"""`mpcctl twin`: made-up data of the right form (layer 15)."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from mpcd.api import twin as twins
from mpcd.api.catalogue import maps
from mpcd.cli.shared import connect
from mpcd.errors import LocalFault, NotFound


@click.command()
@click.argument("tables", nargs=-1)
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="A new directory.")
@click.option("--rows", default=500, show_default=True, type=click.IntRange(1, twins.ROWS_MAX), help="Each hospital's.")
@click.option("--hospitals", default=3, show_default=True, type=click.IntRange(1, 64), help="How many files a table.")
@click.option("--seed", default="twin", show_default=True, help="Another seed gives other rows.")
@click.pass_context
def twin(context: click.Context, tables: tuple[str, ...], out: Path, rows: int, hospitals: int, seed: str) -> None:
    """Write made-up rows of TABLES (default: all that you may see) to the directory --out.

    They follow the owners' dictionary and nothing else: no hospital's data goes into them.  On a machine with all of
    mpcd, `mpcctl sandbox up` answers queries about them, by the same rules as the real consortium.
    """
    with connect(context, signs=True) as client:
        described = maps(client.describe(), "tables")
    wanted = [item for item in described if not tables or item.get("name") in tables]
    missing = sorted(set(tables) - {str(item.get("name")) for item in wanted})
    if not missing and not wanted:
        raise NotFound("There is no table that you may ask about; ask with `mpcctl analyst request-access`.")
    if missing:
        raise NotFound(f"There is no table {', '.join(missing)} that you may ask about; see `mpcctl describe`.")
    try:
        out.mkdir(parents=True)
        options = []
        for item in wanted:
            files = [out / f"{_file_name(str(item.get('name')))}-{part}.csv" for part in range(hospitals)]
            for part, file in enumerate(files):
                file.write_text(twins.csv_of(item, rows=rows, seed=seed, part=part), encoding="utf-8")
            named = f"{twins.show(item.get('name'))}={','.join(map(str, files))}"
            options.append(f"--table {shlex.quote(named)}")
        (out / "schema.toml").write_text(twins.schema_text(wanted, hospitals), encoding="utf-8")
    except FileExistsError as error:
        raise LocalFault(f"{out} exists; name a new directory") from error
    except OSError as error:
        raise LocalFault(f"cannot write to {out}: {error.strerror}") from error
    click.echo(f"{len(wanted)} tables, {hospitals} files each, {rows} made-up rows a file, in {out}")
    schema = f"--schema {shlex.quote(str(out / 'schema.toml'))}"
    click.echo(f"try queries on it:\n  mpcctl sandbox up --hospitals {max(3, hospitals)} {schema} {' '.join(options)}")


def _file_name(table: str) -> str:
    """A file's name for a table's."""
    return "".join(character if character.isalnum() or character in "-_" else "_" for character in table) or "table"
