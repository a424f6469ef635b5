"""Started once by `test_crash.py`; for each line `DIRECTORY SEED` it forks a process that writes until it is killed.

The fork prints its process id, then one line for each commit that returned.  This process is single-threaded and has
everything imported, so a fork is quick and safe.
"""

from __future__ import annotations

import os
import random
import sys
from contextlib import suppress
from pathlib import Path

from mpcd.errors import NotFound, Refusal
from mpcd.governance import Debit, DisclosureRules, entries
from mpcd.identity import SigningKey
from mpcd.ids import PartyId, PlanHash, RequestDigest, SessionId
from mpcd.store import NonceUse, Store, segments
from mpcd.store import store as store_module

NOW = 1_800_000_000.0
PLAN = PlanHash(b"\2" * 32)
LIMIT = Refusal(PartyId(0), "budget", "queries", "spent")


def sealed_of(session: bytes) -> bytes:
    """The sealed bytes that belong to a session in these tests; up to some pages long."""
    return session * (1 + session[0] * 4)


def agree(store: Store, session: SessionId) -> None:
    store.commit_agreed(
        session,
        entries.agreed(
            session * 20,
            RequestDigest(session),
            PLAN,
            parties=[PartyId(0)],
            policy_digest=bytes(32),
            rules=DisclosureRules(),
            data_versions={},
        ),
        now=NOW,
        burn=NonceUse(b"\7" * 32, session, int(NOW) + 300),
        request_digest=RequestDigest(session),
        plan_hash=PLAN,
        debits=(Debit("queries", 1, 10**6, LIMIT), Debit("rho", 250, None)),
    )


def record(store: Store, session: SessionId) -> None:
    entry = entries.recorded(RequestDigest(session), PLAN, released_digest=None, opened=[])
    store.commit_recorded(session, entry, sealed_of(session), now=NOW)


def finish(store: Store, session: SessionId, how: str) -> None:
    if how == "released":
        store.commit_released(session, entries.released([PartyId(0)]), now=NOW)
    elif how == "withheld":
        store.commit_withheld(session, entries.withheld("mpc.DeadlineExceeded"), now=NOW)
    else:
        refund = how == "refunded"
        store.commit_aborted(session, entries.aborted("mpc.Cancelled", refunded=refund), now=NOW, refund=refund)


def say(what: str, session: bytes) -> None:
    os.write(1, f"{what} {session.hex()}\n".encode())


def write_for_ever(directory: Path, seed: int) -> None:
    seeded = random.Random(seed)
    store = Store.open(directory)
    say("open", b"\0")
    report = store.sessions_at_start(now=NOW)
    recorded = [row.session for row in report.recorded]
    for session in report.aborted:
        say("aborted", session)
    agreed: list[SessionId] = []
    key = SigningKey.generate(seeded.randbytes)
    while True:
        if seeded.randrange(8) == 0:
            segments.archive(store, directory, before=NOW + 1, now=NOW, party=PartyId(0), key=key, seen_by_all=None)
            found = store.read(lambda c: segments.all_of(c, directory))
            if found:
                with suppress(NotFound):  # erased in an earlier life
                    store.erase([found[-1].segment.first], "article 17", now=NOW)
        choice = seeded.randrange(5)
        if choice <= 1 or not (agreed or recorded):
            agreed.append(SessionId(seeded.randbytes(32)))
            agree(store, agreed[-1])
            say("agreed", agreed[-1])
        elif choice == 2 and agreed:
            session = agreed.pop(seeded.randrange(len(agreed)))
            how = seeded.choice(["recorded", "recorded", "recorded", "aborted", "refunded"])
            if how == "recorded":
                record(store, session)
                recorded.append(session)
            else:
                finish(store, session, how)
            say(how, session)
        elif recorded:
            session = recorded.pop(seeded.randrange(len(recorded)))
            how = seeded.choice(["released", "released", "withheld"])
            finish(store, session, how)
            say(how, session)


def main() -> None:
    vars(store_module)["_FOLD_BYTES"] = 50_000  # fold often, so that kills hit that too
    for line in sys.stdin:
        directory, seed = line.rsplit(maxsplit=1)
        child = os.fork()
        if child == 0:
            try:
                os.write(1, f"pid {os.getpid()}\n".encode())
                write_for_ever(Path(directory), int(seed))
            finally:
                os._exit(3)
        _, status = os.waitpid(child, 0)
        os.write(1, f"over {status}\n".encode())


if __name__ == "__main__":
    main()
