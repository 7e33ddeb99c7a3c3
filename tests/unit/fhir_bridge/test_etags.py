"""Conditions of writes by version (RFC 9110 §8.8.3, §13.1.1; FHIR R4 §3.1.0.5)."""

from __future__ import annotations

import pytest

from fhir_bridge.etags import NONE, names
from medchain.errors import InputError


@pytest.mark.parametrize("tags", ['W/"2"', '"2"', "2", "W/2", "*", ' W/"1" , W/"2"', 'W/"x", "2"'])
def test_a_version_is_named_as_clients_name_it(tags):
    assert names(tags, 2)


@pytest.mark.parametrize("tags", ['W/"3"', '"two"', "22", 'W/"2x"', '""', 'W/"1", W/"3"', '"99999999999999999999"'])
def test_another_version_is_another(tags):
    assert not names(tags, 2)
    assert not names(tags, NONE)


@pytest.mark.parametrize("tags", ["foo", "", " ", '"2', 'W/"2" "3"', "w/2", "2,", '"a b"', '"2"\n', "*,*"])
def test_what_is_no_entity_tag_is_no_condition(tags):
    with pytest.raises(InputError, match=r"request\.etag"):
        names(tags, 2)
