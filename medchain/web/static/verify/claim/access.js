// An access entry with the signed requests that bear it: medchain/ledger/kinds/access.py, docs/spec/release.md.
import { areExactly, byBytes, byText, canonical, digest, hasExactly, hex, malformed, member, members, parseCanonical, refused, unbase64, unhex, utf8 } from "../encoding.js";
import { mapKey, readBody } from "../object.js";
import { count, lengthOf, period, shortText } from "./content.js";
import { isAscending } from "./disclosure.js";

const MAX_ACCESSES = 1000;
const MAX_LIST = 256;
const MAX_COUNT = 1000;
const MAX_QUERY = 4096;
const MAX_BODY_BYTES = 1 << 20;
const AHEAD_S = 60;
const DELAY_S = 180;
const COMMON = "after:int custodian:str encryption_key:str grant:str ledger:str nonce:str purpose:str recipient:str resource_types:list time:int type:str";

/** The body that an item shows; null where it shows none. */
export function bodyOf({ shown }) {
  if (shown.content === null || shown.body !== null) return shown.body;
  return readBody(parseCanonical(shown.content, MAX_BODY_BYTES));
}

/** The map key of the accesses under a grant, in hexadecimal. */
export function accessKey(grant, custodian) {
  const id = digest("medchain/access-id/v1", unhex(grant, 32), utf8(custodian)).subarray(0, 16);
  return hex(mapKey("access", custodian, id));
}

/** Reads an access entry's content, and the requests in its evidence. */
export const readAccess = (body) => ({ ...readContent(body.content), requests: readRequests(body.evidence) });

/** Checks that each access is what one request asked for; signatures are not looked at. */
export function checkRequests(entry, custodian) {
  const { requests } = entry;
  if (new Set(entry.rows.map(({ requestHash }) => requestHash)).size !== entry.rows.length) throw refused("access.repeated");
  if (requests.length !== entry.rows.length) throw refused("access.request");
  entry.rows.forEach((row, at) => {
    const { request } = requests[at];
    const isBorne =
      hex(request.hash) === row.requestHash &&
      request.grant === entry.grant &&
      request.custodian === custodian &&
      request.purpose === row.purpose &&
      request.recipient === requests[0].request.recipient;
    const late = row.time - request.time;
    if (!isBorne || late < -AHEAD_S || late > DELAY_S) throw refused("access.request");
  });
}

function readContent(content) {
  if (!areExactly([...content.keys()], "accesses,consents,grant")) throw malformed("content.fields");
  const [rows, consents] = [content.get("accesses"), content.get("consents")];
  if (!Array.isArray(rows) || rows.length < 1 || rows.length > MAX_ACCESSES || !Array.isArray(consents)) throw malformed("access.rows");
  const keys = consents.map((key) => unhex(key, 32));
  if (!keys.length || !isAscending(keys, byBytes)) throw malformed("access.rows");
  return { consents: keys.map(hex), grant: hex(unhex(content.get("grant"), 32)), rows: rows.map(readRow) };
}

function readRow(value) {
  const row = members(value, "commitments_root:str count:int purpose:str request_hash:str time:int wraps_hash:str");
  const requestHash = hex(unhex(row.request_hash, 32));
  unhex(row.commitments_root, 32);
  unhex(row.wraps_hash, 32);
  return { count: count(row.count), purpose: shortText(row.purpose), requestHash, time: count(row.time) };
}

function readRequests(evidence) {
  const rows = hasExactly(evidence, "requests") ? evidence.requests : null;
  if (!Array.isArray(rows)) throw malformed("access.requests");
  return rows.map(readSigned);
}

function readSigned(value) {
  const top = members(value, "key_id:str request:dict signature:str type:str");
  const signature = unbase64(top.signature);
  if (top.type !== "medchain/signed-release-request/v1" || signature.length !== 96) throw malformed("release.malformed");
  return { keyId: hex(unhex(top.key_id, 16)), request: readRequest(top.request), signature };
}

function natural(value) {
  if (!Number.isSafeInteger(value) || value < 0) throw malformed("release.malformed");
  return value;
}

function readRequest(value) {
  const span = member(value, "period");
  if (span === undefined) throw malformed("encoding.members");
  const { period: _, ...rest } = value;
  const top = members(rest, COMMON, "claim:dict count:int query:str");
  if (top.type !== "medchain/release-request/v1") throw malformed("release.malformed");
  const types = readTypes(top.resource_types);
  const request = {
    custodian: top.custodian,
    grant: hex(unhex(top.grant, 32)),
    hash: digest("medchain/release-request/v1", canonical(value)),
    ledger: hex(unhex(top.ledger, 32)),
    purpose: shortText(top.purpose),
    recipient: top.recipient,
    time: natural(top.time),
  };
  [top.custodian, top.recipient].forEach(shortText);
  const after = natural(top.after);
  [top.encryption_key, top.nonce].forEach((one) => unhex(one, 16));
  if (top.query !== undefined && !isQuery(top.query, types)) throw malformed("release.malformed");
  if (top.count !== undefined && !(natural(top.count) > 0 && top.count <= MAX_COUNT)) throw malformed("release.malformed");
  if (span !== null) period(span);
  const claim = top.claim === undefined ? null : readCited(top.claim);
  // What is asked for a claim stands in the citation, and there alone.
  const isNarrowed = span !== null || top.query !== undefined || top.count !== undefined || after !== 0 || types.includes("*");
  if (claim !== null && isNarrowed) throw malformed("release.malformed");
  return { ...request, claim };
}

function readTypes(value) {
  if (value.length < 1 || value.length > MAX_LIST) throw malformed("content.names");
  value.forEach(shortText);
  if (!isAscending(value, byText)) throw malformed("content.names");
  if (value.includes("*") && value.length > 1) throw malformed("release.malformed");
  return value;
}

const isQuery = (query, types) => query !== "" && lengthOf(query) <= MAX_QUERY && /^[\x00-\x7f]*$/.test(query) && types.length === 1 && types[0] !== "*";

function readCited(value) {
  const top = members(value, "citation:str digest:str");
  unhex(top.citation, 32);
  return hex(unhex(top.digest, 32));
}
