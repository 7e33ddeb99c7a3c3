"""Calls between nodes over TLS: the certificate is checked, both ways of failing included."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from medchain.crypto.es384 import Es384Signer
from medchain.errors import UnavailableError
from medchain.node.addresses import is_unicast
from medchain.node.config import Address, Tls
from medchain.node.peer_auth import PeerSigner
from medchain.node.peers import Limits, PeerClient
from medchain.web import server as server_module
from medchain.web.routing import Caller, Request, Response, Route, Router, callers
from medchain.web.server import DaemonServer

DAY = dt.timedelta(days=1)


def certify(folder: Path, name: str, host: str) -> Tls:
    """Write a self-signed certificate for a host."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + 3650 * DAY)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    tls = Tls(folder / f"{name}.pem", folder / f"{name}.key")
    tls.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    tls.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return tls


@callers(Caller.PUBLIC)
def hello(_request: Request) -> Response:
    return Response(b"hello")


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(server_module, "STOP_POLL_S", 0.01)
    tls = certify(tmp_path, "peer", "127.0.0.1")
    running = DaemonServer(Address("127.0.0.1", 0), Router("peer", [Route("hello", "GET", "/hello", hello)]), tls)
    running.start()
    yield running
    running.stop(1)


def client(server: DaemonServer, ca: Path) -> PeerClient:
    signer = PeerSigner("insurer", bytes(32), Es384Signer(b"\x01" * 32), lambda: 1_796_083_200)
    return PeerClient(signer, lambda _org_id: f"https://127.0.0.1:{server.address.port}", ca, may_call=is_unicast)


def test_a_peer_with_a_certificate_that_we_trust_is_called(server, tmp_path):
    peers = client(server, tmp_path / "peer.pem")
    for _ in range(2):
        assert peers.get("hospital", "/hello").body == b"hello"
    peers.close()


def test_a_peer_with_another_certificate_is_not(server, tmp_path):
    other = certify(tmp_path, "other", "127.0.0.1")
    with pytest.raises(UnavailableError) as caught:
        client(server, other.certificate).get("hospital", "/hello", Limits(timeout_s=60))
    assert caught.value.code == "peer.unreachable"


def test_a_certificate_for_another_host_is_not_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(server_module, "STOP_POLL_S", 0.01)
    tls = certify(tmp_path, "far", "203.0.113.5")
    running = DaemonServer(Address("127.0.0.1", 0), Router("peer", [Route("hello", "GET", "/hello", hello)]), tls)
    running.start()
    with pytest.raises(UnavailableError):
        client(running, tls.certificate).get("hospital", "/hello")
    running.stop(1)


def test_a_certificate_that_cannot_be_read_is_an_error(tmp_path):
    (tmp_path / "bad.pem").write_text("x")
    with pytest.raises((OSError, ssl.SSLError)):
        DaemonServer(Address("127.0.0.1", 0), Router("peer", []), Tls(tmp_path / "bad.pem", tmp_path / "bad.pem"))
