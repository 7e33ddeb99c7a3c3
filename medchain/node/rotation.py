"""Exchanging an organisation's keys: the ledger first, then the node.

The way: keys are drawn and kept beside the keystore (`medchain.node.keystore.draw_candidates`) → the organisation's
next version lists them in the place of the old ones, with proofs of possession → once this node has applied it, they
are the keystore's newest, and the processes start anew. Keeps true: a crash at any step leaves a node whose keys are
those that the ledger lists, since the daemon takes over at its start what the ledger lists already; asking again goes
on where it stopped. Encryption keys go into the keystore before the ledger lists them, so that nothing is sealed to a
key that the node cannot open; an authentication key is listed beside the old one first, since a node whose calls are
refused could not even fetch the block that says so, and the old one goes in a second version. A key that makes ids of
invoices takes nobody's place: it begins some days later, and those before it stay for the days before. It takes the
administrator's proof (`medchain.node.administrator`): whoever put a ledger key of his own there would be the
organisation. Trusts the ledger's rule ``organisation/update``: an organisation changes its own keys.
Source: `docs/spec/genesis.md`, `docs/operations.md`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from medchain.crypto.es384 import ES384
from medchain.crypto.signing import key_id
from medchain.encoding import Json, as_list, base64_text, members, unbase64
from medchain.errors import ConflictError, InputError, UnavailableError, VerificationError
from medchain.ledger.issuers import GENERATION_LEAD_DAYS, MAX_GENERATIONS, VRF_KEY, VrfGeneration
from medchain.ledger.machine import DAY_S
from medchain.ledger.members import (
    AUTHENTICATION_KEY,
    LOG_KEY,
    Key,
    Organisation,
    key_ids,
    make_key,
    organisation_content,
)
from medchain.ledger.object import ACTIVE, map_key, organisation_id, public_body_hash
from medchain.ledger.transaction import (
    CREATOR,
    ID_BYTES,
    Change,
    ObjectRow,
    Signer,
    Transaction,
    pae,
    payload_bytes,
    seal,
)
from medchain.node.administrator import AdministratorDoor
from medchain.node.clock import Clock
from medchain.node.endorse import Identity
from medchain.node.keystore import KeyUse
from medchain.node.replica import Replica
from medchain.ordering.outbox import Outbox
from medchain.ordering.receipt import Refused

ROTATE: Final = "organisation.keys"
"""Local operation, the administrator's: exchanges keys on the ledger."""

ADMINISTRATOR: Final = "rotation.administrator"
"""Refusal: without the administrator's proof."""

ORDERS: Final = "rotation.orderer"
"""Refusal: of the log key of who orders."""

NO_INVOICES: Final = "rotation.no_invoices"
"""Refusal: of a key that makes ids of invoices, where the ledger lists no invoices of this organisation."""

FULL: Final = "rotation.full"
"""Refusal: of a further key that makes ids of invoices, where the ledger lists as many as it ever will."""

USES: Final[Mapping[str, tuple[KeyUse, ...]]] = {
    "authentication": (KeyUse.AUTHENTICATION,),
    "cosign": (KeyUse.COSIGN_ED25519, KeyUse.COSIGN_MLDSA44),
    "encryption": (KeyUse.ENCRYPTION,),
    "ledger": (KeyUse.LEDGER,),
    "log": (KeyUse.LOG,),
    "vrf": (KeyUse.VRF,),
}
"""What can be exchanged at a time, by the name that a person gives it."""

ORDERED_TIMEOUT_S: Final = 60.0
"""How long to wait until this node has applied the organisation's new version."""

_KIND: Final = "organisation"
_MAX_PROOF_BYTES: Final = 4096


class KeyRotation:
    """Exchanges keys of the own organisation on the ledger. Threads may share it."""

    __slots__ = ("_administrator", "_authentication", "_clock", "_identity", "_outbox", "_replica")

    def __init__(
        self,
        identity: Identity,
        authentication: bytes,
        replica: Replica,
        outbox: Outbox,
        administrator: AdministratorDoor,
        clock: Clock,
    ) -> None:
        """Prepare.

        Args:
            identity: the node's.
            authentication: the public key with which it calls now.
            replica: its ledger.
            outbox: submits.
            administrator: lets his wishes through.
            clock: gives Unix seconds.
        """
        self._administrator = administrator
        self._identity = identity
        self._authentication = key_id(ES384, authentication)
        self._clock = clock
        self._replica = replica
        self._outbox = outbox

    def operations(self) -> dict[str, Callable[[Json], Json]]:
        """Return the local operation."""
        return {ROTATE: lambda document: self.exchange(self._administrator.checked(ROTATE, document))}

    def exchange(self, document: Json) -> Json:
        """Put new keys in the place of all others of their uses; done when this node has applied it.

        Args:
            document: ``{"keys":[{"proof":B64,"public":B64|JWK,"use"},…]}``, the administrator's proof checked. The
                authentication key with which the node calls now stays beside a new one; it goes when the same is asked
                after the node has taken the new one. A key that makes ids of invoices is appended.

        Returns:
            ``{"version":N}``, the organisation's version that lists them, and of a key that makes ids of invoices its
            first day, ``{"from":DAY,"version":N}``; the same again changes nothing.

        Raises:
            InputError: for malformed keys.
            ConflictError: `ORDERS`, `NO_INVOICES`, `FULL`, ``transaction.version``.
            VerificationError: what the rules of the ledger refuse.
            UnavailableError: ``rotation.not_ordered``: it may be ordered later; ask again.
        """
        rows = as_list(members(document, {"keys": list})["keys"])
        snapshot = self._replica.members
        before = snapshot.organisations[self._identity.org_id]
        read = [self._read(row, before) for row in rows]
        if not read:
            raise InputError("rotation.keys")
        new = [item for item, _ in read if isinstance(item, Key)]
        begun = [item for item, _ in read if isinstance(item, VrfGeneration)]
        if any(key.use == LOG_KEY for key in new) and snapshot.protocol.orderer == before.org_id:
            # Its checkpoints are signed with that key from one block to the next: hand over first.
            raise ConflictError(ORDERS, org_id=before.org_id)
        after = _begun(_exchanged(before, new, self._authentication), begun)
        if after != before:
            known = key_ids(before)
            self._submit(after, {item.id: proof for item, proof in read if item.id not in known})
        head = self._replica.store.record(map_key(_KIND, before.org_id, organisation_id(before.org_id)))
        answer: dict[str, Json] = {"version": 1 if head is None else head.version}
        return answer | ({"from": begun[-1].from_day} if begun else {})

    def _read(self, row: Json, before: Organisation) -> tuple[Key | VrfGeneration, str]:
        """Read a key and its proof."""
        is_jwk = isinstance(row, dict) and row.get("use") == AUTHENTICATION_KEY
        top = members(row, {"proof": str, "public": dict if is_jwk else str, "use": str})
        proof = base64_text(unbase64(top["proof"], max_bytes=_MAX_PROOF_BYTES))
        if top["use"] == VRF_KEY:
            return self._generation(unbase64(top["public"], max_bytes=_MAX_PROOF_BYTES), before), proof
        return make_key(self._identity.org_id, str(top["use"]), top["public"]), proof

    def _generation(self, public: bytes, before: Organisation) -> VrfGeneration:
        """Find the generation of a key, or let one begin, a day later than it must: midnight may come before it."""
        if before.invoices is None:
            raise ConflictError(NO_INVOICES, org_id=before.org_id)
        generations = before.invoices.generations
        listed = next((one for one in generations if one.public == public), None)
        if listed is not None:
            return listed
        if len(generations) == MAX_GENERATIONS:
            raise ConflictError(FULL, most=MAX_GENERATIONS)
        first = max(self._clock() // DAY_S + GENERATION_LEAD_DAYS + 1, generations[-1].from_day + 1)
        return VrfGeneration(first, public)

    def _submit(self, after: Organisation, proofs: Mapping[str, str]) -> None:
        """Have the organisation's next version ordered, and wait until it is applied here."""
        content = organisation_content(after, proofs)
        head = self._replica.store.record(map_key(_KIND, after.org_id, organisation_id(after.org_id)))
        version = 1 if head is None else head.version + 1
        row = ObjectRow(organisation_id(after.org_id), version, public_body_hash(_KIND, content))
        payload = payload_bytes(
            Transaction(
                creator=after.org_id,
                changes=(Change(_KIND, ACTIVE, (row,)),),
                bodies=(content,),
                signers=(Signer(self._identity.key_id, CREATOR),),
                draw=None,
                ledger=self._replica.ledger,
                nonce=secrets.token_bytes(ID_BYTES),
                until=None,
                protocol=self._replica.members.protocol.protocol,
            )
        )
        leaf = seal(payload, [(self._identity.key_id, self._identity.signer.sign(pae(payload)))]).leaf
        fate = self._outbox.wait(self._outbox.add(leaf), ORDERED_TIMEOUT_S)
        if fate is None:
            raise UnavailableError("rotation.not_ordered", retry_after_s=5)
        if isinstance(fate, Refused):
            raise (ConflictError if fate.code == "transaction.version" else VerificationError)(fate.code)


def _exchanged(before: Organisation, new: list[Key], authentication: str) -> Organisation:
    """Put keys in the place of all others of their uses but the one with which the node calls."""
    uses = {key.use for key in new}
    kept = [key for key in before.keys if key.use not in uses or key.id == authentication]
    keys = {key.id: key for key in [*new, *kept]}
    return replace(before, keys=tuple(keys[name] for name in sorted(keys)))


def _begun(before: Organisation, new: list[VrfGeneration]) -> Organisation:
    """Append generations of keys that make ids of invoices, those that are not listed yet."""
    if before.invoices is None:
        return before
    listed = before.invoices.generations
    added = tuple(one for one in new if one not in listed)
    return replace(before, invoices=replace(before.invoices, generations=(*listed, *added)))
