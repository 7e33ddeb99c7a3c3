"""When those were born of whom a stored Bundle tells, each as late as may be: who may have been a minor was one. Pure.

Keeps true: a date counts for a record wherever both may be of the same person; of what names nobody, and of a Patient
whom nothing tells from others, it counts for all. Trusts its caller for the dates of the patients of this node.
Source: `docs/spec/labels.md` 9, `docs/spec/consent.md` C15.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Final

from fhir_bridge.bundled import NOBODY, Lying, Whom, united
from fhir_bridge.document import Resource, member
from medchain.encoding import objects_in

_PATIENT: Final = "Patient"
_LATEST: Final = "9999-99-99"
_YEAR_CHARS: Final = 4


class Births:
    """The birth dates."""

    __slots__ = ("_all", "_anybody", "_dates", "_found", "_known")

    def __init__(self, lying: Sequence[Lying], known: Callable[[str], str]) -> None:
        """Read what a Bundle says of them.

        Args:
            lying: what lies in it, patients by their ids.
            known: tells the birth date of a patient of this node by id, empty where it is not known.
        """
        self._known = known
        self._dates: dict[str, str] = {}
        self._found: dict[Whom, str] = {}
        for one in lying:
            if one.record.get("resourceType") == _PATIENT:
                self._add(one.about, member(one.record, "birthDate"))
        self._anybody = latest(_of_nobody(lying))
        self._all = self._of(united(one.about for one in lying))

    def of(self, one: Lying) -> str:
        """Tell when the last of those may have been born whom a record may be about; empty where nobody knows."""
        if one.about == NOBODY:
            return self._all
        found = self._found.get(one.about)
        if found is None:
            found = self._found[one.about] = self._of(one.about)
        return found

    def _add(self, patient: Whom, date: str) -> None:
        """Know a Patient's date, by all that names the Patient."""
        for key in patient.keys:
            self._dates[key] = latest([self._dates.get(key, ""), date])

    def _of(self, whom: Whom) -> str:
        """Tell the date of whom ids and identifiers name."""
        here = map(self._known, whom.tokens)
        return latest(chain([self._anybody], here, (self._dates.get(key, "") for key in whom.keys)))


def latest(dates: Iterable[str]) -> str:
    """Return the date that may be the latest, as FHIR writes dates; empty for none."""
    readable = (one for one in dates if one[:_YEAR_CHARS].isascii() and one[:_YEAR_CHARS].isdigit())
    return max(readable, key=lambda one: one + _LATEST[len(one) :], default="")


def _of_nobody(lying: Sequence[Lying]) -> Iterator[str]:
    """List the dates of the Patients whom nothing tells from others: without a name, or contained in a record."""
    for one in lying:
        contained: Iterable[Resource] = objects_in(one.record.get("contained"))
        alone = (one.record,) if one.about == NOBODY else ()
        yield from (
            member(each, "birthDate") for each in chain(alone, contained) if each.get("resourceType") == _PATIENT
        )
