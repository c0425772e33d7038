// A capture file read from its beginning, as far as it is good, in memory that does not depend on its size.

import { open } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { GatewayError } from '../core/index.ts'
import { Damage, FrameDecoder, Refusal } from './format.ts'
import type { Frame } from './format.ts'
import type { Places } from './exchange.ts'

const READ_SIZE = 262_144

/** How the reading ended. */
export interface CaptureEnd {
  /** Bytes that were read and understood. */
  readonly bytes: number
  /** What is wrong with the rest, where there is one: the last frame is half written, or something is damaged. */
  readonly problem?: string
}

/**
 * Hands `sink` one frame after the other. A file that is cut off, or damaged somewhere, gives what is before that, and says so.
 * After each read, of 256 KiB, it waits for `pace`. Rejects with CONFIG for what cannot be opened, is no capture, or one of another
 * version.
 */
export async function readCapture(path: string, sink: (frame: Frame) => void, pace?: () => void | Promise<void>): Promise<CaptureEnd> {
  const file = await openCapture(path)
  const decoder = new FrameDecoder()
  try {
    for (let at = 0; ;) {
      // Not used again: frames are views of it, and whoever gets them may keep them.
      const buffer = Buffer.allocUnsafe(READ_SIZE)
      const { bytesRead } = await file.read(buffer, 0, READ_SIZE, at)
      if (bytesRead === 0) break
      at += bytesRead
      decoder.push(buffer.subarray(0, bytesRead), sink)
      await pace?.()
    }
  } catch (error) {
    if (error instanceof Damage) return { bytes: decoder.offset, problem: `${path} is damaged: ${error.message}` }
    const fact = error instanceof Refusal ? `${path} ${error.message}` : `${path} cannot be read: ${(error as Error).message}`
    throw new GatewayError('CONFIG', { status: 500, message: `capture: ${fact}` })
  } finally {
    await file.close()
  }
  const { offset, atBoundary } = decoder
  if (atBoundary) return { bytes: offset }
  if (offset === 0)
    throw new GatewayError('CONFIG', { status: 500, message: `capture: ${path} is empty: not even its first bytes are there` })
  return { bytes: offset, problem: `${path} is cut off within a frame, at byte ${offset}` }
}

/** Rejects with CONFIG. */
export async function openCapture(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'r')
  } catch (cause) {
    throw new GatewayError('CONFIG', { status: 500, message: `capture: cannot read ${path}: ${(cause as Error).message}`, cause })
  }
}

/** The bytes that lie at these places, without the first `skip` of them. */
export async function* readPlaces(file: FileHandle, places: Places, skip: number = 0): AsyncGenerator<Buffer, void, undefined> {
  let left = skip
  for (let i = 0; i < places.length; i += 2) {
    const skipped = Math.min(left, places[i + 1]!)
    left -= skipped
    const length = places[i + 1]! - skipped
    if (length === 0) continue
    const buffer = Buffer.allocUnsafe(length)
    const { bytesRead } = await file.read(buffer, 0, length, places[i]! + skipped)
    if (bytesRead < length)
      throw new GatewayError('CONFIG', { status: 500, message: 'capture: the file has become shorter while it was read' })
    yield buffer
  }
}
