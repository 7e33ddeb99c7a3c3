"""Where a patient's notices go, on the pages, with a real mail server: code, signature, removal; and the attacks."""

from __future__ import annotations

import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from consent.web import contact_codes
from medchain.ledger.kinds.subject import Contact
from medchain.node.contact_address import CODE_S
from medchain.node.correspondence import Correspondence
from medchain.node.notices import Addressee, Told
from medchain.node.sms import CommandChannel
from tests.mail_server import MailBox
from tests.unit.consent.web.conftest import ORIGIN, PORTAL, Browser, code_of
from tests.unit.consent.web.test_family import acting, token
from tests.unit.medchain.node.federation import RENHE
from tests.unit.medchain.node.test_correspondence import post_office, posting, sent

PAGE = "/my/contacts"


@pytest.fixture
def box(world):
    with post_office(world) as running:
        yield running


def said(browser: Browser, language: str = "en") -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", browser.text(f"{PAGE}?lang={language}")))


def contacts(world, name: str) -> list[str]:
    return [row["address"] for row in world.local.call("contacts.show", {"subject": world.subjects[name]})["contacts"]]


def ask(browser: Browser, address: str, channel: str = "email"):
    """Have a code sent."""
    return browser.post(f"{PAGE}/code", {"csrf": browser.csrf(PAGE), "address": address, "channel": channel})


def code_in(box: MailBox, address: str) -> str:
    """Read the code that came last, the same in both languages."""
    codes = set(re.findall(r"\b\d{6}\b", box.messages(address)[-1].get_content()))
    assert len(codes) == 1
    return codes.pop()


def confirm(browser: Browser, address: str, code: str, phone=None):
    """Enter a code, and sign."""
    form = {"csrf": browser.csrf(PAGE), "address": address, "channel": "email", "code": code}
    return browser.signed(browser.led(browser.post(f"{PAGE}/confirm", form)), phone)


def add(browser: Browser, box: MailBox, address: str) -> None:
    """Add an address."""
    assert ask(browser, address).status_code == 200
    done = confirm(browser, address, code_in(box, address))
    assert done.status_code == 200, done.text


def remove_path(browser: Browser, at: int = 0) -> str:
    return re.findall(rf'action="({PAGE}/[0-9a-f]+/remove)"', browser.text(PAGE))[at]


def test_an_address_counts_once_its_code_has_come_back_and_was_signed(world, box):
    browser = world.patient("adds-mail")
    assert "There is none yet" in said(browser)
    assert "还没有联系方式" in said(browser, "zh")
    asked = ask(browser, " li@Mail.example ")
    assert "A code was sent to li@mail.example" in re.sub(r"\s+", " ", asked.text) or "验证码已发往" in asked.text
    assert contacts(world, "adds-mail") == []
    message = box.messages("li@mail.example")[0]
    assert message["Subject"] == "验证码 / Your code"
    assert "机构：确认此联系方式的验证码是" in message.get_content()
    assert "王" not in message.get_content()
    done = confirm(browser, "li@mail.example", code_in(box, "li@mail.example"))
    assert urlsplit(json.loads(done.data)["next"]).path == PAGE
    assert contacts(world, "adds-mail") == ["li@mail.example"]
    assert "li@mail.example" in said(browser)


def test_what_is_signed_names_the_addresses_as_they_are_afterwards(world, box):
    browser = world.patient("reads-mail")
    ask(browser, "reads@mail.example")
    form = {"csrf": browser.csrf(PAGE), "address": "reads@mail.example", "channel": "email"}
    opened = browser.led(browser.post(f"{PAGE}/confirm", form | {"code": code_in(box, "reads@mail.example")}))
    draft = json.loads(opened.data)["draft"]
    assert "reads@mail.example" not in draft  # in base64
    assert contacts(world, "reads-mail") == []


def test_old_and_new_addresses_are_told_of_each_change(world, box):
    browser = world.patient("moves-mail")
    add(browser, box, "old@mail.example")
    add(browser, box, "new@mail.example")
    done = browser.step(remove_path(browser))
    assert done.status_code == 200, done.text
    assert contacts(world, "moves-mail") == ["new@mail.example"]
    book, letters = posting(world.desks, box)
    book.round()
    # One letter covers what waits: that the second came, and that the first went.
    sent(letters, box, "old@mail.example", 2)
    sent(letters, box, "new@mail.example", 2)


def test_a_code_counts_once_for_one_account_one_address_and_a_quarter_of_an_hour(world, box):
    browser, other = world.patient("codes"), world.patient("codes-other")
    for wrong, sender, address, later_s in (
        ("another account", other, "codes@mail.example", 0),
        ("another address", browser, "codes2@mail.example", 0),
        ("too late", browser, "codes@mail.example", CODE_S),
    ):
        ask(browser, "codes@mail.example")
        code = code_in(box, "codes@mail.example")
        world.desks.federation.time += later_s
        answer = confirm(sender, address, code)
        assert "data-code" not in answer.text, wrong
        assert 'role="alert"' in answer.text, wrong
    add(browser, box, "codes@mail.example")
    used = code_in(box, "codes@mail.example")
    browser.step(remove_path(browser))
    assert 'role="alert"' in confirm(browser, "codes@mail.example", used).text
    assert contacts(world, "codes") == contacts(world, "codes-other") == []


def test_who_guesses_a_code_waits(world, box):
    browser = world.patient("guesses")
    ask(browser, "guesses@mail.example")
    right = code_in(box, "guesses@mail.example")
    wrong = f"{(int(right) + 1) % 10**6:06}"
    for _ in range(5):
        assert 'role="alert"' in confirm(browser, "guesses@mail.example", wrong).text
    assert code_of(confirm(browser, "guesses@mail.example", right)) == "session.locked"
    assert contacts(world, "guesses") == []


def test_attack_codes_guessed_at_once_are_looked_at_five_times(world, box):
    """A six-digit code, guessed by as many requests as there are workers: each had seen that nothing was locked."""
    browser = world.patient("races")
    ask(browser, "races@mail.example")
    right, csrf = int(code_in(box, "races@mail.example")), browser.csrf(PAGE)
    cookie = browser.client.get_cookie(world.site.pages.site.cookie, urlsplit(PORTAL).hostname)
    form = {"csrf": csrf, "address": "races@mail.example", "channel": "email"}
    gate = threading.Barrier(24)

    def guess(number: int) -> str:
        client = browser.client.application.test_client(use_cookies=False)
        headers = {"Origin": PORTAL, "Cookie": f"{cookie.key}={cookie.value}"}
        gate.wait()
        code = f"{(right + 1 + number) % 10**6:06}"
        return code_of(client.post(f"{PAGE}/confirm", base_url=PORTAL, data=form | {"code": code}, headers=headers))

    with ThreadPoolExecutor(24) as pool:
        codes = list(pool.map(guess, range(24)))
    assert codes.count("session.locked") == 19
    assert code_of(confirm(browser, "races@mail.example", f"{right:06}")) == "session.locked"


def test_nobody_floods_an_address_with_codes(world, box):
    one, two = world.patient("floods"), world.patient("floods-too")
    for _ in range(5):
        assert ask(one, "victim@mail.example").status_code == 200
    assert [code_of(ask(who, "victim@mail.example")) for who in (one, two)] == 2 * ["session.locked"]
    assert code_of(ask(one, "another@mail.example")) == "session.locked"
    assert len(box.letters) == 5


@pytest.mark.parametrize(
    "address", ["", "li", "a@b.example,c@d.example", "a@b.example\r\nBcc: c@d.example", "李@b.example"]
)
def test_what_is_no_address_is_sent_nothing(world, box, address):
    browser = world.patient("malformed")
    assert code_of(ask(browser, address)) == "contact.email"
    assert box.said == []


def test_a_channel_that_is_not_here_is_refused(world, box):
    browser = world.patient("channels")
    assert code_of(ask(browser, "li@mail.example", "fax")) == "contact.channel"
    assert box.said == []


def test_an_address_that_is_there_is_not_added_again_and_there_are_eight_at_most(world, box, monkeypatch):
    browser = world.patient("many")
    for number in range(2):
        add(browser, box, f"many{number}@mail.example")
    assert code_of(ask(browser, "many1@mail.example")) == "contact.known"
    assert contact_codes.MAX_CONTACTS == 8
    monkeypatch.setattr(contact_codes, "MAX_CONTACTS", 2)
    assert code_of(ask(browser, "many2@mail.example")) == "contact.many"


def test_a_server_that_does_not_take_the_code_is_told_and_nothing_is_kept(world, box):
    browser = world.patient("unsent")
    for answers in ({"RCPT": "550 nobody"}, {"CONNECT": "554 away"}):
        box.answers = answers
        assert code_of(ask(browser, "unsent@mail.example")) == "contact.unsent"
    assert contacts(world, "unsent") == []


def test_without_a_mail_server_no_address_is_asked_for(world):
    browser = world.patient("no-server")
    page = said(browser)
    assert "sends no messages at present" in page
    assert "Send a code" not in page
    assert code_of(ask(browser, "li@mail.example")) == "contact.channel"


def test_a_mobile_number_is_confirmed_by_a_short_message(world, tmp_path, monkeypatch):
    program, side = tmp_path / "send-sms", world.desks.federation.sites[RENHE]
    program.write_text(f"#!/bin/sh\ncat > {tmp_path}/given\n")
    program.chmod(0o755)
    book = world.desks.nodes[RENHE].notices
    letters = Correspondence(side.node, side.records, book, [CommandChannel(program)], PORTAL)
    for name, operation in letters.operations().items():
        monkeypatch.setitem(world.local.operations, name, operation)
    browser = world.patient("texts")
    assert 'type="tel"' in browser.text(PAGE)
    assert code_of(ask(browser, "12", "sms")) == "contact.sms"
    assert ask(browser, "138 0000 0000", "sms").status_code == 200
    number, *text = (tmp_path / "given").read_text(encoding="utf-8").splitlines()
    assert number == "+8613800000000"
    form = {"csrf": browser.csrf(PAGE), "address": number, "channel": "sms"}
    code = re.search(r"\b\d{6}\b", text[0])[0]
    done = browser.signed(browser.led(browser.post(f"{PAGE}/confirm", form | {"code": code})))
    assert done.status_code == 200, done.text
    assert contacts(world, "texts") == ["+8613800000000"]
    assert "Mobile number" in said(browser)


def test_an_address_that_takes_nothing_is_shown_so_until_it_does(world, box):
    browser = world.patient("bounces")
    add(browser, box, "bounces@mail.example")
    subject, records = bytes.fromhex(world.subjects["bounces"]), world.desks.federation.sites[RENHE].records
    book, letters = posting(world.desks, box)
    book.round()
    contact = Contact("email", "bounces@mail.example")
    place = book.place(Addressee(subject), contact)
    records.put_off(records.dispatches_to(place), None, "dispatch.refused")
    assert "Not delivered" in said(browser)
    world.desks.federation.time += 1
    book.tell(Addressee(subject), Told("consent.given", b"", b"\x06" * 32, 1, world.time, {}, (contact,)))
    sent(letters, box, "bounces@mail.example", 2)
    assert "Not delivered" not in said(browser)


def test_attack_another_patients_contact_is_not_removed_nor_one_of_nobody(world, box):
    victim, thief = world.patient("robbed"), world.patient("robs")
    add(victim, box, "robbed@mail.example")
    path = remove_path(victim)
    for name in (path, f"{PAGE}/{'0' * 32}/remove"):
        assert thief.post(name, {"csrf": thief.csrf()}).status_code == 404
    assert contacts(world, "robbed") == ["robbed@mail.example"]


@pytest.mark.parametrize("path", [f"{PAGE}/code", f"{PAGE}/confirm", f"{PAGE}/{'0' * 32}/remove"])
def test_attack_a_form_from_elsewhere_does_nothing(world, box, path):
    browser = world.patient("forged")
    form = {"address": "li@mail.example", "channel": "email", "code": "000000"}
    assert browser.post(path, form | {"csrf": "x"}).status_code == 403
    assert browser.post(path, form | {"csrf": browser.csrf()}, origin=ORIGIN).status_code == 403
    assert box.said == []


def test_no_page_address_names_a_contact(world, box):
    browser = world.patient("private")
    add(browser, box, "private@mail.example")
    addresses = re.findall(r'(?:href|action)="([^"]*)"', browser.text(PAGE))
    assert not [one for one in addresses if "private" in one or "%40" in one or "@" in one]


def test_nothing_is_kept_of_an_address_before_its_code_came_back(world, box):
    browser = world.patient("unkept")
    ask(browser, "unkept@mail.example")
    assert code_in(box, "unkept@mail.example")
    accounts, now = world.site.pages.site.accounts, world.time
    assert accounts.tickets("contact-code", now)
    assert set(accounts.tickets("contact-code", now)) == {b""}


def test_where_another_organisation_keeps_the_enrolment_the_page_names_it(world, monkeypatch, box):
    browser = world.patient("elsewhere")
    show = world.local.operations["subject.show"]
    monkeypatch.setitem(
        world.local.operations, "subject.show", lambda document: {**show(document), "enroller": "tongji-hospital"}
    )
    assert "Send a code" not in said(browser)
    assert code_of(ask(browser, "li@mail.example")) == "subject.elsewhere"
    assert box.said == []


def topics(browser: Browser, *wanted: str, csrf: str = ""):
    """Choose of what word is sent."""
    return browser.post(f"{PAGE}/topics", {"csrf": csrf or browser.csrf(PAGE), "topic": list(wanted)})


def checked(browser: Browser) -> list[str]:
    return re.findall(r'name="topic" value="(\w+)" checked', browser.text(PAGE))


def test_a_patient_chooses_of_which_notices_word_is_sent_without_a_signature(world):
    browser = world.patient("chooses")
    assert checked(browser) == ["asks", "concerns", "law", "permissions"]
    assert "you are always sent word" in said(browser)
    done = topics(browser, "law")
    assert (done.status_code, done.headers["Location"]) == (303, f"{PAGE}?chosen=1#topics")
    assert "Saved." in browser.text(f"{PAGE}?chosen=1&lang=en")
    assert checked(browser) == ["law"]
    subject = {"subject": world.subjects["chooses"]}
    assert world.local.call("notices.choice", subject) == {"quiet": ["asks", "concerns", "permissions"]}
    # What is no topic, such as emergencies, is none that is switched on or off.
    topics(browser, "asks", "concerns", "law", "permissions", "emergencies")
    assert world.local.call("notices.choice", subject) == {"quiet": []}


def test_attack_nobody_else_chooses_of_what_a_patient_is_sent_word(world):
    _, helper = acting(world, "topics-of")
    answer = topics(helper, csrf=token(helper))
    assert (answer.status_code, code_of(answer)) == (403, "patient.own")
    browser = world.patient("topics-forged")
    answer = topics(browser, csrf="x" * 43)
    assert (answer.status_code, code_of(answer)) == (403, "session.form")
    assert world.local.call("notices.choice", {"subject": world.subjects["topics-forged"]}) == {"quiet": []}
