"""What a kind of object is, and what its check may look at.

Keeps true: the machine knows a kind only by these values, so it is the same for all; the meaning of a body is judged by
the kind's pure `check`, which every endorser and party runs on its own state before it signs or relies. Trusts the
caller of a check for an honest context: its own members, its own time, bodies that it opened itself.
Source: `docs/spec/transaction.md`, `docs/spec/consent.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, NoReturn, Protocol

from medchain.encoding import Json
from medchain.errors import VerificationError
from medchain.ledger.genesis import Genesis
from medchain.ledger.members import Members
from medchain.ledger.object import ACTIVE, ENDED, Body, StateRecord, map_key
from medchain.ledger.transaction import Change, Signer

ONCE: Final[Mapping[str | None, frozenset[str]]] = {None: frozenset({ACTIVE})}
"""Transitions of kinds whose objects have one version."""

LIVING: Final[Mapping[str | None, frozenset[str]]] = {
    None: frozenset({ACTIVE}),
    ACTIVE: frozenset({ACTIVE, ENDED}),
}
"""Transitions of kinds whose objects are renewed and ended by their creator."""


HOLDER: Final = "holder"
"""Role of who was given a body that is on the ledger, or a part of it: a party, a regulator, an endorser later on."""


class BodySource(Protocol):
    """Where a check finds the bodies of other objects."""

    def head(self, key: bytes) -> tuple[StateRecord, Body] | None:
        """Return the head of an object and the part of its body that this organisation holds, or None."""
        ...

    def state(self, key: bytes) -> StateRecord | None:
        """Return the head of an object that no stop has ended, whether its body is here or not; None without."""
        ...

    def accepted(self, record: StateRecord) -> int:
        """Return the time of the block that accepted a version, Unix seconds: the only time that nobody tells."""
        ...


class DecisionPort(Protocol):
    """What a consent permits; its meaning lives on the consent floor."""

    def permits(
        self, consent: Mapping[str, Json], access: Mapping[str, Json], time: int, claim: bytes | None = None
    ) -> bool:
        """Tell whether a consent's content permits an access's content at a time (Unix seconds).

        Its request says for which claim (digest) parts of records were asked for; None for records.
        """
        ...

    def hides(self, consent: Mapping[str, Json]) -> bool:
        """Tell whether a consent's content is a hiding: it gives nobody anything, and its end does."""
        ...


@dataclass(frozen=True, slots=True)
class CheckContext:
    """What a check may look at.

    Attributes:
        genesis: for ledger id, relying party and signing origins.
        members: those in force.
        time: the checker's own time, Unix seconds.
        own: org_id of the organisation that checks.
        role: as what it checks: ``creator``, ``independent`` or `HOLDER`.
        creator: org_id of the transaction's creator.
        signers: rows of the transaction.
        change: the change that the body belongs to.
        row: index of the object in the change.
        previous: the object's head and its body, None for a new object.
        bodies: other objects.
        decision: the decision on accesses.
    """

    genesis: Genesis
    members: Members
    time: int
    own: str
    role: str
    creator: str
    signers: tuple[Signer, ...]
    change: Change
    row: int
    previous: tuple[StateRecord, Body] | None
    bodies: BodySource
    decision: DecisionPort

    @property
    def object_id(self) -> bytes:
        """Id of the object, 16 bytes."""
        return self.change.objects[self.row].id

    @property
    def key(self) -> bytes:
        """Map key of the object, 32 bytes."""
        return map_key(self.change.kind, self.creator, self.object_id)

    @property
    def place(self) -> Place:
        """What the payload says of the version in clear."""
        return Place(self.change.kind, self.creator, self.object_id, self.change.status)

    @property
    def version(self) -> int:
        """Its new version."""
        return self.change.objects[self.row].version


Check = Callable[[Body, CheckContext], None]
"""Raises `VerificationError` with the code of the rule that a body breaks."""


@dataclass(frozen=True, slots=True)
class Place:
    """What the ledger, or a payload, says of a version in clear.

    Attributes:
        kind: name of its kind.
        creator: org_id of its owner.
        object_id: 16 bytes.
        status: that the version gives it.
    """

    kind: str
    creator: str
    object_id: bytes
    status: str


Form = Callable[[Body, Place], None]
"""Raises as `Check` for what no state can make right: malformed, or not what its owner may say."""


def refuse(code: str, **fields: int | str | None) -> NoReturn:
    """Raise `VerificationError`: a body breaks a rule."""
    raise VerificationError(code, **fields)


def no_sealed_body(_body: Body, context: CheckContext) -> None:
    """Check of kinds whose content is public or absent; raises `VerificationError` ``body.superfluous``."""
    refuse("body.superfluous", kind=context.change.kind)


def no_sealed_form(_body: Body, place: Place) -> None:
    """Form of kinds whose content is public or absent; raises `VerificationError` ``body.superfluous``."""
    refuse("body.superfluous", kind=place.kind)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object.

    Attributes:
        name: as it stands in changes and map keys.
        number: never used again for another.
        transitions: head's status (None: no head) → statuses that may follow.
        check: judges a body.
        form: judges a body, whole or a part, by itself; every `check` includes it.
        stands_alone: whether a version is judged without the body of the one before.
        judged_as_endorsed: whether a holder judges a version on the ledger as it stood at any moment at which it may
            have been endorsed; else as it stood right before it alone, so that what narrows binds from its place on.
        public_body: whether the content stands in the transaction.
        batch: whether a change may list many objects.
        max_until_s: how far ahead ``until`` may lie; None where it may be null or anything.
        stoppable: whether an active version must carry a stop hash; others must not.
        refs: kinds that the refs must have, sorted; every ref of these must be a ref too.
        refs_optional: whether there may be no ref at all.
        refs_in: statuses of the versions that have these refs; others have none.
        refs_status: status that the head of a ref must have. One that is not active cannot be stopped any more, so what
            it stood on itself is not asked for.
        counts_as: kind as which a ref to one of it counts; empty for its own.
        statuses: all that objects of it may have by a transaction.
    """

    name: str
    number: int
    transitions: Mapping[str | None, frozenset[str]]
    check: Check
    form: Form = no_sealed_form
    stands_alone: bool = False
    judged_as_endorsed: bool = False
    public_body: bool = False
    batch: bool = False
    max_until_s: int | None = None
    stoppable: bool = False
    refs: tuple[str, ...] = ()
    refs_optional: bool = False
    refs_in: frozenset[str] = frozenset({ACTIVE})
    refs_status: str = ACTIVE
    counts_as: str = ""
    statuses: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        """Collect the statuses that any transition leads to."""
        object.__setattr__(self, "statuses", frozenset().union(*self.transitions.values()))
