"""Documents of others that a node fetches: keys of clients, an identity provider's configuration, keys and tokens.

Keeps true: an address is judged before it is called, and the one that was judged is the one that is called; redirects
are not followed; time and size are bounded, and so is how often one address is asked. Trusts nothing that comes back.
Source: RFC 9700 §4.12; `docs/spec/smart.md`; `medchain.node.addresses`.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Final
from urllib.parse import urlsplit

from orjson import JSONDecodeError, loads

from medchain.errors import InputError, MedchainError, UnavailableError, VerificationError
from medchain.node.addresses import is_public, is_unicast
from medchain.node.peer_auth import PeerRequest
from medchain.node.peers import HttpPool, Limits

KEEP_S: Final = 300.0
"""How long fetched keys are used without asking again."""

AGAIN_S: Final = 30.0
"""How soon an address is asked again, for a key that is not there or after a failure."""

MAX_BYTES: Final = 64 * 1024
"""Largest document."""

MAX_KEYS: Final = 32
"""Most keys of one set."""

_LIMITS: Final = Limits(timeout_s=5.0, max_bytes=MAX_BYTES)
_MAX_URL_CHARS: Final = 512


@dataclass(frozen=True, slots=True)
class Fetcher:
    """Fetches documents over HTTPS.

    Attributes:
        private: whether private and loopback addresses may be called, and those in plain HTTP; the operator's choice.
        ca: authorities that certificates must come from; None for the system's.
    """

    private: bool = False
    ca: Path | None = None

    def check_url(self, url: str) -> None:
        """Judge an address before it is kept; raises `InputError` ``fetch.url``."""
        try:
            parts = urlsplit(url)
            _ = parts.port
        except ValueError as error:
            raise InputError("fetch.url") from error
        is_allowed = parts.scheme == "https" or (parts.scheme == "http" and self.private)
        is_plain = url.isascii() and url.isprintable() and " " not in url and len(url) <= _MAX_URL_CHARS
        if not (is_allowed and is_plain and parts.hostname) or "@" in parts.netloc or parts.fragment:
            raise InputError("fetch.url")

    def json(self, url: str, body: bytes | None = None, content_type: str = "", authorization: str = "") -> Any:  # noqa: ANN401  # a document of others
        """Fetch a JSON document; with a body by POST.

        Raises:
            InputError: ``fetch.url``.
            UnavailableError: nobody there, too late, or an address that must not be called.
            VerificationError: ``fetch.document`` for anything but JSON, or a refusal.
        """
        self.check_url(url)
        parts = urlsplit(url)
        context = ssl.create_default_context(cafile=None if self.ca is None else str(self.ca))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        base = f"{parts.scheme}://{parts.netloc}"
        pool = HttpPool(base, str(parts.hostname), context, is_unicast if self.private else is_public)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = content_type
        if authorization:
            headers["Authorization"] = authorization
        try:
            answer = pool.request(PeerRequest("GET" if body is None else "POST", target, body or b""), headers, _LIMITS)
            return loads(answer.body)
        except (UnavailableError, JSONDecodeError) as error:
            if isinstance(error, UnavailableError):
                raise
            raise VerificationError("fetch.document") from error
        except MedchainError as error:
            raise VerificationError("fetch.document") from error
        finally:
            pool.close()


class RemoteKeys:
    """Key sets of others by their address. Threads may share them."""

    __slots__ = ("_fetch", "_kept", "_lock", "_monotonic")

    def __init__(self, fetch: Callable[[str], Any], monotonic: Callable[[], float] = time.monotonic) -> None:
        """Prepare; nothing is fetched yet.

        Args:
            fetch: `Fetcher.json`, or what stands for it.
            monotonic: counts seconds.
        """
        self._fetch = fetch
        self._monotonic = monotonic
        self._kept: dict[str, tuple[float, tuple[Mapping[str, Any], ...]]] = {}
        self._lock = Lock()

    def keys(self, url: str, kid: str | None) -> tuple[Mapping[str, Any], ...]:
        """Return the public keys that may have signed something.

        Args:
            url: of the set.
            kid: id of the key as the signature names it; None for any.

        Returns:
            Those with that id; none where the set has none, or cannot be fetched.
        """
        now = self._monotonic()
        with self._lock:
            held = self._kept.get(url)
        found = _named(held[1], kid) if held is not None else ()
        if held is not None:
            age = now - held[0]
            if age < AGAIN_S or (found and age < KEEP_S):
                return found
        # Before it is asked: others need not wait, and one that does not answer is not asked by every thread.
        with self._lock:
            self._kept[url] = (now, held[1] if held is not None else ())
        try:
            rows = _rows(self._fetch(url))
        except MedchainError:
            return found
        with self._lock:
            self._kept[url] = (now, rows)
        return _named(rows, kid)


def _rows(document: Any) -> tuple[Mapping[str, Any], ...]:  # noqa: ANN401  # a document of others
    """Read a key set (RFC 7517 §5)."""
    rows = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(rows, list):
        raise VerificationError("fetch.document")
    return tuple(row for row in rows[:MAX_KEYS] if isinstance(row, dict))


def _named(rows: tuple[Mapping[str, Any], ...], kid: str | None) -> tuple[Mapping[str, Any], ...]:
    """Choose keys by their id."""
    return rows if kid is None else tuple(row for row in rows if row.get("kid") == kid)
