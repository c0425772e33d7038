// How many workers a pool is told to have, in which words, and for how many requests each.

import { GatewayError } from '../core/index.ts'
import { dynamicPolicy, ondemandPolicy, staticPolicy } from './policy.ts'
import type { DynamicLimits, OndemandLimits, Policy } from './policy.ts'

/** How many processes there are. */
export type Workers =
  /** So many, always. */
  | number
  /** Some to spare, between `minSpare` and `maxSpare`, at most `max`. */
  | ({ readonly type: 'dynamic' } & DynamicLimits)
  /** None without requests, at most `max`. */
  | ({ readonly type: 'ondemand' } & OndemandLimits)

/** The policy for these workers; `subject` begins the message. Throws CONFIG for numbers that contradict each other. */
export function policyOf(workers: Workers, subject: string): Policy<unknown> {
  const max = typeof workers === 'number' ? workers : workers.max
  if (!Number.isSafeInteger(max) || max < 1) {
    throw new GatewayError('CONFIG', { status: 500, message: `${subject}: workers: expected a whole number from 1, got ${max}` })
  }
  if (typeof workers === 'number') return staticPolicy({ workers }) as Policy<unknown>
  if (workers.type === 'ondemand') return ondemandPolicy(workers) as Policy<unknown>
  const { minSpare, maxSpare } = workers
  if (!(minSpare >= 1 && minSpare <= maxSpare && maxSpare <= max)) {
    throw new GatewayError('CONFIG', {
      status: 500,
      message: `${subject}: workers: expected 1 <= minSpare <= maxSpare <= max, got ${minSpare}, ${maxSpare} and ${max}`,
    })
  }
  return dynamicPolicy(workers) as Policy<unknown>
}

/**
 * The number of requests after which one worker is replaced: `maxRequests`, or up to a tenth fewer, so that those that began together
 * do not go together. Infinity for 0, which is never.
 */
export function lifespan(maxRequests: number | undefined, random: () => number = Math.random): number {
  if (maxRequests === undefined || maxRequests <= 0) return Infinity
  return maxRequests - Math.floor((random() * maxRequests) / 10)
}
