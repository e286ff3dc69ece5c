// What the call, voice and conference pages share: joining through the demo's backend, buttons, the device dialog, and
// words for what happens.
import { join, devices, BraidError } from '/sdk/braid.js';
import { fill, keep } from './who.js';

export const $ = (id) => document.getElementById(id);
export const query = new URLSearchParams(location.search);

/** Makes an element: h('button', { class: 'x', onclick }, 'text', child …). */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null) element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.filter((c) => c !== null && c !== undefined));
  return element;
}

export function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS(svg.namespaceURI, 'use');
  use.setAttribute('href', `/demo/icons.svg#${name}`);
  svg.append(use);
  return svg;
}

/** Gives a button of the bar its icon, its words and its state. */
export function face(button, name, text, pressed) {
  if (button.dataset.face === name + text) return;
  button.dataset.face = name + text;
  button.replaceChildren(icon(name), h('span', {}, text));
  if (pressed !== undefined) button.setAttribute('aria-pressed', pressed);
}

/** A round picture of a name: its first letter on a colour of its own. */
export function avatar(name) {
  let hue = 0;
  for (const c of name) hue = (hue * 31 + c.codePointAt(0)) % 360;
  const element = h('span', { class: 'avatar', 'aria-hidden': 'true' }, name.slice(0, 1).toUpperCase());
  element.style.setProperty('--hue', hue);
  return element;
}

export function problem(text) {
  $('problem').textContent = text;
  $('problem').hidden = !text;
}

/** An error in words for people. */
export function words(error) {
  if (!(error instanceof BraidError) || error.code !== 'device') return error.message;
  switch (error.field) {
    case 'insecure': return 'Browsers give camera and microphone only to pages from https or from localhost. You can watch and listen here.';
    case 'NotAllowedError': return `${capital(error.message)}: the browser blocks it. Allow it in the address bar, then try again.`;
    default: return `${capital(error.message)}.`;
  }
}

const capital = (text) => text[0].toUpperCase() + text.slice(1);

/**
 * Makes the page's join form work: asks the demo's backend for a token, as a product's page asks its own, and joins.
 * @param {(room: import('/sdk/braid.js').Room, form: FormData) => void} entered
 * @param {(form: FormData) => object} options for join
 */
export function entrance(entered, options = () => ({})) {
  const form = $('join');
  const given = new URLSearchParams(location.hash.slice(1)).get('token'); // the console's: it is good for what the address names
  if (given) history.replaceState(history.state, '', location.pathname + location.search);
  fill(form);
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    problem('');
    const fields = new FormData(form);
    const button = form.querySelector('button');
    button.disabled = true;
    try {
      const token = given ?? (() => ask('/demo/join', { channel: fields.get('channel'), user: fields.get('user') }).then((a) => a.token));
      const room = await join({ token, url: new URL('/v1/rtc', location.href), ...options(fields) });
      keep(room.me.id, room.channel);
      form.hidden = true;
      $('room').hidden = false;
      document.body.classList.add('inside');
      $('where').textContent = `${room.me.id} in ${room.channel}`;
      window.room = room; // to play with in the browser's console
      follow(room);
      entered(room, fields);
    } catch (error) {
      problem(words(error));
    } finally {
      button.disabled = false;
    }
  });
  if (query.has('join') || given) form.requestSubmit();
}

/** Asks the demo's backend; json makes it a POST. */
export async function ask(path, json, method = json ? 'POST' : 'GET') {
  const response = await fetch(path, { method, body: json && JSON.stringify(json), headers: json && { 'Content-Type': 'application/json' } });
  const text = await response.text();
  if (!response.ok) {
    let detail = text;
    try {
      detail = JSON.parse(text).detail ?? text;
    } catch { /* not problem+json: the text itself has to do */ }
    throw new Error(detail.slice(0, 300) || `The server answered ${response.status}.`);
  }
  return text && JSON.parse(text);
}

const endings = {
  left: 'You have left.',
  replaced: 'You have joined from another window: this one is out.',
  kicked: 'You were removed from the channel.',
  dismissed: 'The channel was closed.',
  expired: 'Your token has expired. Join again.',
  lost: 'The server cannot be reached any more.',
};

/** Shows the state of the connection, and the form again when it is over. */
function follow(room) {
  const state = (text) => { $('state').textContent = text; $('state').hidden = !text; };
  state('');
  room.on('reconnecting', () => state('Connecting again …'));
  room.on('reconnected', () => state(''));
  room.on('draining', () => state('The server restarts soon.'));
  room.on('soundblocked', () => soundButton(room));
  room.on('end', ({ reason, error }) => {
    $('room').hidden = true;
    $('join').hidden = false;
    document.body.classList.remove('inside');
    $('where').textContent = '';
    $('sound')?.remove();
    state('');
    problem(reason === 'left' ? '' : error ? words(error) : endings[reason] ?? `It is over: ${reason}.`);
    $('join').querySelector('button').focus();
  });
}

/** Browsers play no sound on a page that nobody has clicked. */
function soundButton(room) {
  if ($('sound')) return;
  const button = h('button', { id: 'sound', class: 'primary', onclick: () => room.startSound().then(() => button.remove(), () => {}) }, 'Turn the sound on');
  $('problem').after(button);
}

const reasons = {
  loss: 'packets are lost', rtt: 'the way is long', jitter: 'packets come unevenly', bandwidth: 'the line is too narrow for sharp pictures',
  disconnected: 'nothing gets through', cpu: 'this device is too busy',
};

/** A hint about a user's quality in words; empty while it is good. */
export function hint(quality, who) {
  if (!quality) return '';
  const worst = Math.min(quality.up, quality.down);
  if (worst >= 4) return '';
  const level = worst <= 1 ? 'very weak' : worst === 2 ? 'weak' : 'fair';
  const why = (quality.reasons ?? []).map((r) => reasons[r] ?? r).join(', ');
  return `${who} connection is ${level}${why ? `: ${why}` : ''}.`;
}

/** Bars for a tile: how good a user's connection is. */
export function bars(element, quality) {
  const level = quality ? Math.min(quality.up, quality.down) : 5;
  element.className = `bars q${level}`;
  element.title = hint(quality, 'This') || 'The connection is good.';
  element.hidden = !quality || level >= 4;
}

/** Wires a bar's microphone, camera, screen and device buttons to a room, those that the page has. The page calls show. */
export class Bar {
  constructor(room, { camera = {}, onchange = () => {} } = {}) {
    this.room = room;
    this.camera = camera;
    this.onchange = onchange;
    this.busy = new Set();
    const act = (id, work) => { if ($(id)) $(id).onclick = () => this.once(id, work); };
    act('mic', () => this.toggle('microphone'));
    act('cam', () => this.toggle('camera'));
    act('share', () => this.share());
    act('devices', () => deviceDialog(room));
    if ($('leave')) $('leave').onclick = () => room.leave();
    if ($('share')) $('share').hidden = !navigator.mediaDevices?.getDisplayMedia; // phones cannot
    room.on('stopped', ({ track, reason }) => {
      if (reason === 'ended' && track.source !== 'shareScreen') problem(`The ${track.source} has gone.`);
      this.show();
    });
  }

  /** One click at a time: a device takes its while to open. */
  async once(id, work) {
    if (this.busy.has(id)) return;
    this.busy.add(id);
    try {
      await work();
      problem('');
    } catch (error) {
      if (error.field !== 'NotAllowedError' || id !== 'share') problem(words(error)); // for a screen that is a change of mind
    }
    this.busy.delete(id);
    this.show();
  }

  /** Publishes both, and what there is when one of them is missing. */
  async start(sources = ['microphone', 'camera']) {
    const results = await Promise.allSettled(sources.map((s) => this.open(s)));
    const failed = results.find((r) => r.status === 'rejected' && r.reason.code !== 'ended');
    if (failed) problem(words(failed.reason));
    this.show();
  }

  open(source) {
    return source === 'camera' ? this.room.publishCamera(this.camera) : this.room.publishMicrophone();
  }

  async toggle(source) {
    const track = this.room.tracks.get(source);
    if (!track) await this.open(source);
    else if (track.muted) await track.unmute();
    else await track.mute();
  }

  async share() {
    const track = this.room.tracks.get('shareScreen');
    if (track) await track.stop();
    else await this.room.publishScreen();
  }

  show() {
    const on = (source) => { const t = this.room.tracks.get(source); return !!t && !t.muted; };
    if ($('mic')) face($('mic'), on('microphone') ? 'mic' : 'mic-off', on('microphone') ? 'Mute' : 'Unmute', !on('microphone'));
    if ($('cam')) face($('cam'), on('camera') ? 'cam' : 'cam-off', on('camera') ? 'Camera off' : 'Camera on', !on('camera'));
    if ($('share')) face($('share'), 'screen', on('shareScreen') ? 'Stop sharing' : 'Share screen', on('shareScreen'));
    if ($('devices')) face($('devices'), 'gear', 'Devices');
    this.onchange();
  }
}

/** Lets the user choose camera, microphone and speaker; a choice applies at once. */
async function deviceDialog(room) {
  const all = await devices();
  const pick = (label, list, current, choose) => {
    if (!list.length) return null;
    const select = h('select', { onchange: () => choose(select.value).catch((error) => problem(words(error))) },
      ...list.map((d, n) => h('option', { value: d.deviceId, selected: d.deviceId === current }, d.label || `${label} ${n + 1}`)));
    return h('label', {}, label, select);
  };
  const local = (source) => {
    const track = room.tracks.get(source);
    return track && { now: track.track?.getSettings().deviceId ?? track.options.deviceId, choose: (deviceId) => track.switchDevice({ deviceId }) };
  };
  const cam = local('camera');
  const mic = local('microphone');
  const canSink = 'setSinkId' in HTMLMediaElement.prototype;
  const dialog = h('dialog', { class: 'devices', 'aria-label': 'Devices', onclose: () => dialog.remove() },
    h('h2', {}, 'Devices'),
    cam && pick('Camera', all.cameras, cam.now, cam.choose),
    mic && pick('Microphone', all.microphones, mic.now, mic.choose),
    canSink ? pick('Speaker', all.speakers, '', (id) => room.setSpeaker(id)) : null,
    !cam && !mic ? h('p', {}, 'Turn camera or microphone on to choose another.') : null,
    h('form', { method: 'dialog' }, h('button', { class: 'primary' }, 'Done')));
  document.body.append(dialog);
  dialog.showModal();
}
