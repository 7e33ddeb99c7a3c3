"""What an insurer's node keeps of the claims that it looks into: found, changed whole, gone with the patient."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest
from sqlalchemy import String, select

from medchain.errors import ConflictError, NotFoundError
from medchain.store.cases import CaseFilter, CaseRow
from medchain.store.engine import FileKind, open_database
from medchain.store.received import ReceivedProof
from medchain.store.records import RecordStore
from medchain.store.tables import claim_case, unrecorded_case
from tests.unit.medchain.store.conftest import set_back

NOW = 1_796_083_200


@pytest.fixture
def store(tmp_path):
    made = RecordStore(open_database(tmp_path / "records.db", b"\x05" * 32, kind=FileKind.RECORDS))
    yield made
    made.close()


def case(place: int, /, **changes: object) -> CaseRow:
    row = CaseRow(
        id=bytes([place]) * 16,
        digest=bytes([place]) * 32,
        claim=f"Claim/c{place}",
        patient="token-1",
        number=f"AX2025{place:04}",
        hospital="renhe-hospital",
        currency="CNY",
        amount=100 * place,
        status="new",
        colour="",
        created=NOW + place,
        judged=None,
        document=b"{}",
    )
    return replace(row, **changes)


def listed(store, **wanted: object) -> list[int]:
    rows, total = store.cases(CaseFilter(**wanted), 10)
    assert total == len(rows)
    return [row.id[0] for row in rows]


def test_one_claim_is_one_case(store):
    assert store.put_case(case(1)) == case(1)
    assert store.put_case(replace(case(2), digest=case(1).digest)) == case(1)
    assert listed(store) == [1]
    assert (store.case_of(case(1).digest), store.case_of(case(2).digest)) == (case(1), None)


def test_all_cases_in_some_states_are_listed_without_what_they_hold(store):
    for place, status in ((3, "asked"), (1, "new"), (2, "judged")):
        store.put_case(case(place, status=status))
    assert store.cases_in(("asked", "new")) == [(b"\1" * 16, b"\1" * 32, "new"), (b"\3" * 16, b"\3" * 32, "asked")]
    assert store.cases_in(("settled",)) == []


def test_a_case_is_found_without_its_bundle_and_the_bundle_by_itself(store):
    store.put_case(case(1, bundle=b"zip", verdict=b"{}"))
    assert store.case(case(1).id) == case(1, verdict=b"{}")
    assert store.case_bundle(case(1).id) == b"zip"


def test_a_case_that_is_not_there_and_one_without_a_bundle_are_told_apart(store):
    store.put_case(case(1))
    with pytest.raises(NotFoundError, match=r"case\.unjudged"):
        store.case_bundle(case(1).id)
    for ask in (store.case, store.case_bundle, lambda number: store.change_case(number, lambda row: row)):
        with pytest.raises(NotFoundError, match=r"case\.unknown"):
            ask(case(2).id)


def test_a_change_sees_the_newest_state_and_keeps_the_bundle_unless_it_brings_one(store):
    store.put_case(case(1))
    store.change_case(case(1).id, lambda row: replace(row, bundle=b"zip", colour="green", judged=NOW))
    changed = store.change_case(case(1).id, lambda row: replace(row, status="judged", document=b'{"n":1}'))
    assert changed == case(1, colour="green", judged=NOW, status="judged", document=b'{"n":1}')
    assert (store.case(case(1).id), store.case_bundle(case(1).id)) == (changed, b"zip")


@pytest.mark.parametrize("name", ["id", "digest"])
def test_what_a_case_is_of_never_changes(store, name):
    store.put_case(case(1))
    with pytest.raises(ConflictError, match=r"store\.conflict"):
        store.change_case(case(1).id, lambda row: replace(row, **{name: b"\x09" * 32}))
    assert store.case(case(1).id) == case(1)


def test_what_a_change_refuses_is_not_kept(store):
    store.put_case(case(1))

    def refuse(_row: CaseRow) -> CaseRow:
        raise ConflictError("case.state")

    with pytest.raises(ConflictError, match=r"case\.state"):
        store.change_case(case(1).id, refuse)
    assert store.case(case(1).id) == case(1)


def test_cases_are_listed_by_state_colour_hospital_and_the_beginning_of_the_number(store):
    store.put_case(case(1, colour="green", status="judged"))
    store.put_case(case(2, colour="red", status="judged", hospital="tongji-hospital"))
    store.put_case(case(3, number="TH_2025"))
    assert listed(store, statuses=("judged",)) == [2, 1]
    assert listed(store, colours=("red", "")) == [3, 2]
    assert listed(store, hospital="tongji-hospital") == [2]
    assert listed(store, number="AX2025") == [2, 1]
    # No sign of a pattern is one here.
    assert listed(store, number="AX%") == []


def test_cases_are_sorted_and_come_page_by_page(store):
    for number, amount in ((1, 50), (2, None), (3, 20)):
        store.put_case(case(number, amount=amount))
    assert listed(store, order="amount") == [2, 3, 1]
    assert listed(store, order="-amount") == [1, 3, 2]
    assert listed(store, order="number") == [1, 2, 3]
    # Nothing but a name of a column that is offered gets into the statement.
    assert listed(store, order="-document") == [3, 2, 1]
    rows, total = store.cases(CaseFilter(), 1, offset=1)
    assert ([row.id[0] for row in rows], total) == ([2], 3)


def waiting(store, limit: int = 10) -> dict[int, int]:
    return {row.id[0]: changes for row, changes in store.unrecorded_cases(limit)}


def test_what_was_changed_since_it_was_recorded_is_still_to_be(store):
    store.put_case(case(1))
    store.put_case(case(2))
    assert waiting(store) == {1: 1, 2: 1}
    store.note_case_recorded(case(2).id, 1)
    store.change_case(case(1).id, lambda row: replace(row, status="judged"))
    # What was written meanwhile is of an earlier state, and does not count for the later one.
    store.note_case_recorded(case(1).id, 1)
    assert waiting(store) == {1: 2}
    assert [row.status for row, _ in store.unrecorded_cases(1)] == ["judged"]
    store.note_case_recorded(case(1).id, 2)
    assert waiting(store) == {}


def test_of_a_case_that_is_gone_nothing_is_left_to_record(store):
    for number in (1, 2):
        store.put_case(case(number, patient=f"token-{number}"))
    store.drop_case(case(1).id)
    store.drop_cases("token-2")
    with store.database.read("unrecorded_case") as connection:
        assert connection.execute(select(unrecorded_case)).all() == []


def test_one_case_is_destroyed_alone(store):
    store.put_case(case(1))
    store.put_case(case(2))
    store.drop_case(case(1).id)
    assert listed(store) == [2]
    with pytest.raises(NotFoundError, match=r"case\.unknown"):
        store.drop_case(case(1).id)


def test_an_erasure_destroys_the_cases_of_the_patient_alone(store):
    store.put_case(case(1))
    store.put_case(case(2, patient="token-2"))
    assert store.drop_cases("token-1") == 1
    assert listed(store) == [2]


def test_an_erasure_destroys_received_proofs_of_the_patients_claims_and_no_other(store):
    store.put_case(case(1))
    store.put_case(case(2, patient="token-2"))
    for number, claim in ((1, case(1).digest), (2, case(2).digest), (3, None), (4, b"\x09" * 32)):
        store.put_proof(
            ReceivedProof(bytes([number]) * 32, "Practitioner/a", NOW, "claim", "red", "", b"zip", claim=claim)
        )
    store.drop_cases("token-1")
    assert sorted(one.id[0] for one in store.proofs(NOW)) == [2, 3, 4]


def test_texts_fit_their_columns(store):
    longest = {one.name: "x" * one.type.length for one in claim_case.columns if isinstance(one.type, String)}
    store.put_case(case(1, **longest))
    assert store.case(case(1).id) == case(1, **longest)


def test_a_file_of_before_gets_the_table(tmp_path):
    with closing(RecordStore(open_database(tmp_path / "r.db", b"\x05" * 32, kind=FileKind.RECORDS))) as made:
        set_back(made.database, 32)
    with closing(RecordStore(open_database(tmp_path / "r.db", b"\x05" * 32, kind=FileKind.RECORDS))) as again:
        again.put_case(case(1))
        assert listed(again) == [1]
