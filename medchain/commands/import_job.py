"""One file of an import: read, checked, stored, unit by unit; in this process or in a worker process of its own.

Keeps true: a unit and the note that it was imported are stored together, so that an import that is interrupted
anywhere and run again stores nothing twice and loses nothing; every entry is stored, was there already, or is reported
as refused, at each run: what is refused of a unit is noted with it, since who interrupts may not have read it yet.
Trusts `RecordService.create_many` to store all or none.
Source: `docs/commands.md`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from fhir_bridge.bundle import NOT_FOUND, Plan, collect
from fhir_bridge.labelling import Labeller, label_sets
from fhir_bridge.references import Resolver, identifier_key
from fhir_bridge.search.service import open_search
from fhir_bridge.smart.origins import api_bases
from fhir_bridge.validation.check import Mode
from medchain.commands.import_files import Unit, units
from medchain.crypto.keywrap import KEY_BYTES, SecretBytes
from medchain.encoding import Json, canonical, members, parse_canonical, unhex
from medchain.errors import ConflictError, InputError, MedchainError
from medchain.ledger.genesis import Genesis
from medchain.node.assembly import WebNode, open_web_node, read_genesis
from medchain.node.clock import system_clock
from medchain.node.config import load_config
from medchain.node.jobs import bound, read_secret, serve
from medchain.node.keystore import Layout, Unlock
from medchain.node.policy_terms import PolicyTerms
from medchain.node.records import RecordService

MODULE: Final = "medchain.commands.import_job"
"""What the processes of a `medchain.node.fork_server` run."""

_ATTEMPTS: Final = 3

Refusal: TypeAlias = "tuple[int, MedchainError]"
"""Number of the entry (0 for the file) and why it was refused."""


@dataclass(slots=True)
class Outcome:
    """What came of a file.

    Attributes:
        stored: new record versions.
        present: entries whose record was there already.
        refused: number of the entry (0 for the file) and why.
        is_skipped: whether an earlier import had finished it.
        waits: whether it refers to what is not there yet; units before that are stored.
    """

    stored: int = 0
    present: int = 0
    refused: list[Refusal] = field(default_factory=list)
    is_skipped: bool = False
    waits: bool = False

    def document(self) -> Json:
        """Write it."""
        return {
            "present": self.present,
            "refused": _rows(self.refused),
            "skipped": self.is_skipped,
            "stored": self.stored,
            "waits": self.waits,
        }


def read_outcome(document: Json) -> Outcome:
    """Read what a worker process answered."""
    shape = {"present": int, "refused": list, "skipped": bool, "stored": int, "waits": bool}
    top = members(document, shape)
    return Outcome(
        stored=_number(top["stored"]),
        present=_number(top["present"]),
        refused=_refusals(top["refused"]),
        is_skipped=top["skipped"] is True,
        waits=top["waits"] is True,
    )


class FileImporter:
    """Imports files into a node, one at a time; remembers what it found by identifier."""

    def __init__(self, node: WebNode, genesis: Genesis) -> None:
        """Use an opened node.

        Args:
            node: its records.
            genesis: of the ledger.
        """
        self._store = node.records
        self._clock = node.clock
        self._validation = Mode(node.config.fhir_validation)
        searches = open_search(node, genesis.ledger, api_bases(node, genesis))
        self._service = RecordService(node.records, genesis.ledger, node.keys.records, node.clock, index=searches.index)
        terms = PolicyTerms(node.local, genesis.members.policy.terms)
        self._labeller = Labeller(label_sets(node.config.folder), self._service, node.records, terms.majority_years)
        self._resolver = Resolver(searches, node.records, identifier_key(node.keys.records))

    def take(self, path: Path, *, may_wait: bool) -> Outcome:
        """Import a file.

        Args:
            path: the file.
            may_wait: whether it may be left for later because of what it refers to.

        Returns:
            What came of it.

        Raises:
            MedchainError: the disk.
        """
        outcome = Outcome()
        count = fresh = 0
        try:
            for unit in units(path):
                count += 1
                noted = self._store.imported_unit(unit.name)
                if noted is not None:
                    outcome.refused += _noted(noted)
                    continue
                fresh += 1
                if not self._unit(unit, outcome, may_wait=may_wait):
                    outcome.waits = True
                    return outcome
        except InputError as error:
            outcome.refused.append((0, error))
        outcome.is_skipped = count > 0 and not fresh
        return outcome

    def _unit(self, unit: Unit, outcome: Outcome, *, may_wait: bool) -> bool:
        """Import one unit; tells whether it is done, and does not wait."""
        for attempt in range(_ATTEMPTS):
            try:
                plan = collect(
                    unit.bundle,
                    self._resolver,
                    self._clock(),
                    may_wait=may_wait,
                    validation=self._validation,
                    labeller=self._labeller,
                )
                # A unit of which nothing was stored is not noted as done: it may be better understood another time.
                if plan.records or not (plan.refused or unit.refused):
                    told = _note([*_refused(unit, plan), *unit.refused])
                    self._service.create_many(plan.records, unit=unit.name, refused=told)
            except (InputError, ConflictError) as error:
                if may_wait and error.code == NOT_FOUND:
                    return False
                # Another process may have stored the same record just now: then it is there when we look again.
                if isinstance(error, ConflictError) and attempt < _ATTEMPTS - 1:
                    continue
                outcome.refused += [(number, error) for number in unit.numbers or (0,)]
            else:
                _count(outcome, unit, plan)
            break
        outcome.refused += unit.refused
        return True


def main(arguments: list[str]) -> int:
    """Import files as a worker process, see `medchain.node.jobs`.

    Args:
        arguments: path of the configuration.

    Returns:
        0.
    """
    bound()
    halves = Unlock(SecretBytes(unhex(read_secret().decode("ascii"), KEY_BYTES)), None)
    config = load_config(Path(arguments[0]), os.environ, {})
    genesis, _ = read_genesis(Layout(config.folder))
    with open_web_node(config, halves, system_clock) as node:
        importer = FileImporter(node, genesis)

        def handle(document: Json, _content: bytes) -> tuple[Json, bytes]:
            asked = members(document, {"may_wait": bool, "path": str})
            path = Path(os.fsdecode(bytes.fromhex(str(asked["path"]))))
            outcome = importer.take(path, may_wait=asked["may_wait"] is True)
            return outcome.document(), b""

        serve(handle)
    return 0


def _count(outcome: Outcome, unit: Unit, plan: Plan) -> None:
    """Count what a unit came to."""
    outcome.stored += len(plan.records)
    outcome.present += len(plan.entries) - len(plan.records)
    outcome.refused += _refused(unit, plan)


def _refused(unit: Unit, plan: Plan) -> list[Refusal]:
    """List what a plan leaves out, by its number in the file."""
    return [(unit.numbers[item.index], item.error) for item in plan.refused]


def _note(refused: Sequence[Refusal]) -> bytes:
    """Write what is noted with a unit; empty for nothing."""
    return canonical(_rows(refused)) if refused else b""


def _noted(note: bytes) -> list[Refusal]:
    """Read what was noted with a unit."""
    return _refusals(parse_canonical(note, max_bytes=len(note))) if note else []


def _rows(refused: Sequence[Refusal]) -> Json:
    """Write refusals."""
    return [[number, error.code, dict[str, Json](error.fields)] for number, error in refused]


def _refusals(rows: Json) -> list[Refusal]:
    """Read refusals."""
    return [_refusal(row) for row in rows] if type(rows) is list else []


def _refusal(row: Json) -> Refusal:
    """Read a refusal."""
    if type(row) is not list or len(row) != 3 or type(row[2]) is not dict:  # noqa: PLR2004  # number, code, fields
        raise InputError("encoding.members", member="refused")
    kept = {name: item for name, item in row[2].items() if item is None or isinstance(item, (int, str))}
    return _number(row[0]), InputError(str(row[1]), **kept)


def _number(value: Json) -> int:
    """Narrow a number."""
    return value if type(value) is int else 0
