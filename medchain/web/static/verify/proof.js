// What a proof bundle shows, for the page of a patient: the verifier of verify.html, behind one function. Nothing is fetched.
import { ProofError } from "./encoding.js";
import { MAX_FILES, verifyBundle } from "./bundle.js";
import { membersText, organisations, readPolicy } from "./policy.js";
import { verifyProof } from "./tlogproof.js";
import { unzip } from "./zip.js";

export * as primitives from "./crypto.js";
export { membersText, ProofError, readPolicy, unzip, verifyBundle, verifyProof };

/** Judges a zipped bundle under a policy; throws ProofError for what is no bundle, or does not hold. */
export async function check(data, policyText, now = Math.floor(Date.now() / 1000)) {
  const files = await unzip(data, MAX_FILES);
  const verdict = verifyBundle(files, policyText, now);
  return { ...verdict, who: organisations(readPolicy(policyText), verdict.cosigners) };
}
