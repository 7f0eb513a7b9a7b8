// Drives a running service by openapi-fetch and the types that openapi-typescript generates: makes an account, an
// allocation and a delegation, mints, imports a table, and reads a refusal. `check.py` runs it, and sets the variables
// that it reads; node trusts the CA in NODE_EXTRA_CA_CERTS.

import assert from "node:assert/strict";
import { setTimeout } from "node:timers/promises";

import createClient from "openapi-fetch";

import type { components, paths } from "./schema.ts";

type Schemas = components["schemas"];

const ACCOUNT = "typescript";
const FINGERPRINT = "SHA256 " + Array(32).fill("5E").join(":");

function variable(name: string): string {
  const value = process.env[name];
  assert(value, name);
  return value;
}

function client(key: string) {
  return createClient<paths>({ baseUrl: variable("TNA_URL"), headers: { Authorization: `Bearer ${key}` } });
}

/** What a call answers if it succeeds. */
function expect<T>(answer: { data?: T; error?: Schemas["Problem"]; response: Response }): T {
  assert(answer.data !== undefined, `${answer.response.status} ${answer.error?.code}`);
  return answer.data;
}

/** The TNAuthList of one number of 11 digits (RFC 8226 §9), as a `tkvalue`. */
function listOf(tn: string): string {
  return Buffer.from([0x30, 15, 0xa2, 13, 0x16, 11, ...Buffer.from(tn)]).toString("base64url");
}

function request(tn: string): Schemas["TokenRequest"] {
  return { tktype: "TNAuthList", tkvalue: listOf(tn), fingerprint: FINGERPRINT };
}

const admin = client(variable("ADMIN_KEY"));
const path = { id: ACCOUNT };
expect(await admin.PUT("/v1/accounts/{id}", { params: { path }, body: { name: "TypeScript" } }));
const held = { block: "1.646.555.2XXX", spc: "1234", basis: "block" };
const allocation = expect(await admin.POST("/v1/allocations", { body: held }));
assert.deepEqual([allocation.start, allocation.count], ["+16465552000", 1000]);
const delegated = { start: "+16465552000", count: 10 };
const delegation = expect(
  await admin.POST("/v1/accounts/{id}/delegations", { params: { path }, body: delegated }),
);
assert.deepEqual([delegation.account, delegation.count], [ACCOUNT, 10]);

const key = expect(await admin.POST("/v1/api-keys", { body: { role: "account", accounts: [ACCOUNT] } }));
const caller = client(key.key);
const token = expect(
  await caller.POST("/at/account/{id}/token", { params: { path }, body: request("16465552001") }),
);
assert.equal(token.token.split(".").length, 3);
const grant = expect(await admin.GET("/v1/grants/{jti}", { params: { path: { jti: token.jti } } }));
assert.equal(grant.account, ACCOUNT);

// One that is delegated, and one that is not.
const requests = ["16465552002", "16465552999"].map((tn) => ({ account: ACCOUNT, ...request(tn) }));
const [minted, refused] = expect(await caller.POST("/v1/tokens", { body: { requests } })).items;
assert(minted && "token" in minted && minted.jti !== token.jti);
assert(refused && "problem" in refused && refused.problem.code === "not-authorized");

let job = expect(
  await admin.POST("/v1/imports", {
    params: { query: { format: "exclusions" } },
    headers: { "Content-Type": "text/csv" },
    body: "start,reason\n+16465552005,reserved\n",
    bodySerializer: (table) => table,
  }),
);
for (const until = Date.now() + 60_000; ["queued", "running"].includes(job.state) && Date.now() < until; ) {
  await setTimeout(100);
  job = expect(await admin.GET("/v1/jobs/{id}", { params: { path: { id: job.id } } }));
}
assert.deepEqual([job.state, job.progress.lines_read], ["done", 1]);

// The number that the table has excluded.
const answer = await caller.POST("/at/account/{id}/token", { params: { path }, body: request("16465552005") });
assert.equal(answer.response.headers.get("content-type"), "application/problem+json");
assert(answer.error);
assert.deepEqual([answer.error.status, answer.error.code], [403, "not-authorized"]);
console.log("minted, imported, and was refused");
