"""The noise of a plan: from what the analyst asks for and what may be opened to a distribution for each value (pure).

Everything here follows from public facts, so all parties find the same.  What makes the promise true for a *person*:

- every joined row is about one person (`mpcd.plan.relation`), and at each owner at most `rows_per_person` rows of one
  person that pass WHERE count; which of them is chosen by those rows alone (`sources.generate_duckdb`);
- one row adds to a value what lies in the value's declared interval, whatever the row holds;
- noise enters every value of every cell, those without rows too, and nothing that the answer shows depends on the data
  in another way: no floor, no suppression, no rounding by what is there.

An owner that lies about its own numbers spoils the answer, not the promise to other owners' persons: their part and the
noise are what they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from mpcd.canonical import Value
from mpcd.errors import PlanUnsupported, RequestInvalid
from mpcd.governance import privacy, sampling
from mpcd.governance.privacy import Ask, AskInvalidError, Charge, Noise
from mpcd.governance.sampling import Table
from mpcd.plan.ir import LogicalPlan
from mpcd.plan.ranges import FIELD_LIMITS, pooled_size


@dataclass(frozen=True, slots=True)
class PlanPrivacy:
    """What all parties derive alike from the ask and the plan."""

    ask: Ask
    charge: Charge
    noises: tuple[Noise, ...]
    """Of each value."""
    tables: tuple[Table, ...]
    """Of each value: the thresholds by which its noise is drawn."""

    @property
    def rows_per_person(self) -> int | None:
        """How many rows of one person each owner lets count; None: the plan itself has no second one."""
        return self.ask.rows_per_person

    def to_value(self) -> dict[str, Value]:
        """For the canonical plan: what the client needs, and a digest of all thresholds."""
        return {
            "rho": [str(self.charge.rho.numerator), str(self.charge.rho.denominator)],
            "noise": [list[Value](noise.to_value()) for noise in self.noises],
            "thresholds": sampling.digest(self.tables),
        }


@lru_cache(maxsize=64)
def _cached(ask: Ask, values: tuple[tuple[int, int], ...], owners: int, persons_disjoint: bool) -> PlanPrivacy:
    cost = privacy.charge(ask)
    moved = [privacy.sensitivity(ask, low, high, owners, persons_disjoint=persons_disjoint) for low, high in values]
    noises = privacy.noises(ask, cost, moved)
    return PlanPrivacy(ask, cost, noises, tuple(sampling.table(noise) for noise in noises))


def of_plan(logical: LogicalPlan, encoded: bytes) -> PlanPrivacy:
    """The noise of `logical` under the ask that the request carries.

    Raises:
        RequestInvalid: what is asked for is no such ask.
        PlanUnsupported: it cannot be kept for this question; the message says what to ask instead.
    """
    try:
        ask = Ask.decode(encoded)
    except AskInvalidError as error:
        raise RequestInvalid(f"the privacy that is asked for makes no sense: {error}") from error
    if logical.persons_unique:
        ask = Ask(ask.mechanism, ask.epsilon, ask.delta)
    elif ask.rows_per_person is None:
        raise PlanUnsupported(
            "a person may have several rows here, and how far one person can move the answer must be known; say how "
            "many rows of one person may count (--rows-per-person): more rows, more noise"
        )
    try:
        privacy.check_samples(ask, logical.cells * len(logical.values))
        found = _cached(
            ask,
            tuple((value.low, value.high) for value in logical.values),
            len(logical.owners),
            logical.persons_disjoint,
        )
    except AskInvalidError as error:
        raise PlanUnsupported(f"this noise cannot be drawn: {error}") from error
    for value, table in zip(logical.values, found.tables, strict=True):
        if pooled_size(value.low, value.high, logical.rows_max) + table.magnitude_max >= FIELD_LIMITS[value.field]:
            raise PlanUnsupported(
                "a value and its noise together could leave their field; ask for a larger epsilon, fewer columns, "
                "fewer rows per person, or columns with tighter bounds"
            )
    return found
