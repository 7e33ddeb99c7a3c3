"""The codes that a desk gives to a patient: for the first passkey, or for another one after all were lost.

Keeps true: a code is drawn, kept as a hash, and ends; the address that has it has it behind a hash. Trusts the desk for
who the person is.
Source: `docs/spec/patient-pages.md` 2, 16.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from medchain.encoding import canonical, members, parse_canonical
from medchain.ledger.genesis import is_host_of
from medchain.ledger.kinds.content import names
from medchain.store.accounts import AccountStore

ENROL_PAGE: Final = "/my/enrol"
"""Where a patient enrols."""

RECOVER_PAGE: Final = "/my/recover"
"""Where a patient who has lost all passkeys makes another one."""

CODE: Final = "patient-code"
"""Kind of the ticket that a desk's code is."""

CODE_S: Final = 24 * 3600
"""How long a code waits."""

RECOVERY_CODE: Final = "recovery-code"
"""Kind of the ticket that a code for who has lost all passkeys is."""

RECOVERY_CODE_S: Final = 3600
"""How long such a code waits: the person stands at the desk."""

_MAX_BYTES: Final = 16 * 1024
_TEXTS: Final = {"method": str, "patient": str, "subject": str}


def give_code(accounts: AccountStore, patient: str, method: str, now: int) -> str:
    """Make a code by which a patient enrols a passkey; whoever has it becomes that patient.

    Args:
        accounts: keeps it, as a hash.
        patient: id of the Patient.
        method: how the desk checked who the person is, such as ``identity-card``.
        now: Unix seconds.

    Returns:
        The code, good once within `CODE_S`.
    """
    return accounts.put_ticket(CODE, canonical({"method": method, "patient": patient}), now + CODE_S, now)


@dataclass(frozen=True, slots=True)
class Attestation:
    """That a desk knows who somebody is who has lost all passkeys.

    Attributes:
        patient: id of the Patient.
        subject: map key of the patient's subject object, hexadecimal.
        method: how it checked that.
        staff: two members of the staff who attest it.
    """

    patient: str
    subject: str
    method: str
    staff: tuple[str, ...]

    def encode(self) -> bytes:
        """Write it, as what belongs to a code."""
        return canonical({**{name: getattr(self, name) for name in _TEXTS}, "staff": list(self.staff)})

    @classmethod
    def decode(cls, document: bytes) -> Attestation:
        """Read what `encode` wrote."""
        found = members(parse_canonical(document, max_bytes=_MAX_BYTES), {**_TEXTS, "staff": list})
        return cls(**{name: str(found[name]) for name in _TEXTS}, staff=names(found["staff"]))


def give_recovery_code(accounts: AccountStore, attested: Attestation, now: int) -> str:
    """Make a code by which a person makes a passkey that is to take the place of all that were lost.

    Args:
        accounts: keeps it, as a hash.
        attested: who it is, and who says so.
        now: Unix seconds.

    Returns:
        The code, good once within `RECOVERY_CODE_S`.
    """
    return accounts.put_ticket(RECOVERY_CODE, attested.encode(), now + RECOVERY_CODE_S, now)


def enrol_url(origins: Sequence[str], rp_id: str, code: str, page: str = ENROL_PAGE) -> str:
    """Write the address at which a patient makes a passkey with a code.

    Args:
        origins: this node's own addresses, the first is the one that people are told.
        rp_id: the relying party, by the genesis.
        code: after a hash: a browser sends that part to nobody, and no log has it.
        page: `ENROL_PAGE`, or `RECOVER_PAGE` with a code from `give_recovery_code`.

    Returns:
        The address, where a browser makes passkeys of the relying party, if one of ours is such a place.
    """
    origin = next((one for one in origins if is_host_of(rp_id, urlsplit(one).hostname or "")), origins[0])
    return f"{origin}{page}#{code}"
