// In a window of the desktop: what its menu asks for (app/desktop/menu.py).
"use strict";

const desktop = (() => {
  const go = (path) => () => { location.href = path; };
  const drawn = (path) => htmx.ajax("GET", path, "#drawer-body");
  const post = (path, values) => htmx.ajax("POST", path, { values, swap: "none" });

  function ofModel(open) {
    return () => {
      const [, name] = location.pathname.match(/^\/models\/([^/]+)/) || [];
      if (name) open(`/models/${name}`);
      else note("Open a model first.");
    };
  }

  function commit(base) {
    const field = document.querySelector("form.commit textarea, form.commit input:not([type=hidden])");
    if (field) field.focus();
    else location.href = `${base}/versions`;
  }

  return {
    add: () => drawn("/models/new"),
    example: () => post("/models/example"),
    deploy: ofModel((base) => drawn(`${base}/deploy`)),
    commit: ofModel(commit),
    changes: ofModel((base) => drawn(`${base}/changes`)),
    versions: ofModel((base) => { location.href = `${base}/versions`; }),
    instances: ofModel((base) => { location.href = `${base}/instances`; }),
    catalogue: go("/"),
    jobs: go("/jobs"),
    settings: go("/settings"),
    reload: () => location.reload(),
    find: () => document.dispatchEvent(new KeyboardEvent("keydown", { key: "k", ctrlKey: true, bubbles: true })),
    report: () => drawn("/settings/report"),
    theme: () => turnTheme(),
    help: () => document.getElementById("help").showModal(),
  };
})();
