"""Every refusal of the checks of subjects, delegations and recoveries has its words."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from medchain.ledger.kinds import capacity, content, delegation, recovery, signing, subject
from medchain.web.refusals import REFUSALS

KINDS = ("consent", "delegation", "recovery", "subject")
# Malformed bodies: a program's mistake, told as `body.malformed` with the reason beside it.
NEVER = {"delegation.guardians", "recovery.minor", "recovery.incapable", "recovery.guardians"}
READING = {"subject.capacity", "subject.standing"}


def codes(module) -> set[str]:
    """Collect the codes that a module's text names, with each kind in the place of a prefix that is passed in."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(Path(module.__file__).read_text("utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            head, dot, tail = node.value.partition(".")
            if dot and head in {*KINDS, "signing"} and tail.isidentifier():
                found.add(node.value)
        if isinstance(node, ast.JoinedStr) and len(node.values) == 2 and isinstance(node.values[1], ast.Constant):
            found |= {f"{kind}{node.values[1].value}" for kind in KINDS if str(node.values[1].value).startswith(".")}
    return found


@pytest.mark.parametrize("module", [capacity, content, delegation, recovery, signing, subject])
def test_each_code_of_the_checks_has_a_text(module):
    named = codes(module)
    assert named
    assert named - READING - NEVER - REFUSALS.keys() == set()


def test_each_text_is_in_both_languages_and_without_fields():
    for zh, en in REFUSALS.values():
        assert not zh.isascii()
        assert en.isascii()
        assert "{" not in zh + en
