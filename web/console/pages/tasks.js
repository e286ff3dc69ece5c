// Relay tasks: what goes where, how it does, and its end.
import { html, useState } from '../preact.js';
import { path, remove } from '../api.js';
import { go, to, useAction } from '../hooks.js';
import { t, bytes, number } from '../i18n.js';
import { useLive } from '../live.js';
import { LivePicture, taskPicture } from '../picture.js';
import { Badge, Button, Card, Confirm, Empty, Icon, PageHead, Table, Time, Trouble, toast } from '../ui.js';
import { Freshness } from './channels.js';
import { History } from './history.js';

const states = { connecting: ['Connecting', ''], playing: ['Playing', 'good'], waiting: ['Waiting for the next try', 'warn'], failed: ['Failed', 'bad'] };

/** The state of one URL; of a task that is only about to run it is not known. */
function UrlState({ url }) {
  if (!url.state) return html`<${Badge}>${t('Running')}<//>`;
  const [word, kind] = states[url.state] ?? [url.state, ''];
  return html`<span><${Badge} kind=${kind}>${t(word)}<//>${url.reason && html`<span class="sub">${reason(url.reason)}</span>`}</span>`;
}

const reasons = {
  refused: 'the connection was refused', dns: 'the name has no address', forbidden: 'a private address that outbound.allow in the config does not name', tls: 'no valid TLS',
  rejected: 'the other side rejects the stream', stalled: 'no answer, or no progress', lost: 'the connection was lost', url: 'the URL cannot be used',
};

/** A reason of a destination in words, with what the other side said. */
function reason(text) {
  const [, word, said = ''] = /^(\w+)(?: \((.*)\))?$/s.exec(text) ?? [];
  return reasons[word] ? `${t(reasons[word])}${said && `: ${said}`}` : text;
}

const mode = (task) => task.mode === 'mix' ? t('Mixed stream') : t('Single stream');

export function TaskTable({ app, tasks }) {
  return html`<${Table} label=${t('Relay tasks')} rows=${tasks} rowKey=${(x) => x.id} columns=${[
    [t('Task'), (x) => html`<span><a class="rowname" href=${to('applications', app.id, 'tasks', x.id)}>${short(x.id)}</a><span class="sub">${mode(x)}${x.auto ? ` · ${t('automatic')}` : ''}</span></span>`],
    [t('Channel'), (x) => html`<a href=${to('applications', app.id, 'channels', x.channel)}>${x.channel}</a>`],
    [t('To'), (x) => html`<span class="mono">${x.urls.map((u) => html`<span class="line" key=${u.url}>${u.url}</span>`)}</span>`],
    [t('State'), (x) => x.urls.map((u) => html`<${UrlState} key=${u.url} url=${u} />`)],
    [t('Actions'), (x) => html`<span>${x.mode === 'mix' && html`<a class="button text" href=${to('applications', app.id, 'tasks', x.id, 'layout')} aria-label=${t('Layout of {task}', { task: x.id })}>${t('Layout')}</a>`}
      <a class="button text" href=${to('applications', app.id, 'tasks', x.id)} aria-label=${t('Details of {task}', { task: x.id })}>${t('Details')}</a></span>`, 'end'],
  ]} />`;
}

const short = (id) => id.length > 22 ? `${id.slice(0, 19)}…` : id;

export function Task({ app, id }) {
  const live = useLive(app.id);
  const [stopping, setStopping] = useState(false);
  const task = live.tasks.find((x) => x.id === id);
  return html`<${PageHead} title=${task ? `${mode(task)}: ${task.channel}` : t('Relay task')}>
      <${Freshness} way=${live.way} />
      <a class="button" href=${to('applications', app.id, 'channels')}><${Icon} name="back" /><span>${t('Live channels')}</span></a>
      ${task?.mode === 'mix' && html`<a class="button" href=${to('applications', app.id, 'tasks', id, 'layout')}><${Icon} name="layout" /><span>${t('Layout')}</span></a>`}
      ${task && html`<${Button} kind="danger" onclick=${() => setStopping(true)}>${t('Stop')}<//>`}<//>
    <${Trouble} error=${live.error} />
    <${Card}>${task ? html`<${Facts} app=${app} task=${task} />` : live.way === 'opening' ? html`<p class="loading" role="status">${t('Loading …')}</p>`
      : html`<${Empty} icon="relay" title=${t('This task is not running')}><p>${t('It has ended, or has not been started. Its history is below.')}</p><//>`}<//>
    <${History} app=${app.id} task=${id} />
    ${stopping && html`<${Stop} app=${app} task=${task} onclose=${() => setStopping(false)} />`}`;
}

function Facts({ app, task }) {
  return html`<${LivePicture} kind="large" url=${taskPicture(app.id, task.id, 640)} alt=${t('What the task sends now')} />
    <dl class="facts">
      <dt>TaskId</dt><dd class="mono">${task.id}</dd>
      <dt>${t('Channel')}</dt><dd><a href=${to('applications', app.id, 'channels', task.channel)}>${task.channel}</a></dd>
      <dt>${t('Made by')}</dt><dd>${task.auto ? t('the relay settings of the application') : t('the API')}</dd>
      <dt>${t('Created')}</dt><dd><${Time} of=${task.created} long /></dd>
    </dl>
    <h2>${t('Destinations')}</h2>
    <${Table} label=${t('Destinations')} rows=${task.urls} rowKey=${(u) => u.url} columns=${[
      [t('To'), (u) => html`<span class="mono">${u.url}</span>`],
      [t('State'), (u) => html`<${UrlState} url=${u} />`],
      [t('Since'), (u) => u.since ? html`<${Time} of=${u.since} />` : html`<span class="soft">–</span>`, 'nowrap'],
      [t('Sent'), (u) => u.bytes === undefined ? html`<span class="soft">–</span>` : bytes(u.bytes), 'num nowrap'],
      [t('Dropped frames'), (u) => u.dropped === undefined ? html`<span class="soft">–</span>` : number(u.dropped), 'num'],
      [t('Connected again'), (u) => u.reconnects === undefined ? html`<span class="soft">–</span>` : number(u.reconnects), 'num'],
    ]} />`;
}

function Stop({ app, task, onclose }) {
  const [stop, busy, problem] = useAction(async () => {
    await remove(path('applications', app.id, 'tasks', task.id));
    toast(t('The task has been stopped.'));
    go('applications', app.id, 'channels');
  });
  return html`<${Confirm} title=${t('Stop this task?')} ok=${t('Stop')} onclose=${onclose} act=${stop} busy=${busy} problem=${problem}>
    <p>${task.auto ? t('The stream ends. An automatic task stays stopped until its channel closes.') : t('The stream ends. Your server can start the task again.')}</p><//>`;
}
