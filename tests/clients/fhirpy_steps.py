"""What a hospital's program does with fhirpy, its synchronous client: `fhirpy_steps.py BASE TOKEN`."""

from __future__ import annotations

import sys
import uuid

import requests
from fhirpy import SyncFHIRClient
from fhirpy.base.exceptions import MultipleResourcesFound, OperationOutcome, ResourceNotFound


def main(base: str, token: str) -> None:
    """Take the steps; whatever is not as the specification has it ends the program."""
    client = SyncFHIRClient(base, authorization=f"Bearer {token}")
    mark = uuid.uuid4().hex
    wang = client.resource("Patient", name=[{"family": "王", "given": ["芳"]}], identifier=[{"value": mark}])
    wang.save()
    assert wang.id
    assert wang["meta"]["versionId"] == "1"
    print("create")

    again = client.reference("Patient", wang.id).to_resource()
    assert again.serialize() == wang.serialize()
    print("read")

    again["birthDate"] = "1980-02-29"
    again.save()
    assert again["meta"]["versionId"] == "2"
    print("update")

    # fhirpy's patch is a JSON Merge Patch, which R4 does not have (§3.1.0.6): refused, and nothing is changed.
    try:
        client.patch(again, gender="female")
    except OperationOutcome as error:
        assert error.resource["issue"][0]["severity"] == "error"
    again["gender"] = "female"
    again.save(fields=None)
    assert again["meta"]["versionId"] == "3"
    print("no merge patch")

    for number in range(23):
        client.resource(
            "Observation",
            status="final",
            code={"text": "pulse"},
            subject=wang.to_reference(),
            valueQuantity={"value": 60 + number, "system": "http://unitsofmeasure.org", "code": "/min"},
        ).create()
    pages = client.resources("Observation").search(patient=wang.id).sort("_id").limit(5)
    ids = [one.id for one in pages]
    assert len(ids) == len(set(ids)) == 23
    assert len(pages.fetch()) == 5
    assert len(pages.fetch_all()) == 23
    assert pages.count() == 23
    assert client.resources("Observation").search(subject=wang, value_quantity__ge="80").count() == 3
    found = client.resources("Observation").search(subject__Patient__identifier=mark).include("Observation", "subject")
    bundle = found.limit(1).fetch_raw()
    assert {row["resource"]["resourceType"] for row in bundle["entry"]} == {"Observation", "Patient"}
    print("search")

    one, made = (
        client.resources("Patient")
        .search(identifier=mark)
        .get_or_create(client.resource("Patient", identifier=[{"value": mark}]))
    )
    assert (one.id, made) == (wang.id, False)
    print("conditional create")

    bundle = client.resource(
        "Bundle",
        type="transaction",
        entry=[
            {
                "fullUrl": "urn:uuid:9f1a4a52-6d4f-4a2b-9c6b-0f5a3f1d2e10",
                "request": {"method": "POST", "url": "Encounter"},
                "resource": {
                    "resourceType": "Encounter",
                    "status": "finished",
                    "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
                    "subject": {"reference": f"Patient?identifier={mark}"},
                },
            },
            {
                "request": {"method": "POST", "url": "Condition"},
                "resource": {
                    "resourceType": "Condition",
                    "subject": {"reference": f"Patient/{wang.id}"},
                    "encounter": {"reference": "urn:uuid:9f1a4a52-6d4f-4a2b-9c6b-0f5a3f1d2e10"},
                },
            },
        ],
    )
    told = client.execute("", data=bundle.serialize())
    assert [row["response"]["status"][:3] for row in told["entry"]] == ["201", "201"]
    condition = client.resources("Condition").search(patient=wang.id).first()
    assert condition["encounter"].to_resource()["subject"]["reference"] == f"Patient/{wang.id}"
    print("transaction")

    history = client.execute(f"Patient/{wang.id}/_history", method="get")
    assert [row["resource"]["meta"]["versionId"] for row in history["entry"]] == ["3", "2", "1"]
    assert "birthDate" not in client.execute(f"Patient/{wang.id}/_history/1", method="get")
    print("history")

    headers = {"Authorization": f"Bearer {token}", "If-Match": 'W/"1"'}
    late = requests.put(f"{base}/Patient/{wang.id}", json=again.serialize(), headers=headers, timeout=60)
    assert late.status_code == 412
    assert late.json()["resourceType"] == "OperationOutcome"
    print("a late update is refused")

    try:
        client.resource("Patient", birthday="1980").create()
    except OperationOutcome as error:
        (issue,) = error.resource["issue"]
        assert issue["expression"] == ["Patient.birthday"]
        assert issue["severity"] == "error"
        assert "birthDate" in issue["details"]["text"]
    else:
        raise AssertionError("an unknown element was stored")
    try:
        client.resources("Observation").search(patient=wang.id).delete()
    except (MultipleResourcesFound, OperationOutcome):
        print("outcomes")

    condition.delete()
    try:
        condition.refresh()
    except ResourceNotFound:
        print("delete")


main(*sys.argv[1:])
