"""`key rotate` on a node that does not run, and what the doctor says of libraries and waiting records."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from medchain.commands import doctor, keeping
from medchain.errors import ConflictError, UnavailableError
from medchain.node.keystore import KeyUse, candidate_uses


@pytest.mark.parametrize("use", ["authentication", "cosign", "encryption", "ledger", "log", "vrf"])
def test_keys_are_exchanged_on_a_running_node_only_and_what_was_drawn_stays(run, node, use):
    before = (node.parent / "keys" / "keystore.json").read_bytes()
    ran = run("key", "rotate", use, "--config", node)
    assert ran.code == 7
    assert candidate_uses(node.parent)
    changed = (node.parent / "keys" / "keystore.json").read_bytes() != before
    # An encryption key is held before anybody can seal to it.
    assert changed == (use == "encryption")


def test_a_key_that_a_killed_call_put_into_the_keystore_is_opened_before_the_ledger_lists_it(run, node, monkeypatch):
    """The processes that run hold the keystore as it was: what is sealed to the new key they could not open."""
    steps: list[str] = []

    def restart(*_given: object) -> None:
        steps.append("restart")
        if len(steps) == 1:
            raise KeyboardInterrupt

    def exchange(*_given: object) -> None:
        steps.append("exchange")
        raise UnavailableError("rotation.not_ordered")

    monkeypatch.setattr(keeping, "start_anew", restart)
    monkeypatch.setattr(keeping, "_exchange", exchange)
    drawn = []
    for code in (130, 7):
        assert run("key", "rotate", "encryption", "--config", node).code == code
        drawn.append((node.parent / "keys" / "candidates.json").read_bytes())
    assert steps == ["restart", "restart", "exchange"]
    assert drawn[0] == drawn[1]


def test_a_backup_has_the_keys_that_the_ledger_may_list_already(run, node, tmp_path):
    """Else a node that is restored from one of that hour has none of them."""
    assert run("key", "rotate", "ledger", "--config", node).code == 7
    assert run("backup", tmp_path / "b", "--config", node).code == 0
    words = ("--root-key", node.parent / "keys" / "root.key", "--nothing-erased")
    assert run("restore", tmp_path / "b", tmp_path / "r", *words).code == 0
    assert candidate_uses(tmp_path / "r") == (KeyUse.LEDGER,)


def test_one_exchange_is_finished_before_the_next(run, node):
    run("key", "rotate", "cosign", "--config", node)
    for language, word in (("zh", "更换尚未完成"), ("en", "finish it first")):
        ran = run("key", "rotate", "ledger", "--config", node, "--lang", language)
        assert (ran.code, word in ran.err) == (6, True)
    assert set(candidate_uses(node.parent)) == {KeyUse.COSIGN_ED25519, KeyUse.COSIGN_MLDSA44}


@pytest.mark.parametrize("use", ["authentication", "cosign", "encryption", "ledger", "log", "vrf"])
def test_an_exchange_that_finds_no_room_on_the_disk_says_so_and_goes_on_when_it_is_asked_again(
    run, node, monkeypatch, use
):
    """The ledger lists the keys already: what the node signs with the old ones counts no more."""
    rename, full, asked = Path.replace, [True], []

    def replace(path: Path, target: Path) -> Path:
        if full[0] and target.name == "keystore.json" and asked:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return rename(path, target)

    monkeypatch.setattr(keeping, "start_anew", lambda *_given: None)
    monkeypatch.setattr(
        keeping,
        "_exchange",
        lambda _folder, keys, *_given: asked.append([key["public"] for key in keys]) or {"version": 2},
    )
    monkeypatch.setattr(Path, "replace", replace)
    # An encryption key is in the keystore before that, and needs no more room.
    for language, word in (("zh", "尚未完成"), ("en", f"medchain key rotate {use}")) if use != "encryption" else ():
        ran = run("key", "rotate", use, "--config", node, "--lang", language)
        assert (ran.code, word in ran.err) == (7, True), ran.err
    full[0] = False
    assert run("key", "rotate", use, "--config", node, "--json").document["version"] == 2
    assert all(keys == asked[0] for keys in asked)
    assert candidate_uses(node.parent) == ()


@pytest.mark.parametrize(
    ("use", "code", "zh", "en"),
    [
        ("log", "rotation.orderer", "须先移交排序", "hand over ordering"),
        ("vrf", "rotation.no_invoices", "没有本机构的开票单位代码", "lists no issuer code"),
    ],
)
def test_a_key_that_cannot_be_listed_does_not_keep_others_from_being_exchanged(
    run, node, monkeypatch, use, code, zh, en
):
    def refuse(*_given: object) -> None:
        raise ConflictError(code, org_id="renhe-hospital")

    monkeypatch.setattr(keeping, "_exchange", refuse)
    for language, word in (("zh", zh), ("en", en)):
        ran = run("key", "rotate", use, "--config", node, "--lang", language)
        assert (ran.code, word in ran.err) == (6, True), ran.err
        assert candidate_uses(node.parent) == ()
    # What an earlier call has drawn may be on its way to the ledger.
    monkeypatch.undo()
    assert run("key", "rotate", use, "--config", node).code == 7
    monkeypatch.setattr(keeping, "_exchange", refuse)
    assert run("key", "rotate", use, "--config", node).code == 6
    assert candidate_uses(node.parent) == (KeyUse(use),)


def test_a_key_for_which_the_ledger_has_no_room_is_given_up_whoever_has_drawn_it(run, node, monkeypatch):
    # Drawn by an earlier call, which reached nobody.
    assert run("key", "rotate", "vrf", "--config", node).code == 7

    def refuse(*_given: object) -> None:
        raise ConflictError("rotation.full", most=64)

    monkeypatch.setattr(keeping, "_exchange", refuse)
    for language, word in (("zh", "已满 64 代"), ("en", "lists 64 keys")):
        ran = run("key", "rotate", "vrf", "--config", node, "--lang", language)
        assert (ran.code, word in ran.err) == (6, True), ran.err
        assert candidate_uses(node.parent) == ()


def test_a_new_key_for_ids_of_invoices_says_from_when_it_makes_them(run, node, monkeypatch):
    monkeypatch.setattr(keeping, "start_anew", lambda *_given: None)
    monkeypatch.setattr(keeping, "_exchange", lambda *_given: {"from": 20_800, "version": 3})
    # Day 20,800 is 2026-12-13.
    for language, words in (("zh", "自 2026-12-13 起的票据"), ("en", "dated 2026-12-13 or later")):
        ran = run("key", "rotate", "vrf", "--config", node, "--lang", language)
        assert (ran.code, words in ran.out) == (0, True), ran.out
    ran = run("key", "rotate", "vrf", "--config", node, "--json")
    assert (ran.document["from"], ran.document["version"], len(ran.document["keys"])) == (20_800, 3, 1)


def findings(ran) -> dict[str, tuple[str, str]]:
    rows = json.loads(ran.out.splitlines()[0])["findings"]
    return {row["check"]: (row["state"], row["detail"]) for row in rows}


def test_the_doctor_names_libraries_and_how_long_records_have_waited(run, node, tmp_path, monkeypatch):
    (tmp_path / "p.json").write_text('{"resourceType":"Patient","id":"p1"}')
    assert run("import", tmp_path / "p.json", "--config", node).code == 0
    found = findings(run("doctor", "--json", "--config", node))
    assert "OpenSSL" in found["libraries"][1]
    assert found["outbox"][0] == "good"
    assert found["outbox"][1].startswith("1, ")
    monkeypatch.setattr(doctor, "MAX_OUTBOX_AGE_S", -1)
    assert findings(run("doctor", "--json", "--config", node))["outbox"][0] == "bad"
