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
    // Shows in the drawer what fell on this window; the program knows its path.
    dropped: async () => {
      const headers = { ...JSON.parse(document.body.getAttribute("hx-headers")), "HX-Request": "true" };
      const slow = setTimeout(() => note("It is being looked at."), 600);
      const answer = await fetch("/window/dropped", { method: "POST", headers }).finally(() => clearTimeout(slow));
      const said = await answer.text();
      if (!answer.ok) {
        tellProblem(said, answer.headers.get("Content-Type"));
        return;
      }
      drawIn(said);
    },
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
    find: () => { if (!palette.open) find(); },
    report: () => drawn("/settings/report"),
    theme: () => turnTheme(),
    help: () => document.getElementById("help").showModal(),
  };
})();

// What a browser would download is saved where the desktop's own dialogue says.
document.addEventListener("click", async (event) => {
  const link = event.target.closest("a[download]");
  if (!link) return;
  event.preventDefault();
  const answer = await fetch(link.href, { headers: { "HX-Request": "true" } });
  if (!answer.ok) {
    tellProblem(await answer.text(), answer.headers.get("Content-Type"));
    return;
  }
  const told = (answer.headers.get("Content-Disposition") || "").match(/filename="([^"]+)"/);
  const name = link.download || (told && told[1]) || link.pathname.split("/").pop();
  const headers = JSON.parse(document.body.getAttribute("hx-headers"));
  const saved = await fetch(`/window/save?name=${encodeURIComponent(name)}`, { method: "POST", headers, body: await answer.blob() });
  if (saved.status === 200) note(`Saved: ${(await saved.json()).saved}`);
  else if (!saved.ok) note("It could not be saved there.");
});
