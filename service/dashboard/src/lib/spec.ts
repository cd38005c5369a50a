/** Reads a job's spec, a document as it was stored: an older or a newer Hone may have written it, so that any field may be
unknown, missing or of another type. */

export type FieldValue = string | number | boolean

/** The value at a path like `optimizer.learning_rate`; null if nothing is there, or a list or fields. */
export function valueAt(spec: unknown, path: string): FieldValue | null {
  const value = path.split('.').reduce(field, spec)
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? value : null
}

function field(document: unknown, name: string): unknown {
  return isFields(document) && Object.hasOwn(document, name) ? document[name] : null
}

function isFields(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
