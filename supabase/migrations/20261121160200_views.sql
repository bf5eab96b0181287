-- What one wants to see in Studio. Each view has the rights of who asks, so row-level security holds in it too.

create view public.latest_reports with (security_invoker = true) as
select distinct on (fleet, account, period, start_at, bot) *
from public.reports
order by fleet, account, period, start_at, bot, revision desc;
comment on view public.latest_reports is 'The last revision of every report.';

create view public.fleet_days with (security_invoker = true) as
select fleet, account, start_at::date as day, buys, settled, wins,
  case when settled > 0 then round(wins::numeric / settled, 4) end as win_rate, staked, profit, complete, revision
from public.latest_reports
where period = 'day' and bot = ''
order by day desc, fleet;
comment on view public.fleet_days is 'One row a day and fleet.';

create view public.bot_days with (security_invoker = true) as
select fleet, account, bot, date_trunc('day', settled_at at time zone 'UTC')::date as day, count(*) as settled,
  count(*) filter (where profit > 0) as wins, sum(buy_price) as staked, sum(profit) as profit
from public.orders
where state = 'settled'
group by fleet, account, bot, day
order by day desc, fleet, bot;
comment on view public.bot_days is 'One row a day and bot, summed up from the orders themselves.';

create view public.open_orders with (security_invoker = true) as
select fleet, account, bot, order_id, symbol, contract_type, stake, state, contract_id, intended_at, error_code
from public.orders
where state in ('intended', 'sent', 'confirmed', 'unknown')
order by intended_at;
comment on view public.open_orders is 'Orders that are not final, the oldest first; an unknown one is being looked up.';

create view public.firing_alerts with (security_invoker = true) as
select fleet, rule, bot, condition, threshold, value, fired_at
from public.alerts
where cleared_at is null
order by fired_at desc;
comment on view public.firing_alerts is 'What is wrong now.';

revoke all on public.latest_reports, public.fleet_days, public.bot_days, public.open_orders, public.firing_alerts
  from anon, authenticated;
grant select on public.latest_reports, public.fleet_days, public.bot_days, public.open_orders, public.firing_alerts
  to authenticated, service_role;
