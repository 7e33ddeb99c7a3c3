"""What R4's page on the RESTful API says, clause by clause: plain HTTP to a running node, which knows nothing of tests.

Each test names its clause: https://hl7.org/fhir/R4/http.html, and the section. What a server may choose there is said
in `docs/spec/rest.md`.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime
from urllib.parse import quote

import pytest

from tests.waiting import eventually

pytestmark = pytest.mark.e2e

SYSTEM = "urn:rest-conformance"
JSON_PATCH = {"Content_Type": "application/json-patch+json; charset=UTF-8"}
XML = "application/fhir+xml"
SET_GENDER = [{"op": "add", "path": "/gender", "value": "other"}]
UUID = "urn:uuid:6f5b7a52-1b1c-4f7a-9a55-00000000000"


def patient(key: str = "", **more: object) -> dict:
    """Make a patient, with an identifier if it is given one."""
    named = {"identifier": [{"system": SYSTEM, "value": key}]} if key else {}
    return {"resourceType": "Patient", **named, "name": [{"family": "Conformance"}], **more}


def by(key: str) -> str:
    """Write the condition that finds such a patient."""
    return f"identifier={SYSTEM}|{key}"


def stored(node, key: str = "", **more: object) -> str:
    """Create a patient; returns its id."""
    answer = node.call("POST", "Patient", patient(key, **more))
    assert answer.status == 201, answer.body
    return answer.document["id"]


def bundle(kind: str, *entries: dict) -> dict:
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries)}


def entry(method: str, url: str, resource: dict | None = None, full_url: str = "", **more: str) -> dict:
    row = {"request": {"method": method, "url": url, **more}}
    row |= {"fullUrl": full_url} if full_url else {}
    return row | ({} if resource is None else {"resource": resource})


def statuses(answer) -> list[str]:
    assert answer.status == 200, answer.body
    return [row["response"]["status"][:3] for row in answer.document["entry"]]


def versions(answer) -> list[str]:
    """List the entity tags of a history."""
    assert answer.status == 200, answer.body
    return [row["response"]["etag"] for row in answer.document.get("entry", [])]


def link(answer, relation: str) -> str:
    """Return the address of a link, as a path below the base; empty for none."""
    found = next((row["url"] for row in answer.document["link"] if row["relation"] == relation), "")
    return found.partition("/fhir/")[2]


def is_outcome(answer) -> bool:
    return answer.document["resourceType"] == "OperationOutcome" and bool(answer.document["issue"])


# Creating, reading, changing.


def test_create(node):
    """§3.1.0.8: 201, with the new id, whatever was sent, and where the version is."""
    answer = node.call("POST", "Patient", patient(id="chosen-by-the-client", meta={"versionId": "7"}))
    made = answer.document
    assert (answer.status, made["id"] == "chosen-by-the-client", made["meta"]["versionId"]) == (201, False, "1")
    assert answer.headers["location"] == f"{node.fhir}/Patient/{made['id']}/_history/1"
    assert answer.headers["etag"] == 'W/"1"'
    stamp = parsedate_to_datetime(answer.headers["last-modified"])
    assert made["meta"]["lastUpdated"][:19] == stamp.isoformat()[:19]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("Patient", {"resourceType": "Observation"}, 400),
        ("Patient", b"{", 400),
        ("Patient", {"resourceType": "Patient", "birthDate": "1970-02-30"}, 422),
        ("Patient", {"resourceType": "Patient", "colour": "red"}, 422),
        ("Nothing", {"resourceType": "Nothing"}, 404),
    ],
)
def test_what_cannot_be_created_is_refused_with_an_outcome(node, path, body, status):
    """§3.1.0.8: 400 for what cannot be parsed, 404 for a type that is not supported, 422 for what breaks a rule."""
    answer = node.call("POST", path, body)
    assert (answer.status, is_outcome(answer)) == (status, True), answer.body


def test_an_outcome_says_where(node):
    """R4 operationoutcome.html, §2.43.4: `expression` is a FHIRPath to the element."""
    answer = node.call("POST", "Patient", patient(birthDate="1970-02-30"))
    assert answer.document["issue"][0]["expression"] == ["Patient.birthDate"]


def test_read_and_head(node):
    """§3.1.0.2: 200 with ETag and Last-Modified; 404 where it is unknown, 410 where it is deleted; HEAD."""
    name = stored(node)
    answer, head = node.call("GET", f"Patient/{name}"), node.call("HEAD", f"Patient/{name}")
    assert (answer.status, answer.headers["etag"], answer.document["id"]) == (200, 'W/"1"', name)
    assert (head.status, head.body, head.headers["etag"]) == (200, b"", 'W/"1"')
    assert head.headers["last-modified"] == answer.headers["last-modified"]
    assert node.call("GET", "Patient/none-of-this-id").status == 404
    node.call("DELETE", f"Patient/{name}")
    gone = node.call("GET", f"Patient/{name}")
    assert (gone.status, is_outcome(gone)) == (410, True)


def test_vread(node):
    """§3.1.0.3: each version as it was; 404 for one that never was, 410 for that of a deletion."""
    name = stored(node)
    node.call("PUT", f"Patient/{name}", patient(id=name, active=True))
    node.call("DELETE", f"Patient/{name}")
    first, second = (node.call("GET", f"Patient/{name}/_history/{number}") for number in (1, 2))
    assert ("active" in first.document, second.document["active"]) == (False, True)
    assert (first.headers["etag"], second.headers["etag"]) == ('W/"1"', 'W/"2"')
    assert [node.call("GET", f"Patient/{name}/_history/{number}").status for number in ("3", "4", "x")] == [
        *(410, 404, 404),
    ]


def test_update(node):
    """§3.1.0.4: 200 and the next version; 400 where the body has no id, or another than the address."""
    name = stored(node)
    answer = node.call("PUT", f"Patient/{name}", patient(id=name, gender="female"))
    assert (answer.status, answer.headers["etag"], answer.document["meta"]["versionId"]) == (200, 'W/"2"', "2")
    assert answer.headers["location"].endswith(f"/Patient/{name}/_history/2")
    for body in (patient(), patient(id="another")):
        assert node.call("PUT", f"Patient/{name}", body).status == 400


def test_update_as_create(node):
    """§3.1.0.4.1: 201 under the id of the client's choice, also of what was deleted (§3.1.0.7)."""
    assert node.call("PUT", "Patient/rest-upsert", patient(id="rest-upsert")).status == 201
    assert node.call("DELETE", "Patient/rest-upsert").status == 204
    again = node.call("PUT", "Patient/rest-upsert", patient(id="rest-upsert"))
    assert (again.status, again.headers["etag"]) == (201, 'W/"3"')


@pytest.mark.parametrize(
    ("tag", "status"),
    [
        ('W/"1"', 200),
        ('"1"', 200),
        ('W/"8", W/"1"', 200),
        ("*", 200),
        ('W/"2"', 412),
        ('W/"0"', 412),
        ("not a tag", 400),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_a_version_that_is_not_the_newest_is_not_changed(node, method, tag, status):
    """§3.1.0.5: If-Match with a version id; 412 where it is another one. Strong tags and lists as RFC 9110 §13.1.1."""
    name = stored(node)
    body = {"PUT": patient(id=name), "PATCH": SET_GENDER, "DELETE": None}[method]
    kind = JSON_PATCH if method == "PATCH" else {}
    answer = node.call(method, f"Patient/{name}", body, If_Match=tag, **kind)
    assert answer.status == (204 if (method, status) == ("DELETE", 200) else status), answer.body


def test_conditional_update(node):
    """§3.1.0.4.3: none creates, under the id of the body if it has one; one is changed; several are 412."""
    made = node.call("PUT", f"Patient?{by('update')}", patient("update"))
    again = node.call("PUT", f"Patient?{by('update')}", patient("update", active=True))
    assert (made.status, again.status, again.document["id"]) == (201, 200, made.document["id"])
    chosen = node.call("PUT", f"Patient?{by('chosen')}", patient("chosen", id="rest-chosen"))
    assert (chosen.status, chosen.document["id"]) == (201, "rest-chosen")
    assert node.call("PUT", f"Patient?{by('chosen')}", patient("chosen", id="rest-other")).status == 400
    stored(node, "update")
    several = node.call("PUT", f"Patient?{by('update')}", patient("update"))
    assert (several.status, is_outcome(several)) == (412, True)
    assert len(versions(node.call("GET", f"Patient/{made.document['id']}/_history"))) == 2


def test_conditional_create(node):
    """§3.1.0.8.1: If-None-Exist; none creates (201), one is answered with 200 and nothing is made, several are 412."""
    answers = [node.call("POST", "Patient", patient("create"), If_None_Exist=by("create")) for _ in range(2)]
    assert [one.status for one in answers] == [201, 200]
    assert answers[0].headers["location"] == answers[1].headers["location"]
    stored(node, "create")
    assert node.call("POST", "Patient", patient("create"), If_None_Exist=by("create")).status == 412
    # What is no condition makes nothing unconditionally.
    assert node.call("POST", "Patient", patient("create"), If_None_Exist="nonsense=1").status == 400


def test_conditional_delete(node):
    """§3.1.0.7.1: none and one are an ordinary delete; several are 412, and all of them stay."""
    assert node.call("DELETE", f"Patient?{by('delete')}").status == 204
    names = [stored(node, "delete")]
    assert node.call("DELETE", f"Patient?{by('delete')}").status == 204
    assert node.call("GET", f"Patient/{names[0]}").status == 410
    names = [stored(node, "delete") for _ in range(2)]
    assert node.call("DELETE", f"Patient?{by('delete')}").status == 412
    assert [node.call("GET", f"Patient/{name}").status for name in names] == [200, 200]


def test_conditional_patch(node):
    """§3.1.0.6: patch takes conditions as update does; none is 404, several are 412."""
    url = f"Patient?{by('patch')}"
    assert node.call("PATCH", url, SET_GENDER, **JSON_PATCH).status == 404
    name = stored(node, "patch")
    one = node.call("PATCH", url, SET_GENDER, **JSON_PATCH)
    assert (one.status, one.document["id"], one.document["gender"]) == (200, name, "other")
    stored(node, "patch")
    assert node.call("PATCH", url, SET_GENDER, **JSON_PATCH).status == 412


@pytest.mark.parametrize("form", ["json", "xml"])
def test_fhirpath_patch(node, form):
    """§3.1.0.6 with R4 fhirpatch.html: add, insert, delete, replace and move, in both of FHIR's formats."""
    name = stored(node, gender="male", birthDate="1970-01-01")
    rows = (
        ("add", "Patient", {"name": "active", "value": "Boolean:true"}),
        ("insert", "Patient.name[0].given", {"index": "Integer:0", "value": "String:B"}),
        ("insert", "Patient.name[0].given", {"index": "Integer:0", "value": "String:A"}),
        ("move", "Patient.name[0].given", {"source": "Integer:0", "destination": "Integer:1"}),
        ("replace", "Patient.gender", {"value": "Code:female"}),
        ("delete", "Patient.birthDate", {}),
    )
    # A list that is not there yet cannot be inserted into: one more version has it.
    node.call("PUT", f"Patient/{name}", patient(id=name, gender="male", birthDate="1970-01-01", name=[NAME]))
    body, kind = (fhirpath_json(rows), "application/fhir+json") if form == "json" else (fhirpath_xml(rows), XML)
    answer = node.call("PATCH", f"Patient/{name}", body, Content_Type=kind)
    assert answer.status == 200, answer.body
    found = answer.document
    assert (found["active"], found["gender"], "birthDate" in found) == (True, "female", False)
    assert found["name"][0]["given"] == ["B", "A", "C"]


NAME = {"family": "Conformance", "given": ["C"]}


def fhirpath_json(rows) -> dict:
    """Write operations of a FHIRPath Patch in JSON."""
    operations = []
    for kind, path, more in rows:
        parts = [{"name": "type", "valueCode": kind}, {"name": "path", "valueString": path}]
        for name, value in more.items():
            of, _, text = value.rpartition(":")
            given = {"Boolean": text == "true", "Integer": int(text) if text.isdigit() else 0}.get(of, text)
            parts.append({"name": name, f"value{of or 'String'}": given})
        operations.append({"name": "operation", "part": parts})
    return {"resourceType": "Parameters", "parameter": operations}


def fhirpath_xml(rows) -> bytes:
    """Write them in XML."""
    operations = ""
    for kind, path, more in rows:
        parts = [("type", "Code", kind), ("path", "String", path)]
        parts += [
            (name, value.rpartition(":")[0] or "String", value.rpartition(":")[2]) for name, value in more.items()
        ]
        text = "".join(f'<part><name value="{a}"/><value{b} value="{c}"/></part>' for a, b, c in parts)
        operations += f'<parameter><name value="operation"/>{text}</parameter>'
    return f'<Parameters xmlns="http://hl7.org/fhir">{operations}</Parameters>'.encode()


def test_json_patch(node):
    """§3.1.0.6 with RFC 6902: what cannot be applied changes nothing (422); another media type is 415."""
    name = stored(node)
    wrong = [{"op": "test", "path": "/name/0/family", "value": "Other"}, *SET_GENDER]
    assert node.call("PATCH", f"Patient/{name}", wrong, **JSON_PATCH).status == 422
    broken = [{"op": "replace", "path": "/birthDate", "value": "soon"}]
    assert node.call("PATCH", f"Patient/{name}", broken, **JSON_PATCH).status == 422
    assert node.call("PATCH", f"Patient/{name}", b"{}", Content_Type="application/merge-patch+json").status == 415
    assert versions(node.call("GET", f"Patient/{name}/_history")) == ['W/"1"']
    done = node.call("PATCH", f"Patient/{name}", SET_GENDER, **JSON_PATCH)
    assert (done.status, done.headers["etag"]) == (200, 'W/"2"')


def test_delete_keeps_the_history(node):
    """§3.1.0.7: 204, also again; reads are 410 then, searches do not find it, and its versions can still be read."""
    name = stored(node, "tombstone")
    assert [node.call("DELETE", f"Patient/{name}").status for _ in range(2)] == [204, 204]
    assert node.call("GET", f"Patient/{name}").status == 410
    assert "entry" not in node.call("GET", f"Patient?{by('tombstone')}").document
    assert node.call("GET", f"Patient/{name}/_history/1").status == 200
    rows = node.call("GET", f"Patient/{name}/_history").document["entry"]
    assert [(row["request"]["method"], "resource" in row) for row in rows] == [("DELETE", False), ("POST", True)]


def test_conditional_read(node):
    """§3.1.0.5.4 (conditional read): If-None-Match and If-Modified-Since, 304 where nothing is new."""
    name = stored(node)
    answer = node.call("GET", f"Patient/{name}")
    when = parsedate_to_datetime(answer.headers["last-modified"])
    before = format_datetime(when - timedelta(days=1), usegmt=True)
    same = answer.headers["last-modified"]
    for headers, status in (
        ({"If_None_Match": 'W/"1"'}, 304),
        ({"If_None_Match": '"1"'}, 304),
        ({"If_None_Match": 'W/"2"'}, 200),
        ({"If_Modified_Since": same}, 304),
        ({"If_Modified_Since": before}, 200),
        # RFC 9110 §13.1.3: where both are there, the date is passed over.
        ({"If_None_Match": 'W/"2"', "If_Modified_Since": same}, 200),
    ):
        told = node.call("GET", f"Patient/{name}", **headers)
        assert (told.status, told.body == b"") == (status, status == 304), headers


# Histories.


def test_histories_page_by_page(node):
    """§3.1.0.12: of a resource, a type and all, the newest first, `_count` and links to the next pages."""
    name = stored(node)
    for number in range(4):
        node.call("PUT", f"Patient/{name}", patient(id=name, active=number % 2 == 0))
    whole = versions(node.call("GET", f"Patient/{name}/_history"))
    assert whole == [f'W/"{number}"' for number in (5, 4, 3, 2, 1)]
    seen, path = [], f"Patient/{name}/_history?_count=2"
    while path:
        answer = node.call("GET", path)
        assert (answer.document["type"], len(answer.document["entry"]) <= 2) == ("history", True)
        seen += versions(answer)
        # Written between pages: it is on none of them.
        node.call("PUT", f"Patient/{name}", patient(id=name))
        path = link(answer, "next")
    assert seen == whole
    for place in ("Patient/_history?_count=3", "_history?_count=1000"):
        # Among all types are the AuditEvents of what others did, which may be many.
        of_patients = (row["fullUrl"] for row in past(node, place) if "/Patient/" in row["fullUrl"])
        assert [next(of_patients), next(of_patients)] == [f"{node.fhir}/Patient/{name}"] * 2


def past(node, path: str) -> Iterator[dict]:
    """List the entries of a history, page by page."""
    while path:
        answer = node.call("GET", path)
        yield from answer.document.get("entry", [])
        path = link(answer, "next")


def test_a_history_since_and_at(node):
    """§3.1.0.12: `_since` has what was made at or after an instant, `_at` what was there at some time within one."""
    name = stored(node)
    made = node.call("GET", f"Patient/{name}").document["meta"]["lastUpdated"]
    path = f"Patient/{name}/_history"
    assert versions(node.call("GET", f"{path}?_since={quote(made)}")) == ['W/"1"']
    assert versions(node.call("GET", f"{path}?_since=2999-01-01T00:00:00Z")) == []
    assert versions(node.call("GET", f"{path}?_at={quote(made)}")) == ['W/"1"']
    assert versions(node.call("GET", f"{path}?_at=2001")) == []
    assert node.call("GET", f"{path}?_since=yesterday").status == 400
    assert node.call("GET", "Patient/none-of-this-id/_history").status == 404


# What comes back, and in which form.


def test_what_comes_back_of_a_write(node):
    """§3.1.0.1.7: Prefer `return=minimal`, `representation` and `OperationOutcome`; `handling` (§3.1.1.3); `wait`."""
    minimal = node.call("POST", "Patient", patient(), Prefer="return=minimal")
    assert (minimal.status, minimal.body, "location" in minimal.headers) == (201, b"", True)
    whole = node.call("POST", "Patient", patient(), Prefer="return=representation")
    assert whole.document["resourceType"] == "Patient"
    assert is_outcome(node.call("POST", "Patient", patient(), Prefer="return=OperationOutcome"))
    lenient = node.call("GET", "Patient?colour=red&_count=1", Prefer="handling=lenient")
    assert (lenient.status, "colour" in link(lenient, "self")) == (200, False)
    assert node.call("GET", "Patient?colour=red", Prefer="handling=strict").status == 400
    assert eventually(lambda: waited_for(node).startswith("final"))


def waited_for(node) -> str:
    """Create a patient, and wait for its anchor; returns how far that is."""
    return node.call("POST", "Patient", patient(), Prefer="return=minimal; wait=30").headers["medchain-anchored"]


FORMS = [
    ("", "application/fhir+json", "application/fhir+json"),
    ("", "application/json", "application/fhir+json"),
    ("", "application/fhir+xml", XML),
    ("", "text/xml", XML),
    ("", "application/xml;q=0.9, application/fhir+json;q=0.2", XML),
    ("", "*/*", "application/fhir+json"),
    ("", "application/fhir+json; fhirVersion=4.0", "application/fhir+json"),
    ("?_format=xml", "application/fhir+json", XML),
    ("?_format=json", XML, "application/fhir+json"),
    ("?_format=text/xml", "", XML),
    ("?_format=application/fhir%2Bxml", "", XML),
    ("?_format=application/fhir+xml", "", XML),
    ("?_format=application/json", XML, "application/fhir+json"),
]


@pytest.mark.parametrize(("query", "accept", "kind"), FORMS)
def test_formats(node, query, accept, kind):
    """§3.1.0.1.8 and §3.1.0.1.11: by Accept and by `_format`, which has precedence."""
    name = stored(node, gender="female")
    answer = node.call("GET", f"Patient/{name}{query}", **({"Accept": accept} if accept else {}))
    assert (answer.status, answer.headers["content-type"].partition(";")[0]) == (200, kind)
    assert answer.body.lstrip().startswith(b"{" if kind.endswith("json") else b"<")


def test_forms_that_are_not_served(node):
    """§3.1.0.1.8: 406 for what cannot be sent, 415 for what cannot be taken."""
    name = stored(node)
    assert node.call("GET", f"Patient/{name}?_format=turtle").status == 406
    assert node.call("GET", f"Patient/{name}", Accept="application/fhir+json; fhirVersion=3.0").status == 406
    assert node.call("GET", f"Patient/{name}", Accept="image/png").status == 406
    assert node.call("POST", "Patient", b"a,b", Content_Type="text/csv").status == 415


def test_xml_goes_in_and_comes_out(node):
    """§3.1.0.1.8, R4 xml.html and json.html: one resource in either form, numbers to the letter."""
    text = (
        '<Observation xmlns="http://hl7.org/fhir"><status value="final"/><code><text value="w"/></code>'
        '<valueQuantity><value value="5.60"/></valueQuantity></Observation>'
    )
    made = node.call("POST", "Observation", text.encode(), Content_Type=XML, Accept="application/fhir+json")
    assert (made.status, b'"value":5.60' in made.body) == (201, True), made.body
    back = node.call("GET", f"Observation/{made.document['id']}", Accept=XML)
    assert b'<value value="5.60"/>' in back.body


def test_pretty_parts_and_summaries(node):
    """§3.1.0.1.12 (`_pretty`), search.html §3.1.1.5.8 (`_summary`), §3.1.1.5.9 (`_elements`): on reads as well."""
    name = stored(node, contact=[{"name": {"text": "A"}}], birthDate="1970-01-01", text=NARRATIVE)
    path = f"Patient/{name}"
    assert node.call("GET", f"{path}?_pretty=true").body.count(b"\n") > 5
    found = {kind: set(node.call("GET", f"{path}?_summary={kind}").document) for kind in ("true", "text", "data")}
    assert found["true"] == {"resourceType", "id", "meta", "name", "birthDate"}
    assert found["text"] == {"resourceType", "id", "meta", "text"}
    assert found["data"] == {"resourceType", "id", "meta", "name", "birthDate", "contact"}
    assert "contact" in node.call("GET", f"{path}?_summary=false").document
    some = node.call("GET", f"{path}?_elements=birthDate").document
    assert set(some) == {"resourceType", "id", "meta", "birthDate"}
    assert [tag["code"] for tag in some["meta"]["tag"]] == ["SUBSETTED"]


NARRATIVE = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">C</div>'}


def test_packed_answers_names_of_requests_and_browsers(node):
    """§3.1.0.1.15 (compression), §3.1.0.1.14 (X-Request-Id), §3.1.0.1.4 with CORS (Fetch §3.2)."""
    body = gzip.compress(json.dumps(patient("gzip", text=NARRATIVE | {"div": LONG})).encode())
    made = node.call("POST", "Patient", body, Content_Encoding="gzip")
    assert made.status == 201, made.body
    packed = node.call("GET", f"Patient/{made.document['id']}", Accept_Encoding="gzip", X_Request_Id="abc-1")
    assert (packed.headers["content-encoding"], packed.headers["x-request-id"]) == ("gzip", "abc-1")
    assert json.loads(gzip.decompress(packed.body))["id"] == made.document["id"]
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "PUT"}
    preflight = node.ask("OPTIONS", "/fhir/Patient/x", None, asked | {"Access-Control-Request-Headers": "if-match"})
    assert preflight.status in (200, 204)
    assert preflight.headers["access-control-allow-origin"] in ("*", "https://app.example")
    assert "PUT" in preflight.headers["access-control-allow-methods"]
    assert "if-match" in preflight.headers["access-control-allow-headers"].lower()
    shown = node.call("GET", f"Patient/{made.document['id']}", Origin="https://app.example")
    assert {"etag", "location"} <= {
        one.strip().lower() for one in shown.headers["access-control-expose-headers"].split(",")
    }


LONG = f'<div xmlns="http://www.w3.org/1999/xhtml">{"C " * 2_000}</div>'


# Batches and transactions.


def test_a_batch_does_each_entry_for_itself(node):
    """§3.1.0.11: a failure of one entry leaves the others; answers stand in the order of what was asked."""
    name = stored(node, "batch")
    answer = node.call(
        "POST",
        "",
        bundle(
            "batch",
            entry("GET", f"Patient/{name}"),
            entry("POST", "Patient", patient()),
            entry("PUT", "Patient/rest-batch", patient(id="rest-batch")),
            entry("GET", f"Patient?{by('batch')}"),
            entry("POST", f"Patient/_search?{by('batch')}"),
            entry("DELETE", "Patient/none-of-this-id"),
            entry("GET", "Patient/none-of-this-id"),
            entry("POST", "Patient", {"resourceType": "Patient", "colour": "red"}),
            entry("HEAD", f"Patient/{name}"),
        ),
    )
    assert answer.document["type"] == "batch-response"
    assert statuses(answer) == ["200", "201", "201", "200", "200", "204", "404", "422", "200"]
    rows = answer.document["entry"]
    assert rows[0]["resource"]["id"] == name
    assert [rows[place]["resource"]["entry"][0]["resource"]["id"] for place in (3, 4)] == [name, name]
    assert rows[6]["response"]["outcome"]["resourceType"] == "OperationOutcome"


def test_a_transaction_replaces_references_and_keeps_the_order_of_answers(node):
    """§3.1.0.11.2: deletes, creates, changes, then reads; `urn:uuid` and conditional references; answers in order."""
    gone, kept, there = stored(node, "gone"), stored(node), stored(node, "there")
    child, mother = f"{UUID}1", f"{UUID}2"
    answer = node.call(
        "POST",
        "",
        bundle(
            "transaction",
            entry("GET", f"Patient/{kept}"),
            entry("PUT", f"Patient/{kept}", patient(id=kept, active=True), ifMatch='W/"1"'),
            entry("POST", "Observation", observation(child, [{"reference": f"Patient?{by('there')}"}]), f"{UUID}3"),
            entry(
                "POST", "Patient", patient("child", link=[{"other": {"reference": mother}, "type": "seealso"}]), child
            ),
            entry("POST", "Patient", patient("gone"), mother, ifNoneExist=by("gone")),
            entry("DELETE", f"Patient/{gone}"),
            entry("PATCH", f"Patient?{by('there')}", parameters()),
        ),
    )
    assert statuses(answer) == ["200", "200", "201", "201", "201", "204", "200"]
    rows = answer.document["entry"]
    assert rows[0]["resource"]["active"] is True
    made = node.call("GET", place_of(rows[2])).document
    assert made["subject"]["reference"] == place_of(rows[3])
    assert made["focus"][0]["reference"] == f"Patient/{there}"
    assert node.call("GET", place_of(rows[3])).document["link"][0]["other"]["reference"] == place_of(rows[4])
    assert node.call("GET", f"Patient/{there}").document["gender"] == "other"


def observation(subject: str, focus: list[dict]) -> dict:
    """Make an observation of somebody."""
    named = {"status": "final", "code": {"text": "x"}, "subject": {"reference": subject}}
    return {"resourceType": "Observation", **named, **({"focus": focus} if focus else {})}


def parameters() -> dict:
    """Make a FHIRPath Patch that sets the gender."""
    return fhirpath_json([("add", "Patient", {"name": "gender", "value": "Code:other"})])


def place_of(row: dict) -> str:
    """Read ``Type/id`` from the location of an answered entry."""
    return "/".join(row["response"]["location"].partition("/_history/")[0].split("/")[-2:])


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        (entry("POST", "Patient", {"resourceType": "Patient", "colour": "red"}), 422),
        (entry("PUT", "Patient/rest-atomic", patient(id="rest-atomic"), ifMatch='W/"5"'), 412),
        (entry("POST", "Patient", patient(managingOrganization={"reference": f"Organization?{by('none')}"})), 400),
        (entry("PUT", "Patient?identifier=urn:rest-conformance|twice", patient("twice")), 412),
        (entry("POST", "Patient", patient("twice"), ifNoneExist=by("twice")), 412),
        (entry("DELETE", "Patient?identifier=urn:rest-conformance|twice"), 412),
        (entry("PATCH", "Patient/none-of-this-id", parameters()), 404),
        (entry("POST", "Patient", patient(), f"{UUID}1"), 400),
    ],
)
def test_of_a_transaction_all_is_done_or_nothing(node, wrong, status):
    """§3.1.0.11.2: one entry that cannot be done refuses all of them, with an outcome that names it."""
    while len(node.call("GET", f"Patient?{by('twice')}").document.get("entry", [])) < 2:
        stored(node, "twice")
    good = entry("POST", "Patient", patient("atomic"), f"{UUID}1")
    refused = node.call("POST", "", bundle("transaction", good, wrong))
    assert (refused.status, is_outcome(refused)) == (status, True), refused.body
    assert "entry" not in node.call("GET", f"Patient?{by('atomic')}").document


def test_a_transaction_of_xml_and_one_of_nothing(node):
    """§3.1.0.11, §3.1.0.1.8: in XML as in JSON; an empty Bundle is answered by an empty one."""
    text = (
        '<Bundle xmlns="http://hl7.org/fhir"><type value="transaction"/><entry><resource><Patient>'
        '<active value="true"/></Patient></resource><request><method value="POST"/><url value="Patient"/></request>'
        "</entry></Bundle>"
    )
    answer = node.call("POST", "", text.encode(), Content_Type=XML, Accept=XML)
    assert (answer.status, b'<status value="201' in answer.body) == (200, True), answer.body
    assert node.call("POST", "", {"resourceType": "Bundle", "type": "batch"}).document["type"] == "batch-response"


# What is said of it all.


def test_the_capability_statement_says_so(node):
    """§3.1.0.10: at `metadata`, for anybody, in either format; R4 capabilitystatement.html has its elements."""
    public = node.ask("GET", "/fhir/metadata")
    rest = public.document["rest"][0]
    assert (public.status, public.document["fhirVersion"], rest["mode"]) == (200, "4.0.1", "server")
    assert node.ask("GET", "/fhir/metadata?_format=xml").body.startswith(b"<?xml")
    assert {one["code"] for one in rest["interaction"]} == {"transaction", "batch", "search-system", "history-system"}
    row = next(one for one in rest["resource"] if one["type"] == "Patient")
    assert {one["code"] for one in row["interaction"]} == {
        *("read", "vread", "update", "patch", "delete", "history-instance", "history-type", "create", "search-type")
    }
    said = ("updateCreate", "conditionalCreate", "conditionalUpdate", "conditionalRead", "conditionalDelete")
    assert [row[one] for one in said] == [True, True, True, "full-support", "single"]
    assert (row["versioning"], row["readHistory"], rest["security"]["cors"]) == ("versioned-update", True, True)
    assert set(public.document["patchFormat"]) == {"application/json-patch+json", "application/fhir+json", XML}


def test_compartments(node):
    """R4 compartmentdefinition.html (§2.45): a type or all of one patient's; `*` has the patient as well."""
    name = stored(node)
    seen = node.call("POST", "Observation", observation(f"Patient/{name}", [])).document["id"]
    inside = node.call("GET", f"Patient/{name}/Observation").document["entry"]
    assert [row["resource"]["id"] for row in inside] == [seen]
    everything = node.call("GET", f"Patient/{name}/*").document["entry"]
    assert {row["resource"]["id"] for row in everything} >= {seen, name}
    assert "entry" not in node.call("GET", f"Patient/{name}/Condition").document
    assert node.call("GET", f"Observation/{seen}/Condition").status == 404


def test_a_binary_is_its_own_bytes_or_a_resource(node):
    """R4 binary.html §2.40.2: raw under its own type, and in FHIR's formats where they are asked for."""
    made = node.call("POST", "Binary", b"\x00\x01pdf", Content_Type="application/pdf")
    name = made.headers["location"].partition("/Binary/")[2].partition("/")[0]
    raw, told = node.call("GET", f"Binary/{name}"), node.call("GET", f"Binary/{name}", Accept="application/fhir+json")
    assert (raw.headers["content-type"], raw.body) == ("application/pdf", b"\x00\x01pdf")
    assert (told.document["contentType"], told.document["data"]) == ("application/pdf", "AAFwZGY=")
