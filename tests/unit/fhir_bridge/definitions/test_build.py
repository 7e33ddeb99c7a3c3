"""What is carried is made of HL7's files: shown on small ones of the same form."""

from __future__ import annotations

import io
import json
import lzma
import tarfile
import zipfile
from xml.etree import ElementTree as ET

import pytest

from fhir_bridge.definitions import build as made
from fhir_bridge.definitions.build import Codes, build, compartment, parameters, structures
from fhir_bridge.definitions.build_profiles import bound, profiles

DEF = "http://hl7.org/fhir/StructureDefinition/"
STRUCTURES = f"""<Bundle xmlns="http://hl7.org/fhir"><entry><resource><StructureDefinition>
<kind value="resource"/><abstract value="false"/><type value="Thing"/><baseDefinition value="{DEF}Resource"/>
<derivation value="specialization"/><snapshot>
<element><path value="Thing"/><min value="0"/><max value="*"/><constraint><key value="t-1"/><severity value="error"/>
<human value="Say it"/><expression value="a or b"/></constraint></element>
<element><path value="Thing.id"/><min value="0"/><max value="1"/><type>
<extension url="{DEF}structuredefinition-fhir-type"><valueUrl value="string"/></extension>
<code value="http://hl7.org/fhirpath/System.String"/></type></element>
<element><path value="Thing.kind"/><min value="1"/><max value="1"/><type><code value="code"/></type>
<isModifier value="true"/><isSummary value="true"/><binding><extension url="{DEF}elementdefinition-maxValueSet">
<valueCanonical value="urn:max"/></extension><strength value="required"/><valueSet value="urn:kinds|4.0.1"/></binding>
</element>
<element><path value="Thing.of"/><min value="0"/><max value="2"/><type><code value="Reference"/>
<targetProfile value="{DEF}Patient"/></type></element>
<element><path value="Thing.part"/><min value="0"/><max value="*"/><contentReference value="#Thing.of"/></element>
</snapshot></StructureDefinition></resource></entry>
<entry><resource><StructureDefinition><kind value="resource"/><type value="Thing"/><derivation value="constraint"/>
</StructureDefinition></resource></entry></Bundle>"""

CODES = """<Bundle xmlns="http://hl7.org/fhir"><entry><resource><CodeSystem><url value="urn:s"/>
<content value="complete"/>
<concept><code value="a"/><concept><code value="b"/></concept></concept>
<concept><code value="c"/><property><code value="subsumedBy"/><valueCode value="b"/></property></concept>
<concept><code value="d"/></concept></CodeSystem></resource></entry>
<entry><resource><CodeSystem><url value="urn:open"/><content value="fragment"/><concept><code value="x"/></concept>
</CodeSystem></resource></entry>%s</Bundle>"""


def value_set(url, compose):
    return f'<entry><resource><ValueSet><url value="{url}"/><compose>{compose}</compose></ValueSet></resource></entry>'


def tables(*sets: str):
    roots = [ET.fromstring(CODES % "".join(value_set(f"urn:{i}", one) for i, one in enumerate(sets)))]  # noqa: S314  # our own text
    return Codes(roots).tables([f"urn:{i}" for i in range(len(sets))])


def test_a_definition_becomes_rows_and_a_profile_is_left_out():
    (thing,) = structures(ET.fromstring(STRUCTURES))  # noqa: S314  # our own text
    assert thing == {
        "name": "Thing",
        "kind": "resource",
        "abstract": False,
        "base": "Resource",
        "rules": {"t-1": ["error", "Say it", "a or b"]},
        "elements": [
            ["Thing", 0, -1, [], [], "", 0, ["t-1"]],
            ["Thing.id", 0, 1, [["id"]], [], "", 0, []],
            ["Thing.kind", 1, 1, [["code"]], ["required", "urn:kinds", "urn:max"], "", 3, []],
            ["Thing.of", 0, 2, [["Reference", ["Patient"]]], [], "", 0, []],
            ["Thing.part", 0, -1, [], [], "Thing.of", 0, []],
        ],
    }


@pytest.mark.parametrize(
    ("compose", "codes"),
    [
        ('<include><system value="urn:s"/></include>', {"urn:s": ["a", "b", "c", "d"]}),
        ('<include><system value="urn:any"/><concept><code value="q"/></concept></include>', {"urn:any": ["q"]}),
        (
            (
                '<include><system value="urn:s"/><filter><property value="concept"/><op value="is-a"/>'
                '<value value="b"/></filter></include>'
            ),
            {"urn:s": ["b", "c"]},
        ),
        (
            (
                '<include><system value="urn:s"/><filter><property value="concept"/><op value="descendent-of"/>'
                '<value value="a"/></filter></include>'
            ),
            {"urn:s": ["b", "c"]},
        ),
        (
            (
                '<include><system value="urn:s"/></include><exclude><system value="urn:s"/><concept><code value="d"/>'
                "</concept></exclude>"
            ),
            {"urn:s": ["a", "b", "c"]},
        ),
    ],
)
def test_a_value_set_is_enumerated(compose, codes):
    assert tables(compose) == {"urn:0": codes}


def test_a_value_set_may_be_made_of_others():
    whole = '<include><system value="urn:s"/></include>'
    assert tables(whole, '<include><valueSet value="urn:0|1"/></include>')["urn:1"] == {"urn:s": ["a", "b", "c", "d"]}


@pytest.mark.parametrize(
    "compose",
    [
        '<include><system value="urn:open"/></include>',
        '<include><valueSet value="urn:missing"/></include>',
        '<include><system value="urn:s"/></include><exclude><system value="urn:open"/></exclude>',
        '<include><system value="urn:s"/><filter><property value="x"/><op value="="/></filter></include>',
    ],
)
def test_a_value_set_with_an_open_part_is_left_out(compose):
    assert tables(compose) == {}


def test_the_parts_of_a_relationship_are_compared_as_what_they_are():
    """As published, `relatesto` (a reference) is the code, and `relation` (a code) the target."""
    url = "http://hl7.org/fhir/SearchParameter/DocumentReference-relationship"
    parts = [
        {"definition": "urn:relatesto", "expression": "code"},
        {"definition": "urn:relation", "expression": "target"},
    ]
    one = {"url": url, "code": "relationship", "type": "composite", "base": ["DocumentReference"], "component": parts}
    (row,) = parameters({"entry": [{"resource": one}]})
    assert row[6] == [["urn:relatesto", "target"], ["urn:relation", "code"]]


def test_a_compartment_keeps_the_types_that_belong_to_it():
    rows = [{"code": "A", "param": ["x"]}, {"code": "B"}]
    assert compartment({"code": "Patient", "resource": rows}) == ("Patient", {"A": ["x"]})


KINDS = value_set("urn:kinds", '<include><system value="urn:s"/></include>')
OTHER = value_set("urn:other", '<include><system value="urn:q"/><concept><code value="q"/></concept></include>')


def source(folder, *, packed):
    """Lay out a folder of small files, as published or packed."""
    parameter = {"url": "urn:p", "code": "p", "type": "token", "base": ["Thing"], "expression": "Thing.kind"}
    texts = {
        "profiles-types.xml": '<Bundle xmlns="http://hl7.org/fhir"/>',
        "profiles-resources.xml": STRUCTURES,
        "valuesets.xml": CODES % (KINDS + OTHER),
        "v3-codesystems.xml": CODES % "",
        "v2-tables.xml": CODES % "",
        "search-parameters.json": json.dumps({"entry": [{"resource": parameter}]}),
    }
    for name, text in texts.items():
        if packed:
            (folder / f"{name}.xz").write_bytes(lzma.compress(text.encode()))
        else:
            (folder / name).write_text(text)
    parts = {
        f"CompartmentDefinition-{name}.json": json.dumps(
            {
                "resourceType": "CompartmentDefinition",
                "code": name,
                "resource": [{"code": "Thing", "param": ["p"]}],
            }
        ).encode()
        for name in ("patient", "encounter", "relatedPerson", "practitioner", "device")
    }
    profile = snapshot(element("Thing.kind", 1, "1", type=[{"code": "code"}], fixedCode="a"))["p"]
    parts["StructureDefinition-p.json"] = json.dumps(profile).encode()
    if packed:
        with tarfile.open(folder / "hl7-r4-examples-4.0.1.tar.xz", "w:xz") as archive:
            for name, data in parts.items():
                info = tarfile.TarInfo(f"r4/{name}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    else:
        for name, data in parts.items():
            (folder / name).write_bytes(data)
    return folder


def test_files_as_published_and_packed_ones_give_the_same_bytes(tmp_path):
    (tmp_path / "plain").mkdir()
    (tmp_path / "packed").mkdir()
    data = build(source(tmp_path / "plain", packed=False))
    assert build(source(tmp_path / "packed", packed=True)) == data
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert set(archive.namelist()) == {
            *("codes.json", "compartments.json", "hierarchies.json", "kinds.json", "profiles.json", "search.json"),
            *("types/Thing.json", "value_sets.json"),
        }
        root = {"children": [{"name": "kind", "fixed": "a"}]}
        assert json.loads(archive.read("profiles.json")) == {"p": {"type": "Thing", "root": root}}
        assert json.loads(archive.read("codes.json")) == {"urn:kinds": {"urn:s": ["a", "b", "c", "d"]}}
        assert json.loads(archive.read("value_sets.json")) == {"urn:other": {"urn:q": ["q"]}}
        # By nesting and by what is stated; of a fragment nobody knows what else there is.
        assert json.loads(archive.read("hierarchies.json")) == {"urn:s": {"b": ["a"], "c": ["b"]}}
        assert json.loads(archive.read("compartments.json"))["device"] == {"Thing": ["p"]}
        assert json.loads(archive.read("search.json")) == [
            ["urn:p", "p", "token", ["Thing"], "Thing.kind", [], [], 3, [], [], []]
        ]


def test_the_command_writes_beside_itself_and_asks_for_one_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(made, "__file__", str(tmp_path / "build.py"))
    assert made.main([]) == 2
    assert made.main([str(source(tmp_path, packed=False))]) == 0
    assert (tmp_path / "r4.zip").read_bytes()[:2] == b"PK"


def element(path: str, least: int = 0, most: str = "*", **more: object) -> dict:
    name = path.replace(":", ".").split(".")
    return {"id": path, "path": ".".join(name[:2]), "min": least, "max": most} | more


def snapshot(*elements: dict) -> dict:
    named = {"resourceType": "StructureDefinition", "id": "p", "kind": "resource"}
    named |= {"derivation": "constraint", "type": "Thing"}
    return {"p": named | {"snapshot": {"element": [element("Thing", constraint=[]), *elements]}}}


def test_of_a_profile_is_kept_what_it_asks_for_beyond_its_type():
    (thing,) = structures(ET.fromstring(STRUCTURES))  # noqa: S314  # our own text
    own = {"key": "p-1", "severity": "error", "human": "Say more", "expression": "kind"}
    definitions = snapshot(
        element("Thing.id", 1, "1", type=[{"code": "id"}]),
        element("Thing.kind", 1, "1", type=[{"code": "code"}], fixedCode="a", constraint=[own, own | {"key": "t-1"}]),
        element("Thing.of", 0, "2", type=[{"code": "Reference", "targetProfile": [f"{DEF}Group"]}]),
        element(
            "Thing.part", 0, "*", slicing={"discriminator": [{"type": "value", "path": "kind"}], "rules": "closed"}
        ),
        element("Thing.part:one", 1, "1"),
        element("Thing.part:one.kind", 0, "*", patternCode="b"),
        element("Thing.text", 0, "1"),
    )
    assert profiles(definitions, {"Thing": thing}) == {
        "p": {
            "type": "Thing",
            "root": {
                "children": [
                    {"name": "id", "min": 1},
                    {"name": "kind", "fixed": "a", "rules": [["p-1", "error", "Say more", "kind"]]},
                    {"name": "of", "targets": ["Group"]},
                    {
                        "name": "part",
                        "slicing": [[["value", "kind"]], False, False],
                        "slices": [
                            {"slice": "one", "min": 1, "max": 1, "children": [{"name": "kind", "pattern": "b"}]}
                        ],
                    },
                    {"name": "text", "max": 1},
                ]
            },
        }
    }


@pytest.mark.parametrize("way", [{"type": "profile", "path": "$this"}, {"type": "value", "path": "resolve().code"}])
def test_a_profile_whose_slices_are_told_apart_otherwise_is_left_out(way):
    (thing,) = structures(ET.fromstring(STRUCTURES))  # noqa: S314  # our own text
    sliced = element("Thing.part", slicing={"discriminator": [way], "rules": "open"})
    assert profiles(snapshot(sliced, element("Thing.part:one", 1, "1")), {"Thing": thing}) == {}


def test_the_sets_that_a_profile_binds_are_listed():
    tree = {"children": [{"binding": "urn:a", "slices": [{"binding": "urn:b"}]}]}
    assert bound(tree) == {"urn:a", "urn:b"}
