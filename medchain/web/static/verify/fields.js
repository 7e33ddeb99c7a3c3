// Trees over salted fields, of records and of bodies: docs/spec/record-envelope.md 8, docs/spec/body.md.
import { shake256 } from "@noble/hashes/sha3.js";

import { byBytes, digest, HASH_BYTES, joined, malformed, ProofError, refused, same, sha256, uint64, utf8 } from "./encoding.js";
import { readJson, Written } from "./json.js";

const MAX_PROOF_DEPTH = 32;
const MAX_RECORD_DEPTH = 64;
const MAX_POINTERS = 256 << 20;
const MAX_SMALL_BYTES = 1 << 20;
const NO_FIELDS = new Uint8Array(HASH_BYTES);

export const fieldLeaf = (salt, name, value) => digest("medchain/field/v1", salt, utf8(name), value);
export const padLeaf = (salt) => digest("medchain/field-pad/v1", salt);
const fieldNode = (left, right) => digest("medchain/field-node/v1", left, right);

/** The root over leaves, in any order; throws fields.leaves. */
export function fieldRoot(leaves) {
  let level = [...leaves].sort(byBytes);
  const isTree = level.length > 0 && Number.isInteger(Math.log2(level.length)) && level.every((one, at) => at === 0 || !same(one, level[at - 1]));
  if (!isTree) throw malformed("fields.leaves");
  while (level.length > 1) {
    const pairs = level.filter((_, at) => at % 2 === 0);
    level = pairs.map((left, at) => fieldNode(left, level[2 * at + 1]));
  }
  return level[0];
}

/** Checks that some fields are under a root: rows of name, salt, value (bytes), position. Throws fields.proof. */
export function verifyFields(root, rows, height, siblings) {
  const error = refused("fields.proof");
  if (!(height >= 0 && height <= MAX_PROOF_DEPTH)) throw error;
  let known = new Map(rows.map((row) => [row.position, fieldLeaf(row.salt, row.name, row.value)]));
  const isPlace = (place) => Number.isSafeInteger(place) && place >= 0 && place < 2 ** height;
  if (known.size !== rows.length || ![...known.keys()].every(isPlace)) throw error;
  const left = [...siblings];
  for (let level = 0; level < height; level += 1) known = above(known, left, error);
  // One node is left, and no sibling: else some of what is shown was not needed, and so not proven.
  if (left.length || !same(joined(...known.values()), root)) throw error;
}

function above(known, siblings, error) {
  const found = new Map();
  for (const place of [...known.keys()].sort((one, other) => one - other)) {
    const up = Math.floor(place / 2);
    if (found.has(up)) continue;
    const isRight = place % 2 === 1;
    const other = known.get(isRight ? place - 1 : place + 1) ?? siblings.shift();
    if (other === undefined) throw error;
    found.set(up, isRight ? fieldNode(other, known.get(place)) : fieldNode(known.get(place), other));
  }
  return found;
}

/** Takes a FHIR JSON record apart: JSON pointer and JSON text of each primitive, in document order. */
export function recordFields(content, max = MAX_POINTERS) {
  const document = readJson(content);
  const found = [];
  let left = max;
  const collect = (value, path, depth) => {
    const isMap = value instanceof Map;
    const size = isMap ? value.size : value.length;
    // Counted as the node counts: in characters of Python's, of which one outside the basic plane is one.
    left -= [...path].length * size;
    if ((depth === 1 && size) || left < 0) throw malformed("fields.not_json");
    for (const [name, item] of value.entries()) {
      const here = `${path}/${isMap ? name.replaceAll("~", "~0").replaceAll("/", "~1") : name}`;
      if (item instanceof Map || Array.isArray(item)) collect(item, here, depth - 1);
      else found.push([here, utf8(item instanceof Written ? item.digits : JSON.stringify(item))]);
    }
  };
  collect(document instanceof Map ? document : new Map(), "", MAX_RECORD_DEPTH);
  if (!found.length) throw malformed("fields.none");
  return found;
}

// The field root of a record under its salt, which is drawn out to those of its fields and to its padding.
function recordFieldRoot(salt, content) {
  const fields = recordFields(content);
  const count = fields.length === 1 ? 1 : 2 ** Math.ceil(Math.log2(fields.length));
  const head = utf8("medchain/record-field-salts/v1");
  const salts = shake256(joined(uint64(head.length), head, uint64(HASH_BYTES), salt), { dkLen: HASH_BYTES * count });
  const of = (at) => salts.subarray(HASH_BYTES * at, HASH_BYTES * (at + 1));
  const leaves = Array.from({ length: count }, (_, at) => (at < fields.length ? fieldLeaf(of(at), ...fields[at]) : of(at)));
  return fieldRoot(leaves);
}

export const commitmentOf = (whole, root) => digest("medchain/record-commitment/v1", whole, root);

/** The digest of a content of more than 1 MiB by its size and SHA-256. */
export function largeDigest(salt, size, contentSha256) {
  if (!(Number.isSafeInteger(size) && size > MAX_SMALL_BYTES)) throw malformed("commitment.large");
  return digest("medchain/record-large/v1", salt, uint64(size), contentSha256);
}

/** The digest of a whole content under its salt. */
export function wholeDigest(salt, content) {
  if (content.length > MAX_SMALL_BYTES) return largeDigest(salt, content.length, sha256(content));
  return digest("medchain/record-whole/v1", salt, content);
}

/** Checks that a content's field root is its own, or that of one whose fields are never shown. */
export function checkRoot(salt, content, root) {
  if (same(root, NO_FIELDS)) return;
  let own = NO_FIELDS;
  try {
    own = recordFieldRoot(salt, content);
  } catch (error) {
    // A content that has no fields has no root of them.
    if (!(error instanceof ProofError)) throw error;
  }
  if (!same(own, root)) throw refused("bundle.field_root");
}
