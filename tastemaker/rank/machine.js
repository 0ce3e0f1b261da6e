// The state of one ranking and what each action makes of it. Pure: nothing here touches the page.
//
// state: tiers (best first, each a list of places), chosen (a place or null), past (earlier
// states), message ([name, values] of what happened). Keyboard, taps and drags all come here.

export const begin = (count, tiers = []) =>
  ({ count, tiers, chosen: null, past: [], message: null });

const without = (tiers, place) =>
  tiers.map((tier) => tier.filter((each) => each !== place)).filter((tier) => tier.length);

export const tierOf = (tiers, place) => tiers.findIndex((tier) => tier.includes(place));

export const unranked = (state) => state.count - state.tiers.flat().length;

// The state after a change that can be taken back.
function changed(state, tiers, chosen, name) {
  const past = [...state.past, { tiers: state.tiers, chosen: state.chosen }];
  const next = { ...state, tiers, chosen, past };
  return { ...next, message: [name, values(next, chosen)] };
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
    return changed(state, [...state.tiers, [place]], place, "placed");
  const next = { ...state, chosen: place };
  return saying(next, "chosen", values(next, place));
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
  return changed(state, tiers, place, "moved");
}

// Ties an answer with the tier above (the first one with that below), or ends its tie.
function tie(state, given) {
  const place = given ?? state.chosen;
  if (place === null) return saying(state, "none");
  const at = tierOf(state.tiers, place);
  const tiers = without(state.tiers, place);
  if (state.tiers[at].length > 1) {
    tiers.splice(at + 1, 0, [place]);
    return changed(state, tiers, place, "parted");
  }
  if (!tiers.length) return saying(state, "alone");
  const to = Math.max(0, at - 1);
  tiers[to] = [...tiers[to], place];
  return changed(state, tiers, place, "tied");
}

function take(state, given) {
  const place = given ?? state.chosen;
  if (place === null) return saying(state, "none");
  const next = changed(state, without(state.tiers, place), null, "taken");
  return saying(next, "taken", { n: place + 1 });
}

// Puts an answer into a gap (a tier of its own before tier `at`) or onto tier `at` (a tie).
function drop(state, place, at, onto) {
  const target = onto ? state.tiers[at][0] : null;
  if (target === place && state.tiers[at].length === 1) return state;
  const before = state.tiers.slice(0, at).filter((tier) => tier.some((each) => each !== place));
  const tiers = without(state.tiers, place);
  if (!onto) {
    tiers.splice(before.length, 0, [place]);
    return changed(state, tiers, place, tierOf(state.tiers, place) < 0 ? "placed" : "moved");
  }
  tiers[before.length] = [...tiers[before.length], place];
  return changed(state, tiers, place, "tied");
}

function undo(state) {
  const last = state.past.at(-1);
  if (!last) return state;
  return saying({ ...state, ...last, past: state.past.slice(0, -1) }, "undone");
}

export function step(state, action) {
  switch (action.type) {
    case "choose": return choose(state, action.place);
    case "up": return move(pick(state, action.place), -1);
    case "down": return move(pick(state, action.place), 1);
    case "tie": return tie(state, action.place);
    case "take": return take(state, action.place);
    case "drop": return drop(state, action.place, action.at, action.onto);
    case "undo": return undo(state);
    default: return state;
  }
}

const pick = (state, place) => (place === undefined ? state : { ...state, chosen: place });
