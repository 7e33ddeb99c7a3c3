"""Line 4, consent: was there a permission when the records were given, for this insurer and claim, and is there now?

Keeps true: what an access entry stood on is what its state record refs, which the ledger accepted only while it was in
force; what it says is read from a body that the ledger names. Pure.
Source: `docs/spec/claim-verdict.md`, rows ``consent``, and 6.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from medchain.encoding import Json, as_list
from medchain.ledger.evidence.checked import AccessEntry, Checked, Given, Placed
from medchain.ledger.evidence.verdict import Finding
from medchain.ledger.kinds.content import ANY_TYPE, DAY_S, Period, period
from medchain.ledger.kinds.signing import has_assertion, shown_evidence
from medchain.ledger.object import ACTIVE, Body, StateRecord
from medchain.ledger.one_claim import one_claim_in

NOBODY: Final = "–"
"""Stands for the hospital where none discloses anything."""

_MANDATE: Final = "mandate"
_SAID: Final = frozenset({"period", "purpose", "recipient", "resource_types"})
_SAID_OF: Final = {"consent": _SAID | {"custodians", "data_period", "fhir"}}


class _Permission(NamedTuple):
    """A grant, or what it stands on, at the version that the access entry stood on."""

    placed: Placed
    head: StateRecord
    record: StateRecord
    body: Body

    @property
    def content(self) -> Mapping[str, Json]:
        """What is shown of what it says."""
        return self.body.content


def consent(case: Checked) -> Iterator[Finding]:
    """Find under what the records were given."""
    if not case.given:
        yield Finding("consent.none", {"hospital": NOBODY})
    for given in case.given:
        if given.access is None:
            yield Finding("consent.none", {"hospital": given.hospital})
        else:
            yield from _of_hospital(case, given, given.access)


def _of_hospital(case: Checked, given: Given, access: AccessEntry) -> Iterator[Finding]:
    """Find it for one hospital."""
    keys = (given.disclosure.grant, *access.consents)
    shown = [_permission(case, access, key) for key in keys]
    pairs = zip(keys, shown, strict=True)
    found = [one for key, permission in pairs for one in _problem(case, given, access, (key, permission))]
    found += [one for permission in shown if permission is not None for one in _beyond(given, permission)]
    yield from found
    if not found:
        yield from (_in_force(given.hospital, permission) for permission in shown[1:] if permission is not None)


def _permission(case: Checked, access: AccessEntry, key: bytes) -> _Permission | None:
    """Find what the access entry stood on, as it was then; None where it is not shown so."""
    placed = case.items.get(key)
    stood = {ref.key: ref.version for ref in access.record.refs}
    if placed is None or placed.item.newest is None or placed.item.proven is None:
        return None
    body = placed.body if placed.item.proven.version == stood.get(key) else None
    # Without its FHIR Consent one for another claim would look like one for all.
    said = _SAID_OF.get(placed.item.proven.kind, _SAID | {"custodian"})
    if body is None or not said <= body.content.keys():
        return None
    return _Permission(placed, placed.item.newest, placed.item.proven, body)


def _problem(
    case: Checked, given: Given, access: AccessEntry, named: tuple[bytes, _Permission | None]
) -> Iterator[Finding]:
    """Say what is wrong with a permission, the first that is; nothing where it is in force."""
    key, shown = named
    name: dict[str, str | int] = {"hospital": given.hospital}
    placed = case.items.get(key)
    numbers = () if placed is None else (placed.number,)
    stopped = _stopped(case, given, access, placed)
    if stopped is not None:
        yield Finding(stopped[0], name | {"when": stopped[1]}, numbers)
    elif shown is None:
        yield Finding("consent.unshown", name, numbers)
    elif not _is_for(case, given, access, shown):
        yield Finding("consent.none", name, numbers)
    elif _other_claim(case, shown):
        yield Finding("consent.other_claim", name, numbers)
    else:
        over = _over(case, given, shown)
        if over is not None:
            yield Finding(over[0], name | {"when": over[1]}, numbers)


def _stopped(case: Checked, given: Given, access: AccessEntry, placed: Placed | None) -> tuple[str, int] | None:
    """Tell whether a permission was stopped before the records were given, or since; of an unknown time the worse."""
    head = None if placed is None else placed.item.newest
    if placed is None or head is None:
        return None
    changed = placed.item.changed
    if head.status != ACTIVE:
        is_before = head.since < access.record.since or changed is None or changed <= given.time
        return ("consent.not_in_force" if is_before else "consent.ended"), changed or 0
    if head.expires is not None and head.expires < case.state.time // DAY_S:
        return "consent.ended", head.expires * DAY_S + DAY_S - 1
    return None


def _is_for(case: Checked, given: Given, access: AccessEntry, shown: _Permission) -> bool:
    """Tell whether a permission is for this insurer, hospital and purpose."""
    content = shown.content
    custodians = as_list(content.get("custodians")) or [content.get("custodian")]
    named = (content.get("recipient"), content.get("purpose"))
    return named == (case.evidence.insurer, access.purpose) and given.hospital in custodians


def _beyond(given: Given, shown: _Permission) -> Iterator[Finding]:
    """Say which records were told of that a permission does not cover: of types, or of one claim, the records."""
    one, types = one_claim_in(shown.content), as_list(shown.content.get("resource_types"))
    cited = frozenset(() if one is None else one.cited)
    for record in given.records:
        is_named = one is None or record.row.reference in cited
        if not is_named or (ANY_TYPE not in types and record.row.type not in types):
            yield Finding("consent.beyond", record.name, (shown.placed.number,))


def _other_claim(case: Checked, shown: _Permission) -> bool:
    """Tell whether a consent is for one claim, and another."""
    one = one_claim_in(shown.content)
    return one is not None and one.digest != case.evidence.claim


def _over(case: Checked, given: Given, shown: _Permission) -> tuple[str, int] | None:
    """Tell whether the period of a permission was over, or not begun, when the records were given, or is now."""
    span = period(shown.content.get("period"))
    if not span.contains(Period(given.time, given.time)):
        return "consent.not_in_force", span.start if given.time < span.start else span.end or 0
    if span.end is not None and span.end < case.state.time:
        return "consent.ended", span.end
    return None


def _in_force(hospital: str, shown: _Permission) -> Finding:
    """Say under what the records were given, and who vouches for it."""
    told: dict[str, str | int] = {"hospital": hospital, "version": shown.record.version}
    numbers = (shown.placed.number,)
    if shown.record.kind == _MANDATE:
        return Finding("consent.mandate", told, numbers)
    told["rule"] = "general" if one_claim_in(shown.content) is None else "one-claim"
    if has_assertion(shown.body):
        signed = "passkey" if shown.content.get("acting_for", "") is None else "delegate"
        return Finding("consent.in_force", told | {"signed": signed}, numbers)
    if "attested_by" in shown_evidence(shown.body):
        return Finding("consent.attested", told, numbers)
    return Finding("consent.in_force", told | {"signed": "unshown"}, numbers)
