"""The OpenAPI description of the REST server: what the registry of interactions serves, for generators of clients.

Keeps true: an operation is listed if and only if the registry serves it; search parameters are those of the
CapabilityStatement; what a description says in words, it says in the reader's language. Contents of resources are not
described a second time: HL7's own schemas do, to which the description refers.
Source: OpenAPI Specification 3.1.1; FHIR R4 §3.1.0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from fhir_bridge.capability import HAVE_EVERYTHING, LACKED, searched, served_types
from fhir_bridge.definitions.parameters import SearchParameter, parameters_of
from fhir_bridge.openapi_texts import ABOUT, INFO, PARAMETERS, RESPONSES, SECURITY, About, Text
from fhir_bridge.search.conditions import Registry
from fhir_bridge.smart.discovery import AUTHORIZE, TOKEN
from medchain.encoding import Json
from medchain.web.routing import Caller

CONTENT_TYPE: Final = "application/json"
"""Of the description."""

_ID: Final = r"^[A-Za-z0-9\-.]{1,64}$"
_FHIR: Final = ("application/fhir+json", "application/fhir+xml")
_FORM: Final = "application/x-www-form-urlencoded"
_PATCH: Final = "application/json-patch+json"
_TYPE: Final = "Type"
_PATIENT: Final = ("Patient",)
_COMPARTMENTS: Final = ("Device", "Encounter", "Patient", "Practitioner", "RelatedPerson")
_HL7_SCHEMA: Final = "https://hl7.org/fhir/R4/fhir.schema.json.zip"
# Shapes that are not of every type: shape → types whose they are. The shape of one segment is written out for each
# type, since each has search parameters of its own; in all others the type is a parameter.
_ONLY_OF: Final[Mapping[str, tuple[str, ...]]] = {
    "Type/$export": _PATIENT,
    "Type/id/$export": ("Group",),
    "Type/$everything": _PATIENT,
    "Type/id/$everything": HAVE_EVERYTHING,
    "Type/id/Type": _COMPARTMENTS,
    "Type/id/Type/_search": _COMPARTMENTS,
    "Type/id/_search": _COMPARTMENTS,
}
_BYTES: Final[Mapping[str, Json]] = {"format": "binary", "type": "string"}
# Kinds of bodies that are no resources: kind → media type, schema.
_OTHER: Final[Mapping[str, tuple[str, Mapping[str, Json]]]] = {
    "form": (_FORM, {"additionalProperties": {"type": "string"}, "type": "object"}),
    "json": ("application/json", {"type": "object"}),
    "lines": ("application/fhir+ndjson", _BYTES),
    "zip": ("application/zip", _BYTES),
}
_FORMED: Final = ("_format", "_pretty")
_ELSEWHERE: Final = ("_custodian", "Purpose-Of-Use")
_NAMES: Final = {"id": "id", "vid": "vid"}
_PATH_SCHEMAS: Final[Mapping[str, Json]] = {
    "id": {"type": "string", "pattern": _ID},
    "other": {"type": "string", "pattern": r"^(\*|[A-Z][A-Za-z]{1,63})$"},
    "type": {"$ref": "#/components/schemas/type"},
    "vid": {"type": "string", "pattern": "^[1-9][0-9]{0,8}$"},
}


class Listed(Protocol):
    """An interaction of the registry, as far as it is told here."""

    @property
    def name(self) -> str:
        """Of the interaction."""
        ...

    @property
    def method(self) -> str:
        """Upper case."""
        ...

    @property
    def shape(self) -> str:
        """Of its address."""
        ...

    @property
    def callers(self) -> frozenset[Caller]:
        """Who may call it."""
        ...

    @property
    def has_form(self) -> bool:
        """Whether the client chooses the format of the answer."""
        ...

    @property
    def goes_elsewhere(self) -> bool:
        """Whether it may name another organisation whose records are meant."""
        ...


@dataclass(frozen=True, slots=True)
class _Writer:
    """Writes one language's description.

    Attributes:
        place: which of a text's languages.
        registry: gives the search parameters of a type.
    """

    place: int
    registry: Registry

    def say(self, text: Text) -> str:
        """Word something."""
        return text[self.place]

    def paths(self, listed: Sequence[Listed]) -> dict[str, Json]:
        """Write all operations, by address."""
        found: dict[str, dict[str, Json]] = {}
        for one in listed:
            for path, type_name in _paths_of(one.shape):
                if one.name in LACKED.get(type_name, ()):
                    continue
                found.setdefault(path, {})[one.method.lower()] = self._operation(one, path, type_name)
        return dict[str, Json](found)

    def _operation(self, one: Listed, path: str, type_name: str) -> Json:
        """Write one operation; `type_name` is empty where the type is a parameter."""
        about = ABOUT[f"{one.method} {one.name}"]
        names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
        parameters = [_ref("parameters", name) for name in names]
        parameters += [_ref("parameters", name) for name in about.parameters]
        if one.has_form:
            parameters += [_ref("parameters", name) for name in _FORMED]
        if one.name == "search" and one.method == "GET" and type_name and one.shape == _TYPE:
            parameters += _searching(self.registry(type_name))
        # `$everything` of an encounter is this node's own alone.
        goes_elsewhere = one.goes_elsewhere and not (one.name == "everything" and type_name == "Encounter")
        if goes_elsewhere:
            parameters += [_ref("parameters", name) for name in _ELSEWHERE]
        is_public = Caller.PUBLIC in one.callers
        document: dict[str, Json] = {
            "operationId": _operation_id(one, path),
            "parameters": parameters,
            "responses": self._responses(about, is_public=is_public, goes_elsewhere=goes_elsewhere),
            "security": [] if is_public else [{"smart": list[Json]()}, {"bearer": list[Json]()}],
            "summary": self.say(about.summary),
            "tags": [type_name or one.name],
        }
        if about.body:
            is_needed = about.body != "parameters"
            document["requestBody"] = {"content": _content_of(about.body, type_name), "required": is_needed}
        return document

    def _responses(self, about: About, *, is_public: bool, goes_elsewhere: bool) -> dict[str, Json]:
        """Write what an operation answers."""
        errors = ["400", "406", "429", "500", "503", *about.errors, *([] if is_public else ["401", "403"])]
        errors += ["404", "502"] if goes_elsewhere else []
        found = {code: _ref("responses", code) for code in errors}
        for code, kind in about.answers.items():
            found[code] = _ref("responses", kind)
        return {code: found[code] for code in sorted(found)}

    def components(self, base_url: str, token_url: str) -> dict[str, Json]:
        """Write what operations refer to."""
        origin = token_url.removesuffix(TOKEN)
        flows: Json = {
            "authorizationCode": {
                "authorizationUrl": origin + AUTHORIZE,
                "refreshUrl": token_url,
                "scopes": dict[str, Json](),
                "tokenUrl": token_url,
            },
            "clientCredentials": {"scopes": dict[str, Json](), "tokenUrl": token_url},
        }
        smart = f"{self.say(SECURITY['smart'])} {base_url}/.well-known/smart-configuration"
        return {
            "parameters": {**self._path_parameters(), **self._other_parameters()},
            "responses": {name: self._response(name) for name in RESPONSES},
            "schemas": self._schemas(),
            "securitySchemes": {
                "bearer": {"description": self.say(SECURITY["bearer"]), "scheme": "bearer", "type": "http"},
                "smart": {"description": smart, "flows": flows, "type": "oauth2"},
            },
        }

    def _path_parameters(self) -> dict[str, Json]:
        """Write the parameters of addresses."""
        return {
            name: {"in": "path", "name": name, "required": True, "schema": schema}
            for name, schema in _PATH_SCHEMAS.items()
        }

    def _other_parameters(self) -> dict[str, Json]:
        """Write the parameters of queries and headers."""
        return {
            name: {"description": self.say(one.text), "in": one.place, "name": name, "schema": dict(one.schema)}
            for name, one in PARAMETERS.items()
        }

    def _response(self, name: str) -> Json:
        """Write an answer."""
        one = RESPONSES[name]
        document: dict[str, Json] = {"description": self.say(one.text)}
        if one.body:
            document["content"] = _content_of(one.body, "")
        if one.headers:
            document["headers"] = {header: {"schema": {"type": "string"}} for header in one.headers}
        return document

    def _schemas(self) -> dict[str, Json]:
        """Write the few schemas that there are."""
        return {
            "resource": {
                "description": f"{self.say(INFO['resource'])} {_HL7_SCHEMA}",
                "properties": {"resourceType": {"type": "string"}},
                "required": ["resourceType"],
                "type": "object",
            },
            "search": {"items": {"type": "string"}, "type": "array"},
            "type": {"enum": list[Json](served_types()), "type": "string"},
        }


def description(
    base_url: str,
    token_url: str,
    listed: Sequence[Listed],
    *,
    language: str = "en",
    registry: Registry = parameters_of,
) -> Json:
    """Write the description.

    Args:
        base_url: of the API.
        token_url: where clients get tokens.
        listed: the registry.
        language: ``zh`` or ``en``.
        registry: gives the search parameters of a type.

    Returns:
        The document.
    """
    writer = _Writer(0 if language == "zh" else 1, registry)
    return {
        "components": writer.components(base_url, token_url),
        "externalDocs": {"description": "HL7 FHIR R4 (4.0.1)", "url": "https://hl7.org/fhir/R4/"},
        "info": {
            "description": writer.say(INFO["description"]),
            "license": {"identifier": "Apache-2.0", "name": "Apache License 2.0"},
            "title": writer.say(INFO["title"]),
            "version": "4.0.1",
        },
        "openapi": "3.1.1",
        "paths": writer.paths(listed),
        "servers": [{"url": base_url}],
    }


def _paths_of(shape: str) -> Iterator[tuple[str, str]]:
    """Write a shape as addresses, each with the type that it is of, or nothing where that is a parameter."""
    if not shape.startswith(_TYPE):
        yield "/" + "/".join(_named(shape.split("/"))), ""
        return
    types = served_types() if shape == _TYPE else _ONLY_OF.get(shape, ("",))
    below = _named(shape.split("/")[1:])
    for name in types:
        yield "/" + "/".join([name or "{type}", *below]), name


def _named(parts: Sequence[str]) -> list[str]:
    """Write the parts of a shape below its type."""
    return ["{other}" if part == _TYPE else f"{{{_NAMES[part]}}}" if part in _NAMES else part for part in parts]


def _operation_id(one: Listed, path: str) -> str:
    """Name an operation as no other is named."""
    parts = [part.strip("{}$") for part in path.split("/") if part]
    return "-".join([one.name, one.method.lower(), *parts])


def _searching(known: Mapping[str, SearchParameter]) -> list[Json]:
    """List the search parameters of a type."""
    return [
        {"in": "query", "name": code, "schema": {"$ref": "#/components/schemas/search"}} for code in searched(known)
    ]


def _content_of(kind: str, type_name: str) -> dict[str, Json]:
    """Say in which media types something comes."""
    if kind in _OTHER:
        name, schema = _OTHER[kind]
        return {name: {"schema": dict(schema)}}
    found: dict[str, Json] = {name: {"schema": {"$ref": "#/components/schemas/resource"}} for name in _FHIR}
    if kind == "patch":
        found[_PATCH] = {"schema": {"items": {"type": "object"}, "type": "array"}}
    elif kind == "evidence":
        found["application/zip"] = {"schema": dict(_BYTES)}
    elif kind == "any" or type_name == "Binary":
        found["*/*"] = {"schema": dict(_BYTES)}
    return found


def _ref(room: str, name: str) -> Json:
    """Refer to a component."""
    return {"$ref": f"#/components/{room}/{name}"}
