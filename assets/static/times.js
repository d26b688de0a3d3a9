// Times move on while a page is open: the same words as the server's, the exact local time on hover.
"use strict";

function ago(stamp, now) {
  const seconds = (now - Date.parse(stamp)) / 1000;
  for (const [unit, length] of [["d", 86400], ["h", 3600], ["min", 60]]) {
    if (seconds >= length) return `${Math.floor(seconds / length)} ${unit} ago`;
  }
  return "just now";
}

function moveTimes(within) {
  for (const time of within.querySelectorAll("time[datetime]")) {
    const then = Date.parse(time.dateTime);
    if (Number.isNaN(then)) continue;
    const words = ago(time.dateTime, Date.now());
    if (time.textContent !== words) time.textContent = words;
    time.title = new Date(then).toLocaleString();
  }
}

moveTimes(document);
setInterval(() => moveTimes(document), 15_000);
document.addEventListener("htmx:afterSettle", (event) => moveTimes(event.target));
