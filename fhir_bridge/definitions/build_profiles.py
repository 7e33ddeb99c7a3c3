"""Makes what `build.py` carries of HL7's profiles: of each what it asks for beyond the type that it constrains.

Never imported by the product. Keeps true: a profile is carried whole or not at all; one that tells slices apart by what
this program does not judge is left out, and stays unknown. Trusts its input.
Source: FHIR R4 §5.1 (profiling), ElementDefinition.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

Json: TypeAlias = dict[str, Any]  # HL7's JSON
Rows: TypeAlias = Mapping[str, Mapping[str, list[Any]]]  # type → path → row, as `build.py` writes them

_PREFIX: Final = "http://hl7.org/fhir/StructureDefinition/"
_JUDGED: Final = frozenset({"value", "type"})
_MAX: Final = 1 << 30


def profiles(definitions: Mapping[str, Json], types: Mapping[str, Json]) -> dict[str, Json]:
    """Write the profiles of resource types.

    Args:
        definitions: name → StructureDefinition with a snapshot.
        types: name → definition of a type, as `build.py` writes it.

    Returns:
        Name → tree of what is constrained: each node an element or a slice, without what its type says anyway.
    """
    rows = {name: {row[0]: row for row in definition["elements"]} for name, definition in types.items()}
    keys = {name: set(definition["rules"]) for name, definition in types.items()}
    found = {}
    for name, definition in sorted(definitions.items()):
        if definition.get("kind") != "resource" or definition.get("derivation") != "constraint":
            continue
        tree = _Tree(definition, rows, keys)
        if not tree.is_open:
            found[name] = {"type": definition["type"], "root": tree.root}
    return found


class _Tree:
    """The tree of one profile.

    Attributes:
        root: its top.
        is_open: whether slices are told apart by what is not judged here.
    """

    def __init__(self, definition: Json, rows: Rows, keys: Mapping[str, set[str]]) -> None:
        """Read a snapshot."""
        self._rows = rows
        self._known = set().union(*keys.values())
        self.is_open = False
        nodes: dict[str, Json] = {}
        # id of an element → path of its base, and the type of its value where that is one.
        bases: dict[str, tuple[str, str]] = {}
        for element in definition["snapshot"]["element"]:
            above, _, last = element["id"].rpartition(".")
            name, _, slice_name = last.partition(":")
            sliced = nodes.get(element["id"].rpartition(":")[0]) if slice_name else None
            base = self._base(bases.get(above), name) if above else (definition["type"], "")
            codes = [one["code"] for one in element.get("type", [])]
            bases[element["id"]] = (base[0], codes[0] if len(codes) == 1 else base[1])
            node = self._node(element, self._row(base[0]), is_slice=sliced is not None)
            nodes[element["id"]] = node
            if not above:
                continue
            if sliced is not None:
                node["slice"] = slice_name
                sliced.setdefault("slices", []).append(node)
            else:
                # Some of HL7's name a slice of what they do not slice: then it is the element itself.
                node["name"] = name
                nodes[above].setdefault("children", []).append(node)
        self.root = _pruned(nodes[definition["type"]])

    def _base(self, above: tuple[str, str] | None, name: str) -> tuple[str, str]:
        """Find which element of which type is constrained below another."""
        path, code = above or ("", "")
        row = self._row(path)
        if row and row[5]:
            path = row[5]
        inline = f"{path}.{name}"
        return (inline, "") if self._row(inline) else (f"{code}.{name}", "")

    def _row(self, path: str) -> list[Any]:
        """Return the row of an element."""
        return self._rows.get(path.partition(".")[0], {}).get(path, [])

    def _node(self, element: Json, base: list[Any], *, is_slice: bool) -> Json:
        """Write what an element says beyond its base."""
        node: Json = {}
        least, most = element.get("min", 0), element.get("max", "*")
        if least > (0 if is_slice or not base else base[1]):
            node["min"] = least
        if most != "*" and (is_slice or not base or int(most) < (_MAX if base[2] < 0 else base[2])):
            node["max"] = int(most)
        node |= self._types(element, base)
        for key, value in element.items():
            for kind in ("fixed", "pattern"):
                if key.startswith(kind):
                    node[kind] = value
        binding = element.get("binding", {})
        value_set = binding.get("valueSet", "").partition("|")[0]
        if binding.get("strength") == "required" and value_set and (not base or base[4][:2] != ["required", value_set]):
            node["binding"] = value_set
        rules = [
            [one["key"], one["severity"], one["human"], one["expression"]]
            for one in element.get("constraint", [])
            if one["key"] not in self._known and one["severity"] == "error" and one.get("expression")
        ]
        if rules:
            node["rules"] = rules
        if "slicing" in element:
            node["slicing"] = self._slicing(element["slicing"])
        return node

    @staticmethod
    def _types(element: Json, base: list[Any]) -> Json:
        """Write the types of values, and of what is referred to, where fewer are left."""
        node: Json = {}
        given = element.get("type", [])
        codes = [one["code"] for one in given]
        if base and codes and len(codes) < len(base[3]):
            node["types"] = codes
        targets = [one.removeprefix(_PREFIX) for use in given for one in use.get("targetProfile", [])]
        before = [target for row in base[3] for target in (row[1] if len(row) > 1 else [])] if base else []
        if targets and set(targets) != set(before) and "Resource" not in targets:
            node["targets"] = targets
        profiles = [one for use in given if use["code"] == "Extension" for one in use.get("profile", [])]
        if profiles:
            node["extension"] = profiles[0]
        return node

    def _slicing(self, slicing: Json) -> list[Any]:
        """Write how slices are told apart: [[kind, path] of each, whether others may stand there, whether in order]."""
        ways = [[one["type"], one["path"]] for one in slicing.get("discriminator", [])]
        if not ways or any(kind not in _JUDGED or "(" in path for kind, path in ways):
            self.is_open = True
        return [ways, slicing["rules"] != "closed", bool(slicing.get("ordered"))]


def _pruned(node: Json) -> Json:
    """Leave out what asks for nothing."""
    for name in ("children", "slices"):
        kept = [one for one in map(_pruned, node.get(name, [])) if one.keys() - {"name"}]
        if kept:
            node[name] = kept
        else:
            node.pop(name, None)
    if "slices" not in node:
        node.pop("slicing", None)
    return node


def bound(node: Json) -> set[str]:
    """List the value sets that a profile's elements are bound to for certain."""
    found = {node["binding"]} if "binding" in node else set()
    return found.union(*(bound(one) for name in ("children", "slices") for one in node.get(name, [])))
