"""The door of a web worker: ASGI to the server outside, WSGI to the application inside.

The event loop waits for clients, threads do the work. Keeps true: no thread waits for a small body, nor for a client to
take an answer; a client that takes nothing for `TAKE_S` is cut off, and an answer that breaks off never looks whole;
more work than the threads can take soon is refused, not queued without end, and so is who names no host, or two; the
loop answers by itself only what has shown to be quick, and only while no thread does anything longer, so that it waits
for no lock or connection that one has; what it has begun and cannot end, or is not let end, a thread ends. Trusts the
server for heads: their size, their deadline, and that they are HTTP.
Source: ASGI 3.0; PEP 3333; RFC 3875; RFC 9112 §3.2; `docs/adr/0030-web-workers-speak-asgi.md`,
`docs/adr/0062-single-writes-wait-on-the-event-loop.md`.
"""

from __future__ import annotations

import asyncio
import io
import re
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from medchain.errors import InputError, MedchainError, UnavailableError
from medchain.node.log import Log
from medchain.store.steps import ONLY_THREAD, Steps, Wait
from medchain.web.incoming import SMALL_BYTES, Incoming, Receive, Refused, read_small
from medchain.web.pace import Pace

TAKE_S: Final = 30.0
"""How long a client may take nothing of an answer, in seconds."""

QUEUE: Final = 4
"""So many requests for each thread may be under way; one more is refused."""

REFUSAL: Final = "medchain.refusal"
"""Key of the error in the environment of a request that the application must answer with it, at once."""

Environ: TypeAlias = "dict[str, Any]"
"""A WSGI environment; Any because PEP 3333 has it so."""

Start: TypeAlias = "Callable[..., Any]"
"""WSGI's start_response; Any because what it returns is nobody's business."""

Send: TypeAlias = "Callable[[dict[str, Any]], Awaitable[None]]"
"""ASGI's send; Any because its messages have members of many types."""

_Value = TypeVar("_Value")
_Made = TypeVar("_Made")
_PIECE_BYTES: Final = 1 << 18
# uri-host [ ":" port ] (RFC 9112 §3.2, RFC 3986 §3.2.2), without percent-encoding, which no name in DNS has.
_HOST: Final = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=-]+)(?::[0-9]*)?")
# granian writes it without the minor version.
_HTTP_1_0: Final = frozenset({"1", "1.0"})
# RFC 9112 §9.6.
_CLOSE: Final = (b"connection", b"close")
_LOG: Final = Log("web")


class Application(Protocol):
    """What is behind the door."""

    def __call__(self, environ: Environ, start: Start, /) -> Iterable[bytes]:
        """Answer as PEP 3333 says; where the environment has a `REFUSAL`, with that and at once."""
        ...

    def takes_large(self, environ: Environ, /) -> bool:
        """Tell whether a body above `SMALL_BYTES` is judged by a request's head, and read piece by piece."""
        ...

    def kind_of(self, environ: Environ, /) -> Hashable:
        """Name a request that may be answered in steps as all that take about as long; None for any other."""
        ...

    def in_steps(self, environ: Environ, start: Start, /) -> Steps[Iterable[bytes]]:
        """Answer one that has a name, as `__call__` would; until it gives a wait, it has waited for nothing."""
        ...


@dataclass(slots=True)
class _Answer:
    """An answer: its head, its body as far as it is there, who gives the rest, if there is one, and what it cost."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    cpu_s: float
    rest: Iterator[bytes] | None = None
    close: Callable[[], None] | None = None


class _Told:
    """WSGI's start_response of one request: keeps what it is told."""

    __slots__ = ("_headers", "_status")

    def __call__(self, status: str, headers: list[tuple[str, str]], _error: object = None) -> None:
        """Note the head of the answer."""
        self._status, self._headers = status, headers

    def answer(self, result: Iterable[bytes], began: float, cpu_s: float = 0.0) -> _Answer:
        """Make the answer of what the application returned, which has used the processor before and since it began."""
        pieces = iter(result)
        body = _more(pieces)
        fields = [(_name(name), value.encode("latin-1")) for name, value in self._headers]
        answer = _Answer(int(self._status[:3]), fields, body, cpu_s + time.thread_time() - began)
        close = getattr(result, "close", None)
        if len(body) > _PIECE_BYTES:
            # There may be more, unless all of it was one piece: then no thread need be asked.
            answer.rest = None if isinstance(result, tuple) and len(result) == 1 else pieces
            answer.close = close
        elif close is not None:
            close()
        return answer


class _Begun:
    """A request that is answered in steps.

    Attributes:
        wait: what it waits for.
    """

    __slots__ = ("_cpu_s", "_steps", "_told", "wait")

    def __init__(self, application: Application, environ: Environ) -> None:
        """Begin with nothing done."""
        self._told = _Told()
        self._steps = application.in_steps(environ, self._told)
        self._cpu_s = 0.0
        self.wait: Wait = ONLY_THREAD

    def step(self) -> _Answer | None:
        """Do the next step; returns the answer where it was the last, else there is something to wait for."""
        began = time.thread_time()
        try:
            self.wait = next(self._steps)
        except StopIteration as end:
            return self._told.answer(end.value, began, self._cpu_s)
        self._cpu_s += time.thread_time() - began
        return None

    def end(self) -> _Answer:
        """Wait, and do all steps that are left, in this thread."""
        answer = None
        while answer is None:
            self.wait.now()
            answer = self.step()
        return answer


class Gateway:
    """An ASGI application."""

    def __init__(self, application: Application, threads: int) -> None:
        """Prepare.

        Args:
            application: behind the door.
            threads: how many requests are worked on at a time.
        """
        self._application = application
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="web")
        self._most = QUEUE * threads
        self._busy = self._long = 0
        self._pace = Pace()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request; Any as in `Receive`."""
        try:
            await self._serve(scope, receive, send)
        except Exception as error:  # noqa: BLE001  # the outermost handler: the server would write the error's text
            # Nothing says that an answer has ended, so the server breaks it off; where none was begun, it answers 500.
            _LOG.error("request.failed", error)

    async def _serve(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Read, answer, send; Any as in `Receive`."""
        environ = environ_of(scope)
        if _names_host(scope):
            environ["wsgi.input"] = await self._body(environ, receive)
        else:
            environ |= {REFUSAL: InputError("request.malformed"), "wsgi.input": io.BytesIO()}
        answer = await self._answer(environ)
        body = environ["wsgi.input"]
        if not isinstance(body, io.BytesIO) and not body.is_over:
            # Whether what is left of the body comes is not known; once in thousands the server leaves such a connection
            # open, for nothing but a client that does not close it either.
            answer.headers.append(_CLOSE)
        head = {"type": "http.response.start", "status": answer.status, "headers": answer.headers}
        if answer.rest is None and len(answer.body) <= _PIECE_BYTES:
            await send(head)
            await send({"type": "http.response.body", "body": answer.body, "more_body": False})
            return
        await self._send_long(head, answer, receive, send)

    async def _body(self, environ: Environ, receive: Receive) -> io.BytesIO | Incoming | Refused:
        """Read a small body; of a large one, nothing yet."""
        length = environ.get("CONTENT_LENGTH", "")
        if not length and "HTTP_TRANSFER_ENCODING" not in environ:
            return io.BytesIO()
        is_small = length.isascii() and length.isdigit() and int(length) <= SMALL_BYTES
        if not is_small and self._application.takes_large(environ):
            return Incoming(asyncio.get_running_loop(), receive)
        if length and not is_small:
            return Refused(InputError("request.too_large", limit=SMALL_BYTES))
        try:
            return io.BytesIO(await read_small(receive))
        except InputError as error:
            return Refused(error)

    async def _answer(self, environ: Environ) -> _Answer:
        """Answer here or in a thread."""
        if self._busy >= self._most:
            environ.setdefault(REFUSAL, UnavailableError("request.busy"))
        if REFUSAL in environ:
            return self._run(environ)
        is_there = isinstance(environ["wsgi.input"], io.BytesIO)
        kind = self._application.kind_of(environ) if is_there else None
        is_quick = kind is not None and self._pace.is_quick(kind)
        by_loop = is_quick and not self._long
        answer = await (self._here(environ) if by_loop else self._in_thread(self._run, environ, is_quick=is_quick))
        if kind is not None:
            self._pace.note(kind, answer.cpu_s, by_loop=by_loop)
        return answer

    async def _here(self, environ: Environ) -> _Answer:
        """Answer on the loop, which does other things while the request waits; what only a thread can, one ends."""
        begun = _Begun(self._application, environ)
        self._busy += 1
        try:
            answer = begun.step()
            while answer is None and await self._waited(begun):
                answer = begun.step()
        finally:
            self._busy -= 1
        # Broken off before it is a thread's turn, it would be ended by nobody.
        return await asyncio.shield(self._in_thread(_Begun.end, begun)) if answer is None else answer

    async def _waited(self, begun: _Begun) -> bool:
        """Wait for what a request waits for; tells whether that is over."""
        try:
            return await begun.wait.soon()
        except BaseException:
            # The client has gone, or the loop ends: what was begun is ended all the same.
            self._pool.submit(begun.end)
            raise

    async def _in_thread(self, work: Callable[[_Value], _Made], value: _Value, *, is_quick: bool = False) -> _Made:
        """Have a thread do something."""
        self._busy += 1
        self._long += not is_quick
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, value)
        finally:
            self._busy -= 1
            self._long -= not is_quick

    def _run(self, environ: Environ) -> _Answer:
        """Call the application."""
        began = time.thread_time()
        told = _Told()
        result = self._application(environ, told)
        return told.answer(result, began)

    async def _send_long(self, head: dict[str, Any], answer: _Answer, receive: Receive, send: Send) -> None:
        """Send an answer piece by piece, as fast as it is taken; Any as in `Send`."""
        gone = asyncio.ensure_future(_gone(receive))
        try:
            await send(head)
            async for piece in self._pieces(answer):
                async with asyncio.timeout(TAKE_S):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                if gone.done():
                    return
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        # Nothing says that it has ended, so the server breaks it off.
        except TimeoutError:
            _LOG.info("answer.not_taken")
        except MedchainError as error:
            _LOG.error("answer.broken_off", error)
        finally:
            gone.cancel()
            if answer.close is not None:
                await self._in_thread(lambda close: close(), answer.close)

    async def _pieces(self, answer: _Answer) -> AsyncIterator[bytes]:
        """Give a body piece by piece; what is not there yet is made in threads, none of which waits for the client."""
        made = answer.body
        while made:
            body = memoryview(made)
            for start in range(0, len(body), _PIECE_BYTES):
                yield bytes(body[start : start + _PIECE_BYTES])
            made = b"" if answer.rest is None else await self._in_thread(_more, answer.rest)


async def _gone(receive: Receive) -> None:
    """Wait until the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        """The rest of a body, which nobody wants."""


def _more(pieces: Iterator[bytes]) -> bytes:
    """Gather pieces until they are worth a change of threads; nothing at the end."""
    made, size = [], 0
    for piece in pieces:
        made.append(piece)
        size += len(piece)
        if size > _PIECE_BYTES:
            break
    return made[0] if len(made) == 1 else b"".join(made)


def _names_host(scope: dict[str, Any]) -> bool:
    """Tell whether a request names its host once and well, or is HTTP/1.0 and names none (RFC 9112 §3.2).

    Of two hosts a proxy in front may have gone by the other one. Any as in `environ_of`.
    """
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    # granian gives an empty one where there is none.
    if hosts in ([], [b""]):
        return scope["http_version"] in _HTTP_1_0
    return len(hosts) == 1 and _HOST.fullmatch(hosts[0]) is not None


@lru_cache(256)
def _name(name: str) -> bytes:
    """Write the name of a field of an answer."""
    return name.lower().encode("latin-1")


@lru_cache(1024)
def _key(name: bytes) -> str:
    """Name a field as RFC 3875 does; empty for one that would be taken for another.

    A proxy overwrites ``X-Forwarded-For``, and lets ``X_Forwarded_For`` pass.
    """
    if b"_" in name:
        return ""
    text = name.decode("latin-1").upper().replace("-", "_")
    return text if text in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{text}"


def environ_of(scope: dict[str, Any]) -> Environ:
    """Make a WSGI environment of an ASGI scope.

    Args:
        scope: of an HTTP connection; Any because its members have many types.

    Returns:
        The environment, without a body.
    """
    host, port = scope["server"]
    environ: Environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        # Bytes as text: PEP 3333 wants it so.
        "PATH_INFO": scope["path"].encode("utf-8", "surrogateescape").decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "REMOTE_ADDR": scope["client"][0] if scope["client"] else "",
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.errors": sys.stderr,
        "wsgi.input_terminated": True,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in scope["headers"]:
        key, text = _key(name), value.decode("latin-1")
        if key in environ:
            text = f"{environ[key]}{';' if key == 'HTTP_COOKIE' else ','}{text}"
        if key:
            environ[key] = text
    return environ
