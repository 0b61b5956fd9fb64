// Reads [{panel, answers}] from standard input: a table panel, and the result of Prometheus for each of its queries.
// Writes [{headings, rows}] as rendered by Grafana's own code, with the displayed texts.
'use strict';

// Browser globals that it requires when it is loaded.
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

// The options that these tables set. Grafana's complete list is not published in any package.
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

// Builds frames as the data source does with format=table: time, labels, value. Empty results have no frame.
function frames({ panel, answers }) {
  const withData = panel.targets.filter((target) => answers[target.refId].length);
  return withData.map(({ refId }) => {
    const rows = answers[refId];
    const labels = [...new Set(rows.flatMap((row) => Object.keys(row.metric)))].sort();
    return grafana.toDataFrame({
      refId,
      fields: [
        { name: 'Time', type: 'time', values: rows.map((row) => row.value[0] * 1000) },
        ...labels.map((label) => ({ name: label, type: 'string', values: rows.map((row) => row.metric[label] ?? '') })),
        {
          name: withData.length > 1 ? `Value #${refId}` : 'Value',
          type: 'number',
          values: rows.map((row) => Number(row.value[1])),
        },
      ],
    });
  });
}

async function render(table) {
  const { transformations, fieldConfig } = table.panel;
  const transformed = await firstValueFrom(grafana.transformDataFrame(transformations, frames(table)));
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
  for await (const chunk of process.stdin) {
    text += chunk;
  }
  process.stdout.write(JSON.stringify(await Promise.all(JSON.parse(text).map(render))));
}

main();
