"""The pages of a node's own records: finding them, all of a patient, one with its versions and its proof.

Keeps true: only who is signed in sees anything, and only what his role allows; what was typed to search with is in no
address (a form is posted, a next page is a sealed cursor); pages change nothing. Trusts `Reading` for rights and audit.
Source: `docs/spec/smart.md`; FHIR R4 §2.45 (compartments).
"""

from __future__ import annotations

import mimetypes
import re
from typing import Final
from urllib.parse import urlencode

from flask import Blueprint, Response, request

from fhir_bridge.browse.reading import Listed, Reading, RefusedError, access_of
from fhir_bridge.browse.view import rows_of, when_of
from fhir_bridge.browse.wording import element_in, line_in, place_of, type_in
from fhir_bridge.document import Resource, write_pretty
from fhir_bridge.rest.core import Core
from fhir_bridge.search.cursor import PARAMETER
from medchain.errors import NotFoundError
from medchain.web.pages import Pages, add_views, attached, language, redirected

_PATIENT: Final = "Patient"
_BINARY: Final = "Binary"
_COUNT: Final = "_count=20"
_VERSIONS: Final = "_count=50"
# One page of a patient shows so much; what is more is found by type.
_SUMMARY: Final = "_count=200&_sort=-_lastUpdated"
_TYPE: Final = re.compile(r"[A-Z][A-Za-z]{1,63}")
_ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_MAX_CHARS: Final = 1024
_SHOWN: Final = 10
_GONE: Final = 410


def showing_refusals(pages: Pages, blueprint: Blueprint) -> Blueprint:
    """Have a blueprint's errors shown as pages, and with them what the server refuses."""

    def refused(error: RefusedError) -> Response:
        return pages.render("error.html", error.status, text=error.text)

    blueprint.register_error_handler(RefusedError, refused)
    return pages.guard(blueprint)


class BrowsePages:
    """The pages of one node."""

    __slots__ = ("_core", "_pages", "_site")

    def __init__(self, pages: Pages, core: Core) -> None:
        """Prepare; `core` is the REST server's."""
        self._pages = pages
        self._site = pages.site
        self._core = core

    def blueprint(self) -> Blueprint:
        """Make the routes."""
        rows = (
            ("/browse", self.begin, "GET"),
            ("/browse/find", self.again, "GET"),
            ("/browse/find", self.find, "POST"),
            ("/browse/<type_name>", self.more, "GET"),
            ("/browse/<type_name>/<record_id>", self.record, "GET"),
            ("/browse/<type_name>/<record_id>/of/<other>", self.of_type, "GET"),
            ("/browse/<type_name>/<record_id>/versions/<int:version>", self.version, "GET"),
            ("/browse/<type_name>/<record_id>/versions/<int:version>/proof", self.proof, "GET"),
            ("/browse/<type_name>/<record_id>/versions/<int:version>/content", self.content, "GET"),
        )
        blueprint = Blueprint("browse", __name__, template_folder="templates")
        return showing_refusals(self._pages, add_views(blueprint, rows))

    def begin(self) -> Response:
        """Show the search."""
        return self._search(self._reading())

    def again(self) -> Response:
        """Show the search, where a reader has changed the language of what was found."""
        self._reading()
        return redirected("/browse")

    def find(self) -> Response:
        """Search."""
        self._site.check_form()
        reading = self._reading()
        text, query = (request.form.get(name, "").strip()[:_MAX_CHARS] for name in ("text", "query"))
        type_name = request.form.get("type", _PATIENT)
        given = {"query": query, "text": text, "type": type_name}
        if _TYPE.fullmatch(type_name) is None:
            raise NotFoundError("page.unknown")
        try:
            if request.form.get("step") == "patient":
                found = reading.patients(text) if text else Listed([], "", [])
                return self._search(reading, given, found, _PATIENT)
            found = reading.listed(type_name, "&".join(one for one in (_COUNT, query.lstrip("?")) if one))
        except RefusedError as error:
            return self._search(reading, given, problem=error)
        return self._search(reading, given, found, type_name)

    def more(self, type_name: str) -> Response:
        """Show a next page of what was found."""
        _check(type_name)
        cursor = request.args.get("cursor", "")
        if not cursor:
            return redirected("/browse")
        reading = self._reading()
        return self._list(reading.listed(type_name, urlencode({PARAMETER: cursor})), type_name, f"/browse/{type_name}")

    def of_type(self, type_name: str, record_id: str, other: str) -> Response:
        """Show what there is of one type in a patient's compartment."""
        _check(type_name, record_id)
        _check(other)
        cursor = request.args.get("cursor", "")
        place = f"{type_name}/{record_id}/{other}"
        found = self._reading().listed(place, urlencode({PARAMETER: cursor}) if cursor else _COUNT)
        return self._list(found, other, f"/browse/{type_name}/{record_id}/of/{other}")

    def record(self, type_name: str, record_id: str) -> Response:
        """Show a record as it is, and all of a patient."""
        _check(type_name, record_id)
        reading = self._reading()
        if type_name == _BINARY:
            return self._file(reading, f"{type_name}/{record_id}")
        try:
            resource, anchored = reading.resource(f"{type_name}/{record_id}")
        except RefusedError as error:
            if error.status != _GONE:
                raise
            return self._gone(reading, f"{type_name}/{record_id}", error)
        return self._record(reading, resource, anchored, is_newest=True)

    def version(self, type_name: str, record_id: str, version: int) -> Response:
        """Show one version of a record."""
        _check(type_name, record_id)
        reading, place = self._reading(), f"{type_name}/{record_id}/_history/{version}"
        if type_name == _BINARY:
            return self._file(reading, place)
        resource, anchored = reading.resource(place)
        return self._record(reading, resource, anchored, is_newest=False)

    def proof(self, type_name: str, record_id: str, version: int) -> Response:
        """Give a version's proof bundle."""
        _check(type_name, record_id)
        reply = self._reading().get(f"{type_name}/{record_id}/_history/{version}/$proof")
        name = f"{type_name}-{record_id}-{version}.proof.zip"
        return attached(reply.body, reply.content_type, name)

    def content(self, type_name: str, record_id: str, version: int) -> Response:
        """Give the bytes of a Binary."""
        if type_name != _BINARY:
            raise NotFoundError("page.unknown")
        _check(type_name, record_id)
        reply = self._reading().get(f"{type_name}/{record_id}/_history/{version}", native=True)
        suffix = mimetypes.guess_extension(reply.content_type.partition(";")[0].strip()) or ""
        response = attached(reply.body, reply.content_type, f"{record_id}-{version}{suffix}")
        response.headers["Content-Length"] = reply.headers["Content-Length"]
        return response

    def _reading(self) -> Reading:
        """Ask in the name of who is signed in; raises `AccessDeniedError` where nobody is."""
        return Reading(self._core, access_of(self._site.require()), language())

    def _search(
        self,
        reading: Reading,
        given: dict[str, str] | None = None,
        found: Listed | None = None,
        type_name: str = "",
        problem: RefusedError | None = None,
    ) -> Response:
        """Show the search and what it found."""
        types = reading.types()
        return self._pages.render(
            "browse/search.html",
            200 if problem is None else problem.status,
            types=[(name, type_in(name)) for name in types],
            is_for_patients=_PATIENT in types,
            given=given or {"query": "", "text": "", "type": _PATIENT},
            found=None if found is None else [line_in(self._pages, one) for one in found.resources],
            more=""
            if found is None or not found.cursor
            else f"/browse/{type_name}?{urlencode({'cursor': found.cursor})}",
            problem="" if problem is None else problem.text,
        )

    def _list(self, found: Listed, type_name: str, place: str) -> Response:
        """Show a page of what was found."""
        return self._pages.render(
            "browse/list.html",
            heading=type_in(type_name),
            found=[line_in(self._pages, one) for one in found.resources],
            more=f"{place}?{urlencode({'cursor': found.cursor})}" if found.cursor else "",
            place=f"{place}?{urlencode({'cursor': request.args.get('cursor', '')})}&"
            if "cursor" in request.args
            else f"{place}?",
        )

    def _record(self, reading: Reading, resource: Resource, anchored: str, *, is_newest: bool) -> Response:
        """Show a version of a record, with all versions."""
        place, version = place_of(resource), _version(resource)
        is_patient = is_newest and place.startswith(f"{_PATIENT}/")
        return self._pages.render(
            "browse/record.html",
            heading=line_in(self._pages, resource),
            place=place,
            version=version,
            is_newest=is_newest,
            anchored=self._anchored(anchored),
            rows=[
                (row.depth, element_in(row.name), row.whole(self._pages.dated), row.link) for row in rows_of(resource)
            ],
            text=write_pretty(resource).decode("utf-8"),
            versions=self._versions(reading, place),
            groups=self._groups(reading, place) if is_patient else None,
        )

    def _gone(self, reading: Reading, place: str, error: RefusedError) -> Response:
        """Show what there was of a record that was deleted."""
        versions = self._versions(reading, place)
        return self._pages.render("browse/gone.html", _GONE, place=place, text=error.text, versions=versions)

    def _file(self, reading: Reading, path: str) -> Response:
        """Show what is known of a Binary; its bytes are for downloading."""
        reply = reading.get(path, native=True)
        place = "/".join(path.split("/")[:2])
        version = int(reply.headers["ETag"].strip('W/"'))
        return self._pages.render(
            "browse/file.html",
            place=place,
            version=version,
            kind=reply.content_type,
            size=int(reply.headers["Content-Length"]),
            about=reply.headers.get("X-Security-Context", ""),
            anchored=self._anchored(reply.headers["Medchain-Anchored"]),
        )

    def _versions(self, reading: Reading, place: str) -> list[dict[str, object]]:
        """List the versions of a record, the newest first."""
        type_name, record_id = place.split("/")
        found = []
        for entry in reading.listed(f"{place}/_history", _VERSIONS).entries:
            answer, asked = entry.get("response"), entry.get("request")
            if not isinstance(answer, dict) or not isinstance(asked, dict):
                continue
            version = int(str(answer.get("etag")).strip('W/"'))
            anchored = self._anchored(reading.anchored(type_name, record_id, version))
            is_deletion = asked.get("method") == "DELETE"
            when = self._pages.dated(str(answer.get("lastModified", "")))
            found.append({"number": version, "when": when, "is_deletion": is_deletion, "anchored": anchored})
        return found

    def _groups(self, reading: Reading, place: str) -> list[dict[str, object]]:
        """List what there is of a patient by type, each with its newest, the largest group first."""
        found = reading.listed(f"{place}/*", _SUMMARY)
        groups: dict[str, list[Resource]] = {}
        for one in found.resources:
            if place_of(one) != place:
                groups.setdefault(str(one.get("resourceType")), []).append(one)
        return [
            {
                "name": type_in(name),
                "place": f"/browse/{place}/of/{name}",
                "count": f"{len(rows)}{'+' if found.cursor else ''}",
                "found": [line_in(self._pages, one) for one in sorted(rows, key=when_of, reverse=True)[:_SHOWN]],
                "is_cut": len(rows) > _SHOWN or bool(found.cursor),
            }
            for name, rows in sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
        ]

    def _anchored(self, header: str) -> str:
        """Word how far something is anchored."""
        state, _, position = header.partition("; position=")
        if state == "final":
            return self._pages.say("browse.final", position=position)
        return self._pages.say("browse.ordered", position=position) if position else self._pages.say("browse.pending")


def _check(type_name: str, record_id: str = "x") -> None:
    """See that an address names a record; raises `NotFoundError` ``page.unknown``."""
    if _TYPE.fullmatch(type_name) is None or _ID.fullmatch(record_id) is None:
        raise NotFoundError("page.unknown")


def _version(resource: Resource) -> str:
    """Tell which version of a resource it is."""
    meta = resource.get("meta")
    return str(meta.get("versionId")) if isinstance(meta, dict) else ""
