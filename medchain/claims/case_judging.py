"""Judging cases: their evidence is gathered beside the operations, so that who waits too short a time finds it later.

Keeps true: of one case evidence is gathered once at a time; who wants it fresh is never answered by a gathering that
began before; what is waited for always ends, and what went wrong is told to who waits and stands in the case until it
is judged again, so that no verdict of before looks like one of now; a verdict is kept together with the evidence that
it follows from, and only while the case is what was judged; what has come to light since a verdict takes its place
before anything is paid on it. Trusts who gathers.
Source: `docs/spec/claim-case.md` 4, 6 to 8; ADR 0089.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from medchain.claims.case_book import CaseBook
from medchain.claims.case_content import BEFORE_EVIDENCE, CaseContent, Status, failures_of
from medchain.claims.case_ports import Gathered, Gatherer
from medchain.claims.cases import BUNDLE, JUDGE, MAX_WAIT_S
from medchain.claims.disputes import said_of
from medchain.encoding import Json, base64_text, canonical, members
from medchain.errors import MedchainError, NotFoundError, UnavailableError
from medchain.ledger.evidence.verdict import Colour, parse_verdict
from medchain.ledger.kinds.content import count
from medchain.node.clock import Clock
from medchain.node.log import Log
from medchain.store.cases import CaseRow
from medchain.store.records import RecordStore

MAX_GATHERED: Final = 4
"""Most cases whose evidence is gathered at a time."""

FAILED: Final = "case.failed"
"""Code of a gathering that ended by an error that is none of ours."""

_LOG: Final = Log("cases")


class _Running:
    """A gathering that is under way."""

    __slots__ = ("done", "error", "progress")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.error: MedchainError | None = None
        self.progress: Json = {"done": 0, "of": 0, "step": "begun"}

    def tell(self, step: str, done: int, total: int) -> None:
        """Take note of how far it is."""
        self.progress = {"done": done, "of": total, "step": step}


class Judging:
    """Judges the cases of one node. Threads may share it; one process owns it."""

    __slots__ = ("_book", "_clock", "_failed", "_gatherer", "_lock", "_next", "_records", "_running")

    def __init__(self, book: CaseBook, records: RecordStore, gatherer: Gatherer, clock: Clock) -> None:
        """Prepare.

        Args:
            book: of the cases.
            records: keeps them.
            gatherer: gathers evidence.
            clock: gives Unix seconds.
        """
        self._book = book
        self._records = records
        self._gatherer = gatherer
        self._clock = clock
        self._lock = threading.Lock()
        self._running: dict[bytes, _Running] = {}
        self._next: dict[bytes, _Running] = {}
        self._failed: dict[bytes, str] = {}
        book.progress, book.failed = self._progress, self._failed.get

    def operations(self) -> dict[str, Callable[[Json], Json]]:
        """Return the local operations."""
        return {BUNDLE: self._bundle, JUDGE: self._judge}

    def _progress(self, case_id: bytes) -> Json:
        """Tell how far a gathering is; None where none is under way."""
        running = self._running.get(case_id)
        return None if running is None else running.progress

    def _judge(self, document: Json) -> Json:
        """Gather the evidence of a case and judge it; who waits too short a time finds it later."""
        top = members(document, {"id": str}, {"fresh": bool, "wait_s": int})
        row = self._book.find(top["id"])
        running = self._begun(row.id, is_fresh=top.get("fresh") is True)
        running.done.wait(min(count(top.get("wait_s", MAX_WAIT_S)), MAX_WAIT_S))
        if running.done.is_set() and running.error is not None:
            raise running.error
        return self._book.told(self._records.case(row.id))

    def _begun(self, case_id: bytes, *, is_fresh: bool) -> _Running:
        """Begin to gather, or find that it is under way; raises `UnavailableError` ``case.busy``.

        Who wants it fresh waits for the gathering after the one that is under way: that may have asked already.
        """
        with self._lock:
            found = self._running.get(case_id)
            if found is not None:
                return self._next.setdefault(case_id, _Running()) if is_fresh else found
            if len(self._running) >= MAX_GATHERED:
                raise UnavailableError("case.busy")
            running = self._running[case_id] = _Running()
        self._start(case_id, running, is_fresh=is_fresh)
        return running

    def _start(self, case_id: bytes, running: _Running, *, is_fresh: bool) -> None:
        """Have a thread gather."""
        self._failed.pop(case_id, None)
        name = f"case-{case_id.hex()[:8]}"
        thread = threading.Thread(target=self._gather, args=(case_id, running, is_fresh), name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            # The system gives no more threads.
            self._fail(case_id, running, UnavailableError(FAILED), error)
            self._end(case_id, running)

    def _gather(self, case_id: bytes, running: _Running, is_fresh: bool) -> None:  # noqa: FBT001  # of a thread
        """Gather, judge and keep; always ends what is waited for."""
        try:
            while not self._kept(case_id, running, is_fresh=is_fresh):
                # Somebody gave another invoice or policy meanwhile; who has answered is not asked again.
                is_fresh = False
        except MedchainError as error:
            self._fail(case_id, running, error, error)
        except Exception as error:  # noqa: BLE001  # the outermost handler of a thread
            self._fail(case_id, running, UnavailableError(FAILED), error)
        finally:
            self._end(case_id, running)

    def _fail(self, case_id: bytes, running: _Running, told: MedchainError, error: Exception) -> None:
        """Tell what went wrong, to who waits and to who looks at the case later."""
        _LOG.error("case.failed", error, code=told.code, case=case_id.hex())
        running.error = told
        self._failed[case_id] = told.code

    def _end(self, case_id: bytes, running: _Running) -> None:
        """End what is waited for, and begin the next one that somebody waits for."""
        with self._lock:
            del self._running[case_id]
            following = self._next.pop(case_id, None)
            if following is not None:
                # In the same moment, so that nobody finds that nothing is under way.
                self._running[case_id] = following
        running.done.set()
        if following is not None:
            self._start(case_id, following, is_fresh=True)

    def _kept(self, case_id: bytes, running: _Running, *, is_fresh: bool) -> bool:
        """Gather and judge, and keep the verdict if the case is still what was judged; tells whether it was."""
        row = self._records.case(case_id)
        said = said_of(self._records, row.digest)
        content, claim = self._book.read(row)
        made = self._gatherer.gather(claim, content, running.tell, is_fresh=is_fresh)
        return self._keep(row, content, made, said)

    def holds(self, row: CaseRow) -> bool:
        """Tell whether what was found of a case still holds: nothing worse is found by this node's ledger of now.

        Nobody is asked. What was found instead is kept with its evidence, for who looks at it. Of a case that was never
        judged nothing was found; one whose verdict was taken from it since, for another invoice or policy, has none
        that could hold.

        Args:
            row: the case.

        Raises:
            MedchainError: what this node's own files raise.
        """
        content, claim = self._book.read(row)
        if not row.verdict:
            return not content.verdicts
        said = said_of(self._records, row.digest)
        made = self._gatherer.again(claim, content)
        if said <= content.said and _doubts(made.verdict) <= _doubts(row.verdict):
            return True
        self._keep(row, content, made, said, is_again=True)
        return False

    def _keep(self, row: CaseRow, content: CaseContent, made: Gathered, said: int, *, is_again: bool = False) -> bool:
        """Keep a verdict with its evidence, if the case is still what was judged; tells whether it was.

        Args:
            row: the case as it was judged.
            content: what it held then.
            made: what was found.
            said: as `CaseContent.said`, from before it was judged.
            is_again: whether nobody was asked: what was judged meanwhile, by answers that are newer, stays.
        """
        is_kept = True

        def change(newest: CaseRow, now: CaseContent) -> tuple[CaseRow, CaseContent]:
            nonlocal is_kept
            if is_again and (newest.verdict, now.gathered) != (row.verdict, content.gathered):
                return newest, now
            is_kept = now.is_judged_as(content) and newest.hospital == row.hospital
            gathered = replace(now, gathered=made.kept)
            if not is_kept:
                return newest, gathered
            position = parse_verdict(made.verdict).position
            judged = gathered.judged(made.colour, position, self._clock())
            return self._judged(newest, now, made), replace(judged, einvoice=made.einvoice, said=said)

        self._book.changed(row.id, change)
        return is_kept

    def _judged(self, row: CaseRow, content: CaseContent, made: Gathered) -> CaseRow:
        """Write a verdict into a case; one whose patient was asked, and of whom nothing came, still waits for that."""
        waits = not content.asked.isdisjoint(failures_of(made.kept))
        is_done = row.status in BEFORE_EVIDENCE and not waits
        return replace(
            row,
            status=Status.JUDGED.value if is_done else row.status,
            colour=made.colour,
            judged=self._clock(),
            verdict=made.verdict,
            bundle=made.bundle,
        )

    def _bundle(self, document: Json) -> Json:
        """Give the evidence of a case, unless what it was judged by has changed since."""
        row = self._book.find(members(document, {"id": str})["id"])
        if not row.verdict:
            raise NotFoundError("case.unjudged")
        return {"zip": base64_text(self._records.case_bundle(row.id))}


def _doubts(verdict: bytes) -> set[tuple[str, bytes]]:
    """List what a verdict finds that is not good; which items of the bundle show it does not matter."""
    found = (one for one in parse_verdict(verdict).findings if one.colour is not Colour.GREEN)
    return {(one.code, canonical(dict(one.arguments))) for one in found}
