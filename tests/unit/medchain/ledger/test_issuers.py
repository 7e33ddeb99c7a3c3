"""Who issues which invoices: a code has one owner for ever, and an invoice one key that makes its id."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from medchain.encoding import base64_text, canonical, digest_input
from medchain.errors import InputError, VerificationError
from medchain.ledger.genesis import build_genesis, genesis_signatures, parse_genesis, verify_genesis
from medchain.ledger.issuers import Invoices, VrfGeneration, vrf_proof_input
from medchain.ledger.machine import Refusal
from medchain.ledger.members import is_own_update, organisation_content, parse_organisation
from tests.unit.medchain.ledger.world import (
    ANXIN,
    COMMISSION,
    DAY,
    RENHE,
    ROLES,
    TONGJI,
    World,
    genesis,
    invoices,
    organisation,
    prove,
    prove_vrf,
    vrf_key,
)

CODE, OTHER = "31010500123", "31010500124"
NEWCOMER = "newcomer-hospital"
OWNED = invoices(RENHE, CODE)
MEMBERS = [COMMISSION, TONGJI]


@pytest.fixture
def world() -> World:
    """Give Renhe an issuer code and a first key."""
    made = World()
    made.members = made.members.with_organisation(replace(made.members.organisations[RENHE], invoices=OWNED))
    return made


def changed(world: World, org_id: str, issued: Invoices | None, generation: int = 1, **proofs: str):
    """Write an organisation's next content with other invoices, and the proof of one key."""
    member = world.members.organisations[org_id]
    proven = proofs or prove_vrf(world.genesis.ledger, org_id, generation)
    return "organisation", organisation_content(replace(member, invoices=issued), proven)


def reason(world: World, payload) -> str:
    """Return why a content is refused, the empty text for one that is accepted."""
    outcome = world.execute(payload)
    return str(outcome.fields.get("reason", outcome.code)) if isinstance(outcome, Refusal) else ""


def rotated(*days: int) -> Invoices:
    return invoices(RENHE, CODE, days=(0, *days))


# What an organisation's content says


def test_an_organisation_that_issues_invoices_says_so_in_its_content():
    member = organisation(RENHE, "hospital", invoices=invoices(RENHE, CODE, OTHER, days=(0, 20_820)))
    content = organisation_content(member, {VrfGeneration(0, vrf_key(RENHE, 2).public).id: base64_text(b"proof")})
    assert content["invoices"] == {
        "issuers": [CODE, OTHER],
        "vrf": [
            {"from": 0, "proof": None, "public": base64_text(vrf_key(RENHE, 1).public)},
            {"from": 20_820, "proof": base64_text(b"proof"), "public": base64_text(vrf_key(RENHE, 2).public)},
        ],
    }
    assert parse_organisation(content) == (member, {member.invoices.generations[1].id: b"proof"})


def test_an_organisation_that_issues_none_has_the_content_that_it_had():
    member = organisation(RENHE, "hospital")
    assert "invoices" not in organisation_content(member)
    assert parse_organisation(organisation_content(member)) == (member, {})


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("issuers", []),
        ("issuers", {}),
        ("issuers", [OTHER, CODE]),
        ("issuers", [CODE, CODE]),
        ("issuers", ["lower"]),
        ("issuers", ["1" * 33]),
        ("issuers", [""]),
        ("issuers", ["31-01"]),
        ("issuers", [CODE + "\n"]),
        ("issuers", [31]),
        ("issuers", [f"{at:03}" for at in range(65)]),
        ("vrf", []),
        ("vrf", {}),
        ("extra", 1),
    ],
)
def test_malformed_invoices_are_refused(member, value):
    content = organisation_content(organisation(RENHE, "hospital", invoices=OWNED))
    content["invoices"][member] = value
    with pytest.raises(InputError):
        parse_organisation(content)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("from", 1),
        ("from", -1),
        ("from", "0"),
        ("from", True),
        ("public", base64_text(bytes(31))),
        ("public", base64_text(b"\1" + bytes(31))),
        ("public", None),
        ("proof", "!"),
        ("proof", 5),
        ("extra", 1),
    ],
)
def test_a_malformed_generation_is_refused(member, value):
    content = organisation_content(organisation(RENHE, "hospital", invoices=OWNED))
    content["invoices"]["vrf"][0][member] = value
    with pytest.raises(InputError):
        parse_organisation(content)
    content["invoices"]["vrf"] = [5]
    with pytest.raises(InputError):
        parse_organisation(content)


@pytest.mark.parametrize("days", [(0, 0), (0, 9, 8), (0, *range(1, 65))])
def test_generations_stand_in_the_order_of_their_days(days):
    with pytest.raises(InputError, match=r"organisation\.invoices"):
        parse_organisation(organisation_content(organisation(RENHE, "h", invoices=invoices(RENHE, CODE, days=days))))


def test_invoices_of_a_day_have_the_newest_key_that_has_begun():
    issued = rotated(100, 200)
    found = [issued.generation(day) for day in (-1, 0, 99, 100, 199, 200, 10**6)]
    first, second, third = issued.generations
    assert found == [None, first, first, second, second, third, third]


# Whose codes they are


def test_members_give_an_organisation_its_first_issuer_codes():
    world = World()
    content = changed(world, RENHE, OWNED)
    assert reason(world, world.public(RENHE, content)) == "transaction.policy"
    effects = world.apply(world.public(RENHE, content, signers=MEMBERS))
    assert effects.members.organisations[RENHE].invoices == OWNED


def test_members_add_an_issuer_code_and_nobody_alone(world):
    more = replace(OWNED, issuers=(CODE, OTHER))
    content = changed(world, RENHE, more)
    assert reason(world, world.public(RENHE, content)) == "transaction.policy"
    world.apply(world.public(RENHE, content, signers=MEMBERS))
    assert world.members.organisations[RENHE].invoices == more


@pytest.mark.parametrize("issued", [None, invoices(RENHE, OTHER)])
def test_no_organisation_loses_an_issuer_code(world, issued):
    payload = world.public(RENHE, changed(world, RENHE, issued), signers=MEMBERS)
    assert reason(world, payload) == "organisation.issuer"


@pytest.mark.parametrize("status", ["active", "suspended", "removed"])
def test_an_issuer_code_of_one_that_was_removed_goes_to_nobody_else(world, status):
    held = replace(world.members.organisations[RENHE], status=status)
    world.members = world.members.with_organisation(held)
    payload = world.public(TONGJI, changed(world, TONGJI, invoices(TONGJI, CODE)), signers=[ANXIN, COMMISSION])
    assert reason(world, payload) == "transaction.issuer"
    payload = world.public(TONGJI, changed(world, TONGJI, invoices(TONGJI, OTHER)), signers=[ANXIN, COMMISSION])
    assert reason(world, payload) == ""


def test_two_changes_of_one_transaction_cannot_share_a_code():
    world = World()
    contents = [changed(world, org_id, invoices(org_id, CODE)) for org_id in (RENHE, TONGJI)]
    assert reason(world, world.public(RENHE, *contents, signers=MEMBERS)) == "transaction.issuer"


def test_a_newcomer_brings_its_codes_and_shows_that_it_holds_its_key(world):
    member = organisation(NEWCOMER, "hospital", invoices=invoices(NEWCOMER, OTHER))
    signed = {key.id: base64_text(prove(world.genesis.ledger, key)) for key in member.keys}
    without = world.public(RENHE, ("organisation", organisation_content(member, signed)), signers=MEMBERS)
    assert reason(world, without) == "organisation.proof"
    proven = signed | prove_vrf(world.genesis.ledger, NEWCOMER)
    world.apply(world.public(RENHE, ("organisation", organisation_content(member, proven)), signers=MEMBERS))
    assert world.members.organisations[NEWCOMER].invoices == member.invoices


# The keys that make ids


def test_an_organisation_begins_a_generation_alone(world):
    assert reason(world, world.public(RENHE, changed(world, RENHE, rotated(DAY + 3), 2))) == ""
    assert reason(world, world.public(RENHE, changed(world, RENHE, rotated(DAY + 366), 2))) == ""
    assert reason(world, world.public(TONGJI, changed(world, RENHE, rotated(DAY + 3), 2))) == "transaction.policy"


@pytest.mark.parametrize("day", [1, DAY - 1, DAY, DAY + 1, DAY + 2, DAY + 367])
def test_no_invoice_of_a_day_that_has_begun_anywhere_gets_another_key(world, day):
    payload = world.public(RENHE, changed(world, RENHE, rotated(day), 2), signers=MEMBERS)
    assert reason(world, payload) == "organisation.generation"


def test_of_many_generations_that_come_at_once_each_begins_late_enough():
    world = World()
    proofs = prove_vrf(world.genesis.ledger, RENHE) | prove_vrf(world.genesis.ledger, RENHE, 2)
    for day, expected in ((DAY + 2, "organisation.generation"), (DAY + 3, "")):
        payload = world.public(RENHE, changed(world, RENHE, rotated(day), **proofs), signers=MEMBERS)
        assert reason(world, payload) == expected


@pytest.mark.parametrize(
    "rewritten",
    [
        # Of the two that there are: one dropped, exchanged, moved, or one put before another.
        (0, 1),
        (0, 1, DAY + 11, 2),
        (0, 1, DAY + 9, 3),
        (0, 3, DAY + 10, 2),
        (0, 2, DAY + 10, 1),
        (0, 1, DAY + 5, 3, DAY + 10, 2),
    ],
)
def test_a_generation_is_never_dropped_nor_altered(world, rewritten):
    world.apply(world.public(RENHE, changed(world, RENHE, rotated(DAY + 10), 2)))
    rows = [
        VrfGeneration(day, vrf_key(RENHE, number).public)
        for day, number in zip(rewritten[::2], rewritten[1::2], strict=True)
    ]
    issued = Invoices((CODE,), tuple(rows))
    payload = world.public(RENHE, changed(world, RENHE, issued, 3), signers=MEMBERS)
    assert reason(world, payload) == "organisation.generation"
    assert reason(world, world.public(RENHE, changed(world, RENHE, rotated(DAY + 10, DAY + 20), 3))) == ""


def test_nobody_names_a_key_that_it_does_not_hold(world):
    ledger, new = world.genesis.ledger, VrfGeneration(DAY + 3, vrf_key(RENHE, 2).public)
    wrong = (
        base64_text(vrf_key(RENHE, 1).prove(vrf_proof_input(ledger, RENHE))),
        base64_text(vrf_key(RENHE, 2).prove(vrf_proof_input(ledger, TONGJI))),
        base64_text(vrf_key(RENHE, 2).prove(vrf_proof_input(bytes(32), RENHE))),
        base64_text(b"proof"),
    )
    for proof in wrong:
        payload = world.public(RENHE, changed(world, RENHE, rotated(DAY + 3), **{new.id: proof}))
        assert reason(world, payload) == "organisation.proof"


@pytest.mark.parametrize("owner", [RENHE, TONGJI])
def test_no_two_generations_have_one_key_whoever_has_them(world, owner):
    """Two keys of one hospital, too: what is one key must not look like two."""
    public = OWNED.generations[0].public
    rows = (VrfGeneration(0, public),) if owner == TONGJI else (*OWNED.generations, VrfGeneration(DAY + 3, public))
    issued = Invoices((OTHER,) if owner == TONGJI else (CODE,), rows)
    proof = base64_text(vrf_key(RENHE).prove(vrf_proof_input(world.genesis.ledger, owner)))
    signers = [COMMISSION, *({RENHE, TONGJI} - {owner})]
    payload = world.public(owner, changed(world, owner, issued, **{rows[-1].id: proof}), signers=signers)
    assert reason(world, payload) == "transaction.vrf"


def test_possession_is_proved_for_this_ledger_and_organisation():
    ledger = genesis().ledger
    assert vrf_proof_input(ledger, RENHE) == digest_input("medchain/genesis-proof/v1", ledger, RENHE.encode(), b"vrf")


def test_an_organisation_changes_its_generations_alone_and_no_codes():
    before = organisation(RENHE, "hospital", invoices=OWNED)
    assert is_own_update(before, replace(before, invoices=rotated(DAY + 3)))
    assert not is_own_update(before, replace(before, invoices=replace(OWNED, issuers=(CODE, OTHER))))
    assert not is_own_update(before, replace(before, invoices=None))
    assert not is_own_update(replace(before, invoices=None), before)


# Founding


def founded(*issued: tuple[str, Invoices]):
    """Build a genesis in which some issue invoices."""
    own = dict(issued)
    first = genesis()
    return build_genesis(
        [organisation(org_id, role, invoices=own.get(org_id)) for org_id, role in ROLES.items()],
        origin=first.origin,
        policy=dict(first.members.policy.content),
        protocol=first.members.protocol,
        rp_id=first.rp_id,
        sign_origins=sorted(first.sign_origins),
        time=first.time,
    )


def proofs_of(made):
    signed = {
        org_id: {key.use: prove(made.ledger, key) for key in member.keys}
        for org_id, member in made.members.organisations.items()
    }
    signed[RENHE]["vrf"] = vrf_key(RENHE).prove(vrf_proof_input(made.ledger, RENHE))
    return signed


def test_founders_bring_their_codes_and_prove_their_keys():
    made = founded((RENHE, OWNED))
    assert made.members.organisations[RENHE].invoices == OWNED
    assert parse_genesis(made.encoded) == made
    verify_genesis(made, genesis_signatures(proofs_of(made)))
    world = World(genesis=made)
    assert reason(world, world.public(RENHE, changed(world, RENHE, rotated(DAY + 3), 2))) == ""


def test_a_founder_without_a_proof_of_its_key_for_invoices_founds_nothing():
    made = founded((RENHE, OWNED))
    wrong, lacking, more = proofs_of(made), proofs_of(made), proofs_of(made)
    wrong[RENHE]["vrf"] = vrf_key(TONGJI).prove(vrf_proof_input(made.ledger, RENHE))
    with pytest.raises(VerificationError, match=r"organisation\.proof"):
        verify_genesis(made, genesis_signatures(wrong))
    del lacking[RENHE]["vrf"]
    more[TONGJI]["vrf"] = more[RENHE]["vrf"]
    for signed in (lacking, more):
        with pytest.raises(InputError, match=r"encoding\.members"):
            verify_genesis(made, genesis_signatures(signed))


def test_founders_share_no_code_and_no_key():
    with pytest.raises(VerificationError, match=r"members\.issuer"):
        founded((RENHE, OWNED), (TONGJI, invoices(TONGJI, CODE)))
    with pytest.raises(VerificationError, match=r"members\.vrf"):
        founded((RENHE, OWNED), (TONGJI, replace(OWNED, issuers=(OTHER,))))


def test_a_genesis_lists_one_generation_and_no_proof():
    for spoil in ({"from": 9, "proof": None, "public": base64_text(vrf_key(RENHE, 2).public)}, None):
        document = json.loads(founded((RENHE, OWNED)).encoded)
        member = next(row for row in document["members"] if row["org_id"] == RENHE)
        if spoil is None:
            member["invoices"]["vrf"][0]["proof"] = base64_text(b"proof")
        else:
            member["invoices"]["vrf"].append(spoil)
        with pytest.raises(InputError, match=r"genesis\.malformed"):
            parse_genesis(canonical(document))
