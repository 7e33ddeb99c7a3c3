// What a FHIR Claim or ExplanationOfBenefit says that a verdict needs, read to the letter: docs/spec/claim-verdict.md 2, 3.
import { byText, malformed, text } from "../encoding.js";
import { recordFields } from "../fields.js";
import { floorSeconds, lengthOf, spanOf } from "./content.js";
import { amountOf } from "./invoice.js";

const ORGANISATION_SYSTEM = "https://medchain.example/fhir/id/organization";
const CITED =
  /^(?:\/supportingInfo\/[0-9]+\/valueReference\/reference|\/diagnosis\/[0-9]+\/diagnosisReference\/reference|\/procedure\/[0-9]+\/procedureReference\/reference|\/item\/[0-9]+\/encounter\/[0-9]+\/reference|\/(?:originalPrescription|prescription|referral)\/reference)$/;
const REFERENCE = /^(?:([^\n]+)\/)?([A-Z][A-Za-z]{0,63}\/[A-Za-z0-9.-]{1,64})(?:\/_history\/[A-Za-z0-9.-]{1,64})?$/;
// One long name would else fill a reader's memory.
const MAX_POINTERS = 16 * 1024 * 1024;
const ITEM = /^\/item\/([0-9]+)\/([^\n]+)$/;
const SERVICE = /^\/item\/[0-9]+\/(?:servicedDate|servicedPeriod\/start|servicedPeriod\/end)$/;
const SUBMITTED = /^\/total\/([0-9]+)\/category\/coding\/[0-9]+\/code$/;

/** Fields of a record by JSON pointer, as JSON text. */
export const toldOf = (content) => new Map(recordFields(content, MAX_POINTERS).map(([name, value]) => [name, text(value)]));

/** A text of what was taken apart; null for anything else. */
export function textOf(told, pointer) {
  const value = told.get(pointer) ?? "";
  return value.startsWith('"') ? JSON.parse(value) : null;
}

/** FHIR Money, from its digits; null for what is none. */
export function moneyOf(told, pointer) {
  const currency = textOf(told, `${pointer}/currency`);
  if (currency === null) return null;
  try {
    return amountOf(told.get(`${pointer}/value`) ?? "", currency);
  } catch {
    return null;
  }
}

/** The day of a date or dateTime as it is written; null for what names no day. */
export const dayWritten = (written) => (written === null || lengthOf(written) < 10 || spanOf(written) === null ? null : written.slice(0, 10));

/** Reads a claim. */
export function readClaim(content) {
  const told = toldOf(content);
  if (!["Claim", "ExplanationOfBenefit"].includes(textOf(told, "/resourceType"))) throw malformed("evidence.claim");
  const created = spanOf(textOf(told, "/created") ?? "");
  const last = created === null ? null : floorSeconds(created[1] - 1n);
  const isMember = textOf(told, "/provider/identifier/system") === ORGANISATION_SYSTEM;
  const billed = daysAt(told, [...told.keys()].filter((pointer) => SERVICE.test(pointer)));
  const { isWhole, nets } = netsOf(told);
  const items = itemsSum(nets);
  return {
    billed,
    cited: citedBy(told),
    created: last === null ? null : Math.max(last, 0),
    isActive: [null, "active"].includes(textOf(told, "/status")),
    isUnread: nets.length > 0 && items === null,
    isWhole,
    items,
    provider: isMember ? textOf(told, "/provider/identifier/value") : null,
    // Only where items have no days those of the whole.
    services: billed.length ? billed : daysAt(told, ["/billablePeriod/start", "/billablePeriod/end"]),
    total: totalOf(told, isWhole ? items : null),
  };
}

function citedBy(told) {
  const found = new Map();
  for (const pointer of told.keys()) {
    const match = CITED.test(pointer) ? REFERENCE.exec(textOf(told, pointer) ?? "") : null;
    if (match !== null) found.set(`${match[1] ?? ""}\n${match[2]}`, { base: match[1] ?? "", reference: match[2] });
  }
  return [...found.values()].sort((one, other) => byText(one.reference, other.reference) || byText(one.base, other.base));
}

// The days that stand at some places, sorted, each once.
function daysAt(told, pointers) {
  const days = pointers.map((pointer) => dayWritten(textOf(told, pointer))).filter((day) => day !== null);
  return [...new Set(days)].sort();
}

// The net of each item that has one, null for one that cannot be read; and whether every item has one.
function netsOf(told) {
  const matches = [...told.keys()].map((pointer) => ITEM.exec(pointer)).filter((one) => one !== null);
  const having = new Set(matches.filter(([, , name]) => name.split("/")[0] === "net").map(([, number]) => number));
  const nets = [...having].map((number) => moneyOf(told, `/item/${number}/net`));
  return { isWhole: having.size === new Set(matches.map(([, number]) => number)).size, nets };
}

function totalOf(told, items) {
  const submitted = [...told.keys()].filter((pointer) => SUBMITTED.test(pointer) && textOf(told, pointer) === "submitted");
  // One that is there and cannot be read is not known: the items' sum may be another.
  if (told.has("/total/currency") || told.has("/total/value")) return moneyOf(told, "/total");
  if (submitted.length) return moneyOf(told, `/total/${SUBMITTED.exec(submitted[0])[1]}/amount`);
  return items;
}

/** The sum of amounts; null of none, where one is not known, and of several currencies. */
export function itemsSum(amounts) {
  const isKnown = amounts.length > 0 && !amounts.includes(null) && new Set(amounts.map(({ currency }) => currency)).size === 1;
  return isKnown ? { currency: amounts[0].currency, minor: amounts.reduce((sum, { minor }) => sum + minor, 0) } : null;
}
