"""Status, clients, tokens, members, backup, restore and doctor."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from medchain.commands import doctor, erasing, keeping
from medchain.crypto.es384 import Es384Signer, public_jwk
from medchain.crypto.keywrap import derive
from medchain.encoding import canonical
from medchain.errors import UnavailableError
from medchain.ledger.genesis import parse_genesis, trusted_policy_text
from medchain.node.assembly import LocalOperations
from medchain.node.clock import system_clock
from medchain.node.config import Address, MailServer, load_config
from medchain.node.dispatching import LATE_S
from medchain.node.keystore import Layout, open_root_file, open_web_keys, unlock, write_private_file
from medchain.node.ledger_driver import VouchedFile
from medchain.node.local_state import write_state
from medchain.node.records import NewRecord, RecordService
from medchain.ordering.cosign import Vouched
from medchain.store.engine import FileKind, open_database
from medchain.store.notices import Dispatch, NoticeRow
from medchain.store.records import CONCERN, RecordStore
from medchain.web.peer import local_routes
from medchain.web.routing import Router
from medchain.web.server import DaemonServer
from tests.mail_server import MailBox, mail_server

CLIENT = Es384Signer(b"c" * 32)
PATIENT = {"resourceType": "Patient", "id": "p1"}


@pytest.fixture
def filled(run, node, tmp_path):
    """A node with one patient."""
    (tmp_path / "p.json").write_text(json.dumps(PATIENT))
    assert run("import", tmp_path / "p.json", "--config", node).code == 0
    return node


def opened(node) -> RecordStore:
    web = unlock(open_root_file(node.parent / "keys" / "root.key", None)).web
    database = open_database(node.parent / "records.db", derive(web, "database/records"), kind=FileKind.RECORDS)
    return RecordStore(database)


def test_a_node_that_does_not_run_is_told(run, node):
    for language in ("zh", "en"):
        ran = run("status", "--config", node, "--lang", language)
        assert (ran.code, "node.not_running" in ran.err) == (7, True)


def test_a_node_that_was_killed_does_not_run_though_its_file_is_there(run, node, daemon):
    assert daemon["ready"]
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    left = {"pid": child.pid, "processes": {}, "type": "medchain/node-state/v1"}
    write_private_file(Layout(node.parent).run / "node.json", canonical(left))
    ran = run("status", "--config", node)
    assert (ran.code, "node.not_running" in ran.err) == (7, True)


@pytest.fixture
def daemon(node):
    """A daemon that answers what it is told to, on its real server."""
    layout = Layout(node.parent)
    layout.create()
    answers = {"final_size": 40, "height": 12, "ready": True, "reasons": [], "size": 42}
    operations = LocalOperations({"status": lambda _document: answers})
    server = DaemonServer(Address("127.0.0.1", 0), Router("local", local_routes(operations), local_secret="s" * 64))
    server.start()
    url = f"http://127.0.0.1:{server.address.port}"
    write_state(layout, pid=1, local_url=url, peer_url=url, secret="s" * 64)
    processes = {"daemon": {"pid": 2, "restarts": 3}, "web": {"pid": None, "restarts": 1}}
    state = {"pid": 1, "processes": processes, "type": "medchain/node-state/v1"}
    write_private_file(layout.run / "node.json", canonical(state))
    yield answers
    server.stop(5)


def test_the_status_tells_how_far_the_ledger_is_and_who_runs(run, node, daemon):
    shown = run("status", "--config", node)
    assert (shown.code, daemon["ready"]) == (0, True)
    assert shown.out.splitlines() == [
        "renhe-hospital: ready",
        "ledger: height 12, 42 entries, 40 of them final",
        "daemon: process 2, restarted 3 times",
        "web: does not run, restarted 1 times",
    ]


def test_a_node_that_is_not_ready_says_why(run, node, daemon):
    daemon |= {"ready": False, "reasons": ["ordering.behind"]}
    shown = run("status", "--config", node)
    assert (shown.code, "to look at: ordering.behind" in shown.out) == (7, True)
    assert run("status", "--json", "--config", node).document["health"]["ready"] is False


def test_the_status_says_in_words_that_a_clock_is_why_nothing_is_ordered_and_until_when(run, node, daemon):
    daemon |= {"reasons": ["ordering.clock"], "time": 1_796_083_200}
    assert "this machine's clock may be wrong" in run("status", "--config", node).out
    assert "本机时钟可能有误" in run("status", "--config", node, "--lang", "zh").out
    daemon |= {"reasons": ["ordering.ahead"]}
    assert "the newest block is dated 2026-12-01T00:00:00Z, later than" in run("status", "--config", node).out
    assert "最新区块的时间为 2026-12-01T00:00:00Z" in run("status", "--config", node, "--lang", "zh").out


WAITS = {
    "awaited": {
        "sets": [{"leaving": ["tongji-hospital"], "missing": ["anxin-insurance", "tongji-hospital"], "needed": 1}],
        "since": 1_796_083_200,
    }
}


def test_the_status_names_whose_cosignatures_blocks_wait_for_and_whose_suspension(run, node, daemon):
    daemon |= WAITS
    shown = run("status", "--config", node)
    assert "not final since 2026-12-01T00:00:00Z: 1 more must cosign, of anxin-insurance, tongji-hospital" in shown.out
    assert "a change that suspends or removes tongji-hospital waits for that" in shown.out
    assert (
        "还差 1 个机构的联署，尚缺 anxin-insurance, tongji-hospital"
        in run("status", "--config", node, "--lang", "zh").out
    )


@pytest.mark.parametrize(("waited_s", "state"), [(60, "good"), (130, "bad")])
def test_the_doctor_minds_what_waits_for_longer_than_two_minutes(run, filled, monkeypatch, waited_s, state):
    awaited = WAITS["awaited"] | {"since": system_clock() - waited_s}
    answer = {"awaited": awaited, "final_size": 4, "ready": True, "reasons": [], "size": 6}
    monkeypatch.setattr(doctor.LocalClient, "call", lambda *_given: answer)
    assert findings(run, filled)["finality"] == state
    said = run("doctor", "--config", filled).out
    assert ("1 more must cosign, of anxin-insurance, tongji-hospital" in said) == (state == "bad")


def test_an_alarm_is_shown_until_somebody_acknowledges_it(run, filled, daemon):
    with closing(opened(filled)) as store:
        store.raise_alarm("draw.given_up", "anxin-insurance", 12, b'{"given_up":40}', 1_796_083_200)
    daemon["alarms"] = [{"id": 1, "code": "draw.given_up", "subject": "anxin-insurance", "height": 12, "count": 1}]
    shown = run("status", "--config", filled)
    assert "alarm 1: draw.given_up anxin-insurance at height 12" in shown.out
    listed = run("alarm", "list", "--config", filled)
    assert (listed.code, "draw.given_up anxin-insurance" in listed.out) == (0, True)
    words = ("alarm", "acknowledge", 1, "--config", filled, "--note")
    assert "alarm.note" in run(*words, " ").err
    assert run(*words, "asked them").code == 0
    again = run(*words, "again")
    assert (again.code, "alarm.unknown" in again.err) == (4, True)
    assert "no alarms" in run("alarm", "list", "--config", filled).out
    [row] = run("alarm", "list", "--acknowledged", "--json", "--config", filled).document["alarms"]
    assert (row["note"], row["fields"]) == ("asked them", {"given_up": 40})


def test_a_broken_configuration_is_explained_by_every_command(run, tmp_path):
    (tmp_path / "node.toml").write_text('[organisation]\nid = "Not Good"\n[web]\nworkers = 0\n')
    for words in (("status",), ("doctor",), ("config", "check"), ("import", "x")):
        (tmp_path / "x").touch()
        ran = run(*words, "--config", tmp_path / "node.toml")
        if words[0] != "import":
            assert ran.code in (1, 2)
            assert "config.org_id" in ran.err + ran.out or "organisation.id" in ran.out


def test_a_setting_without_a_value_is_refused(run, node):
    ran = run("node", "run", "--set", "web.workers", "--config", node)
    assert (ran.code, "call.setting" in ran.err) == (2, True)


def test_a_setting_on_the_command_line_that_cannot_be_is_explained(run, node):
    ran = run("node", "run", "--set", "web.workers=0", "--config", node)
    assert (ran.code, "web.workers" in ran.err) == (2, True)


def test_a_client_is_registered_listed_and_removed(run, node, tmp_path):
    config = ("--config", node)
    (tmp_path / "jwk").write_text(json.dumps(public_jwk(CLIENT.public) | {"kid": "k", "alg": "ES384"}))
    words = ("client", "add", "his", "--jwk", tmp_path / "jwk", "--scope", "system/Patient.r", "--scope", "system/*.c")
    assert run(*words, *config).code == 0
    assert run(*words, *config).code == 6
    listed = run("client", "list", "--json", *config).document
    assert listed == {"clients": [{"client": "his", "scopes": "system/Patient.r system/*.c"}]}
    assert run("client", "remove", "his", *config).code == 0
    assert run("client", "remove", "his", *config).code == 4
    assert "No client" in run("client", "list", *config).out


def test_a_private_key_is_not_taken(run, node, tmp_path):
    (tmp_path / "jwk").write_text(json.dumps(CLIENT.private_jwk()))
    ran = run("client", "add", "his", "--jwk", tmp_path / "jwk", "--scope", "system/*.c", "--config", node)
    assert (ran.code, "client.jwk" in ran.err) == (2, True)
    assert not (node.parent / "clients.json").exists()


def test_a_token_lives_an_hour_at_most(run, node):
    words = ("token", "issue", "--scope", "system/*.r", "--config", node)
    assert run(*words).out.count(".") == 2
    assert run(*words, "--seconds", "3600").code == 0
    assert run(*words, "--seconds", "3601").code == 2
    assert run("token", "issue", "--scope", "everything", "--config", node).code == 2


def test_members_and_policies_are_those_of_the_genesis_before_the_node_ran(run, node, founded):
    rows = run("org", "list", "--json", "--config", node).document["organisations"]
    assert [row["org_id"] for row in rows] == ["anxin-insurance", "health-commission", "renhe-hospital"]
    shown = run("org", "show", "renhe-hospital", "--json", "--config", node).document
    assert min(key["use"] for key in shown["keys"]) == "authentication"
    assert run("org", "show", "nobody", "--config", node).code == 4
    genesis = parse_genesis((founded / "genesis.json").read_bytes())
    trusted = run("policy", "show", "--trusted", "--config", node)
    assert trusted.out == trusted_policy_text(genesis.members, genesis.origin)
    assert 'record/active: "creator"' in run("policy", "show", "--config", node).out


def test_a_backup_restores_to_the_same_records_without_the_root_key_in_it(run, filled, tmp_path):
    assert run("backup", tmp_path / "b", "--config", filled).code == 0
    root = (filled.parent / "keys" / "root.key").read_bytes()
    assert all(root not in path.read_bytes() for path in (tmp_path / "b").rglob("*") if path.is_file())
    restored = run("restore", tmp_path / "b", tmp_path / "r", "--root-key", filled.parent / "keys" / "root.key")
    assert restored.code == 0, restored.err
    shown = run("record", "show", "Patient/p1", "--config", tmp_path / "r" / "node.toml")
    assert shown.out == run("record", "show", "Patient/p1", "--config", filled).out


def test_a_restored_node_is_marked_as_such(run, filled, tmp_path):
    run("backup", tmp_path / "b", "--config", filled)
    run("restore", tmp_path / "b", tmp_path / "r", "--root-key", filled.parent / "keys" / "root.key")
    assert (tmp_path / "r" / "restored").exists()


def test_a_key_destroyed_after_the_backup_is_destroyed_in_the_restored_node(run, filled, tmp_path):
    run("backup", tmp_path / "b", "--config", filled)
    with closing(opened(filled)) as store:
        store.erase(store.get("Patient", "p1").epoch_id, 1)
    words = ("--root-key", filled.parent / "keys" / "root.key", "--old", filled.parent)
    restored = run("restore", tmp_path / "b", tmp_path / "r", *words, "--json")
    assert restored.document["destroyed"] == 1
    assert "1 keys were destroyed again" in restored.err
    ran = run("record", "show", "Patient/p1", "--config", tmp_path / "r" / "node.toml")
    assert (ran.code, "record.erased" in ran.err) == (4, True)


def test_a_restore_without_the_old_node_warns_of_keys_that_exist_again(run, filled, tmp_path):
    run("backup", tmp_path / "b", "--config", filled)
    restored = run("restore", tmp_path / "b", tmp_path / "r", "--root-key", filled.parent / "keys" / "root.key")
    assert "exist again" in restored.err


def test_a_newer_backup_tells_which_keys_were_destroyed(run, filled, tmp_path):
    run("backup", tmp_path / "b", "--config", filled)
    with closing(opened(filled)) as store:
        store.erase(store.get("Patient", "p1").epoch_id, 1)
    run("backup", tmp_path / "newer", "--config", filled)
    words = ("--root-key", filled.parent / "keys" / "root.key", "--erasures", tmp_path / "newer")
    restored = run("restore", tmp_path / "b", tmp_path / "r", *words, "--json")
    assert restored.document["destroyed"] == 1


def test_a_backup_may_be_one_file(run, filled, tmp_path):
    assert run("backup", tmp_path / "b.tar", "--config", filled).code == 0
    words = ("--root-key", filled.parent / "keys" / "root.key", "--nothing-erased")
    restored = run("restore", tmp_path / "b.tar", tmp_path / "r", *words)
    assert (restored.code, "exist again" in restored.err) == (0, False)
    assert run("record", "show", "Patient/p1", "--config", tmp_path / "r" / "node.toml").code == 0


def test_a_backup_of_another_root_key_is_refused(run, filled, founded, tmp_path):
    run("backup", tmp_path / "b", "--config", filled)
    other = founded / "anxin-insurance" / "keys" / "root.key"
    ran = run("restore", tmp_path / "b", tmp_path / "r", "--root-key", other)
    assert (ran.code, "backup.tag" in ran.err) == (1, True)
    assert run("restore", tmp_path / "b", tmp_path / "r", "--root-key", tmp_path / "none").code == 4


@pytest.mark.parametrize("name", ["records.db", "keys/keystore.json", "genesis.json"])
def test_a_changed_backup_is_refused_and_nothing_is_restored(run, filled, tmp_path, name):
    run("backup", tmp_path / "b", "--config", filled)
    content = bytearray((tmp_path / "b" / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "b" / name).write_bytes(content)
    ran = run("restore", tmp_path / "b", tmp_path / "r", "--root-key", filled.parent / "keys" / "root.key")
    assert (ran.code, "backup.changed" in ran.err) == (1, True)
    assert not (tmp_path / "r").exists()


def test_a_file_more_in_a_backup_is_noticed(run, filled, tmp_path):
    run("backup", tmp_path / "b", "--config", filled)
    (tmp_path / "b" / "clients.json").write_bytes(b"{}")
    ran = run("restore", tmp_path / "b", tmp_path / "r", "--root-key", filled.parent / "keys" / "root.key")
    assert (ran.code, "backup.changed" in ran.err) == (1, True)


def test_a_restore_whose_root_key_finds_no_room_leaves_nothing_and_is_made_again(run, filled, tmp_path, monkeypatch):
    """It is the last file: a node without it, whose folder is there, would be refused to be restored again."""
    run("backup", tmp_path / "b", "--config", filled)
    words = ("restore", tmp_path / "b", tmp_path / "r", "--root-key", filled.parent / "keys" / "root.key")

    def full(path: Path, _content: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(keeping, "write_private_file", full)
    assert run(*words, "--nothing-erased").code == 7
    assert {path.name for path in tmp_path.iterdir() if path.name.startswith("r")} == set()
    monkeypatch.undo()
    assert run(*words, "--nothing-erased").code == 0
    assert run("doctor", "--config", tmp_path / "r" / "node.toml").code == 0


def test_the_root_key_is_placed_where_a_whole_path_in_the_configuration_says(run, filled, tmp_path):
    place = tmp_path / "r" / "keys" / "mine.key"
    filled.write_text(filled.read_text().replace('# file = "keys/root.key"', f'file = "{place}"'))
    root = filled.parent / "keys" / "root.key"
    place.parent.mkdir(parents=True)
    place.write_bytes(root.read_bytes())
    place.chmod(0o600)
    assert run("backup", tmp_path / "b", "--config", filled).code == 0
    shutil.rmtree(tmp_path / "r")
    assert run("restore", tmp_path / "b", tmp_path / "r", "--root-key", root, "--nothing-erased").code == 0
    assert place.read_bytes() == root.read_bytes()


def test_what_a_killed_restore_unpacked_is_cleared_away(run, filled, tmp_path):
    run("backup", tmp_path / "b.tar", "--config", filled)
    (tmp_path / "r.unpacked").mkdir()
    (tmp_path / "r.unpacked" / "node.toml").write_text("half of it")
    words = ("--root-key", filled.parent / "keys" / "root.key", "--nothing-erased")
    assert run("restore", tmp_path / "b.tar", tmp_path / "r", *words).code == 0
    assert not (tmp_path / "r.unpacked").exists()


def test_neither_backup_nor_restore_overwrites(run, filled, tmp_path):
    assert run("backup", tmp_path, "--config", filled).code == 6
    run("backup", tmp_path / "b", "--config", filled)
    words = ("--root-key", filled.parent / "keys" / "root.key")
    assert run("restore", tmp_path / "b", filled.parent, *words).code == 6


def findings(run, node, *words: str) -> dict[str, str]:
    ran = run("doctor", *words, "--json", "--config", node)
    return {row["check"]: row["state"] for row in json.loads(ran.out.splitlines()[0])["findings"]}


def test_the_doctor_says_what_is_good_and_what_it_could_not_look_at(run, filled):
    found = findings(run, filled, "--full")
    good = ("signatures", "configuration", "keys", "permissions", "records")
    assert {name: found[name] for name in good} == dict.fromkeys(good, "good")
    assert (found["ledger"], found["daemon"], found["clock"]) == ("skipped", "skipped", "skipped")


@pytest.mark.parametrize(("is_running", "state", "code"), [(True, "bad", 1), (False, "skipped", 0)])
def test_peers_that_do_not_answer_are_amiss_where_the_node_runs(run, filled, monkeypatch, is_running, state, code):
    """Where it is stopped itself they may be so as well, and no doctor finds a stopped demo ill."""
    daemon = doctor.Finding("daemon", "good" if is_running else "skipped")
    monkeypatch.setattr(doctor, "_daemon", lambda *_given: daemon)
    assert findings(run, filled)["peers"] == state
    assert run("doctor", "--config", filled).code == code


@pytest.mark.parametrize(
    ("reasons", "state"),
    [([], "good"), (["ordering.log_key"], "bad"), (["ordering.clock"], "bad"), (["ordering.ahead"], "bad")],
)
def test_the_doctor_says_what_a_node_that_serves_cannot_do(run, filled, monkeypatch, reasons, state):
    """It would show only when it has to order, or when its lines are missed."""
    answer = {"final_size": 4, "ready": True, "reasons": reasons, "size": 4, "time": 1_796_083_200}
    monkeypatch.setattr(doctor.LocalClient, "call", lambda *_given: answer)
    assert findings(run, filled)["daemon"] == state


class OnePage(BaseHTTPRequestHandler):
    """Answers everything with one page."""

    page = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.page)

    def log_message(self, *_given: object) -> None:
        """Stay silent."""


@pytest.mark.parametrize("whose", ["ours", "another's"])
def test_the_doctor_says_whether_patients_find_the_page_of_this_ledger_to_sign_on(filled, whose):
    ledger = parse_genesis(Layout(filled.parent).genesis.read_bytes()).ledger.hex() if whose == "ours" else "00" * 32
    with ThreadingHTTPServer(("127.0.0.1", 0), OnePage) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        OnePage.page = f'<div id="sign" data-ledger="{ledger}">'.encode()
        origin = f"http://127.0.0.1:{server.server_port}"
        config = replace(load_config(filled, {}, {}), sign_origin=origin)
        found = doctor.signing(config, is_running=True)
        server.shutdown()
    assert (found.state, found.detail) == ("good" if whose == "ours" else "bad", origin)
    assert doctor.signing(config, is_running=True).state == "bad"
    assert doctor.signing(config, is_running=False).state == "skipped"


def test_the_doctor_skips_the_address_of_signing_where_patients_do_not_sign(run, filled):
    assert findings(run, filled)["signing"] == "skipped"


@pytest.mark.parametrize(("answers", "state"), [({}, "good"), ({"CONNECT": "554 no"}, "bad")])
def test_the_doctor_says_whether_the_mail_server_would_take_notices(filled, answers, state):
    with mail_server(MailBox(answers=answers)) as box:
        server = MailServer(Address("127.0.0.1", box.port), "none", None, "notices@renhe.example", "", None)
        config = replace(load_config(filled, {}, {}), mail=server)
        found = doctor.mail(config, system_clock)
    assert (found.check, found.state, box.letters) == ("mail", state, [])


def test_the_doctor_skips_a_mail_server_that_nobody_names(run, filled):
    assert findings(run, filled)["mail"] == "skipped"


@pytest.mark.parametrize(("age_s", "state"), [(LATE_S - 60, "good"), (LATE_S + 60, "bad")])
def test_the_doctor_minds_notices_that_wait_for_long(run, filled, age_s, state):
    since = system_clock() - age_s
    with closing(opened(filled)) as store:
        way = Dispatch(b"\x01" * 16, b"\x02" * 16, "email", 0, since, since)
        store.put_notice(NoticeRow(way.notice, b"\x03" * 32, "", since, b"sealed"), [way])
    assert findings(run, filled)["messages"] == state


def test_the_doctor_finds_a_damaged_database(run, filled):
    path = filled.parent / "records.db"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert findings(run, filled, "--full")["records"] == "bad"


def test_the_doctor_does_not_call_good_what_it_has_not_read(run, filled):
    assert findings(run, filled)["pages"] == "skipped"
    assert "pages" not in findings(run, filled, "--full")


def test_the_doctor_finds_that_a_node_with_a_ledger_has_forgotten_what_it_cosigned(run, filled):
    (filled.parent / "ledger.db").write_bytes(b"")
    assert findings(run, filled)["promises"] == "bad"
    VouchedFile(filled.parent / "vouched.json").save(Vouched(floor=3))
    assert findings(run, filled)["promises"] == "good"
    (filled.parent / "vouched.json").unlink()
    (filled.parent / "restored").write_bytes(b"")
    assert "promises" not in findings(run, filled)


def test_the_doctor_finds_what_others_can_read(run, filled):
    (filled.parent / "records.db").chmod(0o644)
    assert findings(run, filled)["permissions"] == "bad"


def test_the_doctor_finds_another_root_key(run, filled):
    path = filled.parent / "keys" / "root.key"
    path.write_bytes(path.read_bytes().replace(path.read_bytes()[24:28], b"AAAA"))
    assert findings(run, filled)["keys"] == "bad"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"MEDCHAIN-ROOT-KEY-1 " + b"A" * 43 + b"=\n", "does not belong to this root key"),
        (b"junk", "damaged, or no key file"),
    ],
)
def test_a_node_with_another_root_key_does_not_start_and_says_why(run, filled, content, told):
    """Its processes died at once and were started again for ever, and nobody was told."""
    (filled.parent / "keys" / "root.key").write_bytes(content)
    outcome = run("node", "run", "--config", filled, "--lang", "en")
    assert outcome.code != 0
    assert told in outcome.err
    assert content.decode().strip() not in outcome.err
    assert not (filled.parent / "run" / "node.json").exists()


def erase(run, node, *words: object, patient: str = "p1"):
    return run("record", "erase", "--patient", patient, "--reason", "asked for", *words, "--config", node)


def test_an_erasure_is_asked_about_and_left_without_a_plain_yes(run, filled, monkeypatch):
    answers = iter(["", "y", "no", "yes"])
    monkeypatch.setattr("builtins.input", lambda: next(answers))
    for _ in range(3):
        ran = erase(run, filled)
        assert (ran.code, "Nothing was destroyed" in ran.err, ran.out) == (130, True, "")
        assert run("record", "show", "Patient/p1", "--config", filled).code == 0
    ran = erase(run, filled)
    assert (ran.code, "1 keys will be destroyed: 1 records (1 versions)" in ran.err) == (0, True)
    assert "Back up now" in ran.out
    shown = run("record", "show", "Patient/p1", "--config", filled)
    assert (shown.code, "record.erased" in shown.err) == (4, True)


def test_an_erasure_that_nobody_can_confirm_is_not_done(run, filled, monkeypatch):
    def nobody() -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", nobody)
    assert "confirm.missing" in erase(run, filled).err
    assert "confirm.missing" in erase(run, filled, "--json").err
    assert run("record", "show", "Patient/p1", "--config", filled).code == 0


def test_an_erasure_tells_what_it_destroyed_and_that_the_node_tells_the_ledger(run, filled):
    ran = erase(run, filled, "--yes", "--json", patient="Patient/p1")
    assert ran.code == 0, ran.err
    document = ran.document
    assert (document["keys"], document["records"], document["versions"]) == (1, 1, 1)
    assert (document["final"], document["position"]) == (False, None)
    with closing(opened(filled)) as store:
        [intent] = store.pending(9, kind="erasure")
        assert b"asked for" in intent.payload
        assert b"p1" not in intent.payload
        assert len(store.erasures()) == 1
    again = erase(run, filled, "--yes")
    assert (again.code, "erasure.nothing" in again.err) == (4, True)


def imported(run, node, *resources: dict) -> None:
    """Put resources into a node, one after the other."""
    for resource in resources:
        path = node.parent / "one.json"
        path.write_text(json.dumps(resource))
        assert run("import", path, "--config", node).code == 0


def letter(name: str, *records: dict) -> dict:
    """Make a Bundle that is stored as such."""
    return {"resourceType": "Bundle", "id": name, "type": "collection", "entry": [{"resource": one} for one in records]}


def putting(resource: dict) -> dict:
    """Make an entry that stores a resource, since an import takes a Bundle of its own for what lies in it."""
    url = f"{resource['resourceType']}/{resource['id']}"
    return {"resource": resource, "request": {"method": "PUT", "url": url}}


def test_an_erasure_names_what_tells_of_the_patient_and_stays_and_destroys_what_is_the_patients_alone(run, node):
    her, his = {"reference": "Patient/p1"}, {"reference": "Patient/p2"}
    active, basic = {"status": "accepted"}, {"resourceType": "Basic", "code": {"text": "x"}}
    letters = [
        letter("l1", basic | {"subject": her}),
        letter("l2", basic | {"subject": her}, basic | {"subject": his}),
        letter("l3", basic | {"subject": his}),
    ]
    imported(
        run,
        node,
        # Before its patient is known here.
        {
            "resourceType": "Basic",
            "id": "b2",
            "code": {"text": "x"},
            "subject": {"identifier": {"system": "urn:mrn", "value": "7,1"}},
        },
        PATIENT | {"identifier": [{"system": "urn:mrn", "value": "7,1"}]},
        {"resourceType": "Patient", "id": "p2"},
        {"resourceType": "Appointment", "id": "a1", "status": "proposed", "participant": [{"actor": her} | active]},
        {
            "resourceType": "Appointment",
            "id": "a2",
            "status": "proposed",
            "participant": [{"actor": her} | active, {"actor": his} | active],
        },
        {"resourceType": "Basic", "id": "b1", "code": {"text": "x"}, "subject": his},
        {
            "resourceType": "Group",
            "id": "g1",
            "type": "person",
            "actual": True,
            "member": [{"entity": her}, {"entity": his}],
        },
        {
            "resourceType": "Provenance",
            "id": "v1",
            "recorded": "2026-01-01T00:00:00Z",
            "target": [{"reference": "Appointment/a1"}, {"reference": "Basic/b1"}],
            "agent": [{"who": {"reference": "Organization/o"}}],
        },
        {"resourceType": "Bundle", "type": "transaction", "entry": [putting(one) for one in letters]},
    )
    ran = erase(run, node, "--yes", "--json")
    assert ran.code == 0, ran.err
    assert ran.document["remaining"] == ["Appointment/a2", "Basic/b2", "Bundle/l2", "Group/g1", "Provenance/v1"]
    for name in ("Appointment/a1", "Bundle/l1"):
        assert run("record", "show", name, "--config", node).code == 4
    for name in (*ran.document["remaining"], "Basic/b1", "Bundle/l3", "Patient/p2"):
        assert run("record", "show", name, "--config", node).code == 0
    told = erase(run, node, "--yes", "--lang", "en", patient="p2")
    assert "5 record(s) tell of the patient" not in told.out
    assert "Appointment/a2 Bundle/l2 Group/g1" in told.out


def test_an_erasure_says_that_nothing_else_tells_of_the_patient_or_that_it_cannot_be_said(run, filled, monkeypatch):
    imported(run, filled, PATIENT | {"id": "p2"})
    with closing(opened(filled)) as store:
        halves = unlock(open_root_file(filled.parent / "keys" / "root.key", None))
        service = RecordService(store, bytes(32), open_web_keys(filled.parent, halves).records, lambda: 1)
        # Of what is no resource, no Provenance tells.
        service.create(NewRecord(CONCERN, "07" * 16, b"{}", "p1", content_type="x/y"))
    assert "no other record" in erase(run, filled, "--yes", "--lang", "en").out

    def indexing(*_given: object) -> None:
        raise UnavailableError("search.indexing")

    monkeypatch.setattr(erasing, "remaining", indexing)
    ran = erase(run, filled, "--yes", "--json", patient="p2")
    assert (ran.code, ran.document["remaining"]) == (0, None)


@pytest.mark.usefixtures("daemon")
def test_the_command_waits_until_the_entry_is_final_while_the_node_runs(run, filled, monkeypatch):
    assert erase(run, filled, "--yes", "--wait", "0", "--json").document["final"] is False

    def settle(_seconds: float) -> None:
        with closing(opened(filled)) as store:
            [intent] = store.pending(9, kind="erasure", after=1)
            keys = [bytes.fromhex(key) for key in json.loads(intent.payload)["keys"]]
            store.settle_erasure(intent.id, keys, 41, intent.created)

    (filled.parent / "q.json").write_text(json.dumps(PATIENT | {"id": "q1"}))
    assert run("import", filled.parent / "q.json", "--config", filled).code == 0
    with closing(opened(filled)) as store:
        store.drop_intents([intent.id for intent in store.pending(9, kind="erasure")])
    # The module's own clock: others sleep as well meanwhile, the daemon among them.
    monkeypatch.setattr(erasing, "time", SimpleNamespace(monotonic=time.monotonic, sleep=settle))
    document = erase(run, filled, "--yes", "--json", patient="q1").document
    assert (document["final"], document["position"]) == (True, 41)


def test_a_lock_refuses_an_erasure_and_says_why_and_until_when(run, filled):
    lock = ("record", "lock", "--patient", "p1", "--reason", "medical records act", "--config", filled)
    assert run(*lock, "--until", "2999-12-31").code == 0
    for language in ("zh", "en"):
        ran = erase(run, filled, "--yes", "--lang", language)
        assert (ran.code, "medical records act" in ran.err, "2999-12-31" in ran.err) == (6, True, True)
    assert run("record", "show", "Patient/p1", "--config", filled).code == 0
    assert run("record", "unlock", "--patient", "p1", "--config", filled).code == 0
    assert run("record", "unlock", "--patient", "p1", "--config", filled).code == 4
    assert erase(run, filled, "--yes").code == 0


def test_a_lock_with_a_bad_date_or_without_a_reason_is_refused(run, filled):
    words = ("record", "lock", "--patient", "p1", "--config", filled, "--reason")
    assert "retention.date" in run(*words, "act", "--until", "soon").err
    assert "erasure.reason" in run(*words, " ").err
    assert run(*words, "act", "--json").document == {"reason": "act", "until": None}


def test_an_erasure_after_the_backup_is_done_again_before_the_restored_node_serves(run, filled, tmp_path):
    about = {"resourceType": "Basic", "code": {"text": "x"}, "subject": {"reference": "Patient/p1"}}
    imported(run, filled, {"resourceType": "Bundle", "type": "transaction", "entry": [putting(letter("b1", about))]})
    run("backup", tmp_path / "b", "--config", filled)
    assert erase(run, filled, "--yes").code == 0
    run("backup", tmp_path / "newer", "--config", filled)
    root = ("--root-key", filled.parent / "keys" / "root.key")
    for name, source in (("r1", ("--old", filled.parent)), ("r2", ("--erasures", tmp_path / "newer"))):
        restored = run("restore", tmp_path / "b", tmp_path / name, *root, *source, "--json")
        assert restored.document["destroyed"] == 1
        for record in ("Patient/p1", "Bundle/b1"):
            ran = run("record", "show", record, "--config", tmp_path / name / "node.toml")
            assert (ran.code, "record.erased" in ran.err) == (4, True)
