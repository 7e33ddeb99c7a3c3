"""The insurer's desk in the daemon: opens cases, asks patients for permissions, reserves, pays and refuses.

Keeps true: only an insurer has cases; one claim is one case, whoever opens it again; what is said to be reserved or
paid is final on this node's own ledger. Trusts the local channel for who calls, and web workers for having authorised
them.
Source: `docs/spec/claim-case.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import NoneType
from typing import Final

from medchain.claims.batch import CURRENCY
from medchain.claims.case_book import CaseBook, id_of
from medchain.claims.case_content import BEFORE_EVIDENCE, CaseContent, Status, is_for_a_person, read_held
from medchain.claims.case_ports import CaseParts
from medchain.claims.cases import ASK, DELETE, GIVE, LIST, NOTE, OPEN, REFUSE, RELEASE, RESERVE, SETTLE, SHOW
from medchain.claims.claim_file import ClaimFile, patients_of, read_claim, read_policy
from medchain.claims.wishes import Wish
from medchain.encoding import Json, as_list, as_number, as_object, members, unbase64, unhex
from medchain.errors import AccessDeniedError, ConflictError, InputError, MedchainError
from medchain.ledger.claim_question import AskedRow, read_row
from medchain.ledger.claim_request import Action
from medchain.ledger.invoice import Amount, amount_of
from medchain.ledger.kinds.content import DAY_S, count
from medchain.ledger.kinds.shares import MAX_RESERVED_DAYS
from medchain.ledger.members import Members
from medchain.ledger.transaction import HASH_BYTES, ID_BYTES
from medchain.store.cases import MAX_LISTED, CaseFilter, CaseRow

MAX_ASKED_DAYS: Final = 30
"""Longest permission for one claim, in days."""

FOR_A_PERSON: Final = "case.person"
"""Code of the refusal to reserve or pay unseen what a person must look at."""

CHANGED: Final = "case.changed"
"""Code of the refusal to reserve or pay on what no longer holds, or is not what the caller has seen."""

_HOW: Final = {"seen": int, "unseen": bool}
# What is said of a deed for a claim that has no part of the invoice, such as one whose reservation is over.
_NONE_LIVE: Final = "claim.reservation"
_ROLES: Final = frozenset({"authority", "insurer"})
# What is asked once more is waited for once more; what was paid, or refused, is not asked back.
_ASKABLE: Final = frozenset({*BEFORE_EVIDENCE, Status.JUDGED})
_BOUND: Final = frozenset({Status.RESERVED, Status.SETTLED})
# What is refused while it was being reserved may be held on the ledger as well.
_HELD: Final = frozenset({Status.RESERVED, Status.REFUSED})
_RESULTS: Final = {Action.RESERVE: Status.RESERVED, Action.SETTLE: Status.SETTLED, Action.RELEASE: Status.JUDGED}


def for_insurers(
    operations: Mapping[str, Callable[[Json], Json]], org_id: str, known: Callable[[], Members]
) -> dict[str, Callable[[Json], Json]]:
    """Have operations refuse whose organisation is no insurer.

    Args:
        operations: by their names.
        org_id: this organisation.
        known: gives the members of this moment.

    Returns:
        The same, which raise `AccessDeniedError` ``case.role``.
    """

    def guarded(operation: Callable[[Json], Json]) -> Callable[[Json], Json]:
        def asked(document: Json) -> Json:
            own = known().organisations.get(org_id)
            if own is None or own.role not in _ROLES:
                raise AccessDeniedError("case.role")
            return operation(document)

        return asked

    return {name: guarded(operation) for name, operation in operations.items()}


class CaseDesk:
    """The insurer's desk. Threads may share it; one process owns it."""

    __slots__ = ("_book", "_parts")

    def __init__(self, parts: CaseParts, book: CaseBook) -> None:
        """Use parts and the cases."""
        self._book = book
        self._parts = parts

    def operations(self) -> dict[str, Callable[[Json], Json]]:
        """Return the local operations."""
        return {
            ASK: self._ask,
            DELETE: self._delete,
            GIVE: self._give,
            LIST: self._list,
            NOTE: self._note,
            OPEN: self._open,
            REFUSE: self._refuse,
            RELEASE: self._release,
            RESERVE: self._reserve,
            SETTLE: self._settle,
            SHOW: self._show,
        }

    def _open(self, document: Json) -> Json:
        """Begin to look into a claim, or find its case; what is given of it anew takes the place of what was kept."""
        optional = {"claim": str, "content": str, "held": list, "hospital": str, "policy": dict, "row": dict}
        top = members(document, {}, optional)
        if ("claim" in top) == ("content" in top):
            raise InputError("case.claim")
        reference = str(top.get("claim", ""))
        stored = self._parts.shelf.stored(reference) if reference else None
        content = unbase64(top["content"]) if stored is None else stored.content
        known, hospital = self._parts.members(), str(top.get("hospital", ""))
        earlier = self._parts.earlier
        claim = read_claim(content, known, hospital, earlier=earlier)
        beside = self._parts.shelf.beside(claim, is_stored=stored is not None)
        row = read_row(top["row"]) if "row" in top else beside.row
        if not claim.hospital:
            claim = read_claim(content, known, beside.hospital or _issuer_of(row, known), earlier=earlier)
        # Relative, a patient of this node if the claim is stored here, else of who provided the services.
        own = self._parts.org_id if stored is not None else claim.hospital
        given = CaseContent(
            content=content,
            row=row,
            patients=patients_of((claim.patient, *beside.patients), known, own),
            policy=read_policy(top["policy"]) if "policy" in top else beside.policy,
            held=read_held(top.get("held", [])),
        )
        made = CaseRow(
            id=self._parts.random(ID_BYTES),
            digest=claim.digest,
            claim=reference,
            patient="" if stored is None else stored.patient,
            number=claim.number,
            hospital=claim.hospital,
            currency="" if claim.amount is None else claim.amount.currency,
            amount=None if claim.amount is None else claim.amount.minor,
            status=Status.NEW.value,
            colour="",
            created=self._parts.clock(),
            judged=None,
            document=given.encode(),
        )
        kept = self._parts.records.put_case(made)
        if kept.id != made.id:
            kept = self._book.changed(kept.id, lambda row, before: _given_anew(row, before, made, given, top))
        return self._book.told(kept)

    def _give(self, document: Json) -> Json:
        """Keep another invoice or policy with a case, null for none."""
        told = as_object(document)
        kinds = {name: dict if told.get(name) is not None else NoneType for name in ("policy", "row")}
        top = members(document, {"id": str}, kinds)
        policy, invoice = read_policy(top.get("policy")), None if top.get("row") is None else read_row(top["row"])
        known = self._parts.members()

        def change(row: CaseRow, before: CaseContent) -> tuple[CaseRow, CaseContent]:
            renewed = replace(
                before,
                policy=policy if "policy" in top else before.policy,
                row=invoice if "row" in top else before.row,
            )
            hospital = row.hospital or _issuer_of(renewed.row, known)
            if hospital != row.hospital and not row.claim:
                claim = read_claim(before.content, known, hospital)
                renewed = replace(
                    renewed, patients={**patients_of((claim.patient,), known, hospital), **renewed.patients}
                )
            return _judged_no_more(row, before, replace(row, hospital=hospital), renewed)

        return self._book.told(self._book.changed(id_of(top["id"]), change))

    def _show(self, document: Json) -> Json:
        """Tell all of a case."""
        return self._book.told(self._book.find(members(document, {"id": str})["id"]))

    def _list(self, document: Json) -> Json:
        """List cases."""
        top = members(document, {"limit": int, "offset": int}, {"filter": dict})
        texts = {"hospital": str, "number": str, "order": str}
        asked = members(top.get("filter", {}), {}, {"colours": list, "statuses": list, **texts})
        wanted = CaseFilter(
            statuses=tuple(str(one) for one in as_list(asked.get("statuses", []))),
            colours=tuple(str(one) for one in as_list(asked.get("colours", []))),
            **{name: str(asked[name]) for name in texts if name in asked},
        )
        limit, offset = count(top["limit"]), count(top["offset"])
        rows, total = self._parts.records.cases(wanted, min(limit, MAX_LISTED), offset)
        return {"cases": [self._book.listed(row) for row in rows], "total": total}

    def _ask(self, document: Json) -> Json:
        """Ask the patient for a permission for exactly this claim, at one hospital that it cites."""
        top = members(document, {"days": int, "id": str, "reason": str}, {"hospital": str, "person": str})
        row = self._book.find(top["id"])
        content, claim = self._book.read(row)
        if not 0 < as_number(top["days"]) <= MAX_ASKED_DAYS:
            raise InputError("case.days", limit=MAX_ASKED_DAYS)
        hospital = str(top.get("hospital") or claim.hospital)
        cited, patient = claim.cited.get(hospital, ()), content.patients.get(hospital, "")
        if not cited or not patient:
            raise ConflictError("case.patient")
        amount, types = _amount(content, claim), sorted({one.partition("/")[0] for one in cited})
        sent = self._parts.ask(
            {
                "claim": {
                    "amount": amount.minor,
                    "cited": [*cited],
                    "currency": amount.currency,
                    "digest": row.digest.hex(),
                    "hospital": hospital,
                    "number": row.number or row.digest.hex()[:12],
                },
                "custodian": hospital,
                "days": top["days"],
                "patient": patient,
                "person": str(top.get("person", "")),
                "purpose": "HPAYMT",
                "reason": top["reason"],
                "resource_types": [*types],
            }
        )
        asked: dict[str, Json] = {
            "cited": len(cited),
            "hospital": hospital,
            "id": as_object(sent)["id"],
            "time": self._parts.clock(),
        }
        return self._book.told(
            self._book.changed(
                row.id,
                lambda row, now: (
                    replace(row, status=Status.ASKED.value if row.status in _ASKABLE else row.status),
                    replace(now, asks=(*now.asks, asked)),
                ),
            )
        )

    def _reserve(self, document: Json) -> Json:
        """Reserve a part of the invoice; not for what this insurer has refused."""
        top = members(document, {"amount": str, "days": int, "id": str}, _HOW)
        days = count(top["days"])
        if days > MAX_RESERVED_DAYS:
            raise InputError("case.days", limit=MAX_RESERVED_DAYS)
        return self._fulfilled(Action.RESERVE, top, self._parts.clock() // DAY_S + days)

    def _settle(self, document: Json) -> Json:
        """Settle what was reserved, or less; not for what this insurer has refused."""
        return self._fulfilled(Action.SETTLE, members(document, {"amount": str, "id": str}, _HOW))

    def _release(self, document: Json) -> Json:
        """Give it up; a reservation that is over already is noted to be, for there is nothing to give up.

        That it is over says the hospital, or, where that is gone or refuses, how long ago it was made.
        """
        top = members(document, {"id": str})
        try:
            return self._fulfilled(Action.RELEASE, top)
        except MedchainError as error:
            row = self._book.find(top["id"])
            if row.status not in _HELD or (error.code != _NONE_LIVE and not self._is_over(row)):
                raise
        return self._book.told(self._book.changed(id_of(top["id"]), lambda row, now: (_freed(row), now)))

    def _is_over(self, row: CaseRow) -> bool:
        """Tell whether the newest deed of a case is a reservation that lasts no longer, whatever its last day was."""
        deeds = self._book.read(row)[0].deeds
        last_day = as_number(deeds[-1]["time"]) // DAY_S + MAX_RESERVED_DAYS if deeds else 0
        return bool(deeds) and deeds[-1]["action"] == Action.RESERVE and last_day + 1 < self._parts.clock() // DAY_S

    def _fulfilled(self, action: Action, top: Mapping[str, Json], until: int | None = None) -> Json:
        """Have the hospital do it for this case, and keep where the ledger has it."""
        if action is not Action.RELEASE:
            self._check_current(top)
        row = self._book.find(top["id"])
        content, claim = self._book.read(row)
        # Asked last before anybody is asked: what came after the verdict that the caller has seen counts as well.
        told = {**self._book.listed(row), "einvoice": content.einvoice, **self._book.ruled(content, claim)}
        if top.get("unseen") is True and is_for_a_person(told):
            raise ConflictError(FOR_A_PERSON)
        if action is not Action.RELEASE and row.status == Status.REFUSED:
            raise ConflictError("case.refused")
        if not _is_seen(row, top):
            # Judged anew while it was looked at once more.
            raise ConflictError(CHANGED)
        if content.row is None:
            raise ConflictError("case.no_invoice")
        amount = _amount(content, claim)
        if action is Action.RELEASE:
            amount = Amount(0, amount.currency)
        elif top["amount"]:
            amount = amount_of(str(top["amount"]), amount.currency)
        # While a part is reserved or paid the case is of that invoice.
        key = unhex(content.deeds[-1]["key"], HASH_BYTES) if content.deeds and row.status in _BOUND else None
        done = self._parts.fulfil(Wish(action, content.row, row.digest, amount, until, key))
        deed: dict[str, Json] = {
            "action": action.value,
            "amount": done.amount.minor,
            "currency": done.currency,
            "key": done.record.key.hex(),
            "position": done.record.since,
            "time": self._parts.clock(),
            "version": done.record.version,
        }
        return self._book.told(
            self._book.changed(
                row.id,
                lambda row, now: (
                    # Somebody else may have noted a later one already: what is paid is what the newest one says.
                    row if _is_passed(now, deed) else _after(row, action),
                    # The same again is found to be done, and is no second deed.
                    now if deed["position"] in [one["position"] for one in now.deeds] else _with_deed(now, deed),
                ),
            )
        )

    def _check_current(self, top: Mapping[str, Json]) -> None:
        """See that what was found is as it was seen, and still holds; what is refused is not looked at.

        Raises:
            ConflictError: `CHANGED` for a person, who may look at what is found now and decide; `FOR_A_PERSON` where
                nobody looks.
        """
        row = self._book.find(top["id"])
        if row.status == Status.REFUSED or (_is_seen(row, top) and self._parts.holds(row)):
            return
        raise ConflictError(FOR_A_PERSON if top.get("unseen") is True else CHANGED)

    def _refuse(self, document: Json) -> Json:
        """Note that this insurer does not pay, and why; what was reserved has to be released by itself."""
        top = members(document, {"by": str, "id": str, "reason": str})

        def change(row: CaseRow, now: CaseContent) -> tuple[CaseRow, CaseContent]:
            # Looked at here: somebody else may reserve or pay at the same moment.
            if row.status in _BOUND:
                raise ConflictError("case.reserved")
            noted = now.noted(str(top["by"]), str(top["reason"]), self._parts.clock())
            return replace(row, status=Status.REFUSED.value), noted

        return self._book.told(self._book.changed(id_of(top["id"]), change))

    def _delete(self, document: Json) -> Json:
        """Destroy a case with its evidence."""
        top = members(document, {"id": str})
        if self._book.find(top["id"]).status == Status.RESERVED:
            raise ConflictError("case.reserved")
        self._parts.records.drop_case(id_of(top["id"]))
        return {"deleted": True}

    def _note(self, document: Json) -> Json:
        """Add a note to a case."""
        top = members(document, {"by": str, "id": str, "text": str})
        by, text, now = str(top["by"]), str(top["text"]), self._parts.clock()
        return self._book.told(self._book.changed(id_of(top["id"]), lambda row, kept: (row, kept.noted(by, text, now))))


def _is_seen(row: CaseRow, top: Mapping[str, Json]) -> bool:
    """Tell whether the verdict of a case is the one that the caller has seen, as far as that is said."""
    return "seen" not in top or top["seen"] == (row.judged or 0)


def _issuer_of(row: AskedRow | None, known: Members) -> str:
    """Tell which member issues invoices under a code; empty for none."""
    if row is None:
        return ""
    issuers = ((one.org_id, one.invoices) for one in known.organisations.values())
    return next((org_id for org_id, own in issuers if own is not None and row.fields.issuer in own.issuers), "")


def _given_anew(
    row: CaseRow, before: CaseContent, made: CaseRow, given: CaseContent, top: Mapping[str, Json]
) -> tuple[CaseRow, CaseContent]:
    """Join what is given to a case that is known; a verdict on something else is none any more."""
    return _judged_no_more(row, before, _joined(row, made), _renewed(before, given, top))


def _judged_no_more(
    row: CaseRow, before: CaseContent, joined: CaseRow, renewed: CaseContent
) -> tuple[CaseRow, CaseContent]:
    """Take the verdict from a case that is no longer what was judged.

    Raises:
        ConflictError: ``case.reserved`` for another invoice than the one of which a part is reserved or settled.
    """
    if renewed.is_judged_as(before) and joined.hospital == row.hospital:
        return joined, renewed
    if renewed.row != before.row and row.status in _BOUND:
        raise ConflictError("case.reserved")
    status = joined.status
    if status == Status.JUDGED:
        status = renewed.waits_as(()).value
    return replace(joined, status=status, colour="", judged=None, verdict=b""), replace(renewed, einvoice=None)


def _joined(row: CaseRow, made: CaseRow) -> CaseRow:
    """Fill in what a case did not know when it was opened first."""
    return replace(
        row,
        claim=row.claim or made.claim,
        patient=row.patient or made.patient,
        hospital=made.hospital or row.hospital,
    )


def _renewed(before: CaseContent, given: CaseContent, top: Mapping[str, Json]) -> CaseContent:
    """Put what was given now in the place of what was kept."""
    return replace(
        before,
        row=given.row if "row" in top else before.row or given.row,
        patients={**before.patients, **given.patients},
        policy=given.policy if "policy" in top else before.policy or given.policy,
        held=given.held if "held" in top else before.held,
    )


def _after(row: CaseRow, action: Action) -> CaseRow:
    """Note what was done; what a person has refused while the hospital was doing it stays refused, and is not paid."""
    return row if row.status == Status.REFUSED else replace(row, status=_RESULTS[action].value)


def _freed(row: CaseRow) -> CaseRow:
    """Note that nothing is reserved any more."""
    return replace(row, status=Status.JUDGED.value) if row.status == Status.RESERVED else row


def _is_passed(content: CaseContent, deed: Mapping[str, Json]) -> bool:
    """Tell whether a later deed for the same invoice is noted."""
    same = (as_number(one["version"]) for one in content.deeds if one["key"] == deed["key"])
    return any(version > as_number(deed["version"]) for version in same)


def _with_deed(content: CaseContent, deed: dict[str, Json]) -> CaseContent:
    """Add what was done on the ledger, in its order."""
    deeds = sorted((*content.deeds, deed), key=lambda one: as_number(one["position"]))
    return replace(content, deeds=tuple(deeds))


def _amount(content: CaseContent, claim: ClaimFile) -> Amount:
    """Tell what is claimed; where the claim does not say, what the invoice comes to.

    Raises:
        ConflictError: ``case.amount`` where neither says it.
    """
    if claim.amount is not None:
        return claim.amount
    if content.row is None or not content.row.amount:
        raise ConflictError("case.amount")
    return amount_of(content.row.amount, content.row.currency or CURRENCY)
