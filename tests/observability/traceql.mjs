// Reads a JSON list of TraceQL queries; exits 1 naming each that Grafana's grammar of TraceQL does not accept.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

// The grammar's folder comes as an argument, so that nothing is installed beside the sources.
const { parser } = createRequire(`${process.argv[2]}/`)("@grafana/lezer-traceql");

const refused = JSON.parse(readFileSync(0, "utf8")).filter((query) => {
  let wrong = query.trim() === "";
  parser.parse(query).iterate({ enter: (node) => void (wrong ||= node.type.isError) });
  return wrong;
});
for (const query of refused) console.error(query);
process.exit(refused.length ? 1 : 0);
