// The arithmetic of a layout: presets, moving, resizing, snapping. Everything is in shares of the canvas; pure functions.

const round = (v) => Math.round(v * 1e4) / 1e4;
export const clamp = (v, low, high) => Math.min(high, Math.max(low, v));
export const smallest = 0.04;

/** A pane with its numbers rounded and inside the canvas. */
export function tidy(pane) {
  const width = clamp(round(pane.width), smallest, 1);
  const height = clamp(round(pane.height), smallest, 1);
  return { ...pane, width, height, x: round(clamp(pane.x, 0, 1 - width)), y: round(clamp(pane.y, 0, 1 - height)) };
}

const boxes = (list) => list.map(([x, y, width, height], n) => ({ x, y, width, height, z_order: n ? 1 : 0 }));

/** Rectangles for n people, 1 or more; the first is the most important one. */
export const presets = {
  one: () => boxes([[0, 0, 1, 1]]),
  side: (n) => {
    const w = 1 / n;
    return boxes(Array.from({ length: n }, (_, i) => [i * w, (1 - w) / 2, w, w]));
  },
  grid: (n) => {
    const columns = Math.ceil(Math.sqrt(n));
    const rows = Math.ceil(n / columns);
    return boxes(Array.from({ length: n }, (_, i) => {
      const inRow = Math.min(columns, n - Math.floor(i / columns) * columns);
      return [(i % columns) / columns + (columns - inRow) / columns / 2, Math.floor(i / columns) / rows, 1 / columns, 1 / rows];
    }));
  },
  speaker: (n) => {
    if (n === 1) return presets.one();
    const h = 1 / Math.max(4, n - 1);
    return boxes([[0, 0, 0.75, 1], ...Array.from({ length: n - 1 }, (_, i) => [0.75, i * h, 0.25, h])]);
  },
  corner: (n) => {
    const w = 0.24;
    return boxes([[0, 0, 1, 1], ...Array.from({ length: Math.min(n - 1, 4) }, (_, i) => [1 - w - 0.02 - i * (w + 0.01), 1 - w - 0.03, w, w])])
      .map((b, i) => ({ ...b, z_order: i }));
  },
};

/** Puts who is in the panes now, then the others, into a preset. */
export function arrange(name, panes, seats) {
  const key = (s) => `${s.user}/${s.source}`;
  const seated = panes.filter((p) => p.user).map(({ user, source, crop }) => ({ user, source, crop }));
  const rest = seats.filter((s) => !seated.some((p) => key(p) === key(s)));
  const who = [...seated, ...rest];
  const free = panes.length - seated.length;
  const n = clamp(name === 'one' ? 1 : Math.max(who.length, who.length ? 0 : free, 1), 1, 16);
  return presets[name](n).map((box, i) => tidy({ crop: who[i]?.source !== 'shareScreen', ...box, ...who[i] }));
}

const near = 0.012;
const steps = 24; // of the grid, in each direction

/** The lines that a pane's edges may snap to: the canvas, its middle, and the edges of the others. */
function lines(others, start, length) {
  return [0, 0.5, 1, ...others.flatMap((o) => [o[start], o[start] + o[length]])];
}

function closest(value, candidates) {
  let best = Math.round(value * steps) / steps;
  let distance = near * 0.6; // the grid holds less than an edge
  if (Math.abs(best - value) > distance) best = value;
  distance = near;
  for (const c of candidates) {
    if (Math.abs(c - value) < distance) {
      best = c;
      distance = Math.abs(c - value);
    }
  }
  return best;
}

/** Moves a pane by dx, dy from where it was; with snap, its left or right and upper or lower edge catches. */
export function moved(pane, dx, dy, others, snap) {
  const along = (start, length, by) => {
    const at = pane[start] + by;
    if (!snap) return at;
    const candidates = lines(others, start, length);
    const low = closest(at, candidates);
    const high = closest(at + pane[length], candidates) - pane[length];
    const middle = Math.abs(at + pane[length] / 2 - 0.5) < near ? 0.5 - pane[length] / 2 : at;
    return [low, high, middle].sort((a, b) => distance(a, at) - distance(b, at))[0];
  };
  return tidy({ ...pane, x: along('x', 'width', dx), y: along('y', 'height', dy) });
}

const distance = (to, from) => to === from ? 1 : Math.abs(to - from); // one that caught, rather than none

/** Moves the edges that a handle names (n, e, s, w and pairs of them). */
export function resized(pane, handle, dx, dy, others, snap) {
  let { x, y, width, height } = pane;
  const edge = (value, start, length) => clamp(snap ? closest(value, lines(others, start, length)) : value, 0, 1);
  if (handle.includes('e')) width = Math.max(smallest, edge(x + width + dx, 'x', 'width') - x);
  if (handle.includes('s')) height = Math.max(smallest, edge(y + height + dy, 'y', 'height') - y);
  if (handle.includes('w')) {
    const left = Math.min(edge(x + dx, 'x', 'width'), x + width - smallest);
    width += x - left;
    x = left;
  }
  if (handle.includes('n')) {
    const top = Math.min(edge(y + dy, 'y', 'height'), y + height - smallest);
    height += y - top;
    y = top;
  }
  return tidy({ ...pane, x, y, width, height });
}

/** Puts a pane in front of all others, or behind them, and keeps z_order from 0 to 99. */
export function restack(panes, index, front) {
  const order = panes.map((p, i) => [p.z_order, i]).sort((a, b) => a[0] - b[0] || a[1] - b[1]).map(([, i]) => i).filter((i) => i !== index);
  if (front) order.push(index);
  else order.unshift(index);
  return panes.map((p, i) => ({ ...p, z_order: order.indexOf(i) }));
}
