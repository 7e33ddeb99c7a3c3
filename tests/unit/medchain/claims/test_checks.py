"""Batches in the daemon: turns, bounds, and whose they are."""

from __future__ import annotations

from threading import Event, Thread

import pytest

from medchain.claims import checks
from medchain.claims.asking import Finding
from medchain.claims.checks import BEGIN, KEPT_S, LIST, REPORT, SHOW, CheckBook, Reached
from medchain.encoding import base64_text, unbase64
from medchain.errors import ConflictError, InputError, NotFoundError, UnavailableError, VerificationError
from tests.unit.medchain.claims.questions import NOW, row
from tests.waiting import eventually

HEADER = "issuer,code,number,date,check_code"


def table(*numbers: str) -> str:
    held = row()
    lines = [f"{held.issuer},{held.code},{number},{held.date},{held.check_code}" for number in numbers]
    return base64_text("\n".join((HEADER, *lines)).encode())


class Node:
    """A book, and what it asked for."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.time, self.parts, self.broken = NOW, [], False
        self.book = CheckBook(self.check, self.final, lambda: self.time)

    def check(self, rows):
        if self.broken:
            raise UnavailableError("store.io")
        self.parts.append([one.number for one in rows])
        return [{"finding": Finding.FREE.value} for _ in rows]

    def final(self):
        return Reached(9, NOW)

    def call(self, operation: str, **document: object) -> dict:
        return self.book.operations()[operation](document)

    def begin(self, *numbers: str, by: str = "a"):
        return self.call(BEGIN, by=by, csv=table(*numbers))["id"]


@pytest.fixture
def node(monkeypatch) -> Node:
    monkeypatch.setattr(checks, "MAX_CHECKED", 2)
    return Node()


def test_batches_take_turns_so_that_a_large_one_keeps_no_small_one_waiting(node):
    large, small = node.begin("1", "2", "3", "4", "5"), node.begin("9")
    assert node.book.round() == 2
    assert node.parts == [["1", "2"], ["9"]]
    assert [node.call(SHOW, by="a", id=one)["is_waiting"] for one in (large, small)] == [True, False]
    assert node.call(SHOW, by="a", id=large)["done"] == 2
    assert [node.book.round() for _ in range(3)] == [1, 1, 0]
    told = node.call(REPORT, by="a", id=large)
    assert [one["finding"] for one in told["found"]] == ["free"] * 5
    assert unbase64(told["csv"]).decode().startswith(HEADER)
    assert (told["batch"]["final_size"], told["batch"]["time"]) == (9, NOW)


def test_what_cannot_be_read_is_said_in_its_place_and_asked_for_by_nobody(node):
    name = node.begin("1", "-", "3")
    while node.book.round():
        pass
    assert node.parts == [["1", "3"]]
    found = node.call(REPORT, by="a", id=name)["found"]
    assert [one["finding"] for one in found] == ["free", "malformed", "free"]
    assert node.call(SHOW, by="a", id=name)["counts"] == {"free": 2, "malformed": 1}


def test_attack_a_batch_is_nobody_elses_and_not_given_before_it_is_done(node):
    name = node.begin("1")
    for operation in (SHOW, REPORT):
        with pytest.raises(NotFoundError, match=r"claim\.no_check"):
            node.call(operation, by="b", id=name)
    with pytest.raises(ConflictError, match=r"claim\.checking"):
        node.call(REPORT, by="a", id=name)
    assert (len(node.call(LIST, by="a")["batches"]), node.call(LIST, by="b")["batches"]) == (1, [])


def test_a_batch_is_kept_for_a_day(node):
    name = node.begin("1")
    node.time += KEPT_S
    assert node.call(LIST, by="a")["batches"] == []
    with pytest.raises(NotFoundError, match=r"claim\.no_check"):
        node.call(SHOW, by="a", id=name)
    node.begin("2")
    assert node.book.round() == 1


def test_attack_one_person_and_all_together_have_a_bounded_number(node, monkeypatch):
    monkeypatch.setattr(checks, "MAX_OF_ONE", 2)
    monkeypatch.setattr(checks, "MAX_BATCHES", 3)
    first = node.begin("1")
    node.begin("2")
    with pytest.raises(ConflictError, match=r"claim\.checks"):
        node.begin("3")
    node.begin("4", by="b")
    with pytest.raises(ConflictError, match=r"claim\.checks"):
        node.begin("5", by="c")
    node.book.round()
    # What is done makes room, the oldest first.
    node.begin("6", by="c")
    with pytest.raises(NotFoundError):
        node.call(SHOW, by="a", id=first)


def test_attack_a_table_beyond_all_measure_is_refused(node, monkeypatch):
    monkeypatch.setattr(checks, "MAX_TABLE_BYTES", 10)
    with pytest.raises(InputError, match=r"claim\.csv"):
        node.begin("1")


def test_fault_what_cannot_be_asked_ends_the_batch_and_says_so(node):
    name = node.begin("1", "2", "3")
    node.book.round()
    node.broken = True
    assert [node.book.round() for _ in range(2)] == [1, 0]
    told = node.call(REPORT, by="a", id=name)
    assert [one["finding"] for one in told["found"]] == ["free", "free", "unreachable"]
    assert (told["batch"]["failed"], told["found"][2]["reason"]) == ("store.io", "store.io")


def test_fault_where_the_ledger_cannot_be_read_the_batch_ends_and_the_job_goes_on(node, monkeypatch):
    name = node.begin("1")

    def unreadable():
        raise VerificationError("store.corrupt")

    with monkeypatch.context() as damaged:
        damaged.setattr(node.book, "_final", unreadable)
        node.book.round()
    assert node.call(SHOW, by="a", id=name)["failed"] == "store.corrupt"
    other = node.begin("2")
    assert [node.book.round() for _ in range(2)] == [1, 0]
    assert node.call(SHOW, by="a", id=other)["failed"] == ""


def test_the_job_asks_until_it_is_told_to_stop(node):
    stop, name = Event(), node.begin("1")
    thread = Thread(target=node.book.run, args=(stop,))
    thread.start()
    eventually(lambda: node.call(SHOW, by="a", id=name)["is_waiting"] is False)
    stop.set()
    thread.join()
