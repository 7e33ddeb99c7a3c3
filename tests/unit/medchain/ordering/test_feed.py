"""The feed gives what the replica holds, encoded once for all who ask."""

from __future__ import annotations

from medchain.encoding import base64_text
from medchain.ordering import feed as module
from medchain.ordering.block import Block, blocks_answer
from medchain.ordering.feed import Feed


def block(height: int, text: bytes = b"{}") -> Block:
    """Make a block whose root tells blocks of one height apart."""
    root = base64_text(text.ljust(32, b"0"))
    return Block(height, 1, (text,), f"ledger\n{2 * height + 2}\n{root}\n\n— line\n")


class Copy:
    """A replica of which only blocks are asked."""

    def __init__(self, *kept: Block) -> None:
        """Hold some."""
        self.kept = list(kept)

    @property
    def height(self) -> int:
        return self.kept[-1].height

    def blocks(self, first: int, _max_bytes: int) -> list[Block]:
        return [item for item in self.kept if item.height >= first]


def test_a_block_is_encoded_once_for_all_who_ask(monkeypatch):
    replica = Copy(block(1), block(2))
    feed = Feed(replica)
    answers = blocks_answer(replica.kept), blocks_answer(replica.kept[1:]), b""
    assert (feed.frames(1), feed.frames(2), feed.frames(3)) == answers
    monkeypatch.setattr(module, "block_bytes", None)
    assert (feed.frames(1), feed.frames(2), feed.frames(3)) == answers


def test_a_block_that_a_takeover_has_replaced_is_not_given_any_more():
    replica = Copy(block(1), block(2, b"old"))
    feed = Feed(replica)
    feed.frames(1)
    replica.kept[1:] = [block(2, b"new")]
    assert feed.blocks(2) == [block(2, b"new")]
    assert feed.frames(1) == blocks_answer([block(1), block(2, b"new")])


def test_no_more_frames_are_given_than_was_asked_for_but_always_one():
    feed = Feed(Copy(block(1, b"x" * 30), block(2, b"y" * 30)))
    assert feed.frames(1, max_bytes=10) == blocks_answer([block(1, b"x" * 30)])
