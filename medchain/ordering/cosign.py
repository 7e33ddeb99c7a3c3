"""Cosigning: vouches for block ends that this node has executed, and gathers what others vouch for.

Keeps true: never a smaller size than was cosigned before, never another root, nothing before the node has caught up,
nothing after a split view was seen or the node has stood down; lines are verified before they are kept. Two notes of
one size with different roots, both with a valid log line, are proof of a split view. Trusts its replica, and its own
memory of what it cosigned, which must survive a crash.
Source: `docs/spec/ordering.md` 4 and 5; C2SP tlog-cosignature, tlog-witness.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

from medchain.errors import VerificationError
from medchain.ledger.members import COSIGN_ED25519_KEY, COSIGN_MLDSA44_KEY, Members
from medchain.ordering.driver import Alarm, Clock, Replica

SPLIT_VIEW: Final = "checkpoint.split_view"
"""Alarm: two histories under one log key."""

BUSY_S: Final = 0.2
"""Least time between two cosignatures while blocks come."""

LATE_S: Final = 2
"""How long a node waits for the orderer to say that what it cosigned is final, before it tells all others."""

PATIENCE_S: Final = 4
"""How long it then waits for the others at that size, before it goes on to a newer one."""

IDLE_S: Final = 30
"""Time after which the newest block end is cosigned anew, so that freshness can be demanded."""

MAX_NOTES: Final = 64
"""How many of the newest sizes are remembered with their lines."""


class LineName(NamedTuple):
    """Whose signature line it is: organisation, and use of its key."""

    org_id: str
    use: str


class Line(NamedTuple):
    """A verified cosignature line: when it was made, Unix seconds, and its text without the line's end."""

    time: int
    text: str


@dataclass(frozen=True, slots=True)
class Reading:
    """A note of which only what was verified is left.

    Attributes:
        size: leaves of the log.
        root: 32 bytes.
        log_org: the organisation whose log key signed it.
        log_line: that line's text.
        lines: verified cosignature lines.
    """

    size: int
    root: bytes
    log_org: str
    log_line: str
    lines: Mapping[LineName, Line]


class FinalNote(NamedTuple):
    """A note with a quorum's lines: size of the log, and its text."""

    size: int
    text: str


class Notary(Protocol):
    """Reads and writes checkpoint notes under the members' keys."""

    @property
    def org_id(self) -> str:
        """Whose cosigning keys it has."""
        ...

    def read(self, note: str, members: Members, known: Mapping[int, Reading] = MappingProxyType({})) -> Reading:
        """Verify a note.

        Args:
            note: its text.
            members: whose keys count.
            known: size → what was verified before, by the same keys; the same line again is not verified again.

        Returns:
            What holds.

        Raises:
            InputError: ``checkpoint.*`` or ``note.*`` for what is no note.
            VerificationError: ``checkpoint.*`` for another origin, no valid line of a member's log key, or a line of
                a known cosigner that does not verify. Lines of unknown keys are left out.
        """
        ...

    def cosign(self, size: int, root: bytes, time: int) -> Mapping[LineName, Line]:
        """Make this organisation's two lines."""
        ...

    def write(self, size: int, root: bytes, log_line: str, lines: Mapping[LineName, Line]) -> str:
        """Write a note with lines."""
        ...


@dataclass(frozen=True, slots=True)
class Vouched:
    """What a node must not forget: a cosignature is a promise.

    Attributes:
        floor: the largest size that it cosigned.
        size: of the block end that all it cosigns must extend.
        root: of that block end.
        stood_down: org_id of the new orderer for whose takeover it waits, cosigning nothing; empty if for none.
        replaced: the orderer that the last takeover replaced, if any; what it signed above ``replaced_from`` is void.
        replaced_from: size of the last block of its that was kept.
    """

    floor: int = 0
    size: int = 0
    root: bytes = b""
    stood_down: str = ""
    replaced: str = ""
    replaced_from: int = 0


class Memory(Protocol):
    """Keeps `Vouched` on disk; ``save`` returns once it is durable."""

    def load(self) -> Vouched:
        """Return what was saved last, `Vouched()` at first."""
        ...

    def save(self, vouched: Vouched) -> None:
        """Keep it."""
        ...


class Checkpoints(Protocol):
    """Keeps notes for those who prove with them."""

    def put(self, note: str, size: int, *, final: bool) -> None:
        """Keep a note; each of its lines was verified under the key that the ledger listed then.

        One that is final counts at once, and need not be durable before `flush`.
        """
        ...

    def flush(self) -> None:
        """Write what is not durable yet."""
        ...

    def final(self) -> FinalNote | None:
        """Return the newest note that is final, None before the first."""
        ...


class Cosigner:
    """One organisation's cosigning. Safe for many threads."""

    def __init__(  # its ports
        self,
        replica: Replica,
        notary: Notary,
        memory: Memory,
        checkpoints: Checkpoints,
        clock: Clock,
        *,
        raise_alarm: Callable[[Alarm], None],
        on_news: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare.

        Args:
            replica: the node's ledger.
            notary: reads and writes notes.
            memory: what was cosigned.
            checkpoints: gets each note that grew.
            clock: gives Unix seconds.
            raise_alarm: told of a split view.
            on_news: called when `final_size` or `meeting` has changed; must not call back.
        """
        self._replica = replica
        self._notary = notary
        self._memory = memory
        self._checkpoints = checkpoints
        self._clock = clock
        self._raise_alarm = raise_alarm
        self._lock = threading.RLock()
        self._vouched = memory.load()
        self._notes: dict[int, Reading] = {}
        self._is_split = False
        self._evidence: tuple[str, ...] = ()
        self._members = replica.members
        self._cosigned_at = 0
        self._on_news = on_news
        self._told = 0
        self._is_alone = False
        self._gossiped = 0
        self._gossiped_at = clock()
        self._is_renewed = False
        self._unsaved: set[int] = set()
        final = checkpoints.final()
        # What was final stays so: a node that forgot it would look for takeovers from the first block on.
        self._final = FinalNote(0, "") if final is None else final
        self._heard = self._final.size
        self.own_note: str | None = None
        self.meeting = 0

    @property
    def final_size(self) -> int:
        """The largest size that a quorum has cosigned."""
        return self._final.size

    @property
    def final_note(self) -> FinalNote:
        """The newest note with a quorum's lines; of size 0 before the first."""
        return self._final

    @property
    def met(self) -> int:
        """The largest size that this node cosigned, or knows to be awaited."""
        return max(self._vouched.floor, self._told)

    @property
    def is_stopped(self) -> bool:
        """Whether it cosigns nothing."""
        return self._is_split or bool(self._vouched.stood_down)

    def learn(self, note: str) -> None:
        """Take a block's own checkpoint, or a note that a peer sent.

        A note whose log line is by a member that does not order tells nothing of the ledger, and is left out: any
        member could make one, for any size and root.

        Raises:
            InputError: a note that is none.
            VerificationError: ``checkpoint.*``, a line that does not verify.
        """
        members = self._replica.members
        if members is not self._members:
            self._meet(members)
        reading = self._notary.read(note, members, self._notes)
        with self._lock:
            if not self._is_the_orderers(reading) or self._is_void(reading) or self._is_other(reading):
                return
            known = self._notes.get(reading.size)
            lines = reading.lines if known is None else _merged(known.lines, reading.lines)
            if known is not None and lines == known.lines and reading.size <= self.final_size:
                # Nothing new, and what is final has been kept.
                return
            self._keep(reading if known is None else replace(known, lines=lines))

    def vouch(self, *, is_caught_up: bool) -> str | None:
        """Cosign a block end, if it is time and nothing speaks against it: the newest, or one where others wait.

        Args:
            is_caught_up: whether the node has all blocks that there are; after a restore it has not.

        Returns:
            The note with all lines known, to be sent to the orderer and the peers; None if nothing was cosigned.
        """
        with self._lock:
            now, vouched = self._clock(), self._vouched
            if not is_caught_up or self.is_stopped:
                return None
            if vouched.size and self._replica.root_at(vouched.size) != vouched.root:
                # What we cosigned is not part of what we have: one of the two is a lie, and we do not help it.
                self._split(vouched.size, "own")
                return None
            if self._replica.size not in self._notes and self._replica.height > 0:
                self.learn(self._replica.blocks(self._replica.height, 1)[0].checkpoint)
            size = self._meeting_size(now)
            root = self._replica.root_at(size)
            known = self._notes.get(size)
            if root is None or known is None or known.root != root:
                return None
            is_renewal = size == vouched.floor == vouched.size
            if size < vouched.floor or (size == vouched.floor and not is_renewal):
                return None
            if is_renewal and 0 <= now - self._cosigned_at < IDLE_S:
                return None
            # The orderer has not said what became of the last one: from now on the others are told directly.
            self._is_alone = self._heard_of() < vouched.floor
            # Remember first: a crash between the two must not lead to a second, different cosignature.
            self._remember(replace(vouched, floor=size, size=size, root=root))
            self._cosigned_at, self._is_renewed = now, is_renewal
            self._sign(known, now)
            return self._text(self._notes[size])

    def told(self, meeting: int, note: str | None) -> None:
        """Take what the orderer answered a poll.

        Args:
            meeting: the size at which others wait, 0 for none; it is cosigned if it is a block end here, and the
                orderer has said what became of the one before.
            note: the newest final note, None for none.

        Raises:
            MedchainError: as `learn`, for the note.
        """
        self._told = meeting
        if note is not None:
            self.learn(note)
            self._heard = self.final_size

    def gossip(self) -> str | None:
        """Return the note that all members are to get now, if one is due: the newest cosigned, with all lines known.

        The orderer passes lines on; one that shows different histories, or keeps lines back, is found out only by what
        members send each other: at each renewal, at that distance while blocks come, and when the orderer does not say
        in time that what was cosigned is final. Then also who knows it from others sends its own, which they may lack,
        and each later one is sent at once, until the orderer is heard again.
        """
        with self._lock:
            now, floor = self._clock(), self._vouched.floor
            known = self._notes.get(floor)
            is_slow = self._is_alone or not 0 <= now - self._cosigned_at < LATE_S
            is_late = is_slow and self._heard_of() < floor != self._gossiped
            is_due = self._is_renewed or is_late or not 0 <= now - self._gossiped_at < IDLE_S
            if known is None or not is_due or self.is_stopped:
                return None
            self._gossiped, self._gossiped_at, self._is_renewed = floor, now, False
            return self._text(known)

    def tidy(self) -> None:
        """Write down what is final, with the lines that came later; nobody waits for it, and few writes do for many."""
        with self._lock:
            while self._unsaved:
                size = min(self._unsaved)
                if size in self._notes and self._replica.root_at(size) == self._notes[size].root:
                    self._checkpoints.put(self._text(self._notes[size]), size, final=True)
                self._unsaved.remove(size)
        self._checkpoints.flush()

    def recall(self) -> None:
        """Know again, after a start, the newest block end and what this node vouched for, with its own lines.

        A member that has forgotten its lines would let a takeover drop a block that they made final.
        """
        with self._lock:
            vouched, height = self._vouched, self._replica.height
            if height > 0:
                self.learn(self._replica.blocks(height, 1)[0].checkpoint)
            at = self._replica.height_of(vouched.size) if vouched.size == vouched.floor else None
            if not at or self._replica.root_at(vouched.size) != vouched.root:
                return
            self.learn(self._replica.blocks(at, 1)[0].checkpoint)
            known = self._notes.get(vouched.size)
            if known is not None and known.root == vouched.root:
                # The same size and root once more: no new promise.
                self._sign(known, self._clock())

    def note(self, size: int | None = None) -> str | None:
        """Return the newest note of our own history with the lines known, or that of a size."""
        with self._lock:
            mine = [at for at in self._notes if at <= self._replica.size] if size is None else [size]
            return self._text(self._notes[max(mine)]) if mine and max(mine) in self._notes else None

    @property
    def vouched(self) -> Vouched:
        """What it must not forget."""
        return self._vouched

    @property
    def evidence(self) -> tuple[str, ...]:
        """Notes under valid log lines that contradict each other; none while there is no split view."""
        return self._evidence

    def stand_down(self, new_orderer: str) -> None:
        """Cosign nothing until the takeover's block is applied; durable when it returns."""
        with self._lock:
            self._remember(replace(self._vouched, stood_down=new_orderer))

    def resume(self, base_size: int, base_root: bytes, replaced: str) -> None:
        """Go on after a takeover.

        Args:
            base_size: size of the last block that was kept; what was cosigned above it is void.
            base_root: its root.
            replaced: org_id of the orderer that was lost.
        """
        with self._lock:
            floor = self._vouched.floor
            self._remember(Vouched(floor, base_size, base_root, replaced=replaced, replaced_from=base_size))
            self._notes = {size: reading for size, reading in self._notes.items() if size <= base_size}
            self._told = self.meeting = 0
            self.own_note = None

    def _meet(self, members: Members) -> None:
        """Go by other members: lines for sizes that we have not reached yet were verified under keys of the past."""
        with self._lock:
            size = self._replica.size
            self._notes = {
                at: reading if at <= size else replace(reading, lines={}) for at, reading in self._notes.items()
            }
            self._members = members

    def _sign(self, known: Reading, now: int) -> None:
        """Add our own lines to a note whose size and root are remembered as cosigned."""
        lines = self._notary.cosign(known.size, known.root, now)
        self.own_note = self._text(replace(known, lines=lines))
        self._keep(replace(known, lines=_merged(known.lines, lines)))

    def _meeting_size(self, now: int) -> int:
        """Choose the block end to cosign.

        A quorum must meet at one size. While blocks keep coming no two nodes would, if each cosigned the newest that it
        has: so a size where others wait comes first, then the last own one, for a while, and only then the newest.
        The orderer's word on where others wait counts once at a time: it could send each node to another size for ever.
        """
        floor = self._vouched.floor
        awaited = [
            size
            for size, reading in self._notes.items()
            if floor < size <= self._replica.size
            and (reading.lines or (size == self._told and not self._is_alone))
            and self._replica.root_at(size) == reading.root
        ]
        if awaited:
            return max(awaited)
        is_waiting = self.final_size < floor and 0 <= now - self._cosigned_at < PATIENCE_S
        return floor if is_waiting else self._replica.size

    def _heard_of(self) -> int:
        """Return the largest size of which the orderer said that it is final."""
        is_orderer = self._replica.members.protocol.orderer == self._notary.org_id
        return self.final_size if is_orderer else self._heard

    def _is_the_orderers(self, reading: Reading) -> bool:
        """Tell whether the log line is by who orders, is about to, or ordered the block that ends there."""
        if reading.log_org in {self._replica.members.protocol.orderer, self._vouched.stood_down}:
            return True
        height = self._replica.height_of(reading.size)
        if not height:
            return False
        checkpoint = self._replica.blocks(height, 1)[0].checkpoint
        try:
            return self._notary.read(checkpoint, self._replica.members).log_org == reading.log_org
        except VerificationError:
            # Its key is in use no more.
            return False

    def _is_void(self, reading: Reading) -> bool:
        """Tell whether a note is of those that a takeover has made, or is about to make, void."""
        vouched = self._vouched
        if vouched.stood_down:
            return self._replica.root_at(reading.size) != reading.root
        # An organisation that orders again speaks for the ledger again.
        is_replaced = reading.log_org == vouched.replaced != self._replica.members.protocol.orderer
        return is_replaced and reading.size > vouched.replaced_from

    def _is_other(self, reading: Reading) -> bool:
        """Compare a note with our own history and with other notes of its size; a difference is a split view."""
        mine = self._replica.root_at(reading.size)
        known = self._notes.get(reading.size)
        if (mine is None or mine == reading.root) and (known is None or known.root == reading.root):
            return False
        if not self._evidence:
            self._evidence = tuple(self._text(item) for item in (known, reading) if item is not None)
        self._split(reading.size, "peer")
        return True

    def _split(self, size: int, source: str) -> None:
        """Stop cosigning, and say why."""
        if not self._is_split:
            self._is_split = True
            self._raise_alarm(Alarm(SPLIT_VIEW, self._replica.height, {"size": size, "source": source}, latched=True))

    def _keep(self, reading: Reading) -> None:
        """Remember a note, forget old ones, and notice finality."""
        members, size = self._replica.members, reading.size
        self._notes[size] = reading
        for old in sorted(self._notes)[:-MAX_NOTES]:
            # What this node cosigned last is what it must answer in a takeover, however many blocks came since.
            if old != self._vouched.floor:
                del self._notes[old]
        if self._replica.root_at(size) != reading.root:
            return
        is_final = len(complete(reading.lines, members)) >= members.protocol.quorum
        if is_final and size <= self.final_size:
            self._unsaved.add(size)
            if size == self.final_size:
                self._final = FinalNote(size, self._text(reading))
            return
        text = self._text(reading)
        self._checkpoints.put(text, size, final=is_final)
        if is_final:
            self._final = FinalNote(size, text)
            self.meeting = self.meeting if self.meeting > size else 0
            self._on_news()
        elif reading.lines and size > max(self.final_size, self.meeting):
            self.meeting = size
            self._on_news()

    def _text(self, reading: Reading) -> str:
        """Write a note."""
        return self._notary.write(reading.size, reading.root, reading.log_line, reading.lines)

    def _remember(self, vouched: Vouched) -> None:
        """Save first, then go by it."""
        self._memory.save(vouched)
        self._vouched = vouched


def _merged(known: Mapping[LineName, Line], more: Mapping[LineName, Line]) -> dict[LineName, Line]:
    """Join lines; of two by one key the newer one stays, so that an old one sent again does no harm."""
    merged = dict(known)
    for name, line in more.items():
        if name not in merged or merged[name].time < line.time:
            merged[name] = line
    return merged


def complete(lines: Mapping[LineName, Line], members: Members) -> frozenset[str]:
    """Return the active organisations of which both lines are there."""
    uses = (COSIGN_ED25519_KEY, COSIGN_MLDSA44_KEY)
    active = (organisation.org_id for organisation in members.active)
    return frozenset(org_id for org_id in active if all(LineName(org_id, use) in lines for use in uses))
