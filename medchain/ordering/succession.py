"""Succession: how the members go on when the orderer is lost, and how one who was away finds out.

Keeps true: nothing is dropped that may be final; a block is dropped only for a takeover whose signatures were checked
first; who has stood down cosigns nothing for the lost orderer, also after a restart. Trusts the replica and the
cosigner's memory.
Source: `docs/spec/ordering.md` 5.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

from medchain.errors import InputError, MedchainError, UnavailableError, VerificationError
from medchain.ledger.machine import MAX_BLOCK_BYTES, PROTOCOL
from medchain.ledger.members import LOG_KEY, Members
from medchain.ledger.object import map_key, public_owner
from medchain.ledger.transaction import Transaction, parse_envelope, transaction_id
from medchain.ordering.block import Block
from medchain.ordering.cosign import Cosigner, Notary, Vouched
from medchain.ordering.driver import Clock, OrdererClient, Replica
from medchain.ordering.follower import MAX_CLOCK_DIFFERENCE_S, Follower
from medchain.ordering.takeover import LogEnd, Shown, ended_log_keys, kept_end, new_orderer, read_shown
from medchain.tlog.checkpoint import parse_checkpoint
from medchain.tlog.note import parse_note

_MAX_ANSWERS: Final = 8
"""So many answers of blocks, of 4 MiB at most, are taken from a peer before it is judged what they are good for."""


class Succession:
    """Takeovers, seen from one node."""

    def __init__(  # noqa: PLR0913  # its ports
        self,
        replica: Replica,
        notary: Notary,
        cosigner: Cosigner,
        follower: Follower,
        clock: Clock,
        *,
        org_id: str,
        pen: threading.Lock,
        peers: Callable[[], Mapping[str, OrdererClient]],
        on_takeover: Callable[[Block, Sequence[bytes]], None],
        on_dropped: Callable[[Sequence[bytes]], None],
    ) -> None:
        """Prepare.

        Args:
            replica: the node's ledger.
            notary: reads notes.
            cosigner: stands down and resumes.
            follower: applies blocks.
            clock: gives Unix seconds.
            org_id: the node's organisation.
            pen: held by whoever writes to the replica.
            peers: gives the other active members, the lost one too.
            on_takeover: told of the takeover's block and the transactions that were dropped.
            on_dropped: told of those that were dropped where the takeover's block could not be kept.
        """
        self._replica = replica
        self._notary = notary
        self._cosigner = cosigner
        self._follower = follower
        self._clock = clock
        self._org_id = org_id
        self._pen = pen
        self._peers = peers
        self._on_takeover = on_takeover
        self._on_dropped = on_dropped
        self._ended: tuple[Members, frozenset[str]] | None = None

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
        members, key_id = self._replica.members, self._log_key(org_id)
        ended = self._ended
        if ended is None or ended[0] is not members:
            ended = self._ended = members, ended_log_keys(self._replica, self._notary)
        return key_id not in ended[1] and (org_id != self._org_id or key_id != self._cosigner.vouched.spent)

    def stand_down(self, leaf: bytes) -> str | None:
        """Stop cosigning for an orderer that the members replace.

        Args:
            leaf: the protocol change agreed upon.

        Returns:
            The note of the largest size that this node cosigned, or the newest it knows; None if there is none.

        Raises:
            VerificationError: ``takeover.*``, for a takeover that the policy does not allow, ``takeover.log_key``,
                or ``takeover.behind`` where this node lacks the version before.
            UnavailableError: ``takeover.note``, as `Cosigner.testimony`; it has stood down. Or the disk.
        """
        named = new_orderer(leaf, self._replica.ledger, self._replica.members)
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
            VerificationError: ``takeover.transaction``, ``takeover.policy``, ``takeover.log_key`` if this node's log
                key has signed what was dropped, ``takeover.quorum`` if too few members promise, ``takeover.undecided``
                if blocks that nobody gave may be final, ``takeover.catch_up`` if ours moved meanwhile; or
                the code for which the machine refuses the change.
            UnavailableError: the disk.
        """
        members = self._replica.members
        if new_orderer(leaf, self._replica.ledger, members) != self._org_id:
            raise VerificationError("takeover.transaction", reason="other")
        notes = self._ask_to_stand_down(leaf)
        self._fetch(self._read_notes(notes), _version(leaf))
        # The blocks may tell of keys under which more of the notes can be read.
        shown = self._read_notes(notes)
        ends = [item for items in shown.values() for item in items]
        reigns = self._reigns()
        kept = kept_end(ends, shown, self._own_ends(reigns), list(reigns.values()))
        dropped = self._rewind(self._height_of(kept), _version(leaf))
        try:
            with self._pen:
                # The follower may have moved since.
                self._height_of(kept)
                # What was fetched may end under another orderer, who is lost as well.
                base = self._replica.size, self._replica.root, self._replica.members.protocol.orderer
                now = max(self._clock(), self._replica.time)
                proposal = self._replica.propose([leaf], now, takeover=True)
            if proposal.block is None:
                raise VerificationError(proposal.refusals.get(0, "takeover.transaction"))
        except MedchainError:
            self._undo(dropped)
            raise
        self._cosigner.resume(*base, orderer=self._org_id, version=_version(leaf))
        self._on_takeover(proposal.block, _transactions(dropped))
        return proposal.block

    def _undo(self, dropped: Sequence[Block]) -> None:
        """Apply once more what was dropped for a takeover that was none."""
        try:
            with self._pen:
                for block in dropped:
                    self._replica.apply(block)
        except MedchainError:
            # Something else is in their place, or the disk does not take them.
            self._on_dropped(_transactions(dropped))

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
            first = self._replica.blocks(height + 1, 0)[0]
            size = _size(first) - len(first.transactions) - 1
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
        for block in self._ours_from((self._replica.height_of(self._cosigner.final_size) or 0) + 1):
            if self.version_at(_size(block)) >= vouched.version:
                client = self._peers().get(vouched.stood_down)
                return vouched.stood_down == self._org_id or (client is not None and _has(client, block))
        return False

    def _is_by(self, height: int, org_id: str) -> bool:
        """Tell whether a block of ours is by an organisation; under a key that is in use no more it is by nobody."""
        if height == 0:
            return False
        with suppress(VerificationError):
            note = self._replica.blocks(height, 1)[0].checkpoint
            return self._notary.read(note, self._replica.members).log_org == org_id
        return False

    def look_at(self, client: OrdererClient) -> bool:
        """Look whether a peer's ledger has left ours at a takeover after our last final block; go over to it if so.

        Args:
            client: the way to the peer.

        Returns:
            Whether our ledger changed.
        """
        start = (self._replica.height_of(self._cosigner.final_size) or 0) + 1
        try:
            while start <= self._replica.height:
                theirs = client.blocks(start, 0)
                ours = {block.height: block for block in self._replica.blocks(start, MAX_BLOCK_BYTES)}
                for index, block in enumerate(theirs):
                    mine = ours.get(block.height)
                    if mine is None:
                        break
                    if mine != block:
                        return self._go_over(self._up_to_takeover(theirs[index:], client))
                    start = block.height + 1
                if not theirs or theirs[0].height not in ours:
                    return False
        except MedchainError:
            return False
        return False

    def _up_to_takeover(self, theirs: Sequence[Block], client: OrdererClient) -> list[Block]:
        """Ask for what follows on blocks until a takeover is among it; so often at most, since it is kept in memory."""
        found, members = list(theirs), self._replica.members_at(theirs[0].height - 1)
        for _ in range(_MAX_ANSWERS):
            is_found = any(self._is_takeover(block, members) for block in found)
            more = [] if is_found else client.blocks(found[-1].height + 1, 0)
            if not more:
                break
            found += more
        return found

    def is_agreed(self, block: Block, giver: str) -> bool:
        """Tell whether a block is of a takeover that a quorum has, and has judged when it was new.

        To who polled an orderer that did not know yet that it was replaced, the block seems to be dated back.

        Args:
            block: what was given; the replica judges it afterwards.
            giver: org_id of who gave it, perhaps its maker. That and this node complete the quorum; in a small one
                there must be another all the same, or the maker's word alone would count.
        """
        members = self._replica.members
        orderer = self._cosigner.vouched.stood_down or members.protocol.orderer
        missing = max(1, members.protocol.quorum - 2)
        with suppress(MedchainError):
            if self._notary.read(block.checkpoint, members).log_org == orderer:
                return False
            for org_id, client in self._peers().items():
                if missing and org_id != giver:
                    missing -= _has(client, block)
            return missing == 0
        return False

    def _go_over(self, theirs: Sequence[Block]) -> bool:
        """Drop our blocks for those that end with a takeover, if they do.

        What comes before it the takeover kept; one of ours, which it goes before, has dropped that, or whoever gave us
        ours has forked.
        """
        first = theirs[0].height
        # Those that they follow on: a block of ours that they do not follow on may name the same orderer.
        members = self._replica.members_at(first - 1)
        count = next((at for at, block in enumerate(theirs, 1) if self._is_takeover(block, members)), 0)
        if not count:
            return False
        leaf = theirs[count - 1].transactions[0]
        self._check_is_new(leaf, first)
        if not self._may_follow(theirs[:count], first - 1):
            return False
        ours = [block for block in self._ours_from(first) if self._is_takeover(block)]
        if any(_rank(block.transactions[0]) >= _rank(leaf) for block in ours):
            # It was agreed on before ours, by which it was dropped; or it is a lie of who made ours, or a fork.
            return False
        named = new_orderer(leaf, self._replica.ledger, members)
        self._follower.forget_level()
        with self._pen:
            before = self._cosigner.vouched
            # Whoever ends with its blocks dropped would else find that it has cosigned what it has not.
            if not before.stood_down or before.version < _version(leaf):
                self._cosigner.stand_down(named, _version(leaf))
            self._spend(self._ours_from(first))
            promised = self._cosigner.vouched
        dropped = self._rewind(first - 1)
        if count > 1:
            # What is kept before the takeover may end where blocks of ours did.
            self._cosigner.forget(self._replica.size)
        try:
            try:
                # Whoever is told of each block notices the new orderer, and has the cosigner go on from the one before.
                for block in theirs[:count]:
                    self._follower.apply(block)
            except (InputError, VerificationError):
                # Anybody may have made it of what it was shown: all is as before, and above all our own blocks, if we
                # order. With others in their place, ours would be a fork.
                self._put_back(dropped, first)
                with self._pen:
                    # A promise that was given meanwhile stays, also one for the same takeover.
                    if self._cosigner.vouched is promised:
                        self._cosigner.take_back(before)
                raise
        except UnavailableError:
            # The disk: what was dropped is in no block of ours now.
            self._on_dropped(_transactions(dropped))
            raise
        self._on_takeover(theirs[count - 1], _transactions(dropped))
        self._show(dropped)
        return True

    def _may_follow(self, theirs: Sequence[Block], height: int) -> bool:
        """Tell whether blocks that end with a takeover could follow on one of ours, as far as they tell without it.

        The root of each is judged once they are applied, when ours are dropped. Before, whoever holds a change agreed
        upon and any note of who takes over could have blocks dropped, and have the node asked, or end, before they are
        back: a log line has to be for the very size at which the block ends.
        """
        size, time = self._size_at(height), self._replica.blocks(height, 0)[0].time if height else 0
        leaf = theirs[-1].transactions[0]
        is_next = _version(leaf) == self.version_at(size) + 1
        if not (is_next or (len(theirs) > 1 and _version(leaf) > self.version_at(size))):
            return False
        for number, block in enumerate(theirs, height + 1):
            size += len(block.transactions) + 1
            if (block.height, _size(block)) != (number, size) or block.time < time:
                return False
            time = block.time
        until = parse_envelope(leaf).transaction.until
        return until is None or time <= until

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

    def _put_back(self, blocks: Sequence[Block], first: int) -> None:
        """Apply once more what was dropped from a height on, in place of what is there; raises `UnavailableError`."""
        undone = self._rewind(first - 1)
        with self._pen:
            if undone:
                self._cosigner.forget(self._replica.size)
            for block in blocks:
                self._replica.apply(block)
        if undone:
            self._cosigner.recall()
            self._on_dropped(_transactions(undone))

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

    def _ask_to_stand_down(self, leaf: bytes) -> dict[str, str | None]:
        """Ask all members, this one first."""
        notes = {self._org_id: self.stand_down(leaf)}
        for org_id, client in self._peers().items():
            try:
                notes[org_id] = client.stand_down(leaf)
            except MedchainError:
                continue
        return notes

    def _read_notes(self, notes: Mapping[str, str | None]) -> dict[str, list[Shown]]:
        """Read what was shown, by who did: block ends, and whose cosignatures they bear, also of the silent.

        Who shows what cannot be read has answered nothing: it has cosigned nobody knows what.
        """
        reigns, shown = list(self._reigns().values()), dict[str, list[Shown]]()
        for org_id, note in notes.items():
            with suppress(InputError, VerificationError):
                # One of what is final says nothing, whatever keys there were.
                is_news = note is not None and _note_size(note) > self._cosigner.final_size
                shown[org_id] = [read_shown(str(note), self._notary, reigns)] if is_news else []
        return shown

    def _reigns(self) -> dict[int, Members]:
        """Map heights of our blocks, from the one known to be final on, to the members in force from there on."""
        final = self._replica.height_of(self._cosigner.final_size) or 0
        changes = [height for height in self._replica.members_changes() if height > final]
        return {height: self._replica.members_at(height) for height in (final, *changes)}

    def _fetch(self, shown: Mapping[str, Sequence[Shown]], version: int) -> None:
        """Fetch the blocks above ours that were shown to be cosigned, of those who answered; first what most cosigned.

        Not for another takeover of the version that is to be made: who has that can make it no more.
        """
        self._follower.forget_level()
        peers = {name: client for name, client in self._peers().items() if name in shown}
        signed: dict[LogEnd, frozenset[str]] = {}
        for end, cosigners in (item for items in shown.values() for item in items):
            if cosigners:
                signed[end] = signed.get(end, frozenset()) | cosigners
        for end in sorted(signed, key=lambda end: (-len(signed[end]), -end.size)):
            for org_id in sorted(peers, key=lambda name: name not in signed[end]):
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

    def _rewind(self, height: int, version: int | None = None) -> list[Block]:
        """Drop the blocks above a height, if none takes a version; returns them."""
        with self._pen:
            if version is not None and self.version_at(self._replica.size) >= version:
                raise VerificationError("takeover.transaction", reason="version")
            dropped = list(self._ours_from(height + 1))
            if dropped:
                self._spend(dropped)
                self._replica.rewind(height)
        return dropped

    def _spend(self, dropped: Iterable[Block]) -> None:
        """Remember that our log key signed blocks that are about to be dropped, if it did; under the pen."""
        for block in dropped:
            # As they were then: an exchange of the key may be dropped with what it signed.
            members = self._replica.members_at(block.height - 1)
            with suppress(VerificationError):
                if self._notary.read(block.checkpoint, members).log_org == self._org_id:
                    key_id = members.organisations[self._org_id].key(LOG_KEY).id
                    if key_id != self._cosigner.vouched.spent:
                        self._cosigner.spend(key_id)
                    return

    def _log_key(self, org_id: str) -> str:
        """Return the id of an organisation's log key."""
        return self._replica.members.organisations[org_id].key(LOG_KEY).id

    def _check_log_key(self, org_id: str) -> None:
        """Refuse a takeover by who may have signed at the same sizes before; raises `VerificationError`."""
        if not self.may_order(org_id):
            raise VerificationError("takeover.log_key", org_id=org_id)

    def _fetch_to(self, size: int, client: OrdererClient, version: int) -> None:
        """Apply a peer's blocks while we are short of a size, up to one that takes a version by a takeover.

        So many answers at most: the lost orderer could show an end far away, and order as fast as it is asked. What was
        applied stays, and the next try goes on from there.
        """
        with suppress(UnavailableError, VerificationError):
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
                        self._follower.apply(block)


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
    return _note_size(block.checkpoint)


def _note_size(note: str) -> int:
    """Return the size that a note claims; raises `InputError`."""
    return parse_checkpoint(parse_note(note.encode()).text).size


def _has(client: OrdererClient, block: Block) -> bool:
    """Tell whether a member that answers has a block."""
    try:
        return client.blocks(block.height, 0)[:1] == [block]
    except MedchainError:
        return False
