from __future__ import annotations

import base64
import io
import json
import logging
import os
import pickle
import socket
from collections.abc import Iterator
from typing import Any, get_args

import pytest
import structlog

from mpcd.daemon import logs
from mpcd.errors import ConfigurationInvalid, PlanInvalid
from mpcd.identity import SigningKey
from mpcd.ids import PartyId
from mpcd.net.events import Event, EventName

CANARY = b"canary-4711-never-logged"


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def entries(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def configured(level: str = "debug") -> io.StringIO:
    stream = io.StringIO()
    logs.configure(level, stream=stream, environment={})
    return stream


def leaks(text: str, secret: bytes) -> bool:
    forms = [
        secret.decode("latin-1"),
        secret.hex(),
        secret.hex().upper(),
        base64.b64encode(secret).decode()[:-4],
        repr(secret)[2:-1],
    ]
    return any(form in text for form in forms)


def fail(error: Exception) -> None:
    raise error


class Sneaky(str):
    """A text that formats as something else."""

    __slots__ = ()

    def __str__(self) -> str:
        return CANARY.decode()


class SneakyNumber(int):
    def __repr__(self) -> str:
        return CANARY.decode()


@pytest.mark.parametrize(
    "fields",
    [
        {"password": CANARY.decode()},
        {"session": CANARY},
        {"reason": CANARY},
        {"rows": CANARY.decode()},
        {"rows": SneakyNumber(3)},
        {"seconds": [CANARY.decode()]},
        {"table": {"x": CANARY.decode()}},
        {"session": CANARY.decode() * 10},
        {"reason": CANARY.decode() + "x" * 500},
        {"reason": CANARY.decode() + "\x1b[31m"},
        {"exc_info": ValueError(CANARY.decode())},
        {"exc_info": ExceptionGroup(CANARY.decode(), [KeyError(CANARY)])},
        {"stack_info": CANARY.decode()},
        {"exception": CANARY.decode()},
        {f"key {CANARY.decode()}": 1},
        {"peer": object()},
        {"event": CANARY.decode() + "x" * 100},
    ],
)
@pytest.mark.parametrize("terminal", [False, True])
def test_no_canary_gets_out(fields: dict[str, Any], terminal: bool) -> None:
    stream = io.StringIO()
    if terminal:
        stream.isatty = lambda: True  # type: ignore[method-assign]
    logs.configure("debug", stream=stream, environment={"NO_COLOR": "1"})
    event = fields.pop("event", "something_happened")
    structlog.get_logger().error(event, **fields)
    assert stream.getvalue()
    assert not leaks(stream.getvalue(), CANARY)


def test_exceptions_keep_their_type_and_place_but_not_their_text() -> None:
    stream = configured()
    try:
        fail(ZeroDivisionError(CANARY.decode()))
    except ZeroDivisionError:
        structlog.get_logger().exception("broken")
    (entry,) = entries(stream)
    assert entry["failure"] == "ZeroDivisionError"
    assert "test_logs.py:" in entry["places"]
    assert not leaks(stream.getvalue(), CANARY)


def test_our_own_errors_keep_their_sentence() -> None:
    stream = configured()
    structlog.get_logger().error("refused", exc_info=ConfigurationInvalid("wrong", path="/x", line=3))
    (entry,) = entries(stream)
    assert entry["failure"] == "ConfigurationInvalid: /x:3: wrong"


def test_of_a_request_that_is_at_fault_only_the_code_is_logged() -> None:
    stream = configured()
    literal = "there is no level 'Jane Doe' of `t.name`"
    structlog.get_logger().info("session_task_ended", code="mpc.PlanInvalid", reason=literal)
    structlog.get_logger().error("session_failed", exc_info=PlanInvalid(literal))
    structlog.get_logger().info("session_aborted", code="mpc.PeerUnavailable", reason="party 2 went away")
    ended, failed, aborted = entries(stream)
    assert (ended["code"], "reason" in ended) == ("mpc.PlanInvalid", False)
    assert failed["failure"] == "PlanInvalid"
    assert aborted["reason"] == "party 2 went away"
    assert "Jane" not in stream.getvalue()


def test_a_lost_peer_is_a_warning_and_every_event_is_named_alike() -> None:
    stream = configured()
    for name in get_args(EventName):
        logs.log_network_event(structlog.get_logger(), Event(name, "what happened", PartyId(2)))
    levels = {entry["event"]: entry["level"] for entry in entries(stream)}
    assert not [event for event in levels if "-" in event]
    assert levels["channel_lost"] == levels["dial_failed"] == levels["handshake_failed"] == "warning"
    assert levels["channel_open"] == levels["listening"] == "info"


def test_a_library_that_logs_is_heard_but_not_quoted() -> None:
    stream = configured()
    logging.getLogger("somebody").warning("secret %s", CANARY.decode(), extra={"token": CANARY.decode()})
    try:
        fail(RuntimeError(CANARY.decode()))
    except RuntimeError:
        logging.getLogger("somebody").exception("failed with %s", CANARY.decode())
    first, second = entries(stream)
    assert first["event"] == "library_message"
    assert first["logger"] == "somebody"
    assert second["failure"] == "RuntimeError"
    assert not leaks(stream.getvalue(), CANARY)


def test_private_keys_cannot_be_logged() -> None:
    stream = configured()
    key = SigningKey.generate(lambda count: CANARY.ljust(count, b"!")[:count])
    log = structlog.get_logger()
    log.info("key", session=key)
    log.info("key", session=repr(key))
    log.info("key", reason=f"{key!r}")
    with pytest.raises(TypeError):
        pickle.dumps(key)
    assert not leaks(stream.getvalue(), CANARY.ljust(32, b"!")[:32])
    assert len(entries(stream)) == 3


def test_what_is_registered_passes_unchanged() -> None:
    stream = configured()
    fields = {"party": 1, "rounds": 9, "seconds": 0.25, "session": "ab12", "retryable": True, "reason": "A sentence."}
    structlog.get_logger().info("session_released", **fields)
    (entry,) = entries(stream)
    assert {**entry, **fields} == entry
    assert entry["event"] == "session_released"
    assert entry["level"] == "info"
    assert entry["timestamp"].endswith("Z")


def test_the_level_is_obeyed() -> None:
    stream = configured("warning")
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud")
    assert [entry["event"] for entry in entries(stream)] == ["loud"]


def test_json_under_systemd_and_readable_on_a_terminal() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert logs.wants_json(io.StringIO(), {})
    assert not logs.wants_json(Terminal(), {})
    left, right = socket.socketpair()
    with left, right, os.fdopen(os.dup(left.fileno()), "w") as stream:
        stream.isatty = lambda: True  # type: ignore[method-assign]
        found = os.fstat(stream.fileno())
        assert logs.wants_json(stream, {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"})
        assert not logs.wants_json(stream, {"JOURNAL_STREAM": "1:1"})


def test_registering_a_key_twice_with_another_kind_is_a_bug() -> None:
    logs.allow("party", "integer")
    with pytest.raises(AssertionError):
        logs.allow("party", "sentence")
