// What a Node application is handed in as, and how each is called. By its shape alone: none of these packages is imported.

import { Server as HttpServer } from 'node:http'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { GatewayError } from '../core/index.ts'

/** fastify: its server is called once its plugins are loaded. */
export interface FastifyLike {
  /** Its http.Server. */
  readonly server: object
  /** Its listener. */
  readonly routing: unknown
  /** Resolves when plugins are loaded. */
  ready(): PromiseLike<unknown>
  /** Closes plugins. */
  close(): PromiseLike<unknown>
}
/** koa: `callback()` makes the listener. */
export interface KoaLike {
  /** Makes the listener. */
  callback(): (request: IncomingMessage, response: ServerResponse) => unknown
}
/** Anything that `http.createServer` would serve, or has made: a listener (an express app is one), a koa or fastify app, a server that does not listen. */
export type NodeApplication = RequestListener | FastifyLike | KoaLike | HttpServer

/** One way to call them all. */
export interface NodeTarget {
  request(request: IncomingMessage, response: ServerResponse): unknown
  /** Present where the application takes upgrades. False: nobody listens for them now. */
  readonly upgrade?: (request: IncomingMessage, socket: Duplex, head: Buffer) => boolean
  ready(): Promise<void>
  close(): Promise<void>
}

const nothing = (): Promise<void> => Promise.resolve()

/** Whether this can be handed to `fromNode`. A function is taken for a listener, whatever its parameters. */
export function isNodeApplication(value: unknown): value is NodeApplication {
  return typeof value === 'function' || isKoa(value) || isFastify(value) || isServer(value)
}

/** Throws CONFIG for what is none of them, and for a server that listens already. */
export function nodeTarget(application: NodeApplication): NodeTarget {
  if (isFastify(application)) {
    const of = serverTarget(application.server as HttpServer)
    return { ...of, ready: async () => void (await application.ready()), close: async () => void (await application.close()) }
  }
  if (isServer(application)) return serverTarget(application)
  const listener = isKoa(application) ? application.callback() : application
  if (typeof listener !== 'function') {
    throw config('fromNode takes a listener function, an express, koa or fastify application, or an http.Server that does not listen')
  }
  return { request: listener as (request: IncomingMessage, response: ServerResponse) => unknown, ready: nothing, close: nothing }
}

function serverTarget(server: HttpServer): NodeTarget {
  if (server.listening) throw config('the http.Server listens by itself already: hand it over without calling listen()')
  return {
    request(request, response) {
      if (!server.emit('request', request, response)) throw config('the http.Server has no listener for requests')
    },
    upgrade: (request, socket, head) => server.emit('upgrade', request, socket, head),
    ready: nothing,
    close: nothing,
  }
}

function isFastify(value: unknown): value is FastifyLike {
  return object(value) && 'routing' in value && 'ready' in value && 'server' in value && object(value.server) && isServer(value.server)
}

function isKoa(value: unknown): value is KoaLike {
  return object(value) && 'callback' in value && typeof value.callback === 'function'
}

function isServer(value: unknown): value is HttpServer {
  return object(value) && 'listening' in value && 'emit' in value && typeof value.emit === 'function'
}

function object(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

function config(fact: string): GatewayError {
  return new GatewayError('CONFIG', { status: 500, message: `http: ${fact}` })
}
