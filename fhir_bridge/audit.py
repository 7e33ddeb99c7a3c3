"""The audit of what clients do: a frame in a journal before each answer leaves, an AuditEvent soon after.

A frame costs one write; the daemon makes AuditEvents of frames at its leisure (`fhir_bridge.audit_job`). Keeps true:
nothing that a known caller asked for is answered unless it is on the journal, and nothing is changed unless it is there
that this begins; a frame says who, what, which versions and how it ended. Trusts `medchain.store.journal`.
Source: FHIR R4 AuditEvent; IHE BALP 1.1.3; `docs/spec/audit.md`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import orjson

from fhir_bridge.rest.ask import Ask
from medchain.crypto.keywrap import derive
from medchain.errors import InputError, UnavailableError
from medchain.node.clock import Clock
from medchain.node.keystore import Layout
from medchain.node.log import Log
from medchain.store.journal import Journal, sync_folder

MAX_NUMBERS: Final = 500
"""Most record versions of one frame; a request that touched more has several."""

MAX_ELSEWHERE: Final = 150
"""Most addresses of one frame, which are long."""

MAX_QUERY_CHARS: Final = 4096
"""So much of a query is kept."""

SYNC_S: Final = 0.2
"""How soon a frame survives a power loss, in seconds."""

COUNT: Final = "count="
"""How the query of a frame begins that tells of several deeds at once; their number follows."""

RELEASE: Final = "release"
"""Interaction of records that this node released to another organisation."""

RECEIVE: Final = "receive"
"""Interaction of records that another organisation released to this node."""

QUESTION: Final = "claim-question"
"""Interaction of an insurer that asks whether an invoice is here, to know whether it is claimed."""

BEGUN: Final = 0
"""In place of a status: a change is about to be made, and how it ended is not known."""

_FORM: Final = 5
_FORM_OF_END: Final = 6
_FORM_ELSEWHERE: Final = 7
_FORM_BETWEEN: Final = 8
# Form → number of its texts, and whether it ends with the number of the frame by which it began.
_FORMS: Final = {
    1: (10, False),
    2: (10, True),
    3: (11, False),
    4: (11, True),
    _FORM: (13, False),
    _FORM_OF_END: (13, True),
    _FORM_ELSEWHERE: (14, False),
    _FORM_BETWEEN: (17, False),
}
_LOG: Final = Log("audit")


@dataclass(frozen=True, slots=True)
class Happening:
    """What one frame says.

    Attributes:
        time: Unix seconds.
        status: HTTP status of the answer, or `BEGUN`.
        request: id of the request.
        interaction: what was done, as the registry calls it.
        client: who asked.
        user: the person who signed in, or empty.
        role: of that person, or empty.
        launch: id of the patient of the launch, or empty.
        type: resource type of the address, or empty.
        id: of the record of the address, or empty.
        version: of the address, or empty.
        query: what was searched for, or empty.
        numbers: of the record versions that were shown or stored.
        address: IP address of who asked, or empty.
        purpose: purpose of use, a code of v3-ActReason; empty where none was decided about.
        receipt: hash over the decisions of consents that the answer rests on, in hex, or empty.
        elsewhere: addresses of the record versions of other organisations that were shown, and of their patient.
        basis: of what went from one organisation to another: grant, consent and access entry, each ``system|value``.
        place: where this node answers, for such; empty for the rest.
        peer: where the other organisation's node does.
        begun: number, in the same file, of the frame by which began what ended so; None for what began with none.
    """

    time: int
    status: int
    request: str
    interaction: str
    client: str
    user: str
    role: str
    launch: str
    type: str
    id: str
    version: str
    query: str
    numbers: tuple[int, ...]
    address: str = ""
    purpose: str = ""
    receipt: str = ""
    elsewhere: tuple[str, ...] = ()
    basis: tuple[str, ...] = ()
    place: str = ""
    peer: str = ""
    begun: int | None = None


class JournalAudit:
    """Keeps what happens in a journal of this process. Threads share it."""

    def __init__(self, folder: Path, records_key: bytes, clock: Clock, *, is_proxied: bool = False) -> None:
        """Begin a journal, and sync it every `SYNC_S` seconds.

        Args:
            folder: the node's folder.
            records_key: the node's records key.
            clock: gives Unix seconds.
            is_proxied: whether a proxy forwards all requests, and says whose they are.
        """
        self._clock = clock
        self._is_proxied = is_proxied
        self._journal = Journal(journals(folder), journal_key(records_key))
        self._ended = threading.Event()
        self._tell: Callable[[], None] = _nothing
        self._syncing = threading.Thread(target=self._sync, name="audit-sync", daemon=True)
        self._syncing.start()

    def begin(self, ask: Ask) -> None:
        """Keep that a request is about to change something; raises as `note`, and nothing may be changed then."""
        ask.trail.begun = self._journal.begin(next(self._frames(ask, BEGUN)))

    def note(self, ask: Ask, status: int) -> None:
        """Keep one request; nothing may be answered where this raises `UnavailableError`, ``store.full`` or another."""
        begun, told = ask.trail.begun, False
        try:
            for frame in self._frames(ask, status):
                self._journal.append(frame, begun)
            told = True
        finally:
            if begun is not None:
                self._journal.done(begun, told=told)

    def _frames(self, ask: Ask, status: int) -> Iterator[bytes]:
        """Write a request as frames of this moment."""
        return frames(ask, status, self._clock(), address_of(ask.fields, is_proxied=self._is_proxied))

    def telling(self, tell: Callable[[], None]) -> None:
        """Have something called at every sync, which may have more to keep by then."""
        self._tell = tell

    def close(self) -> None:
        """End the journal."""
        self._ended.set()
        self._syncing.join()
        self._journal.close()

    def _sync(self) -> None:
        """Sync as long as the process lives."""
        while not self._ended.wait(SYNC_S):
            try:
                self._tell()
                self._journal.sync()
            except UnavailableError as error:
                _LOG.error("audit.sync_failed", error)


def _nothing() -> None:
    """Do nothing: where nobody has more to keep."""


def journals(folder: Path) -> Path:
    """Return the folder of the journals, made if it is not there, and durable whoever has made it."""
    place = Layout(folder).audit
    place.mkdir(mode=0o700, exist_ok=True)
    sync_folder(folder)
    return place


def journal_key(records_key: bytes) -> bytes:
    """Derive the key of the journals."""
    return derive(records_key, "audit-journal")


def address_of(fields: Mapping[str, str], *, is_proxied: bool) -> str:
    """Tell from which address a request came; empty where that is not known.

    Anybody can send ``X-Forwarded-For``: it counts only where a proxy writes it, and of what it says the last, which is
    what the proxy itself saw.

    Args:
        fields: of the request, under their names of RFC 3875.
        is_proxied: whether a proxy forwards all requests.
    """
    seen = fields.get("REMOTE_ADDR", "")
    return _normal(fields.get("HTTP_X_FORWARDED_FOR", seen).rpartition(",")[2] if is_proxied else seen)


@lru_cache(1024)
def _normal(text: str) -> str:
    """Write an IP address in its one form, without the port that some proxies write behind it; empty for none."""
    host = text.strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        return str(ip_address(host))
    except ValueError:
        return ""


def frames(ask: Ask, status: int, time: int, address: str = "") -> Iterator[bytes]:
    """Write a request as frames; the last one says what it ends."""
    access = ask.who
    trail = ask.trail
    names = [
        ask.request_id,
        trail.interaction,
        access.client,
        access.user,
        access.role,
        access.patient,
        ask.type[:MAX_QUERY_CHARS],
        ask.id[:MAX_QUERY_CHARS],
        ask.version[:MAX_QUERY_CHARS],
        trail.query[:MAX_QUERY_CHARS],
        address,
        access.purpose if access.asked_for or trail.receipt else "",
        trail.receipt,
    ]
    numbers = trail.numbers
    if trail.basis:
        more = [" ".join(trail.elsewhere), " ".join(trail.basis), *trail.places]
        for start in range(0, len(numbers) or 1, MAX_NUMBERS):
            yield orjson.dumps([_FORM_BETWEEN, time, status, *names, *more, numbers[start : start + MAX_NUMBERS]])
        return
    for start in range(0, len(trail.elsewhere), MAX_ELSEWHERE):
        # What is read of others' records changes nothing here, so that nothing was begun.
        part = " ".join(trail.elsewhere[start : start + MAX_ELSEWHERE])
        yield orjson.dumps([_FORM_ELSEWHERE, time, status, *names, part, numbers])
    if trail.elsewhere:
        return
    starts = range(0, len(numbers) or 1, MAX_NUMBERS)
    for start in starts:
        frame = [_FORM, time, status, *names, numbers[start : start + MAX_NUMBERS]]
        if trail.begun is not None and start == starts[-1]:
            frame = [_FORM_OF_END, *frame[1:], trail.begun.number]
        yield orjson.dumps(frame)


def read_frame(content: bytes) -> Happening:
    """Read a frame; raises `InputError` ``audit.frame`` for one of another form."""
    try:
        form, time, status, *texts, numbers = orjson.loads(content)
        count, is_end = _FORMS[form]
        begun = None
        if is_end:
            begun, numbers = int(numbers), texts.pop()
    except (ValueError, TypeError, IndexError, KeyError) as error:
        raise InputError("audit.frame") from error
    if len(texts) != count or set(map(type, texts)) != {str}:
        raise InputError("audit.frame")
    request, interaction, client, user, role, launch, type_name, record_id, version, query, *more = texts
    address, purpose, receipt, elsewhere, basis, place, peer = (*more, *[""] * 7)[:7]
    return Happening(
        time=int(time),
        status=int(status),
        request=request,
        interaction=interaction,
        client=client,
        user=user,
        role=role,
        launch=launch,
        type=type_name,
        id=record_id,
        version=version,
        query=query,
        numbers=tuple(numbers),
        address=address,
        purpose=purpose,
        receipt=receipt,
        elsewhere=tuple(elsewhere.split()),
        basis=tuple(basis.split()),
        place=place,
        peer=peer,
        begun=begun,
    )
