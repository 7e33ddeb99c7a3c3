"""The grammar of search expressions."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.definitions.parameters import all_parameters
from fhir_bridge.search.expression import (
    MAX_CHARS,
    Binary,
    Exists,
    Index,
    Member,
    OfType,
    Path,
    ResolvesTo,
    Text,
    Union,
    Where,
    parse,
)
from medchain.errors import InputError


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("Patient.name", Path((Member("Patient"), Member("name")))),
        ("(A.b as C).d", Path((Member("A"), Member("b"), OfType("C"), Member("d")))),
        ("A.b as C | D", Union((Path((Member("A"), Member("b"), OfType("C"))), Path((Member("D"),))))),
        ("a.ofType(FHIR.Quantity)", Path((Member("a"), OfType("Quantity")))),
        ("Bundle.entry[0].resource", Path((Member("Bundle"), Member("entry"), Index(0), Member("resource")))),
        ("%resource.a", Path((Member("%resource"), Member("a")))),
        ("a.where(resolve() is Patient)", Path((Member("a"), Where(Path((ResolvesTo("Patient"),)))))),
        (
            "a.where(system='it\\'s')",
            Path((Member("a"), Where(Binary("=", Path((Member("system"),)), Text("it's"))))),
        ),
        (
            "a.extension('urn:x').value",
            Path(
                (
                    Member("a"),
                    Member("extension"),
                    Where(Binary("=", Path((Member("url"),)), Text("urn:x"))),
                    Member("value"),
                )
            ),
        ),
        (
            "a.exists() and a != false or b.empty()",
            Binary(
                "or",
                Binary(
                    "and",
                    Path((Member("a"), Exists(wanted=True))),
                    Binary("!=", Path((Member("a"),)), Text(value=False)),
                ),
                Path((Member("b"), Exists(wanted=False))),
            ),
        ),
        ("(a | b).c", Union((Path((Member("a"), Member("c"))), Path((Member("b"), Member("c")))))),
        ("a.`div`", Path((Member("a"), Member("div")))),
    ],
)
def test_an_expression_becomes_a_tree(text, tree):
    assert parse(text) == tree


def test_every_expression_of_hl7_is_understood():
    for one in all_parameters():
        for text in (one.expression, *(part.expression for part in one.components)):
            if text:
                parse(text)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", 0),
        ("a.", 2),
        ("a b", 2),
        ("a.where(b = 1)", 12),
        ("a.first()", 8),
        ("a + b", 2),
        ("a[b]", 2),
        ("a[0", 3),
        ("(a", 2),
        ("%foo", 4),
        ("a.extension(b)", 13),
        ("a.resolve()", 11),
        ("as", 2),
        ("a.where(b", 9),
    ],
)
def test_what_is_not_understood_is_refused_with_its_place(text, place):
    with pytest.raises(InputError, match=r"search\.expression") as caught:
        parse(text)
    assert caught.value.fields == {"at": place}


@pytest.mark.parametrize("text", ["('a').b", "(a and b).c"])
def test_a_step_from_something_that_has_no_children_is_refused(text):
    with pytest.raises(InputError, match=r"search\.expression"):
        parse(text)


def test_length_and_depth_are_bounded():
    for text in ("a" * (MAX_CHARS + 1), "(" * 100 + "a" + ")" * 100):
        with pytest.raises(InputError, match=r"search\.expression"):
            parse(text)


@given(st.text(alphabet="ab.|()[]'= %0`\\as", max_size=40))
def test_any_text_is_understood_or_refused(text):
    with contextlib.suppress(InputError):
        assert isinstance(parse(text), Path | Union | Binary | Text)
