// The files of a zip (APPNOTE 6.3.10): stored or deflated, by its list of them; bounded before anything is unpacked.
// One zip could hold two bundles, one for each of two readers: medchain/node/packed.py reads it alike, and all ways in which
// a zip says where its files are agree, or it is none.
import { joined, malformed, same, text } from "./encoding.js";

export const MAX_BYTES = 64 << 20;
// Files are smaller packed than not, but for names and dates.
const MAX_ZIP_BYTES = MAX_BYTES + (1 << 20);
const END = 0x06054b50;
const END_SIZE = 22;
const ENTRY = 0x02014b50;
const ENTRY_SIZE = 46;
const LOCAL = 0x04034b50;
const LOCAL_SIZE = 30;
// How well it was packed, sizes behind the content, a name in UTF-8; of all others, such as encryption, this knows none.
const FLAGS = 0x080e;
const STORED = 0;
const DEFLATED = 8;
const REGULAR = 8;

/** Unpacks; returns name → bytes. Throws bundle.format, .size, .files, .twice, .link. */
export async function unzip(data, maxFiles) {
  try {
    return await unpacked(data, maxFiles);
  } catch (error) {
    // Places outside of the file.
    if (error instanceof RangeError) throw malformed("bundle.format");
    throw error;
  }
}

async function unpacked(data, maxFiles) {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  if (data.length > MAX_ZIP_BYTES) throw malformed("bundle.size");
  const end = data.length - END_SIZE;
  const [mark, size, start] = [0, 12, 16].map((place) => view.getUint32(end + place, true));
  const [count, comment] = [10, 20].map((place) => view.getUint16(end + place, true));
  // Nothing stands between the list and its end, nor behind that: it is found in one way alone.
  if (mark !== END || comment || start + size !== end) throw malformed("bundle.format");
  if (count > 2 * maxFiles) throw malformed("bundle.files");
  const files = new Map();
  let [at, whole] = [start, 0];
  for (let left = count; left > 0; left -= 1) {
    const entry = readEntry(data, view, at);
    at = entry.next;
    if (entry.name.endsWith("/")) continue;
    whole += entry.size;
    if (whole > MAX_BYTES) throw malformed("bundle.size");
    // A name that stands twice shows each reader another file.
    if (files.has(entry.name)) throw malformed("bundle.twice");
    if (files.size === maxFiles) throw malformed("bundle.files");
    files.set(entry.name, entry.method === STORED ? entry.bytes : await inflated(entry.bytes, entry.size));
    if (files.get(entry.name).length !== entry.size || crc32(files.get(entry.name)) !== entry.crc) throw malformed("bundle.format");
  }
  if (at !== end) throw malformed("bundle.format");
  return files;
}

// A row of the list, and what it is of; its name stands there once more.
function readEntry(data, view, at) {
  const [flags, method, nameSize, more, note] = [8, 10, 28, 30, 32].map((place) => view.getUint16(at + place, true));
  const [mark, crc, packed, size, attributes, start] = [0, 16, 20, 24, 38, 42].map((place) => view.getUint32(at + place, true));
  const [head, ...spaces] = [view.getUint32(start, true), view.getUint16(start + 26, true), view.getUint16(start + 28, true)];
  const written = data.subarray(at + ENTRY_SIZE, at + ENTRY_SIZE + nameSize);
  const isSame = mark === ENTRY && head === LOCAL && same(data.subarray(start + LOCAL_SIZE, start + LOCAL_SIZE + spaces[0]), written);
  if (!isSame || flags & ~FLAGS || ![STORED, DEFLATED].includes(method) || !written.length) throw malformed("bundle.format");
  const isFolder = written.at(-1) === 0x2f;
  if (!isFolder && ![0, REGULAR].includes(attributes >>> 28)) throw malformed("bundle.link");
  const name = text(written);
  const body = start + LOCAL_SIZE + spaces[0] + spaces[1];
  const bytes = data.subarray(body, body + packed);
  if (name === undefined || bytes.length !== packed) throw malformed("bundle.format");
  return { bytes, crc, method, name, next: at + ENTRY_SIZE + nameSize + more + note, size };
}

// Stops at the size that the directory tells, however much there is.
async function inflated(bytes, size) {
  const reader = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw")).getReader();
  const parts = [];
  for (let held = 0; ; ) {
    // What is broken is told in several ways.
    const { done, value } = await reader.read().catch(() => {
      throw malformed("bundle.format");
    });
    if (done) return joined(...parts);
    held += value.length;
    if (held > size) throw malformed("bundle.format");
    parts.push(value);
  }
}

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

function crc32(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) value = TABLE[(value ^ byte) & 255] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}
