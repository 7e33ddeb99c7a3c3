"""Requests that carry patients' words in every part that a client fills, and what the server makes of them.

What the server generates is kept: addresses, and texts of outcomes. What is the client's own, sent back because a
specification asks for it, is not: a Bundle's `self` link (FHIR R4 §3.1.1.6) and an export's `request` (Bulk Data §2.5).
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import stat
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote_plus, urlencode, urlsplit

import orjson

import sample_data
from medchain.crypto.assertion import encode_credential_key
from medchain.crypto.authenticator import SoftwareAuthenticator
from medchain.encoding import base64url
from tests.e2e.running_demo import RunningDemo, files_under, found_in, processes_of
from tests.e2e.running_node import Answer
from tests.waiting import eventually

FHIR = "application/fhir+json"
FORM = "application/x-www-form-urlencoded"
LARGE = 200
JOB_BYTES = 256 << 10
PAUSE_S = 0.002
WATCH_S = 0.1
ADDRESSES = ("location", "content-location", "link", "refresh")


@dataclass(frozen=True)
class Words:
    """What is known of one patient of the sample data: a name, an identifier, a telephone number, a text."""

    name: str
    identifier: str
    phone: str
    text: str


@dataclass
class Caller:
    """Asks one node as a client and as a person of the staff, and keeps what it generates."""

    host: str
    token: str
    cookie: str = ""
    statuses: list[int] = field(default_factory=list)
    made: list[str] = field(default_factory=list)

    def ask(
        self, method: str, path: str, body: object = None, kind: str = FHIR, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Ask over a connection of its own; a body that is no bytes is written as JSON."""
        named = {"Authorization": f"Bearer {self.token}"} if path.startswith("/fhir") else {"Cookie": self.cookie}
        named |= {"Content-Type": kind} if body is not None else {}
        data = orjson.dumps(body) if isinstance(body, dict | list) else body
        with closing(http.client.HTTPConnection(self.host, timeout=120)) as connection:
            connection.request(method, path, data, named | dict(headers or {}))
            got = connection.getresponse()
            answer = Answer(got.status, {name.lower(): value for name, value in got.getheaders()}, got.read())
        self.statuses.append(answer.status)
        self.made += [answer.headers[name] for name in ADDRESSES if name in answer.headers]
        self.made += generated(answer)
        return answer

    def page(self, path: str, form: dict[str, str] | None = None) -> Answer:
        """Open a page, or send its form."""
        if form is None:
            return self.ask("GET", path)
        return self.ask("POST", path, urlencode(form).encode(), FORM, {"Origin": f"http://{self.host}"})


def generated(answer: Answer) -> Iterator[str]:
    """List addresses and texts of outcomes that a server put into an answer's body."""
    kind = answer.headers.get("content-type", "")
    if kind.startswith("text/html"):
        yield from re.findall(r"""(?:href|src|action|url)=["']?([^"'> ]+)""", answer.body.decode())
    elif kind.startswith(("application/fhir+json", "application/json")):
        yield from _generated(orjson.loads(answer.body))


def _generated(value: object) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _generated(item)
    elif isinstance(value, dict):
        if value.get("resourceType") == "OperationOutcome" or isinstance(value.get("error"), str):
            yield json.dumps(value, ensure_ascii=False)
        elif value.get("resourceType") == "Bundle":
            yield from (one["url"] for one in value.get("link", ()) if one["relation"] != "self")
            for entry in value.get("entry", ()):
                answer = entry.get("response", {})
                yield from (entry.get("fullUrl", ""), answer.get("location", ""), *_generated(answer.get("outcome")))
                yield from _generated(entry.get("resource") if entry.get("search", {}).get("mode") == "outcome" else {})
        elif "output" in value:
            yield from (one["url"] for name in ("output", "error", "deleted") for one in value.get(name, ()))


def readable(text: str) -> bytes:
    """Write what somebody could read of an address: itself, unescaped, and what its parts are base64 of."""
    found = [text, unquote_plus(text)]
    for _, value in parse_qsl(urlsplit(text).query):
        for part in value.split("."):
            with suppress(ValueError):
                raw = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
                found.append(raw.decode("utf-8", "replace"))
    return "\n".join(found).encode()


def search_and_read(caller: Caller, words: Words) -> None:
    """Words in queries, paths, forms and headers, understood and not."""
    name, number = quote(words.name), quote(words.identifier)
    for query in (
        f"Patient?name={name}",
        f"Patient?identifier={number}&_sort=birthdate",
        f"Patient?telecom={quote(words.phone)}",
        f"Observation?patient.name={name}&_count=1",
        f"Observation?patient.identifier={number}&_count=1&_include=Observation:patient",
        f"Patient?_has:Observation:patient:code:text={quote(words.text)}&_count=1",
        f"Observation?code:text={quote(words.text)}&_count=1",
        f"Patient?{name}={number}&name:{name}=x&_sort={name}&_include={name}:{number}",
        f"Patient?birthdate={name}&_count={name}&_elements={name}",
        f"Patient?_format={name}",
        f"Patient?_cursor={name}",
        f"Patient/{number}",
        f"Patient/{name}/_history/{number}",
        f"Patient/{number}/$everything",
        f"Patient/{number}/{name}",
        f"{name}/{number}",
        f"${name}",
        f"$export-file/{number}",
        f"$export-status/{name}",
    ):
        for prefer in ("handling=lenient", "handling=strict"):
            caller.ask("GET", f"/fhir/{query}", headers={"Prefer": prefer, "X-Request-Id": words.identifier})
    for form in ({"name": words.name, "_count": "1"}, {"identifier": words.identifier, words.name: words.text}):
        caller.ask("POST", "/fhir/Patient/_search", urlencode(form).encode(), FORM)
        caller.ask(
            "POST",
            f"/fhir/Patient/_search?phone={quote(words.phone)}",
            urlencode(form).encode(),
            words.text.encode().hex(),
        )
    agent = {
        "User-Agent": words.identifier,
        "Referer": f"http://{words.identifier}/",
        "Origin": f"http://{words.phone}",
    }
    caller.ask("GET", "/fhir/metadata", headers=agent | {"Accept": words.identifier, "If-None-Match": words.phone})
    caller.ask("GET", f"/fhir/Patient?name={name}", headers={"Authorization": f"Bearer {words.identifier}"})


def write_wrongly(caller: Caller, words: Words) -> None:
    """Words in bodies and conditions that are refused."""
    name = quote(words.name)
    right = {"resourceType": "Patient", "name": [{"text": words.name}], "identifier": [{"value": words.identifier}]}
    for wrong in (
        right | {words.name: words.text},
        right | {"gender": words.name, "birthDate": words.identifier},
        right | {"generalPractitioner": [{"reference": f"Practitioner?identifier={name}"}]},
        right | {"managingOrganization": {"reference": words.text}},
        right | {"id": words.identifier, "contained": [{"resourceType": words.name, "id": words.name}]},
        right | {"resourceType": words.name},
        right | {"extension": [{"url": words.name, f"value{words.name}": words.text}]},
    ):
        caller.ask("POST", "/fhir/Patient", wrong)
        caller.ask("POST", "/fhir/Patient/$validate", wrong)
        row = {"resource": wrong, "request": {"method": "POST", "url": f"Patient?{words.name}"}}
        for kind in ("batch", "transaction"):
            caller.ask("POST", "/fhir", {"resourceType": "Bundle", "type": kind, "entry": [row]})
    text = orjson.dumps(right)
    caller.ask("POST", "/fhir/Patient", text[:-1])
    caller.ask("POST", "/fhir/Patient", text[:-1] + text[1:])
    caller.ask("POST", "/fhir/Patient", f"<Patient><{words.name}/>".encode(), "application/fhir+xml")
    patch = [{"op": "test", "path": f"/{words.name}", "value": words.text}]
    for method, path, body, kind in (
        ("PATCH", f"Patient?identifier={words.identifier}", patch, "application/json-patch+json"),
        ("PATCH", f"Patient/{words.identifier}", patch, "application/json-patch+json"),
        ("PUT", f"Patient?name={name}&birthdate={name}", right, FHIR),
        ("PUT", f"Patient/{name}", right, FHIR),
        ("DELETE", f"Patient?identifier={words.identifier}-none", None, FHIR),
        ("DELETE", f"Patient?{name}={name}", None, FHIR),
        (words.identifier, f"Patient/{name}", None, FHIR),
    ):
        caller.ask(method, f"/fhir/{path}", body, kind)
    caller.ask("POST", "/fhir/Patient", right, headers={"If-None-Exist": f"name={name}&{name}={name}"})
    caller.ask("POST", "/fhir/Binary", b"x", "text/plain", {"X-Security-Context": f"Patient/{words.identifier}"})


def look_at_pages(caller: Caller, words: Words) -> None:
    """Words on pages: in forms of who is signed in, and in addresses of who is not."""
    name, number = quote(words.name), quote(words.identifier)
    page = caller.page("/browse")
    csrf = re.search(r'name="csrf" value="([^"]+)"', page.body.decode())[1]
    for given in (
        {"step": "patient", "text": words.name},
        {"step": "patient", "text": words.identifier},
        {"step": "search", "type": "Observation", "query": f"code:text={words.text}"},
        {"step": "search", "type": "Patient", "query": f"{words.name}={words.text}"},
    ):
        found = caller.page("/browse/find", {"csrf": csrf} | given)
        for place in re.findall(r'href="(/browse/[^"]+)"', found.body.decode())[:3]:
            caller.page(place.replace("&amp;", "&"))
    signed_in, caller.cookie = caller.cookie, ""
    asked = {"client_id": words.identifier, "redirect_uri": f"https://{words.identifier}/", "login_hint": words.name}
    for path in (
        f"/browse?text={name}",
        f"/browse/Patient/{number}",
        f"/browse/{name}/{number}?cursor={name}",
        f"/account?next={name}",
        f"/sign-in?request={name}",
        f"/enrol?code={name}",
        f"/auth/consent?request={name}",
        f"/auth/authorize?{urlencode(asked)}",
        f"/{name}/{number}",
        f"/ledger/{name}",
    ):
        caller.page(path)
    caller.page("/browse/find", {"text": words.name})
    caller.page("/token", {"grant_type": words.name, "client_id": words.identifier, "code": words.text})
    caller.page("/auth/authorize", asked)
    caller.cookie = signed_in


def export(caller: Caller, words: Words) -> bytes:
    """Export everything, and the records of one patient; returns what the files hold."""
    content = b""
    for query in ("", f"?_type=Patient&_typeFilter={quote(f'Patient?name={words.name}')}"):
        begun = caller.ask("GET", f"/fhir/$export{query}", headers={"Prefer": "respond-async"})
        assert begun.status == 202, begun.body
        place = urlsplit(begun.headers["content-location"]).path
        assert eventually(lambda at=place: caller.ask("GET", at, headers={"Accept": "application/json"}).status == 200)
        told = caller.ask("GET", place, headers={"Accept": "application/json"}).document
        for row in told["output"]:
            content += caller.ask("GET", row["url"].partition(caller.host.partition(":")[2])[2]).body
    return content


def upload(caller: Caller, needles: list[bytes]) -> None:
    """Send a large file of patients' words, piece by piece."""
    page = b"\n".join(needles)
    pieces = ((page, threading.Event().wait(PAUSE_S))[0] for _ in range(LARGE))
    made = caller.ask("POST", "/fhir/Binary", pieces, "text/plain")
    assert made.status == 201, made.body
    read = caller.ask("GET", f"/fhir{made.headers['location'].partition('/fhir')[2]}", headers={"Accept": "text/plain"})
    assert read.body == page * LARGE


def sign_in(demo: RunningDemo, org_id: str, host: str) -> str:
    """Enrol a passkey for a clinician, over HTTP alone; returns the session's cookie."""
    words = ("account", "add", "reader", "--role", "clinician", "--display", "Dr Reader", "--json")
    told = json.loads(demo.run(*words, "--config", demo.folder / org_id / "node.toml"))
    code = re.search(r"[#=]([A-Za-z0-9_-]+)$", told["url"])[1]
    key, site = SoftwareAuthenticator(b"r" * 32, "localhost"), Caller(host, "")
    sent = {"Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
    begun = site.ask("POST", "/enrol/begin", {"code": code}, "application/json", sent).document
    data = {"type": "webauthn.create", "challenge": begun["challenge"], "origin": sent["Origin"], "crossOrigin": False}
    head = sha256(b"localhost").digest() + bytes((0x45,)) + bytes(20) + len(key.credential_id).to_bytes(2, "big")
    made = {
        "authenticator_data": base64url(head + key.credential_id + encode_credential_key(key.credential)),
        "begun": begun["begun"],
        "client_data": base64url(json.dumps(data).encode()),
        "code": code,
    }
    done = site.ask("POST", "/enrol/finish", made, "application/json", sent)
    assert done.status == 200, done.body
    return done.headers["set-cookie"].partition(";")[0]


def flow(demo: RunningDemo, org_id: str, needles: list[bytes]) -> Caller:
    """Do all of it at a hospital's node; returns who did, with what the node generated."""
    host = f"localhost:{demo.said['nodes'][org_id]['web'].rpartition(':')[2]}"
    caller = Caller(host, demo.token(org_id, "system/*.cruds"), sign_in(demo, org_id, host))
    bundles = {name: text for name, text in sample_data.read(demo.data) if name.startswith(f"{org_id}.p")}
    words = words_of(orjson.loads(next(iter(bundles.values()))))
    search_and_read(caller, words)
    write_wrongly(caller, words)
    look_at_pages(caller, words)
    # A transaction above 256 KiB goes through another process.
    entries = [entry for text in sorted(bundles.values(), key=len)[-3:] for entry in orjson.loads(text)["entry"]]
    large = orjson.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert len(large) > JOB_BYTES
    assert caller.ask("POST", "/fhir", large).status == 200
    upload(caller, needles)
    assert len(found_in(export(caller, words), needles)) > LARGE
    # The audit of all this becomes records, and they are searched.
    assert caller.ask("GET", "/fhir/AuditEvent?_summary=count").status == 200
    # It was understood, refused, and not found: each part has done its work.
    assert {200, 201, 202, 303, 400, 401, 404, 406, 415, 422} <= set(caller.statuses)
    return caller


def words_of(bundle: dict) -> Words:
    """Choose what is known of the patient of a bundle."""
    resources = [entry["resource"] for entry in bundle["entry"]]
    patient = next(one for one in resources if one["resourceType"] == "Patient")
    text = next(
        one["code"]["text"] for one in resources if one["resourceType"] == "Observation" and "text" in one["code"]
    )
    return Words(patient["name"][0]["text"], patient["identifier"][0]["value"], patient["telecom"][0]["value"], text)


class Watch(threading.Thread):
    """Looks, while others work, into every file that a demo's processes have open elsewhere, and into their TMPDIR.

    A file that has no name any more is seen through the process that has it open.
    """

    def __init__(self, demo: RunningDemo, needles: list[bytes]) -> None:
        """Prepare."""
        super().__init__(daemon=True)
        self._demo = demo
        self._needles = needles
        self._over = threading.Event()
        self.found: dict[str, list[str]] = {}
        self.rounds = 0

    def run(self) -> None:
        """Look until it is over, and once more."""
        while not self._over.wait(WATCH_S):
            self._look()
        self._look()

    def stop(self) -> dict[str, list[str]]:
        """End; returns what was found: file → words."""
        self._over.set()
        self.join()
        return self.found

    def _look(self) -> None:
        self.rounds += 1
        for path in (*self._opened(), *files_under(self._demo.temporary)):
            with suppress(OSError):
                hits = found_in(path.read_bytes(), self._needles)
                if hits:
                    self.found[str(path)] = hits

    def _opened(self) -> Iterator[Path]:
        for pid in processes_of(self._demo.folder):
            with suppress(OSError):
                for one in Path(f"/proc/{pid}/fd").iterdir():
                    with suppress(OSError):
                        target = str(one.readlink())
                        is_own = target.startswith((f"{self._demo.folder}/", sys.prefix, sys.base_prefix))
                        is_gone = target.endswith(" (deleted)")
                        if stat.S_ISREG(one.stat().st_mode) and (is_gone or not is_own):
                            yield one
