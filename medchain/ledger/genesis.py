"""Genesis: the first leaf, which names the ledger, its first members and what a passkey may sign for.

Keeps true: the ledger id is the hash of the whole document, so no part of it can be changed or shown differently; a
node starts only when each member has proved possession of each key over that id. Trusts whoever compares the ledger id
over another channel.
Source: `docs/spec/genesis.md`, C2SP tlog-policy, C2SP signed-note.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final

from medchain.encoding import Json, base64_text, canonical, members, parse_canonical, unbase64, unhex
from medchain.errors import InputError, VerificationError
from medchain.ledger.issuers import VRF_KEY, check_vrf_proof
from medchain.ledger.lineage import GROUP, group_name, lineage_after
from medchain.ledger.members import (
    ACTIVE,
    ALGORITHMS,
    COSIGN_ED25519_KEY,
    COSIGN_MLDSA44_KEY,
    COSIGN_USES,
    LINE_USES,
    LOG_KEY,
    Members,
    Organisation,
    ProtocolRules,
    check_proof,
    is_origin,
    make_key,
    organisation_content,
    parse_organisation,
)
from medchain.ledger.policy import Policy, parse_policy
from medchain.ledger.transaction import HASH_BYTES, MAX_LEAF_BYTES
from medchain.tlog.note import KeyType, VerifierKey

GENESIS_TYPE: Final = "medchain/genesis/v1"
"""Type member of the document."""

SIGNATURES_TYPE: Final = "medchain/genesis-signatures/v1"
"""Type member of the file of proofs beside it."""

SUITE: Final = 1
"""The only algorithm suite so far."""

_MAX_ORIGIN: Final = 200
_MEMBER: Final = ("control", "invoices", "name", "org_id", "origins", "role", "url")
_MAX_SIGN_ORIGINS: Final = 64
_GENESIS: Final = {
    "demo": bool,
    "members": list,
    "orderer": str,
    "origin": str,
    "policy": dict,
    "protocol": int,
    "quorum": int,
    "rp_id": str,
    "sign_origins": list,
    "suite": int,
    "time": int,
    "type": str,
}


@dataclass(frozen=True, slots=True)
class Genesis:
    """A genesis document, decoded.

    Attributes:
        encoded: its canonical bytes, leaf 0.
        ledger: ledger id, SHA-256 of those.
        members: the first members, policy and protocol.
        origin: origin line of checkpoints, ``HOST/NAME``.
        demo: whether ``localhost`` may be the relying party.
        previous: digest of the last final checkpoint of an abandoned ledger, 32 bytes, or None.
        rp_id: WebAuthn relying-party id of every passkey.
        sign_origins: the only web origins at which a passkey's signature counts.
        suite: algorithm suite.
        time: Unix seconds, time of height 0.
    """

    encoded: bytes
    ledger: bytes
    members: Members
    origin: str
    demo: bool
    previous: bytes | None
    rp_id: str
    sign_origins: frozenset[str]
    suite: int
    time: int


def genesis_member(organisation: Organisation) -> dict[str, Json]:
    """Write an organisation as a genesis lists it: one key for each use, without status and proofs."""
    content = organisation_content(organisation)
    return {
        **{name: content[name] for name in _MEMBER if name in content},
        "keys": {key.use: key.text if isinstance(key.text, str) else dict(key.text) for key in organisation.keys},
    }


def build_genesis(  # noqa: PLR0913  # the document has that many members that the caller chooses
    organisations: Sequence[Organisation],
    *,
    origin: str,
    policy: Json,
    protocol: ProtocolRules,
    rp_id: str,
    sign_origins: Sequence[str],
    time: int,
    demo: bool = False,
    previous: bytes | None = None,
) -> Genesis:
    """Write a genesis.

    Args:
        organisations: the first members, all active, one key for each use.
        origin: origin line of checkpoints, ``HOST/NAME``.
        policy: content of the first policy.
        protocol: orderer, quorum k and protocol version.
        rp_id: WebAuthn relying-party id.
        sign_origins: web origins at which a passkey's signature counts.
        time: Unix seconds.
        demo: whether ``localhost`` may be the relying party.
        previous: digest of the last final checkpoint of an abandoned ledger, or None.

    Returns:
        The genesis.

    Raises:
        InputError: as `parse_genesis`.
        VerificationError: as `parse_genesis`.
    """
    ordered = sorted(organisations, key=lambda organisation: organisation.org_id)
    document: Json = {
        "demo": demo,
        "members": [genesis_member(organisation) for organisation in ordered],
        "orderer": protocol.orderer,
        "origin": origin,
        "policy": policy,
        "previous": None if previous is None else previous.hex(),
        "protocol": protocol.protocol,
        "quorum": protocol.quorum,
        "rp_id": rp_id,
        "sign_origins": [*sorted(sign_origins)],
        "suite": SUITE,
        "time": time,
        "type": GENESIS_TYPE,
    }
    return parse_genesis(canonical(document))


def parse_genesis(data: bytes) -> Genesis:
    """Decode a genesis strictly.

    Args:
        data: canonical bytes, as leaf 0 has them.

    Returns:
        The genesis.

    Raises:
        InputError: ``encoding.*``, ``genesis.malformed``, ``organisation.*``, ``policy.*``.
        VerificationError: ``members.*`` when quorum, orderer or keys do not fit together.
    """
    top = parse_canonical(data, max_bytes=MAX_LEAF_BYTES)
    if type(top) is not dict or "previous" not in top:
        raise InputError("encoding.members", member="previous")
    previous = top["previous"]
    top = members({name: item for name, item in top.items() if name != "previous"}, _GENESIS)
    genesis = Genesis(
        encoded=data,
        ledger=sha256(data).digest(),
        members=_members(top),
        origin=str(top["origin"]),
        demo=top["demo"] is True,
        previous=None if previous is None else unhex(previous, HASH_BYTES),
        rp_id=str(top["rp_id"]),
        sign_origins=_sign_origins(top["sign_origins"]),
        suite=_number(top["suite"]),
        time=_number(top["time"]),
    )
    _check(genesis, str(top["type"]))
    listed = with_line_ids(genesis.members, {}, genesis.origin)
    lineage = lineage_after(listed.lineage, set_digest(listed, genesis.origin))
    return replace(genesis, members=replace(listed, lineage=lineage))


def genesis_signatures(proofs: Mapping[str, Mapping[str, bytes]]) -> Json:
    """Write the file of proofs.

    Args:
        proofs: org_id → key use → signature over `medchain.ledger.members.proof_message`; for the key of its invoices,
            of who issues some, the proof over `medchain.ledger.issuers.vrf_proof_input`.

    Returns:
        Content of ``genesis.signatures.json``.
    """
    return {
        "proofs": {
            org_id: {use: base64_text(proof) for use, proof in signed.items()} for org_id, signed in proofs.items()
        },
        "type": SIGNATURES_TYPE,
    }


def verify_genesis(genesis: Genesis, signatures: Json) -> None:
    """Check that each member has proved possession of each of its keys.

    Args:
        genesis: the genesis, whose ledger id the caller knows from elsewhere.
        signatures: from `genesis_signatures`.

    Raises:
        InputError: ``encoding.*``.
        VerificationError: ``organisation.proof`` for a proof that is absent, superfluous or wrong.
    """
    top = members(signatures, {"proofs": dict, "type": str})
    proofs = top["proofs"]
    organisations = genesis.members.organisations
    if top["type"] != SIGNATURES_TYPE or type(proofs) is not dict or proofs.keys() != organisations.keys():
        raise VerificationError("organisation.proof", use="", org_id="")
    for organisation in organisations.values():
        generations = organisation.invoices.generations if organisation.invoices else ()
        uses = (*ALGORITHMS, *(VRF_KEY for _ in generations))
        signed = members(proofs[organisation.org_id], dict.fromkeys(uses, str))
        for key in organisation.keys:
            check_proof(genesis.ledger, organisation, key, unbase64(signed[key.use]))
        for generation in generations:
            check_vrf_proof(genesis.ledger, organisation.org_id, generation, unbase64(signed[VRF_KEY]))


def cosigner_name(org_id: str, origin: str, use: str) -> str:
    """Name a cosigner: ``ORG_ID.HOST/cosigner/ed25519`` or ``…/mldsa44``.

    Args:
        org_id: the organisation.
        origin: origin line of the ledger, whose part before the first slash is the host.
        use: `COSIGN_ED25519_KEY` or `COSIGN_MLDSA44_KEY`.

    Returns:
        The key name of its signature lines.
    """
    return f"{org_id}.{origin.partition('/')[0]}/cosigner/{use.removeprefix('cosign-')}"


def line_key(organisation: Organisation, origin: str, use: str) -> VerifierKey:
    """Return the key under which an organisation's lines on checkpoints verify.

    Args:
        organisation: the member.
        origin: origin line of the ledger, which names log keys.
        use: one of `LINE_USES`.
    """
    name = origin if use == LOG_KEY else cosigner_name(organisation.org_id, origin, use)
    return VerifierKey(name, _LINE_TYPES[use], organisation.key(use).public)


def with_line_ids(snapshot: Members, before: Mapping[str, Organisation], origin: str) -> Members:
    """Note the key ids, on checkpoints, of the log and cosigning keys that organisations list anew.

    An id has 4 bytes: some 90,000 trials find two keys that have one, and 2^32 a key that has another's. No policy can
    tell the lines of such keys apart, and what a former log key signed would be its holder's word again.

    Args:
        snapshot: members as they will be, with the ids of before.
        before: org_id → organisation as it was.
        origin: origin line of the ledger.

    Returns:
        The members with all ids that there have been.

    Raises:
        VerificationError: ``members.key_id`` for one that is, or was, another such key's, or a former key's own.
    """
    known = set(snapshot.line_ids)
    for org_id, organisation in snapshot.organisations.items():
        listed = before.get(org_id)
        for use in LINE_USES:
            if listed is not None and listed.key(use) == organisation.key(use):
                continue
            line_id = line_key(organisation, origin, use).key_id.hex()
            if line_id in known:
                raise VerificationError("members.key_id", org_id=org_id, use=use)
            known.add(line_id)
    return snapshot if len(known) == len(snapshot.line_ids) else replace(snapshot, line_ids=frozenset(known))


def trusted_policy_text(snapshot: Members, origin: str) -> str:
    """Write the policy.txt that checkpoints under these members must satisfy.

    Args:
        snapshot: the members.
        origin: origin line of the ledger.

    Returns:
        C2SP tlog-policy text: the orderer's log key, two witnesses and a group for each active organisation, and the
        group ``consortium@LINEAGE`` of k of them as quorum.
    """
    return _snapshot_text(snapshot, origin, group_name(snapshot.lineage))


def set_digest(snapshot: Members, origin: str) -> bytes:
    """Name a set of members, whatever came before it: what a lineage hashes; arguments as `trusted_policy_text`."""
    return sha256(_snapshot_text(snapshot, origin, GROUP).encode()).digest()


def succeeded(before: Members, after: Members, origin: str) -> Members:
    """Continue the lineage of members over a block.

    Args:
        before: the members before the block.
        after: those after it, as the machine leaves them.
        origin: origin line of the ledger.

    Returns:
        The members after it; their lineage is another one where their policy is.
    """
    if after is before:
        return after
    digest = set_digest(after, origin)
    if digest == set_digest(before, origin):
        return after
    return replace(after, lineage=lineage_after(before.lineage, digest))


def policy_text(origin: str, log: bytes, cosigners: Iterable[tuple[str, bytes, bytes]], quorum: int, group: str) -> str:
    """Write the policy.txt of a set of members.

    Args:
        origin: origin line of the ledger.
        log: the orderer's log key.
        cosigners: org_id and both cosigning keys of each active organisation, sorted.
        quorum: k.
        group: name of the group of k of them.
    """
    lines = [f"log {VerifierKey(origin, _LINE_TYPES[LOG_KEY], log)}"]
    names = []
    for org_id, *publics in cosigners:
        names.append(org_id)
        for use, suffix, public in zip(COSIGN_USES, ("ed", "pq"), publics, strict=True):
            key = VerifierKey(cosigner_name(org_id, origin, use), _LINE_TYPES[use], public)
            lines.append(f"witness {org_id}-{suffix} {key}")
        lines.append(f"group {org_id} all {org_id}-ed {org_id}-pq")
    lines += [f"group {group} {quorum} {' '.join(names)}", f"quorum {group}", ""]
    return "\n".join(lines)


def _snapshot_text(snapshot: Members, origin: str, group: str) -> str:
    """Write the policy.txt of members; the group of k of them has a name of the caller's."""
    log = snapshot.organisations[snapshot.protocol.orderer].key(LOG_KEY).public
    cosigners = [
        (one.org_id, one.key(COSIGN_ED25519_KEY).public, one.key(COSIGN_MLDSA44_KEY).public) for one in snapshot.active
    ]
    return policy_text(origin, log, cosigners, snapshot.protocol.quorum, group)


def policy_digest(snapshot: Members, origin: str) -> bytes:
    """Name the policy of a set of members, as state leaves do: SHA-256 of `trusted_policy_text`; arguments as there."""
    return sha256(trusted_policy_text(snapshot, origin).encode()).digest()


_LINE_TYPES: Final = {
    COSIGN_ED25519_KEY: KeyType.COSIGNATURE_ED25519,
    COSIGN_MLDSA44_KEY: KeyType.COSIGNATURE_MLDSA44,
    LOG_KEY: KeyType.ED25519,
}


def _members(top: Mapping[str, Json]) -> Members:
    """Read the first members, policy and protocol."""
    rows = top["members"]
    found = [_member(row) for row in rows] if type(rows) is list else []
    ids = [organisation.org_id for organisation in found]
    if not ids or ids != sorted(set(ids)):
        raise InputError("genesis.malformed", member="members")
    rules = ProtocolRules(str(top["orderer"]), _number(top["quorum"]), _number(top["protocol"]))
    policy: Policy = parse_policy(top["policy"])
    snapshot = Members({organisation.org_id: organisation for organisation in found}, policy, rules)
    snapshot.check()
    return snapshot


def _member(row: Json) -> Organisation:
    """Read one member; what it has in common with an organisation's content is judged there."""
    if type(row) is not dict or type(row.get("keys")) is not dict or "status" in row:
        raise InputError("encoding.members", member="members")
    keys = members(row["keys"], {use: str for use in ALGORITHMS if use != "authentication"} | {"authentication": dict})
    made = [make_key(str(row.get("org_id")), use, text) for use, text in keys.items()]
    rows: list[Json] = [
        {"id": key.id, "proof": None, "public": keys[key.use], "use": key.use}
        for key in sorted(made, key=lambda key: key.id)
    ]
    organisation, proofs = parse_organisation({**row, "keys": rows, "status": ACTIVE})
    if proofs or (organisation.invoices and len(organisation.invoices.generations) != 1):
        raise InputError("genesis.malformed", member="invoices")
    return organisation


def _check(genesis: Genesis, type_name: str) -> None:
    """Check ranges, and that only a demo signs at ``localhost`` and has daemons without TLS."""
    host, slash, name = genesis.origin.partition("/")
    printable = all("!" <= char <= "~" and char != "+" for char in genesis.origin)
    checks = {
        "type": type_name == GENESIS_TYPE,
        "suite": genesis.suite == SUITE,
        "origin": bool(host and slash and name) and printable and len(genesis.origin) <= _MAX_ORIGIN,
        "protocol": genesis.members.protocol.protocol >= 1,
        "rp_id": genesis.demo if genesis.rp_id == "localhost" else is_origin("https://" + genesis.rp_id),
        "url": genesis.demo or all(item.url.startswith("https:") for item in genesis.members.organisations.values()),
        "sign_origins": 0 < len(genesis.sign_origins) <= _MAX_SIGN_ORIGINS
        and all(_signs_for(genesis, origin) for origin in genesis.sign_origins),
    }
    for member, holds in checks.items():
        if not holds:
            raise InputError("genesis.malformed", member=member)


def is_host_of(rp_id: str, host: str) -> bool:
    """Tell whether a host is a relying party's, at or under its id (W3C WebAuthn Level 3 §5.1.3, step 8)."""
    return host == rp_id or host.endswith("." + rp_id)


def _signs_for(genesis: Genesis, origin: str) -> bool:
    """Tell whether a web origin lies at or under the relying-party id, as WebAuthn demands, and is encrypted."""
    scheme, _, rest = origin.partition("://")
    host = rest.partition(":")[0]
    return is_origin(origin) and is_host_of(genesis.rp_id, host) and (scheme == "https" or genesis.demo)


def _sign_origins(value: Json) -> frozenset[str]:
    """Read the signing origins, sorted and unique."""
    listed = [str(item) for item in value] if type(value) is list else []
    if listed != sorted(set(listed)):
        raise InputError("genesis.malformed", member="sign_origins")
    return frozenset(listed)


def _number(value: Json) -> int:
    """Return a number whose type `members` has checked; none is negative."""
    if type(value) is not int or value < 0:
        raise InputError("genesis.malformed", member="number")
    return value
