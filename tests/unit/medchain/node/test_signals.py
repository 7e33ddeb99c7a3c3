"""A process is told to stop, whatever it is doing when the signal comes."""

from __future__ import annotations

import subprocess
import sys

import pytest

# The lock that the main thread holds for a moment whenever it begins or ends to wait, held here when the signal comes.
PROGRAM = """
import signal, sys
from threading import Event
from medchain.node.signals import set_at_signals
stop = Event()
set_at_signals(stop)
with stop._cond:
    signal.raise_signal(int(sys.argv[1]))
    signal.raise_signal(int(sys.argv[1]))
    print(stop.is_set())
print(stop.wait(60))
"""


@pytest.mark.parametrize("number", [2, 15])
def test_a_signal_between_two_steps_of_waiting_stops_a_process(number):
    command = [sys.executable, "-c", PROGRAM, str(number)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == ["False", "True"]
