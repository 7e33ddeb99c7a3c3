"""Kind attest: a statement of a registered type, and the steps of its life.

Keeps true: each version is one step of the type's life, taken by who may take it from the state before, and changes no
more than that step; a step of another organisation than the owner stands on its own signed request for that very
version; of two steps from one state the ledger's order lets one come. Trusts the owner, and whoever takes a step, for
what is said: a signature shows who said it, not that it is so.
Source: `docs/spec/attest.md`; in-toto Attestation Framework, Statement v1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from medchain.encoding import Json, canonical, digest, members, unhex
from medchain.errors import InputError
from medchain.ledger.attest_request import StepRequest, opens
from medchain.ledger.kind import LIVING, CheckContext, Kind, Place, refuse
from medchain.ledger.kinds.content import (
    DAY_S,
    check_event_time,
    check_full,
    check_parties,
    count,
    key_or_none,
    names,
    short_text,
)
from medchain.ledger.object import ACTIVE, ENDED, Body, Evidence
from medchain.ledger.predicates import MAKE, OWNER, Predicate, Step
from medchain.ledger.signed_request import REQUEST_AHEAD_S, REQUEST_LIFE_S, SignedRequest, read_request
from medchain.ledger.transaction import HASH_BYTES, ID_BYTES

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
"""Type of the document that `Attest.to_statement` writes."""

MAX_SUBJECTS: Final = 16
"""Most subjects of a statement."""

MAX_DELAY_S: Final = REQUEST_LIFE_S + 60
"""How old a request may be when its step is judged, in seconds: its life, and the wait for an endorser."""

MAX_CONTENT_BYTES: Final = 32 * 1024
"""Largest content, so that a life of many steps is shown in one delivery."""

_PREFIX: Final = "predicate."
_FIELDS: Final = frozenset(
    {"by", "parties", "predicate_type", "request", "state", "step", "subject", "ticket", "time", "until"}
)


@dataclass(frozen=True, slots=True)
class Subject:
    """What a statement is about.

    Attributes:
        name: in words or as a number; it names no person.
        sha256: of the thing itself, 32 bytes.
    """

    name: str
    sha256: bytes

    def to_json(self) -> dict[str, Json]:
        """Write it as in-toto's ResourceDescriptor."""
        return {"digest": {"sha256": self.sha256.hex()}, "name": self.name}


@dataclass(frozen=True, slots=True)
class Attest:
    """A statement's content after a step.

    Attributes:
        predicate_type: URI of its type.
        subject: what it is about.
        predicate: field → what is said; None where nothing is yet.
        state: in which the step left it.
        step: that made this version.
        by: org_id of who took it.
        request: hash of the signed request for it, 32 bytes; None for the owner's own step.
        parties: org_ids that hold it, sorted; the owner need not be among them.
        ticket: hash of what lets who is no party take a step, 32 bytes; None where nobody else may.
        time: of the step, Unix seconds.
        until: after which no step is taken, Unix seconds; None for never.
    """

    predicate_type: str
    subject: tuple[Subject, ...]
    predicate: Mapping[str, Json]
    state: str
    step: str
    by: str
    request: bytes | None
    parties: tuple[str, ...]
    ticket: bytes | None
    time: int
    until: int | None

    @property
    def last_day(self) -> int | None:
        """Day after which no step is taken, days since 1970-01-01 (UTC)."""
        return None if self.until is None else self.until // DAY_S

    def to_content(self) -> dict[str, Json]:
        """Write the content."""
        return {
            **{f"{_PREFIX}{name}": value for name, value in self.predicate.items()},
            "by": self.by,
            "parties": [*self.parties],
            "predicate_type": self.predicate_type,
            "request": None if self.request is None else self.request.hex(),
            "state": self.state,
            "step": self.step,
            "subject": [item.to_json() for item in self.subject],
            "ticket": None if self.ticket is None else self.ticket.hex(),
            "time": self.time,
            "until": self.until,
        }

    def to_statement(self) -> dict[str, Json]:
        """Write what is said as an in-toto statement."""
        return {
            "_type": STATEMENT_TYPE,
            "predicate": {name: value for name, value in self.predicate.items() if value is not None},
            "predicateType": self.predicate_type,
            "subject": [item.to_json() for item in self.subject],
        }

    def after(self, step: Step, asked: StepRequest) -> Attest:
        """Return the statement after a step; that it may be taken is for `check` to say.

        Args:
            step: of the type.
            asked: the request for it; the owner, for a step of its own, signs none.
        """
        is_own = asked.by == asked.owner
        return replace(
            self,
            predicate={**self.predicate, **asked.values},
            state=step.state,
            step=asked.step,
            by=asked.by,
            request=None if is_own else asked.hash,
            parties=self.parties if is_own else tuple(sorted({*self.parties, asked.by})),
            time=asked.time,
        )


def named_id(predicate_type: str, name: str) -> bytes:
    """Derive the object id of a statement of which there is one for each name, 16 bytes; nobody has to be told."""
    return digest("medchain/attest-id/v1", predicate_type.encode(), name.encode())[:ID_BYTES]


def read(content: Mapping[str, Json]) -> Attest:
    """Read a whole content strictly, of whatever type; raises `InputError`."""
    said = {name.removeprefix(_PREFIX): value for name, value in content.items() if name.startswith(_PREFIX)}
    if content.keys() != {*_FIELDS, *(_PREFIX + name for name in said)}:
        raise InputError("content.fields")
    if len(canonical(dict(content))) > MAX_CONTENT_BYTES:
        raise InputError("attest.size")
    until = content["until"]
    return Attest(
        predicate_type=short_text(content["predicate_type"]),
        subject=read_subjects(content["subject"]),
        predicate=said,
        state=short_text(content["state"]),
        step=short_text(content["step"]),
        by=short_text(content["by"]),
        request=key_or_none(content["request"]),
        parties=names(content["parties"], at_least=0),
        ticket=key_or_none(content["ticket"]),
        time=count(content["time"]),
        until=None if until is None else count(until),
    )


def read_subjects(value: Json) -> tuple[Subject, ...]:
    """Read what a statement is about, 1 to `MAX_SUBJECTS`; raises `InputError`."""
    rows = value if type(value) is list else []
    if not 0 < len(rows) <= MAX_SUBJECTS:
        raise InputError("attest.subject")
    return tuple(_subject(row) for row in rows)


def request_of(body: Body) -> SignedRequest[StepRequest] | None:
    """Read the request in the evidence of a version.

    Args:
        body: whole, or with its evidence hidden.

    Returns:
        The request; None for a step of the owner's own, and where the evidence is not shown.

    Raises:
        InputError: as `medchain.ledger.signed_request.read_request`.
    """
    told = body.evidence.value if isinstance(body.evidence, Evidence) else None
    return None if told is None else read_request(StepRequest, members(told, {"request": dict})["request"])


def check_form(body: Body, place: Place) -> None:
    """Judge a body by itself: a step is the owner's own, or that of the request in the evidence.

    Raises:
        InputError: for a malformed content.
        VerificationError: ``attest.request``.
    """
    attest, signed = read(body.content), request_of(body)
    asked = None if signed is None else signed.request
    if not isinstance(body.evidence, Evidence):
        return
    if (asked is None) != (attest.by == place.creator) or attest.request != (None if asked is None else asked.hash):
        refuse("attest.request")
    told = (attest.by, attest.step, attest.time)
    if asked is not None and (told != (asked.by, asked.step, asked.time) or asked.owner != place.creator):
        refuse("attest.request")


def check(body: Body, context: CheckContext) -> None:
    """Judge a version of a statement.

    Raises:
        InputError: for a malformed content.
        VerificationError: ``attest.not_full``, ``.organisation``, ``.party``, ``.role``, ``.request``, ``.type``,
            ``.status``, ``.expires``, ``.time``, ``.maker``, ``.fields``, ``.id``, ``.over``, ``.step``, ``.by``,
            ``.ticket``, ``.changed``, ``.previous``.
    """
    check_full(context, is_full=body.is_full, kind="attest")
    attest = read(body.content)
    check_parties(context, _involved(attest, context), "attest")
    check_form(body, context.place)
    predicate = context.members.policy.predicates.get(attest.predicate_type)
    if predicate is None:
        refuse("attest.type")
    _check_frame(attest, predicate, context)
    if context.version == 1:
        _check_made(attest, predicate, context)
    else:
        _check_step(attest, predicate, body, context)


def _involved(attest: Attest, context: CheckContext) -> set[str]:
    """Name who must be an active member: all parties of a new statement, later who takes the step.

    A party that was suspended since must not end the life of what others made.
    """
    active = {organisation.org_id for organisation in context.members.active}
    is_new = context.version == 1
    return {attest.by, *(org_id for org_id in attest.parties if is_new or org_id in active)}


def _check_frame(attest: Attest, predicate: Predicate, context: CheckContext) -> None:
    """Check what holds for every version: status, end and time."""
    status = ENDED if predicate.is_last(attest.state) else ACTIVE
    if context.change.status != status:
        refuse("attest.status", status=status)
    if context.change.expires != (attest.last_day if status == ACTIVE else None):
        refuse("attest.expires")
    check_event_time(context, attest.time, "attest.time")
    if attest.until is not None and attest.until < context.time:
        refuse("attest.over")


def _check_made(attest: Attest, predicate: Predicate, context: CheckContext) -> None:
    """Judge the first version."""
    if attest.by != context.creator or context.members.organisations[attest.by].role not in predicate.makers:
        refuse("attest.maker", org_id=attest.by)
    if (attest.step, attest.state) != (MAKE, predicate.state):
        refuse("attest.step", step=attest.step)
    said = {name for name, value in attest.predicate.items() if value is not None}
    if attest.predicate.keys() != predicate.fields or said != predicate.told:
        refuse("attest.fields")
    if predicate.is_named and context.object_id != named_id(attest.predicate_type, attest.subject[0].name):
        # One of a name, where everybody looks: a second one would not be missed.
        refuse("attest.id")


def _check_step(attest: Attest, predicate: Predicate, body: Body, context: CheckContext) -> None:
    """Judge a later version."""
    if context.previous is None:
        refuse("attest.previous")
    before, step = read(context.previous[1].content), predicate.steps.get(attest.step)
    if step is None or before.state not in step.states:
        refuse("attest.step", step=attest.step)
    signed = request_of(body)
    asked = _own_step(attest, step, context) if signed is None else signed.request
    if set(asked.values) != step.sets or None in asked.values.values():
        refuse("attest.fields")
    if canonical(attest.to_content()) != canonical(before.after(step, asked).to_content()):
        # By their bytes: true and 1 are the same to Python.
        refuse("attest.changed")
    if attest.time < before.time:
        refuse("attest.time", time=attest.time)
    if not _may_take(step, attest.by, context):
        refuse("attest.by", org_id=attest.by)
    if signed is not None:
        _check_signed(signed, before, context)


def _own_step(attest: Attest, step: Step, context: CheckContext) -> StepRequest:
    """Read a step of the owner's own, which nobody asked for."""
    return StepRequest(
        ledger=context.genesis.ledger,
        owner=context.creator,
        by=context.creator,
        statement=context.key,
        version=context.version - 1,
        step=attest.step,
        values={name: attest.predicate.get(name) for name in step.sets},
        ticket=b"",
        nonce=b"",
        time=attest.time,
    )


def _may_take(step: Step, by: str, context: CheckContext) -> bool:
    """Tell whether an organisation may take a step: what a role vouches for, the owner does not vouch for itself."""
    if by == context.creator:
        return OWNER in step.by
    organisations = context.members.organisations
    return organisations[by].role in step.by and organisations[by].control != organisations[context.creator].control


def _check_signed(signed: SignedRequest[StepRequest], before: Attest, context: CheckContext) -> None:
    """Judge the request of another organisation."""
    asked = signed.request
    if (asked.statement, asked.version) != (context.key, context.version - 1):
        # For another statement, or for what this one was before.
        refuse("attest.request")
    if not signed.is_of(context.members.organisations[asked.by], context.genesis.ledger):
        refuse("attest.request")
    if not -REQUEST_AHEAD_S <= context.time - asked.time <= MAX_DELAY_S:
        refuse("attest.time", time=asked.time)
    if asked.by not in before.parties and not opens(asked.ticket, before.ticket):
        refuse("attest.ticket")


def _subject(value: Json) -> Subject:
    """Read one subject."""
    row = members(value, {"digest": dict, "name": str})
    return Subject(short_text(row["name"]), unhex(members(row["digest"], {"sha256": str})["sha256"], HASH_BYTES))


KIND: Final = Kind(
    name="attest",
    number=12,
    transitions=LIVING,
    check=check,
    form=check_form,
    max_until_s=60,
)
"""One version for each step, until none leads on."""
