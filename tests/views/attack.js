// What a page of somebody else tries with ours; gives back all that it could read, by name.
async ([target, posts, gets]) => {
  const said = {};
  const wait = (ms) => new Promise((done) => setTimeout(done, ms));
  const tried = async (name, what) => {
    try {
      const answer = await what();
      said[name] = answer instanceof Response ? answer.type + " " + (await answer.text()) : String(answer);
    } catch (error) { said[name] = "refused"; }
  };
  for (const path of posts) {
    const url = target + path;
    const body = "theme=dark&name=evil&folder=/etc&verb=undeploy&subject=churn";
    await tried("no-cors " + path, () => fetch(url, { method: "POST", mode: "no-cors", credentials: "include", body }));
    await tried("json " + path, () => fetch(url, { method: "POST", credentials: "include", body: "{}", headers: { "Content-Type": "text/plain" } }));
    await tried("header " + path, () => fetch(url, { method: "POST", credentials: "include", body, headers: { "X-RhythmicML-Csrf": "x" } }));
    await tried("token " + path, () => fetch(url, { method: "POST", credentials: "include", body, headers: { Authorization: "Bearer x" } }));
    for (const method of ["PUT", "DELETE", "PATCH"]) await tried(method + path, () => fetch(url, { method, credentials: "include" }));
    await tried("beacon " + path, () => navigator.sendBeacon(url, body) && "");
    for (const kind of ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data"]) {
      const frame = document.createElement("iframe");
      frame.name = "f" + Math.random();
      document.body.append(frame);
      const form = document.createElement("form");
      Object.assign(form, { action: url, method: "POST", enctype: kind, target: frame.name });
      for (const [name, value] of new URLSearchParams(body)) {
        const field = document.createElement("input");
        Object.assign(field, { name, value });
        form.append(field);
      }
      document.body.append(form);
      HTMLFormElement.prototype.submit.call(form);
    }
  }
  for (const path of gets) {
    const url = target + path;
    await tried("read " + path, () => fetch(url, { credentials: "include" }));
    await tried("blind " + path, () => fetch(url, { mode: "no-cors", credentials: "include" }));
    for (const [tag, key] of [["img", "src"], ["script", "src"], ["link", "href"], ["iframe", "src"], ["object", "data"]]) {
      const part = document.createElement(tag);
      if (tag === "link") part.rel = "stylesheet";
      part[key] = url;
      document.body.append(part);
    }
  }
  await wait(700);
  for (const frame of document.querySelectorAll("iframe")) {
    let seen = "";
    try { seen = frame.contentDocument ? frame.contentDocument.body.textContent : ""; } catch (error) { seen = ""; }
    said["frame " + frame.src + frame.name] = seen ? "read " + seen : "refused";
  }
  said.variables = String(window.hurt);
  return said;
}
