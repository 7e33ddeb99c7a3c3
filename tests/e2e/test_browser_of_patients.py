"""A person in a real browser, on a phone, who follows only what the demo and its pages say; and every page's looks."""

from __future__ import annotations

import json
import re
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from medchain.commands.demo_story import PURPOSE, RECIPIENT, RESOURCE_TYPES
from medchain.encoding import base64_text
from medchain.node.clock import system_clock
from medchain.node.peers import Limits
from tests.e2e.accessibility import violations
from tests.e2e.browser import Browser, is_there
from tests.e2e.running_demo import RunningDemo
from tests.e2e.scripts_off import faults_of
from tests.waiting import eventually

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not is_there(), reason="needs Debian's chromium and chromium-driver (`make browser`)"),
]

HOSPITAL = "renhe-hospital"
SIZES = (("phone", 390, 844), ("desk", 1280, 900))
TWO_MINUTES_S = 120
SLOW = Limits(timeout_s=120.0)
SAYS = {
    "zh": {
        "waits": "等您决定",
        "open": "请求查看您的病历",
        "given": "许可已生效",
        "read": "条记录",
        "ended": "您已撤回",
        "refused": "被拒绝",
    },
    "en": {
        "waits": "your attention",
        "open": "asks to see your record",
        "given": "Your permission is in force",
        "read": "records",
        "ended": "withdrawn by you",
        "refused": "refused",
    },
}


def follow(browser: Browser, href: str) -> None:
    """Tap a link by where it leads."""
    browser.click(f"a[href^='{href}']")


def confirm(browser: Browser) -> None:
    """Sign, and come back to the portal: the page of signing has words of the next page, too."""
    browser.click("[data-passkey=sign] button")
    browser.wait_for(".mc-nav")


def looked(browser: Browser, home: str, language: str, word: str, count: int) -> bool:
    """Wait until the page of who has looked says something so many times."""

    def said() -> bool:
        browser.open(f"{home}/looked?lang={language}")
        return browser.text.count(word) >= count

    return eventually(said)


@pytest.mark.parametrize("language", ["zh", "en"])
def test_a_person_signs_sees_the_insurer_read_stops_it_and_sees_the_next_read_refused(
    demo, consortium, phone, home, pictures, language
):
    says = SAYS[language]
    if language == "en":
        # The first ask is the demo's own; it was answered in Chinese.
        wish = {
            "custodian": HOSPITAL,
            "days": 30,
            "patient": demo.said["person"]["patient"],
            "person": "",
            "purpose": PURPOSE,
            "reason": "To settle your claim",
            "resource_types": list(RESOURCE_TYPES),
        }
        consortium.nodes[RECIPIENT].local.call("ask.send", wish, SLOW)
    began = time.monotonic()
    phone.open(f"{home}?lang={language}")
    phone.wait_until(says["waits"])
    phone.picture(pictures / f"patient-home-{language}.png")
    before = refusals(phone, home, language, says["refused"])
    phone.open(f"{home}?lang={language}")
    # Three taps to agree: the request, the decision, and the confirmation; the passkey is the fourth.
    follow(phone, "/my/asks/")
    phone.wait_until(says["open"])
    phone.click("button[name=step][value=sign]")
    phone.wait_for("[data-passkey=sign] button")
    assert urlsplit(phone.url).netloc != urlsplit(home).netloc
    assert RECIPIENT in phone.text
    assert "#" not in phone.url
    shown = phone.text
    # In the other language, and back: the ticket is used up, and the page goes on.
    for is_shown in (False, True):
        phone.leave("header a[lang]")
        phone.wait_for("[data-passkey=sign] button")
        assert (phone.text == shown, RECIPIENT in phone.text, "#" in phone.url) == (is_shown, True, False)
    stopped = time.monotonic()
    found = looks(phone, f"sign-{language}", pictures, (320, 390, 1280))
    # No person looks at the page like this.
    began += time.monotonic() - stopped
    confirm(phone)
    phone.wait_until(says["given"])
    consent = re.search(r"/my/access/([0-9a-f]{64})", phone.url)[1]
    assert eventually(lambda: reads(phone, home, language, consent))
    follow(phone, "/my/access")
    # Three taps to stop, from the first page.
    phone.open(f"{home}?lang={language}")
    follow(phone, "/my/access")
    phone.click(f"form[action='/my/access/{consent}/withdraw'] button")
    confirm(phone)
    phone.wait_until(says["ended"])
    # The other insurer was refused while it was in force; the recipient is after that.
    assert looked(phone, home, language, says["refused"], before + 2)
    assert time.monotonic() - began < TWO_MINUTES_S
    assert found == []
    phone.picture(pictures / f"patient-looked-after-{language}.png")


def refusals(browser: Browser, home: str, language: str, word: str) -> int:
    """Count the refusals that the page of who has looked shows."""
    browser.open(f"{home}/looked?lang={language}")
    return browser.text.count(word)


def reads(browser: Browser, home: str, language: str, consent: str) -> bool:
    """Tell whether the page of a permission lists something that was given."""
    browser.open(f"{home}/access/{consent}?lang={language}")
    return browser.script("return document.querySelectorAll('.mc-event').length") > 0


def places(browser: Browser, home: str) -> list[str]:
    """List the pages, those with something in them first."""
    browser.open(f"{home}/access?lang=en")
    consent = browser.script("return document.querySelector('.mc-card a').getAttribute('href')")
    browser.open(f"{home}/record?lang=en")
    visit = browser.script("return document.querySelector('.mc-line a[href*=\"/Encounter/\"]').getAttribute('href')")
    browser.open(f"{home}/record/kinds/tests?lang=en")
    record = browser.script("return document.querySelector('.mc-line a').getAttribute('href')")
    fixed = ["", "/access", "/access?by=kind", "/looked", "/looked?by=insurer", "/concerns", "/verify", "/family"]
    fixed += ["/settings", "/leave", "/record", "/record?by=kind", "/record/outside", "/record/kinds/tests"]
    fixed.append("/access/" + "0" * 64)
    return [*(home + one for one in fixed), *(home.removesuffix("/my") + one for one in (consent, visit, record))]


def test_every_page_is_accessible_and_fits_in_both_languages_at_both_sizes(consortium, demo, phone, home, pictures):
    wish = {"custodian": HOSPITAL, "days": 30, "patient": demo.said["person"]["patient"], "person": "王晓梅"}
    wish |= {"purpose": PURPOSE, "reason": "核对三月的住院理赔", "resource_types": list(RESOURCE_TYPES)}
    ask = consortium.nodes[RECIPIENT].local.call("ask.send", wish, SLOW)["id"]
    found = []
    for number, place in enumerate([*places(phone, home), f"{home}/asks/{ask}"]):
        for language in ("zh", "en"):
            phone.open(f"{place}{'&' if '?' in place else '?'}lang={language}")
            for kind, width, height in SIZES:
                phone.resize(width, height)
                phone.picture(pictures / f"patient-{number}-{language}-{kind}.png")
                found += [f"{place} {language} {kind} {one}" for one in violations(phone)]
                if phone.script("return document.documentElement.scrollWidth") > width:
                    found.append(f"{place} {language} {kind} is wider than {width}")
    phone.resize(390, 844)
    assert found == []


def test_without_scripts_every_page_says_what_it_has_to_and_its_forms_work(consortium, demo, phone, home, pictures):
    """A passkey needs a script, nothing else does; the pages that need one say so and lead on."""
    wish = {"custodian": HOSPITAL, "days": 30, "patient": demo.said["person"]["patient"], "person": "王晓梅"}
    wish |= {"purpose": PURPOSE, "reason": "核对四月的理赔", "resource_types": list(RESOURCE_TYPES)}
    ask = f"{home}/asks/{consortium.nodes[RECIPIENT].local.call('ask.send', wish)['id']}"
    pages = [*places(phone, home), f"{home}/contacts", f"{home}/without", ask]
    record = next(place for place in pages if "/Observation/" in place)
    found = []
    with phone.without_scripts():
        for number, place in enumerate([*pages, f"{record}/hide"]):
            found += faults_of(phone, place, pictures, f"patient-{number}")
        phone.open(f"{record}?lang=en")
        phone.click("details summary")
        phone.type("#text-record", "without a script")
        phone.click("form[action$='/correction'] button")
        phone.wait_until("without a script")
        phone.open(f"{home}/family?lang=en")
        phone.click("form[action='/my/family/code'] button")
        phone.wait_until("Your code")
        phone.open(f"{home}/settings?lang=en")
        phone.click("a[href='/my/settings?text=large#text']")
        phone.wait_for("html.mc-large")
        phone.open(f"{home}/settings?text=usual")
        # What asks for a passkey leads to where one signs, which says what is missing, and back.
        phone.open(f"{ask}?lang=en")
        effect = phone.script(EFFECT)
        phone.click(f"label[for='{phone.script(SOME_KIND)}']")
        phone.click("button[name=step][value=preview]")
        assert eventually(lambda: phone.script(EFFECT) not in ("", effect)), phone.text
        phone.click("button[name=step][value=sign]")
        phone.wait_until("JavaScript switched on")
        found += faults_of(phone, phone.url.partition("?")[0], pictures, "patient-sign")
        phone.click("main a[href$='/my']")
        phone.open(f"{ask}?lang=en")
        phone.click("button[name=step][value=decline]")
        assert eventually(lambda: phone.url.partition("?")[0] != ask)
        phone.open(home)
        assert ask.removeprefix(home) not in phone.script("return document.querySelector('main').innerHTML")
    assert found == []


EFFECT = "const effect = document.querySelector('#choice [role=status]'); return effect ? effect.innerText : ''"
SOME_KIND = """
    // One of which there are records.
    const kinds = [...document.querySelectorAll("#choice [name=kind]:checked")];
    return kinds.find((one) => /[1-9]/.test(one.labels[0].innerText)).id;
"""


def test_in_large_text_every_page_fits_a_small_screen_and_so_does_the_one_for_signing(phone, home, pictures):
    found = []
    try:
        for language in ("zh", "en"):
            phone.open(f"{home}/settings?lang={language}&text=large")
            for number, place in enumerate(places(phone, home)):
                phone.open(f"{place}{'&' if '?' in place else '?'}lang={language}")
                assert phone.script("return getComputedStyle(document.documentElement).fontSize") == "20px"
                found += looks(phone, f"large-{number}-{language}", pictures, (320, 390))
        phone.open(f"{home}/record/kinds/tests?lang=en")
        record = phone.script("return document.querySelector('.mc-line a[href*=\"/Observation/\"]').href")
        phone.open(f"{record}/hide")
        phone.click("form[action$='/hide'] button")
        phone.wait_for("[data-passkey=sign] button")
        assert phone.script("return getComputedStyle(document.documentElement).fontSize") == "20px"
        found += looks(phone, "large-sign", pictures, (320, 390))
    finally:
        phone.open(f"{home}/settings?text=usual")
    assert found == []


def test_a_further_passkey_is_made_and_signed_for_and_removed_again(phone, home, pictures):
    key = phone.add_authenticator("usb")
    # The person touches the new key first, and takes up the phone once that is made.
    phone.touch(phone.own, is_touched=False)
    phone.open(f"{home}/settings?lang=en")
    assert "Passkey 2" not in phone.text
    phone.click("[data-passkey=add] button")
    assert eventually(lambda: phone.passkeys(key) == 1), phone.text
    phone.touch(key, is_touched=False)
    phone.touch(phone.own, is_touched=True)
    confirm(phone)
    phone.wait_until("Passkey 2")
    phone.picture(pictures / "patient-passkeys-en-phone.png")
    phone.click("#passkeys li:nth-child(2) summary")
    phone.click("#passkeys li:nth-child(2) form button")
    confirm(phone)
    assert phone.wait_until("A passkey was removed").count("A passkey was added") == 1
    assert "Passkey 2" not in phone.text


@pytest.fixture
def helper(demo: RunningDemo, tmp_path) -> Iterator[Browser]:
    """The browser of somebody else who is enrolled at the hospital."""
    patient = {"resourceType": "Patient", "name": [{"text": "罗小敏"}]}
    row = {"resource": patient, "request": {"method": "POST", "url": "Patient"}}
    (place,) = demo.post(
        HOSPITAL, json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": [row]}).encode()
    )
    config = demo.folder / HOSPITAL / "node.toml"
    invited = json.loads(demo.run("account", "invite", place.partition("/")[2], "--config", config, "--json"))
    (tmp_path / "helper").mkdir()
    made = Browser(tmp_path / "helper", language="en")
    try:
        made.resize(390, 844)
        made.own = made.add_authenticator()
        made.open(invited["url"])
        made.click("[data-passkey=enrol] button")
        made.wait_until("Hello")
        yield made
    finally:
        made.close()


def looks(browser: Browser, name: str, pictures: Path, widths: tuple[int, ...] = (390, 320)) -> list[str]:
    """Look at the page that is open, as screens of some widths show it; tells what is wrong with it."""
    found = []
    for width in widths:
        browser.resize(width, 844)
        browser.picture(pictures / f"patient-{name}-{width}.png")
        found += [f"{name} {width} {one}" for one in violations(browser)]
        if browser.script("return document.documentElement.scrollWidth") > width:
            found.append(f"{name} is wider than {width}")
    browser.resize(390, 844)
    return found


def test_a_correction_and_a_complaint_are_sent_answered_and_followed(consortium, phone, home, pictures):
    hospital = consortium.nodes[HOSPITAL].local
    phone.open(f"{home}/record?lang=en")
    place = phone.script("return document.querySelector('.mc-line a').href")
    phone.open(place)
    phone.click("details summary")
    found = looks(phone, "correct", pictures)
    phone.type("#text-record", "the dose is wrong")
    phone.click("form[action$='/correction'] button")
    phone.wait_until("the dose is wrong")
    phone.open(f"{home}/looked?lang=en")
    phone.click("summary[aria-label^='Was this not right']")
    found += looks(phone, "complain", pictures)
    phone.type("[open] textarea", "nobody asked me")
    phone.click("[open] label[for^='shared-']")
    phone.click("[open] form button")
    phone.wait_until("nobody asked me")
    for kind in ("correction", "complaint"):
        waiting = hospital.call("concern.waiting", {"kinds": [kind]}, SLOW)["concerns"]
        newest = max(waiting, key=lambda one: one["number"])
        asked = {"by": "Practitioner/d1", "id": newest["id"], "kinds": [kind], "step": "declined", "text": "we looked"}
        hospital.call("concern.answer", asked, SLOW)
    phone.open(f"{home}/concerns?lang=en")
    assert phone.text.count("we looked") == 2
    phone.script("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    found += looks(phone, "concerns", pictures)
    phone.type(".mc-card textarea", "look again")
    phone.click("form[action$='/reopen'] button")
    assert "waiting again" in phone.wait_until("look again")
    assert eventually(lambda: "has answered" in notices(phone, home))
    assert found == []


def test_a_record_is_hidden_and_released_with_a_signature_each(phone, home, pictures):
    found = []
    for language, says in (
        ("zh", ("已隐藏", "恢复隐藏的记录", "没有隐藏")),
        ("en", ("hidden", "release", "not hidden")),
    ):
        hidden, releases, shown = says
        phone.open(f"{home}/record/kinds/tests?lang={language}")
        place = phone.script("return document.querySelector('.mc-line a[href*=\"/Observation/\"]').href")
        phone.open(place)
        phone.wait_until(shown)
        found += looks(phone, f"record-{language}", pictures, (390, 1280))
        follow(phone, place.removeprefix(home.removesuffix("/my")) + "/hide")
        phone.wait_for("form[action$='/hide'] button")
        found += looks(phone, f"hide-{language}", pictures, (320, 390, 1280))
        phone.click("form[action$='/hide'] button")
        phone.wait_for("[data-passkey=sign] button")
        # The page reads the record's name in the draft itself.
        assert "Observation/" + place.rpartition("/")[2] in phone.text
        found += looks(phone, f"sign-hide-{language}", pictures, (390, 1280))
        confirm(phone)
        phone.wait_until(hidden)
        found += looks(phone, f"hidden-{language}", pictures, (390, 1280))
        phone.open(f"{home}/record/kinds/tests?lang={language}")
        found += looks(phone, f"record-hidden-{language}", pictures, (390,))
        phone.open(place)
        phone.click("form[action$='/release'] button")
        phone.wait_for("[data-passkey=sign] button")
        assert releases in phone.text
        found += looks(phone, f"sign-release-{language}", pictures, (390,))
        confirm(phone)
        phone.wait_until(shown)
    assert found == []


FOR_ONE_CLAIM = {
    "zh": ("请求为一笔理赔核实病历", "AX-2026-0317，1,234.50 元", "为一笔理赔告知部分内容", "只为这一笔理赔"),
    "en": (
        "asks to check your record for one claim",
        "AX-2026-0317, 1,234.50 CNY",
        "Let parts of your record be told for one claim",
        "in force, for this one claim",
    ),
}


def asked_for_claim(demo, consortium, cited: list[str], digest: str) -> str:
    """Have the insurer ask for one claim that cites records of the person; returns the ask's id."""
    claim = {"amount": 123_450, "cited": sorted(cited), "currency": "CNY", "digest": digest, "hospital": HOSPITAL}
    wish = {"custodian": HOSPITAL, "days": 30, "patient": demo.said["person"]["patient"], "person": "王晓梅"}
    wish |= {"purpose": "HPAYMT", "reason": "三月住院的费用", "claim": claim | {"number": "AX-2026-0317"}}
    wish |= {"resource_types": sorted({one.partition("/")[0] for one in cited})}
    return str(consortium.nodes[RECIPIENT].local.call("ask.send", wish, SLOW)["id"])


def test_a_person_permits_one_claim_and_sees_what_for(demo, consortium, phone, home, pictures):
    cited, found = [], []
    for place in ("/record", "/record/kinds/tests"):
        phone.open(f"{home}{place}?lang=en")
        named = phone.script("return document.querySelector('.mc-line a').getAttribute('href')")
        cited.append(named.partition("/my/record/")[2])
    for number, language in enumerate(("zh", "en")):
        title, named, heading, given = FOR_ONE_CLAIM[language]
        ask = asked_for_claim(demo, consortium, cited, f"{number:02}" * 32)
        phone.open(f"{home}?lang={language}")
        phone.wait_until(named)
        found += looks(phone, f"claim-home-{language}", pictures, (390, 1280))
        follow(phone, f"/my/asks/{ask}")
        assert named in phone.wait_until(title)
        found += looks(phone, f"claim-ask-{language}", pictures, (320, 390, 1280))
        with phone.without_scripts():
            found += faults_of(phone, f"{home}/asks/{ask}", pictures, f"claim-ask-plain-{language}")
        phone.open(f"{home}/asks/{ask}?lang={language}")
        phone.click("button[name=step][value=sign]")
        phone.wait_for("[data-passkey=sign] button")
        # The page reads claim and records in the draft itself.
        assert heading in phone.text
        assert f"{number:02}" * 32 in phone.text
        phone.click("dl summary")
        assert all(one in phone.text for one in cited)
        found += looks(phone, f"claim-sign-{language}", pictures, (320, 390, 1280))
        confirm(phone)
        assert named in phone.wait_until(given)
        found += looks(phone, f"claim-given-{language}", pictures, (390, 1280))
    phone.open(f"{home}/access?lang=en")
    assert "for one claim" in phone.text
    found += looks(phone, "claim-access-en", pictures, (390, 1280))
    assert found == []


def notices(browser: Browser, home: str) -> str:
    """Read what the first page says."""
    browser.open(f"{home}?lang=en")
    return browser.text


def test_a_whole_kind_is_hidden_and_released_with_a_signature_each(phone, home, pictures):
    found = []
    for language, (kind, shown) in (("zh", ("用药", "没有整体隐藏")), ("en", ("Medicines", "not hidden as a whole"))):
        place = f"{home}/record/kinds/medicines"
        phone.open(f"{place}?lang={language}")
        phone.wait_until(shown)
        phone.open(f"{place}/hide?lang={language}")
        found += looks(phone, f"hide-kind-{language}", pictures, (320, 390, 1280))
        phone.click("form[action$='/hide'] button")
        phone.wait_for("[data-passkey=sign] button")
        # The page reads the types in the draft itself, and names the kind that they are.
        assert kind in phone.text
        found += looks(phone, f"sign-hide-kind-{language}", pictures, (390, 1280))
        confirm(phone)
        phone.wait_for("form[action$='/release'] button")
        found += looks(phone, f"hidden-kind-{language}", pictures, (390, 1280))
        phone.click("form[action$='/release'] button")
        phone.wait_for("[data-passkey=sign] button")
        confirm(phone)
        phone.wait_until(shown)
    assert found == []


def subject_of(consortium, browser: Browser) -> str:
    """Find the subject whose passkey a browser has."""
    asked = {"credential_id": base64_text(browser.credential(browser.own))}
    return str(consortium.nodes[HOSPITAL].local.call("subject.find", asked, SLOW)["subjects"][0])


def acts(browser: Browser, home: str, language: str) -> None:
    """Have a guardian act for the child, and open the page of the guardians."""
    browser.open(f"{home}/family?lang={language}")
    browser.click("form[action='/my/acting'] button")
    browser.wait_for("a[href='/my/custody']")
    browser.click("a[href='/my/custody']")
    browser.wait_for("form[action^='/my/custody/'] button")


def signs(browser: Browser, says: str) -> None:
    """Sign what the page of the guardians drafts, which the page of signing says in these words, and come back."""
    browser.click("form[action^='/my/custody/'] button")
    browser.wait_for("[data-passkey=sign] button")
    assert says in browser.text
    confirm(browser)


def test_guardians_say_that_they_disagree_and_settle_it(demo, consortium, phone, helper, home, pictures):
    row = {"resource": {"resourceType": "Patient", "name": [{"text": "罗小小"}]}}
    row |= {"request": {"method": "POST", "url": "Patient"}}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [row]}
    (place,) = demo.post(HOSPITAL, json.dumps(bundle).encode())
    today = system_clock() // 86400
    guardian = {"may": ["consent", "read", "stop"], "resource_types": ["*"], "role": "guardian", "until": today + 3000}
    guardians = [guardian | {"subject": one} for one in sorted(subject_of(consortium, one) for one in (phone, helper))]
    asked = {"credentials": [], "custodians": [], "guardians": guardians, "method": "household-register"}
    asked |= {"of_age": today + 3000, "patient": place.partition("/")[2], "staff": ["doctor", "nurse"]}
    consortium.nodes[HOSPITAL].local.call("subject.enrol", asked, SLOW)
    acts(phone, home, "zh")
    found = looks(phone, "custody-zh", pictures, (320, 390, 1280))
    signs(phone, "声明监护人意见不一致")
    phone.wait_until("意见不一致")
    acts(helper, home, "en")
    found += looks(helper, "custody-disputed-en", pictures, (320, 390, 1280))
    signs(helper, "Say that the guardians agree again")
    helper.wait_until("You have signed")
    found += looks(helper, "custody-signed-en", pictures, (390,))
    phone.open(f"{home}/custody?lang=zh")
    found += looks(phone, "custody-waits-zh", pictures, (390, 1280))
    signs(phone, "声明监护人已经一致")
    phone.wait_until("每位监护人都可以单独许可和停止")
    phone.leave("form[action='/my/acting'] button")
    assert found == []


def test_an_address_is_confirmed_by_a_code_signed_for_and_told_of_its_removal(phone, home, mail, pictures):
    address, found = "xiaomei@mail.example", []
    for language in ("zh", "en"):
        phone.open(f"{home}/contacts?lang={language}")
        found += looks(phone, f"contacts-none-{language}", pictures)
    phone.type("#address-email", address)
    phone.click("form[action='/my/contacts/code'] button")
    phone.wait_until(address)
    found += looks(phone, "contacts-code-en", pictures)
    phone.type("#code", re.search(r"\b\d{6}\b", mail.messages(address)[0].get_content())[0])
    phone.click("form[action='/my/contacts/confirm'] button")
    phone.wait_for("[data-passkey=sign] button")
    assert "Change where notices go" in phone.text
    assert address in phone.text
    found += looks(phone, "contacts-sign-en", pictures)
    confirm(phone)
    phone.wait_until("Remove")
    assert urlsplit(phone.url).path == "/my/contacts"
    # Word of the change comes by itself, from the hospital and from the organisation that endorsed it.
    assert eventually(lambda: len(mail.messages(address)) >= 2)
    told = mail.messages(address)[1].get_content()
    assert "there is something new for you" in told
    assert urlsplit(home).netloc in told
    phone.open(f"{home}/contacts?lang=zh")
    phone.click("main .mc-card summary")
    found += looks(phone, "contacts-zh", pictures)
    count = len(mail.messages(address))
    phone.click("main .mc-card form button")
    phone.wait_for("[data-passkey=sign] button")
    confirm(phone)
    phone.wait_until("还没有联系方式")
    assert eventually(lambda: len(mail.messages(address)) > count)
    assert found == []


def test_a_helper_is_named_by_a_code_acts_and_is_ended(phone, helper, home, pictures):
    helper.open(f"{home}/family?lang=en")
    helper.click("form[action='/my/family/code'] button")
    helper.wait_until("Your code")
    code, found = helper.script("return document.querySelector('.mc-mono').innerText"), looks(helper, "code", pictures)
    phone.open(f"{home}/family?lang=en")
    phone.click("#name-title ~ details summary")
    phone.type("#helper-code", code)
    found += looks(phone, "family", pictures)
    phone.click("form[action='/my/family/new'] button")
    phone.wait_until("Let 罗小敏 act for you?")
    found += looks(phone, "helper", pictures)
    phone.click("form[action='/my/helpers/new/sign'] button")
    phone.wait_for("[data-passkey=sign] button")
    assert "Name somebody who may act for you" in phone.text
    assert "罗小敏" in phone.text
    found += looks(phone, "sign-helper", pictures)
    confirm(phone)
    phone.wait_until("What 罗小敏 has done")
    helper.open(f"{home}/family?lang=zh")
    found += looks(helper, "for", pictures)
    helper.click(".mc-card form[action='/my/acting'] button")
    helper.wait_until("您正在替")
    found += looks(helper, "acting", pictures)
    helper.open(f"{home}/settings?lang=en")
    helper.wait_until("Only the person can do this")
    # By keyboard alone: the summary opens, and the button in it is pressed.
    phone.script("document.querySelector('summary.mc-stop').focus()")
    phone.type("summary.mc-stop", "\ue007")
    phone.click(".mc-card form[action$='/sign'] button")
    phone.wait_for("[data-passkey=sign] button")
    # The heading says what is signed, and has the focus: from there the button is the next stop.
    assert phone.script("return document.activeElement.tagName") == "H1"
    phone.type("h1", "\ue004")
    assert phone.script("return document.activeElement.closest('[data-passkey]') !== null")
    phone.type("[data-passkey=sign] button", "\ue007")
    phone.wait_for(".mc-card .nhsuk-tag--grey")
    assert "ended" in phone.text
    found += looks(phone, "ended", pictures)
    helper.open(f"{home}/record?lang=en")
    helper.wait_until("You may act for this person no more")
    assert found == []


def test_pages_before_signing_in_are_accessible_and_say_what_to_do(demo, home, pictures, tmp_path):
    browser = Browser(tmp_path)
    try:
        found = []
        for number, page in enumerate(("sign-in", "enrol", "recover", "recover/done", "verify", "without")):
            for language in ("zh", "en"):
                place = f"{home}/{page}"
                browser.open(f"{place}?lang={language}")
                for kind, width, height in SIZES:
                    browser.resize(width, height)
                    browser.picture(pictures / f"patient-out-{number}-{language}-{kind}.png")
                    found += [f"{place} {language} {kind} {one}" for one in violations(browser)]
                    assert browser.script("return document.documentElement.scrollWidth") <= width
        with browser.without_scripts():
            for page in ("sign-in", "enrol", "recover", "recover/done", "verify", "without"):
                found += faults_of(browser, f"{home}/{page}", pictures, f"out-{page.replace('/', '-')}")
        assert found == []
        browser.open(home)
        assert browser.url == f"{home}/sign-in"
    finally:
        browser.close()
    assert demo.process.poll() is None


WECHAT = "Mozilla/5.0 (Linux; Android 13; wv) AppleWebKit/537.36 Chrome/111.0 Mobile MicroMessenger/8.0.42"


@pytest.mark.parametrize(
    ("language", "says", "way"),
    [("zh", "此浏览器不支持通行密钥", "在浏览器打开"), ("en", "This browser has no passkeys", "Open in browser")],
)
def test_a_browser_inside_another_app_has_no_passkeys_and_is_led_out_of_it(
    demo, home, pictures, tmp_path, language, says, way
):
    browser = Browser(tmp_path, more=[f"--user-agent={WECHAT}"])
    try:
        found = []
        # It has `navigator.credentials` all the same.
        with browser.early_script("delete window.PublicKeyCredential;"):
            for page, code in (("sign-in", ""), ("enrol", "#ABCDE-FGHJK")):
                browser.open(f"{home}/{page}?lang={language}{code}")
                assert says in browser.wait_until(says)
                assert browser.script("return [...document.querySelectorAll('main button')].every((one) => one.hidden)")
                # What was given after the # goes along into the other browser.
                assert browser.script("return document.querySelector('[data-address]').value === location.href")
                found += looks(browser, f"in-app-{page}-{language}", pictures, (390, 1280))
            browser.click("[data-without] a[href='/my/without']")
            browser.wait_until(way)
            found += looks(browser, f"without-{language}", pictures, (320, 390, 1280))
        assert found == []
    finally:
        browser.close()
    assert demo.process.poll() is None


def test_a_proof_is_checked_in_the_page_and_a_tampered_one_refused(demo, phone, home, tmp_path, pictures):
    folder = demo.folder / "bundles" / "consent-withdrawn"
    contents = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    tampered = contents | {"record.json": contents["record.json"].replace(b'"stopped"', b'"active_"')}
    for name, files, verdict in (("good", contents, "verified"), ("bad", tampered, "refused")):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for member, content in files.items():
                archive.writestr(member, content)
        phone.open(f"{home}/verify?lang=en")
        phone.type("#bundle", str(tmp_path / f"{name}.zip"))
        assert phone.wait_for(f"[data-verdict={verdict}]")
        phone.picture(pictures / f"patient-verify-{name}.png")
        assert ("consent · stopped" in phone.text) is (verdict == "verified")
    asked = "return performance.getEntriesByType('resource').filter((one) => one.initiatorType === 'fetch').length"
    assert phone.script(asked) == 0


def test_a_first_page_weighs_less_than_seventy_kibibytes(phone, home):
    phone.open(home)
    sizes = phone.script(
        "return performance.getEntriesByType('navigation').concat(performance.getEntriesByType('resource'))"
        ".map((one) => one.encodedBodySize)"
    )
    assert 0 < sum(sizes) < 70 * 1024


def test_pages_are_printed_without_what_is_pressed(phone, home):
    phone.open(f"{home}/access?lang=en")
    phone.media("print")
    assert phone.script("return document.querySelector('.mc-nav').offsetHeight") == 0
    phone.media("")


TAB, ENTER = "\ue004", "\ue007"
WATCH_FOCUS = """
    const all = [...document.querySelectorAll("a[href], button, input, select, textarea, summary")];
    const order = all.filter((one) => one.checkVisibility() && !one.disabled && one.type !== "hidden");
    // Of a checkbox it is the label that is drawn.
    const drawn = (one) => one.matches(".nhsuk-checkboxes__input, .nhsuk-radios__input")
      ? getComputedStyle(one.labels[0], "::before") : getComputedStyle(one);
    const isSeen = (style) => style.boxShadow !== "none" || !["none", ""].includes(style.outlineStyle);
    window.walked = [];
    document.addEventListener("focusin", (event) => {
      window.walked.push([order.indexOf(event.target), isSeen(drawn(event.target))]);
    });
    return order.length;
"""


def test_every_page_is_walked_by_keyboard_alone_and_shows_where_one_is(phone, home):
    found = []
    for place in places(phone, home):
        phone.open(f"{place}{'&' if '?' in place else '?'}lang=en")
        count = phone.script(WATCH_FOCUS)
        phone.press(*[TAB] * count)
        if phone.script("return window.walked") != [[number, True] for number in range(count)]:
            found.append((place, phone.script("return window.walked")))
    assert found == []


def reach(browser: Browser, selector: str) -> None:
    """Press Tab until an element has the focus, and then Enter."""
    browser.wait_for(selector)
    for _ in range(200):
        if browser.script(f"return document.activeElement.matches({json.dumps(selector)})"):
            browser.press(ENTER)
            return
        browser.press(TAB)
    pytest.fail(f"{selector} is not reached at {browser.url}")


def test_a_permission_is_given_and_stopped_by_keyboard_alone(consortium, demo, phone, home):
    wish = {"custodian": HOSPITAL, "days": 30, "patient": demo.said["person"]["patient"], "person": ""}
    wish |= {"purpose": PURPOSE, "reason": "To settle your claim", "resource_types": list(RESOURCE_TYPES)}
    ask = consortium.nodes[RECIPIENT].local.call("ask.send", wish, SLOW)["id"]
    phone.open(f"{home}?lang=en")
    reach(phone, f"a[href='/my/asks/{ask}']")
    reach(phone, "button[name=step][value=sign]")
    reach(phone, "[data-passkey=sign] button")
    phone.wait_until(SAYS["en"]["given"])
    consent = re.search(r"/my/access/([0-9a-f]{64})", phone.url)[1]
    reach(phone, ".mc-nav a[href='/my/access']")
    reach(phone, f"form[action='/my/access/{consent}/withdraw'] button")
    reach(phone, "[data-passkey=sign] button")
    phone.wait_until(SAYS["en"]["ended"])
