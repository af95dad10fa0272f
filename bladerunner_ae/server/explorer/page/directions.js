// Sliders along the principal directions of the film's latents, with pictures of their ends.

import { toJson } from "./latent.js";
import { paint } from "./picture.js";
import { signed } from "./format.js";

const ENDS = [-3, 3]; // deviations
const STEP = 0.05;

export class Directions {
  #film = null;
  #rows = [];
  #due = [];

  /** `changed()` is called when a slider has been moved. */
  constructor(list, changed) {
    Object.assign(this, { list, changed });
    this.offsets = [];
    list.addEventListener("input", ({ target }) => this.#set(Number(target.dataset.k), target.value));
    list.addEventListener("dblclick", ({ target }) => {
      if (target.matches("input")) this.#set(Number(target.dataset.k), 0);
    });
  }

  fill(film) {
    const before = this.offsets;
    this.#film = film;
    this.offsets = film.directions.map((_, k) => before[k] ?? 0);
    this.#rows = film.directions.map((_, k) => this.#row(k));
    this.list.replaceChildren(...this.#rows);
    this.#due = film.directions.map((_, k) => k);
    this.#show();
  }

  #row(k) {
    const row = document.createElement("li");
    row.innerHTML = `<canvas width="1" height="1" aria-hidden="true"></canvas>
      <label><span>${k + 1}</span><output></output>
        <input type="range" min="${ENDS[0]}" max="${ENDS[1]}" step="${STEP}" value="0" data-k="${k}"
          aria-label="Direction ${k + 1}, in deviations"></label>
      <canvas width="1" height="1" aria-hidden="true"></canvas>`;
    return row;
  }

  #set(k, value) {
    this.offsets[k] = Number(value);
    this.#show();
    this.changed();
  }

  level() {
    this.offsets.fill(0);
    this.#show();
  }

  #show() {
    this.#rows.forEach((row, k) => {
      const input = row.querySelector("input");
      input.value = this.offsets[k];
      input.setAttribute("aria-valuetext", `${signed(this.offsets[k])}`);
      row.querySelector("output").textContent = this.offsets[k] ? signed(this.offsets[k]) : "";
      row.classList.toggle("leaning", this.offsets[k] !== 0);
    });
  }

  /** The pictures at the ends of the next few directions, as a job of the lane, or null. */
  next() {
    const chosen = this.#due.splice(0, 4), film = this.#film;
    if (!chosen.length) return null;
    return {
      latents: chosen.flatMap((k) => ENDS.map((end) => toJson(film.extreme(k, end)))),
      done: (blobs) => Promise.all(blobs.map((blob, i) => this.#draw(film, chosen[i >> 1], i % 2, blob))),
      failed: () => {
        if (film === this.#film) this.#due.unshift(...chosen);
      },
    };
  }

  async #draw(film, k, end, blob) {
    const bitmap = await createImageBitmap(blob);
    if (film === this.#film) {
      const canvas = this.#rows[k].querySelectorAll("canvas")[end];
      Object.assign(canvas, { width: 124, height: Math.round(124 * bitmap.height / bitmap.width) });
      paint(canvas, bitmap);
    }
    bitmap.close();
  }
}
