"""What a client does, written once, without I/O (layer 12).

A *flow* is a generator that yields `Call`s, is sent their results (or thrown their errors), and returns what the caller
wanted.  `Conversation` turns calls into bytes and bytes into answers.  `client` drives both on a plain socket,
`client_trio` under trio; neither knows a method.  Clock and entropy are arguments.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from mpcd import canonical
from mpcd.api.envelope import Decoder, Message, Notification, Request, Response, encode
from mpcd.api.kept import Kept
from mpcd.api.opening import Opened, PinnedParty
from mpcd.api.types import (
    API_VERSIONS,
    Event,
    JobResult,
    MalformedMapError,
    Map,
    Method,
    NodeInfo,
    Notice,
    blob,
    error_from_map,
    listing,
    mapping,
    text,
)
from mpcd.errors import AwaitingApproval, DaemonUnavailable, Lagged, LimitExceeded, MpcdError, RequestInvalid
from mpcd.identity import Request as SqlRequest
from mpcd.identity import ResultKey
from mpcd.identity.inquiry import Inquiry
from mpcd.identity.request import RequestKind, SignedRequest
from mpcd.ids import PartyId

if TYPE_CHECKING:
    from mpcd.api.profile import Profile
    from mpcd.governance.quote import Line, Quote
    from mpcd.results.table import Table

OnEvent = Callable[[Event], None]
T = TypeVar("T")
_IDEMPOTENCY_BYTES: Final = 16
_QUOTE_DOMAIN: Final = "quote"
_NOT_OURS: Final = "What answers on this socket does not speak this API."


@dataclass(frozen=True, slots=True)
class Call:
    """One request to the daemon; `on_event` sees the events that arrive before its answer."""

    method: Method | str
    params: Map
    on_event: OnEvent | None = None


Flow = Generator[Call, Map, T]


@dataclass(frozen=True, slots=True)
class Shell:
    """What a flow needs from outside."""

    utc_seconds: Callable[[], float]
    entropy: Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Options:
    """How a question is asked, besides its text."""

    purpose: str | None = None
    """As DUO writes it; None for the profile's."""
    privacy: bytes | None = None
    """What noise is asked for (`governance.privacy.Ask`); None for exact numbers."""
    wait_seconds: int = 0
    """How long the request may wait for people to approve it."""
    quote: bytes | None = None
    """The quote (`governance.quote.Quote`) whose price the analyst accepts."""


PLAIN: Final = Options()


class Info(NamedTuple):
    """What goes with a table: how it was made and what it cost."""

    job: str
    session: bytes
    plan_hash: bytes
    plan: Map
    """The plan that all compute parties signed: `security`, `rules`, `owners`, `compute` and the rest."""
    cells: int
    opened_values: int
    """How many pooled values were opened; a suppressed one never is."""
    facts: Map
    """Said by the daemon and not signed: rounds, bytes, seconds, whose rules."""
    kept: Kept
    """Everything that proves the answer, to be filed away."""

    @property
    def security(self) -> str:
        """The security mode, from the signed plan."""
        return text(self.plan, "security")


class Answer(NamedTuple):
    """A verified answer."""

    table: Table
    info: Info


# ------------------------------------------------------------------------------------------------ bytes


class Conversation:
    """One connection: at most one call at a time."""

    def __init__(self) -> None:
        self._decoder = Decoder.for_client()
        self._msgid = 0
        self._on_event: OnEvent | None = None

    def start(self, call: Call) -> bytes:
        """The bytes to send."""
        self._msgid += 1
        self._on_event = call.on_event
        return encode(Request(self._msgid, call.method, call.params))

    def receive(self, data: bytes) -> Map | None:
        """Take what arrived; the call's result once it is there.

        Raises:
            MpcdError: what the daemon reported.
            DaemonUnavailable: it closed the connection or does not speak this API.
        """
        if not data:
            raise DaemonUnavailable("The daemon closed the connection; look at its log, then try again.")
        for message in self._messages(data):
            match message:
                case Notification(Notice.EVENT, params):
                    self._note(params)
                case Notification(Notice.CLOSED, params):
                    raise error_from_map(params.get("error"))
                case Response(self._msgid, None, dict(result)):
                    return result
                case Response(self._msgid, dict(error), None):
                    raise error_from_map(error)
                case _:
                    raise DaemonUnavailable(_NOT_OURS)
        return None

    def _messages(self, data: bytes) -> Iterator[Message]:
        try:
            yield from self._decoder.feed(data)
        except (RequestInvalid, LimitExceeded) as error:
            raise DaemonUnavailable(_NOT_OURS) from error

    def _note(self, params: Map) -> None:
        try:
            event = Event.from_map(params)
        except MalformedMapError as error:
            raise DaemonUnavailable(_NOT_OURS) from error
        if self._on_event is not None:
            self._on_event(event)


# ------------------------------------------------------------------------------------------------ flows


def hello(client: str) -> Flow[NodeInfo]:
    """Greet the daemon."""
    result = yield Call(Method.HELLO, {"client": client, "versions": list(API_VERSIONS)})
    return _checked(lambda: NodeInfo.from_map(mapping(result, "node")))


def simple(method: Method | str, params: Map | None = None) -> Flow[Map]:
    """One call, its result as it is."""
    result = yield Call(method, params or {})
    return result


def describe(profile: Profile | None, shell: Shell) -> Flow[Map]:
    """Ask what can be asked, at all parties by the profile's analyst; without one, who the parties are."""
    if profile is None:
        result = yield Call(Method.DESCRIBE, {})
        return result
    from mpcd.api.catalogue import merged  # noqa: PLC0415  # needed by this flow alone

    key = profile.signing_key
    inquiry = Inquiry("describe", "", key.public, profile.consortium, int(shell.utc_seconds() * 1000))
    answer = yield Call("mpc.v1.DiscoveryDescribe", {"inquiry": inquiry.signed(key)})
    return {**answer, "tables": merged(answer)}


def explain(profile: Profile, node: NodeInfo, sql: str, shell: Shell, options: Options = PLAIN) -> Flow[Map]:
    """Ask what `sql` would do."""
    request, _key = make_request(profile, node, sql, shell, "explain", options)
    result = yield Call(Method.EXPLAIN, {"request": request.sign(profile.signing_key).to_bytes()})
    return result


def quote(
    profile: Profile, node: NodeInfo, sql: str, shell: Shell, options: Options = PLAIN
) -> Flow[tuple[Quote, tuple[Line, ...], Map]]:
    """Ask what `sql` would cost: the quote, its lines with their signatures checked, and what `explain` tells.

    Raises:
        RequestInvalid: a line is not signed by the party that it names, or is for another question.
    """
    from mpcd.governance.quote import Line, Quote  # noqa: PLC0415  # needed by this flow alone

    request, _key = make_request(profile, node, sql, shell, "quote", options)
    told = yield Call(Method.EXPLAIN, {"request": request.sign(profile.signing_key).to_bytes()})
    keys = {party.id: party.signing_key for party in profile.parties.values()}
    signed = tuple(line for line in _checked(lambda: listing(told, "lines")) if isinstance(line, bytes))
    lines = tuple(Line.from_signed(line, keys) for line in signed)
    if any(line.question != request.question_digest() for line in lines):
        raise RequestInvalid("A party quoted another question than the one that was asked; ask again.")
    facts: Map = {name: told[name] for name in _QUOTED_FACTS if name in told}
    at = int(shell.utc_seconds() * 1000)
    return Quote(request.question_digest(), at, signed, facts), lines, told


_QUOTED_FACTS: Final = (
    "plan_hash",
    "cells",
    "rounds",
    "bytes_sent",
    "security",
    "rules",
    "opened",
    "privacy",
    "accuracy",
)


def sql(
    profile: Profile,
    node: NodeInfo,
    statement: str,
    shell: Shell,
    on_event: OnEvent | None,
    options: Options = PLAIN,
) -> Flow[Answer]:
    """Ask, wait, fetch, verify, finish.

    A request that may wait for approval is written into the profile's `waitlist` before it leaves, with the key that
    its result will be sealed to, and stays there unless the answer came at once.

    Raises:
        AwaitingApproval: people must approve; it names the request.
        Refused, PlanInvalid, ...: what the daemon reported.
        ResultInvalid: the parties' releases do not fit together.
    """
    if options.quote is not None and options.wait_seconds:
        _check_quote_lasts(options.quote, profile, shell.utc_seconds() + options.wait_seconds)
    request, result_key = make_request(profile, node, statement, shell, "sql", options)
    signed = request.sign(profile.signing_key)
    if options.wait_seconds == 0:
        return (yield from _submitted(profile, signed, result_key, shell, on_event, options))
    from mpcd.api.waitlist import WaitList  # noqa: PLC0415  # only for what may wait

    waiting = WaitList(profile.directory)
    waiting.keep(signed, result_key)
    try:
        answer = yield from _submitted(profile, signed, result_key, shell, on_event, options)
    except AwaitingApproval as error:
        raise AwaitingApproval(str(error), signed.digest()) from None
    except DaemonUnavailable:
        # It may wait all the same: `mpcctl requests` finds out.
        raise
    except MpcdError:
        waiting.forget(signed.digest())
        raise
    waiting.forget(signed.digest())
    return answer


def _check_quote_lasts(quote: bytes, profile: Profile, until: float) -> None:
    """Raise `RequestInvalid` where a price would be gone before the request stops waiting: people would decide in vain.

    Args:
        quote: that is accepted.
        profile: for the parties' keys.
        until: when the request stops waiting, seconds since 1970.
    """
    from mpcd.governance.quote import Line, Quote  # noqa: PLC0415  # needed by this flow alone

    keys = {party.id: party.signing_key for party in profile.parties.values()}
    lines = [Line.from_signed(line, keys) for line in Quote.from_bytes(quote).lines]
    ends = min((line.valid_until for line in lines if line.minor + line.month_minor > 0), default=None)
    if ends is not None and ends < until * 1000:
        moment = dt.datetime.fromtimestamp(ends / 1000, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
        raise RequestInvalid(
            f"The price of the accepted quote holds until {moment}, and the request would wait for longer; choose a "
            "shorter --wait."
        )


def _submitted(
    profile: Profile,
    signed: SignedRequest,
    result_key: ResultKey,
    shell: Shell,
    on_event: OnEvent | None,
    options: Options,
) -> Flow[Answer]:
    parameters: Map = {"request": signed.to_bytes(), "idempotency_key": shell.entropy(_IDEMPOTENCY_BYTES).hex()}
    if options.quote is not None:
        parameters["quote"] = options.quote
    submitted = yield Call(Method.SUBMIT, parameters)
    job = _checked(lambda: text(submitted, "job"))
    yield from watch(job, on_event)
    fetched = yield Call(Method.RESULT, {"job": job})
    return answer_of(kept_of(signed, result_key, fetched), profile.parties, job)


def kept_of(signed: SignedRequest, result_key: ResultKey, fetched: Map) -> Kept:
    """A result as the daemon handed it over, with what proves it; nothing is checked yet."""
    result = _checked(lambda: JobResult.from_map(fetched))
    receipt = _checked(lambda: blob(result.facts, "receipt"))
    facts = {name: fact for name, fact in result.facts.items() if name != "receipt"}
    return Kept(signed.to_bytes(), result_key.expose_private_bytes(), result.plan, result.releases, receipt, facts)


def answer_of(kept: Kept, parties: Mapping[PartyId, PinnedParty], job: str = "") -> Answer:
    """The table that a result holds, once everything about it was checked; raises `ResultInvalid`."""
    verified = kept.verify(parties)
    return _answer(job, verified.opened, kept)


def watch(job: str, on_event: OnEvent | None) -> Flow[None]:
    """Follow a job until it is over, resuming where events were lost."""
    next_seq = 0

    def note(event: Event) -> None:
        nonlocal next_seq
        next_seq = event.seq + 1
        if on_event is not None:
            on_event(event)

    while True:
        try:
            yield Call(Method.WATCH, {"job": job, "from_seq": next_seq}, note)
        except Lagged as lagged:
            next_seq = max(next_seq, lagged.next_seq)
        else:
            return


def make_request(
    profile: Profile, node: NodeInfo, statement: str, shell: Shell, kind: RequestKind, options: Options = PLAIN
) -> tuple[SqlRequest, ResultKey]:
    """A fresh request, unsigned, and the private key that its result will be sealed to.

    Raises:
        RequestInvalid: the daemon belongs to another consortium or roster than the profile pins.
    """
    if node.consortium != profile.consortium or node.roster_hash != profile.roster_hash:
        raise RequestInvalid(
            f"The daemon belongs to {node.consortium}, roster version {node.roster_version} "
            f"{node.roster_hash.hex()[:16]}; your profile pins {profile.consortium}, version {profile.roster_version} "
            f"{profile.roster_hash.hex()[:16]}: compare the rosters and pin the one you trust."
        )
    result_key = ResultKey.generate(shell.entropy)
    key = profile.signing_key
    request = SqlRequest.make(
        statement,
        kind=kind,
        purpose=options.purpose or profile.purpose,
        analyst=key.public,
        result_key=result_key.public,
        roster_hash=profile.roster_hash,
        consortium=profile.consortium,
        now=shell.utc_seconds(),
        entropy=shell.entropy,
        quote_digest=None if options.quote is None else canonical.digest_bytes(_QUOTE_DOMAIN, options.quote),
        privacy=options.privacy,
        wait_seconds=options.wait_seconds,
    )
    return request, result_key


def _answer(job: str, opened: Opened, kept: Kept) -> Answer:
    from mpcd.api import noisy  # noqa: PLC0415  # as the next
    from mpcd.results.finish import finish  # noqa: PLC0415  # needed only once there is an answer
    from mpcd.results.table import JOINED_LOCALLY  # noqa: PLC0415

    table = finish(opened.shape, opened.statuses, opened.values, noisy.half_width(opened.plan))
    table = replace(table, notes=(*table.notes, *noisy.notes(opened.plan)))
    if _joins(opened.plan):
        table = replace(table, notes=(*table.notes, JOINED_LOCALLY))
    released = sum(status == 0 for value in opened.shape.values for status in opened.statuses[value.gate])
    info = Info(job, opened.session, opened.plan_hash, opened.plan, opened.shape.cells, released, kept.facts, kept)
    return Answer(table, info)


def _joins(plan: Map) -> bool:
    """Whether the plan that the parties signed joins tables."""
    logical = plan.get("logical")
    return isinstance(logical, dict) and bool(logical.get("joins"))


def _checked(read: Callable[[], T]) -> T:
    try:
        return read()
    except MalformedMapError as error:
        raise MpcdError("The daemon answered in a form that this client does not know.") from error
