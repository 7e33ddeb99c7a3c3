"""Parsers, fuzzed: mutations of HL7's examples and of hostile seeds give a value or one of our errors, in bounded time.

`make soak` looks for new ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_bridge.change import apply_json_patch, parse_json_patch
from fhir_bridge.document import parse, parse_bundle, write
from fhir_bridge.fhirpath.patch import apply_fhirpath_patch
from fhir_bridge.fhirpath.syntax import parse as parse_fhirpath
from fhir_bridge.rest.ask import parse_pairs
from fhir_bridge.search.query import parse_query
from fhir_bridge.smart.scopes import parse_asked
from fhir_bridge.validation.check import check
from fhir_bridge.xml import parse_xml, write_xml
from medchain.errors import MedchainError
from tests.tries import tries
from tests.unit.fhir_bridge.examples import examples

# Of a processor: a small input that takes longer than this has found something that grows.
MOST_S = 5.0
SMALL = [content for _, content in examples() if len(content) < 4000][:40]
XML = [write_xml(parse(content)) for content in SMALL]
TOKENS = [
    *(b'{"resourceType":"Patient"}', b'{"a":1,"a":2}', b"NaN", b"-Infinity", b"1e999", b"9" * 70, b"-0.0E+00", b"01"),
    *(
        b"\\ud800",
        b"\\udc00\\ud800",
        b"\\u0000",
        b"\xed\xa0\x80",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\x00",
        "\U0001d504".encode(),
    ),
    *(
        b"[" * 500,
        b'{"a":' * 200,
        b"]",
        b"}",
        b'"',
        b",",
        b":",
        b"null",
        b"true",
        b"\\",
        b"/",
        b'"resourceType":"Bundle"',
    ),
    *(
        b"<!DOCTYPE a>",
        b'<!ENTITY a "b">',
        b"&a;",
        b"&#0;",
        b"&#xD800;",
        b"]]>",
        b"<![CDATA[",
        b"<?x?>",
        b"<!--",
        b"-->",
    ),
    *(b'xmlns="urn:x"', b'value=""', b"<extension>", b"</extension>", b"<div>", b'<x y="', b"&amp;", b"<a:b/>"),
]
EXPRESSIONS = [
    *("Patient.name.where(use='official').given[0]", "Observation.value as Quantity", "a.b.resolve().is(Patient)"),
    *(
        "name.exists() and (1 + 2 * 3 > 4 or not())",
        "%resource.descendants()",
        "iif(a, b, {})",
        "@2020-01-01T00:00:00Z",
    ),
    *(
        "'\\u00e9'",
        "`a b`",
        "5 'mg'",
        "((((",
        "a.",
        "a..b",
        "$this",
        "-" * 300,
        "(" * 300,
        "'" + "x" * 5000,
        "a" + ".b" * 3000,
    ),
]
QUERIES = [
    *("name=a,b\\,c&birthdate=ge2000&_sort=-_id&_count=5", "subject:Patient.name=x&_include=Observation:subject"),
    *("_has:Observation:patient:code=x|y", "value-quantity=lt5.4|http://unitsofmeasure.org|mg", "date=eq2000-02-30"),
    *("code:not=a|", "code:in=http://x", "_lastUpdated=ap2020", "_filter=a eq b", "%ff=%00", "&&&===", "a=%ed%a0%80"),
    *("_id=" + "a," * 3000, "subject." * 50 + "name=x", "_summary=count&_total=accurate", "_elements=id,,", "=x"),
]


def mutated(seeds: list[bytes]) -> st.SearchStrategy[bytes]:
    """Cut, repeat, join and change bytes of seeds, and put tokens in."""
    edit = st.tuples(
        st.integers(0, 5), st.integers(0, 1 << 16), st.integers(0, 64), st.sampled_from(TOKENS), st.sampled_from(seeds)
    )

    def apply(seed: bytes, edits: list[tuple[int, int, int, bytes, bytes]]) -> bytes:
        for kind, at, length, token, other in edits:
            place = at % (len(seed) + 1)
            middle = [
                token,
                b"",
                seed[place : place + length] * 3,
                bytes([at & 255]) * (length & 3),
                other[place:],
                token * (length & 7),
            ]
            seed = seed[:place] + middle[kind] + seed[place + (0 if kind in (0, 2) else length) :]
        return seed[:100_000]

    return st.builds(apply, st.sampled_from(seeds), st.lists(edit, min_size=1, max_size=6))


def texts(seeds: list[str]) -> st.SearchStrategy[str]:
    """Mutations as text."""
    return mutated([seed.encode() for seed in seeds]).map(lambda data: data.decode("utf-8", "replace"))


def bounded(parser: Callable[[], object]) -> object:
    """Run a parser, which may refuse in our own words only, and not take long; returns what it gives."""
    began = time.thread_time()
    found = None
    with suppress(MedchainError):
        found = parser()
    assert time.thread_time() - began < MOST_S
    return found


@settings(max_examples=tries(400))
@given(mutated(SMALL))
def test_json_gives_what_is_written_again_or_one_of_our_errors(data):
    resource = bounded(lambda: parse(data))
    if resource is not None:
        assert write(parse(write(resource))) == write(resource)
        bounded(lambda: check(resource))
        bounded(lambda: parse_xml(write_xml(resource)))
    bounded(lambda: list(parse_bundle(data).rows))


@settings(max_examples=tries(400))
@given(mutated(XML))
def test_xml_gives_a_resource_that_can_be_judged_or_one_of_our_errors(data):
    resource = bounded(lambda: parse_xml(data))
    if resource is not None:
        bounded(lambda: check(resource))
        assert parse(write(resource)) == resource


@settings(max_examples=tries(400))
@given(texts(EXPRESSIONS))
def test_fhirpath_gives_a_tree_or_one_of_our_errors(text):
    bounded(lambda: parse_fhirpath(text))


@settings(max_examples=tries(400))
@given(texts(QUERIES), st.sampled_from(["Patient", "Observation", ""]))
def test_a_search_is_understood_or_refused(text, type_name):
    pairs = bounded(lambda: parse_pairs(text))
    bounded(lambda: parse_query(pairs or parse_qsl(text), type_name))


@settings(max_examples=tries(300))
@given(texts(["launch/patient openid patient/*.rs", "user/Observation.rs?category=a|b system/*.cruds patient/*.*"]))
def test_scopes_are_understood_or_refused(text):
    bounded(lambda: parse_asked(text))


JSON_PATCH = [
    b'[{"op":"add","path":"/name/-","value":{"family":"x"}},{"op":"test","path":"/active","value":true}]',
    b'[{"op":"copy","from":"/name","path":"/name/0/x"},{"op":"remove","path":"/~0~1"},{"op":"move","from":"","path":""}]',
]
FHIRPATH_PATCH = [
    b'{"resourceType":"Parameters","parameter":[{"name":"operation","part":[{"name":"type","valueCode":"%s"},'
    b'{"name":"path","valueString":"%s"},{"name":"name","valueString":"given"},{"name":"index","valueInteger":0},'
    b'{"name":"value","valueString":"x"}]}]}' % (kind, path)
    for kind in (b"add", b"replace", b"delete", b"insert", b"move")
    for path in (b"Patient", b"Patient.name[0]", b"Patient.name.where(given='x').given")
]
PATIENT = b'{"resourceType":"Patient","active":true,"name":[{"family":"a","given":["b","c"]}]}'


@settings(max_examples=tries(400))
@given(mutated(JSON_PATCH))
def test_a_json_patch_is_applied_or_refused(data):
    bounded(lambda: apply_json_patch(parse(PATIENT), parse_json_patch(data)))


@settings(max_examples=tries(400))
@given(mutated(FHIRPATH_PATCH))
def test_a_fhirpath_patch_is_applied_or_refused(data):
    bounded(lambda: apply_fhirpath_patch(parse(PATIENT), parse(data)))


@pytest.mark.parametrize("data", TOKENS)
def test_no_token_alone_is_a_resource_but_the_one_that_is(data):
    assert (bounded(lambda: parse(data)) is not None) == (data in (TOKENS[0], b'{"resourceType":"Patient"}'))
