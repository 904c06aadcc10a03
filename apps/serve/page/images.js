// An image by the networks that the server was given.
import {$, ask, draw, make, say, show} from './page.js';

// In the order in which they are shown.
const titles = {radiograph: 'Radiograph', overlay: 'Outline found', heatmap: 'Where the classifier looks: yellow most',
                mask: 'Mask', probability: 'Probability of lung: white is 1'};
let waiting = null;  // the request that is under way

function number(value) {
  return value.toFixed(3);
}

// A row: name, bar with the threshold, probability.
function score(name, probability, threshold) {
  const bar = draw('svg', {viewBox: '0 0 220 14', 'aria-hidden': 'true'},
                   draw('rect', {class: 'track', x: .5, y: .5, width: 219, height: 13, rx: 3}),
                   draw('rect', {class: 'fill', x: .5, y: .5, width: Math.max(1, 219 * probability), height: 13, rx: 3}));
  if (threshold !== undefined)
    bar.append(draw('line', {class: 'limit', x1: 220 * threshold, x2: 220 * threshold, y1: 0, y2: 14}));
  return make('tr', {}, make('th', {scope: 'row', textContent: name}), make('td', {}, bar),
              make('td', {textContent: number(probability)}),
              make('td', {className: 'hint', textContent: threshold === undefined ? '' : `positive from ${number(threshold)}`}));
}

function scores(p) {
  const rows = [];
  if (p.findings)
    for (const f of p.findings) rows.push(score(f.finding, f.probability, f.threshold));
  else if (p.probabilities)
    for (const [name, probability] of Object.entries(p.probabilities)) rows.push(score(name, probability));
  else if (p.probability !== null && p.probability !== undefined)
    rows.push(score(p.positive_class, p.probability, p.threshold));
  return rows.length ? make('table', {className: 'scores'}, make('tbody', {}, ...rows)) : null;
}

function organs(s) {
  return make('div', {className: 'scroll'}, make('table', {className: 'scores'},
    make('thead', {}, make('tr', {}, ...['organ', 'pixels', 'regions'].map(t => make('th', {scope: 'col', textContent: t})))),
    make('tbody', {}, ...s.organs.map(o => make('tr', {}, make('th', {scope: 'row', textContent: o.organ}),
                                                make('td', {textContent: o.pixels}), make('td', {textContent: o.regions}))))));
}

function shown(file, answer) {
  const facts = answer.prediction ?? answer.segmentation;
  const verdict = answer.prediction ? facts.verdict : facts.kept ? 'Segmented' : 'Rejected';
  const lines = [facts.reason, ...(facts.notes ?? [])].filter(Boolean);
  const area = facts.lung_area_512 === undefined ? '' : ` Lungs cover ${(facts.lung_area_512 / 5.12 ** 2 / 100).toFixed(1)} % of the image.`;
  const title = name => (name === 'heatmap' && answer.explained ? `What speaks for ${answer.explained}: yellow most` : titles[name] ?? name);
  $('result').replaceChildren(
    make('h2', {className: 'verdict', textContent: verdict}),
    make('p', {className: 'hint', textContent: `${file.name}, looked at in ${answer.seconds.toFixed(2)} s.${area}`}),
    answer.prediction ? scores(facts) ?? '' : organs(facts),
    ...lines.map(line => make('p', {className: 'note', textContent: line})),
    make('div', {className: 'views'}, ...Object.keys(titles).filter(name => name in answer.pictures).map(name => {
      const source = `data:image/png;base64,${answer.pictures[name]}`;
      const text = `${title(name)}, ${file.name}`;
      return make('figure', {}, make('img', {src: source, alt: text, onclick: () => show(source, text)}),
                  make('figcaption', {textContent: title(name)}));
    })),
    make('details', {}, make('summary', {textContent: 'As JSON'}),
         make('pre', {textContent: JSON.stringify(answer.prediction ? {prediction: facts} : {segmentation: facts}, null, 2)}),
         make('p', {className: 'hint', textContent: 'The same from a terminal:'}),
         make('pre', {textContent: `curl --data-binary @image.png ${location.origin}/api/predict`})));
}

async function look(file, pictures) {
  waiting?.abort();
  const mine = waiting = new AbortController();
  say('');
  $('result').replaceChildren(make('p', {className: 'hint', textContent: `Looking at ${file.name} …`}));
  try {
    const answer = await ask('/api/predict', {name: file.name, pictures: pictures.join(','), side: 1024},
                             {method: 'POST', body: file, signal: mine.signal});
    if (mine === waiting) shown(file, answer);
  } catch (error) {
    if (mine !== waiting) return;
    $('result').replaceChildren();
    say(error.message);
  }
}

export function startImages(info) {
  const models = info.models;
  // The values of the heatmap and the bare masks of many organs are for programs.
  const pictures = models.pictures.filter(name => name in titles);
  $('models').append(
    make('p', {textContent: `${models.classifier ? `Tells ${models.classes.join(', ')}` : `Finds ${models.organs.join(', ')}`}. Reads ${models.formats}.`}));
  if (models.lines)
    $('models').append(make('details', {}, make('summary', {textContent: 'The networks'}),
                            make('ul', {}, ...models.lines.map(line => make('li', {textContent: line})))));
  const drop = $('drop');
  const take = files => { if (files.length) look(files[0], pictures); };
  $('file').addEventListener('change', event => { take(event.target.files); event.target.value = ''; });
  document.addEventListener('paste', event => take(event.clipboardData.files));
  // A file that is dropped beside the field must not replace the page.
  for (const type of ['dragover', 'drop']) document.addEventListener(type, event => event.preventDefault());
  for (const type of ['dragenter', 'dragover']) drop.addEventListener(type, () => drop.classList.add('over'));
  for (const type of ['dragleave', 'drop']) drop.addEventListener(type, () => drop.classList.remove('over'));
  document.addEventListener('drop', event => { if (!$('image-page').hidden) take(event.dataTransfer.files); });
}
