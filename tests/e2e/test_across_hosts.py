"""Five organisations at five host names under TLS, one relying party: what a passkey signs counts where it should.

Attacks go over the wire: a browser with a passkey of the relying party at other hosts, and daemons that check nothing,
so that those who are left have to notice: the custodian, the drawn endorser, the recipient.
"""

from __future__ import annotations

import json
import re
import secrets
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256

import pytest

from medchain.crypto.assertion import encode_credential_key
from medchain.crypto.authenticator import SoftwareAuthenticator
from medchain.encoding import Json, base64_text, base64url, unbase64url, unhex
from medchain.errors import MedchainError, NotFoundError
from medchain.node.clock import system_clock
from medchain.node.peers import Limits
from tests.e2e.browser import Browser, is_there
from tests.e2e.running_hosts import DOMAIN, Hosts, running_hosts
from tests.waiting import eventually

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not is_there(), reason="needs Debian's chromium and chromium-driver (`make browser`)"),
]

RENHE, ANXIN, TAIHE = "renhe-hospital", "anxin-insurance", "taihe-insurance"
EVIL = "evil.example"
TYPES = ["Condition", "Observation"]
SLOW = Limits(timeout_s=120.0)
DAY_S = 86400
GET = """
const done = arguments[arguments.length - 1];
const bytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer)));
navigator.credentials.get({publicKey: {challenge: bytes("%s"), rpId: "%s", userVerification: "required"}})
  .then((made) => done({
    authenticator_data: text(made.response.authenticatorData), client_data_json: text(made.response.clientDataJSON),
    credential_id: text(made.rawId), signature: text(made.response.signature)}))
  .catch((error) => done({refused: error.name}));
"""


def observation(number: int, patient: str) -> dict[str, Json]:
    code = {"coding": [{"code": "29463-7", "system": "http://loinc.org"}]}
    named = {"id": f"{patient}-{number}", "resourceType": "Observation", "subject": {"reference": f"Patient/{patient}"}}
    return named | {"code": code, "effectiveDateTime": "2026-03-01T08:00:00Z", "status": "final"}


@pytest.fixture(scope="module")
def hosts(tmp_path_factory) -> Iterator[Hosts]:
    with running_hosts(tmp_path_factory.mktemp("hosts"), [RENHE]) as made:
        for patient in ("wang", "software"):
            named = {"id": patient, "name": [{"text": patient}], "resourceType": "Patient"}
            made.store(RENHE, named, *(observation(number, patient) for number in (1, 2)))
        yield made


@pytest.fixture(scope="module")
def phone(hosts, tmp_path_factory) -> Iterator[Browser]:
    """A browser that finds the hosts, knows their authority, and has a passkey that was enrolled at the hospital."""
    rules = f"--host-resolver-rules=MAP *.{DOMAIN} 127.0.0.1, MAP {EVIL} 127.0.0.1"
    trusted = f"--ignore-certificate-errors-spki-list={hosts.authority.key_hash}"
    made = Browser(tmp_path_factory.mktemp("phone"), more=(rules, trusted))
    try:
        made.resize(390, 844)
        made.add_authenticator()
        made.open(hosts.invite(RENHE, "wang"))
        made.click("[data-passkey=enrol] button")
        made.wait_for(".mc-nav")
        yield made
    finally:
        made.close()


@dataclass
class Scene:
    """Who signs: a patient with the browser, and one whose passkey the test can have do what no browser lets it."""

    hosts: Hosts
    phone: Browser
    pen: SoftwareAuthenticator
    subject: str
    subject_of_pen: str


@pytest.fixture(scope="module")
def scene(hosts, phone) -> Scene:
    pen = SoftwareAuthenticator(secrets.token_bytes(32), DOMAIN)
    public = base64_text(encode_credential_key(pen.credential))
    credential = {"credential_id": base64_text(pen.credential_id), "public_key": public}
    asked = {"credentials": [credential], "custodians": [], "method": "identity-card", "patient": "software"}
    key = str(hosts.of[RENHE].local.call("subject.enrol", asked, SLOW)["key"])
    return Scene(hosts, phone, pen, subject_of(hosts, phone), key)


def asked_for(hosts: Hosts) -> str:
    """Have the insurer ask the browser's patient; returns where that is answered."""
    wish = {"custodian": RENHE, "days": 30, "patient": "wang", "person": "", "purpose": "HPAYMT"}
    wish |= {"reason": "To settle your claim", "resource_types": TYPES}
    ask = hosts.of[ANXIN].local.call("ask.send", wish, SLOW)["id"]
    return f"{hosts.of[RENHE].origin}/my/asks/{ask}"


def subject_of(hosts: Hosts, phone: Browser) -> str:
    """Find whose passkey the browser has."""
    shown = assertion_at(phone, hosts.of[RENHE].origin, b"c" * 32)
    found = hosts.of[RENHE].local.call("subject.find", {"credential_id": shown["credential_id"]}, SLOW)
    return str(found["subjects"][0])


def assertion_at(browser: Browser, origin: str, challenge: bytes, rp_id: str = DOMAIN) -> dict[str, str]:
    """Have a passkey asked on a page at some address."""
    browser.open(f"{origin}/my/sign-in")
    return browser.promise(GET % (base64url(challenge), rp_id))


def draft(hosts: Hosts, subject: str) -> dict[str, Json]:
    now = system_clock()
    terms = {
        "custodians": [RENHE],
        "fhir": {"resourceType": "Consent", "status": "active"},
        "period": {"end": now + 30 * DAY_S, "start": now - 60},
        "purpose": "HPAYMT",
        "recipient": ANXIN,
        "resource_types": TYPES,
        "subject": subject,
    }
    return hosts.of[RENHE].local.call("consent.draft", terms, SLOW)


def made_with(pen: SoftwareAuthenticator, challenge: bytes, origin: str) -> dict[str, str]:
    answer = pen.sign(challenge, origin)
    names = ("authenticator_data", "client_data_json", "credential_id", "signature")
    return {name: base64_text(getattr(answer, name)) for name in names}


def read(hosts: Hosts, org_id: str, grant: str) -> list[Json]:
    """Have an organisation's node ask the hospital's for records."""
    asked = {"custodian": RENHE, "grant": grant, "purpose": "HPAYMT", "resource_types": TYPES}
    return hosts.of[org_id].local.call("request", asked, SLOW)["records"]


def grant_under(hosts: Hosts, consent: str) -> str:
    """Wait until the insurer has the grant under a consent."""
    found: list[str] = []

    def looked() -> bool:
        rows = hosts.of[ANXIN].local.call("grants.received", {}, SLOW)["grants"]
        found[:] = [row["key"] for row in rows if row["consent"] == consent and row["final"]]
        return bool(found)

    assert eventually(looked, every_s=0.2)
    return found[0]


def code_of(call: Callable[[], object]) -> str:
    try:
        call()
    except MedchainError as error:
        return error.code
    return ""


def test_each_node_shows_a_certificate_of_its_own_name_and_passes_for_no_other(hosts):
    for host in hosts.of.values():
        for port in (host.web_port, host.peer_port):
            with host.shown(port) as sock:
                assert sock.version() == "TLSv1.3"
            with pytest.raises(ssl.SSLCertVerificationError):
                host.shown(port, f"another.{DOMAIN}")
    assert {url.hostname for url in hosts.addresses()} == {f"{org_id}.{DOMAIN}" for org_id in hosts.of}


def test_a_patient_signs_at_one_host_and_an_insurer_reads_at_another_until_it_is_withdrawn(hosts, phone):
    phone.open(asked_for(hosts))
    phone.click("button[name=step][value=sign]")
    phone.click("[data-passkey=sign] button")
    phone.wait_until("Your permission is in force")
    consent = re.search(r"/my/access/([0-9a-f]{64})", phone.url)[1]
    grant = grant_under(hosts, consent)
    assert len(read(hosts, ANXIN, grant)) == 2
    with pytest.raises(NotFoundError, match=r"release\.nothing"):
        read(hosts, TAIHE, grant)
    phone.open(f"{hosts.of[RENHE].origin}/my/access/{consent}")
    phone.click("#stop form[action$='/withdraw'] button")
    phone.click("[data-passkey=sign] button")
    phone.wait_until("withdrawn by you")
    with pytest.raises(NotFoundError, match=r"release\.nothing"):
        read(hosts, ANXIN, grant)
    for host in hosts.of.values():
        assert eventually(lambda host=host: status_at(host, consent) == "stopped", every_s=0.2)


@pytest.mark.parametrize(
    "change",
    ["found.challenge = 'A'.repeat(43)", f"found.draft = btoa(atob(found.draft).replace('{ANXIN}', '{TAIHE}'))"],
)
def test_attack_the_page_does_not_ask_the_passkey_for_what_is_not_what_it_shows(hosts, phone, change):
    phone.open(asked_for(hosts))
    # Whoever stands between page and node has something else signed.
    early = """
        const before = window.fetch;
        window.asked_for = 0;
        navigator.credentials.get = () => { window.asked_for += 1; throw new Error("asked"); };
        window.fetch = async (path, given) => {
          const answer = await before(path, given), found = await answer.json();
          if (path === "/sign/begin") { CHANGE; }
          return new Response(JSON.stringify(found), {status: answer.status});
        };
    """.replace("CHANGE", change)
    with phone.early_script(early):
        phone.click("button[name=step][value=sign]")
        phone.wait_until("is not what this page shows")
        assert phone.url.startswith(hosts.of[RENHE].sign_origin)
        assert phone.script("return document.querySelector('[data-shown]').hidden")
        assert phone.script("return window.asked_for") == 0


def status_at(host, consent: str) -> str:
    return str(host.local.call("object", {"object": consent}, SLOW)["record"]["status"])


def test_the_sessions_cookie_is_of_one_host_and_pages_demand_tls(hosts, phone):
    phone.open(f"{hosts.of[RENHE].origin}/my")
    session = next(one for one in phone.cookies() if one["name"] == f"__Host-medchain-{RENHE}")
    assert (session["secure"], session["httpOnly"], session["sameSite"]) == (True, True, "Strict")
    assert session["domain"] == hosts.of[RENHE].name
    phone.open(f"{hosts.of[ANXIN].origin}/my")
    assert phone.url == f"{hosts.of[ANXIN].origin}/my/sign-in"
    _, fields, _ = hosts.of[RENHE].ask("GET", "/my/sign-in")
    assert fields["strict-transport-security"] == "max-age=31536000"


def test_attack_a_page_outside_of_the_relying_partys_domain_gets_nothing_from_a_passkey(hosts, phone):
    port = hosts.of[RENHE].web_port
    assert assertion_at(phone, f"https://{EVIL}:{port}", b"c" * 32) == {"refused": "SecurityError"}


def test_attack_a_log_in_is_no_consent_and_a_consents_signature_no_log_in(scene):
    hosts, phone, renhe = scene.hosts, scene.phone, scene.hosts.of[RENHE]
    begun = json.loads(renhe.ask("POST", "/my/sign-in/begin", {}, step(renhe))[2])
    drafted = draft(hosts, scene.subject)
    logged_in = assertion_at(phone, renhe.origin, unbase64url(begun["challenge"], max_bytes=4096))
    given = {"assertion": logged_in, "draft": drafted["draft"]}
    assert code_of(lambda: renhe.local.call("consent.give", given, SLOW)) == "assertion.challenge"
    signed = assertion_at(phone, renhe.origin, unhex(drafted["challenge"], 32))
    shown = {"authenticator_data": "authenticator_data", "client_data": "client_data_json"}
    shown |= {"credential": "credential_id", "signature": "signature"}
    answer = {name: signed[of].rstrip("=").replace("+", "-").replace("/", "_") for name, of in shown.items()}
    finish = {"begun": begun["begun"], "request": "", **answer}
    status, _, said = renhe.ask("POST", "/my/sign-in/finish", finish, step(renhe))
    assert (status, json.loads(said)["code"]) == (403, "session.refused")


def step(host) -> dict[str, str]:
    """Fields of a request that the script of a host's own page makes."""
    return {"Content-Type": "application/json", "Origin": host.origin, "Sec-Fetch-Site": "same-origin"}


def at_the_insurers_host(scene: Scene, challenge: bytes) -> dict[str, str]:
    return assertion_at(scene.phone, scene.hosts.of[ANXIN].origin, challenge)


def at_the_portal(scene: Scene, challenge: bytes) -> dict[str, str]:
    """Have a script in the hospital's own portal ask, as one that gets into its pages could."""
    return assertion_at(scene.phone, scene.hosts.of[RENHE].origin, challenge)


def at_another_port(scene: Scene, challenge: bytes) -> dict[str, str]:
    renhe = scene.hosts.of[RENHE]
    return made_with(scene.pen, challenge, f"https://{renhe.name}:{renhe.peer_port}")


def of_another_relying_party(scene: Scene, challenge: bytes) -> dict[str, str]:
    scene.pen.rp_id = scene.hosts.of[RENHE].name
    try:
        return made_with(scene.pen, challenge, scene.hosts.of[RENHE].sign_origin)
    finally:
        scene.pen.rp_id = DOMAIN


def of_a_log_in(scene: Scene, challenge: bytes) -> dict[str, str]:
    replaced = sha256(b"a log-in in place of " + challenge).digest()
    return made_with(scene.pen, replaced, scene.hosts.of[RENHE].sign_origin)


@pytest.mark.parametrize(
    ("attack", "code"),
    [
        (at_the_insurers_host, "assertion.origin"),
        (at_the_portal, "assertion.origin"),
        (at_another_port, "assertion.origin"),
        (of_another_relying_party, "assertion.rp_id"),
        (of_a_log_in, "assertion.challenge"),
    ],
)
def test_attack_custodian_endorser_and_recipient_each_refuse_by_themselves(scene, attack, code):
    hosts, renhe = scene.hosts, scene.hosts.of[RENHE]
    subject = scene.subject if attack in (at_the_insurers_host, at_the_portal) else scene.subject_of_pen

    def give() -> str:
        drafted = draft(hosts, subject)
        signed = {"assertion": attack(scene, unhex(drafted["challenge"], 32)), "draft": drafted["draft"]}
        return str(renhe.local.call("consent.give", signed, SLOW)["key"])

    try:
        assert code_of(give) == code
        # The hospital lies: the organisation that is drawn to endorse refuses.
        hosts.careless.write_text("creator")
        assert code_of(give) == code
        # It lies as well: what is on the ledger so is no reason for the recipient.
        hosts.careless.write_text("creator independent custodian")
        grant = str(renhe.local.call("grant.give", {"consent": give()}, SLOW)["key"])
        with pytest.raises(MedchainError, match=r"exchange\.consent"):
            read(hosts, ANXIN, grant)
        assert hosts.of[ANXIN].logged("exchange.not_relied")[-1]["reason"] == code
        # A hospital that was taken in, and no liar itself, gives nothing either.
        hosts.careless.write_text("")
        with pytest.raises(NotFoundError, match=r"release\.nothing"):
            read(hosts, ANXIN, grant)
    finally:
        hosts.careless.write_text("")
