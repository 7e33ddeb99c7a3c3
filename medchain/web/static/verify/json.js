// JSON of others, read to the letter: numbers as they were written, names in their order, none twice. What is hashed of
// a record, and what amounts are read from, must not pass through a number of JavaScript's.
import { malformed, text } from "./encoding.js";

/** A number as it was written. */
export class Written {
  constructor(digits) {
    this.digits = digits;
  }
}

const SPACE = /[ \t\n\r]*/y;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?/y;
const STRING = /"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const WORD = /true|false|null/y;
// Deeper than any document that is read; bounds the stack.
const MAX_DEPTH = 128;

class Reader {
  constructor(source) {
    this.source = source;
    this.at = 0;
  }

  take(pattern) {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.source)?.[0];
    if (found !== undefined) this.at += found.length;
    return found;
  }

  // The sign that comes next, behind white space; it is passed where it is one of those given.
  sign(...signs) {
    this.take(SPACE);
    const next = this.source[this.at];
    if (!signs.includes(next)) throw malformed("fields.not_json");
    this.at += 1;
    return next;
  }

  value(depth) {
    this.take(SPACE);
    const next = this.source[this.at];
    if (next === "{" || next === "[") {
      if (depth === 0) throw malformed("fields.not_json");
      this.at += 1;
      return next === "{" ? this.object(depth) : this.array(depth);
    }
    const word = this.take(STRING) ?? this.take(WORD);
    if (word !== undefined) return wellFormed(JSON.parse(word));
    const digits = this.take(NUMBER);
    if (digits === undefined) throw malformed("fields.not_json");
    return new Written(digits);
  }

  object(depth) {
    const found = new Map();
    this.take(SPACE);
    if (this.source[this.at] === "}") {
      this.at += 1;
      return found;
    }
    do {
      this.take(SPACE);
      const word = this.take(STRING);
      if (word === undefined) throw malformed("fields.not_json");
      const name = wellFormed(JSON.parse(word));
      this.sign(":");
      if (found.has(name)) throw malformed("fields.duplicate_name");
      found.set(name, this.value(depth - 1));
    } while (this.sign(",", "}") === ",");
    return found;
  }

  array(depth) {
    const found = [];
    this.take(SPACE);
    if (this.source[this.at] === "]") {
      this.at += 1;
      return found;
    }
    do found.push(this.value(depth - 1));
    while (this.sign(",", "]") === ",");
    return found;
  }
}

function wellFormed(value) {
  if (typeof value === "string" && !value.isWellFormed()) throw malformed("fields.not_json");
  return value;
}

/** Reads a document: objects as `Map`, numbers as `Written`. Throws fields.not_json, fields.duplicate_name. */
export function readJson(bytes) {
  const reader = new Reader(text(bytes) ?? "");
  const value = reader.value(MAX_DEPTH);
  reader.take(SPACE);
  if (reader.at !== reader.source.length) throw malformed("fields.not_json");
  return value;
}
