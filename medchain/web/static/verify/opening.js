// What is shown of the content that a state record commits to: docs/spec/proof-bundle.md 6.
import { byText, canonical, HASH_BYTES, hex, member, members, parseCanonical, ProofError, refused, same, sha256, text, unbase64, unhex, utf8 } from "./encoding.js";
import { checkRoot, commitmentOf, largeDigest, recordFields, verifyFields, wholeDigest } from "./fields.js";
import { readBody } from "./object.js";

const MAX_BYTES = 64 << 20;
// A JSON pointer (RFC 6901), without what would break the line that it is shown in.
const POINTER = /^(?:\/(?:[^~/\x00-\x1f\x7f-\x9f]|~[01])*)+$/u;

/** Where no content is shown. */
export const NOTHING = { body: null, content: null, fields: new Map(), hidden: 0, part: null, sha256: null, size: null };

const shown = (content) => ({ ...NOTHING, content, sha256: hex(sha256(content)), size: content.length });

/** Opens a content against the body hash of its record. */
export function openContent(bytes, record) {
  const value = parseCanonical(bytes, MAX_BYTES);
  return (OPENERS.get(member(value, "type")) ?? wholeOpening)(value, record);
}

function isOf(record, whole, root) {
  if (!same(commitmentOf(whole, root), record.bodyHash)) throw refused("bundle.opening");
}

function wholeOpening(value, record) {
  const top = members(value, "content:str field_root:str salt:str type:str");
  const content = unbase64(top.content, MAX_BYTES);
  const [salt, root] = [unhex(top.salt, HASH_BYTES), unhex(top.field_root, HASH_BYTES)];
  if (top.type !== "medchain/opening/v1") throw refused("bundle.opening");
  isOf(record, wholeDigest(salt, content), root);
  checkRoot(salt, content, root);
  return shown(content);
}

function largeOpening(value, record) {
  const top = members(value, "content_sha256:str field_root:str salt:str size:int type:str");
  const contentSha256 = unhex(top.content_sha256, HASH_BYTES);
  isOf(record, largeDigest(unhex(top.salt, HASH_BYTES), top.size, contentSha256), unhex(top.field_root, HASH_BYTES));
  return { ...NOTHING, sha256: hex(contentSha256), size: top.size };
}

function partOpening(value, record) {
  const top = members(value, "content:str field_root:str name:str position:int salt:str siblings:list type:str whole:str");
  const [content, root] = [unbase64(top.content, MAX_BYTES), unhex(top.field_root, HASH_BYTES)];
  isOf(record, unhex(top.whole, HASH_BYTES), root);
  const row = { name: top.name, position: top.position, salt: unhex(top.salt, HASH_BYTES), value: content };
  verifyFields(root, [row], top.siblings.length, top.siblings.map((one) => unhex(one, HASH_BYTES)));
  return { ...shown(content), part: top.name };
}

function fieldOpening(value, record) {
  const top = members(value, "field_root:str fields:list height:int siblings:list type:str whole:str");
  const root = unhex(top.field_root, HASH_BYTES);
  isOf(record, unhex(top.whole, HASH_BYTES), root);
  const rows = top.fields.map(fieldRow);
  if (!rows.every(isField)) throw refused("bundle.opening");
  verifyFields(root, rows, top.height, top.siblings.map((one) => unhex(one, HASH_BYTES)));
  // Of two values of one name a reader would see either.
  if (!rows.every((row, at) => at === 0 || byText(rows[at - 1].name, row.name) < 0)) throw refused("bundle.opening");
  return { ...NOTHING, fields: new Map(rows.map((row) => [row.name, text(row.value)])) };
}

function fieldRow(value) {
  const row = members(value, "name:str position:int salt:str value:str");
  return { name: row.name, position: row.position, salt: unhex(row.salt, HASH_BYTES), value: utf8(row.value) };
}

// Whether something is one field of a record; who registers may commit to any text under any name.
function isField(row) {
  if (!POINTER.test(row.name)) return false;
  try {
    const found = recordFields(utf8(`{"a":${text(row.value)}}`));
    return found.length === 1 && found[0][0] === "/a" && same(found[0][1], row.value);
  } catch (error) {
    if (error instanceof ProofError) return false;
    throw error;
  }
}

function bodyOpening(value, record) {
  const top = members(value, "body:dict type:str");
  const body = readBody(top.body);
  if (body.kind !== record.kind) throw refused("bundle.opening");
  if (!same(body.hash, record.bodyHash)) throw refused("body.hash");
  return { ...shown(canonical(top.body)), body, hidden: body.hidden };
}

// A map: of an object of JavaScript's, names that it has itself would be found as well.
const OPENERS = new Map([
  ["medchain/body-opening/v1", bodyOpening],
  ["medchain/field-opening/v1", fieldOpening],
  ["medchain/large-opening/v1", largeOpening],
  ["medchain/part-opening/v1", partOpening],
]);
