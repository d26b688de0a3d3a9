// A folder or an archive dropped onto the Catalogue: sent to the program, which copies it.
"use strict";

{
  const MOST_FILES = 20000;
  const MOST_BYTES = 1000000000;
  const LEFT_OUT = new Set([".git", ".hg", ".svn", ".venv", "venv", "__pycache__", "__MACOSX", ".DS_Store", "node_modules"]);
  const ARCHIVE = /\.(zip|tar|tar\.gz|tgz|tar\.bz2|tbz2)$/i;
  const AT_ONCE = 64;

  let sending = null;

  const hint = () => document.getElementById("drop");
  const part = (name) => hint().querySelector(name);
  const hasFiles = (event) => event.dataTransfer && [...event.dataTransfer.types].includes("Files");
  const size = (bytes) => (bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);

  function show(what, { more = "", busy = false } = {}) {
    hint().hidden = false;
    hint().classList.toggle("busy", busy);
    part(".drop-what").textContent = what;
    part(".drop-more").textContent = more;
    part("progress").hidden = part(".drop-cancel").hidden = !busy;
  }

  function hide() {
    hint().hidden = true;
  }

  // What a folder holds, as [path, File]: folders give their entries a hundred at a time.
  async function walk(entry, path, found) {
    if (LEFT_OUT.has(entry.name)) return;
    if (entry.isFile) {
      found.push([path + entry.name, await new Promise((done, failed) => entry.file(done, failed))]);
      if (found.length > MOST_FILES) throw new Error(`There are more than ${MOST_FILES} files in it.`);
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((done, failed) => reader.readEntries(done, failed));
      if (!some.length) return;
      for (let at = 0; at < some.length; at += AT_ONCE) {
        await Promise.all(some.slice(at, at + AT_ONCE).map((each) => walk(each, `${path}${entry.name}/`, found)));
      }
    }
  }

  // The form that is sent. Names are encoded, so that they may hold anything.
  async function formOf(entries) {
    const [entry] = entries;
    if (entries.length !== 1 || !entry) throw new Error("Drop one folder, or one archive.");
    if (entry.isFile && !ARCHIVE.test(entry.name)) throw new Error(`${entry.name} is neither a folder nor a .zip or .tar.gz.`);
    const found = [];
    await walk(entry, "", found);
    const form = new FormData();
    form.append("name", entry.isFile ? "" : entry.name);
    for (const [path, file] of found) form.append(entry.isFile ? "archive" : "file", file, encodeURIComponent(path));
    const total = found.reduce((sum, [, file]) => sum + file.size, 0);
    if (total > MOST_BYTES) throw new Error(`${entry.name} has ${size(total)}. Over ${size(MOST_BYTES)}, add it by its path: Add model.`);
    return { form, name: entry.name, total };
  }

  function send({ form, name, total }) {
    const request = new XMLHttpRequest();
    sending = request;
    request.open("POST", "/receive");
    for (const [key, value] of Object.entries(JSON.parse(document.body.getAttribute("hx-headers")))) request.setRequestHeader(key, value);
    request.setRequestHeader("HX-Request", "true");
    request.upload.addEventListener("progress", (event) => {
      const sent = Math.min(total, event.loaded);
      part("progress").value = total ? sent / total : 1;
      part(".drop-more").textContent = sent < total ? `${size(sent)} of ${size(total)}` : "It is being looked at.";
    });
    request.addEventListener("load", () => arrived(request));
    request.addEventListener("error", () => note(`${name} could not be read, or RhythmicML has ended.`));
    request.addEventListener("abort", () => note("Cancelled. Nothing was kept."));
    request.addEventListener("loadend", () => { sending = null; hide(); });
    request.send(form);
  }

  function arrived(request) {
    if (request.status !== 200) {
      tellProblem(request.responseText, request.getResponseHeader("Content-Type"));
      return;
    }
    drawIn(request.responseText);
  }

  for (const name of ["dragenter", "dragover"]) {
    document.addEventListener(name, (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      if (!sending && hint().hidden) show("Drop a folder, a .zip or a .tar.gz", { more: "It is copied to ~/RhythmicML, and looked at before anything is added." });
    });
  }
  document.addEventListener("dragleave", (event) => { if (!sending && !event.relatedTarget) hide(); });
  document.addEventListener("drop", async (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    if (sending) return;
    const reading = { abort: () => { sending = null; hide(); note("Cancelled. Nothing was kept."); } };
    sending = reading;
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry());
    try {
      show(`Reading ${entries[0] ? entries[0].name : "it"}`, { busy: true });
      const read = await formOf(entries);
      if (sending !== reading) return;
      show(`Copying ${read.name}`, { busy: true });
      part(".drop-cancel").focus();
      send(read);
    } catch (error) {
      if (sending !== reading) return;
      sending = null;
      hide();
      note(error.message);
    }
  });
  document.addEventListener("click", (event) => {
    if (event.target.closest(".drop-cancel") && sending) sending.abort();
  });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape" && sending) sending.abort(); });
}
