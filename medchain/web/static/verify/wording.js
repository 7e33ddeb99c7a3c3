// What was found as sentences, word for word as medchain/claims/verdict_words.py writes them. Pure, and imports nothing.

// What moves, reverses, hides or ends text: control, format, unassigned and private characters, halves of pairs, ends of lines.
const OBEYED = /[\p{C}\p{Zl}\p{Zp}]/gu;

/**
 * A text of others so that a page shows it and obeys none of it, as medchain/commands/command.py writes it: such a
 * character among a name or a field could have what we say be read as something else.
 */
export const visible = (text) => text.replace(OBEYED, (char) => `\\u${char.codePointAt(0).toString(16).padStart(4, "0")}`);

/** Fills a sentence in, as medchain/counted.py: {name} is written, {name:one|many} chooses a word by a number. */
export const filled = (sentence, values) =>
  sentence.replace(/\{(\w+)(?::([^|}]*)\|([^}]*))?\}/g, (whole, name, one, many) => {
    if (!Object.hasOwn(values, name)) return whole;
    if (many === undefined) return String(values[name]);
    return values[name] === 1 ? one : many;
  });

/** Words of verdicts in a language, names of organisations (org_id → language → name), and who writes an amount. */
export class Wording {
  constructor(words, language, names, amountText) {
    this.rules = words;
    this.words = words[language];
    this.language = language;
    this.names = names;
    this.amountText = amountText;
  }

  sentence(code, values) {
    const ofNobody = values.hospital === this.rules.nobody;
    const written = Object.fromEntries(Object.keys(values).map((name) => [name, this.written(code, name, values)]));
    if (Object.hasOwn(values, "hospital") && !ofNobody) written.hospital = this.name(values.hospital);
    return filled((ofNobody ? this.words.nobody[code] : undefined) ?? this.words.sentences[code] ?? code, written);
  }

  /** As the ledger has it, in another language where there is no name in this one. */
  name(orgId) {
    const own = this.names.get(orgId) ?? {};
    return own[this.language] ?? Object.values(own)[0] ?? orgId;
  }

  // What only counts stays a number, which chooses words.
  written(code, name, values) {
    const { rules, words } = this;
    const value = values[name];
    const isNumber = typeof value === "number";
    if (isNumber && (rules.instants.includes(name) || (name === "first" && code === "source.registered"))) return value ? this.instant(value) : words.unshown;
    if (isNumber && rules.money.includes(name)) return this.money(value, String(values.currency ?? ""));
    if (rules.lists.includes(name)) return String(value).split(", ").map((one) => this.word(one)).join(words.between);
    if (!isNumber && rules.days.includes(name)) return this.dated(String(value));
    if (name === "reference") return this.record(String(value));
    return value;
  }

  // In UTC, so that all who read one verdict read the same.
  instant(seconds) {
    const made = new Date(seconds * 1000);
    const isShown = made.getUTCFullYear() >= 1 && made.getUTCFullYear() <= 9999;
    if (!isShown) return String(seconds);
    const date = this.day(made.getUTCFullYear(), made.getUTCMonth() + 1, made.getUTCDate());
    return filled(this.words.moment, { clock: made.toISOString().slice(11, 16), date });
  }

  day(year, month, day) {
    return filled(this.words.date, { day, month: this.words.months[month - 1], year });
  }

  dated(text) {
    const found = /^([0-9]{4})-(0[1-9]|1[0-2])-([0-9]{2})$/.exec(text);
    return found === null ? text : this.day(...found.slice(1).map(Number));
  }

  money(minor, currency) {
    const name = Object.hasOwn(this.words.currencies, currency) ? this.words.currencies[currency] : currency;
    try {
      const [whole, part] = this.amountText({ currency, minor }).split(".");
      const grouped = whole.replace(/\B(?=(?:[0-9]{3})+$)/g, ",");
      return `${part === undefined ? grouped : `${grouped}.${part}`} ${name}`;
    } catch {
      return `${minor} ${name}`;
    }
  }

  // A name of ours, or how many records of a type there are.
  word(name) {
    const counted = /^([A-Za-z]+) ([0-9]+)$/.exec(name);
    if (counted === null) return Object.hasOwn(this.words.values, name) ? this.words.values[name] : name;
    const [, type, count] = counted;
    return filled(this.words.counted, { count, name: this.type(type) ?? type });
  }

  record(reference) {
    const found = /^([A-Za-z]+)\/([A-Za-z0-9.-]{1,64})$/.exec(reference);
    const type = found === null ? null : this.type(found[1]);
    return type === null ? reference : `${type} ${found[2]}`;
  }

  type(name) {
    return Object.hasOwn(this.words.types, name) ? this.words.types[name] : null;
  }
}
