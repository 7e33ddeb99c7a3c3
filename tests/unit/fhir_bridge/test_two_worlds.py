"""Two nodes, of which one has records that a consent denies and the other never had them, answer alike.

Whatever somebody asks from whom they are kept back: every byte of every answer is the same, but for what is random in
both (ids that the server chooses, sealed cursors). What the decision lets through says
`test_enforcement`; here is that nothing tells of the rest: no number, order, page, warning, header or refusal. The one
exception of `docs/spec/consent.md` C5, a PUT on an id that a client chose and that is taken, is not asked here.
"""

from __future__ import annotations

import base64
import json
import re
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from unittest.mock import patch
from urllib.parse import quote

import pytest

from fhir_bridge.definitions.parameters import ParameterType, parameters_of
from fhir_bridge.search.indexer import UNINDEXED
from tests.unit.fhir_bridge.conftest import ORIGIN, opened
from tests.unit.fhir_bridge.consent_oracle import CALLERS, GUARDIAN, ITSELF, Caller, actor, coded, deny, label
from tests.unit.fhir_bridge.search.asking import question
from tests.unit.fhir_bridge.search.interpreted import found_by_others
from tests.unit.fhir_bridge.test_enforcement import condition, observation

CARE = {"subject": {"reference": "Patient/p1"}, "encounter": {"reference": "Encounter/e1"}}
MARKED = {"identifier": [{"system": "urn:lab", "value": "secret-7"}], "note": [{"text": "tell nobody"}]}
HIV = condition("secret", "B20", "2024-01-01") | MARKED | CARE | {"recordedDate": "2024-01-02"}
LABELLED = {"meta": {"security": label("HIV")}, "category": coded("urn:kind", "virology")}
LOAD = observation("secret", "25836-8", "2024-01-05", **MARKED, **CARE, **LABELLED)
OTHERS = (
    {
        "resourceType": "Patient",
        "id": "p1",
        "name": [{"family": "Wang"}],
        "birthDate": "1970-01-01",
        "identifier": [{"system": "urn:mrn", "value": "w-1"}],
    },
    {"resourceType": "Patient", "id": "p2", "name": [{"family": "Li"}], "birthDate": "1971-01-01"},
    {"resourceType": "Practitioner", "id": "d1"},
    {"resourceType": "Practitioner", "id": "d3"},
    {"resourceType": "Practitioner", "id": "d9"},
    {
        "resourceType": "Encounter",
        "id": "e1",
        "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
        "subject": {"reference": "Patient/p1"},
    },
    *(observation(f"o{number}", "2339-0", f"2024-01-0{number}", **CARE) for number in range(1, 5)),
    *(condition(f"c{number}", "J06.9", f"2024-01-0{number}") for number in range(1, 4)),
    observation("of-p2", "25836-8", "2024-01-05", "p2"),
    {
        "resourceType": "DiagnosticReport",
        "id": "r1",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": "Patient/p2"},
        "result": [{"reference": "Observation/secret"}, {"reference": "Observation/o1"}],
    },
    {
        "resourceType": "List",
        "id": "l1",
        "status": "current",
        "mode": "working",
        "entry": [{"item": {"reference": "Condition/secret"}}, {"item": {"reference": "Condition/c1"}}],
    },
)
PROVENANCE = {
    "resourceType": "Provenance",
    "id": "secret",
    "target": [{"reference": "Condition/secret"}],
    "recorded": "2024-01-02T00:00:00Z",
    "agent": [{"who": {"reference": "Practitioner/d9"}}],
}
SCAN = {
    "resourceType": "Binary",
    "id": "secret",
    "contentType": "text/plain",
    "securityContext": {"reference": "Condition/secret"},
    "data": base64.b64encode(b"positive").decode(),
}
OF_P1 = "urn:uuid:11111111-1111-4111-8111-111111111111"
# A document as another system writes it: its patient is known by an identifier alone.
LETTER = {
    "resourceType": "Bundle",
    "id": "secret",
    "type": "document",
    "identifier": {"system": "urn:letters", "value": "secret-7"},
    "timestamp": "2024-01-06T00:00:00Z",
    "entry": [
        {
            "fullUrl": "urn:uuid:22222222-2222-4222-8222-222222222222",
            "resource": {
                "resourceType": "Composition",
                "status": "final",
                "type": {"text": "letter"},
                "subject": {"reference": OF_P1},
                "date": "2024-01-06",
                "author": [{"reference": "Practitioner/d9"}],
                "title": "Secret letter",
            },
        },
        {
            "fullUrl": OF_P1,
            "resource": {"resourceType": "Patient", "identifier": [{"system": "urn:mrn", "value": "w-1"}]},
        },
        {
            "fullUrl": "http://lab.example/fhir/Condition/secret",
            "resource": condition("secret", "B20", "2024-01-01") | {"subject": {"reference": OF_P1}},
        },
        {
            "fullUrl": "http://lab.example/fhir/Observation/secret",
            "resource": observation("secret", "25836-8", "2024-01-05", subject={"reference": OF_P1}),
        },
    ],
}
OF_LETTER = PROVENANCE | {"id": "of-letter", "target": [{"reference": "Bundle/secret"}]}
PICTURE = SCAN | {"id": "of-letter", "securityContext": {"reference": "Bundle/secret"}}
SECRETS = (HIV, LOAD, PROVENANCE, SCAN, LETTER, OF_LETTER, PICTURE)
STATES = {
    "all": [deny()],
    "label": [deny(securityLabel=label("HIV"))],
    "named": [
        deny(
            data=[
                {"meaning": "dependents", "reference": {"reference": "Condition/secret"}},
                {"meaning": "instance", "reference": {"reference": "Observation/secret"}},
            ]
        )
    ],
    "codes": [
        deny(code=coded("http://hl7.org/fhir/sid/icd-10", "B20")),
        deny(code=coded("http://loinc.org", "25836-8")),
    ],
}
NAMED_STATES = {
    "itself": (ITSELF, [deny(securityLabel=label("HIV"), actor=actor("Patient/p1"))]),
    "guardian": (GUARDIAN, [deny(securityLabel=label("HIV"), actor=actor("Patient/g1"))]),
}
"""What is denied to the patient, or to who acts for it, by name."""
RANDOM = re.compile(
    rb"(?<=_cursor=)[A-Za-z0-9_%\-]+|\b[0-9a-f]{32}(?:\.[0-9]+)?\b|(?<=export-file/)[A-Za-z0-9_%\-]+"
    # Ids of requests in AuditEvents.
    rb'|(?<="value":")[0-9a-f]{16}(?=")'
    # Commitments to record versions, each of which has a salt of its own.
    rb'|(?<="valueString":")[0-9a-f]{64}(?=")'
)
HEADERS = ("ETag", "Location", "Last-Modified", "Content-Location", "Allow", "Content-Type")
JSON_PATCH = "application/json-patch+json"
FORM = "application/x-www-form-urlencoded"


def masked(data: bytes) -> bytes:
    """Leave out all that is random."""
    return RANDOM.sub(b"<random>", data)


@dataclass
class Worlds:
    """The two nodes, seen by one caller."""

    servers: tuple
    caller: Caller

    def ask(self, method: str, path: str, body: object = None, kind: str = "", **headers: str) -> list:
        """Ask both the same; returns their answers."""
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named |= {"Authorization": "Bearer x"} | ({"Content-Type": kind or "application/fhir+json"} if data else {})
        found = []
        for server in self.servers:
            with patch.object(type(server.tokens), "check", lambda _self, _token: self.caller.access):
                address = path if path.startswith("/") else f"/fhir/{path}"
                found.append(server.client.open(address, method=method, data=data, headers=named))
        return found

    def same(self, method: str, path: str, *rest: object, **headers: str) -> list:
        """Ask both the same, and see that nothing differs; returns the answers."""
        answers = self.ask(method, path, *rest, **headers)
        one, other = (
            (
                answer.status_code,
                masked(answer.data),
                *(masked(str(answer.headers.get(name)).encode()) for name in HEADERS),
            )
            for answer in answers
        )
        assert one == other, (method, path)
        return answers

    def each(self) -> list[Worlds]:
        """Take them apart."""
        return [Worlds((server,), self.caller) for server in self.servers]

    def walked(self, path: str) -> None:
        """Follow all pages in both."""
        answers = self.same("GET", path)
        while links := [_next(answer.data) for answer in answers if _next(answer.data)]:
            assert len(links) == len(self.servers), path
            answers = [world.ask("GET", link)[0] for world, link in zip(self.each(), links, strict=True)]
            one, other = (masked(answer.data) for answer in answers)
            assert one == other, path


def _next(data: bytes) -> str:
    links = [one["url"] for one in json.loads(data).get("link", []) if one["relation"] == "next"]
    return links[0].removeprefix(ORIGIN) if links else ""


@contextmanager
def worlds(tmp_path_factory, denials: list[dict], caller: Caller = CALLERS["d1"]):
    """Open both; the first has the secrets, stored among the others."""
    with ExitStack() as stack:
        servers = tuple(
            stack.enter_context(contextmanager(opened)(tmp_path_factory.mktemp(f"world-{name}"))) for name in "ab"
        )
        for server in servers:
            given = OTHERS[:9] + (SECRETS if server is servers[0] else ()) + OTHERS[9:]
            consents = [one | {"id": f"k{place}"} for place, one in enumerate(denials)]
            for one in (*given, *consents):
                made = server.call("PUT", f"/fhir/{one['resourceType']}/{one['id']}", one)
                assert made.status_code in (200, 201), made.data
        yield Worlds(servers, caller)


# What hides them does not matter to what could tell of them: one way at every change, all of them are for `make soak`.
_SOME = ["label", *(pytest.param(name, marks=pytest.mark.slow) for name in STATES if name != "label")]


@pytest.fixture(scope="module", params=_SOME)
def pair(request, tmp_path_factory):
    """Both worlds, for questions that change nothing."""
    with worlds(tmp_path_factory, STATES[request.param]) as made:
        yield made


@pytest.fixture(params=_SOME)
def fresh(request, tmp_path_factory):
    """Both worlds, for one test alone."""
    with worlds(tmp_path_factory, STATES[request.param]) as made:
        yield made


def asked_of(secret: dict) -> list[str]:
    """List searches that a secret fulfils: by each value of each parameter, with the modifiers of its kind."""
    name, found = secret["resourceType"], []
    known = parameters_of(name)
    for code, values in found_by_others(secret).items():
        if code in UNINDEXED:
            continue
        texts = {question(value, known[code].type) for value in values} - {""}
        found += [f"{code}:missing={said}" for said in ("true", "false")]
        found += [f"_sort={sign}{code}&_count=2" for sign in ("", "-")]
        for text in map(quote, sorted(texts)):
            found.append(f"{code}={text}")
            if known[code].type is ParameterType.TOKEN:
                found.append(f"{code}:not={text}")
            if known[code].type is ParameterType.DATE:
                found += [f"{code}={sign}{text}" for sign in ("gt", "lt", "ne", "ge")]
    found += ["_id=secret", "_id:not=secret", "_lastUpdated=gt2000", "_security:missing=false", "_text=nobody"]
    return [f"{name}?{one}" for one in found]


ASKED = [one for secret in (HIV, LOAD, PROVENANCE, LETTER) for one in asked_of(secret)]
SHAPES = ("_total=accurate&_include=*&_revinclude=*", "_summary=count")


@pytest.mark.parametrize("shape", SHAPES)
def test_searches_tell_of_none(pair, shape):
    for one in ASKED:
        pair.same("GET", f"{one}&{shape}")
    pair.same("POST", "Condition/_search", ASKED[0].partition("?")[2].encode(), FORM)


def test_each_order_has_the_same_pages(pair):
    for path in ("Observation?_count=2", "Condition?_count=1&_total=accurate", "?_type=Observation,Condition&_count=3"):
        pair.walked(path)
    for path in (one for one in ASKED if "_sort" in one):
        pair.walked(path)
    for path in (
        "Patient/p1/$everything?_count=3",
        "_history?_count=5",
        "Observation/_history?_count=2",
        "Patient/p1/*?_count=2",
    ):
        pair.walked(path)


THROUGH = (
    "Patient?_has:Condition:subject:code=B20",
    "Patient?_has:Condition:subject:code=B20&_summary=count",
    "Patient?_has:Condition:subject:_id=secret",
    "Patient?_has:Observation:subject:_has:DiagnosticReport:result:_id=r1",
    "Encounter?_has:Observation:encounter:code=25836-8",
    "DiagnosticReport?result.code=25836-8",
    "DiagnosticReport?result:Observation._id=secret",
    "DiagnosticReport?result.encounter.class=AMB",
    "DiagnosticReport?_include=DiagnosticReport:result&_include:iterate=Observation:encounter",
    "DiagnosticReport?_include=*&_include:iterate=*&_revinclude:iterate=*",
    "Encounter?_revinclude=Observation:encounter&_revinclude=Condition:encounter&_total=accurate",
    "Patient?_revinclude=Condition:subject&_revinclude:iterate=Provenance:target",
    "Patient?_revinclude=*&_revinclude:iterate=*",
    "Practitioner?_revinclude=Condition:asserter&_revinclude=Provenance:agent",
    "Practitioner?_has:Condition:asserter:code=B20",
    "Condition?_list=l1",
    "List?item:Condition.code=B20",
    "List?_include=List:item&_include:iterate=Condition:subject",
    "Provenance?target=Condition/secret",
    "Provenance?target=Condition/c1",
    "Provenance?target:Condition.code=B20",
    "Provenance?patient=Patient/p1&_count=2",
    "Condition?_revinclude=Provenance:target",
    "Binary?_total=accurate",
    "Bundle?_total=accurate",
    "Bundle?composition.title=Secret",
    "Bundle?composition.subject:Patient.identifier=w-1",
    "Bundle?_revinclude=Provenance:target&_total=accurate",
    "Provenance?target=Bundle/secret",
    "Provenance?target:Bundle.type=document",
    "Practitioner?_has:Bundle:composition:_id=secret",
    "Patient/p1/Condition?_total=accurate",
    "Patient/p1/*?_count=1000",
    "Encounter/e1/Observation?code=25836-8",
    "Encounter/e1/$everything",
    "Patient/p1/$everything?_type=Condition&_count=1",
    "Patient/p1/$everything?start=2024-01-01&end=2024-01-02",
    "Patient/$everything?_count=5",
    "Condition?_contained=both&code=B20",
    "Condition?code=B20,J06.9&_sort=-recorded-date,code&_count=2",
    "?_id=secret",
    "?_type=Condition,Observation&_security=HIV&_summary=count",
)


def test_what_leads_through_others_tells_of_none(pair):
    for path in THROUGH:
        pair.same("GET", path)


NAMES = tuple(f"{one['resourceType']}/{one['id']}" for one in SECRETS)
NAMED = (
    *("", "/_history", "/_history/1", "/_history/2", "/$proof", "/_history/1/$proof", "/$meta", "/_history/1/$meta"),
    *("/$validate", "?_summary=text", "?_elements=id", "?_format=xml"),
)


def test_names_tell_of_none(pair):
    for name in NAMES:
        for way in NAMED:
            pair.same("GET", name + way)
            pair.same("HEAD", name + way)
        for condition_ in (
            {"If_None_Match": 'W/"1"'},
            {"If_None_Match": "*"},
            {"If_Modified_Since": "Fri, 01 Jan 2100 00:00:00 GMT"},
        ):
            pair.same("GET", name, **condition_)
        pair.same("POST", name + "/$validate?mode=delete")
    for path in (
        "$meta",
        "Condition/$meta",
        "Observation/$meta",
        "_history?_since=2000-01-01T00:00:00Z",
        "_history?_count=0",
    ):
        pair.same("GET", path)
    for path in (
        "Condition/_history?_count=0",
        "Condition/_history?_at=2026",
        "Observation/_history?_sort=-_lastUpdated",
    ):
        pair.same("GET", path)
    pointing = observation("x", "2339-0", "2024") | {"hasMember": [{"reference": "Observation/secret"}]}
    pointing |= {"derivedFrom": [{"reference": "Observation/secret/_history/1"}]}
    pair.same("POST", "Observation/$validate", pointing)
    rows = [{"request": {"method": "GET", "url": one}} for one in ("Condition/secret", ASKED[0], *THROUGH[:6])]
    for kind in ("batch", "transaction"):
        pair.same("POST", "", {"resourceType": "Bundle", "type": kind, "entry": rows})


EXPORTS = (
    "$export",
    "Patient/$export",
    "$export?_type=Condition&_typeFilter=Condition%3Fcode%3DB20",
    "$export?_since=2000-01-01T00:00:00Z",
)


def exported(world: Worlds, begun) -> list[tuple[str, int, bytes]]:
    """List the files of an export; the audit is of what was done in each world."""
    place = begun.headers["Content-Location"].removeprefix(ORIGIN)
    while (told := world.ask("GET", place)[0]).status_code == HTTPStatus.ACCEPTED:
        # Each look finds some more, on a slow machine not all at once.
        continue
    manifest = json.loads(told.data)
    rows = [row for row in manifest["output"] if row["type"] != "AuditEvent"]
    files = ((row, world.ask("GET", row["url"].removeprefix(ORIGIN))[0].data) for row in rows)
    return sorted((row["type"], row["count"], content) for row, content in files)


@pytest.mark.parametrize("path", EXPORTS)
def test_exports_tell_of_none(pair, path):
    begun = pair.same("GET", path, Prefer="respond-async")
    one, other = (exported(world, answer) for world, answer in zip(pair.each(), begun, strict=True))
    assert one == other
    assert one or "_typeFilter" in path


EVENTS = (
    "AuditEvent?_count=500&_total=accurate",
    "AuditEvent?_count=500&_sort=-date",
    "AuditEvent?entity=Condition/secret&_total=accurate",
    "AuditEvent?entity=Condition/c1&_total=accurate",
    "AuditEvent?entity:missing=true&_summary=count",
    "AuditEvent?entity.code=B20&_summary=count",
    "AuditEvent?patient=Patient/p1&_summary=count",
    "AuditEvent?outcome=4&_total=accurate",
    "AuditEvent/_history?_count=500",
    "?_type=AuditEvent,Condition&_count=500",
    "_history?_count=500",
    "Patient/p1/$everything?_type=AuditEvent&_count=500",
    "Patient/p1/AuditEvent?_total=accurate",
    "Patient?_revinclude=AuditEvent:patient",
    "Condition?_has:AuditEvent:entity:action=C&_total=accurate",
    "Condition?_revinclude=AuditEvent:entity&_total=accurate",
)


def test_the_audit_tells_a_system_of_none(tmp_path_factory):
    """Nor by what it is told of its own requests: whether what they were refused is there."""
    with worlds(tmp_path_factory, STATES["label"], CALLERS["system"]) as pair:
        for name in NAMES:
            for way in ("", "/_history", "/_history/1", "/$proof"):
                pair.same("GET", name + way)
            pair.same("DELETE", name)
        for one in (*ASKED[:20], *THROUGH):
            pair.same("GET", one)
        for path in EVENTS:
            pair.same("GET", path)
        # Once: its own events have sealed cursors, which are random.
        pair.walked("AuditEvent?_count=7")


@pytest.mark.parametrize("name", NAMED_STATES)
def test_what_is_denied_to_the_patient_or_who_acts_for_it_by_name_tells_them_of_none(tmp_path_factory, name):
    """And what is denied to all others tells them of it."""
    caller, denials = NAMED_STATES[name]
    with worlds(tmp_path_factory, denials, caller) as pair:
        for path in (*ASKED, *THROUGH, *(f"Condition/secret{way}" for way in NAMED)):
            pair.same("GET", path)
        pair.walked("Patient/p1/*?_count=2")
        other = Worlds(pair.servers, GUARDIAN if caller is ITSELF else ITSELF)
        assert [answer.status_code for answer in other.ask("GET", "Condition/secret")] == [200, 404]


def changed(name: str, url: str, **request: str) -> dict:
    return {
        "resource": {**observation("new", "1-1", "2026"), **({"id": name} if name else {})},
        "request": {"url": url, **request},
    }


def test_writes_tell_of_none(fresh):
    """Conditions, tags, versions, references and rights: each first finds what is kept back, if it may."""
    new = {key: value for key, value in observation("new", "25836-8", "2026").items() if key != "id"}
    amend = [{"op": "replace", "path": "/status", "value": "amended"}]
    tag = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"tag": [{"code": "x"}]}}]}
    by = "identifier=urn:lab|secret-7"
    for condition_ in (by, "_id=secret", "code=25836-8&subject=Patient/p1", f"{by}&_id:not=o1"):
        for more in ({}, {"If_Match": 'W/"1"'}, {"If_None_Match": 'W/"1"'}):
            fresh.same("PATCH", f"Observation?{condition_}", amend, JSON_PATCH, **more)
            fresh.same("DELETE", f"Observation?{condition_}", **more)
    for name in ("Observation/secret", "Condition/secret", "Bundle/secret"):
        for more in ({}, {"If_Match": 'W/"1"'}, {"If_Match": 'W/"2"'}, {"If_None_Match": "*"}):
            fresh.same("PATCH", name, amend, JSON_PATCH, **more)
        fresh.same("POST", f"{name}/$meta-add", tag)
        fresh.same("POST", f"{name}/$meta-delete", tag)
    content = {"contentType": JSON_PATCH, "data": base64.b64encode(json.dumps(amend).encode()).decode()}
    patching = {"method": "PATCH", "url": "Observation/secret"}
    for row in (
        {"request": patching, "resource": {"resourceType": "Binary", **content}},
        {"request": {**patching, "ifMatch": 'W/"1"'}, "resource": {"resourceType": "Binary", **content}},
        {"request": {**patching, "ifMatch": 'W/"2"'}, "resource": {"resourceType": "Binary", **content}},
        {"request": {"method": "DELETE", "url": f"Observation?{by}"}},
        changed("", "Observation", method="POST", ifNoneExist=by),
        changed("", f"Observation?{by}", method="PUT"),
    ):
        for kind in ("batch", "transaction"):
            fresh.same("POST", "", {"resourceType": "Bundle", "type": kind, "entry": [row]})
    for more in (
        {"If_None_Exist": by},
        {"If_None_Exist": "_id=secret"},
        {"Prefer": "return=OperationOutcome", "If_None_Exist": by},
    ):
        fresh.same("POST", "Observation", new | {"identifier": MARKED["identifier"]}, **more)
    fresh.same("PUT", f"Observation?{by}", new | {"identifier": MARKED["identifier"]})
    letter = {"resourceType": "Bundle", "type": "collection", "identifier": LETTER["identifier"]}
    fresh.same("POST", "Bundle", letter, If_None_Exist="identifier=urn:letters|secret-7")
    fresh.same("PUT", "Bundle?identifier=urn:letters|secret-7", letter)
    for reference in (f"Observation?{by}", "Observation?_id=secret"):
        entry = {
            "resource": new | {"hasMember": [{"reference": reference}]},
            "request": {"method": "POST", "url": "Observation"},
        }
        fresh.same("POST", "", {"resourceType": "Bundle", "type": "transaction", "entry": [entry]})
    fresh.same("POST", "Binary", b"scan", "image/png", X_Security_Context="Condition/secret")
    fresh.walked("Observation?_sort=code&_count=3")


def test_a_deletion_tells_of_none(fresh):
    """Of a name that nobody has, the answer is that it is gone; so it is of one that is kept back, which stays."""
    names = NAMES
    for name in names:
        for more in ({}, {"If_Match": 'W/"1"'}, {"If_Match": 'W/"2"'}, {"Prefer": "return=OperationOutcome"}):
            fresh.same("DELETE", name, **more)
    rows = [{"request": {"method": "DELETE", "url": one}} for one in (*names, "Observation/never")]
    matching = [{"request": {"method": "DELETE", "url": names[0], "ifMatch": 'W/"1"'}}]
    for kind in ("batch", "transaction"):
        fresh.same("POST", "", {"resourceType": "Bundle", "type": kind, "entry": rows})
        fresh.same("POST", "", {"resourceType": "Bundle", "type": kind, "entry": matching})
    assert [fresh.servers[0].store.get(*name.split("/")).version for name in names] == [1] * len(names)
