"""`medchain doctor`: looks at everything that a node stands on, and says what is wrong and what is not.

Keeps true: nothing is changed; a check that fails does not keep the others from being made; what cannot be looked at is
said to be skipped, never good. Trusts nothing of the node.
Source: `docs/commands.md`.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from medchain.commands import messages
from medchain.commands.command import Command, Context, Exit, Text
from medchain.commands.membership import members_in_force
from medchain.commands.status import clock_lines, lacking_lines
from medchain.crypto.signing import check_ed25519_rule, library_versions
from medchain.dates import day_text
from medchain.encoding import Json
from medchain.errors import MedchainError, UnavailableError, VerificationError
from medchain.ledger.kinds.subject import CHANNELS
from medchain.node.assembly import read_genesis
from medchain.node.awaited import AWAITED_S, read_awaited
from medchain.node.clock import Clock
from medchain.node.config import NodeConfig, explain
from medchain.node.dispatching import LATE_S, NOT_LATE
from medchain.node.keystore import Layout, Unlock, WebKeys, open_daemon_keys, open_web_keys
from medchain.node.ledger_driver import VOUCHED_NAME, VouchedFile
from medchain.node.local import LocalClient
from medchain.node.mail import MailChannel
from medchain.node.peers import Limits
from medchain.node.records import RecordService
from medchain.ordering.embedded import LOG_KEY_SPENT, NO_HEIR
from medchain.store.accounts import Role
from medchain.store.engine import FileKind, open_database
from medchain.store.records import BlobRow, RecordStore

MIN_FREE_BYTES: Final = 2 << 30
"""Least free space on the node's disk."""

MAX_CLOCK_SKEW_S: Final = 30
"""How far the clocks of other nodes may be from ours; blocks more than 60 s away are refused."""

MAX_OUTBOX_AGE_S: Final = 600
"""How long a record may wait for its anchor."""

_PEER_TIMEOUT_S: Final = 3.0
_MAX_PAGE_BYTES: Final = 256 << 10
_LIMITS: Final = Limits(timeout_s=3.0)
_GOOD, _BAD, _SKIPPED = "good", "bad", "skipped"
_SECRETS: Final = ("keys", "keys/keystore.json", "records.db", "ledger.db", "run", "blobs")


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found.

    Attributes:
        check: its name, of `messages.DOCTOR_CHECKS`.
        state: ``good``, ``bad`` or ``skipped``.
        detail: a code or figures; empty where there is nothing to add.
    """

    check: str
    state: str
    detail: str = ""


def examine(context: Context, *, full: bool) -> Iterator[Finding]:
    """Make all checks.

    Args:
        context: of the command.
        full: whether to read every page of the databases.

    Yields:
        A finding a check.
    """
    yield Finding("libraries", _GOOD, library_versions())
    yield _try("signatures", check_ed25519_rule)
    problems = [problem for problem in explain(context.config_path(), context.environment) if problem.fatal]
    if problems:
        yield Finding("configuration", _BAD, ", ".join(f"{item.setting} {item.code}" for item in problems))
        return
    yield Finding("configuration", _GOOD)
    config = context.config()
    yield _permissions(config.folder)
    yield _disk(config.folder)
    halves: Unlock | None = None
    try:
        halves = context.halves(config, messages.PASSPHRASE)
    except MedchainError as error:
        yield Finding("keys", _BAD, str(error))
    if halves is not None:
        yield from _with_keys(context, config, halves, full=full)
    daemon = _daemon(context, config)
    yield daemon
    yield _finality(context, config)
    yield signing(config, is_running=daemon.state != _SKIPPED)
    yield mail(config, context.clock)
    yield from _peers(context, config, halves, is_running=daemon.state != _SKIPPED)


def _try(check: str, function: Callable[[], object]) -> Finding:
    """Make a check that raises when it fails."""
    try:
        detail = function()
    except MedchainError as error:
        return Finding(check, _BAD, str(error))
    return Finding(check, _GOOD, detail if isinstance(detail, str) else "")


def _permissions(folder: Path) -> Finding:
    """See that nobody else can read what is the node's own."""
    open_ones = [name for name in ("", *_SECRETS) if _is_open(folder / name)]
    return Finding("permissions", _BAD if open_ones else _GOOD, ", ".join(str(folder / name) for name in open_ones))


def _is_open(path: Path) -> bool:
    """Tell whether others have rights to a file or folder."""
    return path.exists() and bool(path.stat().st_mode & 0o077)


def _disk(folder: Path) -> Finding:
    """See that there is space left."""
    free = shutil.disk_usage(folder).free
    return Finding("disk", _GOOD if free >= MIN_FREE_BYTES else _BAD, f"{free >> 20} MiB")


def _with_keys(context: Context, config: NodeConfig, halves: Unlock, *, full: bool) -> Iterator[Finding]:
    """Open keys and databases."""
    try:
        web_keys = open_web_keys(config.folder, halves)
        records_key = web_keys.records_database
        ledger_key = open_daemon_keys(config.folder, halves).ledger_database
    except MedchainError as error:
        yield Finding("keys", _BAD, str(error))
        return
    yield Finding("keys", _GOOD)
    layout = Layout(config.folder)
    if layout.genesis.exists():
        yield _try("invoices", lambda: _invoices(config, halves))
    if layout.records.exists():
        yield _try("outbox", lambda: _outbox(layout, records_key, context.clock()))
        yield _try("messages", lambda: _messages(layout, records_key, context.clock()))
        yield _try("confirmations", lambda: _confirmations(layout, records_key))
        yield _try("attesting", lambda: _attesting(layout, records_key))
        yield _try("blobs", lambda: _blobs(layout, web_keys, context.clock, full=full))
    for check, path, key, kind in (
        ("records", layout.records, records_key, FileKind.RECORDS),
        ("ledger", layout.ledger, ledger_key, FileKind.LEDGER),
    ):
        if not path.exists():
            yield Finding(check, _SKIPPED, path.name)
            continue
        # The key opens the file and its first pages: damage elsewhere shows when it is read.
        yield _try(check, lambda path=path, key=key, kind=kind: _look_into(path, key, kind, full=full))  # type: ignore[misc]  # the defaults bind the names
    if not full:
        yield Finding("pages", _SKIPPED, "--full")
    if layout.ledger.exists() and not layout.restored.exists():
        yield _try("promises", lambda: _promises(layout.folder))


def _invoices(config: NodeConfig, halves: Unlock) -> str:
    """See that the node holds all keys that the ledger lists for ids of its invoices.

    Raises:
        UnavailableError: ``doctor.invoices`` for one that it has not, such as after a restore from before it was drawn.
    """
    own = members_in_force(config, lambda: halves).organisations.get(config.org_id)
    listed = own.invoices.generations if own is not None and own.invoices is not None else ()
    held = open_daemon_keys(config.folder, halves).vrf
    missing = [day_text(one.from_day) for one in listed if one.public not in held]
    if missing:
        raise UnavailableError("doctor.invoices", days=", ".join(missing))
    return str(len(listed))


def _promises(folder: Path) -> None:
    """See that the node knows what it has vouched for; raises as `VouchedFile.load`."""
    VouchedFile(folder / VOUCHED_NAME).load()


def _look_into(path: Path, key: bytes, kind: FileKind, *, full: bool) -> str:
    """Open a database, and read all of it if asked."""
    with closing(open_database(path, key, kind=kind, migrate=False)) as database:
        if full:
            database.check()
    return f"{path.stat().st_size >> 20} MiB"


def _outbox(layout: Layout, key: bytes, now: int) -> str:
    """See how long records wait for their anchor; raises `UnavailableError` ``doctor.outbox`` for too long."""
    opened = open_database(layout.records, key, kind=FileKind.RECORDS, migrate=False)
    with closing(RecordStore(opened)) as records:
        waiting, oldest = records.pending_count(), records.pending(1)
    age_s = max(0, now - oldest[0].created) if oldest else 0
    if age_s > MAX_OUTBOX_AGE_S:
        raise UnavailableError("doctor.outbox", waiting=waiting, age_s=age_s)
    return f"{waiting}, {age_s} s"


def _messages(layout: Layout, key: bytes, now: int) -> str:
    """See how long word of notices waits on its way to people; raises `UnavailableError` ``doctor.messages``."""
    opened = open_database(layout.records, key, kind=FileKind.RECORDS, migrate=False)
    with closing(RecordStore(opened)) as records:
        found = [records.waiting_dispatches(channel, NOT_LATE) for channel in CHANNELS]
    waiting = sum(count for count, _ in found)
    age_s = max((now - since for _, since in found if since is not None), default=0)
    if age_s > LATE_S:
        raise UnavailableError("doctor.messages", waiting=waiting, age_s=age_s)
    return f"{waiting}, {age_s} s"


def _confirmations(layout: Layout, key: bytes) -> None:
    """See that nothing waits that a restore shut; raises `UnavailableError` ``doctor.confirmations`` otherwise."""
    opened = open_database(layout.records, key, kind=FileKind.RECORDS, migrate=False)
    with closing(RecordStore(opened)) as records:
        accounts = len(records.accounts.unconfirmed_accounts())
        clients = len(records.accounts.unconfirmed_clients())
    if accounts or clients:
        raise UnavailableError("doctor.confirmations", accounts=accounts, clients=clients)


def _attesting(layout: Layout, key: bytes) -> None:
    """See that whoever is at the desk can attest; raises `UnavailableError` ``doctor.attesting`` otherwise."""
    opened = open_database(layout.records, key, kind=FileKind.RECORDS, migrate=False)
    with closing(RecordStore(opened)) as records:
        accounts = [one for one in records.accounts.accounts() if one.role is Role.DESK and one.disabled is None]
    names = [one.name for one in accounts if not one.is_person]
    if names:
        raise UnavailableError("doctor.attesting", names=", ".join(names))


def _blobs(layout: Layout, keys: WebKeys, clock: Callable[[], int], *, full: bool) -> str:
    """See that large content is where it should be, and if asked read and verify all of it.

    Raises:
        VerificationError: ``doctor.blobs`` with how many are absent or damaged.
    """
    genesis, _ = read_genesis(layout)
    opened = open_database(layout.records, keys.records_database, kind=FileKind.RECORDS, migrate=False)
    count = bad = after = 0
    with closing(RecordStore(opened)) as records:
        service = RecordService(records, genesis.ledger, keys.records, clock)
        while page := records.blob_rows(after=after):
            after = page[-1].seq
            alive = [row for row in page if row.is_alive]
            count += len(alive)
            bad += sum(not _is_blob_sound(records, service, row, full=full) for row in alive)
    if bad:
        raise VerificationError("doctor.blobs", count=count, bad=bad)
    return str(count)


def _is_blob_sound(records: RecordStore, service: RecordService, row: BlobRow, *, full: bool) -> bool:
    """Tell whether a blob is there, and if asked whether it opens to what was committed to."""
    stored = records.by_blob(row.name) if full else None
    if stored is None:
        return records.blobs.has(row.name, row.size)
    try:
        service.measure(stored)
    except VerificationError:
        return False
    return True


def _status(config: NodeConfig) -> Json:
    """Ask the daemon how it is."""
    with closing(LocalClient(config.folder)) as client:
        return client.call("status", {}, _LIMITS)


def _finality(context: Context, config: NodeConfig) -> Finding:
    """See that no block waits for long; name the members whose cosignatures it waits for."""
    try:
        since, sets = read_awaited(_status(config))
    except UnavailableError as error:
        return Finding("finality", _SKIPPED, error.code)
    if not sets or context.clock() - since <= AWAITED_S:
        return Finding("finality", _GOOD)
    return Finding("finality", _BAD, "; ".join(lacking_lines(context, since, sets)))


def _daemon(context: Context, config: NodeConfig) -> Finding:
    """Judge how the daemon says that it is."""
    try:
        health = _status(config)
    except UnavailableError as error:
        return Finding("daemon", _SKIPPED, error.code)
    if not isinstance(health, dict):
        return Finding("daemon", _BAD, "")
    reasons, told = health.get("reasons"), clock_lines(context, health)
    is_stuck = isinstance(reasons, list) and not {LOG_KEY_SPENT, NO_HEIR}.isdisjoint(map(str, reasons))
    # Serves, but cannot order or cosign, or nobody can order: it would show only when it has to.
    if health.get("ready") is not True or is_stuck or told:
        return Finding("daemon", _BAD, "; ".join([str(reasons), *told]))
    return Finding("daemon", _GOOD, f"{health.get('size')}, {health.get('final_size')}")


def signing(config: NodeConfig, *, is_running: bool) -> Finding:
    """See that browsers find at `sign.origin` the page of this ledger, on which patients sign.

    Args:
        config: of the node.
        is_running: whether it runs; nothing is served otherwise.

    Returns:
        What was found.
    """
    if not config.sign_origin:
        return Finding("signing", _SKIPPED, "sign.origin")
    if not is_running:
        return Finding("signing", _SKIPPED, config.sign_origin)
    try:
        genesis, _ = read_genesis(Layout(config.folder))
        page = _get(config.sign_origin, "/sign")[1]
    except (OSError, HTTPException, MedchainError, ValueError) as error:
        return Finding("signing", _BAD, f"{config.sign_origin} {type(error).__name__}")
    # Another node's page, or a proxy's own, would have nothing signed that this ledger takes.
    is_ours = f'data-ledger="{genesis.ledger.hex()}"'.encode() in page
    return Finding("signing", _GOOD if is_ours else _BAD, config.sign_origin)


def mail(config: NodeConfig, clock: Clock) -> Finding:
    """See that the mail server would take notices from this node; nothing is sent.

    Args:
        config: of the node.
        clock: gives Unix seconds.

    Returns:
        What was found.
    """
    if config.mail is None:
        return Finding("mail", _SKIPPED, "mail.server")
    server = config.mail
    return _try("mail", lambda: MailChannel(server, clock).probe())


def _peers(context: Context, config: NodeConfig, halves: Unlock | None, *, is_running: bool) -> Iterator[Finding]:
    """Call every other member of now, and compare clocks.

    Where this node itself is stopped, those that do not answer may be so too, as in a demo: nothing is wrong with it.
    """
    if halves is None:
        yield Finding("peers", _SKIPPED, "keys")
        return
    try:
        current = members_in_force(config, lambda: halves)
    except MedchainError as error:
        yield Finding("peers", _SKIPPED, error.code)
        return
    skews: list[int] = []
    for organisation in current.active:
        if organisation.org_id == config.org_id:
            continue
        try:
            skews.append(_skew(organisation.url, context.clock))
        except (OSError, HTTPException, ValueError) as error:
            state = _BAD if is_running else _SKIPPED
            yield Finding("peers", state, f"{organisation.org_id} {organisation.url} {type(error).__name__}")
        else:
            yield Finding("peers", _GOOD, organisation.org_id)
    if not skews:
        yield Finding("clock", _SKIPPED, "peers")
        return
    median = sorted(skews)[len(skews) // 2]
    yield Finding("clock", _GOOD if abs(median) <= MAX_CLOCK_SKEW_S else _BAD, f"{median} s")


def _skew(url: str, clock: Callable[[], int]) -> int:
    """Tell how far a node's clock is from ours, in seconds, by the Date of its answer; its content is not looked at."""
    date, _ = _get(url, "/healthz")
    return int(parsedate_to_datetime(date).timestamp()) - clock()


def _get(url: str, path: str) -> tuple[str, bytes]:
    """Ask for a page below an address; gives the Date of the answer, and the beginning of its content."""
    parts = urlsplit(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_PEER_TIMEOUT_S)
    try:
        connection.request("GET", f"{parts.path.rstrip('/')}{path}")
        answer = connection.getresponse()
        return answer.headers.get("Date", ""), answer.read(_MAX_PAGE_BYTES)
    finally:
        connection.close()


def _arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `doctor` takes."""
    parser.add_argument("--full", action="store_true", help=say(messages.DOCTOR_FULL))


def _doctor(context: Context) -> int:
    """Examine a node."""
    findings = list(examine(context, full=context.arguments.full))
    rows: list[Json] = [{"check": item.check, "detail": item.detail, "state": item.state} for item in findings]
    context.answer({"findings": rows}, [_line(context, item) for item in findings])
    if any(item.state == _BAD for item in findings):
        raise VerificationError("doctor.bad", count=sum(item.state == _BAD for item in findings))
    return Exit.DONE


def _line(context: Context, finding: Finding) -> str:
    """Word a finding."""
    check = context.say(messages.DOCTOR_CHECKS[finding.check])
    match finding.state:
        case "good":
            detail = f" ({finding.detail})" if finding.detail else ""
            return context.say(messages.DOCTOR_GOOD, check=check, detail=detail)
        case "bad":
            return context.say(messages.DOCTOR_BAD, check=check, detail=finding.detail)
        case _:
            return context.say(messages.DOCTOR_SKIPPED, check=check, detail=finding.detail)


COMMANDS: Final = (Command(("doctor",), messages.DOCTOR_SUMMARY, messages.DOCTOR_EXAMPLES, _doctor, _arguments),)
"""The command of this file."""
