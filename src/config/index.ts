// The face of `viaduct/config`: a file or a folder becomes a plan, and a plan becomes a server.

export { describeFolder } from './describe.ts'
export type { DescribeOptions, PlanEntry, SitePlan } from './describe.ts'
export { buildServer, buildSite } from './server.ts'
export type { SiteContext } from './server.ts'
export { checkConfig } from './check.ts'
export type { CheckOptions, Checked } from './check.ts'
export { CONFIG_NAMES, ConfigError, defineConfig, findConfig, loadConfig } from './load.ts'
export type { Loaded } from './load.ts'
export type { ApplicationPlan, HostPlan, ListenerPlan, LogPlan, RoutePlan, ServerPlan } from './plan.ts'
export type { Problem } from './problems.ts'
export { jsonSchema, kinds } from './schema.ts'
export type { Config } from './config.ts'
