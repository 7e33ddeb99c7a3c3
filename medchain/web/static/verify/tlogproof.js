// C2SP tlog-proof@v1, and tlog-witness' add-checkpoint body: proofs that come as text before a signed checkpoint.
import { HASH_BYTES, malformed, refused, text, unbase64 } from "./encoding.js";
import { leafHash, verifyConsistency, verifyInclusion } from "./merkle.js";
import { checkNote, decimal } from "./policy.js";

const MAX_NOTE_BYTES = 1_000_000;
const MAX_EXTRA_BYTES = 1 << 16;
const MAX_HASHES = 63;

// Divides a text at its first empty line.
function split(bytes, maxBytes) {
  let at = 0;
  while (at + 1 < bytes.length && !(bytes[at] === 10 && bytes[at + 1] === 10)) at += 1;
  const head = bytes.subarray(0, at);
  if (bytes.length > maxBytes || at + 1 >= bytes.length || head.some((byte) => byte > 127)) throw malformed("tlog.proof");
  return [text(head).split("\n"), bytes.subarray(at + 2)];
}

function hashes(lines) {
  if (lines.length > MAX_HASHES) throw malformed("tlog.proof_hashes");
  const found = lines.map((line) => unbase64(line));
  if (found.some((one) => one.length !== HASH_BYTES)) throw malformed("tlog.proof_hashes");
  return found;
}

function numbered(lines, word) {
  const line = lines.shift();
  if (!line?.startsWith(word)) throw malformed("tlog.proof");
  return decimal(line.slice(word.length));
}

/** Checks that a leaf is in a log under a policy; returns its index and the tree. */
export function verifyProof(bytes, leaf, policy) {
  const [lines, note] = split(bytes, MAX_NOTE_BYTES + 2 * MAX_EXTRA_BYTES);
  if (lines.shift() !== "c2sp.org/tlog-proof@v1") throw malformed("tlog.proof");
  // A line of others, which nothing signs, is read over.
  if (lines[0]?.startsWith("extra ")) unbase64(lines.shift().slice(6), MAX_EXTRA_BYTES);
  const index = numbered(lines, "index ");
  const path = hashes(lines);
  const tree = checkNote(note, policy);
  verifyInclusion(leafHash(leaf), index, tree.size, path, tree.root);
  return { index, tree };
}

/** Checks that a log only grew from one signed checkpoint to another; returns the later tree. */
export function verifyGrowth(bytes, oldNote, policy) {
  const [lines, note] = split(bytes, MAX_NOTE_BYTES + 64 * (MAX_HASHES + 1));
  const size = numbered(lines, "old ");
  const path = hashes(lines);
  const [tree, old] = [checkNote(note, policy), checkNote(oldNote, policy)];
  if (old.origin !== tree.origin || size !== old.size) throw refused("tlog.consistency");
  verifyConsistency(old, tree, path);
  return tree;
}
