// Which invoice is meant, in its one spelling, and exact amounts: medchain/ledger/invoice.py, docs/spec/claim.md 1 to 4.
// An amount is a whole number of its currency's smallest unit, read from the digits: never a fraction of JavaScript's.
import { digest, isObject, joined, malformed, uint64, utf8 } from "../encoding.js";
import { dayNumber, dayText, lengthOf } from "./content.js";

const MAX_TEXT = 200;
const MAX_MINOR = 10 ** 15;
const MAX_LINE = 9999;
const LAST_DAY = dayNumber(9999, 12, 31);
const DATE = /^([0-9]{4})(?:([0-9]{2})([0-9]{2})|([-/.年])([0-9]{1,2})([-/.月])([0-9]{1,2})日?)(?:T[0-9:.]{1,18}(?:Z|[+-][0-9]{2}:[0-9]{2})?)?$/;
const PARTED = ["--", "//", "..", "年月"];
// What Python takes for white space.
const SPACE = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/g;
// What is looked at: whoever has a newer Unicode knows more characters, some of them digits, and would spell otherwise.
const WRITTEN =
  /^[\x00-\xff\u2000-\u206f\u2100-\u214f\u2460-\u24ff\u2f00-\u2fd5\u3000-\u303f\u30fb\u5e74\u65e5\u6708\ufe30-\ufe6f\ufeff\uff00-\uffef]*$/;
const BETWEEN = /[\p{Z}\p{P}\p{Cc}\p{Cf}]/gu;
const MEMBERS = ["code", "date", "issuer", "line", "number", "scope"];
const SCOPES = ["encounter", "invoice", "item"];
const USUAL_EXPONENT = 2;
const EXPONENTS = new Map([
  ...["BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"].map((one) => [one, 0]),
  ...["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"].map((one) => [one, 3]),
  ...["CLF", "UYW"].map((one) => [one, 4]),
]);

/** Takes an amount in smallest units. */
export function checkedMinor(value) {
  if (!Number.isSafeInteger(value) || value < 0 || value > MAX_MINOR) throw malformed("invoice.amount");
  return value;
}

/** Refuses what is no currency. */
export const checkCurrency = (currency) => void exponentOf(currency);

function exponentOf(currency) {
  if (typeof currency !== "string" || !/^[A-Z]{3}$/.test(currency)) throw malformed("invoice.currency");
  return EXPONENTS.get(currency) ?? USUAL_EXPONENT;
}

/** Reads an amount from its digits. */
export function amountOf(value, currency) {
  const exponent = exponentOf(currency);
  const match = /^([0-9]{1,15})(?:\.([0-9]{1,9}))?$/.exec(value);
  const part = (match?.[2] ?? "").replace(/0+$/, "");
  if (match === null || part.length > exponent) throw malformed("invoice.amount");
  const minor = BigInt(match[1] + part.padEnd(exponent, "0"));
  if (minor > BigInt(MAX_MINOR)) throw malformed("invoice.amount");
  return { currency, minor: Number(minor) };
}

/** Writes an amount with all digits of its currency. */
export function amountText({ currency, minor }) {
  const exponent = exponentOf(currency);
  const digits = String(minor).padStart(exponent + 1, "0");
  return exponent ? `${digits.slice(0, -exponent)}.${digits.slice(-exponent)}` : digits;
}

const isWritten = (text) => lengthOf(text) <= MAX_TEXT && WRITTEN.test(text);

/** Spells a code or number in the one way. */
export function spelled(text, member) {
  const kept = !isWritten(text) ? "" : text.normalize("NFKC").replace(BETWEEN, "");
  const made = /^[\x00-\x7f]*$/.test(kept) ? kept.toUpperCase() : "";
  if (!/^[0-9A-Z]{1,32}$/.test(made)) throw malformed(`invoice.${member}`);
  return made;
}

/** Reads the date of an invoice, however it is written: days since 1970-01-01. */
export function dayOf(text) {
  const match = !isWritten(text) ? null : DATE.exec(text.normalize("NFKC").replace(SPACE, ""));
  if (match === null || (match[4] !== undefined && !PARTED.includes(match[4] + match[6]))) throw malformed("invoice.date");
  const found = dayNumber(Number(match[1]), Number(match[2] ?? match[5]), Number(match[3] ?? match[7]));
  if (found === null || found < 0) throw malformed("invoice.date");
  return found;
}

/** Spells what names an invoice, an item of it, or a visit. */
export function invoiceOf({ code, day, issuer, line, number, scope }) {
  // It would be a second id of one visit.
  if (scope === "encounter" && code) throw malformed("invoice.code");
  if (!(day >= 0 && day <= LAST_DAY)) throw malformed("invoice.date");
  if (!(scope === "item" ? line >= 1 && line <= MAX_LINE : line === 0)) throw malformed("invoice.line");
  const [by, of, named] = [spelled(issuer, "issuer"), code ? spelled(code, "code") : "", spelled(number, "number")];
  return { code: of, date: dayText(day), day, issuer: by, line, number: named, scope };
}

/** Reads fields that must be spelled in the one way already. */
export function readInvoice(content) {
  const told = isObject(content) ? content : {};
  const areTexts = MEMBERS.every((name) => Object.hasOwn(told, name) && typeof told[name] === (name === "line" ? "number" : "string"));
  if (!areTexts || !SCOPES.includes(told.scope)) throw malformed("invoice.malformed");
  const made = invoiceOf({ ...told, day: dayOf(told.date) });
  if (MEMBERS.some((name) => made[name] !== told[name])) throw malformed("invoice.spelling");
  return made;
}

/** What the issuer's verifiable random function is computed of. */
export function alphaOf({ code, date, issuer, line, number, scope }) {
  const parts = ["medchain/invoice/v1", scope, issuer, code, number, date, String(line)].map(utf8);
  return joined(...parts.flatMap((part) => [uint64(part.length), part]));
}

/** The object id of an invoice's claims, of an output of that function. */
export const claimId = (beta) => digest("medchain/claim-id/v1", beta).subarray(0, 16);
