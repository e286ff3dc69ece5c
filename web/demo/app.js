// The demo page: join, see each other, mix. Everything it asks of the server is
// in doc/: WHIP to publish, WHEP to watch, and the demo's own backend (/demo/...)
// in the part of a customer's business server.
import { publish, refusal } from './rtc.js';
import { Tile, RemoteTile } from './tile.js';
import { Player } from './player.js';
import { fill, keep } from './who.js';

const $ = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const codec = query.get('codec') === 'vp8' ? 'vp8' : 'h264';
const height = Number(query.get('height')) || 360;

/** The call: null until joined. */
let call = null;

// ---- words for what goes wrong

function problem(text) {
  $('problem').textContent = text;
  $('problem').hidden = !text;
}

function deviceWords(error, what) {
  switch (error.name) {
    case 'NotAllowedError': return `The browser blocks the ${what}. Allow it in the address bar, then try again.`;
    case 'NotFoundError': return `There is no ${what} on this device.`;
    case 'NotReadableError': return `The ${what} is in use by another program.`;
    default: return `The ${what} does not start: ${error.message}`;
  }
}

const insecure = 'Browsers give camera and microphone only to pages from https or from localhost. '
  + 'You can watch here; to be seen, open this page as http://localhost:… on the server or put https in front of it.';

async function ask(path, options = {}) {
  if (options.json) {
    options = { ...options, body: JSON.stringify(options.json), headers: { 'Content-Type': 'application/json' } };
  }
  const response = await fetch(path, options);
  if (!response.ok) throw await refusal(response);
  return response.status === 204 ? null : response.json();
}

// ---- joining and leaving

fill($('join'));

$('join').addEventListener('submit', async (event) => {
  event.preventDefault();
  problem('');
  const form = event.target;
  try {
    const me = await ask('/demo/join', { method: 'POST', json: { channel: form.channel.value, user: form.user.value } });
    keep(me.user, me.channel);
    await enter(me);
  } catch (error) {
    problem(error.message);
  }
});

async function enter(me) {
  const mine = call = { me, tiles: new Map(), users: [], stream: new MediaStream(), first: '', leading: false };
  $('where').textContent = `${me.user} in ${me.channel}`;
  $('join').hidden = true;
  $('call').hidden = $('mix').hidden = false;
  call.own = new Tile(`${me.user} (you)`, true);
  call.own.element.addEventListener('click', () => makeFirst(me.user));
  $('tiles').append(call.own.element);
  await startDevices(true, true);
  if (call !== mine) return;
  call.own.show(call.stream);
  republish();
  call.events = new EventSource(`/demo/events?channel=${encodeURIComponent(me.channel)}`);
  call.events.onmessage = (event) => update(JSON.parse(event.data));
  buttons();
}

function leave() {
  if (!call) return;
  const old = call;
  call = null;
  old.events?.close();
  old.camera?.close();
  old.screen?.session?.close();
  for (const stream of [old.stream, old.screen?.stream]) stream?.getTracks().forEach((t) => t.stop());
  for (const tile of old.tiles.values()) tile.remove();
  old.screen?.tile.remove();
  old.own.remove();
  player.stop();
}

/** Shows the form again, and why. */
function out(text) {
  leave();
  $('call').hidden = $('mix').hidden = $('playing').hidden = true;
  $('join').hidden = false;
  $('where').textContent = '';
  problem(text);
}

/** The server has sent this page away: it does not come back by itself, or two tabs with one name would take turns for ever. */
const away = (why) => out(`You are out: ${why}. Join again to come back.`);

$('leave').addEventListener('click', () => out(''));
addEventListener('pagehide', leave);

// ---- own camera and microphone

async function startDevices(audio, video) {
  if (!navigator.mediaDevices) {
    problem(insecure);
    return;
  }
  const wish = {
    audio: audio && { echoCancellation: true, noiseSuppression: true },
    video: video && { width: { ideal: height * 16 / 9 }, height: { ideal: height }, frameRate: { ideal: 30, max: 30 } },
  };
  try {
    const got = await navigator.mediaDevices.getUserMedia(wish);
    got.getTracks().forEach((t) => call.stream.addTrack(t));
  } catch (error) {
    if (audio && video) { // one missing device must not take the other
      await startDevices(true, false);
      await startDevices(false, true);
      return;
    }
    problem(deviceWords(error, video ? 'camera' : 'microphone'));
  }
}

/** Publishes what the page has now; a camera that stops or starts makes a new session. */
async function republish() {
  const mine = call;
  const round = mine.round = (mine.round ?? 0) + 1;
  mine.camera?.close();
  mine.camera = null;
  while (call === mine && mine.round === round && mine.stream.getTracks().length > 0) {
    try {
      const session = await publish({ url: endpoint('whip', mine.me.user, 'camera'), token: mine.me.token, stream: mine.stream, codec });
      if (call !== mine || mine.round !== round) {
        session.close();
        return;
      }
      mine.camera = session;
      if (mine.failing) problem('');
      mine.failing = false;
      const why = await session.ended;
      if (call !== mine || mine.round !== round) return;
      if (why) {
        away(why);
        return;
      }
      mine.own.note('connecting again …');
    } catch (error) {
      if (call !== mine) return;
      mine.own.note('');
      mine.failing = true;
      problem(error instanceof TypeError ? 'The server cannot be reached. Trying again …' : `Publishing does not work: ${error.message}`);
      if (error.status >= 400 && error.status < 500 && error.status !== 409 && error.status !== 429) return;
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
    mine.own.note('');
  }
}

function endpoint(kind, user, source) {
  const { app, channel } = call.me;
  return `/${kind}/${[app, channel, user].map(encodeURIComponent).join('/')}?source=${source}`;
}

$('mic').addEventListener('click', async () => {
  const track = call.stream.getAudioTracks()[0];
  if (track) {
    track.enabled = !track.enabled;
  } else {
    await startDevices(true, false);
    republish();
  }
  buttons();
});

$('cam').addEventListener('click', async () => {
  const track = call.stream.getVideoTracks()[0];
  if (track) {
    track.stop();
    call.stream.removeTrack(track);
    call.own.show(new MediaStream()); // else the last picture stays
  } else {
    problem('');
    await startDevices(false, true);
  }
  call.own.show(call.stream);
  republish();
  buttons();
});

$('screen').addEventListener('click', async () => {
  if (call.screen) {
    endScreen();
    return;
  }
  if (!navigator.mediaDevices?.getDisplayMedia) {
    problem(navigator.mediaDevices ? 'This browser cannot share its screen.' : insecure);
    return;
  }
  let stream;
  try {
    stream = await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { max: 15 } }, audio: true });
  } catch (error) {
    if (error.name !== 'NotAllowedError') problem(deviceWords(error, 'screen')); // NotAllowed: the user changed their mind
    return;
  }
  const mine = call;
  const tile = new Tile(`${mine.me.user}'s screen (you)`, true);
  tile.element.classList.remove('own'); // not a mirror
  tile.show(stream);
  $('tiles').append(tile.element);
  const screen = mine.screen = { stream, tile };
  stream.getVideoTracks()[0].addEventListener('ended', endScreen); // the browser's own stop button
  buttons();
  try {
    screen.session = await publish({ url: endpoint('whip', mine.me.user, 'shareScreen'), token: mine.me.token, stream, codec });
    if (call !== mine || mine.screen !== screen) { // stopped meanwhile
      screen.session.close();
      return;
    }
    const why = await screen.session.ended;
    if (call !== mine || mine.screen !== screen) return;
    endScreen();
    problem(`Your screen is no longer shared: ${why || 'the connection was lost'}.`);
  } catch (error) {
    if (call !== mine || mine.screen !== screen) return;
    problem(`Sharing does not work: ${error.message}`);
    endScreen();
  }
});

function endScreen() {
  const screen = call?.screen;
  if (!screen) return;
  call.screen = null;
  screen.session?.close();
  screen.stream.getTracks().forEach((t) => t.stop());
  screen.tile.remove();
  buttons();
}

function buttons() {
  const audio = call.stream.getAudioTracks()[0];
  const video = call.stream.getVideoTracks()[0];
  const set = (id, pressed, text) => {
    $(id).setAttribute('aria-pressed', pressed);
    $(id).textContent = text;
  };
  set('mic', audio && !audio.enabled, !audio ? 'Start microphone' : audio.enabled ? 'Mute microphone' : 'Unmute microphone');
  set('cam', !video, video ? 'Stop camera' : 'Start camera');
  set('screen', !!call.screen, call.screen ? 'Stop sharing' : 'Share screen');
}

// ---- the others

function update({ users, mix }) {
  call.users = users;
  const wanted = new Map();
  for (const u of users) {
    if (u.id === call.me.user) continue;
    if (u.audio || u.video) wanted.set(`${u.id}/camera`, { label: u.id, user: u, source: 'camera', tracks: `${u.audio},${u.video}`, video: !!u.video });
    if (u.screen) wanted.set(`${u.id}/shareScreen`, { label: `${u.id}'s screen`, user: u, source: 'shareScreen', tracks: `${u.screenAudio},${u.screen}`, video: true });
  }
  for (const [key, tile] of call.tiles) {
    if (wanted.has(key)) continue;
    tile.remove();
    call.tiles.delete(key);
  }
  for (const [key, { label, user, source, tracks, video }] of wanted) {
    if (!call.tiles.has(key)) {
      const tile = new RemoteTile(label, endpoint('whep', user.id, source), call.me.token, away);
      tile.element.addEventListener('click', () => makeFirst(user.id));
      call.tiles.set(key, tile);
      $('tiles').append(tile.element);
    }
    call.tiles.get(key).published(tracks, video);
  }
  showMix(mix);
  follow();
}

// ---- the mix

const player = new Player({
  video: $('mixed'),
  overlay: $('overlay'),
  onMessage: (message) => { $('sei').textContent = JSON.stringify(message, null, 1); },
  onPicture: (playing) => { $('waiting').hidden = playing; },
});

function layout() {
  return document.querySelector('input[name=layout]:checked').value;
}

/** Who is in the picture: the one clicked first, then the others as they joined. */
function seats() {
  const list = [];
  for (const u of call.users) {
    if (u.audio || u.video) list.push({ user: u.id, source: 'camera' });
    if (u.screen) list.push({ user: u.id, source: 'shareScreen' });
  }
  return list.sort((a, b) => (b.user === call.first) - (a.user === call.first));
}

async function mix() {
  const users = seats();
  try {
    problem('');
    const answer = await ask('/demo/mix', { method: 'POST', json: { channel: call.me.channel, layout: layout(), users } });
    call.leading = true;
    call.mixed = JSON.stringify(users);
    showMix(answer.mix);
  } catch (error) {
    problem(`The mix does not start: ${error.message}`);
  }
}

/** The page that last started or changed the mix also changes it when people come and go. */
function follow() {
  const now = seats();
  if (call.leading && call.mix && now.length > 0 && call.mixed !== JSON.stringify(now)) mix();
}

$('mixer').addEventListener('click', async () => {
  $('mixer').disabled = true;
  if (call.mix) {
    call.leading = false;
    try {
      await ask(`/demo/mix?channel=${encodeURIComponent(call.me.channel)}`, { method: 'DELETE' });
      showMix(null);
    } catch (error) {
      problem(`The mix does not stop: ${error.message}`);
    }
  } else {
    await mix();
  }
  $('mixer').disabled = false;
});

$('layouts').addEventListener('change', () => { if (call.mix) mix(); });

function makeFirst(user) {
  call.first = user;
  for (const [key, tile] of call.tiles) tile.element.classList.toggle('first', key.startsWith(`${user}/`));
  call.own.element.classList.toggle('first', user === call.me.user);
  if (call.mix) mix();
}

$('sound').addEventListener('click', () => {
  $('mixed').muted = !$('mixed').muted;
  $('sound').setAttribute('aria-pressed', !$('mixed').muted);
  $('sound').textContent = $('mixed').muted ? 'Unmute the mix' : 'Mute the mix';
});

function showMix(mix) {
  if (!call) return;
  call.mix = mix;
  $('mixer').textContent = mix ? 'Stop mix' : 'Start mix';
  $('playing').hidden = !mix;
  if (!mix) {
    player.stop();
    return;
  }
  document.querySelector(`input[name=layout][value=${mix.layout}]`).checked = true;
  const absolute = (url) => new URL(url, location.href).href;
  links({ RTMP: mix.rtmp, 'HTTP-FLV': absolute(mix.flv), HLS: absolute(mix.hls) });
  player.play(absolute(mix.flv));
}

function links(addresses) {
  const text = JSON.stringify(addresses);
  if ($('links').dataset.of === text) return;
  $('links').dataset.of = text;
  $('links').replaceChildren(...Object.entries(addresses).map(([name, url]) => {
    const item = document.createElement('li');
    const kind = document.createElement('span');
    const address = document.createElement('code');
    const copy = document.createElement('button');
    kind.textContent = name;
    address.textContent = url;
    copy.textContent = 'Copy';
    copy.addEventListener('click', async () => {
      try {
        await navigator.clipboard.writeText(url);
        copy.textContent = 'Copied';
      } catch {
        getSelection().selectAllChildren(address); // no clipboard without https: ready for Ctrl+C
      }
      setTimeout(() => { copy.textContent = 'Copy'; }, 1500);
    });
    item.append(kind, address, copy);
    return item;
  }));
}

setInterval(() => {
  const video = $('mixed');
  if (!call?.mix || !video.videoWidth) return;
  const buffered = video.buffered;
  const behind = buffered.length ? buffered.end(buffered.length - 1) - video.currentTime : 0;
  const quality = video.getVideoPlaybackQuality();
  $('stats').textContent = `${video.videoWidth}×${video.videoHeight}, ${behind.toFixed(1)} s buffered, ${quality.droppedVideoFrames} of ${quality.totalVideoFrames} frames dropped`;
}, 1000);
