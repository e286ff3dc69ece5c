// Live channels: which are open, and who is in them; and one of them with all that is known of it.
import { html, useState } from '../preact.js';
import { path, remove } from '../api.js';
import { to, useAction } from '../hooks.js';
import { t, span } from '../i18n.js';
import { useLive } from '../live.js';
import { LivePicture, userPicture } from '../picture.js';
import { Badge, Button, Card, Confirm, Empty, Icon, PageHead, Table, Time, Trouble, toast } from '../ui.js';
import { History } from './history.js';
import { TaskTable } from './tasks.js';

export function Channels({ app, route }) {
  const channel = route.parts[3];
  const live = useLive(app.id, channel ?? '');
  return channel === undefined ? html`<${All} app=${app} live=${live} />` : html`<${One} app=${app} id=${channel} live=${live} />`;
}

/** How fresh the page is. */
export function Freshness({ way }) {
  if (way === 'live') return html`<${Badge} kind="good"><i class="dot"></i>${t('Live')}<//>`;
  if (way === 'polling') return html`<${Badge}>${t('Every 2 s')}<//>`;
  return way === 'lost' ? html`<${Badge} kind="bad">${t('Connecting again …')}<//>` : html`<${Badge}>${t('Loading …')}<//>`;
}

function All({ app, live }) {
  const body = live.way === 'opening' ? html`<p class="loading" role="status">${t('Loading …')}</p>`
    : !live.channels.length ? html`<${Empty} icon="users" title=${t('No channel is open')}>
        <p>${t('A channel opens when its first user comes, and closes some seconds after the last has left.')}</p>
        <a class="button primary" href=${to('applications', app.id, 'join')}>${t('Join and test')}</a><//>`
      : html`<${Table} label=${t('Channels')} rows=${live.channels} rowKey=${(c) => c.id} columns=${[
        [t('Channel'), (c) => html`<a class="rowname" href=${to('applications', app.id, 'channels', c.id)}>${c.id}</a>`],
        [t('Users'), (c) => html`<${Faces} channel=${c} />`],
        [t('Sends'), (c) => html`<${Sent} users=${c.users} />`, 'nowrap'],
        [t('Relay tasks'), (c) => live.tasks.filter((task) => task.channel === c.id).length || html`<span class="soft">${t('none')}</span>`],
        [t('Open since'), (c) => html`<${Time} of=${c.opened} />`, 'nowrap'],
      ]} />`;
  return html`<${PageHead} title=${t('Live channels')} about=${t('Who is in a call or a live room at this moment.')}><${Freshness} way=${live.way} /><//>
    <${Trouble} error=${live.error} />
    <${Card}>${body}<//>
    ${live.tasks.length > 0 && html`<${Card} title=${t('Relay tasks')}><${TaskTable} app=${app} tasks=${live.tasks} /><//>`}`;
}

function Faces({ channel }) {
  const some = channel.users.slice(0, 4);
  return html`<span class="faces">${some.map((u) => html`<span key=${u.id} class=${channel.speakers?.includes(u.id) ? 'face speaks' : 'face'}>${u.id}</span>`)}
    ${channel.users.length > some.length && html`<span class="soft">${t('and {n} more', { n: channel.users.length - some.length })}</span>`}
    ${!channel.users.length && html`<span class="soft">${t('nobody')}</span>`}</span>`;
}

function Sent({ users }) {
  const tracks = users.flatMap((u) => u.tracks);
  const bits = tracks.reduce((sum, track) => sum + (track.bitrate ?? 0), 0);
  return html`<span class="sent">${['microphone', 'camera', 'shareScreen'].map((source) => {
    const n = tracks.filter((track) => track.source === source && !track.muted).length;
    return n > 0 && html`<span key=${source} title=${sourceName(source)}><${Icon} name=${sourceIcon(source)} />${n}<span class="hidden-text"> ${sourceName(source)}</span></span>`;
  })}${bits > 0 && html`<span>${rate(bits)}</span>`}${!tracks.length && html`<span class="soft">${t('nothing')}</span>`}</span>`;
}

const sourceIcon = (source) => ({ microphone: 'mic', camera: 'camera', shareScreen: 'screen', shareAudio: 'mic' })[source];
export const sourceName = (source) => ({ microphone: t('microphone'), camera: t('camera'), shareScreen: t('screen'), shareAudio: t('screen’s sound') })[source] ?? source;

/** Bits a second in words. */
export const rate = (bits) => bits >= 1e6 ? `${(bits / 1e6).toFixed(1)} Mbit/s` : `${Math.round(bits / 1e3)} kbit/s`;

function One({ app, id, live }) {
  const [ask, setAsk] = useState(null);
  const channel = live.channels.find((c) => c.id === id);
  const back = html`<a class="button" href=${to('applications', app.id, 'channels')}><${Icon} name="back" /><span>${t('Live channels')}</span></a>`;
  return html`<${PageHead} title=${id} about=${channel && t('Open for {time}', { time: span((Date.now() - new Date(channel.opened)) / 1000) })}>
      <${Freshness} way=${live.way} />${back}
      ${channel && html`<${Button} kind="danger" onclick=${() => setAsk({ dismiss: true })}>${t('Dismiss')}<//>`}<//>
    <${Trouble} error=${live.error} />
    ${!channel && live.way !== 'opening' && html`<${Card}><${Empty} icon="users" title=${t('This channel is not open')}><p>${t('It is shown here again as soon as somebody joins it.')}</p><//><//>`}
    ${channel && html`<${Card} title=${t('Users')}><${Users} app=${app.id} channel=${channel} kick=${(user) => setAsk({ user })} /><//>`}
    ${live.tasks.length > 0 && html`<${Card} title=${t('Relay tasks')}><${TaskTable} app=${app} tasks=${live.tasks} /><//>`}
    <${History} app=${app.id} channel=${id} />
    ${ask && html`<${SendOut} app=${app.id} channel=${id} user=${ask.user} onclose=${() => setAsk(null)} />`}`;
}

/** What a user shows. */
function Pictures({ app, channel, user }) {
  const sources = ['camera', 'shareScreen'].filter((source) => user.tracks.some((track) => track.source === source));
  if (!sources.length) return html`<span class="soft">${t('none')}</span>`;
  return html`<span class="pictures">${sources.map((source) => html`<${LivePicture} key=${source} url=${userPicture(app, channel, user.id, source, 320)}
    alt=${source === 'camera' ? t('{user}’s camera now', { user: user.id }) : t('{user}’s screen now', { user: user.id })} />`)}</span>`;
}

function Users({ app, channel, kick }) {
  if (!channel.users.length) return html`<p class="soft">${t('Everyone has left. The channel closes in some seconds.')}</p>`;
  return html`<${Table} label=${t('Users')} rows=${channel.users} rowKey=${(u) => u.id} columns=${[
    [t('User'), (u) => html`<span><b class="rowname">${u.id}</b>${u.display_name && html`<span class="sub">${u.display_name}</span>`}</span>`, 'name'],
    [t('Picture'), (u) => html`<${Pictures} app=${app} channel=${channel.id} user=${u} />`],
    [t('Role'), (u) => html`<span>${u.role === 'viewer' ? t('viewer') : t('streamer')}<span class="sub">${u.client === 'rtmp' ? 'RTMP' : 'WebRTC'}</span></span>`, 'nowrap'],
    [t('Level'), (u) => html`<${Level} dbov=${channel.levels?.[u.id]} speaks=${channel.speakers?.includes(u.id)} />`],
    [t('Sends'), (u) => html`<${Tracks} tracks=${u.tracks} />`],
    [t('Receives'), (u) => html`<${Receives} what=${u.receives} />`],
    [t('Quality'), (u) => html`<${Quality} of=${u.quality} />`],
    [t('Here for'), (u) => span((Date.now() - new Date(u.joined)) / 1000), 'nowrap'],
    [t('Actions'), (u) => html`<span><${Button} kind="text danger" aria-label=${t('Kick {user}', { user: u.id })} onclick=${() => kick(u.id)}>${t('Kick')}<//></span>`, 'end'],
  ]} />`;
}

/** A bar from -60 dBov to 0. */
function Level({ dbov, speaks }) {
  if (dbov === undefined) return html`<span class="soft">${t('silent')}</span>`;
  return html`<meter class=${speaks ? 'speaks' : ''} min="-60" max="0" value=${Math.max(-60, dbov)} aria-label=${t('Level')} title=${`${dbov} dBov`}></meter>`;
}

const Tracks = ({ tracks }) => tracks.length ? html`<ul class="tracks">${tracks.map((track) => html`<li key=${track.source}><${Icon} name=${sourceIcon(track.source)} />
    <span><span class="hidden-text">${sourceName(track.source)}: </span>${[track.codec?.toUpperCase(), track.width ? `${track.width}×${track.height}` : '', track.bitrate ? rate(track.bitrate) : '']
      .filter(Boolean).join(' · ')}${track.muted ? html` <${Badge}>${t('muted')}<//>` : ''}${track.loss >= 1 ? html` <${Badge} kind="warn">${t('{n} % lost', { n: track.loss.toFixed(1) })}<//>` : ''}</span></li>`)}</ul>`
  : html`<span class="soft">${t('nothing')}</span>`;

function Receives({ what }) {
  if (!what?.audio && !what?.video) return html`<span class="soft">${t('nothing')}</span>`;
  const parts = [what.audio && t('sound'), what.video && (what.width ? `${what.width}×${what.height}` : t('pictures'))];
  return parts.filter(Boolean).join(' · ');
}

const why = { loss: 'packets are lost', jitter: 'packets come unevenly', rtt: 'the way is long', bandwidth: 'the line is too narrow', disconnected: 'nothing gets through' };

function Quality({ of }) {
  if (!of) return html`<span class="soft">–</span>`;
  const worst = Math.min(of.up, of.down);
  const words = [t('lost'), t('very weak'), t('weak'), t('fair'), t('good'), t('excellent')][worst];
  return html`<span><${Badge} kind=${worst >= 4 ? 'good' : worst === 3 ? 'warn' : 'bad'}>${words}<//>
    ${worst < 4 && of.reasons.length > 0 && html`<span class="sub">${of.reasons.map((r) => t(why[r] ?? r)).join(', ')}</span>`}</span>`;
}

/** Kicks a user, or without one dismisses the channel. */
function SendOut({ app, channel, user, onclose }) {
  const [act, busy, problem] = useAction(async () => {
    await remove(user ? path('applications', app, 'channels', channel, 'users', user) : path('applications', app, 'channels', channel));
    toast(user ? t('{user} is out.', { user }) : t('{channel} is closed.', { channel }));
    onclose();
  });
  return html`<${Confirm} title=${user ? t('Kick {user}?', { user }) : t('Dismiss {channel}?', { channel })} ok=${user ? t('Kick') : t('Dismiss')}
      onclose=${onclose} act=${act} busy=${busy} problem=${problem}>
    <p>${user ? t('All sessions of this user in the channel end. It may come again while its token holds.')
      : t('Everyone is sent out and the channel closes. They may come again while their tokens hold.')}</p><//>`;
}
