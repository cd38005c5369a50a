import type { ComponentChildren } from 'preact'
import { useId, useLayoutEffect, useRef } from 'preact/hooks'

interface DialogProps {
  title: string
  /** Called when the dialog was closed, also by Escape. */
  close: () => void
  children: ComponentChildren
}

/** A question in front of everything else, as long as it is rendered; the focus then goes back to where it was. */
export function Dialog({ title, close, children }: DialogProps) {
  const heading = useId()
  const dialog = useRef<HTMLDialogElement>(null)
  useLayoutEffect(() => {
    const shown = dialog.current!
    shown.showModal()
    return () => shown.close()
  }, [])
  return (
    <dialog ref={dialog} aria-labelledby={heading} onClose={close}>
      <h2 id={heading}>{title}</h2>
      {children}
    </dialog>
  )
}
