"""`medchain record show`, `history`, `prove`, `disclosures` and `looks`: what this node holds, for its operator.

Keeps true: what is shown was opened and compared with its commitment; a file has exactly the bytes that were
registered, so that `verify --content` takes it. Trusts whoever can open the root key.
Source: `docs/commands.md`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from fhir_bridge.references import instant
from fhir_bridge.resources import ID_PATTERN, TYPE_PATTERN
from medchain.commands import messages
from medchain.commands.command import Command, Context, Exit, Text
from medchain.commands.new_file import new_file, write_new
from medchain.encoding import Json, base64_text
from medchain.errors import InputError, NotFoundError
from medchain.node.assembly import WebNode, open_web_node, read_genesis
from medchain.node.keystore import Layout
from medchain.node.local import LocalClient
from medchain.node.looks import looks_proof
from medchain.node.proofs import (
    PROVE_DISCLOSURES,
    opening_of,
    opening_of_fields,
    proof_files,
    record_proof,
    records_proof,
    zip_bundle,
)
from medchain.node.records import RecordService
from medchain.store.records import RecordVersion
from medchain.tlog.note import MAX_NOTE_BYTES


class _Name(NamedTuple):
    """A record's type and id."""

    type: str
    id: str


def _record_argument(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare the record."""
    parser.add_argument("record", metavar="TYPE/ID", help=say(messages.RECORD_NAME))


def _show_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `record show` takes."""
    _version_arguments(parser, say)
    parser.add_argument("--out", type=Path, metavar="FILE", help=say(messages.RECORD_SHOW_OUT))


def _version_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare a record and a version of it."""
    _record_argument(parser, say)
    parser.add_argument("--version", type=int, metavar="N", help=say(messages.RECORD_VERSION))


def _prove_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `record prove` takes."""
    parser.add_argument("record", metavar="TYPE/ID", nargs="+", help=say(messages.RECORD_NAMES))
    parser.add_argument("--version", type=int, metavar="N", help=say(messages.RECORD_VERSION))
    parser.add_argument("--out", type=Path, default=Path("proof.zip"), metavar="FILE", help=say(messages.OUT_FILE))
    parser.add_argument("--since", type=Path, metavar="CHECKPOINT", help=say(messages.RECORD_SINCE))
    parser.add_argument("--field", action="append", metavar="POINTER", help=say(messages.RECORD_FIELD))


def _disclosures_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `record disclosures` takes."""
    parser.add_argument("grant", metavar="GRANT", help=say(messages.DISCLOSURES_GRANT))
    parser.add_argument("--custodian", metavar="ORG", help=say(messages.DISCLOSURES_CUSTODIAN))
    parser.add_argument(
        "--out", type=Path, default=Path("disclosures.zip"), metavar="FILE", help=say(messages.OUT_FILE)
    )
    parser.add_argument("--since", type=Path, metavar="CHECKPOINT", help=say(messages.RECORD_SINCE))


def _looks_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `record looks` takes."""
    parser.add_argument("patient", metavar="PATIENT", help=say(messages.LOOKS_PATIENT))
    parser.add_argument("--out", type=Path, default=Path("looks.zip"), metavar="FILE", help=say(messages.OUT_FILE))


def _named(text: str) -> _Name:
    """Read ``Type/id``."""
    type_name, _, record_id = text.partition("/")
    if TYPE_PATTERN.fullmatch(type_name) is None or ID_PATTERN.fullmatch(record_id) is None:
        raise InputError("record.name")
    return _Name(type_name, record_id)


@contextmanager
def _opened(context: Context) -> Iterator[tuple[WebNode, RecordService]]:
    """Open the node's records."""
    config = context.config()
    genesis, _ = read_genesis(Layout(config.folder))
    with open_web_node(config, context.halves(config, messages.PASSPHRASE), context.clock) as node:
        yield node, RecordService(node.records, genesis.ledger, node.keys.records, context.clock)


def _show(context: Context) -> int:
    """Show a record's content as it is stored, or write it to a file."""
    name = _named(context.arguments.record)
    with _opened(context) as (node, service):
        if context.arguments.out is not None:
            return _write_content(context, service, node.records.get(name.type, name.id, context.arguments.version))
        opened = service.read(name.type, name.id, context.arguments.version)
    document: Json = {
        "content_b64": base64_text(opened.content),
        "object": opened.stored.object_id.hex(),
        "position": opened.stored.position,
        "version": opened.stored.version,
    }
    try:
        lines = [] if context.as_json else [opened.content.decode("utf-8")]
    except UnicodeDecodeError:
        raise InputError("record.not_text", content_type=opened.stored.content_type) from None
    context.answer(document, lines)
    return Exit.DONE


def _write_content(context: Context, service: RecordService, stored: RecordVersion | None) -> int:
    """Write a content of any size to a file, byte for byte as it was registered."""
    out: Path = context.arguments.out
    if stored is None:
        raise NotFoundError("record.unknown")
    opened = service.stream(stored)
    size = 0
    # What was not compared with its commitment to the end is nobody's to keep.
    with new_file(out) as file:
        for piece in opened.pieces:
            size += file.write(piece)
    context.answer({"file": str(out), "size": size}, [context.say(messages.RECORD_WRITTEN, file=out, size=size)])
    return Exit.DONE


def _history(context: Context) -> int:
    """List a record's versions."""
    name = _named(context.arguments.record)
    with _opened(context) as (_, service):
        versions = service.history(name.type, name.id)
    if not versions:
        raise NotFoundError("record.unknown")
    rows: list[Json] = []
    lines = []
    for row in versions:
        is_pending = row.position is None
        anchored = messages.RECORD_PENDING if is_pending else messages.RECORD_ANCHORED
        fields: dict[str, Json] = {
            "version": row.version,
            "created": instant(row.created),
            "object": row.object_id.hex(),
        }
        lines.append(context.say(messages.RECORD_ROW, **fields, anchored=context.say(anchored, position=row.position)))
        rows.append({**fields, "position": row.position})
    context.answer({"versions": rows}, lines)
    return Exit.DONE


def _prove(context: Context) -> int:
    """Write the proof bundle of a record, or one of several."""
    given = context.arguments
    names = [_named(text) for text in given.record]
    if len(names) > 1 and given.version is not None:
        raise InputError("record.versions")
    for pointer in given.field or ():
        if any("\ud800" <= character <= "\udfff" for character in pointer):
            # Bytes of the command line that are no text of its encoding stand as what no record can hold.
            raise InputError("record.no_field", pointer=ascii(pointer))
    old = _checkpoint(given.since)
    with _opened(context) as (node, service):
        shown = [(stored, _opening(service, stored, given.field)) for stored in _stored(node, names, given.version)]
        if len(shown) == 1:
            files = record_proof(node.local, node.config.org_id, *shown[0], old_checkpoint=old)
        else:
            files = records_proof(node.local, node.config.org_id, shown, old_checkpoint=old)
    return _written(context, files, given.out)


def _stored(node: WebNode, names: Sequence[_Name], version: int | None) -> list[RecordVersion]:
    """Find records; raises `NotFoundError`."""
    found = [node.records.get(name.type, name.id, version) for name in names]
    stored = [row for row in found if row is not None]
    if len(stored) != len(names):
        raise NotFoundError("record.unknown")
    return stored


def _opening(service: RecordService, stored: RecordVersion, pointers: Sequence[str] | None) -> bytes:
    """Write what is shown of a record: some fields, or all of it."""
    return opening_of_fields(service, stored, pointers) if pointers else opening_of(service, stored)


def _disclosures(context: Context) -> int:
    """Write the proof of all disclosures under a grant."""
    given = context.arguments
    old = _checkpoint(given.since)
    config = context.config()
    asked: dict[str, Json] = {"custodian": given.custodian or config.org_id, "grant": given.grant}
    if old is not None:
        asked["checkpoint"] = base64_text(old)
    with closing(LocalClient(config.folder)) as client:
        files = proof_files(client.call(PROVE_DISCLOSURES, asked))
    return _written(context, files, given.out)


def _looks(context: Context) -> int:
    """Write the proof of who looked at a patient's records."""
    patient = context.arguments.patient
    if ID_PATTERN.fullmatch(patient) is None:
        raise InputError("record.name")
    with _opened(context) as (node, service):

        def prove(stored: RecordVersion) -> Mapping[str, bytes]:
            return record_proof(node.local, node.config.org_id, stored, opening_of(service, stored))

        files = looks_proof(node.records, service, prove, patient)
    return _written(context, files, context.arguments.out)


def _written(context: Context, files: Mapping[str, bytes], out: Path) -> int:
    """Write a proof bundle to a new file."""
    write_new(out, zip_bundle(files))
    count = len(files)
    context.answer({"count": count, "file": str(out)}, [context.say(messages.RECORD_PROVED, file=out, count=count)])
    return Exit.DONE


def _checkpoint(path: Path | None) -> bytes | None:
    """Read an earlier checkpoint, if one is given."""
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            return file.read(MAX_NOTE_BYTES + 1)
    except OSError as error:
        raise NotFoundError("file.missing", path=str(path)) from error


COMMANDS: Final = (
    Command(("record", "show"), messages.RECORD_SHOW_SUMMARY, messages.RECORD_SHOW_EXAMPLES, _show, _show_arguments),
    Command(
        ("record", "history"),
        messages.RECORD_HISTORY_SUMMARY,
        messages.RECORD_HISTORY_EXAMPLES,
        _history,
        _record_argument,
    ),
    Command(
        ("record", "prove"), messages.RECORD_PROVE_SUMMARY, messages.RECORD_PROVE_EXAMPLES, _prove, _prove_arguments
    ),
    Command(
        ("record", "disclosures"),
        messages.DISCLOSURES_SUMMARY,
        messages.DISCLOSURES_EXAMPLES,
        _disclosures,
        _disclosures_arguments,
    ),
    Command(("record", "looks"), messages.LOOKS_SUMMARY, messages.LOOKS_EXAMPLES, _looks, _looks_arguments),
)
"""The commands of this file."""
