"""A member that answers whatever it likes while another takes over: the takeover comes about without it.

Source: `docs/spec/ordering.md` 5.
"""

from __future__ import annotations

import pytest

from medchain.encoding import MAX_INT
from medchain.ordering.block import Block, block_bytes, frame
from medchain.ordering.lines import Line, LineName
from medchain.ordering.notary import LedgerNotary
from tests.consortium import Consortium, cosign_keys, is_level

LOST, TAKER, OTHER, LIAR = "org-0", "org-1", "org-2", "org-3"


@pytest.fixture
def consortium():
    """Have four of whom three are a quorum, with a final block and one that only the liar has cosigned."""
    with Consortium(4) as made:
        made.step()
        made.orderer.driver.order([made.anchor(OTHER)])
        made.settle(2)
        made.orderer.driver.order([made.anchor(OTHER)])
        yield made


def shown_by_the_liar(consortium: Consortium) -> str:
    """Return a note of the lost orderer's newest block, which the one that takes over lacks, with the liar's lines."""
    lost = consortium.nodes[LOST].replica
    reader = LedgerNotary(consortium.genesis.origin, cosign_keys(LIAR))
    log_line = reader.read(lost.blocks(lost.height, 1)[0].checkpoint, lost.members).log_line
    lines: dict[LineName, Line] = dict(reader.cosign(lost.size, lost.root, consortium.now))
    return reader.write(lost.size, lost.root, log_line, lines)


def block(consortium: Consortium, height: int, time: int | None = None) -> bytes:
    """Frame a block that fits nothing."""
    leaf, note = consortium.anchor(LIAR), shown_by_the_liar(consortium)
    return frame(block_bytes(Block(height, consortium.now if time is None else time, (leaf,), note)))


@pytest.mark.parametrize(
    "answer",
    [
        lambda made: block(made, 0),
        lambda made: block(made, MAX_INT),
        lambda made: block(made, 2, 0),
        lambda made: block(made, 2, MAX_INT),
        lambda made: frame(block_bytes(Block(2, made.now, (b"{}",), "none"))),
        lambda made: frame(block_bytes(Block(2, made.now, (), "none"))),
        lambda _made: frame(b"{}"),
        lambda _made: b"\x00",
        lambda _made: b"\xff" * 9,
    ],
)
def test_a_member_that_answers_any_blocks_stops_no_takeover(consortium, answer):
    taker, liar = consortium.nodes[TAKER], consortium.nodes[LIAR]
    taken = consortium.hand_over(TAKER, taker, voters=[LOST, TAKER, OTHER])
    note, blocks = shown_by_the_liar(consortium), answer(consortium)
    liar.driver.stand_down = lambda _leaf: note
    liar.driver.frames = lambda *_rest: blocks
    taker.driver.takeover(taken)
    assert taker.driver.is_orderer


NOTES = ["", "none", "medchain.example/simulated\n9223372036854775807\n", "\ufffd\n\n\u2014 a b\n"]


@pytest.mark.parametrize("note", NOTES)
def test_a_member_that_shows_any_note_stops_no_takeover(consortium, note):
    taker, liar = consortium.nodes[TAKER], consortium.nodes[LIAR]
    taken = consortium.hand_over(TAKER, taker, voters=[LOST, TAKER, OTHER])
    liar.driver.stand_down = lambda _leaf: note
    taker.driver.takeover(taken)
    assert taker.driver.is_orderer


def test_a_lost_orderer_that_gives_another_block_than_it_has_cosigned_stops_no_takeover(consortium):
    """Who takes over lacks what the others have cosigned, and would never get it once it had the liar's."""
    lost, taker = consortium.nodes[LOST], consortium.nodes[TAKER]
    taken = consortium.hand_over(TAKER, taker, voters=list(consortium.nodes))
    consortium.cut_off = {TAKER}
    fork = lost.replica.fork()
    fork.rewind(1)
    fork.propose([consortium.anchor(OTHER), consortium.anchor(OTHER)], consortium.now)
    for _ in range(3):
        consortium.step(3)
    consortium.cut_off = set()
    lost.lies["blocks"] = lambda _source, first: fork.blocks(first, 1 << 20)
    taker.driver.takeover(taken)
    del lost.lies["blocks"]
    assert taker.replica.root_at(consortium.nodes[OTHER].replica.size) == consortium.nodes[OTHER].replica.root
    consortium.settle()
    assert is_level(consortium.nodes)
