"""Units, against UCUM's own definitions and a package that others wrote."""

from __future__ import annotations

import csv
import math
import tracemalloc
from decimal import Decimal
from functools import cache
from pathlib import Path

import pytest
import ucumvert
from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.search.units import MAX_CHARS, canonical


def value(number, code):
    return float(canonical(code).exact(Decimal(number)))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("5.4", "mg/dL"), ("0.054", "g/L")),
        (("23", "mm/h"), ("0.023", "m/h")),
        (("37", "Cel"), ("98.6", "[degF]")),
        (("37", "Cel"), ("310.15", "K")),
        (("1", "[in_i]"), ("2.54", "cm")),
        (("1", "[lb_av]"), ("453.59237", "g")),
        (("760", "mm[Hg]"), ("101.32472", "kPa")),
        (("60", "/min"), ("1", "Hz")),
        (("60", "{beats}/min"), ("1", "s-1")),
        (("5", "10*3/uL"), ("5", "10*9/L")),
        (("5", "10^3/uL"), ("5000", "/mm3")),
        (("5", "%"), ("0.05", "1")),
        (("2", "m[IU]/mL"), ("2", "[iU]/L")),
        (("3", "meq/L"), ("3", "mmol/L")),
        (("1", "U/L"), ("1", "umol/min/L")),
        (("1", "kg/(s.m2)"), ("1000", "g.m-2/s")),
        (("1", "dar"), ("0.1", "ar")),
        (("1", "m{wet}"), ("1", "m")),
        (("1", "2.m"), ("2", "m")),
        (("1", "wk"), ("7", "d")),
        (("1", "KiBy"), ("8192", "bit")),
    ],
)
def test_equal_quantities_become_the_same_number_of_the_same_unit(one, other):
    assert canonical(one[1]).unit == canonical(other[1]).unit
    assert value(*one) == value(*other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("[IU]/L", "10*3/L"),
        ("mmol/L", "/L"),
        ("[pH]", "1"),
        ("[arb'U]", "[USP'U]"),
        ("m", "s"),
        ("B[SPL]", "Pa"),
        ("[PFU]", "[CFU]"),
    ],
)
def test_what_is_not_the_same_kind_of_thing_is_never_equal(one, other):
    assert canonical(one).unit != canonical(other).unit


@pytest.mark.parametrize("code", ["mmol/L", "mg/dL", "g/m2", "s-1"])
def test_the_unit_is_written_in_base_units(code):
    assert canonical(code).unit in {"m-3.mol", "g.m-3", "g.m-2", "s-1"}


@pytest.mark.parametrize(
    "code",
    [
        *("", " ", "foo", "mgg", "m//s", "/", "m.", "(m", "m)", "m0", "m33", "0", "m s", "{a", "m{é}", "J/Cel", "mCel"),
        *("k[in_i]", "()", "m" * (MAX_CHARS + 1), "((((((((((m))))))))))", "10*99", "米", "m+-2", "[degF]2"),
    ],
)
def test_what_is_no_unit_has_no_canonical_form(code):
    assert canonical(code) is None


def test_a_number_beyond_64_bits_is_converted_as_any_other():
    assert canonical("10*32").exact(Decimal("1e300")) == 10**332


def test_every_example_of_ucum_is_understood_as_the_other_package_understands_it():
    """All 700 common codes; the other reads arbitrary units as pure numbers and counts in binary fractions."""
    table = Path(ucumvert.__file__).parent / "vendor" / "ucum_examples.tsv"
    rows = list(csv.reader(table.read_text(encoding="utf-8").splitlines(), delimiter="\t"))
    codes = sorted({cell for row in rows for cell in row if cell})
    parser = ucumvert.get_ucum_parser()
    understood = 0
    for code in codes:
        try:
            parser.parse(code)
        except Exception:  # noqa: BLE001, S112  # whatever it raises for what is no code
            continue
        if "Cel/" not in code and "/Cel" not in code:
            assert canonical(code) is not None, code
            understood += 1
    assert understood > 500


@cache
def registered():
    """The other package's registry, which takes long to make."""
    return ucumvert.PintUcumRegistry()


@pytest.mark.parametrize(
    "code",
    [
        *(
            "mg/dL",
            "mm[Hg]",
            "/min",
            "kg/m2",
            "10*3/uL",
            "Cel",
            "[degF]",
            "%",
            "mmol/L",
            "[in_i]",
            "U/L",
            "[lb_av]",
            "kPa",
        ),
        *(
            "ug/kg/h",
            "m/s2",
            "[gal_us]",
            "[oz_av]",
            "cal",
            "eV",
            "[ft_i]",
            "bar",
            "atm",
            "L/min",
            "mL/min/{1.73_m2}",
            "deg",
        ),
    ],
)
def test_factors_are_those_of_the_other_package(code):
    registry = registered()
    theirs = registry.Quantity(3, registry.from_ucum(code).units).to_base_units()
    ours = canonical(code)
    scale = 1.0
    for part in ours.unit.split("."):
        name = part.rstrip("-0123456789")
        power = int(part[len(name) :] or 1) if name else 0
        scale *= 1000.0 ** (-power) if name == "g" else 1.0
    assert math.isclose(
        float(ours.exact(Decimal(3))) * scale, theirs.magnitude, rel_tol=1e-5
    )  # UCUM rounds the column of mercury


@given(st.text(alphabet="mgLs[]{}().*/10-+kd%", max_size=20))
def test_any_text_is_a_unit_or_not(code):
    found = canonical(code)
    assert found is None or found.factor > 0


def test_attack_long_texts_that_are_no_units_fill_no_memory():
    tracemalloc.start()
    try:
        assert all(canonical("m" * (10_000 + number)) is None for number in range(200))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1 << 16
