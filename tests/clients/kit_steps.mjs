// What a web team's program does with fhir-kit-client: `node kit_steps.mjs BASE TOKEN`.
import assert from "node:assert/strict";
import { Client } from "fhir-kit-client";

const [base, token] = process.argv.slice(2);
const client = new Client({ baseUrl: base, bearerToken: token });
const step = (name) => console.log(name);
const refused = async (status, promise) => {
  const error = await promise.then(() => assert.fail("was not refused"), (one) => one);
  assert.equal(error.response?.status, status, String(error));
  return error.response.data;
};

const metadata = await client.capabilityStatement();
assert.equal(metadata.fhirVersion, "4.0.1");
const smart = await client.smartAuthMetadata();
assert.equal(new URL(smart.tokenUrl).pathname, "/token");
step("metadata");

const made = await client.create({ resourceType: "Patient", body: { resourceType: "Patient", name: [{ family: "Zhào" }] } });
assert.equal(made.meta.versionId, "1");
const place = { resourceType: "Patient", id: made.id };
assert.deepEqual(await client.read(place), made);
step("create and read");

const changed = await client.update({ ...place, body: { ...made, active: true }, options: { headers: { "If-Match": 'W/"1"' } } });
assert.equal(changed.meta.versionId, "2");
const late = await refused(412, client.update({ ...place, body: made, options: { headers: { "If-Match": 'W/"1"' } } }));
assert.equal(late.resourceType, "OperationOutcome");
const patched = await client.patch({ ...place, jsonPatch: [{ op: "replace", path: "/active", value: false }] });
assert.equal(patched.active, false);
step("update and patch");

assert.deepEqual(await client.vread({ ...place, version: "1" }), made);
const history = await client.history(place);
assert.deepEqual(history.entry.map((row) => row.resource.meta.versionId), ["3", "2", "1"]);
step("history");

const entry = [...Array(12).keys()].map((number) => ({
  request: { method: "POST", url: "Observation" },
  resource: { resourceType: "Observation", status: "final", code: { text: "pulse" }, valueInteger: number,
    subject: { reference: `Patient/${made.id}` } },
}));
const told = await client.transaction({ body: { resourceType: "Bundle", type: "transaction", entry } });
assert.deepEqual([...new Set(told.entry.map((row) => row.response.status.slice(0, 3)))], ["201"]);
const batch = await client.batch({ body: { resourceType: "Bundle", type: "batch", entry: [
  { request: { method: "GET", url: `Patient/${made.id}` } }, { request: { method: "GET", url: "Patient/none" } }] } });
assert.deepEqual(batch.entry.map((row) => row.response.status.slice(0, 3)), ["200", "404"]);
step("transaction and batch");

let page = await client.search({ resourceType: "Observation", searchParams: { patient: made.id, _count: 5, _sort: "_id" } });
const seen = [];
for (; page; page = await client.nextPage({ bundle: page })) seen.push(...page.entry.map((row) => row.resource.valueInteger));
assert.deepEqual(seen.sort((a, b) => a - b), [...Array(12).keys()]);
const inside = await client.compartmentSearch({ resourceType: "Observation", compartment: place, searchParams: { _count: 3 } });
assert.equal(inside.entry.length, 3);
const whole = await client.operation({ name: "$everything", ...place, method: "GET" });
// Who looked belongs to the compartment as well, and comes when the audit has written it.
assert.equal(whole.entry.filter((row) => row.resource.resourceType !== "AuditEvent").length, 13);
const bySearch = await client.resourceSearch({ resourceType: "Observation", searchParams: { patient: made.id, _summary: "count" },
  options: { postSearch: true } });
assert.equal(bySearch.total, 12);
step("search");

const other = await client.resolve({ reference: `Patient/${made.id}` });
assert.equal(other.id, made.id);
step("resolve");

const outcome = await refused(422, client.create({ resourceType: "Patient", body: { resourceType: "Patient", gender: "x" } }));
assert.deepEqual(outcome.issue[0].expression, ["Patient.gender"]);
await refused(404, client.read({ resourceType: "Patient", id: "none" }));
step("outcomes");

const observation = told.entry[0].response.location.split("/_history")[0].split("/").at(-1);
await client.delete({ resourceType: "Observation", id: observation });
await refused(410, client.read({ resourceType: "Observation", id: observation }));
step("delete");
