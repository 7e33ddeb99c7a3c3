"""The follower: fetches blocks, has the replica verify them, and raises the alarm at what is wrong.

Keeps true: no block is skipped, none is kept that the replica refuses; a block's time is near our clock, once we have
been level with the orderer, but for a takeover that enough others have; whom the blocks came from does not matter.
Trusts its replica and its clock.
Source: `docs/spec/ordering.md` 1, 3 and 5.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from enum import Enum
from itertools import takewhile
from typing import Final, NamedTuple

from medchain.errors import InputError, MedchainError, UnavailableError, VerificationError
from medchain.ordering.backoff import backoff_s
from medchain.ordering.block import Block
from medchain.ordering.driver import Alarm, Applied, Clock, OrdererClient, Replica
from medchain.ordering.feed import Feed

MAX_CLOCK_DIFFERENCE_S: Final = 60
"""How far a block's time may be from our clock."""

POLL_S: Final = 5
"""How long a poll waits at the orderer; also how long a stop may take."""


LOOK_ANSWERS: Final = 8
"""How many answers are taken of one member before the next one is asked."""


class Look(Enum):
    """What a look at a member has shown: nothing beyond ours, perhaps more, or something that does not fit on ours."""

    LEVEL = "level"
    MORE = "more"
    UNFIT = "unfit"


class Source(NamedTuple):
    """Whom to ask: its org_id, the way there, and whether it is the orderer, whose word on what is newest counts."""

    org_id: str
    client: OrdererClient
    is_orderer: bool


class Follower:
    """Keeps a replica level with the ledger. One thread calls `step`."""

    def __init__(  # noqa: PLR0913  # its ports
        self,
        replica: Replica,
        source: Callable[[int], Source | None],
        clock: Clock,
        *,
        pen: threading.Lock,
        feed: Feed,
        on_blocks: Callable[[Sequence[Block], Sequence[Applied]], None],
        reroute: Callable[[Source], bool],
        is_held: Callable[[Block], bool],
        ask: Callable[[Source, int, int], Sequence[Block]] = lambda source, first, wait_s: source.client.blocks(
            first, wait_s
        ),
    ) -> None:
        """Prepare.

        Args:
            replica: the node's ledger.
            source: number of failures in a row → whom to ask; None while this node orders.
            clock: gives Unix seconds.
            pen: held by whoever writes to the replica.
            feed: told of each block.
            on_blocks: told of blocks that were applied together.
            reroute: given whom to ask, looks for a takeover there; tells whether it found one.
            is_held: tells whether enough members have a block that seems too old.
            ask: asks a source for blocks from a height on, and may wait so long for the first one.
        """
        self._replica = replica
        self._source = source
        self._clock = clock
        self._pen = pen
        self._feed = feed
        self._on_blocks = on_blocks
        self._reroute = reroute
        self._is_held = is_held
        self._ask = ask
        self._not_before = 0
        self.failures = 0
        self.is_caught_up = False
        self.alarm: Alarm | None = None

    def step(self, wait_s: int = POLL_S) -> int:
        """Ask once and apply what comes.

        Args:
            wait_s: how long to wait for a block.

        Returns:
            How many blocks were applied.
        """
        source = self._source(self.failures)
        if source is None:
            # Who follows nobody is given no right block that could end an alarm about the one before.
            self.is_caught_up, self.failures, self.alarm = True, 0, None
            return 0
        asked_at = self._clock()
        try:
            # Who does not know yet whether it is level asks without waiting: only an empty answer tells, and until then
            # the node serves nobody and cosigns nothing.
            blocks = self._ask(source, self._replica.height + 1, wait_s if self.is_caught_up else 0)
        except UnavailableError:
            self.failures += 1
            return 0
        except MedchainError as error:
            self._refuse(error)
            return 0
        if not blocks:
            self._take_nothing(source, asked_at)
            return 0
        return self._apply_all(blocks, source)

    def backoff_s(self) -> float:
        """Choose how long to wait before the next step."""
        return backoff_s(self.failures)

    def apply(self, blocks: Sequence[Block]) -> int:
        """Verify blocks that come next, and keep as many as one write of the replica may hold, at least the first.

        Returns:
            How many.

        Raises:
            MedchainError: as `Replica.apply_all`, and ``block.time``, for the first block.
        """
        timely = [*takewhile(self._is_timely, blocks)]
        if not timely:
            raise VerificationError("block.time", time=blocks[0].time, now=self._clock())
        with self._pen:
            applied = self._replica.apply_all(timely)
        kept = timely[: len(applied)]
        self.alarm = None
        self._feed.publish()
        self._on_blocks(kept, applied)
        return len(kept)

    def _is_timely(self, block: Block) -> bool:
        """Tell whether a block's time is near enough to our clock."""
        return block.time <= self._clock() + MAX_CLOCK_DIFFERENCE_S and not self.is_too_old(block)

    def is_too_old(self, block: Block) -> bool:
        """Tell whether a block says that it was made before the orderer said that there was none."""
        # A clock that was ahead and was set right must not leave us refusing what it would have called late.
        return block.time < min(self._not_before, self._clock() - MAX_CLOCK_DIFFERENCE_S)

    def forget_level(self) -> None:
        """Forget that we were level: after a takeover, older blocks come from another orderer."""
        self._not_before = 0
        self.is_caught_up = False

    def _take_nothing(self, source: Source, asked_at: int) -> None:
        """Learn from an empty answer: of the orderer, that we are level; of another, perhaps a takeover."""
        if source.is_orderer:
            # Whoever gave nothing had nothing then: what it gives later was made later.
            self._not_before = max(self._not_before, asked_at - MAX_CLOCK_DIFFERENCE_S)
            self.is_caught_up, self.failures = True, 0
        elif not self._reroute(source):
            self.failures += 1

    def _apply_all(self, blocks: Sequence[Block], source: Source) -> int:
        """Apply blocks up to the first that is wrong."""
        applied = 0
        while applied < len(blocks):
            try:
                applied += self._take(blocks[applied:])
            except UnavailableError:
                self.failures += 1
                return applied
            except (InputError, VerificationError) as error:
                if not self._reroute(source):
                    self._refuse(error)
                return applied
        self.failures = 0
        return applied

    def _take(self, blocks: Sequence[Block]) -> int:
        """Apply blocks, one that seems too old as well if enough members have it; as `apply`."""
        if self.is_too_old(blocks[0]) and self._is_held(blocks[0]):
            # Whoever said that there was nothing had been replaced, and did not know it; or lied.
            self.forget_level()
        return self.apply(blocks)

    def look(self, source: Source, *, answers: int = LOOK_ANSWERS) -> Look:
        """Take what another member than the orderer has beyond ours, and look whether it has left ours at a takeover.

        So a node finds out what the one that it takes for the orderer does not say. It raises no alarm: whom the blocks
        come from does not matter, and any member could give wrong ones.

        Args:
            source: whom to ask.
            answers: how often at most. Who orders, or did and was replaced, makes blocks as fast as it is asked: the
                others would never be.

        Returns:
            Whether it has nothing beyond ours, as far as it was asked.

        Raises:
            UnavailableError: it does not answer, or the disk.
        """
        try:
            found = self._take_answers(source, answers)
        except UnavailableError:
            raise
        except MedchainError:
            # It has taken another way at a takeover, or it lies.
            found = Look.UNFIT
        self._reroute(source)
        return found

    def _take_answers(self, source: Source, answers: int) -> Look:
        """Take a member's blocks, until it has no more or has answered so often."""
        for _ in range(answers):
            blocks = source.client.blocks(self._replica.height + 1, 0)
            if not blocks:
                return Look.LEVEL
            while blocks:
                blocks = blocks[self._take(blocks) :]
        return Look.MORE

    def _refuse(self, error: MedchainError) -> None:
        """Raise the alarm; the same height is asked for again, and the alarm ends only when a right block comes."""
        self.failures += 1
        self.is_caught_up = False
        self.alarm = Alarm(error.code, self._replica.height + 1, error.fields)
