// Export of pictures and latents, import of latents.

import { fromJson, toJson } from "./latent.js";
import { say } from "./messages.js";
import { download } from "./picture.js";
import { fileName } from "./format.js";

const $ = (id) => document.getElementById(id);

export class Exchange {
  /** `film()` is the current one; `settle(latent)` goes to a latent that was pasted. */
  constructor({ picture, lane, server, film, settle }) {
    Object.assign(this, { picture, lane, server, film, settle });
    $("latent-cancel").addEventListener("click", () => $("latent").close());
    $("latent").querySelector("form").addEventListener("submit", (event) => this.#onSubmit(event));
    document.addEventListener("paste", (event) => this.#onPaste(event));
  }

  /** Saves what is seen: as the network draws it, without loss if it can, or as large as shown. */
  async save(asShown) {
    const { latent, what, offsets } = this.picture.of;
    const name = fileName(this.film(), what, offsets, this.server.model);
    let blob = this.picture.blob;
    try {
      if (asShown) blob = await this.picture.shown();
      else if (this.server.signatures.includes("decode_png_bytes")) {
        [blob] = await this.lane.ask([toJson(latent)], "decode_png_bytes");
      }
    } catch (error) {
      say(error.message, true);
      return;
    }
    const file = `${name}.${blob.type === "image/png" ? "png" : "jpg"}`;
    download(blob, file);
    say(`Saved ${file}.`);
  }

  async copy() {
    const text = toJson(this.picture.of.latent);
    try {
      await navigator.clipboard.writeText(text);
      say(`Copied ${this.film().size} numbers.`);
    } catch {
      this.#open("Copy this latent", text); // without https a browser gives no access to its clipboard
    }
  }

  paste() {
    this.#open("Paste a latent", "");
  }

  #open(title, text) {
    $("latent-title").textContent = title;
    $("latent-text").value = text;
    $("latent-error").textContent = "";
    $("latent").showModal();
    $("latent-text").focus();
    $("latent-text").select();
  }

  #onSubmit(event) {
    try {
      this.settle(fromJson($("latent-text").value, this.film().size));
    } catch (error) {
      event.preventDefault();
      $("latent-error").textContent = error.message;
    }
  }

  /** Ctrl-V anywhere but in a dialog. */
  #onPaste(event) {
    if (document.querySelector("dialog[open]") || !this.picture.of) return;
    try {
      this.settle(fromJson(event.clipboardData.getData("text"), this.film().size));
    } catch (error) {
      say(error.message, true);
    }
  }
}
