// Objects: the state record that the map proves, and the body that only the parties see: docs/spec/state-record.md, body.md.
import { byBytes, byText, canonical, digest, HASH_BYTES, hasExactly, malformed, member, members, parseCanonical, refused, same, sha256, unhex, utf8 } from "./encoding.js";
import { fieldLeaf, fieldRoot, padLeaf } from "./fields.js";

const ID_BYTES = 16;
const MAX_RECORD_BYTES = 4096;
const RECORD = "body_hash:str creator:str id:str kind:str refs:list since:int status:str type:str version:int";
const NULLABLE = ["expires", "previous", "stop_hash"];

/** The map key of an object. */
export const mapKey = (kind, creator, id) => digest("medchain/object/v1", utf8(kind), utf8(creator), id);

/** The object id of an organisation, of `policy` or of `protocol`. */
export const organisationId = (name) => digest("medchain/organisation-id/v1", utf8(name)).subarray(0, ID_BYTES);

/** The hash of the content of a public kind. */
export const publicBodyHash = (kind, content) => digest("medchain/public-body/v1", utf8(kind), canonical(content));

function whole(value) {
  if (!Number.isSafeInteger(value) || value < 0) throw malformed("record.malformed");
  return value;
}

function ref(row) {
  if (!Array.isArray(row) || row.length !== 2) throw malformed("encoding.members");
  return { key: unhex(row[0], HASH_BYTES), version: whole(row[1]) };
}

/** Reads a state record: its members, its map key, and its digest, which is the map's value. */
export function readRecord(bytes) {
  const value = parseCanonical(bytes, MAX_RECORD_BYTES);
  if (!NULLABLE.every((name) => member(value, name) !== undefined)) throw malformed("encoding.members");
  const given = Object.fromEntries(Object.entries(value).filter(([, one]) => one !== null));
  const top = members(given, RECORD, "expires:int previous:str stop_hash:str");
  const hash = (name) => (top[name] === undefined ? null : unhex(top[name], HASH_BYTES));
  const record = {
    bodyHash: unhex(top.body_hash, HASH_BYTES),
    creator: top.creator,
    digest: sha256(bytes),
    expires: top.expires === undefined ? null : whole(top.expires),
    id: unhex(top.id, ID_BYTES),
    kind: top.kind,
    previous: hash("previous"),
    refs: top.refs.map(ref),
    since: whole(top.since),
    status: top.status,
    stopHash: hash("stop_hash"),
    version: whole(top.version),
  };
  const isAscii = /^[\x00-\x7f]*$/.test(record.kind + record.creator);
  if (top.type !== "medchain/state-record/v1" || (record.version === 1) !== (record.previous === null) || !isAscii) throw malformed("record.malformed");
  return { ...record, key: mapKey(record.kind, record.creator, record.id) };
}

/** Reads record.json against a map proof, and history.json down to the version that is proven: the newest record first. */
export function readRecords(files, proof) {
  if (proof.value === null) return [];
  const data = files.get("record.json");
  if (data === undefined) throw malformed("bundle.files");
  if (!same(sha256(data), proof.value)) throw refused("bundle.record");
  const records = [readRecord(data)];
  if (!same(records[0].key, proof.key)) throw refused("bundle.record");
  for (const row of history(files)) {
    const earlier = readRecord(canonical(row));
    const { previous } = records.at(-1);
    if (previous === null || !same(earlier.digest, previous)) throw refused("bundle.history");
    records.push(earlier);
  }
  return records;
}

function history(files) {
  const data = files.get("history.json");
  if (data === undefined) return [];
  const rows = parseCanonical(data, data.length);
  if (!Array.isArray(rows) || !rows.length) throw malformed("bundle.files");
  return rows;
}

const isSorted = (list, compare) => list.every((one, at) => at === 0 || compare(list[at - 1], one) < 0);

/** Reads a body, whole or redacted; `hash` is what the ledger holds of it. */
export function readBody(value) {
  const top = members(value, "evidence:dict fields:list hidden:list kind:str padding:list type:str");
  const fields = top.fields.map(readField);
  const [hidden, padding] = [top.hidden, top.padding].map((list) => list.map((one) => unhex(one, HASH_BYTES)));
  const count = fields.length + hidden.length + padding.length;
  const isOrdered = isSorted(fields.map(({ name }) => name), byText) && isSorted(hidden, byBytes) && isSorted(padding, byBytes);
  const evidence = readEvidence(top.evidence);
  if (top.type !== "medchain/body/v1" || ![8, 16, 32, 64].includes(count) || !isOrdered) throw malformed("body.malformed");
  const shown = fields.map((one) => fieldLeaf(one.salt, one.name, canonical(one.value)));
  const contentRoot = fieldRoot([...shown, ...padding.map(padLeaf), ...hidden]);
  return {
    content: new Map(fields.map(({ name, value: one }) => [name, one])),
    contentRoot,
    evidence: evidence.value,
    hash: digest("medchain/body/v1", contentRoot, evidence.digest),
    hidden: hidden.length,
    isFull: hidden.length === 0 && evidence.value !== undefined,
    kind: top.kind,
  };
}

function readField(row) {
  if (!Array.isArray(row) || row.length !== 3 || typeof row[0] !== "string") throw malformed("encoding.members");
  return { name: row[0], salt: unhex(row[1], HASH_BYTES), value: row[2] };
}

function readEvidence(value) {
  if (member(value, "digest") !== undefined) return { digest: unhex(members(value, "digest:str").digest, HASH_BYTES) };
  if (!hasExactly(value, "salt,value")) throw malformed("encoding.members");
  const salt = unhex(value.salt, HASH_BYTES);
  return { digest: digest("medchain/evidence/v1", salt, canonical(value.value)), value: value.value };
}

