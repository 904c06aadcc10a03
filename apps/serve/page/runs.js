// The table of runs; those that are chosen side by side.
import {format, makeChart, marks} from './charts.js';
import {$, ask, make, say, show} from './page.js';

const colours = 8;
const rare = new Set(['size', 'epochs', 'train loss', 'loss', 'started', 'command', 'finished folds']);
const look = column => [column.kind !== 'text' ? 'number' : '', rare.has(column.name) ? 'rare' : '',
                        column.name === 'network' ? 'middling' : ''].join(' ');
const names = {loss: 'Loss', dice: 'Dice', iou: 'IoU', auc: 'AUC', accuracy: 'Accuracy', lr: 'Learning rate',
               hausdorff95: 'Hausdorff distance (95 %)', missed: 'Missed', balanced_accuracy: 'Balanced accuracy',
               average_precision: 'Average precision', micro_auc: 'AUC (micro)'};
const order = ['loss', 'dice', 'iou', 'auc', 'accuracy', 'balanced_accuracy', 'average_precision', 'micro_auc'];

let table = {columns: [], rows: [], notes: []};
let sort = {column: 'run', down: false};
const chosen = new Map();  // by name: {name, colour, details, head, parts: Map of {epochs, metrics, finished}}
const charts = new Map();  // by metric
let compared = 0;          // runs whose configurations are shown

// The table ----------------------------------------------------------------------------------------

function text(value, column) {
  if (value === null || value === undefined) return '–';
  if (column.name === 'started') return String(value).replace('T', ' ').replace(/:\d\dZ$/, '');
  return column.kind === 'number' ? format(value) : String(value);
}

function visibleRows() {
  const words = $('filter').value.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = table.rows.filter(row => {
    const all = table.columns.map(c => text(row[c.name], c)).join(' ').toLowerCase();
    return words.every(word => all.includes(word));
  });
  const direction = sort.down ? -1 : 1;
  return rows.sort((a, b) => {
    const x = a[sort.column], y = b[sort.column];
    if (x === y) return 0;
    if (x === null) return 1;  // what is not known comes last, either way
    if (y === null) return -1;
    return direction * (typeof x === 'number' ? x - y : String(x).localeCompare(String(y), undefined, {numeric: true}));
  });
}

function showHead() {
  $('runs').tHead.replaceChildren(make('tr', {}, ...table.columns.map(column => {
    const number = column.kind !== 'text';
    const th = make('th', {scope: 'col', className: look(column)},
                    make('button', {type: 'button', textContent: column.name, onclick: () => {
                      sort = {column: column.name, down: sort.column === column.name ? !sort.down : number};
                      showHead();
                      showRows();
                      [...$('runs').tHead.querySelectorAll('button')].find(b => b.textContent === column.name).focus();
                    }}));
    if (sort.column === column.name) th.setAttribute('aria-sort', sort.down ? 'descending' : 'ascending');
    return th;
  })));
}

function showRows() {
  const rows = visibleRows();
  const focused = document.activeElement?.dataset?.run;
  $('runs').tBodies[0].replaceChildren(...rows.map(row => {
    const box = make('input', {type: 'checkbox', checked: chosen.has(row.run),
                               onchange: event => event.target.checked ? choose(row.run) : drop(row.run)});
    box.dataset.run = row.run;
    const cells = table.columns.slice(1).map(column => {
      const td = make('td', {className: look(column)},
                      text(row[column.name], column));
      if (column.name === 'state')
        td.classList.add({'at work': 'state-work', stopped: 'state-stopped'}[row.state] ?? 'state');
      return td;
    });
    return make('tr', {className: chosen.has(row.run) ? 'chosen' : ''},
                make('th', {scope: 'row'}, make('label', {}, box, row.run)), ...cells);
  }));
  if (focused !== undefined)
    [...$('runs').querySelectorAll('input')].find(box => box.dataset.run === focused)?.focus();
  $('runs-caption').textContent = !table.rows.length
      ? 'There is no run below this folder yet. Runs appear here as they begin.'
      : `${rows.length} of ${table.rows.length} runs. Tick some to see them side by side. ${table.notes.join(' ')}`;
}

async function refreshTable() {
  const answer = await ask('/api/runs');
  const first = !table.columns.length;
  table = answer.table;
  if (first) showHead();
  showRows();
  $('unreadable').hidden = !answer.unreadable.length;
  $('unreadable').replaceChildren(...answer.unreadable.map(reason => make('li', {textContent: `Left out: ${reason}`})));
}

// Chosen runs --------------------------------------------------------------------------------------

async function choose(name) {
  if (chosen.has(name)) return;
  const taken = [...chosen.values()].map(run => run.colour);
  let colour = [...Array(colours).keys()].find(c => !taken.includes(c)) ?? chosen.size % colours;
  chosen.set(name, {name, colour, details: null, head: {state: ''}, parts: new Map()});
  remember();
  showRows();
  await refreshRun(name);
  showChosen();
}

function drop(name) {
  chosen.delete(name);
  remember();
  showRows();
  showChosen();
}

function remember() {
  const query = new URLSearchParams([...chosen.keys()].map(name => ['run', name])).toString();
  history.replaceState(null, '', query ? `?${query}${location.hash}` : `/${location.hash}`);
}

async function refreshRun(name) {
  const run = chosen.get(name);
  if (!run) return;
  try {
    const have = Object.fromEntries([...run.parts].map(([part, p]) => [part, p.epochs.length]));
    let news = await ask('/api/metrics', {run: name, have: JSON.stringify(have)});
    // Another run has taken the folder.
    if (run.details && run.head.started !== news.started) {
      run.parts.clear();
      run.details = null;
      news = await ask('/api/metrics', {run: name});
    }
    if (!run.details || run.head.state !== news.state) run.details = await ask('/api/run', {run: name});
    run.head = news;
    for (const p of news.parts) {
      const old = p.from > 0 ? run.parts.get(p.part) : {epochs: [], metrics: {}};
      const metrics = {};
      for (const metric of new Set([...Object.keys(old.metrics), ...Object.keys(p.metrics)])) {
        const before = old.metrics[metric] ?? old.epochs.map(() => null);
        metrics[metric] = [...before.slice(0, p.from), ...(p.metrics[metric] ?? p.epochs.map(() => null))];
      }
      run.parts.set(p.part, {epochs: [...old.epochs.slice(0, p.from), ...p.epochs], metrics, finished: p.finished});
    }
  } catch (error) {
    chosen.delete(name);
    remember();
    say(error.message);
  }
}

// Points of one network's metric: the mean over its folds at the epochs that all of them reached.
function seriesOf(run, metric, train) {
  const networks = new Map();
  for (const [part, p] of run.parts) {
    const values = p.metrics[metric];
    if (!values || values.every(v => v === null)) continue;
    const network = part.includes('/') ? part.slice(0, part.indexOf('/')) : '';
    if (!networks.has(network)) networks.set(network, []);
    networks.get(network).push(p.epochs.map((e, i) => [e, values[i]]));
  }
  const series = [];
  let colour = run.colour;
  for (const [network, folds] of networks) {
    const name = network ? `${run.name}: ${network}` : run.name;
    if (folds.length > 1) for (const points of folds) series.push({name, colour, points, train, thin: true});
    const mean = folds[0].map(([epoch]) => {
      const at = folds.map(points => points.find(p => p[0] === epoch)?.[1]);
      return [epoch, at.some(v => v === null || v === undefined) ? null : at.reduce((a, b) => a + b, 0) / at.length];
    });
    series.push({name: train ? `${name} (training)` : name, colour, points: mean, train});
    if (networks.size > 1) colour = (colour + 1) % colours;
  }
  return series;
}

function showCurves() {
  const metrics = new Set();
  for (const run of chosen.values())
    for (const p of run.parts.values())
      for (const [metric, values] of Object.entries(p.metrics))
        if (metric !== 'train_loss' && values.some(v => v !== null)) metrics.add(metric);
  const sorted = [...metrics].sort((a, b) =>
    (order.indexOf(a) + 1 || 99) - (order.indexOf(b) + 1 || 99) || (a === 'lr') - (b === 'lr') || a.localeCompare(b));
  for (const metric of [...charts.keys()].filter(m => !metrics.has(m))) {
    charts.get(metric).figure.remove();
    charts.delete(metric);
  }
  for (const metric of sorted) {
    if (!charts.has(metric)) charts.set(metric, makeChart(names[metric] ?? metric));
    const chart = charts.get(metric);
    $('curves').append(chart.figure);
    chart.update([...chosen.values()].flatMap(run => [
      ...(metric === 'loss' ? seriesOf(run, 'train_loss', true) : []), ...seriesOf(run, metric, false)]));
  }
  if (!sorted.length) $('curves').replaceChildren(make('p', {className: 'hint', textContent: 'No epoch has ended yet.'}));
  else $('curves').querySelector('p')?.remove();
}

function flat(value, path, out) {
  if (value !== null && typeof value === 'object' && !Array.isArray(value) && Object.keys(value).length)
    for (const [key, inner] of Object.entries(value)) flat(inner, path ? `${path}.${key}` : key, out);
  else
    out.set(path, typeof value === 'string' ? value : JSON.stringify(value));
  return out;
}

function showConfig() {
  const runs = [...chosen.values()].filter(run => run.details);
  const several = runs.length > 1;
  $('only-label').hidden = !several;
  if (runs.length !== compared) $('config-box').open = several;
  compared = runs.length;
  const flats = runs.map(run => flat(run.details.config, '', new Map()));
  const keys = [...new Set(flats.flatMap(f => [...f.keys()]))];
  const rows = keys.map(key => ({key, values: flats.map(f => f.get(key))}))
                   .map(row => ({...row, differs: several && new Set(row.values).size > 1}));
  const shown = rows.filter(row => !several || !$('only').checked || row.differs);
  $('config').tHead.replaceChildren(make('tr', {}, make('th', {scope: 'col', textContent: 'setting'}),
    ...runs.map(run => make('th', {scope: 'col', className: `t${run.colour}`, textContent: `${marks[run.colour]} ${run.name}`}))));
  $('config').tBodies[0].replaceChildren(...shown.map(row => make('tr', {className: row.differs ? 'differs' : ''},
    make('th', {scope: 'row', textContent: row.key}), ...row.values.map(v => make('td', {textContent: v ?? '–'})))));
  if (!shown.length)
    $('config').tBodies[0].append(make('tr', {}, make('td', {colSpan: runs.length + 1, textContent: 'These runs have the same settings.'})));
}

function thumbs(run, group, count) {
  return make('div', {className: 'thumbs'}, ...group.files.slice(0, count).map(file => {
    const name = file.slice(file.lastIndexOf('/') + 1);
    const source = `/picture?${new URLSearchParams({run: run.name, file})}`;
    return make('button', {type: 'button', title: file, onclick: () => show(source, `${run.name}: ${file}`)},
                make('img', {src: source, alt: `${file} of run ${run.name}`, loading: 'lazy'}), make('span', {textContent: name}));
  }));
}

function showPictures() {
  $('pictures').replaceChildren(...[...chosen.values()].filter(run => run.details).map(run => {
    const box = make('section', {}, make('h3', {className: `t${run.colour}`, textContent: `${marks[run.colour]} ${run.name}`}));
    if (run.details.report)
      box.append(make('p', {}, make('a', {href: `/report?${new URLSearchParams({run: run.name})}`, target: '_blank', rel: 'noopener',
                                          textContent: 'Its report'})));
    run.details.pictures.forEach((group, i) => {
      const title = group.folder === '.' ? 'pictures' : group.folder;
      const some = 24;
      const details = make('details', {open: i === 0}, make('summary', {textContent: `${title} (${group.files.length})`}),
                           thumbs(run, group, some));
      if (group.files.length > some)
        details.append(make('button', {type: 'button', className: 'button', textContent: `all ${group.files.length}`,
                                       onclick: event => event.target.replaceWith(thumbs(run, {files: group.files.slice(some)}))}));
      box.append(details);
    });
    if (!run.details.pictures.length && !run.details.report)
      box.append(make('p', {className: 'hint', textContent: 'This run has drawn no pictures.'}));
    return box;
  }));
}

function showLegend() {
  $('legend').replaceChildren(...[...chosen.values()].map(run => make('li', {},
    make('span', {className: `t${run.colour}`, 'aria-hidden': 'true', textContent: marks[run.colour]}),
    make('b', {textContent: run.name, title: run.name}), run.head.state,
    make('button', {type: 'button', 'aria-label': `Remove ${run.name}`, textContent: '×', onclick: () => drop(run.name)}))));
}

function showChosen() {
  $('chosen').hidden = !chosen.size;
  showLegend();
  showCurves();
  showConfig();
  showPictures();
}

// What is at work is asked for every two seconds, the rest every ten; nothing while nobody looks.
async function poll() {
  let wait = 10000;
  try {
    if (!document.hidden) {
      await refreshTable();
      const before = [...chosen.values()].map(run => run.details);
      await Promise.all([...chosen.keys()].map(refreshRun));
      if ([...chosen.values()].some((run, i) => run.details !== before[i])) showChosen();
      else if (chosen.size) showCurves();
      say('');
    }
    if (table.rows.some(row => row.state === 'at work')) wait = 2000;
  } catch (error) {
    say(error.message);
  }
  setTimeout(poll, wait);
}

export async function startRuns() {
  $('filter').addEventListener('input', showRows);
  $('only').addEventListener('change', showConfig);
  for (const name of new URLSearchParams(location.search).getAll('run')) await choose(name);
  await poll();
}
