import { go, withParams } from '../address'
import type { AlgorithmType, JobStatus } from '../api/jobs'

const STATUSES: JobStatus[] = [
  'queued',
  'running',
  'pausing',
  'paused',
  'cancelling',
  'succeeded',
  'failed',
  'cancelled',
]
const ALGORITHMS: Record<AlgorithmType, string> = {
  sft: 'SFT',
  reward_model: 'Reward model',
  reinforce: 'REINFORCE',
  importance_sampling: 'Importance sampling',
  ppo: 'PPO',
  grpo: 'GRPO',
  mirror_descent: 'Mirror descent',
}

/** Narrow the list; the choice goes into the address. */
export function Filters({ status, algorithm }: { status: string; algorithm: string }) {
  return (
    <form class="filters" aria-label="Filters" onSubmit={(event) => event.preventDefault()}>
      <Choice name="status" label="Status" chosen={status} options={STATUSES.map((value) => [value, value])} />
      <Choice name="algorithm" label="Algorithm" chosen={algorithm} options={Object.entries(ALGORITHMS)} />
    </form>
  )
}

interface ChoiceProps {
  name: string
  label: string
  chosen: string
  options: [string, string][]
}

function Choice({ name, label, chosen, options }: ChoiceProps) {
  return (
    <label>
      {label}
      <select value={chosen} onChange={(event) => go(withParams({ [name]: event.currentTarget.value, after: '' }))}>
        <option value="">all</option>
        {options.map(([value, word]) => (
          <option key={value} value={value}>
            {word}
          </option>
        ))}
      </select>
    </label>
  )
}
