"""The way from web workers and the command line to the node's own daemon.

The daemon writes, at each start, where it listens on loopback and a fresh secret into `run/daemon.json`, mode 0600.
Keeps true: who cannot read that file cannot call; after a restart of the daemon callers find it again by themselves.
Trusts the file system's permissions.
Source: `docs/spec/node-protocol.md`.
"""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Final

from medchain.encoding import Json, canonical, parse_canonical
from medchain.errors import AccessDeniedError, InputError, UnavailableError
from medchain.node.addresses import is_unicast
from medchain.node.keystore import Layout
from medchain.node.local_state import read_state
from medchain.node.peer_auth import PeerRequest
from medchain.node.peers import Answer, HttpPool, Limits

LOCAL_SCHEME: Final = "MedChain-Local"
"""Scheme of the Authorization header with the secret of this start."""

MAX_LOCAL_BYTES: Final = 64 << 20
"""Largest answer of the daemon to its own node."""


class LocalClient:
    """Calls the node's daemon. Safe for many threads."""

    __slots__ = ("_layout", "_lock", "_pool", "_secret")

    def __init__(self, folder: Path) -> None:
        """Prepare; nothing is read or connected yet.

        Args:
            folder: the node's folder.
        """
        self._layout = Layout(folder)
        self._lock = Lock()
        self._pool: HttpPool | None = None
        self._secret = ""

    def call(self, operation: str, document: Json, limits: Limits | None = None) -> Json:
        """Have the daemon do something.

        Args:
            operation: its name.
            document: what the operation takes.
            limits: of time and size; None for the usual ones.

        Returns:
            What the operation gives.

        Raises:
            UnavailableError: ``daemon.not_running``, ``peer.*``.
            MedchainError: what the operation raised.
        """
        answer = self._send(PeerRequest("POST", f"/local/{operation}", canonical(document)), limits or Limits())
        return parse_canonical(answer.body, max_bytes=MAX_LOCAL_BYTES)

    def get(self, target: str, limits: Limits | None = None) -> bytes:
        """Read one of the daemon's own routes, such as ``/log/checkpoint``; errors as in `call`."""
        return self._send(PeerRequest("GET", target, b""), limits or Limits()).body

    def close(self) -> None:
        """Close idle connections."""
        with self._lock:
            if self._pool is not None:
                self._pool.close()
                self._pool = None

    def _send(self, request: PeerRequest, limits: Limits) -> Answer:
        """Call, and once more if the daemon has started anew since."""
        pool, secret = self._connection(fresh=False)
        headers = {"Authorization": f"{LOCAL_SCHEME} {secret}"}
        try:
            return pool.request(request, headers, limits)
        except (UnavailableError, AccessDeniedError) as error:
            # Only where the request cannot have been done: nobody there, or another start's secret.
            if error.code not in ("peer.unreachable", "local_auth.secret"):
                raise
        pool, secret = self._connection(fresh=True)
        return pool.request(request, {"Authorization": f"{LOCAL_SCHEME} {secret}"}, limits)

    def _connection(self, *, fresh: bool) -> tuple[HttpPool, str]:
        """Find the daemon."""
        with self._lock:
            if self._pool is None or fresh:
                try:
                    state = read_state(self._layout)
                except InputError as error:
                    raise UnavailableError("daemon.not_running") from error
                if self._pool is not None:
                    self._pool.close()
                self._pool = HttpPool(str(state["local"]), "daemon", None, is_unicast)
                self._secret = str(state["secret"])
            return self._pool, self._secret
