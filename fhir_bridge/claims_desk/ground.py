"""What the pages of claims share: who may see and do what, at which organisation, and what of it is on the audit.

Keeps true: the desk acts, an auditor sees and changes nothing; an insurer's pages are an insurer's alone, whatever an
address says; what is seen and done of a case or dispute is on the audit, the latter before it is done. Trusts the
session for who it is, and the daemon for what the ledger says that this organisation is.
Source: `docs/spec/smart.md` 36.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final

from flask import Blueprint, Response, request
from werkzeug.exceptions import HTTPException

from consent.web.site import QUICK, organisation_name
from fhir_bridge.browse.pages import showing_refusals
from fhir_bridge.browse.reading import access_of
from fhir_bridge.staff.counter import Counter
from medchain.claims.batch import column_name
from medchain.claims.disputes import HOSPITAL
from medchain.claims.issuing import ASKING_ROLES
from medchain.encoding import Json, as_object
from medchain.errors import AccessDeniedError, InputError, MedchainError
from medchain.node.peers import Limits
from medchain.store.accounts import Role
from medchain.web.deeds import Ending, Kind, by
from medchain.web.pages import Pages, add_views, language, refusal_of
from medchain.web.session import SignedIn

CLAIMS: Final = "/claims"
"""Where the pages are."""

ACTING: Final = (Role.DESK,)
"""Who does something."""

SEEING: Final = (Role.DESK, Role.AUDITOR)
"""Who sees it."""

MAX_FORM_BYTES: Final = 9 << 20
"""Largest form: a proof of 8 MiB, and what stands beside it."""

_MAX_PASTED_BYTES: Final = 2 << 20

# Of an address such as `/claims/cases/ID`: those of its list, and of it.
_PARTS: Final = 3
_PARTS_OF_ONE: Final = 4

INSURER_TABS: Final = ("cases", "check", "proofs", "disputes")
"""Parts of an insurer's pages; a hospital's have the last one alone."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Who looks, and what the organisation is.

    Attributes:
        me: the session.
        organisations: the members, as the daemon tells them.
        is_insurer: whether it is an insurer's.
    """

    me: SignedIn
    organisations: Json
    is_insurer: bool

    @property
    def may_act(self) -> bool:
        """Whether this person does something here."""
        return self.me.account.role in ACTING

    @property
    def author(self) -> str:
        """Who it is, as the audit names people."""
        return access_of(self.me).user

    def name(self, org_id: str) -> str:
        """Name an organisation in the reader's language."""
        return organisation_name(self.organisations, org_id)

    @property
    def hospitals(self) -> dict[str, str]:
        """Name the hospitals, former ones too: there are claims on their records."""
        known = as_object(self.organisations)
        return {one: self.name(one) for one, row in sorted(known.items()) if as_object(row).get("role") == HOSPITAL}


@dataclass(frozen=True, slots=True)
class Ground:
    """What the pages are made from.

    Attributes:
        counter: what the pages of the desk share.
    """

    counter: Counter

    @property
    def pages(self) -> Pages:
        """Renders them."""
        return self.counter.site.pages

    def blueprint(self, name: str, rows: Iterable[tuple[str, Callable[..., Response], str]]) -> Blueprint:
        """Make the routes of some pages; rows as of `add_views`."""
        blueprint = Blueprint(name, __name__, template_folder="templates")
        blueprint.before_request(_bound)
        made = showing_refusals(self.pages, add_views(blueprint, rows))
        made.register_error_handler(MedchainError, self._refused)
        made.register_error_handler(HTTPException, lambda error: self._refused(refusal_of(error)))
        return made

    def _refused(self, error: MedchainError) -> Response:
        """Show an error with a link to where a form stands, such as a claim; to a first page who may not be there."""
        if isinstance(error, AccessDeniedError):
            return self.pages.refuse(error)
        is_of_one = request.method == "POST" and bool(request.view_args)
        place = "/".join(request.path.split("/")[: _PARTS_OF_ONE if is_of_one else _PARTS])
        return self.pages.refuse(error, place, "claims.back")

    def seen_by(self, *, insurer: bool) -> Standing:
        """Return who looks; raises `AccessDeniedError` ``session.*``, ``claims.role``.

        Args:
            insurer: whether the page is an insurer's alone.
        """
        return self._standing(self.pages.site.require(*SEEING), insurer=insurer)

    def done_by(self, *, insurer: bool) -> Standing:
        """Return who sends a form that counts once; raises as `seen_by` and `Counter.check_form`."""
        return self._standing(self.counter.check_form(*ACTING), insurer=insurer)

    def asked_by(self, *, insurer: bool) -> Standing:
        """Return who sends a form that changes nothing; raises as `seen_by`, ``session.form``."""
        return self._standing(self.pages.site.check_form(*SEEING), insurer=insurer)

    def call(self, operation: str, document: Json, limits: Limits = QUICK) -> dict[str, Json]:
        """Have the daemon do something."""
        return as_object(self.counter.site.local.call(operation, document, limits))

    def person(self, author: str) -> str:
        """Name somebody of this organisation as accounts do; who has none any more stays as the audit has it."""
        people = self.pages.site.accounts.accounts()
        return next((one.display for one in people if author and author in (one.fhir_user, one.id)), author)

    def problem(self, error: MedchainError, otherwise: str = "") -> str:
        """Word what is wrong with a form; a table's column by the name that its header needs.

        Args:
            error: what was refused.
            otherwise: what is said where there are no words for it; its code where empty.
        """
        column = error.fields.get("column")
        if column is not None:
            return self.pages.say("claims.check.column", column=column_name(str(column), language()))
        return self.pages.say_or(f"error.{error.code}", otherwise or error.code)

    def viewing(self, standing: Standing, subject: str = "") -> AbstractContextManager[Ending]:
        """Keep on the audit that somebody looks, at one case or dispute, or at a list."""
        return self.pages.site.deeds.doing(by(standing.me.account, Kind.CLAIM_LOOK, subject=subject))

    def handling(self, standing: Standing, subject: str = "") -> AbstractContextManager[Ending]:
        """Keep on the audit that somebody does something, before it is done."""
        return self.pages.site.deeds.doing(by(standing.me.account, Kind.CLAIM, subject=subject))

    def render(self, standing: Standing, template: str, tab: str, status: int = 200, **values: Any) -> Response:  # noqa: ANN401  # a template's
        """Render a page with the parts that there are."""
        return self.pages.render(
            template,
            status,
            tabs=INSURER_TABS if standing.is_insurer else INSURER_TABS[-1:],
            tab=tab,
            may_act=standing.may_act,
            form=self.counter.form(standing.me) if standing.may_act else "",
            **values,
        )

    def _standing(self, me: SignedIn, *, insurer: bool) -> Standing:
        """See what the organisation is."""
        known = self.counter.organisations()
        role = as_object(as_object(known).get(self.pages.site.org_id)).get("role")
        if role not in ASKING_ROLES and (insurer or role != HOSPITAL):
            raise AccessDeniedError("claims.role")
        return Standing(me, known, role in ASKING_ROLES)


def is_of_claims(path: str) -> bool:
    """Tell whether an address is one of these pages, of which some take files: who sends one is known before it."""
    return path.startswith(f"{CLAIMS}/")


def _bound() -> None:
    """Bound what is read of a form, once who sends it is known."""
    request.max_content_length = MAX_FORM_BYTES
    request.max_form_memory_size = _MAX_PASTED_BYTES
    if (request.content_length or 0) > MAX_FORM_BYTES:
        raise InputError("request.too_large", limit=MAX_FORM_BYTES)
