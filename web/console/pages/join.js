// Join and test: a fresh token, a call right here, or in the demo's pages.
import { html, useEffect, useRef, useState } from '../preact.js';
import { path, post } from '../api.js';
import { useAction, useLoad, useRefocus } from '../hooks.js';
import { t, date } from '../i18n.js';
import { Badge, Button, Card, Copy, Note, PageHead, SelectField, TextField, Trouble } from '../ui.js';

const demos = [['call', 'Call'], ['voice', 'Voice chat'], ['conference', 'Conference']];

export function Join({ app }) {
  const [s, setS] = useState({ channel: 'test', user: `tester-${Math.random().toString(36).slice(2, 6)}`, role: 'streamer', page: 'conference' });
  const set = (change) => setS((now) => ({ ...now, ...change }));
  const [token, setToken] = useState(null);
  const [inside, setInside] = useState(null);
  useRefocus(inside);
  const demo = useLoad(async () => (await fetch('/demo/call/', { method: 'HEAD' })).ok, []);
  const make = (grants) => post(path('applications', app.id, 'tokens'), { channel: s.channel, user: s.user, subscribe: true, ...grants });
  const everything = { publish: ['camera', 'shareScreen'], mix: true };
  const chosen = s.role === 'viewer' ? { role: 'viewer' } : { role: 'streamer', ...everything };
  const [show, showing, problem] = useAction(async () => setToken({ ...await make(chosen), ...s }));
  const [enter, entering, refused] = useAction(async () => setInside({ ...s, token: (await make(chosen)).token }));
  const [opened, opening, failed] = useAction(async () => {
    const tab = window.open('about:blank'); // within the click, or the browser refuses it
    const made = await make(everything); // the demo's pages have roles of their own
    tab.opener = null;
    tab.location = `/demo/${s.page}/?${new URLSearchParams({ channel: s.channel, user: s.user })}#token=${encodeURIComponent(made.token)}`;
  });
  const wrong = (problem ?? refused ?? failed)?.fields ?? {};
  if (inside) return html`<${PageHead} title=${t('Join and test')} /><${Call} ...${inside} onend=${() => setInside(null)} />`;
  return html`<${PageHead} title=${t('Join and test')} about=${t('Be a user of this application for a moment.')} />
    ${!isSecureContext && html`<${Note} kind="warn">${t('Browsers give camera and microphone only to pages from https or from localhost. You can watch and listen here.')}<//>`}
    <${Card}><form class="plain" onsubmit=${(e) => { e.preventDefault(); enter(); }}>
      <div class="inline"><${TextField} label=${t('Channel')} value=${s.channel} oninput=${(channel) => set({ channel })} wrong=${wrong.channel} />
        <${TextField} label=${t('User')} value=${s.user} oninput=${(user) => set({ user })} wrong=${wrong.user} />
        <${SelectField} label=${t('Role')} value=${s.role} onchange=${(role) => set({ role })} options=${[['streamer', t('streamer')], ['viewer', t('viewer')]]} /></div>
      <${Trouble} error=${[problem, refused, failed].find((p) => p && !Object.keys(p.fields ?? {}).length)} />
      <div class="formfoot"><${Button} type="submit" kind="primary" icon="play" busy=${entering} disabled=${app.disabled}>${t('Join here')}<//>
        <${Button} icon="key" busy=${showing} onclick=${show}>${t('Show a token')}<//></div>
      ${app.disabled && html`<${Note} kind="warn">${t('The application is disabled: nobody can join.')}<//>`}
    </form><//>
    ${token && html`<${Card} title=${t('Join token')} about=${t('It holds until {time}.', { time: date(token.expires) })}><dl class="facts">
      <dt>${t('Token')}</dt><dd><${Copy} text=${token.token} /></dd>
      ${token.role === 'streamer' && html`<dt>${t('Publish by WHIP')}</dt><dd><${Copy} text=${`${location.origin}/whip/${[app.id, token.channel, token.user].map(encodeURIComponent).join('/')}`} />
        <p class="hint">${t('OBS, from version 30: Settings, Stream, Service WHIP; the address is the Server, the token the Bearer Token.')}</p></dd>`}</dl><//>`}
    <${Card} title=${t('In the demo’s pages')} about=${t('They open in a new tab, with a fresh token.')}>
      ${demo.data === false ? html`<p class="soft">${t('The demo is off on this server: demo: true in the config switches it on.')}</p>` : html`<div class="inline narrow">
        <${SelectField} label=${t('Page')} value=${s.page} onchange=${(page) => set({ page })} options=${demos.map(([id, name]) => [id, t(name)])} />
        <div><${Button} busy=${opening} disabled=${app.disabled || !demo.data} onclick=${opened}>${t('Open')}<//></div></div>`}<//>`;
}

/** Why the server has ended a call. */
const endings = () => ({
  replaced: t('the user has joined anew elsewhere'), kicked: t('the user was kicked'), dismissed: t('the channel was dismissed'),
  expired: t('the token has expired'), lost: t('the connection was lost'),
});

/** A call with everyone in the channel, made with the SDK. */
function Call({ channel, user, role, token, onend }) {
  const [room, setRoom] = useState(null);
  const [problem, setProblem] = useState(null);
  const [, redraw] = useState(0);
  useEffect(() => {
    let joined = null;
    let gone = false;
    (async () => {
      const { join } = await import('/sdk/braid.js');
      joined = await join({ token, url: new URL('/v1/rtc', location.href) });
      if (gone) return joined.leave();
      const again = () => gone || redraw((n) => n + 1);
      for (const type of ['joined', 'left', 'published', 'unpublished', 'muted', 'levels', 'quality', 'stopped', 'reconnecting', 'reconnected']) joined.on(type, again);
      joined.on('end', ({ reason }) => gone || (reason === 'left' ? onend() : setProblem(new Error(t('It is over: {reason}.', { reason: endings()[reason] ?? reason })))));
      setRoom(joined);
      if (role !== 'streamer') return;
      const devices = await Promise.allSettled([joined.publishMicrophone(), joined.publishCamera({ width: 640, height: 360 })]);
      const failed = devices.find((d) => d.status === 'rejected');
      if (failed && !gone) setProblem(failed.reason);
      again();
    })().catch((error) => gone || setProblem(error));
    return () => {
      gone = true;
      joined?.leave();
    };
  }, []);
  const pictures = room ? [...room.users.values()].flatMap((u) => ['camera', 'shareScreen'].filter((s) => s === 'camera' || u.sources.has(s)).map((source) => ({ u, source }))) : [];
  return html`<${Card} title=${channel} about=${room ? t('You are {user}.', { user }) : t('Joining …')}
      actions=${html`${room?.state === 'reconnecting' && html`<${Badge} kind="warn">${t('Connecting again …')}<//>`}<${Button} kind="danger" onclick=${onend}>${t('Leave')}<//>`}>
    <${Trouble} error=${problem} />
    ${room && html`<div class="call">
      ${role === 'streamer' && html`<${Tile} name=${t('{user} (you)', { user })} attach=${(video) => room.tracks.get('camera')?.attach(video)} has=${room.tracks.has('camera')} own />`}
      ${pictures.map(({ u, source }) => html`<${Tile} key=${`${u.id}/${source}`} name=${source === 'camera' ? u.id : t('{user}, screen', { user: u.id })} has=${u.sources.has(source) && !u.sources.get(source).muted}
        attach=${(video) => room.attach(video, u.id, source)} speaks=${u.level > -50} />`)}
    </div>${!room.users.size && html`<p class="soft">${t('Nobody else is here. Open this page a second time to have company.')}</p>`}`}
  <//>`;
}

function Tile({ name, attach, has, own, speaks }) {
  const video = useRef(null);
  useEffect(() => has && attach(video.current) || undefined, [has]);
  return html`<figure class=${speaks ? 'view speaks' : 'view'}><video ref=${video} class=${own ? 'own' : ''} playsinline muted autoplay hidden=${!has}></video>
    ${!has && html`<span class="soft">${t('no picture')}</span>`}<figcaption>${name}</figcaption></figure>`;
}
