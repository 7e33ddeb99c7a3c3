"""The node's keys: who can open what, and what lies on disk."""

from __future__ import annotations

import json
import stat

import pytest

from medchain.crypto.passphrase import MIN_COST
from medchain.crypto.sealing import open_sealed, seal_to
from medchain.crypto.signing import ed25519_verify
from medchain.errors import ConflictError, InputError, MedchainError, NotFoundError, VerificationError
from medchain.ledger.genesis import build_genesis, genesis_signatures, verify_genesis
from medchain.ledger.issuers import Invoices, VrfGeneration, check_vrf_proof
from medchain.ledger.members import ACTIVE, Organisation, ProtocolRules, make_key
from medchain.node.keystore import (
    KeyUse,
    Layout,
    Unlock,
    add_vrf_key,
    admit_encryption_candidates,
    adopt_candidates,
    candidate_ids,
    create_keys,
    create_root_file,
    draw_candidates,
    genesis_proofs,
    open_daemon_keys,
    open_root_file,
    open_web_keys,
    public_keys,
    unlock,
    vrf_publics,
)

ROOT = bytes(range(32))


@pytest.fixture
def halves():
    return unlock(ROOT)


@pytest.fixture
def folder(tmp_path, halves):
    create_keys(tmp_path / "node", "renhe-hospital", halves)
    return tmp_path / "node"


def test_every_file_is_for_its_owner_only(folder):
    create_root_file(folder / "keys" / "root.key", None)
    for path in folder.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_no_seed_lies_on_disk_in_clear(folder, halves):
    seeds = open_daemon_keys(folder, halves)
    text = Layout(folder).keystore.read_bytes()
    # The expanded Ed25519 secret starts with its seed.
    for signer in (seeds.ledger, seeds.log, seeds.cosign_ed25519):
        assert signer._secret[:32] not in text  # noqa: SLF001  # the secret must be looked for somewhere
        assert signer._secret[:32].hex().encode() not in text  # noqa: SLF001  # as above


def test_keys_open_again_as_the_same_keys(folder, halves):
    first, again = open_daemon_keys(folder, halves), open_daemon_keys(folder, unlock(ROOT))
    assert first.ledger.public == again.ledger.public
    assert ed25519_verify(again.ledger.public, b"m", first.ledger.sign(b"m"))
    assert first.ledger_database == again.ledger_database
    assert len({bytes(first.ledger_database), bytes(first.bodies), *map(bytes, (halves.web, ROOT))}) == 4


def test_every_use_has_a_key_of_its_own(folder, halves):
    daemon = open_daemon_keys(folder, halves)
    assert len({daemon.ledger.public, daemon.log.public, daemon.cosign_ed25519.public}) == 3


def test_the_web_half_does_not_open_the_daemons_keys(folder, halves):
    web_only = Unlock(halves.web, None)
    assert open_web_keys(folder, web_only).authentication.public
    with pytest.raises(VerificationError) as caught:
        open_daemon_keys(folder, web_only)
    assert caught.value.code == "keys.unwrap"


def test_the_web_half_in_the_daemons_place_opens_nothing(folder, halves):
    with pytest.raises(VerificationError):
        open_daemon_keys(folder, Unlock(halves.web, halves.web))


def test_another_root_key_opens_nothing(folder):
    with pytest.raises(VerificationError):
        open_web_keys(folder, unlock(bytes(32)))


def test_keys_show_nothing_of_themselves(folder, halves):
    shown = repr((halves, open_web_keys(folder, halves), open_daemon_keys(folder, halves)))
    assert bytes(halves.web).hex() not in shown
    assert repr(bytes(halves.web))[2:-1] not in shown
    assert "SecretBytes(32 bytes)" in shown


def swapped(document):
    """Give the log key's row the use of the ledger key, and the other way round."""
    for row in document["keys"]:
        row["use"] = {"log": "ledger", "ledger": "log"}.get(row["use"], row["use"])


def exchanged(document):
    """Put another ledger public key beside the wrapped one."""
    row = next(row for row in document["keys"] if row["use"] == "ledger")
    row["public"] = next(row["public"] for row in document["keys"] if row["use"] == "log")


def renamed(document):
    document["org_id"] = "other-hospital"


@pytest.mark.parametrize("attack", [swapped, exchanged, renamed])
def test_a_keystore_that_was_tampered_with_does_not_open(folder, halves, attack):
    path = Layout(folder).keystore
    document = json.loads(path.read_bytes())
    attack(document)
    path.write_text(json.dumps(document, sort_keys=True, separators=(",", ":")))
    with pytest.raises(VerificationError):
        open_daemon_keys(folder, halves)


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.pop("org_id"),
        lambda document: document.update(type="other"),
        lambda document: document.update(keys=[]),
        lambda document: document["keys"][0].update(use="other"),
        lambda document: document["keys"][0].update(public="AAAA"),
        lambda document: document["keys"][1].update(public={"crv": "P-384"}),
        lambda document: document["keys"][0].update(wrapped="?"),
    ],
)
def test_a_malformed_keystore_is_refused(folder, halves, change):
    path = Layout(folder).keystore
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document, sort_keys=True, separators=(",", ":")))
    with pytest.raises(InputError):
        open_web_keys(folder, halves)


def test_keys_are_never_overwritten(folder, halves):
    with pytest.raises(ConflictError):
        create_keys(folder, "renhe-hospital", halves)
    create_root_file(folder / "keys" / "root.key", None)
    with pytest.raises(ConflictError):
        create_root_file(folder / "keys" / "root.key", None)


def test_a_key_file_opens(tmp_path):
    root = create_root_file(tmp_path / "root.key", None)
    assert open_root_file(tmp_path / "root.key", None) == root


def test_a_passphrase_opens_its_own_file_only(tmp_path):
    root = create_root_file(tmp_path / "root.key", "correct horse battery", MIN_COST)
    assert open_root_file(tmp_path / "root.key", "correct horse battery") == root
    with pytest.raises(MedchainError) as caught:
        open_root_file(tmp_path / "root.key", "correct horse bakery")
    assert caught.value.code == "passphrase.authentication"


def test_a_root_key_that_others_can_read_is_refused(tmp_path):
    create_root_file(tmp_path / "root.key", None)
    (tmp_path / "root.key").chmod(0o644)
    with pytest.raises(InputError) as caught:
        open_root_file(tmp_path / "root.key", None)
    assert caught.value.code == "keystore.open_key"


def test_missing_files_are_named(tmp_path, halves):
    with pytest.raises(NotFoundError):
        open_root_file(tmp_path / "root.key", None)
    with pytest.raises(NotFoundError):
        open_web_keys(tmp_path, halves)


def test_a_new_key_is_the_newest_and_old_messages_still_open(folder, halves):
    before = open_daemon_keys(folder, halves)
    sealed = seal_to(before.encryption[before.encryption_id].public, b"i", b"a", b"old")
    assert draw_candidates(folder, [KeyUse.ENCRYPTION], halves)
    assert admit_encryption_candidates(folder)
    after = open_daemon_keys(folder, halves)
    assert after.encryption.keys() > before.encryption.keys()
    assert after.encryption_id not in before.encryption
    assert open_sealed(after.encryption[before.encryption_id], b"i", b"a", sealed) == b"old"
    assert after.ledger.public == before.ledger.public


def test_public_keys_and_proofs_make_a_genesis_that_verifies(folder, halves):
    keys = tuple(
        sorted((make_key("renhe-hospital", use, text) for use, text in public_keys(folder).items()), key=lambda k: k.id)
    )
    hospital = Organisation(
        "renhe-hospital", "hospital", "renhe", {"en": "Renhe", "zh": "仁和"}, "http://127.0.0.1:1", (), ACTIVE, keys
    )
    genesis = build_genesis(
        [hospital],
        origin="medchain.example/test",
        policy={"rules": {"policy/active": {"majority": "member"}}, "type": "medchain/policy/v1"},
        protocol=ProtocolRules("renhe-hospital", 1, 1),
        rp_id="localhost",
        sign_origins=["http://localhost:1"],
        time=1796083200,
        demo=True,
    )
    proofs = genesis_proofs(
        "renhe-hospital", genesis.ledger, open_web_keys(folder, halves), open_daemon_keys(folder, halves)
    )
    verify_genesis(genesis, genesis_signatures({"renhe-hospital": proofs}))
    with pytest.raises(VerificationError):
        verify_genesis(genesis, genesis_signatures({"renhe-hospital": {**proofs, "log": proofs["ledger"]}}))


def test_keys_that_make_ids_of_invoices_are_the_daemons_and_none_is_ever_dropped(folder, halves):
    assert (vrf_publics(folder), open_daemon_keys(folder, halves).vrf) == ((), {})
    add_vrf_key(folder, halves)
    assert draw_candidates(folder, [KeyUse.VRF], halves)
    (first,) = vrf_publics(folder)
    (name,) = candidate_ids(folder)
    assert not adopt_candidates(folder, [])
    assert adopt_candidates(folder, [name])
    held = open_daemon_keys(folder, halves).vrf
    assert vrf_publics(folder) == tuple(held)
    assert (next(iter(held)), len(held), candidate_ids(folder)) == (first, 2, ())
    assert "vrf" not in public_keys(folder)
    with pytest.raises(VerificationError, match=r"keys\.unwrap"):
        add_vrf_key(folder, Unlock(halves.web, None))


def test_possession_of_a_key_that_makes_ids_of_invoices_is_proved_by_who_holds_it(folder, halves):
    add_vrf_key(folder, halves)
    (public,) = vrf_publics(folder)
    ledger, keys = bytes(32), (open_web_keys(folder, halves), open_daemon_keys(folder, halves))
    given = genesis_proofs("renhe-hospital", ledger, *keys, Invoices(("1",), (VrfGeneration(0, public),)))
    check_vrf_proof(ledger, "renhe-hospital", VrfGeneration(0, public), given["vrf"])
    assert "vrf" not in genesis_proofs("renhe-hospital", ledger, *keys)
    with pytest.raises(VerificationError, match=r"genesis\.own_keys"):
        genesis_proofs("renhe-hospital", ledger, *keys, Invoices(("1",), (VrfGeneration(0, bytes(32)),)))
