"""A consent for one claim has one form; what has any other is none."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from medchain.encoding import Json
from medchain.errors import InputError
from medchain.ledger.kinds.content import DAY_S
from medchain.ledger.one_claim import OneClaim, countable, one_claim_in, read_cited

START = 1_796_083_200
CITED = ("Encounter/e1", "Invoice/i1", "Procedure/o3")
DIGEST = "0c" * 32
ONE = OneClaim(bytes.fromhex(DIGEST), CITED, ("HIV", "PSY"))
# As docs/spec/consent.md D21 says it, word for word.
FHIR: dict[str, Any] = {
    "category": [{"coding": [{"code": "59284-0", "system": "http://loinc.org"}]}],
    "provision": {
        "action": [{"coding": [{"code": DIGEST, "system": "urn:medchain:claim-disclosure"}]}],
        "data": [
            {"meaning": "instance", "reference": {"reference": "Encounter/e1"}},
            {"meaning": "instance", "reference": {"reference": "Invoice/i1"}},
            {"meaning": "instance", "reference": {"reference": "Procedure/o3"}},
        ],
        "provision": [
            {
                "securityLabel": [
                    {"code": "HIV", "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode"},
                    {"code": "PSY", "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode"},
                ],
                "type": "deny",
            }
        ],
        "type": "permit",
    },
    "resourceType": "Consent",
    "scope": {"coding": [{"code": "patient-privacy", "system": "http://terminology.hl7.org/CodeSystem/consentscope"}]},
    "status": "active",
}
CONTENT: dict[str, Any] = {
    "custodians": ["renhe-hospital"],
    "data_period": None,
    "fhir": FHIR,
    "period": {"end": START + 30 * DAY_S, "start": START - 60},
    "purpose": "HPAYMT",
    "recipient": "anxin-insurance",
    "resource_types": ["Encounter", "Invoice", "Procedure"],
}


def changed(path: str, value: object) -> dict[str, Any]:
    made = deepcopy(CONTENT)
    *way, last = path.split("/")
    at: Any = made
    for name in way:
        at = at[int(name) if name.isdecimal() else name]
    if value is None:
        del at[last]
    else:
        at[int(last) if last.isdecimal() else last] = value
    return made


def test_what_is_written_is_the_form_and_reads_back() -> None:
    assert ONE.fhir() == FHIR
    assert one_claim_in(CONTENT) == ONE
    assert ONE.resource_types == ("Encounter", "Invoice", "Procedure")


def test_where_nothing_is_kept_back_there_is_no_rule_inside() -> None:
    bare = OneClaim(ONE.digest, CITED)
    assert "provision" not in bare.fhir()["provision"]  # type: ignore[operator]  # it is an object
    assert one_claim_in({**CONTENT, "fhir": bare.fhir()}) == bare


CODING = {"code": DIGEST, "system": "urn:medchain:claim-disclosure"}
OTHER = {"code": "0d" * 32, "system": "urn:medchain:claim-disclosure"}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("custodians", ["renhe-hospital", "tongji-hospital"]),
        ("custodians", None),
        ("data_period", {"end": 2, "start": 1}),
        ("purpose", "CLMATTCH"),
        ("resource_types", ["*"]),
        ("resource_types", ["Condition", "Encounter", "Invoice", "Procedure"]),
        ("period/end", START + 30 * DAY_S + 1),
        ("period", {"end": None, "start": START}),
        ("period", "always"),
        ("fhir", {"resourceType": "Consent"}),
        ("fhir", "text"),
        ("fhir/status", "inactive"),
        ("fhir/policyRule", {"coding": [{"code": "OPTIN"}]}),
        ("fhir/provision/type", "deny"),
        ("fhir/provision/action", None),
        ("fhir/provision/action", [{"coding": [CODING]}, {"coding": [OTHER]}]),
        ("fhir/provision/action/0/coding", [CODING, OTHER]),
        ("fhir/provision/action/0/coding/0/code", "access"),
        ("fhir/provision/action/0/coding/0/system", "http://terminology.hl7.org/CodeSystem/consentaction"),
        ("fhir/provision/data", None),
        ("fhir/provision/data", []),
        ("fhir/provision/data/0/meaning", "dependents"),
        ("fhir/provision/data/0/reference", "Encounter/e1"),
        ("fhir/provision/data/2/reference/reference", "Encounter/e1"),
        ("fhir/provision/provision/0/type", "permit"),
        ("fhir/provision/provision/0/securityLabel", []),
        ("fhir/provision/provision/0/securityLabel", [{"code": 1}]),
        ("fhir/provision/purpose", [{"code": "HPAYMT"}]),
    ],
)
def test_any_other_form_is_none(path: str, value: object) -> None:
    assert one_claim_in(changed(path, value)) is None


@pytest.mark.parametrize("cited", [[], ["Encounter"], ["encounter/e1"], ["Encounter/e_1"], [1], "Encounter/e1"])
def test_what_is_no_list_of_records_is_refused(cited: Json) -> None:
    with pytest.raises(InputError, match=r"claim\.cited"):
        read_cited(cited)


def test_counting_asks_the_same_labels_and_of_no_record_which() -> None:
    found = countable(CONTENT, ONE)
    rules = {name: value for name, value in FHIR["provision"].items() if name != "data"}
    assert found == {**CONTENT, "fhir": {**FHIR, "provision": rules}, "resource_types": ["*"]}
