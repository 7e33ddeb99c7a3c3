"""`claims reserve`, `settle`, `release`, `reverse` and `refund`: what is asked of the daemon, and what is said."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from medchain.claims.deeds import REFUND, REVERSE
from medchain.claims.wishes import RELEASE, RESERVE, SETTLE
from medchain.encoding import digest
from medchain.errors import VerificationError
from medchain.node.assembly import LocalOperations
from medchain.node.config import Address
from medchain.node.keystore import Layout
from medchain.node.local_state import write_state
from medchain.web.peer import local_routes
from medchain.web.routing import Router
from medchain.web.server import DaemonServer
from tests.unit.medchain.claims.questions import row

TABLE = "issuer,code,number,date,check_code,amount\n99010001,99060225,{},2025-09-06,rha0jt,8422.80\n"
FULFILLED = {
    "amount": "8422.80",
    "claim_id": "01" * 16,
    "currency": "CNY",
    "differs": [],
    "hospital": "renhe-hospital",
    "key": "02" * 32,
    "position": 41,
    "state": "reserved",
    "status": "reserved",
    "until": 20_800,
    "version": 1,
}


@pytest.fixture
def files(tmp_path):
    """Words that name an invoice and a claim."""
    table, claim = tmp_path / "invoices.csv", tmp_path / "claim.json"
    table.write_text(TABLE.format("1774778511") + TABLE.format("").partition("\n")[2])
    claim.write_bytes(b"{}")
    return ("--csv", table), ("--claim", claim)


@contextmanager
def served(node):
    """Have a daemon's operations answered where the configuration says; gives what was asked."""
    asked: list[tuple[str, dict]] = []

    def answering(operation, answer):
        def take(document):
            asked.append((operation, document))
            if document.get("amount") == "9999.00":
                raise VerificationError("claim.amount", amount=999_900)
            return answer

        return take

    done = {"key": "02" * 32, "version": 2}
    operations = {name: answering(name, FULFILLED) for name in (RESERVE, SETTLE, RELEASE)}
    operations |= {name: answering(name, done) for name in (REVERSE, REFUND)}
    layout = Layout(node.parent)
    layout.create()
    router = Router("local", local_routes(LocalOperations(operations)), local_secret="s" * 64)
    server = DaemonServer(Address("127.0.0.1", 0), router)
    server.start()
    url = f"http://127.0.0.1:{server.address.port}"
    write_state(layout, pid=1, local_url=url, peer_url=url, secret="s" * 64)
    try:
        yield asked
    finally:
        server.stop(5)


@pytest.mark.parametrize(
    ("word", "operation", "more", "asked"),
    [
        ("reserve", RESERVE, (), {"amount": "", "days": 7}),
        ("reserve", RESERVE, ("--amount", "5.00", "--days", 30), {"amount": "5.00", "days": 30}),
        ("settle", SETTLE, ("--amount", "5.00"), {"amount": "5.00"}),
        ("release", RELEASE, (), {}),
    ],
)
def test_an_insurer_says_which_invoice_for_which_claim_and_how_much(run, node, files, word, operation, more, asked):
    (table, claim) = files
    with served(node) as calls:
        ran = run("claims", word, *table, *claim, *more, "--config", node, "--lang", "en")
    assert (ran.code, ran.err) == (0, "")
    expected = {"claim": digest("medchain/insurer-claim/v1", b"{}").hex(), "row": row().to_json()} | asked
    assert calls == [(operation, expected)]


@pytest.mark.parametrize(
    ("word", "state", "english", "chinese"),
    [
        ("reserve", "reserved", "reserved 8,422.80 CNY", "已预留 8,422.80 元"),
        ("settle", "settled", "settled 8,422.80 CNY", "已赔付 8,422.80 元"),
        # Nothing is left of a part that is given up, and no sum is told.
        ("release", "released", "released", "已放弃"),
    ],
)
def test_what_the_ledger_has_is_told_with_the_amount_as_people_read_it(
    run, node, files, monkeypatch, word, state, english, chinese
):
    (table, claim) = files
    monkeypatch.setitem(FULFILLED, "state", state)
    with served(node):
        ran = run("claims", word, *table, *claim, "--config", node, "--lang", "en")
        assert ran.out == f"Done, entry 41: {english}; the invoice is reserved, version 1.\n"
        ran = run("claims", word, *table, *claim, "--config", node, "--lang", "zh")
        assert f"：{chinese}；" in ran.out


def test_what_the_copy_says_otherwise_is_told_with_the_deed(run, node, files, monkeypatch):
    (table, claim) = files
    monkeypatch.setitem(FULFILLED, "differs", ["date", "number"])
    for language, said in (("zh", "请核对：所持票据与医院的发票不符：日期、票据代码或号码"), ("en", "says otherwise")):
        with served(node):
            ran = run("claims", "reserve", *table, *claim, "--config", node, "--lang", language)
        assert (ran.code, said in ran.out) == (0, True), ran.out


def test_a_hospital_takes_an_invoice_back_after_a_plain_yes_alone(run, node, files):
    (table, _) = files
    with served(node) as calls:
        assert run("claims", "reverse", *table, "--config", node).code != 0
        assert calls == []
        ran = run("claims", "reverse", *table, "--yes", "--config", node, "--lang", "zh")
    assert calls == [(REVERSE, {"row": row().to_json()})]
    assert ran.out.startswith("已完成：第 2 版")


def test_a_hospital_refunds_a_part(run, node, files):
    (table, _) = files
    with served(node) as calls:
        assert run("claims", "refund", *table, "--amount", "80.00", "--config", node).code == 0
    assert calls == [(REFUND, {"amount": "80.00", "row": row().to_json()})]


@pytest.mark.parametrize("number", [0, 2, 3])
def test_a_row_that_is_not_there_or_cannot_be_read_is_refused(run, node, files, number):
    (table, claim) = files
    ran = run("claims", "settle", *table, *claim, "--row", number, "--config", node)
    assert (ran.code, "claim.row" in ran.err) == (2, True)


def test_a_rule_that_is_broken_is_said_in_words(run, node, files):
    (table, claim) = files
    words = ("claims", "settle", *table, *claim, "--amount", "9999.00", "--config", node, "--lang", "en")
    with served(node):
        ran = run(*words)
    assert (ran.code, "more than is open" in ran.err) == (1, True)
