"""Batches and transactions: many requests in one Bundle.

A transaction is planned whole and stored in one database transaction, and planned anew where another writer has changed
what the plan rests on; what it reads is read after that. The entries of
a batch are requests of their own, answered one after the other by the same registry as all others. Keeps true: who may
not is told before anything is looked up; of a transaction all is stored or nothing; an entry that reads passes the gate
as any other read. Large ones are done in a worker process, by the same code. Trusts the web worker for who sent it.
Source: FHIR R4 §3.1.0.11; `docs/adr/0019-jobs-in-processes.md`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import partial
from http import HTTPStatus
from typing import Final

from fhir_bridge import binary
from fhir_bridge import bundle as plans
from fhir_bridge.bundle_entries import (
    DELETE,
    READING,
    Current,
    Entry,
    FullUrls,
    Newest,
    check_head,
    requests_of,
    url_of,
)
from fhir_bridge.change import JSON_PATCH, patch_of_binary
from fhir_bridge.document import KEPT_ROWS, Document, Element, Resource, member, parse, parse_bundle, write
from fhir_bridge.outcome import outcome, report, status_of
from fhir_bridge.references import PROVENANCE, instant
from fhir_bridge.resources import InvalidResourceError, check_form, warnings
from fhir_bridge.rest import attachments, rights
from fhir_bridge.rest.again import rounds
from fhir_bridge.rest.ask import FHIR_JSON, Ask, Reply
from fhir_bridge.rest.core import Core
from fhir_bridge.rest.negotiate import Format, Returned, sent_format
from fhir_bridge.rest.read import ANCHORED, http_date
from fhir_bridge.rest.searching import FORM
from fhir_bridge.rest.targets import check_targets
from fhir_bridge.rest.write import DELETED, PRESENT, STORED
from fhir_bridge.smart.access import Access, access_document, parse_access
from fhir_bridge.xml import parse_xml
from medchain.encoding import Json, as_number, members
from medchain.errors import ConflictError, InputError, MedchainError, UnavailableError

SMALL_BYTES: Final = 256 << 10
"""Largest Bundle that is done in a web worker's own thread."""

MAX_SHOWN_BYTES: Final = 16 << 20
"""Largest content of one entry of an answer."""

MAX_ANSWER_BYTES: Final = 64 << 20
"""How much the entries of one Bundle are answered; those that come after it are refused, each by itself."""

MAX_QUERY_CHARS: Final = 4096
"""So much of what the entries searched for is kept for the audit."""

Attempt = Callable[[Core, Ask], Reply]
"""Answers an entry; `fhir_bridge.rest.routes.attempt`."""

_POLL_S: Final = 0.05
_SEARCH: Final = "_search"
_OUTCOME: Final = b'{"resourceType":"OperationOutcome"'
_CONDITIONS: Final = {
    "ifMatch": "HTTP_IF_MATCH",
    "ifNoneExist": "HTTP_IF_NONE_EXIST",
    "ifNoneMatch": "HTTP_IF_NONE_MATCH",
}
_HANDED_ON: Final = ("CONTENT_TYPE", "HTTP_ACCEPT_LANGUAGE", "HTTP_PREFER")
_WAIT: Final = re.compile(r"\bwait\s*=\s*\"?[0-9]+\"?")
# What an entry began is told in a header, and an entry's answer has none: the client could not end it.
_ASYNC: Final = re.compile(r"\brespond-async\b")


@dataclass(slots=True)
class Done:
    """What a Bundle came to.

    Attributes:
        status: HTTP status.
        body: the response Bundle, or why there is none.
        first: number of the first record version that a transaction stored, 0 for none.
        last: number of the last one.
        kind: ``batch`` or ``transaction``.
        numbers: of the record versions that were shown or stored.
        query: what its entries searched for.
    """

    status: int
    body: bytes
    first: int = 0
    last: int = 0
    kind: str = ""
    numbers: list[int] = field(default_factory=list)
    query: str = ""


def handler(attempt: Attempt) -> Callable[[Core, Ask], Reply]:
    """Make what answers a Bundle, given what answers an entry."""

    def handle(core: Core, ask: Ask) -> Reply:
        length = ask.fields.get("CONTENT_LENGTH", "")
        # Of what is packed, nobody knows the size yet.
        is_plain = not ask.fields.get("HTTP_CONTENT_ENCODING")
        is_small = is_plain and length.isascii() and length.isdigit() and int(length) <= SMALL_BYTES
        done = _do(core, ask, attempt) if core.jobs is None or is_small else _do_elsewhere(core, ask)
        ask.trail.interaction = done.kind or ask.trail.interaction
        ask.trail.numbers[:] = done.numbers
        ask.trail.query = done.query
        reply = Reply(done.status, done.body)
        if done.kind == "transaction":
            reply.headers[ANCHORED] = _awaited(core, ask, done)
        return reply

    return handle


def done_in_job(core: Core, attempt: Attempt, document: Json, content: bytes) -> tuple[Json, bytes]:
    """Do a Bundle in a worker process.

    Args:
        core: of the process.
        attempt: answers an entry.
        document: who sent it, and with which header fields.
        content: the Bundle as it was sent.

    Returns:
        What it came to, and its body.
    """
    asked = members(document, {"access": dict, "fields": dict, "request": str})
    given = asked["fields"] if isinstance(asked["fields"], dict) else {}
    fields = {name: str(value) for name, value in given.items()}
    ask = Ask(
        "POST",
        "",
        fields=fields,
        read=lambda: content,
        access=parse_access(asked["access"]),
        request_id=str(asked["request"]),
    )
    try:
        done = _do(core, ask, attempt)
    except MedchainError as error:
        done = Done(status_of(error), outcome(error, ask.language))
    numbers: list[Json] = list(done.numbers)
    found: Json = {
        "first": done.first,
        "kind": done.kind,
        "last": done.last,
        "numbers": numbers,
        "query": done.query,
        "status": done.status,
    }
    return found, done.body


def _do_elsewhere(core: Core, ask: Ask) -> Done:
    """Have a worker process do it, once the body is whole; little of that is in memory here."""
    if core.jobs is None:
        raise UnavailableError("job.busy")
    if sent_format(ask.content_type) is None:
        raise InputError("http.415")
    fields: dict[str, Json] = {name: ask.fields[name] for name in _HANDED_ON if name in ask.fields}
    document: Json = {"access": access_document(ask.who), "fields": fields, "request": ask.request_id}
    result = core.jobs.run(document, ask.chunks())
    shape = {"first": int, "kind": str, "last": int, "numbers": list, "query": str, "status": int}
    found = members(result.document, shape)
    numbers = found["numbers"] if isinstance(found["numbers"], list) else []
    return Done(
        as_number(found["status"]),
        result.content,
        as_number(found["first"]),
        as_number(found["last"]),
        str(found["kind"]),
        [as_number(one) for one in numbers],
        str(found["query"]),
    )


def _do(core: Core, ask: Ask, attempt: Attempt) -> Done:
    """Do a Bundle; a transaction again, from what was sent, where another writer came first: nothing of it is stored.

    Raises:
        ConflictError: ``store.conflict`` where others come first all the time.
    """
    for is_last in rounds():
        try:
            return _done(core, ask, attempt)
        except ConflictError as error:
            if error.code != "store.conflict" or is_last:
                raise
    raise ConflictError("store.conflict")


def _done(core: Core, ask: Ask, attempt: Attempt) -> Done:
    """Do a Bundle, on what is there now."""
    given = _parsed(ask)
    if len(given.rows) <= KEPT_ROWS:
        # Each is looked at several times; only of large Bundles is it cheaper to parse an entry anew than to keep it.
        given = Document(given.resource, list(given.rows))
    kind = plans.type_of(given)
    check_form(given.resource)
    if len(given.rows) > plans.MAX_ENTRIES:
        raise InputError("bundle.entries", limit=plans.MAX_ENTRIES)
    return _batch(core, ask, given, attempt) if kind == "batch" else _transaction(core, ask, given, attempt)


def _parsed(ask: Ask) -> Document:
    """Parse the Bundle."""
    form = sent_format(ask.content_type)
    if form is None:
        raise InputError("http.415")
    if form is Format.JSON:
        return parse_bundle(ask.body())
    # Written in JSON, so that its entries are parsed one at a time as those of any other.
    return parse_bundle(write(parse_xml(ask.body())))


def _transaction(core: Core, ask: Ask, given: Document, attempt: Attempt) -> Done:
    """Do a transaction: all that is written first, then what is read."""
    requests = requests_of(given, core.search.index.setting.bases)
    for method, url in sorted(set(requests)):
        if method not in READING:
            core.gate.require(ask.who, rights.type_of(url), rights.action_of(method))
    kept = rights.check_hidden(core, ask.who, given, requests)
    now = core.clock()
    resolver = core.resolver(ask.who)
    plan = plans.transaction(given, resolver, now, _current(core, ask.who), core.mode, labeller=core.labeller)
    methods = (one.method for one in plan.entries if not one.present)
    rights.check_rights(core, ask.who, zip(plan.records, methods, strict=True))
    _check_attachments(core, ask.who, plan)
    _check_targets(core, ask, plan)
    reading = {index: given.rows[index] for index, (method, _) in enumerate(requests) if method in READING}
    if isinstance(given.rows, list):
        # Ten times the text, of which nothing is needed while it is sealed and stored.
        given.rows.clear()
    stored = core.service.create_many(rights.owned(core, plan.records), known=resolver.known) if plan.records else []
    numbers = list(dict.fromkeys((*kept, *(row.seq for row in stored), *_met(core, plan))))
    others: dict[int, bytes] = {}
    answers = _Answers(numbers)
    for index, row in reading.items():
        others[index] = _answered(core, ask, row, attempt, answers)
    returned = ask.preference.returned
    told = partial(_told, ask.language) if returned is Returned.OUTCOME else None
    body = plans.response(plan, now, others, whole=returned is Returned.REPRESENTATION, told=told)
    first, last = (stored[0].seq, stored[-1].seq) if stored else (0, 0)
    return Done(200, body, first, last, "transaction", numbers, answers.query)


def _met(core: Core, plan: plans.Plan) -> list[int]:
    """Number the records that conditions of creates found: the answer tells that they are there, and where."""
    found = dict.fromkeys((one.type, one.id) for one in plan.entries if one.present and one.method != DELETE)
    rows = (core.store.get(*name) for name in found)
    return [row.seq for row in rows if row is not None]


def _told(language: str, entry: Entry) -> Resource:
    """Say of an entry that was done what would be said of a request of its own (§3.1.0.1.8, ``return``)."""
    if entry.method == DELETE:
        return report((), language, DELETED)
    warned = warnings(parse(entry.content)) if entry.content else ()
    return report(warned, language, PRESENT if entry.present else STORED)


def _check_attachments(core: Core, access: Access, plan: plans.Plan) -> None:
    """See that what DocumentReferences say of attachments is so, also of those that come in the same Bundle."""
    entries = [one for one in plan.entries if not one.present]
    given = {record.id: record.content for record in plan.records if record.type == binary.TYPE and record.content}
    for record, entry in zip(plan.records, entries, strict=True):
        if record.type != attachments.TYPE or not record.content:
            continue
        try:
            attachments.check_attachments(core, access, parse(record.content), given)
        except InvalidResourceError as error:
            place = f"Bundle.entry[{entry.index}].resource"
            raise error.within(place, entry.index) from error


def _check_targets(core: Core, ask: Ask, plan: plans.Plan) -> None:
    """See that Provenances are of what the caller may know of, or comes in the same Bundle."""
    beside = {(entry.type, entry.id) for entry in plan.entries if entry.method != DELETE}
    for record, entry in zip(plan.records, [one for one in plan.entries if not one.present], strict=True):
        if record.type != PROVENANCE or not record.content:
            continue
        before = core.labeller.newest(record.type, record.id) if record.version > 1 else None
        try:
            check_targets(core, ask, parse(record.content), before, beside)
        except InputError as error:
            raise InputError(error.code, entry=entry.index) from error


def _batch(core: Core, ask: Ask, given: Document, attempt: Attempt) -> Done:
    """Do a batch: each entry for itself."""
    answers = _Answers([], deadline=time.monotonic() + (ask.preference.wait_s or 0))
    named = FullUrls()
    rows = [
        _answered(core, ask, row, attempt, answers, partial(_check_entry, named, row, index))
        for index, row in enumerate(given.rows)
    ]
    return Done(
        200, plans.response_of("batch-response", rows), kind="batch", numbers=answers.numbers, query=answers.query
    )


def _check_entry(named: FullUrls, row: Element, index: int) -> None:
    """Look at an entry of a batch, which is answered for itself; errors as in `requests_of`."""
    named.check(row)
    check_head(row, index)


@dataclass(slots=True)
class _Answers:
    """What the entries that are answered one after the other share.

    Attributes:
        numbers: of the record versions that were shown or stored.
        room: how many bytes may still be answered.
        deadline: until when, by the monotonic clock, what was written may be waited for, all entries together.
        query: what was searched for, for the audit.
    """

    numbers: list[int]
    room: int = field(default_factory=lambda: MAX_ANSWER_BYTES)
    deadline: float = 0.0
    query: str = ""

    def asked(self, type_name: str, query: str) -> None:
        """Note a search, as far as there is room."""
        said = f"{type_name}?{query}"
        self.query = (f"{self.query} {said}" if self.query else said)[:MAX_QUERY_CHARS]


def _answered(  # what an entry is answered with
    core: Core, ask: Ask, row: Element, attempt: Attempt, answers: _Answers, look: Callable[[], None] | None = None
) -> bytes:
    """Answer one entry as the request that it is; of a batch, whose entries have not been looked at yet, look first."""
    try:
        if look is not None:
            look()
        if answers.room <= 0:
            raise InputError("bundle.answer", limit=MAX_ANSWER_BYTES)
        inner = _request(core, ask, row, max(0, int(answers.deadline - time.monotonic())))
        reply = attempt(core, inner)
        answers.numbers += inner.trail.numbers
        if inner.trail.query:
            answers.asked(inner.type, inner.trail.query)
        made = _entry(core, reply)
    except MedchainError as error:
        made = _entry(core, Reply(status_of(error), outcome(error, ask.language)))
    answers.room -= len(made)
    return made


def _request(core: Core, ask: Ask, row: Element, patience: int) -> Ask:
    """Make the request of an entry, which may wait for so many seconds if its Bundle wants to."""
    request = row.get("request") if isinstance(row, dict) else None
    if not isinstance(row, dict) or not isinstance(request, dict):
        raise InputError("bundle.request")
    path, _, query = url_of(request, row.get("resource"), core.search.index.setting.bases).lstrip("/").partition("?")
    if not path and not (query and member(request, "method") in READING):
        # A Bundle in a Bundle; a search of all types says something (§3.1.1.3).
        raise InputError("bundle.method")
    fields = {name: ask.fields[name] for name in _HANDED_ON if name in ask.fields}
    if "HTTP_PREFER" in fields:
        fields["HTTP_PREFER"] = _ASYNC.sub("", _WAIT.sub(f"wait={patience}", fields["HTTP_PREFER"]))
    # A search by POST has all in its address here, and sends nothing.
    is_search = path.endswith(_SEARCH) and "resource" not in row
    fields |= {"CONTENT_TYPE": FORM if is_search else FHIR_JSON, "HTTP_ACCEPT": FHIR_JSON}
    fields |= {key: member(request, name) for name, key in _CONDITIONS.items() if name in request}
    if "ifModifiedSince" in request:
        fields["HTTP_IF_MODIFIED_SINCE"] = _as_http_date(member(request, "ifModifiedSince"))
    given = row.get("resource")
    resource: Resource = given if isinstance(given, dict) else {}
    method, body = member(request, "method"), b""
    if method == "PATCH" and resource.get("resourceType") == "Binary":
        fields["CONTENT_TYPE"], body = JSON_PATCH, patch_of_binary(resource)
    elif resource.get("resourceType") == "Binary":
        # Elsewhere the body of a Binary is its bytes, so that it is read as they are.
        body = write(resource)
    return Ask(
        method,
        path,
        query,
        fields=fields,
        read=lambda: body,
        resource=resource,
        access=ask.access,
        request_id=ask.request_id,
    )


def _as_http_date(since: str) -> str:
    """Write an instant as HTTP writes dates; empty for what is none, which is passed over as HTTP has it."""
    try:
        moment = datetime.fromisoformat(since)
        return http_date(int(moment.timestamp())) if moment.tzinfo else ""
    except (OverflowError, ValueError):
        return ""


def _entry(core: Core, reply: Reply) -> bytes:
    """Write the answer to an entry."""
    answer: dict[str, Element] = {"status": f"{reply.status} {HTTPStatus(reply.status).phrase}"}
    if "Location" in reply.headers:
        answer["location"] = reply.headers["Location"].removeprefix(f"{core.base_url}/")
    if "ETag" in reply.headers:
        answer["etag"] = reply.headers["ETag"]
    if "Last-Modified" in reply.headers:
        answer["lastModified"] = instant(int(parsedate_to_datetime(reply.headers["Last-Modified"]).timestamp()))
    body = _whole(reply) if reply.content_type == FHIR_JSON else b""
    # What is told of a write is no resource that was written either (R4 Bundle.entry.response.outcome).
    is_told = "Location" in reply.headers and body.startswith(_OUTCOME)
    if body and (reply.status >= 400 or is_told):  # noqa: PLR2004  # first error status
        answer["outcome"] = parse(body)
        body = b""
    shown = b'"resource":' + body + b"," if body else b""
    return b"{" + shown + b'"response":' + write(answer) + b"}"


def _whole(reply: Reply) -> bytes:
    """Put a body together; nothing of one that is too large, and no more of it in memory than that."""
    if isinstance(reply.body, bytes):
        return reply.body if len(reply.body) <= MAX_SHOWN_BYTES else b""
    pieces: list[bytes] = []
    size = 0
    for piece in reply.body:
        size += len(piece)
        if size > MAX_SHOWN_BYTES:
            return b""
        pieces.append(piece)
    return b"".join(pieces)


def _current(core: Core, access: Access) -> Current:
    """Open newest versions, of what consents do not keep from the caller."""

    def current(type_name: str, record_id: str) -> Newest | None:
        found = core.reader.find(type_name, record_id)
        if found is None or core.gate.is_hidden(access, found.stored):
            return None
        content = core.content(found)
        return Newest(found.stored.version, found.stored.patient, parse(content) if content else None)

    return current


def _awaited(core: Core, ask: Ask, done: Done) -> str:
    """Say how far what a transaction stored is anchored, after waiting for it as long as the client wants."""
    patience = ask.preference.wait_s
    if patience is None or not core.waiting.acquire(blocking=False):
        return _state(core, done)
    try:
        deadline = time.monotonic() + patience
        while True:
            state = _state(core, done)
            if state.startswith("final") or time.monotonic() >= deadline:
                return state
            time.sleep(_POLL_S)
    finally:
        core.waiting.release()


def _state(core: Core, done: Done) -> str:
    """Say how far what a transaction stored is anchored: the last of it counts."""
    count, position = core.store.anchored(done.first, done.last)
    if not done.first or count <= done.last - done.first:
        return "pending"
    return core.anchored(position)
