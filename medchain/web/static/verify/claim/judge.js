// The verdict of a claim: one function of a bundle's files, the same as medchain/ledger/evidence/judge.py computes.
import { checkEvidence } from "./checked.js";
import { complete } from "./complete.js";
import { consent } from "./consent.js";
import { coverage } from "./coverage.js";
import { readEvidence } from "./document.js";
import { flags } from "./flags.js";
import { openListed } from "./members.js";
import { source } from "./source.js";
import { unaltered } from "./unaltered.js";
import { unclaimed } from "./unclaimed.js";
import { madeVerdict } from "./verdict.js";

const LINES = [source, unaltered, complete, consent, unclaimed, coverage, flags];

/** Judges a claim; returns verdict.json as a document. */
export function judgeClaim(document, askers, items, { mapRoot, time }, tree) {
  const evidence = readEvidence(document);
  const members = openListed(askers, mapRoot, tree);
  const asOf = { position: tree.size - 1, time };
  const checked = checkEvidence(evidence, members, items, asOf);
  return madeVerdict(evidence, asOf, LINES.flatMap((line) => [...line(checked)]));
}
