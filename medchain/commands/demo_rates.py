"""How fast the hospital's node answers here: a second of requests by one client, one after the other.

Keeps true: what is measured are whole answers over HTTP, with a token, a decision and the audit, as any client has
them; nothing is left out of the figures but the look-up of what to ask for. They are of this machine, on which four
other nodes run: no more is claimed. Trusts nothing.
Source: `docs/architecture.md`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from medchain.encoding import Json
from medchain.errors import VerificationError
from medchain.node.peer_auth import PeerRequest
from medchain.node.peers import HttpPool, Limits

SECONDS_EACH: Final = 0.6
"""How long each kind of request is measured, in seconds."""

_TARGETS: Final = 100
_LIMITS: Final = Limits(timeout_s=30.0, max_bytes=32 << 20)
_MS: Final = 1000


@dataclass(frozen=True, slots=True)
class Rate:
    """What was measured of one kind of request.

    Attributes:
        count: of answers.
        seconds: that they took together.
        p50_s: half of them took no longer.
        p99_s: 99 of 100 took no longer.
    """

    count: int
    seconds: float
    p50_s: float
    p99_s: float

    @property
    def per_s(self) -> float:
        """Answers a second."""
        return self.count / self.seconds

    def document(self) -> Json:
        """Write it; numbers with a fraction are text, as everywhere in canonical JSON."""
        return {
            "count": self.count,
            "p50_ms": f"{self.p50_s * _MS:.2f}",
            "p99_ms": f"{self.p99_s * _MS:.2f}",
            "per_s": round(self.per_s),
        }


def rate_of(times: Sequence[float]) -> Rate:
    """Sum up how long answers took, in seconds; there must be some."""
    ordered = sorted(times)
    last = len(ordered) - 1
    return Rate(len(ordered), sum(ordered), ordered[last // 2], ordered[last * 99 // 100])


class Client:
    """One client of a hospital's node."""

    def __init__(self, port: int, name: str, token: str) -> None:
        """Prepare.

        Args:
            port: of the node's web workers, on this machine.
            name: of the node.
            token: an access token.
        """
        self._pool = HttpPool(f"http://127.0.0.1:{port}", name, None)
        self._headers = {"Authorization": f"Bearer {token}"}

    def close(self) -> None:
        """End its connections."""
        self._pool.close()

    def measure(self) -> dict[str, Rate]:
        """Measure reads by id and searches of a patient's observations.

        Returns:
            ``read`` and ``search``.

        Raises:
            VerificationError: ``demo.answer`` where there is nothing to read.
        """
        ids = self._found("Observation", _count=str(_TARGETS))
        patients = self._found("Patient", _count=str(_TARGETS))
        queries = [urlencode({"patient": f"Patient/{one}", "_count": "20"}) for one in patients]
        return {
            "read": self._timed([f"/fhir/Observation/{one}" for one in ids]),
            "search": self._timed([f"/fhir/Observation?{one}" for one in queries]),
        }

    def _found(self, type_name: str, **query: str) -> list[str]:
        """List the ids of some records of a type."""
        bundle = self._get(f"/fhir/{type_name}?{urlencode(query)}")
        found = [row["resource"]["id"] for row in bundle.get("entry", [])]
        if not found:
            raise VerificationError("demo.answer", step="rates")
        return found

    def _timed(self, targets: Sequence[str]) -> Rate:
        """Ask for targets in turn, for so long."""
        times: list[float] = []
        end = time.monotonic() + SECONDS_EACH
        while not times or time.monotonic() < end:
            request = PeerRequest("GET", targets[len(times) % len(targets)], b"")
            began = time.monotonic()
            self._pool.request(request, self._headers, _LIMITS)
            times.append(time.monotonic() - began)
        return rate_of(times)

    def _get(self, target: str) -> Any:  # noqa: ANN401  # JSON of FHIR
        """Ask for JSON."""
        return json.loads(self._pool.request(PeerRequest("GET", target, b""), self._headers, _LIMITS).body)
