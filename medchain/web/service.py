"""What all views of the web workers share: callers, errors, request ids, headers; and the health routes.

Keeps true: an application with a view that does not declare its callers is not built; an error answers its code and
fields, never its text; nothing is cached or framed unless a view says so. Trusts a view that is declared for tokens or
peers to check them.
Source: `docs/spec/node-protocol.md`; RFC 9110.
"""

from __future__ import annotations

import hmac
import io
import secrets
import time
from collections.abc import Callable
from typing import Final

from flask import Blueprint, Flask, Request, Response, g, request
from werkzeug.exceptions import HTTPException

from medchain.encoding import Json, canonical
from medchain.errors import AccessDeniedError, InputError, MedchainError, NotFoundError, UnavailableError
from medchain.node import metrics
from medchain.node.log import Log
from medchain.node.peers import JSON
from medchain.web.gateway import REFUSAL
from medchain.web.routing import Caller, callers, callers_of, error_response

MAX_REQUEST_BYTES: Final = 32 << 20
"""Largest request to a web worker; views may set less."""

_LOG: Final = Log("web")
HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""What every answer has, unless it says otherwise."""


class _InMemory(Request):
    """A request whose files stay in memory: werkzeug would write large ones to disk, as they are."""

    def _get_file_stream(self, *_given: object, **_named: object) -> io.BytesIO:
        """Hold a file that a form brings; the request's own bound is the file's."""
        return io.BytesIO()


def prepare(app: Flask) -> None:
    """Give an application what all its views share; called before its blueprints are registered.

    Args:
        app: the application.
    """
    app.config["MAX_CONTENT_LENGTH"] = MAX_REQUEST_BYTES
    app.request_class = _InMemory
    app.before_request(_begin)
    app.after_request(_finish)
    app.register_error_handler(MedchainError, _refuse)
    app.register_error_handler(HTTPException, _refuse_http)
    app.register_error_handler(Exception, _fail)


def check_callers(app: Flask) -> None:
    """See that every view declares its callers; called after all blueprints are registered.

    Args:
        app: the application.

    Raises:
        InputError: ``route.callers`` with the first view that does not.
    """
    for rule in app.url_map.iter_rules():
        if not callers_of(app.view_functions[rule.endpoint]):
            raise InputError("route.callers", route=rule.rule)


def health_blueprint(status: Callable[[], Json], metrics_token: str | None) -> Blueprint:
    """Make `/healthz`, `/readyz` and, where there is a token for it, `/metrics`.

    Args:
        status: asks the daemon how it is; raises `UnavailableError` when it cannot be asked.
        metrics_token: what a monitor must show; None to show numbers to nobody. Where a request comes from says
            nothing: a proxy on this machine, or any program of it, comes from loopback.

    Returns:
        The blueprint.
    """
    blueprint = Blueprint("health", __name__)

    @blueprint.get("/healthz")
    @callers(Caller.PUBLIC)
    def healthz() -> Response:
        return _json({"status": "alive"}, 200)

    @blueprint.get("/readyz")
    @callers(Caller.PUBLIC)
    def readyz() -> Response:
        document = status()
        is_ready = isinstance(document, dict) and document.get("ready") is True
        return _json(document, 200 if is_ready else 503)

    @blueprint.get("/metrics")
    @callers(Caller.TOKEN)
    def numbers() -> Response:
        if metrics_token is None:
            raise NotFoundError("metrics.off")
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        is_shown = hmac.compare_digest(given.encode("utf-8", "surrogatepass"), metrics_token.encode("ascii"))
        if scheme != "Bearer" or not is_shown:
            raise AccessDeniedError("local_auth.metrics")
        return Response(metrics.expose(), 200, content_type=metrics.CONTENT_TYPE)

    return blueprint


def _begin() -> None:
    """Note the time and an id; raises what the door before the application has found."""
    g.request_id = secrets.token_hex(8)
    g.started = time.monotonic()
    refusal: MedchainError | None = request.environ.get(REFUSAL)
    if refusal is not None:
        raise refusal


def _finish(response: Response) -> Response:
    """Set what every answer has, and count it."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["X-Request-Id"] = g.get("request_id", "")
    route = request.endpoint or "none"
    metrics.REQUESTS.labels("web", route, str(response.status_code)).inc()
    metrics.REQUEST_SECONDS.labels("web", route).observe(time.monotonic() - g.get("started", time.monotonic()))
    return response


def _refuse(error: MedchainError) -> Response:
    """Answer one of our errors."""
    _LOG.info("request.refused", route=request.endpoint, code=error.code, request=g.get("request_id", ""))
    found = error_response(error, g.get("request_id", ""))
    return Response(found.body, found.status, dict(found.headers), content_type=found.content_type)


def _refuse_http(error: HTTPException) -> Response:
    """Answer what Flask itself refuses: unknown paths, other methods, bodies that are too large."""
    status = error.code or 500
    return _json({"code": f"http.{status}", "fields": {}, "request": g.get("request_id", "")}, status)


def _fail(error: Exception) -> Response:
    """Answer what must not happen; the outermost handler."""
    _LOG.error("request.failed", error, route=request.endpoint, request=g.get("request_id", ""))
    found = error_response(UnavailableError("internal"), g.get("request_id", ""), status=500)
    return Response(found.body, found.status, dict(found.headers), content_type=found.content_type)


def _json(document: Json, status: int) -> Response:
    """Answer a canonical document."""
    return Response(canonical(document), status, content_type=JSON)
