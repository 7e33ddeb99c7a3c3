"""For whom a patient acts: chosen on a page, and judged anew at each request.

Keeps true: what was chosen counts for this session alone; whether it still stands, and what it allows, says the ledger
at each request, and a note of this organisation that the person has ended it; who acts within no limits is nobody but
the person. Trusts the daemon of this node for what it looked up.
Source: `docs/spec/patient-pages.md` 14; `docs/spec/subject.md` 3, 4.
"""

from __future__ import annotations

from typing import Final

from flask import Response

from consent.web.person import Delegation, Person
from medchain.encoding import Json, unhex
from medchain.errors import AccessDeniedError, InputError
from medchain.ledger.kinds.capacity import DEAD, STOP
from medchain.ledger.transaction import HASH_BYTES
from medchain.web.session import LONGEST_S, SignedIn, Site

FAMILY: Final = "/my/family"
"""Where it is chosen."""

OWN: Final = "own"
"""What nobody may who acts for the person: passkeys, helpers, acknowledging notices."""

NOTHING: Final = ""
"""What anybody may who acts for the person: what is judged where it is done."""

_PURPOSE: Final = "patient-acting"


def cookie_name(site: Site) -> str:
    """Name the cookie that says for whom a patient acts."""
    return f"{site.cookie}-acting"


def begin_acting(response: Response, site: Site, signed_in: SignedIn, person: bytes) -> None:
    """Have a browser say from now on for whom its patient acts, for as long as the session lasts.

    Args:
        response: to the browser.
        site: whose session it is.
        signed_in: the session.
        person: map key of the subject for whom, 32 bytes.
    """
    document: dict[str, Json] = {"session": signed_in.session.token.hex(), "subject": person.hex()}
    value = site.signed.sign(_PURPOSE, document, site.clock() + LONGEST_S)
    response.set_cookie(cookie_name(site), value, secure=True, httponly=True, samesite="Strict", path="/")


def end_acting(response: Response, site: Site) -> None:
    """Have a browser's patient act for nobody else."""
    response.set_cookie(cookie_name(site), "", max_age=0, secure=True, httponly=True, samesite="Strict", path="/")


def chosen_in(text: str, site: Site, signed_in: SignedIn) -> bytes | None:
    """Read for whom a patient acts.

    Args:
        text: the cookie's value; may be empty.
        site: whose session it is.
        signed_in: the session.

    Returns:
        Map key of the subject; None for nobody, and where another session has chosen.
    """
    if not text:
        return None
    try:
        document = site.signed.open(_PURPOSE, text, site.clock())
    except AccessDeniedError:
        return None
    try:
        subject = unhex(document.get("subject"), HASH_BYTES)
    except InputError:
        return None
    return subject if document.get("session") == signed_in.session.token.hex() else None


def limits_of(delegation: Delegation, person: Person) -> frozenset[str]:
    """Tell what a delegate may do on these pages: for a dead person, nothing but to stop (`subject.md` 4)."""
    may = frozenset(delegation.may)
    return may & {STOP} if person.standing == DEAD else may
