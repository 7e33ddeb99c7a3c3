"""An ask for one claim: what the patient is shown of it, and what is signed.

Keeps true: what is offered is what was asked for, whole, or nothing; the records are those that the claim cites and are
here; sensitive ones among them are permitted by their own choice only. What is said of the claim (number, amount) is
the asker's word, and said to be that. Trusts `medchain.ledger.one_claim` for the form of the consent.
Source: `docs/spec/patient-pages.md` 27; `docs/spec/consent.md` D21; `docs/spec/ask.md` 1; PIPL arts. 23, 29.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from consent.decision import Resource
from consent.web.effect import examples_of, some_of, unless_row
from consent.web.kinds import KINDS, OTHER, SENSITIVE, kind_of
from consent.web.naming import title_of, when_of
from consent.web.offer import passing_under, sensitive_in
from consent.web.site import Patient, PatientSite
from consent.web.view import Given
from medchain.claims.money_words import money_text
from medchain.encoding import Json
from medchain.errors import InputError
from medchain.ledger.invoice import Amount
from medchain.ledger.kinds.capacity import CONSENT
from medchain.ledger.kinds.content import DAY_S, types_within
from medchain.ledger.one_claim import OneClaim
from medchain.node.asking import AskClaim, parse_claim
from medchain.web.pages import language

NAMED: Final = 50
"""So many of the records are named where they are signed for; more would open each of them."""

_START_S: Final = 60


def claim_in(ask: Mapping[str, Json]) -> AskClaim | None:
    """Tell for which claim something is asked; None for an ask for records."""
    return parse_claim(ask["claim"]) if "claim" in ask else None


def chosen_in(sensitive: Iterable[str]) -> frozenset[str]:
    """Read from a form which sensitive kinds are permitted as well; raises `InputError` ``patient.choice``."""
    chosen = frozenset(sensitive)
    if not chosen <= SENSITIVE.keys():
        raise InputError("patient.choice")
    return chosen


def one_claim_of(claim: AskClaim, sensitive: Collection[str]) -> OneClaim:
    """Write what is permitted.

    Args:
        claim: that it is for.
        sensitive: sensitive kinds that are permitted as well.
    """
    kept = {code for kind, codes in SENSITIVE.items() if kind not in sensitive for code in codes}
    return OneClaim(claim.digest, claim.cited, tuple(sorted(kept)))


def claim_terms(
    ask: Mapping[str, Json], claim: AskClaim, sensitive: Collection[str], subject: str, now: int
) -> dict[str, Json]:
    """Write an ask for a claim as terms to sign (local operation ``consent.draft``).

    Args:
        ask: what was asked for.
        claim: that it is for.
        sensitive: sensitive kinds that are permitted as well.
        subject: map key of the subject that signs, hexadecimal.
        now: Unix seconds.
    """
    one = one_claim_of(claim, sensitive)
    return {
        "custodians": [claim.hospital],
        "fhir": one.fhir(),
        "period": {"end": now + int(str(ask["days"])) * DAY_S, "start": now - _START_S},
        "purpose": str(ask["purpose"]),
        "recipient": str(ask["asker"]),
        "resource_types": list[Json](one.resource_types),
        "subject": subject,
    }


def claim_row(site: PatientSite, me: Patient, claim: AskClaim) -> dict[str, object]:
    """Word a claim, as who asks tells of it."""
    return {
        "number": claim.number,
        "amount": amount_said(claim),
        "hospital": site.organisation(me, claim.hospital),
        "count": len(claim.cited),
    }


def amount_said(claim: AskClaim) -> str:
    """Write a claim's amount as the reader does."""
    return money_text(Amount(claim.amount, claim.currency), language())


def asked_claim(asks: Iterable[Mapping[str, Json]], recipient: str, one: OneClaim) -> AskClaim | None:
    """Find by which ask a consent for one claim came about; None where that is not known any more.

    Args:
        asks: about the patient, answered ones too.
        recipient: org_id of who asked.
        one: what the consent is for.
    """
    found = (claim for ask in asks if ask.get("asker") == recipient and (claim := claim_in(ask)) is not None)
    return next((claim for claim in found if claim.digest == one.digest), None)


@dataclass(frozen=True, slots=True)
class Cited:
    """The records that a claim cites, as far as they are here.

    Attributes:
        plain: those that are told of.
        sensitive: those that are told of only if their kind is ticked, by kind.
        missing: how many are not here, or hidden.
    """

    plain: Sequence[Resource]
    sensitive: Mapping[str, Sequence[Resource]]
    missing: int


def cited_here(site: PatientSite, me: Patient, ask: Mapping[str, Json], claim: AskClaim) -> Cited:
    """Look up the records of a claim, with the decision that would be asked for it."""
    now, replay = site.pages.site.clock(), site.replay(me)
    subject = bytes(32).hex()

    def passing(sensitive: Collection[str]) -> list[Resource]:
        return passing_under(claim_terms(ask, claim, sensitive, subject, now), replay)

    everything = passing(SENSITIVE)
    return Cited(passing(()), sensitive_in(everything), len(claim.cited) - len(everything))


def claim_values(
    site: PatientSite, me: Patient, ask: Mapping[str, Json], claim: AskClaim, given: Iterable[Given]
) -> dict[str, object]:
    """Gather what the page of an ask for a claim says.

    Args:
        site: of the pages.
        me: whom it is about, and who reads it.
        ask: what is asked for.
        claim: that it is for.
        given: the patient's consents.
    """
    found, now = cited_here(site, me, ask, claim), site.pages.site.clock()
    by_kind: dict[str, list[Resource]] = {}
    for one in found.plain:
        by_kind.setdefault(kind_of(one.type or ""), []).append(one)
    shown = examples_of(site, me, [*by_kind.values(), *found.sensitive.values()])
    is_within = types_within(one_claim_of(claim, ()).resource_types, me.types)
    days = int(str(ask["days"]))
    return {
        "claim": claim_row(site, me, claim),
        "rows": [
            {"name": site.pages.say(f"kind.{kind}"), **some_of(site, by_kind[kind], shown)}
            for kind in (*KINDS, OTHER)
            if kind in by_kind
        ],
        "told": len(found.plain),
        "missing": found.missing,
        "sensitive": [
            {"kind": kind, "name": site.pages.say(f"sensitive.{kind}"), **some_of(site, rows, shown)}
            for kind, rows in found.sensitive.items()
        ],
        "days": site.pages.say("ask.days", days=days),
        "until": site.day(now + days * DAY_S),
        "unless": unless_row(site, me, ask, site.replay(me)),
        "is_given": any(
            one.is_in_force and one.claim is not None and one.claim.digest == claim.digest for one in given
        ),
        "beside": [site.who(one) for one in site.beside(me)],
        "is_within": is_within,
        "may_decide": me.may(CONSENT) and is_within,
    }


def signed_names(site: PatientSite, me: Patient, claim: AskClaim) -> dict[str, str]:
    """Say how the claim and its first records are called where the consent is signed; all else stands in the draft."""
    shown = site.records_of(me).some(me.id, claim.cited[:NAMED], language())
    dated = {one: (title_of(site, record), when_of(site, record)) for one, record in shown.items()}
    named = {
        one: title + (site.pages.say("patient.bracket", text=when) if when else "")
        for one, (title, when) in dated.items()
    }
    said = site.pages.say("claim.named", number=claim.number, amount=amount_said(claim))
    return named | {claim.digest.hex(): said}
