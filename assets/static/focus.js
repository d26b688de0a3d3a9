// Whoever goes by the keyboard stays where she was: a button that is pressed is disabled for a
// moment, a part is replaced, a drawer closes, and the browser forgets what had the focus.
"use strict";

let focused = null;

function seen(element) {
  // A row is the same one while it leads to the same, whatever it says by now.
  const leads = element.matches("tr.row") && (element.dataset.href || element.getAttribute("hx-get"));
  const words = leads || element.getAttribute("aria-label") || element.textContent.trim();
  return { element, within: element.closest("[id]:not([id=''])"), key: [element.tagName, element.name || "", words].join("\n") };
}

// The same element, else one that says the same, else the part that it was in.
function again({ element, within, key }) {
  if (element.isConnected) return element;
  const part = within && document.getElementById(within.id);
  const alike = [...document.querySelectorAll(element.tagName)].filter((each) => seen(each).key === key);
  return alike.find((each) => part && part.contains(each)) || alike[0] || part;
}

function stay(to) {
  if (!to || to.disabled || to.closest("[hidden]")) return;
  to.focus({ preventScroll: true });
  if (document.activeElement === to) return;
  to.classList.add("landed");
  to.tabIndex = -1;
  to.focus({ preventScroll: true });
}

// What has the focus is done with, and shall not have it again.
function leave() {
  document.activeElement.blur();
  focused = null;
}

document.addEventListener("focusin", ({ target }) => { focused = target === document.body ? null : seen(target); });
document.addEventListener("mousedown", () => { focused = null; });
function back() {
  if (focused && document.activeElement === document.body) stay(again(focused));
}

// At once, so that no key is lost; after a request, when what was pressed is a button again.
document.addEventListener("htmx:afterSettle", back);
document.addEventListener("htmx:afterRequest", () => setTimeout(back));
