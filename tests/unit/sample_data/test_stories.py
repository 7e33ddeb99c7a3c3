"""The planted stories are where stories.json says, and say what they should."""

import pytest

import sample_data


@pytest.fixture(scope="module")
def stories():
    return {story["name"]: story for story in sample_data.stories()}


@pytest.fixture(scope="module")
def bundles():
    main = {f"bundles/{name}": bundle for name, bundle in sample_data.load()}
    return main | {f"stories/{name}": bundle for name, bundle in sample_data.load(sample_data.STORIES)}


def find(bundle, kind, identifier):
    found = [
        entry["resource"]
        for entry in bundle["entry"]
        if entry["resource"]["resourceType"] == kind and identifier in entry["resource"].get("identifier", ())
    ]
    assert len(found) == 1, (kind, identifier)
    return found[0]


def claims(story, bundle):
    return [find(bundle, "Claim", each["identifier"]) for each in story["resources"] if each["type"] == "Claim"]


def test_every_story_names_things_that_exist(stories, bundles):
    assert set(stories) == {"duplicate-invoice", "altered-record", "late-entry", "emergency-access", "open-claim"}
    for story in stories.values():
        patient = find(bundles[story["file"]], "Patient", {"type": mr(), **story["patient"]["mrn"]})
        assert patient["name"][0]["text"] == story["patient"]["name"]
        assert set(story["title"]) == {"zh", "en"}
        entries = [entry for name in (story["file"], story.get("later")) if name for entry in bundles[name]["entry"]]
        for each in story["resources"]:
            pairs = [
                (identifier["system"], identifier["value"])
                for entry in entries
                if entry["resource"]["resourceType"] == each["type"]
                for identifier in entry["resource"].get("identifier", ())
            ]
            assert (each["identifier"]["system"], each["identifier"]["value"]) in pairs


def test_every_story_comes_to_an_insurer_who_holds_the_claim(stories, bundles):
    for story in stories.values():
        wanted = [each["identifier"] for each in story["resources"] if each["type"] == "Claim"]
        for identifier, name, insurer in zip(wanted, story["claimFiles"], story["insurers"], strict=True):
            assert insurer in name
            claim = find(bundles[name], "Claim", identifier)
            assert claim["insurer"]["reference"].endswith(f"|{insurer}")


def test_the_emergency_is_claimed_days_later_at_the_insurer_with_the_visit_at_the_other_hospital(stories, bundles):
    story = stories["emergency-access"]
    (claim,) = claims(story, bundles[story["claimFiles"][0]])
    assert story["accessedAt"] < claim["created"] < "2026-05-24"
    (visit,) = [e["resource"] for e in bundles[story["later"]]["entry"] if e["resource"]["resourceType"] == "Encounter"]
    cited = {item["encounter"][0]["reference"] for item in claim["item"]}
    assert cited == {f"https://binhai-hospital.example/fhir/Encounter/{visit['id']}"}
    # The insurer had the customer before, and now knows under which number either hospital has the person.
    (customer,) = [e for e in bundles[story["claimFiles"][0]]["entry"] if e["resource"]["resourceType"] == "Patient"]
    assert customer["request"]["method"] == "PUT"
    assert [link["other"]["reference"].split("/")[2] for link in customer["resource"]["link"]] == [
        "renhe-hospital.example",
        "binhai-hospital.example",
    ]


def test_the_readme_lists_every_story_with_its_identifiers(stories):
    readme = (sample_data.STORIES.parent / "README.md").read_text("utf-8")
    for story in stories.values():
        expected = [
            story["file"],
            story["patient"]["mrn"]["value"],
            *(r["identifier"]["value"] for r in story["resources"]),
            *story["claimFiles"],
        ]
        assert [text for text in expected if text not in readme] == []


def mr():
    return {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}]}


def test_one_invoice_is_claimed_at_two_insurers_and_no_other_is(stories, bundles):
    story = stories["duplicate-invoice"]
    first, second = claims(story, bundles[story["file"]])
    assert first["insurer"] != second["insurer"]
    assert first["supportingInfo"][0] == second["supportingInfo"][0]
    assert first["total"] == second["total"]
    assert second["created"] > first["created"]
    used = [
        entry["resource"]["supportingInfo"][0]["valueReference"]["reference"]
        for name, bundle in bundles.items()
        for entry in bundle["entry"]
        if entry["resource"]["resourceType"] == "Claim" and "-insurance." not in name
    ]
    assert {invoice for invoice in used if used.count(invoice) > 1} == {
        first["supportingInfo"][0]["valueReference"]["reference"]
    }


def test_the_altered_record_is_cited_by_a_claim_and_later_says_something_else(stories, bundles):
    story = stories["altered-record"]
    condition = story["resources"][0]["identifier"]
    before = find(bundles[story["file"]], "Condition", condition)
    after = find(bundles[story["later"]], "Condition", condition)
    (claim,) = claims(story, bundles[story["file"]])
    cited = claim["diagnosis"][0]["diagnosisReference"]["reference"]
    assert cited == f"urn:uuid:{before['id']}"
    assert before["onsetDateTime"] < story["policyStart"] < after["onsetDateTime"]
    changed = {name for name in before if before[name] != after.get(name)}
    assert changed == {"id", "onsetDateTime", "note", "subject", "encounter"}  # the last two by identifier now
    assert claim["created"] < story["alteredAt"]
    (entry,) = bundles[story["later"]]["entry"]
    assert entry["request"] == {
        "method": "PUT",
        "url": f"Condition?identifier={condition['system']}|{condition['value']}",
    }


def test_the_late_entry_was_recorded_months_after_the_visit_and_just_before_the_claim(stories, bundles):
    story = stories["late-entry"]
    bundle = bundles[story["later"]]
    reports = [
        find(bundle, each["type"], each["identifier"])
        for each in story["resources"]
        if each["type"] == "DiagnosticReport"
    ]
    assert len(reports) == 3
    for report in reports:
        assert report["effectiveDateTime"][:10] == "2024-01-18"
        assert report["issued"] == story["enteredAt"] == "2024-12-03T16:41:00+08:00"
    (claim,) = claims(story, bundle)
    assert claim["created"][:10] == "2024-12-05"
    coverage = find(bundles[story["file"]], "Coverage", {
        "system": "https://medchain.example/fhir/id/policy",
        "value": claim["insurance"][0]["coverage"]["reference"].partition("|")[2],
    })  # fmt: skip
    # The visit lies inside the policy's period, the entry after its end.
    assert coverage["period"]["start"] < "2024-01-18" < coverage["period"]["end"] < "2024-12-03"


def test_the_emergency_tells_who_what_why_and_when(stories, bundles):
    story = stories["emergency-access"]
    assert (story["hospital"], story["reader"]["organization"]) == ("renhe-hospital", "binhai-hospital")
    staff = find(
        bundles["bundles/binhai-hospital.0-directory.json.gz"], "Practitioner", story["reader"]["practitioner"]
    )
    assert staff["name"][0]["text"] == story["reader"]["name"]
    assert story["purpose"] == "BTG"
    assert min(len(text) for text in story["reason"].values()) > 20
    visit = find(bundles[story["later"]], "Encounter", {
        "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "VN"}]},
        **story["resources"][0]["identifier"],
    })  # fmt: skip
    assert visit["class"]["code"] == "EMER"
    assert visit["period"]["start"] < story["accessedAt"] < visit["period"]["end"]


def test_the_emergency_patient_has_an_allergy_and_an_hiv_record_at_the_other_hospital(stories, bundles):
    story = stories["emergency-access"]
    resources = [entry["resource"] for entry in bundles[story["file"]]["entry"]]
    codes = {
        (each["resourceType"], each["code"]["coding"][0]["code"])
        for each in resources
        if "coding" in each.get("code", {})
    }
    assert ("AllergyIntolerance", "91936005") in codes
    assert ("Condition", "B24") in codes
    # The same person arrives without being known there.
    assert "bundles/binhai-hospital.p004.json.gz" not in bundles
    (arrived,) = [e["resource"] for e in bundles[story["later"]]["entry"] if e["resource"]["resourceType"] == "Patient"]
    assert arrived["identifier"][1]["value"] == story["patient"]["nationalId"]["value"]


def test_the_open_claim_is_the_patients_only_one_and_its_insurer_has_not_answered(stories, bundles):
    story = stories["open-claim"]
    resources = [entry["resource"] for entry in bundles[story["file"]]["entry"]]
    assert [each["resourceType"] for each in resources].count("Claim") == 1
    assert "ExplanationOfBenefit" not in [each["resourceType"] for each in resources]
    (claim,) = claims(story, bundles[story["claimFiles"][0]])
    (coverage,) = [each for each in resources if each["resourceType"] == "Coverage"]
    # Made while the policy runs, two days after the visit.
    assert coverage["period"]["start"] < claim["billablePeriod"]["start"] < claim["created"] < "2026-10-26"
    assert "end" not in coverage["period"]
    assert story["insurers"] == ["anxin-insurance"]
