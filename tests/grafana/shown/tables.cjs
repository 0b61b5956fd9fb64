// Reads [{panel, answers}] from standard input: a table of a dashboard, and what Prometheus found for each of its queries.
// Writes what Grafana's own code makes of each: [{headings, rows}], texts as they are shown.
'use strict';

// What it looks for of a browser when it is loaded.
Object.assign(globalThis, {
  window: globalThis,
  document: { body: {}, createElement: () => ({}) },
  localStorage: { getItem: () => null, setItem: () => {} },
});
Object.defineProperty(globalThis, 'navigator', { value: { languages: ['en'], userAgent: 'node' } });

const grafana = require('@grafana/data');
const { firstValueFrom } = require('rxjs');

const transformers = new Map(Object.values(grafana.standardTransformers).map((each) => [each.id, each]));
grafana.standardTransformersRegistry.setInit(() =>
  [...transformers.values()].map((each) => ({ id: each.id, name: each.name, transformation: each }))
);

// The options that these tables set. Grafana has the list of all in a part that is in no package.
const options = new Map(
  ['unit', 'min', 'max', 'decimals', 'thresholds', 'mappings', 'color', 'noValue', 'links', 'custom.cellOptions'].map(
    (id) => {
      const isCustom = id.startsWith('custom.');
      const path = id.replace('custom.', '');
      return [id, { id, path, isCustom, name: id, process: (value) => value, shouldApply: () => true }];
    }
  )
);
const fieldConfigRegistry = {
  get: (id) => options.get(id),
  getIfExists: (id) => options.get(id),
  list: () => [...options.values()],
};

// As the data source does with format=table: time, labels, value. Queries that find nothing have no frame.
function frames({ panel, answers }) {
  const found = panel.targets.filter((target) => answers[target.refId].length);
  return found.map(({ refId }) => {
    const rows = answers[refId];
    const labels = [...new Set(rows.flatMap((row) => Object.keys(row.metric)))].sort();
    return grafana.toDataFrame({
      refId,
      fields: [
        { name: 'Time', type: 'time', values: rows.map((row) => row.value[0] * 1000) },
        ...labels.map((label) => ({ name: label, type: 'string', values: rows.map((row) => row.metric[label] ?? '') })),
        {
          name: found.length > 1 ? `Value #${refId}` : 'Value',
          type: 'number',
          values: rows.map((row) => Number(row.value[1])),
        },
      ],
    });
  });
}

async function shown(one) {
  const { transformations, fieldConfig } = one.panel;
  const transformed = await firstValueFrom(grafana.transformDataFrame(transformations, frames(one)));
  const data = grafana.applyFieldOverrides({
    data: transformed,
    fieldConfig,
    fieldConfigRegistry,
    replaceVariables: (text) => text,
    theme: grafana.createTheme(),
    timeZone: 'utc',
  });
  return data.map((frame) => ({
    headings: frame.fields.map((field) => grafana.getFieldDisplayName(field, frame, data)),
    rows: Array.from({ length: frame.length }, (_, row) =>
      frame.fields.map((field) => grafana.formattedValueToString(field.display(field.values[row])))
    ),
  }));
}

async function main() {
  let text = '';
  for await (const piece of process.stdin) {
    text += piece;
  }
  process.stdout.write(JSON.stringify(await Promise.all(JSON.parse(text).map(shown))));
}

main();
