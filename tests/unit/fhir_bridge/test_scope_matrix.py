"""Scope by interaction by compartment, generated, over HTTP with real authorisations: deny by default.

What must come out is said by `scope_oracle`. Where the specification leaves open whether `r` or `s` is what something
needs (includes, chains, exports), one of them is the least and both are enough.
"""

from __future__ import annotations

import base64
import json
import secrets
from itertools import count, product

import orjson
import pytest
from werkzeug.test import TestResponse

from fhir_bridge.smart.authorisation import Authorisation, authorisation_document
from fhir_bridge.smart.clients import Client, client_document
from fhir_bridge.smart.scopes import parse_scopes
from medchain.store.authorisations import Grant
from tests.unit.fhir_bridge.conftest import NOW
from tests.unit.fhir_bridge.scope_oracle import Granted, Target

TARGETS = [Target(*one) for one in product(("p1", "p2", ""), ("laboratory", "vital-signs"))]
TAG = {"system": "urn:x", "code": "gone"}
TAGS = ({"system": "urn:x", "code": str(number)} for number in count())
LETTERS = ("c", "r", "u", "d", "s", "rs", "ru", "cruds")
CONTEXTS = [("patient", "p1"), ("patient", ""), ("user", "p1"), ("system", "")]
# Beside the scope under test: what includes, chains and compartments come from.
AROUND = "{0}/Patient.rs {0}/DiagnosticReport.rs {0}/List.rs"
# In the context of a patient, `p1` owns its report; a report without a patient is seen by nobody there.
REFUSED = (403, 404)


def report(target: Target) -> dict:
    about = {"subject": {"reference": f"Patient/{target.patient}"}} if target.patient else {}
    result = [{"reference": f"Observation/{target.id}"}]
    base = {"resourceType": "DiagnosticReport", "id": f"of-{target.id}", "status": "final", "code": {"text": "x"}}
    return base | about | {"result": result}


def listed(target: Target) -> dict:
    about = {"subject": {"reference": f"Patient/{target.patient}"}} if target.patient else {}
    entry = [{"item": {"reference": f"Observation/{target.id}"}}]
    base = {"resourceType": "List", "id": f"l-{target.id}", "status": "current", "mode": "working"}
    return base | about | {"entry": entry}


@pytest.fixture
def ward(server):
    """Two patients; observations of both and of nobody, each with a report that has it as a result, and a list."""
    for name in ("p1", "p2"):
        assert server.call("PUT", f"/fhir/Patient/{name}", {"resourceType": "Patient", "id": name}).status_code == 201
    for one in TARGETS:
        assert server.call("PUT", f"/fhir/Observation/{one.id}", one.resource).status_code == 201
        assert server.call("PUT", f"/fhir/DiagnosticReport/of-{one.id}", report(one)).status_code == 201
        assert server.call("PUT", f"/fhir/List/l-{one.id}", listed(one)).status_code == 201
    return server


class Caller:
    """Calls with one token."""

    def __init__(self, server, granted: Granted, more: str = "") -> None:
        """Get a token for what was granted: by an authorisation of a person, or as a system."""
        self.client, self.server = server.client, server
        scopes = parse_scopes(f"{granted.text} {AROUND} {more}".strip().replace("{0}", granted.context))
        accounts, grant_id = server.parts.accounts, ""
        if granted.context != "system":
            grant_id = secrets.token_hex(16)
            if accounts.client("app") is None:
                most = parse_scopes("patient/*.cruds user/*.cruds")
                accounts.put_client("app", client_document(Client("app", most, redirects=("https://a.example/",))), NOW)
            known = Authorisation(scopes, frozenset(), "Practitioner/17", "clinician", patient=granted.launch)
            accounts.put_grant(
                Grant(grant_id, "app", "wang", None, authorisation_document(known), NOW, NOW + 3600, None)
            )
        self.token = server.tokens.issue("test" if not grant_id else "app", scopes, grant=grant_id)

    def __call__(
        self, method: str, path: str, body: object = None, kind: str = "application/fhir+json", **headers: str
    ) -> TestResponse:
        """Call."""
        sent = {"Authorization": f"Bearer {self.token}"} | {
            name.replace("_", "-"): row for name, row in headers.items()
        }
        data = None if body is None else json.dumps(body).encode()
        return self.client.open(f"/fhir/{path}", method=method, data=data, headers=sent | {"Content-Type": kind})

    def found(self, path: str) -> set[str]:
        """Name what a search, history or $everything shows; nothing where it is refused."""
        return self.shown(self("GET", path))

    def posted(self, path: str, form: str) -> set[str]:
        """Name what a search by POST shows."""
        sent = {"Authorization": f"Bearer {self.token}"}
        form_type = "application/x-www-form-urlencoded"
        return self.shown(self.client.post(f"/fhir/{path}", data=form, headers=sent, content_type=form_type))

    def bundled(self, kind: str, url: str, method: str = "GET", **more: object) -> dict:
        """Ask by the one entry of a Bundle; returns the entry of the answer, empty where all of it is refused."""
        row = {"request": {"method": method, "url": url}} | more
        answer = self("POST", "", {"resourceType": "Bundle", "type": kind, "entry": [row]})
        assert answer.status_code in (200, *REFUSED), answer.data
        return orjson.loads(answer.data)["entry"][0] if answer.status_code == 200 else {}

    @staticmethod
    def shown(answer: TestResponse) -> set[str]:
        """Name the resources of a Bundle."""
        if answer.status_code != 200:
            assert answer.status_code in REFUSED, answer.data
            return set()
        rows = orjson.loads(answer.data).get("entry", [])
        return {f"{row['resource']['resourceType']}/{row['resource']['id']}" for row in rows if "resource" in row}


def reading(call: Caller, target: Target, granted: Granted) -> dict[str, tuple[bool, bool, bool]]:
    """Look at a target on every way: way → seen, allowed at most, allowed at least."""
    name, r, s = f"Observation/{target.id}", granted.allows("r", target), granted.allows("s", target)
    around = granted.context != "patient" or (granted.launch != "" and target.patient == granted.launch)
    counted = call("GET", f"Observation?_id={target.id}&_summary=count")
    asked = call.bundled("batch", f"Observation?_id={target.id}").get("resource", {})
    ways = {
        "read": (call("GET", name).status_code == 200, r, r),
        "head": (call("HEAD", name).status_code == 200, r, r),
        "read if it was changed": (call("GET", name, If_None_Match='W/"0"').status_code == 200, r, r),
        "read if it was not": (call("GET", name, If_None_Match=etag(call, target)).status_code == 304, r, r),
        "$meta": (call("GET", f"{name}/$meta").status_code == 200, r, r),
        "$meta of a version": (call("GET", f"{name}/_history/1/$meta").status_code == 200, r, r),
        "$validate": (call("GET", f"{name}/$validate").status_code == 200, r, r),
        "$proof": (call("GET", f"{name}/$proof").status_code == 200, r, r),
        "transaction": (bool(call.bundled("transaction", name).get("resource")), r, r),
        "search by POST": (name in call.posted("Observation/_search", f"_id={target.id}"), s, s),
        "search of all by POST": (name in call.posted("_search", "_type=Observation&_count=50"), s, s),
        "search in a batch": (any(row["resource"]["id"] == target.id for row in asked.get("entry", [])), s, s),
        "count": (counted.status_code == 200 and orjson.loads(counted.data)["total"] == 1, s, s),
        "_list": (name in call.found(f"Observation?_list=l-{target.id}"), around and s, around and s),
        "vread": (call("GET", f"{name}/_history/1").status_code == 200, r, r),
        "history": (call("GET", f"{name}/_history").status_code == 200, r, r),
        "batch": (call.bundled("batch", name).get("response", {}).get("status", "").startswith("200"), r, r),
        "search": (name in call.found(f"Observation?_id={target.id}"), s, s),
        "search of all": (name in call.found("Observation?_count=50"), s, s),
        "history of the type": (name in call.found("Observation/_history?_count=99"), r or s, r and s),
        "history of all": (name in call.found("_history?_count=99"), r or s, r and s),
    }
    chained = f"DiagnosticReport?result._id={target.id}"
    included = f"DiagnosticReport?_id=of-{target.id}&_include=DiagnosticReport:result"
    every = f"DiagnosticReport?_id=of-{target.id}&_include=*"
    again = f"List?_id=l-{target.id}&_include:iterate=*"
    ways["_include=*"] = (name in call.found(every), around and (r or s), around and r and s)
    ways["_include:iterate"] = (name in call.found(again), around and (r or s), around and r and s)
    ways["_include"] = (name in call.found(included), around and (r or s), around and r and s)
    ways["chain"] = (bool(call.found(chained)), around and (r or s), around and r and s)
    if target.patient:
        owner = f"Patient/{target.patient}"
        has = f"Patient?_has:Observation:patient:_id={target.id}"
        ways["_has"] = (owner in call.found(has), around and (r or s), around and r and s)
        everything = call.found(f"{owner}/$everything")
        ways["$everything"] = (name in everything, around and (r or s), around and r and s)
        ways["compartment"] = (name in call.found(f"{owner}/Observation"), s, s)
        ways["all of a compartment"] = (name in call.found(f"{owner}/*?_count=50"), s, s)
        every = f"Patient?_id={target.patient}&_revinclude=*"
        ways["_revinclude=*"] = (name in call.found(every), around and (r or s), around and r and s)
        reverse = f"Patient?_id={target.patient}&_revinclude=Observation:patient"
        ways["_revinclude"] = (name in call.found(reverse), around and (r or s), around and r and s)
    return ways


def etag(call: Caller, target: Target) -> str:
    """Name the newest version, as somebody may know it from elsewhere."""
    return f'W/"{version(call.server, target)}"'


def version(server, target: Target) -> int:
    return server.store.newest_version("Observation", target.id)


def writing(server, call: Caller, target: Target, granted: Granted) -> dict[str, tuple[bool, bool, bool]]:
    """Change a target on every way: way → changed, allowed at most, allowed at least."""
    name, ways = f"Observation/{target.id}", {}
    condition = f"Observation?_id={target.id}"
    r, s = granted.allows("r", target), granted.allows("s", target)
    found, both = r or s, r and s

    def change(way: str, at_most: bool, at_least: bool, *asked: object, **more: str) -> None:
        before = version(server, target)
        answer = call(*asked, **more)
        changed = version(server, target) > before
        # A conditional delete that finds nothing is done (FHIR R4 §3.1.0.7.1), and says no more than that.
        found_nothing = way == "conditional delete" and (answer.status_code, answer.data) == (204, b"")
        assert changed == (answer.status_code < 300) or found_nothing, (way, granted.text, target, answer.status_code)
        ways[way] = (changed, at_most, at_least)
        if changed and server.call("GET", f"/fhir/{name}").status_code == 410:
            assert server.call("PUT", f"/fhir/{name}", target.resource).status_code == 201

    u, d = granted.allows("u", target), granted.allows("d", target)
    row = {"resource": target.resource, "request": {"method": "PUT", "url": name}}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [row]}
    patch = [{"op": "replace", "path": "/status", "value": "amended"}]
    json_patch = "application/json-patch+json"
    change("update", u, u, "PUT", name, target.resource)
    change("update in a transaction", u, u, "POST", "", bundle)
    change("conditional update", u and found, u and both, "PUT", condition, target.resource)
    change("patch", u, u and granted.allows("r", target), "PATCH", name, patch, kind=json_patch)
    change("patch in a transaction", u, u and r, "POST", "", of_patch("transaction", name))
    change("conditional patch", u and found, u and both, "PATCH", condition, patch, kind=json_patch)
    meta = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"tag": [next(TAGS)]}}]}
    change("$meta-add", u, u and r, "POST", f"{name}/$meta-add", meta)
    gone = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"tag": [TAG]}}]}
    assert server.call("POST", f"/fhir/{name}/$meta-add", gone).status_code == 200
    change("$meta-delete", u, u and r, "POST", f"{name}/$meta-delete", gone)
    change("delete", d, d, "DELETE", name)
    change("conditional delete", d and found, d and both, "DELETE", condition)
    row = {"request": {"method": "DELETE", "url": name}}
    change("delete in a transaction", d, d, "POST", "", bundle | {"entry": [row]})
    return ways


def of_patch(kind: str, url: str) -> dict:
    """Write a Bundle that patches."""
    content = base64.b64encode(b'[{"op":"replace","path":"/status","value":"amended"}]').decode()
    binary = {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": content}
    row = {"resource": binary, "request": {"method": "PATCH", "url": url}}
    return {"resourceType": "Bundle", "type": kind, "entry": [row]}


def creating(server, call: Caller, target: Target, granted: Granted) -> dict[str, tuple[bool, bool, bool]]:
    """Make another one like a target: way → made, or told of a match; allowed at most, allowed at least."""
    new = {key: value for key, value in target.resource.items() if key != "id"}
    c, found = granted.allows("c", target), granted.allows("r", target) or granted.allows("s", target)
    before = server.store.count()
    answer = call("POST", "Observation", new)
    assert (server.store.count() > before) == (answer.status_code == 201)
    ways = {"create": (answer.status_code == 201, c, c)}
    answer = call("POST", "Observation", new, If_None_Exist=f"_id={target.id}")
    has_c = "c" in granted.letters
    ways["conditional create"] = (answer.status_code == 200, has_c and found, c and granted.allows("rs", target))
    assert answer.status_code in (200, 201, *REFUSED)
    before = server.store.count()
    told = call.bundled("batch", "Observation", "POST", resource=new).get("response", {}).get("status", "")
    assert (server.store.count() > before) == told.startswith("201")
    ways["create in a batch"] = (told.startswith("201"), c, c)
    return ways


@pytest.mark.parametrize("category", ["", "laboratory"], ids=["whole", "constrained"])
@pytest.mark.parametrize(("context", "launch"), CONTEXTS, ids=["patient", "no-patient", "user", "system"])
def test_every_way_gives_what_the_scope_allows_and_nothing_else(ward, context, launch, category):
    judged, wrong = 0, []
    for letters in LETTERS:
        granted = Granted(context, letters, category, launch)
        call = Caller(ward, granted)
        for target in TARGETS:
            ways = reading(call, target, granted)
            ways |= writing(ward, call, target, granted)
            ways |= creating(ward, call, target, granted)
            judged += len(ways)
            for way, (given, at_most, at_least) in ways.items():
                if (given and not at_most) or (at_least and not given):
                    wrong.append((granted.text, launch, target.id, way, given, at_most, at_least))
    assert wrong == []
    assert judged == len(LETTERS) * (39 * len(TARGETS) + 6 * 4)


EXPORTS = {
    "system": ("$export", ("p1", "p2", "")),
    "patients": ("Patient/$export", ("p1", "p2")),
    "group": ("Group/g1/$export", ("p2",)),
}


@pytest.mark.parametrize("way", EXPORTS)
@pytest.mark.parametrize("category", ["", "laboratory"], ids=["whole", "constrained"])
@pytest.mark.parametrize(("context", "launch"), CONTEXTS, ids=["patient", "no-patient", "user", "system"])
def test_an_export_holds_what_the_scope_allows_and_nothing_else(ward, context, launch, category, way):
    members = [{"entity": {"reference": "Patient/p2"}}]
    group = {"resourceType": "Group", "id": "g1", "type": "person", "actual": True, "member": members}
    assert ward.call("PUT", "/fhir/Group/g1", group).status_code == 201
    path, patients = EXPORTS[way]
    for letters in LETTERS:
        granted = Granted(context, letters, category, launch)
        call = Caller(ward, granted, "{0}/Group.r")
        begun = call("GET", f"{path}?_type=Observation", Prefer="respond-async")
        lines: set[str] = set()
        if begun.status_code == 202:
            told = orjson.loads(call("GET", begun.headers["Content-Location"].partition("/fhir/")[2]).data)
            for row in told["output"]:
                content = call("GET", row["url"].partition("/fhir/")[2]).data
                lines |= {orjson.loads(line)["id"] for line in content.splitlines()}
        else:
            assert begun.status_code in REFUSED
        allowed = {one.id for one in TARGETS if granted.allows("rs", one) and one.patient in patients}
        assert lines <= allowed, granted.text
        if context == "system":
            assert lines == allowed, granted.text


def test_without_a_token_and_without_a_scope_of_the_type_nothing_is_given(ward):
    for target in TARGETS:
        bare = ward.client.get(f"/fhir/Observation/{target.id}")
        assert bare.status_code == 401
        for scope in ("system/Patient.cruds", "user/DiagnosticReport.cruds", "patient/*.cruds"):
            for method, body in (("GET", None), ("PUT", target.resource), ("DELETE", None)):
                refused = ward.call(method, f"/fhir/Observation/{target.id}", body, scope=scope)
                assert refused.status_code in REFUSED, (scope, method)
    assert {version(ward, one) for one in TARGETS} == {1}
