"""Receipts on the disk: the newest are read again, what a crash has left spoils nothing, a full disk stops nothing."""

from __future__ import annotations

import logging.handlers
from contextlib import closing
from dataclasses import replace

import pytest

from medchain.errors import UnavailableError
from medchain.node import receipt_file
from medchain.node.receipt_file import ReceiptFile
from medchain.ordering.promises import Broken
from medchain.ordering.receipt import Receipt

RECEIPT = Receipt(bytes(32), (bytes(range(32)),), 7, 1_796_083_200, bytes(64))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "receipts.jsonl"


def test_receipts_are_kept_and_the_oldest_go(path, monkeypatch):
    monkeypatch.setattr(receipt_file, "_MAX_BYTES", 2000)
    with closing(ReceiptFile(path)) as receipts:
        for _ in range(20):
            receipts.put(RECEIPT)
    lines = path.read_text().splitlines()
    assert bytes(range(32)).hex() in lines[-1]
    assert {item.name for item in path.parent.iterdir()} == {"receipts.jsonl", "receipts.jsonl.1"}
    assert sum(item.stat().st_size for item in path.parent.iterdir()) <= 4000


def test_a_receipt_that_cannot_be_kept_does_not_stop_ordering(path, monkeypatch):
    with closing(ReceiptFile(path)) as receipts:
        monkeypatch.setattr(logging, "raiseExceptions", False)
        monkeypatch.setattr(logging.handlers.RotatingFileHandler, "shouldRollover", _full_disk)
        receipts.put(RECEIPT)


def _full_disk(*_arguments: object) -> bool:
    raise OSError(28, "No space left on device")


def test_what_was_kept_is_read_again_with_what_was_told_of(path):
    later, broken = replace(RECEIPT, height_at_most=8), Broken(bytes(range(32)), 7)
    with closing(ReceiptFile(path)) as receipts:
        assert receipts.newest() == ([], frozenset())
        receipts.put(RECEIPT)
        receipts.put_broken(broken)
        receipts.put(later)
    with closing(ReceiptFile(path)) as receipts:
        assert receipts.newest() == ([RECEIPT, later], {broken})


def test_what_was_promised_before_a_takeover_is_not_read_again(path):
    later = replace(RECEIPT, height_at_most=8)
    with closing(ReceiptFile(path)) as receipts:
        receipts.put(RECEIPT)
        receipts.put_void()
        receipts.put(later)
    with closing(ReceiptFile(path)) as receipts:
        assert receipts.newest() == ([later], frozenset())


def test_the_file_before_is_read_as_well_and_only_the_newest_lines_are(path, monkeypatch):
    with closing(ReceiptFile(path)) as receipts:
        receipts.put(RECEIPT)
        line = path.stat().st_size
    monkeypatch.setattr(receipt_file, "_MAX_BYTES", 3 * line)
    monkeypatch.setattr(receipt_file, "_READ_BYTES", 4 * line + 1)
    heights = [8, 9, 1, 2, 3]
    with closing(ReceiptFile(path)) as receipts:
        for height in heights:
            receipts.put(replace(RECEIPT, height_at_most=height))
        assert path.with_name("receipts.jsonl.1").exists()
        assert [receipt.height_at_most for receipt in receipts.newest()[0]] == heights[-4:]


@pytest.mark.parametrize(
    "rest",
    [b'{"receipt":{"height_at_most":7', b"\xff\xfe", b"[]\n{}\n", b'{"height_at_most":true,"id":"","type":"x"}\n'],
)
def test_a_line_that_a_crash_cut_off_spoils_none_beside_it(path, rest):
    with closing(ReceiptFile(path)) as receipts:
        receipts.put(RECEIPT)
    with path.open("ab") as file:
        file.write(rest)
    with closing(ReceiptFile(path)) as receipts:
        receipts.put(RECEIPT)
        assert receipts.newest() == ([RECEIPT, RECEIPT], frozenset())


def test_a_disk_that_cannot_be_read_is_told(path):
    path.mkdir()
    with pytest.raises(UnavailableError, match=r"store\.io"):
        ReceiptFile(path)
