"""Outside witnesses: services that are no members cosign what this node holds to be final.

For a log that forks, its members would have to agree; a witness that is none of them makes even that visible. Keeps
true: only final checkpoints are shown, under the log's line alone; a line is kept only after it was verified under the
key that the operator configured; the size that a witness says it is at is used for a proof and for nothing else; a
witness that hangs, trickles or lies costs only itself. Trusts the operator for addresses and keys.
Source: C2SP tlog-witness; `docs/spec/log.md` 21 to 25.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Final, Protocol
from urllib.parse import urlsplit

from medchain.encoding import Json
from medchain.errors import InputError, MedchainError, NotFoundError, UnavailableError, VerificationError
from medchain.ledger.genesis import line_key, parse_genesis
from medchain.ledger.members import LOG_KEY
from medchain.node import metrics
from medchain.node.clock import Clock
from medchain.node.daemon import Job
from medchain.node.log import Log
from medchain.node.peer_auth import PeerRequest
from medchain.node.peers import HttpPool, Limits, tls_context
from medchain.node.witness_file import OutsideWitness
from medchain.store.ledger import LedgerStore
from medchain.store.notes import StoredCheckpoint
from medchain.tlog.checkpoint import parse_checkpoint, parse_decimal, verify_cosignature
from medchain.tlog.note import Note, Signature, parse_note, parse_signatures
from medchain.tlog.witness import AddCheckpointRequest

INTERVAL_S: Final = 10.0
"""Least time between two requests to a witness that answers."""

RENEW_S: Final = 600.0
"""After so long the same checkpoint is shown again, for a line with a newer time."""

MAX_PAUSE_S: Final = 900.0
"""Longest pause after failures; it doubles with each."""

START_S: Final = 1.0
"""Time from the daemon's start to the first request."""

CLOCK_SKEW_S: Final = 300
"""How far from this node's clock the time of a new line may be."""

WITNESSES: Final = "witnesses"
"""Name of the local operation: ``{}`` → ``{"log": `log_report`, "witnesses": `Witnesses.report`}``."""

DISPUTED: Final = "witness.disputed"
"""Reason in `/readyz`: a witness has seen another history under the log's key, or says so."""

FinalSource = Callable[[], StoredCheckpoint | None]
"""Gives the newest final checkpoint, None before the first."""

LIMITS: Final = Limits(timeout_s=10.0, max_bytes=64 * 1024)
"""Time for a whole request, and size of its answer."""

_HEADERS: Final = {"Content-Type": "text/plain; charset=utf-8"}
_MAX_SIZE_BYTES: Final = 32
_DOUBLINGS: Final = 10
_REFUSALS: Final = {
    400: "witness.request",
    401: "witness.log_key",
    403: "witness.log_key",
    404: "witness.unknown_log",
    422: DISPUTED,
}
_CONFLICT: Final = 409
_ANSWERED: Final = frozenset({_CONFLICT, *_REFUSALS})
_CODES: Final = frozenset(
    {
        *_REFUSALS.values(),
        *(f"peer.{name}" for name in ("broken", "busy", "failed", "redirect", "timeout", "too_large", "unreachable")),
        *(f"witness.{name}" for name in ("ahead", "answer", "key", "moved", "time", "unknown_key", "went_back")),
        "tlog.cosignature",
    }
)
_LOG: Final = Log("witness")


@dataclass(frozen=True, slots=True)
class Standing:
    """How it is with a witness.

    Attributes:
        size: of the newest checkpoint of which it has given a line; 0 before the first.
        time: when it did, Unix seconds.
        code: what is amiss since then; empty if nothing is.
    """

    size: int = 0
    time: int = 0
    code: str = ""


class WitnessedLog(Protocol):
    """The log whose checkpoints are shown; `medchain.node.replica.Replica`."""

    def prove_growth(self, old_size: int, size: int | None = None) -> tuple[bytes, ...]:
        """Prove that the log only grew; raises `NotFoundError` for a size at which no block ends."""
        ...

    def put_outside_lines(self, size: int, lines: Sequence[Signature]) -> None:
        """Keep verified lines of outside witnesses with the checkpoint of a size."""
        ...


class WitnessClient:
    """Shows one witness the newest final checkpoint, and keeps its lines. One thread calls `turn`."""

    __slots__ = ("_clock", "_failures", "_final", "_log", "_pool", "_prefix", "_size", "standing", "witness")

    def __init__(
        self, witness: OutsideWitness, log: WitnessedLog, final: FinalSource, clock: Clock, ca: Path | None = None
    ) -> None:
        """Prepare; nothing is connected yet.

        Args:
            witness: whom to ask.
            log: whose checkpoints.
            final: gives the newest final one.
            clock: gives Unix seconds.
            ca: authorities that its certificate must come from; None for the system's.
        """
        parts = urlsplit(witness.url)
        context = tls_context(ca) if parts.scheme == "https" else None
        self.witness = witness
        self.standing = Standing()
        self._log = log
        self._final = final
        self._clock = clock
        self._prefix = parts.path
        self._pool = HttpPool(f"{parts.scheme}://{parts.netloc}", witness.name, context)
        self._size = 0
        self._failures = 0

    @property
    def is_disputed(self) -> bool:
        """Whether the witness holds another history of this log to be true, or says so."""
        return self.standing.code == DISPUTED

    def turn(self) -> float:
        """Show the newest final checkpoint, if it is new to the witness or its line is old.

        Returns:
            For how many seconds to rest.
        """
        now = self._clock()
        try:
            final = self._final()
            if final is None or (final.size == self.standing.size and not self._is_due(now)):
                return INTERVAL_S
            self._show(final)
        except MedchainError as error:
            return self._fail(error)
        self.standing = Standing(final.size, now)
        self._failures = 0
        metrics.WITNESS_CALLS.labels(self.witness.name, "ok").inc()
        metrics.WITNESS_SIZE.labels(self.witness.name).set(final.size)
        return INTERVAL_S

    def run(self, stop: Event) -> None:
        """Take turns until told to stop."""
        pause_s = START_S
        while not stop.wait(pause_s):
            pause_s = self.turn()

    def close(self) -> None:
        """Close idle connections."""
        self._pool.close()

    def _is_due(self, now: int) -> bool:
        """Tell whether to ask again for what was asked before."""
        return bool(self.standing.code) or now - self.standing.time >= RENEW_S

    def _fail(self, error: MedchainError) -> float:
        """Note a failure; returns the pause."""
        # What a witness calls its refusal is its own text: no label and no answer of ours.
        code = error.code if error.code in _CODES else "witness.failed"
        self._failures += 1
        metrics.WITNESS_CALLS.labels(self.witness.name, code).inc()
        if code != self.standing.code:
            if code == DISPUTED:
                metrics.ALARMS.labels(DISPUTED).inc()
            _LOG.warning("witness.failed", witness=self.witness.name, code=code)
        self.standing = Standing(self.standing.size, self.standing.time, code)
        asked_s = error.retry_after_s if isinstance(error, UnavailableError) else 0
        return float(min(max(INTERVAL_S * 2 ** min(self._failures, _DOUBLINGS), asked_s), MAX_PAUSE_S))

    def _show(self, final: StoredCheckpoint) -> None:
        """Ask for lines on a checkpoint, and keep them; raises what went wrong."""
        note = parse_note(final.note.encode())
        origin = parse_checkpoint(note.text).origin
        # The members' lines are nothing to a witness, and some take no more than 10 KiB.
        bare = Note(note.text, tuple(line for line in note.signatures if line.name == origin))
        # One that said it was ahead of us is asked once more where it is.
        old_size = self._size if self._size <= final.size else 0
        answer = self._ask(old_size, final.size, bare)
        if isinstance(answer, int):
            old_size = self._believe(answer, old_size, final.size)
            answer = self._ask(old_size, final.size, bare)
            if isinstance(answer, int):
                self._believe(answer, old_size, final.size)
                raise UnavailableError("witness.moved", size=answer)
        lines = self._verified(answer, bare)
        self._size = final.size
        self._log.put_outside_lines(final.size, lines)

    def _believe(self, said: int, asked: int, size: int) -> int:
        """Take it from a witness, for the next proof, that it is at another size than was thought."""
        self._size = said
        if said < self.standing.size:
            # It has given a line for more: a witness that was put back would cosign another history from there on.
            raise UnavailableError("witness.went_back", size=said)
        if said > size:
            # Another member has shown it more than is final here, or it makes it up: time will tell.
            raise UnavailableError("witness.ahead", size=said)
        if said == asked:
            # It is where we thought it was, and does not cosign: it has another root.
            raise VerificationError(DISPUTED, size=said)
        return said

    def _ask(self, old_size: int, size: int, note: Note) -> bytes | int:
        """Make a request; returns the lines, or, on a conflict, the size that the witness says it is at."""
        try:
            proof = self._log.prove_growth(old_size, size) if old_size else ()
        except NotFoundError as error:
            # No checkpoint of that size was ever final: whoever showed it one shows another history.
            raise VerificationError(DISPUTED, size=old_size) from error
        body = AddCheckpointRequest(old_size, proof, note.to_bytes()).to_bytes()
        request = PeerRequest("POST", f"{self._prefix}/add-checkpoint", body)
        answer = self._pool.request(request, _HEADERS, LIMITS, also=_ANSWERED)
        if answer.status == _CONFLICT:
            return _size_of(answer.body)
        if answer.status in _REFUSALS:
            raise VerificationError(_REFUSALS[answer.status])
        return answer.body

    def _verified(self, body: bytes, note: Note) -> list[Signature]:
        """Verify the lines of an answer; those of unknown keys are ignored (C2SP tlog-witness)."""
        try:
            lines = parse_signatures(body.decode("utf-8").removesuffix("\n").split("\n"))
        except (InputError, UnicodeDecodeError) as error:
            raise VerificationError("witness.answer") from error
        checkpoint, now = parse_checkpoint(note.text), self._clock()
        keys = {(key.name, key.key_id): key for key in self.witness.keys}
        found = []
        for line in lines:
            key = keys.get((line.name, line.key_id))
            if key is None:
                continue
            if abs(verify_cosignature(checkpoint, key, line) - now) > CLOCK_SKEW_S:
                raise VerificationError("witness.time")
            found.append(line)
        if not found:
            raise VerificationError("witness.unknown_key")
        return found


@dataclass(frozen=True, slots=True)
class Witnesses:
    """All outside witnesses of a node.

    Attributes:
        clients: one a service.
    """

    clients: tuple[WitnessClient, ...] = ()

    @classmethod
    def of(
        cls,
        witnesses: Sequence[OutsideWitness],
        log: WitnessedLog,
        final: FinalSource,
        clock: Clock,
        ca: Path | None = None,
    ) -> Witnesses:
        """Make a client for each service; arguments as of `WitnessClient`."""
        return cls(tuple(WitnessClient(witness, log, final, clock, ca) for witness in witnesses))

    def jobs(self) -> tuple[Job, ...]:
        """Return what runs for as long as the daemon: a thread for each witness, so that none waits for another."""
        return tuple(Job(f"witness-{number}", client.run) for number, client in enumerate(self.clients, 1))

    def reasons(self) -> tuple[str, ...]:
        """Return the codes that `/readyz` tells; none of them makes a node unready."""
        return (DISPUTED,) if any(client.is_disputed for client in self.clients) else ()

    def report(self) -> Json:
        """Tell how it is with each."""
        return [
            {
                "code": client.standing.code,
                "keys": [str(key) for key in client.witness.keys],
                "name": client.witness.name,
                "size": client.standing.size,
                "time": client.standing.time,
                "url": client.witness.url,
            }
            for client in self.clients
        ]

    def close(self) -> None:
        """Close connections."""
        for client in self.clients:
            client.close()


def log_report(store: LedgerStore) -> Json:
    """Tell what a witness must be configured with: the origin, and the log keys in force, the orderer's first."""
    members, origin = store.members, parse_genesis(store.leaf(0)).origin
    orderer = members.protocol.orderer
    ordered = sorted(members.active, key=lambda item: (item.org_id != orderer, item.org_id))
    keys: list[Json] = [{"key": str(line_key(item, origin, LOG_KEY)), "org_id": item.org_id} for item in ordered]
    return {"keys": keys, "orderer": orderer, "origin": origin}


def _size_of(body: bytes) -> int:
    """Read the body of a conflict: a size in decimal, and a newline."""
    try:
        return parse_decimal(body[:_MAX_SIZE_BYTES].decode("ascii").removesuffix("\n"))
    except (InputError, UnicodeDecodeError) as error:
        raise VerificationError("witness.answer") from error
