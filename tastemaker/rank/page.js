// The page of a judge: keys, taps and drags become actions of the machine; answers are posted.
import { begin, content, step, tierOf, unranked } from "./machine.js";

const main = document.querySelector("main");
const mode = main.dataset.mode;
const count = Number(main.dataset.count || 0);
const messages = JSON.parse(main.dataset.messages || "{}");
const byId = (id) => document.getElementById(id);
const live = byId("live");
const memory = `view:${main.dataset.view}`;

const earlier = JSON.parse(main.dataset.answer || "null"); // that was taken back

let state = begin(count, remembered() ?? earlier);
let confirmed = false; // unranked answers were pointed out
let key = null; // of the answer that is being posted; the same one when it is posted again
let posted = ""; // what the key belongs to
let busy = false;
let seconds = 0; // while the page was visible
let since = performance.now();

function remembered() {
  try {
    const saved = JSON.parse(sessionStorage.getItem(memory));
    return Array.isArray(saved?.tiers) ? saved : null;
  } catch {
    return null; // no memory: begin anew
  }
}

const filled = (name, values = {}) =>
  (messages[name] || name).replace(/\{(\w+)\}/g, (_, each) => values[each] ?? "");

function tell(name, values) {
  live.textContent = filled(name, values);
}

// --- the ranking

function act(action) {
  if (busy) return draw(); // a box that was ticked meanwhile shows again what is posted
  if (mode !== "rank" && !(mode === "pair" && ["give", "undo"].includes(action.type))) return;
  const before = state;
  state = step(state, action);
  confirmed = false;
  if (state.message) tell(...state.message);
  if (state.past !== before.past) {
    try { sessionStorage.setItem(memory, JSON.stringify(content(state))); } catch { /* full */ }
  }
  draw();
}

function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// An option of the listbox: a ranked answer, by its number and its first words.
function option(place) {
  const text = document.querySelector(`.answer[data-place="${place}"] .text`).textContent;
  const isChosen = place === state.chosen;
  return element("div", {
    class: isChosen ? "chip chosen" : "chip", role: "option", "aria-selected": isChosen,
    id: `option-${place + 1}`, "data-place": place, "data-testid": `chip-${place + 1}`,
  }, element("b", { class: "pick" }, String(place + 1)),
    element("span", { class: "excerpt", dir: "auto" }, text.trim().slice(0, 120)));
}

function drawRanking() {
  const list = byId("tiers");
  list.replaceChildren(...state.tiers.map((tier, at) => element("div", {
    class: "tier", role: "group", "aria-label": filled("tier", { place: at + 1 }), "data-at": at,
  }, ...tier.map(option))));
  byId("empty").hidden = state.tiers.length > 0;
  const chosen = document.querySelector(".chip.chosen");
  if (chosen) list.setAttribute("aria-activedescendant", chosen.id);
  else list.removeAttribute("aria-activedescendant");
  drawTools();
  for (const answer of document.querySelectorAll(".answer")) {
    const place = Number(answer.dataset.place);
    const at = tierOf(state.tiers, place);
    answer.classList.toggle("ranked", at >= 0);
    answer.classList.toggle("chosen", place === state.chosen);
    const tied = at >= 0 && state.tiers[at].length > 1;
    answer.querySelector(".rank").textContent = at < 0 ? "" : `${tied ? "=" : "#"}${at + 1}`;
  }
  chosen?.scrollIntoView({ block: "nearest" });
}

// The buttons of the chosen answer.
function drawTools() {
  const tools = byId("tools");
  const n = state.chosen === null ? 0 : state.chosen + 1;
  if (!n && tools.contains(document.activeElement)) byId("tiers").focus();
  tools.hidden = !n;
  tools.querySelector(".pick").textContent = n;
  for (const button of tools.querySelectorAll("button")) {
    const { act: name, words } = button.dataset;
    button.dataset.testid = `${name}-${n}`;
    button.title = filled(words, { n });
    button.setAttribute("aria-label", button.title);
  }
}

function draw() {
  if (mode === "rank") drawRanking();
  for (const radio of document.querySelectorAll(".each input"))
    radio.checked = state[radio.dataset.list][radio.dataset.place] === JSON.parse(radio.value);
}

// --- posts

function drawnKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  const reply = await fetch(`${path}?lang=${document.documentElement.lang}`, { method: "POST", headers, body: JSON.stringify(body) });
  return { ok: reply.ok, value: await reply.json() };
}

async function send(path, body, done) {
  if (busy) return;
  busy = true;
  tell("saving");
  try {
    const reply = await post(path, body);
    if (reply.ok) {
      done(reply.value);
      return;
    }
    tell("refused", { reason: reply.value.error });
  } catch {
    tell("offline");
  }
  busy = false;
}

function forget() {
  try { sessionStorage.removeItem(memory); } catch { /* none */ }
  location.reload();
}

// What is asked beside: grades, labels, flags that are ticked, a comment.
function besides() {
  const each = {};
  for (const list of ["grades", "labels"])
    if (state[list].some((value) => value !== null)) each[list] = state[list];
  const flags = [...document.querySelectorAll(".flag:checked")].map((flag) => flag.value);
  const comment = byId("comment")?.value.trim();
  return { ...each, ...(flags.length && { flags }), ...(comment && { comment }) };
}

function answer(given) {
  const value = "skip" in given ? given : { ...given, ...besides() };
  const text = JSON.stringify(value);
  if (text !== posted) {
    key = drawnKey();
    posted = text;
  }
  const spent = seconds + (document.hidden ? 0 : performance.now() - since) / 1000;
  const view = Number(main.dataset.view);
  return send("answer", { view, key, answer: value, seconds: spent }, forget);
}

function submit() {
  if (mode === "rate") {
    const text = byId("number").value.trim().replace(",", ".");
    if (text === "" || !Number.isFinite(Number(text))) return tell("bad_number");
    return answer({ value: Number(text) });
  }
  if (mode !== "rank") return undefined;
  if (state.tiers.flat().length < 2) return tell("few");
  const left = unranked(state);
  if (left && !confirmed) {
    confirmed = true;
    return tell("rest", { left });
  }
  return answer({ tiers: state.tiers });
}

function undo() {
  if (state.past.length) return act({ type: "undo" });
  return send("undo", {}, (reply) => {
    if (reply.undone) return location.reload();
    busy = false;
    return tell("nothing");
  });
}

function digit(number) {
  if (isSkipping()) {
    const reason = document.querySelector(`.reason[data-digit="${number}"] span`);
    return reason && answer({ skip: reason.textContent });
  }
  if (mode === "rank") return number && act({ type: "choose", place: number - 1 });
  if (mode === "pair") {
    if (isOpen("strengths")) return number >= 1 && number <= 3 && answer({ tiers: pair, strength: number });
    const tiers = { 0: [[0, 1]], 1: [[0], [1]], 2: [[1], [0]] }[number];
    if (!tiers || !number || !("strength" in main.dataset)) return tiers && answer({ tiers });
    pair = tiers;
    byId("strengths").hidden = false;
    return byId("strengths").querySelector("button").focus();
  }
  if (mode === "label") return (number === 1 || number === 2) && answer({ value: number === 1 });
  const button = document.querySelector(`.choice[data-digit="${number}"]`);
  return mode === "grade" && button && answer({ value: number });
}

// --- skipping

const isOpen = (id) => Boolean(byId(id)) && !byId(id).hidden;
const isSkipping = () => isOpen("reasons");
let pair = null; // which of two is better, while it is asked by how much

function skip(open) {
  byId("reasons").hidden = !open;
  byId("skip").setAttribute("aria-expanded", open);
  if (open) {
    tell("skipping");
    byId("reasons").querySelector("button").focus();
    byId("reasons").scrollIntoView({ block: "nearest" });
  } else live.textContent = "";
}

// --- grades and labels of each answer

function give(radio) {
  const { list, place, word } = radio.dataset;
  act({ type: "give", list, place: Number(place), value: JSON.parse(radio.value), word });
}

// Goes to the grades, or labels, of the chosen answer; else of the first one that has none.
function goTo(list) {
  const place = state.chosen ?? Math.max(0, state[list].indexOf(null));
  const group = document.querySelectorAll(`.each input[data-list="${list}"][data-place="${place}"]`);
  const radio = [...group].find((each) => each.checked) ?? group[0];
  radio?.focus();
  radio?.scrollIntoView({ block: "nearest" });
}

// A key on a grade or a label: a digit gives it, Backspace takes it away. Returns whether it was one.
function keyOfEach(radio, name) {
  const { list, place } = radio.dataset;
  const group = [...radio.closest(".each").querySelectorAll("input")];
  if (name === "Backspace" || name === "Delete") {
    const checked = group.find((each) => each.checked);
    if (checked) give(checked);
    return true;
  }
  const wanted = list === "grades" ? group.find((each) => each.value === name) : group[name - 1];
  if (!wanted) return /^[0-9]$/.test(name);
  if (!wanted.checked) give(wanted);
  focusRanking(); // the next digit ranks again
  return true;
}

const focusRanking = () => (byId("tiers") ?? main).focus({ preventScroll: true });

// --- keys

document.addEventListener("keydown", (event) => {
  if (event.isComposing || event.keyCode === 229) return; // Enter ends a word of an input method
  const isArrow = event.key.startsWith("Arrow");
  if (event.ctrlKey || event.metaKey || (event.altKey && !isArrow)) return;
  const isTyping = event.target.matches("input:not([type]), textarea");
  if (isTyping && event.key !== "Enter") return;
  const radio = event.target.matches(".each input") ? event.target : null;
  if (radio && isArrow) return; // they go to its neighbours
  const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const isButton = event.target.matches("button, a");
  if (mode === "done") {
    if (name === "u") undo();
    return;
  }
  const actions = {
    ArrowUp: () => act({ type: event.shiftKey ? "before" : "up" }),
    ArrowDown: () => act({ type: event.shiftKey ? "after" : "down" }),
    Home: () => act({ type: "first" }),
    End: () => act({ type: "last" }),
    g: () => goTo("grades"),
    l: () => goTo("labels"),
    t: () => act({ type: "tie" }),
    Backspace: () => act({ type: "take" }),
    Delete: () => act({ type: "take" }),
    s: () => skip(true),
    u: undo,
    Escape: () => {
      if (isSkipping()) skip(false);
      if (isOpen("strengths")) byId("strengths").hidden = true;
    },
    Enter: () => submit(),
  };
  if (radio && !isSkipping() && keyOfEach(radio, name)) { /* given */ }
  else if (/^[0-9]$/.test(name)) digit(Number(name));
  else if (name === "Enter" && isButton) return; // it presses the button
  else if (/^Arrow|Home|End/.test(name) && mode !== "rank") return; // they scroll
  else if (/Left|Right/.test(name)) return;
  else if (actions[name]) actions[name]();
  else return;
  event.preventDefault();
});

// --- taps

let isByPointer = false; // arrows within a group of boxes click them too
document.addEventListener("pointerdown", () => { isByPointer = true; }, { capture: true });
document.addEventListener("keydown", () => { isByPointer = false; }, { capture: true });

document.addEventListener("click", (event) => {
  if (event.target.matches(".each input")) {
    give(event.target);
    if (isByPointer) focusRanking(); // the next digit ranks; it does not change this grade
    return;
  }
  const button = event.target.closest("button, .chip");
  if (!button) return;
  // after a tap, Enter submits; it does not press the same button again
  if (event.detail > 0 && !button.matches(".chip")) button.blur();
  const place = Number(button.dataset.place);
  const actions = { submit, undo, skip: () => skip(!isSkipping()), cancel: () => skip(false),
    tie: () => act({ type: "tie" }) };
  if (actions[button.id]) actions[button.id]();
  else if (button.dataset.digit) digit(Number(button.dataset.digit));
  else if (button.dataset.act) act({ type: button.dataset.act });
  else if (button.matches(".number") && mode === "pair") digit(place + 1);
  else if (button.matches(".number, .chip")) act({ type: "choose", place });
});

// --- drags

let drag = null; // { place, x, y, ghost, target }

document.addEventListener("pointerdown", (event) => {
  const from = event.target.closest(".chip, .answer .head");
  if (mode !== "rank" || event.button || !from) return;
  const holder = from.closest("[data-place]");
  drag = { place: Number(holder.dataset.place), x: event.clientX, y: event.clientY, target: null };
});

document.addEventListener("pointermove", (event) => {
  if (!drag) return;
  if (!drag.ghost) {
    if (Math.hypot(event.clientX - drag.x, event.clientY - drag.y) < 6) return;
    drag.ghost = element("div", { class: "ghost" }, String(drag.place + 1));
    document.body.append(drag.ghost);
    document.body.classList.add("dragging");
  }
  event.preventDefault();
  drag.ghost.style.transform = `translate(${event.clientX}px, ${event.clientY}px)`;
  mark(drag.target = targetAt(event.clientX, event.clientY));
});

// Where a drop would go: onto a tier (its middle half), or into the gap above or below it.
function targetAt(x, y) {
  const board = document.querySelector(".board").getBoundingClientRect();
  if (x < board.left || x > board.right || y < board.top || y > board.bottom) return null;
  const rows = [...document.querySelectorAll(".tier")];
  for (const [at, row] of rows.entries()) {
    const box = row.getBoundingClientRect();
    const share = (y - box.top) / box.height;
    if (share < 0.25) return { at, onto: false };
    if (share < 0.75) return { at, onto: true };
  }
  return { at: rows.length, onto: false };
}

function mark(target) {
  for (const row of document.querySelectorAll(".tier")) {
    const at = Number(row.dataset.at);
    row.classList.toggle("onto", Boolean(target?.onto && target.at === at));
    row.classList.toggle("before", Boolean(target && !target.onto && target.at === at));
    const isLast = at === state.tiers.length - 1;
    row.classList.toggle("after", Boolean(target && !target.onto && isLast && target.at > at));
  }
  document.querySelector(".board").classList.toggle("over", Boolean(target));
}

function endDrag(event) {
  const done = drag;
  drag = null;
  if (!done?.ghost) return;
  done.ghost.remove();
  document.body.classList.remove("dragging");
  mark(null);
  document.activeElement?.blur(); // Enter submits; it does not press what was dragged
  // the click that follows a drag is no tap
  addEventListener("click", (click) => click.stopPropagation(), { capture: true, once: true });
  setTimeout(() => dispatchEvent(new Event("click")), 0);
  if (event.type === "pointerup" && done.target) act({ type: "drop", place: done.place, ...done.target });
}
document.addEventListener("pointerup", endDrag);
document.addEventListener("pointercancel", endDrag);

document.addEventListener("visibilitychange", () => {
  if (document.hidden) seconds += (performance.now() - since) / 1000;
  else since = performance.now();
});

for (const box of document.querySelectorAll(".flag")) box.checked = Boolean(earlier?.flags?.includes(box.value));
if (byId("comment")) byId("comment").value = earlier?.comment ?? "";
draw();
if (mode !== "done") (byId("number") || main).focus({ preventScroll: true });
