// A voice chat: streamers on stage, viewers in the audience. Hands and invitations are data messages between the pages:
// the server knows roles alone, and the token says who may take which. Who is a host is a page's own word here; a
// product's server would say it.
//
//   topic    from      to          payload
//   host     a host    everyone    true; again to each who joins
//   hand     audience  everyone    true or false; again to each who joins while it is up
//   invite   a host    one         true: come on stage; false: please go back
import { $, h, icon, avatar, problem, words, entrance, Bar, face, hint } from '../kit.js';

entrance((room, form) => {
  const host = form.get('part') === 'host';
  const hosts = new Set(host ? [room.me.id] : []);
  const hands = new Set();
  let raised = false;
  let invitation = null; // the dialog
  const bar = new Bar(room, { onchange: show });
  face($('leave'), 'end', 'Leave');
  const say = (topic, payload, to) => room.data(payload, { topic, to }).catch((error) => problem(words(error)));

  async function climb() {
    await room.setRole('streamer');
    if (raised) raise(false);
    await bar.start(['microphone']);
  }

  function raise(up) {
    raised = up;
    say('hand', up);
    show();
  }

  function invited(from) {
    if (invitation || room.me.role === 'streamer') return;
    const answer = (yes) => {
      invitation.close();
      if (yes) climb().catch((error) => problem(words(error)));
      else if (raised) raise(false);
    };
    invitation = h('dialog', { id: 'invitation', 'aria-label': 'Invitation', onclose: () => { invitation.remove(); invitation = null; } },
      h('p', {}, `${from} invites you to speak.`),
      h('div', { class: 'bar' },
        h('button', { class: 'primary', onclick: () => answer(true) }, 'Speak'),
        h('button', { onclick: () => answer(false) }, 'Not now')));
    document.body.append(invitation);
    invitation.showModal();
  }

  $('hand').onclick = () => raise(!raised);
  $('down').onclick = () => bar.once('down', () => room.setRole('viewer'));

  // ---- what is shown

  function show() {
    const everyone = [room.me, ...room.users.values()];
    const stage = everyone.filter((u) => u.role === 'streamer');
    const audience = everyone.filter((u) => u.role !== 'streamer').sort((a, b) => up(b) - up(a));
    fill($('stage-list'), stage, speaker);
    fill($('audience'), audience, listener);
    $('quiet').hidden = stage.length > 0;
    $('count').textContent = audience.length ? `(${audience.length})` : '';
    const onStage = room.me.role === 'streamer';
    $('mic').hidden = $('devices').hidden = !onStage;
    $('down').hidden = !onStage || host;
    $('hand').hidden = onStage;
    face($('hand'), 'hand', raised ? 'Lower hand' : 'Raise hand', raised);
  }

  const up = (u) => (u === room.me ? raised : hands.has(u.id));

  /** Keeps an entry's element as long as it says the same, so that the focus stays where it is. */
  function fill(list, users, make) {
    const old = new Map([...list.children].map((e) => [e.dataset.key, e]));
    list.replaceChildren(...users.map((u) => {
      const muted = u === room.me ? room.tracks.get('microphone')?.muted ?? true : u.sources.get('microphone')?.muted ?? true;
      const key = [u.id, muted, up(u), hosts.has(u.id)].join();
      const entry = old.get(key) ?? make(u, muted);
      entry.dataset.key = key;
      entry.dataset.user = u.id;
      return entry;
    }));
  }

  function person(u, ...more) {
    const name = h('span', { class: 'name' }, u.id, u === room.me ? ' (you)' : '');
    return h('li', {}, avatar(u.id), name, ...more);
  }

  function speaker(u, muted) {
    const back = host && u !== room.me && !hosts.has(u.id)
      ? h('button', { onclick: () => say('invite', false, [u.id]) }, 'To the audience') : null;
    const state = muted ? h('span', { class: 'muted' }, icon('mic-off'), h('span', { class: 'sr' }, 'muted')) : null;
    return person(u, h('span', { class: 'part' }, hosts.has(u.id) ? 'host' : 'speaker'), state, back);
  }

  function listener(u) {
    const hand = up(u) ? h('span', { class: 'hand' }, icon('hand'), h('span', { class: 'sr' }, 'raises a hand')) : null;
    const invite = host && u !== room.me ? h('button', { class: up(u) ? 'primary' : '', onclick: () => say('invite', true, [u.id]) }, 'Invite to speak') : null;
    return person(u, hand, invite);
  }

  // ---- what happens

  room.on('joined', ({ user }) => {
    if (host) say('host', true, [user.id]);
    if (raised) say('hand', true, [user.id]);
    show();
  });
  room.on('left', ({ user }) => {
    hosts.delete(user.id);
    hands.delete(user.id);
    show();
  });
  room.on('role', ({ user }) => {
    if (user.role === 'streamer') hands.delete(user.id);
    bar.show();
  });
  for (const type of ['published', 'unpublished', 'muted']) room.on(type, show);
  room.on('data', ({ from, topic, payload }) => {
    if (topic === 'host') hosts.add(from);
    else if (topic === 'hand' && payload) hands.add(from);
    else if (topic === 'hand') hands.delete(from);
    else if (topic === 'invite' && payload) invited(from);
    else if (topic === 'invite' && room.me.role === 'streamer' && !host) {
      room.setRole('viewer').then(() => problem(`${from} has moved you to the audience.`), (error) => problem(words(error)));
    }
    show();
  });
  room.on('levels', ({ levels }) => {
    for (const entry of $('stage-list').children) {
      // -60 dBov is a whisper, -15 loud: 0 to 1.
      const loud = Math.max(0, Math.min(1, ((levels.get(entry.dataset.user) ?? -127) + 60) / 45));
      entry.style.setProperty('--loud', loud.toFixed(2));
      entry.classList.toggle('talking', loud > 0);
    }
  });
  room.on('quality', () => {
    const text = hint(room.me.quality, 'Your');
    $('state').textContent = text;
    $('state').hidden = !text;
  });
  room.on('end', () => invitation?.close());

  if (host) say('host', true);
  bar.show();
  if (room.me.role === 'streamer') bar.start(['microphone']);
}, (form) => ({ role: form.get('part') === 'host' ? 'streamer' : 'viewer' }));
