import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
    globalSetup: ['test/setup.ts'],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Real programs are started by many files: more workers than cores only make each of them slower.
    maxWorkers: 2,
    unstubEnvs: true,
  },
})
