// Small typed pieces of documents, and dates: medchain/ledger/kinds/content.py, medchain/dates.py, in UTC.
import { hasExactly, malformed } from "../encoding.js";

const MAX_TEXT = 200;
/** Seconds of a day. */
export const DAY_S = 86400;

/** How long a text is as the ledger counts: in code points. */
export const lengthOf = (text) => (text.length < 2 ? text.length : [...text].length);

/** Takes an object with exactly these members, given joined by commas. */
export function exactly(value, names) {
  if (!hasExactly(value, names)) throw malformed("encoding.members");
  return value;
}

/** Reads a text of 1 to 200 characters. */
export function shortText(value) {
  if (typeof value !== "string" || value === "" || lengthOf(value) > MAX_TEXT) throw malformed("content.text");
  return value;
}

/** Reads a number that is not negative. */
export function count(value) {
  if (!Number.isSafeInteger(value) || value < 0) throw malformed("content.number");
  return value;
}

/** Reads a span of time, both ends included: an end may be open. */
export function period(value) {
  const isPeriod = hasExactly(value, "end,start") && Number.isSafeInteger(value.start) && value.start >= 0;
  if (!isPeriod || !(value.end === null || (Number.isSafeInteger(value.end) && value.end >= value.start))) throw malformed("content.period");
  return value;
}

/** Reads null, or what `read` reads. */
export const orNull = (value, read) => (value === null ? null : read(value));

const DATE =
  /^([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2})(?:T([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,12}))?)?(Z|[+-][0-9]{2}:[0-9]{2})?)?)?)?$/;

/** Days since 1970-01-01 of a day of the calendar; null for none. */
export function dayNumber(year, month, day) {
  const made = new Date(0);
  made.setUTCFullYear(year, month - 1, day);
  const isDay = year >= 1 && year <= 9999 && made.getUTCFullYear() === year && made.getUTCMonth() === month - 1 && made.getUTCDate() === day;
  return isDay ? made.getTime() / (DAY_S * 1000) : null;
}

/** The time that a FHIR date covers, as [low, high) in microseconds since 1970, BigInt; null for what is no date. */
export function spanOf(text) {
  const match = DATE.exec(text);
  if (match === null) return null;
  const [year, month, day] = [match[1], match[2] ?? "1", match[3] ?? "1"].map(Number);
  const first = dayNumber(year, month, day);
  if (first === null) return null;
  if (match[4] !== undefined) return timeOf(first, match.slice(4));
  const next = new Date(0);
  if (match[3] !== undefined) next.setTime((first + 1) * DAY_S * 1000);
  else if (match[2] !== undefined) next.setUTCFullYear(year, month, 1);
  else next.setUTCFullYear(year + 1, 0, 1);
  return [BigInt(first * DAY_S) * SECOND, BigInt(next.getTime() / 1000) * SECOND];
}

const SECOND = 1_000_000n;
const MAX_OFFSET_S = 14 * 3600;

function timeOf(day, [hours, minutes, written, fraction, zone]) {
  const [hour, minute, second] = [Number(hours), Number(minutes), Number(written ?? 0)];
  // A leap second is taken as the first of the next minute, as clocks do.
  if (hour > 23 || minute > 59 || second > 60) return null;
  const ahead = zone === undefined || zone === "Z" ? 0 : Number(zone.slice(1, 3)) * 3600 + Number(zone.slice(4)) * 60;
  if (ahead > MAX_OFFSET_S || (zone ?? "").slice(4) > "59") return null;
  const seconds = day * DAY_S + (hour * 60 + minute) * 60 + second - (zone?.startsWith("-") ? -ahead : ahead);
  const low = BigInt(seconds) * SECOND;
  if (written === undefined) return [low, low + 60n * SECOND];
  if (fraction === undefined) return [low, low + SECOND];
  const fine = low + BigInt(fraction.slice(0, 6).padEnd(6, "0"));
  return [fine, fine + 10n ** BigInt(Math.max(0, 6 - fraction.length))];
}

/** Writes a day, given in days since 1970-01-01. */
export const dayText = (day) => new Date(day * DAY_S * 1000).toISOString().slice(0, 10);

/** Microseconds, BigInt, as whole seconds, rounded down. */
export function floorSeconds(micros) {
  const seconds = micros / SECOND;
  return Number(micros % SECOND < 0n ? seconds - 1n : seconds);
}
