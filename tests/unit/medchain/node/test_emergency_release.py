"""Breaking the glass for another hospital's patient, on whole nodes: at once at both, unseen at neither."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from medchain.encoding import canonical, parse_canonical, unbase64
from medchain.errors import (
    AccessDeniedError,
    InputError,
    MedchainError,
    NotFoundError,
    UnavailableError,
    VerificationError,
)
from medchain.ledger.emergency_request import EmergencyRequest, about
from medchain.ledger.kinds.emergency import EMERGENCY_S
from medchain.ledger.members import SUSPENDED
from medchain.ledger.object import build_body
from medchain.ledger.signed_request import REQUEST_AHEAD_S, parse_request
from medchain.node import emergency_release, emergency_watch
from medchain.node.emergency import EMERGENCY, MAX_ELSEWHERE, noted_for
from medchain.node.emergency_asking import EmergencyAsker
from medchain.node.missing import WANTED_TYPE, BodyAnswers
from medchain.node.release import parse_answer
from medchain.ordering.embedded import EmbeddedDriver
from medchain.store.accesses import MAX_PAGE, Access
from medchain.store.records import RecordStore
from tests.unit.fhir_bridge.consent_oracle import consent, label
from tests.unit.medchain.ledger.world import fresh
from tests.unit.medchain.node.desks import running_desks
from tests.unit.medchain.node.federation import ANXIN, COMMISSION, NOW, RENHE, TONGJI
from tests.unit.medchain.node.glass import REASON, Glass, declared_key, given_key


class Killed(BaseException):
    """The process ends here."""


def kill(*_arguments: object, **_named: object) -> None:
    raise Killed


@pytest.fixture(scope="module")
def desks(tmp_path_factory):
    with running_desks(tmp_path_factory.mktemp("glass")) as made:
        yield made


@pytest.fixture(scope="module")
def known(desks):
    """A patient whose records the tests leave as they are."""
    made = Glass(desks)
    made.store()
    return made


@pytest.fixture
def glass(desks, known):
    """A clinician of a test's own."""
    made = Glass(desks, local=known.local)
    yield made
    desks.on_answer = lambda data: data
    desks.federation.time = NOW
    desks.federation.down.clear()
    made.settle()


@pytest.fixture
def own(desks):
    """A patient of a test's own."""
    made = Glass(desks)
    yield made
    desks.federation.time = NOW
    made.settle()


def with_parts(desks, monkeypatch, **changes: object) -> None:
    """Give the custodian other parts."""
    custodian = desks.nodes[RENHE]._emergency_custodian  # noqa: SLF001  # made of them
    monkeypatch.setattr(custodian, "_parts", replace(custodian._parts, **changes))  # noqa: SLF001  # likewise


def contents(answer: dict) -> list[dict]:
    return [json.loads(unbase64(row["content"])) for row in answer["records"]]


def refused(glass: Glass, signed, peer: str = TONGJI) -> str:
    with pytest.raises(MedchainError) as caught:
        glass.send(signed, peer)
    return f"{type(caught.value).__name__} {caught.value.code}"


def nothings(glass: Glass) -> int:
    """How many questions of Tongji's Renhe has answered with nothing."""
    rows = glass.site().records.refusals()
    return sum(row.count for row in rows if (row.requester, row.reason) == (TONGJI, emergency_release.NOTHING_GIVEN))


def said_by(glass: Glass, provision: dict) -> dict:
    """A consent of the patient at the custodian."""
    patient = {"reference": f"Patient/{glass.local}"}
    return consent(provision, id=f"{glass.local}-consent", patient=patient)


def unreachable(*_arguments: object) -> None:
    raise UnavailableError("ordering.unreachable")


# What it does


def test_a_clinician_of_another_hospital_is_given_the_records_at_once_and_both_tell_the_ledger(glass, desks):
    before = len(glass.noted())
    declared = glass.declare()
    answer = glass.ask(declared)
    assert {one["resourceType"] for one in contents(answer)} == {"Observation", "Patient"}
    (noted,) = glass.noted()[before:]
    assert (noted["recipient"], noted["staff"], noted["reason"], noted["count"]) == (TONGJI, glass.staff, REASON, 3)
    glass.settle()
    given = given_key(desks.asked[-1])
    for one in (declared_key(declared), given):
        glass.everywhere(one)
    row = glass.told(COMMISSION, given)
    assert (row["custodian"], row["recipient"], row["count"], row["staff"]) == (RENHE, TONGJI, 3, glass.staff)
    asked = glass.told(COMMISSION, declared_key(declared))
    assert (asked["owner"], asked["count"], row["owner"]) == (TONGJI, 0, RENHE)
    assert "patient" not in row
    assert "patient" not in asked
    assert glass.told(ANXIN, given) is None


def test_the_custodians_entry_bears_the_signed_request_and_the_askers_names_nobody(glass, desks):
    declared = glass.declare()
    glass.ask(declared)
    glass.settle()
    signed = parse_request(EmergencyRequest, desks.asked[-1])
    body = glass.site(TONGJI).node.shelf.at(given_key(desks.asked[-1]), 1)
    assert body.evidence.value == {"request": signed.to_json()}
    assert signed.request.declaration_key == declared_key(declared)
    asked = glass.site(RENHE).node.shelf.at(declared_key(declared), 1)
    assert asked.content["patient"] == about(declared.object_id, glass.identifier)
    assert glass.local not in json.dumps(asked.to_json())


def test_with_the_ledger_out_of_reach_records_come_and_the_regulator_and_the_patient_are_told(
    glass, desks, monkeypatch
):
    with monkeypatch.context() as changed:
        changed.setattr(EmbeddedDriver, "order", unreachable)
        declared = glass.declare()
        assert len(glass.ask(declared)["records"]) == 3
        for org_id in (TONGJI, RENHE):
            assert desks.nodes[org_id].emergencies.round() == 1
        for one in (declared_key(declared), given_key(desks.asked[-1])):
            row = glass.told(COMMISSION, one)
            assert (row["staff"], row["final"]) == (glass.staff, False)
        listed = desks.local(RENHE).call("notices.list", {"patient": glass.local, "subjects": []})["notices"]
        (notice,) = [row for row in listed if row["object"] == declared_key(declared).hex()]
        assert (notice["kind"], notice["fields"]["by"], notice["fields"]["staff"]) == (
            "emergency.declared",
            TONGJI,
            glass.staff,
        )
    glass.settle()
    glass.everywhere(given_key(desks.asked[-1]))


def test_the_patient_is_told_once_in_one_emergency_and_each_release_is_an_entry(glass, desks):
    declared, before = glass.declare(), len(glass.noted())
    first = glass.ask(declared, "Observation", count=1)
    second = glass.ask(declared, "Observation", count=1, after=first["following"])
    assert [one["id"] for one in contents(first) + contents(second)] == [f"{glass.local}-o1", f"{glass.local}-o2"]
    glass.settle()
    assert [row["count"] for row in glass.noted()[before:]] == [1, 1]
    listed = desks.local(RENHE).call("notices.list", {"patient": glass.local, "subjects": []})["notices"]
    assert len([row for row in listed if row["object"] == declared_key(declared).hex()]) == 1


def test_only_what_is_searched_for_leaves(glass):
    declared = glass.declare()
    answer = glass.ask(declared, "Observation", query=f"_id={glass.local}-o2")
    assert [one["id"] for one in contents(answer)] == [f"{glass.local}-o2"]
    assert [one["id"] for one in contents(glass.ask(declared, "Patient", patient=glass.local))] == [glass.local]


def test_what_a_consent_denies_to_who_breaks_the_glass_here_is_given_to_nobody_elsewhere(own):
    secret = own.observation(7, meta={"security": label("PSY")})
    own.store(secret, said_by(own, {"type": "permit", "provision": [{"type": "deny", "securityLabel": label("PSY")}]}))
    found = {one["id"] for one in contents(own.ask(own.declare(), "Observation"))}
    assert found == {f"{own.local}-o1", f"{own.local}-o2"}


def test_attack_the_scan_of_a_record_that_a_consent_denies_leaves_as_a_binary(own):
    """R4 has the record of its security context decide about it, as for a clinician here."""
    denied = {"type": "deny", "class": [{"system": "http://hl7.org/fhir/resource-types", "code": "Condition"}]}
    subject = {"reference": f"Patient/{own.local}"}
    condition = {"resourceType": "Condition", "id": f"{own.local}-c1", "subject": subject}
    own.store(condition, said_by(own, {"type": "permit", "provision": [denied]}))
    own.scan(f"Condition/{own.local}-c1", "image/jpeg")
    own.scan(f"Observation/{own.local}-o1", "image/png")
    own.scan(f"Patient/{own.local}", "image/gif")
    types = {row["content_type"] for row in own.ask(own.declare())["records"]}
    assert types == {"application/fhir+json", "image/png", "image/gif"}


def test_a_patient_who_denies_all_is_as_one_who_is_not_here(own):
    own.store(said_by(own, {"type": "deny"}))
    with pytest.raises(NotFoundError, match=r"release\.nothing"):
        own.ask(own.declare())
    (refused,) = (one for one in own.refused() if one["reason"] == "consent.denied")
    assert (refused["purpose"], refused["types"]) == ("BTG", ["*"])
    assert own.noted() == []


# Review and objection


def test_the_review_of_who_looked_closes_what_the_custodian_told_and_the_patient_is_told(glass, desks):
    declared = glass.declare()
    glass.ask(declared)
    glass.settle()
    given = given_key(desks.asked[-1])
    glass.everywhere(declared_key(declared))
    glass.everywhere(given)
    assert desks.nodes[RENHE].watch.round() >= 1
    assert glass.told(RENHE, given)["review"] is None
    asked = {"by": glass.staff, "finding": "justified", "object": declared_key(declared).hex()}
    with pytest.raises(AccessDeniedError, match=r"emergency\.own"):
        desks.local(TONGJI).call("emergency.review", asked)
    desks.local(TONGJI).call("emergency.review", asked | {"by": "officer-9"})
    glass.everywhere(declared_key(declared), 2)
    desks.nodes[RENHE].watch.round()
    row = glass.told(RENHE, given)
    assert (row["review"]["by"], row["review"]["finding"]) == (f"{TONGJI}: officer-9", "justified")
    listed = desks.local(RENHE).call("notices.list", {"patient": glass.local, "subjects": []})["notices"]
    told = [row for row in listed if row["object"] == declared_key(declared).hex()]
    assert {row["kind"] for row in told} == {"emergency.declared", "emergency.reviewed"}


def test_a_review_from_before_anything_was_given_closes_nothing_at_the_custodian(glass, desks):
    """Who asks could else review what it declared first, and the patient of the custodian could object to nothing."""
    declared = glass.declare()
    glass.settle(TONGJI)
    glass.everywhere(declared_key(declared))
    asked = {"by": "officer-9", "finding": "justified", "object": declared_key(declared).hex()}
    desks.local(TONGJI).call("emergency.review", asked)
    glass.everywhere(declared_key(declared), 2)
    glass.ask(declared)
    glass.settle()
    given = given_key(desks.asked[-1])
    glass.everywhere(given)
    desks.nodes[RENHE].watch.round()
    assert glass.told(RENHE, given)["review"] is None
    objection = {"by": "Patient/p1", "object": given.hex(), "reason": "nobody was unconscious"}
    desks.local(RENHE).call("emergency.object", objection)
    glass.everywhere(given, 2)
    assert glass.told(RENHE, given)["objection"]["reason"] == "nobody was unconscious"


def test_who_did_not_wait_for_that_review_has_closed_it(glass, desks):
    declared = glass.declare()
    glass.ask(declared)
    glass.settle()
    given = given_key(desks.asked[-1])
    glass.everywhere(given)
    desks.local(RENHE).call("emergency.review", {"by": "officer-2", "finding": "unjustified", "object": given.hex()})
    asked = {"by": "officer-9", "finding": "justified", "object": declared_key(declared).hex()}
    desks.local(TONGJI).call("emergency.review", asked)
    glass.everywhere(declared_key(declared), 2)
    desks.nodes[RENHE].watch.round()
    assert glass.told(RENHE, given)["review"]["finding"] == "unjustified"


def test_the_patient_objects_at_the_custodian_and_the_asker_sees_it(glass, desks):
    declared = glass.declare()
    glass.ask(declared)
    glass.settle()
    given = given_key(desks.asked[-1])
    glass.everywhere(given)
    wish = {"by": "the patient", "object": given.hex(), "reason": "I was awake"}
    desks.local(RENHE).call("emergency.object", wish)
    glass.everywhere(given, 2)
    row = glass.told(TONGJI, given)
    assert (row["objection"]["reason"], row["declaration"]) == ("I was awake", declared_key(declared).hex())


def test_the_custodian_can_ask_for_what_the_asker_told_and_nobody_else_can(glass, desks):
    declared = glass.declare()
    glass.settle()
    glass.everywhere(declared_key(declared))
    answers = BodyAnswers(desks.nodes[TONGJI].emergencies._judge)  # noqa: SLF001  # the node's own
    document = canonical({"object": declared_key(declared).hex(), "type": WANTED_TYPE, "version": 1})
    assert len(answers.receive(document, RENHE)["bodies"]) == 1
    with pytest.raises(NotFoundError):
        answers.receive(document, ANXIN)


# Who may not


def test_attack_asking_without_an_open_emergency(glass, desks):
    declared = glass.declare()
    sent = len(desks.asked)
    for changes in ({"staff": "Practitioner/other"}, {"declaration": fresh(16).hex()}):
        with pytest.raises(AccessDeniedError, match=r"emergency\.over"):
            glass.ask(declared, **changes)
    desks.federation.time = NOW + 3600
    with pytest.raises(AccessDeniedError, match=r"emergency\.over"):
        glass.ask(declared)
    assert len(desks.asked) == sent


def test_attack_a_daemon_that_lies_asks_after_the_hour_or_from_the_future(glass, desks):
    declared = glass.declare()
    assert refused(glass, glass.request(declared, declared=NOW - 3600)) == "AccessDeniedError emergency.over"
    assert refused(glass, glass.request(declared, declared=NOW + 61)) == "AccessDeniedError emergency.over"
    desks.federation.time = NOW + 3600
    assert refused(glass, glass.request(declared)) == "AccessDeniedError emergency.over"


def test_attack_an_insurer_asks(glass):
    declared = glass.declare(ANXIN)
    assert refused(glass, glass.request(declared, ANXIN), ANXIN) == "AccessDeniedError emergency.role"
    assert "emergency.role" in glass.refusals()
    glass.settle(ANXIN)


def test_attack_a_suspended_hospital_asks(glass, monkeypatch):
    site = glass.site()
    known = site.ledger.members
    organisations = known.organisations | {TONGJI: replace(known.organisations[TONGJI], status=SUSPENDED)}
    signed = glass.request(glass.declare())
    monkeypatch.setattr(
        type(site.ledger), "members", property(lambda _self: replace(known, organisations=organisations))
    )
    assert refused(glass, signed) == "AccessDeniedError release.recipient"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"custodian": COMMISSION}, "release.custodian"),
        ({"ledger": b"\1" * 32}, "release.ledger"),
        ({"recipient": ANXIN}, "release.recipient"),
        ({"encryption_key": "00" * 16}, "release.key"),
        ({"time": NOW - 121}, "release.time"),
        ({"time": NOW + 61}, "release.time"),
    ],
)
def test_attack_a_request_for_others_of_others_or_of_another_time(glass, changes, code):
    assert refused(glass, glass.request(glass.declare(), **changes)) == f"AccessDeniedError {code}"
    assert code in glass.refusals()


def test_attack_a_request_that_was_changed_on_the_way(glass):
    signed = glass.request(glass.declare())
    changed = replace(signed, request=replace(signed.request, identifier="urn:mrn|somebody-else"))
    assert refused(glass, changed) == "AccessDeniedError release.signature"


def test_a_custodian_whose_setting_says_no_refuses_and_says_so(glass, desks, monkeypatch):
    with_parts(desks, monkeypatch, emergencies=None)
    assert refused(glass, glass.request(glass.declare())) == "AccessDeniedError emergency.refused"


def test_absent_ambiguous_and_forbidden_look_alike_and_each_question_is_noted(own, desks):
    own.store()
    twin = Glass(desks)
    twin.store({"resourceType": "Patient", "id": f"{twin.local}-b", "identifier": [{"value": twin.local}]})
    answers = {
        refused(own, own.request(own.declare(), identifier="urn:mrn|nobody")),
        refused(own, own.request(own.declare(), identifier=twin.local)),
        refused(own, own.request(own.declare(), patient="another")),
        refused(own, own.request(own.declare(), resource_types=("Condition",))),
        refused(own, own.request(own.declare(), resource_types=("Observation",), query="nothing=x")),
    }
    assert answers == {"NotFoundError release.nothing"}
    assert own.refusals().count("emergency.patient") >= 3
    assert "release.no_record" in own.refusals()


def test_attack_identifiers_are_guessed(glass, monkeypatch):
    monkeypatch.setattr(emergency_release, "MAX_UNKNOWN", 3 + nothings(glass))
    declared = glass.declare()
    for number in range(3):
        refused(glass, glass.request(declared, identifier=f"urn:mrn|guess-{number}"))
    # Whoever the next one is about: nothing more is told today.
    for identifier in (glass.identifier, "urn:mrn|guess-4"):
        assert refused(glass, glass.request(declared, identifier=identifier)) == "UnavailableError emergency.rate"


def test_attack_a_hospital_counts_how_many_questions_it_has_left(glass, own, desks):
    """Who denies, who has nothing of a kind, and who is not here: each takes one of them."""
    own.store(said_by(own, {"type": "deny"}))
    other = Glass(desks)
    other.store()
    asked = (
        own.request(own.declare()),
        other.request(other.declare(), resource_types=("Condition",)),
        glass.request(glass.declare(), identifier="urn:mrn|nobody"),
    )
    costs = []
    for one in asked:
        before = nothings(glass)
        assert refused(glass, one) == "NotFoundError release.nothing"
        costs.append(nothings(glass) - before)
    assert costs == [1, 1, 1]


def test_who_was_given_the_records_may_ask_for_what_is_not_there(glass):
    declared, before = glass.declare(), nothings(glass)
    glass.send(glass.request(declared))
    assert refused(glass, glass.request(declared, resource_types=("Condition",))) == "NotFoundError release.nothing"
    assert nothings(glass) == before


def test_attack_one_clinician_or_one_hospital_breaks_it_again_and_again(glass, monkeypatch):
    declared = glass.declare()
    monkeypatch.setattr(emergency_release, "MAX_RELEASES", 2)
    for _ in range(2):
        glass.send(glass.request(declared))
    assert refused(glass, glass.request(declared)) == "UnavailableError emergency.rate"
    monkeypatch.setattr(emergency_release, "MAX_OF_PERSON", 1)
    assert refused(glass, glass.request(declared, declaration=fresh(16))) == "UnavailableError emergency.rate"
    monkeypatch.setattr(emergency_release, "MAX_OF_ORGANISATION", 1)
    other = glass.request(declared, declaration=fresh(16), staff="Practitioner/other")
    assert refused(glass, other) == "UnavailableError emergency.rate"


def test_attack_one_hospital_asks_without_end_in_ever_other_emergencies(glass, monkeypatch):
    declared = glass.declare()
    noted = map(noted_for, glass.site().records.emergencies(NOW - EMERGENCY_S))
    given = sum(one.recipient == TONGJI for one in noted)
    monkeypatch.setattr(emergency_release, "MAX_RELEASES_OF_ORGANISATION", given + 1)
    glass.send(glass.request(declared))
    other = glass.request(declared, declaration=fresh(16), staff="Practitioner/other")
    assert refused(glass, other) == "UnavailableError emergency.rate"


def test_attack_a_daemon_that_lies_asks_for_one_patient_after_another_in_one_emergency(glass, own, monkeypatch):
    """It would be one emergency of those that are counted, with two hundred patients."""
    own.store()
    declared = glass.declare()
    glass.send(glass.request(declared))
    other = glass.request(declared, identifier=own.identifier)
    assert refused(glass, other) == "NotFoundError release.nothing"
    assert "emergency.other_patient" in own.refusals()
    assert own.noted() == []
    # Its own emergency is another one; and who was given the first patient's records still is.
    glass.send(glass.request(declared, identifier=own.identifier, declaration=fresh(16)))
    glass.send(glass.request(declared))
    # It is stopped as one that guesses is: or it would learn who is here by not being stopped.
    monkeypatch.setattr(emergency_release, "MAX_UNKNOWN", 1)
    assert refused(glass, other) == "UnavailableError emergency.rate"


def test_attack_a_declaration_dated_ahead_outlives_what_is_remembered_of_its_patient(glass, own, desks):
    own.store()
    declared = own.declare()
    ahead = declared.time + REQUEST_AHEAD_S
    own.send(own.request(declared, declared=ahead))
    desks.federation.time += EMERGENCY_S + 1
    other = glass.request(declared, declared=ahead, identifier=glass.identifier)
    assert refused(glass, other) == "NotFoundError release.nothing"
    assert "emergency.other_patient" in glass.refusals()


def test_one_person_declares_so_many_at_a_time_and_asking_twice_is_one(glass):
    first = glass.declare()
    assert glass.declare() == first
    for number in range(MAX_ELSEWHERE - 1):
        glass.declare(identifier=f"urn:mrn|{number}")
    with pytest.raises(UnavailableError, match=r"emergency\.rate"):
        glass.declare(identifier="urn:mrn|more")
    with pytest.raises(InputError):
        glass.declare(identifier="")


# Replay and relay


def test_attack_a_signed_request_is_sent_again_also_after_a_crash(glass, desks):
    signed, before = glass.request(glass.declare()), len(glass.noted())
    glass.send(signed)
    assert refused(glass, signed) == "ConflictError release.replayed"
    desks.federation.crash(RENHE)
    desks.put_together(RENHE)
    assert refused(glass, signed) == "ConflictError release.replayed"
    assert len(glass.noted()) == before + 1


def test_attack_the_answer_is_relayed_by_another_organisation_or_kept_for_another_request(glass, desks):
    signed = glass.request(glass.declare())
    answer = glass.send(signed)
    insurer = EmergencyAsker(desks.nodes[ANXIN]._emergency_asker._parts)  # noqa: SLF001  # its keys
    with pytest.raises(VerificationError, match=r"exchange\.wraps"):
        insurer._opened(signed.request, answer)  # noqa: SLF001  # as if it had been asked
    desks.on_answer = lambda _data: answer
    with pytest.raises(VerificationError, match=r"exchange\.request"):
        glass.ask(glass.declare())


def test_attack_a_record_in_the_answer_is_not_what_was_registered(glass, desks):
    def other(data: bytes) -> bytes:
        read = parse_answer(data)
        swapped = (read.records[1], read.records[0], *read.records[2:])
        return replace(read, records=swapped).encode()

    desks.on_answer = other
    declared = glass.declare()
    with pytest.raises(VerificationError, match=r"exchange\.record"):
        glass.ask(declared)
    noted = glass.site(TONGJI).records.accesses(declared_key(declared).hex())
    assert [row.direction for row in noted] == ["rejected"]


# Whoever does not tell


def overdue(desks) -> None:
    desks.federation.time = NOW + emergency_watch.UNTOLD_S + 1


def alarms(glass: Glass, org_id: str, code: str) -> list[dict]:
    found = glass.site(org_id).records.alarms(code=code)
    return [parse_canonical(row.fields, max_bytes=4096) for row in found]


def test_attack_the_custodian_omits_its_entry_and_the_asker_finds_it_missing(glass, desks):
    declared = glass.declare()
    glass.ask(declared)
    given = given_key(desks.asked[-1])
    glass.settle(TONGJI)
    desks.nodes[TONGJI].watch.round()
    assert not [row for row in alarms(glass, TONGJI, emergency_watch.UNTOLD) if row["object"] == given.hex()]
    overdue(desks)
    for _ in range(2):
        desks.nodes[TONGJI].watch.round()
    (alarm,) = [row for row in alarms(glass, TONGJI, emergency_watch.UNTOLD) if row["object"] == given.hex()]
    assert alarm["organisation"] == RENHE
    # The regulator knows by the asker's own entry that the custodian was asked.
    glass.everywhere(declared_key(declared))
    assert glass.told(COMMISSION, declared_key(declared))["custodian"] == RENHE


def test_attack_the_asker_tells_the_ledger_nothing_and_the_custodian_finds_it_missing(glass, desks):
    declared = replace(glass.declare(), object_id=fresh(16))
    glass.send(glass.request(declared))
    glass.settle(RENHE)
    overdue(desks)
    desks.nodes[RENHE].watch.round()
    missing = {"object": declared_key(declared).hex(), "organisation": TONGJI}
    assert missing in alarms(glass, RENHE, emergency_watch.UNTOLD)


def test_attack_the_asker_tells_the_ledger_another_reason_than_it_signed(glass, desks):
    declared = glass.declare()
    glass.send(glass.request(declared, reason="something else"))
    glass.settle()
    glass.everywhere(declared_key(declared))
    desks.nodes[RENHE].watch.round()
    differs = alarms(glass, RENHE, emergency_watch.DIFFERS)
    assert {"object": declared_key(declared).hex(), "organisation": TONGJI} in differs


def test_attack_the_custodian_tells_of_fewer_records_than_it_gave(glass, desks, monkeypatch):
    glass.ask(glass.declare())
    given = given_key(desks.asked[-1])
    glass.settle()
    glass.everywhere(given)
    shelf = glass.site(TONGJI).node.shelf
    held = shelf.at(given, 1)
    told = build_body(EMERGENCY, {**held.content, "count": 1}, held.evidence.value, fresh)
    monkeypatch.setattr(type(shelf), "at", lambda *_arguments: told)
    desks.nodes[TONGJI].watch.round()
    assert {"object": given.hex(), "organisation": RENHE} in alarms(glass, TONGJI, emergency_watch.DIFFERS)


def test_what_both_tell_as_they_must_is_no_alarm_and_is_waited_for_no_more(glass, desks):
    glass.ask(glass.declare())
    glass.settle()
    glass.everywhere(given_key(desks.asked[-1]))
    left = len(glass.site(TONGJI).records.pending(100, kind=emergency_watch.WATCH))
    assert desks.nodes[TONGJI].watch.round() < left
    overdue(desks)
    before = len(alarms(glass, TONGJI, emergency_watch.UNTOLD))
    desks.nodes[TONGJI].watch.round()
    assert len(alarms(glass, TONGJI, emergency_watch.UNTOLD)) == before


# A person of the custodian's who is called the same


def test_attack_the_note_of_a_release_opens_records_to_a_namesake_at_the_custodian(glass):
    glass.ask(glass.declare())
    assert glass.desk(RENHE).open_for(glass.local, glass.staff) is None
    assert glass.desk(RENHE).open_of(glass.staff) == []
    assert glass.desk(TONGJI).open_of(glass.staff) == []
    assert [one.identifier for one in glass.desk(TONGJI).elsewhere_of(glass.staff)] == [glass.identifier]


# Crashes and disks


def test_a_kill_before_the_custodians_write_gives_nothing_and_notes_nothing(glass, monkeypatch):
    signed, before = glass.request(glass.declare()), len(glass.noted())
    with monkeypatch.context() as changed:
        changed.setattr(RecordStore, "put_accesses", kill)
        with pytest.raises(Killed):
            glass.send(signed)
    assert len(glass.noted()) == before
    assert parse_answer(glass.send(signed)).records


def test_a_kill_after_the_custodians_write_leaves_its_entry_and_the_asker_asks_anew(glass, desks, monkeypatch):
    declared, before = glass.declare(), len(glass.noted())
    signed = glass.request(declared)
    with_parts(desks, monkeypatch, released=kill)
    with pytest.raises(Killed):
        glass.send(signed)
    desks.federation.crash(RENHE)
    desks.put_together(RENHE)
    assert refused(glass, signed) == "ConflictError release.replayed"
    assert len(glass.ask(declared)["records"]) == 3
    assert len(glass.noted()) == before + 2
    glass.settle()
    glass.everywhere(given_key(signed.encode()))


def test_an_audit_that_cannot_keep_it_gives_nothing(glass, desks, monkeypatch):
    def fails(*_arguments: object) -> None:
        raise UnavailableError("store.full")

    with_parts(desks, monkeypatch, released=fails)
    assert refused(glass, glass.request(glass.declare())) == "UnavailableError store.full"


@pytest.mark.parametrize("is_kept", [False, True])
def test_a_write_that_fails_at_the_custodian_gives_nothing_whether_it_was_kept_or_not(glass, monkeypatch, is_kept):
    real, before = RecordStore.put_accesses, len(glass.noted())
    declared = glass.declare()

    def fails(self, *arguments: object, **named: object) -> None:
        if is_kept:
            real(self, *arguments, **named)
        raise UnavailableError("store.io")

    with monkeypatch.context() as changed:
        changed.setattr(RecordStore, "put_accesses", fails)
        assert refused(glass, glass.request(declared)) == "UnavailableError store.io"
    assert len(glass.noted()) == before + is_kept
    assert parse_answer(glass.send(glass.request(declared))).records


def test_a_disk_that_fails_at_the_asker_gives_nobody_anything(glass, monkeypatch):
    declared = glass.declare()
    real = RecordStore.put_accesses

    def fails(self, rows, **named: object) -> None:
        if rows[0].direction != EMERGENCY:
            raise UnavailableError("store.full")
        real(self, rows, **named)

    monkeypatch.setattr(RecordStore, "put_accesses", fails)
    with pytest.raises(UnavailableError):
        glass.ask(declared)


def test_a_kill_of_the_asker_leaves_what_it_declared_and_what_it_waits_for(glass, desks):
    declared = glass.declare()
    glass.ask(declared)
    desks.federation.crash(TONGJI)
    desks.put_together(TONGJI)
    assert glass.desk().elsewhere_of(glass.staff) == [declared]
    payloads = [row.payload for row in glass.site(TONGJI).records.pending(100, kind=emergency_watch.WATCH)]
    assert any(given_key(desks.asked[-1]).hex().encode() in one for one in payloads)
    assert len(glass.ask(declared)["records"]) == 3


def test_where_the_way_is_lost_another_request_is_sent(glass, desks):
    lost = []

    def loses(data: bytes) -> bytes:
        if not lost:
            lost.append(data)
            raise UnavailableError("peer.unreachable")
        return data

    desks.on_answer = loses
    before = len(desks.asked)
    assert len(glass.ask(glass.declare())["records"]) == 3
    first, second = desks.asked[before:]
    assert given_key(first) != given_key(second)


def test_a_custodian_that_is_away_is_told_as_such(glass, desks):
    declared = glass.declare()
    desks.federation.down.add(RENHE)
    with pytest.raises(UnavailableError):
        glass.ask(declared)


def test_the_hospitals_that_can_be_asked_are_the_other_ones(desks):
    found = desks.local(TONGJI).call("emergency.custodians", {})["custodians"]
    assert [one["org_id"] for one in found] == [RENHE]


@pytest.mark.parametrize("org_id", [RENHE, TONGJI])
def test_attack_hospitals_that_ask_without_end_keep_nobody_else_from_asking(glass, org_id):
    """A thousand releases of an hour, of whomever, had the custodian answer nobody, and hid what its own staff has."""
    declared = glass.declare()
    detail = {"count": 1, "reason": REASON, "recipient": "other-hospital", "staff": "Practitioner/o", "until": NOW}
    rows = [
        Access(fresh(16), glass.token, EMERGENCY, NOW, canonical(detail | {"declaration": fresh(16).hex()}))
        for _ in range(MAX_PAGE)
    ]
    glass.site(org_id).records.put_accesses(rows)
    assert len(contents(glass.ask(declared))) == 3
