"""Logging: configured once, redacted by an allow-list (layer 13).

Everything that the daemon logs is an event name and keyword arguments.  The last processor before the renderer lets
pass only keys that are registered in `ALLOWED`, each with its type and, for text, its longest length; whatever else
somebody hands to a logger (an unknown key, bytes, an object, a text that is too long) becomes `<redacted>`.  So a
secret cannot be logged by accident, not even inside an exception's text: of an exception only its type and the
places in our own code are kept, never its message.  Of a request that is at fault itself only the code is kept: what
is wrong with it is said to its analyst, and may quote what they wrote.

Form: JSON lines under systemd or where stderr is not a terminal; readable lines on a terminal.
"""

from __future__ import annotations

import logging
import os
import stat
import sys
import traceback
from collections.abc import Mapping
from typing import Any, Final, Literal, TextIO

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from mpcd.errors import CallerFault, MpcdError, Refused, closed_codes
from mpcd.net.events import Event, EventName

REDACTED: Final = "<redacted>"
_FRAMES_MAX: Final = 30
_WORD: Final = 64
_SENTENCE: Final = 500

Kind = Literal["integer", "number", "word", "sentence", "flag"]

ALLOWED: Final[dict[str, Kind]] = {
    # what every entry has
    "event": "word",
    "level": "word",
    "logger": "word",
    "timestamp": "word",
    # who and where
    "party": "integer",
    "peer": "word",
    "role": "word",
    "uid": "integer",
    "pid": "integer",
    "address": "word",
    "port": "integer",
    "path": "sentence",
    "line": "integer",
    "version": "word",
    "consortium": "word",
    "roster_version": "integer",
    "roster_hash": "word",
    # what
    "attempt": "word",
    "session": "word",
    "job": "word",
    "request": "word",
    "plan": "word",
    "table": "word",
    "data_version": "word",
    "state": "word",
    "kind": "word",
    "method": "word",
    "code": "word",
    "reason": "sentence",
    "reference": "word",
    "security": "word",
    "kernel": "word",
    "step": "sentence",
    "entries": "integer",
    # how much
    "rounds": "integer",
    "bytes": "integer",
    "bytes_sent": "integer",
    "bytes_received": "integer",
    "rows": "integer",
    "cells": "integer",
    "count": "integer",
    "limit": "number",
    "seconds": "number",
    "attempts": "integer",
    "signal": "word",
    "retryable": "flag",
    # failures
    "failure": "sentence",
    "places": "sentence",
}
"""Every key that may be logged, and what its value must be."""


_CALLERS_CODES: Final = frozenset(
    code for code, kind in closed_codes().items() if issubclass(kind, (CallerFault, Refused))
)


def drop_callers_words(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Of a request's own fault log the code alone: its text may quote the request, and that may name a person."""
    if event.get("code") in _CALLERS_CODES:
        event.pop("reason", None)
    return event


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The allow-list: what is not registered does not pass."""
    return {key: value if _passes(key, value) else REDACTED for key, value in event.items() if _is_name(key)}


def allow(key: str, kind: Kind) -> None:
    """Register one more key; for modules that log something of their own, at import time."""
    assert ALLOWED.get(key, kind) == kind
    ALLOWED[key] = kind


def _is_name(key: str) -> bool:
    return len(key) <= _WORD and key.isidentifier()


def _passes(key: str, value: object) -> bool:
    match ALLOWED.get(key):
        case "integer":
            # Exact types only: a subclass may format as anything.
            return type(value) is int or value is None
        case "number":
            return type(value) in {int, float} or value is None
        case "flag":
            return type(value) is bool
        case "word":
            return value is None or (isinstance(value, str) and len(value) <= _WORD and value.isprintable())
        case "sentence":
            return value is None or (isinstance(value, str) and len(value) <= _SENTENCE and value.isprintable())
        case None:
            return False


def name_failures(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Turn `exc_info` into the exception's type and places; the text only of our own errors, which hold no secrets."""
    found = event.pop("exc_info", None)
    error = sys.exc_info()[1] if found is True else found[1] if isinstance(found, tuple) else found
    if isinstance(error, BaseException):
        event["failure"] = describe_failure(error)
        event["places"] = _places(error)
    event.pop("exception", None)
    event.pop("stack_info", None)
    return event


def describe_failure(error: BaseException) -> str:
    """An exception as it may be logged."""
    if isinstance(error, BaseExceptionGroup):
        inner = ", ".join(describe_failure(part) for part in error.exceptions[:4])
        return f"{type(error).__name__}({inner})"[:_SENTENCE]
    ours = isinstance(error, MpcdError) and not isinstance(error, (CallerFault, Refused))
    text = f"{type(error).__name__}: {error}" if ours else type(error).__name__
    return " ".join(text.split())[:_SENTENCE]


def _places(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES_MAX:]
    places = [f"{os.path.basename(frame.filename)}:{frame.lineno}" for frame in frames]  # noqa: PTH119  # text, no file
    text = " > ".join(places)
    return text[-_SENTENCE:]


_QUIET: Final[frozenset[EventName]] = frozenset({"listening", "channel-open", "channel-draining", "channel-closed"})
"""What the network reports in the course of things; all else is worth an operator's look."""


def log_network_event(log: FilteringBoundLogger, event: Event) -> None:
    """One line for what the network reports, named as all our events are."""
    level = log.info if event.name in _QUIET else log.warning
    party = None if event.party is None else int(event.party)
    level(event.name.replace("-", "_"), party=party, reason=event.message)


def wants_json(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether to write JSON: `stream` is the journal's, or not a terminal."""
    return _is_journal(stream, environment) or not stream.isatty()


def _is_journal(stream: TextIO, environment: Mapping[str, str]) -> bool:
    named = environment.get("JOURNAL_STREAM", "")
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return stat.S_ISSOCK(found.st_mode) and named == f"{found.st_dev}:{found.st_ino}"


def configure(
    level: str = "info", *, stream: TextIO | None = None, environment: Mapping[str, str] | None = None
) -> None:
    """Configure all logging of this process; once, before anything logs."""
    target = sys.stderr if stream is None else stream
    environment = os.environ if environment is None else environment
    threshold = logging.getLevelNamesMapping()[level.upper()]
    renderer: Processor
    if wants_json(target, environment):
        renderer = structlog.processors.JSONRenderer(sort_keys=True)
    else:
        renderer = structlog.dev.ConsoleRenderer(colors="NO_COLOR" not in environment)
    chain: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        name_failures,
        drop_callers_words,
        redact,
    ]
    structlog.configure(
        processors=[*chain, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(target),
        cache_logger_on_first_use=False,
    )
    # Libraries that log through the standard library pass through the same allow-list.
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_foreign, *chain],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(threshold, logging.WARNING))


def _foreign(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    record: Any = event.get("_record")
    kept: EventDict = {"event": "library_message", "logger": str(getattr(record, "name", ""))[:_WORD]}
    # The formatter finds its own entries again under these names.
    kept.update({key: event[key] for key in ("_record", "_from_structlog", "exc_info") if key in event})
    return kept
