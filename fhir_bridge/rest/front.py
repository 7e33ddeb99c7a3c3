"""The web front of the REST server: WSGI in, WSGI out, nothing in between.

A read is answered in less time than a framework needs to begin one, so these addresses pass it by. Keeps true: a body
is bounded before and after it is unpacked; every answer has the headers that all answers of
this node have, a request id, and leaves whole; numbers are counted by interaction, never by what a client sent. Trusts
`medchain.web.gateway` before it to bound request line and fields, and to end bodies that come too slowly.
Source: PEP 3333; RFC 9110; the Fetch standard (CORS).
"""

from __future__ import annotations

import io
import re
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import cache
from http import HTTPStatus
from typing import Any, Final, TypeAlias

from fhir_bridge import binary
from fhir_bridge.provenance import TYPE as PROVENANCE
from fhir_bridge.rest import attachments
from fhir_bridge.rest.ask import Ask, Reply, new_request_id, own_request_id
from fhir_bridge.rest.core import Core
from fhir_bridge.rest.elsewhere import PARAMETER as OF_OTHERS
from fhir_bridge.rest.negotiate import takes_gzip
from fhir_bridge.rest.routes import answer, answering, methods_of, refused
from fhir_bridge.rest.turns import Turns
from medchain.errors import InputError, MedchainError, UnavailableError
from medchain.node import metrics
from medchain.store.steps import Steps
from medchain.web.gateway import REFUSAL, Environ, Start
from medchain.web.incoming import Incoming
from medchain.web.service import HEADERS, MAX_REQUEST_BYTES

PREFIX: Final = "/fhir"
"""Where the API lies."""

BODIES_EACH: Final = 8
"""Most bodies of one client that arrive at a time in one process: half of its threads, unless it is told otherwise."""

BUSY_S: Final = 2.0
"""How long one body more waits for another to end, in seconds."""

COMPRESSED_FROM_BYTES: Final = 1400
"""Smallest answer that is compressed: what fits into a packet gains nothing."""

Elsewhere: TypeAlias = "Callable[[Environ, Start], Iterable[bytes]]"
"""A WSGI application."""

LOOP_BYTES: Final = 8 << 10
"""Largest create that the event loop answers itself: what a body of that size costs at most holds nobody up for long.

Judging takes time in proportion to the size, and some contents of a type ten times as long as others: a Questionnaire
of 60 kB held the loop for 0.22 s though the ones before it had been quick.
"""

_ELSEWHERE: Final = f"{PREFIX}/.well-known/"
# Binaries, and what is compared with Binaries, of whatever size these are.
_WITH_CONTENTS: Final = frozenset({f"{PREFIX}/{binary.TYPE}", f"{PREFIX}/{attachments.TYPE}"})
# Who sends forms with files, as one of the clients that share the threads.
_PAGES: Final = "(pages)"
_PIECE_BYTES: Final = 1 << 16
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9\-._]{1,64}")
_GZIP: Final = 31
_PLAIN: Final = "identity"
_LEVEL: Final = 1
_COMPRESSIBLE: Final = ("application/fhir+json", "application/fhir+xml", "application/json")
_EXPOSED: Final = (
    "Content-Location, ETag, Expires, Last-Modified, Location, Medchain-Access, Medchain-Anchored, Medchain-Case, "
    "Retry-After, WWW-Authenticate, X-Progress, X-Request-Id"
)
_PREFLIGHT: Final = {
    "Access-Control-Allow-Headers": "Accept, Accept-Language, Authorization, Content-Type, DPoP, If-Match, "
    "If-Modified-Since, If-None-Exist, If-None-Match, Prefer, Purpose-Of-Use, X-Request-Id, X-Security-Context",
    "Access-Control-Max-Age": "86400",
}


class Front:
    """Answers what lies under `PREFIX`, and hands on everything else.

    Attributes:
        max_bytes: largest body that is read whole.
    """

    def __init__(
        self,
        core: Core,
        elsewhere: Elsewhere,
        max_bytes: int = MAX_REQUEST_BYTES,
        bodies: int = BODIES_EACH,
        turns: Turns | None = None,
        takes_files: Callable[[str], bool] = lambda _path: False,
    ) -> None:
        """Prepare.

        Args:
            core: of the server.
            elsewhere: answers other addresses.
            max_bytes: largest body that is read whole.
            bodies: most bodies of one client that arrive at a time.
            turns: of the threads of this process; None for turns of its own.
            takes_files: tells by its path whether a page elsewhere takes files; it knows who sends one before it reads.
        """
        self._core = core
        self._elsewhere = elsewhere
        self.max_bytes = max_bytes
        self._arriving = Arriving(bodies)
        self._turns = turns or Turns()
        self._takes_files = takes_files

    def close(self) -> None:
        """End what goes on beside the answers, once there are no more."""
        self._core.close()

    def __call__(self, environ: Environ, start: Start) -> Iterable[bytes]:
        """Answer one request."""
        if not _is_ours(environ):
            return self._at_pages(environ, start)
        began = time.monotonic()
        ask = self._ask(environ)
        refusal: MedchainError | None = environ.get(REFUSAL)
        if refusal is not None:
            reply = refused(ask, refusal)
        elif _is_short(environ):
            with self._turns.one():
                reply = answer(self._core, ask)
        else:
            reply = _preflight(ask) if ask.method == "OPTIONS" else answer(self._core, ask)
        return _sent(ask, reply, start, began)

    def in_steps(self, environ: Environ, start: Start) -> Steps[Iterable[bytes]]:
        """Answer one request that `kind_of` names, in steps."""
        began = time.monotonic()
        ask = self._ask(environ)
        reply = yield from answering(self._core, ask)
        return _sent(ask, reply, start, began)

    def takes_large(self, environ: Environ) -> bool:
        """Take any body by the head that comes before it; those elsewhere are forms, of which some bring files."""
        return _is_ours(environ) or (environ["REQUEST_METHOD"] == "POST" and self._takes_files(environ["PATH_INFO"]))

    def kind_of(self, environ: Environ) -> Hashable:
        """Name reads by type, shape of the address and names of parameters, and plain creates by type and size.

        Who proves to have a key has the proof marked as used: a write that the event loop must not wait for.
        """
        if not _is_ours(environ) or "HTTP_DPOP" in environ:
            return None
        segments = environ["PATH_INFO"].split("/")[2:]
        if _is_plain_create(environ):
            return "create", *segments, int(environ["CONTENT_LENGTH"]).bit_length()
        if environ["REQUEST_METHOD"] != "GET" or _asks_others(segments, environ):
            return None
        named = [part if part[:1] in ("$", "_") else "" for part in segments[1:]]
        return (*segments[:1], *named, *_names(environ), environ.get("HTTP_ACCEPT"))

    def _at_pages(self, environ: Environ, start: Start) -> Iterable[bytes]:
        """Have the pages answer; a form with files counts as arriving while they do."""
        if not isinstance(environ["wsgi.input"], Incoming):
            return self._elsewhere(environ, start)
        with ExitStack() as held:
            try:
                held.enter_context(self._arriving.one(_PAGES))
            except UnavailableError as error:
                environ[REFUSAL] = error
            return self._elsewhere(environ, start)

    def _ask(self, environ: Environ) -> Ask:
        """Make the request."""
        given = environ.get("HTTP_X_REQUEST_ID", "")
        ask = Ask(
            environ["REQUEST_METHOD"],
            environ["PATH_INFO"][len(PREFIX) + 1 :],
            environ.get("QUERY_STRING", ""),
            fields=environ,
            read=lambda: self._read(ask),
            stream=lambda limit: self._pieces(ask, limit),
            raw=lambda: self._pieces(ask, self.max_bytes),
            # One that looks like ours would be taken for ours, and logged.
            request_id=given if _REQUEST_ID.fullmatch(given) and not own_request_id(given) else new_request_id(),
        )
        return ask

    def _read(self, ask: Ask) -> bytes:
        """Read a body whole."""
        with self._arrives(ask):
            return read_body(ask.fields, self.max_bytes)

    def _pieces(self, ask: Ask, limit: int) -> Iterator[bytes]:
        """Give a body piece by piece; one that is packed is unpacked first, and bounded as what is read whole."""
        if _encoding(ask.fields) != _PLAIN:
            return iter([self._read(ask)])
        return self._held(ask, _pieces(ask.fields, limit))

    def _held(self, ask: Ask, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Count a body as arriving for as long as its pieces come."""
        with self._arrives(ask):
            yield from pieces

    def _arrives(self, ask: Ask) -> AbstractContextManager[None]:
        """Count a body as arriving, unless it is there."""
        is_there = isinstance(ask.fields["wsgi.input"], io.BytesIO)
        return nullcontext() if is_there else self._arriving.one(ask.who.client)


class Arriving:
    """Counts bodies that arrive while they are read: who sends a large one slowly holds a thread.

    No client may hold more than half of them, and all clients together no more than three quarters, so that who only
    reads is answered. Threads share it.
    """

    __slots__ = ("_all", "_count", "_free", "_limit")

    def __init__(self, limit: int) -> None:
        """Allow each client so many at a time."""
        self._limit = limit
        self._all = limit + limit // 2
        self._count: Counter[str] = Counter()
        self._free = threading.Condition()

    @contextmanager
    def one(self, client: str) -> Iterator[None]:
        """Let one body arrive; raises `UnavailableError` ``request.busy`` where too many do and none ends soon."""
        with self._free:
            if not self._free.wait_for(lambda: self._has_room(client), BUSY_S):
                raise UnavailableError("request.busy")
            self._count[client] += 1
        try:
            yield
        finally:
            with self._free:
                self._count[client] -= 1
                if not self._count[client]:
                    del self._count[client]
                self._free.notify_all()

    def _has_room(self, client: str) -> bool:
        """Tell whether one more may arrive."""
        return self._count[client] < self._limit and self._count.total() < self._all


def read_body(environ: Mapping[str, Any], limit: int) -> bytes:
    """Read a body whole.

    Args:
        environ: of the request.
        limit: most bytes, as sent and as unpacked.

    Returns:
        The body, unpacked.

    Raises:
        InputError: ``request.too_large``; ``request.encoding``; ``request.length`` for one that broke off; what the
            input raises, such as ``request.slow``.
    """
    encoding = _encoding(environ)
    if encoding not in (_PLAIN, "gzip", "x-gzip"):
        raise InputError("request.encoding")
    body = b"".join(_pieces(environ, limit))
    return body if encoding == _PLAIN else _unpacked(body, limit)


def _encoding(environ: Mapping[str, Any]) -> str:
    """Tell how a body is packed."""
    return str(environ.get("HTTP_CONTENT_ENCODING", "")).strip().lower() or _PLAIN


def _pieces(environ: Mapping[str, Any], limit: int) -> Iterator[bytes]:
    """Read a body piece by piece."""
    length = environ.get("CONTENT_LENGTH", "")
    size = int(length) if length.isascii() and length.isdigit() else None
    if size is not None and size > limit:
        raise InputError("request.too_large", limit=limit)
    stream: binary.Readable = environ["wsgi.input"]
    return binary.pieces_of(_Bounded(stream, limit, size), size)


class _Bounded:
    """A body that must not go on for ever."""

    __slots__ = ("_left", "_limit", "_stream", "_wanted")

    def __init__(self, stream: binary.Readable, limit: int, size: int | None) -> None:
        self._stream = stream
        self._limit = self._left = limit
        self._wanted = size

    def read(self, size: int) -> bytes:
        """Read at most so many bytes."""
        if self._wanted is not None:
            size = min(size, self._wanted)
        piece = self._stream.read(size) if size else b""
        self._left -= len(piece)
        if self._wanted is not None:
            self._wanted -= len(piece)
        if self._left < 0:
            raise InputError("request.too_large", limit=self._limit)
        return piece


def _unpacked(body: bytes, limit: int) -> bytes:
    """Unpack gzip, bounded."""
    engine = zlib.decompressobj(_GZIP)
    try:
        made = engine.decompress(body, limit + 1)
    except zlib.error as error:
        raise InputError("request.encoding") from error
    if len(made) > limit:
        raise InputError("request.too_large", limit=limit)
    if not engine.eof or engine.unused_data:
        raise InputError("request.encoding")
    return made


def _is_short(environ: Environ) -> bool:
    """Tell what is answered in turn: reads, and creates whose body is there and which wait for no anchor."""
    if environ["REQUEST_METHOD"] == "GET":
        return True
    return _is_single_create(environ) and isinstance(environ.get("wsgi.input"), io.BytesIO)


def _is_single_create(environ: Environ) -> bool:
    """Tell a create that waits for no anchor."""
    is_create = environ["REQUEST_METHOD"] == "POST" and environ["PATH_INFO"][len(PREFIX) + 1 :].isalpha()
    return is_create and "HTTP_PREFER" not in environ


def _is_plain_create(environ: Environ) -> bool:
    """Tell a small create that looks nothing up but what it refers to, and whose content is stored as it is judged."""
    is_conditional = environ["QUERY_STRING"] or "HTTP_IF_NONE_EXIST" in environ
    return _is_single_create(environ) and not is_conditional and _is_small(environ)


def _is_small(environ: Environ) -> bool:
    """Tell what is known to be of `LOOP_BYTES` at most: not what is packed, nor what says no length, nor a document."""
    length = environ.get("CONTENT_LENGTH", "")
    is_measured = length.isascii() and length.isdigit() and int(length) <= LOOP_BYTES
    return is_measured and _encoding(environ) == _PLAIN and environ["PATH_INFO"] not in _WITH_CONTENTS


def _asks_others(segments: Sequence[str], environ: Environ) -> bool:
    """Tell a read for which this process may wait for another one: the daemon, or another organisation's node.

    The daemon is asked what the ledger tells of a version (in a Provenance, which a search may include) and for proofs;
    an export goes on looking for as long as it may.
    """
    if PROVENANCE in segments or any(part.startswith("$") for part in segments):
        return True
    return any(name == OF_OTHERS or name.startswith("_revinclude") or "%" in name for name in _names(environ))


def _names(environ: Environ) -> list[str]:
    """List the names of a request's parameters."""
    return [pair.partition("=")[0] for pair in environ["QUERY_STRING"].split("&")]


def _preflight(ask: Ask) -> Reply:
    """Tell a browser what it may ask for; who may have it is for the token to say, so any origin may ask."""
    methods = methods_of(ask)
    return Reply(204, b"", {"Allow": ", ".join([*methods, "OPTIONS"])}, "")


def _is_ours(environ: Environ) -> bool:
    """Tell whether an address is one of the API's."""
    path: str = environ.get("PATH_INFO", "")
    after = path[len(PREFIX) : len(PREFIX) + 1]
    return path.startswith(PREFIX) and after in ("", "/") and not path.startswith(_ELSEWHERE)


def _sent(ask: Ask, reply: Reply, start: Start, began: float) -> Iterable[bytes]:
    """Send an answer."""
    headers = {**HEADERS, **reply.headers, "X-Request-Id": ask.request_id}
    if "HTTP_ORIGIN" in ask.fields:
        headers["Access-Control-Allow-Origin"] = "*"
        headers["Access-Control-Expose-Headers"] = _EXPOSED
        if ask.method == "OPTIONS":
            headers |= _PREFLIGHT
            headers["Access-Control-Allow-Methods"] = headers["Allow"]
    body = reply.body
    if isinstance(body, bytes):
        if len(body) >= COMPRESSED_FROM_BYTES and reply.content_type in _COMPRESSIBLE:
            body = _packed(ask, body, headers)
        headers["Content-Length"] = str(len(body))
    if reply.content_type and body:
        headers["Content-Type"] = reply.content_type
    if reply.status in (204, 304):
        del headers["Content-Length"]
    _count(ask.trail.interaction or "none", reply.status, time.monotonic() - began)
    start(_line(reply.status), list(headers.items()))
    if ask.method == "HEAD":
        return ()
    return (body,) if isinstance(body, bytes) else body


def _packed(ask: Ask, body: bytes, headers: dict[str, str]) -> bytes:
    """Compress a body for a client that takes it so."""
    headers["Vary"] = "Accept, Accept-Encoding"
    if not takes_gzip(ask.fields.get("HTTP_ACCEPT_ENCODING", "")):
        return body
    engine = zlib.compressobj(_LEVEL, wbits=_GZIP)
    headers["Content-Encoding"] = "gzip"
    return engine.compress(body) + engine.flush()


@cache
def _line(status: int) -> str:
    """Write a status with its phrase."""
    return f"{status} {HTTPStatus(status).phrase}"


def _count(route: str, status: int, seconds: float) -> None:
    """Count an answer."""
    counter, histogram = _meters(f"fhir.{route}", status)
    counter.inc()
    histogram.observe(seconds)


@cache
def _meters(route: str, status: int) -> tuple[Any, Any]:
    """Find the counters of an interaction and a status; Any because prometheus_client's children have no names."""
    return metrics.REQUESTS.labels("web", route, str(status)), metrics.REQUEST_SECONDS.labels("web", route)
