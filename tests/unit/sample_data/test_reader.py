"""Reading: order, packings, and numbers to the letter."""

import gzip
import lzma
from decimal import Decimal

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sample_data


def bundle(marker):
    return b'{"resourceType":"Bundle","type":"transaction","entry":[],"id":"%s"}' % marker.encode()


def test_what_others_refer_to_comes_first(tmp_path):
    names = (
        "Aaron697_Dickens475.json.xz",
        "0_practitioners.json.xz",
        "0_hospitals.json.xz",
        "Zoe_hospitalInformation.json.xz",
    )
    for name in names:
        (tmp_path / name).write_bytes(lzma.compress(bundle("x")))
    assert [name for name, _ in sample_data.load(tmp_path)] == [
        "0_hospitals.json.xz",
        "0_practitioners.json.xz",
        "Aaron697_Dickens475.json.xz",
        "Zoe_hospitalInformation.json.xz",
    ]


def test_syntheas_own_file_names_are_known(tmp_path):
    for name in (
        "Abe1_Ash2.json",
        "practitionerInformation1700000000000.json",
        "hospitalInformation1700000000000.json",
    ):
        (tmp_path / name).write_bytes(bundle("x"))
    assert [name[:4] for name, _ in sample_data.load(tmp_path)] == ["hosp", "prac", "Abe1"]


def test_our_own_directories_come_before_our_patients_and_what_insurers_hold_comes_last():
    names = [name for name, _ in sample_data.read()]
    assert names[:5] == [
        "anxin-insurance.0-directory.json.gz",
        "binhai-hospital.0-directory.json.gz",
        "renhe-hospital.0-directory.json.gz",
        "taihe-insurance.0-directory.json.gz",
        "binhai-hospital.p002.json.gz",
    ]
    rest = names[4:]
    hospitals = [name for name in rest if "-hospital." in name]
    assert rest == sorted(hospitals) + sorted(set(rest) - set(hospitals))
    assert [name for name, _ in sample_data.read(sample_data.STORIES)][-2:] == [
        "emergency-access.anxin-insurance.json",
        "late-entry.anxin-insurance.json",
    ]


def test_plain_gzip_and_xz_give_the_same(tmp_path):
    (tmp_path / "a.json").write_bytes(bundle("same"))
    (tmp_path / "b.json.gz").write_bytes(gzip.compress(bundle("same")))
    (tmp_path / "c.json.xz").write_bytes(lzma.compress(bundle("same")))
    (tmp_path / "d.txt").write_bytes(b"no bundle")
    found = list(sample_data.load(tmp_path))
    assert [name for name, _ in found] == ["a.json", "b.json.gz", "c.json.xz"]
    assert [value for _, value in found] == [orjson.loads(bundle("same"))] * 3


def test_json_that_is_no_bundle_is_left_out(tmp_path):
    (tmp_path / "a.json").write_bytes(b'{"resourceType":"Patient"}')
    (tmp_path / "b.json").write_bytes(b"[]")
    assert list(sample_data.load(tmp_path)) == []
    assert [name for name, _ in sample_data.read(tmp_path)] == ["a.json", "b.json"]


def test_bundles_are_read_one_at_a_time(tmp_path):
    (tmp_path / "a.json").write_bytes(bundle("x"))
    (tmp_path / "b.json").write_bytes(b"{damaged")
    reading = sample_data.load(tmp_path)
    assert next(reading)[0] == "a.json"
    with pytest.raises(ValueError, match="property name"):
        next(reading)


def test_a_damaged_archive_is_an_error(tmp_path):
    (tmp_path / "a.json.gz").write_bytes(b"no gzip")
    with pytest.raises(OSError, match="gzip"):
        list(sample_data.load(tmp_path))


def test_a_folder_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        list(sample_data.load(tmp_path / "absent"))


def test_all_committed_bundles_are_written_back_to_the_letter():
    texts = dict(sample_data.read())
    assert len(texts) > 60
    for name, loaded in sample_data.load():
        assert sample_data.dump(loaded) == texts[name], name


@given(st.decimals(allow_nan=False, allow_infinity=False, places=3))
def test_a_number_is_written_as_it_was_read(value):
    assert sample_data.dump({"value": value}) == b'{"value":%s}' % str(value).encode()


def test_trailing_zeros_stay():
    assert sample_data.dump({"value": Decimal("5.60")}) == b'{"value":5.60}'


def test_what_is_no_json_is_not_written():
    with pytest.raises(TypeError):
        sample_data.dump({"value": object()})


def test_the_stories_are_readable_as_data():
    assert [story["name"] for story in sample_data.stories()] == [
        "duplicate-invoice",
        "altered-record",
        "late-entry",
        "emergency-access",
        "open-claim",
    ]
