"""The demo that the tests of this folder share: started once, with all of the sample data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import sample_data
from medchain.commands.demo_consortium import Consortium
from tests.e2e.running_demo import RunningDemo


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDemo]:
    place: Path = tmp_path_factory.mktemp("demo")
    running = RunningDemo(place / "consortium", sample_data.BUNDLES)
    running.start()
    yield running
    if running.process.poll() is None:
        running.stop()


@pytest.fixture
def consortium(demo: RunningDemo) -> Iterator[Consortium]:
    """The nodes' own local interfaces."""
    with demo.consortium() as nodes:
        yield nodes
