"""From a wish to the contents that go onto the ledger."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medchain.encoding import base64_text
from medchain.errors import ConflictError, InputError, NotFoundError, VerificationError
from medchain.ledger.issuers import invoices_content
from medchain.ledger.members import ProtocolRules, organisation_content, quorum_floor
from medchain.ledger.policy import default_policy
from medchain.ledger.transaction import Change, ObjectRow, Transaction
from medchain.node import member_changes
from medchain.node.member_changes import ADMISSION_TYPE, Wish, check_names, contents_of, parse_wish, wish_json
from tests.unit.medchain.ledger.world import (
    ANXIN,
    COMMISSION,
    RENHE,
    ROLES,
    TONGJI,
    USES,
    genesis,
    invoices,
    key,
    organisation,
    prove,
    prove_vrf,
)

NEWCOMER = "newcomer-hospital"


def contents(wish, members=None, own=RENHE):
    return contents_of(wish, members or genesis().members, genesis().ledger, own)


def admission(org_id=NEWCOMER, role="hospital", generation=1, **changes: object):
    made = organisation(org_id, role, keys=keys_of(org_id, generation))
    proofs = {item.id: base64_text(prove(genesis().ledger, item, generation)) for item in made.keys}
    content = organisation_content(made, proofs)
    return {"ledger": genesis().ledger.hex(), "organisation": content, "type": ADMISSION_TYPE} | changes


def keys_of(org_id, generation):
    # The encryption key's proof is the ledger key's; the world's signs with that of generation 1.
    made = [key(org_id, use, 1 if use in ("encryption", "ledger") else generation) for use in USES]
    return tuple(sorted(made, key=lambda item: item.id))


@pytest.mark.parametrize(("operation", "status"), [("suspend", "suspended"), ("remove", "removed")])
def test_a_member_less_brings_the_quorum_that_fits(operation, status):
    (kind, content), (also, protocol) = contents(Wish(operation, ANXIN))
    assert (kind, content["status"], also) == ("organisation", status, "protocol")
    assert protocol == {"orderer": COMMISSION, "protocol": 1, "quorum": quorum_floor(4)}
    assert all(row["proof"] is None for row in content["keys"])


def test_a_quorum_above_the_least_stays_where_it_can():
    members = genesis().members.with_protocol(ProtocolRules(COMMISSION, 5, 1))
    [_, (_, protocol)] = contents(Wish("suspend", ANXIN), members)
    assert protocol["quorum"] == quorum_floor(4), "five of four there cannot be"
    suspended = genesis().members.with_organisation(replace(genesis().members.organisations[ANXIN], status="suspended"))
    members = suspended.with_protocol(ProtocolRules(COMMISSION, 4, 1))
    [(kind, content)] = contents(Wish("reinstate", ANXIN), members)
    assert (kind, content["status"]) == ("organisation", "active")
    [_, (_, protocol)] = contents(Wish("reinstate", ANXIN, quorum=5), members)
    assert protocol["quorum"] == 5


def test_who_orders_is_suspended_only_if_another_is_named():
    with pytest.raises(ConflictError, match=r"wish\.orderer"):
        contents(Wish("suspend", COMMISSION))
    [_, (_, protocol)] = contents(Wish("suspend", COMMISSION, orderer=TONGJI))
    assert protocol["orderer"] == TONGJI
    with pytest.raises(NotFoundError, match=r"organisation\.unknown"):
        contents(Wish("suspend", ANXIN, orderer="nobody"))


def test_a_newcomer_is_admitted_with_its_proofs():
    # Six need no more than five did.
    [(kind, content)] = contents(Wish("admit", content=admission()))
    assert (kind, content["org_id"], content["status"]) == ("organisation", NEWCOMER, "active")
    assert all(row["proof"] for row in content["keys"])


def test_an_organisation_that_lost_its_keys_gets_new_ones_from_the_others():
    [(kind, content)] = contents(Wish("rotate", TONGJI, content=admission(TONGJI, "insurer", 2)))
    before = genesis().members.organisations[TONGJI]
    # Its keys, and nothing else that the file says.
    assert (kind, content["role"], content["url"]) == ("organisation", before.role, before.url)
    old = {item.id for item in before.keys}
    assert {row["id"] for row in content["keys"]} != old
    assert all((row["proof"] is None) == (row["id"] in old) for row in content["keys"])


@pytest.mark.parametrize(
    ("wish", "error", "code"),
    [
        (Wish("admit", content=admission(ledger="00" * 32)), VerificationError, "admission.ledger"),
        (Wish("admit", content=admission(type="other")), InputError, "admission.type"),
        (Wish("admit", content=admission(RENHE)), ConflictError, "organisation.exists"),
        (Wish("rotate", content=admission()), NotFoundError, "organisation.unknown"),
        (Wish("rotate", ANXIN, content=admission(TONGJI, generation=2)), InputError, "admission.organisation"),
        (Wish("rotate", TONGJI, content=admission(TONGJI)), InputError, "wish.nothing"),
        (Wish("reinstate", ANXIN), InputError, "wish.nothing"),
        (Wish("policy", content=default_policy()), InputError, "wish.nothing"),
        (Wish("hand-over", COMMISSION), InputError, "wish.nothing"),
        (Wish("suspend", "nobody"), NotFoundError, "organisation.unknown"),
        (Wish("issuers", content={}), InputError, "encoding.members"),
        (Wish("issuers", content=None), InputError, "encoding.members"),
        (Wish("protocol", protocol=2), VerificationError, "wish.protocol"),
    ],
)
def test_what_cannot_be_wished_for(wish, error, code):
    with pytest.raises(error) as refused:
        contents(wish)
    assert refused.value.code == code


def test_the_first_issuer_codes_bring_a_key_and_its_proof():
    given = invoices_content(invoices(RENHE, "1"), prove_vrf(genesis().ledger, RENHE))
    [(kind, content)] = contents(Wish("issuers", content=given))
    assert (kind, content["org_id"], content["invoices"]) == ("organisation", RENHE, given)
    assert content["invoices"]["vrf"][0]["proof"]
    assert content["keys"] == organisation_content(genesis().members.organisations[RENHE])["keys"]


def test_further_issuer_codes_change_no_key():
    owned = replace(genesis().members.organisations[RENHE], invoices=invoices(RENHE, "2", days=(0, 5)))
    current = genesis().members.with_organisation(owned)
    given = invoices_content(invoices(TONGJI, "1", "2"), prove_vrf(genesis().ledger, TONGJI))
    [(_, content)] = contents(Wish("issuers", content=given), current)
    assert content["invoices"] == invoices_content(invoices(RENHE, "1", "2", days=(0, 5)), {})
    with pytest.raises(InputError, match=r"wish\.nothing"):
        contents(Wish("issuers", content=invoices_content(invoices(RENHE, "2"), {})), current)


def test_an_admission_without_the_proof_of_a_key_is_refused():
    document = admission()
    document["organisation"]["keys"][0]["proof"] = document["organisation"]["keys"][1]["proof"]
    with pytest.raises(VerificationError, match=r"organisation\.proof"):
        contents(Wish("admit", content=document))


def changing(made):
    """Make a transaction that gives an organisation a content; the names alone matter."""
    content = organisation_content(made)
    change = Change("organisation", "active", (ObjectRow(bytes(16), 1, bytes(32)),))
    return Transaction(RENHE, (change,), (content,), (), None, genesis().ledger, bytes(16), None, 1)


NAMED = {"name": {"en": "Newcomer Hospital", "zh": "新来医院"}, "control": "newcomer group"}
UNTOLD = {
    "Chinese": (NAMED | {"name": {"zh": "仁和 医院"}}, "organisation.name_alike"),
    "English": (NAMED | {"name": {"en": "renhe hospita\u200bl"}}, "organisation.name_alike"),
    "under another language": (NAMED | {"name": {"fr": "Renhe Hospital"}}, "organisation.name_alike"),
    "control": (NAMED | {"control": "Renhe  Group"}, "organisation.control_alike"),
}


def members_with_names():
    """Return members of whom one has a name of its own."""
    renhe = replace(genesis().members.organisations[RENHE], control="Renhe Group")
    return genesis().members.with_organisation(replace(renhe, name={"en": "Renhe Hospital", "zh": "仁和医院"}))


@pytest.mark.parametrize("name", list(UNTOLD))
def test_nobody_gets_a_name_or_control_that_may_be_taken_for_anothers(name):
    changes, code = UNTOLD[name]
    with pytest.raises(ConflictError) as refused:
        check_names(changing(organisation(NEWCOMER, "hospital", **changes)), members_with_names())
    assert (refused.value.code, refused.value.fields) == (code, {"org_id": NEWCOMER, "other": RENHE})


def test_under_one_control_are_those_who_say_so_alike_and_a_name_of_before_is_not_judged_again():
    members = members_with_names()
    check_names(changing(organisation(NEWCOMER, "hospital", **NAMED | {"control": "Renhe Group"})), members)
    # The others of the genesis are called alike.
    check_names(changing(replace(members.organisations[ANXIN], status="suspended")), members)
    gone = members.with_organisation(replace(members.organisations[RENHE], status="removed"))
    check_names(changing(organisation(NEWCOMER, "hospital", name={"zh": "仁和医院"})), gone)


def test_the_orderer_is_handed_over_taken_over_and_the_rules_changed(monkeypatch):
    assert contents(Wish("hand-over", TONGJI)) == (("protocol", {"orderer": TONGJI, "protocol": 1, "quorum": 4}),)
    assert contents(Wish("take-over"), own=ANXIN)[0][1]["orderer"] == ANXIN
    assert contents(Wish("protocol", quorum=5))[0][1]["quorum"] == 5
    monkeypatch.setattr(member_changes, "PROTOCOLS", frozenset({1, 2}))
    assert contents(Wish("protocol", protocol=2))[0][1]["protocol"] == 2


def test_a_wish_is_written_and_read():
    wishes = [
        Wish("suspend", ANXIN, None, TONGJI, 3),
        Wish("policy", content=default_policy()),
        Wish("protocol", protocol=2, quorum=4),
        Wish("take-over"),
    ]
    assert [parse_wish(wish_json(wish)) for wish in wishes] == wishes
    with pytest.raises(InputError, match=r"wish\.operation"):
        parse_wish({"operation": "dissolve"})
    assert set(ROLES) >= {ANXIN, COMMISSION, RENHE, TONGJI}
