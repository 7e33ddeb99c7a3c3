"""From nothing to a common genesis, and the ways in which that must fail."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from medchain.crypto.vrf import VrfKey
from medchain.encoding import base64_text, canonical
from medchain.ledger.policy import default_policy
from medchain.node.config import load_config
from medchain.node.keystore import open_root_file
from tests.unit.medchain.store.faults import room_for

WORDS = ("--role", "hospital", "--name-zh", "仁和医院", "--name-en", "Renhe Hospital")


def joined(run, founded, node, *, genesis=None, proofs=None, ledger=None):
    given = proofs or sorted(founded.glob("*.proofs"))
    wanted = ledger or (founded / "ledger").read_text()
    return run("join", "start", genesis or founded / "genesis.json", *given, "--ledger", wanted, "--config", node)


def test_a_new_node_has_a_good_configuration_and_tells_its_public_keys_only(run, tmp_path):
    made = run("init", tmp_path / "n", "--org-id", "renhe-hospital", *WORDS, "--json")
    assert made.code == 0
    member = json.loads((tmp_path / "n" / "member.json").read_bytes())
    assert (member["org_id"], member["name"]) == ("renhe-hospital", {"en": "Renhe Hospital", "zh": "仁和医院"})
    assert len(member["keys"]) == 6
    assert "d" not in member["keys"]["authentication"]
    assert run("config", "check", "--config", tmp_path / "n" / "node.toml").code == 0
    assert (tmp_path / "n").stat().st_mode & 0o077 == 0


def test_what_a_command_writes_is_its_owners_alone_whatever_the_umask(run, tmp_path):
    before = os.umask(0)
    try:
        assert run("init", tmp_path / "n", "--org-id", "renhe-hospital", *WORDS).code == 0
        # It is the command's own: what called it goes on as it was.
        assert os.umask(0) == 0
    finally:
        os.umask(before)
    assert {path for path in (tmp_path / "n").rglob("*") if path.stat().st_mode & 0o077} == set()


def test_a_node_is_made_once(run, tmp_path):
    words = ("init", tmp_path / "n", "--org-id", "renhe-hospital", *WORDS)
    assert run(*words).code == 0
    before = (tmp_path / "n" / "keys" / "root.key").read_bytes()
    again = run(*words)
    assert (again.code, "keystore.exists" in again.err) == (6, True)
    assert (tmp_path / "n" / "keys" / "root.key").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--web-listen", "nonsense"), "config.invalid"),
        (("--sign-listen", "127.0.0.1:41002"), "config.invalid"),
        (("--time-zone", "Asia/Nowhere"), "config.invalid"),
        (("--url", "ftp://renhe.example"), "organisation.malformed"),
        (("--origin", "https://renhe.example/path"), "organisation.malformed"),
    ],
)
def test_what_no_configuration_or_genesis_takes_leaves_no_half_made_node(run, tmp_path, words, code):
    """Whoever calls again with what is right is not told that there is a node already."""
    call = ("init", tmp_path / "n", "--org-id", "renhe-hospital", *WORDS)
    for language in ("zh", "en"):
        refused = run(*call, *words, "--lang", language)
        assert (refused.code, code in refused.err, refused.out) == (2, True, "")
    assert not (tmp_path / "n").exists()
    assert run(*call).code == 0


def test_a_node_keeps_the_zone_that_it_was_made_with_and_keeps_utc_without_one(run, tmp_path):
    for name, more in (("a", ("--time-zone", "Asia/Shanghai")), ("b", ())):
        assert run("init", tmp_path / name, "--org-id", "renhe-hospital", *WORDS, *more).code == 0
    zones = [load_config(tmp_path / name / "node.toml", {}, {}).time_zone for name in ("a", "b")]
    assert zones == ["Asia/Shanghai", "UTC"]


@pytest.mark.parametrize("step", ["root.key", "keystore.json", "member.json", "node.toml"])
def test_a_node_whose_making_was_interrupted_is_made_by_the_next_call(run, tmp_path, monkeypatch, step):
    """The disk is full, or somebody interrupts, at each file; what else is in the folder stays."""
    (tmp_path / "n" / "tls").mkdir(parents=True)
    (tmp_path / "n" / "tls" / "key.pem").write_text("mine")
    call = ("init", tmp_path / "n", "--org-id", "renhe-hospital", *WORDS)
    genuine = os.open

    def full(path: str | Path, *more: int, **named: int) -> int:
        if Path(path).name in (step, f"{step}.new"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return genuine(path, *more, **named)

    def write(path: Path, text: str, **_named: str) -> None:
        os.close(full(path, os.O_WRONLY | os.O_CREAT))
        path.write_bytes(text.encode())

    monkeypatch.setattr(os, "open", full)
    monkeypatch.setattr(Path, "write_text", write)
    assert run(*call).code == 7
    monkeypatch.undo()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "n" / "tls" / "key.pem"]
    assert run(*call).code == 0
    assert (tmp_path / "n" / "tls" / "key.pem").read_text() == "mine"
    assert run("config", "check", "--config", tmp_path / "n" / "node.toml").code == 0


def test_a_killed_call_leaves_what_the_next_one_clears_away(run, tmp_path):
    (tmp_path / "n" / ".init" / "keys").mkdir(parents=True)
    (tmp_path / "n" / ".init" / "keys" / "root.key").write_text("half a key")
    assert run("init", tmp_path / "n", "--org-id", "renhe-hospital", *WORDS).code == 0
    assert not (tmp_path / "n" / ".init").exists()


def test_a_file_for_others_is_written_whole_or_not_at_all(run, founded, node, tmp_path):
    """Half a file of proofs would be sent to all founders, and the right one not be written over it."""
    words = ("join", "sign", founded / "genesis.json", "--out", "/dev/full", "--config", node)
    assert run(*words).code == 6
    out = tmp_path / "p"
    with room_for(100):
        failed = run("join", "sign", founded / "genesis.json", "--out", out, "--config", node)
    assert (failed.code, "system.io" in failed.err, out.exists()) == (7, True, False)
    assert run("join", "sign", founded / "genesis.json", "--out", out, "--config", node).code == 0


def test_an_organisation_needs_a_plain_id(run, tmp_path):
    assert run("init", tmp_path / "n", "--org-id", "Renhe Hospital", *WORDS).code == 2
    assert not (tmp_path / "n").exists()


def test_a_passphrase_guards_the_root_key(run, tmp_path):
    words = ("init", tmp_path / "n", "--org-id", "renhe-hospital", *WORDS, "--passphrase")
    assert run(*words, MEDCHAIN_PASSPHRASE="too short").code == 2
    assert run(*words, MEDCHAIN_PASSPHRASE="correct horse battery").code == 0
    assert open_root_file(tmp_path / "n" / "keys" / "root.key", "correct horse battery")
    config = ("--config", tmp_path / "n" / "node.toml")
    refused = run("doctor", *config, MEDCHAIN_PASSPHRASE="another passphrase")
    assert "passphrase.authentication" in refused.out


def test_a_node_joins_with_the_proofs_of_all(run, founded, node):
    again = joined(run, founded, node)
    assert (again.code, "3 members" in again.out) == (0, True)
    assert (node.parent / "genesis.json").read_bytes() == (founded / "genesis.json").read_bytes()


def test_a_genesis_of_another_id_than_was_told_is_refused(run, founded, node):
    (node.parent / "genesis.json").unlink()
    refused = joined(run, founded, node, ledger="00" * 32)
    assert (refused.code, "genesis.ledger" in refused.err) == (1, True)
    assert not (node.parent / "genesis.json").exists()


def test_a_founder_that_did_not_prove_its_keys_is_noticed(run, founded, node):
    refused = joined(run, founded, node, proofs=sorted(founded.glob("*.proofs"))[:2])
    assert (refused.code, "organisation.proof" in refused.err) == (1, True)


def test_a_changed_proof_is_refused(run, founded, node, tmp_path):
    proofs = sorted(founded.glob("*.proofs"))
    document = json.loads(proofs[0].read_bytes())
    document["proofs"]["ledger"], document["proofs"]["log"] = document["proofs"]["log"], document["proofs"]["ledger"]
    (tmp_path / "changed").write_text(json.dumps(document, separators=(",", ":"), sort_keys=True))
    refused = joined(run, founded, node, proofs=[tmp_path / "changed", *proofs[1:]])
    assert (refused.code, "organisation.proof" in refused.err) == (1, True)


def test_a_genesis_with_other_keys_than_the_nodes_is_refused(run, founded, tmp_path):
    assert run("init", tmp_path / "n", "--org-id", "renhe-hospital", *WORDS).code == 0
    for words in (("join", "sign", founded / "genesis.json", "--out", tmp_path / "p"), None):
        config = ("--config", tmp_path / "n" / "node.toml")
        refused = run(*words, *config) if words else joined(run, founded, tmp_path / "n" / "node.toml")
        assert (refused.code, "genesis.own_keys" in refused.err) == (1, True)


def test_a_genesis_that_does_not_name_the_node_is_refused(run, founded, tmp_path):
    assert run("init", tmp_path / "n", "--org-id", "stranger", *WORDS).code == 0
    refused = joined(run, founded, tmp_path / "n" / "node.toml")
    assert (refused.code, "genesis.not_member" in refused.err) == (1, True)


def test_a_node_keeps_to_its_ledger(run, founded, node):
    (node.parent / "genesis.json").write_bytes(b"{}")
    refused = joined(run, founded, node)
    assert (refused.code, "genesis.exists" in refused.err) == (6, True)


def test_proofs_for_another_ledger_are_refused(run, founded, node, tmp_path):
    proofs = sorted(founded.glob("*.proofs"))
    document = json.loads(proofs[0].read_bytes()) | {"ledger": "00" * 32}
    (tmp_path / "other").write_text(json.dumps(document, separators=(",", ":"), sort_keys=True))
    refused = joined(run, founded, node, proofs=[tmp_path / "other", *proofs[1:]])
    assert (refused.code, "proofs.ledger" in refused.err) == (1, True)


def test_attack_a_founder_writes_into_the_genesis_what_nobody_agreed_on(run, founded, node, tmp_path):
    """All others would compare one ledger id, find it the same, and sign: so they are told what they sign."""
    policy = default_policy()
    policy["rules"]["consent/active"] = policy["rules"]["erasure/active"]
    del policy["rules"]["subject/ended"]
    policy["terms"]["recovery_days"] = 1
    (tmp_path / "policy").write_bytes(canonical(policy))
    orgs = ("renhe-hospital", "anxin-insurance", "health-commission")
    words = ("--name", "localhost/test", "--orderer", "anxin-insurance", "--rp-id", "localhost", "--demo")
    origins = ("--sign-origin", "http://localhost:41000", "--sign-origin", "http://evil.localhost")
    files = [founded / org_id / "member.json" for org_id in orgs]
    more = ("--policy", tmp_path / "policy", "--out", tmp_path / "g")
    assert run("join", "propose", *files, *words, *origins, *more).code == 0
    told = run("join", "sign", tmp_path / "g", "--out", tmp_path / "p", "--config", node, "--lang", "en").out
    for said in (
        "ordered by anxin-insurance; 2 of 3 members",
        "renhe-hospital (Name): hospital",
        "counts at http://evil.localhost, http://localhost:41000 alone",
        'consent/active: "creator"',
        "subject/ended: null",
        "recovery_days: 1",
        "A demo",
    ):
        assert said in told
    ran = run("join", "sign", tmp_path / "g", "--out", tmp_path / "q", "--config", node, "--json")
    assert ran.document["genesis"]["policy_differs"] == {
        "consent/active": "creator",
        "recovery_days": 1,
        "subject/ended": None,
    }
    assert ran.document["genesis"]["sign_origins"] == ["http://evil.localhost", "http://localhost:41000"]


def test_a_usual_genesis_is_said_to_be_one_to_founders_and_newcomers(run, founded, node, tmp_path):
    ledger = (founded / "ledger").read_text()
    proofs = sorted(founded.glob("*.proofs"))
    signed = ("join", "sign", founded / "genesis.json", "--out", tmp_path / "p")
    started = ("join", "start", founded / "genesis.json", *proofs, "--ledger", ledger)
    asked = ("join", "request", founded / "genesis.json", "--ledger", ledger, "--out", tmp_path / "r")
    for words in (signed, started, asked):
        ran = run(*words, "--config", node, "--lang", "zh")
        assert (ran.code, "背书策略为默认策略" in ran.out) == (0, True)


@pytest.mark.parametrize(
    ("content", "code"), [(b"{}", "encoding.members"), (b"x", "encoding.not_json"), (b"{ }", "encoding.not_canonical")]
)
def test_a_damaged_member_file_is_refused(run, tmp_path, content, code):
    (tmp_path / "m.json").write_bytes(content)
    words = ("--name", "h/n", "--orderer", "x", "--rp-id", "x.example", "--sign-origin", "https://x.example")
    refused = run("join", "propose", tmp_path / "m.json", *words, "--out", tmp_path / "g.json")
    assert (refused.code, code in refused.err) == (2, True)
    assert not (tmp_path / "g.json").exists()


def test_a_quorum_that_two_halves_could_reach_is_refused(run, founded, tmp_path):
    words = ("--name", "localhost/x", "--orderer", "health-commission", "--rp-id", "localhost", "--demo")
    members = sorted(founded.glob("*/member.json"))
    words = (*words, "--sign-origin", "http://localhost:1", "--out", tmp_path / "g.json")
    assert run("join", "propose", *members, *words, "--quorum", "1").code == 1
    assert run("join", "propose", *members, *words, "--quorum", "2").code == 0


@pytest.mark.parametrize(
    ("orderer", "quorum", "is_warned"),
    [
        # The default rule wants a majority with a regulator, and there is one regulator.
        ("health-commission", 2, True),
        ("renhe-hospital", 2, False),
        # The others can agree, but the quorum that a takeover needs is never complete without the lost one.
        ("renhe-hospital", 3, True),
    ],
)
def test_founders_are_told_of_an_orderer_that_nobody_could_replace(run, founded, tmp_path, orderer, quorum, is_warned):
    words = ("--name", "localhost/x", "--orderer", orderer, "--rp-id", "localhost", "--demo", "--quorum", quorum)
    members = sorted(founded.glob("*/member.json"))
    words = (*words, "--sign-origin", "http://localhost:1", "--out", tmp_path / "g.json", "--json")
    ran = run("join", "propose", *members, *words)
    assert ran.code == 0
    assert (f"should {orderer} be lost" in ran.err) is is_warned


def test_a_genesis_is_not_overwritten(run, founded):
    members = sorted(founded.glob("*/member.json"))
    words = ("--name", "localhost/x", "--orderer", "health-commission", "--rp-id", "localhost", "--demo")
    refused = run("join", "propose", *members, *words, "--sign-origin", "http://localhost:1", "--out", members[0])
    assert (refused.code, "file.exists" in refused.err) == (6, True)


def test_a_founder_says_under_which_codes_it_issues_invoices(run, founded, node, tmp_path):
    """All who sign the genesis are told, since no code ever leaves the organisation that has it."""
    words = ("join", "sign", founded / "genesis.json", "--config", node)
    for language, said in (("zh", "开票单位代码：31010500123"), ("en", "issues invoices under: 31010500123")):
        ran = run(*words, "--out", tmp_path / language, "--lang", language)
        assert (ran.code, said in ran.out) == (0, True)
    ran = run(*words, "--out", tmp_path / "p", "--json")
    assert [row["issuers"] for row in ran.document["genesis"]["members"]] == [[], [], ["31010500123"]]
    for language, said in (("zh", "1970-01-01 起的票据标识密钥"), ("en", "key for ids of invoices from 1970-01-01 on")):
        shown = run("org", "show", "renhe-hospital", "--config", node, "--lang", language)
        assert (said in shown.out, "31010500123" in shown.out) == (True, True)
    assert run("org", "show", "renhe-hospital", "--config", node, "--json").document["invoices"]["issuers"] == [
        "31010500123"
    ]
    assert run("org", "show", "anxin-insurance", "--config", node, "--json").document["invoices"] is None


def test_a_genesis_with_another_key_for_the_own_invoices_is_not_signed(run, founded, node, tmp_path):
    """Who has that key would name this hospital's invoices."""
    document = json.loads((founded / "genesis.json").read_bytes())
    (hospital,) = (row for row in document["members"] if "invoices" in row)
    hospital["invoices"]["vrf"][0]["public"] = base64_text(VrfKey(bytes(32)).public)
    (tmp_path / "g.json").write_bytes(canonical(document))
    refused = run("join", "sign", tmp_path / "g.json", "--out", tmp_path / "p", "--config", node)
    assert (refused.code, "genesis.own_keys" in refused.err) == (1, True)


def test_a_code_that_is_none_leaves_no_half_made_node(run, tmp_path):
    call = ("init", tmp_path / "n", "--org-id", "renhe-hospital", *WORDS, "--issuer")
    for language, said in (("zh", "开票单位代码"), ("en", "An issuer code")):
        refused = run(*call, "31-01", "--lang", language)
        assert (refused.code, said in refused.err, (tmp_path / "n").exists()) == (2, True, False), refused.err
    assert run(*call, "3101", "--issuer", "3100", "--issuer", "3101").code == 0
    member = json.loads((tmp_path / "n" / "member.json").read_bytes())
    assert member["invoices"]["issuers"] == ["3100", "3101"]


def test_the_doctor_misses_a_key_for_ids_of_invoices_that_the_ledger_lists(run, node):
    """A node that is restored from before it was drawn: nobody could name an invoice of its days any more."""
    assert "good  keys for ids of invoices" in run("doctor", "--config", node, "--lang", "en").out
    keystore = node.parent / "keys" / "keystore.json"
    document = json.loads(keystore.read_bytes())
    document["keys"] = [row for row in document["keys"] if row["use"] != "vrf"]
    keystore.write_bytes(canonical(document))
    for language, said in (("zh", "异常  票据标识密钥"), ("en", "bad   keys for ids of invoices")):
        ran = run("doctor", "--config", node, "--lang", language)
        assert (ran.code, said in ran.out, "doctor.invoices days=1970-01-01" in ran.out) == (1, True, True), ran.out
