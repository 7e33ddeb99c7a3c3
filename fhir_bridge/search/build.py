"""Makes `ucum.json` and `pinyin.json` from maintained packages: `python -m fhir_bridge.search.build`.

Never imported by the product; needs the development requirements. Keeps true: the same packages give the same bytes.
Source: UCUM's ucum-essence.xml as the package ucumvert carries it; the readings of the package pypinyin;
`docs/adr/0016-units-and-pinyin.md`.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

_NS: Final = "{http://unitsofmeasure.org/ucum-essence}"
_FIRST_HAN: Final = 0x3400
_LAST_HAN: Final = 0x9FFF
# A second reading counts from this share of the phrases in which its character stands.
_IN_USE: Final = 0.15
# A surname's reading differs from the usual reading of its character. Facts of the language, from its dictionaries.
_SURNAMES: Final = (
    "单shan 解xie 仇qiu 曾zeng 任ren 华hua 区ou 朴piao 查zha 盖ge 乐yue 翟zhai 贾jia 尉wei 召shao 覃qin "
    "缪miao 种chong 折she 黑he 员yun 繁po 逄pang 晟cheng 洗xian 冼xian 燕yan 宁ning 葛ge 哈ha 纪ji 应ying "
    "尉迟yu_chi 万俟mo_qi 澹台tan_tai 单于chan_yu 长孙zhang_sun 令狐ling_hu 宇文yu_wen 夏侯xia_hou "
    "欧阳ou_yang 司马si_ma 上官shang_guan 诸葛zhu_ge 皇甫huang_fu 公孙gong_sun 慕容mu_rong 司徒si_tu 东方dong_fang "
)


def units(root: ET.Element) -> dict[str, Any]:
    """Turn UCUM's definitions into ours.

    Args:
        root: ucum-essence.xml.

    Returns:
        ``prefixes``: code → value; ``units``: code → [metric, value, unit], without value and unit for base units,
        arbitrary units, and those that are no multiple of others.
    """
    prefixes = {one.get("Code", ""): _value(one)[0] for one in root.iter(_NS + "prefix")}
    found: dict[str, list[object]] = {one.get("Code", ""): [1, "", ""] for one in root.iter(_NS + "base-unit")}
    for one in root.iter(_NS + "unit"):
        apart = one.get("isSpecial") == "yes" or (one.get("isArbitrary") == "yes" and _value(one)[1] == "1")
        value, unit = ("", "") if apart else _value(one)
        found[one.get("Code", "")] = [int(one.get("isMetric") == "yes"), value, unit]
    return {"prefixes": prefixes, "units": found}


def _value(node: ET.Element) -> tuple[str, str]:
    """Return the value and unit of a definition."""
    found = node.find(_NS + "value")
    return ("", "") if found is None else (found.get("value", ""), found.get("Unit", ""))


def readings(
    dictionary: Mapping[int, str], phrases: Iterable[tuple[str, Sequence[Sequence[str]]]], plain: Callable[[str], str]
) -> list[dict[str, str]]:
    """Turn a dictionary of readings into ours.

    Args:
        dictionary: code point → readings with tones, the most usual first, separated by commas.
        phrases: phrases with the readings of their characters; they tell whether a second reading is in use.
        plain: takes the tone off a reading.

    Returns:
        For the first and for the second reading: syllable → characters.
    """
    used: Counter[tuple[str, str]] = Counter()
    for phrase, ways in phrases:
        used.update((sign, plain(way[0])) for sign, way in zip(phrase, ways, strict=False))
    found: list[dict[str, list[str]]] = [{}, {}]
    for point in sorted(dictionary):
        if _FIRST_HAN <= point <= _LAST_HAN:
            sign = chr(point)
            first, *others = dict.fromkeys(plain(one) for one in dictionary[point].split(","))
            found[0].setdefault(first, []).append(sign)
            second = max(others, key=lambda way: used[sign, way], default="")
            if used[sign, second] > _IN_USE * (used[sign, first] + used[sign, second]):
                found[1].setdefault(second, []).append(sign)
    return [{way: "".join(signs) for way, signs in sorted(group.items())} for group in found]


def surnames(text: str) -> dict[str, str]:
    """Turn the list of surnames into name → syllables."""
    rows = (one.replace("_", " ") for one in text.split())
    return {row.rstrip("abcdefghijklmnopqrstuvwxyz "): "".join(sign for sign in row if sign.isascii()) for row in rows}


def _pinyin() -> dict[str, Any]:
    """Take the readings of pypinyin."""
    dictionary = importlib.import_module("pypinyin.constants").PINYIN_DICT
    phrases = importlib.import_module("pypinyin.phrases_dict").phrases_dict
    to_normal = cache(importlib.import_module("pypinyin.contrib.tone_convert").to_normal)
    return {"readings": readings(dictionary, phrases.items(), to_normal), "surnames": surnames(_SURNAMES)}


def _ucum() -> dict[str, Any]:
    """Take the definitions that ucumvert carries."""
    folder = Path(importlib.import_module("ucumvert").__file__ or "").parent
    return units(ET.parse(folder / "vendor" / "ucum-essence.xml").getroot())  # noqa: S314  # a package's own file


def build() -> dict[str, str]:
    """Make both files: name → text."""
    made = {"ucum.json": _ucum(), "pinyin.json": _pinyin()}
    return {name: json.dumps(content, ensure_ascii=False, indent=0) + "\n" for name, content in made.items()}


def main() -> int:
    """Write both files beside this one."""
    for name, text in build().items():
        Path(__file__).with_name(name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
