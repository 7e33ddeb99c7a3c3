"""What is known of a claim before anybody is asked: by the rules of the verdict, and nothing that waits for others."""

from __future__ import annotations

import pytest

from medchain.claims.outlook import known_alone
from medchain.errors import InputError
from medchain.ledger.evidence.document import InsurancePolicy
from tests.unit.medchain.claims.filed import content

LONG = InsurancePolicy("2025-01-01", None, 0)


def codes(policy: InsurancePolicy | None = LONG, **changes: object) -> list[str]:
    return [one.code for one in known_alone(content(**changes), policy)]


@pytest.mark.parametrize(
    ("policy", "code"),
    [
        (LONG, "coverage.covered"),
        (None, "coverage.unknown"),
        (InsurancePolicy("2025-09-01", None, 0), "coverage.before"),
        (InsurancePolicy(None, "2025-09-05", 0), "coverage.after"),
        (InsurancePolicy("2025-08-01", None, 31), "coverage.waiting"),
        (InsurancePolicy("2025-08-01", None, 30), "coverage.covered"),
    ],
)
def test_whether_the_days_of_the_claim_are_insured_is_known(policy, code):
    assert codes(policy) == [code]


def test_a_claim_without_days_is_not_known_to_be_covered():
    assert codes(billablePeriod=None) == ["coverage.unknown"]


def test_items_that_are_not_the_total_are_known_to_differ():
    found = known_alone(content(total={"value": 9000, "currency": "CNY"}), LONG)
    assert [one.code for one in found] == ["complete.items_differ", "coverage.covered"]
    assert found[0].arguments == {"amount": 842280, "currency": "CNY", "total": 900000}


def test_a_claim_that_cites_nothing_is_known_to():
    nothing = dict.fromkeys(("supportingInfo", "diagnosis", "procedure", "item"))
    assert codes(**nothing) == ["complete.nothing_cited", "coverage.covered"]


def test_what_is_no_claim_is_refused():
    with pytest.raises(InputError, match=r"evidence\.claim"):
        known_alone(content(resourceType="Patient"), None)
