// Who did what to what, when and why.

import { call } from "../api/client";
import { moment, t } from "../language";
import { Skeleton, Title, Trouble, Wide } from "../parts/basics";
import { usePages } from "../parts/pages";

export function Actions() {
  const text = t().operator;
  const { items, first, reload, more } = usePages("actions", (cursor, signal) =>
    call("GET /admin/actions", { query: { cursor, limit: 50 }, signal }));
  return (
    <div class="column wide">
      <Title>{text.showLog}</Title>
      {first.error && !items ? <Trouble error={first.error} retry={reload} /> : null}
      {first.loading && <Skeleton />}
      {items?.length === 0 && <p class="empty">{t().common.none}</p>}
      {items && items.length > 0 && (
        <Wide label={text.showLog}>
          <table>
            <thead>
              <tr>
                <th scope="col">{t().common.date}</th>
                <th scope="col">{text.what}</th>
                <th scope="col">{text.whom}</th>
                <th scope="col">{t().common.reason}</th>
                <th scope="col">{text.who}</th>
              </tr>
            </thead>
            <tbody>
              {items.map((it) => (
                <tr key={it.actionId}>
                  <td class="nowrap">{moment(it.createdAt)}</td>
                  <td><code>{it.action}</code></td>
                  <td><code class="id">{it.targetId}</code></td>
                  <td>{it.reason}</td>
                  <td><code class="id">{it.actorId}</code></td>
                </tr>
              ))}
            </tbody>
          </table>
        </Wide>
      )}
      {more}
    </div>
  );
}
