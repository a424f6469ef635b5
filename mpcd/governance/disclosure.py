"""The numbers that a release must satisfy, per owner, and the strictest of all owners' (pure).

Names are ACRO's and SACRO's.  Each owner's policy picks a profile and may override its numbers.  A session runs under
the strictest value of each number over all participating owners, and the result says whose value that was.

`ENFORCED` lists the rules that the release gate of this version evaluates on shares.  A policy that asks for another
one by name is answered with a refusal (`policy.decide`), never with a result that ignores it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Final, Self

from mpcd import limits
from mpcd.canonical import Value
from mpcd.ids import PartyId

ENFORCED: Final = frozenset(
    {
        "safe_threshold",
        "min_owners",
        "zeros_are_disclosive",
        "safe_nk_n",
        "safe_nk_k",
        "safe_pratio_p",
        "safe_round_base",
        "differencing",
    }
)
DEFAULT_PROFILE: Final = "cms-11"
MIN_OWNERS_DEFAULT: Final = 3
MIN_OWNERS_LOWEST: Final = 2
"""With fewer, a released cell is one hospital's own aggregate."""


class RulesInvalidError(ValueError):
    """A map is not a set of disclosure rules; the boundary decides whose fault that is."""


@dataclass(frozen=True, slots=True)
class DisclosureRules:
    """What a cell must satisfy to be released; checked when made."""

    safe_threshold: int = 11
    """Persons that a cell needs: the pooled count without the largest contributor's must reach this."""
    min_owners: int = MIN_OWNERS_DEFAULT
    """Owners with a non-zero part that a cell needs."""
    zeros_are_disclosive: bool = True
    """Whether a pooled zero is hidden like a small count.

    False shows zeros, as CMS does, and with them attributes of persons who are unique under WHERE: of one person's row
    in a GROUP BY all cells but one are then shown as zeros, and the one that is not is the person's.
    """
    safe_nk_n: int = 2
    """Dominance: the largest `safe_nk_n` persons of a sum ..."""
    safe_nk_k: float = 0.90
    """... may not hold more than this part of it."""
    safe_pratio_p: float = 0.10
    """The second-largest person may not learn the largest value closer than this part of it."""
    safe_dof_threshold: int = 10
    """Residual degrees of freedom that a model needs."""
    safe_round_base: int = 1
    """Released counts are rounded to a multiple of this; 1 leaves them as they are."""
    differencing: bool = True
    """Whether a cell must stay as far from earlier questions' sets of persons as a cell needs persons.

    False lets two questions, each above the floor, tell about few people by subtraction.  What was asked is remembered
    all the same.
    """

    def __post_init__(self) -> None:
        for name, low, high in (
            ("safe_threshold", 1, limits.THRESHOLD_PERSONS_MAX),
            ("min_owners", MIN_OWNERS_LOWEST, limits.INPUT_OWNERS_MAX),
            ("safe_nk_n", 1, limits.THRESHOLD_PERSONS_MAX),
            ("safe_dof_threshold", 1, limits.THRESHOLD_PERSONS_MAX),
            ("safe_round_base", 1, limits.THRESHOLD_PERSONS_MAX),
        ):
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise RulesInvalidError(f"`{name}` must be a whole number from {low} to {high}")
        for name in ("safe_nk_k", "safe_pratio_p"):
            value = getattr(self, name)
            if type(value) is not float or not 0 < value <= 1:
                raise RulesInvalidError(f"`{name}` must be a number above 0 and at most 1")
        for name in FLAG_RULES:
            if type(getattr(self, name)) is not bool:
                raise RulesInvalidError(f"`{name}` must be true or false")

    def to_value(self) -> dict[str, Value]:
        """For the canonical encoding."""
        return {name: getattr(self, name) for name in RULE_NAMES}

    @classmethod
    def from_value(cls, value: Value) -> Self:
        """The inverse of `to_value`; raises `RulesInvalidError` for anything else."""
        if not isinstance(value, dict) or value.keys() != set(RULE_NAMES):
            raise RulesInvalidError("disclosure rules lack a number or have one too many")
        return cls(**value)  # type: ignore[arg-type]  # checked when made

    def not_enforced(self, enforced: frozenset[str] = ENFORCED) -> dict[str, Value]:
        """The numbers that this version carries but does not evaluate, for `explain` to say so."""
        neutral = {"safe_round_base": 1}
        return {
            name: value
            for name, value in self.to_value().items()
            if name not in enforced and not (name in neutral and value == neutral[name])
        }


FLAG_RULES: Final = ("zeros_are_disclosive", "differencing")
"""Rules that are in force or not."""
RULE_NAMES: Final = tuple(field.name for field in fields(DisclosureRules))

PROFILES: Final[Mapping[str, DisclosureRules]] = {
    "cms-11": DisclosureRules(safe_threshold=11),
    "opensafely-7": DisclosureRules(safe_threshold=8, safe_round_base=5),
    "acro-10": DisclosureRules(safe_threshold=10),
    "datashield-3": DisclosureRules(safe_threshold=3),
}
"""0 to 10 hidden (CMS itself shows zeros: write `zeros_are_disclosive = false`, which discloses attributes of persons
who are unique under WHERE); 0 to 7 hidden and rounded to 5; ACRO's defaults; DataSHIELD's `nfilter.tab`."""

_STRICTEST: Final[Mapping[str, Callable[[Iterable[float]], float]]] = {
    "safe_threshold": max,
    "min_owners": max,
    "zeros_are_disclosive": max,
    "differencing": max,
    "safe_nk_n": max,
    "safe_nk_k": min,
    "safe_pratio_p": max,
    "safe_dof_threshold": max,
    "safe_round_base": max,
}


def strictest(
    rules: Sequence[tuple[PartyId, DisclosureRules]],
) -> tuple[DisclosureRules, dict[str, PartyId]]:
    """The strictest value of each number, and whose it was.

    Whatever passes the combined rules passes each owner's own: every number is combined in the direction in which its
    rule refuses more, and the rounding base is the least common multiple (a multiple of 15 is one of 5 and of 3).

    Args:
        rules: of every participating owner, each once; at least one.

    Returns:
        The combined rules, and for each name the party whose own value is the strictest, of several the lowest.

    Raises:
        RulesInvalidError: the owners' rounding bases have no common multiple within limits.
    """
    assert rules
    assert len({party for party, _ in rules}) == len(rules)
    combined: dict[str, Value] = {}
    whose: dict[str, PartyId] = {}
    for name in RULE_NAMES:
        own = {party: getattr(asked, name) for party, asked in sorted(rules, key=lambda pair: pair[0])}
        combined[name] = _STRICTEST[name](own.values())
        whose[name] = next(party for party, asked in own.items() if asked == combined[name])
    combined["safe_round_base"] = math.lcm(*(asked.safe_round_base for _, asked in rules))
    return DisclosureRules(**combined), whose  # type: ignore[arg-type]  # checked when made
