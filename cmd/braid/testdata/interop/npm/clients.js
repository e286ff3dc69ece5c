// The WHIP and WHEP clients from npm, each behind the same two functions. The
// test bundles this file with esbuild and opens it in Chromium, on a page of
// another origin than the server.
import { WHIPClient } from 'whip-whep/whip.js';
import { WHEPClient } from 'whip-whep/whep.js';
import { WHIPClient as EyevinnWHIP } from '@eyevinn/whip-web-client';
import { WebRTCPlayer } from '@eyevinn/webrtc-player';

const camera = () => navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 640, height: 360, frameRate: 30 } });

function video(id) {
  const element = Object.assign(document.createElement('video'), { id, autoplay: true });
  document.body.append(element);
  return element;
}

window.sessions = {};

window.clients = {
  'whip-whep': {
    async publish(url, token) {
      const pc = new RTCPeerConnection();
      const stream = await camera();
      for (const track of stream.getTracks()) pc.addTransceiver(track, { direction: 'sendonly', streams: [stream] });
      const whip = new WHIPClient();
      await whip.publish(pc, url, token);
      return { pc, restart: () => whip.restart(), stop: () => whip.stop() };
    },
    async watch(url, token, id) {
      const pc = new RTCPeerConnection();
      const stream = new MediaStream();
      pc.addTransceiver('audio', { direction: 'recvonly' });
      pc.addTransceiver('video', { direction: 'recvonly' });
      pc.ontrack = ({ track }) => stream.addTrack(track);
      const whep = new WHEPClient();
      await whep.view(pc, url, token);
      video(id).srcObject = stream;
      return { pc, stop: () => whep.stop() };
    },
  },
  eyevinn: {
    async publish(url, token) {
      const whip = new EyevinnWHIP({ endpoint: url, opts: { authkey: token, iceServers: [] } });
      await whip.setIceServersFromEndpoint();
      const began = performance.now();
      await whip.ingest(await camera());
      await whip.getResourceUrl();
      return { pc: whip.peer, trickled: whip.supportTrickleIce(), took: performance.now() - began, stop: () => whip.destroy() };
    },
    async watch(url, token, id) {
      const player = new WebRTCPlayer({ video: video(id), type: 'whep', iceServers: [] });
      await player.load(new URL(url), `Bearer ${token}`);
      return { get pc() { return player.peer; }, stop: () => player.unload() };
    },
  },
};
