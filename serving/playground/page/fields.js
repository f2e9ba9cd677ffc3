// What a person fills in: an element for each field of a form, its value as JSON, and a way to set it.

import { element, Told } from './elements.js';
import { PictureField } from './picture.js';

const LARGEST_SEED = 2 ** 31;

/** The field for one input. `changed` is called where an answer is wanted at once. */
export function fieldOf(field, changed) {
  const kinds = { picture: PictureField, text: TextField, number: NumberField, switch: SwitchField, json: JsonField };
  return new kinds[field.kind](field, changed);
}

/** A field's value as it is sent: wrapped in as many lists as its tensor has dimensions. */
export async function sent(field, widget) {
  const value = await widget.value();
  return field.kind === 'json' ? value : Array.from({ length: field.rank }).reduce((inner) => [inner], value);
}

class Field {
  constructor(field, input, { wide = false, beside = null } = {}) {
    this.field = field;
    this.input = input;
    input.id = `field-${field.name}`;
    this.error = element('span', { class: 'hint', id: `${input.id}-hint` }, field.hint);
    input.setAttribute('aria-describedby', this.error.id);
    this.element = element(
      'div',
      { class: wide ? 'field wide' : 'field' },
      element('label', { for: input.id }, field.name.replaceAll('_', ' ')),
      beside ? element('div', { class: 'with-dice' }, input, beside) : input,
      this.error,
    );
  }

  set(value) {
    this.input.value = value;
  }

  remove() {}

  /** Marks the field as wrong, and ends the question with what is wrong. */
  refuse(words) {
    this.input.setAttribute('aria-invalid', 'true');
    this.input.focus();
    throw new Told(`${this.field.name}: ${words}`);
  }

  accepted(value) {
    this.input.removeAttribute('aria-invalid');
    return value;
  }
}

class TextField extends Field {
  constructor(field, changed) {
    super(field, element('textarea', { rows: 4, spellcheck: 'false' }), { wide: true });
    this.input.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) changed();
    });
  }

  value() {
    return this.input.value;
  }
}

class NumberField extends Field {
  constructor(field, changed) {
    const dice = field.name === 'seed' ? element('button', { type: 'button', title: 'Another seed' }, '⚄') : null;
    const { least, most, step, value } = field;
    super(field, element('input', { type: 'number', step: step ?? 'any', min: least, max: most, value }), { beside: dice });
    dice?.setAttribute('aria-label', 'Another seed');
    dice?.addEventListener('click', () => {
      this.set(Math.floor(Math.random() * LARGEST_SEED));
      changed();
    });
  }

  value() {
    const { value, validity } = this.input;
    const number = Number(value);
    if (value.trim() === '' || Number.isNaN(number)) this.refuse('a number is wanted.');
    if (validity.rangeUnderflow || validity.rangeOverflow) this.refuse(this.input.validationMessage);
    if (this.field.step === 1 && !Number.isInteger(number)) this.refuse('a whole number is wanted.');
    return this.accepted(number);
  }
}

class SwitchField extends Field {
  constructor(field) {
    super(field, element('input', { type: 'checkbox' }));
  }

  value() {
    return this.input.checked;
  }

  set(value) {
    this.input.checked = value;
  }
}

/** Any other tensor, as TensorFlow Serving's REST takes it, the batch's dimension included. */
class JsonField extends Field {
  constructor(field, changed) {
    super(field, element('textarea', { class: 'json', rows: 6, spellcheck: 'false' }), { wide: true });
    this.error.textContent = `${field.spec}, as JSON`;
    if (field.value !== null) this.set(field.value);
    if (field.value !== null && field.spec.startsWith('float')) this.#addNoise(changed);
  }

  #addNoise(changed) {
    const noise = element('button', { type: 'button' }, 'Random numbers');
    noise.addEventListener('click', () => {
      this.set(mapped(this.field.value, normal));
      changed();
    });
    this.element.append(element('div', { class: 'row' }, noise));
  }

  value() {
    try {
      return this.accepted(JSON.parse(this.input.value));
    } catch (error) {
      return this.refuse(`no JSON: ${error.message}`);
    }
  }

  set(value) {
    this.input.value = JSON.stringify(value);
  }
}

function mapped(value, each) {
  return Array.isArray(value) ? value.map((item) => mapped(item, each)) : each();
}

/** A number from the standard normal distribution (Box and Muller 1958), to three digits. */
function normal() {
  const radius = Math.sqrt(-2 * Math.log(1 - Math.random()));
  return Math.round(1000 * radius * Math.cos(2 * Math.PI * Math.random())) / 1000;
}
