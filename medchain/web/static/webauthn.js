// What all pages share that ask a passkey: bytes, steps of the server, the button and what it says.
export const bytes = (text) =>
  Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
export const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");

// What is to be signed is not what it should be: nothing is asked of a passkey.
export class DiffersError extends Error {}

class RefusedError extends Error {
  constructor(status, code) {
    super(`${status} ${code}`);
    this.status = status;
    this.code = code;
  }
}

export async function post(path, document) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(document),
  });
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new RefusedError(answer.status, said.code);
  return said;
}

export async function assertion(begun) {
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

// Says what went wrong; a page without a word for it keeps what stands there.
export function say(failed, error) {
  const { failed: usual, later, refused, differs, ended } = failed.dataset;
  if (usual) {
    const known = error.code === "page.ended" && ended ? ended : error.status === 503 ? later : error.status && refused;
    failed.textContent = error instanceof DiffersError ? differs : known || usual;
  }
  failed.hidden = false;
}

// Has the button of each place do its ceremony, and go where that leads.
export function arm(ceremonies) {
  for (const place of document.querySelectorAll("[data-passkey]")) {
    const button = place.querySelector("button");
    const failed = place.querySelector("[role=alert]");
    const wait = place.querySelector("[role=status]");
    const without = place.querySelector("[data-without]");
    // Browsers inside other apps can have one without the other.
    button.hidden = !("credentials" in navigator && "PublicKeyCredential" in window);
    if (without) without.hidden = !button.hidden;
    // What is after the # of an address, such as a code, no server knows.
    for (const field of without?.querySelectorAll("[data-address]") ?? []) field.value = location.href;
    button.addEventListener("click", async () => {
      failed.hidden = button.disabled = true;
      if (wait) wait.hidden = false;
      try {
        location.assign((await ceremonies[place.dataset.passkey](place)).next);
      } catch (error) {
        say(failed, error);
        button.disabled = false;
        if (wait) wait.hidden = true;
        button.focus();
      }
    });
  }
}
