/** Webhooks and their deliveries. */

import { api, body } from './client'
import type { components } from './schema'

export type Webhook = components['schemas']['WebhookRead']
export type WebhookCreated = components['schemas']['WebhookCreated']
export type WebhookEvent = components['schemas']['WebhookCreate']['events'][number]
export type Delivery = components['schemas']['DeliveryRead']
export type Attempt = components['schemas']['DeliveryAttempt']

export interface DeliveryPage {
  deliveries: Delivery[]
  next: string | null
}

const path = (id: string) => ({ params: { path: { webhook_id: id } } })

/** Newest first; nobody has more than a hundred. */
export async function listWebhooks(signal: AbortSignal): Promise<Webhook[]> {
  return (await body(api.GET('/v1/webhooks', { params: { query: { limit: 100 } }, signal }))).data
}

/** Only this answer has the secret. */
export async function createWebhook(url: string, events: WebhookEvent[]): Promise<WebhookCreated> {
  return body(api.POST('/v1/webhooks', { body: { url, events } }))
}

export async function setEnabled(id: string, enabled: boolean): Promise<void> {
  await api.PATCH('/v1/webhooks/{webhook_id}', { ...path(id), body: { enabled } })
}

export async function deleteWebhook(id: string): Promise<void> {
  await api.DELETE('/v1/webhooks/{webhook_id}', path(id))
}

/** Send a signed test message; its delivery shows the result. */
export async function testWebhook(id: string): Promise<void> {
  await api.POST('/v1/webhooks/{webhook_id}/test', path(id))
}

/** Newest first. */
export async function listDeliveries(id: string, after: string | undefined, signal: AbortSignal): Promise<DeliveryPage> {
  const params = { path: { webhook_id: id }, query: { limit: 50, ...(after && { after }) } }
  const page = await body(api.GET('/v1/webhooks/{webhook_id}/deliveries', { params, signal }))
  return { deliveries: page.data, next: page.has_more ? String(page.last_id) : null }
}

export async function redeliver({ webhook_id, id }: Delivery): Promise<void> {
  const params = { path: { webhook_id, delivery_id: id } }
  await api.POST('/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver', { params })
}
