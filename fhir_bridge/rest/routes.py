"""The registry: every interaction that is served, by method and shape of the address, and how it is answered.

The CapabilityStatement is made from it, so that it says what is served and nothing else. Keeps true: who calls is
known, and may, before anything of a request is parsed or looked up; every interaction says who may call it and what
right it needs; every answer of somebody known is kept by the audit before it leaves. Trusts the handlers to ask the
gate.
Source: FHIR R4 §3.1.0 (RESTful API), §3.1.0.1.3 (summary of addresses).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from consent.vocabulary import ACT_REASON, PURPOSES
from fhir_bridge import capability, openapi
from fhir_bridge.authorize import CHALLENGES, identify
from fhir_bridge.document import write
from fhir_bridge.gate import HiddenError
from fhir_bridge.outcome import outcome, status_of
from fhir_bridge.references import API
from fhir_bridge.resources import TYPE_PATTERN, is_storable
from fhir_bridge.rest import (
    batch,
    claims,
    elsewhere,
    everything,
    export,
    history,
    labels,
    operations,
    provenance,
    searching,
)
from fhir_bridge.rest import read as reading
from fhir_bridge.rest import write as writing
from fhir_bridge.rest.ask import Ask, Reply
from fhir_bridge.rest.core import AUDIT_EVENT, Auditor, Core, NoAudit
from fhir_bridge.rest.shape import check_form, shaped
from fhir_bridge.search.conditions import Registry, nearest
from fhir_bridge.smart.access import Access
from fhir_bridge.smart.proofs import Shown
from fhir_bridge.smart.scopes import Action
from medchain.encoding import canonical
from medchain.errors import InputError, MedchainError, NotFoundError, UnavailableError
from medchain.node.log import Log
from medchain.store.steps import Steps, in_thread
from medchain.web.routing import Caller

Handler = Callable[[Core, Ask], Reply | Steps[Reply]]
"""Answers one kind of request."""

_LOG: Final = Log("fhir")
_BINARY: Final = "Binary"
_TYPE: Final = "Type"
_ID: Final = "id"
_VERSION: Final = "vid"
_HISTORY: Final = "_history"
_MAX_SEGMENTS: Final = 5
_FRESH_S: Final = 3600
_PLACE_OF_OTHER: Final = 2
_CHANGES: Final = frozenset({Action.CREATE, Action.UPDATE, Action.DELETE})


@dataclass(frozen=True, slots=True)
class Interaction:
    """One thing that a client can do.

    Attributes:
        name: for metrics, logs and the audit.
        method: upper case.
        shape: of the address, with ``Type``, ``id`` and ``vid`` for what varies.
        handle: answers it.
        action: right that it needs on the type; None where the handler asks for what it needs.
        code: what the CapabilityStatement calls it; empty for what it does not list so.
        callers: who may call it.
        operation: name of the operation that it is, without its dollar sign; empty for none of HL7's.
        has_form: whether the client chooses in which of FHIR's formats it is answered.
        goes_elsewhere: whether it may name another organisation whose records are meant (`rest/elsewhere.py`).
    """

    name: str
    method: str
    shape: str
    handle: Handler
    action: Action | None
    code: str = ""
    callers: frozenset[Caller] = frozenset({Caller.TOKEN})
    operation: str = ""
    has_form: bool = True
    goes_elsewhere: bool = False

    @property
    def is_change(self) -> bool:
        """Whether it may change records."""
        return self.action in _CHANGES or self.code == "transaction"


def metadata(core: Core, _ask: Ask) -> Reply:
    """Answer the CapabilityStatement."""
    time = core.clock() // _FRESH_S * _FRESH_S
    return Reply(200, _statement(core.base_url, core.token_url, time, _parameters(core)))


def _parameters(core: Core) -> Registry:
    """Return what gives the search parameters of a type; another one once they are others."""
    core.search.index.look()
    return core.search.index.named[1]


@lru_cache(2)
def _statement(base_url: str, token_url: str, time: int, registry: Registry) -> bytes:
    """Write the CapabilityStatement, once an hour: it is large, and the same while the search parameters are."""
    return write(capability.statement(time, base_url, token_url, INTERACTIONS, registry))


def described(core: Core, ask: Ask) -> Reply:
    """Answer the OpenAPI description."""
    written = _description(core.base_url, core.token_url, ask.language, _parameters(core))
    return Reply(200, written, {}, openapi.CONTENT_TYPE)


@lru_cache(4)
def _description(base_url: str, token_url: str, language: str, registry: Registry) -> bytes:
    """Write the OpenAPI description, once a language, and anew where the search parameters are others."""
    return canonical(openapi.description(base_url, token_url, INTERACTIONS, language=language, registry=registry))


def _of_binary(general: Handler, special: Handler) -> Handler:
    """Answer Binary in its own way."""

    def handle(core: Core, ask: Ask) -> Reply | Steps[Reply]:
        return special(core, ask) if ask.type == _BINARY else general(core, ask)

    return handle


def _attempt(core: Core, ask: Ask) -> Reply:
    """Answer an entry of a Bundle."""
    return attempt(core, ask)


_OPERATIONS: Final = (
    Interaction("validate", "POST", "Type/$validate", operations.validate, None, operation="validate"),
    Interaction("validate", "POST", "Type/id/$validate", operations.validate, None, operation="validate"),
    Interaction("validate", "GET", "Type/id/$validate", operations.validate, Action.READ, operation="validate"),
    *(
        Interaction("meta", method, shape, handle, action, operation="meta")
        for shape, handle, action in (
            ("$meta", labels.of_system, None),
            ("Type/$meta", labels.of_type, None),
            ("Type/id/$meta", operations.meta, Action.READ),
            ("Type/id/_history/vid/$meta", operations.meta, Action.READ),
        )
        for method in ("GET", "POST")
    ),
    Interaction("meta-add", "POST", "Type/id/$meta-add", operations.meta_add, Action.UPDATE, operation="meta-add"),
    Interaction(
        "meta-delete", "POST", "Type/id/$meta-delete", operations.meta_delete, Action.UPDATE, operation="meta-delete"
    ),
)

_CLAIMS: Final = (
    Interaction(
        "claim-provenance",
        "POST",
        "$claim-provenance",
        claims.provenance,
        None,
        operation="claim-provenance",
        has_form=False,
    ),
    Interaction(
        "verify-claim-evidence",
        "POST",
        "$verify-claim-evidence",
        claims.verify,
        None,
        operation="verify-claim-evidence",
    ),
)

_EXPORTS: Final = (
    Interaction("export", "GET", "$export", export.of_system, None, operation="export"),
    Interaction("export", "POST", "$export", export.of_system, None, operation="export"),
    Interaction("export", "GET", "Type/$export", export.of_patients, None, operation="export"),
    Interaction("export", "POST", "Type/$export", export.of_patients, None, operation="export"),
    Interaction("export", "GET", "Type/id/$export", export.of_group, None, operation="export"),
    Interaction("export", "POST", "Type/id/$export", export.of_group, None, operation="export"),
    Interaction("export-status", "GET", "$export-status/id", export.status, None, has_form=False),
    Interaction("export-cancel", "DELETE", "$export-status/id", export.cancel, None),
    Interaction("export-file", "GET", "$export-file/id", export.fetch, None, has_form=False),
)

INTERACTIONS: Final = (
    Interaction("metadata", "GET", "metadata", metadata, None, callers=frozenset({Caller.PUBLIC})),
    Interaction("openapi", "GET", "openapi.json", described, None, callers=frozenset({Caller.PUBLIC}), has_form=False),
    Interaction(
        "read",
        "GET",
        "Type/id",
        elsewhere.or_read(provenance.or_read(reading.read)),
        Action.READ,
        "read",
        goes_elsewhere=True,
    ),
    Interaction("vread", "GET", "Type/id/_history/vid", provenance.or_read(reading.vread), Action.READ, "vread"),
    Interaction(
        "history", "GET", "Type/id/_history", provenance.or_past(history.of_record), Action.READ, "history-instance"
    ),
    Interaction("history", "GET", "Type/_history", history.of_type, None, "history-type"),
    Interaction("history", "GET", "_history", history.of_all, None, "history-system"),
    Interaction(
        "search", "GET", "Type", elsewhere.or_search(searching.by_get), None, "search-type", goes_elsewhere=True
    ),
    # R4 has `_search` for POST alone; HAPI's client sends it with GET as well (SearchStyleEnum.GET_WITH_SEARCH).
    Interaction("search", "GET", "Type/_search", elsewhere.or_search(searching.by_get), None, goes_elsewhere=True),
    Interaction("search", "POST", "Type/_search", elsewhere.or_search(searching.by_post), None, goes_elsewhere=True),
    Interaction("search", "GET", "", searching.by_get, None, "search-system"),
    Interaction("search", "POST", "_search", searching.by_post, None),
    Interaction("search", "GET", "Type/id/Type", searching.in_compartment, None),
    Interaction("search", "POST", "Type/id/Type/_search", searching.in_compartment_by_post, None),
    Interaction("search", "POST", "Type/id/_search", searching.in_compartment_by_post, None),
    *(
        Interaction(
            "everything",
            method,
            "Type/id/$everything",
            elsewhere.or_everything(everything.everything),
            Action.READ,
            operation="everything",
            goes_elsewhere=True,
        )
        for method in ("GET", "POST")
    ),
    *(
        Interaction(
            "everything",
            method,
            "Type/$everything",
            elsewhere.or_everything(everything.of_patients),
            Action.SEARCH,
            operation="everything",
        )
        for method in ("GET", "POST")
    ),
    *_OPERATIONS,
    *_EXPORTS,
    *_CLAIMS,
    Interaction("proof", "GET", "Type/id/$proof", reading.prove, Action.READ),
    Interaction("proof", "GET", "Type/id/_history/vid/$proof", reading.prove, Action.READ),
    Interaction("create", "POST", "Type", _of_binary(writing.create, writing.create_binary), Action.CREATE, "create"),
    Interaction("update", "PUT", "Type/id", _of_binary(writing.update, writing.update_binary), Action.UPDATE, "update"),
    Interaction("update", "PUT", "Type", _of_binary(writing.update_where, writing.update_binary_where), Action.UPDATE),
    Interaction("patch", "PATCH", "Type/id", writing.patch, Action.UPDATE, "patch"),
    Interaction("patch", "PATCH", "Type", writing.patch_where, Action.UPDATE),
    Interaction("delete", "DELETE", "Type/id", writing.delete, Action.DELETE, "delete"),
    Interaction("delete", "DELETE", "Type", writing.delete_where, Action.DELETE),
    Interaction("bundle", "POST", "", batch.handler(_attempt), None, "transaction"),
)
"""All of them."""

_NOT_KEPT: Final = NoAudit()
_VARYING: Final = frozenset({_TYPE, _ID, _VERSION})
_OURS: Final = frozenset(part for one in INTERACTIONS for part in one.shape.split("/")) - _VARYING - {""}
_BY_SHAPE: Final = {f"{one.method} {one.shape}": one for one in INTERACTIONS}
_READ_METHODS: Final = {"HEAD": "GET"}


def answering(core: Core, ask: Ask) -> Steps[Reply]:
    """Answer a request, errors included, and keep what was done; in steps, `answer` does them all.

    Args:
        core: of the server.
        ask: the request.

    Returns:
        The answer, in the form that was asked for.
    """
    reply = yield from attempting(core, ask, core.audit)
    if ask.access is not None:
        try:
            ask.trail.receipt = core.gate.receipt(ask.access)
            core.audit.note(ask, HTTPStatus.NOT_FOUND if ask.trail.is_refused else reply.status)
        except MedchainError as error:
            reply = refused(ask, error)
    return reply


answer = in_thread(answering)


def attempting(core: Core, ask: Ask, audit: Auditor = _NOT_KEPT) -> Steps[Reply]:
    """Answer a request; in steps, `attempt` does them all.

    Args:
        core: of the server.
        ask: the request.
        audit: is told before something is changed; nobody is for entries, whose Bundle is kept as one.

    Returns:
        The answer, errors included; that it was given is not kept yet.
    """
    try:
        interaction = find(ask)
        ask.trail.interaction = interaction.name
        if Caller.TOKEN in interaction.callers:
            if ask.access is None:
                ask.access = _identified(core, ask)
            if interaction.action is not None:
                core.gate.require(ask.access, ask.type, interaction.action)
                if ask.type == AUDIT_EVENT:
                    core.place_events(ask.access)
        _check_address(ask, has_form=interaction.has_form)
        # An entry of a Bundle has no account of its own.
        elsewhere.check(ask, is_served=interaction.goes_elsewhere and audit is not _NOT_KEPT)
        if interaction.is_change:
            core.gate.require_free(ask.type, ask.id)
            audit.begin(ask)
        handled = interaction.handle(core, ask)
        return shaped(ask, handled if isinstance(handled, Reply) else (yield from handled))
    except MedchainError as error:
        if isinstance(error, HiddenError):
            # The audit keeps that it was refused, which the answer does not tell from what is absent.
            ask.trail.numbers.append(error.number)
        return refused(ask, error)
    except Exception as error:  # noqa: BLE001  # the outermost handler: nothing may stop the server
        _LOG.error("request.failed", error, route=ask.trail.interaction, request=ask.logged_id)
        reply = refused(ask, UnavailableError("internal"))
        reply.status = 500
        return reply


attempt = in_thread(attempting)


def _identified(core: Core, ask: Ask) -> Access:
    """Know who calls, and for what.

    Raises:
        AccessDeniedError, UnavailableError: as `identify`.
        InputError: ``request.purpose``.
    """
    shown = Shown(ask.fields.get("HTTP_DPOP", ""), ask.method, f"{API}/{ask.path}")
    access = identify(ask.fields.get("HTTP_AUTHORIZATION"), core.tokens, shown)
    purpose = ask.header("Purpose-Of-Use")
    return access if purpose is None else replace(access, asked_for=purpose_of(purpose))


def purpose_of(text: str) -> str:
    """Read a purpose of use: a code of v3-ActReason, alone or behind its system and a bar.

    Raises:
        InputError: ``request.purpose`` for any other.
    """
    system, bar, code = text.strip().rpartition("|")
    if code not in PURPOSES or (bar and system != ACT_REASON):
        raise InputError("request.purpose")
    return code


def _check_address(ask: Ask, *, has_form: bool) -> None:
    """Refuse a type that is not stored, and a form that is not served."""
    if ask.type and not is_storable(ask.type):
        told = ask.type if TYPE_PATTERN.fullmatch(ask.type) else ""
        raise NotFoundError("route.type", type=told, expected=nearest(ask.type, capability.served_types()))
    if has_form and ask.type != _BINARY:
        check_form(ask)


def refused(ask: Ask, error: MedchainError) -> Reply:
    """Answer one of our errors as OperationOutcome."""
    _LOG.info("request.refused", code=error.code, route=ask.trail.interaction, request=ask.logged_id)
    reply = Reply(status_of(error), outcome(error, ask.language))
    if error.code in CHALLENGES:
        reply.headers["WWW-Authenticate"] = CHALLENGES[error.code]
    if error.code == "http.405":
        reply.headers["Allow"] = ", ".join(methods_of(ask))
    if isinstance(error, UnavailableError):
        reply.headers["Retry-After"] = str(error.retry_after_s)
    return shaped(ask, reply)


def find(ask: Ask) -> Interaction:
    """Find the interaction of a request, and note what its address names.

    Raises:
        NotFoundError: ``route.unknown``.
        InputError: ``http.405`` for another method than the address has.
    """
    shape = _shape(ask)
    found = _BY_SHAPE.get(f"{_READ_METHODS.get(ask.method, ask.method)} {shape}")
    if found is not None and not _is_lacked(found, ask):
        return found
    if _at(ask, shape):
        raise InputError("http.405")
    raise NotFoundError("route.unknown")


def _at(ask: Ask, shape: str) -> list[Interaction]:
    """List the interactions of an address."""
    return [one for one in INTERACTIONS if one.shape == shape and not _is_lacked(one, ask)]


def _is_lacked(interaction: Interaction, ask: Ask) -> bool:
    """Tell whether the type of the address lacks an interaction."""
    return interaction.name in capability.LACKED.get(ask.type, ())


def methods_of(ask: Ask) -> list[str]:
    """List the methods of an address; asking for the head of an export would begin one that nobody is told of."""
    known = {one.method: one.name for one in _at(ask, _shape(ask))}
    return sorted({*known, *(("HEAD",) if known.get("GET", "export") != "export" else ())})


def _shape(ask: Ask) -> str:
    """Tell the shape of an address: names that we gave stay, what clients name becomes what it stands for."""
    segments = ask.path.split("/")
    if segments[-1] == "":
        del segments[-1]
    if len(segments) > _MAX_SEGMENTS:
        return "?"
    shape = []
    for place, segment in enumerate(segments):
        if segment in _OURS or segment.startswith("$"):
            shape.append(segment)
        elif place == 0:
            ask.type = segment
            shape.append(_TYPE)
        elif place == 1:
            ask.id = segment
            shape.append(_ID)
        elif place == _PLACE_OF_OTHER and (segment == "*" or segment[:1].isupper()) and shape[-1] == _ID:
            ask.other = segment
            shape.append(_TYPE)
        elif shape[-1] == _HISTORY:
            ask.version = segment
            shape.append(_VERSION)
        else:
            shape.append("?")
    return "/".join(shape)
