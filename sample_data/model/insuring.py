"""What the insurers hold: their customers, the policies, and the claims with the invoice's copy as it was handed in.

Keeps true: a claim says to the letter what the hospital's copy of it says, and cites the hospital's records under the
address of `record_url`, which whoever posts the bundle replaces by where the hospital's node keeps them. An insurer
knows of its own customers only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from sample_data.model import billing, directory, fhir, people
from sample_data.model.chart import Chart
from sample_data.model.stream import Stream

INSURERS: Final = (directory.ANXIN, directory.TAIHE)
"""Who holds claims."""

_INVOICE: Final = "invoice"
_COPIED: Final = ("identifier", "status", "type", "date", "issuer", "lineItem", "totalNet", "totalGross")
_REPLACED: Final = frozenset({"resourceType", "id", "patient", "provider", "insurance", "supportingInfo"})
_URN: Final = "urn:uuid:"


Places: TypeAlias = "dict[tuple[int, str], str]"
"""Number of a person and slug of a hospital → address of the person's Patient there."""


@dataclass(slots=True)
class _File:
    """A customer's papers at an insurer: who it is, addresses as a patient, and the claims with each one's chart."""

    person: people.Person
    places: dict[str, None] = field(default_factory=dict)
    claims: list[tuple[Chart, fhir.Element]] = field(default_factory=list)


def record_url(hospital: str, resource_type: str, uid: str) -> str:
    """Return the address under which a claim cites a hospital's record, by its id in the hospital's bundle."""
    return f"https://{hospital}.example/fhir/{resource_type}/{uid}"


def bundles(charts: Sequence[Chart], root: Stream) -> Iterator[tuple[str, fhir.Bundle]]:
    """Make the bundles of the insurers.

    Args:
        charts: all of the hospitals, without those of the stories.
        root: stream of the seed.

    Yields:
        Name below the folder of bundles, and Bundle: of each insurer the directory, then its customers by number.
    """
    for member in INSURERS:
        yield f"{member.slug}.0-directory.json.gz", directory.organizations(root.child("directory", member.slug))
        for index, file in sorted(_files(member, charts, {}).items()):
            stream = root.child("insurer", member.slug, index)
            yield f"{member.slug}.p{index:03}.json.gz", _bundle(member, file, fhir.Bundle(stream))


def later(known: Sequence[Chart], chart: Chart, root: Stream) -> Iterator[tuple[str, fhir.Bundle]]:
    """Make the bundles of insurers who are told of a story's visit, which comes after all the others.

    Args:
        known: charts of the hospitals without those of the stories.
        chart: of the story.
        root: stream of the seed.

    Yields:
        Slug of an insurer that got a claim, and its Bundle, which updates or makes customer and policy.
    """
    for member in INSURERS:
        places: Places = {}
        before = _files(member, known, places).get(chart.person.index)
        for index, file in _files(member, [chart], places).items():
            if before:
                file.places = before.places | file.places
            stream = root.child("insurer", member.slug, index, "later")
            yield member.slug, _bundle(member, file, fhir.Bundle(stream), is_later=True)


def _files(member: directory.Member, charts: Sequence[Chart], places: Places) -> dict[int, _File]:
    """Sort the claims on an insurer by customer, each customer's by the time of filing; adds to the places."""
    system = billing.claim_system(member.slug)
    files: dict[int, _File] = {}
    for chart in charts:
        home = (chart.person.index, chart.hospital.member.slug)
        if str(chart.patient["reference"]).startswith(_URN):
            places[home] = _url(chart, chart.patient)
        for entry in chart.bundle.entries:
            resource = entry["resource"]
            if isinstance(resource, dict) and resource["resourceType"] == "Claim" and _number(resource)[0] == system:
                file = files.setdefault(chart.person.index, _File(chart.person))
                file.claims.append((chart, resource))
                file.places[places[home]] = None
    for file in files.values():
        file.claims.sort(key=lambda claim: str(claim[1]["created"]))
    return files


def _bundle(member: directory.Member, file: _File, out: fhir.Bundle, *, is_later: bool = False) -> fhir.Bundle:
    """Write a customer's papers; later ones update what is there already, and make it where it is not."""

    def put(resource_type: str, content: fhir.Element) -> fhir.Element:
        if not is_later:
            return out.add(resource_type, content)
        system, value = _number(content)
        return out.replace(resource_type, f"identifier={system}|{value}", content)

    customer = put("Patient", _customer(member, file))
    coverages: dict[str, fhir.Element] = {}
    for chart, claim in file.claims:
        policy = next(policy for policy in chart.bought if policy.insurer == member.slug)
        if policy.number not in coverages:
            coverages[policy.number] = put("Coverage", chart.cover(policy, customer))
        out.add("Claim", _claim(chart, claim, customer, coverages[policy.number]))
    return out


def _customer(member: directory.Member, file: _File) -> fhir.Element:
    person = file.person
    system = f"https://{member.slug}.example/fhir/id/customer"
    return {
        "identifier": [
            fhir.identifier(system, f"{member.prefix}C{300000 + 41 * person.index}"),
            fhir.identifier(people.NATIONAL_ID, person.national_id, "NI"),
        ],
        "active": True,
        "name": person.name.elements(),
        "telecom": [{"system": "phone", "value": person.phone, "use": "mobile"}],
        "gender": person.sex,
        "birthDate": person.birth.isoformat(),
        # The claim form names the patient as the hospital does: whoever asks the hospital needs that.
        "link": [{"other": {"reference": place}, "type": "seealso"} for place in file.places],
    }


def _claim(chart: Chart, claim: fhir.Element, customer: fhir.Element, coverage: fhir.Element) -> fhir.Element:
    """Write a claim as the insurer holds it."""
    member = chart.hospital.member
    kept = {name: _cited(chart, value) for name, value in claim.items() if name not in _REPLACED}
    info = claim["supportingInfo"]
    cited = [_cited(chart, one) for one in info] if isinstance(info, list) else []
    copy: fhir.Element = {
        "sequence": len(cited) + 1,
        "category": fhir.coded("claiminformationcategory", "attachment"),
        "valueReference": {"reference": f"#{_INVOICE}"},
    }
    return {
        "contained": [_copy(chart, claim)],
        **kept,
        "patient": customer,
        "provider": {
            **chart.hospital.organization(),
            "identifier": fhir.identifier(fhir.ORGANIZATION_ID, member.slug),
        },
        "supportingInfo": [*cited, copy],
        "insurance": [{"sequence": 1, "focal": True, "coverage": coverage}],
    }


def _copy(chart: Chart, claim: fhir.Element) -> fhir.Element:
    """Copy the invoice that a claim cites, as it is printed."""
    match claim["supportingInfo"]:
        case [{"valueReference": dict(reference)}, *_]:
            invoice = chart.bundle.find(reference)
        case _:
            raise LookupError("supportingInfo")
    return {"resourceType": "Invoice", "id": _INVOICE, **{name: invoice[name] for name in _COPIED}}


def _cited(chart: Chart, value: fhir.Value) -> fhir.Value:
    """Name what a hospital's bundle refers to by where the hospital keeps it; the rest stays."""
    if isinstance(value, dict):
        reference = value.get("reference")
        if isinstance(reference, str) and reference.startswith(_URN):
            return {"reference": _url(chart, value)}
        return {name: _cited(chart, one) for name, one in value.items()}
    return [_cited(chart, one) for one in value] if isinstance(value, list) else value


def _url(chart: Chart, reference: fhir.Element) -> str:
    found = chart.bundle.find(reference)
    return record_url(chart.hospital.member.slug, str(found["resourceType"]), str(found["id"]))


def _number(content: fhir.Element) -> tuple[str, str]:
    match content["identifier"]:
        case [{"system": str(system), "value": str(value)}, *_]:
            return system, value
        case _:
            raise LookupError("identifier")
