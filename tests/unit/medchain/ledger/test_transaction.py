"""The payload and envelope formats: one spelling each, and every other refused."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medchain.encoding import base64_text, canonical
from medchain.errors import InputError
from medchain.ledger import transaction as module
from medchain.ledger.transaction import (
    MAX_LEAF_BYTES,
    PAYLOAD_TYPE,
    Change,
    Draw,
    ObjectRow,
    Ref,
    Signer,
    Stop,
    Transaction,
    pae,
    parse_envelope,
    parse_payload,
    payload_bytes,
    seal,
    transaction_id,
)
from tests.tries import tries
from tests.unit.medchain.ledger.world import RENHE, World, fresh, rows, sign

ids = st.binary(min_size=16, max_size=16)
hashes = st.binary(min_size=32, max_size=32)
numbers = st.integers(0, 2**53 - 1)
versions = st.integers(1, 2**53 - 1)
names = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=64)
changes = st.builds(
    Change,
    kind=names,
    status=names,
    objects=st.builds(lambda *row: (ObjectRow(*row),), ids, versions, hashes),
    refs=st.dictionaries(hashes, versions, max_size=8).map(lambda d: tuple(Ref(*row) for row in sorted(d.items()))),
    stop_hash=st.none() | hashes,
    expires=st.none() | numbers,
)
signers = st.dictionaries(ids, names, min_size=1, max_size=4).map(
    lambda d: tuple(Signer(key.hex(), role) for key, role in sorted(d.items()))
)
transactions = st.builds(
    Transaction,
    creator=names,
    changes=st.lists(changes, min_size=1, max_size=3, unique_by=lambda c: c.objects[0].id).map(tuple),
    bodies=st.lists(st.dictionaries(names, numbers | names, max_size=2), max_size=2).map(tuple),
    signers=signers,
    draw=st.none() | st.builds(Draw, numbers, numbers, numbers),
    ledger=hashes,
    nonce=ids,
    until=st.none() | numbers,
    protocol=numbers,
)
stops = st.builds(
    Stop,
    creator=names,
    object=hashes,
    preimage=hashes,
    evidence=st.none() | hashes,
    signers=signers,
    ledger=hashes,
    nonce=ids,
    until=st.none() | numbers,
    protocol=numbers,
)


@given(transactions | stops)
def test_decoding_is_the_inverse_of_encoding(payload):
    assert parse_payload(payload_bytes(payload)) == payload


@given(transactions | stops)
def test_an_envelope_keeps_payload_and_signatures(payload):
    signatures = [(row.key_id, bytes(64)) for row in payload.signers]
    envelope = seal(payload_bytes(payload), signatures[::-1])
    assert parse_envelope(envelope.leaf) == envelope
    assert (envelope.transaction, list(envelope.signatures)) == (payload, signatures)


def test_the_payload_is_the_literal_form_of_the_specification():
    payload = Transaction(
        creator="renhe-hospital",
        changes=(
            Change(
                "grant", "active", (ObjectRow(b"\x01" * 16, 1, b"\x02" * 32),), (Ref(b"\x03" * 32, 3),), None, 20819
            ),
        ),
        bodies=(),
        signers=(Signer("0a" * 16, "creator"),),
        draw=Draw(4096, 17, 0),
        ledger=b"\x04" * 32,
        nonce=b"\x05" * 16,
        until=1798000060,
        protocol=1,
    )
    expected = (
        '{"bodies":[],"changes":[{"expires":20819,"kind":"grant","objects":[["%s",1,"%s"]],"refs":[["%s",3]],'
        '"status":"active","stop_hash":null}],"creator":"renhe-hospital","draw":[4096,17,0],"ledger":"%s","nonce":"%s",'
        '"protocol":1,"signers":[["%s","creator"]],"type":"medchain/transaction/v1","until":1798000060}'
    )
    for value in ("01" * 16, "02" * 32, "03" * 32, "04" * 32, "05" * 16, "0a" * 16):
        expected = expected.replace("%s", value, 1)
    assert payload_bytes(payload) == expected.encode()


def test_a_stop_is_the_literal_form_of_the_specification():
    row = (Signer("0a" * 16, "submitter"),)
    payload = Stop("anxin-insurance", b"\x01" * 32, b"\x02" * 32, None, row, b"\x03" * 32, b"\x04" * 16, None, 1)
    expected = (
        '{"creator":"anxin-insurance","evidence":null,"ledger":"%s","nonce":"%s","object":"%s","preimage":"%s",'
        '"protocol":1,"signers":[["%s","submitter"]],"type":"medchain/stop/v1","until":null}'
    )
    for value in ("03" * 32, "04" * 16, "01" * 32, "02" * 32, "0a" * 16):
        expected = expected.replace("%s", value, 1)
    assert payload_bytes(payload) == expected.encode()


def test_the_pre_authentication_encoding_is_that_of_dsse():
    # DSSE 1.0 protocol.md: PAE(type, body) = "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body.
    assert pae(b"hello") == b"DSSEv1 41 application/vnd.medchain.transaction+json 5 hello"
    assert len(PAYLOAD_TYPE) == 41


def test_the_transaction_id_is_the_plain_hash_of_the_payload():
    assert transaction_id(b"abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert transaction_id(b"x") == sha256(b"x").digest()


def test_an_anchor_of_400_records_fits_into_a_leaf():
    world = World()
    envelope = sign(world.transaction(RENHE, Change("record", "active", rows(400))))
    assert len(envelope.leaf) < MAX_LEAF_BYTES


def payload():
    return json.loads(payload_bytes(World().transaction(RENHE, Change("record", "active", rows(2)))))


def stop():
    return json.loads(payload_bytes(World().stop(RENHE, fresh(32), fresh(32))))


def code_of(document) -> str:
    with pytest.raises(InputError) as caught:
        parse_payload(canonical(document))
    return caught.value.code


def broken(make, path, value):
    document = make()
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return document


@pytest.mark.parametrize(
    ("make", "path", "value"),
    [
        (payload, ["type"], "medchain/other/v1"),
        (payload, ["creator"], ""),
        (payload, ["creator"], "医院"),
        (payload, ["creator"], "x" * 65),
        (payload, ["creator"], 7),
        (payload, ["ledger"], "00"),
        (payload, ["ledger"], "A" * 64),
        (payload, ["nonce"], "0" * 64),
        (payload, ["until"], -1),
        (payload, ["until"], "soon"),
        (payload, ["until"], True),
        (payload, ["protocol"], -1),
        (payload, ["protocol"], True),
        (payload, ["draw"], [1, 2]),
        (payload, ["draw"], [1, 2, -3]),
        (payload, ["draw"], "draw"),
        (payload, ["bodies"], [{}] * 17),
        (payload, ["changes"], []),
        (payload, ["changes"], {}),
        (payload, ["changes", 0], []),
        (payload, ["changes", 0, "extra"], 1),
        (payload, ["changes", 0, "kind"], "记录"),
        (payload, ["changes", 0, "objects"], []),
        (payload, ["changes", 0, "objects", 0], []),
        (payload, ["changes", 0, "objects", 0, 1], 0),
        (payload, ["changes", 0, "objects", 0, 1], "1"),
        (payload, ["changes", 0, "objects", 0, 2], None),
        (payload, ["changes", 0, "refs"], [["00" * 32]]),
        (payload, ["changes", 0, "refs"], ["00"]),
        (payload, ["changes", 0, "refs"], [["00" * 32, 1], ["00" * 32, 2]]),
        (payload, ["changes", 0, "refs"], [["01" * 32, 1], ["00" * 32, 1]]),
        (payload, ["changes", 0, "refs"], [[f"{at:064x}", 1] for at in range(9)]),
        (payload, ["changes", 0, "stop_hash"], 5),
        (payload, ["signers"], []),
        (payload, ["signers"], [["00" * 16]]),
        (payload, ["signers"], [["00" * 16, 1]]),
        (payload, ["signers"], ["creator"]),
        (payload, ["extra"], 1),
        (stop, ["preimage"], ""),
        (stop, ["evidence"], "00"),
        (stop, ["object"], None),
        (stop, ["extra"], None),
    ],
)
def test_a_payload_of_another_form_is_malformed(make, path, value):
    assert code_of(broken(make, path, value)) == "transaction.malformed"


@pytest.mark.parametrize("member", ["draw", "until", "signers", "bodies", "type"])
def test_a_payload_that_lacks_a_member_is_malformed(member):
    document = payload()
    del document[member]
    assert code_of(document) == "transaction.malformed"


@pytest.mark.parametrize("document", [[], None, "text", 1])
def test_a_payload_that_is_no_object_is_malformed(document):
    assert code_of(document) == "transaction.malformed"


def test_objects_out_of_order_are_refused():
    document = payload()
    document["changes"][0]["objects"].reverse()
    assert code_of(document) == "transaction.objects"


def test_an_object_that_occurs_in_two_changes_is_refused():
    document = payload()
    document["changes"].append(document["changes"][0])
    assert code_of(document) == "transaction.objects"


def test_more_than_400_objects_are_refused():
    document = payload()
    document["changes"] = [
        {**document["changes"][0], "objects": [[f"{at:032x}", 1, "00" * 32] for at in range(start, start + 201)]}
        for start in (0, 1000)
    ]
    assert code_of(document) == "transaction.objects"


@pytest.mark.parametrize("rows_", [["0b", "0a"], ["0a", "0a"]])
def test_signers_out_of_order_or_twice_are_refused(rows_):
    document = payload()
    document["signers"] = [[half * 16, "creator"] for half in rows_]
    assert code_of(document) == "transaction.signers"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data.replace(b":", b": ", 1),
        lambda data: data.replace(b'"creator"', b'"\\u0063reator"', 1),
        lambda data: data[:-1] + b',"until":null}',
        lambda data: data + b"\n",
        lambda data: data[:-1],
    ],
)
def test_another_spelling_of_the_same_payload_is_malformed(spoil):
    data = payload_bytes(World().transaction(RENHE, Change("record", "active", rows())))
    with pytest.raises(InputError) as caught:
        parse_payload(spoil(data))
    assert caught.value.code == "transaction.malformed"


def envelope_document():
    return json.loads(sign(World().transaction(RENHE, Change("record", "active", rows()))).leaf)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["payloadType"], "application/json"),
        (["payload"], "e30="),
        (["payload"], "!"),
        (["signatures", 0, "sig"], base64_text(bytes(63))),
        (["signatures", 0, "sig"], None),
        (["signatures", 0, "keyid"], 5),
        (["signatures", 0, "extra"], ""),
        (["signatures"], []),
        (["extra"], ""),
    ],
)
def test_an_envelope_of_another_form_is_malformed(path, value):
    with pytest.raises(InputError) as caught:
        parse_envelope(canonical(broken(envelope_document, path, value)))
    assert caught.value.code == "transaction.malformed"


def test_an_envelope_with_another_signer_than_the_payload_names_is_refused():
    document = envelope_document()
    document["signatures"][0]["keyid"] = "00" * 16
    with pytest.raises(InputError) as caught:
        parse_envelope(canonical(document))
    assert caught.value.code == "transaction.signers"


def test_an_envelope_with_one_signature_more_is_refused():
    document = envelope_document()
    document["signatures"].append({"keyid": "ff" * 16, "sig": base64_text(bytes(64))})
    with pytest.raises(InputError) as caught:
        parse_envelope(canonical(document))
    assert caught.value.code == "transaction.signers"


def test_a_leaf_that_does_not_fit_into_a_tile_is_refused():
    with pytest.raises(InputError) as caught:
        parse_envelope(bytes(MAX_LEAF_BYTES + 1))
    assert caught.value.code == "transaction.too_large"


def test_what_could_not_be_decoded_is_not_encoded():
    good = World().transaction(RENHE, Change("record", "active", rows()))
    with pytest.raises(InputError):
        payload_bytes(replace(good, signers=()))


@pytest.mark.parametrize("name", ["0A" * 16, "00" * 15, "0" * 31 + "\\", "0" * 31 + '"', "0" * 31 + "é", ""])
def test_a_key_id_that_no_signer_can_have_is_refused(name):
    document = envelope_document()
    document["signatures"][0]["keyid"] = name
    with pytest.raises(InputError) as caught:
        parse_envelope(canonical(document))
    assert caught.value.code == "transaction.signers"


def test_no_changed_byte_of_an_envelope_gives_the_same_envelope_or_one_that_is_spelled_otherwise():
    leaf = sign(World().transaction(RENHE, Change("record", "active", rows()))).leaf
    good = parse_envelope(leaf)
    for at in range(len(leaf)):
        for flip in (1, 0x20, 0x80):
            changed = leaf[:at] + bytes([leaf[at] ^ flip]) + leaf[at + 1 :]
            try:
                other = parse_envelope(changed)
            except InputError:
                continue
            # Whoever reads it with a JSON parser reads the same, and writes the same bytes again.
            document = json.loads(changed)
            assert canonical(document) == changed
            assert document["payload"] == base64_text(other.payload)
            assert [(row["keyid"], row["sig"]) for row in document["signatures"]] == [
                (name, base64_text(signature)) for name, signature in other.signatures
            ]
            assert (other.payload, other.signatures) != (good.payload, good.signatures)


# What the pattern takes, and what it must leave to the parser: both have to say the same of every byte string.
plain_names = st.text("abcxyz019-", min_size=1, max_size=64)
plain_numbers = st.integers(0, 10**15 - 1)
plain_versions = st.integers(1, 10**15 - 1)
plain_transactions = st.builds(
    Transaction,
    creator=plain_names,
    changes=st.builds(
        Change,
        kind=plain_names,
        status=plain_names,
        objects=st.dictionaries(ids, st.tuples(plain_versions, hashes), min_size=1, max_size=4).map(
            lambda d: tuple(ObjectRow(key, *row) for key, row in sorted(d.items()))
        ),
        refs=st.dictionaries(hashes, plain_versions, max_size=8).map(
            lambda d: tuple(Ref(*row) for row in sorted(d.items()))
        ),
        stop_hash=st.none() | hashes,
        expires=st.none() | plain_numbers,
    ).map(lambda change: (change,)),
    bodies=st.just(()),
    signers=st.dictionaries(ids, plain_names, min_size=1, max_size=4).map(
        lambda d: tuple(Signer(key.hex(), role) for key, role in sorted(d.items()))
    ),
    draw=st.none() | st.builds(Draw, plain_numbers, plain_numbers, plain_numbers),
    ledger=hashes,
    nonce=ids,
    until=st.none() | plain_numbers,
    protocol=plain_numbers,
)
pieces = st.sampled_from(
    [bytes([byte]) for byte in b'{}[]":,\\0123456789afAF-+.eEul= \n\t\x00\x7f\x80\xff']
    + b'null -1 01 1.0 1e3 9007199254740993 1000000000000000 true "" [] ,, \\u0061 \xc3\xa9 \xed\xa0\x80 ]] =='.split()
    + [b'","kind":"x', b'"until":null,', b'{"bodies":[],']
)


@st.composite
def mutated(draw, data: bytes) -> bytes:
    """Change a document a little: put a piece in or in the place of another, or say a part twice or elsewhere."""
    for _ in range(draw(st.integers(0, 2))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.sampled_from([0, 1, 1, 2, 16, 71, 120])))
        to = draw(st.integers(0, len(data)))
        how = draw(st.sampled_from(["put", "put", "twice", "move"]))
        if how == "put":
            data = data[:start] + draw(pieces | st.just(b"")) + data[end:]
        else:
            rest = data if how == "twice" else data[:start] + data[end:]
            data = rest[:to] + data[start:end] + rest[to:]
    return data


def outcome(parse, data: bytes):
    """Return what a document is, or how it is refused, in every field."""
    try:
        return parse(data)
    except InputError as error:
        return error.code, error.fields


def without_parser(parse, data: bytes):
    """Judge a document by the pattern alone; what it leaves to the parser raises `AssertionError`."""

    def parser(*_: object, **__: object) -> None:
        raise AssertionError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "parse_canonical", parser)
        return parse(data)


def slowly(parse, data: bytes):
    """Judge a document by the parser alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_plain", lambda _leaf: None)
        patch.setattr(module, "_plain_transaction", lambda _data: None)
        return outcome(parse, data)


@given(plain_transactions)
def test_what_members_write_is_read_without_the_parser(payload):
    data = payload_bytes(payload)
    assert without_parser(parse_payload, data) == payload
    assert slowly(parse_payload, data) == payload


@settings(max_examples=tries(150))
@given(st.data(), plain_transactions)
def test_a_payload_is_judged_alike_with_and_without_the_parser(data, payload):
    changed = data.draw(mutated(payload_bytes(payload)))
    assert outcome(parse_payload, changed) == slowly(parse_payload, changed)


@settings(max_examples=tries(150))
@given(st.data(), plain_transactions)
def test_an_envelope_is_judged_alike_with_and_without_the_parser(data, payload):
    leaf = seal(payload_bytes(payload), [(signer.key_id, bytes(64)) for signer in payload.signers]).leaf
    changed = data.draw(mutated(leaf))
    assert outcome(parse_envelope, changed) == slowly(parse_envelope, changed)


@settings(max_examples=tries(100))
@given(st.data(), plain_transactions)
def test_an_envelope_around_a_changed_payload_is_judged_alike_with_and_without_the_parser(data, payload):
    inner = base64_text(data.draw(mutated(payload_bytes(payload))))
    rows_ = [{"keyid": signer.key_id, "sig": base64_text(bytes(64))} for signer in payload.signers]
    leaf = canonical({"payload": inner, "payloadType": PAYLOAD_TYPE, "signatures": rows_})
    assert outcome(parse_envelope, leaf) == slowly(parse_envelope, leaf)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["changes", 0, "objects"], [[f"{at:032x}", 1, "00" * 32] for at in range(401)]),
        (["changes", 0, "objects"], [["00" * 16, 1, "00" * 32], ["00" * 16, 2, "00" * 32]]),
        (["changes", 0, "refs"], [[f"{at:064x}", 1] for at in range(9)]),
        (["changes", 0, "refs"], [["00" * 32, 1], ["00" * 32, 2]]),
        (["signers"], [[f"{at:032x}", "member"] for at in range(65)]),
        (["signers"], [["00" * 16, "creator"], ["00" * 16, "member"]]),
        (["changes", 0, "kind"], "x" * 65),
        (["until"], 2**53 - 1),
        (["until"], 2**53),
        (["creator"], "Hospital"),
    ],
)
def test_what_the_pattern_leaves_to_the_parser_is_named_by_it(path, value):
    data = json.dumps(broken(payload, path, value), separators=(",", ":"), sort_keys=True).encode()
    with pytest.raises(AssertionError):
        without_parser(parse_payload, data)
    assert outcome(parse_payload, data) == slowly(parse_payload, data)


@pytest.mark.parametrize("signature", ["A" * 85 + "A=A", "A" * 85 + "B==", "A" * 88, "A" * 84 + "====", "A" * 87 + "="])
def test_a_signature_in_another_spelling_is_malformed(signature):
    document = envelope_document()
    document["signatures"][0]["sig"] = signature
    assert outcome(parse_envelope, canonical(document))[0] == "transaction.malformed"


def test_more_than_64_signatures_are_malformed():
    document = envelope_document()
    document["signatures"] = [{"keyid": f"{at:032x}", "sig": base64_text(bytes(64))} for at in range(65)]
    leaf = canonical(document)
    assert outcome(parse_envelope, leaf) == slowly(parse_envelope, leaf)
    assert outcome(parse_envelope, leaf)[0] == "transaction.malformed"
