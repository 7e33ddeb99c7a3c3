"""The administrators of the honest members: they agree on takeovers, hand-overs, suspensions, as the rules allow.

A member signs a next version of the protocol object only where the one before is final to it, and one takeover of a
version at a time, until 120 s after its end; a liar signs whatever it is shown, but a takeover by a liar nobody else
agrees on. Source: `docs/spec/proposal.md` 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from medchain.errors import MedchainError
from medchain.ledger.object import map_key, public_owner
from tests.consortium import Consortium, Node

PROTOCOL = map_key("protocol", *public_owner("protocol", {}))
LIFE_S = 240
"""How long what is agreed on may take."""
PATIENCE_S = 120


class Administrators:
    """Those of all honest members.

    Attributes:
        takeovers: all that was ever agreed on to replace a lost orderer.
        agreed: the newest of these, and who is to take over; None before the first.
        named: who was ever agreed on to order.
    """

    def __init__(self, consortium: Consortium) -> None:
        """Begin without having agreed on anything."""
        self.takeovers: list[bytes] = []
        self.agreed: tuple[bytes, Node] | None = None
        self.named: set[str] = set()
        self._consortium = consortium
        self._promised: dict[str, tuple[int, int]] = {}
        self._members_until = 0

    @property
    def honest(self) -> list[Node]:
        """List the members that do not lie."""
        return [node for name, node in self._consortium.nodes.items() if name not in self._consortium.liars]

    def agree_on_takeover(self, target: Node) -> bool:
        """Agree on a takeover by a member, if enough may sign it."""
        version = version_of(target) + 1
        voters = [node for node in self._reached() if self._may_sign(node, target, version)]
        may_promise = [node for node in voters if not self._is_promised(node, version)]
        if target not in may_promise or target.replica.members.protocol.orderer == target.org_id:
            return False
        names = self._with_liars(may_promise, target)
        if not self._is_majority(target, names):
            return False
        until = self._consortium.now + LIFE_S
        leaf = self._consortium.hand_over(target.org_id, target, voters=names, until=until)
        self._promised |= {node.org_id: (version, until) for node in may_promise}
        self.takeovers.append(leaf)
        self.named.add(target.org_id)
        self.agreed = leaf, target
        return True

    def hand_over(self, target: str, view: Node) -> bytes | None:
        """Agree on a hand-over that the orderer is to order; returns it, or None."""
        version = version_of(view) + 1
        voters = [node for node in self._reached() if self._may_sign(node, view, version, target)]
        names = self._with_liars(voters, view)
        creators = [name for name in names if name != target]
        is_due = view.replica.members.protocol.orderer != target and (target in names) and creators
        if not is_due or not self._is_majority(view, names):
            return None
        self.named.add(target)
        until = self._consortium.now + LIFE_S
        return self._consortium.hand_over(target, view, voters=names, creator=creators[0], until=until)

    def change_standing(self, target: str, status: str, view: Node) -> bytes | None:
        """Agree on a suspension, or that a member takes part again, one at a time; returns it, or None."""
        now, version = self._consortium.now, version_of(view) + 1
        voters = [node for node in self._reached() if self._may_sign(node, view, version)]
        names = [name for name in self._with_liars(voters, view) if name != target]
        if now <= self._members_until + PATIENCE_S or not self._is_majority(view, names):
            return None
        self._members_until = now + LIFE_S
        return self._consortium.stand({target: status}, view, voters=names, until=self._members_until)

    def _reached(self) -> list[Node]:
        """List the honest members whose administrators and nodes can be reached."""
        cut_off = self._consortium.cut_off
        return [node for node in self.honest if node.is_up and node.org_id not in cut_off]

    def _may_sign(self, node: Node, view: Node, version: int, orderer: str | None = None) -> bool:
        """Tell whether a member may sign a version of the protocol object, by what it knows itself."""
        head = node.replica.record(PROTOCOL)
        is_final = head.since == 0 or head.since < node.driver.cosigner.final_size
        members = node.replica.members
        is_active = members.organisations[node.org_id].status == "active"
        is_alike = members.organisations == view.replica.members.organisations
        may_order = node.driver.may_order(orderer or view.org_id)
        return is_final and is_active and is_alike and may_order and head.version == version - 1

    def _is_promised(self, node: Node, version: int) -> bool:
        known, until = self._promised.get(node.org_id, (0, 0))
        return known == version and self._consortium.now <= until + PATIENCE_S

    def _with_liars(self, voters: Sequence[Node], view: Node) -> list[str]:
        active = {item.org_id for item in view.replica.members.active}
        return sorted({node.org_id for node in voters} | (self._consortium.liars & active))

    def _is_majority(self, view: Node, names: Sequence[str]) -> bool:
        """Tell whether more than half sign, one of them a regulator."""
        active = {item.org_id: item.role for item in view.replica.members.active}
        signing = active.keys() & set(names)
        return 2 * len(signing) > len(active) and "regulator" in {active[name] for name in signing}


def version_of(node: Node) -> int:
    """Return the version of the protocol object in a node's ledger."""
    return node.replica.record(PROTOCOL).version


def try_to_take_over(leaf: bytes, target: Node) -> bool:
    """Have a member bring a takeover about; tells whether it has."""
    with suppress(MedchainError):
        target.driver.takeover(leaf)
        return True
    return False
