"""The data files are what the packages give."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

from fhir_bridge.search import build as made
from fhir_bridge.search.build import build, readings, surnames, units

CARRIED = Path(made.__file__).parent
UCUM = """<root xmlns="http://unitsofmeasure.org/ucum-essence">
<prefix Code="k"><value value="1e3"/></prefix><base-unit Code="m"/>
<unit Code="[in]" isMetric="no"><value Unit="cm" value="2.54"/></unit>
<unit Code="Cel" isMetric="yes" isSpecial="yes"><value Unit="cel(1 K)"/></unit>
<unit Code="[iU]" isMetric="yes" isArbitrary="yes"><value Unit="1" value="1"/></unit>
<unit Code="[IU]" isMetric="yes" isArbitrary="yes"><value Unit="[iU]" value="1"/></unit></root>"""


def test_what_is_carried_can_be_made_again():
    for name, text in build().items():
        assert (CARRIED / name).read_text(encoding="utf-8") == text


def test_the_command_writes_beside_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(made, "__file__", str(tmp_path / "build.py"))
    assert made.main() == 0
    assert {path.name for path in tmp_path.iterdir()} == {"ucum.json", "pinyin.json"}


def test_units_that_are_no_multiple_of_others_have_no_value():
    assert units(ET.fromstring(UCUM)) == {  # noqa: S314  # our own text
        "prefixes": {"k": "1e3"},
        "units": {
            "m": [1, "", ""],
            "[in]": [0, "2.54", "cm"],
            "Cel": [1, "", ""],
            "[iU]": [1, "", ""],
            "[IU]": [1, "1", "[iU]"],
        },
    }


def test_a_second_reading_counts_only_where_phrases_use_it():
    dictionary = {0x4E50: "le4,yue4", 0x660E: "ming2,meng4", 0x61: "a"}
    phrases = [("\u4e50", [["yue4"]]), ("\u4e50", [["le4"]]), ("\u660e", [["ming2"]])]
    assert readings(dictionary, phrases, lambda one: one.rstrip("1234")) == [
        {"le": "\u4e50", "ming": "\u660e"},
        {"yue": "\u4e50"},
    ]


def test_surnames_are_split_from_their_syllables():
    assert surnames("\u5355shan \u6b27\u9633ou_yang") == {"\u5355": "shan", "\u6b27\u9633": "ou yang"}
