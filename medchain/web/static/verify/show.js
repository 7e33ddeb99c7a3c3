// What was found, as nodes of a page: every text is set as text, nothing is parsed as HTML, and no character of it is obeyed.
import { amountText } from "./claim/invoice.js";
import { hex } from "./encoding.js";
import { Wording, filled, visible } from "./wording.js";

function made(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") node.className = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.map((one) => (typeof one === "string" ? visible(one) : one)));
  return node;
}

/** Builds the result: texts of the page in a language, and the words of verdicts. */
export function shownVerdict(judged, texts, words, language) {
  const told = new Teller(texts, words, language, judged.verdict?.names ?? new Map());
  const { claim } = judged.verdict ?? {};
  const state = claim?.colour ?? judged.state;
  const look = { green: "green", verified: "green", amber: "amber", red: "red" }[state] ?? "refused";
  const banner = made("div", { class: `card banner ${look}` }, made("p", { class: "word", id: "word", tabindex: "-1" }, texts[state]));
  if (judged.code) banner.append(made("p", {}, `${texts.code}: `, made("span", { class: "code" }, judged.code)));
  const print = made("button", { class: "tool", id: "print", type: "button" }, texts.print);
  print.addEventListener("click", () => window.print());
  const parts = [made("h2", {}, texts.result), banner];
  if (claim) parts.push(made("h2", {}, texts.lines), told.lines(judged.verdict));
  parts.push(told.summary(judged));
  if (judged.verdict?.disclosures) parts.push(made("h2", {}, texts.disclosures), told.disclosures(judged.verdict.disclosures));
  if (judged.verdict?.looks) parts.push(...told.looks(judged.verdict.looks));
  if (!claim && judged.verdict?.items.length) parts.push(made("h2", {}, texts.items), ...judged.verdict.items.map((item, at) => told.item(item, at)));
  return [...parts, made("p", {}, print)];
}

class Teller {
  constructor(texts, words, language, names) {
    this.texts = texts;
    this.names = names;
    this.words = words[language];
    this.wording = new Wording(words, language, names, amountText);
    this.language = language;
  }

  // With its zone: it is the reader's, and findings beside it are in UTC.
  time(seconds) {
    const clock = { hour: "2-digit", hourCycle: "h23", minute: "2-digit", second: "2-digit", timeZoneName: "short" };
    const told = { day: "numeric", month: "short", year: "numeric", ...clock };
    return new Intl.DateTimeFormat(this.language === "zh" ? "zh-CN" : "en-GB", told).format(new Date(seconds * 1000));
  }

  summary({ file, now, verdict, who }) {
    const { texts } = this;
    const rows = [[texts.file, file.name]];
    if (verdict) {
      const { claim, current, position, size, time } = verdict;
      if (claim) rows.push([texts.claim, claim.claim], [texts.insurer, this.wording.name(claim.insurer)], [texts.members, this.members()]);
      else rows.push([texts.answer, texts[`answer_${verdict.answer}`]], ...this.object(verdict));
      rows.push([texts.as_of, filled(texts.as_of_value, { position, size, time: this.time(time) })]);
      if (verdict.answer !== "entry") rows.push([texts.current, current ? texts.is_current : texts.not_current]);
      rows.push([texts.cosigners, who.join(", ")]);
    }
    rows.push([texts.checked, this.time(now)]);
    return made("div", { class: "card" }, made("h3", {}, texts.summary), made("dl", {}, ...rows.flatMap(([name, value]) => [made("dt", {}, name), made("dd", {}, value)])));
  }

  // Sentences have names alone; here is whose they are.
  members() {
    return [...this.names.keys()].map((orgId) => filled(this.texts.member, { id: orgId, name: this.wording.name(orgId) })).join(this.words.between);
  }

  object({ newest, object, record, registered }) {
    const rows = object === null ? [] : [[this.texts.object, object]];
    if (record) rows.push([this.texts.state, this.version(record, newest)]);
    if (registered !== null) rows.push([this.texts.accepted, this.time(registered)]);
    return rows;
  }

  version({ kind, since, status, version }, newest) {
    return filled(this.texts.version, { kind, newest, position: since, status, version });
  }

  disclosures({ destroyed, listed }) {
    const rows = listed.map(({ count, purpose, recipient, time, version }) =>
      filled(this.texts.disclosure, { count, purpose, recipient, time: this.time(time), version }),
    );
    const lost = destroyed.map((version) => filled(this.texts.destroyed, { version }));
    const all = [...rows, ...lost];
    return made("ul", { class: "card" }, ...(all.length ? all : [this.texts.no_disclosures]).map((row) => made("li", {}, row)));
  }

  looks({ custodian, entries, lost, patient, until }) {
    const rows = entries.flatMap(({ looks }) => looks).map((look) => {
      const told = { ...look, purpose: look.purpose || "–", time: this.time(look.time), who: look.who || look.client };
      return `${filled(this.texts.look, told)}${look.refused ? ` · ${this.texts.look_refused}` : ""}`;
    });
    const gone = lost.map(([first, last]) => filled(this.texts.looks_lost, { first, last }));
    const all = [...(rows.length ? rows : [this.texts.no_looks]), ...gone];
    const heading = made("h2", {}, filled(this.texts.looks, { custodian, patient, until: this.time(until) }));
    return [heading, made("ul", { class: "card" }, ...all.map((row) => made("li", {}, row)))];
  }

  lines(verdict) {
    const { claim, items } = verdict;
    return made("ol", { class: "lines" }, ...claim.lines.map((line) => this.line(line, items)));
  }

  line({ colour, findings, line }, items) {
    const head = made("div", { class: "head" }, made("h3", {}, this.words.lines[line]), this.badge(colour));
    return made("li", { class: `line ${colour}`, "data-line": line }, head, made("ul", { class: "findings" }, ...findings.map((one) => this.finding(one, items))));
  }

  badge(colour) {
    return made("span", { class: `badge ${colour}` }, this.words.colours[colour]);
  }

  finding({ arguments: values, code, colour, items: numbers }, items) {
    const how = made("details", {}, made("summary", {}, this.texts.how));
    how.append(made("p", {}, `${this.texts[`how_${code.split(".")[0]}`]} `, made("span", { class: "code" }, code)));
    how.append(...(numbers.length ? numbers.map((at) => this.item(items[at], at)) : [made("p", {}, this.texts.no_items)]));
    return made("li", { "data-code": code }, this.wording.sentence(code, values), " ", colour === "green" ? "" : this.badge(colour), how);
  }

  item({ key, records, registered, shown }, at) {
    const { texts } = this;
    const record = records.at(-1);
    const parts = [made("strong", {}, filled(texts.item, { number: at })), " ", made("span", { class: "mono" }, hex(key))];
    const rows = [made("p", {}, ...parts), made("p", {}, record ? this.version(record, records[0].version) : texts.absent)];
    if (registered !== null) rows.push(made("p", {}, filled(texts.registered, { time: this.time(registered) })));
    if (shown.fields.size) rows.push(made("p", {}, `${texts.fields}:`), made("ul", {}, ...[...shown.fields].map(([name, value]) => made("li", { class: "mono" }, `${name} = ${value}`))));
    return made("div", { class: "item" }, ...rows);
  }
}
