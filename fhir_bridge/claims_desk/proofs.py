"""The pages of received proofs: what others hand over is verified against the members whom this node trusts, and shown.

Keeps true: what is shown of a proof is computed anew each time from its bytes, under this node's own policy, never read
from what was noted; one that breaks a rule says which, and nothing of what it claims. Trusts the daemon for the policy.
Source: `docs/spec/proof-bundle.md`, `docs/spec/smart.md` 36.
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

from flask import Blueprint, Response, request

from fhir_bridge.claims_desk.before import is_of_nobody
from fhir_bridge.claims_desk.ground import CLAIMS, Ground, Standing
from fhir_bridge.claims_desk.verdict_view import shown_lines
from medchain.claims.verdict_words import COLOURS
from medchain.encoding import unhex
from medchain.errors import AccessDeniedError, InputError, NotFoundError, VerificationError
from medchain.ledger.bundle import Verdict, verify_bundle
from medchain.ledger.transaction import HASH_BYTES
from medchain.node.packed import unpack_bundle
from medchain.store.received import ReceivedProof
from medchain.web.pages import LANGUAGES, attached, language, redirected

PROOFS: Final = f"{CLAIMS}/proofs"
"""Address of the list."""

MAX_PROOF_BYTES: Final = 8 << 20
"""Largest zip."""

ANSWERS: Final = ("entry", "record", "absent", "items", "claim", "disclosures", "looks")
"""What a proof can show."""

_TAB: Final = "proofs"


class Judged(NamedTuple):
    """What comes of verifying a proof.

    Attributes:
        verdict: what it proves; None where it does not hold.
        failed: code of the rule that it breaks; empty otherwise.
    """

    verdict: Verdict | None
    failed: str


class ProofPages:
    """The pages of one node."""

    __slots__ = ("_ground",)

    def __init__(self, ground: Ground) -> None:
        """Use what the pages share."""
        self._ground = ground

    def blueprint(self) -> Blueprint:
        """Make the routes."""
        rows = (
            (PROOFS, self.begin, "GET"),
            (PROOFS, self.bring, "POST"),
            (f"{PROOFS}/<name>", self.show, "GET"),
            (f"{PROOFS}/<name>/file", self.file, "GET"),
            (f"{PROOFS}/<name>/drop", self.drop, "POST"),
        )
        return self._ground.blueprint("claim-proofs", rows)

    def begin(self) -> Response:
        """List what was brought, and an empty form."""
        return self._list(self._ground.seen_by(insurer=True))

    def bring(self) -> Response:
        """Verify a zip, keep it with what was found, and show that."""
        standing = self._ground.done_by(insurer=True)
        brought = request.files.get("bundle")
        packed = b"" if brought is None else brought.stream.read(MAX_PROOF_BYTES + 1)
        if not 0 < len(packed) <= MAX_PROOF_BYTES:
            return self._list(standing, self._ground.pages.say("claims.proofs.problem"))
        proof_id, found = hashlib.sha256(packed).digest(), self._judged(packed)
        verdict = found.verdict
        claim = None if verdict is None else verdict.claim
        made = ReceivedProof(
            id=proof_id,
            author=standing.author,
            created=self._ground.pages.site.clock(),
            answer="" if verdict is None else verdict.answer,
            colour="" if claim is None else claim.colour.value,
            failed=found.failed,
            bundle=packed,
            claim=None if claim is None else claim.claim,
        )
        with self._ground.handling(standing, proof_id.hex()):
            self._ground.counter.core.store.put_proof(made)
        return redirected(f"{PROOFS}/{proof_id.hex()}")

    def show(self, name: str) -> Response:
        """Verify one again, and show what it proves."""
        standing = self._ground.seen_by(insurer=True)
        kept = self._kept(standing, name)
        found = self._judged(kept.bundle)
        return self._ground.render(
            standing,
            "claims/proof.html",
            _TAB,
            one=self._row(kept),
            failed=found.failed,
            failure=self._failure(found.failed),
            facts=[] if found.verdict is None else self._facts(standing, found.verdict),
            verdict=None if found.verdict is None else self._claim(standing, found.verdict),
        )

    def file(self, name: str) -> Response:
        """Give one as it was brought; a claim may be in it, so not to auditors."""
        standing = self._ground.seen_by(insurer=True)
        if not standing.may_act:
            raise AccessDeniedError("session.role")
        return attached(self._kept(standing, name).bundle, "application/zip", f"received-{name[:8]}.proof.zip")

    def drop(self, name: str) -> Response:
        """Destroy one."""
        standing, proof_id = self._ground.done_by(insurer=True), _id_of(name)
        with self._ground.handling(standing, name):
            self._ground.counter.core.store.drop_proof(proof_id)
        return redirected(PROOFS)

    def _kept(self, standing: Standing, name: str) -> ReceivedProof:
        """Find one; raises `NotFoundError` ``proofs.unknown``."""
        with self._ground.viewing(standing, name):
            return self._ground.counter.core.store.proof(_id_of(name), self._ground.pages.site.clock())

    def _judged(self, packed: bytes) -> Judged:
        """Verify a zip against the members whom this node trusts."""
        policy = self._ground.counter.site.policy()
        try:
            verdict = verify_bundle(unpack_bundle(packed), policy, now=self._ground.pages.site.clock())
        except (InputError, VerificationError) as error:
            return Judged(None, error.code)
        return Judged(verdict, "")

    def _list(self, standing: Standing, problem: str = "") -> Response:
        """Show the list."""
        kept = self._ground.counter.core.store.proofs(self._ground.pages.site.clock())
        rows = [self._row(one) for one in kept]
        return self._ground.render(
            standing, "claims/proofs.html", _TAB, 400 if problem else 200, rows=rows, problem=problem
        )

    def _row(self, kept: ReceivedProof) -> dict[str, object]:
        """Word one in short."""
        pages = self._ground.pages
        return {
            "id": kept.id.hex(),
            "author": self._ground.person(kept.author),
            "created": pages.moment(kept.created),
            "colour": kept.colour,
            "failed": kept.failed,
            "what": pages.say(f"claims.proof.{kept.answer or 'broken'}"),
        }

    def _failure(self, code: str) -> str:
        """Say which rule one breaks."""
        return self._ground.pages.say_or(f"claims.proof.failed.{code}", self._ground.pages.say("claims.proof.failed"))

    def _facts(self, standing: Standing, verdict: Verdict) -> list[tuple[str, str, bool]]:
        """Say what a proof is as of, and who vouches for it: name, value, whether that is an id."""
        pages = self._ground.pages
        told = [
            ("answer", pages.say(f"claims.proof.{verdict.answer}"), False),
            ("current", pages.say("claims.proof.now" if verdict.current else "claims.proof.then"), False),
            ("time", pages.moment(verdict.time), False),
            ("position", str(verdict.position), False),
            ("cosigners", pages.say("patient.comma").join(self._organisations(standing, verdict)), False),
            ("items", str(len(verdict.items)) if verdict.items else "", False),
            ("object", verdict.object or "", True),
            ("status", verdict.status or "", False),
            ("version", "" if verdict.version is None else f"{verdict.version} / {verdict.newest}", False),
        ]
        return [(pages.say(f"claims.proof.fact.{name}"), value, is_id) for name, value, is_id in told if value]

    @staticmethod
    def _organisations(standing: Standing, verdict: Verdict) -> list[str]:
        """Name who cosigned: each member has two keys, called after it, and witnesses have names of their own."""
        members = (one.removesuffix("-ed").removesuffix("-pq") for one in verdict.cosigners)
        return [standing.name(one) for one in dict.fromkeys(members)]

    def _claim(self, standing: Standing, verdict: Verdict) -> dict[str, object] | None:
        """Show the verdict of a claim; None for another proof."""
        if verdict.claim is None:
            return None
        at, colour, pages = LANGUAGES.index(language()), verdict.claim.colour.value, self._ground.pages
        return {
            "colour": colour,
            "word": COLOURS[colour][at],
            "as_of": pages.moment(verdict.claim.time),
            "position": verdict.claim.position,
            "is_before": is_of_nobody(verdict.claim),
            "lines": shown_lines(verdict.claim.findings, language(), standing.name, pages.site.zone),
            "insurer": standing.name(verdict.claim.insurer),
            "claim": verdict.claim.claim.hex(),
        }


def _id_of(name: str) -> bytes:
    """Read the id of a proof; raises `NotFoundError` ``proofs.unknown`` for what is none."""
    try:
        return unhex(name, HASH_BYTES)
    except InputError as error:
        raise NotFoundError("proofs.unknown") from error
