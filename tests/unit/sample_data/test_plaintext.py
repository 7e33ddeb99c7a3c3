"""The needles: everything said about a patient, nothing that is public."""

import base64
import re

import pytest

import sample_data
from tests.unit.sample_data import r4

PUBLIC = (
    "仁和医院",
    "滨海第二医院",
    "安心健康保险",
    "泰和保险",
    "市卫生健康委员会",
    "Renhe Hospital",
    "Anxin Health Insurance",
)


def needles(*resources: dict[str, object]) -> set[str]:
    return sample_data.needles({"resourceType": "Bundle", "entry": [{"resource": each} for each in resources]})


def test_who_the_patient_is_is_found():
    patient = {
        "resourceType": "Patient",
        "id": "b1e0",
        "identifier": [{"system": "urn:oid:1.2.3", "value": "RH100037"}],
        "name": [{"use": "official", "text": "王晓明", "family": "王", "given": ["晓明"]}],
        "telecom": [{"system": "phone", "value": "+86-600-0123-4567", "use": "mobile"}],
        "gender": "male",
        "birthDate": "1969-03-02",
        "deceasedDateTime": "2025-05-05T01:00:00+08:00",
        "address": [{"text": "江州省云岚市枫林路1号", "line": ["枫林路1号"], "city": "云岚市", "country": "CN"}],
        "contact": [{"name": {"text": "李红梅"}, "telecom": [{"system": "email", "value": "hm@mail.example"}]}],
    }
    assert needles(patient) == {
        "RH100037", "王晓明", "晓明", "+86-600-0123-4567", "1969-03-02", "2025-05-05T01:00:00+08:00",
        "江州省云岚市枫林路1号", "枫林路1号", "云岚市", "李红梅", "hm@mail.example",
    }  # fmt: skip


def test_what_is_said_about_the_patient_is_found():
    condition = {
        "resourceType": "Condition",
        "clinicalStatus": {"coding": [{"system": "http://e.example/clinical", "code": "active"}]},
        "code": {"coding": [{"system": "http://e.example", "code": "F32", "display": "中度抑郁发作"}], "text": "抑郁"},
        "subject": {"reference": "urn:uuid:b1e0", "display": "王晓明"},
        "onsetDateTime": "2024-01-01",
        "onsetString": "少年起病",
        "recorder": {"reference": "Practitioner?identifier=urn:x|RH-D001", "display": "陈立新"},
        "note": [{"text": '第一行\n第二行说"引号"'}],
        "extension": [{"url": "https://e.example/x", "valueString": "自由文本"}],
    }  # fmt: skip
    assert needles(condition) == {
        "中度抑郁发作", "抑郁", "王晓明", "少年起病", "陈立新", "第一行", "第二行说", "引号", "自由文本"
    }  # fmt: skip


def test_narrative_is_cut_at_its_tags_and_unescaped():
    div = '<div xmlns="http://www.w3.org/1999/xhtml"><p>男，56岁</p><p>血压 &lt; 140 &amp; 稳定</p></div>'
    assert needles({"resourceType": "Encounter", "text": {"status": "generated", "div": div}}) == {
        "男，56岁",
        "血压 < 140 & 稳定",
    }


def test_attached_text_is_found_decoded_and_encoded():
    data = base64.b64encode("出院小结\n病情好转".encode()).decode()
    attachment = {"contentType": "text/plain", "data": data, "title": "小结"}
    found = needles({"resourceType": "DocumentReference", "content": [{"attachment": attachment}]})
    assert found == {data, "出院小结", "病情好转", "小结"}


@pytest.mark.parametrize("data", ["/9j/4AAQ", "not base64"])
def test_an_attachment_that_is_no_text_is_only_found_encoded(data):
    assert needles({"resourceType": "Media", "content": {"contentType": "image/jpeg", "data": data}}) == {data}


def test_a_bare_day_is_no_needle_unless_it_is_a_day_of_birth():
    note = {"resourceType": "Basic", "valueString": "2024-05-06\n2024-05-06 复诊"}
    assert needles(note) == {"2024-05-06 复诊"}
    assert needles({"resourceType": "Patient", "birthDate": "2024-05-06"}) == {"2024-05-06"}


def test_less_than_four_bytes_is_no_needle():
    assert needles({"resourceType": "Patient", "name": [{"family": "李", "given": ["Al", "Bo C", "梅a"]}]}) == {
        "Bo C",
        "梅a",
    }


def test_the_directory_is_public_but_a_patients_own_device_is_not():
    device = {"resourceType": "Device", "deviceName": [{"name": "心脏起搏器", "type": "other"}]}
    found = needles(
        {"resourceType": "Organization", "name": "某某医院"},
        {"resourceType": "Practitioner", "name": [{"text": "陈立新"}]},
        {"resourceType": "Location", "name": "门诊楼"},
        device,
    )
    assert found == set()
    assert needles({**device, "patient": {"reference": "urn:uuid:1"}}) == {"心脏起搏器"}


def test_names_of_the_consortium_are_public_wherever_they_stand():
    claim = {
        "resourceType": "Claim",
        "insurer": {
            "reference": "Organization?identifier=a|b",
            "display": "安心健康保险",
            "identifier": {"value": "99010001"},
        },
        "item": [{"productOrService": {"text": "滨海第二医院"}}],
    }
    assert needles(claim) == set()


def test_a_word_that_is_a_resource_type_of_the_bundle_is_public():
    team = {"resourceType": "CareTeam", "participant": [{"role": [{"text": "Patient"}]}], "name": "Team A"}
    assert needles(team, {"resourceType": "Patient"}) == {"Team A"}


def test_an_entry_without_a_resource_has_none():
    assert (
        sample_data.needles(
            {"resourceType": "Bundle", "entry": [{"request": {"method": "DELETE", "url": "Patient/1"}}]}
        )
        == set()
    )
    assert sample_data.needles({"resourceType": "Bundle"}) == set()


def test_no_text_of_our_own_bundles_is_forgotten():
    """HL7's definitions say which elements are texts; each of those must be a needle or public."""
    vocabulary = {"Quantity.unit", "Reference.reference"}
    missed = set()
    for _, bundle in sample_data.load():
        found = sample_data.needles(bundle)
        for entry in bundle["entry"]:
            if entry["resource"]["resourceType"] in {
                "Organization",
                "Practitioner",
                "PractitionerRole",
                "Location",
                "Device",
            }:
                continue
            for kind, path, value in r4.primitives(entry["resource"]):
                if kind in {"string", "markdown"} and path not in vocabulary and len(value.encode()) >= 4:
                    missed |= {(path, line) for line in value.splitlines() if line not in found}
    # Places, devices and organisations are referred to by their public names.
    assert {path for path, _ in missed} <= {"Reference.display", "Identifier.value"}
    public = {text for path, text in missed if path == "Reference.display"}
    assert public <= {
        *PUBLIC,
        "门诊楼",
        "住院楼",
        "急诊中心",
        "检验中心",
        "影像中心",
        "全自动生化分析仪",
        "全自动血液细胞分析仪",
    }
    assert {text for path, text in missed if path == "Identifier.value"} == {
        "99010001",
        "99010002",
        "renhe-hospital",
        "binhai-hospital",
    }


def test_no_needle_of_our_own_bundles_is_vocabulary():
    for _, bundle in sample_data.load():
        for needle in sample_data.needles(bundle):
            assert not re.fullmatch(r"https?://\S+|urn:\S+|[a-z]{4,5}|[a-z-]{7,}|\d{4}-\d\d-\d\dT\S+", needle), needle
            assert all(needle not in public for public in PUBLIC)


def test_there_are_thousands_and_none_is_so_short_that_chance_would_find_it():
    found = set().union(*(sample_data.needles(bundle) for _, bundle in sample_data.load()))
    assert len(found) > 3000
    assert min(len(needle.encode()) for needle in found) >= 5
