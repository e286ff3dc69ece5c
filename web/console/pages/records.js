// Callback Records: every attempt to deliver, what it carried and what was answered; and what waits or was given up.
import { html, useState } from '../preact.js';
import { get, list, path, post } from '../api.js';
import { to, useAction, useLoad, usePages } from '../hooks.js';
import { t, span } from '../i18n.js';
import { Badge, Button, Card, Copy, Dialog, Empty, Loaded, PageHead, SelectField, Table, TextField, Time, Trouble, toast } from '../ui.js';
import { CallbackTabs } from './callbacks.js';
import { eventName, streamTypes } from './history.js';

const types = ['ChannelOpen', 'ChannelClose', 'UserJoin', 'UserLeave', 'UserRole', 'PublishAudio', 'PublishVideo', 'PublishScreen', 'UnpublishAudio',
  'UnpublishVideo', 'UnpublishScreen', 'RelayStarted', 'RelayPlaying', 'RelayUpdated', 'RelayReconnecting', 'RelayFailed', 'RelayStopped', ...streamTypes, 'RecordStopped'];

export function Records({ app, route }) {
  const [show, setShow] = useState('attempts');
  const [filter, setFilter] = useState({ callback: route.query.get('callback') ?? '', channel: '', type: '', result: '', from: '', to: '' });
  const tasks = useLoad(async (signal) => (await get(path('applications', app.id, 'callbacks'), { signal })).items, [app.id]);
  const set = (name) => (value) => setFilter((f) => ({ ...f, [name]: value }));
  const named = (tasks.data ?? []).map((c) => [c.id, c.url.replace(/^https?:\/\//, '')]);
  if (filter.callback && !named.some(([id]) => id === filter.callback)) named.push([filter.callback, filter.callback]);
  return html`<${PageHead} title=${t('Callback Records')} about=${t('Every attempt of the last 7 days.')} />
    <${CallbackTabs} app=${app} current=${3} />
    <${Card}>
      <div class="inline filters">
        <${SelectField} label=${t('Show')} value=${show} onchange=${setShow} options=${[['attempts', t('Attempts')], ['pending', t('What waits')], ['failed', t('What was given up')]]} />
        <${SelectField} label=${t('Task')} value=${filter.callback} onchange=${set('callback')} options=${[['', t('all')], ...named]} />
        ${show === 'attempts' && html`
          <${TextField} label=${t('Channel or stream')} value=${filter.channel} oninput=${set('channel')} />
          <${SelectField} label=${t('Event')} value=${filter.type} onchange=${set('type')} options=${[['', t('all')], ...types.map((type) => [type, eventName(type)])]} />
          <${SelectField} label=${t('Result')} value=${filter.result} onchange=${set('result')} options=${[['', t('all')], ['ok', t('delivered')], ['failed', t('failed')]]} />
          <${TextField} label=${t('From')} type="datetime-local" value=${filter.from} oninput=${set('from')} />
          <${TextField} label=${t('To')} type="datetime-local" value=${filter.to} oninput=${set('to')} />`}
      </div>
      ${show === 'attempts' ? html`<${Attempts} app=${app} filter=${filter} />` : html`<${Waiting} app=${app} state=${show} callback=${filter.callback} />`}
    <//>`;
}

const utc = (local) => local ? new Date(local).toISOString() : '';

function Attempts({ app, filter }) {
  const query = { ...filter, from: utc(filter.from), to: utc(filter.to) };
  const load = usePages((cursor, signal) => get(path('applications', app.id, 'callback-records'), { signal, query: { ...query, limit: 50, cursor } }), [app.id, query]);
  const [open, setOpen] = useState(null);
  return html`<div class="actions between"><span class="soft">${load.data && t('{n} shown, the newest first', { n: load.data.items.length })}</span>
      <${Button} icon="refresh" busy=${load.loading && load.data} onclick=${load.reload}>${t('Refresh')}<//></div>
    <${Loaded} load=${load}>${({ items, next }) => !items.length ? html`<${Empty} icon="list" title=${t('There are no records')}><p>${t('Records appear when an event has happened that a callback task is for.')}</p><//>`
      : html`<${Table} label=${t('Callback Records')} rows=${items} rowKey=${(r) => r.id} columns=${[
          [t('Time'), (r) => html`<${Time} of=${r.time} />`, 'nowrap'],
          [t('Event'), (r) => html`<span>${eventName(r.type)}<span class="sub">${[r.user, r.task].filter(Boolean).join(' · ')}</span></span>`, 'wide'],
          [t('Channel or stream'), (r) => r.channel],
          [t('Result'), (r) => html`<${Result} of=${r} />`, 'wide'],
          [t('Attempt'), (r) => r.attempt, 'num'],
          [t('Cost'), (r) => `${r.cost_ms} ms`, 'num nowrap'],
          [t('Actions'), (r) => html`<span><${Button} kind="text" aria-label=${t('Details of {what}', { what: eventName(r.type) })} onclick=${() => setOpen(r)}>${t('Details')}<//></span>`, 'end'],
        ]} />
        ${next && html`<div><${Button} busy=${load.loading} onclick=${load.more}>${t('Show more')}<//></div>`}`}<//>
    ${open && html`<${Record} app=${app} record=${open} onclose=${() => setOpen(null)} resent=${load.reload} />`}`;
}

const failures = {
  status: 'answered with an error', timeout: 'no answer in time', forbidden: 'a private address that outbound.allow in the config does not name', dns: 'the name has no address',
  refused: 'the connection was refused', tls: 'no valid TLS', lost: 'the connection was lost',
};

const Result = ({ of }) => of.failure === undefined
  ? html`<${Badge} kind="good">${of.code} ${t('delivered')}<//>`
  : html`<${Badge} kind="bad">${of.code || ''} ${t(failures[of.failure] ?? of.failure)}<//>`;

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function Record({ app, record, onclose, resent }) {
  const attempts = useLoad((signal) => list(path('applications', app.id, 'callback-records'), { signal, most: 200, query: { message: record.message } }), [record.message]);
  const [resend, busy, problem] = useAction(async () => {
    await post(path('applications', app.id, 'messages', record.message, 'resend'));
    toast(t('It is on its way again, with the same MsgId.'));
    attempts.reload();
    resent();
  });
  return html`<${Dialog} wide title=${eventName(record.type)} onclose=${onclose}>
    <div class="body">
      <dl class="facts">
        <dt>MsgId</dt><dd><${Copy} text=${record.message} /></dd>
        <dt>${t('Callback URL')}</dt><dd class="mono">${record.url}</dd>
        <dt>${record.kind === 'stream' ? t('Stream') : t('Channel')}</dt><dd>${record.channel}</dd>
        ${record.user && html`<dt>${t('User')}</dt><dd>${record.user}</dd>`}
        ${record.task && record.kind === 'recording' && html`<dt>${t('Cloud recording')}</dt><dd>${record.task}</dd>`}
        ${record.task && record.kind !== 'recording' && html`<dt>${t('Relay task')}</dt><dd><a href=${to('applications', app.id, 'tasks', record.task)}>${record.task}</a></dd>`}
      </dl>
      <h3>${t('Payload')}</h3>
      <pre class="code" tabindex="0">${pretty(record.payload)}</pre>
      <h3>${t('Attempts')}</h3>
      <${Loaded} load=${attempts}>${(items) => html`<${Table} label=${t('Attempts')} rows=${items} rowKey=${(r) => r.id} columns=${[
        [t('Attempt'), (r) => r.attempt], [t('Time'), (r) => html`<${Time} of=${r.time} />`, 'nowrap'], [t('Result'), (r) => html`<${Result} of=${r} />`], [t('Cost'), (r) => `${r.cost_ms} ms`, 'num nowrap'],
      ]} />`}<//>
      <${Trouble} error=${problem} />
    </div>
    <footer><${Button} onclick=${onclose}>${t('Close')}<//><${Button} icon="refresh" onclick=${attempts.reload}>${t('Refresh')}<//><${Button} kind="primary" busy=${busy} onclick=${resend}>${t('Send again')}<//></footer>
  <//>`;
}

/** What waits for a receiver, or was given up. */
function Waiting({ app, state, callback }) {
  const load = useLoad((signal) => list(path('applications', app.id, 'deliveries'), { signal, most: 400, query: { state, callback } }), [app.id, state, callback], { every: 5000 });
  const [resend, , problem] = useAction(async (message) => {
    await post(path('applications', app.id, 'messages', message, 'resend'));
    toast(t('It is on its way again, with the same MsgId.'));
    load.reload();
  });
  return html`<${Trouble} error=${problem} />
    <${Loaded} load=${load} empty=${html`<${Empty} icon="done" title=${state === 'failed' ? t('Nothing was given up') : t('Nothing waits')}><p>${t('What receivers have not taken is shown here.')}</p><//>`}>
      ${(items) => html`<${Table} label=${t('Callback Records')} rows=${items} rowKey=${(d) => d.id} columns=${[
        [t('Since'), (d) => html`<${Time} of=${d.created} />`, 'nowrap'],
        [t('Event'), (d) => html`<span>${eventName(d.event.type)}<span class="sub">${d.event.user?.id ?? d.event.relay?.task ?? d.event.recording?.task ?? ''}</span></span>`],
        [t('Channel or stream'), (d) => d.event.stream && d.kind !== 'recording' ? `${d.event.stream.app}/${d.event.stream.name}` : d.event.channel ?? d.event.recording?.channel],
        [t('Attempts'), (d) => d.attempts, 'num'],
        [t('Next try'), (d) => d.next_at ? t('in {time}', { time: span((new Date(d.next_at) - Date.now()) / 1000) }) : d.failed_at ? html`<${Time} of=${d.failed_at} />` : t('after those before it'), 'nowrap'],
        [t('Actions'), (d) => html`<span><${Button} kind="text" onclick=${() => resend(d.message)}>${t('Send again')}<//></span>`, 'end'],
      ]} />`}<//>`;
}
