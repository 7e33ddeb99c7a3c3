"""A verdict as lines and as a graph: what the page shows follows from the verdict alone."""

from __future__ import annotations

import re
from zoneinfo import ZoneInfo

import pytest

from fhir_bridge.claims_desk.graph import (
    LANE_WIDTH,
    MARGIN,
    MAX_HOSPITALS,
    NODE_HEIGHT,
    ROW_HEIGHT,
    TOP,
    UNITS,
    drawn,
    graph_of,
    wrapped,
)
from fhir_bridge.claims_desk.verdict_view import shown_lines
from tests.unit.fhir_bridge.claims_desk.judged import FINDINGS, GREEN, OTHER, verdict
from tests.unit.medchain.node.federation import RENHE

SEVEN = ["source", "unaltered", "complete", "consent", "unclaimed", "coverage", "flags"]
NAMES = {RENHE: "Renhe Hospital", OTHER: "Tongji Hospital"}


def lines(language: str = "en", findings=FINDINGS):
    return shown_lines(verdict(findings=findings).findings, language, NAMES.get)


def nodes(hospitals=(RENHE,), findings=FINDINGS):
    return {one.key: one for one in graph_of(verdict(findings=findings), hospitals).nodes}


def test_there_are_seven_lines_each_with_its_worst_finding():
    shown = lines()
    assert [one.line for one in shown] == SEVEN
    assert [one.colour for one in shown] == ["amber", "red", "green", "green", "amber", "green", "red"]
    assert shown[0].sentence.startswith("Condition/d1 of Renhe Hospital came late")
    assert [one.code for one in shown[0].findings] == ["source.late", "source.registered"]
    assert shown[0].findings[0].items == (4,)
    assert shown[1].word == "something is wrong"


def test_lines_are_in_the_readers_language():
    shown = lines("zh")
    assert [one.name for one in shown][:2] == ["来源", "未改动"]
    assert "Renhe Hospital的病情与诊断 d1 迟录" in shown[0].sentence


def test_hours_are_of_the_zone_of_the_page_and_name_it():
    said = shown_lines(verdict(findings=FINDINGS).findings, "en", NAMES.get, ZoneInfo("Asia/Shanghai"))
    hours = re.findall(
        r"[0-9]{2}:[0-9]{2} (\S+?)[.,]", " ".join(one.sentence for line in said for one in line.findings)
    )
    assert set(hours) == {"UTC+8"}


def test_of_what_nothing_is_found_a_line_is_amber_and_says_nothing():
    assert [(one.colour, one.sentence) for one in lines(findings=())] == [("amber", "")] * 7


def test_the_graph_has_nodes_of_each_hospital_and_of_the_claim():
    found = nodes()
    assert {key: one.colour.value for key, one in found.items()} == {
        "records-0": "red",
        "registered-0": "red",
        "consent-0": "green",
        "access-0": "green",
        "invoice": "green",
        "unclaimed": "amber",
        "claim": "red",
        "coverage": "green",
        "flags": "red",
        "verdict": "red",
    }
    assert [one.lane for one in found.values()] == sorted(
        (one.lane for one in found.values()), key=["hospital", "patient", "ledger", "insurer"].index
    )
    assert found["records-0"].hospital == RENHE


def test_a_hospital_of_which_nothing_was_found_is_there_and_not_green():
    found = nodes((RENHE, OTHER), GREEN)
    by_hospital = {(one.kind, one.hospital): one.colour.value for one in found.values()}
    assert by_hospital["records", RENHE] == "green"
    assert by_hospital["records", OTHER] == "amber"


def test_every_edge_leads_to_the_right_or_stays_with_the_insurer():
    graph = graph_of(verdict(), (RENHE, OTHER))
    lane = {one.key: ["hospital", "patient", "ledger", "insurer"].index(one.lane) for one in graph.nodes}
    assert all(lane[one.source] < lane[one.target] or lane[one.target] == 3 for one in graph.edges)
    assert {one.target for one in graph.edges} | {one.source for one in graph.edges} == lane.keys()


def test_no_more_hospitals_are_drawn_than_fit():
    found = nodes([f"hospital-{number}" for number in range(30)])
    assert sum(one.kind == "records" for one in found.values()) == MAX_HOSPITALS


def test_nodes_stand_in_their_lanes_one_under_the_other():
    graph = graph_of(verdict(), (RENHE,))
    picture = drawn(graph, {one.key: one.key for one in graph.nodes})
    places = {one.node.key: (one.x, one.y) for one in picture.nodes}
    assert places["records-0"] == (MARGIN, TOP)
    assert places["invoice"] == (MARGIN, TOP + ROW_HEIGHT)
    assert places["registered-0"] == (MARGIN + 2 * LANE_WIDTH, TOP)
    assert len(set(places.values())) == len(places)
    assert max(y for _, y in places.values()) + NODE_HEIGHT <= picture.height


def test_what_leads_to_the_ledger_passes_between_the_permissions():
    graph = graph_of(verdict(), (RENHE, OTHER))
    places = {
        one.node.key: (one.x, one.y) for one in drawn(graph, dict.fromkeys((one.key for one in graph.nodes), ""))[3]
    }
    for number in (0, 1):
        y = places[f"records-{number}"][1]
        assert places[f"registered-{number}"][1] == y
        middle = y + NODE_HEIGHT // 2
        assert not any(
            places[f"consent-{one}"][1] <= middle <= places[f"consent-{one}"][1] + NODE_HEIGHT for one in (0, 1)
        )


def test_edges_are_curves():
    graph = graph_of(verdict(), (RENHE,))
    picture = drawn(graph, dict.fromkeys((one.key for one in graph.nodes), ""))
    assert all(re.fullmatch(r"M\d+ \d+C[\d ]+", path) for path in picture.paths)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("short", ("short",)),
        ("Permission to Renhe Hospital of the West", ("Permission to Renhe", "Hospital of the West")),
        ("仁和医院仁和医院仁和医院仁和医院", ("仁和医院仁和医院仁和医院仁", "和医院")),
        ("x" * 60, ("x" * UNITS, "x" * UNITS + "…")),
        ("", ("",)),
    ],
)
def test_titles_are_broken_into_two_lines_at_most(text, expected):
    assert wrapped(text) == expected
