"""What an analyst's program does with fhirclient (SMART's, for Python): `fhirclient_steps.py BASE CLIENT ASSERTION`.

It gets its token itself, as a backend service, from what the CapabilityStatement says.
"""

from __future__ import annotations

import sys

from fhirclient import client
from fhirclient.models.bundle import Bundle
from fhirclient.models.fhirreference import FHIRReference
from fhirclient.models.humanname import HumanName
from fhirclient.models.observation import Observation
from fhirclient.models.patient import Patient
from fhirclient.server import FHIRNotFoundException
from requests import HTTPError


def main(base: str, name: str, assertion: str) -> None:
    """Take the steps; whatever is not as the specification has it ends the program."""
    settings = {"app_id": name, "api_base": base, "scope": "system/*.cruds", "jwt_token": assertion, "patient_id": "-"}
    smart = client.FHIRClient(settings=settings)
    assert smart.prepare() is False
    smart.authorize()
    assert smart.ready
    server = smart.server
    assert server.capabilityStatement.fhirVersion == "4.0.1"
    print("token")

    patient = Patient({"name": [{"family": "Li", "given": ["Lei"]}], "birthDate": "1975-03-01"})
    made = patient.create(server)
    patient_id = made["id"]
    read = Patient.read(patient_id, server)
    assert read.birthDate.isostring == "1975-03-01"
    print("create and read")

    read.name = [HumanName({"text": "李雷"})]
    read.update(server)
    assert Patient.read(patient_id, server).name[0].text == "李雷"
    print("update")

    for number in range(7):
        observation = Observation({"status": "final", "code": {"text": "pulse"}, "valueInteger": number})
        observation.subject = FHIRReference({"reference": f"Patient/{patient_id}"})
        observation.create(server)
    search = Observation.where({"patient": patient_id, "_count": "3", "_sort": "_id"}).include("subject", Observation)
    pages = list(search.perform_iter(server))
    assert len(pages) == 3
    assert all(isinstance(page, Bundle) for page in pages)
    found = [one for one in search.perform_resources(server) if isinstance(one, Observation)]
    assert sorted(one.valueInteger for one in found) == list(range(7))
    assert found[0].subject.resolved(Patient).birthDate.isostring == "1975-03-01"
    print("search")

    history = Bundle.read_from(f"Patient/{patient_id}/_history", server)
    assert [row.resource.meta.versionId for row in history.entry] == ["2", "1"]
    assert Patient.read_from(f"Patient/{patient_id}/_history/1", server).name[0].family == "Li"
    print("history")

    entry = {
        "request": {"method": "POST", "url": "Basic"},
        "resource": {"resourceType": "Basic", "code": {"text": "x"}},
    }
    bundle = Bundle({"type": "transaction", "entry": [entry] * 3})
    told = Bundle(server.post_json("", bundle.as_json()).json())
    assert [row.response.status[:3] for row in told.entry] == ["201"] * 3
    print("transaction")

    bad = read.as_json() | {"gender": "woman"}
    try:
        server.put_json(f"Patient/{patient_id}", bad)
    except HTTPError as error:
        (issue,) = error.response.json()["issue"]
        assert issue["expression"] == ["Patient.gender"]
        print("outcomes")

    observation = found[0]
    observation.delete(server)
    try:
        Observation.read(observation.id, server)
    except (FHIRNotFoundException, HTTPError):
        print("delete")


main(*sys.argv[1:])
