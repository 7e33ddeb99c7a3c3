"""Whose tree a bundle is of, in the eyes of the checker that is made of x/mod and torchwood, and in ours: both alike.

The rules are ours (`docs/spec/proof-bundle.md` 3), and the checker's few lines of Go were written after that page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from medchain.crypto.signing import Ed25519Signer
from medchain.errors import MedchainError
from medchain.ledger.bundle import verify_bundle
from medchain.ledger.genesis import trusted_policy_text
from medchain.ledger.policy_steps import CHAIN_FILE
from medchain.node.replica import Replica
from medchain.node.trace import export_entry
from medchain.store.engine import FileKind, open_database
from medchain.store.ledger import LedgerStore
from medchain.tlog.checkpoint import parse_checkpoint, sign_checkpoint
from medchain.tlog.note import KeyType, VerifierKey, parse_note
from medchain.tlog.proof import parse_proof
from tests.interop.tools import checked
from tests.unit.medchain.ledger.world import COMMISSION, RENHE, ROLES, genesis, seed
from tests.unit.medchain.node.ledgers import Author, block_of, cosigned, protocol_change, replica_on

pytestmark = pytest.mark.engine

ORIGIN = genesis().origin
WITNESS = VerifierKey("w.example", KeyType.COSIGNATURE_ED25519, Ed25519Signer(b"w" * 32).public)


@pytest.fixture
def author(tmp_path) -> Iterator[Author]:
    """Write on a ledger with a record."""
    store = LedgerStore(open_database(tmp_path / "ledger.db", seed("interop", "file"), kind=FileKind.LEDGER))
    made = Author(replica=replica_on(store, COMMISSION))
    block_of(made.replica, made.anchor())
    final(made.replica)
    yield made
    store.close()


def final(replica: Replica, *signers: str) -> None:
    """Make the newest block final; with the log lines of others beside its own."""
    note = parse_note(cosigned(replica.store.block_of_size(replica.size).checkpoint, *ROLES, time=replica.time))
    lines = [sign_checkpoint(parse_checkpoint(note.text), signer_of(name)).signatures[0] for name in signers]
    replica.put_note(note.add(lines).to_bytes())


def signer_of(org_id: str) -> Ed25519Signer:
    """Return an organisation's log key."""
    return Ed25519Signer(seed(org_id, "log", 1))


def trusted(author: Author) -> str:
    """Return the policy of the members."""
    return trusted_policy_text(author.members, ORIGIN)


def alone(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Leave out the policy chain, which the checker does not follow."""
    return {name: content for name, content in files.items() if name not in {CHAIN_FILE, "genesis.json"}}


def judged(folder: Path, files: Mapping[str, bytes], policy: str) -> str:
    """Have both judge a bundle; returns why the checker refuses it, empty where it does not."""
    try:
        verify_bundle(files, policy, now=0)
        holds = True
    except MedchainError:
        holds = False
    (folder / "bundle").mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / "bundle" / name).write_bytes(content)
    (folder / "trusted.txt").write_text(policy)
    done = checked("bundle", folder / "trusted.txt", folder / "bundle")
    assert (done.returncode == 0) == holds, done.stderr
    return done.stderr


def test_the_end_of_a_hand_over_is_of_the_new_members_once_the_new_log_has_signed_it(author, tmp_path):
    former = trusted(author)
    block_of(author.replica, protocol_change(author, RENHE))
    final(author.replica)
    files = alone(export_entry(author.replica, 2))
    assert "1/2 policy components satisfied" in judged(tmp_path, files, trusted(author)), "the quorum, and no log"
    final(author.replica, RENHE)
    files = alone(export_entry(author.replica, 2))
    assert judged(tmp_path, files, trusted(author)) == ""
    assert "other members" in judged(tmp_path, files, former)


def test_a_policy_is_of_the_same_members_however_it_is_written_and_whatever_it_asks_for_beside(author, tmp_path):
    files, text = alone(export_entry(author.replica, 2)), trusted(author)
    group = text.split()[-1]
    beside = f"witness w {WITNESS} https://w.example\ngroup both any {group} w\nquorum both\n"
    for other in (text.replace(" ", " \t "), f"# mine\n\n{text}", text.rpartition("quorum")[0] + beside):
        assert judged(tmp_path, files, other) == ""


def test_a_policy_of_others_or_of_nobody_is_refused(author, tmp_path):
    files, text = alone(export_entry(author.replica, 2)), trusted(author)
    name = text.split()[-1].partition("@")[2]
    assert "other members" in judged(tmp_path, files, text.replace(name, "07" * 32))
    for other in ("members", f"consortium@{name[:-1]}", f"consortium@{name.upper()}"):
        assert "names no members" in judged(tmp_path, files, text.replace(f"consortium@{name}", other))
    # Fewer of them are other ones, though their quorum is there.
    fewer = text.replace(f"{name} 4", f"{name} 3")
    assert fewer != text
    assert "other members" in judged(tmp_path, files, fewer)


def test_a_state_that_does_not_end_the_tree_of_the_entry_is_refused(author, tmp_path):
    files = alone(export_entry(author.replica, 2))
    block_of(author.replica, author.anchor())
    final(author.replica)
    later = alone(export_entry(author.replica, 2))
    mixed = files | {name: content for name, content in later.items() if name.startswith("state.")}
    assert "end the tree" in judged(tmp_path, mixed, trusted(author))
    assert parse_proof(later["entry.tlog-proof"]).checkpoint != parse_proof(files["entry.tlog-proof"]).checkpoint
