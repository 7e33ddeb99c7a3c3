"""State records and bodies."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medchain.encoding import canonical, digest
from medchain.errors import InputError, VerificationError
from medchain.ledger.object import (
    Body,
    StateRecord,
    build_body,
    in_force,
    map_key,
    organisation_id,
    public_body_hash,
    public_owner,
    stop_hash,
)
from medchain.ledger.transaction import Ref
from tests.unit.medchain.ledger.world import fresh

ids = st.binary(min_size=16, max_size=16)
hashes = st.binary(min_size=32, max_size=32)
numbers = st.integers(0, 2**53 - 1)
names = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)
records = st.builds(
    StateRecord,
    kind=names,
    creator=names,
    id=ids,
    version=st.integers(2, 2**53 - 1),
    status=names,
    body_hash=hashes,
    stop_hash=st.none() | hashes,
    expires=st.none() | numbers,
    refs=st.lists(st.builds(Ref, hashes, numbers), max_size=8).map(tuple),
    since=numbers,
    previous=hashes,
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
contents = st.dictionaries(names, values, min_size=1, max_size=20)

RECORD = StateRecord("grant", "renhe-hospital", b"\x01" * 16, 1, "active", b"\x02" * 32, None, 20819, (), 1041, None)


@given(records)
def test_decoding_a_record_is_the_inverse_of_encoding(record):
    assert StateRecord.decode(record.encode()) == record
    assert record.encode() == canonical(json.loads(record.encode()))


def test_a_record_is_the_literal_form_of_the_specification():
    record = replace(RECORD, refs=(Ref(b"\x03" * 32, 3),))
    expected = (
        '{"body_hash":"%s","creator":"renhe-hospital","expires":20819,"id":"%s","kind":"grant","previous":null,'
        '"refs":[["%s",3]],"since":1041,"status":"active","stop_hash":null,"type":"medchain/state-record/v1",'
        '"version":1}'
    )
    for value in ("02" * 32, "01" * 16, "03" * 32):
        expected = expected.replace("%s", value, 1)
    assert record.encode() == expected.encode()
    assert record.digest == sha256(expected.encode()).digest()


def test_the_map_key_is_the_tagged_digest_of_kind_creator_and_id():
    fields = (b"grant", b"renhe-hospital", b"\x01" * 16)
    framed = b"".join(len(part).to_bytes(8, "big") + part for part in (b"medchain/object/v1", *fields))
    assert RECORD.key == map_key("grant", "renhe-hospital", b"\x01" * 16) == sha256(framed).digest()


def test_public_objects_have_derived_ids():
    derived = digest("medchain/organisation-id/v1", b"policy")[:16]
    assert public_owner("policy", {}) == ("ledger", derived)
    assert public_owner("organisation", {"org_id": "x"}) == ("x", organisation_id("x"))


def test_the_hash_of_a_public_body_covers_its_kind():
    expected = digest("medchain/public-body/v1", b"policy", b'{"a":1}')
    assert public_body_hash("policy", {"a": 1}) == expected
    assert public_body_hash("protocol", {"a": 1}) != expected


@pytest.mark.parametrize(
    ("status", "expires", "expected"),
    [("active", None, True), ("active", 5, True), ("active", 4, False), ("stopped", None, False), ("ended", 9, False)],
)
def test_in_force_means_active_and_the_last_day_not_over(status, expires, expected):
    assert in_force(replace(RECORD, status=status, expires=expires), 5) is expected


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("type", "medchain/other/v1"),
        ("version", 2),
        ("version", -1),
        ("version", "1"),
        ("previous", "00" * 32),
        ("previous", "00"),
        ("since", -1),
        ("since", None),
        ("expires", "today"),
        ("expires", -1),
        ("kind", "记录"),
        ("creator", "医院"),
        ("creator", None),
        ("refs", [["00" * 32]]),
        ("refs", [5]),
        ("refs", [["00" * 32, -1]]),
        ("refs", {}),
        ("extra", 1),
    ],
)
def test_a_record_of_another_form_is_refused(member, value):
    document = json.loads(RECORD.encode())
    document[member] = value
    with pytest.raises(InputError):
        StateRecord.decode(canonical(document))


@pytest.mark.parametrize("document", [[], {}, {"expires": None, "previous": None}])
def test_what_is_no_record_is_refused(document):
    with pytest.raises(InputError):
        StateRecord.decode(canonical(document))


@given(contents, values)
def test_decoding_a_body_is_the_inverse_of_encoding(content, evidence):
    body = build_body("consent", content, evidence, fresh)
    again = Body.from_json(json.loads(canonical(body.to_json())))
    assert again == body
    assert again.content == content
    assert again.is_full


@given(contents, st.data())
def test_a_redacted_body_has_the_same_hash_and_shows_nothing_else(content, data):
    body = build_body("consent", content, {"attested_by": ["a", "b"]}, fresh)
    names_ = data.draw(st.sets(st.sampled_from(sorted(content))))
    keep = data.draw(st.booleans())
    redacted = Body.from_json(body.redact(names_, keep_evidence=keep).to_json())
    assert (redacted.content_root, redacted.body_hash) == (body.content_root, body.body_hash)
    assert redacted.content == {name: content[name] for name in names_}
    assert not redacted.is_full or not redacted.hidden
    assert redacted.redact(names_).body_hash == body.body_hash


@pytest.mark.parametrize(("fields", "leaves"), [(1, 8), (8, 8), (9, 16), (17, 32), (33, 64), (64, 64)])
def test_a_body_is_padded_so_that_the_number_of_fields_says_little(fields, leaves):
    body = build_body("consent", {f"f{at}": at for at in range(fields)}, None, fresh)
    assert len(body.fields) + len(body.padding) == leaves
    assert len(body.redact([]).hidden) == leaves


@pytest.mark.parametrize("fields", [0, 65])
def test_a_body_of_no_fields_or_too_many_is_refused(fields):
    with pytest.raises(InputError, match=r"body\.malformed"):
        build_body("consent", {f"f{at}": at for at in range(fields)}, None, fresh)


def test_the_body_hash_follows_the_specification():
    body = build_body("consent", {"a": 1, "b": "x"}, {"e": 1}, fresh)
    leaves = [
        digest("medchain/field/v1", field.salt, field.name.encode(), canonical(field.value)) for field in body.fields
    ]
    level = sorted([*leaves, *(digest("medchain/field-pad/v1", salt) for salt in body.padding)])
    while len(level) > 1:
        level = [digest("medchain/field-node/v1", *level[at : at + 2]) for at in range(0, len(level), 2)]
    evidence = digest("medchain/evidence/v1", body.evidence.salt, b'{"e":1}')
    assert body.body_hash == digest("medchain/body/v1", level[0], evidence)


def test_the_content_root_does_not_depend_on_the_evidence():
    body = build_body("consent", {"a": 1}, None, fresh)
    signed = body.with_evidence(fresh(32), {"assertion": {}})
    assert signed.content_root == body.content_root
    assert signed.body_hash != body.body_hash


def test_a_body_with_another_hash_than_the_ledger_has_is_refused():
    body = build_body("consent", {"a": 1}, None, fresh)
    body.verify(body.body_hash)
    with pytest.raises(VerificationError, match=r"body\.hash"):
        body.verify(fresh(32))


def test_a_second_value_of_a_field_cannot_hide_in_a_full_body():
    honest = build_body("consent", {"purpose": "TREAT"}, None, fresh)
    other = build_body("consent", {"purpose": "HMARKT"}, None, fresh)
    double = Body("consent", honest.fields, other.redact([]).hidden[:1], honest.padding[:6], honest.evidence)
    assert not double.is_full
    document = double.to_json()
    document["fields"] = [*document["fields"], *other.to_json()["fields"]]
    document["hidden"] = []
    with pytest.raises(InputError, match=r"body\.malformed"):
        Body.from_json(document)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("type", "medchain/other/v1"),
        ("fields", [["a", "00" * 32]]),
        ("fields", ["a"]),
        ("fields", [[1, "00" * 32, 1]]),
        ("fields", [["a", "00", 1]]),
        ("fields", [["b", "00" * 32, 1], ["a", "00" * 32, 1]]),
        ("hidden", ["00" * 32]),
        ("hidden", ["00"]),
        ("hidden", ["01" * 32, "00" * 32]),
        ("padding", []),
        ("padding", ["01" * 32, "00" * 32]),
        ("evidence", {}),
        ("evidence", {"digest": "00"}),
        ("evidence", {"digest": "00" * 32, "value": 1}),
        ("evidence", {"salt": "00", "value": 1}),
        ("extra", 1),
    ],
)
def test_a_body_of_another_form_is_refused(member, value):
    document = build_body("consent", {"a": 1}, None, fresh).to_json()
    document[member] = value
    with pytest.raises(InputError):
        Body.from_json(document)


def test_the_stop_hash_is_the_tagged_digest_of_the_preimage():
    assert stop_hash(b"\x01" * 32) == digest("medchain/stop/v1", b"\x01" * 32)
