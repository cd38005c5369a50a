/** The models that a job has loaded, each reported once before the first step. */

import type { JobEvent } from '../api/events'

export interface LoadedModel {
  architecture: string
  parameters: number
  /** In which its files hold most of the weights. */
  dtype: string
  tokens: number
  embedding_rows: number
  special_tokens: Record<string, string>
  /** The tokens that end a response. */
  stops: { id: number; text: string | null }[]
  chat_template: boolean
  context: number | null
  /** What the library warned of while it read the files. */
  notes: string[]
}

export interface Loaded {
  role: string
  name: string
  model: LoadedModel
}

/** The last report on each role: an attempt that starts at step 0 reports again. */
export function latestModels(events: readonly JobEvent[]): Loaded[] {
  const reports = events.filter((event) => event.kind === 'loaded').map((event) => event.data as unknown as Loaded)
  return [...new Map(reports.map((report) => [report.role, report])).values()]
}

/** One line about a model. */
export function summary({ role, name, model }: Loaded): string {
  return `${role} ${name}: ${model.architecture}, ${count(model.parameters)} parameters, ${model.dtype}`
}

/** Name and value of each fact. */
export function facts({ model }: Loaded): [string, string][] {
  const special = Object.entries(model.special_tokens).map(([name, token]) => `${name.replace('_token', '')} ${token}`)
  return [
    ['architecture', model.architecture],
    ['parameters', count(model.parameters)],
    ['dtype of the files', model.dtype],
    ['weights', 'all found, none unknown or of another shape'],
    ['vocabulary', `${count(model.tokens)} tokens, ${count(model.embedding_rows)} rows in the embedding`],
    ['special tokens', special.join(', ') || 'none'],
    ['a response ends with', model.stops.map(({ id, text }) => `${text ?? 'unknown'} (${id})`).join(', ')],
    ['chat template', model.chat_template ? 'yes' : 'none'],
    ['context', model.context === null ? 'no limit' : `${count(model.context)} tokens`],
    ...model.notes.map((note): [string, string] => ['note', note]),
  ]
}

function count(value: number): string {
  return value.toLocaleString('en')
}
