"""The audit of who gets in: sign-ins, tokens, changes of clients and accounts.

Source: DICOM PS3.15 §A.5.3 (which type with which subtype), PS3.16 CID 400 and 401 (codes).
"""

from __future__ import annotations

import json
import re

import pytest

from fhir_bridge.document import parse
from fhir_bridge.smart.discovery import REVOKE
from fhir_bridge.validation.check import check
from medchain.errors import UnavailableError
from medchain.store.accounts import Role
from medchain.store.journal import Journal
from tests.unit.fhir_bridge.smart.conftest import BACK, ORIGIN, VERIFIER, World
from tests.unit.fhir_bridge.smart.test_sign_in import answered, ask, code_for, enrolled, form_of, made
from tests.unit.fhir_bridge.test_audit import events

LOGIN, LOGOUT = ("110114", "110122"), ("110114", "110123")
CLIENT, ACCOUNT = ("110113", "110129"), ("110113", "110137")
DICOM = "http://dicom.nema.org/resources/ontology/DCM"


def deeds(world: World) -> list[dict]:
    """Return the events of deeds, each of them valid R4."""
    found = [one for one in events(world.server) if one["type"]["system"] == DICOM]
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
    assert [shown(one) for one in deeds(world)] == [
        (LOGIN, "0", "Practitioner/17"),
        (LOGOUT, "0", "Practitioner/17"),
    ]


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
        raise UnavailableError("journal.io", errno=28)

    enrolled(world)
    given = answered(world)
    monkeypatch.setattr(Journal, step, full)
    answer = ask(world, "/sign-in/passkey/finish", given)
    assert answer.status_code == 503
    assert "Set-Cookie" not in answer.headers
