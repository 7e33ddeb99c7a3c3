// Line 4: was there a permission when the records were given, for this insurer and claim, and is there now?
import { byText, canonical, hex, isObject, malformed, member, ProofError, same, unhex } from "../encoding.js";
import { bodyOf } from "./access.js";
import { DAY_S, period } from "./content.js";
import { isAscending } from "./disclosure.js";
import { finding, NOBODY } from "./verdict.js";

const ACTION = "urn:medchain:claim-disclosure";
const ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode";
const CITED = /^[A-Z][A-Za-z]{1,63}\/[A-Za-z0-9\-.]{1,64}$/;
const MAX_CITED = 400;
const MAX_S = 30 * DAY_S + 60;
const SAID = ["period", "purpose", "recipient", "resource_types"];
const SAID_OF_CONSENT = [...SAID, "custodians", "data_period", "fhir"];

export function* consent(checked) {
  if (!checked.given.length) yield finding("consent.none", { hospital: NOBODY });
  for (const given of checked.given) {
    if (given.access === null) yield finding("consent.none", { hospital: given.hospital });
    else yield* ofHospital(checked, given);
  }
}

function* ofHospital(checked, given) {
  const keys = [given.said.grant, ...given.access.consents];
  const shown = keys.map((key) => permissionOf(checked, given.access, key));
  const found = keys.flatMap((key, at) => [...problem(checked, given, key, shown[at])]);
  for (const one of shown) if (one !== null) found.push(...beyond(given, one));
  yield* found;
  if (!found.length) for (const one of shown.slice(1)) if (one !== null) yield inForce(given.hospital, one);
}

// What the access entry stood on, as it was then; null where it is not shown so.
function permissionOf({ items }, access, key) {
  const placed = items.get(key);
  const stood = access.record.refs.find((ref) => hex(ref.key) === key)?.version;
  if (placed === undefined || placed.item.newest === null) return null;
  if (placed.item.proven.version !== stood || placed.item.shown.content === null) return null;
  const body = bodyOf(placed.item);
  // Without its FHIR Consent one for another claim would look like one for all.
  const said = placed.item.proven.kind === "consent" ? SAID_OF_CONSENT : [...SAID, "custodian"];
  if (!said.every((name) => body.content.has(name))) return null;
  return { body, content: body.content, number: placed.number, record: placed.item.proven };
}

// What is wrong with a permission, the first that is; nothing where it is in force.
function* problem(checked, given, key, shown) {
  const placed = checked.items.get(key);
  const numbers = placed === undefined ? [] : [placed.number];
  const { hospital } = given;
  const stopped = placed === undefined ? null : stoppedAt(checked, given, placed.item);
  if (stopped !== null) yield finding(stopped[0], { hospital, when: stopped[1] }, numbers);
  else if (shown === null) yield finding("consent.unshown", { hospital }, numbers);
  else if (!isFor(checked, given, shown)) yield finding("consent.none", { hospital }, numbers);
  else if (isOtherClaim(checked, shown)) yield finding("consent.other_claim", { hospital }, numbers);
  else {
    const over = overAt(checked, given, shown);
    if (over !== null) yield finding(over[0], { hospital, when: over[1] }, numbers);
  }
}

// Whether a permission was stopped before the records were given, or since; of an unknown time the worse.
function stoppedAt({ state }, given, { changed, newest: head }) {
  if (head === null) return null;
  if (head.status !== "active") {
    const wasBefore = head.since < given.access.record.since || changed === null || changed <= given.time;
    return [wasBefore ? "consent.not_in_force" : "consent.ended", changed ?? 0];
  }
  const isOver = head.expires !== null && head.expires < Math.floor(state.time / DAY_S);
  return isOver ? ["consent.ended", head.expires * DAY_S + DAY_S - 1] : null;
}

function isFor({ evidence }, { access, hospital }, { content }) {
  const listed = content.get("custodians");
  const custodians = Array.isArray(listed) && listed.length ? listed : [content.get("custodian")];
  const isNamed = content.get("recipient") === evidence.insurer && content.get("purpose") === access.purpose;
  return isNamed && custodians.includes(hospital);
}

// Which records were told of that a permission does not cover: of types, or of one claim, the records.
function* beyond({ records }, { content, number }) {
  const one = oneClaimIn(content);
  const listed = content.get("resource_types");
  const types = Array.isArray(listed) ? listed : [];
  for (const { name, row } of records) {
    const isNamed = one === null || one.cited.includes(row.reference);
    if (!isNamed || !(types.includes("*") || types.includes(row.type))) yield finding("consent.beyond", name, [number]);
  }
}

function isOtherClaim({ evidence }, { content }) {
  const one = oneClaimIn(content);
  return one !== null && one.digest !== evidence.claim;
}

// Whether the period of a permission was over, or not begun, when the records were given, or is now.
function overAt({ state }, { time }, { content }) {
  const { end, start } = period(content.get("period"));
  if (time < start || (end !== null && time > end)) return ["consent.not_in_force", time < start ? start : (end ?? 0)];
  return end !== null && end < state.time ? ["consent.ended", end] : null;
}

// Under what the records were given, and who vouches for it.
function inForce(hospital, { body, content, number, record }) {
  const told = { hospital, version: record.version };
  if (record.kind === "mandate") return finding("consent.mandate", told, [number]);
  const rule = oneClaimIn(content) === null ? "general" : "one-claim";
  const evidence = isObject(body.evidence) ? body.evidence : {};
  if (Object.hasOwn(evidence, "assertion")) {
    const signed = content.get("acting_for") === null ? "passkey" : "delegate";
    return finding("consent.in_force", { ...told, rule, signed }, [number]);
  }
  if (Object.hasOwn(evidence, "attested_by")) return finding("consent.attested", { ...told, rule }, [number]);
  return finding("consent.in_force", { ...told, rule, signed: "unshown" }, [number]);
}

// For which claim alone a consent is, with its records; null for any other: docs/spec/consent.md D21.
function oneClaimIn(content) {
  const fhir = content.get("fhir");
  const provision = member(fhir, "provision");
  if (!isObject(provision)) return null;
  try {
    const found = namedIn(provision);
    if (found === null) return null;
    const { end, start } = period(content.get("period") ?? null);
    const types = [...new Set(found.cited.map((one) => one.split("/")[0]))].sort();
    const isOne =
      isSame(fhir, formOf(found)) &&
      end !== null &&
      end - start <= MAX_S &&
      content.get("purpose") === "HPAYMT" &&
      (content.get("data_period") ?? null) === null &&
      isSame(content.get("resource_types") ?? null, types) &&
      Array.isArray(content.get("custodians")) &&
      content.get("custodians").length === 1;
    return isOne ? found : null;
  } catch (error) {
    if (error instanceof ProofError) return null;
    throw error;
  }
}

const isSame = (one, other) => same(canonical(one), canonical(other));
const rows = (value) => (Array.isArray(value) ? value.filter(isObject) : []);

// What a provision names; its form is compared whole afterwards.
function namedIn(provision) {
  const codes = rows(member(provision, "action")).flatMap((one) => rows(member(one, "coding")).map((coding) => member(coding, "code")));
  const cited = rows(member(provision, "data")).map((one) => member(member(one, "reference"), "reference"));
  const below = member(provision, "provision") ?? null;
  const kept = rows(below).flatMap((one) => rows(member(one, "securityLabel")).map((label) => member(label, "code")));
  if (codes.length !== 1) return null;
  const isCited = cited.length > 0 && cited.length <= MAX_CITED && cited.every((one) => typeof one === "string" && CITED.test(one)) && isAscending(cited, byText);
  if (!isCited) throw malformed("claim.cited");
  if (!kept.every((one) => typeof one === "string") || !isAscending(kept, byText) || (below !== null && !kept.length)) return null;
  return { cited, digest: hex(unhex(codes[0], 32)), kept };
}

function formOf({ cited, digest, kept }) {
  const provision = {
    action: [{ coding: [{ code: digest, system: ACTION }] }],
    data: cited.map((reference) => ({ meaning: "instance", reference: { reference } })),
    type: "permit",
  };
  if (kept.length) provision.provision = [{ securityLabel: kept.map((code) => ({ code, system: ACT_CODE })), type: "deny" }];
  return {
    category: [{ coding: [{ code: "59284-0", system: "http://loinc.org" }] }],
    provision,
    resourceType: "Consent",
    scope: { coding: [{ code: "patient-privacy", system: "http://terminology.hl7.org/CodeSystem/consentscope" }] },
    status: "active",
  };
}
