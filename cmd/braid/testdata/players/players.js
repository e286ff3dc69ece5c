// The page of e2e_players_test.go: players beside each other, and what they show.
// The pictures carry the time at which they were sent, as SEI.
/* global Hls, mpegts */
const players = {};

// play starts a player; kind is flv, hls or ll.
function play(name, kind, url) {
  const video = document.createElement('video');
  video.muted = true;
  video.style.width = '320px';
  document.body.append(video);
  const p = { name, video, began: performance.now(), first: 0, frames: 0, resized: 0, width: 0, seis: 0, stamps: [], behind: [], date: 0, trouble: [], fatal: '' };
  players[name] = p;
  // sent notes when a picture was sent: at is its place in the stream, in seconds.
  const sent = (at, bytes) => {
    const stamp = Number(new TextDecoder().decode(bytes).replace(/\D/g, ''));
    p.seis++;
    p.stamps.push({ at, stamp });
    if (p.stamps.length > 600) p.stamps.splice(0, 300);
  };
  const shown = (now, picture) => {
    video.requestVideoFrameCallback(shown);
    if (!p.frames++) p.first = now - p.began;
    if (picture.width !== p.width) {
      if (p.width) p.resized = p.frames;
      p.width = picture.width;
    }
    const of = p.stamps.find((s) => Math.abs(s.at - picture.mediaTime) < 0.012);
    if (of && kind !== 'flv') p.behind.push(performance.timeOrigin + picture.expectedDisplayTime - of.stamp);
  };
  video.requestVideoFrameCallback(shown);
  if (kind === 'flv') {
    const player = mpegts.createPlayer({ type: 'flv', isLive: true, url }, { enableWorker: false, liveBufferLatencyChasing: true });
    player.on(mpegts.Events.ERROR, (type, detail) => { p.fatal = `${type} ${detail}`; });
    player.on(mpegts.Events.SEI_ARRIVED, (d) => sent(d.pts / 1000, d.user_data));
    player.attachMediaElement(video);
    player.load();
    player.play();
    p.close = () => player.destroy();
  } else {
    const player = new Hls({ enableWorker: false, lowLatencyMode: kind === 'll' });
    player.on(Hls.Events.ERROR, (_, e) => {
      p.trouble.push(e.details);
      if (e.fatal) p.fatal = e.details;
    });
    player.on(Hls.Events.FRAG_PARSING_USERDATA, (_, d) => {
      for (const s of d.samples) if (s.userDataBytes) sent(s.pts, s.userDataBytes);
    });
    player.loadSource(url);
    player.attachMedia(video);
    player.on(Hls.Events.MANIFEST_PARSED, () => video.play());
    p.close = () => player.destroy();
    p.byDate = () => player.playingDate && Date.now() - player.playingDate.getTime();
  }
}

// state is what a player has shown so far; behind counts from the last measure().
function state(name) {
  const p = players[name];
  const behind = [...p.behind].sort((a, b) => a - b);
  return {
    frames: p.frames, first: Math.round(p.first), width: p.width, sinceResize: p.resized ? p.frames - p.resized : 0, seis: p.seis,
    behind: behind.length ? Math.round(behind[behind.length >> 1]) : 0, measured: behind.length,
    byDate: p.byDate ? Math.round(p.byDate()) : 0, trouble: p.trouble.slice(-20), fatal: p.fatal,
  };
}

function measure(name) { players[name].behind = []; }

function stop(name) {
  players[name].close();
  players[name].video.remove();
  delete players[name];
}
