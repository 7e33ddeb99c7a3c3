// Proofs of the state map: docs/spec/log.md 11 to 16; docs/spec/proof-bundle.md 4.
import { HASH_BYTES, joined, malformed, members, parseCanonical, parsed, refused, same, sha256, text, unhex } from "./encoding.js";

const KEY_BITS = 256;
const MAX_PROOF_BYTES = 1 << 16;
const MAX_ABSENCE_BYTES = 4096;

function length(bits) {
  const made = new Uint8Array(4);
  new DataView(made.buffer).setUint32(0, bits);
  return made;
}

const nodeHash = (value, bits, label) => sha256(joined(value, sha256(joined(length(bits), label))));

const NO_VALUE = sha256(Uint8Array.of(0));
const EMPTY_LABEL = new Uint8Array(HASH_BYTES).fill(1);
// Its hash is nested twice, as akd does it.
const EMPTY_HASH = nodeHash(nodeHash(NO_VALUE, 0, EMPTY_LABEL), 0, EMPTY_LABEL);
const EMPTY_MAP = nodeHash(NO_VALUE, 0, new Uint8Array(HASH_BYTES));

const bit = (label, at) => (label[at >> 3] >> (7 - (at & 7))) & 1;
const isEmpty = (node) => node.bits === 0 && same(node.label, EMPTY_LABEL) && same(node.hash, EMPTY_HASH);

// How many bits two labels share, at most so many.
function shared(one, other, most) {
  let bits = 0;
  while (bits < most && bit(one, bits) === bit(other, bits)) bits += 1;
  return bits;
}

const cut = (label, bits) => label.map((byte, at) => byte & (0xff00 >> Math.max(0, Math.min(8, bits - 8 * at))));
const isPrefix = (node, key) => node.bits > 0 && shared(node.label, key, node.bits) === node.bits;

function isWellFormed(node) {
  if (node.bits === 0) return isEmpty(node) && node.value === undefined;
  if (!(node.bits > 0 && node.bits <= KEY_BITS) || !same(cut(node.label, node.bits), node.label)) return false;
  return node.value === undefined || same(nodeHash(node.value, node.bits, node.label), node.hash);
}

function readNode(row) {
  const { bits, hash, label, value } = members(row, "bits:int hash:str label:str", "value:str");
  const node = { bits, hash: unhex(hash, HASH_BYTES), label: unhex(label, HASH_BYTES) };
  if (value !== undefined) node.value = unhex(value, HASH_BYTES);
  if (!isWellFormed(node)) throw malformed("tlog.map_json");
  return node;
}

/** Reads map.json, and for an absence the value in absence.json that binds the label of its first node. */
export function readMap(files) {
  const proof = readProof(files.get("map.json"));
  // It has a file of its own, so that map.json stays what other tools know.
  if (proof.nodes.some((node) => node.value !== undefined)) throw malformed("bundle.files");
  return bound(proof, files.get("absence.json"));
}

/** Reads a map proof. */
export function readProof(bytes) {
  if (bytes.length > MAX_PROOF_BYTES) throw malformed("tlog.map_json");
  const document = parsed(bytes, "tlog.map_json");
  const found = members(document, "key:str proof:list", "value:str");
  const value = found.value === undefined ? null : unhex(found.value, HASH_BYTES);
  const proof = { key: unhex(found.key, HASH_BYTES), nodes: found.proof.map(readNode), value };
  // What is written twice or in another spelling is longer than its only form, or has a number that is not whole.
  const bare = text(bytes).replace(/[ \t\r\n]/g, "");
  if (bare.length !== JSON.stringify(document).length || /[.eE+]/.test(bare.replace(/"[^"]*"/g, ""))) throw malformed("tlog.map_json");
  return proof;
}

function bound(proof, absence) {
  const isUnneeded = proof.value !== null || !proof.nodes.length || isEmpty(proof.nodes[0]);
  if (isUnneeded !== (absence === undefined)) throw malformed("bundle.files");
  if (isUnneeded) return proof;
  const top = members(parseCanonical(absence, MAX_ABSENCE_BYTES), "type:str value:str");
  if (top.type !== "medchain/absence/v1") throw malformed("bundle.files");
  const [first, ...others] = proof.nodes;
  return { ...proof, nodes: [{ ...first, value: unhex(top.value, HASH_BYTES) }, ...others] };
}

// Two nodes under the longest prefix that their labels share; null if no trie holds them as siblings.
function parent(one, other) {
  if (isEmpty(one) && isEmpty(other)) return null;
  const [node, sibling] = isEmpty(one) ? [other, one] : [one, other];
  const most = Math.min(node.bits, sibling.bits);
  const bits = isEmpty(sibling) ? 0 : shared(node.label, sibling.label, most);
  if (bits >= node.bits || (!isEmpty(sibling) && bits >= sibling.bits)) return null;
  const label = cut(node.label, bits);
  const pair = bit(node.label, bits) ? [sibling.hash, node.hash] : [node.hash, sibling.hash];
  return { bits, hash: nodeHash(sha256(joined(...pair)), bits, label), label };
}

// The last node on an absent key's way: the first two nodes are its children, and neither is on the way.
function absenceStart(key, [first, second]) {
  const node = first && second ? parent(first, second) : null;
  if (node === null || shared(node.label, key, node.bits) !== node.bits || isPrefix(first, key) || isPrefix(second, key)) return null;
  const side = bit(key, node.bits);
  const isFirstOnSide = isEmpty(first) ? bit(second.label, node.bits) !== side : bit(first.label, node.bits) === side;
  return isFirstOnSide ? node : null;
}

function leads(root, { key, nodes, value }) {
  if (nodes.length > KEY_BITS + 1 || !nodes.every(isWellFormed)) return false;
  if (value === null && nodes.length === 1 && isEmpty(nodes[0])) return same(root, EMPTY_MAP);
  let node = value === null ? absenceStart(key, nodes) : { bits: KEY_BITS, hash: nodeHash(value, KEY_BITS, key), label: key };
  for (const sibling of value === null ? nodes.slice(2) : nodes) node = node === null ? null : parent(node, sibling);
  return node !== null && node.bits === 0 && same(node.hash, root);
}

/** Checks a proof of presence or absence against a map's root; throws tlog.map_proof, tlog.map_unbound. */
export function verifyMap(root, proof) {
  if (!leads(root, proof)) throw refused("tlog.map_proof");
  if (proof.value === null && !isEmpty(proof.nodes[0]) && proof.nodes[0].value === undefined) throw refused("tlog.map_unbound");
}
