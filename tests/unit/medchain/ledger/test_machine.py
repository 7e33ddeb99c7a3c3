"""The machine: every refusal by the attack that it stops, and what blocks do to the state."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medchain.crypto.signing import Ed25519Signer
from medchain.encoding import base64_text, canonical
from medchain.errors import InputError, VerificationError
from medchain.ledger.machine import (
    DRAW_LAG,
    DRAW_WINDOW,
    DrawState,
    Effects,
    StateLeaf,
    apply_block,
    apply_genesis,
    block_context,
    is_signed,
    named_keys,
    parse_state_leaf,
    seed_heights,
    state_leaf,
)
from medchain.ledger.members import organisation_content, proof_message, protocol_content
from medchain.ledger.object import StateRecord, map_key, public_body_hash, stop_hash
from medchain.ledger.policy import default_policy, draw_order, parse_policy
from medchain.ledger.transaction import Change, Draw, Envelope, Signer, parse_envelope
from tests.unit.medchain.ledger.world import (
    ANXIN,
    COMMISSION,
    COSIGN_TWINS,
    DAY,
    LOG_TWINS,
    RENHE,
    ROLES,
    TAIPING,
    TONGJI,
    World,
    fresh,
    genesis,
    key,
    line_id,
    next_row,
    organisation,
    organisation_key,
    prove,
    ref,
    refs,
    rows,
    seed,
    sign,
)

PREIMAGE = bytes(range(32))
VOTERS = (RENHE, TONGJI, COMMISSION)


@pytest.fixture
def world():
    return World()


def anchor(number: int = 1) -> Change:
    return Change("record", "active", rows(number))


def grant_of(consent: StateRecord, **changes: object) -> Change:
    return replace(Change("grant", "active", rows(), refs(consent), fresh(32), DAY + 9), **changes)


def consent_in(world: World, **changes: object) -> StateRecord:
    return world.add("consent", RENHE, **({"stop_hash": stop_hash(PREIMAGE), "expires": DAY + 9} | changes))


# Accepted


def test_an_anchor_makes_a_record_for_each_object(world):
    change = anchor(3)
    effects = world.apply(world.transaction(RENHE, change))
    made = [effects.records[map_key("record", RENHE, row.id)] for row in change.objects]
    assert [(r.version, r.status, r.since, r.previous, r.body_hash) for r in made] == [
        (1, "active", 2, None, row.body_hash) for row in change.objects
    ]


def test_a_second_version_holds_the_digest_of_the_first(world):
    first = world.add("record", RENHE)
    effects = world.apply(world.transaction(RENHE, Change("record", "deleted", next_row(first))))
    second = effects.records[first.key]
    assert (second.version, second.status, second.previous) == (2, "deleted", first.digest)


def test_every_kind_can_be_made(world):
    consent = consent_in(world)
    grant = world.add("grant", RENHE, stop_hash=fresh(32), refs=refs(consent))
    made = [
        anchor(),
        Change("subject", "active", rows()),
        Change("consent", "active", rows(), (), fresh(32), DAY + 9),
        grant_of(consent),
        Change("access", "active", rows(), refs(grant, consent)),
        Change("emergency", "active", rows()),
        Change("erasure", "active", rows()),
        Change("claim", "reserved", rows(), (), None, DAY + 9),
    ]
    effects = world.apply(*(world.transaction(RENHE, change, **next_draw(world, at)) for at, change in enumerate(made)))
    assert [record.kind for record in effects.history] == [change.kind for change in made]
    assert [record.since for record in effects.history] == list(range(2, 10))


def next_draw(world: World, at: int) -> dict[str, object]:
    return {"draw": Draw(0, at + 1, 0), "signers": [(RENHE, "creator"), (world.drawn(RENHE, at + 1), "independent")]}


# Refused


def test_a_transaction_of_another_ledger_is_refused(world):
    assert world.refusal(world.transaction(RENHE, anchor(), ledger=fresh(32))) == "transaction.ledger"
    assert world.refusal(world.stop(RENHE, fresh(32), PREIMAGE, ledger=fresh(32))) == "transaction.ledger"


def test_a_transaction_of_another_protocol_version_is_refused(world):
    assert world.refusal(world.transaction(RENHE, anchor(), protocol=2)) == "transaction.protocol"


def test_a_machine_that_does_not_know_the_protocol_halts(world):
    world.members = world.members.with_protocol(replace(world.members.protocol, protocol=2))
    with pytest.raises(VerificationError, match=r"block\.protocol"):
        world.execute(world.transaction(RENHE, anchor(), protocol=2))


def test_a_forged_signature_is_refused(world):
    good = sign(world.transaction(RENHE, anchor()))
    forged = replace(good, signatures=((good.signatures[0][0], bytes(64)),))
    assert world.refusal(good) == ""
    assert world.refusal(forged) == "transaction.signature"


def test_a_signature_by_another_member_under_the_creators_name_is_refused(world):
    payload = world.transaction(RENHE, anchor())
    stolen = sign(world.transaction(TONGJI, anchor())).signatures[0][1]
    envelope = sign(payload)
    assert (
        world.refusal(replace(envelope, signatures=((envelope.signatures[0][0], stolen),))) == "transaction.signature"
    )


def test_a_signature_over_another_payload_is_refused(world):
    first, second = (sign(world.transaction(RENHE, anchor())) for _ in range(2))
    swapped = Envelope(second.payload, second.transaction, first.signatures, second.leaf)
    assert world.refusal(swapped) == "transaction.signature"


def test_a_key_of_nobody_is_refused(world):
    payload = world.transaction(RENHE, anchor(), signers=[("newcomer-hospital", "creator")])
    assert world.refusal(payload) == "transaction.signer_unknown"


def test_a_key_of_another_use_is_refused(world):
    row = (Signer(key(RENHE, "log").id, "creator"),)
    payload = replace(world.transaction(RENHE, anchor()), signers=row)
    envelope = sign(world.transaction(RENHE, anchor()))
    assert world.refusal(replace(envelope, transaction=payload)) == "transaction.signer_unknown"


def test_signers_found_good_are_judged_anew_for_another_creator_and_after_a_change_of_members(world):
    good = world.transaction(RENHE, anchor())
    assert world.refusal(good) == world.refusal(good) == ""
    assert world.refusal(replace(good, creator=TONGJI)) == "transaction.creator"
    assert world.refusal(replace(good, signers=(good.signers[0]._replace(role="member"),))) == "transaction.creator"
    world.members = world.members.with_organisation(replace(world.members.organisations[RENHE], status="suspended"))
    assert world.refusal(good) == "transaction.suspended"


def test_an_organisation_cannot_submit_for_another(world):
    payload = world.transaction(RENHE, anchor(), signers=[(TONGJI, "creator")])
    assert world.refusal(payload) == "transaction.creator"


def test_a_transaction_that_its_creator_did_not_sign_is_refused(world):
    payload = world.transaction(RENHE, anchor(), signers=[(RENHE, "member")])
    assert world.refusal(payload) == "transaction.creator"


def test_a_role_that_does_not_exist_is_refused(world):
    payload = world.transaction(RENHE, anchor(), signers=[(RENHE, "creator"), (ANXIN, "submitter")])
    assert world.refusal(payload) == "transaction.role"


def test_two_independent_endorsers_are_refused(world):
    signers = [(RENHE, "creator"), (TONGJI, "independent"), (COMMISSION, "independent")]
    payload = world.transaction(RENHE, anchor(), signers=signers, draw=Draw(0, 1, 0))
    assert world.refusal(payload) == "transaction.role"


def test_a_kind_that_does_not_exist_is_refused(world):
    assert world.refusal(world.transaction(RENHE, Change("unheard-of", "active", rows()))) == "transaction.kind"


def test_nobody_but_the_machine_writes_state_entries(world):
    assert world.refusal(world.transaction(RENHE, Change("state", "active", rows()))) == "transaction.status"


@pytest.mark.parametrize("status", ["stopped", "gone", "ended"])
def test_a_status_that_the_kind_does_not_have_is_refused(world, status):
    assert world.refusal(world.transaction(RENHE, Change("record", status, rows()))) == "transaction.status"


def test_a_transition_that_the_kind_does_not_have_is_refused(world):
    ended = world.add("emergency", RENHE, status="ended")
    change = Change("emergency", "ended", next_row(ended))
    assert world.refusal(world.transaction(RENHE, change)) == "transaction.status"
    erased = world.add("erasure", RENHE)
    assert (
        world.refusal(world.transaction(RENHE, Change("erasure", "active", next_row(erased)))) == "transaction.status"
    )


def test_attack_an_access_behind_the_stop_of_its_consent_as_the_end_of_its_chain(world):
    """Its refs would have to be active; those of an end are not asked for."""
    change = Change("access", "ended", next_row(world.add("access", RENHE)))
    assert world.refusal(world.transaction(RENHE, change)) == "transaction.status"


def test_many_objects_of_a_kind_that_does_not_come_in_batches_are_refused(world):
    assert world.refusal(world.transaction(RENHE, Change("erasure", "active", rows(2)))) == "transaction.objects"


@pytest.mark.parametrize("version", [1, 2, 4])
def test_a_version_that_does_not_follow_the_head_is_refused(world, version):
    head = world.add("record", RENHE, version=2, previous=fresh(32))
    row = (next_row(head)[0]._replace(version=version),)
    assert world.refusal(world.transaction(RENHE, Change("record", "active", row))) == "transaction.version"


def test_the_first_version_of_an_object_is_one(world):
    assert world.refusal(world.transaction(RENHE, Change("record", "active", rows(1, 2)))) == "transaction.version"


def test_another_organisation_cannot_continue_an_object(world):
    head = world.add("record", RENHE)
    payload = world.transaction(TONGJI, Change("record", "active", next_row(head)))
    assert world.refusal(payload) == "transaction.version"


def test_a_stopped_object_has_no_further_version(world):
    head = consent_in(world, status="stopped")
    change = Change("consent", "active", next_row(head), (), fresh(32), DAY)
    assert world.refusal(world.transaction(RENHE, change)) == "transaction.stopped"


def test_an_object_that_is_over_already_is_refused(world):
    consent = consent_in(world)
    assert world.refusal(world.transaction(RENHE, grant_of(consent, expires=DAY - 1))) == "transaction.expired"
    assert world.refusal(world.transaction(RENHE, grant_of(consent, expires=DAY))) == ""


def test_a_grant_without_consent_is_refused(world):
    change = Change("grant", "active", rows(), (), fresh(32), DAY)
    assert world.refusal(world.transaction(RENHE, change)) == "transaction.ref"


def test_a_grant_on_something_else_than_a_consent_is_refused(world):
    subject = world.add("subject", RENHE)
    assert world.refusal(world.transaction(RENHE, grant_of(subject))) == "transaction.ref"


def test_a_ref_to_another_version_than_the_head_is_refused(world):
    consent = consent_in(world)
    for version in (2, 3):
        change = grant_of(consent, refs=(ref(consent)._replace(version=version),))
        assert world.refusal(world.transaction(RENHE, change)) == "transaction.ref"


def test_a_ref_to_nothing_is_refused(world):
    change = grant_of(consent_in(world), refs=(ref(consent_in(world))._replace(key=fresh(32)),))
    assert world.refusal(world.transaction(RENHE, change)) == "transaction.ref"


def test_a_ref_to_an_ended_object_is_refused(world):
    consent = consent_in(world, status="ended")
    assert world.refusal(world.transaction(RENHE, grant_of(consent))) == "transaction.ref"


def test_a_ref_to_an_expired_object_is_refused(world):
    consent = consent_in(world, expires=DAY - 1)
    assert world.refusal(world.transaction(RENHE, grant_of(consent))) == "transaction.ref_expired"


def test_an_access_must_stand_on_the_consent_of_its_grant(world):
    consent, other = consent_in(world), consent_in(world)
    grant = world.add("grant", RENHE, stop_hash=fresh(32), refs=refs(consent))
    change = Change("access", "active", rows(), refs(grant, other))
    assert world.refusal(world.transaction(RENHE, change)) == "transaction.ref"
    alone = Change("access", "active", rows(), refs(grant))
    assert world.refusal(world.transaction(RENHE, alone)) == "transaction.ref"


def test_a_kind_without_refs_may_have_none(world):
    change = replace(anchor(), refs=refs(consent_in(world)))
    assert world.refusal(world.transaction(RENHE, change)) == "transaction.ref"


@pytest.mark.parametrize("status", ["reserved", "reversed"])
def test_a_claim_may_stand_on_a_reversed_one_whatever_that_stood_on(world, status):
    oldest = world.add("claim", RENHE, "reversed")
    old = world.add("claim", RENHE, "reversed", refs=refs(oldest))
    assert world.refusal(world.transaction(RENHE, Change("claim", status, rows(), refs(old)))) == ""
    assert world.refusal(world.transaction(RENHE, Change("claim", status, rows(), refs(old, oldest)))) == (
        "transaction.ref"
    )


@pytest.mark.parametrize("status", ["reserved", "settled", "released"])
def test_a_claim_on_one_that_was_not_reversed_is_refused(world, status):
    old = world.add("claim", RENHE, status)
    assert world.refusal(world.transaction(RENHE, Change("claim", "reserved", rows(), refs(old)))) == "transaction.ref"


def test_a_claim_on_something_else_is_refused(world):
    for other in (consent_in(world), consent_in(world, status="reversed")):
        change = Change("claim", "reserved", rows(), refs(other))
        assert world.refusal(world.transaction(RENHE, change)) == "transaction.ref"
    stopped = consent_in(world, status="stopped")
    change = Change("claim", "reserved", rows(), refs(stopped))
    assert world.refusal(world.transaction(RENHE, change)) == "transaction.stopped"


def test_a_settled_or_released_claim_stands_on_nothing(world):
    old, head = world.add("claim", RENHE, "reversed"), world.add("claim", RENHE, "reserved")
    for status in ("settled", "released"):
        change = Change("claim", status, next_row(head), refs(old))
        assert world.refusal(world.transaction(RENHE, change)) == "transaction.ref"
        assert world.refusal(world.transaction(RENHE, replace(change, refs=()))) == ""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "settled"),
        (None, "released"),
        ("released", "settled"),
        ("reversed", "reserved"),
        ("reversed", "settled"),
        ("reversed", "released"),
        ("reversed", "reversed"),
    ],
)
def test_what_no_deed_leads_to_is_refused_of_claims(world, before, after):
    row = rows() if before is None else next_row(world.add("claim", RENHE, before))
    assert world.refusal(world.transaction(RENHE, Change("claim", after, row))) == "transaction.status"


def test_a_reservation_that_is_over_is_followed_by_the_next_version(world):
    head = world.add("claim", RENHE, "reserved", expires=DAY - 1)
    change = Change("claim", "reserved", next_row(head), (), None, DAY)
    assert world.refusal(world.transaction(RENHE, change)) == ""
    assert world.refusal(world.transaction(RENHE, replace(change, expires=DAY - 1))) == "transaction.expired"


def test_of_two_claims_at_once_the_ledgers_order_decides(world):
    head = world.add("claim", RENHE, "reserved")
    first, second = (
        world.transaction(RENHE, Change("claim", "settled", next_row(head)), **next_draw(world, at)) for at in (0, 1)
    )
    effects = world.apply(first, second, strict=False)
    assert [(at, refusal.code) for at, refusal in effects.refusals] == [(1, "transaction.version")]
    assert effects.records[head.key].body_hash == first.changes[0].objects[0].body_hash


def test_a_hospital_alone_makes_no_claim_and_a_policy_without_rules_refuses_it(world):
    change = Change("claim", "reserved", rows())
    alone = world.transaction(RENHE, change, signers=[(RENHE, "creator")], draw=None)
    assert world.refusal(alone) == "transaction.policy"
    former = default_policy()
    former["rules"] = {rule: value for rule, value in former["rules"].items() if not rule.startswith("claim/")}
    world.members = world.members.with_policy(parse_policy(former))
    assert world.refusal(world.transaction(RENHE, change)) == "transaction.policy_missing"


@pytest.mark.parametrize("until", [None, -1, 61])
def test_a_widening_transaction_cannot_be_held_back(world, until):
    value = None if until is None else world.time + until
    payload = world.transaction(RENHE, grant_of(consent_in(world)), until=value)
    assert world.refusal(payload) == "transaction.until"


@pytest.mark.parametrize("until", [0, 60])
def test_until_includes_its_last_second(world, until):
    assert world.refusal(world.transaction(RENHE, grant_of(consent_in(world)), until=world.time + until)) == ""


def test_an_anchor_may_wait_but_not_beyond_its_own_until(world):
    assert world.refusal(world.transaction(RENHE, anchor(), until=None)) == ""
    assert world.refusal(world.transaction(RENHE, anchor(), until=world.time + 9999)) == ""
    assert world.refusal(world.transaction(RENHE, anchor(), until=world.time - 1)) == "transaction.until"


def test_a_consent_that_nobody_could_stop_is_refused(world):
    change = Change("consent", "active", rows(), (), None, DAY)
    assert world.refusal(world.transaction(RENHE, change)) == "transaction.stop_hash"


def test_a_creator_cannot_outrun_a_stop_with_a_version_of_another_preimage(world):
    consent = consent_in(world)
    renewed = Change("consent", "active", next_row(consent), (), consent.stop_hash, DAY + 9)
    outrun = replace(renewed, stop_hash=fresh(32))
    assert world.refusal(world.transaction(RENHE, outrun)) == "transaction.stop_hash"
    assert world.refusal(world.transaction(RENHE, renewed)) == ""


def test_a_stop_hash_where_nothing_can_be_stopped_is_refused(world):
    change = replace(anchor(), stop_hash=fresh(32))
    assert world.refusal(world.transaction(RENHE, change)) == "transaction.stop_hash"


def test_a_rule_that_the_policy_does_not_have_refuses(world):
    rules = dict(world.members.policy.rules)
    del rules["erasure/active"]
    world.members = world.members.with_policy(replace(world.members.policy, rules=rules))
    payload = world.transaction(RENHE, Change("erasure", "active", rows_of(1)))
    assert world.refusal(payload) == "transaction.policy_missing"


def rows_of(number):
    return rows(number)


def test_a_consent_without_independent_endorser_is_refused(world):
    change = Change("consent", "active", rows(), (), fresh(32), DAY)
    payload = world.transaction(RENHE, change, signers=[(RENHE, "creator")])
    assert world.refusal(payload) == "transaction.policy"


def test_one_change_that_lacks_endorsement_spoils_the_transaction(world):
    payload = world.transaction(
        RENHE, anchor(), Change("consent", "active", rows(), (), fresh(32), DAY), signers=[(RENHE, "creator")]
    )
    assert world.refusal(payload) == "transaction.policy"


# The draw


def consent_change() -> Change:
    return Change("consent", "active", rows(), (), fresh(32), DAY + 9)


def test_another_endorser_than_the_drawn_one_is_refused(world):
    order = [world.drawn(RENHE, 1, rank) for rank in range(2)]
    assert sorted(order) == sorted([TONGJI, COMMISSION])
    right = world.transaction(
        RENHE, consent_change(), signers=[(RENHE, "creator"), (order[1], "independent")], draw=Draw(0, 1, 1)
    )
    wrong = replace(right, draw=Draw(0, 1, 0))
    assert (world.refusal(right), world.refusal(wrong)) == ("", "transaction.draw")


def test_a_rank_beyond_the_candidates_is_refused(world):
    payload = world.transaction(RENHE, consent_change())
    assert world.refusal(replace(payload, draw=Draw(0, 1, 2))) == "transaction.draw"


def test_an_endorser_under_the_creators_control_is_never_drawn(world):
    sister = replace(world.members.organisations[TONGJI], control=f"control of {RENHE}")
    world.members = world.members.with_organisation(sister)
    signers = [(RENHE, "creator"), (TONGJI, "independent")]
    for rank in range(3):
        payload = world.transaction(RENHE, consent_change(), signers=signers, draw=Draw(0, 1, rank))
        assert world.refusal(payload) == "transaction.draw"


def test_an_insurer_is_never_drawn(world):
    signers = [(RENHE, "creator"), (ANXIN, "independent")]
    for rank in range(4):
        payload = world.transaction(RENHE, consent_change(), signers=signers, draw=Draw(0, 1, rank))
        assert world.refusal(payload) == "transaction.draw"


@pytest.mark.parametrize("number", [0, 65])
def test_a_draw_number_outside_the_window_is_refused(world, number):
    signers = [(RENHE, "creator"), (world.drawn(RENHE, number), "independent")]
    payload = world.transaction(RENHE, consent_change(), signers=signers, draw=Draw(0, number, 0))
    assert world.refusal(payload) == "transaction.draw"


def test_a_draw_number_is_used_once(world):
    first, second = (world.transaction(RENHE, consent_change()) for _ in range(2))
    assert first.draw == second.draw
    world.apply(first)
    assert world.refusal(second) == "transaction.draw"


def test_transactions_under_way_together_may_be_ordered_in_any_order(world):
    made = [world.transaction(RENHE, consent_change(), **next_draw(world, at)) for at in range(8)]
    effects = world.apply(*made[::-1])
    assert len(effects.leaves) == 8
    assert world.draws(RENHE) == DrawState(8, 0, 0)


def test_a_draw_without_independent_endorser_is_refused_and_the_reverse(world):
    assert world.refusal(world.transaction(RENHE, anchor(), draw=Draw(0, 1, 0))) == "transaction.draw"
    payload = world.transaction(RENHE, consent_change())
    assert world.refusal(replace(payload, draw=None)) == "transaction.draw"


def test_the_seed_is_that_of_the_last_two_intervals(world):
    world.height = 600
    world.seeds = {512: fresh(32), 256: fresh(32)}
    for height, expected in ((512, ""), (256, ""), (0, "transaction.draw"), (768, "transaction.draw")):
        start = world.seeds.get(height, world.genesis.ledger)
        endorser = draw_order(world.members, RENHE, 1, start)[0]
        signers = [(RENHE, "creator"), (endorser, "independent")]
        payload = world.transaction(RENHE, consent_change(), signers=signers, draw=Draw(height, 1, 0))
        assert world.refusal(payload) == expected


def test_a_seed_that_the_state_does_not_have_is_refused(world):
    world.height = 600
    payload = world.transaction(RENHE, consent_change(), draw=Draw(512, 1, 0))
    assert world.refusal(payload) == "transaction.draw"


@pytest.mark.parametrize(
    ("height", "expected"),
    [(0, (0,)), (1, (0,)), (256, (0,)), (257, (256, 0)), (512, (256, 0)), (513, (512, 256))],
)
def test_seed_heights(height, expected):
    assert seed_heights(height) == expected


@given(st.lists(st.integers(0, DRAW_WINDOW - 1), max_size=200))
def test_draw_numbers_are_used_once_and_every_number_is_accounted_for(steps):
    state, used = DrawState(), set()
    for step in steps:
        number = state.number + 1 + step
        assert state.is_open(number) == (number not in used)
        if not state.is_open(number):
            continue
        state = state.use(number)
        used.add(number)
        assert not state.is_open(number)
        assert state.used < 2**32
        assert state.number - state.given_up == sum(n <= state.number for n in used)
        assert state.used.bit_count() == sum(n > state.number for n in used)


def test_a_number_that_falls_too_far_behind_is_given_up_and_counted():
    state = DrawState().use(DRAW_LAG + 1)
    assert (state.number, state.given_up, state.is_open(1), state.is_open(2)) == (1, 1, False, True)


# Stops


def test_a_stranger_with_the_preimage_can_stop(world):
    consent = consent_in(world)
    stopped = world.apply(world.stop(TAIPING, consent.key, PREIMAGE)).records[consent.key]
    assert stopped == replace(consent, version=2, status="stopped", since=2, previous=consent.digest)


def test_the_body_of_a_stop_replaces_the_body_hash(world):
    consent, evidence = consent_in(world), fresh(32)
    stopped = world.apply(world.stop(TAIPING, consent.key, PREIMAGE, evidence=evidence)).records[consent.key]
    assert stopped.body_hash == evidence


def test_nobody_can_stop_without_the_preimage(world):
    consent = consent_in(world)
    assert world.refusal(world.stop(RENHE, consent.key, fresh(32))) == "stop.preimage"


def test_a_second_stop_changes_nothing(world):
    consent = consent_in(world)
    world.apply(world.stop(TAIPING, consent.key, PREIMAGE))
    before = dict(world.records)
    effects = world.apply(world.stop(RENHE, consent.key, PREIMAGE), strict=False)
    assert [refusal.code for _, refusal in effects.refusals] == ["stop.repeated"]
    assert world.records == before


def test_what_does_not_exist_cannot_be_stopped(world):
    assert world.refusal(world.stop(RENHE, fresh(32), PREIMAGE)) == "stop.unknown"


def test_what_has_no_stop_hash_or_is_ended_cannot_be_stopped(world):
    record, ended = world.add("record", RENHE), consent_in(world, status="ended")
    assert world.refusal(world.stop(RENHE, record.key, PREIMAGE)) == "stop.not_stoppable"
    assert world.refusal(world.stop(RENHE, ended.key, PREIMAGE)) == "stop.not_stoppable"


def test_a_stop_needs_a_member_in_its_own_name(world):
    consent = consent_in(world)
    good = world.stop(ANXIN, consent.key, PREIMAGE)
    assert world.refusal(replace(good, creator=TAIPING)) == "transaction.creator"
    creator = replace(good, signers=(Signer(good.signers[0].key_id, "creator"),))
    assert world.refusal(creator) == "transaction.role"
    outsider = replace(good, signers=(Signer(key("newcomer-hospital", "ledger").id, "submitter"),))
    assert world.refusal(outsider) == "transaction.signer_unknown"
    two = sorted(Signer(key(org, "ledger").id, "submitter") for org in (ANXIN, TAIPING))
    assert world.refusal(replace(good, creator=owner_of(two[0]), signers=tuple(two))) == "transaction.role"


def owner_of(row):
    return next(org for org in ROLES if key(org, "ledger").id == row.key_id)


def test_a_stop_signed_with_a_key_of_another_use_is_refused(world):
    good = sign(world.stop(ANXIN, consent_in(world).key, PREIMAGE))
    other = replace(good.transaction, signers=(Signer(key(ANXIN, "log").id, "submitter"),))
    assert world.refusal(replace(good, transaction=other)) == "transaction.signer_unknown"


def test_a_stop_with_a_forged_signature_is_refused(world):
    good = sign(world.stop(ANXIN, consent_in(world).key, PREIMAGE))
    assert world.refusal(replace(good, signatures=((good.signatures[0][0], bytes(64)),))) == "transaction.signature"


def test_a_suspended_organisation_can_still_stop(world):
    consent = consent_in(world)
    suspended = replace(world.members.organisations[ANXIN], status="suspended")
    world.members = world.members.with_organisation(suspended)
    assert world.refusal(world.stop(ANXIN, consent.key, PREIMAGE)) == ""


def test_an_access_endorsed_before_the_stop_but_ordered_after_it_is_refused(world):
    consent = consent_in(world)
    grant = world.add("grant", RENHE, stop_hash=fresh(32), refs=refs(consent))
    access = sign(world.transaction(RENHE, Change("access", "active", rows(), refs(grant, consent))))
    assert world.refusal(access) == ""
    effects = world.apply(world.stop(ANXIN, consent.key, PREIMAGE), access, strict=False)
    assert [(index, refusal.code) for index, refusal in effects.refusals] == [(1, "transaction.stopped")]


def test_a_grant_endorsed_before_the_stop_of_its_consent_is_refused_after_it(world):
    consent = consent_in(world)
    grant = sign(world.transaction(RENHE, grant_of(consent)))
    world.apply(world.stop(ANXIN, consent.key, PREIMAGE))
    assert world.refusal(grant) == "transaction.stopped"


def test_a_ref_that_names_the_stopped_version_is_refused(world):
    consent = consent_in(world, status="stopped", version=2, previous=fresh(32))
    assert world.refusal(world.transaction(RENHE, grant_of(consent))) == "transaction.stopped"


# Replay


@pytest.mark.parametrize("kind", ["record", "subject", "consent", "grant", "access", "emergency", "erasure"])
def test_a_transaction_cannot_be_replayed(world, kind):
    consent = consent_in(world)
    grant = world.add("grant", RENHE, stop_hash=fresh(32), refs=refs(consent))
    change = {
        "record": anchor(5),
        "consent": consent_change(),
        "grant": grant_of(consent),
        "access": Change("access", "active", rows(), refs(grant, consent)),
    }.get(kind, Change(kind, "active", rows()))
    envelope = sign(world.transaction(RENHE, change, until=world.time + 60))
    world.apply(envelope)
    assert world.refusal(envelope) == "transaction.version"


@pytest.mark.parametrize("kind", ["organisation", "policy", "protocol"])
def test_a_public_transaction_cannot_be_replayed(world, kind):
    content = {
        "organisation": organisation_content(replace(world.members.organisations[RENHE], url="https://new.example")),
        "policy": default_policy(),
        "protocol": protocol_content(replace(world.members.protocol, quorum=5)),
    }[kind]
    envelope = sign(world.public(RENHE, (kind, content), signers=[TONGJI, COMMISSION]))
    world.apply(envelope)
    assert world.refusal(envelope) == "transaction.version"


# Membership, policy, protocol


def newcomer(**changes: object):
    return organisation("newcomer-hospital", "hospital", **changes)


def joining(world: World, member=None, proofs=None):
    joined = member or newcomer()
    signed = {k.id: base64_text(prove(world.genesis.ledger, k)) for k in joined.keys}
    return organisation_content(joined, signed if proofs is None else proofs)


def larger_quorum(world: World, quorum: int = 5):
    return "protocol", protocol_content(replace(world.members.protocol, quorum=quorum))


def test_a_majority_with_a_regulator_lets_an_organisation_join(world):
    # Six members bear one fault: k > 3.5, so k = 4 stays.
    effects = world.apply(world.public(RENHE, ("organisation", joining(world)), signers=[TONGJI, COMMISSION]))
    assert "newcomer-hospital" in effects.members.organisations
    assert effects.records[organisation_key("newcomer-hospital")].creator == "newcomer-hospital"
    assert world.refusal(world.transaction("newcomer-hospital", anchor())) == ""


def test_nobody_joins_without_a_majority_or_without_a_regulator(world):
    content = ("organisation", joining(world))
    assert world.refusal(world.public(RENHE, content, signers=[COMMISSION])) == "transaction.policy"
    assert world.refusal(world.public(RENHE, content, signers=[TONGJI, ANXIN])) == "transaction.policy"


def test_nobody_joins_with_a_key_that_it_does_not_hold(world):
    proofs = {k.id: base64_text(prove(world.genesis.ledger, k)) for k in newcomer().keys}
    for name in proofs:
        lacking = {other: proof for other, proof in proofs.items() if other != name}
        payload = world.public(RENHE, ("organisation", joining(world, proofs=lacking)), signers=[TONGJI, COMMISSION])
        assert world.refusal(payload) == "transaction.body"


def test_nobody_joins_with_the_key_of_another(world):
    stolen = replace(key(RENHE, "ledger"), org_id="newcomer-hospital")
    member = newcomer(keys=tuple(sorted((*newcomer().keys, stolen), key=lambda k: k.id)))
    proofs = {k.id: base64_text(prove(world.genesis.ledger, k)) for k in newcomer().keys}
    proofs[stolen.id] = base64_text(ledger_proof(world, stolen))
    payload = world.public(RENHE, ("organisation", joining(world, member, proofs)), signers=[TONGJI, COMMISSION])
    assert world.refusal(payload) == "transaction.key"


def ledger_proof(world, stolen):
    from tests.unit.medchain.ledger.world import ledger_signer  # noqa: PLC0415  # only here

    return ledger_signer(RENHE).sign(proof_message(world.genesis.ledger, stolen))


def test_members_that_outgrow_the_quorum_must_raise_it_in_the_same_transaction(world):
    world.members = world.members.with_organisation(newcomer())
    member = organisation("eighth", "hospital")
    seventh = organisation("seventh", "hospital")
    # Eight members bear two faults: k > 5.
    world.members = world.members.with_organisation(seventh)
    content = ("organisation", joining(world, member))
    voters = [TONGJI, COMMISSION, ANXIN, TAIPING]
    assert world.refusal(world.public(RENHE, content, signers=voters)) == "transaction.quorum"
    both = world.public(RENHE, content, larger_quorum(world, 6), signers=voters)
    assert world.refusal(both) == ""


@pytest.mark.parametrize(
    ("quorum", "expected"), [(3, "transaction.quorum"), (4, ""), (5, ""), (6, "transaction.quorum")]
)
def test_the_quorum_stays_within_its_bounds(world, quorum, expected):
    payload = world.public(RENHE, larger_quorum(world, quorum), signers=[TONGJI, COMMISSION])
    assert world.refusal(payload) == expected


def test_a_hand_over_names_an_active_organisation(world):
    rules = world.members.protocol
    for orderer, expected in ((TONGJI, ""), ("nobody", "transaction.orderer")):
        content = ("protocol", protocol_content(replace(rules, orderer=orderer)))
        assert world.refusal(world.public(RENHE, content, signers=[TONGJI, COMMISSION])) == expected
    effects = world.apply(
        world.public(
            RENHE, ("protocol", protocol_content(replace(rules, orderer=TONGJI))), signers=[TONGJI, COMMISSION]
        )
    )
    assert effects.members.protocol.orderer == TONGJI


def test_the_orderer_cannot_be_suspended_without_a_hand_over(world):
    content = (
        "organisation",
        organisation_content(replace(world.members.organisations[COMMISSION], status="suspended")),
    )
    payload = world.public(RENHE, content, signers=[TONGJI, COMMISSION])
    assert world.refusal(payload) == "transaction.orderer"


def suspended(world: World, org_id: str, status: str = "suspended"):
    return "organisation", organisation_content(replace(world.members.organisations[org_id], status=status))


@pytest.mark.parametrize(
    ("status", "expected"), [("suspended", "transaction.suspended"), ("removed", "transaction.signer_unknown")]
)
def test_an_organisation_that_is_suspended_or_removed_submits_nothing(world, status, expected):
    world.apply(world.public(RENHE, suspended(world, ANXIN, status), signers=[TONGJI, COMMISSION]))
    assert world.refusal(world.transaction(ANXIN, anchor())) == expected
    assert world.refusal(world.public(RENHE, suspended(world, TAIPING), signers=[ANXIN, COMMISSION])) == expected


def test_a_suspended_organisation_can_come_back(world):
    world.apply(world.public(RENHE, suspended(world, ANXIN), signers=[TONGJI, COMMISSION]))
    world.apply(world.public(RENHE, suspended(world, ANXIN, "active"), signers=[TONGJI, COMMISSION]))
    assert world.refusal(world.transaction(ANXIN, anchor())) == ""


def test_an_organisation_cannot_suspend_another_alone(world):
    assert world.refusal(world.public(RENHE, suspended(world, ANXIN))) == "transaction.policy"


def rotated(world: World, org_id: str, use: str = "ledger", generation: int = 2, owner: str = ""):
    ledger, made = world.genesis.ledger, key(owner or org_id, use, generation)
    # Another's key, whose private part its new holder has come by.
    member, new = world.members.organisations[org_id], replace(made, org_id=org_id)
    keys = tuple(sorted((*(k for k in member.keys if k.use != use), new), key=lambda k: k.id))
    secret = Ed25519Signer(seed(owner or org_id, use, generation))
    proof = base64_text(secret.sign(proof_message(ledger, new)))
    return "organisation", organisation_content(replace(member, keys=keys), {new.id: proof})


def test_an_organisation_rotates_its_own_key_and_the_old_one_ends(world):
    world.apply(world.public(RENHE, rotated(world, RENHE)))
    assert world.refusal(world.transaction(RENHE, anchor())) == "transaction.signer_unknown"
    payload = world.transaction(RENHE, anchor())
    assert world.refusal(replace(payload, signers=(Signer(key(RENHE, "ledger", 2).id, "creator"),))) == ""


def test_an_organisation_cannot_rotate_anothers_key_alone(world):
    assert world.refusal(world.public(RENHE, rotated(world, ANXIN))) == "transaction.policy"


@pytest.mark.parametrize("org_id", [RENHE, TONGJI])
def test_a_former_log_key_is_listed_by_nobody_again(world, org_id):
    for generation in (2, 3):
        world.apply(world.public(RENHE, rotated(world, RENHE, "log", generation)))
        former = world.public(org_id, rotated(world, org_id, "log", 1, RENHE))
        assert world.refusal(former) == "transaction.key_id"
    assert world.refusal(world.public(org_id, rotated(world, org_id, "log", 4, RENHE))) == ""


def test_a_former_cosigning_key_is_not_listed_again(world):
    world.apply(world.public(ANXIN, rotated(world, ANXIN, "cosign-ed25519")))
    assert world.refusal(world.public(ANXIN, rotated(world, ANXIN, "cosign-ed25519", 1))) == "transaction.key_id"


@pytest.mark.parametrize(("use", "twins"), [("cosign-ed25519", COSIGN_TWINS), ("log", LOG_TWINS)])
def test_attack_a_member_exchanges_a_key_for_one_of_the_same_id(world, use, twins):
    """Its lines by both, on the end of that block, could be told apart by no policy."""
    first, second = twins
    assert line_id(RENHE, use, first) == line_id(RENHE, use, second)
    world.apply(world.public(RENHE, rotated(world, RENHE, use, first)))
    twin = world.public(RENHE, rotated(world, RENHE, use, second))
    assert world.refusal(twin) == "transaction.key_id"
    world.apply(world.public(RENHE, rotated(world, RENHE, use, 2)))
    assert world.refusal(world.public(RENHE, rotated(world, RENHE, use, second))) == "transaction.key_id"
    assert world.refusal(world.public(RENHE, rotated(world, RENHE, use, 3))) == ""


def test_attack_a_member_has_a_log_key_of_anothers_id(world):
    """All log keys sign under the ledger's name, so that the lines of that one would be condemned with its own."""
    first, second = LOG_TWINS
    world.apply(world.public(RENHE, rotated(world, RENHE, "log", first)))
    for status in ("active", "removed"):
        world.apply(world.public(ANXIN, suspended(world, RENHE, status), signers=[TONGJI, COMMISSION]))
        twin = world.public(TONGJI, rotated(world, TONGJI, "log", second, RENHE))
        assert world.refusal(twin) == "transaction.key_id"


def test_attack_two_members_list_log_keys_of_one_id_at_once(world):
    first, second = LOG_TWINS
    twins = rotated(world, RENHE, "log", first), rotated(world, TONGJI, "log", second, RENHE)
    payload = world.public(RENHE, *twins, signers=[TONGJI, COMMISSION])
    assert world.refusal(payload) == "transaction.key_id"
    assert world.refusal(world.public(RENHE, twins[0], signers=[TONGJI, COMMISSION])) == ""


def test_all_key_ids_that_there_have_been_are_known_and_no_others(world):
    """Keys of other uses have none: they sign no checkpoint."""
    first = {(org_id, use, 1) for org_id in ROLES for use in ("cosign-ed25519", "cosign-mldsa44", "log")}
    assert world.members.line_ids == {line_id(*row).hex() for row in first}
    world.apply(world.public(RENHE, rotated(world, RENHE, "log")))
    world.apply(world.public(RENHE, rotated(world, RENHE, "ledger")))
    assert world.members.line_ids == {line_id(*row).hex() for row in {*first, (RENHE, "log", 2)}}


def test_who_joins_lists_no_former_log_key(world):
    world.apply(world.public(RENHE, rotated(world, RENHE, "log")))
    former = replace(key(RENHE, "log"), org_id="newcomer-hospital")
    own = [k for k in newcomer().keys if k.use != "log"]
    member = newcomer(keys=tuple(sorted((*own, former), key=lambda k: k.id)))
    proofs = {k.id: base64_text(prove(world.genesis.ledger, k)) for k in own}
    secret = Ed25519Signer(seed(RENHE, "log", 1))
    proofs[former.id] = base64_text(secret.sign(proof_message(world.genesis.ledger, former)))
    payload = world.public(RENHE, ("organisation", joining(world, member, proofs)), signers=[TONGJI, COMMISSION])
    assert world.refusal(payload) == "transaction.key_id"


def test_what_else_changes_leaves_a_log_key_listed(world):
    """Also where its organisation was away meanwhile."""
    world.apply(world.public(RENHE, suspended(world, ANXIN), signers=[TONGJI, COMMISSION]))
    world.apply(world.public(RENHE, suspended(world, ANXIN, "active"), signers=[TONGJI, COMMISSION]))
    world.apply(world.public(ANXIN, rotated(world, ANXIN, "cosign-ed25519")))
    assert world.members.organisations[ANXIN].key("log") == key(ANXIN, "log")


def handed_over(world: World, org_id: str):
    return "protocol", protocol_content(replace(world.members.protocol, orderer=org_id))


def test_who_orders_keeps_its_log_key(world):
    assert world.refusal(world.public(COMMISSION, rotated(world, COMMISSION, "log"))) == "transaction.log_key"
    assert world.refusal(world.public(TONGJI, rotated(world, TONGJI, "log"))) == ""
    # Nor do the others exchange it for it, be it with a hand-over in the same transaction.
    contents = (rotated(world, COMMISSION, "log"), handed_over(world, TONGJI))
    payload = world.public(RENHE, *contents, signers=[TONGJI, COMMISSION])
    assert world.refusal(payload) == "transaction.log_key"


def test_who_hands_over_exchanges_its_log_key_in_a_later_block(world):
    """The note at the end of the block is under the key that the block began with."""
    there = sign(world.public(RENHE, handed_over(world, TONGJI), signers=[TONGJI, COMMISSION]))
    exchange, other = (sign(world.public(name, rotated(world, name, "log"))) for name in (COMMISSION, TONGJI))
    effects = world.apply(there, exchange, other, strict=False)
    assert [(index, refusal.code) for index, refusal in effects.refusals] == [
        (1, "transaction.log_key"),
        (2, "transaction.log_key"),
    ]
    assert world.refusal(other) == "transaction.log_key"
    assert world.refusal(exchange) == ""


def test_an_organisation_cannot_change_its_role_alone(world):
    content = organisation_content(replace(world.members.organisations[RENHE], role="regulator"))
    assert world.refusal(world.public(RENHE, ("organisation", content))) == "transaction.policy"


def test_a_policy_changes_only_under_the_policy_before_it(world):
    lax = {"rules": {"policy/active": "creator"}, "type": "medchain/policy/v1"}
    assert world.refusal(world.public(RENHE, ("policy", lax))) == "transaction.policy"
    world.apply(world.public(RENHE, ("policy", lax), signers=[TONGJI, COMMISSION]))
    assert world.refusal(world.public(RENHE, ("policy", default_policy()))) == ""
    assert world.refusal(world.transaction(RENHE, anchor())) == "transaction.policy_missing"


def test_changes_of_one_transaction_are_all_judged_under_the_policy_before_it(world):
    lax = {"rules": {"policy/active": "creator", "protocol/active": "creator"}, "type": "medchain/policy/v1"}
    assert world.refusal(world.public(RENHE, ("policy", lax), larger_quorum(world))) == "transaction.policy"


def test_a_public_content_that_is_not_what_its_hash_says_is_refused(world):
    payload = world.public(RENHE, ("policy", default_policy()), signers=[TONGJI, COMMISSION])
    other = default_policy()
    other["rules"]["x/y"] = "creator"
    assert world.refusal(replace(payload, bodies=(other,))) == "transaction.body"


def test_a_malformed_public_content_is_refused(world):
    payload = world.public(RENHE, ("policy", {"rules": {}, "type": "x"}), signers=[TONGJI, COMMISSION])
    assert world.refusal(payload) == "transaction.body"


def test_bodies_must_match_the_changes(world):
    good = world.public(RENHE, larger_quorum(world), signers=[TONGJI, COMMISSION])
    assert world.refusal(replace(good, bodies=())) == "transaction.bodies"
    assert world.refusal(replace(good, bodies=("text",))) == "transaction.bodies"
    assert world.refusal(replace(good, bodies=(*good.bodies, {}))) == "transaction.bodies"
    assert world.refusal(world.transaction(RENHE, anchor(), bodies=({},))) == "transaction.bodies"


def test_a_public_object_under_another_id_is_refused(world):
    good = world.public(RENHE, larger_quorum(world), signers=[TONGJI, COMMISSION])
    content = good.bodies[0]
    row = rows()[0]._replace(body_hash=public_body_hash("protocol", content))
    change = replace(good.changes[0], objects=(row,))
    assert world.refusal(replace(good, changes=(change,))) == "transaction.owner"


def test_a_public_object_does_not_expire(world):
    good = world.public(RENHE, larger_quorum(world), signers=[TONGJI, COMMISSION])
    change = replace(good.changes[0], expires=DAY + 9)
    assert world.refusal(replace(good, changes=(change,))) == "transaction.expired"


# Blocks


def test_a_replica_refuses_a_block_with_a_refused_transaction(world):
    good, bad = world.transaction(RENHE, anchor()), world.transaction(RENHE, anchor(), ledger=fresh(32))
    with pytest.raises(VerificationError, match=r"block\.transaction") as caught:
        world.apply(good, bad)
    assert caught.value.fields == {"position": 3, "reason": "transaction.ledger"}


def test_the_orderer_leaves_refused_transactions_out_and_positions_close_up(world):
    good, bad, last = (world.transaction(RENHE, anchor()) for _ in range(3))
    bad = replace(bad, ledger=fresh(32))
    effects = world.apply(good, bad, last, strict=False)
    assert [(index, refusal.code) for index, refusal in effects.refusals] == [(1, "transaction.ledger")]
    assert [record.since for record in effects.history] == [2, 3]
    assert effects.leaves == tuple(effects.leaves)
    assert len(effects.leaves) == 2


def test_what_is_no_envelope_is_refused(world):
    effects = apply_block(world, world.context, [b"{}", bytes(70000)], strict=False)
    assert [refusal.code for _, refusal in effects.refusals] == ["transaction.malformed", "transaction.too_large"]


def test_a_state_leaf_cannot_be_submitted(world):
    effects = apply_block(world, world.context, [state_leaf(1, 2, bytes(32), bytes(32))], strict=False)
    assert [refusal.code for _, refusal in effects.refusals] == ["transaction.malformed"]


def test_a_block_has_a_largest_size(world, monkeypatch):
    leaves = [sign(world.transaction(RENHE, anchor())).leaf for _ in range(3)]
    monkeypatch.setattr("medchain.ledger.machine.MAX_BLOCK_BYTES", len(leaves[0]) + len(leaves[1]))
    effects = apply_block(world, world.context, leaves, strict=False)
    assert [(index, refusal.code) for index, refusal in effects.refusals] == [(2, "transaction.size_left")]


def test_a_transaction_sees_what_those_before_it_in_the_block_did(world):
    record = anchor()
    first = world.transaction(RENHE, record)
    second_row = (record.objects[0]._replace(version=2),)
    effects = world.apply(first, world.transaction(RENHE, Change("record", "deleted", second_row)))
    assert [(r.version, r.status) for r in effects.history] == [(1, "active"), (2, "deleted")]
    assert [r.version for r in effects.records.values()] == [2]


def test_a_key_rotated_in_a_block_is_gone_for_the_rest_of_it(world):
    effects = world.apply(world.public(RENHE, rotated(world, RENHE)), world.transaction(RENHE, anchor()), strict=False)
    assert [refusal.code for _, refusal in effects.refusals] == ["transaction.signer_unknown"]


def test_draws_of_one_block_build_on_one_another(world):
    same = [world.transaction(RENHE, consent_change()) for _ in range(2)]
    effects = world.apply(*same, strict=False)
    assert [refusal.code for _, refusal in effects.refusals] == ["transaction.draw"]
    assert effects.draws == {RENHE: DrawState(1, 0, 0)}


def test_the_seed_of_a_block_comes_from_the_blocks_before_it(world):
    world.height = 300
    world.seeds = {256: fresh(32)}
    endorser = draw_order(world.members, RENHE, 1, world.seeds[256])[0]
    signers = [(RENHE, "creator"), (endorser, "independent")]
    effects = world.apply(world.transaction(RENHE, consent_change(), signers=signers, draw=Draw(256, 1, 0)))
    assert len(effects.leaves) == 1


def forged(envelope: Envelope) -> Envelope:
    """Write zeros in the place of an envelope's first signature."""
    signature = envelope.signatures[0][1]
    return parse_envelope(envelope.leaf.replace(base64_text(signature).encode(), base64_text(bytes(64)).encode()))


def test_signatures_that_somebody_vouches_for_are_not_checked_again_and_all_others_are(world):
    leaves = [
        b"{}",
        forged(sign(world.transaction(RENHE, anchor()))).leaf,
        sign(world.transaction(RENHE, anchor())).leaf,
    ]
    for vouched, expected in ((False, "transaction.signature"), (True, None)):
        asked = []

        def checks(members, envelopes, vouched=vouched, asked=asked):
            asked.append((members, [envelope.leaf for envelope in envelopes]))
            return [vouched, False]

        effects = apply_block(world, world.context, leaves, strict=False, checks=checks)
        assert {index: refusal.code for index, refusal in effects.refusals}.get(1) == expected
        assert leaves[2] in effects.leaves
        assert asked == [(world.members, leaves[1:])]


def test_an_envelope_is_signed_when_all_its_signatures_hold_under_keys_of_members(world):
    two = sign(world.transaction(RENHE, consent_change(), draw=Draw(0, 1, 0)))
    assert len(two.signatures) == 2
    assert is_signed(world.members, two)
    assert not is_signed(world.members, forged(two))
    ours = sign(replace(world.transaction(RENHE, anchor()), signers=(Signer(key(RENHE, "ledger", 2).id, "creator"),)))
    assert not is_signed(world.members, ours)
    world.apply(world.public(RENHE, rotated(world, RENHE)))
    assert is_signed(world.members, ours)


def test_a_key_that_ends_within_a_block_signs_nothing_after_it_though_its_signature_was_checked_before(world):
    leaves = [sign(world.public(RENHE, rotated(world, RENHE))).leaf, sign(world.transaction(RENHE, anchor())).leaf]
    effects = apply_block(
        world,
        world.context,
        leaves,
        strict=False,
        checks=lambda members, envelopes: [is_signed(members, envelope) for envelope in envelopes],
    )
    assert [refusal.code for _, refusal in effects.refusals] == ["transaction.signer_unknown"]


def test_what_was_checked_before_a_change_of_members_counts_no_more_behind_it(world):
    leaves = [
        sign(world.public(RENHE, rotated(world, RENHE))).leaf,
        forged(sign(world.transaction(ANXIN, anchor()))).leaf,
    ]
    effects = apply_block(
        world, world.context, leaves, strict=False, checks=lambda _, envelopes: [True] * len(envelopes)
    )
    assert [refusal.code for _, refusal in effects.refusals] == ["transaction.signature"]


@given(st.permutations(range(6)))
def test_the_same_block_gives_the_same_effects(order):
    world = World()
    consent = consent_in(world)
    payloads = [
        *(world.transaction(RENHE, anchor()) for _ in range(2)),
        world.transaction(RENHE, consent_change()),
        world.transaction(RENHE, grant_of(consent)),
        world.stop(ANXIN, consent.key, PREIMAGE),
        world.public(RENHE, rotated(world, RENHE)),
    ]
    leaves = [sign(payloads[at]).leaf for at in order]
    first, second = (apply_block(world, world.context, leaves, strict=False) for _ in range(2))
    assert first == second
    replayed = apply_block(world, world.context, first.leaves, strict=True)
    assert (replayed.records, replayed.members, replayed.draws) == (first.records, first.members, first.draws)


@given(st.data())
def test_a_changed_byte_never_changes_what_is_accepted(data):
    world = World()
    leaf = sign(world.transaction(RENHE, consent_change())).leaf
    at = data.draw(st.integers(0, len(leaf) - 1))
    changed = leaf[:at] + bytes([leaf[at] ^ data.draw(st.integers(1, 255))]) + leaf[at + 1 :]
    assert apply_block(world, world.context, [changed], strict=False).leaves == ()


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 2**53 - 1)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(max_codepoint=127), max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(value, path=()):
    """List the paths to everything inside a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [(*path, name) for name, _ in inside] + [p for name, item in inside for p in places(item, (*path, name))]


@given(st.sampled_from(["organisation", "policy", "protocol"]), json_values, st.data())
def test_whatever_a_public_content_holds_the_machine_gives_an_answer(kind, value, data):
    world = World()
    content = {
        "organisation": joining(world),
        "policy": default_policy(),
        "protocol": protocol_content(world.members.protocol),
    }[kind]
    path = data.draw(st.sampled_from(places(content)))
    inside = content
    for step in path[:-1]:
        inside = inside[step]
    inside[path[-1]] = value
    good = world.public(RENHE, larger_quorum(world), signers=[TONGJI, COMMISSION])
    row = rows()[0]._replace(body_hash=public_body_hash(kind, content))
    payload = replace(good, changes=(Change(kind, "active", (row,)),), bodies=(content,))
    assert world.refusal(payload) in {"transaction.body", "transaction.owner"}


def test_execute_changes_nothing_itself(world):
    before = dict(world.records), dict(world.draw_states), world.members
    assert isinstance(world.execute(world.transaction(RENHE, consent_change())), Effects)
    assert before == (world.records, world.draw_states, world.members)


def test_height_zero_holds_organisations_policy_and_protocol():
    effects = apply_genesis(genesis())
    assert effects.leaves == (genesis().encoded,)
    assert sorted(record.kind for record in effects.history) == ["organisation"] * 5 + ["policy", "protocol"]
    assert {(r.version, r.since, r.previous) for r in effects.history} == {(1, 0, None)}
    assert effects.members == genesis().members


def test_a_state_leaf_comes_back_as_it_went():
    leaf = state_leaf(3, 4, b"\x05" * 32, b"\x06" * 32)
    expected = b'{"height":3,"map_root":"%s","policy":"%s","time":4,"type":"medchain/state/v2"}'
    assert leaf == expected % (b"05" * 32, b"06" * 32)
    assert parse_state_leaf(leaf) == StateLeaf(3, 4, b"\x05" * 32, b"\x06" * 32)
    with pytest.raises(InputError):
        parse_envelope(leaf)


@pytest.mark.parametrize(
    "change",
    [
        {"height": -1},
        {"time": -1},
        {"type": "x"},
        {"map_root": "00"},
        {"height": True},
        {"extra": 1},
        {"time": "4"},
        {"policy": "00"},
        {"policy": None},
        {"policy": "0X" * 32},
    ],
)
def test_a_state_leaf_of_another_form_is_refused(change):
    document = {"height": 3, "map_root": "05" * 32, "policy": "06" * 32, "time": 4, "type": "medchain/state/v2"}
    with pytest.raises(InputError) as caught:
        parse_state_leaf(canonical(document | change))
    assert caught.value.code != "policy.unnamed"


def test_a_state_leaf_of_before_names_no_policy():
    document = {"height": 3, "map_root": "05" * 32, "time": 4, "type": "medchain/state/v1"}
    with pytest.raises(InputError, match=r"policy\.unnamed"):
        parse_state_leaf(canonical(document))


def test_the_day_of_a_block_follows_from_its_time():
    assert block_context(1, 86400 * 5 - 1, 2, genesis()).day == 4
    assert block_context(1, 86400 * 5, 2, genesis()).day == 5


def test_what_transactions_name_are_the_objects_that_they_change_refer_to_and_stop(world):
    consent = consent_in(world)
    made, stop = world.transaction(RENHE, grant_of(consent)), world.stop(TAIPING, consent.key, PREIMAGE)
    (row,) = made.changes[0].objects
    leaves = [sign(made).leaf, b"nonsense", sign(stop).leaf]
    assert named_keys(leaves) == [map_key("grant", RENHE, row.id), consent.key, consent.key]


def test_a_recovery_that_is_cancelled_first_is_not_carried_out(world):
    recovery = world.add("recovery", TONGJI, stop_hash=fresh(32), expires=DAY + 9)
    head = world.add("subject", RENHE)
    carried_out = Change("subject", "active", next_row(head), refs(recovery))
    assert world.refusal(world.transaction(RENHE, carried_out)) == ""
    assert world.refusal(world.transaction(RENHE, Change("subject", "active", next_row(head)))) == ""
    other = world.add("consent", RENHE, stop_hash=fresh(32))
    wrong = Change("subject", "active", next_row(head), refs(other))
    assert world.refusal(world.transaction(RENHE, wrong)) == "transaction.ref"
    world.records[recovery.key] = replace(recovery, status="stopped", version=2)
    assert world.refusal(world.transaction(RENHE, carried_out)) == "transaction.stopped"
