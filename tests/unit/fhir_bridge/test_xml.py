"""FHIR XML. Expected answers come from FHIR R4 §2.6.1 and from HL7's own examples."""

from __future__ import annotations

import time
import xml.etree.ElementTree as ET  # another reader

import pytest

from fhir_bridge.document import MAX_DEPTH, MAX_VALUES, Number, parse, write
from fhir_bridge.resources import InvalidResourceError
from fhir_bridge.validation.check import check
from fhir_bridge.validation.issue import Rule
from fhir_bridge.xml import parse_xml, write_xml
from medchain.errors import InputError
from tests.unit.fhir_bridge.examples import examples

PATIENT = '<Patient xmlns="http://hl7.org/fhir">%s</Patient>'
DIV = '<div xmlns="http://www.w3.org/1999/xhtml">%s</div>'


def spelled(value: object) -> object:
    """A value with its numbers as they are spelled, narratives by what they say."""
    if isinstance(value, dict):
        return {name: ET.canonicalize(item) if name == "div" else spelled(item) for name, item in value.items()}
    if isinstance(value, list):
        return [spelled(item) for item in value]
    return ("number", value.text) if isinstance(value, Number) else value


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in examples()])
def test_an_official_example_comes_back_from_xml(data):
    resource = parse(data)
    assert spelled(parse_xml(write_xml(resource))) == spelled(resource)


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in list(examples())[::25]])
def test_laid_out_for_people_it_says_the_same(data):
    """FHIR R4 §3.1.0.1.12, ``_pretty``."""
    resource = parse(data)
    assert spelled(parse_xml(write_xml(resource, pretty=True))) == spelled(resource)


def test_laid_out_for_people_each_element_has_a_line_and_narratives_stay_as_they_are():
    extension = '<extension url="u"><valueString value="&lt;/&gt;"/></extension>'
    contained = "<contained><Basic><id value='b'/><code><text value='/'/></code></Basic></contained>"
    text = f"<text><status value='generated'/>{DIV % 'a<br/> b'}</text>"
    inside = f"{text}{contained}<active value='true'>{extension}</active><gender value='male'/>"
    lines = write_xml(parse_xml((PATIENT % inside).encode()), pretty=True).decode().split("\n")
    assert lines == [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<Patient xmlns="http://hl7.org/fhir">',
        "  <text>",
        '    <status value="generated"/>',
        '    <div xmlns="http://www.w3.org/1999/xhtml">a<br/> b</div>',
        "  </text>",
        "  <contained>",
        "    <Basic>",
        '      <id value="b"/>',
        "      <code>",
        '        <text value="/"/>',
        "      </code>",
        "    </Basic>",
        "  </contained>",
        f'  <active value="true">{extension}</active>',
        '  <gender value="male"/>',
        "</Patient>",
        "",
    ]


def test_another_reader_finds_elements_attributes_and_digits():
    resource = parse(
        b'{"resourceType":"Observation","id":"o","status":"final","_status":{"id":"s"},"code":{"id":"c","text":"a\\n\\"b<"},'
        b'"valueQuantity":{"value":5.60},"extension":[{"url":"u","valueBoolean":true}]}'
    )
    root = ET.fromstring(write_xml(resource))  # noqa: S314  # our own output
    fhir = "{http://hl7.org/fhir}"
    assert [child.tag.removeprefix(fhir) for child in root] == ["id", "extension", "status", "code", "valueQuantity"]
    found = {child.tag.removeprefix(fhir): child for child in root}
    assert found["id"].attrib == {"value": "o"}
    assert found["extension"].attrib == {"url": "u"}
    assert found["extension"][0].attrib == {"value": "true"}
    assert found["status"].attrib == {"id": "s", "value": "final"}
    assert found["code"].attrib == {"id": "c"}
    assert found["code"][0].attrib == {"value": 'a\n"b<'}
    assert found["valueQuantity"][0].attrib == {"value": "5.60"}


def test_values_and_extensions_of_a_repeated_primitive_stay_together():
    body = PATIENT % (
        '<name><given value="a"/><given id="x"><extension url="u"><valueCode value="v"/></extension></given>'
        '<given value="c"/></name>'
    )
    resource = parse_xml(body.encode())
    assert resource["name"] == [
        {
            "given": ["a", None, "c"],
            "_given": [None, {"id": "x", "extension": [{"url": "u", "valueCode": "v"}]}],
        }
    ]
    assert check(resource) == []
    assert parse_xml(write_xml(resource)) == resource


def test_a_narrative_keeps_its_markup():
    body = PATIENT % f'<text><status value="generated"/>{DIV % """<p class="a">1 &lt; 2<br/>字 &#160;</p>"""}</text>'
    text = parse_xml(body.encode())["text"]
    assert text == {"status": "generated", "div": DIV % '<p class="a">1 &lt; 2<br/>字 \u00a0</p>'}


def test_a_prefix_and_an_encoding_of_the_senders_choice_are_understood():
    body = (
        '<?xml version="1.0" encoding="ISO-8859-1"?>'
        '<f:Patient xmlns:f="http://hl7.org/fhir"><f:language value="fr-\u00e9"/></f:Patient>'
    )
    assert parse_xml(body.encode("latin-1")) == {"resourceType": "Patient", "language": "fr-\u00e9"}


@pytest.mark.parametrize(
    ("body", "rule", "place"),
    [
        ('<birthday value="1970"/>', "unknown_element", "Patient"),
        ('<birthDate value="1970"/><birthDate value="1971"/>', "single", "Patient.birthDate"),
        ('<active value="yes"/>', "value", "Patient.active"),
        ('<gender value=""/>', "empty", "Patient.gender"),
        ("<contained><Pationt/></contained>", "type", "Patient.contained[0]"),
        ("<contained/>", "type", "Patient.contained[0]"),
        ("<name/>", "empty", "Patient.name[0]"),
    ],
)
def test_what_r4_does_not_allow_is_left_for_validation_to_find(body, rule, place):
    (issue, *_) = check(parse_xml((PATIENT % body).encode()))
    assert (issue.rule.value, issue.expression) == (rule, place)


BOMB = '<!DOCTYPE a [<!ENTITY a "xxxxxxxxxx"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>' + PATIENT % '<language value="&b;"/>'


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("", "document.not_xml"),
        ("<Patient", "document.not_xml"),
        (PATIENT % "" + "x", "document.not_xml"),
        ('<?xml version="1.0" encoding="x-nothing"?><Patient/>', "document.not_xml"),
        (BOMB, "document.declaration"),
        ('<!DOCTYPE Patient SYSTEM "file:///etc/passwd">' + PATIENT % "", "document.declaration"),
        ("<Patient/>", "document.namespace"),
        (PATIENT % '<name xmlns="urn:other"/>', "document.namespace"),
        (PATIENT % DIV % "x", "document.namespace"),
        (PATIENT % "text", "document.text"),
        (PATIENT % '<gender valeu="male"/>', "document.attribute"),
        (PATIENT % '<multipleBirthInteger value="two"/>', "document.number"),
        (PATIENT % ("<contact>" * MAX_DEPTH + "</contact>" * MAX_DEPTH), "document.depth"),
        (PATIENT % f"<text>{DIV % ('<b>' * 300 + '</b>' * 300)}</text>", "document.depth"),
    ],
)
def test_hostile_documents_are_refused(body, code):
    with pytest.raises(InputError) as refused:
        parse_xml(body.encode())
    assert refused.value.code == code


def test_what_cannot_be_read_is_told_with_its_line():
    for inside, code in (
        ("<birthDate value='2020' bogus='x'/>", "document.attribute"),
        ("text", "document.text"),
        ("text\n\n", "document.text"),
        ("<birthDate value='2020'/> text\nand more\n<deceasedBoolean value='true'/>", "document.text"),
        ("<active xmlns='urn:x'/>", "document.namespace"),
        ("<active", "document.not_xml"),
    ):
        with pytest.raises(InputError) as refused:
            parse_xml((PATIENT % f"\n<gender value='male'/>\n{inside}").encode())
        assert (refused.value.code, refused.value.fields["line"]) == (code, 3)


@pytest.mark.parametrize(
    ("element", "value"),
    [
        ('<valueInteger value="+5"/>', {"valueInteger": Number("5")}),
        ('<valueInteger value="-5"/>', {"valueInteger": Number("-5")}),
        ('<valuePositiveInt value="+12"/>', {"valuePositiveInt": Number("12")}),
    ],
)
def test_a_whole_number_may_have_a_plus_sign_which_json_has_not(element, value):
    """R4 datatypes: integer is ``[0]|[-+]?[1-9][0-9]*``, positiveInt ``+?[1-9][0-9]*``."""
    made = parse_xml((PATIENT % f'<extension url="urn:x">{element}</extension>').encode())
    assert made["extension"] == [{"url": "urn:x", **value}]
    assert b"+" not in write(made)


@pytest.mark.parametrize(
    "element",
    [
        '<valueInteger value="+0"/>',
        '<valueInteger value="+05"/>',
        '<valueInteger value="+-5"/>',
        '<valueUnsignedInt value="+5"/>',
        '<valueDecimal value="+5.0"/>',
    ],
)
def test_no_other_number_has_a_plus_sign(element):
    """R4 datatypes: unsignedInt is ``[0]|([1-9][0-9]*)``, and a decimal begins with a minus sign or a digit."""
    with pytest.raises(InputError, match=r"document\.number"):
        parse_xml((PATIENT % f'<extension url="urn:x">{element}</extension>').encode())


@pytest.mark.parametrize("piece", ["<a/>", '<a b=""/>', "<name></name>"])
def test_a_document_of_very_many_small_elements_is_refused_before_they_are_made(piece):
    count = MAX_VALUES // piece.count("<") + 1
    began = time.thread_time()
    with pytest.raises(InputError, match=r"document\.values"):
        parse_xml((PATIENT % (piece * count)).encode())
    assert time.thread_time() - began < 5


def test_a_document_of_very_many_attributes_is_refused_before_they_are_made():
    attributes = " ".join(f'a{n}=""' for n in range(MAX_VALUES))
    with pytest.raises(InputError, match=r"document\.values"):
        parse_xml((PATIENT % f"<name {attributes}/>").encode())


def test_what_is_no_resource_is_not_written():
    with pytest.raises(InputError) as refused:
        write_xml({"resourceType": "Pationt"})
    assert refused.value.code == "resource.type"


def test_many_elements_of_one_name_cost_as_much_each_as_few():
    body = (PATIENT % ('<identifier><value value="1"/></identifier>' * 100_000)).encode()
    began = time.thread_time()
    assert len(parse_xml(body)["identifier"]) == 100_000
    # The square of their number would be half a minute.
    assert time.thread_time() - began < 8


@pytest.mark.parametrize(
    ("inside", "place", "follower"),
    [
        ('<birthDate value="1980-01-01"/><active value="true"/>', "Patient.active", "birthDate"),
        ("<name/><telecom/><name/>", "Patient.name", "telecom"),
        ('<contact/><contact><gender value="male"/><name/></contact>', "Patient.contact[1].name", "gender"),
        (
            '<contained><Patient><active value="true"/><id value="a"/></Patient></contained>',
            "Patient.contained[0].id",
            "active",
        ),
        (
            '<text><div xmlns="http://www.w3.org/1999/xhtml">x</div><status value="generated"/></text>',
            "Patient.text.status",
            "div",
        ),
        (
            '<multipleBirthBoolean value="true"/><deceasedDateTime value="1980"/>',
            "Patient.deceasedDateTime",
            "multipleBirthBoolean",
        ),
    ],
)
def test_elements_in_another_order_than_the_schemas_are_refused_where_they_stand(inside, place, follower):
    """FHIR R4 §2.6.1: the schemas of XML are sequences."""
    with pytest.raises(InvalidResourceError) as refused:
        parse_xml(f'<Patient xmlns="http://hl7.org/fhir">{inside}</Patient>'.encode())
    assert [(one.rule, one.expression, one.expected) for one in refused.value.issues] == [(Rule.ORDER, place, follower)]


def test_what_r4_does_not_know_has_no_place_in_the_order():
    read = parse_xml(b'<Patient xmlns="http://hl7.org/fhir"><active value="true"/><x value="y"/><name/></Patient>')
    assert list(read) == ["resourceType", "active", "x", "name"]
