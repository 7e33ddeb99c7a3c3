"""The demo's claims: an insurer's desk finds out what is planted in the sample data, and pays while the patient waits.

Keeps true: each step is a call of a running node, and the patient's tap a passkey's signature for exactly one claim; a
story that does not come out, or comes out with anything beside it, ends the demo; what a second insurer was given names
neither the first nor the customer; each bundle is verified by a process that knows the policy alone. Trusts the
consortium.
Source: `docs/spec/claim-case.md`, `docs/spec/claim-verdict.md`, `docs/spec/consent.md` D21.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Final

from medchain.claims.cases import CaseClient
from medchain.claims.counter import Counter, Done, Step, Wanted
from medchain.commands import messages
from medchain.commands.command import Context
from medchain.commands.demo_bundles import zip_files
from medchain.commands.demo_consortium import Consortium, Node
from medchain.commands.demo_load import FHIR_JSON, sample_story
from medchain.commands.demo_story import PHONE, Phone
from medchain.encoding import Json, as_list, as_object, as_objects, canonical, unbase64, unhex
from medchain.errors import VerificationError
from medchain.ledger.evidence.document import EVIDENCE_FILE
from medchain.ledger.evidence.verdict import ClaimVerdict, Colour, Finding, Line, parse_verdict
from medchain.ledger.kinds.content import DAY_S
from medchain.ledger.object import ACTIVE
from medchain.ledger.one_claim import PURPOSE, OneClaim, read_cited
from medchain.ledger.transaction import HASH_BYTES
from medchain.node import asking
from medchain.node.assembly import open_web_node
from medchain.node.clock import Clock
from medchain.node.config import load_config
from medchain.node.emergency import EmergencyDesk
from medchain.node.exchange_client import IN_EMERGENCY
from medchain.node.peer_auth import PeerRequest
from medchain.node.peers import HttpPool, Limits
from medchain.node.records import RecordService

DUPLICATE: Final = "duplicate-invoice"
"""Story of one invoice that is claimed at two insurers: the first is paid."""

EMERGENCY: Final = "emergency-access"
"""Story of a patient who is claimed for days after records were read without consent."""

EXPECTED: Final[Mapping[str, frozenset[str]]] = {
    DUPLICATE: frozenset({"unclaimed.claimed"}),
    "altered-record": frozenset({"flags.altered", "unaltered.altered"}),
    "late-entry": frozenset({"source.late"}),
    EMERGENCY: frozenset({"flags.emergency"}),
}
"""Story → codes of what must be found, and nothing else."""

_OF_MEMBERS: Final = (".tlog-proof", ".txt")
_CREATED: Final = re.compile(rb'"created":\s*"[^"]*"')
_MOST: Final = 100
_SLOW: Final = Limits(timeout_s=120.0, max_bytes=64 << 20)
_DAYS: Final = 7
_WAIT_S: Final = 120
_SLACK_S: Final = 30


@dataclass(frozen=True, slots=True)
class Planted:
    """A claim of a planted story, and where the nodes have it.

    Attributes:
        name: of the story.
        claim: the Claim at the insurer, ``Claim/id``.
        hospital: whose records it cites.
        insurer: who holds it.
        patient: id of the Patient at the hospital.
    """

    name: str
    claim: str
    hospital: str
    insurer: str
    patient: str


@dataclass(frozen=True, slots=True)
class Found:
    """What the desk found about a claim.

    Attributes:
        planted: the claim.
        case: id of the case.
        verdict: as it was computed.
        seconds: from the claim's arrival to the verdict.
        paid_s: from its arrival to its payment; None where it was not paid.
    """

    planted: Planted
    case: str
    verdict: ClaimVerdict
    seconds: float
    paid_s: float | None

    @property
    def odd(self) -> list[Finding]:
        """Its findings that are not green, the worst first."""
        found = [finding for line in Line for finding in self.verdict.of(line)]
        return sorted((one for one in found if one.colour is not Colour.GREEN), key=lambda one: one.order)


class Claims:
    """The desks of both insurers, and the patients beside them."""

    def __init__(
        self, consortium: Consortium, clock: Clock, wait: Callable[[Callable[[], bool], str], object] | None = None
    ) -> None:
        """Prepare.

        Args:
            consortium: its nodes run.
            clock: gives Unix seconds.
            wait: waits until something holds, and raises under a code; None for who started the nodes.
        """
        self._consortium = consortium
        self._clock = clock
        self._wait = wait or consortium.wait_for

    def planted(self) -> list[Planted]:
        """List the claims of the planted stories; none where other data were loaded."""
        rows = self._consortium.facts.get("stories")
        texts = [{name: str(value) for name, value in row.items()} for row in as_objects(rows or [])]
        return [Planted(**row) for row in texts]

    def settle(self, planted: Planted, reason: str) -> Found:
        """Have an insurer ask the patient for one claim, the patient agree, the insurer judge it and pay what is green.

        Args:
            planted: the claim.
            reason: why the insurer asks, for the patient.

        Returns:
            What it found.
        """
        return self._found(planted, reason, Counter.settle)

    def judge(self, planted: Planted, reason: str) -> Found:
        """Do the same without paying; arguments as of `settle`."""
        return self._found(planted, reason, Counter.judge)

    def _found(self, planted: Planted, reason: str, act: Callable[[Counter, str, Wanted], Done]) -> Found:
        """Have a claim dealt with at the insurer's counter, beside which the patient stands with the phone."""
        local = self._consortium.nodes[planted.insurer].local
        began, judged, taps = time.monotonic(), 0.0, count()

        def rest(seconds: float) -> None:
            if next(taps):
                time.sleep(seconds)
            else:
                self._agree(planted)

        def tell(step: Step, _seconds: float) -> None:
            nonlocal judged
            if step is Step.JUDGED:
                judged = time.monotonic() - began

        case = str(CaseClient(local).open(planted.claim)["id"])
        done = act(Counter(local, time.monotonic, rest, tell), case, Wanted(reason, days=_DAYS, wait_s=_WAIT_S))
        verdict = done.case["verdict"]
        if verdict is None:
            raise VerificationError("demo.answer", step="judge")
        paid_s = time.monotonic() - began if done.is_settled else None
        return Found(planted, case, parse_verdict(canonical(verdict)), judged, paid_s)

    def break_glass(self, planted: Planted, context: Context) -> int:
        """Have a clinician of the hospital read the patient's records at another hospital without consent.

        Args:
            planted: of the story.
            context: of the command, to open the hospital's node as its own web worker does.

        Returns:
            How many records were given.
        """
        story, home = sample_story(planted.name), self._consortium.nodes[planted.hospital]
        person, staff = story["patient"]["nationalId"], story["reader"]["practitioner"]["value"]
        config = load_config(home.config_path, context.environment, {})
        with open_web_node(config, context.halves(config, messages.PASSPHRASE), self._clock) as node:
            service = RecordService(node.records, self._consortium.genesis.ledger, node.keys.records, self._clock)
            desk = EmergencyDesk(planted.hospital, node.records, service, self._clock, secrets.token_bytes)
            about, reason = f"{person['system']}|{person['value']}", story["reason"][context.language]
            declared = desk.declare_elsewhere(story["hospital"], about, staff, reason)
        asked: Json = {
            "after": 0,
            "count": _MOST,
            "declaration": declared.object_id.hex(),
            "patient": "",
            "query": "",
            "resource_types": sorted(story["types"]),
            "staff": staff,
        }
        return len(as_list(self._call(home, IN_EMERGENCY, asked)["records"]))

    def file(self, planted: Planted, token: str) -> None:
        """Have the insurer's system take a claim in now: an emergency is before a claim that is dated after it.

        Args:
            planted: the claim.
            token: of the insurer's node.
        """
        pool = HttpPool(f"http://127.0.0.1:{self._consortium.nodes[planted.insurer].web_port}", planted.insurer, None)
        headers, place = {"Authorization": f"Bearer {token}", "Content-Type": FHIR_JSON}, f"/fhir/{planted.claim}"
        now = datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        try:
            kept = pool.request(PeerRequest("GET", place, b""), headers, _SLOW).body
            dated, found = _CREATED.subn(f'"created":"{now}"'.encode(), kept)
            if found != 1:
                raise VerificationError("demo.answer", step="file")
            pool.request(PeerRequest("PUT", place, dated), headers, _SLOW)
        finally:
            pool.close()

    def files(self, found: Found) -> dict[str, bytes]:
        """Have the insurer give the evidence bundle of a case."""
        return zip_files(CaseClient(self._consortium.nodes[found.planted.insurer].local).bundle(found.case))

    def _agree(self, planted: Planted) -> None:
        """Have the patient sign for what is asked, and the hospital let the insurer in."""
        home, patient = self._consortium.nodes[planted.hospital], planted.patient
        subject, phone = self._enrolled(planted)
        rows = as_objects(self._call(home, asking.LIST, {"patient": patient})["asks"])
        # The insurer may have asked for more than a claim, too.
        open_asks = (row for row in rows if row["answer"] is None and "claim" in row)
        ask = next((row for row in open_asks if row["asker"] == planted.insurer), None)
        if ask is None:
            raise VerificationError("demo.expected", check=f"claim.{planted.name}.asked")
        claim, now = as_object(ask["claim"]), self._clock()
        one = OneClaim(unhex(claim["digest"], HASH_BYTES), read_cited(claim["cited"]))
        terms: Json = {
            "custodians": [planted.hospital],
            "fhir": one.fhir(),
            "period": {"end": now + _DAYS * DAY_S, "start": now - _SLACK_S},
            "purpose": PURPOSE,
            "recipient": planted.insurer,
            "resource_types": [*one.resource_types],
            "subject": subject.hex(),
        }
        consent = self._call(home, "consent.give", phone.sign(home.local.call("consent.draft", terms, _SLOW)))
        self._call(home, asking.ANSWER, {"answer": asking.GIVEN, "id": ask["id"], "patient": patient})
        self._call(home, "grant.give", {"consent": consent["key"]})

    def _enrolled(self, planted: Planted) -> tuple[bytes, Phone]:
        """Find or enrol the patient of a claim, with the phone: returns the subject's key, and the phone."""
        home, facts = self._consortium.nodes[planted.hospital], self._consortium.facts
        folder, known = self._consortium.folder / PHONE, as_object(facts.get("subjects") or {})
        if planted.patient == facts.get("patient"):
            # Whom the main path has enrolled.
            known = {planted.patient: facts["subject"]}
        else:
            folder /= planted.patient
        phone = Phone(folder, home.sign_url, self._consortium.genesis.rp_id)
        if planted.patient in known:
            return unhex(known[planted.patient], HASH_BYTES), phone
        asked: Json = {
            "credentials": [phone.credential()],
            "custodians": [planted.hospital],
            "method": "identity-card",
            "patient": planted.patient,
        }
        key = str(self._call(home, "subject.enrol", asked)["key"])
        self._consortium.remember(subjects={**known, planted.patient: key})
        self._await_final(key, planted.hospital)
        return unhex(key, HASH_BYTES), phone

    def _await_final(self, key: str, *org_ids: str) -> None:
        """Wait until an object is final and in force on some nodes."""

        def there() -> bool:
            answers = [self._call(self._consortium.nodes[org_id], "object", {"object": key}) for org_id in org_ids]
            return all(one.get("final") is True and as_object(one["record"])["status"] == ACTIVE for one in answers)

        self._wait(there, "demo.not_final")

    def _call(self, node: Node, operation: str, document: Json) -> dict[str, Json]:
        """Call a node's daemon."""
        return as_object(node.local.call(operation, document, _SLOW))


def telling(files: Mapping[str, bytes], name: str, org_id: str) -> list[str]:
    """List the files of an evidence bundle that tell of a customer or of another insurer.

    Args:
        files: of the bundle.
        name: of the story, whose patient the customer is.
        org_id: of the other insurer; that it is a member, and cosigns, the policy and the checkpoints say.

    Returns:
        Names of files.
    """
    customer = sample_story(name)["patient"]["name"]
    found = []
    for path, content in files.items():
        told = [content, *(unbase64(one, max_bytes=len(one)) for one in _claims_in(path, content))]
        words = [customer.encode()] if path.endswith(_OF_MEMBERS) else [customer.encode(), org_id.encode()]
        if any(word in part for word in words for part in told):
            found.append(path)
    return found


def _claims_in(path: str, content: bytes) -> list[str]:
    """Return the insurer's own claim of an evidence document, as it is encoded there."""
    if path != EVIDENCE_FILE:
        return []
    claim = as_object(as_object(json.loads(content))["claim"])
    return [str(claim["content"])]
