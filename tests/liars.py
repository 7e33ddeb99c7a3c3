"""What f members that lie together do: they know what everybody has signed, sign anything, and tell whom they like.

As the orderer a liar forks, gives each member the branch that it likes and promises what it does not keep; asked to
stand down it denies, shows what it made up, or is silent. It shows takeovers of the past, and blocks made of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from medchain.errors import MedchainError
from medchain.ordering.block import Block, accepted_id
from medchain.ordering.lines import Line, LineName
from medchain.ordering.notary import LedgerNotary, log_pen
from medchain.ordering.receipt import Outcome, Refused, sign_receipt
from tests.consortium import Consortium, Dice, MemoryReplica, Node, cosign_keys, log_signer


class Liars:
    """Some members of a consortium, taken over until they are repaired."""

    def __init__(self, consortium: Consortium, dice: Dice, names: Sequence[str]) -> None:
        """Take them over; their own nodes go on beside, and see what they see."""
        self.names = names
        self.are_lying = True
        self._consortium = consortium
        self._dice = dice
        self._origin = consortium.genesis.origin
        self._lines: dict[tuple[int, bytes], dict[LineName, Line]] = {}
        self._log_lines: dict[tuple[int, bytes], str] = {}
        self._branches: dict[str, list[MemoryReplica]] = {}
        self._given: dict[tuple[str, str], int] = {}
        self._false: dict[str, Block] = {}
        consortium.liars = set(names)
        for name in names:
            node = consortium.nodes[name]
            node.lies = {
                "blocks": lambda source, first, name=name: self._give(name, source, first),
                "submit": lambda leaves, name=name: self._promise(name, leaves),
            }
            node.driver.stand_down = lambda _leaf: self._answer()

    def repair(self) -> None:
        """Have all of them run the true program again, with the ledgers that they have."""
        self.are_lying = False
        for name in self.names:
            self._consortium.nodes[name].lies = {}
            self._consortium.nodes[name].start_anew()
        self._consortium.withheld = set()

    def order(self, name: str, leaves: Sequence[bytes]) -> None:
        """Order a block, perhaps on one of two branches; anew where the true ledger names this orderer anew."""
        branch = self._branch(name)
        if branch is not None:
            self._propose(branch, leaves)

    def tell(self, node: Node) -> None:
        """Gather what was signed anywhere, and give one member a note of it with as many lines as there are."""
        nodes = self._consortium.nodes.values()
        branches = [branch for pair in self._branches.values() for branch in pair]
        blocks = [block for branch in branches for block, _, _ in branch.chain[-4:] if block.height]
        notes = [note for other in nodes if (note := other.driver.cosigner.own_note or other.driver.checkpoint())]
        for text in [*notes, *(block.checkpoint for block in blocks)]:
            with suppress(MedchainError):
                self._gather(text, node)
        made = self._made()
        if made:
            with suppress(MedchainError):
                node.driver.cosign(made[self._dice.below(len(made))])

    def mislead(self, victim: Node, takeovers: Sequence[bytes]) -> None:
        """Show a member a takeover, perhaps of the past, or a block made of it that does not hold."""
        if not takeovers:
            return
        leaf, name = takeovers[self._dice.below(len(takeovers))], self.names[self._dice.below(len(self.names))]
        if self._dice.falls(30):
            with suppress(MedchainError):
                victim.driver.stand_down(leaf)
            return
        height = max(1, victim.replica.height - self._dice.below(3))
        size = victim.replica.chain[height - 1][1] + 2
        real = self._blocks_of(leaf)
        forged = log_pen(log_signer(name), self._origin, size, bytes(32))
        note = real[0].checkpoint if real and self._dice.falls(50) else forged
        self._false[victim.org_id] = Block(height, self._consortium.now, (leaf,), note)
        with suppress(MedchainError):
            victim.driver.look_round()
        self._false.pop(victim.org_id, None)

    def withhold(self, victim: Node) -> None:
        """Give one member no more notes, or again some."""
        pairs = {(name, victim.org_id) for name in self.names}
        self._consortium.withheld ^= pairs

    def _blocks_of(self, leaf: bytes) -> list[Block]:
        """List the blocks anywhere that hold one transaction alone."""
        chains = [node.replica.chain for node in self._consortium.nodes.values()]
        return [block for chain in chains for block, _, _ in chain if block.transactions == (leaf,)]

    def _branch(self, name: str) -> MemoryReplica | None:
        """Choose the branch on which a liar orders; none while it does not know that it orders."""
        true = self._consortium.nodes[name].replica
        if true.members.protocol.orderer != name:
            self._branches.pop(name, None)
            return None
        if name not in self._branches:
            self._branches[name] = [true.fork() for _ in range(1 + self._dice.below(2))]
            self._given = {pair: at for pair, at in self._given.items() if pair[0] != name}
        branches = self._branches[name]
        return branches[self._dice.below(len(branches))]

    def _propose(self, branch: MemoryReplica, leaves: Sequence[bytes]) -> None:
        # On a branch it may have handed over, or exchanged its key.
        with suppress(MedchainError):
            branch.propose(leaves, max(self._consortium.now, branch.time))

    def _promise(self, name: str, leaves: Sequence[bytes]) -> list[Outcome] | None:
        """Answer a submission: order it, or only say so, or refuse it."""
        if self._dice.falls(10):
            return [Refused("transaction.version")] * len(leaves)
        branch = self._branch(name)
        if branch is None:
            return None
        ids = [accepted_id(leaf) for leaf in leaves]
        if self._dice.falls(70):
            self._propose(branch, leaves)
        promised = sign_receipt(log_signer(name), branch.ledger, ids, branch.height, self._consortium.now)
        return [promised] * len(leaves)

    def _give(self, name: str, source: str, first: int) -> list[Block]:
        if source in self._false:
            return [block for block in [self._false[source]] if block.height >= first]
        branches = self._branches.get(name)
        if not branches or source in self.names:
            return []
        branch = branches[self._given.setdefault((name, source), self._dice.below(len(branches))) % len(branches)]
        return branch.blocks(first, 1 << 20)

    def _gather(self, text: str, node: Node) -> None:
        reading = self._reader().read(text, node.replica.members)
        end = reading.size, reading.root
        self._log_lines[end] = reading.log_line
        self._lines.setdefault(end, {}).update(reading.lines)
        for name in self.names:
            self._lines[end].update(LedgerNotary(self._origin, cosign_keys(name)).cosign(*end, self._consortium.now))

    def _made(self) -> list[str]:
        newest = sorted(self._log_lines)[-6:]
        return [self._reader().write(*end, self._log_lines[end], self._lines[end]) for end in newest]

    def _answer(self) -> str | None:
        made = self._made()
        return None if not made or self._dice.falls(50) else made[self._dice.below(len(made))]

    def _reader(self) -> LedgerNotary:
        return LedgerNotary(self._origin, cosign_keys(self.names[0]))
