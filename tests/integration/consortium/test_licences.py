"""Licences between three hospitals: offered together, accepted, used, paid for, used up, revoked; data under NCU.

The tests run in order on one sandbox and go through the command line as people do.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mpcd import errors
from mpcd.api.flow import Options
from mpcd.api.profile import Profile
from mpcd.cli.main import main
from mpcd.governance.licence import Deed
from mpcd.governance.offer import SignedOffer
from mpcd.governance.quote import Line
from mpcd.sandbox.prepare import TableFiles

if TYPE_CHECKING:
    from tests.integration.consortium.conftest import Sandbox

pytestmark = pytest.mark.slow
COUNT = "SELECT COUNT(*) FROM gbsg2"
TABLE = """
[[table]]
name = "gbsg2"
licence = "required"
conditions = ["NCU"]
uses = { age = ["filter", "group", "aggregate"], menostat = ["group"] }
"""
OFFER = """
title = "Academic"
purposes = ["NRES"]
commercial = false
functions = "any"
term_days = 365
open_days = 90
quota = { queries = 3, days = 30 }
newer_versions = true
split = "declared_rows"

[[table]]
name = "gbsg2"

[price]
currency = "EUR"
per_query = "10.00"
free_queries = 1

[legal]
title = "Data use agreement"
"""


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory, bring_up_sandbox: object) -> Iterator[Sandbox]:
    base = tmp_path_factory.mktemp("licences")
    data = Path(__file__).resolve().parents[2] / "data" / "gbsg2.csv"
    assert callable(bring_up_sandbox)
    for sandbox in bring_up_sandbox(base, 3, [TableFiles("gbsg2", (data,))], {None: 'purposes = ["NRES"]\n' + TABLE}):
        # Now that the analyst has a key: academic, as each owner has found.
        key = sandbox.profile.signing_key.public
        facts = f'\n[[analyst]]\nname = "Anna"\nkey = "{key}"\ncommercial = false\n'
        for party in range(3):
            (sandbox.home(party) / "policy.toml").write_text('purposes = ["NRES"]\n' + TABLE + facts, encoding="utf-8")
            assert main(["--socket", sandbox.hospitals[party].admin, "reload"]) == 0
        yield sandbox


def owner(three: Sandbox, party: int, *words: str) -> int:
    return main(["--socket", three.hospitals[party].admin, *words])


def analyst(three: Sandbox, *words: str) -> int:
    return main(["--profile", str(three.started.profile), *words])


def refused(three: Sandbox, options: Options | None = None) -> list[tuple[int, str, str]]:
    with three.client() as client, pytest.raises(errors.Refused) as caught:
        client.sql(COUNT, options=options or Options())
    return sorted((int(reason.party), reason.rule, reason.message) for reason in caught.value.reasons)


def offered(three: Sandbox, party: int, capsys: pytest.CaptureFixture[str]) -> list[tuple[SignedOffer, str]]:
    capsys.readouterr()
    assert owner(three, party, "offer", "list", "--json") == 0
    listed = json.loads(capsys.readouterr().out)["offers"]
    return [(SignedOffer.from_bytes(bytes.fromhex(one["offer"])), one["state"]) for one in listed]


def test_without_a_licence_every_owner_refuses(three: Sandbox) -> None:
    reasons = refused(three)
    assert [(party, rule) for party, rule, _ in reasons] == [(0, "licence"), (1, "licence"), (2, "licence")]
    assert all("you hold none" in message for _, _, message in reasons)


def test_commercial_use_of_data_under_ncu_is_not_offered(
    three: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = OFFER.replace("commercial = false", "commercial = true").replace('split = "declared_rows"', "")
    file = tmp_path / "offer.toml"
    file.write_text(text + '[[controller]]\nname = "A"\ncontact = "a"\n', encoding="utf-8")
    legal = tmp_path / "legal.txt"
    legal.write_text("the text", encoding="utf-8")
    assert owner(three, 0, "offer", "make", str(file), "--legal", str(legal)) == 1
    assert f"{file}:4: table `gbsg2` is under NCU" in capsys.readouterr().err
    assert offered(three, 0, capsys) == []


def test_a_misspelt_offer_is_not_made(three: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = OFFER.replace('split = "declared_rows"', "").replace('functions = "any"', 'functions = ["averge"]')
    text = text.replace('name = "gbsg2"', 'name = "gbsg2"\nuses = { agee = ["filter"] }')
    file, legal = tmp_path / "offer.toml", tmp_path / "legal.txt"
    file.write_text(text + '[[controller]]\nname = "A"\ncontact = "a"\n', encoding="utf-8")
    legal.write_text("", encoding="utf-8")
    make = ("offer", "make", str(file), "--legal", str(legal), "--dry-run")
    assert owner(three, 0, *make) != 0
    assert "the legal text is empty" in capsys.readouterr().err
    legal.write_text("the text", encoding="utf-8")
    assert owner(three, 0, *make) != 0
    said = capsys.readouterr().err
    assert f"{file}:5: `averge` is no aggregate" in said
    assert f"{file}:14: the roster has no column `gbsg2.agee`; did you mean `age`?" in said


def test_a_pool_offers_once_all_have_signed(three: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, legal = tmp_path / "offer.toml", tmp_path / "legal.txt"
    weights = (686, 1000, 314)
    controllers = "".join(
        f'[[controller]]\nparty = {party}\nname = "H{party}"\ncontact = "h"\nweight = {weight}\n'
        for party, weight in enumerate(weights)
    )
    file.write_text(OFFER + controllers, encoding="utf-8")
    legal.write_text("the text", encoding="utf-8")
    assert owner(three, 0, "offer", "make", str(file), "--legal", str(legal)) == 0
    assert "pending; signed by party 0" in capsys.readouterr().out
    ((signed, state),) = offered(three, 1, capsys)
    assert state == "pending"
    name = signed.offer.digest.hex()[:12]
    assert analyst(three, "licence", "offers", "--json") == 0
    assert json.loads(capsys.readouterr().out)["offers"] == []
    assert owner(three, 1, "offer", "sign", name, "--yes") == 0
    assert owner(three, 2, "offer", "sign", name, "--yes") == 0
    assert "open; signed by party 0, 1, 2" in capsys.readouterr().out
    # Party 0 heard it from 1 and from 2, party 1 from 2.
    assert [offered(three, party, capsys)[0][1] for party in range(3)] == ["open", "open", "open"]


def test_a_pool_names_everybody_s_data_where_newer_data_is_not_covered(
    three: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, legal = tmp_path / "offer.toml", tmp_path / "legal.txt"
    text = OFFER.replace("newer_versions = true", "newer_versions = false").replace("declared_rows", "equal")
    controllers = "".join(f'[[controller]]\nparty = {party}\nname = "H{party}"\ncontact = "h"\n' for party in range(3))
    file.write_text(text + controllers, encoding="utf-8")
    legal.write_text("the text", encoding="utf-8")
    capsys.readouterr()
    assert owner(three, 0, "offer", "make", str(file), "--legal", str(legal), "--dry-run", "--json") == 0
    made = SignedOffer.from_bytes(bytes.fromhex(json.loads(capsys.readouterr().out)["offer"])).offer
    assert [(party, table) for party, table, _ in made.versions] == [(0, "gbsg2"), (1, "gbsg2"), (2, "gbsg2")]
    for party, _, version in made.versions:
        with three.admin(party) as client:
            published = client.call("mpc.v1.TableList")["tables"]
        assert version in json.dumps(published)
    assert len(offered(three, 0, capsys)) == 1


def test_a_pool_s_offer_is_withdrawn_for_all_its_owners(
    three: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, legal = tmp_path / "offer.toml", tmp_path / "legal.txt"
    controllers = "".join(
        f'[[controller]]\nparty = {party}\nname = "H{party}"\ncontact = "h"\nweight = 1\n' for party in range(3)
    )
    file.write_text(OFFER.replace("Academic", "Withdrawn") + controllers, encoding="utf-8")
    legal.write_text("the text", encoding="utf-8")
    assert owner(three, 0, "offer", "make", str(file), "--legal", str(legal)) == 0
    made = next(one.offer for one, _ in offered(three, 0, capsys) if one.offer.title == "Withdrawn")
    name = made.digest.hex()[:16]
    assert owner(three, 1, "offer", "sign", name, "--yes") == 0
    assert owner(three, 0, "offer", "withdraw", name) == 0
    states = [{one.offer.title: state for one, state in offered(three, party, capsys)} for party in range(3)]
    assert [one["Withdrawn"] for one in states] == ["withdrawn"] * 3
    assert owner(three, 2, "offer", "sign", name, "--yes") == 4
    assert "withdrawn" in capsys.readouterr().err
    assert [title for title in states[0] if states[0][title] == "open"] == ["Academic"]


def kept(profile: Profile) -> list[tuple[Path, Deed]]:
    files = sorted((profile.directory / "licences").glob("*.licence"))
    return [(path, Deed.from_bytes(path.read_bytes())) for path in files]


def test_an_analyst_accepts_and_all_hold_the_same(
    three: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    signed = next(one for one, state in offered(three, 0, capsys) if state == "open")
    name = signed.offer.digest.hex()[:12]
    assert analyst(three, "licence", "accept", name, "--licensee", "University", "--yes") == 0
    ((path, deed),) = kept(three.profile)
    assert deed.complete
    for party in range(3):
        copy = tmp_path / f"{party}.licence"
        licence = deed.agreement.digest.hex()
        assert owner(three, party, "licence", "show", licence, "--out", str(copy)) == 0
        theirs = Deed.from_bytes(copy.read_bytes())
        assert theirs.agreement.to_bytes() == deed.agreement.to_bytes()
        assert copy.read_bytes() == path.read_bytes()
        assert theirs.complete
    assert analyst(three, "licence", "verify", str(path)) == 0
    changed = bytearray(path.read_bytes())
    changed[changed.index(b"University")] ^= 1
    (tmp_path / "changed.licence").write_bytes(bytes(changed))
    assert analyst(three, "licence", "verify", str(tmp_path / "changed.licence")) == 4
    roster = three.home(0) / "roster.toml"
    assert owner(three, 0, "licence", "verify", str(path), "--roster", str(roster)) == 0


def test_the_same_offer_is_not_accepted_again(three: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    signed = next(one for one, state in offered(three, 0, capsys) if state == "open")
    name = signed.offer.digest.hex()[:12]
    ((path, deed),) = kept(three.profile)
    licence = deed.agreement.digest.hex()[:16]
    assert analyst(three, "licence", "accept", name, "--licensee", "University", "--yes") == 4
    assert f"you hold licence {licence} under this offer" in capsys.readouterr().err
    # Without the file, and on what is another computer to the owners: they know the licence.
    content = path.read_bytes()
    path.unlink()
    assert analyst(three, "licence", "accept", name, "--licensee", "University", "--yes") == 0
    assert path.read_bytes() == content
    assert len(kept(three.profile)) == 1
    assert analyst(three, "licence", "list", "--json") == 0
    (held,) = json.loads(capsys.readouterr().out.partition("\n")[2])["licences"]
    assert (held["name"], held["complete"], held["in_force"], held["held_by"]) == (licence, True, True, [0, 1, 2])


def test_the_first_query_is_free_and_the_next_needs_a_quote(three: Sandbox) -> None:
    with three.client() as client:
        assert client.sql(COUNT).table.rows == ((686,),)
    reasons = refused(three)
    assert {party for party, _, _ in reasons} == {0, 1, 2}
    shares = {0: "3.43 EUR", 1: "5.00 EUR", 2: "1.57 EUR"}
    assert all(f"asks {shares[party]}" in message for party, _, message in reasons)


def test_the_price_is_the_pool_s_and_divided_among_its_owners(three: Sandbox) -> None:
    with three.client() as client:
        quote, lines, _ = client.quote(COUNT)
        assert all(isinstance(line, Line) for line in lines)
        assert [(line.party, line.minor, line.pool_minor) for line in lines] == [
            (0, 343, 1000),
            (1, 500, 1000),
            (2, 157, 1000),
        ]
        assert client.sql(COUNT, options=Options(quote=quote.to_bytes())).table.rows == ((686,),)


def test_the_quota_is_used_up(three: Sandbox) -> None:
    with three.client() as client:
        quote, _, _ = client.quote(COUNT)
        client.sql(COUNT, options=Options(quote=quote.to_bytes()))
    reasons = refused(three)
    assert {party for party, _, _ in reasons} == {0, 1, 2}
    assert all("3 in any 30 days" in message for _, _, message in reasons)


def second(three: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """A licence that is free and without quota, one for each owner; the name of the first owner's."""
    names = []
    for party in range(3):
        text = OFFER.replace('split = "declared_rows"', "").replace("{ queries = 3, days = 30 }", '"none"')
        text = text.replace('"10.00"', '"0"').replace("Academic", f"Free {party}")
        text += '[[duty]]\ncode = "PUB"\ndays = 0\nafter = "end"\n'
        file, legal = tmp_path / f"{party}.toml", tmp_path / "legal.txt"
        file.write_text(text + '[[controller]]\nname = "A"\ncontact = "a"\n', encoding="utf-8")
        legal.write_text("the text", encoding="utf-8")
        assert owner(three, party, "offer", "make", str(file), "--legal", str(legal)) == 0
        made = next(one.offer for one, _ in offered(three, party, capsys) if one.offer.title == f"Free {party}")
        assert analyst(three, "licence", "accept", made.digest.hex()[:16], "--licensee", "University", "--yes") == 0
        names.append(next(deed for _, deed in kept(three.profile) if deed.agreement.offer == made))
    return names[0].agreement.digest.hex()


def test_a_revocation_ends_what_runs_and_what_comes(
    three: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str], talk: tuple[object, object]
) -> None:
    name = second(three, tmp_path, capsys)
    with three.client() as client:
        assert client.sql(COUNT).table.rows == ((686,),)
    submit, finish = talk
    assert callable(submit)
    assert callable(finish)
    request, _, _ = three.request(COUNT)
    three.send(2, signal.SIGSTOP)
    try:
        with three.client() as client:
            job = submit(client, request)
            assert owner(three, 0, "licence", "revoke", name, "--reason", "misuse", "--yes") == 0
            with pytest.raises(errors.MpcdError) as caught:
                finish(client, job)
    finally:
        three.send(2, signal.SIGCONT)
    assert isinstance(caught.value, (errors.Cancelled, errors.Refused)), caught.value
    assert "revoked" in str(caught.value)
    reasons = refused(three)
    assert {party for party, _, _ in reasons} == {0}
    assert any("was revoked" in message for _, _, message in reasons)
    kinds = [entry["kind"] for entry in three.entries(0)]
    assert kinds.count("revoked") == 1
    capsys.readouterr()
    assert owner(three, 0, "licence", "show", name, "--out", str(tmp_path / "proof.licence")) == 0
    assert analyst(three, "licence", "verify", str(tmp_path / "proof.licence")) == 0
    assert "party 0" in capsys.readouterr().out


def test_what_is_owed_besides_money_is_listed_until_it_is_met(
    three: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = next(one for _, one in kept(three.profile) if one.agreement.offer.title == "Free 0").agreement.digest.hex()
    capsys.readouterr()
    assert owner(three, 0, "licence", "obligations") == 0
    listed = capsys.readouterr().out
    assert "due  " in listed  # since its licence was revoked
    assert "PUB" in listed
    paper = tmp_path / "paper.pdf"
    paper.write_bytes(b"published")
    assert owner(three, 0, "licence", "fulfil", name[:16], "PUB", "--evidence", str(paper)) == 0
    capsys.readouterr()
    assert owner(three, 0, "licence", "obligations") == 0
    assert "PUB" not in capsys.readouterr().out


def test_a_withdrawn_offer_is_not_there_any_more(three: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    made = next(one.offer for one, _ in offered(three, 2, capsys) if one.offer.title == "Free 2")
    name = made.digest.hex()[:16]
    assert owner(three, 2, "offer", "withdraw", name) == 0
    capsys.readouterr()
    assert analyst(three, "licence", "offers", "--json") == 0
    assert made.digest.hex() not in capsys.readouterr().out
    assert analyst(three, "licence", "offers", name) == 4
    assert "No offer begins" in capsys.readouterr().err
    assert {party for party, _, _ in refused(three)} == {0}


def test_an_analyst_ends_a_licence(three: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    deed = next(one for _, one in kept(three.profile) if one.agreement.offer.title == "Free 1")
    assert analyst(three, "licence", "end", deed.agreement.digest.hex()[:16], "--yes") == 0
    assert {party for party, _, _ in refused(three)} == {0, 1}
    capsys.readouterr()
    assert analyst(three, "licence", "list", "--all") == 0
    listed = capsys.readouterr().out
    assert (listed.count("by party 0"), listed.count("by you")) == (1, 1)


def fees(three: Sandbox, party: int, licence: str, capsys: pytest.CaptureFixture[str]) -> bool:
    """Whether a party's statement of this month has anything about a licence."""
    month = time.strftime("%Y-%m", time.gmtime())
    capsys.readouterr()
    assert owner(three, party, "statement", "--month", month, "--json") == 0
    return licence in capsys.readouterr().out


def test_a_pool_s_licence_is_in_force_and_owed_once_the_owner_who_was_away_holds_it(
    three: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, legal = tmp_path / "offer.toml", tmp_path / "legal.txt"
    controllers = "".join(
        f'[[controller]]\nparty = {party}\nname = "H{party}"\ncontact = "h"\nweight = 1\n' for party in range(3)
    )
    text = OFFER.replace("Academic", "Later").replace("free_queries = 1", 'flat_fee = "90"\nflat_period = "one-off"')
    file.write_text(text + controllers, encoding="utf-8")
    legal.write_text("the text", encoding="utf-8")
    assert owner(three, 0, "offer", "make", str(file), "--legal", str(legal)) == 0
    made = next(one.offer for one, _ in offered(three, 0, capsys) if one.offer.title == "Later")
    name = made.digest.hex()[:16]
    assert [owner(three, party, "offer", "sign", name, "--yes") for party in (1, 2)] == [0, 0]
    accept = ("licence", "accept", name, "--licensee", "University", "--yes")
    capsys.readouterr()
    three.send(2, signal.SIGSTOP)
    try:
        assert analyst(three, *accept) == 5
    finally:
        three.send(2, signal.SIGCONT)
    assert "not in force and nothing is owed" in capsys.readouterr().err
    path, deed = next((path, one) for path, one in kept(three.profile) if one.agreement.offer == made)
    licence = deed.agreement.digest.hex()
    assert analyst(three, "licence", "verify", str(path)) == 0
    assert "not in force: this file does not show that party 2 holds it" in capsys.readouterr().out
    assert [fees(three, party, licence, capsys) for party in (0, 1)] == [False, False]
    deadline = time.monotonic() + 60
    while (code := analyst(three, *accept)) == 5 and time.monotonic() < deadline:
        time.sleep(1)
    assert code == 0
    (again,) = [one for _, one in kept(three.profile) if one.agreement.offer == made]
    assert (again.complete, again.agreement.digest.hex()) == (True, licence)
    assert [fees(three, party, licence, capsys) for party in (0, 1, 2)] == [True, True, True]
