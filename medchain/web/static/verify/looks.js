// The list of who looked at a patient's records at one custodian: that it is whole up to a root on the ledger, as
// medchain/ledger/looks.py judges: docs/spec/looks.md 6.
import { canonical, digest, isObject, malformed, members, parseCanonical, refused, same, uint64, unhex, utf8 } from "./encoding.js";
import { mapKey } from "./object.js";
import { readProof, verifyMap } from "./statemap.js";

const MAX_LOOKS = 1000;
const MAX_TEXT = 200;
const MAX_ROOT_BYTES = 1 << 16;
const AHEAD_S = 60;
const TEXTS = ["action", "client", "event", "purpose", "role", "who"];

function natural(value) {
  if (!Number.isSafeInteger(value) || value < 0) throw malformed("looks.malformed");
  return value;
}

/** Judges a list under the root that an opening shows. */
export function openLooks(bytes, record, newest, opened, time) {
  const id = digest("medchain/looks-id/v1", utf8(record.creator)).subarray(0, 16);
  if (!same(record.key, mapKey("record", record.creator, id)) || record.status !== "active") throw refused("looks.object");
  if (record.version !== newest) throw refused("looks.version");
  const root = readRoot(opened);
  if (root.time > time + AHEAD_S) throw refused("looks.time");
  const top = members(parseCanonical(bytes, bytes.length), "chain:str entries:list head:list next:dict patient:str type:str");
  const chain = unhex(top.chain, 32);
  if (top.type !== "medchain/looks/v1") throw malformed("looks.malformed");
  const entries = top.entries.map(readEntry);
  const patient = utf8(top.patient);
  const last = lastOf(entries, chain, patient, root.time);
  if (top.head.length !== Math.min(entries.length, 1)) throw refused("looks.proof");
  const place = (number) => digest("medchain/look-place/v1", chain, patient, uint64(number));
  for (const head of top.head) checkPlace(root.root, head, place(entries.length), last);
  checkPlace(root.root, top.next, place(entries.length + 1), null);
  return { custodian: record.creator, entries, lost: root.lost, patient: top.patient, until: root.time, version: record.version };
}

function readRoot(opened) {
  const top = members(parseCanonical(opened, MAX_ROOT_BYTES), "lost:list root:str time:int type:str");
  if (top.type !== "medchain/looks-root/v1") throw malformed("looks.malformed");
  const root = { root: unhex(top.root, 32), time: natural(top.time) };
  let after = 0;
  for (const row of top.lost) {
    const isSpan = Array.isArray(row) && row.length === 2 && row.every((one) => natural(one) === one);
    if (!isSpan || !(after < row[0] && row[0] <= row[1])) throw malformed("looks.malformed");
    [, after] = row;
  }
  return { ...root, lost: top.lost };
}

function readEntry(value) {
  const previous = isObject(value) && Object.hasOwn(value, "previous") ? value.previous : null;
  const { previous: _, ...rest } = isObject(value) ? value : {};
  const top = members(rest, "looks:list number:int time:int");
  if (top.looks.length < 1 || top.looks.length > MAX_LOOKS) throw malformed("looks.malformed");
  const before = previous === null ? null : unhex(previous, 32);
  top.looks.forEach(checkLook);
  return { looks: top.looks, number: natural(top.number), previous: before, time: natural(top.time), written: canonical({ ...top, previous }) };
}

function checkLook(value) {
  const top = members(value, `${TEXTS.map((name) => `${name}:str`).join(" ")} refused:bool time:int types:list`);
  natural(top.time);
  const areTexts = TEXTS.every((name) => [...top[name]].length <= MAX_TEXT) && top.types.every((one) => typeof one === "string");
  const isSorted = areTexts && same(canonical(top.types), canonical([...new Set(top.types)].sort()));
  if (!isSorted) throw malformed("looks.malformed");
}

// Entries follow on each other; returns the value of the last one.
function lastOf(entries, chain, patient, until) {
  let [value, time] = [null, 0];
  entries.forEach((entry, at) => {
    const follows = value === null ? entry.previous === null : entry.previous !== null && same(entry.previous, value);
    if (entry.number !== at + 1 || !follows) throw refused("looks.chain");
    if (!(time <= entry.time && entry.time <= until) || entry.looks.some((look) => look.time > entry.time)) throw refused("looks.time");
    value = digest("medchain/look-entry/v1", chain, patient, entry.written);
    ({ time } = entry);
  });
  return value;
}

// What the map has at a place, null for nothing.
function checkPlace(root, proof, place, value) {
  const found = readProof(canonical(proof));
  const isIt = same(found.key, place) && (value === null ? found.value === null : found.value !== null && same(found.value, value));
  if (!isIt) throw refused("looks.proof");
  verifyMap(root, found);
}
