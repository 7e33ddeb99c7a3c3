"""The book of looks: enters who looked at patients' records into the keyed map, a root at a time.

Keeps true: what waits is entered once, in the transaction that stores the map's next root with its intent to be
anchored; there is one root on its way at a time; after a restore the roots go on after the ledger's, and what was lost
is said. Trusts whoever leaves looks to be entered to name the patients rightly, and the store for atomic writes.
Source: `docs/spec/looks.md` 2 to 5.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from threading import Event
from typing import Final

from medchain.encoding import canonical, parse_canonical
from medchain.errors import MedchainError
from medchain.ledger.looks import CHAIN_BYTES, MAX_LOOKS, LookEntry, LookRow, LooksRoot, place_of, read_spans, roots_id
from medchain.node.clock import Clock
from medchain.node.crowding import Crowding
from medchain.node.log import Log
from medchain.node.looks import ROOTS, unpack_looks, write_entry
from medchain.node.records import NewRecord, RecordService
from medchain.node.refusing import REFUSED
from medchain.store.looks import LookChain, LookRecord, LookState, LookStep
from medchain.store.records import LOOKS, RecordStore
from medchain.tlog.statemap import MapRoot, update

MEDIA_TYPE: Final = "application/vnd.medchain.looks+json"
"""Content type of a root."""

PERIOD_S: Final = 60.0
"""Time between two roots, unless more waits than one takes in and processors are free."""

CROWDED: Final = 0.2
"""Share of its time that this thread waits for a processor where none is free."""

MAX_BATCHES: Final = 20
"""Most batches of frames that one root takes in: a second's work or two."""

MAX_REFUSALS: Final = 1000
"""Most refused releases that one root takes in."""

RELEASE: Final = "release"
"""Action of a look that was a refused request for a release."""

_PAUSE_S: Final = 2.0
_NO_STATE: Final = LookState(MapRoot.empty().hash, 0, 0, "[]")
_LOG: Final = Log("looks")


@dataclass(slots=True)
class _Grown:
    """A list to which a step adds."""

    chain: LookChain
    looks: list[LookRow]


class LookBook:
    """Enters looks. One thread of the daemon calls it."""

    __slots__ = ("_clock", "_is_behind", "_newest", "_org_id", "_service", "_store")

    def __init__(
        self, org_id: str, store: RecordStore, service: RecordService, clock: Clock, newest: Callable[[], int]
    ) -> None:
        """Prepare.

        Args:
            org_id: this organisation.
            store: the records file.
            service: seals the roots.
            clock: gives Unix seconds.
            newest: tells the newest version of the object of the roots on the ledger, 0 for none.
        """
        self._org_id = org_id
        self._store = store
        self._service = service
        self._clock = clock
        self._newest = newest
        self._is_behind = False

    def run(self, stop: Event) -> None:
        """Enter what waits, again and again, until told to stop; what cannot be entered now waits on."""
        made, crowding = -PERIOD_S, Crowding()
        while not stop.wait(_PAUSE_S):
            try:
                # What comes after a quiet minute is entered at once; else one root takes in what came in a minute, and
                # what is too much for one is caught up with while nobody else wants the processor.
                hurries = self._is_behind and crowding.share() <= CROWDED
                if (hurries or time.monotonic() - made >= PERIOD_S) and self.round():
                    made = time.monotonic()
            except MedchainError as error:
                _LOG.error("looks.waits", error)

    def round(self) -> int:
        """Make one root of what waits, if the root before is final.

        Returns:
            How many entries were made; 0 where nothing waits, or it must wait.

        Raises:
            UnavailableError: of the store; nothing is entered then.
            VerificationError: ``store.corrupt``, ``tlog.page_corrupt``.
        """
        before, known = self._store.get(LOOKS, ROOTS), self._newest()
        version = 0 if before is None else before.version
        if (before is not None and before.position is None) or known < version:
            return 0
        state = self._store.look_state() or _NO_STATE
        waiting = self._store.waiting_looks(MAX_BATCHES)
        refused = self._store.refusals_after(state.access, REFUSED, MAX_REFUSALS)
        self._is_behind = len(waiting) == MAX_BATCHES or len(refused) == MAX_REFUSALS
        if not waiting and not refused:
            return 0
        grown = self._grown(waiting, refused)
        state = replace(state, access=refused[-1][0] if refused else state.access)
        step = self._step(state, waiting[-1][0] if waiting else 0, grown, version, known)
        self._keep(step, known + 1)
        return len(step.entries)

    def _grown(
        self, waiting: Sequence[tuple[int, bytes]], refused: Sequence[tuple[int, str, int, bytes, bytes]]
    ) -> list[_Grown]:
        """Gather what waits by patient, each with the list as it is."""
        found: dict[str, tuple[str, list[LookRow]]] = {}
        for _, looks in waiting:
            for patient, row in unpack_looks(looks):
                found.setdefault(self._service.patient_token(patient), (f"Patient/{patient}", []))[1].append(row)
        for _, token, when, name, detail in refused:
            patient_id = self._store.patient_id(token)
            if patient_id is None:
                # A list is of a Patient; where there is none any more, nobody could be shown it.
                continue
            row = _refusal(when, name.hex(), detail)
            found.setdefault(token, (f"Patient/{patient_id}", []))[1].append(row)
        chains = self._store.look_chains(found)
        return [
            _Grown(chains.get(token) or LookChain(token, reference, secrets.token_bytes(CHAIN_BYTES), 0, 0, b""), rows)
            for token, (reference, rows) in found.items()
        ]

    def _step(self, state: LookState, taken: int, grown: Sequence[_Grown], version: int, known: int) -> LookStep:
        """Make the next root's entries and pages."""
        newest = max((row.time for one in grown for row in one.looks), default=0)
        now = max(self._clock(), state.time, newest)
        chains: list[LookChain] = []
        entries: list[LookRecord] = []
        changes: dict[bytes, bytes] = {}
        for one in grown:
            chain = one.chain
            for rows in _apart(sorted(one.looks, key=lambda row: row.time)):
                entry = LookEntry(chain.count + 1, now, chain.value or None, rows)
                value = entry.value(chain.secret, chain.reference)
                changes[place_of(chain.secret, chain.reference, entry.number)] = value
                entries.append(LookRecord(chain.patient, entry.number, known + 1, write_entry(entry)))
                chain = replace(chain, count=entry.number, time=now, value=value)
            chains.append(chain)
        made = update(MapRoot(state.root), changes, self._store.look_pages())
        lost = _spans(state.lost)
        if known > version:
            _LOG.error("looks.lost", first=version + 1, last=known)
            lost = (*lost, (version + 1, known))
        text = canonical([[first, last] for first, last in lost]).decode("ascii")
        return LookStep(LookState(made.root.hash, now, state.access, text), taken, chains, entries, made.pages)

    def _keep(self, step: LookStep, version: int) -> None:
        """Store a root and all that belongs to it."""
        content = LooksRoot(step.state.root, step.state.time, _spans(step.state.lost)).encode()
        root = NewRecord(LOOKS, ROOTS, content, "", version, content_type=MEDIA_TYPE, object_id=roots_id(self._org_id))
        self._service.create_many([root], looks=step)


def _apart(rows: Sequence[LookRow]) -> Iterator[tuple[LookRow, ...]]:
    """Split what is too much for one entry."""
    for start in range(0, len(rows), MAX_LOOKS):
        yield tuple(rows[start : start + MAX_LOOKS])


def _refusal(when: int, name: str, detail: bytes) -> LookRow:
    """Read what is noted of a refused release: who asked, what for, and for which types."""
    told = parse_canonical(detail, max_bytes=len(detail))
    noted = told if isinstance(told, dict) else {}
    types = noted.get("types")
    return LookRow(
        time=when,
        action=RELEASE,
        client=str(noted.get("requester", "")),
        who="",
        role="",
        purpose=str(noted.get("purpose", "")),
        types=tuple(sorted({str(one) for one in types})) if isinstance(types, list) else (),
        is_refused=True,
        event=name,
    )


def _spans(text: str) -> tuple[tuple[int, int], ...]:
    """Read the lost versions of a state."""
    return read_spans(parse_canonical(text.encode("ascii"), max_bytes=len(text)))
