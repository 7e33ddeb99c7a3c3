"""Files that the forms of claims bring, through the door of a web worker: as large as the pages say, in memory."""

from __future__ import annotations

import asyncio
import io

import pytest
from werkzeug.datastructures import FileStorage
from werkzeug.test import stream_encode_multipart

from fhir_bridge.claims_desk import ground
from fhir_bridge.claims_desk.ground import is_of_claims
from fhir_bridge.rest.front import Front
from medchain.web.gateway import Gateway
from medchain.web.incoming import SMALL_BYTES
from tests.unit.fhir_bridge.claims_desk.conftest import form_of
from tests.unit.fhir_bridge.staff.conftest import HOST, ORIGIN
from tests.unit.medchain.claims.filed import content
from tests.unit.medchain.web.test_gateway import LAST, Client, piece, scope

PROOFS, TABLE, OPEN = "/claims/proofs", "/claims/check/table", "/claims/cases/open"
LARGE = 8 * SMALL_BYTES
# Werkzeug writes files from half a megabyte on to disk unless it is told otherwise.
ON_DISK = 600_000


def sent(insurance, browser, path: str, form: dict, *, length: int | None = None) -> Client:
    """Send a form as a browser does, in pieces, to a web worker."""
    world = insurance.insurer
    stream, size, boundary = stream_encode_multipart(form, use_tempfile=False)
    body, cookie = stream.read(), browser.client.get_cookie(world.site.cookie, domain=HOST)
    headers = [
        (b"content-type", f"multipart/form-data; boundary={boundary}".encode()),
        (b"content-length", str(length or size).encode()),
        (b"cookie", f"{world.site.cookie}={'none' if cookie is None else cookie.value}".encode()),
        (b"origin", ORIGIN.encode()),
    ]
    client = Client([*(piece(body[at : at + SMALL_BYTES]) for at in range(0, len(body), SMALL_BYTES)), LAST])
    front = Front(world.core, world.app.wsgi_app, takes_files=is_of_claims)
    asyncio.run(Gateway(front, 2)(scope("POST", path, headers=headers), client.receive, client.send))
    return client


def file(data: bytes, name: str) -> FileStorage:
    return FileStorage(io.BytesIO(data), filename=name)


def test_a_proof_a_table_and_a_claim_are_taken_as_large_as_the_pages_say(insurance, monkeypatch):
    def to_disk(*_given: object, **_more: object) -> None:
        raise AssertionError

    monkeypatch.setattr("werkzeug.formparser.SpooledTemporaryFile", to_disk)
    browser = insurance.desk()
    taken = sent(insurance, browser, PROOFS, form_of(browser, PROOFS) | {"bundle": file(b"x" * ON_DISK, "b.zip")})
    assert taken.status == 303
    header = "issuer,code,number,date,check_code,remark\n"
    rows = "".join(f"99010001,99060225,{number},2025-09-06,rha0jt,{'r' * 600}\n" for number in range(1000))
    given = form_of(browser, "/claims/check") | {"table": file((header + rows).encode(), "t.csv")}
    assert sent(insurance, browser, TABLE, given).status == 303
    claim = content(identifier=[{"value": "LARGE-1"}], text={"status": "generated", "div": "d" * ON_DISK})
    given = form_of(browser, "/claims/cases") | {"file": file(claim, "c.json")}
    assert sent(insurance, browser, OPEN, given).status == 303
    given = form_of(browser, "/claims/cases") | {"content": claim.decode().replace("LARGE-1", "LARGE-2")}
    assert sent(insurance, browser, OPEN, given).status == 303


def test_a_form_that_is_too_large_says_so_and_is_not_read(insurance, monkeypatch):
    monkeypatch.setattr(ground, "MAX_FORM_BYTES", LARGE)
    browser = insurance.desk()
    form = form_of(browser, PROOFS) | {"bundle": file(b"x" * LARGE, "b.zip")}
    told = sent(insurance, browser, PROOFS, form)
    assert told.status in (400, 413)
    assert b'data-code="request.too_large"' in told.body


def test_attack_of_a_stranger_no_file_is_read(insurance):
    stranger = insurance.insurer.app.test_client()
    browser = type(insurance.desk())(stranger)
    form = {"csrf": "x", "form": "x", "bundle": file(b"x" * LARGE, "b.zip")}
    told = sent(insurance, browser, PROOFS, form, length=1 << 40)
    assert told.status in (303, 400, 403, 413)
    form = {"csrf": "x", "form": "x", "bundle": file(b"x" * LARGE, "b.zip")}
    told = sent(insurance, browser, PROOFS, form)
    assert told.status == 403
    assert b'data-code="session.none"' in told.body
    # The connection is closed: what comes on it is not taken for a request.
    assert (b"connection", b"close") in told.got[0]["headers"]


@pytest.mark.parametrize("path", ["/desk", "/claimsx", "/my/asks/1", "/token"])
def test_other_forms_stay_small(insurance, path):
    front = Front(insurance.insurer.core, insurance.insurer.app.wsgi_app, takes_files=is_of_claims)
    assert not front.takes_large({"REQUEST_METHOD": "POST", "PATH_INFO": path})
    assert front.takes_large({"REQUEST_METHOD": "POST", "PATH_INFO": PROOFS})
    assert not front.takes_large({"REQUEST_METHOD": "GET", "PATH_INFO": PROOFS})
