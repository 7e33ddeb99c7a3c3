"""The commands by which members change together, at a node whose daemon answers them for real."""

from __future__ import annotations

import io
import json
from contextlib import ExitStack

import pytest

from medchain.cli import main
from medchain.commands import issuing, proposals
from medchain.commands.command import Context
from medchain.commands.demo_predicates import TYPES
from medchain.encoding import canonical, parse_canonical
from medchain.ledger.genesis import parse_genesis
from medchain.ledger.transaction import pae, seal
from medchain.node.administrator import AdministratorDoor
from medchain.node.assembly import LocalOperations, read_genesis
from medchain.node.clock import system_clock
from medchain.node.config import Address
from medchain.node.endorse import Identity, Judge
from medchain.node.keystore import KeyUse, Layout, open_daemon_keys, open_root_file, unlock, vrf_publics
from medchain.node.ledger_driver import pen_of
from medchain.node.local_state import write_state
from medchain.node.member_changes import Wish
from medchain.node.proposal import Choice, completed
from medchain.node.proposal_book import ProposalBook
from medchain.node.proposal_desk import ADMINISTRATOR, ProposalDesk
from medchain.node.replica import Replica
from medchain.store.engine import FileKind, open_database
from medchain.store.ledger import LedgerStore
from medchain.store.records import RecordStore
from medchain.web.peer import local_routes
from medchain.web.routing import Router
from medchain.web.server import DaemonServer

RENHE, ANXIN, COMMISSION = "renhe-hospital", "anxin-insurance", "health-commission"


@pytest.fixture
def books(founded, node, tmp_path):
    """Open the books of the node and of another founder."""
    genesis, signatures = read_genesis(Layout(node.parent))
    with ExitStack() as opened:

        def book(org_id, folder):
            keys = open_daemon_keys(folder, unlock(open_root_file(folder / "keys" / "root.key", None)))
            place = tmp_path / f"files-{org_id}"
            place.mkdir()
            ledger = LedgerStore(open_database(place / "ledger.db", bytes(32), kind=FileKind.LEDGER))
            opened.callback(ledger.close)
            records = RecordStore(open_database(place / "records.db", bytes(32), kind=FileKind.RECORDS))
            opened.callback(records.close)
            judge = Judge(org_id, Replica.create(ledger, genesis, signatures), None, None, system_clock)
            return ProposalBook(Identity(org_id, keys.ledger, {}), judge, records), keys

        own, keys = book(RENHE, node.parent)
        other, _ = book(COMMISSION, founded / COMMISSION)
        waiting: dict[bytes, str] = {}
        door = AdministratorDoor(keys.administrator, system_clock, ADMINISTRATOR)
        operations = LocalOperations(ProposalDesk(own, door, waiting.get).operations())
        layout = Layout(node.parent)
        layout.create()
        server = DaemonServer(Address("127.0.0.1", 0), Router("local", local_routes(operations), local_secret="s" * 64))
        server.start()
        opened.callback(server.stop, 5)
        url = f"http://127.0.0.1:{server.address.port}"
        write_state(layout, pid=1, local_url=url, peer_url=url, secret="s" * 64)
        yield own, other


def test_a_member_proposes_lists_shows_and_withdraws(run, node, books):
    made = run("org", "suspend", ANXIN, "--reason", "three letters", "--config", node)
    assert made.code == 0, made.err
    own, _ = books
    [entry] = own.entries()
    name = entry.proposal.id.hex()
    listed = run("proposals", "--config", node, "--lang", "en")
    assert listed.out == made.out == run("proposals", "list", "--config", node).out
    lines = listed.out.splitlines()
    assert lines[0].startswith(f"{name[:8]}  open: proposed by {RENHE} at ")
    assert lines[1:] == [
        f"    reason, in {RENHE}'s words: three letters",
        f"    {ANXIN}: status: active -> suspended",
        "    needs rule organisation/active: (more than half of the members and a regulator)",
        f"    signatures 1 of 2: {RENHE}",
        f"    enough with, for example: {COMMISSION}",
    ]
    shown = run("proposals", "show", name[:8], "--bytes", "--config", node)
    assert parse_canonical(shown.out.rstrip("\n").encode(), max_bytes=100_000)["reason"] == "three letters"
    own_approval = run("proposals", "approve", name[:8], "--yes", "--config", node)
    assert (own_approval.code, "proposal.own" in own_approval.err) == (6, True)
    assert "withdrawn" in run("proposals", "withdraw", name[:8], "--config", node).out
    assert "There are no proposals." in run("proposals", "--config", node).out
    assert "已撤回" in run("proposals", "--all", "--config", node, "--lang", "zh").out
    assert run("proposals", "show", "ffffffff", "--config", node).code == 4


def test_another_members_proposal_is_approved_after_a_yes_to_what_is_shown(run, node, books, monkeypatch):
    own, other = books
    proposal = other.propose(Wish("hand-over", RENHE), "我方机房迁移").proposal
    own.receive(proposal.encoded, COMMISSION)
    name = proposal.id.hex()
    answers = iter(["no", "是"])
    monkeypatch.setattr("builtins.input", lambda: next(answers))
    refused = run("proposals", "approve", name[:8], "--config", node, "--lang", "zh")
    assert (refused.code, "没有作出决定" in refused.err) == (130, True)
    assert own.entry(proposal.id).decisions == ()
    given = run("proposals", "approve", name[:8], "--config", node, "--lang", "zh")
    assert given.code == 0, given.err
    assert f"账本规则：排序方：{COMMISSION} → {RENHE}" in given.err
    assert "批准已经足够" in given.out
    assert "本机构的决定：批准" in given.out
    assert own.entry(proposal.id).decisions[0].choice == "approve"
    rejected = run("proposals", "reject", name[:8], "--config", node)
    assert f"rejected by: {RENHE}" in rejected.out
    # Nothing brings it onto the ledger here, so a wait ends.
    monkeypatch.setattr(proposals, "_POLL_S", 0.01)
    waited = run("proposals", "approve", name[:8], "--yes", "--wait", 1, "--config", node)
    assert (waited.code, "proposal.waiting" in waited.err) == (7, True)
    other.decide(proposal.id, Choice.WITHDRAW)
    own.receive(other.entry(proposal.id).decisions[0].encoded, COMMISSION)
    late = run("proposals", "reject", name[:8], "--config", node)
    assert (late.code, "proposal.withdrawn" in late.err) == (6, True)


@pytest.mark.usefixtures("books")
@pytest.mark.parametrize(
    ("words", "subject", "field"),
    [
        (("org", "remove", ANXIN, "--quorum", "2"), ANXIN, "status"),
        (("orderer", "hand-over", ANXIN, "--days", "3"), "protocol", "orderer"),
        (("orderer", "take-over", "--hours", "2"), "protocol", "orderer"),
        (("protocol", "propose", "--quorum", "3"), "protocol", "quorum"),
    ],
)
def test_each_command_proposes_what_it_says(run, node, words, subject, field):
    made = run(*words, "--json", "--config", node)
    assert made.code == 0, made.err
    assert (subject, field) in {(row["subject"], row["field"]) for row in made.document["changes"]}
    text = run("proposals", "show", made.document["id"], "--config", node).out
    assert ("way: takeover" in text) == (words[1] == "take-over")


@pytest.mark.usefixtures("books")
def test_one_type_of_statements_is_proposed_and_the_rest_of_the_policy_stays(run, node, tmp_path):
    before = run("policy", "show", "--json", "--config", node).document
    uri, held = "https://medchain.example/prescription/v1", TYPES["https://medchain.example/prescription/v1"]
    (tmp_path / "type.json").write_text(json.dumps(held, indent=2))
    made = run("policy", "register", uri, tmp_path / "type.json", "--json", "--config", node)
    assert made.code == 0, made.err
    [change] = made.document["changes"]
    assert (change["field"], change["before"]) == (f"predicate.{uri}", None)
    (tmp_path / "bad.json").write_text(json.dumps(held | {"by": ["nobody"]}))
    assert run("policy", "register", uri, tmp_path / "bad.json", "--config", node).code == 2
    assert run("policy", "show", "--json", "--config", node).document == before


@pytest.mark.usefixtures("books")
def test_a_policy_is_proposed_from_a_file(run, node, tmp_path):
    policy = run("policy", "show", "--json", "--config", node).document
    policy["rules"]["record/active"] = {"or": ["creator", {"out_of": [2, ["independent", "org:x", "role:hospital"]]}]}
    policy["rules"]["policy/active"] = {"fraction": [2, 3, "role:insurer"]}
    (tmp_path / "p.json").write_text(json.dumps(policy, indent=2))
    made = run("policy", "propose", tmp_path / "p.json", "--config", node)
    assert made.code == 0, made.err
    assert 'endorsement policy: rule record/active: creator -> {"or":' in made.out
    (tmp_path / "bad.json").write_text("{")
    assert "file.json" in run("policy", "propose", tmp_path / "bad.json", "--config", node).err
    assert run("policy", "propose", tmp_path / "none.json", "--config", node).code == 4
    (tmp_path / "large.json").write_bytes(b" " * (1 << 20) + b"  ")
    assert "file.too_large" in run("policy", "propose", tmp_path / "large.json", "--config", node).err


@pytest.mark.parametrize(
    ("expression", "zh", "en"),
    [
        ("creator", "提议者", "who proposes"),
        ("independent", "抽签的独立背书方", "the drawn independent endorser"),
        ("org:renhe-hospital", "renhe-hospital", "renhe-hospital"),
        ("role:regulator", "监管机构", "a regulator"),
        ({"fraction": [2, 3, "member"]}, "至少 2/3 的成员", "at least 2/3 of the members"),
        ({"majority": "role:insurer"}, "超过半数insurer成员", "more than half of the members with the role insurer"),
        ({"or": ["creator", "org:a"]}, "(提议者 或者 a)", "(who proposes or a)"),
        ({"out_of": [1, ["creator", "org:a"]]}, "以下至少 1 项（提议者; a）", "at least 1 of (who proposes; a)"),
        ({"unknown": 1}, '{"unknown":1}', '{"unknown":1}'),
        (None, "null", "null"),
    ],
)
def test_a_rule_in_words(expression, zh, en):
    for language, expected in (("zh", zh), ("en", en)):
        context = Context(None, language, as_json=False, out=io.StringIO(), err=io.StringIO(), clock=lambda: 0)
        assert proposals._words(context, expression) == expected  # noqa: SLF001  # the words alone


@pytest.mark.usefixtures("books")
def test_a_newcomer_asks_and_enters(run, founded, tmp_path, node):
    folder = tmp_path / "tongji"
    words = ("--role", "hospital", "--name-zh", "同济", "--name-en", "Tongji", "--issuer", "31010500999")
    assert run("init", folder, "--org-id", "tongji-hospital", *words).code == 0
    config = ("--config", folder / "node.toml")
    ledger = (founded / "ledger").read_text()
    request = ("join", "request", founded / "genesis.json", "--out", tmp_path / "a.json", *config, "--ledger")
    wrong = run(*request, "00" * 32)
    assert (wrong.code, "genesis.ledger" in wrong.err) == (1, True)
    asked = run(*request, ledger)
    assert asked.code == 0, asked.err
    assert run(*request, ledger).code == 6, "nothing is overwritten"
    made = run("org", "admit", tmp_path / "a.json", "--json", "--config", node)
    assert made.code == 0, made.err
    assert {"after": "tongji-hospital", "before": None, "field": "org_id", "subject": "tongji-hospital"} in (
        made.document["changes"]
    )
    assert "issuer.31010500999" in [row["field"] for row in made.document["changes"]]
    enter = ("join", "enter", founded / "genesis.json", node.parent / "genesis.signatures.json", *config, "--ledger")
    assert run(*enter, ledger).code == 0
    assert parse_genesis((folder / "genesis.json").read_bytes()).ledger.hex() == ledger
    # Another organisation's member file is not this node's to ask with.
    (folder / "member.json").write_bytes((founded / ANXIN / "member.json").read_bytes())
    other = ("join", "request", founded / "genesis.json", "--out", tmp_path / "b.json", *config, "--ledger", ledger)
    assert "genesis.own_keys" in run(*other).err


@pytest.mark.usefixtures("books")
def test_a_hospital_proposes_further_issuer_codes_of_its_own(run, node):
    made = run("org", "issuers", "31010500124", "31010500123", "--json", "--config", node)
    assert made.code == 0, made.err
    assert made.document["changes"] == [
        {"after": "31010500124", "before": None, "field": "issuer.31010500124", "subject": RENHE}
    ]
    assert made.document["state"] == "open"
    for language, said in (("zh", "开票单位代码 31010500124"), ("en", "issuer code 31010500124")):
        assert said in run("proposals", "--config", node, "--lang", language).out


@pytest.mark.usefixtures("books")
def test_a_node_of_before_there_were_keys_for_invoices_holds_one_before_it_proposes_codes(run, node, monkeypatch):
    keystore, began = Layout(node.parent).keystore, []
    document = json.loads(keystore.read_bytes())
    document["keys"] = [row for row in document["keys"] if row["use"] != "vrf"]
    keystore.write_bytes(canonical(document))
    monkeypatch.setattr(issuing, "start_anew", lambda *given: began.append((given[:2], vrf_publics(node.parent))))
    for code in ("31010500124", "31010500125"):
        made = run("org", "issuers", code, "--config", node)
        assert made.code == 0, made.err
    # Once, and after it was in the keystore.
    assert began == [((node.parent, [KeyUse.VRF]), vrf_publics(node.parent))]


@pytest.mark.usefixtures("books")
def test_who_was_killed_before_the_node_held_its_key_for_invoices_goes_on_from_there(run, node, monkeypatch):
    keystore, began = Layout(node.parent).keystore, []
    document = json.loads(keystore.read_bytes())
    document["keys"] = [row for row in document["keys"] if row["use"] != "vrf"]
    keystore.write_bytes(canonical(document))

    def killed(*_given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(issuing, "start_anew", killed)
    run("org", "issuers", "31010500124", "--config", node)
    [public] = vrf_publics(node.parent)
    monkeypatch.setattr(issuing, "start_anew", lambda *given: began.append(given[:2]))
    for code in ("31010500124", "31010500125"):
        made = run("org", "issuers", code, "--config", node)
        assert made.code == 0, made.err
    assert (began, vrf_publics(node.parent)) == ([(node.parent, [KeyUse.VRF])], (public,))


def test_the_word_alone_lists_and_its_help_is_that_of_the_group(capsys):
    assert main(["proposals", "--help"], {}) == 0
    assert "approve" in capsys.readouterr().out


def test_the_doctor_calls_the_members_of_now(run, founded, node):
    layout = Layout(node.parent)

    def keys_of(folder):
        return open_daemon_keys(folder, unlock(open_root_file(folder / "keys" / "root.key", None)))

    own, orderer = keys_of(node.parent), keys_of(founded / COMMISSION)
    before = {row["detail"].split()[0] for row in peers(run("doctor", "--json", "--config", node))}
    assert before == {ANXIN, COMMISSION}
    genesis, signatures = read_genesis(layout)
    with ExitStack() as opened:
        store = LedgerStore(open_database(layout.ledger, own.ledger_database, kind=FileKind.LEDGER))
        opened.callback(store.close)
        records = RecordStore(open_database(node.parent / "x.db", bytes(32), kind=FileKind.RECORDS))
        opened.callback(records.close)
        replica = Replica.create(store, genesis, signatures, pen=pen_of(orderer.log))
        book = ProposalBook(Identity(RENHE, own.ledger, {}), Judge(RENHE, replica, None, None, system_clock), records)
        proposal = book.propose(Wish("suspend", ANXIN)).proposal
        voter = Identity(COMMISSION, orderer.ledger, {})
        payload = completed(proposal, [voter.key_id])
        signed = [(item.key_id, item.signer.sign(pae(payload))) for item in (book.identity, voter)]
        assert replica.propose([seal(payload, signed).leaf], replica.time + 1).refusals == {}
    after = {row["detail"].split()[0] for row in peers(run("doctor", "--json", "--config", node))}
    assert after == {COMMISSION}
    assert run("org", "show", ANXIN, "--json", "--config", node).document["status"] == "suspended"


def peers(ran):
    return [row for row in json.loads(ran.out.splitlines()[0])["findings"] if row["check"] == "peers"]
