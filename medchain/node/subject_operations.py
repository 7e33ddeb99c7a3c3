"""Subjects and recoveries as local operations: what pages and the command line ask the daemon for.

Keeps true: each operation reads its document strictly; what lets a holder stop a recovery (`stop`) is not shown. Trusts
the local channel for who calls, and its caller for who is signed in.
Source: `docs/spec/subject.md`, `docs/spec/node-protocol.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from medchain.encoding import Json, base64_text, members, unbase64, unhex
from medchain.errors import InputError, NotFoundError
from medchain.ledger.kinds import capacity
from medchain.ledger.kinds import recovery as recoveries
from medchain.ledger.kinds.capacity import Delegate
from medchain.ledger.kinds.content import DAY_S, names
from medchain.ledger.kinds.passkeys import read_passkeys
from medchain.ledger.kinds.subject import Contact, Operation, read_contacts
from medchain.ledger.object import ACTIVE, STOPPED, Body, StateRecord, in_force
from medchain.ledger.transaction import HASH_BYTES
from medchain.node.drafts import Assertion, ToSign
from medchain.node.ledger_node import LedgerNode
from medchain.node.policy_terms import TERMS
from medchain.node.subject_changes import SubjectChanges
from medchain.node.subjects import Credential
from medchain.node.submit import Submitted

OPEN_RECOVERIES: Final = "recovery.list"
"""Local operation: which recoveries are under way, of whomever this node holds."""

_CREDENTIAL: Final = {"credential_id": str, "public_key": str}
_ASSERTION: Final = dict.fromkeys(("authenticator_data", "client_data_json", "credential_id", "signature"), str)


class SubjectOperations:
    """The operations of one node. Threads may share it."""

    __slots__ = ("_changes", "_side")

    def __init__(self, changes: SubjectChanges, side: LedgerNode) -> None:
        """Prepare.

        Args:
            changes: makes drafts and submits them.
            side: ledger, bodies and stops of the node.
        """
        self._changes = changes
        self._side = side

    def operations(self) -> dict[str, Callable[[Json], Json]]:
        """Return the local operations."""
        return {
            "delegation.draft-end": self._draft_end,
            "delegation.end": self._end,
            "recovery.announce": self._announce,
            "recovery.cancel": self._cancel,
            "recovery.carry-out": self._carry_out,
            "recovery.draft-cancel": self._draft_cancel,
            TERMS: self._terms,
            OPEN_RECOVERIES: self._open_recoveries,
            "subject.attest-contacts": self._attest_contacts,
            "subject.change": self._change,
            "subject.declare-death": self._declare_death,
            "subject.declare-dispute": self._declare_dispute,
            "subject.draft": self._draft,
            "subject.draft-join": self._draft_join,
            "subject.find": self._find,
            "subject.history": self._history,
            "subject.join": self._join,
            "subject.represented": self._represented,
            "subject.show": self._show,
        }

    def _terms(self, _document: Json) -> Json:
        """Give the terms of the policy in force."""
        return dict(self._side.replica.members.policy.terms)

    def _draft(self, document: Json) -> Json:
        """Draft a change: ``{"operation","subject"}`` and what the operation needs."""
        optional = {"contacts": list, "credential": dict, "credential_id": str, "custodians": list}
        optional |= {"delegate": dict, "represented_by": str, "signers": list}
        top = members(document, {"operation": str, "subject": str}, optional)
        subject, changes = unhex(top["subject"], HASH_BYTES), self._changes
        signers = _keys(top["signers"]) if "signers" in top else None
        match top["operation"]:
            case Operation.ADD_PASSKEY:
                draft = changes.draft_passkey(subject, credential(_given(top, "credential")))
            case Operation.REMOVE_PASSKEY:
                draft = changes.draft_without_passkey(subject, unbase64(_given(top, "credential_id")))
            case Operation.CHANGE_CONTACTS:
                draft = changes.draft_contacts(subject, contacts(_given(top, "contacts")), signers)
            case Operation.NAME_DELEGATE:
                draft = changes.draft_delegate(subject, delegate(_given(top, "delegate")))
            case Operation.END_DELEGATE:
                draft = changes.draft_without_delegate(
                    subject, unhex(_given(top, "represented_by"), HASH_BYTES), signers
                )
            case Operation.LINK | Operation.UNLINK:
                draft = changes.draft_custodians(subject, names(_given(top, "custodians")), signers)
            case Operation.DISPUTE:
                draft = changes.draft_dispute(subject, _keys(_given(top, "signers"))[0])
            case Operation.SETTLE:
                draft = changes.draft_settlement(subject)
            case Operation.RESTORE:
                draft = changes.draft_restoration(subject, signers)
            case _:
                raise InputError("subject.operation")
        return draft_json(draft)

    def _change(self, document: Json) -> Json:
        """Submit a change that was signed."""
        top = members(document, {"assertions": list, "draft": str}, {"staff": list})
        rows = top["assertions"] if isinstance(top["assertions"], list) else []
        staff = names(top["staff"]) if "staff" in top else ()
        return placed(self._changes.give(read_draft(top["draft"]), [read_assertion(row) for row in rows], staff))

    def _declare_death(self, document: Json) -> Json:
        """Declare a death."""
        top = members(document, {"method": str, "staff": list, "subject": str})
        subject = unhex(top["subject"], HASH_BYTES)
        return placed(self._changes.declare_death(subject, str(top["method"]), names(top["staff"])))

    def _declare_dispute(self, document: Json) -> Json:
        """Declare that guardians disagree."""
        top = members(document, {"staff": list, "subject": str})
        return placed(self._changes.declare_dispute(unhex(top["subject"], HASH_BYTES), names(top["staff"])))

    def _attest_contacts(self, document: Json) -> Json:
        """Say where notices of somebody go who has no passkey."""
        top = members(document, {"contacts": list, "staff": list, "subject": str})
        subject, named = unhex(top["subject"], HASH_BYTES), contacts(top["contacts"])
        return placed(self._changes.attest_contacts(subject, named, names(top["staff"])))

    def _announce(self, document: Json) -> Json:
        """Announce a recovery: ``credentials``, or ``guardians`` and whether the person is ``incapable``."""
        optional = {"credentials": list, "guardians": list, "incapable": bool}
        top = members(document, {"method": str, "staff": list, "subject": str}, optional)
        subject, method, staff = unhex(top["subject"], HASH_BYTES), str(top["method"]), names(top["staff"])
        credentials, guardians = top.get("credentials"), top.get("guardians")
        if isinstance(credentials, list) and guardians is None and "incapable" not in top:
            rows = [credential(row) for row in credentials]
            return placed(self._changes.announce_passkeys(subject, rows, method, staff))
        if isinstance(guardians, list) and credentials is None:
            incapable = top.get("incapable") is True
            guards = [delegate(row) for row in guardians]
            return placed(self._changes.announce_guardians(subject, guards, method, staff, incapable=incapable))
        raise InputError("recovery.operation")

    def _carry_out(self, document: Json) -> Json:
        """Carry out a recovery."""
        return placed(self._changes.carry_out(_key(document, "recovery")))

    def _draft_cancel(self, document: Json) -> Json:
        """Draft the cancellation of a recovery."""
        top = members(document, {"recovery": str}, {"signer": str})
        return draft_json(self._changes.draft_cancellation(unhex(top["recovery"], HASH_BYTES), _signer(top)))

    def _cancel(self, document: Json) -> Json:
        """Cancel a recovery with the person's signature."""
        top = members(document, {"assertion": dict, "draft": str})
        draft = read_draft(top["draft"])
        self._changes.stop(draft, read_assertion(top["assertion"]))
        return {"object": draft.object.hex(), "stopped": True}

    def _draft_end(self, document: Json) -> Json:
        """Draft the end of a delegation: ``{"delegation","signer"}``."""
        top = members(document, {"delegation": str, "signer": str})
        delegation, signer = (unhex(top[name], HASH_BYTES) for name in ("delegation", "signer"))
        return draft_json(self._changes.draft_ending(delegation, signer))

    def _end(self, document: Json) -> Json:
        """End a delegation with a signature: ``{"assertion","draft"}``."""
        top = members(document, {"assertion": dict, "draft": str})
        draft = read_draft(top["draft"])
        self._changes.stop(draft, read_assertion(top["assertion"]))
        return {"object": draft.object.hex(), "stopped": True}

    def _draft_join(self, document: Json) -> Json:
        """Draft that a subject is a patient of this node."""
        top = members(document, {"patient": str, "subject": str}, {"signer": str})
        subject = unhex(top["subject"], HASH_BYTES)
        return draft_json(self._changes.draft_joining(subject, str(top["patient"]), _signer(top)))

    def _join(self, document: Json) -> Json:
        """Join a subject to a patient of this node."""
        top = members(document, {"assertion": dict, "draft": str, "patient": str})
        self._changes.join(read_draft(top["draft"]), str(top["patient"]), read_assertion(top["assertion"]))
        return {"linked": True}

    def _find(self, document: Json) -> Json:
        """Tell whose a passkey is: the subjects in force that have it now."""
        wanted = unbase64(members(document, {"credential_id": str})["credential_id"])
        found: list[Json] = []
        for key in self._side.shelf.index.holders(wanted):
            head = self._head(key)
            if head is not None and any(row.credential_id == wanted for row in read_passkeys(head[1].content)):
                found.append(key.hex())
        return {"subjects": found}

    def _represented(self, document: Json) -> Json:
        """Tell for whom a subject may act now, and what."""
        own, day = _key(document, "subject"), self._side.judge.clock() // DAY_S
        rows: list[Json] = []
        for key in self._side.shelf.index.represented(own):
            head = self._head(key)
            row = None if head is None else capacity.read(head[1].content).in_force(day).get(own)
            if row is not None and head is not None and capacity.is_running(row, self._side.shelf, day):
                rows.append({"delegate": row.to_json(), "named": self._named(head[0], row), "subject": key.hex()})
        return {"represented": rows}

    def _show(self, document: Json) -> Json:
        """Tell what is known of a subject: passkeys, delegates, custodians, contacts, standing, open recoveries."""
        key = _key(document, "subject")
        head = self._head(key)
        if head is None:
            raise NotFoundError("subject.unknown")
        record, content = head[0], head[1].content
        able, day = capacity.read(content), self._side.judge.clock() // DAY_S
        counted = {name for name, row in able.in_force(day).items() if capacity.is_running(row, self._side.shelf, day)}
        delegates: list[Json] = [
            {
                "delegate": row.to_json(),
                "ended": self._ended(row),
                "in_force": row.subject in counted,
                "named": self._named(record, row),
            }
            for row in able.delegates
        ]
        passkeys: list[Json] = [
            {"credential_id": base64_text(row.credential_id), "since": row.since} for row in read_passkeys(content)
        ]
        standing = None if able.standing is None else able.standing.to_json()
        rows = [row.to_json() for row in read_contacts_or_none(content)]
        open_recoveries: list[Json] = [
            row for one in self._side.shelf.index.recoveries(key) if (row := self._recovery(one, key)) is not None
        ]
        return {
            "contacts": [*rows],
            "custodians": content.get("custodians"),
            "delegates": delegates,
            "disputed": able.disputed,
            "enroller": record.creator,
            "minor": able.is_minor(day),
            "of_age": able.of_age,
            "passkeys": passkeys,
            "recoveries": open_recoveries,
            "standing": standing,
            "version": record.version,
        }

    def _history(self, document: Json) -> Json:
        """Tell what was done to a subject, recoveries included, the newest first; versions without a body are left out.

        Each row: ``by``, ``final``, ``operation``, ``position``, ``time``; of a version also ``delegates`` (map keys),
        ``signers`` and ``version``. Operations are those of `docs/spec/subject.md` 1, ``recovery.replace``,
        ``recovery.guardianship``, ``recovery.stopped``, and ``delegation.stopped``.
        """
        key = _key(document, "subject")
        head, shelf = self._side.replica.store.record(key), self._side.shelf
        if head is None or head.kind != "subject":
            raise NotFoundError("subject.unknown")
        rows: list[dict[str, Json]] = []
        delegations: set[bytes] = set()
        for version in range(1, head.version + 1):
            record, body = self._side.replica.store.version(key, version), shelf.at(key, version)
            if record is None or body is None or body.body_hash != record.body_hash:
                continue
            content = body.content
            named: list[Json] = [row.subject.hex() for row in capacity.read_delegates(content)]
            told = {"delegates": named, "signers": content.get("signers"), "version": version}
            rows.append({**self._done(record), "operation": content.get("operation"), **told})
            delegations |= {row.delegation for row in capacity.read_delegates(content) if row.delegation is not None}
        for one in shelf.index.recoveries(key):
            rows += self._recovery_history(one)
        rows += [row for one in delegations for row in self._delegation_history(one)]
        return {"changes": [*sorted(rows, key=lambda row: -int(str(row["position"])))]}

    def _recovery_history(self, key: bytes) -> Iterator[dict[str, Json]]:
        """Tell that a recovery was announced, and that it was stopped."""
        first, head = self._side.replica.store.version(key, 1), self._side.replica.store.record(key)
        body = self._side.shelf.at(key, 1)
        if first is None or head is None or body is None or body.body_hash != first.body_hash:
            return
        yield {**self._done(first), "operation": f"recovery.{recoveries.read(body.content).operation}"}
        if head.status == STOPPED:
            ending = self._side.stops.ending(key)
            by = head.creator if ending is None else ending.by
            yield {**self._done(head), "by": by, "operation": "recovery.stopped"}

    def _delegation_history(self, key: bytes) -> Iterator[dict[str, Json]]:
        """Tell that a delegation was stopped."""
        head = self._side.replica.store.record(key)
        if head is not None and head.status == STOPPED:
            ending = self._side.stops.ending(key)
            by = head.creator if ending is None else ending.by
            yield {**self._done(head), "by": by, "operation": "delegation.stopped"}

    def _done(self, record: StateRecord) -> dict[str, Json]:
        """Tell by whom and when a version was made, and where it stands."""
        final = self._side.replica.store.final()
        return {
            "by": record.creator,
            "final": final is not None and record.since < final.size,
            "position": record.since,
            "time": self._side.shelf.accepted(record),
        }

    def _recovery(self, key: bytes, subject: bytes) -> Json:
        """Tell a recovery that is open; None for one that is over or void."""
        found, head = self._side.shelf.head(key), self._side.replica.store.record(subject)
        if found is None or head is None or found[0].status != ACTIVE or self._side.stops.is_stopped(key):
            return None
        record, planned = found[0], recoveries.read(found[1].content)
        if planned.subject != subject or planned.version != head.version:
            return None
        since = self._side.shelf.accepted(record)
        if not in_force(record, self._side.judge.clock() // DAY_S):
            return None
        return {
            "announced": since,
            "by": record.creator,
            "carry_out_from": since + planned.wait_days * DAY_S,
            "key": key.hex(),
            "last_day": planned.last_day,
            "method": planned.method,
            "operation": planned.operation,
        }

    def _open_recoveries(self, document: Json) -> Json:
        """Tell all recoveries that are open, those that can be carried out first at the top."""
        members(document, {})
        index, rows = self._side.shelf.index, list[dict[str, Json]]()
        for subject in index.recovered():
            for key in index.recoveries(subject):
                told, found = self._recovery(key, subject), self._side.shelf.head(key)
                if isinstance(told, dict) and found is not None:
                    planned = recoveries.read(found[1].content)
                    whose: dict[str, Json] = {"custodians": [*planned.custodians], "enroller": planned.enroller}
                    rows.append({**told, **whose, "subject": subject.hex()})
        return {"recoveries": [*sorted(rows, key=lambda row: (int(str(row["carry_out_from"])), str(row["key"])))]}

    def _ended(self, row: Delegate) -> Json:
        """Tell how a delegation was stopped, one of which this node has only heard included; None for one that runs."""
        if row.delegation is None or not self._side.stops.is_stopped(row.delegation):
            return None
        ending = self._side.stops.ending(row.delegation)
        return None if ending is None else ending.to_json()

    def _named(self, head: StateRecord, row: Delegate) -> Json:
        """Tell since which version of a subject it has had a delegate without a break, and the time of that."""
        named = head
        for version in range(head.version - 1, 0, -1):
            record = self._side.replica.store.version(head.key, version)
            body = self._side.shelf.at(head.key, version)
            if record is None or body is None or body.body_hash != record.body_hash:
                break
            if row not in capacity.read_delegates(body.content):
                break
            named = record
        return {"time": self._side.shelf.accepted(named), "version": named.version}

    def _head(self, key: bytes) -> tuple[StateRecord, Body] | None:
        """Return a subject that is in force."""
        found = self._side.shelf.head(key)
        day = self._side.judge.clock() // DAY_S
        return found if found is not None and found[0].kind == "subject" and in_force(found[0], day) else None


def placed(done: Submitted) -> Json:
    """Write what is final."""
    return {
        "endorser": done.endorser,
        "final_size": done.final_size,
        "key": done.key.hex(),
        "position": done.record.since,
        "rank": done.rank,
        "version": done.record.version,
    }


def draft_json(draft: ToSign) -> Json:
    """Write a draft: what the passkeys sign, what it is of, and the draft to come back with the answers."""
    return {
        "challenge": draft.challenge.hex(),
        "challenges": [row.hex() for row in draft.challenges],
        "draft": base64_text(draft.encode()),
        "object": draft.object.hex(),
        "version": draft.version,
    }


def read_draft(value: Json) -> ToSign:
    """Read a draft that came back."""
    return ToSign.decode(unbase64(value))


def read_assertion(value: Json) -> Assertion:
    """Read a passkey's answer; raises `InputError` ``encoding.*``."""
    answer = members(value, _ASSERTION)
    return Assertion(
        unbase64(answer["credential_id"]),
        unbase64(answer["client_data_json"]),
        unbase64(answer["authenticator_data"]),
        unbase64(answer["signature"]),
    )


def credential(value: Json) -> Credential:
    """Read a passkey as the browser registered it; raises `InputError` ``encoding.*``."""
    row = members(value, _CREDENTIAL)
    return Credential(unbase64(row["credential_id"]), unbase64(row["public_key"]))


def contacts(value: Json) -> tuple[Contact, ...]:
    """Read contacts; raises `InputError` ``subject.contacts``."""
    return read_contacts({"contacts": value})


def delegate(value: Json) -> Delegate:
    """Read who is to act, and within what; raises `InputError` ``subject.delegates``, ``encoding.*``."""
    return capacity.read_limits(value)


def read_contacts_or_none(content: Mapping[str, Json]) -> tuple[Contact, ...]:
    """Read contacts where they are shown to this organisation."""
    return read_contacts(content) if "contacts" in content else ()


def _given(top: Mapping[str, Json], name: str) -> Json:
    """Return a member that the operation needs."""
    if name not in top:
        raise InputError("encoding.members", member=name)
    return top[name]


def _key(document: Json, name: str) -> bytes:
    """Read a document that is one map key."""
    return unhex(members(document, {name: str})[name], HASH_BYTES)


def _keys(value: Json) -> tuple[bytes, ...]:
    """Read map keys, at least one."""
    if type(value) is not list or not value:
        raise InputError("encoding.members", member="signers")
    return tuple(unhex(row, HASH_BYTES) for row in value)


def _signer(top: Mapping[str, Json]) -> bytes | None:
    """Read who represents the person, None for the person."""
    return unhex(top["signer"], HASH_BYTES) if "signer" in top else None
