"""Refusals are counted, those that bound guessing apart from all others (docs/spec/release.md, 8)."""

from __future__ import annotations

from contextlib import closing
from types import SimpleNamespace

from medchain.node.emergency_release import NOTHING_GIVEN
from medchain.node.refusing import note_refusal
from medchain.node.release_ports import Refused
from medchain.store.engine import FileKind, open_database
from medchain.store.records import RecordStore
from medchain.store.watching import MAX_REASONS

NOW = 1_796_083_200


def test_attack_who_is_refused_for_many_reasons_first_guesses_no_more_than_others(tmp_path):
    database = open_database(tmp_path / "records.db", b"\x05" * 32, kind=FileKind.RECORDS)
    with closing(RecordStore(database)) as records:
        for number in range(MAX_REASONS):
            records.count_refusal("tongji", f"release.reason_{number}", NOW)
        parts = SimpleNamespace(records=records, clock=lambda: NOW, refused=lambda _refused: None)
        for code in ("emergency.patient", "release.no_record"):
            note_refusal(parts, Refused(code.encode(), "tongji", "", code), NOTHING_GIVEN)
        note_refusal(parts, Refused(b"", "tongji", "", "release.time"))
        counts = {row.reason: row.count for row in records.refusals()}
    assert (counts[NOTHING_GIVEN], counts["other"]) == (2, 1)
