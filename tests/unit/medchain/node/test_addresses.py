"""Members whose addresses lead into the caller's own network."""

from __future__ import annotations

import ipaddress
import socket
from contextlib import closing

import pytest

from medchain.crypto.es384 import Es384Signer
from medchain.errors import UnavailableError
from medchain.node import addresses
from medchain.node.addresses import connect, is_public, is_unicast
from medchain.node.peer_auth import PeerSigner
from medchain.node.peers import Limits, PeerClient

# RFC 6890 and the IANA special-purpose registries.
PRIVATE = ["10.0.0.1", "172.16.0.1", "192.168.1.1", "127.0.0.1", "100.64.0.1", "::1", "fc00::1"]
NEVER = ["169.254.169.254", "224.0.0.1", "255.255.255.255", "0.0.0.1", "240.0.0.1", "fe80::1", "ff02::1", "::"]
# As their makers document them: Alibaba Cloud, Azure, Oracle, AWS, Google.
METADATA = ["100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254", "::ffff:168.63.129.16"]
WRAPPED = ["::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "2002:7f00:1::", "64:ff9b::a9fe:a9fe"]


def opened(text: str) -> object:
    return ipaddress.ip_address(text)


@pytest.mark.parametrize("text", [*PRIVATE, *NEVER, *METADATA, *WRAPPED])
def test_what_is_not_public_is_not_called_by_default(text):
    assert not is_public(opened(text))


@pytest.mark.parametrize("text", ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses_are_called(text):
    assert is_public(opened(text))
    assert is_unicast(opened(text))


@pytest.mark.parametrize("text", PRIVATE)
def test_private_addresses_are_called_where_that_is_allowed(text):
    assert is_unicast(opened(text))


@pytest.mark.parametrize(
    "text", [*NEVER, *METADATA, "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::"]
)
def test_a_clouds_metadata_service_and_groups_are_never_called(text):
    assert not is_unicast(opened(text))


def resolving(monkeypatch, *hosts: str) -> list[str]:
    """Let each look-up of a name give the next of some lists of addresses."""
    answers = iter(hosts)
    asked = []

    def look_up(host, port, **_options: object):
        asked.append(host)
        found = next(answers).split()
        return [
            (socket.AF_INET6 if ":" in text else socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, port))
            for text in found
        ]

    monkeypatch.setattr(addresses.socket, "getaddrinfo", look_up)
    return asked


def test_a_name_that_stands_for_one_forbidden_address_among_others_is_not_called(monkeypatch):
    resolving(monkeypatch, "8.8.8.8 127.0.0.1")
    with pytest.raises(UnavailableError) as caught:
        connect("node.example", 443, 60, is_public)
    assert caught.value.code == "peer.address"


def test_a_name_that_changes_after_it_was_judged_leads_nowhere_else(monkeypatch):
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
        asked = resolving(monkeypatch, "127.0.0.1", "10.0.0.1")
        with closing(connect("rebinding.example", port, 60, is_unicast)) as made:
            assert made.getpeername() == ("127.0.0.1", port)
    assert asked == ["rebinding.example"]


def test_the_next_address_is_tried_where_the_first_does_not_answer(monkeypatch):
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
        resolving(monkeypatch, "127.0.0.9 127.0.0.1")
        with closing(connect("two.example", port, 60, is_unicast)) as made:
            assert made.getpeername()[0] == "127.0.0.1"


def test_a_host_that_nobody_answers_for_is_an_error_of_the_network(monkeypatch):
    resolving(monkeypatch, "127.0.0.1")
    # Nobody else may take the port meanwhile.
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match=r"refused"):
            connect("gone.example", taken.getsockname()[1], 60, is_unicast)


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1:1", "https://localhost:1", "https://[::1]:1", "https://2130706433:1"]
)
def test_a_member_cannot_have_others_call_themselves(url):
    signer = PeerSigner("insurer", bytes(32), Es384Signer(b"\x01" * 32), lambda: 1_796_083_200)
    with closing(PeerClient(signer, lambda _org_id: url)) as client, pytest.raises(UnavailableError) as caught:
        client.get("hospital", "/x", Limits(timeout_s=60))
    assert (caught.value.code, caught.value.fields["peer"]) == ("peer.address", "hospital")
