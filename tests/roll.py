"""The roll of members, read off the entries of a ledger by hand, with nothing of the code that is judged.

An organisation's newest version that stands in the entries says its status and keys, the protocol object's who orders
and how many make a quorum. Whether an entry is allowed is not asked here. Source: `docs/spec/genesis.md` 3 to 5;
`docs/spec/transaction.md` 1, 2 and 4.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

COSIGN_USES = ("cosign-ed25519", "cosign-mldsa44")
_USES = {*COSIGN_USES, "ledger", "log"}


@dataclass(frozen=True)
class Roll:
    """The members at one place in a ledger.

    Attributes:
        orderer: org_id of who orders.
        quorum: k.
        statuses: org_id → ``active``, ``suspended`` or ``removed``.
        keys: (org_id, use) → public keys that are listed, for signing uses but authentication.
        lineage: of their policy at the end of the block before; zeros before the genesis' own.
    """

    orderer: str
    quorum: int
    statuses: Mapping[str, str]
    keys: Mapping[tuple[str, str], frozenset[bytes]]
    lineage: bytes = bytes(32)

    @classmethod
    def of_genesis(cls, leaf: bytes) -> Roll:
        """Read the genesis."""
        document = json.loads(leaf)
        statuses = {row["org_id"]: "active" for row in document["members"]}
        keys = {
            (row["org_id"], use): frozenset({base64.b64decode(row["keys"][use], validate=True)})
            for row in document["members"]
            for use in _USES
        }
        return cls(document["orderer"], document["quorum"], statuses, keys)

    @property
    def active(self) -> list[str]:
        """List who takes part."""
        return sorted(org_id for org_id, status in self.statuses.items() if status == "active")

    @property
    def faulty(self) -> int:
        """Tell how many may lie."""
        return (len(self.active) - 1) // 3

    def ending(self, before: Roll | None, origin: str) -> Roll:
        """Return the roll at the end of a block, which continues the lineage where the policy is another."""
        text = self.text(origin, "consortium")
        if before is not None and before.text(origin, "consortium") == text:
            return self
        fields = (b"medchain/lineage/v1", self.lineage, hashlib.sha256(text.encode()).digest())
        framed = b"".join(len(one).to_bytes(8, "big") + one for one in fields)
        return replace(self, lineage=hashlib.sha256(framed).digest())

    def policy(self, origin: str) -> str:
        """Write policy.txt."""
        return self.text(origin, f"consortium@{self.lineage.hex()}")

    def text(self, origin: str, quorum: str) -> str:
        """Write policy.txt, its quorum being named so (`docs/spec/genesis.md` 6; C2SP signed-note for a key's form)."""
        host = origin.partition("/")[0]
        lines = [f"log {_vkey(origin, 1, self._only(self.orderer, 'log'))}"]
        for org_id in self.active:
            for use, suffix, kind in zip(COSIGN_USES, ("ed", "pq"), (4, 6), strict=True):
                name = f"{org_id}.{host}/cosigner/{use.removeprefix('cosign-')}"
                lines.append(f"witness {org_id}-{suffix} {_vkey(name, kind, self._only(org_id, use))}")
            lines.append(f"group {org_id} all {org_id}-ed {org_id}-pq")
        lines += [" ".join(["group", quorum, str(self.quorum), *self.active]), f"quorum {quorum}"]
        return "".join(line + "\n" for line in lines)

    def _only(self, org_id: str, use: str) -> bytes:
        """Return the one key of a use of which there is one."""
        (public,) = self.listed(org_id, use)
        return public

    def listed(self, org_id: str, use: str) -> frozenset[bytes]:
        """Return an organisation's public keys of a use."""
        return self.keys.get((org_id, use), frozenset())

    def after(self, leaf: bytes) -> Roll:
        """Return the members after an entry; the same object where it changes nothing of them."""
        roll = self
        for kind, content in contents(leaf):
            if kind == "protocol":
                roll = replace(roll, orderer=content["orderer"], quorum=content["quorum"])
            elif kind == "organisation":
                org_id, rows = content["org_id"], content["keys"]
                own = {
                    (org_id, use): frozenset(base64.b64decode(row["public"]) for row in rows if row["use"] == use)
                    for use in _USES
                }
                statuses = {**roll.statuses, org_id: content["status"]}
                roll = replace(roll, statuses=statuses, keys={**roll.keys, **own})
        return roll


def _vkey(name: str, kind: int, public: bytes) -> str:
    """Write a key as C2SP signed-note has it: name, id, kind and key."""
    marked = bytes([kind]) + public
    key_id = hashlib.sha256(name.encode() + b"\n" + marked).hexdigest()[:8]
    return f"{name}+{key_id}+{base64.b64encode(marked).decode()}"


def contents(leaf: bytes) -> list[tuple[str, dict]]:
    """List the public contents of an entry with their kinds, in order."""
    payload = json.loads(base64.b64decode(json.loads(leaf)["payload"], validate=True))
    public = [
        row["kind"] for row in payload.get("changes", ()) if row["kind"] in {"organisation", "policy", "protocol"}
    ]
    return list(zip(public, payload.get("bodies", ()), strict=True))


def taker(leaf: bytes) -> str | None:
    """Tell who makes itself the orderer with an entry that changes nothing else: only that is a takeover."""
    payload = json.loads(base64.b64decode(json.loads(leaf)["payload"], validate=True))
    if [row["kind"] for row in payload.get("changes", ())] != ["protocol"]:
        return None
    creator = payload["creator"]
    return creator if payload["bodies"][0]["orderer"] == creator else None
