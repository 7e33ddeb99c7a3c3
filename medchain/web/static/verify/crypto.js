// Signatures and the verifiable random function, over the curves of @noble/curves and the ML-DSA of @noble/post-quantum.
// Only public keys come here: nothing needs to take the same time whatever it is.
import { ed25519 } from "@noble/curves/ed25519.js";
import { p384 } from "@noble/curves/nist.js";
import { sha512 } from "@noble/hashes/sha2.js";
import { ml_dsa44 } from "@noble/post-quantum/ml-dsa.js";

import { digest, hex, joined, refused, same, utf8 } from "./encoding.js";

const { Point } = ed25519;
const ORDER = Point.Fn.ORDER;
const NONE = new Uint8Array();

/** Names a public key: docs/spec/keys.md. */
export const keyId = (algorithm, key) => hex(digest("medchain/key/v1", utf8(algorithm), key).subarray(0, 16));

const little = (bytes) => BigInt(`0x${hex(Uint8Array.from(bytes).reverse()) || "0"}`);

function point(bytes) {
  try {
    return Point.fromBytes(bytes, false);
  } catch {
    return null;
  }
}

/** Whether libsodium up to 1.0.20 accepts an Ed25519 signature, which is the ledger's rule: medchain/crypto/signing.py. */
export function ed25519Verify(key, message, signature) {
  if (key.length !== 32 || signature.length !== 64) return false;
  const [commitment, scalar] = [signature.subarray(0, 32), little(signature.subarray(32))];
  const owner = point(key);
  if (owner === null || scalar >= ORDER || owner.isSmallOrder()) return false;
  const challenge = little(sha512(joined(commitment, key, message))) % ORDER;
  const found = Point.BASE.multiplyUnsafe(scalar).subtract(owner.multiplyUnsafe(challenge));
  return !found.isSmallOrder() && same(found.toBytes(), commitment);
}

/** Whether an ML-DSA-44 signature is valid (FIPS 204); cosignatures have an empty context. */
export function mldsa44Verify(key, message, signature, context = NONE) {
  if (key.length !== 1312 || signature.length !== 2420 || context.length > 255) return false;
  return ml_dsa44.verify(signature, message, key, { context });
}

/** Whether bytes are an uncompressed point of P-384. */
export function isP384(key) {
  try {
    return key.length === 97 && p384.Point.fromBytes(key) !== null;
  } catch {
    return false;
  }
}

/** Whether an ES384 signature (r ‖ s) is valid. */
export function es384Verify(key, message, signature) {
  if (!isP384(key) || signature.length !== 96) return false;
  try {
    return p384.verify(signature, message, key, { format: "compact", lowS: false, prehash: true });
  } catch {
    return false;
  }
}

const SUITE = 3;

// A canonical point of the prime-order group, not the identity; null for other bytes.
function groupPoint(bytes) {
  const found = bytes.length === 32 ? point(bytes) : null;
  return found === null || found.isSmallOrder() || !found.isTorsionFree() ? null : found;
}

/** Whether bytes are a public key of the verifiable random function. */
export const isVrfKey = (key) => groupPoint(key) !== null;

function toCurve(salt, alpha) {
  for (let counter = 0; counter < 256; counter += 1) {
    const tried = point(sha512(joined(Uint8Array.of(SUITE, 1), salt, alpha, Uint8Array.of(counter, 0))).subarray(0, 32));
    const found = tried?.multiplyUnsafe(8n);
    if (found && !found.is0()) return found;
  }
  throw refused("vrf.alpha");
}

/** Checks a proof of ECVRF-EDWARDS25519-SHA512-TAI (RFC 9381 §5.3), and returns its output. */
export function vrfVerify(key, alpha, proof) {
  const owner = groupPoint(key);
  if (owner === null) throw refused("vrf.key");
  const [gamma, scalar] = [groupPoint(proof.subarray(0, 32)), little(proof.subarray(48))];
  if (proof.length !== 80 || gamma === null || scalar >= ORDER) throw refused("vrf.proof");
  const [challenge, hashed] = [little(proof.subarray(32, 48)), toCurve(key, alpha)];
  const u = Point.BASE.multiplyUnsafe(scalar).subtract(owner.multiplyUnsafe(challenge));
  const v = hashed.multiplyUnsafe(scalar).subtract(gamma.multiplyUnsafe(challenge));
  const parts = [key, hashed.toBytes(), proof.subarray(0, 32), u.toBytes(), v.toBytes()];
  const made = sha512(joined(Uint8Array.of(SUITE, 2), ...parts, Uint8Array.of(0))).subarray(0, 16);
  // libsodium multiplies by no zero, and gives no identity; no proof that anybody can find has one.
  if (scalar === 0n || challenge === 0n || u.is0() || v.is0() || !same(made, proof.subarray(32, 48))) throw refused("vrf.proof");
  return sha512(joined(Uint8Array.of(SUITE, 3), gamma.multiplyUnsafe(8n).toBytes(), Uint8Array.of(0)));
}
