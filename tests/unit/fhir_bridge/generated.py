"""Resources of any type of R4, made of HL7's definitions: what must be there, a random part of the rest, and edges.

The same type and seed give the same resource everywhere. Values are edges of their type where it has some. Codes of
bound elements are of their set; for invariants see `generated_rules`.
"""

from __future__ import annotations

import base64
import hashlib
import random  # noqa: TID251  # a seeded choice, the same in every run

from fhir_bridge.definitions.codes import code_set
from fhir_bridge.definitions.elements import UNBOUNDED, ancestors, children, is_resource_type, type_names
from fhir_bridge.document import Number
from tests.unit.fhir_bridge import generated_rules as rules

DECIMALS = ("1.0", "1.00", "1e-7", "-0.0", "0", "123456789.123456789", "0.000000000000000001", "1.20E+4", "-5.60")
POSITIVE_DECIMALS = ("1.0", "1.00", "1e-7", "0.5", "12345678.0123456789")
DATES = ("1907", "2024-02", "2024-02-29", "2000-02-29", "9999-12-31", "1001-01-01", "1583-10")
INSTANTS = (
    "2024-02-29T23:59:59Z",
    "2015-02-07T13:28:17.239+02:00",
    "1969-12-31T23:59:59.999999-14:00",
    "2016-12-31T23:59:60Z",
    "9999-12-31T00:00:00.000+00:00",
    "2020-01-01T00:00:00+05:45",
)
TIMES = ("00:00:00", "23:59:59", "12:30:00.5", "08:00:00.000")
TEXTS = (
    "王小明",
    "Ünïcödé",
    "a\tb\r\nc",
    "𠮷野家 👩‍⚕️",
    'quote " back \\ slash / <tag> & amp',
    "e\u0301 \u00e9",
    "x" * 3000,
    "长" * 1200,
)
WORD = "generated"
EXTENSION_URL = "http://example.org/fhir/StructureDefinition/generated"
UNKNOWN = {"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}
MEDIA_TYPES = ("text/plain", "application/fhir+json; fhirVersion=4.0", "application/pdf")
GRAMMARS = {
    "mimetypes": MEDIA_TYPES,
    "bcp13.txt": ("text/cql", "text/fhirpath", "application/x-fhir-query"),
    "currencies": ("CNY", "EUR"),
    "all-languages": ("zh-CN", "en", "x-own"),
}
MAX_DEPTH = 5
_INTEGERS = {
    "integer": ("0", "-1", "2147483647", "-2147483648"),
    "unsignedInt": ("0", "2147483647"),
    "positiveInt": ("1", "2147483647"),
}


def generate(type_name: str, seed: int) -> dict:
    """Make a resource without id.

    Args:
        type_name: of a resource type with instances.
        seed: another one, another resource.

    Returns:
        The resource, as `fhir_bridge.document.parse` would give it.
    """
    return _Maker(f"{type_name}/{seed}").resource(type_name)


class _Maker:
    """Makes one resource; counts, so that no name or key stands twice."""

    def __init__(self, name: str) -> None:
        self.random = random.Random(name)  # noqa: S311  # data of a test
        self.count = 0
        self.type_name = name.partition("/")[0]
        self.is_bundle = name.startswith("Bundle/")

    def resource(self, type_name: str, *, inner: bool = False) -> dict:
        """Make a resource, the outermost or one inside of another."""
        made = {"resourceType": type_name, **self.members(type_name, 3 if inner else 0)}
        if not inner and "DomainResource" in ancestors(type_name):
            made["contained"] = [{"resourceType": "Basic", "id": "c1", "code": {"text": self.text()}}]
            made["extension"] = [
                {"url": EXTENSION_URL, "valueReference": {"reference": "#c1"}},
                self.extension(),
                {"url": EXTENSION_URL, "extension": [{"url": "part", "valueDecimal": self.decimal()}]},
            ]
        return made

    def members(self, path: str, depth: int) -> dict:
        """Make the members of an object."""
        if path in rules.UCUM:
            code, value = rules.UCUM[path]
            return {"value": Number(value), "system": "http://unitsofmeasure.org", "code": code}
        if path in _WHOLE:
            return _WHOLE[path](self)
        made: dict = {}
        chosen = [one for one in children(path) if self.is_in(one, depth)]
        for one in self.allowed(chosen, path):
            self.put(one, made, depth)
        if not made:
            self.put(self.any_of(path, depth), made, depth)
        if path == "Attachment" and "data" in made:
            # What a node can check, it does.
            content = base64.b64decode(made["data"])
            true = {
                "size": Number(str(len(content))),
                "hash": base64.b64encode(hashlib.sha1(content, usedforsecurity=False).digest()).decode(),
            }
            made.update({name: value for name, value in true.items() if name in made})
        return made

    def any_of(self, path: str, depth: int):
        """Choose an element where none was: an object is not empty (ele-1)."""
        fit = [one for one in children(path) if one.name not in _OWN_NAMES and one.path not in rules.LEFT_OUT]
        simple = [one for one in fit if any(use.code in _VALUES or use.code in _LIGHT for use in one.types)]
        return self.random.choice(simple or fit) if depth < MAX_DEPTH + 3 else (simple or fit)[0]

    def is_in(self, one, depth: int) -> bool:
        """Decide whether an element is there."""
        if one.name in _OWN_NAMES and not (one.path in rules.ALWAYS or one.path in _RESOURCE_OWN):
            return False
        if one.path in rules.LEFT_OUT:
            return False
        if one.min or one.path in rules.ALWAYS:
            return True
        if one.content_reference and depth > 1:
            return False
        return depth < MAX_DEPTH and self.random.random() < (0.6, 0.35, 0.2, 0.12, 0.08)[depth]

    def allowed(self, chosen: list, path: str) -> list:
        """Leave out what an invariant does not allow together."""
        names = rules.EXCLUSIVE.get(path) or rules.EXACTLY_ONE.get(path) or ()
        given = [one for one in chosen if one.name in names]
        if not given and path in rules.EXACTLY_ONE:
            given = [one for one in children(path) if one.name in names and not one.content_reference]
        keep = self.random.choice(given) if given else None
        return [one for one in children(path) if one is keep or (one in chosen and one.name not in names)]

    def put(self, one, made: dict, depth: int) -> None:
        """Make an element's values, with companions where they are primitive."""
        # fhir.resources, which is asked about them, does not know the Meta of a choice (R4 §2.24.0.2, open types).
        known = [use for use in one.types if not (one.choice and use.code == "Meta")]
        uses = [use for use in known if use.code == rules.ONLY_TYPE.get(one.path, use.code)]
        use = self.random.choice(uses) if uses else None
        code = use.code if use else "BackboneElement"
        name = one.name + (code[0].upper() + code[1:] if one.choice else "")
        if not one.is_array:
            self.single(one, use, name, made, depth)
            return
        most = rules.AT_MOST.get(one.path, 3 if one.max == UNBOUNDED else one.max)
        least = max(one.min, rules.AT_LEAST.get(one.path, 1))
        number = max(least, min(most, self.random.choice((1, 1, 2) if depth else (1, 2, 3))))
        values = [self.value(one, use, depth) for _ in range(number)]
        if code in _VALUES and number < most and one.path not in _WITHOUT_COMPANION:
            # XML has no nulls at the end (§2.6.2.1: they only hold a place), so none stands there.
            made[name] = [None, *values]
            made[f"_{name}"] = [{"extension": [UNKNOWN]}]
        else:
            made[name] = values

    def single(self, one, use, name: str, made: dict, depth: int) -> None:
        """Make the value of an element that stands once, or what is said in its place."""
        code = use.code if use else "BackboneElement"
        companion = code in _VALUES and one.path not in _WITHOUT_COMPANION and not one.path.endswith((".id", ".url"))
        luck = self.random.random()
        bare = companion and luck < 0.04 and not one.min and one.path not in {*rules.ALWAYS, *rules.FIXED}
        if not bare:
            made[name] = self.value(one, use, depth)
        if bare:
            made[f"_{name}"] = {"extension": [UNKNOWN]}
        elif companion and luck > 0.9:
            made[f"_{name}"] = {"id": f"e{self.next()}", "extension": [self.extension()]}

    def value(self, one, use, depth: int):  # noqa: PLR0911  # one for each kind
        """Make one value of an element."""
        if one.path in rules.FIXED:
            return rules.FIXED[one.path]
        if one.path in rules.ONLY_NUMBER:
            return Number(rules.ONLY_NUMBER[one.path])
        if one.path in rules.POSITIVE:
            return Number(self.random.choice(POSITIVE_DECIMALS))
        code = use.code if use else "BackboneElement"
        if code == "Reference":
            return self.reference(use.targets)
        if code == "Resource":
            return self.resource(self.random.choice(("Basic", "Patient", "Organization")), inner=True)
        bound = self.bound(one, code)
        if bound is not None:
            return bound
        if code in _VALUES:
            return _VALUES[code](self)
        return self.members(one.content(code), depth + 1)

    def bound(self, one, code: str):
        """Choose a code of a set that is bound for certain; None where none is."""
        if one.binding is None or code not in {"code", "string", "uri", "Coding", "CodeableConcept"}:
            return None
        value_set = one.binding.value_set if one.binding.strength == "required" else one.binding.max_value_set
        plain = code in {"code", "string", "uri"}
        grammar = GRAMMARS.get(value_set.rpartition("/")[2]) if plain else None
        if grammar:
            return self.random.choice(grammar)
        listed = code_set(value_set) if value_set else None
        if listed is None:
            return None
        only = rules.ONLY_CODE.get(one.path)
        pairs = sorted((system, each) for system, codes in listed.items() for each in codes if only in {None, each})
        system, chosen = pairs[(self.next() * 7) % len(pairs)]
        coding = {"system": system, "code": chosen}
        return chosen if plain else coding if code == "Coding" else {"coding": [coding]}

    def reference(self, targets: tuple[str, ...]) -> dict:
        """Refer in one of the ways of R4 §2.3.0."""
        known = [one for one in targets if is_resource_type(one)]
        target = self.random.choice(known or ["Patient"])
        # To nobody whom resources of another type are about: a Consent that is made here denies access to theirs.
        name = f"{target}/{self.type_name}-{self.next()}"
        return self.random.choice(
            (
                {"reference": name},
                {"reference": f"{name}/_history/1", "display": self.text()},
                {"reference": f"https://example.org/fhir/{name}", "type": target},
                # Outside of a Bundle nothing resolves a UUID, and a reference SHALL be resolvable (§2.3.0).
                {"reference": self.uuid()} if self.is_bundle else {"reference": name, "type": target},
                {"identifier": {"system": "urn:oid:1.2.36.146", "value": f"i{self.next()}"}},
                {"display": self.text()},
            )
        )

    def extension(self) -> dict:
        """Make an extension with a value of whichever type."""
        (value,) = (one for one in children("Extension") if one.name == "value")
        made: dict = {"url": f"{EXTENSION_URL}-{self.next()}"}
        use = self.random.choice([use for use in value.types if use.code not in _HEAVY])
        made[f"value{use.code[0].upper()}{use.code[1:]}"] = self.value(value, use, MAX_DEPTH - 1)
        return made

    def next(self) -> int:
        """Count."""
        self.count += 1
        return self.count

    def text(self) -> str:
        """Make a text that stands nowhere else."""
        return f"{self.random.choice(TEXTS)} {self.next()}"

    def decimal(self) -> Number:
        """Choose a decimal."""
        return Number(self.random.choice(DECIMALS))

    def integer(self, kind: str) -> Number:
        """Choose an integer."""
        return Number(self.random.choice(_INTEGERS[kind]))

    def uuid(self) -> str:
        """Make a UUID."""
        return f"urn:uuid:{self.random.getrandbits(32):08x}-0000-4000-8000-{self.next():012x}"

    def period(self) -> dict:
        """Make a period in order (per-1), perhaps open."""
        start, end = self.random.choice(
            (("1907", "2024-02-29"), ("2000-02", "2024-02-29T23:59:59+08:00"), ("1001", ""))
        )
        return {"start": start, "end": end} if end else {"start": start}

    def range(self) -> dict:
        """Make a range in order (rng-2)."""
        return {"low": {"value": Number("1e-7")}, "high": {"value": Number("1.00")}}

    def quantity(self) -> dict:
        """Make a quantity (qty-3)."""
        value = self.decimal()
        return self.random.choice(
            (
                {"value": value},
                {"value": value, "unit": "毫克", "system": "http://unitsofmeasure.org", "code": "mg"},
                {"value": value, "comparator": "<", "unit": "drops", "system": "urn:units", "code": f"u{self.next()}"},
            )
        )

    def narrative(self) -> dict:
        """Make a narrative."""
        text = self.text().replace("&", "&amp;").replace("<", "&lt;").replace("\r", "")
        return {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{text}</p></div>'}


_OWN_NAMES = frozenset({"id", "extension", "modifierExtension", "contained", "meta", "implicitRules"})
_RESOURCE_OWN = {f"{name}.meta" for name in type_names("resource")}
# A Binary's bytes are stored apart from its members, so what says more of them would come back in another order.
_WITHOUT_COMPANION = {"Binary.data", "Extension.url", "Narrative.div"}
_HEAVY = {"DataRequirement", "Dosage", "TriggerDefinition", "Meta", "UsageContext", "Reference"}
_LIGHT = {"CodeableConcept", "Coding", "Reference", "Identifier", "Period", "Quantity"}
_VALUES = {
    "base64Binary": lambda one: one.random.choice(("AA==", "TWVkQ2hhaW4=", "+/+/")),
    "boolean": lambda one: one.random.random() < 0.5,
    "canonical": lambda one: f"http://example.org/fhir/ValueSet/g{one.next()}|1.0",
    "code": lambda one: f"code {one.next()}",
    "date": lambda one: one.random.choice(DATES),
    "dateTime": lambda one: one.random.choice(DATES + INSTANTS),
    "decimal": _Maker.decimal,
    "id": lambda one: f"g-{one.next()}." + "i" * 40,
    "instant": lambda one: one.random.choice(INSTANTS),
    "markdown": _Maker.text,
    "oid": lambda one: f"urn:oid:1.2.840.{one.next()}",
    "string": _Maker.text,
    "time": lambda one: one.random.choice(TIMES),
    "uri": lambda one: f"urn:generated:{one.next()}",
    "url": lambda one: f"https://example.org/{one.next()}?a=b&c=d",
    "uuid": _Maker.uuid,
} | {kind: (lambda one, kind=kind: one.integer(kind)) for kind in _INTEGERS}
_WHOLE = {
    "Period": _Maker.period,
    "Range": _Maker.range,
    "Quantity": _Maker.quantity,
    "Narrative": _Maker.narrative,
    "Meta": lambda one: {
        "profile": [f"http://example.org/fhir/StructureDefinition/p{one.next()}"],
        "security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}],
        "tag": [{"system": "urn:generated:tag", "code": WORD}],
    },
}
