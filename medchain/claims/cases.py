"""Cases as the node's own processes ask the daemon for them: names of the operations, and a client for web workers.

Keeps true: what the daemon answers is handed on as it is. Trusts this node's daemon, and callers for having authorised
who asks.
Source: `docs/spec/claim-case.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from medchain.encoding import Json, as_number, as_object, as_objects, base64_text, members, unbase64
from medchain.errors import UnavailableError
from medchain.node.exchange_client import Local
from medchain.node.local import MAX_LOCAL_BYTES
from medchain.node.peers import Limits
from medchain.node.proofs import TRUSTED_POLICY, read_trusted_policy

OPEN: Final = "case.open"
"""Local operation: begin to look into a claim, or find the case of it."""

SHOW: Final = "case.show"
"""Local operation: tell all of a case."""

LIST: Final = "case.list"
"""Local operation: list cases."""

JUDGE: Final = "case.judge"
"""Local operation: gather the evidence of a case and judge it."""

BUNDLE: Final = "case.bundle"
"""Local operation: give the evidence of a case."""

ASK: Final = "case.ask"
"""Local operation: ask the patient for a permission for exactly this claim."""

RESERVE: Final = "case.reserve"
"""Local operation: reserve a part of the invoice for a case."""

SETTLE: Final = "case.settle"
"""Local operation: settle what was reserved."""

RELEASE: Final = "case.release"
"""Local operation: give it up."""

REFUSE: Final = "case.refuse"
"""Local operation: note that this insurer does not pay."""

NOTE: Final = "case.note"
"""Local operation: add a note to a case."""

GIVE: Final = "case.give"
"""Local operation: keep another invoice or policy with a case."""

DELETE: Final = "case.delete"
"""Local operation: destroy a case with its evidence."""

MAX_WAIT_S: Final = 60
"""Longest time that somebody waits for evidence, in seconds."""

_READ: Final = Limits(timeout_s=30.0, max_bytes=MAX_LOCAL_BYTES)
_WAIT: Final = Limits(timeout_s=MAX_WAIT_S + 30.0, max_bytes=MAX_LOCAL_BYTES)
_DEED: Final = Limits(timeout_s=180.0, max_bytes=MAX_LOCAL_BYTES)

Case = dict[str, Json]
"""A case, as `docs/spec/claim-case.md` 3 writes it."""


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a list of cases.

    Attributes:
        cases: as they are listed.
        total: how many there are in all.
    """

    cases: list[Case]
    total: int


class CaseClient:
    """Asks the daemon for cases. Threads may share it."""

    __slots__ = ("_local",)

    def __init__(self, local: Local) -> None:
        """Use the way to the daemon."""
        self._local = local

    def list(self, wanted: Mapping[str, Json], limit: int, offset: int = 0) -> Page:
        """List cases.

        Args:
            wanted: perhaps ``statuses``, ``colours``, ``hospital``, ``number`` (how it begins) and ``order``.
            limit: most cases, at most 200.
            offset: how many to pass over.
        """
        asked: Json = {"filter": dict(wanted), "limit": limit, "offset": offset}
        top = members(self._local.call(LIST, asked, _READ), {"cases": list, "total": int})
        return Page(as_objects(top["cases"]), as_number(top["total"]))

    def open(self, claim: str, given: Mapping[str, Json] | None = None) -> Case:
        """Begin to look into a claim that is stored here, or find its case.

        Args:
            claim: ``Type/id``.
            given: perhaps ``row``, ``policy``, ``held`` and ``hospital``.
        """
        return self._case(OPEN, {**(given or {}), "claim": claim})

    def take(self, content: bytes, given: Mapping[str, Json] | None = None) -> Case:
        """Begin to look into a claim that is not stored here; arguments as of `open`, with its FHIR JSON."""
        return self._case(OPEN, {**(given or {}), "content": base64_text(content)})

    def give(self, case_id: str, given: Mapping[str, Json]) -> Case:
        """Keep another invoice or policy with a case; a verdict on those before is none any more.

        Args:
            case_id: of the case.
            given: ``row``, ``policy`` or both, None for none.
        """
        return self._case(GIVE, {**given, "id": case_id})

    def show(self, case_id: str) -> Case:
        """Tell all of a case; raises `NotFoundError` ``case.unknown``."""
        return self._case(SHOW, {"id": case_id})

    def judge(self, case_id: str, wait_s: int = MAX_WAIT_S, *, is_fresh: bool = False) -> Case:
        """Have the evidence gathered and judged.

        Args:
            case_id: of the case.
            wait_s: how long to wait; its status is ``gathering`` where that was too short.
            is_fresh: whether everybody is asked anew.
        """
        return self._case(JUDGE, {"fresh": is_fresh, "id": case_id, "wait_s": wait_s}, _WAIT)

    def bundle(self, case_id: str) -> bytes:
        """Give the evidence as zip; raises `NotFoundError` ``case.unjudged``."""
        answer = members(self._local.call(BUNDLE, {"id": case_id}, _READ), {"zip": str})
        return unbase64(answer["zip"], max_bytes=MAX_LOCAL_BYTES)

    def ask(self, case_id: str, days: int, reason: str, *, person: str = "", hospital: str = "") -> Case:
        """Ask the patient for a permission for exactly this claim.

        Args:
            case_id: of the case.
            days: for how long, 1 to 30.
            reason: why, in words for the patient.
            person: who asks, in words.
            hospital: of which hospital's records; empty for who provided the services.
        """
        asked: dict[str, Json] = {"days": days, "hospital": hospital, "id": case_id, "person": person, "reason": reason}
        return self._case(ASK, asked)

    def reserve(
        self, case_id: str, amount: str = "", days: int = 7, *, is_unseen: bool = False, seen: int | None = None
    ) -> Case:
        """Reserve a part of the invoice.

        Args:
            case_id: of the case.
            amount: decimal; empty for what is claimed.
            days: for how long.
            is_unseen: whether no person looks at it; raises `ConflictError` ``case.person`` where one must.
            seen: when the verdict was made that the person has seen, Unix seconds, 0 for none; None where it is not
                known. Raises `ConflictError` ``case.changed`` where there is another one, or more is found since.
        """
        how = _how(seen, is_unseen=is_unseen)
        return self._case(RESERVE, {"amount": amount, "days": days, "id": case_id, **how}, _DEED)

    def settle(self, case_id: str, amount: str = "", *, is_unseen: bool = False, seen: int | None = None) -> Case:
        """Settle what was reserved, or less; arguments as of `reserve`."""
        how = _how(seen, is_unseen=is_unseen)
        return self._case(SETTLE, {"amount": amount, "id": case_id, **how}, _DEED)

    def release(self, case_id: str) -> Case:
        """Give a part up."""
        return self._case(RELEASE, {"id": case_id}, _DEED)

    def refuse(self, case_id: str, by: str, reason: str) -> Case:
        """Note that this insurer does not pay, and why."""
        return self._case(REFUSE, {"by": by, "id": case_id, "reason": reason})

    def note(self, case_id: str, by: str, text: str) -> Case:
        """Add a note."""
        return self._case(NOTE, {"by": by, "id": case_id, "text": text})

    def delete(self, case_id: str) -> None:
        """Destroy a case with its evidence; not while a part is reserved for it."""
        self._local.call(DELETE, {"id": case_id}, _READ)

    def policy(self) -> str:
        """Give the policy that this node trusts, by which bundles are verified."""
        return read_trusted_policy(self._local.call(TRUSTED_POLICY, {}, _READ))

    def _case(self, operation: str, document: dict[str, Json], limits: Limits = _READ) -> Case:
        """Have the daemon do something with a case."""
        return as_object(self._local.call(operation, document, limits))


def _how(seen: int | None, *, is_unseen: bool) -> dict[str, Json]:
    """Say what whoever reserves or pays has seen."""
    return {"unseen": is_unseen} if seen is None else {"seen": seen, "unseen": is_unseen}


class NoDaemon:
    """Fills the way to the daemon for parts that ask nobody."""

    def call(self, operation: str, document: Json, limits: Limits | None = None) -> Json:  # noqa: ARG002  # of the port
        """Refuse; raises `UnavailableError` ``daemon.not_running``."""
        raise UnavailableError("daemon.not_running", operation=operation)
