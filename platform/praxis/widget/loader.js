// <script src="https://…/widget/wgt_….js" async></script>: a button that opens the chat in a frame.
// data-label, data-language and data-side="left" on the script change it. Until the button is
// pressed nothing else is loaded. The server appends the call with the widget's look.
((look) => {
  const script = document.currentScript;
  if (document.querySelector("[data-praxis-widget]")) return; // the line stands twice in the page
  const address = new URL(script.src);
  const language = look.language || script.dataset.language || document.documentElement.lang || navigator.language;
  const words = language.toLowerCase().startsWith("zh") ? ["聊天", "有新消息"] : ["Chat", "new message"];
  const label = script.dataset.label || words[0];
  const side = script.dataset.side === "left" ? "left" : "right";
  const place = address.href.replace(/\.js.*$/, "/") + "?lang=" + encodeURIComponent(language);
  const full = matchMedia("(max-width: 30rem)");
  const memory = `praxis-open-${address.pathname}`;

  const host = document.createElement("div");
  host.dataset.praxisWidget = "";
  const root = host.attachShadow({ mode: "open" });
  const sheet = new CSSStyleSheet(); // allowed by every style-src
  sheet.replaceSync(`
    :host { all: initial; }
    button { position: fixed; inset-block-end: 1rem; ${side}: 1rem; z-index: 2147483000; min-block-size: 3rem; padding: 0 1.25rem;
      border: 2px solid ${look.ink}; border-radius: 99px; background: ${look.colour}; color: ${look.ink}; font: 600 1rem system-ui, sans-serif;
      cursor: pointer; box-shadow: 0 2px 10px rgb(0 0 0 / .25); }
    button:focus-visible { outline: 3px solid ${look.colour}; outline-offset: 3px; }
    button[data-news]::after { content: ""; position: absolute; inset-block-start: -.2rem; inset-inline-end: .2rem; inline-size: .9rem;
      block-size: .9rem; border: 2px solid #fff; border-radius: 50%; background: #c02621; }
    iframe { position: fixed; inset-block-end: 5rem; ${side}: 1rem; z-index: 2147483000; inline-size: 24rem; block-size: min(38rem, calc(100dvh - 6rem));
      border: 0; border-radius: 12px; box-shadow: 0 6px 30px rgb(0 0 0 / .3); color-scheme: normal; }
    [hidden] { display: none; }
    @media (max-width: 30rem) { iframe { inset: 0; inline-size: 100%; block-size: 100dvh; border-radius: 0; } }
  `);
  root.adoptedStyleSheets = [sheet];
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = label;
  button.setAttribute("aria-expanded", "false");
  root.append(button);
  let frame;

  // Who the visitor is, where the browser keeps storage from frames of other sites.
  const kept = () => {
    try { return localStorage.getItem(memory) ?? ""; } catch { return ""; }
  };
  const keep = (token) => {
    try { localStorage.setItem(memory, token); } catch { /* the chat lasts as long as the page */ }
  };
  let ready = false; // the chat has begun to listen
  const tell = (focus) => {
    if (ready) frame.contentWindow.postMessage({ praxis: frame.hidden ? "hidden" : "shown", focus, token: kept() }, address.origin);
  };
  const news = (some) => {
    button.toggleAttribute("data-news", some);
    button.setAttribute("aria-label", some ? `${label}: ${words[1]}` : label);
  };
  const remember = (open) => {
    try { open ? sessionStorage.setItem(memory, "1") : sessionStorage.removeItem(memory); } catch { /* storage may be off */ }
  };
  // Where the chat fills the screen, what is behind it can be neither seen nor reached.
  const cover = () => {
    const covers = Boolean(frame) && !frame.hidden && full.matches;
    document.body.inert = covers;
    button.hidden = covers;
  };
  const show = (open, focus = true) => {
    if (!frame) {
      frame = document.createElement("iframe");
      frame.title = label;
      frame.referrerPolicy = "strict-origin";
      // It can't lead the site's page elsewhere. On Praxis's own page the browser calls that void.
      if (address.origin !== location.origin) {
        frame.setAttribute("sandbox", "allow-scripts allow-same-origin allow-forms allow-popups allow-popups-to-escape-sandbox");
      }
      frame.src = place;
      frame.dataset.focus = focus ? "1" : "";
      root.append(frame);
    }
    frame.hidden = !open;
    button.setAttribute("aria-expanded", String(open));
    remember(open);
    cover();
    tell(focus);
    if (open) news(false);
    if (focus) (open ? frame : button).focus();
  };
  button.addEventListener("click", () => show(!frame || frame.hidden));
  full.addEventListener("change", cover);
  addEventListener("message", (event) => {
    if (!frame || event.source !== frame.contentWindow || event.origin !== address.origin) return;
    const { praxis, token } = event.data;
    if (praxis === "ready") { ready = true; tell(Boolean(frame.dataset.focus)); }
    if (praxis === "keep") keep(String(token));
    if (praxis === "close") show(false);
    if (praxis === "news") news(true);
  });
  const start = () => {
    document.documentElement.append(host);
    let open = false;
    try { open = Boolean(sessionStorage.getItem(memory)); } catch { /* storage may be off */ }
    if (open && !full.matches) show(true, false);
  };
  if (document.body) start();
  else addEventListener("DOMContentLoaded", start);
})
