"""What a person is offered to authorise: what an application asks for, within its registration and the person's role.

Keeps true: nothing is offered beyond either; a scope of one patient is offered only where a patient can be in context;
what a person leaves out is not given. Pure.
Source: SMART App Launch 2.2 §2.0.8, §3.0; RFC 6749 §3.3; OpenID Connect Core §3.1.2.1.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import InvalidRequestError, InvalidScopeError

from fhir_bridge.smart.clients import Client
from fhir_bridge.smart.roles import CHOOSING, within_role
from fhir_bridge.smart.scopes import Asked, Context, Scope, Special, narrowed, parse_asked
from medchain.errors import InputError
from medchain.store.accounts import Role

_CONTEXT: Final = frozenset({Special.LAUNCH_PATIENT, Special.LAUNCH_ENCOUNTER, Special.LAUNCH})
_MAX_STATE_CHARS: Final = 2048
_AGE: Final = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Offer:
    """What a person may authorise.

    Attributes:
        scopes: of resources, each to be left out or not.
        special: the others; offline access may be left out.
        wants_patient: whether a patient must be in context.
        wants_encounter: whether an encounter may be.
    """

    scopes: tuple[Scope, ...]
    special: frozenset[Special]
    wants_patient: bool
    wants_encounter: bool


def check_request(parameters: Mapping[str, str], audiences: Collection[str]) -> Asked:
    """Check what Authlib does not of a request for authorisation.

    Args:
        parameters: of the request.
        audiences: addresses of this node's FHIR API.

    Returns:
        What it asks for.

    Raises:
        OAuth2Error: to be sent back to the application.
    """
    if not 0 < len(parameters.get("state", "")) <= _MAX_STATE_CHARS:
        raise InvalidRequestError("A state is needed.")
    if parameters.get("aud") not in audiences:
        # SMART App Launch 2.2 §2.0.8: or a token of ours could be lured to another server.
        raise InvalidRequestError("The aud parameter must be the address of this FHIR server.")
    if "request" in parameters or "request_uri" in parameters:
        name = "request_uri_not_supported" if "request_uri" in parameters else "request_not_supported"
        raise OAuth2Error(error=name)
    if parameters.get("response_mode", "query") != "query":
        raise InvalidRequestError("Only the response_mode query is supported.")
    if "none" in parameters.get("prompt", "").split():
        raise OAuth2Error(error="interaction_required")
    if not _AGE.fullmatch(parameters.get("max_age", "0")):
        raise InvalidRequestError("The max_age parameter is a number of seconds.")
    try:
        asked = parse_asked(parameters.get("scope", ""))
    except InputError as error:
        raise InvalidScopeError from error
    if not asked.resources and not asked.special - _CONTEXT:
        raise InvalidScopeError("None of these scopes is known here.")
    if (Special.LAUNCH in asked.special) != ("launch" in parameters):
        raise InvalidRequestError("The launch parameter goes with the scope launch.")
    return asked


def signed_in_since(parameters: Mapping[str, str], time: int) -> int:
    """Tell from when on a person must have signed in to decide about a request (OpenID Connect Core §3.1.2.1).

    Args:
        parameters: of the request, checked.
        time: when it came, Unix seconds.

    Returns:
        Unix seconds; 0 for at any time.
    """
    if "login" in parameters.get("prompt", "").split():
        return time
    return time - int(parameters["max_age"]) if "max_age" in parameters else 0


def make_offer(asked: Asked, client: Client, role: Role, *, has_patient: bool) -> Offer:
    """Work out what a person may authorise.

    Args:
        asked: what the application asks for.
        client: the application.
        role: the person's.
        has_patient: whether the launch brought a patient.

    Returns:
        The offer.
    """
    may_choose = has_patient or role in CHOOSING
    scopes: list[Scope] = []
    for scope in asked.resources:
        if scope.context is Context.PATIENT and not may_choose:
            continue
        limits = [one for one in client.scopes if one.context is scope.context]
        for inner in narrowed(scope, limits):
            scopes += within_role(inner, role)
    special = asked.special & client.special
    is_of_patient = any(scope.context is Context.PATIENT for scope in scopes)
    wants = is_of_patient or (Special.LAUNCH_PATIENT in special and may_choose)
    if not may_choose:
        special -= {Special.LAUNCH_PATIENT, Special.LAUNCH_ENCOUNTER}
    return Offer(tuple(dict.fromkeys(scopes)), special, wants, wants and Special.LAUNCH_ENCOUNTER in special)


def chosen(offer: Offer, picked: Collection[str], *, offline: bool) -> tuple[tuple[Scope, ...], frozenset[Special]]:
    """Take what a person has left in.

    Args:
        offer: what was offered.
        picked: scopes of resources, as text; whatever was not offered counts for nothing.
        offline: whether the application may go on after the person has signed out.

    Returns:
        Scopes of resources, and the others.
    """
    scopes = tuple(scope for scope in offer.scopes if str(scope) in picked)
    return scopes, offer.special if offline else offer.special - {Special.OFFLINE_ACCESS}
