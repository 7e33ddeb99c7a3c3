"""The members: organisations, their keys, and the rules in force, as one frozen snapshot.

Keeps true: every key belongs to one organisation; an organisation that takes part has a key for each use; there is an
orderer with a log key, and the quorum k is above (n + f) / 2, so that two quorums always share an honest member. A
change of members makes a new snapshot. Reading a key, proving it and counting its owner stand in one file, since each
is safe only with the others. Trusts nothing: contents are parsed strictly, new keys prove their possession.
Source: `docs/spec/genesis.md`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from medchain.crypto.es384 import ES384, es384_verify, parse_public_jwk
from medchain.crypto.signing import ED25519, MLDSA44, ed25519_verify, key_id, mldsa44_verify
from medchain.encoding import Json, digest, members, unbase64
from medchain.errors import InputError, VerificationError
from medchain.ledger.issuers import (
    Invoices,
    check_apart,
    check_vrf_proof,
    invoices_content,
    parse_invoices,
)
from medchain.ledger.object import LEDGER
from medchain.ledger.policy import ROLES, Policy, drawable, satisfied
from medchain.ledger.transaction import Signer

LEDGER_KEY: Final = "ledger"
"""Key use: transactions and endorsements (Ed25519)."""

LOG_KEY: Final = "log"
"""Key use: the checkpoint's own line and receipts, while it orders (Ed25519)."""

COSIGN_ED25519_KEY: Final = "cosign-ed25519"
"""Key use: cosignatures (Ed25519)."""

COSIGN_MLDSA44_KEY: Final = "cosign-mldsa44"
"""Key use: cosignatures (ML-DSA-44)."""

COSIGN_USES: Final = (COSIGN_ED25519_KEY, COSIGN_MLDSA44_KEY)
"""Key uses of cosignatures: a member has cosigned only what it cosigned with both."""

LINE_USES: Final = (LOG_KEY, *COSIGN_USES)
"""Key uses of lines on checkpoints."""

AUTHENTICATION_KEY: Final = "authentication"
"""Key use: tokens between nodes and SMART backend services (ES384)."""

ENCRYPTION_KEY: Final = "encryption"
"""Key use: what is sealed to the organisation (HPKE X-Wing)."""

X_WING: Final = "x-wing"
"""Algorithm name of encryption keys, as it enters a key id."""

ALGORITHMS: Final = {
    AUTHENTICATION_KEY: ES384,
    COSIGN_ED25519_KEY: ED25519,
    COSIGN_MLDSA44_KEY: MLDSA44,
    ENCRYPTION_KEY: X_WING,
    LEDGER_KEY: ED25519,
    LOG_KEY: ED25519,
}
"""Key use → algorithm."""

ACTIVE: Final = "active"
"""Status of an organisation that takes part."""

SUSPENDED: Final = "suspended"
"""Status of an organisation that neither signs nor counts, but may stop objects."""

REMOVED: Final = "removed"
"""Status of an organisation that is no member any more."""

MAX_MEMBERS: Final = 64
"""Most organisations of a ledger, removed ones included."""

MAX_KEYS_PER_USE: Final = 2
"""Most keys of one use while one replaces the other; of log and cosigning keys there is always one."""

_SINGLE: Final = frozenset(LINE_USES)
_PUBLIC_BYTES: Final = {ED25519: 32, MLDSA44: 1312, X_WING: 1216}
_ORG_ID: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?\Z")
_ORIGIN: Final = re.compile(r"https?://[a-z0-9.-]{1,253}(?::[0-9]{1,5})?\Z")
# Scheme, host and port alone: no user, path, query or fragment, which would reach further than a daemon.
_URL: Final = re.compile(
    r"https?://(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])(?::(?P<port>[1-9][0-9]{0,4}))?\Z"
)
_PLAIN: Final = "http:"
_MAX_PORT: Final = 65_535
_MAX_TEXT: Final = 200
_MAX_ORIGINS: Final = 16
_MAX_REMEMBERED: Final = 1024


@dataclass(frozen=True, slots=True)
class Key:
    """A public key of an organisation.

    Attributes:
        id: 32 hexadecimal digits, `medchain.crypto.signing.key_id`.
        use: what it signs or opens.
        public: raw bytes; of an authentication key the uncompressed point.
        text: the JSON form: base64, or the JWK of an authentication key.
        org_id: whose it is.
    """

    id: str
    use: str
    public: bytes
    text: str | Mapping[str, Json]
    org_id: str


@dataclass(frozen=True, slots=True)
class Organisation:
    """A member, as its ledger entry says.

    Attributes:
        org_id: slug of at most 40 characters.
        role: one of `medchain.ledger.policy.ROLES`.
        control: who controls it.
        name: language → name.
        url: where its node answers.
        origins: web origins of its portals.
        status: `ACTIVE`, `SUSPENDED` or `REMOVED`.
        keys: sorted by id.
        invoices: which invoices it issues; None if it issues none.
    """

    org_id: str
    role: str
    control: str
    name: Mapping[str, Json]
    url: str
    origins: tuple[str, ...]
    status: str
    keys: tuple[Key, ...]
    invoices: Invoices | None = None

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it answers, and its portals: scheme, host and port of each."""
        return (self.url, *self.origins)

    def key(self, use: str) -> Key:
        """Return the first key of a use; every organisation that is not removed has one. Raises `InputError`."""
        for key in self.keys:
            if key.use == use:
                return key
        raise InputError("organisation.keys", use=use, org_id=self.org_id)


@dataclass(frozen=True, slots=True)
class ProtocolRules:
    """Content of the protocol object.

    Attributes:
        orderer: org_id of the organisation that orders.
        quorum: k, how many organisations must cosign.
        protocol: version of the transaction rules.
    """

    orderer: str
    quorum: int
    protocol: int


@dataclass(frozen=True, slots=True)
class Members:
    """Snapshot of organisations, policy and protocol.

    Attributes:
        organisations: org_id → organisation, removed ones included.
        policy: the rules in force.
        protocol: orderer, quorum and version.
        line_ids: key ids on checkpoints, 8 hexadecimal digits each, of all log and cosigning keys that organisations
            list or have ever listed, as `medchain.ledger.genesis.with_line_ids` gathers them.
        lineage: of their policy, as `medchain.ledger.genesis.succeeded` continues it; zeros before that.
        active: organisations that take part, sorted by org_id.
        keys: key id → key, of all organisations that are not removed.
        signers: key id of a ledger key → its active organisation.
        granted: (rule, creator, signers) that `satisfies` has found to hold, so that it need not look again.
        seated: (creator, signers) of whom the machine has found that each may sign as what it signs → the independent
            endorser among them, likewise.
    """

    organisations: Mapping[str, Organisation]
    policy: Policy
    protocol: ProtocolRules
    line_ids: frozenset[str] = frozenset()
    lineage: bytes = bytes(32)
    active: tuple[Organisation, ...] = field(init=False)
    keys: Mapping[str, Key] = field(init=False)
    signers: Mapping[str, Organisation] = field(init=False)
    granted: set[tuple[str, str, tuple[Signer, ...]]] = field(init=False, compare=False, repr=False)
    seated: dict[tuple[str, tuple[Signer, ...]], Organisation | None] = field(init=False, compare=False, repr=False)
    _drawable: dict[str, Sequence[tuple[str, bytes]]] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Index active organisations and keys."""
        ordered = sorted(self.organisations.values(), key=lambda organisation: organisation.org_id)
        active = tuple(organisation for organisation in ordered if organisation.status == ACTIVE)
        present = [organisation for organisation in ordered if organisation.status != REMOVED]
        object.__setattr__(self, "active", active)
        object.__setattr__(self, "keys", {key.id: key for organisation in present for key in organisation.keys})
        signers = {
            key.id: organisation for organisation in active for key in organisation.keys if key.use == LEDGER_KEY
        }
        object.__setattr__(self, "signers", signers)
        object.__setattr__(self, "granted", set())
        object.__setattr__(self, "seated", {})
        object.__setattr__(self, "_drawable", {})

    def signer(self, key_id: str) -> Organisation | None:
        """Return the active organisation of a ledger key, None for any other key."""
        return self.signers.get(key_id)

    def satisfies(self, rule: str, creator: str, signers: tuple[Signer, ...]) -> bool | None:
        """Tell whether signers may make a change.

        Args:
            rule: that the change needs, ``kind/status``.
            creator: org_id of the transaction's creator.
            signers: rows whose signatures, roles and draw hold.

        Returns:
            Whether they may; None if the policy has no such rule.
        """
        asked = (rule, creator, signers)
        if asked in self.granted:
            return True
        expression = self.policy.rules.get(rule)
        if expression is None:
            return None
        holds = satisfied(expression, signers, self, creator)
        if holds:
            if len(self.granted) >= _MAX_REMEMBERED:
                self.granted.clear()
            self.granted.add(asked)
        return holds

    def seat(self, asked: tuple[str, tuple[Signer, ...]], endorser: Organisation | None) -> None:
        """Note that each of a creator's signers may sign as what it signs, and who endorses as an independent one.

        Whether they did sign is another matter.
        """
        if len(self.seated) >= _MAX_REMEMBERED:
            self.seated.clear()
        self.seated[asked] = endorser

    def drawable(self, creator: str) -> Sequence[tuple[str, bytes]]:
        """Return what `medchain.ledger.policy.drawable` does, computed once for each member."""
        found = self._drawable.get(creator)
        if found is None:
            found = drawable(self, creator)
            if creator in self.organisations:
                self._drawable[creator] = found
        return found

    def with_organisation(self, organisation: Organisation) -> Members:
        """Return the members with one organisation added or replaced; `check` says whether they may be so.

        Raises:
            VerificationError: ``organisation.url`` for an address without TLS where no member has one: only a demo's
                genesis has any, so that no other ledger can get one later.
        """
        if organisation.url.startswith(_PLAIN) and not any(
            known.url.startswith(_PLAIN) for known in self.organisations.values()
        ):
            raise VerificationError("organisation.url", org_id=organisation.org_id)
        return replace(self, organisations={**self.organisations, organisation.org_id: organisation})

    def with_policy(self, policy: Policy) -> Members:
        """Return the members under another policy."""
        return replace(self, policy=policy)

    def with_protocol(self, protocol: ProtocolRules) -> Members:
        """Return the members with another orderer, quorum or protocol version."""
        return replace(self, protocol=protocol)

    def check(self) -> None:
        """Check what must hold between the parts.

        Raises:
            VerificationError: ``members.quorum`` unless (n + f) / 2 < k ≤ n, ``members.orderer`` unless an active
                organisation orders, ``members.key`` for a key of two organisations, ``members.count``;
                ``members.issuer``, ``members.vrf`` for an issuer code or a key for invoices of two.
        """
        count = len(self.active)
        if not (count + faulty(count)) < 2 * self.protocol.quorum <= 2 * count:
            raise VerificationError("members.quorum", members=count, quorum=self.protocol.quorum)
        if all(organisation.org_id != self.protocol.orderer for organisation in self.active):
            raise VerificationError("members.orderer", org_id=self.protocol.orderer)
        if len(self.organisations) > MAX_MEMBERS:
            raise VerificationError("members.count", count=len(self.organisations))
        if len(self.keys) != sum(len(o.keys) for o in self.organisations.values() if o.status != REMOVED):
            raise VerificationError("members.key")
        check_apart([one.invoices for one in self.organisations.values() if one.invoices is not None])


def addresses_of(organisations: Iterable[Organisation]) -> dict[str, str]:
    """Map addresses (scheme, host and port) to the org_id of who lists them, of several the first by org_id."""
    rows = sorted(organisations, key=lambda one: one.org_id, reverse=True)
    return {address: one.org_id for one in rows for address in one.addresses}


def faulty(count: int) -> int:
    """Return f = ⌊(n − 1) / 3⌋: how many of n members may lie or be silent."""
    return (count - 1) // 3


def quorum_floor(count: int) -> int:
    """Return the smallest k for a number of members: above (n + f) / 2."""
    return (count + faulty(count)) // 2 + 1


def make_key(org_id: str, use: str, text: Json) -> Key:
    """Read a public key.

    Args:
        org_id: whose it is.
        use: one of `ALGORITHMS`.
        text: base64, or the public JWK of an authentication key.

    Returns:
        The key, with its id.

    Raises:
        InputError: ``organisation.key`` for an unknown use or another size, ``encoding.*``, ``es384.public``.
    """
    algorithm = ALGORITHMS.get(use)
    if algorithm is None:
        raise InputError("organisation.key", use=use[:32])
    if algorithm == ES384 and type(text) is dict:
        public = parse_public_jwk(text)
        return Key(key_id(algorithm, public), use, public, text, org_id)
    public = unbase64(text)
    if len(public) != _PUBLIC_BYTES.get(algorithm):
        raise InputError("organisation.key", use=use)
    return Key(key_id(algorithm, public), use, public, str(text), org_id)


def organisation_content(organisation: Organisation, proofs: Mapping[str, str] | None = None) -> dict[str, Json]:
    """Write an organisation's content.

    Args:
        organisation: the member.
        proofs: key id → base64 proof of possession, for the keys that are new, generations of keys for invoices
            included.

    Returns:
        The body of its object.
    """
    given = proofs or {}
    rows: list[Json] = [
        {
            "id": key.id,
            "proof": given.get(key.id),
            "public": key.text if isinstance(key.text, str) else dict(key.text),
            "use": key.use,
        }
        for key in organisation.keys
    ]
    invoices = organisation.invoices
    return {
        "control": organisation.control,
        **({} if invoices is None else {"invoices": invoices_content(invoices, given)}),
        "keys": rows,
        "name": dict(organisation.name),
        "org_id": organisation.org_id,
        "origins": list(organisation.origins),
        "role": organisation.role,
        "status": organisation.status,
        "url": organisation.url,
    }


def parse_organisation(content: Json) -> tuple[Organisation, dict[str, bytes]]:
    """Read an organisation's content strictly.

    Args:
        content: from `organisation_content`.

    Returns:
        The organisation, and the proofs of possession by key id.

    Raises:
        InputError: ``encoding.*``, ``organisation.malformed``, ``organisation.key``, ``organisation.keys``,
            ``organisation.invoices``.
    """
    required = {"control": str, "keys": list, "name": dict, "org_id": str, "origins": list, "role": str}
    top = members(content, required | {"status": str, "url": str}, {"invoices": dict})
    org_id = str(top["org_id"])
    rows = [_key_row(org_id, row) for row in top["keys"]] if type(top["keys"]) is list else []
    invoices, vrf_proofs = parse_invoices(top["invoices"]) if "invoices" in top else (None, {})
    organisation = Organisation(
        org_id=org_id,
        role=str(top["role"]),
        control=str(top["control"]),
        name=top["name"] if type(top["name"]) is dict else {},
        url=str(top["url"]),
        origins=tuple(str(origin) for origin in top["origins"]) if type(top["origins"]) is list else (),
        status=str(top["status"]),
        keys=tuple(key for key, _ in rows),
        invoices=invoices,
    )
    _check_organisation(organisation)
    return organisation, vrf_proofs | {key.id: proof for key, proof in rows if proof is not None}


def proof_message(ledger: bytes, key: Key) -> bytes:
    """Build what a proof of possession signs.

    Args:
        ledger: ledger id, 32 bytes.
        key: the key; an encryption key cannot sign, so the ledger key signs over its public bytes.

    Returns:
        32 bytes.
    """
    parts = (ledger, key.org_id.encode("ascii"), key.use.encode("ascii"))
    if key.use == ENCRYPTION_KEY:
        return digest("medchain/genesis-proof/v1", *parts, key.public)
    return digest("medchain/genesis-proof/v1", *parts)


def check_proof(ledger: bytes, organisation: Organisation, key: Key, proof: bytes) -> None:
    """Check that who names a key also holds it: another's key must not be claimed as one's own.

    Args:
        ledger: ledger id, 32 bytes.
        organisation: whose key it is; its ledger keys may vouch for an encryption key.
        key: the new key.
        proof: signature over `proof_message`.

    Raises:
        VerificationError: ``organisation.proof``.
    """
    message = proof_message(ledger, key)
    verify = {ED25519: ed25519_verify, MLDSA44: mldsa44_verify, ES384: es384_verify}.get(ALGORITHMS[key.use])
    if verify is not None:
        holds = verify(key.public, message, proof)
    else:
        holds = any(ed25519_verify(k.public, message, proof) for k in organisation.keys if k.use == LEDGER_KEY)
    if not holds:
        raise VerificationError("organisation.proof", use=key.use, org_id=key.org_id)


def check_new_keys(
    ledger: bytes, before: Organisation | None, after: Organisation, proofs: Mapping[str, bytes]
) -> None:
    """Check the proofs of all keys that the version before did not list, generations for invoices included.

    Args:
        ledger: ledger id, 32 bytes.
        before: the organisation's head, None when it joins.
        after: the organisation as it will be.
        proofs: key id → signature, or proof of a verifiable random function.

    Raises:
        VerificationError: ``organisation.proof``.
    """
    known = key_ids(before) if before else frozenset()
    for key in after.keys:
        if key.id not in known:
            check_proof(ledger, after, key, proofs.get(key.id, b""))
    for generation in after.invoices.generations if after.invoices else ():
        if generation.id not in known:
            check_vrf_proof(ledger, after.org_id, generation, proofs.get(generation.id, b""))


def key_ids(organisation: Organisation) -> frozenset[str]:
    """Return the ids of all keys that an organisation lists, generations for invoices included."""
    generations = organisation.invoices.generations if organisation.invoices else ()
    return frozenset([key.id for key in organisation.keys] + [generation.id for generation in generations])


def is_own_update(before: Organisation | None, after: Organisation) -> bool:
    """Tell whether a version changes no more than an organisation may change alone.

    That is keys, url, origins, and the generations of keys for the invoices that it issues already.
    """
    if before is None:
        return False
    own = replace(before, keys=after.keys, url=after.url, origins=after.origins)
    if before.invoices and after.invoices:
        own = replace(own, invoices=replace(before.invoices, generations=after.invoices.generations))
    return own == after


def parse_protocol(content: Json) -> ProtocolRules:
    """Read the protocol object's content; raises `InputError` ``encoding.members``, ``protocol.malformed``."""
    top = members(content, {"orderer": str, "protocol": int, "quorum": int})
    quorum, protocol = top["quorum"], top["protocol"]
    if type(quorum) is not int or type(protocol) is not int or quorum < 1 or protocol < 1:
        raise InputError("protocol.malformed")
    return ProtocolRules(str(top["orderer"]), quorum, protocol)


def protocol_content(protocol: ProtocolRules) -> dict[str, Json]:
    """Write the protocol object's content."""
    return {"orderer": protocol.orderer, "protocol": protocol.protocol, "quorum": protocol.quorum}


def check_org_id(org_id: str) -> None:
    """Refuse an org_id that is no slug, or that would be another name in policy.txt or in a map key.

    Raises:
        InputError: ``organisation.org_id``.
    """
    reserved = org_id in {LEDGER, "consortium", "none"} or org_id.endswith(("-ed", "-pq"))
    if not _ORG_ID.match(org_id) or reserved:
        raise InputError("organisation.org_id", org_id=org_id[:40])


def is_origin(text: str) -> bool:
    """Tell whether a text is a web origin: scheme, host and perhaps port, nothing else (RFC 6454 §6.2)."""
    return _ORIGIN.match(text) is not None


def is_url(text: str) -> bool:
    """Tell whether a text is the address of a daemon: ``http`` or ``https``, host, and a port where one is named."""
    match = _URL.match(text)
    return match is not None and int(match["port"] or 1) <= _MAX_PORT


def _key_row(org_id: str, row: Json) -> tuple[Key, bytes | None]:
    """Read a key row; the proof of a key that is not new is null."""
    if type(row) is not dict or row.keys() != {"id", "proof", "public", "use"}:
        raise InputError("encoding.members", member="keys")
    key = make_key(org_id, str(row["use"]), row["public"])
    if row["id"] != key.id:
        raise InputError("organisation.key", use=key.use)
    return key, None if row["proof"] is None else unbase64(row["proof"])


def _check_organisation(organisation: Organisation) -> None:
    """Check ranges and keys."""
    check_org_id(organisation.org_id)
    texts = (organisation.control, *organisation.name, *organisation.name.values())
    origins = organisation.origins
    valid = (
        organisation.role in ROLES
        and organisation.status in {ACTIVE, SUSPENDED, REMOVED}
        and is_url(organisation.url)
        and len(organisation.name) > 0
        and all(type(text) is str and 0 < len(text) <= _MAX_TEXT for text in texts)
        and len(origins) <= _MAX_ORIGINS
        and all(is_origin(origin) for origin in origins)
        and list(origins) == sorted(set(origins))
    )
    if not valid:
        raise InputError("organisation.malformed", org_id=organisation.org_id)
    _check_keys(organisation.keys)


def _check_keys(keys: tuple[Key, ...]) -> None:
    """Refuse keys out of order, twice, or another number of a use than rotation needs."""
    ids = [key.id for key in keys]
    counts = {use: sum(key.use == use for key in keys) for use in ALGORITHMS}
    for use, count in counts.items():
        if not 1 <= count <= (1 if use in _SINGLE else MAX_KEYS_PER_USE):
            raise InputError("organisation.keys", use=use, count=count)
    if _unsorted(ids):
        raise InputError("organisation.keys", use="", count=len(ids))


def _unsorted(ids: Iterable[str]) -> bool:
    """Tell whether ids are out of order or occur twice."""
    listed = list(ids)
    return listed != sorted(set(listed))
