// Line 1: is every record that the claim cites registered by a member in good standing, by whom, and when?
import { hospitalOf } from "./checked.js";
import { DAY_S, floorSeconds, spanOf } from "./content.js";
import { textOf } from "./reading.js";
import { finding } from "./verdict.js";

const LATE_S = 30 * DAY_S;
// Their event is not their onset: these are not compared.
const OF_VISIT = ["AllergyIntolerance", "Condition"];
const ZONED = /^[^\n]*T[^\n]*(?:Z|[+-][0-9]{2}:[0-9]{2})$/;
// FHIR type → elements that say when it happened; the first that is there counts: medchain/ledger/events.py.
const ELEMENTS = {
  CarePlan: ["period", "created"],
  Claim: ["billablePeriod", "created"],
  ClaimResponse: ["created"],
  Coverage: ["period"],
  DiagnosticReport: ["effectiveDateTime", "effectivePeriod", "issued"],
  DocumentReference: ["date"],
  Encounter: ["period"],
  EpisodeOfCare: ["period"],
  ExplanationOfBenefit: ["billablePeriod", "created"],
  ImagingStudy: ["started"],
  Immunization: ["occurrenceDateTime"],
  Invoice: ["date"],
  MedicationAdministration: ["effectiveDateTime", "effectivePeriod"],
  MedicationDispense: ["whenHandedOver", "whenPrepared"],
  MedicationRequest: ["authoredOn"],
  MedicationStatement: ["effectiveDateTime", "effectivePeriod", "dateAsserted"],
  Observation: ["effectiveDateTime", "effectivePeriod", "effectiveInstant", "issued"],
  Procedure: ["performedDateTime", "performedPeriod"],
  QuestionnaireResponse: ["authored"],
  ServiceRequest: ["occurrenceDateTime", "occurrencePeriod", "authoredOn"],
};

const endOf = ({ end, start }) => end ?? start;
const isBefore = (edition, joined) => edition?.event != null && endOf(edition.event) < joined;
const itemsOf = (records) => records.flatMap(({ items }) => items);

export function* source(checked) {
  yield* citedOf(checked);
  for (const given of checked.given) yield* ofHospital(given);
}

// Whose the records are that the claim cites.
function* citedOf(checked) {
  const taken = new Map();
  for (const cited of checked.claim.cited) {
    const { base, reference } = cited;
    const hospital = hospitalOf(checked, cited);
    const named = checked.records.filter(({ row }) => row.reference === reference);
    if (hospital !== null && named.some((one) => one.hospital === hospital)) continue;
    // Who bills need not be who keeps the records: without an address the name alone says whose they are.
    const found = base ? [] : named;
    for (const one of found) taken.set(one.hospital, [...(taken.get(one.hospital) ?? []), one]);
    if (!found.length) yield hospital === null ? finding("source.outside", { reference }) : finding("source.missing", { hospital, reference });
  }
  for (const [hospital, records] of taken) yield finding("source.taken", { count: records.length, hospital }, itemsOf(records));
}

function* ofHospital({ hospital, member, records }) {
  if (member.now.status !== "active") yield finding("source.standing", { hospital });
  const joined = member.joined ?? 0;
  for (const record of records) yield* ofRecord(record, joined);
  const dated = records.filter(({ registered }) => registered !== null);
  const before = dated.filter(({ edition }) => isBefore(edition, joined));
  const since = dated.filter(({ edition }) => !isBefore(edition, joined));
  if (since.length) {
    const times = since.map(({ registered }) => registered);
    yield finding("source.registered", { count: times.length, first: Math.min(...times), hospital, last: Math.max(...times) }, itemsOf(since));
  }
  if (before.length) yield finding("source.before_joining", { count: before.length, hospital }, itemsOf(before));
}

function* ofRecord(record, joined) {
  const { edition, head, items, name, registered, row } = record;
  if (head === null) {
    yield finding("source.missing", name, items);
    return;
  }
  if (edition === null || row.versions.length > head.version || isContradicted(record)) {
    yield finding("source.contradicted", name, items);
    return;
  }
  if (edition.author === null && edition.system === null) yield finding("source.unsigned", name, items);
  if (registered === null) {
    yield finding("source.undated", name, items);
    return;
  }
  const entered = isBefore(edition, joined) ? edition.entered : registered;
  if (edition.event === null || entered === null) return;
  const event = endOf(edition.event);
  const late = entered - event;
  if (late > LATE_S) yield finding("source.late", { ...name, days: Math.floor(late / DAY_S), entered, event }, items);
}

// Whether what is opened of a record says otherwise than its hospital.
function isContradicted({ edition, fields, row }) {
  const named = ["/resourceType", "/id"].map((pointer) => textOf(fields, pointer) ?? "None").join("/");
  if (fields.size && named !== row.reference) return true;
  if (OF_VISIT.includes(row.type)) return false;
  const [start, end] = datesOf(fields, row.type);
  if (start === null) return false;
  if (edition.event === null) {
    // Who names no event can't be late; of what was before 1970 none is named.
    const span = spanOf(start);
    return span !== null && floorSeconds(span[0]) >= 2 * DAY_S;
  }
  if (!covers(start, edition.event.start)) return true;
  const said = edition.event.end;
  return end !== null && said !== null && said !== edition.event.start && !covers(end, said);
}

// What is opened of when it happened: from when, and to when; of a date both are it.
function datesOf(fields, type) {
  for (const name of Object.hasOwn(ELEMENTS, type) ? ELEMENTS[type] : []) {
    const [moment, start, end] = ["", "/start", "/end"].map((part) => textOf(fields, `/${name}${part}`));
    if (moment !== null) return [moment, moment];
    if (start !== null || end !== null) return [start, end];
  }
  return [null, null];
}

// Whether a date that is opened can be an instant: to the second, or to the day where it names no zone.
function covers(text, instant) {
  const span = spanOf(text);
  if (span === null) return false;
  const slack = ZONED.test(text) ? 0 : DAY_S;
  return floorSeconds(span[0]) - slack <= instant && instant <= floorSeconds(span[1] - 1n) + slack;
}
