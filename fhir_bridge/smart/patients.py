"""Finding the patient of a standalone launch: by id, identifier or name, among this node's own records.

Keeps true: a few answers to one value at most; nothing is listed that was not asked for. Trusts the caller to ask only
for people who may choose patients.
Source: SMART App Launch 2.2 §3.0.3 (standalone apps); FHIR R4 §3.1.1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from orjson import JSONDecodeError, loads

from fhir_bridge.search.service import SearchService
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


class Patients:
    """Finds patients in a node's records."""

    __slots__ = ("_search", "_service")

    def __init__(self, service: RecordService, search: SearchService) -> None:
        """Use a node's records, and the search in them."""
        self._service = service
        self._search = search

    def find(self, text: str) -> list[FoundPatient]:
        """Find patients by what a person typed: an id, an identifier, ``system|identifier``, or a name."""
        text = text.strip()
        if not 0 < len(text) <= _MAX_CHARS:
            return []
        ids = [text] if _ID.fullmatch(text) else []
        ids += self._found("identifier", text) or self._found("name", text)
        found = [self.get(one) for one in dict.fromkeys(ids[: MAX_FOUND + 1])]
        return [one for one in found if one is not None][:MAX_FOUND]

    def get(self, patient_id: str) -> FoundPatient | None:
        """Return a patient by id; None where there is none."""
        resource = self._read("Patient", patient_id)
        if resource is None:
            return None
        birth_date = resource.get("birthDate")
        return FoundPatient(patient_id, _name(resource), birth_date if isinstance(birth_date, str) else "")

    def has_encounter(self, encounter_id: str, patient_id: str) -> bool:
        """Tell whether an encounter is one of a patient."""
        resource = self._read("Encounter", encounter_id)
        subject = resource.get("subject") if resource is not None else None
        reference = subject.get("reference") if isinstance(subject, dict) else None
        match = _PATIENT.fullmatch(reference) if isinstance(reference, str) else None
        return match is not None and match[1] == patient_id

    def _found(self, parameter: str, text: str) -> list[str]:
        """Search patients by one parameter; what is no value of it finds nobody."""
        value = text.replace("\\", "\\\\").replace(",", "\\,").replace("$", "\\$")
        try:
            return self._search.ids("Patient", urlencode({parameter: value}), MAX_FOUND)
        except InputError:
            return []

    def _read(self, type_name: str, record_id: str) -> Mapping[str, Any] | None:
        """Read a resource, if there is one."""
        if _ID.fullmatch(record_id) is None:
            return None
        try:
            resource = loads(self._service.read(type_name, record_id).content)
        except (MedchainError, JSONDecodeError):
            return None
        return resource if isinstance(resource, dict) else None


def _name(resource: Mapping[str, Any]) -> str:
    """Word a name: as text, or family name and given names, without a blank where both are Chinese."""
    names = resource.get("name")
    rows = [one for one in names if isinstance(one, dict)] if isinstance(names, list) else []
    if not rows:
        return ""
    text, family, given = (rows[0].get(name) for name in ("text", "family", "given"))
    if isinstance(text, str):
        return text
    parts = [one for one in given if isinstance(one, str)] if isinstance(given, list) else []
    if isinstance(family, str) and not family.isascii():
        return family + "".join(parts)
    return " ".join([*parts, family if isinstance(family, str) else ""]).strip()
