// Signing in with a passkey, enrolling one, and signing with it. All that these pages need JavaScript for.
const bytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");

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
  return post(`${base}/finish`, { ...(await assertion(begun)), csrf, draft: begun.draft });
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
  return post(`${base}/finish`, { ...(await assertion(begun)), csrf, draft: begun.draft });
}

const ceremonies = { add, change: sign, enrol, give: sign, "sign-in": signIn, stop: sign };

function said(failed, error) {
  const { failed: usual, later, refused } = failed.dataset;
  if (!usual) return;
  failed.textContent = error.status === 503 ? later : error.status ? refused : usual;
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
