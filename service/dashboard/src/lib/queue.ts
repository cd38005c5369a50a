import type { Queue } from '../api/queue'

/** Jobs and free capacity: "1 running, 3 queued, 1 paused · 0 of 2 slots free · 1 of 4 GPUs free". */
export function usage({ running, queued, paused, slots, gpus }: Omit<Queue, 'data' | 'has_more' | 'object'>): string {
  const jobs = [`${running} running`, `${queued} queued`]
  if (paused > 0) jobs.push(`${paused} paused`)
  const capacity = [`${slots.free} of ${slots.all} slots free`]
  if (gpus.all > 0) capacity.push(`${gpus.free} of ${gpus.all} GPUs free`)
  return [jobs.join(', '), ...capacity].join(' · ')
}

/** A sentence split around the ids of jobs, which become links. */
export function splitAtJobIds(sentence: string): string[] {
  return sentence.split(/(ftjob-\w+)/).filter(Boolean)
}

export function isJobId(word: string): boolean {
  return word.startsWith('ftjob-')
}
