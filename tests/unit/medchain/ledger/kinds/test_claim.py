"""The check of a claim: one object an invoice, no part that its insurer has not signed, never more than the total."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medchain.encoding import base64_text
from medchain.errors import VerificationError
from medchain.ledger.invoice import Scope
from medchain.ledger.kind import Place
from medchain.ledger.kinds.claim import KIND, request_of
from medchain.ledger.kinds.claim_content import insurers, on_refund, on_reversal, read, read_shown, shown_to
from medchain.ledger.kinds.registry import check_form
from medchain.ledger.kinds.shares import MAX_RESERVED_DAYS, MAX_SHARES, Share, Shares, State
from medchain.ledger.kinds.shares import asked as asked_of
from medchain.ledger.object import map_key
from medchain.ledger.transaction import Ref
from tests.unit.medchain.ledger.kinds.case import code
from tests.unit.medchain.ledger.kinds.claiming import (
    DIGEST,
    INVOICE,
    ISSUER,
    TOTAL,
    ClaimCase,
    asked,
    bill,
    body_of,
    id_of,
    part_of,
)
from tests.unit.medchain.ledger.world import (
    ANXIN,
    COMMISSION,
    DAY,
    RENHE,
    TAIPING,
    TIME,
    TONGJI,
    fresh,
    invoices,
    key,
    seed,
    vrf_key,
)

OTHER = seed("claim of taiping")
DAY_S = 86_400


@pytest.fixture
def case():
    return ClaimCase()


def of_taiping(action: str = "reserve", amount: int = 40_000, head: int = 1, **changes: object):
    return asked(action, amount, head, **({"insurer": TAIPING, "claim": OTHER} | changes))


def drafting(case, deed, before=None, time: int = TIME) -> str:
    """Return why a deed cannot be drafted."""
    try:
        case.drafted(deed, before, time)
    except VerificationError as error:
        return error.code
    return ""


# What goes well


def test_a_part_is_reserved_and_settled(case):
    first = case.done(asked())
    assert (first.status, first.expires, case.shares(first).open) == ("reserved", DAY + 10, 40_000)
    second = case.done(asked("settle", head=1), first)
    assert (second.status, second.expires, case.shares(second).open) == ("settled", None, 40_000)


def test_two_insurers_share_an_invoice(case):
    first = case.done(asked())
    second = case.done(of_taiping(), first)
    third = case.done(of_taiping("settle", head=2), second)
    assert (third.status, third.expires) == ("reserved", DAY + 10)
    fourth = case.done(asked("settle", 50_000, head=3), third)
    assert (fourth.status, case.shares(fourth).open) == ("settled", 10_000)


def test_less_may_be_settled_than_was_reserved_and_the_rest_is_open(case):
    first = case.done(asked(amount=TOTAL))
    second = case.done(asked("settle", 1, head=1), first)
    assert case.shares(second).open == TOTAL - 1
    case.done(of_taiping(amount=TOTAL - 1, head=2), second)


def test_what_is_released_is_open_for_others(case):
    first = case.done(asked(amount=TOTAL))
    second = case.done(asked("release", head=1), first)
    assert (second.status, second.expires) == ("released", None)
    assert case.claims[second.key, 2].changed.amount == TOTAL
    third = case.done(of_taiping(amount=TOTAL, head=2), second)
    assert [row is None for row in case.shares(third).rows][:3] == [False, False, True]


def test_who_was_paid_back_releases_what_it_settled(case):
    second = case.done(asked("settle", head=1), case.done(asked()))
    third = case.done(asked("release", head=2), second)
    assert third.status == "released"


def test_a_reservation_that_is_over_keeps_nothing_from_others(case):
    first = case.done(asked(amount=TOTAL))
    later = TIME + 11 * DAY_S
    second = case.done(of_taiping(amount=TOTAL, time=later, until=DAY + 20), first, later)
    rows = case.shares(second).rows
    assert [(row.insurer, row.state.value, row.until) for row in rows[:2]] == [
        (ANXIN, "released", None),
        (TAIPING, "reserved", DAY + 20),
    ]


def test_on_its_last_day_a_reservation_still_holds(case):
    first = case.done(asked(amount=TOTAL))
    later = TIME + 10 * DAY_S
    assert drafting(case, of_taiping(amount=1), first, later) == "claim.amount"
    case.done(asked("settle", TOTAL, head=1, time=later), first, later)


def test_an_insurer_corrects_and_renews_its_reservation_in_its_place(case):
    first = case.done(asked())
    second = case.done(asked(amount=TOTAL, head=1, claim=seed("again")), first)
    third = case.done(asked(amount=TOTAL, head=2, claim=seed("again"), until=DAY + 30), second)
    live = case.shares(third).live
    assert [(row.claim, row.amount, row.until) for row in live] == [(seed("again"), TOTAL, DAY + 30)]


def test_an_insurer_that_settled_claims_another_part_for_another_claim(case):
    second = case.done(asked("settle", head=1), case.done(asked()))
    third = case.done(asked(amount=40_000, head=2, claim=seed("other policy")), second)
    assert [row.state.value for row in case.shares(third).live] == ["settled", "reserved"]
    fourth = case.done(asked("settle", 40_000, head=3, claim=seed("other policy")), third)
    assert case.shares(fourth).open == 0


def test_a_hospital_refunds_and_reverses_by_itself(case):
    first = case.done(asked())
    second = case.done(30_000, first)
    assert (case.shares(second).total, case.shares(second).open, second.status) == (70_000, 10_000, "reserved")
    third = case.done(None, second)
    assert (third.status, third.expires) == ("reversed", None)


@pytest.mark.parametrize(("deed", "status"), [(1_000, "released"), (None, "reversed")])
def test_what_the_hospital_does_says_that_a_reservation_is_over(case, deed, status):
    first = case.done(asked())
    second = case.done(deed, first, TIME + 11 * DAY_S)
    assert (second.status, second.expires, case.shares(second).rows[0].state) == (status, None, State.RELEASED)


def test_a_refund_may_take_what_somebody_has_and_says_so(case):
    second = case.done(asked("settle", head=1), case.done(asked()))
    third = case.done(70_000, second)
    assert (case.shares(third).open, third.status) == (-30_000, "settled")
    assert drafting(case, of_taiping(amount=1, head=3), third) == "claim.amount"
    # What was reserved before is settled as far as there is something left.
    fourth = case.done(asked("release", head=3), third)
    case.done(of_taiping(amount=30_000, head=4), fourth)


def test_what_was_reserved_before_a_refund_is_settled_as_far_as_something_is_left(case):
    first = case.done(asked(amount=TOTAL))
    second = case.done(70_000, first)
    assert drafting(case, asked("settle", 30_001, head=2), second) == "claim.amount"
    case.done(asked("settle", 30_000, head=2), second)


def test_a_refund_of_all_lets_nobody_claim(case):
    second = case.done(TOTAL, case.done(asked("release", head=1), case.done(asked())))
    assert second.status == "released"
    assert drafting(case, of_taiping(amount=1, head=3), second) == "claim.amount"


def test_an_invoice_that_nobody_claimed_is_reversed_and_issued_anew(case):
    old = case.done(None)
    assert (old.version, old.status) == (1, "reversed")
    anew = replace(INVOICE, number="1774778512")
    case.bill = bill(anew, replaces=old.key)
    first = case.done(asked(claim_id=id_of(case.bill)), refs=(Ref(old.key, 1),))
    case.done(asked("settle", head=1, claim_id=id_of(case.bill)), first)


@pytest.mark.parametrize(
    "invoice",
    [
        replace(INVOICE, scope=Scope.ITEM, line=3),
        replace(INVOICE, scope=Scope.ENCOUNTER, code="", number="ZY20250001"),
        replace(INVOICE, code=""),
    ],
)
def test_items_visits_and_invoices_without_code_are_claimed_alike(case, invoice):
    case.bill = bill(invoice)
    case.done(asked(claim_id=id_of(case.bill)))


def test_a_public_body_pays_as_an_insurer_does(case):
    members = case.world.members
    case.world.members = members.with_organisation(replace(members.organisations[TAIPING], role="authority"))
    case.done(of_taiping(head=0))


# One invoice, one object


def test_attack_a_hospital_gives_an_invoice_a_second_id(case):
    signed = asked(claim_id=b"\x07" * 16)
    assert code(*case.version(case.drafted(signed), signed, object_id=b"\x07" * 16)) == "claim.id"


def test_attack_a_hospital_proves_with_a_key_of_its_choice(case):
    case.bill = bill(pen=vrf_key(RENHE, 2))
    signed = asked(claim_id=id_of(case.bill))
    assert code(*case.version(case.drafted(signed), signed)) == "claim.key"


def test_attack_a_hospital_proves_with_another_generation_than_the_invoices_day_has(case):
    renhe = case.world.members.organisations[RENHE]
    both = invoices(RENHE, ISSUER, days=(0, DAY - 10))
    case.world.members = case.world.members.with_organisation(replace(renhe, invoices=both))
    case.done(asked())
    for invoice, generation in ((INVOICE, 2), (replace(INVOICE, day=DAY - 10), 1)):
        case.bill = bill(invoice, vrf_key(RENHE, generation))
        signed = asked(claim_id=id_of(case.bill))
        assert code(*case.version(case.drafted(signed), signed)) == "claim.key"


def test_attack_a_hospital_claims_on_another_hospitals_invoice(case):
    members = case.world.members
    case.world.members = members.with_organisation(
        replace(members.organisations[TONGJI], invoices=invoices(TONGJI, "TJ01"))
    )
    case.bill = bill(replace(INVOICE, issuer="TJ01"))
    signed = asked(claim_id=id_of(case.bill))
    assert code(*case.version(case.drafted(signed), signed)) == "claim.issuer"


def test_who_issues_no_invoices_has_none_claimed(case):
    members = case.world.members
    case.world.members = members.with_organisation(replace(members.organisations[RENHE], invoices=None))
    signed = asked()
    assert code(*case.version(case.drafted(signed), signed)) == "claim.issuer"


def test_an_invoice_before_the_first_generation_has_no_key(case):
    members = case.world.members
    late = invoices(RENHE, ISSUER, days=(DAY,))
    case.world.members = members.with_organisation(replace(members.organisations[RENHE], invoices=late))
    signed = asked()
    assert code(*case.version(case.drafted(signed), signed)) == "claim.key"


def test_attack_a_proof_of_another_invoice(case):
    case.bill = replace(case.bill, proof=bill(replace(INVOICE, number="1")).proof)
    signed = asked(claim_id=id_of(case.bill))
    assert code(*case.version(case.drafted(signed), signed)) == "vrf.proof"


def test_attack_an_invoice_of_tomorrow_waits_for_another_key(case):
    for day, reason in ((DAY + 1, ""), (DAY + 2, "claim.date")):
        case.bill = bill(replace(INVOICE, day=day))
        signed = asked(claim_id=id_of(case.bill))
        assert code(*case.version(case.drafted(signed), signed)) == reason


@given(st.integers(0, 79), st.integers(1, 255))
def test_no_changed_byte_of_a_proof_makes_another_id(at, flip):
    case = ClaimCase()
    proof = bytearray(case.bill.proof)
    proof[at] ^= flip
    case.bill = replace(case.bill, proof=bytes(proof))
    signed = asked()
    assert code(*case.version(case.drafted(signed), signed, object_id=id_of(bill()))) in {"vrf.proof", "claim.id"}


# What the insurer signed


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ledger": b"\x01" * 32}, "claim.request"),
        ({"hospital": TONGJI}, "claim.request"),
        ({"claim_id": b"\x01" * 16}, "claim.request"),
        ({"currency": "USD"}, "claim.request"),
        ({"pen": TAIPING}, "claim.request"),
        ({"pen": RENHE}, "claim.request"),
        ({"time": TIME - 181}, "claim.request"),
        ({"time": TIME + 61}, "claim.request"),
        ({"head": 1}, "claim.head"),
    ],
)
def test_attack_a_hospital_uses_a_request_for_what_its_insurer_did_not_sign(case, changes, reason):
    signed = asked(**changes)
    assert code(*case.version(case.drafted(signed), signed)) == reason


@pytest.mark.parametrize("delay", [-60, 180])
def test_a_request_bears_a_deed_within_its_life(case, delay):
    case.done(asked(time=TIME - delay))


def test_attack_a_hospital_reserves_for_an_insurer_that_asked_nothing(case):
    signed = asked()
    claim = case.drafted(signed)
    assert code(*case.version(claim, None)) == "claim.request"
    assert code(*case.version(claim, None, body=body_of(claim, asked()))) == "claim.request"


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": 60_001},
        {"insurer": TAIPING},
        {"claim": OTHER.hex()},
        {"state": "settled", "until": None},
        {"until": DAY + 11},
        {"request": "00" * 32},
    ],
)
def test_attack_a_hospital_changes_what_was_asked_for(case, changes):
    signed = asked()
    claim = case.drafted(signed)
    row = {**claim.changed.to_json(), **changes}
    total = {"open": TOTAL - row["amount"]}
    status = {"status": "settled", "expires": None} if row["state"] == "settled" else {}
    assert code(*case.spoiled(claim, signed, {"share_1": row, **total}, **status)) == "claim.request"


def test_attack_a_deed_that_tells_another_amount_or_action_than_its_request(case):
    signed = asked()
    claim = case.drafted(signed)
    for deed in ({"action": "reserve", "amount": 1, "share": 1}, {"action": "settle", "amount": 60_000, "share": 1}):
        assert code(*case.spoiled(claim, signed, {"deed": deed})) == "claim.request"


def test_attack_a_deed_that_names_a_part_which_is_not_there(case):
    signed = asked()
    deed = {"action": "reserve", "amount": 60_000, "share": 2}
    assert code(*case.spoiled(case.drafted(signed), signed, {"deed": deed})) == "claim.request"


def test_attack_a_request_is_used_again(case):
    signed = asked()
    first = case.done(signed)
    second = case.done(asked("release", head=1), first)
    assert code(*case.version(case.drafted(signed, second), signed, second)) == "claim.head"


@pytest.mark.parametrize("org_id", [TONGJI, COMMISSION, RENHE])
def test_who_is_no_insurer_has_no_part(case, org_id):
    signed = asked(insurer=org_id)
    endorser = TONGJI if org_id == COMMISSION else COMMISSION
    if org_id == RENHE:
        members = case.world.members
        case.world.members = members.with_organisation(replace(members.organisations[RENHE], role="authority"))
    assert code(*case.version(case.drafted(signed), signed, endorser=endorser, own=endorser)) == "claim.insurer"


def test_an_insurer_that_is_no_active_member_acts_no_more_and_others_go_on(case):
    first = case.done(asked())
    members = case.world.members
    case.world.members = members.with_organisation(replace(members.organisations[ANXIN], status="suspended"))
    signed = asked("settle", head=1)
    assert code(*case.version(case.drafted(signed, first), signed, first)) == "claim.organisation"
    case.done(of_taiping(), first)


def test_whoever_has_or_had_a_part_endorses_nothing(case):
    members = case.world.members
    case.world.members = members.with_organisation(
        replace(members.organisations[TONGJI], control=members.organisations[ANXIN].control)
    )
    signed = asked()
    assert code(*case.version(case.drafted(signed), signed, endorser=TONGJI, own=TONGJI)) == "claim.party"
    released = case.done(asked("release", head=1), case.done(signed))
    later = of_taiping(head=2)
    assert code(*case.version(case.drafted(later, released), later, released, endorser=TONGJI, own=TONGJI)) == (
        "claim.party"
    )


def test_a_hospital_alone_vouches_for_nothing_whatever_the_policy_says(case):
    signed = asked()
    claim = case.drafted(signed)
    assert code(*case.version(claim, signed, endorser=None, own=RENHE, role="creator")) == "claim.alone"
    assert code(*case.version(claim, signed, endorser=None, own=ANXIN, role="holder")) == "claim.alone"


def test_the_hospital_checks_as_its_endorser_does(case):
    signed = asked()
    claim = case.drafted(signed)
    assert code(*case.version(claim, signed, own=RENHE, role="creator")) == ""
    assert code(*case.version(claim, signed, own=TONGJI, role="creator")) == "claim.role"


# Never more than the invoice's total, and what follows from what


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (asked(amount=TOTAL + 1), "claim.amount"),
        (asked(until=DAY - 1), "claim.until"),
        (asked(until=DAY + MAX_RESERVED_DAYS + 1), "claim.until"),
        (asked("settle"), "claim.reservation"),
        (asked("release"), "claim.reservation"),
    ],
)
def test_what_a_first_request_cannot_have(case, request_, reason):
    assert drafting(case, request_) == reason


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (of_taiping(amount=40_001), "claim.amount"),
        (asked(head=1), "claim.repeated"),
        (asked("settle", 60_001, head=1), "claim.amount"),
        (asked("settle", head=1, claim=OTHER), "claim.reservation"),
        (of_taiping("settle"), "claim.reservation"),
        (of_taiping("release"), "claim.reservation"),
        (of_taiping("settle", claim=DIGEST), "claim.reservation"),
    ],
)
def test_what_cannot_be_had_of_what_is_reserved(case, request_, reason):
    assert drafting(case, request_, case.done(asked())) == reason


def test_what_is_settled_is_claimed_for_the_same_claim_no_second_time(case):
    settled = case.done(asked("settle", head=1), case.done(asked()))
    assert drafting(case, asked(amount=1, head=2), settled) == "claim.repeated"
    assert drafting(case, asked("settle", head=2), settled) == "claim.reservation"


def test_a_reservation_that_is_over_is_neither_settled_nor_released(case):
    first, later = case.done(asked()), TIME + 11 * DAY_S
    assert drafting(case, asked("settle", head=1), first, later) == "claim.reservation"
    assert drafting(case, asked("release", head=1), first, later) == "claim.reservation"


@pytest.mark.parametrize("amount", [0, TOTAL + 1])
def test_a_refund_is_of_something_and_of_no_more_than_the_total(case, amount):
    first = case.done(asked())
    assert drafting(case, amount, first) == "claim.amount"


def test_attack_two_insurers_are_given_more_than_the_invoice_is_about(case):
    """The hospital writes it by hand, since it cannot be drafted."""
    first = case.done(asked())
    signed = of_taiping(amount=50_000)
    honest = case.drafted(of_taiping(), first)
    row = replace(honest.changed, amount=50_000, request=signed.request.hash)
    deed = {"action": "reserve", "amount": 50_000, "share": 2}
    changes = {"deed": deed, "open": -10_000, "share_2": row.to_json()}
    assert code(*case.spoiled(honest, signed, changes, first)) == "claim.amount"


def test_attack_the_part_of_another_is_taken_away_or_made_smaller(case):
    first = case.done(asked())
    signed = of_taiping()
    honest = case.drafted(signed, first)
    other = honest.shares.rows[0]
    for changes in (
        {"share_1": None, "open": 60_000},
        {"share_1": replace(other, state=State.RELEASED, until=None).to_json(), "open": 60_000},
        {"share_1": replace(other, amount=1).to_json(), "open": 59_999},
    ):
        assert code(*case.spoiled(honest, signed, changes, first)) == "claim.changed"


@pytest.mark.parametrize(
    "changes",
    [
        {"check_code": "999999"},
        {"currency": "USD"},
        {"total": TOTAL + 1, "open": 1},
        {"replaces": "00" * 32},
    ],
)
def test_attack_a_later_version_changes_the_invoice(case, changes):
    first = case.done(asked())
    signed = of_taiping(currency=changes.get("currency", "CNY"))
    honest = case.drafted(signed, first)
    assert code(*case.spoiled(honest, signed, changes, first)) == "claim.changed"


def test_attack_a_refund_that_lowers_more_than_it_says(case):
    first = case.done(asked())
    honest = case.drafted(10_000, first)
    assert code(*case.spoiled(honest, None, {"total": 80_000, "open": 20_000}, first)) == "claim.changed"


def test_attack_a_reversal_that_gives_back_a_part(case):
    first = case.done(asked())
    honest = case.drafted(None, first)
    assert code(*case.spoiled(honest, None, {"share_1": None, "open": TOTAL}, first)) == "claim.changed"


def test_attack_a_second_value_hides_in_what_an_endorser_is_not_shown(case):
    signed = asked()
    body, context = case.version(case.drafted(signed), signed)
    assert code(body.redact(set(body.content), keep_evidence=True), context) == "claim.not_full"


def test_attack_an_endorser_is_shown_a_part_of_the_version_before(case):
    first = case.done(asked())
    signed = of_taiping()
    body, context = case.version(case.drafted(signed, first), signed, first)
    record, whole = case.bodies[first.key]
    part = whole.redact(set(whole.content), keep_evidence=True)
    assert code(body, replace(context, previous=(record, part))) == "claim.not_full"
    assert code(body, replace(context, previous=None)) == "claim.not_full"


@pytest.mark.parametrize("status", ["settled", "released", "reversed", "active"])
def test_the_status_is_that_of_the_parts(case, status):
    signed = asked()
    assert code(*case.version(case.drafted(signed), signed, status=status)) == "claim.status"


def test_a_reversal_has_the_status_of_none_else(case):
    first = case.done(asked())
    assert code(*case.version(case.drafted(None, first), None, first, status="reserved")) == "claim.status"


@pytest.mark.parametrize("expires", [None, DAY + 9, DAY + 11])
def test_the_last_day_is_that_of_the_longest_reservation(case, expires):
    signed = asked()
    assert code(*case.version(case.drafted(signed), signed, expires=expires)) == "claim.expires"


@pytest.mark.parametrize(("time", "reason"), [(TIME + 60, ""), (TIME + 61, "claim.time"), (TIME - 181, "claim.time")])
def test_attack_a_deed_is_dated_so_that_reservations_are_over_or_not_yet(case, time, reason):
    signed = asked(time=time)
    claim = case.drafted(signed, time=time)
    assert code(*case.version(claim, signed)) == reason


# Re-issues


def replacing(case, old, **changes: object):
    """Claim on an invoice that was issued in the place of another."""
    case.bill = bill(replace(INVOICE, number="2"), replaces=map_key("claim", RENHE, id_of(bill())))
    signed = asked(claim_id=id_of(case.bill))
    refs = {"refs": () if old is None else (Ref(old.key, old.version),)}
    return case.version(case.drafted(signed), signed, **(refs | changes))


def test_a_reissue_stands_on_what_was_reversed(case):
    old = case.done(None)
    assert code(*replacing(case, old)) == ""
    assert code(*replacing(case, None)) == "claim.refs"


def test_attack_a_reissue_of_what_is_still_claimed(case):
    old = case.done(asked())
    assert code(*replacing(case, old)) == "claim.refs"


def test_attack_a_reissue_that_stands_on_something_else(case):
    case.done(None)
    other = case.world.add("claim", TONGJI, "reversed")
    assert code(*replacing(case, other)) == "claim.refs"


def test_attack_a_reissue_of_another_hospitals_invoice(case):
    other = case.world.add("claim", TONGJI, "reversed", id=id_of(bill()))
    case.bill = bill(replace(INVOICE, number="2"), replaces=other.key)
    signed = asked(claim_id=id_of(case.bill))
    assert code(*case.version(case.drafted(signed), signed, refs=(Ref(other.key, 1),))) == "claim.refs"


def test_attack_a_reissue_of_what_there_is_not(case):
    case.bill = bill(replace(INVOICE, number="2"), replaces=fresh(32))
    signed = asked(claim_id=id_of(case.bill))
    refs = (Ref(case.bill.replaces, 1),)
    assert code(*case.version(case.drafted(signed), signed, refs=refs)) == "claim.refs"


def test_what_replaces_nothing_stands_on_nothing(case):
    old = case.world.add("claim", RENHE, "reversed")
    signed = asked()
    assert code(*case.version(case.drafted(signed), signed, refs=(Ref(old.key, 1),))) == "claim.refs"


def test_a_later_version_stands_on_nothing(case):
    old = case.done(None)
    body, context = replacing(case, old)
    assert code(body, context) == ""
    first = case.keep_version(read(body.content), body)
    signed = asked("settle", head=1, claim_id=id_of(case.bill))
    claim = case.drafted(signed, first)
    assert code(*case.version(claim, signed, first, refs=(Ref(old.key, 1),))) == "claim.refs"
    assert code(*case.version(claim, signed, first)) == ""


# What an insurer is shown


def judged(case, claim, signed, org_id: str, before=None, **changes: object) -> str:
    """Have an insurer judge what it is shown, on what it was shown of the version before."""
    previous = changes.pop("previous", None)
    body, context = case.version(claim, signed, before, own=org_id, role="holder", **changes)
    return code(part_of(body, org_id), replace(context, previous=previous))


def test_an_insurer_judges_its_own_part(case):
    first = case.done(asked())
    signed = of_taiping()
    claim = case.drafted(signed, first)
    assert judged(case, claim, signed, TAIPING, first) == ""


def test_an_insurer_is_shown_its_own_part_and_no_other(case):
    first = case.done(asked())
    body = body_of(case.drafted(of_taiping(), first), of_taiping())
    shown = shown_to(body.content, TAIPING)
    assert {name for name in shown if name.startswith("share_")} == {"share_2"}
    text = str(part_of(body, TAIPING).to_json())
    assert ANXIN not in text
    assert DIGEST.hex() not in text
    assert "60000" not in text


def test_what_another_insurer_does_is_not_told(case):
    first = case.done(asked())
    content = case.drafted(of_taiping(), first).to_content()
    assert shown_to(content, ANXIN) == shown_to(content, TONGJI) == frozenset()
    assert insurers(content) == {ANXIN, TAIPING}


def test_what_the_hospital_does_is_told_to_all_who_have_something(case):
    second = case.done(of_taiping(), case.done(asked()))
    third = case.done(asked("release", head=2), second)
    for deed in (1_000, None):
        content = case.drafted(deed, third).to_content()
        assert shown_to(content, ANXIN) == frozenset()
        assert {name for name in shown_to(content, TAIPING) if name.startswith("share_")} == {"share_2"}


def test_an_insurer_compares_with_what_it_was_shown_before(case):
    first = case.done(asked())
    part = part_of(case.bodies[first.key][1], ANXIN)
    signed = asked("settle", head=1)
    claim = case.drafted(signed, first)
    assert judged(case, claim, signed, ANXIN, first, previous=(first, part)) == ""
    changed = replace(claim, bill=replace(claim.bill, check_code="9"))
    assert judged(case, changed, signed, ANXIN, first, previous=(first, part)) == "claim.changed"


def test_an_insurer_compares_the_total_with_what_was_refunded(case):
    first = case.done(asked())
    part = part_of(case.bodies[first.key][1], ANXIN)
    claim = case.drafted(10_000, first)
    assert judged(case, claim, None, ANXIN, first, previous=(first, part)) == ""
    lowered = replace(claim, shares=replace(claim.shares, total=80_000), open=20_000)
    assert judged(case, lowered, None, ANXIN, first, previous=(first, part)) == "claim.changed"
    reversed_ = case.drafted(None, first)
    assert judged(case, reversed_, None, ANXIN, first, previous=(first, part)) == ""


@pytest.mark.parametrize("left", [-1, 60_001])
def test_attack_an_insurer_is_told_of_more_than_there_is(case, left):
    """What others have is hidden from it; that its own part and what is open are within the total is not."""
    first = case.done(asked())
    signed = of_taiping()
    claim = replace(case.drafted(signed, first), open=left)
    content = claim.to_content()
    names = {name for name in content if not name.startswith("share_")} | {"share_2"}
    body, context = case.version(claim, signed, first, own=TAIPING, role="holder")
    assert code(body.redact(names, keep_evidence=True), context) == "claim.amount"


def test_an_insurer_knows_whether_its_own_reservation_is_what_the_ledger_shows(case):
    first = case.done(asked())
    signed = of_taiping(until=DAY + 5)
    claim = case.drafted(signed, first)
    for expires, reason in ((None, "claim.expires"), (DAY + 4, "claim.expires"), (DAY + 10, "")):
        assert judged(case, claim, signed, TAIPING, first, expires=expires) == reason


@pytest.mark.parametrize(("status", "reason"), [("reserved", ""), ("settled", ""), ("released", "claim.status")])
def test_where_parts_are_hidden_the_status_may_be_that_of_others(case, status, reason):
    second = case.done(of_taiping(), case.done(asked()))
    signed = of_taiping("settle", head=2)
    claim = case.drafted(signed, second)
    assert judged(case, claim, signed, TAIPING, second, status=status, expires=None) == reason
    assert judged(case, claim, signed, TAIPING, second, status="reversed") == "claim.status"


def test_a_part_without_its_own_request_is_refused(case):
    first = case.done(asked())
    signed = of_taiping()
    body, context = case.version(case.drafted(signed, first), signed, first, own=TAIPING, role="holder")
    assert code(body.redact(shown_to(body.content, TAIPING)), context) == "claim.request"
    names = shown_to(body.content, TAIPING) - {"share_2"}
    assert code(body.redact(names, keep_evidence=True), context) == "claim.request"


def test_who_endorsed_a_version_judges_the_next_one_that_it_is_shown_whole(case):
    first = case.done(asked())
    signed = of_taiping()
    claim = case.drafted(signed, first)
    assert code(*case.version(claim, signed, first, role="holder")) == ""
    body, context = case.version(replace(claim, time=TIME - 1), signed, first, role="holder")
    assert code(body, context) == ""
    record, whole = case.bodies[first.key]
    part = part_of(whole, ANXIN)
    assert code(body, replace(context, previous=(record, part))) == ""


def test_attack_who_is_shown_all_parts_is_told_that_less_is_open(case):
    """The version before is not here whole, so what the deed makes of it cannot be computed; the sum can."""
    first = case.done(asked())
    signed = of_taiping()
    claim = replace(case.drafted(signed, first), open=1)
    body, context = case.version(claim, signed, first, role="holder")
    assert code(body, replace(context, previous=None)) == "body.malformed claim.malformed"


# Its form


def test_a_content_is_read_as_it_was_written(case):
    first = case.done(asked())
    for deed in (of_taiping(), 5, None):
        claim = case.drafted(deed, first)
        assert read(claim.to_content()) == read_shown(claim.to_content()) == claim


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"extra": 1}, "content.fields"),
        ({"open": 1}, "claim.malformed"),
        ({"open": "1"}, "claim.malformed"),
        ({"open": True}, "claim.malformed"),
        ({"total": -1}, "invoice.amount"),
        ({"currency": "yuan"}, "invoice.currency"),
        ({"check_code": "a1"}, "invoice.spelling"),
        ({"check_code": "?"}, "invoice.check_code"),
        ({"check_code": None}, "content.text"),
        ({"number": "17-74"}, "invoice.spelling"),
        ({"key": base64_text(bytes(31))}, "claim.malformed"),
        ({"proof": base64_text(bytes(81))}, "claim.malformed"),
        ({"replaces": "00"}, "encoding.hex"),
        ({"time": -1}, "content.number"),
        ({"deed": None}, "claim.malformed"),
        ({"deed": {"action": "reserve", "amount": 60_000}}, "claim.malformed"),
        ({"deed": {"action": "buy", "amount": 60_000, "share": 1}}, "claim.malformed"),
        ({"deed": {"action": "reserve", "amount": 60_000, "share": None}}, "claim.malformed"),
        ({"deed": {"action": "refund", "amount": 60_000, "share": 1}}, "claim.malformed"),
        ({"deed": {"action": "reserve", "amount": 60_000, "share": 0}}, "claim.malformed"),
        ({"deed": {"action": "reserve", "amount": 60_000, "share": MAX_SHARES + 1}}, "claim.malformed"),
        ({"deed": {"action": "reserve", "amount": 60_000, "share": "1"}}, "claim.malformed"),
        ({"deed": {"action": "reserve", "amount": "1", "share": 1}}, "encoding.members"),
        ({"share_1": {}}, "claim.malformed"),
        ({"share_1": 5}, "claim.malformed"),
    ],
)
def test_a_content_of_another_form_is_malformed(case, changes, reason):
    signed = asked()
    assert code(*case.spoiled(case.drafted(signed), signed, changes)) == f"body.malformed {reason}"


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "kept"},
        {"state": "settled"},
        {"until": None},
        {"until": -1},
        {"amount": -1},
        {"claim": ""},
        {"insurer": ""},
        {"request": "00"},
        {"more": 1},
    ],
)
def test_a_part_of_another_form_is_malformed(case, changes):
    signed = asked()
    claim = case.drafted(signed)
    row = {**claim.changed.to_json(), **changes}
    assert code(*case.spoiled(claim, signed, {"share_1": row})).startswith("body.malformed ")


@pytest.mark.parametrize("evidence", [{}, [], {"request": {}}, {"request": 5}, {"request": None, "more": 1}, "x"])
def test_evidence_of_another_form_is_malformed(case, evidence):
    signed = asked()
    claim = case.drafted(signed)
    body = body_of(claim, signed).with_evidence(fresh(32), evidence)
    assert code(*case.version(claim, body=body)).startswith("body.malformed ")


def test_the_request_is_found_in_the_evidence(case):
    signed = asked()
    body = body_of(case.drafted(signed), signed)
    assert request_of(body) == signed
    assert request_of(body.redact(set(body.content))) is None


def test_a_part_is_judged_by_its_form_on_receipt(case):
    first = case.done(asked())
    signed = of_taiping()
    body = body_of(case.drafted(signed, first), signed)
    place = Place("claim", RENHE, id_of(case.bill), "reserved")
    check_form(part_of(body, TAIPING), place)
    with pytest.raises(VerificationError, match=r"^claim\.id"):
        check_form(part_of(body, TAIPING), replace(place, object_id=bytes(16)))
    with pytest.raises(VerificationError, match=r"^claim\.request"):
        check_form(part_of(body, TAIPING), replace(place, creator=TONGJI))


# The parts by themselves


def test_all_places_may_be_taken_and_what_is_over_makes_room():
    row = Share(ANXIN, DIGEST, 1, State.SETTLED, None, fresh(32))
    full = Shares(TOTAL, (row,) * MAX_SHARES)
    wish = of_taiping(amount=1).request
    with pytest.raises(VerificationError, match=r"^claim\.full"):
        asked_of(full, wish, DAY)
    over = replace(row, state=State.RESERVED, until=DAY - 1)
    roomy = Shares(TOTAL, (*full.rows[:3], over, *full.rows[4:]))
    after, place = asked_of(roomy, wish, DAY)
    assert (place, after.rows[3].insurer, after.open) == (3, TAIPING, TOTAL - MAX_SHARES)


WISHES = st.tuples(
    st.sampled_from(["reserve", "settle", "release", "refund", "wait"]),
    st.sampled_from([ANXIN, TAIPING, "third-insurance"]),
    st.integers(1, TOTAL),
    st.integers(0, 1),
    st.integers(0, 4),
)


@given(st.lists(WISHES, max_size=24))
def test_whatever_is_asked_for_no_more_is_taken_than_the_total(wishes):
    parts, day, refunded = Shares(TOTAL), DAY, 0
    settled: dict[tuple[str, bytes], int] = {}
    for action, insurer, amount, number, days in wishes:
        if action == "wait":
            day += days
            continue
        try:
            if action == "refund":
                parts, refunded = parts.on(day).less(amount), refunded + amount
                continue
            until = day + days if action == "reserve" else None
            wish = asked(action, amount, insurer=insurer, claim=seed(number), until=until).request
            before = parts.on(day)
            parts, _ = asked_of(parts, wish, day)
        except VerificationError:
            continue
        if action == "release":
            settled.pop((insurer, seed(number)), None)
            assert parts.open >= before.open
        else:
            assert parts.open >= 0
        if action == "settle":
            settled[insurer, seed(number)] = amount
        told = {(row.insurer, row.claim): row.amount for row in parts.live if row.state is State.SETTLED}
        assert told == settled
        assert all(row.until is None or row.until >= day for row in parts.live)
        assert parts.total == TOTAL - refunded


def test_the_ledger_lets_a_status_follow_only_where_a_deed_can_lead_there():
    known = {"reserved", "settled", "released", "reversed"}
    assert KIND.transitions == {
        None: {"reserved", "reversed"},
        "reserved": known,
        "settled": known,
        "released": known - {"settled"},
    }
    assert (KIND.name, KIND.number, KIND.max_until_s, KIND.stoppable) == ("claim", 11, 60, False)


def test_keys_of_the_tests_are_those_of_the_members(case):
    assert case.world.members.organisations[RENHE].invoices.generation(DAY).public == vrf_key(RENHE).public
    assert on_reversal(case.bill, Shares(5), TIME).open == on_refund(case.bill, Shares(6), 1, TIME).open == 5
    assert key(ANXIN, "authentication").org_id == ANXIN
