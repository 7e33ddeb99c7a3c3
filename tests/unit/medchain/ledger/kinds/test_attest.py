"""The check of a statement: each version is one step, by who may take it, and nothing else (docs/spec/attest.md)."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest

from medchain.commands.demo_predicates import CARBON_REPORT, PRESCRIPTION, TYPES
from medchain.crypto.es384 import Es384Signer
from medchain.encoding import canonical
from medchain.errors import InputError
from medchain.ledger.attest_request import StepRequest, opens, ticket_hash
from medchain.ledger.kinds.attest import (
    MAX_CONTENT_BYTES,
    MAX_DELAY_S,
    Attest,
    Subject,
    named_id,
    read,
    read_subjects,
    request_of,
)
from medchain.ledger.kinds.registry import KINDS, check_form
from medchain.ledger.object import build_body, map_key
from medchain.ledger.policy import default_policy, parse_policy
from medchain.ledger.predicates import MAKE
from medchain.ledger.signed_request import parse_request, sign_request
from tests.unit.medchain.ledger.kinds.case import Case, code
from tests.unit.medchain.ledger.world import ANXIN, COMMISSION, RENHE, TAIPING, TIME, TONGJI, fresh, genesis, seed

TICKET = seed("ticket")[:16]
PAPER = Attest(
    predicate_type=PRESCRIPTION,
    subject=(Subject("Rx 2026/118", seed("paper")),),
    predicate={
        "batch": None,
        "dosage": "1-0-1",
        "medication": "amoxicillin 500 mg",
        "quantity": 20,
        "reason": None,
    },
    state="issued",
    step=MAKE,
    by=RENHE,
    request=None,
    parties=(),
    ticket=ticket_hash(TICKET),
    time=TIME - 100,
    until=TIME + 30 * 86400,
)
REPORT = Attest(
    predicate_type=CARBON_REPORT,
    subject=(Subject("Renhe, main site, 2025", seed("report")),),
    predicate={
        "boundary": "scope 1 and 2",
        "emissions_kg": 8_400_000,
        "finding": None,
        "method": "GHG Protocol",
        "reason": None,
        "settled": None,
    },
    state="reported",
    step=MAKE,
    by=RENHE,
    request=None,
    parties=(COMMISSION,),
    ticket=None,
    time=TIME - 100,
    until=None,
)


@pytest.fixture
def case():
    made = Case()
    made.world.members = made.world.members.with_policy(parse_policy({**default_policy(), "predicates": TYPES}))
    return made


def version(case, attest: Attest, evidence=None, **changes: object):
    """Make a version in the making, endorsed by the commission, or by Tongji where the commission is a party."""
    body = build_body("attest", attest.to_content(), evidence, fresh)
    last = TYPES[attest.predicate_type]["steps"].values()
    status = "active" if any(attest.state in step["from"] for step in last) else "ended"
    endorser = TONGJI if COMMISSION in attest.parties else COMMISSION
    terms = {"status": status, "expires": attest.last_day if status == "active" else None}
    if attest.predicate_type == CARBON_REPORT:
        terms["object_id"] = named_id(CARBON_REPORT, attest.subject[0].name)
    if "before" in changes:
        terms.pop("object_id", None)
    who = {"endorser": endorser, "own": endorser}
    return body, case.context("attest", body, **(terms | who | changes))


def kept(case, attest: Attest = PAPER, **record: object):
    """Put a statement into the state."""
    return case.keep("attest", attest.to_content(), None, expires=attest.last_day, **record)


def request(record, by: str = TONGJI, step: str = "dispense", pen: str = "", **changes: object):
    """Have an organisation sign a request for a step."""
    made = StepRequest(
        ledger=genesis().ledger,
        owner=RENHE,
        by=by,
        statement=record.key,
        version=record.version,
        step=step,
        values={"batch": "A-17"},
        ticket=TICKET,
        nonce=fresh(16),
        time=TIME - 5,
    )
    return sign_request(Es384Signer(seed(pen or by, "authentication", 1)), replace(made, **changes))


def taken(case, record, signed, before: Attest = PAPER, told: dict | None = None, **changes: object):
    """Have the owner enter a step that was asked for."""
    asked = signed.request
    step = case.world.members.policy.predicates[before.predicate_type].steps[asked.step]
    attest = replace(before.after(step, asked), **(told or {}))
    evidence = changes.pop("evidence", {"request": signed.to_json()})
    return version(case, attest, evidence, before=record, **changes)


def stepped(case, record, before: Attest, step: str, told: dict | None = None, values=None, **changes: object):
    """Have the owner take a step of its own."""
    asked = StepRequest(
        ledger=genesis().ledger,
        owner=RENHE,
        by=RENHE,
        statement=record.key,
        version=record.version,
        step=step,
        values=values or {},
        ticket=b"",
        nonce=b"",
        time=TIME - 5,
    )
    rules = case.world.members.policy.predicates[before.predicate_type].steps[step]
    return version(case, replace(before.after(rules, asked), **(told or {})), None, before=record, **changes)


# A statement is made


def test_its_kind_has_the_number_that_was_kept_for_it():
    assert (KINDS["attest"].number, KINDS["attest"].transitions) == (
        12,
        {None: frozenset({"active"}), "active": frozenset({"active", "ended"})},
    )


def test_what_a_hospital_states_is_endorsed_and_taken_by_its_parties(case):
    assert code(*version(case, PAPER)) == ""
    assert code(*version(case, REPORT)) == ""
    assert code(*version(case, REPORT, own=COMMISSION, role="holder")) == ""
    assert code(*version(case, PAPER, own=RENHE, role="creator")) == ""
    assert read(PAPER.to_content()) == PAPER


def test_it_is_an_in_toto_statement_of_what_is_said_so_far():
    assert PAPER.to_statement() == {
        "_type": "https://in-toto.io/Statement/v1",
        "predicate": {"dosage": "1-0-1", "medication": "amoxicillin 500 mg", "quantity": 20},
        "predicateType": PRESCRIPTION,
        "subject": [{"digest": {"sha256": seed("paper").hex()}, "name": "Rx 2026/118"}],
    }


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"predicate_type": "urn:unheard-of"}, "attest.type"),
        ({"step": "dispense"}, "attest.step"),
        ({"state": "dispensed"}, "attest.step"),
        ({"predicate": {**PAPER.predicate, "batch": "A-17"}}, "attest.fields"),
        ({"predicate": {**PAPER.predicate, "dosage": None}}, "attest.fields"),
        ({"predicate": {**PAPER.predicate, "more": 1}}, "attest.fields"),
        (
            {"predicate": {name: PAPER.predicate[name] for name in ("dosage", "medication", "quantity")}},
            "attest.fields",
        ),
        ({"time": TIME + 61}, "attest.time"),
        ({"until": TIME - 1}, "attest.over"),
        ({"parties": ("nobody",)}, "attest.organisation"),
        ({"parties": (COMMISSION,)}, "attest.party"),
        ({"request": seed("request")}, "attest.request"),
    ],
)
def test_what_its_type_does_not_know_is_refused(case, changes, reason):
    made = replace(PAPER, **changes)
    body = build_body("attest", made.to_content(), None, fresh)
    context = case.context("attest", body, expires=made.last_day, status="active")
    assert code(body, context) in (reason, "attest.status" if changes.get("state") else reason)


def test_who_has_not_the_role_makes_none(case):
    assert code(*version(case, replace(PAPER, by=ANXIN), creator=ANXIN)) == "attest.maker"
    assert code(*version(case, replace(PAPER, by=TONGJI))) == "attest.request"


def test_status_and_end_in_clear_are_those_of_the_body(case):
    assert code(*version(case, PAPER, status="ended", expires=None)) == "attest.status"
    assert code(*version(case, PAPER, expires=None)) == "attest.expires"


def test_of_a_name_there_is_one_where_everybody_looks(case):
    assert code(*version(case, REPORT, object_id=fresh(16))) == "attest.id"
    other = replace(REPORT, subject=(Subject("Renhe, main site, 2024", seed("report")),))
    assert code(*version(case, other, object_id=named_id(CARBON_REPORT, REPORT.subject[0].name))) == "attest.id"


def test_an_endorser_has_the_whole_body(case):
    body, context = version(case, PAPER)
    assert code(body.redact(set(PAPER.to_content()) - {"until"}), context) == "attest.not_full"


# Steps of others


def test_a_pharmacy_with_the_ticket_dispenses_and_holds_it_from_then_on(case):
    record = kept(case)
    signed = request(record)
    body, context = taken(case, record, signed)
    assert code(body, context) == ""
    assert code(body, replace(context, own=TONGJI, role="holder")) == ""
    made = read(body.content)
    assert (made.state, made.by, made.parties) == ("dispensed", TONGJI, (TONGJI,))
    assert made.predicate["batch"] == "A-17"
    assert request_of(body) == signed
    assert context.change.status == "ended"


def test_it_is_dispensed_once(case):
    record = kept(case)
    body, _ = taken(case, record, request(record))
    done = read(body.content)
    again = kept(case, done, version=2)
    assert code(*taken(case, again, request(again), done)) == "attest.step"
    # Nor is it issued again by who issued it.
    assert code(*version(case, replace(PAPER, by=RENHE), before=again)) == "attest.step"


@pytest.mark.parametrize("by", [ANXIN, TAIPING, COMMISSION])
def test_who_is_no_pharmacy_does_not_dispense(case, by):
    record = kept(case)
    endorser = {"endorser": TONGJI, "own": TONGJI}
    assert code(*taken(case, record, request(record, by), **endorser)) == "attest.by"


def test_a_pharmacy_that_is_no_member_does_not_dispense(case):
    record = kept(case)
    gone = replace(case.world.members.organisations[TONGJI], status="removed")
    signed = request(record)
    case.world.members = case.world.members.with_organisation(gone)
    assert code(*taken(case, record, signed)) == "attest.organisation"


def test_without_the_ticket_nobody_but_a_party_takes_a_step(case):
    record = kept(case)
    for ticket in (b"", fresh(16)):
        assert code(*taken(case, record, request(record, ticket=ticket))) == "attest.ticket"
    untold = replace(PAPER, ticket=None)
    record = kept(case, untold)
    assert code(*taken(case, record, request(record), untold)) == "attest.ticket"
    named = replace(PAPER, parties=(TONGJI,), ticket=None)
    record = kept(case, named)
    assert code(*taken(case, record, request(record, ticket=b""), named)) == ""


def test_under_the_owners_control_is_not_another(case):
    record = kept(case)
    same = case.world.members.organisations[RENHE].control
    sister = replace(case.world.members.organisations[TONGJI], control=same)
    case.world.members = case.world.members.with_organisation(sister)
    assert code(*taken(case, record, request(record))) == "attest.by"


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"version": 0},
        {"statement": seed("another")},
        {"ledger": seed("another ledger")},
        {"pen": RENHE},
        {"owner": TONGJI},
    ],
)
def test_a_request_counts_for_one_version_of_one_statement_and_its_signers_ledger(case, changes):
    record = kept(case)
    assert code(*taken(case, record, request(record, **changes))) == "attest.request"


def test_a_request_of_long_ago_is_not_taken_out_again(case):
    long_ago = replace(PAPER, time=TIME - 900)
    record = kept(case, long_ago)
    old = request(record, time=TIME - MAX_DELAY_S - 1)
    assert code(*taken(case, record, old, long_ago)) == "attest.time"
    assert code(*taken(case, record, request(record, time=TIME - MAX_DELAY_S), long_ago)) == ""
    # Nor is it dated before the step that it follows, or ahead.
    record = kept(case)
    for time in (PAPER.time - 1, TIME + 61):
        assert code(*taken(case, record, request(record, time=time))) == "attest.time"


def test_after_its_end_it_is_not_dispensed(case):
    over = replace(PAPER, until=TIME - 1)
    record = kept(case, over)
    assert code(*taken(case, record, request(record), over)) == "attest.over"


def test_the_owner_changes_nothing_that_was_asked_for(case):
    record = kept(case)
    signed = request(record)
    for told in (
        {"predicate": {**PAPER.predicate, "batch": "B-1"}},
        {"predicate": {**PAPER.predicate, "batch": "A-17", "quantity": 200}},
        {"parties": ()},
        {"parties": (ANXIN, TONGJI)},
        {"state": "cancelled"},
        {"until": PAPER.until + 1},
        {"ticket": None},
        {"subject": (Subject("Rx 2026/119", seed("paper")),)},
    ):
        body, context = taken(case, record, signed, told=told)
        change = replace(context.change, expires=None)
        assert code(body, replace(context, change=change)) == "attest.changed", told


def test_true_is_not_one(case):
    before = replace(PAPER, predicate={**PAPER.predicate, "quantity": 1})
    record = kept(case, before)
    told = {"predicate": {**before.predicate, "batch": "A-17", "quantity": True}}
    assert code(*taken(case, record, request(record), before, told)) == "attest.changed"


def test_a_step_says_what_it_is_to_say_and_no_more(case):
    record = kept(case)
    for values in ({}, {"batch": None}, {"batch": "A-17", "quantity": 200}, {"quantity": 200}):
        assert code(*taken(case, record, request(record, values=values))) == "attest.fields"


def test_a_step_without_its_request_is_the_owners_own_or_none(case):
    record = kept(case)
    signed, other = request(record), request(record)
    for evidence in (None, {"request": other.to_json()}):
        assert code(*taken(case, record, signed, evidence=evidence)) == "attest.request"
    told = {"by": RENHE, "request": None, "parties": ()}
    assert code(*taken(case, record, signed, told=told)) == "attest.request"
    assert code(*taken(case, record, signed, told={"step": "cancel"})) == "attest.request"
    assert code(*taken(case, record, signed, told={"time": TIME - 6})) == "attest.request"
    assert code(*taken(case, record, signed, evidence={"x": 1})).startswith("body.malformed")


def test_a_part_without_its_evidence_is_well_formed_and_no_step(case):
    record = kept(case)
    body, context = taken(case, record, request(record))
    part = body.redact(set(body.content))
    check_form(part, context.place)
    assert request_of(part) is None
    assert code(part, replace(context, own=TONGJI, role="holder")) == "attest.changed"


def test_the_version_before_is_needed(case):
    record = kept(case)
    body, context = taken(case, record, request(record))
    assert code(body, replace(context, previous=None)) == "attest.previous"


# The owner's own steps, and a life of several


def test_the_owner_cancels_and_its_own_pharmacy_dispenses(case):
    record = kept(case)
    assert code(*stepped(case, record, PAPER, "cancel", values={"reason": "wrong dose"})) == ""
    assert code(*stepped(case, record, PAPER, "dispense", values={"batch": "A-17"})) == ""
    assert (
        code(*stepped(case, record, PAPER, "cancel", values={"reason": "x"}, told={"time": TIME - 101}))
        == "attest.time"
    )
    assert code(*stepped(case, record, PAPER, "cancel")) == "attest.fields"


def test_a_report_is_verified_by_a_regulator_and_never_by_the_hospital(case):
    record = kept(case, REPORT)
    signed = request(record, COMMISSION, "verify", values={"finding": "as measured"}, ticket=b"")
    body, context = taken(case, record, signed, REPORT)
    assert code(body, context) == ""
    assert context.change.status == "active"
    assert code(*stepped(case, record, REPORT, "verify", values={"finding": "fine"})) == "attest.by"
    sister = request(record, TONGJI, "verify", values={"finding": "fine"}, ticket=b"")
    assert code(*taken(case, record, sister, REPORT, own=COMMISSION, role="holder", endorser=None)) == "attest.by"


def test_a_step_out_of_order_is_refused(case):
    record = kept(case, REPORT)
    assert code(*stepped(case, record, REPORT, "publish")) == "attest.step"
    assert code(*stepped(case, record, REPORT, "correct", values={"emissions_kg": 1, "reason": "x"})) == "attest.step"
    verified = replace(REPORT, state="verified")
    assert code(*stepped(case, kept(case, verified), verified, "publish")) == ""


def test_a_verified_report_is_not_altered_by_its_hospital(case):
    verified = replace(REPORT, state="verified", predicate={**REPORT.predicate, "finding": "as measured"})
    record = kept(case, verified)
    told = {"predicate": {**verified.predicate, "emissions_kg": 1}}
    assert code(*stepped(case, record, verified, "publish", told)) == "attest.changed"
    rejected = replace(verified, state="rejected")
    corrected = {"emissions_kg": 9_000_000, "reason": "meter 4 was left out"}
    assert code(*stepped(case, kept(case, rejected), rejected, "correct", values=corrected)) == ""


def test_a_party_that_was_suspended_since_does_not_end_the_life_of_what_others_made(case):
    before = replace(REPORT, parties=(COMMISSION, TAIPING), state="verified")
    record = kept(case, before)
    gone = replace(case.world.members.organisations[TAIPING], status="suspended")
    case.world.members = case.world.members.with_organisation(gone)
    assert code(*stepped(case, record, before, "publish")) == ""
    assert code(*version(case, replace(REPORT, parties=(COMMISSION, TAIPING)))) == "attest.organisation"


# Forms


def test_a_request_is_read_as_it_was_written_and_signed(case):
    record = kept(case)
    for signed in (request(record), request(record, ticket=b"", values={"a": [1, {"b": None}]})):
        assert parse_request(StepRequest, signed.encode()) == signed
    told = request(record).request
    made = told.to_json()
    fields = b"medchain/attest-request/v1", canonical(made)
    assert told.hash == sha256(b"".join(len(one).to_bytes(8, "big") + one for one in fields)).digest()
    for spoiled in (
        {**made, "type": "medchain/release-request/v1"},
        {**made, "more": 1},
        {**made, "version": -1},
        {**made, "ticket": "00"},
        {**made, "step": ""},
        {name: value for name, value in made.items() if name != "values"},
    ):
        with pytest.raises(InputError):
            StepRequest.read(spoiled)


def test_a_ticket_opens_what_has_its_hash_and_nothing_without_one():
    assert opens(TICKET, ticket_hash(TICKET))
    assert not opens(fresh(16), ticket_hash(TICKET))
    assert not opens(b"", ticket_hash(TICKET))
    assert not opens(TICKET, None)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"more": 1}, "content.fields"),
        ({"subject": []}, "attest.subject"),
        ({"subject": "x"}, "attest.subject"),
        ({"subject": [{"digest": {"sha256": "00" * 32}, "name": "a"}] * 17}, "attest.subject"),
        ({"subject": [{"digest": {"md5": "00" * 16}, "name": "a"}]}, "encoding.members"),
        ({"subject": [{"digest": {"sha256": "00"}, "name": "a"}]}, "encoding.hex"),
        ({"parties": [TONGJI, ANXIN]}, "content.names"),
        ({"time": -1}, "content.number"),
        ({"until": "never"}, "content.number"),
        ({"predicate.dosage": "x" * MAX_CONTENT_BYTES}, "attest.size"),
    ],
)
def test_a_content_of_another_form_is_malformed(case, changes, reason):
    body = build_body("attest", {**PAPER.to_content(), **changes}, None, fresh)
    assert code(body, case.context("attest", body)).startswith(f"body.malformed {reason}")


def test_the_names_of_a_statement_are_found_by_who_knows_type_and_name():
    assert named_id(CARBON_REPORT, "a") != named_id(CARBON_REPORT, "b") != named_id(PRESCRIPTION, "b")
    assert len(map_key("attest", RENHE, named_id(CARBON_REPORT, "a"))) == 32
    assert read_subjects([PAPER.subject[0].to_json()]) == PAPER.subject
