// braid's browser SDK: a channel's calls, voice chats and conferences over /v1/rtc (doc/protocol.md, doc/sdk.md).
//
//   import { join } from 'https://braid.example.com/sdk/braid.js';
//   const room = await join({ token });
//   await Promise.all([room.publishCamera(), room.publishMicrophone()]);
//   room.on('published', ({ user, source }) => { if (source.source === 'camera') room.attach(video, user.id, 'camera'); });
//
// No framework, no build step. Browsers: Chromium 100, Firefox 113, Safari 16 and later.
import { Room } from './room.js';

export { Room } from './room.js';
export { LocalTrack, devices } from './local.js';
export { RemoteUser, RemoteSource } from './users.js';
export { BraidError, RoomEvent } from './events.js';

/**
 * Joins a channel. Rejects with a BraidError when the server refuses or cannot be reached.
 * @param {{url?: string, token: string | (() => string | Promise<string>), name?: string,
 *   role?: 'streamer' | 'viewer', subscribe?: 'all' | 'manual', sound?: boolean, giveUp?: number}} options
 */
export async function join(options) {
  return new Room(options).start();
}
