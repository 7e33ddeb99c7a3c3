// When an entry was accepted: the end of its block and that of the one before, in one tree: docs/spec/proof-bundle.md 13.
import { hasExactly, malformed, members, parseCanonical, refused, unbase64 } from "./encoding.js";
import { readState } from "./entry.js";
import { leafHash, verifyInclusion } from "./merkle.js";

const MAX_BYTES = 16 * 1024;

/** Tells when the entry at a position was accepted, Unix seconds. */
export function acceptedAt(bytes, position, tree) {
  const value = parseCanonical(bytes, MAX_BYTES);
  if (!hasExactly(value, "after,before,type") || value.type !== "medchain/block/v1") throw malformed("bundle.block");
  const after = blockEnd(value.after, tree);
  const before = value.before === null ? null : blockEnd(value.before, tree);
  const isIts =
    before === null
      ? position === 0 && after.state.height === 0
      : before.position < position && position < after.position && after.state.height === before.state.height + 1;
  if (!isIts) throw refused("bundle.block");
  return after.state.time;
}

function blockEnd(value, tree) {
  const { hashes, leaf, position } = members(value, "hashes:list leaf:str position:int");
  const [bytes, path] = [unbase64(leaf), hashes.map((one) => unbase64(one))];
  verifyInclusion(leafHash(bytes), position, tree.size, path, tree.root);
  return { position, state: readState(bytes) };
}
