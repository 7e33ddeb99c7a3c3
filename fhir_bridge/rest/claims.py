"""`$claim-provenance`, which has a claim judged, and `$verify-claim-evidence`, which verifies a bundle of one.

Keeps true: only who may read all claims here has one judged, and who sends one may store claims; a claim that is stored
here is shown to be there to nobody who may not read it; a bundle is believed under this node's own trusted policy
alone. Trusts the daemon for cases, and `medchain.ledger.bundle` for what a bundle proves.
Source: `docs/spec/rest.md` 16; `docs/spec/claim-case.md`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from fhir_bridge.claim_provenance import ZIP, Answered, AskedClaim, answer_of, head_of, read_asked, read_bundle, told_of
from fhir_bridge.document import Element, write
from fhir_bridge.elsewhere import base_of
from fhir_bridge.rest.ask import Ask, Reply
from fhir_bridge.rest.core import Core
from fhir_bridge.smart.access import Access
from fhir_bridge.smart.scopes import Action
from medchain.claims.cases import MAX_WAIT_S, Case
from medchain.errors import AccessDeniedError, InputError, MedchainError, NotFoundError, VerificationError
from medchain.ledger.bundle import Verdict, verify_bundle
from medchain.ledger.evidence.document import EVIDENCE_FILE, parse_evidence
from medchain.node.packed import unpack_bundle

_TYPE: Final = "Claim"
_AGAIN_S: Final = 5
_GATHERING: Final = "gathering"
_REFERENCE: Final = re.compile(r"(Claim|ExplanationOfBenefit)/([A-Za-z0-9\-.]{1,64})")


def provenance(core: Core, ask: Ask) -> Reply:
    """Have a claim judged, and answer the verdict with its evidence."""
    _require(core, ask.who, Action.READ)
    asked = read_asked(ask.resource())
    case = _gathered(core, asked, str(_opened(core, ask, asked)["id"]))
    if case["status"] == _GATHERING or not case["verdict"]:
        rows: list[Element] = [*head_of(case)]
        waiting = {"Retry-After": str(_AGAIN_S)}
        return Reply(202, write({"resourceType": "Parameters", "parameter": rows}), waiting)
    packed = core.cases.bundle(str(case["id"]))
    if _wants_zip(ask):
        return Reply(200, packed, {"Medchain-Case": str(case["id"])}, ZIP)
    files = unpack_bundle(packed)
    answered = Answered(case, _judged(core, files), packed, parse_evidence(files[EVIDENCE_FILE]), _bases(core))
    return Reply(200, answer_of(answered, ask.language))


def verify(core: Core, ask: Ask) -> Reply:
    """Verify a bundle, and answer the lines that follow from it."""
    _require(core, ask.who, Action.READ)
    is_zip = ask.content_type.partition(";")[0].strip().lower() == ZIP
    packed = ask.body() if is_zip else read_bundle(ask.resource())
    try:
        judged = _judged(core, unpack_bundle(packed))
    except (InputError, VerificationError) as error:
        return _refused(error.code)
    if judged.claim is None:
        # It may hold, but it is of no claim.
        return _refused("evidence.none")
    rows: list[Element] = [
        {"name": "valid", "valueBoolean": True},
        {"name": "current", "valueBoolean": judged.current},
        *told_of(judged, ask.language),
    ]
    return Reply(200, write({"resourceType": "Parameters", "parameter": rows}))


def _gathered(core: Core, asked: AskedClaim, case_id: str) -> Case:
    """Have the evidence gathered; where too many threads wait already, this one does not."""
    has_turn = core.waiting.acquire(blocking=False)
    wait_s = MAX_WAIT_S if asked.wait_s is None else min(asked.wait_s, MAX_WAIT_S)
    try:
        return core.cases.judge(case_id, wait_s if has_turn else 0, is_fresh=asked.is_fresh)
    finally:
        if has_turn:
            core.waiting.release()


def _refused(code: str) -> Reply:
    """Answer that a bundle proves nothing of a claim, and why."""
    rows: list[Element] = [{"name": "valid", "valueBoolean": False}, {"name": "code", "valueCode": code}]
    return Reply(200, write({"resourceType": "Parameters", "parameter": rows}))


def _bases(core: Core) -> Callable[[str], str]:
    """Give the addresses of members' APIs; a former member is named, not addressed."""

    def base(org_id: str) -> str:
        try:
            return base_of(org_id, core.others.origins(org_id))
        except MedchainError:
            return base_of(org_id, ())

    return base


def _opened(core: Core, ask: Ask, asked: AskedClaim) -> Case:
    """Find the case that is meant, or open it."""
    if asked.case:
        case = core.cases.show(asked.case)
        if case["claim"]:
            _require_stored(core, ask, str(case["claim"]))
        return case
    if asked.reference:
        _require_stored(core, ask, asked.reference)
        return core.cases.open(asked.reference, asked.given)
    _require(core, ask.who, Action.CREATE)
    return core.cases.take(asked.content, asked.given)


def _require(core: Core, who: Access, action: Action) -> None:
    """See that a caller may do something with any claim: neither a patient, nor another organisation's system.

    Raises:
        AccessDeniedError: ``scope.denied``.
    """
    try:
        found = core.gate.require(who, _TYPE, action)
    except NotFoundError as error:
        raise AccessDeniedError("scope.denied") from error
    if not found.is_whole or who.own or who.member:
        raise AccessDeniedError("scope.denied")


def _require_stored(core: Core, ask: Ask, reference: str) -> None:
    """See that a caller may see a stored claim, and note that it did; raises `NotFoundError` ``record.unknown``."""
    match = _REFERENCE.fullmatch(reference)
    it = None if match is None else core.reader.find(match[1], match[2], None)
    if it is None:
        raise NotFoundError("record.unknown")
    core.gate.require_shown(ask.who, it.stored)
    ask.trail.numbers.append(it.stored.seq)


def _judged(core: Core, files: dict[str, bytes]) -> Verdict:
    """Verify a bundle under the policy that this node trusts."""
    return verify_bundle(files, core.cases.policy(), now=core.clock())


def _wants_zip(ask: Ask) -> bool:
    """Tell whether the bundle alone is asked for."""
    asked = ask.header("Accept") or ""
    return any(one.partition(";")[0].strip().lower() == ZIP for one in asked.split(","))
