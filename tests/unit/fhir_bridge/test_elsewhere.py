"""A caller of one organisation reads a patient's records at another one, over its own FHIR API (`_custodian`)."""

from __future__ import annotations

import base64
import json
from itertools import count
from urllib.parse import parse_qsl, urlsplit

import pytest

from fhir_bridge import resources
from fhir_bridge.document import parse, write
from fhir_bridge.elsewhere import Expected, judged
from fhir_bridge.selecting import SearchSelection
from fhir_bridge.smart.access import Access
from fhir_bridge.smart.scopes import parse_scopes
from fhir_bridge.validation.check import Mode
from medchain.encoding import parse_canonical, unhex
from medchain.errors import VerificationError
from medchain.ledger.request import access_key
from medchain.node.custodian import Custodian
from medchain.node.exchange_client import ExchangeClient, ForeignRecord, Place
from medchain.node.records import NewStream
from medchain.node.release_ports import Selected
from tests.unit.fhir_bridge.consent_oracle import consent, label
from tests.unit.fhir_bridge.exchanging import ANXIN, BASE, RENHE, Case, api_of, code_of, exchanging, released, rows
from tests.unit.medchain.node.federation import COMMISSION, TONGJI

_NUMBERS = count(1)
ELSEWHERE = "https://renhe.example/fhir"
LOINC = "http://loinc.org"


@pytest.fixture(scope="module")
def insurer(tmp_path_factory):
    with exchanging(tmp_path_factory.mktemp("exchange")) as made:
        yield made


@pytest.fixture(scope="module")
def known(insurer):
    """A patient whose records and consent the tests leave as they are; each has a grant of its own."""
    made = Case(insurer.desks, f"p{next(_NUMBERS)}")
    made.store(made.patient(), made.observation(1), made.observation(2, code="4548-4"))
    made.store({"resourceType": "Condition", "id": f"{made.name}-c1", "subject": {"reference": f"Patient/{made.name}"}})
    made.permit("Observation")
    return made


@pytest.fixture
def case(insurer, known):
    """The patient, with what was released to count from."""
    known.before = len(released(insurer.desks, known.grant))
    yield known
    insurer.desks.federation.down.clear()


@pytest.fixture
def own(insurer):
    """A patient of a test's own."""
    made = Case(insurer.desks, f"p{next(_NUMBERS)}")
    made.store(made.patient(), made.observation(1), made.observation(2, code="4548-4"), made.observation(3))
    made.permit("Observation", "Patient")
    yield made
    insurer.desks.federation.down.clear()


def at(case: Case, number: int = 1) -> str:
    """Return the address of an observation."""
    return f"Observation/{case.name}-o{number}?_custodian={RENHE}"


def since(insurer, case: Case) -> list[dict]:
    """Return what was released under the patient's grant in this test."""
    return released(insurer.desks, case.grant)[case.before :]


def signed_queries(insurer, grant: str) -> list[str]:
    """Return the searches in the signed requests of a grant's newest access entry, as the hospital holds it."""
    site = insurer.desks.federation.sites[RENHE]
    key = access_key(unhex(grant, 32), RENHE)
    body = site.node.shelf.at(key, site.ledger.record(key).version)
    return [str(one["request"].get("query", "")) for one in body.evidence.value["requests"]]


def refusals(insurer, token: str) -> list[str]:
    """Return the reasons that the hospital noted of refusals to the insurer about a patient."""
    noted = insurer.desks.federation.sites[RENHE].records.accesses(token)
    details = [parse_canonical(one.detail, max_bytes=4096) for one in noted if one.direction == "refused"]
    return [str(one["reason"]) for one in details if one["requester"] == ANXIN]


def token_of(insurer, case: Case) -> str:
    return insurer.desks.federation.sites[RENHE].service.patient_token(case.name)


# Read


def test_a_record_is_read_as_its_custodian_registered_it(insurer, case):
    wanted = case.observation(1)
    answer = insurer.get(at(case))
    assert (answer.status_code, json.loads(answer.data)) == (200, wanted)
    assert answer.headers["Content-Location"] == f"{ELSEWHERE}/Observation/{wanted['id']}/_history/1"
    assert answer.headers["Medchain-Anchored"].startswith("final; position=")
    (access,) = since(insurer, case)
    assert (access["count"], access["purpose"], access["final"]) == (1, "HPAYMT", True)
    entry = access_key(unhex(case.grant, 32), RENHE).hex()
    assert answer.headers["Medchain-Access"] == f"{entry}/{access['version']}"


def test_only_the_record_that_is_read_is_released_and_the_signed_request_says_which(insurer, case):
    insurer.get(at(case, 2))
    assert [row["count"] for row in since(insurer, case)] == [1]
    assert signed_queries(insurer, case.grant) == [f"_id={case.name}-o2"]


def test_nothing_of_it_is_stored_here(insurer, case):
    assert insurer.get(at(case)).status_code == 200
    store = insurer.core.store
    assert store.get("Observation", f"{case.name}-o1") is None
    assert insurer.get(f"Observation/{case.name}-o1").status_code == 404


def test_a_part_of_a_record_and_xml_are_given_as_of_a_record_of_ones_own(insurer, case):
    part = json.loads(insurer.get(f"{at(case)}&_elements=status").data)
    assert (part["status"], "effectiveDateTime" in part) == ("final", False)
    assert insurer.get(f"{at(case)}&_format=xml").data.startswith(b"<?xml")


def test_the_audit_here_says_what_was_read_of_whom_where_and_for_what(insurer, case):
    assert insurer.get(at(case)).status_code == 200
    url = f"{ELSEWHERE}/Observation/{case.name}-o1/_history/1"
    events = [one for one in insurer.events() if url in [row.get("what", {}).get("reference") for row in one["entity"]]]
    event = events[-1]
    resources.check(parse(json.dumps(event).encode()), "AuditEvent", Mode.STRICT)
    query = next(base64.b64decode(row["query"]).decode() for row in event["entity"] if "query" in row)
    assert (event["outcome"], query) == ("0", f"_custodian={RENHE}")
    assert event["purposeOfEvent"][0]["coding"][0]["code"] == "HPAYMT"
    answer = insurer.get(f"Observation?patient={case.name}&_custodian={RENHE}")
    assert len(rows(answer)) == 3
    found = [row.get("what", {}).get("reference") for row in insurer.events()[-1]["entity"]]
    assert {f"{ELSEWHERE}/Patient/{case.name}", url} <= set(found)


# Absent and forbidden


def test_absent_and_forbidden_look_alike_and_the_reason_stays_at_the_custodian(insurer, case):
    stranger = Case(insurer.desks, f"p{next(_NUMBERS)}")
    stranger.store(stranger.observation(1))
    answers = [
        insurer.get(f"Observation/nobodys?_custodian={RENHE}"),
        insurer.get(f"Observation/{stranger.name}-o1?_custodian={RENHE}"),
        insurer.get(f"Condition/{case.name}-c1?_custodian={RENHE}"),
        insurer.get(at(case), purpose="TREAT"),
        insurer.get(at(case), purpose=""),
        insurer.get(at(case), scope="system/Patient.rs"),
        insurer.get(at(case), scope=f"system/Observation.rs?code={LOINC}|4548-4"),
    ]
    assert {(one.status_code, one.data) for one in answers} == {(404, answers[0].data)}
    assert since(insurer, case) == []
    # Of the type that is not granted, of both other purposes, of the scope's constraint.
    assert refusals(insurer, token_of(insurer, case)) == ["release.no_grant"] * 3 + ["release.no_record"]
    assert [one["outcome"] for one in insurer.events()[-7:]] == ["4"] * 7


def test_who_may_not_see_the_type_here_has_nobody_asked(insurer, case):
    insurer.local.called.clear()
    assert insurer.get(at(case), scope="system/Patient.rs").status_code == 404
    answer = insurer.get(f"Observation?patient={case.name}&_custodian={RENHE}", scope="system/Patient.rs")
    assert (answer.status_code, code_of(answer)) == (403, "scope.denied")
    assert insurer.local.called == []


def test_attack_a_scope_of_one_patient_reads_another_of_the_same_id_elsewhere(insurer, case):
    """The patient of a launch is one of this node; at another one somebody else may have that id."""
    launched = Access("app", parse_scopes("patient/*.rs"), user="Patient/x", role="patient", patient=case.name)
    assert insurer.ask(at(case), launched).status == 404
    assert insurer.ask(f"Patient/{case.name}/$everything?_custodian={RENHE}", launched).status == 404
    assert insurer.ask(f"Observation?patient={case.name}&_custodian={RENHE}", launched).status == 403
    assert since(insurer, case) == []


def test_attack_another_members_system_reads_through_this_ones_grant(insurer, case):
    member = Access("tongji", parse_scopes("system/*.rs"), member=TONGJI)
    insurer.local.called.clear()
    assert insurer.ask(at(case), member).status == 404
    assert insurer.ask(f"Practitioner/d1?_custodian={RENHE}", member).status == 404
    assert insurer.ask(f"Observation?patient={case.name}&_custodian={RENHE}", member).status == 403
    assert (insurer.local.called, since(insurer, case)) == ([], [])


def test_attack_another_organisation_asks_under_the_insurers_grant(insurer, case, monkeypatch):
    with api_of(insurer.desks, TONGJI) as other:
        assert other.get(at(case)).status_code == 404
        stolen = [Place(RENHE, case.grant)]
        monkeypatch.setattr(ExchangeClient, "grants", lambda *_: stolen)
        assert other.get(at(case)).status_code == 404
    assert since(insurer, case) == []


def test_after_a_withdrawal_nothing_is_read_any_more(insurer, own):
    absent = insurer.get(f"Observation/nobodys?_custodian={RENHE}")
    assert insurer.get(at(own)).status_code == 200
    insurer.desks.withdraw(own.phone, own.consent)
    answer = insurer.get(at(own))
    assert (answer.status_code, answer.data) == (404, absent.data)
    assert rows(insurer.get(f"Observation?patient={own.name}&_custodian={RENHE}")) == []
    assert len(released(insurer.desks, own.grant)) == 1


def test_attack_a_withdrawal_between_the_grants_and_the_request_gives_nothing(insurer, own, monkeypatch):
    grants = ExchangeClient.grants

    def then_withdrawn(client, custodian, about, asked):
        found = grants(client, custodian, about, asked)
        insurer.desks.withdraw(own.phone, own.consent)
        return found

    monkeypatch.setattr(ExchangeClient, "grants", then_withdrawn)
    assert insurer.get(at(own)).status_code == 404
    assert released(insurer.desks, own.grant) == []


# Custodians that lie, or are not there


def test_attack_a_custodian_sends_records_that_were_not_asked_for(insurer, case, monkeypatch):
    monkeypatch.setattr(SearchSelection, "of", lambda *_: Selected(None, lambda _content: True))
    for path in (at(case, 2), f"Observation?patient={case.name}&code=4548-4&_custodian={RENHE}"):
        answer = insurer.get(path)
        assert (answer.status_code, code_of(answer)) == (502, "exchange.asked")
        assert case.name.encode() not in answer.data


def test_attack_an_earlier_answer_is_sent_again(insurer, case, monkeypatch):
    kept = []
    release = Custodian.release

    def replayed(custodian, document, peer):
        if not kept:
            kept.append(release(custodian, document, peer))
        return kept[0]

    monkeypatch.setattr(Custodian, "release", replayed)
    assert insurer.get(at(case)).status_code == 200
    answer = insurer.get(at(case))
    assert (answer.status_code, code_of(answer)) == (502, "exchange.request")


def test_attack_an_answer_is_changed_on_the_way(insurer, case, monkeypatch):
    release = Custodian.release

    def changed(custodian, document, peer):
        answer = release(custodian, document, peer)
        return answer[:-1] + bytes([answer[-1] ^ 1])

    monkeypatch.setattr(Custodian, "release", changed)
    answer = insurer.get(f"Observation?patient={case.name}&_custodian={RENHE}")
    assert (answer.status_code, code_of(answer)) == (502, "exchange.record")
    assert b"Observation/" not in answer.data


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"resourceType":"Condition","id":"o1","subject":{"reference":"Patient/p1"}}', "type"),
        (b'{"resourceType":"Observation","id":"o 1","subject":{"reference":"Patient/p1"}}', "id"),
        (b'{"resourceType":"Observation","subject":{"reference":"Patient/p1"}}', "id"),
        (b'{"resourceType":"Observation","id":"o1","subject":{"reference":"Patient/p2"}}', "patient"),
        (b'{"resourceType":"Patient","id":"p2"}', "patient"),
        (b'{"resourceType":"Observation","id":"o1","status":"final"}', "search"),
        (b"[1]", "document.not_object"),
        (b"{", "document.not_json"),
    ],
)
def test_what_was_not_asked_for_is_refused_whatever_the_ledger_says(content, reason):
    def meets(_type, resource):
        return "status" not in resource

    expected = Expected(frozenset({"Observation", "Patient"}), "p1", meets)
    with pytest.raises(VerificationError, match=r"exchange\.asked") as caught:
        judged(ForeignRecord("application/fhir+json", content, 1, 5), ELSEWHERE, expected)
    assert caught.value.fields == {"reason": reason}


def test_what_is_no_resource_is_left_out_and_said_so(insurer, own):
    site = insurer.desks.federation.sites[RENHE]
    site.service.create_stream(NewStream("Observation", "scan", "image/jpeg", b"{}", token_of(insurer, own)), [b"scan"])
    own.store(own.observation(4))
    first, *others = rows(insurer.get(f"Patient/{own.name}/$everything?_custodian={RENHE}"))
    (issue,) = first["resource"]["issue"]
    assert issue["details"]["coding"][0]["code"] == "exchange.binary"
    assert issue["diagnostics"] == f"custodian={RENHE} records=1"
    assert len([one for one in others if one["search"]["mode"] == "match"]) == 5


def test_a_custodian_that_is_away_is_503_with_a_time_to_try_again(insurer, case):
    insurer.desks.federation.down.add(RENHE)
    for path in (at(case), f"Observation?patient={case.name}&_custodian={RENHE}"):
        answer = insurer.get(path)
        assert (answer.status_code, code_of(answer)) == (503, "exchange.unavailable")
        assert int(answer.headers["Retry-After"]) >= 5
        assert json.loads(answer.data)["issue"][0]["diagnostics"] == f"custodian={RENHE}"
    assert insurer.events()[-1]["outcome"] == "8"


def test_attack_a_custodian_that_answers_slowly_leaves_threads_for_ones_own_records(insurer, case):
    waiting, held = insurer.core.waiting, 0
    while waiting.acquire(blocking=False):
        held += 1
    try:
        answer = insurer.get(at(case))
        assert (answer.status_code, code_of(answer)) == (503, "exchange.busy")
        assert insurer.get("Observation").status_code == 200
    finally:
        for _ in range(held):
            waiting.release()
    assert insurer.get(at(case)).status_code == 200


@pytest.mark.parametrize("name", ["nobody", ANXIN, "", "*", f"{RENHE}&_custodian={COMMISSION}"])
def test_a_custodian_that_is_no_other_member_is_400(insurer, case, name):
    answer = insurer.get(f"Observation/{case.name}-o1?_custodian={name}")
    assert (answer.status_code, code_of(answer)) == (400, "exchange.custodian")


# Search


def test_a_search_finds_what_the_patient_permits_and_tells_who_gave_it(insurer, case):
    answer = insurer.get(f"Observation?patient={case.name}&_custodian={RENHE}")
    first, second, told = rows(answer)
    assert [first["resource"], second["resource"]] == [case.observation(1), case.observation(2, code="4548-4")]
    assert first["fullUrl"] == f"{ELSEWHERE}/Observation/{case.name}-o1"
    made = told["resource"]
    resources.check(parse(write(made)), "Provenance", Mode.STRICT)
    assert told["search"]["mode"] == "include"
    targets = [one["reference"] for one in made["target"]]
    assert targets == [f"{ELSEWHERE}/Observation/{case.name}-o{number}/_history/1" for number in (1, 2)]
    assert [one["who"]["identifier"]["value"] for one in made["agent"]] == [RENHE, ANXIN]
    (access,) = since(insurer, case)
    entry = access_key(unhex(case.grant, 32), RENHE).hex()
    assert made["entity"][0]["what"]["identifier"]["value"] == f"{entry}/{access['version']}"
    assert json.loads(answer.data)["link"] == [
        {"relation": "self", "url": f"{BASE}/Observation?_custodian={RENHE}&patient={case.name}"}
    ]


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("code=4548-4", [2]),
        ("code=http://loinc.org|718-7", [1]),
        ("code=718-7,4548-4", [1, 2]),
        ("date=2026-11-20&code:not=718-7", [2]),
        ("date=gt2026-11-21", []),
        ("status=final&_id={name}-o1", [1]),
    ],
)
def test_only_what_is_searched_for_is_released(insurer, case, query, numbers):
    asked = query.format(name=case.name)
    found = insurer.found(f"Observation?patient={case.name}&{asked}&_custodian={RENHE}")
    assert [one["id"] for one in found] == [f"{case.name}-o{number}" for number in numbers]
    assert [row["count"] for row in since(insurer, case)] == ([len(numbers)] if numbers else [])


def test_a_search_by_post_says_the_custodian_in_its_body(insurer, case):
    form = {"patient": case.name, "code": "4548-4", "_custodian": RENHE}
    answer = insurer.get("Observation/_search", method="POST", data=form)
    assert [one["resource"]["id"] for one in rows(answer)[:1]] == [f"{case.name}-o2"]


def test_a_constraint_of_the_callers_scopes_goes_to_the_custodian(insurer, case):
    scope = f"system/Observation.rs?code={LOINC}|4548-4"
    found = insurer.found(f"Observation?patient={case.name}&_custodian={RENHE}", scope=scope)
    assert [one["id"] for one in found] == [f"{case.name}-o2"]
    assert [row["count"] for row in since(insurer, case)] == [1]


def test_of_several_constraints_what_none_admits_is_not_shown(insurer, case):
    scope = f"system/Observation.rs?code={LOINC}|4548-4 system/Observation.rs?status=amended&code={LOINC}|1-1"
    found = insurer.found(f"Observation?patient={case.name}&_custodian={RENHE}", scope=scope)
    assert [one["id"] for one in found] == [f"{case.name}-o2"]


def test_pages_are_followed_each_with_an_entry_of_its_own(insurer, own):
    seen, path = [], f"Observation?patient={own.name}&_count=1&_custodian={RENHE}"
    while path:
        answer = insurer.get(path)
        seen += [one["resource"]["id"] for one in rows(answer) if one["search"]["mode"] == "match"]
        links = {one["relation"]: one["url"] for one in json.loads(answer.data)["link"]}
        path = links.get("next", "").removeprefix(f"{BASE}/")
    assert seen == [f"{own.name}-o{number}" for number in (1, 2, 3)]
    assert [row["count"] for row in released(insurer.desks, own.grant)] == [1, 1, 1]


def test_a_cursor_counts_for_its_client_its_custodian_and_this_search(insurer, own):
    answer = insurer.get(f"Observation?patient={own.name}&_count=1&_custodian={RENHE}")
    url = next(one["url"] for one in json.loads(answer.data)["link"] if one["relation"] == "next")
    cursor = dict(parse_qsl(urlsplit(url).query))["_cursor"]
    for path in (
        f"Observation?_cursor={cursor}",
        f"Condition?_custodian={RENHE}&_cursor={cursor}",
        f"Observation?_custodian={TONGJI}&_cursor={cursor}",
    ):
        refused = insurer.get(path)
        assert (refused.status_code, code_of(refused)) == (400, "search.cursor"), path
    other = Access("other", parse_scopes("system/*.rs"))
    assert insurer.ask(f"Observation?_custodian={RENHE}&_cursor={cursor}", other).status == 400


def test_after_a_withdrawal_no_further_page_is_given(insurer, own):
    answer = insurer.get(f"Observation?patient={own.name}&_count=1&_custodian={RENHE}")
    url = next(one["url"] for one in json.loads(answer.data)["link"] if one["relation"] == "next")
    insurer.desks.withdraw(own.phone, own.consent)
    assert rows(insurer.get(url.removeprefix(f"{BASE}/"))) == []


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", "exchange.patient"),
        ("code=718-7", "exchange.patient"),
        ("patient=a,b", "exchange.patient"),
        ("subject=Group/g1", "exchange.patient"),
        ("patient={name}&colour=red", "search.parameter"),
        ("patient={name}&_sort=date", "exchange.parameter"),
        ("patient={name}&_include=Observation:subject", "exchange.parameter"),
        ("patient={name}&_revinclude=Provenance:target", "exchange.parameter"),
        ("patient={name}&_has:Provenance:target:_id=x", "exchange.parameter"),
        ("patient={name}&subject:Patient.name=x", "exchange.parameter"),
        ("patient={name}&_list=l1", "exchange.parameter"),
        ("patient={name}&_summary=count", "exchange.parameter"),
        ("patient={name}&_contained=true", "exchange.parameter"),
        ("patient={name}&_filter=x", "search.unsupported"),
    ],
)
def test_what_the_custodian_could_not_answer_alone_is_refused_and_releases_nothing(insurer, case, query, code):
    answer = insurer.get(f"Observation?{query.format(name=case.name)}&_custodian={RENHE}")
    assert (answer.status_code, code_of(answer)) == (400, code)
    assert since(insurer, case) == []


# Everything


def test_everything_is_all_that_grant_and_scopes_let_through(insurer, own):
    path = f"Patient/{own.name}/$everything?_custodian={RENHE}"
    everything = [one["id"] for one in insurer.found(path)]
    assert everything == [own.name, *(f"{own.name}-o{number}" for number in (1, 2, 3))]
    only = insurer.found(path, scope="system/Patient.rs")
    assert [one["id"] for one in only] == [own.name]
    typed = insurer.found(f"{path}&_type=Observation&_count=2")
    assert [one["id"] for one in typed] == [f"{own.name}-o1", f"{own.name}-o2"]
    body = {"resourceType": "Parameters", "parameter": [{"name": "_custodian", "valueString": RENHE}]}
    posted = insurer.get(f"Patient/{own.name}/$everything", method="POST", json=body)
    assert len(rows(posted)) == 5


@pytest.mark.parametrize("query", ["start=2020-01-01", "_since=2020-01-01", "colour=red"])
def test_everything_refuses_what_it_cannot_ask_for(insurer, own, query):
    answer = insurer.get(f"Patient/{own.name}/$everything?{query}&_custodian={RENHE}")
    assert (answer.status_code, code_of(answer)) == (400, "exchange.parameter")
    assert released(insurer.desks, own.grant) == []


# What is done here alone


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "Observation/x1?_custodian={custodian}"),
        ("PUT", "Observation/x1?%5Fcustodian={custodian}"),
        ("POST", "Observation?_custodian={custodian}"),
        ("POST", "?_custodian={custodian}"),
        ("GET", "?_custodian={custodian}"),
        ("GET", "Observation/x1/_history?_custodian={custodian}"),
        ("GET", "Patient/x1/Observation?_custodian={custodian}"),
        ("GET", "$export?_custodian={custodian}"),
        ("GET", "Encounter/x1/$everything?_custodian={custodian}"),
    ],
)
def test_what_is_done_here_alone_takes_no_custodian(insurer, method, path):
    body = {"resourceType": "Observation", "id": "x1", "status": "final", "code": {"text": "x"}}
    more = {} if method == "GET" else {"json": body}
    answer = insurer.get(path.format(custodian=RENHE), method=method, scope="system/*.cruds", **more)
    assert (answer.status_code, code_of(answer)) == (400, "exchange.interaction")
    assert insurer.core.store.get("Observation", "x1") is None


def test_a_request_to_others_is_never_one_that_the_loop_of_a_worker_answers_itself(insurer):
    """Or a custodian that answers slowly would stop all of a worker's clients."""
    front = insurer.client.application.wsgi_app
    for query, is_named in ((f"_custodian={RENHE}", True), (f"%5Fcustodian={RENHE}", True), ("_id=x", False)):
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/fhir/Observation/x", "QUERY_STRING": query}
        assert (front.kind_of(environ) is None) == is_named


def test_an_entry_of_a_bundle_names_no_custodian(insurer, case):
    entry = {"request": {"method": "GET", "url": at(case)}}
    batch = {"resourceType": "Bundle", "type": "batch", "entry": [entry]}
    answer = insurer.get("", method="POST", scope="system/*.cruds", json=batch)
    assert [one["response"]["status"][:3] for one in rows(answer)] == ["400"]
    assert since(insurer, case) == []


# All custodians at once, by a patient of this node


@pytest.fixture
def member(insurer, own):
    """The patient as the insurer knows her, under an id of its own that is somebody else's at the hospital."""
    name = f"m{next(_NUMBERS)}"
    body = {"resourceType": "Patient", "id": name}
    assert insurer.get(f"Patient/{name}", method="PUT", scope="system/*.cruds", json=body).status_code == 201
    insurer.local.call("patient", {"patient": name, "subject": own.subject})
    return name


def test_all_custodians_are_asked_about_a_patient_of_this_node(insurer, own, member):
    found = insurer.found(f"Observation?patient={member}&code=4548-4&_custodian=*")
    assert [one["id"] for one in found] == [f"{own.name}-o2"]
    assert signed_queries(insurer, own.grant) == ["code=4548-4"]
    assert "exchange.grants" not in insurer.local.called[-3:]
    everything = insurer.found(f"Patient/{member}/$everything?_custodian=*&_type=Patient")
    assert [one["id"] for one in everything] == [own.name]


@pytest.mark.usefixtures("own")
def test_of_all_custodians_who_is_away_is_named_and_the_others_answer(insurer, member, monkeypatch):
    of_patient = ExchangeClient.of_patient
    away = Place(TONGJI, "0" * 64)
    monkeypatch.setattr(ExchangeClient, "of_patient", lambda *given: [away, *of_patient(*given)])
    insurer.desks.federation.down.add(TONGJI)
    first, *others = rows(insurer.get(f"Observation?patient={member}&_custodian=*"))
    (issue,) = first["resource"]["issue"]
    assert (first["search"]["mode"], issue["severity"]) == ("outcome", "warning")
    assert (issue["details"]["coding"][0]["code"], issue["diagnostics"]) == (
        "exchange.unavailable",
        f"custodian={TONGJI}",
    )
    assert len([one for one in others if one["search"]["mode"] == "match"]) == 3


def test_of_all_custodians_if_all_are_away_it_is_503(insurer, own, member):
    insurer.desks.federation.down.add(RENHE)
    answer = insurer.get(f"Observation?patient={member}&_custodian=*")
    assert (answer.status_code, code_of(answer)) == (503, "exchange.unavailable")
    assert released(insurer.desks, own.grant) == []


def give(insurer, member: str, provision: dict) -> None:
    """Have the patient say at the insurer what its own callers may not see."""
    body = consent(provision, patient={"reference": f"Patient/{member}"}) | {"id": f"{member}-c"}
    answer = insurer.get(f"Consent/{member}-c", method="PUT", scope="system/*.cruds", json=body)
    assert answer.status_code in (200, 201), answer.data


def test_what_the_patient_denies_here_is_not_asked_for_elsewhere(insurer, own, member):
    give(insurer, member, {"type": "deny"})
    assert insurer.get(at(own)).status_code == 404
    for path in (f"Observation?patient={member}&_custodian=*", f"Observation?patient={own.name}&_custodian={RENHE}"):
        assert rows(insurer.get(path)) == []
    assert released(insurer.desks, own.grant) == []


def test_a_record_of_a_kind_that_the_patient_denies_here_is_not_shown(insurer, own, member):
    own.store(own.observation(4, meta={"security": label("HIV")}))
    give(insurer, member, {"type": "permit", "provision": [{"type": "deny", "securityLabel": label("HIV")}]})
    found = insurer.found(f"Observation?patient={own.name}&_custodian={RENHE}")
    assert [one["id"] for one in found] == [f"{own.name}-o{number}" for number in (1, 2, 3)]


def test_who_may_not_see_the_patient_here_finds_none_of_hers_elsewhere(insurer, own, member):
    for path in (f"Observation?patient={member}&_custodian=*", "Observation?patient=nobody&_custodian=*"):
        assert insurer.get(path, scope="system/Observation.rs").status_code == 404
    assert released(insurer.desks, own.grant) == []
    begun = json.loads(insurer.get(f"Observation?patient={member}&_count=1&_custodian=*").data)
    url = next(one["url"] for one in begun["link"] if one["relation"] == "next").removeprefix(f"{BASE}/")
    assert insurer.get(url, scope="system/Observation.rs").status_code == 404
    assert [one["search"]["mode"] for one in rows(insurer.get(url))] == ["match", "include"]
