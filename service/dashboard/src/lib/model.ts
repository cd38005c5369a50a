/** The job whose checkpoint a `model` names: `job:ftjob-1@best` -> `ftjob-1`. */
export function parentJob(model: string): string | null {
  return /^job:([^@]+)/.exec(model)?.[1] ?? null
}

/** The same for a narrow column: `job:ftjob-01M81TH6JS37@best` -> `job …H6JS37@best`. */
export function shortModel(model: string): string {
  const parent = parentJob(model)
  return parent === null ? model : `job …${parent.slice(-6)}${model.slice(`job:${parent}`.length)}`
}
