import type { Queue } from '../api/queue'

/** How full the service is: "1 runs, 3 wait, 1 paused · 0 of 2 slots free · 1 of 4 GPUs free". */
export function fullness({ running, queued, paused, slots, gpus }: Omit<Queue, 'data' | 'has_more' | 'object'>): string {
  const jobs = [`${running} ${running === 1 ? 'runs' : 'run'}`, `${queued} ${queued === 1 ? 'waits' : 'wait'}`]
  if (paused > 0) jobs.push(`${paused} paused`)
  const room = [`${slots.free} of ${slots.all} slots free`]
  if (gpus.all > 0) room.push(`${gpus.free} of ${gpus.all} GPUs free`)
  return [jobs.join(', '), ...room].join(' · ')
}

/** A sentence cut around the ids of jobs, which become links. */
export function words(sentence: string): string[] {
  return sentence.split(/(ftjob-\w+)/).filter(Boolean)
}

export function isJob(word: string): boolean {
  return word.startsWith('ftjob-')
}
