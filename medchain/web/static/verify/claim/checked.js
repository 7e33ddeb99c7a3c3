// Evidence for a claim, checked against a proven state: what the lines of a verdict are read from: docs/spec/claim-verdict.md 4.
// What is missing is missing here, too, and never assumed. Keys of objects and hashes stand in hexadecimal.
import { es384Verify, vrfVerify } from "../crypto.js";
import { hex, refused, same } from "../encoding.js";
import { accessKey, bodyOf, checkRequests, readAccess } from "./access.js";
import { alphaOf, claimId } from "./invoice.js";
import { readClaim } from "./reading.js";

/** Checks what is signed in evidence, and puts it beside what the bundle shows. */
export function checkEvidence(evidence, members, items, state) {
  const placed = new Map(items.map((item, number) => [hex(item.key), { item, number }]));
  const { hospital } = evidence.question;
  const needed = [evidence.insurer, ...evidence.disclosures.map((one) => one.hospital), ...(hospital === null ? [] : [hospital])];
  if (!needed.every((orgId) => members.has(orgId))) throw refused("evidence.member");
  const claim = readClaim(evidence.content);
  const given = evidence.disclosures.map((said) => readGiven(said, evidence, members, placed));
  const known = readKnown(evidence, members);
  return { claim, evidence, given, items: placed, known, members, records: given.flatMap(({ records }) => records), state };
}

function readGiven(said, evidence, members, items) {
  const isFor = said.ledger === evidence.ledger && said.claim === evidence.claim && said.insurer === evidence.insurer;
  if (!isFor) throw refused("evidence.claim");
  const access = readEntry(said, members.get(evidence.insurer), items);
  const member = members.get(said.hospital);
  const key = access === null ? member.keyEver(said.keyId) : member.keyBefore(access.record.since, said.keyId);
  if (key === undefined || !es384Verify(key, said.hash, said.signature)) throw refused("evidence.signature");
  const records = said.records.map((row) => shownRecord(said.hospital, row, items.get(row.key) ?? null));
  return {
    access,
    facts: (name) => said.facts.filter((one) => one.name === name),
    hospital: said.hospital,
    // When the hospital had the claim's digest at the latest.
    heard: Math.min(said.time, access?.placed.item.registered ?? said.time),
    member,
    of: (role) => records.filter(({ row }) => row.role === role),
    records,
    said,
    time: Math.max(said.time, access?.placed.item.registered ?? 0),
  };
}

// The access entry of a disclosure; null where the bundle does not show it.
function readEntry(said, insurer, items) {
  const placed = items.get(accessKey(said.grant, said.hospital)) ?? null;
  const record = placed?.item.proven ?? null;
  if (record === null || placed.item.shown.content === null) return null;
  const body = bodyOf(placed.item);
  const entry = readAccess(body);
  checkRequests(entry, said.hospital);
  const signed = entry.requests.find(({ request }) => hex(request.hash) === said.request);
  // A body that hides a leaf could hide another list.
  if (signed === undefined || body.hidden) throw refused("evidence.access");
  checkRequest(signed, said, insurer, record.since);
  return { consents: entry.consents, placed, purpose: signed.request.purpose, record };
}

// The insurer asked for this claim, under this grant, with a key that it had then.
function checkRequest({ keyId, request, signature }, said, insurer, position) {
  const key = insurer.keyBefore(position, keyId);
  const isFor =
    request.ledger === said.ledger &&
    request.grant === said.grant &&
    request.custodian === said.hospital &&
    request.recipient === said.insurer &&
    request.claim === said.claim;
  if (!isFor || key === undefined || !es384Verify(key, request.hash, signature)) throw refused("evidence.request");
}

function shownRecord(hospital, row, placed) {
  const { changed = null, newest: head = null, proven = null, registered = null } = placed?.item ?? {};
  return {
    changed,
    edition: proven === null ? null : (row.versions[proven.version - 1] ?? null),
    fields: head === null ? new Map() : placed.item.shown.fields,
    head,
    hospital,
    items: placed === null ? [] : [placed.number],
    name: { hospital, reference: row.reference },
    placed,
    proven,
    registered,
    row,
  };
}

// The question and its answer; null where the hospital knows no id.
function readKnown(evidence, members) {
  const { answer, hospital, signed } = evidence.question;
  if (signed === null) return null;
  const key = members.get(evidence.insurer).keyEver(signed.keyId);
  const isFor = signed.ledger === evidence.ledger && signed.insurer === evidence.insurer && signed.hospital === hospital;
  const isAsked = evidence.row !== null && signed.rows.some(({ written }) => same(written, evidence.row.written));
  if (!isFor || !isAsked || key === undefined || !es384Verify(key, signed.hash, signed.signature)) throw refused("evidence.question");
  if (answer?.answer !== "known") return null;
  checkKnown(answer, evidence.row.fields, members.get(hospital));
  return answer;
}

// An id is that of the insurer's invoice, and of no other: docs/spec/claim-question.md 12.
function checkKnown({ claimId: id, differs, invoice, key, proof }, held, hospital) {
  const own = hospital.now.invoices;
  const isOf = own !== null && own.issuers.includes(invoice.issuer);
  const isAsked = invoice.issuer === held.issuer && invoice.scope === held.scope && invoice.line === held.line;
  const isTold =
    differs.includes("date") === (held.day !== invoice.day) &&
    differs.includes("number") === (held.code !== invoice.code || held.number !== invoice.number);
  if (!isOf || !isAsked || !isTold) throw refused("claim.invoice");
  const generation = own.generations.filter(({ from }) => from <= invoice.day).at(-1);
  if (generation === undefined || !same(generation.key, key)) throw refused("claim.key");
  if (!same(claimId(vrfVerify(key, alphaOf(invoice), proof)), id)) throw refused("claim.id");
}

/** Of which member a record is that the claim names; null where it is of none that is listed. */
export function hospitalOf({ claim, given, members }, { base }) {
  if (base) {
    const address = /^https?:\/\/[^/]+/.exec(base)?.[0] ?? "";
    // One that another has taken over is of who has it now: there the record would be looked for.
    const [last] = [...members.values()].sort((one, other) => other.listedUntil(address) - one.listedUntil(address) || 0);
    return last.listedUntil(address) ? last.orgId : null;
  }
  if (claim.provider !== null) return members.has(claim.provider) ? claim.provider : null;
  return given.length === 1 ? given[0].hospital : null;
}
