// How long pictures are kept back before they are shown. Where packets are lost that must be long enough for them to come
// again; a browser cannot know how long that takes on a connection that only receives, and shows every second picture late.

const every = 1000; // ms between looks
const margin = 40; // ms for noticing a loss, and for the server
const longest = 400; // ms; who talks with each other notices more
const upstream = 100; // ms from the server to the publisher and back, as far as a viewer knows

/**
 * How long to keep pictures back.
 * @param {number} lost share of packets that had to come again
 * @param {number} trip ms there and back
 * @returns {number | null} ms; null: as the browser likes
 */
export function patience(lost, trip) {
  if (!(lost >= 0.01) || !(trip >= 0)) return null;
  const trips = lost < 0.03 ? 1 : 2; // requests and answers are lost, too
  return Math.min(longest, Math.round(trips * trip + margin));
}

/** Sums of a receiver's report. What is lost on the publisher's way is asked for, too, but the server does not have it. */
const sums = (s) => ({ received: s.packetsReceived, asked: s.nackCount ?? 0, again: s.retransmittedPacketsReceived ?? 0 });

/**
 * Sets it for all pictures of a connection, until that is closed.
 * @param {RTCPeerConnection} pc
 */
export function keepBack(pc) {
  if (!('jitterBufferTarget' in RTCRtpReceiver.prototype)) return;
  const known = new Map(); // receiver → its sums, and lost: the smoothed share
  const look = async () => {
    if (pc.connectionState === 'closed') {
      clearInterval(timer);
      return;
    }
    let trip;
    const reports = new Map();
    (await pc.getStats()).forEach((s) => {
      if (s.type === 'candidate-pair' && s.nominated) trip = s.currentRoundTripTime * 1000;
      if (s.type === 'inbound-rtp' && s.kind === 'video') reports.set(s.trackIdentifier, s);
    });
    for (const receiver of pc.getReceivers()) {
      const report = reports.get(receiver.track?.id);
      if (!report) continue;
      const now = sums(report);
      const old = known.get(receiver) ?? { ...now, lost: 0 };
      const grown = (field) => now[field] - old[field];
      // The server also sends unasked: to learn what the path carries, and twice what is likely to be lost.
      const came = grown('again') > 2 * grown('asked') ? 0 : grown('again');
      const share = grown('received') > 20 ? Math.max(came, grown('asked')) / grown('received') : old.lost;
      const lost = old.lost + (share - old.lost) * (share > old.lost ? 0.7 : 0.15); // quick to wait, slow to hurry
      known.set(receiver, { ...now, lost });
      const target = patience(lost, grown('again') * 2 < grown('asked') ? trip + upstream : trip);
      const set = receiver.jitterBufferTarget;
      if (target === null ? set !== null : set === null || Math.abs(target - set) > 20) receiver.jitterBufferTarget = target;
    }
  };
  const timer = setInterval(() => look().catch(() => {}), every);
}
