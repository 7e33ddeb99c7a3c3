"""A node's side of claims, over whole nodes: an insurer's check, and a regulator that is told who fishes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from medchain.claims.asking import CHECK, MAX_CHECKED
from medchain.claims.einvoice import EInvoiceAnswer, Said
from medchain.claims.fishing import FISHING, MAX_WRONG
from medchain.errors import InputError
from medchain.ledger.claim_question import AskedRow
from tests.unit.medchain.claims.hospitals import running_hospitals
from tests.unit.medchain.claims.questions import TONGJI_CODE, issued, row
from tests.unit.medchain.ledger.world import TAIPING, vrf_key
from tests.unit.medchain.node.federation import ANXIN, COMMISSION, RENHE, TONGJI


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory):
    with running_hospitals(tmp_path_factory.mktemp("claims")) as made:
        made.registers[RENHE].rows = [issued()]
        yield made


def check(hospitals, *rows: AskedRow, by: str = ANXIN) -> dict:
    return hospitals.local(by).call(CHECK, {"rows": [one.to_json() for one in rows]})


def test_an_insurer_checks_invoices_of_several_hospitals_as_its_ledger_is_final(hospitals):
    told = check(hospitals, row(), row("404"), row(issuer=TONGJI_CODE), row(issuer="12345678"))
    assert [one["finding"] for one in told["checked"]] == ["free", "unknown", "unknown", "outside"]
    [first, *_] = told["checked"]
    assert (first["hospital"], first["invoice"]) == (RENHE, issued().invoice.to_content())
    assert (first["key"], first["version"]) == (None, None)
    final = hospitals.federation.sites[ANXIN].ledger.final()
    assert told["final_size"] == final.size
    assert told["time"] == hospitals.federation.sites[ANXIN].ledger.block_of_size(final.size).time


def test_the_id_is_under_the_key_that_the_members_agreed_upon(hospitals):
    [one] = hospitals.nodes[ANXIN].asker.ask(RENHE, [row()])
    assert (one.key, one.proof) == (vrf_key(RENHE).public, vrf_key(RENHE).prove(issued().invoice.alpha))


def test_a_question_leaves_a_trace_at_the_hospital(hospitals):
    check(hospitals, row(), by=TAIPING)
    (peer, _, numbers, is_known) = hospitals.audits[RENHE].rows[-1]
    assert (peer, numbers, is_known) == (TAIPING, [7], True)


def test_who_fishes_is_an_alarm_at_the_hospital_and_at_the_regulator(hospitals):
    told = check(hospitals, *[row(str(number), issuer=TONGJI_CODE) for number in range(MAX_WRONG + 5)])
    assert [one["finding"] for one in told["checked"]].count("stopped") >= 5
    hospitals.nodes[TONGJI].watch.round()
    for org_id in (TONGJI, COMMISSION):
        [alarm] = hospitals.federation.sites[org_id].records.alarms(code=FISHING)
        fields = json.loads(alarm.fields)
        assert (fields["hospital"], fields["insurer"], fields["count"]) == (TONGJI, ANXIN, MAX_WRONG)
    assert hospitals.federation.sites[RENHE].records.alarms(code=FISHING) == []


class Service:
    """Says that all that it is asked for is unknown."""

    def __init__(self) -> None:
        """Begin with nothing asked."""
        self.asked: list[str] = []

    def check(self, rows):
        self.asked += [one.number for one in rows]
        return [EInvoiceAnswer(Said.UNKNOWN) for _ in rows]


def test_a_copy_on_paper_is_not_asked_for_at_a_service_for_electronic_invoices(hospitals, monkeypatch):
    node, service = hospitals.nodes[ANXIN], Service()
    monkeypatch.setattr(node, "_around", replace(node._around, einvoices=service))  # noqa: SLF001  # as configured
    copy = issued("1774778599")
    monkeypatch.setattr(
        hospitals.registers[RENHE],
        "find",
        lambda asked: copy if asked.number == "00042" else issued() if asked.number == "1774778511" else None,
    )
    told = check(hospitals, row("00042"), row(), row(issuer="12345678"))["checked"]
    assert [one["einvoice"]["answer"] for one in told] == ["not_asked", "unknown", "unknown"]
    assert (told[0]["differs"], service.asked) == (["number"], ["1774778511", "1774778511"])


def test_while_a_restore_is_under_way_nothing_is_answered(hospitals):
    hospitals.restoring.is_under_way = True
    try:
        [checked] = check(hospitals, row())["checked"]
    finally:
        hospitals.restoring.is_under_way = False
    assert (checked["finding"], checked["reason"]) == ("unreachable", "restore.under_way")


@pytest.mark.parametrize("rows", [[], [row().to_json()] * (MAX_CHECKED + 1), [row().to_json() | {"number": "-"}]])
def test_what_cannot_be_asked_for_is_refused(hospitals, rows):
    with pytest.raises(InputError):
        hospitals.local(ANXIN).call(CHECK, {"rows": rows})


def test_a_node_tells_as_long_as_it_runs(hospitals):
    assert [job.name for job in hospitals.nodes[RENHE].jobs()] == [
        "fishing",
        "disputes",
        "checks",
        "permissions",
        "lines",
    ]
