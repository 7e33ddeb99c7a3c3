// Canonical bytes and what is read from them: docs/spec/encoding.md, as strictly as medchain/encoding.py reads.
import { sha256 } from "@noble/hashes/sha2.js";

export { sha256 };

/** What must not hold: a proof that is broken (`refused`), or what is no bundle at all. */
export class ProofError extends Error {
  constructor(code, isRefused) {
    super(code);
    this.code = code;
    this.isRefused = isRefused;
  }
}

/** Something that is not of the format. */
export const malformed = (code) => new ProofError(code, false);

/** Something of the format that does not hold. */
export const refused = (code) => new ProofError(code, true);

export const HASH_BYTES = 32;
const MAX_DEPTH = 32;
// Of opening brackets, in texts or not: each array and object costs more than it is long.
const MAX_BRACKETS = 1_000_000;
const BRACKETS = [..."[{"].map((sign) => sign.charCodeAt(0));

const encoder = new TextEncoder();
// A byte order mark is kept, and refused by what reads the text.
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export const utf8 = (text) => encoder.encode(text);

/** Reads UTF-8; undefined for bytes that are none. */
export function text(bytes) {
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}

export function joined(...parts) {
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

const DIGITS = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

export const hex = (bytes) => Array.from(bytes, (byte) => DIGITS[byte]).join("");

export const same = (one, other) => one.length === other.length && one.every((byte, at) => byte === other[at]);

/** Orders byte strings as Python does. */
export function byBytes(one, other) {
  const size = Math.min(one.length, other.length);
  for (let at = 0; at < size; at += 1) if (one[at] !== other[at]) return one[at] - other[at];
  return one.length - other.length;
}

/** Orders texts by code points, as Python does; JavaScript's own order is by UTF-16 units. */
export const byText = (one, other) => (one === other ? 0 : byBytes(utf8(one), utf8(other)));

export function unhex(value, size) {
  if (typeof value !== "string" || value.length !== 2 * size || !/^[0-9a-f]*$/.test(value)) throw malformed("encoding.hex");
  return Uint8Array.from({ length: size }, (_, at) => Number.parseInt(value.slice(2 * at, 2 * at + 2), 16));
}

/** Standard base64 with padding, in its canonical spelling only. */
export function unbase64(value, maxBytes = 1 << 20) {
  const isText = typeof value === "string" && value.length <= 4 * (Math.floor(maxBytes / 3) + 1) && value.length % 4 === 0;
  if (!isText || !/^[A-Za-z0-9+/]*={0,2}$/.test(value)) throw malformed("encoding.base64");
  let raw;
  try {
    raw = atob(value);
  } catch {
    throw malformed("encoding.base64");
  }
  const bytes = new Uint8Array(raw.length);
  for (let at = 0; at < raw.length; at += 1) bytes[at] = raw.charCodeAt(at);
  // Bits that no byte takes up must be zero: of the last sign alone can they be another.
  if (value.endsWith("=") && btoa(raw.slice(-(raw.length % 3))) !== value.slice(-4)) throw malformed("encoding.base64");
  return bytes;
}

export function base64(bytes) {
  let raw = "";
  for (let at = 0; at < bytes.length; at += 8192) raw += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(raw);
}

/** A number as eight bytes, the highest first. */
export function uint64(value) {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value));
  return bytes;
}

/** SHA-256 over a domain tag and fields, each prefixed by its length. */
export function digest(tag, ...fields) {
  return sha256(joined(...[utf8(tag), ...fields].flatMap((part) => [uint64(part.length), part])));
}

/** JSON in its one spelling (RFC 8785), of what has whole numbers alone. */
export function canonical(value) {
  return utf8(spelled(value, MAX_DEPTH));
}

function spelled(value, depth) {
  if (value === null || typeof value === "boolean") return String(value);
  if (typeof value === "string" && value.isWellFormed()) return JSON.stringify(value);
  if (Number.isSafeInteger(value)) return String(value);
  if (typeof value !== "object" || depth === 0) throw malformed("encoding.not_representable");
  if (Array.isArray(value)) return `[${value.map((one) => spelled(one, depth - 1)).join(",")}]`;
  const names = Object.keys(value).sort();
  if (!names.every((name) => /^[\x00-\x7f]*$/.test(name))) throw malformed("encoding.not_representable");
  return `{${names.map((name) => `${JSON.stringify(name)}:${spelled(value[name], depth - 1)}`).join(",")}}`;
}

/** Reads JSON, of any spelling; numbers that JavaScript does not keep are left to who looks at them. */
export function parsed(bytes, code) {
  const found = text(bytes);
  try {
    return JSON.parse(found);
  } catch {
    throw malformed(code);
  }
}

/** Reads canonical JSON, and refuses every other spelling of the same value. */
export function parseCanonical(bytes, maxBytes) {
  if (bytes.length > maxBytes) throw malformed("encoding.too_large");
  if (bytes.length > MAX_BRACKETS && bytes.reduce((count, byte) => count + BRACKETS.includes(byte), 0) > MAX_BRACKETS) throw malformed("encoding.too_many");
  const value = parsed(bytes, "encoding.not_json");
  if (!same(canonical(value), bytes)) throw malformed("encoding.not_canonical");
  return value;
}

const KINDS = {
  bool: (value) => typeof value === "boolean",
  dict: (value) => isObject(value),
  int: (value) => Number.isSafeInteger(value),
  list: (value) => Array.isArray(value),
  str: (value) => typeof value === "string",
};

export const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** Whether names are exactly these, given joined by commas, in any order. */
export function areExactly(found, names) {
  const needed = names.split(",");
  return found.length === needed.length && needed.every((name) => found.includes(name));
}

/** Whether a value is an object with exactly these members, given joined by commas. */
export const hasExactly = (value, names) => isObject(value) && areExactly(Object.keys(value), names);

/** The member of an object, undefined where it has none of its own. */
export const member = (value, name) => (isObject(value) && Object.hasOwn(value, name) ? value[name] : undefined);

/** Checks that a value is an object with exactly the members named, each of the kind named: "a:str b:int". */
export function members(value, required, optional = "") {
  if (!isObject(value)) throw malformed("encoding.members");
  const [needed, more] = [required, optional].map((list) => new Map(list.split(" ").filter(Boolean).map((one) => one.split(":"))));
  for (const [name, kind] of needed) if (!KINDS[kind](member(value, name))) throw malformed("encoding.members");
  for (const name of Object.keys(value)) {
    if (!needed.has(name) && !(more.has(name) && KINDS[more.get(name)](value[name]))) throw malformed("encoding.members");
  }
  return value;
}
