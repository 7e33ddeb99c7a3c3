"""Our witness beside torchwood's: both answer the same requests alike, and x/mod and torchwood accept its cosignatures.

What is asked are all cases of C2SP tlog-witness, from one log that both know and one that neither does.
"""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from medchain.tlog.checkpoint import sign_checkpoint
from medchain.tlog.note import Note, Signature, parse_note
from medchain.tlog.witness import AddCheckpointRequest
from tests.interop.tools import accepted, lite_witness, refused
from tests.own_witness import OwnWitness, ask, own_witness
from tests.unit.medchain.node.test_witnesses import ORIGIN, GrownLog
from tests.unit.medchain.node.test_witnessing import HEIR, HEIR_KEY, LOG, LOG_KEY, STRANGER, forked, shown

pytestmark = pytest.mark.engine

Answer = tuple[int, str, bytes]
# C2SP tlog-witness: "If they don't match, the witness MUST respond with a 409" (docs/spec/proof-bundle.md).
DIFFERENT = {"another root of that size": 422}


def asked(url: str, body: bytes) -> Answer:
    """Ask a witness; returns status, and of a conflict the type and the size."""
    status, kind, content = ask(urlsplit(url).port, body)
    return (status, kind, content) if status == HTTPStatus.CONFLICT else (status, "", b"")


@pytest.fixture
def ours(tmp_path) -> Iterator[OwnWitness]:
    (tmp_path / "own").mkdir()
    with own_witness(tmp_path / "own", "witness.example/ours") as running:
        running.trust(ORIGIN, str(LOG_KEY), str(HEIR_KEY))
        yield running


@pytest.fixture
def both(tmp_path, ours) -> Iterator[tuple[str, str]]:
    (tmp_path / "lite").mkdir()
    with lite_witness(tmp_path / "lite", "witness.example/theirs") as theirs:
        theirs.trust(ORIGIN, str(LOG_KEY), str(HEIR_KEY))
        yield ours.url, theirs.url


def story() -> Iterator[tuple[str, bytes, int]]:
    """Tell what is asked, one after the other, each with the status that C2SP tlog-witness demands."""
    log = GrownLog()
    first = log.grow(3)
    begun = shown(log)
    yield "an unknown log", begun.replace(ORIGIN.encode(), b"other.example/log"), 404
    yield "an unknown key", shown(log, signer=STRANGER), 403
    yield "old above the checkpoint", begun.replace(b"old 0\n", b"old 9\n"), 400
    yield "the first", begun, 200
    yield "the first once more, from nothing", begun, 409
    yield "the same again", shown(log, first), 200
    fork = forked(log, first)
    yield "another root of that size", shown(log, first, head=fork.head), 409
    log.grow(6)
    grown = shown(log, first)
    proof = AddCheckpointRequest(first, log.prove_growth(first), b"")
    note = sign_checkpoint(log.head, LOG)
    yield "no proof", AddCheckpointRequest(first, (), note.to_bytes()).to_bytes(), 422
    yield "half a proof", AddCheckpointRequest(first, proof.proof[1:], note.to_bytes()).to_bytes(), 422
    fork.grow(6)
    yield "a larger fork", shown(fork, first), 422
    false = Note(note.text, (*note.signatures, Signature(ORIGIN, LOG_KEY.key_id, bytes(64))))
    yield (
        "a false line alone",
        AddCheckpointRequest(first, proof.proof, Note(note.text, false.signatures[1:]).to_bytes()).to_bytes(),
        403,
    )
    beside = note.add(sign_checkpoint(log.head, STRANGER).signatures)
    yield "a line of a stranger beside", AddCheckpointRequest(first, proof.proof, beside.to_bytes()).to_bytes(), 200
    yield "a replay", grown, 409
    yield "a smaller one", begun, 409
    second = log.head.size
    log.grow(1)
    yield "the next orderer", shown(log, second, signer=HEIR), 200
    yield "the former one, behind", shown(log, first), 409
    for name, body in {
        "nothing": b"",
        "no proof lines' end": b"old 3\n",
        "no number": begun.replace(b"old 0\n", b"old x\n"),
        "below zero": begun.replace(b"old 0\n", b"old -1\n"),
        "another word": begun.replace(b"old 0\n", b"new 0\n"),
        "a hash of another size": begun.replace(b"old 0\n", b"old 0\nAAAA\n"),
        "64 hashes": begun.replace(b"old 0\n", b"old 0\n" + (b"A" * 43 + b"=\n") * 64),
    }.items():
        yield name, body, 400


def test_both_answer_alike(both):
    ours, theirs = both
    for name, body, status in story():
        own, other = asked(ours, body), asked(theirs, body)
        assert own[0] == status, name
        if name in DIFFERENT:
            assert other[0] == DIFFERENT[name], name
        else:
            assert own == other, name


def test_its_cosignatures_are_accepted_by_tools_of_others(ours, tmp_path):
    log = GrownLog()
    log.grow(3)
    note, lines = parse_note(log.final().note.encode()), ask(ours.port, shown(log))[2]
    checkpoint = tmp_path / "checkpoint"
    # C2SP tlog-witness: a client may set the answer behind the checkpoint, and verify that.
    checkpoint.write_bytes(Note(note.text, note.signatures[:1]).to_bytes() + lines)
    policy = policy_of(tmp_path, ours.vkeys)
    report = accepted("signers", policy, checkpoint)
    assert [row["name"] for row in report["signers"]] == ["witness.example/ours"] * 2
    assert (report["size"], report["unknown"]) == (log.head.size, [])
    # Both of its keys are asked for: half of it is not enough.
    half = tmp_path / "half"
    half.write_bytes(checkpoint.read_bytes().rsplit("— ".encode(), 1)[0])
    assert "policy components satisfied" in refused("signers", policy, half)


def policy_of(folder: Path, vkeys: tuple[str, ...]) -> Path:
    """Write a policy that asks for the log and each of these keys."""
    path = folder / "policy.txt"
    names = [f"w{number}" for number in range(len(vkeys))]
    rows = [f"witness {name} {vkey}" for name, vkey in zip(names, vkeys, strict=True)]
    path.write_text("\n".join([f"log {LOG_KEY}", *rows, f"group all all {' '.join(names)}", "quorum all", ""]))
    return path
