"""Genesis, members and the policy text that follows from them."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256

import pytest

from medchain.encoding import base64_text, canonical, parse_canonical, unbase64
from medchain.errors import InputError, MedchainError, VerificationError
from medchain.ledger import members as members_module
from medchain.ledger.genesis import (
    build_genesis,
    genesis_signatures,
    parse_genesis,
    trusted_policy_text,
    verify_genesis,
)
from medchain.ledger.members import (
    Members,
    ProtocolRules,
    is_own_update,
    is_url,
    organisation_content,
    parse_organisation,
    parse_protocol,
    quorum_floor,
)
from medchain.ledger.policy import default_policy, drawable, parse_policy
from medchain.ledger.transaction import Signer
from medchain.tlog.note import KeyType, VerifierKey
from medchain.tlog.policy import Policy
from tests.unit.medchain.ledger.world import (
    ANXIN,
    COMMISSION,
    LOG_TWINS,
    RENHE,
    ROLES,
    TIME,
    genesis,
    key,
    organisation,
    prove,
    public_text,
)


def document():
    return json.loads(genesis().encoded)


def proofs():
    made = genesis()
    return {
        org_id: {k.use: prove(made.ledger, k) for k in member.keys}
        for org_id, member in made.members.organisations.items()
    }


def test_the_ledger_id_is_the_hash_of_the_whole_document():
    assert genesis().ledger == sha256(genesis().encoded).digest()
    assert parse_genesis(genesis().encoded) == genesis()


def test_a_genesis_with_all_proofs_verifies():
    verify_genesis(genesis(), genesis_signatures(proofs()))


@pytest.mark.parametrize("use", ["authentication", "cosign-ed25519", "cosign-mldsa44", "encryption", "ledger", "log"])
def test_a_genesis_in_which_a_member_claims_a_key_that_it_does_not_hold_is_refused(use):
    signed = proofs()
    signed[ANXIN][use] = signed[RENHE][use]
    with pytest.raises(VerificationError, match=r"organisation\.proof"):
        verify_genesis(genesis(), genesis_signatures(signed))


def test_a_genesis_whose_members_have_not_all_signed_is_refused():
    signed = proofs()
    del signed[ANXIN]
    with pytest.raises(VerificationError, match=r"organisation\.proof"):
        verify_genesis(genesis(), genesis_signatures(signed))
    with pytest.raises(VerificationError, match=r"organisation\.proof"):
        verify_genesis(genesis(), {**genesis_signatures(proofs()), "type": "other"})


def test_a_genesis_that_lacks_the_proof_of_one_key_is_refused():
    signed = proofs()
    del signed[ANXIN]["log"]
    with pytest.raises(InputError):
        verify_genesis(genesis(), genesis_signatures(signed))


def test_a_successor_ledger_names_the_checkpoint_that_it_follows():
    successor = document() | {"previous": "07" * 32}
    assert parse_genesis(canonical(successor)).previous == b"\x07" * 32
    made = build_genesis(
        [organisation(RENHE, "hospital")],
        origin="medchain.example/next",
        policy=default_policy(),
        protocol=ProtocolRules(RENHE, 1, 1),
        rp_id="localhost",
        sign_origins=["http://localhost:41000"],
        time=TIME,
        demo=True,
        previous=b"\x07" * 32,
    )
    assert (made.previous, made.demo) == (b"\x07" * 32, True)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("type", "medchain/other/v1"),
        ("suite", 2),
        ("protocol", 0),
        ("origin", "medchain.example"),
        ("origin", "/name"),
        ("origin", "medchain.example/two words"),
        ("origin", "medchain.example/" + "x" * 200),
        ("origin", "medchain.example/a+b"),
        ("rp_id", "localhost"),
        ("rp_id", "no host"),
        ("sign_origins", []),
        ("sign_origins", ["https://b.consent.example", "https://a.consent.example"]),
        ("sign_origins", ["https://evil.example"]),
        ("sign_origins", ["https://evilconsent.example"]),
        ("sign_origins", ["http://sign.consent.example"]),
        ("sign_origins", ["https://sign.consent.example/path"]),
        ("sign_origins", [1]),
        ("previous", "00"),
        ("previous", 5),
        ("time", -1),
        ("members", []),
        ("members", ["member"]),
        ("quorum", 3),
        ("quorum", 6),
        ("orderer", "nobody"),
        ("policy", {}),
        ("extra", 1),
    ],
)
def test_a_genesis_of_another_form_is_refused(member, value):
    with pytest.raises(MedchainError):
        parse_genesis(canonical(document() | {member: value}))


def test_a_genesis_that_does_not_say_whether_it_follows_another_is_refused():
    lacking = document()
    del lacking["previous"]
    with pytest.raises(InputError):
        parse_genesis(canonical(lacking))
    with pytest.raises(InputError):
        parse_genesis(b"[]")


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("org_id", "Upper"),
        ("org_id", "ledger"),
        ("org_id", "consortium"),
        ("org_id", "renhe-ed"),
        ("org_id", "-x"),
        ("org_id", 5),
        ("role", "patient"),
        ("control", ""),
        ("name", {}),
        ("name", {"en": 5}),
        ("name", {"en": ""}),
        *[
            ("url", url)
            for url in (
                "ftp://x",
                "https://",
                "https://user@x",
                "https://user:pass@x:1",
                "https://x/",
                "https://x/path",
                "https://x?query",
                "https://x#fragment",
                "https://x:0",
                "https://x:65536",
                "https://X",
                "https://x\\y",
                "https://-x",
                "https://x ",
                "https://[::1",
            )
        ],
        ("origins", ["https://x/path"]),
        ("origins", ["https://b", "https://a"]),
        ("origins", [f"https://{at:02}" for at in range(17)]),
        ("status", "active"),
        ("keys", []),
        ("keys", {}),
        ("extra", 1),
    ],
)
def test_a_genesis_with_a_malformed_member_is_refused(member, value):
    spoiled = document()
    spoiled["members"][0][member] = value
    with pytest.raises(InputError):
        parse_genesis(canonical(spoiled))


def test_two_members_with_one_key_are_refused():
    spoiled = document()
    spoiled["members"][0]["keys"]["ledger"] = spoiled["members"][1]["keys"]["ledger"]
    with pytest.raises(VerificationError, match=r"members\.key"):
        parse_genesis(canonical(spoiled))


def test_attack_two_members_whose_log_keys_have_one_id_found_a_ledger():
    """Lines under a name and id that two have are condemned with the one or the other."""
    first, second = LOG_TWINS
    twins = document()
    for member, generation in zip(twins["members"], (first, second), strict=False):
        member["keys"]["log"] = public_text(RENHE, "log", generation)
    with pytest.raises(VerificationError, match=r"members\.key_id"):
        parse_genesis(canonical(twins))
    twins["members"][1]["keys"]["log"] = public_text(RENHE, "log", 2)
    parse_genesis(canonical(twins))


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("use", "other"),
        ("id", "00" * 16),
        ("public", base64_text(bytes(31))),
        ("public", {}),
        ("proof", "!"),
        ("extra", 1),
    ],
)
def test_an_organisation_with_a_malformed_key_is_refused(change, value):
    content = organisation_content(organisation(RENHE, "hospital"))
    content["keys"][0][change] = value
    with pytest.raises(InputError):
        parse_organisation(content)


def test_an_authentication_key_must_be_a_jwk():
    content = organisation_content(organisation(RENHE, "hospital"))
    row = next(row for row in content["keys"] if row["use"] == "authentication")
    row["public"] = base64_text(bytes(97))
    with pytest.raises(InputError, match=r"organisation\.key"):
        parse_organisation(content)


def test_an_organisation_needs_a_key_of_each_use_and_has_one_log_key():
    member = organisation(RENHE, "hospital")
    without = replace(member, keys=tuple(k for k in member.keys if k.use != "log"))
    with pytest.raises(InputError, match=r"organisation\.keys"):
        parse_organisation(organisation_content(without))
    with pytest.raises(InputError, match=r"organisation\.keys"):
        without.key("log")
    two = replace(member, keys=tuple(sorted((*member.keys, key(RENHE, "log", 2)), key=lambda k: k.id)))
    with pytest.raises(InputError, match=r"organisation\.keys"):
        parse_organisation(organisation_content(two))


def test_keys_out_of_order_are_refused():
    member = organisation(RENHE, "hospital")
    with pytest.raises(InputError, match=r"organisation\.keys"):
        parse_organisation(organisation_content(replace(member, keys=member.keys[::-1])))


def test_an_organisations_content_comes_back_as_it_went():
    member = organisation(RENHE, "hospital")
    found, given = parse_organisation(organisation_content(member, {member.keys[0].id: base64_text(b"proof")}))
    assert (found, given) == (member, {member.keys[0].id: b"proof"})


# n, f and the smallest k by hand: k > (n + f) / 2.
@pytest.mark.parametrize(
    ("count", "floor"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 4), (6, 4), (7, 5), (8, 6), (9, 6), (10, 7)]
)
def test_the_quorum_lies_above_half_of_members_and_faulty_ones(count, floor):
    assert quorum_floor(count) == floor
    organisations = {f"org{at}": organisation(f"org{at}", "hospital") for at in range(count)}
    policy = parse_policy(default_policy())
    for quorum in range(count + 2):
        snapshot = Members(organisations, policy, ProtocolRules("org0", quorum, 1))
        if floor <= quorum <= count:
            snapshot.check()
        else:
            with pytest.raises(VerificationError, match=r"members\.quorum"):
                snapshot.check()


def test_suspended_and_removed_organisations_neither_sign_nor_count():
    snapshot = genesis().members
    suspended = snapshot.with_organisation(replace(snapshot.organisations[ANXIN], status="suspended"))
    removed = snapshot.with_organisation(replace(snapshot.organisations[ANXIN], status="removed"))
    name = key(ANXIN, "ledger").id
    assert snapshot.signer(name) == snapshot.organisations[ANXIN]
    assert [suspended.signer(name), removed.signer(name)] == [None, None]
    assert [name in suspended.keys, name in removed.keys] == [True, False]
    assert ANXIN not in {member.org_id for member in suspended.active}


def test_what_signers_may_do_is_asked_of_the_rules_and_members_of_now():
    snapshot = genesis().members
    alone = (Signer(key(RENHE, "ledger").id, "creator"),)
    for _ in range(2):
        assert snapshot.satisfies("record/active", RENHE, alone) is True
        assert snapshot.satisfies("subject/active", RENHE, alone) is False
        assert snapshot.satisfies("claim/active", RENHE, alone) is None
        assert snapshot.satisfies("record/active", ANXIN, alone) is False
    rules = {**default_policy()["rules"], "record/active": "role:regulator"}
    stricter = snapshot.with_policy(parse_policy({**default_policy(), "rules": rules}))
    assert stricter.satisfies("record/active", RENHE, alone) is False
    suspended = snapshot.with_organisation(replace(snapshot.organisations[RENHE], status="suspended"))
    assert suspended.satisfies("record/active", RENHE, alone) is False
    assert snapshot.satisfies("record/active", RENHE, alone) is True


def test_who_may_be_drawn_follows_the_members_and_is_kept_for_members_alone():
    snapshot = genesis().members
    names = [name for name, _ in snapshot.drawable(RENHE)]
    assert names == [name for name, _ in drawable(snapshot, RENHE)]
    assert snapshot.drawable(RENHE) is snapshot.drawable(RENHE)
    assert RENHE in [name for name, _ in snapshot.drawable("stranger")]
    assert snapshot.drawable("stranger") is not snapshot.drawable("stranger")
    gone = snapshot.with_organisation(replace(snapshot.organisations[COMMISSION], status="suspended"))
    assert [name for name, _ in gone.drawable(RENHE)] == [name for name in names if name != COMMISSION]


def test_what_is_remembered_of_signers_is_bounded(monkeypatch):
    monkeypatch.setattr(members_module, "_MAX_REMEMBERED", 2)
    # One of its own: that of the genesis remembers what other tests of this process asked.
    snapshot = replace(genesis().members)
    for org_id in (RENHE, ANXIN, COMMISSION):
        assert snapshot.satisfies("record/active", org_id, (Signer(key(org_id, "ledger").id, "creator"),))
        assert len(snapshot.granted) <= 2
        snapshot.seat((org_id, (Signer(key(org_id, "ledger").id, "creator"),)), None)
        assert len(snapshot.seated) <= 2


def test_more_organisations_than_a_ledger_may_have_are_refused():
    snapshot = genesis().members
    gone = {f"org{at}": replace(organisation(RENHE, "hospital"), status="removed") for at in range(60)}
    with pytest.raises(VerificationError, match=r"members\.count"):
        replace(snapshot, organisations={**snapshot.organisations, **gone}).check()


def test_an_organisation_changes_keys_url_and_origins_alone_and_nothing_else():
    before = organisation(RENHE, "hospital")
    assert is_own_update(before, replace(before, url="https://new.example", origins=(), keys=before.keys[1:]))
    assert not is_own_update(before, replace(before, role="regulator"))
    assert not is_own_update(before, replace(before, status="suspended"))
    assert not is_own_update(None, before)


@pytest.mark.parametrize(
    "content",
    [
        {"orderer": "x", "protocol": 0, "quorum": 1},
        {"orderer": "x", "protocol": 1, "quorum": 0},
        {"orderer": "x", "protocol": 1, "quorum": "1"},
        {"orderer": "x", "protocol": 1},
    ],
)
def test_a_malformed_protocol_is_refused(content):
    with pytest.raises(InputError):
        parse_protocol(content)


def test_a_verifier_key_is_that_of_the_signed_note_specification():
    # The example of golang.org/x/mod/sumdb/note: the key of sum.golang.org.
    raw = unbase64("Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8")
    expected = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
    assert str(VerifierKey("sum.golang.org", KeyType(raw[0]), raw[1:])) == expected


def test_the_policy_text_names_orderer_witnesses_groups_and_quorum():
    lines = trusted_policy_text(genesis().members, genesis().origin).split("\n")
    assert lines[0].startswith("log medchain.example/test+")
    assert [line.split(" ")[:2] for line in lines[1:4]] == [
        ["witness", f"{ANXIN}-ed"],
        ["witness", f"{ANXIN}-pq"],
        ["group", ANXIN],
    ]
    assert f" {ANXIN}.medchain.example/cosigner/ed25519+" in lines[1]
    assert f" {ANXIN}.medchain.example/cosigner/mldsa44+" in lines[2]
    assert lines[3] == f"group {ANXIN} all {ANXIN}-ed {ANXIN}-pq"
    group = f"consortium@{genesis().members.lineage.hex()}"
    assert lines[-3:] == [f"group {group} 4 " + " ".join(sorted(ROLES)), f"quorum {group}", ""]
    assert len(lines) == 1 + 3 * 5 + 3


def test_the_policy_text_is_read_back_by_the_log():
    read = Policy.parse(trusted_policy_text(genesis().members, genesis().origin).encode())
    assert [log.key.name for log in read.logs] == ["medchain.example/test"]
    assert len(read.witnesses) == 10


def test_a_suspended_member_is_no_witness():
    snapshot = genesis().members
    suspended = snapshot.with_organisation(replace(snapshot.organisations[ANXIN], status="suspended"))
    assert ANXIN not in trusted_policy_text(suspended, genesis().origin)
    assert COMMISSION in trusted_policy_text(suspended, genesis().origin)


def test_only_a_demo_has_daemons_without_tls():
    content = parse_canonical(genesis().encoded, max_bytes=1 << 20)
    content["members"][0]["url"] = "http://127.0.0.1:41001"
    with pytest.raises(InputError) as caught:
        parse_genesis(canonical(content))
    assert (caught.value.code, caught.value.fields["member"]) == ("genesis.malformed", "url")
    assert parse_genesis(canonical(content | {"demo": True})).demo


def test_no_member_of_a_ledger_with_tls_can_do_without_it_later():
    snapshot = genesis().members
    plain = replace(snapshot.organisations[ANXIN], url="http://10.0.0.7:80")
    with pytest.raises(VerificationError) as caught:
        snapshot.with_organisation(plain)
    assert caught.value.code == "organisation.url"
    demo = replace(snapshot, organisations={**snapshot.organisations, ANXIN: plain})
    assert demo.with_organisation(replace(snapshot.organisations[RENHE], url="http://10.0.0.8")).organisations


@pytest.mark.parametrize(
    "url", ["https://x", "https://a-b.example:443", "https://10.0.0.7:65535", "https://[2001:db8::1]:1"]
)
def test_an_address_is_scheme_host_and_port(url):
    assert is_url(url)
