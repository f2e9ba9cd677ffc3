// The page: which model, which of its signatures, what is asked, what is answered.

import { viewOf } from './answers.js';
import { element, figure, Told } from './elements.js';
import { fieldOf, sent } from './fields.js';

const part = (id) => document.getElementById(id);
const SHOWN = 48; // characters of an example
const FEW = 6; // examples that are no pictures

let model = null; // what is known of the one that is shown
let form = null; // of the signature that is chosen
let fields = []; // [what the form says of it, its widget]
let question = 0; // counts, so that an answer that is overtaken is dropped

async function reply(url, body) {
  const options = body && { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) };
  let response;
  try {
    response = await fetch(url, options);
  } catch {
    throw new Told('The playground does not answer. Is it still running?');
  }
  const found = await response.json().catch(() => ({ error: `HTTP ${response.status}` }));
  if (!response.ok) throw new Told(found.error ?? `HTTP ${response.status}`);
  return found;
}

async function start() {
  try {
    const { models, address } = await reply('/api/models');
    part('address').textContent = address;
    part('models').replaceChildren(
      ...models.map((name) => element('button', { type: 'button', 'data-model': name, onclick: () => go(name) }, name)),
    );
    const [name, signature] = location.hash.slice(1).split('/').map(decodeURIComponent);
    await choose(models.includes(name) ? name : models[0], signature);
  } catch (error) {
    tell(error);
  }
}

function go(name, signature) {
  const hash = [name, signature].filter(Boolean).map(encodeURIComponent).join('/');
  if (location.hash.slice(1) === hash) choose(name, signature);
  else location.hash = hash;
}

async function choose(name, signature) {
  for (const button of part('models').children) {
    if (button.dataset.model === name) button.setAttribute('aria-current', 'true');
    else button.removeAttribute('aria-current');
  }
  forget();
  part('question').hidden = true;
  part('model-name').replaceChildren(name);
  part('purpose').textContent = '';
  part('facts').replaceChildren();
  const mine = question;
  try {
    const found = await reply(`/api/models/${encodeURIComponent(name)}`);
    if (mine !== question) return; // another was chosen meanwhile
    model = found;
  } catch (error) {
    if (mine === question) tell(error);
    return;
  }
  document.title = `${name} · Playground`;
  part('model-name').append(' ', element('small', {}, `version ${model.version}`));
  describe(model.card);
  const names = model.signatures.map((each) => each.name);
  part('signature').replaceChildren(...names.map((each) => element('option', { value: each }, each)));
  part('signature-choice').hidden = names.length < 2;
  part('question').hidden = names.length === 0;
  if (names.length > 0) await fillIn(names.includes(signature) ? signature : names[0]);
  else tell(new Told('This model has no signature that can be asked.'));
}

function describe(card) {
  const figures = Object.entries(card.metrics ?? {}).slice(0, 4);
  const facts = [
    ['network', card.architecture],
    ['parameters', card.parameters && figure(card.parameters)],
    ['data', card.data],
    ...figures.map(([name, value]) => [name.replaceAll('_', ' '), figure(value, 4)]),
    ['classes', model.labels.length ? figure(model.labels.length) : null],
  ].filter(([, value]) => value);
  part('facts').replaceChildren(...facts.map(([name, value]) => element('div', {}, element('dt', {}, name), element('dd', {}, value))));
  part('purpose').textContent = [card.task && `For ${card.task.replaceAll('-', ' ')}.`, ...(card.limitations ?? [])].filter(Boolean).join(' ');
}

async function fillIn(name) {
  forget();
  part('signature').value = name;
  form = model.signatures.find((each) => each.name === name);
  fields.forEach(([, widget]) => widget.remove());
  fields = form.fields.map((field) => [field, fieldOf(field, ask)]);
  part('fields').replaceChildren(...fields.map(([, widget]) => widget.element));
  part('examples').replaceChildren(...examples(form));
  const [first] = form.examples;
  if (!first) return;
  part('question').setAttribute('aria-busy', 'true'); // what the examples tell may still move what is below it
  for (const [field, widget] of fields) {
    if (field.kind === 'picture') await widget.takePaperOf(form.examples.map((row) => row[field.name])).catch(() => {});
    else if (field.kind === 'text' || field.kind === 'json') widget.set(first[field.name]);
  }
  part('question').removeAttribute('aria-busy');
}

function examples({ examples: rows, fields: asked }) {
  if (rows.length === 0) return [];
  const chips = rows.slice(0, pictureIn(asked) ? rows.length : FEW).map((row, place) =>
    element('button', { type: 'button', onclick: () => take(row), ...faceOf(row, asked, place) }, ...contentOf(row, asked, place)),
  );
  return [element('h4', { id: 'examples-title' }, 'Examples'), element('div', { class: 'chips', role: 'group', 'aria-labelledby': 'examples-title' }, chips)];
}

const pictureIn = (asked) => asked.find((field) => field.kind === 'picture');

function faceOf(row, asked, place) {
  return pictureIn(asked) ? { class: 'picture', 'aria-label': `Example ${place + 1}` } : {};
}

function contentOf(row, asked, place) {
  const picture = pictureIn(asked);
  if (picture) return [element('img', { src: `data:;base64,${row[picture.name].b64}`, alt: '', class: 'small-pixels' })];
  const text = asked.find((field) => field.kind === 'text' && row[field.name] !== '');
  const words = text ? String(row[text.name]) : '';
  return [element('span', {}, words.length > SHOWN ? `${words.slice(0, SHOWN)}…` : words || `Example ${place + 1}`)];
}

async function take(row) {
  await Promise.all(fields.map(([field, widget]) => widget.set(row[field.name])));
  await ask();
}

async function ask() {
  const mine = ++question;
  part('state').textContent = 'asking …';
  document.body.classList.add('busy');
  try {
    const inputs = {};
    const files = {};
    const asked = { picture: null, text: null, continues: form.continues };
    const blobs = [];
    for (const [field, widget] of fields) {
      inputs[field.name] = await sent(field, widget);
      if (field.kind === 'text') asked.text ??= widget.value();
      if (field.kind === 'picture') {
        asked.picture ??= await widget.file();
        files[field.name] = widget.name;
        blobs.push([widget.name, asked.picture]);
      }
    }
    const signature = part('signature').value;
    const answer = await reply(`/api/models/${encodeURIComponent(model.name)}`, { signature, inputs, files });
    const views = await Promise.all(answer.views.map((view) => viewOf(view, asked)));
    if (mine === question) show(answer, views, blobs);
  } catch (error) {
    if (mine === question) tell(error);
  }
  if (mine !== question) return;
  part('state').textContent = '';
  document.body.classList.remove('busy');
}

function show(answer, views, blobs) {
  part('views').replaceChildren(...views);
  part('time').textContent = `${figure(answer.milliseconds, 3)} ms, version ${answer.version}`;
  part('outputs').hidden = false;
  part('outputs').open ||= views.length === 0;
  part('outputs')
    .querySelector('tbody')
    .replaceChildren(...answer.outputs.map(({ name, spec, values }) => element('tr', {}, ...[name, spec, values].map((cell) => element('td', {}, cell)))));
  part('lines').hidden = false;
  part('files').replaceChildren(...blobs.map(([name, blob]) => element('a', { class: 'button', href: URL.createObjectURL(blob), download: name }, `Save ${name}`)));
  part('curl').replaceChildren(answer.curl ? code('curl', answer.curl) : element('p', { class: 'quiet' }, 'The server is asked over gRPC, which curl does not speak.'));
  part('python').replaceChildren(code('Python', answer.python));
}

function code(language, lines) {
  const pre = element('pre', { tabindex: 0, 'aria-label': `The request in ${language}` }, lines);
  const button = element('button', { type: 'button', 'aria-label': `Copy the lines of ${language}` }, 'Copy');
  button.addEventListener('click', async () => {
    button.textContent = (await copied(lines, pre)) ? 'Copied' : 'Press Ctrl+C';
  });
  return element('div', {}, element('h4', {}, language), element('div', { class: 'code' }, pre, button));
}

/** Whether the text is in the clipboard; where pages may not write there, it is selected instead. */
async function copied(text, node) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    getSelection().selectAllChildren(node);
    return false;
  }
}

function tell(error) {
  if (!(error instanceof Told)) console.error(error);
  const words = error instanceof Error ? error.message : String(error);
  part('views').replaceChildren(element('p', { class: 'error', role: 'alert' }, words));
  part('time').textContent = '';
  part('outputs').hidden = true;
  part('lines').hidden = true;
}

function forget() {
  question += 1;
  document.body.classList.remove('busy');
  part('state').textContent = '';
  part('views').replaceChildren(element('p', { class: 'quiet' }, 'Nothing has been asked yet.'));
  part('time').textContent = '';
  part('outputs').hidden = true;
  part('outputs').open = false;
  part('lines').hidden = true;
}

part('question').addEventListener('submit', (event) => {
  event.preventDefault();
  ask();
});
part('signature').addEventListener('change', () => go(model.name, part('signature').value));
addEventListener('hashchange', () => {
  const [name, signature] = location.hash.slice(1).split('/').map(decodeURIComponent);
  if (name) (model?.name === name && signature ? fillIn(signature) : choose(name, signature));
});
start();
