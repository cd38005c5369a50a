import { expect, test } from 'vitest'
import type { JobStatus } from '../api/jobs'
import { canRetry, cancellation, deletion, pauseOrResume } from './verbs'

const ALL: JobStatus[] = ['queued', 'running', 'pausing', 'paused', 'cancelling', 'succeeded', 'failed', 'cancelled']

function labels(offer: (status: JobStatus) => { label: string; reason: string } | null): string[] {
  return ALL.map((status) => {
    const offered = offer(status)
    return offered === null ? '' : `${offered.label}${offered.reason && ' (no)'}`
  })
}

test('a job that waits or runs can be paused, a paused one resumed', () => {
  expect(labels(pauseOrResume)).toEqual(['Pause', 'Pause', 'Pausing… (no)', 'Resume', 'Pause (no)', '', '', ''])
})

test('a job can be cancelled until it ends, once', () => {
  const end = ['', '', '']
  expect(labels(cancellation)).toEqual(['Cancel', 'Cancel', 'Cancel', 'Cancel', 'Cancelling… (no)', ...end])
})

test('only what has ended can be deleted, and the reason names the status', () => {
  expect(ALL.filter((status) => deletion(status).reason === '')).toEqual(['succeeded', 'failed', 'cancelled'])
  expect(deletion('running').reason).toBe('A running job cannot be deleted: cancel it first.')
})

test('what ended without success can be tried again', () => {
  expect(ALL.filter(canRetry)).toEqual(['failed', 'cancelled'])
})
