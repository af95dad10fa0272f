// Descriptions of what is shown: captions, texts for screen readers, file names.

const percent = (share) => `${Math.round(share * 100)} %`;

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** "direction 1 +0.50 σ, direction 3 −1.00 σ" of those that are not at zero. */
export function leaning(offsets) {
  return Array.from(offsets)
    .map((offset, k) => (offset ? `direction ${k + 1} ${signed(offset)}` : ""))
    .filter(Boolean).join(", ");
}

export function signed(offset) {
  const sign = offset > 0 ? "+" : offset < 0 ? "\u2212" : "";
  return `${sign}${Math.abs(offset).toFixed(2)} σ`;
}

const place = {
  frame: (film, { index }) => film.longLabel(index),
  play: (film, { index }) => film.longLabel(index),
  walk: (film, { from, to, share }) => `${from} to ${to}, ${percent(share)}`,
  wander: () => "wandering",
  drawn: (film) => (film.isDrawn ? "drawn from N(0, 1)" : "drawn from the film's density"),
  pasted: () => "pasted latent",
};

/** A caption of what is shown. */
export function caption(film, what, offsets) {
  const lean = leaning(offsets);
  return sentence(place[what.kind](film, what)) + (lean ? `; ${lean}` : "");
}

/** A file name, without its ending, of what is shown. */
export function fileName(film, what, offsets, model) {
  const names = {
    frame: () => film.label(what.index),
    play: () => film.label(what.index),
    walk: () => `${what.from} to ${what.to} at ${Math.round(what.share * 100)}`,
    wander: () => `wandering near ${what.near}`,
    drawn: () => `drawn near ${what.near}`,
    pasted: () => `latent near ${what.near}`,
  };
  const lean = Array.from(offsets)
    .map((offset, k) => (offset ? ` d${k + 1}${offset > 0 ? "+" : "-"}${Math.abs(offset)}` : ""))
    .join("");
  const name = `${film.title || model} ${names[what.kind]()}${lean}`;
  return name.replace(/[^\p{L}\p{N}.+-]+/gu, "_").slice(0, 120);
}
