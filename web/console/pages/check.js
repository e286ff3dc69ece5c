// Connection check: this browser tries each step of a call, and the server says what it saw of those that failed.
import { html, useEffect, useRef, useState } from '../preact.js';
import { list, path, post } from '../api.js';
import { useLoad } from '../hooks.js';
import { t } from '../i18n.js';
import { Badge, Button, Card, Empty, Icon, Loaded, Note, PageHead, SelectField, Table, Time } from '../ui.js';
import { run, steps } from '../probe.js';

export function ConnectionCheck() {
  return html`<${PageHead} title=${t('Connection check')} about=${t('Why a call does or does not connect, in words.')} />
    <${Browser} /><${Sessions} />`;
}

function Browser() {
  const apps = useLoad((signal) => list(path('applications'), { signal }), []);
  const [app, setApp] = useState('');
  const [state, setState] = useState(null); // {running, done: {step: {result, says}}}
  const alive = useRef(true);
  useEffect(() => () => { alive.current = false; }, []);
  const enabled = (apps.data ?? []).filter((a) => !a.disabled);
  const chosen = enabled.some((a) => a.id === app) ? app : enabled[0]?.id ?? '';
  const start = async () => {
    setState({ running: true, done: {} });
    const token = async (channel, user, more) => (await post(path('applications', chosen, 'tokens'), { channel, user, ttl_seconds: 120, ...more })).token;
    await run({ app: chosen, token, tell: (step, result) => alive.current && setState((s) => ({ ...s, done: { ...s.done, [step]: result } })) });
    if (alive.current) setState((s) => ({ ...s, running: false }));
  };
  return html`<${Card} title=${t('This browser')} about=${t('It joins a channel of its own, sends a drawn picture and a tone, and receives them back. Camera and microphone stay off. Callback tasks for all channels are told of it.')}>
    <${Loaded} load=${apps} empty=${html`<p class="soft">${t('There is no application yet')}</p>`}>${() => html`<div class="inline narrow">
      <${SelectField} label=${t('Application')} value=${chosen} onchange=${setApp} options=${enabled.map((a) => [a.id, a.name])} />
      <div><${Button} kind="primary" icon="play" busy=${state?.running} disabled=${!chosen} onclick=${start}>${state ? t('Check again') : t('Start')}<//></div></div>`}<//>
    ${state && html`<ol class="steps" aria-live="polite">${steps().map(([id, name]) => html`<${Step} key=${id} name=${name} result=${state.done[id]} waits=${state.running} />`)}</ol>`}
  <//>`;
}

const marks = { ok: ['done', 'good'], failed: ['close', 'bad'], warning: ['warning', 'warn'] };

function Step({ name, result, waits }) {
  const [mark, kind] = marks[result?.result] ?? ['', ''];
  return html`<li class=${kind}><span class="mark">${mark ? html`<${Icon} name=${mark} />` : html`<i class=${waits ? 'dot' : 'dot idle'}></i>`}</span>
    <div><b>${name}</b>${result && html`<span class="hidden-text"> ${t({ ok: 'works', failed: 'failed', warning: 'warning' }[result.result])}</span>`}
      ${result?.says && html`<p>${result.says}</p>`}${result?.do && html`<p class="do">${result.do}</p>`}</div></li>`;
}

const bad = (code) => !['ok', 'waiting', 'ended', 'left_early'].includes(code);

function Sessions() {
  const [state, setState] = useState('failed');
  const load = useLoad((signal) => list('/v1/sessions', { signal, most: 300, query: { state: state === 'all' ? '' : state } }), [state], { every: 5000 });
  return html`<${Card} title=${t('What the server saw')} about=${t('Open WebRTC sessions, and the last 100 that failed, each with what it means.')}
      actions=${html`<select aria-label=${t('Show')} value=${state} onchange=${(e) => setState(e.target.value)}>
        ${[['failed', t('Failed')], ['open', t('Open')], ['all', t('All')]].map(([v, text]) => html`<option key=${v} value=${v} selected=${v === state}>${text}</option>`)}</select>`}>
    <${Loaded} load=${load} empty=${html`<${Empty} icon="pulse" title=${state === 'failed' ? t('No session has failed') : t('There is no session')}><p>${t('A session is one WebRTC connection of a user: by the SDK, by WHIP or by WHEP.')}</p><//>`}>
      ${(items) => html`<div class="sessions">${items.map((s) => html`<${Session} key=${s.id} of=${s} />`)}</div>`}<//><//>`;
}

function Session({ of }) {
  const worst = of.connections.find((c) => bad(c.diagnosis.code)) ?? of.connections[0];
  return html`<details class="session"><summary>
      <span class="head"><b>${of.user || t('somebody')}</b> <span class="soft">${of.app} / ${of.channel}</span> <span class="soft"><${Time} of=${of.began} /></span></span>
      ${worst && html`<span class="says"><${Badge} kind=${worst.diagnosis.code === 'ok' ? 'good' : bad(worst.diagnosis.code) ? 'bad' : ''}>${worst.diagnosis.code.replaceAll('_', ' ')}<//> ${worst.diagnosis.says}</span>`}
    </summary>
    <dl class="facts"><dt>${t('Session')}</dt><dd class="mono">${of.id}</dd>
      ${of.agent && html`<dt>${t('Browser')}</dt><dd>${of.agent}</dd>`}
      ${of.ended && html`<dt>${t('Ended')}</dt><dd><${Time} of=${of.ended} long /> ${of.reason}</dd>`}</dl>
    ${of.connections.map((c, n) => html`<${Connection} key=${n} of=${c} />`)}</details>`;
}

const kinds = { publish: 'publishes (WHIP)', watch: 'watches (WHEP)', up: 'sends', down: 'receives' };

function Connection({ of: c }) {
  return html`<section class="connection"><h3>${t(kinds[c.kind] ?? c.kind)} <${Badge} kind=${c.diagnosis.code === 'ok' ? 'good' : bad(c.diagnosis.code) ? 'bad' : ''}>${c.state || t('gone')}<//></h3>
    <p>${c.diagnosis.says}</p>${c.diagnosis.do && html`<${Note} kind="warn">${c.diagnosis.do}<//>`}
    <dl class="facts">
      <dt>${t('Addresses told')}</dt><dd class="mono">${c.candidates.map((x) => html`<span class="line">${x}</span>`)}</dd>
      ${c.pair && html`<dt>${t('Chosen pair')}</dt><dd class="mono">${c.pair.transport.toUpperCase()} ${c.pair.local} ← ${c.pair.remote}</dd>`}
      <dt>DTLS</dt><dd>${c.dtls.state}${c.dtls.problem ? `: ${c.dtls.problem}` : ''}${c.srtp ? ` · ${c.srtp}` : ''}</dd>
      <dt>${t('Packets received')}</dt><dd>${c.received}</dd></dl>
    ${c.arrivals.length > 0 && html`<${Table} label=${t('STUN requests')} rows=${c.arrivals} rowKey=${(a) => a.transport + a.address} columns=${[
      [t('From'), (a) => html`<span class="mono">${a.transport} ${a.address}</span>`], [t('STUN requests'), (a) => a.requests, 'num'], [t('with the right password'), (a) => a.answered, 'num'],
      [t('Last'), (a) => html`<${Time} of=${a.last} />`, 'nowrap'],
    ]} />`}</section>`;
}
