"""Which method takes which parameters, needs which role, and calls what (layer 12).

One table.  What it does not list is `mpc.MethodUnknown`; a parameter that it does not list is refused, so that a
misspelt one is never silently ignored.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from mpcd import limits
from mpcd.api.backend import Backend
from mpcd.api.domains import DOMAINS
from mpcd.api.types import Caller, CallerRole, Map, Method
from mpcd.api.verbs import NAME_CHARACTERS_MAX, PATHS_MAX, Parameter, Verb, method
from mpcd.canonical import Value
from mpcd.errors import RequestInvalid

_JOB_CHARACTERS_MAX: Final = 64
_KEY_CHARACTERS_MAX: Final = 64

Call = Callable[[Backend, Caller, Map], Awaitable[Map]]


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the table."""

    role: CallerRole
    parameters: tuple[Parameter, ...]
    call: Call | None
    """None where the server answers by itself: `Hello` and `Watch`."""

    def check(self, params: Mapping[str, Value]) -> None:
        """Raise `RequestInvalid` unless `params` are exactly what the method takes."""
        known = {parameter.name for parameter in self.parameters}
        for name in params:
            if name not in known:
                raise RequestInvalid(f"Unknown parameter `{name[:32]}`; this method takes {sorted(known)}.")
        for parameter in self.parameters:
            if parameter.name in params:
                parameter.check(params[parameter.name])
            elif parameter.required:
                raise RequestInvalid(f"Parameter `{parameter.name}` is missing.")


def _text(params: Map, key: str) -> str:
    value = params[key]
    assert isinstance(value, str)
    return value


def _bytes(params: Map, key: str) -> bytes:
    value = params[key]
    assert isinstance(value, bytes)
    return value


def _integer(params: Map, key: str, default: int) -> int:
    value = params.get(key, default)
    assert isinstance(value, int)
    return value


async def _describe(backend: Backend, caller: Caller, params: Map) -> Map:
    analyst = params.get("analyst")
    assert analyst is None or isinstance(analyst, str)
    return await backend.describe(caller, analyst)


async def _explain(backend: Backend, caller: Caller, params: Map) -> Map:
    return await backend.explain(caller, _bytes(params, "request"))


async def _submit(backend: Backend, caller: Caller, params: Map) -> Map:
    attachments = {"quote": _bytes(params, "quote")} if "quote" in params else {}
    job = await backend.submit(caller, _bytes(params, "request"), _text(params, "idempotency_key"), attachments)
    return {"job": job}


async def _cancel(backend: Backend, caller: Caller, params: Map) -> Map:
    await backend.cancel(caller, _text(params, "job"))
    return {}


async def _result(backend: Backend, caller: Caller, params: Map) -> Map:
    return (await backend.result(caller, _text(params, "job"))).to_map()


async def _status(backend: Backend, caller: Caller, _params: Map) -> Map:
    return await backend.status(caller)


async def _peers(backend: Backend, _caller: Caller, _params: Map) -> Map:
    return {"peers": list(await backend.peers())}


async def _ledger_verify(backend: Backend, _caller: Caller, _params: Map) -> Map:
    return await backend.ledger_verify()


async def _ledger_entries(backend: Backend, _caller: Caller, params: Map) -> Map:
    count = _integer(params, "count", limits.API_LEDGER_ENTRIES_MAX)
    first = _integer(params, "from_seq", 0) if "from_seq" in params else None
    return {"entries": list(await backend.ledger_entries(first, count))}


async def _table_list(backend: Backend, _caller: Caller, _params: Map) -> Map:
    return {"tables": list(await backend.table_list())}


async def _table_import(backend: Backend, _caller: Caller, params: Map) -> Map:
    paths = params["paths"]
    assert isinstance(paths, list)
    return await backend.table_import(_text(params, "table"), [str(path) for path in paths])


async def _table_publish(backend: Backend, _caller: Caller, params: Map) -> Map:
    version = params.get("data_version")
    assert version is None or isinstance(version, str)
    return await backend.table_publish(_text(params, "table"), version)


async def _reload(backend: Backend, _caller: Caller, _params: Map) -> Map:
    return await backend.reload()


async def _drain(backend: Backend, _caller: Caller, params: Map) -> Map:
    return await backend.drain(off=params.get("off") is True)


_JOB: Final = Parameter("job", "text", _JOB_CHARACTERS_MAX)
_SIGNED: Final = Parameter("request", "bytes", limits.API_REQUEST_BYTES_MAX)
_QUOTE: Final = Parameter("quote", "bytes", limits.ATTACHMENTS_BYTES_MAX - 1024, required=False)
_TABLE: Final = Parameter("table", "text", NAME_CHARACTERS_MAX)
_FROM_SEQ: Final = Parameter("from_seq", "integer", 2**53, required=False)


def _of_domain(domain: str, verb: Verb) -> Entry:
    """A domain's verb as a row of the table."""

    async def call(backend: Backend, caller: Caller, params: Map) -> Map:
        return await backend.domain(domain, verb.call, caller, params)

    return Entry(verb.role, verb.parameters, call)


METHODS: Final[dict[str, Entry]] = {
    Method.HELLO: Entry(
        "client",
        (Parameter("client", "text", NAME_CHARACTERS_MAX), Parameter("versions", "integers", 16)),
        None,
    ),
    Method.DESCRIBE: Entry("client", (Parameter("analyst", "text", NAME_CHARACTERS_MAX, required=False),), _describe),
    Method.EXPLAIN: Entry("client", (_SIGNED,), _explain),
    Method.SUBMIT: Entry(
        "client",
        (_SIGNED, Parameter("idempotency_key", "text", _KEY_CHARACTERS_MAX), _QUOTE),
        _submit,
    ),
    Method.WATCH: Entry("client", (_JOB, _FROM_SEQ), None),
    Method.CANCEL: Entry("client", (_JOB,), _cancel),
    Method.RESULT: Entry("client", (_JOB,), _result),
    Method.STATUS: Entry("client", (), _status),
    Method.PEERS: Entry("admin", (), _peers),
    Method.LEDGER_VERIFY: Entry("admin", (), _ledger_verify),
    Method.LEDGER_ENTRIES: Entry(
        "admin",
        (_FROM_SEQ, Parameter("count", "integer", limits.API_LEDGER_ENTRIES_MAX, required=False)),
        _ledger_entries,
    ),
    Method.TABLE_LIST: Entry("admin", (), _table_list),
    Method.TABLE_IMPORT: Entry("admin", (_TABLE, Parameter("paths", "texts", PATHS_MAX)), _table_import),
    Method.TABLE_PUBLISH: Entry(
        "admin", (_TABLE, Parameter("data_version", "text", NAME_CHARACTERS_MAX, required=False)), _table_publish
    ),
    Method.RELOAD: Entry("admin", (), _reload),
    Method.DRAIN: Entry("admin", (Parameter("off", "truth", 1, required=False),), _drain),
    **{method(domain, verb): _of_domain(domain, verb) for domain, verbs in DOMAINS.items() for verb in verbs},
}
