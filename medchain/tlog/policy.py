"""C2SP tlog-policy: whose signatures make a checkpoint count, and the check of a signed checkpoint against that.

Keeps true: only signatures that were verified count, a key counts once and in one place only, and a known key whose
signature does not verify spoils the note. Trusts the policy's text, which comes from outside what it judges.
Source: C2SP tlog-policy; C2SP signed-note for unknown and broken signatures; `docs/spec/log.md`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from medchain.errors import InputError, VerificationError
from medchain.tlog.checkpoint import Checkpoint, parse_checkpoint, verify_cosignature, verify_log_signature
from medchain.tlog.note import KeyType, Note, VerifierKey, parse_note, parse_vkey

MAX_POLICY_BYTES: Final = 1 << 20
"""Largest policy file; about 500 ML-DSA-44 witnesses fit."""

FUTURE_SKEW_S: Final = 60
"""How far ahead of the verifier's clock a cosignature may be and still count where its age matters."""

_NONE: Final = "none"
_FORBIDDEN: Final = re.compile(rb"[^\t\n\x20-\x7e\x80-\xff]")
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Log:
    """A ``log`` line: a key under which a log signs; its name is the log's origin."""

    key: VerifierKey
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Witness:
    """A ``witness`` line: a cosigner's key under a name that only the policy uses."""

    name: str
    key: VerifierKey
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """A ``group`` line.

    Attributes:
        name: its name in the policy.
        threshold: how many members must have witnessed, or ``any`` (1) or ``all``, as it is written.
        members: names of witnesses and groups defined before it.
    """

    name: str
    threshold: str
    members: tuple[str, ...]

    @property
    def needed(self) -> int:
        """How many members must have witnessed."""
        match self.threshold:
            case "any":
                return 1
            case "all":
                return len(self.members)
            case number:
                return int(number)


@dataclass(frozen=True, slots=True)
class VerifiedCheckpoint:
    """A checkpoint that satisfies a policy.

    Attributes:
        checkpoint: the tree head.
        log_key: the log key whose line is on it; the first of the policy if there are several.
        cosigners: name in the policy of every witness whose cosignature was verified, and young enough where that was
            asked → when it was made, in seconds since 1970; in the policy's order.
    """

    checkpoint: Checkpoint
    log_key: VerifierKey
    cosigners: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy; a checkpoint counts with the line of any of the logs and a quorum of witnesses.

    Attributes:
        logs: at least one.
        components: witnesses and groups in the order of their lines.
        quorum: name of a witness or group, or ``none``.
    """

    logs: tuple[Log, ...]
    components: tuple[Witness | Group, ...]
    quorum: str

    def __post_init__(self) -> None:
        """Refuse what C2SP tlog-policy forbids; raises `InputError` ``tlog.policy`` with the field ``reason``."""
        _check_keys(self.logs, (KeyType.ED25519,))
        _check_keys(self.witnesses, (KeyType.COSIGNATURE_ED25519, KeyType.COSIGNATURE_MLDSA44))
        known = [*self.log_keys, *(witness.key for witness in self.witnesses)]
        if not self.logs or len({(key.name, key.key_id) for key in known}) != len(known):
            raise InputError("tlog.policy", reason="log")
        _check_components(self.components, self.quorum)

    @classmethod
    def parse(cls, data: bytes) -> Policy:
        """Read a policy file.

        Args:
            data: its bytes; comments and white space are dropped.

        Raises:
            InputError: ``tlog.policy`` with the field ``line`` or ``reason``, or the code of the key at fault.
        """
        if len(data) > MAX_POLICY_BYTES or _FORBIDDEN.search(data) or not data.endswith(b"\n"):
            raise InputError("tlog.policy", reason="characters")
        logs: list[Log] = []
        components: list[Witness | Group] = []
        quorum: list[str] = []
        # Bytes that are no UTF-8 are opaque, but kept (C2SP tlog-policy, character set).
        for number, line in enumerate(data.decode(errors="surrogateescape").split("\n"), 1):
            words = [word for word in re.split(r"[ \t]+", line) if word]
            match words:
                case []:
                    pass
                case [word, *_] if word.startswith("#"):
                    pass
                case ["log", vkey, *url] if len(url) <= 1:
                    logs.append(Log(parse_vkey(vkey), *url))
                case ["witness", name, vkey, *url] if len(url) <= 1:
                    components.append(Witness(name, parse_vkey(vkey), *url))
                case ["group", name, threshold, *members]:
                    components.append(Group(name, threshold, tuple(members)))
                case ["quorum", name] if not quorum and name in (_NONE, *(entry.name for entry in components)):
                    quorum.append(name)
                case _:
                    raise InputError("tlog.policy", line=number)
        if not quorum:
            raise InputError("tlog.policy", reason="quorum")
        return cls(tuple(logs), tuple(components), quorum[0])

    def to_bytes(self) -> bytes:
        """Write the policy: logs, witnesses and groups in their order, quorum; one space between words, no comments."""
        lines: list[tuple[str | None, ...]] = [("log", str(log.key), log.url) for log in self.logs]
        for entry in self.components:
            if isinstance(entry, Witness):
                lines.append(("witness", entry.name, str(entry.key), entry.url))
            else:
                lines.append(("group", entry.name, entry.threshold, *entry.members))
        lines.append(("quorum", self.quorum))
        text = "".join(" ".join(word for word in line if word is not None) + "\n" for line in lines)
        return text.encode(errors="surrogateescape")

    @property
    def witnesses(self) -> tuple[Witness, ...]:
        """The witnesses, in their order."""
        return tuple(entry for entry in self.components if isinstance(entry, Witness))

    @property
    def log_keys(self) -> tuple[VerifierKey, ...]:
        """The log keys, in their order."""
        return tuple(log.key for log in self.logs)

    def check(self, note: bytes, *, now: int | None = None, max_age_s: int | None = None) -> VerifiedCheckpoint:
        """Check a signed checkpoint.

        Args:
            note: the signed note, as it was received.
            now: the verifier's time in seconds since 1970, given together with ``max_age_s``.
            max_age_s: the greatest age at which a cosignature counts; one more than `FUTURE_SKEW_S` ahead of ``now`` or
                without a time does not count either. Without both, cosignatures of any time count.

        Returns:
            The checkpoint and who signed it.

        Raises:
            InputError: if note or checkpoint are malformed; ``tlog.policy_time`` if only one of the times is given.
            VerificationError: ``tlog.log_signature`` without the line of a log of that origin, ``tlog.quorum`` if too
                few (young) cosignatures count, ``tlog.signature`` or ``tlog.cosignature`` if a known key's is false.
        """
        if (now is None) is not (max_age_s is None):
            raise InputError("tlog.policy_time")
        parsed = parse_note(note)
        checkpoint = parse_checkpoint(parsed.text)
        log_key = self._log_key(checkpoint, parsed)
        cosigners = self._cosigners(checkpoint, parsed)
        if now is not None and max_age_s is not None:
            oldest, newest = max(now - max_age_s, 1), now + FUTURE_SKEW_S
            cosigners = {name: time for name, time in cosigners.items() if oldest <= time <= newest}
        if not self.is_quorum(cosigners.keys()):
            raise VerificationError("tlog.quorum", cosigners=len(cosigners))
        return VerifiedCheckpoint(checkpoint, log_key, cosigners)

    def is_quorum(self, witnessed: Collection[str]) -> bool:
        """Tell whether witnesses, given by their names in the policy, are a quorum."""
        satisfied = {witness.name for witness in self.witnesses}.intersection(witnessed)
        for entry in self.components:
            if isinstance(entry, Group) and len(satisfied.intersection(entry.members)) >= entry.needed:
                satisfied.add(entry.name)
        return self.quorum == _NONE or self.quorum in satisfied

    def _log_key(self, checkpoint: Checkpoint, note: Note) -> VerifierKey:
        """Verify every line of a log key of the policy; return the first key of the checkpoint's own log."""
        signed = []
        for key in self.log_keys:
            for signature in note.signatures:
                if (signature.name, signature.key_id) == (key.name, key.key_id):
                    verify_log_signature(checkpoint, key, signature)
                    signed.append(key)
        if not signed:
            raise VerificationError("tlog.log_signature")
        return signed[0]

    def _cosigners(self, checkpoint: Checkpoint, note: Note) -> dict[str, int]:
        """Verify every line of a witness of the policy; of several by one key the latest counts, once."""
        cosigners = {}
        for witness in self.witnesses:
            times = [
                verify_cosignature(checkpoint, witness.key, signature)
                for signature in note.signatures
                if (signature.name, signature.key_id) == (witness.key.name, witness.key.key_id)
            ]
            if times:
                cosigners[witness.name] = max(times)
        return cosigners


def _check_keys(entries: tuple[Log, ...] | tuple[Witness, ...], types: tuple[KeyType, ...]) -> None:
    """Refuse a key of the wrong type, one that is listed twice under whatever name, and an impossible URL."""
    if any(entry.key.type not in types or not _is_word(entry.url or "-") for entry in entries):
        raise InputError("tlog.policy", reason="key type")
    if len({entry.key.public for entry in entries}) != len(entries):
        raise InputError("tlog.policy", reason="duplicate key")


def _check_components(components: tuple[Witness | Group, ...], quorum: str) -> None:
    """Refuse names that are taken, unknown, or used twice, and thresholds out of range."""
    defined = {_NONE}
    free: set[str] = set()
    for entry in components:
        if entry.name in defined or not _is_word(entry.name):
            raise InputError("tlog.policy", reason="name")
        if isinstance(entry, Group):
            # A component stands in one group only, so that it contributes to the quorum in only one way.
            if len(set(entry.members)) != len(entry.members) or not free.issuperset(entry.members):
                raise InputError("tlog.policy", reason="member")
            free.difference_update(entry.members)
            if entry.threshold not in ("any", "all") and not _NUMBER.fullmatch(entry.threshold):
                raise InputError("tlog.policy", reason="threshold")
            if not 1 <= entry.needed <= len(entry.members):
                raise InputError("tlog.policy", reason="threshold")
        defined.add(entry.name)
        free.add(entry.name)
    if quorum not in defined:
        raise InputError("tlog.policy", reason="quorum")


def _is_word(text: str) -> bool:
    """Tell whether a text is one word of a policy file."""
    raw = text.encode(errors="surrogateescape")
    return bool(raw) and not text.startswith("#") and not re.search(rb"[\t\n ]", raw) and not _FORBIDDEN.search(raw)
