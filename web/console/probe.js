// The browser's half of the connection check: a call with itself, step by step, in a channel of its own.
import { join } from '/sdk/braid.js';
import { get } from './api.js';
import { t } from './i18n.js';

/** The steps in order: [id, name]. */
export const steps = () => [
  ['context', t('Page')], ['token', t('Join token')], ['socket', t('WebSocket and joining')], ['publish', t('Sending: ICE and DTLS')],
  ['receive', t('Receiving: ICE and DTLS')], ['picture', t('Picture comes back')], ['sound', t('Sound comes back')], ['path', t('Path')],
];

const wait = (ms) => new Promise((done) => { setTimeout(done, ms); });

async function until(limit, look) {
  for (const end = Date.now() + limit; Date.now() < end;) {
    const found = await look();
    if (found) return found;
    await wait(150);
  }
  return null;
}

/**
 * Runs the steps and tells each result: { result: ok|warning|failed, says, do? }. It ends at the first that the rest needs.
 * @param {{app: string, token: (channel: string, user: string, grants: object) => Promise<string>, tell: (step: string, result: object) => void}} how
 */
export async function run({ app, token, tell }) {
  const open = [];
  try {
    await attempt({ app, token, tell, open });
  } catch (error) {
    tell(error.step ?? 'socket', { result: 'failed', says: error.message, do: error.advice });
  } finally {
    for (const close of open.reverse()) close();
  }
}

/** Runs one step; what it throws is told of it. */
async function during(step, advice, work) {
  try {
    return await work();
  } catch (error) {
    throw Object.assign(new Error(error.message), { step, advice });
  }
}

async function attempt({ app, token, tell, open }) {
  tell('context', isSecureContext
    ? { result: 'ok', says: t('The page is secure: browsers give it camera and microphone.') }
    : { result: 'warning', says: t('The page came without TLS: browsers give camera and microphone only to https and to localhost.'), do: t('Put TLS in front of braid, or open the console as localhost.') });
  if (!window.RTCPeerConnection) throw Object.assign(new Error(t('This browser has no WebRTC, or it is switched off.')), { step: 'publish' });

  const channel = `check-${crypto.getRandomValues(new Uint32Array(1))[0].toString(36)}`;
  const [mine, theirs] = await during('token', '', () => Promise.all([
    token(channel, 'check-sends', { publish: ['camera'], role: 'streamer' }), token(channel, 'check-receives', { subscribe: true, role: 'viewer' })]));
  tell('token', { result: 'ok', says: t('Two tokens for the channel {channel} of {app}.', { channel, app }) });

  const began = performance.now();
  const options = { url: new URL('/v1/rtc', location.href), giveUp: 8000, sound: false };
  const [sender, receiver] = await during('socket', t('A proxy in front of braid has to pass WebSocket upgrades of /v1/rtc on.'), async () => {
    const rooms = await Promise.all([join({ ...options, token: mine }), join({ ...options, token: theirs })]);
    for (const room of rooms) open.push(() => room.leave());
    return rooms;
  });
  tell('socket', { result: 'ok', says: t('Joined in {ms} ms.', { ms: Math.round(performance.now() - began) }) });

  const { picture, tone, stop } = await during('publish', '', drawn);
  open.push(stop);
  await during('publish', t('See below what the server saw of this session.'), async () => {
    await Promise.all([sender.publish('camera', picture, { simulcast: false }), sender.publish('microphone', tone)]);
  });
  const up = await connected(sender, 'up');
  tell('publish', up.works ? { result: 'ok', says: t('Connected in {ms} ms.', { ms: up.took }) } : await blame(app, channel, 'check-sends'));
  if (!up.works) return;

  const video = document.createElement('video');
  video.muted = true;
  Object.assign(video, { width: 320, height: 180 });
  receiver.subscribe('check-sends', 'camera', { width: 320, height: 180 });
  const down = await connected(receiver, 'down');
  tell('receive', down.works ? { result: 'ok', says: t('Connected in {ms} ms.', { ms: down.took }) } : await blame(app, channel, 'check-receives'));
  if (!down.works) return;

  const got = (kind, field) => until(8000, async () => (await reports(receiver, 'down')).find((r) => r.type === 'inbound-rtp' && r.kind === kind && r[field] >= 5));
  const frames = await got('video', 'framesDecoded');
  tell('picture', frames ? { result: 'ok', says: t('{n} pictures of {w}×{h} were decoded.', { n: frames.framesDecoded, w: frames.frameWidth, h: frames.frameHeight }) }
    : { result: 'failed', says: t('Connected, and no picture was decoded within 8 s.'), do: t('Large packets may be lost on the way (MTU), or the browser cannot decode the codec.') });
  const packets = await got('audio', 'packetsReceived');
  tell('sound', packets ? { result: 'ok', says: t('{n} packets came.', { n: packets.packetsReceived }) } : { result: 'failed', says: t('No packet of sound came within 8 s.') });

  const { pair, remote } = await chosen(sender);
  tell('path', !pair ? { result: 'warning', says: t('The browser does not tell which path it has chosen.') } : {
    result: remote.protocol === 'tcp' ? 'warning' : 'ok',
    says: t('{protocol} to {address}, round trip {ms} ms.', { protocol: (remote.protocol ?? '').toUpperCase(), address: `${remote.address ?? '?'}:${remote.port ?? '?'}`, ms: Math.round((pair.currentRoundTripTime ?? 0) * 1000) || '< 1' }),
    do: remote.protocol === 'tcp' ? t('UDP does not get through: open the media port for UDP, too. Over TCP a lost packet holds up all behind it.') : undefined,
  });
}

/** A moving picture and a quiet tone, without any device. */
function drawn() {
  const canvas = Object.assign(document.createElement('canvas'), { width: 320, height: 180 });
  const pen = canvas.getContext('2d');
  let n = 0;
  const timer = setInterval(() => {
    pen.fillStyle = `hsl(${++n % 360} 60% 40%)`;
    pen.fillRect(0, 0, 320, 180);
    pen.fillStyle = '#fff';
    pen.fillRect(n * 4 % 320, 70, 40, 40);
  }, 50);
  const audio = new AudioContext();
  const tone = audio.createOscillator();
  const quiet = audio.createGain();
  quiet.gain.value = 0.02;
  const out = audio.createMediaStreamDestination();
  tone.connect(quiet).connect(out);
  tone.start();
  audio.resume();
  const picture = canvas.captureStream(20).getVideoTracks()[0];
  const sound = out.stream.getAudioTracks()[0];
  return { picture, tone: sound, stop: () => { clearInterval(timer); picture.stop(); sound.stop(); audio.close(); } };
}

/** What a connection of a room reports; empty while there is none. */
async function reports(room, way) {
  const stats = await room.stats();
  return stats[way] ? [...stats[way].values()] : [];
}

async function connected(room, way) {
  const began = performance.now();
  const works = await until(10000, async () => (await reports(room, way)).some((r) => r.type === 'transport' && r.dtlsState === 'connected'));
  return { works: !!works, took: Math.round(performance.now() - began) };
}

async function chosen(room) {
  const all = await reports(room, 'up');
  const transport = all.find((r) => r.type === 'transport');
  const pair = all.find((r) => r.id === transport?.selectedCandidatePairId) ?? all.find((r) => r.type === 'candidate-pair' && r.nominated);
  return { pair, remote: all.find((r) => r.id === pair?.remoteCandidateId) ?? {} };
}

/** What the server says of a session that did not connect. */
async function blame(app, channel, user) {
  try {
    const { items } = await get('/v1/sessions', { query: { app, channel, user } });
    const { diagnosis } = items[0].connections.find((c) => !['ok', 'waiting'].includes(c.diagnosis.code)) ?? items[0].connections[0];
    return { result: 'failed', says: diagnosis.says, do: diagnosis.do };
  } catch {
    return { result: 'failed', says: t('It does not connect within 10 s, and the server saw nothing of it.'), do: t('A firewall may let neither UDP nor TCP through to the media port.') };
  }
}
