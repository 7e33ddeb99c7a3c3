"""Cosigning: vouches for block ends that this node has executed, and gathers what others vouch for.

Keeps true: never a smaller size than was cosigned before, never another root, nothing before the node has caught up,
nothing after a split view was seen or the node has stood down; lines are verified before they are kept. Two notes of
one size with different roots, both with a valid log line, are proof of a split view. Trusts its replica, and its own
memory of what it cosigned, which must survive a crash.
Source: `docs/spec/ordering.md` 4 and 5; C2SP tlog-cosignature, tlog-witness.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, Protocol

from medchain.crypto.signing import Ed25519Signer
from medchain.errors import MedchainError, UnavailableError, VerificationError
from medchain.ledger.members import COSIGN_USES, LOG_KEY, Members
from medchain.ordering.driver import Alarm, Clock, Replica
from medchain.ordering.follower import MAX_CLOCK_DIFFERENCE_S
from medchain.ordering.lines import FinalNote, LineName, Notary, Reading, complete, is_quorum, merged, note_size

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
"""How many sizes are remembered with their lines: the newest up to the end of our ledger, the nearest beyond it."""


class _Ahead(NamedTuple):
    """A block end that others have made final and that is not ours yet: size, root, and since when it is known."""

    size: int
    root: bytes
    since: int


@dataclass(frozen=True, slots=True)
class Vouched:
    """What a node must not forget: a cosignature is a promise.

    Attributes:
        floor: the largest size that it cosigned; one more where it must not be cosigned again, since its root is void.
        size: of the block end that all it cosigns must extend.
        root: of that block end.
        stood_down: org_id of the new orderer for whose takeover it waits, cosigning nothing; empty if for none.
        version: of the protocol object that this takeover makes; 0 if for none.
        replaced: the orderer that the last takeover replaced, if any; what it signed above ``replaced_from`` is void.
        replaced_from: size of the last block of its that was kept.
        spent: ids of own log keys that signed, as the orderer's, blocks which this node has dropped.
    """

    floor: int = 0
    size: int = 0
    root: bytes = b""
    stood_down: str = ""
    replaced: str = ""
    replaced_from: int = 0
    version: int = 0
    spent: frozenset[str] = frozenset()


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

    def first_final(self, size: int) -> FinalNote | None:
        """Return the note of the smallest size from this one on that is final, and still kept; None for none.

        Notes that made a change of members final are kept for ever.
        """
        ...


class Awaited(NamedTuple):
    """A set of members whose quorum is not there beyond the newest final block.

    Attributes:
        members: org_ids of all who count.
        missing: of those of whom no lines are known there.
        needed: how many of these it takes.
    """

    members: frozenset[str]
    missing: frozenset[str]
    needed: int


class _Reign(NamedTuple):
    """A set of members, and the height of the block after which it is in force."""

    height: int
    members: Members


class Cosigner:
    """One organisation's cosigning. Safe for many threads.

    Attributes:
        own_note: the newest note with this organisation's lines alone.
        meeting: the size at which cosignatures are awaited, 0 for none.
        is_left: whether the orderer's ledger seems to have left ours, at a takeover perhaps; whoever looks resets it.
    """

    def __init__(  # noqa: PLR0913  # its ports
        self,
        replica: Replica,
        notary: Notary,
        memory: Memory,
        checkpoints: Checkpoints,
        clock: Clock,
        *,
        log_signer: Ed25519Signer,
        raise_alarm: Callable[[Alarm], None],
        is_barred: Callable[[], bool],
        on_news: Callable[[], None] = lambda: None,
        is_split: bool = False,
        settled: Sequence[str] = (),
    ) -> None:
        """Prepare.

        Args:
            replica: the node's ledger.
            notary: reads and writes notes.
            memory: what was cosigned.
            checkpoints: gets each note that grew.
            clock: gives Unix seconds.
            log_signer: this organisation's log key.
            raise_alarm: told of a split view.
            is_barred: tells whether this node may order nothing, though the ledger names it.
            on_news: called when `final_size` or `meeting` has changed; must not call back.
            is_split: whether a split view was seen before this start that nobody has settled.
            settled: notes that prove those which an operator has acknowledged.
        """
        self._replica = replica
        self._notary = notary
        self._memory = memory
        self._checkpoints = checkpoints
        self._clock = clock
        self._log_signer = log_signer
        self._raise_alarm = raise_alarm
        self._is_barred = is_barred
        self._lock = threading.RLock()
        self._vouched = memory.load()
        self._notes: dict[int, Reading] = {}
        self._is_split = is_split
        self._settled_notes = settled
        self._settled = self._read_settled()
        self._evidence: tuple[str, ...] = ()
        self._members = replica.members
        self._reigns: tuple[int, Members, tuple[_Reign, ...]] | None = None
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
        self._counted: dict[int, Sequence[Members]] = {}
        self._taken: tuple[Members, int | None] | None = None
        self._heard = self._final.size
        self._ahead: _Ahead | None = None
        self.own_note: str | None = None
        self.meeting = 0
        self.is_left = False

    @property
    def final_size(self) -> int:
        """The largest size that a quorum has cosigned."""
        return self._final.size

    @property
    def final_note(self) -> FinalNote:
        """The newest note with a quorum's lines; of size 0 before the first."""
        return self._final

    def change_after(self, size: int) -> FinalNote | None:
        """Return the note that made the next change of members final, for somebody to whom less than that is final.

        The newest note may have too few lines of those who were members then. So the changes are shown one by one.

        Args:
            size: of the other one's newest final note.

        Returns:
            None where the members have not changed since, or no such note is kept.
        """
        if size >= self.final_size:
            return None
        since = self._replica.height_of(size) or 0
        change = next((height for height in self._replica.members_changes() if height > since), 0)
        if not change:
            return None
        found = self._checkpoints.first_final(note_size(self._replica.blocks(change, 1)[0].checkpoint))
        return found if found is not None and found.size > size else None

    @property
    def behind_since(self) -> int | None:
        """Since when, Unix seconds, others are known to have final what this node lacks; None where it lacks nothing.

        A quorum's lines say so, which no f members have.
        """
        ahead = self._ahead
        if ahead is not None and self._replica.root_at(ahead.size) == ahead.root:
            ahead = self._ahead = None
        return None if ahead is None else ahead.since

    def heard(self) -> list[int]:
        """Return, for each other active member of whom lines are known, the time of its newest one, Unix seconds."""
        with self._lock:
            newest: dict[str, int] = {}
            for reading in self._notes.values():
                for name, line in reading.lines.items():
                    newest[name.org_id] = max(newest.get(name.org_id, 0), line.time)
        others = {item.org_id for item in self._replica.members.active} - {self._notary.org_id}
        return [time for org_id, time in newest.items() if org_id in others]

    def is_past(self, time: int) -> bool:
        """Tell whether the ledger is past a time: no block of that time, or of an earlier one, can come any more.

        It is by a final block that is later, since times of blocks never go back. Where none comes, it is by a quorum
        that cosigned this node's newest block anew, later than members' clocks may differ: who did takes no older one.
        No clock of this node's counts.

        Args:
            time: Unix seconds.
        """
        with self._lock:
            final = self._replica.height_of(self.final_size)
            if final and self._replica.blocks(final, 1)[0].time > time:
                return True
            size = self._replica.size
            known = self._notes.get(size)
            if known is None or known.root != self._replica.root_at(size):
                return False
            lines = [name for name, line in known.lines.items() if line.time > time + MAX_CLOCK_DIFFERENCE_S]
            return is_quorum(lines, [self._replica.members])

    def awaited(self) -> list[Awaited]:
        """Tell of each set of members since the newest final block whose quorum is not there, how it lacks it."""
        with self._lock:
            final = self.final_size
            ahead = [item for size, item in self._notes.items() if self._replica.root_at(size) == item.root]
            lines = {name for item in ahead if item.size > final for name in item.lines}
            sets = self._reigning() if final < self._replica.size else []
        found = []
        for at, members in enumerate(sets):
            there, everybody = complete(lines, *sets[at:]), frozenset(item.org_id for item in members.active)
            if len(there) < members.protocol.quorum:
                found.append(Awaited(everybody, everybody - there, members.protocol.quorum - len(there)))
        return found

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
        reading = self._without_others_logs(self._read(note, members))
        with self._lock:
            self._remind(reading)
            if self._is_beside_final(reading):
                return
            self._look_ahead(reading)
            if not self._counts(reading) or self._is_other(reading):
                return
            known = self._notes.get(reading.size)
            lines = reading.lines if known is None else merged(known.lines, reading.lines)
            if known is not None and lines == known.lines and reading.size <= self.final_size:
                # Nothing new, and what is final has been kept.
                return
            self._keep(reading if known is None else replace(known, lines=lines))

    def reach(self, ends: Mapping[int, str]) -> None:
        """Take the checkpoints of blocks that were applied together: the newest, and those of which others' are known.

        Of what lies between, nothing is cosigned, and nobody has said anything that it could contradict or make final.

        Args:
            ends: size → checkpoint, in order.

        Raises:
            VerificationError: as `learn`.
        """
        newest = max(ends)
        for size, checkpoint in ends.items():
            if size == newest or size in self._notes:
                self.learn(checkpoint)

    def vouch(self, is_caught_up: Callable[[], bool]) -> str | None:
        """Cosign a block end, if it is time and nothing speaks against it: the newest, or one where others wait.

        Args:
            is_caught_up: tells whether the node has all blocks that there are; after a restore it has not. Asked when
                nobody else cosigns any more: before, it could have changed meanwhile.

        Returns:
            The note with all lines known, to be sent to the orderer and the peers; None if nothing was cosigned.
        """
        with self._lock:
            now, vouched = self._clock(), self._vouched
            if not is_caught_up() or self.is_stopped or not self._is_asked():
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
        """Write down what is final, with the lines that came later; nobody waits for it, and few writes do for many.

        Whoever has lines to give waits for one note at most, and for no write.
        """
        with self._lock:
            sizes = sorted(self._unsaved)
        for size in sizes:
            text = self._take_unsaved(size)
            if text is None:
                continue
            try:
                self._checkpoints.put(text, size, final=True)
            except MedchainError:
                with self._lock:
                    self._unsaved.add(size)
                raise
        self._checkpoints.flush()

    def _take_unsaved(self, size: int) -> str | None:
        """Return what to write of a size, None for what is ours no more; lines that come from now on are new."""
        with self._lock:
            self._unsaved.discard(size)
            known = self._notes.get(size)
            is_ours = known is not None and self._replica.root_at(size) == known.root
            return self._text(known) if known is not None and is_ours else None

    def recall(self) -> None:
        """Know again, after a start, the newest block end and what this node vouched for, with its own lines.

        A member that has forgotten its lines would let a takeover drop a block that they made final.
        """
        with self._lock:
            vouched, height = self._vouched, self._replica.height
            self._recall_final()
            if height > 0:
                self.learn(self._replica.blocks(height, 1)[0].checkpoint)
            at = self._replica.height_of(vouched.size) if vouched.size == vouched.floor else None
            if not at or self._replica.root_at(vouched.size) != vouched.root:
                return
            try:
                self.learn(self._replica.blocks(at, 1)[0].checkpoint)
            except VerificationError as error:
                if error.code != "checkpoint.log_line":
                    raise
                # Who ordered that block has another log key since, and its line can be read no more. This node starts;
                # before it has cosigned again it takes part in no takeover (`testimony`).
                return
            known = self._notes.get(vouched.size)
            if known is not None and known.root == vouched.root:
                # The same size and root once more: no new promise.
                self._sign(known, self._clock())

    def _recall_final(self) -> None:
        """Know again the lines of the newest final note, so that later ones are added to them, and not put in place."""
        height = self._replica.height_of(self.final_size)
        if height:
            self._counted.setdefault(self.final_size, [self._replica.members_at(height)])
            # By a log key that is exchanged since it says nothing any more.
            with suppress(MedchainError):
                self.learn(self._final.text)

    def note(self, size: int | None = None) -> str | None:
        """Return the newest note of our own history with the lines known, or that of a size."""
        with self._lock:
            mine = [at for at in self._notes if at <= self._replica.size] if size is None else [size]
            return self._text(self._notes[max(mine)]) if mine and max(mine) in self._notes else None

    def testimony(self) -> str | None:
        """Return what this node shows in a takeover: the note of the largest size that it cosigned, or the newest.

        Raises:
            UnavailableError: ``takeover.note`` while it lacks that note, or its lines there, as where it has dropped
                the block and did not get to what comes in its place: any other note would deny what it cosigned.
        """
        with self._lock:
            vouched = self._vouched
            known = self._notes.get(vouched.floor)
            if vouched.floor == vouched.size > self.final_size:
                own = {name.use for name in known.lines if name.org_id == self._notary.org_id} if known else set()
                if known is None or known.root != vouched.root or len(own) < len(COSIGN_USES):
                    raise UnavailableError("takeover.note", size=vouched.size)
            return self.note() if known is None else self._text(self._listed(known))

    def _listed(self, reading: Reading) -> Reading:
        """Leave out lines of others that none of the present members lists: who asks may know no other members.

        And the line of a log that took the end up, which promises nothing.
        """
        active = self._replica.members.active
        listed = {(item.org_id, key.id) for item in active for key in item.keys}
        me = self._notary.org_id
        lines = [(name, line) for name, line in reading.lines.items() if name.use in COSIGN_USES]
        kept = {name: line for name, line in lines if name.org_id == me or (name.org_id, name.key_id) in listed}
        return replace(reading, lines=kept)

    @property
    def vouched(self) -> Vouched:
        """What it must not forget."""
        return self._vouched

    @property
    def evidence(self) -> tuple[str, ...]:
        """Notes under valid log lines that contradict each other; none while there is no split view."""
        return self._evidence

    def stand_down(self, new_orderer: str, version: int) -> None:
        """Cosign nothing until the takeover's block is applied; durable when it returns.

        Args:
            new_orderer: org_id of who takes over.
            version: of the protocol object that the takeover makes.
        """
        with self._lock:
            self._remember(replace(self._vouched, stood_down=new_orderer, version=version))

    def spend(self, key_ids: frozenset[str]) -> None:
        """Order under some log keys no more, since blocks that they signed are dropped; durable when it returns.

        Args:
            key_ids: of own log keys.
        """
        with self._lock:
            spent = self._vouched.spent | key_ids
            if spent != self._vouched.spent:
                self._remember(replace(self._vouched, spent=spent))

    def take_back(self, before: Vouched) -> None:
        """Take back what was promised, and what was spent, for a takeover that was none; durable.

        What it cosigned, or learned that it had cosigned, meanwhile stays.

        Args:
            before: what was remembered before it.
        """
        with self._lock:
            vouched = replace(self._vouched, stood_down=before.stood_down, version=before.version, spent=before.spent)
            if vouched != self._vouched:
                self._remember(vouched)

    def resume(self, base_size: int, base_root: bytes, replaced: str, *, orderer: str, version: int) -> None:
        """Go on after a takeover; cosign nothing still if another one was promised to be waited for.

        Args:
            base_size: size of the last block that was kept; what was cosigned above it is void.
            base_root: its root.
            replaced: org_id of the orderer that was lost.
            orderer: org_id of who orders now.
            version: of the protocol object that names it. A promise to wait for its takeover of a later one stays.
        """
        with self._lock:
            floor = self._vouched.floor
            if base_size == floor and (self._vouched.size, self._vouched.root) != (floor, base_root):
                # A block of the new history ends where one that was dropped did. What was cosigned there is another
                # root, and the size stays forbidden: nothing may look like a renewal.
                floor += 1
            # One that a block before had named already replaces nobody now.
            lost = replaced if replaced != orderer else ""
            before = self._vouched
            vouched = Vouched(floor, base_size, base_root, replaced=lost, replaced_from=base_size, spent=before.spent)
            if before.stood_down != orderer or before.version > version:
                vouched = replace(vouched, stood_down=before.stood_down, version=before.version)
            self._remember(vouched)
            self.forget(base_size)
            self._told = self.meeting = 0
            self.own_note = None

    def forget(self, size: int) -> None:
        """Forget the notes above a size, where the blocks that end there were dropped."""
        with self._lock:
            self._notes = {at: reading for at, reading in self._notes.items() if at <= size}

    def _meet(self, members: Members) -> None:
        """Go by other members: what is remembered of others' ledgers counts as if it came now.

        Who orders no more cannot have signed what its successor's blocks contradict: its notes beyond its last block
        are void, and prove nothing against them.
        """
        with self._lock:
            self._members, self._settled = members, self._read_settled()
            self._notes = {
                at: known
                for at, known in self._notes.items()
                if self._replica.root_at(at) == known.root or self._counts(known)
            }

    def _since_final(self) -> tuple[_Reign, ...]:
        """Return the sets of members since the last final block, the one at its end included, in order."""
        final, members, known = self.final_size, self._replica.members, self._reigns
        if known is None or known[1] is not members or (len(known[2]) > 1 and known[0] != final):
            height = self._replica.height_of(final) or 0
            heights = [height, *(at for at in self._replica.members_changes() if at > height)]
            past = [_Reign(at, self._replica.members_at(at)) for at in heights] if len(heights) > 1 else []
            known = self._reigns = final, members, tuple(past or [_Reign(height, members)])
        return known[2]

    def _is_asked(self) -> bool:
        """Tell whether this node's lines count: with one of the sets of members whose quorums are needed."""
        me = self._notary.org_id
        return any(org.org_id == me for reign in self._since_final() for org in reign.members.active)

    def _read(self, note: str, members: Members) -> Reading:
        """Verify a note under the keys of all members since the last final block; raises as `learn`.

        One that is signed under a log key that was exchanged meanwhile counts only for a block end of ours: of others,
        under a key that is in force no more, there may be void ones.
        """
        sets = self._reigning()
        earlier = sets[:-1]
        try:
            return self._notary.read(note, members, self._notes, earlier)
        except VerificationError as error:
            if error.code != "checkpoint.log_line":
                raise
            for past in reversed(earlier):
                with suppress(VerificationError):
                    reading = self._notary.read(note, past, earlier=sets)
                    if self._replica.root_at(reading.size) == reading.root:
                        return reading
            raise

    def _read_settled(self) -> frozenset[tuple[str, int, bytes]]:
        """Return signer, size and root of the notes that were acknowledged; of a key that was exchanged since, none."""
        settled: set[tuple[str, int, bytes]] = set()
        for note in self._settled_notes:
            with suppress(MedchainError):
                reading = self._notary.read(note, self._replica.members)
                settled.add((reading.log_org, reading.size, reading.root))
        return frozenset(settled)

    def _is_settled(self, reading: Reading) -> bool:
        """Tell whether an operator knows already that the signer of a note has signed two histories.

        Whoever holds a forked note could else stop all members again after each acknowledgement, and a signer that
        orders no more could make another one each time. Of who orders, only the sizes that were seen are settled.
        """
        speaks = reading.log_org in {self._replica.members.protocol.orderer, self._vouched.stood_down}
        return any(
            org_id == reading.log_org and (not speaks or size == reading.size) for org_id, size, _ in self._settled
        )

    def _sign(self, known: Reading, now: int) -> None:
        """Add our own lines to a note whose size and root are remembered as cosigned."""
        lines = self._notary.cosign(known.size, known.root, now)
        self.own_note = self._text(replace(known, lines=lines))
        self._keep(replace(known, lines=merged(known.lines, lines)))

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

    def _counts(self, reading: Reading) -> bool:
        """Tell whether a note says something of the ledger, as far as its log line goes."""
        return self._is_the_orderers(reading) and not self._is_void(reading)

    def _is_the_orderers(self, reading: Reading) -> bool:
        """Tell whether the log line is by who orders, is about to, or ordered the block that ends there."""
        if reading.log_org in {self._replica.members.protocol.orderer, self._vouched.stood_down}:
            return True
        # The very line of our block, under whichever key, or another one by the same organisation.
        return reading.log_line in self._block_note(reading.size) or self._signer_of(reading.size) == reading.log_org

    def _signer_of(self, size: int) -> str | None:
        """Tell who signed the block of ours that ends at a size; None for no block, and for a key in use no more."""
        height = self._replica.height_of(size)
        if not height:
            return None
        checkpoint = self._replica.blocks(height, 1)[0].checkpoint
        try:
            return self._notary.read(checkpoint, self._replica.members).log_org
        except VerificationError:
            return None

    def _is_void(self, reading: Reading) -> bool:
        """Tell whether a note is of those that a takeover has made, or is about to make, void."""
        vouched = self._vouched
        if vouched.stood_down:
            return self._replica.root_at(reading.size) != reading.root
        # An organisation that orders again speaks for the ledger again.
        is_replaced = reading.log_org == vouched.replaced != self._replica.members.protocol.orderer
        return is_replaced and reading.size > vouched.replaced_from

    def _remind(self, reading: Reading) -> None:
        """Learn what this node cosigned and has forgotten, since it was restored: it must sign no other root there.

        A log line of its own says nothing of that: any member could put it behind another's, and have a node that
        orders take for cosigned what it has yet to cosign.
        """
        is_mine = any(name.org_id == self._notary.org_id and name.use in COSIGN_USES for name in reading.lines)
        if not is_mine or reading.size < self._vouched.floor:
            return
        vouched, is_ours = self._vouched, self._replica.root_at(reading.size) == reading.root
        if reading.size > vouched.floor:
            vouched = replace(vouched, floor=reading.size)
        if is_ours and vouched.floor == reading.size:
            vouched = replace(vouched, size=reading.size, root=reading.root)
        if vouched != self._vouched:
            self._remember(vouched)

    def _look_ahead(self, reading: Reading) -> None:
        """Note what a quorum vouches for and this node lacks, until it has it; where ours is final nothing is to come.

        A quorum of the newest members alone proves nothing: their set need not be final.
        """
        if reading.size <= self.final_size or self.behind_since is not None:
            return
        if self._replica.root_at(reading.size) != reading.root and is_quorum(reading.lines, self._reigning()):
            self._ahead = _Ahead(reading.size, reading.root, self._clock())

    def _reigning(self) -> list[Members]:
        """Return the sets of members since the last final block, in order."""
        return [reign.members for reign in self._since_final()]

    def _is_beside_final(self, reading: Reading) -> bool:
        """Look whether what is not in our ledger has a quorum, where it must be: more lie than may.

        That is, where ours is final, or where a takeover, which we have, dropped what its signer had ordered there. A
        quorum of members that are not final yet proves nothing: they may be on another branch as well. Nor does one
        of members that came after its block was dropped: those who keep to the rules had cosigned it, too few then.
        """
        mine, is_waiting = self._replica.root_at(reading.size), bool(self._vouched.stood_down)
        is_settled = (reading.log_org, reading.size, reading.root) in self._settled
        if mine == reading.root or is_settled or not is_quorum(reading.lines, self._reigning()):
            return False
        is_dropped = not is_waiting and self._is_void(reading)
        if not (reading.size <= self.final_size or is_dropped) or not is_quorum(reading.lines, self._sets_beside()):
            return False
        ours, theirs = self._block_note(reading.size) or self._final.text, self._text(reading)
        if not self._evidence:
            self._evidence = tuple(filter(None, (ours, theirs)))
        self._split(reading.size, "quorum", ours=ours, theirs=theirs)
        return True

    def _sets_beside(self) -> list[Members]:
        """Return the sets of members since the first block of ours in whose place honest members may have had another.

        Only a takeover has them go over from one to the other.
        """
        changes = self._replica.members_changes()
        taken = self._first_takeover(changes)
        first = self._replica.height if taken is None else taken - 1
        return [self._replica.members_at(height) for height in (first, *(at for at in changes if at > first))]

    def _first_takeover(self, changes: Iterable[int]) -> int | None:
        """Return the height of our first takeover, None for none. Who hands over in time signs the block itself."""
        replica, members = self._replica, self._replica.members
        if self._taken is None or self._taken[0] is not members:
            self._taken = members, None
            for height in filter(None, changes):
                before = replica.members_at(height - 1)
                if replica.members_at(height).protocol.orderer == before.protocol.orderer:
                    continue
                log_orgs = [self._notary.read(item.checkpoint, before).log_org for item in replica.blocks(height, 1)]
                if log_orgs[:1] != [before.protocol.orderer]:
                    self._taken = members, height
                    break
        return self._taken[1]

    def _is_other(self, reading: Reading) -> bool:
        """Compare a note with our own history and with other notes of its size; a difference is a split view."""
        mine = self._replica.root_at(reading.size)
        known = self._notes.get(reading.size)
        if (mine is None or mine == reading.root) and (known is None or known.root == reading.root):
            return False
        signer = self._signer_of(reading.size)
        is_judged = signer is not None or reading.size > self.final_size
        if mine is not None and signer != reading.log_org and is_judged:
            # Who orders after a lost orderer's last block, which is not final: a takeover may have dropped it, and only
            # the blocks tell. Or who orders again, after a takeover dropped what it had signed there.
            self.is_left = True
            return True
        if self._is_settled(reading):
            self.is_left = mine is not None
            return True
        if not self._evidence:
            self._evidence = tuple(self._text(item) for item in (known, reading) if item is not None)
        is_against_known = known is not None and known.root != reading.root
        ours = self._bare(known) if known is not None and is_against_known else self._block_note(reading.size)
        self._split(reading.size, "peer", ours=ours, theirs=self._bare(reading))
        return True

    def _split(self, size: int, source: str, **notes: str) -> None:
        """Stop cosigning, and say why, with the notes that prove it: what is in memory only ends with the process."""
        if not self._is_split:
            self._is_split = True
            fields: dict[str, int | str | None] = {"size": size, "source": source, **notes}
            self._raise_alarm(Alarm(SPLIT_VIEW, self._replica.height, fields, latched=True))

    def _bare(self, reading: Reading) -> str:
        """Write a note with the log's line alone, which says who signed both histories."""
        return self._notary.write(reading.size, reading.root, reading.log_line, {})

    def _block_note(self, size: int) -> str:
        """Return the note of our own block that ends at a size."""
        height = self._replica.height_of(size)
        return "" if height is None else self._replica.blocks(height, 1)[0].checkpoint

    def _keep(self, reading: Reading) -> None:
        """Remember a note, forget old ones, and notice finality."""
        size = reading.size
        self._notes[size] = reading
        self._forget_far()
        self._counted = {at: sets for at, sets in self._counted.items() if at in self._notes or at == self.final_size}
        if self._replica.root_at(size) != reading.root:
            return
        is_final = self._is_final(reading)
        if is_final:
            reading = self._notes[size] = self._taken_up(reading)
        if is_final and size <= self.final_size:
            self._unsaved.add(size)
            if size == self.final_size:
                self._final = FinalNote(size, self._text(reading))
            return
        text = self._text(reading)
        self._checkpoints.put(text, size, final=is_final)
        if is_final:
            self._counted[size] = self._sets_of(size)
            self._final = FinalNote(size, text)
            self.meeting = self.meeting if self.meeting > size else 0
            self._on_news()
        elif reading.lines and size > max(self.final_size, self.meeting):
            self.meeting = size
            self._on_news()

    def _taken_up(self, reading: Reading) -> Reading:
        """Add our log's line to the final end of the block by which another handed the log over to us.

        It names the policy under which ours alone counts, and was signed by who ordered before. Final, and cosigned by
        us, it is what all that we order follows on: we sign no other root of its size. All get the line at once.
        """
        me = self._notary.org_id
        if self.is_stopped or not self._replica.members.protocol.orderer == me != reading.log_org:
            return reading
        name = self._successor(reading.size)
        is_ours = name is not None and name.org_id == me and name not in reading.lines
        if not is_ours or me not in complete(reading.lines, self._replica.members):
            return reading
        made = self._notary.sign_log(reading.size, reading.root, self._log_signer)
        if name not in made or self._is_barred():
            return reading
        self._is_renewed = True
        return replace(reading, lines={**reading.lines, **made})

    def _successor(self, size: int) -> LineName | None:
        """Name the log line of who orders from a block end of ours on; None for another size."""
        height = self._replica.height_of(size)
        if height is None:
            return None
        members = self._replica.members_at(height)
        orderer = members.organisations[members.protocol.orderer]
        return LineName(orderer.org_id, LOG_KEY, orderer.key(LOG_KEY).id)

    def _without_others_logs(self, reading: Reading) -> Reading:
        """Leave out lines of log keys but the successor's: any member could put its own beside the orderer's."""
        logs = {name for name in reading.lines if name.use == LOG_KEY}
        if not logs:
            return reading
        others = logs - {self._successor(reading.size)}
        return replace(reading, lines={name: line for name, line in reading.lines.items() if name not in others})

    def _forget_far(self) -> None:
        """Forget the notes that are furthest from the end of our ledger, if there are too many.

        Up to it the oldest go, above it the largest: an orderer can sign any number of sizes that no log will have.
        """
        if len(self._notes) <= MAX_NOTES:
            return
        known = sorted(self._notes)
        below = bisect_right(known, self._replica.size)
        for far in (*known[:below][:-MAX_NOTES], *known[below:][MAX_NOTES:]):
            # What this node cosigned last is what it must answer in a takeover, however many blocks came since.
            if far != self._vouched.floor:
                del self._notes[far]

    def _is_final(self, reading: Reading) -> bool:
        """Tell whether a note makes a block of ours final: by a quorum of every set of members since the last one.

        By the newest set alone, a liar could lead some of the members behind a change that makes the quorum smaller,
        and have another block final with the others (`docs/spec/ordering.md` 4).
        """
        sets = self._counted.get(reading.size, ()) if reading.size <= self.final_size else self._sets_of(reading.size)
        return bool(sets) and is_quorum(reading.lines, sets)

    def _sets_of(self, size: int) -> Sequence[Members]:
        """Return the sets of members from the last final block up to a block end of ours, none for another size."""
        height = self._replica.height_of(size)
        return [reign.members for reign in self._since_final() if height is not None and reign.height <= height]

    def _text(self, reading: Reading) -> str:
        """Write a note."""
        return self._notary.write(reading.size, reading.root, reading.log_line, reading.lines)

    def _remember(self, vouched: Vouched) -> None:
        """Save first, then go by it."""
        self._memory.save(vouched)
        self._vouched = vouched
