"""What a claim leaves with those who are no party: every file, table and operation of their own nodes.

Whole nodes: a hospital, two insurers of which one claims at a time, another hospital and a regulator, of whom one is
drawn to endorse. Whatever changed in any of their files by a claim is listed, and nothing of it tells whose claim it
was, which insurer's, on which invoice, or how much (docs/threat-model.md, "What two kinds of traffic reveal").
"""

from __future__ import annotations

import base64
import json
import time
from collections import Counter
from dataclasses import dataclass

import pytest

from fhir_bridge.case_records import CaseRecords
from fhir_bridge.dispute_records import DisputeRecords
from medchain.claims.wishes import RESERVE, SETTLE
from medchain.encoding import canonical, unhex
from medchain.errors import AccessDeniedError, NotFoundError
from medchain.ledger.invoice import amount_of
from medchain.ledger.kinds.claim_content import read_shown
from medchain.node.missing import WANTED_TYPE
from medchain.node.records import NewRecord
from tests.unit.fhir_bridge.claims_desk.judged import judge
from tests.unit.medchain.claims.filed import claim as filed
from tests.unit.medchain.claims.hospitals import Hospitals, running_hospitals
from tests.unit.medchain.claims.questions import CODE, issued, row
from tests.unit.medchain.ledger.world import COMMISSION, TAIPING, key
from tests.unit.medchain.node.federation import ANXIN, RENHE, ROLES, TONGJI
from tests.waiting import eventually

# Long enough that no hash holds them by chance.
TOTAL, PART = "84228013.57", "61234567.89"
LEDGER_TABLES = {"block", "commit_mark", "draw", "edge", "leaf", "map_page", "state_record", "tile"}
"""Where the ledger keeps what all members have: blocks, leaves, their draws, the newest states and both trees."""
ENDORSER_TABLES = {"body", "unaccepted", "used_token", "commit_mark"}
"""Where the drawn endorser keeps what it was shown, and the proofs of requests, so that none counts twice."""


@dataclass(frozen=True)
class Story:
    """One claim: who, on which invoice, how much, for which claim of its own."""

    insurer: str
    number: str
    check: str
    amount: str
    claim: bytes

    def needles(self) -> list[bytes]:
        """List what must not be found, in every form in which it could be written."""
        digits = [text.replace(".", "") for text in (self.amount, TOTAL)]
        texts = [self.insurer, self.number, self.check, self.amount, TOTAL, *digits, "99060225", CODE]
        return [*(text.encode() for text in texts), self.claim, self.claim.hex().encode()]


FIRST = Story(ANXIN, "7000000017", "ZQXWVU", TOTAL, b"\xd1" * 32)
SECOND = Story(TAIPING, "7000000029", "YHGTSR", PART, b"\xe2" * 32)


def tables(database) -> dict[str, Counter]:
    """Read all rows of all tables of a file, opened with its key."""
    found = {}
    with database.read("all") as connection:
        names = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'").all()
        for (name,) in names:
            chosen = f'SELECT * FROM "{name}"'  # noqa: S608  # a name that the file itself gives
            found[name] = Counter(map(tuple, connection.exec_driver_sql(chosen).all()))
    return found


@dataclass
class View:
    """What one node has: rows of tables by file, and all other files as they are."""

    rows: dict[str, Counter]
    files: dict[str, bytes]

    def since(self, before: View) -> dict[str, list]:
        """List the rows that came, by table."""
        came = {name: [*(rows - before.rows.get(name, Counter()))] for name, rows in self.rows.items()}
        return {name: rows for name, rows in came.items() if rows}


def view(hospitals: Hospitals, org_id: str) -> View:
    """Look at all that a node has, with its own keys."""
    site = hospitals.federation.sites[org_id]
    rows = tables(site.records.database)
    for name, found in tables(site.ledger._database).items():  # noqa: SLF001  # as who holds the file and its key
        rows[name] = rows.get(name, Counter()) + found
    return View(rows, {path.name: path.read_bytes() for path in site.folder.iterdir()})


@dataclass
class Told:
    """A claim that was reserved and settled, and what it changed at each node."""

    story: Story
    key: str
    endorsers: list[str]
    payloads: list[dict]
    came: dict[str, dict[str, list]]
    views: dict[str, View]


def tell(hospitals: Hospitals, story: Story) -> Told:
    """Have a claim reserved and settled; every node follows."""
    hospitals.registers[RENHE].rows.append(
        issued(story.number, check_codes=(story.check,), amount=amount_of(TOTAL, "CNY"))
    )
    before = {org_id: view(hospitals, org_id) for org_id in ROLES}
    held = row(story.number, check_code=story.check, amount=TOTAL).to_json()
    asked = {"amount": story.amount, "claim": story.claim.hex(), "row": held}
    local = hospitals.local(story.insurer)
    reserved = local.call(RESERVE, {**asked, "days": 7})
    settled = local.call(SETTLE, asked)
    assert (reserved["version"], settled["version"]) == (1, 2)
    hospitals.everywhere(unhex(settled["key"], 32), 2)
    after = {org_id: view(hospitals, org_id) for org_id in ROLES}
    came = {org_id: after[org_id].since(before[org_id]) for org_id in ROLES}
    leaves = [json.loads(leaf) for _, leaf in sorted(came[COMMISSION]["leaf"])]
    payloads = [json.loads(base64.b64decode(leaf["payload"])) for leaf in leaves if "payload" in leaf]
    keys = {key(org_id, "ledger").id: org_id for org_id in ROLES}
    drawn = [keys[name] for made in payloads for name, role in made["signers"] if role == "independent"]
    return Told(story, settled["key"], drawn, payloads, came, after)


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Two claims that differ in everything that must not be seen."""
    with running_hospitals(tmp_path_factory.mktemp("views")) as hospitals:
        yield hospitals, [tell(hospitals, FIRST), tell(hospitals, SECOND)]


def outsiders(one: Told) -> list[str]:
    """Name those who are no party and endorsed nothing of it."""
    return sorted(set(ROLES) - {RENHE, one.story.insurer, *one.endorsers})


def test_all_that_the_ledger_shows_of_a_claim_is_this(told):
    """The whole payload, member by member: what is not listed here is not there."""
    _, claims = told
    for one in claims:
        first, second = one.payloads
        for version, made in enumerate((first, second), 1):
            assert sorted(made) == sorted(
                ["bodies", "changes", "creator", "draw", "ledger", "nonce", "protocol", "signers", "type", "until"]
            )
            [change] = made["changes"]
            assert sorted(change) == ["expires", "kind", "objects", "refs", "status", "stop_hash"]
            [[object_id, number, body_hash]] = change["objects"]
            assert (made["creator"], made["bodies"], change["kind"], change["refs"]) == (RENHE, [], "claim", [])
            assert (number, change["stop_hash"], len(object_id), len(body_hash)) == (version, None, 32, 64)
            assert sorted(role for _, role in made["signers"]) == ["creator", "independent"]
        assert [made["changes"][0]["status"] for made in one.payloads] == ["reserved", "settled"]


def test_two_claims_of_other_insurers_amounts_and_invoices_look_alike_to_who_reads_the_ledger(told):
    """What is left when random values, and who was drawn by chance, are taken away is the same to the last byte."""
    _, claims = told

    def bare(made: dict) -> dict:
        [change] = made["changes"]
        objects = [[version] for _, version, _ in change["objects"]]
        _seed_height, _number, rank = made["draw"]
        roles = sorted(role for _, role in made["signers"])
        return made | {"changes": [change | {"objects": objects}], "draw": rank, "nonce": "", "signers": roles}

    first, second = ([bare(made) for made in one.payloads] for one in claims)
    assert canonical(first) == canonical(second)


def test_who_is_drawn_to_endorse_pays_no_claims_so_that_the_draw_names_no_insurer(told):
    _, claims = told
    assert {org_id for one in claims for org_id in one.endorsers} <= {TONGJI, COMMISSION}


def test_at_another_insurer_hospital_or_regulator_a_claim_changes_the_ledgers_tables_alone(told):
    _, claims = told
    for one in claims:
        assert outsiders(one)
        for org_id in outsiders(one):
            assert set(one.came[org_id]) <= LEDGER_TABLES, org_id


def written(one: Told, org_id: str) -> list[bytes]:
    """Write all that a claim changed in a node's tables, as it lies there and readably."""
    found = [cells for rows in one.came[org_id].values() for cells in rows]
    raw = [cell for cells in found for cell in cells if type(cell) is bytes]
    return [*(repr(cells).encode() for cells in found), *raw]


def test_nothing_in_their_tables_and_files_tells_invoice_insurer_claim_or_amount(told):
    _, claims = told
    for one in claims:
        payloads = [json.dumps(made).encode() for made in one.payloads]
        for org_id in outsiders(one):
            texts = [*written(one, org_id), *payloads]
            for needle in one.story.needles():
                assert not any(needle in text for text in texts), (org_id, needle)
                if needle not in (one.story.insurer.encode(), CODE.encode()):
                    # Names of members and issuer codes are the ledger's own, known before any claim.
                    assert not any(needle in content for content in one.views[org_id].files.values()), (org_id, needle)


def test_the_same_search_finds_all_of_it_where_it_is(told):
    """At the hospital, whose claims they are: a search that finds nothing anywhere would show nothing."""
    _, claims = told
    for one in claims:
        texts = written(one, RENHE)
        readable = (one.story.insurer, one.story.number, one.story.check, CODE, one.story.amount.replace(".", ""))
        for needle in (*readable, one.story.claim.hex()):
            assert any(needle.encode() in text for text in texts), needle


def test_their_operations_show_the_state_and_no_body(told):
    hospitals, claims = told
    for one in claims:
        for org_id in outsiders(one):
            operations = hospitals.federation.sites[org_id].node.operations()
            assert operations["body"]({"object": one.key}) == {"body": None}
            shown = operations["object"]({"object": one.key})
            assert sorted(shown) == ["ending", "final", "record", "stopped"]
            assert shown["ending"]["by"] == RENHE
            members = ["body_hash", "creator", "expires", "id", "kind", "previous", "refs", "since", "status"]
            assert sorted(shown["record"]) == sorted([*members, "stop_hash", "type", "version"])
            text = canonical(shown)
            assert not any(needle in text for needle in one.story.needles())


def test_attack_whoever_asks_a_holder_for_the_body_by_its_key_is_given_nothing(told):
    """Every member reads the key on the ledger; hospital, insurer and endorser each hold a body."""
    hospitals, claims = told
    for one in claims:
        wanted = canonical({"object": one.key, "type": WANTED_TYPE, "version": 2})
        for holder in {RENHE, one.story.insurer, *one.endorsers}:
            for org_id in outsiders(one):
                with pytest.raises(NotFoundError, match=r"^body\.absent"):
                    hospitals.federation.sites[holder].node.bodies.receive(wanted, org_id)


def test_attack_a_member_that_knows_the_key_learns_nothing_by_a_question_without_the_check_code(told):
    hospitals, claims = told
    for one in claims:
        for org_id in (ANXIN, TAIPING):
            held = row(one.story.number, check_code="A1", amount=TOTAL).to_json()
            [checked] = hospitals.local(org_id).call("claims.check", {"rows": [held]})["checked"]
            assert (checked["finding"], checked["claim_id"], checked["key"]) == ("unknown", None, None)


def test_the_other_insurer_that_holds_the_invoice_is_told_that_it_is_claimed_and_not_by_whom(told):
    hospitals, claims = told
    held = row(FIRST.number, check_code=FIRST.check, amount=TOTAL).to_json()
    [checked] = hospitals.local(TAIPING).call("claims.check", {"rows": [held]})["checked"]
    assert (checked["finding"], checked["hospital"], checked["key"]) == ("settled", RENHE, claims[0].key)
    text = canonical(checked)
    assert not any(needle in text for needle in (ANXIN.encode(), FIRST.claim.hex().encode()))


def test_the_drawn_endorser_sees_both_versions_whole_and_so_the_threat_model_says(told):
    """It cannot judge parts that it is not shown: insurer, amount and invoice are in the body that it endorsed."""
    hospitals, claims = told
    for one in claims:
        for version, org_id in enumerate(one.endorsers, 1):
            assert set(one.came[org_id]) <= LEDGER_TABLES | ENDORSER_TABLES
            body = hospitals.federation.sites[org_id].node.shelf.at(unhex(one.key, 32), version)
            [share] = [share for share in read_shown(body.content).shares.rows if share is not None]
            assert (share.insurer, share.claim) == (one.story.insurer, one.story.claim)


@dataclass
class Looked:
    """A claim that an insurer looked into and asked about, and what it changed at each node."""

    secrets: list[bytes]
    payloads: list[dict]
    came: dict[str, dict[str, list]]
    views: dict[str, View]
    written: dict[str, int]


def anchored(hospitals: Hospitals, org_id: str) -> list[dict]:
    """Have a node's records anchored; returns the payloads that all members read of it."""
    site = hospitals.federation.sites[org_id]
    before = {path for path, _ in leaves(hospitals, COMMISSION)}
    for _ in range(5000):
        site.node.anchor.round()
        if not site.records.pending(1, kind="anchor"):
            break
        time.sleep(0.01)
    height = site.replica.height
    assert eventually(lambda: all(one.replica.height >= height for one in hospitals.federation.sites.values()))
    found = [json.loads(leaf) for path, leaf in leaves(hospitals, COMMISSION) if path not in before]
    return [json.loads(base64.b64decode(leaf["payload"])) for leaf in found if "payload" in leaf]


def leaves(hospitals: Hospitals, org_id: str) -> list[tuple[int, bytes]]:
    """List the leaves that a node has."""
    return sorted(tables(hospitals.federation.sites[org_id].ledger._database)["leaf"])  # noqa: SLF001  # as `view`


@pytest.fixture(scope="module")
def looked(told) -> Looked:
    """A case of a customer's claim with a note, a refusal and a dispute, all of it written as records and anchored."""
    hospitals, _ = told
    insurer, hospital = hospitals.federation.sites[ANXIN], hospitals.federation.sites[RENHE]
    claim = filed(patient={"reference": "Patient/own-9"}, id="own-claim", identifier=[{"value": "AX-7000000031"}])
    for type_name, made in (("Patient", {"resourceType": "Patient", "id": "own-9"}), ("Claim", claim)):
        insurer.service.create(NewRecord(type_name, made["id"], json.dumps(made).encode(), "own-9"))
    anchored(hospitals, ANXIN)
    before = {org_id: view(hospitals, org_id) for org_id in ROLES}
    ours, theirs = hospitals.local(ANXIN), hospitals.local(RENHE)
    held = row("7000000031", check_code="PLMOKN", amount=TOTAL).to_json()
    case = ours.call("case.open", {"claim": "Claim/own-claim", "row": held})
    ours.call("case.note", {"by": "Practitioner/w1", "id": case["id"], "text": "the note of the desk"})
    judge(insurer.records, case)
    about = {"by": "Practitioner/w1", "claim": case["digest"], "days": 7, "hospital": RENHE}
    dispute = ours.call("dispute.open", about | {"text": "the question of the insurer"})["id"]
    said = {"by": "Practitioner/x", "days": 0, "id": dispute}
    theirs.call("dispute.step", said | {"step": "answer", "text": "the answer of the hospital"})
    ours.call("dispute.step", said | {"step": "close", "text": "the end of it"})
    ours.call("case.refuse", {"by": "Practitioner/w1", "id": case["id"], "reason": "the reason of the refusal"})
    known = {one.org_id: one.records.count() for one in (insurer, hospital)}
    CaseRecords(ANXIN, insurer.records, insurer.service, hospitals.federation.clock).round()
    for one in (insurer, hospital):
        DisputeRecords(one.org_id, one.records, one.service, hospitals.federation.clock).round()
    payloads = [*anchored(hospitals, ANXIN), *anchored(hospitals, RENHE)]
    after = {org_id: view(hospitals, org_id) for org_id in ROLES}
    texts = [case["digest"], case["id"], dispute, "AX-7000000031", "7000000031", "PLMOKN", "own-9", "own-claim"]
    texts += ["the note of", "the question of", "the answer of", "the end of", "the reason of", TOTAL]
    secrets = [*(one.encode() for one in texts), *(bytes.fromhex(one) for one in texts[:3])]
    written = {one.org_id: one.records.count() - known[one.org_id] for one in (insurer, hospital)}
    return Looked(secrets, payloads, {org: after[org].since(before[org]) for org in ROLES}, after, written)


def test_of_a_case_and_a_dispute_all_that_others_see_is_that_two_members_anchored_records(looked):
    """At the insurer a ClaimResponse, at both three versions of a Task and three Communications: nothing says so."""
    assert looked.written == {ANXIN: 7, RENHE: 6}
    assert {made["creator"] for made in looked.payloads} == {ANXIN, RENHE}
    for made in looked.payloads:
        assert {change["kind"] for change in made["changes"]} == {"record"}
        assert (made["bodies"], made["draw"], [role for _, role in made["signers"]]) == ([], None, ["creator"])
    counts = Counter(
        made["creator"] for made in looked.payloads for change in made["changes"] for _ in change["objects"]
    )
    assert counts == Counter(looked.written)


def test_at_all_others_a_case_and_a_dispute_change_the_ledgers_tables_alone_and_tell_nothing(looked):
    for org_id in set(ROLES) - {ANXIN, RENHE}:
        assert set(looked.came[org_id]) <= LEDGER_TABLES, org_id
        cells = [cells for rows in looked.came[org_id].values() for cells in rows]
        texts = [
            *(repr(one).encode() for one in cells),
            *(cell for one in cells for cell in one if type(cell) is bytes),
        ]
        texts += [json.dumps(made).encode() for made in looked.payloads]
        for secret in looked.secrets:
            assert not any(secret in text for text in texts), (org_id, secret)
            assert not any(secret in content for content in looked.views[org_id].files.values()), (org_id, secret)


def test_the_same_search_finds_the_dispute_at_both_sides_and_the_case_at_the_insurer_alone(looked):
    def found(org_id: str, secret: bytes) -> bool:
        cells = [cell for rows in looked.came[org_id].values() for one in rows for cell in one]
        return any(secret in (cell if type(cell) is bytes else str(cell).encode()) for cell in cells)

    digest, note, question, answer = (looked.secrets[at] for at in (0, 8, 9, 10))
    for org_id in (ANXIN, RENHE):
        assert [found(org_id, one) for one in (digest, question, answer)] == [True, True, True]
    # What the desk noted lies in base-64 in the case's document, which the insurer alone has.
    assert "claim_case" in looked.came[ANXIN]
    assert "claim_case" not in looked.came[RENHE]
    assert (found(ANXIN, note), found(RENHE, note)) == (True, False)


@pytest.mark.usefixtures("looked")
def test_others_operations_know_of_no_case_and_no_dispute(told):
    hospitals, _ = told
    for org_id in set(ROLES) - {ANXIN, RENHE}:
        assert hospitals.local(org_id).call("dispute.list", {})["disputes"] == []
    assert hospitals.local(TAIPING).call("case.list", {"limit": 9, "offset": 0})["cases"] == []
    with pytest.raises(AccessDeniedError, match=r"case\.role"):
        hospitals.local(RENHE).call("case.list", {"limit": 9, "offset": 0})


def test_attack_another_insurer_that_knows_the_claims_digest_asks_about_it_in_vain(told, looked):
    hospitals, _ = told
    asked = {"by": "Practitioner/y", "claim": looked.secrets[0].decode(), "days": 7, "hospital": RENHE, "text": "?"}
    with pytest.raises(NotFoundError, match=r"case\.unknown"):
        hospitals.local(TAIPING).call("dispute.open", asked)
