"""The state map against a dictionary and a trie computed bit by bit, and against every kind of corruption."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medchain.errors import InputError, MedchainError, VerificationError
from medchain.tlog.mapnode import EMPTY_NODE, MapNode, leaf_node_hash, parent
from medchain.tlog.statemap import MapProof, MapRoot, check_ways, held, lookup, prove, repair, update, verify_map
from tests.tries import tries

# Keys that share long prefixes, so that buckets overflow into chains of pages, beside keys as hashes give them.
NEAR_KEYS = st.builds(
    lambda head, tail: bytes([head]) + bytes(30) + bytes([tail]), st.integers(0, 3), st.integers(0, 40)
)
FAR_KEYS = st.integers(0, 255).map(lambda number: hashlib.sha256(bytes([number])).digest())
KEYS = st.one_of(NEAR_KEYS, FAR_KEYS)
VALUES = st.integers(0, 255).map(lambda number: hashlib.sha256(b"value" + bytes([number])).digest())
BLOCKS = st.lists(st.dictionaries(KEYS, VALUES, min_size=1, max_size=30), min_size=1, max_size=5)


class FromDisk(dict):
    """Gives back copies, as a database does, and not the objects that were written."""

    def page(self, key):
        data = self.get(key)
        return None if data is None else bytes(bytearray(data))


def sample(count, salt=b""):
    return {
        hashlib.sha256(salt + number.to_bytes(4, "big")).digest(): hashlib.sha256(b"v%d" % number).digest()
        for number in range(count)
    }


def build(pages, *blocks: dict):
    root = MapRoot.empty()
    for block in blocks:
        changed = update(root, block, pages)
        pages.update(changed.pages)
        root = changed.root
    return root


def key_of(bits):
    return int(bits.ljust(256, "0"), 2).to_bytes(32, "big")


@settings(max_examples=tries(60))
@given(blocks=BLOCKS, asked=st.lists(KEYS, max_size=10))
def test_the_map_answers_like_a_dictionary_and_hashes_like_the_definition(naive_map, blocks, asked):
    pages, model = FromDisk(), {}
    root = MapRoot.empty()
    for block in blocks:
        root = build_on(root, pages, block)
        model.update(block)
        assert root.hash == naive_map.root(model)
    for key in [*model, *asked]:
        assert lookup(root, key, pages) == model.get(key)
        assert held(root, [key], pages) == [key] * (key in model)
        proof = prove(root, key, pages)
        assert proof.value == model.get(key)
        verify_map(root.hash, proof)
        assert MapProof.from_json(proof.to_json()) == proof


@settings(max_examples=tries(60))
@given(blocks=BLOCKS, asked=st.lists(KEYS, max_size=40))
def test_of_many_keys_those_are_found_that_are_there(blocks, asked):
    pages, model = FromDisk(), {}
    for block in blocks:
        model.update(block)
    root = build(pages, *blocks)
    keys = [*model, *asked]
    assert held(root, keys, pages) == [key for key in keys if key in model]


def test_a_value_or_the_end_of_one_and_the_beginning_of_a_key_is_no_key():
    pages = FromDisk()
    entries = {bytes([at]) * 32: bytes([at + 100]) * 32 for at in range(3)}
    root = build(pages, entries)
    across = (b"\x64" * 16) + (b"\x01" * 16)
    assert across in pages[b"\x01"]
    assert held(root, [*entries.values(), across, *entries], pages) == [*entries]


def build_on(root, pages, block):
    changed = update(root, block, pages)
    pages.update(changed.pages)
    return changed.root


@settings(max_examples=tries(30))
@given(blocks=BLOCKS)
def test_how_changes_were_divided_into_blocks_changes_neither_root_nor_pages(pages_factory, blocks):
    together, apart, cached = FromDisk(), FromDisk(), pages_factory()
    merged = {key: value for block in blocks for key, value in block.items()}
    roots = {build(together, merged), build(apart, *({key: value} for key, value in sorted(merged.items())))}
    roots |= {build(cached, *blocks)}
    assert len(roots) == 1
    assert together == apart == cached


@pytest.fixture(scope="module")
def pages_factory():
    class Cached(dict):
        def page(self, key):
            return self.get(key)

    return Cached


def test_the_empty_map_has_the_root_of_the_reference(naive_map, pages):
    # filippo.io/torchwood v0.9.0: InitStorage, then RootHash.
    assert MapRoot.empty().hash == naive_map.root({})
    assert update(MapRoot.empty(), {}, pages).pages == {}
    assert update(MapRoot.empty(), {}, pages).root == MapRoot.empty()


def test_absence_in_the_empty_map_is_proven_by_the_empty_node(pages):
    proof = prove(MapRoot.empty(), bytes(32), pages)
    assert proof == MapProof(bytes(32), None, (EMPTY_NODE,))
    assert lookup(MapRoot.empty(), bytes(32), pages) is None
    assert held(MapRoot.empty(), [bytes(32)], pages) == []
    verify_map(MapRoot.empty().hash, proof)


def test_the_empty_node_alone_proves_absence_in_no_other_map(pages):
    root = build(pages, sample(1))
    with pytest.raises(VerificationError, match=r"tlog\.map_proof"):
        verify_map(root.hash, MapProof(bytes(32), None, (EMPTY_NODE,)))


@pytest.mark.parametrize("asked", ["0", "01", "1", "11"])
def test_a_map_of_one_entry_proves_it_and_the_absence_on_both_sides(pages, asked):
    root = build(pages, {key_of("0"): b"v" * 32})
    proof = prove(root, key_of(asked), pages)
    assert proof.value == (b"v" * 32 if asked == "0" else None)
    verify_map(root.hash, proof)
    labels = [node.bits for node in proof.nodes]
    assert labels == {"0": [0], "01": [256, 0], "1": [0, 256], "11": [0, 256]}[asked]


def test_what_is_a_value_is_no_key(pages):
    key, value = key_of("0"), key_of("01")
    root = build(pages, {key: value})
    assert held(root, [key, value], pages) == [key]


def test_a_value_is_replaced(pages):
    entries = sample(50)
    key = next(iter(entries))
    root = build(pages, entries, {key: b"new value".ljust(32)})
    assert lookup(root, key, pages) == b"new value".ljust(32)
    assert root == build(type(pages)(), {**entries, key: b"new value".ljust(32)})


def test_one_change_in_a_large_map_writes_few_and_small_pages(pages):
    entries = sample(5000)
    root = build(pages, entries)
    written = update(root, {next(iter(entries)): bytes(32)}, pages).pages
    assert len(written) <= 4
    assert all(len(page) <= 1024 + 64 * 64 for page in written.values())


@pytest.mark.parametrize(("key", "value"), [(b"short", bytes(32)), (bytes(32), b"short"), (bytes(33), bytes(32))])
def test_keys_and_values_of_another_size_are_refused(pages, key, value):
    with pytest.raises(InputError, match=r"tlog\.map_entry"):
        update(MapRoot.empty(), {key: value}, pages)


def test_a_key_of_another_size_is_not_looked_up(pages):
    for act in (lookup, prove):
        with pytest.raises(InputError, match=r"tlog\.map_entry"):
            act(MapRoot.empty(), b"short", pages)


# ---- writings that were broken off


def deepest_first(pages):
    """Order pages as a writer must, so that what was broken off can be finished (`docs/spec/log.md` 20)."""
    return sorted(pages, key=lambda key: (-int.from_bytes(key, "big").bit_length(), key))


@settings(max_examples=tries(60))
@given(blocks=BLOCKS, cuts=st.lists(st.integers(0, 400), min_size=2, max_size=2))
def test_a_writing_broken_off_anywhere_twice_is_finished(naive_map, blocks, cuts):
    old, *later = blocks
    disk = FromDisk()
    root = build(disk, old)
    memory, model, changes = FromDisk(disk), dict(old), {}
    middle = len(later) // 2
    for number, part in enumerate((later[:middle], later[middle:])):
        before = set(memory.items())
        build_on_all(memory, part, model, changes)
        written = {key: page for key, page in memory.items() if (key, page) not in before or number}
        for key in deepest_first(written)[: cuts[number]]:
            disk[key] = memory[key]
        if changes:
            found = repair(root, changes, disk)
            assert found.root.hash == naive_map.root(model)
            assert {**disk, **found.pages} == memory
            assert found.replaced == {}
    for key in model:
        assert held(MapRoot(naive_map.root(model)), [key], memory) == [key]


def build_on_all(pages, blocks, model, changes):
    """Put further blocks into a map, with what is known of it."""
    root = build(FromDisk(), model)
    for block in blocks:
        root = build_on(root, pages, block)
        model.update(block)
        changes.update(block)


def test_a_first_writing_broken_off_before_any_page_is_finished(naive_map, pages):
    assert repair(MapRoot.empty(), NEAR, pages).root.hash == naive_map.root(NEAR)


def test_a_page_missing_below_one_that_was_written_is_corruption(pages):
    root = build(pages, NEAR)
    deepest = deepest_first(pages)[0]
    del pages[deepest]
    with pytest.raises(VerificationError, match=r"tlog\.page_corrupt"):
        repair(root, NEAR, pages)


def test_what_a_block_replaces_leads_back_to_the_map_before_it(pages):
    entries = sample(300)
    root = build(pages, entries)
    changed = update(root, {**sample(20, b"new"), next(iter(entries)): bytes(32)}, pages)
    before = {**pages, **changed.pages, **changed.replaced}
    assert all(lookup(root, key, type(pages)(before)) == value for key, value in entries.items())
    assert lookup(root, next(iter(sample(1, b"new"))), type(pages)(before)) is None
    assert changed.replaced.keys() <= changed.pages.keys()


# ---- corruption


def outcome(act):
    try:
        return act()
    except VerificationError as error:
        return error.code


NEAR = {bytes([255, 255, 16 * number]) + bytes(29): bytes(32) for number in range(6)}
ASKED = [*list(sample(60))[:2], *list(sample(3, b"absent")), *list(NEAR)[:1], b"\xff\xff\xf0".ljust(32)]


@pytest.mark.parametrize("key", ASKED, ids=[key[:3].hex() for key in ASKED])
def test_a_page_with_any_byte_changed_gives_an_error_or_the_same_answer(key):
    good = FromDisk()
    root = build(good, sample(60), NEAR)
    value, proof = lookup(root, key, good), prove(root, key, good)
    changed = update(root, {key: b"n" * 32}, good).root
    found = 0
    for name, page in list(good.items()):
        for at in range(len(name) % 7, len(page), 13):
            pages = FromDisk(good)
            pages[name] = page[:at] + bytes([page[at] ^ 0x81]) + page[at + 1 :]
            answers = [
                outcome(lambda pages=pages: lookup(root, key, pages) or b"absent"),
                outcome(lambda pages=pages: prove(root, key, pages)),
                outcome(lambda pages=pages: update(root, {key: b"n" * 32}, pages).root),
            ]
            found += answers.count("tlog.page_corrupt")
            for answer, right in zip(answers, (value or b"absent", proof, changed), strict=True):
                assert answer in ("tlog.page_corrupt", right)
    assert found > 100


@pytest.mark.parametrize("key", ASKED, ids=[key[:3].hex() for key in ASKED])
def test_who_compares_the_root_gets_the_right_one_or_the_ways_tell_which_page_is_at_fault(key):
    good = FromDisk()
    root = build(good, sample(60), NEAR)
    right = update(root, {key: b"n" * 32}, good)
    assert update(root, {key: b"n" * 32}, good, is_compared=True) == right
    check_ways(root, [key], good)
    wrong = 0
    for name, page in list(good.items()):
        for at in range(len(name) % 7, len(page), 13):
            pages = FromDisk(good)
            pages[name] = page[:at] + bytes([page[at] ^ 0x81]) + page[at + 1 :]
            found = outcome(lambda pages=pages: update(root, {key: b"n" * 32}, pages, is_compared=True).root)
            if found != right.root:
                wrong += found != "tlog.page_corrupt"
                assert outcome(lambda pages=pages: check_ways(root, [key], pages)) == "tlog.page_corrupt"
    assert wrong > 3


def test_a_missing_page_is_corruption(pages):
    root = build(pages, sample(60))
    for name in list(pages):
        less = type(pages)(pages)
        del less[name]
        for act in (lookup, lambda root, key, pages: held(root, [key], pages)):
            outcomes = {
                outcome(lambda key=key, less=less, act=act: act(root, key, less) and None) for key in sample(60)
            }
            assert outcomes >= {"tlog.page_corrupt"}


def test_a_page_of_an_earlier_block_is_corruption():
    entries = sample(60)
    pages = FromDisk()
    old = build(pages, entries)
    before = FromDisk(pages)
    new = build_on(old, pages, {key: bytes(32) for key in entries})
    for name in before:
        mixed = FromDisk(pages)
        mixed[name] = before[name]
        outcomes = {outcome(lambda key=key, mixed=mixed: lookup(new, key, mixed)) for key in entries}
        assert "tlog.page_corrupt" in outcomes
        assert outcomes <= {"tlog.page_corrupt", bytes(32)}


def test_a_stale_page_from_a_cache_is_corruption(pages):
    entries = sample(60)
    old = build(pages, entries)
    stale = type(pages)(pages)
    new = update(old, {key: bytes(32) for key in entries}, pages).root
    with pytest.raises(VerificationError, match=r"tlog\.page_corrupt"):
        update(new, dict(list(entries.items())[:1]), stale)


@pytest.mark.parametrize(
    "change",
    [
        lambda page: page + bytes(64),
        lambda page: page[:-1],
        lambda page: page[:1000],
        lambda page: page[:0],
        lambda page: page[:16] + b"\x05" + page[17:],
        lambda page: page[:16] + b"\xfe" * 16 + page[32:],
        lambda page: b"M" + page[1:],
    ],
    ids=["longer", "shorter", "cut", "nothing", "bucket too large", "unknown kinds", "another tag"],
)
def test_a_page_of_another_form_is_corruption(change):
    pages = FromDisk()
    root = build(pages, sample(60))
    pages[b"\x01"] = change(pages[b"\x01"])

    def find(root, key, pages):
        return held(root, [key], pages)

    for act in (lookup, prove, find, lambda root, key, pages: update(root, {key: key}, pages)):
        with pytest.raises(VerificationError, match=r"tlog\.page_corrupt"):
            act(root, bytes(32), pages)


@pytest.mark.parametrize("count", [1, 2, 8])
def test_a_bucket_with_another_entry_is_corruption_for_who_changes_it(count):
    entries = {bytes([number << 4]) + bytes(31): b"v" * 32 for number in range(count)}
    pages = FromDisk()
    root = build(pages, entries)
    pages[b"\x01"] = pages[b"\x01"][:-32] + b"w" * 32
    last = max(entries)
    with pytest.raises(VerificationError, match=r"tlog\.page_corrupt"):
        update(root, {last: bytes(32)}, pages)
    with pytest.raises(VerificationError, match=r"tlog\.page_corrupt"):
        lookup(root, last, pages)


def heap_changed(page, hashes):
    """Put other hashes into a page's heap, as `docs/spec/log.md` lays it out."""
    data = bytearray(page)
    for place, item in hashes.items():
        data[32 * place : 32 * place + 32] = item
    return bytes(data)


def test_a_single_node_passed_through_beside_the_way_is_checked():
    pages = FromDisk()
    root = build(pages, {bytes([number << 4]) + bytes(31): b"v" * 32 for number in (0, 8)})
    pages[b"\x01"] = heap_changed(pages[b"\x01"], {6: b"x" * 32})
    with pytest.raises(VerificationError, match=r"tlog\.page_corrupt"):
        prove(root, bytes(32), pages)


def test_two_nodes_where_one_was_beside_the_way_are_noticed():
    pages = FromDisk()
    root = build(pages, {bytes([number << 4]) + bytes(31): b"v" * 32 for number in (0, 8)})
    pages[b"\x01"] = heap_changed(pages[b"\x01"], {7: b"x" * 32})
    with pytest.raises(VerificationError, match=r"tlog\.page_corrupt"):
        prove(root, bytes(32), pages)


def test_a_changed_hash_in_a_page_below_the_root_is_noticed_by_who_writes_it():
    pages = FromDisk()
    root = build(pages, NEAR)
    [name] = [name for name, page in pages.items() if page[16] not in (0, 255)]
    pages[name] = heap_changed(pages[name], {4: b"x" * 32})
    with pytest.raises(VerificationError, match=r"tlog\.page_corrupt"):
        update(root, dict.fromkeys(list(NEAR)[:1], b"n" * 32), pages)


# ---- proofs


def test_the_vectors_verify(vectors):
    root = vectors.map_root()
    member = MapProof.from_json(vectors.read("map-member.json"))
    assert member.value is not None
    verify_map(root, member)
    absent = MapProof.from_json(vectors.read("map-absent.json"))
    assert absent.value is None
    verify_map(root, absent, allow_unbound=True)


def test_the_bad_vector_fails(vectors):
    bad = MapProof.from_json(vectors.read("map-bad.json"))
    with pytest.raises(VerificationError, match=r"tlog\.map_proof"):
        verify_map(vectors.map_root(), bad)


def test_absence_without_the_first_nodes_value_is_refused(vectors):
    absent = MapProof.from_json(vectors.read("map-absent.json"))
    with pytest.raises(VerificationError, match=r"tlog\.map_unbound"):
        verify_map(vectors.map_root(), absent)


def forged_absence(member):
    label = member.key[:-1] + bytes([member.key[-1] ^ 1])
    leaf = MapNode(256, label, leaf_node_hash(member.key, member.value))
    return MapProof(member.key, None, (leaf, *member.nodes))


def test_the_absence_of_a_present_key_cannot_be_forged_by_changing_a_label(vectors):
    root = vectors.map_root()
    forged = forged_absence(MapProof.from_json(vectors.read("map-member.json")))
    # This is why an unbound proof convinces nobody: torchwood v0.9.0 accepts it as well.
    verify_map(root, forged, allow_unbound=True)
    with pytest.raises(VerificationError, match=r"tlog\.map_unbound"):
        verify_map(root, forged)
    first = replace(forged.nodes[0], value=MapProof.from_json(vectors.read("map-member.json")).value)
    with pytest.raises(VerificationError, match=r"tlog\.map_proof"):
        verify_map(root, replace(forged, nodes=(first, *forged.nodes[1:])))


def test_the_absence_of_a_present_key_cannot_be_forged_by_exchanging_the_first_two_nodes(pages):
    keys = [key_of("00"), key_of("01"), key_of("1")]
    root = build(pages, dict.fromkeys(keys, b"v" * 32))
    left, right = (MapNode(256, key, leaf_node_hash(key, b"v" * 32), b"v" * 32) for key in keys[:2])
    across = prove(root, keys[0], pages).nodes[-1]
    lied = replace(left, label=key_of("001"), value=None)
    for pair in ((right, lied), (lied, right)):
        with pytest.raises(VerificationError, match=r"tlog\.map_"):
            verify_map(root.hash, MapProof(keys[0], None, (*pair, across)))


def test_a_half_empty_root_proves_no_absence_on_its_full_side(pages):
    root = build(pages, {key_of("0"): b"v" * 32})
    leaf = MapNode(256, key_of("0"), leaf_node_hash(key_of("0"), b"v" * 32), b"v" * 32)
    verify_map(root.hash, MapProof(key_of("1"), None, (EMPTY_NODE, leaf)))
    lied = replace(leaf, label=key_of("01"), value=None)
    for nodes in ((EMPTY_NODE, leaf), (EMPTY_NODE, lied), (EMPTY_NODE, EMPTY_NODE), (leaf, EMPTY_NODE)):
        with pytest.raises(VerificationError, match=r"tlog\.map_proof"):
            verify_map(root.hash, MapProof(key_of("0"), None, nodes))


SMALL = {key_of(bits): hashlib.sha256(bits.encode()).digest() for bits in ("000", "001", "01", "1")}


def small_proofs():
    class Cached(dict):
        def page(self, key):
            return self.get(key)

    pages = Cached()
    root = build(pages, SMALL)
    return [(root, prove(root, key_of(bits), pages)) for bits in ("000", "0001", "11", "011")]


@pytest.mark.parametrize(
    ("root", "proof"), small_proofs(), ids=["member", "absent leaf", "absent right", "absent left"]
)
def test_a_proof_with_any_byte_changed_is_refused_or_says_nothing_false(root, proof):
    verify_map(root.hash, proof)
    document = proof.to_json()
    refused = 0
    for at in range(len(document)):
        for mask in (1, 2, 16):
            data = document[:at] + bytes([document[at] ^ mask]) + document[at + 1 :]
            try:
                other = MapProof.from_json(data)
                verify_map(root.hash, other)
            except MedchainError:
                refused += 1
            else:
                # Bits of a label that no hash covers may differ; they can make no false statement.
                assert other.value == SMALL.get(other.key)
    assert refused > len(document)


@pytest.mark.parametrize(
    "change",
    [
        lambda proof: replace(proof, key=b"short"),
        lambda proof: replace(proof, value=b"short"),
        lambda proof: replace(proof, nodes=proof.nodes[:-1]),
        lambda proof: replace(proof, nodes=proof.nodes[1:]),
        lambda proof: replace(proof, nodes=()),
        lambda proof: replace(proof, nodes=(*proof.nodes, EMPTY_NODE)),
        lambda proof: replace(proof, nodes=(*proof.nodes, proof.nodes[-1])),
        lambda proof: replace(proof, nodes=proof.nodes[::-1]),
        lambda proof: replace(proof, nodes=(MapNode(256, proof.key, bytes(32)), *proof.nodes)),
        lambda proof: replace(proof, nodes=(replace(proof.nodes[0], hash=b"short"), *proof.nodes[1:])),
        lambda proof: replace(proof, nodes=(replace(proof.nodes[0], label=b"short"), *proof.nodes[1:])),
        lambda proof: replace(proof, nodes=(replace(proof.nodes[0], bits=257), *proof.nodes[1:])),
        lambda proof: replace(proof, nodes=(replace(proof.nodes[0], bits=-1), *proof.nodes[1:])),
        lambda proof: replace(proof, nodes=(replace(proof.nodes[0], value=b"short"), *proof.nodes[1:])),
        lambda proof: replace(proof, nodes=(replace(proof.nodes[0], value=bytes(32)), *proof.nodes[1:])),
        lambda proof: replace(proof, nodes=(replace(EMPTY_NODE, hash=bytes(32)), *proof.nodes[1:])),
        lambda proof: replace(proof, nodes=proof.nodes * 200),
        lambda proof: replace(proof, value=None),
    ],
)
@pytest.mark.parametrize("bits", ["000", "11"])
def test_a_malformed_proof_is_refused(pages, change, bits):
    root = build(pages, SMALL)
    proof = prove(root, key_of(bits), pages)
    changed = change(proof)
    if changed == proof:
        changed = replace(proof, value=bytes(32))
    with pytest.raises(VerificationError, match=r"tlog\.map_proof"):
        verify_map(root.hash, changed)


@pytest.mark.parametrize(
    ("one", "other"), [("0", "0"), ("0", "01"), ("01", "0")], ids=["same", "prefix of the other", "other is a prefix"]
)
def test_a_label_and_its_own_prefix_are_no_siblings(one, other):
    assert parent(MapNode(len(one), key_of(one), bytes(32)), MapNode(len(other), key_of(other), bytes(32))) is None


def test_two_empty_nodes_have_no_parent():
    assert parent(EMPTY_NODE, EMPTY_NODE) is None


# ---- JSON


def test_a_proof_is_written_as_canonical_json():
    proof = MapProof(b"k" * 32, b"v" * 32, (MapNode(8, b"\xab" + bytes(31), b"h" * 32, b"w" * 32), EMPTY_NODE))
    node = (
        f'{{"bits":8,"hash":"{"68" * 32}","label":"ab{"00" * 31}","value":"{"77" * 32}"}},'
        f'{{"bits":0,"hash":"{EMPTY_NODE.hash.hex()}","label":"{"01" * 32}"}}'
    )
    expected = f'{{"key":"{"6b" * 32}","proof":[{node}],"value":"{"76" * 32}"}}'
    assert proof.to_json() == expected.encode()


def good_document():
    return json.loads(small_proofs()[0][1].to_json())


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda d: d.update(more=1), "encoding.members"),
        (lambda d: d.pop("key"), "encoding.members"),
        (lambda d: d.update(value=None), "encoding.members"),
        (lambda d: d.update(key="AB" * 32), "encoding.hex"),
        (lambda d: d.update(key=d["key"] + "00"), "encoding.hex"),
        (lambda d: d["proof"][0].update(more=1), "encoding.members"),
        (lambda d: d["proof"][0].pop("bits"), "encoding.members"),
        (lambda d: d["proof"][0].update(bits=True), "encoding.members"),
        (lambda d: d["proof"][0].update(bits=256.0), "encoding.members"),
        (lambda d: d["proof"][0].update(bits=255), "tlog.map_json"),
        (lambda d: d["proof"][0].update(bits=0), "tlog.map_json"),
        (lambda d: d["proof"][0].update(value="00" * 32), "tlog.map_json"),
        (lambda d: d["proof"][0].update(value="00"), "encoding.hex"),
        (lambda d: d["proof"].append(7), "encoding.members"),
    ],
)
def test_json_with_other_members_is_refused(change, code):
    document = good_document()
    document["proof"][0].update(label="ff" * 32)
    change(document)
    with pytest.raises(InputError, match=code):
        MapProof.from_json(json.dumps(document).encode())


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-1],
        lambda text: text.replace('{"key"', '{"key": "00", "key"'),
        lambda text: text.replace('"bits"', '"\\u0062its"'),
        lambda text: text + "\0",
        lambda text: "[" + text + "]",
        lambda text: text + " " * 70000,
    ],
    ids=["cut", "member twice", "escape", "rest", "array", "too long"],
)
def test_json_in_another_spelling_is_refused(change):
    with pytest.raises(InputError):
        MapProof.from_json(change(json.dumps(good_document())).encode())


def test_white_space_and_order_in_json_are_free():
    root, proof = small_proofs()[0]
    spaced = json.dumps(dict(reversed(good_document().items())), indent=2).encode() + b"\n"
    assert MapProof.from_json(spaced) == proof
    verify_map(root.hash, proof)


def test_the_example_of_the_specification_verifies():
    page = (Path(__file__).parents[4] / "docs" / "spec" / "log.md").read_text(encoding="utf-8")
    example = page.split("```json\n")[1].split("```")
    root = bytes.fromhex(re.search("root `([0-9a-f]{64})`", example[1])[1])
    proof = MapProof.from_json(example[0].encode())
    assert proof.value is None
    verify_map(root, proof)
    assert f"`{MapRoot.empty().hash.hex()}`" in page
    assert f"`{EMPTY_NODE.hash.hex()}`" in page
