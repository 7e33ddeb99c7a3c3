"""Puts style, script and words into verify.html, and their hashes into its policy."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from pathlib import Path

from medchain.claims.money_words import CURRENCIES
from medchain.claims.verdict_words import (
    BETWEEN,
    COLOURS,
    COUNTED_TYPE,
    DATE,
    DAYS,
    INSTANTS,
    LINES,
    LISTS,
    MOMENT,
    MONEY,
    MONTHS,
    OF_NOBODY,
    SENTENCES,
    UNSHOWN,
    VALUES,
)
from medchain.ledger.evidence.lines.consent import NOBODY
from medchain.record_types import TYPES

SOURCE = Path(__file__).resolve().parents[2] / "medchain" / "web" / "static" / "verify"


def hashed(content: str) -> str:
    """Name an inline content as a Content-Security-Policy does (CSP Level 3 §2.3.1)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def words() -> dict[str, object]:
    """Take the words of verdicts, by language, and how their arguments are written."""
    tables = {
        "colours": COLOURS,
        "currencies": CURRENCIES,
        "lines": LINES,
        "nobody": OF_NOBODY,
        "sentences": SENTENCES,
        "values": VALUES,
    }
    single = {
        "between": BETWEEN,
        "counted": COUNTED_TYPE,
        "date": DATE,
        # The page knows no node, so no zone of one.
        "moment": [one.replace("{zone}", "UTC") for one in MOMENT],
        "months": MONTHS,
        "unshown": UNSHOWN,
    }
    spoken = {
        language: {name: {key: pair[at] for key, pair in table.items()} for name, table in tables.items()}
        | {name: pair[at] for name, pair in single.items()}
        for at, language in enumerate(("zh", "en"))
    }
    types = {"zh": {"types": dict(TYPES)}, "en": {"types": {}}}
    rules = {
        "days": sorted(DAYS),
        "instants": sorted(INSTANTS),
        "lists": sorted(LISTS),
        "money": sorted(MONEY),
        "nobody": NOBODY,
    }
    return {language: spoken[language] | types[language] for language in spoken} | rules


def assembled(script: str) -> str:
    """Make the page."""
    template = (SOURCE / "page.html").read_text("utf-8")
    style = (SOURCE / "page.css").read_text("utf-8")
    # In a data block, which is no script, nothing but the end of its element has a meaning.
    told = json.dumps(words(), ensure_ascii=False, sort_keys=True, separators=(",", ":")).replace("<", "\\u003c")
    policy = (
        f"default-src 'none'; script-src {hashed(script)}; style-src {hashed(style)}; base-uri 'none'; "
        "form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
    if "</script" in script.lower() or "<!--" in script:
        message = "the script would end its element"
        raise ValueError(message)
    parts = {"@POLICY@": policy, "@STYLE@": style, "@WORDS@": told, "@SCRIPT@": script}
    for name, content in parts.items():
        before, after = template.split(name)
        template = before + content + after
    return template


if __name__ == "__main__":
    sys.stdout.buffer.write(assembled(Path(sys.argv[1]).read_text("utf-8")).encode())
