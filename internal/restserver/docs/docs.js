// Shows /openapi.json. All text goes in by textContent, never as markup.
"use strict";

const methods = ["get", "post", "put", "patch", "delete"];
const errors = [
  ["invalid", 400, "The request breaks a rule; field names where."],
  ["unauthenticated", 401, "No credentials, or wrong ones."],
  ["denied", 403, "Known, but not allowed."],
  ["not_found", 404, "The thing named does not exist in this app."],
  ["method_not_allowed", 405, "The path is one of the API, the method is not; Allow says which are."],
  ["conflict", 409, "It exists already, or its state does not allow this."],
  ["too_large", 413, "More bytes than the route takes."],
  ["too_many", 429, "A limit or quota is used up; Retry-After says for how many seconds."],
  ["internal", 500, "A fault of the server; repeating may help."],
  ["unavailable", 503, "Cannot be done now, and the outcome may be unknown: repeat with the same key."],
];

function el(name, attrs, ...children) {
  const e = document.createElement(name);
  for (const [k, v] of Object.entries(attrs || {})) e.setAttribute(k, v);
  e.append(...children.filter((c) => c !== null && c !== undefined));
  return e;
}

function resolve(doc, schema) {
  if (!schema || !schema.$ref) return { name: "", schema: schema || {} };
  const name = schema.$ref.split("/").pop();
  return { name, schema: doc.components.schemas[name] || {} };
}

function typeOf(doc, schema) {
  const { name, schema: s } = resolve(doc, schema);
  if (name) return name;
  if (s.oneOf) return s.oneOf.map((o) => typeOf(doc, o)).join(" or ");
  if (s.enum) return s.enum.map((v) => JSON.stringify(v)).join(" | ");
  if (s.type === "array") return "array of " + typeOf(doc, s.items);
  if (s.type === "object" && s.additionalProperties && s.additionalProperties !== true) return "map of " + typeOf(doc, s.additionalProperties);
  const type = Array.isArray(s.type) ? s.type.join(" or ") : s.type || "any JSON";
  return s.format === "date-time" ? "time" : type;
}

// inner returns the schema whose properties are worth showing below a property of the given schema.
function inner(doc, schema) {
  const { schema: s } = resolve(doc, schema);
  if (s.properties) return s;
  if (s.type === "array") return inner(doc, s.items);
  if (s.additionalProperties && typeof s.additionalProperties === "object") return inner(doc, s.additionalProperties);
  return null;
}

function fields(doc, schema, depth) {
  const list = el("dl", { class: "fields" });
  const required = schema.required || [];
  for (const [name, p] of Object.entries(schema.properties || {})) {
    const row = el("div", null,
      el("dt", null, name, " ", el("span", { class: "type" }, typeOf(doc, p) + (required.includes(name) ? ", required" : ""))),
      el("dd", null, p.description || resolve(doc, p).schema.description || ""));
    const below = inner(doc, p);
    if (below && depth < 8) {
      const more = el("details", null, el("summary", null, "fields of " + name));
      // Filled when it is opened, so that the page stays small.
      more.addEventListener("toggle", () => more.append(fields(doc, below, depth + 1)), { once: true });
      row.append(more);
    }
    list.append(row);
  }
  return list;
}

function schemaBlock(doc, title, schema) {
  const shown = inner(doc, schema);
  const block = el("div", null, el("h4", null, title + ": " + typeOf(doc, schema)));
  if (shown) {
    if (shown.description) block.append(el("p", { class: "soft" }, shown.description));
    block.append(fields(doc, shown, 0));
  }
  return block;
}

function curl(method, path, op, example, upload) {
  const schemes = (op.security || []).flatMap((s) => Object.keys(s));
  let line = "curl";
  if (method !== "get") line += " -X " + method.toUpperCase();
  if (schemes.includes("device")) line += " -H 'Authorization: Device DEVICE_ID:SECRET'";
  else if (schemes.includes("key")) line += " -H 'Authorization: Bearer API_KEY'";
  else if (schemes.includes("admin")) line += " -H 'Authorization: Bearer ADMIN_TOKEN'";
  line += " " + location.origin + path.replaceAll("{", "").replaceAll("}", "").replace("/apps/app", "/apps/APP");
  if (example) line += " \\\n  -d '" + JSON.stringify(example, null, 2).replaceAll("'", "'\\''") + "'";
  if (upload) line += " \\\n  --data-binary @FILE";
  return line;
}

function access(op) {
  const names = { admin: "admin token", key: "the app's API key", device: "the device's secret" };
  const who = (op.security || []).flatMap((s) => Object.keys(s)).map((k) => names[k] || k);
  return who.length ? "Opens with " + who.join(" or ") + "." : "Open; the body says who calls.";
}

function operation(doc, method, path, op) {
  const sec = el("section", { class: "op", id: op.operationId },
    el("h3", null, op.summary || op.operationId),
    el("div", { class: "call" }, el("span", { class: "method " + method }, method), el("span", null, path)),
    el("p", null, op.description || ""),
    el("p", { class: "soft" }, access(op)));
  if (op.parameters && op.parameters.length) {
    const list = el("dl", { class: "fields" });
    for (const p of op.parameters) {
      list.append(el("div", null,
        el("dt", null, p.name, " ", el("span", { class: "type" }, p.in + ", " + typeOf(doc, p.schema) + (p.required ? ", required" : ""))),
        el("dd", null, p.description || "")));
    }
    sec.append(el("h4", null, "Parameters"), list);
  }
  const body = op.requestBody && op.requestBody.content["application/json"];
  const upload = op.requestBody && !body;
  if (body) sec.append(schemaBlock(doc, op.requestBody.required ? "Body" : "Body, which may be left out", body.schema));
  if (upload) sec.append(el("h4", null, "Body: " + Object.keys(op.requestBody.content).join(" or ")));
  sec.append(el("h4", null, "Example"), el("pre", null, curl(method, path, op, body && body.example, upload)));
  for (const [status, resp] of Object.entries(op.responses || {})) {
    if (status === "default") continue;
    const json = resp.content && resp.content["application/json"];
    sec.append(el("p", null, el("strong", null, status), " ", resp.description || ""));
    if (json) sec.append(schemaBlock(doc, "Answer", json.schema));
  }
  return sec;
}

function show(doc) {
  const nav = document.getElementById("nav");
  const main = document.getElementById("main");
  main.append(el("h1", null, doc.info.title + " API"));
  main.append(el("p", { class: "soft" }, "Version " + doc.info.version + " · ", el("a", { href: "/openapi.json" }, "openapi.json")));
  for (const para of doc.info.description.split("\n\n")) main.append(el("p", null, para));
  for (const tag of doc.tags) {
    const links = el("ul");
    nav.append(el("h2", null, tag.name), links);
    main.append(el("h2", null, tag.name), el("p", null, tag.description || ""));
    for (const [path, item] of Object.entries(doc.paths)) {
      for (const method of methods) {
        const op = item[method];
        if (!op || !(op.tags || []).includes(tag.name)) continue;
        links.append(el("li", null, el("a", { href: "#" + op.operationId }, op.summary)));
        main.append(operation(doc, method, path, op));
      }
    }
  }
  nav.append(el("h2", null, "Errors"), el("ul", null, el("li", null, el("a", { href: "#errors" }, "Codes"))));
  const rows = errors.map(([code, status, doc]) =>
    el("tr", { id: "error-" + code }, el("td", null, el("code", null, code)), el("td", null, String(status)), el("td", null, doc)));
  main.append(el("h2", { id: "errors" }, "Errors"),
    el("p", null, "Every error is application/problem+json with type, title, status, detail, code and, where one is at fault, field."),
    el("table", null, el("thead", null, el("tr", null, el("th", null, "code"), el("th", null, "status"), el("th", null, "meaning"))), el("tbody", null, ...rows)));
  if (location.hash) {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target) target.scrollIntoView();
  }
}

fetch("/openapi.json")
  .then((r) => { if (!r.ok) throw new Error("status " + r.status); return r.json(); })
  .then(show)
  .catch((err) => document.getElementById("main").append(el("p", null, "The document could not be loaded: " + err.message)));
