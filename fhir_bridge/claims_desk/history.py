"""What happened with a claim, in the order of time: asks, the patient's answer, verdicts, deeds and disputes.

Keeps true: a permission is what this node's own ledger has; that a patient has said no is told to nobody, and is not
among it. Pure but for words. Trusts the daemon for the case.
Source: `docs/spec/claim-case.md` 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from fhir_bridge.claims_desk.cases import amount_text
from fhir_bridge.claims_desk.ground import Standing
from medchain.encoding import Json, as_number, as_object, as_objects
from medchain.ledger.claim_request import Action
from medchain.web.pages import Pages


class Event(NamedTuple):
    """Something that happened.

    Attributes:
        at: when, Unix seconds.
        said: in the reader's language.
        colour: of a verdict; empty for anything else.
        dispute: one that was opened, as the page words it; None for anything else.
    """

    at: int
    said: str
    colour: str = ""
    dispute: Mapping[str, object] | None = None


def history(
    pages: Pages, standing: Standing, case: Mapping[str, Json], disputes: Sequence[tuple[int, Mapping[str, object]]]
) -> list[Event]:
    """List what happened, the oldest first.

    Args:
        pages: of the node.
        standing: who looks.
        case: as the daemon tells it.
        disputes: about the claim: when each was opened, and how the page words it.
    """
    found = [*_of_patient(pages, standing, case), *_verdicts(pages, case), *_deeds(pages, case)]
    found += [Event(at, "", dispute=one) for at, one in disputes]
    return sorted(found, key=lambda one: one.at)


def part_of(pages: Pages, case: Mapping[str, Json]) -> str:
    """Say how much is reserved or paid, and of how much where that is not all; empty where nothing is."""
    deeds = as_objects(case.get("deeds"))
    if case.get("status") not in ("reserved", "settled") or not deeds:
        return ""
    done, claimed = _amount(deeds[-1]), as_object(case.get("amount"))
    if not claimed or done == claimed:
        return amount_text(done)
    return pages.say("claims.case.part", part=amount_text(done), whole=amount_text(claimed))


def _of_patient(pages: Pages, standing: Standing, case: Mapping[str, Json]) -> Iterator[Event]:
    """Tell when the patient was asked, and what became of it."""
    for ask in as_objects(case.get("asks")):
        time, hospital = as_number(ask.get("time")), standing.name(str(ask.get("hospital")))
        said = {"count": as_number(ask.get("cited")), "hospital": hospital, "time": pages.moment(time)}
        yield Event(time, pages.say("claims.case.asked", **said))
    for given in as_objects(case.get("permissions")):
        time, ended = as_number(given.get("time")), given.get("ended")
        hospital, position = standing.name(str(given.get("custodian"))), as_number(given.get("position"))
        moment = pages.moment(time)
        yield Event(time, pages.say("claims.case.permitted", hospital=hospital, position=position, time=moment))
        if isinstance(ended, int):
            yield Event(ended, pages.say("claims.case.ended", hospital=hospital, time=pages.moment(ended)))


def _verdicts(pages: Pages, case: Mapping[str, Json]) -> Iterator[Event]:
    """Tell when it was judged."""
    for one in as_objects(case.get("verdicts")):
        time = as_number(one.get("time"))
        said = pages.say("claims.case.judged", position=as_number(one.get("position")), time=pages.moment(time))
        yield Event(time, said, str(one.get("colour")))


def _deeds(pages: Pages, case: Mapping[str, Json]) -> Iterator[Event]:
    """Tell what the ledger has of it."""
    for deed in as_objects(case.get("deeds")):
        time, action = as_number(deed.get("time")), str(deed.get("action"))
        # Of a part that is given up nothing is left: a sum would say nothing.
        key = "claims.case.given_up" if action == Action.RELEASE else "claims.case.deed"
        said = {"action": pages.say(f"claims.deed.{action}"), "amount": amount_text(_amount(deed))}
        position = as_number(deed.get("position"))
        yield Event(time, pages.say(key, position=position, time=pages.moment(time), **said))


def _amount(deed: Mapping[str, Json]) -> dict[str, Json]:
    """Take the amount of a deed."""
    return {"currency": deed.get("currency"), "minor": deed.get("amount")}
