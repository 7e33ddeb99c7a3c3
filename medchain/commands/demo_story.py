"""The demo's main path: a patient enrols, consents and withdraws; one insurer reads, another is refused.

Every step is a call of a running node: nothing is simulated but the patient's phone, which is a software authenticator.
Keeps true: a refusal that the story expects is only taken for one when it has the code of a refusal; what an insurer
received is looked at on the insurer's own node. Trusts the nodes' local interfaces.
Source: `docs/architecture.md`, `docs/spec/consent.md`, `docs/spec/release.md`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from medchain.commands.demo_consortium import HOSPITALS, Consortium, Node
from medchain.crypto.assertion import encode_credential_key
from medchain.crypto.authenticator import SoftwareAuthenticator
from medchain.encoding import Json, as_list, as_object, base64_text, canonical, unhex
from medchain.errors import NotFoundError, VerificationError
from medchain.ledger.kinds.content import DAY_S
from medchain.ledger.object import ACTIVE, Body, StateRecord
from medchain.ledger.request import access_key
from medchain.ledger.transaction import HASH_BYTES
from medchain.node.clock import Clock
from medchain.node.keystore import write_private_file
from medchain.node.peers import Limits

CUSTODIAN: Final = HOSPITALS[0]
"""Whose records are read."""

RECIPIENT: Final = "anxin-insurance"
"""Who may read them."""

STRANGER: Final = "taihe-insurance"
"""Who may not."""

PURPOSE: Final = "HPAYMT"
"""Purpose of use of the consent (HL7 v3 PurposeOfUse: health insurance payment)."""

RESOURCE_TYPES: Final = ("Condition", "Observation")
"""What the consent names."""

PHONE: Final = "phone"
"""Name of the folder of the patient's phone."""

PASSKEY_NAME: Final = "passkey.key"
"""Name of the file, in the folder ``phone``, with the seed of the patient's passkey."""

NOTHING: Final = "release.nothing"
"""Code of a refusal: not permitted, or not there."""

_CONSENT_DAYS: Final = 90
_SEED_BYTES: Final = 32
_SLOW: Final = Limits(timeout_s=60.0, max_bytes=64 << 20)


@dataclass(frozen=True, slots=True)
class Placed:
    """A sealed object that is final.

    Attributes:
        key: its map key, 32 bytes.
        position: leaf index of its transaction.
        endorser: org_id of the drawn endorser, or empty.
        rank: its place in the draw.
        seconds: from the call to the answer.
    """

    key: bytes
    position: int
    endorser: str
    rank: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Read:
    """What a recipient received, opened and compared on its own node.

    Attributes:
        count: records.
        types: resource types, sorted.
        seconds: from the call to the answer.
    """

    count: int
    types: tuple[str, ...]
    seconds: float


class Phone:
    """The patient's phone: a passkey, and what it signs."""

    __slots__ = ("_authenticator", "_origin")

    def __init__(self, folder: Path, origin: str, rp_id: str) -> None:
        """Make the passkey, or find the one of an earlier run.

        Args:
            folder: of the phone.
            origin: of the page at which the patient signs.
            rp_id: relying party of the ledger.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / PASSKEY_NAME
        if not path.exists():
            write_private_file(path, secrets.token_bytes(_SEED_BYTES))
        self._authenticator = SoftwareAuthenticator(path.read_bytes(), rp_id)
        self._origin = origin

    def credential(self) -> Json:
        """Show the public half, as a browser registers it."""
        return {
            "credential_id": base64_text(self._authenticator.credential_id),
            "public_key": base64_text(encode_credential_key(self._authenticator.credential)),
        }

    def sign(self, draft: Json) -> Json:
        """Answer the challenge of a draft; returns what goes back to the node."""
        if not isinstance(draft, dict):
            raise VerificationError("demo.answer", step="draft")
        answer = self._authenticator.sign(unhex(draft["challenge"], HASH_BYTES), self._origin)
        assertion: Json = {
            "authenticator_data": base64_text(answer.authenticator_data),
            "client_data_json": base64_text(answer.client_data_json),
            "credential_id": base64_text(answer.credential_id),
            "signature": base64_text(answer.signature),
        }
        return {"assertion": assertion, "draft": draft["draft"]}


class Story:
    """The steps, in the order in which they are told."""

    def __init__(self, consortium: Consortium, clock: Clock) -> None:
        """Prepare.

        Args:
            consortium: its nodes run, and the custodian holds records.
            clock: gives Unix seconds.
        """
        self._consortium = consortium
        self._clock = clock
        self.home: Node = consortium.nodes[CUSTODIAN]
        genesis = consortium.genesis
        self._phone = Phone(consortium.folder / PHONE, self.home.sign_url, genesis.rp_id)

    def enrol(self, patient: str) -> Placed:
        """Enrol a patient: the hospital has seen the identity card, a drawn organisation endorses.

        Args:
            patient: id of the Patient at the hospital.

        Returns:
            The subject object.
        """
        asked: Json = {
            "credentials": [self._phone.credential()],
            "custodians": [CUSTODIAN],
            "method": "identity-card",
            "patient": patient,
        }
        return self._placed("subject.enrol", asked)

    def consent(self, subject: bytes) -> Placed:
        """Have the patient sign a consent for the recipient."""
        now = self._clock()
        terms: Json = {
            "custodians": [CUSTODIAN],
            "fhir": {"resourceType": "Consent", "status": "active"},
            "period": {"end": now + _CONSENT_DAYS * DAY_S, "start": now},
            "purpose": PURPOSE,
            "recipient": RECIPIENT,
            "resource_types": list(RESOURCE_TYPES),
            "subject": subject.hex(),
        }
        draft = self.home.local.call("consent.draft", terms, _SLOW)
        return self._placed("consent.give", self._phone.sign(draft))

    def grant(self, consent: bytes) -> Placed:
        """Let the recipient read, within the consent."""
        return self._placed("grant.give", {"consent": consent.hex()})

    def read(self, org_id: str, grant: bytes) -> Read:
        """Have an organisation's node ask the custodian, open what comes and compare it with its own ledger.

        Args:
            org_id: who asks.
            grant: map key of the grant.

        Returns:
            What it received.

        Raises:
            NotFoundError: ``release.nothing`` for a refusal.
        """
        began = time.monotonic()
        asked: Json = {
            "custodian": CUSTODIAN,
            "grant": grant.hex(),
            "purpose": PURPOSE,
            "resource_types": list(RESOURCE_TYPES),
        }
        answer = self._consortium.nodes[org_id].local.call("request", asked, _SLOW)
        seconds = time.monotonic() - began
        rows = as_object(answer).get("records")
        if not isinstance(rows, list):
            raise VerificationError("demo.answer", step="read")
        types = {str(row.get("type")) for row in rows if isinstance(row, dict)}
        return Read(len(rows), tuple(sorted(types)), seconds)

    def refused(self, org_id: str, grant: bytes) -> bool:
        """Tell whether an organisation that asks is refused."""
        try:
            self.read(org_id, grant)
        except NotFoundError as error:
            if error.code != NOTHING:
                raise
            return True
        return False

    def withdraw(self, consent: bytes) -> float:
        """Have the patient sign the withdrawal; returns the seconds until it binds the custodian."""
        draft = self.home.local.call("withdrawal.draft", {"consent": consent.hex()}, _SLOW)
        signed = self._phone.sign(draft)
        began = time.monotonic()
        self.home.local.call("withdrawal.give", signed, _SLOW)
        return time.monotonic() - began

    def accesses(self, org_id: str, grant: bytes) -> tuple[StateRecord, list[Json]]:
        """Look up the access entry of a grant on an organisation's own node.

        Returns:
            The object's head there, and the releases that its body lists.
        """
        node = self._consortium.nodes[org_id]
        key = access_key(grant, CUSTODIAN)
        head = self.head(node, key)
        answer = node.local.call("body", {"object": key.hex()}, _SLOW)
        shown = as_object(answer).get("body")
        if shown is None:
            raise VerificationError("demo.answer", step="accesses")
        body = Body.from_json(shown)
        body.verify(head.body_hash)
        rows = body.content["accesses"]
        return head, as_list(rows)

    def wait_status(self, key: bytes, status: str, org_ids: Sequence[str]) -> float:
        """Wait until an object has a final status on several nodes; returns the seconds."""

        def there() -> bool:
            return all(self._final_status(self._consortium.nodes[org_id], key) == status for org_id in org_ids)

        return self._consortium.wait_for(there, "demo.not_final")

    def head(self, node: Node, key: bytes) -> StateRecord:
        """Return an object's head on a node; raises `NotFoundError` ``demo.no_object``."""
        answer = node.local.call("object", {"object": key.hex()}, _SLOW)
        shown = as_object(answer).get("record")
        if shown is None:
            raise NotFoundError("demo.no_object", key=key.hex())
        return record_of(shown)

    def is_enrolled(self, subject: bytes) -> bool:
        """Tell whether a subject of an earlier run is still there."""
        return self._final_status(self.home, subject) == ACTIVE

    def _final_status(self, node: Node, key: bytes) -> str | None:
        """Return an object's status on a node, None while its head is not final."""
        answer = node.local.call("object", {"object": key.hex()}, _SLOW)
        if not isinstance(answer, dict) or answer.get("final") is not True:
            return None
        return record_of(answer["record"]).status

    def _placed(self, operation: str, document: Json) -> Placed:
        """Have the hospital bring an object to the ledger and wait until it is final."""
        began = time.monotonic()
        answer = self.home.local.call(operation, document, _SLOW)
        if not isinstance(answer, dict):
            raise VerificationError("demo.answer", step=operation)
        return Placed(
            key=unhex(answer["key"], HASH_BYTES),
            position=int(str(answer["position"])),
            endorser=str(answer["endorser"] or ""),
            rank=int(str(answer["rank"] or 0)),
            seconds=time.monotonic() - began,
        )


def record_of(shown: Json) -> StateRecord:
    """Read a state record that a node shows."""
    return StateRecord.decode(canonical(shown))
