"""The life of a session at one party, as one table (pure).

Theory of operation
-------------------
Every party walks through this table on its own.  `advance` takes the state and what happened and returns the next state
with the *effects* that the shell performs, in order, before it offers the next event.  What the table does not list is
a `Bug`: it ends the session, not the daemon.

                 +--> refused
    proposed ----+--> awaiting approval --> proposed (anew: another attempt)
                 +--> agreed --> preparing --> running --> verified --> recorded --> released
                                                                           +-------> withheld
    anything before recorded --> aborted

*Two commits.*  A state that survives a stop is entered by the event that its commit succeeded, never before:
`ALL_AGREE` only asks for `COMMIT_AGREED`, and `AGREEMENT_COMMITTED` enters `agreed`; `PRODUCT_VERIFIED` enters
`verified` and asks for `SEAL` and `COMMIT_RECORDED`, and `RECORD_COMMITTED` enters `recorded`.  The first commit
holds the request, the decision, the burnt nonce and every debit: from here on the answer is paid for, so opening
shares may leave (rule 15).  The second holds the entry and the sealed bytes.  All other commits happen off the
critical path.

*Who refunds.*  Only a party that has sent no opening share gives its debit back.  In `agreed` and `preparing` none
can have left.  In `running` the shell knows (iterates of a fit, sort destinations and checks open while running), so
the effect says "if nothing was opened".  From `verified` on, and after a restart, when nobody can say any more, the
debit stays.

*Release.*  Two of three parties' shares open a value, so sealed bytes leave (`SEND_RELEASE`) only in the step that
`ALL_ACKNOWLEDGED` takes: every participating owner, those that only gave input included, said that its second commit
is durable (rule 16).  Only a party's own count of acknowledgements is believed, never a peer's word that it has
counted them.

*Until when one can still stop it.*  `CANCELLED`, `REVOKED` and `DEADLINE_PASSED` act in every state up to the last
acknowledgement: before the first commit nothing was asked, after it the session aborts, and in `recorded` it is
withheld, debited and not released.  From `released` on they change nothing: the shell performs that step inside a
shielded scope, and what was released is owed.  A lost peer aborts a session until it is `recorded`; then the parties
ask each other again until the deadline decides (`ASK_PEERS`, answered by `PEER_ASKS` at the other end).  A peer that
stopped or misbehaves, or a failure of ours, withholds what is `recorded`: what cannot be finished rightly is not
finished.

*Stops.*  `RESTARTED` is offered once for each session found at start: `agreed` and everything up to `verified` is
durable as `agreed` only and becomes `aborted`; `recorded` stays and asks the peers, for as long as it takes: it cannot
know whether its part had left, so that no deadline of its own makes it `withheld`.  No session is ever resumed
before `recorded`, because its randomness died with the process (rule 14).

*The receipt.*  Before anybody records, every participant signs the same receipt and waits for all signatures
(`SIGN_RECEIPT`, still `running`: a party that withholds its signature costs nobody anything).  So whoever has recorded
holds the whole receipt, in the same commit as the sealed result.

*Waiting for people.*  `awaiting approval` is no state of a session, for nothing was agreed: it is where a request rests
between two attempts.  The owners whose approvers must decide keep it (`ASK_APPROVERS`); so does the party that proposed
it, and proposes it again when an owner's people have decided (`OWNER_DECIDED`), however long that takes and whatever
was restarted meanwhile.  Every attempt plans, decides and answers from nothing: an approval may be older than data,
policy or roster.  A denial needs no event of its own, it is the refusal that the next attempt meets.

*Input-only owners* walk the same path: for them `PRODUCT_VERIFIED` means that the compute parties signed the receipt,
`SEAL` makes nothing, and the second commit holds no sealed bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from mpcd.errors import Bug


class State(StrEnum):
    """Where a session stands at this party."""

    PROPOSED = "proposed"
    """Planned and decided here, answered to all; waiting for everybody's answer."""
    REFUSED = "refused"
    AWAITING_APPROVAL = "awaiting_approval"
    AGREED = "agreed"
    """The first commit is durable."""
    PREPARING = "preparing"
    """Links are open, the pairs' keys are being made and confirmed."""
    RUNNING = "running"
    VERIFIED = "verified"
    """The result's shares have passed verification; they are being sealed and recorded."""
    RECORDED = "recorded"
    """The second commit is durable; waiting for every owner's acknowledgement."""
    RELEASED = "released"
    ABORTED = "aborted"
    WITHHELD = "withheld"
    """Recorded and debited, never released."""


class Event(StrEnum):
    """What can happen to a session."""

    APPROVAL_NEEDED = "approval_needed"
    OWNER_DECIDED = "owner_decided"
    """People have approved, denied or withdrawn at some owner, or an approval may be late in being told."""
    ALL_AGREE = "all_agree"
    """Everybody's answer is here, permits, and names the same plan."""
    SOME_REFUSE = "some_refuse"
    """A policy, ours or a peer's, says no."""
    SOME_FAIL = "some_fail"
    """A party cannot plan it, planned it differently, holds another roster, or is full."""
    AGREEMENT_COMMITTED = "agreement_committed"
    AGREEMENT_NOT_COMMITTED = "agreement_not_committed"
    """The nonce was burnt or a budget spent meanwhile, or the disk failed; nothing was written."""
    LINKS_OPEN = "links_open"
    KEYS_CONFIRMED = "keys_confirmed"
    PRODUCT_VERIFIED = "product_verified"
    RECORD_COMMITTED = "record_committed"
    RECORD_NOT_COMMITTED = "record_not_committed"
    ALL_ACKNOWLEDGED = "all_acknowledged"
    CANCELLED = "cancelled"
    """By the analyst, or by an operator of ours."""
    REVOKED = "revoked"
    """By our owner."""
    DEADLINE_PASSED = "deadline_passed"
    """Of the approval or of the run, whichever is on."""
    PEER_LOST = "peer_lost"
    PEER_STOPPED = "peer_stopped"
    """A participant says that it aborted or withholds."""
    PEER_ASKS = "peer_asks"
    """A participant that is `recorded` asks how we stand, after a lost channel or a stop."""
    CHECK_FAILED = "check_failed"
    """A check on shares failed, or a peer sent what it may not."""
    LOCAL_FAILURE = "local_failure"
    """Our engine, disk or program failed."""
    RESTARTED = "restarted"


class Effect(StrEnum):
    """What the shell does, in order, before the next event."""

    ASK_APPROVERS = "ask_approvers"
    ANSWER_AGAIN = "answer_again"
    """Propose it again: plan, decide and answer anew."""
    COMMIT_REFUSED = "commit_refused"
    """Entry and burnt nonce: asked, and nothing ran."""
    COMMIT_AGREED = "commit_agreed"
    OPEN_LINKS = "open_links"
    MAKE_KEYS = "make_keys"
    START_ROLES = "start_roles"
    SIGN_RECEIPT = "sign_receipt"
    """Sign what the session owes and wait for every participant's signature of the same."""
    SEAL = "seal"
    COMMIT_RECORDED = "commit_recorded"
    ACKNOWLEDGE = "acknowledge"
    """Tell every participant that our second commit is durable."""
    ASK_PEERS = "ask_peers"
    """Send our acknowledgement again and ask for theirs."""
    SEND_RELEASE = "send_release"
    COMMIT_RELEASED = "commit_released"
    COMMIT_WITHHELD = "commit_withheld"
    COMMIT_ABORTED_AND_REFUND = "commit_aborted_and_refund"
    COMMIT_ABORTED_AND_REFUND_IF_NOTHING_OPENED = "commit_aborted_and_refund_if_nothing_opened"
    COMMIT_ABORTED_AND_KEEP_DEBIT = "commit_aborted_and_keep_debit"
    STOP_ROLES = "stop_roles"
    """Cancel them, close the links, wipe the keys."""
    TELL_PEERS = "tell_peers"
    """That this party stopped."""
    TELL_ANALYST = "tell_analyst"


Step = tuple[State, tuple[Effect, ...]]

TERMINAL: Final = frozenset({State.REFUSED, State.RELEASED, State.ABORTED, State.WITHHELD})
DURABLE: Final = frozenset({State.AGREED, State.RECORDED, State.RELEASED, State.ABORTED, State.WITHHELD})
"""States that a session row in the store can have."""

STOPS: Final = (Event.CANCELLED, Event.REVOKED, Event.DEADLINE_PASSED)
"""Somebody or the clock wants it to end."""
FAILURES: Final = (Event.PEER_LOST, Event.PEER_STOPPED, Event.CHECK_FAILED, Event.LOCAL_FAILURE)
"""It cannot go on."""

_TROUBLE: Final = (Event.PEER_STOPPED, Event.CHECK_FAILED, Event.LOCAL_FAILURE)
"""Failures that waiting for a peer does not mend."""

_STOP_AND_TELL: Final = (Effect.STOP_ROLES, Effect.TELL_PEERS)


def _abort(commit: Effect) -> Step:
    return State.ABORTED, (*_STOP_AND_TELL, commit, Effect.TELL_ANALYST)


def _rows() -> dict[tuple[State, Event], Step]:
    s, e, f = State, Event, Effect
    unasked: Step = (s.ABORTED, (f.TELL_PEERS, f.COMMIT_REFUSED, f.TELL_ANALYST))
    withhold: Step = (s.WITHHELD, (f.COMMIT_WITHHELD, f.TELL_PEERS, f.TELL_ANALYST))
    gone: Step = (s.ABORTED, (f.COMMIT_ABORTED_AND_KEEP_DEBIT,))
    refund = _abort(f.COMMIT_ABORTED_AND_REFUND)
    refund_if_unopened = _abort(f.COMMIT_ABORTED_AND_REFUND_IF_NOTHING_OPENED)
    keep = _abort(f.COMMIT_ABORTED_AND_KEEP_DEBIT)
    return {
        # before anything is durable
        (s.PROPOSED, e.APPROVAL_NEEDED): (s.AWAITING_APPROVAL, (f.ASK_APPROVERS, f.TELL_ANALYST)),
        (s.PROPOSED, e.ALL_AGREE): (s.PROPOSED, (f.COMMIT_AGREED,)),
        (s.PROPOSED, e.SOME_REFUSE): (s.REFUSED, (f.COMMIT_REFUSED, f.TELL_ANALYST)),
        (s.PROPOSED, e.SOME_FAIL): (s.ABORTED, (f.COMMIT_REFUSED, f.TELL_ANALYST)),
        (s.PROPOSED, e.AGREEMENT_COMMITTED): (s.AGREED, (f.OPEN_LINKS,)),
        (s.PROPOSED, e.AGREEMENT_NOT_COMMITTED): (s.REFUSED, (f.TELL_PEERS, f.TELL_ANALYST)),
        **{(s.PROPOSED, event): unasked for event in (*STOPS, *FAILURES)},
        (s.PROPOSED, e.RESTARTED): (s.ABORTED, ()),
        (s.AWAITING_APPROVAL, e.OWNER_DECIDED): (s.PROPOSED, (f.ANSWER_AGAIN,)),
        **{(s.AWAITING_APPROVAL, event): unasked for event in (*STOPS, *_TROUBLE)},
        (s.AWAITING_APPROVAL, e.PEER_LOST): (s.AWAITING_APPROVAL, ()),
        (s.AWAITING_APPROVAL, e.RESTARTED): (s.AWAITING_APPROVAL, ()),
        # debited, nothing sent
        (s.AGREED, e.LINKS_OPEN): (s.PREPARING, (f.MAKE_KEYS,)),
        **{(s.AGREED, event): refund for event in (*STOPS, *FAILURES)},
        (s.AGREED, e.RESTARTED): gone,
        (s.PREPARING, e.KEYS_CONFIRMED): (s.RUNNING, (f.START_ROLES, f.SIGN_RECEIPT)),
        **{(s.PREPARING, event): refund for event in (*STOPS, *FAILURES)},
        (s.PREPARING, e.RESTARTED): gone,
        # shares are moving
        (s.RUNNING, e.PRODUCT_VERIFIED): (s.VERIFIED, (f.SEAL, f.COMMIT_RECORDED)),
        **{(s.RUNNING, event): refund_if_unopened for event in (*STOPS, *FAILURES)},
        (s.RUNNING, e.RESTARTED): gone,
        (s.VERIFIED, e.RECORD_COMMITTED): (s.RECORDED, (f.STOP_ROLES, f.ACKNOWLEDGE)),
        (s.VERIFIED, e.RECORD_NOT_COMMITTED): keep,
        **{(s.VERIFIED, event): keep for event in (*STOPS, *FAILURES)},
        (s.VERIFIED, e.RESTARTED): gone,
        # durable everywhere or nowhere to be seen
        (s.RECORDED, e.ALL_ACKNOWLEDGED): (s.RELEASED, (f.SEND_RELEASE, f.COMMIT_RELEASED, f.TELL_ANALYST)),
        **{(s.RECORDED, event): withhold for event in (*STOPS, *_TROUBLE)},
        (s.RECORDED, e.PEER_LOST): (s.RECORDED, (f.ASK_PEERS,)),
        (s.RECORDED, e.RESTARTED): (s.RECORDED, (f.ASK_PEERS,)),
        # a peer that lost our acknowledgement asks for it again; one that asks too early waits for it
        **{(early, e.PEER_ASKS): (early, ()) for early in (s.AGREED, s.PREPARING, s.RUNNING, s.VERIFIED)},
        **{(late, e.PEER_ASKS): (late, (f.ACKNOWLEDGE,)) for late in (s.RECORDED, s.RELEASED)},
        **{(ended, e.PEER_ASKS): (ended, (f.TELL_PEERS,)) for ended in (s.REFUSED, s.ABORTED, s.WITHHELD)},
        # over: what comes late changes nothing
        **{
            (over, event): (over, ())
            for over in TERMINAL
            for event in (*STOPS, e.PEER_LOST, e.PEER_STOPPED, e.ALL_ACKNOWLEDGED, e.RESTARTED)
        },
    }


TABLE: Final[Mapping[tuple[State, Event], Step]] = _rows()


def advance(state: State, event: Event) -> Step:
    """The next state and what the shell must do for it, in order.

    Raises:
        Bug: the table does not list `event` in `state`; the session ends.
    """
    try:
        return TABLE[state, event]
    except KeyError:
        raise Bug(f"a session that is `{state}` met the event `{event}`, which cannot happen then") from None
