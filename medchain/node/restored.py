"""A node that was restored from a backup: what it must not do until it is again what it was.

A restore leaves a mark in the folder. While it is there, nothing is released or endorsed, and no web worker is started
(`medchain.node.supervisor`); nothing is ordered or cosigned before the node has caught up with a quorum
(`medchain.node.ledger_driver`). Keeps true: the mark goes only after that, when promises that its files have forgotten
can bind nobody any more, and when every key that it destroyed after the backup is destroyed here too, with all else
that an erasure destroys. An erasure's entry tells that keys were destroyed, not which: that tells only a newer list of
erasures. Trusts such a list.
Source: `docs/spec/store.md` 11, `docs/operations.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from medchain.encoding import Json, as_number
from medchain.errors import InputError, UnavailableError
from medchain.ledger.object import ACTIVE
from medchain.ledger.transaction import Transaction, parse_envelope
from medchain.node.checked import checked, read_checked
from medchain.node.clock import Clock
from medchain.node.keystore import Layout, write_private_file
from medchain.node.services import EndorsementService, ReleaseService
from medchain.store.ledger import LedgerStore

PROMISES_S: Final = 180
"""How long an endorsement can bind: 120 s to its ``until``, and 60 s of a block's time beside the clock."""

MAX_CLOCK_DIFFERENCE_S: Final = 60
"""How far a block's time may be from the clock of who made a list of erasures."""

_TYPE: Final = "medchain/restored/v1"
_MAX_MARK_BYTES: Final = 1024
_PAGE_BYTES: Final = 4 << 20
_RETRY_S: Final = 30


@dataclass(frozen=True, slots=True)
class RestoreMark:
    """What a restore has left to do.

    Attributes:
        height: of the ledger in the backup.
        restored: when it was restored, Unix seconds.
        erasures_until: when the newest list of erasures that was replayed was made, Unix seconds.
    """

    height: int
    restored: int
    erasures_until: int

    def write(self, folder: Path) -> None:
        """Put the mark into a node's folder, durably."""
        document: dict[str, Json] = {
            "erasures_until": self.erasures_until,
            "height": self.height,
            "restored": self.restored,
            "type": _TYPE,
        }
        write_private_file(Layout(folder).restored, checked(document))


def read_mark(folder: Path) -> RestoreMark | None:
    """Read the mark of a node's folder; None where there is none. Raises `InputError` for a damaged one."""
    try:
        content = Layout(folder).restored.read_bytes()
    except FileNotFoundError:
        return None
    shape = {"erasures_until": int, "height": int, "restored": int, "type": str}
    found = read_checked(content, shape, {}, name=Layout(folder).restored.name, max_bytes=_MAX_MARK_BYTES)
    if found["type"] != _TYPE:
        raise InputError("restored.type")
    return RestoreMark(as_number(found["height"]), as_number(found["restored"]), as_number(found["erasures_until"]))


def missing_erasures(store: LedgerStore, org_id: str, mark: RestoreMark) -> int:
    """Count erasures of ours on the ledger that no list given to the restore can contain.

    Args:
        store: the ledger, caught up.
        org_id: the node's organisation.
        mark: of its restore.

    Returns:
        How many objects of kind ``erasure`` were ordered after the backup, and after the newest list was made.
    """
    count, height = 0, mark.height + 1
    while page := store.blocks(height, _PAGE_BYTES):
        for block, leaves in page:
            # The keys are destroyed before the entry is made: a list made later than the entry has them.
            if block.time + MAX_CLOCK_DIFFERENCE_S > mark.erasures_until:
                count += sum(_erasures(leaf, org_id) for leaf in leaves)
        height = page[-1][0].height + 1
    return count


class Restoration:
    """Watches over a restored node until its mark goes. One thread calls `settle`; any may ask."""

    __slots__ = ("_clock", "_folder", "_is_erasing", "_org_id", "_store", "is_erasing", "missing")

    def __init__(
        self, folder: Path, org_id: str, store: LedgerStore, clock: Clock, is_erasing: Callable[[], bool]
    ) -> None:
        """Use a node's folder and ledger; ``missing`` then counts erasures that are known to be missing.

        Args:
            folder: the node's.
            org_id: its organisation.
            store: its ledger.
            clock: gives Unix seconds.
            is_erasing: whether an erasure is not carried out yet; ``is_erasing`` then says what it last said.
        """
        self._folder = folder
        self._org_id = org_id
        self._store = store
        self._clock = clock
        self._is_erasing = is_erasing
        self.is_erasing = False
        self.missing = 0

    @property
    def is_under_way(self) -> bool:
        """Whether the mark is there."""
        return Layout(self._folder).restored.exists()

    @property
    def reason(self) -> str | None:
        """The code that tells why the node does not serve; None when it is whole."""
        if not self.is_under_way:
            return None
        if self.missing:
            return "restore.erasures"
        return "restore.erasing" if self.is_erasing else "restore.under_way"

    def settle(self) -> bool:
        """Remove the mark of a node that has caught up, if nothing else is left to do; tells whether it did.

        Raises:
            InputError: for a damaged mark.
            MedchainError: as `LedgerStore.blocks`, and what asking for erasures raises.
        """
        mark = read_mark(self._folder)
        # What is missing is so until a restore with a newer list: the ledger is not read again.
        if mark is None or self.missing or self._clock() < mark.restored + PROMISES_S:
            return False
        self.missing = missing_erasures(self._store, self._org_id, mark)
        self.is_erasing = not self.missing and self._is_erasing()
        if self.missing or self.is_erasing:
            return False
        Layout(self._folder).restored.unlink()
        return True

    def check(self) -> None:
        """Refuse while the restore is under way; raises `UnavailableError` ``restore.*``."""
        reason = self.reason
        if reason is not None:
            raise UnavailableError(reason, retry_after_s=_RETRY_S)


class GuardedReleases:
    """Releases nothing while a restore is under way (`medchain.node.services.ReleaseService`)."""

    __slots__ = ("_inner", "_restoration")

    def __init__(self, inner: ReleaseService, restoration: Restoration) -> None:
        """Put the guard before the service."""
        self._inner = inner
        self._restoration = restoration

    def release(self, document: bytes, peer: str) -> bytes:
        """Answer as the service does; raises `UnavailableError` ``restore.*`` besides."""
        self._restoration.check()
        return self._inner.release(document, peer)

    def emergency(self, document: bytes, peer: str) -> bytes:
        """Answer likewise."""
        self._restoration.check()
        return self._inner.emergency(document, peer)

    def grants(self, document: bytes, peer: str) -> Json:
        """Answer likewise."""
        self._restoration.check()
        return self._inner.grants(document, peer)


class GuardedEndorsements:
    """Endorses nothing while a restore is under way (`medchain.node.services.EndorsementService`)."""

    __slots__ = ("_inner", "_restoration")

    def __init__(self, inner: EndorsementService, restoration: Restoration) -> None:
        """Put the guard before the service."""
        self._inner = inner
        self._restoration = restoration

    def endorse(self, document: bytes, peer: str) -> Json:
        """Answer as the service does; raises `UnavailableError` ``restore.*`` besides."""
        self._restoration.check()
        return self._inner.endorse(document, peer)


def _erasures(leaf: bytes, org_id: str) -> int:
    """Count the erasures of an organisation in a transaction."""
    payload = parse_envelope(leaf).transaction
    if not isinstance(payload, Transaction) or payload.creator != org_id:
        return 0
    # A statement on what others released destroyed no key.
    keys = (change for change in payload.changes if (change.kind, change.status) == ("erasure", ACTIVE))
    return sum(len(change.objects) for change in keys)
