// Lines for the person: one at the foot of the page, one for screen readers alone.

const STAY = 6000; // ms that a note stays; trouble stays until something else is said
const REST = 700; // ms that nothing changes before it is told

const note = document.getElementById("note");
const announcer = document.getElementById("announcer");
let fading = 0, announcing = 0;

export function say(words, isTrouble = false) {
  clearTimeout(fading);
  note.textContent = words;
  note.classList.toggle("trouble", isTrouble);
  if (!isTrouble) fading = setTimeout(() => (note.textContent = ""), STAY);
}

/** Tells a screen reader what is seen once it stands still. */
export function announce(words) {
  clearTimeout(announcing);
  announcing = setTimeout(() => (announcer.textContent = words), REST);
}
