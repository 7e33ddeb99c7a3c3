"""What `medchain verify` says of a claim: its seven lines, as words.

Keeps true: nothing is told by colour alone. Trusts the verdict.
Source: `docs/spec/claim-verdict.md`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from medchain.claims.verdict_words import COLOURS, LINES, names_in, sentence
from medchain.commands.command import Context, Text, visible
from medchain.encoding import Json
from medchain.ledger.evidence.verdict import ClaimVerdict, Line, worst

_CLAIM: Final = Text("{insurer} 的索赔 {claim}：{colour}。", "Claim {claim} of {insurer}: {colour}.")
_LINE: Final = Text("{line}：{colour}", "{line}: {colour}")


def claim_lines(context: Context, verdict: ClaimVerdict, names: Mapping[str, Mapping[str, Json]]) -> Iterator[str]:
    """Word a verdict: the whole, then each line with what was found.

    Args:
        context: says in which language.
        verdict: of a bundle.
        names: org_id → language → name of the members that it is about; who has none is called by the org_id.

    Returns:
        Lines of text.
    """
    language, name = context.language, names_in(names, context.language)

    def word(table: dict[str, Text], name: str) -> str:
        return context.say(table[name])

    colours = {name: Text(*pair) for name, pair in COLOURS.items()}
    lines = {name: Text(*pair) for name, pair in LINES.items()}
    yield context.say(
        _CLAIM, insurer=name(verdict.insurer), claim=verdict.claim.hex(), colour=word(colours, verdict.colour)
    )
    for line in Line:
        found = verdict.of(line)
        yield context.say(_LINE, line=word(lines, line), colour=word(colours, worst(found)))
        for finding in found:
            yield f"  - {visible(sentence(finding, language, name))}"
