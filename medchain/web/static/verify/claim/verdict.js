// The verdict of a claim as a document: seven lines, each with findings: docs/spec/claim-verdict.md 1.
import { byBytes, byText, canonical } from "../encoding.js";

const LINES = ["source", "unaltered", "complete", "consent", "unclaimed", "coverage", "flags"];
const MAX_LISTED = 20;
const COLOURS = ["green", "amber", "red"];
// Codes that are green, and those that are amber; every other one is red.
const GREEN =
  "source.registered source.before_joining unaltered.same unaltered.corrected complete.counts complete.others complete.total complete.part consent.in_force consent.mandate consent.attested unclaimed.absent unclaimed.own coverage.covered flags.none".split(
    " ",
  );
const AMBER =
  "source.late source.unsigned source.undated source.taken source.outside unaltered.none unaltered.uncompared complete.no_invoice complete.nothing_cited complete.lines complete.unknown consent.ended consent.unshown unclaimed.own_before unclaimed.enough unclaimed.line unclaimed.unshown unclaimed.outside unclaimed.inactive unclaimed.unreachable unclaimed.stopped unclaimed.refused unclaimed.no_copy coverage.unknown flags.overlap flags.after_discharge flags.emergency flags.clock flags.inactive flags.unknown".split(
    " ",
  );

const colourOf = (code) => (GREEN.includes(code) ? "green" : AMBER.includes(code) ? "amber" : "red");
const worse = (one, other) => COLOURS.indexOf(other) - COLOURS.indexOf(one);
// Of what nothing is known nothing is vouched for.
const worst = (colours) => [...colours].sort(worse)[0] ?? "amber";

const TYPE = "medchain/claim-verdict/v1";
// The last member in canonical JSON; nothing else of a document of other rules can be read.
const RULES = /"type":"(medchain\/claim-verdict\/v[1-9][0-9]{0,8})"}$/;
const TAIL_BYTES = 64;

/** Whether verdict.json, as it came, says that it follows from rules of another number than ours. */
export function isOfOtherRules(document) {
  const found = RULES.exec(String.fromCharCode(...document.subarray(-TAIL_BYTES)));
  return found !== null && found[1] !== TYPE;
}

/** Stands for the hospital where none discloses anything. */
export const NOBODY = "–";

/** One thing that was found. */
export const finding = (code, values = {}, items = []) => ({ arguments: values, code, colour: colourOf(code), items: [...items].sort((one, other) => one - other) });

/** Writes names in one argument: sorted, each once, so many at most. */
export function listed(names) {
  const known = [...new Set(names)].sort(byText);
  return [...known.slice(0, MAX_LISTED), ...(known.length > MAX_LISTED ? ["…"] : [])].join(", ");
}

function byItems(one, other) {
  for (let at = 0; at < Math.min(one.length, other.length); at += 1) if (one[at] !== other[at]) return one[at] - other[at];
  return one.length - other.length;
}

// The worst first, then by code, canonical arguments and items; the same finding once.
function ordered(findings) {
  const keyed = findings.map((one) => ({ one, values: canonical(one.arguments) }));
  const compare = (left, right) =>
    worse(left.one.colour, right.one.colour) || byText(left.one.code, right.one.code) || byBytes(left.values, right.values) || byItems(left.one.items, right.one.items);
  return keyed
    .sort(compare)
    .filter((row, at, all) => at === 0 || compare(all[at - 1], row) !== 0)
    .map(({ one }) => one);
}

/** Makes a verdict of findings in any order. */
export function madeVerdict(evidence, { position, time }, found) {
  const lines = LINES.map((line) => {
    const findings = ordered(found.filter(({ code }) => code.startsWith(`${line}.`)));
    return { colour: worst(findings.map(({ colour }) => colour)), findings, line };
  });
  const colour = worst(lines.map((line) => line.colour));
  return { as_of: { position, time }, claim: evidence.claim, colour, insurer: evidence.insurer, lines, type: TYPE };
}
