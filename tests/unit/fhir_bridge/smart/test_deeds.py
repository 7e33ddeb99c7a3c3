"""The audit of who gets in: sign-ins, tokens, changes of clients and accounts.

Source: DICOM PS3.15 §A.5.3 (which type with which subtype), PS3.16 CID 400 and 401 (codes).
"""

from __future__ import annotations

import json
import re
import threading
from contextlib import closing

import pytest

from fhir_bridge.audit import Happening, JournalAudit, journal_key, read_frame
from fhir_bridge.deeds import KEPT_ALONE, WINDOW_S, KeptDeeds
from fhir_bridge.document import parse
from fhir_bridge.smart.discovery import REVOKE
from fhir_bridge.validation.check import check
from medchain.errors import UnavailableError
from medchain.store.accounts import Role
from medchain.store.journal import Journal, Place, names, read
from medchain.web.deeds import Deed, Kind
from tests.unit.fhir_bridge.conftest import seed
from tests.unit.fhir_bridge.smart.conftest import BACK, ORIGIN, VERIFIER, World
from tests.unit.fhir_bridge.smart.test_sign_in import answered, ask, code_for, enrolled, form_of, made
from tests.unit.fhir_bridge.test_audit import events

LOGIN, LOGOUT = ("110114", "110122"), ("110114", "110123")
CLIENT, ACCOUNT = ("110113", "110129"), ("110113", "110137")
DICOM = "http://dicom.nema.org/resources/ontology/DCM"


def deeds(world: World) -> list[dict]:
    """Return the events of deeds, each of them valid R4."""
    found = [one for one in events(world.server) if one["type"]["system"] == DICOM]
    # PS3.15 §A.5.3.11 and §A.5.3.12: "shall be E".
    assert {one["action"] for one in found} <= {"E"}
    assert [check(parse(json.dumps(one).encode()), warnings=False) for one in found] == [[] for _ in found]
    return found


def shown(one: dict) -> tuple[tuple[str, str], str, str]:
    """Type, subtype, outcome and who asked."""
    (who,) = [row["who"] for row in one["agent"] if row["requestor"]]
    name = who.get("reference") or who["identifier"]["value"]
    return (one["type"]["code"], one["subtype"][0]["code"]), one["outcome"], name


def test_signing_in_and_out_is_kept(world):
    enrolled(world)
    assert ask(world, "/sign-in/passkey/finish", answered(world)).status_code == 200
    assert world.post("/sign-out", {"csrf": world.csrf(world.get("/account").text)}).status_code == 303
    found = deeds(world)
    assert [shown(one) for one in found] == [
        (LOGIN, "0", "Practitioner/17"),
        (LOGOUT, "0", "Practitioner/17"),
    ]
    assert [one["agent"][0]["network"]["address"] for one in found] == ["127.0.0.1"] * 2


def test_a_refused_sign_in_is_kept_with_the_account_where_there_is_one(world):
    enrolled(world)
    assert ask(world, "/sign-in/passkey/finish", answered(world, signature="AAAA")).status_code == 403
    assert ask(world, "/sign-in/passkey/finish", answered(world, credential="AAAA")).status_code == 403
    assert [shown(one) for one in deeds(world)] == [(LOGIN, "4", "Practitioner/17"), (LOGIN, "4", "(pages)")]


def test_tokens_given_refused_and_revoked_are_kept_without_any_secret(world):
    world.sign_in()
    code = world.code()
    given = json.loads(world.turn_in(code).data)
    assert world.refresh("no-such-token").status_code == 400
    renewed = json.loads(world.refresh(given["refresh_token"], client_id=None).data)
    form = {"token": renewed["refresh_token"], "client_id": "growth"}
    assert world.app.test_client().post(REVOKE, base_url=ORIGIN, data=form).status_code == 200
    assert world.token({"grant_type": "client_credentials", "client_id": "who-is-this"}).status_code == 401
    assert world.token({"grant_type": "nothing"}).status_code in (400, 401)
    found = deeds(world)
    assert [shown(one) for one in found][:5] == [
        (LOGIN, "0", "growth"),
        (LOGIN, "4", "growth"),
        (LOGIN, "0", "growth"),
        (LOGOUT, "0", "growth"),
        (LOGIN, "4", "(unknown)"),
    ]
    text = json.dumps(found)
    secrets = [code, VERIFIER, BACK, "p1", "who-is-this", *given.values(), *renewed.values()]
    assert [one for one in secrets if isinstance(one, str) and len(one) > 8 and one in text] == []


def test_who_must_wait_fills_no_audit(world):
    for _ in range(12):
        world.token({"grant_type": "client_credentials", "client_id": "who-is-this"})
    answer = world.token({"grant_type": "client_credentials", "client_id": "who-is-this"})
    assert answer.status_code == 429
    assert len(deeds(world)) < 12


def counts(found: list[dict]) -> list[int]:
    """How many deeds each event tells of at once; those that tell of one are left out."""
    details = [row["detail"] for one in found for row in one.get("entity", []) if "detail" in row]
    assert all(one["type"] == "count" for (one,) in details)
    return [int(one["valueString"]) for (one,) in details]


@pytest.mark.parametrize(
    "form",
    [
        {"grant_type": "authorization_code", "code": "x" * 43, "redirect_uri": BACK, "code_verifier": VERIFIER},
        {"grant_type": "refresh_token", "refresh_token": "x" * 43},
        {"grant_type": "nothing"},
        {"grant_type": "client_credentials"},
    ],
    ids=lambda form: form["grant_type"],
)
def test_a_stranger_who_knows_the_name_of_a_client_does_not_fill_the_audit(world, form):
    (name,) = names(world.server.folder / "audit")
    before = (world.server.folder / "audit" / name).stat().st_size
    for _ in range(200):
        world.time[0] += 1
        assert world.token(form | {"client_id": "growth"}).status_code in (400, 401)
    assert (world.server.folder / "audit" / name).stat().st_size - before < 5000
    # Who really signs in meanwhile is kept like anyone else.
    world.sign_in()
    assert world.turn_in(world.code()).status_code == 200
    kept = [shown(one) for one in deeds(world)]
    assert kept == [(LOGIN, "4", "growth")] * KEPT_ALONE + [(LOGIN, "0", "growth")]
    world.time[0] += WINDOW_S
    world.site.deeds.tell()
    told = deeds(world)
    assert counts(told) == [200 - KEPT_ALONE]
    assert shown(told[-1]) == (LOGIN, "4", "growth")


def test_the_number_of_refusals_is_told_soon_after_their_time_though_nobody_comes_any_more(tmp_path):
    time = [7]
    audit = JournalAudit(tmp_path, b"k" * 32, lambda: time[0])
    with closing(audit):
        kept = KeptDeeds(audit, lambda: time[0])
        for _ in range(KEPT_ALONE + 3):
            kept.refused(Deed(Kind.LOGIN), 403)
        time[0] += WINDOW_S
        told = threading.Event()

        def tell() -> None:
            kept.tell()
            told.set()

        audit.telling(tell)
        assert told.wait(60)
        (name,) = names(tmp_path / "audit")
        frames = read(tmp_path / "audit", name, journal_key(b"k" * 32), Place(), 100).frames
    assert read_frame(frames[-1].content).query == "count=3"


def test_a_token_that_was_ended_before_changes_nothing_and_is_a_refusal(world):
    world.sign_in()
    given = json.loads(world.turn_in(code := world.code()).data)
    # The second use ends the authorisation, which is kept as what it is; those after it find nothing to end.
    assert [world.turn_in(code).status_code for _ in range(3)] == [400] * 3
    assert world.refresh(given["refresh_token"]).status_code == 400
    form = {"token": given["refresh_token"], "client_id": "growth"}
    assert world.app.test_client().post(REVOKE, base_url=ORIGIN, data=form).status_code == 200
    found = [one for one in happenings(world) if one.interaction in ("token", "revocation")]
    assert [(one.interaction, one.status, one.begun is not None) for one in found if one.status] == [
        ("token", 200, True),
        ("token", 400, True),
        ("token", 400, False),
        ("token", 400, False),
        ("token", 400, False),
    ]
    assert len(deeds(world)) == 5


def happenings(world: World) -> list[Happening]:
    """Read the frames that are on the journal."""
    (name,) = names(world.server.folder / "audit")
    frames = read(world.server.folder / "audit", name, journal_key(seed("records")), Place(), 1000).frames
    return [read_frame(one.content) for one in frames]


def test_nobody_gets_a_token_unkept(world, monkeypatch):
    def full(_self, _content: bytes) -> None:
        raise UnavailableError("store.full", table="journal")

    world.sign_in()
    code = world.code()
    with monkeypatch.context() as patched:
        patched.setattr(Journal, "begin", full)
        assert world.turn_in(code).status_code == 503
    # Nothing was changed: the code is as good as before.
    assert world.turn_in(code).status_code == 200


def test_a_registration_and_its_end_name_who_did_it_and_whom_it_is_about(world):
    world.sign_in(Role.ADMINISTRATOR)
    assert world.post("/clients", form_of(world)).status_code == 303
    name = form_of(world)["id"]
    csrf = world.csrf(world.get("/clients").text)
    assert world.post("/clients/disable", {"csrf": csrf, "client": name}).status_code == 303
    # A second registration under the same id is refused, and kept.
    assert world.post("/clients", form_of(world)).status_code == 400
    found = deeds(world)
    account = world.accounts[Role.ADMINISTRATOR].id
    assert [shown(one) for one in found] == [(CLIENT, "0", account), (CLIENT, "0", account), (CLIENT, "4", account)]
    about = [one["entity"][0]["what"]["identifier"] for one in found]
    assert about == [{"system": "urn:medchain:client", "value": name}] * 3


def test_a_passkey_that_is_added_changes_an_account(world):
    begun = json.loads(ask(world, "/enrol/begin", {"code": (code := code_for(world))}).data)
    assert ask(world, "/enrol/finish", {"code": code, **made(begun)}).status_code == 200
    first, second = deeds(world)
    assert (shown(first), shown(second)) == ((ACCOUNT, "0", "Practitioner/17"), (LOGIN, "0", "Practitioner/17"))
    assert first["entity"][0]["what"]["identifier"]["value"] == world.accounts[Role.CLINICIAN].id
    assert re.fullmatch(r"[0-9a-f]{16}", first["entity"][-1]["what"]["identifier"]["value"])


@pytest.mark.parametrize("step", ["begin", "append"])
def test_nobody_gets_in_unkept(world, monkeypatch, step):
    def full(_self, _content: bytes, _begun: object = None) -> None:
        raise UnavailableError("store.full", table="journal")

    enrolled(world)
    given = answered(world)
    monkeypatch.setattr(Journal, step, full)
    answer = ask(world, "/sign-in/passkey/finish", given)
    assert answer.status_code == 503
    assert "Set-Cookie" not in answer.headers
