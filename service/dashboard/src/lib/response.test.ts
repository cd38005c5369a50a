import { expect, test } from 'vitest'
import { parts } from './response'

test('thought and answer are set apart', () => {
  expect(parts('<think>1+1\n</think>\n<answer>2</answer>')).toEqual([
    { kind: 'think', text: '1+1' },
    { kind: 'answer', text: '2' },
  ])
})

test('a thought that was cut off reaches to the end', () => {
  expect(parts('so <think>1+')).toEqual([
    { kind: 'text', text: 'so ' },
    { kind: 'think', text: '1+' },
  ])
})

test('a thought that began in the prompt begins with the response', () => {
  expect(parts('1+1</think><answer>2</answer>')).toEqual([
    { kind: 'think', text: '1+1' },
    { kind: 'answer', text: '2' },
  ])
})

test('other tags are text', () => {
  expect(parts('<img src=x onerror=alert(1)>')).toEqual([{ kind: 'text', text: '<img src=x onerror=alert(1)>' }])
})

test('an empty response has no parts', () => {
  expect(parts('\n')).toEqual([])
})
