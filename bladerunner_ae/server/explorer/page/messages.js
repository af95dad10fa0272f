// Messages: a line at the foot of the page, and one for screen readers only.

const STAY = 6000; // ms that a message stays; a problem stays until the next message
const REST = 700; // ms without a change before it is announced

const note = document.getElementById("note");
const announcer = document.getElementById("announcer");
let fading = 0, announcing = 0;

export function say(words, isTrouble = false) {
  clearTimeout(fading);
  note.textContent = words;
  note.classList.toggle("trouble", isTrouble);
  if (!isTrouble) fading = setTimeout(() => (note.textContent = ""), STAY);
}

/** Describes the picture to a screen reader once it stands still. */
export function announce(words) {
  clearTimeout(announcing);
  announcing = setTimeout(() => (announcer.textContent = words), REST);
}
