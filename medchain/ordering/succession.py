"""Succession: how the members go on when the orderer is lost, and how one who was away finds out.

Keeps true: nothing is dropped that may be final; a block is dropped only for a takeover whose signatures were checked
first; who has stood down cosigns nothing for the lost orderer, also after a restart. Trusts the replica and the
cosigner's memory.
Source: `docs/spec/ordering.md` 5.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

from medchain.errors import (
    ConflictError,
    InputError,
    MedchainError,
    NotFoundError,
    UnavailableError,
    VerificationError,
)
from medchain.ledger.machine import MAX_BLOCK_BYTES, PROTOCOL
from medchain.ledger.members import LOG_KEY, Key, Members, faulty
from medchain.ledger.object import map_key, public_owner
from medchain.ledger.transaction import Transaction, parse_envelope, transaction_id
from medchain.ordering.block import Block, accepted_id
from medchain.ordering.cosign import Cosigner, Vouched
from medchain.ordering.driver import Alarm, Clock, OrdererClient, Replica
from medchain.ordering.entry import Entry
from medchain.ordering.follower import MAX_CLOCK_DIFFERENCE_S, Follower
from medchain.ordering.lines import Notary, note_size
from medchain.ordering.takeover import (
    LogEnd,
    Shown,
    claimed_members,
    ended_log_keys,
    kept_end,
    new_orderer,
    own_exchanges,
    read_shown,
)
from medchain.ordering.two_blocks import TWO_BLOCKS, evidence, parting, signed_both

_MAX_ANSWERS: Final = 8
"""So many answers of blocks, of 4 MiB at most, are taken from a peer before it is judged what they are good for."""

_MAX_EXCHANGES: Final = 64
"""So many exchanges of keys of a peer's blocks are kept in mind."""


class Succession:
    """Takeovers, seen from one node.

    All that changes whom the node follows is judged and done under the pen, so that it is still so when it is done.

    Attributes:
        is_between: whether blocks may have been dropped and nothing be in their place yet; nothing is ordered then.
    """

    def __init__(  # noqa: PLR0913  # its ports
        self,
        replica: Replica,
        notary: Notary,
        cosigner: Cosigner,
        follower: Follower,
        clock: Clock,
        *,
        org_id: str,
        log_key: bytes,
        pen: threading.Lock,
        peers: Callable[[], Mapping[str, OrdererClient]],
        connect: Callable[[str], OrdererClient],
        on_takeover: Callable[[Sequence[Block], Sequence[bytes]], None],
        on_dropped: Callable[[Sequence[bytes]], None],
        raise_alarm: Callable[[Alarm], None],
    ) -> None:
        """Prepare.

        Args:
            replica: the node's ledger.
            notary: reads notes.
            cosigner: stands down and resumes.
            follower: applies blocks.
            clock: gives Unix seconds.
            org_id: the node's organisation.
            log_key: with which the node signs blocks, 32 bytes.
            pen: held by whoever writes to the replica.
            peers: gives the other active members, the lost one too.
            connect: gives the way to any organisation.
            on_takeover: told of blocks that were taken over, a takeover's the last, and of the transactions dropped.
            on_dropped: told of those that were dropped where the node ended before it got so far.
            raise_alarm: told of who has signed two blocks for one height.
        """
        self._replica = replica
        self._notary = notary
        self._cosigner = cosigner
        self._follower = follower
        self._clock = clock
        self._org_id = org_id
        self._log_key = log_key
        self._pen = pen
        self._peers = peers
        self._connect = connect
        self._on_takeover = on_takeover
        self._on_dropped = on_dropped
        self._raise_alarm = raise_alarm
        self._caught: frozenset[str] = frozenset()
        self._ended: tuple[Members, frozenset[str]] | None = None
        self._turn = threading.RLock()
        self._refused: frozenset[bytes] = frozenset()
        self._exchanges: dict[str, list[bytes]] = {}
        self.is_between = True

    @property
    def is_log_key_spent(self) -> bool:
        """Whether this node's log key has signed, as the orderer's, what a takeover made void: it orders no more.

        Raises:
            MedchainError: the disk.
        """
        return not self.may_order(self._org_id)

    @property
    def has_heir(self) -> bool:
        """Whether another active member may order than the one that does; raises as `may_order`."""
        members = self._replica.members
        others = [item.org_id for item in members.active if item.org_id != members.protocol.orderer]
        return not others or any(map(self.may_order, others))

    def may_order(self, org_id: str) -> bool:
        """Tell whether an organisation may order under its log key, as far as this node knows.

        Args:
            org_id: of a member.

        Raises:
            MedchainError: the disk.
        """
        return not self._is_spent(self._replica.members.organisations[org_id].key(LOG_KEY))

    def _is_spent(self, key: Key) -> bool:
        """Tell whether a log key has signed, as an orderer's, what a takeover made void."""
        members, ended = self._replica.members, self._ended
        if ended is None or ended[0] is not members:
            ended = self._ended = members, ended_log_keys(self._replica, self._notary)
        return key.id in ended[1] or key.id in self._cosigner.vouched.spent

    def stand_down(self, leaf: bytes) -> str | None:
        """Stop cosigning for an orderer that the members replace.

        Args:
            leaf: the protocol change agreed upon.

        Returns:
            The note of the largest size that this node cosigned, or the newest it knows; None if there is none.

        Raises:
            VerificationError: ``takeover.*``, for a takeover that the policy does not allow, ``takeover.signer`` where
                one who signed has no such key on any of our blocks, ``takeover.log_key``, or ``takeover.behind`` where
                this node lacks the version before.
            UnavailableError: ``takeover.note``, as `Cosigner.testimony`; it has stood down. Or the disk.
        """
        named = self._named(leaf)
        self._check_log_key(named)
        self._check_is_new(leaf, self._replica.height + 1)
        with self._pen:
            # No block may be under way that is kept afterwards.
            self._check_is_next(leaf)
            self._cosigner.stand_down(named, _version(leaf))
        return self._cosigner.testimony()

    def take_over(self, leaf: bytes) -> Block:
        """Become the orderer.

        Args:
            leaf: the protocol change that names this organisation, signed as its policy asks.

        Returns:
            The first block of the new order, committed.

        Raises:
            VerificationError: ``takeover.transaction``, ``takeover.policy``, ``takeover.signer`` if one who signed has
                exchanged its key for good since, ``takeover.log_key`` if this node's log key has signed what was
                dropped, or is not listed where the ledger is kept, ``takeover.quorum`` if too few members promise, with
                the others' codes, ``takeover.undecided`` if blocks that nobody gave may be final, ``takeover.catch_up``
                if ours moved meanwhile; or the code for which the machine refuses the change.
            UnavailableError: the disk.
        """
        if self._holds_at(leaf, self._final_height)[1] != self._org_id:
            raise VerificationError("takeover.transaction", reason="other")
        self.settle()
        notes, refused = self._ask_to_stand_down(leaf)
        self._fetch(self._read_notes(notes), _version(leaf))
        self._compare_with(notes.keys())
        try:
            with self._turn:
                with self._pen:
                    block, dropped = self._take(leaf, notes)
                self._finish([block], dropped)
        except VerificationError as error:
            if error.code != "takeover.quorum":
                raise
            # Who did not answer comes back, or does not; what the others refuse for, somebody has to look at.
            reasons = ", ".join(f"{org_id} {code}" for org_id, code in sorted(refused.items()))
            raise VerificationError(error.code, **error.fields, refused=reasons) from error
        return block

    def _take(self, leaf: bytes, notes: Mapping[str, str | None]) -> tuple[Block, list[Block]]:
        """Drop what cannot be final and make the takeover's block; returns it, and what was dropped. Under the pen."""
        # The blocks that were fetched may tell of keys under which more of the notes can be read.
        shown = self._read_notes(notes)
        reigns = self._reigns()
        kept = self._height_of(kept_end(shown, self._own_ends(reigns), list(reigns.values()), self._caught))
        # Of our own blocks more may be kept than may be final: none beside them is.
        height = self._holds_at(leaf, kept, log_key=self._log_key)[0]
        self._check_is_due(leaf, height)
        before, dropped = self._cosigner.vouched, self._drop_above(height)
        try:
            # What was fetched may end under another orderer, who is lost as well.
            base = self._replica.size, self._replica.root, self._replica.members.protocol.orderer
            now = max(self._clock(), self._replica.time)
            proposal = self._replica.propose([leaf], now, takeover=True)
            if proposal.block is None:
                raise VerificationError(proposal.refusals.get(0, "takeover.transaction"))
        except MedchainError:
            # Where the disk failed the block may be kept all the same, and be out there: `settle` gets on with it.
            if self._replica.height == height:
                with suppress(MedchainError):
                    self._put_back(dropped, height)
                    self._cosigner.take_back(before)
            raise
        self._cosigner.resume(*base, orderer=self._org_id, version=_version(leaf))
        return proposal.block, dropped

    def _check_is_due(self, leaf: bytes, height: int) -> None:
        """Check all that the ledger would refuse on the block of ours that is kept, before anything is dropped for it.

        Others may have taken the version meanwhile, or this node promised to wait for another.
        """
        vouched, version, until = self._cosigner.vouched, _version(leaf), parse_envelope(leaf).transaction.until
        if self.version_at(self._replica.size) >= version:
            raise VerificationError("takeover.transaction", reason="version")
        if (vouched.stood_down, vouched.version) != (self._org_id, version):
            raise VerificationError("takeover.transaction", reason="promise")
        if until is not None and until < max(self._clock(), self._time_at(height)):
            raise VerificationError("transaction.until", until=until)

    @property
    def _final_height(self) -> int:
        """Height of our newest block that is known to be final."""
        return self._replica.height_of(self._cosigner.final_size) or 0

    def _holds_at(self, leaf: bytes, start: int, *, log_key: bytes | None = None) -> tuple[int, str]:
        """Find the lowest of our heights from one on after whose block a takeover holds.

        Ledger keys may be exchanged in blocks that are not final: signed with the new one it needs the block that lists
        it, signed with the old one it needs that block dropped. So may the log key of who takes over.

        Args:
            leaf: the takeover.
            start: where to begin.
            log_key: with which its block is signed, 32 bytes; None for any.

        Returns:
            The height, and whom it names.

        Raises:
            VerificationError: as `new_orderer`, on our newest block; ``takeover.log_key`` as `take_over`.
        """
        error = VerificationError("takeover.log_key", org_id=self._org_id)
        for height in (start, *(height for height in self._replica.members_changes() if height > start)):
            members = self._replica.members_at(height)
            try:
                named = new_orderer(leaf, self._replica.ledger, members)
            except VerificationError as refusal:
                error = refusal
                if refusal.code == "takeover.signer":
                    error = VerificationError(refusal.code, **refusal.fields, height=height)
                continue
            listed = members.organisations[named].key(LOG_KEY)
            if log_key is None or (log_key == listed.public and not self._is_spent(listed)):
                return height, named
        raise error

    def _named(self, leaf: bytes) -> str:
        """Tell whom a takeover names, also where it is signed with keys that only blocks of others list.

        Who was given another block than the others by the lost orderer would else refuse for ever, and could be the one
        that is missing. It drops nothing for it: the exchange bears the signature of the key that it knows.
        """
        try:
            return self._holds_at(leaf, self._final_height)[1]
        except VerificationError as error:
            if error.code != "takeover.signer":
                raise
            ledger, members = self._replica.ledger, self._replica.members
            for leaves in list(self._exchanges.values()):
                with suppress(VerificationError):
                    return new_orderer(leaf, ledger, own_exchanges(ledger, members, leaves)[0])
            raise

    def _finish(self, blocks: Sequence[Block], dropped: Sequence[Block]) -> None:
        """Tell of blocks that are in the place of others; those are forgotten when their transactions are in hand."""
        self._on_takeover(blocks, _transactions(dropped))
        self._show(dropped)
        with suppress(UnavailableError):
            self._forget_dropped()

    def _forget_dropped(self) -> None:
        """Forget what was dropped: it is back, or others are in its place for good."""
        if self.is_between:
            self._replica.forget_dropped()
            self.is_between = False

    def settle(self) -> None:
        """Get on where the node ended, or its disk failed, after it had dropped blocks.

        They are put back unless the takeover is done: what this node has promised to wait for tells.

        Raises:
            MedchainError: the disk; it is tried again.
        """
        if not self.is_between:
            return
        with self._turn:
            with self._pen:
                dropped, vouched = self._replica.dropped(), self._cosigner.vouched
                self.is_between = bool(dropped)
                is_done = not vouched.stood_down or self.version_at(self._replica.size) >= vouched.version
                if dropped and not is_done:
                    with suppress(InputError, VerificationError, ConflictError):
                        self._put_back(dropped, dropped[0].height - 1)
            height_of, leaves = self._replica.transaction_height, _transactions(dropped)
            self._on_dropped([leaf for leaf in leaves if height_of(accepted_id(leaf)) is None])
            self._forget_dropped()

    def recover(self) -> bool:
        """Go on where the node has stood down, and the takeover is done, or can be done no more.

        Done: its block is kept, although the node ended, or the disk failed, before it went on. No more: another change
        has taken its version for good, or in the ledger of who was to take over, who drops that for it never.

        Returns:
            Whether it went on.

        Raises:
            MedchainError: the disk.
        """
        vouched, orderer = self._cosigner.vouched, self._replica.members.protocol.orderer
        height, version = self._replica.height, self.version_at(self._replica.size)
        # A block of an earlier takeover, or reign, of who was stood down for ends nothing.
        while version >= vouched.version and orderer == vouched.stood_down and self._is_by(height, orderer):
            height -= 1
        if height < self._replica.height:
            size = self._size_at(height)
            lost = self._replica.members_at(height).protocol.orderer
        elif vouched.version and self._is_given_up(vouched):
            size, lost, orderer = self._cosigner.final_size, vouched.replaced, vouched.stood_down
            version = vouched.version
        else:
            return False
        self._cosigner.resume(size, self._replica.root_at(size) or b"", lost, orderer=orderer, version=version)
        return True

    def _is_given_up(self, vouched: Vouched) -> bool:
        """Tell whether the takeover that was promised to be waited for can come no more."""
        if self.version_at(self._cosigner.final_size) >= vouched.version:
            return True
        if self.version_at(self._replica.size) < vouched.version:
            return False
        for block in self._ours_from(self._final_height + 1):
            if self.version_at(_size(block)) >= vouched.version:
                # A block of ours that is not final may have suspended it: no peer, but who knows what it has.
                waited = vouched.stood_down
                return waited == self._org_id or _has(self._connect(waited), [block])
        return False

    def _is_by(self, height: int, org_id: str) -> bool:
        """Tell whether a block of ours is by an organisation; under a key that is in use no more it is by nobody."""
        return height > 0 and self.is_by(self._replica.blocks(height, 1)[0], org_id)

    def look_at(self, client: OrdererClient, giver: str = "") -> bool:
        """Look whether a peer's ledger has left ours at a takeover after our last final block; go over to it if so.

        Args:
            client: the way to the peer.
            giver: its org_id; empty for one that nothing was promised.

        Returns:
            Whether our ledger changed.
        """
        try:
            parted = self._parting(client)
            if parted is None:
                return False
            mine, theirs = parted
            self._compare(mine, theirs[0], client)
            self._note_exchanges(theirs, giver)
            return self._go_over(self._up_to_takeover(theirs, client), giver)
        except MedchainError:
            return False

    def _parting(self, client: OrdererClient) -> tuple[Block, Sequence[Block]] | None:
        """Find where a peer's blocks leave ours after our last final one; returns ours there, and its from there on."""
        start = self._final_height + 1
        while start <= self._replica.height:
            theirs = client.blocks(start, 0)
            ours = {block.height: block for block in self._replica.blocks(start, MAX_BLOCK_BYTES)}
            for index, block in enumerate(theirs):
                mine = ours.get(block.height)
                if mine is None:
                    break
                if mine != block:
                    return mine, theirs[index:]
                start = block.height + 1
            if not theirs or theirs[0].height not in ours:
                return None
        return None

    def _compare(self, mine: Block, other: Block, client: OrdererClient) -> None:
        """Look whether one organisation has signed two blocks for one height; what does not prove it is passed over."""
        with suppress(MedchainError):
            members = self._replica.members_at(mine.height - 1)
            signers = {self._notary.read(block.checkpoint, members).log_org for block in (mine, other)}
            if len(signers) > 1 or signers <= self._caught:
                return
            position = parting(mine, other)
            ours, theirs = self.entry(position, _size(mine)), client.entry(position, _size(other))
            liar = signed_both(ours, theirs, self._notary, members)
            if liar is not None:
                self._caught |= {liar}
                self._raise_alarm(Alarm(TWO_BLOCKS, mine.height, evidence(ours, theirs, liar), latched=True))

    def _compare_with(self, names: Collection[str]) -> None:
        """Compare blocks with those of some members: after blocks were fetched there is more to compare."""
        for org_id, client in self._peers().items():
            with suppress(MedchainError):
                if org_id in names and (parted := self._parting(client)) is not None:
                    self._compare(parted[0], parted[1][0], client)

    def entry(self, position: int, size: int) -> Entry:
        """Return a leaf's place in our log at the end of our block of a size.

        Raises:
            NotFoundError: ``store.leaf`` where no block of ours ends there, or its log has no such leaf.
            VerificationError: ``store.corrupt``.
        """
        height = self._replica.height_of(size)
        if not height:
            raise NotFoundError("store.leaf", position=position)
        leaf, hashes = self._replica.entry_proof(position, size)
        return Entry(leaf, position, hashes, self._replica.blocks(height, 0)[0].checkpoint)

    def _note_exchanges(self, theirs: Sequence[Block], giver: str) -> None:
        """Keep in mind by which transactions organisations exchange their keys in blocks that are not ours."""
        members = self._replica.members_at(theirs[0].height - 1)
        self._exchanges[giver] = own_exchanges(self._replica.ledger, members, _transactions(theirs))[1][:_MAX_EXCHANGES]

    def _up_to_takeover(self, theirs: Sequence[Block], client: OrdererClient) -> list[Block]:
        """Ask for what follows on blocks until a takeover is among it; so often at most, since it is kept in memory."""
        found, at, members = list(theirs), 0, self._replica.members_at(theirs[0].height - 1)
        for _ in range(_MAX_ANSWERS):
            for block in found[at:]:
                at += 1
                if self._is_takeover(block, members):
                    return found[:at]
                # Keys may be exchanged before it, also that of its maker.
                members = claimed_members(members, block.transactions)
            more = client.blocks(found[-1].height + 1, 0)
            if not more:
                break
            found += more
        return []

    def is_held(self, block: Block) -> bool:
        """Tell whether so many members have a block that it was made in time, though it seems to be dated back.

        To who polled an orderer that did not know yet that it was replaced, or that keeps blocks back, it does.

        Args:
            block: what was given; the replica judges it afterwards.

        Returns:
            Whether f + 1 have a block of another than who orders: one of them does not lie. One of who orders, whose
            word that there was nothing stands against it, k − 1 besides have to have: it is as good as final.
        """
        members, peers = self._replica.members, self._peers()
        if not self.is_by(block, members.protocol.orderer):
            return _have(peers.values(), [block], faulty(len(members.active)) + 1)
        others = [client for name, client in peers.items() if name != members.protocol.orderer]
        return _have(others, [block], max(1, members.protocol.quorum - 1))

    def is_by(self, block: Block, org_id: str) -> bool:
        """Tell whether a block is by an organisation, under its log key of now."""
        with suppress(InputError, VerificationError):
            return self._notary.read(block.checkpoint, self._replica.members).log_org == org_id
        return False

    def _go_over(self, theirs: Sequence[Block], giver: str) -> bool:
        """Drop our blocks for those that end with a takeover, if they do, and all that can refuse them does not.

        What comes before it the takeover kept; one of ours, which it goes before, has dropped that, or whoever gave us
        ours has forked.
        """
        if not (theirs and self._may_replace(theirs) and self._is_witnessed(theirs, giver)):
            return False
        with self._turn:
            self.settle()
            with self._pen:
                # We may have taken over meanwhile, or gone over to another.
                if not self._may_replace(theirs):
                    return False
                dropped = self._adopt(theirs)
            self._follower.forget_level()
            self._finish(theirs, dropped)
        return True

    def _may_replace(self, theirs: Sequence[Block]) -> bool:
        """Tell whether blocks that end with a takeover may take the place of ours, as far as it can be told before.

        Raises:
            MedchainError: for a takeover that is none.
        """
        first, leaf = theirs[0].height, theirs[-1].transactions[0]
        ours = list(self._ours_from(first))
        if not ours or ours[0] == theirs[0] or first <= self._final_height:
            return False
        self._check_is_new(leaf, first)
        if not self._may_follow(theirs, first - 1):
            return False
        rivals = [block for block in ours if self._is_takeover(block)]
        # One that ranks lower was agreed on before ours, by which it was dropped; or it is a lie, or a fork.
        return all(_rank(block.transactions[0]) < _rank(leaf) for block in rivals)

    def _is_witnessed(self, theirs: Sequence[Block], giver: str) -> bool:
        """Tell whether it is certain enough that blocks hold: their roots show only when ours are dropped.

        Its maker's word is enough to begin with, since somebody has to be the first, for who would drop nothing of its
        own making: who has given receipts for that drops it only where f + 1 have the blocks, one of whom does not lie
        and has executed them. So must they where the takeover seems to be dated back, unless it was waited for, and
        where it did not hold before: one member that shows what it likes makes nobody drop blocks again and again.
        """
        vouched, leaf = self._cosigner.vouched, theirs[-1].transactions[0]
        named = parse_envelope(leaf).transaction.creator
        is_awaited = giver == named == vouched.stood_down and vouched.version == _version(leaf)
        is_timely = is_awaited or not self._follower.is_too_old(theirs[-1])
        has_ordered = any(self._own_log_keys([block]) for block in self._ours_from(theirs[0].height))
        if is_timely and leaf not in self._refused and not has_ordered:
            return True
        return _have(self._peers().values(), theirs, faulty(len(self._replica.members.active)) + 1)

    def _adopt(self, theirs: Sequence[Block]) -> list[Block]:
        """Put blocks in the place of ours, and go by whom they name; returns what was dropped. Under the pen.

        Raises:
            InputError, VerificationError: they do not hold; ours are back.
            UnavailableError: the disk; `settle` gets on.
        """
        height, leaf = theirs[0].height - 1, theirs[-1].transactions[0]
        named, before = parse_envelope(leaf).transaction.creator, self._cosigner.vouched
        # Whoever ends with its blocks dropped would else find that it has cosigned what it has not.
        if not before.stood_down or before.version < _version(leaf):
            self._cosigner.stand_down(named, _version(leaf))
        dropped = self._drop_above(height)
        start = self._replica.size
        try:
            for block in theirs[:-1]:
                self._replica.apply(block)
            base = self._replica.size, self._replica.root, self._replica.members.protocol.orderer
            self._check_is_takeover(theirs[-1])
            self._replica.apply(theirs[-1])
        except (InputError, VerificationError):
            # Anybody may have made it of what it was shown: all is as before, and above all our own blocks, if we
            # order. With others in their place, ours would be a fork.
            self._refused = frozenset({*self._refused, leaf})
            self._put_back(dropped, height)
            self._cosigner.take_back(before)
            raise
        # What is kept before the takeover may end where blocks of ours did.
        self._cosigner.forget(start)
        self._cosigner.resume(*base, orderer=named, version=_version(leaf))
        self._follower.alarm = None
        return dropped

    def _may_follow(self, theirs: Sequence[Block], height: int) -> bool:
        """Tell whether blocks that end with a takeover could follow on one of ours, as far as they tell without it.

        The root of each is judged once they are applied, when ours are dropped. Before, whoever holds a change agreed
        upon and any note of who takes over could have blocks dropped, and have the node asked, or end, before they are
        back: a log line has to be for the very size at which the block ends.
        """
        size, time = self._size_at(height), self._time_at(height)
        leaf = theirs[-1].transactions[0]
        is_next = _version(leaf) == self.version_at(size) + 1
        if not (is_next or (len(theirs) > 1 and _version(leaf) > self.version_at(size))):
            return False
        for number, block in enumerate(theirs, height + 1):
            size += len(block.transactions) + 1
            is_next = (block.height, _size(block)) == (number, size) and len(block.transactions) > 0
            if not is_next or not time <= block.time <= self._clock() + MAX_CLOCK_DIFFERENCE_S:
                return False
            time = block.time
        until = parse_envelope(leaf).transaction.until
        return until is None or time <= until

    def _time_at(self, height: int) -> int:
        """Return the time of a block of ours, 0 for the genesis."""
        return self._replica.blocks(height, 0)[0].time if height else 0

    def _size_at(self, height: int) -> int:
        """Return the size of the log after a block of ours."""
        first = self._replica.blocks(height + 1, 0)[0]
        return _size(first) - len(first.transactions) - 1

    def _show(self, dropped: Sequence[Block]) -> None:
        """Compare dropped blocks with ours that end where they did: by one organisation, they prove that it forked."""
        for block in dropped:
            # Under a log key that is in force no more it proves nothing.
            with suppress(VerificationError):
                if self._replica.root_at(_size(block)) is not None:
                    self._cosigner.learn(block.checkpoint)

    def _check_is_takeover(self, block: Block) -> None:
        """Refuse the next block if it is not of a takeover that the members have agreed on."""
        if not self._is_takeover(block, self._replica.members):
            raise VerificationError("takeover.transaction", reason="form")

    def _is_takeover(self, block: Block, members: Members | None = None) -> bool:
        """Tell whether a block, of ours if no members are given, is of a takeover that they have agreed on."""
        if len(block.transactions) != 1:
            return False
        with suppress(InputError, VerificationError):
            members = members or self._replica.members_at(block.height - 1)
            # Whoever was shown the change can show it on; only who takes over makes a block of it.
            named = new_orderer(block.transactions[0], self._replica.ledger, members)
            return self._notary.read(block.checkpoint, members).log_org == named
        return False

    def _ours_from(self, height: int) -> Iterator[Block]:
        """List our blocks from a height on."""
        while height <= self._replica.height:
            for block in self._replica.blocks(height, MAX_BLOCK_BYTES):
                yield block
                height = block.height + 1

    def _put_back(self, dropped: Sequence[Block], height: int) -> None:
        """Have again what was dropped above a height, in place of what is there. Under the pen.

        Raises:
            MedchainError: the disk, or, of what was dropped before a restart, that it does not fit any more.
        """
        if self._replica.height > height:
            self._replica.rewind(height)
        for block in dropped:
            self._replica.apply(block)
        self._cosigner.recall()
        self._forget_dropped()

    def _drop_above(self, height: int) -> list[Block]:
        """Drop our blocks above a height, which are kept aside; returns them. Under the pen."""
        dropped = list(self._ours_from(height + 1))
        if dropped:
            self._cosigner.spend(self._own_log_keys(dropped))
            self.is_between = True
            self._replica.rewind(height)
        return dropped

    def _check_is_new(self, leaf: bytes, height: int) -> None:
        """Refuse a change of the past: its signatures hold for ever, and anybody could show it once more."""
        ordered = self._replica.transaction_height(transaction_id(parse_envelope(leaf).payload))
        if ordered is not None and ordered < height:
            raise VerificationError("takeover.transaction", reason="ordered")

    def _check_is_next(self, leaf: bytes) -> None:
        """Refuse a change that can come no more: its time is over, or another has taken its version for good.

        Whoever holds one that was agreed upon and never made could else stop all members with it, years later; and one
        before a takeover that was promised to be waited for would end the promise. Whose ledger has the version taken,
        final or not, does not help to drop that: others may have made it final with its lines. Who lacks the version
        before cannot tell a takeover from a change by who orders since, and has yet to catch up.
        """
        until, version = parse_envelope(leaf).transaction.until, _version(leaf)
        known = self.version_at(self._replica.size)
        if until is not None and until + MAX_CLOCK_DIFFERENCE_S < self._clock():
            raise VerificationError("takeover.transaction", reason="until")
        if version <= known or version < self._cosigner.vouched.version:
            raise VerificationError("takeover.transaction", reason="version")
        if version > known + 1:
            raise VerificationError("takeover.behind", version=version, own=known)

    def version_at(self, size: int) -> int:
        """Return the version of the protocol object after so many leaves."""
        return self._replica.version_at(map_key(PROTOCOL, *public_owner(PROTOCOL, {})), size)

    def _ask_to_stand_down(self, leaf: bytes) -> tuple[dict[str, str | None], dict[str, str]]:
        """Ask all members, this one first; returns what each has shown, or the code for which it has not."""
        notes, refused = {self._org_id: self.stand_down(leaf)}, dict[str, str]()
        for org_id, client in self._peers().items():
            try:
                notes[org_id] = client.stand_down(leaf)
            except MedchainError as error:
                refused[org_id] = error.code
        return notes, refused

    def _read_notes(self, notes: Mapping[str, str | None]) -> dict[str, list[Shown]]:
        """Read what was shown, by who did: block ends, and whose cosignatures they bear, also of the silent.

        Who shows what cannot be read has answered nothing: it has cosigned nobody knows what.
        """
        reigns, shown = list(self._reigns().values()), dict[str, list[Shown]]()
        for org_id, note in notes.items():
            with suppress(InputError, VerificationError):
                # One of what is final says nothing, whatever keys there were.
                is_news = note is not None and note_size(note) > self._cosigner.final_size
                shown[org_id] = [read_shown(str(note), self._notary, reigns)] if is_news else []
        return shown

    def _reigns(self) -> dict[int, Members]:
        """Map heights of our blocks, from the one known to be final on, to the members in force from there on."""
        final = self._final_height
        changes = [height for height in self._replica.members_changes() if height > final]
        return {height: self._replica.members_at(height) for height in (final, *changes)}

    def _fetch(self, shown: Mapping[str, Sequence[Shown]], version: int) -> None:
        """Fetch the blocks above ours that were shown to be cosigned, of those who answered; first what most cosigned.

        Not for another takeover of the version that is to be made: who has that can make it no more. The lost orderer
        is asked last: it alone can give another block than it has cosigned, and what fits on that is not what the
        others have.
        """
        self._follower.forget_level()
        lost = self._replica.members.protocol.orderer
        peers = {name: client for name, client in self._peers().items() if name in shown}
        signed: dict[LogEnd, frozenset[str]] = {}
        for end, cosigners in (item for items in shown.values() for item in items):
            if cosigners:
                signed[end] = signed.get(end, frozenset()) | cosigners
        for end in sorted(signed, key=lambda end: (-len(signed[end]), -end.size)):
            for org_id in sorted(peers, key=lambda name: (name == lost, name not in signed[end])):
                self._fetch_to(end.size, peers[org_id], version)

    def _own_ends(self, reigns: Mapping[int, Members]) -> list[LogEnd]:
        """List our block ends from the one known to be final on, each as the members before it have signed it."""
        final = self._cosigner.final_size
        first = LogEnd(final, self._replica.root_at(final) or b"", "", "")
        later = self._ours_from((self._replica.height_of(final) or 0) + 1)
        return [first, *(_end_of(block, self._notary, reigns) for block in later)]

    def _height_of(self, kept: LogEnd) -> int:
        """Return the height of the block that ends where the ledger is kept; raises as `take_over`."""
        size, root = kept[:2]
        height = self._replica.height_of(size) if size else 0
        if height is None or self._replica.root_at(size) not in {root, None}:
            raise VerificationError("takeover.catch_up", size=size, own=self._replica.size)
        return height

    def _own_log_keys(self, blocks: Iterable[Block]) -> frozenset[str]:
        """List the log keys under which this node has ordered some of its newest blocks, by their ids."""
        found: set[str] = set()
        for block in blocks:
            # As they were then: an exchange of the key may be dropped with what it signed.
            members = self._replica.members_at(block.height - 1)
            with suppress(VerificationError):
                if self._notary.read(block.checkpoint, members).log_org == self._org_id:
                    found.add(members.organisations[self._org_id].key(LOG_KEY).id)
        return frozenset(found)

    def _check_log_key(self, org_id: str) -> None:
        """Refuse a takeover by who may have signed at the same sizes before; raises `VerificationError`."""
        if not self.may_order(org_id):
            raise VerificationError("takeover.log_key", org_id=org_id)

    def _fetch_to(self, size: int, client: OrdererClient, version: int) -> None:
        """Apply a peer's blocks while we are short of a size, up to one that takes a version by a takeover.

        So many answers at most: the lost orderer could show an end far away, and order as fast as it is asked. What was
        applied stays, and the next try goes on from there.
        """
        # Whatever a peer answers, a height that is none or bytes that are no block: the others' answers still count.
        with suppress(MedchainError):
            for _ in range(_MAX_ANSWERS):
                if self._replica.size >= size:
                    return
                blocks = client.blocks(self._replica.height + 1, 0)
                if not blocks:
                    return
                for block in blocks:
                    if self._replica.size < size:
                        if self._is_takeover(block) and _version(block.transactions[0]) >= version:
                            return
                        self._follower.apply([block])


def _transactions(blocks: Sequence[Block]) -> list[bytes]:
    """List what is in some blocks: where they were dropped, it has to be submitted again."""
    return [leaf for block in blocks for leaf in block.transactions]


def _version(leaf: bytes) -> int:
    """Return the version that a change of one object makes; 0 for none."""
    payload = parse_envelope(leaf).transaction
    return payload.changes[0].objects[0].version if isinstance(payload, Transaction) else 0


def _rank(leaf: bytes) -> tuple[int, int, bytes]:
    """Rank takeovers as they were agreed upon: a version once more only when the time of the one before is over."""
    envelope = parse_envelope(leaf)
    return _version(leaf), envelope.transaction.until or 0, transaction_id(envelope.payload)


def _end_of(block: Block, notary: Notary, reigns: Mapping[int, Members]) -> LogEnd:
    """Return the end of a block of ours above the first of the heights from which members were in force."""
    before = max(height for height in reigns if height < block.height)
    return read_shown(block.checkpoint, notary, [reigns[before]]).end


def _size(block: Block) -> int:
    """Return the size of the log after a block of ours."""
    return note_size(block.checkpoint)


def _have(clients: Iterable[OrdererClient], blocks: Sequence[Block], needed: int) -> bool:
    """Tell whether so many members answer that they have blocks that follow on each other."""
    for client in clients:
        needed -= _has(client, blocks)
        if needed <= 0:
            return True
    return False


def _has(client: OrdererClient, blocks: Sequence[Block]) -> bool:
    """Tell whether a member that answers has blocks that follow on each other."""
    left = list(blocks)
    try:
        while left:
            theirs = client.blocks(left[0].height, 0)
            part, left = left[: len(theirs)], left[len(theirs) :]
            if not part or list(theirs[: len(part)]) != part:
                return False
    except MedchainError:
        return False
    return True
