"""The demo's other patient: a person with a link and a passkey of the own, an ask, a correction, an emergency, a claim.

Keeps true: the passkey is the person's own; the insurer reads once when it is let in, and once more when the person has
stopped that; another insurer tries the same and is refused; of the claim the desk asks nobody by itself. All of it goes
through the nodes. Trusts the consortium.
Source: `docs/spec/patient-pages.md`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from medchain.claims.case_content import Status
from medchain.claims.cases import CaseClient
from medchain.commands import account as accounts
from medchain.commands import demo_texts as texts
from medchain.commands import messages
from medchain.commands.command import Context, Text
from medchain.commands.demo_consortium import Consortium, call
from medchain.commands.demo_story import CUSTODIAN, NOTHING, PURPOSE, RECIPIENT, RESOURCE_TYPES, STRANGER, Story
from medchain.encoding import Json, as_list, as_object, as_objects, unhex
from medchain.errors import MedchainError, NotFoundError
from medchain.ledger.object import map_key
from medchain.ledger.transaction import HASH_BYTES
from medchain.node import asking, concerns
from medchain.node.assembly import open_web_node
from medchain.node.concern import ConcernKind
from medchain.node.config import load_config
from medchain.node.emergency import EMERGENCY, EmergencyDesk
from medchain.node.exchange_client import FOR_CLAIM
from medchain.node.peers import Limits
from medchain.node.records import RecordService

_QUICK: Final = Limits(timeout_s=5.0)
_DAYS: Final = 30


@dataclass(slots=True)
class Person:
    """The person, and what the insurers do about it.

    Attributes:
        consortium: its nodes run.
        context: of the command.
        story: reads in an insurer's name.
        tell: tells of progress.
    """

    consortium: Consortium
    context: Context
    story: Story
    tell: Callable[..., None]
    _read: dict[str, str] = field(default_factory=dict)
    _known: set[str] = field(default_factory=set)
    _digest: str = ""

    def invite(self) -> dict[str, Json]:
        """Have the insurer ask the person, and the desk give the person a link.

        Returns:
            ``patient``, ``url`` to enrol at and ``sign_in``; ``waits``, of ``ask``, ``correction`` and ``emergency``
            those that nobody has answered or reviewed; ``claim`` with its ``case`` and ``number`` at the insurer while
            nothing was paid for it, else None. Nothing where the data have only one patient.
        """
        patient = self.consortium.facts.get("person")
        if not isinstance(patient, str):
            return {}
        home = self.consortium.nodes[CUSTODIAN]
        # What was given in an earlier run is not read anew: its page shows what happened then.
        self._known |= {grant for grant, _ in self._grants()}
        if self.consortium.facts.get("asked") != patient:
            wish: Json = {
                "custodian": CUSTODIAN,
                "days": _DAYS,
                "patient": patient,
                "person": "",
                "purpose": PURPOSE,
                "reason": f"{texts.ASK_REASON.zh} {texts.ASK_REASON.en}",
                "resource_types": list(RESOURCE_TYPES),
            }
            self.consortium.nodes[RECIPIENT].local.call(asking.SEND, wish)
            self.consortium.remember(asked=patient)
        if self.consortium.facts.get("corrects") != patient:
            self._correct(patient)
            self.consortium.remember(corrects=patient)
        if self.consortium.facts.get("opened") != patient:
            self.consortium.remember(glass=self._break_glass(patient), opened=patient)
        answer = call(("account", "invite"), [patient, f"--config={home.config_path}"], self.context, accounts.COMMANDS)
        url = str(answer["url"]) if isinstance(answer, dict) else ""
        place = {"sign_in": f"{home.web_url}/my", "url": url}
        return {**place, "claim": self._claim(), "patient": patient, "waits": list[Json](self._waits(patient))}

    def step(self) -> None:
        """Do what the insurers do next: called again and again; a node that is away is asked again later."""
        try:
            for grant, consent in self._grants():
                if grant not in self._known:
                    is_for_claim = self._is_for_claim(grant)
                    self._known.add(grant)
                    if not is_for_claim:
                        self._look(grant, consent)
                elif grant in self._read and self._is_stopped(consent):
                    del self._read[grant]
                    self._look_again(grant)
        except MedchainError:
            return

    def _claim(self) -> Json:
        """Have the insurer's desk take the person's claim up, as its system would when a claim comes in."""
        claim = as_object(self.consortium.facts.get("claim") or {}).get("claim")
        if claim is None:
            return None
        case = CaseClient(self.consortium.nodes[RECIPIENT].local).open(str(claim))
        self._digest = str(case["digest"])
        is_paid = case["status"] in (Status.SETTLED, Status.REFUSED)
        return None if is_paid else {"case": case["id"], "claim": claim, "number": case["number"]}

    def _waits(self, patient: str) -> Iterator[str]:
        """Say what is not answered or reviewed yet: in a later run it may be."""
        local, about = self.consortium.nodes[CUSTODIAN].local, dict[str, Json](patient=patient)
        asks = as_objects(as_object(local.call(asking.LIST, about, _QUICK))["asks"])
        # What is asked for the claim is told with the claim.
        if any(row["answer"] is None and "claim" not in row for row in asks):
            yield "ask"
        brought = as_objects(as_object(local.call(concerns.LIST, about, _QUICK))["concerns"])
        if any(row["due"] is not None for row in brought):
            yield "correction"
        known = as_objects(as_object(local.call("emergency.list", {}, _QUICK))["emergencies"])
        reviews = {row["key"]: row["review"] for row in known}
        glass = self.consortium.facts.get("glass")
        # The ledger may not have it yet.
        if glass is not None and reviews.get(str(glass)) is None:
            yield "emergency"

    def _correct(self, patient: str) -> None:
        """Ask for a correction in the person's name; the hospital has not answered it yet."""
        asked: Json = {
            "about": {"version": 1, "what": f"Patient/{patient}"},
            "by": f"Patient/{patient}",
            "kind": ConcernKind.CORRECTION.value,
            "patient": patient,
            "shared": False,
            "text": f"{texts.CORRECTION_TEXT.zh} {texts.CORRECTION_TEXT.en}",
        }
        self.consortium.nodes[CUSTODIAN].local.call(concerns.OPEN, asked)

    def _break_glass(self, patient: str) -> str:
        """Have a clinician of the hospital break the glass for the person; returns its key on the ledger."""
        home, clock = self.consortium.nodes[CUSTODIAN], self.context.clock
        config = load_config(home.config_path, self.context.environment, {})
        with open_web_node(config, self.context.halves(config, messages.PASSPHRASE), clock) as node:
            service = RecordService(node.records, self.consortium.genesis.ledger, node.keys.records, clock)
            desk = EmergencyDesk(CUSTODIAN, node.records, service, clock, secrets.token_bytes)
            staff, reason = (f"{text.zh} {text.en}" for text in (texts.CLINICIAN, texts.GLASS))
            declared = desk.declare(patient, staff, reason)
        return map_key(EMERGENCY, CUSTODIAN, declared.object_id).hex()

    def _look(self, grant: str, consent: str) -> None:
        """Read under a new grant, and have another insurer try the same."""
        key = unhex(grant, HASH_BYTES)
        self._told(self.story.read(RECIPIENT, key).count)
        self._read[grant] = consent
        if self.story.refused(STRANGER, key):
            self.tell(texts.PERSON_STRANGER)

    def _look_again(self, grant: str) -> None:
        """Read once more after the person has stopped it."""
        try:
            self._told(self.story.read(RECIPIENT, unhex(grant, HASH_BYTES)).count)
        except NotFoundError as error:
            if error.code != NOTHING:
                raise
            self.tell(texts.PERSON_REFUSED)

    def _told(self, count: int) -> None:
        """Tell of a read."""
        text: Text = texts.PERSON_READ
        self.tell(text, count=count)

    def _grants(self) -> list[tuple[str, str]]:
        """List the insurer's grants: (grant, consent)."""
        answer = self.consortium.nodes[RECIPIENT].local.call("grants.received", {}, _QUICK)
        return [
            (str(row["key"]), str(row["consent"]))
            for row in as_list(as_object(answer).get("grants"))
            if isinstance(row, dict) and row.get("final") is True
        ]

    def _is_for_claim(self, grant: str) -> bool:
        """Tell whether a grant is for the person's claim alone: it opens no record, and the desk asks under it."""
        if not self._digest:
            return False
        asked: Json = {"claim": self._digest}
        answer = as_object(self.consortium.nodes[RECIPIENT].local.call(FOR_CLAIM, asked, _QUICK))
        return any(row.get("grant") == grant for row in as_objects(answer["grants"]))

    def _is_stopped(self, consent: str) -> bool:
        """Tell whether the insurer's node has heard of a stop."""
        answer = self.consortium.nodes[RECIPIENT].local.call("object", {"object": consent}, _QUICK)
        record = as_object(answer).get("record")
        is_over = isinstance(record, dict) and record.get("status") != "active"
        return is_over or (isinstance(answer, dict) and answer.get("stopped") is True)
