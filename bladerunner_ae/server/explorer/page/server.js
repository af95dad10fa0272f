// The server's REST API, that of TensorFlow Serving, and the single lane of all requests.

const PATIENCE = 60_000; // ms for pictures
const GLANCE = 5_000; // ms for anything else
const TURNS = 8;

/** The server did not answer, or is not ready: worth asking again. */
export class Away extends Error {}

/** The server answered that it will not. */
export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

const NOT_READY = new Set([429, 502, 503, 504]);

async function json(path, options, patience = GLANCE) {
  let response, text;
  try {
    response = await fetch(path, { ...options, signal: AbortSignal.timeout(patience) });
    text = await response.text();
  } catch (error) {
    throw new Away(error.name === "TimeoutError" ? "The server takes too long." :
      "The server does not answer.");
  }
  let value = null;
  try {
    value = JSON.parse(text);
  } catch {
    // an answer that is no JSON has no message
  }
  if (NOT_READY.has(response.status)) throw new Away(value?.error ?? "The server is not ready.");
  if (!response.ok) throw new Refused(value?.error ?? `status ${response.status}`, response.status);
  if (value === null) throw new Away("The server's answer cannot be read.");
  return value;
}

function blob(prediction) {
  const text = prediction.b64 ?? prediction.image_bytes?.b64;
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Blob([bytes], { type: bytes[0] === 0x89 ? "image/png" : "image/jpeg" });
}

export class Server {
  model = "";
  version = 0;
  signatures = [];
  size = 0;

  /** Returns film.json of the newest version, which is the one asked for pictures from now on. */
  async open() {
    const film = await json("/explorer/film.json", {}, PATIENCE);
    const path = `/v1/models/${encodeURIComponent(film.model)}/versions/${film.version}`;
    const { metadata } = await json(`${path}/metadata`);
    const signatures = metadata.signature_def.signature_def;
    const shape = signatures.serving_default.inputs.latent?.tensor_shape;
    if (!shape) throw new Refused(`${film.model} is no decoder: it takes no latent`, 400);
    this.size = Number(shape.dim.at(-1).size);
    this.signatures = Object.keys(signatures);
    [this.model, this.version, this.path] = [film.model, film.version, path];
    return film;
  }

  /** Returns the newest version that is served, a number; 0 for none. */
  async newest() {
    const path = this.model ? `/v1/models/${encodeURIComponent(this.model)}` : null;
    if (!path) return (await json("/explorer/film.json")).version;
    const status = await json(path);
    const served = status.model_version_status.filter(({ state }) => state === "AVAILABLE");
    return Math.max(0, ...served.map(({ version }) => Number(version)));
  }

  /** Returns a picture for each latent, as Blobs. `latents` are JSON texts. */
  async decode(latents, signature = "serving_default") {
    const body = `{"signature_name":"${signature}","instances":[${latents.join(",")}]}`;
    const answer = await json(`${this.path}:predict`, { method: "POST", body,
      headers: { "Content-Type": "application/json" } }, PATIENCE);
    return answer.predictions.map(blob);
  }
}

/**
 * One request at a time: the newest picture wanted, then what was asked for to be saved, then what
 * `background()` gives. A wanted picture that has not been sent is replaced by a newer one.
 *
 * A job is { latents, signature, done(blobs), failed(error) }.
 */
export class Lane {
  #wanted = null;
  #asked = [];
  #busy = false;
  #held = true;
  #inTurn = 0; // pictures since the background had its turn

  /** `away(error)` is called when the server does not answer; the lane then waits for `resume`. */
  constructor(server, background, away) {
    Object.assign(this, { server, background, away });
  }

  want(job) {
    this.#wanted = job;
    this.wake();
  }

  ask(latents, signature) {
    return new Promise((done, failed) => {
      this.#asked.push({ latents, signature, done, failed });
      this.wake();
    });
  }

  hold() {
    this.#held = true;
  }

  resume() {
    this.#held = false;
    this.wake();
  }

  async wake() {
    if (this.#busy) return;
    this.#busy = true;
    for (let job; !this.#held && (job = this.#next()); ) await this.#send(job);
    this.#busy = false;
  }

  #next() {
    // While something moves, a picture is always wanted; small ones get a turn now and then.
    const small = this.#wanted && ++this.#inTurn > TURNS ? this.background() : null;
    if (small) {
      this.#inTurn = 0;
      return small;
    }
    const wanted = this.#wanted;
    this.#wanted = null;
    return wanted ?? this.#asked.shift() ?? this.background();
  }

  async #send(job) {
    try {
      const blobs = await this.server.decode(job.latents, job.signature);
      await job.done(blobs);
    } catch (error) {
      const isGone = error instanceof Refused && error.status === 404;
      if (error instanceof Away || isGone) {
        this.#wanted ??= job.isPicture ? job : null;
        this.away(error);
      }
      if (!job.isPicture || !(error instanceof Away || isGone)) job.failed(error);
    }
  }
}
