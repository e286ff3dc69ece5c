// One to one: the other one large, oneself in the corner.
import { $, h, avatar, problem, entrance, Bar, face, hint } from '../kit.js';

entrance((room) => {
  if (room.users.size > 1) {
    room.leave();
    problem(`There are two in ${room.channel} already. Choose another channel.`);
    return;
  }
  const bar = new Bar(room, { camera: { width: 1280, height: 720, simulcast: false }, onchange: own });
  face($('leave'), 'end', 'Hang up');
  let other = null;
  let detach = null;
  let since = 0;

  function own() {
    const camera = room.tracks.get('camera');
    if (camera && !camera.shown) camera.shown = camera.attach($('near'));
    $('self').classList.toggle('off', !camera || camera.muted);
  }

  function meet(user) {
    if (other) return; // a third one is nobody's business here
    other = user;
    since = Date.now();
    detach = room.attach($('far'), user.id, 'camera');
    show();
  }

  function part(user) {
    if (user !== other) return;
    detach();
    other = null;
    show(`${user.id} has hung up.`);
    const next = room.users.values().next().value;
    if (next) meet(next);
  }

  function show(parting = '') {
    const camera = other?.sources.get('camera');
    const microphone = other?.sources.get('microphone');
    const seen = camera && !camera.muted;
    $('far').hidden = !seen;
    $('name').textContent = other ? `${other.id}${!microphone || microphone.muted ? ', muted' : ''}` : '';
    $('name').hidden = !other;
    $('nobody').hidden = !!seen;
    if (other) $('nobody').replaceChildren(avatar(other.id), h('p', {}, camera ? 'camera off' : 'no camera'));
    else $('nobody').replaceChildren(...waiting(parting));
    if (!other) $('clock').textContent = '';
  }

  function waiting(parting) {
    const link = new URL(location.href);
    link.search = `?channel=${encodeURIComponent(room.channel)}`;
    const copy = h('button', { onclick: async () => {
      try {
        await navigator.clipboard.writeText(link.href);
        copy.textContent = 'Copied';
      } catch {
        prompt('Send this link:', link.href); // no clipboard without https
      }
    } }, 'Copy the link to this call');
    return [h('p', {}, parting || 'Nobody else is here yet.'), copy];
  }

  room.on('joined', ({ user }) => meet(user));
  room.on('left', ({ user }) => part(user));
  for (const type of ['published', 'unpublished', 'muted']) room.on(type, () => show());
  room.on('levels', ({ levels }) => $('remote').classList.toggle('talking', levels.has(other?.id)));
  room.on('quality', () => {
    const text = hint(room.me.quality, 'Your') || (other && hint(other.quality, `${other.id}'s`)) || '';
    $('hint').textContent = text;
    $('hint').hidden = !text;
  });
  const clock = setInterval(() => {
    if (!other) return;
    const s = Math.floor((Date.now() - since) / 1000);
    $('clock').textContent = `${Math.floor(s / 60)}:${String(s % 60).padStart(2, '0')}`;
  }, 1000);
  room.on('end', () => {
    clearInterval(clock);
    $('near').srcObject = null;
  });

  for (const user of room.users.values()) meet(user);
  show();
  bar.show();
  bar.start();
});
