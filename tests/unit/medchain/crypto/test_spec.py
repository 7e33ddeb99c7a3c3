"""The literal examples of the pages on keys and on the record envelope hold."""

from __future__ import annotations

import re
from pathlib import Path

from medchain.crypto import aead, commitment, keywrap, passphrase, signing

SPEC = Path(__file__).resolve().parents[4] / "docs" / "spec"


def example(page: str) -> str:
    """Return the first code block of a page."""
    return (SPEC / page).read_text(encoding="utf-8").split("```")[1]


def hexadecimal(text: str, start: str) -> bytes:
    """Return the hex, over as many lines as it takes, that follows a text."""
    found = re.match(r"(?:\s*[0-9a-f]{40,}\n)+", text.split(start)[1])
    return bytes.fromhex("".join(found.group().split()))


def test_the_example_of_the_record_envelope_opens():
    text = example("record-envelope.md")
    context = aead.RecordContext(b"\x11" * 32, b"\x22" * 16, 1, "application/fhir+json")
    salt, content = aead.open_record(hexadecimal(text, "data key"), context, hexadecimal(text, "envelope"))
    assert salt == hexadecimal(text, "salt")
    assert content == b'{"resourceType":"Basic","id":"1"}'
    root = commitment.record_field_root(salt, content)
    assert root == hexadecimal(text, "field root")
    assert commitment.record_commitment(salt, content, root) == hexadecimal(text, "commitment")


def test_the_examples_of_keys_hold():
    text = example("keys.md")
    public, key_id = re.search(r"Ed25519 key ([0-9a-f]{64}):\s+([0-9a-f]{32})\n", text).groups()
    assert signing.key_id("ed25519", bytes.fromhex(public)) == key_id
    aad = keywrap.wrap_aad(keywrap.Purpose.DATA, b"\x22" * 16, (1).to_bytes(8, "big"))
    assert keywrap.unwrap_key(bytes(32), hexadecimal(text, "version 1:\n"), aad) == bytes(range(32))
    key_file = re.search(r"MEDCHAIN-ROOT-KEY-1 .*\n", text).group()
    assert passphrase.read_key_file(key_file.encode()) == bytes(range(32))
