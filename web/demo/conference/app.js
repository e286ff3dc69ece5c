// A conference: everyone in a grid, or the speaker large; screens take the large place; and the mixed stream.
import { $, h, icon, avatar, entrance, Bar, face, bars, hint } from '../kit.js';
import { Mix } from './mix.js';

const holdSpeaker = 1500; // ms: who speaks now stays large through a breath

/** One picture in the page: a user's camera or screen. */
class Tile {
  constructor(room, user, source, picked) {
    Object.assign(this, { room, user, source });
    this.own = user === room.me;
    this.video = h('video', { playsinline: true });
    this.note = h('span', { class: 'muted', hidden: true }, icon('mic-off'), h('span', { class: 'sr' }, 'muted'));
    this.bars = h('span', { class: 'bars', hidden: true }, h('i'), h('i'), h('i'));
    const name = source === 'camera' ? user.id + (this.own ? ' (you)' : '') : `${user.id}'s screen`;
    this.element = h('figure', { class: `tile${this.own && source === 'camera' ? ' own' : ''}`, tabindex: 0, role: 'button', 'aria-label': `${name}: show large` },
      this.video, source === 'camera' ? h('div', { class: 'face' }, avatar(user.id)) : null, h('figcaption', {}, this.note, name, this.bars));
    this.element.addEventListener('click', picked);
    this.element.addEventListener('keydown', (event) => { if (event.key === 'Enter' || event.key === ' ') { event.preventDefault(); picked(); } });
    if (!this.own) this.detach = room.attach(this.video, user.id, source);
  }

  get key() { return `${this.user.id}/${this.source}`; }

  show() {
    const of = this.own ? this.room.tracks : this.user.sources;
    const picture = of.get(this.source);
    const microphone = of.get('microphone');
    if (this.own && picture && this.shown !== picture) {
      this.shown = picture;
      this.detach = picture.attach(this.video);
    }
    this.element.classList.toggle('off', !picture || picture.muted);
    this.note.hidden = this.source !== 'camera' || !!microphone && !microphone.muted;
    bars(this.bars, this.user.quality);
  }

  remove() {
    this.detach?.();
    this.element.remove();
  }
}

entrance((room) => {
  const tiles = new Map();
  let view = 'grid';
  let picked = ''; // the tile that the user made large
  let speaking = { id: '', since: 0 };
  const bar = new Bar(room, { onchange: show });
  const mix = new Mix(room);
  face($('leave'), 'end', 'Leave');

  /** Who has a tile: everyone a camera's, and each screen its own. */
  function wanted() {
    const list = [];
    for (const u of [room.me, ...room.users.values()]) {
      const of = u === room.me ? room.tracks : u.sources;
      if (of.has('shareScreen')) list.push([u, 'shareScreen']);
      if (u === room.me ? u.role === 'streamer' : true) list.push([u, 'camera']);
    }
    return list;
  }

  function show() {
    const list = wanted();
    const keys = new Set(list.map(([u, source]) => `${u.id}/${source}`));
    for (const [key, tile] of tiles) {
      if (keys.has(key) && tile.user === (tile.own ? room.me : room.users.get(tile.user.id))) continue;
      tile.remove();
      tiles.delete(key);
    }
    for (const [u, source] of list) {
      const key = `${u.id}/${source}`;
      if (!tiles.has(key)) tiles.set(key, new Tile(room, u, source, () => pick(key)));
      const tile = tiles.get(key);
      if (!tile.element.isConnected) $('tiles').append(tile.element);
      tile.show();
    }
    arrange();
    mix.follow();
  }

  function pick(key) {
    picked = picked === key && view === 'speaker' ? '' : key;
    view = 'speaker';
    arrange();
  }

  /** The large tile: picked by hand, else the newest screen, else who speaks, else the first of the others. */
  function arrange() {
    if (!tiles.has(picked)) picked = '';
    const screens = [...tiles.values()].filter((t) => t.source === 'shareScreen');
    const others = [...tiles.values()].filter((t) => !t.own);
    const large = tiles.get(picked) ?? screens.at(-1) ?? tiles.get(`${speaking.id}/camera`) ?? others[0] ?? [...tiles.values()][0];
    const speaker = view === 'speaker' || screens.length > 0;
    $('tiles').className = speaker ? 'large' : 'grid';
    $('tiles').style.setProperty('--columns', Math.ceil(Math.sqrt(tiles.size)));
    for (const tile of tiles.values()) tile.element.classList.toggle('first', speaker && tile === large);
    face($('view'), view === 'speaker' ? 'grid' : 'speaker', view === 'speaker' ? 'Grid' : 'Speaker');
    face($('mixed-view'), 'mix', $('mix').hidden ? 'Mixed stream' : 'Hide mix', !$('mix').hidden);
  }

  $('view').onclick = () => {
    view = view === 'speaker' ? 'grid' : 'speaker';
    picked = '';
    arrange();
  };
  $('mixed-view').onclick = () => {
    $('mix').hidden = !$('mix').hidden;
    mix.show();
    arrange();
    if (!$('mix').hidden) $('mix').scrollIntoView({ behavior: 'smooth' });
  };

  for (const type of ['joined', 'left', 'published', 'unpublished', 'muted', 'role']) room.on(type, show);
  room.on('levels', ({ levels, speakers }) => {
    for (const tile of tiles.values()) tile.element.classList.toggle('talking', tile.source === 'camera' && speakers.includes(tile.user.id));
    const now = performance.now();
    const loudest = speakers.find((id) => id !== room.me.id);
    if (speakers.includes(speaking.id)) speaking.since = now;
    if (loudest && loudest !== speaking.id && now - speaking.since > holdSpeaker) {
      speaking = { id: loudest, since: now };
      arrange();
    }
  });
  room.on('quality', () => {
    for (const tile of tiles.values()) if (!tile.own) bars(tile.bars, tile.user.quality);
    const text = hint(room.me.quality, 'Your');
    $('state').textContent = text;
    $('state').hidden = !text;
  });
  room.on('end', () => {
    for (const tile of tiles.values()) tile.remove();
    mix.close();
  });

  bar.show();
  bar.start();
});
