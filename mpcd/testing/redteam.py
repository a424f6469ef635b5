"""The red team: attacks of an analyst, and of owners, on the default policy; each also with its rule switched off.

    python -m mpcd.testing.redteam [--only NAME]

Theory of operation.  An *attack* asks questions in a `House` and claims something about one person, or about a group
below the floor: a value, or an interval.  Whether the claim is right is computed from the pooled plaintext.  Each runs
twice: under the default policy (profile `cms-11`, zeros hidden, differencing on), where it must not succeed, and with
the rule `Off` that is meant to stop it, where it must, or it would prove nothing.

What is not stopped is in the table too, marked `through`, with the reason: it stands in `docs/THREATS.md`.

*What the attacker knows* is said by each attack.  None knows all rows but one: against such an attacker every exact
answer gives the last one away, and only noise helps.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Final

from mpcd.testing import redoracles as _redoracles  # noqa: F401  these enter the attacks into the table
from mpcd.testing import redsets as _redsets  # noqa: F401
from mpcd.testing import redvalues as _redvalues  # noqa: F401
from mpcd.testing.redlab import ATTACKS, Attack, Outcome, strike

__all__ = ["ATTACKS", "FAMILIES", "main", "table"]

FAMILIES: Final = frozenset(
    {
        "FILTER and CASE",
        "HAVING, ORDER BY, LIMIT",
        "MIN and MAX",
        "NULL recoding",
        "averaging",
        "column uses",
        "differencing",
        "dominance",
        "duplicate persons",
        "error and timing",
        "granularity",
        "hidden names",
        "identifiers",
        "joins",
        "rows",
        "suppressed sets",
        "totals minus cells",
        "two contributors",
        "weights",
    }
)
"""What there must be attacks of."""

# ------------------------------------------------------------------------------------------------ the table


def table(only: str = "") -> list[tuple[Attack, Outcome, Outcome]]:
    """Every attack with its outcome under the default policy, and without its rule."""
    return [(one, strike(one), strike(one, control=True)) for one in ATTACKS.values() if only in ("", one.name)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 if an attack succeeds that is not known to, or a control does not."""
    parser = argparse.ArgumentParser(prog="python -m mpcd.testing.redteam", description="Attacks on the default policy")
    parser.add_argument("--only", metavar="NAME", default="", help="one attack")
    parser.add_argument("--verbose", action="store_true", help="say what stopped each, and what it claims without")
    given = parser.parse_args(arguments)
    rows = table(given.only)
    if not rows:
        parser.error(f"there is no attack {given.only!r}; there are {', '.join(ATTACKS)}")
    wide = max(len(one.name) for one, _, _ in rows)
    bad = 0
    for one, default, control in rows:
        state = "THROUGH" if default.success else "stopped"
        works = "works" if control.success else "FAILS"
        bad += (default.success and not one.through) or not control.success
        sys.stdout.write(f"{one.name:{wide}}  {one.family:20}  {state}  {one.rule:14}  without: {works}\n")
        if given.verbose or given.only or default.success or not control.success:
            sys.stdout.write(f"{'':{wide}}    by default: {default.how}\n{'':{wide}}    without: {control.how}\n")
    stopped = sum(not default.success for _, default, _ in rows)
    sys.stdout.write(f"{len(rows)} attacks, {stopped} stopped, {len(rows) - stopped} through\n")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
