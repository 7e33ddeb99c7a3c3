"""Backups of a running node, and nodes made from them.

Keeps true: each database is copied in one consistent state while others write it, and stays encrypted under its key; a
copy is opened and read as a whole before it counts; a backup appears whole or not at all, its list of files is
authenticated by a key that only the root key gives, and it holds no root key. What the node cosigned is copied last, so
that a restored node never promises less than it did. A restored node appears whole or not at all, with the mark of
`medchain.node.restored`. Trusts who guards the root key.
Source: `docs/spec/store.md` 11, `docs/operations.md`.
"""

from __future__ import annotations

import hmac
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from hashlib import file_digest
from pathlib import Path, PurePosixPath
from typing import Final

from medchain.crypto.keywrap import derive
from medchain.encoding import Json, as_number, canonical, members, parse_canonical, unhex
from medchain.errors import ConflictError, InputError, NotFoundError, UnavailableError, VerificationError
from medchain.ledger.genesis import parse_genesis
from medchain.node.clock import Clock
from medchain.node.config import CONFIG_NAME
from medchain.node.deliver import deliver_kind, told
from medchain.node.erasure import ErasureIntent, forget_told
from medchain.node.erasure_job import RESTORED_TYPE
from medchain.node.keystore import Layout, Unlock, open_daemon_keys, open_web_keys, write_private_file
from medchain.node.ledger_driver import SPENT_NAME, VOUCHED_NAME
from medchain.node.receipt_file import RECEIPTS_NAME
from medchain.node.restored import RestoreMark
from medchain.store.engine import FileKind, mark_path, open_database
from medchain.store.epochs import Erasure
from medchain.store.journal import HeldJournals
from medchain.store.keeping import Lock, PatientErasure
from medchain.store.ledger import LedgerStore
from medchain.store.records import RecordStore

MANIFEST_NAME: Final = "backup.json"
"""Name of the list of a backup's files."""

ARCHIVE_SUFFIX: Final = ".tar"
"""A backup whose name ends so is one file."""

FOR_EVER: Final = 1 << 52
"""Time of a list of erasures that is declared complete."""

_TYPE: Final = "medchain/backup/v1"
_MAX_MANIFEST_BYTES: Final = 64 << 20
_EPOCH_BYTES: Final = 16
_TAG_BYTES: Final = 32
_KEYSTORE: Final = "keys/keystore.json"
# Keys that wait come before the keystore: taken over meanwhile, they are in one of the two.
_KEYS: Final = ("keys/candidates.json", _KEYSTORE)
_PLAIN: Final = (CONFIG_NAME, *_KEYS, "genesis.json", "genesis.signatures.json", "member.json", RECEIPTS_NAME)
_MEMBERS: Final = {
    "erasures": list,
    "files": dict,
    "height": int,
    "org_id": str,
    "size": int,
    "tag": str,
    "time": int,
    "type": str,
}


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup says of itself.

    Attributes:
        org_id: whose node it is of.
        ledger: ledger id, 32 bytes; None for a node that has joined none.
        height: newest block in it, -1 for none.
        size: leaves in it.
        time: when it was made, Unix seconds.
        files: name → SHA-256 in hexadecimal.
        erasures: all keys that the node had destroyed.
    """

    org_id: str
    ledger: bytes | None
    height: int
    size: int
    time: int
    files: Mapping[str, str]
    erasures: tuple[Erasure, ...]


def make_backup(folder: Path, org_id: str, halves: Unlock, target: Path, *, clock: Clock) -> Manifest:
    """Back up a node, whether it runs or not.

    Args:
        folder: the node's.
        org_id: its organisation.
        halves: both halves of the root key.
        target: a folder, or a file whose name ends in `ARCHIVE_SUFFIX`; must not exist.
        clock: gives Unix seconds.

    Returns:
        What it holds.

    Raises:
        ConflictError: ``file.exists``.
        VerificationError: ``store.corrupt``: the node's own files are damaged; nothing is left of the backup.
        UnavailableError: ``store.full`` and others.
    """
    if target.exists():
        raise ConflictError("file.exists", path=str(target))
    # Before anything is copied: what is destroyed meanwhile may be in the copy.
    now = clock()
    with _appearing(target if target.suffix != ARCHIVE_SUFFIX else target.with_suffix(".folder")) as partial:
        manifest = _fill(partial, Layout(folder), org_id, halves, now)
        tag = _tag(halves, manifest)
        write_private_file(partial / MANIFEST_NAME, canonical({**_document(manifest), "tag": tag.hex()}))
        if target.suffix == ARCHIVE_SUFFIX:
            _pack(partial, target)
            shutil.rmtree(partial)
    return manifest


def read_backup(source: Path) -> tuple[Manifest, bytes]:
    """Read a backup's list and compare every file with it.

    Args:
        source: its folder.

    Returns:
        What it says, and its tag, which `check_tag` compares.

    Raises:
        NotFoundError: ``file.missing`` for what is no backup.
        InputError: ``backup.manifest`` and others.
        VerificationError: ``backup.changed``.
    """
    path = source / MANIFEST_NAME
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        raise NotFoundError("file.missing", path=str(path)) from error
    manifest, tag = _parse(parse_canonical(content, max_bytes=_MAX_MANIFEST_BYTES))
    found = _digests(source)
    found.pop(MANIFEST_NAME)
    if found != manifest.files:
        changed = sorted(found.items() ^ manifest.files.items())
        raise VerificationError("backup.changed", path=changed[0][0])
    return manifest, tag


def check_tag(manifest: Manifest, tag: bytes, halves: Unlock) -> None:
    """See that a node with this root key made a backup's list; raises `VerificationError` ``backup.tag``."""
    if not hmac.compare_digest(tag, _tag(halves, manifest)):
        raise VerificationError("backup.tag")


@contextmanager
def unpacked(source: Path, beside: Path) -> Iterator[Path]:
    """Give the folder of a backup, unpacked for as long as it is needed if it is one file.

    Args:
        source: folder or file.
        beside: where room is, with a name that nobody uses.

    Raises:
        InputError: ``backup.archive`` for what is no archive of ours.
    """
    if not source.is_file():
        yield source
        return
    # Of a call that was killed.
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(mode=0o700)
    try:
        _unpack(source, beside)
        yield beside
    finally:
        shutil.rmtree(beside)


@dataclass(frozen=True, slots=True)
class ErasureList:
    """Which erasures a node knows, and what must not be erased.

    Attributes:
        until: when the list was whole, Unix seconds.
        keys: all keys that were destroyed.
        patients: all erasures of patients, as far as they were kept.
        locks: all legal locks; None where they are not known.
    """

    until: int
    keys: Sequence[Erasure] = ()
    patients: Sequence[PatientErasure] = ()
    locks: Sequence[Lock] | None = None


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of a restore.

    Attributes:
        files: how many were compared and copied.
        destroyed: keys that were destroyed again.
        patients: erasures that the node carries out again, before it serves.
        is_complete: whether a newer list of erasures was there.
        accounts: names of the accounts that are shut until somebody confirms them.
        clients: ids of the applications, likewise.
        has_locks: whether legal locks are those of a newer list; else they are as at the backup.
    """

    files: int
    destroyed: int
    patients: int
    is_complete: bool
    accounts: tuple[str, ...] = ()
    clients: tuple[str, ...] = ()
    has_locks: bool = False


def restore_backup(
    source: Path,
    folder: Path,
    halves: Unlock,
    *,
    clock: Clock,
    newer: Sequence[ErasureList] = (),
    complete: Callable[[Path], None] = lambda _partial: None,
) -> Restored:
    """Make a node's folder from a backup's.

    Args:
        source: the backup's folder.
        folder: of the new node; absent or empty.
        halves: both halves of its root key, whose file is not part of the backup.
        clock: gives Unix seconds.
        newer: lists of erasures made after the backup.
        complete: is given the folder before it gets its name, to put there what is no part of a backup.

    Returns:
        What was done; the node is marked.

    Raises:
        ConflictError: ``file.exists`` for a folder with something in it.
        MedchainError: as `read_backup` and `check_tag`; ``store.corrupt`` for databases that cannot be read.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ConflictError("file.exists", path=str(folder))
    manifest, tag = read_backup(source)
    check_tag(manifest, tag, halves)
    until = max([manifest.time, *(known.until for known in newer)])
    with _appearing(folder) as partial:
        Layout(partial).create()
        RestoreMark(max(manifest.height, 0), clock(), until).write(partial)
        for name in manifest.files:
            path = partial / name
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            shutil.copyfile(source / name, path)
            path.chmod(0o600)
        others = _open_all(Layout(partial), halves)[2]
        done = Restored(len(manifest.files), 0, 0, bool(newer))
        if Layout(partial).records.exists():
            key = _key(partial, halves, FileKind.RECORDS)
            opened = open_database(Layout(partial).records, key, kind=FileKind.RECORDS)
            with closing(RecordStore(opened)) as records:
                done = _made_safe(records, done, manifest, newer, clock())
                ask_again(records, [name for name in others if name != manifest.org_id], clock())
        complete(partial)
    return done


def erasures_of(folder: Path, halves: Unlock) -> ErasureList:
    """Read the erasures of an old node's records file; raises as `medchain.store.engine.open_database`."""
    key = open_web_keys(folder, halves).records_database
    opened = open_database(Layout(folder).records, key, kind=FileKind.RECORDS, migrate=False, adopt=True)
    with closing(RecordStore(opened)) as records:
        # What runs no more erases no more: its list is whole for ever.
        return ErasureList(FOR_EVER, records.erasures(), records.patient_erasures(), records.locks())


def erasures_in(source: Path, halves: Unlock, beside: Path) -> ErasureList:
    """Read the erasures of a backup.

    Args:
        source: its folder.
        halves: both halves of the root key.
        beside: where room is for a copy of its records file, with a name that nobody uses.

    Raises:
        MedchainError: as `read_backup`, `check_tag` and `medchain.store.engine.open_database`.
    """
    manifest, tag = read_backup(source)
    check_tag(manifest, tag, halves)
    if not Layout(source).records.exists():
        return ErasureList(manifest.time, manifest.erasures)
    with _appearing(beside) as partial:
        # To open a file writes beside it: the backup must stay as its list says.
        shutil.copyfile(Layout(source).records, Layout(partial).records)
        key = open_web_keys(source, halves).records_database
        opened = open_database(Layout(partial).records, key, kind=FileKind.RECORDS, adopt=True)
        with closing(RecordStore(opened)) as records:
            patients, locks = records.patient_erasures(), records.locks()
        shutil.rmtree(partial)
    return ErasureList(manifest.time, manifest.erasures, patients, locks)


def _fill(partial: Path, layout: Layout, org_id: str, halves: Unlock, now: int) -> Manifest:
    """Copy everything, and look at the copies."""
    (partial / "keys").mkdir(mode=0o700)
    for name in _PLAIN:
        _copy_small(layout.folder, partial, name)
    copies = Layout(partial)
    if layout.ledger.exists():
        key = _key(layout.folder, halves, FileKind.LEDGER)
        with closing(open_database(layout.ledger, key, kind=FileKind.LEDGER, migrate=False)) as database:
            database.backup(copies.ledger)
    if layout.records.exists():
        key = _key(layout.folder, halves, FileKind.RECORDS)
        _copy_records(layout, copies, key)
        _copy_blobs(layout, copies, key)
    for name in (VOUCHED_NAME, SPENT_NAME):
        _copy_small(layout.folder, partial, name)
    ledger, erasures, _ = _open_all(copies, halves)
    for path in (copies.ledger, copies.records):
        mark_path(path).unlink(missing_ok=True)
    height, size = ledger
    genesis = partial / "genesis.json"
    ledger_id = parse_genesis(genesis.read_bytes()).ledger if genesis.exists() else None
    return Manifest(org_id, ledger_id, height, size, now, _digests(partial), tuple(erasures))


def _copy_records(layout: Layout, copies: Layout, key: bytes) -> None:
    """Copy the records file, and the audit's journals as they were at the same moment.

    How far they are taken stands in the file. Held before it, they would lack frames of changes that it has, and after
    it, tell of versions that it has not, whose numbers others will get.
    """
    with (
        closing(open_database(layout.records, key, kind=FileKind.RECORDS, migrate=False)) as database,
        closing(HeldJournals()) as journals,
    ):
        database.backup(copies.records, beside=lambda: journals.hold(layout.audit))
        journals.copy(copies.audit)


def _copy_blobs(layout: Layout, copies: Layout, key: bytes) -> None:
    """Copy the blobs that the copied rows name; one whose key was destroyed meanwhile is gone, as it should be."""
    with (
        closing(RecordStore(open_database(layout.records, key, kind=FileKind.RECORDS, migrate=False))) as live,
        closing(RecordStore(open_database(copies.records, key, kind=FileKind.RECORDS, adopt=True))) as copied,
    ):
        after = 0
        while page := copied.blob_rows(after=after):
            after = page[-1].seq
            for row in page:
                if row.is_alive and live.is_blob_alive(row.name):
                    _copy_blob(live, row.name, copies.blobs)


def _copy_blob(live: RecordStore, name: bytes, folder: Path) -> None:
    """Copy one blob, unless it went with its key just now."""
    try:
        live.blobs.copy(name, folder)
    except VerificationError:
        if live.is_blob_alive(name):
            raise


def _open_all(layout: Layout, halves: Unlock) -> tuple[tuple[int, int], list[Erasure], list[str]]:
    """Open copies, and read all of them.

    Returns:
        (height, size) of the ledger, all erasures of keys noted, and who is a member.
    """
    head, erasures, members_then = (-1, 0), list[Erasure](), list[str]()
    if layout.ledger.exists():
        key = _key(layout.folder, halves, FileKind.LEDGER)
        database = open_database(layout.ledger, key, kind=FileKind.LEDGER, adopt=True)
        with closing(LedgerStore(database)) as ledger:
            database.check()
            head = (ledger.head.height, ledger.head.size)
            members_then = sorted(ledger.members.organisations) if ledger.head.height >= 0 else []
    if layout.records.exists():
        key = _key(layout.folder, halves, FileKind.RECORDS)
        database = open_database(layout.records, key, kind=FileKind.RECORDS, adopt=True)
        with closing(RecordStore(database)) as records:
            database.check()
            # What was ended after the backup must not go on because of it.
            records.accounts.forget_live()
            erasures = records.erasures()
    return head, erasures, members_then


def ask_again(records: RecordStore, org_ids: Sequence[str], now: int) -> None:
    """Have the node ask members, once it runs, what they had it destroy since the backup: its files have that again."""
    for org_id in org_ids:
        records.put_intent(deliver_kind(org_id), told(org_id, {"type": RESTORED_TYPE}), now)


def _made_safe(
    records: RecordStore, done: Restored, manifest: Manifest, newer: Sequence[ErasureList], now: int
) -> Restored:
    """Have what ended since the backup stay ended: keys are destroyed, the rest is the node's before it serves."""
    noted = {item.epoch_id for item in records.erasures()}
    known = [*manifest.erasures, *(item for one in newer for item in one.keys)]
    destroyed = records.replay_erasures(item for item in known if item.epoch_id not in noted)
    again = records.reopen_erasures([item for one in newer for item in one.patients], manifest.time)
    for item in again:
        # At once, and not with the rest: else the node would send what the patient was to be told.
        forget_told(records, ErasureIntent.decode(item.intent))
    # Those of an older one would open to an erasure what was locked before the backup.
    known_locks = [one for one in newer if one.locks is not None and one.until > manifest.time]
    locks = max(known_locks, key=lambda one: one.until, default=None)
    if locks is not None:
        records.replace_locks(locks.locks or ())
    records.accounts.shut_all(now)
    return replace(
        done,
        destroyed=destroyed,
        patients=len(again),
        accounts=tuple(account.name for account in records.accounts.unconfirmed_accounts()),
        clients=tuple(records.accounts.unconfirmed_clients()),
        has_locks=locks is not None,
    )


def _key(folder: Path, halves: Unlock, kind: FileKind) -> bytes:
    """Return the key of a database."""
    if kind is FileKind.LEDGER:
        return open_daemon_keys(folder, halves).ledger_database
    return open_web_keys(folder, halves).records_database


def _copy_small(source: Path, target: Path, name: str) -> None:
    """Copy a small file, if it is there."""
    if (source / name).is_file():
        write_private_file(target / name, (source / name).read_bytes())


@contextmanager
def _appearing(target: Path) -> Iterator[Path]:
    """Give a folder that gets its name when all of it is on the disk, and is removed if it never does."""
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True, mode=0o700)
        yield partial
        if partial.exists():
            for path in (*partial.rglob("*"), partial):
                _sync(path)
            partial.rename(target)
            _sync(target.parent)
    except OSError as error:
        raise UnavailableError("backup.io", path=str(error.filename or target)) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _sync(path: Path) -> None:
    """Make a file's content, or a folder's names, durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digests(folder: Path) -> dict[str, str]:
    """List a folder's files with their digests."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                found[path.relative_to(folder).as_posix()] = file_digest(file, "sha256").hexdigest()
    return found


def _pack(partial: Path, target: Path) -> None:
    """Make one file of a backup's folder."""
    packed = target.with_name(target.name + ".partial")
    packed.unlink(missing_ok=True)
    try:
        descriptor = os.open(packed, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            with tarfile.open(fileobj=file, mode="w") as archive:
                for name in sorted(_digests(partial)):
                    archive.add(partial / name, name)
            file.flush()
            os.fsync(file.fileno())
        packed.rename(target)
        _sync(target.parent)
    finally:
        packed.unlink(missing_ok=True)


def _unpack(source: Path, target: Path) -> None:
    """Unpack plain files with plain names, and nothing else."""
    try:
        with tarfile.open(source, mode="r:") as archive:
            for item in archive:
                content = archive.extractfile(item) if item.isreg() else None
                parts = PurePosixPath(item.name)
                if content is None or parts.is_absolute() or ".." in parts.parts:
                    raise InputError("backup.archive", path=str(source))
                path = target / parts
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                with path.open("xb") as file:
                    shutil.copyfileobj(content, file)
                path.chmod(0o600)
    except (tarfile.TarError, FileExistsError) as error:
        raise InputError("backup.archive", path=str(source)) from error


def _tag(halves: Unlock, manifest: Manifest) -> bytes:
    """Authenticate a backup's list."""
    if halves.daemon is None:
        raise VerificationError("keys.unwrap")
    return hmac.digest(derive(halves.daemon, "backup"), canonical(_document(manifest)), "sha256")


def _document(manifest: Manifest) -> dict[str, Json]:
    """Write a backup's list without its tag."""
    return {
        "erasures": [{"epoch": item.epoch_id.hex(), "time": item.time} for item in manifest.erasures],
        "files": dict[str, Json](manifest.files),
        "height": manifest.height,
        "ledger": None if manifest.ledger is None else manifest.ledger.hex(),
        "org_id": manifest.org_id,
        "size": manifest.size,
        "time": manifest.time,
        "type": _TYPE,
    }


def _parse(document: Json) -> tuple[Manifest, bytes]:
    """Read a backup's list strictly."""
    has_ledger = isinstance(document, dict) and document.get("ledger") is not None
    top = members(document, {**_MEMBERS, "ledger": str if has_ledger else type(None)})
    files, erasures = top["files"], top["erasures"]
    if top["type"] != _TYPE or not isinstance(files, dict) or not isinstance(erasures, list):
        raise InputError("backup.manifest")
    if CONFIG_NAME not in files or _KEYSTORE not in files or any(not _is_plain(name) for name in files):
        raise InputError("backup.manifest")
    manifest = Manifest(
        org_id=str(top["org_id"]),
        ledger=unhex(top["ledger"], 32) if has_ledger else None,
        height=as_number(top["height"]),
        size=as_number(top["size"]),
        time=as_number(top["time"]),
        files={name: str(digest) for name, digest in files.items()},
        erasures=tuple(_erasure(item) for item in erasures),
    )
    return manifest, unhex(top["tag"], _TAG_BYTES)


def _erasure(item: Json) -> Erasure:
    """Read one erasure."""
    row = members(item, {"epoch": str, "time": int})
    return Erasure(unhex(row["epoch"], _EPOCH_BYTES), as_number(row["time"]), None)


def _is_plain(name: str) -> bool:
    """Tell whether a name stays inside its folder."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and path.as_posix() == name
