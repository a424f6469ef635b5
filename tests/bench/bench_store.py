"""What the store costs: the two commits on a session's critical path, one append, and checking a whole ledger.

    python tests/bench/bench_store.py [--sessions 500] [--entries 20000] [--directory DIR] [--json] [--check]

The bars (`--check` exits with 1 if one is missed): an append's p99 at most 5 times a bare fsync's on the same disk, in
a ledger of that many entries; at least 50,000 entries verified a second; both hold with `--entries 1000000`.

Beside the commits stands a bare append of about as many bytes with fsync, on the same disk and in the same run: the
ratio is what to compare between machines.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from mpcd.governance import Debit, DisclosureRules, entries, segmentfile
from mpcd.identity import SigningKey
from mpcd.ids import DataVersion, PartyId, PlanHash, RequestDigest, SessionId
from mpcd.store import NonceUse, Store, segments

NOW = 1_800_000_000.0
REQUEST_BYTES = 1500
SEALED_BYTES = 4096
RECEIPT_BYTES = 1500
PARTIES = [PartyId(0), PartyId(1), PartyId(2)]
BARE_BYTES = 3 * 4096
APPEND_OVER_BARE_MAX = 5.0
VERIFIED_PER_SECOND_MIN = 50_000.0


def milliseconds(act: Callable[[], object]) -> float:
    """How long `act` takes."""
    begin = time.perf_counter()
    act()
    return (time.perf_counter() - begin) * 1e3


def spread(samples: list[float]) -> dict[str, float]:
    """Median and tail of `samples`."""
    ordered = sorted(samples)
    return {"median": statistics.median(ordered), "p99": ordered[int(len(ordered) * 0.99)]}


def commits(store: Store, sessions: int) -> dict[str, list[float]]:
    """The two commits of `sessions` sessions, in milliseconds; then what is written off the critical path."""
    seeded = random.Random(30)
    taken: dict[str, list[float]] = {"agreed": [], "recorded": [], "released": []}
    for _ in range(sessions):
        session = SessionId(seeded.randbytes(32))
        digest, plan = RequestDigest(seeded.randbytes(32)), PlanHash(seeded.randbytes(32))
        sealed = seeded.randbytes(SEALED_BYTES)

        def agree(session: SessionId = session, digest: RequestDigest = digest, plan: PlanHash = plan) -> None:
            entry = entries.agreed(
                bytes(REQUEST_BYTES),
                digest,
                plan,
                parties=PARTIES,
                policy_digest=bytes(32),
                rules=DisclosureRules(),
                data_versions={"gbsg2": DataVersion("ab" * 32)},
            )
            burn = NonceUse(bytes(32), session, int(NOW) + 300)
            debits = (Debit("queries", 1, None),)
            store.commit_agreed(
                session, entry, now=NOW, burn=burn, request_digest=digest, plan_hash=plan, debits=debits
            )

        def record(
            session: SessionId = session, digest: RequestDigest = digest, plan: PlanHash = plan, sealed: bytes = sealed
        ) -> None:
            entry = entries.recorded(digest, plan, released_digest=None, opened=["count", "sum(age)"])
            store.commit_recorded(session, entry, sealed, now=NOW, receipt=(int(NOW * 1000), bytes(RECEIPT_BYTES)))

        def release(session: SessionId = session) -> None:
            store.commit_released(session, entries.released(PARTIES), now=NOW)

        taken["agreed"].append(milliseconds(agree))
        taken["recorded"].append(milliseconds(record))
        taken["released"].append(milliseconds(release))
    return taken


def bare(directory: Path, count: int, size: int) -> list[float]:
    """`count` appends of `size` bytes with fsync, in milliseconds."""
    content = os.urandom(size)
    with (directory / "bare").open("wb", buffering=0) as file:

        def append() -> None:
            file.write(content)
            os.fsync(file.fileno())

        return [milliseconds(append) for _ in range(count)]


def bench(sessions: int, entry_count: int, directory: Path) -> dict[str, Any]:
    """All figures; times in milliseconds."""
    store = Store.open(directory / "state")
    fsync = bare(directory, sessions, BARE_BYTES)
    taken = commits(store, sessions)
    fsync += bare(directory, sessions, BARE_BYTES)
    critical = [agreed + recorded for agreed, recorded in zip(taken["agreed"], taken["recorded"], strict=True)]
    bytes_per_session = sum(path.stat().st_size for path in (directory / "state").glob("*.sqlite3")) / sessions
    with store._transaction() as connection:  # one transaction, or filling takes longer than checking
        for number in range(max(0, entry_count - 3 * sessions)):
            store._append(connection, entries.policy_loaded(number.to_bytes(32, "big")), NOW, None)
    store._fold(0)
    verify_milliseconds = milliseconds(store.verify_ledger)
    count = store.head().count
    appends, beside = [], []
    for number in range(sessions):  # one of each in turn: whatever else the disk does meets both alike
        note = entries.noted("licensed", by="steward", about=f"licence {number}")
        appends.append(milliseconds(partial(store.commit_entry, note, now=NOW)))
        beside += bare(directory, 1, BARE_BYTES)
    key = SigningKey.generate(random.Random(31).randbytes)
    begin = time.perf_counter()
    made = segments.archive(
        store, directory / "state", before=NOW + 1, now=NOW, party=PartyId(0), key=key, seen_by_all=None
    )
    archive_seconds = time.perf_counter() - begin
    archived = sum(segment.segment.count for segment in made)
    begin = time.perf_counter()
    for segment in made:
        with segment.path.open("rb") as file:
            segmentfile.verify(file.read, {PartyId(0): key.public})
    files_seconds = time.perf_counter() - begin
    store.close()
    bare_spread, critical_spread = spread(fsync), spread(critical)
    return {
        "bench": "store",
        "sessions": sessions,
        **{f"{name}_milliseconds": spread(samples) for name, samples in taken.items()},
        "critical_path_milliseconds": critical_spread,
        "bare_fsync_milliseconds": bare_spread,
        "commit_over_bare_fsync_median": statistics.median(taken["agreed"]) / bare_spread["median"],
        "commit_p99_over_bare_fsync_p99": spread(taken["agreed"])["p99"] / bare_spread["p99"],
        "bytes_per_session": bytes_per_session,
        "append_milliseconds": spread(appends),
        "append_bare_fsync_milliseconds": spread(beside),
        "append_p99_over_bare_fsync_p99": spread(appends)["p99"] / spread(beside)["p99"],
        "entries": count,
        "entries_verified_per_second": count / verify_milliseconds * 1e3,
        "entries_archived_per_second": archived / archive_seconds,
        "archived_entries_verified_per_second": archived / files_seconds,
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=500)
    parser.add_argument("--entries", type=int, default=20_000)
    parser.add_argument("--directory", type=Path, default=None, help="on the disk to measure; default: a temporary one")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a bar is missed")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        figures = bench(arguments.sessions, arguments.entries, Path(directory))
    missed = (
        figures["append_p99_over_bare_fsync_p99"] > APPEND_OVER_BARE_MAX
        or figures["entries_verified_per_second"] < VERIFIED_PER_SECOND_MIN
    )
    if arguments.json:
        print(json.dumps(figures))
    for name, value in () if arguments.json else figures.items():
        shown = "  ".join(f"{key} {item:.3f}" for key, item in value.items()) if isinstance(value, dict) else value
        print(f"{name:34} {shown if not isinstance(shown, float) else f'{shown:.2f}'}")
    if arguments.check and missed:
        sys.exit("a bar is missed")


if __name__ == "__main__":
    main()
