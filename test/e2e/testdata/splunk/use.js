const splunkjs = require("splunk-sdk");
const [host, port] = process.env.SPLUNK.split(":");
(async () => {
  const service = new splunkjs.Service({ scheme: "http", host, port, username: "admin", password: process.env.SPLUNK_PASSWORD });
  const out = { loggedIn: await service.login() };
  out.version = service.version;
  const info = await service.serverInfo();
  out.info = info.properties ? info.properties().version : info;
  const once = await service.oneshotSearch("search user=jdoe | head 2", { earliest_time: "0" });
  out.once = [once.fields, once.rows.length];
  let job = await service.search("search user=jdoe | slow 2", { earliest_time: "0" });
  out.sid = job.sid;
  let asked = 0;
  do {
    job = await job.fetch();
    asked++;
  } while (!job.properties().isDone);
  out.asked = asked;
  out.state = job.properties().dispatchState;
  const [results] = await job.results({ count: 0 });
  out.results = [results.fields.length, results.rows.length];
  const [page] = await job.results({ count: 3, offset: 1, output_mode: "json" });
  out.page = page.results.map((r) => r.dest);
  await job.cancel();
  try {
    await job.fetch();
  } catch (e) {
    out.gone = (Array.isArray(e) ? e[0] : e).status;
  }
  const wrong = new splunkjs.Service({ scheme: "http", host, port, username: "admin", password: "wrong" });
  try {
    await wrong.login();
  } catch (e) {
    out.refused = e.status;
  }
  console.log(JSON.stringify(out));
})().catch((e) => {
  console.error("failed:", e);
  process.exit(1);
});
