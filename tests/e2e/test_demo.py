"""The demo's consortium looked at from outside: processes, files, ledger, bundles, crashes, and its end.

The tests run in the order in which they stand: the last ones stop the consortium and start it again.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path

import orjson
import pytest

import sample_data
from medchain.commands.checking import read_bundle
from medchain.commands.demo_consortium import ORDERER
from medchain.commands.demo_ledger import count_entries
from medchain.commands.demo_story import Phone, Story
from medchain.errors import MedchainError
from medchain.ledger.bundle import verify_bundle
from medchain.ledger.genesis import trusted_policy_text
from medchain.ledger.object import map_key
from medchain.ledger.transaction import Stop, parse_envelope
from medchain.node.clock import system_clock
from medchain.tlog.checkpoint import parse_checkpoint
from medchain.tlog.note import parse_note
from medchain.tlog.tiles import TILE_WIDTH, entries_path, parse_entry_bundle
from tests.children import child
from tests.e2e.running_demo import (
    ORG_IDS,
    STOP_S,
    RunningDemo,
    files_of,
    files_under,
    found_in,
    processes_of,
    rights_under,
    shortest,
)
from tests.e2e.words_everywhere import Watch, flow, readable
from tests.waiting import eventually

pytestmark = pytest.mark.e2e

RENHE, BINHAI, ANXIN, TAIHE, COMMISSION = ORG_IDS
ALLOWED_REFS = {("grant", "consent"), ("access", "consent"), ("access", "grant")}
SECRET_BYTES = 16


def needles_of(folder: Path) -> list[bytes]:
    return shortest(set().union(*(sample_data.needles(bundle) for _, bundle in sample_data.load(folder))))


def mirrored(demo: RunningDemo, org_id: str, target: Path) -> list[bytes]:
    """Mirror a node's log with the command, and return its leaves."""
    demo.run("log", "mirror", target, "--config", demo.folder / org_id / "node.toml")
    size = parse_checkpoint(parse_note((target / "checkpoint").read_bytes()).text).size
    leaves = []
    for index in range(-(-size // TILE_WIDTH)):
        width = min(TILE_WIDTH, size - index * TILE_WIDTH)
        leaves += parse_entry_bundle((target / entries_path(index, width)).read_bytes(), width)
    return leaves


def transactions(leaves: list[bytes]) -> list[bytes]:
    return [leaf for leaf in leaves[1:] if not leaf.startswith(b'{"height":')]


def parents(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_the_summary_of_the_demo_has_the_rates_that_it_measured(demo):
    rates = demo.said["rates"]
    assert rates["load_per_s"] > 0
    for kind in ("read", "search"):
        assert rates[kind]["count"] > 0
        assert rates[kind]["per_s"] > 0
        assert float(rates[kind]["p50_ms"]) <= float(rates[kind]["p99_ms"])


def test_the_demo_tells_its_progress_alone_and_keeps_what_is_logged_in_a_file(demo):
    told = demo.told("")
    assert [line for line in told if not line.startswith("[")] == []
    events = [json.loads(line)["event"] for line in (demo.folder / "logs" / "demo.jsonl").read_bytes().splitlines()]
    assert "emergency.declared" in events


def test_each_node_is_processes_keys_and_a_folder_of_its_own(demo):
    supervisors = {org_id: demo.node_state(org_id)["pid"] for org_id in ORG_IDS}
    daemons = {org_id: demo.daemon_pid(org_id) for org_id in ORG_IDS}
    assert len({*supervisors.values(), *daemons.values()}) == 10
    assert len({os.getsid(pid) for pid in (*supervisors.values(), *daemons.values())}) == 10
    assert {os.getpgid(pid) for pid in supervisors.values()} == set(supervisors.values())
    assert [parents(daemons[org_id]) for org_id in ORG_IDS] == [supervisors[org_id] for org_id in ORG_IDS]
    roots = {(demo.folder / org_id / "keys" / "root.key").read_bytes() for org_id in ORG_IDS}
    keystores = [json.loads((demo.folder / org_id / "keys" / "keystore.json").read_bytes()) for org_id in ORG_IDS]
    publics = [json.dumps(row["public"], sort_keys=True) for store in keystores for row in store["keys"]]
    assert len(roots) == 5
    # Six of each, and one of each hospital for the ids of its invoices.
    assert len(publics) == 32
    assert len(set(publics)) == 32


def test_nobody_but_their_owner_can_read_what_commands_and_nodes_write(demo):
    """A bundle that opens a record holds it in clear; logs and receipts tell who does what with whom."""
    written = dict(rights_under(demo.folder))
    assert (demo.folder / "bundles" / "record" / "opening.json") in written
    assert [path for path, rights in written.items() if rights & 0o077] == []


def test_no_process_of_a_node_has_a_file_of_another_open(demo):
    wrong, opened = [], Counter()
    for org_id in ORG_IDS:
        for pid in processes_of(demo.folder / org_id / "node.toml"):
            for target in files_of(pid):
                if demo.folder in target.parents:
                    own = demo.folder / org_id in target.parents
                    opened[org_id] += own
                    wrong += [] if own else [(org_id, str(target))]
    assert wrong == []
    assert [opened[org_id] > 2 for org_id in ORG_IDS] == [True] * 5


def test_the_summary_says_what_the_ledger_holds(demo):
    said = demo.said
    given = Counter()
    for name, bundle in sample_data.load(demo.data):
        given[name.partition(".")[0]] += len(bundle["entry"])
    held = {org_id: said["nodes"][org_id]["records"] for org_id in ORG_IDS}
    assert given.keys() == {RENHE, BINHAI, ANXIN, TAIHE}
    # More than was posted are segments of their own audit.
    assert [org_id for org_id in given if not given[org_id] <= held[org_id] <= 1.1 * given[org_id] + 10] == []
    assert held[COMMISSION] == 0
    assert said["cosigners"] == sorted(ORG_IDS)
    assert set(said["bundles"]) == {"record", "absent", "consent-withdrawn", "access", "consent-entry", "carbon-report"}
    assert said["bundles"]["consent-withdrawn"]["status"] == "stopped"
    assert said["statements"] == {
        "carbon-report": ["reported", "rejected", "reported", "verified", "published", "settled"],
        "prescription": ["issued", "dispensed"],
    }


def test_five_nodes_have_the_same_root(consortium):
    def roots() -> set[tuple[int, bytes]]:
        notes = consortium.checkpoints().values()
        return {(item.size, item.root) for item in (parse_checkpoint(parse_note(note).text) for note in notes)}

    assert eventually(lambda: len(roots()) == 1)


@pytest.mark.parametrize("name", ["record", "absent", "consent-withdrawn", "access", "consent-entry", "carbon-report"])
def test_a_bundle_verifies_given_only_the_trusted_policy(demo, tmp_path, name):
    policy = tmp_path / "trusted.txt"
    policy.write_bytes((demo.folder / "policy.txt").read_bytes())
    verdict = json.loads(demo.run("verify", demo.folder / "bundles" / name, "--policy", policy, "--json"))
    assert len(verdict["cosigners"]) >= 8
    assert verdict["answer"] == {"absent": "absent", "consent-entry": "entry"}.get(name, "record")


def test_a_bundle_is_refused_under_the_policy_of_strangers(demo, consortium, tmp_path):
    members, origin = consortium.genesis.members, consortium.genesis.origin
    strangers = tmp_path / "strangers.txt"
    usurped = replace(members, protocol=replace(members.protocol, orderer=RENHE))
    strangers.write_text(trusted_policy_text(usurped, origin))
    demo.run("verify", demo.folder / "bundles" / "record", "--policy", strangers, code=1)
    strangers.write_text(trusted_policy_text(members, origin))
    demo.run("verify", demo.folder / "bundles" / "record", "--policy", strangers)


@pytest.mark.parametrize("name", ["record", "consent-withdrawn"])
def test_a_flipped_byte_of_a_bundle_is_refused_or_changes_nothing_that_is_proven(demo, name):
    files = read_bundle(demo.folder / "bundles" / name)
    policy, now = (demo.folder / "policy.txt").read_text(), system_clock()
    right = verify_bundle(files, policy, now=now)
    refused = kept = 0
    # Every position is tried on a small ledger elsewhere; here each file of a real one, at a prime's distance.
    for file, content in files.items():
        for at in range(0, len(content), 41):
            changed = bytearray(content)
            changed[at] ^= 1 << at % 8
            try:
                verdict = verify_bundle(files | {file: bytes(changed)}, policy, now=now)
            except MedchainError:
                refused += 1
                continue
            kept += 1
            assert (verdict.object, verdict.position, verdict.size) == (right.object, right.position, right.size), file
            assert (verdict.status, verdict.version, verdict.opened) == (right.status, right.version, right.opened)
    assert refused > 100
    assert kept < refused


def test_no_file_and_no_address_of_a_node_holds_a_word_about_a_patient(demo):
    """After requests with words in every part, errors, a large upload and exports, and while they go on."""
    needles = needles_of(demo.data)
    assert len(needles) > 3000
    # The search finds what is there: the bundles themselves are full of it.
    assert len(found_in(b"".join(text for _, text in sample_data.read(demo.data)), needles)) > 3000
    watch = Watch(demo, needles)
    watch.start()
    caller = flow(demo, BINHAI, needles)
    assert watch.stop() == {}
    assert watch.rounds > 3
    said = {text: hits for text in caller.made if (hits := found_in(readable(text), needles))}
    assert said == {}
    names = Counter()
    found = {}
    for org_id in ORG_IDS:
        folder = demo.folder / org_id
        for path in (*files_under(folder), *files_under((folder / "run" / "metrics").resolve())):
            names[path.name] += 1
            with suppress(FileNotFoundError):
                hits = found_in(path.read_bytes(), needles)
                if hits:
                    found[str(path)] = hits
    assert found == {}
    assert [names[name] for name in ("records.db", "ledger.db", "daemon.jsonl", "web-0.jsonl")] == [5, 5, 5, 5]
    assert names["lock"] >= 10


def test_no_leaf_of_the_ledger_holds_a_word_about_a_patient(demo, tmp_path):
    needles = needles_of(demo.data)
    leaves = mirrored(demo, TAIHE, tmp_path / "mirror")
    assert len(leaves) > 10
    assert found_in(b"\n".join(leaves), needles) == []
    assert found_in(b"\n".join(path.read_bytes() for path in files_under(tmp_path / "mirror")), needles) == []


def secrets_in(value: object, found: set[bytes]) -> set[bytes]:
    """Collect every string of a leaf that is as long as an id, key, hash or signature."""
    if isinstance(value, dict):
        for item in value.values():
            secrets_in(item, found)
    elif isinstance(value, list):
        for item in value:
            secrets_in(item, found)
    elif isinstance(value, str):
        for decode in (bytes.fromhex, lambda text: base64.b64decode(text, validate=True)):
            try:
                raw = decode(value)
            except ValueError:
                continue
            if len(raw) >= SECRET_BYTES:
                found.add(raw)
                break
    return found


def shown_by(leaf: bytes) -> set[bytes]:
    """Collect what a transaction shows: of its envelope and of the payload inside."""
    outer = orjson.loads(leaf)
    found = secrets_in(outer, set())
    return secrets_in(orjson.loads(base64.b64decode(outer["payload"])), found)


def is_answered(call: Callable[[], object]) -> bool:
    try:
        call()
    except urllib.error.HTTPError as error:
        if error.code != HTTPStatus.SERVICE_UNAVAILABLE:
            raise
        return False
    return True


def test_an_insurers_system_reads_over_its_own_api_what_the_patient_permits_until_she_withdraws(demo, consortium):
    """From a client's `_custodian` over two nodes of processes to the ledger and back."""
    story, patient = Story(consortium, system_clock), consortium.facts["patient"]
    consent = story.consent(bytes.fromhex(consortium.facts["subject"]))
    grant = story.grant(consent.key)
    token = demo.token(ANXIN, "system/*.rs")
    base = f"http://127.0.0.1:{demo.said['nodes'][ANXIN]['web'].rpartition(':')[2]}/fhir"

    def get(path: str, purpose: str = "HPAYMT") -> dict:
        headers = {"Authorization": f"Bearer {token}", "Purpose-Of-Use": purpose}
        request = urllib.request.Request(f"{base}/{path}", headers=headers)  # noqa: S310  # a loopback address of ours
        with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310  # as above
            return json.load(answer)

    search = f"Observation?patient={patient}&_count=3&_custodian={RENHE}"
    entries = get(search)["entry"]
    found = [one for one in entries if one["search"]["mode"] == "match"]
    assert {one["resource"]["subject"]["reference"] for one in found} == {f"Patient/{patient}"}
    assert [one["resource"]["resourceType"] for one in entries] == ["Observation"] * 3 + ["Provenance"]
    first = found[0]["resource"]
    assert get(f"Observation/{first['id']}?_custodian={RENHE}") == first
    assert "entry" not in get(search, "TREAT")
    # IHE BALP: the export at its source, the import at its recipient.
    assert disclosed(demo, RENHE, "110106") >= 2
    assert disclosed(demo, ANXIN, "110107") >= 2
    supervisor = demo.node_state(RENHE)["pid"]
    os.kill(supervisor, signal.SIGSTOP)
    try:
        demo.kill_daemon(RENHE)
        with pytest.raises(urllib.error.HTTPError) as caught:
            get(search)
    finally:
        os.kill(supervisor, signal.SIGCONT)
    assert (caught.value.code, int(caught.value.headers["Retry-After"]) >= 5) == (503, True)
    assert json.load(caught.value)["issue"][0]["details"]["coding"][0]["code"] == "exchange.unavailable"
    assert eventually(lambda: is_answered(lambda: get(search)))
    story.withdraw(consent.key)
    assert "entry" not in get(search)
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(f"Observation/{first['id']}?_custodian={RENHE}")
    received = consortium.nodes[ANXIN].local.call("grants.received", {})["grants"]
    accesses = next(row["accesses"] for row in received if row["key"] == grant.key.hex())
    # The demo has the insurer look at all that a new grant opens, too.
    assert [row["count"] for row in accesses if row["count"] in (1, 3)][:3] == [3, 1, 3]


def disclosed(demo, org_id: str, kind: str) -> int:
    """Count the AuditEvents of a kind at an organisation's node."""
    token = demo.token(org_id, "system/*.rs")
    base = f"http://127.0.0.1:{demo.said['nodes'][org_id]['web'].rpartition(':')[2]}/fhir"
    search = f"AuditEvent?type=http://dicom.nema.org/resources/ontology/DCM|{kind}&_summary=count"
    request = urllib.request.Request(f"{base}/{search}", headers={"Authorization": f"Bearer {token}"})  # noqa: S310  # a loopback address of ours
    with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310  # as above
        return json.load(answer)["total"]


def test_nothing_on_the_ledger_links_two_objects_of_one_patient_but_what_may(demo, consortium, tmp_path):
    story = Story(consortium, system_clock)
    subject = bytes.fromhex(consortium.facts["subject"])
    # The same patient once more: another consent and grant here, and everything again, with the same passkey, there.
    first = story.consent(subject)
    story.grant(first.key)
    story.read(ANXIN, story.grant(first.key).key)
    genesis = consortium.genesis
    phone = Phone(consortium.folder / "phone", consortium.nodes[RENHE].sign_url, genesis.rp_id)
    other = consortium.nodes[BINHAI].local
    asked = {"credentials": [phone.credential()], "custodians": [BINHAI], "method": "identity-card", "patient": "p006"}
    elsewhere = other.call("subject.enrol", asked)["key"]
    terms = {
        "custodians": [BINHAI],
        "fhir": {"resourceType": "Consent", "status": "active"},
        "period": {"end": system_clock() + 86400, "start": system_clock()},
        "purpose": "HPAYMT",
        "recipient": ANXIN,
        "resource_types": ["Observation"],
        "subject": elsewhere,
    }
    consent = other.call("consent.give", phone.sign(other.call("consent.draft", terms)))["key"]
    other.call("grant.give", {"consent": consent})

    leaves = transactions(mirrored(demo, COMMISSION, tmp_path / "mirror"))
    members = genesis.members.organisations.values()
    public = {genesis.ledger, *(raw for item in members for key in item.keys for raw in secrets_in(key.id, set()))}
    kinds: dict[bytes, str] = {}
    allowed: dict[bytes, set[int]] = defaultdict(set)
    for number, leaf in enumerate(leaves):
        transaction = parse_envelope(leaf).transaction
        if isinstance(transaction, Stop):
            allowed[transaction.object].add(number)
            continue
        for change in transaction.changes:
            for row in change.objects:
                kinds[map_key(change.kind, transaction.creator, row.id)] = change.kind
                # Versions of one object follow one another: a second disclosure under a grant, say.
                allowed[row.id].add(number)
            for ref in change.refs:
                assert (change.kind, kinds[ref.key]) in ALLOWED_REFS
                allowed[ref.key].add(number)
    places: dict[bytes, set[int]] = defaultdict(set)
    for number, leaf in enumerate(leaves):
        for raw in shown_by(leaf) - public:
            places[raw].add(number)
    shared = {raw.hex(): sorted(rows) for raw, rows in places.items() if len(rows) > 1 and not rows <= allowed[raw]}
    count = Counter(kinds.values())
    assert shared == {}
    assert (count["subject"], count["consent"], count["grant"], count["access"]) >= (2, 3, 4, 2)
    assert len(places) > 20


def test_a_killed_daemon_loses_nothing_and_does_nothing_twice(demo, tmp_path):
    bundles = [text for name, text in sample_data.read() if name.startswith("renhe-hospital.p01")]
    made: list[str] = []
    poster = threading.Thread(target=lambda: [made.extend(demo.post(RENHE, text)) for text in bundles[:5]])
    poster.start()
    killed = []
    for org_id in (RENHE, ORDERER):
        time.sleep(1.5)
        killed.append(demo.kill_daemon(org_id))
    poster.join()
    assert len(made) > 150
    assert len(set(made)) == len(made)

    assert eventually(lambda: all(told.startswith("final; ") for told in demo.anchoring(RENHE, made)))
    time.sleep(1)
    anchored = Counter(
        (change.kind, transaction.creator, row.id, row.version)
        for leaf in transactions(mirrored(demo, COMMISSION, tmp_path / "mirror"))
        if not isinstance(transaction := parse_envelope(leaf).transaction, Stop)
        for change in transaction.changes
        for row in change.objects
    )
    assert max(anchored.values()) == 1
    assert sum(kind == "record" and creator == RENHE for kind, creator, _, _ in anchored) >= len(made)
    assert demo.daemon_pid(RENHE) not in killed
    assert demo.process.poll() is None


def test_a_node_that_was_down_catches_up(demo, consortium):
    supervisor = demo.node_state(COMMISSION)["pid"]
    os.kill(supervisor, signal.SIGSTOP)
    try:
        demo.kill_daemon(COMMISSION)
        before = count_entries(consortium.nodes[RENHE])
        size = before.checkpoint.size
        bundle = next(text for name, text in sample_data.read() if name == "renhe-hospital.p003.json.gz")
        made = demo.post(RENHE, bundle)
        assert made
        wanted = before.objects["record", RENHE] + len(made)
        # Four of five are a quorum: what comes meanwhile is final all the same.
        assert eventually(lambda: count_entries(consortium.nodes[RENHE]).objects["record", RENHE] >= wanted)
    finally:
        os.kill(supervisor, signal.SIGCONT)

    def level() -> bool:
        try:
            notes = consortium.checkpoints().values()
        except MedchainError:
            return False
        return len({parse_checkpoint(parse_note(note).text).root for note in notes}) == 1

    assert eventually(level)
    assert count_entries(consortium.nodes[COMMISSION]).checkpoint.size > size


def test_ctrl_c_leaves_no_process(demo):
    assert len(processes_of(demo.folder)) >= 15
    assert demo.stop(signal.SIGINT) == 0
    assert eventually(lambda: processes_of(demo.folder) == {})


def test_a_second_start_uses_what_is_there_and_outlives_a_node_that_dies(demo):
    before = demo.said
    demo.start()
    assert demo.said["ledger"] == before["ledger"]
    assert demo.said["size"] > before["size"]
    assert demo.said["nodes"][RENHE]["records"] > before["nodes"][RENHE]["records"]
    with demo.consortium() as consortium:
        size = count_entries(consortium.nodes[RENHE]).checkpoint.size
        os.kill(demo.node_state(ANXIN)["pid"], signal.SIGKILL)
        assert eventually(lambda: demo.told("to start it again: "))
        command = demo.told("to start it again: ")[0].split("again: ")[1].split()
        # The others take records and make them final without it, four of five being a quorum.
        bundle = next(text for name, text in sample_data.read() if name == "renhe-hospital.p004.json.gz")
        assert demo.post(RENHE, bundle)
        assert eventually(lambda: count_entries(consortium.nodes[RENHE]).checkpoint.size > size)
        # The command that was told is all that it takes.
        again = child(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            assert eventually(lambda: demo.told("runs again"))
            assert eventually(lambda: level_with(consortium, ANXIN, RENHE))
        finally:
            again.terminate()
            assert again.wait(STOP_S) == 0
    assert demo.stop(signal.SIGINT) == 0
    assert eventually(lambda: processes_of(demo.folder) == {})


def level_with(consortium, org_id, other) -> bool:
    try:
        return consortium.checkpoint(org_id).size >= consortium.checkpoint(other).size
    except MedchainError:
        return False


def test_the_regulator_replaces_an_orderer_that_is_lost_for_good_and_records_become_final(demo):
    demo.start()
    config = {org_id: ("--config", demo.folder / org_id / "node.toml") for org_id in ORG_IDS}
    supervisor = demo.node_state(ORDERER)["pid"]
    os.kill(supervisor, signal.SIGKILL)
    assert eventually(lambda: demo.told("to start it again: "))
    # As docs/operations.md has it, "The orderer away".
    words = ("orderer", "take-over", "--reason", "机房失火", "--json")
    proposed = json.loads(demo.run(*words, *config[COMMISSION]))
    for org_id in (RENHE, BINHAI):
        assert eventually(
            lambda org_id=org_id: proposed["id"] in demo.run("proposals", "list", "--json", *config[org_id])
        )
        demo.run("proposals", "approve", proposed["id"], "--yes", *config[org_id])
    made = demo.post(RENHE, next(text for name, text in sample_data.read() if name == "renhe-hospital.p005.json.gz"))
    assert made
    assert eventually(lambda: all(told.startswith("final; ") for told in demo.anchoring(RENHE, made)))
    assert json.loads(demo.run("log", "witnesses", "--json", *config[ANXIN]))["log"]["orderer"] == COMMISSION
    assert demo.stop(signal.SIGINT) == 0
    assert eventually(lambda: processes_of(demo.folder) == {})


def test_a_demo_of_which_every_node_has_died_ends_with_an_error(demo):
    demo.start()
    for org_id in ORG_IDS:
        os.kill(demo.node_state(org_id)["pid"], signal.SIGKILL)
    assert demo.wait() == 7
    assert eventually(lambda: processes_of(demo.folder) == {})


def test_a_demo_that_is_killed_takes_its_nodes_with_it(demo):
    demo.start()
    assert demo.stop(signal.SIGKILL) == -9
    assert eventually(lambda: processes_of(demo.folder) == {})


def test_sigterm_in_the_middle_of_the_start_leaves_no_process(demo):
    demo.launch()
    assert eventually(lambda: len(processes_of(demo.folder)) > 8)
    assert demo.stop(signal.SIGTERM) == 130
    assert eventually(lambda: processes_of(demo.folder) == {})


def test_a_folder_with_something_else_in_it_is_left_alone(demo, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    assert demo.run("demo", "--once", "--folder", tmp_path, code=6) == ""
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
