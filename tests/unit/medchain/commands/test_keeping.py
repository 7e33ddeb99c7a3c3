"""`key rotate` on a node that does not run, and what the doctor says of libraries and waiting records."""

from __future__ import annotations

import json

import pytest

from medchain.commands import doctor, keeping
from medchain.errors import UnavailableError
from medchain.node.keystore import KeyUse, candidate_uses


@pytest.mark.parametrize("use", ["authentication", "cosign", "encryption", "ledger", "log"])
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

    monkeypatch.setattr(keeping, "_start_anew", restart)
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
