-- What the metrics service copies here, and who may read it.
--
-- A fleet is known by its name; everything belongs to one. The service role writes (the metrics service has its key).
-- A signed-in user reads what belongs to the fleets of which `members` names him, and nothing else; nobody else reads.

create table public.fleets (
  fleet text primary key check (fleet <> ''),
  account text not null,
  bots jsonb not null default '[]',
  changed_at timestamptz not null default now()
);
comment on table public.fleets is 'One row a fleet, as its fleet file describes it.';

create table public.members (
  fleet text not null,
  user_id uuid not null references auth.users (id) on delete cascade,
  primary key (fleet, user_id)
);
comment on table public.members is 'Who may read which fleet. Not tied to fleets: invite before the first start if you like.';
create index members_by_user on public.members (user_id);

create table public.orders (
  fleet text not null references public.fleets (fleet) on delete cascade,
  account text not null,
  order_id text not null,
  bot text not null,
  contract_type text not null,
  symbol text not null,
  stake numeric,
  duration integer not null,
  duration_unit text not null,
  barrier text not null,
  state text not null
    check (state in ('intended', 'denied', 'sent', 'confirmed', 'rejected', 'unknown', 'not_found', 'settled')),
  contract_id bigint,
  buy_price numeric,
  payout numeric,
  sell_price numeric,
  profit numeric,
  error_code text not null,
  error_message text not null,
  reconciled boolean not null,
  intended_at timestamptz,
  bought_at timestamptz,
  settled_at timestamptz,
  changed_at timestamptz not null,
  trace_id text not null,
  position bigint not null,
  primary key (fleet, account, order_id)
);
comment on table public.orders is 'The latest state of every order. Money is exact, in the currency of the account.';
comment on column public.orders.position is 'Of the change in the gateway''s order feed: a later state has a higher one.';
create index orders_by_settlement on public.orders (fleet, settled_at) where settled_at is not null;
create index orders_by_change on public.orders (fleet, changed_at);
create index orders_by_bot on public.orders (fleet, bot, changed_at);
create index orders_open on public.orders (fleet, bot) where state in ('intended', 'sent', 'confirmed', 'unknown');

create table public.reports (
  fleet text not null references public.fleets (fleet) on delete cascade,
  account text not null,
  period text not null,
  start_at timestamptz not null,
  end_at timestamptz not null,
  bot text not null,
  revision integer not null,
  complete boolean not null,
  ops bigint not null,
  buys bigint not null,
  settled bigint not null,
  wins bigint not null,
  profit numeric not null,
  staked numeric not null,
  phases jsonb not null,
  errors jsonb not null,
  details jsonb not null,
  made_at timestamptz not null,
  primary key (fleet, account, period, start_at, bot, revision)
);
comment on table public.reports is
  'Reports of five minutes, an hour, a day: one row for each bot, and one with an empty bot for the fleet. Late news makes a new revision; the view latest_reports has the last one of each.';
create index reports_by_time on public.reports (fleet, period, start_at);

create table public.alerts (
  fleet text not null references public.fleets (fleet) on delete cascade,
  rule text not null,
  bot text not null,
  condition text not null,
  threshold numeric not null,
  value numeric not null,
  fired_at timestamptz not null,
  cleared_at timestamptz,
  change bigint not null,
  primary key (fleet, rule, bot, fired_at)
);
comment on table public.alerts is 'Every alert, from when it fired to when it was over.';
create index alerts_by_time on public.alerts (fleet, fired_at);

-- A batch that was put twice (the answer to the first was lost) may arrive after a later one: an older state never
-- replaces a newer one.
create function public.keep_newer_order() returns trigger language plpgsql set search_path = '' as $$
begin
  if new.position < old.position then
    return null;
  end if;
  return new;
end
$$;
create trigger keep_newer before update on public.orders
  for each row execute function public.keep_newer_order();

create function public.keep_newer_alert() returns trigger language plpgsql set search_path = '' as $$
begin
  if new.change < old.change then
    return null;
  end if;
  return new;
end
$$;
create trigger keep_newer before update on public.alerts
  for each row execute function public.keep_newer_alert();
