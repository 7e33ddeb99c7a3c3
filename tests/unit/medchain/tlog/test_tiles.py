"""Tiles against the examples of C2SP tlog-tiles and RFC 6962's definitions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medchain.errors import InputError, VerificationError
from medchain.tlog.merkle import MAX_SIZE, verify_inclusion
from medchain.tlog.tiles import (
    TileName,
    consistency_proof,
    entries_path,
    entry_bundle,
    inclusion_proof,
    parse_entry_bundle,
    parse_tile_path,
    tile_path,
    tiles_for_append,
)


def grow(tiles, rfc6962, *sizes: int):
    for old, size in zip((0, *sizes), sizes, strict=False):
        hashes = [rfc6962.mth(index, index + 1) for index in range(old, size)]
        tiles.update(tiles_for_append(old, hashes, tiles))
    return tiles


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("tile/0/x001/x234/067", TileName(0, 1234067, 256)),
        ("tile/entries/000", TileName(None, 0, 256)),
        ("tile/entries/x001/000.p/1", TileName(None, 1000, 1)),
        ("tile/63/999.p/255", TileName(63, 999, 255)),
        ("tile/1/x036/x028/x797/x018/x963/967", TileName(1, 2**55 - 1, 256)),
    ],
)
def test_a_path_names_a_tile_and_back(path, name):
    assert parse_tile_path(path) == name
    written = entries_path(name.index, name.width) if name.level is None else tile_path(*vars_of(name))
    assert written == path


def vars_of(name):
    return name.level, name.index, name.width


@pytest.mark.parametrize(
    "path",
    [
        "tile/00/000",
        "tile/64/000",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/1000",
        "tile/0/x000/000",
        "tile/0/x000/x000/001",
        "tile/0/001/000",
        "tile/0/x001",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/999",
        "tile/0/000.p",
        "tile/0/000/",
        "tile/0/000\n",
        "/tile/0/000",
        "tile/-1/000",
        "tile/entries/00\N{ARABIC-INDIC DIGIT ONE}",
        "tile/0/x036/x028/x797/x018/x963/968",
        "",
    ],
)
def test_another_spelling_of_a_path_is_refused(path):
    with pytest.raises(InputError, match=r"tlog\.tile_path"):
        parse_tile_path(path)


@pytest.mark.parametrize(("level", "index", "width"), [(-1, 0, 1), (64, 0, 1), (0, -1, 1), (0, 0, 0), (0, 0, 257)])
def test_a_tile_that_cannot_be_has_no_path(level, index, width):
    with pytest.raises(InputError, match=r"tlog\.tile_path"):
        tile_path(level, index, width)


def test_a_tree_of_256_has_a_full_tile_and_one_hash_above(tiles, rfc6962):
    grow(tiles, rfc6962, 256)
    assert set(tiles) == {(0, 0), (1, 0)}
    assert len(tiles[0, 0]) == 256 * 32
    assert tiles[1, 0] == rfc6962.mth(0, 256)


def test_only_the_tiles_that_an_append_touches_are_written(tiles, rfc6962):
    grow(tiles, rfc6962, 700)
    hashes = [rfc6962.mth(index, index + 1) for index in range(700, 770)]
    written = tiles_for_append(700, hashes, tiles)
    assert {key: len(tile) // 32 for key, tile in written.items()} == {(0, 2): 256, (0, 3): 2, (1, 0): 3}
    assert written[1, 0] == rfc6962.mth(0, 256) + rfc6962.mth(256, 512) + rfc6962.mth(512, 768)


def test_nothing_appended_writes_nothing(tiles):
    assert tiles_for_append(5, [], tiles) == {}


@given(parts=st.lists(st.integers(1, 400), min_size=1, max_size=5))
def test_tiles_do_not_depend_on_how_leaves_were_divided_into_appends(rfc6962, parts):
    sizes = [min(sum(parts[: at + 1]), 1100) for at in range(len(parts))]
    assert grow(Fresh(), rfc6962, *sizes) == grow(Fresh(), rfc6962, sizes[-1])


class Fresh(dict):
    def tile(self, level, index, width):
        return self[level, index][: 32 * width]


def test_level_two_starts_with_the_first_full_tile_of_level_one():
    class Ones:
        def tile(self, _level, _index, width):
            return bytes(32 * width)

    written = tiles_for_append(65535, [bytes(32)], Ones())
    assert {key: len(tile) // 32 for key, tile in written.items()} == {(0, 255): 256, (1, 0): 256, (2, 0): 1}


@pytest.mark.parametrize(("old_size", "hashes"), [(-1, []), (0, [b"short"]), (MAX_SIZE, [bytes(32)])])
def test_an_impossible_append_is_refused(tiles, old_size, hashes):
    with pytest.raises(InputError, match=r"tlog\.tile_append"):
        tiles_for_append(old_size, hashes, tiles)


def test_a_source_that_answers_another_width_is_refused():
    class Wide:
        def tile(self, _level, _index, width):
            return bytes(32 * (width + 1))

    with pytest.raises(VerificationError, match=r"tlog\.tile_width"):
        tiles_for_append(3, [bytes(32)], Wide())
    with pytest.raises(VerificationError, match=r"tlog\.tile_width"):
        inclusion_proof(0, 3, Wide())
    with pytest.raises(VerificationError, match=r"tlog\.tile_width"):
        consistency_proof(1, 3, Wide())


def test_every_proof_from_tiles_is_the_one_of_the_rfc(tiles, rfc6962):
    grow(tiles, rfc6962, 100, 131)
    for size in range(131):
        for index in range(size):
            assert inclusion_proof(index, size, tiles) == rfc6962.path(index, 0, size)
        for old in range(size + 1):
            assert consistency_proof(old, size, tiles) == rfc6962.consistency(old, size)


def test_proofs_cross_levels_of_tiles(tiles, rfc6962):
    grow(tiles, rfc6962, 1034)
    for size in (255, 256, 257, 511, 512, 513, 1023, 1024, 1025, 1034):
        for index in {0, 1, 254, 255, 256, size - 1} & set(range(size)):
            proof = inclusion_proof(index, size, tiles)
            assert proof == rfc6962.path(index, 0, size)
            verify_inclusion(rfc6962.mth(index, index + 1), index, size, proof, rfc6962.mth(0, size))
        for old in {1, 255, 256, 257, size - 1}:
            if old <= size:
                assert consistency_proof(old, size, tiles) == rfc6962.consistency(old, size)


@pytest.mark.parametrize(("index", "size"), [(-1, 5), (5, 5), (0, 0)])
def test_no_inclusion_proof_is_made_for_an_impossible_place(tiles, index, size):
    with pytest.raises(InputError, match=r"tlog\.proof_range"):
        inclusion_proof(index, size, tiles)


@pytest.mark.parametrize(("old", "size"), [(-1, 5), (6, 5)])
def test_no_consistency_proof_is_made_to_a_smaller_tree(tiles, old, size):
    with pytest.raises(InputError, match=r"tlog\.proof_range"):
        consistency_proof(old, size, tiles)


def test_a_bundle_puts_the_length_before_each_entry():
    assert entry_bundle([b"ab", b""]) == b"\x00\x02ab\x00\x00"


@given(leaves=st.lists(st.binary(max_size=300), min_size=1, max_size=20))
def test_a_bundle_is_read_as_it_was_written(leaves):
    assert parse_entry_bundle(entry_bundle(leaves)) == leaves
    assert parse_entry_bundle(entry_bundle(leaves), len(leaves)) == leaves


def test_the_longest_entry_is_65535_bytes():
    assert parse_entry_bundle(entry_bundle([bytes(65535)])) == [bytes(65535)]
    with pytest.raises(InputError, match=r"tlog\.leaf_too_large"):
        entry_bundle([bytes(65536)])


@pytest.mark.parametrize("count", [0, 257])
def test_a_bundle_has_1_to_256_entries(count):
    with pytest.raises(InputError, match=r"tlog\.entry_bundle"):
        entry_bundle([b""] * count)
    with pytest.raises(InputError, match=r"tlog\.entry_bundle"):
        parse_entry_bundle(bytes(2 * count))


@pytest.mark.parametrize("data", [b"\x00", b"\x00\x02a", b"\x00\x01a\x00"], ids=["length", "entry", "second length"])
def test_a_cut_bundle_is_refused(data):
    with pytest.raises(InputError, match=r"tlog\.entry_bundle"):
        parse_entry_bundle(data)


def test_a_bundle_of_another_width_than_promised_is_refused():
    with pytest.raises(InputError, match=r"tlog\.entry_bundle"):
        parse_entry_bundle(b"\x00\x01a", 2)
