"""What a patient may permit: an ask, or a choice of its parts, written as terms to sign, and what it would let through.

Pure. Keeps true: nothing is offered beyond what was asked for; sensitive records are permitted by their own choice
only; the preview asks the same decision over the same bytes as a release does.
Source: `docs/spec/patient-pages.md`; `docs/spec/consent.md` D5, D9, D18; PIPL arts. 23, 29.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from consent.decision import Resource
from consent.vocabulary import ACT_CODE, SENSITIVITIES
from consent.web.kinds import KINDS, OTHER, SENSITIVE, kind_of, kinds_of
from consent.web.replay import Replay
from medchain.encoding import Json, unhex
from medchain.errors import AccessDeniedError, InputError
from medchain.ledger.kinds import consent as consents
from medchain.ledger.kinds.content import ANY_TYPE, DAY_S, names, period, types_within
from medchain.ledger.transaction import HASH_BYTES, ID_BYTES

EXAMPLES: Final = 3
"""So many records of a kind are shown as examples."""

_DAYS: Final = (7, 30, 90, 365)
_START_S: Final = 60
_SCOPE: Final = "http://terminology.hl7.org/CodeSystem/consentscope"
_CATEGORY: Final = "http://loinc.org"
# A label covers what lies below it.
_SENSITIVE: Final = {
    kind: frozenset(codes).union(*(SENSITIVITIES.get(code, frozenset()) for code in codes))
    for kind, codes in SENSITIVE.items()
}


@dataclass(frozen=True, slots=True)
class Choice:
    """What the patient has chosen of an ask.

    Attributes:
        kinds: kinds of records (`consent.web.kinds`).
        sensitive: sensitive kinds that are permitted as well.
        days: for how long.
    """

    kinds: frozenset[str]
    sensitive: frozenset[str]
    days: int


@dataclass(frozen=True, slots=True)
class KindPreview:
    """What would be let through of one kind.

    Attributes:
        kind: which.
        count: records that pass.
        examples: the first of those that pass.
    """

    kind: str
    count: int
    examples: tuple[Resource, ...]


def choices_of(ask: Mapping[str, Json]) -> tuple[list[str], list[int]]:
    """List what may be chosen: kinds, and for how many days, the shortest first."""
    types, days = _types(ask), int(str(ask.get("days", 0)))
    kinds = [*KINDS, OTHER] if types == [ANY_TYPE] else kinds_of(types)
    return kinds, sorted({days, *(one for one in _DAYS if one < days)})


def choice_of(ask: Mapping[str, Json], kinds: Iterable[str], sensitive: Iterable[str], days: str) -> Choice:
    """Read a choice from a form.

    Args:
        ask: what was asked for.
        kinds: chosen.
        sensitive: chosen.
        days: chosen.

    Returns:
        The choice.

    Raises:
        InputError: ``patient.choice`` for what is not offered, or nothing at all.
    """
    offered, spans = choices_of(ask)
    chosen, more = frozenset(kinds), frozenset(sensitive)
    is_offered = chosen and chosen <= set(offered) and more <= SENSITIVE.keys()
    if not is_offered or days not in {str(one) for one in spans}:
        raise InputError("patient.choice")
    return Choice(chosen, more, int(days))


def kinds_within(ask: Mapping[str, Json], resource_types: Collection[str]) -> list[str]:
    """List the kinds of an ask of which somebody may permit all that is asked for.

    Args:
        ask: what was asked for.
        resource_types: FHIR types within which it may, or ``*`` alone.
    """
    offered = choices_of(ask)[0]
    if ANY_TYPE in resource_types:
        return offered
    types = _types(ask)
    asked = {
        kind: KINDS.get(kind) if types == [ANY_TYPE] else [x for x in types if kind_of(x) == kind] for kind in offered
    }
    return [kind for kind, rows in asked.items() if rows and types_within(rows, resource_types)]


def check_limits(terms: Mapping[str, Json], resource_types: Collection[str]) -> None:
    """See that terms keep within a delegate's types; raises `AccessDeniedError` ``patient.limits``."""
    if not types_within(names(terms["resource_types"]), resource_types):
        raise AccessDeniedError("patient.limits")


def terms_of(ask: Mapping[str, Json], choice: Choice, custodian: str, subject: str, now: int) -> dict[str, Json]:
    """Write a choice as terms to sign (local operation ``consent.draft``).

    Args:
        ask: what was asked for.
        choice: what of it is permitted.
        custodian: org_id of this organisation.
        subject: map key of the patient's subject, hexadecimal.
        now: Unix seconds.

    Returns:
        The terms.
    """
    return {
        "custodians": [custodian],
        "fhir": _fhir(choice),
        "period": {"end": now + choice.days * DAY_S, "start": now - _START_S},
        "purpose": str(ask["purpose"]),
        "recipient": str(ask["asker"]),
        "resource_types": list(_chosen_types(ask, choice)),
        "subject": subject,
    }


def passing_under(terms: Mapping[str, Json], replay: Replay) -> list[Resource]:
    """Replay the decision over the patient's records, as if terms (`terms_of`) were in force."""
    return replay.passing(_content(terms, replay.now))


def previewed(through: Sequence[Resource]) -> dict[str, KindPreview]:
    """Count what passes (`passing_under`), by kind; kinds of which nothing does are left out."""
    found: dict[str, list[Resource]] = {}
    for one in through:
        found.setdefault(kind_of(one.type or ""), []).append(one)
    return {kind: KindPreview(kind, len(rows), tuple(rows[:EXAMPLES])) for kind, rows in found.items()}


def sensitive_in(passing: Sequence[Resource]) -> dict[str, list[Resource]]:
    """List, of records that pass, those of each sensitive kind; kinds without any are left out."""
    found: dict[str, list[Resource]] = {}
    for one in passing:
        for kind, codes in _SENSITIVE.items():
            if one.labels and not codes.isdisjoint(one.labels):
                found.setdefault(kind, []).append(one)
    return found


def _content(terms: Mapping[str, Json], now: int) -> dict[str, Json]:
    """Write what the consent object would say."""
    fhir = terms["fhir"]
    return consents.Consent(
        subject=unhex(terms["subject"], HASH_BYTES),
        acting_for=None,
        custodians=names(terms["custodians"]),
        recipient=str(terms["recipient"]),
        purpose=str(terms["purpose"]),
        resource_types=names(terms["resource_types"]),
        period=period(terms["period"]),
        data_period=None,
        fhir=fhir if isinstance(fhir, dict) else {},
        operation=consents.CREATE,
        nonce=bytes(ID_BYTES),
        stop=bytes(HASH_BYTES),
        signed_at=now,
    ).to_content()


def _types(ask: Mapping[str, Json]) -> list[str]:
    """Read the types that are asked for."""
    rows = ask.get("resource_types")
    return [str(row) for row in rows] if isinstance(rows, list) else []


def _chosen_types(ask: Mapping[str, Json], choice: Choice) -> list[str]:
    """List the types that are chosen, never more than were asked for."""
    types, offered = _types(ask), choices_of(ask)[0]
    if types == [ANY_TYPE]:
        if choice.kinds >= set(offered):
            return types
        chosen = sorted(name for kind in choice.kinds for name in KINDS.get(kind, ()))
        if not chosen:
            raise InputError("patient.choice")
        return chosen
    return [name for name in types if kind_of(name) in choice.kinds]


def _fhir(choice: Choice) -> dict[str, Json]:
    """Write the FHIR Consent: all that the object's own fields permit, but sensitive records that were not chosen."""
    kept = [code for kind, codes in SENSITIVE.items() if kind not in choice.sensitive for code in codes]
    labels: list[Json] = [{"code": code, "system": ACT_CODE} for code in sorted(kept)]
    provision: dict[str, Json] = {"type": "permit"}
    if labels:
        provision["provision"] = [{"securityLabel": labels, "type": "deny"}]
    return {
        "category": [{"coding": [{"code": "59284-0", "system": _CATEGORY}]}],
        "provision": provision,
        "resourceType": "Consent",
        "scope": {"coding": [{"code": "patient-privacy", "system": _SCOPE}]},
        "status": "active",
    }
