// The disclosures under one grant: that a list of them is whole, in order, and each is what the asker signed for, as
// medchain/ledger/disclosures.py and askers.py judge: docs/spec/proof-bundle.md 11.
import { accessKey, checkRequests, readAccess } from "./claim/access.js";
import { openAskers } from "./claim/members.js";
import { es384Verify } from "./crypto.js";
import { hex, malformed, members, parseCanonical, ProofError, refused, same, unhex } from "./encoding.js";
import { readBody } from "./object.js";

/**
 * Judges the disclosures of a bundle.
 * @param key map key that the proof is of, in hexadecimal.
 * @param records of the access object, version 1 first; none where it is absent.
 */
export function openDisclosures(files, key, records, mapRoot, ledger) {
  const bytes = files.get("disclosures.json");
  const top = members(parseCanonical(bytes, bytes.length), "bodies:list custodian:str grant:str type:str");
  const grant = hex(unhex(top.grant, 32));
  if (top.type !== "medchain/disclosures/v1" || !/^[\x00-\x7f]*$/.test(top.custodian)) throw malformed("disclosures.malformed");
  // Where nothing was released no record tells it: the absence must be of that very object.
  if (accessKey(grant, top.custodian) !== key) throw refused("disclosures.history");
  const bodies = top.bodies.map((row) => (row === null ? null : readBody(row)));
  checkHistory(key, records);
  if (bodies.length !== records.length) throw refused("disclosures.bodies");
  const entries = listed(grant, top.custodian, records, bodies);
  if (files.has("askers.json") !== entries.length > 0) throw malformed("bundle.files");
  if (entries.length) checkAskers(openAskers(files.get("askers.json"), mapRoot), ledger, entries);
  const destroyed = records.filter((_, at) => bodies[at] === null).map(({ version }) => version);
  return { custodian: top.custodian, destroyed, grant, listed: entries };
}

// The records are the whole chain of the object, from its first version on.
function checkHistory(key, records) {
  records.forEach((record, at) => {
    const follows = at === 0 ? record.previous === null : record.previous !== null && same(record.previous, records[at - 1].digest);
    if (!follows || hex(record.key) !== key || record.version !== at + 1) throw refused("disclosures.history");
  });
}

function listed(grant, custodian, records, bodies) {
  const [found, used] = [[], new Set()];
  records.forEach((record, at) => {
    for (const one of bodies[at] === null ? [] : rowsOf(grant, custodian, record, bodies[at])) {
      if (used.has(one.requestHash)) throw refused("disclosures.repeated");
      used.add(one.requestHash);
      found.push(one);
    }
  });
  return found;
}

// What one version lists, compared with what the asker signed.
function rowsOf(grant, custodian, record, body) {
  // One that hides a leaf could hide a second list.
  if (body.kind !== record.kind || body.hidden || !same(body.hash, record.bodyHash)) throw refused("disclosures.body");
  const entry = or("disclosures.body", () => readAccess(body), (error) => !error.isRefused);
  const [needed, stood] = [new Set([grant, ...entry.consents]), new Set(record.refs.map((ref) => hex(ref.key)))];
  if (entry.grant !== grant || needed.size !== stood.size || ![...needed].every((one) => stood.has(one))) throw refused("disclosures.grant");
  or("disclosures.request", () => checkRequests(entry, custodian), () => true);
  return entry.rows.map((row, at) => ({ ...row, position: record.since, recipient: entry.requests[at].request.recipient, signed: entry.requests[at], version: record.version }));
}

// Gives what is thrown another code.
function or(code, read, isMeant) {
  try {
    return read();
  } catch (error) {
    throw error instanceof ProofError && isMeant(error) ? refused(code) : error;
  }
}

// Each request is of this ledger, and signed by a key that its recipient listed right before the access.
function checkAskers(askers, ledger, entries) {
  for (const { position, signed: { keyId, request, signature } } of entries) {
    const key = askers.get(request.recipient)?.keyBefore(position, keyId);
    if (key === undefined || request.ledger !== ledger || !es384Verify(key, request.hash, signature)) throw refused("disclosures.signature");
  }
}
