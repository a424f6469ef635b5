"""What of that which runs an end of access, or of a licence, ends."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

from mpcd.daemon.attempt import Attempt
from mpcd.daemon.sessions import Sessions
from mpcd.errors import Cancelled
from mpcd.identity.request import SignedRequest
from mpcd.session.lifecycle import Event


def attempt(name: str | None, *, recording: bool = False) -> Attempt:
    made = Attempt(str(name).encode())
    made.request = None if name is None else cast("SignedRequest", SimpleNamespace(name=name))
    made.recording = recording
    return made


def test_a_licence_s_end_leaves_alone_what_is_owed() -> None:
    for owed, ended in ((True, ["anna"]), (False, ["anna", "anna, recording"])):
        running = [
            attempt("anna"),
            attempt("anna, recording", recording=True),
            attempt("bob"),
            attempt(None),
        ]
        sessions = object.__new__(Sessions)
        sessions._running = {one.id: one for one in running}
        count = sessions.revoke(lambda request: "anna" in str(request), "why", owed=owed)
        failed = [one for one in running if one.failure is not None]
        assert count == len(ended)
        assert [one.request.name for one in failed] == ended  # type: ignore[union-attr]
        assert all(isinstance(one.failure, Cancelled) and "why" in str(one.failure) for one in failed)
        assert all(one.failure_event is Event.REVOKED for one in failed)
        assert all(one.scope.cancel_called for one in failed)
