"""The feed gives what the replica holds, whatever was published before."""

from __future__ import annotations

from dataclasses import dataclass, field

from medchain.encoding import base64_text
from medchain.ordering.block import Block
from medchain.ordering.feed import Feed


def block(height: int, text: bytes = b"{}") -> Block:
    """Make a block whose root tells blocks of one height apart."""
    root = base64_text(text.ljust(32, b"0"))
    return Block(height, 1, (text,), f"ledger\n{2 * height + 2}\n{root}\n\n— line\n")


@dataclass
class Copy:
    """A replica of which only blocks and roots are asked."""

    kept: list[Block]
    reads: list[int] = field(default_factory=list)

    @property
    def height(self) -> int:
        return self.kept[-1].height

    def blocks(self, first: int, _max_bytes: int) -> list[Block]:
        self.reads.append(first)
        return [item for item in self.kept if item.height >= first]

    def root_at(self, size: int) -> bytes | None:
        found = (item for item in self.kept if 2 * item.height + 2 == size)
        return next((item.transactions[0].ljust(32, b"0") for item in found), None)


def test_a_published_block_is_given_to_every_reader_without_reading_it_again():
    replica = Copy([block(1), block(2)])
    feed = Feed(replica)
    feed.publish(replica.kept[0])
    feed.publish(replica.kept[1])
    assert [feed.blocks(1), feed.blocks(2), feed.blocks(3)] == [replica.kept, replica.kept[1:], []]
    assert replica.reads == []


def test_what_was_not_published_or_is_long_past_comes_from_the_replica():
    replica = Copy([block(height) for height in range(1, 9)])
    feed = Feed(replica)
    for item in replica.kept:
        feed.publish(item)
    assert feed.blocks(1) == replica.kept
    assert replica.reads == [1]


def test_a_block_that_a_takeover_has_replaced_is_not_given_any_more():
    replica = Copy([block(1), block(2, b"old")])
    feed = Feed(replica)
    feed.publish(replica.kept[0])
    feed.publish(replica.kept[1])
    replica.kept[1:] = [block(2, b"new")]
    assert feed.blocks(2) == [block(2, b"new")]
    assert feed.blocks(1) == [block(1)]


def test_no_more_is_given_than_was_asked_for_but_always_one_block():
    replica = Copy([block(1, b"x" * 30), block(2, b"y" * 30)])
    feed = Feed(replica)
    feed.publish(replica.kept[0])
    feed.publish(replica.kept[1])
    assert feed.blocks(1, max_bytes=10) == [block(1, b"x" * 30)]
