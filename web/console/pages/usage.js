// Usage of an application per day, as charts and as a table.
import { html, useState } from '../preact.js';
import { get, path } from '../api.js';
import { useLoad } from '../hooks.js';
import { t, number, utcDay } from '../i18n.js';
import { Button, Card, Loaded, PageHead, SelectField, Table } from '../ui.js';
import { Bars } from '../chart.js';

const dayMs = 86400000;
const names = { audio: 'audio', '480p': 'up to 480p', '720p': 'up to 720p', '1080p': 'up to 1080p', single_audio: 'single stream, audio', single_video: 'single stream, video' };
const classes = { call: ['audio', '480p', '720p', '1080p'], relay: ['single_audio', 'single_video', 'audio', '480p', '720p', '1080p'] };
const className = (kind, name) => kind === 'relay' && !name.startsWith('single') ? t('mix, {what}', { what: t(names[name]) }) : t(names[name]);

export function Usage({ app }) {
  const [days, setDays] = useState('14');
  const load = useLoad(async (signal) => {
    const to = new Date();
    const from = new Date(Math.floor(to / dayMs) * dayMs - (Number(days) - 1) * dayMs);
    const read = (kind) => get(path('applications', app.id, 'usage'), { signal, query: { kind, interval: 86400, from: from.toISOString(), to: to.toISOString() } });
    const [call, relay] = await Promise.all([read('call'), read('relay')]);
    const all = Array.from({ length: Number(days) }, (_, n) => new Date(from.getTime() + n * dayMs).toISOString().slice(0, 10));
    return { call: table('call', call, all), relay: table('relay', relay, all) };
  }, [app.id, days]);
  return html`<${PageHead} title=${t('Usage')} about=${t('Days are those of UTC. Today is counted up to now.')}>
      <${SelectField} label=${t('Days')} value=${days} onchange=${setDays} options=${[['7', t('the last 7')], ['14', t('the last 14')], ['31', t('the last 31')]]} />
      <${Button} icon="refresh" busy=${load.loading && load.data} onclick=${load.reload}>${t('Refresh')}<//><//>
    <${Loaded} load=${load}>${({ call, relay }) => html`
      <${Kind} app=${app} kind="call" rows=${call} title=${t('Calls')} about=${t('Minutes that users spent in channels, by the biggest picture that they received.')} />
      <${Kind} app=${app} kind="relay" rows=${relay} title=${t('Stream relay')} about=${t('Minutes of relay tasks, by what they sent.')} />`}<//>`;
}

/** One row a day: minutes by class. */
function table(kind, { items }, days) {
  const rows = new Map(days.map((day) => [day, { day, minutes: Object.fromEntries(classes[kind].map((c) => [c, 0])) }]));
  for (const { start, class: name, seconds } of items) {
    const row = rows.get(start.slice(0, 10));
    if (row) row.minutes[name] = (row.minutes[name] ?? 0) + seconds / 60;
  }
  return [...rows.values()].map((row) => ({ ...row, total: Object.values(row.minutes).reduce((a, b) => a + b, 0) }));
}

const minutes = (m) => number(m >= 100 ? Math.round(m) : Math.round(m * 10) / 10);

function Kind({ app, kind, rows, title, about }) {
  const total = rows.reduce((sum, row) => sum + row.total, 0);
  const used = classes[kind].filter((name) => rows.some((row) => row.minutes[name]));
  const csv = () => {
    const lines = [['day', ...classes[kind].map((c) => `${c}_minutes`)], ...rows.map((row) => [row.day, ...classes[kind].map((c) => row.minutes[c].toFixed(3))])];
    const link = Object.assign(document.createElement('a'), { download: `${app.id}-${kind}.csv`, href: URL.createObjectURL(new Blob([lines.join('\n') + '\n'], { type: 'text/csv' })) });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
  return html`<${Card} title=${title} about=${about} actions=${html`<strong class="total">${t('{n} min', { n: minutes(total) })}</strong><${Button} disabled=${!total} onclick=${csv}>CSV<//>`}>
    ${total ? html`<${Bars} label=${title} days=${rows.map((row) => ({ name: utcDay(row.day), values: used.map((c) => row.minutes[c]), total: row.total }))} series=${used.map((c) => className(kind, c))} unit=${(m) => t('{n} min', { n: minutes(m) })} />
      <details><summary>${t('As a table')}</summary><${Table} label=${title} rows=${rows.filter((row) => row.total).reverse()} rowKey=${(row) => row.day} columns=${[
        [t('Day'), (row) => utcDay(row.day), 'nowrap'],
        ...used.map((c) => [className(kind, c), (row) => minutes(row.minutes[c]), 'num']),
        [t('Total'), (row) => minutes(row.total), 'num'],
      ]} /></details>` : html`<p class="soft">${t('Nothing was used in these days.')}</p>`}
  <//>`;
}
