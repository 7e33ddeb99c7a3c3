"""The demo's stand-in for a service that checks electronic invoices: what it knows, who asks it, and its label."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from medchain.claims.batch import read_table
from medchain.claims.einvoice import EInvoiceAnswer, HttpEInvoices, Said
from medchain.commands import demo_consortium
from medchain.commands.demo_consortium import FOUNDERS, INSURERS, Consortium, Node
from medchain.commands.demo_einvoices import issued, standing_in
from medchain.commands.demo_load import Source, sample_sources
from medchain.commands.demo_ports import take_ports
from medchain.errors import ConflictError
from medchain.node.config import EInvoiceService
from tests.unit.medchain.claims.questions import row

NOW = 1_796_083_200
FHIR_ID = "https://medchain.example/fhir/id/"
NAMED = [
    {"system": f"{FHIR_ID}e-invoice-{part}", "value": value}
    for part, value in (("code", "99060225"), ("number", "1774778511"), ("check", "rha0jt"))
]
INVOICE = {
    "resourceType": "Invoice",
    "status": "issued",
    "identifier": NAMED,
    "issuer": {"identifier": {"system": f"{FHIR_ID}invoicing-party", "value": "99010001"}},
    "date": "2025-09-06T09:42:00+08:00",
    "totalGross": {"value": 8422.80, "currency": "CNY"},
}


@pytest.fixture
def consortium(tmp_path) -> Iterator[Consortium]:
    """Five organisations with ports of their own, of which nothing runs."""
    taken = take_ports(1, str(tmp_path))
    nodes = {one.org_id: Node(one, tmp_path / one.org_id, taken.row[0], 0, 0, None) for one in FOUNDERS}
    for node in nodes.values():
        node.folder.mkdir()
    yield Consortium(tmp_path, None, nodes, ports=taken)
    taken.close()


def of_hospital(folder: Path, *resources: dict) -> list[Source]:
    """A hospital's file with some resources."""
    path = folder / "renhe-hospital.p1.json"
    path.write_text(json.dumps({"resourceType": "Bundle", "entry": [{"resource": one} for one in resources]}))
    return [Source(path, "renhe-hospital", 1)]


def test_an_invoice_of_the_sample_data_is_genuine_and_the_answer_says_that_a_stand_in_gave_it(consortium):
    files = [one for one in sample_sources() if one.path.name == "renhe-hospital.p001.json.gz"]
    with standing_in(consortium, files, NOW) as url:
        checker = HttpEInvoices(EInvoiceService(url, None, None), may_stand_in=True)
        # The invoice of the first planted story (`sample_data/README.md`).
        rows = [row(), row(amount="8422.81"), row("1")]
        answers = checker.check(rows)
        checker.close()
    assert answers == [EInvoiceAnswer(said, is_stand_in=True) for said in (Said.GENUINE, Said.OTHERWISE, Said.UNKNOWN)]


def test_whoever_issued_no_electronic_invoice_is_not_in_the_table_and_what_is_taken_back_says_so(tmp_path):
    paper = INVOICE | {"identifier": [{"system": f"{FHIR_ID}paper-invoice-number", "value": "77"}]}
    found = issued(
        of_hospital(
            tmp_path,
            {"resourceType": "Patient"},
            paper,
            INVOICE | {"status": "draft"},
            INVOICE | {"status": "entered-in-error"},
            INVOICE | {"status": "cancelled"},
        ),
        NOW,
    )
    header = b"issuer,code,number,date,check_code,amount,currency,state"
    expected = b"99010001,99060225,1774778511,2025-09-06T09:42:00+08:00,rha0jt,8422.8,CNY,reversed"
    assert found == read_table(header + b"\n" + expected)


def test_what_insurers_hold_is_no_invoice_of_the_ministrys(tmp_path):
    [file] = of_hospital(tmp_path, INVOICE)
    other = of_hospital(tmp_path, INVOICE | {"status": "cancelled"})
    assert len(issued([*other, Source(file.path, "anxin-insurance", 3)], NOW).rows) == 1


def test_insurers_nodes_ask_the_stand_in_while_it_runs_and_hospitals_nobody(consortium, monkeypatch, tmp_path):
    started = {}

    def popen(words: list[str], **_options: object) -> None:
        started[Path(words[words.index("--config") + 1]).parent.name] = words

    monkeypatch.setattr(demo_consortium.subprocess, "Popen", popen)
    with standing_in(consortium, of_hospital(tmp_path, INVOICE), NOW) as url:
        for org_id in consortium.nodes:
            consortium.start_node(org_id)
    asking = {org_id for org_id, words in started.items() if f"einvoice.url={url}" in words}
    assert asking == {*INSURERS}
    assert {org_id for org_id, words in started.items() if any("einvoice" in word for word in words)} == asking


def test_fault_a_port_that_another_program_has_taken_is_told(consortium, tmp_path):
    port = consortium.einvoice_port
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(ConflictError, match=rf"demo\.port port={port}"),
        standing_in(consortium, of_hospital(tmp_path, INVOICE), NOW),
    ):
        pass
    assert consortium.einvoice_url == ""


def test_what_the_stand_in_knows_stands_in_no_file(consortium, tmp_path):
    files = [one for one in sample_sources() if one.path.name == "renhe-hospital.p001.json.gz"]
    with standing_in(consortium, files, NOW):
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
