// Follows a server-sent event stream with fetch. Unlike EventSource it can resume from a given id, pause while the tab is
// hidden, and tell a lost session from a lost network.

const PAUSES_MS = [250, 500, 1000, 2000, 5000];

// on(event, data, id) for each event; return true from it to end. onState("open" | "retry" | "closed").
// Returns a function that ends it.
export function follow(url, on, { onState = () => {}, pauseWhenHidden = false } = {}) {
  let lastId = null;
  let over = false;
  let failures = 0;
  let abort = new AbortController();
  let timer = 0;
  let running = false;

  const end = () => {
    over = true;
    clearTimeout(timer);
    abort.abort();
    document.removeEventListener("visibilitychange", onVisibility);
  };

  const onVisibility = () => {
    if (document.hidden) {
      clearTimeout(timer);
      abort.abort();
    } else {
      failures = 0;
      connect();
    }
  };

  async function connect() {
    if (over || running) return;
    running = true;
    abort = new AbortController();
    try {
      const headers = { accept: "text/event-stream" };
      if (lastId !== null) headers["last-event-id"] = lastId;
      const answer = await fetch(url, { headers, signal: abort.signal, cache: "no-store" });
      if (answer.status === 401 || answer.redirected) {
        end();
        return location.reload();
      }
      if (answer.status === 204 || (answer.status >= 400 && answer.status < 500 && answer.status !== 429)) return end();
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      onState("open");
      await read(answer.body.pipeThrough(new TextDecoderStream()).getReader());
    } catch {
      // the network, or our own abort: both are answered below
    } finally {
      running = false;
    }
    if (over) return onState("closed");
    if (pauseWhenHidden && document.hidden) return;
    onState("retry");
    const pause = PAUSES_MS[Math.min(failures++, PAUSES_MS.length - 1)];
    timer = setTimeout(connect, pause * (0.75 + Math.random() / 2));
  }

  async function read(reader) {
    let rest = "";
    let event = "message";
    let id = null;
    let data = [];
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (let line of lines) {
        if (line.endsWith("\r")) line = line.slice(0, -1);
        if (line === "") {
          if (id !== null) lastId = id;
          failures = 0;
          if (data.length && on(event, data.join("\n"), lastId)) return end();
          event = "message";
          data = [];
        } else if (line.startsWith("data:")) data.push(line.slice(line[5] === " " ? 6 : 5));
        else if (line.startsWith("event:")) event = line.slice(6).trim();
        else if (line.startsWith("id:")) id = line.slice(3).trim();
      }
      if (over) return;
    }
  }

  if (pauseWhenHidden) document.addEventListener("visibilitychange", onVisibility);
  if (!pauseWhenHidden || !document.hidden) connect();
  return end;
}
