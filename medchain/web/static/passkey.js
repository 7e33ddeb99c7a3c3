// Signing in with a passkey, and making one. All that these pages need JavaScript for; what is signed with a passkey is
// signed elsewhere, see sign.js.
import { arm, assertion, bytes, post, text } from "./webauthn.js";

async function signIn(place) {
  const { base, request } = place.dataset;
  const begun = await post(`${base}/begin`, {});
  return post(`${base}/finish`, { ...(await assertion(begun)), request: request ?? "" });
}

// Makes a passkey; where that happens, on this device or another one, the browser asks.
async function created(begun) {
  const made = await navigator.credentials.create({
    publicKey: {
      challenge: bytes(begun.challenge),
      rp: { id: begun.rp_id, name: begun.rp_name },
      user: { id: bytes(begun.user), name: begun.name, displayName: begun.display },
      pubKeyCredParams: [
        { type: "public-key", alg: -7 },
        { type: "public-key", alg: -8 },
      ],
      authenticatorSelection: { residentKey: "required", userVerification: "required" },
      excludeCredentials: begun.known.map((id) => ({ type: "public-key", id: bytes(id) })),
      attestation: "none",
      timeout: 120000,
    },
  });
  return {
    begun: begun.begun,
    client_data: text(made.response.clientDataJSON),
    authenticator_data: text(made.response.getAuthenticatorData()),
  };
}

async function enrol(place) {
  const { base } = place.dataset;
  const code = location.hash.slice(1);
  const made = await created(await post(`${base}/begin`, { code }));
  return post(`${base}/finish`, { ...made, code });
}

// A further passkey is made here; the answer leads to where it is signed for with one that is there already.
async function add(place) {
  const { base, csrf } = place.dataset;
  const made = await created(await post(`${base}/make`, { csrf }));
  return post(`${base}/begin`, { csrf, ...made });
}

arm({ add, enrol, "sign-in": signIn });
