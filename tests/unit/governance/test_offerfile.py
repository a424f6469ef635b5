from __future__ import annotations

import hashlib
import re

import pytest

from mpcd.errors import ConfigurationInvalid
from mpcd.governance import offerfile
from mpcd.governance.offer import Duty, Offer, Quota
from mpcd.governance.offerfile import Frame
from mpcd.governance.price import PricePlan, Rate
from mpcd.ids import PartyId
from mpcd.testing.licensing import CONSORTIUM, DAY_MS, MADE_AT, key

ANNA = str(key("anna").public)
FRAME = Frame(CONSORTIUM, PartyId(1), bytes(16), MADE_AT)
SMALL = f"""
title = "Academic"
purposes = ["HMB"]
commercial = false
functions = "any"
term_days = 365
open_days = 90
quota = "none"
newer_versions = true

[[table]]
name = "gbsg2"

[price]
currency = "EUR"

[legal]
title = "Agreement 1"
sha256 = "{"ab" * 32}"

[[controller]]
name = "Hospital 1"
contact = "data@one.example"
"""


def example() -> str:
    """The file in the module's own description."""
    text = (offerfile.__doc__ or "").split("\n\n", 1)[1].rsplit("\n\nNothing has", 1)[0]
    return re.sub(r"(?m)^    ", "", text).replace("mpcd-sign1...", ANNA).replace('"..."', f'"{"ab" * 32}"')


def read(text: str, frame: Frame = FRAME) -> Offer:
    return offerfile.parse(text, "offer.toml", frame).offer({})


def test_a_small_file_gives_nothing_away() -> None:
    made = read(SMALL)
    assert made.owners == (1,)
    assert made.price == PricePlan("EUR", Rate())
    assert (made.quota, made.budget_rho, made.analysts, made.split, made.functions) == (None, None, None, None, None)
    assert (made.made_at, made.open_until) == (MADE_AT, MADE_AT + 90 * DAY_MS)
    assert made.legal_digest == bytes.fromhex("ab" * 32)


def test_the_example_in_the_description_is_right_but_for_the_pool() -> None:
    text = example()
    with pytest.raises(ConfigurationInvalid, match="a pool"):
        read(text)
    made = read(re.sub(r"(?m)^(split|weight) =.*\n", "", text))
    assert made.price.standard == Rate(
        per_query=1250,
        flat_fee=10_000,
        flat_period="annual",
        max_per_month=50_000,
        free_queries=5,
    )
    assert made.price.reduced == Rate(per_query=250)
    assert made.quota == Quota(200, 30)
    assert made.duties == (Duty("PUB", 365, "end"),)
    assert made.budget_rho == 5 * 10**11
    assert made.grants[0].uses == (("age", ("filter", "group")),)
    assert made.functions == ("avg", "count")
    assert made.analysts == (key("anna").public.raw,)


POOL = SMALL.replace("newer_versions", 'split = "declared_rows"\nnewer_versions').replace(
    "[[controller]]",
    '[[controller]]\nparty = 2\nname = "B"\ncontact = "b"\nweight = 1000\n\n[[controller]]\nparty = 1\nweight = 686',
)


def test_a_pool_names_its_owners_and_their_weights() -> None:
    made = read(POOL)
    assert made.owners == (1, 2)
    assert (made.split, made.weights) == ("declared_rows", (686, 1000))


def test_versions_are_named_where_newer_ones_are_not_covered() -> None:
    draft = offerfile.parse(SMALL.replace("newer_versions = true", "newer_versions = false"), "offer.toml", FRAME)
    assert draft.owners == (1,)
    assert draft.tables == ("gbsg2",)
    assert draft.offer({PartyId(1): {"gbsg2": "cd" * 32}}).versions == ((1, "gbsg2", "cd" * 32),)
    with pytest.raises(ConfigurationInvalid, match="names its own"):
        draft.offer({})


def test_a_pool_that_is_split_by_weights_names_each() -> None:
    for split in ("declared_rows", "fixed"):
        text = POOL.replace("declared_rows", split)
        assert read(text).split == split
        with pytest.raises(ConfigurationInvalid, match=f'split = "{split}" needs a `weight`'):
            read(re.sub(r"(?m)^weight.*\n", "", text, count=1))


def test_an_empty_legal_text_binds_nothing() -> None:
    nothing = hashlib.sha256(b"").digest()
    for text, given in (
        (re.sub(r"(?m)^sha256.*\n", "", SMALL), nothing),
        (re.sub(r"(?m)^sha256.*$", f'sha256 = "{nothing.hex()}"', SMALL), None),
    ):
        with pytest.raises(ConfigurationInvalid, match="legal text is empty"):
            read(text, Frame(CONSORTIUM, PartyId(1), bytes(16), MADE_AT, given))


def test_the_legal_text_is_named_once() -> None:
    unnamed = re.sub(r"(?m)^sha256.*\n", "", SMALL)
    with pytest.raises(ConfigurationInvalid, match="--legal"):
        read(unnamed)
    given = Frame(CONSORTIUM, PartyId(1), bytes(16), MADE_AT, bytes(32))
    assert read(unnamed, given).legal_digest == bytes(32)
    with pytest.raises(ConfigurationInvalid, match="another digest"):
        read(SMALL, given)


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ('title = "Academic"\n', "", 1, "`title` is missing"),
        ("commercial = false\n", "", 1, "`commercial` is missing"),
        ('functions = "any"\n', "", 1, "`functions` must name"),
        ("term_days = 365", "term_days = 0", 6, "`term_days` must be a whole number"),
        ('quota = "none"\n', "", 1, 'quota = "none"'),
        ('quota = "none"', "quota = { queries = 5 }", 8, "`days` is missing"),
        ('quota = "none"', 'quota = "any"', 8, "`quota` must be a table"),
        ("newer_versions = true\n", "", 1, "`newer_versions` is missing"),
        ('currency = "EUR"', "", 14, "`currency` is missing"),
        ('currency = "EUR"', 'currency = "EURO"', 15, "no ISO 4217 currency"),
        ('currency = "EUR"', 'currency = "EUR"\nper_query = 12.5', 16, "in quotes"),
        ('currency = "EUR"', 'currency = "EUR"\nper_query = "12.505"', 16, "finer than EUR"),
        ('currency = "EUR"', 'currency = "EUR"\nflat_fee = "1"', 16, "go together"),
        ('currency = "EUR"', 'currency = "EUR"\nper_querry = "1"', 16, "did you mean `per_query`"),
        ('currency = "EUR"', 'currency = "EUR"\nreduced = { flat_period = "weekly", flat_fee = "1" }', 16, "one-off"),
        ('currency = "EUR"', 'currency = "EUR"\nper_month = "2"\nmax_per_month = "1"', 14, "below per_month"),
        ('name = "gbsg2"', 'name = "gbsg2"\nuses = { age = ["read"] }', 13, "no column use"),
        ('name = "gbsg2"', 'name = " gbsg2"', 12, "short printable"),
        ('name = "gbsg2"', 'name = "gbsg2"\n[[table]]\nname = "gbsg2"', 14, "stands twice"),
        ('["HMB"]', '["research"]', 1, "no DUO permission"),
        ("quota =", "discount = 5\nquota =", 8, "unknown key `discount`"),
        ("quota =", 'split = "equal"\nquota =', 8, "needs `split`"),
        ("quota =", 'budget_rho = "-1"\nquota =', 8, "decimal text above 0"),
        ("quota =", 'budget_rho = "0.0"\nquota =', 8, "decimal text above 0"),
        ("quota =", 'analysts = ["anna"]\nquota =', 8, "no analyst's key"),
        ("[legal]", '[[duty]]\ncode = "NCU"\ndays = 1\n[legal]', 18, "no duty"),
        ("[legal]", '[[duty]]\ncode = "PUB"\n[legal]', 17, "`days` is missing"),
        ("abab", "xxxx", 19, "64 digits"),
        ("[[controller]]", "[[controller]]\nparty = 2", 21, "party = 1"),
        ("[[controller]]", "[[controller]]\nweight = 2", 1, "`weight` is for"),
        ("[legal]", '[tax]\nrate_percent = "abc"\n[legal]', 18, "`rate_percent` must be a number"),
        ("[legal]", '[tax]\nrate_percent = "101"\n[legal]', 18, "`rate_percent` must be a number"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(old: str, new: str, line: int, said: str) -> None:
    assert SMALL.count(old) == 1 or old == "abab"
    with pytest.raises(ConfigurationInvalid) as caught:
        read(SMALL.replace(old, new, 1))
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"offer.toml:{line}: ")
