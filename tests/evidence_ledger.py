"""The ledger of evidence bundles: real keys, map, log and quorum, whose blocks a test makes when it likes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import pytest

from medchain.encoding import base64_text
from medchain.ledger.genesis import trusted_policy_text
from medchain.ledger.kinds.content import DAY_S
from medchain.ledger.members import organisation_content, protocol_content, quorum_floor
from medchain.ledger.object import StateRecord, map_key
from medchain.ledger.policy import default_policy
from medchain.ledger.transaction import Change, Draw, Envelope, ObjectRow, Payload
from medchain.store.engine import FileKind, open_database
from medchain.store.ledger import LedgerStore
from tests.unit.medchain.ledger import world
from tests.unit.medchain.ledger.world import COMMISSION, RENHE, ROLES, TIME, TONGJI, sign
from tests.unit.medchain.node.lawful import RULE, forget
from tests.unit.medchain.node.ledgers import Author, block_of, cosigned, replica_on

ISSUER = "12990100MB0001"
ISSUER_OF_OTHER = "12990200MB0002"
"""Issuer code of the hospital that is not asked for records."""
BEGUN = TIME + 60 * DAY_S
"""When scenes begin: two months after the hospital joined."""
CLAIM, CONSENT = "claim", "consent"


@contextmanager
def invoicing() -> Iterator[None]:
    """Have Renhe and Tongji issue invoices, and the law permit what it orders, while it lasts: the genesis says so."""
    policy = default_policy()
    lawful = {**policy, "rules": {**policy["rules"], "mandate/active": RULE}}
    plain = world.organisation

    def issuing(org_id: str, role: str, **changes: object) -> object:
        code = {RENHE: ISSUER, TONGJI: ISSUER_OF_OTHER}.get(org_id)
        issues = {} if code is None else {"invoices": world.invoices(org_id, code)}
        return plain(org_id, role, **(issues | changes))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(world, "organisation", issuing)
        patched.setattr(world, "default_policy", lambda: lawful)
        forget()
        try:
            yield
        finally:
            forget()


@dataclass
class Ledger:
    """A real ledger whose blocks a test makes."""

    author: Author
    now: int = BEGUN
    made: int = 0

    def fresh(self, size: int) -> bytes:
        """Make bytes that no earlier call made, and that the next run makes again."""
        self.made += 1
        return sha256(b"evidence%d" % self.made).digest()[:size]

    @property
    def policy(self) -> str:
        """What a verifier trusts: the members of now."""
        return trusted_policy_text(self.author.members, self.author.genesis.origin)

    def block(self, *payloads: Payload | Envelope, at: int | None = None) -> int:
        """Order payloads in a block of their own, final; returns its time."""
        replica = self.author.replica
        self.now = max(self.now + 1, at or 0)
        block = block_of(replica, *payloads, time=self.now)
        replica.put_note(cosigned(block.checkpoint, *self.cosigners, time=self.now))
        return self.now

    @property
    def final(self) -> bytes:
        """The newest final checkpoint, as an insurer may keep it."""
        return self.author.replica.store.final().note.encode()

    @property
    def cosigners(self) -> list[str]:
        """Who takes part."""
        return [one.org_id for one in self.author.members.active]

    def record(self, key: bytes) -> StateRecord:
        """Return a head."""
        return self.author.replica.store.record(key)

    def put(self, kind: str, body_hash: bytes, object_id: bytes, creator: str = RENHE, **terms: object) -> StateRecord:
        """Make the next version of an object, endorsed where its kind must be."""
        author, key = self.author, map_key(kind, creator, object_id)
        head, status = author.record(key), terms.pop("status", "active")
        row = ObjectRow(object_id, 1 if head is None else head.version + 1, body_hash)
        change = Change(
            kind, status, (row,), terms.pop("refs", ()), terms.pop("stop_hash", None), terms.pop("expires", None)
        )
        endorsed = kind in {CONSENT, "grant", "mandate", CLAIM} and status != "ended"
        number = author.draws(creator).number + 1
        draw = Draw(author.seed_height, number, 0) if endorsed else None
        # What is good for a minute is judged at the time of its block.
        until = self.now + 30 if endorsed else None
        drawn = [(author.drawn(creator, number), "independent")] if endorsed else []
        signers = [(creator, "creator"), *drawn]
        payload = author.transaction(creator, change, draw=draw, until=until, signers=signers)
        self.block(sign(payload), at=terms.pop("at", None))
        return self.record(key)

    def stop(self, key: bytes, preimage: bytes, at: int | None = None) -> int:
        """Have an object stopped by who knows how."""
        return self.block(sign(self.author.stop(RENHE, key, preimage)), at=at)

    def join(self, org_id: str) -> None:
        """Have the members agree that a hospital joins."""
        member, ledger = world.organisation(org_id, "hospital"), self.author.genesis.ledger
        proofs = {one.id: base64_text(world.prove(ledger, one)) for one in member.keys}
        content = organisation_content(member, proofs)
        voters = [one for one in ROLES if one != COMMISSION]
        payload = self.author.public(COMMISSION, ("organisation", content), signers=voters, until=None)
        self.now += 1
        replica = self.author.replica
        block = block_of(replica, sign(payload), time=self.now)
        replica.put_note(cosigned(block.checkpoint, *ROLES, time=self.now))

    def move(self, org_id: str, *origins: str) -> None:
        """Have the members agree that one has other web addresses."""
        after = replace(self.author.members.organisations[org_id], origins=tuple(sorted(origins)))
        voters = [one for one in ROLES if one != COMMISSION]
        content = organisation_content(after)
        self.block(sign(self.author.public(COMMISSION, ("organisation", content), signers=voters, until=None)))

    def stand(self, org_id: str, status: str) -> None:
        """Have the members agree that one is suspended, or active again."""
        members = self.author.members
        after = replace(members.organisations[org_id], status=status)
        active = [one for one in (*members.active, after) if one.org_id != org_id or one.status == status]
        count = len({one.org_id for one in active if status == "active" or one.org_id != org_id})
        rules = replace(members.protocol, quorum=quorum_floor(count))
        contents = [("organisation", organisation_content(after)), ("protocol", protocol_content(rules))]
        voters = [one for one in ROLES if one not in (COMMISSION, org_id)]
        payload = self.author.public(COMMISSION, *contents, signers=voters, until=None)
        replica = self.author.replica
        self.now += 1
        block = block_of(replica, sign(payload), time=self.now)
        replica.put_note(cosigned(block.checkpoint, *ROLES, time=self.now))


@contextmanager
def ledger_in(folder: Path) -> Iterator[Ledger]:
    """Make a ledger whose hospital joined two months ago; `invoicing` must last."""
    folder.mkdir(parents=True, exist_ok=True)
    with closing(open_database(folder / "ledger.db", b"\x05" * 32, kind=FileKind.LEDGER)) as database:
        author = Author(replica=replica_on(LedgerStore(database), COMMISSION))
        made = Ledger(author)
        made.block(author.anchor())
        yield made
