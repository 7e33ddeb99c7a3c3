"""Ordering in this node: the embedded driver with what it needs from the disk and the network.

Keeps true: what this node has vouched for is durable before a cosignature leaves; a node restored from a backup orders
and cosigns nothing until it knows that it is up to date; ordering that has lost a thread ends the daemon, and one that
hangs is seen to. Trusts the driver and the replica.
Source: `docs/spec/ordering.md`.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Final

from medchain.crypto.signing import Ed25519Signer
from medchain.encoding import Json, as_number, unhex
from medchain.errors import InputError, MedchainError, UnavailableError, VerificationError
from medchain.node.checked import checked, read_checked
from medchain.node.daemon import Watched
from medchain.node.keystore import DaemonKeys, Layout, write_private_file
from medchain.node.log import Log
from medchain.node.orderer_client import HttpOrdererClient
from medchain.node.peers import PeerClient
from medchain.node.receipt_file import RECEIPTS_NAME, ReceiptFile
from medchain.node.replica import LogPen, Replica
from medchain.node.restored import Restoration
from medchain.ordering.agreed_clock import Clocks
from medchain.ordering.block import Block
from medchain.ordering.cosign import Vouched
from medchain.ordering.driver import Clock, OrdererClient
from medchain.ordering.embedded import EmbeddedDriver, Ports
from medchain.ordering.entry import Entry
from medchain.ordering.lines import FinalNote
from medchain.ordering.notary import CosignKeys, LedgerNotary
from medchain.ordering.receipt import Outcome
from medchain.ordering.round import Ask, Round
from medchain.store.faults import disk_fault
from medchain.tlog.checkpoint import sign_checkpoint

VOUCHED_NAME: Final = "vouched.json"
"""Name of the file with what this node has vouched for."""

SPENT_NAME: Final = "spent_log_keys.json"
"""Name of the file with the own log keys under which this node orders no more."""

_TYPE: Final = "medchain/vouched/v1"
_SPENT_TYPE: Final = "medchain/spent-log-keys/v1"
_MAX_SPENT_BYTES: Final = 1 << 20
_KEY_ID_BYTES: Final = 16
_SLOT_BYTES: Final = 512
_SLOTS: Final = 64
_POLL_S: Final = 1.0
_FATAL: Final = frozenset({"ordering.failed", "ordering.thread"})
_CALLERS: Final = ("follower", "cosigner")
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
    """Fills `medchain.ordering.cosign.Memory` with a small file beside the databases.

    Every cosignature waits for it, so it is written in place: slots of a disk's sector each, the last one that was
    written counts. A full file is replaced by one with that slot alone. The log keys that are spent have no bound, and
    change hardly ever: they have a file beside it, and the slot says how many there are at least. Keeps true: a slot is
    written whole or not at all, and one that cannot be read, or is not as it was written, is never passed over for an
    older one; no key is forgotten before the slot says so. One process uses it.
    """

    __slots__ = ("_path", "_spent", "_used")

    def __init__(self, path: Path) -> None:
        """Name the file."""
        self._path = path
        self._spent: frozenset[str] | None = None
        self._used: int | None = None

    def load(self) -> Vouched:
        """Read it; raises `InputError` for a damaged one, `VerificationError` ``vouched.missing`` for none."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError as error:
            raise VerificationError("vouched.missing", path=str(self._path)) from error
        slots = [content[at : at + _SLOT_BYTES] for at in range(0, len(content), _SLOT_BYTES)]
        written = [slot for slot in slots if slot.strip(b"\0")]
        if len(content) != _SLOTS * _SLOT_BYTES or not written or written != slots[: len(written)]:
            raise InputError("vouched.slots", size=len(content))
        self._used = len(written)
        return self._with_spent([_vouched(slot) for slot in written][-1])

    def _with_spent(self, newest: tuple[Vouched, int]) -> Vouched:
        """Add the log keys that are spent; raises as `load`."""
        vouched, least = newest
        path = self._path.with_name(SPENT_NAME)
        kept = _spent_keys(path.read_bytes()) if path.exists() else frozenset()
        if len(kept) < least:
            raise VerificationError("vouched.missing", path=str(path))
        self._spent = kept
        return replace(vouched, spent=vouched.spent | kept)

    def save(self, vouched: Vouched) -> None:
        """Write it, synced.

        Raises:
            UnavailableError: ``store.full``, ``store.io``: nothing may be vouched for then.
            InputError: for a damaged file.
        """
        if self._used is None and self._path.exists():
            self.load()
        before = self._spent or frozenset()
        try:
            if not vouched.spent <= before:
                self._write_spent(vouched.spent | before)
            self._write(_slot(vouched))
            if vouched.spent != self._spent:
                self._write_spent(vouched.spent)
        except OSError as error:
            raise disk_fault(error, "vouched") from error

    def _write_spent(self, keys: frozenset[str]) -> None:
        """Write the log keys that are spent, synced."""
        if keys or self._spent:
            document: dict[str, Json] = {"keys": [*sorted(keys)], "type": _SPENT_TYPE}
            write_private_file(self._path.with_name(SPENT_NAME), checked(document))
        self._spent = keys

    def _write(self, slot: bytes) -> None:
        """Write a slot behind the others, or a new file where they are all full."""
        if self._used is None or self._used == _SLOTS:
            write_private_file(self._path, slot.ljust(_SLOTS * _SLOT_BYTES, b"\0"))
            self._used = 1
            return
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(descriptor, slot, self._used * _SLOT_BYTES)
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        self._used += 1


def vouched_file(folder: Path, height: int, *, restored: bool = False) -> VouchedFile:
    """Give the file of what a node has vouched for; it is made with the node, and a node with blocks has one.

    Args:
        folder: the node's.
        height: of its ledger, 0 for the genesis alone, which nobody cosigns.
        restored: whether a restore is under way, which waits until what was forgotten binds nobody any more.

    Raises:
        VerificationError: ``vouched.missing``: a node that has forgotten its promises might break them.
        UnavailableError: ``store.full``, ``store.io``.
    """
    path = folder / VOUCHED_NAME
    file = VouchedFile(path)
    if not path.exists():
        if height > 0 and not restored:
            raise VerificationError("vouched.missing", path=str(path))
        file.save(Vouched())
    return file


def _spent_keys(content: bytes) -> frozenset[str]:
    """Read the log keys that are spent; raises `InputError`."""
    found = read_checked(content, {"keys": list, "type": str}, {}, name=SPENT_NAME, max_bytes=_MAX_SPENT_BYTES)
    keys = found["keys"] if isinstance(found["keys"], list) else []
    if found["type"] != _SPENT_TYPE:
        raise InputError("vouched.type")
    return frozenset(unhex(key, _KEY_ID_BYTES).hex() for key in keys)


def _vouched(slot: bytes) -> tuple[Vouched, int]:
    """Read a slot, and how many log keys are spent at least; raises `InputError`."""
    later = {"spent": str, "spent_keys": int, "version": int}
    found = read_checked(slot.rstrip(b"\n "), _MEMBERS, later, name=VOUCHED_NAME, max_bytes=_SLOT_BYTES)
    if found["type"] != _TYPE:
        raise InputError("vouched.type")
    root, spent = str(found["root"]), str(found.get("spent", ""))
    vouched = Vouched(
        floor=as_number(found["floor"]),
        size=as_number(found["size"]),
        root=unhex(root, 32) if root else b"",
        stood_down=str(found["stood_down"]),
        replaced=str(found["replaced"]),
        replaced_from=as_number(found["replaced_from"]),
        # Files of before have no version, and one spent key at most, in the slot itself.
        version=as_number(found.get("version", 0)),
        spent=frozenset({spent} if spent else ()),
    )
    return vouched, as_number(found.get("spent_keys", 0))


def _slot(vouched: Vouched) -> bytes:
    """Write a slot: canonical JSON, filled up with spaces to a line."""
    document: dict[str, Json] = {
        "floor": vouched.floor,
        "replaced": vouched.replaced,
        "replaced_from": vouched.replaced_from,
        "root": vouched.root.hex(),
        "size": vouched.size,
        "spent_keys": len(vouched.spent),
        "stood_down": vouched.stood_down,
        "type": _TYPE,
        "version": vouched.version,
    }
    made = checked(document)
    if len(made) >= _SLOT_BYTES:
        raise InputError("vouched.slots", size=len(made))
    return made.ljust(_SLOT_BYTES - 1) + b"\n"


class ReplicaNotes:
    """Fills `medchain.ordering.cosign.Checkpoints` from the replica, which knows what is final."""

    __slots__ = ("_replica",)

    def __init__(self, replica: Replica) -> None:
        """Use a replica."""
        self._replica = replica

    def put(self, note: str, size: int, *, final: bool) -> None:
        """Keep a verified note; the replica judges by itself whether it is final.

        What is not final yet proves nothing to anybody: the cosigner has it in memory, and no write is spent on it, but
        for lines that come later where the members changed, which policy chains may need.
        """
        if not final and size > self._replica.members_since:
            return
        self._replica.put_note(note.encode("utf-8"), verified=size > self._replica.members_since)

    def flush(self) -> None:
        """Write final notes that are only in memory."""
        self._replica.store.write_held()

    def final(self) -> FinalNote | None:
        """Return the newest note that the replica holds as final."""
        found = self._replica.store.final()
        return None if found is None else FinalNote(found.size, found.note)

    def first_final(self, size: int) -> FinalNote | None:
        """Return the first note from a size on that the replica holds as final, and still keeps."""
        found = self._replica.store.first_final(size)
        return None if found is None else FinalNote(found.size, found.note)


def pen_of(signer: Ed25519Signer) -> LogPen:
    """Make the pen with which a replica signs checkpoints while its organisation orders."""
    return lambda checkpoint: sign_checkpoint(checkpoint, signer)


class Pulse:
    """When each of ordering's threads last began or ended a call to another member. Threads may share it."""

    __slots__ = ("_at",)

    def __init__(self) -> None:
        """Count from now."""
        self._at: dict[str, float] = {}

    def beat(self) -> None:
        """Note the calling thread."""
        self._at[threading.current_thread().name] = time.monotonic()

    def age_s(self, thread: str) -> float:
        """Tell how long ago a thread was noted; 0 for one that never was."""
        at = self._at.get(thread)
        return 0.0 if at is None else time.monotonic() - at


class PulsedClient:
    """The way to another organisation that notes who calls (`medchain.ordering.driver.OrdererClient`)."""

    __slots__ = ("_client", "_pulse")

    def __init__(self, client: OrdererClient, pulse: Pulse) -> None:
        """Put the pulse before and after each call: no call may hang for ever, and no thread between two."""
        self._client = client
        self._pulse = pulse

    def submit(self, leaves: Sequence[bytes]) -> list[Outcome]:
        """Offer envelopes, see `OrdererClient`."""
        with _beating(self._pulse):
            return self._client.submit(leaves)

    def blocks(self, first: int, wait_s: int) -> list[Block]:
        """Ask for blocks, see `OrdererClient`."""
        with _beating(self._pulse):
            return self._client.blocks(first, wait_s)

    def round(self, ask: Ask) -> Round:
        """Hand in lines and ask for news, see `OrdererClient`."""
        with _beating(self._pulse):
            return self._client.round(ask)

    def checkpoint(self, final: int | None = None) -> str | None:
        """Ask for the newest note, see `OrdererClient`."""
        with _beating(self._pulse):
            return self._client.checkpoint(final)

    def cosign(self, note: str) -> None:
        """Give a checkpoint with one's own lines, see `OrdererClient`."""
        with _beating(self._pulse):
            self._client.cosign(note)

    def entry(self, position: int, size: int) -> Entry:
        """Ask for a leaf's place in its log, see `OrdererClient`."""
        with _beating(self._pulse):
            return self._client.entry(position, size)

    def stand_down(self, leaf: bytes) -> str | None:
        """Show a takeover, see `OrdererClient`."""
        with _beating(self._pulse):
            return self._client.stand_down(leaf)


class Stillness:
    """For how long something has had work and has not moved. One thread asks it."""

    __slots__ = ("_has_work", "_moved", "_since", "_turns")

    def __init__(self, has_work: Callable[[], bool], turns: Callable[[], int]) -> None:
        """Look at something.

        Args:
            has_work: tells whether it has work now.
            turns: a number that changes when it gets on.
        """
        self._has_work = has_work
        self._turns = turns
        self._moved = -1
        self._since = time.monotonic()

    def standing_s(self) -> float:
        """Tell for how many seconds it has stood still with work to do, as far as was asked."""
        now, turns = time.monotonic(), self._turns()
        if not self._has_work() or turns != self._moved:
            self._moved, self._since = turns, now
        return now - self._since


class LedgerDriver:
    """The embedded driver of this node, as a job of its daemon."""

    __slots__ = ("_committer", "_org_id", "_pulse", "_receipts", "_replica", "driver", "restoration")

    def __init__(  # noqa: PLR0913  # what one node is made of
        self,
        org_id: str,
        layout: Layout,
        keys: DaemonKeys,
        replica: Replica,
        peers: PeerClient,
        clock: Clock,
        *,
        is_erasing: Callable[[], bool],
        is_split: bool = False,
        settled: Sequence[str] = (),
        clocks: Clocks | None = None,
    ) -> None:
        """Put the driver together; nothing runs yet.

        Args:
            org_id: the node's organisation.
            layout: of the node's folder.
            keys: log and cosigning keys.
            replica: the node's ledger.
            peers: calls to other nodes.
            clock: gives Unix seconds.
            is_erasing: whether an erasure is not carried out yet, which a restored node must not serve before.
            is_split: whether an alarm over a split view is open: the node cosigns nothing until it was acknowledged.
            settled: notes that prove those which were.
            clocks: as `Ports` takes them.

        Raises:
            VerificationError: ``vouched.missing``.
            InputError: for a damaged file of what was vouched for.
        """
        self._org_id = org_id
        self._replica = replica
        self._pulse = Pulse()
        self.restoration = Restoration(layout.folder, org_id, replica.store, clock, is_erasing)
        memory = vouched_file(layout.folder, replica.height, restored=self.restoration.is_under_way)
        self._receipts = ReceiptFile(layout.folder / RECEIPTS_NAME)
        ports = Ports(
            replica=replica,
            notary=LedgerNotary(replica.genesis.origin, CosignKeys(org_id, keys.cosign_ed25519, keys.cosign_mldsa44)),
            memory=memory,
            checkpoints=ReplicaNotes(replica),
            receipts=self._receipts,
            clock=clock,
            connect=lambda name: PulsedClient(HttpOrdererClient(peers, name), self._pulse),
            is_split=is_split,
            settled=settled,
            clocks=clocks,
        )
        self.driver = EmbeddedDriver(org_id, keys.log, ports, restored=self.restoration.is_under_way)
        orderer = self.driver.orderer
        self._committer = Stillness(lambda: orderer.waiting > 0 or orderer.turns % 2 == 1, lambda: orderer.turns)

    def run(self, stop: Event) -> None:
        """Run the driver until told to stop; accepted envelopes are finished.

        Raises:
            UnavailableError: ``ordering.dead`` if one of its threads has ended: a daemon that starts anew is better
                than one that answers and orders nothing.
        """
        self.driver.start()
        try:
            while not stop.wait(_POLL_S):
                self.look()
        finally:
            self.driver.stop()

    def look(self) -> None:
        """See that ordering lives, and get on with a restore; raises as `run`."""
        dead = next((alarm for alarm in self.driver.health().alarms if alarm.code in _FATAL), None)
        if dead is not None:
            reason = dead.fields.get("name") or dead.fields.get("reason")
            raise UnavailableError("ordering.dead", reason=reason)
        if not (self.restoration.is_under_way and self.driver.is_caught_up):
            return
        try:
            if self.restoration.settle():
                _LOG.info("ordering.restored_and_caught_up", height=self.driver.height())
        except MedchainError as error:
            _LOG.error("ordering.restore_unsettled", error)

    def watched(self) -> tuple[Watched, ...]:
        """Name what must not stand still: who commits blocks, who fetches them, who cosigns them."""
        return (
            Watched("committer", self._committer.standing_s),
            *(Watched(name, lambda name=name: self._silent_s(name)) for name in _CALLERS),  # type: ignore[misc]  # the default binds the name
        )

    def _silent_s(self, thread: str) -> float:
        """Tell how long a thread has called nobody; one that has nobody to call does not stand still."""
        is_alone = all(item.org_id == self._org_id for item in self._replica.members.active)
        return 0.0 if is_alone else self._pulse.age_s(thread)

    def drain(self) -> None:
        """Let nobody wait for further blocks: the node is stopping."""
        self.driver.feed.close()

    def close(self) -> None:
        """Close files."""
        self._receipts.close()


@contextmanager
def _beating(pulse: Pulse) -> Iterator[None]:
    """Note the calling thread before and after."""
    pulse.beat()
    try:
        yield
    finally:
        pulse.beat()
