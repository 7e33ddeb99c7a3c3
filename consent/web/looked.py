"""Who has looked at a patient's records: releases, refusals, and this organisation's own people and systems.

Trusts `consent.web.site` for who the patient is, and the ports for what is told.
Source: `docs/spec/patient-pages.md` 8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from consent.web.ports import Look
from consent.web.site import REFERENCE, Patient, PatientSite
from consent.web.view import Event, Given, events_of
from medchain.errors import NotFoundError
from medchain.ledger.kinds.content import DAY_S
from medchain.web.pages import language

LOOKS_S: Final = 365 * DAY_S
"""How far back the looks of this organisation's staff are shown."""


def looked_at(site: PatientSite, me: Patient, given: Sequence[Given]) -> tuple[list[Event], bool]:
    """List who has looked, the newest first, and tell whether the staff's looks are all there.

    Args:
        site: what the pages are made from.
        me: the patient.
        given: the patient's consents.
    """
    since = site.pages.site.clock() - LOOKS_S
    try:
        looks, is_whole = site.records_of(me).looks(me.id, since, language()), True
    except NotFoundError:
        looks, is_whole = (), False
    noted = site.links.accesses(me.token)
    named = [_named(site, one) for one in looks]
    events = events_of(given, noted, named, site.org_id, site.records_of(me).entered(me.id))
    return [_of_staff(site, me, one) for one in events], is_whole


def _of_staff(site: PatientSite, me: Patient, event: Event) -> Event:
    """Name who broke the glass here; of another hospital's staff nobody here knows more than it says."""
    if not event.emergency or event.organisation != site.org_id:
        return event
    return replace(event, who=site.records_of(me).staff(me.id, event.who, language()))


def _named(site: PatientSite, look: Look) -> Look:
    """Name a patient who looked in this one's stead."""
    if not look.who.startswith(REFERENCE):
        return look
    name = site.display_of(look.who.removeprefix(REFERENCE))
    return replace(look, who=name or site.pages.say("family.unnamed"), role="delegate")
