"""verify.html in a real browser, opened from a file as from a USB stick: what it says, and that nothing leaves it."""

from __future__ import annotations

import json
import os
import re
import socket
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from medchain.claims.verdict_words import names_in, sentence
from medchain.commands.command import visible
from medchain.ledger.bundle import verify_bundle
from medchain.web.verify_page import verify_page
from tests.deck import Made, deck
from tests.e2e.accessibility import violations
from tests.e2e.browser import Browser, is_there
from tests.verifier import pack

NAMES = (
    "genuine_claim",
    "altered_after_the_claim",
    "altered_field_whose_name_turns_what_is_said_around",
    "consent_for_another_claim",
    "late_entry",
    "no_consent",
    "verdict_that_was_changed",
)
SIZES = (("phone", 390, 3000), ("desk", 1280, 2200))

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(not is_there(), reason="needs Chromium (`make browser`)")]


@pytest.fixture(scope="module")
def cases(tmp_path_factory) -> dict[str, Made]:
    return dict(deck(tmp_path_factory.mktemp("deck"), iter(NAMES)))


@pytest.fixture(scope="module")
def stick(tmp_path_factory) -> Path:
    """Write the page where somebody plugs it in."""
    path = tmp_path_factory.mktemp("stick") / "verify.html"
    path.write_bytes(verify_page())
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    made = Browser(tmp_path_factory.mktemp("browser"))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    return Path(os.environ.get("MEDCHAIN_PICTURES") or tmp_path_factory.mktemp("pictures"))


def given(browser: Browser, stick: Path, files: Mapping[str, bytes], policy: str, language: str = "en") -> str:
    """Give the page a bundle and a policy; returns its state."""
    folder = Path(tempfile.mkdtemp(dir=stick.parent))
    (folder / "policy.txt").write_text(policy)
    browser.media("")
    browser.open("about:blank")
    browser.open(f"file://{stick}#{language}")
    browser.type("#policy", str(folder / "policy.txt"))
    browser.type("#bundle", str(pack(folder / "bundle.zip", files)))
    browser.wait_for("#result[data-state]:not([hidden])")
    return str(browser.script("return document.querySelector('#result').dataset.state"))


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_page_shows_the_seven_lines_in_the_words_of_the_command(browser, stick, cases, pictures, language):
    found = []
    for name, made in cases.items():
        state = given(browser, stick, made.files, made.policy, language)
        for kind, width, height in SIZES:
            browser.resize(width, height)
            browser.picture(pictures / f"verify-{name}-{language}-{kind}.png")
            found += [f"{name} {kind} {one}" for one in violations(browser)]
            assert browser.script("return document.documentElement.scrollWidth") <= width
        if made.refused:
            assert (state, browser.script("return document.querySelector('#result').dataset.code")) == (
                "refused",
                made.refused,
            )
            continue
        judged = verify_bundle(made.files, made.policy, now=made.now)
        verdict = judged.claim
        assert verdict is not None
        assert state == verdict.colour
        told = browser.script(
            "return [...document.querySelectorAll('[data-code]:not(#result)')].map((one) => one.firstChild.textContent)"
        )
        said = [sentence(one, language, names_in(judged.names, language)) for one in verdict.findings]
        assert told == [visible(one) for one in said]
        lines = browser.script("return [...document.querySelectorAll('[data-line]')].map((one) => one.dataset.line)")
        assert lines == [row["line"] for row in json.loads(verdict.encode())["lines"]]
    assert found == []


def test_nothing_leaves_the_page_even_if_its_script_were_another(browser, stick, cases):
    made = cases["genuine_claim"]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        place = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        assert given(browser, stick, made.files, made.policy) == "green"
        assert browser.script("return performance.getEntriesByType('resource').length") == 0
        blocked = browser.promise(
            "const done = arguments[arguments.length - 1]; const found = new Set();"
            "document.addEventListener('securitypolicyviolation', (event) => {"
            "  found.add(event.effectiveDirective); if (found.size === 4) done([...found].sort()); });"
            f"const place = '{place}';"
            "const made = (tag) => document.body.appendChild(document.createElement(tag));"
            "made('img').src = place; made('iframe').src = place;"
            "const form = made('form'); form.action = place; form.submit();"
            "fetch(place, { body: 'x', method: 'POST', mode: 'no-cors' }).catch(() => null);"
        )
        assert blocked == ["connect-src", "form-action", "frame-src", "img-src"]
        # Chromium may call ahead where it expects a page of a frame or form. It says nothing.
        assert sent(listener) == b""


def sent(listener: socket.socket) -> bytes:
    """Return all that was sent to a listener."""
    told = b""
    while True:
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            return told
        with connection:
            connection.setblocking(False)  # noqa: FBT003  # the library's own form
            try:
                told += connection.recv(4096)
            except BlockingIOError:
                continue


def test_a_policy_can_be_pasted_and_the_language_changed_without_judging_anew(browser, stick, cases):
    made = cases["altered_after_the_claim"]
    browser.open("about:blank")
    browser.open(f"file://{stick}#en")
    browser.type("#bundle", str(pack(stick.parent / "pasted.zip", made.files)))
    assert "Choose the members' policy." in browser.wait_until("Choose the members' policy.")
    browser.script(
        "const one = document.querySelector('#text'); one.value = arguments[0] ?? '';"
        f"one.value = {json.dumps(made.policy)}; one.dispatchEvent(new Event('input'))"
    )
    browser.wait_for("#result[data-state=red]")
    assert browser.script("return document.documentElement.lang") == "en"
    browser.click("#language")
    assert browser.script("return document.documentElement.lang") == "zh"
    assert "七项结论" in browser.text
    assert browser.script("return document.querySelector('#result').dataset.state") == "red"


def test_attack_what_a_bundle_says_moves_hides_and_turns_nothing_on_the_page(browser, stick, cases):
    made = cases["altered_field_whose_name_turns_what_is_said_around"]
    assert given(browser, stick, made.files, made.policy) == "red"
    text = str(browser.script("return document.querySelector('#result').textContent"))
    assert "/a\\u202e.derettab ton\\u2066\\u200b\\u001b[8m\\u000a\\u2028" in text
    assert visible(text) == text


@pytest.mark.parametrize("language", ["zh", "en"])
def test_each_moment_says_its_zone(browser, stick, cases, language):
    made = cases["genuine_claim"]
    given(browser, stick, made.files, made.policy, language)
    clocks = browser.script(
        "return [...document.querySelectorAll('#result dd')].map((one) => one.innerText)"
        ".filter((one) => /[0-9]{2}:[0-9]{2}:[0-9]{2}/.test(one))"
    )
    # As of when it holds, and when it was checked.
    assert len(clocks) == 2
    for one in clocks:
        assert re.search(r"\b(UTC|GMT[+-][0-9:]+|[A-Z]{3,4}) [0-9]{2}:|[0-9]{2}:[0-9]{2}:[0-9]{2} [A-Z]{3,4}", one), one


def test_what_is_no_bundle_or_no_policy_is_said_to_be_none(browser, stick, cases):
    made = cases["genuine_claim"]
    assert given(browser, stick, {"readme.txt": b"hello"}, made.policy) == "malformed"
    assert given(browser, stick, made.files, "quorum none\n") == "bad_policy"


def test_in_print_all_of_the_evidence_is_shown_and_no_button(browser, stick, cases, pictures):
    made = cases["genuine_claim"]
    given(browser, stick, made.files, made.policy)
    browser.resize(1280, 900)
    browser.media("print")
    browser.script("dispatchEvent(new Event('beforeprint'))")
    shut = "return [...document.querySelectorAll('#result details')].filter((one) => !one.open).length"
    assert browser.script(shut) == 0
    shown = "return ['#print', '#drop', '#language'].map((one) => document.querySelector(one).offsetHeight)"
    assert browser.script(shown) == [0, 0, 0]
    browser.picture(pictures / "verify-print.png")
    browser.script("dispatchEvent(new Event('afterprint'))")
    browser.media("")
