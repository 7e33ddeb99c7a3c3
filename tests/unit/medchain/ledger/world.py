"""A consortium in memory for the tests of the ledger: five organisations with real keys, and signed payloads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from hashlib import sha256
from itertools import count

from medchain.crypto.es384 import Es384Signer, public_jwk
from medchain.crypto.sealing import SealingPrivateKey
from medchain.crypto.signing import Ed25519Signer, MlDsa44Signer
from medchain.crypto.vrf import VrfKey
from medchain.encoding import Json, base64_text
from medchain.ledger.genesis import Genesis, build_genesis
from medchain.ledger.issuers import Invoices, VrfGeneration, vrf_proof_input
from medchain.ledger.machine import (
    BlockEffects,
    DrawState,
    Effects,
    Refusal,
    apply_block,
    apply_genesis,
    block_context,
    execute,
)
from medchain.ledger.members import Key, Members, Organisation, ProtocolRules, make_key, proof_message
from medchain.ledger.object import StateRecord, map_key, organisation_id, public_body_hash, public_owner
from medchain.ledger.policy import default_policy, draw_order
from medchain.ledger.transaction import (
    Change,
    Draw,
    Envelope,
    ObjectRow,
    Payload,
    Ref,
    Signer,
    Stop,
    Transaction,
    pae,
    payload_bytes,
    seal,
)

TIME = 1_796_083_200
DAY = TIME // 86400
RENHE, TONGJI = "renhe-hospital", "tongji-hospital"
ANXIN, TAIPING = "anxin-insurance", "taiping-insurance"
COMMISSION = "health-commission"
ROLES = {RENHE: "hospital", TONGJI: "hospital", ANXIN: "insurer", TAIPING: "insurer", COMMISSION: "regulator"}
COSIGN_TWINS, LOG_TWINS = (11928, 46236), (43810, 61812)
"""Generations of Renhe's cosigning (Ed25519) and log keys that have one key id: it has 4 bytes."""
_NUMBERS = count(1)


def seed(*parts: object) -> bytes:
    """Make 32 repeatable bytes."""
    return sha256("/".join(str(part) for part in parts).encode()).digest()


def fresh(size: int) -> bytes:
    """Make bytes that no earlier call made."""
    return sha256(b"fresh%d" % next(_NUMBERS)).digest()[:size]


@cache
def ledger_signer(org_id: str, generation: int = 1) -> Ed25519Signer:
    """Return a ledger key."""
    return Ed25519Signer(seed(org_id, "ledger", generation))


@cache
def public_text(org_id: str, use: str, generation: int) -> object:
    """Return the public part of a key in its JSON form."""
    secret = seed(org_id, use, generation)
    match use:
        case "authentication":
            return public_jwk(Es384Signer(secret).public)
        case "encryption":
            return base64_text(SealingPrivateKey(secret).public)
        case "cosign-mldsa44":
            return base64_text(MlDsa44Signer(secret).public)
        case _:
            return base64_text(Ed25519Signer(secret).public)


USES = ("authentication", "cosign-ed25519", "cosign-mldsa44", "encryption", "ledger", "log")


@cache
def key(org_id: str, use: str, generation: int = 1) -> Key:
    """Return a public key of an organisation."""
    return make_key(org_id, use, public_text(org_id, use, generation))


def line_id(org_id: str, use: str, generation: int) -> bytes:
    """Compute the key id of a line (C2SP signed-note; `docs/spec/genesis.md` 6)."""
    kind, name = {
        "log": (b"\x01", "medchain.example/test"),
        "cosign-ed25519": (b"\x04", f"{org_id}.medchain.example/cosigner/ed25519"),
        "cosign-mldsa44": (b"\x06", f"{org_id}.medchain.example/cosigner/mldsa44"),
    }[use]
    return sha256(name.encode() + b"\n" + kind + key(org_id, use, generation).public).digest()[:4]


def prove(ledger: bytes, made: Key, generation: int = 1) -> bytes:
    """Sign a proof of possession."""
    message = proof_message(ledger, made)
    secret = seed(made.org_id, made.use, generation)
    match made.use:
        case "authentication":
            return Es384Signer(secret).sign(message)
        case "encryption":
            return ledger_signer(made.org_id).sign(message)
        case "cosign-mldsa44":
            return MlDsa44Signer(secret).sign(message)
        case _:
            return Ed25519Signer(secret).sign(message)


@cache
def vrf_key(org_id: str, generation: int = 1) -> VrfKey:
    """Return a key that makes ids of an organisation's invoices."""
    return VrfKey(seed(org_id, "vrf", generation))


def invoices(org_id: str, *issuers: str, days: Sequence[int] = (0,)) -> Invoices:
    """Say which invoices an organisation issues: generation 1 of its keys begins on the first day, and so on."""
    rows = (VrfGeneration(day, vrf_key(org_id, number).public) for number, day in enumerate(days, 1))
    return Invoices(issuers, tuple(rows))


def prove_vrf(ledger: bytes, org_id: str, generation: int = 1) -> dict[str, str]:
    """Prove possession of such a key: its id → base64 proof."""
    made = vrf_key(org_id, generation)
    return {VrfGeneration(0, made.public).id: base64_text(made.prove(vrf_proof_input(ledger, org_id)))}


def organisation(org_id: str, role: str, **changes: object) -> Organisation:
    """Make an organisation with generation 1 of each key."""
    made = Organisation(
        org_id=org_id,
        role=role,
        control=f"control of {org_id}",
        name={"en": org_id, "zh": "机构"},
        url=f"https://{org_id}.node.example",
        origins=(f"https://{org_id}.example",),
        status="active",
        keys=tuple(sorted((key(org_id, use) for use in USES), key=lambda k: k.id)),
    )
    return replace(made, **changes)


@cache
def genesis() -> Genesis:
    """Return the genesis of the five."""
    return build_genesis(
        [organisation(org_id, role) for org_id, role in ROLES.items()],
        origin="medchain.example/test",
        policy=default_policy(),
        protocol=ProtocolRules(COMMISSION, 4, 1),
        rp_id="consent.example",
        sign_origins=["https://sign.consent.example"],
        time=TIME,
    )


@dataclass
class World:
    """The state of one ledger, and the pen of every organisation."""

    genesis: Genesis = field(default_factory=genesis)
    members: Members = None
    records: dict[bytes, StateRecord] = field(default_factory=dict)
    draw_states: dict[str, DrawState] = field(default_factory=dict)
    seeds: dict[int, bytes] = field(default_factory=dict)
    height: int = 1
    time: int = TIME + 10
    position: int = 2

    def __post_init__(self) -> None:
        """Start at height 0."""
        self._keep(apply_genesis(self.genesis))

    def record(self, key: bytes) -> StateRecord | None:
        return self.records.get(key)

    def draws(self, creator: str) -> DrawState:
        return self.draw_states.get(creator, DrawState())

    def heads(self, keys: Sequence[bytes]) -> dict[bytes, StateRecord | None]:
        return {key: self.records.get(key) for key in keys}

    def seed(self, height: int) -> bytes | None:
        return self.seeds.get(height)

    @property
    def context(self):
        return block_context(self.height, self.time, self.position, self.genesis)

    def _keep(self, effects: BlockEffects) -> None:
        self.records.update(effects.records)
        self.draw_states.update(effects.draws)
        self.members = effects.members

    def drawn(self, creator: str, number: int, rank: int = 0) -> str:
        """Return who is drawn at the newest seed."""
        return draw_order(self.members, creator, number, self.genesis.ledger)[rank]

    def transaction(self, creator: str, *changes: Change, **other: object) -> Transaction:
        """Make a payload; ``signers`` are (org_id, role) rows, by default what the default policy wants."""
        widened = any(
            c.kind == "claim" or (c.kind in {"subject", "consent", "grant"} and c.status == "active") for c in changes
        )
        signers = other.pop("signers", None)
        draw = other.pop("draw", None)
        if signers is None:
            signers = [(creator, "creator")]
            if widened:
                draw = draw or Draw(0, self.draws(creator).number + 1, 0)
                signers.append((self.drawn(creator, draw.number, draw.rank), "independent"))
        rows = tuple(sorted(Signer(key(org, "ledger").id, role) for org, role in signers))
        made = Transaction(
            creator=creator,
            changes=changes,
            bodies=other.pop("bodies", ()),
            signers=rows,
            draw=draw,
            ledger=self.genesis.ledger,
            nonce=fresh(16),
            until=self.time + 60,
            protocol=1,
        )
        return replace(made, **other)

    def stop(self, creator: str, target: bytes, preimage: bytes, **other: object) -> Stop:
        """Make a stop."""
        row = (Signer(key(creator, "ledger").id, "submitter"),)
        made = Stop(creator, target, preimage, None, row, self.genesis.ledger, fresh(16), None, 1)
        return replace(made, **other)

    def public(self, creator: str, *contents: tuple[str, Json], signers: Sequence[str] = (), **other: object):
        """Make a payload that changes public objects; ``signers`` vote beside the creator."""
        changes = tuple(self.public_change(kind, content) for kind, content in contents)
        rows = [(creator, "creator"), *((org_id, "member") for org_id in signers)]
        other.setdefault("bodies", tuple(content for _, content in contents))
        return self.transaction(creator, *changes, signers=rows, **other)

    def public_change(self, kind: str, content: Json) -> Change:
        """Make the next version of a public object."""
        owner, object_id = public_owner(kind, content)
        head = self.record(map_key(kind, owner, object_id))
        row = ObjectRow(object_id, 1 if head is None else head.version + 1, public_body_hash(kind, content))
        return Change(kind, "active", (row,))

    def execute(self, payload: Payload | Envelope) -> Effects | Refusal:
        """Judge a payload at the next place."""
        return execute(self, payload if isinstance(payload, Envelope) else sign(payload), self.context)

    def refusal(self, payload: Payload | Envelope) -> str:
        """Return the code of the refusal; an accepted payload is the empty text."""
        outcome = self.execute(payload)
        return outcome.code if isinstance(outcome, Refusal) else ""

    def apply(self, *payloads: Payload | Envelope, strict: bool = True) -> BlockEffects:
        """Apply a block."""
        envelopes = [item if isinstance(item, Envelope) else sign(item) for item in payloads]
        effects = apply_block(self, self.context, [item.leaf for item in envelopes], strict=strict)
        self._keep(effects)
        self.position += len(effects.leaves) + 1
        self.height += 1
        self.time += 1
        return effects

    def add(self, kind: str, creator: str, status: str = "active", **changes: object) -> StateRecord:
        """Put an object into the state as if it had been accepted earlier."""
        values = {
            "id": fresh(16),
            "version": 1,
            "body_hash": fresh(32),
            "stop_hash": None,
            "expires": None,
            "refs": (),
            "since": 1,
            "previous": None,
        } | changes
        record = StateRecord(kind=kind, creator=creator, status=status, **values)
        self.records[record.key] = record
        return record


def sign(payload: Payload) -> Envelope:
    """Sign with the ledger keys that the payload names."""
    data = payload_bytes(payload)
    message = pae(data)
    pens = {
        key(org_id, "ledger", generation).id: ledger_signer(org_id, generation)
        for org_id in (*ROLES, "newcomer-hospital")
        for generation in (1, 2)
    }
    return seal(data, [(row.key_id, pens[row.key_id].sign(message)) for row in payload.signers])


def ref(record: StateRecord) -> Ref:
    """Make a reference to a head."""
    return Ref(record.key, record.version)


def refs(*records: StateRecord) -> tuple[Ref, ...]:
    """Make sorted references to heads."""
    return tuple(sorted(ref(record) for record in records))


def rows(number: int = 1, version: int = 1) -> tuple[ObjectRow, ...]:
    """Make rows of new objects."""
    return tuple(sorted(ObjectRow(fresh(16), version, fresh(32)) for _ in range(number)))


def next_row(record: StateRecord) -> tuple[ObjectRow, ...]:
    """Make the row of an object's next version."""
    return (ObjectRow(record.id, record.version + 1, fresh(32)),)


def organisation_key(org_id: str) -> bytes:
    """Return the map key of an organisation's object."""
    return map_key("organisation", org_id, organisation_id(org_id))
