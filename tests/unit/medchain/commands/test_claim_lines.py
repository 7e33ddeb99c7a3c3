"""`medchain verify` of an insurer's evidence: seven lines in words, in both languages, and as JSON."""

from __future__ import annotations

import io
import json

import pytest

from medchain.cli import main
from medchain.ledger.evidence.verdict import VERDICT_FILE
from tests.deck import CASES
from tests.evidence_ledger import invoicing, ledger_in


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """Give a bundle on a disk of which one line is red."""
    folder = tmp_path_factory.mktemp("lines")
    with invoicing(), ledger_in(folder / "ledger") as ledger:
        made = CASES["altered_after_the_claim"](ledger)
    for name, content in made.files.items():
        path = folder / "bundle" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (folder / "policy.txt").write_text(made.policy)
    return folder


def verified(folder, *words: str, language: str = "en") -> tuple[int, str]:
    """Verify as an auditor does; returns exit code and answer."""
    out = io.StringIO()
    call = ["--lang", language, "verify", str(folder / "bundle"), "--policy", str(folder / "policy.txt"), *words]
    return main(call, {}, out, io.StringIO()), out.getvalue()


def test_the_seven_lines_are_said_in_words(bundle):
    code, said = verified(bundle)
    assert code == 0
    assert "Unaltered: something is wrong" in said
    assert "was altered after the claim" in said
    assert "Consent: in order" in said
    names = ["Source", "Unaltered", "Complete", "Consent", "Not claimed elsewhere", "Coverage and time", "Red flags"]
    lines = [line.partition(":")[0] for line in said.splitlines()]
    assert [line for line in lines if line in names] == names


def test_the_seven_lines_are_said_in_chinese(bundle):
    _, said = verified(bundle, language="zh")
    assert "未改动：有问题" in said
    assert "在索赔之后被改动" in said


def test_the_document_has_the_verdict_as_it_stands_in_the_bundle(bundle):
    _, said = verified(bundle, "--json")
    assert json.loads(said)["claim"] == json.loads((bundle / "bundle" / VERDICT_FILE).read_bytes())
    assert json.loads(said)["answer"] == "claim"
