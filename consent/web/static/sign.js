// The page on which a patient signs: shows what stands in the draft itself, and has the passkey sign that and no more.
import { check, forOneClaim, hidden, keptBack } from "./signed.js";
import { arm, assertion, DiffersError, post, say } from "./webauthn.js";

const page = document.querySelector("#sign");
const { may, kinds, operations, purposes, roles, rows: words, sensitive } = JSON.parse(page.dataset.words);
const zone = page.dataset.zone;
const list = page.querySelector("dl");
const language = document.querySelector("header a[lang]");
// Begins the fragment where it is not a ticket; no ticket has this character.
const OPENED = "opened:";
const listed = (rows) => rows.join(words.comma);
const bracket = (text) => words.open + text + words.close;

function day(seconds) {
  const isChinese = document.documentElement.lang !== "en";
  const form = { dateStyle: isChinese ? "long" : "medium", timeZone: zone };
  return new Intl.DateTimeFormat(isChinese ? "zh-CN" : "en-GB", form).format(new Date(seconds * 1000));
}

// Kinds by the types that they hold; one of which only some are meant says which.
function kindsOf(types) {
  if (types.includes("*")) return words.all;
  const known = kinds.map(([word, all]) => [word, all.length, all.filter((one) => types.includes(one))]);
  const other = types.filter((one) => !kinds.some(([, all]) => all.includes(one)));
  const named = known
    .filter(([, , of]) => of.length)
    .map(([word, count, of]) => (of.length === count ? word : word + bracket(of.join(", "))));
  return listed([...named, ...other]);
}

// Sensitive kinds of which something passes.
function passing(kept) {
  return listed(sensitive.filter(([, codes]) => !codes.every((one) => kept.includes(one))).map(([word]) => word));
}

// A list that a person may open: on a phone fifty records would hide the rest.
function listOf([title, rows]) {
  const details = document.createElement("details");
  details.className = "mc-details";
  details.appendChild(document.createElement("summary")).textContent = title;
  const all = details.appendChild(document.createElement("ul"));
  all.className = "nhsuk-list nhsuk-list--bullet";
  for (const row of rows) all.appendChild(document.createElement("li")).textContent = row;
  return details;
}

const named = (names, id) => (names[id] ? names[id] + bracket(id) : id);
const short = (id) => `${id.slice(0, 12)}…`;

function consent({ content }, names) {
  if (content.data_period !== null) throw new DiffersError("consent");
  const hiding = hidden(content);
  const until = ["until", content.period.end === null ? words.no_end : day(content.period.end)];
  if (hiding !== null) {
    const what = hiding.reference ? ["hides", named(names, hiding.reference)] : ["hides_kind", kindsOf(hiding.types)];
    return [what, ["hides_from", words.others], ["seen_by", named(names, content.recipient)], until];
  }
  const one = forOneClaim(content);
  const parts =
    one === null
      ? []
      : [
          ["claim", names[one.digest]],
          ["digest", one.digest],
          ["told", words.parts],
          ["cited", [`${one.cited.length} ${words.records}`, one.cited.map((record) => named(names, record))]],
        ];
  return [
    ["recipient", named(names, content.recipient)],
    ["purpose", purposes[content.purpose] ?? content.purpose],
    ...parts,
    ["kinds", kindsOf(content.resource_types)],
    ["sensitive", passing(one === null ? keptBack(content) : one.kept) || words.none],
    ["custodians", listed(content.custodians.map((one) => named(names, one)))],
    until,
    // Guardians who disagree sign the same, and each is shown who else must.
    ["signers", content.joined.length ? listed([content.subject, ...content.joined].map((one) => names[one] ?? short(one))) : ""],
  ];
}

// Of what ends, only its key is signed; what else is said of it is the server's word, and said to be.
function ended({ content }, names) {
  return [
    ["about", names[content.object]],
    ["object", content.object],
  ];
}

async function passkeyName(id) {
  const raw = Uint8Array.from(atob(id), (c) => c.charCodeAt(0));
  const data = await new Blob([new TextEncoder().encode("medchain/passkey-name/v1\n"), raw]).arrayBuffer();
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
  return [...digest.slice(0, 3)].map((one) => one.toString(16).padStart(2, "0")).join("");
}

function delegate(names, { subject, role, may: deeds, resource_types: types, until }) {
  const limits = [...deeds.map((deed) => may[deed] ?? deed), deeds.includes("consent") ? kindsOf(types) : null];
  const said = listed([...limits, words.until + words.colon + day(until * 86400)].filter((one) => one !== null));
  return `${names[subject] ?? short(subject)}${bracket(roles[role] ?? role)}${words.colon}${said}`;
}

// A subject is signed whole: the list as it stands afterwards.
async function subject({ content, signed }, names) {
  const isOfPasskeys = signed.operation.endsWith("-passkey");
  if (isOfPasskeys) {
    return [["passkeys", listed(await Promise.all(content.passkeys.map((one) => passkeyName(one.credential_id))))]];
  }
  if (signed.operation.endsWith("/change-contacts")) {
    return [["contacts", listed(content.contacts.map((one) => one.address)) || words.no_contact]];
  }
  // Who gives up acting for somebody is shown nothing of that person's but the name.
  if (signed.acting_for !== null) return [];
  const told = content.delegates.map((one) => ["delegates", delegate(names, one)]);
  return told.length ? told : [["delegates", words.nobody]];
}

const shows = { consent, delegation: ended, recovery: ended, subject };

async function show(begun) {
  const found = await check(begun, page.dataset.ledger);
  const { operation, acting_for: person } = found.signed;
  if (!operations[operation]) throw new DiffersError("operation");
  const [kind, what] = operation.split("/");
  const rows = await (what === "withdraw" ? ended : shows[kind])(found, begun.names);
  if (person !== null) rows.unshift(["acting_for", begun.names[person] ?? short(person)]);
  for (const [name, value] of rows.filter(([, one]) => one)) {
    const row = list.appendChild(document.createElement("div"));
    row.className = "nhsuk-summary-list__row";
    for (const [tag, part, said] of [["dt", "key", words[name]], ["dd", "value", value]]) {
      const cell = row.appendChild(document.createElement(tag));
      cell.className = `nhsuk-summary-list__${part}`;
      if (Array.isArray(said)) cell.append(listOf(said));
      else cell.textContent = said;
    }
  }
  const heading = page.querySelector("h1");
  const hiding = operation === "consent/create" ? hidden(found.content) : null;
  const isForOneClaim = operation === "consent/create" && hiding === null && forOneClaim(found.content) !== null;
  const usual = isForOneClaim ? words.one_claim : operations[operation];
  heading.textContent = hiding === null ? usual : hiding.reference ? words.hide : words.hide_kind;
  page.querySelector("[data-shown]").hidden = false;
  heading.focus();
  return found;
}

async function open() {
  const secret = location.hash.slice(1);
  // Who takes up this browser later does not find it in its history.
  history.replaceState(null, "", location.pathname + location.search);
  const isOpened = secret.startsWith(OPENED);
  const begun = await post("/sign/begin", isOpened ? { begun: secret.slice(OPENED.length) } : { ticket: secret });
  // The ticket is used up: in the other language the page goes on with what it was given for it.
  language.hash = OPENED + begun.begun;
  const back = page.querySelector("[data-back]");
  back.href = begun.back;
  back.textContent = back.dataset.text;
  const { root } = await show(begun);
  arm({
    sign: async () => {
      // A phone's person may look for long: what is signed is what was shown, whatever became of it in this page.
      if ((await check(begun, page.dataset.ledger)).root !== root) throw new DiffersError("draft");
      return post("/sign/finish", await assertion(begun));
    },
  });
}

const reading = page.querySelector("[data-reading]");
reading.hidden = false;
// Who followed it now would lose the ticket.
language.hidden = true;
open()
  .catch((error) => say(page.querySelector(":scope > [role=alert]"), error))
  .finally(() => {
    reading.hidden = true;
    language.hidden = false;
  });
