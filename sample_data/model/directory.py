"""The consortium: its five organisations, and each hospital's staff, places, devices and systems.

These bundles are posted first; everything else finds them by identifier. Names of the five organisations are public.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sample_data.model import fhir, people
from sample_data.model.stream import Stream
from sample_data.vocabulary import names, terms

INVOICING_PARTY: Final = "https://medchain.example/fhir/id/invoicing-party"
"""Identifier system of the code under which a hospital issues electronic invoices."""

DEPARTMENT_SYSTEM: Final = "https://medchain.example/fhir/CodeSystem/department"


@dataclass(frozen=True, slots=True)
class Member:
    """An organisation of the consortium.

    Attributes:
        slug: its id everywhere.
        zh: Chinese name.
        en: English name.
        kind: code of HL7 organization-type.
        prefix: two letters that begin its own numbers.
        invoicing_party: code as issuer of electronic invoices; empty if it issues none.
        departments: keys of its departments; empty if it is no hospital.
    """

    slug: str
    zh: str
    en: str
    kind: str
    prefix: str
    invoicing_party: str = ""
    departments: tuple[str, ...] = ()


RENHE: Final = Member(
    "renhe-hospital", "仁和医院", "Renhe Hospital", "prov", "RH", "99010001", tuple(terms.DEPARTMENTS)
)  # fmt: skip
BINHAI: Final = Member(
    "binhai-hospital", "滨海第二医院", "Binhai Second Hospital", "prov", "BH", "99010002",
    ("cardio", "endo", "resp", "surgery", "ortho", "psychiatry", "infection", "emergency", "general", "laboratory",
     "imaging"),
)  # fmt: skip
ANXIN: Final = Member("anxin-insurance", "安心健康保险", "Anxin Health Insurance", "ins", "AX")
TAIHE: Final = Member("taihe-insurance", "泰和保险", "Taihe Insurance", "ins", "TH")
COMMISSION: Final = Member("health-commission", "市卫生健康委员会", "Municipal Health Commission", "govt", "HC")

MEMBERS: Final = (RENHE, BINHAI, ANXIN, TAIHE, COMMISSION)
"""All five, hospitals first."""

PUBLIC_NAMES: Final = tuple(text for member in MEMBERS for text in (member.slug, member.zh, member.en))
"""What the ledger itself says about the members, in clear."""

PLACES: Final = {
    "AMB": ("OPD", "门诊楼", "Outpatient building"),
    "IMP": ("IPD", "住院楼", "Inpatient building"),
    "EMER": ("ED", "急诊中心", "Emergency centre"),
    "laboratory": ("LAB", "检验中心", "Laboratory"),
    "imaging": ("RAD", "影像中心", "Imaging centre"),
}
"""Places of a hospital: number, Chinese and English name; keyed by class of visit or service."""

DEVICES: Final = {
    "his": ("SYS-HIS", "医院信息系统（HIS）", "Hospital information system"),
    "lis": ("SYS-LIS", "检验信息系统（LIS）", "Laboratory information system"),
    "pacs": ("SYS-PACS", "影像归档和通信系统（PACS）", "Picture archiving and communication system"),
    "analyser": ("DEV-CHEM", "全自动生化分析仪", "Clinical chemistry analyser"),
    "haematology": ("DEV-HEMA", "全自动血液细胞分析仪", "Haematology analyser"),
    "ct": ("DEV-CT", "64排螺旋CT", "64-slice CT scanner"),
    "mr": ("DEV-MR", "3.0T磁共振成像系统", "3 T magnetic resonance scanner"),
}
"""Devices and systems: number, Chinese and English name."""

_TITLES: Final = ("主任医师", "副主任医师", "主治医师")


@dataclass(frozen=True, slots=True)
class Doctor:
    """A member of a hospital's staff.

    Attributes:
        number: staff number.
        name: the name.
        sex: ``male`` or ``female``.
        department: key of the department.
        title: professional title.
    """

    number: str
    name: people.Name
    sex: str
    department: str
    title: str


@dataclass(frozen=True, slots=True)
class Hospital:
    """A hospital with its staff.

    Attributes:
        member: the organisation.
        doctors: one a department, by key of the department.
    """

    member: Member
    doctors: dict[str, Doctor]

    def system(self, what: str) -> str:
        """Return the identifier system of the hospital's own numbers of some kind, such as ``encounter``."""
        return f"https://{self.member.slug}.example/fhir/id/{what}"

    def organization(self) -> fhir.Element:
        """Return a Reference to the hospital."""
        return fhir.conditional("Organization", fhir.ORGANIZATION_ID, self.member.slug, self.member.zh)

    def doctor(self, department: str) -> fhir.Element:
        """Return a Reference to the doctor of a department."""
        doctor = self.doctors[department]
        return fhir.conditional("Practitioner", self.system("staff"), doctor.number, doctor.name.full)

    def place(self, kind: str) -> fhir.Element:
        """Return a Reference to a place; ``kind`` is a key of `PLACES`."""
        number, zh, _ = PLACES[kind]
        return fhir.conditional("Location", self.system("location"), number, zh)

    def device(self, kind: str) -> fhir.Element:
        """Return a Reference to a device; ``kind`` is a key of `DEVICES`."""
        number, zh, _ = DEVICES[kind]
        return fhir.conditional("Device", self.system("device"), number, zh)


def insurer(slug: str) -> fhir.Element:
    """Return a Reference to an insurer."""
    zh = next(member.zh for member in MEMBERS if member.slug == slug)
    return fhir.conditional("Organization", fhir.ORGANIZATION_ID, slug, zh)


def staff(member: Member, stream: Stream, taken: set[str]) -> Hospital:
    """Draw a hospital's doctors, one for each of its departments.

    Args:
        member: the hospital.
        stream: the choices.
        taken: whole names in use.

    Returns:
        The hospital.
    """
    doctors = {}
    for number, department in enumerate(member.departments, 1):
        sex = stream.choice(("male", "female"))
        name = people.draw_name(stream, sex, taken)
        title = stream.choice(_TITLES)
        doctors[department] = Doctor(f"{member.prefix}-D{number:03}", name, sex, department, title)
    return Hospital(member, doctors)


def organizations(stream: Stream) -> fhir.Bundle:
    """Return the Bundle that an insurer's system is given first: the five organisations, each a conditional create."""
    out = fhir.Bundle(stream)
    for member in MEMBERS:
        _organization(out, member)
    return out


def bundle(hospital: Hospital, stream: Stream) -> fhir.Bundle:
    """Return the Bundle that a hospital's system is given first.

    Args:
        hospital: the hospital with its staff.
        stream: gives the UUIDs.

    Returns:
        Organisations, locations, devices and systems, practitioners and their roles, each a conditional create.
    """
    out = fhir.Bundle(stream)
    references = {member.slug: _organization(out, member) for member in MEMBERS}
    own = references[hospital.member.slug]
    places = {kind: _location(out, hospital, own, kind) for kind in PLACES}
    for kind in DEVICES:
        _device(out, hospital, own, places["imaging" if kind in {"ct", "mr", "pacs"} else "laboratory"], kind)
    for doctor in hospital.doctors.values():
        _practitioner(out, hospital, own, doctor)
    return out


def _search(system: str, value: str) -> str:
    return f"identifier={system}|{value}"


def _organization(out: fhir.Bundle, member: Member) -> fhir.Element:
    identifiers = [fhir.identifier(fhir.ORGANIZATION_ID, member.slug)]
    if member.invoicing_party:
        identifiers.append(fhir.identifier(INVOICING_PARTY, member.invoicing_party))
    content: fhir.Element = {
        "identifier": identifiers,
        "active": True,
        "type": [fhir.coded("organization-type", member.kind)],
        "name": member.zh,
        "_name": fhir.translated(member.en),
        "alias": [member.en],
        "address": [{"use": "work", "city": names.CITY, "state": names.PROVINCE, "country": "CN"}],
    }
    return out.add("Organization", content, if_none_exist=_search(fhir.ORGANIZATION_ID, member.slug))


def _location(out: fhir.Bundle, hospital: Hospital, own: fhir.Element, kind: str) -> fhir.Element:
    number, zh, en = PLACES[kind]
    system = hospital.system("location")
    content: fhir.Element = {
        "identifier": [fhir.identifier(system, number)],
        "status": "active",
        "name": zh,
        "_name": fhir.translated(en),
        "alias": [en],
        "mode": "instance",
        "managingOrganization": own,
    }
    return out.add("Location", content, if_none_exist=_search(system, number))


def _device(out: fhir.Bundle, hospital: Hospital, own: fhir.Element, place: fhir.Element, kind: str) -> None:
    number, zh, en = DEVICES[kind]
    system = hospital.system("device")
    content: fhir.Element = {
        "identifier": [fhir.identifier(system, number)],
        "status": "active",
        "deviceName": [{"name": zh, "type": "user-friendly-name"}, {"name": en, "type": "other"}],
        "owner": own,
        "location": place,
    }
    out.add("Device", content, if_none_exist=_search(system, number))


def _practitioner(out: fhir.Bundle, hospital: Hospital, own: fhir.Element, doctor: Doctor) -> None:
    system = hospital.system("staff")
    content: fhir.Element = {
        "identifier": [fhir.identifier(system, doctor.number)],
        "active": True,
        "name": doctor.name.elements(),
        "gender": doctor.sex,
        "qualification": [{"code": {"text": doctor.title}}],
    }
    reference = out.add("Practitioner", content, if_none_exist=_search(system, doctor.number))
    term = terms.DEPARTMENTS[doctor.department]
    role: fhir.Element = {
        "identifier": [fhir.identifier(hospital.system("role"), f"{doctor.number}-R")],
        "active": True,
        "practitioner": reference,
        "organization": own,
        "specialty": [fhir.concept(DEPARTMENT_SYSTEM, term.code, term.zh, term.en)],
    }
    out.add("PractitionerRole", role, if_none_exist=_search(hospital.system("role"), f"{doctor.number}-R"))
