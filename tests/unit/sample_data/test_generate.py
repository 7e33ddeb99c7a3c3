"""The generator: the same bytes for the same seed, and those are the committed ones."""

import gzip
from pathlib import Path

import pytest

import sample_data
from sample_data import generate

ROOT = Path(sample_data.__file__).parent


@pytest.fixture(scope="module")
def made():
    return dict(generate.files())


def plain(name, content):
    # Another build of zlib may pack the same content into other bytes, so what is compared is the content.
    return gzip.decompress(content) if name.endswith(".gz") else content


def committed():
    folders = (ROOT / "bundles", ROOT / "stories")
    return [path for folder in folders for path in folder.iterdir()] + [ROOT / "stories.json"]


def test_what_is_committed_is_what_the_generator_makes(made):
    found = {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in committed()}
    assert found.keys() == made.keys()
    for name, content in found.items():
        assert plain(name, content) == plain(name, made[name]), name


def test_generating_twice_gives_identical_bytes(made):
    assert dict(generate.files()) == made


def test_packed_files_carry_no_time(made):
    # RFC 1952 §2.3: bytes 4 to 7 of the header are the modification time.
    assert {content[4:8] for name, content in made.items() if name.endswith(".gz")} == {bytes(4)}


def test_the_committed_output_is_at_most_five_mebibytes():
    assert sum(path.stat().st_size for path in committed()) <= 5 * 1024 * 1024


def test_another_seed_makes_other_people(made):
    other = dict(generate.files(seed=generate.SEED + 1, patients=5))
    assert other.keys() <= made.keys()
    assert all(other[name] != made[name] for name in other)


def test_a_patient_is_the_same_whatever_the_number_of_patients(made):
    few = dict(generate.files(patients=6))
    assert few == {name: made[name] for name in few}


def test_file_names_tell_the_member_and_a_number_and_no_name(made):
    names = {name.removeprefix("bundles/") for name in made if name.startswith("bundles/")}
    assert all(
        stem in {"0-directory", f"p{stem[1:]}"}
        and member in {"renhe-hospital", "binhai-hospital", "anxin-insurance", "taihe-insurance"}
        for member, stem, *_ in (name.split(".") for name in names)
    )


def test_the_command_writes_the_files(tmp_path, capsys, made):
    assert generate.main(["--out", str(tmp_path), "--patients", "5"]) == 0
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*") if path.is_file()}
    assert written == dict(generate.files(patients=5)).keys()
    assert (tmp_path / "stories.json").read_bytes() == made["stories.json"]
    assert str(tmp_path) in capsys.readouterr().out


def test_the_command_refuses_fewer_patients_than_the_stories_need(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        generate.main(["--out", str(tmp_path), "--patients", "4"])
    assert stopped.value.code == 2
    assert "at least 5" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
