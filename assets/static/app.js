// What the pages do by themselves; everything else is asked from the server by htmx.
"use strict";

const drawer = document.getElementById("drawer");
const search = document.getElementById("q");
let cameFrom = null;
let awaited = null; // what was asked last for the drawer

// What a script has asked for itself, in the drawer.
function drawIn(html) {
  const body = document.getElementById("drawer-body");
  awaited = null;
  body.innerHTML = html;
  htmx.process(body);
  openDrawer();
}

function openDrawer() {
  if (drawer.hidden) cameFrom = focused || seen(document.activeElement);
  drawer.hidden = false;
  const first = drawer.querySelector("[autofocus], input:not([type=hidden]), select, button.btn");
  if (first && !drawer.contains(document.activeElement)) first.focus();
  for (const log of drawer.querySelectorAll(".logs")) log.scrollTop = log.scrollHeight;
}

function closeDrawer() {
  awaited = null;
  if (drawer.hidden) return;
  drawer.hidden = true;
  for (const live of drawer.querySelectorAll("[sse-connect]")) htmx.trigger(live, "htmx:beforeCleanupElement");
  document.getElementById("drawer-body").replaceChildren();
  forgetProblems();
  if (cameFrom) stay(again(cameFrom));
}

function forgetProblems() {
  for (const each of document.querySelectorAll("#toasts .toast-problem")) each.remove();
}

// A refusal: a part of ours, or a few words of who stands in front of the pages.
function tellProblem(said, type) {
  if (!(type || "").startsWith("text/html")) {
    note(said, 10000);
    return;
  }
  const toasts = document.getElementById("toasts");
  toasts.insertAdjacentHTML("beforeend", said);
  htmx.process(toasts.lastElementChild);
}

function note(text, stays = 2500) {
  const toast = document.createElement("div");
  toast.className = "toast-note";
  toast.textContent = text;
  document.getElementById("toasts").append(toast);
  setTimeout(() => toast.remove(), stays);
}

function turnTheme() {
  const root = document.documentElement;
  const next = root.dataset.bsTheme === "dark" ? "light" : "dark";
  root.dataset.theme = next;
  htmx.ajax("POST", "/settings/theme", { values: { theme: next }, swap: "none" });
}

const DOES = {
  close: closeDrawer,
  dismiss: (button) => button.parentElement.remove(),
  drop: (button) => button.closest("tr").remove(),
  keys: () => document.getElementById("help").showModal(),
  theme: turnTheme,
  status: (button) => {
    if (button.dataset.native) htmx.ajax("POST", "/window/status", { swap: "none" });
    else window.open("/status", "rhythmicml-status", "popup,width=360,height=520");
  },
};

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-do]");
  if (button) DOES[button.dataset.do](button);
  const copied = event.target.closest("[data-copy]");
  if (copied) {
    await navigator.clipboard.writeText(copied.dataset.copy);
    note("Copied.");
  }
  const whole = event.target.closest("[data-copy-of]");
  if (whole) {
    await navigator.clipboard.writeText(document.getElementById(whole.dataset.copyOf).textContent);
    note("Copied.");
  }
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target) || event.target.closest("button")) menu.open = false;
  }
  const row = event.target.closest("tr[data-href]");
  if (row && !event.target.closest("a, button, summary, details")) location.href = row.dataset.href;
});

document.addEventListener("change", (event) => {
  if (event.target.matches("[name=theme]")) document.documentElement.dataset.theme = event.target.value;
  const form = event.target.closest(".compare-form");
  if (form) form.querySelector("[data-needs]").disabled = form.querySelectorAll(":checked").length !== 2;
});

// Unfolded once, folded by the next click without asking again.
document.addEventListener("htmx:confirm", (event) => {
  const button = event.detail.elt;
  if (!button.matches(".unfold")) return;
  const open = button.getAttribute("aria-expanded") === "true";
  button.setAttribute("aria-expanded", String(!open));
  if (open) {
    event.preventDefault();
    button.closest("tbody").querySelector(".unfolded").replaceChildren();
  }
});

// Another try takes away what was said of the one before.
document.addEventListener("htmx:beforeRequest", ({ detail }) => {
  if (detail.elt.matches("form, button") && !detail.elt.closest("#toasts")) forgetProblems();
});

// Whether somebody waits for the answer: what the page asks by itself comes of news, or without an
// event of a part that is just shown; in the drawer, that is part of what was asked, but for a job.
function isAsked({ elt, triggeringEvent: source }) {
  if (source) return source.isTrusted || source.type === "click";
  return !elt.hasAttribute("hx-trigger") || (drawer.contains(elt) && !elt.matches(".job"));
}

// An error that has no place on the page is told among the toasts: to whoever asked, also if what
// they used was replaced since; once, if the page asked by itself.
const toldUnasked = new Set();

document.addEventListener("htmx:beforeRequest", ({ detail: { elt, xhr, requestConfig } }) => {
  const asked = isAsked(requestConfig);
  xhr.addEventListener("readystatechange", () => { // before htmx is done with it
    if (xhr.readyState !== 4 || xhr.status < 400 || xhr.getResponseHeader("HX-Reswap") !== "none") return;
    if (!asked && (!elt.isConnected || toldUnasked.has(xhr.responseText))) return;
    if (!asked) toldUnasked.add(xhr.responseText);
    tellProblem(xhr.responseText, xhr.getResponseHeader("Content-Type"));
  });
});

// A late answer does not take the place of what was asked since, nor open what was closed; what
// became of an order is shown.
document.addEventListener("htmx:beforeRequest", ({ detail: { target, xhr } }) => {
  if (target.id === "drawer-body") awaited = xhr;
});
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  const late = detail.requestConfig.verb === "get" && detail.xhr !== awaited;
  if (late && detail.target.id === "drawer-body") detail.shouldSwap = false;
});
document.addEventListener("htmx:afterSwap", ({ detail: { target, successful } }) => {
  if (successful && target.id === "drawer-body") openDrawer();
});

// News must not take away what somebody is about to use: an open menu, unfolded rows, typed text,
// a button between press and release, or what waits for an answer.
function inUse(part, pressed = true) {
  const fields = [...part.querySelectorAll("input:not([type=checkbox], [type=radio], [type=hidden]), textarea")];
  const typing = fields.some((field) => field === document.activeElement || field.value !== field.defaultValue);
  return typing || (pressed && part.querySelector(":active")) || part.querySelector(".htmx-request, details.menu[open], details[open]:not(.log), .facts-of > *, .unfold[aria-expanded=true], :checked[name=v]");
}

// Then it waits, and is told when nothing is in use any more.
const waiting = new Map();

function wait(part, type) {
  if (!waiting.size) setTimeout(tell, 200);
  waiting.set(part, type);
}

function tell() {
  const still = [...waiting];
  waiting.clear();
  for (const [part, type] of still) {
    const now = part.isConnected ? part : part.id && document.getElementById(part.id);
    if (now && inUse(now)) wait(now, type);
    else if (now) htmx.trigger(now, type);
  }
}

document.addEventListener("htmx:beforeRequest", (event) => {
  const { elt, requestConfig: { triggeringEvent: source } } = event.detail;
  if (!source || !source.type.startsWith("sse:") || !inUse(elt)) return;
  event.preventDefault();
  wait(elt, source.type);
});

document.addEventListener("htmx:beforeSwap", (event) => {
  const { triggeringEvent: source, elt } = event.detail.requestConfig;
  // What a part asks for as it is shown comes without an event.
  const unasked = source ? /^(sse:|released)/.test(source.type) : elt.hasAttribute("hx-trigger");
  const late = source && source.type === "refresh" && elt.querySelector(".rename input:focus");
  const pressed = elt.matches(".plan") && elt.querySelector(":active");
  // What asks once, when it is shown, would never come.
  const again = source || (elt.getAttribute("hx-trigger") || "").includes("released");
  if (!late && !pressed && !(unasked && inUse(elt, again))) return;
  event.detail.shouldSwap = false;
  if (!late) wait(elt, unasked && source ? source.type : "released");
});

// What replaces a part hears of news only when it is there: what came to the old one since it
// asked is told to the new one.
const TOPICS = ["models", "instances", "jobs", "locations", "settings"];
const missed = new Map();

function miss({ currentTarget: part, type }) {
  missed.set(part.id, { part, type });
}

document.addEventListener("htmx:beforeRequest", ({ detail: { elt: part } }) => {
  if (!part.id || !(part.getAttribute("hx-trigger") || "").includes("sse:")) return;
  for (const topic of TOPICS) part.addEventListener(`sse:${topic}`, miss, { once: true });
});
document.addEventListener("htmx:afterSettle", () => {
  for (const [id, { part, type }] of missed) {
    if (part.isConnected) continue;
    missed.delete(id);
    const now = document.getElementById(id);
    if (now) htmx.trigger(now, type);
  }
});

// A name that is being changed: what it was comes back with Esc, or when one goes elsewhere.
function leaveName(field) {
  const row = field.closest("tbody[id]");
  leave();
  if (row) htmx.trigger("#rows", "refresh");
  else location.reload();
}

document.addEventListener("htmx:afterSettle", (event) => {
  const field = event.target.querySelector && event.target.querySelector(".rename input[name=name]");
  if (field) { field.focus(); field.select(); }
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && event.target.closest(".rename")) leaveName(event.target);
});

document.addEventListener("htmx:afterRequest", (event) => {
  if (!event.target.matches(".rename") || !event.detail.successful || !document.getElementById("rows")) return;
  leave();
  htmx.trigger("#rows", "refresh");
});

// What is checked as it is typed has no place any more once the whole is saved, or shown otherwise.
document.addEventListener("htmx:beforeRequest", (event) => {
  const form = event.detail.elt.closest("form.editor");
  const check = form && form.querySelector("[hx-trigger^=input]");
  if (!check) return;
  if (check !== event.detail.elt) htmx.trigger(check, "htmx:abort");
  else if (form.matches(".htmx-request")) event.preventDefault();
});

// One click, one order.
for (const [name, off] of [["htmx:beforeRequest", true], ["htmx:afterRequest", false]]) {
  document.addEventListener(name, (event) => {
    if (!event.target.matches("form")) return;
    for (const button of event.target.querySelectorAll("button.btn-primary, button.btn-danger")) button.disabled = off;
    if (!off && event.detail.successful && event.target.matches(".commit")) event.target.reset();
    if (!off && event.detail.successful && event.target.matches("[data-closes]")) closeDrawer();
  });
}

// What somebody asked for and no answer came to; what the page asks for itself it asks again.
document.addEventListener("htmx:sendError", ({ detail: { requestConfig } }) => {
  if (!isAsked(requestConfig)) return;
  const again = requestConfig.verb === "get" ? "Try it again." : "See whether it was done before you try it again.";
  note(`The connection broke before an answer came. ${again}`, 10000);
});

document.addEventListener("htmx:sseError", ({ target }) => { if (target === document.body) document.getElementById("lost").hidden = false; });
document.addEventListener("htmx:sseOpen", ({ target }) => { if (target === document.body) document.getElementById("lost").hidden = true; });

// A log that is followed stays at its end while one looks there, and does not grow for ever.
document.addEventListener("htmx:sseBeforeMessage", ({ target }) => {
  const log = target.closest(".logs");
  if (log) log.dataset.stays = log.scrollHeight - log.scrollTop - log.clientHeight < 8 ? "yes" : "";
});
document.addEventListener("htmx:sseMessage", ({ target }) => {
  const log = target.closest(".logs");
  if (!log) return;
  if (target.nextElementSibling) target.nextElementSibling.replaceChildren();
  while (target.childElementCount > 5000) target.firstElementChild.remove();
  if (log.dataset.stays) log.scrollTop = log.scrollHeight;
});

// What a job said is read from its end, where it says what went wrong, until one looks elsewhere.
function showLog(log) {
  const said = log.querySelector("pre");
  said.scrollTop = log.dataset.at || said.scrollHeight;
}

document.addEventListener("toggle", ({ target }) => {
  if (target.open && target.matches("details.log")) showLog(target);
}, true);

// One that runs is drawn anew each second: what is unfolded of it stays so.
const unfolded = new Map();
document.addEventListener("htmx:beforeSwap", ({ target, detail }) => {
  if (!detail.shouldSwap || !target.matches(".job")) return;
  for (const log of target.querySelectorAll("details.log[open]")) {
    const said = log.querySelector("pre");
    const below = said.scrollHeight - said.scrollTop - said.clientHeight;
    unfolded.set(log.id, below < 8 ? "" : said.scrollTop);
  }
});
document.addEventListener("htmx:afterSettle", () => {
  for (const [id, at] of unfolded) {
    const log = document.getElementById(id);
    if (!log) continue;
    log.open = true;
    log.dataset.at = at;
    showLog(log);
  }
  unfolded.clear();
});

// Keyboard

function rows() {
  return [...document.querySelectorAll("tr.row")];
}

function move(step) {
  const all = rows();
  const at = all.findIndex((row) => row.contains(document.activeElement));
  const next = all[Math.max(0, Math.min(all.length - 1, at + step))];
  if (next) next.focus();
}

const GOES = { c: "/", p: "/pipelines", m: "/monitoring", j: "/jobs", s: "/settings" };
let going = false;

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    // The key is for the dialogue, if one is open.
    if (!document.querySelector("dialog[open]")) closeDrawer();
    return;
  }
  const typing = event.target.closest("input, textarea, select, [contenteditable]");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (going) {
    going = false;
    if (GOES[event.key]) location.href = GOES[event.key];
  } else if (event.key === "g") {
    going = true;
    setTimeout(() => { going = false; }, 1000);
  } else if (event.key === "/" && search) {
    event.preventDefault();
    search.focus();
  } else if (event.key === "?") {
    DOES.keys();
  } else if (event.key === "j" || event.key === "k") {
    move(event.key === "j" ? 1 : -1);
  } else if (event.key === "Enter" && event.target.matches("tr.row")) {
    (event.target.dataset.href ? event.target.querySelector("a") : event.target).click();
  }
});
