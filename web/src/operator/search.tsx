// A search of the operator: fields that the address keeps, what matches them, and the details of each match.

import type { ComponentChildren, JSX } from "preact";
import { useState } from "preact/hooks";
import { t } from "../language";
import { Field, Select, Title, fieldError } from "../parts/basics";
import { useFilters } from "../parts/filters";
import { Found, ListState, usePages } from "../parts/pages";

export interface SearchField<N extends string> {
  name: N;
  label: string;
  /** What can be chosen; without it the field is typed. */
  options?: readonly (readonly [string, string])[];
  input?: JSX.IntrinsicElements["input"];
  /** The fields whose dates bound this one's. */
  notBefore?: N;
  notAfter?: N;
}

interface SearchProps<T, N extends string> {
  title: string;
  fields: readonly SearchField<N>[];
  /** A page of what matches the fields' values. A failure with the status 404 says that they name nothing. */
  load: (values: Record<N, string>, cursor: string | undefined, signal?: AbortSignal) =>
    Promise<{ items: T[]; nextCursor?: string | null | undefined }>;
  keyOf: (item: T) => string;
  summary: (item: T) => ComponentChildren;
  details: (item: T, reload: () => void) => ComponentChildren;
  none: string;
  /** Whether the values name one match, whose details are wanted. */
  isOne?: (values: Record<N, string>) => boolean;
}

export function Search<T, N extends string>({ title, fields, load, keyOf, summary, details, none, isOne }: SearchProps<T, N>) {
  const filters = useFilters(fields.map((it) => it.name));
  // An address may name anything: an option that doesn't exist filters nothing.
  const valueOf = ({ name, options }: SearchField<N>, from: Record<N, string>): string =>
    !options || options.some(([it]) => it === from[name]) ? from[name] : "";
  const values = Object.fromEntries(fields.map((it) => [it.name, valueOf(it, filters.searched).trim()])) as Record<N, string>;
  const pages = usePages(JSON.stringify(values), (cursor, signal) => load(values, cursor, signal));
  const { items, reload, more } = pages;
  const [pressed, setPressed] = useState<{ key: string; isOpen: boolean } | null>(null);
  const isOpen = (key: string): boolean => (pressed?.key === key ? pressed.isOpen : pressed === null && Boolean(isOne?.(values)));
  const change = (name: N, value: string): void => filters.change({ [name]: value } as Partial<Record<N, string>>);
  return (
    <div class="column wide">
      <Title>{title}</Title>
      <form class={`filters ${fields.length > 3 ? "four" : "three"}`} role="search" onSubmit={(event) => (event.preventDefault(), filters.submit())}>
        {fields.map((field) => {
          const { name, label, options, input, notBefore, notAfter } = field;
          const value = valueOf(field, filters.fields);
          if (options) {
            return (
              <Select key={name} label={label} value={value} onChange={(event) => change(name, event.currentTarget.value)}
                options={[["", t().common.all], ...options]} />
            );
          }
          return (
            <Field key={name} label={label} autocomplete="off" spellcheck={false} {...input} value={value}
              min={notBefore && filters.fields[notBefore]} max={notAfter && filters.fields[notAfter]}
              error={fieldError(pages.first.error, name)}
              onInput={(event) => change(name, event.currentTarget.value)} />
          );
        })}
      </form>
      <Found of={pages} />
      <ListState of={pages} none={none} />
      <ul class="rows">
        {items?.map((item) => {
          const key = keyOf(item);
          return (
            <li key={key}>
              <button type="button" class="row" aria-expanded={isOpen(key)} onClick={() => setPressed({ key, isOpen: !isOpen(key) })}>
                {summary(item)}
              </button>
              {isOpen(key) && <div class="details">{details(item, reload)}</div>}
            </li>
          );
        })}
      </ul>
      {more}
    </div>
  );
}

/** The reason that an action needs, and its button. */
export function Reasoned({ reason, setReason, children }: {
  reason: string;
  setReason: (reason: string) => void;
  children: ComponentChildren;
}) {
  return (
    <>
      <Field label={t().common.reason} value={reason} hint={t().operator.reasonHint} maxLength={500}
        onInput={(event) => setReason(event.currentTarget.value)} />
      <div class="buttons">{children}</div>
    </>
  );
}
