// Toasts that offer to take back what was just done; they outlast a change of page.
"use strict";

const OFFERED = 12000;

function offer(undo, until) {
  const toast = document.createElement("div");
  toast.className = "toast-note toast-undo";
  toast.append(undo.words);
  const button = document.createElement("button");
  button.type = "button";
  button.className = "btn btn-sm";
  button.textContent = "Undo";
  button.addEventListener("click", (event) => {
    end();
    // Not from the page, as others are: what waits for them would count as done.
    htmx.ajax("POST", undo.post, { source: "#toasts", event, values: undo.values, swap: "none" }).then(() => {
      // There and back between two looks at the store is no news.
      if (document.getElementById("rows")) htmx.trigger("#rows", "refresh");
      if (!document.querySelector(".toast-undo, .toast-problem")) note("Taken back.");
    });
  });
  toast.append(" ", button);
  document.getElementById("toasts").replaceChildren(toast);
  const kept = sessionStorage.getItem("undo"); // by then, a newer offer may be there
  const end = () => { if (sessionStorage.getItem("undo") === kept) sessionStorage.removeItem("undo"); toast.remove(); };
  // Somebody who is about to press it must not lose it.
  const wait = () => { setTimeout(() => (toast.matches(":hover, :focus-within") ? wait() : end()), Math.max(1000, until - Date.now())); };
  wait();
}

document.addEventListener("undoable", (event) => {
  const until = Date.now() + OFFERED;
  const { words, post, values } = event.detail;
  sessionStorage.setItem("undo", JSON.stringify({ words, post, values, until }));
  offer({ words, post, values }, until);
});

document.addEventListener("DOMContentLoaded", () => {
  const kept = JSON.parse(sessionStorage.getItem("undo") || "null");
  if (kept && kept.until > Date.now()) offer(kept, kept.until);
});
