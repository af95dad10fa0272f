// Keyboard shortcuts; those of a single key can be disabled.

const STORED = "explorer.single-keys";

/**
 * @param {Record<string, (event: KeyboardEvent) => void>} actions key -> what it does
 * @param {HTMLInputElement} toggle the box that switches letters on and off
 */
export function listen(actions, toggle) {
  toggle.checked = remembered() !== "off";
  toggle.addEventListener("change", () => remember(toggle.checked ? "on" : "off"));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented) return;
    if (document.querySelector("dialog[open]") || event.target.matches("textarea")) return;
    const isArrow = event.key.startsWith("Arrow");
    if (isArrow && event.target.matches("input")) return; // a slider's own
    if (event.key.length === 1 && !toggle.checked && event.key !== "?") return;
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action(event);
  });
}

// A browser in private mode may refuse its storage with an error.

function remembered() {
  try {
    return localStorage.getItem(STORED);
  } catch {
    return null;
  }
}

function remember(value) {
  try {
    localStorage.setItem(STORED, value);
  } catch {
    // then it applies to this visit only
  }
}
