"""Events of a running query as one line on a terminal (layer 15); silent where stderr is not a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mpcd.api.types import Event


@contextmanager
def progress(*, wanted: bool = True) -> Iterator[Callable[[Event], None] | None]:
    """What to hand to `Client.sql` as `on_event`; the line is gone when the block ends."""
    if not wanted or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415  # a tenth of a second that only a terminal is worth
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=30), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("asking", total=None)

        def note(event: Event) -> None:
            if event.kind == "state":
                bar.update(task, description=str(event.data.get("state", "")))
            elif event.kind == "progress":
                done, total = event.data.get("done"), event.data.get("total")
                bar.update(
                    task,
                    description=str(event.data.get("what", "")),
                    completed=done if isinstance(done, int) else 0,
                    total=total if isinstance(total, int) and total > 0 else None,
                )

        yield note
