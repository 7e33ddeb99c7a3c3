"""The Merkle tree against RFC 6962's own definitions and the published roots."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medchain.errors import InputError, VerificationError
from medchain.tlog.merkle import (
    EMPTY_ROOT,
    Frontier,
    leaf_hash,
    node_hash,
    pair_up,
    verify_consistency,
    verify_inclusion,
)

SIZES = range(131)

# The test tree of Certificate Transparency's own implementations, and its roots at sizes 1 to 8.
CT_LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
CT_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def hashes_of(rfc6962, size):
    return [rfc6962.mth(index, index + 1) for index in range(size)]


def flips(data):
    return [data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :] for at in range(len(data))]


def test_roots_are_those_of_the_certificate_transparency_test_tree():
    frontier = Frontier.empty()
    for leaf, root in zip(CT_LEAVES, CT_ROOTS, strict=True):
        frontier = frontier.append([leaf_hash(bytes.fromhex(leaf))])
        assert frontier.root().hex() == root


def test_the_empty_tree_has_the_hash_of_nothing():
    assert hashlib.sha256().digest() == EMPTY_ROOT
    assert Frontier.empty().root() == EMPTY_ROOT


def test_leaf_and_node_hashes_have_different_prefixes():
    assert leaf_hash(b"ab") == hashlib.sha256(b"\x00ab").digest()
    assert node_hash(b"a", b"b") == hashlib.sha256(b"\x01ab").digest()


def test_an_odd_hash_is_not_paired():
    assert pair_up([b"a", b"b", b"c"]) == [node_hash(b"a", b"b")]


def test_a_frontier_has_the_root_of_every_size(rfc6962):
    frontier = Frontier.empty()
    for size in SIZES:
        assert (frontier.size, frontier.root()) == (size, rfc6962.mth(0, size))
        frontier = frontier.append([rfc6962.mth(size, size + 1)])


@given(parts=st.lists(st.integers(0, 40), max_size=6))
def test_leaves_appended_together_or_one_by_one_give_the_same_frontier(rfc6962, parts):
    together = Frontier.empty()
    for part in parts:
        together = together.append(hashes_of(rfc6962, sum(parts))[together.size : together.size + part])
    one_by_one = Frontier.empty()
    for item in hashes_of(rfc6962, sum(parts)):
        one_by_one = one_by_one.append([item])
    assert together == one_by_one
    assert Frontier.from_bytes(together.to_bytes()) == together


def test_a_frontier_is_written_as_its_size_and_hashes():
    frontier = Frontier.empty().append([b"a" * 32, b"b" * 32, b"c" * 32])
    assert frontier.to_bytes() == bytes(7) + b"\x03" + node_hash(b"a" * 32, b"b" * 32) + b"c" * 32


@pytest.mark.parametrize(
    "data",
    [b"", bytes(7), bytes(9), bytes(7) + b"\x01", bytes(8) + bytes(32), bytes(7) + b"\x02" + bytes(64), b"\xff" * 8],
    ids=["nothing", "short", "odd", "hash missing", "hash too many", "wrong bits", "too large"],
)
def test_a_frontier_of_an_impossible_shape_is_refused(data):
    with pytest.raises(InputError, match=r"tlog\.frontier"):
        Frontier.from_bytes(data)


def test_a_frontier_with_a_hash_of_another_size_is_refused():
    with pytest.raises(InputError, match=r"tlog\.frontier"):
        Frontier(1, (b"short",))
    with pytest.raises(InputError, match=r"tlog\.frontier"):
        Frontier.empty().append([b"short"])


def test_a_tree_cannot_grow_beyond_its_largest_size():
    full = Frontier(2**63 - 1, (bytes(32),) * 63)
    with pytest.raises(InputError, match=r"tlog\.frontier"):
        full.append([bytes(32)])


def test_every_inclusion_proof_of_every_small_tree_verifies(rfc6962):
    for size in SIZES:
        root = rfc6962.mth(0, size)
        for index in range(size):
            verify_inclusion(rfc6962.mth(index, index + 1), index, size, rfc6962.path(index, 0, size), root)


def test_an_inclusion_proof_holds_for_no_other_index(rfc6962):
    for size in range(1, 20):
        root = rfc6962.mth(0, size)
        for index in range(size):
            proof = rfc6962.path(index, 0, size)
            for other in set(range(size + 2)) - {index}:
                with pytest.raises(VerificationError, match=r"tlog\.inclusion"):
                    verify_inclusion(rfc6962.mth(index, index + 1), other, size, proof, root)


def test_an_inclusion_proof_with_any_byte_changed_is_refused(rfc6962):
    leaf, proof, root = rfc6962.mth(4, 5), rfc6962.path(4, 0, 7), rfc6962.mth(0, 7)
    changed = [(other, proof, root) for other in flips(leaf)] + [(leaf, proof, other) for other in flips(root)]
    for at, item in enumerate(proof):
        changed += [(leaf, [*proof[:at], other, *proof[at + 1 :]], root) for other in flips(item)]
    assert len(changed) == 32 * 5
    for arguments in changed:
        with pytest.raises(VerificationError, match=r"tlog\.inclusion"):
            verify_inclusion(arguments[0], 4, 7, arguments[1], arguments[2])


@pytest.mark.parametrize(
    ("index", "size"), [(-1, 7), (7, 7), (0, 0), (4, 2**63)], ids=["negative", "beyond", "empty tree", "too large"]
)
def test_an_inclusion_proof_for_an_impossible_place_is_refused(rfc6962, index, size):
    with pytest.raises(VerificationError, match=r"tlog\.inclusion"):
        verify_inclusion(rfc6962.mth(4, 5), index, size, rfc6962.path(4, 0, 7), rfc6962.mth(0, 7))


def test_an_inclusion_proof_that_is_too_short_or_too_long_is_refused(rfc6962):
    leaf, proof, root = rfc6962.mth(4, 5), rfc6962.path(4, 0, 7), rfc6962.mth(0, 7)
    for other in (proof[:-1], [*proof, root], [*proof, bytes(31)], [bytes(32)] * 64):
        with pytest.raises(VerificationError, match=r"tlog\.inclusion"):
            verify_inclusion(leaf, 4, 7, other, root)
    with pytest.raises(VerificationError, match=r"tlog\.inclusion"):
        verify_inclusion(leaf, 0, 1, [bytes(32)], node_hash(leaf, bytes(32)))


def test_every_consistency_proof_between_small_trees_verifies(rfc6962):
    for size in SIZES:
        for old in range(size + 1):
            proof = rfc6962.consistency(old, size)
            verify_consistency(old, rfc6962.mth(0, old), size, rfc6962.mth(0, size), proof)


def test_a_consistency_proof_with_any_byte_changed_is_refused(rfc6962):
    proof = rfc6962.consistency(6, 7)
    old_root, root = rfc6962.mth(0, 6), rfc6962.mth(0, 7)
    changed = [(other, root, proof) for other in flips(old_root)] + [(old_root, other, proof) for other in flips(root)]
    for at, item in enumerate(proof):
        changed += [(old_root, root, [*proof[:at], other, *proof[at + 1 :]]) for other in flips(item)]
    assert len(changed) == 32 * 5
    for arguments in changed:
        with pytest.raises(VerificationError, match=r"tlog\.consistency"):
            verify_consistency(6, arguments[0], 7, arguments[1], arguments[2])


def test_a_consistency_proof_of_another_length_is_refused(rfc6962):
    for old, size in ((3, 7), (4, 7), (6, 8), (4, 8)):
        old_root, root, proof = rfc6962.mth(0, old), rfc6962.mth(0, size), rfc6962.consistency(old, size)
        for other in ([], proof[:-1], [*proof, bytes(32)], [*proof, bytes(31)], [*proof, *[bytes(32)] * 64]):
            with pytest.raises(VerificationError, match=r"tlog\.consistency"):
                verify_consistency(old, old_root, size, root, other)


def test_a_tree_that_shrinks_is_refused(rfc6962):
    with pytest.raises(VerificationError, match=r"tlog\.consistency"):
        verify_consistency(7, rfc6962.mth(0, 7), 6, rfc6962.mth(0, 6), rfc6962.consistency(6, 7))


def test_the_same_size_with_another_root_or_a_proof_is_refused(rfc6962):
    root = rfc6962.mth(0, 7)
    for other, proof in ((rfc6962.mth(0, 6), []), (root, [bytes(32)])):
        with pytest.raises(VerificationError, match=r"tlog\.consistency"):
            verify_consistency(7, root, 7, other, proof)


def test_from_the_empty_tree_only_its_own_root_and_no_proof_is_accepted(rfc6962):
    root = rfc6962.mth(0, 7)
    for other, proof in ((root, []), (EMPTY_ROOT, [bytes(32)])):
        with pytest.raises(VerificationError, match=r"tlog\.consistency"):
            verify_consistency(0, other, 7, root, proof)
