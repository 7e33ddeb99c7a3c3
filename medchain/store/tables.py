"""The tables of both files, as SQLAlchemy Core sees them; `docs/spec/store.md` says who writes each.

Keeps true: what is authoritative is append-only (leaves, state records, blocks, record versions); what can be computed
again from it (heads, map pages) is marked so and may lag behind. Trusts that migrations made the tables; what
PostgreSQL needs to be told of them stands there alone: to name it here has each process load its dialect.
Source: `docs/spec/store.md`.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

LEDGER: Final = MetaData()
"""Tables of the ledger file."""

RECORDS: Final = MetaData()
"""Tables of the records file."""


_ROW_NUMBER: Final = BigInteger().with_variant(Integer, "sqlite")
"""Type of a primary key that counts; SQLite stores the rows in its order only if it is called INTEGER."""


def _mark(metadata: MetaData) -> Table:
    """Make the table of one row that counts write transactions, so that a lost one is noticed."""
    return Table(
        "commit_mark",
        metadata,
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("value", BigInteger, nullable=False),
    )


ledger_mark: Final = _mark(LEDGER)
records_mark: Final = _mark(RECORDS)

leaf: Final = Table(
    "leaf",
    LEDGER,
    Column("position", _ROW_NUMBER, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),
)

tile: Final = Table(
    "tile",
    LEDGER,
    Column("level", Integer, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
    PrimaryKeyConstraint("level", "number"),
)

edge: Final = Table(
    "edge",
    LEDGER,
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

block: Final = Table(
    "block",
    LEDGER,
    Column("height", _ROW_NUMBER, primary_key=True, autoincrement=False),
    Column("time", BigInteger, nullable=False),
    Column("first", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("last_record", BigInteger, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("map_root", LargeBinary, nullable=False),
    Column("frontier", LargeBinary, nullable=False),
    Column("ids", LargeBinary, nullable=False),
    Column("checkpoint", Text, nullable=False),
)

dropped_block: Final = Table(
    "dropped_block",
    LEDGER,
    Column("height", _ROW_NUMBER, primary_key=True, autoincrement=False),
    Column("time", BigInteger, nullable=False),
    Column("leaves", LargeBinary, nullable=False),
    Column("checkpoint", Text, nullable=False),
)

state_record: Final = Table(
    "state_record",
    LEDGER,
    Column("seq", _ROW_NUMBER, primary_key=True, autoincrement=False),
    Column("previous", BigInteger, nullable=True),
    Column("key", LargeBinary, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

members: Final = Table(
    "members",
    LEDGER,
    Column("height", _ROW_NUMBER, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),
)

draw: Final = Table(
    "draw",
    LEDGER,
    Column("creator", String(40), nullable=False),
    Column("height", BigInteger, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("used", BigInteger, nullable=False),
    Column("given_up", BigInteger, nullable=False),
    PrimaryKeyConstraint("creator", "height"),
)

head: Final = Table(
    "head",
    LEDGER,
    Column("key", LargeBinary, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

map_page: Final = Table(
    "map_page",
    LEDGER,
    Column("key", LargeBinary, primary_key=True),
    Column("data", LargeBinary, nullable=False),
)

map_base: Final = Table(
    "map_base",
    LEDGER,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("height", BigInteger, nullable=False),
    Column("last_record", BigInteger, nullable=False),
    Column("root", LargeBinary, nullable=False),
)

checkpoint: Final = Table(
    "checkpoint",
    LEDGER,
    Column("size", _ROW_NUMBER, primary_key=True, autoincrement=False),
    Column("time", BigInteger, nullable=False),
    Column("final", Integer, nullable=False),
    Column("pinned", Integer, nullable=False),
    Column("note", Text, nullable=False),
)

# Nothing writes it any more: what was cosigned lies in a file of its own (`medchain.node.ledger_driver`).
vouched: Final = Table(
    "vouched",
    LEDGER,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),
)

body: Final = Table(
    "body",
    LEDGER,
    Column("key", LargeBinary, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
    PrimaryKeyConstraint("key", "version"),
)

destroyed_body: Final = Table(
    "destroyed_body",
    LEDGER,
    Column("key", LargeBinary, primary_key=True),
    Column("version", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

epoch: Final = Table(
    "epoch",
    RECORDS,
    Column("id", LargeBinary, primary_key=True),
    Column("patient", String(128), nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("destroyed", BigInteger, nullable=True),
    Column("wrapped_key", LargeBinary, nullable=True),
    UniqueConstraint("patient", "number", name="epoch_patient_number"),
)

record: Final = Table(
    "record",
    RECORDS,
    Column("seq", _ROW_NUMBER, primary_key=True, autoincrement=True),
    Column("type", String(64), nullable=False),
    Column("id", String(64), nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("object_id", LargeBinary, nullable=False),
    Column("patient", String(128), nullable=False),
    Column("epoch_id", LargeBinary, ForeignKey("epoch.id"), nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("commitment", LargeBinary, nullable=False),
    Column("wrapped_dek", LargeBinary, nullable=False),
    Column("envelope", LargeBinary, nullable=False),
    Column("content_type", String(100), nullable=False, server_default="application/fhir+json"),
    Column("head", LargeBinary, nullable=True),
    Column("blob", LargeBinary, nullable=True),
    Column("blob_size", BigInteger, nullable=True),
    Column("field_root", LargeBinary, nullable=True),
    Column("segment", BigInteger, nullable=True),
    UniqueConstraint("type", "id", "version", name="record_type_id_version"),
)

record_by_patient: Final = Index("record_by_patient", record.c.patient, record.c.type, record.c.created)
record_by_type: Final = Index("record_by_type", record.c.type, record.c.created, record.c.seq)
record_by_object: Final = Index("record_by_object", record.c.object_id, record.c.version)
record_by_blob: Final = Index(
    "record_by_blob",
    record.c.blob,
    unique=True,
    sqlite_where=record.c.blob.is_not(None),
)

segment: Final = Table(
    "segment",
    RECORDS,
    Column("record", _ROW_NUMBER, ForeignKey("record.seq"), primary_key=True, autoincrement=False),
    Column("parts", Integer, nullable=False),
)
"""Segments whose parts have no rows yet, and how many parts they have."""

resource: Final = Table(
    "resource",
    RECORDS,
    Column("number", _ROW_NUMBER, primary_key=True, autoincrement=False),
    Column("type", String(64), nullable=False),
    Column("id", String(64), nullable=False),
    Column("updated", BigInteger, nullable=False),
    Column("replaced", BigInteger, nullable=False),
)
"""What is found: a version of a record, by the number of its row, and the number of the version that replaced it."""

resource_by_id: Final = Index("resource_by_id", resource.c.type, resource.c.id, resource.c.number)
resource_by_type: Final = Index("resource_by_type", resource.c.type, resource.c.number)
resource_replaced: Final = Index(
    "resource_replaced",
    resource.c.replaced,
    sqlite_where=resource.c.replaced < text("140737488355327"),
)

parameter: Final = Table(
    "parameter",
    RECORDS,
    Column("number", _ROW_NUMBER, primary_key=True, autoincrement=False),
    Column("type", String(64), nullable=False),
    Column("code", String(64), nullable=False),
    UniqueConstraint("type", "code", name="parameter_type_code"),
)

detail: Final = Table(
    "detail",
    RECORDS,
    Column("number", _ROW_NUMBER, primary_key=True, autoincrement=True),
    Column("text", Text, nullable=False, unique=True),
)

entry: Final = Table(
    "entry",
    RECORDS,
    Column("resource", BigInteger, nullable=False),
    Column("number", Integer, nullable=False),
    Column("place", Integer, nullable=False),
    Column("key", Text, nullable=False),
    Column("detail", Integer, nullable=False),
    Column("low", Double, nullable=False),
    Column("high", Double, nullable=False),
    PrimaryKeyConstraint("resource", "number", "place", "key", "detail", "low", "high"),
    sqlite_with_rowid=False,
)
"""What it is found by. Where the specification has no low and high they are 0; detail is a number of that table."""

entry_by_key: Final = Index("entry_by_key", entry.c.number, entry.c.key, entry.c.low, entry.c.resource)

unindexed: Final = Table(
    "unindexed",
    RECORDS,
    Column("number", _ROW_NUMBER, primary_key=True, autoincrement=False),
)
"""Versions that have no rows yet and are to get them."""

unmerged: Final = Table(
    "unmerged",
    RECORDS,
    Column("number", _ROW_NUMBER, primary_key=True, autoincrement=False),
    Column("rows", LargeBinary, nullable=False),
)
"""What versions are found by that is not in `resource` and `entry` yet; empty for what is found by nothing."""

index_state: Final = Table(
    "index_state",
    RECORDS,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("generation", BigInteger, nullable=False),
    Column("format", BigInteger, nullable=False),
    Column("zone", Text, nullable=False, server_default="UTC"),
)
"""One row: which rows the index has, counted with each change of it, and the zone of dates without one."""

custom_parameter: Final = Table(
    "custom_parameter",
    RECORDS,
    Column("url", Text, primary_key=True),
    Column("definition", Text, nullable=False),
    Column("active", Integer, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("target", BigInteger, nullable=False),
)
"""Search parameters of the node's own, and how far older versions have their rows."""

imported: Final = Table(
    "imported",
    RECORDS,
    Column("unit", String(128), primary_key=True),
    Column("time", BigInteger, nullable=False),
    Column("refused", LargeBinary, nullable=True),
    sqlite_with_rowid=False,
)
"""Units of imports that are done; `refused` tells again what was not stored of one, null for nothing."""

anchor: Final = Table(
    "anchor",
    RECORDS,
    Column("record", _ROW_NUMBER, ForeignKey("record.seq"), primary_key=True, autoincrement=False),
    Column("position", BigInteger, nullable=False),
)

outbox: Final = Table(
    "outbox",
    RECORDS,
    Column("id", _ROW_NUMBER, primary_key=True, autoincrement=True),
    Column("kind", String(32), nullable=False),
    Column("record", BigInteger, ForeignKey("record.seq"), nullable=True),
    Column("payload", LargeBinary, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("deadline", BigInteger, nullable=True),
    # Without it SQLite gives the number of a row that was just removed to the next one.
    sqlite_autoincrement=True,
)

outbox_by_kind: Final = Index("outbox_by_kind", outbox.c.kind, outbox.c.id)

used_token: Final = Table(
    "used_token",
    RECORDS,
    Column("jti", LargeBinary, primary_key=True),
    Column("until", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

used_token_by_until: Final = Index("used_token_by_until", used_token.c.until)

access: Final = Table(
    "access",
    RECORDS,
    Column("seq", _ROW_NUMBER, primary_key=True, autoincrement=True),
    Column("object_id", LargeBinary, nullable=False, unique=True),
    Column("patient", String(128), nullable=False),
    Column("direction", String(16), nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=True),
    Column("detail", LargeBinary, nullable=False),
)

access_by_patient: Final = Index("access_by_patient", access.c.patient, access.c.time)
access_in_emergency: Final = Index(
    "access_in_emergency",
    access.c.time,
    sqlite_where=access.c.direction == text("'emergency'"),
)

erasure: Final = Table(
    "erasure",
    RECORDS,
    Column("epoch_id", LargeBinary, primary_key=True),
    Column("time", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=True),
)

patient_erasure: Final = Table(
    "patient_erasure",
    RECORDS,
    Column("id", LargeBinary, primary_key=True),
    Column("intent", LargeBinary, nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("settled", BigInteger, nullable=True),
)

body_request: Final = Table(
    "body_request",
    RECORDS,
    Column("org_id", String(40), primary_key=True),
    Column("object", LargeBinary, primary_key=True),
    Column("erasure", LargeBinary, nullable=False),
)

missing_body: Final = Table(
    "missing_body",
    RECORDS,
    Column("custodian", String(40), primary_key=True),
    Column("object", LargeBinary, primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("since", BigInteger, nullable=False),
    Column("answer", String(64), nullable=False),
    Column("silent", Integer, nullable=False),
)

subject_link: Final = Table(
    "subject_link",
    RECORDS,
    Column("subject", LargeBinary, primary_key=True),
    Column("patient", String(128), nullable=False),
    sqlite_with_rowid=False,
)

subject_link_by_patient: Final = Index("subject_link_by_patient", subject_link.c.patient)

consent_ask: Final = Table(
    "consent_ask",
    RECORDS,
    Column("id", LargeBinary, primary_key=True),
    Column("asker", String(40), nullable=False),
    Column("patient", String(128), nullable=False),
    Column("document", LargeBinary, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("answer", String(16), nullable=True),
    Column("answered", BigInteger, nullable=True),
    Column("answered_by", String(64), nullable=True),
    sqlite_with_rowid=False,
)

consent_ask_by_patient: Final = Index("consent_ask_by_patient", consent_ask.c.patient, consent_ask.c.until)
consent_ask_by_asker: Final = Index("consent_ask_by_asker", consent_ask.c.asker, consent_ask.c.until)

sent_ask: Final = Table(
    "sent_ask",
    RECORDS,
    Column("id", LargeBinary, primary_key=True),
    Column("custodian", String(40), nullable=False),
    Column("patient", String(128), nullable=False),
    Column("document", LargeBinary, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

sent_ask_by_until: Final = Index("sent_ask_by_until", sent_ask.c.until)

claim_dispute: Final = Table(
    "claim_dispute",
    RECORDS,
    Column("dispute", LargeBinary, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("peer", String(40), nullable=False),
    Column("claim", LargeBinary, nullable=False),
    Column("patient", String(128), nullable=False),
    Column("document", LargeBinary, nullable=False),
    Column("author", String(128), nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("heard", BigInteger, nullable=True),
    Column("is_recorded", Integer, nullable=False),
    Column("refusal", String(64), nullable=False, server_default=""),
    Column("refused", BigInteger, nullable=True),
    Column("refused_last", BigInteger, nullable=True),
    sqlite_with_rowid=False,
)

claim_dispute_by_peer: Final = Index(
    "claim_dispute_by_peer", claim_dispute.c.peer, claim_dispute.c.number, claim_dispute.c.created
)
claim_dispute_by_heard: Final = Index("claim_dispute_by_heard", claim_dispute.c.heard)
claim_dispute_by_recorded: Final = Index("claim_dispute_by_recorded", claim_dispute.c.is_recorded)
claim_dispute_by_claim: Final = Index("claim_dispute_by_claim", claim_dispute.c.claim)
claim_dispute_by_patient: Final = Index("claim_dispute_by_patient", claim_dispute.c.patient)
claim_case: Final = Table(
    "claim_case",
    RECORDS,
    Column("id", LargeBinary, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("claim", String(100), nullable=False),
    Column("patient", String(128), nullable=False),
    Column("number", String(200), nullable=False),
    Column("hospital", String(40), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("amount", BigInteger, nullable=True),
    Column("status", String(16), nullable=False),
    Column("colour", String(8), nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("judged", BigInteger, nullable=True),
    Column("document", LargeBinary, nullable=False),
    Column("verdict", LargeBinary, nullable=False),
    Column("bundle", LargeBinary, nullable=False),
)

unrecorded_case: Final = Table(
    "unrecorded_case",
    RECORDS,
    Column("id", LargeBinary, primary_key=True),
    Column("changes", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

claim_case_by_digest: Final = Index("claim_case_by_digest", claim_case.c.digest, unique=True)
claim_case_by_created: Final = Index("claim_case_by_created", claim_case.c.created)
claim_case_by_patient: Final = Index("claim_case_by_patient", claim_case.c.patient)

received_proof: Final = Table(
    "received_proof",
    RECORDS,
    Column("id", LargeBinary, primary_key=True),
    Column("author", String(128), nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("answer", String(16), nullable=False),
    Column("colour", String(8), nullable=False),
    Column("failed", String(64), nullable=False),
    Column("bundle", LargeBinary, nullable=False),
    Column("claim", LargeBinary, nullable=True),
    sqlite_with_rowid=False,
)

received_proof_by_created: Final = Index("received_proof_by_created", received_proof.c.created)

told_concern: Final = Table(
    "told_concern",
    RECORDS,
    Column("custodian", String(40), primary_key=True),
    Column("id", LargeBinary, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("due", BigInteger, nullable=True),
    Column("heard", BigInteger, nullable=False),
    Column("document", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

told_concern_by_due: Final = Index("told_concern_by_due", told_concern.c.due)

notice: Final = Table(
    "notice",
    RECORDS,
    Column("id", LargeBinary, primary_key=True),
    Column("subject", LargeBinary, nullable=False),
    Column("patient", String(128), nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("sent", BigInteger, nullable=True),
    Column("acknowledged", BigInteger, nullable=True),
    sqlite_with_rowid=False,
)

notice_by_subject: Final = Index("notice_by_subject", notice.c.subject, notice.c.time)
notice_by_patient: Final = Index("notice_by_patient", notice.c.patient, notice.c.time)

dispatch: Final = Table(
    "dispatch",
    RECORDS,
    Column("notice", LargeBinary, primary_key=True),
    Column("place", LargeBinary, primary_key=True),
    Column("channel", String(8), nullable=False),
    Column("urgent", Integer, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("due", BigInteger, nullable=True),
    Column("sent", BigInteger, nullable=True),
    Column("code", String(40), nullable=False),
    sqlite_with_rowid=False,
)

dispatch_by_due: Final = Index("dispatch_by_due", dispatch.c.channel, dispatch.c.due)
dispatch_by_place: Final = Index("dispatch_by_place", dispatch.c.place, dispatch.c.sent)

notice_choice: Final = Table(
    "notice_choice",
    RECORDS,
    Column("subject", LargeBinary, primary_key=True),
    Column("topic", String(16), primary_key=True),
    sqlite_with_rowid=False,
)

retention: Final = Table(
    "retention",
    RECORDS,
    Column("patient", String(128), primary_key=True),
    Column("until", BigInteger, nullable=True),
    Column("reason", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
)

heard_stop: Final = Table(
    "heard_stop",
    RECORDS,
    Column("object", LargeBinary, primary_key=True),
    Column("intent", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

unaccepted: Final = Table(
    "unaccepted",
    RECORDS,
    Column("key", LargeBinary, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("member", String(40), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("due", BigInteger, nullable=False),
    PrimaryKeyConstraint("key", "version"),
)

unaccepted_by_member: Final = Index("unaccepted_by_member", unaccepted.c.member, unaccepted.c.due, unaccepted.c.size)
unaccepted_by_due: Final = Index("unaccepted_by_due", unaccepted.c.due)

refusal: Final = Table(
    "refusal",
    RECORDS,
    Column("day", BigInteger, nullable=False),
    Column("requester", String(40), nullable=False),
    Column("reason", String(64), nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("first", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    PrimaryKeyConstraint("day", "requester", "reason"),
)

alarm: Final = Table(
    "alarm",
    RECORDS,
    Column("id", _ROW_NUMBER, primary_key=True, autoincrement=True),
    Column("code", String(64), nullable=False),
    Column("subject", String(128), nullable=False),
    Column("height", BigInteger, nullable=False),
    Column("fields", LargeBinary, nullable=False),
    Column("first", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("acknowledged", BigInteger, nullable=True),
    Column("note", Text, nullable=False),
)

alarm_open: Final = Index("alarm_open", alarm.c.acknowledged, alarm.c.id)

draw_span: Final = Table(
    "draw_span",
    RECORDS,
    Column("creator", String(40), nullable=False),
    Column("span", BigInteger, nullable=False),
    Column("draws", BigInteger, nullable=False),
    Column("passed", BigInteger, nullable=False),
    PrimaryKeyConstraint("creator", "span"),
)

endorsed: Final = Table(
    "endorsed",
    RECORDS,
    Column("day", BigInteger, nullable=False),
    Column("endorser", String(40), nullable=False),
    Column("creator", String(40), nullable=False),
    Column("kind", String(64), nullable=False),
    Column("count", BigInteger, nullable=False),
    PrimaryKeyConstraint("day", "endorser", "creator", "kind"),
)

watched: Final = Table(
    "watched",
    RECORDS,
    Column("name", String(32), primary_key=True),
    Column("height", BigInteger, nullable=False),
)

proposal: Final = Table(
    "proposal",
    RECORDS,
    Column("id", LargeBinary, primary_key=True),
    Column("creator", String(40), nullable=False),
    Column("envelope", LargeBinary, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("received", BigInteger, nullable=False),
    Column("closed", BigInteger, nullable=True),
    Column("signed", BigInteger, nullable=True),
    Column("leaf", LargeBinary, nullable=True),
)

proposal_by_creator: Final = Index("proposal_by_creator", proposal.c.creator, proposal.c.received)

proposal_decision: Final = Table(
    "proposal_decision",
    RECORDS,
    Column("proposal", LargeBinary, nullable=False),
    Column("org_id", String(40), nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("envelope", LargeBinary, nullable=False),
    PrimaryKeyConstraint("proposal", "org_id"),
)

promised_version: Final = Table(
    "promised_version",
    RECORDS,
    Column("key", LargeBinary, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("proposal", LargeBinary, nullable=False),
    Column("until", BigInteger, nullable=False),
    PrimaryKeyConstraint("key", "version"),
)

export_job: Final = Table(
    "export_job",
    RECORDS,
    Column("id", String(32), primary_key=True),
    Column("owner", String(64), nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("request", LargeBinary, nullable=False),
    Column("snapshot", BigInteger, nullable=False),
    Column("step", Integer, nullable=False),
    Column("after", BigInteger, nullable=False),
    Column("files", Integer, nullable=False),
)

export_job_by_owner: Final = Index("export_job_by_owner", export_job.c.owner, export_job.c.created)

export_file: Final = Table(
    "export_file",
    RECORDS,
    Column("job", String(32), nullable=False),
    Column("number", Integer, nullable=False),
    Column("type", String(64), nullable=False),
    Column("size", Integer, nullable=False),
    Column("content", LargeBinary, nullable=False),
    PrimaryKeyConstraint("job", "number"),
)
"""Numbers of the record versions of one file of an export, sealed: what they hold is opened when it is fetched."""

look_waiting: Final = Table(
    "look_waiting",
    RECORDS,
    Column("seq", _ROW_NUMBER, primary_key=True, autoincrement=True),
    Column("looks", LargeBinary, nullable=False),
    # Without it SQLite gives the number of a row that was just removed to the next one.
    sqlite_autoincrement=True,
)
"""Looks that are not entered yet, by the batch of frames that told of them."""

look_chain: Final = Table(
    "look_chain",
    RECORDS,
    Column("patient", String(128), primary_key=True),
    Column("reference", String(128), nullable=False),
    Column("secret", LargeBinary, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("value", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

look_entry: Final = Table(
    "look_entry",
    RECORDS,
    Column("patient", String(128), nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),
    PrimaryKeyConstraint("patient", "number"),
    sqlite_with_rowid=False,
)

look_page: Final = Table(
    "look_page",
    RECORDS,
    Column("key", LargeBinary, primary_key=True),
    Column("data", LargeBinary, nullable=False),
)

look_state: Final = Table(
    "look_state",
    RECORDS,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("root", LargeBinary, nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("access", BigInteger, nullable=False),
    Column("lost", Text, nullable=False),
)
