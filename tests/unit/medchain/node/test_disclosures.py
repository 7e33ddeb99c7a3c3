"""The proof of all disclosures under a grant, made on whole nodes and judged offline, also by `medchain verify`."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace

import pytest

from medchain.cli import main
from medchain.crypto.es384 import Es384Signer
from medchain.crypto.signing import key_id
from medchain.encoding import canonical, parse_canonical, unbase64
from medchain.errors import InputError, MedchainError, VerificationError
from medchain.ledger.askers import ASKERS_TYPE
from medchain.ledger.bundle import verify_bundle
from medchain.ledger.genesis import trusted_policy_text
from medchain.ledger.object import Body
from medchain.ledger.request import access_key
from medchain.node.proofs import prove_disclosures
from medchain.node.sealed_body import OpenedBody
from medchain.node.trace import export_disclosures
from tests.unit.medchain.ledger.world import genesis, seed
from tests.unit.medchain.node.exchanges import ANXIN, RENHE, Exchange, observation
from tests.unit.medchain.node.federation import COMMISSION
from tests.unit.medchain.node.liar import Liar, invented


@pytest.fixture(scope="module")
def exchange(federation):
    """Three disclosures under one grant."""
    made = Exchange(federation)
    made.open()
    made.store(observation(1), observation(2))
    for _ in range(3):
        made.asker().request_release(made.wish())
    return made


def proven(exchange, org_id: str = RENHE, **wanted: object) -> dict[str, bytes]:
    site = exchange.federation.sites[org_id]
    asked = {"custodian": RENHE, "grant": exchange.grant.hex()} | wanted
    answer = prove_disclosures(site.replica, site.node.shelf, asked)
    return {name: unbase64(text, max_bytes=1 << 26) for name, text in answer["files"].items()}


def policy() -> str:
    return trusted_policy_text(genesis().members, genesis().origin)


def verify(files):
    return verify_bundle(files, policy(), now=genesis().time + 10**6)


def bodies_of(files) -> list:
    return parse_canonical(files["disclosures.json"], max_bytes=1 << 26)["bodies"]


def with_bodies(files, bodies) -> dict[str, bytes]:
    document = parse_canonical(files["disclosures.json"], max_bytes=1 << 26)
    return files | {"disclosures.json": canonical(document | {"bodies": bodies})}


@pytest.mark.parametrize("org_id", [RENHE, ANXIN])
def test_both_sides_prove_every_disclosure_and_that_there_is_no_other(exchange, org_id):
    verdict = verify(proven(exchange, org_id))
    listed = verdict.disclosures.listed
    assert (verdict.answer, [one.version for one in listed]) == ("disclosures", [1, 2, 3])
    assert [(one.recipient, one.access.count) for one in listed] == [(ANXIN, 2)] * 3
    assert verdict.object == access_key(exchange.grant, RENHE).hex()


def test_a_member_that_is_no_party_proves_how_many_there_were_and_shows_nothing_of_them(exchange):
    until = exchange.federation.sites[COMMISSION].node.submitter.wait_final
    until(access_key(exchange.grant, RENHE), 3, 10)
    verdict = verify(proven(exchange, COMMISSION))
    assert (verdict.disclosures.listed, verdict.disclosures.destroyed) == ((), (1, 2, 3))


def test_under_a_grant_that_was_never_used_it_is_proven_that_nothing_was_disclosed(exchange):
    verdict = verify(proven(exchange, grant=exchange.give().hex()))
    assert (verdict.answer, verdict.disclosures.listed, verdict.version) == ("disclosures", (), None)


def test_of_one_disclosure_there_is_no_history(exchange):
    used = replace(exchange, grant=exchange.give(), custodians={}, askers={})
    used.asker().request_release(used.wish())
    files = proven(used)
    assert "history.json" not in files
    assert [one.version for one in verify(files).disclosures.listed] == [1]


def test_attack_a_hospital_hides_a_disclosure_alone(exchange):
    files = proven(exchange)
    rows, history = bodies_of(files), json.loads(files["history.json"])
    for gone in range(3):
        with pytest.raises(VerificationError, match=r"disclosures\.bodies"):
            verify(with_bodies(files, [row for at, row in enumerate(rows) if at != gone]))
    for gone in range(2):
        short = canonical([row for at, row in enumerate(history) if at != gone])
        with pytest.raises(MedchainError):
            verify(with_bodies(files, rows[1:]) | {"history.json": short})
    # It shows only the newest, as if that were all.
    bare = {name: data for name, data in files.items() if name != "history.json"}
    with pytest.raises(VerificationError, match=r"bundle\.entry"):
        verify(with_bodies(bare, rows[2:]))


def test_attack_a_hospital_shows_an_older_head_and_calls_it_the_newest(exchange):
    files = proven(exchange)
    history = json.loads(files["history.json"])
    with pytest.raises(VerificationError, match=r"bundle\.record"):
        verify(
            with_bodies(files, bodies_of(files)[:2])
            | {"record.json": canonical(history[0]), "history.json": canonical(history[1:])}
        )


def test_attack_a_hospital_reorders_its_disclosures(exchange):
    files = proven(exchange)
    with pytest.raises(VerificationError, match=r"disclosures\.body"):
        verify(with_bodies(files, bodies_of(files)[::-1]))


def test_attack_a_hospital_adds_a_disclosure_that_never_was(exchange):
    files = proven(exchange)
    rows = bodies_of(files)
    with pytest.raises(VerificationError, match=r"disclosures\.bodies"):
        verify(with_bodies(files, [*rows, rows[0]]))


def test_attack_a_hospital_puts_a_disclosure_under_another_grant(exchange):
    files, other = proven(exchange), proven(exchange, grant=exchange.give().hex())
    with pytest.raises(VerificationError, match=r"disclosures\.history"):
        verify(files | {"disclosures.json": other["disclosures.json"]})


def test_attack_a_hospital_invents_a_disclosure_and_proves_it_with_its_own_node(exchange):
    federation = exchange.federation
    body, change, given = invented(exchange, bytes(96))
    liar = Liar(federation, RENHE)
    item = OpenedBody(access_key(given, RENHE), 1, body)
    federation.sites[RENHE].node.shelf.keep(item.object, 1, body)
    liar.order(liar.payload(change), item)
    files = proven(exchange, grant=given.hex())
    with pytest.raises(VerificationError, match=r"disclosures\.signature"):
        verify(files)
    # Nor under keys that it calls the insurer's, or says nothing of.
    row = parse_canonical(files["askers.json"], max_bytes=1 << 26)["askers"][0]
    own = Es384Signer(seed("invented", "authentication", 1))
    content = row["contents"][0]
    keys = [
        key if key["use"] != "authentication" else {**key, "id": key_id("es384", own.public)} for key in content["keys"]
    ]
    for rows in (
        [row | {"contents": [content | {"keys": keys}]}],
        [row | {"records": [], "contents": []}],
        [row, row],
        [row | {"map": json.loads(files["map.json"])}],
        [],
    ):
        with pytest.raises(MedchainError):
            verify(files | {"askers.json": canonical({"askers": rows, "type": ASKERS_TYPE})})
    with pytest.raises(InputError, match=r"bundle\.files"):
        verify({name: data for name, data in files.items() if name != "askers.json"})


def test_a_bundle_that_claims_another_answer_is_refused(exchange):
    files = proven(exchange)
    with pytest.raises(VerificationError, match=r"bundle\.answer"):
        verify({name: data for name, data in files.items() if name not in {"askers.json", "disclosures.json"}})
    bare = {name: data for name, data in files.items() if not name.startswith(("map", "record", "history"))}
    with pytest.raises(InputError, match=r"bundle\.files"):
        verify(bare)


def test_the_proof_grows_from_a_checkpoint_that_the_patient_kept(exchange):
    site = exchange.federation.sites[RENHE]
    kept = site.ledger.final().note.encode()
    exchange.store(observation(9))
    files = export_disclosures(site.replica, site.node.shelf, exchange.grant, RENHE, old_checkpoint=kept)
    assert verify(files).answer == "disclosures"
    assert files["checkpoint-old"] == kept


def test_a_body_of_which_only_a_part_is_held_is_not_passed_off_as_the_whole(exchange):
    site = exchange.federation.sites[RENHE]

    class Parts:
        def at(self, key: bytes, version: int) -> Body:
            return site.node.shelf.at(key, version).redact(["accesses", "consents", "grant"], keep_evidence=True)

    verdict = verify(export_disclosures(site.replica, Parts(), exchange.grant, RENHE))
    assert verdict.disclosures.destroyed == (1, 2, 3)


def test_what_is_no_question_is_refused(exchange):
    with pytest.raises(InputError):
        proven(exchange, custodian="仁和")


def test_medchain_verify_words_the_disclosures_and_refuses_a_chain_with_one_less(exchange, tmp_path):
    (tmp_path / "policy.txt").write_text(policy())
    files = proven(exchange)
    for name, shown in {
        "whole": files,
        "less": with_bodies(files, bodies_of(files)[1:]),
        "erased": with_bodies(files, [None, *bodies_of(files)[1:]]),
    }.items():
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for member, data in shown.items():
                archive.writestr(member, data)

    def told(name: str, *words: str) -> tuple[int, str]:
        out, err = io.StringIO(), io.StringIO()
        call = ["verify", str(tmp_path / name), "--policy", str(tmp_path / "policy.txt"), *words]
        return main(call, {"LANG": "en_GB.UTF-8"}, out, err), out.getvalue() + err.getvalue()

    code, words = told("whole")
    assert code == 0
    assert "made 3 disclosures; no other is recorded up to the checkpoint" in words
    assert words.count("2 records to anxin-insurance, purpose HPAYMT") == 3
    code, words = told("less")
    assert code == 1
    assert "disclosures.bodies" in words
    code, words = told("erased")
    assert code == 0
    assert "version 1: content destroyed" in words
    document = json.loads(told("whole", "--json")[1])
    assert [one["version"] for one in document["disclosures"]["listed"]] == [1, 2, 3]
