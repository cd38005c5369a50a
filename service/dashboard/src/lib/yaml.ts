/** A document as YAML, for reading: what JSON can hold, keys in the order in which they came. */

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json }

/** The text of a value; `indent` is the depth of its lines. */
export function yaml(value: unknown, indent = 0): string {
  return block(value as Json, '  '.repeat(indent)).join('\n')
}

function block(value: Json, pad: string): string[] {
  if (Array.isArray(value)) return value.flatMap((item) => dashed(item, pad))
  if (value === null || typeof value !== 'object') return [pad + scalar(value)]
  return Object.entries(value).flatMap(([key, item]) => {
    const name = `${pad}${scalar(key)}:`
    return isFlat(item) ? [`${name} ${flat(item)}`] : [name, ...block(item, `${pad}  `)]
  })
}

function dashed(item: Json, pad: string): string[] {
  if (isFlat(item)) return [`${pad}- ${flat(item)}`]
  const [first = '', ...rest] = block(item, `${pad}  `)
  return [`${pad}- ${first.trimStart()}`, ...rest]
}

/** Scalars, what is empty, and lists of scalars fit on one line. */
function isFlat(value: Json): boolean {
  if (value === null || typeof value !== 'object') return true
  if (Array.isArray(value)) return value.every((item) => item === null || typeof item !== 'object')
  return Object.keys(value).length === 0
}

function flat(value: Json): string {
  if (Array.isArray(value)) return `[${value.map((item) => scalar(item as string)).join(', ')}]`
  return value !== null && typeof value === 'object' ? '{}' : scalar(value)
}

const PLAIN = /^[A-Za-z_./][\w ./@-]*(?<! )$/
const RESERVED = /^(true|false|null|yes|no|on|off|y|n|~|\.inf|\.nan|\.\d.*)$/i

/** What JSON leaves as it is, and PyYAML refuses or takes for the end of a line. */
const ESCAPED = /[\x7F-\x9F\u2028\u2029\uFFFE\uFFFF]/g

function scalar(value: null | boolean | number | string): string {
  if (typeof value === 'number') return String(value).replace(/^(-?\d+)e/, '$1.0e') // `1e-7` would be text
  if (typeof value !== 'string') return String(value)
  return PLAIN.test(value) && !RESERVED.test(value) ? value : JSON.stringify(value).replace(ESCAPED, escaped)
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}
