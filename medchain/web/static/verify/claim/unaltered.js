// Line 2: is each record still what it was when the claim was made, and the insurer's copy that one?
import { same } from "../encoding.js";
import { finding, listed } from "./verdict.js";

export function* unaltered(checked) {
  const made = madeAt(checked);
  const shown = checked.records.filter(({ head }) => head !== null);
  const found = shown.map((record) => [record, [...ofRecord(record, made)]]);
  yield* found.flatMap(([, findings]) => findings);
  const untouched = found.filter(([, findings]) => !findings.length).map(([record]) => record);
  if (untouched.length) yield finding("unaltered.same", { count: untouched.length }, untouched.flatMap(({ items }) => items));
  if (!shown.length) yield finding("unaltered.none");
  yield* held(checked);
}

/** The records that were altered after the claim was made. */
export const altered = (checked) => checked.records.filter((record) => baseOf(record, madeAt(checked)) !== null);

// When the claim was made: as it says, and not after a hospital was shown its digest.
function madeAt({ claim, given, state }) {
  const times = [state.time, ...given.map(({ heard }) => heard)];
  return Math.min(...times, ...(claim.created === null ? [] : [claim.created]));
}

function* ofRecord(record, made) {
  const { changed, head, items, name, row } = record;
  if (head.status !== "active") yield finding("unaltered.deleted", name, items);
  const base = baseOf(record, made);
  if (base !== null) {
    const fields = listed(row.versions.slice(base).flatMap((one) => one.changed));
    yield finding("unaltered.altered", { ...name, fields, when: changed ?? 0 }, items);
  } else if (head.version > 1) yield finding("unaltered.corrected", { ...name, versions: head.version }, items);
}

// The last version that stood when the claim was made, of a record that was altered since; else null. Of one that was
// registered after the claim, such as by a hospital that joined later, the first version counts.
function baseOf({ changed, head, proven, registered }, made) {
  if (head === null || proven === null || head.version === 1 || (changed !== null && changed <= made)) return null;
  return registered !== null && registered <= made ? proven.version : 1;
}

// The insurer's copies beside what was registered; what cannot be compared is said.
function* held({ evidence, records }) {
  const shown = new Map(records.map((one) => [`${one.hospital} ${one.row.reference}`, one]));
  for (const copy of evidence.held) {
    const { hospital, reference, version } = copy;
    const record = shown.get(`${hospital} ${reference}`);
    const code = compared(copy, record);
    if (code !== null) yield finding(code, { hospital, reference, version }, record?.items ?? []);
  }
}

// A copy beside the version that it is said to be of; null where it is that.
function compared({ commitment, version }, record) {
  if (record === undefined || record.head === null) return "unaltered.uncompared";
  // Of a version that never was nothing was registered.
  if (version < 1 || version > record.head.version) return "unaltered.held";
  const hashes = record.placed.item.records.filter((one) => one.version === version).map(({ bodyHash }) => bodyHash);
  if (!hashes.length) return "unaltered.uncompared";
  return hashes.some((one) => same(one, commitment)) ? null : "unaltered.held";
}
