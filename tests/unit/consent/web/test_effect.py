"""What a choice would change, told in the very records of the patient before anything is signed."""

from __future__ import annotations

import re

import pytest

from tests.unit.consent.web.test_pages import condition, english, records


def previewed(browser, ask: str, language: str = "en", **choice: object) -> str:
    """Have a choice previewed, and read the page."""
    form = {"csrf": browser.csrf(), "kind": ["tests"], "sensitive": [], "days": "30", "step": "preview"} | choice
    page = browser.post(f"/my/asks/{ask}?lang={language}", form).text
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


@pytest.fixture(scope="module")
def person(world):
    """A patient with an observation and conditions, two of them sensitive."""
    rows = condition("effect", 1), condition("effect", 2, "PSY"), condition("effect", 3, "HIV")
    records(world, "effect", *rows)
    return world.patient("effect")


def test_sensitive_records_are_counted_and_named_by_themselves_as_far_as_they_are_asked_for(world, person):
    ask = world.ask("effect")
    page = english(person, f"/my/asks/{ask}")
    assert "mental health (1 labelled) 诊断2 (1 Oct 2026)" in page
    assert "HIV and other sexually transmitted" in page or "HIV" in page
    assert "None of them is labelled as sensitive." in page
    ticked = previewed(person, ask, kind=["diagnoses", "tests"], sensitive=["mental"])
    assert "could see 3 records today" in ticked
    assert "Sensitive records among them: 1, since you ticked those." in ticked
    # An ask for other types would be given none of them, whatever is ticked.
    narrow = english(person, f"/my/asks/{world.ask('effect', resource_types=['Observation'])}")
    assert "mental health (0 labelled)" in narrow
    assert "诊断2" not in narrow


def test_against_an_earlier_permission_the_records_that_come_and_go_are_named(world, person):
    earlier, ask = world.give(person, world.ask("effect"), kind=["tests"]), world.ask("effect")
    page = previewed(person, ask, kind=["diagnoses"], sensitive=["mental"])
    assert "gives and the earlier one does not, today 2: " in page
    assert "诊断1 (1 Oct 2026); 诊断2 (1 Oct 2026)" in page
    assert "the earlier one gives and it does not, today 1: 血糖 (2 Nov 2026)" in page
    assert "现在少给出 1 条记录" in previewed(person, ask, "zh", kind=["diagnoses"])
    same = previewed(person, ask, kind=["tests"])
    assert "today 1" not in same
    assert person.step(f"/my/access/{earlier}/withdraw").status_code == 200


def test_who_says_no_is_told_what_the_asker_sees_all_the_same(world, person):
    ask = world.ask("effect")
    assert "it is given none by this hospital" in english(person, f"/my/asks/{ask}")
    given = world.give(person, world.ask("effect", purpose="HRESCH"), kind=["diagnoses"])
    assert "it could still see 1 record today, until you stop that" in english(person, f"/my/asks/{ask}")
    assert "它现在仍可看到 1 条记录" in person.text(f"/my/asks/{ask}?lang=zh")
    assert person.step(f"/my/access/{given}/withdraw").status_code == 200
    assert "it is given none by this hospital" in english(person, f"/my/asks/{ask}")
