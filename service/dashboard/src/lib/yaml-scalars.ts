/** What a word of YAML stands for: PyYAML's rules (YAML 1.1 as `yaml/resolver.py` has it), so `1e5` is text and `on` is true. */

export type Plain = null | boolean | number | string

/** A word that has a meaning in YAML, but none in the JSON that the API takes. */
export class Unusable extends Error {}

const NULL = /^(?:~|null|Null|NULL|)$/
const TRUE = /^(?:yes|Yes|YES|true|True|TRUE|on|On|ON)$/
const FALSE = /^(?:no|No|NO|false|False|FALSE|off|Off|OFF)$/
const INT = /^(?:[-+]?0b[01_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+|[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+)$/
const FLOAT =
  /^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*)$/
const NOT_FINITE = /^(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$/
const TIMESTAMP =
  /^\d{4}-(?:\d\d-\d\d|\d\d?-\d\d?(?:[Tt]|[ \t]+)\d\d?:\d\d:\d\d(?:\.\d*)?(?:[ \t]*(?:Z|[-+]\d\d?(?::\d\d)?))?)$/
/** `<<` and `=` mean something as keys alone. */
const KEY_ONLY = /^(?:<<|=)$/
/** What Python's `float` reads, and so `!!float`. */
const ANY_NUMBER = /^[-+]?(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][-+]?\d+)?$/

/** The value of a word without quotes and without a tag. */
export function plain(text: string): Plain {
  if (NULL.test(text)) return null
  if (TRUE.test(text)) return true
  if (FALSE.test(text)) return false
  if (FLOAT.test(text)) return float(text)
  if (INT.test(text)) return int(text)
  if (NOT_FINITE.test(text)) throw new Unusable(`JSON has no number ${text}`)
  if (TIMESTAMP.test(text)) throw new Unusable(`${text} is a date in YAML: put it in quotes`)
  if (KEY_ONLY.test(text)) throw new Unusable(`'${text}' has a meaning of its own in YAML: put it in quotes`)
  return text
}

/** The value of a scalar that carries a tag, e.g. `!!str 5`. */
export function tagged(tag: string, text: string): Plain {
  const name = /^tag:yaml\.org,2002:(\w+)$/.exec(tag)?.[1]
  if (name === 'str') return text
  if (name === 'null') return null
  if (name === 'bool' && (TRUE.test(text) || FALSE.test(text))) return TRUE.test(text)
  if (name === 'int' && INT.test(text)) return int(text)
  if (name === 'float' && (FLOAT.test(text) || ANY_NUMBER.test(text))) return float(text)
  throw new Unusable(`${text.slice(0, 20)} cannot be read as ${name ?? tag}`)
}

function int(text: string): number {
  const [, sign = '', digits = ''] = /^([-+]?)(.*)$/.exec(text.replaceAll('_', ''))!
  const size = whole(digits)
  if (Number.isNaN(size)) throw new Unusable(`${text} has no digits`)
  if (!Number.isSafeInteger(size)) throw new Unusable(`${text} is too large for a browser to send exactly`)
  return sign === '-' && size ? -size : size
}

function whole(digits: string): number {
  if (digits.includes(':')) return sexagesimal(digits)
  if (digits.startsWith('0b')) return parseInt(digits.slice(2), 2)
  if (digits.startsWith('0x')) return parseInt(digits.slice(2), 16)
  return digits.startsWith('0') ? parseInt(digits, 8) : Number(digits)
}

function float(text: string): number {
  const [, sign = '', digits = ''] = /^([-+]?)(.*)$/.exec(text.replaceAll('_', ''))!
  const size = digits.includes(':') ? sexagesimal(digits) : Number(digits)
  if (!Number.isFinite(size)) throw new Unusable(`JSON has no number as large as ${text}`)
  return sign === '-' ? -size : size
}

/** `1:30` is 90: YAML 1.1 counts minutes and seconds. */
function sexagesimal(digits: string): number {
  return digits.split(':').reduce((sum, part) => sum * 60 + Number(part), 0)
}
