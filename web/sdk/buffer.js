// How long pictures are kept back before they are shown. Where packets are lost that must be long enough for them to come
// again; a browser cannot know how long that takes on a connection that only receives, and shows every second picture late.

const every = 2000; // ms between looks
const margin = 40; // ms for noticing a loss, and for the server
const longest = 400; // ms; who talks with each other notices more

/**
 * How long to keep pictures back.
 * @param {number} lost share of packets that had to be sent again
 * @param {number} trip ms there and back
 * @returns {number | null} ms; null: as the browser likes
 */
export function patience(lost, trip) {
  if (!(lost >= 0.01) || !(trip >= 0)) return null;
  const trips = lost < 0.03 ? 1 : 2; // requests and answers are lost, too
  return Math.min(longest, Math.round(trips * trip + margin));
}

/**
 * Sets it for all pictures of a connection, until that is closed.
 * @param {RTCPeerConnection} pc
 */
export function keepBack(pc) {
  if (!('jitterBufferTarget' in RTCRtpReceiver.prototype)) return;
  const known = new Map(); // receiver → {received, again, lost}
  const look = async () => {
    if (pc.connectionState === 'closed') {
      clearInterval(timer);
      return;
    }
    let trip;
    const now = new Map();
    (await pc.getStats()).forEach((s) => {
      if (s.type === 'candidate-pair' && s.nominated) trip = s.currentRoundTripTime * 1000;
      if (s.type === 'inbound-rtp' && s.kind === 'video') now.set(s.trackIdentifier, s);
    });
    for (const receiver of pc.getReceivers()) {
      const s = now.get(receiver.track?.id);
      if (!s) continue;
      const old = known.get(receiver) ?? { received: s.packetsReceived, again: s.retransmittedPacketsReceived ?? 0, lost: 0 };
      const [received, again] = [s.packetsReceived - old.received, (s.retransmittedPacketsReceived ?? 0) - old.again];
      const share = received > 20 ? again / received : old.lost;
      const lost = old.lost + (share - old.lost) * (share > old.lost ? 0.7 : 0.15); // quick to wait, slow to hurry
      known.set(receiver, { received: s.packetsReceived, again: s.retransmittedPacketsReceived ?? 0, lost });
      const target = patience(lost, trip);
      const set = receiver.jitterBufferTarget;
      if (target === null ? set !== null : set === null || Math.abs(target - set) > 20) receiver.jitterBufferTarget = target;
    }
  };
  const timer = setInterval(() => look().catch(() => {}), every);
}
