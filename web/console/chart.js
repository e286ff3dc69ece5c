// Stacked bars in plain SVG.
import { html } from './preact.js';

const height = 180;
const top = 10;
const left = 46;
const bottom = 22;

/** The next round number: 1, 2, 5 and their tens. */
export function ceiling(v) {
  const ten = 10 ** Math.floor(Math.log10(v));
  return [1, 2, 5, 10].map((n) => n * ten).find((n) => n >= v * 0.999);
}

/**
 * @param {{days: {name: string, values: number[], total: number}[], series: string[], unit: (n: number) => string, label: string}} props
 */
export function Bars({ days, series, unit, label }) {
  const narrow = matchMedia('(max-width: 52rem)').matches; // a phone: letters are as large as on other screens
  const width = narrow ? 330 : 860;
  const most = ceiling(Math.max(...days.map((d) => d.total), 0.1));
  const step = (width - left) / days.length;
  const bar = Math.min(42, step * 0.68);
  const y = (v) => top + (height - top - bottom) * (1 - v / most);
  const every = Math.ceil(days.length / (narrow ? 5 : 16));
  return html`<figure class="chart">
    <svg viewBox=${`0 0 ${width} ${height}`} role="img" aria-label=${label}>
      ${[0, 0.5, 1].map((share) => html`<g key=${share}><line x1=${left} x2=${width} y1=${y(most * share)} y2=${y(most * share)} class="grid"></line>
        <text x=${left - 8} y=${y(most * share) + 4} text-anchor="end">${Math.round(most * share * 100) / 100}</text></g>`)}
      ${days.map((d, n) => {
        const x = left + step * n + (step - bar) / 2;
        let sum = 0;
        return html`<g key=${d.name}><title>${`${d.name}: ${unit(d.total)}`}</title>
          <rect x=${left + step * n} y=${top} width=${step} height=${height - top - bottom} fill="transparent"></rect>
          ${d.values.map((v, s) => {
            const from = y(sum);
            sum += v;
            return v > 0 && html`<rect key=${s} class=${`series s${s}`} x=${x} y=${y(sum)} width=${bar} height=${Math.max(0.5, from - y(sum))}></rect>`;
          })}
          ${n % every === 0 && html`<text x=${x + bar / 2} y=${height - 6} text-anchor="middle">${d.name}</text>`}</g>`;
      })}
    </svg>
    <figcaption>${series.map((name, s) => html`<span key=${s}><i class=${`key s${s}`}></i>${name}</span>`)}</figcaption>
  </figure>`;
}
