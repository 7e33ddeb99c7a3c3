"""A witness of one's own: what it cosigns, what logs, clocks, disks and strangers can do to it, and its folder."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from medchain.crypto.signing import Ed25519Signer
from medchain.errors import ConflictError, InputError, MedchainError, NotFoundError, UnavailableError, VerificationError
from medchain.node import witnessing
from medchain.node.witness_file import log_lines, parse_witnesses
from medchain.node.witnessing import (
    MAX_EVIDENCE,
    Cosigned,
    Witness,
    WitnessLayout,
    create_witness,
    open_witness,
    read_evidence,
    read_identity,
    read_seen,
    trust_logs,
)
from medchain.tlog.checkpoint import Checkpoint, cosign, parse_checkpoint, sign_checkpoint, verify_cosignature
from medchain.tlog.note import KeyType, Note, Signature, VerifierKey, parse_note
from medchain.tlog.policy import Policy
from medchain.tlog.witness import AddCheckpointRequest, Conflict, Refused, WitnessState, split_view
from tests.power import Promise, cuts
from tests.unit.medchain.ledger.world import TIME
from tests.unit.medchain.node.test_witnesses import LOG, ORIGIN, GrownLog, Now
from tests.unit.medchain.store.faults import room_for
from tests.waiting import PATIENCE_S

URL = "https://witness.example"
HEIR, STRANGER = Ed25519Signer(b"h" * 32), Ed25519Signer(b"s" * 32)
LOG_KEY = VerifierKey(ORIGIN, KeyType.ED25519, LOG.public)
HEIR_KEY = VerifierKey(ORIGIN, KeyType.ED25519, HEIR.public)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Make a witness that trusts one log."""
    create_witness(tmp_path / "w", URL, "witness.example", [LOG_KEY], None)
    return tmp_path / "w"


@pytest.fixture
def clock() -> Now:
    return Now()


@pytest.fixture
def log() -> GrownLog:
    return GrownLog()


@contextmanager
def opened(folder: Path, clock: Now) -> Iterator[Witness]:
    with open_witness(folder, None, clock) as witness:
        yield witness


@pytest.fixture
def witness(folder, clock) -> Iterator[Witness]:
    with opened(folder, clock) as made:
        yield made


def shown(log: GrownLog, old: int = 0, signer: Ed25519Signer = LOG, head: Checkpoint | None = None) -> bytes:
    """Write the request in which a log shows its newest checkpoint, or another one with the same proof."""
    proof = log.prove_growth(old) if old else ()
    return AddCheckpointRequest(old, proof, sign_checkpoint(head or log.head, signer).to_bytes()).to_bytes()


def forked(log: GrownLog, size: int) -> GrownLog:
    """Have a log that differs in its last leaf, of this size."""
    other = GrownLog([*log.leaves[: size - 1], b"another one"])
    other.ends.append(size)
    return other


def times(answer: object, witness: Witness, checkpoint: Checkpoint) -> set[int]:
    """Verify the lines of an answer under the two keys; returns their times."""
    assert isinstance(answer, Cosigned)
    pairs = zip(witness.identity.keys, answer.lines, strict=True)
    return {verify_cosignature(checkpoint, key, line) for key, line in pairs}


def test_a_log_that_grows_is_cosigned_with_both_keys_and_what_was_cosigned_is_on_the_disk(witness, folder, log, clock):
    first = log.grow()
    assert times(witness.answer(shown(log)), witness, log.head) == {clock.time}
    clock.time += 7
    log.grow(5)
    assert times(witness.answer(shown(log, first)), witness, log.head) == {clock.time}
    seen = read_seen(folder, ORIGIN, witness.identity.keys)
    assert (seen.checkpoint, seen.time) == (log.head, clock.time)
    # It is a signed checkpoint that any tool of C2SP reads, by the log and by the witness.
    key, own = str(LOG_KEY), witness.identity.keys
    policy = f"log {key}\nwitness a {own[0]}\nwitness b {own[1]}\ngroup w all a b\nquorum w\n"
    verified = Policy.parse(policy.encode()).check(WitnessLayout(folder).seen(ORIGIN).read_bytes())
    assert verified.checkpoint == log.head


def test_lines_of_members_and_strangers_beside_the_logs_own_are_neither_judged_nor_kept(witness, folder, log):
    log.grow()
    note = parse_note(log.final().note.encode())
    own = witness.identity.keys[0]
    # One that says it is the witness's own, and one of the log's name under a key that nobody has named.
    false = [Signature(own.name, own.key_id, bytes(72)), *sign_checkpoint(log.head, STRANGER).signatures]
    body = AddCheckpointRequest(0, (), note.add(false).to_bytes()).to_bytes()
    assert isinstance(witness.answer(body), Cosigned)
    kept = parse_note(WitnessLayout(folder).seen(ORIGIN).read_bytes())
    assert [line.key_id for line in kept.signatures] == [LOG_KEY.key_id, *(key.key_id for key in witness.identity.keys)]


@pytest.mark.parametrize("count", [1, 100])
def test_lines_of_the_log_that_are_many_or_repeated_or_of_another_log_bring_no_state_into_disorder(
    folder, log, clock, count
):
    signers = [LOG, *(Ed25519Signer(number.to_bytes(32, "big")) for number in range(1, count))]
    other = VerifierKey("other.example/log", KeyType.ED25519, STRANGER.public)
    trust_logs(folder, [*(VerifierKey(ORIGIN, KeyType.ED25519, signer.public) for signer in signers), other])
    log.grow()
    lines = [sign_checkpoint(log.head, signer).signatures[0] for signer in signers]
    # A line of another log's name is nothing that anybody has verified here.
    lines += [] if count > 1 else [lines[0], Signature(other.name, other.key_id, bytes(64))]
    body = AddCheckpointRequest(0, (), Note(log.head.text(), tuple(lines)).to_bytes()).to_bytes()
    with opened(folder, clock) as witness:
        assert isinstance(witness.answer(body), Cosigned)
        clock.time += 1
        assert isinstance(witness.answer(shown(log, log.head.size)), Cosigned)
        witness.answer(body)
    kept = parse_note(WitnessLayout(folder).seen(ORIGIN).read_bytes())
    assert {line.name for line in kept.signatures} == {ORIGIN, "witness.example"}


def test_a_smaller_checkpoint_is_never_cosigned_whatever_old_size_is_said(witness, log):
    log.grow()
    small = log.head
    first = log.grow(3)
    witness.answer(shown(log))
    for old in (0, small.size):
        body = AddCheckpointRequest(old, (), sign_checkpoint(small, LOG).to_bytes()).to_bytes()
        assert witness.answer(body) == Conflict(first, is_split_view=False)
    lying = AddCheckpointRequest(first, (), sign_checkpoint(small, LOG).to_bytes()).to_bytes()
    assert witness.answer(lying) == Refused(400, "tlog.witness_request")


def test_a_replayed_request_is_a_conflict_once_the_log_has_grown_and_is_cosigned_no_earlier_before(witness, log, clock):
    log.grow()
    first = shown(log)
    witness.answer(first)
    assert witness.answer(first) == Conflict(log.head.size, is_split_view=False)
    clock.time += 5
    # Who has the newest one may have it cosigned anew, with the time of now.
    assert times(witness.answer(shown(log, log.head.size)), witness, log.head) == {clock.time}


def test_the_same_checkpoint_within_a_second_costs_no_second_write(witness, log, monkeypatch):
    log.grow()
    lines = witness.answer(shown(log)).lines
    monkeypatch.setattr(witnessing, "write_private_file", lambda *_words: pytest.fail("it was written again"))
    assert witness.answer(shown(log, log.head.size)).lines == lines


def test_a_fork_at_the_same_size_is_refused_and_both_checkpoints_are_kept_as_the_proof(witness, folder, log):
    size = log.grow(3)
    witness.answer(shown(log))
    other = forked(log, size)
    for old in (0, size):
        assert witness.answer(shown(log, old, head=other.head)) == Conflict(size, is_split_view=True)
    one, two = (path.read_bytes() for path in read_evidence(folder))
    assert split_view(one, two, Policy.parse(f"log {LOG_KEY}\nquorum none\n".encode()))
    assert all(path.name.startswith("split-") for path in read_evidence(folder))
    assert isinstance(witness.answer(shown(log, size)), Cosigned)


def test_a_larger_fork_is_refused_and_kept_as_a_lead(witness, folder, log):
    size = log.grow(3)
    witness.answer(shown(log))
    other = forked(log, size)
    other.grow(2)
    assert witness.answer(shown(other, size)) == Refused(422, "tlog.witness_consistency")
    (lead,) = read_evidence(folder)
    assert parse_checkpoint(parse_note(lead.read_bytes()).text) == other.head
    assert lead.name.startswith("unproven-")


@pytest.mark.parametrize("proof", [(), (bytes(32),), "more", "less"])
def test_a_wrong_proof_is_refused(witness, log, proof):
    size = log.grow(4)
    witness.answer(shown(log))
    log.grow(2)
    right = log.prove_growth(size)
    wrong = {"more": (*right, bytes(32)), "less": right[:-1]}.get(proof, proof)
    body = AddCheckpointRequest(size, wrong, sign_checkpoint(log.head, LOG).to_bytes()).to_bytes()
    assert witness.answer(body) == Refused(422, "tlog.witness_consistency")
    assert isinstance(witness.answer(shown(log, size)), Cosigned)


def test_evidence_is_bounded_and_a_stranger_cannot_crowd_out_the_proof_of_a_fork(witness, folder, log):
    """Anybody can send genuine checkpoints without their proofs."""
    size = log.grow()
    witness.answer(shown(log))
    for _ in range(MAX_EVIDENCE + 2):
        log.grow(0)
        body = AddCheckpointRequest(size, (bytes(32),), sign_checkpoint(log.head, LOG).to_bytes()).to_bytes()
        assert witness.answer(body).status == 422
    assert len(read_evidence(folder)) == MAX_EVIDENCE
    witness.answer(shown(log, size))
    grown = log.head.size
    assert witness.answer(shown(log, head=replace(log.head, root=bytes(32)))) == Conflict(grown, is_split_view=True)
    assert len([path for path in read_evidence(folder) if path.name.startswith("split-")]) == 2


def test_who_knows_no_key_of_a_trusted_log_gets_nothing_and_leaves_nothing(witness, folder, log):
    log.grow()
    assert witness.answer(shown(log, signer=STRANGER)) == Refused(403, "tlog.witness_signature")
    elsewhere = replace(log.head, origin="other.example/log")
    assert witness.answer(shown(log, head=elsewhere)) == Refused(404, "tlog.witness_log")
    for body in (b"", b"old 0\n\nnothing", b"old -1\n\n" + log.final().note.encode(), b"\xff" * 100):
        assert witness.answer(body) == Refused(400, "tlog.witness_request")
    assert read_evidence(folder) == []
    assert [path.name for path in (folder / "seen").iterdir()] == [WitnessLayout(folder).seen(ORIGIN).name]
    assert read_seen(folder, ORIGIN, witness.identity.keys).checkpoint.size == 0


def test_each_log_has_its_own_state(folder, clock, log):
    other_key = VerifierKey("other.example/log", KeyType.ED25519, STRANGER.public)
    trust_logs(folder, [LOG_KEY, other_key])
    log.grow(6)
    small = Checkpoint("other.example/log", 2, bytes(32))
    with opened(folder, clock) as witness:
        witness.answer(shown(log))
        assert isinstance(witness.answer(shown(log, signer=STRANGER, head=small)), Cosigned)
        # The key of one says nothing for the other.
        assert witness.answer(shown(log, log.head.size, signer=STRANGER)).status == 403
    assert read_seen(folder, ORIGIN, witness.identity.keys).checkpoint == log.head


def test_of_many_at_once_no_two_views_are_cosigned(witness, log):
    """Two histories from one size, both signed by the log, each shown by many at the same moment."""
    first = log.grow(3)
    witness.answer(shown(log))
    one, other = GrownLog([*log.leaves, b"one"], [first]), GrownLog([*log.leaves, b"other"], [first])
    start, answers = threading.Barrier(8), []

    def show(mine: GrownLog) -> None:
        body = shown(mine, first)
        start.wait(PATIENCE_S)
        answers.append((mine, witness.answer(body)))

    threads = [threading.Thread(target=show, args=(mine,)) for mine in (one, other) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cosigned = [mine for mine, answer in answers if isinstance(answer, Cosigned)]
    assert len(cosigned) == 1
    split = [answer.is_split_view for mine, answer in answers if mine is not cosigned[0]]
    assert split == [True] * 4


def test_a_clock_that_is_behind_what_was_signed_signs_nothing(witness, folder, log, clock):
    size = log.grow()
    witness.answer(shown(log))
    clock.time -= 1
    log.grow()
    with pytest.raises(UnavailableError, match=r"witnessing\.clock"):
        witness.answer(shown(log, size))
    clock.time -= 86400
    with pytest.raises(UnavailableError) as caught:
        witness.answer(shown(log, size))
    assert caught.value.retry_after_s == 600
    assert read_seen(folder, ORIGIN, witness.identity.keys).checkpoint.size == size
    clock.time += 86401
    assert isinstance(witness.answer(shown(log, size)), Cosigned)


def test_the_clock_is_held_to_what_was_signed_before_a_restart_too(folder, log, clock):
    log.grow()
    with opened(folder, clock) as witness:
        witness.answer(shown(log))
    clock.time -= 1
    with opened(folder, clock) as witness, pytest.raises(UnavailableError, match=r"witnessing\.clock"):
        witness.answer(shown(log, log.head.size))


def test_a_disk_that_is_full_lets_no_line_out_and_goes_on_when_there_is_room(witness, folder, log):
    size = log.grow()
    witness.answer(shown(log))
    log.grow()
    with room_for(100), pytest.raises(UnavailableError, match=r"witnessing\.disk"):
        witness.answer(shown(log, size))
    assert read_seen(folder, ORIGIN, witness.identity.keys).checkpoint.size == size
    assert isinstance(witness.answer(shown(log, size)), Cosigned)


def test_a_write_that_failed_but_was_kept_is_where_the_witness_is(witness, log, monkeypatch):
    size = log.grow()
    witness.answer(shown(log))
    log.grow()
    write = witnessing.write_private_file

    def fail_late(path: Path, content: bytes) -> None:
        write(path, content)
        raise OSError("the folder could not be synced")

    with monkeypatch.context() as patch:
        patch.setattr(witnessing, "write_private_file", fail_late)
        with pytest.raises(UnavailableError, match=r"witnessing\.disk"):
            witness.answer(shown(log, size))
    assert witness.answer(shown(log, size)) == Conflict(log.head.size, is_split_view=False)
    # Within the same second, too: what could not be synced is written again before a line of it goes out.
    with monkeypatch.context() as patch:
        patch.setattr(witnessing, "write_private_file", fail_late)
        with pytest.raises(UnavailableError, match=r"witnessing\.disk"):
            witness.answer(shown(log, log.head.size))
    assert isinstance(witness.answer(shown(log, log.head.size)), Cosigned)


def test_a_disk_without_room_for_evidence_costs_no_answer(witness, folder, log):
    size = log.grow(3)
    witness.answer(shown(log))
    with room_for(10):
        other = shown(log, size, head=forked(log, size).head)
        assert witness.answer(other) == Conflict(size, is_split_view=True)
    assert read_evidence(folder) == []


def grow_and_tell(folder: Path, promise: Promise) -> None:
    """Have a log cosigned as it grows; tell each size once a line of it is out."""
    create_witness(folder / "w", URL, "witness.example", [LOG_KEY], None)
    log, clock, old = GrownLog(), Now(), 0
    with opened(folder / "w", clock) as witness:
        promise("0")
        for _ in range(4):
            clock.time += 1
            log.grow()
            assert isinstance(witness.answer(shown(log, old)), Cosigned)
            old = log.head.size
            promise(str(old))


def test_what_was_cosigned_is_never_forgotten_whenever_the_power_fails(tmp_path):
    for cut in cuts(tmp_path, grow_and_tell):
        if not cut.promised:
            # It was not made yet: nothing has been said, and nothing is a witness.
            continue
        said, clock, log = int(cut.promised[-1]), Now(TIME + 1000), GrownLog()
        with opened(cut.folder / "w", clock) as witness:
            kept = read_seen(cut.folder / "w", ORIGIN, witness.identity.keys).checkpoint.size
            # What was written and not answered yet counts as well: nobody has a line for another root there.
            assert kept in (said, said + 2), cut.name
            while len(log.leaves) < kept + 2:
                log.grow()
            assert isinstance(witness.answer(shown(log, kept)), Cosigned), cut.name


def test_who_was_killed_between_the_disk_and_the_answer_says_where_it_is(folder, log, clock, monkeypatch):
    size = log.grow()
    with opened(folder, clock) as witness:
        witness.answer(shown(log))
        log.grow()
        write = witnessing.write_private_file

        def die(path: Path, content: bytes) -> None:
            write(path, content)
            raise SystemExit

        with monkeypatch.context() as patch, suppress(SystemExit):
            patch.setattr(witnessing, "write_private_file", die)
            witness.answer(shown(log, size))
    with opened(folder, clock) as witness:
        other = forked(log, log.head.size)
        other.ends.append(size)
        assert witness.answer(shown(log, size)) == Conflict(log.head.size, is_split_view=False)
        assert witness.answer(shown(other, size)) == Conflict(log.head.size, is_split_view=True)
        assert isinstance(witness.answer(shown(log, log.head.size)), Cosigned)


def damaged(content: bytes) -> dict[str, bytes | None]:
    """Give a state as a disk, or somebody without the witness's keys, could leave it."""
    lines = content.split(b"\n")
    head = Checkpoint(ORIGIN, 9, bytes(32))
    forged = sign_checkpoint(head, LOG).add([cosign(head, "witness.example", STRANGER, TIME)]).to_bytes()
    return {
        "gone": None,
        "empty": b"",
        "cut": content[: len(content) // 2],
        "cut behind the text": b"\n".join(lines[:3]) + b"\n",
        "without the last line": b"\n".join(lines[:-2]) + b"\n",
        "a flipped bit": content[:60] + bytes([content[60] ^ 1]) + content[61:],
        "signed by the log alone": sign_checkpoint(head, LOG).to_bytes(),
        "signed by others": forged,
        "too long": content + b"\n" * 70_000,
    }


@pytest.mark.parametrize("how", damaged(b"\n" * 99))
def test_a_state_that_is_not_what_the_witness_wrote_is_never_begun_anew(folder, log, clock, how):
    size = log.grow()
    path = WitnessLayout(folder).seen(ORIGIN)
    with opened(folder, clock) as witness:
        witness.answer(shown(log))
        content = damaged(path.read_bytes())[how]
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        for old in (0, size):
            with pytest.raises(UnavailableError, match=r"witnessing\.state"):
                witness.answer(shown(log, old))
    with pytest.raises(VerificationError, match=r"witnessing\.state"), opened(folder, clock):
        pytest.fail("it was opened")
    if content is None:
        with pytest.raises(VerificationError, match=r"witnessing\.state"):
            trust_logs(folder, [LOG_KEY])
        assert not path.exists()


def test_where_the_list_of_logs_is_gone_as_well_no_log_is_begun_anew(folder, log, clock):
    layout, size = WitnessLayout(folder), log.grow()
    with opened(folder, clock) as witness:
        witness.answer(shown(log))
    layout.logs.unlink()
    trust_logs(folder, [LOG_KEY])
    with opened(folder, clock) as witness:
        assert witness.answer(shown(log)) == Conflict(size, is_split_view=False)
    layout.logs.unlink()
    layout.seen(ORIGIN).unlink()
    with pytest.raises(VerificationError, match=r"witnessing\.state"):
        trust_logs(folder, [LOG_KEY])
    assert not layout.seen(ORIGIN).exists()
    assert not layout.logs.exists()


def test_a_state_that_is_put_back_while_the_witness_runs_is_noticed(witness, folder, log, clock):
    path, empty = WitnessLayout(folder).seen(ORIGIN), WitnessLayout(folder).seen(ORIGIN).read_bytes()
    size = log.grow()
    witness.answer(shown(log))
    old = path.read_bytes()
    log.grow()
    clock.time += 1
    witness.answer(shown(log, size))
    newest = path.read_bytes()
    for content in (empty, old):
        path.write_bytes(content)
        with pytest.raises(UnavailableError, match=r"witnessing\.state"):
            witness.answer(shown(log, 0 if content == empty else size))
    path.write_bytes(newest)
    assert isinstance(witness.answer(shown(log, log.head.size)), Cosigned)


def test_a_state_of_another_log_or_another_witness_is_refused(folder, tmp_path, log, clock):
    create_witness(tmp_path / "v", URL, "other.example", [LOG_KEY], None)
    log.grow()
    for other in (folder, tmp_path / "v"):
        with opened(other, clock) as witness:
            witness.answer(shown(log))
    mine, path = read_identity(folder).keys, WitnessLayout(folder).seen(ORIGIN)
    path.write_bytes(WitnessLayout(tmp_path / "v").seen(ORIGIN).read_bytes())
    with pytest.raises(VerificationError, match=r"witnessing\.state"):
        read_seen(folder, ORIGIN, mine)
    elsewhere = Checkpoint("other.example/log", 3, bytes(32))
    WitnessLayout(tmp_path / "v").seen(elsewhere.origin).write_bytes(path.read_bytes())
    with pytest.raises(VerificationError, match=r"witnessing\.state"):
        read_seen(tmp_path / "v", elsewhere.origin, read_identity(tmp_path / "v").keys)


def test_two_processes_do_not_cosign_from_one_folder(folder, clock):
    with opened(folder, clock), pytest.raises(ConflictError, match=r"witnessing\.running"), opened(folder, clock):
        pytest.fail("a second one got in")
    with opened(folder, clock):
        """It can be opened again once it was closed."""


def test_after_a_hand_over_the_new_log_key_goes_on_where_the_old_one_was(witness, folder, log):
    size = log.grow()
    witness.answer(shown(log))
    log.grow()
    assert witness.answer(shown(log, size, signer=HEIR)).status == 403
    trust_logs(folder, [LOG_KEY, HEIR_KEY])
    # No restart; and no fork by it either.
    fork = shown(log, size, signer=HEIR, head=forked(log, size).head)
    assert witness.answer(fork) == Conflict(size, is_split_view=True)
    assert isinstance(witness.answer(shown(log, size, signer=HEIR)), Cosigned)
    trust_logs(folder, [HEIR_KEY])
    assert witness.answer(shown(log, log.head.size)).status == 403


def test_a_log_that_is_trusted_no_more_is_refused_and_begins_where_it_was_when_it_is_again(witness, folder, log):
    size = log.grow()
    witness.answer(shown(log))
    trust_logs(folder, [])
    assert witness.answer(shown(log, size)).status == 404
    trust_logs(folder, [LOG_KEY])
    assert witness.answer(shown(log)) == Conflict(size, is_split_view=False)


def test_a_list_of_logs_that_cannot_be_read_stops_all_and_says_nothing_of_the_log(witness, folder, log):
    log.grow()
    for content in (b"log nothing\n", b"\xff", None):
        WitnessLayout(folder).logs.unlink()
        if content is not None:
            WitnessLayout(folder).logs.write_bytes(content)
        with pytest.raises(UnavailableError, match=r"witnessing\.logs"):
            witness.answer(shown(log))
        WitnessLayout(folder).logs.write_text(log_lines([LOG_KEY]))
    assert isinstance(witness.answer(shown(log)), Cosigned)


def test_two_commands_do_not_change_what_is_trusted_at_once(folder):
    with WitnessLayout(folder).trust_lock(), pytest.raises(ConflictError, match=r"witnessing\.busy"):
        trust_logs(folder, [HEIR_KEY])


def test_a_folder_is_its_owners_alone_and_tells_nodes_what_they_need(folder):
    modes = {path.name: path.stat().st_mode & 0o777 for path in [folder, *folder.rglob("*")] if path.name != "lock"}
    assert {mode for name, mode in modes.items() if (folder / name).is_file()} == {0o600}
    assert modes["w"] == 0o700
    identity = read_identity(folder)
    (outside,) = parse_witnesses("\n".join(identity.lines()).encode())
    assert (outside.url, outside.keys) == (URL, identity.keys)
    assert [key.type for key in identity.keys] == [KeyType.COSIGNATURE_ED25519, KeyType.COSIGNATURE_MLDSA44]


def test_keys_are_new_in_each_folder_and_the_same_in_each_start(tmp_path, folder, clock):
    other = create_witness(tmp_path / "other", URL, "witness.example", [LOG_KEY], None)
    assert not {key.public for key in other.keys} & {key.public for key in read_identity(folder).keys}
    with opened(folder, clock) as one:
        first = one.identity
    with opened(folder, clock) as two:
        assert two.identity == first == read_identity(folder)


def test_a_sealed_root_key_opens_with_its_passphrase_alone(tmp_path, clock):
    identity = create_witness(tmp_path / "w", URL, "w.example", [LOG_KEY], "correct horse battery")
    assert identity.is_sealed
    assert read_identity(tmp_path / "w").is_sealed
    with open_witness(tmp_path / "w", "correct horse battery", clock) as witness:
        assert witness.identity == identity
    for wrong in ("correct horse battery!", None):
        with pytest.raises(MedchainError, match=r"passphrase\.|keys\."), open_witness(tmp_path / "w", wrong, clock):
            pytest.fail("it was opened")


def test_a_root_key_that_others_can_read_or_that_is_anothers_is_refused(folder, tmp_path, clock):
    create_witness(tmp_path / "other", URL, "witness.example", [LOG_KEY], None)
    key = WitnessLayout(folder).root_key
    key.chmod(0o644)
    with pytest.raises(InputError, match=r"keystore\.open_key"), opened(folder, clock):
        pytest.fail("it was opened")
    key.write_bytes(WitnessLayout(tmp_path / "other").root_key.read_bytes())
    key.chmod(0o600)
    with pytest.raises(VerificationError, match=r"witnessing\.keys"), opened(folder, clock):
        pytest.fail("it was opened")


def test_a_witness_is_not_made_over_another_one_nor_with_what_nodes_refuse(folder, tmp_path):
    with pytest.raises(ConflictError, match=r"keystore\.exists"):
        create_witness(folder, URL, "witness.example", [LOG_KEY], None)
    with pytest.raises(InputError, match=r"tlog\.key_name"):
        create_witness(tmp_path / "n", URL, "a name", [LOG_KEY], None)
    for url in ("witness.example", "ftp://witness.example", "https://w.example/?q"):
        with pytest.raises(InputError, match=r"witnessing\.url"):
            create_witness(tmp_path / "n", url, "name", [LOG_KEY], None)
    assert not (tmp_path / "n").exists()


def test_a_folder_that_is_no_witnesss_or_is_damaged_is_refused(folder, tmp_path, clock):
    with pytest.raises(NotFoundError, match=r"witnessing\.missing"), opened(tmp_path, clock):
        pytest.fail("it was opened")
    identity = WitnessLayout(folder).identity
    identity.write_bytes(identity.read_bytes().replace(b"https:", b"httpx:"))
    with pytest.raises(InputError, match=r"file\.changed"):
        read_identity(folder)


def test_the_state_that_the_rules_are_told_is_that_of_the_checkpoint(folder):
    seen = read_seen(folder, ORIGIN, read_identity(folder).keys)
    assert (seen.state, seen.time, seen.lines) == (WitnessState.initial(), 0, ())
