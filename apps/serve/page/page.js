// What both pages share, and which of them is shown.
import {startImages} from './images.js';
import {startRuns} from './runs.js';

export const $ = id => document.getElementById(id);

// An element with properties and children; texts become text, never markup.
export function make(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes('-') || name === 'role' || name === 'for' || name === 'scope')
      node.setAttribute(name, value);
    else
      node[name] = value;
  }
  node.append(...children.filter(child => child !== null && child !== undefined));
  return node;
}

export function draw(tag, attributes = {}, ...children) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

export function say(problem) {
  $('problem').textContent = problem;
  $('problem').hidden = !problem;
}

// The JSON that the server answers with; its error text is thrown.
export async function ask(path, parameters = {}, options = {}) {
  const query = new URLSearchParams(parameters).toString();
  let reply;
  try {
    reply = await fetch(query ? `${path}?${query}` : path, options);
  } catch {
    throw new Error('The server does not answer. Has thorax serve ended?');
  }
  const json = await reply.json().catch(() => ({error: `status ${reply.status}`}));
  if (!reply.ok) throw new Error(json.error);
  return json;
}

export function show(image, name) {
  $('viewer-image').src = image;
  $('viewer-image').alt = name;
  $('viewer-name').textContent = name;
  $('viewer').showModal();
}

function choosePage() {
  const image = location.hash === '#image' && !$('to-image').hidden;
  $('runs-page').hidden = image;
  $('image-page').hidden = !image;
  for (const [link, current] of [['to-runs', !image], ['to-image', image]])
    current ? $(link).setAttribute('aria-current', 'page') : $(link).removeAttribute('aria-current');
  document.title = image ? 'Look at an image – thorax' : 'Runs – thorax';
}

// A click beside the picture closes it.
$('viewer').addEventListener('click', event => {
  if (event.target === $('viewer')) $('viewer').close();
});

try {
  const info = await ask('/api/info');
  $('to-image').hidden = !info.models;
  if (info.models) startImages(info);
  startRuns(info);
} catch (error) {
  say(error.message);
}
window.addEventListener('hashchange', choosePage);
choosePage();
