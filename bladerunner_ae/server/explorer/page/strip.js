// The strip of frames of the film and the bar above it. Frames in view are dreamt first, a few at a
// time, then the rest, while no other picture is wanted.
//
// A place is a frame's number in the strip, which has only some of the film's frames.

import { toJson } from "./latent.js";
import { paint } from "./picture.js";

const BATCH = 8;
const HEIGHT = 72; // of a small picture, px

export class Strip {
  #film = null;
  #frames = []; // place -> number of the frame among the film's latents
  #buttons = []; // by place, as all below
  #due = []; // without a picture yet
  #seen = new Set();
  #tabStop = 0;
  #marked = [];

  /**
   * `pick(frame)` is called when one is chosen, `wake()` when there is work, `dreamt()` when small
   * pictures have come.
   */
  constructor(list, bar, { pick, wake, dreamt }) {
    Object.assign(this, { list, bar, wake, dreamt });
    this.watch = new IntersectionObserver((entries) => this.#onSeen(entries),
      { root: list, rootMargin: "0px 30%" });
    const placeOf = (event) => Number(event.target.closest("button")?.dataset.place ?? -1);
    list.addEventListener("keydown", (event) => this.#onKey(event));
    list.addEventListener("click", (event) => {
      if (placeOf(event) >= 0) pick(this.#frames[placeOf(event)]);
    });
    list.addEventListener("focusin", (event) => {
      if (placeOf(event) >= 0) this.#makeTabStop(placeOf(event));
    });
    list.addEventListener("wheel", (event) => {
      if (Math.abs(event.deltaY) <= Math.abs(event.deltaX)) return;
      list.scrollLeft += event.deltaY;
      event.preventDefault();
    });
  }

  fill(film) {
    this.#film = film;
    this.#frames = film.spread;
    this.#marked = [];
    this.watch.disconnect();
    this.#seen.clear();
    this.#due = Array.from(this.#frames.keys());
    this.#buttons = this.#due.map((place) => this.#button(place));
    this.list.replaceChildren(...this.#buttons);
    this.#makeTabStop(Math.min(this.#tabStop, this.#frames.length - 1));
    Object.assign(this.bar, { width: film.length, height: 26 });
    this.#buttons.forEach((button) => this.watch.observe(button));
  }

  #button(place) {
    const button = document.createElement("button"), frame = this.#frames[place];
    button.type = "button";
    button.tabIndex = -1;
    button.dataset.place = place;
    button.dataset.frame = frame;
    button.title = this.#film.longLabel(frame);
    button.setAttribute("aria-label", this.#film.longLabel(frame));
    button.classList.toggle("cut", !this.#film.isDrawn && place > 0 && this.#film.isCut(frame - 1));
    button.classList.toggle("held-out", Boolean(this.#film.heldOut[frame]));
    button.append(document.createElement("canvas"));
    return button;
  }

  /** The place that stands for a frame: its own, or the last one before it. */
  #place(frame) {
    const after = this.#frames.findIndex((each) => each > frame);
    return (after < 0 ? this.#frames.length : after) - 1;
  }

  /** The frame that the keyboard is at, or null. */
  get focused() {
    return this.list.contains(document.activeElement) ? this.#frames[this.#tabStop] : null;
  }

  /** Marks the picked frames (name -> frame or null) and the nearest one. */
  mark(picks, nearest) {
    const places = Object.entries(picks).filter(([, frame]) => frame !== null)
      .map(([name, frame]) => [name, this.#place(frame)]);
    const here = nearest === null ? -1 : this.#place(nearest);
    const before = this.#marked;
    this.#marked = [...places.map(([, place]) => place), here].filter((place) => place >= 0);
    for (const place of new Set([...before, ...this.#marked])) {
      const button = this.#buttons[place];
      const as = places.filter((each) => each[1] === place).map(([name]) => name).join(" and ");
      if (as) button.dataset.pick = as;
      else delete button.dataset.pick;
      button.classList.toggle("nearest", place === here);
      button.setAttribute("aria-label", button.title + (as ? `, picked as ${as}` : ""));
    }
  }

  /** Scrolls so that a frame is in view; the page itself stays where it is. */
  reveal(frame, smooth = true) {
    this.#scrollTo(this.#place(frame), smooth);
  }

  #scrollTo(place, smooth) {
    const button = this.#buttons[place];
    if (!button) return;
    const left = button.offsetLeft - (this.list.clientWidth - button.offsetWidth) / 2;
    const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches || !smooth;
    this.list.scrollTo({ left, behavior: isCalm ? "instant" : "smooth" });
  }

  /** The next few frames to dream as a job of the lane, or null. */
  next() {
    const seen = this.#due.filter((place) => this.#seen.has(place));
    const chosen = (seen.length ? seen : this.#rest()).slice(0, BATCH);
    if (!chosen.length) return null;
    const film = this.#film;
    this.#due = this.#due.filter((place) => !chosen.includes(place));
    return {
      latents: chosen.map((place) => toJson(film.latents[this.#frames[place]])),
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

  async #draw(film, place, blob) {
    const bitmap = await createImageBitmap(blob);
    if (film === this.#film) {
      const canvas = this.#buttons[place].firstChild;
      canvas.height = HEIGHT;
      canvas.width = Math.round(HEIGHT * bitmap.width / bitmap.height);
      paint(canvas, bitmap);
      canvas.classList.add("here");
      const frame = this.#frames[place], next = this.#frames[place + 1] ?? film.length;
      const column = document.createElement("canvas"); // one pixel wide, each row a row's mean
      Object.assign(column, { width: 1, height: this.bar.height });
      paint(column, bitmap);
      this.bar.getContext("2d").drawImage(column, frame, 0, next - frame, this.bar.height);
      this.dreamt();
    }
    bitmap.close();
  }

  /** The small picture of a frame, or of the one that stands for it: a canvas, or null. */
  small(frame) {
    const canvas = this.#buttons[this.#place(frame)]?.firstChild;
    return canvas?.classList.contains("here") ? canvas : null;
  }

  #onSeen(entries) {
    for (const { target, isIntersecting } of entries) {
      const place = Number(target.dataset.place);
      if (isIntersecting) this.#seen.add(place);
      else this.#seen.delete(place);
    }
    this.wake();
  }

  #makeTabStop(place) {
    if (this.#buttons[this.#tabStop]) this.#buttons[this.#tabStop].tabIndex = -1;
    this.#tabStop = place;
    this.#buttons[place].tabIndex = 0;
  }

  #onKey(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const far = event.shiftKey ? 10 : 1, last = this.#buttons.length - 1, from = this.#tabStop;
    const goals = { ArrowLeft: from - far, ArrowRight: from + far, PageUp: from - 10,
      PageDown: from + 10, Home: 0, End: last };
    if (!(event.key in goals)) return;
    const goal = Math.min(last, Math.max(0, goals[event.key]));
    this.#buttons[goal].focus({ preventScroll: true });
    this.#scrollTo(goal, false);
    event.preventDefault();
    event.stopPropagation();
  }
}
