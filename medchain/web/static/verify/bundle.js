// Proof bundles: whether an answer holds, judged from public keys alone, as medchain/ledger/bundle.py judges.
// Nothing in a bundle is believed before it is reached from the policy that the reader brought. Source: docs/spec/proof-bundle.md.
import { acceptedAt } from "./block.js";
import { policyInForce } from "./chain.js";
import { judgeClaim } from "./claim/judge.js";
import { namesOf } from "./claim/members.js";
import { isOfOtherRules } from "./claim/verdict.js";
import { openDisclosures } from "./disclosures.js";
import { canonical, hex, malformed, parseCanonical, refused, same, sha256, utf8 } from "./encoding.js";
import { ledgerOf, makes, readState } from "./entry.js";
import { openLooks } from "./looks.js";
import { readRecords } from "./object.js";
import { NOTHING, openContent } from "./opening.js";
import { isFresh, membersText } from "./policy.js";
import { readMap, verifyMap } from "./statemap.js";
import { verifyGrowth, verifyProof } from "./tlogproof.js";
import { MAX_BYTES } from "./zip.js";

const MAX_AGE_S = 300;
const MAX_ANSWER_BYTES = 4096;
const ENTRY_FILES = ["answer.json", "entry.bin", "entry.tlog-proof", "policy.txt"];
const STATE_FILES = ["state.bin", "state.tlog-proof"];
const RECORD_FILES = ["history.json", "looks.json", "opening.json", "record.json"];
const OBJECT_FILES = [...RECORD_FILES, "absence.json", "askers.json", "block.json", "disclosures.json", "map.json"];
const OPTIONAL_FILES = [...OBJECT_FILES, "checkpoint-old", "consistency.txt", "genesis.json", "policy-chain.json"];
const ITEM = /^items\/(0|[1-9][0-9]{0,2})\/([a-z]+\.json)$/;
const PRESENT_FILES = ["block.json", "history.json", "newest.json", "opening.json", "record.json"];
const ITEM_FILES = [...PRESENT_FILES, "absence.json", "map.json"];
const CLAIM_FILES = ["askers.json", "evidence.json", "verdict.json"];

/** Most files of a bundle: five hundred objects with seven files each, and what stands beside them. */
export const MAX_FILES = 4096;

/**
 * Judges a bundle.
 * @param files name → bytes.
 * @param policyText the reader's own trusted policy.
 * @param now Unix seconds.
 */
export function verifyBundle(files, policyText, now, maxAgeS = MAX_AGE_S) {
  checkNames(files);
  const policy = policyInForce(files, policyText);
  const leaf = files.get("entry.bin");
  const entry = verifyProof(files.get("entry.tlog-proof"), leaf, policy);
  const ledger = ledgerOf(leaf);
  const { state, tree } = ended(files, policy, entry.tree);
  const items = itemsOf(files);
  const found = { entry: entry.index, files, ledger, state, tree };
  let verdict;
  if (items.length) verdict = claimVerdict(found, itemsVerdict(found, items));
  else if (files.has("map.json")) verdict = stateVerdict(found);
  else if ([...RECORD_FILES, "absence.json", "askers.json", "disclosures.json"].some((name) => files.has(name))) throw malformed("bundle.files");
  else verdict = { ...entryVerdict(found), current: false };
  if (verdict.current === undefined) verdict.current = isFresh(tree, policy, now, maxAgeS);
  checkGrowth(files, policy, tree);
  const block = files.get("block.json");
  verdict = { ...verdict, ledger, registered: block === undefined ? null : acceptedAt(block, entry.index, tree) };
  checkAnswer(files.get("answer.json"), verdict);
  return verdict;
}

function checkNames(files) {
  const size = [...files.values()].reduce((sum, content) => sum + content.length, 0);
  if (files.size > MAX_FILES || size > MAX_BYTES) throw malformed("bundle.too_large");
  if (files.has("disclosures.json") && files.has("looks.json")) throw malformed("bundle.files");
  if (!ENTRY_FILES.every((name) => files.has(name))) throw malformed("bundle.files");
  if (!STATE_FILES.every((name) => files.has(name))) throw malformed("bundle.state");
  const names = [...files.keys()];
  const isOfItems = names.some(isItem);
  const ofClaim = isOfItems && files.has("evidence.json") ? CLAIM_FILES : [];
  if (!ofClaim.every((name) => files.has(name))) throw malformed("bundle.files");
  const beside = isOfItems ? OBJECT_FILES.filter((name) => !ofClaim.includes(name)) : [];
  const allowed = [...ENTRY_FILES, ...STATE_FILES, ...OPTIONAL_FILES, ...ofClaim];
  if (names.some((name) => beside.includes(name) || !(allowed.includes(name) || isItem(name)))) throw malformed("bundle.files");
}

const isItem = (name) => name.startsWith("items/");

// The state leaf that ends the tree of both proofs, and is of the members whose quorum is counted.
function ended(files, policy, ofEntry) {
  const leaf = files.get("state.bin");
  const { index, tree } = verifyProof(files.get("state.tlog-proof"), leaf, policy);
  // Each proof holds, and together they prove a fork.
  if (ofEntry.size === tree.size && !same(ofEntry.root, tree.root)) throw refused("bundle.split_view");
  if (ofEntry.size !== tree.size || index !== tree.size - 1) throw refused("bundle.state");
  let state;
  try {
    state = readState(leaf);
  } catch (error) {
    throw error.code === "policy.unnamed" ? error : malformed("bundle.state");
  }
  if (!same(sha256(utf8(membersText(policy))), state.policy)) throw refused("bundle.other_policy");
  return { state, tree };
}

function entryVerdict({ entry, tree }) {
  return {
    answer: "entry",
    claim: null,
    cosigners: [...tree.cosigners.keys()],
    disclosures: null,
    items: [],
    looks: null,
    newest: null,
    object: null,
    position: entry,
    record: null,
    shown: NOTHING,
    size: tree.size,
    time: Math.min(...tree.cosigners.values(), ...(tree.cosigners.size ? [] : [0])),
  };
}

function stateVerdict(found) {
  const { entry, files, state, tree } = found;
  const proof = readMap(files);
  verifyMap(state.mapRoot, proof);
  const records = readRecords(files, proof);
  const [newest, record] = [records[0] ?? null, records.at(-1) ?? null];
  if (record === null && RECORD_FILES.some((name) => files.has(name))) throw refused("bundle.record");
  // What is not there has no entry but the one that ends the tree, which says as of when.
  if (record === null && entry !== tree.size - 1) throw refused("bundle.entry");
  if (record !== null && (record.since !== entry || !makes(files.get("entry.bin"), record, entry))) throw refused("bundle.entry");
  const opening = files.get("opening.json");
  const shown = record === null || opening === undefined ? NOTHING : openContent(opening, record);
  if (!files.has("disclosures.json") && files.has("askers.json")) throw malformed("bundle.files");
  const disclosures = files.has("disclosures.json")
    ? openDisclosures(files, hex(proof.key), [...records].reverse(), state.mapRoot, found.ledger)
    : null;
  const looks = record !== null && files.has("looks.json") ? looksOf(files.get("looks.json"), record, newest, shown, state.time) : null;
  return {
    ...entryVerdict(found),
    answer: answerOf(record, disclosures, looks),
    disclosures,
    looks,
    newest: newest?.version ?? null,
    object: hex(proof.key),
    record,
    shown,
    time: state.time,
  };
}

function looksOf(bytes, record, newest, shown, time) {
  if (shown.content === null || shown.part !== null) throw malformed("bundle.files");
  return openLooks(bytes, record, newest.version, shown.content, time);
}

function answerOf(record, disclosures, looks) {
  if (disclosures !== null) return "disclosures";
  if (looks !== null) return "looks";
  return record === null ? "absent" : "record";
}

/** Takes the files of items out of a bundle's: name → bytes of each, in order. */
export function itemsOf(files) {
  const found = new Map();
  for (const [name, content] of files) {
    if (!isItem(name)) continue;
    const match = ITEM.exec(name);
    if (match === null || !ITEM_FILES.includes(match[2])) throw malformed("bundle.files");
    const at = Number(match[1]);
    found.set(at, (found.get(at) ?? new Map()).set(match[2], content));
  }
  return Array.from({ length: found.size }, (_, at) => {
    if (!found.has(at)) throw malformed("bundle.files");
    return found.get(at);
  });
}

function itemsVerdict(found, items) {
  // None of them has the entry; it is the one that ends the tree, which says as of when.
  if (found.entry !== found.tree.size - 1) throw refused("bundle.entry");
  return { ...entryVerdict(found), answer: "items", items: judgeItems(items, found.state.mapRoot, found.tree), time: found.state.time };
}

// A bundle about a claim says what its own other files come to, and nothing else.
function claimVerdict({ files, state, tree }, verdict) {
  if (!files.has("evidence.json")) return verdict;
  const claim = judgeClaim(files.get("evidence.json"), files.get("askers.json"), verdict.items, state, tree);
  const stated = files.get("verdict.json");
  if (!same(canonical(claim), stated)) throw refused(isOfOtherRules(stated) ? "bundle.rules" : "bundle.verdict");
  return { ...verdict, answer: "claim", claim, names: namesOf(files.get("askers.json")) };
}

/** Judges each item under a state. */
export function judgeItems(items, mapRoot, tree) {
  const judged = new Map();
  for (const files of items) {
    const item = judgeItem(files, mapRoot, tree);
    const key = hex(item.key);
    if (judged.has(key)) throw refused("bundle.twice");
    judged.set(key, item);
  }
  return [...judged.values()];
}

function judgeItem(files, mapRoot, tree) {
  if (!files.has("map.json")) throw malformed("bundle.files");
  const proof = readMap(files);
  verifyMap(mapRoot, proof);
  const records = readRecords(files, proof);
  if (!records.length) {
    if (PRESENT_FILES.some((name) => files.has(name))) throw refused("bundle.record");
    return { changed: null, key: proof.key, newest: null, proven: null, records, registered: null, shown: NOTHING };
  }
  const [newest, proven, opening] = [records[0], records.at(-1), files.get("opening.json")];
  const shown = opening === undefined ? NOTHING : openContent(opening, proven);
  const when = (name, record) => (files.has(name) ? acceptedAt(files.get(name), record.since, tree) : null);
  const registered = when("block.json", proven);
  // It would be a second time of one version.
  if (records.length === 1 && files.has("newest.json")) throw malformed("bundle.files");
  const changed = records.length === 1 ? registered : when("newest.json", newest);
  return { changed, key: proof.key, newest, proven, records, registered, shown };
}

// The asker's earlier checkpoint is a beginning of the very tree that the answer is about.
function checkGrowth(files, policy, tree) {
  const [grown, old] = [files.get("consistency.txt"), files.get("checkpoint-old")];
  if (grown === undefined && old === undefined) return;
  if (grown === undefined || old === undefined) throw malformed("bundle.files");
  const found = verifyGrowth(grown, old, policy);
  if (found.origin !== tree.origin || found.size !== tree.size || !same(found.root, tree.root)) throw refused("bundle.consistency");
}

// The bundle's own words say what its proofs say.
function checkAnswer(bytes, { answer, ledger, object, position, size }) {
  parseCanonical(bytes, MAX_ANSWER_BYTES);
  const said = canonical({ answer, ledger, object, position, size, type: "medchain/answer/v1" });
  if (!same(said, bytes)) throw refused("bundle.answer");
}
