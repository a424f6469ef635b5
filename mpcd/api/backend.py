"""What the API needs from the daemon (layer 12): implemented in `daemon/`, faked in tests.

Every method may raise `MpcdError`; the server turns it into its code.  Anything else becomes `mpc.Internal` with a
reference. A call may be cancelled at any checkpoint when its connection ends; a job, once `submit` has made it, must
go on without one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from mpcd.api.types import Caller, EventBatch, JobResult, Map, NodeInfo


class Backend(Protocol):
    """The daemon, as its local callers see it."""

    def node_info(self) -> NodeInfo:
        """Who we are; answers `Hello` and must not block."""
        ...

    # -------------------------------------------------------------------------------------------- analysts

    async def describe(self, caller: Caller, analyst: str | None) -> Map:
        """What can be asked.

        Args:
            caller: at the socket.
            analyst: text form of a public key, to show an administrator what this party's policy lets that analyst
                see; None shows an administrator the roster.  Others are shown who the parties are, and no table.

        Returns:
            `{"consortium", "roster_version", "parties": [{"id", "name", "roles"}], "tables": [{"name", "owners": [ids],
            "rows_max", "columns": [{"name", "type", "unit", "levels", "bounds", "nullable",
            "uses": [verbs]}]}]}`, where `uses` are the verbs that this party's policy allows.
        """
        ...

    async def explain(self, caller: Caller, signed_request: bytes) -> Map:
        """What a request would do, without running it.

        Returns:
            `{"plan_hash", "columns": [names], "cells", "uses": {"table.column": [verbs]}, "opened": [sentences],
            "rules": [sentence per disclosure rule], "notes": [what must be said beside the answer], "rounds",
            "bytes_sent": {"compute": n, "input": n}, "security",
            "refusals": [{"party", "rule", "subject", "message"}]}`: this party's refusals, empty where it would agree.
        """
        ...

    async def submit(
        self, caller: Caller, signed_request: bytes, idempotency_key: str, attachments: Mapping[str, bytes]
    ) -> str:
        """Start a job and answer at once with its name; the same key from the same caller names the same job."""
        ...

    async def watch(self, caller: Caller, job: str, from_seq: int) -> EventBatch:
        """Wait until the job has an event with `seq >= from_seq` or is over, then answer with all such events."""
        ...

    async def cancel(self, caller: Caller, job: str) -> None:
        """Ask for the job's end; without effect once it is recorded."""
        ...

    async def result(self, caller: Caller, job: str) -> JobResult:
        """What the job made; raises the job's own error, or `NotFound` while it still runs."""
        ...

    async def status(self, caller: Caller) -> Map:
        """How we are.

        Returns:
            `{"state", "security", "kernel", "uptime_seconds", "peers_connected", "peers_total", "jobs_running"}`
        """
        ...

    # -------------------------------------------------------------------------------------------- administrators

    async def peers(self) -> list[Map]:
        """One map a peer: `{"party", "name", "state", "dialled", "connected_since", "detail"}`; times since 1970."""
        ...

    async def ledger_verify(self) -> Map:
        """`{"entries", "head", "valid": True}`; raises `LedgerInvalid` where the chain breaks."""
        ...

    async def ledger_entries(self, from_seq: int | None, count: int) -> list[Map]:
        """Entries in order, the last `count` if `from_seq` is None.

        Returns:
            `{"seq", "at", "kind", "hash", "session", "content": map or nothing, "content_state": "kept" | "erased" |
            "changed", "erased_by", "asked": {"sql", "purpose", "analyst", "analyst_key", "fingerprint"} or nothing}`
        """
        ...

    async def table_list(self) -> list[Map]:
        """One map a table of the roster: `{"name", "state", "rows", "data_version", "published", "versions"}`.

        `versions` are all that were imported, the newest first, each
        `{"data_version", "rows", "imported_at", "published", "fits_roster"}`.
        """
        ...

    async def table_import(self, table: str, paths: Sequence[str]) -> Map:
        """Turn files into a snapshot.

        Returns:
            `{"table", "rows", "data_version", "columns"}`

        Raises:
            DataInvalid: with every reason.
        """
        ...

    async def table_publish(self, table: str, data_version: str | None) -> Map:
        """Use a snapshot for requests from now on; answers like `table_list`'s items.

        Args:
            table: a name of the roster.
            data_version: or the beginning of one; None for the one that was imported last.
        """
        ...

    async def reload(self) -> Map:
        """Read the policy and the published versions again; keeps the old ones and raises if the new are wrong.

        Returns:
            `{"policy": digest, "changed": [sentences], "warnings": [why requests will be refused]}`
        """
        ...

    async def drain(self, *, off: bool = False) -> Map:
        """Take no new requests, let the running ones end, or take them again; `{"jobs_running"}`."""
        ...

    # -------------------------------------------------------------------------------------------- domains

    async def domain(self, domain: str, call: str, caller: Caller, params: Map) -> Map:
        """Do the verb `call` of a domain; who may and what it takes stands in `api.domains`."""
        ...
