"""A batch of invoices checked at the hospital that issued them, over five nodes: rows a second, CPU of both sides.

    python benchmarks/claims_batch.py --invoices 2000 --runs 7

Five daemons as in `ledger.py`. A hospital holds the invoices as Invoice resources in its index, each of one of 200
patients; an insurer's desk asks as `medchain claims check --csv` does: parts of 500 over its own daemon's local
channel, whose answers say what this node's ledger has. Each invoice has `--lines` lines: of each the hospital looks
whether it is claimed by itself. The clock runs around each whole batch, from the first call to the last answer. Every
row must be found free.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.consortium import Consortium, commit, machine, now  # the path first
from fhir_bridge.invoice_register import ISSUER, SYSTEM
from fhir_bridge.search.index import SearchIndex
from medchain.claims.asking import CHECK, MAX_CHECKED
from medchain.encoding import Json
from medchain.node.peers import Limits
from medchain.node.records import NewRecord, RecordService
from medchain.store.engine import FileKind, open_database
from medchain.store.records import RecordStore

HOSPITAL = "renhe-hospital"
INSURER = "anxin-insurance"
CODE = "99010001"
BATCH = 500
PATIENTS = 200
SLOW = Limits(timeout_s=600.0, max_bytes=16 << 20)


def main() -> None:
    """Prepare, then ask."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--invoices", type=int, default=2000)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--lines", type=int, default=10)
    options = parser.parse_args()
    print(f"commit {commit()}  python {sys.version.split()[0]}  {machine()}  {vars(options)}")
    issuers = {HOSPITAL: CODE}
    with tempfile.TemporaryDirectory() as folder, Consortium(Path(folder), issuers=issuers) as consortium:
        _store(consortium, options.invoices, options.lines)
        consortium.start()
        rates = []
        before = consortium.cpu_s()
        for _ in range(options.runs + 1):
            begin = time.perf_counter()
            _check(consortium, options.invoices)
            rates.append(options.invoices / (time.perf_counter() - begin))
        after = consortium.cpu_s()
        asked = options.invoices * len(rates)
        spent = {org_id: (after[org_id] - before[org_id]) / asked * 1e3 for org_id in after}
        cold, warm = rates[0], sorted(rates[1:])
        print(
            f"batch of {options.invoices} invoices: p50 {statistics.median(warm):.0f} a second, "
            f"{warm[0]:.0f}-{warm[-1]:.0f}, of {len(warm)} (first {cold:.0f}); CPU ms a row: "
            f"{', '.join(f'{org_id} {cpu:.2f}' for org_id, cpu in spent.items())}; {machine()}"
        )


def _check(consortium: Consortium, count: int) -> None:
    """Ask for all rows, part by part."""
    local = consortium.nodes[INSURER].local
    for start in range(0, count, MAX_CHECKED):
        rows: list[Json] = [_row(number) for number in range(start, min(start + MAX_CHECKED, count))]
        answer = local.call(CHECK, {"rows": rows}, SLOW)
        checked = answer.get("checked") if isinstance(answer, dict) else None
        if not isinstance(checked, list) or any(
            not isinstance(one, dict) or (one["finding"], one["differs"]) != ("free", []) for one in checked
        ):
            sys.exit("not every invoice was found free")


def _store(consortium: Consortium, count: int, lines: int) -> None:
    """Store the invoices as a web worker would."""
    node = consortium.nodes[HOSPITAL]
    file = open_database(node.layout.records, node.web.records_database, kind=FileKind.RECORDS)
    with closing(RecordStore(file)) as kept:
        index = SearchIndex(kept)
        service = RecordService(kept, consortium.ledger, node.web.records, now, index=index)
        for start in range(0, count, BATCH):
            service.create_many(
                [
                    NewRecord(
                        "Invoice", f"i{number}", json.dumps(_invoice(number, lines)).encode(), f"p{number % PATIENTS}"
                    )
                    for number in range(start, min(start + BATCH, count))
                ]
            )


def _number(number: int) -> str:
    """Name an invoice."""
    return f"{1_774_778_511 + number}"


def _row(number: int) -> dict[str, Json]:
    """Write what the insurer holds of an invoice."""
    return {
        "amount": "8422.80",
        "check_code": f"C{number:05}",
        "code": "99060225",
        "currency": "CNY",
        "date": "2025-09-06",
        "issuer": CODE,
        "line": 0,
        "number": _number(number),
        "scope": "invoice",
    }


def _invoice(number: int, lines: int) -> Json:
    """Write an invoice as a hospital stores it, with its copy on paper."""
    forms = {
        "e-invoice-code": "99060225",
        "e-invoice-number": _number(number),
        "e-invoice-check": f"C{number:05}",
        "paper-invoice-code": "123456789012",
        "paper-invoice-number": f"{42 + number:08}",
        "paper-invoice-check": f"{77 + number}",
    }
    return {
        "resourceType": "Invoice",
        "id": f"i{number}",
        "status": "issued",
        "identifier": [{"system": f"{SYSTEM}{form}", "value": value} for form, value in forms.items()],
        "date": "2025-09-06T09:42:00+08:00",
        "subject": {"reference": f"Patient/p{number % PATIENTS}"},
        "issuer": {"identifier": {"system": ISSUER, "value": CODE}},
        "totalGross": {"value": 8422.8, "currency": "CNY"},
        "lineItem": [_line(line) for line in range(1, lines + 1)],
    }


def _line(line: int) -> Json:
    """Write one of its lines."""
    price = {"type": "base", "amount": {"value": 842.28, "currency": "CNY"}}
    return {"sequence": line, "chargeItemCodeableConcept": {"text": "西药费"}, "priceComponent": [price]}


if __name__ == "__main__":
    main()
