"""DocumentReference with its original: stored, found, returned to the byte (FHIR R4 DocumentReference, Attachment).

Found by what the Chinese hospital association's trial guide of 2024 names: patient identifier, institution code, type,
date.
"""

from __future__ import annotations

import base64
import hashlib
import json

import pytest

CDA = '<?xml version="1.0"?><ClinicalDocument xmlns="urn:hl7-org:v3">出院小结</ClinicalDocument>'.encode()
DICOM = bytes(128) + b"DICM" + bytes(range(256))
IDENTIFIER = {"system": "urn:oid:2.16.156.10011.1.3", "value": "110101199003070011"}
INSTITUTION = {"system": "urn:oid:2.16.156.10011.1.5", "value": "12100000400686388T"}
TYPE = {"system": "http://loinc.org", "code": "18842-5"}


def sha1(content: bytes) -> str:
    return base64.b64encode(hashlib.sha1(content, usedforsecurity=False).digest()).decode()


def reference(url: str, **attachment: object) -> dict:
    return {
        "resourceType": "DocumentReference",
        "status": "current",
        "type": {"coding": [TYPE]},
        "subject": {"reference": "urn:uuid:a1"},
        "date": "2026-11-20T08:00:00+08:00",
        "custodian": {"reference": "urn:uuid:a2"},
        "content": [{"attachment": {"contentType": "text/xml", "url": url, **attachment}}],
    }


def entry(name: str, resource: dict) -> dict:
    request = {"method": "POST", "url": resource["resourceType"]}
    return {"fullUrl": f"urn:uuid:{name}", "resource": resource, "request": request}


def bundle(content: bytes, content_type: str, **attachment: object) -> dict:
    original = {
        "resourceType": "Binary",
        "contentType": content_type,
        "securityContext": {"reference": "urn:uuid:a1"},
        "data": base64.b64encode(content).decode(),
    }
    rows = [
        entry("a1", {"resourceType": "Patient", "identifier": [IDENTIFIER]}),
        entry("a2", {"resourceType": "Organization", "identifier": [INSTITUTION], "name": "仁和医院"}),
        entry("a3", original),
        entry("a4", reference("urn:uuid:a3", **attachment)),
    ]
    return {"resourceType": "Bundle", "type": "transaction", "entry": rows}


def places(response) -> list[str]:
    assert response.status_code == 422, response.data
    return [row["expression"][0] for row in json.loads(response.data)["issue"]]


@pytest.mark.parametrize(
    ("content", "content_type"),
    [(CDA, "text/xml"), (CDA, "application/xml"), (b"%PDF-1.7 \xff", "application/pdf"), (DICOM, "application/dicom")],
)
def test_a_document_is_stored_whole_found_by_what_the_guide_names_and_returned_to_the_byte(
    server, content, content_type
):
    response = server.call("POST", "/fhir", bundle(content, content_type, size=len(content), hash=sha1(content)))
    assert response.status_code == 200, response.data
    server.call("POST", "/fhir/DocumentReference", plain("https://elsewhere.example/x"))
    for query in (
        f"patient.identifier={IDENTIFIER['system']}|{IDENTIFIER['value']}",
        f"custodian.identifier={INSTITUTION['system']}|{INSTITUTION['value']}",
        f"patient.identifier={IDENTIFIER['value']}&type=http://loinc.org|18842-5",
        f"custodian.identifier={INSTITUTION['value']}&date=ge2026-11-20&date=lt2026-11-21",
    ):
        found = json.loads(server.call("GET", f"/fhir/DocumentReference?{query}", Prefer="handling=strict").data)
        (row,) = found["entry"]
        url = row["resource"]["content"][0]["attachment"]["url"]
        read = server.call("GET", f"/fhir/{url}", Accept="*/*")
        assert (read.data, read.headers["Content-Type"]) == (content, content_type)
    for query in ("patient.identifier=110101199003070012", "type=http://loinc.org|1-8", "date=lt2026-11-19"):
        found = json.loads(server.call("GET", f"/fhir/DocumentReference?{query}").data)
        assert found.get("entry", []) == []


def test_an_institution_may_be_named_by_its_code_alone(server):
    given = reference("https://elsewhere.example/x") | {"custodian": {"identifier": INSTITUTION}}
    del given["subject"]
    assert server.call("POST", "/fhir/DocumentReference", given).status_code == 201
    query = f"custodian:identifier={INSTITUTION['system']}|{INSTITUTION['value']}"
    found = json.loads(server.call("GET", f"/fhir/DocumentReference?{query}", Prefer="handling=strict").data)
    assert found["total"] == 1


@pytest.mark.parametrize(
    ("attachment", "wrong"),
    [
        ({"size": 1}, ["size"]),
        ({"hash": sha1(b"other")}, ["hash"]),
        ({"size": 1, "hash": base64.b64encode(hashlib.sha256(CDA).digest()).decode()}, ["size", "hash"]),
    ],
)
def test_a_size_or_hash_that_is_not_the_originals_refuses_the_whole(server, attachment, wrong):
    place = "Bundle.entry[3].resource.content[0].attachment"
    response = server.call("POST", "/fhir", bundle(CDA, "text/xml", **attachment))
    assert places(response) == [f"{place}.{name}" for name in wrong]
    assert json.loads(server.call("GET", "/fhir/DocumentReference").data)["total"] == 0


@pytest.fixture
def original(server) -> str:
    made = server.call("POST", "/fhir/Binary", CDA, Content_Type="text/xml")
    return "/".join(made.headers["Location"].split("/")[-4:-2])


def plain(url: str, **attachment: object) -> dict:
    given = reference(url, **attachment)
    return {name: value for name, value in given.items() if name not in ("subject", "custodian")}


def test_what_is_said_of_an_original_that_is_here_must_be_so(server, original):
    base = "http://127.0.0.1:41000/fhir/"
    for url in (original, base + original, f"{original}/_history/1"):
        response = server.call("POST", "/fhir/DocumentReference", plain(url, size=7, hash=sha1(CDA)))
        assert places(response) == ["DocumentReference.content[0].attachment.size"]
        response = server.call("POST", "/fhir/DocumentReference", plain(url, size=len(CDA), hash=sha1(b"x")))
        assert places(response) == ["DocumentReference.content[0].attachment.hash"]
        response = server.call("POST", "/fhir/DocumentReference", plain(url, size=len(CDA), hash=sha1(CDA)))
        assert response.status_code == 201


def test_what_is_said_of_bytes_that_come_with_it_must_be_so(server):
    given = plain("", data=base64.b64encode(CDA).decode(), size=len(CDA), hash=sha1(CDA))
    del given["content"][0]["attachment"]["url"]
    assert server.call("POST", "/fhir/DocumentReference", given).status_code == 201
    given["content"][0]["attachment"]["size"] = 3
    assert places(server.call("POST", "/fhir/DocumentReference", given)) == [
        "DocumentReference.content[0].attachment.size"
    ]


def test_an_original_that_is_not_here_or_is_erased_is_taken_as_it_is_said(server, original):
    for url in ("https://elsewhere.example/x", "Binary/none", "Binary/none/_history/1"):
        response = server.call("POST", "/fhir/DocumentReference", plain(url, size=7, hash=sha1(b"x")))
        assert response.status_code == 201, response.data
    server.store.erase(server.store.get("Binary", original.split("/")[1]).epoch_id, 1)
    assert server.call("POST", "/fhir/DocumentReference", plain(original, size=7)).status_code == 201


def test_who_may_not_read_an_original_does_not_learn_of_it_by_guessing(server, original):
    scope = "system/DocumentReference.cruds"
    for given in (plain(original, size=7), plain(original, hash=sha1(b"x"))):
        assert server.call("POST", "/fhir/DocumentReference", given, scope=scope).status_code == 201
