"""The node's secrets and where they lie.

A node's folder holds `node.toml`, `keys/`, `records.db`, `ledger.db`, `blobs/`, `logs/` and `run/`. All secrets hang on
the root key, which is opened by a key file or a passphrase and then split in two: one half for the web workers
(authentication, records), one for the ledger daemon (ledger, cosigning, log and encryption keys, and those that make
ids of invoices), so that a web worker cannot open what it must not hold. Keeps true: private keys are on disk only
wrapped, for their organisation, use and key id; files are mode 0600 and written whole or not at all; nothing here shows
a key. Trusts the file system's permissions and, with a key file, whoever guards it.
Source: `docs/spec/node-protocol.md`, `docs/spec/genesis.md`.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Container, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from medchain.crypto.es384 import ES384, Es384Signer, parse_public_jwk, public_jwk
from medchain.crypto.keywrap import (
    KEY_BYTES,
    WRAPPED_BYTES,
    Purpose,
    SecretBytes,
    derive,
    random_key,
    unwrap_key,
    wrap_aad,
    wrap_key,
)
from medchain.crypto.passphrase import (
    DEFAULT_COST,
    MAX_FILE_BYTES,
    Cost,
    open_root_key,
    read_key_file,
    seal_root_key,
    write_key_file,
)
from medchain.crypto.sealing import XWING, SealingPrivateKey
from medchain.crypto.signing import ED25519, MLDSA44, Ed25519Signer, MlDsa44Signer, key_id
from medchain.crypto.vrf import VRF, VrfKey
from medchain.encoding import Json, base64_text, canonical, digest, members, parse_canonical, unbase64
from medchain.errors import ConflictError, InputError, NotFoundError, VerificationError
from medchain.ledger.issuers import Invoices, vrf_proof_input
from medchain.ledger.members import make_key, proof_message

MAX_KEYSTORE_BYTES: Final = 1 << 20
"""Largest keystore that is looked at."""

_TYPE: Final = "medchain/keystore/v1"
_CANDIDATES_TYPE: Final = "medchain/key-candidates/v1"
_MAX_PUBLIC_BYTES: Final = 2048


class KeyUse(StrEnum):
    """What a key of the organisation is for, in the spelling of the ledger (`docs/spec/genesis.md` 4)."""

    AUTHENTICATION = "authentication"
    COSIGN_ED25519 = "cosign-ed25519"
    COSIGN_MLDSA44 = "cosign-mldsa44"
    ENCRYPTION = "encryption"
    LEDGER = "ledger"
    LOG = "log"
    VRF = "vrf"


_ALGORITHMS: Final = {
    KeyUse.AUTHENTICATION: ES384,
    KeyUse.COSIGN_ED25519: ED25519,
    KeyUse.COSIGN_MLDSA44: MLDSA44,
    KeyUse.ENCRYPTION: XWING,
    KeyUse.LEDGER: ED25519,
    KeyUse.LOG: ED25519,
    KeyUse.VRF: VRF,
}
# Keys that make ids of invoices are only with who issues some, and stand elsewhere on the ledger.
_MEMBER_USES: Final = tuple(use for use in KeyUse if use is not KeyUse.VRF)


PASSPHRASE_VARIABLE: Final = "MEDCHAIN_PASSPHRASE"  # noqa: S105  # a name
"""Environment variable with the root key's passphrase; a node's processes do not inherit it."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things are in a node's folder.

    Attributes:
        folder: the node's folder.
    """

    folder: Path

    @property
    def keystore(self) -> Path:
        """The organisation's keys, wrapped."""
        return self.folder / "keys" / "keystore.json"

    @property
    def candidates(self) -> Path:
        """Keys that wait until the ledger lists them, wrapped."""
        return self.folder / "keys" / "candidates.json"

    @property
    def records(self) -> Path:
        """Database of records and outbox."""
        return self.folder / "records.db"

    @property
    def ledger(self) -> Path:
        """Database of the ledger."""
        return self.folder / "ledger.db"

    @property
    def genesis(self) -> Path:
        """The canonical genesis."""
        return self.folder / "genesis.json"

    @property
    def genesis_signatures(self) -> Path:
        """The founders' proofs of possession."""
        return self.folder / "genesis.signatures.json"

    @property
    def blobs(self) -> Path:
        """Large binaries, sealed in chunks."""
        return self.folder / "blobs"

    @property
    def audit(self) -> Path:
        """Journals of the audit."""
        return self.folder / "audit"

    @property
    def labels(self) -> Path:
        """Label sets that the operator has loaded."""
        return self.folder / "labels"

    @property
    def logs(self) -> Path:
        """Structured logs."""
        return self.folder / "logs"

    @property
    def run(self) -> Path:
        """What lives only while the node runs: state, heartbeat, lock, local secret, metrics."""
        return self.folder / "run"

    @property
    def restored(self) -> Path:
        """Mark of a node that was restored from a backup and is not whole yet, see `medchain.node.restored`."""
        return self.folder / "restored"

    def create(self) -> None:
        """Make the folders that are missing, readable by their owner only."""
        for path in (self.folder, self.folder / "keys", self.blobs, self.logs, self.run):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)


@dataclass(frozen=True, slots=True)
class Unlock:
    """The two halves of the root key. Its `repr` shows nothing.

    Attributes:
        web: opens what web workers hold.
        daemon: opens the rest; None in a web worker.
    """

    web: SecretBytes
    daemon: SecretBytes | None


@dataclass(frozen=True, slots=True)
class WebKeys:
    """What a web worker holds.

    Attributes:
        authentication: signs assertions and tokens.
        records: wraps the patients' epoch keys.
        records_database: opens `records.db`.
    """

    authentication: Es384Signer
    records: SecretBytes
    records_database: SecretBytes


@dataclass(frozen=True, slots=True)
class DaemonKeys:
    """What the ledger daemon holds besides.

    Attributes:
        ledger: signs transactions and endorsements.
        log: signs checkpoints and receipts while this organisation orders.
        cosign_ed25519: cosigns checkpoints.
        cosign_mldsa44: cosigns them against quantum computers.
        encryption: opens what was sealed to the organisation; key id → key, retired ones included.
        encryption_id: the newest of them.
        vrf: makes ids of invoices; public key → key, all generations.
        ledger_database: opens `ledger.db`.
        bodies: wraps what is kept of sealed bodies.
        administrator: shows that who decides could open the daemon's half (`medchain.node.administrator`).
    """

    ledger: Ed25519Signer
    log: Ed25519Signer
    cosign_ed25519: Ed25519Signer
    cosign_mldsa44: MlDsa44Signer
    encryption: Mapping[str, SealingPrivateKey]
    encryption_id: str
    vrf: Mapping[bytes, VrfKey]
    ledger_database: SecretBytes
    bodies: SecretBytes
    administrator: SecretBytes


@dataclass(frozen=True, slots=True)
class _Row:
    """One wrapped key."""

    use: KeyUse
    public: bytes
    wrapped: bytes

    @property
    def key_id(self) -> str:
        """Name of the key."""
        return key_id(_ALGORITHMS[self.use], self.public)


def create_root_file(path: Path, passphrase: str | None, cost: Cost = DEFAULT_COST) -> SecretBytes:
    """Draw a root key and write its file.

    Args:
        path: a file that does not exist yet.
        passphrase: seals it; None writes a key file.
        cost: of a guess at the passphrase.

    Returns:
        The root key, 32 bytes.

    Raises:
        ConflictError: ``keystore.exists``.
        InputError: ``passphrase.too_short``.
    """
    root = random_key()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write_new(path, write_key_file(root) if passphrase is None else seal_root_key(root, passphrase, cost))
    return root


def open_root_file(path: Path, passphrase: str | None) -> SecretBytes:
    """Open the root key.

    Args:
        path: its file.
        passphrase: needed where it is sealed; None for a key file.

    Returns:
        32 bytes.

    Raises:
        NotFoundError: ``keystore.no_root_key``.
        InputError: ``keystore.open_key`` when others can read the file; those of `medchain.crypto.passphrase`.
        VerificationError: ``passphrase.authentication``.
    """
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise InputError("keystore.open_key", path=str(path))
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise NotFoundError("keystore.no_root_key", path=str(path)) from error
    return read_key_file(content) if passphrase is None else open_root_key(content, passphrase)


def unlock(root: bytes) -> Unlock:
    """Split the root key into its two halves.

    Args:
        root: 32 secret bytes.

    Returns:
        Both; hand `Unlock.web` alone to web workers. Neither half gives the other or the root.
    """
    return Unlock(derive(root, "keystore/web"), derive(root, "keystore/daemon"))


def create_keys(folder: Path, org_id: str, halves: Unlock) -> dict[str, Json]:
    """Draw the keys that every organisation has and write its keystore.

    Args:
        folder: the node's folder; folders that are missing are made.
        org_id: the organisation.
        halves: both halves of the root key.

    Returns:
        The public keys, as `public_keys` gives them.

    Raises:
        ConflictError: ``keystore.exists``.
    """
    layout = Layout(folder)
    layout.create()
    rows = [_draw(use, org_id, halves) for use in _MEMBER_USES]
    _write_new(layout.keystore, _encode(org_id, rows))
    return _newest_public(rows)


def draw_candidates(folder: Path, uses: Collection[KeyUse], halves: Unlock) -> bool:
    """Draw keys that are to take the place of others, once the ledger lists them; again after a crash changes nothing.

    Args:
        folder: the node's folder.
        uses: what the keys are for.
        halves: both halves of the root key.

    Returns:
        Whether they were drawn just now.

    Raises:
        NotFoundError: ``keystore.missing``.
        ConflictError: ``keystore.candidates`` while keys of other uses wait.
    """
    layout = Layout(folder)
    org_id, _ = _read(layout.keystore)
    waiting = {row.use for row in _read_candidates(layout.candidates)}
    if waiting and waiting != set(uses):
        raise ConflictError("keystore.candidates", uses=" ".join(sorted(waiting)))
    if not waiting:
        rows = [_draw(use, org_id, halves) for use in sorted(uses)]
        write_private_file(layout.candidates, _encode(org_id, rows, _CANDIDATES_TYPE))
    return not waiting


def drop_candidates(folder: Path) -> None:
    """Forget keys that wait, which nobody may have brought to the ledger."""
    Layout(folder).candidates.unlink()


def candidate_uses(folder: Path) -> tuple[KeyUse, ...]:
    """Return the uses of the keys that wait for the ledger; none where none do."""
    return tuple(row.use for row in _read_candidates(Layout(folder).candidates))


def candidate_ids(folder: Path) -> tuple[str, ...]:
    """Return the key ids of the keys that wait for the ledger; none where none do."""
    return tuple(row.key_id for row in _read_candidates(Layout(folder).candidates))


def candidate_keys(folder: Path, ledger: bytes, halves: Unlock) -> list[Json]:
    """Return the keys that wait, each with its proof of possession (`docs/spec/genesis.md` 2).

    Args:
        folder: the node's folder.
        ledger: ledger id, 32 bytes.
        halves: both halves of the root key.

    Returns:
        ``{"proof":B64,"public":B64|JWK,"use"}`` each.

    Raises:
        NotFoundError: ``keystore.missing``.
        VerificationError: ``keys.unwrap``, ``keystore.public``.
    """
    layout = Layout(folder)
    org_id, rows = _read(layout.keystore)
    found: list[Json] = []
    for row in _read_candidates(layout.candidates):
        public = _public_json(row)
        message = _possession(org_id, ledger, row)
        # An encryption key cannot sign: the ledger key vouches for it.
        signing = _newest(rows, KeyUse.LEDGER) if row.use is KeyUse.ENCRYPTION else row
        proof = _sign(signing.use, _open(signing, org_id, halves), message)
        found.append({"proof": base64_text(proof), "public": public, "use": row.use.value})
    return found


def adopt_candidates(folder: Path, listed: Container[str]) -> bool:
    """Make the keys that wait the newest of their uses, if the ledger lists them; the old ones stay in the keystore.

    Args:
        folder: the node's folder.
        listed: key ids of the organisation on the ledger.

    Returns:
        Whether there were some; the keystore must be opened anew then.

    Raises:
        NotFoundError: ``keystore.missing``.
    """
    candidates = _read_candidates(Layout(folder).candidates)
    if not candidates or any(row.key_id not in listed for row in candidates):
        return False
    _add_rows(folder, candidates)
    Layout(folder).candidates.unlink()
    return True


def admit_encryption_candidates(folder: Path) -> bool:
    """Let the node open with an encryption key that waits, before anybody can seal to it; tells whether there is one.

    Raises:
        NotFoundError: ``keystore.missing``.
    """
    rows = [row for row in _read_candidates(Layout(folder).candidates) if row.use is KeyUse.ENCRYPTION]
    return bool(rows) and _add_rows(folder, rows)


def add_vrf_key(folder: Path, halves: Unlock) -> None:
    """Give a node a key that makes ids of invoices, its first.

    Raises:
        NotFoundError: ``keystore.missing``.
        VerificationError: ``keys.unwrap``.
    """
    org_id, _ = _read(Layout(folder).keystore)
    _add_rows(folder, [_draw(KeyUse.VRF, org_id, halves)])


def vrf_publics(folder: Path) -> tuple[bytes, ...]:
    """Return the public keys that make ids of invoices, oldest first; raises `NotFoundError` ``keystore.missing``."""
    return tuple(row.public for row in _read(Layout(folder).keystore)[1] if row.use is KeyUse.VRF)


def public_keys(folder: Path) -> dict[str, Json]:
    """Return the newest public key of each use in the form of a genesis member (`docs/spec/genesis.md`).

    Those that make ids of invoices are not among them (`vrf_publics`).

    Raises:
        NotFoundError: ``keystore.missing``.
        InputError: ``keystore.format`` and ``encoding.*`` for a damaged file.
    """
    return _newest_public(_read(Layout(folder).keystore)[1])


def open_web_keys(folder: Path, halves: Unlock) -> WebKeys:
    """Open what web workers hold.

    Args:
        folder: the node's folder.
        halves: the web half is enough.

    Returns:
        The keys.

    Raises:
        NotFoundError: ``keystore.missing``.
        VerificationError: ``keys.unwrap`` for another root key, ``keystore.public`` for an exchanged public key.
    """
    org_id, rows = _read(Layout(folder).keystore)
    return WebKeys(
        Es384Signer(_open(_newest(rows, KeyUse.AUTHENTICATION), org_id, halves)),
        derive(halves.web, "records"),
        derive(halves.web, "database/records"),
    )


def open_daemon_keys(folder: Path, halves: Unlock) -> DaemonKeys:
    """Open what the ledger daemon holds besides `open_web_keys`.

    Args:
        folder: the node's folder.
        halves: both halves.

    Returns:
        The keys.

    Raises:
        NotFoundError: ``keystore.missing``.
        VerificationError: ``keys.unwrap``, ``keystore.public``.
    """
    org_id, rows = _read(Layout(folder).keystore)
    if halves.daemon is None:
        raise VerificationError("keys.unwrap")
    sealing = [SealingPrivateKey(_open(row, org_id, halves)) for row in rows if row.use is KeyUse.ENCRYPTION]
    vrf = [VrfKey(_open(row, org_id, halves)) for row in rows if row.use is KeyUse.VRF]
    return DaemonKeys(
        ledger=Ed25519Signer(_open(_newest(rows, KeyUse.LEDGER), org_id, halves)),
        log=Ed25519Signer(_open(_newest(rows, KeyUse.LOG), org_id, halves)),
        cosign_ed25519=Ed25519Signer(_open(_newest(rows, KeyUse.COSIGN_ED25519), org_id, halves)),
        cosign_mldsa44=MlDsa44Signer(_open(_newest(rows, KeyUse.COSIGN_MLDSA44), org_id, halves)),
        encryption={key.key_id: key for key in sealing},
        encryption_id=sealing[-1].key_id,
        vrf={key.public: key for key in vrf},
        ledger_database=derive(halves.daemon, "database/ledger"),
        bodies=derive(halves.daemon, "bodies"),
        administrator=derive(halves.daemon, "administrator"),
    )


def genesis_proofs(
    org_id: str, ledger: bytes, web: WebKeys, daemon: DaemonKeys, invoices: Invoices | None = None
) -> dict[str, bytes]:
    """Prove possession of every key to the other founders (`docs/spec/genesis.md` 2).

    Args:
        org_id: the organisation.
        ledger: ledger id, 32 bytes.
        web: its keys.
        daemon: its other keys.
        invoices: what it issues, with one generation of keys that this node holds.

    Returns:
        Key use → signature, or VRF proof; `medchain.ledger.genesis.genesis_signatures` takes those of all founders.

    Raises:
        VerificationError: ``genesis.own_keys`` for a generation that this node does not hold.
    """

    def statement(use: KeyUse, *more: bytes) -> bytes:
        return digest("medchain/genesis-proof/v1", ledger, org_id.encode("ascii"), use.encode("ascii"), *more)

    encryption = daemon.encryption[daemon.encryption_id].public
    signatures = {
        KeyUse.AUTHENTICATION: web.authentication.sign(statement(KeyUse.AUTHENTICATION)),
        KeyUse.COSIGN_ED25519: daemon.cosign_ed25519.sign(statement(KeyUse.COSIGN_ED25519)),
        KeyUse.COSIGN_MLDSA44: daemon.cosign_mldsa44.sign(statement(KeyUse.COSIGN_MLDSA44)),
        KeyUse.ENCRYPTION: daemon.ledger.sign(statement(KeyUse.ENCRYPTION, encryption)),
        KeyUse.LEDGER: daemon.ledger.sign(statement(KeyUse.LEDGER)),
        KeyUse.LOG: daemon.log.sign(statement(KeyUse.LOG)),
    }
    if invoices is not None:
        signatures[KeyUse.VRF] = vrf_possession(org_id, ledger, daemon, invoices.generations[0].public)
    return {use.value: signature for use, signature in signatures.items()}


def vrf_possession(org_id: str, ledger: bytes, daemon: DaemonKeys, public: bytes) -> bytes:
    """Prove possession of a key that makes ids of invoices (`docs/spec/genesis.md` 11).

    Args:
        org_id: the organisation.
        ledger: ledger id, 32 bytes.
        daemon: its keys.
        public: which, 32 bytes.

    Raises:
        VerificationError: ``genesis.own_keys`` for one that this node does not hold.
    """
    key = daemon.vrf.get(public)
    if key is None:
        raise VerificationError("genesis.own_keys", org_id=org_id)
    return key.prove(vrf_proof_input(ledger, org_id))


def write_private_file(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 whole or not at all, replacing an older one; it survives a power loss.

    Args:
        path: where; the folder exists.
        content: all of it.
    """
    beside = path.with_name(f"{path.name}.new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        # Half a file that is of no use would take what little room there is.
        beside.unlink(missing_ok=True)
        raise
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _half(use: KeyUse, halves: Unlock) -> SecretBytes:
    """Choose the half that wraps keys of a use."""
    if use is KeyUse.AUTHENTICATION:
        return halves.web
    if halves.daemon is None:
        raise VerificationError("keys.unwrap")
    return halves.daemon


def _aad(org_id: str, use: KeyUse, name: str) -> bytes:
    """Bind a wrapped key to whose, what for, and which it is."""
    return wrap_aad(Purpose.PRIVATE, org_id.encode("ascii"), use.encode("ascii"), name.encode("ascii"))


def _public_of(use: KeyUse, seed: bytes) -> bytes:
    """Derive the public key of a seed."""
    match use:
        case KeyUse.AUTHENTICATION:
            return Es384Signer(seed).public
        case KeyUse.ENCRYPTION:
            return SealingPrivateKey(seed).public
        case KeyUse.COSIGN_MLDSA44:
            return MlDsa44Signer(seed).public
        case KeyUse.VRF:
            return VrfKey(seed).public
        case KeyUse.COSIGN_ED25519 | KeyUse.LEDGER | KeyUse.LOG:
            return Ed25519Signer(seed).public


def _add_rows(folder: Path, added: list[_Row]) -> bool:
    """Append keys to a keystore that it does not have; tells whether there were any."""
    path = Layout(folder).keystore
    org_id, rows = _read(path)
    known = {row.key_id for row in rows}
    new = [row for row in added if row.key_id not in known]
    if new:
        write_private_file(path, _encode(org_id, [*rows, *new]))
    return bool(new)


def _possession(org_id: str, ledger: bytes, row: _Row) -> bytes:
    """Build what the proof of possession of a key is made over."""
    if row.use is KeyUse.VRF:
        return vrf_proof_input(ledger, org_id)
    return proof_message(ledger, make_key(org_id, row.use.value, _public_json(row)))


def _sign(use: KeyUse, seed: bytes, message: bytes) -> bytes:
    """Sign with the key of a seed, or make a VRF proof; encryption keys do not sign."""
    match use:
        case KeyUse.AUTHENTICATION:
            return Es384Signer(seed).sign(message)
        case KeyUse.COSIGN_MLDSA44:
            return MlDsa44Signer(seed).sign(message)
        case KeyUse.VRF:
            return VrfKey(seed).prove(message)
        case KeyUse.COSIGN_ED25519 | KeyUse.LEDGER | KeyUse.LOG:
            return Ed25519Signer(seed).sign(message)
        case KeyUse.ENCRYPTION:
            raise InputError("keystore.use", use=use.value)


def _draw(use: KeyUse, org_id: str, halves: Unlock) -> _Row:
    """Draw and wrap one key."""
    seed = random_key()
    public = _public_of(use, seed)
    wrapped = wrap_key(_half(use, halves), seed, _aad(org_id, use, key_id(_ALGORITHMS[use], public)))
    return _Row(use, public, wrapped)


def _open(row: _Row, org_id: str, halves: Unlock) -> SecretBytes:
    """Unwrap one key, and see that the public key beside it is its own."""
    seed = unwrap_key(_half(row.use, halves), row.wrapped, _aad(org_id, row.use, row.key_id))
    if _public_of(row.use, seed) != row.public:
        raise VerificationError("keystore.public", use=row.use.value)
    return seed


def _newest(rows: list[_Row], use: KeyUse) -> _Row:
    """Find the newest key of a use; `_read` has seen that there is one."""
    return [row for row in rows if row.use is use][-1]


def _newest_public(rows: list[_Row]) -> dict[str, Json]:
    """Write the newest public keys in the form of a genesis member."""
    return {use.value: _public_json(_newest(rows, use)) for use in _MEMBER_USES}


def _public_json(row: _Row) -> Json:
    """Write a public key: a JWK for authentication, base64 for all others."""
    if row.use is KeyUse.AUTHENTICATION:
        return dict[str, Json](public_jwk(row.public))
    return base64_text(row.public)


def _encode(org_id: str, rows: list[_Row], type_name: str = _TYPE) -> bytes:
    """Write the keystore, or another list of wrapped keys."""
    keys: list[Json] = [
        {"public": _public_json(row), "use": row.use.value, "wrapped": base64_text(row.wrapped)} for row in rows
    ]
    return canonical({"keys": keys, "org_id": org_id, "type": type_name})


def _read(path: Path) -> tuple[str, list[_Row]]:
    """Read a keystore strictly."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_KEYSTORE_BYTES + 1)
    except OSError as error:
        raise NotFoundError("keystore.missing", path=str(path)) from error
    org_id, rows = _decode(content, _TYPE)
    if not {row.use for row in rows} >= set(_MEMBER_USES):
        raise InputError("keystore.format")
    return org_id, rows


def _read_candidates(path: Path) -> list[_Row]:
    """Read the keys that wait; none where there is no such file."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    return _decode(content, _CANDIDATES_TYPE)[1]


def _decode(content: bytes, type_name: str) -> tuple[str, list[_Row]]:
    """Read a list of wrapped keys strictly."""
    document = members(
        parse_canonical(content, max_bytes=MAX_KEYSTORE_BYTES), {"keys": list, "org_id": str, "type": str}
    )
    listed = document["keys"]
    if document["type"] != type_name:
        raise InputError("keystore.format")
    return str(document["org_id"]), [_row(item) for item in listed] if isinstance(listed, list) else []


def _row(item: Json) -> _Row:
    """Read one wrapped key."""
    is_jwk = isinstance(item, dict) and isinstance(item.get("public"), dict)
    found = members(item, {"public": dict if is_jwk else str, "use": str, "wrapped": str})
    try:
        use = KeyUse(str(found["use"]))
    except ValueError as error:
        raise InputError("keystore.format") from error
    if is_jwk is not (use is KeyUse.AUTHENTICATION):
        raise InputError("keystore.format")
    public = parse_public_jwk(found["public"]) if is_jwk else unbase64(found["public"], max_bytes=_MAX_PUBLIC_BYTES)
    wrapped = unbase64(found["wrapped"], max_bytes=WRAPPED_BYTES + KEY_BYTES)
    return _Row(use, public, wrapped)


def _write_new(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 that must not exist: a key is never overwritten by accident."""
    if path.exists():
        raise ConflictError("keystore.exists", path=str(path))
    write_private_file(path, content)
