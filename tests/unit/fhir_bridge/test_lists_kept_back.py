"""Records of several patients are kept back with what any of them denies (`docs/spec/consent.md` C16)."""

from __future__ import annotations

import orjson
import pytest

from tests.unit.fhir_bridge.consent_oracle import CALLERS, TYPES, actor, deny, label
from tests.unit.fhir_bridge.test_bundles_kept_back import NUMBER, OF_NUMBER, PATIENTS, seen, statuses, stored
from tests.unit.fhir_bridge.test_enforcement import Ward, condition, of_targets

HER, HIS = {"reference": "Patient/p1"}, {"reference": "Patient/p2"}


@pytest.fixture
def node(server):
    """Two patients, and a record of each."""
    for one in (*PATIENTS, condition("hiv", "B20", "2024-01-01"), condition("of-p2", "J06.9", "2024-01-01", "p2")):
        stored(server, one)
    return server


def group(*members: dict, **more: object) -> dict:
    member = [{"entity": one} for one in members]
    return {"resourceType": "Group", "id": "x", "type": "person", "actual": True, "member": member, **more}


def listing(*items: dict, **more: object) -> dict:
    entry = [{"item": one} for one in items]
    made = {"resourceType": "List", "id": "x", "status": "current", "mode": "working", **more}
    return made | ({"entry": entry} if entry else {})


def appointment(*actors: dict) -> dict:
    rows = [{"actor": one, "status": "accepted"} for one in actors]
    return {"resourceType": "Appointment", "id": "x", "status": "proposed", "participant": rows}


OF_HER = {
    "a group": group(HER, HIS),
    "a group in which she is last": group(HIS, HER),
    "a group in which she has a number": group(HIS, {"identifier": NUMBER, "type": "Patient"}),
    "a group that names her alone by a number": group({"identifier": NUMBER, "type": "Patient"}),
    "a group by another server's address": group(HIS, {"reference": "https://lab.example/fhir/Patient/p1"}),
    "a group with her inside": group(HIS, {"reference": "#c"}, contained=[OF_NUMBER | {"id": "c"}]),
    "an appointment": appointment(HIS, HER),
    "a list of nobody": listing(HIS, HER),
    "a list of his": listing(HER, subject=HIS),
    "a list of his that she made": listing(subject=HIS, source=HER),
    "an account of both": {"resourceType": "Account", "id": "x", "status": "active", "subject": [HIS, HER]},
    "persons that are linked": {
        "resourceType": "Linkage",
        "id": "x",
        "item": [{"type": "source", "resource": HIS}, {"type": "alternate", "resource": HER}],
    },
}
OF_OTHERS = {
    "a group of him": group(HIS),
    "a group of two of whom she is none": group(HIS, {"reference": "Patient/p9"}),
    "a group of staff": group({"reference": "Practitioner/d9"}) | {"type": "practitioner"},
    "a group with her number in another system": group(HIS, {"identifier": NUMBER | {"system": "urn:x"}}),
    "a list of his records": listing({"reference": "Condition/of-p2"}, subject=HIS),
    "a list of nobody's": listing(),
    "a list of nobody's that says the id of her record": listing(
        {"reference": "Condition/hiv"}, {"reference": "Condition/of-p2"}
    ),
    "his coverage, by her": {
        "resourceType": "Coverage",
        "id": "x",
        "status": "active",
        "beneficiary": HIS,
        "subscriber": HER,
        "payor": [{"reference": "Organization/o"}],
    },
}


def test_attack_what_several_patients_are_in_is_read_though_one_of_them_denies_it(node):
    """On every way, whether it was stored before the consent or after it."""
    early = {f"early-{at}": one for at, one in enumerate(OF_HER.values())}
    late = {f"late-{at}": one for at, one in enumerate(OF_HER.values())}
    for name, one in early.items():
        stored(node, one | {"id": name})
    ward = seen(node, deny())
    for name, one in late.items():
        stored(node, one | {"id": name})
    for name, one in (early | late).items():
        kind = one["resourceType"]
        absent = ward.ask(f"{kind}/absent")
        for path in (f"{kind}/{name}", f"{kind}/{name}/_history/1"):
            answer = ward.ask(path)
            assert (answer.status_code, answer.data) == (absent.status_code, absent.data), (name, one)
    for kind in {one["resourceType"] for one in OF_HER.values()}:
        for path in (f"{kind}?_total=accurate", f"{kind}/_history"):
            found = orjson.loads(ward.ask(path).data)
            assert (found.get("total"), found.get("entry")) == (0, None), path


def test_what_is_of_others_is_shown(node):
    for at, one in enumerate(OF_OTHERS.values()):
        stored(node, one | {"id": f"x{at}"})
    ward = seen(node, deny())
    for at, (what, one) in enumerate(OF_OTHERS.items()):
        assert statuses(ward, f"{one['resourceType']}/x{at}") == [200], what


def test_it_is_judged_as_the_record_of_each_whom_it_names(node):
    """By its own type and labels, whoever of them denies that; and not by what nobody denies of it."""
    hers, his = deny(securityLabel=label("HIV")), deny(securityLabel=label("HIV")) | {"patient": HIS}
    stored(node, group(HER, HIS, code=condition("x", "B20", "2024-01-01")["code"], id="hiv"))
    stored(node, group(HER, HIS, id="plain"))
    for consent in (hers, his):
        assert statuses(seen(node, consent), "Group/hiv", "Group/plain") == [404, 200]
    of_type = deny(**{"class": [{"system": TYPES, "code": "Group"}]}) | {"patient": HIS}
    stored(node, listing(HER, HIS, id="plain"))
    assert statuses(seen(node, of_type), "Group/plain", "List/plain") == [404, 200]


def test_what_is_of_a_group_is_kept_back_with_it(node):
    stored(node, group(HER, HIS))
    stored(node, of_targets("v", "Group/x"))
    assert statuses(seen(node, deny()), "Group/x", "Provenance/v") == [404, 404]
    assert statuses(seen(node, deny(actor=actor("Practitioner/d2"))), "Group/x", "Provenance/v") == [200, 200]


def test_who_is_put_on_a_list_later_keeps_it_back_from_then_on(node):
    stored(node, group(HIS, {"reference": "Patient/p9"}))
    ward = seen(node, deny())
    assert statuses(ward, "Group/x") == [200]
    stored(node, group(HIS, HER))
    assert statuses(ward, "Group/x", "Group/x/_history/2") == [404, 404]


@pytest.mark.parametrize("what", ["a group", "a list of his"])
def test_what_is_stored_after_a_search_has_begun_is_looked_at_before_it_is_shown(node, what):
    """Attack: it comes between what is known and the search or the read itself, as nobody's or as another patient's."""
    ward, one = seen(node, deny()), OF_HER[what]
    kind = one["resourceType"]
    sight = node.core.enforcement.sight(ward.caller.access)
    within = node.core.gate.within(ward.caller.access)
    stored(node, one)
    assert node.core.search.ids(kind, "_id=x", 10, within=within) == []
    assert node.core.search.ids(kind, "_id=x", 10) == ["x"]
    assert sight.hides(node.store.get(kind, "x"))


def test_who_denies_nothing_to_somebody_keeps_no_list_from_that_one(node):
    stored(node, group(HER, HIS))
    consent = deny(actor=actor("Practitioner/d2"))
    assert statuses(Ward(node, CALLERS["d1"], [consent]), "Group/x") == [200]
