"""Sends people word of their notices, by the channels that this node has.

Keeps true: what waits is on the disk, and is sent at least once; one message covers all that waits for one address, and
nobody is sent more than `MAX_A_DAY` in a day but for what is urgent, which waits for nothing; what an address does not
take is tried ever more rarely, and given up after `GIVEN_UP_S`, visibly. While the channel itself is away nothing is
given up. What a clock that was ahead has noted keeps nothing back once it is set back. Trusts a channel for having sent
what it says that it sent.
Source: `docs/spec/notice.md` 6, 7.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Event
from typing import Final, Protocol

from medchain.encoding import Json, canonical
from medchain.errors import MedchainError, UnavailableError
from medchain.ledger.kinds.content import DAY_S
from medchain.node import metrics
from medchain.node.clock import Clock
from medchain.node.letters import Letter
from medchain.node.log import Log
from medchain.store.notices import Dispatch
from medchain.store.records import RecordStore

WAITING: Final = "notices.waiting"
"""Alarm: messages to people wait, since their channel is away."""

PERIOD_S: Final = 1.0
"""How often it is looked whether something is to be sent."""

WATCH_S: Final = 30.0
"""How often it is looked how much waits."""

MAX_A_DAY: Final = 4
"""How many messages an address is sent within a day; what comes beyond them is covered by one later."""

GIVEN_UP_S: Final = 3 * DAY_S
"""After how long what an address does not take is given up."""

LATE_S: Final = 900
"""After how long waiting is an alarm."""

DIGEST: Final = "dispatch.digest"
"""Why something waits: the address was sent enough for a day."""

REFUSED: Final = "dispatch.refused"
"""Why something waits, or is given up: the address does not take it."""

NOT_LATE: Final = (DIGEST, REFUSED)
"""What waits for these reasons is not kept back by the channel."""

_AHEAD_S: Final = 60
_FIRST_WAIT_S: Final = 60
_LAST_WAIT_S: Final = 6 * 3600
_LAST_WAIT_AWAY_S: Final = 300
_LAST_PAUSE_S: Final = 60.0
_LOG: Final = Log("dispatching")


class Channel(Protocol):
    """A way to people: e-mail, short messages."""

    @property
    def name(self) -> str:
        """Channel of the contacts that it reaches: ``email`` or ``sms``."""
        ...

    def send(self, address: str, letter: Letter) -> bool:
        """Send a letter.

        Args:
            address: as the contact names it; nobody has checked it before.
            letter: what is sent.

        Returns:
            Whether it was taken; not so where it can be tried again.

        Raises:
            UnavailableError: the channel is away, whatever the address.
            InputError: this address is none, and will never be.
        """
        ...


class Dispatcher:
    """Sends by one channel. One thread sends, so that a channel that is away holds up no other; another one watches."""

    __slots__ = ("_channel", "_clock", "_opened", "_records")

    def __init__(
        self,
        channel: Channel,
        records: RecordStore,
        opened: Callable[[Dispatch, bool], tuple[str, Letter]],
        clock: Clock,
    ) -> None:
        """Prepare.

        Args:
            channel: sends.
            records: knows what waits.
            opened: dispatch, and whether it is urgent → address and letter.
            clock: gives Unix seconds.
        """
        self._channel = channel
        self._records = records
        self._opened = opened
        self._clock = clock

    def run(self, stop: Event) -> None:
        """Send until told to stop; after a failure it pauses, ever longer up to a minute."""
        pause_s = PERIOD_S
        while not stop.wait(pause_s):
            try:
                while self.step() and not stop.is_set():
                    pass
                pause_s = PERIOD_S
            except MedchainError as error:
                _LOG.warning("dispatching.delayed", channel=self._channel.name, code=error.code)
                pause_s = min(2 * pause_s, _LAST_PAUSE_S)

    def watch(self, stop: Event) -> None:
        """Look until told to stop: a server that trickles holds who sends for longer than it may be away unseen."""
        while not stop.wait(WATCH_S):
            try:
                self.look()
            except MedchainError as error:
                _LOG.warning("dispatching.unwatched", channel=self._channel.name, code=error.code)

    def step(self) -> bool:
        """Send the next message.

        Returns:
            Whether there was one; what became of it stands in the records file.

        Raises:
            UnavailableError: the channel, or the disk.
        """
        now = self._clock()
        first = self._records.next_dispatch(self._channel.name, now, now + _LAST_WAIT_S + _AHEAD_S)
        if first is None:
            return False
        waiting = self._records.dispatches_to(first.place)
        urgent = any(one.urgent for one in waiting)
        sent = [] if urgent else self._records.sent_to(first.place, now - DAY_S, now + _AHEAD_S)
        if len(sent) >= MAX_A_DAY:
            self._records.put_off(waiting, min(sent[-MAX_A_DAY] + DAY_S + 1, now + _LAST_WAIT_S), DIGEST)
        else:
            self._send(first, waiting, now, urgent=urgent)
        return True

    def look(self) -> None:
        """Tell how much waits, and raise the alarm where it has for too long; raises `UnavailableError` of the disk."""
        now, name = self._clock(), self._channel.name
        count, since = self._records.waiting_dispatches(name, NOT_LATE)
        metrics.MESSAGES_WAITING.labels(name).set(count)
        if since is not None and now - since > LATE_S and not self._records.is_alarm_open(WAITING):
            fields: Json = {"count": count, "since": since}
            self._records.raise_alarm(WAITING, name, 0, canonical(fields), now)
            _LOG.error("dispatching.late", channel=name, count=count)

    def _send(self, first: Dispatch, waiting: Sequence[Dispatch], now: int, *, urgent: bool) -> None:
        """Send one message for all that waits for one address."""
        try:
            address, letter = self._opened(first, urgent)
            is_taken = self._channel.send(address, letter)
        except UnavailableError as error:
            # Others come first next time: a letter at which the server hangs keeps none back.
            self._put_off(waiting, now, _LAST_WAIT_AWAY_S, error.code)
            self._count("unavailable")
            raise
        except MedchainError as error:
            # A notice that does not open, or an address that is none: another try would end the same.
            self._give_up([first], error.code)
            return
        if is_taken:
            self._records.mark_sent(waiting, now)
            self._count("sent")
            return
        self._give_up([one for one in waiting if now - one.created >= GIVEN_UP_S], REFUSED)
        self._put_off([one for one in waiting if now - one.created < GIVEN_UP_S], now, _LAST_WAIT_S, REFUSED)
        self._count("refused")

    def _put_off(self, waiting: Sequence[Dispatch], now: int, longest_s: int, code: str) -> None:
        """Try again: each time after twice as long, since a wait is as long as all before it."""
        if waiting:
            age_s = now - max(one.created for one in waiting)
            # Nobody knows how long what was noted ahead has waited.
            wait_s = longest_s if age_s < -_AHEAD_S else min(max(age_s, _FIRST_WAIT_S), longest_s)
            self._records.put_off(waiting, now + wait_s, code)

    def _give_up(self, dispatches: Sequence[Dispatch], code: str) -> None:
        """Try no more."""
        self._records.put_off(dispatches, None, code)
        for _ in dispatches:
            _LOG.warning("dispatch.given_up", channel=self._channel.name, code=code)
            self._count("given_up")

    def _count(self, outcome: str) -> None:
        """Count what became of a message."""
        metrics.MESSAGES.labels(self._channel.name, outcome).inc()
