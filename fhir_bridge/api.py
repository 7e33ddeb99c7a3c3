"""The FHIR R4 REST API of a node's own records: create, read, vread, update, transaction, proof.

Keeps true: who calls is known, and may, before anything is parsed or looked up; what is stored is what was sent, with
id, version and time set; what is answered is what is stored, opened and compared with its commitment; each answer says
how far it is anchored. Trusts `RecordService` for records and the daemon for what is final.
Source: FHIR R4 §3.1.0, RFC 9110, RFC 7240.
"""

from __future__ import annotations

import io
import re
import secrets
import time
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from typing import Final

from flask import Blueprint, Response, request
from werkzeug.exceptions import HTTPException

from fhir_bridge import binary, bundle, capability, resources
from fhir_bridge.authorize import CHALLENGE, identify, require
from fhir_bridge.document import Document, Resource, parse, write
from fhir_bridge.outcome import FHIR_JSON, outcome, status_of
from fhir_bridge.references import Resolver, rewrite
from fhir_bridge.smart.access import Access
from fhir_bridge.smart.scopes import Action, permits, scopes_text
from fhir_bridge.smart.server import TokenServer
from fhir_bridge.transactions import SMALL_BYTES, Done, Records, do_transaction
from medchain.encoding import Json, members
from medchain.errors import ConflictError, InputError, MedchainError, NotFoundError, UnavailableError
from medchain.node.clock import Clock
from medchain.node.jobs import JobPool
from medchain.node.log import Log
from medchain.node.records import RecordService
from medchain.store.records import RecordStore, RecordVersion
from medchain.web.routing import Caller, callers

MAX_WAIT_S: Final = 30
"""Longest wait of `Prefer: wait=N`, in seconds."""

ANCHORED: Final = "Medchain-Anchored"
"""Header that says how far an answer is anchored: ``pending``, ``pending; position=N`` or ``final; position=N``."""

_ACCEPTED: Final = ("application/fhir+json", "application/json")
_WAIT: Final = re.compile(r"(?:^|[,;\s])wait=([0-9]{1,4})(?:$|[,;\s])")
_MINIMAL: Final = re.compile(r"(?:^|[,;\s])return=minimal(?:$|[,;\s])")
_REPRESENTATION: Final = re.compile(r"(?:^|[,;\s])return=representation(?:$|[,;\s])")
_FHIR_FORMATS: Final = frozenset({"json", "application/json", "application/fhir+json"})
# Stored bytes may be a page with scripts: it is never run as one of ours.
_NATIVE_POLICY: Final = "sandbox; default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_ID_BYTES: Final = 16
_PIECE_BYTES: Final = 1 << 16
_POLL_S: Final = 0.05
_MAX_VERSION_DIGITS: Final = 9
_LOG: Final = Log("fhir")


@dataclass(frozen=True, slots=True)
class Bridge:
    """What the API works on.

    Attributes:
        service: stores and opens records.
        store: the same records, sealed.
        records_key: the node's records key.
        tokens: checks access tokens.
        token_url: where clients get them.
        clock: gives Unix seconds.
        final_size: tells how many leaves of the log are final.
        prove: exports the proof bundle of a record version, file name → content.
        jobs: worker processes for large transactions; None does them in the caller's thread.
    """

    service: RecordService
    store: RecordStore
    records_key: bytes
    tokens: TokenServer
    token_url: str
    clock: Clock
    final_size: Callable[[], int]
    prove: Callable[[RecordVersion], Mapping[str, bytes]]
    jobs: JobPool | None = None


def fhir_blueprint(bridge: Bridge) -> Blueprint:
    """Make the routes under ``/fhir``.

    Args:
        bridge: what they work on.

    Returns:
        The blueprint.
    """
    blueprint = Blueprint("fhir", __name__, url_prefix="/fhir")

    @blueprint.get("/metadata")
    @callers(Caller.PUBLIC)
    def metadata() -> Response:
        return Response(write(capability.statement(bridge.clock(), bridge.token_url)), 200, content_type=FHIR_JSON)

    @blueprint.post("/<type_name>")
    @callers(Caller.TOKEN)
    def create(type_name: str) -> Response:
        access = _access(bridge)
        require(access, type_name, Action.CREATE)
        return _create(bridge, access, type_name)

    @blueprint.get("/<type_name>/<record_id>")
    @callers(Caller.TOKEN)
    def read(type_name: str, record_id: str) -> Response:
        require(_access(bridge), type_name, Action.READ)
        return _read(bridge, type_name, record_id, None)

    @blueprint.get("/<type_name>/<record_id>/_history/<version>")
    @callers(Caller.TOKEN)
    def vread(type_name: str, record_id: str, version: str) -> Response:
        require(_access(bridge), type_name, Action.READ)
        return _read(bridge, type_name, record_id, _version_of(version))

    @blueprint.put("/<type_name>/<record_id>")
    @callers(Caller.TOKEN)
    def update(type_name: str, record_id: str) -> Response:
        access = _access(bridge)
        require(access, type_name, Action.UPDATE)
        return _update(bridge, access, type_name, record_id)

    @blueprint.put("/<type_name>")
    @callers(Caller.TOKEN)
    def conditional_update(type_name: str) -> Response:
        access = _access(bridge)
        require(access, type_name, Action.UPDATE)
        return _update_where(bridge, access, type_name)

    @blueprint.post("/", strict_slashes=False)
    @blueprint.post("")
    @callers(Caller.TOKEN)
    def transaction() -> Response:
        return _transaction(bridge, _access(bridge))

    _add_binary(blueprint, bridge)
    _add_proofs(blueprint, bridge)
    blueprint.register_error_handler(MedchainError, _refuse)
    blueprint.register_error_handler(HTTPException, _refuse_http)
    return blueprint


def _add_binary(blueprint: Blueprint, bridge: Bridge) -> None:
    """Add the routes that take Binary."""

    @blueprint.post("/Binary")
    @callers(Caller.TOKEN)
    def create_binary() -> Response:
        require(_access(bridge), binary.TYPE, Action.CREATE)
        return _put_binary(bridge, secrets.token_hex(_ID_BYTES), 0)

    @blueprint.put("/Binary/<record_id>")
    @callers(Caller.TOKEN)
    def update_binary(record_id: str) -> Response:
        require(_access(bridge), binary.TYPE, Action.UPDATE)
        return _update_binary(bridge, record_id)


def _add_proofs(blueprint: Blueprint, bridge: Bridge) -> None:
    """Add the routes of proofs."""

    @blueprint.get("/<type_name>/<record_id>/$proof")
    @callers(Caller.TOKEN)
    def proof(type_name: str, record_id: str) -> Response:
        require(_access(bridge), type_name, Action.READ)
        return _prove(bridge, type_name, record_id, None)

    @blueprint.get("/<type_name>/<record_id>/_history/<version>/$proof")
    @callers(Caller.TOKEN)
    def version_proof(type_name: str, record_id: str, version: str) -> Response:
        require(_access(bridge), type_name, Action.READ)
        return _prove(bridge, type_name, record_id, _version_of(version))


def zip_bundle(files: Mapping[str, bytes]) -> bytes:
    """Pack a proof bundle; the same files give the same bytes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            archive.writestr(zipfile.ZipInfo(name), files[name], zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def _access(bridge: Bridge) -> Access:
    """Know the caller."""
    return identify(request.headers.get("Authorization"), bridge.tokens)


def _resolver(bridge: Bridge, access: Access) -> Resolver:
    """Look things up by identifier for a caller: only where it may read, or it could ask who is a patient here."""
    return Resolver(
        bridge.service,
        bridge.store,
        bridge.records_key,
        lambda type_name: permits(access.scopes, type_name, Action.READ),
    )


def _create(bridge: Bridge, access: Access, type_name: str) -> Response:
    """Store a new record."""
    resource = parse(_body())
    resources.check_type(resource, type_name)
    resolver = _resolver(bridge, access)
    condition = request.headers.get("If-None-Exist")
    rows: Resource = {"method": "POST", "url": type_name}
    if condition is not None:
        rows["ifNoneExist"] = condition
    entry = _done_alone(bridge, resource, rows, resolver)
    return _stored(bridge, entry.type, entry.id, entry.version, 200 if entry.present else 201)


def _update_where(bridge: Bridge, access: Access, type_name: str) -> Response:
    """Store the next version of the record that a condition finds, or a first one where it finds none."""
    resource = parse(_body())
    resources.check_type(resource, type_name)
    rows: Resource = {"method": "PUT", "url": f"{type_name}?{request.query_string.decode('ascii', 'replace')}"}
    if "If-Match" in request.headers:
        rows["ifMatch"] = request.headers["If-Match"]
    entry = _done_alone(bridge, resource, rows, _resolver(bridge, access))
    return _stored(bridge, entry.type, entry.id, entry.version, 201 if entry.version == 1 else 200)


def _done_alone(bridge: Bridge, resource: Resource, rows: Resource, resolver: Resolver) -> bundle.Entry:
    """Do what a transaction of one entry would do."""
    wrapped = Document({"resourceType": "Bundle", "type": "transaction"}, [{"resource": resource, "request": rows}])
    plan = bundle.transaction(wrapped, resolver, bridge.clock())
    try:
        bridge.service.create_many(plan.records)
    except ConflictError as error:
        # Another one came first.
        raise ConflictError("record.version") from error
    return plan.entries[0]


def _update(bridge: Bridge, access: Access, type_name: str, record_id: str) -> Response:
    """Store the next version of a record, or its first."""
    resource = parse(_body())
    resources.check_type(resource, type_name)
    if resources.ID_PATTERN.fullmatch(record_id) is None or resource.get("id") != record_id:
        raise InputError("resource.id")
    resolver = _resolver(bridge, access)
    newest = resolver.version(type_name, record_id)
    _check_match(newest)
    rewrite(resource, {}, {}, resolver)
    record = bundle.make_record(type_name, record_id, newest + 1, resource, bridge.clock())
    try:
        bridge.service.create(record)
    except ConflictError as error:
        # Another update came first.
        raise ConflictError("record.version") from error
    return _stored(bridge, type_name, record_id, newest + 1, 200 if newest else 201)


def _update_binary(bridge: Bridge, record_id: str) -> Response:
    """Store the next version of a Binary, or its first."""
    if resources.ID_PATTERN.fullmatch(record_id) is None:
        raise InputError("resource.id")
    stored = bridge.store.get(binary.TYPE, record_id)
    newest = 0 if stored is None else stored.version
    _check_match(newest)
    return _put_binary(bridge, record_id, newest)


def _put_binary(bridge: Bridge, record_id: str, newest: int) -> Response:
    """Store the version after the newest of a Binary from the request's body, which may be of any size."""
    content_type = request.headers.get("Content-Type", binary.DEFAULT_TYPE)
    shell = binary.native_shell(content_type, request.headers.get("X-Security-Context", ""))
    pieces: Iterable[bytes]
    if request.mimetype in binary.FHIR_TYPES:
        body = request.get_data(cache=False)
        resource, pieces = binary.is_resource(body), [body]
        if resource is not None:
            if newest and resource.get("id") != record_id:
                raise InputError("resource.id")
            resources.check(resource, binary.TYPE)
            shell, data = binary.unpacked(resource)
            pieces = [data]
    else:
        request.max_content_length = binary.MAX_BYTES
        pieces = binary.pieces_of(request.stream, request.content_length)
    patient = binary.patient_token(shell.about, bridge.service, bridge.store)
    try:
        bridge.service.create_stream(binary.new_stream(shell, record_id, newest + 1, bridge.clock(), patient), pieces)
    except ConflictError as error:
        raise ConflictError("record.version") from error
    return _stored(bridge, binary.TYPE, record_id, newest + 1, 200 if newest else 201)


def _read_binary(bridge: Bridge, stored: RecordVersion, headers: dict[str, str]) -> Response:
    """Answer a Binary as its own bytes, or as a resource where FHIR is asked for (FHIR R4 §2.40.2)."""
    head = bridge.service.head(stored)
    opened = bridge.service.stream(stored)
    if _asks_for_fhir():
        headers["Content-Length"] = str(binary.resource_size(head))
        return Response(binary.as_resource(head, opened.pieces), 200, headers, content_type=FHIR_JSON)
    headers |= {"Content-Length": str(head.size), "Content-Security-Policy": _NATIVE_POLICY}
    about = binary.about_of(head)
    if about:
        headers["X-Security-Context"] = about
    return Response(opened.pieces, 200, headers, content_type=stored.content_type)


def _asks_for_fhir() -> bool:
    """Tell whether a client names FHIR's own media type; what a Binary holds may be of any other."""
    wanted = [kind for kind, _ in request.accept_mimetypes]
    return request.args.get("_format", "") in _FHIR_FORMATS or FHIR_JSON in wanted


def _check_match(newest: int) -> None:
    """Compare If-Match with the newest version; raises `ConflictError` ``record.version``."""
    wanted = request.headers.get("If-Match")
    if wanted is not None and wanted != f'W/"{newest}"':
        raise ConflictError("record.version")


def _transaction(bridge: Bridge, access: Access) -> Response:
    """Do a transaction, all of it or nothing."""
    size = request.content_length
    if bridge.jobs is None or (size is not None and size <= SMALL_BYTES):
        records = Records(bridge.service, bridge.store, bridge.records_key, bridge.clock)
        done = do_transaction(records, access, _body())
    else:
        done = _transaction_job(bridge.jobs, access)
    _wait(lambda: _state(bridge, done))
    response = Response(done.answer, 200, content_type=FHIR_JSON)
    response.headers[ANCHORED] = _state(bridge, done)
    return response


def _transaction_job(jobs: JobPool, access: Access) -> Done:
    """Have a worker process do a transaction; its body goes there piece by piece and is never all here."""
    _check_media_type()
    document: Json = {"client": access.client, "scopes": scopes_text(access.scopes)}
    result = jobs.run(document, iter(lambda: request.stream.read(_PIECE_BYTES), b""))
    numbers = members(result.document, {"first": int, "last": int})
    first, last = numbers["first"], numbers["last"]
    return Done(result.content, first if isinstance(first, int) else 0, last if isinstance(last, int) else 0)


def _state(bridge: Bridge, done: Done) -> str:
    """Say how far what a transaction stored is anchored: the last of it counts."""
    count, position = bridge.store.anchored(done.first, done.last)
    if not done.first or count <= done.last - done.first:
        return "pending"
    return f"{'final' if position < bridge.final_size() else 'pending'}; position={position}"


def _stored(bridge: Bridge, type_name: str, record_id: str, version: int, status: int) -> Response:
    """Answer a record that was just stored, waiting for its anchor where the client asks for it."""
    stored = bridge.store.get(type_name, record_id, version)
    if stored is None:
        raise UnavailableError("record.lost")
    _wait(lambda: _anchored(bridge, stored))
    is_minimal = _MINIMAL.search(request.headers.get("Prefer", "")) is not None
    # Who sent a Binary has it, and may have sent a gigabyte: what comes back is its head.
    if binary.is_binary(stored) and not _REPRESENTATION.search(request.headers.get("Prefer", "")):
        is_minimal = True
    response = _read(bridge, type_name, record_id, version)
    response.status_code = status
    response.headers["Location"] = f"/fhir/{type_name}/{record_id}/_history/{version}"
    if is_minimal:
        response.set_data(b"")
    return response


def _read(bridge: Bridge, type_name: str, record_id: str, version: int | None) -> Response:
    """Answer a record as it is stored."""
    stored = bridge.store.get(type_name, record_id, version)
    if stored is None:
        raise NotFoundError("record.unknown")
    headers = {
        "ETag": f'W/"{stored.version}"',
        "Last-Modified": formatdate(stored.created, usegmt=True),
        ANCHORED: _anchored(bridge, stored),
    }
    is_known = request.method == "GET" and request.headers.get("If-None-Match") == headers["ETag"]
    if binary.is_binary(stored):
        return Response(b"", 304, headers) if is_known else _read_binary(bridge, stored, headers)
    _check_accept()
    opened = bridge.service.open(stored)
    if not opened.content:
        raise NotFoundError("record.deleted", version=stored.version)
    if is_known:
        return Response(b"", 304, headers)
    return Response(opened.content, 200, headers, content_type=FHIR_JSON)


def _prove(bridge: Bridge, type_name: str, record_id: str, version: int | None) -> Response:
    """Answer the proof bundle of a version, the newest if none is named."""
    stored = bridge.store.get(type_name, record_id, version)
    if stored is None:
        raise NotFoundError("record.unknown")
    return Response(zip_bundle(bridge.prove(stored)), 200, content_type="application/zip")


def _version_of(text: str) -> int:
    """Read a version id; raises `NotFoundError` ``record.unknown`` for what is none of ours."""
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_VERSION_DIGITS):
        raise NotFoundError("record.unknown")
    return int(text)


def _anchored(bridge: Bridge, stored: RecordVersion) -> str:
    """Say how far a record is anchored."""
    newest = bridge.store.get(stored.type, stored.id, stored.version)
    if newest is None or newest.position is None:
        return "pending"
    return f"{'final' if newest.position < bridge.final_size() else 'pending'}; position={newest.position}"


def _wait(state: Callable[[], str]) -> None:
    """Wait until records are final, for as long as the client wants and we allow."""
    match = _WAIT.search(request.headers.get("Prefer", ""))
    if match is None:
        return
    deadline = time.monotonic() + min(int(match[1]), MAX_WAIT_S)
    while not state().startswith("final") and time.monotonic() < deadline:
        time.sleep(_POLL_S)


def _body() -> bytes:
    """Read the request's body, if it is FHIR JSON."""
    _check_media_type()
    return request.get_data(cache=False)


def _check_media_type() -> None:
    """Refuse a body that is no FHIR JSON."""
    if request.mimetype not in _ACCEPTED:
        raise InputError("http.415")


def _check_accept() -> None:
    """Refuse a client that takes no JSON."""
    if request.accept_mimetypes and request.accept_mimetypes.best_match(_ACCEPTED) is None:
        raise InputError("http.406")


def _refuse(error: MedchainError) -> Response:
    """Answer one of our errors as OperationOutcome."""
    _LOG.info("request.refused", code=error.code, route=request.endpoint)
    response = Response(outcome(error), status_of(error), content_type=FHIR_JSON)
    if response.status_code == 401:  # noqa: PLR2004  # RFC 6750 §3
        response.headers["WWW-Authenticate"] = CHALLENGE
    if isinstance(error, UnavailableError):
        response.headers["Retry-After"] = str(error.retry_after_s)
    return response


def _refuse_http(error: HTTPException) -> Response:
    """Answer what Flask refuses in a view, such as a body that is too large."""
    code = "request.too_large" if error.code == 413 else f"http.{error.code}"  # noqa: PLR2004  # RFC 9110 §15.5.14
    return _refuse(InputError(code))
