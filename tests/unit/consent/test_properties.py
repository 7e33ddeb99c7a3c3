"""The decision against a second evaluator, and what must hold whatever the consents are."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consent.cases import rule_case
from consent.decision import Deny, Filter, Permit, Policy, Request, Resource, compile_consent, decide, judge, passes
from consent.receipt import receipt, residual
from medchain.dates import span_of
from tests.tries import tries
from tests.unit.consent import oracle
from tests.unit.consent.writing import ACT, CONFIDENTIALITY, IRCP, REASON, case, consent

Json = Any  # FHIR's own, of any shape
MAX_QUESTIONS = 9
"""With more that nobody can tell, the other evaluator has too many worlds to try."""

DATES = ["2025", "2026-02", "2026-02-11", "2026-02-11T12:00:00Z", "2026-05-03", "2027"]
LABELS = ["U", "N", "R", "V", "PSY", "ETH", "SUD", "ETHUD", "HIV", "SPI", "XYZZY", "NORDSCLCD", "HTEST"]
PURPOSES = ["TREAT", "ETREAT", "BTG", "HPAYMT", "HRESCH"]
ACTORS = ["Practitioner/d", "Practitioner/x", "Organization/o", "Group/g", "Group/privileged", "CareTeam/t"]
CODES = ["1-1", "2-2"]


def _coding(system: str, codes: list[str]) -> st.SearchStrategy[Json]:
    systems = st.sampled_from([system, system, system, system, "urn:other", None])
    pairs = st.builds(lambda where, code: {"system": where, "code": code}, systems, st.sampled_from(codes))
    return pairs.map(lambda coding: {name: value for name, value in coding.items() if value is not None})


def _some(items: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    return st.lists(items, min_size=1, max_size=2)


PERIODS = st.builds(
    lambda ends, has_start, has_end: {
        name: value
        for name, value, has in zip(("start", "end"), ends, (has_start, has_end or not has_start), strict=True)
        if has
    },
    st.lists(st.integers(0, len(DATES) - 1), min_size=2, max_size=2).map(lambda at: [DATES[one] for one in sorted(at)]),
    st.booleans(),
    st.booleans(),
).filter(
    lambda period: (
        "start" not in period
        or "end" not in period
        or oracle.moment(period["start"])[0] < oracle.moment(period["end"])[1]
    )
)
REFERENCES = st.sampled_from(
    [
        *({"reference": name} for name in (*ACTORS, "https://h.example/fhir/Practitioner/d")),
        {"identifier": {"value": "7"}},
    ]
)
NAMED = st.builds(
    lambda meaning, name: {"meaning": meaning, "reference": name},
    st.sampled_from(["instance", "related", "dependents", "authoredby"]),
    st.sampled_from(
        [
            {"reference": name}
            for name in (
                *("Observation/r", "Encounter/e", "Encounter/f", "Practitioner/a", "Practitioner/b"),
                "https://h.example/fhir/Encounter/e",
            )
        ]
        + [{"identifier": {"value": "7"}}]
    ),
)
LABEL = st.sampled_from(LABELS).map(lambda code: {"system": CONFIDENTIALITY if code in "UNRV" else ACT, "code": code})
CONCEPT = st.one_of(
    _some(_coding("http://loinc.org", CODES)).map(lambda found: {"coding": found}), st.just({"text": "x"})
)
TESTS = {
    "period": PERIODS,
    "actor": _some(REFERENCES.map(lambda name: {"role": IRCP, "reference": name})),
    "purpose": _some(_coding(REASON, PURPOSES)),
    "action": _some(st.sampled_from(["access", "disclose"]).map(lambda code: {"coding": [{"code": code}]})),
    "securityLabel": _some(LABEL),
    "class": _some(
        st.sampled_from(["Observation", "Condition"]).flatmap(
            lambda code: st.sampled_from(
                [
                    {"system": "http://hl7.org/fhir/resource-types", "code": code},
                    {"system": "urn:profiles", "code": code},
                ]
            )
        )
    ),
    "code": _some(CONCEPT),
    "dataPeriod": PERIODS,
    "data": _some(NAMED),
}


@st.composite
def rules(draw: st.DrawFn, depth: int = 1) -> Json:
    types = ["permit", "permit", "deny"] + ([None] if depth == 1 else [])
    kind = draw(st.sampled_from(types))
    names = draw(st.lists(st.sampled_from(sorted(TESTS)), max_size=2, unique=True))
    rule = {name: draw(TESTS[name]) for name in names}
    if kind is not None:
        rule["type"] = kind
    inner = draw(st.lists(rules(depth + 1), max_size=2)) if depth < 4 else []
    return rule | ({"provision": inner} if inner else {})


@st.composite
def consents(draw: st.DrawFn, name: str = "c") -> Json:
    changes: Json = {"id": name}
    base = draw(st.sampled_from([None, None, None, "OPTIN", "OPTOUT"]))
    if base is not None:
        changes["policyRule"] = {"coding": [{"system": ACT, "code": base}]}
    changes["status"] = draw(st.sampled_from(["active"] * 5 + ["inactive"]))
    patients = [{"reference": "Patient/p"}] * 5 + [{"reference": "Patient/q"}, {"identifier": {"value": "1"}}]
    changes["patient"] = draw(st.sampled_from(patients))
    written = consent(**changes)
    if base is None or draw(st.booleans()):
        written["provision"] = draw(rules())
    return written


@st.composite
def cases(draw: st.DrawFn) -> Json:
    given = [draw(consents(f"c{number}")) for number in range(draw(st.integers(0, 3)))]
    request = {
        "implicitPolicy": draw(st.sampled_from([policy.value for policy in Policy])),
        "actor": draw(st.sampled_from(["Practitioner/d", "Practitioner/d", "Device/z", None])),
        "organization": draw(st.sampled_from(["Organization/o", "Organization/o", None])),
        "groups": draw(st.lists(st.sampled_from(["Group/g", "Group/privileged", "CareTeam/t"]), unique=True)),
        "role": draw(st.sampled_from([None, None, "nurse", "clerk"])),
        "purpose": draw(st.sampled_from([*PURPOSES, *PURPOSES, {"system": "urn:other", "code": "TREAT"}, None])),
        "action": draw(st.sampled_from(["access", "access", "disclose", None])),
        "now": draw(st.sampled_from(["2026-05-03T10:00:00Z", "2026-02-11T12:00:00Z", "2024-01-01T00:00:00Z"])),
    }
    resource = {
        "patient": draw(st.sampled_from(["Patient/p"] * 6 + ["Patient/q"])),
        "codes": draw(st.lists(_coding("http://loinc.org", CODES), max_size=2)),
        "securityLabels": draw(st.lists(st.sampled_from([*LABELS, "TREAT"]), max_size=3, unique=True)),
        "authors": draw(st.lists(st.sampled_from(["Practitioner/a", "Practitioner/b"]), max_size=2)),
        "date": draw(st.sampled_from([*DATES, None])),
        "encounter": draw(st.sampled_from(["Encounter/e", None])),
    }
    return case(given, request, resource)


def _is_tractable(found: Json) -> bool:
    asked = found["request"]
    questions: list[Json] = []
    for number, item in enumerate(found["consents"]):
        oracle.collect(item, number, asked, asked["resource"], questions)
    return len(questions) <= MAX_QUESTIONS


CASES = cases().filter(_is_tractable)
BOUNDED = settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
)


@settings(BOUNDED, max_examples=tries(300))
@given(CASES)
def test_both_evaluators_agree(found: Json) -> None:
    assert rule_case(found).is_permitted == oracle.permits(found)


@settings(BOUNDED, max_examples=tries(80))
@given(CASES, st.data())
def test_adding_a_deny_never_permits_more(found: Json, data: st.DataObject) -> None:
    before = rule_case(found).is_permitted
    more = copy.deepcopy(found)
    places = [rule for item in more["consents"] for rule in _all_rules(item.get("provision"))]
    deny = data.draw(rules(4)) | {"type": "deny"}
    if places and data.draw(st.booleans()):
        data.draw(st.sampled_from(places)).setdefault("provision", []).append(deny)
    else:
        more["consents"].append(consent(id="z") | {"provision": deny})
    assert before or not rule_case(more).is_permitted


def _all_rules(rule: Json) -> list[Json]:
    return [] if rule is None else [rule, *(one for inner in rule.get("provision", []) for one in _all_rules(inner))]


@settings(BOUNDED, max_examples=tries(80))
@given(CASES, st.randoms(use_true_random=False))
def test_neither_the_order_of_consents_nor_that_of_rules_and_entries_matters(found: Json, random: Json) -> None:
    turned = copy.deepcopy(found)
    random.shuffle(turned["consents"])
    for item in turned["consents"]:
        for rule in _all_rules(item.get("provision")):
            for value in rule.values():
                if isinstance(value, list):
                    random.shuffle(value)
    one, other = rule_case(found), rule_case(turned)
    assert (one.is_permitted, one.basis, one.obligations) == (other.is_permitted, other.basis, other.obligations)


@settings(BOUNDED, max_examples=tries(80))
@given(CASES)
def test_withdrawal_ends_all_that_was_permitted(found: Json) -> None:
    found["request"]["implicitPolicy"] = "Policy-deny"
    for item in found["consents"]:
        item["status"] = "inactive"
    assert not rule_case(found).is_permitted


@settings(BOUNDED, max_examples=tries(80))
@given(CASES, consents("h"), consents("h"), st.sampled_from(["2024-01-01", "2026-02-11", "2026-03"]))
def test_what_held_at_an_instant_is_what_was_recorded_then(
    found: Json, first: Json, second: Json, recorded: str
) -> None:
    first["id"] = second["id"] = "h"
    versions = [{"recorded": "2024-06-01", "resource": first}, {"recorded": recorded, "resource": second}]
    history = {"resourceType": "ConsentHistory", "id": "h", "versions": versions}
    at = found["request"]["now"]
    known = [row for row in versions if oracle.moment(row["recorded"])[0] <= oracle.moment(at)[0]]
    newest = [max(known, key=lambda row: oracle.moment(row["recorded"])[0])["resource"]] if known else []
    then = rule_case(found | {"consents": [*found["consents"], *newest]})
    assert rule_case(found | {"consents": [*found["consents"], history]}) == then


def _parts(found: Json) -> tuple[Request, Resource, list[Any]]:
    """Make what the library takes of a case."""
    asked = found["request"]
    span = span_of(asked["now"])
    assert span is not None
    purpose = asked["purpose"]
    request = Request(
        now=span.low,
        patient=asked["patient"],
        actor=asked["actor"],
        organization=asked["organization"],
        groups=frozenset(asked["groups"]),
        role=asked["role"],
        purpose=purpose["code"] if isinstance(purpose, dict) else purpose,
        purpose_system=purpose["system"] if isinstance(purpose, dict) else None,
        action=asked["action"],
    )
    said = asked["resource"]
    record = Resource(
        reference=said["reference"],
        type=said["type"],
        patient=said["patient"],
        codes=frozenset(f"{one.get('system') or ''}|{one['code']}" for one in said["codes"]),
        labels=frozenset(said["securityLabels"]),
        authors=frozenset(said["authors"]),
        span=None if said["date"] is None else span_of(said["date"]),
        related=frozenset([said["encounter"]] if said["encounter"] else []),
    )
    return request, record, [compile_consent(item) for item in found["consents"]]


@settings(BOUNDED, max_examples=tries(80))
@given(CASES)
def test_an_answer_for_all_records_is_the_answer_for_each(found: Json) -> None:
    request, record, directives = _parts(found)
    whole = decide(request, directives, Policy(found["request"]["implicitPolicy"]))
    one = judge(whole, record)
    assert passes(whole, record) == isinstance(one, Permit) == rule_case(found).is_permitted
    if isinstance(whole, Permit) and record.patient == "Patient/p" and not record.purposes:
        assert isinstance(one, Permit)
    if isinstance(whole, Deny):
        assert isinstance(one, Deny)
    assert receipt(whole) == receipt(decide(request, directives[::-1], Policy(found["request"]["implicitPolicy"])))


@settings(BOUNDED, max_examples=tries(150))
@given(CASES)
def test_a_token_lets_no_more_flow_than_the_decision(found: Json) -> None:
    request, record, directives = _parts(found)
    whole = decide(request, directives, Policy(found["request"]["implicitPolicy"]))
    said = found["request"]["resource"]
    if isinstance(whole, Filter | Permit) and record.patient == "Patient/p" and not record.purposes:
        flows = all(_flows(rows, said) for _, rows in residual(whole))
        assert not flows or passes(whole, record)


def _flows(rows: Json, said: Json) -> bool:
    """Enforce a token's rules as IHE PCF says: the last that matches decides, without one it flows."""
    # Who enforces a token knows nothing of doubt; what is not told does not match a permit, and matches a forbid.
    found = True
    for row in rows:
        held = oracle.data_holds({**row, "type": "deny" if row["type"] == "forbid" else "permit"}, said)
        if held or (held is None and row["type"] == "forbid"):
            found = row["type"] == "permit"
    return found
