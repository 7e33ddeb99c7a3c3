"""What the FHIR floor remembers of the daemon."""

from __future__ import annotations

import threading

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
