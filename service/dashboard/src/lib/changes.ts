/** What a clone changes of a spec: a few fields of a form, and text for all others. */

import { readYaml, scalar } from './read-yaml'
import type { Json } from './yaml'

type Document = { [key: string]: Json }

export interface Field {
  /** Where it is in the spec; refusals name it the same. */
  path: string
  label: string
  numeric: boolean
}

/** What people change most between two runs. */
export const FIELDS: Field[] = [
  { path: 'name', label: 'Name', numeric: false },
  { path: 'steps', label: 'Steps', numeric: true },
  { path: 'seed', label: 'Seed', numeric: true },
  { path: 'optimizer.learning_rate', label: 'Learning rate', numeric: true },
]

/** The text of each field as a spec has it; what is not there is empty. */
export function typedFrom(spec: unknown): Record<string, string> {
  return Object.fromEntries(FIELDS.map(({ path }) => [path, text(at(spec, path))]))
}

function at(spec: unknown, path: string): unknown {
  return path.split('.').reduce((here, name) => (here as Document | null | undefined)?.[name], spec)
}

function text(value: unknown): string {
  return value === null || value === undefined ? '' : String(value)
}

/** The merge patch of what was typed: only fields that differ from the spec; the text wins. */
export function changesOf(spec: unknown, typed: Record<string, string>, further: string): Document {
  const before = typedFrom(spec)
  const edited = FIELDS.filter(({ path }) => typed[path]!.trim() !== before[path])
  const fields = edited.map((field) => nested(field.path, valueOf(field, typed[field.path]!.trim())))
  return [...fields, ...written(further)].reduce(joined, {})
}

/** An empty field means the default. */
function valueOf(field: Field, typed: string): Json {
  if (typed === '') return null
  return field.numeric ? scalar(typed) : typed
}

/** One document for each name of the first level; `optimizer.warmup_steps: 5` goes as deep as it says. */
function written(further: string): Document[] {
  const document = readYaml(further)
  if (document === null) return []
  if (!isDocument(document)) throw new Error('write a line of `field: value` for each change')
  return Object.entries(document).map(([path, value]) => nested(path, value))
}

function nested(path: string, value: Json): Document {
  const [name = '', ...inner] = path.split('.')
  return { [name]: inner.length ? nested(inner.join('.'), value) : value }
}

function joined(first: Document, second: Document): Document {
  const entries = Object.entries(second).map(([name, value]): [string, Json] => {
    const known = first[name]
    return [name, isDocument(known) && isDocument(value) ? joined(known, value) : value]
  })
  return { ...first, ...Object.fromEntries(entries) }
}

function isDocument(value: Json | undefined): value is Document {
  return value !== null && typeof value === 'object' && !Array.isArray(value)
}
