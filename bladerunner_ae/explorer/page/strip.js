// The strip of the film's frames and the bar above it. Frames are dreamt only once they are seen,
// a few at a time, and then the rest, as long as nothing else is wanted.

import { toJson } from "./latent.js";
import { paint } from "./picture.js";

const BATCH = 8;
const HEIGHT = 72; // of a small picture, px

export class Strip {
  #film = null;
  #buttons = [];
  #due = []; // frames without a picture, in the order of the film
  #seen = new Set();
  #focused = 0;
  #marks = {};
  #nearest = null;

  /**
   * `pick(index)` is called when a frame is chosen, `wake()` when there is work, `dreamt(index)`
   * when a small picture has come.
   */
  constructor(list, bar, { pick, wake, dreamt }) {
    Object.assign(this, { list, bar, pick, wake, dreamt });
    this.watch = new IntersectionObserver((entries) => this.#onSeen(entries),
      { root: list, rootMargin: "0px 30%" });
    list.addEventListener("keydown", (event) => this.#onKey(event));
    list.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) this.pick(Number(button.dataset.index));
    });
    list.addEventListener("wheel", (event) => {
      if (Math.abs(event.deltaY) <= Math.abs(event.deltaX)) return;
      list.scrollLeft += event.deltaY;
      event.preventDefault();
    });
    list.addEventListener("focusin", (event) => {
      const index = event.target.closest("button")?.dataset.index;
      if (index !== undefined) this.#makeTabStop(Number(index));
    });
  }

  fill(film) {
    this.#film = film;
    this.watch.disconnect();
    this.#seen.clear();
    this.#due = Array.from(film.latents.keys());
    this.#buttons = film.latents.map((_, i) => this.#button(i));
    this.list.replaceChildren(...this.#buttons);
    this.#makeTabStop(Math.min(this.#focused, film.length - 1));
    Object.assign(this.bar, { width: film.length, height: 26 });
    this.#buttons.forEach((button) => this.watch.observe(button));
  }

  #button(i) {
    const button = document.createElement("button");
    button.type = "button";
    button.tabIndex = -1;
    button.dataset.index = i;
    button.title = this.#film.longLabel(i);
    button.setAttribute("aria-label", this.#film.longLabel(i));
    button.classList.toggle("cut", !this.#film.isDrawn && i > 0 && this.#film.isCut(i - 1));
    button.append(document.createElement("canvas"));
    return button;
  }

  /** The frame that the keyboard is at, or null. */
  get focused() {
    return this.list.contains(document.activeElement) ? this.#focused : null;
  }

  /** Says of frames whether they are picked, as what, and which is nearest. */
  mark(picks, nearest) {
    const changed = new Set([...Object.values(this.#marks), this.#nearest,
      ...Object.values(picks), nearest]);
    [this.#marks, this.#nearest] = [picks, nearest];
    for (const i of changed) {
      const button = this.#buttons[i];
      if (!button) continue;
      const as = Object.keys(picks).filter((name) => picks[name] === i).join(" and ");
      if (as) button.dataset.pick = as;
      else delete button.dataset.pick;
      button.classList.toggle("nearest", i === nearest);
      button.setAttribute("aria-label", this.#film.longLabel(i) + (as ? `, picked as ${as}` : ""));
    }
  }

  /** Scrolls so that a frame is in view; the page itself stays where it is. */
  reveal(i, smooth = true) {
    const button = this.#buttons[i];
    if (!button) return;
    const left = button.offsetLeft - (this.list.clientWidth - button.offsetWidth) / 2;
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches || !smooth;
    this.list.scrollTo({ left, behavior: calm ? "instant" : "smooth" });
  }

  /** The next few frames to dream as a job of the lane, or null. */
  next() {
    const seen = this.#due.filter((i) => this.#seen.has(i));
    const chosen = (seen.length ? seen : this.#rest()).slice(0, BATCH);
    if (!chosen.length) return null;
    const film = this.#film;
    this.#due = this.#due.filter((i) => !chosen.includes(i));
    return {
      latents: chosen.map((i) => toJson(film.latents[i])),
      done: (blobs) => Promise.all(blobs.map((blob, k) => this.#draw(film, chosen[k], blob))),
      failed: () => {
        if (film === this.#film) this.#due = [...chosen, ...this.#due].sort((a, b) => a - b);
      },
    };
  }

  /** Frames out of view, spread over the film, so that the bar fills evenly. */
  #rest() {
    if (document.hidden) return [];
    const step = Math.max(1, Math.floor(this.#due.length / BATCH));
    return this.#due.filter((_, k) => k % step === 0);
  }

  async #draw(film, i, blob) {
    const bitmap = await createImageBitmap(blob);
    if (film === this.#film) {
      const canvas = this.#buttons[i].firstChild;
      canvas.height = HEIGHT;
      canvas.width = Math.round(HEIGHT * bitmap.width / bitmap.height);
      paint(canvas, bitmap);
      canvas.classList.add("here");
      const context = this.bar.getContext("2d");
      context.imageSmoothingQuality = "high";
      context.drawImage(bitmap, i, 0, 1, this.bar.height);
      this.dreamt(i);
    }
    bitmap.close();
  }

  /** The small picture of a frame, a canvas; empty until it is dreamt. */
  small(i) {
    return this.#buttons[i]?.firstChild ?? null;
  }

  #onSeen(entries) {
    for (const { target, isIntersecting } of entries) {
      const index = Number(target.dataset.index);
      if (isIntersecting) this.#seen.add(index);
      else this.#seen.delete(index);
    }
    this.wake();
  }

  #makeTabStop(i) {
    if (this.#buttons[this.#focused]) this.#buttons[this.#focused].tabIndex = -1;
    this.#focused = i;
    if (this.#buttons[i]) this.#buttons[i].tabIndex = 0;
  }

  #onKey(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const far = event.shiftKey ? 10 : 1, last = this.#buttons.length - 1;
    const goals = { ArrowLeft: this.#focused - far, ArrowRight: this.#focused + far,
      PageUp: this.#focused - 10, PageDown: this.#focused + 10, Home: 0, End: last };
    if (!(event.key in goals)) return;
    const goal = Math.min(last, Math.max(0, goals[event.key]));
    this.#buttons[goal].focus({ preventScroll: true });
    this.reveal(goal, false);
    event.preventDefault();
    event.stopPropagation();
  }
}
