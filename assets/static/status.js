// The status window: pages open in the large one; what machines do is asked while it is seen.
"use strict";

const post = (path, values) => htmx.ajax("POST", path, { values, swap: "none" });
const native = document.querySelector(".status-pin");

document.addEventListener("click", (event) => {
  const opens = event.target.closest("[data-open]");
  if (!opens) return;
  event.preventDefault();
  // A window of the desktop opens none itself.
  if (native || !window.open(opens.dataset.open, "rhythmicml")) post("/window/show", { path: opens.dataset.open });
});

if (native) {
  native.addEventListener("click", () => {
    const on = native.getAttribute("aria-pressed") !== "true";
    native.setAttribute("aria-pressed", String(on));
    post("/window/on-top", { on });
  });
}

setInterval(() => { if (!document.hidden) htmx.trigger("#status-machines", "seen"); }, 10_000);

// A part that says the same as before is not drawn again: it is what an idle window would be busy with.
const said = new Map();
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  if (!detail.target.id.startsWith("status-") || detail.isError || !detail.shouldSwap) return;
  if (said.get(detail.target.id) === detail.serverResponse) detail.shouldSwap = false;
  said.set(detail.target.id, detail.serverResponse);
});
