// The page that checks a proof: what the check says, in the reader's words.
import { check, ProofError } from "./proof.js";

const place = document.querySelector("#verify");
const [file, policy, verdict] = ["#bundle", "#policy", ".mc-verdict"].map((one) => place.querySelector(one));
const words = place.dataset;

function say(word, ...lines) {
  verdict.replaceChildren(
    ...[word, ...lines].map((line, at) => {
      const made = document.createElement("p");
      made.textContent = line;
      if (at === 0) made.className = "mc-verdict__word";
      return made;
    }),
  );
}

async function judge() {
  if (!file.files.length) return;
  say(words.wait);
  try {
    const found = await check(new Uint8Array(await file.files[0].arrayBuffer()), policy.value.replace(/\n?$/, "\n"));
    const lines = [words.entry.replace("@", found.position).replace("#", found.size), `${words.who}${found.who.join(", ")}`];
    const { record } = found;
    if (record) lines.push(`${words.record}${record.kind} · ${record.status} · v${record.version}`);
    if (record && found.newest !== record.version) lines.push(`${words.newest}v${found.newest}`);
    if (found.items.length) lines.push(words.items.replace("@", found.items.length));
    const told = (seconds) => new Date(seconds * 1000).toLocaleString(document.documentElement.lang);
    if (found.registered) lines.push(`${words.registered}${told(found.registered)}`);
    if (found.answer !== "entry") lines.push(`${words.time}${told(found.time)}`);
    if (found.looks) lines.push(words.looks.replace("@", found.looks.entries.flatMap((entry) => entry.looks).length));
    if (found.disclosures) lines.push(words.disclosures.replace("@", found.disclosures.listed.length));
    verdict.dataset.verdict = "verified";
    say(words.verified, ...lines);
  } catch (error) {
    verdict.dataset.verdict = "refused";
    say(error instanceof ProofError && error.isRefused ? words.refused : words.bundle, String(error.message));
  }
}

place.hidden = false;
file.addEventListener("change", judge);
policy.addEventListener("change", judge);
