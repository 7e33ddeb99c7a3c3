// The entry of a bundle: which ledger its leaf names, and whether it made an object's version: docs/spec/transaction.md.
// Form and signatures of a transaction are the ledger's business, which has taken it: a quorum has cosigned its tree.
import { HASH_BYTES, hex, isObject, malformed, member, members, parseCanonical, ProofError, same, sha256, unbase64, unhex } from "./encoding.js";
import { mapKey } from "./object.js";

const MAX_LEAF_BYTES = 0xffff;
const MAX_STATE_BYTES = 256;
const PUBLIC = ["organisation", "policy", "protocol"];

/** Reads a state leaf strictly; throws encoding.*, state.malformed, policy.unnamed. */
export function readState(leaf) {
  const value = parseCanonical(leaf, MAX_STATE_BYTES);
  if (member(value, "type") === "medchain/state/v1") throw malformed("policy.unnamed");
  members(value, "height:int map_root:str policy:str time:int type:str");
  if (value.type !== "medchain/state/v2" || value.height < 0 || value.time < 0) throw malformed("state.malformed");
  return { height: value.height, mapRoot: unhex(value.map_root, HASH_BYTES), policy: unhex(value.policy, HASH_BYTES), time: value.time };
}

/** The ledger id that a leaf names, in hexadecimal: an envelope's, or the genesis' own; null for a state leaf. */
export function ledgerOf(leaf) {
  const value = parseCanonical(leaf, leaf.length);
  if (member(value, "payload") !== undefined) return hex(unhex(transaction(leaf).ledger, HASH_BYTES));
  if (member(value, "map_root") !== undefined) {
    readState(leaf);
    return null;
  }
  return hex(genesisId(leaf, value));
}

// The genesis names the ledger by its hash.
function genesisId(leaf, value) {
  if (!isGenesis(value)) throw malformed("genesis.malformed");
  return sha256(leaf);
}

const isGenesis = (value) => member(value, "type") === "medchain/genesis/v1";

/** Reads the payload of an envelope. */
export function transaction(leaf) {
  if (leaf.length > MAX_LEAF_BYTES) throw malformed("transaction.too_large");
  let found;
  try {
    const { payload } = members(parseCanonical(leaf, MAX_LEAF_BYTES), "payload:str payloadType:str signatures:list");
    found = parseCanonical(unbase64(payload), MAX_LEAF_BYTES);
  } catch (error) {
    throw error instanceof ProofError ? malformed("transaction.malformed") : error;
  }
  if (!isObject(found)) throw malformed("transaction.malformed");
  return found;
}

/** Whether an entry is the one that made this version of an object; the genesis made those of position 0. */
export function makes(leaf, record, position) {
  if (position === 0) return isGenesis(parseCanonical(leaf, leaf.length));
  const made = transaction(leaf);
  if (made.type === "medchain/stop/v1") return same(unhex(made.object, HASH_BYTES), record.key) && record.status === "stopped";
  return rows(made).some(
    ({ bodyHash, key, status, version }) =>
      same(key, record.key) && version === record.version && same(bodyHash, record.bodyHash) && status === record.status,
  );
}

// Map key, version, body hash and status of all objects that a transaction makes.
function rows({ bodies, changes, creator }) {
  if (!Array.isArray(changes) || !Array.isArray(bodies) || typeof creator !== "string") throw malformed("transaction.malformed");
  const contents = [...bodies];
  return changes.flatMap((change) => {
    const { kind, objects, status } = isObject(change) ? change : {};
    if (typeof kind !== "string" || !Array.isArray(objects)) throw malformed("transaction.malformed");
    const content = PUBLIC.includes(kind) ? contents.shift() : null;
    const owner = !PUBLIC.includes(kind) ? creator : kind === "organisation" ? String(member(content, "org_id") ?? "") : "ledger";
    return objects.map((row) => {
      if (!Array.isArray(row) || row.length !== 3) throw malformed("transaction.malformed");
      return { bodyHash: unhex(row[2], HASH_BYTES), key: mapKey(kind, owner, unhex(row[0], 16)), status, version: row[1] };
    });
  });
}
