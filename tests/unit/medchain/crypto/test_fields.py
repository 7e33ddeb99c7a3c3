"""Field trees: recomputed here plainly from the page on the record envelope."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medchain.crypto import fields
from medchain.errors import InputError, VerificationError

SALTS = [bytes((number,)) * 32 for number in range(64)]

OBSERVATION = (
    b'{"resourceType":"Observation","status":"final",'
    b'"code":{"coding":[{"system":"http://loinc.org","code":"8302-2"},{"code":"a/b~c"}]},'
    b'"valueQuantity":{"value":2255.00,"unit":"\\u5398\\u7c73"},"a/b":{"m~n":null},"x":[true,false,-0,1E5,1e400,12]}'
)

EXPECTED = [
    (path.encode(), text.encode())
    for path, text in (
        ("/resourceType", '"Observation"'),
        ("/status", '"final"'),
        ("/code/coding/0/system", '"http://loinc.org"'),
        ("/code/coding/0/code", '"8302-2"'),
        ("/code/coding/1/code", '"a/b~c"'),
        ("/valueQuantity/value", "2255.00"),
        ("/valueQuantity/unit", '"厘米"'),
        ("/a~1b/m~0n", "null"),
        ("/x/0", "true"),
        ("/x/1", "false"),
        ("/x/2", "-0"),
        ("/x/3", "1E5"),
        ("/x/4", "1e400"),
        ("/x/5", "12"),
    )
]


class Spelled(float):
    """A number that knows how it was written."""

    def __new__(cls, text: str) -> Self:
        made = super().__new__(cls, text)
        made.text = text
        return made


def digest(tag: str, *parts: bytes) -> bytes:
    """SHA-256 over each part with its length before it, as docs/spec/encoding.md says."""
    return hashlib.sha256(b"".join(len(p).to_bytes(8, "big") + p for p in (tag.encode(), *parts))).digest()


def node(left: bytes, right: bytes) -> bytes:
    return digest("medchain/field-node/v1", left, right)


def leaves_of(count: int) -> list[bytes]:
    leaves = [fields.field_leaf(SALTS[at], f"name{at}", b'"v"') for at in range(count)]
    return leaves + [fields.pad_leaf(SALTS[at]) for at in range(count, fields.padded_count(count))]


def test_leaves_are_the_tagged_digests_of_the_page():
    assert fields.field_leaf(SALTS[1], "名", b'"v"') == digest("medchain/field/v1", SALTS[1], "名".encode(), b'"v"')
    assert fields.pad_leaf(SALTS[1]) == digest("medchain/field-pad/v1", SALTS[1])


def test_the_root_of_one_field_is_its_leaf():
    leaf = fields.field_leaf(SALTS[0], "a", b"1")
    assert fields.field_root([leaf]) == leaf


def test_the_root_of_four_leaves_is_the_tree_over_them_sorted():
    a, b, c, d = sorted(leaves_of(3))
    expected = node(node(a, b), node(c, d))
    assert fields.field_root([d, b, a, c]) == fields.field_root(leaves_of(3)) == expected


@pytest.mark.parametrize(("count", "padded"), [(0, 1), (1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (33, 64)])
def test_leaves_are_padded_to_a_power_of_two(count, padded):
    assert fields.padded_count(count) == padded


@pytest.mark.parametrize(
    "leaves",
    [[], leaves_of(3)[:3], [SALTS[0], SALTS[0]], [bytes(31)], [bytes(33), SALTS[1]]],
    ids=["none", "three", "twice the same", "short", "long"],
)
def test_other_sets_of_leaves_have_no_root(leaves):
    with pytest.raises(InputError) as caught:
        fields.field_root(leaves)
    assert caught.value.code == "fields.leaves"


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_salt_of_another_size_is_refused(size):
    for make in (lambda salt: fields.field_leaf(salt, "a", b"1"), fields.pad_leaf):
        with pytest.raises(InputError) as caught:
            make(bytes(size))
        assert caught.value.code == "fields.salt"


@given(count=st.integers(1, 40), chosen=st.integers(0, 39))
def test_each_field_proves_under_the_root_and_under_no_other_name_value_or_salt(count, chosen):
    at = chosen % count
    leaves = leaves_of(count)
    root, proof = fields.field_root(leaves), fields.prove_field(leaves, leaves[at])
    fields.verify_field(root, f"name{at}", b'"v"', SALTS[at], proof)
    for name, value, salt in [
        ("other", b'"v"', SALTS[at]),
        (f"name{at}", b'"w"', SALTS[at]),
        (f"name{at}", b'"v"', SALTS[at + 1]),
    ]:
        with pytest.raises(VerificationError) as caught:
            fields.verify_field(root, name, value, salt, proof)
        assert caught.value.code == "fields.proof"


def test_the_audit_path_is_the_siblings_from_below():
    a, b, c, d = sorted(leaves_of(4))
    assert fields.prove_field([d, c, b, a], c) == fields.FieldProof(2, (d, node(a, b)))


def test_the_joint_path_of_some_leaves_has_each_sibling_once_and_none_that_is_known():
    a, b, c, d, e, f, g, h = sorted(leaves_of(8))
    proof = fields.prove_fields(leaves_of(8), [e, b, f])
    assert proof == fields.FieldsProof(3, (4, 1, 5), (a, node(c, d), node(g, h)))
    assert fields.prove_fields([a], [a]) == fields.FieldsProof(0, (0,), ())


@given(count=st.integers(1, 40), chosen=st.sets(st.integers(0, 39), min_size=1, max_size=12), dice=st.randoms())
def test_fields_prove_together_and_not_with_anything_changed(count, chosen, dice):
    leaves = leaves_of(count)
    places = sorted({at % count for at in chosen})
    shown = [fields.ShownField(f"name{at}", b'"v"', SALTS[at]) for at in places]
    root, proof = fields.field_root(leaves), fields.prove_fields(leaves, [leaves[at] for at in places])
    fields.verify_fields(root, shown, proof)
    lie = dice.randrange(len(shown))
    lies = [
        ([*shown[:lie], shown[lie]._replace(value=b'"w"'), *shown[lie + 1 :]], proof),
        ([*shown[:lie], shown[lie]._replace(name="other"), *shown[lie + 1 :]], proof),
        (shown[:-1], proof),
        (shown, replace(proof, siblings=(*proof.siblings, SALTS[63]))),
        (shown, replace(proof, height=proof.height + 1)),
        (shown, replace(proof, positions=(1 << proof.height, *proof.positions[1:]))),
        (shown, replace(proof, positions=(-1, *proof.positions[1:]))),
    ]
    lies += [(shown, replace(proof, siblings=proof.siblings[:-1]))] if proof.siblings else []
    lies += [(shown, replace(proof, positions=proof.positions[::-1]))] if len(shown) > 1 else []
    for others, path in lies:
        with pytest.raises(VerificationError) as caught:
            fields.verify_fields(root, others, path)
        assert caught.value.code == "fields.proof"


def test_attack_a_field_that_nothing_leads_from_to_the_root_is_not_taken_for_proven():
    """One position twice: of two values there only the last would be looked at."""
    leaves = leaves_of(4)
    root, proof = fields.field_root(leaves), fields.prove_fields(leaves, [leaves[2]])
    real, other = fields.ShownField("name2", b'"v"', SALTS[2]), fields.ShownField("name2", b'"w"', SALTS[2])
    for height in (2, -1, 33):
        with pytest.raises(VerificationError):
            fields.verify_fields(root, [other, real], replace(proof, height=height, positions=proof.positions * 2))
    with pytest.raises(VerificationError):
        fields.verify_fields(root, [], fields.FieldsProof(0, (), ()))


@pytest.mark.parametrize(
    ("shown", "code"), [([], "fields.leaves"), ([0, 0], "fields.leaves"), ([9], "fields.unknown_leaf")]
)
def test_only_leaves_each_once_can_be_proved_together(shown, code):
    leaves = leaves_of(4)
    with pytest.raises(InputError) as caught:
        fields.prove_fields(leaves, [([*leaves, *[bytes(32)] * 6])[at] for at in shown])
    assert caught.value.code == code


def test_what_is_no_leaf_cannot_be_proved():
    with pytest.raises(InputError) as caught:
        fields.prove_field(leaves_of(4), bytes(32))
    assert caught.value.code == "fields.unknown_leaf"


def test_attack_a_padding_leaf_or_an_inner_node_passed_off_as_a_field_fails():
    leaves = leaves_of(3)
    root = fields.field_root(leaves)
    pad_proof = fields.prove_field(leaves, leaves[3])
    with pytest.raises(VerificationError):
        fields.verify_field(root, "", b"", SALTS[3], pad_proof)
    a, b, c, d = sorted(leaves)
    with pytest.raises(VerificationError):
        fields.verify_field(root, "", a + b, SALTS[0], fields.FieldProof(0, (node(c, d),)))


@pytest.mark.parametrize(
    "proof",
    [
        fields.FieldProof(4, (bytes(32), bytes(32))),
        fields.FieldProof(-1, (bytes(32),)),
        fields.FieldProof(1, ()),
        fields.FieldProof(0, (bytes(31),)),
        fields.FieldProof(0, (bytes(32),) * 33),
    ],
    ids=["beyond", "negative", "no path", "short sibling", "endless"],
)
def test_a_malformed_proof_fails(proof):
    leaf = fields.field_leaf(SALTS[0], "a", b"1")
    with pytest.raises(VerificationError) as caught:
        fields.verify_field(leaf, "a", b"1", SALTS[0], proof)
    assert caught.value.code == "fields.proof"


def test_a_path_of_32_is_followed_and_a_longer_one_is_not_looked_at():
    root = fields.field_leaf(SALTS[0], "a", b"1")
    for depth in range(33):
        proof = fields.FieldProof(0, (SALTS[1],) * depth)
        fields.verify_field(root, "a", b"1", SALTS[0], proof)
        root = node(root, SALTS[1])
    with pytest.raises(VerificationError):
        fields.verify_field(root, "a", b"1", SALTS[0], fields.FieldProof(0, (SALTS[1],) * 33))


def test_a_changed_sibling_or_position_fails():
    leaves = leaves_of(8)
    root, proof = fields.field_root(leaves), fields.prove_field(leaves, leaves[2])
    fields.verify_field(root, "name2", b'"v"', SALTS[2], proof)
    bad = [fields.FieldProof(proof.position ^ bit, proof.siblings) for bit in (1, 2, 4)]
    bad += [fields.FieldProof(proof.position, proof.siblings[:2]), fields.FieldProof(0, proof.siblings[::-1])]
    for wrong in bad:
        with pytest.raises(VerificationError):
            fields.verify_field(root, "name2", b'"v"', SALTS[2], wrong)


def test_every_primitive_of_a_record_has_its_pointer_and_numbers_stay_to_the_letter():
    assert fields.record_fields(OBSERVATION) == EXPECTED


def test_the_spelling_of_a_string_does_not_matter_but_that_of_a_number_does():
    assert fields.record_fields(b'{ "a" : "\\u00e9\\/" }') == fields.record_fields('{"a":"é/"}'.encode())
    assert fields.record_fields(b'{"a":1.0}') != fields.record_fields(b'{"a":1.00}')
    assert fields.record_fields(b'{"a":1}') != fields.record_fields(b'{"a":"1"}')


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "fields.not_json"),
        (b"{", "fields.not_json"),
        (b'{"a":1}x', "fields.not_json"),
        (b'{"a":01}', "fields.not_json"),
        (b'{"a":"\n"}', "fields.not_json"),
        (b'{"a":NaN}', "fields.not_json"),
        (b'{"a":-Infinity}', "fields.not_json"),
        (b'{"a":"\\ud800"}', "fields.not_json"),
        (b'{"\\ud800":[1]}', "fields.not_json"),
        (b'{"a":"\xff"}', "fields.not_json"),
        (b'\xef\xbb\xbf{"a":1}', "fields.not_json"),
        ('{"a":1}'.encode("utf-16"), "fields.not_json"),
        (b'{"a":' + b"[" * 64 + b"1" + b"]" * 64 + b"}", "fields.not_json"),
        (b'{"a":' * 100_000, "fields.not_json"),
        (b'{"a":1,"a":1}', "fields.duplicate_name"),
        (b'{"b":{"a":1,"\\u0061":2}}', "fields.duplicate_name"),
        (b"{}", "fields.none"),
        (b'{"a":[],"b":{}}', "fields.none"),
        (b"[1]", "fields.none"),
        (b"1", "fields.none"),
    ],
)
def test_a_record_that_is_no_strict_json_object_is_refused(content, code):
    with pytest.raises(InputError) as caught:
        fields.record_fields(content)
    assert caught.value.code == code
    # The cause would quote the record.
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_the_deepest_record_allowed_is_read():
    content = b'{"a":' + b"[" * 62 + b"1" + b"]" * 62 + b"}"
    assert fields.record_fields(content) == [(b"/a" + b"/0" * 62, b"1")]


def test_attack_one_long_name_does_not_multiply_by_all_that_is_below_it():
    """100 kB would be read into pointers of more than 1 GB: of 1 MiB a reader would run out of memory."""
    name, inside = "n" * 60_000, b"[" + b"1," * 10_000 + b"1]"
    for content in (b"%s" % inside, b'{"b":[[[%s]]]}' % inside):
        with pytest.raises(InputError, match=r"fields\.not_json"):
            fields.record_fields(b'{"%s":%s}' % (name.encode(), content))
    assert len(fields.record_fields(b'{"%s":[1,2,3]}' % name.encode())) == 3


def test_record_leaves_have_a_salt_each_from_the_record_salt_and_are_padded_from_what_follows():
    """`docs/spec/record-envelope.md` 8."""
    salt = bytes(range(32))
    parts = (b"medchain/record-field-salts/v1", salt)
    count = 1 << (len(EXPECTED) - 1).bit_length()
    stream = hashlib.shake_256(b"".join(len(p).to_bytes(8, "big") + p for p in parts)).digest(32 * count)
    salts = [stream[at : at + 32] for at in range(0, 32 * count, 32)]
    shown = [digest("medchain/field/v1", one, *field) for one, field in zip(salts, EXPECTED, strict=False)]
    assert len(shown) < count
    assert fields.record_field_leaves(salt, EXPECTED) == shown + salts[len(shown) :]
    assert fields.record_field_salt(salt, 1) == salts[1]


def test_salts_of_two_records_and_of_two_fields_are_never_the_same():
    made = [fields.record_field_salt(bytes([number]) * 32, place) for number in range(8) for place in range(64)]
    assert len(set(made)) == len(made)


def test_what_is_parsed_already_has_the_same_fields():
    document = json.loads(OBSERVATION, parse_float=Spelled, parse_int=Spelled)
    assert fields.document_fields(document, lambda number: number.text) == EXPECTED


@pytest.mark.parametrize("document", [{}, {"a": [], "b": {}}])
def test_a_parsed_record_without_a_primitive_has_no_fields(document):
    with pytest.raises(InputError) as caught:
        fields.document_fields(document, str)
    assert caught.value.code == "fields.none"


def test_a_parsed_record_is_bounded_in_depth():
    deep: object = 1
    for _ in range(64):
        deep = [deep]
    with pytest.raises(InputError) as caught:
        fields.document_fields({"a": deep}, str)
    assert caught.value.code == "fields.not_json"


def test_one_field_of_a_record_opens_against_its_root():
    record_salt = bytes(range(32))
    leaves = fields.record_field_leaves(record_salt, EXPECTED)
    root = fields.field_root(leaves)
    proof = fields.prove_field(leaves, leaves[5])
    salt = fields.record_field_salt(record_salt, 5)
    fields.verify_field(root, "/valueQuantity/value", b"2255.00", salt, proof)
    with pytest.raises(VerificationError):
        fields.verify_field(root, "/valueQuantity/value", b"2255.0", salt, proof)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab~/é", max_size=3), inner, max_size=4),
    max_leaves=12,
)


def resolve(document: object, pointer: str) -> object:
    """RFC 6901 §4."""
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        document = document[int(name)] if isinstance(document, list) else document[name]
    return document


@given(st.dictionaries(st.text("ab~/é", max_size=3), JSON, max_size=4))
def test_each_pointer_leads_to_its_value(document):
    try:
        found = fields.record_fields(json.dumps(document).encode())
    except InputError as error:
        assert error.code == "fields.none"  # noqa: PT017  # empty containers only
        return
    assert len({path for path, _ in found}) == len(found)
    for path, text in found:
        assert json.loads(text) == resolve(document, path.decode())
