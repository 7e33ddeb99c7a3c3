"""The pages of claims in a real browser, over whole nodes: two languages, desk, phone, paper, keyboard, no scripts."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import re
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from werkzeug.serving import make_server

from medchain.claims.cases import CaseClient
from medchain.errors import NotFoundError
from medchain.store.accounts import Role
from tests.e2e.accessibility import violations
from tests.e2e.browser import Browser, is_there
from tests.e2e.running_demo import RunningDemo
from tests.e2e.scripts_off import faults_of
from tests.e2e.test_browse_browser import signed_in
from tests.ports import free_ports
from tests.unit.fhir_bridge.claims_desk.judged import GREEN, judge
from tests.unit.fhir_bridge.staff.conftest import World, opened
from tests.unit.medchain.claims.filed import ELSEWHERE, content
from tests.unit.medchain.claims.hospitals import Hospitals, running_hospitals
from tests.unit.medchain.claims.questions import issued, row
from tests.unit.medchain.node.desks import Desks
from tests.unit.medchain.node.federation import ANXIN, RENHE
from tests.waiting import eventually

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not is_there(), reason="needs Debian's chromium and chromium-driver (`make browser`)"),
]

EMPTY = (
    ("cases", "cases-empty"),
    ("disputes", "disputes-empty"),
    ("check", "check-empty"),
    ("proofs", "proofs-empty"),
)
INSURER, HOSPITAL = "anxin-insurance", "renhe-hospital"
SIZES = ((390, 844), (1280, 900))
MOST_BYTES = 70 * 1024
# Each after all before, and all after that of the sample: the newest is the last by number.
NUMBERS = (f"AX2025092500{number:05}" for number in itertools.count(20_001))
DOWN, ENTER, UP = "\ue015", "\ue007", "\ue013"


@dataclass
class Pages:
    """An insurer's pages and a hospital's, each with a browser of its desk."""

    hospitals: Hospitals
    worlds: dict[str, World]
    browsers: dict[str, Browser]
    web: dict[str, str]

    def filed(self, *, is_judged: bool = True, is_green: bool = False) -> dict:
        """Open a claim, and perhaps judge it."""
        given = {"row": row().to_json()}
        more = {"supportingInfo": [{"sequence": 1, "category": {"text": "info"}, "valueReference": ELSEWHERE}]}
        made = content(identifier=[{"value": next(NUMBERS)}], **({} if is_green else more))
        case = CaseClient(self.hospitals.local(ANXIN)).take(made, given)
        if is_judged:
            findings = {"findings": GREEN} if is_green else {}
            judge(self.worlds[ANXIN].core.store, case, **findings)
        return case

    def disputed(self, **changes: object) -> str:
        """Ask the hospital about a claim; returns the address of it."""
        case = CaseClient(self.hospitals.local(ANXIN)).take(content())
        asked = {"by": "Practitioner/w1", "claim": case["digest"], "days": 7, "hospital": RENHE}
        asked |= {"text": "住院天数与发票不符，请核对。Why?"}
        return f"/claims/disputes/{self.hospitals.local(ANXIN).call('dispute.open', asked | changes)['id']}"


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> Iterator[Pages]:
    with ExitStack() as stack:
        hospitals = stack.enter_context(running_hospitals(tmp_path_factory.mktemp("claims")))
        hospitals.registers[RENHE].rows = [issued()]
        desks = Desks(hospitals.federation)
        made = Pages(hospitals, {}, {}, {})
        ports = free_ports(2, tmp_path_factory.mktemp("ports"))
        for org_id, port in zip((ANXIN, RENHE), ports, strict=True):
            made.web[org_id] = f"http://localhost:{port}"
            world = made.worlds[org_id] = opened(desks, org_id, stack, made.web[org_id])
            world.local.operations.update(hospitals.nodes[org_id].operations())
            server = make_server("localhost", port, world.app, threaded=True)
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            browser = made.browsers[org_id] = Browser(tmp_path_factory.mktemp(org_id))
            stack.callback(browser.close)
            browser.open(f"{made.web[org_id]}/sign-in")
            browser.plant(world.site.cookie, world.session(Role.DESK))
        yield made


def judged(pages: Pages, org_id: str, path: str, folder: Path, name: str) -> list[str]:
    """Tell what axe-core has against a page in both languages at both sizes, and take pictures."""
    browser, found = pages.browsers[org_id], []
    for language in ("zh", "en"):
        browser.open(f"{pages.web[org_id]}{path}{'&' if '?' in path else '?'}lang={language}")
        found += shown(browser, folder, f"{name}-{language}")
    return found


def shown(browser: Browser, folder: Path, name: str) -> list[str]:
    """Tell the same of the page that a browser shows."""
    browser.wait_for("#main")
    found = []
    for width, height in SIZES:
        browser.resize(width, height)
        browser.picture(folder / f"claims-{name}-{width}.png")
        if browser.script("return document.documentElement.scrollWidth") > width:
            found.append(f"{name} is wider than {width}")
        found += [f"{name} {width} {one}" for one in violations(browser)]
    return found


def test_empty_pages_say_so_and_break_no_rule_of_accessibility(pages, pictures):
    found = []
    for path, name in EMPTY:
        found += judged(pages, ANXIN, f"/claims/{path}", pictures, name)
    assert found + judged(pages, RENHE, "/claims/disputes", pictures, "hospital-empty") == []


def test_full_pages_break_no_rule_of_accessibility(pages, pictures):
    case, place = pages.filed(), pages.disputed()
    pages.filed(is_green=True)
    fresh = pages.filed(is_judged=False)
    found = judged(pages, ANXIN, "/claims/cases", pictures, "cases")
    found += judged(pages, ANXIN, f"/claims/cases/{case['id']}", pictures, "case")
    found += judged(pages, ANXIN, f"/claims/cases/{fresh['id']}", pictures, "case-new")
    found += judged(pages, ANXIN, "/claims/disputes", pictures, "disputes")
    found += judged(pages, RENHE, place, pictures, "hospital-dispute")
    assert found + judged(pages, ANXIN, place, pictures, "dispute") == []


def test_a_claim_goes_from_the_ask_to_the_permission_to_the_verdict(pages, pictures, monkeypatch):
    browser, hospitals, found = pages.browsers[ANXIN], pages.hospitals, list[str]()
    browser.open(f"{pages.web[ANXIN]}/claims/cases?lang=en")
    browser.script("document.querySelectorAll('main details').forEach((one) => { one.open = true })")
    browser.type("#content", content(identifier=[{"value": next(NUMBERS)}]).decode())
    browser.type("#policy_start", "2025-03-01")
    browser.type("#policy_waiting", "ninety")
    found += shown(browser, pictures, "open-filled")
    browser.leave("form[action='/claims/cases/open'] button")
    browser.wait_until("a whole number from 0 to 3650")
    found += shown(browser, pictures, "open-wrong")
    browser.script("document.querySelector('#policy_waiting').value = '90'")
    browser.leave("form[action='/claims/cases/open'] button")
    browser.wait_until("What is known so far")
    path = urlsplit(browser.url).path
    found += judged(pages, ANXIN, path, pictures, "case-opened")
    browser.type("#reason", "your claim for the stay in September")
    browser.leave("form[action$='/ask'] button")
    browser.wait_until("Wait for the patient.")
    found += judged(pages, ANXIN, path, pictures, "case-asked")
    monkeypatch.setattr(hospitals, "for_claim", lambda _claim: [(RENHE, b"\x07" * 32)])
    monkeypatch.setattr(hospitals, "disclose", told_nothing)
    hospitals.nodes[ANXIN].permissions.round()
    found += judged(pages, ANXIN, path, pictures, "case-permitted")
    browser.script("document.querySelectorAll('main details').forEach((one) => { one.open = true })")
    browser.type("#policy_end", "2025-02-28")
    browser.leave("form[action$='/terms'] button")
    browser.wait_until("before its first")
    found += shown(browser, pictures, "terms-wrong")
    browser.script("document.querySelector('#policy_end').value = '2025-12-31'")
    browser.leave("form[action$='/terms'] button")
    browser.wait_until("1 Mar 2025 to 31 Dec 2025, 90 waiting days")
    browser.leave("form[action$='/judge'] button")
    browser.wait_until("Hospitals that told nothing")
    assert found + judged(pages, ANXIN, path, pictures, "case-untold") == []


def told_nothing(_wish: object) -> None:
    raise NotFoundError("release.nothing")


def test_errors_break_no_rule_of_accessibility_and_keep_what_was_typed(pages, pictures):
    browser, found = pages.browsers[ANXIN], judged(pages, ANXIN, f"/claims/cases/{'0' * 32}", pictures, "error")
    for language in ("zh", "en"):
        browser.open(f"{pages.web[ANXIN]}/claims/cases?lang={language}")
        browser.type("#reference", "Patient/p1")
        browser.leave("form[action='/claims/cases/open'] button")
        found += shown(browser, pictures, f"open-error-{language}")
        browser.open(f"{pages.web[ANXIN]}/claims/check?lang={language}")
        for name, value in (("issuer", "99010001"), ("number", "1774778511"), ("date", "x"), ("check_code", "rha0jt")):
            browser.type(f"#{name}", value)
        browser.leave("form[action='/claims/check/one'] button")
        found += shown(browser, pictures, f"check-error-{language}")
        assert browser.script("return document.querySelector('#number').value") == "1774778511"
    assert found == []


def test_an_invoice_and_a_table_are_checked(pages, pictures, tmp_path):
    browser, held = pages.browsers[ANXIN], row()
    browser.open(f"{pages.web[ANXIN]}/claims/check?lang=en")
    for name in ("issuer", "code", "number", "date", "check_code", "amount"):
        browser.type(f"#{name}", getattr(held, name))
    browser.leave("form[action='/claims/check/one'] button")
    browser.wait_until("genuine, not claimed")
    assert shown(browser, pictures, "check-found") == []
    table = tmp_path / "t.csv"
    fields = f"{held.issuer},{held.code},{{}},{held.date},{held.check_code}"
    table.write_text("\n".join(["issuer,code,number,date,check_code", fields.format(held.number), fields.format("9")]))
    browser.type("#table", str(table))
    browser.leave("form[action='/claims/check/table'] button")
    browser.wait_until("0 of 2 done")
    assert shown(browser, pictures, "batch-waiting") == []
    while pages.hospitals.nodes[ANXIN].checks.round():
        pass
    # The page looks again by itself.
    browser.wait_until("Download the report")
    assert shown(browser, pictures, "batch-done") == []


def test_what_somebody_writes_is_kept_while_the_page_looks_again_by_itself(pages, monkeypatch):
    gate, browser = threading.Event(), pages.browsers[ANXIN]
    monkeypatch.setattr(pages.hospitals, "grants", lambda *_: [] * gate.wait(60))
    case, client = pages.filed(is_judged=False), CaseClient(pages.hospitals.local(ANXIN))
    try:
        client.judge(case["id"], 0)
        browser.open(f"{pages.web[ANXIN]}/claims/cases/{case['id']}?lang=en")
        browser.wait_until("being gathered")
        browser.script("document.querySelector('#noting').closest('details').open = true")
        browser.type("#noting", "half a note")
    finally:
        gate.set()
    assert client.judge(case["id"])["status"] == "judged"
    browser.script("const real = setTimeout; looks = 0; setTimeout = (act) => { looks += 1; return real(act, 20); }")
    assert eventually(lambda: browser.script("return looks") > 3)
    assert browser.script("return document.querySelector('#noting').value") == "half a note"
    browser.script("document.querySelector('#noting').value = ''; document.activeElement.blur()")
    browser.wait_until("Hospitals that told nothing")


def test_a_pasted_claim_is_judged_and_its_evidence_is_verified_where_it_is_brought(pages, pictures, tmp_path):
    browser = pages.browsers[ANXIN]
    browser.open(f"{pages.web[ANXIN]}/claims/cases?lang=en")
    claim = tmp_path / "claim.json"
    claim.write_bytes(content(identifier=[{"value": next(NUMBERS)}]))
    browser.type("#file", str(claim))
    browser.leave("form[action='/claims/cases/open'] button")
    browser.wait_until("What is known so far")
    browser.script("document.querySelectorAll('main details').forEach((one) => { one.open = true })")
    browser.leave("form[action$='/judge'] button")
    browser.wait_until("Hospitals that told nothing")
    assert shown(browser, pictures, "case-judged") == []
    case_id = browser.url.rpartition("/")[2]
    evidence, broken = tmp_path / "evidence.zip", tmp_path / "broken.zip"
    evidence.write_bytes(CaseClient(pages.hospitals.local(ANXIN)).bundle(case_id))
    broken.write_bytes(b"PK")
    for file, said, name in (
        (evidence, "The evidence for a claim", "proof"),
        (broken, "does not hold", "proof-broken"),
    ):
        browser.open(f"{pages.web[ANXIN]}/claims/proofs?lang=en")
        browser.type("#bundle", str(file))
        browser.leave("form[action='/claims/proofs'] button")
        browser.wait_until(said)
        assert judged(pages, ANXIN, urlsplit(browser.url).path, pictures, name) == []
    assert judged(pages, ANXIN, "/claims/proofs", pictures, "proofs") == []


def test_a_hospital_answers_and_the_insurer_closes(pages, pictures):
    place = pages.disputed(days=1)
    hospital, insurer = pages.browsers[RENHE], pages.browsers[ANXIN]
    hospital.open(f"{pages.web[RENHE]}{place}?lang=en")
    hospital.type("#text", "出院日期更正过一次。")
    hospital.leave("form.mc-no-print button")
    hospital.wait_until("Answered by the hospital")
    insurer.open(f"{pages.web[ANXIN]}{place}?lang=en")
    insurer.wait_until("出院日期更正过一次。")
    assert shown(insurer, pictures, "dispute-answered") == []
    insurer.leave("form.mc-no-print:last-of-type button")
    insurer.wait_until("Closed")


def test_the_list_is_walked_by_arrow_keys_and_opened_by_enter(pages):
    case = pages.filed(is_green=True)
    browser = pages.browsers[ANXIN]
    browser.open(f"{pages.web[ANXIN]}/claims/cases?lang=en&order=-number")
    browser.wait_until("Arrow keys move")
    browser.press(DOWN, DOWN, UP)
    assert browser.script("return document.activeElement.textContent") == case["number"]
    browser.press(ENTER)
    browser.wait_until("The evidence as a table")
    assert browser.url.endswith(case["id"])


def test_each_node_of_the_graph_leads_to_how_it_is_known(pages):
    case, browser = pages.filed(), pages.browsers[ANXIN]
    browser.open(f"{pages.web[ANXIN]}/claims/cases/{case['id']}?lang=en")
    browser.wait_for("svg a")
    places = browser.script("return [...document.querySelectorAll('svg a')].map((one) => one.getAttribute('href'))")
    assert len(places) == len(set(places)) > 9
    said = "return [...document.querySelectorAll('svg a')].map((one) => document.querySelector("
    assert all(browser.script(f"{said}one.getAttribute('href')).cells[2].innerText.length > 40)"))
    browser.script("document.querySelector('svg a[href=\"#node-flags\"]').dispatchEvent(new MouseEvent('click'))")
    assert browser.url.endswith("#node-flags")
    # No title stands out of its node.
    inside = """return [...document.querySelectorAll('svg a')].every((one) => {
      const box = one.querySelector('rect').getBoundingClientRect();
      return [...one.querySelectorAll('text')].every((text) => {
        const at = text.getBoundingClientRect();
        return at.left >= box.left && at.right <= box.right && at.top >= box.top && at.bottom <= box.bottom;
      });
    })"""
    assert browser.script(inside)


def styled(selector: str, name: str) -> str:
    """Write a script that lists what a style is for all that a selector finds."""
    return f"[...new Set([...document.querySelectorAll('{selector}')].map((one) => getComputedStyle(one).{name}))]"


def test_a_claim_is_printed_with_all_that_was_found_and_no_form(pages, pictures):
    case, browser = pages.filed(), pages.browsers[ANXIN]
    for language in ("zh", "en"):
        browser.open(f"{pages.web[ANXIN]}/claims/cases/{case['id']}?lang={language}")
        for width, height in SIZES:
            browser.resize(width, height)
            for part in ("#graph-title", ".mc-known"):
                browser.script(f"document.querySelector('{part}').scrollIntoView()")
                browser.picture(pictures / f"claims-graph-{part[1:]}-{language}-{width}.png")
        browser.media("print")
        hidden = "return [...document.querySelectorAll('.mc-header__links, .mc-nav, main form')]"
        assert browser.script(f"{hidden}.every((one) => one.offsetHeight === 0)")
        assert browser.script("return document.querySelectorAll('.mc-seven > li').length") == 7
        # Nothing is cut off at the side of a sheet of A4.
        browser.resize(720, 1000)
        wide = "[...document.querySelectorAll('.mc-graph, .mc-table-wide')]"
        told = "`${one.className || one.id} ${one.scrollWidth} ${one.clientWidth}`"
        assert (
            browser.script(f"return {wide}.filter((one) => one.scrollWidth > one.clientWidth).map((one) => {told})")
            == []
        )
        # A heading stands with what it is about; a table that is longer than a sheet begins where there is place.
        assert browser.script(f"return {styled('main h2, main h3', 'breakAfter')}") == ["avoid"]
        assert browser.script(f"return {styled('.mc-known', 'breakInside')}") == ["auto"]
        assert browser.script(f"return {styled('.mc-known tr, .mc-event, .mc-graph', 'breakInside')}") == ["avoid"]
        browser.picture(pictures / f"claims-paper-{language}.png")
        browser.media("")
        paper = base64.b64decode(browser.pdf())
        (pictures / f"claims-print-{language}.pdf").write_bytes(paper)
        assert paper.startswith(b"%PDF-")
        assert 1 <= len(re.findall(rb"/Type\s*/Page\b", paper)) <= 8


def test_all_pages_are_whole_without_scripts(pages, pictures):
    case, place, browser = pages.filed(), pages.disputed(), pages.browsers[ANXIN]
    found = []
    with browser.without_scripts():
        for path in ("/claims/cases", f"/claims/cases/{case['id']}", "/claims/check", "/claims/disputes", place):
            name = path.split("/")[2] + str(len(path))
            found += faults_of(browser, f"{pages.web[ANXIN]}{path}", pictures, f"claims-{name}", (390,))
    assert found == []


def test_the_first_load_is_small(pages):
    case, world = pages.filed(), pages.worlds[ANXIN]
    for path in ("/claims/cases", f"/claims/cases/{case['id']}"):
        page = world.app.test_client()
        page.set_cookie(world.site.cookie, world.session(Role.DESK), domain="localhost", secure=True)
        body = page.get(path, base_url=pages.web[ANXIN].replace("http:", "https:")).get_data()
        assert b"mc-" in body
        files = ("pages.css", "claims.js")
        size = len(gzip.compress(body)) + sum(len(world.patients.pages.assets[name].packed) for name in files)
        assert size < MOST_BYTES


def test_over_the_demo_a_claim_is_judged_and_its_hospital_answers_on_the_record(demo, pictures, tmp_path_factory):
    left = demo.said["person"]["claim"]["claim"]
    claim = next(one for one in asked(demo, INSURER, "Claim?_count=2&_elements=id") if f"Claim/{one['id']}" != left)
    with ExitStack() as stack:
        desks = {}
        for org_id in (INSURER, HOSPITAL):
            name = f"claims-at-{org_id}"
            desks[org_id] = signed_in(demo, tmp_path_factory.mktemp(org_id), name, "desk", org_id)
            stack.callback(desks[org_id].close)
        insurer, hospital = desks.values()
        web = {org_id: demo.said["nodes"][org_id]["web"] for org_id in desks}
        insurer.open(f"{web[INSURER]}/claims?lang=en")
        insurer.type("#reference", f"Claim/{claim['id']}")
        insurer.leave("form[action='/claims/cases/open'] button")
        insurer.wait_until("What is known so far")
        insurer.script("document.querySelectorAll('main details').forEach((one) => { one.open = true })")
        insurer.leave("form[action$='/judge'] button")
        insurer.wait_until("The evidence as a table")
        assert shown(insurer, pictures, "demo-case") == []
        insurer.script("document.querySelectorAll('details').forEach((one) => { one.open = true })")
        insurer.script(f"document.querySelector('#hospital-dispute').value = '{HOSPITAL}'")
        insurer.type("#disputing", "When was this written?")
        insurer.leave("form[action$='/dispute'] button")
        place = urlsplit(insurer.url).path
        insurer.wait_until("Waiting for the hospital's answer")
        hospital.open(f"{web[HOSPITAL]}{place}?lang=en")
        hospital.type("#text", "On the day of the discharge.")
        hospital.leave("form.mc-no-print button")
        hospital.wait_until("Answered by the hospital")
        insurer.open(f"{web[INSURER]}{place}?lang=en")
        insurer.wait_until("On the day of the discharge.")
    # Each node has it as records of its own, which are anchored like all others.
    dispute = place.rpartition("/")[2]
    for org_id in (INSURER, HOSPITAL):
        question = f"Task?identifier=urn:medchain:claim-dispute|{dispute}"
        assert eventually(lambda: [one["status"] for one in asked(demo, org_id, question)] == ["in-progress"])  # noqa: B023  # called before the next one
        [task] = asked(demo, org_id, question)
        said = asked(demo, org_id, f"Communication?part-of=Task/{task['id']}&_sort=sent")
        assert [one["payload"][0]["contentString"] for one in said] == [
            "When was this written?",
            "On the day of the discharge.",
        ]
        assert eventually(lambda: "position" in demo.anchoring(org_id, [f"Task/{task['id']}"])[0])  # noqa: B023  # as above


def asked(demo: RunningDemo, org_id: str, query: str) -> list[dict]:
    """Search at a node of the demo, as a system may."""
    url = f"http://127.0.0.1:{demo.said['nodes'][org_id]['web'].rpartition(':')[2]}/fhir/{query}"
    headers = {"Authorization": f"Bearer {demo.token(org_id, 'system/*.rs')}"}
    with urllib.request.urlopen(
        urllib.request.Request(url, headers=headers), timeout=120
    ) as answer:  # a loopback address of ours
        entries = json.load(answer).get("entry", [])
    return [one["resource"] for one in entries if one["search"]["mode"] == "match"]
