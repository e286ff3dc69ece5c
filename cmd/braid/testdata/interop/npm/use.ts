// A page that uses all of the SDK's types. It is compiled, never run: what is marked
// must not compile.
import { join, devices, Room, LocalTrack, RemoteUser, RemoteSource, BraidError, RoomEvent } from 'braid-sdk';
import type { CameraOptions, EndReason, JoinOptions, Quality, Role, RoomEvents, SourceName, StopReason } from 'braid-sdk';

const options: JoinOptions = { token: async () => 'token', name: 'Ann', role: 'streamer', subscribe: 'manual', sound: false, giveUp: 1000, url: new URL('https://host') };

export async function page(video: HTMLVideoElement): Promise<Map<string, Quality>> {
  const room: Room = await join(options);
  const seen = new Map<string, Quality>();
  const off = room.on('quality', (e) => e.quality.forEach((q, user) => seen.set(user, q)));
  room.on('end', ({ reason, error }) => say(reason, error?.code, error?.field));
  room.on('left', (e) => { const r: 'left' | 'timeout' | 'replaced' | 'kicked' | 'dismissed' = e.reason; say(r); });
  room.on('levels', (e) => say(...e.speakers, String(e.levels.get('ann') ?? -127)));
  room.addEventListener('data', (e) => say(e.from, e.topic, JSON.stringify(e.payload)), { once: true });
  const types: (keyof RoomEvents)[] = ['joined', 'published', 'unpublished', 'track', 'muted', 'role', 'stopped', 'reconnecting', 'reconnected', 'draining', 'soundblocked'];
  for (const type of types) room.on(type, (e: RoomEvent) => say(e.type));

  const camera: CameraOptions = { width: 1280, height: 720, frameRate: 30, simulcast: true, codec: 'vp8', maxBitrate: 1_500_000, degradation: 'balanced', muted: true };
  const track: LocalTrack = await room.publishCamera(camera);
  const stop = track.on('stopped', (e) => { const r: StopReason = e.reason; say(r); });
  await track.mute();
  await track.unmute();
  await track.switchDevice({ facingMode: 'environment' });
  track.attach(video)();
  await (await room.publishScreen({ audio: true, frameRate: 15, codec: 'vp9', scalabilityMode: 'L1T3' })).sound?.stop();
  await room.publishMicrophone({ deviceId: (await devices()).microphones[0]?.deviceId });
  if (track.track) await room.publish('shareAudio', track.track, { simulcast: false });

  for (const user of room.users.values()) each(user);
  const detach = room.attach(video, 'ben', 'camera');
  room.subscribe('ben', 'microphone', { width: 0, height: 0, paused: false });
  room.unsubscribe('ben', 'microphone');
  await room.startSound();
  await room.setSpeaker('default');
  room.setVolume('ben', 0.5, 'shareAudio');
  await room.data({ any: 'thing' }, { to: ['ben'], topic: 'chat', reliable: false });
  const role: Role = room.me.role === 'viewer' ? 'streamer' : 'viewer';
  await room.setRole(role);
  await room.layout('task', [{ PaneId: 0, X: '0' }]);
  room.restartMedia();
  const { up, down } = await room.stats();
  say(room.state, room.app, room.channel, room.me.id, String(up?.size), String(down?.size), String(room.me.quality?.reasons));

  // @ts-expect-error: layers that there are not
  await room.publishCamera({ codec: 'av1', scalabilityMode: 'L4T1' });
  // @ts-expect-error: a role that there is not
  await room.setRole('admin');
  // @ts-expect-error: sound has no element of its own
  room.attach(video, 'ben', 'microphone');
  // @ts-expect-error: an event that there is not
  room.on('closed', () => {});
  // @ts-expect-error: rooms are made by join
  new Room();
  // @ts-expect-error: without a token
  await join({});
  // @ts-expect-error: what a source is does not change
  track.source = 'camera';

  [off, stop, detach].forEach((f) => f());
  room.leave();
  return seen;
}

function each(user: RemoteUser): void {
  const camera: RemoteSource | undefined = user.sources.get('camera');
  const names: SourceName[] = [...user.sources.keys()];
  say(user.id, user.name, user.role, String(user.level), String(user.quality?.down), ...names);
  if (camera?.track) say(camera.codec, String(camera.width * camera.height), String(camera.muted), camera.receiver?.track.id ?? '', camera.user.id);
}

export function words(e: unknown): EndReason | string {
  return e instanceof BraidError ? e.code : 'lost';
}

function say(...what: (string | undefined)[]): void {
  console.log(...what);
}
