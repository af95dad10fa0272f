// The explorer: the current point of latent space, and all actions on it.

import { Directions } from "./directions.js";
import { Exchange } from "./import_export.js";
import { Film } from "./film.js";
import { listen } from "./keyboard.js";
import { norm, slerp, toJson } from "./latent.js";
import { play, playSpeed, wander } from "./walks.js";
import { announce, say } from "./messages.js";
import { Picture, paint } from "./picture.js";
import { Lane, Server } from "./server.js";
import { Strip } from "./strip.js";
import { Tending } from "./connection.js";
import { caption } from "./format.js";

const RATE = 30; // pictures a second at most while something moves
const PINNED = { wander: "wandering", drawn: "drawn", pasted: "pasted" }; // kinds of places

const $ = (id) => document.getElementById(id);
const server = new Server();
const lane = new Lane(server, () => strip.next() ?? directions.next(),
  (error) => tending.lose(error));
const picture = new Picture($("picture"), $("glow"), $("stage"));
const strip = new Strip($("strip"), $("bar"),
  { pick: pickFrame, wake: () => lane.wake(), dreamt: showSmallPicks });
const directions = new Directions($("directions"), refresh);
const tending = new Tending(server, lane, load, () => Boolean(picture.of));
const exchange = new Exchange({ picture, lane, server, film: () => film,
  settle: (latent) => settle(latent, { kind: "pasted" }) });

let film = null;
let base = null; // the current point, without the offsets along directions
let what = null; // its description, for captions
let picks = { from: null, to: null }; // { latent, label, index or null, picture }
let armed = "from"; // which pick the next click on a frame sets
let motion = null; // { kind, step }

// The current point

function go(latent, newWhat) {
  [base, what] = [latent, newWhat];
  refresh();
}

/** Goes to a new place, level. */
function settle(latent, newWhat) {
  stand();
  directions.level();
  go(latent, newWhat);
}

function present() {
  return film.moved(base, directions.offsets);
}

function refresh() {
  if (!base) return;
  const shown = { film, latent: present(), what, offsets: [...directions.offsets] };
  lane.want({
    isPicture: true,
    latents: [toJson(shown.latent)],
    done: ([blob]) => show(blob, shown),
    failed: (error) => say(error.message, true),
  });
}

async function show(blob, shown) {
  if (shown.film !== film) return; // of a version that has been replaced
  await picture.show(blob);
  const { index, distance } = film.nearest(shown.latent);
  picture.of = { ...shown, what: { ...shown.what, near: film.label(index) }, nearest: index };
  const words = caption(film, shown.what, shown.offsets);
  $("caption").textContent = words;
  $("picture").setAttribute("aria-label", words);
  $("picture").dataset.latent = toJson(shown.latent);
  showDistance(shown, index, distance);
  $("position").value = shown.what.index ?? index;
  $("position").setAttribute("aria-valuetext", film.longLabel(shown.what.index ?? index));
  markPicks(index);
  if (shown.what.kind === "play") strip.reveal(index, false);
  else if (["drawn", "pasted"].includes(shown.what.kind)) strip.reveal(index);
  if (!motion) announce(words);
}

function showDistance({ latent }, index, distance) {
  $("nearest").hidden = film.isDrawn;
  if (film.isDrawn) {
    $("far").textContent = `length ${norm(latent).toFixed(1)}; draws have about ` +
      `${Math.sqrt(film.size).toFixed(1)}`;
    return;
  }
  const near = distance < 1e-3 * (film.spacing || 1);
  $("nearest").textContent = near ? `on ${film.label(index)}` : `nearest ${film.label(index)}, ` +
    `${film.time(index)}`;
  $("far").textContent = near ? "" : `${distance.toFixed(2)} away; frames lie ` +
    `${film.spacing.toFixed(2)} apart`;
  // Twice the typical distance to the next frame is the middle, infinitely far the end.
  const ratio = distance / (film.spacing || 1);
  $("gauge").style.setProperty("--far", ratio / (ratio + 2));
}

// Picks and the line between them

function framePick(index) {
  return { latent: film.latents[index], label: film.label(index), index };
}

function pickFrame(index) {
  picks[armed] = framePick(index);
  setShare(armed === "from" ? 0 : 1);
  arm(armed === "from" ? "to" : "from");
  settle(film.latents[index], { kind: "frame", index });
}

/** Takes the frame that the keyboard is at, or else what is seen, as a pick. */
function pin(name) {
  const { latent, what: { kind, near, index }, offsets } = picture.of;
  const isFrame = kind === "frame" && !offsets.some(Boolean);
  if (strip.focused !== null) picks[name] = framePick(strip.focused);
  else if (isFrame) picks[name] = { ...framePick(index), picture: copyOf($("picture")) };
  else {
    const label = `${PINNED[kind] ?? "a place"} near ${near}`;
    picks[name] = { latent, label, index: null, picture: copyOf($("picture")) };
  }
  arm(name === "from" ? "to" : "from");
  markPicks(picture.of.nearest);
  say(`${name === "from" ? "From" : "To"} is now ${picks[name]?.label}.`);
}

function copyOf(canvas) {
  const small = document.createElement("canvas");
  Object.assign(small, { height: 72, width: Math.round(72 * canvas.width / canvas.height) });
  paint(small, canvas);
  return small;
}

function arm(name) {
  armed = name;
  for (const each of ["from", "to"]) $(each).setAttribute("aria-pressed", each === name);
}

function visit(name) {
  const pick = picks[name];
  arm(name);
  setShare(name === "from" ? 0 : 1);
  if (pick.index === null) walk();
  else settle(pick.latent, { kind: "frame", index: pick.index });
  if (pick.index !== null) strip.reveal(pick.index);
}

function setShare(share) {
  $("share").value = share;
  $("share-text").textContent = `${Math.round(share * 100)} %`;
  $("share").setAttribute("aria-valuetext", `${Math.round(share * 100)} % of the way to the second`);
}

function walk() {
  stand();
  const share = Number($("share").value), { from, to } = picks;
  setShare(share);
  go(slerp(from.latent, to.latent, share), { kind: "walk", from: from.label, to: to.label, share });
}

function walkBy(step) {
  setShare(Math.min(1, Math.max(0, Number($("share").value) + step)));
  walk();
}

function swap() {
  picks = { from: picks.to, to: picks.from };
  setShare(1 - Number($("share").value));
  markPicks(picture.of.nearest);
  walk();
}

function markPicks(nearest) {
  strip.mark({ from: picks.from.index, to: picks.to.index }, nearest);
  for (const [name, pick] of Object.entries(picks)) {
    $(name).querySelector(".name").textContent = pick.label;
    const mark = $(`mark-${name}`);
    mark.hidden = pick.index === null;
    mark.style.setProperty("--at", (pick.index ?? 0) / Math.max(film.length - 1, 1));
  }
  showSmallPicks();
}

function showSmallPicks() {
  for (const [name, pick] of Object.entries(picks)) {
    const canvas = $(name).querySelector("canvas");
    const small = pick.picture ?? strip.small(pick.index);
    if (!small) continue;
    Object.assign(canvas, { width: small.width, height: small.height });
    canvas.getContext("2d").drawImage(small, 0, 0);
  }
}

// Motion

function move(kind) {
  if (motion?.kind === kind) {
    stand();
    return;
  }
  const start = what.index ?? picture.of?.nearest ?? 0;
  const step = kind === "play" ? play(film, start) : wander(film, base);
  motion = { kind, step };
  if (kind === "play" && playSpeed(film) > 1.05) {
    say(`Playing ${playSpeed(film).toFixed(0)} times as fast as the film.`);
  }
  showMotion();
  let last = performance.now();
  const mine = motion;
  const tick = (now) => {
    if (motion !== mine) return;
    requestAnimationFrame(tick);
    if (now - last < 1000 / RATE || tending.isAway) return;
    const place = step(Math.min((now - last) / 1000, 0.25));
    last = now;
    go(place.latent, place.what);
  };
  requestAnimationFrame(tick);
}

function stand() {
  motion = null;
  showMotion();
}

function showMotion() {
  for (const kind of ["play", "wander"]) $(kind).setAttribute("aria-pressed", motion?.kind === kind);
}

function stepFrames(count) {
  const index = (what.kind === "frame" || what.kind === "play" ? what.index : picture.of?.nearest) ?? 0;
  goToFrame(Math.min(film.length - 1, Math.max(0, index + count)));
}

function goToFrame(index) {
  settle(film.latents[index], { kind: "frame", index });
  strip.reveal(index);
}

function draw() {
  settle(film.draw(), { kind: "drawn" });
}

// The film of the version that is served

async function load() {
  const known = server.version, json = await server.open();
  let loaded;
  try {
    loaded = new Film(json, server.size);
  } catch {
    json.note = "This version's film does not fit its decoder; export it again.";
    loaded = new Film({ ...json, latents: "" }, server.size);
  }
  const before = film;
  film = loaded;
  stand();
  showFilm(json);
  restore(before);
  if (json.note) say(json.note, true);
  else if (known && known !== json.version) say(`Version ${json.version} of the model is here.`);
}

function showFilm(json) {
  const title = film.title || json.model;
  $("title").textContent = title;
  document.title = `${title} – explorer`;
  const frames = film.isDrawn ? "no film, draws from N(0, 1)" : `${film.length} frames`;
  $("provenance").textContent =
    `${json.model} version ${json.version} · ${film.size} numbers a frame · ${frames}`;
  document.querySelector("main").classList.toggle("without-directions", !film.directions.length);
  $("redraw").hidden = !film.isDrawn;
  $("position").max = film.length - 1;
  strip.fill(film);
  directions.fill(film);
}

/** Finds the picks and the place of the film before again, or chooses some. */
function restore(before) {
  const isAlike = before?.size === film.size;
  const again = (pick, fallback) => {
    if (pick?.index === null && isAlike) return pick;
    const isSame = pick && before.isDrawn === film.isDrawn && pick.index < film.length;
    const chosen = film.spread[Math.floor(film.spread.length * fallback)];
    return framePick(isSame ? pick.index : chosen);
  };
  picks = { from: again(picks.from, 0.3), to: again(picks.to, 0.7) };
  arm(armed);
  markPicks(null);
  if (!before || !isAlike) visit("from");
  else if (what.kind === "walk") walk();
  else if (what.index < film.length) go(film.latents[what.index], what);
  else go(base, what.index === undefined ? what : { kind: "pasted" });
  if (!before) {
    arm("from");
    strip.reveal(picks.from.index, false);
  }
}

// Buttons and sliders

/** An action that needs a film and a picture. */
const ready = (action) => (event) => picture.of && action(event);

const fullScreen = () => document.fullscreenElement ? document.exitFullscreen() :
  $("stage").requestFullscreen();

const presses = {
  "play": () => move("play"), "wander": () => move("wander"), "draw": draw,
  "save": () => exchange.save(false), "save-shown": () => exchange.save(true),
  "copy": () => exchange.copy(), "paste": () => exchange.paste(),
  "full": fullScreen, "from": () => visit("from"), "to": () => visit("to"),
  "pin-from": () => pin("from"), "pin-to": () => pin("to"), "swap": swap,
  "nearest": () => goToFrame(picture.of.nearest),
  "level": () => (directions.level(), refresh()),
  "redraw": () => load().catch((error) => tending.lose(error)),
};
for (const [id, action] of Object.entries(presses)) $(id).addEventListener("click", ready(action));
$("help-button").addEventListener("click", () => $("help").showModal());
$("share").addEventListener("input", ready(walk));
$("position").addEventListener("input", ready(() => {
  const index = Number($("position").value);
  settle(film.latents[index], { kind: "frame", index });
  strip.reveal(index, false);
}));
$("stage").addEventListener("dblclick", ready(fullScreen));

const press = (id) => () => $(id).click();
listen({
  "p": press("play"), "w": press("wander"), "d": press("draw"), "s": press("save"),
  "S": press("save-shown"), "c": press("copy"), "v": press("paste"), "f": press("full"),
  "a": press("pin-from"), "b": press("pin-to"), "x": press("swap"), "n": press("nearest"),
  "0": press("level"), "?": press("help-button"),
  ",": ready(() => walkBy(-0.02)), ".": ready(() => walkBy(0.02)),
  "ArrowLeft": ready((event) => stepFrames(event.shiftKey ? -10 : -1)),
  "ArrowRight": ready((event) => stepFrames(event.shiftKey ? 10 : 1)),
  "Escape": ready(stand),
}, $("single-keys"));

tending.start();
