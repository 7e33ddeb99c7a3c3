"""Sensitivity labels of a record, set from its codes when it is stored (HL7 DS4P). Pure.

Keeps true: labels are added, never taken away: what a record had, or an older version of a set gave it, stays until a
person takes it back by name. What is sensitive is at least restricted. Every label that was added says by which row of
which version of which set. Trusts whoever loads a set for its rows.
Source: `docs/spec/labels.md`; HL7 DS4P 1.0 §4 (labels in ``meta.security``); `consent.vocabulary` for the codes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from consent.decision import coding_key
from consent.label_sets import CARRIED_ID, CARRIED_VERSION, ICD10, ICD10_ROWS, LOINC, LOINC_ROWS
from consent.vocabulary import LEVELS, NORMAL, RESTRICTED, SENSITIVITIES
from medchain.encoding import Json, members
from medchain.errors import InputError

MAX_ROWS: Final = 200_000
"""Most rows of a set."""

MINOR: Final = "ADOL"
"""Sensitivity of what a minor may want to keep from others."""

PRIVATE_OF_MINORS: Final = frozenset({"HIV", "PSY", "SDV", "SEX", "STD", "SUD"})
"""Sensitivities that get `MINOR` beside them in a minor's record."""

_RESTRICTED: Final = "R"
_MAX_TEXT: Final = 200


@dataclass(frozen=True, slots=True)
class LabelSet:
    """A code set that says which codes are sensitive.

    Attributes:
        id: its name.
        version: which of its versions.
        codes: coding, as `consent.decision.coding_key` writes it → sensitivities.
        ranges: code system → (first, last, sensitivity), codes without dots, compared over their own length.
    """

    id: str
    version: str
    codes: Mapping[str, frozenset[str]]
    ranges: Mapping[str, tuple[tuple[str, str, str], ...]]

    def sensitivities(self, coding: str) -> frozenset[str]:
        """Return the sensitivities of a coding."""
        system, _, code = coding.rpartition("|")
        plain = code.replace(".", "").upper()
        found = {label for first, last, label in self.ranges.get(system, ()) if _covers(first, last, plain)}
        return self.codes.get(coding, frozenset()) | found


@dataclass(frozen=True, slots=True)
class Because:
    """Why a label was added.

    Attributes:
        label: the sensitivity.
        coding: the record's coding; `MINOR` for the age.
        set_id: the set.
        set_version: its version.
    """

    label: str
    coding: str
    set_id: str
    set_version: str


@dataclass(frozen=True, slots=True)
class Labelled:
    """Labels of a record.

    Attributes:
        labels: all of them, those that it had included; of the levels of confidentiality the highest.
        because: why those were added that it had not, sorted.
    """

    labels: frozenset[str]
    because: tuple[Because, ...]


def labelled(
    codes: Iterable[str],
    present: frozenset[str],
    sets: Sequence[LabelSet],
    *,
    is_minor: bool = False,
    taken_back: frozenset[str] = frozenset(),
) -> Labelled:
    """Set the labels of a record.

    Args:
        codes: its codings, as `consent.decision.coding_key` writes them.
        present: labels that it has, or had in an earlier version.
        sets: code sets; all count.
        is_minor: whether the patient was a minor when what it tells of happened.
        taken_back: labels that a person has taken back from it: no set gives it these again.

    Returns:
        Its labels, never less than it had.
    """
    because = {
        Because(label, coding, one.id, one.version)
        for coding in codes
        for one in sets
        for label in one.sensitivities(coding)
        if label not in present and label not in taken_back
    }
    found = present | {row.label for row in because}
    if (
        is_minor
        and MINOR not in found | taken_back
        and any(found & SENSITIVITIES[label] for label in PRIVATE_OF_MINORS)
    ):
        because.add(Because(MINOR, MINOR, CARRIED_ID, CARRIED_VERSION))
        found |= {MINOR}
    levels = [label for label in found if label in LEVELS]
    if because:
        levels.append(_RESTRICTED)
    kept = {max(levels, key=LEVELS.__getitem__)} if levels else set[str]()
    ordered = sorted(because, key=lambda row: (row.label, row.coding, row.set_id, row.set_version))
    return Labelled(frozenset(found - LEVELS.keys()) | kept, tuple(ordered))


def lowered(before: frozenset[str], after: frozenset[str]) -> frozenset[str]:
    """Name the labels whose loss makes a record less guarded.

    Args:
        before: labels that it had.
        after: labels that it would have.

    Returns:
        Sensitivities that no label covers any more, and the confidentiality if it falls. Whoever stores refuses these
        unless a person has taken each back by name.
    """
    lost = {label for label in before - after - LEVELS.keys() if not _is_covered(label, after)}
    if _level(after) < _level(before):
        lost.add(next(code for code, level in LEVELS.items() if level == _level(before)))
    return frozenset(lost)


def read_set(document: Json) -> LabelSet:
    """Read a code set that somebody loads.

    Args:
        document: ``{"id","version","rows":[{"system","code","label"}|{"system","first","last","label"}…]}``.

    Returns:
        The set.

    Raises:
        InputError: ``encoding.members``, ``labels.row`` with its ``index``, ``labels.size``, ``labels.text``.
    """
    top = members(document, {"id": str, "rows": list, "version": str})
    rows = top["rows"]
    if not isinstance(rows, list) or not 0 < len(rows) <= MAX_ROWS:
        raise InputError("labels.size")
    if not (_is_text(top["id"]) and _is_text(top["version"])):
        raise InputError("labels.text")
    codes: dict[str, set[str]] = {}
    ranges: dict[str, list[tuple[str, str, str]]] = {}
    for index, row in enumerate(rows):
        if not isinstance(row, dict) or not _is_row(row):
            raise InputError("labels.row", index=index)
        system, label = str(row["system"]), str(row["label"])
        if "code" in row:
            codes.setdefault(coding_key(system, str(row["code"])), set()).add(label)
        else:
            ranges.setdefault(system, []).append((str(row["first"]), str(row["last"]), label))
    return LabelSet(
        str(top["id"]),
        str(top["version"]),
        {coding: frozenset(found) for coding, found in codes.items()},
        {system: tuple(found) for system, found in ranges.items()},
    )


_ROW: Final = frozenset({"code", "label", "system"})
_RANGE: Final = frozenset({"first", "label", "last", "system"})


def _is_row(row: Mapping[str, Json]) -> bool:
    """Tell whether a row names a sensitivity, a code or a range of them, and nothing that we do not know."""
    label, first, last = row.get("label"), row.get("first", ""), row.get("last", "")
    if row.keys() not in (_ROW, _RANGE) or not all(map(_is_text, row.values())):
        return False
    ordered = isinstance(first, str) and isinstance(last, str) and len(first) == len(last) and first <= last
    return ordered and isinstance(label, str) and label in SENSITIVITIES and not label.startswith("_")


def _is_text(value: Json) -> bool:
    """Tell whether a value is a text of a sensible length."""
    return isinstance(value, str) and 0 < len(value) <= _MAX_TEXT


def _covers(first: str, last: str, code: str) -> bool:
    """Tell whether a range covers a code, or one above it."""
    return first <= code[: len(first)] <= last and len(code) >= len(first)


def _is_covered(label: str, labels: frozenset[str]) -> bool:
    """Tell whether one of some labels is a sensitivity, or lies above it."""
    return any(label in SENSITIVITIES.get(other, (other,)) for other in labels)


def _level(labels: frozenset[str]) -> int:
    """Return the confidentiality that labels come to."""
    levels = [LEVELS[label] for label in labels if label in LEVELS]
    if levels:
        return max(levels)
    return RESTRICTED if labels & SENSITIVITIES.keys() else NORMAL


CARRIED: Final = LabelSet(
    CARRIED_ID,
    CARRIED_VERSION,
    {coding_key(LOINC, code): frozenset({label}) for code, label in LOINC_ROWS},
    dict.fromkeys(ICD10, ICD10_ROWS),
)
"""The set that we carry."""
