// The RFC 6962 Merkle tree: the checks of both kinds of proof (RFC 9162 §2.1.3.2, §2.1.4.2).
import { HASH_BYTES, joined, refused, same, sha256 } from "./encoding.js";

const EMPTY_ROOT = sha256(new Uint8Array());
const MAX_HASHES = 63;

export const leafHash = (leaf) => sha256(joined(Uint8Array.of(0), leaf));
const nodeHash = (left, right) => sha256(joined(Uint8Array.of(1), left, right));
const half = (value) => Math.floor(value / 2);
const isOdd = (value) => value % 2 === 1;

const areHashes = (...items) => items.length <= MAX_HASHES + 2 && items.every((one) => one.length === HASH_BYTES);

// Climbs the levels at which a node at the right edge has no sibling and is carried up unchanged.
function skipped(position, last) {
  while (!isOdd(position) && position !== 0) [position, last] = [half(position), half(last)];
  return [position, last];
}

/** Checks that a tree holds a leaf; throws tlog.inclusion. */
export function verifyInclusion(leaf, index, size, proof, root) {
  if (!(Number.isSafeInteger(index) && index >= 0 && index < size) || !areHashes(leaf, root, ...proof)) throw refused("tlog.inclusion");
  let [position, last, found] = [index, size - 1, leaf];
  for (const sibling of proof) {
    if (last === 0) throw refused("tlog.inclusion");
    if (isOdd(position) || position === last) {
      found = nodeHash(sibling, found);
      [position, last] = skipped(position, last);
    } else {
      found = nodeHash(found, sibling);
    }
    [position, last] = [half(position), half(last)];
  }
  if (last !== 0 || !same(found, root)) throw refused("tlog.inclusion");
}

/** Checks that a tree only grew; throws tlog.consistency. */
export function verifyConsistency(old, tree, proof) {
  const error = refused("tlog.consistency");
  if (old.size > tree.size || !areHashes(old.root, tree.root, ...proof)) throw error;
  const isBroken = (old.size === 0 && !same(old.root, EMPTY_ROOT)) || (old.size === tree.size && !same(old.root, tree.root));
  if (isBroken) throw error;
  if (old.size === 0 || old.size === tree.size) {
    if (proof.length) throw error;
    return;
  }
  const roots = grown(old, tree.size, proof);
  if (roots === null || !same(roots[0], old.root) || !same(roots[1], tree.root)) throw error;
}

function grown(old, size, proof) {
  // When the earlier tree is perfect, its root is the first hash, and the prover leaves it out.
  const path = Number.isInteger(Math.log2(old.size)) ? [old.root, ...proof] : proof;
  if (!path.length) return null;
  let [position, last] = [old.size - 1, size - 1];
  while (isOdd(position)) [position, last] = [half(position), half(last)];
  let [before, after] = [path[0], path[0]];
  for (const sibling of path.slice(1)) {
    if (last === 0) return null;
    if (isOdd(position) || position === last) {
      [before, after] = [nodeHash(sibling, before), nodeHash(sibling, after)];
      [position, last] = skipped(position, last);
    } else {
      after = nodeHash(after, sibling);
    }
    [position, last] = [half(position), half(last)];
  }
  return last === 0 ? [before, after] : null;
}
