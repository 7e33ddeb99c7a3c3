"""The look of all pages: language, layout, security headers, files of style and script.

Keeps true: a page runs no script but ours and loads nothing from elsewhere; it is in no frame; every word of it exists
in Chinese and English; what comes from outside is escaped. Trusts Jinja for escaping.
Source: CSP Level 3; WCAG 2.2; `docs/spec/smart.md`.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from http import HTTPStatus
from importlib.resources import files
from typing import Any, Final

from flask import Blueprint, Flask, Response, g, redirect, render_template, request
from werkzeug.exceptions import HTTPException

from medchain.counted import filled
from medchain.errors import AccessDeniedError, InputError, MedchainError, NotFoundError
from medchain.node.log import Log
from medchain.web import dates
from medchain.web.routing import Caller, callers, status_of
from medchain.web.session import Site
from medchain.web.words import WORDS, Words

LANGUAGES: Final = ("zh", "en")
"""Languages of the pages, the first is the usual one."""

LANGUAGE_COOKIE: Final = "__Host-medchain-lang"
"""Remembers what a reader has chosen."""

TEXT_SIZES: Final = ("usual", "large")
"""Sizes of text, the first is the usual one."""

TEXT_COOKIE: Final = "__Host-medchain-text"
"""Remembers which one a reader has chosen."""

_READING: Final = {"lang": (LANGUAGE_COOKIE, LANGUAGES), "text": (TEXT_COOKIE, TEXT_SIZES)}
_TYPES: Final = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}
_NAMES: Final = ("pages.css", "passkey.js", "webauthn.js")
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "frame-ancestors 'none'; form-action 'self'"
)
_GZIP_LEVEL: Final = 9
# A file of others is never run as one of ours.
_FILE_POLICY: Final = "sandbox; default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_TLS_ONLY_S: Final = 365 * 86400
_LOG: Final = Log("pages")


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of style or script.

    Attributes:
        content: all of it.
        packed: the same, gzip.
        type: media type.
        sha256: of the content, hexadecimal.
    """

    content: bytes
    packed: bytes
    type: str
    sha256: str

    @property
    def version(self) -> str:
        """Changes with the content."""
        return self.sha256[:16]


class Pages:
    """Renders pages of one node."""

    __slots__ = ("_words", "assets", "site")

    def __init__(self, site: Site, more: Mapping[str, tuple[str, str]] | None = None) -> None:
        """Read the files; `more` are words of the floors above."""
        self.site = site
        self._words: Words = {**WORDS, **(more or {})}
        self.assets = {name: read_asset("medchain.web", name) for name in _NAMES}

    def say(self, key: str, **fields: object) -> str:
        """Word something in the reader's language, as `filled` does; a `count` of one may have words of its own."""
        one = f"{key}.one"
        words = self._words[one if fields.get("count") == 1 and one in self._words else key]
        return filled(words[LANGUAGES.index(language())], fields)

    def say_or(self, key: str, otherwise: str) -> str:
        """Word something in the reader's language where there is a word for it."""
        return self.say(key) if key in self._words else otherwise

    def day(self, seconds: int) -> str:
        """Write a date as the reader does; Unix seconds."""
        return dates.day(datetime.fromtimestamp(seconds, self.site.zone), language())

    def moment(self, seconds: int) -> str:
        """Write a date and time as the reader does; Unix seconds."""
        return dates.moment(datetime.fromtimestamp(seconds, self.site.zone), language())

    def dated(self, text: str) -> str:
        """Write a date that FHIR has as text as the reader does."""
        return dates.written(text, self.site.zone, language())

    def words(self, prefix: str) -> dict[str, str]:
        """List the words whose keys begin with something, by the rest of their keys, in the reader's language."""
        at = LANGUAGES.index(language())
        return {key.removeprefix(prefix): word[at] for key, word in self._words.items() if key.startswith(prefix)}

    def render(self, template: str, status: int = 200, *, forms_to: str = "", **values: Any) -> Response:  # noqa: ANN401  # a template's
        """Render a page.

        Args:
            template: its name.
            status: HTTP status.
            forms_to: origin to which the answer to a form may lead, beside this one.
            values: of the template.

        Returns:
            The page, which nobody may keep.
        """
        body = render_template(
            template,
            t=self.say,
            lang=language(),
            is_large=is_large(),
            me=self.site.current(),
            site_name=self.site.name[LANGUAGES.index(language())],
            asset=lambda name: f"/static/{name}?v={self.assets[name].version}",
            **values,
        )
        response = Response(body, status, content_type="text/html; charset=utf-8")
        response.headers["Content-Security-Policy"] = _POLICY + (f" {forms_to}" if forms_to else "")
        response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        response.headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=()"
        # With "no-referrer" a browser would not say where a form comes from, either.
        response.headers["Referrer-Policy"] = "same-origin"
        response.headers["X-Frame-Options"] = "DENY"
        if self.site.origins[0].startswith("https:"):
            response.headers["Strict-Transport-Security"] = f"max-age={_TLS_ONLY_S}"
        return response

    def refuse(self, error: MedchainError, home: str = "/account", back: str = "error.back") -> Response:
        """Show an error with a link to a page where it goes on; who is not signed in is sent to do so.

        Args:
            error: what was refused.
            home: address of that page.
            back: word of the link.
        """
        if error.code == "session.none" and request.method == "GET":
            return redirected("/sign-in")
        _LOG.info("request.refused", code=error.code, route=request.endpoint)
        key = f"error.{error.code}"
        status = 403 if isinstance(error, AccessDeniedError) else status_of(error)
        text = self.say(key if key in self._words else "error.other")
        return self.render("error.html", status, home=home, text=text, code=error.code, back=self.say(back))

    def guard(self, blueprint: Blueprint) -> Blueprint:
        """Have a blueprint's errors shown as pages, and with them what Flask itself refuses."""
        blueprint.register_error_handler(MedchainError, self.refuse)
        blueprint.register_error_handler(HTTPException, lambda error: self.refuse(refusal_of(error)))
        return blueprint


def refusal_of(error: HTTPException) -> MedchainError:
    """Name what Flask itself refuses: a part of a form that is too large, or a page that is not there."""
    is_too_large = error.code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    return InputError("request.too_large") if is_too_large else NotFoundError("page.unknown")


def add_views(blueprint: Blueprint, rows: Iterable[tuple[str, Callable[..., Response], str]]) -> Blueprint:
    """Add pages to a blueprint, open to all callers: each view looks at the session itself, and refuses by a page.

    Args:
        blueprint: takes them.
        rows: address, view and method of each.

    Returns:
        The blueprint.
    """
    answers: dict[str, Callable[..., Response]] = {}
    for path, view, method in rows:
        name = f"{view.__name__}-{method}".lower()
        answer = answers.setdefault(name, callers(Caller.PUBLIC)(partial(view)))
        blueprint.add_url_rule(path, name, answer, methods=[method])
    return blueprint


def pages_blueprint(pages: Pages) -> Blueprint:
    """Make the routes of files and of the choice of language."""
    blueprint = Blueprint("pages", __name__, template_folder="templates")
    blueprint.add_app_template_filter(pages.dated, "dated")
    blueprint.add_app_template_filter(begun, "begun")

    @blueprint.get("/static/<name>")
    @callers(Caller.PUBLIC)
    def static(name: str) -> Response:
        asset = pages.assets.get(name)
        if asset is None:
            raise NotFoundError("page.unknown")
        # Files of style and script are the same for all: nothing of a person is packed together with what others send.
        takes_gzip = request.accept_encodings["gzip"] > 0
        response = Response(asset.packed if takes_gzip else asset.content, content_type=asset.type)
        response.headers["Vary"] = "Accept-Encoding"
        if takes_gzip:
            response.headers["Content-Encoding"] = "gzip"
        is_named = request.args.get("v") == asset.version
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if is_named else "no-cache"
        return response

    return pages.guard(blueprint)


def remember_reading(app: Flask) -> None:
    """Remember how a reader wants the pages: the language chosen with `?lang=`, the size of text with `?text=`."""

    @app.after_request
    def keep(response: Response) -> Response:
        if request.method == "GET" and response.mimetype == "text/html":
            for name, (cookie, offered) in _READING.items():
                chosen = request.args.get(name, "")
                if chosen in offered:
                    response.set_cookie(cookie, chosen, secure=True, httponly=True, samesite="Lax", path="/")
        return response


def begun(text: str) -> str:
    """Write what begins a line with a capital; unlike Jinja's `capitalize` all that follows stays as it is."""
    return text[:1].upper() + text[1:]


def is_large() -> bool:
    """Tell whether the reader wants large text: as chosen, as remembered, else not."""
    rows = (request.args.get("text", ""), request.cookies.get(TEXT_COOKIE, ""))
    return next((one for one in rows if one in TEXT_SIZES), TEXT_SIZES[0]) != TEXT_SIZES[0]


def language() -> str:
    """Tell the reader's language: as chosen, as remembered, as the browser says, Chinese."""
    if "language" not in g:
        chosen = request.args.get("lang", "")
        kept = request.cookies.get(LANGUAGE_COOKIE, "")
        best = request.accept_languages.best_match(LANGUAGES) or LANGUAGES[0]
        g.language = next(one for one in (chosen, kept, best) if one in LANGUAGES)
    found: str = g.language
    return found


def redirected(target: str) -> Response:
    """Send the browser to another page, with GET."""
    response = redirect(target, 303)
    return Response(response.get_data(), 303, {"Location": target}, content_type="text/html; charset=utf-8")


def attached(content: bytes | Iterable[bytes], content_type: str, name: str) -> Response:
    """Give a file to keep, never shown as a page of ours.

    Args:
        content: all of it, or piece by piece.
        content_type: of the file.
        name: under which it is kept; says nothing of a patient.
    """
    response = Response(content, content_type=content_type)
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.headers["Content-Security-Policy"] = _FILE_POLICY
    return response


def read_asset(package: str, name: str) -> Asset:
    """Read a file of a package's folder ``static``."""
    content = (files(package) / "static" / name).read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    return Asset(content, gzip.compress(content, _GZIP_LEVEL, mtime=0), _TYPES[name.rpartition(".")[2]], sha256)
