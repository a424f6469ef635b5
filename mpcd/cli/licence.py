"""`mpcctl licence ...`: accept, keep and prove licences; list and end them as their owner (layer 15).

An analyst's licences are files in the profile's directory, `licences/NAME.licence`: what was agreed, with the
signatures that prove it.  `verify` needs such a file and the parties' keys, and no daemon.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from mpcd.api.client import Client, need
from mpcd.api.profile import Profile
from mpcd.api.types import Map, blob
from mpcd.cli.licencetext import day, deed_lines, offer_lines, print_lines, rate_text, signature_problem
from mpcd.cli.shared import connect, json_option, maps, printable, show, write_json, write_table
from mpcd.errors import ConfigurationInvalid, LicenceInvalid, NotFound, PeerFault
from mpcd.governance.licence import Agreement, Deed, Revocation
from mpcd.governance.offer import SignedOffer, offer_name
from mpcd.identity import IdentityError, VerifyKey
from mpcd.identity.inquiry import Inquiry
from mpcd.ids import PartyId

_METHOD: Final = "mpc.v1.Licences"
_DIRECTORY: Final = "licences"
_SUFFIX: Final = ".licence"
_AGAIN_MS: Final = 86_400_000
"""So long owners take an acceptance."""


@click.group()
def licence() -> None:
    """Accept, show and prove licences; list and revoke them as their owner."""


# ------------------------------------------------------------------------------------------------ the analyst


@licence.command()
@click.argument("name", required=False)
@json_option
@click.pass_context
def offers(context: click.Context, name: str | None, *, as_json: bool) -> None:
    """Show what every owner offers you; with NAME, all that one offer says."""
    with connect(context, signs=True) as client:
        found, silent = _offers(client)
    if name is not None:
        found = [_named(found, name)]
    if as_json:
        write_json({"offers": [_offer_map(signed) for signed in found], "silent": silent})
    elif name is not None:
        print_lines(offer_lines(found[0].offer))
    else:
        rows = [
            [
                offer_name(one.offer.digest),
                printable(one.offer.title),
                ", ".join(one.offer.tables),
                ", ".join(map(str, one.offer.owners)),
                rate_text(one.offer.price.standard, one.offer.price.currency),
                day(one.offer.open_until),
            ]
            for one in found
        ]
        write_table(["offer", "title", "tables", "by party", "price", "open until"], rows)
    _complain(silent)


@licence.command()
@click.argument("name")
@click.option("--licensee", help="Who pays: a person or an institution (default: you are asked).")
@click.option("--tax-id", default="", help="Of the licensee; recorded for invoices.")
@click.option("--reduced", is_flag=True, help="At the reduced rate, if the owner has found you entitled to it.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def accept(context: click.Context, name: str, *, licensee: str | None, tax_id: str, reduced: bool, yes: bool) -> None:
    """Accept an offer: sign it, send it to its owners, keep the licence.

    Again, it sends the same licence to owners who were away.  An offer is accepted once for a term: while a licence
    under it is in force there is no second one.
    """
    with connect(context, signs=True) as client:
        profile = need(client.profile)
        waiting = _under(profile, client, name)
        if waiting is None:
            signed = _named(_offers(client)[0], name)
            if not yes:
                print_lines(offer_lines(signed.offer))
                click.confirm("\nAccept this offer, and owe what it says?", abort=True)
            agreement = Agreement.make(
                signed,
                profile.signing_key,
                licensee=licensee or click.prompt("Licensee (who pays)"),
                now_ms=_now(),
                entropy=os.urandom,
                rate_class="reduced" if reduced else "standard",
                tax_id=tax_id,
            )
            waiting = Deed(agreement)
        deed, errors = _send(client, profile, waiting)
    if not deed.countersignatures:
        raise PeerFault(None, "; ".join(errors))
    path = _keep(profile, deed)
    click.echo(f"licence {offer_name(deed.agreement.digest)} until {day(deed.until)}: {path}")
    if not deed.complete:
        _complain(errors)
        click.echo(
            "not every owner holds it yet, so it is not in force and nothing is owed; run the same command again "
            "within a day",
            err=True,
        )
        context.exit(5)


def _send(client: Client, profile: Profile, deed: Deed) -> tuple[Deed, list[str]]:
    """Give an agreement to all its owners; what they countersigned, and what those said who did not."""
    agreement = deed.agreement
    answer = client.call(f"{_METHOD}Accept", {"agreement": agreement.to_bytes()})
    signatures = dict(deed.countersignatures)
    errors = []
    for reply in maps(answer, "parties"):
        party, signature = reply.get("party"), reply.get("signature")
        if isinstance(party, int) and isinstance(signature, bytes) and not reply.get("error"):
            signatures[PartyId(party)] = signature
        else:
            errors.append(_said(reply))
            if isinstance(party, int):
                signatures.pop(PartyId(party), None)
    made = Deed(agreement, tuple(sorted(signatures.items())))
    made.verify(_keys(profile))
    return made, errors


@licence.command()
@click.argument("name")
@click.option("--reason", default="", help="Told to the owners.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def end(context: click.Context, name: str, *, reason: str, yes: bool) -> None:
    """End a licence of yours before its term; monthly fees end with the day."""
    with connect(context, signs=True) as client:
        profile = need(client.profile)
        path, deed = _kept(profile, name)
        if not yes:
            print_lines(deed_lines(deed))
            click.confirm("\nEnd this licence now?", abort=True)
        digest = deed.agreement.digest
        key = profile.signing_key
        later = key.public.raw != deed.agreement.analyst
        ended = deed.revocation or Revocation.make(digest, None, key, now_ms=_now(), reason=reason, replaces=later)
        answer = client.call(f"{_METHOD}End", {"revocation": ended.to_bytes()})
        owners = set(deed.agreement.offer.owners)
        replies = [reply for reply in maps(answer, "parties") if reply.get("party") in owners]
    errors = [_said(one) for one in replies if one.get("error")]
    if len(errors) == len(replies):
        raise PeerFault(None, "; ".join(errors))
    path.write_bytes(Deed(deed.agreement, deed.countersignatures, ended).to_bytes())
    click.echo(f"ended: {offer_name(digest)}")
    _complain(errors)


# ------------------------------------------------------------------------------------------------ both


@licence.command(name="list")
@click.option("--all", "ended", is_flag=True, help="Ended ones too.")
@json_option
@click.pass_context
def list_licences(context: click.Context, *, ended: bool, as_json: bool) -> None:
    """Show your licences as the owners have them; as an owner, those that you have given."""
    with connect(context, admin=True) as client:
        answer = _mine(client) if client.profile is not None else client.call(f"{_METHOD}List", {"ended": ended})
        profile = client.profile
    if as_json:
        write_json(answer if profile is None else {"licences": [one.to_map() for one in _gathered(answer)], **answer})
    elif profile is None:
        rows = [
            [
                show(item.get("digest")),
                show(item.get("name") or item.get("fingerprint")),
                show(item.get("licensee")),
                show(item.get("title")),
                show(item.get("tables")),
                show(item.get("rate_class")),
                _until(item),
                show(item.get("queries")),
            ]
            for item in maps(answer, "licences")
        ]
        write_table(["licence", "analyst", "licensee", "title", "tables", "rate", "until", "queries"], rows)
    else:
        _print_mine(answer, ended=ended)


@dataclass(frozen=True, slots=True)
class _Mine:
    """One licence of the analyst as all owners together have it."""

    deed: Deed
    parties: frozenset[int]
    """Owners that say they hold it."""
    whole: bool
    """Whether each of them knows that all do."""
    queries: int

    @property
    def until(self) -> str:
        """In words: its end, or that it is not in force."""
        ended = self.deed.revocation
        if ended is not None:
            return f"ended {day(self.deed.until)} by {'you' if ended.party is None else f'party {ended.party}'}"
        return day(self.deed.until) if self.whole else f"{day(self.deed.until)}; not in force, not held by all"

    def to_map(self) -> Map:
        """For JSON."""
        agreement = self.deed.agreement
        return {
            "name": offer_name(agreement.digest),
            "digest": agreement.digest,
            "offer": agreement.offer.digest,
            "title": agreement.offer.title,
            "tables": list(agreement.offer.tables),
            "held_by": [int(party) for party in sorted(self.parties)],
            "complete": self.whole,
            "rate_class": agreement.acceptance.rate_class,
            "licensee": agreement.acceptance.licensee,
            "begins_at": agreement.begins_at,
            "ends_at": agreement.ends_at,
            "revoked_at": None if self.deed.revocation is None else self.deed.revocation.at,
            "in_force": self.whole and self.deed.until > _now(),
            "queries": self.queries,
        }


def _gathered(answer: Map) -> list[_Mine]:
    found: dict[bytes, _Mine] = {}
    for reply in maps(answer, "parties"):
        for item in maps(reply, "licences"):
            deed = Deed.from_bytes(blob(item, "deed"))
            queries, party = item.get("queries"), reply.get("party")
            assert isinstance(queries, int)
            assert isinstance(party, int)
            digest = deed.agreement.digest
            known = found.get(digest, _Mine(deed, frozenset(), whole=True, queries=0))
            # A revocation counts from the first owner who has it.
            first = deed if known.deed.revocation is None else known.deed
            whole = known.whole and deed.complete
            found[digest] = _Mine(first, known.parties | {party}, whole, max(queries, known.queries))
    return list(found.values())


def _print_mine(answer: Map, *, ended: bool) -> None:
    rows = [
        [
            offer_name(one.deed.agreement.digest),
            printable(one.deed.agreement.offer.title),
            ", ".join(one.deed.agreement.offer.tables),
            ", ".join(map(str, sorted(one.parties))),
            one.deed.agreement.acceptance.rate_class,
            one.until,
            str(one.queries),
        ]
        for one in _gathered(answer)
        if ended or one.deed.until > _now()
    ]
    write_table(["licence", "title", "tables", "held by party", "rate", "until", "queries"], rows)
    _complain(_silent(answer))


def _until(item: Map) -> str:
    revoked, ends = item.get("revoked_at"), item.get("ends_at")
    if isinstance(revoked, int):
        return f"ended {day(revoked)} by {show(item.get('revoked_by'))}"
    waits = "" if item.get("in_force") is True or not isinstance(ends, int) or ends <= _now() else "; not in force"
    return day(ends if isinstance(ends, int) else None) + waits


@licence.command(name="show")
@click.argument("name")
@click.option("--odrl", is_flag=True, help="In the W3C's Open Digital Rights Language (JSON-LD).")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the file that proves it.")
@click.pass_context
def show_licence(context: click.Context, name: str, *, odrl: bool, out: Path | None) -> None:
    """Show all that a licence says; NAME is the beginning of its digest, or one of your files."""
    if Path(name).is_file():
        deed = _read(Path(name))
    else:
        with connect(context, admin=True) as client:
            if client.profile is not None:
                deed = _kept(client.profile, name)[1]
            else:
                deed = Deed.from_bytes(blob(client.call(f"{_METHOD}Show", {"name": name}), "deed"))
    if out is not None:
        out.write_bytes(deed.to_bytes())
        click.echo(f"written: {out}")
    elif odrl:
        from mpcd.governance.odrl import agreement_document  # noqa: PLC0415  # this command alone

        write_json(agreement_document(deed.agreement))
    else:
        print_lines([*deed_lines(deed), ("", ""), *offer_lines(deed.agreement.offer)])


@licence.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--roster", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="For the parties' keys.")
@click.option("--legal", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="The text that was signed.")
@json_option
@click.pass_context
def verify(context: click.Context, file: Path, roster: Path | None, legal: Path | None, *, as_json: bool) -> None:
    """Check every signature of a licence file, offline, against your profile's keys or those of a roster."""
    deed = _read(file)
    if roster is not None:
        keys = _roster_keys(roster)
    else:
        from mpcd.api import profile as profiles  # noqa: PLC0415  # where no roster is named

        named, _ = context.find_root().obj
        keys = _keys(Profile.load(profiles.find(named, profiles.current_environment())))
    deed.verify(keys)
    offer = deed.agreement.offer
    if legal is not None and hashlib.sha256(legal.read_bytes()).digest() != offer.legal_digest:
        raise LicenceInvalid(f"{legal} is not the text that this licence binds ({offer.legal_title})")
    missing = sorted(set(offer.owners) - {party for party, _ in deed.countersignatures})
    if as_json:
        said: Map = {"name": offer_name(deed.agreement.digest), "licence": deed.agreement.digest}
        said |= {"complete": deed.complete, "not_held_by": [int(party) for party in missing], "until": deed.until}
        write_json({**said, "legal_text_checked": legal is not None})
        return
    owners = ", ".join(map(str, offer.owners))
    click.echo(f"good: licence {offer_name(deed.agreement.digest)}, offered and signed by party {owners}")
    if legal is not None:
        click.echo(f"good: {printable(str(legal))} is the text that it binds ({printable(offer.legal_title)})")
    print_lines(deed_lines(deed))
    if missing:
        click.echo(
            f"not in force: this file does not show that party {', '.join(map(str, missing))} holds it, and a licence "
            "is in force once all its owners do"
        )
    elif deed.revocation is None:
        click.echo("this file cannot show whether it was ended since it was written (see `mpcctl licence list`)")


# ------------------------------------------------------------------------------------------------ the owner


@licence.command()
@click.argument("name")
@click.option("--reason", required=True, help="Told to the analyst and put on the record.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def revoke(context: click.Context, name: str, *, reason: str, yes: bool) -> None:
    """End a licence at once, as its owner, with whatever runs on it and is not recorded yet."""
    with connect(context, admin=True) as client:
        deed = Deed.from_bytes(blob(client.call(f"{_METHOD}Show", {"name": name}), "deed"))
        if not yes:
            print_lines(deed_lines(deed))
            click.confirm("\nRevoke this licence now?", abort=True)
        answer = client.call(f"{_METHOD}Revoke", {"name": deed.agreement.digest.hex(), "reason": reason})
    ended = Deed.from_bytes(blob(answer, "deed"))
    name = offer_name(ended.agreement.digest)
    if answer.get("before") is True and ended.revocation is not None:
        who = "its analyst" if ended.revocation.party is None else f"party {ended.revocation.party}"
        click.echo(f"nothing to do: {name} was ended by {who} on {day(ended.until)}")
    else:
        click.echo(f"revoked: {name}, {day(ended.until)}")
    for reply in maps(answer, "told"):
        if reply.get("error"):
            click.echo(f"party {show(reply.get('party'))} was not told: {show(reply.get('message'))}", err=True)


@licence.command()
@json_option
@click.pass_context
def obligations(context: click.Context, *, as_json: bool) -> None:
    """List what licensees owe besides money: publication, evidence, results; the earliest first."""
    with connect(context, admin=True) as client:
        answer = client.call(f"{_METHOD}Duties")
    if as_json:
        write_json(answer)
        return
    rows = []
    for item in maps(answer, "duties"):
        due = item.get("due_at")
        due_day = day(due if isinstance(due, int) else None)
        rows.append(
            [
                due_day,
                show(item.get("state")),
                show(item.get("code")),
                show(item.get("licence")),
                show(item.get("name")),
                show(item.get("licensee")),
                show(item.get("contact")),
            ]
        )
    write_table(["due", "state", "duty", "licence", "analyst", "licensee", "contact"], rows)


@licence.command()
@click.argument("name")
@click.argument("code")
@click.option(
    "--evidence",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What was shown; its SHA-256 is recorded.",
)
@click.pass_context
def fulfil(context: click.Context, name: str, code: str, evidence: Path | None) -> None:
    """Note that a duty of a licence is fulfilled."""
    params: Map = {"name": name, "code": code}
    if evidence is not None:
        params["evidence"] = hashlib.sha256(evidence.read_bytes()).digest()
    with connect(context, admin=True) as client:
        client.call(f"{_METHOD}Meet", params)
    click.echo(f"noted: {code} of {name}")


# ------------------------------------------------------------------------------------------------ helpers


def _now() -> int:
    return int(time.time() * 1000)


def _inquiry(profile: Profile, kind: str) -> bytes:
    key = profile.signing_key
    return Inquiry(kind, "", key.public, profile.consortium, _now()).signed(key)


def _offers(client: Client) -> tuple[list[SignedOffer], list[str]]:
    """The offers that verify, each once, and what parties said who sent none."""
    profile = need(client.profile)
    answer = client.call(f"{_METHOD}Offers", {"inquiry": _inquiry(profile, "offers")})
    keys = _keys(profile)
    found: dict[bytes, SignedOffer] = {}
    sent_by: dict[bytes, set[object]] = {}
    problems = _silent(answer)
    answered = {reply.get("party") for reply in maps(answer, "parties") if not reply.get("error")}
    for reply in maps(answer, "parties"):
        sent = reply.get("offers")
        for data in sent if isinstance(sent, list) else ():
            assert isinstance(data, bytes)
            signed = SignedOffer.from_bytes(data)
            problem = signature_problem(signed, keys)
            if problem is None:
                found[signed.offer.digest] = signed
                sent_by.setdefault(signed.offer.digest, set()).add(reply.get("party"))
            else:
                problems.append(f"party {show(reply.get('party'))} sent an offer that does not verify: {problem}")
    # A pool's offer is open as long as none of its owners has withdrawn it.
    standing = [one for digest, one in found.items() if answered & set[object](one.offer.owners) <= sent_by[digest]]
    return sorted(standing, key=lambda one: (one.offer.open_until, one.offer.digest)), problems


def _offer_map(signed: SignedOffer) -> Map:
    made = signed.offer
    return {
        "name": offer_name(made.digest),
        "digest": made.digest,
        "title": made.title,
        "tables": list(made.tables),
        "owners": [int(owner) for owner in made.owners],
        "open_until": made.open_until,
        "offer": signed.to_bytes(),
    }


def _mine(client: Client) -> Map:
    return client.call(f"{_METHOD}Mine", {"inquiry": _inquiry(need(client.profile), "licences")})


def _silent(answer: Map) -> list[str]:
    return [_said(one) for one in maps(answer, "parties") if one.get("error")]


def _said(reply: Map) -> str:
    """What a party said who did not do as it was asked, with its number once."""
    label, message = f"party {show(reply.get('party'))}: ", show(reply.get("message"))
    return label + message.replace(label, "")


def _complain(lines: list[str]) -> None:
    for line in lines:
        click.echo(printable(line), err=True)


def _named(found: list[SignedOffer], name: str) -> SignedOffer:
    fitting = [one for one in found if one.offer.digest.hex().startswith(name.lower())]
    if len(fitting) != 1:
        raise NotFound(f"{'No offer begins' if not fitting else 'Several offers begin'} with `{name}`.")
    return fitting[0]


def _keys(profile: Profile) -> Mapping[PartyId, VerifyKey]:
    return {party.id: party.signing_key for party in profile.parties.values()}


def _roster_keys(path: Path) -> Mapping[PartyId, VerifyKey]:
    from mpcd.roster.parse import parse  # noqa: PLC0415  # where no profile is at hand

    try:
        roster = parse(path.read_text(), str(path))
        return {party.id: VerifyKey.from_text(party.signing_key) for party in roster.parties}
    except (OSError, IdentityError) as error:
        raise ConfigurationInvalid(f"not a roster: {error}", path=str(path)) from error


def _keep(profile: Profile, deed: Deed) -> Path:
    directory = profile.directory / _DIRECTORY
    try:
        directory.mkdir(exist_ok=True)
        path = directory / f"{offer_name(deed.agreement.digest)}{_SUFFIX}"
        path.write_bytes(deed.to_bytes())
    except OSError as error:
        raise ConfigurationInvalid(f"the licence cannot be kept: {error.strerror}", path=str(directory)) from error
    return path


def _files(profile: Profile) -> list[tuple[Path, Deed]]:
    return [(path, _read(path)) for path in sorted((profile.directory / _DIRECTORY).glob(f"*{_SUFFIX}"))]


def _kept(profile: Profile, name: str) -> tuple[Path, Deed]:
    fitting = [one for one in _files(profile) if one[1].agreement.digest.hex().startswith(name.lower())]
    if len(fitting) != 1:
        raise NotFound(f"{'No licence' if not fitting else 'More than one licence'} of yours begins with `{name}`.")
    return fitting[0]


def _under(profile: Profile, client: Client, name: str) -> Deed | None:
    """The licence under the offer `name` that is to be given to its owners again; none if it is to be signed.

    Raises:
        LicenceInvalid: all its owners hold one that is in force.
    """
    now = _now()

    def fits(deed: Deed) -> bool:
        offer = deed.agreement.offer.digest.hex()
        return offer.startswith(name.lower()) and deed.revocation is None and deed.agreement.ends_at > now

    mine = [one.deed for one in _gathered(_mine(client))]
    ended = {deed.agreement.digest for deed in mine if deed.revocation is not None}
    kept = [deed for _, deed in _files(profile) if fits(deed) and deed.agreement.digest not in ended]
    whole = next((deed for deed in kept if deed.complete), None)
    if whole is not None:
        raise LicenceInvalid(
            f"you hold licence {offer_name(whole.agreement.digest)} under this offer, in force until "
            f"{day(whole.until)}; it can be accepted again after its end"
        )
    # What an owner holds and this profile does not was accepted elsewhere with the same key.
    fresh = [deed for deed in (*kept, *filter(fits, mine)) if deed.agreement.begins_at > now - _AGAIN_MS]
    return next(iter(fresh), None)


def _read(path: Path) -> Deed:
    try:
        return Deed.from_bytes(path.read_bytes())
    except OSError as error:
        raise ConfigurationInvalid(f"cannot be read: {error.strerror}", path=str(path)) from error
