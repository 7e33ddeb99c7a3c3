// What a passkey is about to sign, worked out again from the draft itself: docs/spec/body.md 1, 2; docs/spec/consent.md 7.
// Nothing is signed that is not the draft in hand, and nothing that a page cannot show whole.
import { bytes as base64, DiffersError } from "./webauthn.js";

const encoder = new TextEncoder();
const strict = new TextDecoder("utf-8", { fatal: true });

const hex = (bytes) => [...bytes].map((one) => one.toString(16).padStart(2, "0")).join("");

function unhex(text) {
  if (!/^[0-9a-f]{64}$/.test(text)) throw new DiffersError("salt");
  return Uint8Array.from(text.match(/../g), (pair) => parseInt(pair, 16));
}

// RFC 8785, for what docs/spec/encoding.md 1 lets be written: no fractions, names in ASCII.
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (typeof value === "number" && !Number.isSafeInteger(value)) throw new DiffersError("number");
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const rows = Object.keys(value).sort().map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`);
  return `{${rows.join(",")}}`;
}

function length(part) {
  const made = new Uint8Array(8);
  new DataView(made.buffer).setBigUint64(0, BigInt(part.length));
  return made;
}

async function digest(tag, ...parts) {
  const framed = [encoder.encode(tag), ...parts].flatMap((part) => [length(part), part]);
  return new Uint8Array(await crypto.subtle.digest("SHA-256", await new Blob(framed).arrayBuffer()));
}

// The root over the fields of a full body; a name that stands twice could hide a value.
export async function contentRoot(body) {
  const names = body.fields.map(([name]) => name);
  if (body.hidden.length || new Set(names).size !== names.length) throw new DiffersError("fields");
  const leaves = await Promise.all([
    ...body.fields.map(([name, salt, value]) =>
      digest("medchain/field/v1", unhex(salt), encoder.encode(name), encoder.encode(canonical(value))),
    ),
    ...body.padding.map((salt) => digest("medchain/field-pad/v1", unhex(salt))),
  ]);
  if (![8, 16, 32, 64].includes(leaves.length)) throw new DiffersError("leaves");
  let level = leaves.sort((one, other) => (hex(one) < hex(other) ? -1 : 1));
  while (level.length > 1) {
    const pairs = level.filter((_, at) => at % 2 === 0).map((left, at) => [left, level[2 * at + 1]]);
    level = await Promise.all(pairs.map(([left, right]) => digest("medchain/field-node/v1", left, right)));
  }
  return level[0];
}

// What a consent lets through of what is sensitive: the labels that it keeps back. Terms of any other form could say
// more than a page shows.
export function keptBack(content) {
  const { category, provision = {}, resourceType, scope, status, ...more } = content.fhir;
  const { type, provision: rows = [], ...other } = provision;
  const isDenial = (one) => one.type === "deny" && Array.isArray(one.securityLabel) && Object.keys(one).length === 2;
  const isWhole = type === "permit" && rows.every(isDenial) && resourceType === "Consent" && status === "active";
  if (!isWhole || Object.keys(more).length || Object.keys(other).length) throw new DiffersError("fhir");
  return rows.flatMap((one) => one.securityLabel.map((label) => label.code));
}

// What a hiding denies to all but the organisation that has it, a record by its reference or all of some types; null for
// a consent that is no hiding. One of any other form could say more than a page shows: docs/spec/consent.md C13.
export function hidden({ custodians, fhir, recipient }) {
  if (fhir.provision?.type !== "deny") return null;
  const reference = fhir.provision.data?.[0]?.reference?.reference;
  const types = [...new Set((fhir.provision.class ?? []).map((one) => one.code))].sort();
  const coded = (code, system) => ({ coding: [{ code, system }] });
  const terminology = "http://terminology.hl7.org/CodeSystem/";
  const what =
    reference === undefined
      ? { class: types.map((code) => ({ code, system: "http://hl7.org/fhir/resource-types" })) }
      : { data: [{ meaning: "dependents", reference: { reference } }] };
  const own = {
    reference: { reference: `Organization/${recipient}` },
    role: coded("IRCP", `${terminology}v3-ParticipationType`),
  };
  const form = {
    category: [coded("59284-0", "http://loinc.org")],
    policyRule: coded("OPTIN", `${terminology}v3-ActCode`),
    provision: { ...what, provision: [{ actor: [own], type: "permit" }], type: "deny" },
    resourceType: "Consent",
    scope: coded("patient-privacy", `${terminology}consentscope`),
    status: "active",
  };
  const named = reference === undefined ? types : [reference];
  const isNamed = named.length > 0 && named.every((one) => typeof one === "string");
  const isWhole = isNamed && canonical(custodians) === canonical([recipient]);
  if (!isWhole || canonical(fhir) !== canonical(form)) throw new DiffersError("fhir");
  return reference === undefined ? { types } : { reference };
}

// For which one claim a consent is, of which records, and the labels that it keeps back; null for any other consent.
// One of any other form could say more than a page shows: docs/spec/consent.md D21.
export function forOneClaim({ custodians, data_period, fhir, period, purpose, resource_types }) {
  const { action, data = [], provision } = fhir.provision ?? {};
  if (action === undefined) return null;
  const coded = (code, system) => ({ coding: [{ code, system }] });
  const terminology = "http://terminology.hl7.org/CodeSystem/";
  const digest = action[0]?.coding?.[0]?.code;
  const cited = data.map((one) => one.reference?.reference);
  const kept = (provision ?? []).flatMap((one) => (one.securityLabel ?? []).map((label) => label.code));
  const inside = kept.length
    ? { provision: [{ securityLabel: kept.map((code) => ({ code, system: `${terminology}v3-ActCode` })), type: "deny" }] }
    : {};
  const form = {
    category: [coded("59284-0", "http://loinc.org")],
    provision: {
      action: [coded(digest, "urn:medchain:claim-disclosure")],
      data: cited.map((reference) => ({ meaning: "instance", reference: { reference } })),
      ...inside,
      type: "permit",
    },
    resourceType: "Consent",
    scope: coded("patient-privacy", `${terminology}consentscope`),
    status: "active",
  };
  const isNamed = /^[0-9a-f]{64}$/.test(digest) && cited.every((one) => /^[A-Z][A-Za-z]+\/[A-Za-z0-9.-]{1,64}$/.test(one));
  const types = [...new Set(cited.map((one) => `${one}`.split("/")[0]))].sort();
  const isBounded =
    cited.length > 0 && cited.length <= 400 && new Set(cited).size === cited.length &&
    canonical([...cited].sort()) === canonical(cited) && custodians.length === 1 &&
    period.end !== null && period.end - period.start <= 30 * 86400 + 60 && purpose === "HPAYMT" && data_period === null;
  const isWhole = isNamed && isBounded && canonical(types) === canonical(resource_types);
  if (!isWhole || canonical(fhir) !== canonical(form)) throw new DiffersError("fhir");
  return { cited, digest, kept };
}

// Works out what the passkey will sign, on a ledger; throws DiffersError where that is not what the server asks it to
// sign. Returns the content, the root over it, and the document that is signed.
export async function check(begun, ledger) {
  const text = strict.decode(base64(begun.draft));
  const draft = JSON.parse(text);
  if (canonical(draft) !== text) throw new DiffersError("draft");
  const content = Object.fromEntries(draft.body.fields.map(([name, , value]) => [name, value]));
  const root = hex(await contentRoot(draft.body));
  const challenges = await Promise.all(
    draft.documents.map((one) => digest("medchain/consent-challenge/v1", encoder.encode(canonical(one)))),
  );
  // Where several sign, each signs a document of its own.
  const at = challenges.findIndex((one) => hex(one) === hex(base64(begun.challenge)));
  if (at < 0) throw new DiffersError("challenge");
  const signed = draft.documents[at];
  const is = {
    content_root: root,
    nonce: content.nonce,
    object: draft.object,
    operation: `${draft.body.kind}/${content.operation}`,
    version: draft.version,
  };
  for (const [name, value] of Object.entries(is)) if (signed[name] !== value) throw new DiffersError(name);
  const signers = [content.subject, ...(content.joined ?? []), ...(content.signers ?? [])];
  if (!signers.includes(signed.subject)) throw new DiffersError("subject");
  if (signed.ledger !== ledger) throw new DiffersError("ledger");
  return { content, root, signed };
}
