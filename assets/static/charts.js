// Charts on one axis of time: a crosshair for all, drag to zoom, marks of what was deployed.
"use strict";

(() => {
const page = document.getElementById("charts");
const range = document.getElementById("range");
const style = getComputedStyle(document.documentElement);
const HEIGHT = 176;
const RIGHT = 48; // what a second axis takes; all leave it, so that times stand below each other
const SHARED = uPlot.sync("time");
const DAY = "\n{D} {MMM}";
const CLOCK = [
  [86400 * 28, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [86400, "{D} {MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [60, "{HH}:{mm}", DAY, null, DAY, null, null, null, 1],
  [1, "{HH}:{mm}:{ss}", DAY, null, DAY, null, null, null, 1],
];
const LENGTHS = [1, 5, 10, 30, 60, 300, 600, 1800, 3600, 7200, 21600, 43200, 86400, 172800, 604800];
const plots = new Map(); // figure → { plot, columns, shape }
let said = null;

const colour = (name) => style.getPropertyValue(`--${name}`).trim();
const faint = (name, share) => `color-mix(in srgb, ${colour(name)} ${share}%, transparent)`;

// Words

function scaled(value, base, units) {
  let at = 0;
  while (Math.abs(value) >= base && at < units.length - 1) { value /= base; at += 1; }
  return `${rounded(value)} ${units[at]}`.trim();
}

function rounded(value) {
  const size = Math.abs(value);
  return value.toLocaleString("en", { maximumFractionDigits: size >= 100 ? 0 : size >= 10 ? 1 : 2 });
}

const WORDS = {
  "req/s": (value) => `${scaled(value, 1000, ["", "k", "M"])} req/s`,
  ms: (value) => (value >= 10_000 ? `${rounded(value / 1000)} s` : `${rounded(value)} ms`),
  bytes: (value) => scaled(value, 1000, ["B", "kB", "MB", "GB", "TB"]),
  "%": (value) => `${rounded(value)} %`,
};
const words = (value, unit) => (value == null ? "–" : (WORDS[unit] || ((v) => `${rounded(v)} ${unit}`.trim()))(value));

function length(seconds) {
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60]]) {
    if (seconds >= size) return `${rounded(seconds / size)} ${unit}`;
  }
  return `${rounded(seconds)} s`;
}

function moment(at) {
  if (!said.clock) return `after ${length(at)}`;
  const day = { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false };
  return new Date(at * 1000).toLocaleString("en-GB", day);
}

// One chart

const units = (columns) => [...new Set(columns.map((column) => column.unit))];

function axes(columns) {
  const shared = { font: `12px ${colour("tblr-font-sans-serif")}`, stroke: () => colour("soft") };
  const line = { stroke: () => colour("line"), width: 1 };
  const time = said.clock ? { values: CLOCK } : { incrs: LENGTHS, values: (_, all) => all.map(length) };
  return [
    { ...shared, ...time, grid: { show: false }, ticks: { ...line, size: 4 }, space: 88, size: 40 },
    ...units(columns).map((unit, n) => ({
      ...shared, scale: unit, side: n ? 1 : 3, size: n ? RIGHT : 76, space: 36, ticks: { show: false }, gap: 8,
      grid: n ? { show: false } : line, values: (_, all) => all.map((value) => words(value, unit)),
    })),
  ];
}

function scales(columns) {
  const found = { x: { time: said.clock, range: () => [said.since, said.until] } };
  for (const { unit, least } of columns) {
    found[unit] = { range: (_, low, high) => [0, Math.max((high || 0) * 1.1, least || 1)] };
  }
  return found;
}

const APART = 5;
const TOLD = 20;

// A line for whatever was done to the instance. Of what comes thick and fast, as ends of a worker
// do, only so many lines as can be told apart; names that have no room for themselves share one.
function drawMarks(plot) {
  const { ctx, bbox } = plot;
  const ratio = devicePixelRatio;
  const last = {};
  ctx.save();
  ctx.textAlign = "left";
  ctx.textBaseline = "alphabetic";
  ctx.font = `500 ${11 * ratio}px ${colour("tblr-font-sans-serif")}`;
  ctx.lineWidth = ratio;
  const there = said.marks.map((mark) => ({ mark, x: Math.round(plot.valToPos(mark.at, "x", true)) }))
    .filter(({ x }) => x >= bbox.left && x <= bbox.left + bbox.width);
  for (const { mark, x } of there) {
    if (x - last[mark.tone] < APART * ratio) continue;
    last[mark.tone] = x;
    ctx.strokeStyle = colour(mark.tone);
    ctx.setLineDash([3 * ratio, 3 * ratio]);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
  }
  plot.happened = together(there, (name) => ctx.measureText(name).width, bbox, 6 * ratio);
  for (const { name, from, marks } of plot.happened) {
    ctx.fillStyle = colour(marks.at(-1).tone);
    ctx.fillText(name, from, bbox.top - 4 * ratio);
  }
  ctx.restore();
}

// Marks whose names would run into each other, as one. A name stands above its lines.
function together(there, wide, bbox, gap) {
  const groups = [];
  for (const { mark, x } of there) {
    let group = placed([mark], x, x, wide, bbox);
    while (groups.length && groups.at(-1).to + gap > group.from) {
      const before = groups.pop();
      group = placed([...before.marks, ...group.marks], before.first, group.last, wide, bbox);
    }
    groups.push(group);
  }
  return groups;
}

function placed(marks, first, last, wide, { left, width }) {
  const names = [...new Set(marks.map((mark) => mark.name))];
  const name = names.length > 2 ? `${names[0]} … ${names.at(-1)}` : names.join(", ");
  const length = wide(name);
  const from = Math.max(left, Math.min((first + last - length) / 2, left + width - length));
  return { marks, first, last, name, from, to: from + length };
}

// All that happened under the crosshair, which a name for several does not say.
function happenedAt(plot) {
  const at = plot.cursor.left * devicePixelRatio + plot.bbox.left;
  const found = (plot.happened || []).find(({ from, to, first, last }) =>
    plot.cursor.left >= 0 && at >= Math.min(from, first) && at <= Math.max(to, last));
  const lines = (found ? found.marks : []).map((mark) => `${moment(mark.at)}: ${mark.words}`);
  const more = lines.length - TOLD;
  return (more > 0 ? [`${more} before these`, ...lines.slice(-TOLD)] : lines).join("\n");
}

function series(column) {
  return {
    label: column.name, scale: column.unit, stroke: () => colour(column.tone), width: 1.5,
    points: { size: 4, fill: () => colour(column.tone) }, spanGaps: false,
  };
}

function bands(columns) {
  const [low, high] = ["p50", "p95"].map((name) => columns.findIndex((column) => column.name === name) + 1);
  return low && high ? [{ series: [high, low], fill: () => faint(columns[low - 1].tone, 12) }] : [];
}

function options(figure, columns) {
  return {
    width: figure.querySelector(".chart").clientWidth, height: HEIGHT, padding: [16, units(columns).length > 1 ? 0 : RIGHT, 0, 0],
    axes: axes(columns), scales: scales(columns), series: [{}, ...columns.map(series)], bands: bands(columns),
    legend: { show: false },
    cursor: { sync: { key: SHARED.key }, y: false, drag: { x: true, y: false, setScale: false }, points: { size: 7 } },
    hooks: { draw: [drawMarks], setCursor: [(plot) => point(figure, plot)], setSelect: [zoom] },
  };
}

function zoom(plot) {
  const { left, width } = plot.select;
  if (width < 4 || plot.status === 0) return;
  const ends = [left, left + width].map((at) => Math.round(plot.posToVal(at, "x")));
  SHARED.plots.forEach((each) => each.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false));
  if (said.clock && ends[1] - ends[0] >= 20) look({ since: ends[0], until: ends[1] });
}

function point(figure, plot) {
  tell(figure, plot.cursor.idx);
  figure.querySelector(".chart").title = happenedAt(plot);
}

// The legend: each column's value under the crosshair, else the last one there is.
function tell(figure, at) {
  const { columns } = plots.get(figure) || {};
  if (!columns) return;
  figure.querySelectorAll(".key-value").forEach((value, n) => {
    const all = columns[n].values;
    const last = all.findLastIndex((each) => each != null);
    value.textContent = words(all[at ?? last], columns[n].unit);
  });
  document.getElementById("moment").textContent = at == null ? "" : moment(said.at[at]);
}

function keysOf(figure, columns) {
  const keys = columns.map((column) => {
    const key = document.createElement("span");
    const value = document.createElement("span");
    key.className = `chart-key tone-${column.tone}`;
    value.className = "key-value num";
    key.append(column.name, value);
    return key;
  });
  figure.querySelector(".chart-keys").replaceChildren(...keys);
}

function draw(figure) {
  const { columns } = said.charts[figure.dataset.chart];
  const empty = !columns.some((column) => column.values.some((value) => value != null));
  const shape = JSON.stringify([said.clock, columns.map(({ name, unit, least }) => [name, unit, least])]);
  const known = plots.get(figure);
  figure.classList.toggle("chart-empty", empty);
  if (known && known.shape === shape) {
    known.columns = columns;
    known.plot.setData([said.at, ...columns.map((column) => column.values)]);
  } else {
    if (known) { SHARED.unsub(known.plot); known.plot.destroy(); }
    keysOf(figure, columns);
    const data = [said.at, ...columns.map((column) => column.values)];
    const plot = new uPlot(options(figure, columns), data, figure.querySelector(".chart"));
    SHARED.sub(plot);
    plots.set(figure, { plot, columns, shape });
  }
  tell(figure, plots.get(figure).plot.cursor.idx);
}

// What is looked at: a range that goes on with the clock, or the part that was dragged over.

function look(part) {
  for (const name of ["since", "until"]) range.elements[name].value = part[name] ?? "";
  document.getElementById("whole").hidden = !part.since;
  follow();
  htmx.trigger(page, "look");
}

function follow() {
  const asked = new URLSearchParams(new FormData(range));
  for (const [name, value] of [...asked]) if (!value) asked.delete(name);
  history.replaceState(null, "", `?${asked}`);
  for (const link of document.querySelectorAll("a[data-csv]")) link.href = `${link.dataset.csv}?${asked}`;
}

// Numbers, not a part of the page: htmx would read them as HTML, and hosts name what is in them.
page.addEventListener("htmx:beforeSwap", (event) => {
  if (event.target !== page || event.detail.isError) return;
  event.detail.shouldSwap = false;
  said = JSON.parse(event.detail.serverResponse);
  for (const figure of document.querySelectorAll("figure[data-chart]")) draw(figure);
  page.setAttribute("aria-busy", "false");
});

range.addEventListener("change", (event) => {
  if (!event.target.matches("select")) { look({}); return; }
  const [one, other] = [range.elements.a.value, range.elements.b.value];
  follow();
  if ((one && other && one !== other) || !(one || other)) location.reload();
});
document.getElementById("whole").addEventListener("click", () => look({}));

// The crosshair by the keyboard: a point further with the arrows, away with Esc.
page.addEventListener("keydown", (event) => {
  const figure = event.target.closest("figure[data-chart]");
  const known = figure && event.target.matches(".chart") && plots.get(figure);
  if (!known || !["ArrowLeft", "ArrowRight", "Escape"].includes(event.key)) return;
  event.preventDefault();
  const { plot } = known;
  const step = event.key === "ArrowLeft" ? -1 : 1;
  const at = Math.max(0, Math.min(said.at.length - 1, (plot.cursor.idx ?? said.at.length - (step < 0 ? 0 : 1)) + step));
  const left = event.key === "Escape" ? -10 : plot.valToPos(said.at[at], "x");
  plot.setCursor({ left, top: event.key === "Escape" ? -10 : 10 }, true, true);
});

new ResizeObserver(() => {
  for (const [figure, { plot }] of plots) {
    const width = figure.querySelector(".chart").clientWidth;
    if (width && width !== plot.width) plot.setSize({ width, height: HEIGHT });
  }
}).observe(page);

new MutationObserver(() => plots.forEach(({ plot }) => plot.redraw(true, true)))
  .observe(document.documentElement, { attributeFilter: ["data-bs-theme"] });
follow();
})();
