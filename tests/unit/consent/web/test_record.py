"""The patient's own record by visit and by kind, page by page; and the attacks on that."""

from __future__ import annotations

import json
import re
from urllib.parse import urlsplit

import pytest

from fhir_bridge import patient_records
from fhir_bridge.browse.reading import Reading
from medchain.node.records import NewRecord
from tests.unit.consent.web.test_pages import condition, english, records

SCANS = 2


def visit(patient: str, number: int, day: str = "2026-10-01") -> dict:
    return {
        "resourceType": "Encounter",
        "id": f"{patient}-e{number}",
        "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB", "display": "门诊"},
        "type": [{"text": f"门诊{number}"}],
        "subject": {"reference": f"Patient/{patient}"},
        "period": {"start": f"{day}T09:00:00+08:00", "end": f"{day}T10:00:00+08:00"},
    }


def of_visit(patient: str, number: int, place: str) -> dict:
    return {
        "resourceType": "Observation",
        "id": f"{patient}-v{number}",
        "status": "final",
        "code": {"text": f"血压{number}"},
        "subject": {"reference": f"Patient/{patient}"},
        "encounter": {"reference": place},
        "effectiveDateTime": "2026-10-01",
    }


def document(patient: str, place: str) -> dict:
    """Give a record that names its visit elsewhere than most do."""
    return {
        "resourceType": "DocumentReference",
        "id": f"{patient}-d1",
        "status": "current",
        "description": "出院小结",
        "subject": {"reference": f"Patient/{patient}"},
        "content": [{"attachment": {"contentType": "text/plain"}}],
        "context": {"encounter": [{"reference": place}]},
    }


def by_kind(browser) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", browser.text("/my/record?by=kind&lang=en")))


def listed(browser, path: str) -> list[str]:
    """List the records to which a page leads, in its order."""
    return re.findall(r'<li class="mc-line"><a href="/my/record/(\w+/[\w.-]+)"', browser.text(path))


def next_of(browser, path: str) -> str:
    """Find where a page goes on; empty where it does not."""
    found = re.search(r'<a href="([^"]+)" rel="next"', browser.text(path))
    return "" if found is None else found[1]


def test_the_record_is_shown_by_visit_and_what_has_none_in_a_group_of_its_own(world):
    place = "Encounter/visits-e1"
    records(
        world,
        "visits",
        visit("visits", 1),
        visit("visits", 2, "2026-10-09"),
        of_visit("visits", 1, place),
        document("visits", place),
        condition("visits", 1),
    )
    browser = world.patient("visits")
    assert listed(browser, "/my/record") == ["Encounter/visits-e2", "Encounter/visits-e1", "Patient/visits"]
    page = english(browser, "/my/record")
    assert "门诊1" in page
    assert "registered" in page
    assert "See the records without a visit" in page
    assert listed(browser, f"/my/record/{place}") == ["Observation/visits-v1", "DocumentReference/visits-d1"]
    one = english(browser, f"/my/record/{place}")
    assert re.search(r"Records of this visit Tests and measurements 血压1 .* Documents 出院小结", one)
    assert "unaltered since it was registered" in one
    assert "Hide this visit and all its records from other organisations" in one
    assert "No records are filed under this visit" in english(browser, "/my/record/Encounter/visits-e2")
    outside = listed(browser, "/my/record/outside")
    assert outside == ["Observation/visits-o1", "Condition/visits-c1"]


def titles(browser, path: str) -> list[str]:
    """List what the records of a page are called, in its order."""
    return re.findall(r'<li class="mc-line"><a href="/my/record/[\w/.-]+">([^<]+)</a>', browser.text(path))


def test_a_visit_is_called_by_its_department_as_far_as_the_record_says_it(world):
    """R4 Encounter: serviceType, serviceProvider, location; what only refers is named by what it refers to."""
    world.server.service.create(
        NewRecord(
            "Organization",
            "heart",
            b'{"resourceType":"Organization","id":"heart","name":"\xe5\xbf\x83\xe5\x86\x85\xe7\xa7\x91"}',
            "",
        )
    )
    service = {"serviceType": {"text": "心内科"}}
    provider = {"serviceProvider": {"reference": "Organization/heart", "display": "仁和医院"}}
    place = {"location": [{"location": {"reference": "Location/l1", "display": "三号楼"}}]}
    more = (
        {},
        service,
        service | provider | place,
        {"serviceProvider": {"reference": "Organization/heart"}},
        {"serviceType": {"coding": [{"code": "165", "display": "心内科"}]}, "serviceProvider": {"display": "心内科"}},
        {
            "serviceProvider": {"reference": "Organization/no-such"},
            "location": [{"location": {"identifier": {"value": "x"}}}],
        },
    )
    rows = [visit("called", number, f"2026-10-0{number + 1}") | one for number, one in enumerate(more)]
    records(world, "called", *rows)
    browser = world.patient("called")
    assert titles(browser, "/my/record") == [
        "门诊5",
        "门诊4 · 心内科",
        "门诊3 · 心内科",
        "门诊2 · 心内科 · 仁和医院 · 三号楼",
        "门诊1 · 心内科",
        "门诊0",
        "王called",
    ]
    assert "门诊1 · 心内科" in english(browser, "/my/record/Encounter/called-e1")


def test_a_record_of_a_visit_that_is_not_here_is_among_those_without_one(world):
    elsewhere = {"reference": "https://other.example/fhir/Encounter/e9"}
    records(
        world,
        "strays",
        visit("strays", 1),
        of_visit("strays", 1, "Encounter/no-such"),
        {**of_visit("strays", 2, ""), "encounter": elsewhere},
        of_visit("strays", 3, "Encounter/strays-e1"),
    )
    outside = listed(world.patient("strays"), "/my/record/outside")
    assert set(outside) == {"Observation/strays-o1", "Observation/strays-v1", "Observation/strays-v2"}


def test_who_has_no_visits_sees_all_that_there_is_at_once(world):
    records(world, "novisits", condition("novisits", 1))
    browser = world.patient("novisits")
    assert "No visits of yours are recorded here" in english(browser, "/my/record")
    assert set(listed(browser, "/my/record")) == {
        "Patient/novisits",
        "Observation/novisits-o1",
        "Condition/novisits-c1",
    }


def test_by_kind_each_kind_says_how_many_and_has_a_page(world):
    place = "Encounter/kinds-e1"
    records(world, "kinds", visit("kinds", 1), of_visit("kinds", 1, place), condition("kinds", 1))
    browser = world.patient("kinds")
    page = by_kind(browser)
    assert re.search(
        r"Visits 1 record Diagnoses 1 record Tests and measurements 2 records Personal details 1 record", page
    )
    assert "Medicines" not in page
    assert listed(browser, "/my/record/kinds/tests") == ["Observation/kinds-o1", "Observation/kinds-v1"]
    assert listed(browser, "/my/record/kinds/other") == []
    one = english(browser, "/my/record/Observation/kinds-o1")
    assert "unaltered since it was registered" in one
    assert browser.get("/my/record/Observation/kinds-o1/proof").status_code == 200


@pytest.mark.parametrize("path", ["kinds/no-such", "kinds/Observation", "kinds/"])
def test_what_is_no_kind_has_no_page(world, path):
    if "kinds" not in world.subjects:
        records(world, "kinds")
    assert world.patient("kinds").get(f"/my/record/{path}").status_code == 404


def test_a_consent_of_the_ledger_is_counted_among_no_kind(world):
    records(world, "permits")
    browser = world.patient("permits")
    world.give(browser, world.ask("permits"))
    assert "Other records" not in by_kind(browser)


def test_a_record_is_called_by_words_and_its_codes_stand_apart(world):
    """So are the elements of a record: by words in both languages."""
    code = {"coding": [{"code": "85354-9", "system": "http://loinc.org", "display": "血压"}]}
    records(world, "coded", visit("coded", 1), of_visit("coded", 1, "Encounter/coded-e1") | {"code": code})
    browser = world.patient("coded")
    assert titles(browser, "/my/record/Encounter/coded-e1") == ["血压"]
    page = browser.text("/my/record/Observation/coded-v1?lang=en")
    assert '<td class="nhsuk-table__cell mc-mono">血压<br><span class="mc-small">85354-9</span></td>' in page
    assert ">Effective date time</th>" in page
    assert "85354-9" not in page.partition("<details")[0]


def said(browser, path: str, language: str) -> str:
    """Give the text of a page's lists."""
    rows = re.findall(r'<li class="mc-line">.*?</li>', browser.text(f"{path}?lang={language}"), re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", " ".join(rows)))


def test_a_list_says_what_was_measured_and_when_as_the_reader_writes_it(world):
    """LOINC 85354-9 with 8480-6 and 8462-4, as HL7's example of the vital signs profile has them."""
    parts = [
        {
            "code": {"coding": [{"system": "http://loinc.org", "code": code}], "text": name},
            "valueQuantity": {"value": value, "unit": "mmHg", "system": "http://unitsofmeasure.org", "code": "mm[Hg]"},
        }
        for code, name, value in (("8480-6", "收缩压", 120), ("8462-4", "舒张压", 80))
    ]
    pressure = {
        "code": {"coding": [{"system": "http://loinc.org", "code": "85354-9"}], "text": "血压"},
        "component": parts,
        "effectiveDateTime": "2026-10-01T23:30:00Z",
    }
    records(world, "pressed", of_visit("pressed", 1, "Encounter/no-such") | pressure)
    browser = world.patient("pressed")
    assert "血压：120/80 mmHg 2026年10月1日" in said(browser, "/my/record/kinds/tests", "zh")
    assert "血压: 120/80 mmHg 1 Oct 2026" in said(browser, "/my/record/kinds/tests", "en")
    assert "1 Oct 2026, 23:30 UTC" in english(browser, "/my/record/Observation/pressed-v1")


def test_a_persons_date_is_called_that_of_the_birth(world):
    records(world, "born", {"resourceType": "RelatedPerson", "id": "born-r1", "patient": {"reference": "Patient/born"}})
    row = {"resourceType": "Patient", "id": "born", "name": [{"text": "王born"}], "birthDate": "1980-01-02"}
    content = json.dumps(row, ensure_ascii=False).encode()
    world.server.service.update(NewRecord("Patient", "born", content, "born"))
    browser = world.patient("born")
    assert "王born born 2 Jan 1980" in said(browser, "/my/record/kinds/person", "en")
    assert "王born 1980年1月2日出生" in said(browser, "/my/record", "zh")
    assert "Date of birth 2 Jan 1980" in english(browser, "/my/record/Patient/born")
    # What has no words of its own is called by its kind.
    assert "Personal details" in said(browser, "/my/record/kinds/person", "en")


def test_who_a_record_names_by_reference_alone_is_named(world):
    world.server.service.create(
        NewRecord(
            "Practitioner", "named-d1", b'{"resourceType":"Practitioner","id":"named-d1","name":[{"text":"Dr Li"}]}', ""
        )
    )
    named = {"performer": [{"reference": "Practitioner/named-d1"}, {"reference": "Practitioner/no-such"}]}
    records(world, "refers", of_visit("refers", 1, "Encounter/no-such") | named)
    page = english(world.patient("refers"), "/my/record/Observation/refers-v1")
    assert "Performer Dr Li Performer Practitioner/no-such" in page
    assert "Subject 王refers" in page


def test_a_changed_record_says_which_version_it_is(world):
    records(world, "changed", visit("changed", 1))
    service = world.server.service
    row = visit("changed", 1) | {"meta": {"versionId": "2"}, "status": "in-progress"}
    content = json.dumps(row, ensure_ascii=False).encode()
    service.update(NewRecord("Encounter", "changed-e1", content, "changed"))
    assert "version 2" in english(world.patient("changed"), "/my/record")


def walked(browser, path: str) -> list[list[str]]:
    """Follow the pages of a list to its end."""
    found = []
    while path:
        found.append(listed(browser, path))
        path = next_of(browser, path)
    return found


def flat(found: list[list[str]]) -> list[str]:
    return [one for page in found for one in page]


def test_pages_follow_each_other_and_none_is_left_out_or_shown_twice(world, monkeypatch):
    days = [f"2026-09-{day:02}" for day in range(1, 8)]
    rows = [visit("many", number, day) for number, day in enumerate(days)]
    rows += [of_visit("many", number, "Encounter/many-e0") for number in range(5)]
    rows += [condition("many", number) for number in range(6)]
    records(world, "many", *rows)
    monkeypatch.setattr(patient_records, "_VISITS", 3)
    monkeypatch.setattr(patient_records, "_LISTED", 2)
    monkeypatch.setattr(patient_records, "_SCANNED", 2)
    monkeypatch.setattr(patient_records, "_SCANS", 2)
    browser = world.patient("many")
    pages_of_visits = walked(browser, "/my/record")
    # What is recorded of the person stands on the first page.
    assert pages_of_visits[0].pop() == "Patient/many"
    assert [len(page) for page in pages_of_visits] == [3, 3, 1]
    assert flat(pages_of_visits) == [f"Encounter/many-e{number}" for number in reversed(range(7))]
    within = walked(browser, "/my/record/Encounter/many-e0")
    assert sorted(flat(within)) == [f"Observation/many-v{number}" for number in range(5)]
    assert len(within) == 3
    outside = walked(browser, "/my/record/outside")
    # Of the newest records all belong to the visit: such a page says so, and goes on.
    assert sorted(flat(outside)) == sorted(
        ["Observation/many-o1", *(f"Condition/many-c{number}" for number in range(6))]
    )
    kinds = walked(browser, "/my/record/kinds/diagnoses")
    assert [len(page) for page in kinds] == [2, 2, 2]
    second = next_of(browser, "/my/record")
    assert 'href="/my/record">Back to the newest' in browser.text(f"{second}&lang=en")


def test_a_page_without_any_goes_on_to_earlier_ones(world, monkeypatch):
    records(world, "sparse", visit("sparse", 1))
    world.desks.federation.time += 1
    for row in (of_visit("sparse", one, "Encounter/sparse-e1") for one in range(4)):
        content = json.dumps(row, ensure_ascii=False).encode()
        world.server.service.create(NewRecord("Observation", row["id"], content, "sparse"))
    monkeypatch.setattr(patient_records, "_SCANNED", 2)
    monkeypatch.setattr(patient_records, "_SCANS", 1)
    browser = world.patient("sparse")
    assert "None among these. Go on to earlier ones." in english(browser, "/my/record/outside")
    assert set(flat(walked(browser, "/my/record/outside"))) == {"Observation/sparse-o1"}


@pytest.mark.parametrize("path", ["/my/record", "/my/record/outside", "/my/record/kinds/tests"])
def test_what_a_page_asks_for_does_not_grow_with_the_record(world, monkeypatch, path):
    few, more = "few" + path.rpartition("/")[2], "more" + path.rpartition("/")[2]
    records(world, few, visit(few, 0), of_visit(few, 0, f"Encounter/{few}-e0"))
    rows = [of_visit(more, number, f"Encounter/{more}-e{number % 4}") for number in range(40)]
    records(world, more, *(visit(more, number) for number in range(4)), *rows)
    monkeypatch.setattr(patient_records, "_VISITS", 2)
    monkeypatch.setattr(patient_records, "_LISTED", 2)
    monkeypatch.setattr(patient_records, "_SCANNED", 2)
    monkeypatch.setattr(patient_records, "_SCANS", SCANS)
    asked: list[str] = []
    get = Reading.get

    def counted(self, place, query="", **how: bool):
        asked.append(place)
        return get(self, place, query, **how)

    monkeypatch.setattr(Reading, "get", counted)
    lengths = []
    for name in (few, more):
        browser = world.patient(name)
        asked.clear()
        browser.text(path)
        lengths.append(len(asked))
    assert lengths[1] <= lengths[0] + 2 * SCANS


def test_a_hidden_visit_hides_what_belongs_to_it_and_says_so_in_each_list(world):
    place = "Encounter/hidden-e1"
    records(world, "hidden", visit("hidden", 1), of_visit("hidden", 1, place), condition("hidden", 1))
    browser = world.patient("hidden")
    page = english(browser, f"/my/record/{place}/hide")
    assert "Hide a visit from other organisations" in page
    assert "Hidden with it: one record that refers to it 血压1" in page
    assert browser.step(f"/my/record/{place}/hide").status_code == 200
    for path, count in (("", 1), (f"/{place}", 2), ("/kinds/tests", 1), ("/outside", 0)):
        assert browser.text(f"/my/record{path}?lang=en").count(">hidden<") == count


def test_a_visit_is_taken_along_with_what_belongs_to_it(world, monkeypatch):
    place = "Encounter/takes-e1"
    rows = [of_visit("takes", number, place) for number in range(3)]
    records(world, "takes", visit("takes", 1), *rows, condition("takes", 1))
    browser = world.patient("takes")

    def kinds() -> list[str]:
        answer = browser.get(f"/my/record/{place}/bundle")
        assert (answer.status_code, answer.mimetype) == (200, "application/fhir+json")
        return [one["resource"]["resourceType"] for one in json.loads(answer.data)["entry"]]

    assert [one for one in kinds() if one != "Provenance"] == ["Encounter", *["Observation"] * 3]
    assert kinds().count("Provenance") == 4
    monkeypatch.setattr(patient_records, "_NAMED", 1)
    assert [one for one in kinds() if one != "Provenance"] == ["Encounter", *["Observation"] * 3]


def test_attack_another_patients_visit_shows_nothing_of_it(world):
    records(world, "theirs", visit("theirs", 1), of_visit("theirs", 1, "Encounter/theirs-e1"))
    browser = world.patient("intruder")
    for path in ("", "/bundle", "/hide"):
        assert browser.get(f"/my/record/Encounter/theirs-e1{path}").status_code == 404


def test_attack_the_next_page_of_another_patients_record_shows_nothing_of_it(world, monkeypatch):
    monkeypatch.setattr(patient_records, "_VISITS", 1)
    monkeypatch.setattr(patient_records, "_LISTED", 1)
    records(world, "owner", *(visit("owner", number) for number in range(3)), condition("owner", 1))
    records(world, "reader", visit("reader", 1))
    owner, reader = world.patient("owner"), world.patient("reader")
    for path in ("/my/record", "/my/record/kinds/visits", "/my/record/kinds/tests"):
        place = next_of(owner, path)
        if place:
            assert not {one for one in listed(reader, place) if "owner" in one}
            assert "owner" not in urlsplit(place).query


@pytest.mark.parametrize("begin", ["x", "A" * 400, "%00", "../.."])
def test_a_next_page_that_this_node_has_not_given_out_is_not_there(world, begin):
    if "seeks" not in world.subjects:
        records(world, "seeks")
    browser = world.patient("seeks")
    for path in ("", "/outside", "/kinds/tests"):
        assert browser.get(f"/my/record{path}?from={begin}").status_code == 404
