"""What an attack is, and how one is run: in a house as it is by default, and in one without the rule that stops it.

See `redteam`; the attacks themselves are in `redsets`, `redvalues` and `redoracles`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from mpcd.errors import MpcdError
from mpcd.testing.redhouse import Answer, Data, Engines, House, Off, Row, Stopped
from mpcd.testing.redward import but, is_target, ward


@dataclass
class Lab:
    """Where an attack runs: data, and what is switched off."""

    data: Data
    off: Off
    engines: Engines
    seed: int = 1

    def house(self, data: Data | None = None) -> House:
        """Hospitals that remember nothing."""
        return House(data or self.data, self.off, self.seed, self.engines)


@dataclass(frozen=True)
class Attack:
    """One attack; see the module."""

    name: str
    family: str
    rule: str
    """What stops it."""
    run: Callable[[Lab], object]
    """Returns the claim; raises `Stopped` or `MpcdError` where the attacker can claim nothing."""
    truth: Callable[[Data], object]
    off: Off
    data: Callable[[Data], Data] = lambda data: data
    told: str = ""
    """What the analyst is told by whatever stops it; where nothing is said, what the rule shows itself as."""
    control_data: Callable[[Data], Data] | None = None
    """Where the rule is a declaration about the data: the same people without it."""
    through: str = ""
    """Why it is not stopped."""

    @property
    def expected(self) -> str:
        """Part of what the analyst is told."""
        return self.told or _SHOWN_AS.get(self.rule, self.rule)


_SHOWN_AS: Final = {"differencing": "floor", "margins": "complement"}
"""Rules that hide a cell under another one's name."""


@dataclass(frozen=True)
class Outcome:
    """What an attack achieved."""

    success: bool
    how: str
    """The claim, or what stopped it."""


ATTACKS: Final[dict[str, Attack]] = {}
_WARD: Final = ward()
_ENGINES: Final = Engines()
_MADE: Final[dict[str, Data]] = {}


def attack(
    family: str, rule: str, truth: Callable[[Data], object], off: Off, **more: Any
) -> Callable[[Callable[[Lab], object]], Callable[[Lab], object]]:
    """Enter an attack into the table, under its function's name."""

    def enter(run: Callable[[Lab], object]) -> Callable[[Lab], object]:
        name = run.__name__.replace("_", "-")
        assert name not in ATTACKS
        ATTACKS[name] = Attack(name, family, rule, run, truth, off, **more)
        return run

    return enter


def _data(attacked: Attack, *, control: bool) -> Data:
    """The attack's data, made once."""
    change = attacked.control_data if control and attacked.control_data is not None else attacked.data
    name = f"{attacked.name} {change is attacked.control_data}"
    if name not in _MADE:
        _MADE[name] = change(_WARD)
    return _MADE[name]


def strike(attacked: Attack, *, control: bool = False) -> Outcome:
    """Run an attack: under the default policy, or with its rule switched off."""
    data = _data(attacked, control=control)
    lab = Lab(data, attacked.off if control else Off(), _ENGINES)
    try:
        claim = attacked.run(lab)
    except Stopped as stopped:
        return Outcome(success=False, how=str(stopped))
    except MpcdError as error:
        return Outcome(success=False, how=f"{error.code}: {error}")
    truth = attacked.truth(data)
    return Outcome(_right(claim, truth), f"claims {_short(claim)}, the truth is {_short(truth)}")


def _right(claim: object, truth: object) -> bool:
    """A claim is a value, or an interval of two ends, within which the truth must lie."""
    match claim:
        case Within(low, high):
            return isinstance(truth, (int, float, Fraction)) and low <= truth <= high
        case _:
            return claim == truth


@dataclass(frozen=True)
class Within:
    """An interval that the attacker is sure of."""

    low: float
    high: float


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 60 else text[:57] + "..."


# ------------------------------------------------------------------------------------------------ helpers


def target(column: str) -> Callable[[Data], object]:
    """The target's own value."""

    def truth(data: Data) -> object:
        (row,) = data.pooled("patients", is_target)
        return row[column]

    return truth


def total(column: str, condition: Callable[[Row], bool]) -> Callable[[Data], object]:
    """A sum over few people."""

    def truth(data: Data) -> object:
        return sum(row[column] or 0 for row in data.pooled("patients", condition))

    return truth


def count(condition: Callable[[Row], bool]) -> Callable[[Data], object]:
    """How many people."""

    def truth(data: Data) -> object:
        return len(data.pooled("patients", condition))

    return truth


def minus(first: Answer, second: Answer) -> list[Any]:
    """One answer less another, number by number."""
    return [a - b for a, b in zip(first.numbers, second.numbers, strict=True)]  # type: ignore[operator]


def alone(found: list[Any], *, place: int = 1) -> Any:
    """What a difference says of the one person whom it is about; the first number counts."""
    if found[0] != 1:
        raise Stopped(f"the difference is about {found[0]} people")
    return found[place]


def told_apart(lab: Lab, ask: Callable[[House], object], guesses: Mapping[object, Data]) -> object:
    """Which of several worlds it is, by what an analyst sees; `Stopped` if all look alike.

    The attacker plays through what he would see in each; that he needs to know the others' rows for that is more than
    an oracle should need.
    """
    seen = ask(lab.house())
    fitting = [guess for guess, data in guesses.items() if ask(lab.house(data)) == seen]
    if len(fitting) != 1:
        raise Stopped("looks alike in every world")
    return fitting[0]


def worlds(data: Data, column: str, *values: int) -> dict[object, Data]:
    """The data with each possible value of one of the target's columns."""

    def changed(value: int) -> Data:
        return data.changed("patients", lambda row: but(row, **{column: value}) if is_target(row) else row)

    return {value: changed(value) for value in values}


NO_DIFFERENCING: Final = Off(disclosure=("differencing = false",))
ZEROS: Final = ("zeros_are_disclosive = false",)
WOMEN: Final = "SELECT COUNT(*), SUM(cost) FROM patients WHERE sex = 'F'"
