"""What the tests of this folder share: the demo, started once with all of the sample data, and a node that is alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import sample_data
from medchain.commands.demo_consortium import Consortium
from tests.e2e.browser import Browser
from tests.e2e.outside import install_clients
from tests.e2e.running_demo import RunningDemo
from tests.e2e.running_node import RunningNode, running_node
from tests.mail_server import MailBox, mail_server


@pytest.fixture(scope="session")
def mail() -> Iterator[MailBox]:
    """A mail server that takes the letters of all nodes of the demo."""
    with mail_server(MailBox()) as running:
        yield running


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory, mail: MailBox) -> Iterator[RunningDemo]:
    place: Path = tmp_path_factory.mktemp("demo")
    settings = {"SERVER": f"127.0.0.1:{mail.port}", "SECURITY": "none", "SENDER": "notices@consortium.example"}
    environment = {f"MEDCHAIN_MAIL_{name}": value for name, value in settings.items()}
    running = RunningDemo(place / "consortium", sample_data.BUNDLES, environment)
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


@pytest.fixture(scope="session")
def phone(demo: RunningDemo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A phone-sized browser of a person who has opened the link that the terminal shows, once, and enrolled."""
    made = Browser(tmp_path_factory.mktemp("phone"), language="zh-CN")
    try:
        made.resize(390, 844)
        made.own = made.add_authenticator()
        made.open(demo.said["person"]["url"])
        made.click("[data-passkey=enrol] button")
        made.wait_until("您好")
        yield made
    finally:
        made.close()


@pytest.fixture(scope="session")
def home(demo: RunningDemo) -> str:
    """Where that person signs in."""
    return demo.said["person"]["sign_in"]


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures of pages go, for who wants to look at them."""
    return Path(os.environ.get("MEDCHAIN_PICTURES", tmp_path_factory.mktemp("pictures")))
