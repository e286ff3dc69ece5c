// What an impairment test notes in its pages: when each picture was shown, by the number in the clip's strip (see clip in
// media_test.go), and the reports of both connections.
const cells = 20;

/** Notes [ms since the epoch, number of the picture or -1, width] of every picture that a <video> shows. */
window.watchPictures = (video) => {
  const seen = window.seen = [];
  const context = new OffscreenCanvas(3 * cells, 1).getContext('2d', { willReadFrequently: true });
  context.imageSmoothingEnabled = false;
  const number = () => {
    const strip = video.videoHeight * 32 / 360;
    context.drawImage(video, 0, strip / 4, video.videoWidth, strip / 2, 0, 0, 3 * cells, 1);
    const { data } = context.getImageData(0, 0, 3 * cells, 1);
    const white = (i) => data[4 * (3 * i + 1) + 1] > 127;
    let [n, parity] = [0, false];
    for (let i = 0; i < 14; i++) {
      if (i < 10 && white(2 + i)) n |= 1 << i;
      parity = parity !== white(2 + i);
    }
    return white(0) && !white(1) && white(17) && !white(18) && parity === white(16) ? n : -1;
  };
  const look = (now) => {
    seen.push([performance.timeOrigin + now, number(), video.videoWidth]);
    video.requestVideoFrameCallback(look);
  };
  video.requestVideoFrameCallback(look);
};

/** How often connections were negotiated. */
window.negotiations = 0;
const set = RTCPeerConnection.prototype.setRemoteDescription;
RTCPeerConnection.prototype.setRemoteDescription = function (...args) {
  window.negotiations++;
  return set.apply(this, args);
};

/** Sums of both connections' reports, by field; levels as they are now. */
window.figures = async (room) => {
  const out = { at: Date.now(), negotiations: window.negotiations };
  const take = (prefix, s, fields) => { for (const f of fields) if (s[f] !== undefined) out[prefix + f] = s[f]; };
  const add = (prefix, s, fields) => { for (const f of fields) out[prefix + f] = (out[prefix + f] ?? 0) + (s[f] ?? 0); }; // over layers
  const { up, down } = await room.stats();
  down?.forEach((s) => {
    if (s.type !== 'inbound-rtp') return;
    if (s.kind === 'audio') {
      take('audio_', s, ['concealedSamples', 'silentConcealedSamples', 'totalSamplesReceived', 'packetsReceived', 'packetsLost',
        'packetsDiscarded', 'retransmittedPacketsReceived', 'fecPacketsReceived', 'nackCount', 'jitterBufferDelay', 'jitterBufferEmittedCount']);
    } else {
      take('video_', s, ['framesDecoded', 'framesDropped', 'keyFramesDecoded', 'freezeCount', 'totalFreezesDuration', 'packetsReceived', 'packetsLost',
        'retransmittedPacketsReceived', 'nackCount', 'pliCount', 'firCount', 'bytesReceived', 'jitterBufferDelay', 'jitterBufferEmittedCount', 'frameWidth']);
    }
  });
  up?.forEach((s) => {
    if (s.type === 'outbound-rtp' && s.kind === 'video') {
      add('sent_', s, ['bytesSent', 'framesEncoded', 'keyFramesEncoded', 'nackCount', 'pliCount', 'firCount', 'retransmittedPacketsSent', 'packetsSent', 'totalPacketSendDelay', 'framesSent', 'targetBitrate']);
      out.sent_frameWidth = Math.max(out.sent_frameWidth ?? 0, s.frameWidth ?? 0);
      out.sent_limit = s.qualityLimitationReason;
    }
    if (s.type === 'candidate-pair' && s.nominated) take('sent_', s, ['availableOutgoingBitrate', 'currentRoundTripTime']);
  });
  return out;
};
