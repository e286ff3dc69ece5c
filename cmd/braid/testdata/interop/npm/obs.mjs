// A WHIP publisher made of libdatachannel, the WebRTC stack of OBS 30 and
// newer, used as OBS uses it: the offer is sent without candidates, and key
// frames come when the encoder makes them.
//
//   node obs.mjs publish URL TOKEN FILE.h264   publishes the file, 30 pictures a second, looped, and silence
//
// Runs until its standard input ends, then ends the session with DELETE. Prints
// {"connected": true}.
import { readFileSync } from 'node:fs';
import rtc from 'node-datachannel';

const [, , , url, token, file] = process.argv;
const say = (words) => console.log(JSON.stringify(words));

/** Cuts Annex B into pictures; each slice ends one. */
function pictures(bytes) {
  const starts = [];
  for (let i = bytes.indexOf('\0\0\x01'); i >= 0; i = bytes.indexOf('\0\0\x01', i + 3)) starts.push(i);
  const all = [];
  let picture = [];
  starts.forEach((at, n) => {
    let end = starts[n + 1] ?? bytes.length;
    while (bytes[end - 1] === 0) end--;
    picture.push(Buffer.from([0, 0, 0, 1]), bytes.subarray(at + 3, end));
    const kind = bytes[at + 3] & 31;
    if (kind === 1 || kind === 5) {
      all.push(Buffer.concat(picture));
      picture = [];
    }
  });
  return all;
}

function track(pc, media, ssrc, config, packetizer) {
  media.addSSRC(ssrc, 'obs', 'obs', media.mid());
  packetizer.addToChain(new rtc.RtcpSrReporter(config));
  packetizer.addToChain(new rtc.RtcpNackResponder());
  const made = pc.addTrack(media);
  made.setMediaHandler(packetizer);
  return made;
}

const pc = new rtc.PeerConnection('obs', { iceServers: [], disableAutoNegotiation: true });
const audio = new rtc.Audio('0', 'SendOnly');
audio.addOpusCodec(111);
const opus = new rtc.RtpPacketizationConfig(1001, 'obs', 111, 48000);
const sound = track(pc, audio, 1001, opus, new rtc.RtpPacketizer(opus));
const video = new rtc.Video('1', 'SendOnly');
video.addH264Codec(96);
const h264 = new rtc.RtpPacketizationConfig(1002, 'obs', 96, 90000);
const picture = track(pc, video, 1002, h264, new rtc.H264RtpPacketizer('StartSequence', h264));

pc.onStateChange((state) => {
  if (state === 'connected') say({ connected: true });
});
pc.setLocalDescription('offer');
const headers = { Authorization: `Bearer ${token}`, 'Content-Type': 'application/sdp' };
const offer = pc.localDescription().sdp.split('\r\n').filter((line) => !line.startsWith('a=candidate') && line !== 'a=end-of-candidates').join('\r\n');
const answer = await fetch(url, { method: 'POST', headers, body: offer });
if (answer.status !== 201) throw new Error(`${answer.status} ${await answer.text()}`);
pc.setRemoteDescription(await answer.text(), 'answer');

const all = pictures(readFileSync(file));
const silence = Buffer.from([0xf8, 0xff, 0xfe]);
const began = performance.now();
let shown = 0;
let heard = 0;
const clock = setInterval(() => {
  const now = performance.now() - began;
  for (; shown * 1000 / 30 <= now; shown++) {
    h264.timestamp = shown * 3000;
    if (picture.isOpen()) picture.sendMessageBinary(all[shown % all.length]);
  }
  for (; heard * 20 <= now; heard++) {
    opus.timestamp = heard * 960;
    if (sound.isOpen()) sound.sendMessageBinary(silence);
  }
}, 5);

process.stdin.resume();
process.stdin.on('end', async () => {
  clearInterval(clock);
  pc.close(); // OBS sends its DELETE after this, too
  const gone = await fetch(new URL(answer.headers.get('Location'), url), { method: 'DELETE', headers });
  if (gone.status !== 200) throw new Error(`DELETE: ${gone.status}`);
  rtc.cleanup();
  process.exit(0);
});
