"""A member that signs with its own keys what its software would not, on the nodes of `federation.py`."""

from __future__ import annotations

from dataclasses import replace

from medchain.errors import UnavailableError
from medchain.ledger.kinds.access import Access, Accesses
from medchain.ledger.kinds.emergency import SUPERVISED_FIELDS
from medchain.ledger.object import Body, build_body, map_key
from medchain.ledger.request import ReleaseRequest, access_id
from medchain.ledger.signed_request import SignedRequest
from medchain.ledger.transaction import (
    CREATOR,
    INDEPENDENT,
    Change,
    Draw,
    ObjectRow,
    Ref,
    Signer,
    Transaction,
    pae,
    payload_bytes,
    seal,
)
from medchain.node.emergency import EMERGENCY
from medchain.node.sealed_body import OpenedBody, bodies_document, seal_body
from tests.unit.medchain.ledger.world import fresh, genesis, key, ledger_signer
from tests.unit.medchain.node.exchanges import ANXIN, RENHE, Exchange, Federation
from tests.unit.medchain.node.federation import COMMISSION


class Liar:
    """A member that signs with its own keys what its software would not."""

    def __init__(self, federation: Federation, org_id: str) -> None:
        """Take over a member's keys."""
        self.federation = federation
        self.org_id = org_id
        self.site = federation.sites[org_id]

    def payload(self, change: Change, endorsers: tuple[str, ...] = (), draw: Draw | None = None) -> bytes:
        signers = [Signer(key(self.org_id, "ledger").id, CREATOR)]
        signers += [Signer(key(org_id, "ledger").id, INDEPENDENT) for org_id in endorsers]
        until = self.federation.time + 50
        return payload_bytes(
            Transaction(self.org_id, (change,), (), tuple(sorted(signers)), draw, genesis().ledger, fresh(16), until, 1)
        )

    def push(self, to: str, payload: bytes, item: OpenedBody) -> None:
        sealed = seal_body(key(to, "encryption"), genesis().ledger, item)
        self.federation.sites[to].node.bodies.receive(bodies_document(payload, [sealed]), self.org_id)

    def order(self, payload: bytes, item: OpenedBody, endorsers: tuple[str, ...] = ()) -> None:
        signed = [(key(o, "ledger").id, ledger_signer(o).sign(pae(payload))) for o in (self.org_id, *endorsers)]
        leaf = seal(payload, signed).leaf
        while not self._is_taken(leaf):
            self.federation.wait()
        for site in self.federation.sites.values():
            site.node.submitter.wait_final(item.object, item.version, 60)

    def _is_taken(self, leaf: bytes) -> bool:
        try:
            return bool(self.federation.sites[self.org_id].node.driver.submit([leaf]))
        except UnavailableError:
            # An orderer that was started anew looks round first.
            return False

    def emergency(
        self, object_id: bytes, version: int, content: dict, status: str = "active", *, told: bool = True
    ) -> bytes:
        """Tell the regulator of an emergency, and have it ordered."""
        body = build_body(EMERGENCY, content, None, fresh)
        payload = self.payload(Change(EMERGENCY, status, (ObjectRow(object_id, version, body.body_hash),)))
        item = OpenedBody(map_key(EMERGENCY, self.org_id, object_id), version, body)
        if told:
            self.push(COMMISSION, payload, replace(item, body=body.redact(SUPERVISED_FIELDS)))
        self.order(payload, item)
        return item.object


def invented(exchange: Exchange, signature: bytes, **changes: object) -> tuple[Body, Change, bytes]:
    """Make an access entry of 777 records, with what shall pass for the insurer's request, under a new grant."""
    site, federation = exchange.federation.sites[RENHE], exchange.federation
    given = exchange.give()
    consent = site.ledger.record(given).refs[0]
    values = {"time": federation.time} | changes
    request = ReleaseRequest(
        ledger=genesis().ledger,
        custodian=RENHE,
        recipient=ANXIN,
        grant=given,
        purpose="HPAYMT",
        resource_types=("Observation",),
        period=None,
        after=0,
        encryption_key=key(ANXIN, "encryption").id,
        nonce=fresh(16),
        **values,
    )
    signed = SignedRequest(request, key(ANXIN, "authentication").id, signature)
    row = Access(request.hash, 777, fresh(32), fresh(32), "HPAYMT", federation.time)
    content = Accesses(given, (consent.key,), (row,)).to_content()
    body = build_body("access", content, {"requests": [signed.to_json()]}, fresh)
    refs = tuple(sorted((consent, Ref(given, 1))))
    entry = ObjectRow(access_id(given, RENHE), 1, body.body_hash)
    return body, Change("access", "active", (entry,), refs), given
