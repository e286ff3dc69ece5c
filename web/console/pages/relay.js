// Stream Relay: what of an application's channels goes to a live origin by itself.
import { html, useEffect, useState } from '../preact.js';
import { list, path, request } from '../api.js';
import { useAction, useLoad } from '../hooks.js';
import { t } from '../i18n.js';
import { Button, Card, Check, Field, Loaded, Note, PageHead, SelectField, Switch, TextField, Trouble, toast } from '../ui.js';

export function Relay({ app }) {
  const load = useLoad(async (signal) => {
    const [settings, domains] = await Promise.all([
      request('GET', path('applications', app.id, 'relay'), { signal }), list(path('domains'), { signal }),
    ]);
    return { ...settings, domains };
  }, [app.id]);
  return html`<${PageHead} title=${t('Stream Relay')}
      about=${t('Streams of this application go to a streaming domain by themselves, where they can be watched, transcoded and recorded.')} />
    <${Loaded} load=${load}>${({ data, etag, domains }) => html`<${Settings} app=${app} saved=${data} etag=${etag} domains=${domains} reload=${load.reload} />`}<//>
    <${Card} title=${t('Where to watch them')}>
      <p>${t('At the origin inside braid, streams are on the page Streams while they are on air, with addresses for players such as VLC.')} <a href="#/streams">${t('Streams')}</a></p><//>
    <${Card} title=${t('Relay a specific stream instead')}>
      <p>${t('Your server can relay single streams and mixes of a channel, with a layout of its own, to any address: StartLiveMPUTask and its family in the API.')}</p><//>`;
}

/** What is wrong with an AppName, in words; empty for nothing. The seed's rule. */
export function checkAppName(name) {
  if (!name) return t('AppName is needed; live is the default.');
  if (name.length > 255) return t('AppName has {n} characters; it may have 255.', { n: name.length });
  return /^[A-Za-z0-9_=-]+$/.test(name) ? '' : t('AppName may have letters, digits, hyphens (-), underscores (_) and equal signs (=).');
}

function checkInterval(text) {
  const ms = Number(text);
  return Number.isInteger(ms) && ms >= 1000 && ms <= 5000 ? '' : t('The interval is a whole number from 1,000 to 5,000 ms.');
}

/** Settings as the form has them. */
const written = (saved) => ({
  enabled: saved.enabled, single: saved.single, mix: saved.mix, domain: saved.domain, name: saved.app_name,
  regular: !!saved.sei.interval_ms, interval: String(saved.sei.interval_ms || 1000), idr: !!saved.sei.follow_idr,
});

function Settings({ app, saved, etag, domains, reload }) {
  const [s, setS] = useState(() => written(saved));
  const [tried, setTried] = useState(false);
  useEffect(() => setS(written(saved)), [etag]);
  const set = (change) => setS((now) => ({ ...now, ...change }));
  const wrong = {
    kind: s.enabled && !s.single && !s.mix && t('Choose single streams, mixed streams, or both.'),
    name: checkAppName(s.name),
    interval: s.regular && checkInterval(s.interval),
  };
  const [save, busy, problem] = useAction(async () => {
    setTried(true);
    if (Object.values(wrong).some(Boolean)) return;
    await request('PUT', path('applications', app.id, 'relay'), { ifMatch: etag, body: {
      enabled: s.enabled, single: s.single, mix: s.mix, domain: s.domain, app_name: s.name,
      sei: { interval_ms: s.regular ? Number(s.interval) : 0, follow_idr: s.idr },
    } });
    toast(t('Stream relay has been saved. It applies at once.'));
    setTried(false);
    await reload();
  });
  const fields = problem?.fields ?? {};
  const chosen = domains.find((d) => d.name === s.domain);
  return html`<${Card}><form class="plain" onsubmit=${(e) => { e.preventDefault(); save(); }} novalidate>
    <${Switch} label=${t('Stream Relay')} checked=${s.enabled} onchange=${(enabled) => set({ enabled, ...(enabled && !s.single && !s.mix ? { single: true } : {}) })}
      hint=${t('While it is off, only what your server asks for is relayed.')} />
    <hr />
    <fieldset aria-describedby="kind-wrong"><legend>${t('What is relayed')}</legend>
      <${Check} label=${t('Single streams')} checked=${s.single} onchange=${(single) => set({ single })}
        hint=${t('Every audio and video stream that a user publishes, as a stream of its own.')} />
      <${Check} label=${t('Mixed stream')} checked=${s.mix} onchange=${(mix) => set({ mix })}
        hint=${t('One stream for each channel, with everyone in it. Its layout can be changed by the SDK or the server API, and here while it runs.')} />
      ${tried && wrong.kind && html`<p class="problem" role="alert" id="kind-wrong">${wrong.kind}</p>`}
    </fieldset>
    <${SelectField} label=${t('Streaming Domain')} value=${s.domain} onchange=${(domain) => set({ domain })} wrong=${fields.domain}
      options=${[['', t('The origin inside braid')], ...domains.map((d) => [d.name, d.rts2 ? t('{name} (RTS 2.0 is on)', { name: d.name }) : d.name, d.rts2])]}
      hint=${html`${domains.length ? '' : t('There is no streaming domain yet.') + ' '}<a href="#/domains?add">${t('Add a streaming domain')}</a>. ${
        t('Do not enable RTS 2.0 for the streaming domain: stream relay fails then.')}`} />
    ${chosen?.rts2 && html`<${Note} kind="warn">${t('RTS 2.0 is on for this domain: choose another, or switch it off there.')}<//>`}
    <${TextField} label="AppName" value=${s.name} oninput=${(name) => set({ name })} wrong=${wrong.name || fields.app_name} name="app_name"
      hint=${t('The part of the streaming URL after the domain. Templates for transcoding, recording and snapshots take effect only where they name the same AppName.')} />
    <fieldset><legend>${t('SEI Insertion')}</legend>
      <${Check} label=${t('Insert SEI at Regular Intervals')} checked=${s.regular} onchange=${(regular) => set({ regular })} />
      ${s.regular && html`<div class="indent"><${Field} label=${t('Interval')} wrong=${wrong.interval || fields['sei.interval_ms']} hint=${t('1,000 to 5,000 ms')}>${(attributes) => html`
        <span class="number"><input inputmode="numeric" value=${s.interval} name="interval" oninput=${(e) => set({ interval: e.target.value.trim() })} ...${attributes} /> ms</span>`}<//></div>`}
      <${Check} label=${t('Insert SEI in I-frames')} checked=${s.idr} onchange=${(idr) => set({ idr })} />
      <p class="hint">${t('SEI carries who is in the picture and where: players follow a change of the layout without asking a server.')}</p>
    </fieldset>
    ${problem?.status === 412 ? html`<${Note} kind="warn"><p>${t('Somebody else has changed these settings meanwhile.')}</p>
        <${Button} onclick=${reload}>${t('Show theirs')}<//><//>`
      : problem && !Object.keys(fields).length && html`<${Trouble} error=${problem} />`}
    <div class="formfoot"><${Button} type="submit" kind="primary" busy=${busy}>${t('Save')}<//></div>
  </form><//>`;
}
