"""A patient's list of looks under a custodian's root: what is left out, put in, moved or dated back is found."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from hashlib import sha256

import pytest

from medchain.encoding import canonical, digest, parse_canonical
from medchain.errors import InputError, VerificationError
from medchain.ledger.looks import (
    AHEAD_S,
    MAX_LOOKS,
    LookEntry,
    LookRow,
    LooksRoot,
    check_growth,
    open_looks,
    place_of,
    roots_id,
    roots_key,
    write_looks,
)
from medchain.ledger.object import StateRecord
from medchain.tlog.statemap import MapRoot, prove, update
from tests.unit.medchain.ledger.world import ANXIN, RENHE, TIME

CHAIN, OTHER = bytes(range(32)), bytes(range(32, 64))
ANNA, BERT = "Patient/anna", "Patient/bert"


def look(time: int = TIME, **changes: object) -> LookRow:
    values = {
        "time": time,
        "action": "read",
        "client": "ehr-1",
        "who": "Practitioner/d1",
        "role": "clinician",
        "purpose": "TREAT",
        "types": ("Condition", "Observation"),
        "is_refused": False,
        "event": "5f0c.17",
    }
    return LookRow(**(values | changes))


def listed(*rows: tuple[LookRow, ...], chain: bytes = CHAIN, patient: str = ANNA, later: int = 60) -> list[LookEntry]:
    """Enter rows as an honest custodian does, a minute after the newest of them."""
    entries: list[LookEntry] = []
    for number, looks in enumerate(rows, 1):
        previous = entries[-1].value(chain, patient) if entries else None
        entries.append(LookEntry(number, max(one.time for one in looks) + later, previous, looks))
    return entries


@dataclass
class Book:
    """A custodian's map."""

    root: MapRoot = field(default_factory=MapRoot.empty)
    pages: dict[bytes, bytes] = field(default_factory=dict)

    def page(self, key: bytes) -> bytes | None:
        return self.pages.get(key)

    def enter(self, entries, chain: bytes = CHAIN, patient: str = ANNA) -> None:
        changes = {place_of(chain, patient, one.number): one.value(chain, patient) for one in entries}
        made = update(self.root, changes, self)
        self.root = made.root
        self.pages |= made.pages

    def document(self, entries, chain: bytes = CHAIN, patient: str = ANNA) -> bytes:
        """Write ``looks.json``, as far as this map lets it be written."""
        count = len(entries)
        head = prove(self.root, place_of(chain, patient, count), self) if count else None
        return write_looks(chain, patient, entries, head, prove(self.root, place_of(chain, patient, count + 1), self))


def book_of(entries, chain: bytes = CHAIN, patient: str = ANNA) -> Book:
    made = Book()
    made.enter(listed((look(),), chain=OTHER, patient=BERT), OTHER, BERT)
    made.enter(entries, chain, patient)
    return made


def record(**changes: object) -> StateRecord:
    values = {
        "kind": "record",
        "creator": RENHE,
        "id": roots_id(RENHE),
        "version": 5,
        "status": "active",
        "body_hash": bytes(32),
        "stop_hash": None,
        "expires": None,
        "refs": (),
        "since": 77,
        "previous": bytes(32),
    }
    return StateRecord(**(values | changes))


LOOKS = ((look(),), (look(TIME + 100), look(TIME + 90, is_refused=True)), (look(TIME + 200, who="", role=""),))
ENTRIES = listed(*LOOKS)
BOOK = book_of(ENTRIES)
UNTIL = TIME + 300


def opened(document: bytes, book: Book = BOOK, *, newest: int = 5, until: int = UNTIL, lost=(), **changes: object):
    made = record(**changes)
    return open_looks(document, made, newest, LooksRoot(book.root.hash, until, lost).encode(), UNTIL)


def refusal(document: bytes, book: Book = BOOK, **changes: object) -> str:
    with pytest.raises((VerificationError, InputError)) as caught:
        opened(document, book, **changes)
    return caught.value.code


def forged(entries) -> bytes:
    """Write a list that the map does not hold: with the proofs that it has for the places concerned."""
    return BOOK.document(entries)


def test_a_whole_list_tells_every_look_and_up_to_when():
    found = opened(BOOK.document(ENTRIES))
    told = found.to_json()
    assert [(row["time"], row["entered"], row["refused"]) for row in told["listed"]] == [
        (TIME, TIME + 60, False),
        (TIME + 100, TIME + 160, False),
        (TIME + 90, TIME + 160, True),
        (TIME + 200, TIME + 260, False),
    ]
    assert (told["custodian"], told["patient"], told["until"], told["version"]) == (RENHE, ANNA, UNTIL, 5)
    assert CHAIN.hex() not in str(told)


def test_of_a_patient_at_whom_nobody_looked_the_absence_is_proven():
    assert opened(BOOK.document([], chain=bytes(32)), BOOK).entries == ()


def test_places_and_values_are_what_the_page_says():
    def plain(tag: str, *fields: bytes) -> bytes:
        parts = [tag.encode(), *fields]
        return sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).digest()

    entry = ENTRIES[0]
    text = (
        '{"looks":[{"action":"read","client":"ehr-1","event":"5f0c.17","purpose":"TREAT","refused":false,'
        f'"role":"clinician","time":{TIME},"types":["Condition","Observation"],"who":"Practitioner/d1"}}],'
        f'"number":1,"previous":null,"time":{TIME + 60}}}'
    )
    assert place_of(CHAIN, ANNA, 3) == plain("medchain/look-place/v1", CHAIN, ANNA.encode(), (3).to_bytes(8, "big"))
    assert entry.value(CHAIN, ANNA) == plain("medchain/look-entry/v1", CHAIN, ANNA.encode(), text.encode())
    assert roots_id(RENHE) == plain("medchain/looks-id/v1", RENHE.encode())[:16]


def test_an_entry_that_was_dropped_is_missed():
    without = [ENTRIES[0], replace(ENTRIES[2], number=2, previous=ENTRIES[0].value(CHAIN, ANNA))]
    assert refusal(forged(without)) == "looks.proof"
    assert refusal(forged([ENTRIES[0], ENTRIES[2]])) == "looks.chain"


def test_a_list_that_ends_too_early_is_refused():
    """The absence that it would need cannot be proven: the entry is there."""
    assert refusal(forged(ENTRIES[:2])) == "looks.proof"
    assert refusal(forged([])) == "looks.proof"


def test_the_proof_of_another_absence_does_not_end_a_list():
    short, whole = (parse_canonical(forged(rows), max_bytes=1 << 20) for rows in (ENTRIES[:2], ENTRIES))
    assert refusal(canonical(short | {"next": whole["next"]})) == "looks.proof"


def test_an_absence_under_a_label_that_nothing_binds_is_refused():
    document = parse_canonical(forged(ENTRIES), max_bytes=1 << 20)
    first, *rest = document["next"]["proof"]
    bare = {name: value for name, value in first.items() if name != "value"}
    cut = document | {"next": document["next"] | {"proof": [bare, *rest]}}
    assert refusal(canonical(cut)) == "tlog.map_unbound"


def test_entries_that_change_places_are_refused():
    first, second, third = ENTRIES
    assert refusal(forged([second, first, third])) == "looks.chain"
    swapped = listed(LOOKS[1], LOOKS[0], LOOKS[2])
    assert refusal(forged([replace(one, time=TIME + 260) for one in swapped])) in {"looks.chain", "looks.proof"}


@pytest.mark.parametrize(
    "change",
    [
        {"is_refused": True},
        {"who": "Practitioner/d2"},
        {"purpose": "HOPERAT"},
        {"types": ("Observation",)},
        {"time": TIME - 1},
    ],
)
def test_a_look_that_is_told_otherwise_is_refused(change):
    entries = listed(*LOOKS[:2], (replace(LOOKS[2][0], **change),))
    assert refusal(forged([*ENTRIES[:2], replace(entries[2], time=ENTRIES[2].time)])) == "looks.proof"


def test_a_second_map_shown_to_one_patient_alone_is_not_under_the_root():
    fork = book_of(ENTRIES[:1])
    assert opened(fork.document(ENTRIES[:1]), fork).entries == (ENTRIES[0],)
    with pytest.raises(VerificationError) as caught:
        opened(fork.document(ENTRIES[:1]))
    assert caught.value.code == "tlog.map_proof"


def test_two_patients_given_one_chain_have_lists_of_their_own():
    book = book_of(ENTRIES)
    berts = listed((look(TIME + 5, event="b.1"),), patient=BERT)
    book.enter(berts, CHAIN, BERT)
    assert opened(book.document(ENTRIES), book).entries == tuple(ENTRIES)
    assert opened(book.document(berts, patient=BERT), book).entries == tuple(berts)
    stolen = parse_canonical(book.document(ENTRIES), max_bytes=1 << 20) | {"patient": BERT}
    assert refusal(canonical(stolen), book) == "looks.chain"


@pytest.mark.parametrize(
    "changes",
    [
        {"id": bytes(16)},
        {"kind": "consent"},
        {"creator": ANXIN},
        {"status": "ended"},
    ],
)
def test_another_object_than_the_one_of_a_custodians_roots_is_refused(changes):
    assert refusal(BOOK.document(ENTRIES), **changes) == "looks.object"
    assert record().key == roots_key(RENHE)


def test_a_list_of_before_is_not_the_list_of_now():
    assert refusal(BOOK.document(ENTRIES), newest=6) == "looks.version"


def test_entries_are_dated_in_their_order_and_not_beyond_the_root():
    assert refusal(BOOK.document(ENTRIES), until=TIME + 259) == "looks.time"
    back = replace(ENTRIES[1], time=ENTRIES[0].time - 1, looks=(look(TIME - 50),))
    assert refusal(forged([ENTRIES[0], back])) == "looks.time"
    early = replace(ENTRIES[0], time=TIME - 1)
    assert refusal(forged([early])) == "looks.time"


def test_a_root_dated_ahead_is_refused():
    assert opened(BOOK.document(ENTRIES), until=UNTIL + AHEAD_S).root.time == UNTIL + AHEAD_S
    assert refusal(BOOK.document(ENTRIES), until=UNTIL + AHEAD_S + 1) == "looks.time"


def grown(rows, *, version: int = 6, until: int = UNTIL + 60, lost=(), chain: bytes = CHAIN, patient: str = ANNA):
    book = book_of(rows, chain, patient)
    document = book.document(rows, chain, patient)
    return opened(document, book, newest=version, version=version, until=until, lost=lost)


EARLIER = opened(BOOK.document(ENTRIES))


def growth(later) -> str:
    with pytest.raises(VerificationError) as caught:
        check_growth(EARLIER, later)
    return caught.value.code


def test_a_list_that_grew_is_the_same_list():
    check_growth(EARLIER, grown(listed(*LOOKS, (look(TIME + 290),))))
    check_growth(EARLIER, EARLIER)


def test_an_entry_that_was_taken_out_of_all_later_maps_is_missed_by_who_kept_a_proof():
    assert growth(grown(ENTRIES[:2])) == "looks.rewritten"
    assert growth(grown(listed(LOOKS[0], LOOKS[2]))) == "looks.rewritten"


def test_a_list_begun_anew_is_another_list():
    assert growth(grown(listed((look(TIME + 310),), chain=OTHER, later=10), chain=OTHER)) == "looks.other"
    assert growth(grown(listed((look(),), patient=BERT), patient=BERT)) == "looks.other"


def test_an_entry_from_before_an_earlier_root_that_it_did_not_have_was_dated_back():
    assert growth(grown(listed(*LOOKS, (look(TIME + 210),)))) == "looks.backdated"


def test_the_older_proof_is_not_taken_for_the_later_one():
    assert growth(grown(ENTRIES, version=4)) == "looks.older"


def test_a_restored_custodian_says_so_for_ever_and_what_it_lost_is_still_missed():
    lost = grown(ENTRIES, version=9, lost=((7, 8),))
    check_growth(EARLIER, lost)
    assert lost.to_json()["lost"] == [[7, 8]]
    with pytest.raises(VerificationError, match=r"looks\.rewritten"):
        check_growth(lost, grown(ENTRIES, version=10, until=UNTIL + 60))
    check_growth(lost, grown(ENTRIES, version=12, lost=((6, 11),), until=UNTIL + 60))
    assert growth(grown(ENTRIES[:2], version=9, lost=((6, 8),))) == "looks.rewritten"


@pytest.mark.parametrize(
    "change",
    [
        {"type": "medchain/looks/v2"},
        {"more": 1},
        {"chain": "00"},
        {"entries": [{}]},
        {"entries": [ENTRIES[0].to_json() | {"looks": []}]},
        {"entries": [ENTRIES[0].to_json() | {"looks": [look().to_json()] * (MAX_LOOKS + 1)}]},
        {"entries": [ENTRIES[0].to_json() | {"number": -1}]},
        {"entries": [ENTRIES[0].to_json() | {"previous": "zz"}]},
        {"entries": [ENTRIES[0].to_json() | {"looks": [look().to_json() | {"who": "x" * 201}]}]},
        {"entries": [ENTRIES[0].to_json() | {"looks": [look().to_json() | {"types": ["B", "A"]}]}]},
        {"next": {}},
        {"head": {}},
    ],
)
def test_another_form_is_refused(change):
    document = parse_canonical(BOOK.document(ENTRIES), max_bytes=1 << 20) | change
    assert refusal(canonical(document)).partition(".")[0] in {"looks", "encoding"}


@pytest.mark.parametrize(
    "change",
    [
        {"number": 7},
        {"looks": []},
        {"looks": [look().to_json()] * (MAX_LOOKS + 1)},
        {"looks": [look().to_json() | {"types": ["Observation", "Condition"]}]},
        {"looks": [look().to_json() | {"types": ["Condition", "Condition"]}]},
        {"looks": [look().to_json() | {"types": [1]}]},
        {"looks": [look().to_json() | {"who": "x" * 201}]},
    ],
)
def test_an_entry_of_another_form_is_refused_though_the_map_holds_it(change):
    """A custodian can put any value into its map: so also what this reader would make of such an entry."""
    written = listed((look(),))[0].to_json() | change
    rows = [row | {"who": row["who"][:200], "types": [str(one) for one in row["types"]]} for row in written["looks"]]
    for document in (written, written | {"looks": rows}):
        book = Book()
        value = digest("medchain/look-entry/v1", CHAIN, ANNA.encode(), canonical(document))
        made = update(MapRoot.empty(), {place_of(CHAIN, ANNA, 1): value}, book)
        book.root, book.pages = made.root, made.pages
        told = parse_canonical(book.document([ENTRIES[0]]), max_bytes=1 << 20) | {"entries": [written]}
        assert refusal(canonical(told), book) in {"looks.malformed", "looks.chain"}


@pytest.mark.parametrize("heads", [0, 2])
def test_a_list_has_one_proof_of_its_end(heads):
    document = parse_canonical(BOOK.document(ENTRIES), max_bytes=1 << 20)
    assert refusal(canonical(document | {"head": document["head"] * heads})) == "looks.proof"


@pytest.mark.parametrize(
    "change",
    [
        {"type": "medchain/looks-root/v2"},
        {"time": -1},
        {"lost": [[2, 1]]},
        {"lost": [[1, 2], [2, 3]]},
        {"lost": [[1]]},
        {"lost": [1]},
        {"lost": [[1, -2]]},
    ],
)
def test_a_root_of_another_form_is_refused(change):
    root = parse_canonical(LooksRoot(bytes(32), TIME).encode(), max_bytes=1 << 16) | change
    with pytest.raises(InputError):
        LooksRoot.decode(canonical(root))


def test_long_texts_are_cut():
    assert look(who="x" * 300).to_json()["who"] == "x" * 200
