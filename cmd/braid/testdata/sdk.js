// Checks of the SDK against a server made of JavaScript, which can be made to break, to refuse and to forget. Runs in a
// page of braid's; TestSDKRules reads what it returns: the failures, one a line.
const { join } = await import('/sdk/braid.js');
const failures = [];
const check = (name, got, want) => {
  const [g, w] = [JSON.stringify(got), JSON.stringify(want)];
  if (g !== w) failures.push(`${name}: got ${g}, want ${w}`);
};
const until = async (what, condition, ms = 5000) => {
  for (const end = performance.now() + ms; !condition();) {
    if (performance.now() > end) throw new Error(`not in time: ${what}`);
    await new Promise((r) => setTimeout(r, 10));
  }
};

/** A server with one session; `on` overrides the answers. */
class Server {
  requests = [];
  sockets = [];
  seq = 0;
  users = [];
  on = {};
  refuse = false;
  peer = new RTCPeerConnection();

  constructor() {
    const server = this;
    window.WebSocket = class extends EventTarget {
      static OPEN = 1;
      readyState = 0;
      constructor() {
        super();
        server.sockets.push(this);
        setTimeout(() => (server.refuse ? this.break() : (this.readyState = 1, this.dispatchEvent(new Event('open')))), 5);
      }
      send(text) {
        const request = JSON.parse(text);
        server.requests.push(request);
        Promise.resolve(server.answer(request)).then((answer) => answer && this.say({ id: request.id, type: 'ok', ...answer }));
      }
      say(message) { if (this.readyState === 1) this.onmessage?.({ data: JSON.stringify(message) }); }
      close() { this.readyState = 3; }
      break() {
        this.readyState = 3;
        const event = new Event('close');
        this.onclose?.(event);
        this.dispatchEvent(event);
      }
    };
  }

  async answer(request) {
    if (this.on[request.type]) return this.on[request.type](request);
    switch (request.type) {
      case 'join': return { session: `s${this.sockets.length}`, app: 'a', channel: 'c', user: 'me', role: 'streamer', users: this.users, grants: {}, ice_servers: [], grace_ms: 20000, resumed: !!request.resume };
      case 'offer': {
        await this.peer.setRemoteDescription({ type: 'offer', sdp: request.sdp });
        await this.peer.setLocalDescription();
        return { sdp: this.peer.localDescription.sdp };
      }
    }
    return {};
  }

  event(type, fields) { this.sockets.at(-1).say({ seq: ++this.seq, type, ...fields }); }
  of(type) { return this.requests.filter((r) => r.type === type); }
}

const real = window.WebSocket;
const { patience } = await import('/sdk/buffer.js');
const { encodings } = await import('/sdk/local.js');
const cases = {
  async 'pictures are kept back as long as losses take to come again'() {
    check('no loss', patience(0, 100), null);
    check('nothing came yet', patience(NaN, undefined), null);
    check('some', patience(0.02, 100), 140);
    check('many', patience(0.1, 100), 240);
    check('no longer than who talks can bear', patience(0.2, 300), 400);
  },

  async 'a resume tells each event once'() {
    const server = new Server();
    server.users = [{ id: 'ann', role: 'streamer', sources: [] }];
    const room = await join({ token: 't' });
    const story = [];
    for (const type of ['joined', 'left', 'data', 'reconnected']) room.on(type, (e) => story.push([type, e.payload ?? e.user?.id ?? e.resumed]));
    server.event('data', { from: 'ann', payload: 1 });
    server.event('data', { from: 'ann', payload: 2 });
    server.sockets.at(-1).break();
    check('state', room.state, 'reconnecting');
    await until('resume', () => room.state === 'joined');
    check('resume', server.of('join').at(-1).resume, { session: 's1', seq: 2 });
    server.seq = 0;
    for (const payload of [1, 2, 3]) server.event('data', { from: 'ann', payload });
    check('story', story, [['data', 1], ['data', 2], ['reconnected', true], ['data', 3]]);
    room.leave();
    check('leave', server.requests.at(-1).type, 'leave');
  },

  async 'a session that is gone is joined anew'() {
    const server = new Server();
    server.users = [{ id: 'ann', sources: [{ source: 'microphone' }] }, { id: 'ben', sources: [{ source: 'camera', muted: true }] }];
    const room = await join({ token: () => 'fresh', role: 'streamer' });
    const track = document.createElement('canvas').captureStream().getTracks()[0];
    const local = await room.publish('camera', track);
    await local.mute();
    const story = [];
    for (const type of ['joined', 'left', 'published', 'unpublished', 'muted', 'reconnected']) {
      room.on(type, (e) => story.push([type, e.user?.id ?? e.resumed, e.source?.source ?? ''].join(' ').trim()));
    }
    server.on.join = async () => ({ session: 'new', user: 'me', role: 'streamer', users: [{ id: 'ben', sources: [{ source: 'camera' }] }, { id: 'cat', sources: [] }], resumed: false });
    server.peer = new RTCPeerConnection();
    server.sockets.at(-1).break();
    await until('published again', () => server.of('offer').length === 2 && server.of('mute').length >= 2);
    check('story', story, ['unpublished ann microphone', 'left ann', 'muted ben camera', 'joined cat', 'reconnected false']);
    check('republished', server.of('offer').at(-1).tracks.map((t) => t.source), ['camera']);
    check('muted again', [server.of('mute').at(-1).source, server.of('mute').at(-1).muted], ['camera', true]);
    check('token', server.of('join').at(-1).token, 'fresh');
    room.leave();
  },

  async 'a refusal keeps its code and field'() {
    const server = new Server();
    server.on.join = () => ({ type: 'error', code: 'unauthorized', field: 'token', message: 'the token has expired' });
    const error = await join({ token: 't' }).catch((e) => e);
    check('error', [error.name, error.code, error.field, error.message], ['BraidError', 'unauthorized', 'token', 'the token has expired']);
    check('attempts', server.sockets.length, 1);
  },

  async 'an encoder that is short of processor time is told of, and no longer when it is not'() {
    const server = new Server();
    const room = await join({ token: 't', role: 'streamer' });
    await room.publish('camera', document.createElement('canvas').captureStream().getTracks()[0]);
    const { getStats } = RTCPeerConnection.prototype;
    let limit = 'cpu';
    RTCPeerConnection.prototype.getStats = async () => new Map([['o', { type: 'outbound-rtp', qualityLimitationReason: limit }]]);
    try {
      await until('cpu', () => room.me.quality?.reasons.includes('cpu'), 10000);
      server.event('quality', { users: { me: { up: 3, down: 4, reasons: ['loss'] } } });
      await until('the server tells', () => room.me.quality.up === 3);
      check('with what the server sees', room.me.quality, { up: 3, down: 4, reasons: ['loss', 'cpu'] });
      limit = 'none';
      await until('no longer', () => !room.me.quality.reasons.includes('cpu'), 10000);
      check('then', room.me.quality, { up: 3, down: 4, reasons: ['loss'] });
    } finally {
      RTCPeerConnection.prototype.getStats = getStats;
      room.leave();
    }
  },

  async 'a source that is refused costs no other its place'() {
    const server = new Server();
    const room = await join({ token: 't', role: 'streamer' });
    const answer = (request) => (server.on.offer = null, server.answer(request).finally(() => { server.on.offer = refuse; }));
    const refuse = (request) => request.tracks.some((t) => t.source === 'screen')
      ? { type: 'error', code: 'forbidden', field: 'tracks', message: 'the token does not grant screen' } : answer(request);
    server.on.offer = refuse;
    const track = () => document.createElement('canvas').captureStream().getTracks()[0];
    let local;
    const outcome = (p) => p.then((l) => { local = l; return 'published'; }, (e) => e.code);
    const got = await Promise.all([outcome(room.publish('screen', track())), outcome(room.publish('camera', track()))]);
    check('outcomes', got, ['forbidden', 'published']);
    check('offered last', server.of('offer').at(-1).tracks.map((t) => t.source), ['camera']);
    await local.stop();
    check('then', server.of('offer').at(-1).tracks, []);
    check('again', await outcome(room.publish('camera', track())), 'published');
    room.leave();
  },

  async 'a server that is away is given up, after attempts that get rarer'() {
    const server = new Server();
    const room = await join({ token: 't', giveUp: 1200 });
    let end;
    let attempts = 0;
    room.on('reconnecting', () => attempts++);
    room.on('end', (e) => { end = e; });
    server.refuse = true;
    server.sockets.at(-1).break();
    await until('the end', () => end, 8000);
    check('end', [end.reason, end.error.code, room.state], ['lost', 'disconnected', 'ended']);
    check('attempts', attempts >= 3 && attempts <= 8, true);
    check('later', (await room.data(1).catch((e) => e)).code, 'ended');
  },

  async 'who leaves while a resume is under way leaves'() {
    const server = new Server();
    const room = await join({ token: 't' });
    server.on.join = async () => {
      await until('left', () => room.state === 'ended');
      return { session: 's1', user: 'me', role: 'streamer', users: [], resumed: true };
    };
    server.sockets.at(-1).break();
    await until('the second join', () => server.of('join').length === 2);
    room.leave();
    await until('leave', () => server.of('leave').length === 1);
  },

  async 'of mute and unmute the last counts, and no camera stays open'() {
    const server = new Server();
    const room = await join({ token: 't' });
    const opened = [];
    const { getUserMedia } = MediaDevices.prototype;
    MediaDevices.prototype.getUserMedia = async function (...args) {
      const stream = await getUserMedia.apply(this, args);
      await new Promise((r) => setTimeout(r, 50));
      opened.push(...stream.getTracks());
      return stream;
    };
    const open = () => opened.filter((t) => t.readyState === 'live').length;
    try {
      const camera = await room.publishCamera();
      await camera.mute();
      check('muted', [open(), camera.track], [0, null]);
      await Promise.all([camera.unmute(), camera.mute()]);
      check('unmute, mute', [camera.muted, open(), camera.track, opened.length], [true, 0, null, 2]);
      await Promise.all([camera.unmute(), camera.unmute()]);
      check('unmute, unmute', [camera.muted, open()], [false, 1]);
      await Promise.all([camera.switchDevice({}), camera.mute()]);
      check('switch, mute', [camera.muted, open(), camera.track], [true, 0, null]);
      await camera.unmute();
      check('unmute', [camera.muted, open(), camera.track === opened.at(-1)], [false, 1, true]);
      check('told last', server.of('mute').at(-1).muted, false);
    } finally {
      MediaDevices.prototype.getUserMedia = getUserMedia;
      room.leave();
    }
    check('left', open(), 0);
  },

  async 'an end is the end'() {
    const server = new Server();
    const room = await join({ token: 't' });
    let reason;
    room.on('end', (e) => { reason = e.reason; });
    server.event('end', { reason: 'kicked' });
    server.sockets.at(-1).break();
    await new Promise((r) => setTimeout(r, 400));
    check('end', [reason, server.sockets.length], ['kicked', 1]);
  },

  async 'a server that restarts is joined anew, with a new token in time'() {
    const server = new Server();
    let tokens = 0;
    const room = await join({ token: () => `t${++tokens}` });
    let over = false;
    let resumed;
    room.on('end', () => { over = true; });
    room.on('reconnected', (e) => { resumed = e.resumed; });
    server.event('expiring', { within_ms: 30000 });
    await until('a new token', () => server.of('token').length === 1);
    check('token', server.of('token')[0].token, 't2');
    server.event('end', { reason: 'draining' });
    await until('joined anew', () => resumed !== undefined);
    check('state', [over, resumed, room.state, server.of('join').at(-1).resume], [false, false, 'joined', undefined]);
    room.leave();
  },

  async 'the server knows how large and whether an element is seen'() {
    const server = new Server();
    server.users = [{ id: 'ann', sources: [{ source: 'camera' }] }];
    const room = await join({ token: 't' });
    const video = document.createElement('video');
    video.style = 'position: fixed; left: 0; top: 0; width: 320px; height: 180px';
    document.body.append(video);
    const needs = () => server.of('subscribe').map((r) => `${r.width}x${r.height}${r.paused ? ' paused' : ''}`);
    const detach = room.attach(video, 'ann', 'camera');
    await until('size', () => needs().length === 1);
    for (const width of [400, 500, 600, 640]) { // a drag
      video.style.width = `${width}px`;
      await new Promise((r) => setTimeout(r, 30));
    }
    await until('new size', () => needs().length === 2);
    const second = document.createElement('video');
    second.style = 'position: fixed; left: 0; top: 0; width: 960px; height: 540px';
    document.body.append(second);
    const detachSecond = room.attach(second, 'ann', 'camera');
    await until('the larger of two', () => needs().length === 3);
    detachSecond();
    await until('the other again', () => needs().length === 4);
    video.style.display = 'none';
    await until('pause', () => needs().length === 5);
    video.style.display = '';
    await until('play', () => needs().length === 6);
    detach();
    await until('nobody', () => needs().length === 7);
    const ratio = Math.min(2, devicePixelRatio);
    const size = (w, h) => `${w * ratio}x${h * ratio}`;
    check('needs', needs(), [size(320, 180), size(640, 180), size(960, 540), size(640, 180), '0x0 paused', size(640, 180), '0x0 paused']);
    video.remove();
    second.remove();
    room.leave();
  },

  async 'publications of one moment share an offer; one that is refused leaves the rest'() {
    const server = new Server();
    const room = await join({ token: 't' });
    const picture = () => document.createElement('canvas').captureStream().getTracks()[0];
    const sound = new AudioContext().createMediaStreamDestination().stream.getTracks()[0];
    const [camera] = await Promise.all([room.publish('camera', picture(), { codec: 'vp8' }), room.publish('microphone', sound)]);
    check('one offer', server.of('offer').map((r) => r.tracks.map((t) => t.source)), [['camera', 'microphone']]);
    const video = server.of('offer')[0].sdp.split('m=').find((m) => m.startsWith('video'));
    const first = video.split('\r\n')[0].split(' ')[3];
    check('preferred codec', video.includes(`a=rtpmap:${first} VP8/90000`), true);
    server.on.offer = () => ({ type: 'error', code: 'forbidden', field: 'source', message: 'no screens here' });
    const error = await room.publish('shareScreen', picture()).catch((e) => e);
    check('refused', [error.code, error.field, room.tracks.has('shareScreen')], ['forbidden', 'source', false]);
    check('twice', (await room.publish('camera', picture()).catch((e) => e)).code, 'exists');
    delete server.on.offer;
    await room.publish('shareScreen', picture(), { simulcast: true });
    check('all three', server.of('offer').at(-1).tracks.map((t) => t.source), ['camera', 'microphone', 'shareScreen']);
    await camera.stop();
    check('unpublished', [server.of('unpublish').length, server.of('offer').at(-1).tracks.map((t) => t.source)], [1, ['microphone', 'shareScreen']]);
    await room.publish('camera', picture(), { simulcast: true });
    check('again', server.of('offer').at(-1).tracks.length, 3);
    check('places', server.of('offer').at(-1).sdp.split('m=').length - 1, 3);
    room.leave();
  },

  async 'a picture has as many layers as elements have sizes'() {
    const layers = (size, maxBitrate) => encodings({ source: 'camera', track: { getSettings: () => size }, options: { maxBitrate } });
    const of = (...args) => layers(...args).map((l) => `${l.rid ?? ''} /${l.scaleResolutionDownBy ?? 1} ${l.maxBitrate / 1000}`).join(', ');
    check('720p', of({ width: 1280, height: 720 }), 'q /4 134, h /2 449, f /1 1500');
    check('unknown', of({}), of({ width: 1280, height: 720 }));
    check('upright', of({ width: 720, height: 1280 }), of({ width: 1280, height: 720 }));
    check('360p', of({ width: 640, height: 360 }), 'h /2 134, f /1 449');
    check('large', of({ width: 1280, height: 720 }, 6_000_000), 'q /4 134, h /2 449, f /1 6000');
    check('bounded', of({ width: 640, height: 360 }, 300_000), 'h /2 89.532, f /1 300');
    check('small', of({ width: 320, height: 240 }), ' /1 173');
  },

  async 'layers rest and wake as they are told last, and all wake when published anew'() {
    const server = new Server();
    server.on.offer = async ({ sdp }) => {
      await server.peer.setRemoteDescription({ type: 'offer', sdp });
      await server.peer.setLocalDescription();
      const own = server.peer.localDescription.sdp; // Chromium takes no layers itself
      return { sdp: own.includes('a=recvonly') ? `${own}a=rid:q recv\r\na=rid:h recv\r\na=rid:f recv\r\na=simulcast:recv q;h;f\r\n` : own };
    };
    const { setParameters } = RTCRtpSender.prototype;
    let sender;
    RTCRtpSender.prototype.setParameters = function (...args) { sender = this; return setParameters.apply(this, args); };
    const canvas = Object.assign(document.createElement('canvas'), { width: 1280, height: 720 });
    const picture = () => canvas.captureStream().getTracks()[0];
    const active = () => sender?.getParameters().encodings.filter((e) => e.active).map((e) => e.rid).join();
    const tell = (...rids) => server.event('layers', { source: 'camera', active: rids });
    const room = await join({ token: 't' });
    const camera = await room.publish('camera', picture(), { codec: 'vp8' });
    tell('q');
    await until('two rest', () => active() === 'q');
    tell('q', 'h', 'f');
    tell('q', 'h');
    tell('q', 'f');
    await until('the last counts', () => active() === 'q,f');
    tell('q');
    tell('q', 'h', 'f');
    await until('all are awake', () => active() === 'q,h,f');
    tell('q');
    await until('two rest again', () => active() === 'q');
    await camera.stop();
    await room.publish('camera', picture(), { codec: 'vp8' });
    await until('all are awake when published anew', () => active() === 'q,h,f');
    RTCRtpSender.prototype.setParameters = setParameters;
    room.leave();
  },

  async 'a silent socket is asked whether it lives'() {
    const server = new Server();
    const room = await join({ token: 't' });
    await until('ping', () => server.of('ping').length === 1, 8000);
    server.on.ping = () => null;
    await until('given up', () => room.state === 'reconnecting', 20000);
    await until('resumed', () => room.state === 'joined');
    room.leave();
  },
};
for (const [name, run] of Object.entries(cases)) {
  try {
    await run();
  } catch (error) {
    failures.push(`${name}: ${error.stack ?? error}`);
  }
}
window.WebSocket = real;
return failures.join('\n');
