/** Whether the server answered last time; the banner shows it. */

import { signal } from '@preact/signals'

export const connection = signal<'up' | 'lost'>('up')
