"""How the patient's pages call a record, and when that was.

Keeps true: a record is called by its own words, or by what kind of record it is; never by the name of a FHIR type or
an id. Trusts `consent.web.ports` for the words.
Source: `docs/spec/patient-pages.md` 24.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from consent.web.kinds import kind_of
from consent.web.ports import PatientRecord
from consent.web.site import Patient, PatientSite
from medchain.web.pages import language

VISIT: Final = "Encounter"
"""Type of what is called a visit."""


def title_of(site: PatientSite, record: PatientRecord) -> str:
    """Name a record.

    Args:
        site: of the pages.
        record: which.
    """
    return record.title or nameless(site, record.type)


def nameless(site: PatientSite, type_name: str) -> str:
    """Name a record that has no words of its own, or is not here to give them.

    Args:
        site: of the pages.
        type_name: its FHIR type.
    """
    return site.pages.say("record.visit" if type_name == VISIT else f"kind.{kind_of(type_name)}")


def names_of(site: PatientSite, me: Patient, references: Collection[str]) -> dict[str, str]:
    """Name records by their references, those that are here no more by their kind.

    Args:
        site: of the pages.
        me: whose records they are.
        references: ``Type/id`` each.
    """
    shown = site.records_of(me).some(me.id, references, language()) if references else {}
    return {
        one: title_of(site, shown[one]) if one in shown else nameless(site, one.partition("/")[0]) for one in references
    }


def when_of(site: PatientSite, record: PatientRecord) -> str:
    """Say when what a record tells of was; of a person, when that one was born.

    Args:
        site: of the pages.
        record: which.

    Returns:
        The date as the reader writes it; empty where the record has none.
    """
    day = site.pages.dated(record.when)
    return site.pages.say("record.born", day=day) if record.is_birth else day
