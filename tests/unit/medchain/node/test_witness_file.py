"""The files that name outside witnesses and, to a witness, logs: what is read of them, and each mistake."""

from __future__ import annotations

import pytest

from medchain.crypto.signing import Ed25519Signer, MlDsa44Signer
from medchain.errors import InputError, NotFoundError
from medchain.node.witness_file import (
    MAX_LOG_KEYS,
    OutsideWitness,
    log_lines,
    parse_logs,
    parse_witnesses,
    read_witnesses,
)
from medchain.tlog.note import KeyType, VerifierKey

ED, PQ = Ed25519Signer(b"e" * 32), MlDsa44Signer(b"p" * 32)
NAME = "outside.example/w1"
ED_KEY = VerifierKey(NAME, KeyType.COSIGNATURE_ED25519, ED.public)
PQ_KEY = VerifierKey(NAME, KeyType.COSIGNATURE_MLDSA44, PQ.public)


def file_of(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def test_two_keys_at_one_address_are_one_service():
    text = file_of(
        "# who", "", f"witness w-ed {ED_KEY} https://w.example/a/", f"  witness w-pq\t{PQ_KEY} https://w.example/a"
    )
    assert parse_witnesses(text) == (OutsideWitness("w-ed", "https://w.example/a", (ED_KEY, PQ_KEY)),)


LOG_KEY_LINE = f"witness w {VerifierKey(NAME, KeyType.ED25519, ED.public)} http://w"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (file_of("quorum none"), 1),
        (file_of(f"witness w {ED_KEY}"), 1),
        (file_of(f"witness w {ED_KEY} http://w more"), 1),
        (file_of(f"log w {ED_KEY} http://w"), 1),
        (file_of("# x", f"witness w {ED_KEY} ftp://w"), 2),
        (file_of(f"witness w {ED_KEY} http://"), 1),
        (file_of(f"witness w {ED_KEY} http://w:port"), 1),
        (file_of(f"witness w {ED_KEY} http://user@w"), 1),
        (file_of(f"witness w {ED_KEY} http://w/?q"), 1),
        (file_of(f"witness w {ED_KEY} http://[w"), 1),
        (file_of(f"witness w {ED_KEY} http://见"), 1),
        (file_of(f"witness w {ED_KEY} http://w", f"witness w {PQ_KEY} http://v"), 2),
        (file_of(f"witness w {ED_KEY} http://w", f"witness v {ED_KEY} http://v"), 2),
        # A log's key is no cosigner's.
        (file_of(LOG_KEY_LINE), 1),
        (b"\xff", 0),
        (b"#" * 70_000, 0),
    ],
)
def test_a_file_with_a_mistake_is_refused_with_the_line(text, line):
    with pytest.raises(InputError, match=rf"witnesses\.malformed line={line}"):
        parse_witnesses(text)


def test_a_key_that_is_none_is_refused():
    with pytest.raises(InputError, match=r"tlog\.key"):
        parse_witnesses(file_of(f"witness w {str(ED_KEY)[:-4]}AAA= http://w"))


def test_more_witnesses_than_a_note_has_room_for_are_refused():
    keys = [VerifierKey(NAME, KeyType.COSIGNATURE_ED25519, bytes([n]) * 32) for n in range(17)]
    lines = [f"witness w{n} {key} http://w{n}" for n, key in enumerate(keys)]
    assert len(parse_witnesses(file_of(*lines[:16]))) == 16
    with pytest.raises(InputError, match=r"witnesses\.malformed"):
        parse_witnesses(file_of(*lines))


def test_no_file_is_no_witness_and_a_missing_one_is_told(tmp_path):
    assert read_witnesses(None) == ()
    with pytest.raises(NotFoundError, match=r"witnesses\.missing"):
        read_witnesses(tmp_path / "none")
    (tmp_path / "one").write_bytes(file_of(f"witness w {ED_KEY} http://w"))
    assert [item.name for item in read_witnesses(tmp_path / "one")] == ["w"]


LOG_KEYS = tuple(
    VerifierKey(name, KeyType.ED25519, Ed25519Signer(bytes([number]) * 32).public)
    for number, name in enumerate(("log.example/a", "log.example/a", "log.example/b"))
)


def test_a_log_may_have_several_keys_and_a_witness_several_logs():
    text = log_lines(LOG_KEYS)
    assert text == "".join(f"log {key}\n" for key in LOG_KEYS)
    assert parse_logs(b"# of today\n\n" + text.encode().replace(b"log ", b"  log\t")) == LOG_KEYS
    assert parse_logs(b"") == ()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (file_of("quorum none"), 1),
        (file_of("log"), 1),
        (file_of(f"log {LOG_KEYS[0]} https://log.example"), 1),
        (file_of(f"witness {LOG_KEYS[0]}"), 1),
        (file_of(f"log {LOG_KEYS[0]}", f"log {LOG_KEYS[0]}"), 2),
        # A cosigner's key is no log's.
        (file_of(f"log {ED_KEY}"), 1),
        (b"\xff", 0),
        (b"#" * 70_000, 0),
    ],
)
def test_a_file_of_logs_with_a_mistake_is_refused_with_the_line(text, line):
    with pytest.raises(InputError, match=rf"logs\.malformed line={line}"):
        parse_logs(text)


def test_more_keys_than_a_few_consortia_have_are_refused():
    keys = [VerifierKey("l", KeyType.ED25519, number.to_bytes(32, "big")) for number in range(MAX_LOG_KEYS + 1)]
    assert len(parse_logs(log_lines(keys[1:]).encode())) == MAX_LOG_KEYS
    with pytest.raises(InputError, match=r"logs\.malformed line=0"):
        parse_logs(log_lines(keys).encode())
