"""Receipts on the node's disk: evidence against whoever ordered, and what a start knows again of open promises.

Keeps true: the newest ones are kept, the oldest go when the file is full; what a crash has cut off is passed over, and
spoils no line behind it. A receipt may be lost with the power: it is not synced, since nothing waits for it. Trusts its
own file.
Source: `docs/spec/ordering.md` 2, `docs/spec/node-protocol.md`.
"""

from __future__ import annotations

import logging
import logging.handlers
from contextlib import suppress
from pathlib import Path
from typing import Final

from medchain.encoding import Json, canonical, members, parse_canonical, unhex
from medchain.errors import InputError
from medchain.ledger.transaction import HASH_BYTES
from medchain.ordering.promises import Broken
from medchain.ordering.receipt import Receipt, parse_receipt, receipt_json
from medchain.store.faults import disk_fault

RECEIPTS_NAME: Final = "receipts.jsonl"
"""Name of the file with the newest receipts."""

_BROKEN_TYPE: Final = "medchain/broken-promise/v1"
_BROKEN: Final = {"height_at_most": int, "id": str, "type": str}
_VOID: Final[dict[str, Json]] = {"type": "medchain/void-promises/v1"}
_MAX_BYTES: Final = 16 << 20
_READ_BYTES: Final = 1 << 20


class ReceiptFile:
    """Fills `medchain.ordering.promises.Receipts` with a file of lines. Threads may share it."""

    __slots__ = ("_handler", "_path")

    def __init__(self, path: Path) -> None:
        """Open it, behind what a crash has left of its last line; raises `UnavailableError` for the disk."""
        self._path = path
        try:
            if _tail(path, 1) not in {b"", b"\n"}:
                with path.open("ab") as file:
                    file.write(b"\n")
        except OSError as error:
            raise disk_fault(error, "receipts") from error
        self._handler = logging.handlers.RotatingFileHandler(path, maxBytes=_MAX_BYTES, backupCount=1)

    def put(self, receipt: Receipt) -> None:
        """Keep a verified receipt."""
        self._write(receipt_json(receipt))

    def put_broken(self, broken: Broken) -> None:
        """Keep that an alarm has told of a promise."""
        self._write({"height_at_most": broken.height_at_most, "id": broken.id.hex(), "type": _BROKEN_TYPE})

    def put_void(self) -> None:
        """Keep that a takeover made all receipts so far void."""
        self._write(_VOID)

    def newest(self) -> tuple[list[Receipt], frozenset[Broken]]:
        """Return the receipts of the newest lines that no takeover made void, and which promises an alarm has told of.

        Raises:
            UnavailableError: the disk.
        """
        receipts: list[Receipt] = []
        told: set[Broken] = set()
        for line in self._lines():
            # One that is cut off, by a crash or where the reading begins, is none.
            with suppress(InputError):
                found = parse_canonical(line, max_bytes=_READ_BYTES)
                if isinstance(found, dict) and "receipt" in found:
                    receipts.append(parse_receipt(found))
                elif found == _VOID:
                    receipts.clear()
                else:
                    told.add(_broken(found))
        return receipts, frozenset(told)

    def close(self) -> None:
        """Close the file."""
        self._handler.close()

    def _write(self, value: Json) -> None:
        """Write a line; a disk that does not take it stops nothing."""
        line = canonical(value).decode()
        self._handler.handle(logging.LogRecord("receipts", logging.INFO, "", 0, line, None, None))

    def _lines(self) -> list[bytes]:
        """Read the newest lines, the oldest of them first."""
        try:
            content = _tail(self._path, _READ_BYTES)
            before = _tail(self._path.with_name(f"{self._path.name}.1"), _READ_BYTES - len(content))
        except OSError as error:
            raise disk_fault(error, "receipts") from error
        return (before + content).splitlines()


def _tail(path: Path, size: int) -> bytes:
    """Read the end of a file; nothing of one that is not there."""
    if not path.exists():
        return b""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - size))
        return file.read()


def _broken(value: Json) -> Broken:
    """Read which promise an alarm has told of; raises `InputError`."""
    row = members(value, _BROKEN)
    height = row["height_at_most"]
    if row["type"] != _BROKEN_TYPE or type(height) is not int:
        raise InputError("receipt.malformed")
    return Broken(unhex(row["id"], HASH_BYTES), height)
