"""What the daemon tells of the patient as a subject: passkeys, delegates, recoveries, what was done to them. Pure.

Keeps true: a recovery that is under way is shown until it is over, whoever started it; what cannot be read is left out.
Trusts the daemon of this node for what it looked up.
Source: `docs/spec/patient-pages.md`; `docs/spec/subject.md`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256

from medchain.encoding import Json, as_list, as_number, as_objects, unbase64, unhex
from medchain.errors import InputError
from medchain.ledger.kinds.capacity import GUARDIAN
from medchain.ledger.transaction import HASH_BYTES

_NAME_DIGITS = 32


@dataclass(frozen=True, slots=True)
class Key:
    """One of the patient's passkeys.

    Attributes:
        name: by which pages and addresses call it: 32 hexadecimal digits of its hash.
        credential: its id.
        since: Unix seconds.
    """

    name: str
    credential: bytes
    since: int


@dataclass(frozen=True, slots=True)
class Recovery:
    """A recovery that is under way.

    Attributes:
        key: map key, hexadecimal.
        by: org_id of who started it.
        method: how that organisation says that it knows the person.
        operation: ``replace`` or ``guardianship``.
        announced: Unix seconds.
        takes_effect: Unix seconds from which it can be carried out.
    """

    key: str
    by: str
    method: str
    operation: str
    announced: int
    takes_effect: int


@dataclass(frozen=True, slots=True)
class Change:
    """Something that was done to the subject.

    Attributes:
        operation: as ``subject.history`` names it.
        time: Unix seconds.
        by: org_id of who made the entry.
        position: entry of the ledger.
        is_final: whether it is final.
        version: of the subject that it made; None for a recovery.
        signers: map keys of the subjects that signed it, hexadecimal.
        delegates: map keys of the delegates after it, hexadecimal.
    """

    operation: str
    time: int
    by: str
    position: int
    is_final: bool
    version: int | None
    signers: tuple[str, ...]
    delegates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Delegation:
    """That somebody may act for somebody.

    Attributes:
        person: map key of the subject for whom, 32 bytes.
        delegate: map key of the subject of who acts, 32 bytes.
        role: ``guardian``, ``helper`` or ``proxy``.
        until: last day, days since 1970-01-01 (UTC).
        may: of ``consent``, ``read``, ``stop``.
        resource_types: FHIR types of which it may permit, or ``*`` alone.
        is_in_force: whether it counts now, as the ledger says.
        since: Unix seconds since when the person's subject has it.
        key: map key of the object that ends it, hexadecimal; empty for a guardian, who has none.
        is_ended: whether it was stopped.
        is_ordered: whether the ledger has that stop.
    """

    person: bytes
    delegate: bytes
    role: str
    until: int
    may: tuple[str, ...]
    resource_types: tuple[str, ...]
    is_in_force: bool
    since: int
    key: str = ""
    is_ended: bool = False
    is_ordered: bool = False


@dataclass(frozen=True, slots=True)
class Person:
    """The patient's subject in force.

    Attributes:
        subject: its map key, 32 bytes.
        enroller: org_id of who changes it.
        custodians: org_ids that hold the patient's records.
        keys: passkeys.
        recoveries: that are under way.
        standing: ``dead``, ``incapable`` or empty.
        is_minor: whether the patient is under age.
        delegations: who may act for the patient, those that do not count now included.
        is_disputed: whether the guardians disagree: what permits more is signed by all of them then.
    """

    subject: bytes
    enroller: str
    custodians: tuple[str, ...]
    keys: tuple[Key, ...]
    recoveries: tuple[Recovery, ...]
    standing: str
    is_minor: bool = False
    delegations: tuple[Delegation, ...] = ()
    is_disputed: bool = False

    @property
    def is_able(self) -> bool:
        """Whether the patient decides alone, and may decide for others."""
        return not self.standing and not self.is_minor

    @property
    def guardians(self) -> list[bytes]:
        """Map keys of the subjects of the guardians in force, sorted."""
        return sorted(one.delegate for one in self.delegations if one.role == GUARDIAN and one.is_in_force)

    def beside(self, signer: bytes) -> list[bytes]:
        """List who must sign a permission with one who does; map keys, sorted.

        Args:
            signer: map key of the subject of who signs, 32 bytes.
        """
        others = [one for one in self.guardians if one != signer]
        return others if self.is_disputed and signer in self.guardians else []


def person_of(subject: bytes, answer: Mapping[str, Json]) -> Person:
    """Read what ``subject.show`` answered.

    Args:
        subject: map key, 32 bytes.
        answer: of the daemon.
    """
    standing = answer.get("standing")
    return Person(
        subject=subject,
        enroller=str(answer.get("enroller", "")),
        custodians=tuple(str(one) for one in as_list(answer.get("custodians"))),
        keys=tuple(_keys(answer)),
        recoveries=tuple(_recovery(one) for one in as_objects(answer.get("recoveries"))),
        standing=str(standing.get("state")) if isinstance(standing, dict) else "",
        is_minor=answer.get("minor") is True,
        delegations=tuple(_delegation(subject, one) for one in as_objects(answer.get("delegates"))),
        is_disputed=answer.get("disputed") is True,
    )


def represented_of(answer: Mapping[str, Json]) -> list[Delegation]:
    """Read what ``subject.represented`` answered: those that count now."""
    return [
        _delegation(unhex(row.get("subject"), HASH_BYTES), {**row, "in_force": True})
        for row in as_objects(answer.get("represented"))
    ]


def changes_of(answer: Mapping[str, Json]) -> list[Change]:
    """Read what ``subject.history`` answered, the newest first."""
    return [
        Change(
            operation=str(row.get("operation")),
            time=as_number(row.get("time")),
            by=str(row.get("by", "")),
            position=as_number(row.get("position")),
            is_final=row.get("final") is True,
            version=as_number(row.get("version")) or None,
            signers=tuple(str(one) for one in as_list(row.get("signers"))),
            delegates=tuple(str(one) for one in as_list(row.get("delegates"))),
        )
        for row in as_objects(answer.get("changes"))
    ]


def key_name(credential: bytes) -> str:
    """Name a passkey on pages and in addresses, without the id that its authenticator knows it by."""
    return sha256(b"medchain/passkey-name/v1\n" + credential).hexdigest()[:_NAME_DIGITS]


def _keys(answer: Mapping[str, Json]) -> Iterator[Key]:
    """Read the passkeys."""
    for row in as_objects(answer.get("passkeys")):
        try:
            credential = unbase64(row.get("credential_id"))
        except InputError:
            continue
        yield Key(key_name(credential), credential, as_number(row.get("since")))


def _delegation(person: bytes, row: Mapping[str, Json]) -> Delegation:
    """Read a delegation."""
    told, named, ended = row.get("delegate"), row.get("named"), row.get("ended")
    limits: Mapping[str, Json] = told if isinstance(told, dict) else {}
    when: Mapping[str, Json] = named if isinstance(named, dict) else {}
    return Delegation(
        person=person,
        delegate=unhex(limits.get("subject"), HASH_BYTES),
        role=str(limits.get("role")),
        until=as_number(limits.get("until")),
        may=tuple(str(one) for one in as_list(limits.get("may"))),
        resource_types=tuple(str(one) for one in as_list(limits.get("resource_types"))),
        is_in_force=row.get("in_force") is True,
        since=as_number(when.get("time")),
        key=str(limits.get("delegation") or ""),
        is_ended=isinstance(ended, dict),
        is_ordered=isinstance(ended, dict) and ended.get("position") is not None,
    )


def _recovery(row: Mapping[str, Json]) -> Recovery:
    """Read a recovery."""
    return Recovery(
        key=str(row.get("key")),
        by=str(row.get("by")),
        method=str(row.get("method")),
        operation=str(row.get("operation")),
        announced=as_number(row.get("announced")),
        takes_effect=as_number(row.get("carry_out_from")),
    )
