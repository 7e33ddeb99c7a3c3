"""What a permission would change against one that is in force for the same recipient and purpose. Pure.

Keeps true: types are compared, not the kinds under which they are shown, so that a kind of which only a part comes or
goes is not called unchanged. A new permission stands beside the earlier one: what it leaves out is not ended by it.
Source: `docs/spec/patient-pages.md` 15.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from consent.web.kinds import KINDS, OTHER, SENSITIVE, kind_of, kinds_of
from consent.web.offer import Choice
from consent.web.view import Given
from medchain.encoding import Json
from medchain.ledger.kinds.content import ANY_TYPE


@dataclass(frozen=True, slots=True)
class Difference:
    """What would be other than before.

    Attributes:
        more: kinds of which something would be permitted that is not now, and whether that is a part of the kind only.
        less: kinds of which something would be left out that is permitted now, likewise.
        more_sensitive: sensitive kinds that would come.
        less_sensitive: sensitive kinds that would be left out.
        until: end of the new one, Unix seconds.
        before: end of the earlier one, Unix seconds; None where it has none.
    """

    more: tuple[tuple[str, bool], ...]
    less: tuple[tuple[str, bool], ...]
    more_sensitive: tuple[str, ...]
    less_sensitive: tuple[str, ...]
    until: int
    before: int | None

    @property
    def is_later(self) -> bool:
        """Whether the new one lasts longer."""
        return self.before is not None and self.until > self.before

    @property
    def is_only_date(self) -> bool:
        """Whether nothing changes but the end."""
        return not (self.more or self.less or self.more_sensitive or self.less_sensitive)


def earlier_of(given: Iterable[Given], ask: Mapping[str, Json]) -> Given | None:
    """Find the permission in force that an ask would renew: the newest for the same recipient and purpose.

    Args:
        given: the patient's consents, the newest first.
        ask: what is asked for.
    """
    wanted = ask["asker"], ask["purpose"]
    alike = (one for one in given if (one.recipient, one.purpose) == wanted)
    return next((one for one in alike if one.is_in_force and one.claim is None), None)


def difference_of(before: Given, types: Collection[str], choice: Choice, until: int) -> Difference:
    """Compare a choice with an earlier permission.

    Args:
        before: the permission in force.
        types: FHIR types that the choice permits, or ``*`` alone.
        choice: what is chosen.
        until: when it would end, Unix seconds.
    """
    mine, theirs = choice.sensitive, set(before.sensitive)
    return Difference(
        more=_kinds(types, before.types),
        less=_kinds(before.types, types),
        more_sensitive=tuple(kind for kind in SENSITIVE if kind in mine and kind not in theirs),
        less_sensitive=tuple(kind for kind in SENSITIVE if kind in theirs and kind not in mine),
        until=until,
        before=before.until,
    )


def _kinds(these: Collection[str], those: Collection[str]) -> tuple[tuple[str, bool], ...]:
    """List the kinds of types that are among these and not among those, and whether only a part of each is."""
    if ANY_TYPE in those:
        return ()
    if ANY_TYPE in these:
        whole: Sequence[str] = [kind for kind in KINDS if not set(KINDS[kind]) <= set(those)]
        return (*((kind, bool(set(KINDS[kind]) & set(those))) for kind in whole), (OTHER, False))
    gone = set(these) - set(those)
    kept = {kind_of(name) for name in set(these) & set(those)}
    return tuple((kind, kind in kept) for kind in kinds_of(gone))
