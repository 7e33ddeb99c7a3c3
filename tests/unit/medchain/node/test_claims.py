"""Claims over five whole nodes: the drawn one judges them, insurers are given their own parts, races have one end."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

import pytest

from medchain.encoding import base64_text, unbase64
from medchain.errors import MedchainError, VerificationError
from medchain.ledger.bundle import verify_bundle
from medchain.ledger.claim_request import Action, ClaimRequest
from medchain.ledger.genesis import trusted_policy_text
from medchain.ledger.kinds.claim import request_of
from medchain.ledger.kinds.claim_content import Claim, Deed, on_refund, on_request, on_reversal, read
from medchain.ledger.kinds.shares import Shares
from medchain.ledger.object import map_key
from medchain.ledger.signed_request import SignedRequest
from medchain.ledger.transaction import parse_envelope
from medchain.node.bodies import Verdict
from medchain.node.proofs import prove_object
from medchain.node.submit import Draft, Submitted
from tests.unit.medchain.ledger.kinds.claiming import DIGEST, INVOICE, TOTAL, asked, bill, body_of, id_of
from tests.unit.medchain.ledger.world import ANXIN, RENHE, TAIPING, genesis, seed
from tests.unit.medchain.node.federation import DAY_S, Federation
from tests.unit.medchain.node.invoicing import invoicing_federation
from tests.waiting import eventually

OTHER = seed("claim of taiping")
NUMBERS = iter(range(10**9, 2 * 10**9))


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with invoicing_federation(tmp_path_factory.mktemp("claims")) as made:
        yield made


@pytest.fixture
def federation(shared):
    """Five nodes, all up and honest at the start of each test."""
    yield shared
    shared.down.clear()
    shared.tamper = Federation.tamper


@dataclass
class Counter:
    """Renhe's counter for one invoice, of which nobody else knows."""

    federation: Federation
    bill: object = None

    def __post_init__(self) -> None:
        """Issue an invoice."""
        self.bill = self.bill or bill(replace(INVOICE, number=str(next(NUMBERS))))

    @property
    def id(self) -> bytes:
        return id_of(self.bill)

    @property
    def key(self) -> bytes:
        return map_key("claim", RENHE, self.id)

    @property
    def node(self):
        return self.federation.sites[RENHE].node

    @property
    def day(self) -> int:
        return self.federation.time // DAY_S

    def asked(self, action: str = "reserve", amount: int = 60_000, head: int = 0, **changes: object):
        """Have Anxin ask for something, or whoever is named."""
        terms = {"claim_id": self.id, "time": self.federation.time}
        until = {"until": self.day + 10} if action == "reserve" else {}
        return asked(action, amount, head, **(terms | until | changes))

    def of_taiping(self, action: str = "reserve", amount: int = 40_000, head: int = 1, **changes: object):
        return self.asked(action, amount, head, **({"insurer": TAIPING, "claim": OTHER} | changes))

    def drafted(self, deed: SignedRequest[ClaimRequest] | int | None) -> Draft:
        """Make the next version on what the hospital's own ledger has."""
        head, time = self.node.shelf.head(self.key), self.federation.time
        parts = Shares(TOTAL) if head is None else read(head[1].content).shares
        if isinstance(deed, SignedRequest):
            return self.version(on_request(self.bill, parts, deed.request, time), deed)
        made = on_reversal(self.bill, parts, time) if deed is None else on_refund(self.bill, parts, deed, time)
        return self.version(made, None)

    def version(self, claim: Claim, signed: SignedRequest[ClaimRequest] | None) -> Draft:
        return Draft("claim", self.id, body_of(claim, signed), status=claim.status)

    def done(self, deed: SignedRequest[ClaimRequest] | int | None = None) -> Submitted:
        """Have a deed done, and seen by all."""
        done = self.node.submitter.submit(self.drafted(deed))
        for site in self.federation.sites.values():
            site.node.submitter.wait_final(self.key, done.record.version, 60)
        return done

    def held(self, org_id: str, version: int):
        """Return what a node has of a version."""
        return self.federation.sites[org_id].node.shelf.at(self.key, version)


@pytest.fixture
def counter(federation):
    return Counter(federation)


def test_a_part_of_an_invoice_is_reserved_settled_and_judged_by_its_insurer(federation, counter):
    first = counter.done(counter.asked())
    assert (first.record.status, first.record.expires, first.rank) == ("reserved", counter.day + 10, 0)
    second = counter.done(counter.asked("settle", head=1))
    assert (second.record.status, second.record.expires, second.record.version) == ("settled", None, 2)
    node = federation.sites[ANXIN].node
    record, body = node.shelf.head(counter.key)
    assert (record.version, node.verdicts.verdict(record, body)) == (2, Verdict.HOLDS)
    assert request_of(body).request.action == "settle"
    node.verdicts.check(record, body)


def test_an_insurer_is_given_its_own_part_and_the_endorser_all(federation, counter):
    done = [counter.done(deed) for deed in (counter.asked(), counter.of_taiping())]
    assert {name for name in counter.held(ANXIN, 1).content if name.startswith("share_")} == {"share_1"}
    assert {name for name in counter.held(TAIPING, 2).content if name.startswith("share_")} == {"share_2"}
    assert counter.held(ANXIN, 2) is counter.held(TAIPING, 1) is None
    for submitted in done:
        assert counter.held(submitted.endorser, submitted.record.version).is_full
    told = str(counter.held(TAIPING, 2).to_json())
    assert ANXIN not in told
    assert DIGEST.hex() not in told
    # Who joined later is shown no version before its own, and judges that one all the same.
    node = federation.sites[TAIPING].node
    record, body = node.shelf.head(counter.key)
    node.verdicts.check(record, body)


def test_who_has_nothing_of_it_is_given_nothing(federation, counter):
    done = counter.done(counter.asked())
    others = set(federation.sites) - {RENHE, ANXIN, done.endorser}
    assert all(counter.held(org_id, 1) is None for org_id in others)


def test_a_refund_and_a_reversal_are_told_to_who_has_something(counter):
    for deed in (counter.asked(), counter.of_taiping(), counter.asked("release", head=2), 1_000, None):
        counter.done(deed)
    for version in (4, 5):
        assert counter.held(ANXIN, version) is None
        assert counter.held(TAIPING, version).content["deed"]["action"] in {"refund", "reverse"}


def test_an_insurer_that_was_down_is_given_its_part_with_its_request_later(federation, counter):
    federation.down.add(ANXIN)
    counter.node.submitter.submit(counter.drafted(counter.asked()))
    assert counter.held(ANXIN, 1) is None
    federation.down.clear()
    federation.sites[ANXIN].node.submitter.wait_final(counter.key, 1, 60)
    assert eventually(lambda: counter.node.deliveries.round() == 0)
    part = counter.held(ANXIN, 1)
    assert {name for name in part.content if name.startswith("share_")} == {"share_1"}
    assert request_of(part).request.insurer == ANXIN


def test_a_reservation_that_is_over_makes_room(federation, counter):
    counter.done(counter.asked(amount=TOTAL))
    federation.time += 11 * DAY_S
    done = counter.done(counter.of_taiping(amount=TOTAL))
    assert (done.record.status, done.record.expires) == ("reserved", counter.day + 10)


def test_a_reissue_stands_on_what_was_reversed_and_cannot_before(federation, counter):
    anew = bill(replace(INVOICE, number=str(next(NUMBERS))), replaces=counter.key)
    second = Counter(federation, anew)
    counter.done(counter.asked())
    with pytest.raises(VerificationError, match=r"^claim\.refs"):
        second.done(second.asked())
    counter.done(None)
    done = second.done(second.asked())
    assert [(ref.key, ref.version) for ref in done.record.refs] == [(counter.key, 2)]
    assert second.done(second.asked("settle", head=1)).record.refs == ()


def test_what_was_reversed_is_claimed_no_more(counter):
    counter.done(None)
    with pytest.raises(VerificationError, match=r"^transaction\.status"):
        counter.done(counter.asked(head=1))


def test_a_hospital_that_lies_is_refused_by_whoever_is_drawn(federation, counter, monkeypatch):
    """Its own check would hold it back: without that the drawn endorser refuses, and no other is asked."""
    judge = type(counter.node.judge)
    plain = judge.check

    def lying(self, transaction, own, role, others=None):
        if self.org_id != RENHE:
            plain(self, transaction, own, role, others)

    monkeypatch.setattr(judge, "check", lying)
    signed = counter.asked()
    spoiled = replace(counter.drafted(signed), object_id=b"\x07" * 16)
    with pytest.raises(VerificationError, match=r"^claim\.id"):
        counter.node.submitter.submit(spoiled)
    counter.done(signed)
    parts = read(counter.held(RENHE, 1).content).shares
    second = counter.of_taiping(amount=40_001)
    row = on_request(counter.bill, Shares(TOTAL), second.request, federation.time).changed
    beyond = parts.put(1, row)
    claim = Claim(counter.bill, beyond, beyond.open, Deed(Action.RESERVE, 40_001, 2), federation.time)
    assert claim.open == -1
    with pytest.raises(VerificationError, match=r"^claim\.amount"):
        counter.node.submitter.submit(counter.version(claim, second))


def test_of_two_insurers_that_settle_at_once_one_wins_and_the_other_asks_anew(federation, counter):
    for deed in (counter.asked(), counter.of_taiping()):
        counter.done(deed)
    drafts = [counter.drafted(counter.asked("settle", head=2)), counter.drafted(counter.of_taiping("settle", head=2))]
    results: list[Submitted | MedchainError] = []

    def submit(draft: Draft) -> None:
        try:
            results.append(counter.node.submitter.submit(draft, timeout_s=120))
        except MedchainError as error:
            results.append(error)

    threads = [threading.Thread(target=submit, args=(draft,)) for draft in drafts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    won = [one for one in results if isinstance(one, Submitted)]
    assert [one.record.version for one in won] == [3], results
    (lost,) = [one for one in results if not isinstance(one, Submitted)]
    assert lost.code == "claim.head"
    for site in federation.sites.values():
        site.node.submitter.wait_final(counter.key, 3, 60)
    record, body = counter.node.shelf.head(counter.key)
    settled = [row.insurer for row in read(body.content).shares.live if row.state == "settled"]
    assert (record.version, len(settled)) == (3, 1)
    # The other one's request was for the version before: it has to look again.
    late = counter.asked if settled == [TAIPING] else counter.of_taiping
    stale = late("settle", head=2)
    with pytest.raises(VerificationError, match=r"^claim\.head"):
        counter.done(stale)
    assert counter.done(late("settle", head=3)).record.status == "settled"


def test_that_nobody_has_claimed_an_invoice_is_proven_and_so_is_what_became_of_it(federation, counter):
    replica = federation.sites[TAIPING].node.replica
    policy = trusted_policy_text(replica.members, genesis().origin)

    def proven() -> tuple[str, str | None, int | None, str]:
        answer = prove_object(replica, {"key": counter.key.hex()})
        files = {name: unbase64(text) for name, text in answer["files"].items()}
        told = verify_bundle(files, policy, now=federation.time)
        return told.answer, told.status, told.version, told.object

    assert proven() == ("absent", None, None, counter.key.hex())
    counter.done(counter.asked())
    assert proven() == ("record", "reserved", 1, counter.key.hex())


def test_the_ledger_shows_neither_insurer_nor_amount_nor_invoice(counter):
    done = counter.done(counter.asked(amount=54_321))
    leaf = counter.node.replica.store.leaf(done.record.since)
    text = str(parse_envelope(leaf).transaction) + done.record.encode().decode()
    for secret in (ANXIN, "54321", counter.bill.invoice.number, counter.bill.check_code, DIGEST.hex()):
        assert secret not in text
    assert base64_text(counter.bill.proof) not in text
