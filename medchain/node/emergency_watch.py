"""Whether the other side of an emergency between two organisations told the ledger what it has to.

A custodian that gave records waits for the asker's own emergency, and the asker for the custodian's. Keeps true: what
is expected is kept in the write that notes the release, over restarts, until it is there; what is missing for an hour,
or says something else, is an alarm that names the organisation; the review of who looked closes what the custodian
told. Trusts this node's ledger, and its judgement of bodies.
Source: `docs/spec/emergency-release.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from threading import Event
from typing import Final, Protocol

from medchain.encoding import Json, canonical, members, parse_canonical, unhex
from medchain.errors import ConflictError, MedchainError, NotFoundError
from medchain.ledger.kinds.emergency import Review, read
from medchain.ledger.object import ENDED, MAX_BODY_BYTES, map_key
from medchain.ledger.transaction import HASH_BYTES, ID_BYTES
from medchain.node.emergency import EMERGENCY
from medchain.node.endorse import Judge
from medchain.node.log import Log
from medchain.store.outbox import Intent
from medchain.store.records import RecordStore

WATCH: Final = "emergency-watch"
"""Outbox kind of what another organisation must tell."""

UNTOLD: Final = "emergency.untold"
"""Alarm: an organisation has not told the ledger of an emergency in which it has a part."""

DIFFERS: Final = "emergency.differs"
"""Alarm: it told something else than it said when it asked, or gave."""

UNTOLD_S: Final = 3600
"""After how long what is not there is an alarm."""

_PERIOD_S: Final = 2.0
_PAGE: Final = 100
_LOG: Final = Log("emergency")


@dataclass(frozen=True, slots=True)
class Expected:
    """What another organisation must tell.

    Attributes:
        org_id: of that organisation.
        key: map key of its object, 32 bytes.
        fields: what its content must say.
        closes: object id of our own emergency, which the review of that one closes; None for none.
    """

    org_id: str
    key: bytes
    fields: Mapping[str, Json]
    closes: bytes | None = None

    def encode(self) -> bytes:
        """Write it, for the outbox."""
        closes: dict[str, Json] = {} if self.closes is None else {"closes": self.closes.hex()}
        return canonical({**closes, "fields": dict(self.fields), "key": self.key.hex(), "org_id": self.org_id})


class Reviews(Protocol):
    """Closes emergencies; `medchain.node.emergency.EmergencyBook`."""

    def take_over(self, object_id: bytes, review: Review) -> None:
        """Close an emergency of this organisation with the review of who looked."""
        ...


class EmergencyWatch:
    """Looks for what others must tell. One thread runs it."""

    __slots__ = ("_judge", "_raised", "_records", "_reviews")

    def __init__(self, judge: Judge, records: RecordStore, reviews: Reviews) -> None:
        """Prepare.

        Args:
            judge: this node's ledger, bodies and clock.
            records: the records file.
            reviews: closes our own emergencies.
        """
        self._judge = judge
        self._raised: set[tuple[str, bytes]] = set()
        self._records = records
        self._reviews = reviews

    def run(self, stop: Event) -> None:
        """Look until told to stop; what fails is tried again."""
        while not stop.wait(_PERIOD_S):
            try:
                self.round()
            except MedchainError as error:
                _LOG.warning("emergency.delayed", code=error.code)

    def round(self) -> int:
        """Look once at all that is expected; returns how much still is."""
        left = after = 0
        while page := self._records.pending(_PAGE, after=after, kind=WATCH):
            after = page[-1].id
            done = [intent.id for intent in page if self._is_done(intent)]
            self._records.drop_intents(done)
            left += len(page) - len(done)
        return left

    def _is_done(self, intent: Intent) -> bool:
        """Look for one; tells whether nothing is left to wait for."""
        expected = _read(intent.payload)
        body = self._judge.shelf.at(expected.key, 1)
        if body is None or self._judge.replica.store.version(expected.key, 1) is None:
            if intent.created + UNTOLD_S < self._judge.clock():
                self._alarm(UNTOLD, expected)
            return False
        if any(body.content.get(name) != value for name, value in expected.fields.items()):
            self._alarm(DIFFERS, expected)
            return True
        return expected.closes is None or self._is_closed(expected.key, expected.closes)

    def _is_closed(self, key: bytes, own: bytes) -> bool:
        """Close our own emergency once who looked has a review; tells whether nothing is left to wait for.

        A review that the ledger had before it had ours is of what was declared and not of what was given: who asks
        would else shut off the patient's objection before there is anything to object to.
        """
        head = self._judge.shelf.head(key)
        review = read(head[1].content).review if head is not None and head[0].status == ENDED else None
        if head is None or review is None:
            return False
        given = self._judge.replica.store.version(map_key(EMERGENCY, self._judge.org_id, own), 1)
        if given is None or given.since > head[0].since:
            # One that is closed already gets no other review: somebody here gives it then.
            return given is not None
        try:
            self._reviews.take_over(own, review)
        except (ConflictError, NotFoundError):
            # By somebody here, who did not wait for it; or its patient was erased.
            return True
        return True

    def _alarm(self, code: str, expected: Expected) -> None:
        """Keep an alarm, once while the node runs."""
        if (code, expected.key) in self._raised:
            return
        subject = f"{expected.org_id} {expected.key.hex()[:16]}"
        fields = canonical({"object": expected.key.hex(), "organisation": expected.org_id})
        self._records.raise_alarm(code, subject, self._judge.replica.height, fields, self._judge.clock())
        self._raised.add((code, expected.key))
        _LOG.error("alarm.raised", code=code, peer=expected.org_id)


def _read(payload: bytes) -> Expected:
    """Read what is expected."""
    document = parse_canonical(payload, max_bytes=MAX_BODY_BYTES)
    top = members(document, {"fields": dict, "key": str, "org_id": str}, {"closes": str})
    fields = top["fields"] if isinstance(top["fields"], dict) else {}
    closes = unhex(top["closes"], ID_BYTES) if "closes" in top else None
    return Expected(str(top["org_id"]), unhex(top["key"], HASH_BYTES), fields, closes)
