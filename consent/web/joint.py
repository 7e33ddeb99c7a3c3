"""What several guardians sign, one after another: kept from the first signature until the last one.

Keeps true: what the others sign is what the first one chose, byte for byte; each signs a document of his own, once;
nothing goes to the ledger before all have; it belongs to an ask that waits, or to a child's guardians, and is over when
that is, or after `JOINT_S`. Trusts the endorsers to check every signature again.
Source: `docs/spec/patient-pages.md` 17; `docs/spec/consent.md` 4, 6, 7; `docs/spec/subject.md` 6.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from medchain.encoding import Json, as_number, as_object, canonical, members, parse_canonical, unbase64, unhex
from medchain.errors import ConflictError, NotFoundError
from medchain.ledger.kinds import consent as consents
from medchain.ledger.kinds.consent import Consent
from medchain.ledger.kinds.content import DAY_S
from medchain.ledger.transaction import HASH_BYTES
from medchain.node.drafts import ToSign
from medchain.store.accounts import AccountStore, Kept

JOINT_S: Final = 3 * DAY_S - 3600
"""How long a first signature waits for the others: endorsers take none that is older than three days."""

_KIND: Final = "patient-joint"
_MAX_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Joint:
    """A draft that some have signed.

    Attributes:
        draft: as the daemon gave it and wants it back.
        given: map key of each subject that has signed, hexadecimal → its passkey's answer.
        until: by when the others must sign, Unix seconds.
    """

    draft: str
    given: Mapping[str, Json]
    until: int

    @property
    def signers(self) -> list[str]:
        """Map keys of the subjects that must sign, hexadecimal, in the order of their answers."""
        return [str(row["subject"]) for row in self._to_sign().documents]

    @property
    def missing(self) -> list[str]:
        """Those who have not signed."""
        return [one for one in self.signers if one not in self.given]

    @property
    def content(self) -> Consent:
        """What is signed."""
        return consents.read(self._to_sign().body.content)

    def challenge(self, signer: str) -> str:
        """Return what one of them signs, hexadecimal; raises `NotFoundError` ``page.unknown`` for who need not."""
        if signer not in self.missing:
            raise NotFoundError("page.unknown")
        return self._to_sign().challenges[self.signers.index(signer)].hex()

    def fits(self, other: Joint) -> bool:
        """Tell whether it is about the same version of the same object as another draft, with the same signers."""
        mine, theirs = self._to_sign(), other._to_sign()
        return (mine.object, mine.version, self.signers) == (theirs.object, theirs.version, other.signers)

    def assertions(self) -> list[Json]:
        """List the answers in the order of the signers, once nobody is missing."""
        return [self.given[one] for one in self.signers]

    def answers(self) -> dict[str, Json]:
        """Write what the daemon wants back of a permission, once nobody is missing."""
        first, *others = self.assertions()
        return {"assertion": first, "draft": self.draft, "joined": list[Json](others)}

    def _to_sign(self) -> ToSign:
        """Read the draft."""
        return ToSign.decode(unbase64(self.draft, max_bytes=_MAX_BYTES))


def is_joint(draft: str) -> bool:
    """Tell whether several sign a draft."""
    return len(Joint(draft, {}, 0).signers) > 1


def find(accounts: AccountStore, name: str, now: int) -> Joint | None:
    """Find what some have signed.

    Args:
        accounts: keeps it.
        name: id of the ask, or map key of the child's subject in hexadecimal.
        now: Unix seconds.
    """
    document = accounts.see_ticket(_KIND, name, now)
    return None if document is None else _read(document)


def begun(accounts: AccountStore, name: str, fresh: Joint, now: int) -> Joint:
    """Return what some have signed and others must, or a fresh draft where that is over, or does not fit any more.

    Args:
        accounts: keeps it.
        name: as for `find`.
        fresh: drafted now.
        now: Unix seconds.
    """
    kept = find(accounts, name, now)
    if kept is None:
        # Nothing is forgotten: another one may sign the first at this moment.
        return fresh
    if kept.fits(fresh) and kept.missing:
        return kept
    drop(accounts, name, now)
    return fresh


def add(accounts: AccountStore, name: str, draft: str, answer: tuple[str, Json], now: int) -> Joint:
    """Keep a signature, with those that others give at the same moment: each sees those that came before.

    Args:
        accounts: keeps it.
        name: as for `find`.
        draft: what was signed.
        answer: map key of the subject that signed, hexadecimal, and its passkey's answer.
        now: Unix seconds.

    Returns:
        What is signed so far, this one included.

    Raises:
        ConflictError: ``patient.joint_other`` where others have signed another draft meanwhile.
    """
    signed = Joint(draft, {}, now + JOINT_S)

    def change(document: bytes | None) -> Kept:
        nonlocal signed
        kept = signed if document is None else _read(document)
        if kept.draft != draft:
            raise ConflictError("patient.joint_other")
        signed = replace(kept, given={**kept.given, answer[0]: answer[1]})
        return Kept(canonical({"draft": draft, "given": dict(signed.given), "until": signed.until}), signed.until)

    accounts.change_ticket(_KIND, name, now, change)
    return signed


def drop(accounts: AccountStore, name: str, now: int) -> None:
    """Forget what was signed; arguments as for `find`."""
    accounts.take_ticket(_KIND, name, now)


def _read(document: bytes) -> Joint:
    """Read what is kept."""
    top = members(parse_canonical(document, max_bytes=_MAX_BYTES), {"draft": str, "given": dict, "until": int})
    given = {unhex(name, HASH_BYTES).hex(): row for name, row in as_object(top["given"]).items()}
    return Joint(str(top["draft"]), given, as_number(top["until"]))
