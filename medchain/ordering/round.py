"""A round of finality on the wire: a follower's poll takes its cosignature along, the answer brings everybody's.

Keeps true: an answer has one spelling and a bounded size; what it holds is only a claim, which cosigner and replica
verify. Structure only. Trusts nothing.
Source: `docs/spec/ordering.md` 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from medchain.encoding import canonical, members, parse_canonical
from medchain.errors import InputError
from medchain.ordering.block import MAX_NOTE_BYTES, Block, frame, parse_blocks

ROUND_TYPE: Final = "medchain/round/v1"
"""Type member of what precedes the blocks of an answer."""

_LENGTH_BYTES: Final = 4
_MAX_HEAD_BYTES: Final = 2 * MAX_NOTE_BYTES
_HEAD: Final = {"meeting": int, "note": str, "type": str}


@dataclass(frozen=True, slots=True)
class Ask:
    """What a follower asks the orderer.

    Attributes:
        first: height of the block that it lacks.
        wait_s: how long the answer may wait for news.
        final: the largest size that it knows to be final.
        met: the largest size that it cosigned, or was told to be awaited.
        note: its newest note with its own lines, None if it has handed them in.
    """

    first: int
    wait_s: int
    final: int
    met: int
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """What the orderer answers.

    Attributes:
        blocks: from `Ask.first` on; none if there are none.
        note: the newest final note, None if the asker knew it.
        meeting: the size at which others wait for cosignatures; 0 for none.
    """

    blocks: Sequence[Block]
    note: str | None = None
    meeting: int = 0


def round_answer(note: str | None, meeting: int, frames: bytes) -> bytes:
    """Encode an answer: length ‖ canonical JSON ‖ frames of blocks."""
    return frame(canonical({"meeting": meeting, "note": note or "", "type": ROUND_TYPE})) + frames


def parse_round(data: bytes) -> Round:
    """Decode an answer strictly; nothing of it is verified.

    Args:
        data: from `round_answer`.

    Returns:
        The answer.

    Raises:
        InputError: ``round.malformed``, ``encoding.*``, ``block.*``.
    """
    end = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "big")
    if len(data) < end:
        raise InputError("round.malformed", size=len(data))
    head = members(parse_canonical(data[_LENGTH_BYTES:end], max_bytes=_MAX_HEAD_BYTES), _HEAD)
    meeting, note = head["meeting"], str(head["note"])
    if head["type"] != ROUND_TYPE or type(meeting) is not int or meeting < 0:
        raise InputError("round.malformed", member="type")
    return Round(parse_blocks(data[end:]), note or None, meeting)
