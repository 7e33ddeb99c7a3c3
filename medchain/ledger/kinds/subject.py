"""Kind subject: a person's passkeys, delegates and custodians, sealed; the ledger shows none of it.

Keeps true: each version does one operation, signed by whom that operation needs, and changes nothing else; the
organisation that enrolled the person is named and cannot be swapped; an independent one saw the whole body. Trusts the
enroller for the person's identity: two organisations vouch for that, no signature can.
Source: `docs/spec/subject.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from medchain.encoding import Json, members, unhex
from medchain.errors import InputError
from medchain.ledger.kind import HOLDER, LIVING, CheckContext, Kind, Place, refuse
from medchain.ledger.kinds import alone, capacity, delegation, recovery, signing
from medchain.ledger.kinds.capacity import CONSENT, DEAD, GUARDIAN, STOP, Capacity, Deed, Delegate
from medchain.ledger.kinds.content import (
    DAY_S,
    check_event_time,
    check_full,
    check_parties,
    count,
    fields,
    key_or_none,
    names,
    short_text,
)
from medchain.ledger.kinds.passkeys import Passkey, passkeys_json, read_passkeys
from medchain.ledger.object import ACTIVE, Body
from medchain.ledger.transaction import HASH_BYTES, ID_BYTES

MAJORITY_YEARS: Final = "majority_years"
"""Term of the policy: at which age a person decides alone."""

JOIN: Final = "join"
"""Operation of the signature by which a person joins its subject to a patient; no version has it."""

RECIPIENT_FIELDS: Final = frozenset({"passkeys", *capacity.FIELDS})
"""Fields that a recipient gets: enough to check signatures, nothing of where the patient is treated."""

MAX_CONTACTS: Final = 8
"""Most contacts of a subject."""

CHANNELS: Final = frozenset({"email", "sms"})
"""Ways to a contact."""

_YEAR_DAYS: Final = 366
_FIELDS: Final = (
    "contacts",
    "custodians",
    "delegates",
    "disputed",
    "enroller",
    "nonce",
    "of_age",
    "operation",
    "passkeys",
    "recovery",
    "signed_at",
    "signers",
    "standing",
    "verified_by",
)
_OF_EACH_VERSION: Final = frozenset({"nonce", "operation", "recovery", "signed_at", "signers"})


class Operation(StrEnum):
    """What a version does."""

    ENROL = "enrol"
    ADD_PASSKEY = "add-passkey"
    REMOVE_PASSKEY = "remove-passkey"
    CHANGE_CONTACTS = "change-contacts"
    NAME_DELEGATE = "name-delegate"
    END_DELEGATE = "end-delegate"
    LINK = "link"
    UNLINK = "unlink"
    DISPUTE = "dispute"
    SETTLE = "settle"
    DECLARE_DEATH = "declare-death"
    RESTORE = "restore"
    RECOVER = "recover"


class Contact(NamedTuple):
    """Where notices go.

    Attributes:
        channel: of `CHANNELS`.
        address: 1 to 200 characters.
    """

    channel: str
    address: str

    def to_json(self) -> Json:
        """Write it."""
        return {"address": self.address, "channel": self.channel}


@dataclass(frozen=True, slots=True)
class Subject:
    """A subject's content.

    Attributes:
        passkeys: of the person; none only where a guardian signs.
        capacity: who else may sign, and whether the person may.
        custodians: org_ids that hold records of the person, sorted.
        enroller: org_id of the organisation that checked who the person is.
        method: how it did so, such as ``identity-card``.
        verified: Unix seconds when it did so.
        nonce: 16 random bytes.
        signed_at: when it was put before those who sign, Unix seconds.
        operation: what this version does.
        signers: map keys of the subjects whose passkeys sign this version.
        recovery: map key of the recovery that this version carries out.
        contacts: where notices go.
    """

    passkeys: tuple[Passkey, ...]
    capacity: Capacity
    custodians: tuple[str, ...]
    enroller: str
    method: str
    verified: int
    nonce: bytes
    signed_at: int
    operation: Operation = Operation.ENROL
    signers: tuple[bytes, ...] = ()
    recovery: bytes | None = None
    contacts: tuple[Contact, ...] = ()

    def to_content(self) -> dict[str, Json]:
        """Write the content."""
        able = self.capacity
        return {
            "contacts": [row.to_json() for row in self.contacts],
            "custodians": list(self.custodians),
            "delegates": [row.to_json() for row in able.delegates],
            "disputed": able.disputed,
            "enroller": self.enroller,
            "nonce": self.nonce.hex(),
            "of_age": able.of_age,
            "operation": self.operation.value,
            "passkeys": passkeys_json(self.passkeys),
            "recovery": None if self.recovery is None else self.recovery.hex(),
            "signed_at": self.signed_at,
            "signers": [key.hex() for key in self.signers],
            "standing": None if able.standing is None else able.standing.to_json(),
            "verified_by": {"method": self.method, "organisation": self.enroller, "time": self.verified},
        }

    def signed(self, key: bytes) -> list[signing.Signed]:
        """Return what each signer signs, beside object and content root.

        Args:
            key: map key of the subject object, 32 bytes.
        """
        operation = f"subject/{self.operation}"
        return [signing.Signed(operation, row, None if row == key else key, self.nonce) for row in self.signers]


def read(content: Mapping[str, Json]) -> Subject:
    """Read a whole content strictly; raises `InputError`."""
    fields(content, _FIELDS)
    verified = members(content["verified_by"], {"method": str, "organisation": str, "time": int})
    if verified["organisation"] != content["enroller"]:
        raise InputError("subject.verified_by")
    operation, signers = content["operation"], content["signers"]
    # Text first: a list cannot be looked up in a set.
    if type(operation) is not str or operation not in set(Operation):
        raise InputError("subject.operation")
    keys = tuple(unhex(key, HASH_BYTES) for key in signers) if type(signers) is list else None
    if keys is None or len(set(keys)) != len(keys) or len(keys) > capacity.MAX_DELEGATES:
        raise InputError("subject.signers")
    return Subject(
        passkeys=read_passkeys(content),
        capacity=capacity.read(content),
        custodians=names(content["custodians"]),
        enroller=short_text(content["enroller"]),
        method=short_text(verified["method"]),
        verified=count(verified["time"]),
        nonce=unhex(content["nonce"], ID_BYTES),
        signed_at=count(content["signed_at"]),
        operation=Operation(operation),
        signers=keys,
        recovery=key_or_none(content["recovery"]),
        contacts=read_contacts(content),
    )


def read_contacts(content: Mapping[str, Json]) -> tuple[Contact, ...]:
    """Read the field ``contacts``; raises `InputError` ``subject.contacts``."""
    rows = content.get("contacts")
    if type(rows) is not list or len(rows) > MAX_CONTACTS:
        raise InputError("subject.contacts")
    found = tuple(_contact(row) for row in rows)
    if len(set(found)) != len(found):
        raise InputError("subject.contacts")
    return found


def check_form(body: Body, place: Place) -> None:
    """Judge a body by itself, whole or the part that signatures are checked with.

    Raises:
        InputError: for a malformed content.
        VerificationError: ``subject.enroller`` for one that another than its owner tells.
    """
    if _is_part(body):
        capacity.read(body.content)
        read_passkeys(body.content)
    else:
        read(body.content)
    enroller = body.content.get("enroller", place.creator)
    if enroller != place.creator:
        refuse("subject.enroller", org_id=str(enroller)[:64])


def _is_part(body: Body) -> bool:
    """Tell whether somebody is shown a part only: what is hidden, the enroller and an independent one vouch for."""
    return body.content.keys() < set(_FIELDS)


def check(body: Body, context: CheckContext) -> None:
    """Judge a subject's body.

    Raises:
        InputError: for a malformed content.
        VerificationError: one of the codes ``subject.*`` of `docs/spec/subject.md`, ``signing.*``, ``assertion.*``.
    """
    check_full(context, is_full=body.is_full, kind="subject")
    if context.role == HOLDER and _is_part(body):
        check_form(body, context.place)
        return
    subject = read(body.content)
    check_parties(context, (*subject.custodians, subject.enroller), "subject")
    check_form(body, context.place)
    standing = subject.capacity.standing
    told = (subject.verified, *(row.since for row in subject.passkeys), 0 if standing is None else standing.time)
    for time in told:
        check_event_time(context, time, "subject.time")
    if context.change.status != ACTIVE:
        return
    signing.check_age(context, subject.signed_at, len(subject.signers), "subject.stale")
    if any(row.subject == context.key for row in subject.capacity.delegates):
        refuse("subject.delegates")
    if context.previous is None:
        _check_enrolment(body, subject, context)
    else:
        _check_successor(body, subject, context, context.previous[1])


def check_joining(body: Body, context: CheckContext) -> None:
    """Judge the body by which a person, or who represents it, joins its subject to a patient of this organisation.

    Args:
        body: content ``{"nonce","object","operation":"join","organisation","patient","subject"}`` with an assertion as
            evidence; ``subject`` signs.
        context: as for the subject's next version, ``previous`` its head.

    Raises:
        InputError: for a malformed content.
        VerificationError: ``subject.joining``, ``.custodian``, ``.dead``, ``.minor``, ``.incapable``, ``.delegate``,
            ``.guardians``, ``signing.*``, ``assertion.*``.
    """
    text = dict.fromkeys(("nonce", "object", "operation", "organisation", "patient", "subject"), str)
    content = members(body.content, text)
    if context.previous is None or content["operation"] != JOIN or content["organisation"] != context.own:
        refuse("subject.joining")
    record, before = context.previous
    if unhex(content["object"], HASH_BYTES) != record.key:
        refuse("subject.joining")
    if context.own not in names(before.content.get("custodians")):
        refuse("subject.custodian")
    person = record.key, capacity.read(before.content)
    alone.check_signer(body, context, f"subject/{JOIN}", person, Deed(CONSENT, widens=True))


def _check_enrolment(body: Body, subject: Subject, context: CheckContext) -> None:
    """Judge version 1."""
    able, day = subject.capacity, context.time // DAY_S
    if subject.operation is not Operation.ENROL or subject.signers or subject.recovery is not None:
        refuse("subject.operation", operation=subject.operation)
    if able.of_age is not None:
        years = context.members.policy.terms.get(MAJORITY_YEARS, 0)
        if not day < able.of_age <= day + years * _YEAR_DAYS:
            refuse("subject.of_age")
    if able.standing is not None or able.disputed:
        refuse("subject.changed", field="standing")
    if any(row.role != GUARDIAN for row in able.delegates):
        # Only the person names others, with a passkey.
        refuse("subject.delegates")
    if able.delegates and able.of_age is None:
        refuse("subject.guardian")
    if not subject.passkeys and able.of_age is not None and not able.guardians(day):
        refuse("subject.passkeys")
    evidence = signing.shown_evidence(body)
    if evidence.keys() - {"attested_by"}:
        refuse("subject.unsigned")
    if evidence or not subject.passkeys:
        signing.check_attested(body, "subject.attested")


def _check_successor(body: Body, after: Subject, context: CheckContext, shown: Body) -> None:
    """Judge a later version by what stood before."""
    before, rule = _read_before(shown, after, context), _RULES.get(after.operation)
    if rule is None:
        refuse("subject.operation", operation=after.operation)
    if before.enroller != after.enroller:
        refuse("subject.enroller", org_id=after.enroller)
    for name, value in before.to_content().items():
        if name not in rule.changes | _OF_EACH_VERSION and value != after.to_content()[name]:
            refuse("subject.changed", field=name)
    if rule.changes <= shown.content.keys() and not rule.holds(before, after):
        refuse("subject.changed", field=min(rule.changes))
    if (after.recovery is None) == (after.operation is Operation.RECOVER):
        refuse("subject.recovery")
    rule.signers(before, after, context)
    _check_evidence(body, after, context, rule)
    if after.recovery is not None:
        _check_recovery(before, after, after.recovery, context)


def _read_before(shown: Body, after: Subject, context: CheckContext) -> Subject:
    """Read the version before; of one of which a holder was shown a part, what is hidden counts as it is now.

    A custodian that was a recipient before has a part of what came before it. Passkeys, and who may sign, are in every
    part, so that signatures are checked all the same.
    """
    if context.role == HOLDER and _is_part(shown):
        return read({**after.to_content(), **shown.content})
    return read(shown.content)


def _check_evidence(body: Body, after: Subject, context: CheckContext, rule: _Rule) -> None:
    """Check the signatures of the signers, and the attestation where one is needed."""
    evidence = signing.shown_evidence(body)
    if rule.is_attested or (rule.may_be_attested and not after.signers):
        signing.check_attested(body, "subject.attested")
    elif "attested_by" in evidence:
        refuse("subject.attested")
    if not after.signers:
        if evidence.keys() - {"attested_by"}:
            refuse("subject.unsigned")
        return
    if not signing.has_assertion(body):
        refuse("subject.unsigned")
    keys = capacity.signing_keys(context, "subject", context.key, after.signers)
    signing.check_signatures(body, context, after.signed(context.key), keys)


def _check_recovery(before: Subject, after: Subject, key: bytes, context: CheckContext) -> None:
    """Check that a version carries out a recovery that has waited, and nothing else."""
    found = context.bodies.head(key)
    if found is None or found[0].kind != "recovery" or context.previous is None:
        refuse("subject.recovery")
    record, content = found[0], found[1].content
    if [(ref.key, ref.version) for ref in context.change.refs] != [(key, record.version)] or record.status != ACTIVE:
        # The ref is what lets a cancellation that is ordered first win.
        refuse("subject.recovery")
    planned = recovery.read(content)
    if (planned.subject, planned.version) != (context.key, context.previous[0].version):
        refuse("subject.recovery")
    if carried_out(before, planned) != (after.passkeys, after.capacity):
        refuse("subject.recovery")
    if context.time < context.bodies.accepted(record) + planned.wait_days * DAY_S:
        refuse("subject.waiting", days=planned.wait_days)


def carried_out(before: Subject, planned: recovery.Recovery) -> tuple[tuple[Passkey, ...], Capacity]:
    """Return passkeys and capacity after a recovery."""
    able = before.capacity
    if planned.operation == recovery.REPLACE:
        return planned.passkeys, able
    # A helper who becomes guardian has one row, whether the delegation has ended or not.
    guardians = {row.subject for row in planned.delegates}
    kept = tuple(row for row in able.delegates if row.role != GUARDIAN and row.subject not in guardians)
    return before.passkeys, Capacity((*kept, *planned.delegates), able.of_age, planned.standing, disputed=False)


class _Rule(NamedTuple):
    """What an operation may do.

    Attributes:
        changes: fields that differ afterwards, beside those of each version.
        holds: whether they differ as they should.
        signers: refuses others than those who may sign it.
        is_attested: whether two of the staff must attest it.
        may_be_attested: whether they may in place of all signatures.
    """

    changes: frozenset[str]
    holds: Callable[[Subject, Subject], bool]
    signers: Callable[[Subject, Subject, CheckContext], None]
    is_attested: bool = False
    may_be_attested: bool = False


def _by_person(before: Subject, after: Subject, context: CheckContext) -> None:
    """Let the person alone sign, able to decide."""
    if after.signers != (context.key,):
        refuse("subject.signers")
    _by(CONSENT, widens=True)(before, after, context)


def _by(may: str, *, widens: bool) -> Callable[[Subject, Subject, CheckContext], None]:
    """Let the person sign, or who represents it."""

    def judge(before: Subject, after: Subject, context: CheckContext) -> None:
        if not after.signers:
            refuse("subject.unsigned")
        person = (context.key, before.capacity)
        capacity.check_signers(context, "subject", person, after.signers, Deed(may, widens=widens))

    return judge


def _by_who_can(before: Subject, after: Subject, context: CheckContext) -> None:
    """Let the person sign, or who represents it; nobody, where that is attested of who lives and nobody can sign."""
    able = before.capacity
    if after.signers or before.passkeys or able.in_force(context.time // DAY_S) or able.state == DEAD:
        _by(CONSENT, widens=True)(before, after, context)


def _by_person_naming(before: Subject, after: Subject, context: CheckContext) -> None:
    """Let the person name somebody whose delegation is there to be stopped, and leave out who is none any more."""
    _by_person(before, after, context)
    day = context.time // DAY_S
    for row in before.capacity.delegates:
        # To a holder a stop may come after the version that heeds it; the person could end the row by itself.
        is_kept = row.role == GUARDIAN or (context.role != HOLDER and capacity.is_running(row, context.bodies, day))
        if row not in after.capacity.delegates and is_kept:
            refuse("subject.changed", field="delegates")
    _check_delegation(after.capacity.delegates[-1], context)


def _check_delegation(row: Delegate, context: CheckContext) -> None:
    """Check that a row's delegation is of this person and delegate, by the same enroller, and as long as the row."""
    found = None if row.delegation is None else context.bodies.head(row.delegation)
    if found is None or found[0].kind != "delegation" or found[0].creator != context.creator:
        refuse("subject.delegation")
    record, told = found[0], delegation.read(found[1].content)
    if not capacity.is_running(row, context.bodies, context.time // DAY_S) or record.expires != row.until:
        refuse("subject.delegation")
    if (told.subject, told.delegate, told.role) != (context.key, row.subject, row.role):
        refuse("subject.delegation")


def _by_person_or_delegate(before: Subject, after: Subject, context: CheckContext) -> None:
    """Let a delegate give up its own place; the person, any helper's or proxy's."""
    gone = next(row for row in before.capacity.delegates if row not in after.capacity.delegates)
    if after.signers == (gone.subject,):
        return
    if gone.role == GUARDIAN:
        # Who is protected does not end it, and nobody ends it for another guardian.
        refuse("subject.guardian")
    _by_person(before, after, context)


def _by_a_guardian(before: Subject, after: Subject, context: CheckContext) -> None:
    """Let any guardian sign, or none where that is attested."""
    guardians = before.capacity.guardians(context.time // DAY_S)
    if not guardians or not set(after.signers) <= guardians:
        refuse("subject.guardian")


def _by_all_guardians(before: Subject, after: Subject, context: CheckContext) -> None:
    """Have all guardians sign."""
    guardians = before.capacity.guardians(context.time // DAY_S)
    if not guardians or set(after.signers) != guardians:
        refuse("subject.guardians")


def _by_the_restored(before: Subject, after: Subject, context: CheckContext) -> None:
    """Have the person sign, of whom something was declared; or all guardians of a minor."""
    if after.signers != (context.key,):
        _by_all_guardians(before, after, context)


def _by_nobody(_before: Subject, after: Subject, _context: CheckContext) -> None:
    """Let no passkey sign."""
    if after.signers:
        refuse("subject.signers")


def _is_one_more(before: Sequence[object], after: Sequence[object]) -> bool:
    """Tell whether one was put behind the others."""
    return len(after) == len(before) + 1 and after[:-1] == before


def _is_one_fewer(before: Sequence[object], after: Sequence[object]) -> bool:
    """Tell whether one is gone, and the others as they were."""
    return len(after) == len(before) - 1 and list(after) == [row for row in before if row in after]


def _tells(before: Subject, after: Subject) -> bool:
    """Tell whether notices go elsewhere; where nobody signed that, to more, or to one fewer, and somewhere still.

    What comes and what goes are two versions then, each of which all contacts before it are told of.
    """
    if after.signers or set(before.contacts) <= set(after.contacts):
        return before.contacts != after.contacts
    return bool(after.contacts) and _is_one_fewer(before.contacts, after.contacts)


def _is_restored(before: Subject, after: Subject) -> bool:
    """Tell whether nothing stays declared, nor any guardian of who is of age."""
    was, able = before.capacity, after.capacity
    kept = was.delegates if was.of_age is not None else tuple(row for row in was.delegates if row.role != GUARDIAN)
    return was.standing is not None and able.standing is None and able.delegates == kept


def _names_one(before: Subject, after: Subject) -> bool:
    """Tell whether a helper or proxy was named; of the others, those that are over may be gone."""
    known, rows = before.capacity.delegates, after.capacity.delegates
    kept = tuple(row for row in known if row in rows)
    return bool(rows) and kept == rows[:-1] and rows[-1].role != GUARDIAN


_RULES: Final[Mapping[Operation, _Rule]] = {
    Operation.ADD_PASSKEY: _Rule(
        frozenset({"passkeys"}), lambda before, after: _is_one_more(before.passkeys, after.passkeys), _by_person
    ),
    Operation.REMOVE_PASSKEY: _Rule(
        frozenset({"passkeys"}),
        lambda before, after: _is_one_fewer(before.passkeys, after.passkeys) and bool(after.passkeys),
        _by_person,
    ),
    Operation.CHANGE_CONTACTS: _Rule(frozenset({"contacts"}), _tells, _by_who_can, may_be_attested=True),
    Operation.NAME_DELEGATE: _Rule(frozenset({"delegates"}), _names_one, _by_person_naming),
    Operation.END_DELEGATE: _Rule(
        frozenset({"delegates"}),
        lambda before, after: _is_one_fewer(before.capacity.delegates, after.capacity.delegates),
        _by_person_or_delegate,
    ),
    Operation.LINK: _Rule(
        frozenset({"custodians"}),
        lambda before, after: set(before.custodians) < set(after.custodians),
        _by(CONSENT, widens=True),
    ),
    Operation.UNLINK: _Rule(
        frozenset({"custodians"}),
        lambda before, after: set(before.custodians) > set(after.custodians),
        _by(STOP, widens=False),
    ),
    Operation.DISPUTE: _Rule(
        frozenset({"disputed"}),
        lambda before, after: after.capacity.disputed and not before.capacity.disputed,
        _by_a_guardian,
        may_be_attested=True,
    ),
    Operation.SETTLE: _Rule(
        frozenset({"disputed"}),
        lambda before, after: before.capacity.disputed and not after.capacity.disputed,
        _by_all_guardians,
    ),
    Operation.DECLARE_DEATH: _Rule(
        frozenset({"standing"}),
        lambda before, after: before.capacity.state != DEAD and after.capacity.state == DEAD,
        _by_nobody,
        is_attested=True,
    ),
    Operation.RESTORE: _Rule(frozenset({"delegates", "standing"}), _is_restored, _by_the_restored, is_attested=True),
    Operation.RECOVER: _Rule(
        frozenset({"delegates", "disputed", "passkeys", "standing"}), lambda _before, _after: True, _by_nobody
    ),
}
"""What each operation but the first may do (`docs/spec/subject.md` 1)."""


def _contact(row: Json) -> Contact:
    """Read one contact."""
    top = members(row, {"address": str, "channel": str})
    if top["channel"] not in CHANNELS:
        raise InputError("subject.contacts")
    return Contact(str(top["channel"]), short_text(top["address"]))


KIND: Final = Kind(
    name="subject",
    number=5,
    transitions=LIVING,
    check=check,
    form=check_form,
    judged_as_endorsed=True,
    max_until_s=60,
    refs=("recovery",),
    refs_optional=True,
)
"""Changed by its enroller; ended when the person leaves. A version that is refused takes all later ones with it, and
whatever the person permits: what others end while it is being ordered must not do that."""
