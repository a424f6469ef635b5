"""Thousands of seeded random adversaries against small programs under malicious security.

    python -m mpcd.testing.campaign --count 10000 --seed 1

Each run draws a program, a corrupt party, a kind of attack and a place.  The tally counts aborts and correct results by
kind; a wrong answer, or an honest opening after a lie, is printed with what repeats it, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import functools
import random
from collections import Counter
from typing import Any, Final

from mpcd.errors import PeerFault
from mpcd.field import FP, FQ
from mpcd.ids import COMPUTE_ROLES
from mpcd.protocols.verify_batch import Malicious
from mpcd.testing.adversary import CHANGES, Tamper
from mpcd.testing.cheater import STRATEGIES, CheatingVerifier, Lie, Nobody, Rushing, Strategy, lying
from mpcd.testing.lockstep import Adversary, Message
from mpcd.testing.programs import PROGRAMS, openings
from mpcd.testing.world import World

KINDS: Final = (*CHANGES, "bit", "swap", "replay", "rushing", "differ", *(f"adaptive-{s}" for s in STRATEGIES))
FORM: Final = frozenset({"drop", "double", "shorten", "lengthen"})


@functools.cache
def honest(name: str, seed: int = 7) -> tuple[Any, tuple[Message, ...]]:
    """The result and the transcript of an honest run."""
    protocol, arguments = PROGRAMS[name]
    world = World(seed, verifier=Malicious)
    value = world.run(openings(protocol), *arguments)
    return value, tuple(world.lockstep.transcript)


def liar(
    seed: int, name: str, party: int, step: str, strategy: Strategy, word: int = 0, delta: int = 1
) -> tuple[World, Lie, list[CheatingVerifier]]:
    """A world in which one party lies at one step and goes on by a strategy; its verifier appears in the list."""
    wide = name == "bit_to_wide"
    lie = Lie(step, word, delta, strategy)
    verifiers: list[CheatingVerifier] = []

    def verifier() -> CheatingVerifier:
        verifiers.append(CheatingVerifier(lie))
        return verifiers[-1]

    world = World(seed, verifier=Malicious).corrupt(Nobody(COMPUTE_ROLES[party]))
    world.lie(party, lambda own: lying(own, lie, FQ if wide else FP), verifier)
    return world, lie, verifiers


def _is_opening(message: Message) -> bool:
    return message.step.rsplit("/", 1)[-1].startswith("open") and "/verify" not in message.step


def _tampering(rng: random.Random, kind: str, message: Message, transcript: tuple[Message, ...]) -> Adversary:
    """An adversary that changes one message, or what one party sends at one step."""
    if kind == "rushing":
        return Rushing(message.sender, message.step)
    if kind == "bit":
        bit = rng.randrange(8 * len(message.payload))

        def flip(payload: bytes) -> bytes:
            return payload[: bit // 8] + bytes([payload[bit // 8] ^ 1 << bit % 8]) + payload[bit // 8 + 1 :]

        return Tamper(message.sender, message.step, flip, message.receiver)
    if kind == "swap":
        return Tamper(message.sender, message.step, lambda p: p[8:16] + p[:8] + p[16:], message.receiver)
    if kind == "differ":
        noise = rng.randbytes(8)
        return Tamper(message.sender, message.step, lambda p: (noise + p)[: len(p)], message.receiver)
    if kind == "replay":
        same = [m.payload for m in transcript if len(m.payload) == len(message.payload)]
        old = rng.choice(same)
        return Tamper(message.sender, message.step, lambda _: old, message.receiver)
    return Tamper(message.sender, message.step, kind, message.receiver)  # type: ignore[arg-type]


def attack(rng: random.Random) -> tuple[str, str, str]:
    """One random attack: its kind, what came of it (`abort`, `correct`, `WRONG`, `LEAK`), and where it was."""
    name = rng.choice(sorted(PROGRAMS))
    kind = rng.choice(KINDS)
    expected, transcript = honest(name)
    sent = [m for m in transcript if m.sender.kind == "compute"]
    message = rng.choice(sent)
    party = message.sender.index
    told = True
    if kind.startswith("adaptive-"):
        message = rng.choice([m for m in sent if "/verify" not in m.step and not _is_opening(m)])
        delta = rng.randrange(1, FP.modulus)
        world, lie, _ = liar(7, name, party, message.step, kind[9:], rng.randrange(64), delta)  # type: ignore[arg-type]
    else:
        world, lie = World(7, verifier=Malicious).corrupt(_tampering(rng, kind, message, transcript)), None
    where = f"{name}: {kind} by {message.sender} at {message.step} to {message.receiver}"
    protocol, arguments = PROGRAMS[name]
    try:
        value = world.run(openings(protocol), *arguments)
    except PeerFault:
        # A lie in a product, or in anything else that the program computes with, must be noticed before an honest party
        # sends anything of an opening; one in an opening, or in the check's own, concerns its receiver alone.
        computed = "/verify" not in message.step and not _is_opening(message)
        told = lie.told > 0 if lie is not None else computed
        after = [m for m in world.lockstep.transcript if _is_opening(m) and m.sender.index != party]
        return kind, "LEAK" if told and after else "abort", where
    if value != expected or kind in FORM:
        return kind, "WRONG", where
    return kind, "correct", where


def campaign(count: int, seed: int) -> tuple[Counter[tuple[str, str]], list[str]]:
    """The tally of `count` attacks by kind and outcome, and every failure in words."""
    tally: Counter[tuple[str, str]] = Counter()
    failures = []
    for number in range(count):
        kind, outcome, where = attack(random.Random(f"{seed}/{number}"))  # noqa: S311  # repeatable, not secret
        tally[kind, outcome] += 1
        if outcome in {"WRONG", "LEAK"}:
            failures.append(f"{outcome}: seed {seed}, number {number}: {where}")
    return tally, failures


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="random adversaries against malicious security")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    tally, failures = campaign(arguments.count, arguments.seed)
    outcomes = ("abort", "correct", "WRONG", "LEAK")
    print(f"{'attack':18}" + "".join(f"{outcome:>9}" for outcome in outcomes))
    for kind in KINDS:
        print(f"{kind:18}" + "".join(f"{tally[kind, outcome]:>9}" for outcome in outcomes))
    print(f"{'all':18}" + "".join(f"{sum(tally[k, outcome] for k in KINDS):>9}" for outcome in outcomes))
    for failure in failures:
        print(failure)
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
