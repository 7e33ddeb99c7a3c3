// Moves the focus along the rows of a list by the arrow keys; Enter follows the link that has it, as everywhere. Shows how
// far something is that is not done yet. The pages are whole without this.
const links = [...document.querySelectorAll("[data-rows] tbody a")];
document.querySelectorAll("[data-keys]").forEach((one) => { one.hidden = links.length === 0; });
document.addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const isElsewhere = event.target.closest("input, select, textarea, details");
  if (step === undefined || isElsewhere || event.altKey || event.ctrlKey || event.metaKey || links.length === 0) return;
  const at = links.indexOf(document.activeElement);
  const next = at < 0 ? (step > 0 ? 0 : links.length - 1) : Math.min(links.length - 1, Math.max(0, at + step));
  links[next].focus();
  event.preventDefault();
});

// What somebody is writing is not taken away by a newer page.
const isWritten = () => [...document.querySelectorAll("main textarea, main input:not([type=hidden])")]
  .some((one) => one.value !== one.defaultValue || one === document.activeElement);
const look = async () => {
  if (isWritten()) {
    again();
    return;
  }
  try {
    const answer = await fetch(location.href, { credentials: "same-origin", redirect: "error" });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const main = page.querySelector("main");
    if (answer.ok && main !== null && !isWritten()) document.querySelector("main").replaceChildren(...main.childNodes);
  } catch {
    // The node is away for a moment: what is shown stays, and it is looked again.
  }
  again();
};
const again = () => {
  const waiting = document.querySelector("[data-again]");
  if (waiting !== null) setTimeout(look, Number(waiting.dataset.again) * 1000);
};
again();
