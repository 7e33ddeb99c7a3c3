// Line 5: what the ledger holds under the invoice's claim id, which only its hospital can give: docs/spec/claim.md 7 to 17.
import { areExactly, hex, isObject, malformed, members, ProofError, unbase64, unhex } from "../encoding.js";
import { mapKey } from "../object.js";
import { bodyOf } from "./access.js";
import { count, DAY_S, orNull, shortText } from "./content.js";
import { checkCurrency, checkedMinor, readInvoice, spelled } from "./invoice.js";
import { dayWritten, textOf } from "./reading.js";
import { finding } from "./verdict.js";

const ABSENT = "unclaimed.absent";
const SYSTEM = "https://medchain.example/fhir/id/";
const FORMS = ["e-invoice", "paper-invoice"];
const PARTS = ["code", "number"];
const COUNTING = ["balanced", "issued"];
const MAX_IDENTIFIERS = 100;
const UNASKED = {
  inactive: "unclaimed.inactive",
  none: "unclaimed.no_copy",
  outside: "unclaimed.outside",
  refused: "unclaimed.refused",
  stopped: "unclaimed.stopped",
  unreachable: "unclaimed.unreachable",
};
const FIXED = ["check_code", "code", "currency", "date", "issuer", "key", "line", "number", "proof", "replaces", "scope"];
const SHOWN = [...FIXED, "deed", "open", "time", "total"].join();
const SHARES = [1, 2, 3, 4, 5, 6, 7, 8].map((place) => `share_${place}`);
const ASKED = ["reserve", "settle", "release"];
const ACTIONS = [...ASKED, "reverse", "refund"];

export function* unclaimed(checked) {
  const { evidence, items, known } = checked;
  const { hospital, state } = evidence.question;
  const name = { hospital: hospital ?? "" };
  if (Object.hasOwn(UNASKED, state)) yield finding(UNASKED[state]);
  else if (known === null) yield finding("unclaimed.unknown", name);
  else {
    const placed = items.get(hex(mapKey("claim", hospital, known.claimId)));
    const found = placed === undefined ? finding("unclaimed.missing", name) : standing(checked, placed, name);
    if (known.apart) yield finding("unclaimed.apart", name);
    // That nothing is claimed under this id would read as if nothing were claimed at all.
    if (!known.apart || found.code !== ABSENT) yield found;
    if (known.invoice.scope !== "invoice") yield finding("unclaimed.line", name);
    for (const { fields, head, hospital: of, items: numbers, name: named } of checked.given.flatMap((one) => one.of("invoice"))) {
      if (of !== hospital || isOther(fields, known.invoice)) yield finding("unclaimed.other_invoice", named, numbers);
      else if (head !== null && !isNamed(fields, known.invoice)) yield finding("unclaimed.unshown", named, numbers);
    }
  }
}

/** The invoices that the hospital shows which was asked. */
export const invoicesOf = ({ evidence, given }) => given.filter(({ hospital }) => hospital === evidence.question.hospital).flatMap(({ of }) => of("invoice"));

function standing(checked, placed, name) {
  const { item: { newest: head }, number } = placed;
  // What an answer says beside the id nobody has signed: what the hospital shows of the invoice counts as well.
  const statuses = invoicesOf(checked).map(({ fields }) => textOf(fields, "/status"));
  const isCounting = statuses.every((one) => one === null || COUNTING.includes(one));
  if (checked.known.differs.includes("status") || !isCounting || head?.status === "reversed") return finding("unclaimed.reversed", name, [number]);
  if (head === null || isFree(head, Math.floor(checked.state.time / DAY_S))) return finding(ABSENT, name, [number]);
  const body = bodyOf(placed.item);
  return body === null ? finding("unclaimed.claimed", name, [number]) : parts(checked, readClaimed(body.content), placed, name);
}

// Whether nothing is claimed any more: of a later version the status does not show what was paid beside it.
const isFree = (head, day) => head.status === "released" || (head.status === "reserved" && head.version === 1 && head.expires !== null && head.expires < day);

// What this insurer has, and what is left.
function parts({ claim: { total }, evidence, state }, claimed, { item, number }, name) {
  const day = Math.floor(state.time / DAY_S);
  const isLive = (one) => one.state !== "released" && !(one.until !== null && one.until < day);
  const money = { ...name, currency: claimed.currency };
  const own = claimed.shares.filter((one) => one !== null && isLive(one) && one.insurer === evidence.insurer);
  const mine = own.filter((one) => one.claim === evidence.claim);
  if (mine.length < own.length) return finding("unclaimed.claimed", name, [number]);
  const isHead = item.newest.version === item.proven.version;
  if (mine.length) {
    const told = { ...money, amount: mine[0].amount };
    // What a part was taken of has become less since: to settle it is refused, and what is settled is too much.
    if (claimed.open < 0) return finding("unclaimed.refunded", { ...told, total: claimed.total }, [number]);
    if (isHead) return finding("unclaimed.own", told, [number]);
    return finding("unclaimed.own_before", { ...told, newest: item.newest.version, version: item.proven.version }, [number]);
  }
  const isEnough = total !== null && total.currency === claimed.currency && claimed.open >= total.minor;
  if (isHead && isEnough) return finding("unclaimed.enough", { ...money, open: claimed.open }, [number]);
  return finding("unclaimed.claimed", name, [number]);
}

// Whether an invoice that is opened names itself otherwise than the one of the claim id.
function isOther(told, invoice) {
  const own = namesOf(told);
  const isSame = PARTS.every((part) => !own[part].length || own[part].includes(invoice[part]));
  const day = dayWritten(textOf(told, "/date"));
  return !isSame || (day !== null && day !== invoice.date);
}

// Whether an invoice opens what tells it from others: who shows it could leave out where it is another.
function isNamed(told, invoice) {
  const own = namesOf(told);
  const areShown = PARTS.every((part) => own[part].length || invoice[part] === "");
  return areShown && dayWritten(textOf(told, "/date")) !== null && textOf(told, "/status") !== null;
}

// The codes and numbers that an invoice opens, of whichever form.
function namesOf(told) {
  const names = new Map(identifiers(told));
  const of = (part) => FORMS.map((form) => names.get(`${SYSTEM}${form}-${part}`) ?? "").filter(Boolean);
  return Object.fromEntries(PARTS.map((part) => [part, of(part)]));
}

// System and value of a record's identifiers, spelled as invoices are.
function identifiers(told) {
  const found = [];
  for (let place = 0; place < MAX_IDENTIFIERS; place += 1) {
    const [system, value] = ["system", "value"].map((name) => textOf(told, `/identifier/${place}/${name}`));
    if (system !== null && value !== null) found.push([system, spelledOr(value)]);
  }
  return found;
}

function spelledOr(value) {
  try {
    return spelled(value, "number");
  } catch (error) {
    if (error instanceof ProofError) return value;
    throw error;
  }
}

// A claim's content, whole or as an insurer is shown it.
function readClaimed(content) {
  const isWhole = SHARES.every((name) => content.has(name));
  const names = [...content.keys()].filter((name) => !SHARES.includes(name));
  if (!areExactly(names, SHOWN)) throw malformed("content.fields");
  readInvoice(Object.fromEntries(content));
  const octets = (name, size) => {
    if (unbase64(content.get(name)).length !== size) throw malformed("claim.malformed");
  };
  octets("key", 32);
  octets("proof", 80);
  const code = shortText(content.get("check_code"));
  if (spelled(code, "check_code") !== code) throw malformed("invoice.spelling");
  const currency = shortText(content.get("currency"));
  orNull(content.get("replaces"), (value) => unhex(value, 32));
  checkCurrency(currency);
  const open = content.get("open");
  if (!Number.isSafeInteger(open)) throw malformed("claim.malformed");
  const shares = SHARES.map((name) => readShare(content.get(name) ?? null));
  const total = checkedMinor(content.get("total"));
  checkDeed(content.get("deed"));
  count(content.get("time"));
  const taken = shares.filter((one) => one !== null && one.state !== "released").reduce((sum, one) => sum + one.amount, 0);
  if (isWhole && open !== total - taken) throw malformed("claim.malformed");
  return { currency, open, shares, total };
}

function readShare(value) {
  if (value === null) return null;
  if (!isObject(value) || !Object.hasOwn(value, "until")) throw malformed("claim.malformed");
  const { until, ...rest } = value;
  const row = members(rest, "amount:int claim:str insurer:str request:str state:str");
  if (!["reserved", "settled", "released"].includes(row.state) || (until === null) === (row.state === "reserved")) throw malformed("claim.malformed");
  const share = { amount: checkedMinor(row.amount), claim: hex(unhex(row.claim, 32)), insurer: shortText(row.insurer), state: row.state };
  unhex(row.request, 32);
  return { ...share, until: orNull(until, count) };
}

function checkDeed(value) {
  if (!isObject(value) || !Object.hasOwn(value, "share")) throw malformed("claim.malformed");
  const { share, ...rest } = value;
  const row = members(rest, "action:str amount:int");
  const isPlace = share === null || (Number.isSafeInteger(share) && share >= 1 && share <= SHARES.length);
  if (!ACTIONS.includes(row.action) || !isPlace || (share === null) === ASKED.includes(row.action)) throw malformed("claim.malformed");
  checkedMinor(row.amount);
}
