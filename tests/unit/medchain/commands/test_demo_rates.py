"""How the demo sums up what it measured."""

from __future__ import annotations

import pytest

from medchain.commands.demo_rates import rate_of


def test_a_hundred_answers_of_one_to_a_hundred_milliseconds():
    # Nearest rank over the sorted sample (NIST/SEMATECH e-Handbook §7.2.6.2): the 50th and the 99th of 100.
    rate = rate_of([number / 1000 for number in range(100, 0, -1)])
    assert (rate.count, rate.p50_s, rate.p99_s) == (100, 0.05, 0.099)
    assert rate.seconds == pytest.approx(5.05)
    assert rate.document() == {"count": 100, "p50_ms": "50.00", "p99_ms": "99.00", "per_s": 20}


def test_one_answer_is_its_own_middle_and_end():
    rate = rate_of([0.25])
    assert (rate.p50_s, rate.p99_s, rate.per_s) == (0.25, 0.25, 4.0)
