"""The demo's stand-in for a service that checks electronic invoices: it knows those of the sample data's hospitals.

It runs in the demo's own process, on this machine alone, and the insurers' nodes ask it as they would the ministry's.
Keeps true: each answer says that it is a stand-in's; what it knows comes from the files as they were made, not from the
hospitals' nodes, and stands on no disk. Trusts the sample data.
Source: `docs/spec/einvoice.md` 6.
"""

from __future__ import annotations

import csv
import io
import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from fhir_bridge.invoice_register import ELECTRONIC, ISSUER, SYSTEM
from medchain.claims.batch import Table, read_table
from medchain.claims.einvoice import Said
from medchain.claims.einvoice_stand_in import STATE, StandIn, stand_in_server
from medchain.commands.demo_consortium import HOSPITALS, INSURERS, Consortium
from medchain.commands.demo_load import Source, as_posted
from medchain.errors import ConflictError

_HOST: Final = "127.0.0.1"
_HEADER: Final = ("issuer", "code", "number", "date", "check_code", "amount", "currency", STATE)
# FHIR R4 InvoiceStatus.
_TAKEN_BACK: Final = "cancelled"
_NEVER_ISSUED: Final = frozenset({"draft", "entered-in-error"})


@contextmanager
def standing_in(consortium: Consortium, files: Iterable[Source], now: int) -> Iterator[str]:
    """Answer for the ministry's service while the block runs, and have the insurers' nodes that start in it ask here.

    Args:
        consortium: nothing of which runs yet.
        files: of the hospitals.
        now: as of `as_posted`.

    Yields:
        Where it answers.

    Raises:
        ConflictError: ``demo.port``.
    """
    port = consortium.einvoice_port
    try:
        server = stand_in_server(_HOST, port, StandIn(issued(files, now)))
    except OSError as error:
        raise ConflictError("demo.port", port=port, org_id=INSURERS[0]) from error
    thread = threading.Thread(target=server.serve_forever, name="einvoices", daemon=True)
    thread.start()
    consortium.einvoice_url = f"http://{_HOST}:{port}/"
    try:
        yield consortium.einvoice_url
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def issued(files: Iterable[Source], now: int) -> Table:
    """List the electronic invoices that hospitals issued.

    Args:
        files: in any order; those of others than hospitals are left out.
        now: as of `as_posted`.

    Returns:
        A table as of `medchain.claims.einvoice_stand_in.StandIn`.
    """
    made = io.StringIO(newline="")
    writer = csv.writer(made)
    writer.writerow(_HEADER)
    for file in files:
        if file.custodian in HOSPITALS:
            # An amount keeps its digits.
            bundle = json.loads(as_posted(file.path, now), parse_float=str)
            resources = (entry["resource"] for entry in bundle["entry"])
            writer.writerows(_row(one) for one in resources if _is_issued(one))
    return read_table(made.getvalue().encode())


def _is_issued(resource: dict[str, Any]) -> bool:
    """Tell whether a resource is an invoice that was issued electronically, if perhaps taken back since."""
    return (
        resource["resourceType"] == "Invoice"
        and resource["status"] not in _NEVER_ISSUED
        and f"{SYSTEM}{ELECTRONIC}-number" in _identifiers(resource)
    )


def _row(invoice: dict[str, Any]) -> list[str]:
    """Write a row."""
    told, issuer = _identifiers(invoice), invoice["issuer"]["identifier"]
    code, number, check = (told[f"{SYSTEM}{ELECTRONIC}-{part}"] for part in ("code", "number", "check"))
    total, state = invoice["totalGross"], Said.REVERSED.value if invoice["status"] == _TAKEN_BACK else ""
    by = issuer["value"] if issuer["system"] == ISSUER else ""
    return [by, code, number, invoice["date"], check, str(total["value"]), total["currency"], state]


def _identifiers(invoice: dict[str, Any]) -> dict[str, str]:
    """Read what an invoice is named by: system → value."""
    return {one["system"]: one["value"] for one in invoice.get("identifier", ())}
