"""What `$claim-provenance` takes and answers: a claim with what the insurer holds, and the verdict in seven lines.

Keeps true: a claim that is sent is judged in the bytes in which it is sent on, numbers to the letter; what is answered
of a verdict is what its bundle says, in the caller's language. Pure. Trusts the daemon for verdict and bundle.
Source: `docs/spec/rest.md` 16; FHIR R4 Parameters, Provenance; `docs/spec/claim-verdict.md`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from fhir_bridge.document import Element, Number, Resource, objects_of, write
from fhir_bridge.provenance import LEDGER, ORGANISATION, SIGNATURE_FORMAT, committed
from fhir_bridge.references import instant, number
from medchain.claims.batch import CURRENCY
from medchain.claims.claim_file import CLAIM_TYPES
from medchain.claims.verdict_words import COLOURS, LINES, names_in, sentence
from medchain.encoding import Json
from medchain.errors import InputError
from medchain.ledger.bundle import Verdict
from medchain.ledger.collection import Item
from medchain.ledger.evidence.document import Evidence
from medchain.ledger.evidence.verdict import Finding, Line, worst
from medchain.ledger.invoice import Scope

ZIP: Final = "application/zip"
"""Media type of a bundle."""

_CLAIM: Final = "claim"
_PARAMETERS: Final = "Parameters"
_TEXTS: Final = {"check-code": "check_code", "code": "code", "date": "date", "issuer": "issuer", "number": "number"}
_HELD: Final = ("commitment", "hospital", "reference")
# ASTM E1762: time stamp signature.
_SIGNATURE_TYPE: Final = {"system": "urn:iso-astm:E1762-95:2013", "code": "1.2.840.10065.1.12.1.18"}
_LIFECYCLE: Final = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"
_PARTICIPANT: Final = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
_NAMES: Final = frozenset(
    {"bundle", "case", "claim", "content", "fresh", "held", "hospital", "invoice", "policy", "reference", "wait"}
)


@dataclass(frozen=True, slots=True)
class AskedClaim:
    """What is asked.

    Attributes:
        content: the claim's bytes; empty where it is named.
        reference: ``Type/id`` of a claim that is stored here; empty for none.
        case: id of a case in hexadecimal; empty for none.
        given: what the insurer holds, as the daemon takes it.
        is_fresh: whether everybody is asked anew.
        wait_s: how long to wait; None for as long as may be waited.
    """

    content: bytes = b""
    reference: str = ""
    case: str = ""
    given: Mapping[str, Json] = field(default_factory=dict)
    is_fresh: bool = False
    wait_s: int | None = None


def read_asked(body: Resource) -> AskedClaim:
    """Read what `$claim-provenance` is called with: Parameters, or a claim alone.

    Raises:
        InputError: ``operation.parameter`` with the name of one that is not known, there twice or malformed, and where
            not exactly one of ``claim``, ``content``, ``reference`` and ``case`` is given.
    """
    if body.get("resourceType") in CLAIM_TYPES:
        return AskedClaim(content=write(body))
    rows = parts_of(body)
    named = [name for name in (_CLAIM, "content", "reference", "case") if name in rows]
    if len(named) != 1:
        raise InputError("operation.parameter", parameter=_CLAIM)
    given: dict[str, Json] = {}
    if "invoice" in rows:
        given["row"] = _row(_one(rows, "invoice"))
    if "policy" in rows:
        given["policy"] = _policy(_one(rows, "policy"))
    if "held" in rows:
        given["held"] = [_held(one) for one in rows["held"]]
    if "hospital" in rows:
        given["hospital"] = _text(_one(rows, "hospital"), "hospital")
    wait = _value(_one(rows, "wait"), "wait") if "wait" in rows else None
    if wait is not None and not isinstance(wait, Number):
        raise InputError("operation.parameter", parameter="wait")
    return AskedClaim(
        content=_content(rows),
        reference=_reference(_one(rows, "reference")) if "reference" in rows else "",
        case=_text(_one(rows, "case"), "case") if "case" in rows else "",
        given=given,
        is_fresh="fresh" in rows and _value(_one(rows, "fresh"), "fresh") is True,
        wait_s=None if wait is None else _whole(wait, "wait"),
    )


def read_bundle(body: Resource) -> bytes:
    """Read the bundle that `$verify-claim-evidence` is called with; raises `InputError` ``operation.parameter``."""
    row = _one(parts_of(body), "bundle")
    inner = row.get("resource")
    data = inner.get("data") if isinstance(inner, dict) else row.get("valueBase64Binary")
    return _decoded(data, "bundle")


def parts_of(body: Resource) -> dict[str, list[Resource]]:
    """Take Parameters apart by name; raises `InputError` ``operation.parameter``."""
    if body.get("resourceType") != _PARAMETERS:
        raise InputError("operation.parameter", parameter="")
    rows: dict[str, list[Resource]] = {}
    for one in objects_of(body.get("parameter")):
        name = one.get("name")
        if not isinstance(name, str) or name not in _NAMES:
            raise InputError("operation.parameter", parameter="")
        rows.setdefault(name, []).append(one)
    return rows


def told_of(judged: Verdict, language: str) -> list[Resource]:
    """Write the verdict of a bundle as parameters: its colour, as of when, and each line with its findings in words.

    Args:
        judged: what the bundle proves.
        language: ``zh`` or ``en``.

    Returns:
        Parameters; none where the bundle is about no claim.
    """
    verdict, name = judged.claim, names_in(judged.names, language)
    if verdict is None:
        return []
    place = 0 if language == "zh" else 1
    rows: list[Resource] = [
        {"name": "colour", "valueCode": verdict.colour.value},
        {"name": "colour-text", "valueString": COLOURS[verdict.colour.value][place]},
        {"name": "digest", "valueString": verdict.claim.hex()},
        {"name": "insurer", "valueString": verdict.insurer},
        {"name": "as-of", "valueInstant": instant(verdict.time)},
        {"name": "position", "valueUnsignedInt": number(verdict.position)},
    ]
    for line in Line:
        parts: list[Element] = [
            {"name": "name", "valueCode": line.value},
            {"name": "text", "valueString": LINES[line.value][place]},
            {"name": "colour", "valueCode": worst(verdict.of(line)).value},
        ]
        parts += [_finding(one, language, name) for one in verdict.of(line)]
        rows.append({"name": "line", "part": parts})
    return rows


@dataclass(frozen=True, slots=True)
class Answered:
    """A case that is judged.

    Attributes:
        case: as the daemon tells it.
        judged: what its bundle proves.
        packed: the bundle as zip.
        evidence: that it holds.
        base_of: gives the address of a member's API.
    """

    case: Mapping[str, Json]
    judged: Verdict
    packed: bytes
    evidence: Evidence
    base_of: Callable[[str], str]


def answer_of(answered: Answered, language: str) -> bytes:
    """Write the answer as Parameters, in ``zh`` or ``en``."""
    case, packed = answered.case, answered.packed
    failures = case.get("failures")
    shown: list[Resource] = [{"name": "provenance", "resource": one} for one in provenances(answered)]
    bundle: Resource = {
        "resourceType": "Binary",
        "contentType": ZIP,
        "data": base64.b64encode(packed).decode(),
    }
    rows: list[Element] = [
        *head_of(case),
        *told_of(answered.judged, language),
        *_failures(failures if isinstance(failures, dict) else {}),
        *shown,
        {"name": "bundle", "resource": bundle},
        {"name": "bundle-sha256", "valueString": sha256(packed).hexdigest()},
    ]
    return write({"resourceType": _PARAMETERS, "parameter": rows})


def head_of(case: Mapping[str, Json]) -> list[Resource]:
    """Write which case it is, and how it stands."""
    rows: list[Resource] = [
        {"name": "case", "valueString": str(case["id"])},
        {"name": "status", "valueCode": str(case["status"])},
    ]
    progress = case.get("progress")
    if isinstance(progress, dict):
        done, total = progress.get("done"), progress.get("of")
        rows.append({"name": "progress", "valueString": f"{progress.get('step')} {done}/{total}"})
    return rows


def provenances(answered: Answered) -> list[Resource]:
    """Write a Provenance for each hospital that has disclosed: its records with their commitments on the ledger.

    The signature is that of the ledger's quorum over the state that the bundle is as of; its data is the bundle, which
    stands beside it once.
    """
    items = {one.key: one for one in answered.judged.items}
    when = instant(answered.judged.time)
    found: list[Resource] = []
    for signed in answered.evidence.disclosures:
        disclosure = signed.disclosure
        base = answered.base_of(disclosure.hospital)
        shown = [(row, items.get(disclosure.key(row))) for row in disclosure.records]
        targets: list[Element] = [
            _target(f"{base}/{row.reference}", item) for row, item in shown if item is not None and item.records
        ]
        if not targets:
            continue
        found.append(
            {
                "resourceType": "Provenance",
                "target": targets,
                "recorded": instant(disclosure.time),
                "activity": {"coding": [{"system": _LIFECYCLE, "code": "CREATE"}]},
                "agent": [_agent("author", disclosure.hospital), _agent("verifier", answered.evidence.insurer)],
                "signature": [
                    {
                        "type": [dict(_SIGNATURE_TYPE)],
                        "when": when,
                        "who": {"identifier": {"system": LEDGER, "value": disclosure.ledger.hex()}},
                        "sigFormat": SIGNATURE_FORMAT,
                    }
                ],
            }
        )
    return found


def _target(address: str, item: Item) -> Resource:
    """Name a record version at a hospital, with its digest on the ledger."""
    proven = item.records[-1]
    return committed(f"{address}/_history/{proven.version}", proven.body_hash)


def _agent(role: str, org_id: str) -> Resource:
    """Write an agent."""
    return {
        "type": {"coding": [{"system": _PARTICIPANT, "code": role}]},
        "who": {"type": "Organization", "identifier": {"system": ORGANISATION, "value": org_id}},
    }


def _finding(one: Finding, language: str, name: Callable[[str], str]) -> Resource:
    """Write a finding."""
    parts: list[Element] = [
        {"name": "code", "valueCode": one.code},
        {"name": "colour", "valueCode": one.colour.value},
        {"name": "text", "valueString": sentence(one, language, name)},
    ]
    for key, value in sorted(one.arguments.items()):
        typed: Resource = {"valueString": value} if isinstance(value, str) else {"valueDecimal": number(value)}
        parts.append({"name": f"argument-{key}", **typed})
    parts += [{"name": "item", "valueUnsignedInt": number(place)} for place in one.items]
    return {"name": "finding", "part": parts}


def _failures(failures: Mapping[str, Json]) -> list[Resource]:
    """Say of which hospitals nothing came, and why."""
    return [
        {
            "name": "failure",
            "part": [{"name": "hospital", "valueString": org_id}, {"name": "code", "valueCode": str(code)}],
        }
        for org_id, code in sorted(failures.items())
    ]


def _row(invoice: Resource) -> Json:
    """Read the invoice as the insurer holds it."""
    told = _named(invoice, "invoice")
    texts = {member: _text(told[name], name) if name in told else "" for name, member in _TEXTS.items()}
    amount, currency = _amount(told["amount"]) if "amount" in told else ("", "")
    line = _whole(_value(told["line"], "line"), "line") if "line" in told else 0
    scope = Scope.ITEM if line else Scope.INVOICE
    return {**texts, "amount": amount, "currency": currency, "line": line, "scope": scope.value}


def _amount(row: Resource) -> tuple[str, str]:
    """Read an amount to the letter: Money, or decimal digits of the usual currency."""
    money = row.get("valueMoney")
    if isinstance(money, dict):
        value = money.get("value")
        if not isinstance(value, Number):
            raise InputError("operation.parameter", parameter="amount")
        return value.text, str(money.get("currency", CURRENCY))
    return _text(row, "amount"), CURRENCY


def _policy(policy: Resource) -> Json:
    """Read when the customer is insured."""
    told = _named(policy, "policy")
    days = {name: _text(told[name], name) if name in told else None for name in ("start", "end")}
    waiting = _whole(_value(told["waiting-days"], "waiting-days"), "waiting-days") if "waiting-days" in told else 0
    return {**days, "waiting_days": waiting}


def _held(row: Resource) -> Json:
    """Read what copy of a record the insurer holds."""
    told = _named(row, "held")
    if not {*_HELD, "version"} <= told.keys():
        raise InputError("operation.parameter", parameter="held")
    texts = {name: _text(told[name], name) for name in _HELD}
    return {**texts, "version": _whole(_value(told["version"], "version"), "version")}


def _content(rows: Mapping[str, Sequence[Resource]]) -> bytes:
    """Take the claim that is sent."""
    if "content" in rows:
        return _decoded(_one(rows, "content").get("valueBase64Binary"), "content")
    if _CLAIM not in rows:
        return b""
    resource = _one(rows, _CLAIM).get("resource")
    if not isinstance(resource, dict) or resource.get("resourceType") not in CLAIM_TYPES:
        raise InputError("operation.parameter", parameter=_CLAIM)
    return write(resource)


def _reference(row: Resource) -> str:
    """Read which stored claim is meant."""
    value = _value(row, "reference")
    text = value.get("reference") if isinstance(value, dict) else value
    if not isinstance(text, str):
        raise InputError("operation.parameter", parameter="reference")
    return text


def _named(row: Resource, parameter: str) -> dict[str, Resource]:
    """Read the parts of a parameter by name; raises `InputError` for one that is there twice."""
    parts = objects_of(row.get("part"))
    named = {str(one.get("name")): one for one in parts}
    if len(named) != len(parts):
        raise InputError("operation.parameter", parameter=parameter)
    return named


def _one(rows: Mapping[str, Sequence[Resource]], name: str) -> Resource:
    """Take a parameter that may be there once."""
    found = rows.get(name, ())
    if len(found) != 1:
        raise InputError("operation.parameter", parameter=name)
    return found[0]


def _value(row: Resource, name: str) -> Element:
    """Read the value of a parameter, of whatever type."""
    values = [value for key, value in row.items() if key.startswith("value")]
    if len(values) != 1:
        raise InputError("operation.parameter", parameter=name)
    return values[0]


def _text(row: Resource, name: str) -> str:
    """Read a text."""
    value = _value(row, name)
    if not isinstance(value, str):
        raise InputError("operation.parameter", parameter=name)
    return value


def _whole(value: Element, name: str) -> int:
    """Read a whole number."""
    if not isinstance(value, Number) or not value.text.isdigit():
        raise InputError("operation.parameter", parameter=name)
    return int(value.text)


def _decoded(data: Element, name: str) -> bytes:
    """Read base64."""
    try:
        return base64.b64decode(data, validate=True) if isinstance(data, str) else b""
    except ValueError as error:
        raise InputError("operation.parameter", parameter=name) from error
