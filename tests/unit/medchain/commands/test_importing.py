"""Imports: nothing lost, nothing twice, interrupted anywhere."""

from __future__ import annotations

import base64
import gzip
import json
import lzma
import zlib

import pytest

from medchain.commands import import_files
from medchain.node.records import RecordService

PATIENT = {"resourceType": "Patient", "birthDate": "1980-01-02"}
BAD = {"resourceType": "Patient", "birthDate": "x"}
DOCTOR = {"resourceType": "Practitioner", "identifier": [{"system": "urn:staff", "value": "D1"}]}
TREATED = {
    "resourceType": "Basic",
    "code": {"text": "x"},
    "author": {"reference": "Practitioner?identifier=urn:staff|D1"},
}


def bundle(*resources: dict, kind: str = "transaction") -> bytes:
    rows = [{"resource": item, "request": {"method": "POST", "url": item["resourceType"]}} for item in resources]
    return json.dumps({"resourceType": "Bundle", "type": kind, "entry": rows}).encode()


def lines(*resources: dict) -> bytes:
    return b"".join(json.dumps(item).encode() + b"\n" for item in resources)


@pytest.fixture
def take(run, node):
    def imported(*words: object):
        return run("import", *words, "--json", "--config", node)

    return imported


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "in"
    made.mkdir()
    return made


def test_files_of_all_kinds_in_a_folder_are_taken(take, folder):
    (folder / "a.json").write_bytes(bundle(PATIENT, DOCTOR))
    (folder / "b.json.gz").write_bytes(gzip.compress(bundle(PATIENT)))
    (folder / "c.ndjson.xz").write_bytes(lzma.compress(lines(PATIENT, PATIENT)))
    (folder / "deep").mkdir()
    (folder / "deep" / "d.json").write_bytes(json.dumps(PATIENT).encode())
    (folder / "notes.txt").write_bytes(b"no content")
    ran = take(folder)
    assert (ran.code, ran.document) == (0, {"entries": 6, "present": 0, "rejected": 0, "skipped": 0, "stored": 6})


def test_each_entry_that_is_refused_is_reported_with_its_reason_and_the_rest_is_stored(take, folder, tmp_path):
    (folder / "a.json").write_bytes(bundle(PATIENT, BAD, DOCTOR))
    (folder / "b.ndjson").write_bytes(lines(PATIENT) + b"{broken\n\n" + lines(BAD, {"resourceType": "Nonsense"}))
    (folder / "c.json").write_bytes(b"{")
    (folder / "d.json.gz").write_bytes(gzip.compress(bundle(PATIENT))[:-9])
    ran = take(folder, "--rejected", tmp_path / "rejected")
    assert (ran.code, ran.document) == (1, {"entries": 9, "present": 0, "rejected": 6, "skipped": 0, "stored": 3})
    rows = [json.loads(line) for line in (tmp_path / "rejected").read_bytes().splitlines()]
    found = sorted((row["file"].rsplit("/", 1)[1], row["entry"], row["code"]) for row in rows)
    assert found == [
        ("a.json", 2, "resource.invalid"),
        ("b.ndjson", 2, "document.not_json"),
        ("b.ndjson", 4, "resource.invalid"),
        ("b.ndjson", 5, "resource.type"),
        ("c.json", 0, "document.not_json"),
        ("d.json.gz", 0, "import.unreadable"),
    ]
    # Of where it stands, and of nothing else, the numbers are anybody's.
    assert not any("1980" in str(row | {"file": ""}) for row in rows)


@pytest.mark.parametrize("workers", ["0", "1"])
def test_refusals_are_documents_with_json_whatever_the_name_of_the_file(take, folder, tmp_path, workers):
    name = "a\udcff.json"
    (folder / name).write_bytes(bundle(BAD))
    fields = {"path": "Patient.birthDate", "rule": "value"}
    told = {"code": "resource.invalid", "entry": 1, "fields": fields, "file": f"{folder}/a\\udcff.json"}
    ran = take(folder, "--workers", workers)
    assert (ran.code, [json.loads(line) for line in ran.err.splitlines()]) == (1, [told])
    assert take(folder, "--workers", workers, "--rejected", tmp_path / "rejected").code == 1
    assert json.loads((tmp_path / "rejected").read_bytes()) == told


def test_refusals_are_told_at_the_terminal(run, node, folder):
    (folder / "a.json").write_bytes(bundle(BAD))
    ran = run("import", folder, "--config", node)
    assert ran.code == 1
    assert "refused a.json entry 1: resource.invalid" in ran.err
    assert "1 entries read: 0 stored" in ran.out


def test_what_was_imported_is_not_imported_again(take, folder):
    (folder / "a.json").write_bytes(bundle(PATIENT))
    take(folder)
    (folder / "b.json").write_bytes(bundle(DOCTOR))
    ran = take(folder)
    assert ran.document == {"entries": 1, "present": 0, "rejected": 0, "skipped": 1, "stored": 1}


def test_what_was_refused_whole_is_refused_again_and_not_passed_over(take, folder):
    (folder / "a.json").write_bytes(bundle(BAD))
    (folder / "b.ndjson").write_bytes(b"{broken\n" + lines(BAD))
    for _ in range(2):
        ran = take(folder)
        assert (ran.code, ran.document) == (1, {"entries": 3, "present": 0, "rejected": 3, "skipped": 0, "stored": 0})


def test_a_file_with_the_same_bytes_is_the_same_file(take, folder):
    (folder / "a.json").write_bytes(bundle(PATIENT))
    (folder / "b.json").write_bytes(bundle(PATIENT))
    assert take(folder).document == {"entries": 1, "present": 0, "rejected": 0, "skipped": 1, "stored": 1}


@pytest.mark.parametrize("kept", [False, True])
def test_an_import_that_was_interrupted_doubles_and_loses_nothing(take, folder, monkeypatch, kept):
    """The power fails while the second file is stored: before it was kept, or after."""
    (folder / "a.json").write_bytes(bundle(PATIENT))
    (folder / "b.json").write_bytes(bundle(PATIENT, DOCTOR))
    (folder / "c.json").write_bytes(bundle(PATIENT | {"gender": "female"}))
    store, calls = RecordService.create_many, []

    def fails(self, records, **more: object):
        calls.append(len(records))
        if len(calls) == 2:
            if kept:
                store(self, records, **more)
            raise KeyboardInterrupt
        return store(self, records, **more)

    monkeypatch.setattr(RecordService, "create_many", fails)
    assert take(folder).code == 130
    monkeypatch.setattr(RecordService, "create_many", store)
    ran = take(folder)
    assert ran.code == 0
    assert ran.document["stored"] == (1 if kept else 3)
    assert ran.document["skipped"] == (2 if kept else 1)
    assert take(folder).document == {"entries": 0, "present": 0, "rejected": 0, "skipped": 3, "stored": 0}


def test_a_file_waits_for_what_it_refers_to(take, folder):
    (folder / "a.json").write_bytes(bundle(TREATED))
    (folder / "b.json").write_bytes(bundle(DOCTOR))
    ran = take(folder)
    assert (ran.code, ran.document["stored"]) == (0, 2)


def test_a_reference_that_nothing_fulfils_is_refused_in_the_end(take, folder):
    (folder / "a.json").write_bytes(bundle(TREATED))
    ran = take(folder)
    assert (ran.code, ran.document["rejected"]) == (1, 1)
    # The file is tried again when what it refers to is there.
    (folder / "b.json").write_bytes(bundle(DOCTOR))
    assert (take(folder).document["stored"], take(folder).document["skipped"]) == (2, 2)


def test_many_lines_are_stored_in_parts(take, folder):
    (folder / "a.ndjson").write_bytes(lines(*[PATIENT] * 1203))
    assert take(folder).document == {"entries": 1203, "present": 0, "rejected": 0, "skipped": 0, "stored": 1203}


def test_a_bundle_on_a_line_is_taken(take, folder):
    (folder / "a.ndjson").write_bytes(lines(PATIENT) + bundle(DOCTOR, PATIENT) + b"\n")
    assert take(folder).document["stored"] == 3


def numbered(count: int) -> bytes:
    return lines(*[PATIENT | {"id": f"p{number}"} for number in range(1, count + 1)])


@pytest.mark.parametrize("workers", ["0", "1"])
@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".xz", lzma.compress)])
def test_lines_before_the_place_where_a_file_is_cut_are_stored_and_the_place_is_told(
    run, take, node, folder, tmp_path, suffix, pack, workers
):
    """Whole units, and the lines after them, of which no unit is full."""
    content = numbered(730)
    cut = pack(content)[: len(pack(content)) * 9 // 10]
    (folder / f"a.ndjson{suffix}").write_bytes(cut)
    unpacked = zlib.decompressobj(31).decompress(cut) if suffix == ".gz" else lzma.LZMADecompressor().decompress(cut)
    whole = unpacked.count(b"\n")
    assert 500 < whole < 730
    runs = []
    for _ in range(2):
        ran = take(folder, "--rejected", tmp_path / "rejected", "--workers", workers)
        counts = {name: ran.document[name] for name in ("entries", "rejected", "skipped", "stored")}
        told = [json.loads(row) for row in (tmp_path / "rejected").read_bytes().splitlines()]
        runs.append((ran.code, counts, [(row["entry"], row["code"], row["fields"]) for row in told]))
    refused = [(0, "import.unreadable", {"line": whole + 1})]
    assert runs == [
        (1, {"entries": whole + 1, "rejected": 1, "skipped": 0, "stored": whole}, refused),
        (1, {"entries": 1, "rejected": 1, "skipped": 1, "stored": 0}, refused),
    ]
    assert run("record", "show", f"Patient/p{whole}", "--config", node).code == 0
    assert run("record", "show", f"Patient/p{whole + 1}", "--config", node).code == 4


def test_a_file_cut_behind_a_full_unit_is_told_at_each_run(take, folder):
    """Of what follows nothing is stored, so nothing of it is noted."""
    packed = gzip.compress(numbered(500))
    (folder / "a.ndjson.gz").write_bytes(packed[:-8])
    for stored in (500, 0):
        ran = take(folder)
        assert (ran.code, ran.document["stored"], ran.document["rejected"]) == (1, stored, 1)


def test_a_file_whose_checksum_is_wrong_is_told(take, folder):
    packed = bytearray(gzip.compress(numbered(3)))
    packed[-6] ^= 1
    (folder / "a.ndjson.gz").write_bytes(packed)
    ran = take(folder)
    assert (ran.code, ran.document["stored"], ran.document["rejected"]) == (1, 3, 1)


def test_a_line_that_is_too_long_is_refused_alone(take, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(import_files, "MAX_LINE_BYTES", 1000)
    monkeypatch.setattr(import_files, "_SKIP_BYTES", 64)
    long = lines(PATIENT | {"language": "x" * 1000})
    (folder / "a.ndjson").write_bytes(numbered(2) + long + lines(DOCTOR, PATIENT) + long[:-1])
    ran = take(folder, "--rejected", tmp_path / "rejected", "--workers", "0")
    told = [json.loads(row) for row in (tmp_path / "rejected").read_bytes().splitlines()]
    assert [(row["entry"], row["code"], row["fields"]) for row in told] == [
        (number, "import.too_large", {"limit": 1000}) for number in (3, 6)
    ]
    assert (ran.code, ran.document["stored"]) == (1, 4)


def test_a_bundle_on_a_line_that_is_none_is_refused_alone(take, folder):
    nonsense = {"resourceType": "Bundle", "type": "transaction", "entry": "none"}
    (folder / "a.ndjson").write_bytes(lines(PATIENT, nonsense, DOCTOR))
    ran = take(folder)
    assert (ran.code, ran.document["stored"], ran.document["rejected"]) == (1, 2, 1)


def test_a_file_that_is_not_there_is_an_error(take, tmp_path):
    ran = take(tmp_path / "none")
    assert (ran.code, "file.missing" in ran.err) == (4, True)


def test_what_was_imported_can_be_shown_with_its_history(run, take, node, folder):
    (folder / "a.json").write_bytes(json.dumps(PATIENT | {"id": "p1"}).encode())
    take(folder)
    shown = run("record", "show", "Patient/p1", "--config", node)
    assert json.loads(shown.out)["birthDate"] == "1980-01-02"
    assert "not anchored yet" in run("record", "history", "Patient/p1", "--config", node).out
    assert run("record", "show", "Patient/none", "--config", node).code == 4
    assert run("record", "history", "Patient/none", "--config", node).code == 4
    assert run("record", "show", "nonsense", "--config", node).code == 2
    assert run("record", "prove", "Patient/p1", "--config", node, "--out", folder / "x.zip").code == 7
    assert run("record", "looks", "p1", "--config", node, "--out", folder / "x.zip").code == 4
    assert run("record", "looks", "no/id", "--config", node, "--out", folder / "x.zip").code == 2
    assert not (folder / "x.zip").exists()


@pytest.mark.parametrize("workers", ["0", "1"])
def test_what_was_refused_beside_what_was_stored_is_told_again_after_an_interruption(take, folder, tmp_path, workers):
    """Who interrupts may not have read it: the list of refusals is written anew at each run, and is whole at each."""
    (folder / "a.json").write_bytes(bundle(PATIENT, BAD))
    (folder / "b.ndjson").write_bytes(lines(PATIENT) + b"{broken\n" + lines(BAD | {"\ud800": 1}))
    runs = []
    for _ in range(2):
        ran = take(folder, "--workers", workers, "--rejected", tmp_path / "rejected")
        counts = {name: ran.document[name] for name in ("entries", "rejected", "skipped", "stored")}
        runs.append((ran.code, counts, sorted((tmp_path / "rejected").read_bytes().splitlines())))
    (code, first, told), (again, second, told_again) = runs
    assert (code, first) == (1, {"entries": 5, "rejected": 3, "skipped": 0, "stored": 2})
    assert (again, second) == (1, {"entries": 3, "rejected": 3, "skipped": 2, "stored": 0})
    assert told == told_again
    assert sorted(json.loads(row)["entry"] for row in told) == [2, 2, 3]


def test_a_content_of_any_kind_is_written_as_it_was_registered(run, take, node, folder, tmp_path):
    """As `verify --content` compares it: no line end more, and no text made of what is none."""
    note = json.dumps(PATIENT | {"id": "p1"}, separators=(",", ":")).encode()
    scan = bytes(range(256)) * 5000  # above 1 MiB, in a blob
    binary = {"resourceType": "Binary", "id": "b1", "contentType": "image/png", "data": base64.b64encode(scan).decode()}
    small = binary | {"id": "b2", "data": base64.b64encode(scan[:256]).decode()}
    (folder / "a.ndjson").write_bytes(note + b"\n" + lines(binary, small))
    assert take(folder).document["stored"] == 3
    for name, content in (("Binary/b1", scan), ("Binary/b2", scan[:256])):
        file = tmp_path / name.replace("/", "-")
        ran = run("record", "show", name, "--out", file, "--json", "--config", node)
        assert (ran.code, ran.document["size"], file.read_bytes() == content) == (0, len(content), True)
        assert file.stat().st_mode & 0o777 == 0o600
        assert run("record", "show", name, "--out", file, "--config", node).code == 6
    refused = run("record", "show", "Binary/b2", "--config", node)
    assert (refused.code, "record.not_text" in refused.err, "image/png" in refused.err) == (2, True, True)
    as_json = run("record", "show", "Binary/b2", "--json", "--config", node)
    assert base64.b64decode(as_json.document["content_b64"]) == scan[:256]
    assert run("record", "show", "Patient/p1", "--out", tmp_path / "p1", "--config", node).code == 0
    shown = run("record", "show", "Patient/p1", "--config", node).out
    assert (tmp_path / "p1").read_bytes() == shown.removesuffix("\n").encode()
    assert run("record", "show", "Patient/none", "--out", tmp_path / "none", "--config", node).code == 4
    assert not (tmp_path / "none").exists()


def test_a_damaged_content_leaves_no_file(run, take, node, folder, tmp_path):
    scan = {"resourceType": "Binary", "id": "b1", "contentType": "image/png"}
    (folder / "a.json").write_bytes(json.dumps(scan | {"data": base64.b64encode(bytes(3 << 20)).decode()}).encode())
    assert take(folder).document["stored"] == 1
    (blob,) = (path for path in (node.parent / "blobs").rglob("*") if path.is_file())
    sealed = bytearray(blob.read_bytes())
    sealed[-9] ^= 1
    blob.chmod(0o600)
    blob.write_bytes(sealed)
    ran = run("record", "show", "Binary/b1", "--out", tmp_path / "x", "--config", node)
    assert ran.code == 1
    assert not (tmp_path / "x").exists()
