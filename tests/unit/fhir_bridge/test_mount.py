"""What the FHIR floor remembers of the daemon."""

from __future__ import annotations

import threading
import time

from fhir_bridge import mount
from fhir_bridge.mount import Remembered


def test_an_answer_does_not_wait_for_a_number_that_was_known_a_moment_ago(monkeypatch):
    """The daemon may be busy, or gone: then nothing newer is known, and reads go on."""
    monkeypatch.setattr(mount, "_REMEMBER_S", 0.0)
    let, asked, numbers = threading.Event(), threading.Event(), iter([1, 2])

    def ask() -> int:
        number = next(numbers, 3)
        if number > 1:
            asked.set()
            assert let.wait(60)
        return number

    size = Remembered(ask)
    assert size() == 1
    assert size() == 1
    assert asked.wait(60)
    assert size() == 1
    let.set()
    while size() < 2:
        """It is learnt beside."""


def test_a_number_of_long_ago_is_asked_for(monkeypatch):
    numbers = iter([1, 2])
    size = Remembered(lambda: next(numbers))
    assert (size(), size()) == (1, 1)
    monkeypatch.setattr(mount, "_FORGET_S", 0.0)
    monkeypatch.setattr(mount, "_REMEMBER_S", 0.0)
    assert size() == 2


def test_a_daemon_that_hangs_holds_nobody_for_longer_than_a_moment(monkeypatch):
    """The event loop of a web worker is one of those who ask."""
    monkeypatch.setattr(mount, "_FORGET_S", 0.0)
    let = threading.Event()
    size = Remembered(lambda: 1 if let.wait(60) else 0)
    began = time.monotonic()
    assert [size() for _ in range(99)] == [0] * 99
    assert time.monotonic() - began < 1
    let.set()
    while size() < 1:
        """It is learnt beside."""
