// How pages get what they show.
import { useEffect, useRef, useState, useCallback } from './preact.js';

/**
 * Loads something when the page opens, when deps change, and on reload(). What was shown stays while it is read anew; what
 * belongs to earlier deps does not.
 * @param {(signal: AbortSignal) => Promise<any>} read
 * @param {any[]} deps
 * @param {{every?: number}} options every: ms after which it is read again, while the page can be seen
 */
export function useLoad(read, deps, { every = 0 } = {}) {
  const key = JSON.stringify(deps);
  const [state, setState] = useState({ key, data: undefined, error: null, loading: true });
  const running = useRef(null);
  const latest = useRef(read);
  latest.current = read;

  const reload = useCallback(async () => {
    running.current?.abort();
    const mine = running.current = new AbortController();
    setState((s) => ({ ...s, loading: true }));
    try {
      const data = await latest.current(mine.signal);
      if (!mine.signal.aborted) setState({ key, data, error: null, loading: false });
    } catch (error) {
      if (!mine.signal.aborted) setState((s) => ({ key, data: s.key === key ? s.data : undefined, error, loading: false }));
    }
  }, [key]);

  useEffect(() => {
    reload();
    const timer = every && setInterval(() => document.hidden || reload(), every);
    return () => {
      clearInterval(timer);
      running.current?.abort();
    };
  }, [key, every]);
  const mine = state.key === key;
  return { data: mine ? state.data : undefined, error: mine ? state.error : null, loading: state.loading || !mine, reload };
}

/**
 * A list that is read page by page: what useLoad gives, with { items, next } as data, and more(), which reads one page more.
 * @param {(cursor: string, signal: AbortSignal) => Promise<{items: any[], next?: string}>} read
 */
export function usePages(read, deps) {
  const of = JSON.stringify(deps);
  const [more, setMore] = useState({ of, pages: 1 });
  const pages = more.of === of ? more.pages : 1;
  const load = useLoad(async (signal) => {
    const items = [];
    let cursor = '';
    for (let n = 0; n < pages; n++) {
      const page = await read(cursor, signal);
      items.push(...page.items);
      cursor = page.next ?? '';
      if (!cursor) break;
    }
    return { items, next: cursor };
  }, [of, pages]);
  return { ...load, more: () => setMore({ of, pages: pages + 1 }) };
}

/** Runs one action at a time and keeps its failure: [run, busy, problem, clear]. */
export function useAction(work) {
  const [state, setState] = useState({ busy: false, problem: null });
  const alive = useRef(true);
  useEffect(() => () => { alive.current = false; }, []);
  const run = async (...args) => {
    if (state.busy) return undefined;
    setState({ busy: true, problem: null });
    try {
      const result = await work(...args);
      if (alive.current) setState({ busy: false, problem: null });
      return result;
    } catch (problem) {
      if (alive.current) setState({ busy: false, problem });
      return undefined;
    }
  };
  return [run, state.busy, state.problem, () => setState({ busy: false, problem: null })];
}

/** The part of the address after #, as segments, with its query. */
export function useRoute() {
  const [route, setRoute] = useState(readRoute);
  useEffect(() => {
    const changed = () => setRoute(readRoute());
    addEventListener('hashchange', changed);
    return () => removeEventListener('hashchange', changed);
  }, []);
  return route;
}

function readRoute() {
  const [way, query = ''] = location.hash.replace(/^#\/?/, '').split('?');
  const decode = (part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  };
  return { parts: way.split('/').filter(Boolean).map(decode), query: new URLSearchParams(query) };
}

/** The address of a page: to('applications', app, 'relay'). */
export const to = (...parts) => '#/' + parts.map(encodeURIComponent).join('/');
export const go = (...parts) => { location.hash = to(...parts); };

/**
 * Gives the page the focus when something changes that takes away what had it.
 * @param {any} now undefined: not known yet
 * @param {() => void} first is done before
 */
export function useRefocus(now, first) {
  const before = useRef(now);
  useEffect(() => {
    const known = before.current !== undefined;
    if (before.current === now) return;
    before.current = now;
    if (!known) return;
    first?.();
    document.querySelector('#main')?.focus({ preventScroll: true });
  }, [now]);
}
