"""What the demo does at the insurers' desks: each claim that is planted in the sample data is looked into, and told of.

Keeps true: a verdict with any other finding than its story's ends the demo, and so does a bundle of which a process
that knows the policy alone says otherwise. Trusts `medchain.commands.demo_claims` for the calls.
Source: `docs/architecture.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from medchain.claims.verdict_words import BETWEEN, LINES, sentence
from medchain.commands import demo_texts as texts
from medchain.commands.command import Context
from medchain.commands.demo_bundles import BUNDLES_NAME, Judged, judge, write_bundle
from medchain.commands.demo_claims import DUPLICATE, EMERGENCY, EXPECTED, Claims, Found, telling
from medchain.commands.demo_consortium import FOUNDERS, ZONE, Consortium
from medchain.commands.demo_story import RECIPIENT
from medchain.errors import VerificationError
from medchain.ledger.evidence.verdict import Line
from medchain.node.config import time_zone


@dataclass(slots=True)
class Desks:
    """Both insurers' desks.

    Attributes:
        consortium: its nodes run.
        context: of the command.
        tell: tells of progress.
        token: org_id → a fresh access token of that node.
        found: what they found, in order.
        judged: what was said of each claim's bundle.
        paid_s: how long the genuine claim took from its arrival to its payment; None before.
    """

    consortium: Consortium
    context: Context
    tell: Callable[..., None]
    token: Callable[[str], str]
    found: list[Found] = field(default_factory=list)
    judged: list[Judged] = field(default_factory=list)
    paid_s: float | None = None

    def work(self) -> None:
        """Look into every planted claim, and pay what is genuine, unless an earlier run did.

        Raises:
            VerificationError: ``demo.expected`` for a story that does not come out.
        """
        claims = Claims(self.consortium, self.context.clock)
        if not claims.planted() or self.consortium.facts.get("judged"):
            self.tell(texts.NO_CLAIMS)
            return
        for one in claims.planted():
            if one.name == EMERGENCY:
                count = claims.break_glass(one, self.context)
                self._expect("claim.emergency", is_true=count > 0)
                self.tell(texts.GLASS_BROKEN, org=self._name(one.hospital), count=count)
                claims.file(one, self.token(one.insurer))
            found = claims.settle(one, self.context.say(texts.CLAIM_REASON))
            self._judge(claims, found)
            self._expect("claim.paid", is_true=(found.paid_s is None) is bool(found.odd))
            if found.paid_s is not None:
                self.paid_s = found.paid_s
                self.tell(texts.CLAIM_PAID, insurer=self._name(one.insurer), seconds=self.paid_s)
        self.consortium.remember(judged=True)

    def _judge(self, claims: Claims, found: Found) -> None:
        """See that a verdict is what the story says, and that its bundle says the same to who was not there."""
        planted = found.planted
        is_first = planted.insurer == RECIPIENT and planted.name == DUPLICATE
        expected = frozenset() if is_first else EXPECTED[planted.name]
        self._expect(f"claim.{planted.name}", is_true={one.code for one in found.odd} == expected)
        name, files = f"claim-{'genuine' if is_first else planted.name}", claims.files(found)
        if planted.name == DUPLICATE and not is_first:
            self._expect("claim.secret", is_true=not telling(files, planted.name, RECIPIENT))
        folder = self.consortium.folder / BUNDLES_NAME / name
        write_bundle(folder, files)
        judged = judge(folder, self.consortium.policy_path)
        is_same = judged.verdict.get("claim") == found.verdict.to_json()
        self._expect(f"bundle.{name}", is_true=judged.is_verified and is_same)
        self.judged.append(judged)
        self.found.append(found)
        self._told(found)

    def _told(self, found: Found) -> None:
        """Tell of a verdict by its worst finding of the records themselves: a red flag may say again what that says."""
        worst = next((one for one in found.odd if one.line is not Line.FLAGS), next(iter(found.odd), None))
        say, language = self.context.say, self.context.language
        if worst is None:
            at = 0 if language == "zh" else 1
            told = say(texts.CLAIM_GENUINE, lines=BETWEEN[at].join(LINES[one.value][at] for one in Line))
        else:
            told = sentence(worst, language, self._name, time_zone(ZONE))
        who = {"hospital": self._name(found.planted.hospital), "insurer": self._name(found.planted.insurer)}
        colour = say(texts.COLOURS[found.verdict.colour])
        self.tell(texts.CLAIM_JUDGED, colour=colour, seconds=found.seconds, told=told, **who)

    def _expect(self, check: str, *, is_true: bool) -> None:
        """End the demo if a check fails."""
        if not is_true:
            raise VerificationError("demo.expected", check=check)

    def _name(self, org_id: str) -> str:
        """Name an organisation in the reader's language."""
        founder = next(item for item in FOUNDERS if item.org_id == org_id)
        return founder.zh if self.context.language == "zh" else founder.en
