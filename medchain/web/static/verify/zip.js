// The files of a zip (APPNOTE 6.3.10): stored or deflated, by their central directory; bounded before anything is unpacked.
import { joined, malformed, text } from "./encoding.js";

export const MAX_BYTES = 64 << 20;
const END = 0x06054b50;
const ENTRY = 0x02014b50;
const LOCAL = 0x04034b50;
const MAX_COMMENT = 0xffff;
const REGULAR = 8;

/** Unpacks; returns name → bytes. Throws bundle.format, .size, .files, .twice, .link. */
export async function unzip(data, maxFiles) {
  try {
    return await unpacked(data, maxFiles);
  } catch (error) {
    // Places outside of the file, and streams that are broken.
    if (error instanceof RangeError || error instanceof TypeError) throw malformed("bundle.format");
    throw error;
  }
}

async function unpacked(data, maxFiles) {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  if (data.length > MAX_BYTES) throw malformed("bundle.size");
  let end = data.length - 22;
  const lowest = Math.max(0, end - MAX_COMMENT);
  while (end >= lowest && view.getUint32(end, true) !== END) end -= 1;
  if (end < lowest) throw malformed("bundle.format");
  const count = view.getUint16(end + 10, true);
  if (count > 2 * maxFiles) throw malformed("bundle.files");
  const files = new Map();
  let [at, whole] = [view.getUint32(end + 16, true), 0];
  for (let left = count; left > 0; left -= 1) {
    const entry = readEntry(data, view, at);
    at = entry.next;
    if (entry.name.endsWith("/")) continue;
    whole += entry.size;
    if (whole > MAX_BYTES) throw malformed("bundle.size");
    // A name that stands twice shows each reader another file.
    if (files.has(entry.name)) throw malformed("bundle.twice");
    if (files.size === maxFiles) throw malformed("bundle.files");
    files.set(entry.name, entry.method === 0 ? entry.bytes : await inflated(entry.bytes, entry.size));
    if (files.get(entry.name).length !== entry.size || crc32(files.get(entry.name)) !== entry.crc) throw malformed("bundle.format");
  }
  return files;
}

function readEntry(data, view, at) {
  const [flags, method, nameSize, more, note] = [8, 10, 28, 30, 32].map((place) => view.getUint16(at + place, true));
  const [mark, crc, packed, size, attributes, start] = [0, 16, 20, 24, 38, 42].map((place) => view.getUint32(at + place, true));
  const name = text(data.subarray(at + 46, at + 46 + nameSize));
  const isPlain = !(flags & 1) && (method === 0 || method === 8);
  if (mark !== ENTRY || view.getUint32(start, true) !== LOCAL || !isPlain || !name) throw malformed("bundle.format");
  if (!name.endsWith("/") && ![0, REGULAR].includes(attributes >>> 28)) throw malformed("bundle.link");
  const body = start + 30 + view.getUint16(start + 26, true) + view.getUint16(start + 28, true);
  const bytes = data.subarray(body, body + packed);
  if (bytes.length !== packed) throw malformed("bundle.format");
  return { bytes, crc, method, name, next: at + 46 + nameSize + more + note, size };
}

// Stops at the size that the directory tells, however much there is.
async function inflated(bytes, size) {
  const reader = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw")).getReader();
  const parts = [];
  for (let held = 0; ; ) {
    const { done, value } = await reader.read();
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
