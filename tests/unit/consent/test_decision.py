"""The decision on each clause of its page, on IHE PCF's examples, and on input that is made to break it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from zoneinfo import ZoneInfo

import orjson
import pytest

from consent.cases import rule_case
from consent.decision import (
    MAX_DEPTH,
    MAX_ENTRIES,
    MAX_RULES,
    Deny,
    Filter,
    Permit,
    Reason,
    Request,
    Resource,
    coding_key,
    compile_consent,
    decide,
    judge,
    passes,
)
from consent.receipt import receipt, residual
from consent.vocabulary import LEVELS, OBLIGATIONS, PURPOSES, SENSITIVITIES
from medchain.dates import span_of
from tests.unit.consent.writing import RESOURCE, case, consent, provision

HERE = Path(__file__).parent
VECTORS = Path(__file__).parents[2] / "vectors"
PCF = VECTORS / "ihe-pcf"
TABLE = [json.loads(line) for line in (HERE / "table.ndjson").read_text("utf-8").splitlines()]
EXPECTED = json.loads((PCF / "expected.json").read_text("utf-8"))
OBSERVATIONS = {path.stem.split("ex-")[1]: json.loads(path.read_text("utf-8")) for path in PCF.glob("Observation-*")}


def now(text: str) -> int:
    span = span_of(text)
    assert span is not None
    return span.low


def request(**changes: object) -> Request:
    base = {"now": now("2026-05-03T10:00:00Z"), "patient": "Patient/p", "actor": "Practitioner/d", "purpose": "TREAT"}
    return Request(**(base | {"organization": "Organization/o"} | changes))  # type: ignore[arg-type]  # by name


def record(**changes: object) -> Resource:
    return Resource(**({"reference": "Observation/r", "type": "Observation", "patient": "Patient/p"} | changes))  # type: ignore[arg-type]  # by name


def _given(row):
    """Write the consents of a row of the table; a history's versions as well."""
    given = row.get("consents", [{"provision": row["provision"]} if "provision" in row else {}])
    base = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": row.get("base")}]}
    more = row.get("consent", {}) | ({"policyRule": base} if "base" in row else {})
    for item in given:
        if "versions" in item:
            versions = [
                one
                | {
                    "resource": consent(
                        **_whole(one["resource"] if "provision" in one["resource"] else {"provision": one["resource"]}),
                        **more,
                    )
                }
                for one in item["versions"]
            ]
            yield item | {"versions": versions}
        else:
            yield consent(**_whole(item), **more)


def _whole(item):
    return {name: provision(value) if name == "provision" else value for name, value in item.items()}


@pytest.mark.parametrize("row", TABLE, ids=[f"{row['clause'][:12]} {row['why']}" for row in TABLE])
def test_each_clause_decides_as_it_says(row) -> None:
    found = rule_case(
        case(list(_given(row)), row.get("request"), row.get("resource")), zone=ZoneInfo(row.get("zone", "UTC"))
    )
    assert ("permit" if found.is_permitted else "deny") == row["decision"]
    assert found.path == row.get("path", found.path)
    assert found.basis == row.get("basis", found.basis)
    assert list(found.obligations) == row.get("obligations", list(found.obligations))


def test_the_table_covers_every_rule_of_the_page() -> None:
    clauses = " ".join(row["clause"] for row in TABLE)
    named = {f"D{number}" for number in range(1, 21) if f"D{number}:" in clauses or f"D{number} " in clauses + " "}
    assert {f"D{number}" for number in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, 19, 20)} <= named
    assert all(f"IHE PCF 1:53.2.{section}" in clauses for section in ("1", "2", "3", "4"))


def _pcf_record(name: str):
    found = OBSERVATIONS[name]
    return {
        "reference": f"Observation/{found['id']}",
        "type": "Observation",
        "patient": found["subject"]["reference"],
        "codes": found["code"]["coding"],
        "securityLabels": [label["code"] for label in found["meta"]["security"]],
        "authors": [author["reference"] for author in found["performer"]],
        "date": found["effectiveDateTime"],
        "encounter": found["encounter"]["reference"],
    }


def _pcf_request(row):
    asked = {name: row[name] for name in ("now", "actor", "organization", "groups", "purpose")}
    return asked | {"patient": "Patient/ex-patient"}


@pytest.mark.parametrize("name", EXPECTED)
def test_an_example_of_ihe_pcf_decides_as_its_own_page_says(name) -> None:
    written = json.loads((PCF / f"Consent-{name}.json").read_text("utf-8"))
    for row in EXPECTED[name]["cases"]:
        passed = [
            one
            for one in sorted(OBSERVATIONS)
            if rule_case(case([written], _pcf_request(row), _pcf_record(one))).is_permitted
        ]
        assert passed == sorted(row["permits"]), row["why"]


@pytest.mark.parametrize("name", [name for name, row in EXPECTED.items() if "residual" in row])
def test_its_token_has_the_residual_rules_that_its_page_shows(name) -> None:
    directive = compile_consent(json.loads((PCF / f"Consent-{name}.json").read_text("utf-8")))
    asked = {"actor": "Practitioner/ex-author", "patient": "Patient/ex-patient", "now": now("2022-07-01T10:00:00Z")}
    assert residual(decide(request(**asked), [directive])) == ((name, tuple(EXPECTED[name]["residual"])),)
    if "residual_practitioner" in EXPECTED[name]:
        found = residual(decide(request(**asked | {"actor": "Practitioner/ex-practitioner"}), [directive]))
        assert found == ((name, tuple(EXPECTED[name]["residual_practitioner"])),)


def test_all_of_hl7s_hierarchies_are_carried() -> None:
    parents = json.loads((VECTORS / "v3" / "parents.json").read_text("utf-8"))

    def above(code: str, system: str) -> set[str]:
        return {code}.union(*(above(parent, system) for parent in parents[system].get(code, ())))

    for code in parents["v3-ActReason"]:
        assert {top for top, row in PURPOSES.items() if code in row} == above(code, "v3-ActReason")
    ruling = {code: above(code, "v3-ActCode") for code in parents["v3-ActCode"]}
    for code, tops in ruling.items():
        if tops & {"ObligationPolicy", "RefrainPolicy"}:
            assert code in OBLIGATIONS
        else:
            added = {"ETH"} if "SUD" in tops else set()
            assert {top for top, row in SENSITIVITIES.items() if code in row} == tops | added
    assert not OBLIGATIONS - ruling.keys()
    assert list(LEVELS) == ["U", "L", "M", "N", "R", "V"]


# Kinds of answers


def test_what_does_not_depend_on_the_record_is_permitted_or_denied_at_once() -> None:
    assert isinstance(decide(request(), [compile_consent(consent({"type": "permit"}))]), Permit)
    assert isinstance(decide(request(), [compile_consent(consent({"type": "deny"}))]), Deny)
    assert isinstance(decide(request(), []), Deny)


def test_what_depends_on_the_record_is_a_filter_until_the_record_is_known() -> None:
    rules = {"type": "permit", "provision": [{"type": "deny", "securityLabel": ["R"]}]}
    found = decide(request(), [compile_consent(consent(rules))])
    assert isinstance(found, Filter)
    assert isinstance(judge(found, record(labels=frozenset({"N"}))), Permit)
    denied = judge(found, record(labels=frozenset({"R"})))
    assert isinstance(denied, Deny)
    assert (denied.reason, denied.path, denied.version) == (Reason.DENIED, "provision.provision[0]", "1")


def test_a_case_without_record_is_permitted_only_if_every_record_is() -> None:
    rules = {"type": "permit", "securityLabel": ["N"]}
    found = rule_case(case([consent(rules)], resource=False))
    assert (found.is_permitted, found.basis, found.path) == (False, "c", "provision")
    assert rule_case(case([consent({"type": "permit"})], resource=False)).is_permitted


def test_a_denial_stays_one_whatever_record_it_is_asked_about() -> None:
    found = decide(request(), [])
    assert isinstance(found, Deny)
    assert judge(found, record()) is found
    assert not passes(found, record())


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ([], Reason.NONE),
        ([consent({"type": "permit", "purpose": ["HPAYMT"]})], Reason.NOT_PERMITTED),
        ([consent({"type": "deny"})], Reason.DENIED),
        ([consent({"type": "nonsense"})], Reason.UNREADABLE),
    ],
)
def test_a_denial_says_why(given, reason) -> None:
    found = decide(request(), [compile_consent(item) for item in given])
    assert isinstance(found, Deny)
    assert found.reason is reason


def test_records_of_others_and_those_bound_to_other_purposes_are_denied_with_their_own_reason() -> None:
    found = decide(request(), [compile_consent(consent({"type": "permit"}))])
    foreign, bound = judge(found, record(patient="Patient/q")), judge(found, record(labels=frozenset({"HRESCH"})))
    assert isinstance(foreign, Deny)
    assert isinstance(bound, Deny)
    assert (foreign.reason, bound.reason) == (Reason.PATIENT, Reason.PURPOSE)
    assert not passes(found, record(patient="Patient/q"))


def test_a_consent_that_perhaps_is_the_patients_is_no_base_for_a_permit_and_stands_for_the_policy() -> None:
    whose = consent({"type": "permit"}, patient={"reference": "http://elsewhere.example/fhir/Patient/p"})
    found = rule_case(case([whose], {"implicitPolicy": "Policy-all-normal"}))
    assert not found.is_permitted


# Unknown facts


@pytest.mark.parametrize(
    ("rule", "facts"),
    [
        ({"securityLabel": ["HIV"]}, {"labels": None}),
        ({"code": ["http://loinc.org|9-9"]}, {"codes": None}),
        ({"code": ["http://loinc.org|9-9"]}, {"codes": frozenset({"|9-9"})}),
        ({"data": ["authoredby Practitioner/z"]}, {"authors": None}),
        ({"data": ["instance Observation/z"]}, {"reference": None}),
        ({"data": ["instance https://h.example/fhir/Observation/z"]}, {"reference": "Observation/z"}),
        ({"data": ["dependents Encounter/z"]}, {"related": frozenset({"https://h.example/fhir/Encounter/z"})}),
        ({"data": ["authoredby Practitioner/z"]}, {"authors": frozenset({"https://h.example/fhir/Practitioner/z"})}),
        ({"class": ["Condition"]}, {"type": None}),
        ({"dataPeriod": {"start": "2026"}}, {"span": None}),
        ({"data": [{"meaning": "owned", "reference": {"reference": "Observation/z"}}]}, {}),
        ({"securityLabel": [{"system": "urn:x", "display": "secret"}]}, {}),
    ],
)
def test_what_is_not_known_of_a_record_neither_permits_nor_escapes_a_deny(rule, facts) -> None:
    permit = decide(request(), [compile_consent(consent({"type": "permit"} | rule))])
    deny = decide(request(), [compile_consent(consent({"type": "permit", "provision": [{"type": "deny"} | rule]}))])
    assert not passes(permit, record(**facts))
    assert not passes(deny, record(**facts))


@pytest.mark.parametrize(
    ("rule", "facts"),
    [
        ({"actor": ["Practitioner/z"]}, {"actor": None}),
        ({"actor": ["Organization/z"]}, {"organization": None}),
        ({"actor": ["Group/z"]}, {"groups": None}),
        ({"actor": ["https://h.example/fhir/Practitioner/d"]}, {}),
        ({"actor": ["Organization/o"]}, {"organization": "https://h.example/fhir/Organization/o"}),
        ({"actor": ["https://h.example/fhir/CareTeam/t"]}, {"groups": frozenset({"CareTeam/t"})}),
        (
            {
                "actor": [
                    {
                        "role": {"coding": [{"system": "urn:roles", "code": "nurse"}]},
                        "reference": {"reference": "Organization/o"},
                    }
                ]
            },
            {},
        ),
        ({"purpose": ["HPAYMT"]}, {"purpose": None}),
        ({"action": ["access"]}, {"action": None}),
    ],
)
def test_what_is_not_known_of_a_request_neither_permits_nor_escapes_a_deny(rule, facts) -> None:
    permit = decide(request(**facts), [compile_consent(consent({"type": "permit"} | rule))])
    deny = decide(
        request(**facts), [compile_consent(consent({"type": "permit", "provision": [{"type": "deny"} | rule]}))]
    )
    assert not passes(permit, record())
    assert not passes(deny, record())


def test_who_may_break_the_glass_must_be_known() -> None:
    rules = {"type": "deny", "provision": [{"type": "permit", "purpose": ["BTG"]}]}
    given = [compile_consent(consent(rules))]
    assert isinstance(decide(request(purpose="BTG", groups=None), given), Deny)
    assert isinstance(decide(request(purpose="BTG", groups=frozenset({"Group/privileged"})), given), Permit)


# Hostile input


def _deep(depth: int):
    rule = {"type": "permit"}
    for _ in range(depth - 1):
        rule = {"type": "permit", "provision": [rule]}
    return rule


def test_a_tree_as_deep_as_is_allowed_is_decided_by_its_deepest_rule() -> None:
    found = decide(request(), [compile_consent(consent(_deep(MAX_DEPTH)))])
    assert isinstance(found, Permit)
    assert found.path.count("provision") == MAX_DEPTH


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 10_000])
def test_a_deeper_tree_denies(depth) -> None:
    found = decide(request(), [compile_consent(_bare(_deep(depth)))])
    assert isinstance(found, Deny)
    assert found.reason is Reason.UNREADABLE


def _bare(rules):
    whole = consent()
    whole["provision"] = rules
    return whole


def test_more_rules_or_entries_than_allowed_deny() -> None:
    rule = {"type": "permit"}
    wide = {"type": "permit", "provision": [rule] * (MAX_RULES - 1)}
    assert isinstance(decide(request(), [compile_consent(consent(wide))]), Permit)
    nested = {"type": "permit", "provision": [{"type": "permit", "provision": [rule] * (MAX_RULES // 2)}] * 2}
    purposes = {"type": "permit", "purpose": ["TREAT"] * (MAX_ENTRIES + 1)}
    for rules in (nested, purposes):
        assert isinstance(decide(request(), [compile_consent(consent(rules))]), Deny)


def test_a_provision_that_holds_itself_denies() -> None:
    rules: dict[str, object] = {"type": "permit"}
    rules["provision"] = [rules]
    assert isinstance(decide(request(), [compile_consent(_bare(rules))]), Deny)


def test_records_that_refer_to_each_other_are_followed_one_step() -> None:
    found = decide(request(), [compile_consent(consent({"type": "permit", "data": ["related Observation/a"]}))])
    assert passes(found, record(reference="Observation/b", related=frozenset({"Observation/a"})))
    assert not passes(found, record(reference="Observation/c", related=frozenset({"Observation/b"})))


WRONG = [None, True, 3, 1.5, "text", [], [3], {}, {"x": 1}, [[]], [{}], [None]]


@pytest.mark.parametrize("value", WRONG, ids=repr)
@pytest.mark.parametrize(
    "name", ["status", "scope", "patient", "provision", "policyRule", "policy", "modifierExtension"]
)
def test_a_member_of_the_wrong_type_never_permits(name, value) -> None:
    written = consent({"purpose": ["TREAT"], "type": "permit"}) | {name: value}
    harmless = (name == "policy" and value == [{}]) or (name == "policyRule" and value in ({}, {"x": 1}))
    assert isinstance(decide(request(), [compile_consent(written)]), Permit if harmless else Deny)


@pytest.mark.parametrize("value", WRONG, ids=repr)
@pytest.mark.parametrize(
    "name",
    [
        "type",
        "period",
        "actor",
        "purpose",
        "action",
        "securityLabel",
        "class",
        "code",
        "dataPeriod",
        "data",
        "provision",
    ],
)
def test_a_member_of_a_rule_of_the_wrong_type_never_permits_and_never_escapes_a_deny(name, value) -> None:
    permit = decide(request(), [compile_consent(_bare({"type": "permit", name: value}))])
    inner = {"type": "deny", name: value}
    deny = decide(request(), [compile_consent(_bare({"type": "permit", "provision": [inner]}))])
    assert not passes(permit, record())
    assert not passes(deny, record())


@pytest.mark.parametrize("value", [*WRONG, float("nan"), 2**70, {1: 2}, b"x", "\ud800"], ids=repr)
def test_what_is_no_consent_denies(value) -> None:
    assert isinstance(decide(request(), [compile_consent(value)]), Deny)


def test_the_stack_is_left_alone() -> None:
    before = sys.getrecursionlimit()
    compile_consent(_bare(_deep(10_000)))
    assert sys.getrecursionlimit() == before


# Receipts


def test_a_receipt_is_the_same_for_the_same_and_another_for_anything_else() -> None:
    permit, deny = consent({"type": "permit"}), consent({"type": "deny"}, id="d")
    one, other = compile_consent(permit), compile_consent(deny)
    base = receipt(decide(request(), [one, other]))
    assert receipt(decide(request(), [other, one])) == base
    assert receipt(decide(request(), [compile_consent(orjson.loads(orjson.dumps(permit))), other])) == base
    others = [
        receipt(decide(request(), [one])),
        receipt(decide(request(), [one, compile_consent(deny | {"dateTime": "2020"})])),
        receipt(decide(request(), [one, compile_consent(deny, version="2")])),
        receipt(decide(request(purpose="HPAYMT"), [one, other])),
        receipt(decide(request(now=now("2026-05-03T10:00:01Z")), [one, other])),
        receipt(decide(request(groups=None), [one, other])),
        receipt(decide(request(), [compile_consent(consent({"type": "permit", "securityLabel": ["N"]}))])),
        receipt(decide(request(), [one, other]), record()),
    ]
    assert len({base, *others}) == len(others) + 1


def test_a_residual_leaves_out_what_the_form_cannot_say() -> None:
    inner = {"type": "permit", "securityLabel": ["PSY"]}
    rules = {"type": "permit", "provision": [{"type": "deny", "securityLabel": ["R"], "provision": [inner]}]}
    ((_, rows),) = residual(decide(request(), [compile_consent(consent(rules))]))
    assert [row["type"] for row in rows] == ["forbid"]
    assert residual(decide(request(), [])) == (("implicit", ({"type": "forbid"},)),)


def test_a_residual_of_a_denial_beside_a_permit_forbids_what_it_names() -> None:
    permit = consent({"type": "permit"}, id="a")
    deny = consent({"type": "deny", "class": ["Condition"]}, id="b")
    silent = consent({"type": "permit", "purpose": ["HPAYMT"]}, id="c")
    unsure = consent({"type": "permit", "purpose": [{"code": "TREAT"}]}, id="d")
    found = dict(residual(decide(request(), [compile_consent(one) for one in (permit, deny, silent)])))
    assert found["a"] == ()
    assert [row["type"] for row in found["b"]] == ["forbid"]
    assert "class" in found["b"][0]
    assert "c" not in found
    assert dict(residual(Filter(decide(request(), [compile_consent(unsure)]).case))) == {"d": ({"type": "forbid"},)}


def test_codes_of_a_record_are_written_with_their_system() -> None:
    assert coding_key("http://loinc.org", "1-1") == "http://loinc.org|1-1"
    assert coding_key(None, "1-1") == "|1-1"
    assert RESOURCE["codes"][0]["code"] == "1-1"
