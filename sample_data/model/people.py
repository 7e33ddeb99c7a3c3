"""The people: names, birth dates, numbers and addresses that fit together and belong to nobody.

Keeps true: an identity number has an area code that is not assigned *and* a wrong check character; a telephone number
has an area code that is not assigned and a subscriber number that begins with 0, which none does. Neither can be a
real person's.
Source: GB 11643-1999 (identity number and its check character).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from sample_data.model import fhir
from sample_data.model.stream import Stream
from sample_data.vocabulary import names

NATIONAL_ID: Final = "urn:oid:2.16.156.10011.1.3"
"""Identifier system of the resident identity number in Chinese health documents (WS/T 500)."""

_UNASSIGNED_AREA: Final = "990101"
_WEIGHTS: Final = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECK_CHARACTERS: Final = "10X98765432"
_ADULT: Final = 18
_REPRESENTATION: Final = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation"


@dataclass(frozen=True, slots=True)
class Name:
    """A Chinese name.

    Attributes:
        family: surname in characters.
        given: given name in characters.
        pinyin: whole name in pinyin, surname first.
    """

    family: str
    given: str
    pinyin: str

    @property
    def full(self) -> str:
        """The whole name in characters."""
        return self.family + self.given

    def elements(self) -> list[fhir.Element]:
        """Return the two HumanNames, ideographic and alphabetic (ISO 21090 name representation)."""
        return [
            {
                "extension": [{"url": _REPRESENTATION, "valueCode": "IDE"}],
                "use": "official",
                "text": self.full,
                "family": self.family,
                "given": [self.given],
            },
            {"extension": [{"url": _REPRESENTATION, "valueCode": "ABC"}], "use": "usual", "text": self.pinyin},
        ]


@dataclass(frozen=True, slots=True)
class Person:
    """A patient, the same at every hospital.

    Attributes:
        index: number of the patient, from 1.
        name: the name.
        sex: ``male`` or ``female``.
        birth: birth date.
        national_id: 18 characters, never valid.
        phone: own number, or a parent's.
        address: street, number, building and room.
        district: district of the town.
        contact: next of kin.
        relation: HL7 v3-RoleCode and Chinese word for what the contact is.
        contact_phone: the contact's number.
        weight: usual weight in units of 100 g.
    """

    index: int
    name: Name
    sex: str
    birth: date
    national_id: str
    phone: str
    address: str
    district: str
    contact: Name
    relation: tuple[str, str]
    contact_phone: str
    weight: int


def check_character(first17: str) -> str:
    """Return the check character that GB 11643-1999 (ISO 7064 MOD 11-2) demands after 17 digits."""
    return _CHECK_CHARACTERS[sum(int(digit) * weight for digit, weight in zip(first17, _WEIGHTS, strict=True)) % 11]


def draw_name(stream: Stream, sex: str, taken: set[str], family: tuple[str, str] | None = None) -> Name:
    """Draw a name that nobody has yet and remember it.

    Args:
        stream: the choices.
        sex: ``male`` or ``female``.
        taken: whole names in use; the new one is added.
        family: surname and pinyin if they are given (a parent and a child).

    Returns:
        The name.
    """
    pool = names.MALE if sex == "male" else names.FEMALE
    while True:
        surname, surname_pinyin = family or stream.choice(names.SURNAMES)
        given, given_pinyin = stream.choice(pool)
        name = Name(surname, given, f"{surname_pinyin} {given_pinyin}")
        # A second person of the same name is only let in when the whole table is used up (thousands of patients).
        if name.full not in taken or len(taken) > len(pool) * len(names.SURNAMES) // 2 or family:
            taken.add(name.full)
            return name


def draw_person(stream: Stream, index: int, sex: str, age: tuple[int, int], when: date, taken: set[str]) -> Person:
    """Draw a patient.

    Args:
        stream: the choices.
        index: number of the patient.
        sex: ``male``, ``female`` or empty for either.
        age: bounds of the age in years.
        when: day at which that age holds.
        taken: whole names in use.

    Returns:
        The person.
    """
    sex = sex or stream.choice(("male", "female"))
    years = stream.between(*age)
    birth = date(when.year - years, when.month, min(when.day, 28)) - timedelta(days=stream.between(20, 340))
    name = draw_name(stream, sex, taken)
    return Person(
        index=index,
        name=name,
        sex=sex,
        birth=birth,
        national_id=_national_id(stream, birth, sex),
        phone=_phone(stream),
        address=_address(stream),
        district=stream.choice(names.DISTRICTS),
        contact=_contact_name(stream, name, sex, years, taken),
        relation=_relation(sex, years),
        contact_phone=_phone(stream),
        weight=_weight(stream, sex, years),
    )


def patient(person: Person, hospital: str, chart_number: str) -> fhir.Element:
    """Return the Patient resource of a person at a hospital.

    Args:
        person: the person.
        hospital: slug of the hospital.
        chart_number: the hospital's own number for the patient.

    Returns:
        Elements of a FHIR R4 Patient, without type and id.
    """
    where = f"{names.PROVINCE}{names.CITY}{person.district}{person.address}"
    gender = "男" if person.sex == "male" else "女"
    code, word = person.relation
    return {
        "text": fhir.narrative(f"{person.name.full}，{gender}，{person.birth.isoformat()}出生", f"住址：{where}"),
        "identifier": [
            fhir.identifier(mrn_system(hospital), chart_number, "MR"),
            fhir.identifier(NATIONAL_ID, person.national_id, "NI"),
        ],
        "active": True,
        "name": person.name.elements(),
        "telecom": [{"system": "phone", "value": person.phone, "use": "mobile"}],
        "gender": person.sex,
        "birthDate": person.birth.isoformat(),
        "address": [
            {
                "use": "home",
                "text": where,
                "line": [person.address],
                "city": names.CITY,
                "district": person.district,
                "state": names.PROVINCE,
                "country": "CN",
            }
        ],
        "contact": [
            {
                "relationship": [fhir.concept(fhir.HL7 + "v3-RoleCode", code, word)],
                "name": {"text": person.contact.full, "family": person.contact.family, "given": [person.contact.given]},
                "telecom": [{"system": "phone", "value": person.contact_phone, "use": "mobile"}],
            }
        ],
        "communication": [
            {"language": {"coding": [{"system": "urn:ietf:bcp:47", "code": "zh-CN"}]}, "preferred": True},
        ],
        "managingOrganization": fhir.conditional("Organization", fhir.ORGANIZATION_ID, hospital),
    }


def mrn_system(hospital: str) -> str:
    """Return the identifier system of a hospital's patient numbers."""
    return f"https://{hospital}.example/fhir/id/mrn"


def weight_now(person: Person, stream: Stream) -> Decimal:
    """Draw today's weight in kilograms, near the person's usual one, with one decimal place."""
    return Decimal(person.weight + stream.between(-14, 14)).scaleb(-1)


def _national_id(stream: Stream, birth: date, sex: str) -> str:
    order = 2 * stream.between(50, 498) + (sex == "male")
    first17 = f"{_UNASSIGNED_AREA}{birth:%Y%m%d}{order:03}"
    right = _CHECK_CHARACTERS.index(check_character(first17))
    return first17 + _CHECK_CHARACTERS[(right + stream.between(1, 9)) % 11]


def _phone(stream: Stream) -> str:
    return f"+86-600-0{stream.between(100, 999)}-{stream.between(0, 9999):04}"


def _address(stream: Stream) -> str:
    street, community = stream.choice(names.STREETS), stream.choice(names.COMMUNITIES)
    building, unit, floor = stream.between(1, 38), stream.between(1, 4), stream.between(1, 18)
    return f"{street}{stream.between(3, 480)}号{community}{building}幢{unit}单元{floor}0{stream.between(1, 4)}室"


def _contact_name(stream: Stream, name: Name, sex: str, years: int, taken: set[str]) -> Name:
    if years < _ADULT:
        family = next(entry for entry in names.SURNAMES if entry[0] == name.family)
        return draw_name(stream, "male", taken, family)
    return draw_name(stream, "female" if sex == "male" else "male", taken)


def _relation(sex: str, years: int) -> tuple[str, str]:
    if years < _ADULT:
        return "FTH", "患者父亲"
    return ("HUSB", "患者丈夫") if sex == "female" else ("WIFE", "患者妻子")


def _weight(stream: Stream, sex: str, years: int) -> int:
    if years < _ADULT:
        return 10 * (2 * years + 8) + stream.between(-10, 25)
    return stream.between(560, 840) if sex == "male" else stream.between(470, 700)
