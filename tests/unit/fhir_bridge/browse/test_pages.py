"""Pages of a node's own records, as a browser asks for them: what is shown, to whom, and what is kept of it."""

from __future__ import annotations

import html
import io
import json
import re
import zipfile

import pytest

from fhir_bridge.browse.words import BROWSE_WORDS
from fhir_bridge.smart.words import SMART_WORDS
from medchain.errors import ConflictError
from medchain.store.accounts import Role
from medchain.web.words import WORDS
from tests.unit.fhir_bridge.test_audit import events

OBSERVATION = {
    "resourceType": "Observation",
    "id": "o1",
    "status": "final",
    "code": {"text": "<b>血红蛋白</b>", "coding": [{"system": "http://loinc.org", "code": "718-7"}]},
    "subject": {"reference": "Patient/p1", "display": "王芳"},
    "effectiveDateTime": "2026-03-04",
    "valueQuantity": {"value": 135, "unit": "g/L"},
}
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'"


@pytest.fixture
def desk(world):
    """A world with an observation of p1, and a clinician who is signed in."""
    assert world.server.call("PUT", "/fhir/Observation/o1", OBSERVATION).status_code == 201
    world.sign_in()
    return world


def find(world, **form: str):
    page = world.get("/browse")
    return world.post("/browse/find", {"csrf": world.csrf(page.text)} | form)


def test_who_is_not_signed_in_is_sent_to_do_so(world):
    for path in ("/browse", "/browse/Patient/p1", "/browse/Patient/p1/versions/1/proof"):
        answer = world.get(path)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in")


def test_a_patient_is_found_by_identifier_and_by_name(desk):
    for text in ("MRN-1", "王芳", "wangfang"):
        page = find(desk, step="patient", text=text)
        assert page.status_code == 200
        assert "/browse/Patient/p1" in page.text
    assert "/browse/Patient/p1" not in find(desk, step="patient", text="李雷").text
    assert "/browse/Patient/p1" not in find(desk, step="patient", text="").text


def test_any_record_is_found_by_conditions_of_fhir(desk):
    page = find(desk, step="any", type="Observation", query="code=718-7&patient=Patient/p1")
    assert "/browse/Observation/o1" in page.text
    wrong = find(desk, step="any", type="Observation", query="colour=red")
    assert wrong.status_code == 400
    assert 'role="alert"' in wrong.text
    assert "colour" in wrong.text
    assert find(desk, step="any", type="../x", query="").status_code == 404


def test_what_was_searched_for_is_in_no_address(desk):
    page = find(desk, step="patient", text="王芳")
    addresses = re.findall(r'(?:href|action)="([^"]+)"', page.text)
    assert addresses
    assert not [one for one in addresses if "王" in html.unescape(one) or "MRN" in one or "%E7%8E%8B" in one]


def test_next_pages_follow_a_sealed_cursor(desk):
    for number in range(25):
        one = OBSERVATION | {"id": f"n{number}"}
        assert desk.server.call("PUT", f"/fhir/Observation/n{number}", one).status_code == 201
    page = find(desk, step="any", type="Observation", query="status=final")
    seen = set(re.findall(r'href="/browse/(Observation/[a-z0-9]+)"', page.text))
    more = re.search(r'href="(/browse/Observation\?cursor=[^"]+)"', page.text)
    assert len(seen) == 20
    assert "final" not in more[1]
    rest = desk.get(html.unescape(more[1]))
    seen |= set(re.findall(r'href="/browse/(Observation/[a-z0-9]+)"', rest.text))
    assert len(seen) == 26
    assert f"{more[1]}&amp;lang=" in rest.text
    assert desk.get("/browse/Observation?cursor=forged").status_code == 400
    assert desk.get("/browse/Observation").headers["Location"] == "/browse"


def test_a_patients_page_tells_of_all_that_there_is_the_newest_first(desk):
    older = OBSERVATION | {"id": "o2", "effectiveDateTime": "2020-01-01"}
    assert desk.server.call("PUT", "/fhir/Observation/o2", older).status_code == 201
    page = desk.get("/browse/Patient/p1", **{"Accept-Language": "en"}).text
    assert page.index("/browse/Observation/o1") < page.index("/browse/Observation/o2")
    assert "/browse/Encounter/e1" in page
    assert "1980-01-02" in page
    listed = desk.get("/browse/Patient/p1/of/Observation").text
    assert "/browse/Observation/o2" in listed


def test_a_record_is_shown_as_a_table_and_as_it_is_and_is_never_markup(desk):
    page = desk.get("/browse/Observation/o1", **{"Accept-Language": "en"})
    assert "<b>血红蛋白</b>" not in page.text
    assert "&lt;b&gt;血红蛋白&lt;/b&gt; (718-7): 135 g/L" in page.text
    assert '<a href="/browse/Patient/p1">王芳</a>' in page.text
    shown = html.unescape(re.search(r'<pre class="mc-code"[^>]*>(.*?)</pre>', page.text, re.DOTALL)[1])
    assert json.loads(shown)["code"] == OBSERVATION["code"]
    assert "waiting for the ledger" in page.text


def test_versions_say_how_far_they_are_anchored_and_have_their_proofs(desk):
    desk.server.anchor_all(4711)
    desk.server.final[0] = 5000
    assert desk.server.call("PUT", "/fhir/Observation/o1", OBSERVATION | {"status": "amended"}).status_code == 200
    page = desk.get("/browse/Observation/o1", **{"Accept-Language": "en"}).text
    assert page.count("final, entry 4711 of the ledger") == 1
    assert page.count("waiting for the ledger") == 2
    old = desk.get("/browse/Observation/o1/versions/1", **{"Accept-Language": "en"}).text
    assert "This is an older version, 1." in old
    assert "final, entry 4711 of the ledger" in old
    proof = desk.get("/browse/Observation/o1/versions/1/proof")
    assert proof.headers["Content-Disposition"] == 'attachment; filename="Observation-o1-1.proof.zip"'
    assert zipfile.ZipFile(io.BytesIO(proof.data)).read("version") == b"1"


def test_a_proof_of_what_has_none_yet_is_refused_with_the_reason(desk):
    def nothing(_stored):
        raise ConflictError("trace.not_final")

    object.__setattr__(desk.server.core, "prove", nothing)
    answer = desk.get("/browse/Observation/o1/versions/1/proof", **{"Accept-Language": "en"})
    assert (answer.status_code, answer.mimetype) == (409, "text/html")


def test_a_deleted_record_is_told_as_the_server_tells_it(desk):
    assert desk.server.call("DELETE", "/fhir/Observation/o1").status_code == 204
    answer = desk.get("/browse/Observation/o1", **{"Accept-Language": "zh"})
    assert answer.status_code == 410
    assert "该资源已被删除；历史版本仍在。" in answer.text
    assert "2（已删除）" in answer.text
    assert 'href="/browse/Observation/o1/versions/1"' in answer.text
    page = desk.get("/browse/Observation/o1/versions/1", **{"Accept-Language": "en"}).text
    assert "2 (deleted)" in page


def test_a_file_is_told_of_and_given_to_keep_and_never_run(desk):
    content = b"<script>alert(1)</script>"
    made = desk.server.call("POST", "/fhir/Binary", content, Content_Type="text/html", X_Security_Context="Patient/p1")
    record = made.headers["Location"].split("/fhir/")[1].split("/_history")[0]
    page = desk.get(f"/browse/{record}", **{"Accept-Language": "en"}).text
    assert "text/html" in page
    assert "25 bytes" in page
    assert '<a href="/browse/Patient/p1">' in page
    answer = desk.get(f"/browse/{record}/versions/1/content")
    assert answer.data == content
    assert answer.headers["Content-Disposition"].startswith("attachment; ")
    assert answer.headers["Content-Security-Policy"].startswith("sandbox; ")
    assert desk.get(f"/browse/{record}/versions/1").status_code == 200
    assert desk.get("/browse/Patient/p1/versions/1/content").status_code == 404


def test_a_role_sees_what_it_may_hand_on_and_no_more(world):
    assert world.server.call("PUT", "/fhir/Observation/o1", OBSERVATION).status_code == 201
    seen = {}
    for role in Role:
        world.sign_in(role)
        types = set(re.findall(r'<option value="([A-Za-z]+)"', world.get("/browse").text))
        statuses = [world.get(f"/browse/{one}").status_code for one in ("Patient/p1", "Observation/o1")]
        seen[role] = (len(types), "Patient" in types, *statuses)
    assert seen == {
        # All but AuditEvents.
        Role.CLINICIAN: (144, True, 200, 200),
        Role.DESK: (23, True, 200, 404),
        Role.AUDITOR: (5, False, 404, 404),
        Role.ADMINISTRATOR: (6, False, 404, 404),
        # A patient has pages of the own, and none of these.
        Role.PATIENT: (0, False, 403, 403),
    }
    world.sign_in(Role.DESK)
    page = world.get("/browse/Patient/p1").text
    assert "/browse/Encounter/e1" in page
    assert "/browse/Observation/o1" not in page


def test_what_a_role_may_not_search_is_refused(world):
    world.sign_in(Role.AUDITOR)
    answer = find(world, step="patient", text="王芳")
    assert answer.status_code == 403
    assert "/browse/Patient/p1" not in answer.text


def test_each_look_is_on_the_audit_with_who_looked(desk):
    events(desk.server)
    desk.get("/browse/Observation/o1")
    find(desk, step="patient", text="MRN-1")
    read, history, search = events(desk.server)[-3:]
    assert [one["subtype"][0]["code"] for one in (read, history, search)] == ["read", "history", "search"]
    who = [row["who"] for row in read["agent"]]
    assert who[0]["identifier"]["value"] == "(browse)"
    assert who[1]["reference"] == "Practitioner/17"


def test_a_form_of_another_site_or_without_its_token_finds_nothing(desk):
    page = desk.get("/browse").text
    form = {"csrf": desk.csrf(page), "step": "patient", "text": "MRN-1"}
    assert desk.post("/browse/find", form | {"csrf": "x"}).status_code == 403
    assert desk.post("/browse/find", form, origin="https://evil.example").status_code == 403
    assert desk.post("/browse/find", form, origin=None).status_code == 403
    assert desk.get("/browse/find").headers["Location"] == "/browse"


@pytest.mark.parametrize(
    "path",
    [
        "/browse/patient/p1",
        "/browse/Patient/$everything",
        "/browse/Patient/_history",
        "/browse/Patient/p1/of/x",
        "/browse/Nothing/p1",
    ],
)
def test_addresses_that_name_no_record_are_no_way_to_operations(desk, path):
    assert desk.get(path).status_code == 404


def test_pages_run_no_script_and_are_kept_by_nobody(desk):
    for path in ("/browse", "/browse/Patient/p1", "/browse/Observation/o1"):
        answer = desk.get(path)
        assert answer.headers["Content-Security-Policy"].startswith(POLICY)
        assert answer.headers["Cache-Control"] == "no-store"
        assert "<script" not in answer.text
        assert " style=" not in answer.text


def test_every_word_of_the_pages_exists_in_both_languages():
    assert all(zh and en for zh, en in BROWSE_WORDS.values())
    assert not BROWSE_WORDS.keys() & (SMART_WORDS.keys() | WORDS.keys())
