"""A witness of one's own: a folder with keys, the logs that it trusts, and what it cosigned last of each.

It runs by itself and is no node: a regulator on a second machine, or a patients' association, executes nothing and sees
origins, sizes, roots and times. Keeps true: of each log the newest checkpoint that was cosigned is on the disk before a
cosignature leaves, decided and written under one lock; nothing smaller, nothing that does not extend it and nothing
earlier is ever cosigned; a state that is missing, cut, changed or taken back while the witness runs stops that log, and
never begins it anew. Trusts the file system's permissions, the clock not to run ahead, and who may write the folder: a
folder that is put back as a whole is noticed by who shows it checkpoints, not here (`docs/threat-model.md`).
Source: C2SP tlog-witness, tlog-cosignature; `docs/spec/log.md` 26 to 31.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from threading import Lock
from typing import Final

from medchain.crypto.keywrap import SecretBytes, derive
from medchain.crypto.signing import Ed25519Signer, MlDsa44Signer
from medchain.encoding import Json
from medchain.errors import ConflictError, InputError, MedchainError, NotFoundError, UnavailableError, VerificationError
from medchain.node.checked import checked, read_checked
from medchain.node.clock import Clock
from medchain.node.folder_lock import FolderLock
from medchain.node.keystore import create_root_file, open_root_file, write_private_file
from medchain.node.log import Log
from medchain.node.witness_file import MAX_FILE_BYTES, is_url, log_lines, parse_logs
from medchain.tlog.checkpoint import Checkpoint, cosign, parse_checkpoint, verify_cosignature
from medchain.tlog.merkle import EMPTY_ROOT
from medchain.tlog.note import KeyType, Note, Signature, VerifierKey, is_key_name, parse_note, parse_vkey
from medchain.tlog.witness import (
    Accepted,
    Conflict,
    Refused,
    WitnessState,
    decide_growth,
    parse_add_checkpoint,
    signed_checkpoint,
)

SPLIT: Final = "split"
"""Evidence that proves, with another of the same size, that the log has two histories; how its file's name begins."""

UNPROVEN: Final = "unproven"
"""A checkpoint that the log has signed and that came without a proof that holds: a lead, no proof; likewise."""

MAX_EVIDENCE: Final = 64
"""How many checkpoints of a sort are kept as evidence; of further ones the log tells alone."""

_TYPE: Final = "medchain/witness/v1"
_MEMBERS: Final = {"ed25519": str, "is_sealed": bool, "mldsa44": str, "type": str, "url": str}
_NO_LINE: Final = Signature("none", bytes(4), bytes(8))
_MAX_RETRY_S: Final = 600
_SHORT: Final = 16
_MAX_LOG_LINES: Final = 16
_LOG: Final = Log("witness")


@dataclass(frozen=True, slots=True)
class WitnessLayout:
    """Where things are in a witness's folder.

    Attributes:
        folder: the folder.
    """

    folder: Path

    @property
    def identity(self) -> Path:
        """Name, address and public keys."""
        return self.folder / "witness.json"

    @property
    def root_key(self) -> Path:
        """What the signing keys are derived from: a key file, or sealed with a passphrase."""
        return self.folder / "root.key"

    @property
    def logs(self) -> Path:
        """Keys of the logs that are trusted."""
        return self.folder / "logs.txt"

    @property
    def evidence(self) -> Path:
        """Checkpoints that a log has signed and that do not follow from what was cosigned."""
        return self.folder / "evidence"

    @property
    def own_log(self) -> Path:
        """What the witness's process writes of what it does."""
        return self.folder / "logs"

    def seen(self, origin: str) -> Path:
        """The newest checkpoint of a log that was cosigned, with the cosignatures."""
        # An origin is no name of a file: it may have any character but white space and a plus sign, 255 bytes of them.
        return self.folder / "seen" / sha256(origin.encode()).hexdigest()

    def lock(self) -> FolderLock:
        """Keep a second process from cosigning; raises `ConflictError` ``witnessing.running`` when it is taken."""
        return FolderLock(self.folder / "lock", ConflictError("witnessing.running", folder=str(self.folder)))

    def trust_lock(self) -> FolderLock:
        """Let one process at a time change what is trusted, while the witness runs; ``witnessing.busy``."""
        return FolderLock(self.folder / "logs.lock", ConflictError("witnessing.busy", folder=str(self.folder)))


@dataclass(frozen=True, slots=True)
class WitnessIdentity:
    """What others need to know of a witness, all of it public.

    Attributes:
        url: submission prefix, without a slash at its end.
        keys: Ed25519 and ML-DSA-44, both of the same name.
        is_sealed: whether a passphrase seals the root key.
    """

    url: str
    keys: tuple[VerifierKey, VerifierKey]
    is_sealed: bool

    @property
    def name(self) -> str:
        """Key name of both keys."""
        return self.keys[0].name

    def lines(self) -> tuple[str, ...]:
        """Write the lines of it in a node's file of witnesses (`medchain.node.witness_file`)."""
        # By its own name: two witnesses may stand at one host, and a line's name is good once in a file or a policy.
        return tuple(
            f"witness {self.name}-{kind} {key} {self.url}" for kind, key in zip(("ed", "pq"), self.keys, strict=True)
        )


@dataclass(frozen=True, slots=True)
class Seen:
    """What a witness has cosigned of a log last.

    Attributes:
        checkpoint: size 0 before the first.
        time: when, Unix seconds; 0 before the first.
        log_lines: the log's own lines on it; none before the first.
        lines: the cosignatures; none before the first.
    """

    checkpoint: Checkpoint
    time: int = 0
    log_lines: tuple[Signature, ...] = ()
    lines: tuple[Signature, ...] = ()

    @property
    def state(self) -> WitnessState:
        """What the rules are told."""
        return WitnessState(self.checkpoint.size, self.checkpoint.root)

    def to_bytes(self) -> bytes:
        """Write the file: a signed checkpoint, or the bare text of the empty tree before the first."""
        text, lines = self.checkpoint.text(), (*self.log_lines, *self.lines)
        return Note(text, lines).to_bytes() if lines else text.encode()


@dataclass(frozen=True, slots=True)
class Cosigned:
    """Answer 200 with these lines."""

    lines: tuple[Signature, ...]


class _Signers:
    """The private keys of a witness."""

    __slots__ = ("_name", "_signers")

    def __init__(self, name: str, root: SecretBytes) -> None:
        """Derive them from the root key."""
        self._name = name
        self._signers = (Ed25519Signer(derive(root, "witness/ed25519")), MlDsa44Signer(derive(root, "witness/mldsa44")))

    def keys(self) -> tuple[VerifierKey, VerifierKey]:
        """Return the public keys."""
        ed25519, mldsa44 = self._signers
        return (
            VerifierKey(self._name, KeyType.COSIGNATURE_ED25519, ed25519.public),
            VerifierKey(self._name, KeyType.COSIGNATURE_MLDSA44, mldsa44.public),
        )

    def cosign(self, checkpoint: Checkpoint, now: int) -> tuple[Signature, ...]:
        """Cosign with both."""
        return tuple(cosign(checkpoint, self._name, signer, now) for signer in self._signers)


def create_witness(
    folder: Path, url: str, name: str, logs: Sequence[VerifierKey], passphrase: str | None
) -> WitnessIdentity:
    """Make a witness's folder, with new keys.

    Args:
        folder: it need not exist.
        url: submission prefix by which nodes reach it.
        name: key name.
        logs: keys of the logs that it trusts, from `parse_logs`.
        passphrase: seals the root key; None writes a key file.

    Returns:
        What others need to know.

    Raises:
        ConflictError: ``keystore.exists`` for a folder that has keys.
        InputError: ``tlog.key_name``, ``witnessing.url`` for an address that is none, ``passphrase.too_short``.
    """
    layout = WitnessLayout(folder)
    if not is_key_name(name):
        raise InputError("tlog.key_name")
    if not is_url(url):
        raise InputError("witnessing.url", url=url)
    for path in (folder, folder / "seen", layout.evidence, layout.own_log):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    signers = _Signers(name, create_root_file(layout.root_key, passphrase))
    identity = WitnessIdentity(url.rstrip("/"), signers.keys(), is_sealed=passphrase is not None)
    trust_logs(folder, logs)
    ed25519, mldsa44 = identity.keys
    document: dict[str, Json] = {
        "ed25519": str(ed25519),
        "is_sealed": identity.is_sealed,
        "mldsa44": str(mldsa44),
        "type": _TYPE,
        "url": identity.url,
    }
    # Last: with it the folder is a witness's.
    write_private_file(layout.identity, checked(document))
    return identity


def read_identity(folder: Path) -> WitnessIdentity:
    """Read what is public of a witness.

    Raises:
        NotFoundError: ``witnessing.missing`` for a folder that is no witness's.
        InputError: ``encoding.*``, ``file.changed``, ``tlog.*`` for a damaged file.
    """
    path = WitnessLayout(folder).identity
    try:
        content = path.read_bytes()
    except OSError as error:
        raise NotFoundError("witnessing.missing", path=str(path)) from error
    found = read_checked(content, _MEMBERS, {}, name=path.name, max_bytes=MAX_FILE_BYTES)
    keys = parse_vkey(str(found["ed25519"])), parse_vkey(str(found["mldsa44"]))
    return WitnessIdentity(str(found["url"]), keys, is_sealed=found["is_sealed"] is True)


def trust_logs(folder: Path, keys: Sequence[VerifierKey]) -> None:
    """Trust these keys of logs from now on, and no others; a witness that runs goes by them from its next request on.

    What was cosigned of a log stays for ever, also of one that is trusted no more.

    Args:
        folder: of the witness.
        keys: from `parse_logs`.

    Raises:
        ConflictError: ``witnessing.busy`` while another process does so.
        VerificationError: ``witnessing.state`` where what was cosigned of a trusted log is gone, or may have been where
            the list so far is gone.
        InputError: as `parse_logs`, of the list so far.
    """
    layout = WitnessLayout(folder)
    with layout.trust_lock():
        origins = {key.name for key in keys}
        begun = _begun(layout, origins)
        for origin in sorted(origins):
            if layout.seen(origin).exists():
                continue
            if origin in begun:
                raise VerificationError("witnessing.state", path=str(layout.seen(origin)))
            write_private_file(layout.seen(origin), _nothing(origin).to_bytes())
        # What a log begins with is there before the log is known.
        write_private_file(layout.logs, log_lines(keys).encode())


def _begun(layout: WitnessLayout, origins: set[str]) -> set[str]:
    """Tell which logs have a state: those of the list so far, or any of these where it is gone from a witness."""
    try:
        return {key.name for key in read_logs(layout.folder)}
    except NotFoundError:
        return origins if layout.identity.exists() else set()


def read_logs(folder: Path) -> tuple[VerifierKey, ...]:
    """Read the keys of the logs that are trusted.

    Raises:
        InputError: as `parse_logs`.
        NotFoundError: ``witnessing.missing``.
    """
    path = WitnessLayout(folder).logs
    try:
        with path.open("rb") as file:
            return parse_logs(file.read(MAX_FILE_BYTES + 1))
    except OSError as error:
        raise NotFoundError("witnessing.missing", path=str(path)) from error


def read_seen(folder: Path, origin: str, keys: Sequence[VerifierKey]) -> Seen:
    """Read what was cosigned last of a log.

    Args:
        folder: of the witness.
        origin: of the log.
        keys: the witness's own: each must have signed what is there.

    Returns:
        It.

    Raises:
        VerificationError: ``witnessing.state`` for a file that is gone, cut, or not what the witness wrote.
    """
    path = WitnessLayout(folder).seen(origin)
    try:
        with path.open("rb") as file:
            return _parse_seen(file.read(MAX_FILE_BYTES + 1), origin, keys)
    except (OSError, MedchainError) as error:
        raise VerificationError("witnessing.state", path=str(path)) from error


def read_evidence(folder: Path) -> list[Path]:
    """List the checkpoints that are kept as evidence; the name of each begins with `SPLIT` or `UNPROVEN`."""
    found = WitnessLayout(folder).evidence.iterdir()
    return sorted(path for path in found if path.name.startswith((SPLIT, UNPROVEN)) and path.suffix != ".new")


@contextmanager
def open_witness(folder: Path, passphrase: str | None, clock: Clock) -> Iterator[Witness]:
    """Open a witness that cosigns, and keep others from doing so in the same folder.

    Args:
        folder: of the witness.
        passphrase: of the root key where it is sealed.
        clock: gives Unix seconds.

    Yields:
        It.

    Raises:
        ConflictError: ``witnessing.running``.
        NotFoundError: ``witnessing.missing``, ``keystore.no_root_key``.
        InputError: ``keystore.open_key`` when others can read the key; a damaged file.
        VerificationError: ``passphrase.authentication``; ``witnessing.keys`` for a root key of another witness;
            ``witnessing.state``.
    """
    layout, identity = WitnessLayout(folder), read_identity(folder)
    with layout.lock():
        signers = _Signers(identity.name, open_root_file(layout.root_key, passphrase))
        if signers.keys() != identity.keys:
            raise VerificationError("witnessing.keys", path=str(layout.root_key))
        for origin in {key.name for key in read_logs(folder)}:
            read_seen(folder, origin, identity.keys)
        yield Witness(layout, identity, signers, clock)


class Witness:
    """Cosigns. Safe for many threads."""

    __slots__ = ("_clock", "_layout", "_lock", "_signers", "_written", "identity")

    def __init__(self, layout: WitnessLayout, identity: WitnessIdentity, signers: _Signers, clock: Clock) -> None:
        """Prepare; `open_witness` has the folder's lock."""
        self.identity = identity
        self._layout = layout
        self._signers = signers
        self._clock = clock
        self._lock = Lock()
        self._written: dict[str, Seen] = {}

    def answer(self, body: bytes) -> Cosigned | Conflict | Refused:
        """Decide on an add-checkpoint request, from anybody.

        Args:
            body: the request's.

        Returns:
            What to answer.

        Raises:
            UnavailableError: nothing is cosigned: ``witnessing.logs``, ``witnessing.state``, ``witnessing.clock``,
                ``witnessing.disk``.
        """
        try:
            request = parse_add_checkpoint(body)
        except InputError:
            return Refused(400, "tlog.witness_request")
        log_keys = self._log_keys()
        checkpoint = signed_checkpoint(request.checkpoint, log_keys)
        if isinstance(checkpoint, Refused):
            return checkpoint
        shown = Seen(checkpoint, log_lines=_log_lines(request.checkpoint, checkpoint.origin, log_keys))
        with self._lock:
            seen = self._seen(checkpoint.origin)
            decision = decide_growth(seen.state, request, checkpoint)
            if isinstance(decision, Accepted):
                return self._cosign(seen, shown)
            self._keep_evidence(decision, seen, shown)
            return decision

    def _log_keys(self) -> tuple[VerifierKey, ...]:
        """Read the keys of logs, as they are now."""
        try:
            return read_logs(self._layout.folder)
        except MedchainError as error:
            _LOG.error("logs.refused", error)
            raise UnavailableError("witnessing.logs") from error

    def _seen(self, origin: str) -> Seen:
        """Read what was cosigned last, which must be what this process wrote last, if it has."""
        try:
            seen = read_seen(self._layout.folder, origin, self.identity.keys)
        except VerificationError as error:
            _LOG.error("state.refused", error)
            raise UnavailableError("witnessing.state") from error
        if self._written.get(origin, seen) != seen:
            _LOG.error("state.put_back", size=seen.checkpoint.size)
            raise UnavailableError("witnessing.state")
        return seen

    def _cosign(self, seen: Seen, shown: Seen) -> Cosigned:
        """Write down what is cosigned, then let the lines go."""
        checkpoint, now = shown.checkpoint, self._clock()
        if now < seen.time:
            _LOG.error("clock.behind", seconds=seen.time - now)
            raise UnavailableError("witnessing.clock", retry_after_s=min(seen.time - now, _MAX_RETRY_S))
        if now == seen.time and checkpoint == seen.checkpoint and checkpoint.origin in self._written:
            # Whoever shows it again and again has the disk written once a second.
            return Cosigned(seen.lines)
        cosigned = replace(shown, time=now, lines=self._signers.cosign(checkpoint, now))
        # Where the write fails it may be in the file all the same, and be gone once the power is.
        self._written.pop(checkpoint.origin, None)
        try:
            write_private_file(self._layout.seen(checkpoint.origin), cosigned.to_bytes())
        except OSError as error:
            _LOG.error("disk.failed", error)
            raise UnavailableError("witnessing.disk") from error
        self._written[checkpoint.origin] = cosigned
        return Cosigned(cosigned.lines)

    def _keep_evidence(self, decision: Conflict | Refused, seen: Seen, shown: Seen) -> None:
        """Keep what the log has signed and what contradicts, or is not shown to follow from, what was cosigned."""
        if isinstance(decision, Conflict) and decision.is_split_view:
            # The two together are the proof, and the one that was cosigned goes on.
            self._keep(SPLIT, seen)
            self._keep(SPLIT, shown)
        elif isinstance(decision, Refused) and decision.status == HTTPStatus.UNPROCESSABLE_ENTITY:
            self._keep(UNPROVEN, shown)

    def _keep(self, kind: str, one: Seen) -> None:
        """Keep a checkpoint as evidence, once; a disk that fails costs the evidence, and no answer."""
        checkpoint, folder = one.checkpoint, self._layout.evidence
        log, root = self._layout.seen(checkpoint.origin).name, checkpoint.root.hex()
        name = f"{kind}-{log[:_SHORT]}-{checkpoint.size}-{root[:_SHORT]}"
        try:
            kept = [path.name for path in folder.iterdir() if path.name.startswith(kind)]
            if name in kept:
                return
            _LOG.warning(f"log.{kind}", origin=checkpoint.origin, size=checkpoint.size, root=root)
            if len(kept) < MAX_EVIDENCE:
                write_private_file(folder / name, one.to_bytes())
        except OSError as error:
            _LOG.error("disk.failed", error)


def _nothing(origin: str) -> Seen:
    """Return what has been seen of a log before its first checkpoint."""
    return Seen(Checkpoint(origin, 0, EMPTY_ROOT))


def _parse_seen(content: bytes, origin: str, keys: Sequence[VerifierKey]) -> Seen:
    """Read what `Seen.to_bytes` wrote; raises `MedchainError` for anything that this witness has not signed."""
    nothing = _nothing(origin)
    if content == nothing.to_bytes():
        return nothing
    note = parse_note(content)
    checkpoint, own = parse_checkpoint(note.text), {(line.name, line.key_id): line for line in note.signatures}
    if checkpoint.origin != origin:
        raise VerificationError("witnessing.origin")
    lines = tuple(own.pop((key.name, key.key_id), _NO_LINE) for key in keys)
    times = [verify_cosignature(checkpoint, key, line) for key, line in zip(keys, lines, strict=True)]
    return Seen(checkpoint, max(times), tuple(own.values()), lines)


def _log_lines(checkpoint: bytes, origin: str, keys: Sequence[VerifierKey]) -> tuple[Signature, ...]:
    """Take the log's own lines, which `signed_checkpoint` has verified, one a key; no others are kept."""
    known = {(key.name, key.key_id) for key in keys if key.name == origin}
    lines = {(line.name, line.key_id): line for line in parse_note(checkpoint).signatures}
    return tuple(line for name, line in lines.items() if name in known)[:_MAX_LOG_LINES]
