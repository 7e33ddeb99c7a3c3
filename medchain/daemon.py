"""The roof over the ledger daemon: a program of `medchain.node.start` with NODE.TOML, started by the supervisor.

Brings the decision from the consent floor down to the node's parts. A roof of its own beside `medchain/app.py`, because
the daemon must not load the web framework.
Source: `docs/architecture.md`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

from consent.directive import ConsentDecision
from consent.release import ReleaseRules
from fhir_bridge.audit import JournalAudit
from fhir_bridge.audit_job import AuditDrain
from fhir_bridge.case_records import CaseRecords
from fhir_bridge.claim_case import NodeRecords
from fhir_bridge.claim_facts import FhirClaimFacts
from fhir_bridge.claim_shelf import FhirClaims
from fhir_bridge.consent_records import ConsentRecords
from fhir_bridge.disclosures import KeptDisclosures
from fhir_bridge.dispute_records import DisputeRecords
from fhir_bridge.emergency_rules import EmergencyRules
from fhir_bridge.enforcement import Enforcement
from fhir_bridge.invoice_register import FhirInvoices
from fhir_bridge.search.index import SearchIndex
from fhir_bridge.search.index_job import IndexJob
from fhir_bridge.search.judge import Judge
from fhir_bridge.search.service import SearchService
from fhir_bridge.selecting import SearchSelection
from medchain.claims.claim_node import Above, ClaimNode, claim_node
from medchain.ledger.looks import roots_key
from medchain.node.assembly import DaemonNode, DaemonParts, Ground, daemon_parts
from medchain.node.daemon import Job
from medchain.node.garbage import keep_trimmed, settle
from medchain.node.look_book import LookBook
from medchain.node.records import RecordService
from medchain.node.releasing import Releasing
from medchain.web.daemon import run


def main(arguments: list[str]) -> int:
    """Run the daemon; the argument is the path of the configuration, the answer the exit status."""
    return run(Path(arguments[0]), _parts)


def _parts(node: DaemonNode) -> DaemonParts:
    """Make the node's parts; nothing is opened after it."""
    key = node.web_keys.records
    index = SearchIndex(node.records, zone=node.config.time_zone)
    searches = SearchService(node.records, index, key, node.replica.ledger, node.clock)
    selection = SearchSelection(searches, Judge(index, node.records.find_page, node.clock))
    kept = JournalAudit(node.config.folder, key, node.clock)
    disclosures = KeptDisclosures(kept, node.config.org_id, lambda: node.replica.store.members, node.records)
    service = RecordService(node.records, node.replica.ledger, key, node.clock, index=index)
    org_id = node.config.org_id
    enforcement = Enforcement(org_id, searches, node.records, service, node.clock)
    emergencies = EmergencyRules(searches, enforcement) if node.config.emergency_release else None
    facts = FhirClaimFacts(NodeRecords(searches, node.records, service, ZoneInfo(node.config.time_zone)))
    releasing = Releasing(ReleaseRules(), selection, disclosures, emergencies, facts)
    invoices, claims = FhirInvoices(searches, node.records, service), FhirClaims(node.records, service)
    above = Above(invoices, disclosures, claims)

    def claims_on(ground: Ground) -> ClaimNode:
        return claim_node(node, ground, above)

    parts = daemon_parts(node, ConsentDecision(), releasing, claims_on)
    audit = AuditDrain(node.config.folder, key, node.records, service, node.clock, org_id)
    search = IndexJob(node.records, service, index, node.clock)
    consents = ConsentRecords(parts.consents, node.records, service, node.clock)

    def newest_root() -> int:
        record = node.replica.store.record(roots_key(org_id))
        return 0 if record is None else record.version

    looks = LookBook(org_id, node.records, service, node.clock, newest_root)
    jobs = Job("audit", audit.run), Job("search", search.run), Job("consents", consents.run), Job("looks", looks.run)
    trim = Job("trim", keep_trimmed)
    disputes = Job("dispute-records", DisputeRecords(org_id, node.records, service, node.clock).run)
    cases = Job("case-records", CaseRecords(org_id, node.records, service, node.clock).run)
    parts = replace(parts, jobs=(*parts.jobs, *jobs, disputes, cases, trim), close=(*parts.close, kept.close))
    settle()
    return parts
