"""The embedded driver: one organisation orders, the others follow and verify; the ledger says which one.

Puts orderer, follower, cosigner and outbox of one node together and gives each its thread. Keeps true: the role is what
the members' newest protocol object says, asked anew at each step, so that a hand-over needs no restart; a node orders
and cosigns only after it has looked at its peers, since it may have been restored or replaced meanwhile; `stop` waits
for everything that was accepted. Trusts its replica; what comes from peers is verified.
Source: `docs/spec/ordering.md`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from medchain.crypto.signing import Ed25519Signer
from medchain.errors import InputError, MedchainError, UnavailableError, VerificationError
from medchain.ordering.agreed_clock import AHEAD, AgreedClock, Clocks
from medchain.ordering.block import MAX_ANSWER_BYTES, Block, accepted_ids
from medchain.ordering.clock_doubt import ClockDoubt
from medchain.ordering.cosign import BUSY_S, Checkpoints, Cosigner, Memory
from medchain.ordering.driver import Alarm, Applied, Clock, Health, OrdererClient, Replica
from medchain.ordering.entry import entry_bytes
from medchain.ordering.feed import Feed
from medchain.ordering.follower import POLL_S, Follower, Look, Source
from medchain.ordering.lines import Notary
from medchain.ordering.orderer import Orderer, OrdererLimits
from medchain.ordering.outbox import Outbox
from medchain.ordering.promises import PromiseBook, Receipts
from medchain.ordering.receipt import Outcome
from medchain.ordering.round import Ask, round_answer
from medchain.ordering.succession import Succession

ASK_OTHERS_AFTER: Final = 3
"""After how many failures in a row a follower asks other members for blocks."""

LOOK_S: Final = 10
"""How often a follower looks at another member, each in turn, for what the orderer does not say."""

BEHIND_S: Final = 60
"""For how long others may have final what the orderer says there is not, before that is an alarm."""

MAX_ALARMS: Final = 64
"""How many alarms of one code are kept until somebody has looked; the first ones matter most."""

LOG_KEY_SPENT: Final = "ordering.log_key"
"""Alarm: this node has to order under a log key that has signed blocks which a takeover dropped, and does not."""

NO_HEIR: Final = "ordering.no_heir"
"""Reason: were the orderer lost now, nobody could order in its place, nor exchange its log key any more."""

KEPT_BACK: Final = "ordering.kept_back"
"""Alarm: others have blocks made before the orderer said that there were none."""

NOT_GIVEN: Final = "ordering.not_given"
"""Alarm: others have final what the orderer says there is not, and this node does not get it."""

_REST: Final = 4
_QUIET_TURNS: Final = 25
_TIDY_S: Final = 2.0
_MISSING_TURNS: Final = 5


@dataclass(frozen=True, slots=True)
class Ports:
    """What the embedded driver needs from its node.

    Attributes:
        replica: the node's ledger.
        notary: reads and writes checkpoint notes.
        memory: what was cosigned, on disk.
        checkpoints: keeps notes.
        receipts: keeps receipts.
        clock: gives Unix seconds.
        connect: org_id → the way to that organisation; asked anew at each use, so that a new address needs nothing.
        is_split: whether a split view that an earlier run saw is not settled: then nothing is cosigned in this one.
        settled: notes that prove split views which an operator has acknowledged: they stop nothing again.
        clocks: what the clock is compared with; None where nobody sets it.
    """

    replica: Replica
    notary: Notary
    memory: Memory
    checkpoints: Checkpoints
    receipts: Receipts
    clock: Clock
    connect: Callable[[str], OrdererClient]
    is_split: bool = False
    settled: Sequence[str] = ()
    clocks: Clocks | None = None


class EmbeddedDriver:
    """Ordering for one node (`medchain.ordering.driver.OrderingDriver`).

    Attributes:
        keep_alarm: writes an alarm that must stay down before what raised it goes on; may fail, `health` has it still.
    """

    def __init__(
        self,
        org_id: str,
        log_signer: Ed25519Signer,
        ports: Ports,
        *,
        limits: OrdererLimits | None = None,
        restored: bool = False,
        poll_s: int = POLL_S,
    ) -> None:
        """Prepare; nothing runs yet.

        Args:
            org_id: the node's organisation.
            log_signer: its log key.
            ports: what the node gives.
            limits: of the orderer's queue.
            restored: whether the ledger's file comes from a backup. Then nothing is ordered or cosigned until a quorum
                of members has said, in this run, that there is nothing newer.
            poll_s: how long a poll waits.
        """
        self._org_id, self._ports, self._poll_s = org_id, ports, poll_s
        self._pen = threading.Lock()
        self._stopping, self._came = threading.Event(), threading.Event()
        self._threads: list[threading.Thread] = []
        self._alarms: list[Alarm] = []
        self._looked_at: set[str] = set()
        self._is_ready, self._restored = False, restored
        self._told: tuple[str, ...] = ()
        self._lines: str | None = None
        self._turn, self._rest_until, self._is_hasty = 0, 0.0, False
        self._looked, self._next = ports.clock(), 0
        self._last_orderer = ports.replica.members.protocol.orderer
        self.keep_alarm: Callable[[Alarm], None] = _forget
        replica, clock = ports.replica, ports.clock
        self.feed = Feed(replica)
        self.cosigner = Cosigner(
            replica,
            ports.notary,
            ports.memory,
            ports.checkpoints,
            clock,
            log_signer=log_signer,
            raise_alarm=self._raise_alarm,
            is_barred=self._is_barred,
            on_news=self.feed.publish,
            is_split=ports.is_split,
            settled=ports.settled,
        )
        self._doubt = ClockDoubt(replica, clock, heard=self.cosigner.heard, raise_alarm=self._raise_alarm)
        self._dating = AgreedClock(org_id, replica, clock, ports.clocks)
        self.orderer = self._make_orderer(log_signer, limits)
        self.follower = Follower(
            replica,
            self._source,
            clock,
            pen=self._pen,
            feed=self.feed,
            on_blocks=self._applied,
            reroute=self._look_at,
            is_held=self._is_held,
            ask=self._ask,
        )
        self.promises = PromiseBook(replica, ports.notary, clock, ports.receipts, self._raise_alarm)
        self.outbox = Outbox(replica, self.submit, self.promises)
        self._succession = Succession(
            replica,
            ports.notary,
            self.cosigner,
            self.follower,
            clock,
            org_id=org_id,
            log_key=log_signer.public,
            pen=self._pen,
            peers=self._peers,
            connect=ports.connect,
            on_takeover=self._taken_over,
            on_dropped=self._submit_again,
            raise_alarm=self._raise_alarm,
        )

    def _make_orderer(self, log_signer: Ed25519Signer, limits: OrdererLimits | None) -> Orderer:
        """Make what orders while this organisation does."""
        return Orderer(
            self._ports.replica,
            self._org_id,
            log_signer,
            self._dating.now,
            pen=self._pen,
            feed=self.feed,
            limits=limits,
            on_block=self._ordered,
            is_barred=self._is_barred,
            raise_alarm=self._raise_alarm,
        )

    def _is_barred(self) -> bool:
        """Tell whether this node may order nothing, though the ledger names it."""
        succession = self._succession
        return bool(self.cosigner.vouched.stood_down) or succession.is_between or succession.is_log_key_spent

    @property
    def is_orderer(self) -> bool:
        """Whether the ledger names this organisation as the orderer."""
        return self._ports.replica.members.protocol.orderer == self._org_id

    @property
    def is_caught_up(self) -> bool:
        """Whether, as far as this node can know, it has every block."""
        return self._is_ready and (self.is_orderer or (self.follower.is_caught_up and not self._is_behind))

    @property
    def _is_behind(self) -> bool:
        """Whether others have had final for long what this node does not get."""
        since = self.cosigner.behind_since
        return since is not None and self._ports.clock() - since > BEHIND_S

    def start(self) -> None:
        """Begin; returns at once."""
        self._stopping.clear()
        self.prepare()
        for name, turn in (("follower", self._follow), ("cosigner", self._cosign), ("outbox", self._send)):
            thread = threading.Thread(target=self._guarded, args=(name, turn), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def prepare(self) -> None:
        """Begin to order, without the threads that follow, cosign and submit; a test takes those steps itself."""
        self._succession.settle()
        self.cosigner.recall()
        self.promises.recall()
        self.orderer.start()

    def stop(self) -> None:
        """Finish what was accepted and end; a poll under way may take its time to return."""
        self._stopping.set()
        self._came.set()
        self.orderer.stop()
        self.feed.close()
        self.outbox.wake()
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        with suppress(MedchainError):
            # What is lost here comes again from the others.
            self.cosigner.tidy()

    def submit(self, leaves: Sequence[bytes]) -> list[Outcome]:
        """Offer envelopes to whoever orders; see `medchain.ordering.driver.OrderingDriver.submit`."""
        orderer = self._ports.replica.members.protocol.orderer
        if orderer == self._org_id:
            return self.order(leaves)
        outcomes = self._ports.connect(orderer).submit(leaves)
        if len(outcomes) != len(leaves):
            raise InputError("receipt.malformed", count=len(outcomes))
        return outcomes

    def order(self, leaves: Sequence[bytes]) -> list[Outcome]:
        """Order what a member sent here; never passes it on, or two that mistake each other would send it to and fro.

        Raises:
            UnavailableError: ``ordering.not_orderer``, ``ordering.not_ready``, ``ordering.log_key`` under a log key of
                a former reign, and as `Orderer.submit`.
        """
        if not self.is_orderer or self.cosigner.vouched.stood_down:
            raise UnavailableError("ordering.not_orderer", orderer=self._ports.replica.members.protocol.orderer)
        if not self._is_ready:
            raise UnavailableError("ordering.not_ready", asked=len(self._looked_at))
        if self._succession.is_log_key_spent:
            raise UnavailableError(LOG_KEY_SPENT, orderer=self._org_id)
        return self.orderer.submit(leaves)

    def blocks(self, first: int, wait_s: float = 0) -> list[Block]:
        """Return blocks from a height on, waiting so long for the first one."""
        return self.feed.blocks(first, wait_s)

    def frames(self, first: int, wait_s: float = 0, max_bytes: int = MAX_ANSWER_BYTES) -> bytes:
        """Return the same as frames, encoded once for all who ask."""
        return self.feed.frames(first, wait_s, max_bytes)

    def round(self, ask: Ask) -> bytes:
        """Take a member's lines; return blocks, and what has become final, at the first news of either.

        Args:
            ask: what it lacks.

        Returns:
            `medchain.ordering.round.round_answer`.

        Raises:
            UnavailableError: ``ordering.not_ready``: what came after the backup may be with others, or blocks are
                dropped and what comes in their place is not there yet, so that "nothing" would not be true;
                ``ordering.not_orderer`` where another orders: its "nothing" would count as level.
            MedchainError: as `Cosigner.learn`, for its note.
        """
        if self._restored and not self._is_ready:
            raise UnavailableError("ordering.not_ready", asked=len(self._looked_at))
        cosigner = self.cosigner
        if ask.note is not None:
            cosigner.learn(ask.note)
        self.feed.wait(ask.first, ask.wait_s, lambda: cosigner.final_size > ask.final or cosigner.meeting > ask.met)
        final, frames = cosigner.change_after(ask.final) or cosigner.final_note, self.feed.frames(ask.first)
        orderer = self._ports.replica.members.protocol.orderer
        if not frames and orderer != self._org_id:
            raise UnavailableError("ordering.not_orderer", orderer=orderer)
        if not frames and self._succession.is_between:
            raise UnavailableError("ordering.not_ready", asked=len(self._looked_at))
        note = final.text if final.size > ask.final else None
        return round_answer(note, cosigner.meeting, frames)

    def height(self) -> int:
        """Height of the newest block that this node has applied."""
        return self._ports.replica.height

    def checkpoint(self, final: int | None = None) -> str | None:
        """Return the newest note with the lines known, or that of the next change of members to who lacks it.

        Args:
            final: size up to which the ledger is final to who asks.
        """
        change = None if final is None else self.cosigner.change_after(final)
        return self.cosigner.note() if change is None else change.text

    def cosign(self, note: str) -> None:
        """Take a note with a member's lines; raises as `Cosigner.learn`."""
        self.cosigner.learn(note)

    def entry(self, position: int, size: int) -> bytes:
        """Prove that our log, at the end of our block of a size, holds a leaf at a position.

        Raises:
            NotFoundError: ``store.leaf`` where no block of ours ends there, or its log has no such leaf.
            VerificationError: ``store.corrupt``.
        """
        return entry_bytes(self._succession.entry(position, size))

    def stand_down(self, leaf: bytes) -> str | None:
        """Stop cosigning for an orderer that is being replaced; see `Succession.stand_down`."""
        return self._succession.stand_down(leaf)

    def takeover(self, leaf: bytes) -> Block:
        """Become the orderer after the old one is lost; see `Succession.take_over`."""
        block = self._succession.take_over(leaf)
        self._is_ready = True
        return block

    def may_order(self, org_id: str) -> bool:
        """Tell whether an organisation may order under its log key, see `Succession.may_order`."""
        return self._succession.may_order(org_id)

    def health(self) -> Health:
        """Tell how it is."""
        alarms = list(self._alarms)
        if self.follower.alarm is not None:
            alarms.append(self.follower.alarm)
        if self._doubt.alarm is not None:
            alarms.append(self._doubt.alarm)
        # Watched by whoever may order next as well: a clock that is moved by then is known to be.
        undated = self._dating.alarm
        if undated is not None and (self.is_orderer or undated.code == AHEAD):
            alarms.append(undated)
        if self._is_behind and (self.is_orderer or self.follower.is_caught_up):
            alarms.append(Alarm(NOT_GIVEN, self.height(), {"orderer": self._ports.replica.members.protocol.orderer}))
        failure = self.orderer.failure
        if failure is not None and failure.code == "ordering.failed":
            alarms.append(Alarm(failure.code, self.height(), failure.fields))
        is_spent = self._succession.is_log_key_spent
        if is_spent and self.is_orderer:
            alarms.append(Alarm(LOG_KEY_SPENT, self.height()))
        return Health(
            "orderer" if self.is_orderer else "follower",
            self.height(),
            self._ports.replica.members.protocol.orderer,
            self.is_caught_up,
            self.orderer.waiting,
            tuple(alarms),
            is_log_key_spent=is_spent,
            has_heir=self._succession.has_heir,
        )

    def look_round(self) -> bool:
        """Ask every peer whether it has what we lack; tells whether this node may order and cosign now.

        An orderer whose file was lost and restored would otherwise order a second history, and one that was replaced
        meanwhile would go on alone. So does one that is in the middle of the ledger, where it ordered once: who has
        more than it has given yet, or says so, is asked again, until a quorum has no more.
        """
        is_cut_short = False
        for org_id, client in self._peers().items():
            with suppress(MedchainError):
                found = self.follower.look(Source(org_id, client, is_orderer=False))
                is_cut_short |= found is Look.MORE
                if self._restored and not self._is_ready and (note := client.checkpoint()) is not None:
                    # With our own lines, perhaps, which we have forgotten.
                    self.cosigner.learn(note)
                if found is Look.LEVEL:
                    self._looked_at.add(org_id)
        is_level = len(self._looked_at) + 1 >= self._ports.replica.members.protocol.quorum
        self._is_ready = self._is_ready or is_level or not (self._restored or is_cut_short)
        return self._is_ready

    def follow_once(self, wait_s: int = 0) -> int:
        """Ask once for blocks, or, while this node orders, look round; returns how many were applied."""
        self._recover()
        awaited, before = self.cosigner.vouched.stood_down, self.height()
        if not self._is_ready or self.is_orderer or awaited == self._org_id:
            # Who waits for its own takeover has nobody to follow: the others may have gone on without it.
            self.look_round()
        else:
            self._look_at_others(awaited or self._ports.replica.members.protocol.orderer, is_awaited=bool(awaited))
        seen = max(0, self.height() - before)
        return seen + (self.follower.step(0 if seen else wait_s) if self._is_ready else 0)

    def _look_at_others(self, leader: str, *, is_awaited: bool) -> None:
        """Look where a takeover may show: at the leader, if one is to come, and now and then at the others, in turn.

        Whom this node takes for the orderer may have been replaced, and say that there is nothing newer, for ever.
        """
        if is_awaited or self.cosigner.is_left:
            self.cosigner.is_left = False
            self._look_at(Source(leader, self._ports.connect(leader), is_orderer=True))
        now, others = self._ports.clock(), sorted(self._peers().keys() - {leader})
        if others and not 0 <= now - self._looked < LOOK_S:
            self._looked, self._next = now, self._next + 1
            name = others[self._next % len(others)]
            with suppress(MedchainError):
                self.follower.look(Source(name, self._ports.connect(name), is_orderer=False), answers=1)

    def _recover(self) -> None:
        """Go on after a takeover that was cut short here, see `Succession.recover`."""
        self._succession.settle()
        orderer = self._ports.replica.members.protocol.orderer
        if self.cosigner.vouched.stood_down and self._succession.recover():
            self._last_orderer = orderer
            self.outbox.reset()

    def cosign_once(self) -> bool:
        """Cosign if it is time, and tell all members what they must know from us; tells whether it cosigned.

        The lines go to the orderer with the next poll, which brings back what has become final.
        """
        evidence = self.cosigner.evidence
        if evidence != self._told:
            # The others may have seen one side only, and whoever saw both has stopped sending lines.
            self._told = evidence
            for proof in evidence:
                self._send_round(proof)
        did = self._vouch()
        note = self.cosigner.gossip()
        if note is not None:
            self._send_round(note)
            final = self.cosigner.final_note
            if 0 < final.size < self.cosigner.vouched.floor:
                # The orderer may have kept from others that it is, and newer notes do not tell.
                self._send_round(final.text)
        return did

    def hand_in(self) -> None:
        """Give the orderer lines that no poll takes along, since the one under way began before they were made."""
        note, orderer = self._lines, self._ports.replica.members.protocol.orderer
        if note is None or orderer == self._org_id:
            return
        with suppress(MedchainError):
            self._ports.connect(orderer).cosign(note)
            self._took(note)

    def _vouch(self) -> bool:
        """Cosign if it is time; tells whether it did. Never more than a fifth of a core goes into it."""
        began = time.thread_time()
        if self.cosigner.vouch(lambda: self.is_caught_up and self._is_clock_right) is None:
            return False
        self._lines = self.cosigner.own_note
        self._rest_until = time.monotonic() + min(_REST * (time.thread_time() - began), BUSY_S)
        return True

    @property
    def _is_clock_right(self) -> bool:
        """Whether a cosignature may say when it was made; who follows has learned of others that it is caught up."""
        return not self._doubt.is_open() and (not self.is_orderer or self._dating.is_right)

    def _ask(self, source: Source, first: int, wait_s: int) -> Sequence[Block]:
        """Ask for blocks; the orderer gets our newest lines with it, and tells what has become final."""
        if not source.is_orderer:
            return source.client.blocks(first, wait_s)
        cosigner, note, promised = self.cosigner, self._lines, self.promises.taken
        ask = Ask(first, wait_s, cosigner.final_size, cosigner.met, note)
        began = time.monotonic()
        try:
            found = source.client.round(ask)
        except UnavailableError:
            raise
        except MedchainError:
            if note is None:
                raise
            # Perhaps it does not like our lines; blocks matter more.
            found = source.client.round(replace(ask, note=None))
        self._took(note)
        if not found.blocks and not cosigner.vouched.stood_down:
            self.promises.denied(first, promised)
        with suppress(MedchainError):
            cosigner.told(found.meeting, found.note)
        is_news = bool(found.blocks) or cosigner.final_size > ask.final or cosigner.met > ask.met
        # One that answers nothing, and at once, must not be asked as fast as it answers.
        self._is_hasty = not is_news and time.monotonic() - began < min(wait_s, 1)
        return found.blocks

    def _took(self, note: str | None) -> None:
        """Forget lines that the orderer has, unless there are newer ones."""
        if self._lines is note:
            self._lines = None

    def _send_round(self, note: str) -> None:
        """Give a note to every peer; who is not reached fetches it with the next checkpoint."""
        for client in self._peers().values():
            with suppress(MedchainError):
                client.cosign(note)

    def gather_once(self) -> None:
        """Fetch the lines that the orderer knows, and every other time those that the next peer in turn knows."""
        peers = self._peers()
        if not peers:
            return
        orderer = self._ports.replica.members.protocol.orderer
        others = sorted(peers.keys() - {orderer})
        self._turn += 1
        is_others = bool(others) and (orderer not in peers or self._turn % 2 == 0)
        name = others[self._turn // 2 % len(others)] if is_others else orderer
        try:
            note = peers[name].checkpoint(self.cosigner.final_size)
            if note is not None:
                self.cosigner.learn(note)
        except MedchainError:
            return

    def _peers(self) -> dict[str, OrdererClient]:
        """List the other active members."""
        active = self._ports.replica.members.active
        return {o.org_id: self._ports.connect(o.org_id) for o in active if o.org_id != self._org_id}

    def _source(self, failures: int) -> Source | None:
        """Choose whom to ask for blocks: the orderer, or, when it does not answer, all members in turn."""
        orderer = self.cosigner.vouched.stood_down or self._ports.replica.members.protocol.orderer
        if orderer == self._org_id:
            return None
        peers = self._peers()
        names = [orderer, *(name for name in sorted(peers) if name != orderer)]
        asked = orderer if failures <= ASK_OTHERS_AFTER else names[failures % len(names)]
        return Source(asked, self._ports.connect(asked), asked == orderer)

    def _look_at(self, source: Source) -> bool:
        """Look for a takeover at a peer."""
        return self._succession.look_at(source.client, source.org_id)

    def _is_held(self, block: Block) -> bool:
        """Tell whether enough members have a block that seems too old: our clock is fast, or it was kept back."""
        orderer = self._ports.replica.members.protocol.orderer
        is_held = self._succession.is_held(block)
        if is_held:
            kept_back = Alarm(KEPT_BACK, block.height, {"orderer": orderer, "time": block.time}, latched=True)
            self._doubt.begin(block, kept_back if self._succession.is_by(block, orderer) else None)
        return is_held

    def _ordered(self, block: Block, ids: Sequence[bytes]) -> None:
        """Take note of a block of our own, with the ids of its transactions."""
        self._last_orderer = self._ports.replica.members.protocol.orderer
        self.cosigner.learn(block.checkpoint)
        self._came.set()
        self.outbox.seen(block, ids)

    def _applied(self, blocks: Sequence[Block], applied: Sequence[Applied]) -> None:
        """Take note of blocks of another orderer; of several, none has changed the members."""
        orderer = self._ports.replica.members.protocol.orderer
        # A takeover may be in the place of a hand-over to the same organisation.
        if orderer != self._last_orderer or orderer == self.cosigner.vouched.stood_down:
            self._change_orderer(blocks[-1], applied[-1], orderer)
        self._doubt.applied(blocks[-1])
        self.cosigner.reach({made.size: block.checkpoint for made, block in zip(applied, blocks, strict=True)})
        for block, made in zip(blocks, applied, strict=True):
            self.outbox.seen(block, made.ids)

    def _change_orderer(self, block: Block, applied: Applied, orderer: str) -> None:
        """Notice a new orderer; one that signed the very block that names it has taken over from a lost one.

        A block by which the lost orderer itself hands over ends no promise: behind blocks that it made since, it could
        have them cosigned that way, and be final beside the takeover. Only the one named need not wait for itself.
        """
        before = self._ports.replica.members_at(block.height - 1)
        reading, lost = self._ports.notary.read(block.checkpoint, before), before.protocol.orderer
        is_handed_to_us = orderer == self.cosigner.vouched.stood_down == self._org_id
        if reading.log_org == orderer != lost or is_handed_to_us:
            is_kept = reading.log_org != orderer
            size = applied.size if is_kept else applied.size - len(block.transactions) - 1
            root = self._ports.replica.root_at(size) or b""
            version = self._succession.version_at(applied.size)
            self.cosigner.resume(size, root, lost, orderer=orderer, version=version)
            self.outbox.reset()
        self._last_orderer = orderer

    def _taken_over(self, blocks: Sequence[Block], dropped: Sequence[bytes]) -> None:
        """Go on under the new orderer; whoever had a dropped block brings its transactions to the new one."""
        self._last_orderer = self._ports.replica.members.protocol.orderer
        self.outbox.reset()
        self.feed.publish()
        for block in blocks:
            # One that was kept may be by a key that was exchanged since: it is final with what follows on it.
            with suppress(VerificationError):
                self.cosigner.learn(block.checkpoint)
            self.outbox.seen(block, accepted_ids(block))
        self._submit_again(dropped)

    def _submit_again(self, dropped: Sequence[bytes]) -> None:
        """Bring transactions of blocks that were dropped to the orderer, unless a block of ours holds them."""
        for leaf in dropped:
            with suppress(MedchainError):
                self.outbox.add(leaf)

    def _raise_alarm(self, alarm: Alarm) -> None:
        """Keep an alarm until somebody has looked; many of one code, which others can cause, hide none of another."""
        same = [known for known in self._alarms if known.code == alarm.code]
        if len(same) < MAX_ALARMS and alarm not in same:
            self._alarms.append(alarm)
            if alarm.latched:
                with suppress(MedchainError):
                    self.keep_alarm(alarm)

    def _guarded(self, name: str, turn: Callable[[], None]) -> None:
        """Run a thread; one that ends by an error must not end unseen."""
        try:
            while not self._stopping.is_set():
                with suppress(UnavailableError):
                    turn()
                # Only the disk or a peer gets here: not now, but perhaps soon.
                self._stopping.wait(1)
        except Exception:
            # The outermost handler of this thread.
            self._raise_alarm(Alarm("ordering.thread", self.height(), {"name": name}, latched=True))
            raise

    def _follow(self) -> None:
        """Follow until stopped; while this node orders, look round now and then."""
        while not self._stopping.is_set():
            applied = self.follow_once(self._poll_s)
            if applied and time.monotonic() >= self._rest_until:
                # The next poll takes the lines along: two calls a round and member.
                self._vouch()
            elif applied:
                self._came.set()
            if not self._is_ready or (self.is_orderer and not self._dating.is_right):
                self._stopping.wait(1)
            elif applied == 0 and (self.is_orderer or self.cosigner.vouched.stood_down == self._org_id):
                self._stopping.wait(self._poll_s)
            self._stopping.wait(BUSY_S if self._is_hasty else self.follower.backoff_s())

    def _cosign(self) -> None:
        """Cosign until stopped what the follower does not: as the orderer, after a rest, and anew when it is time.

        Lines that are missing are fetched; when none is, newer ones are looked for now and then.
        """
        turns, tidied = 0, time.monotonic()
        while not self._stopping.is_set():
            came = self._came.wait(BUSY_S)
            self._came.clear()
            if came:
                self._stopping.wait(min(max(self._rest_until - time.monotonic(), 0), BUSY_S))
            turns += 1
            if self.cosign_once():
                self.hand_in()
            is_missing = not came and self.cosigner.final_size < self._ports.replica.size
            if turns % (_MISSING_TURNS if is_missing else _QUIET_TURNS) == 0:
                self.gather_once()
            if time.monotonic() - tidied >= _TIDY_S:
                self.cosigner.tidy()
                tidied = time.monotonic()

    def _send(self) -> None:
        """Submit what is in the outbox until stopped."""
        while not self._stopping.is_set():
            self.outbox.step()
            self.outbox.wait_for_work(1)


def _forget(_alarm: Alarm) -> None:
    """Keep an alarm in memory only, where nobody keeps alarms."""
