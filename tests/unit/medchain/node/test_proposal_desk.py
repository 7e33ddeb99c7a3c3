"""The administrator's desk: who may decide, what is shown."""

from __future__ import annotations

from contextlib import closing

import pytest

from medchain.encoding import parse_canonical, unbase64
from medchain.errors import AccessDeniedError, InputError, NotFoundError, UnavailableError
from medchain.ledger.policy import default_policy
from medchain.node.administrator import AdministratorDoor, with_proof
from medchain.node.endorse import Identity, Judge
from medchain.node.keystore import create_keys, open_daemon_keys, open_web_keys, unlock
from medchain.node.member_changes import Wish, wish_json
from medchain.node.proposal import Choice
from medchain.node.proposal_book import ProposalBook
from medchain.node.proposal_desk import DECIDE, LIST, PROPOSE, SHOW, ProposalDesk
from medchain.store.engine import FileKind
from medchain.store.ledger import LedgerStore
from medchain.store.records import RecordStore
from tests.unit.medchain.ledger.world import ANXIN, COMMISSION, RENHE, TIME, TONGJI, ledger_signer
from tests.unit.medchain.node.ledgers import replica_on

KEY = b"a" * 32
NOW = TIME + 100


@pytest.fixture
def book(store_engine):
    with closing(RecordStore(store_engine(FileKind.RECORDS))) as records:
        judge = Judge(
            RENHE, replica_on(LedgerStore(store_engine(FileKind.LEDGER)), COMMISSION), None, None, lambda: NOW
        )
        yield ProposalBook(Identity(RENHE, ledger_signer(RENHE), {}), judge, records)


@pytest.fixture
def desk(book):
    return ProposalDesk(book, AdministratorDoor(KEY, lambda: NOW, "proposal.administrator"), {}.get)


def call(desk, operation, document, *, key=KEY, time=NOW):
    return desk.operations()[operation](with_proof(key, operation, document, time))


def proposed(desk, wish, reason=""):
    return call(desk, PROPOSE, {"reason": reason, "wish": wish_json(wish)})


def test_the_administrator_proposes_and_sees_what_is_signed(desk):
    made = proposed(desk, Wish("suspend", ANXIN), "对方要求")
    assert (made["state"], made["creator"], made["reason"]) == ("open", RENHE, "对方要求")
    assert made["changes"] == [
        {"after": "suspended", "before": "active", "field": "status", "subject": ANXIN},
        {"after": "3", "before": "4", "field": "quorum", "subject": "protocol"},
    ]
    rule = {"and": [{"majority": "member"}, "role:regulator"]}
    assert made["rules"] == [
        {"expression": rule, "rule": "organisation/active"},
        {"expression": rule, "rule": "protocol/active"},
    ]
    assert len(made["missing"]) == 2
    assert COMMISSION in made["missing"]
    listed = desk.operations()[LIST]({})["proposals"]
    assert [item["id"] for item in listed] == [made["id"]]
    shown = desk.operations()[SHOW]({"id": made["id"][:10]})
    assert parse_canonical(unbase64(shown["payload"]), max_bytes=100_000)["reason"] == "对方要求"
    withdrawn = call(desk, DECIDE, {"decision": "withdraw", "id": made["id"]})
    assert withdrawn["state"] == "withdrawn"
    assert desk.operations()[SHOW]({"id": made["id"]})["decisions"][0]["decision"] == "withdraw"


def test_a_policy_is_shown_rule_by_rule(desk):
    content = default_policy()
    content["rules"]["record/active"] = {"and": ["creator", "independent"]}
    del content["rules"]["erasure/active"]
    made = proposed(desk, Wish("policy", content=content))
    assert made["changes"] == [
        {"after": None, "before": "creator", "field": "rule.erasure/active", "subject": "policy"},
        {
            "after": '{"and":["creator","independent"]}',
            "before": "creator",
            "field": "rule.record/active",
            "subject": "policy",
        },
    ]


def test_who_cannot_open_the_daemons_half_of_the_root_key_decides_nothing(desk, tmp_path):
    made = proposed(desk, Wish("suspend", ANXIN))
    halves = unlock(bytes(32))
    create_keys(tmp_path, RENHE, halves)
    web = open_web_keys(tmp_path, halves)
    document = {"decision": "withdraw", "id": made["id"]}
    attempts = [
        document,
        with_proof(bytes(web.records), DECIDE, document, NOW),
        with_proof(KEY, PROPOSE, document, NOW),
        with_proof(KEY, DECIDE, {**document, "decision": "reject"}, NOW) | {"decision": "withdraw"},
        with_proof(KEY, DECIDE, document, NOW - 61),
        with_proof(KEY, DECIDE, document, NOW + 61),
        {**document, "administrator": {"nonce": "", "proof": "", "time": 0}},
    ]
    for attempt in attempts:
        with pytest.raises(AccessDeniedError, match=r"proposal\.administrator"):
            desk.operations()[DECIDE](attempt)
    assert bytes(open_daemon_keys(tmp_path, halves).administrator) != bytes(web.records)
    once = with_proof(KEY, DECIDE, document, NOW)
    desk.operations()[DECIDE](once)
    with pytest.raises(AccessDeniedError, match=r"proposal\.administrator"):
        desk.operations()[DECIDE](once)


def test_a_proposal_is_named_by_enough_of_its_id(desk):
    made = proposed(desk, Wish("suspend", ANXIN))
    show = desk.operations()[SHOW]
    for text, error in ((made["id"][:7], InputError), ("00000000", NotFoundError)):
        with pytest.raises(error):
            show({"id": text})
    with pytest.raises(NotFoundError):
        call(desk, DECIDE, {"decision": "approve", "id": "00" * 32})
    with pytest.raises(InputError):
        call(desk, DECIDE, {"decision": "perhaps", "id": made["id"]})


def test_nothing_is_proposed_while_the_node_is_being_restored(book):
    def restoring():
        raise UnavailableError("restore.under_way")

    guarded = ProposalBook(book.identity, book.judge, book._table, restoring)  # noqa: SLF001  # the same one
    with pytest.raises(UnavailableError, match=r"restore\.under_way"):
        guarded.propose(Wish("suspend", ANXIN))
    with pytest.raises(UnavailableError, match=r"restore\.under_way"):
        guarded.decide(bytes(32), Choice.APPROVE)


def test_what_is_not_one_of_the_three_documents_is_refused(book):
    for document in (b"{}", b"[]", b'{"type":"medchain/proposal/v1"}'):
        with pytest.raises(InputError, match=r"encoding\.members"):
            book.receive(document, TONGJI)
