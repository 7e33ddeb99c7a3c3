// Signed checkpoints under a C2SP tlog-policy: whose signatures make one count. As strict as medchain/tlog/policy.py.
import { ed25519Verify, mldsa44Verify } from "./crypto.js";
import { base64, hex, joined, malformed, refused, sha256, text, uint64, unbase64, unhex, utf8 } from "./encoding.js";

const MAX_POLICY_BYTES = 1 << 20;
const MAX_NOTE_BYTES = 1_000_000;
const MAX_SIGNATURES = 100;
const FUTURE_SKEW_S = 60;
const PUBLIC_BYTES = { 1: 32, 4: 32, 6: 1312 };
const [LOG, ED25519] = [1, 4];
const MARK = "\u2014 ";
const NO_NAME = /[\x00-\x20+\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/;

const isKeyName = (name) => name !== "" && name.isWellFormed() && !NO_NAME.test(name) && utf8(name).length <= 255;

// A verifier key of C2SP signed-note, in its only spelling.
function readKey(source) {
  const parts = /^([^+]*)\+([^+]*)\+(.*)$/s.exec(source);
  if (parts === null) throw malformed("tlog.key");
  const typed = unbase64(parts[3]);
  const [name, kind, bytes] = [parts[1], typed[0], typed.subarray(1)];
  if (!(kind in PUBLIC_BYTES)) throw malformed("tlog.key");
  if (!isKeyName(name)) throw malformed("tlog.key_name");
  const id = hex(sha256(joined(utf8(`${name}\n`), typed)).subarray(0, 4));
  if (bytes.length !== PUBLIC_BYTES[kind] || `${name}+${id}+${base64(typed)}` !== source) throw malformed("tlog.key");
  return { bytes, id, kind, name };
}

/** Reads a policy: the rows of its words, logs, witnesses and groups by name, quorum. Throws tlog.policy and keys' codes. */
export function readPolicy(source) {
  const isText = source.isWellFormed() && !/[^\t\n\x20-\x7e\x80-\u{10ffff}]/u.test(source) && source.endsWith("\n");
  if (!isText || utf8(source).length > MAX_POLICY_BYTES) throw malformed("tlog.policy");
  const rows = source.split("\n").map((line) => line.split(/[ \t]+/).filter((word) => word));
  const policy = { groups: new Map(), logs: [], quorum: "", rows: rows.filter(([word]) => word && !word.startsWith("#")), witnesses: new Map() };
  const [names, free] = [new Set(["none"]), new Set()];
  for (const [word, name, ...rest] of policy.rows) {
    if (word === "log" && name !== undefined && isUrl(rest)) policy.logs.push(readKey(name));
    else if (word === "witness" && rest.length && isUrl(rest.slice(1))) policy.witnesses.set(name, readKey(rest[0]));
    else if (word === "group" && rest.length) policy.groups.set(name, readGroup(rest, free));
    else if (word === "quorum" && !rest.length && !policy.quorum && names.has(name)) policy.quorum = name;
    else throw malformed("tlog.policy");
    if (word === "log" || word === "quorum") continue;
    if (names.has(name) || name.startsWith("#")) throw malformed("tlog.policy");
    [names, free].forEach((some) => some.add(name));
  }
  checkKeys(policy);
  return policy;
}

const isUrl = (words) => words.length <= 1 && !words[0]?.startsWith("#");

// A group's members stand before it, each in one group only, so that it adds to the quorum in one way.
function readGroup([least, ...found], free) {
  const group = { least, members: found, needed: needed(least, found.length) };
  const isGroup = /^(all|any|[1-9][0-9]{0,4})$/.test(least) && group.needed >= 1 && group.needed <= found.length;
  if (!isGroup || !found.every((one) => free.delete(one))) throw malformed("tlog.policy");
  return group;
}

const needed = (least, count) => (least === "all" ? count : least === "any" ? 1 : Number(least));

function checkKeys({ logs, quorum, witnesses }) {
  const cosigners = [...witnesses.values()];
  const isOnce = (keys, told) => new Set(keys.map(told)).size === keys.length;
  const areKinds = logs.every((key) => key.kind === LOG) && cosigners.every((key) => key.kind !== LOG);
  const areOnce = [logs, cosigners].every((keys) => isOnce(keys, (key) => hex(key.bytes)));
  if (!logs.length || !quorum || !areKinds || !areOnce || !isOnce([...logs, ...cosigners], (key) => `${key.name} ${key.id}`)) throw malformed("tlog.policy");
}

/** What a policy says of its members alone: lineage, their text, and its SHA-256 without the lineage: docs/spec/genesis.md 6. */
export function membersOf({ rows }) {
  const groups = rows.filter(([word]) => word === "group");
  const named = groups.filter(([, name]) => /^consortium@[0-9a-f]{64}$/.test(name));
  if (named.length !== 1) throw malformed("policy.unnamed");
  const [, quorum] = named[0];
  const parts = new Set([quorum]);
  // A group stands behind its members.
  for (const [, name, , ...found] of [...groups].reverse()) if (parts.has(name)) found.forEach((one) => parts.add(one));
  const kept = rows.filter(([word, name]) => word === "log" || (word !== "quorum" && parts.has(name)));
  const bare = ([word, name, ...rest]) => (name === quorum ? [word, "consortium", ...rest] : [word, name, ...rest]);
  const without = written([...kept.map(bare), ["quorum", "consortium"]]);
  return { digest: sha256(utf8(without)), lineage: unhex(quorum.slice(-64), 32), text: written([...kept, ["quorum", quorum]]) };
}

/** The text of a policy's members alone, which the ends of their blocks name. */
export const membersText = (policy) => membersOf(policy).text;

/** Whether a policy asks for more than the quorum of its members. */
export const asksForMore = (policy) => written(policy.rows) !== membersText(policy);

// Logs, witnesses and groups in their order, quorum; without addresses, which say nothing of who they are.
function written(rows) {
  const of = (word, size) => rows.filter(([one]) => word.includes(one)).map((row) => (row[0] === "group" ? row : row.slice(0, size)));
  const lines = [...of(["log"], 2), ...of(["witness", "group"], 3), ...of(["quorum"], 2)];
  return lines.map((row) => `${row.join(" ")}\n`).join("");
}

/** The log, of some, whose line is on a checkpoint; a key of another one's name and id does no harm. */
export function signedBy(bytes, logs) {
  const note = readNote(bytes);
  const tree = readTree(note.text);
  const log = logs.find((key) =>
    note.lines.some((line) => line.name === key.name && line.id === key.id && key.name === tree.origin && ed25519Verify(key.bytes, utf8(note.text), line.data)),
  );
  if (log === undefined) throw refused("tlog.log_signature");
  return log;
}

/** Reads a size or an index: digits without leading zeros; what JavaScript does not keep is refused. */
export function decimal(source) {
  if (!/^(0|[1-9][0-9]{0,15})$/.test(source) || !Number.isSafeInteger(Number(source))) throw malformed("tlog.decimal");
  return Number(source);
}

function readNote(bytes) {
  const source = bytes.length > MAX_NOTE_BYTES ? undefined : text(bytes);
  const split = source?.lastIndexOf("\n\n") ?? -1;
  if (split < 0 || /[\x00-\x09\x0b-\x1f]/.test(source)) throw malformed("tlog.note");
  const lines = source.slice(split + 2).split("\n");
  if (lines.pop() || lines.length < 1 || lines.length > MAX_SIGNATURES) throw malformed("tlog.note");
  return { lines: lines.map(readSignature), text: source.slice(0, split + 1) };
}

function readSignature(line) {
  const found = /^\u2014 ([^ ]*) (.*)$/s.exec(line);
  if (!line.startsWith(MARK) || found === null || !isKeyName(found[1])) throw malformed("tlog.note");
  const raw = unbase64(found[2]);
  if (raw.length <= 4) throw malformed("tlog.note");
  return { data: raw.subarray(4), id: hex(raw.subarray(0, 4)), name: found[1] };
}

function readTree(source) {
  const [origin, size, root, end, ...more] = source.split("\n");
  if (end !== "" || more.length) throw malformed("tlog.checkpoint");
  const tree = { origin, root: unbase64(root), size: decimal(size) };
  if (!isKeyName(origin) || tree.root.length !== 32) throw malformed("tlog.checkpoint");
  return tree;
}

/**
 * Checks a signed checkpoint under a policy.
 * @returns its origin, size and root, and the time at which each witness of the policy cosigned, by name.
 */
export function checkNote(bytes, policy) {
  const note = readNote(bytes);
  const tree = readTree(note.text);
  const of = (key) => note.lines.filter((line) => line.name === key.name && line.id === key.id);
  const logs = policy.logs.flatMap((key) => of(key).map((line) => [key, line]));
  for (const [key, line] of logs) {
    if (key.name !== tree.origin || !ed25519Verify(key.bytes, utf8(note.text), line.data)) throw refused("tlog.signature");
  }
  if (!logs.length) throw refused("tlog.log_signature");
  const cosigners = new Map();
  for (const [name, key] of policy.witnesses) {
    const times = of(key).map((line) => cosigned(key, line.data, tree, note.text));
    if (times.length) cosigners.set(name, Math.max(...times));
  }
  if (!isQuorum(policy, cosigners)) throw refused("tlog.quorum");
  return { ...tree, cosigners };
}

/** Whether a quorum cosigned within a limit; older lines beyond it do not count against that. */
export function isFresh({ cosigners }, policy, now, maxAgeS) {
  const [oldest, newest] = [Math.max(now - maxAgeS, 1), now + FUTURE_SKEW_S];
  return isQuorum(policy, new Map([...cosigners].filter(([, time]) => oldest <= time && time <= newest)));
}

function isQuorum(policy, cosigners) {
  const satisfied = new Set(cosigners.keys());
  // A group stands behind its members.
  for (const [name, group] of policy.groups) {
    if (group.members.filter((one) => satisfied.has(one)).length >= group.needed) satisfied.add(name);
  }
  return policy.quorum === "none" || satisfied.has(policy.quorum);
}

// C2SP tlog-cosignature: the time in eight bytes, then the signature over it and the tree head.
function cosigned(key, data, tree, source) {
  const time = data.length > 8 ? new DataView(data.buffer, data.byteOffset, 8).getBigUint64(0) : 1n << 63n;
  const signature = data.subarray(8);
  const isValid =
    key.kind === ED25519
      ? ed25519Verify(key.bytes, utf8(`cosignature/v1\ntime ${time}\n${source}`), signature)
      : mldsa44Verify(key.bytes, subtree(key, tree, time), signature);
  if (time >= 1n << 63n || !isValid) throw refused("tlog.cosignature");
  return Number(time);
}

function subtree(key, { origin, root, size }, time) {
  const [name, log] = [utf8(key.name), utf8(origin)];
  const head = [utf8("subtree/v1\n\0"), Uint8Array.of(name.length), name, uint64(time), Uint8Array.of(log.length), log];
  return joined(...head, uint64(0), uint64(size), root);
}

/** The organisations whose cosignatures count: the groups and single witnesses that make up the quorum's group. */
export function organisations(policy, cosigners) {
  const signed = new Set(cosigners);
  for (const [name, group] of policy.groups) if (group.members.filter((one) => signed.has(one)).length >= group.needed) signed.add(name);
  const [, quorum] = [...policy.groups].find(([name]) => name.startsWith("consortium@")) ?? [];
  return (quorum?.members ?? cosigners).filter((one) => signed.has(one));
}
