"""What a person has authorised an application for: scopes and the context of the launch, as it is kept.

Keeps true: what is read is what was written. Pure.
Source: SMART App Launch 2.2 (launch context), `docs/spec/smart.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fhir_bridge.smart.scopes import Asked, Scope, Special, parse_granted
from medchain.encoding import Json, as_number, canonical, members, parse_canonical

_MAX_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Authorisation:
    """What was authorised.

    Attributes:
        scopes: of resources.
        special: the others.
        user: reference of the person, or the account's id.
        role: of the person then.
        patient: id of the patient of the launch; empty for none.
        encounter: id of the encounter; empty for none.
        intent: what the application was opened for, as the record system said it.
        banner: whether the application must show whose record it is.
        auth_time: when the person signed in, Unix seconds; 0 where a provider did not say.
        nonce: of the application, for the id token.
    """

    scopes: tuple[Scope, ...]
    special: frozenset[Special]
    user: str
    role: str
    patient: str = ""
    encounter: str = ""
    intent: str = ""
    banner: bool = True
    auth_time: int = 0
    nonce: str = ""

    @property
    def text(self) -> str:
        """The scopes as the answer says them."""
        return str(Asked(self.scopes, self.special))


def authorisation_document(authorisation: Authorisation) -> bytes:
    """Write it for the store."""
    return canonical(
        {
            "auth_time": authorisation.auth_time,
            "banner": authorisation.banner,
            "encounter": authorisation.encounter,
            "intent": authorisation.intent,
            "nonce": authorisation.nonce,
            "patient": authorisation.patient,
            "role": authorisation.role,
            "scopes": authorisation.text,
            "user": authorisation.user,
        }
    )


def parse_authorisation(document: bytes) -> Authorisation:
    """Read it from the store; raises `InputError` for a damaged one."""
    texts = ("encounter", "intent", "nonce", "patient", "role", "scopes", "user")
    kinds: dict[str, type] = {**dict.fromkeys(texts, str), "auth_time": int, "banner": bool}
    given = members(parse_canonical(document, max_bytes=_MAX_BYTES), kinds)
    granted = parse_granted(_text(given["scopes"]))
    return Authorisation(
        scopes=granted.resources,
        special=granted.special,
        user=_text(given["user"]),
        role=_text(given["role"]),
        patient=_text(given["patient"]),
        encounter=_text(given["encounter"]),
        intent=_text(given["intent"]),
        banner=given["banner"] is True,
        auth_time=as_number(given["auth_time"]),
        nonce=_text(given["nonce"]),
    )


def _text(value: Json) -> str:
    """Read a text."""
    return value if isinstance(value, str) else ""
