// Signing in with a passkey, enrolling one, and signing with it. All that these pages need JavaScript for.
import { check, DiffersError } from "./signed.js";

const bytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");

// How long a page may have stood open before it is signed at: longer than a session lasts.
const OPEN_S = 86400;

class RefusedError extends Error {
  constructor(status) {
    super(String(status));
    this.status = status;
  }
}

async function post(path, document) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(document),
  });
  if (!answer.ok) throw new RefusedError(answer.status);
  return answer.json();
}

async function assertion(begun) {
  const found = await navigator.credentials.get({
    publicKey: {
      challenge: bytes(begun.challenge),
      rpId: begun.rp_id,
      allowCredentials: (begun.credentials ?? []).map((id) => ({ type: "public-key", id: bytes(id) })),
      userVerification: "required",
      timeout: 120000,
    },
  });
  const { authenticatorData, clientDataJSON, signature } = found.response;
  return {
    begun: begun.begun,
    credential: text(found.rawId),
    client_data: text(clientDataJSON),
    authenticator_data: text(authenticatorData),
    signature: text(signature),
  };
}

// Asks the passkey for what is drafted, once that is what this page says.
async function signature(place, begun, most) {
  place.dataset.root = await check(begun, { ...JSON.parse(place.dataset.signs ?? "{}"), most });
  return assertion(begun);
}

async function signIn(place) {
  const { base, request } = place.dataset;
  const begun = await post(`${base}/begin`, {});
  return post(`${base}/finish`, { ...(await assertion(begun)), request: request ?? "" });
}

// The choice of the form around it, or what was chosen before, is what is drafted; the draft is what comes back signed.
async function sign(place) {
  const { base, choice, csrf } = place.dataset;
  const form = place.closest("form");
  const asked = { csrf };
  if (choice) asked.choice = choice;
  if (form) {
    const chosen = new FormData(form);
    Object.assign(asked, {
      days: String(chosen.get("days")),
      kinds: chosen.getAll("kind"),
      sensitive: chosen.getAll("sensitive"),
    });
  }
  const begun = await post(`${base}/begin`, asked);
  return post(`${base}/finish`, { ...(await signature(place, begun, form && most(form))), csrf, draft: begun.draft });
}

// What a form's ticks give at most: types of what is ticked, until when, and the labels that are kept back.
function most(form) {
  const of = (name, ticked) => [...form.querySelectorAll(`[name=${name}]`)].filter((one) => one.checked === ticked);
  const listed = (boxes) => boxes.flatMap((one) => one.dataset.codes.split(" "));
  const types = listed(of("kind", true));
  return {
    types: of("kind", false).length ? types.filter((name) => name !== "*") : types,
    until: Number(form.elements.days.selectedOptions[0].dataset.until) + OPEN_S,
    kept: listed(of("sensitive", false)),
  };
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

// A further passkey is made first, and then signed for with one that is there already.
async function add(place) {
  const { base, csrf } = place.dataset;
  const made = await created(await post(`${base}/make`, { csrf }));
  const begun = await post(`${base}/begin`, { csrf, ...made });
  return post(`${base}/finish`, { ...(await signature(place, begun)), csrf, draft: begun.draft });
}

const ceremonies = { add, change: sign, enrol, give: sign, "sign-in": signIn, stop: sign };

function said(failed, error) {
  const { failed: usual, later, refused, differs } = failed.dataset;
  if (!usual) return;
  failed.textContent =
    error instanceof DiffersError ? differs : error.status === 503 ? later : error.status ? refused : usual;
}

for (const place of document.querySelectorAll("[data-passkey]")) {
  const button = place.querySelector("button");
  const failed = place.querySelector("[role=alert]");
  const wait = place.querySelector("[role=status]");
  const without = place.querySelector("[data-without]");
  button.hidden = !("credentials" in navigator);
  if (without) without.hidden = !button.hidden;
  button.addEventListener("click", async () => {
    failed.hidden = button.disabled = true;
    if (wait) wait.hidden = false;
    try {
      const done = await ceremonies[place.dataset.passkey](place);
      location.assign(done.next);
    } catch (error) {
      said(failed, error);
      failed.hidden = button.disabled = false;
      button.disabled = false;
      if (wait) wait.hidden = true;
      button.focus();
    }
  });
}
