// How answers are drawn, a function for each kind of view. `asked` is what was asked: its picture and its text.

import { bytesOf, colour, css, element, figure, percent, pictureOf, shape } from './elements.js';

const SMALL = 96; // pixels up to which a picture is shown as squares

export async function viewOf(view, asked) {
  const kinds = { classes, value, boxes, mask, pictures, tags, filled, written, next, heat };
  return kinds[view.kind](view, asked);
}

function classes({ items, classes: count }) {
  const best = items.find((item) => item.best);
  return element(
    'div',
    {},
    best && element('p', { class: 'best' }, element('strong', {}, best.label), element('span', { class: 'number' }, percent(best.value))),
    bars(items),
    count > items.length ? element('p', { class: 'quiet' }, `The ${items.length} most probable of ${figure(count)} classes.`) : null,
  );
}

function value(view) {
  return element('p', { class: 'best' }, element('strong', { class: 'value' }, figure(view.value)));
}

async function boxes({ items }, asked) {
  const picture = await shown(asked.picture);
  const sure = Math.min(0.3, Math.floor(10 * Math.max(0, ...items.map((item) => item.score))) / 20);
  const overlay = shape('svg', { viewBox: `0 0 ${picture.naturalWidth} ${picture.naturalHeight}`, 'aria-hidden': 'true' });
  const list = element('ul', { class: 'legend' });
  const count = element('figcaption');
  const draw = (least) => {
    const found = items.filter((item) => item.score >= least);
    overlay.replaceChildren(...found.map((item) => boxed(item, picture)));
    list.replaceChildren(...found.map(({ label, score }) => entry(css(colour(hash(label))), label, score.toFixed(2))));
    count.textContent = `${found.length} of ${items.length} found, with a score of at least ${least.toFixed(2)}.`;
  };
  draw(sure);
  return element(
    'figure',
    {},
    element('div', { class: 'stage' }, picture, overlay),
    range('least score', sure, draw),
    count,
    list,
  );
}

function boxed({ box: [top, left, bottom, right], label, score }, picture) {
  const side = Math.max(picture.naturalWidth, picture.naturalHeight);
  const size = side / 22;
  const stroke = css(colour(hash(label)));
  const words = `${label} ${score.toFixed(2)}`;
  const width = size * 0.56 * words.length + size * 0.5;
  const above = top - size * 1.3 >= 0 ? top - size * 1.3 : Math.max(0, top);
  const x = Math.max(0, Math.min(left, picture.naturalWidth - width));
  return shape(
    'g',
    {},
    shape('rect', { x: left, y: top, width: Math.max(0, right - left), height: Math.max(0, bottom - top), fill: 'none', stroke, 'stroke-width': side / 160 }),
    shape('rect', { x, y: above, width, height: size * 1.3, rx: size / 5, fill: stroke }),
    shape('text', { x: x + size * 0.25, y: above + size, 'font-size': size, 'font-weight': 600, fill: '#fff', 'font-family': 'system-ui, sans-serif' }, words),
  );
}

async function mask({ png, classes: found }, asked) {
  const picture = await shown(asked.picture);
  const canvas = await painted(png, (id) => (found.some((each) => each.id === id && isBackground(each)) ? null : colour(id)));
  const fade = (opacity) => (canvas.style.opacity = opacity);
  fade(0.6);
  return element(
    'figure',
    {},
    element('div', { class: 'stage' }, picture, canvas),
    range('mask', 0.6, fade),
    element(
      'ul',
      { class: 'legend' },
      found.map((each) => entry(isBackground(each) ? 'transparent' : css(colour(each.id)), each.label, percent(each.share))),
    ),
  );
}

const isBackground = ({ id, label }) => label === 'background' || (id === 0 && ['0', 'class 0'].includes(label));

/** A mask's PNG, whose grey is a class's id, as a canvas in the colours of the classes. */
async function painted(png, colourOf) {
  const ids = await pictureOf(new Blob([bytesOf(png)]));
  const canvas = element('canvas', { width: ids.naturalWidth, height: ids.naturalHeight, 'aria-hidden': 'true' });
  const context = canvas.getContext('2d');
  context.drawImage(ids, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
  for (let at = 0; at < pixels.data.length; at += 4) {
    const rgb = colourOf(pixels.data[at]);
    pixels.data.set(rgb ? [...rgb, 255] : [0, 0, 0, 0], at);
  }
  context.putImageData(pixels, 0, 0);
  canvas.classList.toggle('small-pixels', Math.max(canvas.width, canvas.height) <= SMALL);
  return canvas;
}

async function pictures({ pngs }, asked) {
  const found = await Promise.all(pngs.map((png) => shown(new Blob([bytesOf(png)]), 'A picture that the model made')));
  if (asked.picture && found.length === 1) {
    const before = await shown(asked.picture);
    return element(
      'div',
      { class: 'gallery pair' },
      [['asked', before], ['answered', found[0]]].map(([words, picture]) => element('figure', {}, picture, element('figcaption', {}, words))),
    );
  }
  return element('div', { class: found.length === 1 ? 'gallery one' : 'gallery' }, found);
}

function tags({ items }) {
  const kinds = [...new Set(items.map((item) => item.tag))].filter((tag) => tag !== 'O').sort();
  const words = items.map(({ word, tag, probability }) => {
    const node = element('span', { class: 'tag', title: typeof probability === 'number' ? percent(probability) : null }, word, element('small', {}, tag));
    if (tag !== 'O') {
      const [red, green, blue] = colour(kinds.indexOf(tag));
      node.style.borderBottomColor = css([red, green, blue]);
      node.style.backgroundColor = `rgba(${red}, ${green}, ${blue}, 0.16)`;
    }
    return node;
  });
  return element('p', { class: 'tags' }, words);
}

function filled({ text, masks }) {
  return element(
    'div',
    {},
    element('p', { class: 'prose' }, text),
    masks.map((items, place) => [element('h4', {}, masks.length > 1 ? `At mask ${place + 1}` : 'At the mask'), bars(items)]),
  );
}

function written({ text }, asked) {
  const given = asked.continues && asked.text ? element('span', { class: 'given' }, asked.text) : null;
  return element('p', { class: 'prose' }, given, text);
}

function next({ items, perplexity }) {
  return element(
    'div',
    {},
    perplexity !== null ? element('p', { class: 'best' }, element('strong', {}, figure(perplexity)), element('span', { class: 'quiet' }, 'perplexity of the text')) : null,
    element('h4', {}, 'What may come next'),
    bars(items.map((item) => ({ ...item, label: JSON.stringify(item.label) }))),
  );
}

async function heat({ rows }, asked) {
  const picture = await shown(asked.picture);
  const canvas = element('canvas', { width: rows[0].length, height: rows.length, 'aria-hidden': 'true' });
  const context = canvas.getContext('2d');
  const pixels = context.createImageData(canvas.width, canvas.height);
  rows.flat().forEach((warmth, at) => pixels.data.set([255, Math.round(210 * (1 - warmth)), 40, Math.round(230 * warmth)], 4 * at));
  context.putImageData(pixels, 0, 0);
  const fade = (opacity) => (canvas.style.opacity = opacity);
  fade(0.7);
  return element(
    'figure',
    {},
    element('div', { class: 'stage' }, picture, canvas),
    range('heat map', 0.7, fade),
    element('figcaption', {}, 'Where the picture speaks most for the class answered.'),
  );
}

function bars(items) {
  return element('ul', { class: 'bars' }, items.map(bar));
}

function bar({ label, value: share, best }) {
  const fill = element('span', { class: 'fill' });
  fill.style.width = `${100 * Math.max(0, Math.min(1, Number(share) || 0))}%`;
  return element(
    'li',
    {},
    element('span', { class: best ? 'name best-one' : 'name' }, label),
    element('span', { class: 'track', 'aria-hidden': 'true' }, fill),
    element('span', { class: 'number' }, percent(share)),
  );
}

function entry(background, words, number) {
  const swatch = element('span', { class: 'swatch', 'aria-hidden': 'true' });
  swatch.style.background = background;
  return element('li', {}, swatch, element('span', {}, words), element('span', { class: 'number' }, number));
}

function range(words, start, moved) {
  const input = element('input', { type: 'range', min: 0, max: 1, step: 0.05, value: start });
  input.addEventListener('input', () => moved(Number(input.value)));
  return element('label', { class: 'inline' }, words, input);
}

/** A picture, its pixels as squares where they are few; an empty one where the browser cannot show it. */
async function shown(blob, words = 'The picture that was asked about') {
  const picture = await pictureOf(blob).catch(() => new Image());
  picture.alt = words;
  picture.classList.toggle('small-pixels', Math.max(picture.naturalWidth, picture.naturalHeight) <= SMALL);
  return picture;
}

/** A number for a name, the same every time. */
function hash(name) {
  return [...name].reduce((sum, character) => (sum * 31 + character.codePointAt(0)) % 9973, 7);
}
