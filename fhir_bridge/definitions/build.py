"""Makes `r4.zip` from HL7's published definitions: `python -m fhir_bridge.definitions.build FOLDER`.

Never imported by the product; kept with it so that what is carried can be made again. The folder holds HL7's files of
FHIR R4 (4.0.1), each as published or compressed by xz: profiles-types.xml, profiles-resources.xml, valuesets.xml,
v3-codesystems.xml, v2-tables.xml, search-parameters.json, and the CompartmentDefinitions and StructureDefinitions of
profiles, as files or inside hl7-r4-examples-4.0.1.tar. Keeps true: the same input gives the same bytes. Trusts its
input.
Source: HL7 FHIR R4 (4.0.1), CC0-1.0; `docs/adr/0015-carried-definitions.md`.
"""

from __future__ import annotations

import io
import json
import lzma
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias
from xml.etree import ElementTree as ET

from fhir_bridge.definitions.build_profiles import bound as bindings
from fhir_bridge.definitions.build_profiles import profiles

Row: TypeAlias = list[Any]  # a row of a data file: text, numbers, lists of them
CodeTable: TypeAlias = dict[str, list[str]]

_NS: Final = "{http://hl7.org/fhir}"
_PREFIX: Final = "http://hl7.org/fhir/StructureDefinition/"
_FHIR_TYPE: Final = _PREFIX + "structuredefinition-fhir-type"
_REGEX: Final = _PREFIX + "regex"
_MAX_VALUE_SET: Final = _PREFIX + "elementdefinition-maxValueSet"
_RELATIONSHIP: Final = "http://hl7.org/fhir/SearchParameter/DocumentReference-relationship"
_COMPARTMENTS: Final = ("patient", "encounter", "relatedPerson", "practitioner", "device")
_XML_FILES: Final = ("profiles-types.xml", "profiles-resources.xml")
_CODE_FILES: Final = ("valuesets.xml", "v3-codesystems.xml", "v2-tables.xml")
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


def build(folder: Path) -> bytes:
    """Make the archive.

    Args:
        folder: HL7's files.

    Returns:
        A zip archive: `search.json`, `compartments.json`, `codes.json`, `value_sets.json`, `hierarchies.json`,
        `kinds.json`, a `types/NAME.json` a type, and `profiles.json`.
    """
    files: dict[str, object] = {}
    bound: set[str] = set()
    kinds: dict[str, Row] = {}
    for name in _XML_FILES:
        for definition in structures(ET.fromstring(_read(folder, name))):  # noqa: S314  # HL7's own file
            files[f"types/{definition['name']}.json"] = definition
            kinds[definition["name"]] = [definition["kind"], int(definition["abstract"]), definition["base"]]
            bound.update(_required(definition))
    parts = _parts(folder)
    types = {
        str(one["name"]): one for name, one in files.items() if name.startswith("types/") and isinstance(one, dict)
    }
    made = profiles({one["id"]: one for one in parts if one["resourceType"] == "StructureDefinition"}, types)
    files["profiles.json"] = made
    for one in made.values():
        bound.update(bindings(one["root"]))
    roots = [ET.fromstring(_read(folder, name)) for name in _CODE_FILES]  # noqa: S314  # HL7's own files
    codes = Codes(roots)
    files["codes.json"] = codes.tables(sorted(bound))
    files["value_sets.json"] = codes.tables(sorted(codes.sets - bound))
    files["hierarchies.json"] = codes.hierarchies()
    files["search.json"] = parameters(json.loads(_read(folder, "search-parameters.json")))
    files["compartments.json"] = dict(
        compartment(one) for one in parts if one["resourceType"] == "CompartmentDefinition"
    )
    files["kinds.json"] = kinds
    return _archive(files)


def structures(root: ET.Element) -> Iterator[dict[str, Any]]:
    """Turn the StructureDefinitions of a Bundle that define types into our rows; profiles are left out."""
    for node in root.iter(_NS + "StructureDefinition"):
        if _value(node, "kind") == "logical" or _value(node, "derivation") == "constraint":
            continue
        rules: dict[str, Row] = {}
        snapshot = node.find(f"{_NS}snapshot")
        rows = [] if snapshot is None else [_element(element, rules) for element in snapshot.findall(_NS + "element")]
        if _value(node, "kind") == "resource":
            # HL7 publishes the id of a resource with the type string; the text of §2.27.3 says that it is an id.
            rows = [
                row if row[0].count(".") != 1 or not row[0].endswith(".id") else [*row[:3], [["id"]], *row[4:]]
                for row in rows
            ]
        yield {
            "name": _value(node, "type"),
            "kind": _value(node, "kind"),
            "abstract": _value(node, "abstract") == "true",
            "base": _value(node, "baseDefinition").removeprefix(_PREFIX),
            "rules": rules,
            "elements": rows,
        }


def _element(node: ET.Element, rules: dict[str, Row]) -> Row:
    """Turn an ElementDefinition into a row; its invariants are kept once a type."""
    keys = []
    for rule in node.findall(_NS + "constraint"):
        key = _value(rule, "key")
        keys.append(key)
        rules[key] = [_value(rule, "severity"), _value(rule, "human"), _value(rule, "expression")]
    maximum = _value(node, "max")
    return [
        _value(node, "path"),
        int(_value(node, "min") or "0"),
        -1 if maximum == "*" else int(maximum),
        [_type(one) for one in node.findall(_NS + "type")],
        _binding(node),
        _value(node, "contentReference").removeprefix("#"),
        int(_value(node, "isSummary") == "true") + 2 * int(_value(node, "isModifier") == "true"),
        keys,
    ]


def _type(node: ET.Element) -> Row:
    """Turn a type of an element into [code, targets, profiles, pattern], without what is empty at its end."""
    code = _value(node, "code")
    if code.startswith("http:"):
        code = _extension(node, _FHIR_TYPE) or code.rpartition(".")[2].lower()
    row: Row = [
        code,
        [one.get("value", "").removeprefix(_PREFIX) for one in node.findall(_NS + "targetProfile")],
        [one.get("value", "").removeprefix(_PREFIX) for one in node.findall(_NS + "profile")],
        _extension(node, _REGEX),
    ]
    while not row[-1]:
        row.pop()
    return row


def _binding(node: ET.Element) -> Row:
    """Turn a binding into [strength, value set, largest value set], empty where there is none."""
    found = node.find(_NS + "binding")
    if found is None:
        return []
    return [
        _value(found, "strength"),
        _canonical(_value(found, "valueSet")),
        _canonical(_extension(found, _MAX_VALUE_SET)),
    ]


def _required(definition: Mapping[str, Any]) -> Iterator[str]:
    """List the value sets that bind a type's elements for certain."""
    for row in definition["elements"]:
        if row[4] and row[4][0] == "required" and row[4][1]:
            yield row[4][1]
        if row[4] and row[4][2]:
            yield row[4][2]


class Codes:
    """The code lists of value sets, as far as they can be enumerated from HL7's files."""

    def __init__(self, roots: Iterable[ET.Element]) -> None:
        """Index the value sets and complete code systems of some Bundles."""
        self._sets: dict[str, ET.Element] = {}
        self._systems: dict[str, ET.Element] = {}
        for root in roots:
            for node in root.iter(_NS + "ValueSet"):
                self._sets[_value(node, "url")] = node
            for node in root.iter(_NS + "CodeSystem"):
                if _value(node, "content") == "complete":
                    self._systems[_value(node, "url")] = node

    @property
    def sets(self) -> set[str]:
        """The canonical URLs of all value sets."""
        return set(self._sets)

    def tables(self, urls: Iterable[str]) -> dict[str, CodeTable]:
        """Enumerate value sets; one that cannot be enumerated is left out.

        Args:
            urls: canonical URLs without version.

        Returns:
            URL → system → codes, in the order of the definition.
        """
        found = {url: self._expand(url) for url in urls}
        return {url: table for url, table in found.items() if table}

    def hierarchies(self) -> dict[str, CodeTable]:
        """List the complete code systems: URL → code → the codes right above it, of those that lie below others."""
        return {
            url: {code: sorted(above) for code, above in _parents(node).items() if above}
            for url, node in sorted(self._systems.items())
        }

    def _expand(self, url: str) -> CodeTable | None:
        """Enumerate a value set; None where some part of it is open."""
        node = self._sets.get(url)
        compose = None if node is None else node.find(_NS + "compose")
        if compose is None:
            return None
        table: CodeTable = {}
        for part in compose.findall(_NS + "include"):
            more = self._part(part)
            if more is None:
                return None
            for system, codes in more.items():
                table.setdefault(system, []).extend(codes)
        for part in compose.findall(_NS + "exclude"):
            less = self._part(part)
            if less is None:
                return None
            for system, codes in less.items():
                table[system] = [code for code in table.get(system, []) if code not in set(codes)]
        return {system: list(dict.fromkeys(codes)) for system, codes in table.items()}

    def _part(self, part: ET.Element) -> CodeTable | None:
        """Enumerate one include or exclude."""
        nested = part.findall(_NS + "valueSet")
        if nested:
            table: CodeTable = {}
            for one in nested:
                more = self._expand(_canonical(one.get("value", "")))
                if more is None:
                    return None
                for system, codes in more.items():
                    table.setdefault(system, []).extend(codes)
            return table
        system = _value(part, "system")
        listed = [_value(concept, "code") for concept in part.findall(_NS + "concept")]
        if listed:
            return {system: listed}
        return self._whole(system, part.findall(_NS + "filter"))

    def _whole(self, system: str, filters: list[ET.Element]) -> CodeTable | None:
        """Enumerate a code system, or the part of it that its filters choose."""
        node = self._systems.get(system)
        if node is None:
            return None
        parents = _parents(node)
        chosen = list(parents)
        for rule in filters:
            kind, value = _value(rule, "op"), _value(rule, "value")
            if _value(rule, "property") != "concept" or kind not in ("is-a", "descendent-of"):
                return None
            chosen = [
                code for code in chosen if value in _ancestors(code, parents) or (kind == "is-a" and code == value)
            ]
        return {system: chosen}


def _parents(node: ET.Element) -> dict[str, set[str]]:
    """List the concepts of a code system with their parents, by nesting and by their property ``subsumedBy``."""
    found: dict[str, set[str]] = {}

    def walk(parent: ET.Element, above: str) -> None:
        for concept in parent.findall(_NS + "concept"):
            code = _value(concept, "code")
            into = found.setdefault(code, set())
            if above:
                into.add(above)
            for stated in concept.findall(_NS + "property"):
                if _value(stated, "code") == "subsumedBy":
                    into.add(_value(stated, "valueCode"))
            walk(concept, code)

    walk(node, "")
    return found


def _ancestors(code: str, parents: Mapping[str, set[str]]) -> set[str]:
    """Collect everything above a concept."""
    found: set[str] = set()
    waiting = list(parents.get(code, ()))
    while waiting:
        above = waiting.pop()
        if above not in found:
            found.add(above)
            waiting.extend(parents.get(above, ()))
    return found


def parameters(bundle: Mapping[str, Any]) -> list[Row]:
    """Turn the SearchParameters of a Bundle into our rows, in their order."""
    rows = []
    for entry in bundle["entry"]:
        one = entry["resource"]
        rows.append(
            [
                one["url"],
                one["code"],
                one["type"],
                one["base"],
                one.get("expression", ""),
                one.get("target", []),
                _components(one),
                int(one.get("multipleOr", True)) + 2 * int(one.get("multipleAnd", True)),
                one.get("comparator", []),
                one.get("modifier", []),
                one.get("chain", []),
            ]
        )
    return rows


def _components(one: Mapping[str, Any]) -> list[Row]:
    """Turn the components of a composite into [definition, expression]."""
    rows = [[part["definition"], part["expression"]] for part in one.get("component", [])]
    if one["url"] == _RELATIONSHIP:
        # HL7 says that the code is compared as a reference, and the target as a code.
        (first, code), (second, target) = rows
        return [[first, target], [second, code]]
    return rows


def compartment(definition: Mapping[str, Any]) -> tuple[str, dict[str, list[str]]]:
    """Turn a CompartmentDefinition into its code and the parameters by which each type belongs to it."""
    return definition["code"], {row["code"]: row["param"] for row in definition["resource"] if row.get("param")}


def _parts(folder: Path) -> list[dict[str, Any]]:
    """Read the five CompartmentDefinitions and the StructureDefinitions of profiles, in the order of their names."""
    names = [f"CompartmentDefinition-{name}.json" for name in _COMPARTMENTS]
    if (folder / names[0]).exists():
        paths = [*(folder / name for name in names), *folder.glob("StructureDefinition-*.json")]
        return [json.loads(path.read_bytes()) for path in sorted(paths)]
    found = {}
    with tarfile.open(folder / "hl7-r4-examples-4.0.1.tar.xz") as archive:
        for member in archive:
            name = Path(member.name).name
            is_wanted = name in names or name.startswith("StructureDefinition-")
            if is_wanted and (opened := archive.extractfile(member)) is not None:
                found[name] = json.loads(opened.read())
    return [found[name] for name in sorted(found)]


def _archive(files: Mapping[str, object]) -> bytes:
    """Pack files, each as compact JSON, without anything of the day or the machine."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(files):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            text = json.dumps(files[name], ensure_ascii=False, separators=(",", ":"))
            archive.writestr(info, text.encode(), compresslevel=9)
    return buffer.getvalue()


def _read(folder: Path, name: str) -> bytes:
    """Read a file, compressed or not."""
    plain = folder / name
    return plain.read_bytes() if plain.exists() else lzma.decompress((folder / f"{name}.xz").read_bytes())


def _value(node: ET.Element, name: str) -> str:
    """Return the value of a child, empty where there is none."""
    found = node.find(_NS + name)
    return "" if found is None else found.get("value", "")


def _extension(node: ET.Element, url: str) -> str:
    """Return the value of an extension, empty where there is none."""
    for found in node.findall(_NS + "extension"):
        if found.get("url") == url:
            return next((child.get("value", "") for child in found), "")
    return ""


def _canonical(url: str) -> str:
    """Take the version off a canonical URL."""
    return url.partition("|")[0]


def main(arguments: list[str]) -> int:
    """Write `r4.zip` beside this file."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m fhir_bridge.definitions.build FOLDER\n")
        return 2
    Path(__file__).with_name("r4.zip").write_bytes(build(Path(arguments[0])))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
