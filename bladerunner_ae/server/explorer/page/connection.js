// Watches the server: notices when it stops answering, is back, or has a newer version.

import { say } from "./messages.js";
import { Away } from "./server.js";

const GLANCES = { well: 4000, away: 1000 }; // ms between requests

/** A message as a sentence: servers write them in many ways. */
const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1).replace(/[.\s]*$/, ".");

export class Tending {
  isAway = true;
  #lookSoon = () => {};
  #said = "";

  /** `load()` opens the newest version; `isOpen()` tells whether a version has been opened. */
  constructor(server, lane, load, isOpen) {
    Object.assign(this, { server, lane, load, isOpen });
  }

  /** To be called by whoever finds the server away. */
  lose(error) {
    this.isAway = true;
    this.lane.hold();
    const words = `${sentence(error.message)} Trying again …`;
    if (words !== this.#said) say(words, true);
    this.#said = words;
    this.#lookSoon();
  }

  async start() {
    for (;;) {
      try {
        await this.#look();
      } catch (error) {
        this.lose(error);
      }
      await new Promise((done) => {
        const timer = setTimeout(done, this.isAway ? GLANCES.away : GLANCES.well);
        this.#lookSoon = () => {
          clearTimeout(timer);
          setTimeout(done, GLANCES.away);
        };
      });
    }
  }

  async #look() {
    const newest = await this.server.newest();
    if (!newest) throw new Away("No version of the model is ready.");
    if (newest !== this.server.version) await this.load();
    if (!this.isAway) return;
    this.isAway = false;
    this.#said = "";
    if (this.isOpen()) say("The server is back.");
    this.lane.resume();
  }
}
