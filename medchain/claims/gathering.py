"""Gathers the evidence for a claim, and has it judged: question, permission, disclosure, then proofs from this ledger.

Keeps true: nobody's silence or refusal stops the others, or makes a line better: what did not come is missing, and the
verdict says so; who has answered is not asked again unless his records have changed since, or it is wanted; what is
kept was checked when it came. Trusts this node's own ledger and bodies, and `medchain.node.exchange` for disclosures.
Source: `docs/spec/claim-case.md` 6 to 8; `docs/spec/claim-evidence.md` 11.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, Protocol

from medchain.claims.answers import Answers, Told, kept_json, read_kept
from medchain.claims.asking import ClaimAsker
from medchain.claims.case_content import CaseContent
from medchain.claims.case_ports import Gathered, Tell
from medchain.claims.claim_file import ClaimFile
from medchain.claims.einvoice import EInvoiceAnswer, EInvoices, Said
from medchain.claims.policy_rules import asks_of
from medchain.dates import day_text
from medchain.encoding import Json
from medchain.errors import MedchainError, NotFoundError, UnavailableError
from medchain.ledger.askers import organisation_key
from medchain.ledger.citation import citation_of, type_of
from medchain.ledger.claim_question import NUMBER, Known
from medchain.ledger.evidence.document import Asked, Evidence, Questioned
from medchain.ledger.evidence.verdict import VERDICT_FILE, parse_verdict
from medchain.ledger.kinds.claim import CLAIM
from medchain.ledger.kinds.content import DAY_S
from medchain.ledger.object import map_key
from medchain.ledger.one_claim import PURPOSE
from medchain.ledger.request import access_key
from medchain.ledger.transaction import HASH_BYTES
from medchain.node.clock import Clock
from medchain.node.config import NO_RULES, PolicyRules
from medchain.node.exchange import ClaimWish, ReceivedDisclosure
from medchain.node.grant_search import Permission
from medchain.node.ledger_node import LedgerNode
from medchain.node.log import Log
from medchain.node.proofs import zip_bundle
from medchain.node.trace import WantedItem, body_opening, export_claim

NO_GRANT: Final = "case.no_grant"
"""Why nothing came of a hospital: there is no permission."""

ENDED: Final = "case.permission_ended"
"""Why nothing came of a hospital: there was a permission, and it has ended or been withdrawn."""

_ASKED: Final = "asked"
_JUDGED: Final = "judged"
_AT_ONCE: Final = 4
_RECORD: Final = "record"
_LOG: Final = Log("cases")


class ClaimGrants(Protocol):
    """Finds grants for a claim; `medchain.node.grant_search.GrantFinder`."""

    def about(
        self, custodian: str, about: str, purpose: str, resource_types: Sequence[str], claim: bytes | None = None
    ) -> list[bytes]:
        """Ask a custodian which of our grants are about a record, those for the claim first, for no other claim."""
        ...

    def for_claim(self, claim: bytes) -> list[tuple[str, bytes]]:
        """List our grants in force for one claim alone, with their custodians, without asking anybody."""
        ...

    def moment(self) -> object:
        """Tell by what `for_claim` decides: while it is equal, it finds the same."""
        ...

    def permissions(self, claim: bytes) -> list[Permission]:
        """List what was permitted for one claim alone, in force or not, without asking anybody."""
        ...


@dataclass(frozen=True, slots=True)
class GatheringParts:
    """What evidence is gathered with.

    Attributes:
        org_id: this organisation.
        side: ledger and bodies of its node.
        asker: asks for the ids of invoices.
        finder: finds grants for a claim.
        disclose: asks for a disclosure; `medchain.node.exchange.Asker.request_disclosure`.
        clock: gives Unix seconds.
        random: gives as many unpredictable bytes as it is asked for.
        einvoices: tells whether electronic invoices are genuine; None where nobody is asked.
        rules: what hospitals are asked beside what every claim needs.
    """

    org_id: str
    side: LedgerNode
    asker: ClaimAsker
    finder: ClaimGrants
    disclose: Callable[[ClaimWish], ReceivedDisclosure]
    clock: Clock
    random: Callable[[int], bytes]
    einvoices: EInvoices | None = None
    rules: PolicyRules = NO_RULES


class _Heard(NamedTuple):
    """What came of one hospital: what it told, or the code of why it did not."""

    org_id: str
    told: Told | None
    code: str = ""


class Gathering:
    """Gathers evidence; fills `medchain.claims.case_ports.Gatherer`. Threads may share it."""

    __slots__ = ("_parts",)

    def __init__(self, parts: GatheringParts) -> None:
        """Use parts."""
        self._parts = parts

    def gather(self, claim: ClaimFile, content: CaseContent, tell: Tell, *, is_fresh: bool) -> Gathered:
        """Gather the evidence of a claim and judge it; arguments and result as the port says.

        Raises:
            UnavailableError: ``trace.no_final`` before the ledger has a final state.
            MedchainError: what this node's own files raise.
        """
        before = read_kept(content.gathered)
        answers = self._asked(claim, content, before, tell, is_fresh=is_fresh)
        made = self._judged(claim, content, answers, before.checkpoint)
        tell(_JUDGED, 1, 1)
        return replace(made, einvoice=self._einvoice(answers))

    def again(self, claim: ClaimFile, content: CaseContent) -> Gathered:
        """Judge what was answered before once more; arguments, result and errors as the port and `gather` say.

        What a service for electronic invoices said stays as it was, for it is asked with everybody.
        """
        answers = read_kept(content.gathered)
        return replace(self._judged(claim, content, answers, answers.checkpoint), einvoice=content.einvoice)

    def _judged(self, claim: ClaimFile, content: CaseContent, answers: Answers, since: bytes) -> Gathered:
        """Make the bundle of what was answered from this node's ledger of now, with what links it to a checkpoint."""
        evidence = Evidence(
            ledger=self._parts.side.replica.ledger,
            insurer=self._parts.org_id,
            content=claim.content,
            held=content.held,
            policy=content.policy,
            row=content.row,
            disclosures=tuple(one.signed for _, one in sorted(answers.told.items())),
            question=answers.question,
        )
        replica = self._parts.side.replica
        files = export_claim(replica, self._wanted(answers), evidence.encode(), old_checkpoint=since or None)
        final = replica.store.final()
        kept = replace(answers, checkpoint=b"" if final is None else final.note.encode())
        verdict = files[VERDICT_FILE]
        return Gathered(kept_json(kept, evidence), verdict, parse_verdict(verdict).colour.value, zip_bundle(files))

    def _einvoice(self, answers: Answers) -> Json:
        """Ask the service for electronic invoices, where there is one: its word stands beside the verdict.

        Nobody has signed it, so a verifier could not find it again: it is none of the evidence.
        """
        row, known = answers.row, answers.question.answer
        if self._parts.einvoices is None or row is None:
            return None
        # Of a copy on paper, with numbers of its own, the service knows nothing: its word would accuse the holder.
        is_copy = isinstance(known, Known) and NUMBER in known.differs
        said = EInvoiceAnswer(Said.NOT_ASKED) if is_copy else self._parts.einvoices.check([row])[0]
        return {**said.to_json(), "time": self._parts.clock()}

    def _asked(self, claim: ClaimFile, content: CaseContent, before: Answers, tell: Tell, *, is_fresh: bool) -> Answers:
        """Ask everybody who has not answered, beside each other; who does not answer now has said what he said before.

        Or a hospital could alter a record, refuse from then on, and be only silent.
        """
        known = {} if is_fresh else {name: one for name, one in before.told.items() if self._is_current(one)}
        missing = [org_id for org_id in claim.cited if org_id not in known]
        total, heard = 1 + len(missing), list[_Heard]()
        tell(_ASKED, 0, total)
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            asked = threads.submit(self._question, content, before, is_fresh=is_fresh)
            for one in threads.map(lambda org_id: self._heard(org_id, claim, content, before), missing):
                heard.append(one)
                tell(_ASKED, len(heard), total)
            question = asked.result()
        tell(_ASKED, total, total)
        told = {**before.told, **known, **{one.org_id: one.told for one in heard if one.told is not None}}
        failures = {one.org_id: one.code for one in heard if one.told is None}
        return Answers(content.row, question, told, failures)

    def _question(self, content: CaseContent, before: Answers, *, is_fresh: bool) -> Questioned:
        """Ask for the invoice's id, unless the answer is here: an id never changes, and its proof holds for ever.

        That it is claimed otherwise may be over, and no ledger tells it: so it is asked for again.
        """
        if content.row is None:
            return Questioned(Asked.NONE)
        is_known = before.row == content.row and before.question.state is Asked.KNOWN
        is_apart = isinstance(before.question.answer, Known) and before.question.answer.is_apart
        if is_known and not is_fresh and not is_apart:
            return before.question
        found = self._parts.asker.inquire(content.row)
        return before.question if is_known and found.state not in (Asked.KNOWN, Asked.UNKNOWN) else found

    def _heard(self, org_id: str, claim: ClaimFile, content: CaseContent, before: Answers) -> _Heard:
        """Ask one hospital; what goes wrong is what came of it."""
        try:
            return _Heard(org_id, self._disclosed(org_id, claim, content.patients.get(org_id, "")))
        except MedchainError as error:
            was_permitted = error.code == NO_GRANT and self._was_permitted(org_id, claim, before)
            code = ENDED if was_permitted else error.code
            _LOG.info("disclosure.failed", code=code, peer=org_id)
            return _Heard(org_id, None, code)

    def _was_permitted(self, org_id: str, claim: ClaimFile, before: Answers) -> bool:
        """Tell whether there ever was a permission under which a hospital told something, or could have."""
        permitted = {one.custodian for one in self._parts.finder.permissions(claim.digest)}
        return org_id in permitted or org_id in before.told

    def _disclosed(self, org_id: str, claim: ClaimFile, patient: str) -> Told:
        """Ask one hospital for what the claim needs of its records, under the first permission that gives any.

        Raises:
            NotFoundError: `NO_GRANT`; ``release.nothing``.
            MedchainError: of the last that was tried.
        """
        created = self._parts.clock() if claim.created is None else claim.created
        services = (claim.services[0], claim.services[-1]) if claim.services else (day_text(created // DAY_S),) * 2
        cited, salt = claim.cited[org_id], self._parts.random(HASH_BYTES)
        citation = citation_of(cited, created, services, salt, asks_of(self._parts.rules, cited, services[0]))
        problem: MedchainError = NotFoundError(NO_GRANT)
        for grant in self._grants(org_id, claim, patient):
            try:
                received = self._parts.disclose(ClaimWish(org_id, grant, claim.digest, citation))
            except UnavailableError:
                # The way is lost for every grant alike.
                raise
            except MedchainError as error:
                problem = error
            else:
                return Told(received.signed, received.openings, received.access.version)
        raise problem

    def _grants(self, org_id: str, claim: ClaimFile, patient: str) -> Iterator[bytes]:
        """List the permissions under which a hospital may be asked: for exactly this claim, then what it names."""
        finder = self._parts.finder
        own = [grant for custodian, grant in finder.for_claim(claim.digest) if custodian == org_id]
        yield from own
        if patient:
            types = sorted({type_of(one) for one in claim.cited[org_id]})
            named = finder.about(org_id, f"Patient/{patient}", PURPOSE, types, claim.digest)
            yield from (grant for grant in named if grant not in own)

    def _is_current(self, told: Told) -> bool:
        """Tell whether no record has changed since a hospital told of it."""
        disclosure, store = told.signed.disclosure, self._parts.side.replica.store
        heads = [(store.record(disclosure.key(row)), row.versions[-1].number) for row in disclosure.records]
        return all(head is not None and head.version == number for head, number in heads)

    def _wanted(self, answers: Answers) -> list[WantedItem]:
        """List what is to be proven, each object once."""
        found: dict[bytes, WantedItem] = {}
        for org_id, told in answers.told.items():
            for item in (*_records(org_id, told), *self._permissions(org_id, told)):
                found.setdefault(item.key, item)
        if isinstance(answers.question.answer, Known) and answers.question.hospital is not None:
            item = self._claims(map_key(CLAIM, answers.question.hospital, answers.question.answer.claim_id))
            found.setdefault(item.key, item)
        # A bundle is of some object: where nobody has told anything, of this organisation itself.
        own = organisation_key(self._parts.org_id)
        return list(found.values()) or [WantedItem(own)]

    def _permissions(self, org_id: str, told: Told) -> Iterator[WantedItem]:
        """List the access entry of a disclosure, and what it stood on, with their bodies as they were given here."""
        key = access_key(told.signed.disclosure.grant, org_id)
        yield self._shown(key, told.version)
        entry = self._parts.side.replica.store.version(key, told.version)
        for ref in () if entry is None else entry.refs:
            yield self._shown(ref.key, ref.version)

    def _claims(self, key: bytes) -> WantedItem:
        """Show what is claimed of the invoice: the newest version whose body is here, or what its head says."""
        store = self._parts.side.replica.store
        final = store.final()
        for record in store.history(key):
            is_final = final is not None and record.since < final.size
            if is_final and self._parts.side.shelf.ordered(record) is not None:
                return self._shown(key, record.version)
        return WantedItem(key)

    def _shown(self, key: bytes, version: int) -> WantedItem:
        """Show a version with its body, as far as that is here."""
        record = self._parts.side.replica.store.version(key, version)
        body = None if record is None else self._parts.side.shelf.ordered(record)
        return WantedItem(key, version, None if body is None else body_opening(body))


def _records(org_id: str, told: Told) -> Iterator[WantedItem]:
    """List the records of a disclosure, with the fields that are opened."""
    for one in told.openings:
        yield WantedItem(map_key(_RECORD, org_id, one.object_id), one.version, one.opening)
