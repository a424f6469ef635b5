from __future__ import annotations

import itertools

import pytest

from mpcd.errors import Bug
from mpcd.session.lifecycle import DURABLE, FAILURES, STOPS, TABLE, TERMINAL, Effect, Event, State, Step, advance

BEFORE_RECORDED = (State.AGREED, State.PREPARING, State.RUNNING, State.VERIFIED)


def walk(*events: Event) -> list[Effect]:
    """The effects of a life from `proposed` on."""
    state = State.PROPOSED
    done: list[Effect] = []
    for event in events:
        state, effects = advance(state, event)
        done += effects
    return done


HONEST = (
    Event.ALL_AGREE,
    Event.AGREEMENT_COMMITTED,
    Event.LINKS_OPEN,
    Event.KEYS_CONFIRMED,
    Event.PRODUCT_VERIFIED,
    Event.RECORD_COMMITTED,
    Event.ALL_ACKNOWLEDGED,
)


def test_the_honest_life() -> None:
    assert walk(*HONEST) == [
        Effect.COMMIT_AGREED,
        Effect.OPEN_LINKS,
        Effect.MAKE_KEYS,
        Effect.START_ROLES,
        Effect.SIGN_RECEIPT,
        Effect.SEAL,
        Effect.COMMIT_RECORDED,
        Effect.STOP_ROLES,
        Effect.ACKNOWLEDGE,
        Effect.SEND_RELEASE,
        Effect.COMMIT_RELEASED,
        Effect.TELL_ANALYST,
    ]


# The whole table, as architecture has it: for each state the events it knows and where they lead.
PROPOSED, AWAITING, REFUSED = State.PROPOSED, State.AWAITING_APPROVAL, State.REFUSED
AGREED, PREPARING, RUNNING, VERIFIED = BEFORE_RECORDED
RECORDED, RELEASED, ABORTED, WITHHELD = State.RECORDED, State.RELEASED, State.ABORTED, State.WITHHELD
E = Event
INTERRUPTS = dict.fromkeys((*STOPS, *FAILURES, E.RESTARTED), ABORTED)


def late(state: State) -> dict[Event, State]:
    return dict.fromkeys(
        (*STOPS, E.PEER_LOST, E.PEER_STOPPED, E.ALL_ACKNOWLEDGED, E.RESTARTED, E.PEER_ASKS),
        state,
    )


EXPECTED: dict[State, dict[Event, State]] = {
    PROPOSED: {
        **INTERRUPTS,
        E.APPROVAL_NEEDED: AWAITING,
        E.ALL_AGREE: PROPOSED,
        E.SOME_REFUSE: REFUSED,
        E.SOME_FAIL: ABORTED,
        E.AGREEMENT_COMMITTED: AGREED,
        E.AGREEMENT_NOT_COMMITTED: REFUSED,
    },
    AWAITING: {
        **INTERRUPTS,
        E.PEER_LOST: AWAITING,
        E.RESTARTED: AWAITING,
        E.OWNER_DECIDED: PROPOSED,
    },
    AGREED: {**INTERRUPTS, E.LINKS_OPEN: PREPARING, E.PEER_ASKS: AGREED},
    PREPARING: {**INTERRUPTS, E.KEYS_CONFIRMED: RUNNING, E.PEER_ASKS: PREPARING},
    RUNNING: {**INTERRUPTS, E.PRODUCT_VERIFIED: VERIFIED, E.PEER_ASKS: RUNNING},
    VERIFIED: {
        **INTERRUPTS,
        E.RECORD_COMMITTED: RECORDED,
        E.RECORD_NOT_COMMITTED: ABORTED,
        E.PEER_ASKS: VERIFIED,
    },
    RECORDED: {
        **dict.fromkeys(STOPS, WITHHELD),
        **dict.fromkeys((E.PEER_STOPPED, E.CHECK_FAILED, E.LOCAL_FAILURE), WITHHELD),
        E.ALL_ACKNOWLEDGED: RELEASED,
        E.PEER_LOST: RECORDED,
        E.RESTARTED: RECORDED,
        E.PEER_ASKS: RECORDED,
    },
    REFUSED: late(REFUSED),
    RELEASED: late(RELEASED),
    ABORTED: late(ABORTED),
    WITHHELD: late(WITHHELD),
}


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Event)))
def test_every_state_meets_every_event(state: State, event: Event) -> None:
    expected = EXPECTED[state].get(event)
    if expected is None:
        assert (state, event) not in TABLE
        with pytest.raises(Bug, match=f"`{state}` met the event `{event}`"):
            advance(state, event)
    else:
        assert advance(state, event)[0] is expected


def effects_on_all_paths() -> list[tuple[State, Event, Step]]:
    return [(state, event, step) for (state, event), step in TABLE.items()]


def test_durable_states_are_entered_by_their_commit_alone() -> None:
    entering = {
        State.AGREED: {(PROPOSED, E.AGREEMENT_COMMITTED)},
        State.RECORDED: {(VERIFIED, E.RECORD_COMMITTED)},
        State.RELEASED: {(RECORDED, E.ALL_ACKNOWLEDGED)},
    }
    for state, expected in entering.items():
        found = {
            (before, event) for before, event, (after, _) in effects_on_all_paths() if after is state is not before
        }
        assert found == expected


def test_release_leaves_after_the_last_acknowledgement_alone() -> None:
    sending = [(s, e) for s, e, (_, effects) in effects_on_all_paths() if Effect.SEND_RELEASE in effects]
    assert sending == [(RECORDED, E.ALL_ACKNOWLEDGED)]


REFUNDS = {
    AGREED: Effect.COMMIT_ABORTED_AND_REFUND,
    PREPARING: Effect.COMMIT_ABORTED_AND_REFUND,
    RUNNING: Effect.COMMIT_ABORTED_AND_REFUND_IF_NOTHING_OPENED,
    VERIFIED: Effect.COMMIT_ABORTED_AND_KEEP_DEBIT,
}


def test_who_gets_a_refund() -> None:
    for state, event, (after, effects) in effects_on_all_paths():
        commits = [effect for effect in effects if effect.startswith("commit_aborted")]
        if state in REFUNDS and after is ABORTED:
            assert commits == [REFUNDS[state] if event is not E.RESTARTED else Effect.COMMIT_ABORTED_AND_KEEP_DEBIT]
        else:
            assert commits == []


def test_stops_act_until_the_last_acknowledgement_and_no_longer() -> None:
    for stop in STOPS:
        for state in (PROPOSED, AWAITING, *BEFORE_RECORDED):
            assert advance(state, stop)[0] is ABORTED
        assert advance(RECORDED, stop)[0] is WITHHELD
        for state in TERMINAL:
            assert advance(state, stop) == (state, ())


def test_what_is_over_stays_over() -> None:
    for state, _, (after, effects) in effects_on_all_paths():
        if state in TERMINAL:
            assert after is state
            assert set(effects) <= {Effect.ACKNOWLEDGE, Effect.TELL_PEERS}


def test_every_state_can_end_and_every_effect_has_a_use() -> None:
    reach = set(TERMINAL)
    while True:
        more = {state for state, _, (after, _) in effects_on_all_paths() if after in reach} - reach
        if not more:
            break
        reach |= more
    assert reach == set(State)
    assert {effect for _, _, (_, effects) in effects_on_all_paths() for effect in effects} == set(Effect)
    assert {event for _, event, _ in effects_on_all_paths()} == set(Event)


def test_nothing_is_written_twice_for_one_event() -> None:
    for _, _, (_, effects) in effects_on_all_paths():
        assert sum(effect.startswith("commit_") for effect in effects) <= 1
        assert len(set(effects)) == len(effects)


def test_entering_an_end_leaves_no_roles_running() -> None:
    for state, event, (after, effects) in effects_on_all_paths():
        if state in BEFORE_RECORDED and after in TERMINAL and event is not E.RESTARTED:
            assert effects.index(Effect.STOP_ROLES) == 0


def test_the_stores_states_are_the_durable_ones() -> None:
    from typing import get_args  # noqa: PLC0415  # only here

    from mpcd.store.store import DurableState  # noqa: PLC0415  # a higher layer

    assert set(get_args(DurableState)) == {str(state) for state in DURABLE}
