// Line 3: how much of the encounter is shown, and is the claim about what the hospital's invoice says?
import { itemsSum, moneyOf, textOf } from "./reading.js";
import { finding, listed } from "./verdict.js";

const LINE = /^\/lineItem\/([0-9]+)\/[^\n]+$/;
const COMPONENT = /^\/(?:lineItem\/[0-9]+\/priceComponent|totalPriceComponent)\/[0-9]+\/type$/;
// Types of price components that change no total.
const UNCHANGING = ["base", "informational"];
const PRICE = /^(\/lineItem\/([0-9]+)\/priceComponent\/[0-9]+)\/amount\/value$/;
/** Where an invoice says what it is about; the first that is shown counts. */
export const TOTALS = ["/totalGross", "/totalNet"];

const isSame = (one, other) => other !== null && one.minor === other.minor && one.currency === other.currency;
const itemsOf = (records) => records.flatMap(({ items }) => items);

export function* complete(checked) {
  if (!checked.claim.cited.length) yield finding("complete.nothing_cited");
  yield* counts(checked);
  yield* amounts(checked);
}

function* counts({ given, records }) {
  const facts = given.flatMap((one) => one.facts("record_count"));
  if (!facts.length || facts.some(({ value }) => value === null)) yield finding("complete.unknown");
  if (!facts.length) return;
  const found = new Map();
  for (const { arguments: { type }, value } of facts) if (value !== null) found.set(type, (found.get(type) ?? 0) + value);
  const cited = given.flatMap((one) => one.of("cited"));
  const encounters = given.reduce((sum, one) => sum + new Set(one.facts("record_count").map((fact) => fact.arguments.encounter)).size, 0);
  const all = [...found.values()].reduce((sum, value) => sum + value, 0);
  yield finding("complete.counts", { all, cited: cited.length, encounters }, itemsOf(cited));
  const left = (type) => found.get(type) - records.filter(({ row }) => row.type === type).length;
  const others = [...found.keys()].filter((type) => left(type) > 0).map((type) => `${type} ${left(type)}`);
  if (others.length) yield finding("complete.others", { types: listed(others) });
}

function* amounts({ claim: { isUnread, isWhole, items, total }, given }) {
  if (total === null || isUnread) yield finding("complete.unknown");
  if (total !== null && items !== null && !isTotal(items, total, isWhole)) yield differs("complete.items_differ", items.minor, total);
  const invoices = given.flatMap((one) => one.of("invoice")).filter(({ head }) => head !== null);
  const bills = invoices.map((record) => [record, billOf(record.fields)]).filter(([, bill]) => bill !== null);
  for (const [record, bill] of bills) {
    const came = linesOf(record.fields);
    const isBilled = came !== null && TOTALS.some((name) => isSame(came, moneyOf(record.fields, name)));
    // Not silent: who leaves a price out could hide that the lines do not make the total.
    if (came === null || (!isBilled && isChanged(record.fields))) yield finding("complete.lines", record.name, record.items);
    else if (!isBilled) yield differs("complete.items_differ", came.minor, bill, record.items);
  }
  if (!bills.length) yield finding("complete.no_invoice");
  else if (total !== null) yield compared(total, bills);
}

// Whether items come to a total; of items that do not all have a net, nobody knows what they come to.
const isTotal = (items, total, isWhole) => items.currency === total.currency && (!isWhole || items.minor === total.minor);

// Whether a discount, a tax or the like stands beside the base prices: none says whether it is taken off.
const isChanged = (told) => [...told.keys()].some((name) => COMPONENT.test(name) && !UNCHANGING.includes(textOf(told, name)));

function compared(total, bills) {
  const numbers = itemsOf(bills.map(([record]) => record));
  const billed = { currency: bills[0][1].currency, minor: bills.reduce((sum, [, { minor }]) => sum + minor, 0) };
  if (bills.some(([, bill]) => bill.currency !== total.currency) || total.minor > billed.minor) return differs("complete.total_differs", total.minor, billed, numbers);
  if (total.minor < billed.minor) return differs("complete.part", total.minor, billed, numbers);
  return finding("complete.total", { amount: total.minor, currency: total.currency }, numbers);
}

const differs = (code, amount, total, items = []) => finding(code, { amount, currency: total.currency, total: total.minor }, items);

const billOf = (told) => TOTALS.map((name) => moneyOf(told, name)).find((one) => one !== null) ?? null;

// The base prices of an invoice's lines together; null where not every line has exactly one, or currencies differ.
function linesOf(told) {
  const prices = new Map([...told.keys()].map((pointer) => LINE.exec(pointer)?.[1]).filter((one) => one !== undefined).map((one) => [one, []]));
  for (const pointer of told.keys()) {
    const match = PRICE.exec(pointer);
    if (match !== null && textOf(told, `${match[1]}/type`) === "base") prices.get(match[2]).push(moneyOf(told, `${match[1]}/amount`));
  }
  const rows = [...prices.values()];
  const found = rows.filter((row) => row.length === 1 && row[0] !== null).map(([one]) => one);
  const isWhole = rows.length > 0 && found.length === rows.length && new Set(found.map(({ currency }) => currency)).size === 1;
  return isWhole ? itemsSum(found) : null;
}
