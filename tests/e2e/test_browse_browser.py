"""The pages of records in a real browser, on a hospital's node of the demo: two languages, desk and phone, keyboard."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import sample_data
from tests.e2e.accessibility import violations
from tests.e2e.browser import Browser, is_there
from tests.e2e.running_demo import RunningDemo
from tests.e2e.scripts_off import faults_of
from tests.waiting import eventually

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not is_there(), reason="needs Debian's chromium and chromium-driver (`make browser`)"),
]

HOSPITAL, OTHER_HOSPITAL, REGULATOR = "renhe-hospital", "binhai-hospital", "health-commission"
SIZES = (("desk", 1280, 900), ("phone", 320, 640))


@pytest.fixture(scope="module")
def browser(demo: RunningDemo, tmp_path_factory) -> Iterator[Browser]:
    """A browser whose user, a clinician, has enrolled a passkey as the demo's summary says."""
    made = Browser(tmp_path_factory.mktemp("browser"))
    try:
        made.add_authenticator()
        config = demo.folder / HOSPITAL / "node.toml"
        told = demo.run(
            "account", "add", "me", "--role", "clinician", "--display", "Dr Wang", "--config", config, "--json"
        )
        made.open(json.loads(told)["url"])
        made.click("[data-passkey=enrol] button")
        made.wait_until("Dr Wang")
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def web(demo: RunningDemo) -> str:
    return demo.said["nodes"][HOSPITAL]["web"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    return Path(os.environ.get("MEDCHAIN_PICTURES", tmp_path_factory.mktemp("pictures")))


def signed_in(demo, folder: Path, name: str, role: str, org_id: str = HOSPITAL) -> Browser:
    """Open a browser of somebody of the staff, as the demo's summary says."""
    made = Browser(folder)
    made.add_authenticator()
    config = demo.folder / org_id / "node.toml"
    told = demo.run(
        "account",
        "add",
        name,
        "--role",
        role,
        "--display",
        name,
        "--fhir-user",
        f"Practitioner/{name}",
        "--config",
        config,
        "--json",
    )
    made.open(json.loads(told)["url"])
    made.click("[data-passkey=enrol] button")
    made.wait_until(name)
    return made


def shots(browser: Browser, folder: Path, name: str) -> None:
    """Take pictures in both languages at both sizes; nothing stands out to the side."""
    place = browser.url.partition("#")[0]
    for language, word in (("zh", "English"), ("en", "中文")):
        browser.open(f"{place}{'&' if '?' in place else '?'}lang={language}")
        browser.wait_until(word)
        for kind, width, height in SIZES:
            browser.resize(width, height)
            browser.picture(folder / f"{name}-{language}-{kind}.png")
            assert browser.script("return document.documentElement.scrollWidth") <= width
    browser.resize(1280, 900)


def test_a_patient_is_found_by_keyboard_and_read_with_all_that_there_is(browser, web, pictures):
    browser.open(f"{web}/account?lang=en")
    browser.click("a[href='/browse']")
    browser.wait_for("#text")
    shots(browser, pictures, "browse-search")
    # The whole way without a mouse: Enter sends the form, and follows what has the focus.
    browser.type("#text", "王\ue007")
    browser.wait_until("What was found")
    browser.picture(pictures / "browse-found.png")
    assert "lang" not in browser.url
    place = browser.script("return document.querySelector('table a').getAttribute('href')")
    browser.script("document.querySelector('table a').focus()")
    browser.type("table a", "\ue007")
    browser.wait_until("Records of this patient")
    assert browser.url.endswith(place)
    shots(browser, pictures, "browse-patient")
    assert "final, entry" in browser.text


def test_a_record_of_the_patient_has_its_versions_and_its_proof(browser, pictures):
    browser.click("details a[href^='/browse/']")
    browser.wait_until("As FHIR JSON")
    shots(browser, pictures, "browse-record")
    browser.script("document.querySelectorAll('details').forEach((one) => { one.open = true })")
    shown = json.loads(browser.script("return document.querySelector('pre').textContent"))
    assert browser.url.partition("?")[0].endswith(f"/{shown['resourceType']}/{shown['id']}")
    browser.media("print")
    shown = browser.script("return ['.mc-header__links', 'pre'].map((one) => document.querySelector(one).offsetHeight)")
    assert shown == [0, 0]
    assert browser.script("return getComputedStyle(document.querySelector('main td a'), '::after').content") == "none"
    browser.picture(pictures / "browse-record-print.png")
    browser.media("")
    size = browser.script(
        "const link = document.querySelector(\"a[href$='/versions/1/proof']\"); const asked = new XMLHttpRequest();"
        "asked.open('GET', link.href, false); asked.send();"
        "return [asked.status, asked.getResponseHeader('Content-Type'), asked.getResponseHeader('Content-Disposition')]"
    )
    assert size[:2] == [200, "application/zip"]
    assert re.fullmatch(r'attachment; filename="[A-Za-z0-9.-]+\.proof\.zip"', size[2])


def judged(browser: Browser, folder: Path, place: str, word: str) -> list[str]:
    """Tell what axe-core has against a page, in both languages at both sizes, and take pictures."""
    found = []
    for language in ("zh", "en"):
        browser.open(f"{place}?lang={language}")
        browser.wait_for("#main")
        for kind, width, height in SIZES:
            browser.resize(width, height)
            browser.picture(folder / f"{place.rpartition('/')[2]}-{language}-{kind}.png")
            assert browser.script("return document.documentElement.scrollWidth") <= width
            found += [f"{place} {language} {kind} {one}" for one in violations(browser)]
    browser.wait_until(word)
    browser.resize(1280, 900)
    return found


def test_a_clinician_breaks_the_glass_and_an_auditor_finds_it_waiting(demo, browser, web, pictures, tmp_path_factory):
    browser.open(f"{web}/emergencies?lang=en")
    browser.type("#text", "王\ue007")
    browser.wait_until("Which patient?")
    browser.picture(pictures / "emergency-found.png")
    assert violations(browser) == []
    browser.script("document.querySelector('[name=patient]').checked = true")
    browser.type("#reason", "found unconscious\ue007")
    browser.wait_until("minutes left")
    assert browser.url.partition("?")[0] == f"{web}/emergencies"
    assert judged(browser, pictures, f"{web}/emergencies", "found unconscious") == []
    assert judged(browser, pictures, f"{web}/concerns", "I have moved") == []
    other = signed_in(demo, tmp_path_factory.mktemp("auditor"), "auditor", "auditor")
    try:
        assert judged(other, pictures, f"{web}/emergencies/reviews", "found unconscious") == []
        assert judged(other, pictures, f"{web}/oversight", "Download") == []
        assert judged(other, pictures, f"{web}/concerns", "Complaints to answer") == []
    finally:
        other.close()


def test_a_clinician_breaks_the_glass_for_a_patient_of_another_hospital(browser, web, pictures):
    place = f"{web}/emergencies/elsewhere"
    browser.open(f"{place}?lang=en")
    browser.script(f"document.querySelector('[name=custodian]').value = '{OTHER_HOSPITAL}'")
    browser.type("#text", identifier_at(OTHER_HOSPITAL))
    browser.type("#reason", "found unconscious\ue007")
    browser.wait_until("minutes left")
    assert judged(browser, pictures, place, "found unconscious") == []
    for language, title in (("zh", "其他医院的资料"), ("en", "Record of another hospital")):
        browser.open(f"{place}?lang={language}")
        browser.leave("form[action$='/records'] button")
        browser.wait_until(title)
        for kind, width, height in SIZES:
            browser.resize(width, height)
            browser.picture(pictures / f"given-{language}-{kind}.png")
            assert browser.script("return document.documentElement.scrollWidth") <= width
            assert violations(browser) == []
        assert browser.script("return document.querySelectorAll('main details').length") > 1
        assert browser.url.partition("?")[0] == f"{place}/records"


def identifier_at(org_id: str) -> str:
    """Name a patient of a hospital in the sample data by an identifier."""
    file = next(iter(sorted(sample_data.BUNDLES.glob(f"{org_id}.p*.json.gz"))))
    resources = [one["resource"] for one in json.loads(gzip.decompress(file.read_bytes()))["entry"]]
    (patient,) = [one for one in resources if one["resourceType"] == "Patient"]
    return f"{patient['identifier'][0]['system']}|{patient['identifier'][0]['value']}"


def guardian_named(demo, browser: Browser, web: str, pictures: Path, guardian: str) -> list[str]:
    """Propose that a child is enrolled with a guardian; returns what is wrong with the pages."""
    identifier = {"system": "urn:mrn", "value": "MRN-CHILD"}
    child = {"resourceType": "Patient", "id": "child-1", "identifier": [identifier], "name": [{"text": "小明"}]}
    file = pictures / "child.ndjson"
    file.write_text(json.dumps(child | {"birthDate": "2021-05-04"}))
    demo.run("import", file, "--config", demo.folder / HOSPITAL / "node.toml")
    browser.open(f"{web}/desk?lang=en")
    browser.type("#text", "MRN-CHILD\ue007")
    browser.wait_until("Patients who were found")
    browser.click("form[action='/desk/open'] button")
    browser.wait_until("under age")
    browser.click("a[href$='/guardians']")
    browser.wait_until("Guardian 1")
    found = judged(browser, pictures, browser.url.partition("?")[0], "Enrol the child with its guardians")
    browser.type("#guardian-1", guardian)
    browser.script("document.querySelector('#household-register').checked = true")
    browser.click("button[value=find]")
    browser.wait_until("Checked: household register")
    browser.picture(pictures / "guardians-found.png")
    found += violations(browser)
    browser.click("button[value=propose]")
    browser.wait_until("Another member of the staff confirms it")
    return found + judged(browser, pictures, browser.url.partition("?")[0], "Enrolment of a child with its guardians")


def death_proposed(first: Browser, second: Browser, web: str, pictures: Path) -> list[str]:
    """Look at where contacts are taken, propose a death there, and take it back; returns what is wrong with the pages.

    Args:
        first: turns it down.
        second: proposes it, and is at the page of who is enrolled on paper.
        web: where the pages are.
        pictures: folder.
    """
    place = second.url.partition("?")[0]
    found = judged(second, pictures, f"{place}/contacts", "Where notices go")
    second.open(f"{place}?lang=en")
    second.click("form[action$='/death'] button")
    second.wait_until("Another member of the staff confirms it")
    first.open(f"{web}/desk?lang=en")
    first.click("a[href^='/desk/proposed/']")
    first.wait_until("See the original death certificate yourself")
    found += judged(first, pictures, first.url.partition("?")[0], "Record of a death")
    first.click("button[value=drop]")
    first.wait_until("Nothing waits")
    return found


def test_two_of_the_desk_enrol_a_patient_on_paper_and_their_pages_are_accessible(demo, web, pictures, tmp_path_factory):
    first = signed_in(demo, tmp_path_factory.mktemp("desk-1"), "desk-1", "desk")
    second = signed_in(demo, tmp_path_factory.mktemp("desk-2"), "desk-2", "desk")
    try:
        first.open(f"{web}/desk?lang=en")
        first.type("#text", "王\ue007")
        first.wait_until("Patients who were found")
        assert violations(first) == []
        # The last one that is found: neither of the demo's own two patients.
        first.script("[...document.querySelectorAll('form[action=\"/desk/open\"] button')].at(-1).click()")
        first.wait_until("No phone: enrolment on paper")
        found = judged(first, pictures, first.url.partition("?")[0], "Not enrolled")
        first.script("document.querySelector('#paper-identity-card').checked = true")
        first.click("form[action$='/enrolment'] button")
        first.wait_until("Another member of the staff confirms it")
        assert "王" not in first.url
        second.open(f"{web}/desk?lang=en")
        second.click("a[href^='/desk/proposed/']")
        second.wait_until("See the person and the original paper yourself")
        found += judged(second, pictures, second.url.partition("?")[0], "Proposed by desk-1")
        second.click("button[value=confirm]")
        second.wait_until("No passkey: enrolled on paper")
        guardian = second.script("return document.querySelector('.mc-mono').textContent.split(' · ')[0]")
        found += death_proposed(first, second, web, pictures)
        for place, word in ((f"{web}/asks", "What was asked"), (f"{web}/mandates", "Legal bases")):
            found += judged(second, pictures, place, word)
        found += judged(second, pictures, f"{web}/desk/recoveries", "No recovery is under way")
        found += guardian_named(demo, second, web, pictures, guardian)
        assert found == []
    finally:
        first.close()
        second.close()


def test_without_scripts_clinicians_find_read_and_break_the_glass_and_auditors_review_it(
    demo, browser, web, pictures, tmp_path_factory
):
    found = []
    with browser.without_scripts():
        for page in ("account", "browse", "emergencies", "emergencies/elsewhere", "concerns", "asks", "permissions"):
            found += faults_of(browser, f"{web}/{page}", pictures, f"clinician-{page.replace('/', '-')}")
        browser.open(f"{web}/browse?lang=en")
        browser.type("#text", "王")
        browser.click("main form button")
        browser.wait_until("What was found")
        found += faults_of(browser, browser.script("return document.querySelector('table a').href"), pictures, "read")
        browser.open(f"{web}/emergencies?lang=en")
        # Not the one for whom the glass was broken before.
        browser.type("#text", "林")
        browser.click("form[action='/emergencies/find'] button")
        browser.click("main form[action='/emergencies'] .nhsuk-radios__item label")
        browser.type("#reason", "no script ran")
        browser.click("main form[action='/emergencies'] button")
        browser.wait_until("no script ran")
    auditor = signed_in(demo, tmp_path_factory.mktemp("auditor-plain"), "auditor-plain", "auditor")
    try:
        with auditor.without_scripts():
            for page in ("account", "browse", "concerns", "mandates", "oversight", "emergencies/reviews"):
                found += faults_of(auditor, f"{web}/{page}", pictures, f"auditor-{page.replace('/', '-')}")
            assert eventually(lambda: is_reviewed(auditor, f"{web}/emergencies/reviews", "no script ran"))
    finally:
        auditor.close()
    assert found == []


def is_reviewed(browser: Browser, place: str, reason: str) -> bool:
    """Review an emergency as soon as it is on the ledger; tells whether it was."""
    browser.open(f"{place}?lang=en")
    number = browser.script(
        "return 1 + [...document.querySelectorAll('main .mc-list > li')]"
        f".findIndex((one) => one.innerText.includes({json.dumps(reason)}) && one.querySelector('[name=finding]'))"
    )
    if number == 0:
        return False
    browser.click(f"main .mc-list > li:nth-child({number}) label[for^='justified-']")
    browser.click(f"main .mc-list > li:nth-child({number}) form[action='/emergencies/reviews'] button")
    return eventually(lambda: reason not in browser.text)


def test_without_scripts_the_desk_and_the_regulator_are_told_what_there_is(demo, web, pictures, tmp_path_factory):
    desk = signed_in(demo, tmp_path_factory.mktemp("desk-plain"), "desk-plain", "desk")
    found = []
    try:
        with desk.without_scripts():
            for page in ("account", "browse", "desk", "desk/recoveries", "asks", "mandates"):
                found += faults_of(desk, f"{web}/{page}", pictures, f"desk-{page.replace('/', '-')}")
            desk.open(f"{web}/desk?lang=en")
            desk.type("#text", "王")
            desk.click("form[action='/desk/find'] button")
            desk.wait_until("Patients who were found")
            desk.click("form[action='/desk/open'] button")
            # What stands there depends on who was found: enrolled, by an earlier test too, of age and not, or a child.
            desk.wait_for("main a[href$='/paper'], main form[action$='/code'], main a[href$='/guardians']")
            found += faults_of(desk, desk.url.partition("?")[0], pictures, "desk-patient")
    finally:
        desk.close()
    regulator = signed_in(demo, tmp_path_factory.mktemp("regulator-plain"), "regulator-plain", "auditor", REGULATOR)
    try:
        place = demo.said["nodes"][REGULATOR]["web"]
        with regulator.without_scripts():
            for page in ("oversight", "account", "concerns", "emergencies/reviews"):
                found += faults_of(regulator, f"{place}/{page}", pictures, f"regulator-{page.replace('/', '-')}")
            regulator.open(f"{place}/oversight?lang=en")
            assert regulator.script("return document.querySelectorAll('main a[download]').length") == 2
    finally:
        regulator.close()
    assert found == []
