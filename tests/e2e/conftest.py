"""The demo that the tests of this folder share: started once, with a part of the sample data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from medchain.commands.demo_consortium import Consortium
from tests.e2e.running_demo import RunningDemo, copy_data

PATIENTS = {"p001", "p002", "p006"}


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDemo]:
    place: Path = tmp_path_factory.mktemp("demo")
    copy_data(place / "data", PATIENTS)
    running = RunningDemo(place / "consortium", place / "data")
    running.start()
    yield running
    if running.process.poll() is None:
        running.stop()


@pytest.fixture
def consortium(demo: RunningDemo) -> Iterator[Consortium]:
    """The nodes' own local interfaces."""
    with demo.consortium() as nodes:
        yield nodes
