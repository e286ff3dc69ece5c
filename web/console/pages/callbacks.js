// Callbacks: who is told what, in the two tabs of the seed and one for streams, and the way to the records.
import { html, useState } from '../preact.js';
import { get, path, post, put, remove } from '../api.js';
import { to, useAction, useLoad } from '../hooks.js';
import { t } from '../i18n.js';
import { Button, Card, Check, Confirm, Empty, FormDialog, Loaded, Note, PageHead, Table, Tabs, TextField, Time, toast } from '../ui.js';
import { eventName, streamTypes } from './history.js';

export function CallbackTabs({ app, current }) {
  const tabs = [
    [t('Channel and User Callbacks'), to('applications', app.id, 'callbacks')],
    [t('Mixed-stream Relay Callbacks'), to('applications', app.id, 'callbacks', 'mpu')],
    [t('Stream Callbacks'), to('applications', app.id, 'callbacks', 'stream')],
    [t('Callback Records'), to('applications', app.id, 'records')],
  ];
  return html`<${Tabs} label=${t('Callbacks')} tabs=${tabs} current=${tabs[current][0]} />`;
}

const kinds = ['room', 'mpu', 'stream'];

/** What a tab says about itself: title, sentence. */
const heads = (kind) => ({
  room: [t('Channel and user events'), t('Channels that start and end, users who come, go, change their role or publish. An application has up to 20 tasks, one of them for all channels.')],
  mpu: [t('Stream relay events'), t('A relay task has started, plays, was changed, connects again, failed or stopped. An application has one task for them.')],
  stream: [t('Stream events'), t('Streams of the origin that come and go, files that were recorded, pictures that were taken: of the streams that the application’s templates or its stream relay are for. An application has up to 20 tasks.')],
})[kind];

/** The columns that say what a task is for. */
const scope = (kind) => ({
  room: [
    [t('Event Scope'), (c) => c.events.map((e) => e === 'UserEvent' ? t('User events') : t('Channel events')).join(', ')],
    [t('Channel'), (c) => some(c.channels)],
    [t('User'), (c) => some(c.users)],
  ],
  mpu: [[t('Channel'), (c) => some(c.channels)]],
  stream: [[t('Event Scope'), (c) => some(c.events.length < streamTypes.length ? c.events.map(eventName) : [])]],
})[kind];
const some = (items) => items.length ? items.join(', ') : html`<span class="soft">${t('all')}</span>`;

export function Callbacks({ app, route }) {
  const kind = kinds.find((one) => one === route.parts[3]) ?? 'room';
  const load = useLoad(async (signal) => (await get(path('applications', app.id, 'callbacks'), { signal, query: { kind } })).items, [app.id, kind]);
  const [edited, setEdited] = useState(null); // a callback, or {} for a new one
  const [deleted, setDeleted] = useState(null);
  const mpu = kind === 'mpu';
  const [title, about] = heads(kind);
  const make = html`<${Button} kind="primary" icon="plus" onclick=${() => setEdited({})}>${mpu ? t('Configure') : t('Create Task')}<//>`;
  return html`<${PageHead} title=${t('Callbacks')} about=${t('Your server is told by HTTP what happens, in order and until it has answered.')} />
    <${CallbackTabs} app=${app} current=${kinds.indexOf(kind)} />
    <${Card} title=${title} about=${about}
        actions=${load.data && !(mpu && load.data.length) && make}>
      <${Loaded} load=${load} empty=${html`<${Empty} icon="bell" title=${t('There is no callback task yet')}><p>${t('Events are kept in the log for 7 days in any case.')}</p>${make}<//>`}>
        ${(items) => html`<${Table} label=${t('Callback tasks')} rows=${items} rowKey=${(c) => c.id} columns=${[
          [t('Callback URL'), (c) => html`<span><b class="rowname">${c.url}</b><span class="sub mono">${c.id}</span></span>`],
          ...scope(kind),
          [t('Changed'), (c) => html`<${Time} of=${c.updated} />`, 'nowrap'],
          [t('Actions'), (c) => html`<span>
            <a class="button text" href=${`${to('applications', app.id, 'records')}?callback=${encodeURIComponent(c.id)}`}>${t('Records')}</a>
            <${Button} kind="text" aria-label=${t('Edit {url}', { url: c.url })} onclick=${() => setEdited(c)}>${t('Edit')}<//>
            <${Button} kind="text danger" aria-label=${t('Delete {url}', { url: c.url })} onclick=${() => setDeleted(c)}>${t('Delete')}<//></span>`, 'end'],
        ]} />`}<//>
    <//>
    ${edited && html`<${Edit} app=${app} kind=${kind} callback=${edited} onclose=${() => setEdited(null)} done=${load.reload} />`}
    ${deleted && html`<${Delete} app=${app} callback=${deleted} onclose=${() => setDeleted(null)} done=${load.reload} />`}`;
}

const split = (text) => text.split(/[,，\s]+/).filter(Boolean);
const identifier = /^[A-Za-z0-9_-]{1,64}$/;

/** What is wrong with a task as it is written, by field. */
function check(kind, s) {
  const channels = split(s.channels);
  const users = split(s.users);
  const bad = (ids) => ids.find((id) => !identifier.test(id));
  const form = (id) => t('{id} is not 1 to 64 letters, digits, underscores (_) and hyphens (-).', { id });
  let url = '';
  if (!/^https?:\/\/[^/\s]+/i.test(s.url.trim())) url = t('A callback URL begins with http:// or https://.');
  return {
    url,
    events: kind === 'room' && !s.userEvents && !s.channelEvents ? t('Choose user events, channel events, or both.') : kind === 'stream' && !s.types.length ? t('Choose one event or more.') : '',
    channels: bad(channels) ? form(bad(channels)) : kind === 'room' && channels.length > 1 ? t('A task is for one channel, or for all.')
      : channels.length > 20 ? t('There are {n} channels; up to 20 can be given.', { n: channels.length }) : '',
    users: bad(users) ? form(bad(users)) : users.length > 20 ? t('There are {n} users; up to 20 can be given.', { n: users.length })
      : users.length && !channels.length ? t('With users, a channel is needed, too.')
        : users.length && !s.userEvents ? t('Users count for user events alone.') : '',
  };
}

function Edit({ app, kind, callback, onclose, done }) {
  const mpu = kind === 'mpu';
  const [s, setS] = useState({
    url: callback.url ?? '', channels: (callback.channels ?? []).join(', '), users: (callback.users ?? []).join(', '),
    types: kind === 'stream' ? callback.events ?? streamTypes.filter((type) => type !== 'SnapshotTaken') : [],
    userEvents: callback.events?.includes('UserEvent') ?? true, channelEvents: callback.events?.includes('ChannelEvent') ?? true,
  });
  const set = (change) => setS((now) => ({ ...now, ...change }));
  const [tried, setTried] = useState(false);
  const wrong = check(kind, s);
  const [save, busy, problem] = useAction(async () => {
    setTried(true);
    if (Object.values(wrong).some(Boolean)) return;
    const body = { url: s.url.trim() };
    if (kind === 'stream') body.events = s.types;
    else body.channels = split(s.channels);
    if (kind === 'room') {
      body.events = [s.channelEvents && 'ChannelEvent', s.userEvents && 'UserEvent'].filter(Boolean);
      body.users = split(s.users);
    }
    const base = ['applications', app.id, 'callbacks'];
    await (callback.id ? put(path(...base, callback.id), body) : post(path(...base), { kind, ...body }));
    toast(callback.id ? t('The task has been changed. It applies to the next event.') : t('The task has been created.'));
    done();
    onclose();
  });
  const shown = (field) => (tried && wrong[field]) || problem?.fields?.[field] || Object.entries(problem?.fields ?? {}).find(([name]) => name.startsWith(`${field}[`))?.[1];
  return html`<${FormDialog} wide title=${callback.id ? t('Edit the task') : mpu ? t('Configure') : t('Create Task')} onclose=${onclose} submit=${save} busy=${busy} problem=${problem}>
    <${TextField} label=${t('Callback URL')} value=${s.url} oninput=${(url) => set({ url })} wrong=${shown('url')} type="url" name="url" autofocus placeholder="https://example.com/braid"
      hint=${t('HTTP and HTTPS. HTTPS is recommended. A private address, such as 127.0.0.1, has to be in outbound.allow of the config.')} />
    ${kind === 'stream' && html`<${StreamEvents} chosen=${s.types} choose=${(types) => set({ types })} wrong=${shown('events')} />`}
    ${kind === 'room' && html`<fieldset><legend>${t('Event Scope')}</legend>
      <${Check} label=${t('User events')} checked=${s.userEvents} onchange=${(userEvents) => set({ userEvents })}
        hint=${t('Join and leave the channel, switch the role; start to ingest and stop ingesting a video, an audio and a screen-sharing stream.')} />
      <${Check} label=${t('Channel events')} checked=${s.channelEvents} onchange=${(channelEvents) => set({ channelEvents })} hint=${t('Start and end the channel.')} />
      ${shown('events') && html`<p class="problem" role="alert">${shown('events')}</p>`}</fieldset>`}
    ${kind !== 'stream' && html`<${TextField} label=${mpu ? t('Channel') : t('Specified Channel')} optional value=${s.channels} oninput=${(channels) => set({ channels })} wrong=${shown('channels')} name="channels"
      hint=${mpu ? t('Up to 20 channel IDs, separated with commas. Left empty, callbacks of all channels are sent.') : t('Left empty, callbacks of all channels are sent.')} />`}
    ${kind === 'room' && html`<${TextField} label=${t('Specified User')} optional value=${s.users} oninput=${(users) => set({ users })} wrong=${shown('users')} name="users"
      hint=${t('For user events alone, and only with a channel. Up to 20 user IDs, separated with commas.')} />`}
    ${/^http:/i.test(s.url.trim()) && html`<${Note} kind="warn">${t('Without TLS anybody on the way can read the callbacks. Their signature still shows whether they are genuine.')}<//>`}
  <//>`;
}

const hints = () => ({
  RecordFile: t('With its name, size and duration.'), RecordFailed: t('For instance when the disk is full. The stream goes on.'),
  SnapshotTaken: t('Comes for each picture of each stream.'),
});

const StreamEvents = ({ chosen, choose, wrong }) => html`<fieldset><legend>${t('Event Scope')}</legend>
  ${streamTypes.map((type) => html`<${Check} key=${type} label=${eventName(type)} checked=${chosen.includes(type)} hint=${hints()[type]}
    onchange=${(on) => choose(streamTypes.filter((one) => one === type ? on : chosen.includes(one)))} />`)}
  ${wrong && html`<p class="problem" role="alert">${wrong}</p>`}</fieldset>`;

function Delete({ app, callback, onclose, done }) {
  const [del, busy, problem] = useAction(async () => {
    await remove(path('applications', app.id, 'callbacks', callback.id));
    toast(t('The task has been deleted.'));
    done();
    onclose();
  });
  return html`<${Confirm} title=${t('Delete this callback task?')} ok=${t('Delete')} onclose=${onclose} act=${del} busy=${busy} problem=${problem}>
    <p class="mono">${callback.url}</p><p>${t('What waits to be delivered to it is dropped. Its records stay for 7 days.')}</p><//>`;
}
