"""Whole nodes that propose to each other: real books, tables and machines, calls in place of HTTP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from medchain.encoding import canonical
from medchain.node.member_changes import Wish
from medchain.node.proposal import Choice
from medchain.node.proposal_book import ProposalBook
from medchain.node.proposal_round import ProposalRound
from tests.unit.medchain.node.federation import ROLES, Federation, keys_of


@dataclass
class Wire:
    """The way from one node to the others (`ProposalNetwork`)."""

    assembly: Assembly
    sender: str

    def propose(self, org_id: str, document: bytes) -> bytes:
        self.assembly.federation.reach(self.sender, org_id)
        document = self.assembly.tamper(self.sender, org_id, document)
        self.assembly.seen.append((self.sender, org_id, document))
        with self.assembly.federation.answering(org_id):
            return canonical(self.assembly.books[org_id].receive(document, self.sender))


class Pumped:
    """An outbox whose thread is whoever waits."""

    def __init__(self, outbox) -> None:
        """Use a node's own."""
        self.outbox = outbox

    def add(self, leaf):
        return self.outbox.add(leaf)

    def wait(self, known, timeout_s):
        self.outbox.step()
        return self.outbox.wait(known, timeout_s)


@dataclass
class Assembly:
    """Members that propose, decide and sign."""

    federation: Federation
    books: dict[str, ProposalBook] = field(default_factory=dict)
    rounds: dict[str, ProposalRound] = field(default_factory=dict)
    seen: list[tuple[str, str, bytes]] = field(default_factory=list)
    tamper: Callable[[str, str, bytes], bytes] = lambda _sender, _receiver, document: document
    moment: float = 0.0

    def __post_init__(self) -> None:
        """Open a book at every node."""
        for org_id in ROLES:
            self.open(org_id)

    def open(self, org_id: str) -> None:
        """Put a node's parts together, also after a crash."""
        site = self.federation.sites[org_id]
        driver = site.node.driver
        self.books[org_id] = ProposalBook(
            keys_of(org_id),
            site.node.judge,
            site.records,
            may_order=driver.may_order,
            final_size=lambda: driver.cosigner.final_size,
        )
        outbox, takeover = Pumped(site.node.driver.outbox), site.node.driver.takeover
        self.rounds[org_id] = ProposalRound(
            self.books[org_id], Wire(self, org_id), outbox, takeover, now=lambda: self.moment
        )

    def step(self, *org_ids: str) -> None:
        """Let nodes that are not down take a turn each, some time after the last one."""
        self.moment += 100
        for org_id in org_ids or ROLES:
            if org_id not in self.federation.down:
                self.rounds[org_id].step()

    def propose(self, org_id: str, operation: str, about: str = "", **more: object) -> bytes:
        """Propose, and send it to everybody; returns the proposal's id."""
        reason, life_s = more.pop("reason", ""), more.pop("life_s", None)
        made = self.books[org_id].propose(Wish(operation, about, **more), reason, life_s)
        self.step()
        return made.proposal.id

    def approve(self, name: bytes, *org_ids: str) -> None:
        """Approve at several nodes, and let the decisions travel."""
        for org_id in org_ids:
            self.books[org_id].decide(name, Choice.APPROVE)
        self.step()
        self.step()
        for _ in range(6000):
            if not any(made.waiting.get(name) == "proposal.not_final" for made in self.rounds.values()):
                return
            self.federation.wait()
            self.step()

    def state(self, org_id: str, name: bytes) -> str:
        """Tell how a proposal stands at a node."""
        return self.books[org_id].entry(name).standing.state

    def is_everywhere(self, check: Callable[[object], bool]) -> bool:
        """Wait until something holds of the members at every node that is not down."""
        sites = [site for org_id, site in self.federation.sites.items() if org_id not in self.federation.down]
        for _ in range(6000):
            if all(check(site.replica.members) for site in sites):
                return True
            self.federation.wait()
        return False
