"""Stored Bundles are kept back with what lies in them, however that names its patient (`docs/spec/consent.md` C15)."""

from __future__ import annotations

import orjson
import pytest

from fhir_bridge.bundled import NOBODY, lying_in
from fhir_bridge.search.budget import MAX_CHARS
from medchain.store.consents import ConsentRows
from tests.unit.fhir_bridge.consent_oracle import CALLERS, TYPES, actor, deny, label
from tests.unit.fhir_bridge.test_enforcement import Ward, bundle, condition, observation, of_targets, scanned

NUMBER = {"system": "urn:mrn", "value": "w-1"}
URN = "urn:uuid:11111111-1111-4111-8111-111111111111"
PATIENTS = (
    {"resourceType": "Patient", "id": "p1", "birthDate": "1970-01-01", "identifier": [NUMBER]},
    {"resourceType": "Patient", "id": "p2", "birthDate": "1971-01-01", "identifier": [NUMBER | {"value": "l-2"}]},
)


@pytest.fixture
def node(server):
    """Two patients, and a record of each."""
    for one in (*PATIENTS, condition("hiv", "B20", "2024-01-01"), condition("of-p2", "J06.9", "2024-01-01", "p2")):
        stored(server, one)
    return server


def stored(server, resource: dict) -> str:
    """Store a resource; returns its name."""
    name = f"{resource['resourceType']}/{resource['id']}"
    made = server.call("PUT", f"/fhir/{name}", resource)
    assert made.status_code in (200, 201), made.data
    return name


def seen(server, *consents: dict, caller: str = "d1") -> Ward:
    """See it as a caller does from whom something is kept back."""
    return Ward(server, CALLERS[caller], consents or [deny(securityLabel=label("HIV"))])


def statuses(ward: Ward, *paths: str) -> list[int]:
    return [ward.ask(path).status_code for path in paths]


def entry(resource: dict, url: str = "") -> dict:
    return {"resource": resource} | ({"fullUrl": url} if url else {})


def ill(subject: object, code: str = "B20") -> dict:
    """Make a Condition of somebody, without an id."""
    made = {name: value for name, value in condition("x", code, "2024-01-01").items() if name not in ("id", "subject")}
    return made | ({} if subject is None else {"subject": subject})


def task(subject: object) -> dict:
    """Make a Task, which need not be of anybody."""
    code = condition("x", "B20", "2024-01-01")["code"]
    made = {"resourceType": "Task", "status": "completed", "intent": "order", "code": code}
    return made | ({} if subject is None else {"for": subject})


def collection(*entries: dict, **more: object) -> dict:
    return {"resourceType": "Bundle", "id": "b", "type": "collection", "entry": list(entries)} | more


OF_NUMBER = {"resourceType": "Patient", "identifier": [NUMBER]}
NAMELESS = {"resourceType": "Patient", "birthDate": "1970-01-01"}


def asking(url: str) -> dict:
    """Make a transaction with a record of whom a condition finds."""
    request = {"request": {"method": "POST", "url": "Condition"}}
    return collection(entry(ill({"reference": url})) | request, type="transaction")


def placed(patient: dict, **place: object) -> dict:
    """Make a Bundle with a record of a Patient that is beside it, at a place that says more."""
    is_answer = "response" in place
    more = {"response": {"status": "201"}} if is_answer else {"request": {"method": "POST", "url": "Condition"}}
    kind = "transaction-response" if is_answer else "transaction"
    return collection(entry(ill({"reference": URN})) | more, entry(patient, URN) | place, type=kind)


def linked(patient: str) -> dict:
    """Make a Bundle with a record of a Patient that says to be the same person as another one."""
    link = [{"type": "seealso", "other": {"reference": patient}}]
    return collection(entry(ill({"reference": URN})), entry(NAMELESS | {"link": link}, URN))


WAYS = {
    "by its id": collection(entry(ill({"reference": "Patient/p1"}))),
    "by a version": collection(entry(ill({"reference": "Patient/p1/_history/1"}))),
    "by another base": collection(entry(ill({"reference": "https://lab.example/fhir/Patient/p1"}))),
    "by an identifier": collection(entry(ill({"identifier": NUMBER, "display": "W"}))),
    "by an identifier without a system": collection(entry(ill({"identifier": {"value": "W-1"}, "display": "W"}))),
    "by a Patient with the number": collection(entry(ill({"reference": URN})), entry(OF_NUMBER, URN)),
    "by a Patient with the id": collection(
        entry(ill({"reference": URN})), entry({"resourceType": "Patient", "id": "p1"}, URN)
    ),
    "by a Patient at another base": collection(
        entry(ill({"reference": "https://lab.example/fhir/Patient/77"})),
        entry(OF_NUMBER | {"id": "77"}, "https://lab.example/fhir/Patient/77"),
    ),
    "by a condition": collection(
        entry(ill({"reference": "Patient?identifier=urn:mrn|w-1"}))
        | {"request": {"method": "POST", "url": "Condition"}},
        type="transaction",
    ),
    "by a condition on its id": asking("Patient?_id=p1"),
    "by a condition at a base": asking("https://lab.example/fhir/Patient?identifier=urn:mrn|w-1"),
    "by a condition that asks for more": asking("Patient?identifier=urn:mrn|w-1&birthdate=1970-01-01"),
    "by a condition on several": asking("Patient?identifier=urn:x\\,y|q,urn%3Amrn%7CW-1"),
    "by a condition after a backslash": asking("Patient?identifier=urn:x|q\\\\,urn:mrn|w-1"),
    "by a condition with a modifier": asking("Patient?identifier:of-type=urn:types|MR|w-1"),
    "percent-encoded": collection(entry(ill({"reference": "Patient/p%31"}))),
    "by a Patient of that id that a record contains": collection(
        entry(ill({"reference": "#p1"}) | {"contained": [NAMELESS | {"id": "p1"}]})
    ),
    "by whom a Patient is linked to": linked("Patient/p1"),
    "by where a Patient is to be stored": placed(NAMELESS, request={"method": "PUT", "url": "Patient/p1"}),
    "by the condition of a change": placed(
        NAMELESS, request={"method": "PUT", "url": "Patient?identifier=urn:mrn|w-1"}
    ),
    "by whom a create may find": placed(
        NAMELESS, request={"method": "POST", "url": "Patient", "ifNoneExist": "identifier=urn:mrn|w-1"}
    ),
    # It is no search of this node, and may have been stored before searches had an end.
    "by whom a create may find, at length": placed(
        NAMELESS,
        request={"method": "POST", "url": "Patient", "ifNoneExist": f"name={'a' * MAX_CHARS}&identifier=urn:mrn|w-1"},
    ),
    "by where a Patient was stored": placed(NAMELESS, response={"status": "200", "location": "Patient/p1/_history/1"}),
    "beside the Patient alone": collection(entry(task(None)), entry(OF_NUMBER, URN)),
    "by a Patient that a record contains": collection(
        entry(ill({"reference": "#pat"}) | {"contained": [OF_NUMBER | {"id": "pat"}]})
    ),
    "in a Bundle within": collection(entry(collection(entry(ill({"reference": "Patient/p1"}))) | {"id": "inside"})),
    "in Parameters": collection(
        entry(
            {
                "resourceType": "Parameters",
                "parameter": [{"name": "a", "part": [{"name": "b", "resource": ill({"reference": "Patient/p1"})}]}],
            }
        )
    ),
    "by who is referred to": collection(entry(task(None) | {"requester": {"reference": "Patient/p1"}})),
}
CONSENTS = {
    "all": deny(),
    "label": deny(securityLabel=label("HIV")),
    "code": deny(code=[{"coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": "B20"}]}]),
}


@pytest.mark.parametrize("consent", CONSENTS)
def test_attack_what_lies_in_a_bundle_is_read_there(node, consent):
    """However what lies in it says whose it is; stored before the consent, and behind it."""
    early = {f"early-{number}": way for number, way in enumerate(WAYS.values())}
    late = {f"late-{number}": way for number, way in enumerate(WAYS.values())}
    for name, way in early.items():
        stored(node, way | {"id": name})
    ward = seen(node, CONSENTS[consent])
    for name, way in late.items():
        stored(node, way | {"id": name})
    absent = ward.ask("Bundle/absent")
    for name in (*early, *late):
        for path in (f"Bundle/{name}", f"Bundle/{name}/_history/1"):
            answer = ward.ask(path)
            assert (answer.status_code, answer.data) == (absent.status_code, absent.data), (path, [*WAYS])
    found = orjson.loads(ward.ask("Bundle?_total=accurate").data)
    assert (found["total"], found.get("entry")) == (0, None)


OTHERS = {
    "another patient": collection(entry(ill({"reference": "Patient/p2"}))),
    "another number": collection(entry(ill({"identifier": {"system": "urn:mrn", "value": "w-2"}}))),
    "the number of another system": collection(entry(ill({"identifier": NUMBER | {"system": "urn:other"}}))),
    "a condition on another patient": asking("Patient?_id=p2&identifier=urn:mrn|l-2"),
    "a condition on other resources": asking("RelatedPerson?identifier=urn:mrn|w-1"),
    "a Patient that is linked to another one": linked("Patient/p2"),
    "where another Patient is to be stored": placed(NAMELESS, request={"method": "PUT", "url": "Patient/p2"}),
    "nobody": collection(entry(task(None))),
    "the number of somebody who is no patient": collection(
        entry(task({"identifier": NUMBER, "type": "RelatedPerson", "display": "W"}))
    ),
    "a patient elsewhere": collection(
        entry(ill({"reference": URN})), entry({"resourceType": "Patient", "id": "x"}, URN)
    ),
}


def test_what_is_of_others_is_shown(node):
    for number, one in enumerate(OTHERS.values()):
        stored(node, one | {"id": f"b{number}"})
    ward = seen(node, deny())
    for number, name in enumerate(OTHERS):
        assert statuses(ward, f"Bundle/b{number}", f"Bundle/b{number}/_history/1") == [200, 200], name


RULES = {
    "a type": {"class": [{"system": TYPES, "code": "Condition"}]},
    "Bundles": {"class": [{"system": TYPES, "code": "Bundle"}]},
    "the record by name": {"data": [{"meaning": "instance", "reference": {"reference": "Condition/in"}}]},
    "what belongs to a visit": {"data": [{"meaning": "related", "reference": {"reference": "Encounter/e7"}}]},
    "an author": {"data": [{"meaning": "authoredby", "reference": {"reference": "Practitioner/d9"}}]},
    "a time": {"dataPeriod": {"start": "2024", "end": "2024"}},
    "who asks": {"actor": actor("Practitioner/d1")},
}
OTHER_RULES = {
    "another type": {"class": [{"system": TYPES, "code": "Observation"}]},
    "another record": {"data": [{"meaning": "instance", "reference": {"reference": "Condition/out"}}]},
    "another author": {"data": [{"meaning": "authoredby", "reference": {"reference": "Practitioner/d3"}}]},
    "another time": {"dataPeriod": {"start": "2023", "end": "2023"}},
    "another asker": {"actor": actor("Practitioner/d2")},
}


def test_each_rule_counts_in_a_bundle_as_for_a_record(node):
    """Here of one record, so that nothing is doubtful: the Bundle says what the record says."""
    inside = condition("in", "J06.9", "2024-05-01") | {"encounter": {"reference": "Encounter/e7"}}
    stored(node, bundle("b", inside))
    for name, rule in (RULES | OTHER_RULES).items():
        assert statuses(seen(node, deny(**rule)), "Bundle/b") == [404 if name in RULES else 200], name


def test_a_bundle_of_two_patients_is_kept_back_by_what_either_denies_of_its_own(node):
    stored(node, bundle("b", condition("one", "J06.9", "2024-01-01"), condition("two", "J20", "2024-01-01", "p2")))
    code = {"code": [{"coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": "J20"}]}]}
    assert statuses(seen(node, deny(**code)), "Bundle/b") == [200]
    ward = seen(node, deny(**code) | {"patient": {"reference": "Patient/p2"}})
    assert statuses(ward, "Bundle/b") == [404]


def test_a_bundle_is_as_the_records_of_which_it_has_copies(node):
    """Whatever it says itself: what is known of the record now may be more."""
    stored(node, condition("cold", "J06.9", "2024-01-01"))
    stored(node, bundle("copy", condition("cold", "J06.9", "2024-01-01")))
    stored(node, bundle("told", of_targets("p", "Condition/cold"), condition("x", "J06.9", "2024-01-01")))
    deleting = {"request": {"method": "DELETE", "url": "Condition/cold"}}
    stored(node, collection(deleting, type="transaction"))
    names = ("Bundle/copy", "Bundle/told", "Bundle/b")
    ward = seen(node)
    assert statuses(ward, *names) == [200, 200, 200]
    stored(node, condition("cold", "B20", "2024-01-01"))
    assert statuses(ward, *names) == [404, 404, 404]


def test_versions_are_kept_back_with_the_newest_and_each_by_what_it_says(node):
    sick, well = (bundle("b", condition("x", code, "2024-01-01")) for code in ("B20", "J06.9"))

    def answers(*changes: dict) -> list[int]:
        """Change it while no consent is in force, and ask for it and its versions."""
        node.call("PUT", "/fhir/Consent/c0", CONSENTS["code"] | {"id": "c0", "status": "inactive"})
        for change in changes:
            if change:
                stored(node, change)
            else:
                assert node.call("DELETE", "/fhir/Bundle/b").status_code == 204
        newest = node.store.get("Bundle", "b").version
        versions = (f"Bundle/b/_history/{number}" for number in range(1, newest + 1))
        return statuses(seen(node, CONSENTS["code"]), "Bundle/b", *versions)

    assert answers(well) == [200, 200]
    assert answers(sick) == [404, 404, 404]
    assert answers(well) == [200, 200, 404, 200]
    assert answers({}) == [410, 200, 404, 200, 410]
    assert answers(sick, {}) == [404] * 7


def test_who_is_meant_is_the_patient_that_has_the_number_now(node):
    stored(node, collection(entry(ill({"identifier": NUMBER | {"value": "w-9"}, "display": "W"}))))
    ward = seen(node)
    assert statuses(ward, "Bundle/b") == [200]
    stored(node, PATIENTS[0] | {"identifier": [NUMBER, NUMBER | {"value": "w-9"}]})
    assert statuses(ward, "Bundle/b") == [404]


def test_what_is_of_a_bundle_is_kept_back_with_it(node):
    stored(node, WAYS["by an identifier"])
    scanned(node, "of-b", "Bundle/b")
    told = [stored(node, of_targets("first", "Bundle/b")), stored(node, of_targets("second", "Provenance/first"))]
    ward = seen(node)
    told.append(stored(node, of_targets("third", "Bundle/b", "Condition/of-p2")))
    assert set(statuses(ward, *told, "Binary/of-b")) == {404}
    assert b"Bundle/b" not in ward.ask("Provenance?_count=100").data
    assert statuses(seen(node, deny(actor=actor("Practitioner/d2"))), *told, "Binary/of-b") == [200] * 4


def test_the_attachment_of_what_lies_in_a_bundle_is_kept_back_with_it(node):
    """Also one that is nobody's, or comes later; and not with one that is shown."""
    scanned(node, "scan", "Patient/p1")
    scanned(node, "other", "Patient/p1")
    assert node.call("PUT", "/fhir/Binary/loose", b"x", Content_Type="image/png").status_code == 201
    reference = {"resourceType": "DocumentReference", "status": "current", "subject": {"reference": "Patient/p1"}}
    for name, code in (("b", "B20"), ("c", "J06.9")):
        urls = ("scan", "loose", "later") if name == "b" else ("other",)
        content = [{"attachment": {"contentType": "image/png", "url": f"Binary/{url}"}} for url in urls]
        document = reference | {"type": condition("x", code, "2024-01-01")["code"], "content": content}
        stored(node, collection(entry(document)) | {"id": name})
    ward = seen(node)
    assert node.call("PUT", "/fhir/Binary/later", b"x", Content_Type="image/png").status_code == 201
    assert statuses(ward, "Bundle/c", "Binary/other") == [200, 200]
    assert set(statuses(ward, "Bundle/b", "Binary/scan", "Binary/loose", "Binary/later")) == {404}


def test_a_binary_in_a_bundle_is_kept_back_with_the_record_that_stands_for_it(node):
    """As one that is stored by itself."""
    binary = {"resourceType": "Binary", "contentType": "text/plain", "data": "aGVsbG8="}
    for name in ("hiv", "of-p2"):
        about = binary | {"securityContext": {"reference": f"Condition/{name}"}}
        stored(node, collection(entry(about)) | {"id": f"of-{name}"})
        cold = condition("cold", "J06.9", "2024-01-01")
        stored(node, collection(entry(about), entry(cold)) | {"id": f"beside-{name}"})
    names = ("Bundle/of-hiv", "Bundle/beside-hiv", "Bundle/of-of-p2", "Bundle/beside-of-p2")
    assert statuses(seen(node, CONSENTS["code"]), *names) == [404, 404, 200, 200]


def test_what_is_kept_back_is_not_written_over_and_not_told_by_the_audit(node):
    stored(node, WAYS["by its id"])
    ward = seen(node, caller="system")
    assert ward.ask("Bundle/b", "PUT", OTHERS["nobody"]).status_code == 404
    assert ward.ask("Bundle/b", "DELETE").status_code == 204
    assert node.store.get("Bundle", "b").version == 1
    node.drain()
    assert orjson.loads(ward.ask("AuditEvent?entity=Bundle/b&_total=accurate").data)["total"] == 0


def test_what_is_stored_after_a_search_has_begun_is_looked_at_before_it_is_shown(node):
    """Attack: a Bundle that comes between what is known and the search itself."""
    ward = seen(node)
    within = node.core.gate.within(ward.caller.access)
    stored(node, WAYS["by its id"])
    assert node.core.search.ids("Bundle", "_id=b", 10, within=within) == []
    assert node.core.search.ids("Bundle", "_id=b", 10) == ["b"]


def test_a_bundle_that_cannot_be_read_is_shown_to_nobody_and_does_no_harm(node):
    stored(node, WAYS["by its id"] | {"id": "lost"})
    damage(node, "lost")
    ward = seen(node)
    assert ward.ask("Bundle/lost").status_code in (404, 500, 503)
    assert statuses(ward, "Condition/of-p2") == [200]


def damage(node, name: str) -> None:
    """Change the only version of a Bundle where it is stored."""
    with node.store.database.write("record") as connection:
        changed = connection.exec_driver_sql(
            "UPDATE record SET envelope = zeroblob(length(envelope)) WHERE type = 'Bundle' AND id = ?", (name,)
        )
    assert changed.rowcount == 1


def test_a_request_looks_into_no_bundle_that_it_does_not_ask_for(node, monkeypatch):
    """Each version is opened as it comes, and of a patient's again where something of that patient's comes."""
    for number in range(5):
        stored(node, collection(entry(ill({"reference": "Patient/p2"}))) | {"id": f"of-p2-{number}"})
    stored(node, WAYS["by its id"])
    ward = seen(node)
    assert statuses(ward, "Bundle/b") == [404]
    # Who stores things below is an asker as well.
    assert node.call("GET", "/fhir/Bundle/b").status_code == 404
    opened = []
    read = type(node.service).open
    monkeypatch.setattr(
        type(node.service), "open", lambda service, row: opened.append((row.type, row.id)) or read(service, row)
    )
    listed = []
    of_record = ConsentRows.of_record
    monkeypatch.setattr(ConsentRows, "of_record", lambda rows, *name: listed.append(name) or of_record(rows, *name))
    assert statuses(ward, "Condition/of-p2", "Condition/hiv") == [200, 404]
    stored(node, observation("o", "2339-0", "2024-01-01", "p2"))
    assert statuses(ward, "Observation/o") == [200]
    assert [name for name in opened if name[0] == "Bundle"] == listed == []
    stored(node, observation("o", "2339-0", "2024-01-01"))
    assert statuses(ward, "Observation/o") == [200]
    assert [name for name in opened if name[0] == "Bundle"] == [("Bundle", "b")] * 2


def test_a_place_without_a_resource_names_one_and_what_is_contained_is_no_record_of_its_own():
    record = ill(None) | {"id": "c", "contained": [{"resourceType": "Practitioner", "id": "d"}]}
    answered = {"response": {"status": "201", "location": "https://lab.example/fhir/Condition/a/_history/1"}}
    lying = lying_in(collection(entry(record), answered, {"link": []}), str)
    assert {one.names: one.about for one in lying} == {(("Condition", "c"),): NOBODY, (("Condition", "a"),): NOBODY}
