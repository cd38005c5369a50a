import type { Offer } from '../lib/verbs'

interface OfferProps {
  offer: Offer<string>
  busy?: boolean
  /** Told the reason when the button can do nothing. */
  refused: (reason: string) => void
  onClick: () => void
}

/** A button that the keyboard reaches also while it can do nothing: then it says why. */
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
