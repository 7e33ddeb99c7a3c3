"""The demo's parts that need no running node: its words, its data, its founding."""

from __future__ import annotations

import argparse
import gzip
import io
import json
import lzma
import re
import socket
import string
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest

from consent.web.one_claim_words import ONE_CLAIM_WORDS
from consent.web.sign_words import SIGN_WORDS
from fhir_bridge.claims_desk.words import CLAIM_WORDS
from medchain.commands import demo_consortium, demo_ports, demo_predicates, demo_texts
from medchain.commands.command import Context, Text
from medchain.commands.demo_consortium import (
    FOUNDERS,
    ORDERER,
    Consortium,
    open_consortium,
)
from medchain.commands.demo_load import (
    Loader,
    as_transaction,
    cited,
    moved,
    sample_folder,
    sample_sources,
    sources,
    unpack,
)
from medchain.commands.demo_person import Person
from medchain.commands.demo_ports import take_again, take_ports
from medchain.commands.demo_story import Phone
from medchain.commands.demo_summary import person_lines
from medchain.encoding import as_object
from medchain.errors import ConflictError, InputError, NotFoundError, UnavailableError
from medchain.ledger.genesis import trusted_policy_text, verify_genesis
from medchain.node import asking, concerns
from medchain.node.assembly import read_genesis
from medchain.node.config import load_config
from medchain.node.keystore import Layout

NOW = 1_796_083_200


def context() -> Context:
    silent = io.StringIO()
    return Context(argparse.Namespace(), "en", as_json=False, out=silent, err=silent, clock=lambda: NOW)


@pytest.fixture(scope="module")
def founded(tmp_path_factory) -> Iterator[Consortium]:
    consortium, is_new = open_consortium(tmp_path_factory.mktemp("demo") / "demo", context())
    assert is_new
    with consortium:
        yield consortium


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_each_text_has_the_same_fields_in_both_languages():
    texts = [item for item in vars(demo_texts).values() if isinstance(item, Text)] + list(demo_texts.ERRORS.values())
    assert len(texts) > 40
    assert [item for item in texts if fields(item.zh) != fields(item.en)] == []


def test_a_file_goes_to_the_hospital_that_its_name_begins_with_and_directories_come_first(tmp_path):
    for name in ("renhe-hospital.p2.json", "binhai-hospital.p1.json.gz", "renhe-hospital.0-directory.json", "a.txt"):
        (tmp_path / name).write_bytes(b"")
    assert [(item.path.name, item.custodian) for item in sources(tmp_path)] == [
        ("renhe-hospital.0-directory.json", "renhe-hospital"),
        ("binhai-hospital.p1.json.gz", "binhai-hospital"),
        ("renhe-hospital.p2.json", "renhe-hospital"),
    ]


def test_files_of_other_origin_are_shared_out_and_what_they_refer_to_goes_to_both(tmp_path):
    for name in ("0_hospitals.json.xz", "practitionerInformation1.json", "Ann.json", "Bob.json", "Cy.json"):
        (tmp_path / name).write_bytes(b"")
    rows = [(item.path.name, item.custodian) for item in sources(tmp_path)]
    assert rows[:4] == [
        ("0_hospitals.json.xz", "renhe-hospital"),
        ("0_hospitals.json.xz", "binhai-hospital"),
        ("practitionerInformation1.json", "renhe-hospital"),
        ("practitionerInformation1.json", "binhai-hospital"),
    ]
    assert rows[4:] == [
        ("Ann.json", "renhe-hospital"),
        ("Bob.json", "binhai-hospital"),
        ("Cy.json", "renhe-hospital"),
    ]


def test_a_folder_without_bundles_is_refused(tmp_path):
    with pytest.raises(NotFoundError, match=r"demo\.no_data"):
        sources(tmp_path)
    with pytest.raises(NotFoundError, match=r"demo\.no_data"):
        sources(tmp_path / "absent")


def test_the_sample_data_have_a_directory_of_each_hospital_first_and_what_insurers_hold_last():
    every = sample_sources()
    stories = [(item.path.name, item.custodian) for item in every if item.path.parent.name == "stories"]
    assert stories == [
        ("altered-record.json", "binhai-hospital"),
        ("emergency-access.json", "binhai-hospital"),
        ("late-entry.json", "renhe-hospital"),
        ("emergency-access.anxin-insurance.json", "anxin-insurance"),
        ("late-entry.anxin-insurance.json", "anxin-insurance"),
    ]
    is_insurers = ["insurance" in item.custodian for item in every]
    assert is_insurers == sorted(is_insurers)
    own = [item.path.name for item in every if item.custodian == "anxin-insurance"]
    assert (own[0], own[-2:]) == ("anxin-insurance.0-directory.json.gz", [name for name, _ in stories[-2:]])
    found = sources(sample_folder())
    assert [item.path.name.split(".")[1] for item in found[:2]] == ["0-directory", "0-directory"]
    assert {item.custodian for item in found} == {
        "binhai-hospital", "renhe-hospital", "anxin-insurance", "taihe-insurance"
    }  # fmt: skip


def test_what_an_insurer_cites_gets_the_address_that_the_hospitals_node_gave_it_and_nothing_else_is_touched():
    uid, other = "e895a399-04ae-51b1-9be5-255fd0b27e54", "51a8c59d-0157-51e9-9809-767c1b8677d4"
    place = "http://localhost:1/fhir/Invoice/abc"
    given = (
        b'{"a":5.60,"reference":"https://renhe-hospital.example/fhir/Invoice/%s","b":"https://renhe-hospital.example/fhir/id/x"}'
        % uid.encode()
    )
    assert cited(given, {("renhe-hospital", uid): place}) == given.replace(
        b"https://renhe-hospital.example/fhir/Invoice/" + uid.encode(), place.encode()
    )
    with pytest.raises(InputError, match=r"demo\.file"):
        cited(given, {("binhai-hospital", uid): place, ("renhe-hospital", other): place})


def test_what_a_story_tells_of_a_day_is_moved_to_the_day_before_and_what_was_earlier_stays():
    began, now = "2026-05-17T02:49:00+08:00", 1_806_544_800  # 2027-04-01T10:00:00+08:00
    given = (
        b'{"birthDate":"1997-02-28","start": "2022-04-01","at":"2026-05-17T05:57:00+08:00","on":"2026-05-17",'
        b'"number":"BH-JZ-20260517-00401","before":"2026-05-16T23:59:00+08:00","created":"2026-05-21T10:05:00+08:00"}'
    )
    assert moved(given, began, now) == (
        b'{"birthDate":"1997-02-28","start": "2022-04-01","at":"2027-03-31T05:57:00+08:00","on":"2027-03-31",'
        b'"number":"BH-JZ-20260517-00401","before":"2026-05-16T23:59:00+08:00","created":"2027-04-01T10:00:00+08:00"}'
    )


@pytest.mark.parametrize(("suffix", "pack"), [("", bytes), (".gz", gzip.compress), (".xz", lzma.compress)])
def test_files_are_unpacked(tmp_path, suffix, pack):
    path = tmp_path / f"bundle.json{suffix}"
    path.write_bytes(pack(b'{"a":1.50}'))
    assert unpack(path) == b'{"a":1.50}'


@pytest.mark.parametrize("suffix", [".gz", ".xz"])
def test_a_damaged_file_is_refused_by_name(tmp_path, suffix):
    path = tmp_path / f"bundle.json{suffix}"
    path.write_bytes(b"not packed")
    with pytest.raises(InputError, match=r"demo\.file"):
        unpack(path)


def test_a_transaction_keeps_its_bytes_and_a_collection_becomes_one():
    given = b'{"resourceType":"Bundle","type":"transaction","entry":[{"value":5.60}]}'
    assert as_transaction(given) == given
    collection = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": {"resourceType": "Patient"}}]}
    made = json.loads(as_transaction(json.dumps(collection).encode()))
    assert made["type"] == "transaction"
    assert made["entry"][0]["request"] == {"method": "POST", "url": "Patient"}


@pytest.mark.parametrize("content", [b"[]", b"{", b'{"entry":[{}]}', b'{"entry":[{"resource":{}}]}', b"7"])
def test_what_is_no_bundle_is_refused(content):
    with pytest.raises(InputError, match=r"demo\.file"):
        as_transaction(content)


def test_data_without_the_claim_that_is_left_open_have_none(founded):
    assert Loader(founded, str, print, NOW).left_open() is None


def said(text: Text, /, **fields: object) -> str:
    return text.en.format(**fields)


def test_the_summary_leads_from_the_patients_link_to_the_claim_and_to_the_desk_alone_where_that_is_paid(founded):
    insurer = founded.nodes["anxin-insurance"]
    person = {"claim": {"case": "ca5e", "claim": "Claim/1", "number": "AX1"}, "patient": "p1"}
    person |= {"sign_in": "http://localhost:1/my", "url": "http://localhost:1/my/enrol#x", "waits": []}
    *who, place, way = person_lines(founded, person, said)
    assert who
    assert person["url"] in place
    in_order = ["AX1", f"--role desk --config {insurer.config_path}", f"{insurer.web_url}/claims/cases/ca5e", "/my"]
    places = [way.index(part) for part in in_order]
    assert places == sorted(places)
    founded.facts["stories"] = [{}]
    try:
        *_, desk = person_lines(founded, person | {"claim": None}, said)
        assert f"{insurer.web_url}/claims" in desk
        assert "cases" not in desk
        assert list(person_lines(founded, {}, said)) == [desk]
    finally:
        del founded.facts["stories"]
    assert list(person_lines(founded, {}, said)) == []


@pytest.mark.parametrize(
    ("waits", "said_of_it"),
    [
        (["ask", "correction", "emergency"], ["request waits", "correction", "emergency access"]),
        (["emergency"], ["emergency access"]),
        ([], ["Nothing waits now"]),
    ],
)
def test_the_summary_says_of_the_patient_only_what_waits_now(founded, waits, said_of_it):
    person = {"claim": None, "patient": "p1", "sign_in": "/my", "url": "/my/enrol#x", "waits": waits}
    _, *told, place = person_lines(founded, person, said)
    assert person["url"] in place
    assert len(told) == len(said_of_it)
    assert all(part in line for part, line in zip(said_of_it, told, strict=True))


@dataclass
class Hospital:
    """Answers as a hospital's daemon does of a patient."""

    asks: list[dict]
    due: int | None
    emergencies: list[dict]

    def call(self, operation: str, _document: object, _limits: object = None) -> dict:
        answers = {
            asking.LIST: {"asks": self.asks},
            concerns.LIST: {"concerns": [{"due": self.due}]},
            "emergency.list": {"emergencies": self.emergencies},
        }
        return answers[operation]


OPEN_ASK, CLAIM_ASK = {"answer": None}, {"answer": None, "claim": {"number": "AX1"}}


@pytest.mark.parametrize(
    ("hospital", "glass", "waits"),
    [
        (Hospital([OPEN_ASK], 5, []), "0a", ["ask", "correction", "emergency"]),
        (Hospital([OPEN_ASK], 5, [{"key": "0a", "review": None}]), "0a", ["ask", "correction", "emergency"]),
        (Hospital([OPEN_ASK | {"answer": "declined"}], None, [{"key": "0a", "review": {}}]), "0a", []),
        # An ask for the claim is no ask for records; another's emergency is not this person's.
        (Hospital([CLAIM_ASK], None, [{"key": "0b", "review": None}]), None, []),
    ],
)
def test_what_waits_for_the_person_is_what_is_not_answered_or_reviewed(monkeypatch, founded, hospital, glass, waits):
    monkeypatch.setattr(founded.nodes["renhe-hospital"], "local", hospital)
    monkeypatch.setattr(founded, "facts", {} if glass is None else {"glass": glass})
    person = Person(founded, context(), None, print)
    assert [*person._waits("p1")] == waits  # noqa: SLF001  # what the summary is told


def test_what_the_summary_says_to_press_are_words_of_the_pages():
    words = [*CLAIM_WORDS.values(), *ONE_CLAIM_WORDS.values(), *SIGN_WORDS.values()]
    pressed = {
        0: re.findall("“([^”]+)”", demo_texts.CLAIM_TO_TRY.zh),
        1: re.findall('"([^"]+)"', demo_texts.CLAIM_TO_TRY.en),
    }
    for at, found in pressed.items():
        assert len(found) > 5
        assert [one for one in found if one not in {word[at] for word in words}] == []


def test_each_state_that_a_statement_of_the_demo_can_have_has_words():
    types = [as_object(one) for one in demo_predicates.TYPES.values()]
    reached = {step["to"] for one in types for step in as_object(one["steps"]).values()}
    assert reached | {one["state"] for one in types} == demo_texts.STATES.keys()


def test_founding_gives_each_organisation_keys_of_its_own_and_all_the_same_verified_genesis(founded):
    found = [read_genesis(Layout(founded.folder / founder.org_id)) for founder in FOUNDERS]
    assert {genesis.ledger for genesis, _ in found} == {founded.genesis.ledger}
    for genesis, signatures in found:
        verify_genesis(genesis, signatures)
    keys = [key.id for item in founded.genesis.members.organisations.values() for key in item.keys]
    assert len(keys) == len(set(keys)) == 30
    assert founded.genesis.members.protocol.orderer == ORDERER
    # As the sample data's invoices have them.
    issued = {name: one.invoices.issuers for name, one in founded.genesis.members.organisations.items() if one.invoices}
    assert issued == {"renhe-hospital": ("99010001",), "binhai-hospital": ("99010002",)}
    assert founded.genesis.demo
    assert founded.genesis.rp_id == "localhost"


def test_each_node_is_of_the_zone_of_the_sample_data_whoever_starts_it(founded):
    zones = {load_config(node.config_path, {}, {}).time_zone for node in founded.nodes.values()}
    assert zones == {"Asia/Shanghai"}


def test_the_trusted_policy_is_that_of_the_members(founded):
    expected = trusted_policy_text(founded.genesis.members, founded.genesis.origin)
    assert founded.policy_path.read_text(encoding="utf-8") == expected


def test_all_ports_differ(founded):
    ports = [port for node in founded.nodes.values() for port in (node.web_port, node.peer_port)]
    assert len(set(ports)) == 10


def test_a_second_opening_finds_the_same_ledger_and_what_was_remembered(founded):
    founded.remember(patient="p1", records=7)
    again, is_new = open_consortium(founded.folder, context())
    assert not is_new
    assert again.genesis.ledger == founded.genesis.ledger
    assert again.facts == {"patient": "p1", "records": 7}
    assert [node.web_port for node in again.nodes.values()] == [node.web_port for node in founded.nodes.values()]


def test_a_founding_that_was_cut_short_begins_anew(tmp_path):
    folder = tmp_path / "demo"
    (folder / "renhe-hospital").mkdir(parents=True)
    (folder / "renhe-hospital" / "node.toml").write_text("half")
    (folder / "unfinished").touch()
    consortium, is_new = open_consortium(folder, context())
    with consortium:
        assert is_new
        assert not (folder / "unfinished").exists()
        assert "half" not in consortium.nodes["renhe-hospital"].config_path.read_text()


def test_a_loading_that_was_cut_short_begins_anew_with_a_word_about_it(tmp_path):
    told = context()
    first, _ = open_consortium(tmp_path / "demo", told)
    with first, suppress(KeyboardInterrupt), first.loading():
        raise KeyboardInterrupt
    told.err.truncate(0)
    again, is_new = open_consortium(first.folder, told)
    with again:
        assert is_new
        assert again.genesis.ledger != first.genesis.ledger
        assert "beginning" in told.err.getvalue()
        with again.loading():
            again.remember(records=7)
    kept, is_new = open_consortium(first.folder, told)
    assert (is_new, kept.facts, kept.genesis.ledger) == (False, {"records": 7}, again.genesis.ledger)


def test_a_demo_that_is_just_loading_is_not_taken_for_one_that_was_cut_short(founded, monkeypatch):
    with suppress(KeyboardInterrupt), founded.loading():
        raise KeyboardInterrupt
    monkeypatch.setattr(demo_consortium, "_runs", lambda folder: folder.name == "taihe-insurance")
    before = founded.policy_path.read_bytes()
    with pytest.raises(ConflictError, match=r"node\.running"):
        open_consortium(founded.folder, context())
    assert founded.policy_path.read_bytes() == before
    (founded.folder / "unfinished").unlink()


def test_a_folder_with_something_else_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ConflictError, match=r"demo\.folder"):
        open_consortium(tmp_path, context())
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_port_that_another_program_has_taken_is_named_before_anything_starts(founded):
    node = founded.nodes["taihe-insurance"]
    with socket.socket() as other:
        other.bind(("127.0.0.1", node.web_port))
        other.listen()
        with pytest.raises(ConflictError, match=r"demo\.port") as raised:
            founded.start()
    assert raised.value.fields == {"org_id": "taihe-insurance", "port": node.web_port}
    assert [item.process for item in founded.nodes.values()] == [None] * 5


def test_two_demos_that_begin_together_choose_different_ports(founded):
    # Nothing of either runs yet: every port of both is free.
    again, _ = open_consortium(founded.folder, context())
    with again, pytest.raises(ConflictError, match=r"demo\.port"):
        again.start()
    first = take_ports(10, str(founded.folder))
    assert set(first.row).isdisjoint(founded.ports.row)
    first.close()
    assert take_again(founded.nodes[ORDERER].web_port) is None


def test_ports_that_were_given_back_are_the_first_choice_of_who_had_them():
    taken = take_ports(3, "/somebody's/folder")
    taken.close()
    again = take_ports(3, "/somebody's/folder")
    assert (len(again.row), again.row) == (3, taken.row)
    again.close()
    held = take_again(taken.row[1])
    assert set(taken.row) < set(held.row)
    held.close()
    assert take_again(80) is None


def test_ports_that_another_program_listens_on_are_passed_over():
    taken = take_ports(3, "here")
    taken.close()
    with socket.create_server(("127.0.0.1", taken.row[2])):
        other = take_ports(3, "here")
    assert set(other.row).isdisjoint(taken.row)
    other.close()


def test_a_machine_without_free_ports_is_told(monkeypatch):
    monkeypatch.setattr(demo_ports, "is_free", lambda _port: False)
    with pytest.raises(ConflictError, match=r"demo\.no_ports"):
        take_ports(1, "here")


def test_a_folder_of_data_that_is_not_there_is_told_before_anything_is_made(tmp_path, run):
    ran = run("demo", "--folder", tmp_path / "demo", "--data", tmp_path / "none")
    assert ran.code == 4
    assert "(demo.no_data" in ran.err
    assert not (tmp_path / "demo").exists()


def test_waiting_ends_when_a_node_has_ended(founded):
    with pytest.raises(UnavailableError, match=r"demo\.node_ended"):
        founded.wait_for(lambda: True, "demo.not_agreed", 1)


def test_the_phone_keeps_its_passkey(tmp_path):
    first = Phone(tmp_path, "http://localhost:1", "localhost")
    assert Phone(tmp_path, "http://localhost:1", "localhost").credential() == first.credential()
    assert (tmp_path / "passkey.key").stat().st_mode & 0o077 == 0
