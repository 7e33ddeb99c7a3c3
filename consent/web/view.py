"""What the daemon tells of a patient's consents, as what pages show. Pure.

Keeps true: nothing is called in force that the ledger, or a stop that was heard, has ended; a chain of accesses that
lacks an entry is shown as one; what is not final yet says so. Trusts the daemon of this node for what it looked up.
Source: `docs/spec/patient-pages.md`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from consent.hiding import Hidden, hidden_in
from consent.vocabulary import PURPOSES
from consent.web.kinds import KINDS, OTHER, SENSITIVE, kinds_of
from consent.web.ports import Look
from medchain.encoding import Json, as_objects, parse_canonical
from medchain.errors import InputError
from medchain.ledger.kinds.content import ANY_TYPE, DAY_S
from medchain.ledger.one_claim import OneClaim, one_claim_in
from medchain.node.ending import Ending
from medchain.node.grant_search import NO_GRANT
from medchain.store.accesses import Access

REFUSED: Final = "refused"
"""Direction of what is noted of a refused request of another organisation (`medchain.node.custodian`)."""

EMERGENCY: Final = "emergency"
"""Direction of what is noted of an emergency (`medchain.node.emergency`)."""

_INSURER: Final = "insurer"
_MAX_DETAIL: Final = 1 << 20
_OF_OTHERS: Final = frozenset({Ending.ATTESTED.value, Ending.ORGANISATION.value, Ending.SUPERSEDED.value})


@dataclass(frozen=True, slots=True)
class Release:
    """Records went to another organisation.

    Attributes:
        time: Unix seconds.
        count: how many records.
        purpose: purpose-of-use code.
        position: entry of the ledger that says so.
        is_final: whether that entry is final.
        in_part: whether some fields of the records were told for a claim, and none left whole.
    """

    time: int
    count: int
    purpose: str
    position: int
    is_final: bool
    in_part: bool = False


@dataclass(frozen=True, slots=True)
class Law:
    """A legal basis other than consent.

    Attributes:
        kind: ``court``, ``public-health`` or ``statute``.
        authority: who ordered it, or whose law it is.
        reference: file number, or article.
        scope: what it covers, in words.
    """

    kind: str
    authority: str
    reference: str
    scope: str


@dataclass(frozen=True, slots=True)
class Grant:
    """What lets the recipient of a consent in at one custodian.

    Attributes:
        key: map key, hexadecimal.
        custodian: org_id.
    """

    key: str
    custodian: str


@dataclass(frozen=True, slots=True)
class Given:
    """A consent, or a mandate of the law.

    Attributes:
        key: map key, hexadecimal.
        recipient: org_id.
        custodians: org_ids.
        purpose: purpose-of-use code.
        kinds: kinds of records.
        sensitive: sensitive kinds that it permits as well.
        is_whole: whether it covers every type.
        start: Unix seconds.
        until: Unix seconds; None where it has no end.
        signed_at: Unix seconds.
        signed: ``passkey``, ``attested`` or ``unknown``.
        is_in_force: whether it is.
        is_final: whether what is said of it is final.
        ended: how it ended: ``patient``, ``attested``, ``organisation``, ``expired``, ``superseded``; empty
            while it is in force.
        ended_by: org_id of who ended it, where somebody did.
        position: entry of the ledger.
        version: of the object.
        content_root: of what was signed, hexadecimal.
        releases: under it, the newest first.
        missing: entries of the chain of accesses that this organisation does not hold.
        is_broken: whether a chain of accesses does not hold, for another reason.
        types: FHIR types, or ``*`` alone.
        signer: map key of the subject that signed it, hexadecimal.
        patient: map key of the subject whose records it is about, hexadecimal.
        withdrawn_by: map key of the subject that signed its end, hexadecimal; empty where none did.
        law: what it rests on where it is no consent; None for a consent.
        hides: what it hides; None for what permits something.
        claim: for which one claim it is; None for what permits records whole.
        grants: under it, those that this node knows.
    """

    key: str
    recipient: str
    custodians: tuple[str, ...]
    purpose: str
    kinds: tuple[str, ...]
    sensitive: tuple[str, ...]
    is_whole: bool
    start: int
    until: int | None
    signed_at: int
    signed: str
    is_in_force: bool
    is_final: bool
    ended: str
    ended_by: str
    position: int
    version: int
    content_root: str
    releases: tuple[Release, ...]
    missing: int
    is_broken: bool
    types: tuple[str, ...] = ()
    signer: str = ""
    patient: str = ""
    withdrawn_by: str = ""
    law: Law | None = None
    hides: Hidden | None = None
    claim: OneClaim | None = None
    grants: tuple[Grant, ...] = ()

    def grants_of(self, org_id: str) -> list[str]:
        """List the grants by which a custodian lets the recipient in: map keys, hexadecimal."""
        return [one.key for one in self.grants if one.custodian == org_id]

    @property
    def last_used(self) -> int | None:
        """When records last went out under it, Unix seconds; None for never."""
        return self.releases[0].time if self.releases else None


@dataclass(frozen=True, slots=True)
class Event:
    """Somebody looked, or tried to.

    Attributes:
        time: Unix seconds.
        organisation: org_id of who looked.
        who: name of the person; empty where only the organisation is known.
        role: of that person; empty likewise.
        purpose: purpose-of-use code; empty where none was said.
        count: how many records; None where that is not told.
        kinds: of records, where that is told; of what was refused, which were asked for.
        is_refused: whether nothing was given.
        position: entry of the ledger that says so; None where none does yet.
        consent: map key of the consent under which it was, hexadecimal; empty without one.
        times: how often, where several looks of one day are told as one.
        emergency: id of the emergency object, hexadecimal; empty for any other look.
        reason: that was given for an emergency; empty for any other look.
        is_entered: whether it is in the patient's list of looks, under a root that is final.
        name: by which a complaint names it (`docs/spec/concern.md` 2), of several the newest; empty for an emergency.
        is_question: whether it was asked for an invoice, to know whether it is claimed; nothing else was shown.
        in_part: whether some fields of the records were told for a claim, and none left whole.
        is_unpermitted: whether it was refused since no permission is about the patient: nobody has said no.
    """

    time: int
    organisation: str
    who: str
    role: str
    purpose: str
    count: int | None
    kinds: tuple[str, ...]
    is_refused: bool
    position: int | None
    consent: str
    times: int = 1
    emergency: str = ""
    reason: str = ""
    is_entered: bool = False
    name: str = ""
    is_question: bool = False
    in_part: bool = False
    is_unpermitted: bool = False

    @property
    def is_system(self) -> bool:
        """Whether no person is known to have looked: a system of this organisation did."""
        return bool(self.who) and not self.role


def given_of(answer: Mapping[str, Json]) -> list[Given]:
    """Read what ``patient.consents`` answered of permissions, the newest first; what cannot be read is left out."""
    return [one for one in _read(answer) if one.hides is None]


def hidings_of(answer: Mapping[str, Json], org_id: str) -> list[Given]:
    """Read what is hidden at an organisation, likewise, as long as it counts there (`docs/spec/consent.md` C13)."""
    hidings = (one for one in _read(answer) if one.hides is not None and one.recipient == org_id)
    return [one for one in hidings if one.is_in_force or (one.ended in _OF_OTHERS and one.ended_by != org_id)]


def find_given(answer: Mapping[str, Json], key: str) -> Given | None:
    """Find one consent; None for one that is not the patient's."""
    return next((one for one in given_of(answer) if one.key == key), None)


def events_of(
    given: Sequence[Given],
    noted: Iterable[Access],
    looks: Iterable[Look],
    org_id: str,
    entered: Collection[str] = frozenset(),
) -> list[Event]:
    """List who has looked, the newest first: releases, requests that were refused, and this organisation's own staff.

    Args:
        given: the patient's consents.
        noted: what the records file notes of releases and refusals.
        looks: of this organisation's staff and systems, and insurers' questions for invoices.
        org_id: this organisation.
        entered: ids of events and refusals in the patient's list of looks (`docs/spec/looks.md`).
    """
    events = [
        Event(
            time=row.time,
            organisation=one.recipient,
            who="",
            role="",
            purpose=row.purpose,
            count=row.count,
            kinds=one.kinds,
            is_refused=False,
            position=row.position,
            consent=one.key,
            name=f"entry/{row.position}",
            in_part=row.in_part,
        )
        for one in given
        for row in one.releases
    ]
    events += [event for access in noted if (event := _noted(access, entered)) is not None]
    events += _by_day(looks, org_id, entered)
    return sorted(events, key=lambda event: -event.time)


def people_in(events: Iterable[Event], since: int) -> int:
    """Count who looked since a time; who was refused or asked for an invoice saw nothing, and systems are no people."""
    return len(
        {
            (one.organisation, one.who)
            for one in events
            if one.time >= since and not one.is_refused and not one.is_system and not one.is_question
        }
    )


def by_insurer(answer: Mapping[str, Json], given: Iterable[Given], events: Sequence[Event]) -> dict[str, list[Event]]:
    """Group what went to insurers, and what they were refused, by who it was.

    Those that were permitted something and got nothing are named as well.

    Args:
        answer: of ``patient.consents``.
        given: the patient's consents.
        events: from `events_of`.
    """
    known = answer.get("organisations")
    insurers = [
        org_id
        for org_id, row in (known.items() if isinstance(known, dict) else ())
        if isinstance(row, dict) and row.get("role") == _INSURER
    ]
    asked = {one.recipient for one in given} | {one.organisation for one in events}
    return {org_id: [one for one in events if one.organisation == org_id] for org_id in insurers if org_id in asked}


def by_organisation(given: Iterable[Given]) -> dict[str, list[Given]]:
    """Group consents in force by who may see."""
    found: dict[str, list[Given]] = {}
    for one in given:
        if one.is_in_force:
            found.setdefault(one.recipient, []).append(one)
    return found


def by_kind(given: Iterable[Given]) -> dict[str, list[Given]]:
    """Group consents in force by what may be seen; kinds that nobody may see are left out."""
    living = [one for one in given if one.is_in_force]
    found = {kind: [one for one in living if kind in one.kinds] for kind in (*KINDS, OTHER)}
    return {kind: rows for kind, rows in found.items() if rows}


def _read(answer: Mapping[str, Json]) -> list[Given]:
    """Read all consents and mandates that an answer tells of."""
    found = []
    for row in as_objects(answer.get("consents")):
        content = row.get("content")
        if isinstance(content, dict) and isinstance(content.get("recipient"), str):
            found.append(_given(row, content))
    return found


def _by_day(looks: Iterable[Look], org_id: str, entered: Collection[str]) -> list[Event]:
    """Tell the looks of one person or system on one day, for one purpose, as one, at the time of the last.

    So are an insurer's questions for invoices. It is entered where all of them are.
    """
    found: dict[tuple[str, str, str, str, bool, int], Event] = {}
    for look in looks:
        time, who = _seconds(look.time), "" if look.asker else look.who or look.client
        key = (look.asker, who, look.role, look.purpose, look.is_refused, time // DAY_S)
        before, kinds = found.get(key), () if look.asker else kinds_of(look.types)
        found[key] = Event(
            time=time if before is None else max(before.time, time),
            organisation=look.asker or org_id,
            who=who,
            role=look.role,
            purpose=look.purpose,
            count=None,
            kinds=tuple(kinds) if before is None else tuple(dict.fromkeys((*before.kinds, *kinds))),
            is_refused=look.is_refused,
            position=None,
            consent="",
            times=1 if before is None else before.times + 1,
            is_entered=look.event in entered and (before is None or before.is_entered),
            name=_newest_name(look, before),
            is_question=bool(look.asker),
        )
    return list(found.values())


def _newest_name(look: Look, before: Event | None) -> str:
    """Name the newest look of a day."""
    is_newest = before is None or (before.time < _seconds(look.time))
    return f"AuditEvent/{look.event}" if is_newest and look.event else "" if before is None else before.name


def _given(row: Mapping[str, Json], content: Mapping[str, Json]) -> Given:
    """Read one consent."""
    period, ending = content.get("period"), row.get("ending")
    types = _texts(content.get("resource_types"))
    how = str(ending.get("how")) if isinstance(ending, dict) else ""
    is_in_force = row.get("in_force") is True
    releases = [_release(one) for grant in as_objects(row.get("grants")) for one in as_objects(grant.get("accesses"))]
    gaps = (grant.get("missing") for grant in as_objects(row.get("grants")))
    missing = sum(len(one) for one in gaps if isinstance(one, list))
    return Given(
        key=str(row.get("key")),
        recipient=str(content.get("recipient")),
        custodians=_texts(content.get("custodians")) or _texts([content.get("custodian")]),
        purpose=str(content.get("purpose", "")),
        kinds=_kinds(types),
        sensitive=sensitive_of(content.get("fhir")),
        is_whole=types == (ANY_TYPE,),
        start=_number(period.get("start")) if isinstance(period, dict) else 0,
        until=_number_or_none(period.get("end")) if isinstance(period, dict) else None,
        signed_at=_number(content.get("signed_at"))
        or (_number(period.get("start")) if isinstance(period, dict) else 0),
        signed=str(row.get("signed", "unknown")),
        is_in_force=is_in_force,
        is_final=row.get("final") is True,
        ended="" if is_in_force else "expired" if how in ("", "not_ended") else how,
        ended_by=str(ending.get("by", "")) if isinstance(ending, dict) else "",
        position=_number(row.get("since")),
        version=_number(row.get("version")),
        content_root=str(row.get("content_root", "")),
        releases=tuple(sorted(releases, key=lambda one: -one.time)),
        missing=missing,
        is_broken=missing == 0 and any(grant.get("broken") is not None for grant in as_objects(row.get("grants"))),
        types=types,
        signer=str(content.get("subject", "")),
        patient=str(content.get("acting_for") or content.get("subject", "")),
        withdrawn_by=str(row.get("withdrawn_by") or ""),
        law=_law(content.get("basis")),
        hides=hidden_in(content),
        claim=one_claim_in(content),
        grants=tuple(Grant(str(one.get("key")), str(one.get("custodian"))) for one in as_objects(row.get("grants"))),
    )


def _kinds(types: tuple[str, ...]) -> tuple[str, ...]:
    """List the kinds of some FHIR types, or of ``*`` alone."""
    return (*KINDS, OTHER) if types == (ANY_TYPE,) else tuple(kinds_of(types))


def _law(basis: Json) -> Law | None:
    """Read on which law a mandate rests."""
    if not isinstance(basis, dict):
        return None
    return Law(*(str(basis.get(name, "")) for name in ("kind", "authority", "reference", "scope")))


def _release(row: Mapping[str, Json]) -> Release:
    """Read one release."""
    return Release(
        time=_number(row.get("time")),
        count=_number(row.get("count")),
        purpose=str(row.get("purpose", "")),
        position=_number(row.get("position")),
        is_final=row.get("final") is True,
        in_part=row.get("in_part") is True,
    )


def sensitive_of(fhir: Json) -> tuple[str, ...]:
    """Tell which sensitive kinds a FHIR Consent of ours does not deny; of any other one, all may be permitted."""
    provision = fhir.get("provision") if isinstance(fhir, dict) else None
    below = as_objects(provision.get("provision")) if isinstance(provision, dict) else []
    denied = {
        label.get("code")
        for one in below
        if one.get("type") == "deny"
        for label in as_objects(one.get("securityLabel"))
    }
    return tuple(kind for kind, codes in SENSITIVE.items() if not denied.issuperset(codes))


def _noted(access: Access, entered: Collection[str]) -> Event | None:
    """Read what is noted of a refused request or an emergency; None for anything else, and what cannot be read."""
    if access.direction not in (EMERGENCY, REFUSED):
        return None
    try:
        detail = parse_canonical(access.detail, max_bytes=_MAX_DETAIL)
    except InputError:
        return None
    told: Mapping[str, Json] = detail if isinstance(detail, dict) else {}
    if access.direction == EMERGENCY:
        return Event(
            time=access.time,
            organisation=str(told.get("recipient", "")),
            who=str(told.get("staff", "")),
            role=EMERGENCY,
            purpose="",
            count=_number_or_none(told.get("count")),
            kinds=(),
            is_refused=False,
            position=access.position,
            consent="",
            emergency=access.object_id.hex(),
            reason=str(told.get("reason", "")),
        )
    requester, purpose = told.get("requester"), str(told.get("purpose", ""))
    if not isinstance(requester, str):
        return None
    return Event(
        time=access.time,
        organisation=requester,
        who="",
        role="",
        # Whoever asks writes it: no words but those that are known here are shown.
        purpose=purpose if purpose in PURPOSES else "",
        count=None,
        kinds=_kinds(_texts(told.get("types"))),
        is_refused=True,
        position=access.position,
        consent="",
        is_entered=access.object_id.hex() in entered,
        name=f"refusal/{access.object_id.hex()}",
        is_unpermitted=told.get("reason") == NO_GRANT,
    )


def _seconds(instant: str) -> int:
    """Read an instant as FHIR writes it; the beginning of time for what is none."""
    try:
        return int(datetime.fromisoformat(instant).timestamp())
    except ValueError:
        return 0


def _texts(value: Json) -> tuple[str, ...]:
    """List the texts of a list."""
    return tuple(str(one) for one in value) if isinstance(value, list) else ()


def _number(value: Json) -> int:
    """Read a number; 0 for what is none."""
    return value if isinstance(value, int) else 0


def _number_or_none(value: Json) -> int | None:
    """Read a number that may be absent."""
    return value if isinstance(value, int) else None
