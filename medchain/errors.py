"""The errors of MedChain: few, each with a stable code and fields, no prose to be parsed.

A code is `area.reason` in lower case and never changes its meaning. Fields never hold patient data, keys or tokens.
Expected outcomes (a decision, a refusal that the caller must handle) are values, not exceptions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final


class MedchainError(Exception):
    """Base of all our errors.

    Args:
        code: stable code, such as ``transaction.version``.
        fields: values that explain it: numbers, ids, names of members; safe to log.
    """

    def __init__(self, code: str, **fields: int | str | None) -> None:
        """Keep the code and its fields."""
        self.code = code
        self.fields = fields
        detail = " ".join(f"{name}={value}" for name, value in fields.items())
        super().__init__(f"{code} {detail}".rstrip())


class InputError(MedchainError):
    """What was given is malformed; the same input fails for ever."""


class AccessDeniedError(MedchainError):
    """The caller may not; says nothing of whether the thing exists."""


class NotFoundError(MedchainError):
    """The thing does not exist, said only to callers who may know."""


class ConflictError(MedchainError):
    """The state has moved on: another version, a stopped object, a used id."""


class VerificationError(MedchainError):
    """A proof, signature, hash or rule does not hold. Never retried, never ignored."""


class UnavailableError(MedchainError):
    """Not now: a peer, the disk or the quorum is out of reach. May be retried.

    Args:
        code: stable code.
        retry_after_s: when to try again, in seconds.
        fields: as in `MedchainError`.
    """

    def __init__(self, code: str, *, retry_after_s: int = 1, **fields: int | str | None) -> None:
        """Keep the code, its fields and the delay."""
        super().__init__(code, **fields)
        self.retry_after_s = retry_after_s


_KINDS: Final[dict[str, type[MedchainError]]] = {
    kind.__name__: kind
    for kind in (AccessDeniedError, ConflictError, InputError, NotFoundError, UnavailableError, VerificationError)
}


def kind_of(error: MedchainError) -> str:
    """Name the kind of an error, as processes of a node tell it to each other; one of no kind is `UnavailableError`."""
    return next((name for name, kind in _KINDS.items() if isinstance(error, kind)), UnavailableError.__name__)


def error_of(name: str, code: str, fields: Mapping[str, int | str | None]) -> MedchainError:
    """Make an error of the kind that `kind_of` named; of a kind that is none, `UnavailableError`."""
    return _KINDS.get(name, UnavailableError)(code, **fields)
