"""Licences for tests: an owner's, a pool's, signed with keys that everybody may know (layer 16)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from mpcd.governance.licence import Agreement
from mpcd.governance.offer import Controller, Grant, Offer, SignedOffer
from mpcd.governance.price import PricePlan, Rate, RateClass
from mpcd.identity import SigningKey, VerifyKey
from mpcd.ids import PartyId

DAY_MS: Final = 86_400_000
MADE_AT: Final = 1_793_491_200_000
"""2026-11-01 00:00 UTC."""
CONSORTIUM: Final = "test"


def key(name: str) -> SigningKey:
    """The key of that name, always the same."""
    return SigningKey.from_seed(bytearray(name.encode().ljust(32, b".")[:32]))


def party_key(party: int) -> SigningKey:
    """A party's."""
    return key(f"party {party}")


def party_keys(count: int = 4) -> Mapping[PartyId, VerifyKey]:
    """The public ones of parties 1 to `count`."""
    return {PartyId(party): party_key(party).public for party in range(1, count + 1)}


def offer(**changed: Any) -> Offer:  # any field of `Offer`
    """An academic offer of party 1 over `gbsg2` at 5.00 EUR a query, with changes."""
    plain = Offer(
        consortium=CONSORTIUM,
        nonce=bytes(16),
        title="Academic",
        controllers=(Controller(PartyId(1), "Hospital 1", "data@one.example"),),
        grants=(Grant("gbsg2", None),),
        purposes=("HMB",),
        commercial=False,
        functions=None,
        budget_rho=None,
        price=PricePlan("EUR", Rate(per_query=500)),
        tax=(),
        split=None,
        weights=(1,),
        term_days=365,
        quota=None,
        newer_versions=True,
        versions=(),
        duties=(),
        legal_title="Agreement 1",
        legal_digest=bytes(32),
        analysts=None,
        made_at=MADE_AT,
        open_until=MADE_AT + 90 * DAY_MS,
    )
    return replace(plain, **changed)


def pool(*parties: int, **changed: Any) -> Offer:  # any field of `Offer`
    """The same by several parties, at 10.00 EUR, split equally unless changed."""
    fields: dict[str, Any] = {
        "controllers": tuple(Controller(PartyId(one), f"Hospital {one}", f"data@{one}.example") for one in parties),
        "split": "equal",
        "weights": (1,) * len(parties),
        "price": PricePlan("EUR", Rate(per_query=1000)),
    }
    return offer(**{**fields, **changed})


def signed(made: Offer) -> SignedOffer:
    """By all its owners."""
    return SignedOffer(made, tuple(made.sign(party, party_key(party)) for party in made.owners))


def accepted(
    made: Offer,
    analyst: SigningKey | None = None,
    *,
    at: int = MADE_AT,
    rate_class: RateClass = "standard",
    seed: int = 0,
) -> Agreement:
    """A licence of `analyst` (anna, if none is given)."""
    return Agreement.make(
        signed(made),
        key("anna") if analyst is None else analyst,
        licensee="Anna Analyst",
        now_ms=at,
        entropy=lambda size: seed.to_bytes(size, "big"),
        rate_class=rate_class,
    )
