"""Reading bundles within bounds."""

from __future__ import annotations

import os
import zipfile
from hashlib import sha256

import pytest

from medchain.commands.checking import read_bundle
from medchain.commands.command import Exit
from medchain.errors import InputError, NotFoundError
from medchain.ledger.bundle import MAX_FILES
from medchain.node import packed as packing
from medchain.web.verify_page import verify_page
from tests.zips import changed, of_two_minds, with_more_behind, zipped

FILES = {"entry.bin": b"leaf", "policies/01/policy.txt": b"log"}


def put(folder, files=FILES):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def packed(path, files=FILES):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_a_folder_and_its_zip_are_read_alike(tmp_path):
    assert read_bundle(put(tmp_path / "b")) == read_bundle(packed(tmp_path / "b.zip")) == FILES


def test_a_bundle_that_is_too_large_or_lists_too_many_files_is_refused_before_it_is_taken_apart(tmp_path, monkeypatch):
    """A list of a million names costs half a gibibyte and half a minute, whatever is in the files."""

    def never(*_: object) -> None:
        raise AssertionError("taken apart")

    many = tmp_path / "many"
    for number in range(2 * MAX_FILES + 1):
        (many / f"{number}").mkdir(parents=True)
    with pytest.raises(InputError, match=r"bundle\.files"):
        read_bundle(many)
    listed = packed(tmp_path / "many.zip", {f"{number}": b"" for number in range(2 * MAX_FILES + 1)})
    with (tmp_path / "large.zip").open("wb") as file:
        file.truncate((65 << 20) + 1)
    most = packed(tmp_path / "most.zip", {f"{number}": b"PK\1\2" for number in range(MAX_FILES)})
    assert len(read_bundle(most)) == MAX_FILES
    monkeypatch.setattr(packing, "_row", never)
    with pytest.raises(InputError, match=r"bundle\.files"):
        read_bundle(listed)
    with pytest.raises(InputError, match=r"bundle\.size"):
        read_bundle(tmp_path / "large.zip")


def test_a_symbolic_link_is_refused(tmp_path):
    put(tmp_path / "b")
    (tmp_path / "b" / "state.bin").symlink_to("/etc/passwd")
    with pytest.raises(InputError, match=r"bundle\.link"):
        read_bundle(tmp_path / "b")


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(put(tmp_path / "b") / "state.bin")
    with pytest.raises(InputError, match=r"bundle\.link"):
        read_bundle(tmp_path / "b")


def test_a_symbolic_link_in_a_zip_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        item = zipfile.ZipInfo("entry.bin")
        item.external_attr = 0o120777 << 16
        archive.writestr(item, "/etc/passwd")
    with pytest.raises(InputError, match=r"bundle\.link"):
        read_bundle(tmp_path / "b.zip")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_stands_twice_in_a_zip_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("entry.bin", b"one")
        archive.writestr("entry.bin", b"two")
    with pytest.raises(InputError, match=r"bundle\.twice"):
        read_bundle(tmp_path / "b.zip")


def test_a_zip_that_unpacks_beyond_the_limit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "MAX_BUNDLE_BYTES", 1000)
    packed(tmp_path / "b.zip", {"a": bytes(600), "b": bytes(401)})
    with pytest.raises(InputError, match=r"bundle\.size"):
        read_bundle(tmp_path / "b.zip")
    assert read_bundle(packed(tmp_path / "c.zip", {"a": bytes(600), "b": bytes(400)}))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_attack_a_zip_that_could_only_be_unpacked_whole_is_not_unpacked(tmp_path, monkeypatch, method):
    with zipfile.ZipFile(tmp_path / "b.zip", "w", method) as archive:
        archive.writestr("entry.bin", b"leaf")

    monkeypatch.setattr(packing, "_unpacked", lambda *_: pytest.fail("unpacked"))
    with pytest.raises(InputError, match=r"bundle\.format"):
        read_bundle(tmp_path / "b.zip")


def test_more_files_than_a_bundle_has_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"bundle\.files"):
        read_bundle(packed(tmp_path / "b.zip", {str(number): b"" for number in range(MAX_FILES + 1)}))


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04" + bytes(40)])
def test_what_is_no_zip_is_refused(tmp_path, content):
    (tmp_path / "b.zip").write_bytes(content)
    with pytest.raises(InputError, match=r"bundle\.format"):
        read_bundle(tmp_path / "b.zip")


@pytest.mark.parametrize("name", changed(zipped(FILES)))
def test_attack_a_zip_that_says_in_two_ways_where_its_files_are_is_refused(tmp_path, name):
    (tmp_path / "b.zip").write_bytes(changed(zipped(FILES))[name])
    with pytest.raises(InputError, match=r"bundle\.format"):
        read_bundle(tmp_path / "b.zip")


def test_attack_a_zip_that_shows_each_reader_another_bundle_is_refused(tmp_path):
    """Python's own reader finds what is hidden, one that goes by the place of the list what is shown."""
    both = of_two_minds({"shown": b"1"}, {"hidden": b"2"})
    (tmp_path / "b.zip").write_bytes(both)
    with zipfile.ZipFile(tmp_path / "b.zip") as archive:
        assert "hidden" in archive.namelist()
    with pytest.raises(InputError, match=r"bundle\.format"):
        read_bundle(tmp_path / "b.zip")


def test_what_stands_behind_the_last_packed_byte_of_a_file_is_refused(tmp_path):
    (tmp_path / "b.zip").write_bytes(with_more_behind("entry.bin", b"leaf"))
    with pytest.raises(InputError, match=r"bundle\.format"):
        read_bundle(tmp_path / "b.zip")


def test_a_zip_with_folders_and_stored_files_is_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.mkdir("a")
        archive.writestr("a/b.bin", b"stored")
        archive.writestr("empty", b"", zipfile.ZIP_DEFLATED)
    assert read_bundle(tmp_path / "b.zip") == {"a/b.bin": b"stored", "empty": b""}


def test_a_packed_bundle_with_a_changed_byte_is_refused_or_read_as_it_was(tmp_path):
    text = {"entry.bin": bytes(range(256)) * 4, "a/b.bin": b"medchain" * 40}
    whole = packed(tmp_path / "b.zip", text).read_bytes()
    refused = 0
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        (tmp_path / "c.zip").write_bytes(changed)
        try:
            found = read_bundle(tmp_path / "c.zip")
        except InputError:
            refused += 1
        else:
            # A name or a date is protected by no checksum; what is in the files is.
            assert sorted(found.values()) == sorted(text.values()) or len(found) < len(text)
    assert refused > len(whole) // 2


def test_a_bundle_that_is_not_there_is_told(tmp_path):
    with pytest.raises(NotFoundError, match=r"file\.missing"):
        read_bundle(tmp_path / "none")


def test_a_damaged_bundle_has_exit_code_2_and_no_verdict(run, tmp_path):
    (tmp_path / "policy.txt").write_text("x")
    ran = run("verify", put(tmp_path / "b"), "--policy", tmp_path / "policy.txt")
    assert (ran.code, ran.out) == (2, "")
    assert run("verify", tmp_path / "b", "--policy", tmp_path / "none").code == 4


@pytest.mark.parametrize("age", ["-5", "x", "1.5"])
def test_an_age_that_is_none_is_a_wrong_call(run, tmp_path, capsys, age):
    words = ("--policy", tmp_path / "p", f"--max-age={age}", "--lang", "en")
    assert run("verify", put(tmp_path / "b"), *words).code == 2
    assert f"--max-age: invalid seconds value: '{age}'" in capsys.readouterr().err


def test_the_page_that_verifies_in_a_browser_is_written_whole_and_replaces_nothing(run, tmp_path):
    path = tmp_path / "verify.html"
    said = run("verify-page", path, "--json").document
    assert path.read_bytes() == verify_page()
    assert (said["sha256"], said["size"]) == (sha256(verify_page()).hexdigest(), len(verify_page()))
    path.write_bytes(b"mine")
    assert run("verify-page", path).code == Exit.CONFLICT
    assert path.read_bytes() == b"mine"
