"""The demo's second act: owners decide, keep the books, and get paid.

Two analysts come to three hospitals whose data is under NCU (no commercial use) and licensed.  The commercial one is
refused.  For the academic one the hospitals offer a licence together; it is accepted, quoted, used, used up, and
revoked.  The hospitals' statements reconcile, and a ledger that somebody changed is found.
"""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from mpcd.governance.offer import SignedOffer
from mpcd.sandbox.layout import Record, read_record

POLICY = """\
purposes = ["HMB"]

[[table]]
name = "gbsg2"
licence = "required"
conditions = ["NCU"]
uses = { age = ["filter", "group", "aggregate"], horTh = ["filter", "group"], tsize = ["aggregate"] }
"""
OFFER = """\
title = "Breast cancer outcomes, academic research"
purposes = ["HMB"]
commercial = false
functions = "any"
term_days = 365
open_days = 90
quota = { queries = 2, days = 30 }
newer_versions = true
split = "declared_rows"

[[table]]
name = "gbsg2"

[price]
currency = "EUR"
per_query = "10.00"
max_per_month = "50.00"
free_queries = 1

[legal]
title = "Data use agreement 2026/3"

[[controller]]
party = 0
name = "University Hospital A"
contact = "data@a.example"
weight = 228
[[controller]]
party = 1
name = "City Hospital B"
contact = "data@b.example"
weight = 229
[[controller]]
party = 2
name = "Regional Hospital C"
contact = "data@c.example"
weight = 229
"""
COMMERCIAL_OFFER = """\
title = "Breast cancer outcomes, commercial"
purposes = ["HMB"]
commercial = true
functions = "any"
term_days = 365
open_days = 90
quota = "none"
newer_versions = true

[[table]]
name = "gbsg2"

[price]
currency = "EUR"
per_query = "900.00"

[legal]
title = "Data use agreement 2026/4"

[[controller]]
name = "University Hospital A"
contact = "data@a.example"
"""
QUESTION = "SELECT horTh, COUNT(*), AVG(age), AVG(tsize) FROM gbsg2 GROUP BY horTh"
ANOTHER = "SELECT COUNT(*), AVG(tsize) FROM gbsg2 WHERE age >= 50"
HOSPITALS = 3

Run = Callable[..., str]


class Act:
    """One licensed consortium, and whoever comes to it.

    Args:
        run: runs `mpcctl` with these words, shows it, notes it as wrong if it ends otherwise than expected, and returns
            what it wrote.
        heading: writes a section's title.
        directory: to work in.
    """

    def __init__(self, run: Run, heading: Callable[[str], None], wrong: list[str], directory: Path) -> None:
        self._run = run
        self._heading = heading
        self._wrong = wrong
        self._directory = directory
        self._record: Record | None = None

    def play(self, table: Path) -> None:
        """All scenes; the sandbox is left for whoever cleans up (`sandbox down`)."""
        self._heading("Second act: three hospitals whose data is licensed, and under NCU (no commercial use)")
        home = self._directory / "licensed"
        policy = self._file("licensed-policy.toml", POLICY)
        self._run(
            "sandbox", "up", "--hospitals", str(HOSPITALS), "--table", f"gbsg2={table}", "--policy", policy,
            "--dir", str(home),
        )  # fmt: skip
        self._record = read_record(home)
        self._commercial()
        self._offered()
        licence = self._accepted()
        self._used()
        self._revoked(licence)
        self._accounts()
        self._tampered(home)

    # ------------------------------------------------------------------------------------------ scenes

    def _commercial(self) -> None:
        self._heading("A company asks for access, is known, and may still not use this data")
        self._arrives("company", "Max Market", "--commercial", "--for-profit", "--institution", "Insight Inc")
        self._as("company", "sql", ANOTHER, expect=3)
        self._heading("Nor can commercial use of it be offered for money")
        legal = self._file("terms.txt", "The parties agree as follows ...\n")
        offer = self._file("commercial.toml", COMMERCIAL_OFFER)
        self._at(0, "offer", "make", offer, "--legal", legal, expect=1)

    def _offered(self) -> None:
        self._heading("A university asks for access; the hospitals offer it a licence together: one price, one split")
        self._arrives("university", "Anna Analyst", "--not-commercial", "--non-profit", "--institution", "Lund")
        self._as("university", "sql", QUESTION, expect=3)
        self._at(0, "offer", "make", self._file("offer.toml", OFFER), "--legal", self._path("terms.txt"))
        name = _names(self._at(1, "offer", "list", "--json", shown=False))
        for party in range(1, HOSPITALS):
            self._at(party, "offer", "sign", name, "--yes")

    def _accepted(self) -> str:
        self._heading("The analyst reads the offer and accepts it: both sides hold the same signed agreement")
        name = _names(self._at(0, "offer", "list", "--json", shown=False))
        self._as("university", "licence", "offers", name)
        self._as("university", "licence", "accept", name, "--licensee", "Lund University", "--yes")
        self._as("university", "licence", "list")
        return next((self._directory / "university" / "licences").glob("*.licence")).stem

    def _used(self) -> None:
        self._heading("A quote, signed by every owner; the first query of the month is free")
        self._ask("first", QUESTION)
        self._heading("The same result, verified offline from its file")
        self._as("university", "result", "verify", self._path("first.result"))
        self._heading("The second query costs what was quoted, divided by declared rows to the last cent")
        self._ask("second", ANOTHER)
        self._heading("The licence allows two queries in thirty days: it is used up")
        self._as("university", "quote", QUESTION, expect=3)

    def _ask(self, name: str, sql: str) -> None:
        quote = self._path(f"{name}.quote")
        self._as("university", "quote", sql, "--save", quote)
        self._as("university", "sql", sql, "--accept", quote, "--save", self._path(f"{name}.result"))

    def _revoked(self, licence: str) -> None:
        self._heading("One hospital revokes: at once, for all, and provably")
        self._at(1, "licence", "revoke", licence, "--reason", "the ethics approval was withdrawn", "--yes")
        self._as("university", "sql", ANOTHER, expect=3)

    def _accounts(self) -> None:
        self._heading("What the month earned, recomputed at each hospital from the receipts that all have signed")
        month = dt.datetime.now(dt.UTC).strftime("%Y-%m")
        for party in range(HOSPITALS):
            self._at(party, "statement", "--month", month)
            written = self._at(party, "statement", "--month", month, "--json", shown=False)
            self._file(f"statement-{party}.json", written)
        self._heading("The statements reconcile")
        for party in range(1, HOSPITALS):
            self._run("statement", "reconcile", self._path("statement-0.json"), self._path(f"statement-{party}.json"))
        self._at(0, "statement", "compare", month)

    def _tampered(self, home: Path) -> None:
        self._heading("Somebody changes one entry of hospital 2's ledger behind its daemon's back: it is found")
        self._at(2, "ledger", "verify", "--peers")
        with closing(sqlite3.connect(home / "hospital-2" / "state" / "state.sqlite3")) as state, state:
            changed = state.execute(
                "UPDATE entry SET time_milliseconds = time_milliseconds - 3600000 "
                "WHERE sequence = (SELECT max(sequence) FROM entry WHERE kind = 'agreed')"
            ).rowcount
        if changed != 1:
            self._wrong.append("there was no entry to tamper with")
        self._at(2, "ledger", "verify", expect=1)

    # ------------------------------------------------------------------------------------------ who does what

    def _arrives(self, name: str, person: str, *facts: str) -> None:
        """An analyst makes a key, asks for access, and is accepted by every hospital."""
        assert self._record is not None
        self._run("--socket", self._record.hospitals[0].api, "--profile", self._path(name), "analyst", "init",
                  "--purpose", "HMB", "--yes")  # fmt: skip
        self._as(
            name, "analyst", "request-access", "--name", person, "--contact", "someone@example.org", "--country", "SE",
            "--reason", "outcomes of hormone therapy", "--not-genetic", *facts,
        )  # fmt: skip
        for party in range(HOSPITALS):
            waiting = json.loads(self._at(party, "analyst", "requests", "--json", shown=False))["requests"]
            digest = next((str(one["digest"])[:16] for one in waiting if one.get("name") == person), "-")
            self._at(party, "analyst", "accept", digest)

    def _at(self, party: int, *words: str, expect: int = 0, shown: bool = True) -> str:
        """As a steward of one hospital, on its host."""
        assert self._record is not None
        return self._run("--socket", self._record.hospitals[party].admin, *words, expect=expect, shown=shown)

    def _as(self, name: str, *words: str, expect: int = 0, shown: bool = True) -> str:
        """As an analyst, with their own profile."""
        return self._run("--profile", self._path(name), *words, expect=expect, shown=shown)

    def _path(self, name: str) -> str:
        return str(self._directory / name)

    def _file(self, name: str, text: str) -> str:
        path = self._directory / name
        path.write_text(text, encoding="utf-8")
        return str(path)


def _names(written: str) -> str:
    """The name of the first offer in a list that was written as JSON."""
    data = bytes.fromhex(json.loads(written)["offers"][0]["offer"])
    return SignedOffer.from_bytes(data).offer.digest.hex()[:16]
