// The curl command that sends the same request, with a shell variable in place of the key. Pure.

const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;

export function curl(origin, request, keyed) {
  return [
    `curl ${request.stream ? "-N " : ""}${origin}/v1/chat/completions`,
    "-H 'Content-Type: application/json'",
    ...(keyed ? ['-H "Authorization: Bearer $ROUTER_API_KEY"'] : []),
    `-d ${quote(JSON.stringify(request))}`,
  ].join(" \\\n  ");
}
