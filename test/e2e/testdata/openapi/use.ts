// Calls three actions by a client that was generated from the description.
import { client } from './client/client.gen';
import { activedirectoryLookupUser, jiraAddComment, jiraGetIssue, virustotalFileReport } from './client/sdk.gen';

client.setConfig({ baseUrl: process.env.FUNNEL_SERVER!, auth: () => process.env.FUNNEL_TOKEN! });

const file = await virustotalFileReport({ body: { hash: '44d88612fea8a8f36de82e1278abb02f' } });
const user = await activedirectoryLookupUser({ body: { account: 'jdoe' } });
const comment = await jiraAddComment({ body: { issue: 'SIRT-1', body: 'From a generated client.' } });
const wrong = await jiraGetIssue({ body: { issue: 'not a key' } });

console.log(JSON.stringify({
  file: file.data && 'malicious' in file.data ? file.data.malicious : null,
  user: user.data && 'display_name' in user.data ? user.data.display_name : null,
  comment: comment.data && 'issue' in comment.data ? comment.data.issue : null,
  wrong: wrong.response.status,
}));
