"""Operations on one resource: `$validate`, `$meta`, `$meta-add`, `$meta-delete`; `rest/labels.py` has `$meta` of many.

Keeps true: `$validate` stores nothing and tells warnings too, of references to what is not here among them; what is
said of a resource's meta is changed as any update is, by another version, since versions are anchored as they are.
Trusts `fhir_bridge.validation`.
Source: FHIR R4 §2.7 (validation), operation-resource-validate, operation-resource-meta, -meta-add, -meta-delete.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from fhir_bridge import resources
from fhir_bridge.document import Element, Resource, member, parse, write
from fhir_bridge.labelling import Label, label_of, losses
from fhir_bridge.outcome import report
from fhir_bridge.provenance import TYPE as PROVENANCE
from fhir_bridge.references import Pointed, pointed
from fhir_bridge.rest.ask import Ask, Reply
from fhir_bridge.rest.core import Core
from fhir_bridge.rest.labels import check_empty
from fhir_bridge.rest.read import found, version_of
from fhir_bridge.rest.write import changed
from fhir_bridge.second_opinion import second_opinion
from fhir_bridge.smart.scopes import Action
from fhir_bridge.validation.check import Mode, check
from fhir_bridge.validation.issue import Issue, Rule
from fhir_bridge.validation.pointers import pointers
from medchain.errors import AccessDeniedError, InputError, NotFoundError
from medchain.store.steps import Steps
from medchain.store.versions import Found

LISTS: Final = {"profile": (), "security": ("system", "code"), "tag": ("system", "code")}
"""What `$meta-add` and `$meta-delete` change, and what makes two values the same; nothing for the value itself."""

MAX_POINTED: Final = 200
"""Most records that `$validate` looks for."""

_META: Final = "meta"
_PARAMETERS: Final = "Parameters"
_MODES: Final = ("create", "update", "delete")
_MODES_OF_ONE: Final = ("update", "delete")
_VALID: Final = ("没有发现问题。", "No problem was found.")


class _Asked(NamedTuple):
    """What `$validate` is asked: a resource, a mode, a profile."""

    resource: Resource | None
    mode: str
    profile: str


def validate(core: Core, ask: Ask) -> Reply:
    """Judge a resource that is sent, or the one that is stored (§2.7)."""
    try:
        asked = _asked(ask)
    except resources.InvalidResourceError as error:
        # What only its XML shows to be wrong is judged as all else: 200 says that it was judged.
        return Reply(200, write(report(error.issues, ask.language, _VALID)))
    if asked.mode == "delete":
        return _deletable(core, ask)
    resource = asked.resource
    if resource is None and ask.id:
        core.gate.require(ask.who, ask.type, Action.READ)
        resource = _stored(core, ask)
    if resource is None:
        raise InputError("operation.parameter", parameter="resource")
    issues = check(resource, Mode.STRICT, warnings=True, asked=asked.profile)
    if not any(issue.severity == "error" for issue in issues):
        issues += filter(None, [second_opinion(resource)])
        issues += [*resources.check_definition(resource), *_absent(core, ask, resource)]
    if resource.get("resourceType") != ask.type:
        issues.insert(0, Issue(Rule.TYPE, "Resource", expected=ask.type))
    if asked.mode == "update" and resource.get("id") != ask.id:
        issues.append(Issue(Rule.VALUE, f"{ask.type}.id", expected="id"))
    claimed = resources.unknown_profiles(resource)
    if asked.profile and not resources.is_judged(asked.profile, ask.type):
        # Against a profile that is asked for, it is an error not to be able to judge (Resource-validate, `profile`).
        claimed.append(Issue(Rule.PROFILE, ask.type))
    return Reply(200, write(report([*issues, *claimed], ask.language, _VALID)))


def _absent(core: Core, ask: Ask, resource: Resource) -> list[Issue]:
    """Warn of references to records that are not here, or that the caller may not see, which looks the same."""
    bases = core.search.index.setting.bases
    places: dict[Pointed, str] = {}
    for place, reference in pointers(resource):
        named = pointed(reference, bases)
        # What the ledger tells is made when it is read.
        if named is not None and named.type != PROVENANCE:
            places.setdefault(named, place)
    asked = list(places)[:MAX_POINTED]
    here = _here(core, ask, asked)
    return [Issue(Rule.ABSENT, places[named], "warning", expected=named.type) for named in asked if named not in here]


def _here(core: Core, ask: Ask, asked: Sequence[Pointed]) -> set[Pointed]:
    """Choose of what references name what is here, not deleted, and not hidden from the caller."""
    looked = [(named, _found(core, named)) for named in asked]
    there = [(named, it.stored) for named, it in looked if it is not None]
    shown = core.gate.shown(ask.who, [stored for _, stored in there])
    return {
        named
        for (named, stored), is_shown in zip(there, shown, strict=True)
        if is_shown and (named.version or not core.service.is_deleted(stored))
    }


def _found(core: Core, named: Pointed) -> Found | None:
    """Look for a version of a record, the newest if none is named."""
    try:
        version = version_of(named.version) if named.version else None
    except NotFoundError:
        return None
    return core.reader.find(named.type, named.id, version)


def meta(core: Core, ask: Ask) -> Reply:
    """Answer what is said of a record, or of one of its versions."""
    check_empty(ask)
    return _meta_reply(Reply(200), _stored(core, ask))


def meta_add(core: Core, ask: Ask) -> Steps[Reply]:
    """Add profiles, tags and labels to a record."""
    given = _given_meta(ask)

    def add(resource: Resource) -> Resource:
        about = _about(resource)
        for name, keys in LISTS.items():
            kept = _rows(about, name)
            known = [_same(row, keys) for row in kept]
            kept += [row for row in _rows(given, name) if _same(row, keys) not in known]
            _put(about, name, kept)
        return {**resource, _META: about}

    return _changed_meta(core, ask, add)


def meta_delete(core: Core, ask: Ask) -> Steps[Reply]:
    """Take profiles, tags and labels from a record; what it has not is passed over.

    What makes a record less guarded only a person takes: that is a review, which stays written in the record.
    """
    given = _given_meta(ask)
    gone = [label_of(row) for row in _rows(given, "security")]

    def take(resource: Resource) -> Resource:
        if not ask.who.user and losses(resource, gone):
            raise AccessDeniedError("labels.person")
        about = _about(resource)
        for name, keys in LISTS.items():
            less = [_same(row, keys) for row in _rows(given, name)]
            _put(about, name, [row for row in _rows(about, name) if _same(row, keys) not in less])
        return {**resource, _META: about}

    return _changed_meta(core, ask, take, gone)


def _asked(ask: Ask) -> _Asked:
    """Read what `$validate` is asked: the resource itself, or Parameters that hold it."""
    mode, profile = ask.parameter("mode") or "", ask.parameter("profile") or ""
    body = ask.resource() if ask.method == "POST" and ask.has_body() else None
    if body is not None and body.get("resourceType") == _PARAMETERS and ask.type != _PARAMETERS:
        given = _parts(body)
        inner = given.get("resource", {}).get("resource")
        mode = member(given.get("mode", {}), "valueCode") or mode
        profile = next((str(value) for key, value in given.get("profile", {}).items() if key != "name"), profile)
        body = inner if isinstance(inner, dict) else None
    # Of a type alone, only what is not there yet can be asked about (Resource-validate, "Modes").
    if mode and (mode not in _MODES or (mode in _MODES_OF_ONE and not ask.id)):
        raise InputError("operation.parameter", parameter="mode")
    return _Asked(body, mode, profile)


def _deletable(core: Core, ask: Ask) -> Reply:
    """Tell whether a record could be deleted: any that is there, by who may."""
    core.gate.require(ask.who, ask.type, Action.DELETE)
    _stored(core, ask)
    return Reply(200, write(report((), ask.language, _VALID)))


def _stored(core: Core, ask: Ask) -> Resource:
    """Open the record, or the version, that the address names."""
    it = found(core, ask, version_of(ask.version) if ask.version else None)
    ask.trail.numbers.append(it.stored.seq)
    content = core.service.head(it.stored).text if it.stored.head is not None else core.content(it)
    if not content:
        raise NotFoundError("record.deleted", version=it.stored.version)
    return parse(content)


def _changed_meta(
    core: Core, ask: Ask, change: Callable[[Resource], Resource], taken: Sequence[Label] = ()
) -> Steps[Reply]:
    """Store a record with another meta, and answer it."""
    reply = yield from changed(core, ask, change, taken=taken)
    return _meta_reply(reply, parse(reply.body) if isinstance(reply.body, bytes) and reply.body else {})


def _meta_reply(reply: Reply, resource: Resource) -> Reply:
    """Answer the meta of a resource."""
    row: Resource = {"name": "return", "valueMeta": resource.get(_META, {})}
    reply.body = write({"resourceType": _PARAMETERS, "parameter": [row]})
    return reply


def _given_meta(ask: Ask) -> Resource:
    """Read the meta that is to be added or taken."""
    value = _parts(ask.parameters()).get(_META, {}).get("valueMeta")
    if not isinstance(value, dict):
        raise InputError("operation.parameter", parameter=_META)
    return value


def _parts(parameters: Resource) -> dict[str, Resource]:
    """Read Parameters by name."""
    rows = parameters.get("parameter")
    listed = rows if isinstance(rows, list) else []
    return {member(row, "name"): row for row in listed if isinstance(row, dict)}


def _about(resource: Resource) -> Resource:
    """Copy a resource's meta."""
    about = resource.get(_META)
    return dict(about) if isinstance(about, dict) else {}


def _rows(about: Resource, name: str) -> list[Element]:
    """Copy a list of a meta."""
    rows = about.get(name)
    return list(rows) if isinstance(rows, list) else []


def _put(about: Resource, name: str, rows: list[Element]) -> None:
    """Put a list into a meta; an empty one is none."""
    if rows:
        about[name] = rows
    else:
        about.pop(name, None)


def _same(row: Element, keys: tuple[str, ...]) -> Element:
    """Tell what makes two values the same."""
    return [row.get(key) for key in keys] if keys and isinstance(row, dict) else row
