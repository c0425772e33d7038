import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
    globalSetup: ['test/setup.ts'],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Real programs are started by many files: more workers than cores only make each of them slower.
    maxWorkers: 2,
    // As fronts are started: Node 20 has to be told to have it.
    execArgv: 'transfer' in ArrayBuffer.prototype ? [] : ['--harmony-rab-gsab-transfer'],
    unstubEnvs: true,
  },
})
