"use strict";
// The page reads the same without this script: it adds a cursor to the charts, for pointer and keyboard.

const STRIDES = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10 };

function addCursor(plot) {
  const hits = [...plot.querySelectorAll(".hits rect")];
  if (!hits.length) return;
  // The browser's own tooltips would repeat what the line below the chart says.
  const says = hits.map((hit) => {
    const title = hit.querySelector("title");
    title.remove();
    return title.textContent;
  });
  const readout = document.createElement("p");
  readout.className = "readout";
  readout.setAttribute("aria-hidden", "true");
  plot.after(readout);
  let place = -1;
  const show = (wanted) => {
    if (place >= 0) hits[place].classList.remove("on");
    place = Math.max(0, Math.min(hits.length - 1, wanted));
    hits[place].classList.add("on");
    readout.textContent = says[place];
    plot.setAttribute("aria-valuenow", String(place));
    plot.setAttribute("aria-valuetext", says[place]);
  };
  plot.tabIndex = 0;
  plot.setAttribute("role", "slider");
  plot.setAttribute("aria-valuemin", "0");
  plot.setAttribute("aria-valuemax", String(hits.length - 1));
  plot.setAttribute("aria-valuenow", "0");
  plot.setAttribute("aria-valuetext", says[0]);
  const follow = (event) => {
    const found = hits.indexOf(event.target);
    if (found >= 0) show(found);
  };
  plot.addEventListener("pointermove", follow);
  plot.addEventListener("pointerdown", follow);
  plot.addEventListener("focus", () => show(place < 0 ? 0 : place));
  plot.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key in STRIDES) show(place + STRIDES[event.key]);
    else if (event.key === "Home") show(0);
    else if (event.key === "End") show(hits.length - 1);
    else return;
    event.preventDefault();
  });
}

// What scrolls sideways must be reachable by keyboard, and only then be a stop on the way.
function markScrollers() {
  for (const each of document.querySelectorAll(".scroll")) {
    const scrolls = each.scrollWidth > each.clientWidth || each.scrollHeight > each.clientHeight;
    if (scrolls) {
      each.tabIndex = 0;
      each.setAttribute("role", "region");
      each.setAttribute("aria-label", each.dataset.name);
    } else {
      for (const name of ["tabindex", "role", "aria-label"]) each.removeAttribute(name);
    }
  }
}

document.querySelectorAll(".plot").forEach(addCursor);
markScrollers();
addEventListener("resize", markScrollers);
document.addEventListener("toggle", markScrollers, true);
