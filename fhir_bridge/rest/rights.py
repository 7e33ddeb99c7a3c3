"""What the entries of a transaction may do: which rights they need, and what they must not learn.

Keeps true: nothing is made of a record that is hidden from the caller, not even a refusal of its own; a Binary falls
under the key of the patient whom it is about. Trusts the gate.
Source: FHIR R4 §3.1.0.11, §2.40 (Binary); SMART App Launch 2.2 §3.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Final

from fhir_bridge.bundle_entries import DELETE
from fhir_bridge.document import Document, member, parse
from fhir_bridge.references import is_drawn
from fhir_bridge.rest.core import Core
from fhir_bridge.smart.access import Access
from fhir_bridge.smart.scopes import Action
from medchain.errors import ConflictError, InputError, NotFoundError
from medchain.node.records import NewRecord
from medchain.node.telling import about_in

_ACTIONS: Final = {
    DELETE: Action.DELETE,
    "PATCH": Action.UPDATE,
    "POST": Action.CREATE,
    "PUT": Action.UPDATE,
}
_TYPE: Final = re.compile(r"([A-Za-z]+)")
_REPLACING: Final = frozenset({DELETE, "PATCH", "PUT"})
_OF_WHAT_IS_THERE: Final = frozenset({DELETE, "PATCH"})


def check_hidden(core: Core, access: Access, given: Document, requests: Sequence[tuple[str, str]]) -> list[int]:
    """See that no entry is about a record that is hidden from the caller, before anything is made of its content.

    Returns:
        Numbers of the record versions that are to be deleted or patched and that consents keep from the caller: they
        are taken for what is not there.

    Raises:
        NotFoundError: ``record.unknown`` with the entry's number; as for what is not there.
        ConflictError: ``bundle.version``, where a version is named.
        AccessDeniedError: ``provenance.kept``.
    """
    kinds = {(method, type_of(url)) for method, url in requests if method in _REPLACING}
    free = {kind for kind in kinds if _is_free(core, access, *kind)}
    limited = kinds - free if core.enforcement.sight(access) is None else kinds
    kept: list[int] = []
    for index, (method, url) in enumerate(requests):
        if method in _REPLACING:
            core.gate.require_free(*url.partition("?")[0].partition("/")[::2])
        type_name, record_id = type_of(url), _named(method, url, given, index)
        # An id of the form that this node gives is one of a record that is there, or is kept back.
        may_choose = method != "PUT" or not is_drawn(record_id)
        if not record_id or ((method, type_name) not in limited and may_choose):
            continue
        if not _is_hidden(core, access, method, type_name, record_id):
            continue
        newest = core.store.get(type_name, record_id)
        if (method, type_name) in free and ((newest is None and may_choose) or method in _OF_WHAT_IS_THERE):
            # Who may write all of the type may choose an id; what is kept back is done to as to what is not there.
            kept += [] if newest is None else [newest.seq]
            continue
        row = given.rows[index]
        request = row.get("request") if isinstance(row, dict) else None
        if isinstance(request, dict) and member(request, "ifMatch"):
            raise ConflictError("bundle.version", entry=index)
        raise NotFoundError("record.unknown", entry=index)
    return kept


def _named(method: str, url: str, given: Document, index: int) -> str:
    """Return the id of the record that an entry replaces, or makes; empty where the server says which."""
    if method not in _REPLACING:
        return ""
    place, question, _ = url.partition("?")
    if not question:
        return place.partition("/")[2]
    # A conditional update may name the record that is to be made.
    row = given.rows[index] if method == "PUT" else None
    resource = row.get("resource") if isinstance(row, dict) else None
    return member(resource, "id") if isinstance(resource, dict) else ""


def _is_free(core: Core, access: Access, method: str, type_name: str) -> bool:
    """Tell whether every record of a type may be replaced so; raises `NotFoundError` where a patch may read none."""
    needed = {action_of(method), Action.READ} if method == "PATCH" else {action_of(method)}
    permits = [core.gate.require(access, type_name, one) for one in needed]
    return all(one.is_whole for one in permits)


def _is_hidden(core: Core, access: Access, method: str, type_name: str, record_id: str) -> bool:
    """Tell whether a record is not one that the caller may put another version of; one that is not there is none.

    Nor may it make one under that id, or it would learn which are taken.
    """
    newest = core.store.get(type_name, record_id)
    if newest is None:
        return True
    if not core.gate.may_replace(access, action_of(method), newest):
        return True
    return method == "PATCH" and not core.gate.shown(access, [newest])[0]


def check_rights(core: Core, access: Access, written: Iterable[tuple[NewRecord, str]]) -> None:
    """See that a caller may store records, each by its entry's method: those of which it may not store all.

    Whether it may is asked once for all that are alike: an answer looks for consents that came, which takes a question
    to the store each time.
    """
    is_free = cache(partial(core.gate.is_written_freely, access))
    for record, method in written:
        action = action_of(method)
        if not is_free(record.type, action):
            _check_right(core, access, record, action)


def _check_right(core: Core, access: Access, record: NewRecord, action: Action) -> None:
    """See that a caller may store one record."""
    before = core.store.get(record.type, record.id) if record.version > 1 else None
    document = record.head or record.content
    core.gate.require_written(access, action, before, parse(document) if document else None, record.type)


def owned(core: Core, records: Sequence[NewRecord]) -> list[NewRecord]:
    """Put each Binary under the key of the patient whom its security context concerns, or an erasure would miss it."""
    made = {(one.type, one.id): one for one in records}

    def keyed(record: NewRecord) -> NewRecord:
        about = about_in(parse(record.head)) if record.head and not record.patient else None
        if about is None:
            return record
        beside = made.get(about)
        if beside is not None:
            return replace(record, token=beside.token or core.service.patient_token(beside.patient))
        there = core.store.get(*about)
        return record if there is None else replace(record, token=there.patient)

    return [keyed(one) for one in records]


def type_of(url: str) -> str:
    """Read the type in an entry's address; empty for none."""
    match = _TYPE.match(url)
    return "" if match is None else match[1]


def action_of(method: str) -> Action:
    """Tell which right a method needs; raises `InputError` ``bundle.method``."""
    found = _ACTIONS.get(method)
    if found is None:
        raise InputError("bundle.method")
    return found
