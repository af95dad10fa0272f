"use strict";
// An addition only: without it the page shows the same figures, without motion.
document.documentElement.classList.add("scripted");
const films = JSON.parse(document.getElementById("frames").textContent);

function show(figure, entry) {
  figure.querySelector("img.original").src = entry.original;
  figure.querySelector("img.dream").src = entry.dream;
  figure.querySelector("img.original").alt = "Original, " + entry.words;
  figure.querySelector("img.dream").alt = "Dream, " + entry.words;
  figure.querySelector("output").textContent = entry.words;
}

// Index of the entry nearest to a place, in per cent of the film.
function nearest(entries, place) {
  let best = 0;
  entries.forEach((entry, number) => {
    if (Math.abs(entry.place - place) < Math.abs(entries[best].place - place)) best = number;
  });
  return best;
}

document.querySelectorAll("section.film").forEach((section) => {
  const entries = films[Number(section.dataset.film)];
  const scrub = section.querySelector(".scrub");
  const playhead = section.querySelector(".playhead");
  const viewer = section.querySelector(".viewer");
  // Frames are unevenly spaced in time, so the handle counts in hundredths of a per cent of the film.
  const pick = (number) => {
    const entry = entries[number];
    scrub.dataset.number = number;
    scrub.value = entry.place;
    scrub.setAttribute("aria-valuetext", entry.words);
    playhead.style.left = entry.place + "%";
    show(viewer, entry);
  };
  scrub.min = 0;
  scrub.max = 100;
  scrub.step = 0.01;
  scrub.addEventListener("input", () => pick(nearest(entries, Number(scrub.value))));
  scrub.addEventListener("keydown", (event) => {
    const now = Number(scrub.dataset.number);
    const to = {
      ArrowLeft: now - 1, ArrowDown: now - 1, ArrowRight: now + 1, ArrowUp: now + 1,
      PageDown: now - 10, PageUp: now + 10, Home: 0, End: entries.length - 1,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    pick(Math.min(Math.max(to, 0), entries.length - 1));
  });
  [section.querySelector(".stack"), section.querySelector(".over-time .frame")].forEach((area) => {
    area.addEventListener("pointermove", (event) => {
      const box = area.getBoundingClientRect();
      pick(nearest(entries, (100 * (event.clientX - box.left)) / box.width));
    });
  });
  pick(Math.floor(entries.length / 2));
});

const map = document.querySelector(".map");
if (map) {
  const entries = films.flat();
  const dots = [...map.querySelectorAll(".map-dot")];
  const here = map.querySelector(".here");
  const viewer = document.getElementById("map-frame");
  viewer.querySelector("output").setAttribute("aria-live", "polite");
  let now = 0;
  const pick = (number) => {
    now = Math.min(Math.max(number, 0), dots.length - 1);
    here.setAttribute("d", dots[now].getAttribute("d"));
    show(viewer, entries[now]);
  };
  map.addEventListener("pointermove", (event) => {
    const box = map.querySelector("svg").getBoundingClientRect();
    let best = now;
    let least = Infinity;
    dots.forEach((dot, number) => {
      const [x, y] = dot.getAttribute("d").match(/[\d.]+/g).map(Number);
      const across = box.left + (x / 1000) * box.width - event.clientX;
      const down = box.top + (y / 1000) * box.height - event.clientY;
      const distance = across * across + down * down;
      if (distance < least) [best, least] = [number, distance];
    });
    if (best !== now) pick(best);
  });
  map.addEventListener("keydown", (event) => {
    const to = {
      ArrowLeft: now - 1, ArrowUp: now - 1, ArrowRight: now + 1, ArrowDown: now + 1,
      PageUp: now - 10, PageDown: now + 10, Home: 0, End: dots.length - 1,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    pick(to);
  });
  document.querySelectorAll("input[name=colour]").forEach((choice) => {
    choice.addEventListener("change", () => { map.dataset.by = choice.value; });
  });
  pick(Math.floor(dots.length / 2));
}

document.querySelectorAll("table").forEach((table) => {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const value = (row, column) => {
    const cell = row.cells[column];
    if (cell.dataset.value === undefined) return cell.textContent;
    return cell.dataset.value === "" ? -Infinity : Number(cell.dataset.value);
  };
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...body.rows].sort((one, other) => {
        const [a, b] = [value(one, column), value(other, column)];
        const order = typeof a === "string" ? a.localeCompare(b) : a < b ? -1 : a > b ? 1 : 0;
        return down ? -order : order;
      });
      body.append(...rows);
    });
  });
});
