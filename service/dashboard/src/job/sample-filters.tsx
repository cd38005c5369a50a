import { useEffect, useState } from 'preact/hooks'
import { replace, withParams } from '../address'

/** Narrow the responses; the choice goes into the address. */
export function SampleFilters({ params }: { params: Record<string, string> }) {
  const set = (name: string, value: string) => replace(withParams({ [name]: value, after: '' }))
  return (
    <form class="controls" aria-label="Filters" onSubmit={(event) => event.preventDefault()}>
      <label>
        Split
        <select value={params.split ?? ''} onChange={(event) => set('split', event.currentTarget.value)}>
          <option value="">all</option>
          <option value="train">train</option>
          <option value="eval">eval</option>
        </select>
      </label>
      <NumberField label="Step" value={params.step} set={(value) => set('step', value)} />
      <NumberField label="Min reward" value={params.min_reward} set={(value) => set('min_reward', value)} />
      <NumberField label="Max reward" value={params.max_reward} set={(value) => set('max_reward', value)} />
    </form>
  )
}

interface FieldProps {
  label: string
  value: string | undefined
  set: (value: string) => void
}

/** Holds what the user types, because the page is rendered again with each event of a running job. */
function NumberField({ label, value, set }: FieldProps) {
  const [typed, setTyped] = useState(value ?? '')
  useEffect(() => setTyped(value ?? ''), [value])
  return (
    <label>
      {label}
      <input
        type="number"
        step="any"
        value={typed}
        onInput={(event) => setTyped(event.currentTarget.value)}
        onChange={(event) => set(event.currentTarget.value)}
      />
    </label>
  )
}
