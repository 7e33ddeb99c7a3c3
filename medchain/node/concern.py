"""A concern: what a patient brings before this organisation, with a clock, and what a regulator is told of it.

A correction is asked for one version of one record, a complaint is about one look. Keeps true: a concern is the steps
that were taken, each who and when, and a later version only adds one; which steps may follow, and by when an answer is
due, nobody chooses. Pure; trusts callers for who takes a step and for the clock.
Source: `docs/spec/concern.md`; GDPR Art. 12(3), 16; Personal Information Protection Law of the PRC, Art. 46, 50.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from medchain.encoding import Json, as_object, canonical, members, parse_canonical, unhex
from medchain.errors import ConflictError, InputError
from medchain.ledger.kinds.content import DAY_S, count, short_text
from medchain.ledger.kinds.emergency import OBJECTION_DUE_S
from medchain.ledger.transaction import ID_BYTES

CONCERN_TYPE: Final = "medchain/concern/v1"
"""Type of the content of a version."""

REPORT_TYPE: Final = "medchain/concern-report/v1"
"""Type of what a regulator is told."""

MEDIA_TYPE: Final = "application/vnd.medchain.concern+json"
"""Content type of a version."""

MAX_TEXT: Final = 1000
"""Longest text of a step, in characters."""

MAX_REPORTED: Final = 20
"""Most concerns of one report."""

MAX_REPORT_BYTES: Final = 1 << 20
"""Largest report."""

ERASED: Final = "erased"
"""State of a concern whose patient was erased."""

_SHAPE: Final = {"about": dict, "kind": str, "shared": bool, "steps": list}
_MAX_BYTES: Final = 64 * 1024
_RECORD: Final = re.compile(r"[A-Z][A-Za-z]{1,63}/[A-Za-z0-9\-.]{1,64}")
_LOOK: Final = re.compile(r"AuditEvent/[A-Za-z0-9\-.]{1,64}|refusal/[0-9a-f]{32}|entry/[0-9]{1,16}")


class ConcernKind(StrEnum):
    """What is asked for."""

    CORRECTION = "correction"
    COMPLAINT = "complaint"


class StepKind(StrEnum):
    """What was done, and the state that follows from it."""

    OPENED = "opened"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    REOPENED = "reopened"
    CLOSED = "closed"


DUE_S: Final[Mapping[ConcernKind, int]] = {
    ConcernKind.CORRECTION: 30 * DAY_S,
    ConcernKind.COMPLAINT: OBJECTION_DUE_S,
}
"""By when an answer is due after a concern was opened or reopened: no setting, or who answers would set it."""

ANSWERS: Final = frozenset({StepKind.ACCEPTED, StepKind.DECLINED})
"""Steps of this organisation; the others are the patient's."""

WAITING: Final = frozenset({StepKind.OPENED, StepKind.REOPENED})
"""States in which an answer is due."""

_NEXT: Final[Mapping[StepKind, frozenset[StepKind]]] = {
    StepKind.OPENED: ANSWERS | {StepKind.CLOSED},
    StepKind.ACCEPTED: frozenset({StepKind.REOPENED, StepKind.CLOSED}),
    StepKind.DECLINED: frozenset({StepKind.REOPENED, StepKind.CLOSED}),
    StepKind.REOPENED: ANSWERS | {StepKind.CLOSED},
    StepKind.CLOSED: frozenset(),
}
# What a step must say, and what says nothing; accepting may say something.
_SAYING: Final = frozenset({StepKind.OPENED, StepKind.DECLINED, StepKind.REOPENED})
_SILENT: Final = frozenset({StepKind.CLOSED})


@dataclass(frozen=True, slots=True)
class About:
    """What a concern is about.

    Attributes:
        what: of a correction the record, ``Type/id``; of a complaint the look: ``AuditEvent/id``, ``refusal/HEX`` as it
            was noted, or ``entry/POSITION`` of the ledger.
        version: of the record; 0 for a look.
    """

    what: str
    version: int = 0

    @property
    def record(self) -> tuple[str, str]:
        """Type and id of the record that a correction is asked for."""
        type_name, _, record_id = self.what.partition("/")
        return type_name, record_id


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Attributes:
        kind: what was done.
        by: who did it, as the audit names people.
        time: Unix seconds.
        text: what was said; may be empty.
        version: that corrects the record, of an accepted correction; 0 otherwise.
    """

    kind: StepKind
    by: str
    time: int
    text: str = ""
    version: int = 0

    def to_json(self) -> dict[str, Json]:
        """Write it."""
        return {"by": self.by, "step": self.kind.value, "text": self.text, "time": self.time, "version": self.version}


@dataclass(frozen=True, slots=True)
class Concern:
    """A concern as one version of its record has it.

    Attributes:
        kind: what is asked for.
        about: which record version, or which look.
        shared: whether the patient shows what was said to the regulators as well.
        steps: that were taken, the oldest first; never empty.
    """

    kind: ConcernKind
    about: About
    shared: bool
    steps: tuple[Step, ...]

    @property
    def state(self) -> StepKind:
        """The last step."""
        return self.steps[-1].kind

    @property
    def since(self) -> int:
        """From when the clock runs: when it was last opened, Unix seconds."""
        return next(step.time for step in reversed(self.steps) if step.kind in WAITING)

    @property
    def due(self) -> int | None:
        """By when an answer is due, Unix seconds; None where none is."""
        return self.since + DUE_S[self.kind] if self.state in WAITING else None

    def taking(self, step: Step) -> Concern:
        """Return it with one more step.

        Raises:
            InputError: ``concern.malformed`` for a step that says nothing where it must, or the reverse.
            ConflictError: ``concern.state`` for one that cannot follow, a second reopening included.
        """
        is_second = step.kind is StepKind.REOPENED and any(one.kind is StepKind.REOPENED for one in self.steps)
        if step.kind not in _NEXT[self.state] or is_second:
            raise ConflictError("concern.state", state=self.state.value)
        return checked(replace(self, steps=(*self.steps, step)))

    def to_json(self) -> dict[str, Json]:
        """Write what it says."""
        return {
            "about": {"version": self.about.version, "what": self.about.what},
            "kind": self.kind.value,
            "shared": self.shared,
            "steps": [step.to_json() for step in self.steps],
        }

    def encode(self) -> bytes:
        """Write the content of a version."""
        return canonical({**self.to_json(), "type": CONCERN_TYPE})


def checked(concern: Concern) -> Concern:
    """Return a concern that is well-formed; raises `InputError` ``concern.malformed``, ``content.text``."""
    is_correction = concern.kind is ConcernKind.CORRECTION
    form, version = (_RECORD, concern.about.version > 0) if is_correction else (_LOOK, concern.about.version == 0)
    first = concern.steps[0].kind is StepKind.OPENED
    if not (form.fullmatch(concern.about.what) and version and first and all(map(_is_whole, concern.steps))):
        raise InputError("concern.malformed")
    for step in concern.steps:
        short_text(step.by)
    return concern


def parse_concern(content: bytes) -> Concern:
    """Read the content of a version strictly.

    Raises:
        InputError: ``encoding.*``, ``content.*``, ``concern.malformed``.
        ConflictError: ``concern.state`` for steps that cannot follow each other.
    """
    top = members(parse_canonical(content, max_bytes=_MAX_BYTES), {**_SHAPE, "type": str})
    if top["type"] != CONCERN_TYPE:
        raise InputError("concern.malformed")
    return _concern(top)


@dataclass(frozen=True, slots=True)
class Shown:
    """A concern as the daemon shows it to this node's pages.

    Attributes:
        id: of its record.
        number: of its version in the records file, for the audit.
        position: of the version's entry on the ledger; None while there is none.
        due: by when an answer is due, Unix seconds; None where none is.
        is_overdue: whether that is over.
        concern: what it says.
    """

    id: str
    number: int
    position: int | None
    due: int | None
    is_overdue: bool
    concern: Concern

    def to_json(self) -> dict[str, Json]:
        """Write it."""
        return {
            **self.concern.to_json(),
            "due": self.due,
            "id": self.id,
            "number": self.number,
            "overdue": self.is_overdue,
            "position": self.position,
            "state": self.concern.state.value,
            "version": len(self.concern.steps),
        }


def shown_of(value: Json) -> Shown:
    """Read what `Shown.to_json` wrote; raises as `parse_concern`."""
    row = as_object(value)
    due, position = row.get("due"), row.get("position")
    return Shown(
        id=str(row.get("id")),
        number=count(row.get("number")),
        position=None if position is None else count(position),
        due=None if due is None else count(due),
        is_overdue=row.get("overdue") is True,
        concern=_concern(members({name: row.get(name) for name in _SHAPE}, _SHAPE)),
    )


def shown_in(answer: Json) -> list[Shown]:
    """Read a list of the daemon's; raises as `parse_concern`."""
    rows = as_object(answer).get("concerns")
    return [shown_of(row) for row in rows] if isinstance(rows, list) else []


def _concern(top: Mapping[str, Json]) -> Concern:
    """Read a concern; raises as `parse_concern`."""
    first, *later = map(_step, top["steps"] if isinstance(top["steps"], list) and top["steps"] else [None])
    concern = checked(Concern(kind_of(top["kind"]), about_of(top["about"]), top["shared"] is True, (first,)))
    for step in later:
        concern = concern.taking(step)
    return concern


def about_of(value: Json) -> About:
    """Read what a concern is about; raises `InputError`."""
    row = members(value, {"version": int, "what": str})
    return About(str(row["what"]), count(row["version"]))


def kind_of(value: Json) -> ConcernKind:
    """Read a kind; raises `InputError` ``concern.malformed``."""
    if value not in {*ConcernKind}:
        raise InputError("concern.malformed")
    return ConcernKind(str(value))


def step_of(value: Json) -> StepKind:
    """Read the kind of a step; raises `InputError` ``concern.malformed``."""
    if value not in {*StepKind}:
        raise InputError("concern.malformed")
    return StepKind(str(value))


@dataclass(frozen=True, slots=True)
class Report:
    """What a regulator is told of a concern: not whose it is, and what was said only where the patient wants that.

    Attributes:
        id: of its object on the ledger, 16 bytes.
        version: of its record.
        kind: what is asked for.
        state: the last step.
        opened: when it was opened first, Unix seconds.
        since: from when the clock runs.
        changed: when the last step was taken.
        texts: what was said, a step at a time; empty where it is not shared.
    """

    id: bytes
    version: int
    kind: ConcernKind
    state: StepKind
    opened: int
    since: int
    changed: int
    texts: tuple[str, ...]

    @property
    def due(self) -> int | None:
        """By when an answer is due, Unix seconds; None where none is."""
        return self.since + DUE_S[self.kind] if self.state in WAITING else None

    def to_json(self) -> dict[str, Json]:
        """Write it."""
        return {
            "changed": self.changed,
            "id": self.id.hex(),
            "kind": self.kind.value,
            "opened": self.opened,
            "since": self.since,
            "state": self.state.value,
            "texts": [*self.texts],
            "version": self.version,
        }


def report_of(object_id: bytes, version: int, concern: Concern) -> Report:
    """Say what a regulator is told of a concern."""
    return Report(
        id=object_id,
        version=version,
        kind=concern.kind,
        state=concern.state,
        opened=concern.steps[0].time,
        since=concern.since,
        changed=concern.steps[-1].time,
        texts=tuple(step.text for step in concern.steps) if concern.shared else (),
    )


def encode_reports(ledger: bytes, reports: Sequence[Report], erased: Iterable[bytes]) -> bytes:
    """Write what a regulator is told.

    Args:
        ledger: ledger id, 32 bytes.
        reports: at most `MAX_REPORTED`.
        erased: ids of concerns whose patients were erased.
    """
    document: dict[str, Json] = {
        "concerns": [one.to_json() for one in reports],
        "erased": [one.hex() for one in erased],
        "ledger": ledger.hex(),
        "type": REPORT_TYPE,
    }
    return canonical(document)


def parse_reports(document: bytes, ledger: bytes) -> tuple[list[Report], list[bytes]]:
    """Read what a custodian tells strictly.

    Args:
        document: from `encode_reports`.
        ledger: ledger id, 32 bytes.

    Returns:
        The reports, and the ids of those whose patients were erased.

    Raises:
        InputError: ``encoding.*``, ``content.*``, ``concern.malformed``.
    """
    shape = {"concerns": list, "erased": list, "ledger": str, "type": str}
    top = members(parse_canonical(document, max_bytes=MAX_REPORT_BYTES), shape)
    rows, gone = top["concerns"], top["erased"]
    if top["type"] != REPORT_TYPE or top["ledger"] != ledger.hex():
        raise InputError("concern.malformed")
    reports = [parse_report(row) for row in rows] if isinstance(rows, list) else []
    if len(reports) > MAX_REPORTED:
        raise InputError("concern.malformed")
    return reports, [unhex(one, ID_BYTES) for one in gone] if isinstance(gone, list) else []


def parse_report(value: Json) -> Report:
    """Read a report strictly; raises as `parse_reports`."""
    numbers = dict.fromkeys(("changed", "opened", "since", "version"), int)
    row = members(value, {**numbers, "id": str, "kind": str, "state": str, "texts": list})
    opened, since, changed, version = (count(row[name]) for name in ("opened", "since", "changed", "version"))
    texts = row["texts"] if isinstance(row["texts"], list) else []
    if not opened <= since <= changed or not version or len(texts) not in (0, version):
        raise InputError("concern.malformed")
    said = tuple(map(_text, texts))
    return Report(
        unhex(row["id"], ID_BYTES), version, kind_of(row["kind"]), step_of(row["state"]), opened, since, changed, said
    )


def _step(value: Json) -> Step:
    """Read a step; raises `InputError`."""
    row = members(value, {"by": str, "step": str, "text": str, "time": int, "version": int})
    return Step(step_of(row["step"]), str(row["by"]), count(row["time"]), _text(row["text"]), count(row["version"]))


def _text(value: Json) -> str:
    """Read what a step says; raises `InputError` ``content.text``."""
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise InputError("content.text")
    return value


def _is_whole(step: Step) -> bool:
    """Tell whether a step says what it must, and no more."""
    is_said = not step.text if step.kind in _SILENT else bool(step.text) or step.kind not in _SAYING
    return is_said and len(step.text) <= MAX_TEXT and (step.version == 0 or step.kind is StepKind.ACCEPTED)
