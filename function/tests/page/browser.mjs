// Looks at the page as a browser does, and says what it saw as one JSON object.
//
// Arguments: the browser's program, the page's URL, a folder for pictures (or an empty text).
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const [executablePath, url, pictures] = process.argv.slice(-3);
const { source } = createRequire(process.cwd() + "/")("axe-core");
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
const seen = { console: [], requests: [], violations: [], axe: [], texts: {}, widths: {} };

for (const [name, colorScheme, width] of [["light", "light", 1100], ["dark", "dark", 1100], ["phone", "light", 390]]) {
  const context = await browser.newContext({ colorScheme, viewport: { width, height: 900 }, bypassCSP: false });
  const page = await context.newPage();
  page.on("console", line => { if (["error", "warning"].includes(line.type())) seen.console.push(line.text()); });
  page.on("pageerror", error => seen.console.push(String(error)));
  page.on("request", request => seen.requests.push({ url: request.url(), referrer: request.headers().referer || "" }));
  await page.addInitScript(() => {
    window.broken = [];
    document.addEventListener("securitypolicyviolation", event => window.broken.push(event.violatedDirective));
  });
  await page.goto(url);
  await page.waitForFunction(() => document.getElementById("clock").textContent !== "");
  seen.violations.push(...await page.evaluate(() => window.broken));
  for (const id of ["who", "now", "money", "days", "detours", "everybody"])
    seen.texts[id] = await page.evaluate(id => document.getElementById(id).innerText, id);
  seen.widths[name] = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  if (pictures) await page.screenshot({ path: `${pictures}/${name}.png`, fullPage: true });
  // Whatever can be opened is open when it is judged.
  const summary = page.locator("summary");
  if (await summary.count()) { await summary.first().focus(); await page.keyboard.press("Enter"); }
  seen.opened = (await page.locator("details[open] table").count()) === (await summary.count());
  const judged = await judge(page);
  seen.axe.push(...judged.map(found => `${name}: ${found}`));
  await context.close();
}
await browser.close();
console.log(JSON.stringify(seen));

// An isolated world has the same document, and no policy of its own.
async function judge(page) {
  const session = await page.context().newCDPSession(page);
  const { frameTree } = await session.send("Page.getFrameTree");
  const { executionContextId } = await session.send("Page.createIsolatedWorld", {
    frameId: frameTree.frame.id, worldName: "judge", grantUniveralAccess: true,
  });
  const run = expression => session.send("Runtime.evaluate", {
    contextId: executionContextId, expression, awaitPromise: true, returnByValue: true,
  });
  await run(source);
  const ran = await run(`axe.run(document, { resultTypes: ["violations"] }).then(found =>
    found.violations.map(v => v.id + ": " + v.nodes.map(n => n.target.join(" ")).join(", ")))`);
  if (ran.exceptionDetails) throw new Error(JSON.stringify(ran.exceptionDetails));
  return ran.result.value;
}
