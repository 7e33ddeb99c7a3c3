"""A consortium in which Renhe issues invoices: whole nodes under a genesis that says so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.unit.medchain.ledger import world
from tests.unit.medchain.ledger.kinds.claiming import ISSUER
from tests.unit.medchain.node.federation import Federation
from tests.unit.medchain.node.lawful import forget

ISSUERS = {world.RENHE: ISSUER, world.TONGJI: "TJ01"}


@contextmanager
def invoicing_federation(folder: Path) -> Iterator[Federation]:
    """Run the nodes of a federation whose two hospitals issue invoices."""
    plain = world.organisation

    def issuing(org_id: str, role: str, **changes: object):
        issues = {"invoices": world.invoices(org_id, ISSUERS[org_id])} if org_id in ISSUERS else {}
        return plain(org_id, role, **(issues | changes))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(world, "organisation", issuing)
        forget()
        federation = Federation(folder)
        try:
            federation.start()
            yield federation
        finally:
            federation.stop()
            forget()
