"""What an owner's decision on licences costs among many of them: 10^5 licences, 5 ms.

    python tests/bench/bench_licences.py [--licences 100000] [--each 20] [--decisions 2000] [--directory DIR] [--json]

Each analyst holds `--each` licences; the decision reads them from the store, decodes those that it has not met before
(`cold`: every analyst for the first time; `warm`: analysts seen before), chooses the one that covers the request, and
prices it with its counters.  On a machine that others use too, processor time is the one to compare.  What one
analyst can hold is bounded by `limits.LICENCES_PER_ANALYST_MAX`.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from mpcd import limits
from mpcd.governance.asked import Asked
from mpcd.governance.cover import Held
from mpcd.governance.licence import Agreement
from mpcd.governance.people import AcceptedAnalyst, AnalystFacts
from mpcd.governance.priced import licensed
from mpcd.governance.quote import Line
from mpcd.identity import SigningKey
from mpcd.ids import PartyId, RequestDigest
from mpcd.store import Store, licences
from mpcd.testing.licensing import DAY_MS, MADE_AT, accepted, offer, party_keys, signed

AT = MADE_AT + DAY_MS
KEYS = party_keys()
_BATCH = 2000


def fill(store: Store, count: int, each: int, seeded: random.Random) -> list[SigningKey]:
    """Put `count` licences into the store, `each` of every analyst."""
    offers = [offer(title=f"Academic {number}") for number in range(each)]
    for made in map(signed, offers):
        store.write(lambda c, append, one=made: licences.put_offer(c, append, one, by="operator", at=MADE_AT), now=0.0)  # type: ignore[misc]
    analysts = [SigningKey.from_seed(bytearray(seeded.randbytes(32))) for _ in range(count // each)]
    templates = [accepted(made) for made in offers]
    # Signed by nobody: a decision reads what was verified when it was taken in.
    wanted = [
        replace(template, acceptance=replace(template.acceptance, analyst=one.public.raw, nonce=seeded.randbytes(16)))
        for one in analysts
        for template in templates
    ]
    for first in range(0, len(wanted), _BATCH):

        def put(connection: object, append: object, some: list[Agreement] = wanted[first : first + _BATCH]) -> None:
            for agreement in some:
                licences.accept(connection, append, agreement, by="bench", at=MADE_AT)  # type: ignore[arg-type]

        store.write(put, now=0.0)
    return analysts


def asked(analyst: SigningKey) -> Asked:
    """A request of `analyst` for a quote."""
    return Asked(
        party=PartyId(1),
        analyst=analyst.public,
        kind="quote",
        tables=("gbsg2",),
        uses={"gbsg2.age": frozenset({"filter"})},
        functions=frozenset({"count"}),
        purpose="HMB",
        security="malicious",
        request_digest=RequestDigest(bytes(32)),
        question_digest=bytes(32),
        data_versions={},
        at=AT,
        owners=(PartyId(1),),
        accepted=AcceptedAnalyst("Anna", analyst.public, None, AnalystFacts("Anna", commercial=False)),
    )


def decide(store: Store, analyst: SigningKey, known: dict[bytes, Agreement]) -> tuple[float, float]:
    """One decision, in milliseconds of the clock and of the processor; `known` is what was decoded before."""
    begin, busy = time.perf_counter(), time.thread_time()

    def work(connection: object) -> object:
        held = []
        for row in licences.held(connection, analyst.public.raw):  # type: ignore[arg-type]
            if row.digest not in known:
                known[row.digest] = licences.agreement(connection, row.digest)  # type: ignore[arg-type]
            held.append(Held(row.digest, known[row.digest], row.revoked_at))
        return licensed(held, asked(analyst), licences.spending(connection), KEYS)  # type: ignore[arg-type]

    decision = store.read(work)
    taken = (time.perf_counter() - begin) * 1e3, (time.thread_time() - busy) * 1e3
    assert isinstance(decision.line, Line)  # type: ignore[attr-defined]
    return taken


def spread(samples: list[float]) -> dict[str, float]:
    """Median, tail and worst of `samples`."""
    ordered = sorted(samples)
    return {"median": statistics.median(ordered), "p99": ordered[int(len(ordered) * 0.99)], "worst": ordered[-1]}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--licences", type=int, default=100_000)
    parser.add_argument("--each", type=int, default=20)
    parser.add_argument("--decisions", type=int, default=2000)
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    assert 0 < options.each <= limits.LICENCES_PER_ANALYST_MAX
    seeded = random.Random(4)
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        store = Store.open(Path(directory) / "state")
        try:
            begin = time.perf_counter()
            analysts = fill(store, options.licences, options.each, seeded)
            filled = time.perf_counter() - begin
            chosen = seeded.sample(analysts, min(options.decisions, len(analysts)))
            known: dict[bytes, Agreement] = {}
            cold = [decide(store, analyst, known) for analyst in chosen]
            warm = [decide(store, analyst, known) for analyst in chosen]
        finally:
            store.close()
    measured = {
        f"{name} {what}": spread([sample[place] for sample in samples])
        for name, samples in (("cold", cold), ("warm", warm))
        for place, what in enumerate(("milliseconds", "processor milliseconds"))
    }
    if options.json:
        print(json.dumps({"licences": options.licences, "each": options.each, **measured}, indent=2))
        return
    print(f"{options.licences} licences, {options.each} of each analyst; filled in {filled:.1f} s")
    for name, found in measured.items():
        print(f"{name}: " + ", ".join(f"{word} {value:.2f}" for word, value in found.items()))


if __name__ == "__main__":
    main()
