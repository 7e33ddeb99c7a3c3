// Signing in with a passkey, and enrolling one. All that these pages need JavaScript for.
const bytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");

async function post(path, document) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(document),
  });
  if (!answer.ok) throw new Error(String(answer.status));
  return answer.json();
}

async function signIn(place) {
  const begun = await post("/sign-in/passkey/begin", {});
  const found = await navigator.credentials.get({
    publicKey: { challenge: bytes(begun.challenge), rpId: begun.rp_id, userVerification: "required", timeout: 120000 },
  });
  const { authenticatorData, clientDataJSON, signature } = found.response;
  return post("/sign-in/passkey/finish", {
    begun: begun.begun,
    request: place.dataset.request,
    credential: text(found.rawId),
    client_data: text(clientDataJSON),
    authenticator_data: text(authenticatorData),
    signature: text(signature),
  });
}

async function enrol() {
  const code = location.hash.slice(1);
  const begun = await post("/enrol/begin", { code });
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
  return post("/enrol/finish", {
    begun: begun.begun,
    code,
    client_data: text(made.response.clientDataJSON),
    authenticator_data: text(made.response.getAuthenticatorData()),
  });
}

for (const place of document.querySelectorAll("[data-passkey]")) {
  const button = place.querySelector("button");
  const failed = place.querySelector("[role=alert]");
  button.hidden = !("credentials" in navigator);
  button.addEventListener("click", async () => {
    failed.hidden = button.disabled = true;
    try {
      const done = await (place.dataset.passkey === "enrol" ? enrol() : signIn(place));
      location.assign(done.next);
    } catch {
      failed.hidden = false;
      button.disabled = false;
      button.focus();
    }
  });
}
