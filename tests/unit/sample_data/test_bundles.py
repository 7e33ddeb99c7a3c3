"""The committed bundles: valid R4, closed under references, coherent, and about nobody."""

import re
from collections import Counter
from decimal import Decimal

import pytest
from fhir.resources.R4B import get_fhir_model_class

import sample_data
from tests.unit.sample_data import r4

NATIONAL_ID = "urn:oid:2.16.156.10011.1.3"
HOSPITALS = ("renhe-hospital", "binhai-hospital")
INSURERS = ("anxin-insurance", "taihe-insurance")
RECORD = re.compile(r"https://([a-z]+-hospital)\.example/fhir/([A-Za-z]+/[0-9a-f-]{36})")


@pytest.fixture(scope="module")
def bundles():
    """All bundles by file name, those of the stories last, as they are posted."""
    return dict(sample_data.load()) | dict(sample_data.load(sample_data.STORIES))


@pytest.fixture(scope="module")
def resources(bundles):
    return [entry["resource"] for bundle in bundles.values() for entry in bundle["entry"]]


def of_type(resources, kind):
    return [resource for resource in resources if resource["resourceType"] == kind]


def custodian(name):
    story = {
        "altered-record.json": HOSPITALS[1],
        "late-entry.json": HOSPITALS[0],
        "emergency-access.json": HOSPITALS[1],
        "late-entry.anxin-insurance.json": INSURERS[0],
        "emergency-access.anxin-insurance.json": INSURERS[0],
    }
    return story.get(name) or name.partition(".")[0]


def references(value):
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value["reference"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def test_every_resource_is_accepted_by_the_r4b_models(resources):
    for resource in resources:
        get_fhir_model_class(resource["resourceType"]).model_validate(resource)


def test_every_resource_is_exactly_r4_by_hl7s_own_definitions(resources):
    errors = [found for resource in resources for found in r4.primitives(resource) if found[0] == "error"]
    assert errors == []


def test_every_bundle_is_an_r4_transaction(bundles):
    for bundle in bundles.values():
        assert [found for found in r4.primitives(bundle) if found[0] == "error"] == []
        assert bundle["type"] == "transaction"


def test_the_r4_check_finds_what_it_should_find():
    good = {"resourceType": "Invoice", "status": "issued", "totalPriceComponent": [{"type": "base"}]}
    faults = (
        {**good, "status": "paid"},  # not in the value set
        {**good, "identifier": {"value": "1"}},  # a list in R4
        {**good, "period": {"start": "2024"}},  # Invoice.period came with R5
        {**good, "date": "2024-13-01"},
        {**good, "totalPriceComponent": [{"amount": {"value": 1}}]},  # the type is missing
        {**good, "totalNet": {"value": 1.5, "currency": "CNY"}},  # a float has lost its text
        {"resourceType": "Invoice"},
    )
    assert [found for found in r4.primitives(good) if found[0] == "error"] == []
    for fault in faults:
        assert [found for found in r4.primitives(fault) if found[0] == "error"], fault


def test_r4_rules_between_elements_hold(resources):
    for resource in resources:
        match resource["resourceType"]:
            case "Condition":  # con-3 and con-4
                status = resource["clinicalStatus"]["coding"][0]["code"]
                assert ("abatementDateTime" in resource) == (status == "resolved")
            case "Observation":  # obs-6: a value, or parts that have one
                parts = resource.get("component", [resource])
                assert all("valueQuantity" in part or "valueCodeableConcept" in part for part in parts)
            case "AllergyIntolerance":  # ait-1
                assert resource["clinicalStatus"]["coding"][0]["code"] == "active"
            case _:
                assert resource.get("id") or resource["resourceType"] in {"Condition", "Patient", "Coverage"}


def test_ids_are_unique_and_agree_with_the_full_url(bundles):
    urls = Counter()
    for bundle in bundles.values():
        for entry in bundle["entry"]:
            urls[entry["fullUrl"]] += 1
            if entry["request"]["method"] == "POST":
                assert entry["fullUrl"] == f"urn:uuid:{entry['resource']['id']}"
                assert entry["request"]["url"] == entry["resource"]["resourceType"]
    assert set(urls.values()) == {1}


def test_every_reference_leads_into_its_bundle_or_to_what_the_same_member_was_given_before(bundles):
    known = {member: set() for member in HOSPITALS + INSURERS}
    for name, bundle in bundles.items():
        own = {entry["fullUrl"] for entry in bundle["entry"]}
        for reference in references(bundle):
            if reference.startswith("urn:uuid:"):
                assert reference in own, name
            elif not RECORD.fullmatch(reference) and reference != "#invoice":
                assert reference in known[custodian(name)], (name, reference)
        for entry in bundle["entry"]:
            kind = entry["resource"]["resourceType"]
            found = {f"{kind}?identifier={i['system']}|{i['value']}" for i in entry["resource"].get("identifier", ())}
            if entry["request"]["method"] == "PUT" and kind == "Condition":
                assert entry["request"]["url"] in known[custodian(name)]
            known[custodian(name)] |= found


def test_an_identifier_belongs_to_one_thing_at_a_hospital(bundles):
    counts = Counter(
        (custodian(name), resource["resourceType"], each["system"], each["value"])
        for name, bundle in bundles.items()
        for entry in bundle["entry"]
        for resource in [entry["resource"]]
        for each in resource.get("identifier", ())
        if entry["request"]["method"] == "POST" and not each["system"].endswith("e-invoice-code")
    )
    assert [key for key, count in counts.items() if count > 1] == []


def test_what_an_insurer_cites_is_what_the_hospitals_hold_whatever_was_posted_before(bundles):
    held, cited = {hospital: set() for hospital in HOSPITALS}, Counter()
    for name, bundle in bundles.items():
        is_insurers = custodian(name) in INSURERS
        for entry in bundle["entry"]:
            if not is_insurers and "id" in entry["resource"]:
                held[custodian(name)].add(f"{entry['resource']['resourceType']}/{entry['resource']['id']}")
        for reference in references(bundle):
            if found := RECORD.fullmatch(reference):
                assert is_insurers
                assert found[2] in held[found[1]], (name, reference)
                cited[found[2].partition("/")[0]] += 1
    assert min(cited[kind] for kind in ("Patient", "Encounter", "Invoice", "Condition", "DiagnosticReport")) > 40


def claims_by_number(bundles, members):
    return {
        resource["identifier"][0]["value"]: (bundle, resource)
        for name, bundle in bundles.items()
        if custodian(name) in members
        for resource in of_type([entry["resource"] for entry in bundle["entry"]], "Claim")
    }


def test_each_insurer_holds_its_own_claims_as_the_hospitals_hold_them(bundles):
    ours, theirs = claims_by_number(bundles, INSURERS), claims_by_number(bundles, HOSPITALS)
    assert ours.keys() == theirs.keys()
    assert len(ours) == 101
    for number, (_, claim) in ours.items():
        _, original = theirs[number]
        assert RECORD.sub("", str(claim["provider"])) == str(
            original["provider"]
            | {"identifier": {"system": "https://medchain.example/fhir/id/organization",
                              "value": original["provider"]["reference"].partition("|")[2]}}
        )  # fmt: skip
        for name in ("identifier", "created", "billablePeriod", "total", "insurer", "status", "type", "use"):
            assert claim[name] == original[name], number
        assert len(claim["diagnosis"]) == len(original["diagnosis"])
        assert len(claim["supportingInfo"]) == len(original["supportingInfo"]) + 1
        assert [(item["net"], item["productOrService"]) for item in claim["item"]] == [
            (item["net"], item["productOrService"]) for item in original["item"]
        ]


def test_an_insurer_has_the_invoice_as_it_was_handed_in_and_the_policy_of_its_own_customer(bundles):
    ours, theirs = claims_by_number(bundles, INSURERS), claims_by_number(bundles, HOSPITALS)
    for number, (bundle, claim) in ours.items():
        hospitals, original = theirs[number]
        uid = original["supportingInfo"][0]["valueReference"]["reference"]
        (invoice,) = [entry["resource"] for entry in hospitals["entry"] if entry["fullUrl"] == uid]
        (copy,) = claim["contained"]
        assert claim["supportingInfo"][-1]["valueReference"] == {"reference": "#invoice"}
        assert {name: value for name, value in copy.items() if name != "id"} == {
            name: value
            for name, value in invoice.items()
            if name not in {"id", "subject", "recipient", "totalPriceComponent", "account"}
        }
        by_url = {entry["fullUrl"]: entry["resource"] for entry in bundle["entry"]}
        coverage = by_url[claim["insurance"][0]["coverage"]["reference"]]
        assert coverage["beneficiary"] == coverage["subscriber"] == claim["patient"]
        assert coverage["payor"][0]["reference"] == claim["insurer"]["reference"]


def test_an_insurer_knows_its_own_customers_and_nothing_else_about_anybody(bundles):
    for name, bundle in bundles.items():
        if custodian(name) in INSURERS and ".0-directory." not in name:
            counts = Counter(entry["resource"]["resourceType"] for entry in bundle["entry"])
            assert counts.keys() == {"Patient", "Coverage", "Claim"}, name
            assert (counts["Patient"], counts["Coverage"]) == (1, 1)
            insurers = {claim["insurer"]["reference"].partition("|")[2]
                        for claim in of_type([entry["resource"] for entry in bundle["entry"]], "Claim")}  # fmt: skip
            assert insurers == {custodian(name)}


def test_conditional_creates_name_the_identifier_of_what_they_create(bundles):
    for name, bundle in bundles.items():
        if ".0-directory." in name:
            for entry in bundle["entry"]:
                first = entry["resource"]["identifier"][0]
                assert entry["request"]["ifNoneExist"] == f"identifier={first['system']}|{first['value']}"


def test_the_consortium_has_its_five_organisations_in_two_languages_at_all_of_them(bundles):
    expected = {
        "renhe-hospital": ("仁和医院", "Renhe Hospital", "prov"),
        "binhai-hospital": ("滨海第二医院", "Binhai Second Hospital", "prov"),
        "anxin-insurance": ("安心健康保险", "Anxin Health Insurance", "ins"),
        "taihe-insurance": ("泰和保险", "Taihe Insurance", "ins"),
        "health-commission": ("市卫生健康委员会", "Municipal Health Commission", "govt"),
    }
    for hospital in HOSPITALS + INSURERS:
        entries = bundles[f"{hospital}.0-directory.json.gz"]["entry"]
        found = {}
        for organisation in of_type([entry["resource"] for entry in entries], "Organization"):
            kind = organisation["type"][0]["coding"][0]["code"]
            found[organisation["identifier"][0]["value"]] = (organisation["name"], organisation["alias"][0], kind)
        assert found == expected


def test_there_are_sixty_people_some_of_them_known_at_both_hospitals():
    people = {}
    for name, bundle in sample_data.load():
        patients = of_type([entry["resource"] for entry in bundle["entry"]], "Patient")
        for patient in patients if custodian(name) in HOSPITALS else ():
            number = next(each["value"] for each in patient["identifier"] if each["system"] == NATIONAL_ID)
            people.setdefault(number, []).append((custodian(name), patient))
    assert len(people) == 60
    both = [found for found in people.values() if len(found) == 2]
    assert 10 <= len(both) <= 30
    for (first, one), (second, other) in both:
        assert first != second
        assert one["id"] != other["id"]
        assert (one["name"], one["birthDate"], one["gender"]) == (other["name"], other["birthDate"], other["gender"])


def test_people_have_chinese_names_with_pinyin_and_no_name_twice(resources):
    names = {}
    for patient in of_type(resources, "Patient"):
        chinese, pinyin = patient["name"]
        assert re.fullmatch(r"[\u4e00-\u9fff]{2,4}", chinese["text"])
        assert chinese["text"] == chinese["family"] + chinese["given"][0]
        assert re.fullmatch(r"[A-Z][a-z]+ [A-Z][a-z]+", pinyin["text"])
        names.setdefault(chinese["text"], set()).add(patient["identifier"][1]["value"])
    assert all(len(numbers) == 1 for numbers in names.values())


def test_no_identity_number_can_be_real(resources):
    # GB 11643-1999: the weighted sum of all 18 characters is 1 modulo 11, the last weight is 1 and X stands for 10.
    weights = [2**power % 11 for power in range(17, -1, -1)]
    numbers = {
        each["value"]
        for r in of_type(resources, "Patient")
        for each in r["identifier"]
        if each["system"] == NATIONAL_ID
    }
    for number in numbers:
        digits = [10 if character == "X" else int(character) for character in number]
        assert sum(digit * weight for digit, weight in zip(digits, weights, strict=True)) % 11 != 1
        assert number.startswith("99")  # provinces are numbered 11 to 82


def test_identity_numbers_hold_the_birth_date_and_sex(resources):
    for patient in of_type(resources, "Patient"):
        number = patient["identifier"][1]["value"]
        assert number[6:14] == patient["birthDate"].replace("-", "")
        assert int(number[16]) % 2 == (patient["gender"] == "male")


def test_no_telephone_number_can_be_real(resources):
    numbers = {
        each["value"]
        for patient in of_type(resources, "Patient")
        for holder in (patient, *patient.get("contact", ()))
        for each in holder["telecom"]
    }
    # Area code 0600 is not assigned, and no subscriber's number begins with 0.
    assert all(re.fullmatch(r"\+86-600-0\d{3}-\d{4}", number) for number in numbers)


def test_everything_happens_between_2021_and_october_2026(resources):
    moments = {
        value
        for resource in resources
        for kind, path, value in r4.primitives(resource)
        if kind in {"date", "dateTime", "instant"}
        and not path.endswith((".birthDate", "Condition.onset[x]", "Period.start"))
    }
    assert min(moments) >= "2021-01-11"
    assert max(moments) < "2026-11-01"
    assert max(moments) > "2026-10"


def test_results_come_after_specimens_and_visits_end_after_they_begin(resources):
    for resource in resources:
        if "issued" in resource and "effectiveDateTime" in resource:
            assert resource["issued"] > resource["effectiveDateTime"]
        if resource["resourceType"] == "Encounter":
            assert resource["period"]["start"] < resource["period"]["end"]


def test_numbers_keep_their_last_zeros():
    texts = {name: text for name, text in sample_data.read() if ".0-directory." not in name}
    values = [value for text in texts.values() for value in re.findall(rb'"value":(-?[0-9.E+]+)', text)]
    with_zero = [value for value in values if re.fullmatch(rb"[0-9]+\.[0-9]*0", value)]
    assert len(with_zero) > 500
    assert [value for value in values if re.fullmatch(rb"[0-9]\.[0-9]{2}E\+[0-9]", value)]


def test_a_flag_agrees_with_its_reference_range(resources):
    flags = Counter()
    for observation in of_type(resources, "Observation"):
        for bounds in observation.get("referenceRange", ()):
            value = observation["valueQuantity"]["value"]
            low = bounds["low"]["value"] if "low" in bounds else Decimal(0)
            expected = "L" if value < low else "H" if value > bounds["high"]["value"] else "N"
            assert observation["interpretation"][0]["coding"][0]["code"] == expected
            flags[expected] += 1
    assert min(flags[flag] for flag in "LHN") > 20


def test_invoices_and_claims_add_up_to_the_fen(resources):
    for invoice in of_type(resources, "Invoice"):
        lines = [line["priceComponent"][0]["amount"]["value"] for line in invoice["lineItem"]]
        shares = [part["amount"]["value"] for part in invoice["totalPriceComponent"]]
        assert sum(lines) == sum(shares) == invoice["totalGross"]["value"] == invoice["totalNet"]["value"]
        assert all(value.as_tuple().exponent == -2 and value > 0 for value in lines)
    for claim in of_type(resources, "Claim"):
        assert sum(item["net"]["value"] for item in claim["item"]) == claim["total"]["value"]


def test_an_invoice_is_shaped_like_the_ministrys_and_its_numbers_are_unique(resources):
    numbers = Counter()
    for invoice in of_type(resources, "Invoice"):
        code, number, check = (each["value"] for each in invoice["identifier"])
        assert re.fullmatch(r"990[6]0[12]" + invoice["date"][2:4], code)
        assert re.fullmatch(r"[12]\d{9}", number)
        assert re.fullmatch(r"[g-z]{2}[0-9a-z]{4}", check)
        assert invoice["issuer"]["identifier"]["value"] in {"99010001", "99010002"}
        numbers[code, number] += 1
    assert set(numbers.values()) == {1}


def test_a_benefit_follows_from_the_claim(bundles):
    for bundle in bundles.values():
        by_url = {entry["fullUrl"]: entry["resource"] for entry in bundle["entry"]}
        for benefit in of_type(by_url.values(), "ExplanationOfBenefit"):
            claim = by_url[benefit["claim"]["reference"]]
            invoice = by_url[claim["supportingInfo"][0]["valueReference"]["reference"]]
            totals = {part["category"]["coding"][0]["code"]: part["amount"]["value"] for part in benefit["total"]}
            assert totals["submitted"] == claim["total"]["value"] == invoice["totalGross"]["value"]
            assert totals["eligible"] == invoice["totalPriceComponent"][1]["amount"]["value"]
            # The insurer pays 85 per cent of the own part above the deductible, rounded down to the fen.
            fen = int((totals["eligible"] - totals["deductible"]) * 100) * 85 // 100
            assert totals["benefit"] == Decimal(fen) / 100 == benefit["payment"]["amount"]["value"]
            assert benefit["created"] > claim["created"] > claim["billablePeriod"]["end"]


def test_nothing_is_claimed_outside_the_policys_period(bundles):
    for bundle in bundles.values():
        by_url = {entry["fullUrl"]: entry["resource"] for entry in bundle["entry"]}
        for claim in of_type(by_url.values(), "Claim"):
            coverage = by_url.get(claim["insurance"][0]["coverage"]["reference"])
            if coverage:
                visited = claim["billablePeriod"]["start"][:10]
                assert coverage["period"]["start"] <= visited <= coverage["period"].get("end", "9999")
                assert coverage["payor"][0]["reference"] == claim["insurer"]["reference"]


def test_there_are_records_that_need_protection_at_both_hospitals(bundles):
    found = {hospital: Counter() for hospital in HOSPITALS}
    for name, bundle in bundles.items():
        for condition in of_type([entry["resource"] for entry in bundle["entry"]], "Condition"):
            code = condition["code"]["coding"][0]["code"]
            kind = "psychiatric" if code.startswith("F") else "hiv" if code[:3] in {"B20", "B24", "Z21"} else "other"
            found[custodian(name)][kind] += 1
    for counts in found.values():
        assert counts["psychiatric"] >= 3
        assert counts["other"] > 20
    assert sum(counts["hiv"] for counts in found.values()) >= 4


def test_a_positive_antibody_test_and_a_viral_load_belong_to_the_hiv_records(resources):
    results = Counter()
    for observation in of_type(resources, "Observation"):
        code = observation["code"]["coding"][0]["code"]
        if code in {"31201-7", "5221-7"}:
            results[code, observation["valueCodeableConcept"]["coding"][0]["code"]] += 1
        elif code == "20447-9":
            results[code, observation["valueQuantity"].get("comparator", "=")] += 1
    assert results["31201-7", "10828004"] >= 2
    assert results["31201-7", "260385009"] >= 5
    assert results["5221-7", "10828004"] >= 2
    assert results["20447-9", "<"] >= 3
    assert results["20447-9", "="] >= 2


def test_all_kinds_of_records_are_there_in_moderate_number(resources):
    counts = Counter(resource["resourceType"] for resource in resources)
    least = {
        "Organization": 10, "Practitioner": 20, "PractitionerRole": 20, "Location": 10, "Device": 10, "Patient": 60,
        "Encounter": 200, "Condition": 60, "Observation": 1000, "DiagnosticReport": 300, "MedicationRequest": 200,
        "Procedure": 30,
        "Immunization": 20, "AllergyIntolerance": 5, "Coverage": 40, "Account": 20, "Invoice": 200, "Claim": 50,
        "ExplanationOfBenefit": 50, "DocumentReference": 20,
    }  # fmt: skip
    assert {kind for kind, least_count in least.items() if counts[kind] < least_count} == set()
    assert 3000 <= counts.total() <= 5500


def test_nobody_allergic_to_penicillin_is_given_one(resources):
    codes = {each["medicationCodeableConcept"]["coding"][0]["code"] for each in of_type(resources, "MedicationRequest")}
    assert not [code for code in codes if code.startswith("J01C")]  # ATC: beta-lactam antibacterials, penicillins


def test_operations_on_the_ward_begin_by_day_unless_they_are_urgent(resources):
    hours = {
        int(each["performedPeriod"]["start"][11:13])
        for each in of_type(resources, "Procedure")
        if each["code"]["coding"][0]["code"] in {"51.23", "32.41", "36.07", "81.54", "81.52"}
    }
    assert hours <= set(range(8, 14))
