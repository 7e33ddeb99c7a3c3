"""`claims check`: a table in, a report out, against a real server with an insurer's operation."""

from __future__ import annotations

import csv
import io
from contextlib import contextmanager
from http.server import ThreadingHTTPServer

import pytest

from medchain.claims.asking import CHECK, Finding
from medchain.claims.check_words import DIFFERENCES, EINVOICES, FINDINGS
from medchain.claims.claim_node import checked_json
from medchain.claims.einvoice import Said
from medchain.commands import claims as commands
from medchain.ledger.claim_question import read_row
from medchain.node.assembly import LocalOperations
from medchain.node.config import Address
from medchain.node.keystore import Layout
from medchain.node.local_state import write_state
from medchain.store.engine import FileKind, open_database
from medchain.store.records import RecordStore
from medchain.web.peer import local_routes
from medchain.web.routing import Router
from medchain.web.server import DaemonServer
from tests.unit.medchain.claims.questions import NOW, Case, issued, row

TABLE = """issuer,code,number,date,check_code,amount
99010001,99060225,1774778511,2025-09-06,rha0jt,8422.80
99010001,99060225,1774778512,2025-09-06,rha0jt,1
99010001,99060225,,2025-09-06,rha0jt,1
12345678,99060225,-1,2025-09-06,rha0jt,1
"""


@pytest.fixture
def case(tmp_path):
    records = RecordStore(open_database(tmp_path / "case.db", b"\x05" * 32, kind=FileKind.RECORDS))
    made = Case(records)
    made.register.rows = [issued()]
    yield made
    records.close()


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "invoices.csv"
    path.write_text(TABLE)
    return path


@contextmanager
def served(case, node, einvoice: dict | None = None):
    """Have an insurer's operation answered where its configuration says; perhaps with what a service says of each."""

    def check(document):
        asked.append(len(document["rows"]))
        checked = case.insurer.check([read_row(one) for one in document["rows"]])
        said = {} if einvoice is None else {"einvoice": einvoice}
        return {"checked": [checked_json(one) | said for one in checked], "final_size": 7, "time": NOW}

    asked: list[int] = []
    layout = Layout(node.parent)
    layout.create()
    router = Router("local", local_routes(LocalOperations({CHECK: check})), local_secret="s" * 64)
    server = DaemonServer(Address("127.0.0.1", 0), router)
    server.start()
    url = f"http://127.0.0.1:{server.address.port}"
    write_state(layout, pid=1, local_url=url, peer_url=url, secret="s" * 64)
    try:
        yield asked
    finally:
        server.stop(5)


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_each_row_of_a_table_has_its_answer(run, node, case, table):
    with served(case, node):
        ran = run("claims", "check", "--csv", table, "--config", node, "--lang", "en")
    assert ran.code == 0, ran.err
    rows = read(ran.out)
    assert [one["finding"] for one in rows] == ["free", "unknown", "malformed", "outside"]
    assert rows[0]["meaning"] == "genuine, not claimed"
    assert (rows[0]["hospital"], len(rows[0]["claim_id"])) == ("renhe-hospital", 32)
    assert (rows[2]["reason"], rows[3]["reason"], rows[3]["number"]) == ("invoice.number", "claim.outside", "'-1")
    assert "4 rows: genuine, not claimed 1" in ran.err
    assert "2026-12-01" in ran.err


def test_a_difference_is_said_in_words_in_both_languages(run, node, case, table):
    case.register.rows = [type(case.register.rows[0])(row().fields, ("RHA0JT",), None, is_issued=False, number=7)]
    with served(case, node):
        said = [
            read(run("claims", "check", "--csv", table, "--config", node, "--lang", lang).out)[0]
            for lang in ("en", "zh")
        ]
    assert said[0]["differs"] == "amount status"
    assert said[0]["meaning"] == "genuine, not claimed; other than on the invoice: amount, state"
    assert said[1]["说明"] == "真实，未理赔；与发票不符：金额、状态"


@pytest.mark.parametrize(
    ("lang", "is_stand_in", "cell", "note"),
    [
        ("en", False, "the e-invoice is genuine", ""),
        ("zh", False, "电子票据属实", ""),
        ("en", True, "stand-in, not the ministry: the e-invoice is genuine", "comes from a stand-in"),
        ("zh", True, "演示替身（非财政部门）：电子票据属实", "由演示替身答复"),
    ],
)
def test_what_a_service_says_of_e_invoices_is_a_column_and_a_stand_in_is_named(
    run, node, case, table, lang, is_stand_in, cell, note
):
    with served(case, node, {"answer": "genuine", "stand_in": is_stand_in}):
        ran = run("claims", "check", "--csv", table, "--config", node, "--lang", lang)
    rows = read(ran.out)
    # A row that cannot be read was asked for nowhere.
    assert [one["einvoice"] for one in rows] == [cell, cell, "", cell]
    assert (note in ran.err, "stand-in" in ran.err or "替身" in ran.err) == (True, is_stand_in)


def test_where_no_service_is_configured_nothing_is_said(run, node, case, table):
    with served(case, node):
        assert "einvoice" not in read(run("claims", "check", "--csv", table, "--config", node).out)[0]


def test_each_answer_of_a_service_has_its_words():
    assert {*EINVOICES} == {*Said}


def test_a_stand_in_answers_on_this_machine_alone_and_says_that_it_is_one(run, table, tmp_path, monkeypatch):
    def serve(server, *_given: object) -> None:
        served_at.append(server.server_address[0])
        raise KeyboardInterrupt

    served_at: list[str] = []
    monkeypatch.setattr(ThreadingHTTPServer, "serve_forever", serve)
    token = tmp_path / "token"
    token.write_text("t")
    words = ("claims", "stand-in", "--csv", table, "--token", token, "--lang", "en")
    ran = run(*words)
    assert (ran.code, "A stand-in answers at http://127.0.0.1:" in ran.out, served_at) == (0, True, ["127.0.0.1"])
    assert run(*words, "--json").document["stand_in"] is True
    for listen in ("0.0.0.0:8099", "check.example:80", "nonsense"):
        refused = run(*words, "--listen", listen)
        assert (refused.code, "this machine alone" in refused.err) == (2, True)


def test_a_report_is_written_to_a_new_file_whole(run, node, case, table, tmp_path):
    out = tmp_path / "report.csv"
    with served(case, node):
        words = ("claims", "check", "--csv", table, "--out", out, "--config", node)
        assert run(*words).code == 0
        assert read(out.read_text(encoding="utf-8-sig"))[0]["finding"] == "free"
        again = run(*words)
    assert (again.code, "file.exists" in again.err) == (6, True)


def test_as_json_the_answer_is_one_document_and_nothing_else(run, node, case, table):
    with served(case, node):
        ran = run("claims", "check", "--csv", table, "--config", node, "--json")
    assert (ran.err, ran.document["final_size"]) == ("", 7)
    assert [one["finding"] for one in ran.document["rows"]] == ["free", "unknown", "malformed", "outside"]


def test_much_is_asked_part_by_part(run, node, case, table, monkeypatch):
    monkeypatch.setattr(commands, "MAX_CHECKED", 2)
    with served(case, node) as asked:
        assert run("claims", "check", "--csv", table, "--config", node, "--json").code == 0
    assert asked == [2, 1]


def test_a_table_of_rows_that_cannot_be_read_asks_for_nothing(run, node, case, tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text("issuer,number,date,check_code\n1,,x,y\n")
    with served(case, node) as asked:
        ran = run("claims", "check", "--csv", path, "--config", node, "--json")
    assert (ran.code, asked) == (0, [])
    assert [one["finding"] for one in ran.document["rows"]] == ["malformed"]


@pytest.mark.parametrize(
    ("content", "code"), [(b"", "claim.csv_rows"), (b"a,b\n1,2\n", "claim.csv_column"), (b"\xff\xff", "claim.csv")]
)
def test_what_is_no_table_is_refused(run, node, tmp_path, content, code):
    path = tmp_path / "x.csv"
    path.write_bytes(content)
    ran = run("claims", "check", "--csv", path, "--config", node)
    assert (ran.code, code in ran.err) == (2, True)


def test_a_table_of_too_many_bytes_is_refused(run, node, table, monkeypatch):
    monkeypatch.setattr(commands, "MAX_BYTES", 10)
    assert run("claims", "check", "--csv", table, "--config", node).code == 2


def test_every_finding_and_difference_has_words():
    assert set(FINDINGS) == {*Finding, "malformed"}
    assert set(DIFFERENCES) == {"amount", "date", "number", "status"}
