// The large picture, its glow, and files made of it.

export class Picture {
  blob = null; // as the server sent it
  #bitmap = null;

  constructor(canvas, glow, stage) {
    Object.assign(this, { canvas, glow, stage });
    new ResizeObserver(() => this.#draw()).observe(stage);
  }

  async show(blob) {
    const bitmap = await createImageBitmap(blob);
    this.#bitmap?.close();
    this.#bitmap = bitmap;
    this.blob = blob;
    document.documentElement.style.setProperty("--ratio", bitmap.width / bitmap.height);
    this.#draw();
  }

  get size() {
    return this.#bitmap ? `${this.#bitmap.width} × ${this.#bitmap.height}` : "";
  }

  #draw() {
    if (!this.#bitmap) return;
    const dense = Math.min(window.devicePixelRatio || 1, 2);
    const width = Math.max(Math.round(this.canvas.clientWidth * dense), 1);
    const height = Math.max(Math.round(width * this.#bitmap.height / this.#bitmap.width), 1);
    if (this.canvas.width !== width || this.canvas.height !== height) {
      Object.assign(this.canvas, { width, height });
    }
    paint(this.canvas, this.#bitmap);
    paint(this.glow, this.#bitmap); // a few pixels, which the browser scales up softly
  }

  /** The picture at the size in which it is shown, as PNG. */
  shown() {
    return new Promise((done) => this.canvas.toBlob(done, "image/png"));
  }
}

/** Draws a bitmap over the whole canvas, smoothed, since networks draw few and large pixels. */
export function paint(canvas, bitmap) {
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
}

export function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
