"""Errors: what one process tells another of one is of the same kind there."""

from __future__ import annotations

import pytest

from medchain.errors import ConflictError, MedchainError, UnavailableError, error_of, kind_of

KINDS = sorted(MedchainError.__subclasses__(), key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_is_of_its_kind_at_who_is_told(kind):
    error = error_of(kind_of(kind("store.full", table="record")), "store.full", {"table": "record"})
    assert (type(error), error.code, error.fields) == (kind, "store.full", {"table": "record"})


def test_one_of_a_narrower_kind_is_told_as_the_wider_one():
    assert kind_of(type("Narrow", (ConflictError,), {})("a.b")) == "ConflictError"


def test_one_of_no_kind_may_be_tried_again():
    assert kind_of(MedchainError("a.b")) == "UnavailableError"
    assert type(error_of("Exception", "a.b", {})) is UnavailableError
