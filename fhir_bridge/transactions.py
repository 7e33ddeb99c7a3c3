"""A transaction from its bytes to its answer: in a web worker's thread where it is small, else in a worker process.

Keeps true: who may not is told before anything is looked up; all of it is stored or nothing. Trusts the caller for the
scopes of who sent it.
Source: FHIR R4 §3.1.0.11; `docs/adr/0019-jobs-in-processes.md`.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fhir_bridge import bundle
from fhir_bridge.authorize import require
from fhir_bridge.document import parse_bundle
from fhir_bridge.references import Resolver
from fhir_bridge.smart.access import Access
from fhir_bridge.smart.scopes import Action, parse_scopes, permits
from medchain.crypto.keywrap import KEY_BYTES, SecretBytes
from medchain.encoding import Json, members, unhex
from medchain.node.assembly import WebNode, open_web_node, read_genesis
from medchain.node.clock import Clock, system_clock
from medchain.node.config import load_config
from medchain.node.jobs import bound, read_secret, serve
from medchain.node.keystore import Layout, Unlock
from medchain.node.records import RecordService
from medchain.store.records import RecordStore

MODULE: Final = "fhir_bridge.transactions"
"""What a `medchain.node.jobs.JobPool` runs."""

SMALL_BYTES: Final = 256 << 10
"""Largest transaction that is done in a web worker's own thread."""


@dataclass(frozen=True, slots=True)
class Records:
    """What a transaction works on.

    Attributes:
        service: stores records.
        store: the same records, sealed.
        records_key: the node's records key.
        clock: gives Unix seconds.
    """

    service: RecordService
    store: RecordStore
    records_key: bytes
    clock: Clock


@dataclass(frozen=True, slots=True)
class Done:
    """What a transaction came to.

    Attributes:
        answer: the transaction-response.
        first: number of the first record version that it stored, 0 for none.
        last: number of the last one.
    """

    answer: bytes
    first: int
    last: int


def do_transaction(records: Records, access: Access, body: bytes) -> Done:
    """Do a transaction, all of it or nothing.

    Args:
        records: what it works on.
        access: who sent it.
        body: the Bundle.

    Returns:
        What it came to.

    Raises:
        MedchainError: as `bundle.transaction` and `RecordService.create_many`; ``scope.denied``.
    """
    given = parse_bundle(body)
    bundle.check_transaction(given)
    for method, type_name in sorted(bundle.types_of(given)):
        require(access, type_name, Action.UPDATE if method == "PUT" else Action.CREATE)
    resolver = Resolver(
        records.service,
        records.store,
        records.records_key,
        lambda type_name: permits(access.scopes, type_name, Action.READ),
    )
    now = records.clock()
    plan = bundle.transaction(given, resolver, now)
    stored = records.service.create_many(plan.records) if plan.records else []
    numbers = (stored[0].seq, stored[-1].seq) if stored else (0, 0)
    return Done(bundle.response(plan, now), *numbers)


def main(arguments: list[str]) -> int:
    """Do transactions as a worker process, see `medchain.node.jobs`.

    Args:
        arguments: path of the configuration.

    Returns:
        0.
    """
    bound()
    halves = Unlock(SecretBytes(unhex(read_secret().decode("ascii"), KEY_BYTES)), None)
    config = load_config(Path(arguments[0]), os.environ, {})
    genesis, _ = read_genesis(Layout(config.folder))
    with open_web_node(config, halves, system_clock) as node:
        records = records_of(node, genesis.ledger)

        def handle(document: Json, content: bytes) -> tuple[Json, bytes]:
            asked = members(document, {"client": str, "scopes": str})
            access = Access(str(asked["client"]), parse_scopes(str(asked["scopes"])))
            done = do_transaction(records, access, content)
            return {"first": done.first, "last": done.last}, done.answer

        serve(handle)
    return 0


def records_of(node: WebNode, ledger: bytes) -> Records:
    """Make what transactions work on from an opened node and its ledger id."""
    service = RecordService(node.records, ledger, node.keys.records, node.clock)
    return Records(service, node.records, node.keys.records, node.clock)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
