"""Writing one record: create, update, delete, with and without conditions.

Data flow: parse → type → references → identity → validate → seal and store in one transaction → answer what was stored,
which nobody needs to open again. Keeps true: a version is stored once, after the one that the client has seen where it
says which; of two writers at once neither is lost: with If-Match the second is refused, without it both versions are
stored, one after the other. Trusts `RecordService` for atomic writes.
Source: FHIR R4 §3.1.0.4 (update), §3.1.0.7 (delete), §3.1.0.8 (create); RFC 7240.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final, TypeVar
from urllib.parse import urlencode

from fhir_bridge import binary, resources
from fhir_bridge.bundle import make_record
from fhir_bridge.change import JSON_PATCH, apply_json_patch, parse_json_patch
from fhir_bridge.document import Resource, parse, write
from fhir_bridge.etags import NONE, names
from fhir_bridge.fhirpath.patch import apply_fhirpath_patch
from fhir_bridge.labelling import Label
from fhir_bridge.outcome import report
from fhir_bridge.references import Own, Resolver, Wanted, is_drawn, parse_condition, random_id, rewrite, with_identity
from fhir_bridge.rest.again import rounds
from fhir_bridge.rest.ask import FHIR_JSON, Ask, Reply
from fhir_bridge.rest.attachments import check_attachments
from fhir_bridge.rest.core import Core
from fhir_bridge.rest.negotiate import Format, Returned, media_type, sent_format
from fhir_bridge.rest.read import headers_of, shown
from fhir_bridge.rest.shape import part
from fhir_bridge.rest.targets import check_targets
from fhir_bridge.smart.scopes import Action
from fhir_bridge.subset import check_whole
from fhir_bridge.whose import named_patient
from medchain.errors import ConflictError, InputError, NotFoundError, UnavailableError
from medchain.node.records import NewRecord
from medchain.node.telling import about_in
from medchain.store.finding import Known
from medchain.store.records import RecordVersion
from medchain.store.steps import ONLY_THREAD, Steps

SHAPING: Final = frozenset({"_elements", "_format", "_pretty", "_summary"})
"""Parameters that are no part of a condition."""

STORED: Final = ("已保存。", "Stored.")
"""What is said of what was stored, in Chinese and in English."""

PRESENT: Final = ("已有符合条件的资源，未新建。", "A resource that fulfils the condition is there; none was created.")
"""Likewise, of a create whose condition was fulfilled."""

DELETED: Final = ("已删除；历史版本仍在。", "Deleted; the history is kept.")
"""Likewise, of a deletion."""

_POLL_S: Final = 0.05
_Result = TypeVar("_Result")


def create(core: Core, ask: Ask) -> Steps[Reply]:
    """Store a new record, unless a condition finds one that is there."""
    resource = ask.resource()
    resources.check_type(resource, ask.type)
    resolver = core.resolver(ask.who)
    condition = _create_condition(ask)
    # The same for the same identifier. Mostly nobody has it, so it is not looked up before.
    chosen = resolver.derived_id(ask.type, resource) or random_id()

    def attempt() -> Steps[Reply]:
        nonlocal chosen
        there = None if condition is None else resolver.find(parse_condition(ask.type, condition))
        if there is not None:
            return _present(core, ask, there)
        record_id, chosen = chosen, random_id()
        return (yield from _store(core, ask, resolver, resource, record_id, None))

    # Of two creates with one identifier at once both are stored, unless a condition says otherwise.
    return persistently(ask, attempt, resolver)


def update(core: Core, ask: Ask) -> Steps[Reply]:
    """Store the next version of a record, or its first."""
    resource = ask.resource()
    resources.check_type(resource, ask.type)
    if resources.ID_PATTERN.fullmatch(ask.id) is None or resource.get("id") != ask.id:
        raise InputError("resource.id", at=f"{ask.type}.id")
    resolver = core.resolver(ask.who)
    return persistently(ask, lambda: _follow(core, ask, resource, ask.id, resolver), resolver)


def update_where(core: Core, ask: Ask) -> Steps[Reply]:
    """Store the next version of the record that a condition finds, or a first one where it finds none (§3.1.0.4.3)."""
    resource = ask.resource()
    resources.check_type(resource, ask.type)
    resolver = core.resolver(ask.who)
    wanted = parse_condition(ask.type, condition_of(ask))
    given = resource.get("id")

    def attempt() -> Steps[Reply]:
        there = resolver.find(wanted)
        if given is not None and (not isinstance(given, str) or resources.ID_PATTERN.fullmatch(given) is None):
            raise InputError("resource.id", at=f"{ask.type}.id")
        if there is None and given is None:
            check_match(ask, None)
            return (yield from _store(core, ask, resolver, resource, resolver.new_id(ask.type, resource, set()), None))
        if there is not None and given not in (None, there):
            raise InputError("resource.id", at=f"{ask.type}.id")
        return (yield from _follow(core, ask, resource, str(there if given is None else given), resolver, wanted))

    # Of two at once that find nothing, the second finds what the first has stored, and changes it.
    return persistently(ask, attempt, resolver)


def patch(core: Core, ask: Ask) -> Steps[Reply]:
    """Store what a patch makes of the newest version (§3.1.0.6)."""
    return changed(core, ask, _change(ask))


def patch_where(core: Core, ask: Ask) -> Steps[Reply]:
    """Patch the record that a condition finds."""
    return changed(core, ask, _change(ask), parse_condition(ask.type, condition_of(ask)))


def delete(core: Core, ask: Ask) -> Steps[Reply]:
    """Store an empty version, after which the record is gone and its history stays (§3.1.0.7)."""
    return _delete(core, ask)


def delete_where(core: Core, ask: Ask) -> Steps[Reply]:
    """Delete the record that a condition finds (§3.1.0.7.1)."""
    return _delete(core, ask, parse_condition(ask.type, condition_of(ask)))


def create_binary(core: Core, ask: Ask) -> Reply:
    """Store a new Binary, whatever its size, unless the condition in If-None-Exist finds one."""
    resolver, condition = core.resolver(ask.who), _create_condition(ask)
    there = None if condition is None else resolver.find(parse_condition(ask.type, condition))
    if there is not None:
        return _present(core, ask, there)
    return _put_binary(core, ask, random_id(), None, resolver)


def update_binary(core: Core, ask: Ask) -> Reply:
    """Store the next version of a Binary, or its first."""
    if resources.ID_PATTERN.fullmatch(ask.id) is None:
        raise InputError("resource.id")
    return _follow_binary(core, ask, ask.id, core.resolver(ask.who))


def update_binary_where(core: Core, ask: Ask) -> Reply:
    """Store the next version of the Binary that a condition finds, or a new one where it finds none (§3.1.0.4.3).

    A new one is under an id of the server's: that of a resource would stand in a body which may be of any size.
    """
    resolver = core.resolver(ask.who)
    there = resolver.find(parse_condition(binary.TYPE, condition_of(ask)))
    if there is not None:
        return _follow_binary(core, ask, there, resolver)
    check_match(ask, None)
    return _put_binary(core, ask, random_id(), None, resolver)


def _create_condition(ask: Ask) -> str | None:
    """Read If-None-Exist (§3.1.0.8.1), or what fhirpy has in the address instead."""
    condition = ask.header("If-None-Exist")
    return (condition_of(ask) or None) if condition is None else condition


def condition_of(ask: Ask) -> str:
    """Return the condition in a query, without what shapes the answer."""
    if not any(name in SHAPING for name, _ in ask.pairs):
        return ask.query
    return urlencode([(name, value) for name, value in ask.pairs if name not in SHAPING])


def check_match(ask: Ask, newest: RecordVersion | None, *, is_deleted: bool = False) -> None:
    """Compare If-Match and If-None-Match with the newest version.

    Raises:
        InputError: ``request.etag`` for what is no entity tag, whatever there is.
        ConflictError: ``record.version``.
    """
    version = NONE if newest is None else newest.version
    wanted, unwanted = ask.header("If-Match"), ask.header("If-None-Match")
    if wanted is not None and not (names(wanted, version) and newest is not None):
        raise ConflictError("record.version")
    if unwanted is not None and names(unwanted, version) and newest is not None and not is_deleted:
        raise ConflictError("record.version")


def check_replaced(core: Core, ask: Ask, action: Action, newest: RecordVersion | None) -> None:
    """See that the newest version is one that the caller may replace, before a condition tells anything of it.

    Who may not write all of a type cannot choose the id of a new record either: that an id is taken would show.

    Raises:
        ConflictError: ``record.version`` as for what is not there.
        NotFoundError: ``record.unknown``.
    """
    if newest is None:
        is_free = core.gate.require(ask.who, ask.type, action).is_whole
    else:
        is_free = core.gate.may_replace(ask.who, action, newest)
    if not is_free:
        if newest is not None:
            # Of whose record it was, the audit tells, and the answer does not.
            ask.trail.numbers.append(newest.seq)
        check_match(ask, None)
        raise NotFoundError("record.unknown")


def _check_chosen(ask: Ask, record_id: str, newest: RecordVersion | None) -> None:
    """See that a client chooses no id of the form that this node gives; raises as `check_replaced`.

    Such an id, of which there is no record, looks as one of a record that is kept back.
    """
    if newest is None and is_drawn(record_id):
        check_match(ask, None)
        raise NotFoundError("record.unknown")


def written(  # what was written
    core: Core, ask: Ask, stored: RecordVersion, resource: Resource | None, content: bytes, status: int
) -> Reply:
    """Answer what was just stored, waiting for its anchor where the client asks for it.

    Args:
        core: of the server.
        ask: the request.
        stored: the version.
        resource: as it was checked, for warnings; None for none.
        content: its bytes; empty for what is not sent back unasked: an OperationOutcome comes in place of it.
        status: 200 or 201.
    """
    ask.trail.numbers.append(stored.seq)
    headers = headers_of(core, awaited(core, ask, stored))
    headers["Location"] = location(core, stored)
    returned = ask.preference.returned
    if returned is Returned.MINIMAL:
        return Reply(status, b"", headers, "")
    if returned is Returned.OUTCOME or not content:
        warnings = resources.warnings(resource) if resource is not None else []
        return Reply(status, write(report(warnings, ask.language, STORED)), headers)
    return Reply(status, part(ask, content), headers)


def location(core: Core, stored: RecordVersion) -> str:
    """Tell where a version is (§3.1.0.8: ``Location: [base]/[type]/[id]/_history/[vid]``)."""
    return f"{core.base_url}/{stored.type}/{stored.id}/_history/{stored.version}"


def awaited(core: Core, ask: Ask, stored: RecordVersion) -> RecordVersion:
    """Wait until a version is final, for as long as the client wants and we allow; returns it as it is then."""
    patience = ask.preference.wait_s
    if patience is None or not core.waiting.acquire(blocking=False):
        return stored
    try:
        deadline = time.monotonic() + patience
        while True:
            now = core.reader.find(stored.type, stored.id, stored.version)
            position = None if now is None else now.stored.position
            if now is not None and core.anchored(position).startswith("final"):
                return now.stored
            if time.monotonic() >= deadline:
                return stored if now is None else now.stored
            time.sleep(_POLL_S)
    finally:
        core.waiting.release()


def persistently(ask: Ask, attempt: Callable[[], Steps[_Result]], resolver: Resolver) -> Steps[_Result]:
    """Do something on the newest version again where another writer came first, unless the client named a version.

    Args:
        ask: the request.
        attempt: does it.
        resolver: what it asks, and asks anew the next time.

    Raises:
        ConflictError: ``record.version`` where the client named one, ``store.conflict`` where others come first all
            the time.
    """
    names_version = any(ask.header(name) is not None for name in ("If-Match", "If-None-Match"))
    for is_last in rounds():
        try:
            return (yield from attempt())
        except ConflictError as error:
            if error.code not in ("record.version", "store.conflict"):
                raise
            if names_version:
                raise ConflictError("record.version") from error
            if is_last:
                break
            resolver.forget()
        # Before the next one is a pause.
        yield ONLY_THREAD
    raise ConflictError("store.conflict")


def _follow(  # what decides about the version before
    core: Core, ask: Ask, resource: Resource, record_id: str, resolver: Resolver, wanted: Wanted | None = None
) -> Steps[Reply]:
    """Store the version after the one that is the newest now; what is there must fulfil the condition, if there is one.

    An update by a condition that nothing fulfils is an update as create (§3.1.0.4.3), which is of an id that nothing
    has (R5 says so, and 409): it would overwrite a record that the client does not mean.
    """
    newest = core.store.get(ask.type, record_id)
    check_replaced(core, ask, Action.UPDATE, newest)
    _check_chosen(ask, record_id, newest)
    is_deleted = newest is not None and core.service.is_deleted(newest)
    # What another writer has stored since it was looked for may fulfil the condition by now.
    if wanted is not None and newest is not None and not is_deleted and resolver.find(wanted) != record_id:
        raise ConflictError("record.taken")
    check_match(ask, newest, is_deleted=is_deleted)
    return _store(core, ask, resolver, resource, record_id, newest, is_new=newest is None or is_deleted)


def changed(
    core: Core,
    ask: Ask,
    change: Callable[[Resource], Resource],
    wanted: Wanted | None = None,
    taken: Sequence[Label] = (),
) -> Steps[Reply]:
    """Store what a change makes of the newest version of a record.

    Args:
        core: of the server.
        ask: the request.
        change: makes the resource anew; what it raises is raised here, and nothing is stored.
        wanted: what the record fulfils; None for the one that the address names.
        taken: labels that it takes back.
    """
    resolver = core.resolver(ask.who)

    def attempt() -> Steps[Reply]:
        record_id = ask.id if wanted is None else resolver.find(wanted)
        it = None if record_id is None else core.reader.find(ask.type, record_id)
        if record_id is None or it is None or it.stored.head is not None:
            raise NotFoundError("record.unknown")
        core.gate.require_shown(ask.who, it.stored)
        check_match(ask, it.stored)
        content = core.content(it)
        if not content:
            raise NotFoundError("record.deleted", version=it.stored.version)
        made = change(parse(content))
        return (yield from _store(core, ask, resolver, made, record_id, it.stored, is_new=False, taken=taken))

    return persistently(ask, attempt, resolver)


def _change(ask: Ask) -> Callable[[Resource], Resource]:
    """Read a patch."""
    if media_type(ask.content_type) == JSON_PATCH:
        rows = parse_json_patch(ask.body())
        return lambda resource: apply_json_patch(resource, rows)
    given = ask.resource()
    return lambda resource: apply_fhirpath_patch(resource, given)


def _store(  # what a version is made of
    core: Core,
    ask: Ask,
    resolver: Resolver,
    resource: Resource,
    record_id: str,
    before: RecordVersion | None,
    *,
    is_new: bool = True,
    taken: Sequence[Label] = (),
) -> Steps[Reply]:
    """Check a resource, store it as the version after the newest, and answer it."""
    newest = 0 if before is None else before.version

    rewrite(resource, {}, Own(), resolver)
    had = None if before is None else core.labeller.newest(ask.type, record_id)
    check_whole(resource, had)
    made = core.labeller.labelled(with_identity(resource, record_id, newest + 1, core.clock()), had, taken=taken)
    record = make_record(
        ask.type,
        record_id,
        newest + 1,
        made,
        core.mode,
        whose=lambda: named_patient(ask.type, resource, Own(), resolver),
    )
    _check_right(core, ask, before, resource, record_id)
    check_attachments(core, ask.who, resource, {})
    check_targets(core, ask, resource, had)
    stored = yield from _commit(core, record, resolver.known)
    return written(core, ask, stored, resource, record.content, 201 if is_new else 200)


def _check_right(core: Core, ask: Ask, before: RecordVersion | None, resource: Resource, record_id: str) -> None:
    """See that the caller may write this record, where it may not write all of its type."""
    action = Action.CREATE if ask.method == "POST" and before is None else Action.UPDATE
    core.gate.require_written(ask.who, action, before, {**resource, "id": record_id}, ask.type)


def _commit(core: Core, record: NewRecord, known: Sequence[Known]) -> Steps[RecordVersion]:
    """Store one version if what is known is still so; raises `ConflictError` ``record.version`` for both."""
    try:
        return (yield from core.service.creating_many([record], known=known))[0]
    except ConflictError as error:
        raise ConflictError("record.version") from error


def _present(core: Core, ask: Ask, record_id: str) -> Reply:
    """Answer the record that a condition found in place of a new one: a read, to the audit and its patient as well."""
    ask.trail.interaction = "read"
    there = core.reader.find(ask.type, record_id)
    if there is None:
        raise UnavailableError("record.lost")
    core.gate.require_shown(ask.who, there.stored)
    reply = shown(core, ask, there)
    reply.headers["Location"] = location(core, there.stored)
    if ask.preference.returned is Returned.MINIMAL:
        reply.body, reply.content_type = b"", ""
    elif ask.preference.returned is Returned.OUTCOME:
        reply.body, reply.content_type = write(report((), ask.language, PRESENT)), FHIR_JSON
    return reply


def _delete(core: Core, ask: Ask, wanted: Wanted | None = None) -> Steps[Reply]:
    """Delete a record; one that is not there, or not any more, is as good as deleted.

    So is one that consents keep from the caller, which stays. For who may not delete all of the type each of these is
    unknown: what is another's must look the same.
    """
    resolver = core.resolver(ask.who)

    def attempt() -> Steps[RecordVersion | None]:
        record_id = ask.id if wanted is None else resolver.find(wanted)
        if record_id is None:
            return None
        newest = core.store.get(ask.type, record_id)
        if newest is not None and core.gate.is_hidden(ask.who, newest):
            ask.trail.refuse(newest.seq)
            newest = None
        check_replaced(core, ask, Action.DELETE, newest)
        check_match(ask, newest)
        if newest is not None:
            core.gate.require_written(ask.who, Action.DELETE, newest, None, ask.type)
        if newest is None:
            return None
        return (yield from core.service.deleting(ask.type, record_id, expected=newest.version, known=resolver.known))

    stored = yield from persistently(ask, attempt, resolver)
    headers = {} if stored is None else {"ETag": f'W/"{stored.version}"'}
    if stored is not None:
        ask.trail.numbers.append(stored.seq)
    if ask.preference.returned is Returned.OUTCOME:
        return Reply(200, write(report((), ask.language, DELETED)), headers)
    return Reply(204, b"", headers, "")


def _follow_binary(core: Core, ask: Ask, record_id: str, resolver: Resolver) -> Reply:
    """Store the version of a Binary after the one that is the newest now."""
    newest = core.store.get(binary.TYPE, record_id)
    check_replaced(core, ask, Action.UPDATE, newest)
    _check_chosen(ask, record_id, newest)
    is_deleted = newest is not None and core.service.is_deleted(newest)
    check_match(ask, newest, is_deleted=is_deleted)
    return _put_binary(core, ask, record_id, newest, resolver, is_new=newest is None or is_deleted)


def _put_binary(
    core: Core,
    ask: Ask,
    record_id: str,
    newest: RecordVersion | None,
    resolver: Resolver,
    *,
    is_new: bool = True,
) -> Reply:
    """Store the version after the newest of a Binary from the request's body, which may be of any size."""
    number = 0 if newest is None else newest.version
    shell = binary.native_shell(ask.content_type or binary.DEFAULT_TYPE, ask.header("X-Security-Context") or "")
    pieces: Iterable[bytes]
    if media_type(ask.content_type) in binary.FHIR_TYPES:
        body = ask.body()
        resource, pieces = binary.is_resource(body, is_xml=sent_format(ask.content_type) is Format.XML), [body]
        if resource is not None:
            named = resource.get("id", "" if ask.id else record_id)
            if ask.method == "PUT" and named != record_id:
                raise InputError("resource.id", at="Binary.id")
            resources.check(resource, binary.TYPE, core.mode)
            shell, data = binary.unpacked(resource)
            pieces = [data]
    else:
        pieces = ask.pieces(binary.MAX_BYTES)
    rewrite(shell.resource, {}, Own(), resolver)
    _check_right(core, ask, newest, shell.resource, record_id)
    patient = _concerned(core, ask, shell)
    had = None if newest is None else core.labeller.newest(binary.TYPE, record_id)
    shell = replace(shell, resource=core.labeller.labelled(shell.resource, had))
    made = binary.new_stream(shell, record_id, number + 1, core.clock(), patient)
    try:
        stored = core.service.create_stream(made, pieces, known=resolver.known)
    except ConflictError as error:
        raise ConflictError("record.version") from error
    # Who sent a Binary has it, and may have sent a gigabyte: it comes back only where that is asked for.
    status = 201 if is_new else 200
    if ask.preference.returned is not Returned.REPRESENTATION:
        return written(core, ask, stored, None, b"", status)
    reply = shown_again(core, ask, stored)
    reply.status = status
    reply.headers["Location"] = location(core, stored)
    return reply


def _concerned(core: Core, ask: Ask, shell: binary.Shell) -> str:
    """Find the token of the patient whom a Binary concerns.

    Raises:
        InputError: ``binary.security_context`` for a record that is not here, and alike for one that the caller may
            not see, or it could ask who is a patient here.
    """
    named = about_in(shell.resource)
    stored = None if named is None else core.store.get(*named)
    if stored is not None and not core.gate.shown(ask.who, [stored])[0]:
        raise InputError("binary.security_context")
    return binary.patient_token(shell.about, core.service, core.store)


def shown_again(core: Core, ask: Ask, stored: RecordVersion) -> Reply:
    """Answer what was just stored, as a read would."""
    it = core.reader.find(stored.type, stored.id, stored.version)
    if it is None:
        raise UnavailableError("record.lost")
    return shown(core, ask, it)
