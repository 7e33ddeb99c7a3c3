"""However large a Binary is, a node needs little memory for it; `MEDCHAIN_BINARY_MIB=1024` for a gibibyte."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.running_node import RunningNode, running_node

pytestmark = pytest.mark.e2e

MIB = 1 << 20
# More than twice what is allowed: what held it whole, or half of it, would show.
SIZE = int(os.environ.get("MEDCHAIN_BINARY_MIB", "256")) * MIB
MOST = 100 * MIB
# What no compression makes smaller.
BLOCK = hashlib.shake_128(b"scan").digest(MIB)


@pytest.fixture(scope="module")
def node(tmp_path_factory) -> Iterator[RunningNode]:
    with running_node(tmp_path_factory.mktemp("large"), "web.workers=2") as running:
        yield running


def memory(node: RunningNode, name: str) -> dict[int, int]:
    """Read what of each process is, or was at most (`VmHWM`), in memory, in bytes."""
    status = {pid: Path(f"/proc/{pid}/status").read_text() for pid in node.pids()}
    found = {pid: re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE) for pid, text in status.items()}
    return {pid: int(one[1]) * 1024 for pid, one in found.items() if one is not None}


def grown(node: RunningNode, before: dict[int, int]) -> int:
    """Add up by how much each process was at most larger than before."""
    return sum(max(0, most - before.get(pid, 0)) for pid, most in memory(node, "VmHWM").items())


def blocks() -> Iterator[bytes]:
    """Write the content, each block another one."""
    for number in range(SIZE // MIB):
        yield number.to_bytes(8) + BLOCK[8:]


def test_a_binary_goes_in_and_comes_out_to_the_byte_in_little_memory(node):
    # A first one loads what writing and reading needs.
    assert node.call("POST", "Binary", BLOCK, Content_Type="application/pdf").status == 201
    before = memory(node, "VmRSS")
    known = {"Authorization": f"Bearer {node.lasting_token()}"}
    sent = hashlib.sha256()
    for block in blocks():
        sent.update(block)
    with closing(http.client.HTTPConnection(node.host, timeout=600)) as connection:
        length = {"Content-Type": "application/pdf", "Content-Length": str(SIZE)}
        connection.request("POST", "/fhir/Binary", blocks(), known | length)
        answer = connection.getresponse()
        place = answer.getheader("Location")
        assert answer.status == 201, answer.read()
        answer.read()
    for accept in ("application/pdf", "application/fhir+json"):
        got, size = hashlib.sha256(), 0
        with closing(http.client.HTTPConnection(node.host, timeout=600)) as connection:
            connection.request("GET", place.partition(node.host)[2], headers=known | {"Accept": accept})
            answer = connection.getresponse()
            assert answer.status == 200
            while piece := answer.read(MIB):
                size += len(piece)
                got.update(piece)
        if accept == "application/pdf":
            assert (size, got.digest()) == (SIZE, sent.digest())
        else:
            assert size > SIZE * 4 // 3
    assert grown(node, before) < MOST
