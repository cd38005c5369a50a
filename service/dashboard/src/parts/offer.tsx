import type { Offer } from '../lib/verbs'

interface OfferProps {
  offer: Offer<string>
  busy?: boolean
  /** Called with the reason when the action is not available. */
  refused: (reason: string) => void
  onClick: () => void
}

/** A button that the keyboard reaches even while its action is not available; then it says why. */
export function OfferButton({ offer, busy = false, refused, onClick }: OfferProps) {
  const { label, reason } = offer
  return (
    <button
      type="button"
      aria-disabled={busy || reason !== ''}
      title={reason || undefined}
      onClick={() => (reason ? refused(reason) : busy || onClick())}
    >
      {label}
    </button>
  )
}
