// The film: frames, each a point in latent space, and the space around them.

import { distance, dot, mix, norm, normal, normals } from "./latent.js";

const DRAWS = 48; // points that stand in for frames where there is no film
const SPREAD = 112; // frames of the strip, about, but one a shot at least

function floats(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
}

function rows(values, size) {
  return Array.from({ length: values.length / size }, (_, i) =>
    values.subarray(i * size, (i + 1) * size));
}

export function timecode(seconds) {
  const whole = Math.floor(seconds), two = (value) => String(value).padStart(2, "0");
  const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  const hundredths = Math.floor((seconds - whole) * 100 + 1e-6);
  const start = hours ? `${hours}:${two(minutes)}` : `${minutes}`;
  return `${start}:${two(whole % 60)}.${two(hundredths)}`;
}

export class Film {
  /**
   * @param {object} json as /explorer/film.json gives it
   * @param {number} size how many numbers a latent has
   */
  constructor(json, size) {
    this.size = size;
    this.names = json.films;
    this.latents = rows(floats(json.latents), size);
    this.isDrawn = this.latents.length === 0;
    if (this.isDrawn) {
      this.latents = Array.from({ length: DRAWS }, () => normals(size));
    }
    this.frames = json.frames;
    this.seconds = json.seconds;
    this.filmOf = json.film_of;
    this.shots = json.shots;
    this.groups = json.groups;
    this.heldOut = json.held_out;
    this.directions = this.isDrawn ? [] : rows(floats(json.directions), size);
    this.deviations = json.deviations;
    this.shrinkage = json.shrinkage;
    this.mean = this.isDrawn ? new Float64Array(size) : floats(json.mean);
    this.spacing = this.#spacing();
    this.spread = this.#spread();
  }

  get length() {
    return this.latents.length;
  }

  /** The film's title: its file's name without suffix and underscores. */
  get title() {
    if (this.isDrawn || !this.names.length) return "";
    return this.names.map((name) => name.replace(/\.\w{2,4}$/, "").replaceAll("_", " ")).join(", ");
  }

  label(i) {
    return this.isDrawn ? `draw ${i + 1}` : `frame ${this.frames[i]}`;
  }

  time(i) {
    return this.isDrawn ? "" : timecode(this.seconds[i]);
  }

  /** Label, time, shot, the film if there are several, and whether training never saw it. */
  longLabel(i) {
    if (this.isDrawn) return this.label(i);
    const film = this.names.length > 1 ? `, ${this.names[this.filmOf[i]]}` : "";
    const heldOut = this.heldOut[i] ? ", kept from training" : "";
    return `${this.label(i)}, ${this.time(i)}, shot ${this.shots[i] + 1}${film}${heldOut}`;
  }

  /** Whether another shot or film begins after frame i. */
  isCut(i) {
    return i + 1 >= this.length || this.shots[i] !== this.shots[i + 1] ||
      this.filmOf[i] !== this.filmOf[i + 1];
  }

  nearest(latent) {
    let best = { index: 0, distance: Infinity };
    this.latents.forEach((point, index) => {
      const far = distance(point, latent);
      if (far < best.distance) best = { index, distance: far };
    });
    return best;
  }

  /** latent + sum over directions of offset * deviation * direction. */
  moved(latent, offsets) {
    return this.directions.reduce(
      (sum, direction, k) =>
        offsets[k] ? mix(1, sum, offsets[k] * this.deviations[k], direction) : sum,
      Float64Array.from(latent),
    );
  }

  /** The film's mean, so many deviations along direction k. */
  extreme(k, offset) {
    return mix(1, this.mean, offset * this.deviations[k], this.directions[k]);
  }

  /** A point of the density of the film's latents, one Gaussian a shot or key moment; without a
   * film N(0, 1).
   */
  draw() {
    if (this.isDrawn) return normals(this.size);
    this.density ??= this.#fitDensity();
    const group = this.density.groupOf[Math.floor(Math.random() * this.length)];
    const { rows: own, mean } = this.density.groups[group];
    const share = this.shrinkage / (this.shrinkage + own.length);
    const inner = Math.sqrt((1 - share) / own.length), outer = Math.sqrt(share);
    const point = Float64Array.from(mean);
    for (const row of own) {
      const weight = inner * normal();
      for (let i = 0; i < point.length; i++) point[i] += weight * (row[i] - mean[i]);
    }
    for (let i = 0; i < point.length; i++) {
      point[i] += outer * this.density.deviation[i] * normal();
    }
    return point;
  }

  #fitDensity() {
    const numbers = new Map(), groups = [], variance = new Float64Array(this.size);
    const groupOf = this.latents.map((row, i) => {
      const key = this.groups[i];
      if (!numbers.has(key)) numbers.set(key, groups.push({ rows: [] }) - 1);
      groups[numbers.get(key)].rows.push(row);
      return numbers.get(key);
    });
    for (const group of groups) {
      group.mean = group.rows.reduce((sum, row) => mix(1, sum, 1 / group.rows.length, row),
        new Float64Array(this.size));
      for (const row of group.rows) {
        row.forEach((value, i) => (variance[i] += (value - group.mean[i]) ** 2 / this.length));
      }
    }
    return { groups, groupOf, deviation: variance.map(Math.sqrt) };
  }

  /** The typical distance of a frame to the nearest other one: the median. */
  #spacing() {
    const lengths = this.latents.map((row) => norm(row) ** 2);
    const nearest = this.latents.map((row, i) => {
      let best = Infinity;
      for (let j = 0; j < this.length; j++) {
        if (j !== i) best = Math.min(best, lengths[i] + lengths[j] - 2 * dot(row, this.latents[j]));
      }
      return Math.sqrt(Math.max(best, 0));
    });
    nearest.sort((a, b) => a - b);
    return nearest[this.length >> 1] ?? 0;
  }

  /**
   * Frames for the strip, ascending: the first of each shot, and then as many as it changes, so
   * that a still shot does not fill the strip with the same picture.
   */
  #spread() {
    const steps = this.latents.map((row, i) =>
      i > 0 && !this.isCut(i - 1) ? distance(row, this.latents[i - 1]) : 0);
    const due = steps.reduce((sum, step) => sum + step, 0) / SPREAD;
    let gone = 0;
    return Array.from(this.latents.keys()).filter((i) => {
      gone += steps[i];
      const isShown = this.isDrawn || i === 0 || this.isCut(i - 1) || gone >= due;
      if (isShown) gone = 0;
      return isShown;
    });
  }
}
