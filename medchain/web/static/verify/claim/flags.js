// Line 7: what is conspicuous beside the other lines, by what hospitals state and what contradicts itself.
import { DAY_S, floorSeconds, spanOf } from "./content.js";
import { TOTALS } from "./complete.js";
import { moneyOf, textOf } from "./reading.js";
import { altered } from "./unaltered.js";
import { invoicesOf } from "./unclaimed.js";
import { finding, listed, NOBODY } from "./verdict.js";
import { stated } from "./windows.js";

const STAY = "IMP";
// Types of what is done to a patient who is there.
const DONE = ["DiagnosticReport", "MedicationAdministration", "Observation", "Procedure"];
const STATED = ["emergency_accesses", "overlapping_stays"];

export function* flags(checked) {
  const found = [...ofCase(checked), ...checked.given.flatMap((given) => [...ofHospital(checked, given)])];
  yield* found.length ? found : [finding("flags.none")];
}

function* ofCase(checked) {
  const { claim, evidence, given, known } = checked;
  if (!claim.isActive) yield finding("flags.inactive");
  if (!given.length) yield finding("flags.unknown", { hospital: NOBODY, names: listed(STATED) });
  const changed = altered(checked);
  if (changed.length) yield finding("flags.altered", { count: changed.length }, changed.flatMap(({ items }) => items));
  if (known !== null && (known.differs.includes("amount") || isOtherAmount(checked))) yield finding("flags.other_amount", { hospital: evidence.question.hospital ?? "" });
}

// Whether the insurer's copy of the invoice has another amount than the invoice that is shown.
function isOtherAmount(checked) {
  const { fields: held, money } = checked.evidence.row;
  if (money === null || held.scope !== "invoice") return false;
  const totals = invoicesOf(checked).map(({ fields }) => TOTALS.map((name) => moneyOf(fields, name)).filter((one) => one !== null));
  return totals.some((found) => found.length && !found.some((one) => one.minor === money.minor && one.currency === money.currency));
}

function* ofHospital(checked, given) {
  const { facts, hospital, records } = given;
  yield* statedBy(checked, given);
  for (const { arguments: { day }, value } of stated(checked, given, "alive_on")) if (value === false) yield finding("flags.after_death", { day });
  for (const { arguments: { reference }, value } of facts("credential")) {
    if (value !== "revoked") continue;
    const named = records.filter(({ row }) => row.reference === reference);
    yield finding("flags.credential", { hospital, reference }, named.flatMap(({ items }) => items));
  }
  for (const record of records) if (isAhead(record)) yield finding("flags.clock", record.name, record.items);
  yield* afterDischarge(given);
}

// The statements that every disclosure has; of other days or times than the claim's they say nothing.
function* statedBy(checked, given) {
  const { facts, hospital } = given;
  const numbers = (name) => stated(checked, given, name).map(({ value }) => value);
  const unknown = STATED.filter((name) => !numbers(name).length);
  if (stated(checked, given, "alive_on").length < facts("alive_on").length) unknown.push("alive_on");
  if (isDischargeUnknown(given)) unknown.push("after_discharge");
  if (unknown.length) yield finding("flags.unknown", { hospital, names: listed(unknown) });
  for (const count of numbers("overlapping_stays")) if (count > 0) yield finding("flags.overlap", { count, hospital });
  const last = Math.max(0, ...numbers("last_emergency_access"));
  for (const count of numbers("emergency_accesses")) if (count > 0) yield finding("flags.emergency", { count, hospital, last });
}

// Whether a record names a time more than a day after it was registered.
function isAhead({ edition, registered }) {
  if (registered === null || edition === null) return false;
  return [edition.entered, edition.event?.start ?? null].some((time) => time !== null && time > registered + DAY_S);
}

// What was done to a patient more than a day after the last stay had ended.
function* afterDischarge(given) {
  const ends = discharges(given);
  if (!ends.length || ends.includes(null)) return;
  const last = Math.max(...ends);
  for (const { edition, items, name } of done(given)) {
    const start = edition?.event?.start;
    if (start !== undefined && start > last + DAY_S) yield finding("flags.after_discharge", name, items);
  }
}

// Whether something may have been done after the discharge, and what would say so is not told. No record names an event
// before 1970, so that of who left before none is missed.
function isDischargeUnknown(given) {
  const ends = discharges(given);
  if (ends.includes(null)) return done(given).length > 0;
  return Math.max(...ends) >= 0 && done(given).some(({ edition }) => edition?.event === null);
}

const done = ({ of }) => of("cited").filter(({ row }) => DONE.includes(row.type));

// When each stay ended, null where that is left out; nothing where not all encounters are stays that ended.
function discharges({ of }) {
  const encounters = of("encounter");
  const classes = encounters.map(({ fields }) => textOf(fields, "/class/code"));
  if (classes.some((code) => code !== STAY && code !== null) || encounters.some(goesOn)) return [];
  return encounters.map(({ fields }, at) => {
    const span = spanOf(textOf(fields, "/period/end") ?? "");
    return span === null || classes[at] === null ? null : floorSeconds(span[1]);
  });
}

// Whether an encounter has no end, by what its hospital signs: one that is not opened could be left out.
const goesOn = ({ edition, fields }) => !fields.has("/period/end") && edition?.event?.end === null;
