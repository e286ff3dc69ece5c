// Types of braid's browser SDK. Times are in ms, sizes in pixels, bit rates in bit/s.

export type SourceName = 'microphone' | 'camera' | 'shareScreen' | 'shareAudio';
export type PictureName = 'camera' | 'shareScreen';
export type Role = 'streamer' | 'viewer';
export type Codec = 'h264' | 'vp8' | 'vp9' | 'av1' | 'h265';

export interface JoinOptions {
  /** A server (`https://host`), or its socket (`wss://host/v1/rtc`). Default: the server that the SDK was loaded from. */
  url?: string | URL;
  /** A join token, or where to get one: it is asked each time that a socket is opened. */
  token: string | (() => string | Promise<string>);
  /** For people; 64 characters at most. */
  name?: string;
  /** Default: the token's, else streamer when it may publish. */
  role?: Role;
  /** `all` (default): everything that others publish is received. `manual`: what is attached or subscribed to. */
  subscribe?: 'all' | 'manual';
  /** Default true: the SDK plays what is heard. False: the page does, from RemoteSource.track. */
  sound?: boolean;
  /** How long a lost server is tried before the room ends. Default 120000. */
  giveUp?: number;
}

/** Joins a channel. Rejects with a BraidError when the server refuses or cannot be reached. */
export function join(options: JoinOptions): Promise<Room>;

export interface Device { deviceId: string; label: string; groupId: string }

/** Cameras, microphones and speakers; labels are empty until a device was allowed. */
export function devices(): Promise<{ cameras: Device[]; microphones: Device[]; speakers: Device[] }>;

/**
 * `code` is the server's (`invalid`, `unauthorized`, `forbidden`, `not_found`, `exists`, `limit`, `unsupported`, `unknown`,
 * `internal`) or the SDK's: `disconnected` (the socket broke before the answer), `timeout`, `ended` (the room is over),
 * `device` (`field` is the browser's error name, or `insecure`; `cause` its error).
 */
export class BraidError extends Error {
  private constructor();
  readonly code: string;
  /** The field of the request that is wrong; empty when it is none. */
  readonly field: string;
  /** Why a session has ended that was to be resumed; else empty. */
  readonly reason: string;
}

export interface Me {
  readonly id: string;
  readonly role: Role;
  /** What the token grants, as the server says it (doc/protocol.md). */
  readonly grants: Readonly<Record<string, unknown>>;
  readonly quality: Quality | null;
}

/**
 * 0 (lost) to 5 (excellent), and why it is not better: `loss`, `jitter`, `rtt`, `bandwidth` (pictures are smaller than
 * wanted, or left out), `disconnected`, and `cpu` for one's own when the device is too slow.
 */
export interface Quality { readonly up: number; readonly down: number; readonly reasons: string[] }

export class RemoteUser {
  private constructor();
  readonly id: string;
  readonly name: string;
  readonly role: Role;
  readonly sources: ReadonlyMap<SourceName, RemoteSource>;
  /** Loudness in dBov as last told, -127 (not heard) to 0. */
  readonly level: number;
  readonly quality: Quality | null;
}

export class RemoteSource {
  private constructor();
  readonly user: RemoteUser;
  readonly source: SourceName;
  readonly muted: boolean;
  readonly codec: string;
  readonly width: number;
  readonly height: number;
  /** null while it is not received. */
  readonly track: MediaStreamTrack | null;
  readonly receiver: RTCRtpReceiver | null;
}

/** Layers inside one stream (SVC), as W3C's webrtc-svc names them: spatial, then temporal ones. */
export type ScalabilityMode =
  | 'L1T1' | 'L1T2' | 'L1T3'
  | `L${2 | 3}T${1 | 2 | 3}${'' | 'h' | '_KEY' | '_KEY_SHIFT'}`;

export interface PublishOptions {
  /** Preferred; the others stay as a way out. */
  codec?: Codec;
  maxBitrate?: number;
  /** What gives way on a weak path. Default: the browser's choice; for a screen the frame rate. */
  degradation?: 'balanced' | 'maintain-framerate' | 'maintain-resolution';
  /**
   * Of pictures. L2 and L3 want the codec vp9 or av1 and no simulcast; viewers get all layers as they are sent. A
   * browser that knows no layers (Firefox) sends one; one that knows others refuses with `unsupported`.
   */
  scalabilityMode?: ScalabilityMode;
  /** Start muted. */
  muted?: boolean;
}

export interface MicrophoneOptions extends PublishOptions {
  deviceId?: string;
  /** Over the defaults: echo cancellation, noise suppression and automatic gain. */
  constraints?: MediaTrackConstraints;
}

export interface CameraOptions extends PublishOptions {
  deviceId?: string;
  facingMode?: 'user' | 'environment';
  /** Ideal values. Default 1280, 720, 30. */
  width?: number;
  height?: number;
  frameRate?: number;
  constraints?: MediaTrackConstraints;
  /**
   * Sends the picture in layers (rids q, h, f: quarter, half, full size; no quarter under 960 pixels, no half under 480),
   * so that each viewer gets what fits its element and its network; those that nobody takes rest. Default true with VP8
   * and H.264. maxBitrate is that of the full one, the others take what their size needs at most; default 1.5 Mbit/s for 720p, 0.45 for 360p, 3 for 1080p.
   */
  simulcast?: boolean;
}

export interface ScreenOptions extends PublishOptions {
  /** Ask for the sound, too. Default true. */
  audio?: boolean;
  /** Default 15. */
  frameRate?: number;
  /** Over the rest of getDisplayMedia's options. */
  constraints?: DisplayMediaStreamOptions;
}

interface Typed<Events> {
  /** Listens; the result stops it. */
  on<T extends keyof Events>(type: T, listener: (event: RoomEvent & Events[T]) => void): () => void;
  addEventListener<T extends keyof Events>(type: T, listener: (event: RoomEvent & Events[T]) => void, options?: AddEventListenerOptions | boolean): void;
  removeEventListener<T extends keyof Events>(type: T, listener: (event: RoomEvent & Events[T]) => void): void;
}

/** An event; its fields are its own properties. */
export class RoomEvent extends Event {}

export type StopReason =
  | 'asked' /** stop() */ | 'ended' /** the device, or the user by the browser's own button */
  | 'role' /** now a viewer */ | 'refused' /** by the server */ | EndReason;

export interface LocalTrackEvents {
  muted: { readonly muted: boolean };
  /** Another device. */
  switched: {};
  stopped: { readonly reason: StopReason };
}

export interface LocalTrack extends Typed<LocalTrackEvents> {}
export class LocalTrack {
  private constructor();
  readonly source: SourceName;
  readonly muted: boolean;
  readonly stopped: boolean;
  /** null while a muted camera is switched off. */
  readonly track: MediaStreamTrack | null;
  /** The sound of a shared screen, where there is one. It stops with the screen. */
  readonly sound?: LocalTrack;
  /** Others get silence or no picture, and are told. A camera goes off; a microphone stays open. */
  mute(): Promise<void>;
  unmute(): Promise<void>;
  /** Stops the device and unpublishes. */
  stop(): Promise<void>;
  /** Another device, without renegotiation. With neither field: the system's default. */
  switchDevice(device?: { deviceId?: string; facingMode?: 'user' | 'environment' }): Promise<void>;
  /** Shows the track in an element, muted, until the result is called. */
  attach(element: HTMLMediaElement): () => void;
}

export type EndReason =
  | 'left' | 'replaced' | 'kicked' | 'dismissed' | 'expired'
  | 'lost' /** no server for as long as giveUp */ | 'refused' /** joining again was refused; see error */;

export interface RoomEvents {
  joined: { readonly user: RemoteUser };
  left: { readonly user: RemoteUser; readonly reason: 'left' | 'timeout' | 'replaced' | 'kicked' | 'dismissed' };
  published: { readonly user: RemoteUser; readonly source: RemoteSource };
  unpublished: { readonly user: RemoteUser; readonly source: RemoteSource };
  /** A source's media arrive, or no longer do. */
  track: { readonly user: RemoteUser; readonly source: RemoteSource; readonly track: MediaStreamTrack | null };
  muted: { readonly user: RemoteUser; readonly source: RemoteSource; readonly muted: boolean };
  /** Somebody's role; `user` is room.me for one's own. */
  role: { readonly user: RemoteUser | Me; readonly role: Role };
  /** Who is heard, in dBov, and the speakers, the loudest first; about every 300 ms while anything changes. */
  levels: { readonly levels: ReadonlyMap<string, number>; readonly speakers: readonly string[] };
  /** Of the users whose quality has changed; one's own with the SDK's own reasons. */
  quality: { readonly quality: ReadonlyMap<string, Quality> };
  data: { readonly from: string; readonly topic: string; readonly payload: any };
  /** An own track has ended, for whatever reason. */
  stopped: { readonly track: LocalTrack; readonly reason: StopReason };
  /** The socket broke; told before each attempt. Media may go on meanwhile. */
  reconnecting: { readonly attempt: number };
  /** resumed: false: a new session; own tracks are published again. */
  reconnected: { readonly resumed: boolean };
  /** The server ends soon. */
  draining: { readonly withinMs: number };
  /** The browser holds sound back: call startSound from a click. */
  soundblocked: {};
  /** It is over. Nothing comes after it. */
  end: { readonly reason: EndReason; readonly error?: BraidError };
}

export interface Room extends Typed<RoomEvents> {}
/** A channel that was joined; join makes it. */
export class Room {
  private constructor();
  readonly state: 'joined' | 'reconnecting' | 'ended';
  readonly app: string;
  readonly channel: string;
  readonly me: Me;
  /** The others, by id. */
  readonly users: ReadonlyMap<string, RemoteUser>;
  /** What this user publishes, by source. */
  readonly tracks: ReadonlyMap<SourceName, LocalTrack>;

  publishCamera(options?: CameraOptions): Promise<LocalTrack>;
  publishMicrophone(options?: MicrophoneOptions): Promise<LocalTrack>;
  publishScreen(options?: ScreenOptions): Promise<LocalTrack>;
  /** A track of the page's own, which stays the page's to stop. */
  publish(source: SourceName, track: MediaStreamTrack, options?: PublishOptions & { simulcast?: boolean }): Promise<LocalTrack>;

  /**
   * Shows a user's picture in an element, now and whenever it is published, until the result is called. The server is
   * told the element's size and whether it can be seen.
   */
  attach(element: HTMLVideoElement, user: string, source: PictureName): () => void;
  /** Subscribes, or changes the size (0: as large as there is) and the pause. An attached element's need goes first. */
  subscribe(user: string, source: SourceName, need?: { width?: number; height?: number; paused?: boolean }): void;
  unsubscribe(user: string, source: SourceName): void;
  startSound(): Promise<void>;
  setSpeaker(deviceId: string): Promise<void>;
  /** 0 to 1, here alone. */
  setVolume(user: string, volume: number, source?: 'microphone' | 'shareAudio'): void;

  /** JSON of at most 16 KiB to the users in `to`, or to everyone else. */
  data(payload: unknown, options?: { to?: string[]; topic?: string; reliable?: boolean }): Promise<void>;
  setRole(role: Role): Promise<void>;
  /** The channel's mixed stream, where the token grants `mix`; panes as UpdateLiveMPUTask's UserPanes. */
  layout(task: string, panes: ReadonlyArray<Record<string, unknown>>): Promise<void>;

  /** Looks for new paths (ICE restart). It happens by itself when one breaks. */
  restartMedia(): void;
  stats(): Promise<{ up: RTCStatsReport | null; down: RTCStatsReport | null }>;
  leave(): void;
}
