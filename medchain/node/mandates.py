"""Mandates of the law: entered by a regulator's node, listed at each that holds one, ended by who entered it.

Keeps true: what is entered is what the kind's check lets pass, endorsed by the drawn organisation; the custodian grants
under it itself, with its own hand (`medchain.node.subjects.SubjectDesk.give_grant`); only who entered a mandate ends it
from here. Trusts whoever calls for what the paper says.
Source: `docs/spec/mandate.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from medchain.encoding import Json, members, unhex
from medchain.errors import InputError, NotFoundError
from medchain.ledger.kinds import mandate as mandates
from medchain.ledger.kinds.content import DAY_S, names, period
from medchain.ledger.kinds.mandate import Basis, Mandate
from medchain.ledger.object import build_body, in_force
from medchain.ledger.request import access_key
from medchain.ledger.transaction import HASH_BYTES, ID_BYTES
from medchain.node.ledger_node import LedgerNode
from medchain.node.submit import Draft, Submitted

_TERMS: Mapping[str, type] = {
    "basis": dict,
    "custodian": str,
    "patient": str,
    "period": dict,
    "purpose": str,
    "recipient": str,
    "resource_types": list,
}


@dataclass(frozen=True, slots=True)
class MandateDesk:
    """Enters, lists and ends mandates. Threads may share it.

    Attributes:
        org_id: this organisation.
        side: ledger, bodies and stops of its node.
        random: gives as many unpredictable bytes as it is asked for.
    """

    org_id: str
    side: LedgerNode
    random: Callable[[int], bytes]

    def operations(self) -> dict[str, Callable[[Json], Json]]:
        """Return the local operations."""
        return {"mandate.issue": self._issue, "mandate.list": self._list, "mandate.stop": self._stop}

    def issue(self, terms: Mandate) -> Submitted:
        """Enter a mandate.

        Args:
            terms: what it says; what stops it is drawn here.

        Returns:
            The object, final.

        Raises:
            InputError: ``mandate.*``, ``content.*`` for terms that no mandate has.
            VerificationError: ``mandate.*`` of the check, ``transaction.policy_missing`` where the policy knows none.
            UnavailableError: no endorser, no quorum.
        """
        content = replace(terms, stop=self.random(HASH_BYTES)).to_content()
        mandates.read(content)
        body = build_body("mandate", content, None, self.random)
        return self.side.submitter.submit(Draft("mandate", self.random(ID_BYTES), body))

    def listed(self) -> list[dict[str, Json]]:
        """Tell all mandates of which this node holds the body, without what stops them, the newest first."""
        found = [row for key in self.side.shelf.index.mandates() if (row := self._told(key)) is not None]
        return sorted(found, key=lambda row: (-int(str(row["since"])), str(row["key"])))

    def stop(self, key: bytes) -> None:
        """End a mandate that this organisation entered; it binds when this returns.

        Raises:
            NotFoundError: ``mandate.unknown`` for another's, and for what is none.
            ConflictError: ``stop.repeated``.
        """
        record = self.side.replica.store.record(key)
        if record is None or record.kind != "mandate" or record.creator != self.org_id:
            raise NotFoundError("mandate.unknown")
        self.side.stops.stop(key)

    def _told(self, key: bytes) -> dict[str, Json] | None:
        """Tell one mandate; None for one that the ledger does not have, or whose body breaks a rule."""
        record, body = self.side.replica.store.record(key), self.side.shelf.terms(key)
        if record is None or body is None:
            return None
        final, day = self.side.replica.store.final(), self.side.replica.store.head.time // DAY_S
        grants, custodian = self.side.shelf.index.of(key), str(body.content.get("custodian"))
        return {
            "content": {name: value for name, value in body.content.items() if name != "stop"},
            "creator": record.creator,
            "final": final is not None and record.since < final.size,
            "granted": bool(grants),
            "in_force": in_force(record, day) and not self.side.stops.is_stopped(key),
            "key": key.hex(),
            "releases": sum(self._releases(access_key(grant, custodian)) for grant in grants),
            "since": record.since,
        }

    def _releases(self, chain: bytes) -> int:
        """Count the entries of a chain of accesses; 0 for one that was not begun."""
        record = self.side.replica.store.record(chain)
        return 0 if record is None else record.version

    def _issue(self, document: Json) -> Json:
        """Enter one."""
        done = self.issue(read_terms(document))
        return {"endorser": done.endorser, "key": done.key.hex(), "position": done.record.since}

    def _list(self, document: Json) -> Json:
        """List them."""
        members(document, {})
        return {"mandates": [*self.listed()]}

    def _stop(self, document: Json) -> Json:
        """End one."""
        key = unhex(members(document, {"object": str})["object"], HASH_BYTES)
        self.stop(key)
        return {"object": key.hex(), "stopped": True}


def read_terms(document: Json) -> Mandate:
    """Read what a mandate is to say; raises `InputError`."""
    top = members(document, _TERMS, {"data_period": dict})
    basis = members(top["basis"], dict.fromkeys(("authority", "kind", "reference", "scope"), str))
    types: Sequence[str] = names(top["resource_types"])
    return Mandate(
        basis=Basis(**{name: str(value) for name, value in basis.items()}),
        custodian=str(top["custodian"]),
        patient=str(top["patient"]),
        recipient=str(top["recipient"]),
        purpose=str(top["purpose"]),
        resource_types=tuple(types),
        period=period(top["period"]),
        data_period=period(top["data_period"]) if "data_period" in top else None,
        stop=bytes(HASH_BYTES),
    )


def told_of(content: Mapping[str, Json]) -> Mandate | None:
    """Read a mandate that was given, None for what is none."""
    try:
        return mandates.read(content)
    except InputError:
        return None
