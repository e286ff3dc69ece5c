// What happens now in an application's channels: server-sent events of GET /v1/live, and where a browser cannot have them (an
// admin token in place of a session) the lists of the REST API every two seconds.
import { useEffect, useState } from './preact.js';
import { bearer, list, path } from './api.js';

/**
 * @returns {{channels: object[], tasks: object[], way: 'opening'|'live'|'polling'|'lost', error: Error|null}} tasks have urls
 * with their states; in polling, users have no levels, bit rates and quality.
 */
export function useLive(app, channel = '') {
  const [state, setState] = useState({ channels: [], tasks: [], way: 'opening', error: null, of: '' });
  const of = `${app}/${channel}`;
  useEffect(() => {
    const show = (change) => setState((s) => ({ ...(s.of === of ? s : { channels: [], tasks: [], way: 'opening', error: null }), of, ...change }));
    return bearer() ? poll(app, channel, show) : listen(app, channel, show);
  }, [of]);
  return state.of === of ? state : { channels: [], tasks: [], way: 'opening', error: null };
}

const again = 30_000; // ms until events are tried anew where lists stood in for them

function listen(app, channel, show) {
  let source;
  let timer;
  let polling = null; // ends the lists that stand in for events
  const end = () => {
    clearTimeout(timer);
    source.close();
    polling?.();
    polling = null;
  };
  const open = () => {
    const world = new World();
    let failed = 0;
    source = new EventSource(`/v1/live?${new URLSearchParams(channel ? { app, channel } : { app })}`);
    const on = (type, take) => source.addEventListener(type, (event) => {
      polling?.();
      polling = null;
      take.call(world, JSON.parse(event.data));
      failed = 0;
      show({ channels: world.channels(), tasks: world.tasks(), way: 'live', error: null });
    });
    on('snapshot', world.snapshot);
    on('change', world.change);
    on('levels', world.levels);
    source.onerror = () => {
      if (!polling) show({ way: 'lost' });
      if (source.readyState !== EventSource.CLOSED && ++failed <= 3) return;
      source.close(); // refused: an older server, or too many readers; or it is away for long
      polling ??= poll(app, channel, show);
      timer = setTimeout(open, again);
    };
  };
  open();
  return end;
}

/** The newest state, put together from what came. */
class World {
  rooms = new Map();
  work = new Map();

  snapshot({ channels, tasks }) {
    this.rooms = new Map(channels.map((c) => [c.id, c]));
    this.work = new Map(tasks.map((t) => [t.id, t]));
  }

  change({ channels = [], gone_channels = [], tasks = [], gone_tasks = [] }) {
    for (const { id } of gone_channels) this.rooms.delete(id);
    for (const { id } of gone_tasks) this.work.delete(id);
    for (const t of tasks) this.work.set(t.id, t);
    for (const c of channels) this.rooms.set(c.id, merged(this.rooms.get(c.id), c));
  }

  levels({ channels }) {
    for (const { id, levels, speakers } of channels) {
      const room = this.rooms.get(id);
      if (room) this.rooms.set(id, { ...room, levels, speakers });
    }
  }

  channels() { return [...this.rooms.values()].sort((a, b) => a.id < b.id ? -1 : 1); }
  tasks() { return [...this.work.values()].sort((a, b) => a.created < b.created ? -1 : a.created > b.created ? 1 : a.id < b.id ? -1 : 1); }
}

/** A channel with those of its users who changed. */
function merged(before, { users = [], gone = [], joined, ...rest }) {
  const all = new Map((before?.users ?? []).map((u) => [u.id, u]));
  for (const id of gone) all.delete(id);
  for (const u of users) all.set(u.id, u);
  let order = [...all.values()];
  if (Array.isArray(joined)) order = joined.map((id) => all.get(id)).filter(Boolean);
  return { ...before, ...rest, users: order };
}

function poll(app, channel, show) {
  const stop = new AbortController();
  const once = async () => {
    if (document.hidden) return;
    try {
      const [channels, tasks] = await Promise.all(['channels', 'tasks'].map((what) => list(path('applications', app, what), { signal: stop.signal })));
      const mine = (id) => !channel || id === channel;
      show({
        channels: channels.filter((c) => mine(c.id)).map((c) => ({ ...c, users: c.users.map(asLive) })),
        tasks: tasks.filter((t) => mine(t.channel)).map((t) => ({ ...t, urls: t.destinations ?? t.urls.map((url) => ({ url })) })),
        way: 'polling', error: null,
      });
    } catch (error) {
      if (!stop.signal.aborted) show({ way: 'lost', error });
    }
  };
  once();
  const timer = setInterval(once, 2000);
  return () => {
    clearInterval(timer);
    stop.abort();
  };
}

/** A user of the REST API in the form of a live one. */
function asLive(user) {
  const { audio, video, screen, screen_audio: shareAudio } = user.codecs;
  const tracks = Object.entries({ microphone: audio, camera: video, shareScreen: screen, shareAudio });
  return { ...user, tracks: tracks.filter(([, codec]) => codec).map(([source, codec]) => ({ source, codec })) };
}
