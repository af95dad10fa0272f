// Latent vectors: pure functions of Float64Array and Float32Array.

export function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

export const norm = (a) => Math.sqrt(dot(a, a));

export function distance(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] - b[i]) ** 2;
  return Math.sqrt(sum);
}

/** a * x + b * y. */
export function mix(a, x, b, y) {
  const result = new Float64Array(x.length);
  for (let i = 0; i < x.length; i++) result[i] = a * x[i] + b * y[i];
  return result;
}

/**
 * Spherical interpolation (Shoemake 1985; for latents White 2016, arXiv:1609.04468): at share
 * 0 the first, at share 1 the second. Where the two point the same or opposite ways there is no
 * arc, and the way is straight.
 */
export function slerp(first, second, share) {
  const lengths = norm(first) * norm(second);
  const cosine = lengths > 0 ? dot(first, second) / lengths : 1;
  const angle = Math.acos(Math.min(1, Math.max(-1, cosine)));
  const sine = Math.sin(angle);
  if (sine < 1e-6) return mix(1 - share, first, share, second);
  return mix(Math.sin((1 - share) * angle) / sine, first, Math.sin(share * angle) / sine, second);
}

/**
 * A smooth way from b to c that comes from a and goes on to d: a Catmull-Rom spline, whose length
 * follows the lengths of b and c instead of cutting the corner through the middle.
 */
export function smoothWay(a, b, c, d, share) {
  const t = share, t2 = t * t, t3 = t2 * t;
  const weights = [
    (-t3 + 2 * t2 - t) / 2, (3 * t3 - 5 * t2 + 2) / 2, (-3 * t3 + 4 * t2 + t) / 2, (t3 - t2) / 2,
  ];
  const point = new Float64Array(b.length);
  for (let i = 0; i < b.length; i++) {
    point[i] = weights[0] * a[i] + weights[1] * b[i] + weights[2] * c[i] + weights[3] * d[i];
  }
  const ease = t2 * (3 - 2 * t);
  const length = (1 - ease) * norm(b) + ease * norm(c), own = norm(point);
  return own > 0 ? mix(length / own, point, 0, point) : point;
}

/** A draw from N(0, 1), by Box and Muller. */
export function normal() {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}

export const normals = (size) => Float64Array.from({ length: size }, normal);

/** JSON in which each number has the digits that float32 needs to round-trip. */
export function toJson(latent) {
  return JSON.stringify(Array.from(latent, (value) => Number(Math.fround(value).toPrecision(9))));
}

/**
 * Reads a latent: an array of numbers, or a request or answer of the REST API that holds one.
 * Throws an Error whose message is for the person.
 */
export function fromJson(text, size) {
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error("That is not JSON. A latent looks like [0.12, -1.3, …].");
  }
  for (const name of ["instances", "inputs", "predictions", "outputs", "latent"]) {
    if (value && typeof value === "object" && name in value) value = value[name];
  }
  while (Array.isArray(value) && value.length === 1 && typeof value[0] === "object") {
    value = value[0]?.latent ?? value[0];
  }
  if (!Array.isArray(value) || !value.every((x) => typeof x === "number" && Number.isFinite(x))) {
    throw new Error("That is no list of numbers. A latent looks like [0.12, -1.3, …].");
  }
  if (value.length !== size) {
    throw new Error(`That list has ${value.length} numbers; a latent of this model has ${size}.`);
  }
  return Float64Array.from(value);
}
