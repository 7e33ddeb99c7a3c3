// Of which days a claim's services were, and whether what a hospital states is of those: docs/spec/claim-verdict.md 3, 8.
// Days are those that are written: as texts they sort as they follow.
import { DAY_S, dayNumber, dayText } from "./content.js";
import { dayWritten, textOf } from "./reading.js";

const EMERGENCIES_BEFORE_S = 30 * DAY_S;
const DEATH_CERTIFICATION = "308646001";
const KIND = /^\/type\/[0-9]+\/coding\/[0-9]+\/code$/;

/** Days since 1970-01-01 of a day. */
export const numberOf = (day) => dayNumber(...day.split("-").map(Number));

const encountersOf = (given) => given.of("encounter").map(({ fields }) => fields);
const daysOf = (told) => ["start", "end"].map((end) => dayWritten(textOf(told, `/period/${end}`))).filter((day) => day !== null).sort();
const isDay = (text) => dayWritten(text) === text;

/** The days of services, sorted: of encounters that are shown, else of the claim. */
export function serviceDays(claim, given) {
  const days = given.flatMap(encountersOf).flatMap(daysOf).sort();
  return days.length ? days : claim.services;
}

/** What a hospital states under a name, as far as it knows it, of the days and the time of the claim. */
export function stated(checked, given, name) {
  const facts = given.facts(name).filter(({ value }) => value !== null);
  const days = serviceDays(checked.claim, [given]);
  if (name === "alive_on") return facts.filter((fact) => isOfLife(checked, given, fact, days));
  if (name === "overlapping_stays") return facts.filter(({ arguments: { end, start } }) => !days.length || (isDay(start) && isDay(end) && start <= days[0] && days.at(-1) <= end));
  const since = days.length ? Math.max(0, numberOf(days[0]) * DAY_S - EMERGENCIES_BEFORE_S) : Infinity;
  const made = Math.min(given.said.time, checked.claim.created ?? Infinity);
  // What came after the claim was not shortly before it.
  return facts.filter(({ arguments: { from, to } }) => from <= since && Math.abs(to - made) <= DAY_S);
}

// Whether the day on which somebody was alive, or not, says it of the services.
function isOfLife({ claim }, given, { arguments: { day }, value }, days) {
  if (!isDay(day)) return false;
  if (value === false) return !days.length || [days.at(-1), ...claim.services].some((one) => day <= one);
  const last = lastOfLife(claim, given);
  return last === null || last <= day;
}

// The last day of services to the living; null where nothing says it. A death is certified after it, and who dies in a
// stay is discharged after it: of a stay of at least a night, the day before its last one counts.
function lastOfLife(claim, given) {
  const encounters = encountersOf(given);
  const spans = encounters.filter((told) => !certifiesDeath(told)).map(daysOf).filter(({ length }) => length);
  if (!spans.length) return encounters.some(certifiesDeath) ? null : (claim.services.at(-1) ?? null);
  const last = spans.map((days) => days.at(-1)).sort().at(-1);
  return spans.some((days) => days[0] < last && days.at(-1) === last) ? dayText(numberOf(last) - 1) : last;
}

// Whether an encounter opens that a death was certified at it.
const certifiesDeath = (told) => [...told.keys()].some((name) => KIND.test(name) && textOf(told, name) === DEATH_CERTIFICATION);
