"""The commands about applications and people, and what a restore leaves of what they did."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from joserfc.jwk import ECKey, RSAKey

from consent.web.codes import CODE
from consent.web.sign_in import account_of
from consent.web.site import account_name
from fhir_bridge.audit import BEGUN, journal_key, journals, read_frame
from fhir_bridge.smart.keys import ACCESS
from medchain.node.assembly import open_web_node
from medchain.node.clock import system_clock
from medchain.node.config import load_config
from medchain.node.keystore import open_root_file, unlock
from medchain.store.accounts import Account, Passkey, Role
from medchain.store.journal import names, read_all

KEYS = [ECKey.generate_key("P-384"), RSAKey.generate_key(2048)]


@pytest.fixture
def jwks(tmp_path):
    paths = [tmp_path / f"{number}.jwk" for number in range(2)]
    for path, key in zip(paths, KEYS, strict=True):
        path.write_text(json.dumps(key.as_dict(private=False)))
    return paths


def opened(node):
    halves = unlock(open_root_file(node.parent / "keys" / "root.key", None))
    return open_web_node(load_config(node, {}, {}), halves, lambda: 1_796_083_200)


def test_a_client_is_registered_shown_switched_given_another_key_and_removed(run, node, jwks):
    config = ("--config", node)
    added = run("client", "add", "lab", "--name", "化验", "--jwk", jwks[0], "--scope", "system/*.rs", *config)
    assert (added.code, "lab" in added.out) == (0, True)
    shown = run("client", "show", "lab", "--json", *config).document
    assert (shown["name"], len(shown["jwks"]), shown["disabled"]) == ("化验", 1, None)
    assert "launch/patient" in shown["special"]
    assert "JWK x 1" in run("client", "show", "lab", *config).out
    assert run("client", "rotate", "lab", "--jwk", jwks[1], "--keep", "--json", *config).document["keys"] == 2
    assert run("client", "rotate", "lab", "--jwk", jwks[1], "--json", *config).document["keys"] == 1
    assert run("client", "disable", "lab", *config).code == 0
    assert "disabled" in run("client", "list", *config).out
    assert "disabled" in run("client", "show", "lab", *config).out
    words = ("token", "issue", "--client", "lab", "--scope", "system/*.rs", *config)
    assert run(*words).code == 6
    assert run("client", "enable", "lab", *config).code == 0
    assert run(*words).code == 0
    assert run("client", "remove", "lab", *config).code == 0
    for verb in ("show", "disable", "enable", "remove"):
        assert run("client", verb, "lab", *config).code == 4


@pytest.mark.parametrize(
    "words",
    [
        ("--scope", "patient/*.rs"),
        ("--scope", "patient/*.rs", "--redirect", "http://app.example/cb"),
        ("--scope", "system/*.rs", "--redirect", "https://app.example/cb"),
        ("--scope", "system/*.rs", "--jwks-uri", "http://app.example/keys"),
        ("--scope", "system/*.rs", "--member", "Not Good"),
        ("--scope", "nonsense", "--redirect", "https://app.example/cb"),
    ],
)
def test_a_client_with_a_mistake_is_not_registered(run, node, words):
    assert run("client", "add", "app", *words, "--config", node).code == 2
    assert run("client", "list", "--json", "--config", node).document == {"clients": []}


def test_clients_of_the_other_kinds_are_registered(run, node):
    config = ("--config", node)
    app = ("--redirect", "https://app.example/cb", "--launch-uri", "https://app.example/launch")
    assert run("client", "add", "app", *app, "--scope", "patient/*.rs", *config).code == 0
    assert "PKCE" in run("client", "show", "app", *config).out
    assert run("client", "rotate", "app", "--jwk", node, *config).code == 2
    remote = ("--jwks-uri", "https://lab.example/keys", "--right", "introspect")
    assert run("client", "add", "remote", *remote, "--scope", "system/*.rs", *config).code == 0
    assert "https://lab.example/keys" in run("client", "show", "remote", *config).out
    assert run("client", "add", "m", "--member", "anxin-insurance", "--scope", "system/*.rs", *config).code == 0


def test_a_client_that_must_bind_its_tokens_is_shown_as_such_and_gets_none_by_hand(run, node, jwks):
    """RFC 9449 §5.2: a token from the operator's hand would be bound to no key."""
    config = ("--config", node)
    words = ("client", "add", "lab", "--jwk", jwks[0], "--scope", "system/*.rs", "--dpop", *config)
    assert run(*words).code == 0
    assert run("client", "show", "lab", "--json", *config).document["dpop_bound_access_tokens"] is True
    assert "JWK x 1, DPoP" in run("client", "show", "lab", *config).out
    assert run("client", "rotate", "lab", "--jwk", jwks[1], *config).code == 0
    assert "JWK x 1, DPoP" in run("client", "show", "lab", *config).out
    refused = run("token", "issue", "--client", "lab", "--scope", "system/*.rs", "--json", *config)
    assert (refused.code, "client.bound" in refused.out + refused.err) == (6, True)


def test_a_client_with_no_keys_here_cannot_be_given_another(run, node, jwks):
    run("client", "add", "m", "--member", "anxin-insurance", "--scope", "system/*.rs", "--config", node)
    assert run("client", "rotate", "m", "--jwk", jwks[0], "--config", node).code == 2


def test_an_account_is_made_with_a_code_that_no_server_sees(run, node):
    config = ("--config", node)
    words = ("--role", "clinician", "--display", "Dr Wang", "--fhir-user", "Practitioner/17")
    made = run("account", "add", "wang", *words, "--json", *config).document
    assert made["url"].startswith("http://renhe-hospital.example/enrol#")
    assert run("account", "add", "wang", *words, *config).code == 6
    assert "Dr Wang" in run("account", "list", *config).out
    again = run("account", "enrol", "wang", "--replace", "--json", *config).document
    assert again["url"] != made["url"]
    assert run("account", "disable", "wang", *config).code == 0
    assert run("account", "list", "--json", *config).document["accounts"][0]["disabled"] is True
    assert run("account", "enable", "wang", *config).code == 0
    for verb in ("enrol", "disable", "enable"):
        assert run("account", verb, "li", *config).code == 4


@pytest.mark.parametrize(
    "words",
    [
        ("Not Good", "--role", "desk"),
        ("a", "--role", "desk", "--fhir-user", "x"),
        ("a", "--role", "desk", "--display", "\n"),
    ],
)
def test_an_account_with_a_mistake_is_not_made(run, node, words):
    assert run("account", "add", *words, "--config", node).code == 2
    assert "no account" in run("account", "list", "--config", node).out


def stored_patient(run, node, patient: str, born: str) -> None:
    """Import a patient."""
    file = node.parent / f"{patient}.json"
    file.write_text(json.dumps({"resourceType": "Patient", "id": patient, "birthDate": born}))
    assert run("import", file, "--config", node).code == 0


def test_a_patient_of_age_is_invited_at_an_address_of_the_portal_and_who_is_not_here_is_not(run, node):
    stored_patient(run, node, "grown", "1980-01-02")
    invited = run("account", "invite", "grown", "--json", "--config", node)
    assert (invited.code, "/my/enrol#" in invited.document["url"]) == (0, True)
    nobody = run("account", "invite", "nobody", "--config", node)
    assert (nobody.code, "account.no_patient" in nobody.err) == (4, True)


@pytest.mark.parametrize("shape", ["%Y-%m-%d", "%Y-%m", "%Y"])
def test_attack_a_child_is_not_invited_to_an_account_of_its_own(run, node, shape):
    """The desk refuses it, and no guardian would be asked; a date counts as the latest that it may be."""
    today = datetime.fromtimestamp(system_clock(), UTC)
    born = today.replace(year=today.year - 18, day=28) + timedelta(days=31)
    stored_patient(run, node, "child", born.strftime(shape))
    refused = run("account", "invite", "child", "--config", node)
    assert (refused.code, "account.minor" in refused.err) == (6, True)
    with opened(node) as after:
        assert after.records.accounts.tickets(CODE, int(today.timestamp())) == []


def test_signing_keys_are_replaced_by_a_command(run, node):
    first = run("token", "rotate", "--json", "--config", node).document["kids"]
    second = run("token", "rotate", "--json", "--config", node).document["kids"]
    assert len({*first, *second}) == 4


def test_a_restored_node_has_its_people_and_applications_but_nothing_that_was_under_way(run, node, tmp_path):
    run("account", "add", "wang", "--role", "desk", "--config", node)
    with opened(node) as before:
        (account,) = before.records.accounts.accounts()
        secret = before.records.accounts.begin_session(account.id, "passkey", 1_796_083_200, 1_796_083_300, None)
    assert run("token", "rotate", "--config", node).code == 0
    assert run("backup", tmp_path / "b", "--config", node).code == 0
    words = ("restore", tmp_path / "b", tmp_path / "r", "--root-key", node.parent / "keys" / "root.key")
    assert run(*words).code == 0
    with opened(tmp_path / "r" / "node.toml") as after:
        assert [one.name for one in after.records.accounts.accounts()] == ["wang"]
        assert after.records.accounts.session(secret, 1_796_083_200, 1800) is None
        assert after.records.accounts.signing_keys(ACCESS) == []


@pytest.fixture
def restored(run, node, tmp_path, jwks):
    """A node that was restored: with two people, one who had been closed, a patient and two clients."""
    config = ("--config", node)
    for name in ("wang", "li", "gone"):
        run("account", "add", name, "--role", "desk", *config)
    run("account", "disable", "gone", *config)
    for name in ("lab", "ward"):
        run("client", "add", name, "--jwk", jwks[0], "--scope", "system/Patient.r", *config)
    run("record", "lock", "--patient", "p1", "--reason", "at the backup", *config)
    with opened(node) as before:
        accounts = before.records.accounts
        for name in ("wang", "li"):
            accounts.put_passkey(Passkey(name.encode(), accounts.account_named(name).id, b"cose", 1, None))
        account_of(accounts, "p17", "", 1)
    run("backup", tmp_path / "b", *config)
    return tmp_path / "r"


def restore(run, node, folder, *words: object):
    return run(
        "restore", folder.parent / "b", folder, "--root-key", node.parent / "keys" / "root.key", *words, "--json"
    )


def test_who_was_closed_since_the_backup_does_not_get_in_by_a_restore(run, node, restored):
    run("account", "disable", "wang", "--config", node)
    run("client", "remove", "lab", "--config", node)
    made = restore(run, node, restored, "--nothing-erased")
    assert (made.document["accounts"], made.document["clients"]) == (["li", "wang"], ["lab", "ward"])
    assert all(name in made.err for name in ("account confirm", "li wang", "client confirm", "lab ward"))
    config = ("--config", restored / "node.toml")
    with opened(restored / "node.toml") as after:
        accounts = after.records.accounts
        shut = {account.name: account.disabled is not None for account in accounts.accounts()}
        assert shut == {"gone": True, "li": True, account_name("p17"): False, "wang": True}
        assert all(row.disabled is not None for row in accounts.clients())
    # Nothing but a confirmation opens them, not even an administrator's page.
    assert run("account", "enable", "wang", *config).code == 6
    assert run("client", "enable", "lab", *config).code == 6
    assert run("account", "confirm", "gone", *config).code == 4
    assert run("client", "confirm", "none", *config).code == 4


def confirmations(ran) -> str:
    return examined(ran, "confirmations")


def examined(ran, check: str) -> str:
    rows = json.loads(ran.out.splitlines()[0])["findings"]
    return next(row["state"] for row in rows if row["check"] == check)


def test_the_doctor_minds_accounts_of_the_desk_that_name_nobody_until_they_do(run, node):
    config = ("--config", node)
    for name, role, *person in (("d1", "desk"), ("d2", "desk", "--fhir-user", "Practitioner/2"), ("c1", "clinician")):
        assert run("account", "add", name, "--role", role, *person, *config).code == 0
    for language, word in (
        ("zh", "异常  窗口账号是否写明医务人员（account person）"),
        ("en", "bad   which Practitioner the desk's accounts name (`account person`)"),
    ):
        assert (
            f"{word}{'：' if language == 'zh' else ': '}doctor.attesting names=d1\n"
            in run("doctor", *config, "--lang", language).out
        )
    assert run("account", "person", "d1", "Dr Li", *config).code == 2
    assert run("account", "person", "nobody", "Practitioner/1", *config).code == 4
    made = run("account", "person", "d1", "Practitioner/1", *config, "--json")
    assert made.document == {"account": "d1", "fhir_user": "Practitioner/1"}
    assert examined(run("doctor", "--json", *config), "attesting") == "good"
    with opened(node) as after:
        account = after.records.accounts.account_named("d1")
        assert (account.fhir_user, account.role, account.display) == ("Practitioner/1", Role.DESK, "d1")


def test_who_signs_in_at_an_identity_provider_is_who_that_says(run, node):
    with opened(node) as before:
        identity = b"i" * 32
        before.records.accounts.put_account(Account("a" * 32, "idp-1", "Li", Role.DESK, "", identity, None, 1))
    assert run("account", "person", "idp-1", "Practitioner/1", "--config", node).code == 6


def test_what_waits_for_a_confirmation_is_listed_and_the_doctor_minds(run, node, restored):
    restore(run, node, restored, "--nothing-erased")
    config = ("--config", restored / "node.toml")
    assert run("account", "confirm", "--json", *config).document == {"accounts": ["li", "wang"]}
    assert run("client", "confirm", "--json", *config).document == {"clients": ["lab", "ward"]}
    for language, word in (("zh", "异常  恢复后待确认的账号与客户端"), ("en", "accounts and clients to confirm")):
        assert word in run("doctor", *config, "--lang", language).out
    assert confirmations(run("doctor", "--json", *config)) == "bad"
    # To close is a decision as well.
    assert run("account", "disable", "wang", *config).code == 0
    assert run("account", "confirm", "li", *config).code == 0
    assert run("client", "remove", "lab", *config).code == 0
    assert run("client", "confirm", "ward", *config).code == 0
    assert run("account", "confirm", "--json", *config).document == {"accounts": []}
    assert run("client", "confirm", "--json", *config).document == {"clients": []}
    assert confirmations(run("doctor", "--json", *config)) == "good"
    with opened(restored / "node.toml") as after:
        assert after.records.accounts.client("ward").disabled is None
    # Closed by somebody, it opens as any other.
    assert run("account", "enable", "wang", *config).code == 0


def test_a_passkey_of_the_backup_counts_only_where_somebody_says_so(run, node, restored):
    restore(run, node, restored, "--nothing-erased")
    config = ("--config", restored / "node.toml")
    assert run("account", "confirm", "wang", *config).code == 0
    assert run("account", "confirm", "li", "--keep-passkeys", *config).code == 0
    with opened(restored / "node.toml") as after:
        accounts = after.records.accounts
        kept = {name: accounts.passkey(name.encode()) is not None for name in ("wang", "li")}
        assert kept == {"wang": False, "li": True}
        assert all(accounts.account_named(name).disabled is None for name in kept)


def test_legal_locks_are_those_of_the_newer_list_if_there_is_one(run, node, restored):
    lock = ("record", "lock", "--patient", "p2", "--reason", "since", "--config", node)
    assert run(*lock).code == 0
    made = restore(run, node, restored, "--old", node.parent)
    assert "record lock" not in made.err
    with opened(restored / "node.toml") as after:
        assert sorted(item.reason for item in after.records.locks()) == ["at the backup", "since"]
    other = restored.parent / "other"
    made = restore(run, node, other, "--nothing-erased")
    assert "record lock" in made.err
    with opened(other / "node.toml") as after:
        assert [item.reason for item in after.records.locks()] == ["at the backup"]


def test_an_older_list_takes_no_legal_lock_away(run, node, restored):
    assert run("record", "lock", "--patient", "p2", "--reason", "since", "--config", node).code == 0
    later = restored.parent / "later"
    assert run("backup", later, "--config", node).code == 0
    root = node.parent / "keys" / "root.key"
    made = run("restore", later, restored, "--root-key", root, "--erasures", restored.parent / "b")
    assert made.code == 0
    assert "record lock" in made.err
    with opened(restored / "node.toml") as after:
        assert sorted(item.reason for item in after.records.locks()) == ["at the backup", "since"]


def test_what_commands_change_is_on_the_audit(run, node):
    config = ("--config", node)
    assert (
        run("client", "add", "app", "--redirect", "https://a.example/cb", "--scope", "patient/*.rs", *config).code == 0
    )
    assert run("client", "disable", "app", *config).code == 0
    assert run("client", "disable", "none", *config).code == 4
    assert run("account", "add", "wang", "--role", "desk", *config).code == 0
    with opened(node) as found:
        folder, key = journals(found.config.folder), journal_key(found.keys.records)
        frames = [read_frame(one.content) for name in names(folder) for one in read_all(folder, name, key)]
        account = found.records.accounts.account_named("wang")
    ended = {(one.interaction, one.client, one.id, one.status) for one in frames if one.status != BEGUN}
    assert ended == {
        ("client-change", "(command)", "app", 200),
        ("client-change", "(command)", "none", 404),
        ("account-change", "(command)", account.id, 200),
    }
    assert len(frames) == 8
