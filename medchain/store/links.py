"""Which patient of this node a subject of the ledger is: the one place that joins the two.

Keeps true: a subject is one patient here, for ever; the patient is known by its keyed token only. Who reads this table
knows whose passkeys are whose: it lies in the encrypted records file and goes nowhere else.
Source: `docs/spec/store.md`.
"""

from __future__ import annotations

from sqlalchemy import insert, select

from medchain.errors import ConflictError
from medchain.store.engine import Database
from medchain.store.tables import subject_link


class LinkTable:
    """Subjects and patients."""

    def __init__(self, database: Database) -> None:
        """Use the records file."""
        self._database = database

    def link_subject(self, subject: bytes, patient: str) -> None:
        """Note whose records a subject's are; the same again changes nothing.

        Args:
            subject: map key of the subject object, 32 bytes.
            patient: keyed token.

        Raises:
            ConflictError: ``store.conflict`` if it is another patient's.
        """
        known = self.patient_of(subject)
        if known is None:
            try:
                with self._database.write("subject_link", subject.hex()) as connection:
                    connection.execute(insert(subject_link).values(subject=subject, patient=patient))
            except ConflictError:
                # Another process was faster; what it wrote decides.
                known = self.patient_of(subject)
            else:
                return
        if known != patient:
            raise ConflictError("store.conflict", table="subject_link")

    def patient_of(self, subject: bytes) -> str | None:
        """Return the keyed token of a subject's patient, None if the subject is not known here."""
        with self._database.read("subject_link", subject.hex()) as connection:
            chosen = select(subject_link.c.patient).where(subject_link.c.subject == subject)
            found: str | None = connection.execute(chosen).scalar_one_or_none()
            return found

    def subjects_of(self, patient: str) -> list[bytes]:
        """Return the map keys of a patient's subject objects, sorted."""
        with self._database.read("subject_link") as connection:
            chosen = select(subject_link.c.subject).where(subject_link.c.patient == patient)
            return sorted(connection.execute(chosen).scalars())
