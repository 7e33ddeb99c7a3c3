"""The policy chain leads on from every policy that somebody may trust, whatever members do, and from nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from hashlib import sha256

import pytest

from medchain.crypto.signing import Ed25519Signer
from medchain.encoding import base64_text, canonical, unbase64
from medchain.errors import InputError, MedchainError, VerificationError
from medchain.ledger.bundle import Verdict, answer_document, verify_bundle
from medchain.ledger.genesis import cosigner_name, set_digest, trusted_policy_text
from medchain.ledger.members import ProtocolRules, organisation_content, protocol_content
from medchain.ledger.policy_steps import CHAIN_FILE, PolicyStep, members_changed, read_chain, write_chain
from medchain.ledger.transaction import Change, Envelope, Transaction, parse_envelope
from medchain.node import policy_steps
from medchain.node.replica import Replica
from medchain.node.trace import export_entry
from medchain.store.engine import FileKind
from medchain.store.ledger import LedgerStore
from medchain.tlog.checkpoint import sign_checkpoint
from medchain.tlog.note import KeyType, VerifierKey
from medchain.tlog.proof import format_proof
from tests.unit.medchain.ledger import world as consortium
from tests.unit.medchain.ledger.world import ANXIN, COMMISSION, RENHE, ROLES, TAIPING, TONGJI, fresh, genesis, key, sign
from tests.unit.medchain.node.ledgers import Author, block_of, pen, replica_on
from tests.unit.medchain.node.test_trace import ORIGIN, finalise, policy, stoppable
from tests.unit.medchain.store.conftest import Opener

ALL = tuple(sorted(ROLES))
OTHERS = tuple(org_id for org_id in ALL if org_id != RENHE)


@pytest.fixture
def author(store_engine: Opener) -> Iterator[Author]:
    """Write on a ledger that has three final records."""
    store = LedgerStore(store_engine(FileKind.LEDGER))
    made = Author(replica=replica_on(store, COMMISSION))
    block_of(made.replica, made.anchor())
    finalise(made.replica, cosigners=ALL)
    yield made
    store.close()


def exchanged(author: Author, org_id: str, generation: int = 2, use: str = "cosign-ed25519") -> Envelope:
    """Make the entry by which an organisation exchanges one of its keys."""
    before = author.members.organisations[org_id]
    old, new = before.key(use), key(org_id, use, generation)
    keys = tuple(sorted((*(one for one in before.keys if one != old), new), key=lambda one: one.id))
    proofs = {new.id: base64_text(consortium.prove(genesis().ledger, new, generation))}
    return sign(
        author.public(org_id, ("organisation", organisation_content(replace(before, keys=keys), proofs)), until=None)
    )


def moved(author: Author, org_id: str, number: int) -> Envelope:
    """Make the entry by which an organisation changes its address."""
    other = replace(author.members.organisations[org_id], url=f"https://n{number}.example")
    return sign(author.public(org_id, ("organisation", organisation_content(other)), until=None))


def ruled(author: Author, orderer: str, quorum: int = 4) -> Envelope:
    """Make the entry by which the members agree on who orders, and on k."""
    content = protocol_content(ProtocolRules(orderer, quorum, 1))
    voters = [org_id for org_id in ALL if org_id != COMMISSION]
    return sign(author.public(COMMISSION, ("protocol", content), signers=voters, until=None))


def anchored(author: Author, *cosigners: str, generations: Mapping[str, int] | None = None) -> None:
    """Add a block with a record, which these make final."""
    block_of(author.replica, author.anchor())
    finalise(author.replica, cosigners=cosigners or ALL, generations=generations)


def now_trusted(author: Author) -> str:
    return trusted_policy_text(author.members, ORIGIN)


def verify(files: Mapping[str, bytes], trusted: str, author: Author) -> Verdict:
    return verify_bundle(files, trusted, now=author.replica.time)


def changes_of(files: Mapping[str, bytes]) -> list[int]:
    """Count the changes in each step."""
    return [len(step.changes) for step in read_chain(files[CHAIN_FILE])]


def with_steps(files: Mapping[str, bytes], steps: list[PolicyStep]) -> dict[str, bytes]:
    return {**files, CHAIN_FILE: write_chain(steps)}


@pytest.mark.parametrize("cosigners", [ALL, (RENHE, TONGJI, ANXIN, COMMISSION)])
def test_two_members_that_exchange_keys_in_one_block_end_nobodys_proofs(
    author: Author, cosigners: tuple[str, ...]
) -> None:
    """Also where another one is down from then on."""
    generations = {RENHE: 2, TONGJI: 2}
    block_of(author.replica, exchanged(author, RENHE), exchanged(author, TONGJI))
    finalise(author.replica, cosigners=ALL)
    finalise(author.replica, cosigners=ALL, generations=generations)
    anchored(author, *cosigners, generations=generations)
    files = export_entry(author.replica, 1)
    assert changes_of(files) == [2]
    for trusted in (policy(), now_trusted(author)):
        assert verify(files, trusted, author).answer == "entry"


def test_two_updates_by_one_member_in_one_block_are_one_change(author: Author) -> None:
    first = exchanged(author, RENHE)
    again = sign(replace_key_after(author, first))
    block_of(author.replica, first, again)
    finalise(author.replica, cosigners=OTHERS)
    files = export_entry(author.replica, 1)
    assert read_chain(files[CHAIN_FILE])[0].changes[0].entry == again.leaf
    for trusted in (policy(), now_trusted(author)):
        assert verify(files, trusted, author).answer == "entry"


def replace_key_after(author: Author, first: Envelope) -> Transaction:
    """Make the update that follows on one that is not ordered yet."""
    version = 1 + first.transaction.changes[0].objects[0].version
    before = author.members.organisations[RENHE]
    use, new = "cosign-mldsa44", key(RENHE, "cosign-mldsa44", 2)
    keys = [one for one in before.keys if one.use not in (use, "cosign-ed25519")]
    keys += [key(RENHE, "cosign-ed25519", 2), new]
    changed = replace(before, keys=tuple(sorted(keys, key=lambda one: one.id)))
    proofs = {new.id: base64_text(consortium.prove(genesis().ledger, new, 2))}
    made = author.public(RENHE, ("organisation", organisation_content(changed, proofs)), until=None)
    row = made.changes[0].objects[0]._replace(version=version)
    return replace(made, changes=(replace(made.changes[0], objects=(row,)),))


def test_an_own_update_in_the_block_of_a_hand_over_ends_nobodys_proofs(author: Author) -> None:
    block_of(author.replica, exchanged(author, ANXIN), ruled(author, RENHE))
    finalise(author.replica, cosigners=ALL)
    finalise(author.replica, cosigners=ALL, generations={ANXIN: 2})
    author.replica = Replica(author.replica.store, pen=pen(RENHE))
    anchored(author, generations={ANXIN: 2})
    files = export_entry(author.replica, 1)
    for trusted in (policy(), now_trusted(author)):
        assert verify(files, trusted, author).answer == "entry"


def test_a_member_that_exchanges_its_key_without_end_makes_no_further_step(author: Author) -> None:
    """More often than the first format had room for; whoever trusts a policy between goes on from there as well."""
    trusted = [policy()]
    for generation in range(2, 103):
        block_of(author.replica, exchanged(author, RENHE, generation))
        trusted.append(now_trusted(author))
    finalise(author.replica, cosigners=OTHERS)
    files = export_entry(author.replica, 1)
    assert changes_of(files) == [101]
    for known in (trusted[0], trusted[50], trusted[-1]):
        assert verify(files, known, author).answer == "entry"


def test_keys_of_many_members_take_a_step_only_where_too_few_are_left(author: Author) -> None:
    trusted, generations = [policy()], dict[str, int]()
    for org_id in (RENHE, ANXIN, TONGJI, TAIPING):
        block_of(author.replica, exchanged(author, org_id))
        finalise(author.replica, cosigners=ALL, generations=generations)
        generations[org_id] = 2
        finalise(author.replica, cosigners=ALL, generations=generations)
        trusted.append(now_trusted(author))
    anchored(author, generations=generations)
    files = export_entry(author.replica, 1)
    # Each checkpoint has both keys of one that exchanges, so it also leads from the policy before that one.
    assert changes_of(files) == [2, 2]
    for known in trusted:
        assert verify(files, known, author).answer == "entry"


def test_what_the_quorum_before_never_cosigned_is_no_way_on_until_it_does(author: Author) -> None:
    block_of(author.replica, exchanged(author, RENHE))
    anchored(author, RENHE, TONGJI, ANXIN, COMMISSION, generations={RENHE: 2})
    files = export_entry(author.replica, 1)
    assert verify(files, now_trusted(author), author).answer == "entry"
    with pytest.raises(VerificationError, match=r"tlog\.quorum"):
        verify(files, policy(), author)
    anchored(author, generations={RENHE: 2})
    assert verify(export_entry(author.replica, 1), policy(), author).answer == "entry"


def test_policies_that_were_never_final_by_themselves_cut_nobody_off(author: Author) -> None:
    """Nodes count a member's later key for its earlier one; a step asks for the very keys of who is led on by it."""
    trusted, generations = [policy()], {RENHE: 2, TONGJI: 2}
    block_of(author.replica, exchanged(author, RENHE), exchanged(author, TONGJI))
    finalise(author.replica, cosigners=ALL)
    finalise(author.replica, cosigners=ALL, generations=generations)
    trusted.append(now_trusted(author))
    for generation in (3, 4):
        block_of(author.replica, exchanged(author, RENHE, generation), exchanged(author, TONGJI, generation))
    block_of(author.replica, exchanged(author, ANXIN))
    finalise(author.replica, cosigners=ALL, generations=generations)
    finalise(author.replica, cosigners=ALL, generations={RENHE: 4, TONGJI: 4, ANXIN: 2})
    trusted.append(now_trusted(author))
    files = export_entry(author.replica, 1)
    assert changes_of(files) == [2, 5]
    for known in trusted:
        assert verify(files, known, author).answer == "entry"


def test_a_key_that_stands_in_no_policy_yet_is_known_when_it_does(author: Author) -> None:
    """Who does not order exchanges its log key: no change of the policy, until it orders."""
    block_of(author.replica, exchanged(author, RENHE, 2, "log"))
    anchored(author)
    assert CHAIN_FILE not in export_entry(author.replica, 1)
    block_of(author.replica, ruled(author, RENHE))
    finalise(author.replica, cosigners=ALL)
    new_pen = partial(sign_checkpoint, signer=Ed25519Signer(consortium.seed(RENHE, "log", 2)))
    author.replica = Replica(author.replica.store, pen=new_pen)
    anchored(author)
    files = export_entry(author.replica, 1)
    for trusted in (policy(), now_trusted(author)):
        assert verify(files, trusted, author).answer == "entry"


def test_addresses_are_no_steps_and_are_looked_at_once(author: Author, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        block_of(author.replica, moved(author, RENHE, number))
    finalise(author.replica, cosigners=OTHERS)
    assert CHAIN_FILE not in export_entry(author.replica, 1)
    block_of(author.replica, exchanged(author, RENHE))
    finalise(author.replica, cosigners=OTHERS)
    seen: list[object] = []
    looked, made = LedgerStore.policies, policy_steps.PolicySteps._make
    monkeypatch.setattr(LedgerStore, "policies", lambda *args: (seen.append(row) or row for row in looked(*args)))
    monkeypatch.setattr(policy_steps.PolicySteps, "_make", lambda *args: seen.append("made") or made(*args))
    first = export_entry(author.replica, 1)
    assert len(seen) == 2
    anchored(author, *OTHERS)
    again = export_entry(author.replica, 1)
    assert len(seen) == 2
    assert (changes_of(first), again[CHAIN_FILE]) == ([1], first[CHAIN_FILE])


class TestBudget:
    """Of more changes than a bundle should carry, those are left out that others have made needless."""

    @pytest.fixture(autouse=True)
    def none_left(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(policy_steps, "CHAIN_BUDGET_BYTES", 0)

    def test_what_a_member_made_needless_is_left_out(self, author: Author) -> None:
        for generation in (2, 3, 4, 5):
            block_of(author.replica, exchanged(author, RENHE, generation))
        block_of(author.replica, ruled(author, COMMISSION, 5))
        block_of(author.replica, ruled(author, COMMISSION, 4))
        finalise(author.replica, cosigners=ALL, generations={RENHE: 5})
        files = export_entry(author.replica, 1)
        assert changes_of(files) == [3]
        for trusted in (policy(), now_trusted(author)):
            assert verify(files, trusted, author).answer == "entry"

    def test_who_signed_is_not(self, author: Author) -> None:
        """The block of a second hand-over is signed by who orders between the two."""
        block_of(author.replica, ruled(author, RENHE))
        author.replica = Replica(author.replica.store, pen=pen(RENHE))
        block_of(author.replica, ruled(author, TONGJI))
        finalise(author.replica, cosigners=ALL)
        author.replica = Replica(author.replica.store, pen=pen(TONGJI))
        anchored(author)
        files = export_entry(author.replica, 1)
        assert changes_of(files) == [2]
        for trusted in (policy(), now_trusted(author)):
            assert verify(files, trusted, author).answer == "entry"


class TestAttack:
    """What a dishonest exporter, with liars among the members, can write."""

    @pytest.fixture
    def honest(self, author: Author) -> dict[str, bytes]:
        """Exchange the keys of two, each with a checkpoint of its own."""
        for org_id in (RENHE, TONGJI):
            block_of(author.replica, exchanged(author, org_id))
            finalise(author.replica, cosigners=ALL, generations={RENHE: 2} if org_id == TONGJI else {})
        anchored(author, generations={RENHE: 2, TONGJI: 2})
        return export_entry(author.replica, 1)

    def test_a_change_that_is_not_in_the_log_is_refused(self, author: Author, honest: dict[str, bytes]) -> None:
        (step,) = read_chain(honest[CHAIN_FILE])
        false = sign(author.public(ANXIN, ("organisation", organisation_content(author.members.organisations[ANXIN]))))
        for position, hashes in ((step.changes[-1].position, step.changes[-1].hashes), (1, ())):
            change = replace(step.changes[-1], entry=false.leaf, position=position, hashes=hashes)
            with pytest.raises(VerificationError, match=r"tlog\.inclusion|bundle\.policy_chain"):
                verify(with_steps(honest, [replace(step, changes=(*step.changes[:-1], change))]), policy(), author)

    def test_changes_in_another_order_or_twice_are_refused(self, author: Author, honest: dict[str, bytes]) -> None:
        (step,) = read_chain(honest[CHAIN_FILE])
        for changes in (step.changes[::-1], (*step.changes, step.changes[-1])):
            with pytest.raises(VerificationError, match=r"bundle\.policy_chain"):
                verify(with_steps(honest, [replace(step, changes=changes)]), policy(), author)
        with pytest.raises(VerificationError, match=r"bundle\.policy_chain"):
            verify(with_steps(honest, [step, step]), policy(), author)

    def test_a_step_without_the_quorum_before_it_is_refused(self, author: Author) -> None:
        """Four new keys would speak for a consortium in which none of them was known."""
        generations = dict.fromkeys((RENHE, TONGJI, ANXIN, TAIPING), 2)
        block_of(author.replica, *(exchanged(author, org_id) for org_id in generations))
        finalise(author.replica, cosigners=ALL)
        finalise(author.replica, cosigners=ALL, generations=generations)
        anchored(author, generations=generations)
        files, final = export_entry(author.replica, 1), author.replica.store.final()
        assert verify(files, policy(), author).answer == "entry"
        assert final is not None
        (step,) = read_chain(files[CHAIN_FILE])
        changes = tuple(
            replace(change, hashes=author.replica.prove_entry(change.position, final.size).hashes)
            for change in step.changes
        )
        with pytest.raises(VerificationError, match=r"tlog\.quorum"):
            verify(with_steps(files, [replace(step, changes=changes, checkpoint=final.note)]), policy(), author)

    def test_a_step_that_the_log_did_not_sign_is_refused(self, author: Author, honest: dict[str, bytes]) -> None:
        """What the log did not sign is no step, nor is one with a false line beside a true one (C2SP signed-note)."""
        (step,) = read_chain(honest[CHAIN_FILE])
        (line,) = (line for line in step.checkpoint.splitlines() if line.startswith(f"— {ORIGIN} "))
        signature = bytearray(unbase64(line.rpartition(" ")[2]))
        signature[-1] ^= 1
        false = f"— {ORIGIN} {base64_text(bytes(signature))}"
        for unsigned in (step.checkpoint.replace(line, false), step.checkpoint.replace(f"{line}\n", "")):
            with pytest.raises(VerificationError, match=r"tlog\.log_signature"):
                verify(with_steps(honest, [replace(step, checkpoint=unsigned)]), policy(), author)
        beside = replace(step, checkpoint=step.checkpoint.replace(line, f"{false}\n{line}"))
        with pytest.raises(VerificationError, match=r"tlog\.signature"):
            verify(with_steps(honest, [beside]), policy(), author)

    def test_a_policy_that_never_was_is_refused_without_its_own_quorum(self, author: Author) -> None:
        """Exchanges of two are kept back: their old keys, of which they may be rid, would count on."""
        generations = {RENHE: 2, TONGJI: 2}
        block_of(author.replica, exchanged(author, RENHE), exchanged(author, TONGJI), exchanged(author, ANXIN))
        finalise(author.replica, cosigners=(COMMISSION, TAIPING, ANXIN, RENHE))
        finalise(author.replica, cosigners=(RENHE, TONGJI), generations=generations)
        finalise(author.replica, cosigners=(ANXIN,), generations={ANXIN: 2})
        files = export_entry(author.replica, 1)
        (step,) = read_chain(files[CHAIN_FILE])
        anxin = cosigner_name(ANXIN, ORIGIN, "cosign-ed25519")
        public = key(ANXIN, "cosign-ed25519", 2).public
        new_line = base64_text(VerifierKey(anxin, KeyType.COSIGNATURE_ED25519, public).key_id)[:4]
        hidden = [change for change in step.changes if b"anxin" in parse_envelope(change.entry).payload]
        lines = step.checkpoint.splitlines(keepends=True)
        without = "".join(line for line in lines if not line.startswith(f"— {anxin} {new_line}"))
        for bundle in (step, replace(step, checkpoint=without)):
            assert verify(with_steps(files, [bundle]), policy(), author).answer == "entry"
        shown = replace(step, changes=tuple(hidden), checkpoint=without)
        with pytest.raises(VerificationError, match=r"bundle\.policy_chain"):
            verify(with_steps(files, [shown]), policy(), author)
        false = set_digest(members_changed(genesis().members, hidden[0].entry, genesis().ledger), ORIGIN)
        with pytest.raises(VerificationError, match=r"tlog\.quorum"):
            verify(with_steps(files, [replace(shown, sets=(false,))]), policy(), author)

    def test_entries_of_no_change_or_of_another_ledger_are_no_steps(
        self, author: Author, honest: dict[str, bytes]
    ) -> None:
        (step,) = read_chain(honest[CHAIN_FILE])
        stop = sign(author.stop(ANXIN, b"\x01" * 32, fresh(32)))
        foreign = sign(author.transaction(RENHE, Change("record", "active", consortium.rows(1)), ledger=b"\x05" * 32))
        for envelope in (stop, foreign):
            change = replace(step.changes[0], entry=envelope.leaf)
            with pytest.raises(VerificationError, match=r"bundle\.policy_chain"):
                verify(with_steps(honest, [replace(step, changes=(change,))]), policy(), author)

    def test_a_stranger_to_the_chain_is_not_led_into_it(self, author: Author, honest: dict[str, bytes]) -> None:
        stranger = policy().replace(" 4 ", " 3 ")
        with pytest.raises(VerificationError, match=r"bundle\.policy_chain"):
            verify(honest, stranger, author)

    def test_other_forms_are_no_chain(self, author: Author, honest: dict[str, bytes]) -> None:
        (step,) = read_chain(honest[CHAIN_FILE])
        folders = {"policies/01/entry.bin": step.changes[0].entry}
        for bundle in (
            {name: content for name, content in honest.items() if name != "genesis.json"},
            honest | folders,
            {name: content for name, content in honest.items() if name != CHAIN_FILE} | folders,
            with_steps(honest, []),
            with_steps(honest, [replace(step, changes=())]),
            with_steps(honest, [replace(step, sets=())]),
            honest | {CHAIN_FILE: honest[CHAIN_FILE].replace(b"chain/v3", b"chain/v2")},
            honest | {CHAIN_FILE: canonical({"steps": [{"changes": [1], "checkpoint": "", "sets": []}], "type": "x"})},
            with_steps(honest, [replace(step, changes=(replace(step.changes[0], hashes=(b"",)),))]),
        ):
            with pytest.raises(InputError, match=r"bundle\.files"):
                verify(bundle, policy(), author)

    def test_every_flipped_byte_of_a_chain_is_refused_or_changes_nothing(
        self, author: Author, honest: dict[str, bytes]
    ) -> None:
        data = honest[CHAIN_FILE]
        for position in range(0, len(data), 997):
            changed = bytearray(data)
            changed[position] ^= 1
            try:
                found = verify({**honest, CHAIN_FILE: bytes(changed)}, policy(), author)
            except MedchainError:
                continue
            assert (found.answer, found.position) == ("entry", 1)


def test_a_change_between_other_entries_of_its_block_is_found(author: Author) -> None:
    stopped = stoppable(author)
    block_of(author.replica, author.anchor(), sign(stopped), exchanged(author, RENHE))
    finalise(author.replica, cosigners=OTHERS)
    files = export_entry(author.replica, 2)
    assert changes_of(files) == [1]
    assert verify(files, policy(), author).answer == "entry"


def test_a_handed_over_orderer_is_a_step(author: Author) -> None:
    block_of(author.replica, ruled(author, RENHE))
    finalise(author.replica)
    author.replica = Replica(author.replica.store, pen=pen(RENHE))
    anchored(author)
    assert verify(export_entry(author.replica, 2), policy(), author).answer == "entry"


def test_a_chain_leads_to_the_log_key_of_who_orders_and_to_no_former_one(author: Author) -> None:
    """A takeover may have dropped what the one before signed, with lines that are a quorum of fewer members since."""
    former = author.replica.store.final()
    assert former is not None
    alone = format_proof(1, author.replica.prove_entry(1, former.size).hashes, former.note.encode())
    block_of(author.replica, ruled(author, RENHE))
    finalise(author.replica)
    author.replica = Replica(author.replica.store, pen=pen(RENHE))
    anchored(author)
    files = export_entry(author.replica, 1)
    for trusted in (policy(), now_trusted(author)):
        with pytest.raises(VerificationError, match=r"tlog\.log_signature"):
            verify(files | {"entry.tlog-proof": alone}, trusted, author)


def test_an_end_with_the_quorum_of_before_alone_is_refused_by_whoever_trusts_which_policy(author: Author) -> None:
    """No node counts it as final, and a takeover may drop it; it names the members whose quorum it lacks."""
    before = policy()
    block_of(author.replica, ruled(author, COMMISSION, 5))
    finalise(author.replica, cosigners=ALL)
    files, known = export_entry(author.replica, 1), verify(export_entry(author.replica, 1), before, author)
    anchored(author, *OTHERS[:4])
    size = author.replica.size
    stored = author.replica.store.checkpoint(size)
    assert stored is not None
    end = format_proof(1, author.replica.prove_entry(1, size).hashes, stored.note.encode())
    state = author.replica.prove_state(size)
    shown = files | {
        "answer.json": answer_document(replace(known, size=size)),
        "entry.tlog-proof": end,
        "state.bin": state.leaf,
        "state.tlog-proof": format_proof(state.position, state.hashes, stored.note.encode()),
    }
    for trusted in (before, now_trusted(author)):
        with pytest.raises(VerificationError, match=r"tlog\.quorum"):
            verify(shown, trusted, author)
    alone = {name: content for name, content in shown.items() if name not in {CHAIN_FILE, "genesis.json"}}
    with pytest.raises(VerificationError, match=r"tlog\.quorum"):
        verify(alone, now_trusted(author), author)
    with pytest.raises(VerificationError, match=r"bundle\.other_policy"):
        verify(alone, before, author)
    # An end that names other members does not stand in for it, nor a chain that was stopped early.
    earlier = {name: files[name] for name in ("state.bin", "state.tlog-proof")}
    with pytest.raises(VerificationError, match=r"tlog\.|bundle\.state"):
        verify(alone | earlier, before, author)


def test_a_bundle_of_now_without_its_chain_is_refused_under_a_policy_of_before(author: Author) -> None:
    """Former members that cosign on, as some must while they leave, would else speak for those of today."""
    before = policy()
    block_of(author.replica, suspended(author, ANXIN, quorum=3))
    finalise(author.replica, cosigners=ALL)
    files = export_entry(author.replica, 1)
    assert verify(files, before, author).answer == "entry"
    alone = {name: content for name, content in files.items() if name not in {CHAIN_FILE, "genesis.json"}}
    assert verify(alone, now_trusted(author), author).answer == "entry"
    with pytest.raises(VerificationError, match=r"bundle\.other_policy"):
        verify(alone, before, author)


def test_a_chain_that_was_stopped_early_is_refused(author: Author) -> None:
    steps = []
    for org_id in (RENHE, TONGJI, ANXIN):
        block_of(author.replica, exchanged(author, org_id))
        finalise(author.replica, cosigners=ALL)
        steps = read_chain(export_entry(author.replica, 1)[CHAIN_FILE])
        finalise(author.replica, cosigners=ALL, generations={org_id: 2})
        if org_id == RENHE:
            stopped = steps
    files = export_entry(author.replica, 1)
    assert verify(files, policy(), author).answer == "entry"
    with pytest.raises(VerificationError, match=r"bundle\.other_policy|tlog\.quorum"):
        verify(with_steps(files, stopped), policy(), author)


def test_a_set_of_members_that_never_was_makes_another_policy_than_the_one_named(author: Author) -> None:
    block_of(author.replica, exchanged(author, RENHE))
    finalise(author.replica, cosigners=ALL)
    files = export_entry(author.replica, 1)
    (step,) = read_chain(files[CHAIN_FILE])
    for sets in ((bytes(32), *step.sets), (step.sets[0], *step.sets)):
        with pytest.raises(VerificationError, match=r"bundle\.other_policy"):
            verify(with_steps(files, [replace(step, sets=sets)]), policy(), author)


def test_changes_that_only_a_later_checkpoint_made_final_are_proven_by_it(author: Author) -> None:
    """A quorum of five, and one who orders since: nobody has cosigned the first change's own end."""
    for orderer in (COMMISSION, RENHE):
        block_of(author.replica, ruled(author, orderer, 5))
    author.replica = Replica(author.replica.store, pen=pen(RENHE))
    anchored(author)
    block_of(author.replica, ruled(author, RENHE))
    finalise(author.replica, cosigners=ALL)
    anchored(author)
    files = export_entry(author.replica, 2)
    assert verify(files, policy(), author).answer == "entry"


def test_a_new_endorsement_policy_changes_no_trusted_policy(author: Author) -> None:
    content = dict(author.members.policy.content)
    voters = [org_id for org_id in ALL if org_id != COMMISSION]
    k5 = protocol_content(ProtocolRules(COMMISSION, 5, 1))
    both = author.public(COMMISSION, ("policy", content), ("protocol", k5), signers=voters, until=None)
    block_of(author.replica, sign(both))
    finalise(author.replica, cosigners=ALL)
    files = export_entry(author.replica, 2)
    assert changes_of(files) == [1]
    assert verify(files, policy(), author).answer == "entry"


def test_changes_after_which_members_and_quorum_do_not_fit_lead_nowhere(author: Author) -> None:
    """No ledger takes them; a chain could leave out the one that lowered the quorum."""
    block_of(author.replica, exchanged(author, RENHE))
    finalise(author.replica, cosigners=ALL)
    files = export_entry(author.replica, 1)
    [step] = read_chain(files[CHAIN_FILE])
    standing = [author.members.organisations[org_id] for org_id in (TONGJI, TAIPING)]
    contents = [("organisation", organisation_content(replace(one, status="suspended"))) for one in standing]
    voters = [org_id for org_id in ALL if org_id != COMMISSION]
    alone = sign(author.public(COMMISSION, *contents, signers=voters, until=None))
    hostile = replace(step, changes=(replace(step.changes[0], entry=alone.leaf),))
    with pytest.raises(VerificationError, match=r"members\.quorum"):
        verify(with_steps(files, [hostile]), policy(), author)
    with pytest.raises(VerificationError, match=r"bundle\.policy_chain"):
        verify(with_steps(files, [hostile]), now_trusted(author), author)


def suspended(author: Author, org_id: str, *, status: str = "suspended", quorum: int = 4) -> Envelope:
    """Make the entry by which the members suspend one of them, or let it in again."""
    content = organisation_content(replace(author.members.organisations[org_id], status=status))
    rules = protocol_content(ProtocolRules(COMMISSION, quorum, 1))
    voters = [one for one in ALL if one not in (COMMISSION, org_id)]
    changes = (("organisation", content), ("protocol", rules))
    return sign(author.public(COMMISSION, *changes, signers=voters, until=None))


class TestAgainTheSame:
    """Members that come back to a set which they were before have another policy than then."""

    @pytest.fixture
    def ledgers(self, author: Author) -> list[tuple[str, dict[str, bytes]]]:
        """Suspend one of five and let it in again; gives the policy of each time, and a bundle of then."""
        found = [(now_trusted(author), export_entry(author.replica, 1))]
        for envelope in (
            lambda: suspended(author, ANXIN, quorum=3),
            lambda: suspended(author, ANXIN, status="active"),
        ):
            block_of(author.replica, envelope())
            finalise(author.replica, cosigners=ALL)
            found.append((now_trusted(author), export_entry(author.replica, 1)))
        return found

    def test_each_policy_has_a_lineage_of_its_own(self, ledgers: list[tuple[str, dict[str, bytes]]]) -> None:
        # docs/spec/genesis.md 6, by hand
        lineage = bytes(32)
        for text, _ in ledgers:
            name = text.split()[-1]
            bare = text.replace(name, "consortium").encode()
            fields = (b"medchain/lineage/v1", lineage, sha256(bare).digest())
            lineage = sha256(b"".join(len(one).to_bytes(8, "big") + one for one in fields)).digest()
            assert name == f"consortium@{lineage.hex()}"
        first, _, last = (text.replace(text.split()[-1], "") for text, _ in ledgers)
        assert first == last

    def test_a_chain_leads_on_from_each_of_them(
        self, author: Author, ledgers: list[tuple[str, dict[str, bytes]]]
    ) -> None:
        files = ledgers[-1][1]
        assert len([one for step in read_chain(files[CHAIN_FILE]) for one in step.sets]) == 2
        for trusted, _ in ledgers:
            assert verify(files, trusted, author).answer == "entry"

    def test_a_chain_of_between_is_none_for_who_trusts_the_members_of_now(
        self, author: Author, ledgers: list[tuple[str, dict[str, bytes]]]
    ) -> None:
        """Those of between, among whom there may be more liars since, would speak for the ledger of today."""
        first, between, now = ledgers
        assert verify(between[1], first[0], author).answer == "entry"
        assert verify(between[1], between[0], author).answer == "entry"
        with pytest.raises(VerificationError, match=r"bundle\.policy_chain"):
            verify(between[1], now[0], author)

    def test_a_lineage_that_was_changed_leads_nowhere(
        self, author: Author, ledgers: list[tuple[str, dict[str, bytes]]]
    ) -> None:
        trusted, files = ledgers[-1]
        steps = read_chain(files[CHAIN_FILE])
        sets = steps[-1].sets
        for false in ((*sets, sets[0]), (bytes(32), *sets), (*sets[:-1], bytes(32))):
            changed = with_steps(files, [*steps[:-1], replace(steps[-1], sets=false)])
            with pytest.raises(VerificationError, match=r"bundle\.policy_chain"):
                verify(changed, trusted, author)


def test_a_policy_without_lineage_has_no_place_in_a_chain(author: Author) -> None:
    block_of(author.replica, exchanged(author, RENHE))
    finalise(author.replica, cosigners=ALL)
    files = export_entry(author.replica, 1)
    name = policy().split()[-1]
    for trusted in (policy().replace(name, "consortium"), policy().replace(name, name[:-1])):
        with pytest.raises(InputError, match=r"policy\.unnamed"):
            verify(files, trusted, author)


def test_who_says_where_log_and_witnesses_are_reached_is_led_on(author: Author) -> None:
    block_of(author.replica, exchanged(author, RENHE))
    finalise(author.replica, cosigners=ALL)
    lines = policy().splitlines()
    reached = [f"{one} https://w.example" if one.startswith(("log ", "witness ")) else one for one in lines]
    known = "".join(line + "\n" for line in reached)
    assert verify(export_entry(author.replica, 1), known, author).answer == "entry"


def test_who_asks_for_a_witness_beside_the_newest_members_is_led_to_them_and_not_on(author: Author) -> None:
    witness = VerifierKey(
        "w.example/w", KeyType.COSIGNATURE_ED25519, Ed25519Signer(consortium.seed("w", "w", 1)).public
    )

    def beside(text: str, more: str) -> str:
        lines = text.splitlines()
        name = lines[-1].split()[1]
        added = [f"witness outside {witness}", f"group both {more} {name} outside", "quorum both"]
        return "".join(line + "\n" for line in (*lines[:-1], *added))

    block_of(author.replica, exchanged(author, RENHE))
    finalise(author.replica, cosigners=ALL)
    files = export_entry(author.replica, 1)
    assert verify(files, beside(now_trusted(author), "any"), author).answer == "entry"
    with pytest.raises(VerificationError, match=r"tlog\.quorum"):
        verify(files, beside(now_trusted(author), "all"), author)
    with pytest.raises(VerificationError, match=r"bundle\.policy_chain"):
        verify(files, beside(policy(), "any"), author)
