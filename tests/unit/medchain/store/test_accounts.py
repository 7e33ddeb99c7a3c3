"""People and applications in the records file: used once over all processes, whole or not at all under faults."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from medchain.errors import ConflictError, NotFoundError, UnavailableError
from medchain.store.account_tables import (
    login_failure,
    revoked_token,
    signing_key,
    smart_client,
    smart_grant,
    smart_token,
    staff,
    staff_passkey,
    ticket,
    web_session,
)
from medchain.store.accounts import Account, AccountStore, Kept, Passkey, Role
from medchain.store.authorisations import Grant, SigningKeyRow
from medchain.store.engine import FileKind
from medchain.store.secret import hashed
from tests.unit.medchain.store.faults import at_step, commit_kept_but_failed, fail

NOW = 1_796_083_200
WANG = Account("a" * 32, "wang", "Dr Wang", Role.CLINICIAN, "", b"i" * 32, None, NOW)
LI = replace(WANG, id="b" * 32, name="li", identity=None)
KEY = Passkey(b"credential", WANG.id, b"public", NOW, None)
GRANT = Grant("g" * 32, "app", WANG.id, None, b"{}", NOW, NOW + 1000, None)
TABLES = (
    staff,
    staff_passkey,
    web_session,
    ticket,
    login_failure,
    smart_client,
    smart_grant,
    smart_token,
    revoked_token,
    signing_key,
)


@pytest.fixture
def database(store_engine):
    return store_engine(FileKind.RECORDS)


@pytest.fixture
def store(database) -> AccountStore:
    made = AccountStore(database)
    made.put_account(WANG)
    made.put_passkey(KEY)
    made.put_client("app", b"{}", NOW)
    made.put_grant(GRANT)
    made.put_token("refresh", GRANT.id, b"{}", NOW + 500, secret="refresh")
    made.begin_session(WANG.id, "passkey", NOW, NOW + 100, KEY.credential)
    return made


WRITES = {
    "put_account": lambda s: s.put_account(LI),
    "change_account": lambda s: s.change_account(WANG.id, display="W", role=Role.CLINICIAN, fhir_user=""),
    "end_all": lambda s: s.end_all(WANG.id, NOW),
    "forget_account": lambda s: s.forget_account(WANG.id),
    "put_passkey": lambda s: s.put_passkey(replace(KEY, credential=b"other")),
    "begin_session": lambda s: s.begin_session(WANG.id, "passkey", NOW, NOW + 9, KEY.credential),
    "put_ticket": lambda s: s.put_ticket("launch", b"{}", NOW + 9, NOW),
    "change_ticket": lambda s: s.change_ticket("joint", "name", NOW, lambda _kept: Kept(b"[]", NOW + 9)),
    "put_attempt": lambda s: s.put_attempt(["a", "b"], NOW, "x"),
    "put_client": lambda s: s.put_client("other", b"{}", NOW),
    "disable_client": lambda s: s.disable_client("app", NOW),
    "drop_client": lambda s: s.drop_client("app", NOW),
    "put_grant": lambda s: s.put_grant(replace(GRANT, id="h" * 32)),
    "put_token": lambda s: s.put_token("code", GRANT.id, b"{}", NOW + 9),
    "take_token": lambda s: s.take_token("refresh", "refresh", "app", NOW),
    "revoke_token": lambda s: s.revoke_token("jti", NOW + 9, NOW),
    "put_signing_key": lambda s: s.put_signing_key(SigningKeyRow("k", "ES384", b"x", NOW), None, 0),
    "forget_live": lambda s: s.forget_live(),
}


def everything(store: AccountStore) -> list[object]:
    with store._database.read("file") as connection:  # noqa: SLF001  # beside the store's own reading
        return [connection.execute(table.select()).all() for table in TABLES]


@pytest.mark.parametrize("name", WRITES)
def test_a_write_that_fails_at_any_step_keeps_nothing_and_one_that_is_kept_is_whole(database, store, name):
    before = everything(store)
    for step in range(1, 30):
        with at_step(database, step, fail) as seen, pytest.raises(UnavailableError, match=r"store\.full"):
            WRITES[name](store)
        assert everything(store) == before
        if seen[-1] == "COMMIT":
            break
    with commit_kept_but_failed(database), pytest.raises(UnavailableError):
        WRITES[name](store)
    assert everything(store) != before


@pytest.mark.parametrize("kind", ["ticket", "token"])
def test_of_many_who_take_a_thing_at_once_one_gets_it(store, store_engine, kind):
    stores = [store, *(AccountStore(store_engine(FileKind.RECORDS)) for _ in range(3))]
    secret = store.put_ticket("launch", b"{}", NOW + 9, NOW) if kind == "ticket" else "refresh"

    def take(one: AccountStore) -> bool:
        if kind == "ticket":
            return one.take_ticket("launch", secret, NOW) is not None
        return one.take_token("refresh", secret, "app", NOW) is not None

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(take, stores)) == [False, False, False, True]
    # Two had the token, so one of them stole it.
    assert store.grant_counts(GRANT.id, NOW) is (kind == "ticket")


def test_a_ticket_counts_for_its_purpose_and_until_it_ends(store):
    secret = store.put_ticket("launch", b"{}", NOW + 9, NOW)
    assert store.see_ticket("enrol", secret, NOW) is None
    assert store.take_ticket("enrol", secret, NOW) is None
    assert store.take_ticket("launch", secret, NOW + 9) is None
    assert store.see_ticket("launch", secret, NOW) == b"{}"


def test_of_many_who_change_a_ticket_at_once_none_is_lost(store, store_engine):
    stores = [store, *(AccountStore(store_engine(FileKind.RECORDS)) for _ in range(3))]
    together = threading.Barrier(len(stores))

    def add(place: int) -> None:
        together.wait(60)
        for number in range(5):
            mine = bytes([16 * place + number])
            stores[place].change_ticket("joint", "name", NOW, lambda kept: Kept((kept or b"") + mine, NOW + 9))  # noqa: B023  # done at once

    with ThreadPoolExecutor(len(stores)) as pool:
        list(pool.map(add, range(len(stores))))
    kept = store.see_ticket("joint", "name", NOW)
    assert sorted(kept) == [16 * place + number for place in range(4) for number in range(5)]


def test_a_ticket_is_made_by_its_first_change_and_ends_when_the_last_one_says(store):
    seen = []

    def change(kept: bytes | None, until: int) -> Kept:
        seen.append(kept)
        return Kept(b"x" * len(seen), until)

    store.change_ticket("joint", "name", NOW, lambda kept: change(kept, NOW + 9))
    store.change_ticket("joint", "name", NOW, lambda kept: change(kept, NOW + 20))
    assert store.see_ticket("launch", "name", NOW) is None
    assert store.see_ticket("joint", "name", NOW + 19) == b"xx"
    # One that has ended is none to go on from.
    store.change_ticket("joint", "name", NOW + 20, lambda kept: change(kept, NOW + 30))
    assert seen == [None, b"x", None]


def test_a_change_of_a_ticket_that_is_refused_leaves_what_there_is(store):
    store.change_ticket("joint", "name", NOW, lambda _kept: Kept(b"first", NOW + 9))

    def refuse(_kept: bytes | None) -> Kept:
        raise ConflictError("patient.joint_other")

    with pytest.raises(ConflictError, match=r"patient\.joint_other"):
        store.change_ticket("joint", "name", NOW, refuse)
    assert store.see_ticket("joint", "name", NOW) == b"first"


def test_attack_what_counts_once_and_was_made_by_a_fast_clock_does_not_count_for_as_long_once_it_is_set_back(store):
    fast = NOW + 86_400
    secret = store.put_ticket("launch", b"{}", fast + 600, fast)
    assert store.see_ticket("launch", secret, fast - 60) == b"{}"
    assert store.see_ticket("launch", secret, NOW) is None
    assert store.take_ticket("launch", secret, NOW) is None
    assert store.tickets("launch", NOW) == []
    # Nor when its time comes, once anything else has been made.
    other = store.put_ticket("launch", b"[]", NOW + 600, NOW)
    assert store.see_ticket("launch", secret, fast) is None
    assert store.take_ticket("launch", other, NOW) == b"[]"


@pytest.mark.parametrize(
    ("off", "counts"),
    [(-86_400, False), (-3600, False), (-61, False), (-60, True), (3600, True), (86_400, False), (2 * 86_400, False)],
)
def test_attack_a_clock_that_is_off_for_a_moment_ends_what_is_in_force(store, off, counts):
    code = store.put_ticket("enrol", b"{}", NOW + 86_400, NOW)
    store.put_ticket("launch", b"[]", NOW + off + 600, NOW + off)
    assert (store.see_ticket("enrol", code, NOW + off) is not None) is counts
    store.put_ticket("launch", b"[]", NOW + 610, NOW + 10)
    assert store.take_ticket("enrol", code, NOW + 10) == b"{}"


def test_what_counts_once_is_forgotten_two_days_after_its_end(store):
    code = store.put_ticket("enrol", b"{}", NOW + 600, NOW)

    def is_kept(now: int) -> bool:
        store.put_ticket("launch", b"[]", now + 9, now)
        return hashed(code) in [row.token for row in everything(store)[TABLES.index(ticket)]]

    assert [is_kept(NOW + 600 + 2 * 86_400 - early) for early in (1, 0)] == [True, False]


def test_a_secret_of_somebody_belongs_to_what_counts(store):
    store.put_ticket("joint", b"{}", NOW + 600, NOW, "case")
    with pytest.raises(ConflictError, match=r"store\.conflict"):
        store.put_ticket("joint", b"[]", NOW + 600, NOW, "case")
    # Ended, and of a clock that was ahead: forgotten neither, and in nobody's way.
    for now in (NOW + 600, NOW + 100):
        store.put_ticket("joint", b"%d" % now, now + 600, now, "case")
        assert store.see_ticket("joint", "case", now) == b"%d" % now


def test_attack_a_revoked_token_counts_again_after_a_clock_that_was_a_day_fast_has_taken_it_for_ended(store):
    store.revoke_token("first", NOW + 3600, NOW)
    store.revoke_token("second", NOW + 86_400 + 7200, NOW + 86_400 + 3600)
    assert store.is_revoked("first")
    store.revoke_token("third", NOW + 3 * 86_400 + 7200, NOW + 2 * 86_400 + 3600)
    assert [store.is_revoked(name) for name in ("first", "second", "third")] == [False, True, True]


def test_names_identities_and_passkeys_belong_to_one(store):
    with pytest.raises(ConflictError, match=r"account\.exists"):
        store.put_account(replace(LI, name="wang"))
    with pytest.raises(ConflictError, match=r"account\.exists"):
        store.put_account(replace(LI, identity=WANG.identity))
    with pytest.raises(ConflictError, match=r"passkey\.exists"):
        store.put_passkey(replace(KEY, account=LI.id))
    assert store.account_of(b"i" * 32) == WANG
    with pytest.raises(NotFoundError, match=r"account\.unknown"):
        store.close_account("c" * 32, NOW)
    with pytest.raises(NotFoundError, match=r"client\.unknown"):
        store.put_client("none", b"{}", NOW, replace=True)


def test_passkeys_that_are_forgotten_end_what_began_with_them(store):
    store.drop_passkeys(WANG.id)
    assert store.passkeys_of(WANG.id) == []
    assert not store.grant_counts(GRANT.id, NOW)


def test_an_account_that_is_forgotten_leaves_nothing_and_no_other_one_is_touched(store):
    store.put_account(LI)
    store.put_passkey(replace(KEY, credential=b"li", account=LI.id))
    session = store.begin_session(LI.id, "passkey", NOW, NOW + 100, None)
    store.forget_account(WANG.id)
    store.forget_account(WANG.id)
    assert (store.account(WANG.id), store.passkeys_of(WANG.id)) == (None, [])
    assert not store.grant_counts(GRANT.id, NOW)
    content = repr(everything(store))
    assert all(one not in content for one in (WANG.id, GRANT.id))
    assert store.account(LI.id) == LI
    assert len(store.passkeys_of(LI.id)) == 1
    assert store.session(session, NOW, 900) is not None


def test_failures_are_forgotten_after_an_hour_and_after_success(store):
    for _ in range(5):
        store.put_attempt(["place"], NOW, "x")
    assert store.locked_for("place", NOW) == 30
    store.forget_failures("place")
    store.forget_failures("nobody")
    assert store.locked_for("place", NOW) == 0
    later = NOW
    for _ in range(12):
        later += store.locked_for("place", later)
        assert store.put_attempt(["place"], later, "x") == 0
    assert store.locked_for("place", later) == 900
    later += 3600
    store.put_attempt(["place"], later, "x")
    assert store.locked_for("place", later) == 0


def test_what_is_locked_is_counted_no_further_and_neither_is_what_is_tried_with_it(store):
    for _ in range(5):
        assert store.put_attempt(["place"], NOW, "x") == 0
    assert store.put_attempt(["account", "place"], NOW + 10, "x") == 20
    assert store.locked_for("place", NOW + 10) == 20
    for _ in range(4):
        assert store.put_attempt(["account"], NOW + 10, "x") == 0
    assert store.locked_for("account", NOW + 10) == 0


def test_attack_of_many_who_guess_at_once_none_comes_before_the_lock(store, store_engine):
    """Each is a worker of its own; all have seen that nothing is locked before the first of them is counted."""
    stores = [store, *(AccountStore(store_engine(FileKind.RECORDS)) for _ in range(3))]
    gate = threading.Barrier(48)

    def guess(number: int) -> int:
        one = stores[number % len(stores)]
        assert one.locked_for("code", NOW) == 0
        gate.wait()
        return one.put_attempt(["code"], NOW, "guess")

    with ThreadPoolExecutor(48) as pool:
        waits = list(pool.map(guess, range(48)))
    assert (waits.count(0), set(waits)) == (5, {0, 30})
    assert store.locked_for("code", NOW) == 30


def test_a_clock_that_was_a_day_fast_leaves_nobody_signed_in_for_longer_and_nobody_locked_out(store):
    fast = NOW + 86_400
    secret = store.begin_session(WANG.id, "passkey", fast, fast + 3600, None)
    for _ in range(9):
        store.put_attempt(["place"], fast, "x")
    assert store.session(secret, fast, 900) is not None
    assert store.locked_for("place", fast) > 0
    assert store.session(secret, NOW, 900) is None
    assert not store.session_lives(hashed(secret), NOW)
    assert store.locked_for("place", NOW) == 0
    # What fails then locks as ever, and a clock that is set by seconds ends nothing.
    store.put_attempt(["place"], NOW, "x")
    assert store.locked_for("place", NOW) > 0
    assert store.session(secret, fast - 60, 900) is not None
    assert store.session_lives(hashed(secret), fast - 60)


def test_what_ended_long_ago_is_forgotten(store):
    store.put_grant(replace(GRANT, id="h" * 32, created=NOW + 1000 + 86_400, until=NOW + 200_000))
    assert store.grant(GRANT.id) is None
    assert store.see_token("refresh", "refresh") is None
