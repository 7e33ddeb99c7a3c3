"""A request to the FHIR floor and its answer, without any framework.

The web front, entries of a batch and worker processes make the same requests and get the same answers. Keeps true: a
body is read once, bounded by who made the request; what was read of a request is what was sent. Trusts the front to
have bounded lines and fields.
Source: RFC 9110; RFC 3875 (names of fields in an environment); FHIR R4 §3.1.0.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Final
from urllib.parse import parse_qsl

from fhir_bridge.document import Resource, parse
from fhir_bridge.resources import check_parameters
from fhir_bridge.rest.negotiate import (
    Format,
    Preference,
    accepted,
    asked_format,
    language,
    preference,
    sent_format,
)
from fhir_bridge.search.budget import check_length
from fhir_bridge.smart.access import Access
from fhir_bridge.xml import parse_xml
from medchain.errors import InputError
from medchain.store.journal import Begun

FHIR_JSON: Final = "application/fhir+json"
"""Content type of answers in JSON."""

MAX_PAIRS: Final = 512
"""Most parameters of one request."""

FORMS: Final = ("_format", "_pretty")
"""Parameters by which a client chooses the form of an answer."""

Pairs = list[tuple[str, str]]
"""Parameters in their order, percent decoding done."""

_OWN_ID: Final = re.compile(r"[0-9a-f]{16}")


@dataclass(slots=True)
class Trail:
    """What a request touched, for the audit.

    Attributes:
        interaction: what was done, as FHIR calls it.
        numbers: of the record versions that were shown or stored.
        query: what was searched for; empty for no search.
        receipt: hash over the decisions that the answer rests on, in hex; empty where no consent is in force.
        elsewhere: addresses of the record versions of other organisations that were shown, and of their patient.
        begun: mark of the audit on what changes something, set before it does; None for the rest.
        basis: of what goes from one organisation to another: grant, consent and access entry, each ``system|value``.
        places: of such: where this node answers, and where the other one does.
        is_refused: whether it was refused, though the answer does not say so.
    """

    interaction: str = ""
    numbers: list[int] = field(default_factory=list)
    query: str = ""
    receipt: str = ""
    elsewhere: list[str] = field(default_factory=list)
    begun: Begun | None = None
    basis: tuple[str, ...] = ()
    places: tuple[str, str] = ("", "")
    is_refused: bool = False

    def refuse(self, number: int) -> None:
        """Note that a record version is kept from who asks, where the answer is that of what is not there."""
        self.numbers.append(number)
        self.is_refused = True


def new_request_id() -> str:
    """Give a request an id: 16 hexadecimal digits."""
    return secrets.token_hex(8)


def own_request_id(given: str) -> bool:
    """Tell whether a request's id has the form of those that the node gives: 16 hexadecimal digits."""
    return _OWN_ID.fullmatch(given) is not None


class Ask:
    """One request.

    Attributes:
        method: upper case.
        path: below the base address, without the query and without a slash at its beginning.
        query: as sent.
        fields: header fields under their names of RFC 3875.
        type: resource type in the path, or empty.
        id: of the record in the path, or empty.
        version: version id in the path, or empty.
        other: a second resource type in the path, or empty.
        access: who asks; None until that is known.
        request_id: by which audit and answer name it; the client's own, or one of `new_request_id`.
        trail: what it touched.
    """

    __slots__ = (
        "_body",
        "_last",
        "_pairs",
        "_raw",
        "_read",
        "_resource",
        "_stream",
        "access",
        "fields",
        "id",
        "method",
        "other",
        "path",
        "query",
        "request_id",
        "trail",
        "type",
        "version",
    )

    def __init__(  # noqa: PLR0913  # a request has so many parts
        self,
        method: str,
        path: str,
        query: str = "",
        *,
        fields: Mapping[str, str],
        read: Callable[[], bytes] = bytes,
        stream: Callable[[int], Iterator[bytes]] | None = None,
        raw: Callable[[], Iterator[bytes]] | None = None,
        resource: Resource | None = None,
        access: Access | None = None,
        request_id: str = "",
        trail: Trail | None = None,
    ) -> None:
        """Make a request.

        Args:
            method: upper case.
            path: below the base address.
            query: without the question mark.
            fields: header fields under their names of RFC 3875.
            read: gives the body.
            stream: gives the body piece by piece, up to a number of bytes; None where it is small anyway.
            raw: gives the body piece by piece, up to the size of one that is read whole.
            resource: the body, where it is parsed already.
            access: who asks, where that is known.
            request_id: by which audit and answer name it.
            trail: what is written on; a new one by default.
        """
        self.method = method
        self.path = path
        self.query = query
        self.fields = fields
        self.type = self.id = self.version = self.other = ""
        self.access = access
        self.request_id = request_id
        self.trail = Trail() if trail is None else trail
        self._read = read
        self._stream = stream
        self._raw = raw
        self._resource = resource
        self._body: bytes | None = None
        self._pairs: Pairs | None = None
        self._last: dict[str, str] | None = None

    @property
    def logged_id(self) -> str:
        """The id by which logs name it: empty where the client chose it, who may have put a patient's number there."""
        return self.request_id if own_request_id(self.request_id) else ""

    def header(self, name: str) -> str | None:
        """Return a header field, None where it is not sent."""
        return self.fields.get(_key(name))

    @property
    def who(self) -> Access:
        """Who asks; raises where no route asked for it, which must not happen."""
        if self.access is None:
            raise InputError("route.callers")
        return self.access

    @property
    def pairs(self) -> Pairs:
        """The parameters of the query; errors as in `parse_pairs`."""
        if self._pairs is None:
            self._pairs = parse_pairs(self.query)
        return self._pairs

    def parameter(self, name: str) -> str | None:
        """Return the last value of a parameter, None where it is not given."""
        if self._last is None:
            if not self.query:
                return None
            self._last = dict(self.pairs)
        return self._last.get(name)

    def take(self, form: Pairs) -> Pairs:
        """Have the parameters of a form count as those of the address, and return all of them."""
        given = [*self.pairs, *form]
        self._last = dict(given)
        return given

    @property
    def chosen_form(self) -> Pairs:
        """What the client chose the form of the answer by, which links to other pages keep (§3.1.0.1.11)."""
        return [(name, value) for name in FORMS if (value := self.parameter(name))]

    @property
    def language(self) -> str:
        """``zh`` or ``en``."""
        return language(self.fields.get("HTTP_ACCEPT_LANGUAGE", ""))

    @property
    def preference(self) -> Preference:
        """What the client prefers."""
        return preference(self.fields.get("HTTP_PREFER", ""))

    @property
    def format(self) -> Format:
        """In which format to answer; raises `InputError` ``http.406``."""
        asked = self.parameter("_format")
        return accepted(self.fields.get("HTTP_ACCEPT", "")) if not asked else asked_format(asked)

    @property
    def content_type(self) -> str:
        """What the client says of its body."""
        return self.fields.get("CONTENT_TYPE", "")

    def body(self) -> bytes:
        """Read the body; raises `InputError` ``request.too_large``, ``request.encoding`` and others of the front."""
        if self._body is None:
            self._body = self._read()
        return self._body

    def has_body(self) -> bool:
        """Tell whether there is anything to parse."""
        return self._resource is not None or bool(self.body())

    def pieces(self, limit: int) -> Iterator[bytes]:
        """Read the body piece by piece, however large; raises `InputError` as `body` does, at its end."""
        return iter([self.body()]) if self._stream is None else self._stream(limit)

    def chunks(self) -> Iterator[bytes]:
        """Give the body as it was sent, piece by piece, without reading it whole here where that can be avoided."""
        return iter([self.body()]) if self._raw is None else self._raw()

    def resource(self) -> Resource:
        """Parse the body, in whichever of FHIR's formats it is.

        Raises:
            InputError: ``http.415`` for another media type, ``document.*`` for what cannot be parsed.
        """
        if self._resource is None:
            form = sent_format(self.content_type)
            if form is None:
                raise InputError("http.415")
            self._resource = parse(self.body()) if form is Format.JSON else parse_xml(self.body())
        return self._resource

    def parameters(self) -> Resource:
        """Parse the body as what an operation is called with; errors as in `resource` and `check_parameters`."""
        return check_parameters(self.resource())


@dataclass(slots=True)
class Reply:
    """An answer.

    Attributes:
        status: HTTP status.
        body: all of it, or piece by piece.
        headers: further fields; Content-Type is not one of them.
        content_type: of the body; empty for no body.
    """

    status: int
    body: bytes | Iterable[bytes] = b""
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = FHIR_JSON


def parse_pairs(query: str) -> Pairs:
    """Read the parameters of a query.

    Raises:
        InputError: ``search.too_long``; ``request.query`` for too many or bytes that are no text.
    """
    check_length(query)
    try:
        return parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_PAIRS, errors="strict")
    except ValueError as error:
        raise InputError("request.query") from error


@cache
def _key(name: str) -> str:
    """Name a header field as RFC 3875 does; callers name few."""
    return "HTTP_" + name.upper().replace("-", "_")
