"""Looks entered on whole nodes and judged offline; nothing is lost or entered twice, whatever breaks when."""

from __future__ import annotations

import shutil
import threading
import time
from dataclasses import dataclass
from itertools import count

import pytest

from medchain.cli import main
from medchain.encoding import base64_text, canonical, parse_canonical, unbase64
from medchain.errors import ConflictError, InputError, NotFoundError, UnavailableError, VerificationError
from medchain.ledger.bundle import verify_bundle
from medchain.ledger.genesis import trusted_policy_text
from medchain.ledger.looks import LookRow, check_growth, roots_key
from medchain.node import look_book
from medchain.node.crowding import Crowding
from medchain.node.look_book import LookBook
from medchain.node.looks import ROOTS, covered_looks, looks_proof, pack_looks
from medchain.node.proofs import opening_of, prove_object, record_proof, zip_bundle
from medchain.node.records import NewRecord
from medchain.node.refusing import REFUSED
from medchain.store.accesses import Access
from medchain.store.engine import FileKind, open_database
from medchain.store.records import LOOKS
from medchain.store.tables import look_page
from medchain.store.versions import Past, VersionReader
from tests.unit.medchain.ledger.world import genesis, seed
from tests.unit.medchain.node.federation import NOW, RENHE, Federation
from tests.unit.medchain.store.faults import at_step, commit_kept_but_failed, fail, kill, killed
from tests.waiting import eventually

_UNITS = count(1)
_LIVES = count(1)


def look(event: str, when: int = NOW, **changes: object) -> LookRow:
    values = {
        "time": when,
        "action": "read",
        "client": "ehr-1",
        "who": "Practitioner/d1",
        "role": "clinician",
        "purpose": "TREAT",
        "types": ("Observation",),
        "is_refused": False,
        "event": event,
    }
    return LookRow(**(values | changes))


@dataclass
class House:
    """A hospital's node in its consortium, with a book of looks."""

    federation: Federation
    life: str = "0"
    before: int = 0
    skew_s: int = 0

    def named(self, patient: str) -> str:
        """Name the patients of each test so that none are those of another."""
        return f"{patient}-{self.life}"

    @property
    def roots(self) -> int:
        """How many roots the ledger has got since the test began."""
        return self.newest() - self.before

    def token(self, patient: str) -> str:
        return self.site.service.patient_token(self.named(patient))

    @property
    def site(self):
        return self.federation.sites[RENHE]

    def newest(self) -> int:
        record = self.site.replica.store.record(roots_key(RENHE))
        return 0 if record is None else record.version

    def clock(self) -> int:
        return self.federation.time + self.skew_s

    @property
    def book(self) -> LookBook:
        """A book that remembers nothing: all is on the disk."""
        return LookBook(RENHE, self.site.records, self.site.service, self.clock, self.newest)

    def leave(self, **looks: list[LookRow]) -> None:
        """Leave looks to be entered, as the audit does, by patient."""
        rows = [(self.named(patient), row) for patient, listed in looks.items() for row in listed]
        unit = f"audit/{next(_UNITS)}"
        self.site.service.create_segment(unit.replace("/", "."), [b"{}"], unit=unit, looks=pack_looks(rows))

    def anchor(self) -> None:
        """Anchor until nothing waits."""
        for _ in range(5000):
            self.site.node.anchor.round()
            if not self.site.records.pending(1, kind="anchor"):
                return
            time.sleep(0.01)
        raise AssertionError("never final")

    def enter(self, **looks: list[LookRow]) -> int:
        """Have looks entered under a root that is final."""
        self.leave(**looks)
        made = self.book.round()
        self.anchor()
        return made

    def call(self, _operation: str, document):
        return prove_object(self.site.replica, document)

    def prove(self, patient: str) -> dict[str, bytes]:
        service = self.site.service

        def prove(stored):
            return record_proof(self, RENHE, stored, opening_of(service, stored))

        return dict(looks_proof(self.site.records, service, prove, self.named(patient)))

    def shown(self, patient: str):
        """Prove a patient's list, and judge it as anybody would."""
        return judged(self.prove(patient)).looks

    def events(self, patient: str) -> list[str]:
        return [row["event"] for row in self.shown(patient).to_json()["listed"]]


def judged(files):
    return verify_bundle(files, trusted_policy_text(genesis().members, genesis().origin), now=NOW + 60)


@pytest.fixture
def fresh(tmp_path):
    """A house of its own: its files are exchanged, or it has no root yet."""
    federation = Federation(tmp_path)
    federation.start()
    yield House(federation)
    federation.stop()


@pytest.fixture(scope="module")
def consortium(tmp_path_factory):
    federation = Federation(tmp_path_factory.mktemp("federation"))
    federation.start()
    yield federation
    federation.stop()


@pytest.fixture
def house(consortium):
    """A house in which others were before, with other patients."""
    made = House(consortium)
    made.book.round()
    made.anchor()
    return House(consortium, str(next(_LIVES)), made.newest())


@pytest.fixture(scope="module")
def shared(consortium):
    """A house with three roots; for tests that change nothing of them."""
    made = House(consortium, "shared")
    made.enter(anna=[look("a.1"), look("a.2", is_refused=True)], bert=[look("b.1")])
    made.enter(bert=[look("b.2")])
    made.enter(anna=[look("a.3")])
    return made


def test_each_patient_proves_all_looks_and_no_others(shared):
    verdict = judged(shared.prove("anna"))
    assert (verdict.answer, verdict.current, verdict.version) == ("looks", True, shared.newest())
    assert [(row["event"], row["refused"]) for row in verdict.looks.to_json()["listed"]] == [
        ("a.1", False),
        ("a.2", True),
        ("a.3", False),
    ]
    assert shared.events("bert") == ["b.1", "b.2"]


def test_that_nobody_is_entered_for_a_patient_is_proven(shared):
    verdict = judged(shared.prove("carl"))
    assert (verdict.answer, verdict.looks.entries, verdict.looks.patient) == ("looks", (), "Patient/carl-shared")


def test_bundles_of_two_patients_are_under_one_root(shared):
    annas, berts = shared.prove("anna"), shared.prove("bert")
    assert annas["opening.json"] == berts["opening.json"]
    mixed = annas | {"looks.json": berts["looks.json"]}
    assert judged(mixed).looks.patient == "Patient/bert-shared"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"opening.json": None}, "bundle.files"),
        ({"record.json": None}, "bundle.files"),
        ({"looks.json": None}, "bundle.answer"),
        ({"answer.json": "record"}, "bundle.answer"),
    ],
)
def test_a_bundle_of_which_a_part_is_missing_is_refused(shared, change, code):
    files = shared.prove("anna")
    for name, value in change.items():
        del files[name]
        if value is not None:
            told = parse_canonical(shared.prove("anna")[name], max_bytes=4096)
            files[name] = canonical(told | {"answer": value})
    with pytest.raises((InputError, VerificationError)) as caught:
        judged(files)
    assert caught.value.code == code


def verify(capsys, *words: object) -> tuple[int, str]:
    """Run the command as anybody would."""
    code = main(["verify", *map(str, words), "--lang", "en"])
    said = capsys.readouterr()
    return code, said.out + said.err


def test_the_command_tells_who_looked_and_that_the_list_only_grew(house, tmp_path, capsys):
    policy = tmp_path / "policy.txt"
    policy.write_text(trusted_policy_text(genesis().members, genesis().origin))

    def bundle(name: str, files) -> object:
        path = tmp_path / name
        path.write_bytes(zip_bundle(files))
        return path

    house.enter(anna=[look("a.1"), look("a.2", is_refused=True, who="")], bert=[look("b.1")])
    earlier, berts = bundle("earlier.zip", house.prove("anna")), bundle("bert.zip", house.prove("bert"))
    house.skew_s = 60
    house.enter(anna=[look("a.3", NOW + 30)])
    later = bundle("later.zip", house.prove("anna"))
    code, said = verify(capsys, later, "--policy", policy, "--before", earlier)
    assert code == 0, said
    assert f"renhe-hospital has entered of looks at Patient/{house.named('anna')}: 3" in said
    assert "nothing else is entered in this list" in said
    assert said.count("refused") == 1
    assert "the list only grew" in said
    assert verify(capsys, earlier, "--policy", policy, "--before", later)[0] == 1
    code, said = verify(capsys, later, "--policy", policy, "--before", berts)
    assert (code, "looks.other" in said) == (1, True)
    record = bundle("record.zip", prove_files(house))
    assert verify(capsys, later, "--policy", policy, "--before", record)[0] == 2


def prove_files(house) -> dict[str, bytes]:
    """Prove the root alone."""
    answer = prove_object(house.site.replica, {"key": roots_key(RENHE).hex()})
    return {name: unbase64(text, max_bytes=1 << 20) for name, text in answer["files"].items()}


def test_the_job_enters_what_waits_until_it_is_told_to_stop(house, monkeypatch):
    monkeypatch.setattr(look_book, "_PAUSE_S", 0.01)
    house.leave(anna=[look("a.1")])
    stop = threading.Event()
    working = threading.Thread(target=house.book.run, args=(stop,))
    working.start()
    try:
        assert eventually(lambda: house.site.records.waiting_looks(9) == [])
        house.anchor()
        # The next root waits for its minute.
        house.leave(anna=[look("a.2")])
        assert house.events("anna") == ["a.1"]
    finally:
        stop.set()
        working.join()
    assert len(house.site.records.waiting_looks(9)) == 1


@pytest.mark.parametrize(("share", "left"), [(0.0, 0), (1.0, 1)])
def test_what_is_too_much_for_one_root_is_caught_up_with_while_processors_are_free(house, monkeypatch, share, left):
    monkeypatch.setattr(look_book, "_PAUSE_S", 0.01)
    monkeypatch.setattr(look_book, "MAX_BATCHES", 1)
    monkeypatch.setattr(Crowding, "share", lambda _self: share)
    house.leave(anna=[look("a.1")])
    house.leave(anna=[look("a.2")])
    stop, turns = threading.Event(), []

    def wait(_pause_s: float) -> bool:
        # Each pause of the job is long enough for its root to become final.
        house.anchor()
        turns.append(1)
        return len(turns) > 4

    stop.wait = wait
    house.book.run(stop)
    assert len(house.site.records.waiting_looks(9)) == left


def test_a_job_that_cannot_write_tries_again(house, monkeypatch):
    monkeypatch.setattr(look_book, "_PAUSE_S", 0.01)
    house.leave(anna=[look("a.1")])
    stop = threading.Event()
    rounds = iter([UnavailableError("store.full"), None])
    plain = LookBook.round

    def once_full(book) -> int:
        error = next(rounds, None)
        if error is not None:
            raise error
        stop.set()
        return plain(book)

    monkeypatch.setattr(LookBook, "round", once_full)
    house.book.run(stop)
    house.anchor()
    assert house.events("anna") == ["a.1"]


def test_a_bundle_answers_one_question(shared):
    files = shared.prove("anna") | {"disclosures.json": b"{}"}
    with pytest.raises(InputError, match=r"bundle\.files"):
        judged(files)


def test_a_list_to_which_is_added_while_it_is_proven_is_proven_as_it_is_then(house, monkeypatch):
    house.enter(anna=[look("a.1")])
    records = house.site.records
    plain, added = records.look_chains, iter(["a.2", "a.3"])

    def chains(patients):
        found = plain(patients)
        event = next(added, None)
        if event is not None:
            # After the root was read, before the pages are.
            house.enter(anna=[look(event)])
        return found

    with monkeypatch.context() as patched:
        patched.setattr(records, "look_chains", chains)
        assert house.events("anna") == ["a.1", "a.2", "a.3"]


def test_a_root_that_is_not_the_newest_any_more_is_not_taken_for_it(house, monkeypatch):
    house.enter(anna=[look("a.1")])
    files = dict(house.prove("anna"))
    monkeypatch.setattr(House, "call", lambda _self, _operation, _document: told(files | {"history.json": b"[]"}))
    with pytest.raises(UnavailableError, match=r"looks\.pending"):
        house.prove("anna")


def told(files) -> dict:
    return {"files": {name: base64_text(content) for name, content in files.items()}}


def test_a_page_of_the_map_that_was_changed_on_the_disk_proves_nothing(fresh):
    house = fresh
    house.enter(anna=[look("a.1")])
    with house.site.records.database.write("look_page") as connection:
        connection.execute(look_page.update().values(data=b"x" * 544))
    with pytest.raises(VerificationError, match=r"tlog\.page_corrupt"):
        house.prove("anna")


def test_refusals_that_name_nobody_who_is_here_are_passed_over_once(house):
    told = canonical({"reason": "consent.denied", "request": "00", "requester": "anxin-insurance"})
    house.site.records.put_accesses([Access(b"9" * 16, house.token("gone"), REFUSED, NOW - 5, told)])
    assert house.book.round() == 0
    house.anchor()
    made = house.roots
    assert (house.book.round(), house.roots) == (0, made)


def test_roots_are_no_resources(shared):
    site = shared.site
    newest = site.records.get(LOOKS, ROOTS)
    assert newest.version == shared.newest() > 0
    assert [one.stored.type for one in VersionReader(site.records).past(Past()) if one.stored.type == LOOKS] == []


def test_what_was_read_once_says_whether_a_final_root_covers_it(house):
    token = house.token("anna")
    assert covered_looks(house.site.records, token) == frozenset()
    house.enter(anna=[look("a.1")])
    house.leave(anna=[look("a.2")])
    house.book.round()
    assert covered_looks(house.site.records, token) == {"a.1"}
    house.anchor()
    assert covered_looks(house.site.records, token) == {"a.1", "a.2"}


def test_before_the_first_root_there_is_nothing_to_prove_and_on_its_way_it_is_waited_for(fresh):
    house = fresh
    with pytest.raises(NotFoundError, match=r"looks\.none"):
        house.prove("anna")
    house.leave(anna=[look("a.1")])
    house.book.round()
    with pytest.raises(UnavailableError, match=r"looks\.pending"):
        house.prove("anna")
    house.anchor()
    assert house.events("anna") == ["a.1"]


def test_one_root_is_on_its_way_at_a_time_and_what_comes_meanwhile_is_in_the_next(house):
    house.leave(anna=[look("a.1")])
    assert house.book.round() == 1
    house.leave(anna=[look("a.2")])
    house.leave(bert=[look("b.1")])
    assert house.book.round() == 0
    house.anchor()
    assert house.book.round() == 2
    assert house.book.round() == 0
    house.anchor()
    assert (house.events("anna"), house.events("bert"), house.roots) == (["a.1", "a.2"], ["b.1"], 2)


def test_where_nothing_waits_no_root_is_made(house):
    assert (house.book.round(), house.roots, house.site.records.pending_count()) == (0, 0, 0)


def test_refused_releases_are_entered_with_who_asked_and_what_for(house):
    site = house.site
    anna = house.named("anna")
    site.service.create(NewRecord("Patient", anna, b'{"resourceType":"Patient"}', anna))
    token, gone = house.token("anna"), house.token("nobody")
    unread = {"reason": "consent.denied", "request": "00", "requester": "anxin-insurance"}
    told = canonical({**unread, "purpose": "HPAYMT", "types": ["Observation", "Condition", "Observation"]})
    rows = [
        (b"1" * 16, token, told),
        (b"2" * 16, "", told),
        (b"3" * 16, gone, told),
        (b"5" * 16, token, canonical(unread)),
    ]
    for name, patient, detail in rows:
        site.records.put_accesses([Access(name, patient, REFUSED, NOW - 5, detail)])
    site.records.put_accesses([Access(b"4" * 16, token, "given", NOW - 5, told)])
    assert house.book.round() == 1
    house.anchor()
    found, other = house.shown("anna").to_json()["listed"]
    assert (found["action"], found["client"], found["refused"], found["event"]) == (
        "release",
        "anxin-insurance",
        True,
        (b"1" * 16).hex(),
    )
    assert (found["purpose"], found["types"]) == ("HPAYMT", ["Condition", "Observation"])
    # Of a document that could not be read nothing else is known.
    assert (other["client"], other["purpose"], other["types"]) == ("anxin-insurance", "", [])
    assert house.book.round() == 0


def test_more_than_one_entry_holds_is_split(house, monkeypatch):
    monkeypatch.setattr(look_book, "MAX_LOOKS", 2)
    assert house.enter(anna=[look(f"a.{at}", NOW - at) for at in range(5)]) == 3
    assert house.events("anna") == [f"a.{at}" for at in (4, 3, 2, 1, 0)]


def test_a_clock_that_was_set_back_dates_no_entry_before_the_last(house):
    house.enter(anna=[look("a.1")])
    house.skew_s = -50
    house.enter(anna=[look("a.2", NOW - 50)])
    first, second = (one.time for one in house.shown("anna").entries)
    assert first == second >= NOW


def steps_of(house) -> int:
    """Count the statements of one root."""
    house.leave(anna=[look("x")])
    with at_step(house.site.records.database, 0, fail) as seen:
        house.book.round()
    house.anchor()
    return len(seen)


def test_a_root_that_failed_at_any_step_is_made_whole_later(house):
    steps = steps_of(house)
    for step in range(1, steps + 1):
        house.leave(anna=[look(f"a.{step}")])
        with at_step(house.site.records.database, step, fail), pytest.raises(UnavailableError):
            house.book.round()
        assert house.book.round() == 1
        house.anchor()
    assert house.events("anna") == ["x", *(f"a.{step}" for step in range(1, steps + 1))]
    assert house.roots == steps + 1


def test_a_root_that_was_kept_though_its_commit_failed_is_made_once(house):
    house.leave(anna=[look("a.1")])
    with commit_kept_but_failed(house.site.records.database), pytest.raises(UnavailableError):
        house.book.round()
    assert house.book.round() == 0
    house.anchor()
    assert (house.book.round(), house.events("anna"), house.roots) == (0, ["a.1"], 1)


def test_a_node_killed_at_any_step_enters_each_look_once(house):
    """The frames of a batch are taken in the transaction that leaves its looks; here the book dies with them."""
    house.enter(anna=[look("a.0")])
    house.leave(anna=[look("a.1")])
    database = house.site.records.database
    step = 0

    def make() -> None:
        with at_step(database, step, kill):
            house.book.round()

    while True:
        step += 1
        # What another thread of this process holds just then in SQLite's library, a child would wait for for ever.
        with house.federation._lock:  # noqa: SLF001  # no node may follow meanwhile
            is_killed = killed(make)
        # A child that lives on has entered it; else all waits as before.
        if not is_killed:
            break
        assert len(house.site.records.waiting_looks(9)) == 1
    assert step > 5
    house.anchor()
    assert (house.book.round(), house.events("anna"), house.roots) == (0, ["a.0", "a.1"], 2)


def test_looks_are_left_with_their_segment_or_not_at_all(house):
    site = house.site
    house.leave(anna=[look("a.1")])
    rows = pack_looks([(house.named("anna"), look("a.2"))])
    unit = f"audit/{next(_UNITS) - 1}"
    with pytest.raises(ConflictError):
        site.service.create_segment("again", [b"{}"], unit=unit, looks=rows)
    assert len(site.records.waiting_looks(9)) == 1
    with commit_kept_but_failed(site.records.database), pytest.raises(UnavailableError):
        house.leave(anna=[look("a.3")])
    assert len(site.records.waiting_looks(9)) == 2


def test_a_restored_backup_goes_on_after_the_ledger_and_says_what_it_lost(fresh, tmp_path):
    house = fresh
    house.enter(anna=[look("a.1")])
    house.enter(anna=[look("a.2")])
    copy = tmp_path / "copy.db"
    house.site.records.database.backup(copy)
    house.enter(anna=[look("a.3")])
    house.enter(bert=[look("b.1")])
    kept = house.shown("anna")
    with house.federation._lock:  # noqa: SLF001  # no node may follow while its files are exchanged
        house.site.stop()
        for name in ("records.db-wal", "records.db-shm", "records.db-mark"):
            (house.site.folder / name).unlink(missing_ok=True)
        shutil.copy(copy, house.site.folder / "records.db")
        adopt(house.site)
        house.site.start()
    assert house.enter(anna=[look("a.4")]) == 1
    found = house.shown("anna")
    assert (house.events("anna"), found.version, found.root.lost) == (["a.1", "a.2", "a.4"], 5, ((3, 4),))
    with pytest.raises(VerificationError, match=r"looks\.rewritten"):
        check_growth(kept, found)
    house.enter(anna=[look("a.5")])
    after = house.shown("anna")
    check_growth(found, after)
    assert after.root.lost == ((3, 4),)


def adopt(site) -> None:
    """Open a restored records file once, as a restore does."""
    path, key = site.folder / "records.db", seed(site.org_id, "file")
    open_database(path, key, kind=FileKind.RECORDS, adopt=True).close()
