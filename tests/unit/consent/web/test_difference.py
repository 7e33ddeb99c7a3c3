"""What a permission would change against an earlier one."""

from __future__ import annotations

import re

import pytest

from consent.web.difference import difference_of
from consent.web.kinds import KINDS, SENSITIVE
from consent.web.offer import Choice
from consent.web.view import given_of

PLAIN = Choice(frozenset({"tests"}), frozenset(), 30)
NOW = 1_800_000_000


def before(types: list[str], *, end: int | None = NOW, denied: bool = True):
    """Give a consent in force as the daemon tells of it."""
    labels = [{"code": code} for codes in SENSITIVE.values() for code in codes]
    fhir = {"provision": {"provision": [{"securityLabel": labels, "type": "deny"}]}} if denied else {}
    content = {"fhir": fhir, "recipient": "r", "resource_types": types, "period": {"end": end, "start": 0}}
    (found,) = given_of({"consents": [{"content": content, "in_force": True, "key": "k"}]})
    return found


def kinds(rows) -> list[str]:
    return [f"{kind} in part" if is_part else kind for kind, is_part in rows]


@pytest.mark.parametrize(
    ("old", "new", "more", "less"),
    [
        (["Observation"], ["Observation"], [], []),
        (["Observation"], ["Condition", "Observation"], ["diagnoses"], []),
        (["Condition", "Observation"], ["Observation"], [], ["diagnoses"]),
        (["Condition"], ["Observation"], ["tests"], ["diagnoses"]),
        # The same kind of record, and yet more of it than before.
        (["Observation"], ["DiagnosticReport", "Observation"], ["tests in part"], []),
        (["DiagnosticReport", "Observation"], ["Observation"], [], ["tests in part"]),
        (["Basic"], ["Observation"], ["tests"], ["other"]),
        (["*"], ["*"], [], []),
        (["*"], ["Observation"], [], None),
        (["Observation"], ["*"], None, []),
    ],
)
def test_each_kind_that_comes_or_goes_is_told_in_whole_or_in_part(old, new, more, less):
    found = difference_of(before(old), new, PLAIN, NOW)
    # All that there is, but for the one type.
    rest = [kind + (" in part" if kind == "tests" else "") for kind in KINDS] + ["other"]
    assert kinds(found.more) == (rest if more is None else more)
    assert kinds(found.less) == (rest if less is None else less)
    assert found.is_only_date is (old == new)


def test_sensitive_kinds_that_come_or_go_are_told():
    wider = Choice(frozenset({"tests"}), frozenset({"mental"}), 30)
    assert difference_of(before(["Observation"]), ["Observation"], wider, NOW).more_sensitive == ("mental",)
    narrower = difference_of(before(["Observation"], denied=False), ["Observation"], PLAIN, NOW)
    assert "mental" in narrower.less_sensitive
    assert not narrower.is_only_date
    assert difference_of(before(["Observation"], denied=False), ["Observation"], wider, NOW).more_sensitive == ()


@pytest.mark.parametrize(("end", "is_later"), [(NOW - 1, True), (NOW, False), (NOW + 1, False), (None, False)])
def test_a_later_end_is_told_as_longer(end, is_later):
    assert difference_of(before(["Observation"], end=end), ["Observation"], PLAIN, NOW).is_later is is_later


def test_the_page_says_what_changes_before_it_is_signed(world):
    browser = world.patient("renews")
    first = world.ask("renews", days=365)
    world.give(browser, first, kind=["tests"], days="7")
    second = world.ask("renews")
    form = {"csrf": browser.csrf(), "kind": ["diagnoses", "tests"], "sensitive": ["hiv"], "days": "30"}
    page = browser.post(f"/my/asks/{second}?lang=en", form | {"step": "preview"}).text
    said = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    assert "Against the permission that you signed on" in said
    assert "More: Diagnoses" in said
    assert "More: HIV" in said
    assert "Longer:" in said
    assert "Less:" not in said
    assert "stays in force until you stop it" in said
    same = browser.post(f"/my/asks/{second}?lang=zh", form | {"kind": ["tests"], "sensitive": [], "days": "7"}).text
    assert "其他都不变" in same
    other = world.ask("renews", purpose="HRESCH")
    assert "Against the permission" not in browser.text(f"/my/asks/{other}?lang=en")
