"""The planner child: analyst's SQL in, a plan's canonical value out (run with `python -m`).

    plan  {sql, roster: digest, as_of, value?}   `value` is the roster itself, sent once per child and digest

It knows no rows and needs no files: whatever the text does to the parser, all that can be lost is this process.
"""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict
from typing import Final

from mpcd.plan.planner import plan_sql
from mpcd.roster import Roster
from mpcd.sources import child_side

ROSTERS_MAX: Final = 4


class _Planner:
    """The rosters that this process holds, by digest."""

    def __init__(self) -> None:
        self._rosters: OrderedDict[bytes, Roster] = OrderedDict()

    def plan(self, request: dict[str, object]) -> object:
        """The plan's value, or its typed error."""
        match request:
            case {"sql": str(sql), "roster": bytes(digest), "as_of": str(as_of)}:
                return plan_sql(
                    sql, self._roster(digest, request.get("value")), dt.date.fromisoformat(as_of)
                ).to_value()
            case _:
                raise ValueError("plan")

    def _roster(self, digest: bytes, value: object) -> Roster:
        if value is not None:
            self._rosters[digest] = Roster.from_value(value)
            while len(self._rosters) > ROSTERS_MAX:
                self._rosters.popitem(last=False)
        return self._rosters[digest]


def main() -> None:
    """Serve until the parent closes the pipe."""
    child_side.serve({"plan": _Planner().plan})


if __name__ == "__main__":
    main()
