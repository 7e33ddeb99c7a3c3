"""What the pages ask for, on the way that every other client's request takes.

Keeps true: a person may see what his role may hand on to an application, no more; the gate judges and the audit keeps
each request, as for any client; pages change nothing. Trusts the session for who it is.
Source: `docs/spec/smart.md`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import parse_qs, urlencode, urlsplit

from fhir_bridge.capability import served_types
from fhir_bridge.document import MAX_DEPTH, Element, Number, Resource, objects_of, parse
from fhir_bridge.rest.ask import Ask, Reply, new_request_id
from fhir_bridge.rest.core import Core
from fhir_bridge.rest.routes import answer
from fhir_bridge.search.cursor import PARAMETER
from fhir_bridge.smart.access import Access, permit
from fhir_bridge.smart.roles import ROLE_SCOPES
from fhir_bridge.smart.scopes import Action
from medchain.ledger.emergency_request import BREAKING
from medchain.node.emergency import find_open
from medchain.web.session import SignedIn

CLIENT: Final = "(browse)"
"""As which client the pages are on the audit; no registered client can be called so."""

MOST_PATIENTS: Final = 20
"""Most patients of one answer to what a person typed."""

_OK: Final = 200
_PATIENT: Final = "Patient"
_DEPTH: Final = MAX_DEPTH + 8


class RefusedError(Exception):
    """The server has refused; carries what it said in the reader's language."""

    def __init__(self, status: int, text: str) -> None:
        """Keep what it said."""
        super().__init__(text)
        self.status = status
        self.text = text


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of what was found.

    Attributes:
        resources: matches, in their order.
        cursor: of the next page; empty for none.
        entries: of the Bundle, for histories.
    """

    resources: list[Resource]
    cursor: str
    entries: list[Resource]


class Reading:
    """Asks in one person's name."""

    __slots__ = ("_access", "_core", "_language")

    def __init__(self, core: Core, access: Access, language: str) -> None:
        """Prepare; `language` is that of refusals."""
        self._access = access
        self._core = core
        self._language = language

    @property
    def language(self) -> str:
        """Of who reads."""
        return self._language

    def types(self) -> list[str]:
        """List the types that this person may search."""
        return [name for name in served_types() if permit(self._access, name, Action.SEARCH) is not None]

    def get(self, path: str, query: str = "", *, native: bool = False) -> Reply:
        """Ask for something.

        Args:
            path: below the base address.
            query: without the question mark.
            native: whether a Binary is wanted as its own bytes.

        Returns:
            The answer, a good one.

        Raises:
            RefusedError: what the server says otherwise.
        """
        fields = {"HTTP_ACCEPT_LANGUAGE": self._language, "HTTP_PREFER": "handling=strict"}
        if not native:
            fields["HTTP_ACCEPT"] = "application/fhir+json"
        ask = Ask("GET", path, query, fields=fields, access=self._access_to(path), request_id=new_request_id())
        reply = answer(self._core, ask)
        if reply.status != _OK:
            raise RefusedError(reply.status, _said(reply))
        return reply

    def resource(self, path: str) -> tuple[Resource, str]:
        """Read a resource; returns it and how far it is anchored. Raises `RefusedError`."""
        reply = self.get(path)
        return parse(_whole(reply), _DEPTH), reply.headers.get("Medchain-Anchored", "")

    def listed(self, path: str, query: str = "") -> Listed:
        """Search, or read a history; raises `RefusedError`."""
        bundle = parse(_whole(self.get(path, query)), _DEPTH)
        entries = objects_of(bundle.get("entry"))
        found = [
            one["resource"] for one in entries if _mode(one) != "outcome" and isinstance(one.get("resource"), dict)
        ]
        return Listed([one for one in found if isinstance(one, dict)], _cursor(bundle), entries)

    def count(self, path: str, query: str) -> int:
        """Count what a search finds; raises `RefusedError`."""
        total = parse(_whole(self.get(path, f"{query}&_summary=count")), _DEPTH).get("total")
        return int(total.text) if isinstance(total, Number) else 0

    def patients(self, text: str) -> Listed:
        """Find patients by an identifier, or else by a name, at most `MOST_PATIENTS` at once; raises `RefusedError`."""
        value = text.replace("\\", "\\\\").replace(",", "\\,").replace("$", "\\$")
        found = self.listed(_PATIENT, urlencode({"_count": MOST_PATIENTS, "identifier": value}))
        return found if found.resources else self.listed(_PATIENT, urlencode({"_count": MOST_PATIENTS, "name": value}))

    def _access_to(self, path: str) -> Access:
        """Say for what this person looks: an emergency where the record is of a patient for whom one is open."""
        type_name, _, rest = path.partition("/")
        found = self._core.reader.find(type_name, rest.partition("/")[0]) if rest else None
        if found is None or not self._access.user:
            return self._access
        opened = find_open(self._core.store, found.stored.patient, self._access.user, self._core.clock())
        return self._access if opened is None else replace(self._access, asked_for=BREAKING)

    def anchored(self, type_name: str, record_id: str, version: int) -> str:
        """Tell how far a version that was shown already is anchored."""
        found = self._core.reader.find(type_name, record_id, version)
        return "" if found is None else self._core.anchored(found.stored.position)


def access_of(me: SignedIn) -> Access:
    """Say what a member of the staff may see on pages."""
    account = me.account
    user = account.fhir_user or account.id
    return Access(CLIENT, ROLE_SCOPES.get(account.role, ()), user=user, role=account.role.value)


def _whole(reply: Reply) -> bytes:
    """Take a body whole."""
    return reply.body if isinstance(reply.body, bytes) else b"".join(reply.body)


def _mode(entry: Resource) -> Element:
    """Tell why an entry is in a Bundle."""
    search = entry.get("search")
    return search.get("mode") if isinstance(search, dict) else None


def _cursor(bundle: Resource) -> str:
    """Read the cursor of the next page; empty for none."""
    for link in objects_of(bundle.get("link")):
        if link.get("relation") == "next":
            return parse_qs(urlsplit(str(link.get("url"))).query).get(PARAMETER, [""])[0]
    return ""


def _said(reply: Reply) -> str:
    """Read what an OperationOutcome says."""
    for issue in objects_of(parse(_whole(reply)).get("issue")):
        details, place = issue.get("details"), issue.get("diagnostics")
        text = details.get("text") if isinstance(details, dict) else None
        return " ".join(one for one in (text, place) if isinstance(one, str))
    return ""
