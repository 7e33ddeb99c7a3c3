"""Security labels of what is stored: set from codes on every way in, kept over versions, taken back by a person alone.

Expected labels: `docs/spec/labels.md` and ICD-10 (F20 schizophrenia, B20 HIV disease); the extension that names the
set is DS4P's extension-sec-label-basis.
"""

from __future__ import annotations

import json

import pytest

from consent.labels import CARRIED
from fhir_bridge.labelling import BASIS, TAKEN_BACK, Labeller, label_sets, load_set
from fhir_bridge.smart.access import Access
from fhir_bridge.smart.scopes import parse_scopes
from medchain.errors import InputError
from medchain.node.keystore import Layout

ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
LEVEL = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
ICD10 = "http://hl7.org/fhir/sid/icd-10"
CLINICAL = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]}


def condition(code: str = "F20.0", patient: str = "p1", **more: object) -> dict:
    return {
        "resourceType": "Condition",
        "clinicalStatus": CLINICAL,
        "code": {"coding": [{"system": ICD10, "code": code}]},
        "subject": {"reference": f"Patient/{patient}"},
        **more,
    }


def labels(resource: dict) -> set[str]:
    return {row["code"] for row in resource.get("meta", {}).get("security", [])}


def body(response) -> dict:
    return json.loads(response.data)


@pytest.fixture
def person(server, monkeypatch):
    """Call as a clinician who is signed in."""

    def asked(method: str, path: str, given=None):
        access = Access("app", parse_scopes("user/*.cruds"), user="Practitioner/d1", role="clinician")
        with monkeypatch.context() as patched:
            patched.setattr(type(server.tokens), "check", lambda _self, _token: access)
            return server.call(method, path, given)

    return asked


def test_a_create_sets_labels_and_says_by_which_set(server):
    made = body(server.call("POST", "/fhir/Condition", condition()))
    basis = [
        {"url": BASIS, "valueCoding": {"system": "urn:medchain:label-set", "version": "2026-12", "code": "medchain"}}
    ]
    assert made["meta"]["security"] == [
        {"extension": basis, "system": ACT_CODE, "code": "PSY"},
        {"extension": basis, "system": LEVEL, "code": "R"},
    ]
    assert body(server.call("GET", f"/fhir/Condition/{made['id']}")) == made
    for value in ("PSY", f"{LEVEL}|R"):
        assert body(server.call("GET", f"/fhir/Condition?_security={value}"))["total"] == 1


def test_what_no_set_calls_sensitive_is_stored_as_it_came(server):
    made = body(server.call("POST", "/fhir/Condition", condition("J06.9")))
    assert made["meta"].keys() == {"versionId", "lastUpdated"}


@pytest.mark.parametrize("kind", ["transaction", "batch"])
def test_a_bundle_sets_labels(server, kind):
    entry = {"resource": condition(), "request": {"method": "POST", "url": "Condition"}}
    server.call("POST", "/fhir", {"resourceType": "Bundle", "type": kind, "entry": [entry]})
    assert body(server.call("GET", "/fhir/Condition?_security=PSY"))["total"] == 1


def test_an_update_loses_no_label_of_the_version_before(server):
    given = {"security": [{"system": ACT_CODE, "code": "HIV"}, {"system": LEVEL, "code": "V"}]}
    server.call("PUT", "/fhir/Condition/c", condition("J06.9", id="c", meta=given))
    lower = {"security": [{"system": LEVEL, "code": "N"}]}
    made = body(server.call("PUT", "/fhir/Condition/c", condition("J06.9", id="c", meta=lower)))
    assert labels(made) == {"HIV", "V"}
    row = {"resource": condition("J06.9", id="c"), "request": {"method": "PUT", "url": "Condition/c"}}
    server.call("POST", "/fhir", {"resourceType": "Bundle", "type": "transaction", "entry": [row]})
    assert labels(body(server.call("GET", "/fhir/Condition/c"))) == {"HIV", "V"}


def test_a_patch_that_removes_labels_removes_none(server):
    server.call("PUT", "/fhir/Condition/c", condition(id="c"))
    rows = json.dumps([{"op": "remove", "path": "/meta/security"}]).encode()
    answer = server.client.patch(
        "/fhir/Condition/c",
        data=rows,
        headers={
            "Authorization": f"Bearer {server.tokens.issue('test', parse_scopes('system/*.cruds'))}",
            "Content-Type": "application/json-patch+json",
        },
    )
    assert (answer.status_code, labels(body(answer))) == (200, {"PSY", "R"})


def test_a_code_that_went_leaves_its_label(server):
    server.call("PUT", "/fhir/Condition/c", condition(id="c"))
    assert labels(body(server.call("PUT", "/fhir/Condition/c", condition("J06.9", id="c")))) == {"PSY", "R"}


def taken(*codes: tuple[str, str]) -> dict:
    rows = [{"system": system, "code": code} for system, code in codes]
    return {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"security": rows}}]}


def test_a_program_takes_no_label_back(server):
    server.call("PUT", "/fhir/Condition/c", condition(id="c"))
    answer = server.call("POST", "/fhir/Condition/c/$meta-delete", taken((ACT_CODE, "PSY")))
    assert answer.status_code == 403
    assert labels(body(server.call("GET", "/fhir/Condition/c"))) == {"PSY", "R"}


def test_what_a_person_took_back_by_name_the_same_codes_do_not_bring_again(server, person):
    server.call("PUT", "/fhir/Condition/c", condition(id="c"))
    assert person("POST", "/fhir/Condition/c/$meta-delete", taken((ACT_CODE, "PSY"), (LEVEL, "R"))).status_code == 200
    made = body(server.call("PUT", "/fhir/Condition/c", condition(id="c")))
    assert labels(made) == set()
    marks = [{"url": TAKEN_BACK, "valueCoding": {"system": ACT_CODE, "code": "PSY"}}]
    assert [row for row in made["meta"]["extension"] if row["valueCoding"]["code"] == "PSY"] == marks
    assert labels(body(server.call("GET", "/fhir/Condition/c/_history/1"))) == {"PSY", "R"}
    # Another diagnosis is another matter.
    assert labels(body(server.call("PUT", "/fhir/Condition/c", condition("B20", id="c")))) == {"HIV", "R"}


def test_a_client_that_says_a_label_was_taken_back_is_not_believed(server):
    mark = {"extension": [{"url": TAKEN_BACK, "valueCoding": {"system": ACT_CODE, "code": "PSY"}}]}
    made = body(server.call("PUT", "/fhir/Condition/c", condition(id="c", meta=mark)))
    assert (labels(made), "extension" in made["meta"]) == ({"PSY", "R"}, False)
    made = body(server.call("PUT", "/fhir/Condition/d", condition("J06.9", id="d", meta=mark)))
    assert "extension" not in made["meta"]


def test_a_label_that_was_taken_back_and_is_given_again_stands(server, person):
    server.call("PUT", "/fhir/Condition/c", condition(id="c"))
    person("POST", "/fhir/Condition/c/$meta-delete", taken((ACT_CODE, "PSY")))
    given = {"security": [{"system": ACT_CODE, "code": "PSY"}]}
    made = body(server.call("PUT", "/fhir/Condition/c", condition(id="c", meta=given)))
    assert "PSY" in labels(made)
    assert "extension" not in made["meta"]


@pytest.mark.parametrize(
    ("born", "onset", "is_minor"),
    [
        ("2010-05-04", "2026-01-01", True),
        ("2010-05-04", "2028-05-03", True),
        ("2010-05-04", "2028-05-04", False),
        ("2008", "2026-12", True),
        ("2008-11", "2026-12-01", False),
        ("1980-01-01", "1990-01-01", True),
        ("1980-01-01", "2026-01-01", False),
        (None, "2026-01-01", False),
    ],
)
def test_what_a_minor_may_want_to_keep_is_labelled_so(server, born, onset, is_minor):
    patient = {"resourceType": "Patient", "id": "p1"} | ({} if born is None else {"birthDate": born})
    server.call("PUT", "/fhir/Patient/p1", patient)
    made = body(server.call("POST", "/fhir/Condition", condition(onsetDateTime=onset)))
    assert ("ADOL" in labels(made)) is is_minor


@pytest.mark.parametrize(("years", "is_minor"), [(15, False), (16, True)])
def test_who_is_a_minor_is_as_the_policy_says(server, years, is_minor):
    server.call("PUT", "/fhir/Patient/p1", {"resourceType": "Patient", "id": "p1", "birthDate": "2010-05-04"})
    labeller = Labeller((CARRIED,), server.service, server.store, lambda: years)
    made = labeller.labelled(condition(onsetDateTime="2026-01-01") | {"id": "c1"}, None)
    assert ("ADOL" in labels(made)) is is_minor


def test_a_minor_who_comes_in_the_same_transaction_is_known(server):
    patient = {"resourceType": "Patient", "birthDate": "2015-01-01"}
    rows = [
        {"fullUrl": "urn:uuid:1", "resource": patient, "request": {"method": "POST", "url": "Patient"}},
        {
            "resource": condition() | {"subject": {"reference": "urn:uuid:1"}},
            "request": {"method": "POST", "url": "Condition"},
        },
    ]
    server.call("POST", "/fhir", {"resourceType": "Bundle", "type": "transaction", "entry": rows})
    assert body(server.call("GET", "/fhir/Condition?_security=ADOL"))["total"] == 1


def test_an_update_of_a_binary_loses_no_label(server):
    made = {"resourceType": "Binary", "id": "b", "contentType": "text/plain", "data": "aGFsbG8="}
    server.call("PUT", "/fhir/Binary/b", made | {"meta": {"security": [{"system": LEVEL, "code": "V"}]}})
    server.call("PUT", "/fhir/Binary/b", made)
    assert labels(body(server.call("GET", "/fhir/Binary/b", Accept="application/fhir+json"))) == {"V"}


def test_sets_that_were_loaded_count_beside_the_one_that_is_carried(tmp_path):
    place = Layout(tmp_path).labels
    assert label_sets(tmp_path) == (CARRIED,)
    place.mkdir()
    row = {"system": "http://snomed.info/sct", "code": "86406008", "label": "HIV"}
    (place / "own.json").write_text(json.dumps({"id": "own", "version": "1", "rows": [row]}))
    assert [one.id for one in label_sets(tmp_path)] == ["medchain", "own"]
    (place / "own.json").write_text("{")
    with pytest.raises(InputError, match=r"labels\.json"):
        label_sets(tmp_path)


def test_a_set_with_a_row_that_nobody_knows_is_refused():
    with pytest.raises(InputError, match=r"labels\.row"):
        load_set(b'{"id":"x","version":"1","rows":[{"system":"s","code":"c","label":"NONSENSE"}]}')


URN = "urn:uuid:11111111-1111-4111-8111-111111111111"
NUMBER = {"system": "urn:mrn", "value": "w-1"}
CHILD = {"resourceType": "Patient", "birthDate": "2015-01-01"}
ADULT = {"resourceType": "Patient", "birthDate": "1970-01-01"}


def document(*records: dict, **more: object) -> dict:
    """Make a Bundle that is stored as such, with a Patient first that others may name."""
    entry = [{"resource": one} | ({} if at else {"fullUrl": URN}) for at, one in enumerate(records)]
    return {"resourceType": "Bundle", "id": "b", "type": "collection", "entry": entry, **more}


def about(subject: dict, code: str = "F20.0", **more: object) -> dict:
    return condition(code) | {"subject": subject} | more


def stored(server, resource: dict) -> dict:
    return body(server.call("PUT", f"/fhir/{resource['resourceType']}/{resource['id']}", resource))


OF_MINORS = {
    "a Patient in it": document(CHILD, about({"reference": URN})),
    "a Patient in it by an identifier": document(CHILD | {"identifier": [NUMBER]}, about({"identifier": NUMBER})),
    "a Patient here": document(about({"reference": "Patient/child"})),
    "a Patient here, whose date the one in it does not say": document(
        {"resourceType": "Patient", "id": "child"}, about({"reference": "Patient/child"})
    ),
    "a Patient that a record contains": document(
        about({"reference": "#c"}, contained=[CHILD | {"id": "c"}], onsetDateTime="2026-01-01")
    ),
    "who was one then": document(ADULT, about({"reference": URN}, onsetDateTime="1980-01-01")),
    "who is named beside it": document(
        CHILD, {"resourceType": "Task", "status": "completed", "intent": "order", "code": condition()["code"]}
    ),
    "one of two": document(ADULT | {"id": "x"}, about({"reference": URN}), CHILD | {"id": "y"}),
    "in a Bundle within": document(document(CHILD, about({"reference": URN}))),
    "what its record brings itself": document(
        CHILD, about({"reference": URN}, "J06.9", meta={"security": [{"system": ACT_CODE, "code": "HIV"}]})
    ),
}
OF_NO_MINORS = {
    "an adult": document(ADULT, about({"reference": URN}, onsetDateTime="2026-01-01")),
    "who is of age since": document(
        ADULT | {"birthDate": "2008-01-01"}, about({"reference": URN}, onsetDateTime="2026-06-01")
    ),
    "nothing that is private": document(CHILD, about({"reference": URN}, "J06.9")),
    "whose date nobody knows": document({"resourceType": "Patient"}, about({"reference": URN})),
}


@pytest.mark.parametrize("way", [*OF_MINORS, *OF_NO_MINORS])
def test_a_stored_bundle_that_tells_of_a_minor_is_labelled_so(server, way):
    stored(server, CHILD | {"id": "child"})
    server.call("PUT", "/fhir/Bundle/b", (OF_MINORS | OF_NO_MINORS)[way])
    made = body(server.call("GET", "/fhir/Bundle/b"))
    assert ("ADOL" in labels(made)) is (way in OF_MINORS)
    # What lies in it stays as it came.
    assert made["entry"] == (OF_MINORS | OF_NO_MINORS)[way]["entry"]


def test_a_stored_bundle_has_the_labels_of_what_lies_in_it_and_the_highest_confidentiality(server):
    def marked(*codes: str) -> dict:
        rows = [{"system": LEVEL if len(code) == 1 else ACT_CODE, "code": code} for code in codes]
        return condition("J06.9", meta={"security": rows})

    assert labels(stored(server, document(marked("HIV")))) == {"HIV", "R"}
    assert labels(stored(server, document(marked("N"), id="n"))) == set()
    assert labels(stored(server, document(marked("R"), marked("V", "GDIS"), id="v"))) == {"GDIS", "V"}
    assert labels(stored(server, document(document(marked("SUD")), id="w"))) == {"SUD", "R"}
    # Its next version keeps them, whatever lies in that.
    assert labels(stored(server, document(marked("N")))) == {"HIV", "R"}


def test_what_a_person_took_back_from_a_bundle_its_records_do_not_bring_again(server, person):
    inside = document(condition("J06.9", meta={"security": [{"system": ACT_CODE, "code": "HIV"}]}))
    stored(server, inside)
    assert person("POST", "/fhir/Bundle/b/$meta-delete", taken((ACT_CODE, "HIV"), (LEVEL, "R"))).status_code == 200
    assert labels(stored(server, inside)) == set()
    more = document(*[one["resource"] for one in inside["entry"]], condition("F20.0"))
    assert labels(stored(server, more)) == {"PSY", "R"}
