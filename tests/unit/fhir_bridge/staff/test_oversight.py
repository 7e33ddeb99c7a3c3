"""The page of oversight at the regulator's node: what is late, what is wrong, and no patient."""

from __future__ import annotations

import csv
import io
import json
import re
from contextlib import ExitStack

import pytest

from fhir_bridge.staff.words import STAFF_WORDS
from medchain.errors import NotFoundError
from medchain.ledger.kinds.registry import KINDS
from medchain.ledger.object import map_key
from medchain.node.emergency import EMERGENCY
from medchain.node.endorsed import DAYS
from medchain.node.missing import GRACE_S
from medchain.node.witnesses import WITNESSES
from medchain.store.accounts import Role
from medchain.store.watching import Endorsed
from tests.unit.fhir_bridge.staff.conftest import opened
from tests.unit.medchain.node.federation import ANXIN, COMMISSION, RENHE, TONGJI
from tests.unit.medchain.node.glass import Glass
from tests.waiting import eventually

PATHS = ("/oversight", "/oversight/evidence.json", "/oversight/evidence.csv")
ALARM = {"code": "ordering.split_view", "count": 2, "fields": {}, "first": 1, "height": 3, "id": 1, "last": 2}


@pytest.fixture(scope="module")
def office(desks):
    with ExitStack() as stack:
        made = opened(desks, COMMISSION, stack)
        made.local.operations["status"] = lambda _document: {"alarms": [ALARM | {"subject": "<i>anxin</i>"}]}
        yield made


def late(world, name: str, reason: str) -> str:
    """Break the glass at the hospital and bring it to the ledger; returns its map key."""
    made = world.desk.declare(world.patient(name), "Practitioner/late", reason)
    world.settle()
    return map_key(EMERGENCY, RENHE, made.object_id).hex()


def row_of(office, key: str) -> dict:
    given = json.loads(office.staff(Role.AUDITOR).get(PATHS[1]).data)
    return next(row for row in given["emergencies"] if row["key"] == key)


def test_what_is_past_its_clock_is_said_first_and_what_others_wrote_is_no_markup(world, office):
    late(world, "over1", "<b>fell</b>")
    office.desks.federation.time += 8 * 86400
    try:
        page = office.staff(Role.AUDITOR).get("/oversight?lang=en").text
    finally:
        office.desks.federation.time -= 8 * 86400
    assert "&lt;b&gt;fell&lt;/b&gt;" in page
    assert "<b>fell" not in page
    assert "ordering.split_view" in page
    assert "&lt;i&gt;anxin&lt;/i&gt;" in page
    assert page.index("Overdue since") < page.index("ordering.split_view")


def test_of_an_emergency_between_two_hospitals_each_is_late_with_its_own_entry(desks, office):
    patient = Glass(desks)
    patient.store()
    patient.ask(patient.declare(reason="<i>abroad</i>"))
    patient.settle()
    office.desks.federation.time += 8 * 86400
    try:
        page = re.sub(r"\s+", " ", office.staff(Role.AUDITOR).get("/oversight?lang=en").text)
    finally:
        office.desks.federation.time -= 8 * 86400
    for owner, between in ((TONGJI, f"Asked {RENHE} for the record"), (RENHE, f"Given to {TONGJI}: 3 records")):
        head = rf"{owner} · {patient.staff} · [^<]+</h3> <p>{between}</p>"
        assert re.search(head, page), owner
    assert patient.local not in page


def test_the_evidence_names_no_patient_at_the_regulator_nor_at_the_hospital(world, office):
    key = late(world, "over2", "=HYPERLINK(1)")
    assert row_of(office, key)["reason"] == "=HYPERLINK(1)"
    assert "patient" not in row_of(office, key)
    world.local.operations["status"] = lambda _document: {"alarms": []}
    token = world.core.service.patient_token("over2")
    for place in (world, office):
        browser = place.staff(Role.AUDITOR)
        for path in PATHS:
            answer = browser.get(path)
            assert answer.status_code == 200
            assert token not in answer.text
            assert "over2" not in answer.text
        table = list(csv.DictReader(io.StringIO(browser.get(PATHS[2]).text)))
        # A spreadsheet would run it.
        assert next(row for row in table if row["key"] == key)["reason"] == "'=HYPERLINK(1)"


@pytest.mark.parametrize("role", [Role.DESK, Role.CLINICIAN, Role.ADMINISTRATOR, Role.PATIENT])
def test_no_other_role_sees_any_of_it(office, role):
    browser = office.staff(role)
    assert [browser.get(path).status_code for path in PATHS] == [403, 403, 403]


def test_who_is_not_signed_in_is_sent_to_do_so(office):
    stranger = type(office.staff())(office.app.test_client())
    assert [stranger.get(path).headers.get("Location") for path in PATHS] == ["/sign-in"] * 3


def members(office) -> dict[str, dict]:
    """Give the export's rows of members, by their names."""
    return {row["org_id"]: row for row in json.loads(office.staff(Role.AUDITOR).get(PATHS[1]).data)["members"]}


def test_a_member_that_no_longer_cosigns_is_late_and_said_first(office):
    federation = office.desks.federation
    assert eventually(lambda: all(row["size"] for row in members(office).values()))
    began, here = federation.time, set(members(office))
    assert not any(row["late"] for row in members(office).values())
    federation.down.add(TONGJI)
    try:
        for _ in range(11):
            federation.time += 60
            assert eventually(lambda: members(office)[ANXIN]["time"] == federation.time)
        seen = members(office)
        page = office.staff(Role.AUDITOR).get("/oversight?lang=en").text
    finally:
        federation.down.discard(TONGJI)
    assert {name for name, row in seen.items() if row["late"]} == {TONGJI}
    assert (next(iter(seen)), set(seen)) == (TONGJI, here)
    assert seen[TONGJI]["time"] <= began
    assert page.count("· late") == 1
    assert page.index(TONGJI) < page.index("· late") < page.index(ANXIN)
    assert eventually(lambda: not members(office)[TONGJI]["late"])


def test_who_endorsed_how_much_of_whose_is_told_of_the_last_days(office):
    today = office.desks.federation.time // 86_400
    counted = {
        Endorsed(today, TONGJI, RENHE, "consent"): 2,
        Endorsed(today - DAYS + 1, TONGJI, RENHE, "consent"): 1,
        Endorsed(today - DAYS, TONGJI, RENHE, "consent"): 40,
        Endorsed(today, COMMISSION, RENHE, "grant"): 4,
        Endorsed(today, "", RENHE, "subject"): 5,
    }
    office.desks.federation.sites[COMMISSION].records.put_draws("test", 1, {}, counted)
    given = json.loads(office.staff(Role.AUDITOR).get(PATHS[1]).data)
    assert given["days"] == DAYS
    assert [tuple(row[name] for name in ("endorser", "creator", "kind", "count")) for row in given["endorsements"]] == [
        ("", RENHE, "subject", 5),
        (COMMISSION, RENHE, "grant", 4),
        (TONGJI, RENHE, "consent", 3),
    ]
    page = office.staff(Role.AUDITOR).get("/oversight?lang=en").text
    assert page.index("A key that is listed no more") < page.index(f"Subjects of {RENHE}: 5")
    assert page.index(f"Grants of {RENHE}: 4") < page.index(f"Consents of {RENHE}: 3")
    assert "机构：知情同意 3 次" in office.staff(Role.AUDITOR).get("/oversight?lang=zh").text


def test_what_was_not_told_is_said_first_with_who_kept_it_back(world, office, monkeypatch):
    federation = office.desks.federation
    began = federation.time

    def keep_back(what: str, _sender: str, _receiver: str, data: bytes) -> bytes:
        if what in ("push", "fetch"):
            raise NotFoundError("body.absent")
        return data

    monkeypatch.setattr(federation, "tamper", keep_back)
    key = late(world, "over3", "kept to itself")
    missing = federation.sites[COMMISSION].node.missing
    try:
        assert eventually(lambda: federation.sites[COMMISSION].ledger.record(bytes.fromhex(key)) is not None)
        missing.round()
        assert "not told" not in office.staff(Role.AUDITOR).get("/oversight?lang=en").text
        federation.time += GRACE_S
        missing.round()
        given = json.loads(office.staff(Role.AUDITOR).get(PATHS[1]).data)["missing"]
        page, chinese = (office.staff(Role.AUDITOR).get(f"/oversight?lang={lang}").text for lang in ("en", "zh"))
        federation.down.add(RENHE)
        monkeypatch.undo()
        missing.round()
        silent = office.staff(Role.AUDITOR).get("/oversight?lang=en").text
    finally:
        federation.time = began
        federation.down.discard(RENHE)
    told = {"answer": "body.absent", "custodian": RENHE, "key": key, "silent": False, "since": began, "version": 1}
    assert given == [told]
    assert page.index("1 text of an emergency was not told") < page.index(key) < page.index("Alarms of this node")
    assert "It answers, and does not give the text" in page
    assert "有 1 份紧急访问内容未告知本机构" in chinese
    assert "It does not answer" in silent
    missing.round()
    assert json.loads(office.staff(Role.AUDITOR).get(PATHS[1]).data)["missing"] == []


def test_whose_cosignatures_are_awaited_is_said_once_it_lasts(office, monkeypatch):
    clock = office.desks.federation.clock()
    sets = [{"leaving": [TONGJI], "missing": [ANXIN, TONGJI], "needed": 1}]
    status = {"alarms": [], "awaited": {"sets": sets, "since": clock - 121}}
    monkeypatch.setitem(office.local.operations, "status", lambda _document: status)
    page, chinese = (office.staff(Role.AUDITOR).get(f"/oversight?lang={lang}").text for lang in ("en", "zh"))
    assert f"1 more must cosign, of {ANXIN}, {TONGJI}" in page
    assert f"A change that suspends or removes {TONGJI} waits for that" in page
    assert "还差 1 个机构的共同签名，尚缺 机构、机构" in chinese
    assert json.loads(office.staff(Role.AUDITOR).get(PATHS[1]).data)["awaited"]["sets"] == sets
    status["awaited"]["since"] = clock
    assert "must cosign" not in office.staff(Role.AUDITOR).get("/oversight?lang=en").text


def test_outside_witnesses_are_told_by_name_with_how_long_ago_each_has_cosigned(office, monkeypatch):
    assert "This node asks no outside witness" in office.staff(Role.AUDITOR).get("/oversight?lang=en").text
    now = office.desks.federation.clock()
    row = {"code": "", "keys": ["k"], "name": "regulator", "size": 34, "time": now - 190, "url": "https://w.example"}
    rows = [
        row,
        row | {"name": "asleep", "time": now - 1201},
        row | {"name": "torn", "code": "witness.disputed", "time": now - 5},
        row | {"name": "new", "size": 0, "time": 0},
    ]
    monkeypatch.setitem(office.local.operations, WITNESSES, lambda _document: {"log": {}, "witnesses": rows})
    page, chinese = (office.staff(Role.AUDITOR).get(f"/oversight?lang={lang}").text for lang in ("en", "zh"))
    cards = dict(re.findall(r"mc-mono\">(regulator|asleep|torn|new)((?:.|\n)*?)</li>", page))
    assert "3 min ago (" in cards["regulator"]
    assert ", 34 entries" in cards["regulator"]
    assert ["· late" in cards[name] for name in ("regulator", "asleep", "torn", "new")] == [False, True, False, False]
    assert "· amiss" in cards["torn"]
    assert "witness.disputed" in cards["torn"]
    assert "It does not accept that the ledger grew from what it has seen" in cards["torn"]
    assert "Nothing cosigned yet" in cards["new"]
    assert "3 分钟前（" in chinese
    assert json.loads(office.staff(Role.AUDITOR).get(PATHS[1]).data)["witnesses"] == rows


def test_an_alarm_says_in_words_what_it_is_and_keeps_its_code(office, monkeypatch):
    rows = [
        ALARM | {"code": code, "id": at, "subject": TONGJI}
        for at, code in enumerate(("checkpoint.split_view", "block.root", "x.y"))
    ]
    monkeypatch.setitem(office.local.operations, "status", lambda _document: {"alarms": rows})
    page, chinese = (office.staff(Role.AUDITOR).get(f"/oversight?lang={lang}").text for lang in ("en", "zh"))
    said = ("Two histories of the ledger that contradict each other", "A block of the orderer was refused", "x.y")
    assert [text in page for text in (*said, "checkpoint.split_view", "block.root")] == [True] * 5
    assert "有人签署了两份互相矛盾的账本历史" in chinese
    assert re.search(r">x\.y</h3>\s*<p class=\"mc-mono\">机构</p>", chinese)


def test_every_kind_has_a_name_on_the_page():
    # No transaction is of the kind "state".
    assert {f"oversight.kind.{name}" for name in KINDS if name != "state"} <= STAFF_WORDS.keys()
