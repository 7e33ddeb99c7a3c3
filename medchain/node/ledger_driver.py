"""Ordering in this node: the embedded driver with what it needs from the disk and the network.

Keeps true: what this node has vouched for is durable before a cosignature leaves; receipts are kept as evidence, the
newest ones; a node restored from a backup orders and cosigns nothing until it knows that it is up to date. Trusts the
driver and the replica.
Source: `docs/spec/ordering.md`.
"""

from __future__ import annotations

import logging
import logging.handlers
from pathlib import Path
from threading import Event
from typing import Final

from medchain.crypto.signing import Ed25519Signer
from medchain.encoding import Json, canonical, members, parse_canonical, unhex
from medchain.errors import InputError
from medchain.node.keystore import DaemonKeys, Layout, write_private_file
from medchain.node.log import Log
from medchain.node.orderer_client import HttpOrdererClient
from medchain.node.peers import PeerClient
from medchain.node.replica import LogPen, Replica
from medchain.ordering.cosign import Vouched
from medchain.ordering.driver import Clock
from medchain.ordering.embedded import EmbeddedDriver, Ports
from medchain.ordering.notary import CosignKeys, LedgerNotary
from medchain.ordering.receipt import Receipt, receipt_json
from medchain.tlog.checkpoint import sign_checkpoint

VOUCHED_NAME: Final = "vouched.json"
"""Name of the file with what this node has vouched for."""

RESTORED_NAME: Final = "restored"
"""Name of the mark that a restore leaves; gone once the node has caught up."""

RECEIPTS_NAME: Final = "receipts.jsonl"
"""Name of the file with the newest receipts."""

_TYPE: Final = "medchain/vouched/v1"
_MAX_VOUCHED_BYTES: Final = 4096
_MAX_RECEIPTS_BYTES: Final = 16 << 20
_CATCH_UP_POLL_S: Final = 1.0
_LOG: Final = Log("ordering")
_MEMBERS: Final = {
    "floor": int,
    "replaced": str,
    "replaced_from": int,
    "root": str,
    "size": int,
    "stood_down": str,
    "type": str,
}


class VouchedFile:
    """Fills `medchain.ordering.cosign.Memory` with a small file beside the databases."""

    __slots__ = ("_path",)

    def __init__(self, path: Path) -> None:
        """Name the file."""
        self._path = path

    def load(self) -> Vouched:
        """Read it; nothing was vouched for where there is none. Raises `InputError` for a damaged one."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return Vouched()
        found = members(parse_canonical(content, max_bytes=_MAX_VOUCHED_BYTES), _MEMBERS)
        if found["type"] != _TYPE:
            raise InputError("vouched.type")
        root = str(found["root"])
        return Vouched(
            floor=_number(found["floor"]),
            size=_number(found["size"]),
            root=unhex(root, 32) if root else b"",
            stood_down=str(found["stood_down"]),
            replaced=str(found["replaced"]),
            replaced_from=_number(found["replaced_from"]),
        )

    def save(self, vouched: Vouched) -> None:
        """Write it whole or not at all, synced."""
        document: Json = {
            "floor": vouched.floor,
            "replaced": vouched.replaced,
            "replaced_from": vouched.replaced_from,
            "root": vouched.root.hex(),
            "size": vouched.size,
            "stood_down": vouched.stood_down,
            "type": _TYPE,
        }
        write_private_file(self._path, canonical(document))


class ReplicaNotes:
    """Fills `medchain.ordering.cosign.Checkpoints` from the replica, which knows what is final."""

    __slots__ = ("_replica",)

    def __init__(self, replica: Replica) -> None:
        """Use a replica."""
        self._replica = replica

    def put(self, note: str, size: int, *, final: bool) -> None:  # noqa: ARG002  # the replica judges by itself
        """Keep a verified note."""
        self._replica.put_note(note.encode("utf-8"))


class ReceiptFile:
    """Fills `medchain.ordering.outbox.Receipts` with a file of lines; the oldest go when it is full."""

    __slots__ = ("_handler",)

    def __init__(self, path: Path) -> None:
        """Open it."""
        self._handler = logging.handlers.RotatingFileHandler(path, maxBytes=_MAX_RECEIPTS_BYTES, backupCount=1)

    def put(self, receipt: Receipt) -> None:
        """Keep a verified receipt."""
        line = canonical(receipt_json(receipt)).decode()
        self._handler.handle(logging.LogRecord("receipts", logging.INFO, "", 0, line, None, None))

    def close(self) -> None:
        """Close the file."""
        self._handler.close()


def pen_of(signer: Ed25519Signer) -> LogPen:
    """Make the pen with which a replica signs checkpoints while its organisation orders."""
    return lambda checkpoint: sign_checkpoint(checkpoint, signer)


class LedgerDriver:
    """The embedded driver of this node, as a job of its daemon."""

    __slots__ = ("_receipts", "_restored", "driver")

    def __init__(
        self, org_id: str, layout: Layout, keys: DaemonKeys, replica: Replica, peers: PeerClient, clock: Clock
    ) -> None:
        """Put the driver together; nothing runs yet.

        Args:
            org_id: the node's organisation.
            layout: of the node's folder.
            keys: log and cosigning keys.
            replica: the node's ledger.
            peers: calls to other nodes.
            clock: gives Unix seconds.
        """
        self._receipts = ReceiptFile(layout.folder / RECEIPTS_NAME)
        self._restored = layout.folder / RESTORED_NAME
        ports = Ports(
            replica=replica,
            notary=LedgerNotary(replica.genesis.origin, CosignKeys(org_id, keys.cosign_ed25519, keys.cosign_mldsa44)),
            memory=VouchedFile(layout.folder / VOUCHED_NAME),
            checkpoints=ReplicaNotes(replica),
            receipts=self._receipts,
            clock=clock,
            connect=lambda name: HttpOrdererClient(peers, name),
        )
        self.driver = EmbeddedDriver(org_id, keys.log, ports, restored=self._restored.exists())

    def run(self, stop: Event) -> None:
        """Run the driver until told to stop; accepted envelopes are finished."""
        self.driver.start()
        try:
            while not stop.wait(_CATCH_UP_POLL_S):
                if self.driver.is_caught_up and self._restored.exists():
                    self._restored.unlink()
                    _LOG.info("ordering.restored_and_caught_up", height=self.driver.height())
        finally:
            self.driver.stop()

    def drain(self) -> None:
        """Let nobody wait for further blocks: the node is stopping."""
        self.driver.feed.close()

    def close(self) -> None:
        """Close files."""
        self._receipts.close()


def _number(value: Json) -> int:
    """Narrow a member whose type `members` has checked."""
    return value if isinstance(value, int) else 0
