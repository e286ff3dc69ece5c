// What TestLayers does in its pages: somebody who publishes a camera, and people who look at it in elements of any size.
// testdata/sights.js, which reads the numbers in the pictures, comes before it.
const { join } = await import('/sdk/braid.js');

/** Publishes a camera. */
window.film = async (token, options) => {
  window.room = await join({ token });
  window.camera = await room.publishCamera(options);
};

/** What is sent: rid → {width, frames, active, limited, keys, plis}. */
window.sending = async () => {
  const out = {};
  (await room.stats()).up.forEach((s) => {
    if (s.type !== 'outbound-rtp' || s.kind !== 'video') return;
    out[s.rid ?? ''] = { width: s.frameWidth ?? 0, frames: s.framesSent ?? 0, active: s.active, mode: s.scalabilityMode ?? '',
      limited: s.qualityLimitationReason, keys: s.keyFramesEncoded ?? 0, plis: s.pliCount ?? 0, target: s.targetBitrate ?? 0 };
  });
  return out;
};

window.viewers = {};

/** Somebody joins and sees a user's camera in an element of some size. */
window.look = async (name, token, user, width, height) => {
  const viewer = viewers[name] = { room: await join({ token }), video: document.createElement('video') };
  viewer.video.muted = viewer.video.autoplay = true;
  resize(name, width, height);
  document.body.append(viewer.video);
  viewer.off = viewer.room.attach(viewer.video, user, 'camera');
  watchPictures(viewer.video);
  viewer.seen = window.seen;
  viewer.source = () => viewer.room.users.get(user)?.sources.get('camera');
};

window.resize = (name, width, height) => {
  viewers[name].video.style = `display: ${width ? 'inline-block' : 'none'}; width: ${width}px; height: ${height}px`;
};

/** What has come to a viewer so far. */
window.got = async (name) => {
  const out = { width: 0 };
  (await viewers[name].source()?.receiver?.getStats())?.forEach((s) => {
    if (s.type !== 'inbound-rtp') return;
    Object.assign(out, { width: s.frameWidth ?? 0, frames: s.framesDecoded ?? 0, dropped: s.framesDropped ?? 0, lost: s.packetsLost, plis: s.pliCount ?? 0,
      nacks: s.nackCount ?? 0, freezes: s.freezeCount ?? 0, frozen: 1000 * (s.totalFreezesDuration ?? 0), packets: s.packetsReceived });
  });
  return out;
};
