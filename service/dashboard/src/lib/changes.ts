/** The changes of a clone: form fields for some fields of the spec, and text for all others. */

import { valueAt } from './spec'
import type { Json } from './yaml'

type Document = { [key: string]: Json }

export interface Field {
  /** Its path in the spec, which refusals name too. */
  path: string
  label: string
  numeric: boolean
}

/** The fields that people change most often between two runs. */
export const FIELDS: Field[] = [
  { path: 'name', label: 'Name', numeric: false },
  { path: 'steps', label: 'Steps', numeric: true },
  { path: 'seed', label: 'Seed', numeric: true },
  { path: 'optimizer.learning_rate', label: 'Learning rate', numeric: true },
]

/** The text of each field as a spec has it; what is not there is empty. */
export function typedFrom(spec: unknown): Record<string, string> {
  return Object.fromEntries(FIELDS.map(({ path }) => [path, String(valueAt(spec, path) ?? '')]))
}

/** The merge patch of the form: only fields that differ from the spec; the text overrides the fields. */
export async function changesOf(spec: unknown, typed: Record<string, string>, further: string): Promise<Document> {
  const before = typedFrom(spec)
  const edited = FIELDS.filter(({ path }) => typed[path]!.trim() !== before[path])
  const fields = edited.map((field) => nested(field.path, valueOf(field, typed[field.path]!.trim())))
  return [...fields, ...(await parsed(further))].reduce(joined, {})
}

/** An empty field means the default; what is not a number is for the API to refuse. */
function valueOf(field: Field, typed: string): Json {
  if (typed === '') return null
  return field.numeric && NUMBER.test(typed) && isExact(Number(typed)) ? Number(typed) : typed
}

/** A whole number beyond 2^53 would lose digits here: as text the API reads all of them. */
function isExact(value: number): boolean {
  return Number.isSafeInteger(value) || !Number.isInteger(value)
}

const NUMBER = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i

/** One document for each name of the first level; `optimizer.warmup_steps: 5` goes as deep as it says. */
async function parsed(further: string): Promise<Document[]> {
  if (further.trim() === '') return []
  const { readYaml } = await import('./read-yaml') // larger than all else, and rarely needed
  const document = readYaml(further)
  if (document === null) return []
  if (!isDocument(document)) throw new Error('write one `field: value` per line')
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
