// The state of one answer and what each action makes of it. Pure: nothing here touches the page.
//
// state: tiers (best first, each a list of places), grades and labels (one of each place, or null),
// chosen (a place or null), past (earlier states), message ([name, values] of what happened).
// Keyboard, taps and drags all come here.

const nothing = (count) => Array.from({ length: count }, () => null);

// The state of a view. earlier: an answer to begin with.
export const begin = (count, earlier) => ({
  count, tiers: earlier?.tiers ?? [], grades: earlier?.grades ?? nothing(count),
  labels: earlier?.labels ?? nothing(count), chosen: null, past: [], message: null,
});

// What a judge has said so far.
export const content = ({ tiers, grades, labels }) => ({ tiers, grades, labels });

const without = (tiers, place) =>
  tiers.map((tier) => tier.filter((each) => each !== place)).filter((tier) => tier.length);

export const tierOf = (tiers, place) => tiers.findIndex((tier) => tier.includes(place));

export const unranked = (state) => state.count - state.tiers.flat().length;

// The state after a change that can be taken back. extra: more values for the message.
function changed(state, change, name, extra) {
  const past = [...state.past, { ...content(state), chosen: state.chosen }];
  const next = { ...state, ...change, past };
  return saying(next, name, { ...values(next, next.chosen), ...extra });
}

function values(state, place) {
  const tier = tierOf(state.tiers, place);
  return { n: place + 1, place: tier + 1, of: state.tiers.length, left: unranked(state) };
}

const saying = (state, name, extra = {}) => ({ ...state, message: [name, extra] });

// The first choice of an answer ranks it next; a later one only chooses it.
function choose(state, place) {
  if (place < 0 || place >= state.count) return state;
  if (tierOf(state.tiers, place) < 0)
    return changed(state, { tiers: [...state.tiers, [place]], chosen: place }, "placed");
  const next = { ...state, chosen: place };
  return saying(next, "chosen", values(next, place));
}

// Chooses the ranked answer that stands so many further on; the first one where none is chosen.
function walk(state, by) {
  const order = state.tiers.flat();
  if (!order.length) return saying(state, "none");
  const at = state.chosen === null ? 0 : order.indexOf(state.chosen) + by;
  return choose(state, order[Math.min(Math.max(at, 0), order.length - 1)]);
}

// A tied answer leaves its tier; one that stands alone changes places with its neighbour.
function move(state, step) {
  const place = state.chosen;
  if (place === null) return saying(state, "none");
  const at = tierOf(state.tiers, place);
  const tiers = without(state.tiers, place);
  const isAlone = state.tiers[at].length === 1;
  const to = isAlone ? at + step : at + (step > 0 ? 1 : 0);
  if (to < 0 || to > tiers.length) return saying(state, "edge", values(state, place));
  tiers.splice(to, 0, [place]);
  return changed(state, { tiers }, "moved");
}

// Ties an answer with the tier above (the first one with that below), or ends its tie.
function tie(state) {
  const place = state.chosen;
  if (place === null) return saying(state, "none");
  const at = tierOf(state.tiers, place);
  const tiers = without(state.tiers, place);
  if (state.tiers[at].length > 1) {
    tiers.splice(at + 1, 0, [place]);
    return changed(state, { tiers }, "parted");
  }
  if (!tiers.length) return saying(state, "alone");
  const to = Math.max(0, at - 1);
  tiers[to] = [...tiers[to], place];
  return changed(state, { tiers }, "tied");
}

function take(state) {
  const place = state.chosen;
  if (place === null) return saying(state, "none");
  const tiers = without(state.tiers, place);
  return changed(state, { tiers, chosen: null }, "taken", { n: place + 1 });
}

// Puts an answer into a gap (a tier of its own before tier `at`) or onto tier `at` (a tie).
function drop(state, { place, at, onto }) {
  const target = onto ? state.tiers[at][0] : null;
  if (target === place && state.tiers[at].length === 1) return state;
  const before = state.tiers.slice(0, at).filter((tier) => tier.some((each) => each !== place));
  const tiers = without(state.tiers, place);
  const isNew = tierOf(state.tiers, place) < 0;
  if (!onto) {
    tiers.splice(before.length, 0, [place]);
    return changed(state, { tiers, chosen: place }, isNew ? "placed" : "moved");
  }
  tiers[before.length] = [...tiers[before.length], place];
  return changed(state, { tiers, chosen: place }, "tied");
}

// Gives an answer a grade or a label; the same one once more takes it away.
function give(state, { list, place, value, word }) {
  const isSame = state[list][place] === value;
  const given = state[list].map((each, at) => (at === place ? (isSame ? null : value) : each));
  const extra = { n: place + 1, value: word };
  return changed(state, { [list]: given }, isSame || value === null ? "emptied" : "given", extra);
}

function undo(state) {
  const last = state.past.at(-1);
  if (!last) return state;
  return saying({ ...state, ...last, past: state.past.slice(0, -1) }, "undone");
}

export function step(state, action) {
  switch (action.type) {
    case "choose": return choose(state, action.place);
    case "before": return walk(state, -1);
    case "after": return walk(state, 1);
    case "first": return walk(state, -state.count);
    case "last": return walk(state, state.count);
    case "up": return move(state, -1);
    case "down": return move(state, 1);
    case "tie": return tie(state);
    case "take": return take(state);
    case "drop": return drop(state, action);
    case "give": return give(state, action);
    case "undo": return undo(state);
    default: return state;
  }
}
