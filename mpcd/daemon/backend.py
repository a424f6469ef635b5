"""What the local API asks of the daemon, answered (layer 13); implements `api.backend.Backend`."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, cast

import trio

from mpcd import __version__
from mpcd.api.jobs import Job, JobBook
from mpcd.api.types import Caller, EventBatch, JobResult, Map, NodeInfo
from mpcd.canonical import Value
from mpcd.compile import explain, explain_noise
from mpcd.compile.choose import program
from mpcd.daemon import domains, policynews
from mpcd.daemon.callers import Callers
from mpcd.daemon.description import table_map
from mpcd.daemon.ledgerview import entry_map
from mpcd.daemon.policynews import SECURITY
from mpcd.daemon.sessions import Explanation, Outcome
from mpcd.errors import (
    AwaitingApproval,
    Bug,
    MpcdError,
    Refusal,
    RequestInvalid,
)
from mpcd.field import kernels
from mpcd.governance.policy import visible_tables
from mpcd.identity import IdentityError, VerifyKey
from mpcd.identity.request import SignedRequest
from mpcd.roster import Roster
from mpcd.session.keys import CONFIRM_COST
from mpcd.store.ledger import LedgerRow

if TYPE_CHECKING:
    from mpcd.daemon.node import Node


class NodeBackend:
    """The daemon, as its local callers see it."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._jobs = JobBook(time.time)
        self._domains = domains.make(node)
        self._callers = Callers()

    def node_info(self) -> NodeInfo:
        """See `Backend`."""
        node = self._node
        roster = node.roster
        return NodeInfo(
            version=__version__,
            party=node.config.party,
            party_name=roster.party(node.config.party).name,
            consortium=roster.consortium,
            roster_version=roster.version,
            roster_hash=node.roster_hash,
            security=SECURITY,
            state="draining" if node.sessions.draining else "running",
        )

    # ------------------------------------------------------------------------------------------ analysts

    async def describe(self, caller: Caller, analyst: str | None) -> Map:
        """See `Backend`; an analyst's own description is `DiscoveryDescribe`, which they sign for."""
        node = self._node
        roster = node.roster
        parties: list[Value] = [
            {"id": int(party.id), "name": party.name, "roles": list(party.roles)} for party in roster.parties
        ]
        # A key is no secret and proves nothing: only this host's administrators see what another sees.
        visible = self._visible(analyst) if caller.is_admin else {}
        return {
            "consortium": roster.consortium,
            "roster_version": roster.version,
            "parties": parties,
            "tables": [table_map(table, visible[table.name]) for table in roster.tables if table.name in visible],
        }

    def _visible(self, analyst: str | None) -> Mapping[str, Mapping[str, Sequence[str]]]:
        """Columns and uses by table: what exists for that analyst; without one, the roster and no uses."""
        if analyst is None:
            return {table.name: {column.name: () for column in table.columns} for table in self._node.roster.tables}
        try:
            key = VerifyKey.from_text(analyst)
        except IdentityError as error:
            raise RequestInvalid(f"the analyst's key cannot be read: {error}") from error
        node = self._node
        return visible_tables(node.policy.policy, node.policy.accepted(key, int(time.time() * 1000)))

    async def explain(self, caller: Caller, signed_request: bytes) -> Map:  # noqa: ARG002  # the signature decides
        """See `Backend`; asks all parties, so the refusals are everybody's."""
        explanation = await self._node.sessions.explain(SignedRequest.from_bytes(signed_request))
        return self._explained(explanation)

    def _explained(self, explanation: Explanation) -> Map:
        plan = explanation.plan
        cost = CONFIRM_COST + program(plan).cost()
        return {
            "plan_hash": plan.hash,
            "columns": [output.name for output in plan.logical.shape.outputs],
            "cells": plan.cell_count,
            "uses": {name: _list(sorted(verbs)) for name, verbs in sorted(plan.logical.uses.items())},
            "opened": _list(explain.opened(plan, self._node.roster)),
            "rules": _list(explain.rules(plan, explanation.rules_of)),
            "notes": _list(explain.notes(plan.logical, plan.rules.safe_round_base)),
            "privacy": None if plan.privacy is None else explain_noise.facts(plan.privacy),
            "accuracy": _list(explain.accuracy(plan, self._node.roster)),
            "rounds": cost.rounds,
            "bytes_sent": {"compute": max(cost.compute), "input": cost.input},
            "security": plan.security,
            "lines": [line for _, line in cast("list[list[Value]]", plan.terms.get("lines", []))],
            "duties": plan.terms.get("duties", []),
            "refusals": [_refusal_map(refusal) for refusal in explanation.refusals],
            "waits": [_refusal_map(wait.refusal()) for answer in explanation.answers for wait in answer.waits],
        }

    async def submit(
        self, caller: Caller, signed_request: bytes, idempotency_key: str, attachments: Mapping[str, bytes]
    ) -> str:
        """See `Backend`."""
        request = SignedRequest.from_bytes(signed_request)
        job, new = self._jobs.open(caller, request.digest(), idempotency_key)
        if new:
            self._node.spawn(self._conduct, request, job, attachments)
        return job.name

    async def _conduct(self, request: SignedRequest, job: Job, attachments: Mapping[str, bytes]) -> None:
        async with trio.open_nursery() as nursery:
            try:
                outcome = await self._node.sessions.submit(
                    request,
                    job,
                    lambda attempt: nursery.start_soon(self._watch_cancel, job, attempt),
                    attachments,
                )
                job.finish(job_result(outcome, self._node.roster))
            except AwaitingApproval as error:
                await self._keep(request, job, attachments, error)
            except MpcdError as error:
                job.fail(error, "refused" if error.code == "mpc.Refused" else "aborted")
            except Exception:  # a bug ends the job, never the daemon
                self._node.log.exception("job_failed", job=job.name)
                job.fail(Bug("this party met an internal error; its log says where"))
            finally:
                nursery.cancel_scope.cancel()

    async def _keep(
        self, request: SignedRequest, job: Job, attachments: Mapping[str, bytes], why: AwaitingApproval
    ) -> None:
        """The job is over, its request lives on: `mpcctl requests` follows it."""
        try:
            await self._node.waiting.keep(request, attachments, why)
        except MpcdError as error:
            job.fail(error, "aborted")
        else:
            job.fail(why, "awaiting_approval")

    async def _watch_cancel(self, job: Job, attempt: object) -> None:
        await job.cancel_requested.wait()
        self._node.sessions.cancel(attempt)  # type: ignore[arg-type]  # what `register` was given

    async def watch(self, caller: Caller, job: str, from_seq: int) -> EventBatch:
        """See `Backend`."""
        return await self._jobs.get(caller, job).wait(from_seq)

    async def cancel(self, caller: Caller, job: str) -> None:
        """See `Backend`."""
        self._jobs.cancel(caller, job)

    async def result(self, caller: Caller, job: str) -> JobResult:
        """See `Backend`; the same sealed bytes as often as they are asked for."""
        return self._jobs.get(caller, job).result()

    async def status(self, caller: Caller) -> Map:  # noqa: ARG002  # nothing here is anybody's secret
        """See `Backend`."""
        statuses = self._node.mesh.statuses()
        return {
            "state": "draining" if self._node.sessions.draining else "running",
            "security": SECURITY,
            "kernel": kernels.active(),
            "ledger": "contradicted" if self._node.heads.proof is not None else self._node.ledger.state,
            "uptime_seconds": time.time() - self._node.started,
            "peers_connected": sum(status.connected for status in statuses),
            "peers_total": len(statuses),
            "jobs_running": self._node.sessions.running_count,
        }

    # ------------------------------------------------------------------------------------------ administrators

    async def peers(self) -> list[Map]:
        """See `Backend`."""
        return [
            {
                "party": int(status.party),
                "name": status.name,
                "state": "connected" if status.connected else "away",
                "dialled": "by us" if status.we_dialled else "by them",
                "connected_since": status.connected_since if status.connected else None,
                "detail": status.roster_difference or status.last_failure,
                "channel": status.channel,
                "wire_bytes_sent": status.wire_bytes_sent,
                "wire_bytes_received": status.wire_bytes_received,
            }
            for status in self._node.mesh.statuses()
        ]

    async def ledger_verify(self) -> Map:
        """See `Backend`."""
        report = await self._node.journal.apart(self._node.store.verify_ledger)
        return {
            "entries": report.head.count,
            "head": report.head.hash,
            "erased": report.erased,
            "away": report.away,
            "valid": True,
        }

    async def ledger_entries(self, from_seq: int | None, count: int) -> list[Map]:
        """See `Backend`."""
        rows = await self._node.journal.apart(partial(self._ledger_rows, from_seq, count))
        policy = self._node.policy.everybody()
        return [entry_map(row, policy) for row in rows]

    def _ledger_rows(self, from_seq: int | None, count: int) -> list[LedgerRow]:
        store = self._node.store
        return store.ledger_entries(max(0, store.head().count - count) if from_seq is None else from_seq, count)

    async def table_list(self) -> list[Map]:
        """See `Backend`."""
        return await self._node.snapshots.versions()

    async def table_import(self, table: str, paths: Sequence[str]) -> Map:
        """See `Backend`."""
        return await self._node.snapshots.import_table(table, paths)

    async def table_publish(self, table: str, data_version: str | None) -> Map:
        """See `Backend`."""
        return await self._node.snapshots.publish_newest(table, data_version)

    async def reload(self) -> Map:
        """See `Backend`."""
        node = self._node
        policy, versions = node.policy.policy, self._versions()
        await node.reload()
        changed = policynews.changes(policy, node.policy.policy)
        changed += [
            f"table {name}: answers from version {version[:16]}"
            for name, version in self._versions().items()
            if versions.get(name) != version
        ]
        return {
            "policy": node.policy.digest(),
            "changed": _list(changed),
            "warnings": _list(policynews.located(node.policy.everybody(), time.time())),
        }

    def _versions(self) -> dict[str, str]:
        return {name: str(manifest.version) for name, manifest in self._node.data.data.manifests.items()}

    async def drain(self, *, off: bool = False) -> Map:
        """See `Backend`."""
        self._node.sessions.draining = not off
        return {"jobs_running": self._node.sessions.running_count}

    # ------------------------------------------------------------------------------------------ domains

    async def domain(self, domain: str, call: str, caller: Caller, params: Map) -> Map:
        """See `Backend`."""
        if not caller.is_admin:
            self._callers.admit(caller.uid, trio.current_time())
        verb: Callable[[Caller, Map], Awaitable[Map]] = getattr(self._domains[domain], call)
        return await verb(caller, params)


def job_result(outcome: Outcome, roster: Roster) -> JobResult:
    """What an outcome is to the analyst: the plan, the sealed releases, and what goes with them for people."""
    plan = outcome.plan
    cost = CONFIRM_COST + program(plan).cost()
    facts: Map = cast("Map", dict(outcome.facts))
    facts["predicted"] = {"rounds": cost.rounds, "compute": list(cost.compute), "input": cost.input}
    facts["opened"] = _list(explain.opened(plan, roster))
    facts["notes"] = _list(explain.notes(plan.logical, plan.rules.safe_round_base))
    facts["receipt"] = outcome.receipt
    return JobResult(plan.encoded, outcome.releases, facts)


def _refusal_map(refusal: Refusal) -> Map:
    return {
        "party": int(refusal.party),
        "rule": refusal.rule,
        "subject": refusal.subject,
        "message": refusal.message,
    }


def _list(items: Iterable[Value]) -> list[Value]:
    return list(items)
