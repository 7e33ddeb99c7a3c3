"""Who issues which invoices: an organisation's issuer codes, and the keys that make the ids of its invoices.

Keeps true: an issuer code belongs to one organisation for ever; a generation of keys is never dropped or altered, and
begins later than any invoice that can have been given an id when it came; so one invoice has one id. Functions of
their arguments. Trusts `medchain.crypto.vrf`.
Source: `docs/spec/genesis.md` 10 to 12.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from medchain.crypto.vrf import is_vrf_public, vrf_key_id, vrf_verify
from medchain.encoding import Json, base64_text, digest_input, members, unbase64
from medchain.errors import InputError, VerificationError

VRF_KEY: Final = "vrf"
"""Key use: ids of invoices (`medchain.crypto.vrf`). Such keys stand beside the issuer codes, not among the others."""

MAX_ISSUERS: Final = 64
"""Most issuer codes of an organisation."""

MAX_GENERATIONS: Final = 64
"""Most generations of keys of an organisation, since none is ever dropped."""

GENERATION_LEAD_DAYS: Final = 3
"""How many days after the block that lists it a generation begins at the earliest. A block's day is that of UTC: where
it is later already, invoices bear the next day's date, and a clock that is a minute fast may have gone one day on."""

GENERATION_MAX_LEAD_DAYS: Final = 366
"""How many days after that block it begins at the latest: none can come before it any more."""

_CODE: Final = re.compile(r"[0-9A-Z]{1,32}\Z")


@dataclass(frozen=True, slots=True)
class VrfGeneration:
    """A key that makes the ids of invoices from a day on.

    Attributes:
        from_day: first date of those invoices, days since 1970-01-01; 0 for the first generation.
        public: 32 bytes.
    """

    from_day: int
    public: bytes

    @property
    def id(self) -> str:
        """Key id, 32 hexadecimal digits."""
        return vrf_key_id(self.public)


@dataclass(frozen=True, slots=True)
class Invoices:
    """Which invoices an organisation issues.

    Attributes:
        issuers: its issuer codes, sorted.
        generations: keys that make their ids, in the order of their days.
    """

    issuers: tuple[str, ...]
    generations: tuple[VrfGeneration, ...]

    def generation(self, day: int) -> VrfGeneration | None:
        """Return the generation that makes the ids of invoices of a day: the newest that has begun by then.

        Args:
            day: date of the invoice, days since 1970-01-01.

        Returns:
            The generation; None for a date before 1970.
        """
        begun = [generation for generation in self.generations if generation.from_day <= day]
        return begun[-1] if begun else None


def invoices_content(invoices: Invoices, proofs: Mapping[str, str]) -> dict[str, Json]:
    """Write the member ``invoices`` of an organisation's content.

    Args:
        invoices: what it issues.
        proofs: key id → base64 proof of possession, for the generations that are new.
    """
    rows: list[Json] = [
        {"from": one.from_day, "proof": proofs.get(one.id), "public": base64_text(one.public)}
        for one in invoices.generations
    ]
    return {"issuers": list(invoices.issuers), "vrf": rows}


def parse_invoices(content: Json) -> tuple[Invoices, dict[str, bytes]]:
    """Read the member ``invoices`` strictly.

    Args:
        content: from `invoices_content`.

    Returns:
        What it says, and the proofs of possession by key id.

    Raises:
        InputError: ``encoding.*``, ``organisation.invoices``.
    """
    top = members(content, {"issuers": list, "vrf": list})
    issuers = [code for code in _listed(top["issuers"], MAX_ISSUERS) if type(code) is str and _CODE.match(code)]
    rows = [_generation(row) for row in _listed(top["vrf"], MAX_GENERATIONS)]
    days = [generation.from_day for generation, _ in rows]
    valid = issuers == top["issuers"] and issuers == sorted(set(issuers)) and days[0] == 0 and days == sorted(set(days))
    if not valid:
        raise InputError("organisation.invoices")
    proofs = {generation.id: proof for generation, proof in rows if proof is not None}
    return Invoices(tuple(issuers), tuple(generation for generation, _ in rows)), proofs


def vrf_proof_input(ledger: bytes, org_id: str) -> bytes:
    """Build the input of a generation's proof of possession.

    Args:
        ledger: ledger id, 32 bytes.
        org_id: whose it is.
    """
    return digest_input("medchain/genesis-proof/v1", ledger, org_id.encode("ascii"), VRF_KEY.encode("ascii"))


def check_vrf_proof(ledger: bytes, org_id: str, generation: VrfGeneration, proof: bytes) -> None:
    """Check that who names a generation also holds its key.

    Raises:
        VerificationError: ``organisation.proof``.
    """
    try:
        vrf_verify(generation.public, vrf_proof_input(ledger, org_id), proof)
    except VerificationError as error:
        raise VerificationError("organisation.proof", use=VRF_KEY, org_id=org_id) from error


def check_succession(before: Invoices | None, after: Invoices | None, day: int) -> None:
    """Check that a version takes nothing back, and that no invoice gets a second id by it.

    Args:
        before: what the organisation's head says.
        after: what its next version says.
        day: of the block, days since 1970-01-01.

    Raises:
        VerificationError: ``organisation.issuer`` for a code that is dropped, ``organisation.generation`` for a
            generation that is dropped or altered, or begins on a day when ids may have been made already, or later
            than `GENERATION_MAX_LEAD_DAYS`.
    """
    issuers, kept = ((), ()) if before is None else (before.issuers, before.generations)
    if not set(issuers) <= set(() if after is None else after.issuers):
        raise VerificationError("organisation.issuer")
    generations = () if after is None else after.generations
    earliest, latest = day + GENERATION_LEAD_DAYS, day + GENERATION_MAX_LEAD_DAYS
    added = generations[max(len(kept), 1) :]
    if generations[: len(kept)] != kept or not all(earliest <= one.from_day <= latest for one in added):
        raise VerificationError("organisation.generation")


def check_apart(all_invoices: Sequence[Invoices]) -> None:
    """Check that no two organisations share an issuer code or a key.

    Args:
        all_invoices: of all organisations of a ledger, removed ones included.

    Raises:
        VerificationError: ``members.issuer``, ``members.vrf``.
    """
    if _repeats(code for one in all_invoices for code in one.issuers):
        raise VerificationError("members.issuer")
    if _repeats(generation.public for one in all_invoices for generation in one.generations):
        raise VerificationError("members.vrf")


def _repeats(items: Iterable[str | bytes]) -> bool:
    """Tell whether something occurs twice."""
    listed = list(items)
    return len(set(listed)) != len(listed)


def _listed(value: Json, most: int) -> list[Json]:
    """Return a list of a number of items that is allowed."""
    if type(value) is not list or not 1 <= len(value) <= most:
        raise InputError("organisation.invoices")
    return value


def _generation(row: Json) -> tuple[VrfGeneration, bytes | None]:
    """Read a generation; the proof of one that is not new is null."""
    if type(row) is not dict or row.keys() != {"from", "proof", "public"}:
        raise InputError("encoding.members", member="vrf")
    public, from_day = unbase64(row["public"]), row["from"]
    if type(from_day) is not int or not is_vrf_public(public):
        raise InputError("organisation.invoices")
    return VrfGeneration(from_day, public), None if row["proof"] is None else unbase64(row["proof"])
