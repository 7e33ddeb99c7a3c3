// evidence.json: the insurer's claim to the letter, what it holds itself, and what it was told: docs/spec/claim-evidence.md 7 to 10.
import { byText, canonical, digest, hex, isObject, malformed, members, parseCanonical, unbase64, unhex } from "../encoding.js";
import { count, dayNumber, exactly, lengthOf, orNull, shortText } from "./content.js";
import { checkedReference, isAscending, readDisclosure } from "./disclosure.js";
import { amountOf, dayOf, invoiceOf, readInvoice, spelled } from "./invoice.js";

const MAX_BYTES = 4 << 20;
const MAX_CLAIM_BYTES = 1 << 20;
const MAX_HELD = 1000;
const MAX_ROWS = 100;
const MAX_TEXT = 64;
const MAX_WAITING_DAYS = 3650;
const STATES = ["known", "unknown", "outside", "inactive", "unreachable", "refused", "stopped", "none"];
const DIFFERENCES = ["amount", "date", "number", "status"];
const TEXTS = ["amount", "check_code", "code", "currency", "date", "issuer", "number", "scope"];

/** Reads evidence.json strictly; no signature in it is checked. */
export function readEvidence(bytes) {
  const top = members(parseCanonical(bytes, MAX_BYTES), "claim:dict disclosures:list insurer:str ledger:str question:dict type:str");
  const claim = exactly(top.claim, "content,held,policy,row");
  if (top.type !== "medchain/claim-evidence/v1" || !Array.isArray(claim.held) || claim.held.length > MAX_HELD) throw malformed("evidence.malformed");
  const content = unbase64(claim.content, MAX_CLAIM_BYTES);
  const evidence = {
    claim: hex(digest("medchain/insurer-claim/v1", content)),
    content,
    disclosures: top.disclosures.map(readDisclosure),
    held: claim.held.map(readHeld),
    insurer: shortText(top.insurer),
    ledger: hex(unhex(top.ledger, 32)),
    policy: orNull(claim.policy, readPolicy),
    question: readQuestion(top.question),
    row: orNull(claim.row, readAskedRow),
  };
  const byHeld = (one, other) => byText(one.hospital, other.hospital) || byText(one.reference, other.reference) || one.version - other.version;
  if (!isAscending(evidence.disclosures.map(({ hospital }) => hospital), byText) || !isAscending(evidence.held, byHeld)) throw malformed("evidence.malformed");
  return evidence;
}

function readHeld(value) {
  const top = members(value, "commitment:str hospital:str reference:str version:int");
  const [reference, version] = [checkedReference(top.reference), count(top.version)];
  return { commitment: unhex(top.commitment, 32), hospital: shortText(top.hospital), reference, version };
}

function readPolicy(value) {
  const { end, start, waiting_days: waitingDays } = exactly(value, "end,start,waiting_days");
  const policy = { end: readDay(end), start: readDay(start), waitingDays: count(waitingDays) };
  if (policy.waitingDays > MAX_WAITING_DAYS) throw malformed("evidence.malformed");
  return policy;
}

function readDay(value) {
  if (value === null) return null;
  const match = typeof value === "string" ? /^([0-9]{4})-([0-9]{2})-([0-9]{2})$/.exec(value) : null;
  if (match === null || dayNumber(...match.slice(1).map(Number)) === null) throw malformed("evidence.malformed");
  return value;
}

function readQuestion(value) {
  const top = exactly(value, "answer,hospital,signed,state");
  if (!STATES.includes(top.state)) throw malformed("evidence.malformed");
  const [hospital, signed, answer] = [orNull(top.hospital, shortText), orNull(top.signed, readSigned), orNull(top.answer, readAnswer)];
  const expected = { known: answer?.answer === "known", unknown: answer?.answer === "unknown" };
  const isAnswered = top.state in expected;
  if (!(isAnswered ? expected[top.state] && signed !== null : answer === null)) throw malformed("evidence.malformed");
  return { answer, hospital, signed, state: top.state };
}

/** Reads a row that can be asked for: what an insurer holds of an invoice. */
export function readAskedRow(value) {
  const top = members(value, `${TEXTS.map((name) => `${name}:str`).join(" ")} line:int`);
  if (TEXTS.some((name) => lengthOf(top[name]) > MAX_TEXT) || Boolean(top.amount) !== Boolean(top.currency)) throw malformed("claim.malformed");
  if (top.scope !== "invoice" && top.scope !== "item") throw malformed("claim.scope");
  count(top.line);
  spelled(top.check_code, "check_code");
  const fields = invoiceOf({ ...top, day: dayOf(top.date) });
  return { fields, money: top.amount ? amountOf(top.amount, top.currency) : null, written: canonical(top) };
}

function readSigned(value) {
  const top = members(value, "key_id:str request:dict signature:str type:str");
  const signature = unbase64(top.signature);
  if (top.type !== "medchain/signed-claim-question/v1" || signature.length !== 96) throw malformed("claim.malformed");
  const request = members(top.request, "hospital:str insurer:str ledger:str nonce:str rows:list time:int type:str");
  if (request.type !== "medchain/claim-question/v1" || request.rows.length < 1 || request.rows.length > MAX_ROWS) throw malformed("claim.malformed");
  const ledger = hex(unhex(request.ledger, 32));
  unhex(request.nonce, 16);
  count(request.time);
  const [hospital, insurer] = [shortText(request.hospital), shortText(request.insurer)];
  const rows = request.rows.map(readAskedRow);
  return { hash: digest("medchain/claim-question/v1", canonical(request)), hospital, insurer, keyId: hex(unhex(top.key_id, 16)), ledger, rows, signature };
}

function readAnswer(value) {
  if (isObject(value) && value.answer !== "known") {
    const said = members(value, "answer:str").answer;
    if (said !== "unknown" && said !== "stopped") throw malformed("claim.malformed");
    return { answer: said };
  }
  const top = members(value, "answer:str apart:bool claim_id:str differs:list invoice:dict key:str proof:str");
  const proof = unbase64(top.proof);
  const differs = DIFFERENCES.filter((one) => top.differs.includes(one));
  if (differs.join() !== top.differs.join() || differs.length !== top.differs.length || proof.length !== 80) throw malformed("claim.malformed");
  const invoice = readInvoice(members(top.invoice, "code:str date:str issuer:str line:int number:str scope:str"));
  return { answer: "known", apart: top.apart, claimId: unhex(top.claim_id, 16), differs, invoice, key: unhex(top.key, 32), proof };
}
