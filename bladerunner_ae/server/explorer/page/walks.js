// Automatic walks: playing the film, and wandering without end.

import { slerp, smoothWay } from "./latent.js";

const LEG = 5; // seconds from one frame to the next while wandering
const SLOWEST = 0.5; // seconds at most between two frames while playing

/**
 * Wanders from a latent through frames of the film drawn by chance, for ever.
 * Returns a function: seconds gone by since the last call -> where it is now.
 */
export function wander(film, start) {
  const choose = () => film.latents[Math.floor(Math.random() * film.length)];
  let [before, from, to, after] = [start, start, choose(), choose()], gone = 0;
  return (seconds) => {
    gone += seconds / LEG;
    while (gone >= 1) {
      [before, from, to, after] = [from, to, after, choose()];
      gone -= 1;
    }
    return { latent: smoothWay(before, from, to, after, gone), what: { kind: "wander" } };
  };
}

/** The speed of `play` in that of the film: 1, or more where the frames are far apart in time. */
export function playSpeed(film) {
  if (film.isDrawn) return 1;
  const gaps = [];
  for (let i = 0; i + 1 < film.length; i++) {
    if (film.filmOf[i] === film.filmOf[i + 1]) gaps.push(film.seconds[i + 1] - film.seconds[i]);
  }
  gaps.sort((a, b) => a - b);
  return Math.max(1, (gaps[gaps.length >> 1] ?? 0) / SLOWEST);
}

/**
 * Walks along the film's own latents in order, within shots on arcs, over cuts with a cut, and
 * starts over at the end.
 */
export function play(film, start) {
  const speed = playSpeed(film);
  const length = (i) => {
    const gap = film.isDrawn || i + 1 >= film.length ? 1 : film.seconds[i + 1] - film.seconds[i];
    return Math.min(SLOWEST * 2, Math.max(gap / speed, 1 / 120));
  };
  let index = start, gone = 0;
  return (seconds) => {
    gone += seconds;
    while (gone >= length(index)) {
      gone -= length(index);
      index = (index + 1) % film.length;
    }
    const share = gone / length(index), isStill = !film.isDrawn && film.isCut(index);
    const next = film.latents[(index + 1) % film.length];
    const latent = isStill ? film.latents[index] : slerp(film.latents[index], next, share);
    return { latent, what: { kind: "play", index } };
  };
}
