"""What `medchain demo` tells at its end: as a document, and as lines for a person.

Keeps true: both say the same, and only what was found or measured. Trusts its caller for what it is told.
Source: `docs/architecture.md`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from medchain.claims.verdict_words import LINES
from medchain.commands import demo_texts as texts
from medchain.commands.command import Text
from medchain.commands.demo_bundles import BUNDLES_NAME, Judged
from medchain.commands.demo_claims import Found
from medchain.commands.demo_consortium import FOUNDERS, HOSPITALS, Consortium
from medchain.commands.demo_ledger import Count
from medchain.commands.demo_rates import Rate
from medchain.commands.demo_story import CUSTODIAN, RECIPIENT
from medchain.encoding import Json, as_list
from medchain.ledger.evidence.verdict import Line

_MS: Final = 1000


class Say(Protocol):
    """Words something in the reader's language."""

    def __call__(self, text: Text, /, **fields: object) -> str:
        """Word it."""
        ...


@dataclass(frozen=True, slots=True)
class Told:
    """What there is to tell.

    Attributes:
        consortium: its nodes run.
        count: of what is on the ledger.
        names: of who cosigned it, org_ids.
        measured: name → seconds, as text.
        judged: the proof bundles.
        statements: name of what was stated → states that it passed, in order.
        claims: what the insurers' desks found.
        rates: kind of request → what was measured.
        seconds: since the start.
    """

    consortium: Consortium
    count: Count
    names: Sequence[str]
    measured: Mapping[str, Json]
    judged: Sequence[Judged]
    statements: Mapping[str, Sequence[str]]
    claims: Sequence[Found]
    rates: Mapping[str, Rate]
    seconds: float


def document(told: Told) -> dict[str, Json]:
    """Write the summary as a document."""
    consortium, count = told.consortium, told.count
    nodes: dict[str, Json] = {}
    for org_id, node in consortium.nodes.items():
        nodes[org_id] = {
            "folder": str(node.folder),
            "records": count.objects["record", org_id],
            "web": node.web_url,
        }
    return {
        "blocks": count.blocks,
        "claims": [_claim(found) for found in told.claims],
        "bundles": {item.name: dict(item.verdict) for item in told.judged},
        "cosigners": list[Json](told.names),
        "einvoice_stand_in": consortium.einvoice_url or None,
        "ledger": consortium.genesis.ledger.hex(),
        "measured": dict(told.measured),
        "nodes": nodes,
        "policy": str(consortium.policy_path),
        "rates": {
            "load_per_s": consortium.facts.get("load_per_s"),
            **{name: rate.document() for name, rate in told.rates.items()},
        },
        "root": count.checkpoint.root.hex(),
        "size": count.checkpoint.size,
        "statements": {name: list[Json](states) for name, states in told.statements.items()},
        "transactions": count.transactions,
    }


def lines(told: Told, say: Say, language: str) -> Iterator[str]:
    """Word the summary.

    Args:
        told: what there is to tell.
        say: words it.
        language: ``zh`` or ``en``, for names.

    Returns:
        Lines, some of them several.
    """
    consortium, folder, command = told.consortium, told.consortium.folder / BUNDLES_NAME, medchain_command()
    yield say(texts.HEADING, seconds=told.seconds)
    yield from _holders(told, say, language)
    yield from _ledger(told, say, language)
    example, policy = folder / "record", consortium.policy_path
    yield say(texts.PROOFS, folder=folder, command=command, example=example, policy=policy)
    yield from _statements(told, say)
    yield from _claims(told, say, language)
    yield from _rates(told, say, language)
    node, patient = consortium.nodes[HOSPITALS[0]], consortium.facts["patient"]
    yield say(texts.TOKEN, command=command, config=node.config_path, web=node.web_url, patient=patient)
    yield say(texts.BROWSE, command=command, config=node.config_path, web=node.web_url)
    yield say(texts.DESK, command=command, config=node.config_path, web=node.web_url)


def person_lines(consortium: Consortium, person: Mapping[str, Json], say: Say) -> Iterator[str]:
    """Word what waits for who wants to be the patient, and the way of the patient's claim to the money.

    Args:
        consortium: its nodes run.
        person: as `medchain.commands.demo_person.Person.invite` gives it.
        say: words it.

    Returns:
        Lines, some of them several. Where the claim is paid, or was never there, how to get to the desk's list.
    """
    insurer, claim = consortium.nodes[RECIPIENT], person.get("claim")
    desk = {"command": medchain_command(), "config": insurer.config_path}
    if person:
        yield say(texts.PERSON)
        yield from [say(texts.PERSON_WAITS[str(name)]) for name in as_list(person["waits"])] or [say(texts.PERSON_IDLE)]
        yield say(texts.PERSON_PLACE, url=person["url"], sign_in=person["sign_in"])
    if isinstance(claim, dict):
        place = f"{insurer.web_url}/claims/cases/{claim['case']}"
        yield say(texts.CLAIM_TO_TRY, home=person["sign_in"], number=claim["number"], place=place, **desk)
    elif consortium.facts.get("stories"):
        yield say(texts.CLAIMS_DESK, web=insurer.web_url, **desk)


def _claim(found: Found) -> Json:
    """Write what a desk found."""
    return {
        "claim": found.planted.claim,
        "codes": list[Json](sorted({one.code for one in found.odd})),
        "colour": found.verdict.colour.value,
        "hospital": found.planted.hospital,
        "insurer": found.planted.insurer,
        "seconds": f"{found.seconds:.3f}",
        "story": found.planted.name,
    }


def name_of(org_id: str, language: str) -> str:
    """Name an organisation in the reader's language."""
    founder = next((item for item in FOUNDERS if item.org_id == org_id), None)
    if founder is None:
        return org_id
    return founder.zh if language == "zh" else founder.en


def medchain_command() -> Path | str:
    """Name our command as the reader can type it, also where `make` has put it into a folder that no PATH names."""
    beside = Path(sys.executable).with_name("medchain")
    return beside if beside.exists() else beside.name


def _holders(told: Told, say: Say, language: str) -> Iterator[str]:
    """Say who holds what."""
    yield say(texts.WHO)
    size = told.count.checkpoint.size
    loaded = told.consortium.facts.get("held")
    holders = (
        {*HOSPITALS, *(name for name, count in loaded.items() if count)} if isinstance(loaded, dict) else HOSPITALS
    )
    for org_id, node in told.consortium.nodes.items():
        held = told.count.objects["record", org_id]
        # Others may have anchored segments of their audit, which are nobody's health records.
        text = texts.HOLDER if org_id in holders else texts.NON_HOLDER
        yield say(text, name=name_of(org_id, language), records=held, size=size, web=node.web_url)


def _ledger(told: Told, say: Say, language: str) -> Iterator[str]:
    """Say what is on the ledger."""
    count = told.count
    size, orderer = count.checkpoint.size, name_of(told.consortium.orderer(), language)
    yield say(texts.LEDGER, size=size, transactions=count.transactions, blocks=count.blocks, orderer=orderer)
    kinds: dict[str, int] = {}
    for (kind, _), number in count.objects.items():
        kinds[kind] = kinds.get(kind, 0) + number
    yield say(texts.OBJECTS, objects=", ".join(f"{kind} {number}" for kind, number in sorted(kinds.items())))
    yield say(texts.CHECKPOINT, size=size, root=count.checkpoint.root.hex())
    yield say(texts.COSIGNERS, names=", ".join(name_of(name, language) for name in told.names))


def _statements(told: Told, say: Say) -> Iterator[str]:
    """Say what became of what was stated; nothing where the ledger knows no types of statements."""
    if told.statements:
        yield say(texts.STATEMENTS)
    for name, states in told.statements.items():
        yield say(texts.STATEMENT, name=say(texts.STATEMENT_NAMES[name]), states=passed(states, say))


def passed(states: Sequence[str], say: Say) -> str:
    """Word the states that a statement passed, in order."""
    return " → ".join(say(texts.STATES[state]) for state in states)


def _claims(told: Told, say: Say, language: str) -> Iterator[str]:
    """Say what the insurers' desks found, and how long a claim took from invoice to paid."""
    if told.claims:
        yield say(texts.CLAIMS)
    for found in told.claims:
        hospital, insurer = (name_of(name, language) for name in (found.planted.hospital, found.planted.insurer))
        at = 0 if language == "zh" else 1
        odd = {one.line for one in found.odd}
        why = ("、", ", ")[at].join(LINES[line.value][at] for line in Line if line in odd) or say(texts.CLAIM_PLAIN)
        named = {"hospital": hospital, "insurer": insurer, "why": why}
        yield say(texts.CLAIM, colour=say(texts.COLOURS[found.verdict.colour]), seconds=found.seconds, **named)
    if "claim_paid_s" in told.measured:
        yield say(texts.PAID, seconds=told.measured["claim_paid_s"])
    if told.claims and told.consortium.einvoice_url:
        yield say(texts.EINVOICES_SHOWN)


def _rates(told: Told, say: Say, language: str) -> Iterator[str]:
    """Say what was measured."""
    yield say(texts.RATES, name=name_of(CUSTODIAN, language), others=len(FOUNDERS) - 1)
    load = told.consortium.facts.get("load_per_s")
    if isinstance(load, int):
        yield say(texts.RATE_LOAD, rate=load)
    for name, rate in told.rates.items():
        yield say(texts.RATE_KINDS[name], rate=rate.per_s, p50=rate.p50_s * _MS, p99=rate.p99_s * _MS)
