// Members as the ledger lists them, over time: docs/spec/proof-bundle.md 15, docs/spec/genesis.md; as strict as
// medchain/ledger/members.py and listed.py.
import { acceptedAt } from "../block.js";
import { isP384, isVrfKey, keyId } from "../crypto.js";
import { byText, canonical, isObject, joined, malformed, members, parseCanonical, refused, same, unbase64 } from "../encoding.js";
import { mapKey, organisationId, publicBodyHash, readRecord } from "../object.js";
import { readProof, verifyMap } from "../statemap.js";
import { exactly, lengthOf } from "./content.js";
import { isAscending } from "./disclosure.js";

const ROLES = ["authority", "hospital", "insurer", "regulator"];
const ALGORITHMS = {
  authentication: "es384",
  "cosign-ed25519": "ed25519",
  "cosign-mldsa44": "mldsa44",
  encryption: "x-wing",
  ledger: "ed25519",
  log: "ed25519",
};
const PUBLIC_BYTES = { ed25519: 32, mldsa44: 1312, "x-wing": 1216 };
const SINGLE = ["cosign-ed25519", "cosign-mldsa44", "log"];
const MAX_KEYS_PER_USE = 2;
const MAX_TEXT = 200;
const MAX_ORIGINS = 16;
const MAX_INVOICES = 64;
const MAX_PORT = 65535;
const ORG_ID = /^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$/;
const ORIGIN = /^https?:\/\/[a-z0-9.-]{1,253}(?::[0-9]{1,5})?$/;
const URL_FORM = /^https?:\/\/(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])(?::([1-9][0-9]{0,4}))?$/;

// The public JWK of a point of P-384 in its one spelling: exactly crv, kty, x, y.
function readJwk(value) {
  const { crv, kty, x, y } = members(value, "crv:str kty:str x:str y:str");
  const isForm = crv === "P-384" && kty === "EC" && [x, y].every((one) => /^[A-Za-z0-9_-]{64}$/.test(one));
  if (!isForm) throw malformed("es384.public");
  const key = joined(Uint8Array.of(4), ...[x, y].map((one) => unbase64(one.replaceAll("-", "+").replaceAll("_", "/"))));
  if (!isP384(key)) throw malformed("es384.public");
  return key;
}

function readKey(value) {
  const { id, proof, public: text, use } = exactly(value, "id,proof,public,use");
  const key = publicOf(use, text);
  if (id !== keyId(ALGORITHMS[use], key)) throw malformed("organisation.key");
  if (proof !== null) unbase64(proof);
  return { id, key, use };
}

function publicOf(use, text) {
  const algorithm = typeof use === "string" && Object.hasOwn(ALGORITHMS, use) ? ALGORITHMS[use] : undefined;
  if (algorithm === undefined) throw malformed("organisation.key");
  if (algorithm === "es384" && isObject(text)) return readJwk(text);
  const key = unbase64(text);
  if (key.length !== PUBLIC_BYTES[algorithm]) throw malformed("organisation.key");
  return key;
}

function readGeneration(value) {
  const { from, proof, public: text } = exactly(value, "from,proof,public");
  const key = unbase64(text);
  if (!Number.isSafeInteger(from) || !isVrfKey(key)) throw malformed("organisation.invoices");
  if (proof !== null) unbase64(proof);
  return { from, key };
}

function readInvoices(value) {
  const { issuers, vrf } = members(value, "issuers:list vrf:list");
  const isListed = [issuers, vrf].every((list) => list.length >= 1 && list.length <= MAX_INVOICES);
  if (!isListed) throw malformed("organisation.invoices");
  const generations = vrf.map(readGeneration);
  const areCodes = issuers.every((code) => typeof code === "string" && /^[0-9A-Z]{1,32}$/.test(code));
  const isOrdered = areCodes && isAscending(issuers, byText) && generations[0].from === 0 && isAscending(generations, (one, other) => one.from - other.from);
  if (!isOrdered) throw malformed("organisation.invoices");
  return { generations, issuers };
}

/** The rows of keys of a founding member, given by their use: sorted by id, without proofs. */
export function withoutProofs(keys) {
  const made = members(keys, "authentication:dict cosign-ed25519:str cosign-mldsa44:str encryption:str ledger:str log:str");
  const rows = Object.entries(made).map(([use, text]) => ({ id: keyId(ALGORITHMS[use], publicOf(use, text)), proof: null, public: text, use }));
  return rows.sort((one, other) => byText(one.id, other.id));
}

/** Reads an organisation's content strictly. */
export function readOrganisation(content) {
  const top = members(content, "control:str keys:list name:dict org_id:str origins:list role:str status:str url:str", "invoices:dict");
  const keys = top.keys.map(readKey);
  const invoices = top.invoices === undefined ? null : readInvoices(top.invoices);
  const { control, name, org_id: orgId, origins, role, status, url } = top;
  const isReserved = ["ledger", "consortium", "none"].includes(orgId) || orgId.endsWith("-ed") || orgId.endsWith("-pq");
  if (!ORG_ID.test(orgId) || isReserved) throw malformed("organisation.org_id");
  const address = URL_FORM.exec(url);
  const isValid =
    ROLES.includes(role) &&
    ["active", "suspended", "removed"].includes(status) &&
    address !== null &&
    Number(address[1] ?? 1) <= MAX_PORT &&
    Object.keys(name).length > 0 &&
    [control, ...Object.keys(name), ...Object.values(name)].every((one) => typeof one === "string" && one !== "" && lengthOf(one) <= MAX_TEXT) &&
    origins.length <= MAX_ORIGINS &&
    origins.every((one) => typeof one === "string" && ORIGIN.test(one)) &&
    isAscending(origins, byText);
  if (!isValid) throw malformed("organisation.malformed");
  for (const use of Object.keys(ALGORITHMS)) {
    const count = keys.filter((one) => one.use === use).length;
    if (count < 1 || count > (SINGLE.includes(use) ? 1 : MAX_KEYS_PER_USE)) throw malformed("organisation.keys");
  }
  if (!isAscending(keys.map(({ id }) => id), byText)) throw malformed("organisation.keys");
  // Authentication keys by their ids.
  const own = new Map(keys.filter(({ use }) => use === "authentication").map(({ id, key }) => [id, key]));
  return { addresses: [url, ...origins], invoices, keys: own, listed: keys, orgId, status, url };
}

// The whole chain of one member's own object, from the head that the map has down to version 1.
function readChain({ contents, map, records: rows }, mapRoot) {
  if (!rows.length || contents.length !== rows.length) throw malformed("askers.malformed");
  const proof = readProof(canonical(map));
  verifyMap(mapRoot, proof);
  const records = rows.map((row) => readRecord(canonical(row)));
  const chain = [proof.value, ...records.map(({ previous }) => previous)];
  const isChain = records.every((one, at) => chain[at] !== null && same(one.digest, chain[at])) && chain.at(-1) === null;
  if (!isChain || !records.every((one) => same(one.key, proof.key))) throw refused("askers.history");
  return records.map((record, at) => [record, readVersion(record, contents[at])]);
}

function readVersion(record, content) {
  if (record.kind !== "organisation" || !same(publicBodyHash("organisation", content), record.bodyHash)) throw refused("askers.content");
  const organisation = readOrganisation(content);
  if (!same(mapKey("organisation", organisation.orgId, organisationId(organisation.orgId)), record.key)) throw refused("askers.content");
  return organisation;
}

/** A member over time: its versions, the newest first. */
class Listed {
  constructor(orgId, versions) {
    this.orgId = orgId;
    this.versions = versions;
  }

  get now() {
    return this.versions[0].organisation;
  }

  /** When its first version was accepted; null where it is not shown. */
  get joined() {
    return this.versions.at(-1).registered;
  }

  /** Position of the entry with which it stopped to list an address; infinity while it lists it, 0 where it never did. */
  listedUntil(address) {
    const at = this.versions.findIndex(({ organisation }) => organisation.addresses.includes(address));
    if (at === 0) return Infinity;
    return at < 0 ? 0 : this.versions[at - 1].since;
  }

  /** An authentication key that it listed right before a leaf; undefined for none. */
  keyBefore(position, id) {
    return this.versions.find(({ since }) => since < position)?.organisation.keys.get(id);
  }

  /** An authentication key that it ever listed. */
  keyEver(id) {
    return this.versions.map(({ organisation }) => organisation.keys.get(id)).find((key) => key !== undefined);
  }

  /** Whether it was an active member at an instant, also before it joined; null where that is not shown. */
  wasActive(instant) {
    if (this.versions.every(({ organisation }) => organisation.status === "active")) return true;
    if (this.versions.some(({ registered }) => registered === null)) return null;
    const then = this.versions.find(({ registered }) => registered <= instant);
    return then === undefined || then.organisation.status === "active";
  }
}

/** Reads askers.json of a bundle with a claim's evidence, and checks it: org_id → member. */
export const openListed = (bytes, mapRoot, tree) => opened(bytes, "medchain/askers/v2", (row) => readListed(row, mapRoot, tree));

/** Reads askers.json of a bundle about disclosures, which has no times, likewise. */
export const openAskers = (bytes, mapRoot) => opened(bytes, "medchain/askers/v1", (row) => readAsker(row, mapRoot));

/** How members are called now, of a file that `openListed` has checked: org_id → language → name. */
export const namesOf = (bytes) => new Map(parseCanonical(bytes, bytes.length).askers.map(({ contents: [newest] }) => [newest.org_id, newest.name]));

function opened(bytes, type, read) {
  const top = members(parseCanonical(bytes, bytes.length), "askers:list type:str");
  if (top.type !== type) throw malformed("askers.malformed");
  const found = top.askers.map(read);
  if (!isAscending(found.map(({ orgId }) => orgId), byText)) throw malformed("askers.malformed");
  return new Map(found.map((one) => [one.orgId, one]));
}

function readAsker(row, mapRoot) {
  const chain = readChain(members(row, "contents:list map:dict records:list"), mapRoot);
  return new Listed(chain[0][0].creator, chain.map(([record, organisation]) => ({ organisation, registered: null, since: record.since })));
}

function readListed(row, mapRoot, tree) {
  const top = members(row, "blocks:list contents:list map:dict records:list");
  const chain = readChain(top, mapRoot);
  if (top.blocks.length !== chain.length) throw malformed("askers.malformed");
  const versions = chain.map(([record, organisation], at) => {
    const block = top.blocks[at];
    return { organisation, registered: block === null ? null : acceptedAt(canonical(block), record.since, tree), since: record.since };
  });
  return new Listed(chain[0][0].creator, versions);
}
