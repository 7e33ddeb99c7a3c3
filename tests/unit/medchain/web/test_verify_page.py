"""verify.html: what it is, what it may do, and who gives it."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest
from flask import Flask

from medchain.errors import VerificationError
from medchain.web.routing import Caller, callers_of
from medchain.web.verify_page import page_policy, verify_blueprint, verify_page

PAGE = verify_page().decode()


def inline(element: str) -> str:
    """Return what stands in the only element of a name without attributes."""
    (found,) = re.findall(rf"<{element}>(.*?)</{element}>", PAGE, re.DOTALL)
    return found


def hashed(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def test_the_page_may_run_its_own_script_alone_and_load_nothing():
    rows = dict(row.strip().split(" ", 1) for row in page_policy(PAGE.encode()).split(";"))
    assert rows == {
        "base-uri": "'none'",
        "default-src": "'none'",
        "form-action": "'none'",
        "require-trusted-types-for": "'script'",
        "script-src": hashed(inline("script")),
        "style-src": hashed(inline("style")),
        "trusted-types": "'none'",
    }
    # It stands before all that it is to rule.
    head = PAGE.index("Content-Security-Policy")
    assert head < min(PAGE.index(f"<{element}") for element in ("style", "script", "title"))


def test_the_page_names_no_other_place():
    bare = PAGE.replace(inline("script"), "")
    assert not re.findall(r"\b(?:src|href|action|srcset|data|poster)\s*=", bare)
    assert not re.findall(r"url\(|@import|https?:", bare)
    # What a script could reach others by.
    ways = ("fetch(", "XMLHttpRequest", "WebSocket", "EventSource", "sendBeacon", "import(", "RTCPeerConnection")
    assert [way for way in ways if way in inline("script")] == []
    assert not re.findall(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", inline("script")
    )


def test_a_page_without_a_policy_is_not_served():
    with pytest.raises(VerificationError, match=r"page\.policy"):
        page_policy(b"<html></html>")


def test_a_node_gives_the_page_to_everybody_under_its_own_policy():
    app = Flask("test")
    app.register_blueprint(verify_blueprint())
    assert callers_of(app.view_functions["verify.shown"]) == {Caller.PUBLIC}
    answer = app.test_client().get("/verify.html")
    assert (answer.status_code, answer.data) == (200, verify_page())
    assert answer.headers["Content-Security-Policy"] == f"{page_policy(verify_page())}; frame-ancestors 'none'"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
