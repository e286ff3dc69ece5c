// What happened in a channel, or with a task: the log of events, the newest first.
import { html } from '../preact.js';
import { get } from '../api.js';
import { useLoad } from '../hooks.js';
import { t, bytes, span } from '../i18n.js';
import { Badge, Button, Card, Loaded, Table, Time } from '../ui.js';

/** Reads the end of the log that is of a channel, a task or a stream (AppName/name): at most 500 events. */
async function read(of, signal) {
  const items = [];
  let after = 0;
  for (let page = { more: true }; page.more;) {
    page = await get('/v1/events', { signal, query: { ...of, after, limit: 200 } });
    items.push(...page.items);
    if (items.length > 500) items.splice(0, items.length - 500);
    after = page.next;
  }
  return items.reverse();
}

export function History({ app, channel, task, stream }) {
  const load = useLoad((signal) => read({ app, channel, task, stream }, signal), [app, channel, task, stream]);
  return html`<${Card} title=${t('History')} about=${t('Of the last 7 days.')}
      actions=${html`<${Button} icon="refresh" busy=${load.loading && load.data} onclick=${load.reload}>${t('Refresh')}<//>`}>
    <${Loaded} load=${load} empty=${html`<p class="soft">${t('Nothing has happened yet.')}</p>`}>${(events) => html`<${Table} label=${t('History')}
      rows=${events} rowKey=${(e) => e.seq} columns=${[
        [t('Time'), (e) => html`<${Time} of=${e.time} />`, 'nowrap'],
        [t('Event'), (e) => html`<${EventName} type=${e.type} code=${e.relay?.code} />`],
        ...(stream ? [[t('Template'), (e) => e.stream?.template ?? html`<span class="soft">–</span>`]] : [[task ? 'URL' : t('Who'), (e) => task ? e.relay?.url || html`<span class="soft">${t('the task')}</span>`
          : e.user?.id ?? brief(e.relay?.task ?? e.recording?.task) ?? html`<span class="soft">${t('the channel')}</span>`]]),
        [t('Details'), (e) => details(e)],
      ]} />`}<//><//>`;
}

/** A task's id, which may be a hash, as far as it tells tasks apart. */
const brief = (id) => id?.length > 22 ? html`<span title=${id}>${id.slice(0, 19)}…</span>` : id;

/** An event of the log in words. */
export const eventName = (type) => t({
  ChannelOpen: 'Start the channel', ChannelClose: 'End the channel', UserJoin: 'Join the channel', UserLeave: 'Leave the channel', UserRole: 'Switch the role',
  PublishAudio: 'Start to ingest an audio stream', PublishVideo: 'Start to ingest a video stream', PublishScreen: 'Start to ingest a screen-sharing stream',
  UnpublishAudio: 'Stop ingesting an audio stream', UnpublishVideo: 'Stop ingesting a video stream', UnpublishScreen: 'Stop ingesting a screen-sharing stream',
  RelayStarted: 'Relay started', RelayPlaying: 'Relay is playing', RelayUpdated: 'Relay updated', RelayReconnecting: 'Relay is connecting again',
  RelayFailed: 'Relay failed', RelayStopped: 'Relay stopped',
  StreamStarted: 'The stream is on air', StreamEnded: 'The stream has ended', RecordStarted: 'Recording has begun', RecordFile: 'A recorded file is whole',
  RecordFailed: 'Recording failed', RecordEnded: 'Recording has ended', RecordStopped: 'The cloud recording is over', SnapshotTaken: 'A picture was taken',
}[type] ?? type);

/** Events of the origin's streams. */
export const streamTypes = ['StreamStarted', 'StreamEnded', 'RecordStarted', 'RecordFile', 'RecordFailed', 'RecordEnded', 'SnapshotTaken'];

function EventName({ type }) {
  const kind = { RelayFailed: 'bad', RelayReconnecting: 'warn', RelayPlaying: 'good', RecordFailed: 'bad' }[type];
  return kind ? html`<${Badge} kind=${kind}>${eventName(type)}<//>` : eventName(type);
}

const reasons = { 2: 'joined again', 3: 'from another channel', 4: 'timed out', 5: 'replaced by a newer session', 6: 'kicked', 7: 'the channel was dismissed' };

function details(e) {
  if (e.stream) {
    const { file, reason, remote } = e.stream;
    return [file && `${file.name} (${[file.duration_ms && span(file.duration_ms / 1000), bytes(file.size)].filter(Boolean).join(', ')})`, reason, remote].filter(Boolean).join(' · ');
  }
  if (e.recording) return e.recording.reason ?? '';
  if (e.relay) return e.relay.code ? `${e.relay.code}: ${e.relay.message ?? ''}` : e.relay.message ?? '';
  const parts = [e.user?.role && e.type === 'UserRole' ? (e.user.role === 2 ? t('viewer') : t('streamer')) : '', e.user?.client === 'rtmp' ? 'RTMP' : '', t(reasons[e.user?.reason] ?? '')];
  return parts.filter(Boolean).join(' · ');
}
