// WHIP (RFC 9725) and WHEP from a page: one offer that holds all candidates,
// one answer, DELETE at the end.

/** A server's refusal; message is its detail in words. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Turns an answer that is not a success into a Refused. */
export async function refusal(response) {
  const text = await response.text();
  let words = text.trim().slice(0, 300);
  try {
    const problem = JSON.parse(text);
    words = problem.detail || problem.title || words;
  } catch { /* not problem+json: the text itself has to do */ }
  return new Refused(response.status, words || `The server answered ${response.status}.`);
}

/**
 * Publishes the tracks of a stream.
 * @param {{url: string, token: string, stream: MediaStream, codec: string}} what codec is "h264" or "vp8"
 * @returns {Promise<Session>}
 */
export async function publish({ url, token, stream, codec }) {
  const pc = new RTCPeerConnection();
  for (const track of stream.getTracks()) {
    const transceiver = pc.addTransceiver(track, { direction: 'sendonly', streams: [stream] });
    if (track.kind === 'video') prefer(transceiver, codec);
  }
  const session = await connect(pc, url, token);
  for (const sender of pc.getSenders()) keepSize(sender);
  return session;
}

/**
 * Watches one source of a user. session.stream fills as tracks arrive.
 * @param {{url: string, token: string}} what
 * @returns {Promise<Session>}
 */
export async function watch({ url, token }) {
  const pc = new RTCPeerConnection();
  pc.addTransceiver('audio', { direction: 'recvonly' });
  layered(pc.addTransceiver('video', { direction: 'recvonly' }));
  const stream = new MediaStream();
  pc.ontrack = (event) => stream.addTrack(event.track);
  const session = await connect(pc, url, token);
  session.stream = stream;
  return session;
}

/**
 * A running session: pc, ended (resolves when it has failed or was closed, with the server's reason in words if it has sent
 * this user away: do not come back then) and close.
 * @typedef {{pc: RTCPeerConnection, ended: Promise<string>, close: () => void, stream?: MediaStream}} Session
 */
async function connect(pc, url, token) {
  try {
    await pc.setLocalDescription();
    await gathered(pc, 1000);
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'Content-Type': 'application/sdp', Authorization: `Bearer ${token}` },
      body: pc.localDescription.sdp,
    });
    if (response.status !== 201) throw await refusal(response);
    const location = new URL(response.headers.get('Location'), response.url);
    const end = () => goodbye(location, token);
    try {
      await pc.setRemoteDescription({ type: 'answer', sdp: await response.text() });
    } catch (error) {
      end();
      throw error;
    }
    return session(pc, end);
  } catch (error) {
    pc.close();
    throw error;
  }
}

/** Ends a session. Resolves with why the server had ended it before, in words; '' when it had not, or when nobody answers in 3 s. */
async function goodbye(location, token) {
  try {
    const response = await fetch(location, { method: 'DELETE', headers: { Authorization: `Bearer ${token}` }, keepalive: true, signal: AbortSignal.timeout(3000) });
    return response.status === 410 ? (await refusal(response)).message : '';
  } catch {
    return '';
  }
}

function session(pc, end) {
  let finish;
  const ended = new Promise((resolve) => { finish = resolve; });
  let open = true;
  const close = () => {
    if (!open) return;
    open = false;
    pc.close();
    finish(end());
  };
  pc.onconnectionstatechange = () => {
    if (pc.connectionState === 'failed' || pc.connectionState === 'closed') close();
  };
  const dtls = pc.getTransceivers()[0]?.receiver.transport; // shows the server's goodbye at once, connectionState after 20 s
  dtls?.addEventListener('statechange', () => {
    if (dtls.state === 'failed' || dtls.state === 'closed') close();
  });
  return { pc, ended, close };
}

/** Waits until all candidates are known, at most limit ms: mDNS and TURN can be slow, and the first ones do. */
function gathered(pc, limit) {
  if (pc.iceGatheringState === 'complete') return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, limit);
    pc.addEventListener('icegatheringstatechange', () => {
      if (pc.iceGatheringState !== 'complete') return;
      clearTimeout(timer);
      resolve();
    });
  });
}

/** AV1 in layers (SVC) can be played with its dependency descriptor alone, which Chromium offers when it is asked to. */
function layered(transceiver) {
  const all = transceiver.getHeaderExtensionsToNegotiate?.() ?? [];
  const descriptor = all.find((e) => e.uri.endsWith('#dependency-descriptor-rtp-header-extension'));
  if (!descriptor) return;
  descriptor.direction = 'sendrecv';
  transceiver.setHeaderExtensionsToNegotiate(all);
}

/** Offers one codec only, with its retransmission format; a browser without it offers what it has. */
function prefer(transceiver, codec) {
  const all = RTCRtpSender.getCapabilities('video').codecs;
  const wanted = all.filter((c) => c.mimeType.toLowerCase() === `video/${codec}`);
  if (wanted.length === 0) return;
  transceiver.setCodecPreferences([...wanted, ...all.filter((c) => c.mimeType === 'video/rtx')]);
}

/** Keeps the picture's size while the bandwidth estimate is young: fewer frames for a second instead of a small picture for ten. */
function keepSize(sender) {
  if (!sender.track || sender.track.kind !== 'video') return;
  const parameters = sender.getParameters();
  parameters.degradationPreference = 'maintain-resolution';
  sender.setParameters(parameters).catch(() => {}); // Firefox does not know it yet
}
