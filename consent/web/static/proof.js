// Checks a proof bundle against a policy: docs/spec/proof-bundle.md, rules 1 to 5 and 13, as far as a browser can; no policy chain is followed, and no bundle of several objects read. Of each
// organisation the Ed25519 cosignature is checked; browsers have no ML-DSA-44. Nothing is fetched.
const utf8 = new TextDecoder("utf-8", { fatal: true });
const MAX_BYTES = 64 << 20;

export class ProofError extends Error {}

const sha256 = async (...parts) => new Uint8Array(await crypto.subtle.digest("SHA-256", await joined(parts)));
const joined = async (parts) => new Uint8Array(await new Blob(parts).arrayBuffer());
const base64 = (text) => Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
const hex = (bytes) => [...bytes].map((one) => one.toString(16).padStart(2, "0")).join("");
const same = (one, other) => one.length === other.length && one.every((byte, at) => byte === other[at]);

function unhex(text) {
  if (!/^[0-9a-f]{64}$/.test(text)) throw new ProofError("bundle");
  return Uint8Array.from(text.match(/../g), (pair) => parseInt(pair, 16));
}

// The files of a zip (APPNOTE 6.3.10): stored or deflated, by their central directory.
export async function unzip(data) {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  let end = data.length - 22;
  while (end >= 0 && view.getUint32(end, true) !== 0x06054b50) end -= 1;
  if (end < 0 || data.length > MAX_BYTES) throw new ProofError("bundle");
  const files = new Map();
  let at = view.getUint32(end + 16, true);
  for (let left = view.getUint16(end + 10, true); left > 0; left -= 1) {
    const [name, more, note] = [28, 30, 32].map((place) => view.getUint16(at + place, true));
    const [packed, size, start] = [20, 24, 42].map((place) => view.getUint32(at + place, true));
    const body = start + 30 + view.getUint16(start + 26, true) + view.getUint16(start + 28, true);
    const bytes = data.subarray(body, body + packed);
    const method = view.getUint16(at + 10, true);
    if (size > MAX_BYTES || ![0, 8].includes(method)) throw new ProofError("bundle");
    files.set(utf8.decode(data.subarray(at + 46, at + 46 + name)), method === 0 ? bytes : await inflate(bytes, size));
    at += 46 + name + more + note;
  }
  return files;
}

async function inflate(bytes, size) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  const reader = stream.getReader();
  const parts = [];
  for (let held = 0; ; ) {
    const { done, value } = await reader.read();
    if (done) return joined(parts);
    held += value.length;
    if (held > size) throw new ProofError("bundle");
    parts.push(value);
  }
}

const utf8Bytes = (text) => new TextEncoder().encode(text);

// C2SP tlog-policy, as strictly as a node reads it (medchain/tlog/policy.py): logs, witnesses, groups, quorum, and the
// words of its lines. Post-quantum lines count as given: their organisation is asked for its other line.
export async function readPolicy(text) {
  const isText = !/[^\t\n\x20-\x7e\x80-\uffff]/.test(text) && text.endsWith("\n");
  if (!isText || utf8Bytes(text).length > 1 << 20) throw new ProofError("policy");
  const lines = text.split("\n").map((line) => line.split(/[ \t]+/).filter((word) => word));
  const rows = lines.filter(([word]) => word && !word.startsWith("#"));
  const policy = { rows, logs: [], witnesses: new Map(), groups: new Map(), quorum: "" };
  const names = new Set(["none"]);
  const free = new Set();
  for (const [word, name, ...rest] of rows) {
    if (word === "log" && isUrl(rest)) policy.logs.push(await readKey(name, [1]));
    else if (word === "witness" && isUrl(rest.slice(1))) policy.witnesses.set(name, await readKey(rest[0], [4, 6]));
    else if (word === "group") policy.groups.set(name, readGroup(rest, free));
    else if (word === "quorum" && !rest.length && !policy.quorum && names.has(name)) policy.quorum = name;
    else throw new ProofError("policy");
    if (word === "log" || word === "quorum") continue;
    if (names.has(name) || name.startsWith("#")) throw new ProofError("policy");
    [names, free].forEach((some) => some.add(name));
  }
  const [logs, witnesses] = [policy.logs, [...policy.witnesses.values()]];
  const isOnce = (keys, told) => new Set(keys.map(told)).size === keys.length;
  const areOnce = [logs, witnesses].every((keys) => isOnce(keys, (key) => hex(key.bytes)));
  if (!logs.length || !policy.quorum || !areOnce || !isOnce([...logs, ...witnesses], (key) => `${key.name} ${key.id}`)) throw new ProofError("policy");
  return policy;
}

const isUrl = (words) => words.length <= 1 && !words[0]?.startsWith("#");

// A group's members stand before it, each in one group only.
function readGroup([least, ...members], free) {
  if (!/^(all|any|[1-9][0-9]{0,4})$/.test(least)) throw new ProofError("policy");
  const needed = atLeast(least, members.length);
  if (needed < 1 || needed > members.length || !members.every((one) => free.delete(one))) throw new ProofError("policy");
  return { least, members };
}

const atLeast = (least, count) => (least === "all" ? count : least === "any" ? 1 : Number(least));

// The text of a policy's members alone, which the ends of their blocks name: docs/spec/genesis.md, rule 6.
export function membersText({ rows }) {
  const groups = rows.filter(([word]) => word === "group");
  const named = groups.filter(([, name]) => /^consortium@[0-9a-f]{64}$/.test(name));
  if (named.length !== 1) throw new ProofError("policy");
  const [, quorum] = named[0];
  const parts = new Set([quorum]);
  // A group stands behind its members.
  for (const [, name, , ...members] of groups.reverse()) if (parts.has(name)) members.forEach((one) => parts.add(one));
  const logs = rows.filter(([word]) => word === "log").map((row) => row.slice(0, 2));
  const others = rows.filter(([word, name]) => (word === "witness" || word === "group") && parts.has(name));
  const lines = [...logs, ...others.map((row) => (row[0] === "witness" ? row.slice(0, 3) : row)), ["quorum", quorum]];
  return lines.map((row) => `${row.join(" ")}\n`).join("");
}

// A verifier key of C2SP signed-note, in its only spelling.
async function readKey(text, kinds) {
  const [, name, id, encoded] = /^([^+]*)\+([^+]*)\+(.*)$/.exec(text ?? "") ?? [];
  const isName = name && !/[\x00-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/.test(name) && utf8Bytes(name).length <= 255;
  if (!isName || !/^[A-Za-z0-9+/]+={0,2}$/.test(encoded)) throw new ProofError("policy");
  const key = base64(encoded.length % 4 ? "" : encoded);
  const isKey = kinds.includes(key[0]) && key.length === (key[0] === 6 ? 1313 : 33) && btoa(String.fromCharCode(...key)) === encoded;
  if (!isKey || hex(await sha256(utf8Bytes(`${name}\n`), key)).slice(0, 8) !== id) throw new ProofError("policy");
  return { name, id, kind: key[0], bytes: key.subarray(1) };
}

async function holds(key, message, signature) {
  const found = await crypto.subtle.importKey("raw", key.bytes, { name: "Ed25519" }, false, ["verify"]);
  return crypto.subtle.verify({ name: "Ed25519" }, found, signature, message);
}

// A checkpoint (C2SP tlog-checkpoint) with its lines, under a policy; returns size, root and who has cosigned.
async function readCheckpoint(note, policy) {
  const split = note.indexOf("\n\n");
  const text = note.slice(0, split + 1);
  const [, size, root, ...more] = text.split("\n");
  if (split < 0 || !/^(0|[1-9][0-9]{0,15})$/.test(size) || more.length !== 1) throw new ProofError("checkpoint");
  const lines = note.slice(split + 2).split("\n").flatMap((line) => {
    const match = /^— (\S+) ([A-Za-z0-9+/=]+)$/.exec(line);
    return match ? [{ name: match[1], data: base64(match[2]) }] : [];
  });
  const of = (key) => lines.filter((line) => line.name === key.name && hex(line.data.subarray(0, 4)) === key.id);
  const message = utf8Bytes(text);
  const isLogs = await any(policy.logs.flatMap((key) => of(key).map((line) => holds(key, message, line.data.subarray(4)))));
  if (!isLogs) throw new ProofError("log");
  const signed = new Map();
  for (const [name, key] of policy.witnesses) {
    if (key.kind === 4) signed.set(name, await any(of(key).map((line) => cosigned(key, text, line.data.subarray(4)))));
  }
  return { size: Number(size), root: base64(root), signed };
}

// C2SP tlog-cosignature: the time in eight bytes, then the signature over it and the text.
async function cosigned(key, text, data) {
  if (data.length !== 72) return false;
  const time = new DataView(data.buffer, data.byteOffset, 8).getBigUint64(0);
  return holds(key, utf8Bytes(`cosignature/v1\ntime ${time}\n${text}`), data.subarray(8));
}

const any = async (promises) => (await Promise.all(promises)).includes(true);

// Whether a group's members have cosigned; a member of whom the browser can check nothing is left to its other line.
function satisfied(policy, name, signed, depth = 0) {
  if (depth > 16) throw new ProofError("policy");
  const group = policy.groups.get(name);
  if (!group) return signed.get(name) === true;
  const members = group.members.filter((one) => policy.groups.has(one) || policy.witnesses.get(one)?.kind === 4);
  const least = atLeast(group.least, members.length);
  if (!(least > 0)) throw new ProofError("policy");
  return members.filter((one) => satisfied(policy, one, signed, depth + 1)).length >= least;
}

// RFC 9162 §2.1.3.2.
async function included(leaf, index, size, hashes, root) {
  let [fn, sn, hash] = [index, size - 1, await sha256(Uint8Array.of(0), leaf)];
  for (const one of hashes) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      hash = await sha256(Uint8Array.of(1), one, hash);
      while (fn % 2 === 0 && fn !== 0) [fn, sn] = [Math.floor(fn / 2), Math.floor(sn / 2)];
    } else {
      hash = await sha256(Uint8Array.of(1), hash, one);
    }
    [fn, sn] = [Math.floor(fn / 2), Math.floor(sn / 2)];
  }
  return sn === 0 && same(hash, root);
}

// c2sp.org/tlog-proof@v1 of a leaf.
export async function proven(files, name, policy) {
  const [leaf, proof] = [files.get(`${name}.bin`), files.get(`${name}.tlog-proof`)];
  if (!leaf || !proof) throw new ProofError("bundle");
  const text = utf8.decode(proof);
  const split = text.indexOf("\n\n");
  // A line of others, "extra", is read over.
  const [head, place, ...hashes] = text.slice(0, split).split("\n").filter((line, at) => at !== 1 || !line.startsWith("extra "));
  const index = /^index (0|[1-9][0-9]{0,15})$/.exec(place)?.[1];
  if (head !== "c2sp.org/tlog-proof@v1" || index === undefined) throw new ProofError("bundle");
  const checkpoint = await readCheckpoint(text.slice(split + 2), policy);
  if (!satisfied(policy, policy.quorum, checkpoint.signed)) throw new ProofError("quorum");
  const isIn = await included(leaf, Number(index), checkpoint.size, hashes.map(base64), checkpoint.root);
  if (Number(index) >= checkpoint.size || !isIn) throw new ProofError("inclusion");
  return { leaf, index: Number(index), checkpoint };
}

// docs/spec/log.md, rules 11 to 14.
async function nodeHash(value, bits, label) {
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, bits);
  return sha256(value, await sha256(length, label));
}

const bit = (label, at) => (label[at >> 3] >> (7 - (at & 7))) & 1;

async function mapped(key, value, siblings, root) {
  let node = { bits: 256, label: key, hash: await nodeHash(value, 256, key) };
  for (const one of siblings) {
    const other = { bits: one.bits, label: unhex(one.label), hash: unhex(one.hash) };
    const isEmpty = one.bits === 0;
    let bits = 0;
    if (!isEmpty) {
      const most = Math.min(node.bits, other.bits);
      while (bits < most && bit(node.label, bits) === bit(other.label, bits)) bits += 1;
      if (bits >= most) throw new ProofError("map");
    }
    const label = node.label.map((byte, at) => byte & (0xff00 >> Math.max(0, Math.min(8, bits - 8 * at))));
    const pair = bit(node.label, bits) ? [other.hash, node.hash] : [node.hash, other.hash];
    node = { bits, label, hash: await nodeHash(await sha256(...pair), bits, label) };
  }
  return node.bits === 0 && same(node.hash, root);
}

function parsed(bytes, what) {
  try {
    return JSON.parse(utf8.decode(bytes));
  } catch {
    throw new ProofError(what);
  }
}

// The state leaf that ends the tree of an entry: it must name the members of the policy whose quorum has cosigned it.
async function ended(files, entry, policy) {
  const state = await proven(files, "state", policy);
  const [tree, other] = [state.checkpoint, entry.checkpoint];
  if (state.index !== tree.size - 1 || tree.size !== other.size || !same(tree.root, other.root)) throw new ProofError("state");
  const said = parsed(state.leaf, "state");
  if (said?.type !== "medchain/state/v2" || !/^[0-9a-f]{64}$/.test(said.policy)) throw new ProofError("state");
  const name = hex(await sha256(utf8Bytes(membersText(policy))));
  if (said.policy !== name) throw new ProofError("other policy");
  return { ...state, said };
}

// JSON in its one spelling (RFC 8785), of what has whole numbers alone.
function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const members = Object.keys(value).sort().map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`);
  return `{${members.join(",")}}`;
}

// The version of an object that a bundle proves: from its newest one down, each by the digest that the next one names.
async function versionOf(newest, history) {
  if (!history) return newest;
  const earlier = parsed(history, "history");
  if (!Array.isArray(earlier) || !earlier.length) throw new ProofError("history");
  let version = newest;
  for (const row of earlier) {
    if (version.previous !== hex(await sha256(canonical(row)))) throw new ProofError("history");
    version = row;
  }
  return version;
}

// When an entry was accepted: docs/spec/proof-bundle.md, rule 13.
async function accepted(document, index, tree) {
  const { after, before } = parsed(document, "block");
  const ends = [];
  for (const end of before === null ? [after] : [before, after]) {
    const leaf = base64(end.leaf);
    const isIn = await included(leaf, end.position, tree.size, end.hashes.map(base64), tree.root);
    if (!Number.isInteger(end.position) || !(end.position >= 0 && end.position < tree.size) || !isIn) throw new ProofError("block");
    ends.push({ position: end.position, state: parsed(leaf, "block") });
  }
  const [first, last] = [ends[0], ends.at(-1)];
  const areEnds = ends.every(({ state }) => state.type === "medchain/state/v2");
  const isIts = before === null ? index === 0 && last.state.height === 0 : first.position < index && last.state.height === first.state.height + 1;
  if (!areEnds || !isIts || index >= last.position) throw new ProofError("block");
  return last.state.time;
}

// What a bundle proves: the entry, and the object's state where it is given. Throws ProofError for what does not hold.
export async function check(data, policyText) {
  const [files, policy] = [await unzip(data), await readPolicy(policyText)];
  if ([...files.keys()].some((name) => name.startsWith("items/"))) throw new ProofError("bundle");
  const entry = await proven(files, "entry", policy);
  const who = [...entry.checkpoint.signed].filter(([, is]) => is).map(([name]) => name.replace(/-ed$/, ""));
  const verdict = { index: entry.index, size: entry.checkpoint.size, who, record: null, newest: null, time: null, registered: null };
  const { said, checkpoint } = await ended(files, entry, policy);
  const block = files.get("block.json");
  if (block) verdict.registered = await accepted(block, entry.index, checkpoint);
  if (!files.has("map.json") || !files.has("record.json")) return verdict;
  const map = JSON.parse(utf8.decode(files.get("map.json")));
  const record = files.get("record.json");
  if (!same(await sha256(record), unhex(map.value))) throw new ProofError("record");
  if (!(await mapped(unhex(map.key), unhex(map.value), map.proof, unhex(said.map_root)))) throw new ProofError("map");
  const newest = JSON.parse(utf8.decode(record));
  const shown = await versionOf(newest, files.get("history.json"));
  if (shown.since !== entry.index) throw new ProofError("record");
  return { ...verdict, size: checkpoint.size, time: said.time, record: shown, newest: newest.version };
}
