"""A deck of evidence bundles, good and bad, with what each verifier must say of them.

All are made by a real ledger (`tests/evidence.py`); those that must be refused are genuine ones that somebody changed.
``python -m tests.deck FOLDER`` writes them, so that every verifier judges the same files: of each case a folder with
``bundle/``, ``policy.txt`` and ``case.json``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from medchain.crypto.es384 import Es384Signer
from medchain.crypto.vrf import vrf_output
from medchain.encoding import canonical, parse_canonical
from medchain.ledger.claim_question import Known, Unanswered
from medchain.ledger.collection import items_of, judge_items, write_items
from medchain.ledger.evidence.disclosure import As, sign_disclosure
from medchain.ledger.evidence.document import Asked, Held, InsurancePolicy, Questioned
from medchain.ledger.evidence.judge import judge_claim
from medchain.ledger.evidence.statements import Fact
from medchain.ledger.evidence.verdict import VERDICT_FILE
from medchain.ledger.invoice import Scope, claim_id
from medchain.ledger.kinds.content import DAY_S, Period
from medchain.ledger.machine import parse_state_leaf
from medchain.ledger.object import map_key
from medchain.ledger.request import access_key
from medchain.ledger.signed_request import sign_request
from medchain.node.trace import WantedItem, body_opening
from medchain.tlog.checkpoint import parse_checkpoint
from medchain.tlog.note import parse_note
from medchain.tlog.proof import parse_proof
from tests.evidence import OF_INVOICE, OF_MEMBER, Paper, Scene, day, instant
from tests.evidence_ledger import ISSUER_OF_OTHER, Ledger, invoicing, ledger_in
from tests.unit.medchain.ledger.world import ANXIN, RENHE, TAIPING, TONGJI, seed, vrf_key

NEWCOMER: Final = "newcomer-hospital"
"""A hospital that is no founder."""

CASES: Final[dict[str, Callable[[Ledger], Made]]] = {}
"""Name → makes it on a ledger."""

ALONE: Final[set[str]] = set()
"""Names of those that need a ledger of their own, since they change its members."""


@dataclass(frozen=True)
class Made:
    """A bundle of the deck.

    Attributes:
        files: of the bundle.
        policy: that a verifier trusts.
        now: the verifier's clock.
        amber: codes of amber findings, all that there are; None where it is refused.
        red: codes of red findings, likewise.
        refused: code of the refusal, None where it is verified.
        current: whether it is the newest state.
        green: codes that must be among the green findings.
    """

    files: Mapping[str, bytes]
    policy: str
    now: int
    amber: frozenset[str] = frozenset()
    red: frozenset[str] = frozenset()
    refused: str | None = None
    current: bool = True
    green: frozenset[str] = frozenset()


def case(make: Callable[[Ledger], Made]) -> Callable[[Ledger], Made]:
    """Put a case into the deck, under its function's name."""
    CASES[make.__name__] = make
    return make


def alone(make: Callable[[Ledger], Made]) -> Callable[[Ledger], Made]:
    """Put a case into the deck that needs a ledger of its own."""
    ALONE.add(make.__name__)
    return case(make)


def deck(folder: Path, names: Iterator[str] | None = None) -> Iterator[tuple[str, Made]]:
    """Make the cases, one after the other."""
    with ExitStack() as stack:
        stack.enter_context(invoicing())
        shared = stack.enter_context(ledger_in(folder / "shared"))
        for name in CASES if names is None else names:
            if name in ALONE:
                with ledger_in(folder / name) as own:
                    yield name, CASES[name](own)
            else:
                yield name, CASES[name](shared)


def write_deck(folder: Path) -> None:
    """Write the deck."""
    with TemporaryDirectory() as work:
        for name, made in deck(Path(work)):
            for file, content in made.files.items():
                path = folder / name / "bundle" / file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            (folder / name / "policy.txt").write_text(made.policy)
            told = {
                "amber": sorted(made.amber),
                "current": made.current,
                "green": sorted(made.green),
                "now": made.now,
                "red": sorted(made.red),
                "refused": made.refused,
            }
            (folder / name / "case.json").write_text(json.dumps(told, indent=1) + "\n")


def resealed(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Do what an insurer can that changes what it shows: number the items anew and compute the verdict anew."""
    kept = {name: content for name, content in files.items() if not name.startswith("items/")}
    made = kept | dict(write_items(numbered(files)))
    leaf = parse_state_leaf(files["state.bin"])
    tree = parse_checkpoint(parse_note(parse_proof(files["state.tlog-proof"]).checkpoint).text)
    judged = judge_items(items_of(made), leaf.map_root, tree)
    return made | {VERDICT_FILE: judge_claim(made["evidence.json"], made["askers.json"], judged, leaf, tree).encode()}


def numbered(files: Mapping[str, bytes]) -> list[dict[str, bytes]]:
    """Take the items out of a bundle, whatever numbers are missing."""
    found: dict[int, dict[str, bytes]] = {}
    for name in files:
        if name.startswith("items/"):
            _, number, file = name.split("/")
            found.setdefault(int(number), {})[file] = files[name]
    return [found[number] for number in sorted(found)]


def item_of(files: Mapping[str, bytes], key: bytes) -> int:
    """Return the number of the item of an object."""
    return next(at for at, one in enumerate(items_of(files)) if json.loads(one["map.json"])["key"] == key.hex())


def without(files: Mapping[str, bytes], key: bytes, *names: str) -> dict[str, bytes]:
    """Leave an item out, or some of its files."""
    start = f"items/{item_of(files, key)}/"
    gone = {start + name for name in names} or {name for name in files if name.startswith(start)}
    return {name: content for name, content in files.items() if name not in gone}


def scene(ledger: Ledger) -> Scene:
    """Begin a scene about an invoice of its own."""
    return Scene(ledger, str(10**9 + ledger.made))


def genuine(ledger: Ledger) -> Scene:
    """Do all as it should be."""
    return scene(ledger).stay().register().claimed().permitted().given()


def made(scene: Scene, files: Mapping[str, bytes] | None = None, **expected: object) -> Made:
    """Give a bundle as of now."""
    told = {name: frozenset(value) if isinstance(value, set) else value for name, value in expected.items()}
    return Made(scene.bundle() if files is None else files, scene.ledger.policy, scene.now + 10, **told)


def forged(scene: Scene, code: str, **changes: object) -> Made:
    """Put other evidence into a genuine bundle, which no exporter would make."""
    files = scene.bundle()
    return made(scene, files | {"evidence.json": scene.evidence(**changes).encode()}, refused=code)


_WITHOUT_INVOICE = {"complete.no_invoice", "unclaimed.no_copy"}

# What is as it should be.


@case
def genuine_claim(ledger: Ledger) -> Made:
    green = {
        "source.registered",
        "unaltered.same",
        "complete.counts",
        "complete.total",
        "consent.in_force",
        "unclaimed.absent",
        "coverage.covered",
        "flags.none",
    }
    return made(genuine(ledger), green=green)


@case
def fifty_records(ledger: Ledger) -> Made:
    return made(scene(ledger).stay(more=44).register().claimed().permitted().given())


@case
def corrected_before_the_claim(ledger: Ledger) -> Made:
    s = scene(ledger).stay().register()
    s.revise(s.paper("Condition"), recordedDate=instant(s.began + 3600))
    return made(s.claimed().permitted().given(), green={"unaltered.corrected"})


@case
def own_part(ledger: Ledger) -> Made:
    return made(genuine(ledger).deed("reserve", 842_280), green={"unclaimed.own"})


@case
def refunded_below_what_insurers_have(ledger: Ledger) -> Made:
    s = genuine(ledger).deed("reserve", 842_280).deed("settle", 842_280).deed("refund", 400_000)
    return made(s, red={"unclaimed.refunded"})


@case
def refunded_and_still_enough(ledger: Ledger) -> Made:
    s = genuine(ledger).deed("reserve", 442_280).deed("refund", 400_000)
    return made(s, green={"unclaimed.own"})


@case
def reservation_of_others_that_is_over(ledger: Ledger) -> Made:
    s = genuine(ledger).deed("reserve", 842_280, TAIPING, days=1)
    ledger.block(ledger.author.anchor(), at=s.now + 3 * DAY_S)
    return made(s, green={"unclaimed.absent"})


@case
def given_up_by_others(ledger: Ledger) -> Made:
    s = genuine(ledger).deed("reserve", 842_280, TAIPING).deed("release", 0, TAIPING)
    return made(s, green={"unclaimed.absent"})


@case
def paper_form(ledger: Ledger) -> Made:
    s = scene(ledger).stay().register().claimed().permitted().given()
    return made(s.asked(number="P77", differs=("number",)), green={"unclaimed.absent"})


@case
def consent_on_paper(ledger: Ledger) -> Made:
    s = scene(ledger).stay().register().claimed()
    return made(s.permitted(evidence={"attested_by": ["desk-1", "desk-2"]}).given(), green={"consent.attested"})


@case
def consent_by_a_delegate(ledger: Ledger) -> Made:
    s = scene(ledger).stay().register().claimed()
    return made(s.permitted(acting_for=seed("child")).given(), green={"consent.in_force"})


@case
def general_consent(ledger: Ledger) -> Made:
    s = scene(ledger).stay().register().claimed()
    return made(s.permitted(fhir={"resourceType": "Consent", "status": "active"}).given(), green={"consent.in_force"})


@case
def copy_that_is_the_registered_one(ledger: Ledger) -> Made:
    s = genuine(ledger)
    paper = s.paper("Condition")
    s.held = (Held(RENHE, paper.reference, 1, paper.commitment(1)),)
    return made(s, green={"unaltered.same"})


@case
def part_of_the_invoice(ledger: Ledger) -> Made:
    s = scene(ledger).stay().register()
    half = {"currency": "CNY", "value": 4211.4}
    return made(s.claimed(total=half, item=[]).permitted().given(), green={"complete.part"})


@case
def relative_references(ledger: Ledger) -> Made:
    s = scene(ledger).stay().register()
    s.claimed(diagnosis=[{"diagnosisReference": {"reference": s.paper("Condition").reference}}])
    return made(s.permitted().given())


@case
def relative_references_of_the_provider(ledger: Ledger) -> Made:
    s = scene(ledger).stay().register()
    provider = {"identifier": {"system": "https://medchain.example/fhir/id/organization", "value": RENHE}}
    cited = [{"diagnosisReference": {"reference": s.paper("Condition").reference}}]
    return made(s.claimed(provider=provider, diagnosis=cited).permitted().given())


@case
def relative_references_of_a_provider_who_does_not_keep_the_records(ledger: Ledger) -> Made:
    """Who bills is another member than who keeps the records: nothing is missing, but whose they are is not said."""
    return made(_billed_by(scene(ledger), TONGJI), amber={"source.taken"})


@case
def relative_references_of_a_provider_who_is_not_listed(ledger: Ledger) -> Made:
    return made(_billed_by(scene(ledger), "nobody-hospital"), amber={"source.taken"})


@case
def relative_reference_that_nobody_tells_of(ledger: Ledger) -> Made:
    s = _billed_by(scene(ledger), TONGJI, referral={"reference": "ServiceRequest/s9"})
    return made(s, amber={"source.taken"}, red={"source.missing"})


@case
def relative_reference_of_a_provider_who_is_not_listed_that_nobody_tells_of(ledger: Ledger) -> Made:
    s = _billed_by(scene(ledger), "nobody-hospital", referral={"reference": "ServiceRequest/s9"})
    return made(s, amber={"source.taken", "source.outside"})


def _billed_by(s: Scene, org_id: str, **changes: object) -> Scene:
    """Have a claim cite a record relatively, and name somebody else as the provider."""
    s.stay().register()
    provider = {"identifier": {"system": "https://medchain.example/fhir/id/organization", "value": org_id}}
    cited = [{"diagnosisReference": {"reference": s.paper("Condition").reference}}]
    return s.claimed(provider=provider, diagnosis=cited, **changes).permitted().given()


@case
def claim_that_does_not_say_when_it_was_made(ledger: Ledger) -> Made:
    s = scene(ledger).stay().register()
    s.claimed()
    del s.claim["created"]
    s.content = json.dumps(s.claim).encode()
    return made(s.permitted().given())


@case
def dates_without_time(ledger: Ledger) -> Made:
    """A day that names no zone can be that of the event in every zone."""
    s = scene(ledger).stay()
    s.paper("Procedure").content["performedPeriod"] = {"start": day(s.began + 3 * DAY_S)}
    return made(s.register().claimed().permitted().given())


@case
def record_that_names_no_event(ledger: Ledger) -> Made:
    s = genuine(ledger)
    paper = s.paper("Observation")
    paper.told[0] = replace(paper.told[0], event=None, entered=None)
    return made(s.disclosed(), green={"source.registered"}, amber={"flags.unknown"})


@case
def record_that_names_no_event_of_a_visit_that_is_no_stay(ledger: Ledger) -> Made:
    """Nobody is discharged from a visit: that nothing says when it was hides nothing."""
    s = scene(ledger).stay(**{"class": {"code": "AMB"}}).register().claimed().permitted().given()
    paper = s.paper("Observation")
    paper.told[0] = replace(paper.told[0], event=None, entered=None)
    return made(s.disclosed(), green={"source.registered", "flags.none"})


@case
def stay_before_there_were_events(ledger: Ledger) -> Made:
    """Of what was before 1970 no event is named: that says nothing of what was done after the discharge."""
    s = scene(ledger)
    s.began, s.ended = -20 * DAY_S, -14 * DAY_S
    s.stay()
    s.papers = [one for one in s.papers if one.role is not As.INVOICE]
    s.register()
    for paper in s.papers:
        paper.told[0] = replace(paper.told[0], event=None, entered=None)
    s.claimed().permitted().requested().accessed()
    s.facts = [Fact("emergency_accesses", {"from": 0, "to": s.made}, 0)]
    return made(s.disclosed(), green={"flags.none"}, amber=_WITHOUT_INVOICE)


@case
def mandate_of_the_law(ledger: Ledger) -> Made:
    s = scene(ledger).stay().register().claimed()
    return made(s.mandated().given(), green={"consent.mandate"})


# Several hospitals.


def beside(s: Scene, hospital: str, days: int = 20) -> Scene:
    """Have a claim be about a stay at another hospital as well, days before; its bill is not claimed."""
    other = Scene(s.ledger, f"{s.number}2", hospital=hospital)
    other.began, other.ended = s.began - days * DAY_S, s.ended - days * DAY_S
    other.stay()
    other.papers = [one for one in other.papers if one.role is not As.INVOICE]
    s.beside.append(other.register())
    return other


@case
def two_hospitals(ledger: Ledger) -> Made:
    """Each states what it states of the days of its own stay."""
    s = scene(ledger).stay().register()
    other = beside(s, TONGJI)
    s.claimed().permitted().given()
    other.permitted().requested().accessed().disclosed()
    green = {"source.registered", "complete.counts", "complete.total", "consent.in_force", "flags.none"}
    return made(s, green=green | {"coverage.covered", "unclaimed.absent", "unaltered.same"})


@case
def two_hospitals_and_relative_references(ledger: Ledger) -> Made:
    """That of the provider is its own, whoever else has one of that name; without a provider it is not said whose."""
    s = scene(ledger).stay().register()
    other = beside(s, TONGJI)
    cited = [{"diagnosisReference": {"reference": other.paper("Condition").reference}}]
    s.claimed(diagnosis=cited).permitted().given()
    other.permitted().requested().accessed().disclosed()
    return made(s, amber={"source.taken"})


@case
def two_hospitals_and_relative_references_of_the_provider(ledger: Ledger) -> Made:
    s = scene(ledger).stay().register()
    other = beside(s, TONGJI)
    provider = {"identifier": {"system": "https://medchain.example/fhir/id/organization", "value": TONGJI}}
    cited = [{"diagnosisReference": {"reference": other.paper("Condition").reference}}]
    s.claimed(diagnosis=cited, provider=provider).permitted().given()
    other.permitted().requested().accessed().disclosed()
    return made(s, green={"source.registered"})


@case
def two_hospitals_of_which_one_discloses_nothing(ledger: Ledger) -> Made:
    s = scene(ledger).stay().register()
    other = beside(s, TONGJI)
    s.claimed().permitted().given()
    other.permitted()
    return made(s, red={"source.missing"})


@case
def two_hospitals_of_which_one_has_no_consent(ledger: Ledger) -> Made:
    s = scene(ledger).stay().register()
    other = beside(s, TONGJI)
    s.claimed().permitted().given()
    other.permitted(digest=seed("another claim")).requested().accessed().disclosed()
    return made(s, red={"consent.other_claim"})


@case
def two_hospitals_of_which_one_states_the_days_of_the_other(ledger: Ledger) -> Made:
    s = scene(ledger).stay().register()
    other = beside(s, TONGJI)
    s.claimed().permitted().given()
    other.permitted().requested().accessed()
    other.facts = [Fact("overlapping_stays", {"end": day(s.ended), "start": day(s.began)}, 0)]
    other.disclosed()
    return made(s, amber={"flags.unknown"})


@case
def two_hospitals_of_which_one_signs_for_the_other(ledger: Ledger) -> Made:
    s = scene(ledger).stay().register()
    other = beside(s, TONGJI)
    s.claimed().permitted().given()
    other.permitted().requested().accessed().disclosed(pen=RENHE)
    return made(s, _unjudged(s), refused="evidence.signature")


def _newcomer(ledger: Ledger, days: int) -> Scene:
    """Have a hospital join, and a claim be about a stay there, that ended days after it joined."""
    ledger.block(ledger.author.anchor(), at=ledger.now + 30 * DAY_S)
    ledger.join(NEWCOMER)
    s = Scene(ledger, "1774778513", hospital=NEWCOMER)
    joined = ledger.now - ledger.now % DAY_S
    s.ended = joined + days * DAY_S
    s.began = s.ended - 6 * DAY_S
    ledger.block(ledger.author.anchor(), at=joined + 10 * DAY_S)
    s.stay()
    s.papers = [one for one in s.papers if one.role is not As.INVOICE]
    return s.register().claimed().permitted().requested().accessed().disclosed()


@alone
def member_that_joined_later(ledger: Ledger) -> Made:
    """Its own first version, not the beginning of the ledger, says what was before it joined."""
    return made(_newcomer(ledger, 8), green={"source.registered", "flags.none"}, amber=_WITHOUT_INVOICE)


@alone
def stay_before_the_member_joined_later(ledger: Ledger) -> Made:
    s = _newcomer(ledger, -40)
    return made(s, green={"source.before_joining", "coverage.covered"}, amber=_WITHOUT_INVOICE)


# Source.


@case
def late_entry(ledger: Ledger) -> Made:
    s = scene(ledger).stay()
    return made(s.register(at=s.ended + 40 * DAY_S).claimed().permitted().given(), amber={"source.late"})


@case
def late_entry_that_is_dated_back(ledger: Ledger) -> Made:
    s = scene(ledger).stay()
    s.register(at=s.ended + 40 * DAY_S, entered=s.ended + 60).claimed().permitted().given()
    return made(s, amber={"source.late"})


@case
def before_the_hospital_joined(ledger: Ledger) -> Made:
    s = _before(ledger)
    return made(s.register().claimed().permitted().given(), green={"source.before_joining"})


@case
def late_before_the_hospital_joined(ledger: Ledger) -> Made:
    s = _before(ledger)
    return made(s.register(entered=s.ended + 320 * DAY_S).claimed().permitted().given(), amber={"source.late"})


def _before(ledger: Ledger) -> Scene:
    s = scene(ledger)
    s.began -= 400 * DAY_S
    s.ended -= 400 * DAY_S
    return s.stay()


@case
def event_that_the_fields_contradict(ledger: Ledger) -> Made:
    s = genuine(ledger)
    report = s.paper("DiagnosticReport")
    report.told[0] = replace(report.told[0], event=Period(report.event.start + DAY_S, report.event.start + DAY_S))
    return made(s.disclosed(), red={"source.contradicted"})


@case
def event_that_is_not_named_though_the_fields_do(ledger: Ledger) -> Made:
    """What names no event cannot be late: a report of a year ago could be passed off as one of no day."""
    s = genuine(ledger)
    report = s.paper("DiagnosticReport")
    report.told[0] = replace(report.told[0], event=None)
    return made(s.disclosed(), amber={"flags.unknown"}, red={"source.contradicted"})


@case
def event_that_ends_later_than_the_fields_say(ledger: Ledger) -> Made:
    """How late a record is counts from the end of its event."""
    s = genuine(ledger)
    operation = s.paper("Procedure")
    operation.told[0] = replace(operation.told[0], event=Period(operation.event.start, s.now - 60))
    return made(s.disclosed(), red={"source.contradicted"})


@case
def date_that_is_none(ledger: Ledger) -> Made:
    s = scene(ledger).stay()
    s.paper("Procedure").content["performedPeriod"] = {"start": "in the morning"}
    return made(s.register().claimed().permitted().given(), red={"source.contradicted"})


@case
def reference_that_the_fields_contradict(ledger: Ledger) -> Made:
    s = genuine(ledger)
    rows = {one.reference: one for one in s.said.records}
    condition, procedure = s.paper("Condition").reference, s.paper("Procedure").reference
    swapped = {
        condition: replace(rows[condition], object_id=rows[procedure].object_id),
        procedure: replace(rows[procedure], object_id=rows[condition].object_id),
    }
    s.disclosed(records=tuple((rows | swapped)[one] for one in sorted(rows)))
    return made(s, red={"source.contradicted"})


@case
def versions_that_the_ledger_does_not_have(ledger: Ledger) -> Made:
    s = genuine(ledger)
    paper = s.paper("Condition")
    paper.told.append(replace(paper.told[0], number=2))
    return made(s.disclosed(), red={"source.contradicted"})


@case
def record_that_is_not_shown(ledger: Ledger) -> Made:
    s = scene(ledger).stay().register()
    s.claimed(referral={"reference": f"{OF_MEMBER}/ServiceRequest/s9"})
    return made(s.permitted().given(), red={"source.missing"})


@case
def record_of_no_member(ledger: Ledger) -> Made:
    s = scene(ledger).stay().register()
    s.claimed(referral={"reference": "https://elsewhere.example/fhir/ServiceRequest/s9"})
    return made(s.permitted().given(), amber={"source.outside"})


@alone
def record_at_an_address_that_its_hospital_had_before(ledger: Ledger) -> Made:
    """Claims live longer than addresses: what lay there is its hospital's, whatever that is called by now."""
    ledger.move(RENHE, "https://new.renhe.example")
    return made(genuine(ledger), green={"source.registered"})


@alone
def record_at_an_earlier_address_that_is_not_told_of(ledger: Ledger) -> Made:
    s = scene(ledger).stay().register()
    s.claimed(referral={"reference": f"{OF_MEMBER}/ServiceRequest/s9"})
    ledger.move(RENHE, "https://new.renhe.example")
    return made(s.permitted().given(), red={"source.missing"})


@alone
def record_at_an_address_that_another_hospital_has_taken_over(ledger: Ledger) -> Made:
    """The record would be looked for where the address leads now."""
    s = scene(ledger).stay().register()
    s.claimed(referral={"reference": f"https://{TONGJI}.example/fhir/{s.paper('Observation').reference}"})
    ledger.move(TONGJI, "https://new.tongji.example")
    ledger.move(RENHE, f"https://{RENHE}.example", f"https://{TONGJI}.example")
    return made(s.permitted().given(), green={"source.registered"})


@alone
def record_at_an_address_that_two_hospitals_had_before(ledger: Ledger) -> Made:
    """Of the last to have it."""
    s = scene(ledger).stay().register()
    s.claimed(referral={"reference": f"https://{TONGJI}.example/fhir/{s.paper('Observation').reference}"})
    ledger.move(RENHE, f"https://{RENHE}.example", f"https://{TONGJI}.example")
    ledger.move(TONGJI, "https://new.tongji.example")
    ledger.move(RENHE, f"https://{RENHE}.example")
    return made(s.permitted().given(), green={"source.registered"})


@case
def record_that_the_ledger_does_not_have(ledger: Ledger) -> Made:
    s = scene(ledger).stay().register()
    ghost = Paper(As.CITED, {"resourceType": "Observation", "id": "ghost"}, Period(s.ended, s.ended))
    ghost.object_id = ledger.fresh(16)
    s.claimed().permitted()
    ghost.told = [replace(s.papers[0].told[0], event=None)]
    s.given()
    rows = tuple(sorted((*s.said.records, ghost.row()), key=lambda one: one.reference))
    wanted = [*s.wanted(), WantedItem(ghost.key)]
    return made(s, s.disclosed(records=rows).bundle(wanted), red={"source.missing", "consent.beyond"})


@case
def nobody_is_told_as_its_author(ledger: Ledger) -> Made:
    s = genuine(ledger)
    paper = s.paper("Procedure")
    paper.told[0] = replace(paper.told[0], author=None, system=None)
    return made(s.disclosed(), amber={"source.unsigned"})


@alone
def suspended_provider(ledger: Ledger) -> Made:
    s = genuine(ledger)
    ledger.stand(RENHE, "suspended")
    return made(s, _by(s, TONGJI), red={"source.standing"})


def _by(s: Scene, org_id: str) -> dict[str, bytes]:
    """Make the bundle of a ledger on which the hospital can do nothing more."""
    return s.bundle(by=org_id)


@alone
def provider_that_was_suspended_then(ledger: Ledger) -> Made:
    s = scene(ledger).stay().register()
    ledger.stand(RENHE, "suspended")
    ledger.block(ledger.author.anchor(creator=TONGJI), at=s.now + 20 * DAY_S)
    ledger.stand(RENHE, "active")
    s.began, s.ended = s.began + 10 * DAY_S, s.ended + 10 * DAY_S
    s.papers.clear()
    s.number = "1774778512"
    return made(s.stay().register().claimed().permitted().given(), red={"coverage.standing"})


# Unaltered.


@case
def altered_after_the_claim(ledger: Ledger) -> Made:
    s = scene(ledger).stay().register().claimed()
    s.revise(s.paper("Condition"), onsetDateTime="2024-06")
    return made(s.permitted().given(), red={"unaltered.altered", "flags.altered"})


@case
def altered_field_whose_name_turns_what_is_said_around(ledger: Ledger) -> Made:
    """A hospital's names of fields may hold what reverses a line, hides in it or ends it."""
    s = scene(ledger).stay().register().claimed()
    condition = s.paper("Condition")
    s.revise(condition, **{"a\u202e.derettab ton\u2066\u200b\x1b[8m\n\u2028": 1})
    return made(s.permitted().given(), red={"unaltered.altered", "flags.altered"})


@case
def altered_after_the_disclosure(ledger: Ledger) -> Made:
    s = genuine(ledger)
    s.revise(s.paper("Condition"), onsetDateTime="2024-06")
    return made(s, red={"unaltered.altered", "flags.altered"})


@case
def alteration_of_which_the_hospital_does_not_tell(ledger: Ledger) -> Made:
    s = scene(ledger).stay().register().claimed()
    s.revise(s.paper("Condition"), onsetDateTime="2024-06")
    s.paper("Condition").told.pop()
    return made(s.permitted().given(), red={"unaltered.altered", "flags.altered"})


@case
def alteration_whose_time_is_left_out(ledger: Ledger) -> Made:
    s = scene(ledger).stay().register()
    s.revise(s.paper("Condition"), recordedDate=instant(s.began + 3600))
    s.claimed().permitted().given()
    files = s.bundle()
    files = resealed(without(files, s.paper("Condition").key, "block.json"))
    return made(s, files, amber={"source.undated"}, red={"unaltered.altered", "flags.altered"})


@case
def deleted_since(ledger: Ledger) -> Made:
    s = genuine(ledger)
    s.revise(s.paper("Procedure"), status="deleted")
    return made(s, red={"unaltered.deleted", "unaltered.altered", "flags.altered"})


@case
def copy_that_is_another(ledger: Ledger) -> Made:
    s = genuine(ledger)
    s.held = (Held(RENHE, s.paper("Condition").reference, 1, b"\7" * 32),)
    return made(s, red={"unaltered.held"})


@case
def copy_of_a_version_that_never_was(ledger: Ledger) -> Made:
    s = genuine(ledger)
    paper = s.paper("Condition")
    s.held = (Held(RENHE, paper.reference, 2, paper.commitment(1)),)
    return made(s, red={"unaltered.held"})


@case
def copy_of_what_is_not_told_of(ledger: Ledger) -> Made:
    s = genuine(ledger)
    s.held = (Held(RENHE, "Condition/other", 1, bytes(32)),)
    return made(s, amber={"unaltered.uncompared"})


@case
def copy_of_what_the_ledger_does_not_have(ledger: Ledger) -> Made:
    s = genuine(ledger)
    paper = s.paper("Condition")
    s.held = (Held(RENHE, paper.reference, 1, paper.commitment(1)),)
    return made(s, resealed(without(s.bundle(), paper.key)), red={"source.missing"}, amber={"unaltered.uncompared"})


@case
def copy_of_a_version_before_the_one_that_is_shown(ledger: Ledger) -> Made:
    """Each copy is held against the versions from the one that is shown on."""
    s = scene(ledger).stay().register()
    paper = s.paper("Condition")
    s.revise(paper, recordedDate=instant(s.began + 3600)).claimed().permitted().given()
    s.held = tuple(Held(RENHE, paper.reference, version, paper.commitment(version)) for version in (1, 2))
    return made(s, amber={"unaltered.uncompared"}, green={"unaltered.corrected"})


@case
def claim_that_is_dated_ahead(ledger: Ledger) -> Made:
    """An alteration before the claim's date came after its digest all the same."""
    s = scene(ledger).stay().register()
    s.claimed(created=s.now + 30 * DAY_S).permitted().given()
    s.revise(s.paper("Condition"), onsetDateTime="2024-06")
    s.paper("Condition").told.pop()
    return made(s, red={"unaltered.altered", "flags.altered"})


@case
def claim_and_disclosure_that_are_dated_ahead(ledger: Ledger) -> Made:
    """Insurer and hospital together: the ledger says when the claim's digest was there."""
    s = scene(ledger).stay().register()
    s.claimed(created=s.now + 30 * DAY_S).permitted(period=Period(s.now - 30, None), fhir={"resourceType": "Consent"})
    s.given()
    condition = s.paper("Condition")
    s.revise(condition, onsetDateTime="2024-06").disclosed(time=s.now + 30 * DAY_S)
    wanted = [one for one in s.wanted() if one.key != condition.key]
    wanted.insert(0, WantedItem(condition.key, 2, condition.opening(2)))
    return made(s, s.bundle(wanted), red={"unaltered.altered", "flags.altered"})


@case
def number_that_cannot_be_spelled(ledger: Ledger) -> Made:
    s = scene(ledger).stay()
    s.paper("Invoice").content["identifier"][1]["value"] = "一二三"
    return made(s.register().claimed().permitted().given(), red={"unclaimed.other_invoice"})


@case
def number_that_newer_readers_alone_could_spell(ledger: Ledger) -> Made:
    """Unicode 16 has digits that older readers do not know: to neither they are any."""
    s = scene(ledger).stay()
    s.paper("Invoice").content["identifier"][1]["value"] = f"\U0001ccf1{s.number[1:]}"
    return made(s.register().claimed().permitted().given(), red={"unclaimed.other_invoice"})


# Complete.


@case
def invoice_whose_lines_have_no_prices(ledger: Ledger) -> Made:
    s = scene(ledger).stay()
    s.paper("Invoice").content["lineItem"] = [{"sequence": 1}]
    return made(s.register().claimed().permitted().given(), green={"complete.total"}, amber={"complete.lines"})


def _lines(name: str, *amounts: object, kinds: tuple[str, ...] = ("base",)) -> None:
    """Put a case into the deck of an invoice whose lines cannot be added up."""

    def make(ledger: Ledger) -> Made:
        s = scene(ledger).stay()
        prices = [[{"type": kind, "amount": amount} for kind in kinds] for amount in amounts]
        lines = [{"sequence": 1 + at, "priceComponent": price} for at, price in enumerate(prices)]
        s.paper("Invoice").content["lineItem"] = lines
        return made(s.register().claimed().permitted().given(), green={"complete.total"}, amber={"complete.lines"})

    make.__name__ = name
    case(make)


_READ = {"currency": "CNY", "value": 8000}
_lines("invoice_without_lines")
_lines("price_of_a_line_that_is_too_fine", _READ, {"currency": "CNY", "value": 422.801})
_lines("price_of_a_line_that_is_no_number", _READ, {"currency": "CNY", "value": "422.8"})
_lines("price_of_a_line_of_another_currency", _READ, {"currency": "USD", "value": 422.8})
_lines("price_of_a_line_without_a_currency", _READ, {"value": 422.8})
_lines("two_base_prices_of_a_line", _READ, kinds=("base", "base"))
_lines("surcharge_alone_of_a_line", _READ, kinds=("surcharge",))


def _priced(name: str, price: list[tuple[str, float]], whole: str = "base", **codes: set[str]) -> None:
    """Put a case into the deck of an invoice of which a line has several price components."""

    def make(ledger: Ledger) -> Made:
        s = scene(ledger).stay()
        components = [{"type": kind, "amount": {"currency": "CNY", "value": value}} for kind, value in price]
        line = {"sequence": 1, "priceComponent": components}
        s.paper("Invoice").content |= {"lineItem": [line], "totalPriceComponent": [{"type": whole}]}
        return made(s.register().claimed().permitted().given(), **codes)

    make.__name__ = name
    case(make)


# All with a total of 8,422.80. Whether an amount is taken off or added, and whether a total is of before, none says.
_UNCLEAR = {"green": {"complete.total"}, "amber": {"complete.lines"}}
_priced("discount_of_a_line", [("base", 9000), ("discount", 577.2)], **_UNCLEAR)
_priced("tax_of_a_line", [("base", 8000), ("tax", 422.8)], **_UNCLEAR)
_priced("discount_of_the_whole_invoice", [("base", 9000)], "discount", **_UNCLEAR)
_priced("discount_beside_prices_that_make_the_total", [("base", 8422.8), ("discount", 1)], green={"complete.total"})
_priced("price_for_information", [("base", 8000), ("informational", 422.8)], red={"complete.items_differ"})


@case
def another_total_than_the_invoice(ledger: Ledger) -> Made:
    s = scene(ledger).stay().register()
    money = {"currency": "CNY", "value": 8422.81}
    return made(s.claimed(total=money, item=[{"net": money}]).permitted().given(), red={"complete.total_differs"})


@case
def total_that_cannot_be_read(ledger: Ledger) -> Made:
    """The items are what the invoice is about; what is claimed in all is not known."""
    s = scene(ledger).stay().register()
    return made(s.claimed(total={"currency": "CNY", "value": 10**30}).permitted().given(), amber={"complete.unknown"})


@case
def items_that_do_not_make_the_total(ledger: Ledger) -> Made:
    s = scene(ledger).stay().register()
    return made(
        s.claimed(item=[{"net": {"currency": "CNY", "value": 1}}]).permitted().given(), red={"complete.items_differ"}
    )


def _items(name: str, *nets: dict[str, object] | None, **codes: set[str]) -> None:
    def make(ledger: Ledger) -> Made:
        s = scene(ledger).stay().register()
        items = [{"sequence": 1 + at, **({} if net is None else {"net": net})} for at, net in enumerate(nets)]
        return made(s.claimed(item=items).permitted().given(), **codes)

    make.__name__ = name
    case(make)


_TOTAL = {"currency": "CNY", "value": 8422.8}
_MORE = {"currency": "CNY", "value": 8422.81}
_PART = {"currency": "CNY", "value": 22.8}
_REST = {"currency": "CNY", "value": 8400}
_items("items_that_make_the_total", _PART, _REST, green={"complete.total"})
_items("items_without_amounts", None, None, green={"complete.total"})
_items("item_whose_amount_cannot_be_read", _TOTAL, {"currency": "CNY", "value": 10**30}, amber={"complete.unknown"})
_items("item_whose_amount_has_no_currency", _TOTAL, {"value": 1}, amber={"complete.unknown"})
_items("item_whose_amount_is_not_given", _TOTAL, {"extension": [{"url": "x"}]}, amber={"complete.unknown"})
_items("items_of_two_currencies", _PART, {"currency": "USD", "value": 1}, amber={"complete.unknown"})
_items("items_of_another_currency", {"currency": "USD", "value": 8422.8}, red={"complete.items_differ"})
_items("items_of_which_some_have_an_amount", _PART, None, green={"complete.total"})
# What an item without a net is, is not known: it may be taken off. Synthea's claims are like that.
_items("items_of_which_some_come_to_more_than_the_total", _MORE, None, green={"complete.total"})
_items("items_that_come_to_more_than_the_total", _TOTAL, _PART, red={"complete.items_differ"})
_items("some_items_of_another_currency", {"currency": "USD", "value": 1}, None, red={"complete.items_differ"})


@case
def invoice_whose_lines_do_not_make_its_total(ledger: Ledger) -> Made:
    s = scene(ledger).stay()
    s.paper("Invoice").content["totalGross"] = {"currency": "CNY", "value": 9000}
    s.total = 900_000
    return made(s.register().claimed().permitted().given(), red={"complete.items_differ"})


@case
def more_records_than_are_shown(ledger: Ledger) -> Made:
    s = genuine(ledger)
    s.facts = [Fact("record_count", {"encounter": s.paper("Encounter").reference, "type": "Observation"}, 14)]
    return made(s.disclosed(), green={"complete.others"})


@case
def nobody_says_how_many_there_are(ledger: Ledger) -> Made:
    s = genuine(ledger)
    s.facts = [Fact("record_count", {"encounter": s.paper("Encounter").reference, "type": "Observation"}, None)]
    return made(s.disclosed(), amber={"complete.unknown"})


@case
def claim_that_cites_nothing(ledger: Ledger) -> Made:
    s = scene(ledger).stay().register()
    s.claimed(diagnosis=[], procedure=[], supportingInfo=[], item=[], total=None)
    return made(s.permitted().given(), amber={"complete.nothing_cited", "complete.unknown"})


# Consent.


@case
def no_consent(ledger: Ledger) -> Made:
    s = scene(ledger).stay().register().claimed().asked()
    amber = {"unaltered.none", "complete.unknown", "complete.no_invoice", "flags.unknown"}
    # Nothing is shown of the records: the items prove that they are there, and nobody says what they are.
    return made(s, s.bundle(s.wanted()[-1:]), amber=amber, red={"consent.none", "source.missing"})


@case
def revoked_one_second_before_the_release(ledger: Ledger) -> Made:
    s = scene(ledger).stay().register().claimed().permitted().requested().accessed()
    stopped = ledger.stop(s.consent_key, s.consent.stop)
    return made(s.disclosed(time=stopped + 1).asked(), red={"consent.not_in_force"})


@case
def revoked_and_not_said_when(ledger: Ledger) -> Made:
    s = genuine(ledger)
    ledger.stop(s.consent_key, s.consent.stop)
    files = resealed(without(s.bundle(), s.consent_key, "newest.json"))
    return made(s, files, red={"consent.not_in_force"})


@case
def revoked_since(ledger: Ledger) -> Made:
    s = genuine(ledger)
    ledger.stop(s.consent_key, s.consent.stop)
    return made(s, amber={"consent.ended"})


@case
def over_since(ledger: Ledger) -> Made:
    s = genuine(ledger)
    ledger.block(ledger.author.anchor(), at=s.now + 25 * DAY_S)
    return made(s, amber={"consent.ended"})


@case
def over_since_within_its_last_day(ledger: Ledger) -> Made:
    s = scene(ledger).stay().register().claimed()
    s.permitted(period=Period(s.now - 30, s.now + 60)).given()
    return made(s, s.bundle(at=s.now + 100), amber={"consent.ended"})


@case
def over_before_the_release(ledger: Ledger) -> Made:
    s = scene(ledger).stay().register().claimed()
    s.permitted(period=Period(s.now - 30, s.now + 4)).requested().accessed()
    return made(s.disclosed(time=s.now + 60).asked(), red={"consent.not_in_force"})


@case
def not_begun_at_the_release(ledger: Ledger) -> Made:
    s = scene(ledger).stay().register().claimed()
    return made(s.permitted(period=Period(s.now + 900, s.now + DAY_S)).given(), red={"consent.not_in_force"})


@case
def consent_for_another_claim(ledger: Ledger) -> Made:
    s = scene(ledger).stay().register().claimed()
    return made(s.permitted(digest=seed("another claim")).given(), red={"consent.other_claim"})


@case
def consent_to_another_insurer(ledger: Ledger) -> Made:
    s = scene(ledger).stay().register().claimed()
    return made(s.permitted(recipient=TAIPING).given(), red={"consent.none"})


@case
def consent_for_another_purpose(ledger: Ledger) -> Made:
    s = scene(ledger).stay().register().claimed()
    return made(s.permitted(purpose="TREAT", fhir={"resourceType": "Consent"}).given(), red={"consent.none"})


@case
def consent_that_does_not_name_a_record(ledger: Ledger) -> Made:
    s = scene(ledger).stay().register().claimed()
    late = Paper(As.CITED, {"resourceType": "Observation", "id": "beyond"}, Period(s.ended, s.ended))
    s.permitted()
    s.papers.append(late)
    return made(s.register(late).given(), red={"consent.beyond"})


@case
def consent_to_other_types(ledger: Ledger) -> Made:
    s = scene(ledger).stay().register().claimed()
    general = {"resourceType": "Consent", "status": "active"}
    return made(s.permitted(fhir=general, resource_types=("Condition",)).given(), red={"consent.beyond"})


@case
def access_that_is_left_out(ledger: Ledger) -> Made:
    s = genuine(ledger)
    files = s.bundle()
    return made(s, resealed(without(files, access_key(s.grant_key, RENHE))), red={"consent.none"})


@case
def consent_that_is_left_out(ledger: Ledger) -> Made:
    s = genuine(ledger)
    return made(s, resealed(without(s.bundle(), s.consent_key)), amber={"consent.unshown"})


@case
def consent_of_another_version(ledger: Ledger) -> Made:
    """What the newest version says is not what the access stood on."""
    s = genuine(ledger)
    ledger.stop(s.consent_key, s.consent.stop)
    body = s.bodies[s.consent_key, 1]
    wanted = [one for one in s.wanted() if one.key != s.consent_key]
    return made(s, s.bundle([*wanted, WantedItem(s.consent_key, 2, body_opening(body))]), amber={"consent.ended"})


@case
def consent_that_hides_for_whom_it_is(ledger: Ledger) -> Made:
    s = genuine(ledger)
    s.bodies[s.consent_key, 1] = s.bodies[s.consent_key, 1].redact(["period"])
    return made(s, amber={"consent.unshown"})


@case
def consent_for_another_claim_that_hides_it(ledger: Ledger) -> Made:
    """Without what it permits it would look like a consent for all claims."""
    s = scene(ledger).stay().register().claimed().permitted(digest=seed("another claim")).given()
    body = s.bodies[s.consent_key, 1]
    s.bodies[s.consent_key, 1] = body.redact([one for one in body.content if one != "fhir"], keep_evidence=True)
    return made(s, amber={"consent.unshown"})


@case
def grant_that_hides_of_which_types_it_is(ledger: Ledger) -> Made:
    s = genuine(ledger)
    body = s.bodies[s.grant_key, 1]
    s.bodies[s.grant_key, 1] = body.redact([one for one in body.content if one != "resource_types"])
    return made(s, amber={"consent.unshown"})


@case
def consent_whose_signature_is_hidden(ledger: Ledger) -> Made:
    s = genuine(ledger)
    body = s.bodies[s.consent_key, 1]
    s.bodies[s.consent_key, 1] = body.redact(list(body.content))
    return made(s, green={"consent.in_force"})


@case
def claim_of_which_the_head_is_not_shown(ledger: Ledger) -> Made:
    s = genuine(ledger).deed("reserve", 842_280)
    s.bodies = {name: body for name, body in s.bodies.items() if name[0] != s.claim_key}
    return made(s, red={"unclaimed.claimed"})


@case
def what_the_consent_says_is_left_out(ledger: Ledger) -> Made:
    s = genuine(ledger)
    return made(s, resealed(without(s.bundle(), s.consent_key, "opening.json")), amber={"consent.unshown"})


# Not claimed elsewhere.


@case
def claimed_elsewhere(ledger: Ledger) -> Made:
    return made(genuine(ledger).deed("reserve", 842_280, TAIPING), red={"unclaimed.claimed"})


@case
def claimed_elsewhere_and_left_out(ledger: Ledger) -> Made:
    s = genuine(ledger).deed("reserve", 842_280, TAIPING)
    return made(s, resealed(without(s.bundle(), s.claim_key)), red={"unclaimed.missing"})


@case
def claimed_by_this_insurer_for_another_claim(ledger: Ledger) -> Made:
    return made(genuine(ledger).deed("reserve", 842_280, claim=seed("another")), red={"unclaimed.claimed"})


@case
def part_that_others_followed(ledger: Ledger) -> Made:
    s = genuine(ledger).deed("reserve", 400_000).deed("reserve", 400_000, TAIPING)
    return made(s, amber={"unclaimed.own_before"})


@case
def enough_is_left(ledger: Ledger) -> Made:
    half = {"currency": "CNY", "value": 4211.4}
    s = scene(ledger).stay().register().claimed(total=half, item=[]).permitted().given()
    s.deed("reserve", 100_000, TAIPING).deed("reserve", 50_000).deed("release")
    return made(s, amber={"unclaimed.enough"})


@case
def too_little_is_left(ledger: Ledger) -> Made:
    s = genuine(ledger).deed("reserve", 100_000, TAIPING).deed("reserve", 50_000).deed("release")
    return made(s, red={"unclaimed.claimed"})


@case
def reversed_invoice(ledger: Ledger) -> Made:
    return made(genuine(ledger).deed("reverse"), red={"unclaimed.reversed"})


@case
def cancelled_invoice(ledger: Ledger) -> Made:
    return made(genuine(ledger).asked(differs=("status",)), red={"unclaimed.reversed"})


@case
def unknown_invoice(ledger: Ledger) -> Made:
    return made(genuine(ledger).asked(Unanswered.UNKNOWN), red={"unclaimed.unknown"})


def _unasked(state: Asked, code: str) -> None:
    def make(ledger: Ledger) -> Made:
        s = genuine(ledger)
        s.question = Questioned(state, RENHE if state is Asked.UNREACHABLE else None)
        return made(s, amber={code})

    make.__name__ = f"question_{state.value}"
    case(make)


for _state, _code in (
    (Asked.NONE, "no_copy"),
    *((one, one.value) for one in (Asked.INACTIVE, Asked.OUTSIDE, Asked.REFUSED, Asked.STOPPED, Asked.UNREACHABLE)),
):
    _unasked(_state, f"unclaimed.{_code}")


@case
def question_about_another_invoice(ledger: Ledger) -> Made:
    """The insurer shows the answer about an invoice that nobody claims, in the place of one that is claimed."""
    s, other = genuine(ledger).deed("reserve", 842_280, TAIPING), genuine(ledger)
    return replace(_about_another(s, other), red=frozenset({"unclaimed.other_invoice"}))


@case
def second_token_for_one_invoice(ledger: Ledger) -> Made:
    """The hospital answers with the id of another number, and calls the insurer's copy one on paper."""
    s = genuine(ledger)
    s.deed("reserve", 842_280, TAIPING)
    other = Scene(ledger, f"9{s.number}")
    other.ended = s.ended
    known = Known(other.invoice, other.claim_id, other.bill.key, other.bill.proof, ("number",))
    s.asked(known)
    wanted = [one for one in s.wanted() if one.key != s.claim_key] + [WantedItem(other.claim_key)]
    return made(s, s.bundle(wanted), red={"unclaimed.other_invoice"})


def _about_another(s: Scene, other: Scene) -> Made:
    """Show the answer about another invoice that nobody claims; the hospital's own is claimed."""
    s.row, s.question = other.row, other.question
    s.bodies |= other.bodies
    wanted = [one for one in s.wanted() if one.key != s.claim_key] + [WantedItem(other.claim_key)]
    return made(s, s.bundle(wanted))


def _opened(name: str, hidden: str) -> None:
    def make(ledger: Ledger) -> Made:
        s, other = genuine(ledger).deed("reserve", 842_280, TAIPING), genuine(ledger)
        s.paper("Invoice").opened = tuple(one for one in OF_INVOICE if not one.startswith(hidden))
        return replace(_about_another(s, other), amber=frozenset({"unclaimed.unshown"}))

    make.__name__ = name
    case(make)


_opened("question_about_another_invoice_and_the_number_is_hidden", "/identifier")


@case
def invoice_that_hides_that_it_was_cancelled(ledger: Ledger) -> Made:
    s = scene(ledger).stay()
    s.paper("Invoice").content["status"] = "cancelled"
    s.register().claimed().permitted().given()
    s.paper("Invoice").opened = tuple(one for one in OF_INVOICE if one != "/status")
    return made(s, amber={"unclaimed.unshown"})


@case
def invoice_of_which_nothing_is_opened(ledger: Ledger) -> Made:
    s = genuine(ledger)
    return made(
        s,
        resealed(without(s.bundle(), s.paper("Invoice").key, "opening.json")),
        amber={"complete.no_invoice", "unclaimed.unshown"},
    )


@case
def question_to_another_hospital(ledger: Ledger) -> Made:
    """The invoice of the hospital that discloses is claimed; another hospital is asked about one that is not."""
    s = genuine(ledger).deed("reserve", 842_280, TAIPING)
    asked = s.question.signed.request
    row = replace(s.row, issuer=ISSUER_OF_OTHER)
    invoice = replace(s.invoice, issuer=ISSUER_OF_OTHER)
    pen = vrf_key(TONGJI)
    proof = pen.prove(invoice.alpha)
    known = Known(invoice, claim_id(vrf_output(proof)), pen.public, proof, ())
    signed = sign_request(Es384Signer(seed(ANXIN, "authentication", 1)), replace(asked, hospital=TONGJI, rows=(row,)))
    s.row, s.question = row, Questioned(Asked.KNOWN, TONGJI, signed, known)
    wanted = [one for one in s.wanted() if one.key != s.claim_key]
    wanted.append(WantedItem(map_key("claim", TONGJI, known.claim_id)))
    return made(s, s.bundle(wanted), red={"unclaimed.other_invoice"})


@case
def line_of_the_invoice(ledger: Ledger) -> Made:
    s = genuine(ledger)
    item = replace(s.invoice, scope=Scope.ITEM, line=1)
    pen = vrf_key(RENHE)
    proof = pen.prove(item.alpha)
    known = Known(item, claim_id(vrf_output(proof)), pen.public, proof, ())
    s.asked(known, scope=Scope.ITEM, line=1)
    wanted = [one for one in s.wanted() if one.key != s.claim_key]
    wanted.append(WantedItem(map_key("claim", RENHE, known.claim_id)))
    return made(s, s.bundle(wanted), amber={"unclaimed.line"})


@case
def invoice_of_which_a_line_is_claimed(ledger: Ledger) -> Made:
    s = genuine(ledger)
    s.asked(replace(s.question.answer, is_apart=True))
    return made(s, red={"unclaimed.apart"})


@case
def invoice_of_which_this_insurer_has_a_part_and_another_a_line(ledger: Ledger) -> Made:
    """The hospital has let both happen, and says so."""
    s = genuine(ledger).deed("reserve", 842_280)
    s.asked(replace(s.question.answer, is_apart=True))
    return made(s, red={"unclaimed.apart"})


@case
def cancelled_invoice_of_which_the_answer_does_not_tell(ledger: Ledger) -> Made:
    s = scene(ledger).stay()
    s.paper("Invoice").content["status"] = "cancelled"
    return made(s.register().claimed().permitted().given(), red={"unclaimed.reversed"})


# Coverage.


def _covered(name: str, code: str, policy: Callable[[Scene], InsurancePolicy | None], colour: str = "red") -> None:
    def make(ledger: Ledger) -> Made:
        s = genuine(ledger)
        s.policy = policy(s)
        return made(s, **{colour: {code}})

    make.__name__ = name
    case(make)


_covered("waiting_period", "coverage.waiting", lambda s: InsurancePolicy(day(s.began - 29 * DAY_S), None, 30))
_covered(
    "last_waiting_day_is_over",
    "coverage.covered",
    lambda s: InsurancePolicy(day(s.began - 30 * DAY_S), None, 30),
    "green",
)
_covered("before_the_policy", "coverage.before", lambda s: InsurancePolicy(day(s.ended), None, 0))
_covered("after_the_policy", "coverage.after", lambda s: InsurancePolicy(None, day(s.began), 0))
_covered("last_day_of_the_policy", "coverage.covered", lambda s: InsurancePolicy(None, day(s.ended), 0), "green")
_covered("no_policy", "coverage.unknown", lambda _: None, "amber")


_covered("end_of_the_calendar", "coverage.before", lambda _: InsurancePolicy("9999-12-31", None, 30))


def _billed(name: str, days: int, **codes: set[str]) -> None:
    """Bill an item of some days after the stay, with a policy that ends with it."""

    def make(ledger: Ledger) -> Made:
        s = scene(ledger).stay().register()
        s.claimed()
        item = s.claim["item"][0]
        s.claimed(item=[item | {"servicedDate": day(s.ended + days * DAY_S)}]).permitted().given()
        s.policy = replace(s.policy, end=day(s.ended))
        return made(s, **codes)

    make.__name__ = name
    case(make)


_billed("item_of_a_day_of_the_stay", -1, green={"coverage.covered", "flags.none"})
_billed("item_of_a_day_after_the_policy", 9, red={"coverage.after"})
_billed("item_of_a_day_within_the_waiting_days", -395, red={"coverage.waiting"})
_billed("item_of_a_day_before_the_policy", -420, red={"coverage.before"})


@case
def no_day_of_a_service(ledger: Ledger) -> Made:
    s = scene(ledger).stay()
    s.paper("Encounter").opened = ("/class",)
    s.register().claimed(billablePeriod={}).permitted().given()
    return made(s, amber={"coverage.unknown", "flags.unknown"})


@case
def stay_that_is_hidden_behind_days_of_the_claim(ledger: Ledger) -> Made:
    """The stay was after the policy; the claim says otherwise, and of the encounter its period is left out."""
    s = scene(ledger).stay().register()
    before = day(s.began - 30 * DAY_S)
    s.claimed(billablePeriod={"start": before, "end": before}).permitted().given()
    s.policy = replace(s.policy, end=before)
    s.paper("Encounter").opened = ("/class",)
    # What the hospital states is of the stay's days, not of those that the claim names.
    return made(s, amber={"coverage.unknown", "flags.unknown"})


@alone
def standing_of_then_that_is_not_shown(ledger: Ledger) -> Made:
    ledger.stand(RENHE, "suspended")
    ledger.stand(RENHE, "active")
    s = genuine(ledger)
    files = s.bundle()
    askers = parse_canonical(files["askers.json"], max_bytes=1 << 22)
    for row in askers["askers"]:
        row["blocks"] = [None for _ in row["blocks"]]
    files = resealed(files | {"askers.json": canonical(askers)})
    return made(s, files, amber={"coverage.unknown"})


# Red flags.


def _flag(name: str, codes: Mapping[str, set[str]], *facts: Callable[[Scene], Fact]) -> None:
    def make(ledger: Ledger) -> Made:
        s = genuine(ledger)
        s.facts = [fact(s) for fact in facts]
        return made(s.disclosed(), **codes)

    make.__name__ = name
    case(make)


def _days(name: str, value: int | None, before: int = 0, after: int = 0) -> Callable[[Scene], Fact]:
    """State something of the days of the stay, and of some before and after them."""
    return lambda s: Fact(name, {"end": day(s.ended + after * DAY_S), "start": day(s.began - before * DAY_S)}, value)


def _stay(value: int | None, **days: int) -> Callable[[Scene], Fact]:
    return _days("overlapping_stays", value, **days)


def _emergency(name: str, value: int, before_s: int = 0, after_s: int = 0) -> Callable[[Scene], Fact]:
    """State something of the time up to the claim, and of some before and after it."""
    return lambda s: Fact(name, {"from": s.window()["from"] - before_s, "to": s.window()["to"] + after_s}, value)


def _credential(value: str) -> Callable[[Scene], Fact]:
    return lambda s: Fact("credential", {"day": day(s.ended), "reference": s.paper("Procedure").reference}, value)


def _alive(value: bool | None, days: int = 0) -> Callable[[Scene], Fact]:
    """State whether the patient lived, days after the stay ended."""
    return lambda s: Fact("alive_on", {"day": day(s.ended + days * DAY_S)}, value)


_UNKNOWN = {"amber": {"flags.unknown"}}
_NONE = {"green": {"flags.none"}}

_flag("overlapping_stays", {"amber": {"flags.overlap"}}, _stay(1))
_flag("overlapping_stays_of_more_days", {"amber": {"flags.overlap"}}, _stay(1, before=9, after=9))
_flag("stays_that_are_not_told", _UNKNOWN, _stay(None))
_flag("stays_of_days_that_begin_later", _UNKNOWN, _stay(0, before=-1))
_flag("stays_of_days_that_end_earlier", _UNKNOWN, _stay(0, after=-1))
_flag("stays_of_another_month", _UNKNOWN, _stay(3, before=60, after=-30))
_flag("stays_of_what_is_no_day", _UNKNOWN, lambda _: Fact("overlapping_stays", {"end": "9", "start": "0"}, 0))
_flag("after_death", {"red": {"flags.after_death"}}, _alive(value=False))
_flag("death_that_is_not_told", _UNKNOWN, _alive(value=None))
_flag("life_of_an_earlier_day", _UNKNOWN, _alive(value=True, days=-2))
_flag("life_of_what_is_no_day", _UNKNOWN, lambda _: Fact("alive_on", {"day": "9999"}, value=True))
_flag("discharged_on_the_day_after_the_last_one_alive", _NONE, _alive(value=True, days=-1))
_flag("dead_since", _UNKNOWN, _alive(value=False, days=1))
_flag(
    "emergency_access",
    {"amber": {"flags.emergency"}},
    _emergency("emergency_accesses", 1),
    _emergency("last_emergency_access", 1_800_000_000),
)
_flag(
    "emergency_access_of_a_longer_time_before", {"amber": {"flags.emergency"}}, _emergency("emergency_accesses", 1, 9)
)
_flag("emergency_accesses_of_a_time_that_begins_later", _UNKNOWN, _emergency("emergency_accesses", 0, -1))
_flag("emergency_accesses_of_a_time_before_the_claim", _UNKNOWN, _emergency("emergency_accesses", 0, 0, -DAY_S - 1))
_flag("revoked_credential", {"red": {"flags.credential"}}, _credential("revoked"))
_flag("valid_credential", _NONE, _credential("valid"))


def _later(ledger: Ledger) -> Scene:
    """Have the hospital asked forty days after the claim."""
    s = scene(ledger).stay().register().claimed()
    ledger.block(ledger.author.anchor(), at=s.now + 40 * DAY_S)
    return s.permitted().given()


@case
def asked_long_after_the_claim(ledger: Ledger) -> Made:
    """What is told of emergencies ends with the claim."""
    s = _later(ledger)
    assert s.window()["to"] == s.made < s.now - 39 * DAY_S
    return made(s, green={"flags.none"})


@case
def emergency_access_long_after_the_claim(ledger: Ledger) -> Made:
    """A hospital that counts until it is asked says nothing of the time before the claim."""
    s = _later(ledger)
    window = {"from": s.window()["from"], "to": s.now}
    s.facts = [Fact("emergency_accesses", window, 1), Fact("last_emergency_access", window, s.now - 60)]
    return made(s.disclosed(), amber={"flags.unknown"})


@case
def emergency_access_before_a_claim_that_does_not_say_when_it_was_made(ledger: Ledger) -> Made:
    s = scene(ledger).stay().register().claimed()
    del s.claim["created"]
    s.content = json.dumps(s.claim).encode()
    s.permitted().given()
    s.facts = [_emergency("emergency_accesses", 2)(s)]
    return made(s.disclosed(), amber={"flags.emergency"})


@case
def services_after_death_that_only_the_claim_names(ledger: Ledger) -> Made:
    s = scene(ledger).stay().register()
    period = {"start": instant(s.began), "end": instant(s.ended + 3 * DAY_S)}
    s.claimed(billablePeriod=period).permitted().given()
    s.facts = [_alive(value=False, days=2)(s)]
    return made(s.disclosed(), red={"flags.after_death"})


@case
def death_after_the_stay_of_a_claim_that_names_no_days(ledger: Ledger) -> Made:
    """Who died after the services was treated alive, whatever the claim leaves out."""
    s = scene(ledger).stay().register().claimed(billablePeriod={}).permitted().given()
    s.facts = [_alive(value=False, days=1)(s)]
    return made(s.disclosed(), amber={"flags.unknown"})


@case
def death_that_is_certified_after_the_stay(ledger: Ledger) -> Made:
    s = scene(ledger).stay()
    later = s.ended + 6 * 3600
    s.papers.append(_certificate(s, Period(later, later + 900), "308646001"))
    s.register(at=later + DAY_S).claimed().permitted().given()
    s.facts = [_stay(0, after=1)(s), _alive(value=True, days=-1)(s)]
    return made(s.disclosed(), green={"flags.none"})


@case
def visit_after_the_last_day_alive(ledger: Ledger) -> Made:
    """A visit of another kind is a service to somebody who lives."""
    s = scene(ledger).stay()
    later = s.ended + DAY_S
    s.papers.append(_certificate(s, Period(later, later + 900), "185349003"))
    s.register(at=later + DAY_S).claimed().permitted().given()
    s.facts = [_stay(0, after=1)(s), _alive(value=True, days=-1)(s)]
    return made(s.disclosed(), amber={"flags.unknown"})


def _certificate(s: Scene, event: Period, code: str) -> Paper:
    """Write a visit of a kind."""
    content = {
        "resourceType": "Encounter",
        "id": f"v{s.number}",
        "class": {"code": "AMB"},
        "period": {"start": instant(event.start), "end": instant(event.end)},
        "type": [{"coding": [{"code": code}]}],
    }
    return Paper(As.ENCOUNTER, content, event, ("/class", "/period", "/type"))


@case
def after_discharge(ledger: Ledger) -> Made:
    s = scene(ledger).stay()
    late = s.ended + 2 * DAY_S
    paper = Paper(As.CITED, {"resourceType": "Observation", "id": "late"}, Period(late, late))
    s.papers.append(paper)
    return made(s.register(at=late + 600).claimed().permitted().given(), amber={"flags.after_discharge"})


@case
def stay_that_goes_on(ledger: Ledger) -> Made:
    s = scene(ledger).stay()
    s.paper("Encounter").content["period"] = {"start": instant(s.began)}
    s.paper("Encounter").event = Period(s.began, None)
    return made(s.register().claimed().permitted().given(), green={"flags.none"})


def _left_out(name: str, *opened: str) -> None:
    def make(ledger: Ledger) -> Made:
        s = genuine(ledger)
        s.paper("Encounter").opened = opened
        return made(s, amber={"flags.unknown"})

    make.__name__ = name
    case(make)


_left_out("class_that_is_left_out", "/period")
_left_out("end_of_a_stay_that_is_left_out", "/class", "/period/start")


@case
def class_that_is_left_out_where_nothing_was_done(ledger: Ledger) -> Made:
    """What says nothing of the patient's being there cannot have been after a discharge."""
    s = scene(ledger).stay()
    done = ("DiagnosticReport", "Observation", "Procedure")
    s.papers = [one for one in s.papers if one.content["resourceType"] not in done]
    s.register().claimed().permitted().given()
    s.paper("Encounter").opened = ("/period",)
    return made(s, green={"flags.none"})


@case
def class_that_is_left_out_beside_a_visit(ledger: Ledger) -> Made:
    s = scene(ledger).stay()
    s.papers.append(_certificate(s, Period(s.began, s.began + 900), "185349003"))
    s.register().claimed().permitted().given()
    s.paper("Encounter").opened = ("/period",)
    return made(s, green={"flags.none"})


@case
def after_a_visit(ledger: Ledger) -> Made:
    """Of visits that are no stays it is everyday that something is done later."""
    s = scene(ledger).stay()
    s.paper("Encounter").content["class"] = {"code": "AMB"}
    late = s.ended + 2 * DAY_S
    s.papers.append(Paper(As.CITED, {"resourceType": "Observation", "id": "late"}, Period(late, late)))
    return made(s.register(at=late + 600).claimed().permitted().given(), green={"flags.none"})


@case
def clock_that_is_fast(ledger: Ledger) -> Made:
    s = scene(ledger).stay()
    return made(s.register(entered=s.now + 2 * DAY_S).claimed().permitted().given(), amber={"flags.clock"})


def _inactive(status: str) -> None:
    def make(ledger: Ledger) -> Made:
        s = scene(ledger).stay().register().claimed(status=status).permitted().given()
        return made(s, amber={"flags.inactive"})

    make.__name__ = f"claim_that_is_{status.replace('-', '_')}"
    case(make)


for _status in ("cancelled", "draft", "entered-in-error"):
    _inactive(_status)


@case
def other_amount_of_which_the_answer_does_not_tell(ledger: Ledger) -> Made:
    return made(genuine(ledger).asked(amount="9000.00"), red={"flags.other_amount"})


@case
def other_amount_on_the_copy(ledger: Ledger) -> Made:
    return made(genuine(ledger).asked(amount="9000.00", differs=("amount",)), red={"flags.other_amount"})


# What must be refused.


@case
def disclosure_signed_by_another(ledger: Ledger) -> Made:
    s = genuine(ledger)
    lie = sign_disclosure(Es384Signer(seed(TONGJI, "authentication", 1)), s.said)
    return forged(s, "evidence.signature", disclosures=(lie,))


@case
def disclosure_that_was_changed(ledger: Ledger) -> Made:
    s = genuine(ledger)
    lie = replace(s.signed, disclosure=replace(s.said, facts=()))
    return forged(s, "evidence.signature", disclosures=(lie,))


def _lie(name: str, code: str, **changes: object) -> None:
    def make(ledger: Ledger) -> Made:
        s = genuine(ledger)
        lie = sign_disclosure(Es384Signer(seed(RENHE, "authentication", 1)), replace(s.said, **changes))
        return forged(s, code, disclosures=(lie,))

    make.__name__ = name
    case(make)


_lie("disclosure_for_another_claim", "evidence.claim", claim=seed("another claim"))
_lie("disclosure_for_another_insurer", "evidence.claim", insurer=TAIPING)
_lie("disclosure_of_another_ledger", "evidence.claim", ledger=seed("another ledger"))
_lie("disclosure_of_another_request", "evidence.access", request=seed("another request"))


def _named(name: str, *fields: str) -> None:
    def make(ledger: Ledger) -> Made:
        s = scene(ledger).stay().register()
        condition = s.paper("Condition")
        s.revise(condition, recordedDate=instant(s.began + 3600)).claimed().permitted().given()
        condition.told[1] = replace(condition.told[1], changed=fields)
        s.disclosed()
        return made(s, _unjudged(s), refused="disclosure.malformed")

    make.__name__ = name
    case(make)


_named("name_of_a_changed_field_that_is_too_long", "/" + "一" * 86)
_named("names_of_changed_fields_that_are_too_many", *(f"/{at:03}" for at in range(201)))


@case
def claim_that_was_changed(ledger: Ledger) -> Made:
    s = genuine(ledger)
    return forged(s, "evidence.claim", content=s.content.replace(b"8422.8", b"8422.80"))


def _asked(name: str, **changes: object) -> None:
    def make(ledger: Ledger) -> Made:
        s = genuine(ledger)
        files = s.bundle()
        s.requested(**changes).accessed().disclosed()
        return made(s, files | _unjudged(s), refused="evidence.request")

    make.__name__ = name
    case(make)


def _unjudged(s: Scene) -> dict[str, bytes]:
    """Make the files of a bundle that no exporter makes, since what is signed in it does not hold."""
    evidence, scenes = s.evidence().encode(), [s, *s.beside]
    signed = [one.signed for one in scenes]
    for one in scenes:
        one.signed = None
    files = s.bundle()
    for one, kept in zip(scenes, signed, strict=True):
        one.signed = kept
    return files | {"evidence.json": evidence}


_asked("request_that_another_signed", pen=TAIPING)
_asked("request_for_another_claim", digest=seed("another claim"))


@case
def request_for_whole_records(ledger: Ledger) -> Made:
    s = genuine(ledger)
    s.requested(claim=None).accessed().disclosed()
    return made(s, _unjudged(s), refused="evidence.request")


@case
def question_that_was_exchanged(ledger: Ledger) -> Made:
    s, other = genuine(ledger), genuine(ledger)
    return forged(s, "evidence.question", question=other.question)


@case
def question_that_the_insurer_did_not_sign(ledger: Ledger) -> Made:
    s = genuine(ledger)
    signed = replace(s.question.signed, signature=bytes(96))
    return forged(s, "evidence.question", question=replace(s.question, signed=signed))


def _known(name: str, code: str, change: Callable[[Scene, Known], Known]) -> None:
    def make(ledger: Ledger) -> Made:
        s = genuine(ledger)
        return forged(s, code, question=replace(s.question, answer=change(s, s.question.answer)))

    make.__name__ = name
    case(make)


_known("id_that_does_not_follow", "claim.id", lambda _, known: replace(known, claim_id=bytes(16)))
_known("key_that_is_not_the_hospitals", "claim.key", lambda _, known: replace(known, key=vrf_key(TONGJI).public))
_known("proof_of_another_invoice", "vrf.proof", lambda s, known: replace(known, proof=vrf_key(RENHE).prove(s.content)))
_known(
    "second_token_that_is_not_said",
    "claim.invoice",
    lambda s, known: replace(known, invoice=replace(known.invoice, number=f"9{s.number}")),
)
_known(
    "invoice_of_another_issuer",
    "claim.invoice",
    lambda _, known: replace(known, invoice=replace(known.invoice, issuer="TJ01")),
)
_known(
    "line_in_the_place_of_the_invoice",
    "claim.invoice",
    lambda _, known: replace(known, invoice=replace(known.invoice, scope=Scope.ITEM, line=1)),
)


@case
def member_that_is_not_listed(ledger: Ledger) -> Made:
    s = genuine(ledger)
    files = s.bundle()
    askers = parse_canonical(files["askers.json"], max_bytes=1 << 22)
    askers["askers"].pop()
    return made(s, files | {"askers.json": canonical(askers)}, refused="evidence.member")


@case
def verdict_that_was_changed(ledger: Ledger) -> Made:
    s = genuine(ledger).deed("reserve", 842_280, TAIPING)
    files = s.bundle()
    good = genuine(ledger).bundle()[VERDICT_FILE]
    return made(s, files | {VERDICT_FILE: good}, refused="bundle.verdict")


@case
def verdict_of_rules_that_are_not_known(ledger: Ledger) -> Made:
    s = genuine(ledger)
    files = s.bundle()
    other = files[VERDICT_FILE].replace(b"medchain/claim-verdict/v1", b"medchain/claim-verdict/v12")
    return made(s, files | {VERDICT_FILE: other}, refused="bundle.rules")


@case
def verdict_of_rules_without_a_number(ledger: Ledger) -> Made:
    s = genuine(ledger)
    files = s.bundle()
    other = files[VERDICT_FILE].replace(b"medchain/claim-verdict/v1", b"medchain/claim-verdict/v0")
    return made(s, files | {VERDICT_FILE: other}, refused="bundle.verdict")


@case
def verdict_that_is_empty(ledger: Ledger) -> Made:
    s = genuine(ledger)
    return made(s, s.bundle() | {VERDICT_FILE: b""}, refused="bundle.verdict")


@case
def item_that_was_dropped(ledger: Ledger) -> Made:
    s = genuine(ledger)
    files = without(s.bundle(), s.paper("Condition").key)
    kept = {name: content for name, content in files.items() if not name.startswith("items/")}
    return made(s, kept | dict(write_items(numbered(files))), refused="bundle.verdict")


@case
def item_that_was_dropped_and_judged_anew(ledger: Ledger) -> Made:
    s = genuine(ledger)
    return made(s, resealed(without(s.bundle(), s.paper("Condition").key)), red={"source.missing"})


@case
def items_that_were_swapped(ledger: Ledger) -> Made:
    """Order matters for the numbers that findings name, and for nothing else."""
    s = genuine(ledger)
    files = s.bundle()
    items = numbered(files)
    items[0], items[-1] = items[-1], items[0]
    kept = {name: content for name, content in files.items() if not name.startswith("items/")}
    return made(s, kept | dict(write_items(items)), refused="bundle.verdict")


@case
def openings_that_were_swapped(ledger: Ledger) -> Made:
    s = genuine(ledger)
    files = s.bundle()
    one, two = (f"items/{item_of(files, s.paper(kind).key)}/opening.json" for kind in ("Condition", "Procedure"))
    return made(s, files | {one: files[two], two: files[one]}, refused="bundle.opening")


@case
def history_that_was_dropped(ledger: Ledger) -> Made:
    s = scene(ledger).stay().register().claimed()
    s.revise(s.paper("Condition"), onsetDateTime="2024-06")
    files = s.permitted().given().bundle()
    return made(s, without(files, s.paper("Condition").key, "history.json"), refused="bundle.opening")


@case
def history_and_opening_that_were_dropped(ledger: Ledger) -> Made:
    """What is left proves the newest version, which came after the claim."""
    s = scene(ledger).stay().register().claimed()
    s.revise(s.paper("Condition"), onsetDateTime="2024-06")
    files = s.permitted().given().bundle()
    number = item_of(files, s.paper("Condition").key)
    files[f"items/{number}/block.json"] = files[f"items/{number}/newest.json"]
    gone = without(files, s.paper("Condition").key, "history.json", "opening.json", "newest.json")
    return made(s, resealed(gone), red={"unaltered.altered", "flags.altered"})


@case
def time_of_another_block(ledger: Ledger) -> Made:
    s = genuine(ledger)
    files = s.bundle()
    first, other = (f"items/{item_of(files, key)}/block.json" for key in (s.paper("Condition").key, s.consent_key))
    return made(s, files | {first: files[other]}, refused="bundle.block")


@case
def stale_checkpoint(ledger: Ledger) -> Made:
    """An old state hides what came later; that it is old is told."""
    s = genuine(ledger)
    files = s.bundle()
    s.deed("reserve", 842_280, TAIPING)
    ledger.block(ledger.author.anchor(), at=s.now + 3600)
    return replace(made(s, files), current=False)


@case
def forked_log(ledger: Ledger) -> Made:
    """The insurer's own checkpoint is of a log that this one does not go on from."""
    s = genuine(ledger)
    files = s.bundle(old=ledger.final)
    lines = files["checkpoint-old"].split(b"\n")
    lines[2] = lines[2].translate(bytes.maketrans(b"ABCDabcd", b"DCBAdcba"))
    return made(s, files | {"checkpoint-old": b"\n".join(lines)}, refused="*")


@case
def grown_from_the_insurers_checkpoint(ledger: Ledger) -> Made:
    s = genuine(ledger)
    return made(s, s.bundle(old=ledger.final))


@case
def policy_of_other_members(ledger: Ledger) -> Made:
    s = genuine(ledger)
    bad = s.ledger.policy.replace("quorum", "# quorum", 1)
    return replace(made(s), policy=bad, refused="*")


if __name__ == "__main__":
    write_deck(Path(sys.argv[1]))
