"""Labels are set from codes, say why, and are never lowered silently."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent.decision import Resource, coding_key
from consent.label_sets import ICD10, ICD10_ROWS, LOINC_ROWS
from consent.labels import CARRIED, MINOR, Because, LabelSet, labelled, lowered, read_set
from consent.vocabulary import LEVELS, SENSITIVITIES
from medchain.errors import InputError

ICD = ICD10[0]
PCF = Path(__file__).parents[2] / "vectors" / "ihe-pcf"
SET: dict[str, Any] = {
    "id": "own",
    "version": "1",
    "rows": [{"system": "http://snomed.info/sct", "code": "86406008", "label": "HIV"}],
}


def of(*codes: str, system: str = ICD, present: frozenset[str] = frozenset(), **more: Any) -> frozenset[str]:  # noqa: ANN401  # by name
    return labelled([coding_key(system, code) for code in codes], present, [CARRIED], **more).labels


@pytest.mark.parametrize(
    ("code", "label"),
    [
        ("F32.1", "PSY"),
        ("F10.2", "ETHUD"),
        ("F11", "OPIOIDUD"),
        ("F19.9", "SUD"),
        ("B23.1", "HIV"),
        ("b23.1", "HIV"),
        ("Z21", "HIV"),
        ("A53.9", "STD"),
        ("O04", "SEX"),
        ("Z30.0", "SEX"),
        ("Q90.9", "GDIS"),
        ("T74.2", "SDV"),
        ("X99", "VIO"),
        ("Y05", "SDV"),
    ],
)
def test_a_code_of_icd_10_gets_its_sensitivity_and_is_restricted(code: str, label: str) -> None:
    assert {label, "R"} <= of(code)


@pytest.mark.parametrize("code", ["I10", "J45.0", "E11.9", "F", "B2", "", "Z22.8", "Z71.9", "A65"])
def test_other_codes_get_none(code: str) -> None:
    assert of(code) == frozenset()


def test_a_finer_row_adds_to_a_coarser_one() -> None:
    assert of("O98.7") == {"SEX", "HIV", "R"}
    assert of("F02.4") == {"PSY", "HIV", "R"}
    assert of("O98.6") == {"SEX", "R"}


def test_codes_of_other_systems_are_not_confused_with_it() -> None:
    assert of("B23.1", system="http://snomed.info/sct") == frozenset()


def test_ihe_pcfs_own_example_gets_the_label_that_it_has() -> None:
    record = json.loads((PCF / "Observation-ex-alcoholUse.json").read_text("utf-8"))
    has = {label["code"] for label in record["meta"]["security"]} - {"HTEST"}
    code = record["code"]["coding"][0]
    assert of(code["code"], system=code["system"]) == has


@pytest.mark.parametrize(
    ("code", "gets"),
    [
        ("25836-8", {"HIV", "R"}),
        ("31201-7", {"HIV", "R"}),
        ("20507-0", {"STD", "R"}),
        ("44261-6", {"PSY", "R"}),
        ("75626-2", {"ETHUD", "R"}),
        ("718-7", set()),
    ],
)
def test_a_result_is_as_sensitive_as_what_it_tests_for(code: str, gets: set[str]) -> None:
    """A laboratory sends LOINC alone: what a diagnosis of it would be labelled as, the test for it is."""
    assert of(code, system="http://loinc.org") == gets


def test_an_added_label_says_why() -> None:
    coding = coding_key(ICD, "B23.1")
    found = labelled([coding], frozenset(), [CARRIED, read_set(SET)])
    assert found.because == (Because("HIV", coding, CARRIED.id, CARRIED.version),)
    assert labelled([coding], frozenset({"HIV", "R"}), [CARRIED]).because == ()


def test_all_sets_count() -> None:
    codings = [coding_key("http://snomed.info/sct", "86406008"), coding_key(ICD, "F32")]
    assert labelled(codings, frozenset(), [CARRIED, read_set(SET)]).labels == {"HIV", "PSY", "R"}


def test_what_is_sensitive_and_very_restricted_stays_so() -> None:
    assert of("B20", present=frozenset({"V"})) == {"HIV", "V"}
    assert of("B20", present=frozenset({"N"})) == {"HIV", "R"}
    assert of("I10", present=frozenset({"N", "NORDSCLCD"})) == {"N", "NORDSCLCD"}


@pytest.mark.parametrize(("code", "gets"), [("A53", True), ("F10", True), ("Q90", False), ("I10", False)])
def test_what_a_minor_may_want_to_keep_to_itself_is_marked(code: str, gets: bool) -> None:
    assert (MINOR in of(code, is_minor=True)) is gets
    assert MINOR not in of(code)


def test_a_label_given_by_hand_marks_a_minors_record_too() -> None:
    found = labelled([], frozenset({"PSY", "N"}), [CARRIED], is_minor=True)
    assert found.labels == {"PSY", MINOR, "R"}


LABELS = st.frozensets(st.sampled_from([*LEVELS, *SENSITIVITIES, "NORDSCLCD", "XYZZY"]), max_size=5)
CODINGS = st.lists(st.sampled_from([coding_key(ICD, code) for code in ("B20", "F10.1", "O98.7", "I10")]), max_size=3)


@given(CODINGS, LABELS, st.booleans())
def test_labels_are_never_lowered_by_setting_them(codings: list[str], present: frozenset[str], minor: bool) -> None:
    after = labelled(codings, present, [CARRIED], is_minor=minor).labels
    assert lowered(present, after) == frozenset()
    assert (Resource(None, None, None, labels=after).level or 0) >= (
        Resource(None, None, None, labels=present).level or 0
    )
    assert labelled(codings, after, [CARRIED], is_minor=minor).labels == after
    assert labelled([], after, []).labels == after


@pytest.mark.parametrize(
    ("before", "after", "lost"),
    [
        ({"HIV", "R"}, {"R"}, {"HIV"}),
        ({"HIV", "R"}, {"HIV", "N"}, {"R"}),
        ({"HIV", "R"}, set(), {"HIV", "R"}),
        ({"ETHUD", "R"}, {"SUD", "R"}, set()),
        ({"SUD", "R"}, {"ETHUD", "R"}, {"SUD"}),
        ({"N"}, set(), set()),
        ({"V"}, {"PSY"}, {"V"}),
        ({"N"}, {"U"}, {"N"}),
        ({"NORDSCLCD"}, set(), {"NORDSCLCD"}),
    ],
)
def test_what_would_be_lost_is_named(before: set[str], after: set[str], lost: set[str]) -> None:
    assert lowered(frozenset(before), frozenset(after)) == lost


def test_rows_that_are_carried_name_sensitivities_and_ranges() -> None:
    assert {label for _, _, label in ICD10_ROWS} | {label for _, label in LOINC_ROWS} <= SENSITIVITIES.keys()
    assert all(first <= last and len(first) == len(last) for first, last, _ in ICD10_ROWS)


def test_a_loaded_set_may_have_ranges() -> None:
    row = {"system": "urn:own", "first": "A1", "last": "A3", "label": "PSY"}
    found: LabelSet = read_set(SET | {"rows": [row, *SET["rows"]]})
    assert [bool(found.sensitivities(f"urn:own|{code}")) for code in ("A", "A1", "A2.5", "A4")] == [0, 1, 1, 0]


@pytest.mark.parametrize(
    "row",
    [
        {"system": "s", "code": "c", "label": "NOTHING"},
        {"system": "s", "code": "c", "label": "_InformationSensitivityPolicy"},
        {"system": "s", "code": "c", "label": "R"},
        {"system": "s", "code": "", "label": "HIV"},
        {"system": "s", "code": "c", "label": "HIV", "more": 1},
        {"system": "s", "first": "B2", "last": "B10", "label": "HIV"},
        {"system": "s", "first": "B3", "last": "B2", "label": "HIV"},
        {"system": "s", "first": "B3", "label": "HIV"},
        {"code": "c", "label": "HIV"},
        {"system": 3, "code": "c", "label": "HIV"},
        [],
        None,
    ],
)
def test_a_row_that_is_none_is_refused_by_its_index(row: object) -> None:
    with pytest.raises(InputError, match=r"labels\.row index=1"):
        read_set(SET | {"rows": [*SET["rows"], row]})


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"rows": []}, "labels.size"),
        ({"rows": {}}, "encoding.members"),
        ({"id": ""}, "labels.text"),
        ({"version": "x" * 201}, "labels.text"),
        ({"more": 1}, "encoding.members"),
    ],
)
def test_a_set_of_the_wrong_shape_is_refused(change: dict[str, Any], code: str) -> None:
    with pytest.raises(InputError, match=code):
        read_set(SET | change)
