"""What becomes of word that people are to be sent: once it is taken, when it is not, and while a channel is away."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from medchain.encoding import parse_canonical
from medchain.errors import InputError, UnavailableError
from medchain.ledger.kinds.content import DAY_S
from medchain.node import dispatching
from medchain.node.dispatching import GIVEN_UP_S, LATE_S, MAX_A_DAY, WAITING, Dispatcher
from medchain.node.letters import Sender, news
from medchain.store.engine import FileKind, open_database
from medchain.store.notices import Dispatch, NoticeRow
from medchain.store.records import RecordStore
from tests.waiting import eventually

NOW = 1_796_083_200
SENDER = Sender({"en": "Renhe Hospital", "zh": "仁和医院"}, "https://renhe.example")


@dataclass
class Post:
    """A channel of the test, with the records file and the clock around it."""

    records: RecordStore
    name: str = "email"
    time: int = NOW
    sent: list[tuple[str, bool]] = field(default_factory=list)
    errors: dict[str, Exception] = field(default_factory=dict)
    refusing: set[str] = field(default_factory=set)
    count: int = 0

    def send(self, address, letter) -> bool:
        if address in self.errors:
            raise self.errors[address]
        if address in self.refusing:
            return False
        self.sent.append((address, letter.title.startswith("紧急")))
        return True

    def tell(self, place: str, *, urgent: bool = False, channel: str = "email") -> bytes:
        self.count += 1
        notice = self.count.to_bytes(16, "big")
        way = Dispatch(notice, place.encode().ljust(16), channel, int(urgent), self.time, self.time)
        assert self.records.put_notice(NoticeRow(notice, b"\x01" * 32, "", self.time, b"sealed"), [way])
        return notice

    def opened(self, dispatch, urgent):
        return dispatch.place.decode().strip(), news(dispatch.notice.hex(), SENDER, urgent=urgent)

    @property
    def dispatcher(self) -> Dispatcher:
        return Dispatcher(self, self.records, self.opened, lambda: self.time)

    def drain(self) -> list[tuple[str, bool]]:
        """Send all that is due; return what was sent by that."""
        before = len(self.sent)
        while self.dispatcher.step():
            pass
        return self.sent[before:]

    def waiting(self, place: str) -> list[Dispatch]:
        return self.records.dispatches_to(place.encode().ljust(16))


@pytest.fixture
def post(tmp_path):
    records = RecordStore(open_database(tmp_path / "records.db", b"\x05" * 32, kind=FileKind.RECORDS))
    yield Post(records)
    records.close()


def test_what_was_taken_is_sent_no_more(post):
    notice = post.tell("li")
    assert post.drain() == [("li", False)]
    assert post.drain() == []
    assert post.records.notice(notice).sent == NOW


def test_one_message_covers_all_that_waits_for_one_address(post):
    for _ in range(3):
        post.tell("li")
    post.tell("zhang")
    assert sorted(post.drain()) == [("li", False), ("zhang", False)]


def test_an_address_is_sent_so_many_in_a_day_and_one_for_the_rest_after_it(post):
    for _ in range(MAX_A_DAY):
        post.tell("li")
        assert post.drain() == [("li", False)]
        post.time += 60
    for _ in range(5):
        post.tell("li")
        assert post.drain() == []
        post.time += 60
    assert {way.code for way in post.waiting("li")} == {"dispatch.digest"}
    post.time = NOW + DAY_S
    assert post.drain() == []
    post.time = NOW + DAY_S + 1
    assert post.drain() == [("li", False)]
    assert post.waiting("li") == []


def test_what_was_sent_by_a_clock_that_was_ahead_keeps_nothing_back_once_it_is_set_back(post):
    post.time = NOW + 365 * DAY_S
    for _ in range(MAX_A_DAY):
        post.tell("li")
        assert post.drain() == [("li", False)]
        post.time += 1
    post.time = NOW
    post.tell("li")
    assert post.drain() == [("li", False)]


@pytest.mark.parametrize("days", [1, 365])
@pytest.mark.parametrize("urgent", [True, False])
def test_what_waits_since_a_clock_was_ahead_is_due_once_it_is_set_back(post, urgent, days):
    post.time = NOW + days * DAY_S
    post.tell("li", urgent=urgent)
    post.time = NOW
    assert post.drain() == [("li", urgent)]


def test_what_waits_since_a_clock_was_ahead_is_tried_as_rarely_as_what_is_old(post):
    post.time = NOW + 365 * DAY_S
    post.refusing = {"li"}
    post.tell("li")
    post.time = NOW
    assert post.drain() == []
    assert post.waiting("li")[0].due == NOW + 6 * 3600


def test_what_is_urgent_is_never_one_too_many_and_goes_first(post):
    for _ in range(MAX_A_DAY):
        post.tell("li")
        post.drain()
        post.time += 1
    post.tell("li")
    post.drain()
    post.tell("zhang")
    post.time += 1
    post.tell("li", urgent=True)
    assert post.drain() == [("li", True), ("zhang", False)]
    assert post.waiting("li") == []


def test_others_are_not_held_up_by_an_address_that_has_had_enough(post):
    for _ in range(MAX_A_DAY + 1):
        post.tell("li")
        post.drain()
        post.time += 1
    post.tell("zhang")
    assert post.drain() == [("zhang", False)]


def test_what_an_address_does_not_take_is_tried_ever_more_rarely_then_given_up_and_told(post):
    post.refusing = {"li"}
    notice = post.tell("li")
    tries = []
    while post.waiting("li"):
        post.time = post.waiting("li")[0].due
        tries.append(post.time - NOW)
        post.drain()
    assert tries[:4] == [0, 60, 120, 240]
    assert all(later - earlier <= 6 * 3600 for earlier, later in pairwise(tries))
    assert tries[-2] < GIVEN_UP_S <= tries[-1]
    assert len(tries) < 30
    assert post.records.undelivered([notice]) == {notice}
    assert post.records.notice(notice).sent is None
    assert post.sent == []


def test_what_is_new_is_not_given_up_with_what_is_old(post):
    post.refusing = {"li"}
    old = post.tell("li")
    post.time += GIVEN_UP_S
    new = post.tell("li")
    post.drain()
    assert [way.notice for way in post.waiting("li")] == [new]
    assert post.records.undelivered([old, new]) == {old}


@pytest.mark.parametrize("code", ["contact.email", "notice.unknown"])
def test_what_cannot_be_sent_ever_is_given_up_at_once_and_holds_up_nobody(post, code):
    post.errors = {"li": InputError(code)}
    notice = post.tell("li")
    post.tell("zhang")
    assert post.drain() == [("zhang", False)]
    assert post.records.undelivered([notice]) == {notice}


def test_while_a_channel_is_away_nothing_is_given_up(post):
    post.errors = {"li": UnavailableError("mail.unreachable")}
    post.tell("li")
    for _ in range(40):
        post.time = post.waiting("li")[0].due
        with pytest.raises(UnavailableError, match=r"mail\.unreachable"):
            post.dispatcher.step()
    assert post.time > NOW + 40 * 60
    assert post.waiting("li")[0].due - post.time == 300
    post.time = NOW + 2 * GIVEN_UP_S
    post.errors = {}
    assert post.drain() == [("li", False)]


def test_a_letter_at_which_the_server_hangs_keeps_no_other_back(post):
    post.errors = {"li": UnavailableError("mail.unreachable")}
    post.tell("li", urgent=True)
    post.tell("zhang")
    with pytest.raises(UnavailableError):
        post.dispatcher.step()
    assert post.drain() == [("zhang", False)]


def test_another_channel_sends_its_own_alone(post):
    post.tell("li", channel="sms")
    assert post.drain() == []
    post.name = "sms"
    assert post.drain() == [("li", False)]


@pytest.mark.parametrize(("is_kept", "times"), [(False, 2), (True, 1)])
def test_what_was_sent_and_perhaps_not_noted_is_sent_at_least_once(post, monkeypatch, is_kept, times):
    """Who could not write down what was sent does not know it."""
    marked = post.records.mark_sent

    def fail(*given: object) -> None:
        if is_kept:
            marked(*given)
        raise UnavailableError("store.io")

    post.tell("li")
    monkeypatch.setattr(post.records, "mark_sent", fail)
    with pytest.raises(UnavailableError, match=r"store\.io"):
        post.dispatcher.step()
    monkeypatch.setattr(post.records, "mark_sent", marked)
    post.drain()
    assert post.sent == times * [("li", False)]


def test_who_waits_too_long_for_a_channel_is_an_alarm_once(post):
    post.errors = {"li": UnavailableError("mail.unreachable")}
    post.tell("li")
    for age_s, raised in ((LATE_S, 0), (LATE_S + 1, 1), (LATE_S + 2, 1)):
        post.time = NOW + age_s
        post.dispatcher.look()
        assert len(post.records.alarms(code=WAITING)) == raised
    (alarm,) = post.records.alarms(code=WAITING)
    assert (alarm.subject, alarm.count) == ("email", 1)
    assert parse_canonical(alarm.fields, max_bytes=1000) == {"count": 1, "since": NOW}


def test_a_channel_that_comes_to_no_end_is_an_alarm_all_the_same(post, monkeypatch):
    for name in ("PERIOD_S", "WATCH_S"):
        monkeypatch.setattr(dispatching, name, 0.01)
    stop, is_sending, dispatcher = threading.Event(), threading.Event(), post.dispatcher
    monkeypatch.setattr(post, "send", lambda *_: is_sending.set() or stop.wait())
    post.tell("li")
    threads = [threading.Thread(target=job, args=(stop,)) for job in (dispatcher.run, dispatcher.watch)]
    for thread in threads:
        thread.start()
    assert is_sending.wait(60)
    post.time = NOW + LATE_S + 1
    assert eventually(lambda: post.records.is_alarm_open(WAITING))
    stop.set()
    for thread in threads:
        thread.join(60)


def test_a_person_who_had_enough_for_today_is_no_alarm(post):
    for _ in range(MAX_A_DAY + 1):
        post.tell("li")
        post.drain()
        post.time += 1
    post.refusing = {"zhang"}
    post.tell("zhang")
    post.drain()
    post.time += LATE_S + 1
    post.dispatcher.look()
    assert post.records.alarms(code=WAITING) == []


def test_it_sends_on_by_itself_after_a_channel_was_away(post, monkeypatch):
    monkeypatch.setattr(dispatching, "PERIOD_S", 0.01)
    post.errors = {"li": UnavailableError("mail.unreachable")}
    post.tell("li")
    stop = threading.Event()
    running = threading.Thread(target=post.dispatcher.run, args=(stop,))
    running.start()
    post.tell("zhang")
    while not post.sent:
        stop.wait(0.01)
    stop.set()
    running.join()
    assert post.sent == [("zhang", False)]
