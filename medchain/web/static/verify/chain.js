// From the policy that a reader trusts to the one in force, by as few checkpoints as lead there: docs/spec/proof-bundle.md 7.
// A policy is believed only where a quorum of the one believed before has cosigned a log that holds all changes shown
// since, and a quorum of the policy after them has cosigned that very checkpoint; as medchain/ledger/policy_steps.py.
import { readOrganisation, withoutProofs } from "./claim/members.js";
import { base64, byText, digest, HASH_BYTES, hex, joined, malformed, member, members, parseCanonical, ProofError, refused, same, sha256, unbase64, unhex, utf8 } from "./encoding.js";
import { transaction } from "./entry.js";
import { leafHash, verifyInclusion } from "./merkle.js";
import { asksForMore, checkNote, membersOf, readPolicy, signedBy } from "./policy.js";

const MAX_LEAF_BYTES = 0xffff;
const MAX_MEMBERS = 64;
const GROUP = "consortium";
const PUBLIC = ["organisation", "policy", "protocol"];
const KINDS = { "cosign-ed25519": 4, "cosign-mldsa44": 6, log: 1 };

/** Walks a bundle's policy chain; returns the policy under which its own proofs must verify. */
export function policyInForce(files, policyText) {
  const trusted = readPolicy(policyText);
  const chain = files.get("policy-chain.json");
  if (chain === undefined) return trusted;
  if (!files.has("genesis.json")) throw malformed("bundle.files");
  const walk = new Walk(files.get("genesis.json"), trusted);
  for (const step of readChain(chain)) walk.go(step);
  return walk.end();
}

function readChain(bytes) {
  const top = members(parseCanonical(bytes, bytes.length), "steps:list type:str");
  if (top.type !== "medchain/policy-chain/v3" || !top.steps.length) throw malformed("bundle.files");
  return top.steps.map(readStep);
}

function readStep(row) {
  const { changes, checkpoint, sets } = members(row, "changes:list checkpoint:str sets:list");
  const step = { changes: changes.map(readChange), checkpoint: utf8(checkpoint), sets: sets.map((one) => unhex(one, HASH_BYTES)) };
  if (!changes.length || !sets.length) throw malformed("bundle.files");
  return step;
}

function readChange(row) {
  const { entry, hashes, position } = members(row, "entry:str hashes:list position:int");
  const path = hashes.map((one) => unbase64(one, HASH_BYTES));
  if (position < 0 || path.some((one) => one.length !== HASH_BYTES)) throw malformed("bundle.files");
  return { entry: unbase64(entry, MAX_LEAF_BYTES), path, position };
}

/** Organisations, orderer and quorum, as they were at one time. */
class Snapshot {
  constructor(origin, organisations, orderer, quorum) {
    Object.assign(this, { orderer, organisations, origin, quorum });
  }

  get active() {
    return [...this.organisations.values()].filter(({ status }) => status === "active").sort((one, other) => byText(one.orgId, other.orgId));
  }

  with(organisation) {
    const isPlain = ({ url }) => url.startsWith("http:");
    if (isPlain(organisation) && ![...this.organisations.values()].some(isPlain)) throw refused("organisation.url");
    return new Snapshot(this.origin, new Map(this.organisations).set(organisation.orgId, organisation), this.orderer, this.quorum);
  }

  check() {
    const [all, count] = [[...this.organisations.values()], this.active.length];
    const faulty = Math.floor((count - 1) / 3);
    if (!(count + faulty < 2 * this.quorum && this.quorum <= count)) throw refused("members.quorum");
    if (!this.active.some(({ orgId }) => orgId === this.orderer)) throw refused("members.orderer");
    if (all.length > MAX_MEMBERS) throw refused("members.count");
    checkOnce(all.filter(({ status }) => status !== "removed").flatMap(({ listed }) => listed.map(({ id }) => id)), "members.key");
    const invoices = all.map((one) => one.invoices).filter((one) => one !== null);
    checkOnce(invoices.flatMap(({ issuers }) => issuers), "members.issuer");
    checkOnce(invoices.flatMap(({ generations }) => generations.map(({ key }) => hex(key))), "members.vrf");
  }

  /** The policy.txt of these members, with a name for the group that is their quorum. */
  text(group) {
    const lines = [`log ${this.vkey(this.organisations.get(this.orderer), "log")}`];
    for (const one of this.active) {
      for (const [use, suffix] of [["cosign-ed25519", "ed"], ["cosign-mldsa44", "pq"]]) lines.push(`witness ${one.orgId}-${suffix} ${this.vkey(one, use)}`);
      lines.push(`group ${one.orgId} all ${one.orgId}-ed ${one.orgId}-pq`);
    }
    const names = this.active.map(({ orgId }) => orgId).join(" ");
    return [...lines, `group ${group} ${this.quorum} ${names}`, `quorum ${group}`, ""].join("\n");
  }

  /** Names this set of members; null where members and quorum do not fit together. */
  digest() {
    try {
      this.check();
    } catch (error) {
      if (error instanceof ProofError && error.isRefused) return null;
      throw error;
    }
    return sha256(utf8(this.text(GROUP)));
  }

  vkey(organisation, use) {
    const name = use === "log" ? this.origin : `${organisation.orgId}.${this.origin.split("/")[0]}/cosigner/${use.slice(7)}`;
    const typed = joined(Uint8Array.of(KINDS[use]), organisation.listed.find((one) => one.use === use).key);
    return `${name}+${hex(sha256(joined(utf8(`${name}\n`), typed)).subarray(0, 4))}+${base64(typed)}`;
  }

  /** The log of who orders, as a policy has it. */
  get logs() {
    return readPolicy(this.text(GROUP)).logs;
  }
}

function checkOnce(items, code) {
  if (new Set(items).size !== items.length) throw refused(code);
}

function readGenesis(bytes) {
  const value = parseCanonical(bytes, MAX_LEAF_BYTES);
  const { previous, ...rest } = typeof value === "object" && value !== null ? value : {};
  if (previous === undefined) throw malformed("encoding.members");
  const form = "demo:bool members:list orderer:str origin:str policy:dict protocol:int quorum:int rp_id:str sign_origins:list suite:int time:int type:str";
  const top = members(rest, form);
  if (previous !== null) unhex(previous, HASH_BYTES);
  const isOrigin = /^[!-*,-.0-~]+\/[!-*,-~]+$/.test(top.origin) && top.origin.length <= 200;
  if (top.type !== "medchain/genesis/v1" || !isOrigin || top.quorum < 0) throw malformed("genesis.malformed");
  const found = top.members.map(readFounder);
  if (!found.length || !found.every((one, at) => at === 0 || byText(found[at - 1].orgId, one.orgId) < 0)) throw malformed("genesis.malformed");
  const snapshot = new Snapshot(top.origin, new Map(found.map((one) => [one.orgId, one])), top.orderer, top.quorum);
  snapshot.check();
  return { ledger: hex(sha256(bytes)), snapshot };
}

// One key for each use, without status and proofs.
function readFounder(row) {
  const keys = member(row, "keys");
  if (typeof keys !== "object" || keys === null || member(row, "status") !== undefined) throw malformed("encoding.members");
  return readOrganisation({ ...row, keys: withoutProofs(keys), status: "active" });
}

// Members with what an entry changes.
function changed(snapshot, leaf, ledger) {
  const { bodies, changes, ledger: named, type } = transaction(leaf);
  if (type === "medchain/stop/v1" || named !== ledger) throw refused("bundle.policy_chain");
  if (!Array.isArray(changes) || !Array.isArray(bodies)) throw malformed("transaction.malformed");
  let after = snapshot;
  const kinds = changes.map((one) => member(one, "kind")).filter((kind) => PUBLIC.includes(kind));
  bodies.slice(0, kinds.length).forEach((content, at) => {
    if (kinds[at] === "organisation") after = after.with(readOrganisation(content));
    if (kinds[at] === "protocol") after = withProtocol(after, content);
  });
  return after;
}

function withProtocol({ organisations, origin }, content) {
  const { orderer, protocol, quorum } = members(content, "orderer:str protocol:int quorum:int");
  if (quorum < 1 || protocol < 1) throw malformed("protocol.malformed");
  return new Snapshot(origin, organisations, orderer, quorum);
}

// Replays changes and the lineage, and believes them from the trusted policy on.
class Walk {
  constructor(genesis, trusted) {
    const { ledger, snapshot } = readGenesis(genesis);
    const known = membersOf(trusted);
    Object.assign(this, { inForce: null, known, ledger, position: 0, snapshot, trusted });
    this.lineage = lineageAfter(new Uint8Array(HASH_BYTES), snapshot.digest());
    if (same(this.lineage, known.lineage)) this.inForce = this.met([snapshot.digest()]);
  }

  go(step) {
    let [before, isMet] = [this.inForce, false];
    const [digests, logs] = [[this.snapshot.digest()], []];
    for (const one of step.sets) {
      this.lineage = lineageAfter(this.lineage, one);
      isMet ||= before === null && same(this.lineage, this.known.lineage);
    }
    for (const change of step.changes) {
      this.snapshot = changed(this.snapshot, change.entry, this.ledger);
      const found = this.snapshot.digest();
      digests.push(found);
      if (found !== null) logs.push(...this.snapshot.logs);
    }
    if (same(this.lineage, this.known.lineage)) {
      // Nothing has changed behind it: its own quorum is asked for by what it is to verify.
      this.inForce = this.met(digests.slice(-1));
      return;
    }
    if (isMet) before = this.met(digests);
    if (before !== null) this.inForce = this.led(step, before, [...before.logs, ...logs]);
  }

  end() {
    if (this.inForce === null) throw refused("bundle.policy_chain");
    return this.inForce;
  }

  // The trusted policy where it is among those that follow from the changes: all else is a lie.
  met(digests) {
    if (!digests.some((one) => one !== null && same(one, this.known.digest))) throw refused("bundle.policy_chain");
    return this.trusted;
  }

  // The policy after a step, under which its checkpoint holds as it does under the one before.
  led(step, before, logs) {
    // Between the changes there may be one less than there was; what is believed must be a policy.
    this.snapshot.check();
    // Where a reader asks for more than the members of then, nothing says what is asked of those of now.
    if (!same(this.snapshot.digest(), step.sets.at(-1)) || asksForMore(before)) throw refused("bundle.policy_chain");
    const after = readPolicy(this.snapshot.text(`${GROUP}@${hex(this.lineage)}`));
    // Whoever orders between them may have signed it. What counts is the quorum.
    const log = signedBy(step.checkpoint, logs);
    const [tree] = [before, after].map((policy) => checkNote(step.checkpoint, { ...policy, logs: [log] }));
    for (const { entry, path, position } of step.changes) {
      if (position <= this.position) throw refused("bundle.policy_chain");
      verifyInclusion(leafHash(entry), position, tree.size, path, tree.root);
      this.position = position;
    }
    return after;
  }
}

const lineageAfter = (former, textDigest) => digest("medchain/lineage/v1", former, textDigest);
