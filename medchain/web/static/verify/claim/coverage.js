// Line 6: were the services within the policy, and was who provided them an active member then?
import { byText } from "../encoding.js";
import { DAY_S, dayNumber, dayText } from "./content.js";
import { dayWritten, textOf } from "./reading.js";
import { finding } from "./verdict.js";
import { numberOf, serviceDays } from "./windows.js";

const LAST_DAY = dayNumber(9999, 12, 31);

export function* coverage(checked) {
  const days = serviceDays(checked.claim, checked.given);
  if (!days.length) {
    yield finding("coverage.unknown");
    return;
  }
  const [first, last] = [days[0], days.at(-1)];
  const { policy } = checked.evidence;
  if (policy === null || (policy.start === null && policy.end === null) || isHidden(checked, policy)) yield finding("coverage.unknown");
  else {
    // Of an item of another day the encounters say nothing.
    const named = [first, last, ...checked.claim.billed].sort();
    const found = [...outside(policy, named[0], named.at(-1))];
    yield* found.length ? found : [finding("coverage.covered", { first: named[0], last: named.at(-1) })];
  }
  yield* standing(checked, last);
}

// Whether an encounter does not show the end at which the policy has one: the claim's own days could be others.
function isHidden({ given }, policy) {
  const ends = ["start", "end"].filter((end) => policy[end] !== null);
  return given.flatMap((one) => one.of("encounter")).some(({ fields }) => ends.some((end) => dayWritten(textOf(fields, `/period/${end}`)) === null));
}

function* outside({ end, start, waitingDays }, first, last) {
  if (end !== null && last > end) yield finding("coverage.after", { day: last, end });
  if (start === null) return;
  const begins = dayText(Math.min(numberOf(start) + waitingDays, LAST_DAY));
  if (first < start) yield finding("coverage.before", { day: first, start });
  else if (first < begins) yield finding("coverage.waiting", { day: first, until: begins });
}

function* standing({ evidence, given, members }, day) {
  const { hospital: asked } = evidence.question;
  const ended = (numberOf(day) + 1) * DAY_S - 1;
  const hospitals = new Set([...given.map(({ hospital }) => hospital), ...(asked ? [asked] : [])]);
  for (const hospital of [...hospitals].sort(byText)) {
    const wasActive = members.get(hospital).wasActive(ended);
    if (wasActive === null) yield finding("coverage.unknown");
    else if (!wasActive) yield finding("coverage.standing", { day, hospital });
  }
}
