"""What a claim says, read to the letter: whose, how much, which records of which hospital it cites."""

from __future__ import annotations

from hashlib import sha256

import pytest

from medchain.claims.claim_file import MAX_CITED, patients_of, read_claim, read_policy
from medchain.errors import InputError
from medchain.ledger.evidence.document import MAX_CLAIM_BYTES, InsurancePolicy
from medchain.ledger.invoice import Amount
from tests.unit.medchain.claims.filed import CITED, ELSEWHERE, SYSTEM, claim, content
from tests.unit.medchain.claims.questions import members
from tests.unit.medchain.ledger.world import RENHE, TONGJI

MEMBERS = members()


def read(hospital: str = "", **changes: object):
    return read_claim(content(**changes), MEMBERS, hospital)


def test_a_claim_is_read():
    made = read()
    assert (made.number, made.patient, made.hospital) == ("AX202509250016664", "Patient/p17", RENHE)
    assert (made.amount, made.cited, made.outside) == (Amount(842280, "CNY"), {RENHE: CITED}, ())


def test_its_digest_is_of_the_very_bytes_under_their_own_tag():
    data = content()
    tag = b"medchain/insurer-claim/v1"
    fields = b"".join(len(one).to_bytes(8, "big") + one for one in (tag, data))
    assert read().digest == sha256(fields).digest()
    assert read_claim(data + b"\n", MEMBERS).digest != read().digest


def test_records_of_another_member_are_told_apart_by_its_address():
    info = [*claim()["supportingInfo"], {"sequence": 3, "category": {"text": "x"}, "valueReference": ELSEWHERE}]
    assert read(supportingInfo=info).cited == {RENHE: CITED, TONGJI: ("Observation/o9",)}


def test_a_version_of_a_record_is_that_record():
    reference = {"reference": f"https://{RENHE}.example/fhir/Condition/d1/_history/2"}
    assert read(diagnosis=[{"sequence": 1, "diagnosisReference": reference}]).cited == {RENHE: CITED}


@pytest.mark.parametrize("base", ["https://nobody.example/fhir", f"https://{RENHE}.example.evil.test/fhir"])
def test_records_of_no_member_are_outside(base):
    reference = {"reference": f"{base}/Condition/d7"}
    made = read(diagnosis=[{"sequence": 1, "diagnosisReference": reference}])
    assert made.outside == (f"{base}/Condition/d7",)
    assert "Condition/d7" not in made.cited[RENHE]


def test_records_at_an_address_that_a_member_had_before_are_its_own():
    data = content(referral={"reference": "https://old.example/fhir/ServiceRequest/s1"})
    found = read_claim(
        data, MEMBERS, earlier=lambda: {"https://old.example": TONGJI, f"https://{RENHE}.example": TONGJI}
    )
    assert found.cited == {RENHE: CITED, TONGJI: ("ServiceRequest/s1",)}
    assert read_claim(data, MEMBERS).outside == ("https://old.example/fhir/ServiceRequest/s1",)


def test_who_had_an_address_before_is_asked_only_where_nobody_lists_it():
    def asked() -> dict[str, str]:
        raise AssertionError

    assert read_claim(content(), MEMBERS, earlier=asked).cited == {RENHE: CITED}


def test_what_is_contained_and_who_is_named_is_no_evidence():
    team = [{"sequence": number, "provider": {"reference": one}} for number, one in enumerate(("Practitioner/d", "#x"))]
    made = read(careTeam=team)
    assert made.cited == {RENHE: CITED}


def test_relative_references_of_a_claim_whose_provider_is_not_known_are_outside():
    made = read(provider={"reference": "Organization/1"})
    assert (made.hospital, made.cited) == ("", {})
    assert set(made.outside) == set(CITED)
    assert read(RENHE, provider={"reference": "Organization/1"}).cited == {RENHE: CITED}


@pytest.mark.parametrize(
    "provider",
    [
        {"identifier": {"system": SYSTEM, "value": TONGJI}},
        {"reference": "Organization/o1", "identifier": {"system": SYSTEM, "value": TONGJI}},
    ],
)
def test_the_provider_is_known_by_its_identifier(provider):
    assert read(provider=provider).hospital == TONGJI


def test_of_a_claim_that_cites_one_hospital_alone_that_is_the_provider():
    info = [{"sequence": 1, "category": {"text": "x"}, "valueReference": ELSEWHERE}]
    changes = dict.fromkeys(("diagnosis", "procedure", "provider", "item"))
    made = read(supportingInfo=info, **changes)
    assert (made.hospital, made.cited) == (TONGJI, {TONGJI: ("Observation/o9",)})


def test_whose_patient_a_reference_names_says_its_address():
    references = ["Patient/a", f"https://{TONGJI}.example/fhir/Patient/b", "https://nobody.example/fhir/Patient/c", ""]
    assert patients_of(references, MEMBERS, RENHE) == {RENHE: "a", TONGJI: "b"}
    assert patients_of(references, MEMBERS) == {TONGJI: "b"}
    assert patients_of(["Observation/a"], MEMBERS, RENHE) == {}


def test_a_provider_that_is_no_member_is_none_and_one_that_is_named_must_be_one():
    assert read(provider={"identifier": {"system": SYSTEM, "value": "nobody"}}).hospital == ""
    with pytest.raises(InputError, match=r"case\.claim"):
        read("nobody")


def test_an_explanation_of_benefit_tells_what_was_submitted():
    code = {"system": "http://terminology.hl7.org/CodeSystem/adjudication", "code": "submitted"}
    total = [
        {"category": {"coding": [{"code": "benefit"}]}, "amount": {"value": 5, "currency": "CNY"}},
        {"category": {"coding": [code]}, "amount": {"value": 80.50, "currency": "CNY"}},
    ]
    made = read(resourceType="ExplanationOfBenefit", total=total)
    assert made.amount == Amount(8050, "CNY")


@pytest.mark.parametrize("total", [None, {"value": "80"}, {"value": -3}, {"value": 1.005}, {"currency": "CNY"}])
def test_an_amount_that_is_none_is_not_guessed(total):
    assert read(total=total, item=None).amount is None


def test_a_number_is_read_as_it_is_written():
    data = content().replace(b'"total": {"value": 8422.8,', b'"total": {"value": 0.29,')
    assert read_claim(data, MEMBERS).amount == Amount(29, "CNY")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b'{"resourceType":"Patient"}',
        b'{"resourceType":"Claim","total":NaN}',
        b'{"resourceType":"Claim","resourceType":"Claim"}',
        b'{"resourceType":"Claim","a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"resourceType":"Claim","text":"' + b"x" * MAX_CLAIM_BYTES + b'"}',
    ],
)
def test_what_is_no_claim_is_refused(data):
    with pytest.raises(InputError, match=r"case\.claim"):
        read_claim(data, MEMBERS)


def test_a_claim_that_cites_too_many_records_is_refused():
    info = [{"valueReference": {"reference": f"Observation/o{number}"}} for number in range(MAX_CITED)]
    assert len(read(supportingInfo=info[:-4]).cited[RENHE]) <= MAX_CITED
    with pytest.raises(InputError, match=r"case\.claim"):
        read(supportingInfo=info)


def test_a_policy_is_read():
    assert read_policy(None) is None
    assert read_policy({"end": None, "start": "2024-03-01", "waiting_days": 90}) == InsurancePolicy(
        "2024-03-01", None, 90
    )


@pytest.mark.parametrize(
    "value",
    [
        [],
        {"start": "2024-03-01", "waiting_days": 0},
        {"end": None, "start": "2024-3-1", "waiting_days": 0},
        {"end": "2024-02-30", "start": None, "waiting_days": 0},
        {"end": None, "start": 20240301, "waiting_days": 0},
        {"end": None, "start": None, "waiting_days": -1},
        {"end": None, "start": None, "waiting_days": 4000},
    ],
)
def test_what_is_no_policy_is_refused(value):
    with pytest.raises(InputError, match=r"case\.policy|content\.number"):
        read_policy(value)


def test_a_claim_shows_no_content_when_it_is_printed():
    assert "resourceType" not in repr(read())
