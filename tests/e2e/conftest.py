"""What the tests of this folder share: the demo, started once with all of the sample data, and a node that is alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import sample_data
from medchain.commands.demo_consortium import Consortium
from tests.e2e.outside import install_clients
from tests.e2e.running_demo import RunningDemo
from tests.e2e.running_node import RunningNode, running_node


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


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    """A node with two web workers; who uses it makes what it needs under names of its own."""
    with running_node(tmp_path_factory.mktemp("node"), "web.workers=2") as running:
        yield running


@pytest.fixture(scope="session")
def clients() -> None:
    """Install clients of others, or find that they are."""
    install_clients()
