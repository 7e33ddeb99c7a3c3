"""`medchain record erase`, `erased`, `lock` and `unlock`: what a patient, or the law, may ask of an operator.

Keeps true: nothing is destroyed before a person has said yes, or `--yes`; a legal lock refuses and says so; what was
destroyed is gone when the command says so, whether the node runs or not. Trusts whoever can open the root key: that is
the operator, and the operating system's account is the role.
Source: `docs/commands.md`, `docs/operations.md`, `docs/spec/keys.md` 10.
"""

from __future__ import annotations

import argparse
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime
from typing import Final, NamedTuple

from fhir_bridge.remaining import remaining
from fhir_bridge.search.service import open_search
from fhir_bridge.smart.origins import api_bases
from medchain.commands import messages
from medchain.commands.command import Command, Context, Exit, Text
from medchain.encoding import Json, as_list, members
from medchain.errors import ConflictError, InputError, UnavailableError
from medchain.ledger.object import map_key
from medchain.node.assembly import WebNode, open_web_node, read_genesis
from medchain.node.erasure import Erased, Eraser, Extent
from medchain.node.keystore import Layout
from medchain.node.local import LocalClient
from medchain.node.peers import Limits
from medchain.node.records import RecordService
from medchain.store.keeping import ERASURE, Lock

WAIT_S: Final = 60
"""How long the ledger's entry is waited for, where nobody says otherwise."""

MAX_REASON: Final = 200
"""Longest reason."""

_LOOK_S: Final = 0.1
_STATE: Final = Limits(timeout_s=60.0, max_bytes=4096)
_PREFIX: Final = "Patient/"


class _Opened(NamedTuple):
    """A node's records, and who knows the patients' tokens."""

    node: WebNode
    service: RecordService


@contextmanager
def _opened(context: Context) -> Iterator[_Opened]:
    """Open the node's records."""
    config = context.config()
    genesis, _ = read_genesis(Layout(config.folder))
    with open_web_node(config, context.halves(config, messages.PASSPHRASE), context.clock) as node:
        yield _Opened(node, RecordService(node.records, genesis.ledger, node.keys.records, context.clock))


def _patient_argument(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare whose records it is about."""
    parser.add_argument("--patient", required=True, metavar="ID", help=say(messages.ERASE_PATIENT))


def _erase_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `record erase` takes."""
    _patient_argument(parser, say)
    parser.add_argument("--reason", required=True, metavar="TEXT", help=say(messages.ERASE_REASON))
    parser.add_argument("--yes", action="store_true", help=say(messages.ERASE_YES))
    parser.add_argument("--wait", type=int, default=WAIT_S, metavar="SECONDS", help=say(messages.ERASE_WAIT))


def _lock_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `record lock` takes."""
    _patient_argument(parser, say)
    parser.add_argument("--reason", required=True, metavar="TEXT", help=say(messages.LOCK_REASON))
    parser.add_argument("--until", metavar="YYYY-MM-DD", help=say(messages.LOCK_UNTIL))


def _patient(context: Context) -> str:
    """Read the patient's local id, with or without ``Patient/``."""
    given = str(context.arguments.patient).removeprefix(_PREFIX)
    if not given:
        raise InputError("record.name")
    return given


def _reason(context: Context) -> str:
    """Read the reason."""
    reason = str(context.arguments.reason).strip()
    if not 0 < len(reason) <= MAX_REASON:
        raise InputError("erasure.reason", limit=MAX_REASON)
    return reason


def _erase(context: Context) -> int:
    """Destroy a patient's keys, and wait until the ledger says so."""
    patient, reason = _patient(context), _reason(context)
    with _opened(context) as opened:
        eraser = Eraser(
            opened.node.config.org_id, opened.node.records, opened.service, context.clock, secrets.token_bytes
        )
        extent = eraser.extent(patient)
        if extent.lock is not None:
            raise ConflictError("erasure.locked", until=_day(extent.lock), reason=extent.lock.reason)
        # While the patient's own records can be opened: they say by what others are found.
        left = _left(opened, patient)
        if not context.arguments.yes and not _is_meant(context, extent, left):
            context.tell(messages.ERASE_LEFT)
            return Exit.INTERRUPTED
        done = eraser.erase(patient, reason)
        return _answer(context, opened.node, done, left, is_final=_is_final(context, opened.node, done))


def _left(opened: _Opened, patient: str) -> list[str] | None:
    """List records that tell of the patient and stay; None where that cannot be looked up now."""
    genesis, _ = read_genesis(Layout(opened.node.config.folder))
    searches = open_search(opened.node, genesis.ledger, api_bases(opened.node, genesis))
    try:
        return remaining(searches, opened.node.records, opened.service, patient)
    except UnavailableError:
        return None


def _told(left: list[str] | None) -> tuple[Text, dict[str, Json]]:
    """Say with which words what stays is told."""
    if left is None:
        return messages.ERASE_UNKNOWN, {}
    if not left:
        return messages.ERASE_NOTHING_LEFT, {}
    return messages.ERASE_REMAINING, {"count": len(left), "names": " ".join(left)}


def _is_meant(context: Context, extent: Extent, left: list[str] | None) -> bool:
    """Show what would be destroyed and ask."""
    if context.as_json:
        raise InputError("confirm.missing")
    fields = {"records": extent.records, "versions": extent.versions, "keys": extent.keys}
    context.tell(messages.ERASE_EXTENT, **fields)
    said, names = _told(left)
    context.tell(said, **names)
    return context.confirm(messages.ERASE_ASK)


def _is_final(context: Context, node: WebNode, done: Erased) -> bool:
    """Wait until the entry is final, if the node runs."""
    deadline = time.monotonic() + max(context.arguments.wait, 0)
    while _waits(node, done):
        try:
            node.local.call("status", {}, Limits(timeout_s=2.0))
        except UnavailableError:
            return False
        if time.monotonic() >= deadline:
            return False
        time.sleep(_LOOK_S)
    return True


def _waits(node: WebNode, done: Erased) -> bool:
    """Tell whether the intent is still in the outbox."""
    page = node.records.pending(1, after=done.intent - 1, kind=ERASURE)
    return bool(page) and page[0].id == done.intent


def _answer(context: Context, node: WebNode, done: Erased, left: list[str] | None, *, is_final: bool) -> int:
    """Tell what was destroyed, and what the ledger says."""
    position = next((item.position for item in node.records.erasures() if item.epoch_id in done.keys), None)
    key = map_key("erasure", node.config.org_id, done.object_id).hex()
    fields: dict[str, Json] = {
        "keys": done.extent.keys,
        "records": done.extent.records,
        "versions": done.extent.versions,
    }
    said, names = _told(left)
    last = messages.ERASE_FINAL if is_final else messages.ERASE_PENDING
    lines = [
        context.say(messages.ERASE_DONE, **fields),
        context.say(last, object=key),
        context.say(said, **names),
        context.say(messages.ERASE_BACKUPS),
    ]
    remaining_json: Json = None if left is None else list[Json](left)
    answer = {**fields, "final": is_final, "object": key, "position": position, "remaining": remaining_json}
    context.answer(answer, lines)
    return Exit.DONE


def _erased_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `record erased` takes."""
    parser.add_argument("grant", metavar="GRANT", nargs="?", help=say(messages.ERASED_GRANT))
    parser.add_argument("--reason", metavar="TEXT", help=say(messages.ERASED_REASON))


def _erased(context: Context) -> int:
    """State that what was received under a grant is erased, or list the grants of which that is still to be stated."""
    grant = context.arguments.grant
    with closing(LocalClient(context.config().folder)) as client:
        if grant is None:
            rows = members(client.call("erasure.due", {}), {"grants": list})["grants"]
            listed = as_list(rows)
            lines = [context.say(messages.ERASED_DUE, **row) for row in listed if isinstance(row, dict)]
            context.answer({"grants": listed}, lines or [context.say(messages.ERASED_NONE)])
            return Exit.DONE
        if context.arguments.reason is None:
            raise InputError("erasure.reason", limit=MAX_REASON)
        done = client.call("erasure.state", {"grant": grant, "reason": _reason(context)}, _STATE)
    context.answer(done, [context.say(messages.ERASED_DONE, grant=grant)])
    return Exit.DONE


def _lock(context: Context) -> int:
    """Lock a patient's records against erasure."""
    until = None if context.arguments.until is None else _seconds(context.arguments.until)
    with _opened(context) as opened:
        token = opened.service.patient_token(_patient(context))
        lock = Lock(token, until, _reason(context), context.clock())
        opened.node.records.put_lock(lock)
    document: Json = {"reason": lock.reason, "until": _day(lock)}
    said = messages.LOCK_DONE if until is None else messages.LOCK_DONE_UNTIL
    context.answer(document, [context.say(said, until=_day(lock), reason=lock.reason)])
    return Exit.DONE


def _unlock(context: Context) -> int:
    """Take a lock away."""
    with _opened(context) as opened:
        opened.node.records.lift_lock(opened.service.patient_token(_patient(context)))
    context.answer({"locked": False}, [context.say(messages.UNLOCK_DONE)])
    return Exit.DONE


def _seconds(text: str) -> int:
    """Read a date: the end of that day, UTC."""
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise InputError("retention.date", until=text[:32]) from error
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) + 86_400


def _day(lock: Lock) -> str | None:
    """Word the last day of a lock; None for one without end."""
    return None if lock.until is None else datetime.fromtimestamp(lock.until - 1, UTC).date().isoformat()


COMMANDS: Final = (
    Command(("record", "erase"), messages.ERASE_SUMMARY, messages.ERASE_EXAMPLES, _erase, _erase_arguments),
    Command(("record", "erased"), messages.ERASED_SUMMARY, messages.ERASED_EXAMPLES, _erased, _erased_arguments),
    Command(("record", "lock"), messages.LOCK_SUMMARY, messages.LOCK_EXAMPLES, _lock, _lock_arguments),
    Command(("record", "unlock"), messages.UNLOCK_SUMMARY, messages.UNLOCK_EXAMPLES, _unlock, _patient_argument),
)
"""The commands of this file."""
