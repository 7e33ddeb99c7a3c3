"""verify.html: one file that verifies evidence offline in any browser, such as from a USB stick; served here as well.

Keeps true: it runs the one script that its own policy names by hash, loads nothing and sends nothing, wherever it is
opened from; it is the same file for all. Trusts what `make verify-page` built, which a test builds anew and compares.
Source: CSP Level 3; ADR 0084.
"""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Final

from flask import Blueprint, Response

from medchain.errors import VerificationError
from medchain.web.routing import Caller, callers

NAME: Final = "verify.html"
"""Name of the file."""

_POLICY: Final = re.compile(r'<meta http-equiv="Content-Security-Policy" content="([^"]{1,1000})">')


def verify_page() -> bytes:
    """Read the page."""
    return (files("medchain.web") / "static" / NAME).read_bytes()


def page_policy(page: bytes) -> str:
    """Take the policy out of the page; raises `VerificationError` ``page.policy`` for one without."""
    match = _POLICY.search(page.decode())
    if match is None:
        raise VerificationError("page.policy")
    return match[1]


def verify_blueprint() -> Blueprint:
    """Make the route of the page, open to all: there is nothing in it but what anybody may have."""
    blueprint = Blueprint("verify", __name__)
    page = verify_page()
    # What a policy in the page itself cannot say is said here.
    policy = f"{page_policy(page)}; frame-ancestors 'none'"

    @blueprint.get(f"/{NAME}")
    @callers(Caller.PUBLIC)
    def shown() -> Response:
        response = Response(page, content_type="text/html; charset=utf-8")
        response.headers["Content-Security-Policy"] = policy
        response.headers["Cache-Control"] = "no-cache"
        response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    return blueprint
