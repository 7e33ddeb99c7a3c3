// verify.html: reads a bundle and a policy from files, has them judged, and shows what was found. It asks no network.
import { ProofError } from "./encoding.js";
import { MAX_FILES, verifyBundle } from "./bundle.js";
import { organisations, readPolicy } from "./policy.js";
import { shownVerdict } from "./show.js";
import { TEXTS } from "./texts.js";
import { unzip } from "./zip.js";

const of = (id) => document.getElementById(id);
const [bundle, policy, pasted, status, result, drop] = ["bundle", "policy", "text", "status", "result", "drop"].map(of);
const WORDS = JSON.parse(of("words").textContent);
const given = { bundle: null, policy: "" };
// What was judged last, to be worded anew in the other language.
let last = null;
let turn = 0;

const language = () => document.documentElement.lang;
const say = (key) => TEXTS[language()][key];

function speak(to) {
  document.documentElement.lang = to;
  document.title = `${say("title")} · MedChain`;
  for (const one of document.querySelectorAll("[data-text]")) one.textContent = say(one.dataset.text);
  const button = of("language");
  [button.textContent, button.lang] = [say("other"), to === "zh" ? "en" : "zh"];
  show();
}

async function judge() {
  turn += 1;
  const mine = turn;
  last = null;
  if (given.bundle === null || !given.policy) last = { state: given.bundle === null ? "need_bundle" : "need_policy" };
  else {
    status.textContent = say("wait");
    result.hidden = true;
    const judged = await judgedOf(given.bundle, given.policy);
    // A later choice has overtaken this one.
    if (mine !== turn) return;
    last = judged;
  }
  show();
}

async function judgedOf(file, text) {
  const began = performance.now();
  const now = Math.floor(Date.now() / 1000);
  try {
    readPolicy(text);
  } catch (error) {
    return refusal(error, "bad_policy", file, now);
  }
  try {
    const files = await unzip(new Uint8Array(await file.arrayBuffer()), MAX_FILES);
    const verdict = verifyBundle(files, text, now);
    const who = organisations(readPolicy(text), verdict.cosigners);
    return { file, now, state: "verified", took: performance.now() - began, verdict, who };
  } catch (error) {
    return refusal(error, error.isRefused ? "refused" : "malformed", file, now);
  }
}

function refusal(error, state, file, now) {
  // What is no refusal of ours is a fault of this page; it must not pass for anything but a refusal either.
  return { code: error instanceof ProofError ? error.code : "page.fault", file, now, state };
}

function show() {
  result.hidden = true;
  status.textContent = "";
  if (last === null) return;
  if (last.state.startsWith("need_")) {
    status.textContent = say(last.state);
    return;
  }
  const place = shownVerdict(last, TEXTS[language()], WORDS, language());
  result.replaceChildren(...place);
  result.dataset.state = last.verdict?.claim?.colour ?? last.state;
  result.dataset.code = last.code ?? "";
  result.dataset.took = String(Math.round(last.took ?? 0));
  result.hidden = false;
  // Told to who does not see it; the page itself shows it below.
  status.textContent = "";
}

function take(files) {
  for (const file of files) {
    if (/\.zip$/i.test(file.name)) given.bundle = file;
    else file.text().then(policyIs);
  }
  judge();
}

function policyIs(text) {
  given.policy = text.replaceAll("\r\n", "\n").replace(/\n?$/, "\n");
  judge();
}

bundle.addEventListener("change", () => {
  given.bundle = bundle.files[0] ?? null;
  judge();
});
policy.addEventListener("change", () => policy.files[0]?.text().then(policyIs));
pasted.addEventListener("input", () => policyIs(pasted.value));
of("language").addEventListener("click", () => speak(language() === "zh" ? "en" : "zh"));
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", kind === "dragover");
    if (kind === "drop") take(event.dataTransfer.files);
  });
}
for (const kind of ["beforeprint", "afterprint"]) {
  addEventListener(kind, () => {
    for (const one of result.querySelectorAll("details")) one.open = kind === "beforeprint";
  });
}
drop.hidden = false;
speak(location.hash === "#en" || (location.hash !== "#zh" && !/^zh/i.test(navigator.language)) ? "en" : "zh");
