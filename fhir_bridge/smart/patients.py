"""Finding the patient of a standalone launch: by id, identifier or name, among this node's own records.

Keeps true: a few answers to one value at most; nothing is listed that was not asked for; whom consents keep from who
looks is not found; what is found is on the audit's journal before it is shown. Trusts the caller to ask only for people
who may choose patients.
Source: SMART App Launch 2.2 §3.0.3 (standalone apps); FHIR R4 §3.1.1; `docs/spec/consent.md`, C1 to C8.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from orjson import JSONDecodeError, loads

from fhir_bridge.enforcement import Sight
from fhir_bridge.search.service import SearchService
from fhir_bridge.smart.access import Access
from medchain.errors import InputError, MedchainError
from medchain.node.records import RecordService

MAX_FOUND: Final = 5
"""Most patients that one value stands for; more are too many to choose from."""

_ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_MAX_CHARS: Final = 256
_PATIENT: Final = re.compile(r"Patient/([A-Za-z0-9\-.]{1,64})")


@dataclass(frozen=True, slots=True)
class FoundPatient:
    """A patient.

    Attributes:
        id: of the resource.
        name: as shown.
        birth_date: as recorded; empty for none.
    """

    id: str
    name: str
    birth_date: str


class Seen(NamedTuple):
    """What a person saw of patients.

    Attributes:
        access: who, in which application's name.
        query: what was searched for.
        numbers: of the record versions that were shown.
    """

    access: Access
    query: str
    numbers: tuple[int, ...]


class Patients:
    """Finds patients in a node's records."""

    __slots__ = ("_search", "_seen", "_service", "_sight")

    def __init__(
        self,
        service: RecordService,
        search: SearchService,
        seen: Callable[[Seen], None],
        sight: Callable[[Access], Sight | None] = lambda _who: None,
    ) -> None:
        """Use a node's records, and the search in them.

        Args:
            service: opens records.
            search: finds them.
            seen: keeps what is about to be shown; raises `UnavailableError` where it cannot, and nothing is shown.
            sight: tells what consents keep back; without it nothing is, as for who is about to break the glass.
        """
        self._service = service
        self._search = search
        self._seen = seen
        self._sight = sight

    def find(self, text: str, who: Access) -> list[FoundPatient]:
        """Find patients by what a person typed: an id, an identifier, ``system|identifier``, or a name."""
        text, sight = text.strip(), self._sight(who)
        if not 0 < len(text) <= _MAX_CHARS:
            return []
        ids = [text] if _ID.fullmatch(text) else []
        ids += self._matching("identifier", text, sight) or self._matching("name", text, sight)
        read = [self._read("Patient", one, sight) for one in dict.fromkeys(ids[: MAX_FOUND + 1])]
        found = [one for one in read if one is not None][:MAX_FOUND]
        self._seen(Seen(who, urlencode({"search": text}), tuple(number for _, number in found)))
        return [_found(resource) for resource, _ in found]

    def get(self, patient_id: str, who: Access) -> FoundPatient | None:
        """Return a patient by id; None where there is none."""
        read = self._read("Patient", patient_id, self._sight(who))
        if read is None:
            return None
        self._seen(Seen(who, urlencode({"_id": patient_id}), (read[1],)))
        return _found(read[0])

    def has_encounter(self, encounter_id: str, patient_id: str, who: Access) -> bool:
        """Tell whether an encounter is one of a patient."""
        read = self._read("Encounter", encounter_id, self._sight(who))
        subject = read[0].get("subject") if read is not None else None
        reference = subject.get("reference") if isinstance(subject, dict) else None
        match = _PATIENT.fullmatch(reference) if isinstance(reference, str) else None
        return match is not None and match[1] == patient_id

    def _matching(self, parameter: str, text: str, sight: Sight | None) -> list[str]:
        """Search patients by one parameter; what is no value of it finds nobody."""
        within = () if sight is None else (sight.condition,)
        value = text.replace("\\", "\\\\").replace(",", "\\,").replace("$", "\\$")
        try:
            return self._search.ids("Patient", urlencode({parameter: value}), MAX_FOUND, within=within)
        except InputError:
            return []

    def _read(self, type_name: str, record_id: str, sight: Sight | None) -> tuple[Mapping[str, Any], int] | None:
        """Read a resource and the number of its version, if there is one that is not kept back."""
        if _ID.fullmatch(record_id) is None:
            return None
        try:
            opened = self._service.read(type_name, record_id)
            resource = loads(opened.content)
        except (MedchainError, JSONDecodeError):
            return None
        is_hidden = sight is not None and sight.hides(opened.stored)
        return (resource, opened.stored.seq) if isinstance(resource, dict) and not is_hidden else None


def _found(resource: Mapping[str, Any]) -> FoundPatient:
    """Say what is shown of a patient."""
    birth_date = resource.get("birthDate")
    return FoundPatient(str(resource["id"]), _name(resource), birth_date if isinstance(birth_date, str) else "")


def _name(resource: Mapping[str, Any]) -> str:
    """Word the first name of a patient."""
    names = resource.get("name")
    rows = [one for one in names if isinstance(one, dict)] if isinstance(names, list) else []
    return name_text(rows[0]) if rows else ""


def name_text(name: Mapping[str, Any]) -> str:
    """Word a HumanName: as text, or family name and given names, without a blank where both are Chinese."""
    text, family, given = (name.get(part) for part in ("text", "family", "given"))
    if isinstance(text, str):
        return text
    parts = [one for one in given if isinstance(one, str)] if isinstance(given, list) else []
    if isinstance(family, str) and not family.isascii():
        return family + "".join(parts)
    return " ".join([*parts, family if isinstance(family, str) else ""]).strip()
