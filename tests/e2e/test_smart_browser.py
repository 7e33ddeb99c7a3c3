"""Both launch sequences and backend services, in a real browser and with fhirclient, the SMART library of others."""

from __future__ import annotations

import base64
import hashlib
import html
import http.server
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from medchain.node.clock import system_clock
from tests.children import child
from tests.e2e.browser import Browser, is_there
from tests.e2e.running_demo import STOP_S
from tests.e2e.test_command_line import START_S, medchain
from tests.ports import free_ports

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not is_there(), reason="needs Debian's chromium and chromium-driver (`make browser`)"),
]

# How long a token may count after its authorisation has ended (`docs/spec/smart.md` 17), and a little more.
COUNTS_S = 2.5
ROOT = Path(__file__).resolve().parents[2]
LIBRARY = "fhirclient@2.6.3"
LIBRARY_SHA512 = (
    "0a2ad98b173059e95b9085f1a7194d431e7e65d262ae5e85d6ce32e32bc0d57e"
    "e11c092bf67f7d6951da322d305fef7b9c04e3290eb95fa341e5ab3fc19a09ce"
)
LAUNCH_PAGE = """<!doctype html><meta charset="utf-8"><title>launch</title><script src="fhir-client.js"></script>
<script>FHIR.oauth2.authorize({clientId: "growth", redirectUri: "index.html", scope: new URLSearchParams(
location.search).get("launch") ? "launch openid fhirUser patient/*.rs" :
"launch/patient openid fhirUser offline_access patient/*.read"})</script>"""
INDEX_PAGE = """<!doctype html><meta charset="utf-8"><title>app</title><script src="fhir-client.js"></script><pre></pre>
<script>FHIR.oauth2.ready().then(async (client) => {
  const patient = await client.patient.read();
  const found = await client.request("Observation?patient=" + client.patient.id, {flat: true});
  const other = await client.request("Patient/p2").then(() => "read", (error) => "refused");
  const refreshed = client.state.tokenResponse.refresh_token ? (await client.refresh()).tokenResponse : null;
  document.querySelector("pre").textContent = "DONE " + JSON.stringify({patient: patient.id, user: client.user.fhirUser,
    observations: found.map((one) => one.id), other, encounter: client.encounter.id,
    scope: client.state.tokenResponse.scope, banner: client.state.tokenResponse.need_patient_banner,
    refreshed: Boolean(refreshed && refreshed.access_token)});
}).catch((error) => { document.querySelector("pre").textContent = "FAILED " + error; })</script>"""


@dataclass
class Site:
    """A node, and an application at an address of its own, where its pages lie in a folder."""

    folder: Path
    config: Path
    url: str
    app: str
    pages: Path

    def call(self, path: str, form: dict | None = None, *, body: object = None, token: str = "") -> dict:
        headers = {"Content-Type": "application/x-www-form-urlencoded" if form else "application/fhir+json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        data = urllib.parse.urlencode(form).encode() if form else None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(self.url + path, data, headers)  # noqa: S310  # our own node
        with urllib.request.urlopen(asked, timeout=60) as answer:  # noqa: S310  # as above
            return json.loads(answer.read() or b"{}")

    def put(self, path: str, body: dict, token: str) -> None:
        headers = {"Content-Type": "application/fhir+json", "Authorization": f"Bearer {token}"}
        asked = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers, method="PUT")  # noqa: S310  # our own
        with urllib.request.urlopen(asked, timeout=60) as answer:  # noqa: S310  # as above
            assert answer.status in (200, 201)


def library(folder: Path) -> bytes:
    """Get fhirclient from the npm registry, checked against its hash."""
    kept = ROOT / "var" / "npm"
    kept.mkdir(parents=True, exist_ok=True)
    packed = kept / (LIBRARY.replace("@", "-") + ".tgz")
    if not packed.is_file():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("needs npm for fhirclient")
        subprocess.run([npm, "pack", LIBRARY, "--pack-destination", folder], check=True, capture_output=True)
        shutil.move(folder / packed.name, packed)
    assert hashlib.sha512(packed.read_bytes()).hexdigest() == LIBRARY_SHA512
    with tarfile.open(packed) as archive:
        member = archive.extractfile("package/build/fhir-client.js")
        assert member is not None
        return member.read()


ANSWER_PAGE = """<!doctype html><meta charset="utf-8"><title>answer</title><pre></pre>
<script>document.querySelector("pre").textContent = "ANSWER " + location.search</script>"""
HOSTILE_PAGE = """<!doctype html><meta charset="utf-8"><title>hostile</title>%s"""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@contextmanager
def application(folder: Path) -> Iterator[str]:
    """Serve the application, at an address that is another site to a browser."""
    (folder / "fhir-client.js").write_bytes(library(folder))
    (folder / "launch.html").write_text(LAUNCH_PAGE)
    (folder / "index.html").write_text(INDEX_PAGE)
    (folder / "answer.html").write_text(ANSWER_PAGE)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("smart")
    peer, web = free_ports(2, folder)
    config = folder / "renhe-hospital" / "node.toml"
    url = f"http://localhost:{web}"
    words = (
        "--role",
        "hospital",
        "--name-zh",
        "仁和医院",
        "--name-en",
        "Renhe Hospital",
        "--url",
        f"http://127.0.0.1:{peer}",
    )
    listens = ("--peer-listen", f"127.0.0.1:{peer}", "--web-listen", f"127.0.0.1:{web}")
    medchain("init", config.parent, "--org-id", "renhe-hospital", *words, *listens)
    genesis = folder / "genesis.json"
    names = ("--name", "localhost/smart", "--orderer", "renhe-hospital", "--rp-id", "localhost", "--demo")
    member = config.parent / "member.json"
    proposed = medchain(
        "join", "propose", member, *names, "--sign-origin", "http://localhost:1", "--out", genesis, "--json"
    )
    medchain("join", "sign", genesis, "--out", folder / "r.p", "--config", config)
    ledger = json.loads(proposed)["ledger"]
    medchain("join", "start", genesis, folder / "r.p", "--ledger", ledger, "--config", config)
    os.environ["MEDCHAIN_WEB_ORIGIN"] = url
    run = ("node", "run", "--config", config, "--set", "web.workers=2", "--set", "node.stop_timeout_s=5")
    node = child([sys.executable, "-m", "medchain.cli", *map(str, run)])
    try:
        pages = tmp_path_factory.mktemp("app")
        with application(pages) as app:
            made = Site(folder, config, url, app, pages)
            wait_until_ready(made)
            fill(made)
            yield made
    finally:
        del os.environ["MEDCHAIN_WEB_ORIGIN"]
        node.send_signal(signal.SIGTERM)
        node.wait(STOP_S)


def wait_until_ready(site: Site) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            site.call("/readyz")
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


def fill(site: Site) -> None:
    """Register the applications and store two patients."""
    redirects = ("--redirect", f"{site.app}/index.html", "--launch-uri", f"{site.app}/launch.html")
    redirects += ("--redirect", f"{site.app}/answer.html")
    scopes = ("--scope", "patient/*.rs", "--scope", "user/*.rs")
    medchain("client", "add", "growth", "--name", "Growth Chart", *redirects, *scopes, "--config", site.config)
    for name, key in KEYS.items():
        (site.folder / f"{name}.jwk").write_text(json.dumps(key.as_dict(private=False)))
        rights = ("--right", "launch") if name == "ehr" else ()
        words = ("--jwk", site.folder / f"{name}.jwk", "--scope", "system/*.cruds", *rights, "--config", site.config)
        medchain("client", "add", name, *words)
    token = backend(site, "ehr")["access_token"]
    for patient, name in (("p1", "王芳"), ("p2", "李雷")):
        identifier = [{"system": "urn:mrn", "value": f"MRN-{patient}"}]
        resource = {"resourceType": "Patient", "id": patient, "name": [{"text": name}], "identifier": identifier}
        site.put(f"/fhir/Patient/{patient}", resource | {"birthDate": "1980-01-02"}, token)
        observation = {"resourceType": "Observation", "id": f"o-{patient}", "status": "final", "code": {"text": "x"}}
        site.put(
            f"/fhir/Observation/o-{patient}", observation | {"subject": {"reference": f"Patient/{patient}"}}, token
        )


KEYS = {"ehr": ECKey.generate_key("P-384"), "lab": RSAKey.generate_key(2048)}
ALGORITHMS = {"ehr": "ES384", "lab": "RS384"}


def shown_by(site: Site, name: str) -> dict:
    """Write what a system asks a token with, as SMART Backend Services say."""
    address = site.call("/fhir/.well-known/smart-configuration")["token_endpoint"]
    claims = {"iss": name, "sub": name, "aud": address, "exp": system_clock() + 60, "jti": secrets.token_hex(8)}
    signed = jwt.encode({"alg": ALGORITHMS[name]}, claims, KEYS[name], algorithms=[ALGORITHMS[name]])
    kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    form = {"grant_type": "client_credentials", "scope": "system/*.cruds", "client_assertion_type": kind}
    return form | {"client_assertion": signed}


def backend(site: Site, name: str) -> dict:
    """Get a token."""
    return site.call("/token", shown_by(site, name))


@pytest.mark.parametrize("name", list(KEYS))
def test_backend_services_get_tokens_with_either_algorithm(site, name):
    token = backend(site, name)
    assert (token["token_type"], token["expires_in"], token["scope"]) == ("Bearer", 300, "system/*.cruds")
    assert site.call("/fhir/Patient/p1", token=token["access_token"])["id"] == "p1"


@pytest.fixture(scope="module")
def browser(site, tmp_path_factory) -> Iterator[Browser]:
    """A browser whose user has enrolled a passkey."""
    made = Browser(tmp_path_factory.mktemp("browser"))
    try:
        made.add_authenticator()
        words = ("--role", "clinician", "--display", "Dr Wang", "--fhir-user", "Practitioner/17")
        told = medchain("account", "add", "wang", *words, "--config", site.config, "--json")
        made.open(json.loads(told)["url"])
        made.click("[data-passkey=enrol] button")
        made.wait_until("Dr Wang")
        yield made
    finally:
        made.close()


def outcome(browser: Browser) -> dict:
    text = browser.wait_until("DONE")
    return json.loads(text.partition("DONE ")[2])


def test_a_standalone_launch_with_fhirclient(site, browser):
    pictures = Path(os.environ.get("MEDCHAIN_PICTURES", site.folder))
    browser.click("form[action='/sign-out'] button")
    browser.wait_for("[data-passkey=sign-in] button")
    browser.open(f"{site.app}/launch.html?iss={site.url}/fhir")
    browser.wait_for("[data-passkey=sign-in] button")
    shots(browser, pictures, "sign-in")
    browser.click("[data-passkey=sign-in] button")
    browser.wait_for("#patient-search")
    shots(browser, pictures, "consent")
    browser.type("#patient-search", "MRN-p1")
    browser.click("button[value=find]")
    browser.wait_until("王芳")
    browser.click("button[value=allow]")
    found = outcome(browser)
    assert found["patient"] == "p1"
    assert found["user"] == "Practitioner/17"
    assert found["observations"] == ["o-p1"]
    assert found["other"] == "refused"
    assert found["banner"] is True
    assert found["refreshed"] is True
    assert "patient/*.read" in found["scope"]


def test_a_launch_from_the_record_system_with_fhirclient(site, browser):
    document = {"client": "growth", "patient": "p1", "user": "wang", "need_patient_banner": False}
    launch = site.call("/auth/launch", body=document, token=backend(site, "ehr")["access_token"])
    browser.open(launch["url"])
    browser.click("button[value=allow]")
    found = outcome(browser)
    assert (found["patient"], found["other"], found["banner"]) == ("p1", "refused", False)
    browser.open(launch["url"])
    assert "FAILED" in browser.wait_until("FAILED")


def test_what_was_authorised_can_be_seen_and_taken_back(site, browser):
    browser.open(f"{site.url}/account")
    browser.wait_until("Growth Chart")
    shots(browser, Path(os.environ.get("MEDCHAIN_PICTURES", site.folder)), "account")
    browser.click("form[action='/account/revoke'] button")
    browser.wait_for("form[action='/sign-out'] button")


def test_the_session_cookie_is_out_of_reach_of_scripts(site, browser):
    browser.open(f"{site.url}/account")
    assert browser.script("return document.cookie") == ""


def shots(browser: Browser, folder: Path, name: str) -> None:
    """Take pictures in both languages at the sizes of a desk and a phone; nothing stands out to the side."""
    place = browser.url.partition("#")[0]
    for language, word in (("zh", "English"), ("en", "中文")):
        browser.open(f"{place}{'&' if '?' in place else '?'}lang={language}")
        browser.wait_until(word)
        for kind, width, height in (("desk", 1280, 900), ("phone", 390, 844)):
            browser.resize(width, height)
            browser.picture(folder / f"{name}-{language}-{kind}.png")
            assert browser.script("return document.documentElement.scrollWidth") <= width
    browser.resize(1280, 900)


VERIFIER = secrets.token_urlsafe(32)
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


def request_of(site: Site, **changes: str) -> str:
    """Write the address at which an application asks, of which nothing is done for it by a library."""
    asked = {
        "response_type": "code",
        "client_id": "growth",
        "redirect_uri": f"{site.app}/answer.html",
        "scope": "launch/patient openid offline_access patient/Observation.rs",
        "state": secrets.token_hex(16),
        "nonce": secrets.token_hex(16),
        "aud": f"{site.url}/fhir",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    return f"{site.url}/auth/authorize?{urllib.parse.urlencode(asked | changes)}"


def answer_of(browser: Browser) -> dict[str, str]:
    """Read what the application is told at its address."""
    query = browser.wait_until("ANSWER").partition("ANSWER ?")[2].strip()
    return dict(urllib.parse.parse_qsl(query))


def allow(browser: Browser) -> dict[str, str]:
    """Choose the patient and agree."""
    browser.type("#patient-search", "MRN-p1")
    browser.click("button[value=allow]")
    return answer_of(browser)


def refused(site: Site, path: str, form: dict | None = None, *, token: str = "") -> tuple[int, str]:
    """Call what is to be refused; returns the status and OAuth's error, empty for none."""
    with pytest.raises(urllib.error.HTTPError) as told:
        site.call(path, form, token=token)
    with told.value as error:
        return error.code, json.loads(error.read()).get("error", "")


def turned_in(code: str, site: Site, **changes: str) -> dict[str, str]:
    """Write what an application sends for its code."""
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": f"{site.app}/answer.html"}
    return form | {"client_id": "growth", "code_verifier": VERIFIER} | changes


def hostile(site: Site, browser: Browser, content: str) -> None:
    """Open a page of another site, at an address that the browser has kept nothing of."""
    name = f"hostile-{secrets.token_hex(8)}.html"
    (site.pages / name).write_text(HOSTILE_PAGE % content)
    browser.open(f"{site.app}/{name}")


@pytest.fixture
def signed_in(site, browser) -> Browser:
    """See that the person is signed in, as she was before."""
    browser.open(f"{site.url}/account")
    browser.wait_until("Dr Wang")
    return browser


def test_attack_a_page_of_another_site_frames_the_decision(site, signed_in):
    """RFC 6749 §10.13: nobody clicks what a frame hides. A frame of its own shows that frames are looked into."""
    signed_in.open(request_of(site))
    signed_in.wait_for("#patient-search")
    places = (f"{site.app}/answer.html", signed_in.url, request_of(site), f"{site.url}/sign-in", f"{site.url}/account")
    for place in places:
        hostile(site, signed_in, f"<iframe width=900 height=600 src='{html.escape(place)}'></iframe>")
        with signed_in.frame():
            shown = signed_in.wait_until("ANSWER" if place == places[0] else "refused to connect")
        assert ("ANSWER" in shown) is (place == places[0])
        assert "Growth Chart" not in shown


def test_attack_a_page_of_another_site_decides_and_signs_out(site, signed_in):
    """RFC 6749 §10.12: with all that the real page has in its form, the browser brings no session along."""
    signed_in.open(request_of(site))
    signed_in.wait_for("#patient-search")
    names = "csrf", "request"
    read = "return document.querySelector('form [name=%s]').value"
    known = {name: signed_in.script(read % name) for name in names} | {"step": "allow", "patient": "p1"}
    for path in ("/auth/consent", "/sign-out"):
        fields = "".join(f"<input name={name} value='{value}'>" for name, value in known.items())
        form = f"<form method=post action='{site.url}{path}'>{fields}</form>"
        hostile(site, signed_in, f"{form}<script>document.forms[0].submit()</script>")
        signed_in.wait_until("not signed in")
        assert signed_in.url == f"{site.url}{path}"
        signed_in.open(f"{site.url}/account")
        signed_in.wait_until("Dr Wang")


def test_attack_a_page_of_another_site_reads_what_the_session_opens(site, signed_in):
    """The API lets any origin ask (CORS) because no cookie counts there, and the pages let none."""
    hostile(site, signed_in, "hostile")
    asked = f"""const [tell] = arguments;
Promise.all(["/fhir/Patient/p1", "/account", "/auth/consent", "/token"].map((path) =>
  fetch("{site.url}" + path, {{credentials: "include"}}).then((one) => one.status, () => "not readable"),
)).then(tell)"""
    assert signed_in.promise(asked)[1:3] == ["not readable"] * 2
    plain = f"const [tell] = arguments; fetch('{site.url}/fhir/Patient/p1').then((one) => tell(one.status))"
    assert signed_in.promise(plain) == 401


def test_a_decision_counts_once_whatever_the_back_button_shows(site, signed_in):
    """SMART App Launch 2.2 §2.0.8: a launch is used up with the decision; what is shown again decides nothing."""
    document = {"client": "growth", "patient": "p1", "user": "wang"}
    launch = site.call("/auth/launch", body=document, token=backend(site, "ehr")["access_token"])["launch"]
    signed_in.open(request_of(site, scope="launch patient/Observation.rs", launch=launch))
    signed_in.wait_for("button[value=allow]")
    decision = signed_in.url
    signed_in.click("button[value=allow]")
    assert "code" in answer_of(signed_in)
    signed_in.back()
    if "ANSWER" not in signed_in.text and signed_in.script("return !!document.querySelector('button[value=allow]')"):
        signed_in.click("button[value=allow]")
    else:
        signed_in.open(decision)
    signed_in.wait_until("Renhe Hospital")
    assert "code=" not in signed_in.url


def test_attack_a_code_is_turned_in_again_at_either_worker(site, signed_in):
    """RFC 6749 §4.1.2: the second use ends the tokens of the first, whichever process sees it."""
    signed_in.open(request_of(site))
    code = allow(signed_in)["code"]
    given = site.call("/token", turned_in(code, site))
    assert site.call("/fhir/Observation?patient=p1", token=given["access_token"])["resourceType"] == "Bundle"
    assert {refused(site, "/token", turned_in(code, site)) for _ in range(4)} == {(400, "invalid_grant")}
    time.sleep(COUNTS_S)
    assert {refused(site, "/fhir/Observation?patient=p1", token=given["access_token"])[0] for _ in range(4)} == {401}
    form = {"grant_type": "refresh_token", "client_id": "growth", "refresh_token": given["refresh_token"]}
    assert refused(site, "/token", form) == (400, "invalid_grant")


@pytest.mark.parametrize(
    "changes",
    [{"code_verifier": ""}, {"code_verifier": "v" * 43}, {"redirect_uri": "{app}/index.html"}, {"client_id": "lab"}],
    ids=["no verifier", "another verifier", "another address", "another client"],
)
def test_attack_a_code_that_was_caught_is_turned_in(site, signed_in, changes):
    """RFC 7636 §1, RFC 9700 §2.1.1: what a code is bound to cannot be left out; and the code is used up."""
    signed_in.open(request_of(site))
    told = allow(signed_in)
    assert told["iss"] == site.url
    wrong = {name: value.format(app=site.app) for name, value in changes.items()}
    assert refused(site, "/token", turned_in(told["code"], site, **wrong))[0] in (400, 401)
    if "client_id" not in changes:
        assert refused(site, "/token", turned_in(told["code"], site)) == (400, "invalid_grant")


def test_attack_an_application_goes_beyond_what_it_was_given(site, signed_in):
    """RFC 6749 §6: a refresh widens nothing; RFC 9700 §4.14: a refresh token that comes twice ends them all."""
    signed_in.open(request_of(site))
    first = site.call("/token", turned_in(allow(signed_in)["code"], site))
    form = {"grant_type": "refresh_token", "client_id": "growth", "refresh_token": first["refresh_token"]}
    for scope in ("patient/*.cruds", "user/*.rs", "system/*.rs", "patient/Patient.rs"):
        told = refused(site, "/token", form | {"scope": f"{first['scope']} {scope}"})
        assert told == (400, "invalid_scope")
    second = site.call("/token", form)
    for path in ("/fhir/Patient/p1", "/fhir/Observation/o-p2", "/fhir/Patient/p1/$everything"):
        assert refused(site, path, token=second["access_token"])[0] in (403, 404)
    assert refused(site, f"/fhir/Observation/o-p1?access_token={second['access_token']}")[0] == 401
    assert {refused(site, "/token", form) for _ in range(2)} == {(400, "invalid_grant")}
    newest = form | {"refresh_token": second["refresh_token"]}
    assert refused(site, "/token", newest) == (400, "invalid_grant")
    time.sleep(COUNTS_S)
    assert refused(site, "/fhir/Observation/o-p1", token=second["access_token"])[0] == 401


def test_attack_an_assertion_is_shown_again_at_either_worker(site):
    """RFC 7523 §3, 7: of many that come at once, over as many connections, one counts."""
    form = shown_by(site, "ehr")

    def shown(_number: int) -> int:
        try:
            return len(site.call("/token", form)["access_token"]) and 200
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(shown, range(16)))
    assert told.count(200) == 1
    assert set(told) <= {200, 401, 429}


def test_attack_a_session_is_planted_in_the_browser_before_its_owner_signs_in(site, signed_in):
    """The cookie gets another value at the sign-in, and what was planted opens nothing."""
    name = f"__Host-medchain-{site.config.parent.name}"
    signed_in.click("form[action='/sign-out'] button")
    signed_in.wait_for("[data-passkey=sign-in] button")
    planted = secrets.token_urlsafe(32)
    signed_in.plant(name, planted)
    signed_in.open(f"{site.url}/sign-in")
    signed_in.click("[data-passkey=sign-in] button")
    signed_in.wait_until("Dr Wang")
    (cookie,) = [one for one in signed_in.cookies() if one["name"] == name]
    assert cookie["value"] != planted
    asked = urllib.request.Request(f"{site.url}/account", headers={"Cookie": f"{name}={planted}"})  # noqa: S310  # our own node
    with urllib.request.urlopen(asked, timeout=60) as answer:  # noqa: S310  # as above
        assert (answer.url, b"Dr Wang" in answer.read()) == (f"{site.url}/sign-in", False)


def test_an_administrator_registers_an_application(site, tmp_path):
    browser = Browser(tmp_path)
    try:
        browser.add_authenticator()
        words = ("--role", "administrator", "--display", "Admin Li", "--config", site.config, "--json")
        browser.open(json.loads(medchain("account", "add", "li", *words))["url"])
        shots(browser, Path(os.environ.get("MEDCHAIN_PICTURES", site.folder)), "enrol")
        browser.open(json.loads(medchain("account", "enrol", "li", *words[4:]))["url"])
        browser.click("[data-passkey=enrol] button")
        browser.wait_until("Admin Li")
        browser.open(f"{site.url}/clients")
        browser.type("#id", "notes")
        browser.type("#name", "Notes")
        browser.type("#scopes", "patient/DocumentReference.rs")
        browser.type("#redirects", "https://notes.example/cb")
        browser.click("form[action='/clients'] button")
        browser.wait_until("notes")
        shots(browser, Path(os.environ.get("MEDCHAIN_PICTURES", site.folder)), "clients")
    finally:
        browser.close()


def test_base64_of_the_hash_is_what_the_registry_says():
    digest = base64.b64encode(bytes.fromhex(LIBRARY_SHA512)).decode()
    assert digest == "CirZixcwWelbkIXxpxlNQx5+ZdJirl6F1s4y4yvA1X7hHAkr9n99aVHaMi0wX+97nATjKQ65X6NB5as/wZoJzg=="
