"""With whose keys stored Bundles go, and what an erasure leaves of them (`docs/spec/keys.md` 10)."""

from __future__ import annotations

import orjson
import pytest

from fhir_bridge.remaining import remaining
from fhir_bridge.whose import MAX_NAMES
from medchain.store.epochs import Erasure
from tests.unit.fhir_bridge.conftest import BASE_URL
from tests.unit.fhir_bridge.test_bundles_kept_back import (
    NUMBER,
    OF_NUMBER,
    URN,
    WAYS,
    asking,
    collection,
    entry,
    ill,
    stored,
    task,
)
from tests.unit.fhir_bridge.test_enforcement import condition, of_targets

OTHER = {"system": "urn:mrn", "value": "l-2"}
LAB = "https://lab.example/fhir"
AT_LAB = entry(ill({"reference": f"{LAB}/Patient/p2"}), f"{LAB}/Condition/7")

ALONE = {
    "by its id": WAYS["by its id"],
    "by this node's address": collection(entry(ill({"reference": f"{BASE_URL}/Patient/p1"}))),
    "by an identifier": WAYS["by an identifier"],
    "by a Patient with the number": WAYS["by a Patient with the number"],
    "by a Patient elsewhere with the number": WAYS["by a Patient at another base"],
    "by a Patient elsewhere with the number and another's id": collection(
        AT_LAB, entry(OF_NUMBER | {"id": "p2"}, f"{LAB}/Patient/p2")
    ),
    "by an identifier that nobody has as well": collection(
        entry(ill({"reference": URN})), entry(OF_NUMBER | {"identifier": [NUMBER, NUMBER | {"system": "urn:x"}]}, URN)
    ),
    "by a condition": asking("Patient?identifier=urn:mrn|w-1"),
    "beside what names nobody": collection(entry(ill({"reference": "Patient/p1"})), entry(task(None))),
    "in a Bundle within": WAYS["in a Bundle within"],
}
OF_OTHERS = {
    "two by their ids": collection(entry(ill({"reference": "Patient/p1"})), entry(ill({"reference": "Patient/p2"}))),
    "two by their numbers": collection(entry(ill({"identifier": NUMBER})), entry(ill({"identifier": OTHER}))),
    "one who is no patient here": collection(
        entry(ill({"reference": "Patient/p1"})), entry(ill({"identifier": {"system": "urn:mrn", "value": "x"}}))
    ),
    "a Patient with two people's numbers": collection(
        entry(ill({"reference": URN})), entry(OF_NUMBER | {"identifier": [NUMBER, OTHER]}, URN)
    ),
    "an id elsewhere": collection(entry(ill({"reference": f"{LAB}/Patient/p1"}))),
    "an id beside what is elsewhere": collection(entry(ill({"reference": "Patient/p1"}), f"{LAB}/Condition/7")),
    "an id that nobody has": collection(entry(ill({"reference": "Patient/p9"}))),
    "a number without a system": WAYS["by an identifier without a system"],
    "more numbers than anybody has": collection(
        entry(ill({"reference": URN})),
        entry(OF_NUMBER | {"identifier": [NUMBER | {"value": f"n{i}"} for i in range(MAX_NAMES)] + [NUMBER]}, URN),
    ),
    "nobody": collection(entry(task(None))),
}


@pytest.fixture
def node(server):
    """Two patients, each with a number and a record."""
    for name, number in (("p1", NUMBER), ("p2", OTHER)):
        stored(server, {"resourceType": "Patient", "id": name, "identifier": [number]})
    stored(server, condition("of-p1", "J06.9", "2024-01-01"))
    return server


def keeper(server, name: str, version: int | None = None) -> str:
    """Tell whose key a Bundle lies under."""
    row = server.store.get("Bundle", name, version)
    assert row.patient == server.service.patient_token("")
    return server.store.epoch(row.epoch_id).patient


def erase(server, patient: str = "p1") -> list[bytes]:
    """Destroy a patient's keys; returns their ids."""
    token = server.service.patient_token(patient)
    keys = server.store.living_epochs(token)
    server.store.erase_patient(token, keys, server.time[0], b"{}")
    return keys


def left(server, patient: str = "p1") -> list[str]:
    return remaining(server.core.search, server.store, server.service, patient)


def test_a_bundle_that_tells_of_one_patient_goes_with_that_patient_and_no_other_does(node):
    """Certain is what an id here, or an identifier with its system, says of all who are named."""
    named = {**{f"a{at}": one for at, one in enumerate(ALONE.values())}}
    others = {**{f"o{at}": one for at, one in enumerate(OF_OTHERS.values())}}
    for name, one in (named | others).items():
        stored(node, one | {"id": name})
    hers, nobodys = node.service.patient_token("p1"), node.service.patient_token("")
    assert {what: keeper(node, name) == hers for what, name in zip(ALONE, named, strict=True)} == dict.fromkeys(
        ALONE, True
    )
    assert {what: keeper(node, name) == nobodys for what, name in zip(OF_OTHERS, others, strict=True)} == (
        dict.fromkeys(OF_OTHERS, True)
    )
    erase(node)
    for name in named:
        for path in (f"Bundle/{name}", f"Bundle/{name}/_history/1"):
            assert node.call("GET", f"/fhir/{path}").status_code == 410, path
    assert {node.call("GET", f"/fhir/Bundle/{name}").status_code for name in others} == {200}
    found = orjson.loads(node.call("GET", "/fhir/Bundle?_count=100").data)
    assert {one["resource"]["id"] for one in found["entry"]} == others.keys()


def test_who_has_two_patients_with_one_number_can_say_of_neither(node):
    stored(node, {"resourceType": "Patient", "id": "p3", "identifier": [NUMBER]})
    stored(node, WAYS["by an identifier"])
    assert keeper(node, "b") == node.service.patient_token("")


@pytest.mark.parametrize("kind", ["batch", "transaction"])
def test_a_document_goes_with_a_patient_who_comes_with_it(node, kind):
    patient = {"resourceType": "Patient", "id": "p7", "identifier": [{"system": "urn:mrn", "value": "n-7"}]}
    document = collection(entry(ill({"identifier": patient["identifier"][0]})))
    rows = [
        {"resource": one, "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}}
        for one in (patient, document)
    ]
    answer = node.call("POST", "/fhir", {"resourceType": "Bundle", "type": kind, "entry": rows})
    assert answer.status_code == 200, answer.data
    assert keeper(node, "b") == node.service.patient_token("p7")


def test_each_version_goes_with_whom_it_tells_of(node):
    stored(node, collection(entry(ill({"reference": "Patient/p1"}))))
    stored(node, collection(entry(ill({"reference": "Patient/p2"}))))
    assert node.call("DELETE", "/fhir/Bundle/b").status_code == 204
    erase(node)
    statuses = [node.call("GET", f"/fhir/Bundle/b/_history/{number}").status_code for number in (1, 2, 3)]
    assert statuses == [410, 200, 410]
    assert left(node, "p2") == []


def test_attack_a_bundle_is_open_again_where_a_backup_of_before_the_erasure_is_restored(node):
    """The keys of the backup are there again, and are destroyed again by the list of what was erased since."""
    stored(node, WAYS["by an identifier"])
    key = node.store.epoch(node.store.get("Bundle", "b").epoch_id)
    assert node.call("GET", "/fhir/Bundle/b").status_code == 200
    assert node.store.replay_erasures([Erasure(key.id, node.time[0], None)]) == 1
    assert node.call("GET", "/fhir/Bundle/b").status_code == 410
    assert "entry" not in orjson.loads(node.call("GET", "/fhir/Bundle").data)


def test_what_an_erasure_leaves_names_the_bundles_that_may_tell_of_the_patient(node):
    """Those that go with it are not named, nor what tells of others alone, nor what can be opened by nobody."""
    told = {
        "several": OF_OTHERS["two by their ids"],
        "elsewhere": OF_OTHERS["an id elsewhere"],
        "by-number": OF_OTHERS["a number without a system"],
        "of-record": collection(entry(of_targets("v", "Condition/of-p1"))),
        "deleting": collection({"request": {"method": "DELETE", "url": "Condition/of-p1"}}, type="transaction"),
    }
    untold = {
        "alone": ALONE["by its id"],
        "nobody": OF_OTHERS["nobody"],
        "other": collection(entry(ill({"reference": "Patient/p2"}))),
    }
    for name, one in (told | untold).items():
        stored(node, one | {"id": name})
    assert left(node) == sorted(f"Bundle/{name}" for name in told)
    node.call("DELETE", "/fhir/Bundle/several")
    assert "Bundle/several" in left(node)
    erase(node, "p2")
    assert left(node) == sorted(f"Bundle/{name}" for name in told)


def test_a_bundle_that_was_there_before_its_patient_had_the_number_stays_and_is_named(node):
    stored(node, collection(entry(ill({"identifier": NUMBER | {"value": "w-9"}}))))
    assert left(node) == []
    stored(node, {"resourceType": "Patient", "id": "p1", "identifier": [NUMBER, NUMBER | {"value": "w-9"}]})
    assert left(node) == ["Bundle/b"]
    # Its next version is certain; the first one stays.
    stored(node, collection(entry(ill({"identifier": NUMBER | {"value": "w-9"}}))))
    assert (keeper(node, "b"), left(node)) == (node.service.patient_token("p1"), ["Bundle/b"])


def test_a_damaged_bundle_is_told_of_nobody(node):
    stored(node, OF_OTHERS["two by their ids"])
    with node.store.database.write("record") as connection:
        connection.exec_driver_sql("UPDATE record SET commitment = zeroblob(32) WHERE type = 'Bundle'")
    assert left(node) == []
