"""Kind emergency: a release without consent, to save a life, or the intent to ask another organisation for one.

Keeps true: an emergency names who looked, why and at how much, and stays open until somebody's review is on the ledger;
what happened, and a patient's objection to it, is never changed by what comes later. Trusts its owner for the fact that
there was one; the review is there to judge that. Between two organisations each tells its own: neither hides it alone.
Source: `docs/spec/consent.md`; HL7 v3 ActReason BTG.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from medchain.encoding import Json, members, unhex
from medchain.ledger.emergency_request import EmergencyRequest, given_id, request_of
from medchain.ledger.kind import HOLDER, CheckContext, Kind, Place, refuse
from medchain.ledger.kinds.content import DAY_S, check_event_time, check_parties, count, fields, short_text
from medchain.ledger.object import ACTIVE, ENDED, Body, Evidence
from medchain.ledger.signed_request import REQUEST_AHEAD_S, REQUEST_LIFE_S, SignedRequest
from medchain.ledger.transaction import HASH_BYTES

EMERGENCY_S: Final = 3600
"""How long an emergency lets its staff look, in seconds."""

REVIEW_DUE_S: Final = 7 * DAY_S
"""By when it is to be reviewed, in seconds after it."""

OBJECTION_DUE_S: Final = 3 * DAY_S
"""By when an objection is to be answered by its review, in seconds after the objection."""

_FIELDS: Final = (
    "commitments_root",
    "count",
    "custodian",
    "objection",
    "patient",
    "reason",
    "recipient",
    "request_hash",
    "review",
    "staff",
    "time",
    "wraps_hash",
)


SUPERVISOR: Final = "regulator"
"""Role of those who are told of every emergency."""

SUPERVISED_FIELDS: Final = frozenset(_FIELDS) - {"patient"}
"""What they are shown: not whose records they were."""


@dataclass(frozen=True, slots=True)
class Review:
    """What became of an emergency.

    Attributes:
        by: who reviewed it.
        finding: ``justified`` or another code.
        time: Unix seconds.
    """

    by: str
    finding: str
    time: int


@dataclass(frozen=True, slots=True)
class Objection:
    """That the patient, or somebody for the patient, does not agree.

    Attributes:
        by: who objected.
        reason: why.
        time: Unix seconds.
    """

    by: str
    reason: str
    time: int


@dataclass(frozen=True, slots=True)
class Emergency:
    """An emergency's content.

    Attributes:
        custodian: org_id that released.
        recipient: org_id that received.
        patient: the owner's own reference to the patient.
        staff: who asked.
        reason: why.
        request_hash: hash of the signed request, 32 bytes.
        count: how many records.
        commitments_root: root over their commitments, 32 bytes.
        wraps_hash: hash of the wrapped data keys, 32 bytes.
        time: Unix seconds.
        objection: None until somebody objects.
        review: None until it is reviewed.
    """

    custodian: str
    recipient: str
    patient: str
    staff: str
    reason: str
    request_hash: bytes
    count: int
    commitments_root: bytes
    wraps_hash: bytes
    time: int
    objection: Objection | None = None
    review: Review | None = None

    @property
    def owner(self) -> str:
        """Who tells of it: the custodian what it gave; who asks another organisation, that it is about to ask."""
        return self.recipient if self.is_declared_elsewhere else self.custodian

    @property
    def is_declared_elsewhere(self) -> bool:
        """Whether it says that an organisation asks another one: nothing was given when it was made."""
        return self.recipient != self.custodian and self.count == 0

    @property
    def due(self) -> int:
        """By when it is to be reviewed, Unix seconds: an objection does not wait for the end of the week."""
        last = self.time + REVIEW_DUE_S
        return last if self.objection is None else min(last, self.objection.time + OBJECTION_DUE_S)

    def to_content(self) -> dict[str, Json]:
        """Write the content."""
        review, objection = self.review, self.objection
        return {
            "commitments_root": self.commitments_root.hex(),
            "count": self.count,
            "custodian": self.custodian,
            "objection": None
            if objection is None
            else {"by": objection.by, "reason": objection.reason, "time": objection.time},
            "patient": self.patient,
            "reason": self.reason,
            "recipient": self.recipient,
            "request_hash": self.request_hash.hex(),
            "review": None if review is None else {"by": review.by, "finding": review.finding, "time": review.time},
            "staff": self.staff,
            "time": self.time,
            "wraps_hash": self.wraps_hash.hex(),
        }


def read(content: Mapping[str, Json]) -> Emergency:
    """Read a whole content strictly; raises `InputError`."""
    fields(content, _FIELDS)
    return Emergency(
        custodian=short_text(content["custodian"]),
        recipient=short_text(content["recipient"]),
        patient=short_text(content["patient"]),
        staff=short_text(content["staff"]),
        reason=short_text(content["reason"]),
        request_hash=unhex(content["request_hash"], HASH_BYTES),
        count=count(content["count"]),
        commitments_root=unhex(content["commitments_root"], HASH_BYTES),
        wraps_hash=unhex(content["wraps_hash"], HASH_BYTES),
        time=count(content["time"]),
        objection=_objection(content["objection"]),
        review=_review(content["review"]),
    )


def read_shown(content: Mapping[str, Json]) -> Emergency:
    """Read a whole content, or the part that a regulator is shown, whose patient is ``-``; raises `InputError`."""
    return read({"patient": "-", **content})


def check_form(body: Body, place: Place) -> None:
    """Judge a body, or a regulator's part of it, by itself.

    Raises:
        InputError: for a malformed content.
        VerificationError: ``emergency.custodian`` for one that another tells than who may, ``emergency.review``;
            ``emergency.request``, ``.id`` for a release to another organisation that its request does not bear.
    """
    emergency = read_shown(body.content)
    if emergency.owner != place.creator:
        refuse("emergency.custodian", org_id=emergency.owner)
    if (emergency.review is not None) != (place.status == ENDED):
        refuse("emergency.review")
    if emergency.count and emergency.recipient != emergency.custodian and isinstance(body.evidence, Evidence):
        _check_request(emergency, request_of(body), place)


def _check_request(emergency: Emergency, signed: SignedRequest[EmergencyRequest] | None, place: Place) -> None:
    """Refuse a release that no request bears, or another one; signatures are not looked at."""
    if signed is None:
        refuse("emergency.request")
    asked = signed.request
    told = (emergency.custodian, emergency.recipient, emergency.staff, emergency.reason, emergency.request_hash)
    if told != (asked.custodian, asked.recipient, asked.staff, asked.reason, asked.hash):
        refuse("emergency.request")
    if not -REQUEST_AHEAD_S <= emergency.time - asked.time <= REQUEST_LIFE_S:
        refuse("emergency.request", time=emergency.time)
    if place.object_id != given_id(asked.hash):
        # One request is one release, where its asker looks: a second one would be hidden behind the first.
        refuse("emergency.id")


def _check_signature(signed: SignedRequest[EmergencyRequest] | None, context: CheckContext) -> None:
    """Refuse a request that its recipient has not signed for this ledger, with a key that it has now."""
    if signed is None:
        return
    recipient = context.members.organisations[signed.request.recipient]
    if not signed.is_of(recipient, context.genesis.ledger):
        refuse("emergency.request")


def check(body: Body, context: CheckContext) -> None:
    """Judge an emergency's body.

    Raises:
        InputError: for a malformed content.
        VerificationError: ``emergency.organisation``, ``.party``, ``.role``, ``.custodian``, ``.time``, ``.review``,
            ``.objection``, ``.changed``, ``.request``, ``.id``.
    """
    emergency = (read_shown if context.role == HOLDER else read)(body.content)
    check_parties(context, (emergency.custodian, emergency.recipient), "emergency")
    check_form(body, context.place)
    if context.version == 1:
        # What bears it is the same in later versions; the key that signed may be exchanged by then.
        _check_signature(request_of(body), context)
    check_event_time(context, emergency.time, "emergency.time")
    reviewed = emergency.review is not None
    before = None if context.previous is None else context.previous[1].content
    if (before is not None and before.get("objection") is None) != (emergency.objection is not None) and not reviewed:
        # A new one has none; a version that is no review adds one to what had none.
        refuse("emergency.objection")
    if before is not None:
        # Both have all fields, but for the patient where this organisation is not shown it.
        same = (before.keys() & body.content.keys()) - {"review" if reviewed else "objection"}
        if any(before[name] != body.content[name] for name in same):
            refuse("emergency.changed")


def _review(value: Json) -> Review | None:
    """Read a review or null."""
    if value is None:
        return None
    row = members(value, {"by": str, "finding": str, "time": int})
    return Review(short_text(row["by"]), short_text(row["finding"]), count(row["time"]))


def _objection(value: Json) -> Objection | None:
    """Read an objection or null."""
    if value is None:
        return None
    row = members(value, {"by": str, "reason": str, "time": int})
    return Objection(short_text(row["by"]), short_text(row["reason"]), count(row["time"]))


KIND: Final = Kind(
    name="emergency",
    number=9,
    transitions={None: frozenset({ACTIVE}), ACTIVE: frozenset({ACTIVE, ENDED})},
    check=check,
    form=check_form,
)
"""Active until it is reviewed, a second time with an objection; no consent is needed, so nothing is refused for lack of
one."""
