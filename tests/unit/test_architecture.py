"""The architecture page names files that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PATHS = sorted(set(re.findall(r"(?:medchain|consent|fhir_bridge|tests)/[\w/]*(?:\.py)?", PAGE)))


def test_the_page_names_every_floor() -> None:
    floors = {"medchain/commands/", "fhir_bridge/", "consent/", "medchain/web/", "medchain/node/"}
    assert floors | {"medchain/ordering/", "medchain/store/", "medchain/ledger/", "medchain/tlog/"} <= set(PATHS)


@pytest.mark.parametrize("path", PATHS)
def test_every_path_of_the_page_exists(path: str) -> None:
    assert (ROOT / path).exists()
