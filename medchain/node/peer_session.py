"""Sessions between two nodes: one assertion opens one, and every call in it carries a code in place of a signature.

A signature and its check cost more than all else of most calls, and a durable note that an assertion was used costs a
synced write. A session lives in the memory of two processes, so that nothing of it can be used again after a restart.
Keeps true: as for assertions (`medchain.node.peer_auth`), a code counts for one request of one organisation to one
other, once, within a minute, and only while the ledger lists the key that opened its session for an active
organisation; all but the body's hash is checked before a body is read. Trusts the clock within `MAX_SKEW_S`.
Source: `docs/spec/node-protocol.md`, Sessions; `docs/adr/0021-sessions-between-nodes.md`.
"""

from __future__ import annotations

import re
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Final, NamedTuple

from medchain.crypto.keywrap import SecretBytes
from medchain.crypto.session import agreed_key, code_of, is_code, new_share
from medchain.encoding import Json, canonical, digest, digest_input, members, parse_canonical, unhex
from medchain.errors import AccessDeniedError, InputError
from medchain.node.clock import Clock

SESSION_SCHEME: Final = "MedChain-Session"
"""Scheme of the Authorization header within a session."""

SESSION_PATH: Final = "/session"
"""Where a session is opened."""

SESSION_UNKNOWN: Final = "peer_auth.session"
"""Refusal: no such session, or not any more. Nothing of the request was done; another session may be opened for it."""

MAX_SESSION_BYTES: Final = 1024
"""Largest document by which a session is opened, and largest answer to it."""

LIFETIME_S: Final = 600
"""How long a session lives."""

MAX_SESSIONS: Final = 8
"""How many sessions of one organisation are kept, those that were used last."""

WINDOW: Final = 1024
"""How far calls of one session may overtake each other, by their numbers."""

_TYPE: Final = "medchain/session/v1"
_SHARE_BYTES: Final = 32
_ID_BYTES: Final = 16
_NUMBER_BYTES: Final = 8
_WHOLE: Final = "(0|[1-9][0-9]{0,15})"
_CREDENTIAL: Final = re.compile(rf"([0-9a-f]{{32}})\.{_WHOLE}\.{_WHOLE}\.([0-9a-f]{{64}})\.([0-9a-f]{{64}})")
_OFFER: Final = {"share": str, "type": str}
_ANSWER: Final = {"id": str, "lifetime": int, "share": str, "type": str}


@dataclass(slots=True)
class Session:
    """A session as the called node keeps it.

    Attributes:
        id: hexadecimal.
        issuer: org_id of the caller.
        key_name: id of the authentication key that opened it.
        public: that key.
        opened: Unix seconds.
        key: of its codes.
    """

    id: str
    issuer: str
    key_name: str
    public: bytes
    opened: int
    key: SecretBytes
    _newest: int = -1
    _used: int = 0
    _lock: Lock = field(default_factory=Lock, repr=False)

    def use(self, number: int) -> bool:
        """Use up the number of a call; tells whether it was unused, and not too old to know."""
        with self._lock:
            ahead = number - self._newest
            if ahead > 0:
                self._used = (self._used << ahead if ahead < WINDOW else 0) & ((1 << WINDOW) - 1) | 1
                self._newest = number
                return True
            if -ahead >= WINDOW or self._used >> -ahead & 1:
                return False
            self._used |= 1 << -ahead
            return True


class Code(NamedTuple):
    """What a call in a session carries, the code itself verified.

    Attributes:
        session: of which it is.
        number: of the call.
        time: when it was made, Unix seconds.
        body_hash: hexadecimal, of the body that must follow.
    """

    session: Session
    number: int
    time: int
    body_hash: str


class OpenSessions:
    """The sessions that others have opened with one node. Threads may share it."""

    __slots__ = ("_audience", "_by_id", "_clock", "_lock")

    def __init__(self, audience: str, clock: Clock) -> None:
        """Begin without any.

        Args:
            audience: names the called organisation on its ledger.
            clock: gives Unix seconds.
        """
        self._audience = audience
        self._clock = clock
        self._by_id: OrderedDict[str, Session] = OrderedDict()
        self._lock = Lock()

    def open(self, issuer: str, key_name: str, public: bytes, document: bytes) -> bytes:
        """Open a session for a caller that was known by an assertion over this very document.

        Args:
            issuer: org_id of the caller.
            key_name: id of the key that signed.
            public: that key.
            document: ``{"share":…,"type":"medchain/session/v1"}``.

        Returns:
            The answer.

        Raises:
            InputError: ``encoding.*``, ``session.type``.
            VerificationError: ``session.share``.
        """
        theirs = _share(members(parse_canonical(document, max_bytes=MAX_SESSION_BYTES), _OFFER))
        own, name = new_share(), secrets.token_hex(_ID_BYTES)
        context = _context(self._audience, issuer, key_name, name, theirs, own.public)
        made = Session(name, issuer, key_name, public, self._clock(), agreed_key(own, theirs, context))
        with self._lock:
            self._by_id[name] = made
            of_issuer = [other.id for other in self._by_id.values() if other.issuer == issuer]
            for old in of_issuer[:-MAX_SESSIONS]:
                del self._by_id[old]
        answer: Json = {"id": name, "lifetime": LIFETIME_S, "share": own.public.hex(), "type": _TYPE}
        return canonical(answer)

    def begin(self, credential: str, method: str, target: str) -> Code:
        """Check a code, before any of the body is read. Uses nothing up, and says nothing of time or membership.

        Raises:
            AccessDeniedError: ``peer_auth.malformed``, ``peer_auth.session``, ``peer_auth.signature`` for a code that
                is not that of this request.
        """
        found = _CREDENTIAL.fullmatch(credential)
        if found is None:
            raise AccessDeniedError("peer_auth.malformed")
        name, number, time, body_hash, code = found.groups()
        now = self._clock()
        with self._lock:
            session = self._by_id.get(name)
            if session is not None:
                self._by_id.move_to_end(name)
        if session is None or not session.opened <= now < session.opened + LIFETIME_S:
            self.forget(name)
            raise AccessDeniedError(SESSION_UNKNOWN)
        message = _message(method, target, body_hash, int(number), int(time))
        if not is_code(session.key, message, bytes.fromhex(code)):
            raise AccessDeniedError("peer_auth.signature")
        return Code(session, int(number), int(time), body_hash)

    def forget(self, name: str) -> None:
        """End a session."""
        with self._lock:
            self._by_id.pop(name, None)


@dataclass(slots=True)
class _Own:
    """A session as the caller keeps it; without a key where the other side knows none."""

    place: object
    id: str
    key: SecretBytes | None
    ends: int
    number: int = 0


class OwnSessions:
    """The sessions that one node has opened with others. Threads may share it."""

    __slots__ = ("_clock", "_ledger_audience", "_lock", "_org_id", "_own")

    def __init__(self, org_id: str, audience_of: Callable[[str], str], clock: Clock) -> None:
        """Begin without any.

        Args:
            org_id: who calls.
            audience_of: names a called organisation on its ledger.
            clock: gives Unix seconds.
        """
        self._org_id = org_id
        self._ledger_audience = audience_of
        self._clock = clock
        self._own: dict[str, _Own] = {}
        self._lock = Lock()

    def credential(self, audience: str, place: object, method: str, target: str, body_hash: str) -> str | None:
        """Make the credential of a call.

        Args:
            audience: org_id of who is called.
            place: where; a session is of one place.
            method: upper case.
            target: path with its query.
            body_hash: hexadecimal.

        Returns:
            The credential; empty where the other side knows no sessions, None where one has to be opened first.
        """
        now = self._clock()
        with self._lock:
            own = self._own.get(audience)
            if own is None or own.place is not place or not own.ends - LIFETIME_S <= now < own.ends:
                return None
            own.number += 1
            number = own.number
        if own.key is None:
            return ""
        code = code_of(own.key, _message(method, target, body_hash, number, now))
        return f"{own.id}.{number}.{now}.{body_hash}.{code.hex()}"

    def offer(self, audience: str, place: object, key_name: str, ask: Callable[[bytes], bytes | None]) -> None:
        """Open a session.

        Args:
            audience: org_id of who is called.
            place: where.
            key_name: id of the key that signs the assertion with which it is asked.
            ask: sends a document with an assertion; returns the answer, None where the other side knows no sessions.

        Raises:
            InputError: ``encoding.*``, ``session.type`` for another answer.
            VerificationError: ``session.share``.
            MedchainError: as ``ask``.
        """
        share, began = new_share(), self._clock()
        answer = ask(canonical({"share": share.public.hex(), "type": _TYPE}))
        made = _Own(place, "", None, began + LIFETIME_S)
        if answer is not None:
            top = members(parse_canonical(answer, max_bytes=MAX_SESSION_BYTES), _ANSWER)
            theirs, name = _share(top), unhex(top["id"], _ID_BYTES).hex()
            context = _context(self._ledger_audience(audience), self._org_id, key_name, name, share.public, theirs)
            lifetime = top["lifetime"] if type(top["lifetime"]) is int else 0
            # Some seconds less than the other side keeps it, so that it seldom ends under a call.
            made = _Own(place, name, agreed_key(share, theirs, context), began + min(lifetime, LIFETIME_S) * 9 // 10)
        with self._lock:
            self._own[audience] = made

    def forget(self, audience: str, credential: str) -> None:
        """End the session of a credential that the other side does not know any more."""
        with self._lock:
            own = self._own.get(audience)
            if own is not None and credential.startswith(f"{own.id}."):
                del self._own[audience]


def _share(top: dict[str, Json]) -> bytes:
    """Read a share."""
    if top["type"] != _TYPE:
        raise InputError("session.type")
    return unhex(top["share"], _SHARE_BYTES)


def _context(audience: str, issuer: str, key_name: str, name: str, theirs: bytes, own: bytes) -> bytes:
    """Bind a key to who calls whom, by which key, in which session, and to both shares: the caller's first."""
    names = (text.encode("ascii") for text in (audience, issuer, key_name, name))
    return digest("medchain/peer-session/v1", *names, theirs, own)


def _message(method: str, target: str, body_hash: str, number: int, time: int) -> bytes:
    """Write what a code is of."""
    numbers = (value.to_bytes(_NUMBER_BYTES, "big") for value in (number, time))
    fields = (method.encode(), target.encode("utf-8", "surrogatepass"), bytes.fromhex(body_hash))
    return digest_input("medchain/peer-call/v1", *fields, *numbers)
