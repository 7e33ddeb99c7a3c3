"""Letters over whole nodes and a real mail server: who is written to, what, how soon, and what never."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage

import pytest

from medchain.errors import NotFoundError
from medchain.ledger.kinds.subject import Contact
from medchain.node.asking import Ask, AskClaim, AskDesk, AskParts
from medchain.node.config import Address, MailServer
from medchain.node.correspondence import Correspondence
from medchain.node.letters import Sender, news
from medchain.node.mail import MailChannel
from medchain.node.notices import Addressee, NoticeBook, Told
from tests.mail_server import MailBox, mail_server
from tests.unit.medchain.ledger.world import fresh, genesis
from tests.unit.medchain.node.desks import running_desks
from tests.unit.medchain.node.federation import ANXIN, RENHE, TONGJI
from tests.unit.medchain.node.test_subject_changes import Someone, consent

PORTAL = "https://renhe.portal.example"


@pytest.fixture(scope="module")
def desks(tmp_path_factory):
    with running_desks(tmp_path_factory.mktemp("desks")) as running:
        yield running


@pytest.fixture
def box():
    with mail_server(MailBox()) as running:
        yield running


def posting(desks, box: MailBox, org_id: str = RENHE) -> tuple[NoticeBook, Correspondence]:
    """A node's notices and letters, with a mail server."""
    site, clock = desks.federation.sites[org_id], desks.federation.clock
    server = MailServer(Address("127.0.0.1", box.port), "none", None, f"notices@{org_id}.example", "", None)
    channel = MailChannel(server, clock)
    book = NoticeBook(site.node.judge, site.records, site.service, [channel.name])
    portal = PORTAL if org_id == RENHE else ""
    return book, Correspondence(site.node, site.records, book, [channel], portal)


@contextmanager
def post_office(world) -> Iterator[MailBox]:
    """Have what a world's pages ask of its node send letters to a mail server, while that runs."""
    with mail_server(MailBox()) as running:
        before = dict(world.local.operations)
        world.local.operations |= posting(world.desks, running)[1].operations()
        yield running
        world.local.operations.clear()
        world.local.operations |= before


def sent(letters: Correspondence, box: MailBox, address: str, count: int = 1) -> EmailMessage:
    """Let a node's jobs run until an address was sent so many letters; gives the last."""
    stop, end = threading.Event(), time.monotonic() + 60
    running = [threading.Thread(target=job.run, args=(stop,)) for job in letters.jobs()]
    for thread in running:
        thread.start()
    while len(box.messages(address)) < count and time.monotonic() < end:
        time.sleep(0.01)
    stop.set()
    for thread in running:
        thread.join()
    assert len(box.messages(address)) == count
    return box.messages(address)[-1]


def enrolled(desks, name: str) -> tuple[Someone, str]:
    """Enrol somebody with an e-mail address."""
    address = f"{name}@mail.example"
    return Someone(desks, name, contacts=[{"address": address, "channel": "email"}]), address


def test_an_emergency_reaches_the_mail_server_within_seconds(desks, box):
    _, address = enrolled(desks, "hurt")
    book, letters = posting(desks, box)
    token = desks.federation.sites[RENHE].service.patient_token("hurt")
    begun = time.monotonic()
    book.tell_patient(token, Told("emergency.declared", b"", b"\x07" * 32, 1, desks.federation.clock(), {"by": RENHE}))
    message = sent(letters, box, address)
    assert time.monotonic() - begun < 30
    assert message["Subject"] == "紧急：您有新消息 / Urgent: something new for you"
    text = message.get_content()
    assert "此事紧急，请今天就查看。" in text
    assert "It is urgent: please look today." in text
    assert PORTAL in text


def test_nothing_of_the_person_or_of_what_happened_is_in_a_letter(desks, box):
    patient, address = enrolled(desks, "silent")
    book, letters = posting(desks, box)
    fields = {"by": TONGJI, "staff": "dr-wu", "reason": "unconscious", "department": "oncology"}
    key, now = bytes.fromhex(patient.key), desks.federation.clock()
    token = desks.federation.sites[RENHE].service.patient_token("silent")
    book.tell_patient(token, Told("emergency.declared", b"", b"\x08" * 32, 1, now, fields))
    message = sent(letters, box, address)
    text = message.get_content() + message.as_bytes().decode("ascii").replace(address, "")
    words = ["dr-wu", "unconscious", "oncology", TONGJI, "silent", "emergency", patient.key, "08" * 16, token]
    assert not [word for word in words if word in text]
    # Whoever has the ledger can compute the id of a notice: it names no letter.
    (row,) = desks.federation.sites[RENHE].records.notices_of([key])
    assert row.id.hex() not in text
    assert message["Message-ID"]


def test_an_ask_for_a_claim_sends_word_at_once_and_says_nothing_of_it(desks, box):
    _, address = enrolled(desks, "asked")
    book, letters = posting(desks, box)
    site = desks.federation.sites[RENHE]
    parts = site.records, site.service, NoWay(), desks.federation.clock, fresh, book.tell_patient
    claim = AskClaim(b"\x0c" * 32, "AX-2026-0317", 123_450, "CNY", RENHE, ("Encounter/e1",))
    ask = Ask(fresh(16), "asked", "王晓梅", "HPAYMT", "住院费用", ("Encounter",), 7, claim)
    AskDesk(AskParts(RENHE, genesis().ledger, *parts)).receive(ask.encode(genesis().ledger), ANXIN)
    text = sent(letters, box, address).get_content()
    assert PORTAL in text
    assert "there is something new for you" in text
    assert not [word for word in ("AX-2026", "1,234", "住院", "王晓梅", ANXIN, "0c0c", "Encounter") if word in text]


class NoWay:
    """No way to other organisations."""

    def ask(self, org_id: str, document: bytes) -> None:
        raise AssertionError(org_id, document)


def test_the_independent_organisation_leads_to_the_portal_that_the_person_knows(desks, box):
    patient, address = enrolled(desks, "witnessed")
    endorser = consent(desks, patient)["endorser"]
    book, letters = posting(desks, box, endorser)
    book.round()
    message, members = sent(letters, box, address), genesis().members.organisations
    text = message.get_content()
    assert members[RENHE].origins[0] in text
    assert str(members[endorser].name["en"]) in text
    assert "If nothing new is shown there" in text
    assert message["From"] == f"notices@{endorser}.example"


def test_a_patient_of_this_organisation_is_led_to_its_own_portal(desks, box):
    _, address = enrolled(desks, "own")
    book, letters = posting(desks, box)
    book.round()
    text = sent(letters, box, address).get_content()
    assert PORTAL in text
    assert "If nothing new is shown there" not in text


def test_old_and_new_address_are_told_of_a_change(desks, box):
    patient, address = enrolled(desks, "moved")
    book, letters = posting(desks, box)
    book.round()
    sent(letters, box, address)
    patient.change("change-contacts", contacts=[{"address": "new@mail.example", "channel": "email"}])
    book.round()
    sent(letters, box, "new@mail.example")
    sent(letters, box, address, 2)


def test_word_of_an_erased_patient_goes_nowhere(desks, box):
    patient, address = enrolled(desks, "erased")
    book, _ = posting(desks, box)
    book.round()
    records, subject = desks.federation.sites[RENHE].records, bytes.fromhex(patient.key)
    (waiting,) = records.dispatches_to(book.place(Addressee(subject), Contact("email", address)))
    records.drop_notices([subject], [])
    assert records.dispatches_to(waiting.place) == []
    with pytest.raises(NotFoundError, match=r"notice\.unknown"):
        book.contact(waiting)


def test_a_letter_has_both_languages_and_who_writes():
    letter = news("ab", Sender({"en": "Renhe Hospital", "zh": "仁和医院"}, PORTAL), urgent=False)
    zh, en = letter.text.split("\n\n")
    assert zh.splitlines()[0] == f"仁和医院：您有新消息。请登录查看：{PORTAL}"
    assert en.splitlines()[0] == f"Renhe Hospital: there is something new for you. Sign in: {PORTAL}"
    assert letter.short == f"{zh.splitlines()[0]}\n{en.splitlines()[0]}"
    only = news("ab", Sender({"zh": "仁和医院"}, PORTAL), urgent=True)
    assert only.text.split("\n\n")[1].startswith("仁和医院: there is")
