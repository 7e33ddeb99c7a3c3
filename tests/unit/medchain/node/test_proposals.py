"""Members change things together: proposals travel, administrators decide, signatures meet, the ledger moves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medchain.encoding import base64_text, canonical, parse_canonical, unbase64
from medchain.errors import (
    AccessDeniedError,
    ConflictError,
    InputError,
    NotFoundError,
    UnavailableError,
    VerificationError,
)
from medchain.ledger.policy import default_policy
from medchain.ledger.transaction import Signer, pae, parse_payload, payload_bytes, seal
from medchain.node import proposal_book
from medchain.node.endorse import Identity
from medchain.node.member_changes import Wish
from medchain.node.proposal import Choice, Way, completed, make_decision, make_proposal, signing_request
from medchain.node.proposal_book import MAX_LIFE_S, ProposalBook
from medchain.node.proposal_view import standing
from medchain.store.proposals import MAX_KEPT_EACH, MAX_OPEN_EACH
from medchain.store.tables import promised_version, proposal_decision
from medchain.store.tables import proposal as proposal_table
from tests.unit.medchain.node.federation import ANXIN, COMMISSION, RENHE, ROLES, TONGJI, Federation, keys_of
from tests.unit.medchain.node.proposing import Assembly
from tests.unit.medchain.node.test_member_changes import admission

TAIPING = "taiping-insurance"


@pytest.fixture
def assembly(tmp_path):
    federation = Federation(tmp_path)
    federation.start()
    yield Assembly(federation)
    federation.stop()


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """Nodes whose ledger no test changes."""
    federation = Federation(tmp_path_factory.mktemp("quiet"))
    federation.start()
    yield federation
    federation.stop()


@pytest.fixture
def calm(quiet):
    """Give the same nodes to one test after another, each with empty books."""
    time = quiet.time
    yield Assembly(quiet)
    quiet.time = time
    for site in quiet.sites.values():
        with site.records._database.write("proposal") as connection:  # noqa: SLF001  # books are never emptied
            for table in (proposal_table, proposal_decision, promised_version):
                connection.execute(table.delete())


def status_of(org_id):
    return lambda members: members.organisations[org_id].status


def test_a_member_is_suspended_and_reinstated_by_a_majority_with_a_regulator(assembly):
    name = assembly.propose(RENHE, "suspend", ANXIN, reason="三次未答复")
    for org_id in ROLES:
        entry = assembly.books[org_id].entry(name)
        assert (entry.standing.state, entry.proposal.reason) == ("open", "三次未答复")
        assert entry.standing.approved == (RENHE,)
    assert len(assembly.books[RENHE].entry(name).standing.missing) == 2
    assembly.approve(name, TONGJI)
    assert assembly.state(RENHE, name) == "open", "no regulator yet"
    assembly.approve(name, COMMISSION)
    assert assembly.is_everywhere(lambda members: status_of(ANXIN)(members) == "suspended")
    # One member fewer, so k follows, in the same transaction.
    assert assembly.is_everywhere(lambda members: members.protocol.quorum == 3)
    assembly.step()
    assert {assembly.state(org_id, name) for org_id in ROLES if org_id != ANXIN} == {"accepted"}
    name = assembly.propose(COMMISSION, "reinstate", ANXIN)
    assembly.approve(name, RENHE, TONGJI)
    assert assembly.is_everywhere(lambda members: status_of(ANXIN)(members) == "active")
    assert assembly.is_everywhere(lambda members: members.protocol.quorum == 4)


def test_a_policy_is_changed_and_the_next_change_goes_by_the_new_one(assembly):
    content = default_policy()
    content["rules"]["policy/active"] = {"majority": "member"}
    name = assembly.propose(ANXIN, "policy", content=content)
    assembly.approve(name, TAIPING, COMMISSION)
    assert assembly.is_everywhere(lambda members: dict(members.policy.content) == content)
    name = assembly.propose(ANXIN, "policy", content=default_policy())
    assembly.approve(name, TAIPING, RENHE)
    assert assembly.is_everywhere(lambda members: dict(members.policy.content) == default_policy())


def test_a_node_signs_nothing_that_its_administrator_has_not_approved(calm):
    name = calm.propose(RENHE, "suspend", ANXIN)
    entry = calm.books[RENHE].entry(name)
    payload = completed(entry.proposal, [keys_of(TONGJI).key_id, keys_of(COMMISSION).key_id])
    with pytest.raises(VerificationError, match=r"proposal\.not_approved"):
        calm.books[TONGJI].receive(signing_request(name, payload), RENHE)
    calm.books[TONGJI].decide(name, Choice.APPROVE)
    calm.books[TONGJI].receive(signing_request(name, payload), RENHE)


def test_what_is_signed_differs_from_what_was_approved_by_the_signers_alone(calm):
    name = calm.propose(RENHE, "suspend", ANXIN)
    other = calm.propose(RENHE, "remove", ANXIN)
    book = calm.books[TONGJI]
    book.decide(name, Choice.APPROVE)
    keys = [keys_of(TONGJI).key_id, keys_of(COMMISSION).key_id]
    right = completed(calm.books[RENHE].entry(name).proposal, keys)
    draft = parse_payload(right)
    wrong = {
        "another proposal's transaction": completed(calm.books[RENHE].entry(other).proposal, keys),
        "another nonce": payload_bytes(replace(draft, nonce=bytes(16))),
        "a longer life": payload_bytes(replace(draft, until=draft.until + 1)),
        "another creator's row": payload_bytes(
            replace(draft, signers=tuple(sorted(Signer(row.key_id, "member") for row in draft.signers)))
        ),
    }
    for what, payload in wrong.items():
        with pytest.raises((VerificationError, InputError), match=r"proposal\.payload") as refused:
            book.receive(signing_request(name, payload), RENHE)
        assert refused.value.code == "proposal.payload", what
    without = completed(calm.books[RENHE].entry(name).proposal, [keys_of(COMMISSION).key_id])
    with pytest.raises(VerificationError, match=r"proposal\.key"):
        book.receive(signing_request(name, without), RENHE)
    # Nor for anybody but the creator, nor where the policy is not satisfied by the rows.
    with pytest.raises(AccessDeniedError, match=r"proposal\.sender"):
        book.receive(signing_request(name, right), ANXIN)
    alone = completed(calm.books[RENHE].entry(name).proposal, [keys_of(TONGJI).key_id])
    with pytest.raises(ConflictError, match=r"transaction\.policy"):
        book.receive(signing_request(name, alone), RENHE)


def test_an_approval_counts_for_its_own_proposal_only(calm):
    first = calm.propose(RENHE, "suspend", ANXIN)
    calm.propose(RENHE, "remove", TAIPING)
    calm.books[TONGJI].decide(first, Choice.APPROVE)
    entry = calm.books[TONGJI].entry(first)
    encoded = entry.decisions[0].encoded
    # Its payload names the proposal, and is signed: with another's id put in, the signature does not hold.
    top = parse_canonical(encoded, max_bytes=10_000)
    second = next(item.proposal.id for item in calm.books[RENHE].entries() if item.proposal.id != first)
    payload = unbase64(top["payload"]).replace(first.hex().encode(), second.hex().encode())
    forged = canonical({**top, "payload": base64_text(payload)})
    with pytest.raises(VerificationError, match=r"proposal\.signature"):
        calm.books[RENHE].receive(forged, TONGJI)
    assert calm.books[RENHE].entry(second).standing.approved == (RENHE,)
    # Nor may another member bring it as its own, or in the other's name.
    with pytest.raises(AccessDeniedError, match=r"proposal\.sender"):
        calm.books[RENHE].receive(encoded, ANXIN)


def test_an_outsiders_proposal_is_refused_whoever_brings_it(calm):
    outsider = keys_of("newcomer-hospital")
    made = calm.books[RENHE].propose(Wish("suspend", ANXIN)).proposal
    draft = replace(made.transaction, creator="newcomer-hospital", signers=(Signer(outsider.key_id, "creator"),))
    forged = make_proposal(outsider, draft, "", Way.ORDER, made.time).encoded
    for peer, code in (("newcomer-hospital", "proposal.signer"), (RENHE, "proposal.sender")):
        with pytest.raises((VerificationError, AccessDeniedError)) as refused:
            calm.books[TONGJI].receive(forged, peer)
        assert refused.value.code == code
    # Nor one that names a member as creator, signed by somebody else's key.
    draft = replace(made.transaction, signers=(Signer(outsider.key_id, "creator"),))
    with pytest.raises(VerificationError, match=r"proposal\.signer"):
        calm.books[TONGJI].receive(make_proposal(outsider, draft, "", Way.ORDER, made.time).encoded, RENHE)
    assert calm.books[TONGJI].entries() == []


def test_a_newcomer_whose_name_may_be_taken_for_a_members_is_proposed_taken_and_signed_by_nobody(calm, monkeypatch):
    """Also not where the proposer's own software does not look."""
    alike = Wish("admit", content=admission())
    with pytest.raises(ConflictError, match=r"organisation\.name_alike"):
        calm.books[RENHE].propose(alike)
    with monkeypatch.context() as careless:
        careless.setattr(proposal_book, "check_names", lambda *_: None)
        made = calm.books[RENHE].propose(alike).proposal
    with pytest.raises(ConflictError, match=r"organisation\.name_alike"):
        calm.books[TONGJI].receive(made.encoded, RENHE)
    # It was taken before another one got that name.
    with monkeypatch.context() as careless:
        careless.setattr(proposal_book, "check_names", lambda *_: None)
        calm.books[TONGJI].receive(made.encoded, RENHE)
        calm.books[TONGJI].decide(made.id, Choice.APPROVE)
    payload = completed(made, [keys_of(name).key_id for name in (ANXIN, COMMISSION, TONGJI)])
    with pytest.raises(ConflictError, match=r"organisation\.name_alike"):
        calm.books[TONGJI].sign(made.id, payload, RENHE)


def test_a_changed_byte_of_a_proposal_is_refused(calm):
    data = bytearray(calm.books[RENHE].propose(Wish("suspend", ANXIN), "a reason").proposal.encoded)
    at = data.index(b'"sig":"') + 10
    data[at] = ord("A") if data[at] != ord("A") else ord("B")
    with pytest.raises((VerificationError, InputError)):
        calm.books[TONGJI].receive(bytes(data), RENHE)


def test_a_member_that_floods_fills_its_own_places_only(calm):
    book = calm.books[ANXIN]
    for number in range(MAX_OPEN_EACH):
        book.propose(Wish("suspend", TAIPING), f"flood {number}")
    with pytest.raises(UnavailableError, match=r"proposal\.quota"):
        book.propose(Wish("suspend", TAIPING), "once more")
    # Its own node holds it back; one that is rewritten is held back by everybody else.
    calm.step(ANXIN)
    assert len(calm.books[RENHE].entries()) == MAX_OPEN_EACH
    table = calm.federation.sites[ANXIN].records
    for row in table.proposals():
        table.close_proposal(row.id, 1)
    more = book.propose(Wish("suspend", TAIPING), "once more").proposal
    with pytest.raises(UnavailableError, match=r"proposal\.quota"):
        calm.books[RENHE].receive(more.encoded, ANXIN)
    # Everybody else's still come in.
    name = calm.propose(TONGJI, "suspend", ANXIN)
    assert calm.state(RENHE, name) == "open"


def test_who_proposes_and_withdraws_for_ever_keeps_a_bounded_number(calm):
    table = calm.federation.sites[RENHE].records
    for number in range(MAX_KEPT_EACH + 5):
        name = bytes([number]) * 32
        table.put_proposal(name, ANXIN, b"{}", until=10_000_000_000, now=number)
        table.close_proposal(name, number)
    assert len(table.proposals()) == MAX_KEPT_EACH
    assert min(row.received for row in table.proposals()) == 5


def test_who_can_write_the_records_file_approves_nothing_with_it(calm):
    # A web worker can: but it holds no ledger key.
    name, other = calm.propose(RENHE, "suspend", ANXIN), calm.propose(RENHE, "suspend", TAIPING)
    book, table = calm.books[TONGJI], calm.federation.sites[TONGJI].records
    proposal = book.entry(name).proposal
    stranger = Identity(TONGJI, keys_of(ANXIN).signer, {})
    table.put_decision(name, TONGJI, 1, make_decision(stranger, proposal, Choice.APPROVE, 1, 0).encoded)
    request = signing_request(name, completed(proposal, [keys_of(TONGJI).key_id, keys_of(COMMISSION).key_id]))
    with pytest.raises(VerificationError, match=r"proposal\.not_approved"):
        book.receive(request, RENHE)
    # Nor does an approval of one count for another, or for other bytes under its name.
    book.decide(other, Choice.APPROVE)
    approval = book.entry(other).decisions[0].encoded
    table.put_decision(name, TONGJI, 2, approval)
    with pytest.raises(VerificationError, match=r"proposal\.not_approved"):
        book.receive(request, RENHE)
    with table._database.write("proposal") as connection:  # noqa: SLF001  # as an attacker would
        chosen = proposal_table.update().where(proposal_table.c.id == other)
        connection.execute(chosen.values(envelope=proposal.encoded))
    with pytest.raises(VerificationError, match=r"store\.corrupt"):
        book.receive(signing_request(other, completed(proposal, [keys_of(TONGJI).key_id])), RENHE)
    calm.federation.time += 10
    assert [entry.proposal.id for entry in book.entries()] == [name]
    # What the administrator decides then counts all the same.
    assert book.decide(name, Choice.APPROVE).choice_of(TONGJI) is Choice.APPROVE


def test_what_others_have_sent_is_judged_again_only_when_something_changed(calm, monkeypatch):
    name = calm.propose(ANXIN, "suspend", TAIPING)
    book, judged = calm.books[RENHE], []
    monkeypatch.setattr("medchain.node.proposal_book.standing", lambda *about: judged.append(1) or standing(*about))
    for _ in range(5):
        assert [entry.proposal.id for entry in book.entries()] == [name]
    assert sum(judged) <= 1
    calm.books[TONGJI].decide(name, Choice.REJECT)
    calm.step(TONGJI)
    assert book.entries()[0].standing.rejected == (TONGJI,)
    calm.federation.time += 8 * 86_400
    assert book.entries()[0].standing.state == "expired"


def test_a_reason_that_would_steer_a_terminal_is_refused(calm):
    for reason in ("\x1b[2Kharmless", "harmless\u202egnp.exe", "x" * 501, "two\nlines"):
        with pytest.raises(InputError, match=r"proposal\.reason"):
            calm.books[RENHE].propose(Wish("suspend", ANXIN), reason)


def test_a_suspended_members_signature_counts_no_more(assembly):
    name = assembly.propose(RENHE, "remove", TAIPING)
    content = default_policy()
    content["rules"]["policy/active"] = {"majority": "member"}
    undecided = assembly.propose(RENHE, "policy", content=content)
    assembly.approve(name, ANXIN)
    assert ANXIN in assembly.books[RENHE].entry(name).standing.approved
    old = assembly.books[ANXIN].entry(name).decisions[0].encoded
    other = assembly.propose(TONGJI, "suspend", ANXIN)
    assembly.approve(other, COMMISSION, RENHE)
    assert assembly.is_everywhere(lambda members: status_of(ANXIN)(members) == "suspended")
    assert ANXIN not in assembly.books[RENHE].entry(name).standing.approved
    # Its own node refuses to decide, and everybody refuses what it sends.
    with pytest.raises(VerificationError, match=r"proposal\.signer"):
        assembly.books[ANXIN].decide(undecided, Choice.APPROVE)
    with pytest.raises(VerificationError, match=r"proposal\.signer"):
        assembly.books[COMMISSION].receive(old, ANXIN)


def test_a_proposal_that_was_overtaken_says_so_and_is_signed_by_nobody(assembly):
    slow = assembly.propose(ANXIN, "suspend", TAIPING)
    fast = assembly.propose(RENHE, "remove", TAIPING)
    assembly.approve(fast, TONGJI, COMMISSION)
    assert assembly.is_everywhere(lambda members: status_of(TAIPING)(members) == "removed")
    standing = assembly.books[TONGJI].entry(slow).standing
    assert (standing.state, standing.code) == ("overtaken", "transaction.version")
    with pytest.raises(ConflictError, match=r"proposal\.overtaken"):
        assembly.books[TONGJI].decide(slow, Choice.APPROVE)
    # Its creator may still take it back.
    assembly.books[ANXIN].decide(slow, Choice.WITHDRAW)


def test_a_proposal_whose_creator_was_suspended_is_overtaken(assembly):
    name = assembly.propose(ANXIN, "suspend", TAIPING)
    other = assembly.propose(RENHE, "suspend", ANXIN)
    assembly.approve(other, TONGJI, COMMISSION)
    assert assembly.is_everywhere(lambda members: status_of(ANXIN)(members) == "suspended")
    standing = assembly.books[TONGJI].entry(name).standing
    assert (standing.state, standing.code) == ("overtaken", "transaction.suspended")


def test_who_is_down_gets_it_later_and_who_has_approved_and_is_down_is_left_out(assembly):
    assembly.federation.down = {TAIPING}
    name = assembly.propose(RENHE, "suspend", ANXIN)
    with pytest.raises(NotFoundError, match=r"proposal\.unknown"):
        assembly.state(TAIPING, name)
    assembly.federation.down = set()
    assembly.step()
    assert assembly.state(TAIPING, name) == "open"
    assembly.approve(name, TAIPING)
    # Four have approved, one of them is away: the three others are enough.
    assembly.books[COMMISSION].decide(name, Choice.APPROVE)
    assembly.step(COMMISSION)
    assembly.books[RENHE].changed.clear()
    assembly.federation.down = {TAIPING}
    assembly.step(RENHE)
    assert assembly.rounds[RENHE].waiting[name] == "peer.unreachable"
    assembly.approve(name, TONGJI)
    assert assembly.is_everywhere(lambda members: status_of(ANXIN)(members) == "suspended")
    assembly.federation.down = set()


def test_all_of_it_is_still_there_after_a_crash(assembly):
    name = assembly.propose(RENHE, "suspend", ANXIN)
    assembly.approve(name, TONGJI)
    for org_id in (RENHE, COMMISSION):
        assembly.federation.crash(org_id)
        assembly.open(org_id)
    assert assembly.books[RENHE].entry(name).standing.approved == (RENHE, TONGJI)
    assembly.approve(name, COMMISSION)
    assert assembly.is_everywhere(lambda members: status_of(ANXIN)(members) == "suspended")


def test_a_rejection_is_shown_to_all_and_may_become_an_approval(calm):
    name = calm.propose(RENHE, "suspend", ANXIN)
    calm.books[TONGJI].decide(name, Choice.REJECT)
    calm.step()
    assert calm.books[COMMISSION].entry(name).standing.rejected == (TONGJI,)
    calm.approve(name, TONGJI)
    standing = calm.books[COMMISSION].entry(name).standing
    assert (standing.rejected, standing.approved) == ((), (RENHE, TONGJI))
    # An older word sent again changes nothing.
    old = next(d for s, r, d in calm.seen if s == TONGJI and r == COMMISSION and b"decision" in d)
    calm.books[COMMISSION].receive(old, TONGJI)
    assert calm.books[COMMISSION].entry(name).standing.approved == (RENHE, TONGJI)


def test_a_proposal_is_withdrawn_by_its_creator_alone(calm):
    name = calm.propose(RENHE, "suspend", ANXIN)
    with pytest.raises(ConflictError, match=r"proposal\.not_own"):
        calm.books[TONGJI].decide(name, Choice.WITHDRAW)
    with pytest.raises(ConflictError, match=r"proposal\.own"):
        calm.books[RENHE].decide(name, Choice.APPROVE)
    calm.books[RENHE].decide(name, Choice.WITHDRAW)
    calm.step()
    assert {calm.state(org_id, name) for org_id in ROLES} == {"withdrawn"}
    with pytest.raises(ConflictError, match=r"proposal\.withdrawn"):
        calm.books[TONGJI].decide(name, Choice.APPROVE)


def test_a_proposal_ends(calm):
    name = calm.propose(RENHE, "suspend", ANXIN, life_s=100)
    calm.federation.time += 101
    assert calm.state(TONGJI, name) in ("expired", "overtaken")
    with pytest.raises(ConflictError, match=r"proposal\.expired"):
        calm.books[TONGJI].decide(name, Choice.APPROVE)


def test_of_one_next_version_of_the_protocol_a_node_signs_one_takeover(calm):
    first, second = calm.propose(TONGJI, "take-over"), calm.propose(ANXIN, "take-over")
    book = calm.books[COMMISSION]
    for name in (first, second):
        book.decide(name, Choice.APPROVE)
    keys = [keys_of(name).key_id for name in (COMMISSION, TAIPING)]
    book.receive(signing_request(first, completed(book.entry(first).proposal, keys)), TONGJI)
    with pytest.raises(ConflictError, match=r"proposal\.promised"):
        book.receive(signing_request(second, completed(book.entry(second).proposal, keys)), ANXIN)
    # Nor may it say that it never meant it.
    with pytest.raises(ConflictError, match=r"proposal\.signed"):
        book.decide(first, Choice.REJECT)


@pytest.mark.parametrize("operation", [("protocol", ""), ("hand-over", ANXIN)])
def test_an_orderer_that_withholds_a_signed_change_is_replaced_all_the_same(assembly, operation):
    name = assembly.propose(RENHE, "hand-over", TAIPING)
    assembly.approve(name, COMMISSION, TAIPING)
    assert assembly.is_everywhere(lambda members: members.protocol.orderer == TAIPING)
    wait_until_final(assembly)
    quorum = {"quorum": 5} if operation[0] == "protocol" else {}
    withheld = assembly.propose(RENHE, *operation, life_s=MAX_LIFE_S, **quorum)
    assembly.federation.down = {TAIPING}
    assembly.approve(withheld, TONGJI, COMMISSION, ANXIN)
    leaf = assembly.books[RENHE].entry(withheld).row.leaf
    assert leaf is not None
    # Who has what was signed cannot stop the members with it, as if it were a takeover.
    for org_id in (RENHE, TONGJI, COMMISSION, ANXIN):
        driver = assembly.federation.sites[org_id].node.driver
        with pytest.raises(VerificationError, match=r"takeover\.transaction"):
            driver.stand_down(leaf)
        assert driver.cosigner.vouched.stood_down == ""
    name = assembly.propose(TONGJI, "take-over")
    assembly.approve(name, RENHE, COMMISSION)
    assert assembly.is_everywhere(lambda members: members.protocol.orderer == TONGJI)
    assert assembly.state(TONGJI, withheld) == "overtaken"
    assembly.federation.down = set()
    assert assembly.is_everywhere(lambda members: (members.protocol.orderer, members.protocol.quorum) == (TONGJI, 4))


def test_nobody_is_asked_to_hand_over_to_who_proposes_it(calm):
    """It would be a takeover for which the members have not promised to wait."""
    with pytest.raises(ConflictError, match=r"proposal\.to_itself"):
        calm.books[ANXIN].propose(Wish("hand-over", ANXIN))
    made = calm.books[ANXIN].propose(Wish("take-over")).proposal
    lying = make_proposal(keys_of(ANXIN), made.transaction, "", Way.ORDER, made.time)
    with pytest.raises(ConflictError, match=r"proposal\.to_itself"):
        calm.books[TONGJI].receive(lying.encoded, ANXIN)


def test_the_orderer_hands_over(assembly):
    name = assembly.propose(RENHE, "hand-over", TONGJI, life_s=3600)
    assembly.approve(name, COMMISSION, TONGJI)
    assert assembly.is_everywhere(lambda members: members.protocol.orderer == TONGJI)
    assembly.step()
    assert assembly.state(ANXIN, name) == "accepted"


def test_a_lost_orderer_is_taken_over_from(assembly):
    name = assembly.propose(RENHE, "suspend", ANXIN)
    assembly.approve(name, TONGJI, COMMISSION)
    assert assembly.is_everywhere(lambda members: members.protocol.quorum == 3)
    # Whoever is suspended gets no further until it is reinstated.
    assembly.federation.down = {ANXIN}
    name = assembly.propose(RENHE, "hand-over", TAIPING)
    assembly.approve(name, COMMISSION, TAIPING)
    assert assembly.is_everywhere(lambda members: members.protocol.orderer == TAIPING)
    wait_until_final(assembly)
    assembly.federation.down = {ANXIN, TAIPING}
    name = assembly.propose(TONGJI, "take-over", reason="排序方失联")
    assembly.approve(name, RENHE)
    assert assembly.state(TONGJI, name) == "open"
    assembly.approve(name, COMMISSION)
    assert assembly.is_everywhere(lambda members: members.protocol.orderer == TONGJI)
    assert assembly.state(RENHE, name) == "accepted"
    # The new one orders, and who was lost follows when it comes back.
    assembly.federation.down = set()
    assembly.moment += 1000
    name = assembly.propose(COMMISSION, "reinstate", ANXIN)
    assembly.approve(name, RENHE, TONGJI)
    assert assembly.is_everywhere(lambda members: status_of(ANXIN)(members) == "active")


def wait_until_final(assembly):
    """Wait until all is final at every node that is not down: each signs by what is so at itself."""
    up = [site for org_id, site in assembly.federation.sites.items() if org_id not in assembly.federation.down]
    for _ in range(6000):
        if all(is_final(site) for site in up):
            return
        assembly.federation.wait()
    pytest.fail("not final")


def is_final(site) -> bool:
    store, size = site.replica.store, site.node.driver.cosigner.final_size
    return store.final() is not None and store.final().size == store.head.size == size


def test_a_takeover_waits_until_what_it_builds_on_is_final(assembly, monkeypatch):
    name = assembly.propose(RENHE, "hand-over", TONGJI)
    assembly.approve(name, COMMISSION, TONGJI)
    assert assembly.is_everywhere(lambda members: members.protocol.orderer == TONGJI)
    wait_until_final(assembly)
    takeover = assembly.propose(RENHE, "take-over")
    book = assembly.books[COMMISSION]
    book.decide(takeover, Choice.APPROVE)
    payload = completed(book.entry(takeover).proposal, [keys_of(COMMISSION).key_id, keys_of(ANXIN).key_id])
    monkeypatch.setattr(book, "_final_size", lambda: 1)
    with pytest.raises(UnavailableError, match=r"proposal\.not_final"):
        book.receive(signing_request(takeover, payload), RENHE)


def test_only_who_is_to_order_proposes_a_takeover(calm):
    made = calm.books[RENHE].propose(Wish("take-over")).proposal
    assert (made.way, made.until - made.time) == (Way.TAKE_OVER, 6 * 3600)
    other = calm.books[ANXIN].propose(Wish("hand-over", TONGJI)).proposal
    with pytest.raises(InputError, match=r"proposal\.form"):
        make_proposal(keys_of(ANXIN), other.transaction, "", Way.TAKE_OVER, other.time)
    with pytest.raises(InputError, match=r"proposal\.life"):
        calm.books[RENHE].propose(Wish("take-over"), "", 86_401)
    # A takeover that others are to be bound by for long is refused by them too.
    long = replace(made.transaction, until=made.time + 90_000)
    with pytest.raises(InputError, match=r"proposal\.time"):
        calm.books[TONGJI].receive(make_proposal(keys_of(RENHE), long, "", Way.TAKE_OVER, made.time).encoded, RENHE)


def test_members_that_stood_down_in_vain_stand_down_for_the_next_takeover(assembly, monkeypatch):
    name = assembly.propose(RENHE, "hand-over", TAIPING)
    assembly.approve(name, COMMISSION, TAIPING)
    assert assembly.is_everywhere(lambda members: members.protocol.orderer == TAIPING)
    wait_until_final(assembly)
    assembly.federation.down = {TAIPING}
    name = assembly.propose(ANXIN, "take-over", life_s=600)
    for org_id in (TONGJI, COMMISSION):
        assembly.books[org_id].decide(name, Choice.APPROVE)
        assembly.step(org_id)
    # One more is lost before the last step: three of five answer, and four are needed.
    driver = assembly.federation.sites[RENHE].node.driver
    monkeypatch.setattr(driver, "stand_down", lost)
    assembly.step(ANXIN)
    assert assembly.rounds[ANXIN].waiting[name] == "takeover.quorum"
    assert assembly.federation.sites[TONGJI].node.driver.cosigner.vouched.stood_down == ANXIN
    # While it may still be completed, nobody signs another; its creator may give it up, the promises stay.
    other = assembly.propose(TONGJI, "take-over", life_s=600)
    assembly.books[COMMISSION].decide(other, Choice.APPROVE)
    payload = completed(
        assembly.books[COMMISSION].entry(other).proposal, [keys_of(COMMISSION).key_id, keys_of(RENHE).key_id]
    )
    with pytest.raises(ConflictError, match=r"proposal\.promised"):
        assembly.books[COMMISSION].receive(signing_request(other, payload), TONGJI)
    assembly.books[ANXIN].decide(name, Choice.WITHDRAW)
    with pytest.raises(ConflictError, match=r"proposal\.promised"):
        assembly.books[COMMISSION].receive(signing_request(other, payload), TONGJI)
    monkeypatch.undo()
    assembly.federation.time += 800
    leaf = assembly.books[ANXIN].entry(name).row.leaf
    with pytest.raises(VerificationError, match=r"takeover\.transaction.*until"):
        driver.stand_down(leaf)
    name = assembly.propose(TONGJI, "take-over")
    assembly.approve(name, RENHE, COMMISSION)
    assert assembly.is_everywhere(lambda members: members.protocol.orderer == TONGJI)
    assembly.federation.down = set()


def lost(_leaf):
    raise UnavailableError("peer.unreachable")


def test_a_takeover_that_another_version_has_overtaken_stops_nobody(assembly):
    name = assembly.propose(ANXIN, "take-over")
    keys = {keys_of(org_id).key_id: org_id for org_id in (TONGJI, COMMISSION)}
    proposal = assembly.books[ANXIN].entry(name).proposal
    payload = completed(proposal, keys)
    signatures = [(keys_of(o).key_id, keys_of(o).signer.sign(pae(payload))) for o in (ANXIN, TONGJI, COMMISSION)]
    leaf = seal(payload, signatures).leaf
    other = assembly.propose(RENHE, "protocol", quorum=5)
    assembly.approve(other, TONGJI, COMMISSION)
    assert assembly.is_everywhere(lambda members: members.protocol.quorum == 5)
    wait_until_final(assembly)
    with pytest.raises(VerificationError, match=r"takeover\.transaction.*version"):
        assembly.federation.sites[RENHE].node.driver.stand_down(leaf)
    assert assembly.federation.sites[RENHE].node.driver.cosigner.vouched.stood_down == ""


def test_nobody_is_made_to_order_who_has_not_agreed_to(calm):
    """It alone knows what it has signed under its log key."""
    name = calm.propose(RENHE, "hand-over", TONGJI)
    book = calm.books[COMMISSION]
    book.decide(name, Choice.APPROVE)
    keys = [keys_of(org_id).key_id for org_id in (COMMISSION, TAIPING)]
    with pytest.raises(ConflictError, match=r"proposal\.orderer org_id=tongji-hospital"):
        book.receive(signing_request(name, completed(book.entry(name).proposal, keys)), RENHE)
    keys.append(keys_of(TONGJI).key_id)
    assert book.receive(signing_request(name, completed(book.entry(name).proposal, keys)), RENHE)["signature"]


def test_a_hand_over_waits_until_who_is_to_order_has_approved_it(assembly):
    name = assembly.propose(RENHE, "hand-over", TONGJI)
    assembly.approve(name, COMMISSION, TAIPING)
    assert assembly.rounds[RENHE].waiting[name] == "proposal.orderer"
    assembly.approve(name, TONGJI)
    assert assembly.is_everywhere(lambda members: members.protocol.orderer == TONGJI)


def test_who_was_replaced_is_proposed_as_orderer_only_when_its_log_key_is_exchanged(assembly):
    name = assembly.propose(RENHE, "hand-over", TAIPING)
    assembly.approve(name, COMMISSION, TAIPING)
    assert assembly.is_everywhere(lambda members: members.protocol.orderer == TAIPING)
    wait_until_final(assembly)
    assembly.federation.down = {TAIPING}
    name = assembly.propose(TONGJI, "take-over")
    assembly.approve(name, RENHE, ANXIN, COMMISSION)
    assert assembly.is_everywhere(lambda members: members.protocol.orderer == TONGJI)
    with pytest.raises(ConflictError, match=r"proposal\.log_key org_id=taiping-insurance"):
        assembly.propose(RENHE, "hand-over", TAIPING)
    # Nor is it taken from who proposes it all the same.
    lying = ProposalBook(keys_of(RENHE), assembly.books[RENHE].judge, assembly.federation.sites[RENHE].records)
    made = lying.propose(Wish("hand-over", TAIPING)).proposal
    with pytest.raises(ConflictError, match=r"proposal\.log_key"):
        assembly.books[ANXIN].receive(made.encoded, RENHE)
