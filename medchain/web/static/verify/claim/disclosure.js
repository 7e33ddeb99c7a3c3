// A disclosure for a claim: what a hospital says, over its signature: docs/spec/claim-evidence.md 1 to 6.
import { byBytes, byText, canonical, digest, hasExactly, hex, isObject, malformed, member, members, unbase64, unhex, utf8 } from "../encoding.js";
import { mapKey } from "../object.js";
import { count, exactly, lengthOf, orNull, period, shortText } from "./content.js";

const MAX_ROWS = 480;
const MAX_TEXT = 200;
const MAX_CHANGED = 200;
const MAX_POINTER_BYTES = 256;
// What a record is to a claim that cites it says its type.
const ROLES = new Map([["Encounter", "encounter"], ["Invoice", "invoice"]]);
const REFERENCE = /^[A-Z][A-Za-z]{0,63}\/[A-Za-z0-9.-]{1,64}$/;
const KINDS = { bool: "boolean", int: "number", str: "string" };
const VOCABULARY = {
  age_at_least: ["day:str years:int", "bool"],
  alive_on: ["day:str", "bool"],
  category: ["reference:str", "str"],
  code_in: ["list:str reference:str", "bool"],
  credential: ["day:str reference:str", "str"],
  emergency_accesses: ["from:int to:int", "int"],
  last_emergency_access: ["from:int to:int", "int"],
  overlapping_stays: ["end:str start:str", "int"],
  record_count: ["encounter:str type:str", "int"],
  stay_at_most: ["days:int encounter:str", "bool"],
  surgery: ["encounter:str", "bool"],
};

/** Whether each of a list comes before the next. */
export const isAscending = (list, compare) => list.every((one, at) => at === 0 || compare(list[at - 1], one) < 0);

/** Takes `Type/id`. */
export function checkedReference(value) {
  if (typeof value !== "string" || !REFERENCE.test(value)) throw malformed("disclosure.malformed");
  return value;
}

/** Reads a signed disclosure strictly; its signature is not checked. */
export function readDisclosure(value) {
  const top = members(value, "disclosure:dict key_id:str signature:str type:str");
  const signature = unbase64(top.signature);
  if (top.type !== "medchain/signed-claim-disclosure/v1" || signature.length !== 96) throw malformed("disclosure.malformed");
  const said = readSaid(top.disclosure);
  return { ...said, hash: digest("medchain/claim-disclosure/v1", canonical(top.disclosure)), keyId: hex(unhex(top.key_id, 16)), signature };
}

function readSaid(value) {
  const decision = member(value, "decision");
  if (decision === undefined) throw malformed("encoding.members");
  const { decision: _, ...others } = value;
  const top = members(others, "claim:str facts:list grant:str hospital:str insurer:str ledger:str records:list request:str time:int type:str");
  const [facts, records] = [top.facts.map(readFact), top.records.map(readRow)];
  const isValid =
    top.type === "medchain/claim-disclosure/v1" &&
    (decision === null || isObject(decision)) &&
    records.length <= MAX_ROWS &&
    isAscending(records.map(({ reference }) => reference), byText) &&
    new Set(records.map(({ objectId }) => hex(objectId))).size === records.length &&
    isAscending(facts, (one, other) => byText(one.name, other.name) || byBytes(one.order, other.order));
  if (!isValid) throw malformed("disclosure.malformed");
  const [claim, grant, ledger, request] = [top.claim, top.grant, top.ledger, top.request].map((one) => hex(unhex(one, 32)));
  const [hospital, insurer, time] = [shortText(top.hospital), shortText(top.insurer), count(top.time)];
  const keyed = records.map((row) => ({ ...row, key: hex(mapKey("record", hospital, row.objectId)) }));
  return { claim, decision, facts, grant, hospital, insurer, ledger, records: keyed, request, time };
}

function readFact(value) {
  const error = malformed("disclosure.fact");
  if (!hasExactly(value, "arguments,name,value") || !isObject(value.arguments) || typeof value.name !== "string") throw error;
  const { arguments: given, name, value: said } = value;
  if (!Object.hasOwn(VOCABULARY, name)) throw error;
  const [wanted, sort] = VOCABULARY[name];
  const rows = wanted.split(" ").map((one) => one.split(":"));
  const isForm = rows.every(([one, kind]) => typeof member(given, one) === KINDS[kind]) && Object.keys(given).length === rows.length;
  if (!isForm || (said !== null && typeof said !== KINDS[sort])) throw error;
  const values = [...Object.values(given), said];
  if (values.some((one) => (typeof one === "string" ? one === "" || lengthOf(one) > MAX_TEXT : one < 0))) throw error;
  return { arguments: given, name, order: canonical(given), value: said };
}

function readRow(value) {
  const top = members(value, "as:str object:str reference:str versions:list");
  const versions = top.versions.map(readEdition);
  const isNumbered = versions.length > 0 && versions.every((one, at) => one.number === at + 1);
  const reference = checkedReference(top.reference);
  const type = reference.split("/")[0];
  if (top.as !== (ROLES.get(type) ?? "cited") || !isNumbered) throw malformed("disclosure.malformed");
  return { objectId: unhex(top.object, 16), reference, role: top.as, type, versions };
}

function readEdition(value) {
  const { author, changed, entered, event, system, version } = exactly(value, "author,changed,entered,event,system,version");
  if (!Array.isArray(changed)) throw malformed("disclosure.malformed");
  changed.forEach(checkPointer);
  const number = count(version);
  if (!isAscending(changed, byText) || changed.length > (number === 1 ? 0 : MAX_CHANGED)) throw malformed("disclosure.malformed");
  return { author: orNull(author, shortText), changed, entered: orNull(entered, count), event: orNull(event, period), number, system: orNull(system, shortText) };
}

function checkPointer(value) {
  if (typeof value !== "string" || !value.startsWith("/") || utf8(value).length > MAX_POINTER_BYTES) throw malformed("disclosure.malformed");
}
