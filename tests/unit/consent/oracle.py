"""A second evaluator of consents, for comparison: written from its page (docs/spec/consent.md), not from code.

It tries the worlds. Each test that nobody can tell the answer of is true in one half of them and false in the other; in
each world a consent is evaluated plainly, in two values, over its own JSON. What every world permits is permitted. It
shares no code and no tables with the decision: hierarchies come from HL7's file.
"""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

PARENTS = json.loads((Path(__file__).parents[2] / "vectors" / "v3" / "parents.json").read_text("utf-8"))
REASONS, ACTS = PARENTS["v3-ActReason"], PARENTS["v3-ActCode"]
RANK = "ULMNRV"
RECIPIENTS = ("IRCP", "PRCP", "NOT", "REFB", "REFT", "TRC")
UNKNOWN = None
"""A test answers True, False, or this."""

Json = Any


def permits(case: Json) -> bool:
    """Tell whether a case's record may be read."""
    request = case["request"]
    resource = request["resource"]
    own = resource["reference"] if resource["type"] == "Patient" else None
    if (resource.get("patient") or own) != request["patient"]:
        return False
    tags = [label for label in resource["securityLabels"] if label in REASONS and label != "HTEST"]
    if tags and not any(_is_a(_hl7_purpose(request), tag, REASONS) for tag in tags):
        return False
    consents = [version for item in case["consents"] if (version := _in_force(item, request)) is not None]
    questions: list[tuple[int, ...]] = []
    for number, consent in enumerate(consents):
        collect(consent, number, request, resource, questions)
    for answers in itertools.product((True, False), repeat=len(questions)):
        world = dict(zip(questions, answers, strict=True))
        if not _world(consents, request, resource, world):
            return False
    return True


def _world(consents: list[Json], request: Json, resource: Json, world: dict) -> bool:
    """Evaluate all consents where everything is known."""
    said = []
    for number, consent in enumerate(consents):
        if world.get((number, "applies"), _applies(consent, request)):
            said.append(_consent(consent, number, request, resource, world))
    if not said:
        return all(_applies(consent, request) is False for consent in consents) and _policy(request, resource)
    return "deny" not in said and "permit" in said


def collect(consent: Json, number: int, request: Json, resource: Json, questions: list) -> None:
    """List what nobody can tell of a consent."""
    if _applies(consent, request) is UNKNOWN:
        questions.append((number, "applies"))
    waiting = [((), consent["provision"])] if "provision" in consent else []
    while waiting:
        path, rule = waiting.pop()
        if _context(rule, request, is_root=not path) is UNKNOWN:
            questions.append((number, path, "context"))
        if data_holds(rule, resource) is UNKNOWN:
            questions.append((number, path, "data"))
        waiting += [((*path, index), inner) for index, inner in enumerate(rule.get("provision", []))]


def _in_force(item: Json, request: Json) -> Json:
    """Choose a history's version (D3)."""
    if item["resourceType"] == "Consent":
        return item
    now = moment(request["now"])[0]
    known = [row for row in item["versions"] if moment(row["recorded"])[0] <= now]
    return max(known, key=lambda row: moment(row["recorded"])[0])["resource"] if known else None


def _applies(consent: Json, request: Json) -> bool | None:
    """D2."""
    scope = {coding["code"] for coding in consent["scope"]["coding"]}
    if consent["status"] != "active" or "patient-privacy" not in scope:
        return False
    name = consent["patient"].get("reference")
    mine: bool | None = name == request["patient"]
    if name is None or (name.startswith("http") and name.endswith("/" + request["patient"])):
        mine = UNKNOWN
    inside = _inside_period(consent.get("provision", {}).get("period"), request)
    return _and([mine, inside])


def _consent(consent: Json, number: int, request: Json, resource: Json, world: dict) -> str:
    """Evaluate one consent that applies: permit, deny or nothing (D4 to D7)."""
    codes = {coding["code"] for coding in consent.get("policyRule", {}).get("coding", [])}
    base = "deny" if codes & {"OPTOUT", "OPTOUTE"} else "permit" if "OPTIN" in codes else "nothing"
    rule = consent.get("provision")
    if rule is None:
        return base
    kind = rule.get("type", base)
    found = _rule(rule, (), kind, number, request, resource, world)
    if found == "nothing" and "type" in rule and not (kind == base == "permit"):
        return base
    return found


def _rule(rule: Json, path: tuple, kind: str, number: int, request: Json, resource: Json, world: dict) -> str:
    """Evaluate a rule where everything is known."""
    if not world.get((number, path, "context"), _context(rule, request, is_root=not path)):
        return "nothing"
    holds = world.get((number, path, "data"), data_holds(rule, resource))
    released = path == () and kind == "permit"
    if not holds and not released:
        return "nothing"
    inner = [
        _rule(item, (*path, index), item.get("type", "deny"), number, request, resource, world)
        for index, item in enumerate(rule.get("provision", []))
    ]
    if "deny" in inner:
        return "deny"
    if "permit" in inner:
        return "permit"
    return kind if holds else "deny"


def _policy(request: Json, resource: Json) -> bool:
    """D1."""
    name = request.get("implicitPolicy", "Policy-deny")
    purpose = _hl7_purpose(request)
    normal = RANK.index(_level(resource)) <= RANK.index("N")
    if name == "Policy-all-normal":
        return normal
    if name == "Policy-basic-normal":
        role, actor = request.get("role"), request.get("actor") or ""
        clinical = ("clinician", "doctor", "nurse", "pharmacist", "physician", "practitioner")
        if role and role not in RECIPIENTS and not role.startswith("PractitionerRole/"):
            is_clinician = role in clinical
        else:
            is_clinician = actor.startswith(("Practitioner/", "PractitionerRole/"))
        return normal and is_clinician and _is_a(purpose, "TREAT", REASONS)
    return name == "Policy-break-glass-only" and purpose == "BTG" and "Group/privileged" in request["groups"]


def _context(rule: Json, request: Json, *, is_root: bool) -> bool | None:
    """D8, D10 to D12."""
    tests = []
    if not is_root and "period" in rule:
        tests.append(_inside_period(rule["period"], request))
    if "actor" in rule:
        tests.append(_or([_actor(actor, request) for actor in rule["actor"]]))
    if "purpose" in rule:
        tests.append(_or([_covers_purpose(coding, request) for coding in rule["purpose"]]))
        codes = {coding["code"] for coding in rule["purpose"]}
        if rule.get("type") == "permit" and "BTG" in codes and not codes & {"TREAT", "ETREAT"} and "actor" not in rule:
            tests.append("Group/privileged" in request["groups"])
    if "action" in rule:
        codes = {coding["code"] for concept in rule["action"] for coding in concept["coding"]}
        tests.append(UNKNOWN if request.get("action") is None else request["action"] in codes)
    return _and(tests)


def _actor(actor: Json, request: Json) -> bool | None:
    """D10."""
    name = actor["reference"].get("reference")
    if name is None:
        return UNKNOWN
    kind = name.split("/")[-2]
    asker = {"Organization": "organization"}.get(kind, "actor")
    askers = [request.get("actor"), request.get("organization"), request.get("role"), *request["groups"]]
    asks = name in askers
    if not asks and kind not in ("Group", "CareTeam") and request.get(asker) is None:
        return UNKNOWN
    if not asks and any(one is not None and _ends_alike(name, one) for one in askers):
        return UNKNOWN
    return asks


def _purpose(request: Json) -> tuple[str | None, str]:
    purpose = request.get("purpose")
    return (purpose.get("system"), purpose["code"]) if isinstance(purpose, dict) else (None, purpose)


def _hl7_purpose(request: Json) -> str | None:
    """Return the purpose if it is one of HL7's: the same code of another system is another purpose (D11)."""
    system, code = _purpose(request)
    return code if system in (None, "http://terminology.hl7.org/CodeSystem/v3-ActReason") else None


def _covers_purpose(coding: Json, request: Json) -> bool | None:
    """D11."""
    system, code = _purpose(request)
    home = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
    if code is None:
        return UNKNOWN
    if coding.get("system") is None:
        return UNKNOWN if _is_a(code, coding["code"], REASONS) else False
    if code in REASONS and system in (None, home):
        return coding["system"] == home and _is_a(code, coding["code"], REASONS)
    return code == coding["code"] and system in (None, coding["system"])


def data_holds(rule: Json, resource: Json) -> bool | None:
    """D8, D9, D13."""
    tests: list[bool | None] = []
    if "securityLabel" in rule:
        denies = rule.get("type") == "deny"
        codes = [coding["code"] for coding in rule["securityLabel"]]
        levels = [RANK.index(code) for code in codes if code in RANK]
        level = RANK.index(_level(resource))
        high = bool(levels) and (level >= min(levels) if denies else level <= max(levels))
        named = any(_is_sensitive_as(label, code) for label in resource["securityLabels"] for code in codes)
        tests.append(high or named)
    if "class" in rule:
        known = [item["code"] for item in rule["class"] if item.get("system") == "http://hl7.org/fhir/resource-types"]
        tests.append(True if resource["type"] in known else UNKNOWN if len(known) < len(rule["class"]) else False)
    if "code" in rule:
        tests.append(_or([_code(concept, resource) for concept in rule["code"]]))
    if "dataPeriod" in rule:
        tests.append(_dated(rule["dataPeriod"], resource))
    if "data" in rule:
        tests.append(_or([_named(row, resource) for row in rule["data"]]))
    return _and(tests)


def _level(resource: Json) -> str:
    """D9: the highest level; sensitive without one is restricted."""
    labels = resource["securityLabels"]
    levels = [label for label in labels if label in RANK]
    if levels:
        return max(levels, key=RANK.index)
    harmless = [
        x for x in labels if x in REASONS or _is_a(x, "ObligationPolicy", ACTS) or _is_a(x, "RefrainPolicy", ACTS)
    ]
    return "N" if len(harmless) == len(labels) else "R"


def _is_sensitive_as(label: str, code: str) -> bool:
    """Tell whether a label is one that a rule names; ETH covers what lies below SUD."""
    if code in RANK or label in RANK:
        return False
    return label == code or _is_a(label, code, ACTS) or (code == "ETH" and _is_a(label, "SUD", ACTS))


def _code(concept: Json, resource: Json) -> bool | None:
    if "coding" not in concept:
        return UNKNOWN
    has = [(code.get("system"), code["code"]) for code in resource["codes"]]
    found: list[bool | None] = []
    for coding in concept["coding"]:
        for system, code in has:
            same = code == coding["code"]
            both = system is not None and coding.get("system") is not None
            found.append(same and system == coding["system"] if both else (UNKNOWN if same else False))
    return _or(found)


def _named(row: Json, resource: Json) -> bool | None:
    """D13."""
    name, meaning = row["reference"].get("reference"), row["meaning"]
    if name is None:
        return UNKNOWN
    if meaning == "authoredby":
        has = resource["authors"]
    else:
        has = [resource["reference"], *([resource.get("encounter")] if meaning != "instance" else [])]
    if name in has:
        return True
    return UNKNOWN if any(one is not None and _ends_alike(name, one) for one in has) else False


def _ends_alike(one: str, other: str) -> bool:
    """D13: with a base or without, the same type and id may be the same record."""
    return one.split("/")[-2:] == other.split("/")[-2:]


def _dated(period: Json, resource: Json) -> bool | None:
    """D8: wholly inside, wholly outside, or nobody can tell."""
    if resource.get("date") is None:
        return UNKNOWN
    first, last = moment(resource["date"])
    start = moment(period["start"])[0] if "start" in period else datetime.min.replace(tzinfo=UTC)
    end = moment(period["end"])[1] if "end" in period else datetime.max.replace(tzinfo=UTC)
    if start <= first and last <= end:
        return True
    return False if last < start or first > end else UNKNOWN


def _inside_period(period: Json, request: Json) -> bool | None:
    if period is None:
        return True
    now = moment(request["now"])[0]
    start = moment(period["start"])[0] if "start" in period else now
    end = moment(period["end"])[1] if "end" in period else now
    return start <= now <= end


def moment(text: str) -> tuple[datetime, datetime]:
    """Return the first and the last microsecond of a date in UTC."""
    one = timedelta(microseconds=1)
    if "T" in text:
        first = datetime.fromisoformat(text)
        return first, first + timedelta(seconds=1) - one
    year, month, day = (*map(int, text.split("-")), None, None)[:3]
    first = datetime(year, month or 1, day or 1, tzinfo=UTC)
    if day:
        return first, first + timedelta(days=1) - one
    after = datetime(year + (month in (None, 12)), 1 if month in (None, 12) else month + 1, 1, tzinfo=UTC)
    return first, after - one


def _is_a(code: str | None, top: str, parents: Json) -> bool:
    return code is not None and (code == top or any(_is_a(parent, top, parents) for parent in parents.get(code, ())))


def _and(tests: list) -> bool | None:
    return False if False in tests else UNKNOWN if UNKNOWN in tests else True


def _or(tests: list) -> bool | None:
    return True if True in tests else UNKNOWN if UNKNOWN in tests else False
