"""The rules that R4 states in FHIRPath, by their keys."""

from __future__ import annotations

import json
import time

import pytest

from fhir_bridge.document import parse
from fhir_bridge.validation.invariants import check_invariants
from fhir_bridge.validation.issue import Rule
from fhir_bridge.validation.narrative import MAX_DEPTH, is_narrative

DIV = '<div xmlns="http://www.w3.org/1999/xhtml">%s</div>'


def broken(body: str) -> list[tuple[str, str]]:
    return [(issue.expected, issue.expression) for issue in check_invariants(parse(body.encode()))]


@pytest.mark.parametrize(
    ("body", "key", "place"),
    [
        ('{"resourceType":"Patient","contact":[{"gender":"male"}]}', "pat-1", "Patient.contact[0]"),
        ('{"resourceType":"Organization","active":true}', "org-1", "Organization"),
        (
            '{"resourceType":"Organization","name":"x","telecom":[{"use":"work"},{"use":"home"}]}',
            "org-3",
            "Organization.telecom[1]",
        ),
        ('{"resourceType":"Patient","telecom":[{"value":"1"}]}', "cpt-2", "Patient.telecom[0]"),
        (
            '{"resourceType":"Patient","name":[{"period":{"start":"2021","end":"2020"}}]}',
            "per-1",
            "Patient.name[0].period",
        ),
        (
            (
                '{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueString":"y",'
                '"dataAbsentReason":{"text":"z"}}'
            ),
            "obs-6",
            "Observation",
        ),
        (
            (
                '{"resourceType":"Observation","status":"final","code":{"coding":[{"system":"s","code":"c"}]},"valueString":"y",'
                '"component":[{"code":{"coding":[{"system":"s","code":"c"}]}}]}'
            ),
            "obs-7",
            "Observation",
        ),
        (
            '{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":1,"code":"kg"}}',
            "qty-3",
            "Observation.value.ofType(Quantity)",
        ),
        (
            '{"resourceType":"Patient","managingOrganization":{"reference":"#o"}}',
            "ref-1",
            "Patient.managingOrganization",
        ),
        ('{"resourceType":"Patient","extension":[{"url":"u"}]}', "ext-1", "Patient.extension[0]"),
        (
            '{"resourceType":"Patient","extension":[{"url":"u","valueString":"x","extension":[{"url":"v","valueString":"y"}]}]}',
            "ext-1",
            "Patient.extension[0]",
        ),
        (
            '{"resourceType":"Patient","_gender":{"extension":[{"url":"u"}]}}',
            "ext-1",
            "Patient.gender.extension[0]",
        ),
        ('{"resourceType":"Patient","contained":[{"resourceType":"Basic","id":"b"}]}', "dom-3", "Patient.contained[0]"),
        (
            (
                '{"resourceType":"Patient","managingOrganization":{"reference":"#o"},"contained":[{"resourceType":'
                '"Organization","id":"o","name":"x","meta":{"versionId":"1"}}]}'
            ),
            "dom-4",
            "Patient",
        ),
        ('{"resourceType":"Bundle","type":"batch","entry":[{"fullUrl":"urn:a"}]}', "bdl-5", "Bundle.entry[0]"),
        (
            '{"resourceType":"Bundle","type":"collection","entry":[{"resource":{"resourceType":"Organization"}}]}',
            "org-1",
            "Bundle.entry[0].resource",
        ),
        (
            (
                '{"resourceType":"Questionnaire","status":"draft","item":[{"linkId":"a","type":"group","item":'
                '[{"linkId":"a","type":"string"}]}]}'
            ),
            "que-2",
            "Questionnaire",
        ),
        (
            (
                '{"resourceType":"CarePlan","status":"draft","intent":"plan","subject":{"display":"x"},"activity":'
                '[{"detail":{"status":"unknown","scheduledTiming":{"repeat":{"duration":1}}}}]}'
            ),
            "tim-1",
            "CarePlan.activity[0].detail.scheduled.ofType(Timing).repeat",
        ),
        (
            '{"resourceType":"Patient","text":{"status":"generated","div":"<div>x</div>"}}',
            "txt-1, txt-2",
            "Patient.text.div",
        ),
    ],
)
def test_a_broken_rule_is_found_where_it_stands(body, key, place):
    assert (key, place) in broken(body)


def test_a_contained_resource_that_points_to_its_holder_is_referred_to():
    body = (
        '{"resourceType":"Patient","id":"p","contained":[{"resourceType":"Observation","id":"o","status":"final",'
        '"code":{"text":"x"},"subject":{"reference":"#"}}]}'
    )
    assert broken(body) == []


def test_dates_that_cannot_be_compared_break_no_rule():
    assert broken('{"resourceType":"Patient","name":[{"period":{"start":"2021-05","end":"2021"}}]}') == []


def test_a_period_is_compared_across_time_zones():
    period = '{"resourceType":"Patient","name":[{"period":{"start":"%s","end":"%s"}}]}'
    assert broken(period % ("2021-01-01T08:00:00+08:00", "2021-01-01T00:00:00Z")) == []
    assert broken(period % ("2021-01-01T08:00:01+08:00", "2021-01-01T00:00:00Z")) != []


def test_rules_that_only_warn_are_told_when_they_are_asked_for():
    resource = parse(b'{"resourceType":"Patient","gender":"male"}')
    assert check_invariants(resource) == []
    assert [(issue.expected, issue.severity) for issue in check_invariants(resource, warnings=True)] == [
        ("dom-6", "warning")
    ]


@pytest.mark.parametrize(
    "inside",
    [
        "<p>text</p>",
        '<img src="x.png" alt=""/>',
        '<a href="http://x.org" title="y">z</a>',
        '<p xml:lang="zh">字</p>',
        "a &amp; b &#160;",
    ],
)
def test_a_narrative_shows_things(inside):
    assert is_narrative(DIV % inside)


@pytest.mark.parametrize(
    "div",
    [
        "",
        "text",
        "<div>x</div>",
        DIV % "",
        DIV % " \n ",
        DIV % "<p>",
        DIV % "<script>x</script>",
        DIV % "<form>x</form>",
        DIV % '<p onclick="x()">y</p>',
        DIV % '<a href=" java\tscript:x()">y</a>',
        DIV % '<a href="&#106;avascript:x()">y</a>',
        DIV % '<svg xmlns="http://www.w3.org/2000/svg">x</svg>',
        DIV % "&nbsp;x",
        '<p xmlns="http://www.w3.org/1999/xhtml">x</p>',
        '<!DOCTYPE div [<!ENTITY a "b">]>' + DIV % "&a;",
        '<!DOCTYPE div SYSTEM "file:///etc/passwd">' + DIV % "x",
        DIV % ("<b>" * (MAX_DEPTH + 1) + "x" + "</b>" * (MAX_DEPTH + 1)),
    ],
)
def test_a_narrative_does_nothing_else(div):
    assert not is_narrative(div)


def test_many_references_to_many_contained_resources_are_judged_in_time():
    count = 4000
    body = {
        "resourceType": "List",
        "status": "current",
        "mode": "working",
        "contained": [{"resourceType": "Basic", "id": f"b{n}", "code": {"text": "x"}} for n in range(count)],
        "entry": [{"item": {"reference": f"#b{n}"}} for n in range(count)] + [{"item": {"reference": "#none"}}],
    }
    began = time.thread_time()
    assert broken(json.dumps(body)) == [("ref-1", f"List.entry[{count}].item")]
    assert time.thread_time() - began < 8
    assert broken('{"resourceType":"Patient","managingOrganization":{"reference":"#"}}') == []


def test_what_an_entry_of_a_bundle_refers_to_is_contained_in_that_entry():
    """FHIR R4 fhirpath.html: `%rootResource` is the container of what is contained, else the resource itself."""
    held = '{"resourceType":"Organization","id":"%s","name":"x"}'
    patient = '{"resourceType":"Patient","contained":[%s],"managingOrganization":{"reference":"#o"}}'
    bundle = '{"resourceType":"Bundle","type":"collection","entry":[{"fullUrl":"http://x.example/1","resource":%s}]}'
    assert broken(bundle % (patient % (held % "o"))) == []
    # What another entry contains is not in it.
    other = patient.replace('"contained":[%s],', "")
    beside = f'{other}}},{{"fullUrl":"http://x.example/2","resource":{patient % (held % "o")}'
    assert broken(bundle % beside) == [("ref-1", "Bundle.entry[0].resource.managingOrganization")]


def test_what_a_canonical_in_a_list_names_is_referred_to():
    """R4 `dom-3`; as in HL7's PlanDefinition example-cardiology-os."""
    library = '{"resourceType":"Library","id":"l","status":"active","type":{"text":"x"}}'
    plan = '{"resourceType":"PlanDefinition","status":"draft","library":["#l"],"contained":[%s]}'
    assert list(check_invariants(parse((plan % library).encode()))) == []
    assert [one.expected for one in check_invariants(parse((plan % library).replace("#l", "#m").encode()))] == ["dom-3"]


def test_of_two_contained_resources_with_one_id_the_second_is_found():
    """R4 Element.id: "unique id for the element within a resource": ``#o`` could mean either."""
    held = '{"resourceType":"Organization","id":"%s","name":"x"}'
    patient = (
        '{"resourceType":"Patient","contained":[%s,%s],"generalPractitioner":[{"reference":"#o"},{"reference":"#p"}]}'
    )
    assert list(check_invariants(parse((patient % (held % "o", held % "p")).encode()))) == []
    (issue,) = check_invariants(parse((patient.replace("#p", "#o") % (held % "o", held % "o")).encode()))
    assert (issue.rule, issue.severity, issue.expression) == (Rule.DUPLICATE, "error", "Patient.contained[1].id")
