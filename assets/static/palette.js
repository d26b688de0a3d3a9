// Ctrl-K: a few letters, Enter.
"use strict";

const palette = document.getElementById("palette");
const asked = document.getElementById("palette-q");
const options = document.getElementById("palette-list");

function chosen() {
  return options.querySelector("[aria-selected=true]");
}

function choose(option) {
  chosen()?.setAttribute("aria-selected", "false");
  option.setAttribute("aria-selected", "true");
  option.scrollIntoView({ block: "nearest" });
  asked.setAttribute("aria-activedescendant", option.id);
}

function take(option) {
  palette.close();
  if (option.dataset.href) location.href = option.dataset.href;
}

function find() {
  palette.showModal();
  asked.value = "";
  asked.dispatchEvent(new Event("input", { bubbles: true }));
  asked.focus();
}

DOES.find = find;
document.addEventListener("keydown", (event) => {
  if (event.key.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  if (palette.open) palette.close();
  else find();
});

asked.addEventListener("keydown", (event) => {
  const all = [...options.querySelectorAll("[role=option]:not([aria-disabled])")];
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step && all.length) {
    event.preventDefault();
    choose(all[(all.indexOf(chosen()) + step + all.length) % all.length]);
  } else if (event.key === "Enter" && chosen()) {
    event.preventDefault();
    chosen().click();
  }
});

options.addEventListener("click", (event) => {
  const option = event.target.closest("[role=option]:not([aria-disabled])");
  if (option) take(option);
});

palette.addEventListener("click", (event) => { if (event.target === palette) palette.close(); });
options.addEventListener("htmx:afterSwap", () => { if (chosen()) choose(chosen()); });
