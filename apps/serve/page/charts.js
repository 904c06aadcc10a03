// Curves over epochs, as SVG.
import {draw, make} from './page.js';

const margin = {left: 48, right: 10, top: 8, bottom: 24};
const height = 220;

// Beside the colour of a run, for who does not see it.
export const marks = ['●', '■', '▲', '◆', '▼', '○', '□', '△'];

// At most `count` round numbers between low and high.
function ticks(low, high, count) {
  const span = high - low;
  if (!(span > 0)) return [low];
  const power = 10 ** Math.floor(Math.log10(span / count));
  const step = [1, 2, 5, 10].map(m => m * power).find(s => span / s <= count);
  const marks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; ++k)
    marks.push(Number((k * step).toPrecision(12)));
  return marks;
}

export function format(value) {
  if (value === null || value === undefined) return '–';
  if (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e5)) return value.toExponential(1);
  return Number(value.toPrecision(4)).toString();
}

// Lines of `points` [[epoch, value], ...], broken where a value is null.
function path(points, x, y) {
  let text = '', pen = 'M';
  for (const [epoch, value] of points) {
    if (value === null) { pen = 'M'; continue; }
    text += `${pen}${x(epoch).toFixed(1)} ${y(value).toFixed(1)}`;
    pen = 'L';
  }
  return text;
}

// A figure that is drawn anew by update(series). A series: {name, colour, points, train, thin}; thin ones (folds) are
// not named. The arrow keys and the pointer move a line that reads off values.
export function makeChart(title) {
  const svg = draw('svg', {role: 'img', tabindex: 0});
  const caption = make('figcaption');
  const figure = make('figure', {className: 'chart'}, make('h3', {textContent: title}), svg, caption);
  let series = [], epochs = [], at = null, x = () => 0;

  function read() {
    const epoch = at === null ? null : epochs[at];
    caption.replaceChildren();
    if (epoch !== null && epoch !== undefined) caption.append(make('span', {textContent: `epoch ${epoch}`}));
    for (const s of series.filter(s => !s.thin)) {
      const known = s.points.filter(p => p[1] !== null);
      const point = epoch === null ? known[known.length - 1] : s.points.find(p => p[0] === epoch);
      if (point)
        caption.append(make('span', {className: `t${s.colour}`, textContent: `${marks[s.colour]} ${s.name} ${format(point[1])}`}));
    }
    const cursor = svg.querySelector('.cursor');
    if (!cursor) return;
    cursor.setAttribute('visibility', epoch === null ? 'hidden' : 'visible');
    if (epoch !== null) {
      cursor.setAttribute('x1', x(epoch));
      cursor.setAttribute('x2', x(epoch));
    }
  }

  function render() {
    const width = svg.clientWidth || 350;
    svg.replaceChildren();
    const values = series.flatMap(s => s.points.map(p => p[1]).filter(v => v !== null));
    epochs = [...new Set(series.flatMap(s => s.points.map(p => p[0])))].sort((a, b) => a - b);
    if (!values.length) return;
    let low = Math.min(...values), high = Math.max(...values);
    const positive = low >= 0;
    if (low === high) { low -= Math.abs(low) / 10; high += Math.abs(high) / 10 || 1; }
    const pad = (high - low) * .05;
    low = positive ? Math.max(low - pad, -pad / 2) : low - pad;
    high += pad;
    const first = epochs[0], last = Math.max(epochs[epochs.length - 1], first + 1);
    x = e => margin.left + (e - first) / (last - first) * (width - margin.left - margin.right);
    const y = v => margin.top + (high - v) / (high - low) * (height - margin.top - margin.bottom);
    for (const v of ticks(low, high, 5)) {
      svg.append(draw('line', {class: 'grid', x1: margin.left, x2: width - margin.right, y1: y(v), y2: y(v)}));
      svg.append(draw('text', {x: margin.left - 6, y: y(v) + 4, 'text-anchor': 'end'}, format(v)));
    }
    for (const e of ticks(first, last, Math.max(2, Math.floor(width / 60))).filter(Number.isInteger))
      svg.append(draw('text', {x: x(e), y: height - 6, 'text-anchor': 'middle'}, String(e)));
    svg.append(draw('line', {class: 'cursor', y1: margin.top, y2: height - margin.bottom, visibility: 'hidden'}));
    for (const s of series) {
      svg.append(draw('path', {class: `line s${s.colour}${s.train ? ' train' : ''}${s.thin ? ' thin' : ''}`,
                               d: path(s.points, x, y)}));
      if (s.thin) continue;
      const known = s.points.filter(p => p[1] !== null), every = Math.ceil(known.length / 8);
      known.forEach(([epoch, value], i) => {
        if ((known.length - 1 - i) % every === 0)
          svg.append(draw('text', {class: `mark f${s.colour}`, x: x(epoch), y: y(value), 'text-anchor': 'middle',
                                   'dominant-baseline': 'central'}, marks[s.colour]));
      });
    }
    read();
    svg.setAttribute('aria-label', `${title} by epoch, ${first} to ${epochs[epochs.length - 1]}: ` +
                     [...caption.children].map(c => c.textContent).join(', '));
  }

  svg.addEventListener('pointermove', event => {
    const place = event.clientX - svg.getBoundingClientRect().left;
    at = null;
    epochs.forEach((e, i) => {
      if (at === null || Math.abs(x(e) - place) < Math.abs(x(epochs[at]) - place)) at = i;
    });
    read();
  });
  const leave = () => { at = null; read(); };
  svg.addEventListener('pointerleave', leave);
  svg.addEventListener('blur', leave);
  svg.addEventListener('keydown', event => {
    const step = {ArrowLeft: -1, ArrowRight: 1}[event.key];
    if (!step || !epochs.length) return;
    event.preventDefault();
    at = at === null ? epochs.length - 1 : Math.min(Math.max(at + step, 0), epochs.length - 1);
    read();
  });
  new ResizeObserver(render).observe(svg);
  return {figure, update(next) { series = next; render(); }};
}
