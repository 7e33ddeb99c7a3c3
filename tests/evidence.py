"""Whole evidence bundles: a hospital, an insurer and their ledger, with real keys, map, log and quorum.

A `Scene` is one claim on one ledger. It does step by step what hospital, patient and insurer do, at times that a test
sets; a test leaves a step out, does it twice, late or wrongly, and takes the bundle. Endorsers of the ledger are drawn
and sign; what bodies mean is judged where kinds are tested.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from medchain.crypto.commitment import record_commitment, record_field_root, whole_digest
from medchain.crypto.es384 import Es384Signer
from medchain.crypto.fields import (
    ShownField,
    prove_fields,
    record_field_leaves,
    record_field_salts,
    record_fields,
)
from medchain.crypto.vrf import vrf_output
from medchain.encoding import Json
from medchain.ledger.bundle import Verdict, verify_bundle
from medchain.ledger.claim_question import AskedRow, ClaimQuestion, Known, Unanswered
from medchain.ledger.claim_request import Action, ClaimRequest
from medchain.ledger.evidence.claim_reading import read_claim
from medchain.ledger.evidence.disclosure import (
    As,
    Disclosure,
    Edition,
    Row,
    SignedDisclosure,
    sign_disclosure,
)
from medchain.ledger.evidence.document import Asked, Evidence, Held, InsurancePolicy, Questioned, claim_digest
from medchain.ledger.evidence.statements import Fact
from medchain.ledger.invoice import InvoiceFields, Scope, claim_id, invoice_of
from medchain.ledger.kinds.access import Access, Accesses
from medchain.ledger.kinds.claim_content import Bill, Claim, on_refund, on_request, on_reversal, shown_to
from medchain.ledger.kinds.consent import Consent
from medchain.ledger.kinds.content import DAY_S, Period
from medchain.ledger.kinds.grant import Grant
from medchain.ledger.kinds.mandate import Basis, Mandate
from medchain.ledger.kinds.shares import Shares
from medchain.ledger.object import Body, StateRecord, build_body, map_key, stop_hash
from medchain.ledger.one_claim import OneClaim
from medchain.ledger.request import CitedClaim, ReleaseRequest, access_id, access_key
from medchain.ledger.signed_request import sign_request
from medchain.ledger.transaction import Change, ObjectRow, Ref
from medchain.node.trace import WantedItem, body_opening, export_claim, field_opening
from tests.evidence_ledger import CLAIM, CONSENT, ISSUER, Ledger
from tests.unit.medchain.ledger import world
from tests.unit.medchain.ledger.world import ANXIN, COMMISSION, RENHE, seed, sign, vrf_key

CHECK_CODE = "rha0jt"
OF_MEMBER = f"https://{RENHE}.example/fhir"
"""Base of the hospital's FHIR server: it lists that origin."""
OF_INVOICE = ("/date", "/status", "/identifier/0", "/identifier/1", "/lineItem", "/totalGross", "/totalPriceComponent")
"""What is opened of an invoice."""


@dataclass
class Paper:
    """A record of the hospital's.

    Attributes:
        role: what it is to the claim.
        content: FHIR JSON.
        event: when what it tells of happened.
        opened: pointers of the fields that are shown; none for a type whose fields are not committed to.
        versions: those that were registered: content, salt, commitment.
        told: what the hospital says of each.
        hospital: whose it is.
    """

    role: As
    content: dict[str, Json]
    event: Period
    opened: tuple[str, ...] = ()
    hospital: str = RENHE
    object_id: bytes = b""
    salts: list[bytes] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)
    told: list[Edition] = field(default_factory=list)

    @property
    def reference(self) -> str:
        return f"{self.content['resourceType']}/{self.content['id']}"

    @property
    def key(self) -> bytes:
        return map_key("record", self.hospital, self.object_id)

    def commitment(self, version: int) -> bytes:
        salt, content = self.salts[version - 1], self.contents[version - 1]
        return record_commitment(salt, content, record_field_root(salt, content) if self.opened else bytes(32))

    def opening(self, version: int) -> bytes | None:
        """Open the fields that are shown of a version."""
        if not self.opened:
            return None
        salt, content = self.salts[version - 1], self.contents[version - 1]
        fields = record_fields(content)
        leaves, salts = record_field_leaves(salt, fields), record_field_salts(salt, len(fields))
        wanted = [f"{pointer}/" for pointer in ("/resourceType", "/id", *self.opened)]
        places = [
            place
            for place, (name, _) in enumerate(fields)
            if any(f"{name.decode()}/".startswith(one) for one in wanted)
        ]
        places.sort(key=fields.__getitem__)
        shown = [ShownField(fields[place][0].decode(), fields[place][1], salts[place * 32 :][:32]) for place in places]
        proof = prove_fields(leaves, [leaves[place] for place in places])
        return field_opening(whole_digest(salt, content), record_field_root(salt, content), shown, proof)

    def row(self) -> Row:
        return Row(self.role, self.object_id, self.reference, tuple(self.told))


def instant(seconds: int) -> str:
    """Write an instant as hospitals do."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def day(seconds: int) -> str:
    """Write a day."""
    return instant(seconds)[:10]


@dataclass
class Scene:
    """One claim of Anxin's about a stay at Renhe, or at another hospital.

    A scene that does all its steps in their order is a genuine one: `genuine`. Of a claim about stays at several
    hospitals each has a scene of its own, and the first has the others ``beside`` it.
    """

    ledger: Ledger
    number: str = "1774778511"
    total: int = 842_280
    papers: list[Paper] = field(default_factory=list)
    bodies: dict[tuple[bytes, int], Body] = field(default_factory=dict)
    claim: dict[str, Json] = field(default_factory=dict)
    content: bytes = b""
    consent: Consent | None = None
    consent_key: bytes = b""
    grant_key: bytes = b""
    request: object = None
    said: Disclosure | None = None
    signed: SignedDisclosure | None = None
    shares: Shares | None = None
    question: Questioned = field(default_factory=lambda: Questioned(Asked.NONE))
    row: AskedRow | None = None
    facts: list[Fact] = field(default_factory=list)
    policy: InsurancePolicy | None = None
    held: tuple[Held, ...] = ()
    hospital: str = RENHE
    beside: list[Scene] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Say when the stay was: it ended the day before."""
        self.ended = self.ledger.now - self.ledger.now % DAY_S - 12 * 3600
        self.began = self.ended - 6 * DAY_S

    @property
    def now(self) -> int:
        return self.ledger.now

    # The hospital.

    def stay(self, more: int = 0, **encounter: Json) -> Scene:
        """Write what a stay leaves: encounter, diagnosis, operation, report, values, bill, and more values."""
        began, ended = self.began, self.ended
        middle = began + 2 * DAY_S
        period = {"start": instant(began), "end": instant(ended)}
        money = {"currency": "CNY", "value": self.total / 100}
        forms = [("e-invoice-code", "99060125"), ("e-invoice-number", self.number), ("e-invoice-check", CHECK_CODE)]
        operated = {"start": instant(middle), "end": instant(middle + 4200)}
        reported = {"effectiveDateTime": instant(middle), "issued": instant(middle + 3600)}
        found = {"recordedDate": instant(began), "onsetDateTime": "2019-05"}
        written = [
            (As.ENCOUNTER, "Encounter", {"class": {"code": "IMP"}, "period": period, **encounter}, (began, ended)),
            (As.CITED, "Condition", found, (began, ended)),
            (As.CITED, "Procedure", {"performedPeriod": operated}, (middle, middle + 4200)),
            (As.CITED, "DiagnosticReport", reported, (middle, middle)),
            (
                As.INVOICE,
                "Invoice",
                {
                    "status": "issued",
                    "date": instant(ended),
                    "identifier": [
                        {"system": f"https://medchain.example/fhir/id/{name}", "value": value} for name, value in forms
                    ],
                    "lineItem": [{"sequence": 1, "priceComponent": [{"type": "base", "amount": money}]}],
                    "totalGross": money,
                },
                (ended, ended),
            ),
        ]
        opened = {
            "Encounter": ("/class", "/period"),
            "Condition": ("/recordedDate",),
            "Procedure": ("/performedPeriod",),
            "DiagnosticReport": ("/effectiveDateTime", "/issued"),
            "Invoice": OF_INVOICE,
        }
        for role, kind, content, (start, end) in written:
            body = {"resourceType": kind, "id": f"{kind[:1].lower()}{self.number}", **content, "note": "nobody else's"}
            self.papers.append(Paper(role, body, Period(start, end), opened[kind], self.hospital))
        for place in range(1 + more):
            body = {"resourceType": "Observation", "id": f"o{self.number}-{place}", "value": 5}
            event = Period(middle + place, middle + place)
            self.papers.append(Paper(As.CITED, body, event, hospital=self.hospital))
        return self

    def paper(self, kind: str) -> Paper:
        """Return the first record of a type."""
        return next(one for one in self.papers if one.content["resourceType"] == kind)

    def register(self, *papers: Paper, at: int | None = None, entered: int | None = None) -> Scene:
        """Register records, all that there are or some, in one anchor; they were entered just after their event."""
        chosen = papers or tuple(self.papers)
        rows = []
        for paper in chosen:
            paper.object_id = paper.object_id or self.ledger.fresh(16)
            self._write(paper, entered)
            rows.append(ObjectRow(paper.object_id, len(paper.contents), paper.commitment(len(paper.contents))))
        change = Change("record", "active", tuple(sorted(rows)))
        self.ledger.block(sign(self.ledger.author.transaction(self.hospital, change, until=None)), at=at)
        return self

    def _write(self, paper: Paper, entered: int | None, changed: Sequence[str] = ()) -> None:
        """Write the next version of a record."""
        paper.contents.append(json.dumps(paper.content, separators=(",", ":")).encode())
        paper.salts.append(self.ledger.fresh(32))
        end = paper.event.start if paper.event.end is None else paper.event.end
        number = len(paper.contents)
        when = end + 600 if entered is None else entered
        paper.told.append(Edition(number, "doctor-17", "his-renhe", when, paper.event, tuple(sorted(changed))))

    def revise(self, paper: Paper, at: int | None = None, status: str = "active", **changes: Json) -> Scene:
        """Register another version of a record."""
        paper.content |= changes
        self._write(paper, self.now, [f"/{name}" for name in changes])
        row = ObjectRow(paper.object_id, len(paper.contents), paper.commitment(len(paper.contents)))
        change = Change("record", status, (row,))
        self.ledger.block(sign(self.ledger.author.transaction(self.hospital, change, until=None)), at=at)
        return self

    # The insurer and the patient.

    def claimed(self, created: int | None = None, **changes: Json) -> Scene:
        """Have the insurer hold a claim that cites all that is registered."""
        papers = [*self.papers, *(p for one in self.beside for p in one.papers)]
        named = {
            one: [p for p in papers if p.content["resourceType"] == one]
            for one in ("Encounter", "Condition", "Procedure", "DiagnosticReport", "Invoice", "Observation")
        }
        url = {p.reference: {"reference": f"https://{p.hospital}.example/fhir/{p.reference}"} for p in papers}
        info = [*named["DiagnosticReport"], *named["Observation"], *named["Invoice"]]
        net = {"currency": "CNY", "value": self.total / 100}
        self.claim = {
            "resourceType": "Claim",
            "id": f"claim{self.number}",
            "created": instant(self.now if created is None else created),
            "billablePeriod": {"start": instant(self.began), "end": instant(self.ended)},
            "diagnosis": [{"diagnosisReference": url[p.reference]} for p in named["Condition"]],
            "procedure": [{"procedureReference": url[p.reference]} for p in named["Procedure"]],
            "supportingInfo": [{"valueReference": url[p.reference]} for p in info],
            "item": [{"net": net, "encounter": [url[p.reference] for p in named["Encounter"]]}],
            "total": net,
            **changes,
        }
        self.content = json.dumps(self.claim, separators=(",", ":")).encode()
        for one in self.beside:
            one.content = self.content
        self.policy = InsurancePolicy(day(self.began - 400 * DAY_S), None, 30)
        return self

    @property
    def digest(self) -> bytes:
        return claim_digest(self.content)

    def permitted(self, digest: bytes | None = None, evidence: Json = None, **changes: object) -> Scene:
        """Have the patient sign a consent for this claim alone, and the hospital grant it."""
        now, fresh = self.now, self.ledger.fresh
        cited = tuple(sorted(one.reference for one in self.papers))
        one = OneClaim(digest or self.digest, cited)
        made = Consent(
            subject=seed("subject"),
            acting_for=None,
            custodians=(self.hospital,),
            recipient=ANXIN,
            purpose="HPAYMT",
            resource_types=one.resource_types,
            period=Period(now - 30, now + 20 * DAY_S),
            data_period=None,
            fhir=one.fhir(),
            operation="create",
            nonce=fresh(16),
            stop=fresh(32),
            signed_at=now,
        )
        self.consent = replace(made, **changes)
        body = build_body(CONSENT, self.consent.to_content(), evidence or {"assertion": {}}, fresh)
        terms = {"stop_hash": stop_hash(self.consent.stop), "expires": self.consent.period.last_day}
        record = self._put(CONSENT, body, fresh(16), **terms)
        self.consent_key = record.key
        self.granted()
        return self

    def mandated(self) -> Scene:
        """Have the law permit it, and the hospital grant it."""
        fresh = self.ledger.fresh
        types = tuple(sorted({one.content["resourceType"] for one in self.papers}))
        made = Mandate(
            basis=Basis("statute", "the court", "2026/1", "bills"),
            custodian=self.hospital,
            patient="p1",
            recipient=ANXIN,
            purpose="HPAYMT",
            resource_types=types,
            period=Period(self.now - 30, self.now + 20 * DAY_S),
            data_period=None,
            stop=fresh(32),
        )
        self.consent = made
        body = build_body("mandate", made.to_content(), None, fresh)
        terms = {"stop_hash": stop_hash(made.stop), "expires": made.period.last_day, "creator": COMMISSION}
        self.consent_key = self._put("mandate", body, fresh(16), **terms).key
        return self.granted()

    def granted(self, **changes: object) -> Scene:
        """Have the hospital grant what the consent permits."""
        consent, fresh = self.consent, self.ledger.fresh
        made = Grant(
            consent=self.consent_key,
            custodian=self.hospital,
            recipient=ANXIN,
            purpose="HPAYMT",
            resource_types=consent.resource_types,
            period=consent.period,
            stop=fresh(32),
        )
        made = replace(made, **changes)
        body = build_body("grant", made.to_content(), None, fresh)
        terms = {"stop_hash": stop_hash(made.stop), "expires": made.period.last_day}
        self.grant_key = self._put("grant", body, fresh(16), refs=self._refs(self.consent_key), **terms).key
        return self

    def _refs(self, *keys: bytes) -> tuple[Ref, ...]:
        return tuple(sorted(Ref(key, self.ledger.record(key).version) for key in keys))

    def _put(self, kind: str, body: Body, object_id: bytes, **terms: object) -> StateRecord:
        record = self.ledger.put(kind, body.body_hash, object_id, **({"creator": self.hospital} | terms))
        self.bodies[record.key, record.version] = body
        return record

    def requested(self, pen: str = ANXIN, digest: bytes | None = None, **changes: object) -> Scene:
        """Have the insurer ask the hospital."""
        request = ReleaseRequest(
            ledger=self.ledger.author.genesis.ledger,
            custodian=self.hospital,
            recipient=ANXIN,
            resource_types=self.consent.resource_types,
            after=0,
            encryption_key=world.key(ANXIN, "encryption").id,
            nonce=self.ledger.fresh(16),
            time=self.now,
            grant=self.grant_key,
            purpose="HPAYMT",
            period=None,
            claim=CitedClaim(digest or self.digest, self.ledger.fresh(32)),
        )
        self.request = sign_request(Es384Signer(seed(pen, "authentication", 1)), replace(request, **changes))
        return self

    def permission(self) -> tuple[Ref, ...]:
        """Name grant and consent in the versions that they have now."""
        return self._refs(self.grant_key, self.consent_key)

    def accessed(self, on: tuple[Ref, ...] = ()) -> Scene:
        """Have the hospital enter the access on the ledger, on what it took for the permission; else on that of now."""
        fresh, request = self.ledger.fresh, self.request.request
        row = Access(request.hash, len(self.papers), fresh(32), fresh(32), "HPAYMT", request.time)
        content = Accesses(self.grant_key, (self.consent_key,), (row,)).to_content()
        body = build_body("access", content, {"requests": [self.request.to_json()]}, fresh)
        self._put("access", body, access_id(self.grant_key, self.hospital), refs=on or self.permission())
        return self

    def disclosed(self, pen: str | None = None, **changes: object) -> Scene:
        """Have the hospital say and sign what it discloses."""
        encounter = self.paper("Encounter").reference
        counts = {}
        for paper in self.papers:
            if paper.role is As.CITED:
                counts[paper.content["resourceType"]] = counts.get(paper.content["resourceType"], 0) + 1
        told = [
            Fact("alive_on", {"day": day(self.ended)}, value=True),
            Fact("emergency_accesses", self.window(changes.get("time")), 0),
            Fact("overlapping_stays", {"end": day(self.ended), "start": day(self.began)}, 0),
            *(Fact("record_count", {"encounter": encounter, "type": kind}, count) for kind, count in counts.items()),
            Fact("surgery", {"encounter": encounter}, value=True),
        ]
        mine = {fact.order: fact for fact in self.facts}
        names = {fact.name for fact in self.facts}
        facts = [*(one for one in told if one.name not in names), *mine.values()]
        made = Disclosure(
            claim=self.digest,
            decision={"rule": "one-claim"},
            facts=tuple(sorted(facts, key=lambda one: one.order)),
            grant=self.grant_key,
            hospital=self.hospital,
            insurer=ANXIN,
            ledger=self.ledger.author.genesis.ledger,
            records=tuple(sorted((one.row() for one in self.papers), key=lambda one: one.reference)),
            request=self.request.request.hash,
            time=self.request.request.time,
        )
        self.said = replace(made, **changes)
        self.signed = sign_disclosure(Es384Signer(seed(pen or self.hospital, "authentication", 1)), self.said)
        return self

    def window(self, time: int | None = None) -> dict[str, int]:
        """From thirty days before the services to the claim: of what a hospital tells of emergencies at a time."""
        first = self.began - self.began % DAY_S
        return {"from": first - 30 * DAY_S, "to": min(self.made, self.request.request.time if time is None else time)}

    # The invoice.

    @property
    def invoice(self) -> InvoiceFields:
        return invoice_of(Scope.INVOICE, ISSUER, "99060125", self.number, self.ended // DAY_S)

    @property
    def bill(self) -> Bill:
        pen = vrf_key(RENHE)
        return Bill(self.invoice, pen.public, pen.prove(self.invoice.alpha), "RHA0JT", "CNY")

    @property
    def claim_id(self) -> bytes:
        return claim_id(vrf_output(self.bill.proof))

    @property
    def claim_key(self) -> bytes:
        return map_key(CLAIM, RENHE, self.claim_id)

    def asked(self, answer: Known | Unanswered | None = None, differs: Sequence[str] = (), **row: object) -> Scene:
        """Have the insurer ask for the claim id of its invoice."""
        amount = f"{self.total // 100}.{self.total % 100:02}"
        held = AskedRow(
            scope=Scope.INVOICE,
            issuer=ISSUER,
            code="99060125",
            number=self.number,
            date=self.invoice.date,
            line=0,
            check_code=CHECK_CODE,
            amount=amount,
            currency="CNY",
        )
        self.row = replace(held, **row)
        made = ClaimQuestion(
            ledger=self.ledger.author.genesis.ledger,
            nonce=self.ledger.fresh(16),
            time=self.now,
            hospital=RENHE,
            insurer=ANXIN,
            rows=(self.row,),
        )
        signed = sign_request(Es384Signer(seed(ANXIN, "authentication", 1)), made)
        bill = self.bill
        known = Known(bill.invoice, claim_id(vrf_output(bill.proof)), bill.key, bill.proof, tuple(differs))
        answer = answer or known
        state = Asked.KNOWN if isinstance(answer, Known) else Asked.UNKNOWN
        self.question = Questioned(state, RENHE, signed, answer)
        return self

    def deed(
        self, action: str, amount: int = 0, insurer: str = ANXIN, claim: bytes | None = None, days: int = 10
    ) -> Scene:
        """Have an insurer do something with the invoice, or the hospital take it back."""
        head = self.ledger.author.record(self.claim_key)
        before = self.shares or Shares(self.total)
        if action == "reverse":
            made, evidence = on_reversal(self.bill, before, self.now), None
        elif action == "refund":
            made, evidence = on_refund(self.bill, before, amount, self.now), None
        else:
            request = ClaimRequest(
                ledger=self.ledger.author.genesis.ledger,
                action=Action(action),
                hospital=RENHE,
                insurer=insurer,
                claim_id=self.claim_id,
                head=0 if head is None else head.version,
                claim=(self.digest if insurer == ANXIN else seed("claim of", insurer)) if claim is None else claim,
                amount=amount,
                currency="CNY",
                until=self.now // DAY_S + days if action == "reserve" else None,
                nonce=self.ledger.fresh(16),
                time=self.now,
            )
            signed = sign_request(Es384Signer(seed(insurer, "authentication", 1)), request)
            made, evidence = on_request(self.bill, before, request, self.now), {"request": signed.to_json()}
        self._claim_version(made, evidence)
        return self

    def _claim_version(self, made: Claim, evidence: Json) -> None:
        body = build_body(CLAIM, made.to_content(), evidence, self.ledger.fresh)
        record = self._put(CLAIM, body, self.claim_id, status=made.status, expires=made.last_day)
        self.shares = made.shares
        names = shown_to(made.to_content(), ANXIN)
        if names:
            self.bodies[record.key, record.version] = body.redact(names, keep_evidence=True)
        else:
            del self.bodies[record.key, record.version]

    # The bundle.

    @property
    def made(self) -> int:
        """When the claim was made."""
        return read_claim(self.content).created or self.now

    def wanted(self) -> list[WantedItem]:
        """List what a complete bundle proves."""
        items = [self._record(paper) for paper in self.papers if paper.object_id]
        if self.request is not None:
            access = access_key(self.grant_key, self.hospital)
            if self.ledger.author.record(access) is not None:
                items += [self._body(self.grant_key, 1), self._body(self.consent_key, 1), self._body(access)]
        if isinstance(self.question.answer, Known):
            versions = [number for key, number in self.bodies if key == self.claim_key]
            items.append(self._body(self.claim_key, max(versions) if versions else None))
        return items + [item for one in self.beside for item in one.wanted()]

    def _record(self, paper: Paper) -> WantedItem:
        """Prove the version that stood when the claim was made, of those that the hospital tells of."""
        store = self.ledger.author.replica.store
        told = [one for one in store.history(paper.key) if one.status == "active" and one.version <= len(paper.told)]
        version = max((one.version for one in told if store.block_at(one.since).time <= self.made), default=1)
        return WantedItem(paper.key, version, paper.opening(version))

    def _body(self, key: bytes, version: int | None = None) -> WantedItem:
        """Prove a version with its body, as far as the insurer was given it."""
        head = self.ledger.author.record(key)
        number = version or (None if head is None else head.version)
        body = None if number is None else self.bodies.get((key, number))
        return WantedItem(key, number, None if body is None else body_opening(body))

    def evidence(self, **changes: object) -> Evidence:
        """Put together what the insurer gathered."""
        signed = [one.signed for one in (self, *self.beside) if one.signed is not None]
        made = Evidence(
            ledger=self.ledger.author.genesis.ledger,
            insurer=ANXIN,
            content=self.content,
            held=self.held,
            policy=self.policy,
            row=self.row,
            disclosures=tuple(sorted(signed, key=lambda one: one.disclosure.hospital)),
            question=self.question,
        )
        return replace(made, **changes)

    def bundle(
        self,
        wanted: Sequence[WantedItem] | None = None,
        old: bytes | None = None,
        *,
        at: int | None = None,
        by: str = RENHE,
        **changes: object,
    ) -> dict[str, bytes]:
        """Make the bundle as of now, or of a block at a time."""
        self.ledger.block(self.ledger.author.anchor(creator=by), at=at)
        replica = self.ledger.author.replica
        items = self.wanted() if wanted is None else wanted
        return export_claim(replica, items, self.evidence(**changes).encode(), old_checkpoint=old)

    def verdict(self, files: Mapping[str, bytes] | None = None, **other: object) -> Verdict:
        """Have a stranger verify a bundle with nothing but the members' policy."""
        return verify_bundle(files or self.bundle(), self.ledger.policy, **{"now": self.now + 10, **other})

    def given(self) -> Scene:
        """Do what follows a permission: request, access, disclosure, question."""
        return self.requested().accessed().disclosed().asked()


def genuine(ledger: Ledger, number: str = "1774778511", more: int = 0) -> Scene:
    """Do all as it should be."""
    return Scene(ledger, number).stay(more).register().claimed().permitted().given()


def codes(verdict: Verdict) -> dict[str, set[str]]:
    """Return the codes found, by colour."""
    found: dict[str, set[str]] = {"green": set(), "amber": set(), "red": set()}
    for one in verdict.claim.findings:
        found[one.colour].add(one.code)
    return found
