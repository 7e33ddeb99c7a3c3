"""Searches of contained resources over HTTP (FHIR R4 §3.1.1.5.5, search.html#contained)."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from fhir_bridge.rest import contained
from fhir_bridge.smart.access import Access
from fhir_bridge.smart.scopes import parse_scopes

BASE = "http://127.0.0.1:41000/fhir"
SYSTEM = "http://example.org/medications"
BY = "ingredient-code=http://example.org/medications|abc"


def medication(name: str, *codes: str, **more: object) -> dict:
    """The specification's own example: a formulation with an ingredient."""
    parts = [{"itemCodeableConcept": {"coding": [{"system": SYSTEM, "code": code}]}} for code in codes]
    return {"resourceType": "Medication", "id": name, "ingredient": parts} | more


def order(number: int, patient: str, *held: dict) -> dict:
    """A MedicationRequest that contains what is ordered."""
    return {
        "resourceType": "MedicationRequest",
        "id": f"r{number}",
        "status": "active",
        "intent": "order",
        "contained": list(held),
        "medicationReference": {"reference": f"#{held[0]['id']}"},
        "supportingInformation": [{"reference": f"#{one['id']}"} for one in held[1:]],
        "subject": {"reference": f"Patient/{patient}"},
    }


def without_nothing(body: dict) -> dict:
    return {name: value for name, value in body.items() if value != []}


@pytest.fixture
def pharmacy(server):
    """Two patients' orders with formulations inside, and one formulation by itself."""
    bodies = [
        {"resourceType": "Patient", "id": "p1"},
        {"resourceType": "Patient", "id": "p2"},
        medication("alone", "abc"),
        order(1, "p1", medication("m1", "abc", amount={"numerator": {"value": 1}, "denominator": {"value": 2}})),
        order(2, "p2", medication("m1", "xyz"), medication("m2", "abc"), medication("m3", "abc", "xyz")),
        order(3, "p1", medication("m9", "xyz")),
    ]
    for body in bodies:
        path = f"/fhir/{body['resourceType']}/{body['id']}"
        response = server.call("PUT", path, without_nothing(body))
        assert response.status_code == 201, response.data
    return server


def found(response) -> list[str]:
    assert response.status_code == 200, response.data
    rows = json.loads(response.data).get("entry", [])
    assert all(row["search"]["mode"] == "match" for row in rows)
    return [row["fullUrl"].removeprefix(f"{BASE}/") for row in rows]


def pages(server, path: str) -> list[list[str]]:
    seen, address = [], f"/fhir/{path}"
    while address:
        response = server.call("GET", address)
        seen.append(found(response))
        links = {row["relation"]: row["url"] for row in json.loads(response.data)["link"]}
        following = links.get("next")
        # What is searched for, and for whom, stands in no address of ours.
        assert following is None or "Medication?_cursor=" in following
        address = following and following.removeprefix("http://127.0.0.1:41000")
    return seen


def refused(response) -> tuple[int, str, str]:
    issue = json.loads(response.data)["issue"][0]
    return response.status_code, issue["details"]["coding"][0]["code"], issue.get("diagnostics", "")


CONTAINED = "_contained=true&_containedType=contained"


def test_contained_resources_are_found_when_they_are_asked_for_alone(pharmacy):
    """_contained: false (default) does not return contained resources; true returns only contained resources."""
    assert found(pharmacy.call("GET", f"/fhir/Medication?{BY}")) == ["Medication/alone"]
    assert found(pharmacy.call("GET", f"/fhir/Medication?{BY}&_contained=false")) == ["Medication/alone"]
    response = pharmacy.call("GET", f"/fhir/Medication?{BY}&_contained=true")
    assert found(response) == ["MedicationRequest/r1", "MedicationRequest/r2"]
    document = json.loads(response.data)
    assert document["total"] == 2
    # _containedType=container (default): the container resource is returned as it is.
    assert document["entry"][0]["resource"] == json.loads(pharmacy.call("GET", "/fhir/MedicationRequest/r1").data)


def test_a_contained_resource_is_named_by_its_containers_address(pharmacy):
    """The fullUrl tells the id of the container, and the id of the contained resource in it."""
    response = pharmacy.call("GET", f"/fhir/Medication?{BY}&{CONTAINED}")
    assert found(response) == ["MedicationRequest/r1#m1", "MedicationRequest/r2#m2", "MedicationRequest/r2#m3"]
    document = json.loads(response.data)
    assert document["total"] == 3
    assert document["entry"][1]["resource"] == medication("m2", "abc")


def test_both_returns_what_is_contained_and_what_is_not_each_once(pharmacy):
    """_contained: both returns both contained and non-contained (normal) resources."""
    whole = ["Medication/alone", "MedicationRequest/r1#m1", "MedicationRequest/r2#m2", "MedicationRequest/r2#m3"]
    by = f"Medication?{BY}&_contained=both"
    assert found(pharmacy.call("GET", f"/fhir/{by}&_containedType=contained")) == whole
    assert found(pharmacy.call("GET", f"/fhir/{by}")) == [
        "Medication/alone",
        "MedicationRequest/r1",
        "MedicationRequest/r2",
    ]
    for count in (1, 2, 3, 4):
        got = pages(pharmacy, f"{by}&_containedType=contained&_count={count}")
        assert [one for page in got for one in page] == whole
        # §3.1.1.5.3: a page has no more than _count.
        assert all(len(page) <= count for page in got)
    # A container that matches by itself comes once.
    inner = {"resourceType": "Patient", "id": "x", "gender": "male"}
    outer = {"resourceType": "Patient", "id": "p3", "gender": "male", "contained": [inner]}
    outer["generalPractitioner"] = [{"reference": "#o"}]
    outer["link"] = [{"other": {"reference": "#x"}, "type": "seealso"}]
    outer["contained"].append({"resourceType": "Organization", "id": "o", "name": "仁和"})
    response = pharmacy.call("PUT", "/fhir/Patient/p3", outer)
    assert response.status_code == 201, response.data
    assert found(pharmacy.call("GET", "/fhir/Patient?gender=male&_contained=both")) == ["Patient/p3"]
    assert found(pharmacy.call("GET", "/fhir/Patient?gender=male&_contained=true")) == ["Patient/p3"]
    assert found(pharmacy.call("GET", f"/fhir/Organization?name={quote('仁和')}&_contained=true")) == ["Patient/p3"]


def test_all_conditions_hold_of_one_contained_resource(pharmacy):
    """§3.1.1.4.4: parameters that are repeated must all be fulfilled by the resource."""
    both = f"{BY}&ingredient-code=xyz&{CONTAINED}"
    assert found(pharmacy.call("GET", f"/fhir/Medication?{both}")) == ["MedicationRequest/r2#m3"]
    assert found(pharmacy.call("GET", f"/fhir/Medication?_id=m1&{CONTAINED}")) == [
        "MedicationRequest/r1#m1",
        "MedicationRequest/r2#m1",
    ]
    assert found(pharmacy.call("GET", f"/fhir/Medication?ingredient-code:not=abc&{CONTAINED}")) == [
        "MedicationRequest/r2#m1",
        "MedicationRequest/r3#m9",
    ]
    assert found(pharmacy.call("GET", f"/fhir?_type=Medication,Basic&_id=m9&{CONTAINED}")) == [
        "MedicationRequest/r3#m9"
    ]
    # Nothing stored refers to a contained resource, whatever name it bears.
    listed = {"resourceType": "List", "id": "l", "status": "current", "mode": "working"}
    listed["entry"] = [{"item": {"reference": "Medication/alone"}}]
    pharmacy.call(
        "PUT",
        "/fhir/MedicationRequest/r3",
        order(3, "p1", medication("alone", "xyz")) | {"contained": [medication("alone", "xyz")]},
    )
    pharmacy.call("PUT", "/fhir/List/l", listed)
    assert found(pharmacy.call("GET", "/fhir/Medication?_list=l")) == ["Medication/alone"]
    assert found(pharmacy.call("GET", f"/fhir/Medication?_list=l&{CONTAINED}")) == []


def test_pages_and_numbers_of_contained_resources_are_of_one_snapshot(pharmacy):
    """§3.1.1.5.2, §3.1.1.5.3."""
    by = f"Medication?{BY}&{CONTAINED}"
    counted = json.loads(pharmacy.call("GET", f"/fhir/{by}&_summary=count").data)
    assert (counted["total"], "entry" in counted) == (3, False)
    both = json.loads(pharmacy.call("GET", f"/fhir/Medication?{BY}&_contained=both&_total=accurate&_count=1").data)
    assert (both["total"], len(both["entry"])) == (3, 1)
    address = f"/fhir/Medication?{BY}&_contained=both&_containedType=contained&_total=accurate&_count=2"
    first = pharmacy.call("GET", address)
    following = json.loads(first.data)["link"][1]["url"].removeprefix("http://127.0.0.1:41000")
    assert [json.loads(one.data)["total"] for one in (first, pharmacy.call("GET", following))] == [4, 4]
    first = pharmacy.call("GET", f"/fhir/{by}&_count=2&_total=accurate")
    assert (found(first), json.loads(first.data)["total"]) == (
        ["MedicationRequest/r1#m1", "MedicationRequest/r2#m2"],
        3,
    )
    pharmacy.call("PUT", "/fhir/MedicationRequest/r0", without_nothing(order(0, "p1", medication("m0", "abc"))))
    pharmacy.call("DELETE", "/fhir/MedicationRequest/r2")
    following = json.loads(first.data)["link"][1]["url"].removeprefix("http://127.0.0.1:41000")
    second = pharmacy.call("GET", following)
    assert (found(second), json.loads(second.data)["total"]) == (["MedicationRequest/r2#m3"], 3)
    assert found(pharmacy.call("GET", f"/fhir/{by}")) == ["MedicationRequest/r1#m1", "MedicationRequest/r0#m0"]
    newest_first = f"/fhir/{by}&_sort=-_lastUpdated"
    assert sorted(found(pharmacy.call("GET", newest_first))) == ["MedicationRequest/r0#m0", "MedicationRequest/r1#m1"]


def test_a_page_opens_so_many_containers_and_goes_on(pharmacy, monkeypatch):
    monkeypatch.setattr(contained, "LOOKED", 2)
    monkeypatch.setattr(contained, "COUNTED", 2)
    assert pages(pharmacy, f"Medication?ingredient-code=xyz&{CONTAINED}&_count=1") == [
        ["MedicationRequest/r2#m1"],
        ["MedicationRequest/r2#m3"],
        ["MedicationRequest/r3#m9"],
    ]
    assert pages(pharmacy, f"Medication?_id=m9&{CONTAINED}") == [[], ["MedicationRequest/r3#m9"]]
    assert pages(pharmacy, f"Medication?_id=m9&{CONTAINED}&_total=estimate") == [[], ["MedicationRequest/r3#m9"]]
    for query in ("_total=accurate", "_summary=count"):
        response = pharmacy.call("GET", f"/fhir/Medication?_id=m9&{CONTAINED}&{query}")
        assert refused(response)[:2] == (400, "search.too_many")


def test_parts_of_what_is_contained_are_marked(pharmacy):
    """§3.1.1.5.9: elements that are asked for; and every digit as it was sent (§2.24.0.1)."""
    response = pharmacy.call("GET", f"/fhir/Medication?_id=m1&{BY}&{CONTAINED}&_elements=amount")
    (row,) = json.loads(response.data)["entry"]
    assert "ingredient" not in row["resource"]
    assert row["resource"]["meta"]["tag"][0]["code"] == "SUBSETTED"
    body = json.dumps(without_nothing(order(5, "p1", medication("m5", "abc"))))
    amount = '"amount":{"numerator":{"value":1.50},"denominator":{"value":2.00}},"id":"m5"'
    assert (
        pharmacy.call("PUT", "/fhir/MedicationRequest/r5", body.replace('"id": "m5"', amount).encode()).status_code
        == 201
    )
    assert amount.encode() in pharmacy.call("GET", f"/fhir/Medication?_id=m5&{CONTAINED}").data


def test_what_cannot_be_asked_of_contained_resources_is_refused(pharmacy):
    for query, parameter in (
        ("_has:MedicationRequest:medication:status=active", "_has"),
        ("_include=Medication:manufacturer", "_include"),
        ("_revinclude=MedicationRequest:medication", "_include"),
        ("_sort=code", "_sort"),
    ):
        status, code, diagnostics = refused(pharmacy.call("GET", f"/fhir/Medication?{query}&_contained=true"))
        assert (status, code) == (400, "search.unsupported")
        assert f"parameter={parameter}" in diagnostics
    response = pharmacy.call("GET", "/fhir/Provenance?_contained=both")
    assert refused(response)[:2] == (400, "search.unsupported")
    assert found(pharmacy.call("GET", "/fhir/Provenance?_contained=true")) == []


def test_a_cursor_of_another_search_is_refused(pharmacy):
    first = pharmacy.call("GET", f"/fhir/Medication?{BY}&{CONTAINED}&_count=1")
    cursor = json.loads(first.data)["link"][1]["url"].rpartition("=")[2]
    response = pharmacy.call("GET", f"/fhir/Organization?_cursor={cursor}")
    assert response.status_code == 400


def test_contained_resources_lie_in_the_compartment_of_their_container(pharmacy):
    """§2.45: what is contained has no context but its container's."""
    assert found(pharmacy.call("GET", f"/fhir/Patient/p1/Medication?{CONTAINED}")) == [
        "MedicationRequest/r1#m1",
        "MedicationRequest/r3#m9",
    ]


def asked_by(server, access: Access, monkeypatch, path: str):
    """Call with rights that a token of the test cannot carry."""
    monkeypatch.setattr(type(server.tokens), "check", lambda _self, _token: access)
    return server.call("GET", path)


def test_who_may_not_see_a_container_finds_nothing_in_it(pharmacy, monkeypatch):
    """Attack: contents of another's record are told by searching for them as contained resources."""
    path = f"/fhir/Medication?{BY}&{CONTAINED}"

    def asked(scopes: str, address: str = path, patient: str = ""):
        access = Access("app", parse_scopes(scopes), user="Patient/p1", patient=patient)
        return asked_by(pharmacy, access, monkeypatch, address)

    every = ["MedicationRequest/r1#m1", "MedicationRequest/r2#m2", "MedicationRequest/r2#m3"]
    assert found(asked("user/*.rs")) == every
    assert found(asked("user/Medication.rs user/MedicationRequest.rs")) == every
    # Rights on one of both are none: on the contained type alone, or on the container's alone.
    assert found(asked("user/Medication.rs")) == []
    assert asked("user/MedicationRequest.rs").status_code == 403
    apart = f"/fhir?_type=Medication,Patient&_id=m1&{CONTAINED}"
    assert found(asked("user/MedicationRequest.rs user/Patient.rs", apart)) == []
    # Of one patient: containers of its compartment alone, and their number, too.
    mine = "patient/Medication.rs patient/MedicationRequest.rs"
    assert found(asked("patient/*.rs", patient="p1")) == ["MedicationRequest/r1#m1"]
    assert found(asked(f"{mine} user/Medication.rs", patient="p1")) == ["MedicationRequest/r1#m1"]
    counted = json.loads(asked("patient/*.rs", f"{path}&_summary=count", "p1").data)
    assert counted["total"] == 1
    # A constraint on the contained type holds of what is contained.
    limited = "user/MedicationRequest.rs user/Medication.rs?ingredient-code=xyz"
    assert found(asked(limited)) == ["MedicationRequest/r2#m3"]


def test_a_container_that_was_shown_is_audited(pharmacy):
    """What was looked into and not shown is no access to it, as with every other search."""

    def events(name: str) -> int:
        pharmacy.drain()
        response = pharmacy.call("GET", f"/fhir/AuditEvent?entity=MedicationRequest/{name}&_summary=count")
        return json.loads(response.data)["total"]

    before = events("r3"), events("r1")
    pharmacy.call("GET", f"/fhir/Medication?_id=m9&{CONTAINED}")
    assert (events("r3"), events("r1")) == (before[0] + 1, before[1])


def chained(server, query: str, of: str = "MedicationRequest", **more: str) -> list[str]:
    response = server.call("GET", f"/fhir/{of}?{query}", Prefer="handling=strict", **more)
    assert response.status_code == 200, response.data
    rows = json.loads(response.data).get("entry", ())
    return sorted(row["resource"]["id"] for row in rows if row["search"]["mode"] == "match")


def test_a_chain_is_evaluated_inside_contained_resources(pharmacy):
    """§3.1.1.5.5: MedicationRequest?medication.ingredient-code=… has the order that contains the formulation.

    r2 contains one as well, but its medication is another: what a chain means is what its parameter refers to.
    """
    assert chained(pharmacy, f"medication.{BY}") == ["r1"]
    assert chained(pharmacy, f"medication:Medication.{BY}&patient=p1") == ["r1"]
    assert chained(pharmacy, f"medication.{BY}&patient=p2") == []
    pharmacy.call("PUT", "/fhir/MedicationRequest/r4", by_name(4, "alone"))
    assert chained(pharmacy, f"medication.{BY}") == ["r1", "r4"]
    counted = pharmacy.call("GET", f"/fhir/MedicationRequest?medication.{BY}&_summary=count")
    assert json.loads(counted.data)["total"] == 2
    pages = [json.loads(pharmacy.call("GET", f"/fhir/MedicationRequest?medication.{BY}&_count=1").data)]
    (after,) = [one["url"] for one in pages[0]["link"] if one["relation"] == "next"]
    pages.append(json.loads(pharmacy.call("GET", after.removeprefix(BASE.removesuffix("/fhir"))).data))
    assert sorted(row["resource"]["id"] for page in pages for row in page["entry"]) == ["r1", "r4"]


def by_name(number: int, name: str) -> dict:
    made = order(number, "p1", medication(name))
    return {name: value for name, value in made.items() if name not in ("contained", "supportingInformation")} | {
        "medicationReference": {"reference": f"Medication/{name}"}
    }


def test_a_chain_goes_on_inside_and_behind_what_is_not_contained(pharmacy):
    """§3.1.1.4.15: each link of a chain is evaluated so."""
    maker = {"resourceType": "Organization", "id": "o1", "name": "Renhe Works"}
    held = [medication("m1", "xyz", manufacturer={"reference": "#o1"}), maker]
    assert pharmacy.call("PUT", "/fhir/MedicationRequest/r5", without_nothing(order(5, "p1", *held))).status_code == 201
    assert chained(pharmacy, "medication.manufacturer.name=renhe") == ["r5"]
    assert chained(pharmacy, "medication.manufacturer.name=other") == []
    filled = {
        "resourceType": "MedicationDispense",
        "id": "d1",
        "status": "completed",
        "medicationCodeableConcept": {"text": "x"},
        "authorizingPrescription": [{"reference": "MedicationRequest/r1"}],
    }
    assert pharmacy.call("PUT", "/fhir/MedicationDispense/d1", filled).status_code == 201
    answer = pharmacy.call("GET", f"/fhir/MedicationDispense?prescription.medication.{BY}")
    assert [row["resource"]["id"] for row in json.loads(answer.data)["entry"]] == ["d1"]


def test_a_chain_from_what_is_contained_leads_to_what_lies_beside_it(pharmacy):
    """§3.1.1.5.5 with §2.3.0.3: a contained resource refers by ``#id`` to another in the same container."""
    maker = {"resourceType": "Organization", "id": "o1", "name": "Renhe"}
    for number, name in ((5, "o1"), (6, "o2")):
        held = [medication("m1", "xyz", manufacturer={"reference": f"#{name}"}), maker | {"name": "Other", "id": "o2"}]
        pharmacy.call("PUT", f"/fhir/MedicationRequest/r{number}", order(number, "p1", *held, maker))
    found = chained(pharmacy, "manufacturer.name=renhe&_contained=true", of="Medication")
    assert found == ["r5"]
    alone = "system/MedicationRequest.rs system/Medication.rs"
    assert chained(pharmacy, "manufacturer.name=renhe&_contained=true", of="Medication", scope=alone) == []


def test_a_chain_from_what_is_contained_goes_through_a_url(server):
    """§3.1.1.4.15 with §2.29 (canonical)."""
    form = {
        "resourceType": "Questionnaire",
        "id": "f",
        "status": "active",
        "url": "http://x.example/f",
        "title": "Pain",
        "version": "1",
    }
    server.call("PUT", "/fhir/Questionnaire/f", form)
    for name, url in (("o1", f"{form['url']}|1"), ("o2", "http://x.example/none"), ("o3", f"{form['url']}|2")):
        answer = {"resourceType": "QuestionnaireResponse", "id": "a", "status": "completed", "questionnaire": url}
        body = {"resourceType": "Observation", "id": name, "status": "final", "code": {"text": "x"}}
        body |= {"contained": [answer], "derivedFrom": [{"reference": "#a"}]}
        assert server.call("PUT", f"/fhir/Observation/{name}", body).status_code == 201
    query = "questionnaire.title=pain&_contained=true"
    assert chained(server, query, of="QuestionnaireResponse") == ["o1"]
    alone = "system/Observation.rs system/QuestionnaireResponse.rs"
    assert chained(server, query, of="QuestionnaireResponse", scope=alone) == []


def test_a_chain_into_what_is_contained_needs_a_scope_for_its_type(pharmacy):
    alone, both = "system/MedicationRequest.rs", "system/MedicationRequest.rs system/Medication.rs"
    assert chained(pharmacy, f"medication.{BY}", scope=both) == ["r1"]
    assert chained(pharmacy, f"medication.{BY}", scope=alone) == []
    assert chained(pharmacy, f"medication.{BY}", scope=f"{both}?code=none") == []


def test_a_chain_that_looked_into_too_few_containers_says_so(pharmacy, monkeypatch):
    monkeypatch.setattr("fhir_bridge.rest.chained.LOOKED", 1)
    page = json.loads(pharmacy.call("GET", f"/fhir/MedicationRequest?medication.{BY}").data)
    assert page["entry"][0]["search"]["mode"] == "outcome"
    assert page["entry"][0]["resource"]["issue"][0]["details"]["coding"][0]["code"] == "search.contained"
    assert chained(pharmacy, f"medication.{BY}&_id=r1") == ["r1"]


URN = "urn:uuid:00000000-0000-4000-8000-00000000000"


def composition(code: str, subject: str) -> dict:
    return {
        "resourceType": "Composition",
        "id": "c",
        "status": "final",
        "type": {"coding": [{"system": "http://loinc.org", "code": code}]},
        "date": "2026-01-02",
        "author": [{"display": "the ward"}],
        "title": "summary",
        "subject": {"reference": subject},
    }


def bundle(name: str, kind: str, *entries: tuple[str, dict]) -> dict:
    rows = [{"fullUrl": url, "resource": resource} for url, resource in entries]
    head = {"identifier": {"system": "urn:doc", "value": name}, "timestamp": "2026-01-02T00:00:00Z"}
    return {"resourceType": "Bundle", "id": name, "type": kind, "entry": rows} | head


@pytest.fixture
def archive(server):
    """Documents that hold their own patients, one message, and records here that are called as what these hold is."""
    patients = {name: {"resourceType": "Patient", "id": "p", "name": [{"family": name}]} for name in ("Wang", "Li")}
    remote = "http://a.example/fhir"
    header = {
        "resourceType": "MessageHeader",
        "id": "m",
        "eventCoding": {"system": "urn:events", "code": "admit"},
        "source": {"endpoint": "http://a.example"},
        "focus": [{"reference": f"{URN}1"}],
    }
    for body in (
        bundle("d1", "document", (f"{URN}0", composition("60591-5", f"{URN}1")), (f"{URN}1", patients["Wang"])),
        bundle(
            "d2",
            "document",
            (f"{remote}/Composition/c", composition("18842-5", "Patient/p")),
            (f"{remote}/Patient/p", patients["Li"]),
        ),
        bundle("m1", "message", (f"{URN}0", header), (f"{URN}1", patients["Li"])),
        bundle("s1", "collection", (f"{URN}0", composition("60591-5", "Patient/p"))),
        # These are others, of this node.
        {"resourceType": "Patient", "id": "p", "name": [{"family": "Zhao"}]},
        composition("60591-5", "Patient/p"),
    ):
        response = server.call("PUT", f"/fhir/{body['resourceType']}/{body['id']}", body)
        assert response.status_code == 201, response.data
    return server


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("composition.type=60591-5", ["d1"]),
        ("composition.type=18842-5", ["d2"]),
        ("composition.title=summary", ["d1", "d2"]),
        ("composition.type=nothing", []),
        ("message.event=admit", ["m1"]),
        ("message.event=discharge", []),
        # Its references lead to entries: by full URL, and relative to the base of one (§2.36.4.1).
        ("composition.subject:Patient.family=wang", ["d1"]),
        ("composition.patient.family=li", ["d2"]),
        ("message.focus:Patient.family=li", ["m1"]),
        # And to no record of this node, whatever its id is.
        ("composition.subject:Patient.family=zhao", []),
        ("composition.type=60591-5&identifier=urn:doc|d2", []),
        ("composition.type=60591-5,18842-5&_count=1", ["d1"]),
    ],
)
def test_a_chain_leads_into_a_document_or_message(archive, query, expected):
    """Bundle-composition and Bundle-message: "this parameter provides access to search its contents"."""
    assert chained(archive, query, "Bundle") == expected


def test_what_a_bundle_holds_is_no_record_of_that_name_here(archive):
    """R4 Bundle: what is in it is the content of whoever made it, and refers to nothing else."""
    for query in ("_include=Bundle:composition", "_include=*", "_include=Bundle:*"):
        rows = json.loads(archive.call("GET", f"/fhir/Bundle?_id=d1&{query}").data)["entry"]
        assert [row["resource"]["id"] for row in rows] == ["d1"]
    rows = json.loads(archive.call("GET", "/fhir/Composition?_id=c&_revinclude=Bundle:composition").data)["entry"]
    assert [row["resource"]["id"] for row in rows] == ["c"]
    assert chained(archive, "_has:Bundle:composition:identifier=urn:doc|d1", "Composition") == []


def test_who_may_not_find_compositions_finds_no_document_by_one(archive):
    both = {"scope": "system/Bundle.rs system/Composition.rs"}
    assert chained(archive, "composition.type=60591-5", "Bundle", **both) == ["d1"]
    assert chained(archive, "composition.type=60591-5", "Bundle", scope="system/Bundle.rs") == []
    limited = {"scope": "system/Bundle.rs system/Composition.rs?type=18842-5"}
    assert chained(archive, "composition.type=60591-5", "Bundle", **limited) == []
    assert chained(archive, "composition.title=summary", "Bundle", **limited) == ["d2"]
    assert chained(archive, "composition.patient.family=li", "Bundle", **both) == []
