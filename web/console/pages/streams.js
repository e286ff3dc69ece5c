// Streams: what is on air at the origin inside braid, what is made of it, and one stream with its addresses and a player.
import { html, useState } from '../preact.js';
import { list, path } from '../api.js';
import { to, useLoad } from '../hooks.js';
import { t, number, span, bytes } from '../i18n.js';
import { LivePicture } from '../picture.js';
import { StreamVideo } from '../player.js';
import { Badge, Button, Card, Empty, Icon, Loaded, PageHead, Table, Time } from '../ui.js';
import { rate } from './channels.js';
import { History } from './history.js';
import { kindName } from './templates.js';
import { Addresses } from './urls.js';

const every = 2000; // ms between two looks

export function Streams({ route, me }) {
  const [, app, name] = route.parts;
  const load = useLoad((signal) => list(path('streams'), { signal }), [], { every });
  return name ? html`<${One} app=${app} name=${name} load=${load} me=${me} />` : html`<${All} load=${load} />`;
}

const place = (s) => `${s.app}/${s.name}`;
const domainName = (s) => s.domain || t('The origin inside braid');

/** The newest snapshot of a stream, which a template has taken. */
const snapshot = (s) => path('streams', s.app, s.name, 'snapshot.jpg');
const hasSnapshot = (s) => s.jobs.some((job) => job.kind === 'snapshot');

const codecNames = { H264: 'H.264', H265: 'H.265' };
const codec = (name) => codecNames[name] ?? name;
const video = (s) => s.video && `${codec(s.video)}${s.width ? ` ${s.width}×${s.height}` : ''}`;
const media = (s) => [video(s), codec(s.audio)].filter(Boolean).join(' · ');

function All({ load }) {
  return html`<${PageHead} title=${t('Streams')} about=${t('What is on air at the origin inside braid: relayed streams, and what encoders push to it.')}>
<${Badge}>${t('Every 2 s')}<//><//>
    <${Card}><${Loaded} load=${load} empty=${html`<${Empty} icon="stream" title=${t('Nothing is on air')}>
        <p>${t('Switch on the stream relay of an application and join a channel, or push a stream with OBS or ffmpeg.')}</p>
        <a class="button" href="#/domains">${t('Addresses to push to')}</a><//>`}>
      ${(items) => html`<${Table} label=${t('Streams')} rows=${items} rowKey=${place} columns=${[
        [t('Stream'), (s) => html`<span><a class="rowname" href=${to('streams', s.app, s.name)}>${s.name}</a><span class="sub">${domainName(s)}${s.source ? ` · ${t('made of {stream}', { stream: s.source })}` : ''}</span></span>`],
        ['AppName', (s) => html`<span class="mono">${s.app}</span>`],
        [t('Picture'), (s) => hasSnapshot(s) ? html`<${LivePicture} url=${snapshot(s)} alt=${t('The newest snapshot of {stream}', { stream: s.name })} />` : html`<span class="soft">–</span>`],
        [t('Media'), (s) => html`<span>${video(s) ? html`<span class="nowrap">${video(s)}</span>` : !s.audio && html`<span class="soft">${t('nothing yet')}</span>`}<span class="sub">${
          [codec(s.audio), s.bitrate && rate(s.bitrate)].filter(Boolean).join(' · ')}</span></span>`],
        [t('Viewers'), (s) => number(s.viewers), 'num'],
        [t('On air for'), (s) => html`<${Since} of=${s} />`, 'nowrap'],
        [t('Jobs'), (s) => s.jobs.length ? html`<span class="faces">${s.jobs.map((job) => html`<${JobBadge} key=${job.application + job.template} job=${job} />`)}</span>` : html`<span class="soft">${t('none')}</span>`],
        [t('Actions'), (s) => html`<span><a class="button text" href=${to('streams', s.app, s.name)} aria-label=${t('Watch {stream}', { stream: s.name })}>${t('Watch')}</a></span>`, 'end'],
      ]} />`}<//><//>`;
}

/** How long a stream is there; without its publisher it may end. */
const Since = ({ of }) => of.remote || of.source ? span((Date.now() - new Date(of.since)) / 1000) : html`<${Badge} kind="warn">${t('its publisher is away')}<//>`;

const jobStates = { running: ['running', 'good'], waiting: ['is tried again', 'bad'], ending: ['ends', ''] };

function JobBadge({ job }) {
  const [word, kind] = jobStates[job.state] ?? [job.state, ''];
  return html`<${Badge} kind=${job.state === 'running' && job.error ? 'warn' : kind}>${kindName(job.kind)}: ${t(word)}<//>`;
}

function One({ app, name, load, me }) {
  const stream = load.data?.find((s) => s.app === app && s.name === name);
  return html`<${PageHead} title=${name} about=${stream && domainName(stream)}><a class="button" href="#/streams"><${Icon} name="back" /><span>${t('Streams')}</span></a><//>
    <${Loaded} load=${load}>${() => stream ? html`<${Here} stream=${stream} me=${me} sizes=${load.data.some((s) => s.app === app && s.source === name)} />`
      : html`<${Card}><${Empty} icon="stream" title=${t('This stream is not on air')}><p>${t('It is shown here again as soon as somebody publishes it.')}</p>
          <a class="button" href=${recordings({ app, name })}>${t('Recordings')}</a><//><//>`}<//>
    <${History} stream=${`${app}/${name}`} />`;
}

const recordings = (s) => `#/recordings?${new URLSearchParams({ app: s.app, stream: s.name })}`;

/** sizes: renditions are made of the stream. */
function Here({ stream, me, sizes }) {
  return html`<div class="two">
      <${Card} title=${t('Picture')}><${Watch} stream=${stream} /><//>
      <${Card} title=${t('What it is')}><dl class="facts">
        <dt>AppName</dt><dd class="mono">${stream.app}</dd>
        <dt>${t('Streaming Domain')}</dt><dd>${domainName(stream)}</dd>
        ${stream.source && html`<dt>${t('Made of')}</dt><dd><a href=${to('streams', stream.app, stream.source)}>${stream.source}</a></dd>`}
        <dt>${t('Media')}</dt><dd>${media(stream) || t('nothing yet')}</dd>
        <dt>${t('Bit rate')}</dt><dd>${rate(stream.bitrate)}</dd>
        <dt>${t('Viewers')}</dt><dd>${number(stream.viewers)} <span class="soft">${t('over RTMP and HTTP-FLV')}</span></dd>
        <dt>${t('On air for')}</dt><dd><${Since} of=${stream} /> <span class="soft">(${t('since')} <${Time} of=${stream.since} />)</span></dd>
        ${stream.remote && html`<dt>${t('Publisher')}</dt><dd class="mono">${stream.remote}</dd>`}
        <dt>${t('Came in, went out')}</dt><dd>${bytes(stream.bytes_in)}, ${bytes(stream.bytes_out)}</dd>
      </dl><//>
    </div>
    <${Card} title=${t('Jobs')} about=${t('What templates make of this stream.')} actions=${html`<a class="button" href=${recordings(stream)}>${t('Recordings')}</a>`}>
      ${stream.jobs.length ? html`<${Jobs} jobs=${stream.jobs} />` : html`<p class="soft">${stream.source ? t('A rendition is neither recorded nor told of.') : t('No template is for its domain and AppName.')}</p>`}<//>
    <${Card} title=${t('Addresses')} about=${t('For players.')}>${me.role === 'viewer' ? html`<p class="soft">${t('Addresses are shown to administrators: they may carry signatures.')}</p>`
      : html`<${Addresses} onair sizes=${sizes} domain=${stream.domain} app=${stream.app} stream=${stream.name} />`}<//>`;
}

const Jobs = ({ jobs }) => html`<${Table} label=${t('Jobs')} rows=${jobs} rowKey=${(job) => `${job.application}/${job.template}`} columns=${[
  [t('Job'), (job) => html`<${JobBadge} job=${job} />`],
  [t('Template'), (job) => html`<a href=${to('applications', job.application, 'templates')}>${job.template}</a>`],
  [t('Application'), (job) => job.application],
  [t('Since'), (job) => html`<${Time} of=${job.since} />`, 'nowrap'],
  [t('Last failure'), (job) => job.error ? html`<span>${job.error}<span class="sub">${job.failed && html`<${Time} of=${job.failed} />`}${job.failures > 1 ? ` · ${t('{n} times in a row', { n: number(job.failures) })}` : ''}</span></span>`
    : html`<span class="soft">${t('none')}</span>`],
]} />`;

/** Plays the stream when somebody asks for it; before, its newest snapshot. */
function Watch({ stream }) {
  const [on, setOn] = useState(false);
  if (!stream.video && !stream.audio) return html`<p class="soft">${t('Nothing has come of it yet.')}</p>`;
  return html`${!on && hasSnapshot(stream) && html`<${LivePicture} kind="large" url=${snapshot(stream)} alt=${t('The newest snapshot of {stream}', { stream: stream.name })} />`}
    ${on && html`<${StreamVideo} kind="flv" url=${new URL(path('streams', stream.app, stream.name, 'live.flv'), location.origin).href} label=${t('The stream {stream}', { stream: stream.name })} />`}
    <div class="actions">${on ? html`<${Button} onclick=${() => setOn(false)}>${t('Stop')}<//>`
      : html`<${Button} kind="primary" icon="play" onclick=${() => setOn(true)}>${t('Watch')}<//>`}
      ${on && html`<span class="soft">${t('About a second behind. Switch the sound on in the player.')}</span>`}</div>`;
}
