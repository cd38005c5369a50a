import { expect, test } from 'vitest'
import type { JobEvent } from '../api/events'
import { facts, latestModels, summary, type Loaded, type LoadedModel } from './loaded'

const MODEL: LoadedModel = {
  architecture: 'LlamaForCausalLM',
  parameters: 342240,
  dtype: 'bfloat16',
  tokens: 103,
  embedding_rows: 128,
  special_tokens: { eos_token: '<eos>' },
  stops: [
    { id: 1, text: '<eos>' },
    { id: 9, text: null },
  ],
  chat_template: false,
  context: null,
  notes: ['something to know'],
}

function reported(seq: number, report: Loaded): JobEvent {
  const created_at = '2026-01-01T00:00:10Z'
  return { object: 'event', seq, kind: 'loaded', data: { ...report }, attempt: 1, step: 0, created_at }
}

test('a new attempt replaces what was said about a role', () => {
  const [old, fresh, other] = ['a', 'b', 'c'].map((name) => ({ role: name === 'c' ? 'critic' : 'policy', name, model: MODEL }))
  expect(latestModels([reported(1, old!), reported(2, other!), reported(3, fresh!)])).toEqual([fresh, other])
})

test('a model is one line, and its facts are pairs', () => {
  const report = { role: 'policy', name: 'tiny', model: MODEL }
  expect(summary(report)).toBe('policy tiny: LlamaForCausalLM, 342,240 parameters, bfloat16')
  const named = new Map(facts(report))
  expect(named.get('vocabulary')).toBe('103 tokens, 128 rows in the embedding')
  expect(named.get('a response ends with')).toBe('<eos> (1), unknown (9)')
  expect(named.get('context')).toBe('no limit')
  expect(named.get('note')).toBe('something to know')
})
