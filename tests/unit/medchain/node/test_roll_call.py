"""The roll call: what each member cosigned last counts by both of its keys, and by who is late."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from medchain.ledger.members import COSIGN_ED25519_KEY, COSIGN_MLDSA44_KEY
from medchain.node.roll_call import LATE_S, roll_call
from medchain.ordering.notary import LedgerNotary, log_pen
from tests.consortium import START, cosign_keys, genesis, log_signer

FOUNDED = genesis(3)
ORIGIN = FOUNDED.origin
USES = {COSIGN_ED25519_KEY, COSIGN_MLDSA44_KEY}


def note(size: int, lines: dict[str, int], uses: dict[str, set[str]] | None = None) -> str:
    """Write a checkpoint's note that members have cosigned at such times, some with one key alone."""
    root, found = size.to_bytes(32, "big"), {}
    for name, time in lines.items():
        made = LedgerNotary(ORIGIN, cosign_keys(name)).cosign(size, root, time)
        found |= {key: line for key, line in made.items() if key.use in (uses or {}).get(name, USES)}
    bare = log_pen(log_signer("org-0"), ORIGIN, size, root)
    notary = LedgerNotary(ORIGIN, cosign_keys("org-0"))
    return notary.write(size, root, bare.partition("\n\n")[2], found)


def called(notes: list[str], newest: str | None, now: int, final: int | None = 9) -> list[tuple]:
    """Call the roll; returns name, time, size and whether late, in the order of the answer."""
    store = SimpleNamespace(
        members=FOUNDED.members,
        kept_checkpoints=lambda: [SimpleNamespace(note=text) for text in notes],
        final=lambda: None if final is None else SimpleNamespace(size=final),
    )
    answer = roll_call(store, lambda: newest, ORIGIN, lambda: now)
    assert (answer["final"], answer["time"]) == (final or 0, now)
    return [(row["org_id"], row["time"], row["size"], row["late"]) for row in answer["members"]]


def test_the_newest_line_of_each_counts_whichever_note_has_it():
    notes = [note(9, {"org-0": START + 40, "org-1": START + 41}), note(5, {"org-1": START, "org-2": START + 2})]
    newest = note(12, {"org-0": START + 60})
    assert called(notes, newest, START + 60) == [
        ("org-0", START + 60, 12, False),
        ("org-1", START + 41, 9, False),
        ("org-2", START + 2, 5, False),
    ]


@pytest.mark.parametrize("use", sorted(USES))
def test_a_line_of_one_key_alone_is_none(use):
    notes = [note(9, {"org-0": START + 40}, {"org-0": {use}}), note(5, {"org-0": START})]
    assert ("org-0", START, 5, False) in called(notes, None, START + 40)
    assert ("org-0", None, None, True) in called(notes[:1], None, START + 40)


def test_who_has_cosigned_nothing_for_long_is_late_and_first():
    notes = [note(9, {"org-0": START + LATE_S, "org-2": START - 1, "org-1": START})]
    assert [row[::3] for row in called(notes, None, START + LATE_S)] == [
        ("org-2", True),
        ("org-0", False),
        ("org-1", False),
    ]


def test_nobody_is_late_before_the_first_block():
    assert called([], None, START, final=None) == [(f"org-{number}", None, None, False) for number in range(3)]


def test_a_line_under_a_key_that_the_ledger_no_longer_names_does_not_count():
    root = bytes(32)
    old = LedgerNotary(ORIGIN, cosign_keys("org-0", 2)).cosign(9, root, START)
    bare = log_pen(log_signer("org-0"), ORIGIN, 9, root)
    text = LedgerNotary(ORIGIN, cosign_keys("org-0")).write(9, root, bare.partition("\n\n")[2], old)
    assert ("org-0", None, None, True) in called([text], None, START)
