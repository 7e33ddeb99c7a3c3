"""`medchain consent decide`: line for line, whatever the lines hold."""

from __future__ import annotations

import json

import pytest

from medchain.commands import consent as command
from tests.unit.consent.writing import case, consent

PERMIT = consent({"type": "permit", "purpose": ["TREAT"]}, id="yes")


@pytest.fixture
def decide(run, tmp_path):
    def deciding(*lines: object, words: tuple[str, ...] = ()):
        path = tmp_path / "cases.ndjson"
        written = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
        path.write_bytes(b"".join(line + b"\n" for line in written))
        ran = run("consent", "decide", "--cases", path, *words)
        return ran, [json.loads(line) for line in ran.out.splitlines()]

    return deciding


def test_each_case_gets_its_line_in_its_place(decide):
    ran, found = decide(case([PERMIT]) | {"id": "a"}, case([]) | {"id": 7})
    assert ran.code == 0
    assert found == [
        {"id": "a", "decision": "permit", "basis": "yes", "path": "provision", "obligations": []},
        {"id": 7, "decision": "deny", "basis": "implicit", "path": "Policy-deny", "obligations": []},
    ]
    assert "2 cases, 0" in ran.err


def test_obligations_are_told(decide):
    _, found = decide(case([PERMIT], {"purpose": "BTG"}, {"securityLabels": ["N", "NORDSCLCD"]}))
    assert found[0]["obligations"] == ["AUDTR", "NORDSCLCD", "break-glass.review"]


def test_a_line_that_cannot_be_read_is_denied_and_the_next_is_decided(decide):
    deep = b'{"consents":[],"id":"deep","request":' + b'{"x":' * 5000 + b"1" + b"}" * 5001
    ran, found = decide(
        b"{",
        deep,
        b"\xff\xfe",
        b'{"x":"\\"id\\":1","request":{"id":"inner"},"id":"cut',
        b'{"id":"\\ud800","x":',
        b'{"id":-12,"x":',
        b"[]",
        {"id": "b"},
        {"id": "c", "request": {"now": "then", "patient": "Patient/p"}, "consents": []},
        case([PERMIT]),
    )
    assert ran.code == 1
    assert [row["id"] for row in found] == [None, "deep", None, None, None, -12, None, "b", "c", "x"]
    assert [row["decision"] for row in found] == ["deny"] * 9 + ["permit"]
    assert [row.get("error") for row in found[:7]] == ["case.not_json"] * 6 + ["case.malformed"]
    assert found[8]["member"] == "now"
    assert all((row["basis"], row["path"], row["obligations"]) == ("implicit", "", []) for row in found[:9])
    assert "10 cases, 9" in ran.err


@pytest.mark.parametrize(
    ("change", "member"),
    [
        ({"now": 3}, "now"),
        ({"now": None}, "now"),
        ({"patient": None}, "patient"),
        ({"implicitPolicy": "Policy-none"}, "implicitPolicy"),
        ({"groups": "Group/g"}, "groups"),
        ({"groups": [3]}, "groups"),
        ({"purpose": 3}, "code"),
        ({"actor": []}, "actor"),
        ({"resource": []}, "resource"),
        ({"resource": {"codes": {}}}, "codes"),
        ({"resource": {"codes": ["x"]}}, "codes"),
        ({"resource": {"securityLabels": "N"}}, "securityLabels"),
        ({"resource": {"authors": [None]}}, "authors"),
    ],
)
def test_a_request_of_the_wrong_shape_is_named(decide, change, member):
    ran, found = decide(case([PERMIT], change, resource=False))
    assert ran.code == 1
    assert (found[0]["error"], found[0]["member"]) == ("case.malformed", member)


def test_consents_must_be_a_list_and_what_is_none_denies(decide):
    _, found = decide(case([PERMIT]) | {"consents": {}}, case([PERMIT, 3]), case([PERMIT, {"resourceType": "Consent"}]))
    assert [row["decision"] for row in found] == ["deny"] * 3
    assert found[0]["member"] == "consents"
    assert found[1]["path"] == "Consent"


def test_a_history_that_cannot_be_read_denies(decide):
    whole = {"resourceType": "ConsentHistory", "id": "h", "versions": [{"recorded": "2026", "resource": PERMIT}]}
    broken = [whole | {"versions": value} for value in (None, [3], [{"recorded": "?"}], [{"recorded": "2026"}])]
    _, found = decide(case([whole]), *(case([one, PERMIT]) for one in broken))
    assert [row["decision"] for row in found] == ["permit"] + ["deny"] * 4
    assert [row["basis"] for row in found] == ["h"] * 5


def test_dates_without_zone_are_read_in_the_one_that_is_named(decide):
    until = consent({"type": "permit", "period": {"end": "2026-05-03"}})
    late = case([until], {"now": "2026-05-03T20:00:00Z"})
    _, found = decide(late)
    assert found[0]["decision"] == "permit"
    _, found = decide(late, words=("--tz", "Asia/Shanghai"))
    assert found[0]["decision"] == "deny"


def test_a_zone_that_does_not_exist_and_a_file_that_is_missing_are_told(decide, run, tmp_path):
    ran, _ = decide(words=("--tz", "Mars/Olympus"))
    assert (ran.code, ran.out) == (2, "")
    assert "Mars/Olympus. (call.zone)" in ran.err
    ran = run("consent", "decide", "--cases", tmp_path / "none")
    assert ran.code == 4
    assert "(file.missing" in ran.err


def test_a_line_beyond_all_bounds_is_denied_and_skipped(decide, monkeypatch):
    monkeypatch.setattr(command, "MAX_CASE_BYTES", 2000)
    ran, found = decide(b'{"id":"long","x":"' + b"x" * 9000 + b'"}', b"", b"  ", case([PERMIT]))
    assert ran.code == 1
    assert [(row["id"], row["decision"]) for row in found] == [("long", "deny"), ("x", "permit")]
    assert found[0]["error"] == "case.too_large"


def test_nothing_of_a_case_is_told_elsewhere(decide):
    ran, _ = decide(b'{"id":"case-of-wang","x":', case([PERMIT], {"actor": 3}))
    assert "wang" not in ran.err
    assert "Patient/p" not in ran.err
