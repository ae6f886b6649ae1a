// The invariants, checked at the press of a button.

import { useState } from "preact/hooks";
import { call, type Schemas } from "../api/client";
import { moment, number, t } from "../language";
import { Button, Notice, Title, Trouble } from "../parts/basics";
import { useAction } from "../parts/load";

export function Audit() {
  const text = t().operator;
  const [result, setResult] = useState<Schemas["AuditResponse"] | null>(null);
  const audit = useAction(async () => setResult(await call("GET /admin/audit")));
  return (
    <div class="column wide">
      <div class="title-row">
        <Title>{text.audit}</Title>
        <Button kind="primary" busy={audit.busy} onClick={() => void audit.run()}>{text.runAudit}</Button>
      </div>
      <div aria-live="polite">
        {audit.busy && <Notice>{text.running}</Notice>}
        {audit.error ? <Trouble error={audit.error} /> : null}
        {result && !audit.busy && (
          <Notice kind={result.ok ? "good" : "bad"}>
            <strong>{result.ok ? text.auditOk : text.auditBad}</strong>
            <span class="hint">{text.checkedAt(moment(result.checkedAt))}</span>
          </Notice>
        )}
      </div>
      {result && (
        <table>
          <thead>
            <tr>
              <th scope="col" class="number">#</th>
              <th scope="col">{text.invariant}</th>
              <th scope="col" class="number">{text.violations}</th>
            </tr>
          </thead>
          <tbody>
            {result.invariants.map((it) => {
              const violations: unknown = it.violations;
              const count = Array.isArray(violations) ? violations.length : Number(violations);
              return (
                <tr key={`${it.number}-${it.name}`}>
                  <td class="number">{it.number}</td>
                  <td>{it.name}</td>
                  <td class="number">{count === 0 ? "0" : <strong class="bad-text">{number(count)}</strong>}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      )}
    </div>
  );
}
