"""Proofs that a patient takes along of a permission: how it stands, and what was given under it.

Keeps true: each is given to whom the permission's page is shown, of this organisation's own disclosures alone, and says
nothing that it does not prove to who has only a policy. Trusts `consent.web.site` for who it is, and the daemon for the
proofs.
Source: `docs/spec/patient-pages.md` 9, 26; `docs/spec/proof-bundle.md`.
"""

from __future__ import annotations

from flask import Blueprint, Response

from consent.web.site import SLOW, PatientSite
from consent.web.view import find_given
from medchain.encoding import Json
from medchain.errors import NotFoundError
from medchain.node.proofs import PROVE, PROVE_DISCLOSURES, proof_files, zip_bundle
from medchain.web.pages import add_views, attached


class ProofPages:
    """The files of one node."""

    __slots__ = ("_site",)

    def __init__(self, site: PatientSite) -> None:
        """Use what the pages are made from."""
        self._site = site

    def blueprint(self) -> Blueprint:
        """Make the routes."""
        rows = (
            ("/my/access/<key>/proof", self.of_consent, "GET"),
            ("/my/access/<key>/disclosures/<grant>", self.of_disclosures, "GET"),
        )
        return add_views(Blueprint("patient_proofs", __name__), rows)

    def of_consent(self, key: str) -> Response:
        """Give the proof of a consent's state, to be verified anywhere."""
        if not self._site.consent(self._site.require(), key):
            raise NotFoundError("page.unknown")
        return self._proven(PROVE, {"key": key}, f"consent-{key[:16]}")

    def of_disclosures(self, key: str, grant: str) -> Response:
        """Give the proof of all that was given under a grant, and that nothing else is recorded under it."""
        given = find_given(self._site.consents(self._site.require()), key)
        if given is None or grant not in given.grants_of(self._site.org_id):
            raise NotFoundError("page.unknown")
        asked: dict[str, Json] = {"custodian": self._site.org_id, "grant": grant}
        return self._proven(PROVE_DISCLOSURES, asked, f"disclosures-{grant[:16]}")

    def _proven(self, operation: str, asked: dict[str, Json], name: str) -> Response:
        """Have the daemon prove something, and give it as a file."""
        files = proof_files(self._site.local.call(operation, asked, SLOW))
        return attached(zip_bundle(files), "application/zip", f"{name}.proof.zip")
