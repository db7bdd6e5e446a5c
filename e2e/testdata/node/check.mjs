// Reads a list of jobs as JSON from the standard input and answers a list of results: what each library says.
import { sign, verify } from "@octokit/webhooks-methods";
import { Webhook as StandardWebhook } from "standardwebhooks";
import Stripe from "stripe";
import { Webhook as SvixWebhook } from "svix";

const trio = (prefix, Webhook) => ({
  verify: (job) => void new Webhook(job.secret).verify(job.body, job.headers),
  sign: (job) => ({
    [`${prefix}-id`]: job.id,
    [`${prefix}-timestamp`]: String(job.time),
    [`${prefix}-signature`]: new Webhook(job.secret).sign(job.id, new Date(job.time * 1000), job.body),
  }),
});

const libraries = {
  standardwebhooks: trio("webhook", StandardWebhook),
  svix: trio("svix", SvixWebhook),
  stripe: {
    verify: (job) => void Stripe.webhooks.constructEvent(job.body, job.headers["stripe-signature"], job.secret),
    sign: (job) => ({
      "stripe-signature": Stripe.webhooks.generateTestHeaderString({ payload: job.body, secret: job.secret, timestamp: job.time }),
    }),
  },
  octokit: {
    verify: async (job) => {
      if (!(await verify(job.secret, job.body, job.headers["x-hub-signature-256"]))) throw new Error("the signature does not match");
    },
    sign: async (job) => ({ "x-hub-signature-256": await sign(job.secret, job.body) }),
  },
};

let input = "";
for await (const chunk of process.stdin.setEncoding("utf8")) input += chunk;
const results = [];
for (const job of JSON.parse(input)) {
  try {
    results.push({ headers: (await libraries[job.library][job.does](job)) ?? {} });
  } catch (e) {
    results.push({ error: String(e?.message ?? e) || "an error without words" });
  }
}
console.log(JSON.stringify(results));
